//! What a simulated host keeps before a change, and how it puts it back.
//!
//! In: names of what a change touches. Out: the same as `host/undo/restore.rs` does, in its order. Never: a restart where nothing
//! was put back.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::kept::{Kept, Key, State, Was};
use super::tree::{Node, What};
use super::units::{disable, enable};
use super::{Host, Trouble, apt};
use crate::step::{MARKER, Removable, Snapshot, Touched};

impl Kept {
    /// Whether the change it is for is not over.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }
}

/// What [`crate::step::Step::Snapshot`] does.
pub(super) fn snapshot(host: &mut Host, snapshot: &Snapshot) -> Result<(), Trouble> {
    host.has_space("undo")?;
    let key = (snapshot.owner.clone(), snapshot.name.clone());
    let mut kept = host.kept.get(&key).filter(|kept| kept.is_open()).cloned().unwrap_or_default();
    for touched in &snapshot.touched {
        for one in with_parents(host, touched) {
            if !kept.things.iter().any(|(known, _)| *known == one) {
                let was = was(host, &one);
                kept.things.push((one, was));
            }
        }
    }
    host.kept.insert(key, kept);
    Ok(())
}

/// What [`crate::step::Step::Commit`] does.
pub(super) fn commit(host: &mut Host, key: &Key) -> Result<(), Trouble> {
    match host.kept.get_mut(key) {
        None => Err(nothing(key)),
        Some(Kept { state: State::Undone, .. }) => {
            Err(Trouble::new(1, format!("the change of {} was undone already", key.1)))
        }
        Some(kept) => {
            kept.state = State::Committed;
            Ok(())
        }
    }
}

/// Whether it was put back already.
pub(super) fn is_done(host: &Host, key: &Key) -> bool {
    host.kept.get(key).is_some_and(|kept| kept.state == State::Undone)
}

/// What [`crate::step::Step::Undo`] does.
pub(super) fn undo(host: &mut Host, key: &Key) -> Result<(), Trouble> {
    let kept = host.kept.get(key).cloned().ok_or_else(|| nothing(key))?;
    host.has_space("undo")?;
    let mut trouble = None;
    let mut changed = false;
    for pass in [halt, away, version, back, away] {
        for (touched, was) in kept.things.iter().rev() {
            match pass(host, touched, was) {
                Ok(did) => changed |= did,
                Err(why) => trouble = trouble.or(Some(why)),
            }
        }
    }
    host.units.reload_all(&host.paths);
    for (touched, was) in kept.things.iter().rev() {
        let ran = run(host, touched, was, changed);
        trouble = trouble.or(ran.err());
    }
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    host.kept.entry(key.clone()).or_default().state = State::Undone;
    Ok(())
}

fn nothing((_, name): &Key) -> Trouble {
    Trouble::new(1, format!("nothing was kept of {name} on this host"))
}

/// The missing directories above a path, the uppermost first, and the path.
fn with_parents(host: &Host, touched: &Touched) -> Vec<Touched> {
    let Touched::Path(path) = touched else { return vec![touched.clone()] };
    let above = path.match_indices('/').skip(1).map(|(end, _)| &path[..end]).filter(|_| path.starts_with('/'));
    let missing = above.filter(|path| host.paths.get(path).is_none());
    missing.chain([path.as_str()]).map(|path| Touched::Path(path.to_owned())).collect()
}

fn was(host: &Host, touched: &Touched) -> Was {
    match touched {
        Touched::Path(path) => {
            let Ok(path) = host.resolve(path) else { return Was::Path(None, BTreeMap::new()) };
            let tree = if is_unpacked(host, &path) { below(host, &path) } else { BTreeMap::new() };
            Was::Path(host.paths.get(&path).cloned(), tree)
        }
        Touched::Unit(unit) => {
            let reading = host.unit(unit);
            let (active, failed) = (reading.active == "active", reading.active == "failed");
            Was::Unit { active, failed, enabled: reading.enabled == "enabled" }
        }
        Touched::Package(name) => {
            let version = host.packages.get(name).cloned();
            Was::Package { version, automatic: host.automatic.contains(name), held: host.held.contains(name) }
        }
    }
}

