//! Opens the directory of a path without following links that others could have planted.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, readlinkat, statat};
use rustix::io::Errno;

/// As many links as the kernel follows in one path.
const LINKS: usize = 40;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The directory that holds a path, as a handle, and the path's last name in it; none if there is no such directory. Links on
/// the way are followed where only root or this user can have made them.
pub(super) fn parent(path: &Path) -> Result<Option<(OwnedFd, OsString)>, String> {
    let mut parts = parts(path.as_os_str());
    let name = parts.pop_back().unwrap_or_else(|| OsString::from("."));
    let directory: PathBuf = std::iter::once(OsString::from("/")).chain(parts.iter().cloned()).collect();
    let no_links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let found = match openat2(rustix::fs::CWD, &directory, DIRECTORY, Mode::empty(), no_links) {
        Ok(found) => Some(found),
        Err(Errno::NOENT | Errno::NOTDIR) => None,
        // There is a link, or a directory that we may not look into; or the kernel is older than 5.6.
        Err(_) => walk(path, parts)?,
    };
    Ok(found.map(|found| (found, name)))
}

/// The names in a path. `..` stays: it is asked of the directory itself.
fn parts(path: &OsStr) -> VecDeque<OsString> {
    let parts = path.as_bytes().split(|byte| *byte == b'/');
    parts.filter(|part| !part.is_empty() && *part != b".").map(|part| OsString::from_vec(part.to_vec())).collect()
}

/// A directory on the way.
struct Step {
    handle: OwnedFd,
    stat: Stat,
    /// Whether only root and this user can put another directory in its place.
    is_placed: bool,
    /// Whether, besides, only they can change what is in it.
    is_ours: bool,
}

impl Step {
    fn root() -> Result<Self, String> {
        let handle = openat(rustix::fs::CWD, "/", DIRECTORY, Mode::empty());
        handle.and_then(|handle| Self::new(handle, None)).map_err(|error| format!("/: {error}"))
    }

    fn new(handle: OwnedFd, above: Option<&Self>) -> rustix::io::Result<Self> {
        let stat = fstat(&handle)?;
        let is_placed = match above {
            None => true,
            // Others may write there, but the sticky bit keeps them from moving what is not theirs.
            Some(above) if above.is_sticky() && belongs_to_us(&above.stat) && belongs_to_us(&stat) => above.is_placed,
            Some(above) => above.is_ours,
        };
        let is_ours = is_placed && is_ours(&stat);
        Ok(Self { handle, stat, is_placed, is_ours })
    }

    fn is_sticky(&self) -> bool {
        self.stat.st_mode & 0o1000 != 0
    }
}

/// Goes there step by step; `whole` is for messages.
fn walk(whole: &Path, mut parts: VecDeque<OsString>) -> Result<Option<OwnedFd>, String> {
    let (mut here, mut at, mut links) = (Step::root()?, PathBuf::from("/"), 0);
    while let Some(part) = parts.pop_front() {
        match openat(&here.handle, &part, DIRECTORY, Mode::empty()).and_then(|next| Step::new(next, Some(&here))) {
            Ok(next) => {
                here = next;
                at.push(&part);
                continue;
            }
            Err(Errno::NOENT | Errno::NAMETOOLONG) => return Ok(None),
            Err(Errno::ACCESS) => return Err(denied(&at)),
            // It is no directory.
            Err(Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(format!("{}: {error}", at.join(&part).display())),
        }
        let target = match readlinkat(&here.handle, &part, Vec::new()) {
            Ok(target) => target,
            // It is a directory again.
            Err(Errno::INVAL) if links < LINKS && is_directory(&here.handle, &part) => {
                links += 1;
                parts.push_front(part);
                continue;
            }
            Err(Errno::INVAL | Errno::NOENT) => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", at.join(&part).display())),
        };
        if !here.is_ours {
            let part = part.to_string_lossy();
            return Err(format!("{}: {part} is a link that others could have planted", whole.display()));
        }
        links += 1;
        if links > LINKS {
            return Ok(None);
        }
        let target = OsStr::from_bytes(target.as_bytes());
        if target.as_bytes().starts_with(b"/") {
            (here, at) = (Step::root()?, PathBuf::from("/"));
        }
        for part in self::parts(target).into_iter().rev() {
            parts.push_front(part);
        }
    }
    Ok(Some(here.handle))
}

fn is_directory(parent: &OwnedFd, name: &OsStr) -> bool {
    let status = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    status.is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Directory)
}

