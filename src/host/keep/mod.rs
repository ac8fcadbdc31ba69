//! What armilla keeps on a host: its lock, its ledgers and journals, and copies of what it replaced.
//!
//! In: requests, tickets and steps. Out: answers, and files that every armilla before this one can read. Never: anything
//! believed that another user could have put there.
//!
//! The directory of a [`Place`] holds `fence`, `lease`, `guard` and `busy` (the lock of the host; see `lock.rs`), and for each
//! environment a directory `ENVIRONMENT@HOST@PROJECT` with `ledger`, `journal`, `drafts`, `backup/`, `undo/` and `armed/`.

pub(in crate::host) mod copies;
pub(in crate::host) mod folder;
pub(in crate::host) mod journal;
pub(in crate::host) mod ledger;
pub(in crate::host) mod leftovers;
pub(in crate::host) mod lock;
pub(in crate::host) mod walk;

use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use rustix::fs::FileType;
use rustix::time::{ClockId, clock_gettime};

use super::{Failure, Place, Result};
use crate::name::{HostName, Owner};
use crate::step::home_of;
use folder::{Folder, kind};
use walk::{Missing, enter};

/// Which boot of the host this is, and how long ago it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::host) struct Uptime {
    /// The kernel's boot id.
    pub(in crate::host) boot: String,
    /// Seconds since then, with those in which the host slept.
    pub(in crate::host) seconds: u64,
}

impl Uptime {
    /// As the kernel says it now.
    pub(in crate::host) fn now() -> Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let boot = boot.map_err(|error| Failure::new(format!("the boot id of this host: {error}")))?;
        let seconds = clock_gettime(ClockId::Boottime).tv_sec;
        Ok(Self { boot: boot.trim_end().to_owned(), seconds: u64::try_from(seconds).unwrap_or_default() })
    }
}

/// What everything that is kept depends on.
#[derive(Clone, Copy)]
pub(in crate::host) struct Keep<'a> {
    /// Where it is kept.
    pub(in crate::host) place: &'a Place,
    /// The name of this machine in the inventory.
    pub(in crate::host) host: &'a HostName,
    /// The time: [`Uptime::now`].
    pub(in crate::host) uptime: &'a dyn Fn() -> Result<Uptime>,
    /// The home directory that the accounts of this host have for a user; none if there is no such user, or no such home.
    pub(in crate::host) home: &'a dyn Fn(&str) -> Option<String>,
}

impl Keep<'_> {
    /// The directory of it all; none where it is missing and stays so.
    ///
    /// # Errors
    /// Where it is a link, belongs to another user, or others can write in it.
    pub(in crate::host) fn open(&self, missing: Missing) -> Result<Option<Folder>> {
        let path = self.place.directory().display().to_string();
        let is_there = fs::symlink_metadata(&path);
        if missing == Missing::Leave && is_there.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(None);
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let parent = Folder::new(enter(parent, missing, self.place.uid())?, parent);
        if parent.look(name).is_ok_and(|stat| stat.is_some_and(|stat| kind(&stat) == FileType::Symlink)) {
            let why = "is a symbolic link, and armilla keeps nothing behind one: remove it";
            return Err(Failure::new(format!("{path} {why}")));
        }
        let folder = parent.child(name, missing).map_err(|error| Failure::new(format!("{path}: {error}")))?;
        folder.map(|folder| self.believed(folder)).transpose()
    }

    fn believed(&self, folder: Folder) -> Result<Folder> {
        let path = folder.path();
        let stat = folder.stat().map_err(|error| Failure::new(format!("{path}: {error}")))?;
        let uid = stat.st_uid;
        if uid != self.place.uid() {
            let why = format!("belongs to another user (number {uid}): armilla believes nothing in it; move it away");
            return Err(Failure::new(format!("{path} {why}")));
        }
        if stat.st_mode & 0o022 != 0 {
            return Err(Failure::new(format!(
                "others can write in {path}: armilla believes nothing in it; move it away"
            )));
        }
        Ok(folder)
    }

    /// The same, and again where another run makes or removes it meanwhile.
    pub(in crate::host) fn insist(&self, missing: Missing) -> Result<Option<Folder>> {
        let mut tries = 0;
        loop {
            match self.open(missing) {
                Err(_) if tries < 4 => thread::sleep(Duration::from_millis(50)),
                ended => return ended,
            }
            tries += 1;
        }
    }

    /// The name of the directory of an owner.
    pub(in crate::host) fn folder_name(&self, owner: &Owner) -> String {
        let project = owner.project.as_ref().map(|project| format!("@{project}")).unwrap_or_default();
        format!("{}@{}{project}", owner.environment, self.host)
    }

    /// The directory of an owner; none where it is missing and stays so.
    pub(in crate::host) fn belonging(&self, owner: &Owner, missing: Missing) -> Result<Option<Folder>> {
        let Some(all) = self.insist(missing)? else { return Ok(None) };
        all.own_child(&self.folder_name(owner), missing, self.place.uid())
    }

    /// The directory of an owner, made where it is missing.
    pub(in crate::host) fn make_belonging(&self, owner: &Owner) -> Result<Folder> {
        let missing = || Failure::new(format!("{} was removed meanwhile", self.place.directory().display()));
        self.belonging(owner, Missing::Make)?.ok_or_else(missing)
    }

    /// A path with the home directory in the place of `~USER`; none where there is no such home.
    pub(in crate::host) fn located(&self, path: &str) -> Option<String> {
        located(path, self.home)
    }
}

/// A path with the home directory in the place of `~USER`; none where there is no such home.
pub(in crate::host) fn located(path: &str, home: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let Some((user, below)) = home_of(path) else { return Some(path.to_owned()) };
    // The second is the word of Debian for none.
    let is_home = |home: &String| home.starts_with('/') && home != "/" && home != "/nonexistent";
    let home = home(user).filter(is_home)?;
    Some(format!("{}/{below}", home.trim_end_matches('/')))
}

#[cfg(test)]
pub(in crate::host) mod tests;
