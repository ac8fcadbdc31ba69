//! Directories and links, the attributes of what is there, and removal.

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::owner::{Wanted, settle, settle_there};
use super::{Files, hindrance, look, path};
use crate::host::directory::{Directory, Missing};
use crate::host::{Failure, Result};
use crate::step::{Ownership, Removable};

/// The mode of a new directory, where none is asked for.
const NEW: u32 = 0o755;

impl Files<'_> {
    /// Makes a directory and its parents, or gives an existing one these attributes.
    pub(in crate::host) fn make_directory(&mut self, path: &str, ownership: &Ownership) -> Result {
        let path = path::located(path, self.numbers)?;
        let wanted = Wanted::of(ownership, self.numbers)?;
        let (directory, name) = Directory::open_parent(&path, Missing::Make)?;
        match directory.make(name) {
            Ok(Some(new)) => {
                fresh(&new, &directory, wanted, &path)?;
                self.flush.remember(directory);
                Ok(())
            }
            Ok(None) => there(&directory, name, wanted, &path),
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => Err(swapped(&path)),
            Err(errno) => Err(hindrance::failure(errno, &path, None, &directory)),
        }
    }

    /// Makes a symbolic link, in the place of a link that is there.
    pub(in crate::host) fn make_link(&mut self, path: &str, target: &str) -> Result {
        if target.is_empty() || target.contains('\0') {
            return Err(Failure::new("a link must point somewhere, and not to a name with a NUL byte in it"));
        }
        let path = path::located(path, self.numbers)?;
        let (directory, name) = Directory::open_parent(&path, Missing::Refuse)?;
        self.sweep(&directory);
        let there = look(&directory, name, &path)?;
        let failed = |errno| hindrance::failure(errno, &path, there.as_ref(), &directory);
        match &there {
            None => rustix::fs::symlinkat(target, &directory, name).map_err(failed)?,
            Some(entry) if entry.is_link() => {
                let spare = self.spare();
                rustix::fs::symlinkat(target, &directory, spare.as_str()).map_err(failed)?;
                if let Err(errno) = directory.rename(&spare, name) {
                    let _ = directory.unlink(spare.as_str());
                    return Err(failed(errno));
                }
            }
            Some(_) => return Err(Failure::new(format!("{path} is there and no symbolic link"))),
        }
        self.flush.remember(directory);
        Ok(())
    }

    /// Changes mode, owner or group of what is there.
    pub(in crate::host) fn set_ownership(&mut self, path: &str, ownership: &Ownership) -> Result {
        let path = path::located(path, self.numbers)?;
        let wanted = Wanted::of(ownership, self.numbers)?;
        let (directory, name) = Directory::open_parent(&path, Missing::Refuse)?;
        let mut entry =
            look(&directory, name, &path)?.ok_or_else(|| Failure::new(format!("there is nothing at {path}")))?;
        if entry.is_link() {
            return Err(Failure::new(format!("{path} is a symbolic link")));
        }
        settle_there(&mut entry, wanted, &directory, &path)
    }

    /// Removes one file, link or empty directory. Nothing there is success.
    pub(in crate::host) fn remove(&mut self, path: &str, what: Removable) -> Result {
        let path = path::located(path, self.numbers)?;
        let (directory, name) = match Directory::open_parent(&path, Missing::Refuse) {
            Ok(found) => found,
            Err(unreached) if unreached.absent => return Ok(()),
            Err(unreached) => return Err(unreached.into()),
        };
        let Some(entry) = look(&directory, name, &path)? else { return Ok(()) };
        let (wanted, flags) = match what {
            Removable::File => ("file", AtFlags::empty()),
            Removable::Link => ("link", AtFlags::empty()),
            Removable::EmptyDirectory => ("directory", AtFlags::REMOVEDIR),
        };
        let is = match entry.kind() {
            FileType::RegularFile => "file",
            FileType::Symlink => "link",
            FileType::Directory => "directory",
            _ => "other",
        };
        if is != wanted {
            return Err(Failure::new(format!("{path} is no {wanted} but a {is}: not removed")));
        }
        match rustix::fs::unlinkat(&directory, name, flags) {
            Ok(()) | Err(Errno::NOENT) => self.flush.remember(directory),
            Err(errno) => return Err(hindrance::failure(errno, &path, Some(&entry), &directory)),
        }
        Ok(())
    }
}

/// Makes a directory, or gives the one that is there its owner, group and mode.
///
/// # Errors
/// When something else is there, or a directory that may not be the one that is meant.
pub(in crate::host) fn settle_directory(above: &Directory, name: &str, wanted: Wanted, path: &str) -> Result {
    match above.make(name) {
        Ok(Some(new)) => fresh(&new, above, wanted, path),
        Ok(None) => there(above, name, wanted, path),
        Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => Err(swapped(path)),
        Err(errno) => Err(hindrance::failure(errno, path, None, above)),
    }
}

fn swapped(path: &str) -> Failure {
    Failure::new(format!("{path} became something else while it was made"))
}

/// Settles a directory that was made a moment ago.
fn fresh(new: &Directory, above: &Directory, wanted: Wanted, path: &str) -> Result {
    let failed = |errno| hindrance::failure(errno, path, None, above);
    if !above.is_ours() && !new.is_fresh().map_err(failed)? {
        return Err(swapped(path));
    }
    let mut entry = new.entry().map_err(failed)?;
    settle(&mut entry, wanted.of_new(NEW)).map_err(failed)
}

/// Settles one that was there before.
fn there(above: &Directory, name: &str, wanted: Wanted, path: &str) -> Result {
    let mut entry = look(above, name, path)?.ok_or_else(|| swapped(path))?;
    match entry.kind() {
        FileType::Directory => settle_there(&mut entry, wanted, above, path),
        FileType::Symlink => Err(Failure::new(format!("{path} is a symbolic link"))),
        _ => Err(Failure::new(format!("{path} is there and no directory"))),
    }
}
