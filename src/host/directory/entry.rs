//! What a name in a directory stands for, held by a handle: whatever happens to the name, this stays the same thing.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, RawMode, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use super::super::{Failure, Result};
use super::{Control, Directory, kind, told};

/// A file, directory, link or anything else, not opened: a device was not touched, a pipe not waited for.
#[derive(Debug)]
pub(in crate::host) struct Entry {
    handle: OwnedFd,
    /// As of when it was looked at.
    pub(in crate::host) stat: Stat,
}

impl Entry {
    /// What a handle is of.
    pub(in crate::host) fn of(handle: OwnedFd) -> std::result::Result<Self, Errno> {
        let stat = rustix::fs::fstat(&handle)?;
        Ok(Self { handle, stat })
    }

    /// What it is.
    pub(in crate::host) fn kind(&self) -> FileType {
        kind(&self.stat)
    }

    /// Whether it is a file like most.
    pub(in crate::host) fn is_file(&self) -> bool {
        self.kind() == FileType::RegularFile
    }

    /// Whether it is a symbolic link.
    pub(in crate::host) fn is_link(&self) -> bool {
        self.kind() == FileType::Symlink
    }

    /// Permission bits, with the three special ones.
    pub(in crate::host) fn mode(&self) -> RawMode {
        self.stat.st_mode & 0o7777
    }

    /// Whether this is what an earlier look found, and it did not change since.
    pub(in crate::host) fn is_same(&self, stat: &Stat) -> bool {
        let of = |stat: &Stat| (stat.st_dev, stat.st_ino, stat.st_size, stat.st_ctime, stat.st_ctime_nsec);
        let changed = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec);
        of(&self.stat) == of(stat) && changed(&self.stat) == changed(stat)
    }

    /// A name for it that nobody else can change, for calls that take no handles.
    pub(in crate::host) fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.handle.as_raw_fd())
    }

    /// The same as a directory, which is in that one.
    pub(in crate::host) fn directory(&self, above: &Directory) -> std::result::Result<Directory, Errno> {
        above.within(rustix::io::fcntl_dupfd_cloexec(&self.handle, 0)?)
    }

    /// Opens a regular file to read it. In a directory that others control it must be one that they could have written
    /// there: with a second name it may be any file of this disk.
    pub(in crate::host) fn open(&self, directory: &Directory, path: &str) -> Result<File> {
        if !self.is_file() {
            return Err(Failure::new(format!("{path} is not a regular file")));
        }
        if self.may_be_anyones(directory) {
            return Err(Failure::new(format!(
                "{path} has {} names (hard links) and others can change its directory: it may be any file of this disk",
                self.stat.st_nlink
            )));
        }
        // Not to wait for one who has a lease on the file.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(self.path(), flags, Mode::empty());
        opened.map(File::from).map_err(|errno| Failure::new(format!("{path}: {}", told(errno))))
    }

    /// Whether a user who controls the directory may have given a file of somebody else this name.
    pub(in crate::host) fn may_be_anyones(&self, directory: &Directory) -> bool {
        let theirs = match directory.control() {
            Control::Ours => return false,
            Control::User(user) => self.stat.st_uid == user,
            Control::Anyone => false,
        };
        !theirs && self.kind() != FileType::Directory && self.stat.st_nlink > 1
    }

    /// Whether its content may be shown to those who read what this directory has in it: it is of one who controls the
    /// directory, or those may read it, as everybody or as the group of the directory. Other files may have been given this
    /// name to be shown.
    pub(in crate::host) fn may_be_shown(&self, directory: &Directory) -> bool {
        let theirs = Control::User(self.stat.st_uid) == directory.control();
        let readable = self.mode() & 0o004 != 0 || self.mode() & 0o040 != 0 && self.stat.st_gid == directory.group();
        directory.is_ours() || theirs || readable && !self.may_be_anyones(directory)
    }

    /// Gives it an owner and a group. That takes special bits and capabilities away from a file.
    pub(in crate::host) fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> std::result::Result<(), Errno> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        rustix::fs::chownat(&self.handle, "", uid, gid, AtFlags::EMPTY_PATH)
    }

    /// Gives it these permission bits, the special ones included.
    pub(in crate::host) fn set_mode(&self, mode: RawMode) -> std::result::Result<(), Errno> {
        rustix::fs::chmodat(CWD, self.path(), Mode::from_raw_mode(mode), AtFlags::empty())
    }

    /// Looks again.
    pub(in crate::host) fn refresh(&mut self) -> std::result::Result<(), Errno> {
        self.stat = rustix::fs::fstat(&self.handle)?;
        Ok(())
    }

    /// An extended attribute; none if it has no such, or its file system has none at all.
    pub(in crate::host) fn attribute(&self, name: &str) -> std::result::Result<Option<Vec<u8>>, Errno> {
        let mut value = vec![0_u8; MOST];
        match rustix::fs::getxattr(self.path(), name, value.as_mut_slice()) {
            Ok(size) => {
                value.truncate(size);
                Ok(Some(value))
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The names of its extended attributes.
    pub(in crate::host) fn attributes(&self) -> std::result::Result<Vec<String>, Errno> {
        let mut list = vec![0_u8; MOST];
        let size = match rustix::fs::listxattr(self.path(), list.as_mut_slice()) {
            Ok(size) => size,
            Err(Errno::OPNOTSUPP) => 0,
            Err(errno) => return Err(errno),
        };
        let names = list[..size].split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }

    /// Takes an extended attribute away.
    pub(in crate::host) fn remove_attribute(&self, name: &str) -> std::result::Result<(), Errno> {
        rustix::fs::removexattr(self.path(), name)
    }

    /// Gives it an extended attribute.
    pub(in crate::host) fn set_attribute(&self, name: &str, value: &[u8]) -> std::result::Result<(), Errno> {
        rustix::fs::setxattr(self.path(), name, value, XattrFlags::empty())
    }
}

impl AsFd for Entry {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// The largest extended attribute, and the longest list of their names, that Linux has (`xattr(7)`).
const MOST: usize = 65_536;
