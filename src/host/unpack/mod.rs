//! Archives, unpacked into directories of their own.
//!
//! In: an archive, or where to fetch it, and what it must not exceed. Out: a directory with all of it, its owner and its
//! marker; or what was there before, and why. Never: anything unpacked before all of the archive was judged, or anything
//! written outside of the directory.
//!
//! All happens in a directory beside the place that only we can enter, `.armilla-new-NAME`. What has the name at any instant
//! is the old tree, nothing, or all of the new one. What a killed order left is removed by the next one.

#[cfg(test)]
mod archives;
#[cfg(test)]
mod attack;
mod clear;
mod judge;
mod member;
mod packing;
mod site;
mod spread;
mod tarball;
#[cfg(test)]
mod tests;
mod zipped;

use std::fs::File;
use std::io::Write;
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use self::judge::Judge;
use self::member::{Checked, Fault};
use self::packing::Archive;
use self::site::Site;
pub(super) use self::site::{clear_beside, is_marked};
use self::spread::{Owner, Spread};
use super::directory::{Directory, Missing, told};
use super::files::Numbers;
use super::http;
use super::program::{Programs, described};
use super::{Failure, Result};
use crate::crash;
use crate::secret::LargeFile;
use crate::step::{MARKER, Packed, PackedFile, Remote, UnpackLimits, Unpacking, is_account};

/// In the private directory: the archive, and what becomes of it.
const ARCHIVE: &str = "archive";
const PLAIN: &str = "plain";
const TREE: &str = "tree";

/// Writes the bytes of a large file.
pub(super) type Bring<'a> = dyn FnMut(&LargeFile, &mut dyn Write) -> Result + 'a;

/// Unpacks an archive into its place: [`crate::step::Step::Unpack`].
///
/// # Errors
/// When the place is taken, the archive cannot be had or is refused, or the disk does not take it. Then what was there is
/// there.
pub(super) fn unpack(
    programs: &Programs<'_>,
    numbers: &dyn Numbers,
    unpacking: &Unpacking,
    bring: &mut Bring<'_>,
) -> Result {
    let Unpacking { path, occupied, .. } = unpacking;
    check(path)?;
    let owner = owner(unpacking, numbers)?;
    let site = Site::at(path, Missing::Make)?;
    let before = site.vacant(*occupied)?;
    site.tidy()?;
    let new = site.begin()?;
    let filled = fill(&new, programs, (unpacking, owner), bring).map_err(|fault| fault.told(path));
    let done = filled.and_then(|()| site.arrive(&new, before.as_ref()));
    // What stays is removed by the next order.
    let _ = site.tidy();
    done
}

/// Removes what was unpacked there: [`crate::step::Step::RemoveUnpacked`]. Nothing there is success.
///
/// # Errors
/// When something else is there, or it cannot be removed.
pub(super) fn remove(path: &str) -> Result {
    check(path)?;
    match Site::at(path, Missing::Refuse) {
        Ok(site) => site.remove(),
        Err(unreached) if unreached.absent => Ok(()),
        Err(unreached) => Err(unreached.into()),
    }
}

/// Makes the tree in the private directory.
fn fill(
    new: &Directory,
    programs: &Programs<'_>,
    (unpacking, owner): (&Unpacking, Owner),
    bring: &mut Bring<'_>,
) -> Checked {
    let Unpacking { path, source, strip, limits, .. } = unpacking;
    if let Packed::Files(files) = source {
        return gather(new, programs, (unpacking, owner), files);
    }
    let mut file = create(new, ARCHIVE).map_err(|errno| unwritten(path, ARCHIVE, errno))?;
    match source {
        Packed::Content(content) => {
            let failed = |error| Failure::new(format!("{path}: the archive cannot be written: {}", described(&error)));
            file.write_all(content.bytes()).map_err(failed)?;
        }
        Packed::Large(large) => bring(large, &mut file)?,
        Packed::Remote(remote) => http::fetch(programs, remote, path, &mut file)?,
        Packed::Files(_) => {}
    }
    let tree = plant(new, path)?;
    let layer = Layer { new, programs, owner, path, limits };
    layer.lay(file, *strip, &tree)?;
    complete(&tree, unpacking, owner).map_err(|errno| unwritten(path, MARKER, errno))?;
    crash::on_host();
    Ok(())
}

/// How archives become directories.
struct Layer<'a> {
    /// The private directory.
    new: &'a Directory,
    programs: &'a Programs<'a>,
    owner: Owner,
    /// What all of it is to become, for the texts.
    path: &'a str,
    limits: &'a UnpackLimits,
}

