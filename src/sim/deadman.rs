//! What a simulated host undoes by itself.
//!
//! In: steps, and the time. Out: how they end; what is due. Never: what was put back; that is the host's.

use std::collections::BTreeMap;

use crate::name::{Owner, RoleName};
use crate::step::deadman::{UNARMED, UNDONE};
use crate::step::{Outcome, Step};

type Key = (Owner, RoleName);

/// Everything that is armed on a host, or was put back.
#[derive(Debug, Default)]
pub(super) struct Guards(BTreeMap<Key, Guard>);

#[derive(Debug)]
struct Guard {
    after: i64,
    /// When it puts everything back; none if it has.
    until: Option<i64>,
}

impl Guards {
    /// Does one of its steps. Gives what must be put back for it.
    pub(super) fn perform(&mut self, step: &Step, now: i64) -> (Outcome, Option<Key>) {
        match step {
            Step::Arm { owner, name, after } => {
                let after = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
                let guard = Guard { after, until: Some(now.saturating_add(after)) };
                self.0.insert((owner.clone(), name.clone()), guard);
                (Outcome::Done, None)
            }
            Step::Extend { owner, name } => (self.extend(&(owner.clone(), name.clone()), now), None),
            Step::Disarm { owner, name } => (self.disarm(&(owner.clone(), name.clone())), None),
            Step::GiveUp { owner, name } => self.give_up((owner.clone(), name.clone())),
            _ => (Outcome::Done, None),
        }
    }

    fn extend(&mut self, key: &Key, now: i64) -> Outcome {
        match self.0.get_mut(key) {
            Some(Guard { after, until: Some(until) }) => {
                *until = now.saturating_add(*after);
                Outcome::Done
            }
            Some(_) => undone(),
            None => failed(1, "nothing is armed"),
        }
    }

    fn disarm(&mut self, key: &Key) -> Outcome {
        if self.0.get(key).is_some_and(|guard| guard.until.is_none()) {
            return undone();
        }
        self.0.remove(key);
        Outcome::Done
    }

    fn give_up(&mut self, key: Key) -> (Outcome, Option<Key>) {
        match self.0.get_mut(&key) {
            Some(guard) => (Outcome::Done, guard.until.take().map(|_| key)),
            None => (failed(UNARMED, "nothing is armed"), None),
        }
    }

    /// What must be put back now.
    pub(super) fn due(&mut self, now: i64) -> Vec<Key> {
        let late = self.0.iter_mut().filter(|(_, guard)| guard.until.is_some_and(|until| until <= now));
        late.map(|(key, guard)| {
            guard.until = None;
            key.clone()
        })
        .collect()
    }
}

fn undone() -> Outcome {
    failed(UNDONE, "this host rolled everything back by itself")
}

fn failed(exit: i32, stderr: &str) -> Outcome {
    Outcome::Failed { exit, stderr: stderr.to_owned() }
}
