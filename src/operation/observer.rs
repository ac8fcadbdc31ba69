//! What an operation tells while it goes on.

use std::sync::Arc;
use std::time::Duration;

use crate::apply::Event;
use crate::lease::Held;
use crate::name::{HostName, ProjectId, RunId, ServiceName};
use crate::plan::Plan;
use crate::step::Unreadable;
use crate::transport::TransportError;

/// Is told what happens. It decides nothing, and must not block for long: hosts wait for it.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn notice(&self, notice: Notice<'_>);
}

/// Is not interested.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn notice(&self, _: Notice<'_>) {}
}

/// What hosts are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Facts.
    Facts,
    /// The resources that are desired.
    Resources,
    /// The resources that no role wants any more.
    Removed,
    /// The health checks of services.
    Health,
    /// What they keep for armilla.
    State,
}

/// Something that happened.
#[derive(Debug, Clone, Copy)]
pub enum Notice<'a> {
    /// Hosts are asked.
    Reading {
        /// For what.
        what: Reading,
        /// How many hosts.
        hosts: usize,
    },
    /// One of them answered, or is unreachable.
    Answered {
        /// The host.
        host: &'a HostName,
        /// Why it is unreachable.
        error: Option<&'a TransportError>,
    },
    /// All of them have.
    Read,
    /// A fact could not be read.
    UnknownFact {
        /// On which host.
        host: &'a HostName,
        /// Its name.
        fact: &'a str,
        /// Why.
        why: &'a Unreadable,
    },
    /// A lock is held by somebody else and is waited for.
    AwaitingLock {
        /// On which host.
        host: &'a HostName,
        /// The lock and its holder.
        held: &'a Held,
    },
    /// A service has too few healthy members for the plan, and may recover: it is waited for.
    AwaitingService {
        /// The service.
        service: &'a ServiceName,
        /// What is wrong with it.
        why: &'a str,
    },
    /// A member of a service is not healthy after the run, and is waited for as its checks allow.
    AwaitingMember {
        /// The service.
        service: &'a str,
        /// The host.
        host: &'a HostName,
        /// What its check answers.
        why: &'a str,
    },
    /// `armilla.yml` names the project from now on.
    ProjectRecorded {
        /// Which.
        project: &'a ProjectId,
    },
    /// `armilla.yml` does not name the project, which the hosts know.
    ProjectNotRecorded {
        /// Which.
        project: &'a ProjectId,
        /// Why it could not be written.
        why: &'a str,
    },
    /// The run begins. From here on a stop lets the running stages end.
    Begun {
        /// The run.
        run: &'a RunId,
        /// What it does.
        plan: &'a Arc<Plan>,
    },
    /// Something happened in the run.
    Event {
        /// What.
        event: &'a Event,
        /// When, since the run began.
        at: Duration,
    },
    /// A host gave our lock to somebody else. The run ends after the running stages.
    LockLost {
        /// The host.
        host: &'a HostName,
        /// Why.
        why: &'a str,
    },
}