impl Layer<'_> {
    /// Unpacks an archive of the private directory into a directory below it, and removes the archive.
    fn lay(&self, archive: File, strip: u32, into: &Directory) -> Checked {
        let archive = Archive::open(archive, self.new, self.programs, self.limits)?;
        let mut judge = Judge::new(*self.limits, strip, archive.size());
        archive.each(&mut |member, _| judge.hear(member))?;
        let mut places = judge.finish()?.into_iter();
        let mut spread = Spread::new(into, self.owner, self.path);
        archive.each(&mut |member, content| match places.next() {
            Some(Some(place)) => spread.put(member, &place, content),
            Some(None) => Ok(()),
            None => Err(changed()),
        })?;
        if places.next().is_some() {
            return Err(changed());
        }
        for name in [ARCHIVE, PLAIN] {
            let _ = self.new.unlink(name);
        }
        Ok(())
    }
}

/// Fills the tree with files that the host fetches.
fn gather(
    new: &Directory,
    programs: &Programs<'_>,
    (unpacking, owner): (&Unpacking, Owner),
    files: &[PackedFile],
) -> Checked {
    let Unpacking { path, limits, .. } = unpacking;
    let tree = plant(new, path)?;
    let layer = Layer { new, programs, owner, path, limits };
    let all = files.iter().map(|file| file.remote.timeout).max().unwrap_or_default();
    let end = Instant::now() + all;
    for PackedFile { name, remote, strip } in files {
        let failed = |errno| unwritten(path, name, errno);
        if !is_plain(name) {
            return Err(unwritten(path, &name.escape_debug().to_string(), Errno::INVAL).into());
        }
        let mut above = Spread::new(&tree, owner, path);
        let timeout = end.saturating_duration_since(Instant::now()).min(remote.timeout);
        let fetch = |file: &mut File| {
            http::fetch(programs, &Remote { timeout, ..remote.clone() }, &format!("{path}/{name}"), file)
        };
        match strip {
            None => {
                let mut file = above.create(name.as_bytes()).map_err(failed)?;
                fetch(&mut file)?;
                spread::own(&file, owner, 0o644).map_err(failed)?;
            }
            Some(strip) => {
                let mut file = create(new, ARCHIVE).map_err(failed)?;
                fetch(&mut file)?;
                layer.lay(file, *strip, above.enter(name.as_bytes()).map_err(failed)?)?;
            }
        }
    }
    complete(&tree, unpacking, owner).map_err(|errno| unwritten(path, MARKER, errno))?;
    crash::on_host();
    Ok(())
}

/// Whether it is a path below the tree, and not that of the marker.
fn is_plain(name: &str) -> bool {
    !name.contains('\0') && name.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
}

/// The empty tree, in the private directory.
fn plant(new: &Directory, path: &str) -> std::result::Result<Directory, Failure> {
    let made = new.make(TREE).map_err(|errno| unwritten(path, TREE, errno))?;
    made.ok_or_else(|| unwritten(path, TREE, Errno::EXIST))
}

fn changed() -> Fault {
    Fault::Unreadable("it is not what it was a moment ago".to_owned())
}

/// The marker comes last: what came after it was added to the tree.
fn complete(tree: &Directory, unpacking: &Unpacking, owner: Owner) -> std::result::Result<(), Errno> {
    spread::settle(tree, owner, 0o755)?;
    let mut marker = create(tree, MARKER)?;
    marker.write_all(unpacking.marker.as_bytes()).map_err(|error| number(&error))?;
    rustix::fs::fchmod(&marker, Mode::from_raw_mode(0o644))?;
    rustix::fs::syncfs(&marker)
}

/// The number of an error of the system.
fn number(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// A new file in a directory of ours.
fn create(directory: &Directory, name: impl rustix::path::Arg) -> std::result::Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600)).map(File::from)
}

fn unwritten(path: &str, name: &str, errno: Errno) -> Failure {
    Failure::new(format!("{path}: the archive cannot be unpacked: {name}: {}", told(errno)))
}

/// Whom everything shall belong to, in numbers.
fn owner(unpacking: &Unpacking, numbers: &dyn Numbers) -> Result<Owner> {
    let Unpacking { owner, group, .. } = unpacking;
    if let Some(wrong) = [owner, group].into_iter().find(|name| !is_account(name)) {
        return Err(Failure::new(format!("invalid user or group name `{}`", wrong.escape_debug())));
    }
    let user = numbers.user(owner)?.map(|(uid, _)| uid).or_else(|| owner.parse().ok());
    let uid = user.ok_or_else(|| Failure::new(format!("there is no user {owner} on this host")))?;
    let gid = numbers.group(group)?.or_else(|| group.parse().ok());
    let gid = gid.ok_or_else(|| Failure::new(format!("there is no group {group} on this host")))?;
    Ok(Owner { uid, gid })
}

/// A path whose last part is a name.
fn check(path: &str) -> Result {
    if path.contains('\0') {
        return Err(Failure::new("a path has a NUL byte in it"));
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    if !path.starts_with('/') || last.is_empty() || path.split('/').any(|part| part == ".." || part == ".") {
        let path = path.escape_debug();
        return Err(Failure::new(format!("`{path}` must be absolute, without `.` and `..`, and end with a name")));
    }
    Ok(())
}
