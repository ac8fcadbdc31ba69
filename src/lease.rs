//! Who may change a host now: a lease that ends by itself, and a number that makes stale controllers recognizable.
//!
//! In: what a controller asks, what is written on a host, and the host's monotonic time. Out: what the host answers, and
//! what it then has written down. Never: a clock; wall clocks are only shown, never compared.
//!
//! A host grants one lease at a time, to one controller, whatever the project and environment. Each grant raises the host's *fence*; every
//! order to change something carries the number, and a host refuses an order with another one. The rule is [`grant`];
//! real hosts (`host/keep/lock.rs`) and the simulator decide by it.

use serde::{Deserialize, Serialize};

use crate::name::{EnvName, Owner, ProjectId, RunId};

/// The format of the file on a host.
pub const VERSION: u32 = 1;

/// How long a lease lasts without a sign of life, in seconds.
pub const SECONDS: u32 = 120;

/// The name of one lease: 16 hexadecimal digits of chance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId(pub String);

/// Who holds a lease, in words for others. Nothing of it is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// The environment worked on.
    pub environment: EnvName,
    /// Its project; none if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    /// The run.
    pub run: RunId,
    /// `user@machine`.
    pub who: String,
    /// What was typed, without secrets.
    pub command: String,
    /// The controller's `/etc/machine-id`, or nothing.
    pub machine: String,
    /// The controller's boot id, or nothing.
    pub boot: String,
    /// The controller's process.
    pub pid: u32,
    /// When that process began, in the kernel's ticks since its boot: a number that is used again has another beginning.
    pub ticks: u64,
    /// The namespaces in which `pid` and `ticks` mean what they say: containers on one machine have their own. Empty if
    /// that is not known, as in a lock of an earlier version.
    #[serde(default)]
    pub namespace: String,
    /// When, by the controller's clock, in RFC 3339.
    pub since: String,
}

/// A lease as it is written on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The format: [`VERSION`].
    pub version: u32,
    /// Which.
    pub id: LeaseId,
    /// The number that orders carry.
    pub fence: u64,
    /// How long it lasts without a sign of life, in seconds.
    pub seconds: u32,
    /// Who.
    pub holder: Holder,
}

/// What the name of a lease begins with that was released or broken while an order of it was being carried out.
const ENDED: &str = "ended-";

impl Lease {
    /// The same when nobody has it any more, but what is done under it is not over.
    fn ended(self) -> Self {
        let id = if self.is_ended() { self.id } else { LeaseId(format!("{ENDED}{}", self.id.0)) };
        Self { id, seconds: 0, ..self }
    }

    /// Whether nobody has it any more.
    pub fn is_ended(&self) -> bool {
        self.id.0.starts_with(ENDED)
    }
}

/// A lease and what the host knows about its holder's last sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    pub lease: Lease,
    /// Seconds since the last sign of life; since the host booted, if that was before.
    pub silent: u64,
    /// Whether an order of it is being carried out at this moment.
    pub busy: bool,
}

impl Held {
    /// Seconds until it ends by itself.
    pub fn left(&self) -> u64 {
        u64::from(self.lease.seconds).saturating_sub(self.silent)
    }

    /// Whether it stands in nobody's way: it ended, and nothing is being carried out under it.
    pub fn is_over(&self) -> bool {
        self.left() == 0 && !self.busy
    }
}

/// What a controller asks of a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "one is made for each question to a host, and none is kept")]
pub enum Request {
    /// A lease of its own.
    Acquire {
        /// The new name.
        id: LeaseId,
        /// Who asks.
        holder: Holder,
        /// How long it lasts without a sign of life, in seconds.
        seconds: u32,
        /// The lease of a holder that is known to be dead, which ends now.
        instead_of: Option<LeaseId>,
    },
    /// A sign of life.
    Renew {
        /// Which.
        id: LeaseId,
    },
    /// Its end.
    Release {
        /// Which.
        id: LeaseId,
    },
    /// The end of somebody else's. What is being carried out under it at this moment goes on to its end; nothing more.
    Break {
        /// Which.
        id: LeaseId,
    },
    /// Nothing but a look.
    Look,
}

