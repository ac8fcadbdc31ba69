//! Waiting in tests: for a condition, never for a time that a busy machine may exceed.

use std::time::{Duration, Instant};

/// What hangs in these tests hangs for ten minutes or for ever. Whatever ends within this time was not held up by it,
/// however busy the machine is.
pub(crate) const NOT_HELD_UP: Duration = Duration::from_secs(120);

/// Waits until the condition holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < NOT_HELD_UP, "it never came true that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
