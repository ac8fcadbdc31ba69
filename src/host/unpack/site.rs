//! The place of a tree, and the names beside it that are used while it is made or removed.

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::{ARCHIVE, PLAIN, TREE, clear};
use crate::crash;
use crate::host::directory::{Directory, Missing, Unreached, me, told};
use crate::host::{Failure, Result};
use crate::step::{MARKER, Occupied};

/// What is in a private directory: of ours, and of the versions before the host program.
const PRIVATE: [&str; 8] = [ARCHIVE, PLAIN, TREE, "list", "ended", "complaint", "long", "next"];

/// Where a tree is to be, or to be removed.
pub(super) struct Site<'a> {
    directory: Directory,
    /// In that directory.
    name: &'a str,
    path: &'a str,
    /// The private directory beside it.
    new: String,
    /// What the tree is called that goes.
    old: String,
}

impl<'a> Site<'a> {
    pub(super) fn at(path: &'a str, missing: Missing) -> std::result::Result<Self, Unreached> {
        let (directory, name) = Directory::open_parent(path, missing)?;
        let [new, old] = ["new", "old"].map(|word| format!(".armilla-{word}-{name}"));
        Ok(Self { directory, name, path, new, old })
    }

    /// The tree that is in the place and may be replaced; none if nothing is there.
    pub(super) fn vacant(&self, occupied: Occupied) -> Result<Option<Directory>> {
        let Self { directory, name, path, .. } = self;
        if directory.look(*name).map_err(|errno| self.failed(errno))?.is_none() {
            return Ok(None);
        }
        let Some(tree) = unpacked(directory, name) else {
            return Err(Failure::new(format!("{path} is there, and armilla did not unpack it: move it away first")));
        };
        match occupied {
            Occupied::Replace => Ok(Some(tree)),
            Occupied::Refuse => Err(Failure::new(format!("{path} already exists"))),
        }
    }

    /// Removes what stands beside the place: what a killed order left, or what this one is done with.
    pub(super) fn tidy(&self) -> Result {
        self.clear(&self.new, |inside| is_private(inside) || is_marked(inside))?;
        self.clear(&self.old, is_marked)
    }

    fn clear(&self, name: &str, is_ours: impl Fn(&Directory) -> bool) -> Result {
        clear_beside(&self.directory, name, self.path, is_ours)
    }

    /// A new private directory.
    pub(super) fn begin(&self) -> Result<Directory> {
        let new =
            self.directory.make(&self.new).map_err(|errno| self.failed(errno))?.ok_or_else(|| self.disturbed())?;
        let is_fresh = new.is_fresh().map_err(|errno| self.failed(errno))?;
        if is_fresh && is_closed(&new) { Ok(new) } else { Err(self.disturbed()) }
    }

    /// Lets the finished tree take its place, and that of the one before.
    pub(super) fn arrive(&self, new: &Directory, before: Option<&Directory>) -> Result {
        let way = Directory::open_parent(self.path, Missing::Refuse);
        if !way.is_ok_and(|(directory, _)| directory.identity() == self.directory.identity()) {
            return Err(self.disturbed());
        }
        match before {
            None => self.occupy(new).map_err(|errno| self.failed(errno))?,
            Some(before) => self.replace(new, before)?,
        }
        crash::on_host();
        self.directory.flush().map_err(|errno| self.failed(errno))
    }

    fn occupy(&self, new: &Directory) -> std::result::Result<(), Errno> {
        match rustix::fs::renameat_with(new, TREE, &self.directory, self.name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::renameat(new, TREE, &self.directory, self.name),
            done => done,
        }
    }

