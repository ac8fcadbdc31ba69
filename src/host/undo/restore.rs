//! Rolls back what is kept in a directory, and needs nothing but that directory. Done again it gives the same end.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd as _;

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, readlinkat, symlinkat, syncfs};

use super::super::directory::{self, Directory, me};
use super::super::files::{Wanted, settle_directory};
use super::super::keep::folder::{Folder, is_same, kind};
use super::super::keep::journal::tell_undone;
use super::super::keep::walk::Missing;
use super::super::{Failure, Result, unpack};
use super::units::{self, changing};
use super::was::{Owned, Was, is_unpacked};
use super::{Means, Pace, alone, kept_in, list, nothing_kept, packages, readable, tree};
use crate::crash;
use crate::step::MARKER;

/// Rolls back what is kept under a name in the directory of an environment. All that can be rolled back is, even where
/// something else cannot. Done already is success.
///
/// # Errors
/// What cannot be rolled back, a line or more for each.
pub(in crate::host) fn restore(environment: &Folder, name: &str, pace: Pace, means: Means<'_>) -> Result {
    let undo = environment.own_child("undo", Missing::Leave, means.uid)?.ok_or_else(|| nothing_kept(name))?;
    let kept = kept_in(&undo, name)?;
    let _lock = alone(&kept)?;
    readable(&kept)?;
    if kept.has("undone") {
        return Ok(());
    }
    let mut rollback = Rollback { kept: &kept, lines: list(&kept)?, pace, means, wrong: Vec::new() };
    rollback.all();
    if !rollback.wrong.is_empty() {
        return Err(Failure::new(rollback.wrong.join("\n")));
    }
    crash::on_host();
    // The journal hears of it first: then a host that loses its power here does it again, and says so again.
    let recorded = tell_undone(environment, name).and_then(|()| {
        crash::on_host();
        kept.mark("undone").map_err(|_| kept.unwritable("undone"))
    });
    let why = |_| Failure::new(format!("{}: what was rolled back cannot be recorded; is the disk full?", kept.path()));
    recorded.map_err(why)
}

struct Rollback<'a> {
    kept: &'a Folder,
    lines: Vec<String>,
    pace: Pace,
    means: Means<'a>,
    wrong: Vec<String>,
}

/// A thing that is kept: its number, its name, and how it was.
struct Thing<'a> {
    number: usize,
    name: &'a str,
    was: &'a str,
}