fn is_unpacked(host: &Host, path: &str) -> bool {
    host.paths.file(&format!("{path}/{MARKER}")).is_some()
}

fn below(host: &Host, path: &str) -> BTreeMap<String, Node> {
    host.paths.below(path).map(|(name, node)| (name.clone(), node.clone())).collect()
}

/// One that did not run or did not start with the host does not do so now.
fn halt(host: &mut Host, touched: &Touched, was: &Was) -> Result<bool, Trouble> {
    let (Touched::Unit(unit), Was::Unit { active, failed, enabled }) = (touched, was) else { return Ok(false) };
    let now = host.unit(unit);
    let (stops, disables) = (!active && now.active == "active", !enabled && now.enabled == "enabled");
    if stops {
        host.units.stop(unit, &host.paths)?;
    }
    if disables {
        disable(unit, &mut host.paths)?;
    }
    if !failed {
        host.units.forgive(unit);
    }
    Ok(stops || disables)
}

/// What was not there goes. A directory stays as long as something is in it.
fn away(host: &mut Host, touched: &Touched, was: &Was) -> Result<bool, Trouble> {
    let (Touched::Path(path), Was::Path(None, _)) = (touched, was) else { return Ok(false) };
    let Ok(path) = host.resolve(path).map(Cow::into_owned) else { return Ok(false) };
    let Some(node) = host.paths.get(&path) else { return Ok(false) };
    let directory = node.what == What::Directory;
    if directory && !is_unpacked(host, &path) {
        if host.paths.below(&path).nth(1).is_none() {
            host.paths.remove(&path, Removable::EmptyDirectory)?;
        }
        return Ok(false);
    }
    host.paths.clear(&path);
    Ok(true)
}

/// What was there comes back.
fn back(host: &mut Host, touched: &Touched, was: &Was) -> Result<bool, Trouble> {
    let (Touched::Path(path), Was::Path(Some(node), tree)) = (touched, was) else { return Ok(false) };
    let path = host.resolve(path)?.into_owned();
    let now = host.paths.get(&path);
    let alike = |now: &Node| (&now.what, now.mode, now.uid, now.gid) == (&node.what, node.mode, node.uid, node.gid);
    let same = now.is_some_and(alike) && (tree.is_empty() || *tree == below(host, &path));
    if same {
        return Ok(false);
    }
    if !tree.is_empty() || node.what != What::Directory {
        if now.is_some_and(|now| now.what == What::Directory)
            && !is_unpacked(host, &path)
            && host.paths.below(&path).count() > 1
        {
            return Err(Trouble::new(1, format!("{path} is a directory now, with something in it: it is not removed")));
        }
        host.paths.clear(&path);
    }
    let parent =
        path.rsplit_once('/').map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent }).to_owned();
    host.paths.make_directory(&parent, host.now)?;
    let modified = host.now;
    host.paths.place(&path, Node { modified, ..node.clone() });
    for (name, node) in tree {
        host.paths.place(name, node.clone());
    }
    Ok(true)
}

/// The package as it was.
fn version(host: &mut Host, touched: &Touched, before: &Was) -> Result<bool, Trouble> {
    let (Touched::Package(name), Was::Package { version, automatic, held }) = (touched, before) else {
        return Ok(false);
    };
    if was(host, touched) == *before {
        return Ok(false);
    }
    host.held.remove(name);
    match version {
        None => apt::purge(host, name)?,
        Some(version) if host.packages.get(name) == Some(version) => {}
        Some(version) => apt::older(host, name, version)?,
    }
    if *automatic {
        host.automatic.insert(name.clone());
    }
    if *held {
        host.held.insert(name.clone());
    }
    Ok(true)
}

/// One that ran runs, and has read what is there again.
fn run(host: &mut Host, touched: &Touched, was: &Was, changed: bool) -> Result<(), Trouble> {
    let (Touched::Unit(unit), Was::Unit { active, enabled, .. }) = (touched, was) else { return Ok(()) };
    if *enabled && host.unit(unit).enabled != "enabled" {
        enable(unit, &mut host.paths, host.now)?;
    }
    match active {
        true if changed => host.restart(unit),
        true => host.start(unit),
        false => Ok(()),
    }
}
