//! One simulated host as the fleet has it: its power and connection, its journal and ledgers, and what it rolls back by itself.

use std::collections::BTreeMap;

use super::deadman::Guards;
use super::{Fault, Host, undo};
use crate::lease::{Desk, Ticket};
use crate::name::{HostName, Owner, RoleName};
use crate::step::{Outcome, Record, StateReading, Step};

#[derive(Debug, Default)]
pub(super) struct Machine {
    pub(super) host: Host,
    pub(super) off: bool,
    pub(super) unreachable: bool,
    /// How often others come first while it does a step.
    pub(super) slowness: usize,
    pub(super) faults: BTreeMap<usize, Fault>,
    pub(super) steps: usize,
    pub(super) trips: usize,
    /// The lease it gave.
    pub(super) desk: Desk,
    /// Whether it is carrying out an order.
    pub(super) busy: bool,
    pub(super) boots: u32,
    /// What it undoes by itself. It outlives a loss of power.
    pub(super) guards: Guards,
    /// What it keeps for armilla. It outlives a loss of power: it was flushed to disk.
    pub(super) kept: BTreeMap<Owner, Kept>,
}

/// What a host keeps for an owner.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) ledger: Option<Vec<u8>>,
    pub(super) journal: Vec<u8>,
}

impl Machine {
    /// Its boot id.
    pub(super) fn boot(&self) -> String {
        format!("boot-{}", self.boots)
    }

    /// Writes a line into the journal.
    pub(super) fn note(&mut self, ticket: &Ticket, line: &str) {
        self.write(&ticket.owner, line);
    }

    pub(super) fn write(&mut self, owner: &Owner, line: &str) {
        let journal = &mut self.kept.entry(owner.clone()).or_default().journal;
        journal.extend_from_slice(line.as_bytes());
        journal.push(b'\n');
    }

    pub(super) fn save(&mut self, owner: &Owner, ledger: Option<&[u8]>, worked_in: u64) {
        let kept = self.kept.entry(owner.clone()).or_default();
        kept.ledger = ledger.map(<[u8]>::to_vec);
        let worked_in = usize::try_from(worked_in).unwrap_or(usize::MAX).min(kept.journal.len());
        kept.journal.drain(..worked_in);
    }

    pub(super) fn state(&self, name: &str) -> StateReading {
        let record = |kept: &Kept| Record {
            ledger: kept.ledger.clone(),
            journal: Some(kept.journal.clone()).filter(|journal| !journal.is_empty()),
        };
        let host = HostName::new(name).ok();
        let records = self.kept.iter().filter_map(|(owner, kept)| Some(((owner.clone(), host.clone()?), record(kept))));
        StateReading {
            machine: format!("machine-{name}"),
            boot: self.boot(),
            records: records.filter(|(_, record)| *record != Record::default()).collect(),
        }
    }

    /// Gives an owner what is kept for the same environment of no project.
    pub(super) fn adopt(&mut self, owner: &Owner) {
        if let Some(kept) = self.kept.remove(&owner.without_project()) {
            self.kept.insert(owner.clone(), kept);
        }
        self.host.adopt(owner);
    }

    /// Does a step about what it undoes by itself.
    pub(super) fn guard(&mut self, step: &Step, now: i64) -> Outcome {
        let (outcome, due) = self.guards.perform(step, now);
        if let Some((owner, name)) = &due {
            self.put_back(owner, name);
        }
        outcome
    }

    /// Puts back what is due, unless an order is being carried out.
    pub(super) fn watch_over(&mut self, now: i64) {
        let due = if self.busy { Vec::new() } else { self.guards.due(now) };
        for (owner, name) in &due {
            self.put_back(owner, name);
        }
    }

    /// Puts back all that is armed: it has booted.
    pub(super) fn wake(&mut self) {
        self.watch_over(i64::MAX);
    }

    fn put_back(&mut self, owner: &Owner, name: &RoleName) {
        let key = (owner.clone(), name.to_string());
        if !undo::is_done(&self.host, &key) && undo::undo(&mut self.host, &key).is_ok() {
            self.write(owner, &format!("undone {name}"));
        }
    }

    pub(super) fn lose_power(&mut self) {
        self.off = true;
        self.busy = false;
        self.host.units.lose_power();
    }
}
