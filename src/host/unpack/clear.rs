//! Whole trees, removed by handles: no link is followed, and nothing that is mounted inside is emptied.

use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::host::directory::Directory;
use crate::step::MARKER;

/// So many directories are held open at once. What is deeper is moved up first.
const DEEPEST: usize = 100;

/// A directory that is being emptied.
struct Level {
    directory: Directory,
    /// Its name in the one before it.
    name: Vec<u8>,
    /// What is still in it.
    names: Vec<Vec<u8>>,
}

impl Level {
    fn of(directory: Directory, name: Vec<u8>) -> Result<Self, Errno> {
        let names = directory.names()?;
        Ok(Self { directory, name, names })
    }
}

/// Removes all that is in a directory. The marker goes last: until then it is known what it is.
pub(super) fn empty(directory: &Directory) -> Result<(), Errno> {
    let mut top = Level::of(directory.again()?, Vec::new())?;
    top.names.sort_by_key(|name| name != MARKER.as_bytes());
    let (mut open, mut moved) = (vec![top], 0_u64);
    while let Some(level) = open.last_mut() {
        if let Some(name) = level.names.pop() {
            match unlink(&level.directory, &name)? {
                None => {}
                Some(_) if open.len() > DEEPEST => {
                    moved += 1;
                    raise(&mut open, &name, format!(".armilla-deep-{moved}"))?;
                }
                Some(inside) => open.push(Level::of(inside, name)?),
            }
            continue;
        }
        let done = open.pop();
        if let Some((above, done)) = open.last().zip(done) {
            rmdir(&above.directory, &done.name)?;
        }
    }
    Ok(())
}

/// Moves a directory from the last level to the first.
fn raise(open: &mut [Level], name: &[u8], raised: String) -> Result<(), Errno> {
    if let [first, .., last] = open {
        rustix::fs::renameat(&last.directory, name, &first.directory, raised.as_str())?;
        first.names.push(raised.into_bytes());
    }
    Ok(())
}

/// Removes a directory with nothing in it.
pub(super) fn rmdir(directory: &Directory, name: impl rustix::path::Arg) -> Result<(), Errno> {
    match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// Removes a name, if it is none of a directory; otherwise that directory.
fn unlink(directory: &Directory, name: &[u8]) -> Result<Option<Directory>, Errno> {
    match directory.unlink(name) {
        Ok(()) | Err(Errno::NOENT) => Ok(None),
        Err(Errno::ISDIR) => {
            let inside = directory.child(name)?;
            if inside.identity().0 == directory.identity().0 { Ok(Some(inside)) } else { Err(Errno::XDEV) }
        }
        Err(errno) => Err(errno),
    }
}
