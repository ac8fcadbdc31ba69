//! What every way to a host can do.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use super::error::TransportError;
use crate::inventory::Endpoint;
use crate::lease::{LeaseAnswer, LeaseId, Request, Ticket};
use crate::step::{Outcome, Probe, Readings, Step};

/// A way to hosts.
pub trait Transport: Send + Sync + 'static {
    /// Asks a host everything in one round trip.
    ///
    /// # Errors
    /// When the host cannot be reached or does not answer in the agreed form. A single probe that fails is a
    /// [`crate::step::Reading::Failed`], not an error.
    fn read(&self, host: &Endpoint, probes: &[Probe]) -> impl Future<Output = Result<Readings, TransportError>> + Send;

    /// Does steps in order in one round trip, up to the first that fails. Tells of each as it begins and ends.
    ///
    /// # Errors
    /// When the connection is lost; what was told until then did happen.
    fn perform(
        &self,
        host: &Endpoint,
        order: Order<'_>,
        watch: &(dyn Fn(StepEvent) + Send + Sync),
    ) -> impl Future<Output = Result<Vec<Outcome>, TransportError>> + Send {
        async move { Ok(self.perform_then(host, order, Then::default(), watch).await?.outcomes) }
    }

    /// Does steps as [`perform`](Self::perform) does, and if all were done, what follows them, in the same round trip.
    ///
    /// # Errors
    /// As those of `perform`. What cannot follow is no error: the steps are done.
    fn perform_then(
        &self,
        host: &Endpoint,
        order: Order<'_>,
        then: Then<'_>,
        watch: &(dyn Fn(StepEvent) + Send + Sync),
    ) -> impl Future<Output = Result<Performed, TransportError>> + Send;

    /// Asks a host for a lease, or about the one it gave.
    ///
    /// # Errors
    /// When the host cannot be reached, or cannot keep anything.
    fn lease(
        &self,
        host: &Endpoint,
        request: &Request,
    ) -> impl Future<Output = Result<LeaseAnswer, TransportError>> + Send;

    /// Gives up the connection to a host: what is asked next logs in anew. Nothing, for a way without logins.
    fn hang_up(&self, host: &Endpoint) -> impl Future<Output = ()> + Send {
        let _ = host;
        async {}
    }

    /// Makes the connection to a host that will be asked soon. If it cannot be made, the next who asks the host is told so.
    /// Nothing, for a way without logins.
    fn log_in(&self, host: &Endpoint, asked: Asked) -> impl Future<Output = ()> + Send {
        let _ = (host, asked);
        async {}
    }

    /// The algorithm of the key exchange that began the connection which is there. Nothing where there is none.
    fn key_exchange(&self, host: &Endpoint) -> impl Future<Output = Option<String>> + Send {
        let _ = host;
        async { None }
    }

    /// Logs in once more, by this key exchange or as usual, only to measure it. Nothing where that is not possible.
    fn time_login(&self, host: &Endpoint, exchange: Option<&str>) -> impl Future<Output = Option<Login>> + Send {
        let _ = (host, exchange);
        async { None }
    }

    /// Ends all connections. Nothing, for a way without any.
    fn close(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// How many round trips this host has cost so far.
    fn round_trips(&self, host: &Endpoint) -> usize;
}

/// When a host is asked that is logged in to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// At once.
    AtOnce,
    /// When others have been.
    Later,
}

/// A login, and how long its parts took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The algorithm of the key exchange.
    pub exchange: String,
    /// All algorithms for it that the host offers.
    pub offered: Vec<String>,
    /// Until both sides know what the other one offers, with the way there by a jump host.
    pub connecting: Duration,
    /// The key exchange, with the check of the host's key.
    pub exchanging: Duration,
    /// The proof of who logs in.
    pub authenticating: Duration,
}

impl Login {
    /// All of it.
    pub fn took(&self) -> Duration {
        self.connecting + self.exchanging + self.authenticating
    }
}

/// Steps to do, and by what right.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// In order.
    pub steps: &'a [Step],
    /// The lease it is done under. A host refuses one that has ended. Without one it asks nobody, and writes down nothing.
    pub ticket: Option<&'a Ticket>,
    /// The folder of the project, in which the large files of the steps are.
    pub project: Option<&'a Path>,
}

impl<'a> Order<'a> {
    /// Steps under nobody's lease.
    pub fn of(steps: &'a [Step]) -> Self {
        Self { steps, ticket: None, project: None }
    }
}

/// What follows steps that were all done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Then<'a> {
    /// What is read; nothing if there is none.
    pub read: &'a [Probe],
    /// The lease that is released.
    pub release: Option<&'a LeaseId>,
}

/// What came of steps and of what follows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Performed {
    /// Of each step that began.
    pub outcomes: Vec<Outcome>,
    /// The answers to what was to be read; none if the host was not asked, or did not answer all of it.
    pub readings: Option<Readings>,
    /// Whether the lease was released.
    pub released: bool,
}

/// Which of the two things a program writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Its standard output.
    Out,
    /// Its standard error.
    Err,
}

/// What happens while steps are done. `index` counts from 0 in the list given to [`Transport::perform`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepEvent {
    /// It begins.
    Started {
        /// Which.
        index: usize,
    },
    /// A check does not hold yet, or not for long enough.
    Waiting {
        /// Which.
        index: usize,
        /// What was answered last, in one line.
        why: String,
    },
    /// It is over.
    Ended {
        /// Which.
        index: usize,
        /// How.
        outcome: Outcome,
        /// How long it took.
        took: Duration,
    },
}
