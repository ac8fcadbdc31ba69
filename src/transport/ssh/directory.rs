//! Where the sockets and logs of one program are.
//!
//! In: nothing. Out: a new directory of its own, gone with the program, or with the next one if it was killed.
//! Never: the directory of a program that lives.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use camino::Utf8Path;

use super::link::ORPHAN;
use crate::transport::dialogue::random;

/// How its name begins; 16 random digits follow.
const PREFIX: &str = "armilla-";

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
    pub(super) fn new(parent: Option<&Utf8Path>) -> std::io::Result<Self> {
        let parent = parent.map_or_else(std::env::temp_dir, |parent| parent.as_std_path().to_owned());
        sweep(&parent);
        let path = parent.join(format!("{PREFIX}{}", &random()?[..16]));
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
