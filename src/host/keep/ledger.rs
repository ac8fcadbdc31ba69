//! The ledgers on a host: one for each environment of each project.

use std::io::{self, Read as _, Seek as _, SeekFrom};

use rustix::fs::OFlags;

use super::super::{Failure, Result};
use super::Keep;
use super::folder::Folder;
use super::walk::Missing;
use crate::crash;
use crate::name::Owner;

/// Puts a ledger in the place of the old one, or removes it, and takes the first `worked_in` bytes off the journal. See
/// [`crate::step::Step::SaveLedger`]. Never while a journal is open.
pub(in crate::host) fn save(keep: Keep<'_>, owner: &Owner, ledger: Option<&[u8]>, worked_in: u64) -> Result {
    let Some(ledger) = ledger else { return clear(keep, owner, worked_in) };
    let folder = keep.make_belonging(owner)?;
    crash::on_host();
    folder.replace("ledger", ledger)?;
    forget(&folder, worked_in)
}

/// Nothing is owned there any more: what is left empty goes.
fn clear(keep: Keep<'_>, owner: &Owner, worked_in: u64) -> Result {
    let Some(folder) = keep.belonging(owner, Missing::Leave)? else { return Ok(()) };
    let removed = folder.remove("ledger").and_then(|()| folder.remove(".new-ledger")).and_then(|()| folder.sync());
    removed.map_err(|error| Failure::new(format!("{} cannot be removed: {error}", folder.at("ledger"))))?;
    forget(&folder, worked_in)?;
    if let Some(all) = keep.open(Missing::Leave)? {
        // Something else may be kept there, for a rollback.
        let _ = all.remove_empty(&keep.folder_name(owner));
    }
    Ok(())
}

/// Takes bytes off the front of the journal. A line without an end does not count.
fn forget(folder: &Folder, worked_in: u64) -> Result {
    crash::on_host();
    let rest = rest_of_journal(folder, worked_in);
    let rest = rest.map_err(|error| Failure::new(format!("{}: {error}", folder.at("journal"))))?;
    match rest {
        None => Ok(()),
        Some(rest) if rest.contains(&b'\n') => folder.replace("journal", &rest),
        Some(_) => {
            let removed = folder.remove(".new-journal").and_then(|()| folder.remove("journal"));
            removed.map_err(|error| Failure::new(format!("{} cannot be removed: {error}", folder.at("journal"))))
        }
    }
}

/// What comes after so many bytes of it; none if there is no journal.
fn rest_of_journal(folder: &Folder, from: u64) -> io::Result<Option<Vec<u8>>> {
    let mut file = match folder.open("journal", OFlags::RDONLY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut rest = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.read_to_end(&mut rest)?;
    Ok(Some(rest))
}

/// Gives an owner what is kept for the same environment of a project that is not known. See
/// [`crate::step::Step::AdoptLedger`].
pub(in crate::host) fn adopt(keep: Keep<'_>, owner: &Owner) -> Result {
    let Some(all) = keep.insist(Missing::Leave)? else { return Ok(()) };
    let (from, to) = (keep.folder_name(&owner.without_project()), keep.folder_name(owner));
    let Some(old) = all.own_child(&from, Missing::Leave, keep.place.uid())? else { return Ok(()) };
    // A rollback timer names the directory that it is in.
    let armed = old.child("armed", Missing::Leave).ok().flatten();
    let is_armed = |armed: &Folder| {
        let child = |name: String| armed.child(&name, Missing::Leave).ok().flatten();
        armed.folders().into_iter().filter_map(child).any(|folder| folder.has("armed"))
    };
    if armed.as_ref().is_some_and(is_armed) {
        let why = "confirm or await it, then adopt again";
        return Err(Failure::new(format!("a rollback timer is armed in {}: {why}", old.path())));
    }
    let taken = |new: Folder| new.has("ledger") || new.has("journal");
    if all.child(&to, Missing::Leave).ok().flatten().is_some_and(taken) {
        let to = all.at(&to);
        return Err(Failure::new(format!("{to} already exists, and so is {}: move one of them away", old.path())));
    }
    crash::on_host();
    let moved = all.rename(&from, &to).and_then(|()| all.sync());
    moved.map_err(|error| Failure::new(format!("{} cannot be renamed to {to}: {error}", old.path())))
}