impl Rollback<'_> {
    fn all(&mut self) {
        self.each("unit", |rollback, unit| units::halt(rollback.kept, unit.name, unit.was, rollback.means));
        self.each("path", Self::away);
        self.each("package", |rollback, package| {
            packages::back(rollback.kept, package.name, package.was, rollback.means)
        });
        self.each("path", Self::back);
        // A directory that was in use a moment ago may be empty now.
        self.each("path", Self::away);
        let tells =
            |line: &String| line.starts_with("unit ") || (line.starts_with("path ") && line.contains("/systemd/"));
        if self.kept.has("begun") && self.lines.iter().any(tells) {
            match self.means.program(60, &["systemctl", "daemon-reload"]) {
                Err(failure) if failure.exit != 127 => self.complain(failure.why),
                _ => {}
            }
        }
        self.each("unit", |rollback, unit| {
            units::run(rollback.kept, unit.name, (unit.was, rollback.pace), rollback.means)
        });
    }

    /// Does something with each thing of a kind, what was touched last first.
    fn each(&mut self, kind: &str, work: impl Fn(&Self, &Thing<'_>) -> Result) {
        let mut wrong = Vec::new();
        for (index, line) in self.lines.iter().enumerate().rev() {
            let Some(name) = line.strip_prefix(kind).and_then(|rest| rest.strip_prefix(' ')) else { continue };
            crash::on_host();
            let done = self.was(index + 1).and_then(|was| work(self, &Thing { number: index + 1, name, was: &was }));
            wrong.extend(done.err().map(|failure| format!("{line}: {}", failure.why)));
        }
        for why in wrong {
            self.complain(why);
        }
    }

    /// The same thing may be tried twice, and is told once, by its first line.
    fn complain(&mut self, why: String) {
        let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        if !self.wrong.iter().any(|told| first(told) == first(&why)) {
            self.wrong.push(why);
        }
    }

    fn was(&self, number: usize) -> Result<String> {
        let path = format!("{}/{number}/was", self.kept.path());
        let place = self.kept.child(&number.to_string(), Missing::Leave).ok().flatten();
        let was = place.and_then(|place| place.first_line("was")).filter(|was| !was.is_empty());
        was.ok_or_else(|| Failure::new(format!("how it was is not known: {path} is damaged")))
    }

    /// What was not there goes. A directory stays as long as something is in it.
    fn away(&self, thing: &Thing<'_>) -> Result {
        if parsed(thing)? != Was::None {
            return Ok(());
        }
        let Some(path) = self.means.located(thing.name) else { return Ok(()) };
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if !std::fs::metadata(format!("{parent}/")).is_ok_and(|parent| parent.is_dir()) {
            return Ok(());
        }
        let (place, directory) = reached(parent, directory::Missing::Refuse)?;
        let failed = |error: io::Error| Failure::new(format!("{path} cannot be removed: {error}"));
        let Some(stat) = directory.look(name).map_err(failed)? else {
            return self.remove_old(&place, name, &path);
        };
        if is_unpacked(&directory, name) {
            changing(self.kept)?;
            return unpack::remove(&path);
        }
        if kind(&stat) == FileType::Directory {
            let _ = directory.remove_empty(name);
            return Ok(());
        }
        changing(self.kept)?;
        directory.remove(name).and_then(|()| directory.sync()).map_err(failed)
    }

    /// Where an earlier rollback was interrupted, what it moved out of the way may still be there.
    fn remove_old(&self, directory: &Directory, name: &str, path: &str) -> Result {
        if self.kept.has("begun") { discard(directory, &format!(".armilla-old-{name}"), path) } else { Ok(()) }
    }

    /// What was there comes back, beside its place and renamed.
    fn back(&self, thing: &Thing<'_>) -> Result {
        let was = parsed(thing)?;
        if was == Was::None {
            return Ok(());
        }
        let no_home = || Failure::new(format!("{}: there is no such user with a home directory any more", thing.name));
        let path = self.means.located(thing.name).ok_or_else(no_home)?;
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let (above, directory) = reached(parent, directory::Missing::Make)?;
        let failed = |error: io::Error| Failure::new(format!("{path} cannot be restored: {error}"));
        let lost = || Failure::new(format!("{path} cannot be restored: what was in it is lost"));
        let place = self.kept.child(&thing.number.to_string(), Missing::Leave).ok().flatten().ok_or_else(lost)?;
        let now = Was::of(&directory, name).map_err(failed)?;
        let (new, old) = (format!(".armilla-new-{name}"), format!(".armilla-old-{name}"));
        let change = Change { above: &above, directory: &directory, name, place: &place, was, now };
        if change.is_none().map_err(failed)? {
            return self.remove_old(&above, name, &path);
        }
        changing(self.kept)?;
        discard(&above, &new, &path)?;
        let made = change.make(&new).map_err(failed).and_then(|()| {
            crash::on_host();
            change.vacate(&old)
        });
        if let Err(failure) = made {
            let _ = discard(&above, &new, &path);
            return Err(failure);
        }
        crash::on_host();
        match was {
            Was::Directory(Owned { uid, gid, mode }) => {
                settle_directory(&above, name, Wanted::exactly(uid, gid, mode), &path)?;
            }
            _ => directory.rename(&new, name).map_err(failed)?,
        }
        directory.sync().map_err(failed)?;
        discard(&above, &old, &path)
    }
}

/// A directory, and the same to be read. What others could have planted on the way is not followed.
fn reached(path: &str, missing: directory::Missing) -> Result<(Directory, Folder)> {
    let directory = Directory::open(path, missing)?;
    let failed = |error: io::Error| Failure::new(format!("{path}: {error}"));
    // What may only be passed through can still be worked in.
    let handle = directory.readable().or_else(|_| directory.as_fd().try_clone_to_owned()).map_err(failed)?;
    Ok((directory, Folder::new(handle, path)))
}

/// Removes what a rollback made or moved away beside a path; what others put there stays.
fn discard(directory: &Directory, name: &str, path: &str) -> Result {
    unpack::clear_beside(directory, name, path, unpack::is_marked)
}

fn parsed(thing: &Thing<'_>) -> Result<Was> {
    Was::parse(thing.was)
        .ok_or_else(|| Failure::new(format!("how it was is not known: `{}`", thing.was.escape_debug())))
}

/// What is to be different at a name in a directory.
struct Change<'a> {
    above: &'a Directory,
    /// The same, to be read.
    directory: &'a Folder,
    name: &'a str,
    /// Where what was in it is kept.
    place: &'a Folder,
    was: Was,
    now: Was,
}

