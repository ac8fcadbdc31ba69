//! Owners, groups and modes: which numbers they are here, and how things get them.

use rustix::fs::{FileType, RawMode};
use rustix::io::Errno;

use super::{hindrance, kept};
use crate::host::directory::{Directory, Entry, me};
use crate::host::{Failure, Result};
use crate::step::Ownership;

/// The accounts of this host, as far as files need them.
pub(in crate::host) trait Numbers {
    /// The number of a user, and of her primary group; none if there is no such user.
    fn user(&self, name: &str) -> Result<Option<(u32, u32)>>;
    /// The number of a group; none if there is no such group.
    fn group(&self, name: &str) -> Result<Option<u32>>;
    /// Where a user is at home; none if there is no such user, or she has no home.
    fn home(&self, name: &str) -> Result<Option<String>>;
}

/// An [`Ownership`] in numbers. What is none stays as it is, or as the system makes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::host) struct Wanted {
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mode: Option<RawMode>,
    /// The group of what is new: that of its owner, where no other is asked for.
    pub(super) new_gid: Option<u32>,
}

impl Wanted {
    /// All of it.
    pub(in crate::host) fn exactly(uid: u32, gid: u32, mode: RawMode) -> Self {
        Self { uid: Some(uid), gid: Some(gid), mode: Some(mode), new_gid: Some(gid) }
    }

    pub(super) fn of(ownership: &Ownership, numbers: &dyn Numbers) -> Result<Self> {
        for name in [&ownership.owner, &ownership.group].into_iter().flatten() {
            check_name(name)?;
        }
        let user = ownership.owner.as_deref().map(|name| user(name, numbers)).transpose()?;
        let gid = ownership.group.as_deref().map(|name| group(name, numbers)).transpose()?;
        let mode = ownership.mode.map(|mode| mode.0 & 0o7777);
        let new_gid = gid.or(user.and_then(|(_, gid)| gid));
        Ok(Self { uid: user.map(|(uid, _)| uid), gid, mode, new_gid })
    }

    /// The same for something that was not there before.
    pub(super) fn of_new(self, mode: RawMode) -> Self {
        Self { gid: self.new_gid, mode: Some(self.mode.unwrap_or(mode)), ..self }
    }
}

fn user(name: &str, numbers: &dyn Numbers) -> Result<(u32, Option<u32>)> {
    let number = || name.parse().ok().map(|uid| (uid, None));
    let found = numbers.user(name)?.map(|(uid, gid)| (uid, Some(gid)));
    found.or_else(number).ok_or_else(|| Failure::new(format!("there is no user {name} on this host")))
}

fn group(name: &str, numbers: &dyn Numbers) -> Result<u32> {
    let found = numbers.group(name)?.or_else(|| name.parse().ok());
    found.ok_or_else(|| Failure::new(format!("there is no group {name} on this host")))
}

/// What `passwd(5)` cannot hold is no name of a user or group.
pub(super) fn check_name(name: &str) -> Result {
    let wrong = name.is_empty() || name.starts_with('-') || name.contains([':', '/', '\0', '\n', ' ', ',']);
    if wrong { Err(Failure::new(format!("invalid user or group name `{}`", name.escape_debug()))) } else { Ok(()) }
}

/// Gives something its owner, group and mode, in this order: a new owner takes special bits away. A capability stays.
pub(super) fn settle(entry: &mut Entry, wanted: Wanted) -> std::result::Result<(), Errno> {
    let differs = |wanted: Option<u32>, is: u32| wanted.is_some_and(|wanted| wanted != is);
    if differs(wanted.uid, entry.stat.st_uid) || differs(wanted.gid, entry.stat.st_gid) {
        let capability = if entry.is_file() { entry.attribute(kept::CAPABILITY)? } else { None };
        entry.set_owner(wanted.uid, wanted.gid)?;
        if let Some(capability) = capability {
            entry.set_attribute(kept::CAPABILITY, &capability)?;
        }
        entry.refresh()?;
    }
    if differs(wanted.mode, entry.mode()) {
        entry.set_mode(wanted.mode.unwrap_or_default())?;
        entry.refresh()?;
    }
    Ok(())
}

/// The same with something that was there before, after a look whether it may be something else than what is meant: those
/// who control a directory can give its names to anything that is in it.
pub(super) fn settle_there(entry: &mut Entry, wanted: Wanted, directory: &Directory, path: &str) -> Result {
    if let Some(why) = objection(entry, wanted, directory) {
        return Err(Failure::new(format!("{path} {why}")));
    }
    settle(entry, wanted).map_err(|errno| hindrance::failure(errno, path, Some(entry), directory))
}

fn objection(entry: &Entry, wanted: Wanted, directory: &Directory) -> Option<String> {
    if directory.is_ours() {
        return None;
    }
    let number = entry.stat.st_nlink;
    match entry.kind() {
        FileType::CharacterDevice | FileType::BlockDevice => {
            return Some("is a device in a directory that others can change: it is left alone".to_owned());
        }
        _ if entry.may_be_anyones(directory) => {
            return Some(format!(
                "has {number} names (hard links) and others can change its directory: it may be any file of this disk"
            ));
        }
        FileType::RegularFile if entry.attribute(kept::CAPABILITY) != Ok(None) => {
            return Some("has capabilities, and others can change its directory: it is left alone".to_owned());
        }
        _ => {}
    }
    let why = "and others can change its directory: move it away, or change it by hand";
    if opens(entry, wanted) && !is_empty(entry, directory) {
        return Some(format!("can be read by user {} alone, {why}", entry.stat.st_uid));
    }
    // With what is in it, planted links would become ours.
    if directory.is_sticky() && takes(entry, wanted) && !is_empty(entry, directory) {
        return Some(format!("belongs to user {} and is not empty, {why}", entry.stat.st_uid));
    }
    None
}

fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == me()
}

/// What the group and all others may do.
const OTHERS: RawMode = 0o077;

/// Whether others could look into what was for root or us alone.
fn opens(entry: &Entry, wanted: Wanted) -> bool {
    let (uid, mode) = (entry.stat.st_uid, entry.mode());
    let closed = is_ours(uid) && mode & OTHERS == 0;
    let opened = wanted.uid.is_some_and(|new| new != uid) || wanted.mode.is_some_and(|new| new & OTHERS != 0);
    closed && opened
}

/// Whether a directory of somebody else becomes ours.
fn takes(entry: &Entry, wanted: Wanted) -> bool {
    entry.kind() == FileType::Directory && !is_ours(entry.stat.st_uid) && wanted.uid.is_some_and(is_ours)
}

fn is_empty(entry: &Entry, directory: &Directory) -> bool {
    match entry.kind() {
        FileType::RegularFile => entry.stat.st_size == 0,
        FileType::Directory => entry.directory(directory).is_ok_and(|inside| inside.is_empty() == Ok(true)),
        _ => false,
    }
}
