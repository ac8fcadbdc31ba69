//! What a plan's own changes will have made: of files of which several resources hold a part, and of directories.
//!
//! In: what a host answered, and what was decided so far. Out: the same answers with those changes done, for the next
//! resource that holds a part of such a file; and whether what is to be written has a directory to be in. Never: a guess
//! about anything else a change may bring.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::name::Address;
use crate::resource::{Action, Hold, Resource, Verdict};
use crate::step::{Attributes, Digest, Mode, Ownership, PathReading, Probe, Reading, Readings, Step};

/// One host's files as they will be.
#[derive(Debug, Default)]
pub(super) struct Foresight {
    /// By path, with the blocks that have changed it so far. A plan without parts of files has none.
    paths: BTreeMap<String, Foreseen>,
    /// Directories that changes so far make, each with its block.
    directories: BTreeMap<String, usize>,
    /// The last change that may make directories nobody named.
    maker: Option<Address>,
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

    /// What is written must have a directory to be in: the verdict is a refusal where that is not there and nothing before it
    /// can bring it. Where only a change before it can, the text says so.
    pub(super) fn grounded(&mut self, verdict: Verdict, readings: &Readings) -> (Verdict, Option<String>) {
        let (Verdict::Change(change) | Verdict::MayChange(change, _)) = &verdict else { return (verdict, None) };
        let mut made: BTreeSet<&str> = BTreeSet::new();
        let mut doubt = None;
        for step in &change.steps {
            match (written(step).map(|path| self.ground(path, &made, readings)), &self.maker) {
                (None | Some(Ground::There), _) => made.extend(directories(step)),
                (Some(Ground::Missing(directory)), Some(maker)) => {
                    doubt = Some(format!("{maker}, planned before it, may create {directory}"));
                }
                (Some(Ground::Missing(directory)), None) => {
                    let why = format!(
                        "its directory {directory} does not exist: add `directory: {{ path: {directory} }}` before it"
                    );
                    return (Verdict::Refuse(why), None);
                }
                (Some(Ground::File(file)), _) => {
                    return (Verdict::Refuse(format!("{file}, which should be its directory, is a file")), None);
                }
            }
        }
        (verdict, doubt)
    }

    /// Whether the directory of a path is there when its turn comes.
    fn ground(&mut self, path: &str, made: &BTreeSet<&str>, readings: &Readings) -> Ground {
        let Some(probe) = Probe::directory_of(path) else { return Ground::There };
        let Probe::Path { path: directory, .. } = &probe else { return Ground::There };
        if made.contains(directory.as_str()) {
            return Ground::There;
        }
        if let Some(block) = self.directories.get(directory) {
            self.builds_on.extend((*block != self.block).then_some(*block));
            return Ground::There;
        }
        match readings.get(&probe) {
            Some(Reading::Path(PathReading::Absent)) => Ground::Missing(directory.clone()),
            Some(Reading::Path(PathReading::File { .. })) => Ground::File(directory.clone()),
            // Where a link leads is not known, and what was not answered neither.
            _ => Ground::There,
        }
    }

    /// Takes note of what a resource will have done.
    pub(super) fn expect(&mut self, (resource, address): (&dyn Resource, &Address), verdict: &Verdict) {
        if let Verdict::Change(change) | Verdict::MayChange(change, _) = verdict {
            let block = self.block;
            let made = change.steps.iter().flat_map(directories);
            self.directories.extend(made.map(|directory| (directory.to_owned(), block)));
            if resource.makes_directories() && !matches!(change.action, Action::Remove | Action::Stop) {
                self.maker = Some(address.clone());
            }
        }
        if !matches!(resource.holds(), Some(Hold::Part(_))) {
            return;
        }
        if let Verdict::Change(change) | Verdict::MayChange(change, _) = verdict {
            change.steps.iter().for_each(|step| self.done(step));
        }
    }

    fn done(&mut self, step: &Step) {
        let Some(path) = path_of(step) else { return };
        let Some(foreseen) = self.paths.get_mut(path) else { return };
        foreseen.by.push(self.block);
        after(&mut foreseen.reading, step);
    }
}

/// Whether something has a directory to be in.
enum Ground {
    There,
    /// This directory is not there.
    Missing(String),
    /// This should be a directory.
    File(String),
}

/// What a step writes that needs a directory to be in.
fn written(step: &Step) -> Option<&str> {
    match step {
        Step::WriteFile { path, .. }
        | Step::SendFile { path, .. }
        | Step::Download { path, .. }
        | Step::MakeLink { path, .. }
        | Step::EditFile { path, create: Some(_), .. } => Some(path),
        _ => None,
    }
}

/// The one path that a step changes.
pub(super) fn path_of(step: &Step) -> Option<&str> {
    match step {
        Step::WriteFile { path, .. }
        | Step::SendFile { path, .. }
        | Step::MakeDirectory { path, .. }
        | Step::MakeLink { path, .. }
        | Step::SetOwnership { path, .. }
        | Step::Remove { path, .. }
        | Step::Download { path, .. }
        | Step::EditFile { path, .. } => Some(path),
        _ => None,
    }
}

/// The directories that a step makes, with all above them.
fn directories(step: &Step) -> impl Iterator<Item = &str> {
    let made = match step {
        Step::MakeDirectory { path, .. } => Some(path.as_str()),
        Step::Unpack(unpacking) => Some(unpacking.path.as_str()),
        _ => None,
    };
    std::iter::successors(made, |path| path.rsplit_once('/').map(|(above, _)| above).filter(|above| !above.is_empty()))
}

/// What is at a path after a step.
pub(super) fn after(found: &mut PathReading, step: &Step) {
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
        Step::SendFile { file, ownership, .. } => {
            *found = PathReading::File {
                attributes: owned(found, ownership, Mode(0o644)),
                size: file.size,
                digest: Digest(file.sha256.clone()),
                modified: 0,
                content: None,
            };
        }
        // How large it is makes no difference.
        Step::Download { remote, ownership, .. } => {
            *found = PathReading::File {
                attributes: owned(found, ownership, Mode(0o644)),
                size: remote.limit,
                digest: remote.digest.clone(),
                modified: 0,
                content: None,
            };
        }
        Step::MakeLink { target, .. } => *found = PathReading::Link { target: target.clone(), modified: 0 },
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
