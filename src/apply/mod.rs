//! Doing a plan, exactly as it is.
//!
//! In: a plan and a transport. Out: events while it runs, and how each stage ended. Never: a decision about what to do;
//! this room does not know how.

mod event;
mod queue;
mod run;

pub use event::{End, Event, Failure};
pub use queue::Queue;
pub use run::{Limits, Report, run};
