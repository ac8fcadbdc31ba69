//! Crash points: places at which a test ends this program at once, as a power loss would.
//!
//! In: the number of a crash point, from the environment, in a build with debug assertions. Out: nothing; or the end. Never:
//! anything at all in a release.
//!
//! `ARMILLA_CRASH_AT=N` ends the program by SIGKILL at its N-th crash point, counted from 1. `ARMILLA_CRASH_COUNT=FILE` writes
//! the number of crash points passed so far to that file. `ARMILLA_PANIC_AT=N` panics there instead. The crash points are before
//! and after each line of the journal of a run, the saving of a ledger, and the release of locks.
//!
//! A host dies likewise: with `ARMILLA_CRASH_HOST_AT=N` the host program that carries out an order ends itself at its N-th
//! crash point, before or after a line of the host's journal, the saving of its ledger, or a change of a file. A host counts
//! its crash points over all orders in `armilla-crash-points`, in its directory for temporary files, until that file is
//! removed; 0 counts only.

/// The variable that numbers the crash point at which a host dies.
const HOST: &str = "ARMILLA_CRASH_HOST_AT";

/// One more crash point.
///
/// # Panics
/// When `ARMILLA_PANIC_AT` names this crash point.
#[inline]
pub fn point() {
    #[cfg(debug_assertions)]
    armed_point();
}

#[cfg(debug_assertions)]
fn armed_point() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static PASSED: AtomicUsize = AtomicUsize::new(0);
    let number = PASSED.fetch_add(1, Ordering::SeqCst) + 1;
    if let Some(file) = std::env::var_os("ARMILLA_CRASH_COUNT") {
        let _ = std::fs::write(file, number.to_string());
    }
    let is = |name: &str| std::env::var(name).is_ok_and(|at| at == number.to_string());
    if is("ARMILLA_CRASH_AT") {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
    }
    assert!(!is("ARMILLA_PANIC_AT"), "crash point {number}: this panic was asked for");
}

/// The number of the crash point at which hosts die; none where scripts have no crash points.
pub fn host_point() -> Option<usize> {
    let armed = cfg!(debug_assertions);
    armed.then(|| std::env::var(HOST).ok()?.parse().ok()).flatten()
}

/// Arms the crash points of this host program.
#[inline]
pub fn arm_host(at: Option<usize>) {
    #[cfg(debug_assertions)]
    if let Some(at) = at {
        host::AT.store(at, std::sync::atomic::Ordering::SeqCst);
    }
    #[cfg(not(debug_assertions))]
    let _ = at;
}

/// One more crash point of the host program; nothing unless it is armed.
#[inline]
pub fn on_host() {
    #[cfg(debug_assertions)]
    host::point();
}

#[cfg(debug_assertions)]
mod host {
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// The crash point at which this program ends.
    pub(super) static AT: AtomicUsize = AtomicUsize::new(usize::MAX);

    pub(super) fn point() {
        let at = AT.load(Ordering::SeqCst);
        if at == usize::MAX {
            return;
        }
        // Over all programs of this host.
        let count = std::env::temp_dir().join("armilla-crash-points");
        let passed = std::fs::read_to_string(&count).ok().and_then(|text| text.trim().parse::<usize>().ok());
        let number = passed.unwrap_or(0) + 1;
        let _ = std::fs::write(&count, format!("{number}\n"));
        if number == at {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
        }
    }
}
