//! What was there before a change, and its rollback.
//!
//! In: what a change touches. Out: what was there, kept until the change is well, and rolled back. Never: half of a copy: it is
//! made beside its place and renamed, and a line is in the list only when all of its thing is on the disk.
//!
//! `undo/NAME` beside the ledger holds, as every armilla wrote it:
//!
//! ```text
//! version    of this format: 1
//! list       what was kept, a line each: `path PATH`, `unit UNIT` or `package NAME`
//! restore    the program that kept it: rolls back without armilla
//! N/was      how the thing of line N was, in a line: see `was.rs`
//! N/data     what was in it
//! N/xattrs   is there when N/data has the extended attributes that it had; hosts without armilla-host have none
//! begun      is there when a rollback has begun to change something
//! committed  is there when the change is well, undone when all was rolled back
//! lock       is locked by whoever works in the directory
//! ```

mod by_hand;
mod packages;
mod restore;
mod tree;
mod units;
mod was;

use std::path::Path;
use std::time::Duration;

use super::keep::Keep;
use super::keep::folder::{Folder, Lock};
use super::keep::walk::Missing;
use super::{Failure, Result};
use crate::crash;
use crate::name::{Owner, RoleName};
use crate::step::{Command, CommandReading, Outcome, Snapshot, Touched, home_of};
pub(super) use by_hand::{NAME as BY_HAND, by_hand};
pub(super) use restore::restore;

/// Whether a rollback waits until units are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// It does.
    Wait,
    /// It does not: the host is still starting.
    Early,
}

/// What a rollback works with.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    /// Whom this program works as.
    pub(super) uid: u32,
    /// The home directory that the accounts of this host have for a user; none if there is no such user, or no such home.
    pub(super) home: &'a dyn Fn(&str) -> Option<String>,
    /// Runs a program to its end; exit code 127 if there is none of that name.
    pub(super) run: &'a dyn Fn(&Command) -> CommandReading,
    /// This program, for whoever rolls back by hand.
    pub(super) program: Option<&'a Path>,
}

impl<'a> Means<'a> {
    /// Those of what is kept, with a way to run programs, and no program of our own.
    pub(super) fn of(keep: Keep<'a>, run: &'a dyn Fn(&Command) -> CommandReading) -> Self {
        Self { uid: keep.place.uid(), home: keep.home, run, program: None }
    }

    /// A path with the home directory in the place of `~USER`.
    fn located(&self, path: &str) -> Option<String> {
        super::keep::located(path, self.home)
    }

    /// Runs a program that only says something: its exit code and its standard output.
    fn ask(&self, argv: &[&str]) -> (i32, String) {
        let reading = (self.run)(&Command::new(argv.iter().copied()).within(Duration::from_secs(60)));
        (reading.exit, String::from_utf8_lossy(&reading.stdout).into_owned())
    }

    /// Runs a program that changes something.
    ///
    /// # Errors
    /// What it said last, where it does not end with code 0.
    fn program(&self, seconds: u64, argv: &[&str]) -> Result<String> {
        const TAIL: usize = 4096;
        let command = Command::new(argv.iter().copied())
            .within(Duration::from_secs(seconds))
            .with("DEBIAN_FRONTEND", "noninteractive")
            .with("APT_LISTCHANGES_FRONTEND", "none")
            .with("NEEDRESTART_MODE", "l");
        let CommandReading { exit, stdout, stderr } = (self.run)(&command);
        if exit == 0 {
            return Ok(String::from_utf8_lossy(&stdout).into_owned());
        }
        let said = [stdout, stderr].concat();
        let said = String::from_utf8_lossy(&said[said.len().saturating_sub(TAIL)..]).trim().to_owned();
        let silent = || format!("`{}` ended with exit code {exit}", argv.join(" "));
        Err(Failure { exit, why: if said.is_empty() { silent() } else { said } })
    }
}

/// Keeps what is there before a change: all of it, flushed to disk, or nothing. Where an open one of that name is there, only
/// what it does not have yet is added.
pub(super) fn snapshot(keep: Keep<'_>, snapshot: &Snapshot, means: Means<'_>) -> Result {
    let lines: Vec<String> = snapshot.touched.iter().map(line).collect::<Result<_>>()?;
    let name = role(&snapshot.name)?;
    let undo = undoing(keep, &snapshot.owner, Missing::Make)?.ok_or_else(|| nothing_kept(&name))?;
    let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", undo.at(&name)));
    if let Some(open) = undo.child(&name, Missing::Leave).map_err(failed)?.filter(is_open) {
        let _lock = alone(&open)?;
        readable(&open)?;
        if open.has("undone") {
            return Err(Failure::new(format!("what was kept of {name} was rolled back meanwhile: plan again")));
        }
        return was::remember(&open, &lines, means);
    }
    let (new, old) = (format!(".new-{name}"), format!(".old-{name}"));
    undo.remove_all(&new).and_then(|()| undo.remove_all(&old)).map_err(failed)?;
    let folder = undo.child(&new, Missing::Make).map_err(failed)?.ok_or_else(|| undo.unwritable(&new))?;
    for (file, content) in [("version", "1\n"), ("lock", ""), ("list", "")] {
        folder.write_synced(file, content.as_bytes()).map_err(|_| folder.unwritable(file))?;
    }
    if let Some(program) = means.program {
        folder.link(by_hand::NAME, program).map_err(|_| folder.unwritable(by_hand::NAME))?;
    }
    was::remember(&folder, &lines, means)?;
    crash::on_host();
    if undo.has(&name) {
        undo.rename(&name, &old).map_err(failed)?;
    }
    crash::on_host();
    undo.rename(&new, &name).and_then(|()| undo.sync()).map_err(failed)?;
    crash::on_host();
    undo.remove_all(&old).map_err(failed)
}

