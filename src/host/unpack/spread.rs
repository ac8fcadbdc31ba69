//! Members, written below the tree by handles.

use std::fs::File;
use std::io::{Read, Write as _};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Gid, Mode, RawMode, Uid};
use rustix::io::Errno;

use super::judge::Place;
use super::member::{Checked, Fault, Kind, Member, unreadable};
use super::{create, number, unwritten};
use crate::host::directory::Directory;

/// So much is read and written at once.
const PIECE: usize = 1 << 16;

/// The mode of directories.
const DIRECTORY: RawMode = 0o755;

/// Whom everything belongs to, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Owner {
    fn ids(self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }
}

/// Writes what was judged into a directory that nobody else can enter.
pub(super) struct Spread<'a> {
    tree: &'a Directory,
    owner: Owner,
    /// What the tree is to become.
    path: &'a str,
    /// The directories from the tree to the one that was written in last.
    way: Vec<(Vec<u8>, Directory)>,
    piece: Vec<u8>,
    now: SystemTime,
}

impl<'a> Spread<'a> {
    pub(super) fn new(tree: &'a Directory, owner: Owner, path: &'a str) -> Self {
        Self { tree, owner, path, way: Vec::new(), piece: vec![0; PIECE], now: SystemTime::now() }
    }

    /// Writes a member to its place.
    pub(super) fn put(&mut self, member: &Member, place: &Place, content: &mut dyn Read) -> Checked {
        let path = self.path;
        let made = match &member.kind {
            Kind::File => return self.file(member, place, content),
            Kind::Directory => self.directory(&place.name, member.mode),
            Kind::Link(target) => self.link(&place.name, target),
            Kind::HardLink(_) => self.hard_link(place),
            Kind::Other(_) => Err(Errno::INVAL),
        };
        made.map_err(|errno| unwritten(path, &String::from_utf8_lossy(&place.name), errno).into())
    }

    fn file(&mut self, member: &Member, place: &Place, content: &mut dyn Read) -> Checked {
        let (path, owner, now) = (self.path, self.owner, self.now);
        let failed = |errno| unwritten(path, &String::from_utf8_lossy(&place.name), errno);
        let (above, name) = split(&place.name);
        let mut file = create(self.enter(above).map_err(failed)?, name).map_err(failed)?;
        let mut count = 0_u64;
        loop {
            let got = match content.read(&mut self.piece) {
                Ok(0) => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                got => got.map_err(unreadable)?,
            };
            count += got as u64;
            if count > member.size {
                break;
            }
            file.write_all(&self.piece[..got]).map_err(|error| failed(number(&error)))?;
        }
        if count != member.size {
            return Err(Fault::Unreadable("a file in it has not the size that it says, or it ends early".to_owned()));
        }
        finish(&file, member, owner, now).map_err(failed)?;
        Ok(())
    }

    fn directory(&mut self, place: &[u8], mode: RawMode) -> Result<(), Errno> {
        let owner = self.owner;
        settle(self.enter(place)?, owner, mode & DIRECTORY | 0o700)
    }

    fn link(&mut self, place: &[u8], target: &[u8]) -> Result<(), Errno> {
        let (uid, gid) = self.owner.ids();
        let (above, name) = split(place);
        let directory = self.enter(above)?;
        rustix::fs::symlinkat(target, directory, name)?;
        rustix::fs::chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn hard_link(&mut self, place: &Place) -> Result<(), Errno> {
        let (above, old) = split(place.linked.as_deref().unwrap_or_default());
        let from = self.enter(above)?.again()?;
        let (above, new) = split(&place.name);
        rustix::fs::linkat(&from, old, self.enter(above)?, new, AtFlags::empty())
    }

    /// A new file below the tree.
    pub(super) fn create(&mut self, place: &[u8]) -> Result<File, Errno> {
        let (above, name) = split(place);
        create(self.enter(above)?, name)
    }

    /// Goes to a directory below the tree; what is not there is made.
    pub(super) fn enter(&mut self, place: &[u8]) -> Result<&Directory, Errno> {
        let parts: Vec<&[u8]> = place.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
        let common = self.way.iter().zip(&parts).take_while(|((known, _), part)| known == *part).count();
        self.way.truncate(common);
        for part in &parts[common..] {
            let here = self.way.last().map_or(self.tree, |(_, directory)| directory);
            let next = match rustix::fs::mkdirat(here, *part, Mode::from_raw_mode(0o700)) {
                Ok(()) => {
                    let made = here.child(*part)?;
                    settle(&made, self.owner, DIRECTORY)?;
                    made
                }
                Err(Errno::EXIST) => here.child(*part)?,
                Err(errno) => return Err(errno),
            };
            self.way.push((part.to_vec(), next));
        }
        Ok(self.way.last().map_or(self.tree, |(_, directory)| directory))
    }
}

/// The directory of a place, and its name there.
fn split(place: &[u8]) -> (&[u8], &[u8]) {
    let slash = place.iter().rposition(|byte| *byte == b'/');
    slash.map_or((b"", place), |at| (&place[..at], &place[at + 1..]))
}

/// Gives a directory its owner and its mode.
pub(super) fn settle(directory: &Directory, owner: Owner, mode: RawMode) -> Result<(), Errno> {
    let entry = directory.entry()?;
    entry.set_owner(Some(owner.uid), Some(owner.gid))?;
    entry.set_mode(mode)
}

/// Gives a file its owner and its mode.
pub(super) fn own(file: &File, owner: Owner, mode: RawMode) -> Result<(), Errno> {
    let (uid, gid) = owner.ids();
    rustix::fs::fchown(file, uid, gid)?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode))
}

/// Owner, mode and time of a file. The time is that of the archive, but none that is still to come: what is newer than the
/// marker was added later.
fn finish(file: &File, member: &Member, owner: Owner, now: SystemTime) -> Result<(), Errno> {
    own(file, owner, mode(member.mode))?;
    let modified = member.modified.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    if let Some(modified) = modified {
        // A file system that has no such time has another.
        let _ = file.set_modified(modified.min(now));
    }
    Ok(())
}

/// The owner may read and write, nobody else write; no bit of an archive makes anybody powerful.
fn mode(packed: RawMode) -> RawMode {
    let mode = packed & 0o755 | 0o600;
    if mode & 0o111 == 0 { mode } else { mode | 0o100 }
}
