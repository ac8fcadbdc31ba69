//! Doing a plan, exactly as it is.
//!
//! In: a plan and a transport. Out: events while it runs, and how each stage ended. Never: a decision about what to do;
//! this room does not know how.

mod deadman;
mod event;
mod intent;
mod lease;
mod outcome;
mod queue;
mod recover;
mod roll;
mod run;

pub use event::{End, Event, Failure};
pub use lease::{Leases, Refused, Terms, acquire, witnesses};
pub use outcome::Outcome;
pub use queue::Queue;
pub use roll::ask as ask_members;
pub use run::{Channels, Limits, Permit, Report, Tell, run};
