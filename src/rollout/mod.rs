//! How the hosts of a service change: how many at a time, in which order, and when no other may follow.
//!
//! In: what a role promises, and how each member is. Out: a [`Rollout`], why it cannot be kept, and the [`State`] that says
//! which host is next. Never: a plan, a stage, a host or a clock; the time is an argument.

mod budget;
mod decision;
mod order;
mod policy;
mod state;

use std::collections::BTreeMap;

pub use budget::Budget;
pub use decision::{Directive, Halt, Hold, Restoration};
pub use order::Ranking;
pub use policy::{Amount, Batch, Canary, OnFailure, Policy, STABLE};
pub use state::State;

use crate::name::HostName;
use crate::step::{Check, Health, Probe, Reading, Readings, health};

/// The place of a stage in a plan. A rollout only hands it on.
pub type StageId = usize;

/// How the hosts of a service change, where more is to be decided than that all change at once.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// How many hosts are down at a time. Of several, the last goes on for ever, and each begins when the hosts of the one
    /// before are well.
    pub slots: Vec<usize>,
    /// How many hosts may fail; none counts those too that do not answer now.
    pub budget: Budget,
    /// How many hosts are healthy at any moment.
    pub floor: usize,
    /// Answers to the order's program that are first: a regular expression, the whole of it.
    pub first: Option<String>,
    /// And last.
    pub last: Option<String>,
    /// Some that go first.
    pub canary: Option<Canary>,
    /// What happens when there is a failure too many.
    pub on_failure: OnFailure,
    /// The hosts that change and have nothing to lose, because the service does not run there: they are first, all at once.
    pub together: Vec<HostName>,
    /// The other hosts that change, in the order of the inventory.
    pub waiting: Vec<HostName>,
    /// All hosts of the service.
    pub members: BTreeMap<HostName, Member>,
    /// The stages that put a host back as it was, in order; empty unless a failure is rolled back.
    pub undo: BTreeMap<HostName, Vec<StageId>>,
    /// Why it cannot be kept.
    pub refused: Option<String>,
}

impl Rollout {
    /// What a policy means for these members, of which some change.
    pub fn new(policy: &Policy, members: BTreeMap<HostName, Member>, changing: Changing) -> Self {
        let all = members.len();
        let slots = policy.batch.iter().map(|batch| batch.of(all)).collect::<Vec<_>>();
        let mut rollout = Self {
            slots: if slots.is_empty() { vec![all.max(1)] } else { slots },
            budget: policy.budget.map_or(Budget::Unset, |budget| Budget::Failures(budget.at_most(all))),
            floor: policy.keep_healthy.map_or(0, |amount| amount.at_least(all)),
            first: policy.first.clone(),
            last: policy.last.clone(),
            canary: policy.canary,
            on_failure: policy.on_failure,
            together: changing.together,
            waiting: changing.waiting,
            members,
            undo: BTreeMap::new(),
            refused: None,
        };
        rollout.refused = rollout.refusal();
        rollout
    }

    /// Whether its members are asked how they are while it goes on.
    pub fn asks(&self) -> bool {
        self.asks_before_each() || self.canary.is_some()
    }

    /// Whether they are asked before some begin.
    fn asks_before_each(&self) -> bool {
        self.floor > 0 || self.is_ordered()
    }

    /// Whether what members say decides whose turn it is. Each turn may change what they say.
    fn is_ordered(&self) -> bool {
        self.first.is_some() || self.last.is_some()
    }

    fn zone(&self, host: &HostName) -> Option<&str> {
        self.members.get(host).and_then(|member| member.zone.as_deref())
    }
}

/// The hosts of a service that change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changing {
    /// Those on which the service does not run and is not healthy. They have nothing to lose.
    pub together: Vec<HostName>,
    /// The others.
    pub waiting: Vec<HostName>,
}

impl Changing {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.together.is_empty() && self.waiting.is_empty()
    }

    /// Their batches where a role promises nothing. Hosts with nothing to lose change first and together, as a first
    /// install must (no member of an ensemble is healthy alone); the others follow.
    pub fn batches(self) -> Vec<Vec<HostName>> {
        [self.together, self.waiting].into_iter().filter(|batch| !batch.is_empty()).collect()
    }
}

/// A host of a service, and how it was when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// How it is.
    pub standing: Standing,
    /// What it says to the order's program.
    pub answer: Option<String>,
    /// What stands or falls with it.
    pub zone: Option<String>,
    /// When it is healthy.
    pub checks: Vec<Check>,
    /// The order's program.
    pub by: Option<Probe>,
}

/// How a service is on a host.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Standing {
    /// It is healthy.
    Up,
    /// It is not, and why.
    Down(String),
    /// The host does not answer.
    Away(String),
    /// It could not be asked, and why.
    Unknown(String),
}

impl Standing {
    /// Why it is not known to be healthy.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Up => None,
            Self::Down(why) | Self::Away(why) | Self::Unknown(why) => Some(why),
        }
    }
}

/// How a member is, and what it says to the order's program.
pub type MemberAnswer = (Standing, Option<String>);

impl Member {
    /// What it is asked.
    pub fn probes(&self) -> Vec<Probe> {
        self.checks.iter().map(|check| check.probe.clone()).chain(self.by.clone()).collect()
    }

    /// What its answers mean.
    pub fn answer(&self, readings: Result<&Readings, String>) -> MemberAnswer {
        let readings = match readings {
            Ok(readings) => readings,
            Err(why) => return (Standing::Away(why), None),
        };
        let standing = match health(&self.checks, readings) {
            Health::Healthy => Standing::Up,
            Health::Unhealthy(why) => Standing::Down(why),
            Health::Unknown(why) => Standing::Unknown(why),
        };
        let said = self.by.as_ref().and_then(|probe| match readings.get(probe)? {
            Reading::Command(command) if command.exit == 0 => {
                Some(String::from_utf8_lossy(&command.stdout).trim().to_owned())
            }
            _ => None,
        });
        (standing, said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `h0`, `h1`, ..., as they are.
    pub(super) fn members(standings: &[Standing]) -> BTreeMap<HostName, Member> {
        let member = |(at, standing): (usize, &Standing)| {
            let name = HostName::new(&format!("h{at}")).expect("a name");
            (name, Member { standing: standing.clone(), answer: None, zone: None, checks: Vec::new(), by: None })
        };
        standings.iter().enumerate().map(member).collect()
    }
}
