//! Directories held open by handles, and how they are reached without being led astray.
//!
//! In: a path. Out: the handle of a directory, and what is known of those who can change what its names stand for. Never: a
//! link followed that anybody but root and us could have planted, or a second walk of a path that was walked already.
//!
//! Each part of a path is opened from the handle of the directory before it, without following links. A link is then read
//! and followed by us, and only where all directories on the way to it are [`Control::Ours`]. So there is nothing to race
//! with, and no kernel is too old for it.

mod entry;
#[cfg(test)]
pub(super) mod tests;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(super) use entry::Entry;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RawMode, Stat};
use rustix::io::Errno;

use super::Failure;

/// So many links in one path are a circle.
const MOST_LINKS: u32 = 40;

/// The mode of directories that are made on the way to a path.
const PARENT: RawMode = 0o755;

/// An open directory.
#[derive(Debug)]
pub(super) struct Directory {
    /// Good for `openat` and its kin, not for reading or flushing.
    handle: OwnedFd,
    stat: Stat,
    /// Who can put another directory in its place.
    place: Control,
    /// That, and who can change what is in it.
    control: Control,
}

/// Who, besides root and us, can change what the names in a directory stand for: by its mode, or by that of a directory
/// on the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    /// Nobody.
    Ours,
    /// This user.
    User(u32),
    /// Several, or we do not know who.
    Anyone,
}

/// What happens to directories that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is a failure.
    Refuse,
    /// They are made, with the mode 0755.
    Make,
}

/// Why a directory was not reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreached {
    /// Whether it is certain that there is no such directory.
    pub(super) absent: bool,
    /// The same for a person.
    pub(super) failure: Failure,
}

impl From<Unreached> for Failure {
    fn from(unreached: Unreached) -> Self {
        unreached.failure
    }
}

impl Control {
    /// Of a directory by itself.
    fn of(stat: &Stat, me: u32) -> Self {
        match stat.st_uid {
            _ if stat.st_mode & 0o022 != 0 => Self::Anyone,
            0 => Self::Ours,
            uid if uid == me => Self::Ours,
            uid => Self::User(uid),
        }
    }

    /// Of a directory in one that is controlled like this.
    fn below(self, inside: Self) -> Self {
        match (self, inside) {
            (Self::Ours, inside) => inside,
            (Self::User(user), Self::Ours) => Self::User(user),
            (Self::User(user), Self::User(other)) if user == other => Self::User(user),
            _ => Self::Anyone,
        }
    }
}

impl Directory {
    /// Goes to an absolute path.
    pub(super) fn open(path: &str, missing: Missing) -> Result<Self, Unreached> {
        let mut walk = Walk::begin(path, missing)?;
        while let Some(part) = walk.ahead.pop_front() {
            walk.enter(&part)?;
        }
        Ok(walk.here)
    }

    /// Goes to the directory that holds the last name of an absolute path, and says which name that is.
    pub(super) fn open_parent(path: &str, missing: Missing) -> Result<(Self, &str), Unreached> {
        let wrong = || Unreached { absent: false, failure: Failure::new(format!("{path}: not an absolute path")) };
        let (parent, name) = path.rsplit_once('/').filter(|(_, name)| !name.is_empty()).ok_or_else(wrong)?;
        if !path.starts_with('/') {
            return Err(wrong());
        }
        Ok((Self::open(parent, missing)?, name))
    }

    fn of(handle: OwnedFd, above: Option<&Self>) -> Result<Self, Errno> {
        let stat = rustix::fs::fstat(&handle)?;
        let me = me();
        let place = match above {
            None => Control::Ours,
            Some(above) if above.keeps_apart(&stat, me) => above.place,
            Some(above) => above.control,
        };
        let control = place.below(Control::of(&stat, me));
        Ok(Self { handle, stat, place, control })
    }

    /// Whether nobody can have put this directory of ours into that one, though others may write there: it has the sticky
    /// bit, and only those who can write in a directory can rename it into another one.
    fn keeps_apart(&self, inside: &Stat, me: u32) -> bool {
        let ours = |stat: &Stat| stat.st_uid == 0 || stat.st_uid == me;
        self.is_sticky() && ours(&self.stat) && ours(inside)
    }

    /// Its group.
    pub(super) fn group(&self) -> u32 {
        self.stat.st_gid
    }

    /// Whether nobody can rename or remove what belongs to others in it: the sticky bit.
    pub(super) fn is_sticky(&self) -> bool {
        self.stat.st_mode & 0o1000 != 0
    }

