//! Where the sockets and logs of one program are.
//!
//! In: nothing. Out: a new directory of its own, gone with the program, or with the next one if it was killed.
//! Never: the directory of a program that lives.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use camino::Utf8Path;

use super::options::ORPHAN;
use crate::transport::dialogue::random;

/// How its name begins; 16 random digits follow.
const PREFIX: &str = "armilla-";

/// The longest path of a directory for sockets, in bytes: macOS allows 103 for a socket, ssh adds 17 while it makes one, and
/// its name in the directory takes as many.
const LONGEST: usize = 103 - 17 - 17;

/// The file in it that its program has locked as long as it lives.
const LOCK: &str = "lock";

/// A new directory of our own for sockets and logs; removed with everything in it at the end.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    next: AtomicUsize,
    _lives: File,
}

impl Directory {
    pub(super) fn new(parent: Option<&Utf8Path>) -> io::Result<Self> {
        let name = format!("{PREFIX}{}", &random()?[..16]);
        let parents = parent.map_or_else(parents, |parent| vec![parent.as_std_path().to_owned()]);
        let parent = first_fit(&parents, &name)?;
        sweep(parent);
        let path = parent.join(name);
        // Not recursive: it must not be there yet.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let lives = File::create_new(path.join(LOCK))?;
        lives.lock()?;
        Ok(Self { path, next: AtomicUsize::new(1), _lives: lives })
    }

    /// A name nothing has yet.
    pub(super) fn next(&self) -> PathBuf {
        self.path.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

/// Where a directory for sockets may be, the best first. The directory for temporary files may have a long path.
pub(super) fn parents() -> Vec<PathBuf> {
    let user = PathBuf::from(format!("/run/user/{}", nix::unistd::getuid()));
    vec![std::env::temp_dir(), "/tmp".into(), "/var/tmp".into(), user]
}

/// The first of these in which a directory of this name can hold sockets.
///
/// # Errors
/// When there is none.
pub(super) fn first_fit<'a>(parents: &'a [PathBuf], name: &str) -> io::Result<&'a Path> {
    let fits = |parent: &&PathBuf| parent.join(name).as_os_str().len() <= LONGEST && is_safe(parent);
    parents.iter().find(fits).map(PathBuf::as_path).ok_or_else(|| {
        let all: Vec<String> = parents.iter().map(|parent| parent.display().to_string()).collect();
        let what = "must be a directory with a short path in which no other user can rename files: set TMPDIR";
        io::Error::new(io::ErrorKind::NotFound, format!("{} {what}", all.join(" or ")))
    })
}

/// Whether nobody but root and us can take what we make there away: it belongs to one of us, and where others can write,
/// only the owner of a file can rename it.
fn is_safe(parent: &Path) -> bool {
    let us = nix::unistd::getuid().as_raw();
    let safe = |found: &fs::Metadata| {
        let (closed, sticky) = (found.mode() & 0o022 == 0, found.mode() & 0o1000 != 0);
        found.is_dir() && [0, us].contains(&found.uid()) && (closed || sticky)
    };
    fs::metadata(parent).is_ok_and(|found| safe(&found))
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the directories of programs that were killed: old ones of ours that nobody has locked, and in which no socket has
/// anybody behind it. What cannot be removed stays.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).unwrap_or_default();
        let named = random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
        if named && entry.metadata().is_ok_and(|found| is_old_and_ours(&found)) && !is_used(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_old_and_ours(found: &fs::Metadata) -> bool {
    let age = found.modified().ok().and_then(|changed| changed.elapsed().ok());
    found.is_dir() && found.uid() == nix::unistd::getuid().as_raw() && age.is_some_and(|age| age > 2 * ORPHAN)
}

fn is_used(directory: &Path) -> bool {
    let lives = File::open(directory.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_err());
    let mut files = fs::read_dir(directory).into_iter().flatten().flatten();
    lives || files.any(|file| UnixStream::connect(file.path()).is_ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_directory_for_sockets_has_a_short_path_that_nobody_else_can_move() {
        let here = tempfile::tempdir().expect("a directory");
        let (long, open, good) = (here.path().join("x".repeat(95)), here.path().join("open"), here.path().join("good"));
        let all = [long, here.path().join("none"), open, good.clone()];
        for folder in [&all[0], &all[2], &good] {
            fs::create_dir(folder).expect("a directory");
        }
        fs::set_permissions(&all[2], fs::Permissions::from_mode(0o777)).expect("a mode");
        assert_eq!(first_fit(&all, "armilla-0123").expect("one fits"), good);
        let none = first_fit(&all[..3], "armilla-0123").expect_err("none fits");
        assert!(none.to_string().contains("TMPDIR"), "{none}");
    }
}
