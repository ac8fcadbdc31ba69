//! Planning an environment and changing its hosts: the one way for the command line, the daemons, the simulator and tests.
//!
//! In: an environment, a transport, and whoever asks. Out: surveys, plans, and runs with their outcome, as values; what happens
//! meanwhile goes to an [`Observer`]. Never: a terminal, a signal, an exit code, or a host changed without a lock, an approved
//! plan and a record of the run.
//!
//! ```text
//! let session  = Session::new(transport, identity, history, observer);
//! let locked   = session.lock(&Ground::of(&environment), &stop).await?;
//! let survey   = locked.survey(&environment, &stop).await?;
//! let approved = session.approve(Proposal::of(&environment, survey, &session), &Limits::default()).await?;
//! let finished = session.apply(locked, approved, stop).await?;
//! ```
//!
//! Every error is an [`Abort`], and every [`Abort`] means that no host was changed.

mod abort;
mod adopt;
mod apply;
pub mod destroy;
pub mod drift;
mod examine;
pub mod guard;
mod identity;
mod import;
mod lock;
mod observer;
pub mod plan_file;
mod project;
mod proposal;
pub mod resume;
mod settle;
mod stop;
mod survey;
mod typed;
mod verify;

use std::sync::Arc;
use std::time::Duration;

pub use crate::apply::Outcome;
pub use abort::{Abort, describe};
pub use apply::{Finished, Ran, Recorded};
pub use guard::{Approved, Limits};
pub use identity::{Clock, Identity, Process, random};
pub use lock::{Ground, Locked, Locks};
pub use observer::{Notice, Observer, Reading, Silent};
pub use project::new_project;
pub use proposal::Proposal;
pub use stop::{Stop, Stopper};
pub use survey::{Survey, explained};
pub use typed::Typed;
pub use verify::{Checked, Verified};

use crate::history::History;
use crate::transport::Transport;

/// How a session works with hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Hosts worked on at the same time.
    pub forks: usize,
    /// How long to wait for a lock that somebody else holds.
    pub lock_timeout: Duration,
    /// How long to wait for a host that was lost in the middle of a run, as when it reboots.
    pub reboot_timeout: Duration,
    /// How long a lock lasts without a sign of life of its holder, in seconds.
    pub lease_seconds: u32,
    /// Whether a person must approve the canaries of a rollout that asks for it.
    pub approval: Approval,
}

/// Whether a person must approve the canaries of a rollout that asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// The run waits for the approval in its record.
    Awaited,
    /// It was given beforehand.
    Given,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            forks: 20,
            lock_timeout: Duration::ZERO,
            reboot_timeout: Duration::from_secs(300),
            lease_seconds: crate::lease::SECONDS,
            approval: Approval::Awaited,
        }
    }
}

/// A way to hosts, and in whose name it is used. Clones share everything.
pub struct Session<T: Transport> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    transport: Arc<T>,
    identity: Identity,
    history: History,
    observer: Arc<dyn Observer>,
    options: Options,
}

impl<T: Transport> Clone for Session<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Transport> Session<T> {
    /// A session with the usual [`Options`].
    pub fn new(transport: Arc<T>, identity: Identity, history: History, observer: Arc<dyn Observer>) -> Self {
        Self { shared: Arc::new(Shared { transport, identity, history, observer, options: Options::default() }) }
    }

    /// The same session with other options.
    #[must_use]
    pub fn with(&self, options: Options) -> Self {
        let (transport, observer) = (Arc::clone(&self.shared.transport), Arc::clone(&self.shared.observer));
        let (identity, history) = (self.shared.identity.clone(), self.shared.history.clone());
        Self { shared: Arc::new(Shared { transport, identity, history, observer, options }) }
    }

    /// The way to hosts.
    pub fn transport(&self) -> &Arc<T> {
        &self.shared.transport
    }

    /// Who asks.
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// Where runs are recorded.
    pub fn history(&self) -> &History {
        &self.shared.history
    }

    /// How it works with hosts.
    pub fn options(&self) -> Options {
        self.shared.options
    }

    fn notify(&self, notice: Notice<'_>) {
        self.shared.observer.notice(notice);
    }
}
