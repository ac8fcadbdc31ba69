//! What can be done next.
//!
//! In: what each stage waits for, and how stages ended. Out: the stages that are ready, and those that never will be.
//! Never: a host, a clock, or a task; this is a plain state machine.

use std::collections::BTreeSet;

use super::End;
use crate::plan::{Condition, Plan, StageId};

/// The stages of one plan, on their way.
#[derive(Debug)]
pub struct Queue {
    ends: Vec<Option<End>>,
    /// How many conditions are still open.
    open: Vec<usize>,
    followers: Vec<Vec<(StageId, Condition)>>,
    /// What begins only in its turn, which has not come.
    closed: BTreeSet<StageId>,
    /// What is ready and not closed.
    startable: BTreeSet<StageId>,
    running: BTreeSet<StageId>,
}

impl Queue {
    /// All stages of a plan, none begun. The closed ones begin after [`open_turn`](Self::open_turn) only.
    pub fn new(plan: &Plan, closed: BTreeSet<StageId>) -> Self {
        let mut followers = vec![Vec::new(); plan.stages.len()];
        for (id, stage) in plan.stages.iter().enumerate() {
            for (before, condition) in &stage.after {
                followers[*before].push((id, *condition));
            }
        }
        let open: Vec<usize> = plan.stages.iter().map(|stage| stage.after.len()).collect();
        let startable = (0..open.len()).filter(|id| open[*id] == 0 && !closed.contains(id)).collect();
        Self { ends: vec![None; open.len()], open, followers, closed, startable, running: BTreeSet::new() }
    }

    /// Whether a stage waits for nothing but its turn.
    pub fn is_ready(&self, id: StageId) -> bool {
        self.open[id] == 0 && self.ends[id].is_none() && !self.running.contains(&id)
    }

    /// The stages that wait for nothing, not even their turn, in order.
    pub fn startable(&self) -> impl Iterator<Item = StageId> {
        self.startable.iter().copied()
    }

    /// The turn of these stages begins.
    pub fn open_turn(&mut self, stages: &[StageId]) {
        for id in stages {
            if self.closed.remove(id) && self.is_ready(*id) {
                self.startable.insert(*id);
            }
        }
    }

    /// Takes a startable stage out to be done.
    pub fn start(&mut self, id: StageId) {
        if self.startable.remove(&id) {
            self.running.insert(id);
        }
    }

    /// Notes how a stage ended; gives the stages that are skipped because of it, each with the one it waited for.
    pub fn finish(&mut self, id: StageId, end: End) -> Vec<(StageId, StageId)> {
        self.startable.remove(&id);
        self.running.remove(&id);
        let mut skipped = Vec::new();
        // What was skipped itself is not the cause of what is skipped with it.
        let cause = if let End::Skipped(cause) = end { cause } else { id };
        let mut ended = vec![(id, end, cause)];
        while let Some((id, end, cause)) = ended.pop() {
            let well = end.is_well();
            self.ends[id] = Some(end);
            for (next, condition) in self.followers[id].clone() {
                if self.ends[next].is_some() {
                    continue;
                }
                if condition == Condition::Done && !well {
                    skipped.push((next, cause));
                    self.startable.remove(&next);
                    ended.push((next, End::Skipped(cause), cause));
                    // Marked now, so that a second way to it does not skip it twice.
                    self.ends[next] = Some(End::Skipped(cause));
                } else {
                    self.open[next] -= 1;
                    if self.open[next] == 0 && !self.closed.contains(&next) {
                        self.startable.insert(next);
                    }
                }
            }
        }
        skipped
    }

    /// How a stage ended, if it did.
    pub fn end(&self, id: StageId) -> Option<&End> {
        self.ends[id].as_ref()
    }

    /// How many are being done.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Ends everything that has not begun, because the user stopped the run.
    pub fn stop(&mut self) {
        for id in 0..self.ends.len() {
            if self.ends[id].is_none() && !self.running.contains(&id) {
                self.startable.remove(&id);
                self.ends[id] = Some(End::Stopped);
            }
        }
    }
}
