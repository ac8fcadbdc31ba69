//! A directory in which armilla keeps something, by its handle: whatever becomes of its path, the handle stays.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, fsync, linkat, mkdirat, openat,
    renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::super::{Failure, Result};
use super::walk::Missing;

/// A directory. No name in it is followed if it is a link.
#[derive(Debug)]
pub(in crate::host) struct Folder {
    handle: OwnedFd,
    path: String,
}

impl Folder {
    /// A directory that was opened by this path.
    pub(in crate::host) fn new(handle: OwnedFd, path: impl Into<String>) -> Self {
        Self { handle, path: path.into() }
    }

    /// The path by which it was opened, for messages.
    pub(in crate::host) fn path(&self) -> &str {
        &self.path
    }

    /// A name in it as a path, for messages.
    pub(in crate::host) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// The failure to write a name in it.
    pub(in crate::host) fn unwritable(&self, name: &str) -> Failure {
        Failure::new(format!("{} cannot be written; is the disk full?", self.at(name)))
    }

    /// What it is itself.
    pub(in crate::host) fn stat(&self) -> io::Result<Stat> {
        Ok(fstat(&self.handle)?)
    }

    /// What has a name in it; none if nothing has.
    pub(in crate::host) fn look(&self, name: impl rustix::path::Arg) -> io::Result<Option<Stat>> {
        match statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether anything has that name.
    pub(in crate::host) fn has(&self, name: &str) -> bool {
        self.look(name).is_ok_and(|stat| stat.is_some())
    }

    /// Whether a regular file has that name.
    pub(in crate::host) fn has_file(&self, name: impl rustix::path::Arg) -> bool {
        self.look(name).is_ok_and(|stat| stat.is_some_and(|stat| kind(&stat) == FileType::RegularFile))
    }

    /// Opens a name. A pipe or a device does not keep us waiting.
    pub(in crate::host) fn open(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(File::from(openat(&self.handle, name, flags, Mode::from_raw_mode(0o600))?))
    }

    /// Opens a file to add to its end, and makes it where it is missing.
    pub(in crate::host) fn append(&self, name: &str) -> io::Result<File> {
        self.open(name, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE)
    }

    /// Makes a new file, in the place of one that was left there.
    pub(in crate::host) fn create(&self, name: &str) -> io::Result<File> {
        self.remove(name)?;
        self.open(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)
    }

    /// The content of a file; none if it is missing. More than `most` bytes are an error.
    pub(in crate::host) fn read(&self, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match self.open(name, OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut content = Vec::new();
        file.take(most + 1).read_to_end(&mut content)?;
        if content.len() as u64 > most { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(Some(content)) }
    }

    /// The first line of a file without its end; none if it is missing or cannot be read.
    pub(in crate::host) fn first_line(&self, name: &str) -> Option<String> {
        let content = self.read(name, 64 << 10).ok().flatten()?;
        Some(String::from_utf8_lossy(&content).lines().next().unwrap_or_default().to_owned())
    }

    /// Puts a file with this content in the place of the old one: flushed to disk beside it as `.new-NAME`, then renamed.
    pub(in crate::host) fn replace(&self, name: &str, content: &[u8]) -> Result<()> {
        let new = format!(".new-{name}");
        let written =
            self.write_synced(&new, content).and_then(|()| self.rename(&new, name)).and_then(|()| self.sync());
        written.map_err(|_| {
            let _ = self.remove(&new);
            self.unwritable(name)
        })
    }

    /// Writes a new file, and waits until it is on the disk.
    pub(in crate::host) fn write_synced(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut file = self.create(name)?;
        file.write_all(content)?;
        file.sync_all()
    }

    /// Makes an empty file, and waits until it is on the disk.
    pub(in crate::host) fn mark(&self, name: &str) -> io::Result<()> {
        self.append(name)?.sync_all()?;
        self.sync()
    }

    /// Gives a file of this machine a name in it, too; a link where that cannot be.
    pub(in crate::host) fn link(&self, name: &str, file: &Path) -> io::Result<()> {
        let linked = linkat(CWD, file, &self.handle, name, AtFlags::empty());
        linked.or_else(|_| symlinkat(file, &self.handle, name)).map_err(io::Error::from)
    }

    /// Renames what is in it, over what has the new name.
    pub(in crate::host) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.handle, from, &self.handle, to)?)
    }

    /// Waits until the names in it are on the disk.
    pub(in crate::host) fn sync(&self) -> io::Result<()> {
        match fsync(&self.handle) {
            Ok(()) => Ok(()),
            Err(errno @ (Errno::IO | Errno::NOSPC | Errno::DQUOT)) => Err(errno.into()),
            // Not every file system does that for a directory, nor for one that cannot be read.
            Err(_) => {
                rustix::fs::sync();
                Ok(())
            }
        }
    }

    /// Removes a file or link. Nothing there is success.
    pub(in crate::host) fn remove(&self, name: impl rustix::path::Arg) -> io::Result<()> {
        missing_is_fine(unlinkat(&self.handle, name, AtFlags::empty()))
    }

    /// Removes an empty directory. Nothing there is success.
    pub(in crate::host) fn remove_empty(&self, name: &str) -> io::Result<()> {
        missing_is_fine(unlinkat(&self.handle, name, AtFlags::REMOVEDIR))
    }

    /// Removes a name with all that is below it. Nothing there is success.
    pub(in crate::host) fn remove_all(&self, name: &str) -> io::Result<()> {
        remove_all(self.handle.as_fd(), OsStr::new(name))
    }

    /// The names in it, sorted.
    pub(in crate::host) fn names(&self) -> io::Result<Vec<OsString>> {
        names(self.handle.as_fd())
    }

    /// The names of the directories in it that are text, sorted.
    pub(in crate::host) fn folders(&self) -> Vec<String> {
        let names = self.names().unwrap_or_default().into_iter().filter_map(|name| name.into_string().ok());
        let is_folder = |name: &String| {
            self.look(name.as_str()).is_ok_and(|stat| stat.is_some_and(|stat| kind(&stat) == FileType::Directory))
        };
        names.filter(is_folder).collect()
    }

    /// Opens a directory in it, and makes it where it is missing, if that is wished. None where it is missing and stays so.
    pub(in crate::host) fn child(&self, name: &str, missing: Missing) -> io::Result<Option<Self>> {
        if missing == Missing::Make && self.look(name)?.is_none() {
            match mkdirat(&self.handle, name, Mode::from_raw_mode(0o700)) {
                Ok(()) => self.sync()?,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        match self.open(name, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(handle) => Ok(Some(Self { handle: handle.into(), path: self.at(name) })),
            // Where it was to be made, another process removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && missing == Missing::Leave => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same, of which only the user with this number can be the owner.
    pub(in crate::host) fn own_child(&self, name: &str, missing: Missing, uid: u32) -> Result<Option<Self>> {
        let strange = || Failure::new(format!("{} is no directory of armilla's: move it away", self.at(name)));
        let child =
            self.child(name, missing).map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::NOTDIR | Errno::LOOP) => strange(),
                _ => Failure::new(format!("{}: {error}", self.at(name))),
            })?;
        let Some(child) = child else { return Ok(None) };
        if child.stat().is_ok_and(|stat| stat.st_uid == uid) { Ok(Some(child)) } else { Err(strange()) }
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// What kind of thing has been looked at.
pub(in crate::host) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether two are the same file.
pub(in crate::host) fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

fn missing_is_fine(done: rustix::io::Result<()>) -> io::Result<()> {
    match done {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The names in a directory, sorted.
pub(in crate::host) fn names(at: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(at)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort();
    Ok(names)
}

/// Removes a name in a directory with all that is below it, and follows no link. Nothing there is success.
pub(in crate::host) fn remove_all(at: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // POSIX says EPERM of a directory, Linux EISDIR.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let below = openat(at, name, flags, Mode::empty())?;
    for name in names(below.as_fd())? {
        remove_all(below.as_fd(), &name)?;
    }
    missing_is_fine(unlinkat(at, name, AtFlags::REMOVEDIR))
}

/// A file for its lock. The lock is given up when this is dropped, and not only closed: a process that another thread has
/// just forked has the file open, too, until it executes its program, and would keep the lock as long.
#[derive(Debug)]
pub(in crate::host) struct Lock(File);

impl Lock {
    pub(in crate::host) fn new(file: File) -> Self {
        Self(file)
    }

    pub(in crate::host) fn file(&self) -> &File {
        &self.0
    }

    /// Takes the lock unless others hold it. Whether it is ours now.
    pub(in crate::host) fn take(&self, operation: FlockOperation) -> io::Result<bool> {
        match flock(&self.0, operation) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes the lock for ourselves alone, and waits for others at most that long. Whether it is ours now.
    pub(in crate::host) fn take_within(&self, most: Duration) -> io::Result<bool> {
        let (begun, mut pause) = (Instant::now(), Duration::from_millis(1));
        while !self.take(FlockOperation::NonBlockingLockExclusive)? {
            if begun.elapsed() >= most {
                return Ok(false);
            }
            std::thread::sleep(pause.min(most));
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        Ok(true)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}