    fn replace(&self, new: &Directory, before: &Directory) -> Result {
        let exchange = || rustix::fs::renameat_with(new, TREE, &self.directory, self.name, RenameFlags::EXCHANGE);
        match exchange() {
            Ok(()) if is_at(new, TREE, before) => Ok(()),
            Ok(()) => {
                let _ = exchange();
                Err(self.disturbed())
            }
            Err(Errno::INVAL | Errno::NOSYS) => {
                self.set_aside(before)?;
                self.occupy(new).map_err(|errno| {
                    let _ = self.directory.rename(&self.old, self.name);
                    self.failed(errno)
                })
            }
            Err(errno) => Err(self.failed(errno)),
        }
    }

    /// Gives the tree its last name.
    fn set_aside(&self, tree: &Directory) -> Result {
        self.directory.rename(self.name, &self.old).map_err(|errno| self.failed(errno))?;
        if is_at(&self.directory, &self.old, tree) {
            return Ok(());
        }
        let _ = self.directory.rename(&self.old, self.name);
        Err(self.disturbed())
    }

    /// Removes the tree.
    pub(super) fn remove(&self) -> Result {
        let Self { directory, name, path, old, .. } = self;
        if directory.look(*name).map_err(|errno| self.failed(errno))?.is_none() {
            return Ok(());
        }
        let Some(tree) = unpacked(directory, name) else {
            return Err(Failure::new(format!("{path} was not unpacked by armilla: it is not removed")));
        };
        self.clear(old, is_marked)?;
        self.set_aside(&tree)?;
        crash::on_host();
        let gone = clear::empty(&tree).and_then(|()| clear::rmdir(directory, old.as_str()));
        gone.and_then(|()| directory.flush()).map_err(|errno| self.failed(errno))
    }

    fn failed(&self, errno: Errno) -> Failure {
        Failure::new(format!("{}: {}", self.path, told(errno)))
    }

    fn disturbed(&self) -> Failure {
        Failure::new(format!("{}: another process works in its directory", self.path))
    }
}

/// Removes what has a name beside a path. Where others can change the directory, they may have put anything there for us to
/// remove: then only what is ours by this look at it, or empty.
pub(in crate::host) fn clear_beside(
    directory: &Directory,
    name: &str,
    path: &str,
    is_ours: impl Fn(&Directory) -> bool,
) -> Result {
    let failed = |errno| Failure::new(format!("{path}: {name} beside it cannot be removed: {}", told(errno)));
    let inside = match directory.child(name) {
        Ok(inside) => inside,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return directory.unlink(name).map_err(failed),
        Err(errno) => return Err(failed(errno)),
    };
    if !directory.is_ours() && !is_ours(&inside) && inside.is_empty() != Ok(true) {
        return Err(Failure::new(format!(
            "{path}: {name} is beside it, in a directory that others can change: remove it by hand"
        )));
    }
    clear::empty(&inside).and_then(|()| clear::rmdir(directory, name)).map_err(failed)
}

/// Whether that name stands for this directory.
fn is_at(directory: &Directory, name: &str, wanted: &Directory) -> bool {
    directory.child(name).is_ok_and(|found| found.identity() == wanted.identity())
}

/// The directory of that name, if an archive was unpacked to it.
fn unpacked(directory: &Directory, name: &str) -> Option<Directory> {
    directory.child(name).ok().filter(is_marked)
}

/// Whether an archive was unpacked to a directory.
pub(in crate::host) fn is_marked(tree: &Directory) -> bool {
    tree.look(MARKER).is_ok_and(|marker| marker.is_some_and(|marker| marker.is_file()))
}

/// Whether only we can have made it, for this.
fn is_private(directory: &Directory) -> bool {
    let stat = directory.stat();
    let known = |name: &Vec<u8>| PRIVATE.iter().any(|known| known.as_bytes() == name.as_slice());
    stat.st_uid == me() && is_closed(directory) && directory.names().is_ok_and(|names| names.iter().all(known))
}

/// Whether it is for its owner alone.
fn is_closed(directory: &Directory) -> bool {
    let others = rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO;
    !rustix::fs::Mode::from_raw_mode(directory.stat().st_mode).intersects(others)
}