/// What a host answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseAnswer {
    /// It is the asker's, with this fence.
    Granted(u64),
    /// The asker got it by another name of this machine, with this fence.
    Shared(u64),
    /// It is somebody else's; or nobody's, but an order of the last holder is still being carried out.
    Taken(Box<Held>),
    /// There is none: it was released, it ended, or there never was one.
    Free,
    /// The asker's has ended or was broken; this one may be there instead.
    Lost(Option<Box<Held>>),
}

/// What a host has written down, and what its clock says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desk {
    /// The lease, if there is one.
    pub lease: Option<Lease>,
    /// The host's boot id at the last sign of life.
    pub boot: String,
    /// Seconds since boot at the last sign of life.
    pub beat: u64,
    /// The highest fence it ever gave.
    pub fence: u64,
}

/// A host's monotonic time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now<'a> {
    /// Its boot id.
    pub boot: &'a str,
    /// Seconds since then.
    pub uptime: u64,
    /// Whether an order is being carried out.
    pub busy: bool,
}

impl Desk {
    /// The lease with what is known about its holder. After a boot it counts from there: its holder may be waiting for
    /// the host to come back.
    pub fn held(&self, now: Now<'_>) -> Option<Held> {
        let silent = if self.boot == now.boot { now.uptime.saturating_sub(self.beat) } else { now.uptime };
        self.lease.clone().map(|lease| Held { lease, silent, busy: now.busy })
    }
}

/// What a host answers, and what it has written down afterwards. While an order is carried out nobody else gets in, even
/// if the lease has ended meanwhile: there are never two who write.
pub fn grant(desk: &mut Desk, request: &Request, now: Now<'_>) -> LeaseAnswer {
    let held = desk.held(now);
    let mine = |id: &LeaseId| held.as_ref().is_some_and(|held| held.lease.id == *id);
    match request {
        Request::Look => held.map_or(LeaseAnswer::Free, |held| LeaseAnswer::Taken(Box::new(held))),
        // One machine may have many names, and is asked once by each: all of them have the one lease.
        Request::Acquire { id, .. } if mine(id) => {
            now.boot.clone_into(&mut desk.boot);
            desk.beat = now.uptime;
            LeaseAnswer::Shared(desk.fence)
        }
        Request::Acquire { id, holder, seconds, instead_of } => {
            if let Some(held) = held {
                let over = held.left() == 0 || instead_of.as_ref() == Some(&held.lease.id);
                if held.busy || !over {
                    return LeaseAnswer::Taken(Box::new(held));
                }
            }
            desk.fence += 1;
            let fence = desk.fence;
            let lease = Lease { version: VERSION, id: id.clone(), fence, seconds: *seconds, holder: holder.clone() };
            *desk = Desk { lease: Some(lease), boot: now.boot.to_owned(), beat: now.uptime, fence };
            LeaseAnswer::Granted(fence)
        }
        // Nobody else took it meanwhile, so it goes on even if it was silent for too long.
        Request::Renew { id } if mine(id) => {
            now.boot.clone_into(&mut desk.boot);
            desk.beat = now.uptime;
            LeaseAnswer::Granted(desk.fence)
        }
        // What is still being carried out goes on to its end, and until then nobody else gets in: its name and its time
        // end now, so that whoever had it is refused from here on.
        Request::Release { id } | Request::Break { id } if mine(id) => {
            desk.lease = desk.lease.take().filter(|_| now.busy).map(Lease::ended);
            LeaseAnswer::Free
        }
        Request::Renew { .. } | Request::Release { .. } | Request::Break { .. } => {
            LeaseAnswer::Lost(held.map(Box::new))
        }
    }
}

/// By what right steps are done on a host, and what the host writes down while it does them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Whose journal is written.
    pub owner: Owner,
    /// The lease that the host granted.
    pub id: LeaseId,
    /// With this number.
    pub fence: u64,
    /// The line that the journal begins this stage with (an intent of the ledger as JSON, without line breaks). Without
    /// one nothing is written down: the steps are no change of the plan.
    pub intent: Option<String>,
    /// The number that the first step has in the journal. Only with 0 the intent is written.
    pub first: usize,
}