    /// Who can change what its names stand for.
    pub(super) fn control(&self) -> Control {
        self.control
    }

    /// Whether nobody but root and us can.
    pub(super) fn is_ours(&self) -> bool {
        self.control == Control::Ours
    }

    /// Whose it is and who may do what with it, as of when it was opened.
    pub(super) fn stat(&self) -> &Stat {
        &self.stat
    }

    /// The directory of that name in it; a link is not followed.
    pub(super) fn child(&self, name: impl rustix::path::Arg) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Self::of(rustix::fs::openat(&self.handle, name, flags, Mode::empty())?, Some(self))
    }

    fn within(&self, inside: OwnedFd) -> Result<Self, Errno> {
        Self::of(inside, Some(self))
    }

    /// What that name in it stands for, without opening a device, waiting for a pipe or following a link; none if there is
    /// nothing.
    pub(super) fn look(&self, name: impl rustix::path::Arg) -> Result<Option<Entry>, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => Entry::of(handle).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// A new directory in it; none if there is something of that name. Others cannot look into it; see [`Self::is_fresh`].
    pub(super) fn make(&self, name: &str) -> Result<Option<Self>, Errno> {
        match rustix::fs::mkdirat(&self.handle, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => self.child(name).map(Some),
            Err(Errno::EXIST) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Whether it can be the one that we made a moment ago: where others control the directory above, they may have put
    /// another one in its place, of ours perhaps, with something in it that is not for them.
    pub(super) fn is_fresh(&self) -> Result<bool, Errno> {
        Ok(self.stat.st_uid == me() && self.is_empty()?)
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> Result<bool, Errno> {
        Ok(self.names()?.is_empty())
    }

    /// The names in it, without `.` and `..`, in no order.
    pub(super) fn names(&self) -> Result<Vec<Vec<u8>>, Errno> {
        let mut names = Vec::new();
        for entry in Dir::new(self.readable()?)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Another handle, which is good for reading and flushing.
    pub(super) fn readable(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.handle, ".", flags, Mode::empty())
    }

    /// The same directory as an entry, to give it an owner and a mode.
    pub(super) fn entry(&self) -> Result<Entry, Errno> {
        Entry::of(rustix::io::fcntl_dupfd_cloexec(&self.handle, 0)?)
    }

    /// Another handle of the same.
    pub(super) fn again(&self) -> Result<Self, Errno> {
        let handle = rustix::io::fcntl_dupfd_cloexec(&self.handle, 0)?;
        Ok(Self { handle, stat: self.stat, place: self.place, control: self.control })
    }

    /// Removes what is not a directory. Nothing there is an error.
    pub(super) fn unlink(&self, name: impl rustix::path::Arg) -> Result<(), Errno> {
        rustix::fs::unlinkat(&self.handle, name, AtFlags::empty())
    }

    /// Lets what is called one thing be called another, in the place of what had that name.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        rustix::fs::renameat(&self.handle, from, &self.handle, to)
    }

    /// Sees to it that the names in it are on the disk.
    pub(super) fn flush(&self) -> Result<(), Errno> {
        match self.readable() {
            Ok(open) => match rustix::fs::fsync(open) {
                // What cannot be flushed by itself: some file systems of networks and of user space.
                Err(Errno::INVAL) => Ok(()),
                done => done,
            },
            // We may write in it, but not read it.
            Err(Errno::ACCESS) => {
                rustix::fs::sync();
                Ok(())
            }
            Err(errno) => Err(errno),
        }
    }

    /// Which directory it is: file system and number.
    pub(super) fn identity(&self) -> (u64, u64) {
        (self.stat.st_dev, self.stat.st_ino)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// A way to a directory, as far as it was gone.
struct Walk<'a> {
    /// Where it leads.
    whole: &'a str,
    missing: Missing,
    here: Directory,
    /// The directories before this one, from the root, and the name of each that was entered from it.
    passed: Vec<(Directory, Vec<u8>)>,
    /// The names that are still to be entered.
    ahead: VecDeque<Vec<u8>>,
    links: u32,
}

impl<'a> Walk<'a> {
    fn begin(whole: &'a str, missing: Missing) -> Result<Self, Unreached> {
        let failed = |errno| Unreached { absent: false, failure: Failure::new(format!("/: {}", told(errno))) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, "/", flags, Mode::empty());
        let here = root.and_then(|root| Directory::of(root, None)).map_err(failed)?;
        Ok(Self { whole, missing, here, passed: Vec::new(), ahead: parts(whole.as_bytes()).collect(), links: 0 })
    }

    fn enter(&mut self, part: &[u8]) -> Result<(), Unreached> {
        if part == b".." {
            // Beside the root there is nothing. Only links that are followed have such parts.
            if let Some((above, _)) = self.passed.pop() {
                self.here = above;
            }
            return Ok(());
        }
        match self.here.child(part) {
            Err(Errno::NOENT) if self.missing == Missing::Make => self.make(part)?,
            Err(Errno::NOTDIR | Errno::LOOP) => return self.follow(part),
            Err(errno) => return Err(self.unreached(part, errno)),
            Ok(next) => self.go(next, part),
        }
        Ok(())
    }

    fn go(&mut self, next: Directory, part: &[u8]) {
        self.passed.push((std::mem::replace(&mut self.here, next), part.to_vec()));
    }

    fn follow(&mut self, part: &[u8]) -> Result<(), Unreached> {
        let target = match rustix::fs::readlinkat(&self.here, part, Vec::new()) {
            Ok(target) => target.into_bytes(),
            // It is something else than a link or a directory.
            Err(Errno::INVAL) => return Err(self.unreached(part, Errno::NOTDIR)),
            Err(errno) => return Err(self.unreached(part, errno)),
        };
        if !self.here.is_ours() {
            return Err(self.refuse(part, "is a link that others could have planted"));
        }
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(self.refuse(part, "is one link too many"));
        }
        if target.starts_with(b"/") && !self.passed.is_empty() {
            self.passed.truncate(1);
            self.enter(b"..")?;
        }
        let rest = std::mem::take(&mut self.ahead);
        self.ahead = parts(&target).chain(rest).collect();
        Ok(())
    }

    fn make(&mut self, part: &[u8]) -> Result<(), Unreached> {
        let made = match rustix::fs::mkdirat(&self.here.handle, part, Mode::from_raw_mode(PARENT)) {
            Ok(()) => true,
            // Somebody else makes it, too.
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(self.unreached(part, errno)),
        };
        let next = match self.here.child(part) {
            Ok(next) => next,
            Err(Errno::NOTDIR | Errno::LOOP) => return self.follow(part),
            Err(errno) => return Err(self.unreached(part, errno)),
        };
        if made {
            self.unmask(&next).map_err(|errno| self.unreached(part, errno))?;
        }
        self.go(next, part);
        Ok(())
    }

    /// What the mask of this process took away, where no access list of the directory above says who may do what.
    fn unmask(&self, made: &Directory) -> Result<(), Errno> {
        if made.stat.st_mode & PARENT == PARENT || self.here.entry()?.attribute("system.posix_acl_default")?.is_some() {
            return Ok(());
        }
        if made.is_fresh()? { made.entry()?.set_mode(made.stat.st_mode & 0o7777 | PARENT) } else { Ok(()) }
    }

    fn refuse(&self, part: &[u8], why: &str) -> Unreached {
        let part = String::from_utf8_lossy(part);
        Unreached { absent: false, failure: Failure::new(format!("{}: {part} {why}", self.whole)) }
    }

    fn unreached(&self, part: &[u8], errno: Errno) -> Unreached {
        let at = self.passed.iter().map(|(_, name)| name.as_slice());
        let path = |names: Vec<&[u8]>| format!("/{}", String::from_utf8_lossy(&names.join(&b"/"[..])));
        let (absent, why) = match errno {
            Errno::ACCESS => (false, format!("permission denied: cannot look into {}", path(at.collect()))),
            Errno::NOENT => (true, format!("there is no directory {}", path(at.chain([part]).collect()))),
            Errno::NOTDIR => (true, format!("{} is not a directory", path(at.chain([part]).collect()))),
            errno => (false, format!("{}: {}", path(at.chain([part]).collect()), told(errno))),
        };
        Unreached { absent, failure: Failure::new(why) }
    }
}

/// The names in a path; `..` counts as one.
fn parts(path: &[u8]) -> impl Iterator<Item = Vec<u8>> + use<> {
    let parts: Vec<Vec<u8>> =
        path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).map(<[u8]>::to_vec).collect();
    parts.into_iter()
}

/// As whom this process changes files.
pub(super) fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// What the system says about an error, without its number.
pub(super) fn told(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// A word for what a name stands for.
pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}
