//! Putting back what a rollout changed.
//!
//! In: the changes of a plan, and how far a run came with them. Out: what is kept before a change, what puts it back, and the
//! plan of a roll back that was cut off. Never: a state that was never there: only what the host kept before is put back.

use std::collections::{BTreeMap, BTreeSet};

use super::{Condition, Plan, PlannedBlock, ServicePlan, Stage, StageId, Work, undo};
use crate::name::{HostName, Owner, ServiceName};
use crate::rollout::STABLE;
use crate::step::{Check, Expect, Probe, Readings, Snapshot, Step, Touched};

/// What a block touches is kept before it changes.
pub(super) fn keep(owner: &Owner, block: &mut PlannedBlock) {
    let (touched, _) = undo::touched(&block.entries);
    let name = block.role.to_string();
    block.before.push(Step::Snapshot(Snapshot { owner: owner.clone(), name, touched }));
}

/// The change of a block is well: what is kept for the next begins anew.
pub(super) fn commit(owner: &Owner, block: &PlannedBlock) -> Step {
    Step::Commit { owner: owner.clone(), name: block.role.to_string() }
}

/// Puts back what a block changed.
pub(super) fn undo(owner: &Owner, block: &PlannedBlock) -> Step {
    Step::Undo { owner: owner.clone(), name: block.role.to_string() }
}

/// The units that a block touches and that are active now: they must be so again.
pub(super) fn running(block: &PlannedBlock, readings: &Readings) -> Vec<Check> {
    let unit = |thing: &Touched| if let Touched::Unit(unit) = thing { Some(unit.clone()) } else { None };
    let (touched, _) = undo::touched(&block.entries);
    let probes = touched.iter().filter_map(unit).map(Probe::Unit);
    let active = probes.filter(|probe| readings.unit(probe).is_ok_and(|unit| unit.active == "active"));
    active.map(|probe| Check { stable_for: STABLE, ..Check::new(probe, Expect::Active) }).collect()
}

/// How far a run came, by the stages of its plan.
#[derive(Debug, Clone, Default)]
pub struct Begun {
    /// The stages that may have changed something.
    pub changed: BTreeSet<StageId>,
    /// Those that ended well, or were not needed.
    pub well: BTreeSet<StageId>,
    /// The services that were being put back.
    pub services: BTreeSet<ServiceName>,
}

/// What is left of a roll back that was cut off: the hosts one after the other, the last first. None if nothing was being
/// put back.
pub fn rollback(plan: &Plan, begun: &Begun) -> Option<Plan> {
    let again = |service: &&ServicePlan| begun.services.contains(&service.name) && service.rollout.is_some();
    let mut chains: Vec<Vec<StageId>> = Vec::new();
    for rollout in plan.services.iter().filter(again).filter_map(|service| service.rollout.as_ref()) {
        let first = |host: &HostName| plan.first_of(host, &begun.changed);
        let mut hosts: Vec<&HostName> = rollout.undo.keys().collect();
        hosts.sort_by_key(|host| std::cmp::Reverse(first(host)));
        chains.extend(hosts.into_iter().map(|host| rollout.undo[host].clone()));
    }
    if chains.is_empty() {
        // It is a plan of this sort itself.
        if !plan.puts_back() {
            return None;
        }
        chains.push((0..plan.stages.len()).collect());
    }
    Some(Plan { stages: plan.chained(&chains, begun), services: Vec::new(), parted: BTreeMap::new(), ..plan.clone() })
}

impl Plan {
    /// Whether it is what is left of a roll back.
    pub fn puts_back(&self) -> bool {
        self.services.is_empty() && self.stages.iter().any(|stage| matches!(stage.work, Work::Undo { .. }))
    }

    fn first_of(&self, host: &HostName, begun: &BTreeSet<StageId>) -> Option<StageId> {
        begun.iter().copied().find(|id| self.stages.get(*id).is_some_and(|stage| stage.work.host() == Some(host)))
    }

    /// These stages one after the other, without what was never begun or is put back already.
    fn chained(&self, chains: &[Vec<StageId>], begun: &Begun) -> Vec<Stage> {
        let mut stages: Vec<Stage> = Vec::new();
        for chain in chains {
            // What a roll back that was cut off still has in it was changed by the run before.
            let changed = |of: &StageId| self.services.is_empty() || begun.changed.contains(of);
            let wanted = |id: &&StageId| match &self.stages[**id].work {
                Work::Undo { of, .. } => changed(of) && !begun.well.contains(id),
                _ => true,
            };
            for id in chain.iter().filter(wanted) {
                let after = stages.len().checked_sub(1).map(|before| (before, Condition::Done));
                stages.push(Stage { after: after.into_iter().collect(), turn: None, ..self.stages[*id].clone() });
            }
        }
        stages
    }
}
