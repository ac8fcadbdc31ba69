//! What moved on the hosts since a plan was made.
//!
//! In: a saved plan, and what the hosts answer now. Out: per host everything that is another than the plan was made on, and
//! whether the plan as a whole had its time. Never: a guess: what cannot be read any more has moved.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::SavedPlan;
use crate::ledger::{Applied, Ledger, Records, ResourceKey};
use crate::name::{Address, HostName};
use crate::plan::foreign::Foreign;
use crate::plan::{Base, Observed, Work};
use crate::resource::{Resource, kind};
use crate::step::{Digest, Probe, Readings};

/// What a look at the hosts shows before a saved plan is carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Why none of it may be carried out.
    pub stale: Option<Stale>,
    /// Why nothing of it may be done on these hosts, which are all that moved.
    pub hosts: BTreeMap<HostName, Vec<Moved>>,
}

/// Why a plan as a whole had its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stale {
    /// It was carried out already.
    Done {
        /// A host that remembers.
        host: HostName,
        /// The run.
        by: Box<Applied>,
    },
    /// Another plan was carried out since on a host that it changes.
    Overtaken {
        /// The host.
        host: HostName,
        /// The run.
        by: Box<Applied>,
    },
}

/// Something on a host that is another than a plan was made on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// It does not answer.
    Silent(String),
    /// Another machine answers under its name.
    Machine {
        /// The machine id it had.
        was: String,
        /// The one it has.
        is: String,
    },
    /// What armilla keeps there cannot be read.
    Ledger(String),
    /// armilla worked there since, or what it remembers is lost.
    Generation {
        /// The number that the plan was made at.
        was: u64,
        /// The number there is.
        is: u64,
        /// The run, if it is remembered.
        by: Option<Box<Applied>>,
    },
    /// This resource is another.
    Resource(Address),
    /// This resource cannot be read any more.
    Unreadable(Address, String),
    /// This resource belongs to somebody else now.
    Claimed(Address, String),
    /// The plan does not say what it saw there.
    Unknown,
}

impl Look {
    /// Why each host that moved is refused, in one line.
    pub fn refused(&self) -> BTreeMap<HostName, String> {
        const MOST: usize = 5;
        let line = |moved: &Vec<Moved>| {
            let first: Vec<String> = moved.iter().take(MOST).map(Moved::to_string).collect();
            let more = moved.len().saturating_sub(MOST);
            let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
            first.join("; ") + &rest
        };
        self.hosts.iter().map(|(host, moved)| (host.clone(), line(moved))).collect()
    }
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { host, by } => write!(f, "this plan was already applied: {host} has it from {}", run(by)),
            Self::Overtaken { host, by } => {
                write!(f, "another plan was applied after this one was made: {host} has it from {}", run(by))
            }
        }
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(why) => write!(f, "it is unreachable: {why}"),
            Self::Machine { was, is } => {
                write!(f, "another machine has its name: it was {}, and this is {}", id(was), id(is))
            }
            Self::Ledger(why) => write!(f, "{why}"),
            Self::Generation { by: Some(by), .. } => {
                write!(f, "armilla worked there since the plan was made: {}", run(by))
            }
            Self::Generation { was, is, by: None } => {
                write!(f, "its ledger changed since the plan was made: {was} runs then, {is} now")
            }
            Self::Resource(address) => write!(f, "{address} changed since the plan was made"),
            Self::Unreadable(address, why) => write!(f, "{address} can no longer be read: {why}"),
            Self::Claimed(address, why) => write!(f, "{address}: {why}"),
            Self::Unknown => write!(f, "the plan has no state for it"),
        }
    }
}

fn run(by: &Applied) -> String {
    format!("the run {} of {}, started {}", by.run, by.who, by.at)
}

fn id(machine: &str) -> &str {
    if machine.is_empty() { "a machine without an id" } else { machine }
}

/// Compares what the hosts answer now with what the plan was made on.
pub(super) fn look(saved: &SavedPlan, digest: &Digest, now: &Observed) -> Look {
    let mut look = Look::default();
    for host in concerned(saved) {
        let (moved, by) = match (saved.plan.bases.get(host), now.get(host)) {
            (None, _) => (vec![Moved::Unknown], None),
            (_, None) => (vec![Moved::Silent("it was not checked".to_owned())], None),
            (_, Some(Err(why))) => (vec![Moved::Silent(why.clone())], None),
            (Some(base), Some(Ok(readings))) => on(saved, host, base, readings),
        };
        let stale = by.and_then(|by| stale(saved, digest, host, by, &moved));
        // That the plan was carried out already says more than that something else was done since.
        if matches!(stale, Some(Stale::Done { .. })) || look.stale.is_none() {
            look.stale = stale.or(look.stale);
        }
        if !moved.is_empty() {
            look.hosts.insert(host.clone(), moved);
        }
    }
    look
}

