//! Goes to a directory step by step, so that no link that others could have planted is followed.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, mkdirat, openat, statat};
use rustix::io::Errno;

use super::super::{Failure, Result};

/// What happens where there is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::host) enum Missing {
    /// It is made.
    Make,
    /// It stays missing.
    Leave,
}

/// Opens a directory for reading, by its absolute path. A link on the way is followed only out of a directory into which
/// nobody but root and the user with this number can put anything. Directories that are made get the mode 0755 less the
/// umask of this process.
///
/// # Errors
/// When a part is missing (and not to be made), no directory, or a link that others could have planted.
pub(in crate::host) fn enter(whole: &str, missing: Missing, uid: u32) -> Result<OwnedFd> {
    let failed = |part: &str, errno: Errno| Failure::new(format!("{whole}: {part}: {errno}"));
    let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, "/", path, Mode::empty()).map_err(|errno| failed("/", errno))?;
    for part in whole.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err(Failure::new(format!("{whole}: a path must not contain `..`")));
        }
        if missing == Missing::Make {
            match mkdirat(&at, part, Mode::from_raw_mode(0o755)) {
                // On a read-only file system, or in a directory of others, it must be there already.
                Ok(()) | Err(Errno::EXIST | Errno::ROFS | Errno::ACCESS) => {}
                Err(errno) => return Err(failed(part, errno)),
            }
        }
        at = match openat(&at, part, path | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(next) => next,
            Err(Errno::NOTDIR | Errno::LOOP) if is_link(&at, part) => {
                if !is_trusted(&at, uid) {
                    return Err(Failure::new(format!("{whole}: {part} is a link that others could have planted")));
                }
                openat(&at, part, path, Mode::empty()).map_err(|errno| failed(part, errno))?
            }
            Err(errno) => return Err(failed(part, errno)),
        };
    }
    // What may only be passed through can still be worked in.
    let readable = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(&at, ".", readable, Mode::empty()).unwrap_or(at))
}

fn is_link(at: &OwnedFd, name: &str) -> bool {
    statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// Whether nobody but root and this user can put anything into a directory.
fn is_trusted(at: &OwnedFd, uid: u32) -> bool {
    fstat(at).is_ok_and(|stat| (stat.st_uid == 0 || stat.st_uid == uid) && stat.st_mode & 0o022 == 0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn me() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[test]
    fn a_link_is_followed_only_out_of_a_directory_that_nobody_else_can_write() {
        let room = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(room.path().join("real/below")).expect("a directory");
        symlink("real", room.path().join("link")).expect("a link");
        let through = format!("{}/link/below", room.path().display());
        assert!(enter(&through, Missing::Leave, me()).is_ok());
        for open in [0o777, 0o1777, 0o720, 0o702] {
            fs::set_permissions(room.path(), fs::Permissions::from_mode(open)).expect("a mode");
            let why = enter(&through, Missing::Make, me()).expect_err("others could have planted it").why;
            assert_eq!(why, format!("{through}: link is a link that others could have planted"), "{open:o}");
        }
        let direct = format!("{}/real//./below/", room.path().display());
        assert!(enter(&direct, Missing::Leave, me()).is_ok(), "without a link it does not matter who may write");
    }

    #[test]
    fn what_is_missing_is_made_only_where_it_is_to_be() {
        let room = tempfile::tempdir().expect("a directory");
        let path = format!("{}/a/b", room.path().display());
        assert!(enter(&path, Missing::Leave, me()).is_err());
        assert_eq!(fs::read_dir(room.path()).expect("a directory").count(), 0);
        enter(&path, Missing::Make, me()).expect("it is made");
        assert!(fs::metadata(&path).expect("it is there").is_dir());
        fs::write(format!("{path}/file"), "").expect("a file");
        assert!(enter(&format!("{path}/file"), Missing::Make, me()).is_err());
        assert!(enter(&format!("{path}/../b"), Missing::Make, me()).is_err());
    }
}
