//! A file that has no name yet: filled, flushed, and only then put in its place.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawMode, RenameFlags, Stat};
use rustix::io::Errno;

use super::kept::Kept;
use super::owner::{Wanted, settle};
use super::{flush, hindrance};
use crate::crash;
use crate::host::directory::{Directory, Entry, Missing, told};
use crate::host::{Failure, Result};

/// What the names of unfinished files begin with; then there are 32 characters, a dash and a number.
pub(super) const PREFIX: &str = ".armilla-";

/// The mode of a new file, where none is asked for.
const NEW: RawMode = 0o644;

/// Whether a name is that of a file that an order did not finish, another than that with this mark.
pub(super) fn is_spare(name: &[u8], mark: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX.as_bytes()) else { return false };
    rest.len() > 33 && rest[32] == b'-' && &rest[..32] != mark.as_bytes()
}

/// How an unfinished file begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// Without any name, where the file system can do that.
    Nameless,
    /// With a name that nobody can guess, as where the file system cannot do that.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests begin like this where they need not"))]
    Named,
}

/// Where a file shall be.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) directory: Directory,
    /// In that directory.
    pub(super) name: String,
    /// All of it, for complaints.
    pub(super) path: String,
}

/// A file that nobody sees yet, with its owner, access list and mode. Dropped, it leaves nothing.
#[derive(Debug)]
pub(in crate::host) struct Draft {
    target: Target,
    new: Entry,
    /// The name it is given before it replaces another file.
    spare: String,
    /// Whether it has that name now.
    named: bool,
    /// The mode it shall have in the end.
    mode: RawMode,
    kept: Option<Kept>,
    /// Bytes.
    size: u64,
    flushed: bool,
    /// Whether the file it replaces must have the content it had.
    exact: bool,
}

impl Draft {
    pub(super) fn begin(
        target: Target,
        (start, spare): (Start, String),
        before: Option<&Entry>,
        wanted: Wanted,
    ) -> Result<Self> {
        let kept = before.map(|entry| Kept::of(entry, &target.directory, &target.path)).transpose()?;
        let wanted = match &kept {
            Some(kept) => as_before(&kept.stat, wanted),
            None => wanted.of_new(NEW),
        };
        let failed = |errno| hindrance::failure(errno, &target.path, before, &target.directory);
        let (handle, named) = open(&target.directory, start, &spare).map_err(failed)?;
        let mode = wanted.mode.unwrap_or(NEW);
        let new = Entry::of(handle).map_err(failed)?;
        let mut draft = Self { target, new, spare, named, mode, kept, size: 0, flushed: false, exact: false };
        draft.dress(wanted)?;
        Ok(draft)
    }

    /// All that says who may do what, before there is anything to read. What makes a program powerful comes last.
    fn dress(&mut self, wanted: Wanted) -> Result {
        let path = &self.target.path;
        let failed = |errno| Failure::new(format!("{path}: its owner or mode cannot be set: {}", told(errno)));
        settle(&mut self.new, Wanted { mode: None, ..wanted }).map_err(failed)?;
        if let Some(kept) = &self.kept {
            kept.give(&self.new, path)?;
            self.new.refresh().map_err(failed)?;
        }
        settle(&mut self.new, Wanted { mode: Some(self.mode & 0o777), ..Wanted::default() }).map_err(failed)
    }

    /// The same, which replaces only the file that was read, with the content it had then.
    pub(super) fn exactly(mut self) -> Self {
        self.exact = true;
        self
    }

