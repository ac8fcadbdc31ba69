//! Everything the fleet keeps behind its lock: hosts, clock and log, and what one host sees of another.

use std::collections::BTreeMap;

use super::machine::Machine;
use super::units::Definition;
use crate::step::{Outcome, PortReading, Step};
use crate::transport::TransportError;

/// A step that was done, or tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Did {
    /// On which host.
    pub host: String,
    /// What.
    pub step: Step,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended, by the clock of the fleet.
    pub at: i64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) machines: BTreeMap<String, Machine>,
    pub(super) now: i64,
    /// Seconds that a step takes.
    pub(super) pace: i64,
    /// After so many more steps, in all of the fleet, every connection ends.
    pub(super) left: Option<usize>,
    pub(super) log: Vec<Did>,
}

/// A day in 2023, so that times look like times.
const BEGINNING: i64 = 1_700_000_000;

impl State {
    pub(super) fn new() -> Self {
        Self { now: BEGINNING, pace: 1, ..Self::default() }
    }

    pub(super) fn lost(host: &str, why: &str) -> TransportError {
        TransportError::Lost { host: host.to_owned(), why: why.to_owned() }
    }

    pub(super) fn port(&self, from: &str, address: &str, port: u16) -> PortReading {
        let here = ["127.0.0.1", "localhost"].contains(&address);
        let name = if here { from } else { address };
        let open = self.machines.get(name).filter(|machine| !machine.off).is_some_and(|machine| {
            let listens =
                |(unit, definition): (&String, &Definition)| definition.port == Some(port) && self.works(name, unit);
            machine.host.units.iter().map(|(unit, known)| (unit, &known.definition)).any(listens)
        });
        if open { PortReading::Open } else { PortReading::Closed }
    }

    /// Whether a unit runs on a host, has run for long enough, and has enough others with it.
    fn works(&self, name: &str, unit: &str) -> bool {
        let known = self.machines.get(name).and_then(|machine| machine.host.units.get(unit));
        known.is_some_and(|known| {
            let warm = known.since.is_some_and(|since| self.now - since >= known.definition.warm);
            let (_, age) = known.restarts(self.now);
            age.is_some() && warm && (!known.definition.quorum || self.has_quorum(unit))
        })
    }

    fn has_quorum(&self, unit: &str) -> bool {
        let members: Vec<&Machine> =
            self.machines.values().filter(|machine| Definition::read(unit, &machine.host.paths).is_some()).collect();
        let running = members.iter().filter(|machine| !machine.off && machine.host.units.is_active(unit)).count();
        running * 2 > members.len()
    }

    /// What `zookeeper-mode` says: the first running host is the leader.
    pub(super) fn mode(&self, name: &str) -> Option<String> {
        let unit = "zookeeper.service";
        let running = |machine: &Machine| !machine.off && machine.host.units.is_active(unit);
        if !self.machines.get(name).is_some_and(running) || !self.has_quorum(unit) {
            return None;
        }
        let leader = self.machines.iter().find(|(_, machine)| running(machine)).map(|(name, _)| name.as_str());
        Some(if leader == Some(name) { "leader" } else { "follower" }.to_owned())
    }
}
