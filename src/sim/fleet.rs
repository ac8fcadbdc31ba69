//! The hosts together, as tests see and disturb them: the clock, the power, the faults, and a log of every step.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::machine::Machine;
use super::state::{Did, State};
use super::units::at_boot;
use super::{Drift, Fault, Host};
use crate::name::Owner;

/// Hosts in memory. Everything of them is behind one lock, so that tests can look at any time.
#[derive(Debug)]
pub struct Fleet(Mutex<State>);

impl Default for Fleet {
    fn default() -> Self {
        Self(Mutex::new(State::new()))
    }
}

impl Fleet {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a host, or puts another in its place.
    pub fn add(&self, name: &str, host: Host) {
        self.state().machines.insert(name.to_owned(), Machine { host, ..Machine::default() });
    }

    /// Looks at a host, or changes it by hand. None if there is no such host.
    pub fn on<T>(&self, name: &str, what: impl FnOnce(&mut Host) -> T) -> Option<T> {
        let mut state = self.state();
        let now = state.now;
        let machine = state.machines.get_mut(name)?;
        machine.host.now = now;
        Some(what(&mut machine.host))
    }

    /// Changes a host behind our back; the clock moves on by a minute.
    pub fn drift(&self, name: &str, drift: &Drift) {
        self.state().now += 60;
        self.on(name, |host| drift.happen(host));
        self.state().now += 60;
    }

    /// The names of all hosts.
    pub fn names(&self) -> Vec<String> {
        self.state().machines.keys().cloned().collect()
    }

    /// Lets the clock move on.
    pub fn wait(&self, seconds: i64) {
        self.state().now += seconds;
    }

    /// Sets how many seconds a step takes.
    pub fn pace(&self, seconds: i64) {
        self.state().pace = seconds;
    }

    /// Lets something happen at the host's step of this number, counting from 0 and from now on.
    pub fn fault(&self, name: &str, step: usize, fault: Fault) {
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.faults.insert(machine.steps + step, fault);
        }
    }

    /// Lets every connection end after so many more steps of all hosts together: as if armilla were killed. None: no more.
    pub fn cut(&self, steps: Option<usize>) {
        self.state().left = steps;
    }

    /// Takes all faults back.
    pub fn heal(&self) {
        let mut state = self.state();
        state.left = None;
        for machine in state.machines.values_mut() {
            machine.faults.clear();
            machine.unreachable = false;
        }
    }

    /// Makes a host unreachable, or reachable again.
    pub fn unreachable(&self, name: &str, unreachable: bool) {
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.unreachable = unreachable;
        }
    }

    /// Lets others come first so many times while the host does one step.
    pub fn slow(&self, name: &str, slowness: usize) {
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.slowness = slowness;
        }
    }

    /// Takes a host's power.
    pub fn power_off(&self, name: &str) {
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.lose_power();
        }
    }

    /// Gives a host its power again: units that are enabled start.
    pub fn boot(&self, name: &str) {
        let mut state = self.state();
        state.now += 60;
        let now = state.now;
        let Some(machine) = state.machines.get_mut(name).filter(|machine| machine.off) else { return };
        machine.off = false;
        machine.boots += 1;
        machine.host.now = now;
        machine.host.units.reload_all(&machine.host.paths);
        machine.wake();
        for unit in at_boot(&machine.host.paths) {
            // What does not start at boot is found by the next plan.
            let _ = machine.host.start(&unit);
        }
    }

    /// Forgets everything a host keeps for armilla.
    pub fn lose_state(&self, name: &str) {
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.kept.clear();
            machine.host.kept.clear();
        }
    }

    /// What a host keeps for an owner: its ledger, and its journal.
    pub fn kept(&self, name: &str, owner: &Owner) -> Option<(Option<Vec<u8>>, Vec<u8>)> {
        let state = self.state();
        let kept = state.machines.get(name)?.kept.get(owner)?;
        Some((kept.ledger.clone(), kept.journal.clone()))
    }

    /// Puts this text in the place of a host's ledger.
    pub fn write_ledger(&self, name: &str, owner: &Owner, text: &[u8]) {
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.kept.entry(owner.clone()).or_default().ledger = Some(text.to_vec());
        }
    }

    /// Whether a host has no power.
    pub fn is_off(&self, name: &str) -> bool {
        self.state().machines.get(name).is_some_and(|machine| machine.off)
    }

    /// Every step that was done or tried, in order.
    pub fn log(&self) -> Vec<Did> {
        self.state().log.clone()
    }

    /// Forgets the log.
    pub fn forget(&self) {
        self.state().log.clear();
    }
}
