//! How the hosts of a service change, in numbers: how many at a time, in which order, and how many stay healthy.
//!
//! In: what a role promises, and how each host is. Out: a [`Rollout`], the order it gives, and why it cannot be kept.
//! Never: a host that is asked; a run asks again and comes back with the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Health, StageId};
use crate::catalog::{Canary, OnFailure, Policy};
use crate::name::HostName;
use crate::step::{Check, Probe, Reading, Readings};

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

/// How many failures are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Budget {
    /// One. Hosts that did not answer when the plan was made are left out, and do not count.
    Unset,
    /// One more than this; hosts that did not answer when the plan was made count.
    Failures(usize),
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
pub type Answer = (Standing, Option<String>);

impl Member {
    /// What it is asked.
    pub fn probes(&self) -> Vec<Probe> {
        self.checks.iter().map(|check| check.probe.clone()).chain(self.by.clone()).collect()
    }

    /// What its answers mean.
    pub fn answer(&self, readings: Result<&Readings, String>) -> Answer {
        let readings = match readings {
            Ok(readings) => readings,
            Err(why) => return (Standing::Away(why), None),
        };
        let standing = match super::health(&self.checks, readings) {
            Health::Healthy => Standing::Up,
            Health::Sick(why) => Standing::Down(why),
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

/// The sizes of the parts in which hosts follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// How many hosts have begun when it begins.
    pub from: usize,
    /// How many have begun when the next begins; none if it is the last.
    pub to: Option<usize>,
    /// How many are down at a time.
    pub slots: usize,
    /// Whether those before it are canaries.
    pub after_canaries: bool,
}

impl Rollout {
    /// In numbers.
    pub(super) fn new(policy: &Policy, members: BTreeMap<HostName, Member>) -> Self {
        let all = members.len();
        let slots = policy.batch.iter().map(|batch| batch.of(all)).collect::<Vec<_>>();
        Self {
            slots: if slots.is_empty() { vec![all.max(1)] } else { slots },
            budget: policy.budget.map_or(Budget::Unset, |budget| Budget::Failures(budget.at_most(all))),
            floor: policy.keep_healthy.map_or(0, |amount| amount.at_least(all)),
            first: policy.first.clone(),
            last: policy.last.clone(),
            canary: policy.canary,
            on_failure: policy.on_failure,
            together: Vec::new(),
            waiting: Vec::new(),
            members,
            undo: BTreeMap::new(),
            refused: None,
        }
    }

    /// The part in which a host is that begins after so many others. Those that are begun together do not count.
    pub fn phase(&self, begun: usize) -> Phase {
        let canaries = self.canary.map(|canary| canary.hosts);
        let ramp = self.slots.split_last().map_or(&[] as &[usize], |(_, ramp)| ramp);
        let mut from = 0;
        let sizes = canaries.into_iter().chain(ramp.iter().copied()).enumerate();
        for (index, size) in sizes {
            if begun < from + size {
                let after_canaries = index == 1 && canaries.is_some();
                return Phase { from, to: Some(from + size), slots: size, after_canaries };
            }
            from += size;
        }
        let slots = self.slots.last().copied().unwrap_or(1);
        Phase { from, to: None, slots, after_canaries: canaries.is_some() && ramp.is_empty() }
    }

    /// Where a host comes, by what it says: the lowest is first.
    pub fn rank(&self, answer: Option<&str>) -> u8 {
        // The role was refused if this is no regular expression.
        let is = |pattern: &Option<String>| {
            let pattern = pattern.as_deref().and_then(|p| regex::Regex::new(&format!("^(?:{p})$")).ok());
            pattern.zip(answer).is_some_and(|(pattern, answer)| pattern.is_match(answer))
        };
        match () {
            () if is(&self.first) => 0,
            () if is(&self.last) => 2,
            () => 1,
        }
    }

    /// Where a member comes, by how it is and what it says: the lowest is first. One that is not known to be healthy comes
    /// before the healthy ones, which must not go down before it is well again; but never before its turn by what it says.
    pub fn place(&self, standing: &Standing, answer: Option<&str>) -> (u8, bool) {
        (self.rank(answer), *standing == Standing::Up)
    }

    /// How long a service below what it promises is waited for: as long as its slowest check may take.
    pub fn patience(&self) -> Duration {
        let checks = self.members.values().flat_map(|member| &member.checks);
        checks.map(|check| check.within).max().unwrap_or_default()
    }

    /// Whether its hosts must be asked before one begins.
    pub fn asks(&self) -> bool {
        self.floor > 0 || self.first.is_some() || self.last.is_some()
    }

    /// The hosts that change, in the batches that are to be expected.
    pub(super) fn batches(&self) -> Vec<Vec<HostName>> {
        let mut rest = self.in_order();
        let mut batches: Vec<Vec<HostName>> = vec![self.together.clone()];
        let mut begun = 0;
        while !rest.is_empty() {
            let phase = self.phase(begun);
            let most = phase.to.map_or(phase.slots, |to| to - begun).min(phase.slots);
            let zone = |host: &HostName| self.members.get(host).and_then(|member| member.zone.clone());
            let same = rest.iter().take(most).take_while(|host| zone(host) == zone(&rest[0])).count();
            begun += same;
            batches.push(rest.drain(..same).collect());
        }
        batches.retain(|batch| !batch.is_empty());
        batches
    }

    fn in_order(&self) -> Vec<HostName> {
        let mut zones: Vec<&str> = Vec::new();
        for zone in self.waiting.iter().filter_map(|host| self.members.get(host)?.zone.as_deref()) {
            if !zones.contains(&zone) {
                zones.push(zone);
            }
        }
        let key = |host: &HostName| {
            let member = self.members.get(host);
            let zone = member.and_then(|member| member.zone.as_deref());
            (
                member.map(|member| self.place(&member.standing, member.answer.as_deref())),
                zones.iter().position(|known| Some(*known) == zone),
            )
        };
        let mut hosts = self.waiting.clone();
        hosts.sort_by_key(key);
        hosts
    }

    /// The same with what the members say now.
    pub fn refusal_now(&self, answers: &BTreeMap<HostName, Answer>) -> Option<String> {
        let mut now = self.clone();
        for (host, (standing, answer)) in answers {
            if let Some(member) = now.members.get_mut(host) {
                (member.standing, member.answer) = (standing.clone(), answer.clone());
            }
        }
        now.refusal()
    }

    /// Whether it could be kept if all members that answer were healthy: one that was restarted a moment ago will be.
    pub fn may_recover(&self) -> bool {
        let up = |member: &Member| match &member.standing {
            Standing::Down(_) => (Standing::Up, None),
            other => (other.clone(), None),
        };
        self.refusal_now(&self.members.iter().map(|(host, member)| (host.clone(), up(member))).collect()).is_none()
    }

    /// Why it cannot be kept that so many stay healthy, if it cannot. Hosts that are down and change are counted as if they
    /// will be healthy: they change first, and nothing follows unless they are.
    pub(super) fn refusal(&self) -> Option<String> {
        let mended: BTreeSet<&HostName> = self.together.iter().chain(&self.waiting).collect();
        let is_up = |host: &&HostName| self.members.get(*host).is_some_and(|member| member.standing == Standing::Up);
        let risked = self.waiting.iter().find(is_up)?;
        let well = self.members.iter().filter(|(host, member)| {
            member.standing == Standing::Up || (matches!(member.standing, Standing::Down(_)) && mended.contains(host))
        });
        let left = well.count().saturating_sub(1);
        if left >= self.floor {
            return None;
        }
        let down = self.members.iter().filter(|(host, member)| {
            member.standing != Standing::Up && !(matches!(member.standing, Standing::Down(_)) && mended.contains(host))
        });
        let down: Vec<String> = down.map(|(host, member)| format!("{host} {}", short(&member.standing))).collect();
        let because = if down.is_empty() { String::new() } else { format!(": {}", down.join("; ")) };
        Some(format!(
            "changing {risked} would leave {left} of {} healthy, and `keep_healthy` requires {}{because}",
            self.members.len(),
            self.floor
        ))
    }
}

fn short(standing: &Standing) -> String {
    match standing {
        Standing::Up => "is healthy".to_owned(),
        Standing::Down(why) => format!("is not healthy ({why})"),
        Standing::Away(why) => format!("does not answer ({why})"),
        Standing::Unknown(why) => format!("is not known to be healthy ({why})"),
    }
}