/// Says that the change is well: the next snapshot of this name begins anew. Until then this one can still be rolled back.
pub(super) fn commit(keep: Keep<'_>, owner: &Owner, name: &str) -> Result {
    let name = role(name)?;
    let kept = found(keep, owner, &name)?;
    let _lock = alone(&kept)?;
    readable(&kept)?;
    if kept.has("undone") {
        return Err(Failure::new(format!("the change of {name} was undone already")));
    }
    kept.mark("committed").map_err(|_| kept.unwritable("committed"))
}

/// Rolls all back that was kept, and tells the journal so. Not needed where that was done already.
///
/// # Errors
/// What cannot be rolled back; everything else was.
pub(super) fn undo(keep: Keep<'_>, owner: &Owner, name: &str, means: Means<'_>) -> Result<Outcome> {
    let name = role(name)?;
    let kept = found(keep, owner, &name)?;
    readable(&kept)?;
    if kept.has("undone") {
        return Ok(Outcome::NotNeeded);
    }
    let environment = keep.belonging(owner, Missing::Leave)?.ok_or_else(|| nothing_kept(&name))?;
    restore(&environment, &name, Pace::Wait, means).map(|()| Outcome::Done)
}

/// A name that is one of a role, and so of a directory.
fn role(name: &str) -> Result<String> {
    let name = RoleName::new(name).map_err(|error| Failure::new(error.to_string()))?;
    Ok(name.as_str().to_owned())
}

fn nothing_kept(name: &str) -> Failure {
    Failure::new(format!("nothing was kept of {name} on this host"))
}

/// The directory of all that is kept of an owner.
fn undoing(keep: Keep<'_>, owner: &Owner, missing: Missing) -> Result<Option<Folder>> {
    let Some(environment) = keep.belonging(owner, missing)? else { return Ok(None) };
    environment.own_child("undo", missing, keep.place.uid())
}

/// What is kept under a name.
fn found(keep: Keep<'_>, owner: &Owner, name: &str) -> Result<Folder> {
    let undo = undoing(keep, owner, Missing::Leave)?.ok_or_else(|| nothing_kept(name))?;
    kept_in(&undo, name)
}

/// What is kept under a name in the directory of all.
fn kept_in(undo: &Folder, name: &str) -> Result<Folder> {
    let kept = undo.child(name, Missing::Leave).ok().flatten();
    kept.filter(|kept| kept.has_file("list")).ok_or_else(|| nothing_kept(name))
}

/// Whether a change that it was kept for is not over.
fn is_open(kept: &Folder) -> bool {
    kept.has_file("list") && !kept.has("committed") && !kept.has("undone")
}

/// Nobody else works in the directory until the answer is dropped.
fn alone(kept: &Folder) -> Result<Lock> {
    const HOUR: Duration = Duration::from_secs(3600);
    let lock = kept.append("lock").map(Lock::new).map_err(|_| kept.unwritable("lock"))?;
    match lock.take_within(HOUR) {
        Ok(true) => Ok(lock),
        Ok(false) => {
            Err(Failure::new(format!("{} cannot be locked: it is being rolled back since an hour", kept.path())))
        }
        Err(error) => Err(Failure::new(format!("{} cannot be locked: {error}", kept.path()))),
    }
}

/// What is in a directory has a format that we know.
fn readable(kept: &Folder) -> Result {
    let known = kept.first_line("version").is_some_and(|version| version == "1") && kept.has_file("list");
    let why = || Failure::new(format!("what was kept in {} is of a newer armilla, or damaged", kept.path()));
    if known { Ok(()) } else { Err(why()) }
}

/// A line of the list. Anything that would be two lines is refused.
fn line(touched: &Touched) -> Result<String> {
    let (kind, name) = match touched {
        Touched::Path(path) => ("path", path),
        Touched::Unit(unit) => ("unit", unit),
        Touched::Package(package) => ("package", package),
    };
    let dotted = |path: &str| path.split('/').any(|part| part == "." || part == "..");
    let wrong = match touched {
        Touched::Path(path) => {
            !(path.starts_with('/') || home_of(path).is_some()) || path.ends_with('/') || dotted(path)
        }
        Touched::Unit(name) | Touched::Package(name) => name.is_empty() || name.starts_with('-'),
    };
    if wrong || name.contains(char::is_control) {
        return Err(Failure::new(format!("the {kind} `{}` cannot be saved: invalid name", name.escape_debug())));
    }
    Ok(format!("{kind} {name}"))
}

/// The lines of the list of what was kept.
fn list(kept: &Folder) -> Result<Vec<String>> {
    let text = kept.read("list", 64 << 20).ok().flatten();
    let text = text.ok_or_else(|| Failure::new(format!("{} cannot be read", kept.at("list"))))?;
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests;
