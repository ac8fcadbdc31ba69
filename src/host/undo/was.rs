//! How a thing is, in one line and the data in it: the same before a change and when it is rolled back.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat, syncfs};
use rustix::io::Errno;

use super::super::keep::folder::{Folder, is_same, kind};
use super::super::keep::walk::{Missing, enter};
use super::super::{Failure, Result};
use super::{Means, list, packages, tree, units};
use crate::crash;
use crate::step::MARKER;

/// How something at a path is, without what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Was {
    /// Nothing.
    None,
    /// What nobody can roll back, such as a device.
    Other,
    /// A file: `file UID:GID MODE`.
    File(Owned),
    /// A link: `link UID:GID`. Its mode is always the same.
    Link(Owned),
    /// A directory into which armilla unpacked an archive: `tree DEVICE:INODE`.
    Tree(u64, u64),
    /// Any other directory: `directory UID:GID MODE`.
    Directory(Owned),
}

/// Whose it is, and who may do what with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
}

impl Was {
    /// Reads the line.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let pair = |text: &str| {
            let (one, other) = text.split_once(':')?;
            Some((one.parse::<u64>().ok()?, other.parse::<u64>().ok()?))
        };
        let owned = |text: &str| {
            let (owner, mode) = text.split_once(' ').unwrap_or((text, "0"));
            let (uid, gid) = pair(owner)?;
            let mode = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777)?;
            Some(Owned { uid: u32::try_from(uid).ok()?, gid: u32::try_from(gid).ok()?, mode })
        };
        match word {
            "none" => Some(Self::None),
            "other" => Some(Self::Other),
            "file" => owned(rest).map(Self::File),
            "link" => owned(rest).map(Self::Link),
            "tree" => pair(rest).map(|(device, inode)| Self::Tree(device, inode)),
            "directory" => owned(rest).map(Self::Directory),
            _ => None,
        }
    }

    /// How what has a name in a directory is.
    pub(super) fn of(directory: &Folder, name: &str) -> io::Result<Self> {
        let Some(stat) = directory.look(name)? else { return Ok(Self::None) };
        Ok(Self::looked(directory, name, &stat))
    }

    fn looked(directory: &Folder, name: &str, stat: &Stat) -> Self {
        let owned = owned(stat);
        match kind(stat) {
            FileType::RegularFile => Self::File(owned),
            FileType::Symlink => Self::Link(Owned { mode: 0, ..owned }),
            FileType::Directory if is_unpacked(directory, name) => Self::Tree(stat.st_dev, stat.st_ino),
            FileType::Directory => Self::Directory(owned),
            _ => Self::Other,
        }
    }
}

fn owned(stat: &Stat) -> Owned {
    Owned { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777 }
}

impl fmt::Display for Was {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Other => f.write_str("other"),
            Self::File(Owned { uid, gid, mode }) => write!(f, "file {uid}:{gid} 0{mode:o}"),
            Self::Link(Owned { uid, gid, .. }) => write!(f, "link {uid}:{gid}"),
            Self::Tree(device, inode) => write!(f, "tree {device}:{inode}"),
            Self::Directory(Owned { uid, gid, mode }) => write!(f, "directory {uid}:{gid} 0{mode:o}"),
        }
    }
}

/// Whether a directory was unpacked by armilla.
pub(super) fn is_unpacked(directory: &Folder, name: &str) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty())
        .and_then(|below| statat(&below, MARKER, AtFlags::SYMLINK_NOFOLLOW))
        .is_ok_and(|marker| kind(&marker) == FileType::RegularFile)
}

/// Adds to what is kept in a directory what it does not have yet.
pub(super) fn remember(kept: &Folder, lines: &[String], means: Means<'_>) -> Result {
    let mut known = list(kept)?;
    for line in lines {
        match line.strip_prefix("path ") {
            Some(path) => {
                for above in missing_above(path) {
                    keep_thing(kept, &mut known, &format!("path {above}"), means)?;
                }
                keep_thing(kept, &mut known, line, means)?;
            }
            None => keep_thing(kept, &mut known, line, means)?,
        }
    }
    crash::on_host();
    let text = known.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>();
    let on_disk = kept.write_synced(".new-list", text.as_bytes()).and_then(|()| Ok(syncfs(kept)?));
    let listed = on_disk.and_then(|()| kept.rename(".new-list", "list")).and_then(|()| kept.sync());
    listed.map_err(|_| full(kept))
}

fn full(kept: &Folder) -> Failure {
    Failure::new(format!("what was before cannot be kept in {}; is the disk full?", kept.path()))
}

