//! Copies of directories with all that is below them, without following a link.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown,
    fgetxattr, flistxattr, fsetxattr, fstat, futimens, linkat, mkdirat, mknodat, openat, readlinkat, statat, symlinkat,
    utimensat,
};
use rustix::io::Errno;

use super::super::keep::folder::{kind, names};
use crate::step::MARKER;

/// Copies what has a name in a directory to a new name in another: with owners, modes, times and extended attributes. On one
/// file system a file gets a second name in the place of a copy.
pub(super) fn copy(from: BorrowedFd<'_>, name: &OsStr, to: BorrowedFd<'_>, new: &OsStr) -> io::Result<()> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if kind(&stat) == FileType::Directory {
        return copy_directory(from, name, to, new);
    }
    if fstat(to)?.st_dev == stat.st_dev {
        match linkat(from, name, to, new, AtFlags::empty()) {
            // Of many names, and of what belongs to another user, it may not be allowed.
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::ACCESS) => {}
            linked => return Ok(linked?),
        }
    }
    match kind(&stat) {
        FileType::RegularFile => {
            let mut file = File::from(open(from, name, OFlags::NONBLOCK)?);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut copy = File::from(openat(to, new, flags, Mode::from_raw_mode(0o600))?);
            let stat = fstat(&file)?;
            io::copy(&mut file, &mut copy)?;
            settle(file.as_fd(), copy.as_fd(), &stat)
        }
        FileType::Symlink => {
            symlinkat(readlinkat(from, name, Vec::new())?, to, new)?;
            settle_name(to, new, &stat)
        }
        kind => {
            mknodat(to, new, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), stat.st_rdev)?;
            settle_name(to, new, &stat)
        }
    }
}

fn copy_directory(from: BorrowedFd<'_>, name: &OsStr, to: BorrowedFd<'_>, new: &OsStr) -> io::Result<()> {
    let source = open(from, name, OFlags::DIRECTORY)?;
    mkdirat(to, new, Mode::from_raw_mode(0o700))?;
    let target = open(to, new, OFlags::DIRECTORY)?;
    fill(source.as_fd(), target.as_fd())
}

/// Copies what is in a directory into a new one that nobody else can enter yet. The marker comes first: by it an unfinished
/// copy is known.
pub(super) fn fill(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let mut names = names(source)?;
    names.sort_by_key(|name| name != MARKER);
    for name in names {
        copy(source, &name, target, &name)?;
    }
    settle(source, target, &fstat(source)?)
}

fn open(at: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    openat(at, name, flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Gives a copy everything but content. The mode comes after the owner: that takes special bits away. The times come last.
fn settle(from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
    fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    copy_xattrs(from, to)?;
    Ok(futimens(to, &times(stat))?)
}

fn settle_name(to: BorrowedFd<'_>, new: &OsStr, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    chownat(to, new, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(utimensat(to, new, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
}

#[expect(clippy::cast_possible_wrap, reason = "nanoseconds are fewer than a thousand millions")]
fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
    }
}

/// Those whose loss would give or take a right.
fn matters(name: &[u8]) -> bool {
    name.starts_with(b"system.posix_acl_") || name == b"security.capability"
}

/// The extended attributes of an open file, sorted.
pub(super) fn xattrs(of: BorrowedFd<'_>) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0; 64 << 10];
    let length = match flistxattr(of, &mut names) {
        Ok(length) => length,
        Err(Errno::NOTSUP | Errno::NOSYS) => 0,
        Err(errno) => return Err(errno.into()),
    };
    let mut all = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        match fgetxattr(of, name, &mut value) {
            Ok(length) => {
                value.truncate(length);
                all.push((name.to_vec(), value));
            }
            // Others may read, or list, only some.
            Err(errno) if matters(name) => return Err(errno.into()),
            Err(_) => {}
        }
    }
    all.sort();
    Ok(all)
}

/// Gives an open file the extended attributes of another. Of those that decide who may do what, none may be missing.
pub(super) fn copy_xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let present = xattrs(to)?;
    for (name, value) in xattrs(from)? {
        if present.contains(&(name.clone(), value.clone())) {
            continue;
        }
        match fsetxattr(to, &name[..], &value, XattrFlags::empty()) {
            Err(errno) if matters(&name) => return Err(errno.into()),
            _ => {}
        }
    }
    Ok(())
}