/// The error for a directory that this user may not search.
pub(super) fn denied(directory: &Path) -> String {
    format!("permission denied: cannot look into {}", directory.display())
}

/// Whether only root and this user can create names in a directory, by its owner and mode. An access control list shows as the
/// rights of the group.
pub(super) fn is_ours(directory: &Stat) -> bool {
    belongs_to_us(directory) && directory.st_mode & 0o022 == 0
}

fn belongs_to_us(of: &Stat) -> bool {
    of.st_uid == 0 || of.st_uid == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    /// The directory that is found, by its number.
    fn found(path: &Path) -> Result<Option<u64>, String> {
        Ok(parent(path)?.map(|(directory, _)| fstat(directory).expect("a directory").st_ino))
    }

    fn number(path: &Path) -> u64 {
        fs::metadata(path).expect("it is there").ino()
    }

    #[test]
    fn links_of_our_own_are_followed_and_others_are_not() {
        let room = tempfile::tempdir().expect("a directory");
        let room = room.path();
        fs::create_dir_all(room.join("real/below")).expect("directories");
        symlink("real", room.join("relative")).expect("a link");
        symlink(room.join("real/below"), room.join("real/absolute")).expect("a link");
        symlink("relative/absolute/..", room.join("far")).expect("a link");
        symlink("loop", room.join("loop")).expect("a link");
        fs::write(room.join("file"), "x").expect("a file");
        let (real, below) = (Ok(Some(number(&room.join("real")))), Ok(Some(number(&room.join("real/below")))));
        assert_eq!(found(&room.join("real/x")), real);
        assert_eq!(found(&room.join("relative/x")), real);
        assert_eq!(found(&room.join("relative/absolute/x")), below);
        assert_eq!(found(&room.join("far/./below//x/")), below);
        assert_eq!(found(&room.join("real/below/../x")), real);
        for nowhere in ["none/x", "loop/x", "file/x", "real/none/x", &format!("{}/x", "n".repeat(300))] {
            assert_eq!(found(&room.join(nowhere)), Ok(None), "{nowhere}");
        }
        let deep = format!("{}x", "real/below/../../".repeat(400));
        assert_eq!(found(&room.join(deep)), Ok(Some(number(room))), "longer than the kernel takes at once");
        // Whoever may write there could have made the link.
        for mode in [0o775, 0o757, 0o1777] {
            fs::set_permissions(room, fs::Permissions::from_mode(mode)).expect("a mode");
            assert_eq!(found(&room.join("real/x")), real, "no link");
            let why = found(&room.join("relative/x")).expect_err("a link of others");
            assert!(why.ends_with("relative is a link that others could have planted"), "{why}");
        }
        assert_eq!(found(Path::new("/")).expect("an answer"), Some(number(Path::new("/"))));
    }

    #[test]
    #[ignore = "needs root: gives a directory to another user"]
    fn a_link_in_a_directory_of_another_user_is_not_followed() {
        let room = tempfile::tempdir().expect("a directory");
        let room = room.path();
        fs::create_dir_all(room.join("hers/real")).expect("directories");
        symlink("/root", room.join("hers/link")).expect("a link");
        std::os::unix::fs::chown(room.join("hers"), Some(1), Some(1)).expect("it is hers");
        assert!(found(&room.join("hers/real/x")).expect("an answer").is_some());
        let why = found(&room.join("hers/link/.my.cnf")).expect_err("hers");
        assert!(why.contains("link is a link that others could have planted"), "{why}");
        // A directory of ours in hers can be moved by her, and a link in it leads elsewhere then.
        fs::create_dir(room.join("hers/ours")).expect("a directory");
        symlink("../../../root", room.join("hers/ours/link")).expect("a link");
        assert!(found(&room.join("hers/ours/link/x")).expect_err("moved").contains("others could have planted"));
        // What belongs to root on its own is another matter.
        let link = std::fs::read_link("/proc/self/cwd").expect("a link");
        assert_eq!(found(&Path::new("/proc/self/cwd").join("x")), Ok(Some(number(&link))));
    }
}