impl Change<'_> {
    /// Whether nothing is to be done.
    fn is_none(&self) -> io::Result<bool> {
        match (self.was, self.now) {
            (Was::File(_), now) if now == self.was => {
                let (now, was) = (self.directory.open(self.name, OFlags::RDONLY)?, self.data()?);
                let right = !self.place.has("xattrs") || tree::xattrs(now.as_fd())? == tree::xattrs(was.as_fd())?;
                Ok(right && is_equal(now, was)?)
            }
            (Was::Link(_), now) if now == self.was => {
                Ok(readlinkat(self.directory, self.name, Vec::new())?.as_bytes() == self.target()?)
            }
            (Was::Tree(..), Was::Tree(..)) => self.is_same_tree(),
            (was, now) => Ok(was == now && matches!(was, Was::Directory(_))),
        }
    }

    /// Where its marker is no second name of the one that is kept, it is the directory itself that was left alone.
    fn is_same_tree(&self) -> io::Result<bool> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let now = self.directory.child(self.name, Missing::Leave)?.ok_or_else(missing)?;
        let was = self.place.child("data", Missing::Leave)?.ok_or_else(missing)?;
        let (Some(marker_now), Some(marker_was)) = (now.look(MARKER)?, was.look(MARKER)?) else { return Ok(false) };
        if is_same(&marker_now, &marker_was) {
            return Ok(true);
        }
        Ok(self.now == self.was && is_equal(now.open(MARKER, OFlags::RDONLY)?, was.open(MARKER, OFlags::RDONLY)?)?)
    }

    fn data(&self) -> io::Result<File> {
        self.place.open("data", OFlags::RDONLY)
    }

    /// What a link said.
    fn target(&self) -> io::Result<Vec<u8>> {
        self.place.read("data", 64 << 10)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes what was there, beside its place.
    fn make(&self, new: &str) -> io::Result<()> {
        match self.was {
            Was::File(owned) => self.make_file(new, owned),
            Was::Link(owned) => self.make_link(new, owned),
            Was::Tree(..) => {
                let data = self.place.child("data", Missing::Leave)?.ok_or(io::ErrorKind::NotFound)?;
                let tree = self.above.make(new)?.ok_or(io::ErrorKind::AlreadyExists)?;
                if !self.above.is_ours() && !tree.is_fresh()? {
                    return Err(swapped());
                }
                tree::fill(data.as_fd(), tree.readable()?.as_fd())?;
                Ok(syncfs(self.directory)?)
            }
            Was::Directory(_) => Ok(()),
            Was::None | Was::Other => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Others may put another link in its place before it has its owner.
    fn make_link(&self, new: &str, owned: Owned) -> io::Result<()> {
        use std::os::unix::ffi::OsStrExt as _;
        let target = self.target()?;
        symlinkat(OsStr::from_bytes(&target), self.directory, new)?;
        let link = self.above.look(new)?.ok_or_else(swapped)?;
        if !link.is_link() || link.stat.st_uid != me() || link.stat.st_nlink != 1 {
            return Err(swapped());
        }
        Ok(link.set_owner(Some(owned.uid), Some(owned.gid))?)
    }

    /// Private until it has its owner and all its content.
    fn make_file(&self, new: &str, owned: Owned) -> io::Result<()> {
        let (mut data, mut file) = (self.data()?, self.directory.create(new)?);
        fchown(&file, Some(Uid::from_raw(owned.uid)), Some(Gid::from_raw(owned.gid)))?;
        io::copy(&mut data, &mut file)?;
        fchmod(&file, Mode::from_raw_mode(owned.mode))?;
        if self.place.has("xattrs") {
            tree::copy_xattrs(data.as_fd(), file.as_fd())?;
        }
        file.sync_all()
    }

    /// What is in the place makes room, if another kind of thing is to be there.
    fn vacate(&self, old: &str) -> Result {
        let path = self.directory.at(self.name);
        let failed = |error: io::Error| Failure::new(format!("{path} cannot be restored: {error}"));
        match (self.was, self.now) {
            (_, Was::None)
            | (Was::Directory(_), Was::Directory(_))
            | (Was::File(_) | Was::Link(_), Was::File(_) | Was::Link(_) | Was::Other) => Ok(()),
            (Was::Directory(_), Was::File(_) | Was::Link(_) | Was::Other) => {
                self.directory.remove(self.name).map_err(failed)
            }
            (_, Was::Directory(_)) => {
                let why = format!("{path} is a directory now, with something in it: it is not removed");
                self.directory.remove_empty(self.name).map_err(|_| Failure::new(why))
            }
            _ => {
                discard(self.above, old, &path)?;
                self.directory.rename(self.name, old).map_err(failed)
            }
        }
    }
}

fn swapped() -> io::Error {
    io::Error::other("something else was put in its place meanwhile")
}

/// Whether two files have the same content.
fn is_equal(one: File, other: File) -> io::Result<bool> {
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) =
        (io::BufReader::with_capacity(64 << 10, one), io::BufReader::with_capacity(64 << 10, other));
    loop {
        let (mut a, mut b) = ([0; 4096], [0; 4096]);
        let (read_a, read_b) = (fill(&mut one, &mut a)?, fill(&mut other, &mut b)?);
        if a[..read_a] != b[..read_b] {
            return Ok(false);
        }
        if read_a == 0 {
            return Ok(true);
        }
    }
}

/// Reads until a buffer is full, or the file at its end.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read(&mut buffer[read..])? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}
