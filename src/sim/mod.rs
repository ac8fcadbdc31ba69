//! A fleet in memory: hosts that answer probes and do steps as Debian hosts would, with a clock and faults of their own.
//!
//! In: hosts, roles as texts, and what goes wrong and when. Out: a [`Transport`](crate::transport::Transport), the state
//! of every host, and runs as text. Never: this machine's clock, disk or network; the same input gives the same output.

mod answer;
mod apt;
mod archive;
mod connection;
mod deadman;
mod declared;
mod fault;
mod fleet;
mod foreign;
mod host;
mod kept;
mod machine;
mod order;
mod perform;
mod program;
mod show;
mod state;
mod story;
mod system;
mod tree;
mod undo;
mod units;
mod web;
mod world;

pub use archive::{PACKAGES, Package, package};
pub use fault::{Drift, Fault};
pub use fleet::Fleet;
pub use host::{Host, User};
pub use show::{show_plan, show_run};
pub use state::Did;
pub use story::{StoryError, play};
pub use tree::{Node, Tree, What};
pub use units::{Activity, Definition, Unit, Units};
pub use web::PAGES;
pub use world::{Run, World};

/// How something on a simulated host failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The exit code.
    pub exit: i32,
    /// What it complained.
    pub stderr: String,
}

impl Trouble {
    fn new(exit: i32, stderr: impl Into<String>) -> Self {
        Self { exit, stderr: stderr.into() }
    }
}
