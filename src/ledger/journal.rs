//! What was begun and done on a host since its ledger was written.
//!
//! In: the lines a host wrote while it carried out stages. Out: per stage what was intended and how far it came; the same
//! worked into a ledger. Never: a guess: what was begun and not ended is unknown, and unknown is looked at.
//!
//! One line each, fields apart by one blank:
//!
//! ```text
//! stage BOOT {...}       an [`Intent`] as JSON; flushed to disk before the first step
//! begin INDEX
//! done INDEX
//! failed INDEX CODE
//! over
//! undone NAME            what the stages above this line did for the role NAME was put back: see [`StageRecord::undone`]
//! ```
//!
//! An armilla that does not know a line refuses the journal: it must not take for its own what is gone.
//!
//! A last line without its end was being written when the host lost its power, and does not count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Applied, Expected, Ledger, LedgerError, Origin, Owned, Pending, ResourceKey, Versioned};
use crate::name::{RoleName, ServiceName};
use crate::resource::Verb;
use crate::step::Digest;

/// What a stage is about to do on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The format: [`super::VERSION`].
    pub version: u32,
    /// The run.
    pub applied: Applied,
    /// The place of the stage in the run's plan.
    pub stage: usize,
    /// The service it is for, if any.
    pub service: Option<ServiceName>,
    /// How many of its steps come before those of the entries.
    #[serde(default, skip_serializing_if = "is_none")]
    pub before: usize,
    /// What it changes, in order.
    pub entries: Vec<Intended>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

/// One resource that a stage is about to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intended {
    /// Which.
    pub place: ResourceKey,
    /// How many of the stage's steps are its own; they follow those of the entries before it.
    pub steps: usize,
    /// The digest of the keys that are wanted; none if it is taken away.
    pub want: Option<Digest>,
    /// Whether it is there now.
    pub existed: bool,
    /// How it will look.
    #[serde(default, skip_serializing_if = "Expected::is_unknown")]
    pub expected: Expected,
    /// Whether it stays where something turns out to need it, although it is to be taken away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conditional: bool,
    /// See [`Owned::absent`].
    pub absent: Option<serde_json::Value>,
    /// See [`Owned::order`].
    pub order: u32,
    /// See [`Owned::protect`].
    pub protect: bool,
    /// What it asks of these when it has begun to change.
    pub notifies: Vec<(ResourceKey, Verb)>,
}

/// How far something came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// It was not begun.
    NotBegun,
    /// It was begun; whether it was done is not known.
    Unknown,
    /// It was done.
    Done,
    /// It failed with this exit code.
    Failed(i32),
}

/// A stage as a host recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageRecord {
    /// The boot of the host in which it was begun.
    pub boot: String,
    /// What was intended.
    pub intent: Intent,
    /// The last step that was begun.
    pub begun: Option<usize>,
    /// How that ended; none if it did not.
    pub ended: Option<Reached>,
    /// Whether all of the stage is over.
    pub over: bool,
    /// The roles whose changes were put back, each with the number of steps that had been begun then. What those steps did
    /// for the role is as if they had not been begun; a step after them was not put back.
    pub undone: BTreeMap<RoleName, usize>,
}

/// What a host recorded since its ledger was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    /// In the order in which they were begun.
    pub stages: Vec<StageRecord>,
}

impl Journal {
    /// Reads the text of a host.
    ///
    /// # Errors
    /// When a line is of a newer format, or none of ours.
    pub fn parse(text: &[u8]) -> Result<Self, LedgerError> {
        let text = String::from_utf8_lossy(text);
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut journal = Self::default();
        for line in whole.lines() {
            journal.take(line)?;
        }
        Ok(journal)
    }

    fn take(&mut self, line: &str) -> Result<(), LedgerError> {
        let broken = || LedgerError::Broken(format!("invalid journal line `{}`", line.escape_debug()));
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "stage" {
            let (boot, intent) = rest.split_once(' ').ok_or_else(broken)?;
            // A newer armilla may have other fields in it, so the format is looked at first.
            let Versioned { version } = serde_json::from_str(intent).map_err(|_| broken())?;
            if version > super::VERSION {
                return Err(LedgerError::Newer { found: version });
            }
            let intent: Intent = serde_json::from_str(intent).map_err(|_| broken())?;
            let boot = boot.to_owned();
            let undone = BTreeMap::new();
            self.stages.push(StageRecord { boot, intent, begun: None, ended: None, over: false, undone });
            return Ok(());
        }
        if word == "undone" {
            let role = RoleName::new(rest).map_err(|_| broken())?;
            self.stages.iter_mut().for_each(|stage| stage.undo(&role));
            return Ok(());
        }
        let stage = self.stages.last_mut().ok_or_else(broken)?;
        let number = |text: &str| text.parse::<usize>().map_err(|_| broken());
        match word {
            "begin" => stage.reach(number(rest)?, None),
            "done" => stage.reach(number(rest)?, Some(Reached::Done)),
            "failed" => {
                let (step, code) = rest.split_once(' ').ok_or_else(broken)?;
                let code = code.parse().map_err(|_| broken())?;
                stage.reach(number(step)?, Some(Reached::Failed(code)));
            }
            "over" => stage.over = true,
            _ => return Err(broken()),
        }
        Ok(())
    }
}

