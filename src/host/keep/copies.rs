//! Copies of files that a change replaced or removed, which only who can read the ledger can look into.

use std::fs::File;
use std::io;

use rustix::fs::{FileType, Mode, OFlags, fchmod, fchown, fstat, openat};
use rustix::process::{Gid, Uid};

use super::super::{Failure, Result};
use super::Keep;
use super::folder::{Folder, kind};
use super::walk::{Missing, enter};
use crate::name::Owner;

/// Keeps a copy of a regular file as `backup/GENERATION/PATH`. Anything else there, or nothing, is left alone. See
/// [`crate::step::Step::KeepCopy`].
pub(in crate::host) fn keep_copy(keep: Keep<'_>, owner: &Owner, generation: u64, path: &str) -> Result {
    let no_home = || {
        let user = crate::step::home_of(path).map_or(path, |(user, _)| user);
        Failure::new(format!("there is no user {user} with a home directory"))
    };
    let place = keep.located(path).ok_or_else(no_home)?;
    let Some((mut file, stat)) = open_file(&place, keep.place.uid())? else { return Ok(()) };
    let folder = keep.make_belonging(owner)?;
    let (directory, name) = place.rsplit_once('/').unwrap_or(("", &place));
    let kept = directories(&folder, &format!("backup/{generation}{directory}")).and_then(|directory| {
        let mut copy = directory.create(name)?;
        io::copy(&mut file, &mut copy)?;
        // Who it belonged to is told where we may; what it was allowed to do as another user it is not any more.
        let _ = fchown(&copy, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
        fchmod(&copy, Mode::from_raw_mode(stat.st_mode & 0o777))?;
        copy.sync_all()?;
        directory.sync()
    });
    let kept_in = folder.at("backup");
    kept.map_err(|_| Failure::new(format!("no copy of {place} can be kept in {kept_in}; is the disk full?")))
}

/// A regular file and what it is; none of anything else.
fn open_file(path: &str, uid: u32) -> Result<Option<(File, rustix::fs::Stat)>> {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let is_file = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    if !is_file {
        return Ok(None);
    }
    let directory = enter(directory, Missing::Leave, uid)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let swapped = || Failure::new(format!("{path} was swapped meanwhile"));
    let file = match openat(&directory, name, flags, Mode::empty()) {
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => return Err(swapped()),
        file => File::from(file.map_err(|errno| Failure::new(format!("{path}: {errno}")))?),
    };
    let stat = fstat(&file).map_err(|errno| Failure::new(format!("{path}: {errno}")))?;
    if kind(&stat) == FileType::RegularFile { Ok(Some((file, stat))) } else { Err(swapped()) }
}

/// Goes down from a directory of armilla's, and makes what is missing.
fn directories(from: &Folder, path: &str) -> io::Result<Folder> {
    let mut parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    let down = |from: &Folder, part: &str| {
        let folder = if part == ".." { None } else { from.child(part, Missing::Make)? };
        folder.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
    };
    let mut at = down(from, parts.next().unwrap_or_default())?;
    for part in parts {
        at = down(&at, part)?;
    }
    Ok(at)
}

/// Removes all copies, and what was there before changes that are over. See [`crate::step::Step::DropCopies`].
pub(in crate::host) fn drop_copies(keep: Keep<'_>, owner: &Owner) -> Result {
    let Some(folder) = keep.belonging(owner, Missing::Leave)? else { return Ok(()) };
    let failed = |path: String| move |error: io::Error| Failure::new(format!("{path} cannot be removed: {error}"));
    folder.remove_all("backup").map_err(failed(folder.at("backup")))?;
    let Some(undo) = folder.child("undo", Missing::Leave).ok().flatten() else { return Ok(()) };
    for name in undo.folders() {
        let over = |kept: Folder| kept.has("committed") || kept.has("undone");
        let half = name.starts_with(".new-") || name.starts_with(".old-");
        if half || undo.child(&name, Missing::Leave).ok().flatten().is_some_and(over) {
            undo.remove_all(&name).map_err(failed(undo.at(&name)))?;
        }
    }
    let _ = folder.remove_empty("undo");
    Ok(())
}
