//! What a person reads.
//!
//! In: plans, events, reports. Out: texts with colours that say nothing the words do not say too; whoever prints them
//! to something that is no terminal takes the colours out. Never: a control character that came from a user or a host.

mod alike;
mod course;
mod diff;
pub mod doctor;
mod drift;
pub mod exec;
pub mod explain;
mod failure;
mod fold;
mod import;
pub(super) mod layout;
mod plan;
mod progress;
mod reached;
pub(crate) mod rollout;
mod service;
mod summary;
mod view;
pub mod words;
pub mod written;

pub use drift::drift;
pub use import::import;
pub use plan::plan;
pub use progress::Progress;
pub use reached::Reached;
pub use summary::{Ending, Record, Timed, summary};
pub use view::{Diffs, Read, Subject, View};
