//! A large file on its way to a host.
//!
//! In: a file of this machine. Out: its bytes in pieces, as the host takes them. Never: more than one piece in memory.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::host::wire::{CHUNK, chunk};
use crate::secret::LargeFile;

/// How often it is told how far it is.
const OFTEN: Duration = Duration::from_secs(1);

/// A pipe in its place keeps nobody waiting.
fn open(path: &Path) -> std::io::Result<File> {
    let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::Error::other("it is not a regular file")) }
}

/// A large file that is being sent.
pub(super) struct Feed<'a> {
    source: Option<File>,
    /// Of the file, in bytes.
    size: u64,
    sent: u64,
    told: Instant,
    tell: Box<dyn Fn(String) + Send + Sync + 'a>,
    /// Whether the last piece was given.
    pub(super) is_over: bool,
}

impl<'a> Feed<'a> {
    /// A file of a project. One that cannot be read is sent as an empty one, which the host refuses; why it cannot be read is
    /// the second. `tell` hears how far it is.
    pub(super) fn new(
        project: Option<&Path>,
        file: &LargeFile,
        tell: Box<dyn Fn(String) + Send + Sync + 'a>,
    ) -> (Self, Option<String>) {
        let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", file.path);
        let opened = file.folder(project).and_then(|folder| open(&folder.join(&file.path)).map_err(unreadable));
        let (source, why) = match opened {
            Ok(source) => (Some(source), None),
            Err(why) => (None, Some(why)),
        };
        (Self { source, size: file.size, sent: 0, told: Instant::now(), tell, is_over: false }, why)
    }

    /// The next piece; the last one is empty.
    pub(super) async fn next(&mut self) -> Vec<u8> {
        let piece = match self.source.take() {
            None => Vec::new(),
            Some(source) => {
                // A file that grows meanwhile is another one: the host finds that out.
                let read = tokio::task::spawn_blocking(move || {
                    let mut piece = Vec::with_capacity(CHUNK);
                    let read = (&source).take(CHUNK as u64).read_to_end(&mut piece);
                    (source, read.map_or_else(|_| Vec::new(), |_| piece))
                });
                let Ok((source, piece)) = read.await else { return self.end() };
                self.source = Some(source);
                piece
            }
        };
        self.sent += piece.len() as u64;
        self.is_over = piece.is_empty();
        if self.told.elapsed() >= OFTEN {
            self.told = Instant::now();
            (self.tell)(format!("sent {} of {} MiB", self.sent >> 20, self.size >> 20));
        }
        chunk(&piece)
    }

    fn end(&mut self) -> Vec<u8> {
        self.is_over = true;
        chunk(&[])
    }

    /// The next piece is the last.
    pub(super) fn cut(&mut self) {
        self.source = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn a_file_is_sent_in_pieces_and_says_how_far_it_is() {
        let room = tempfile::tempdir().expect("a directory");
        let bytes: Vec<u8> = (0..=250).cycle().take(2 * CHUNK + 3).collect();
        std::fs::write(room.path().join("big"), &bytes).expect("a write");
        let file = LargeFile { path: "big".to_owned(), size: bytes.len() as u64, sha256: String::new() };
        let told = Mutex::new(Vec::new());
        let tell = Box::new(|why| told.lock().expect("a lock").push(why));
        let (mut feed, why) = Feed::new(Some(room.path()), &file, tell);
        assert_eq!(why, None);
        assert!(feed.next().await == chunk(&bytes[..CHUNK]) && told.lock().expect("a lock").is_empty());
        feed.told = Instant::now().checked_sub(OFTEN).expect("a time");
        assert!(feed.next().await == chunk(&bytes[CHUNK..2 * CHUNK]));
        assert_eq!(*told.lock().expect("a lock"), ["sent 0 of 0 MiB"]);
        assert!(feed.next().await == chunk(&bytes[2 * CHUNK..]) && !feed.is_over);
        assert!(feed.next().await == chunk(&[]) && feed.is_over);
    }

    #[tokio::test]
    async fn what_is_cut_or_cannot_be_read_ends_at_once() {
        let room = tempfile::tempdir().expect("a directory");
        std::fs::write(room.path().join("big"), "x").expect("a write");
        let file = |path: &str| LargeFile { path: path.to_owned(), size: 1, sha256: String::new() };
        let (mut cut, _) = Feed::new(Some(room.path()), &file("big"), Box::new(drop));
        cut.cut();
        assert!(cut.next().await == chunk(&[]) && cut.is_over);
        nix::unistd::mkfifo(&room.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        for (path, wanted) in
            [("missing", "missing cannot be read: No such file"), ("pipe", "it is not a regular file")]
        {
            let (mut none, why) = Feed::new(Some(room.path()), &file(path), Box::new(drop));
            assert!(none.next().await == chunk(&[]) && none.is_over);
            assert!(why.is_some_and(|why| why.contains(wanted)));
        }
        assert!(
            Feed::new(None, &file("big"), Box::new(drop)).1.is_some_and(|why| why.contains("change to its folder"))
        );
    }
}
