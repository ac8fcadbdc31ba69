//! A file that a program is given: it is in memory and has no name, so that others cannot find it and nothing of it is
//! left behind.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, IntoRawFd as _, OwnedFd, RawFd};

use rustix::fs::{MemfdFlags, Mode, OFlags, fchmod, memfd_create, open};
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

/// The number by which the program finds it: the first after the three streams. See [`crate::step::Command::FILE`].
const NUMBER: RawFd = 3;

/// Out of the way of the numbers that shells use themselves.
const AWAY: RawFd = 100;

/// Where a file without a name is made instead: what is in memory first, and what every user may write last.
const INSTEAD: [&str; 3] = ["/dev/shm", "/run", "/tmp"];

/// A file with this content, open for the next program that is started.
pub(super) fn shared(content: &[u8]) -> io::Result<OwnedFd> {
    // Some kernels give out only files that cannot be executed, older ones know no other.
    let made = match memfd_create("armilla", MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create("armilla", MemfdFlags::CLOEXEC),
        made => made,
    };
    filled(made.or_else(unnamed)?, content)
}

/// A file without a name where the kernel is older than 3.17, or a container's list of calls does not have this one.
fn unnamed(why: Errno) -> rustix::io::Result<OwnedFd> {
    if !matches!(why, Errno::NOSYS | Errno::PERM | Errno::ACCESS) {
        return Err(why);
    }
    let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let made = INSTEAD.iter().find_map(|directory| open(*directory, flags, Mode::RUSR).ok()).ok_or(why)?;
    // The program may become another user before it opens it. Only its own processes find it.
    fchmod(&made, Mode::RUSR | Mode::RGRP | Mode::ROTH)?;
    Ok(made)
}

fn filled(made: OwnedFd, content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(made);
    file.write_all(content)?;
    let shared = fcntl_dupfd_cloexec(&file, AWAY)?;
    fcntl_setfd(&shared, FdFlags::empty())?;
    Ok(shared)
}

/// Takes the file of that number, from its beginning and only to read, for the program that this process becomes. Nothing
/// else may be open besides the three streams.
pub(super) fn take(number: RawFd) -> io::Result<()> {
    let file = File::open(format!("/proc/self/fd/{number}"))?;
    fcntl_setfd(file.as_fd(), FdFlags::empty())?;
    nix::unistd::close(number)?;
    if file.into_raw_fd() == NUMBER { Ok(()) } else { Err(io::ErrorKind::AddrInUse.into()) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn where_memory_has_no_files_it_is_one_without_a_name() {
        for why in [Errno::NOSYS, Errno::PERM, Errno::ACCESS] {
            let file = filled(unnamed(why).expect("a file"), b"#!/bin/sh\n").expect("it is written");
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            assert_eq!(std::fs::read(&path).expect("it can be opened anew"), b"#!/bin/sh\n");
            let found = File::from(file).metadata().expect("what it is");
            assert_eq!((found.nlink(), found.mode() & 0o7777), (0, 0o444));
        }
        assert_eq!(unnamed(Errno::NFILE).expect_err("a shortage is one"), Errno::NFILE);
    }
}
