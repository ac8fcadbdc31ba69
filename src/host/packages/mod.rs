//! Package managers, and whom they and the accounts have to wait for.
//!
//! In: what is to be removed or fetched. Out: that it was done, was not needed, or what prevents it. Never: a package removed
//! that the plan does not name.

mod others;
mod refresh;
mod removal;
#[cfg(test)]
mod tests;

pub(super) use others::wait_for;
pub(super) use refresh::refresh;
pub(super) use removal::{broken_by_pacman, broken_by_rpm, remove, taken_by_apk};