/// The directories over a path that are missing, the uppermost first, so that it goes last.
fn missing_above(path: &str) -> Vec<&str> {
    if path.starts_with('~') {
        return Vec::new();
    }
    let above = path.match_indices('/').map(|(end, _)| &path[..end]).filter(|above| !above.is_empty());
    let is_missing =
        |above: &&str| std::fs::symlink_metadata(above).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    above.filter(is_missing).collect()
}

fn keep_thing(kept: &Folder, known: &mut Vec<String>, line: &str, means: Means<'_>) -> Result {
    if known.iter().any(|known| known == line) {
        return Ok(());
    }
    let number = (known.len() + 1).to_string();
    kept.remove_all(&number).map_err(|_| full(kept))?;
    let place = kept.child(&number, Missing::Make).ok().flatten().ok_or_else(|| full(kept))?;
    crash::on_host();
    let was = match line.split_once(' ') {
        Some(("path", path)) => path_was(path, &place, means)?.map_err(|_| full(kept))?.to_string(),
        Some(("unit", unit)) => units::was(unit, means),
        Some(("package", package)) => packages::was(package, means),
        _ => return Err(Failure::new(format!("{line}: nothing is known about it"))),
    };
    crash::on_host();
    place.write_synced("was", format!("{was}\n").as_bytes()).map_err(|_| full(kept))?;
    known.push(line.to_owned());
    Ok(())
}

/// How what is at a path is; what is in it goes to `data` in the place. The inner error is one of keeping it.
fn path_was(path: &str, place: &Folder, means: Means<'_>) -> Result<io::Result<Was>> {
    let Some(path) = means.located(path) else { return Ok(Ok(Was::None)) };
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
    match std::fs::metadata(format!("{parent}/")) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(Failure::new(format!("permission denied: cannot look into {parent}")));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(Was::None)),
        _ => {}
    }
    let directory = Folder::new(enter(parent, Missing::Leave, means.uid)?, parent);
    let was = Was::of(&directory, name).map_err(|error| Failure::new(format!("{path}: {error}")))?;
    match was {
        Was::None | Was::Directory(_) => Ok(Ok(was)),
        Was::Other => {
            let why = "is not a file, link or directory, and nothing else can be rolled back";
            Err(Failure::new(format!("{path} {why}")))
        }
        Was::File(_) => {
            let (mut file, stat) = open_same(&directory, name)?;
            Ok(keep_file(&mut file, place).map(|()| Was::File(owned(&stat))))
        }
        Was::Link(_) => {
            let target = readlinkat(&directory, name, Vec::new());
            let target = target.map_err(|_| Failure::new(format!("{path} was swapped meanwhile")))?;
            Ok(place.write_synced("data", target.as_bytes()).map(|()| was))
        }
        // What is unpacked is replaced as a whole and never written to, so that a second name of each file is a copy.
        Was::Tree(..) => {
            let data = OsStr::new("data");
            Ok(tree::copy(directory.as_fd(), OsStr::new(name), place.as_fd(), data).map(|()| was))
        }
    }
}

/// The regular file that has a name, and what it is.
fn open_same(directory: &Folder, name: &str) -> Result<(File, Stat)> {
    let swapped = || Failure::new(format!("{} was swapped meanwhile", directory.at(name)));
    let file = match directory.open(name, OFlags::RDONLY) {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => return Err(swapped()),
        file => file.map_err(|error| Failure::new(format!("{}: {error}", directory.at(name))))?,
    };
    let stat = fstat(&file).map_err(|errno| Failure::new(format!("{}: {errno}", directory.at(name))))?;
    let named = directory.look(name).ok().flatten();
    let right = kind(&stat) == FileType::RegularFile && named.is_some_and(|named| is_same(&named, &stat));
    if right { Ok((file, stat)) } else { Err(swapped()) }
}

fn keep_file(file: &mut File, place: &Folder) -> io::Result<()> {
    let mut data = place.create("data")?;
    io::copy(file, &mut data)?;
    tree::copy_xattrs(file.as_fd(), data.as_fd())?;
    place.write_synced("xattrs", b"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        for line in [
            "none",
            "other",
            "file 0:0 0644",
            "file 1000:7 04755",
            "file 0:0 00",
            "link 0:12",
            "tree 65025:1234567",
            "directory 0:0 02750",
        ] {
            assert_eq!(Was::parse(line).map(|was| was.to_string()).as_deref(), Some(line));
        }
        for wrong in
            ["", "file", "file 0:0 9", "file 0:0 0644 x", "tree 1", "file -1:0 0644", "file 0:0 017777777", "x"]
        {
            assert_eq!(Was::parse(wrong), None, "{wrong}");
        }
    }
}