/// The hosts on which the plan does something.
fn concerned(saved: &SavedPlan) -> BTreeSet<&HostName> {
    saved.plan.stages.iter().filter_map(|stage| stage.work.host()).collect()
}

fn stale(saved: &SavedPlan, digest: &Digest, host: &HostName, by: Applied, moved: &[Moved]) -> Option<Stale> {
    if by.plan == *digest {
        return Some(Stale::Done { host: host.clone(), by: Box::new(by) });
    }
    let changes =
        saved.plan.stages.iter().any(|stage| matches!(&stage.work, Work::Change(block) if block.host == *host));
    let since = moved.iter().any(|moved| matches!(moved, Moved::Generation { by: Some(_), .. }));
    (changes && since).then(|| Stale::Overtaken { host: host.clone(), by: Box::new(by) })
}

/// What moved on a host that answers, and the last run there.
fn on(saved: &SavedPlan, host: &HostName, base: &Base, readings: &Readings) -> (Vec<Moved>, Option<Applied>) {
    let state = match readings.state(&Probe::State) {
        Ok(state) => state,
        Err(why) => return (vec![Moved::Ledger(why.to_string())], None),
    };
    if state.machine != base.machine {
        return (vec![Moved::Machine { was: base.machine.clone(), is: state.machine.clone() }], None);
    }
    let records = Records::of(state, &saved.plan.owner, host);
    let known = ledger(saved, &records).and_then(|ledger| Ok((ledger, Foreign::of(&records.others)?)));
    let (ledger, foreign) = match known {
        Ok(known) => known,
        Err(why) => return (vec![Moved::Ledger(why)], None),
    };
    let by = ledger.last.clone();
    let mut moved = Vec::new();
    if ledger.generation != base.generation {
        let since = by.clone().filter(|_| ledger.generation > base.generation).map(Box::new);
        moved.push(Moved::Generation { was: base.generation, is: ledger.generation, by: since });
    }
    moved.extend(resources(saved, host, base, readings, &ledger));
    moved.extend(claimed(saved, host, &foreign));
    (moved, by)
}

fn ledger(saved: &SavedPlan, records: &Records<'_>) -> Result<Ledger, String> {
    let read = Ledger::of(saved.plan.environment(), records.ledger(), records.journal());
    read.map_err(|error| error.to_string())
}

/// What the plan wants of a host and another project or environment has made its own since.
fn claimed(saved: &SavedPlan, host: &HostName, foreign: &Foreign) -> Vec<Moved> {
    let blocks = saved.catalog.hosts.get(host).into_iter().flat_map(|host| &host.blocks);
    let wanted = blocks.flat_map(|block| block.items.iter().map(|item| (block.role.clone(), &item.resource)));
    let theirs = wanted.filter_map(|(role, resource)| {
        let why = foreign.refusal(&**resource)?;
        let (kind, target) = (resource.kind(), resource.target());
        Some(Moved::Claimed(Address { host: host.clone(), role, kind, target }, why))
    });
    theirs.collect()
}

fn resources(saved: &SavedPlan, host: &HostName, base: &Base, readings: &Readings, ledger: &Ledger) -> Vec<Moved> {
    let blocks = saved.catalog.hosts.get(host).into_iter().flat_map(|host| &host.blocks);
    let wanted = blocks.flat_map(|block| block.items.iter().map(|item| (block.role.clone(), &item.resource)));
    let wanted: BTreeMap<Address, _> = wanted
        .map(|(role, resource)| {
            let (kind, target) = (resource.kind(), resource.target());
            (Address { host: host.clone(), role, kind, target }, resource.clone())
        })
        .collect();
    let one = |(address, was): &(Address, Digest)| {
        let known = wanted.get(address).cloned().map_or_else(|| left(address, ledger), Ok);
        let seen = known.and_then(|resource| resource.seen(readings).map_err(|why| why.to_string()));
        match seen {
            Ok(seen) if saved.marked(seen.fingerprint.expose()) == *was => None,
            Ok(_) => Some(Moved::Resource(address.clone())),
            Err(why) => Some(Moved::Unreadable(address.clone(), why)),
        }
    };
    base.seen.iter().filter_map(one).collect()
}

/// A resource that no role wants any more, as the ledger knows it.
fn left(address: &Address, ledger: &Ledger) -> Result<std::sync::Arc<dyn Resource>, String> {
    let place =
        ResourceKey { role: address.role.clone(), kind: address.kind.to_owned(), target: address.target.clone() };
    let keys = ledger.owned.get(&place).and_then(|owned| owned.absent.clone());
    let (Some(keys), Some(known)) = (keys, kind(address.kind)) else {
        return Err("the ledger of the host does not have it".to_owned());
    };
    (known.parse)(&keys.into()).map_err(|error| error.what)
}
