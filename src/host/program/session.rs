//! This program started anew to become another: a session of its own, the user, the directory and the umask, then `exec`.
//!
//! It is a program of its own because nothing safe runs between `fork` and `exec`, and because `runuser` and `setsid` are
//! missing on some hosts. Users and groups come as numbers: a static binary cannot ask the name service.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, setgid, setgroups, setsid, setuid};

use crate::host::{Failure, Result};

/// Whom a program runs as, by numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::host) struct Identity {
    /// The user.
    pub(in crate::host) uid: u32,
    /// The primary group.
    pub(in crate::host) gid: u32,
    /// All groups, the primary one perhaps among them.
    pub(in crate::host) groups: Vec<u32>,
}

/// Stands in the place of an identity where the user stays.
const SAME: &str = "-";

/// Stands in the place of a file where there is none.
const NONE: &str = "-";

/// The exit code where there is no such program, as shells and `env` have it.
const MISSING: i32 = 127;

/// The exit code where there is one, and it cannot be started.
const UNABLE: i32 = 126;

/// What stands between the starting program and the vector: see [`become_and_exec`].
pub(super) fn arguments(directory: &str, identity: Option<&Identity>, file: Option<&OwnedFd>) -> [OsString; 4] {
    let identity = identity.map_or_else(
        || SAME.to_owned(),
        |Identity { uid, gid, groups }| {
            let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
            format!("{uid}:{gid}:{}", groups.join(","))
        },
    );
    let file = file.map_or_else(|| NONE.to_owned(), |file| file.as_raw_fd().to_string());
    ["exec", directory, &identity, &file].map(OsString::from)
}

/// Becomes the program of `DIRECTORY IDENTITY FILE PROGRAM ARGUMENT...`, with the environment and the three streams of this
/// process. IDENTITY is `UID:GID:GROUP,...`, or `-` to stay who this is. FILE is the number of what it is given at
/// [`crate::step::Command::FILE`], or `-`. The program is found by `PATH`.
///
/// For the `main` of the host program, which gets these arguments behind the word `exec`; nothing else may run in the
/// process. Comes back only if it could not be done: with the exit code (127 if there is no such program, otherwise 126) and
/// what to write to standard error.
pub(in crate::host) fn become_and_exec(arguments: impl IntoIterator<Item = OsString>) -> Failure {
    let mut arguments = arguments.into_iter();
    let mut next = || arguments.next();
    let (Some(directory), Some(identity), Some(file), Some(program)) = (next(), next(), next(), next()) else {
        return Failure { exit: UNABLE, why: "`exec` needs a directory, an identity, a file and a program".to_owned() };
    };
    if let Err(why) = prepare(&directory, &identity, &file) {
        return Failure { exit: UNABLE, ..why };
    }
    let error = std::process::Command::new(&program).args(arguments).exec();
    let exit = if error.kind() == std::io::ErrorKind::NotFound { MISSING } else { UNABLE };
    Failure { exit, why: format!("cannot run `{}`: {}", program.display(), described(&error)) }
}

fn prepare(directory: &OsStr, identity: &OsStr, file: &OsStr) -> Result {
    let identity = identity.to_str().and_then(parsed).ok_or_else(|| Failure::new("invalid identity for `exec`"))?;
    setsid().map_err(|errno| failure("cannot begin a session", errno))?;
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    // As who started this: a program may stand in a directory that its user could not enter.
    std::env::set_current_dir(directory)
        .map_err(|error| Failure::new(format!("cannot enter {}: {}", directory.display(), described(&error))))?;
    let file = file.to_str().filter(|file| *file != NONE);
    let file = file.map(|file| file.parse().map_err(|_| Failure::new("invalid file for `exec`"))).transpose()?;
    close_others(file);
    let failed = |error| Failure::new(format!("cannot give the program its file: {}", described(&error)));
    file.map_or(Ok(()), super::file::take).map_err(failed)?;
    identity.as_ref().map_or(Ok(()), turn_into)
}

/// What is open besides the three streams, and was left so by whoever started us: it is not for the program.
fn close_others(but: Option<RawFd>) {
    let number = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok();
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd").into_iter().flatten().filter_map(number).collect();
    for number in open.into_iter().filter(|number| *number > 2 && Some(*number) != but) {
        // One of them was the list itself, and is closed already.
        let _ = nix::unistd::close(number);
    }
}

#[expect(clippy::option_option, reason = "no identity is one, an invalid one is none")]
fn parsed(text: &str) -> Option<Option<Identity>> {
    if text == SAME {
        return Some(None);
    }
    let mut parts = text.split(':');
    let (uid, gid, groups) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
    let groups =
        groups.split(',').filter(|group| !group.is_empty()).map(|group| group.parse().ok()).collect::<Option<_>>()?;
    parts.next().is_none().then_some(Some(Identity { uid, gid, groups }))
}

/// Groups first: afterwards it may not be done any more.
fn turn_into(identity: &Identity) -> Result {
    for stream in [std::io::stdin().as_fd(), std::io::stdout().as_fd(), std::io::stderr().as_fd()] {
        give_pipe(stream, identity);
    }
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    let change = |what: &str, done: nix::Result<()>| done.map_err(|errno| failure(what, errno));
    change("cannot take the groups of another user", setgroups(&groups))?;
    change("cannot take the group of another user", setgid(Gid::from_raw(identity.gid)))?;
    change("cannot become another user", setuid(Uid::from_raw(identity.uid)))
}

/// Scripts write to `/dev/stderr`, which opens the pipe anew: that takes who owns it.
fn give_pipe(stream: impl AsFd, identity: &Identity) {
    let is_pipe = rustix::fs::fstat(&stream)
        .is_ok_and(|data| rustix::fs::FileType::from_raw_mode(data.st_mode) == rustix::fs::FileType::Fifo);
    if is_pipe {
        // Where it cannot be given away, only that does not work.
        let _ = std::os::unix::fs::fchown(stream, Some(identity.uid), Some(identity.gid));
    }
}

fn failure(what: &str, errno: Errno) -> Failure {
    Failure::new(format!("{what}: {}", errno.desc()))
}

/// What went wrong, in the words of the C library and without its number.
pub(in crate::host) fn described(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| Errno::from_raw(number).desc().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_was_written() {
        let someone = Identity { uid: 65534, gid: 100, groups: vec![100, 4, 27] };
        let alone = Identity { groups: Vec::new(), ..someone.clone() };
        for identity in [None, Some(&someone), Some(&alone)] {
            let [_, _, word, _] = arguments("/", identity, None);
            assert_eq!(parsed(word.to_str().expect("UTF-8")).as_ref().map(Option::as_ref), Some(identity));
        }
        for wrong in ["", "0", "0:0", "root:0:0", "0:0:0:0", "0:0:0,x", "-1:0:", "4294967296:0:"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_done_says_why_and_does_nothing() {
        let failed = |words: &[&str]| become_and_exec(words.iter().map(OsString::from));
        assert_eq!(failed(&["/"]).exit, UNABLE);
        let failure = failed(&["/", "0:x:", "-", "touch", "/pwned"]);
        assert_eq!((failure.exit, failure.why.as_str()), (UNABLE, "invalid identity for `exec`"));
    }
}
