//! What a plan's own changes will have made of files of which several resources hold a part.
//!
//! In: what a host answered, and what was decided so far. Out: the same answers with those changes done, for the next
//! resource that holds a part of such a file. Never: a guess about anything else a change may bring.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::resource::{Hold, Resource, Verdict};
use crate::step::{Attributes, Digest, Mode, Ownership, PathReading, Probe, Reading, Readings, Step};

/// One host's files as they will be.
#[derive(Debug, Default)]
pub(super) struct Foresight {
    /// By path, with the blocks that have changed it so far. A plan without parts of files has none.
    paths: BTreeMap<String, Foreseen>,
    block: usize,
    builds_on: Vec<usize>,
}

#[derive(Debug)]
struct Foreseen {
    reading: PathReading,
    by: Vec<usize>,
}

impl Foresight {
    /// Begins a block of the host.
    pub(super) fn enter(&mut self, block: usize) {
        self.block = block;
    }

    /// Ends it; gives the blocks before it on whose changes it builds.
    pub(super) fn leave(&mut self) -> Vec<usize> {
        let mut found = std::mem::take(&mut self.builds_on);
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What a resource will find when its turn comes.
    pub(super) fn see<'a>(&mut self, resource: &dyn Resource, readings: &'a Readings) -> Cow<'a, Readings> {
        if !matches!(resource.holds(), Some(Hold::Part(_))) {
            return Cow::Borrowed(readings);
        }
        // Its own answers are few; the host's are all that the plan asked.
        let mut seen = Readings::default();
        for probe in resource.probes() {
            if let Some(reading) = self.reading(&probe, readings) {
                seen.insert(probe, reading);
            }
        }
        Cow::Owned(seen)
    }

    fn reading(&mut self, probe: &Probe, readings: &Readings) -> Option<Reading> {
        let Probe::Path { path, .. } = probe else { return readings.get(probe).cloned() };
        if let Some(foreseen) = self.paths.get(path) {
            self.builds_on.extend(foreseen.by.iter().filter(|by| **by != self.block));
            return Some(Reading::Path(foreseen.reading.clone()));
        }
        let reading = readings.get(probe).cloned();
        if let Some(Reading::Path(found)) = &reading {
            self.paths.insert(path.clone(), Foreseen { reading: found.clone(), by: Vec::new() });
        }
        reading
    }

    /// Takes note of what a resource will have done.
    pub(super) fn expect(&mut self, resource: &dyn Resource, verdict: &Verdict) {
        if !matches!(resource.holds(), Some(Hold::Part(_))) {
            return;
        }
        if let Verdict::Change(change) | Verdict::MayChange(change, _) = verdict {
            change.steps.iter().for_each(|step| self.done(step));
        }
    }

    fn done(&mut self, step: &Step) {
        let (Step::WriteFile { path, .. }
        | Step::MakeDirectory { path, .. }
        | Step::SetOwnership { path, .. }
        | Step::Remove { path, .. }
        | Step::EditFile { path, .. }) = step
        else {
            return;
        };
        let Some(foreseen) = self.paths.get_mut(path) else { return };
        foreseen.by.push(self.block);
        after(&mut foreseen.reading, step);
    }
}

/// What is at a path after a step.
fn after(found: &mut PathReading, step: &Step) {
    match step {
        Step::WriteFile { content, ownership, .. } => {
            let bytes = content.bytes();
            *found = PathReading::File {
                attributes: owned(found, ownership, Mode(0o644)),
                size: bytes.len() as u64,
                digest: Digest::of(bytes),
                modified: if let PathReading::File { modified, .. } = found { *modified } else { 0 },
                content: Some(bytes.to_vec()),
            };
        }
        Step::MakeDirectory { ownership, .. } => {
            *found = PathReading::Directory(owned(found, ownership, Mode(0o755)));
        }
        Step::SetOwnership { ownership, .. } => {
            let attributes = owned(found, ownership, Mode(0o644));
            if let PathReading::File { attributes: old, .. } | PathReading::Directory(old) = found {
                *old = attributes;
            }
        }
        Step::Remove { .. } => *found = PathReading::Absent,
        // What it will be is known only then: it stays as if it were not there, and those after it are edits as well.
        _ => {}
    }
}

fn owned(found: &PathReading, ownership: &Ownership, mode: Mode) -> Attributes {
    let new = Attributes { mode, owner: "root".to_owned(), group: "root".to_owned() };
    let old = match found {
        PathReading::File { attributes, .. } | PathReading::Directory(attributes) => attributes.clone(),
        _ => new,
    };
    Attributes {
        mode: ownership.mode.unwrap_or(old.mode),
        owner: ownership.owner.clone().unwrap_or(old.owner),
        group: ownership.group.clone().unwrap_or(old.group),
    }
}
