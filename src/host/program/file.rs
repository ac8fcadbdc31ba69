//! A file that a program is given: it is in memory and has no name, so that others cannot find it and nothing of it is
//! left behind.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, IntoRawFd as _, OwnedFd, RawFd};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

/// The number by which the program finds it: the first after the three streams. See [`crate::step::Command::FILE`].
const NUMBER: RawFd = 3;

/// Out of the way of the numbers that shells use themselves.
const AWAY: RawFd = 100;

/// A file with this content, open for the next program that is started.
pub(super) fn shared(content: &[u8]) -> io::Result<OwnedFd> {
    // Some kernels give out only files that cannot be executed, older ones know no other.
    let made = match memfd_create("armilla", MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create("armilla", MemfdFlags::CLOEXEC),
        made => made,
    };
    let mut file = File::from(made?);
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
