//! What a host can be told about undoing a change by itself.
//!
//! In: nothing. Out: the exit codes that such a step ends with. Never: a decision.
//!
//! [`super::Step::Arm`] comes before a change that could shut us out: from then on the host puts everything back that was
//! kept under the same name, when its time is over and at every boot. [`super::Step::Disarm`] ends that; it is the first
//! thing that is done over a login of its own after the change. Which of the two comes first, a lock on the host decides.

/// The exit code of a step that came too late: the host has put everything back.
pub const UNDONE: i32 = 85;

/// The exit code of a step that came too late: the host was to put everything back, and could not.
pub const STUCK: i32 = 86;

/// The exit code of [`super::Step::GiveUp`] where nothing is armed under that name.
pub const UNARMED: i32 = 87;