impl StageRecord {
    /// A step that begins or ends after others were put back was not put back with them.
    fn reach(&mut self, step: usize, ended: Option<Reached>) {
        (self.begun, self.ended) = (Some(step), ended);
        self.undone.values_mut().for_each(|undone| *undone = step.min(*undone));
    }

    fn undo(&mut self, role: &RoleName) {
        if self.intent.entries.iter().any(|entry| entry.place.role == *role) {
            let begun = if self.over { usize::MAX } else { self.begun.map_or(0, |last| last + 1) };
            self.undone.insert(role.clone(), begun);
        }
    }

    /// How far a step came. Steps follow each other, so what comes before one that was begun was done.
    pub fn step(&self, index: usize) -> Reached {
        match self.begun {
            Some(begun) if index == begun => self.ended.unwrap_or(Reached::Unknown),
            Some(begun) if index < begun || self.over => Reached::Done,
            _ => Reached::NotBegun,
        }
    }

    /// How far each entry came. One that was put back was not begun; of one that went on after that, it is not known how it
    /// is now.
    pub fn entries(&self) -> impl Iterator<Item = (&Intended, Reached)> {
        let mut first = self.intent.before;
        self.intent.entries.iter().map(move |entry| {
            let from = first;
            first += entry.steps;
            let reached = self.put_back(&entry.place.role, from, first).unwrap_or_else(|| self.entry(from, first));
            (entry, reached)
        })
    }

    /// What a roll back of the role made of an entry with these steps; none if it left it alone.
    fn put_back(&self, role: &RoleName, from: usize, to: usize) -> Option<Reached> {
        let undone = *self.undone.get(role).filter(|undone| **undone > from)?;
        let went_on = undone < to && (self.over || self.begun.is_some_and(|begun| begun >= undone));
        Some(if went_on { Reached::Unknown } else { Reached::NotBegun })
    }

    fn entry(&self, from: usize, to: usize) -> Reached {
        if from == to {
            return Reached::NotBegun;
        }
        match (self.step(from), self.step(to - 1)) {
            (Reached::NotBegun, _) => Reached::NotBegun,
            (_, Reached::Done) => Reached::Done,
            (_, failed @ Reached::Failed(_)) | (failed @ Reached::Failed(_), _) => failed,
            _ => (from..to)
                .map(|step| self.step(step))
                .find(|r| matches!(r, Reached::Failed(_)))
                .unwrap_or(Reached::Unknown),
        }
    }
}

impl Ledger {
    /// Works in what was done since: twice is the same as once.
    pub fn work_in(&mut self, journal: &Journal) {
        for stage in &journal.stages {
            let applied = &stage.intent.applied;
            if self.last.as_ref().is_none_or(|last| last.run != applied.run) {
                self.generation += 1;
                self.last = Some(applied.clone());
            }
            for (entry, reached) in stage.entries() {
                if reached != Reached::NotBegun {
                    self.changed(stage, entry, reached);
                }
            }
        }
    }

    fn changed(&mut self, stage: &StageRecord, entry: &Intended, reached: Reached) {
        let applied = &stage.intent.applied;
        for (place, verb) in &entry.notifies {
            self.owe(place, *verb, &entry.place, stage);
        }
        if reached == Reached::Done {
            // It has heard of everything before it.
            self.pending.remove(&entry.place);
        }
        let Some(want) = &entry.want else {
            // Of one that may have stayed the next look at the host tells.
            if reached == Reached::Done && !entry.conditional {
                self.owned.remove(&entry.place);
            } else if let Some(owned) = self.owned.get_mut(&entry.place) {
                (owned.leaving, owned.done) = (true, reached == Reached::Done);
            }
            return;
        };
        let before = self.owned.get(&entry.place);
        let origin = before.map_or(if entry.existed { Origin::Found } else { Origin::Made }, |owned| owned.origin);
        let expected = match before.filter(|_| reached != Reached::Done) {
            Some(before) => entry.expected.clone().or(before),
            None => entry.expected.clone(),
        };
        let owned = Owned {
            want: want.clone(),
            origin,
            imprint: None,
            expected,
            absent: entry.absent.clone(),
            order: entry.order,
            protect: entry.protect,
            service: stage.intent.service.clone(),
            notify: entry.notifies.iter().map(|(_, verb)| *verb).max(),
            there: true,
            done: reached == Reached::Done,
            leaving: false,
            run: applied.run.clone(),
            since: applied.at.clone(),
        };
        self.owned.insert(entry.place.clone(), owned);
    }

    fn owe(&mut self, to: &ResourceKey, verb: Verb, because: &ResourceKey, stage: &StageRecord) {
        let owed = self.pending.entry(to.clone()).or_insert_with(|| Pending {
            verb,
            because: Vec::new(),
            boot: stage.boot.clone(),
            run: stage.intent.applied.run.clone(),
        });
        owed.verb = owed.verb.max(verb);
        owed.boot.clone_from(&stage.boot);
        if !owed.because.contains(because) {
            owed.because.push(because.clone());
        }
    }
}
