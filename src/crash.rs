//! Crash points: places at which a test ends this program at once, as a power loss would.
//!
//! In: the number of a crash point, from the environment, in a build with debug assertions. Out: nothing; or the end. Never:
//! anything at all in a release.
//!
//! `ARMILLA_CRASH_AT=N` ends the program by SIGKILL at its N-th crash point, counted from 1. `ARMILLA_CRASH_COUNT=FILE` writes
//! the number of crash points passed so far to that file. `ARMILLA_PANIC_AT=N` panics there instead. The crash points are before
//! and after each line of the journal of a run, the saving of a ledger, and the release of locks.
//!
//! A host dies likewise: with `ARMILLA_CRASH_HOST_AT=N` the shell that carries out an order kills itself at its N-th crash point,
//! before or after a line of the host's journal or the saving of its ledger. Those crash points are the lines `# crash point` of
//! the scripts, which are comments unless that variable is set. A host counts its crash points in `/tmp/armilla-crash-points`
//! over all orders, until that file is removed; 0 counts only.

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

/// The script of an order with the number of the crash point at which it dies, if it is to.
pub fn of_host(script: String) -> String {
    match host_point() {
        Some(at) => format!("crash_at={at}\n{script}"),
        None => script,
    }
}