    /// Adds to the content.
    pub(in crate::host) fn fill(&mut self, mut bytes: &[u8]) -> Result {
        let whole = self.size + bytes.len() as u64;
        self.flushed = false;
        while !bytes.is_empty() {
            match rustix::io::write(&self.new, bytes) {
                Ok(count) if count > 0 => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    self.size += count as u64;
                }
                Err(Errno::INTR) => {}
                Ok(_) => return Err(self.short(whole, Errno::NOSPC)),
                Err(errno) => return Err(self.short(whole, errno)),
            }
        }
        Ok(())
    }

    fn short(&self, whole: u64, errno: Errno) -> Failure {
        let (path, got, why) = (&self.target.path, self.size, told(errno));
        Failure::new(format!("{path}: only {got} of {whole} bytes could be written ({why}); is the disk full?"))
    }

    /// Sees to it that the content is on the disk.
    pub(in crate::host) fn flush(&mut self) -> Result {
        if !self.flushed {
            self.flush_now()?;
            self.flushed = true;
        }
        Ok(())
    }

    fn flush_now(&self) -> Result {
        let failed = |errno| Failure::new(format!("{}: the disk does not take it: {}", self.target.path, told(errno)));
        match rustix::fs::fsync(&self.new) {
            Err(Errno::INVAL) => Ok(()),
            done => done.map_err(failed),
        }
    }

    /// The same for many files at once. It changes nothing if one fails here: each is flushed again before it gets its name.
    pub(in crate::host) fn flush_all(drafts: &mut [&mut Self]) -> Result {
        flush::together(drafts, |draft| draft.flush_now())?;
        for draft in drafts {
            draft.flushed = true;
        }
        crash::on_host();
        Ok(())
    }

    /// Whether the path still leads here and its name still stands for what it did, so that [`super::Files::place`] would do.
    pub(in crate::host) fn is_current(&self) -> bool {
        let way = Directory::open_parent(&self.target.path, Missing::Refuse);
        if !way.is_ok_and(|(directory, _)| directory.identity() == self.target.directory.identity()) {
            return false;
        }
        let found = self.target.directory.look(self.target.name.as_str());
        match (found, &self.kept) {
            (Ok(None), None) => true,
            (Ok(Some(found)), Some(kept)) if self.exact => found.is_same(&kept.stat),
            (Ok(Some(found)), Some(kept)) => {
                (found.stat.st_dev, found.stat.st_ino) == (kept.stat.st_dev, kept.stat.st_ino)
            }
            _ => false,
        }
    }

    /// Gives it its name, and says in which directory that is.
    pub(super) fn place(mut self) -> Result<Directory> {
        self.finish()?;
        self.flush()?;
        if !self.is_current() {
            return Err(Failure::new(format!("{} was changed since the plan was made: plan again", self.target.path)));
        }
        let named = if self.kept.is_some() { self.replace() } else { self.link() };
        if let Err(errno) = named {
            let there = self.target.directory.look(self.target.name.as_str()).ok().flatten();
            return Err(hindrance::failure(errno, &self.target.path, there.as_ref(), &self.target.directory));
        }
        self.named = false;
        self.target.directory.again().map_err(|errno| Failure::new(format!("{}: {}", self.target.path, told(errno))))
    }

    /// Special bits and capabilities.
    fn finish(&mut self) -> Result {
        let path = &self.target.path;
        if self.mode & 0o7000 != 0 {
            let failed = |errno| Failure::new(format!("{path}: its mode cannot be set: {}", told(errno)));
            self.new.set_mode(self.mode).map_err(failed)?;
            self.flushed = false;
        }
        let Some(kept) = &self.kept else { return Ok(()) };
        self.flushed &= !kept.is_powerful();
        kept.give_last(&self.new, path)
    }

    /// In the place of the file that has the name.
    fn replace(&mut self) -> std::result::Result<(), Errno> {
        if !self.named {
            link(&self.new, &self.target.directory, &self.spare)?;
            self.named = true;
        }
        self.target.directory.rename(&self.spare, &self.target.name)
    }

    /// Where nothing has the name; what others put there meanwhile stays.
    fn link(&mut self) -> std::result::Result<(), Errno> {
        let directory = &self.target.directory;
        if !self.named {
            return link(&self.new, directory, &self.target.name);
        }
        let (from, to) = (self.spare.as_str(), self.target.name.as_str());
        match rustix::fs::renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => directory.rename(from, to),
            done => done,
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.named {
            let _ = self.target.directory.unlink(self.spare.as_str());
        }
    }
}

/// What is not asked for is as it was. Special bits were for the owner it had.
fn as_before(stat: &Stat, wanted: Wanted) -> Wanted {
    let (uid, gid) = (wanted.uid.unwrap_or(stat.st_uid), wanted.gid.unwrap_or(stat.st_gid));
    let special = if (uid, gid) == (stat.st_uid, stat.st_gid) { 0o7000 } else { 0 };
    let mode = wanted.mode.unwrap_or(stat.st_mode & (0o777 | special));
    Wanted { uid: Some(uid), gid: Some(gid), mode: Some(mode), new_gid: None }
}

/// A new file, and whether it has the spare name.
fn open(directory: &Directory, start: Start, spare: &str) -> std::result::Result<(OwnedFd, bool), Errno> {
    let (flags, mode) = (OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o600));
    if start == Start::Nameless {
        match rustix::fs::openat(directory, ".", flags | OFlags::TMPFILE, mode) {
            Ok(handle) => return Ok((handle, false)),
            // Networks, FUSE, overlays of old kernels.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS | Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    Ok((rustix::fs::openat(directory, spare, flags, mode)?, true))
}

/// Gives a file without a name one that nothing has.
fn link(new: &Entry, directory: &Directory, name: &str) -> std::result::Result<(), Errno> {
    match rustix::fs::linkat(CWD, new.path(), directory, name, AtFlags::SYMLINK_FOLLOW) {
        // Without /proc; root may do it by the handle.
        Err(Errno::NOENT) => rustix::fs::linkat(new.as_fd(), "", directory, name, AtFlags::EMPTY_PATH),
        done => done,
    }
}
