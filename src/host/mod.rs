//! What works on a host: the same code in `armilla-host` over SSH and inside armilla for this machine.
//!
//! In: probes, steps and requests for the lock, as values. Out: readings, outcomes and answers. Never: a decision about
//! what to do, and never a shell between armilla and a program or a file.

#![expect(clippy::disallowed_methods, reason = "this room reads and changes a host: files, programs, clocks")]

mod account;
mod directory;
mod files;
mod gate;
mod http;
mod keep;
mod large;
mod lodging;
mod longest;
mod machine;
mod order;
mod packages;
mod place;
mod program;
mod read;
mod serve;
mod timer;
mod undo;
mod unpack;
mod waiting;
pub mod wire;

pub use longest::longest;
pub use place::Place;
pub use serve::main;

/// Why something was not done, as the host says it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Failure {
    /// The exit code, 124 when it ran out of time, 1 where no program was involved.
    pub exit: i32,
    /// What went wrong, in words for a person.
    pub why: String,
}

impl Failure {
    /// A failure without a program.
    pub fn new(why: impl Into<String>) -> Self {
        Self { exit: 1, why: why.into() }
    }
}

/// What comes of work on a host.
pub type Result<T = ()> = std::result::Result<T, Failure>;
