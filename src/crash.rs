//! Places at which a test can end this program at once, as a lost power supply would.
//!
//! In: the number of a place, from the environment, in a build with the feature `crash-points`. Out: nothing; or the
//! end. Never: anything at all in any other build.
//!
//! `ARMILLA_CRASH_AT=N` ends the program by SIGKILL at its N-th place, counted from 1. `ARMILLA_CRASH_COUNT=FILE` has the
//! number of places passed so far written there. A panic of our own is tried in the same way: `ARMILLA_PANIC_AT=N`. The
//! places are before and after each line of the journal of a run, the saving of a ledger and the giving back of leases.
//!
//! A host dies likewise: with `ARMILLA_CRASH_HOST_AT=N` the shell that carries out an order kills itself at its N-th place,
//! before or after a line of the host's journal or the saving of its ledger. Those places are the lines `# crash point` of
//! the scripts, which other builds leave out as they do with all comments. A host counts its places in
//! `/tmp/armilla-crash-points` over all orders, until that file is removed; 0 counts only.

/// One more place.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn point() {}

/// One more place.
///
/// # Panics
/// When it is told to.
#[cfg(feature = "crash-points")]
pub fn point() {
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

/// The script of an order, told where to die.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn of_host(script: String) -> String {
    script
}

/// The script of an order, told where to die.
#[cfg(feature = "crash-points")]
pub fn of_host(script: String) -> String {
    match std::env::var("ARMILLA_CRASH_HOST_AT").ok().and_then(|at| at.parse::<usize>().ok()) {
        Some(at) => format!("crash_at={at}\n{script}"),
        None => script,
    }
}
