//! Large files: their bytes are asked for when a step needs them, and come in pieces.
//!
//! In: what a file is to be, the pieces, and where earlier files were put. Out: its bytes, written in order. Never: more than
//! one piece in memory, or a file that is taken for another one: its digest decides, also about a copy from this host.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Mutex, PoisonError};

use super::wire::{Answer, receive_chunk};
use super::{Failure, Result};
use crate::secret::LargeFile;
use crate::step::{Digest, Digesting};

/// Where the files lie that came before, by digest: none of them comes twice.
#[derive(Debug, Default)]
pub(super) struct Arrived(Mutex<BTreeMap<String, String>>);

impl Arrived {
    /// Remembers where a file was put.
    pub(super) fn remember(&self, file: &LargeFile, path: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(file.sha256.clone(), path.to_owned());
    }

    /// An earlier copy, if it is there and still the same.
    fn copy(&self, file: &LargeFile) -> Option<File> {
        let path = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&file.sha256).cloned()?;
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        let mut copy = File::options().read(true).custom_flags(flags).open(path).ok()?;
        let is_right = copy.metadata().is_ok_and(|data| data.is_file() && data.len() == file.size);
        let (_, digest) = is_right.then(|| Digest::of_reader(&mut copy)).and_then(io::Result::ok)?;
        let rewound = io::Seek::rewind(&mut copy).is_ok();
        (rewound && digest.0 == file.sha256).then_some(copy)
    }
}

/// Who has the files.
pub(super) struct Sender<'a> {
    /// Asks for a file.
    pub(super) say: &'a mut dyn FnMut(Answer) -> io::Result<()>,
    /// Where its bytes come from.
    pub(super) input: &'a mut dyn Read,
    /// Set when nobody listens any more.
    pub(super) gone: &'a mut dyn FnMut(),
}

impl Sender<'_> {
    /// Writes the bytes of a file to `to`, which shall be thrown away if this fails.
    ///
    /// # Errors
    /// When they do not come, are others, or cannot be written; then nothing of them is left to be read.
    pub(super) fn bring(&mut self, file: &LargeFile, arrived: &Arrived, to: &mut dyn Write) -> Result {
        let mut all = Digesting::default();
        let size = match arrived.copy(file) {
            Some(mut copy) => {
                let mut both = Both(&mut all, to);
                io::copy(&mut copy, &mut both).map_err(|error| Failure::new(error.to_string()))?
            }
            None => self.receive(file, &mut Both(&mut all, to))?,
        };
        if size == file.size && all.finish().0 == file.sha256 {
            return Ok(());
        }
        let why = "what came is not what the plan was made with: it was changed since";
        Err(Failure::new(format!("{}: {why} ({size} of {} bytes)", file.path, file.size)))
    }

    fn receive(&mut self, file: &LargeFile, to: &mut dyn Write) -> Result<u64> {
        let lost = |error: io::Error| Failure::new(format!("{} does not come any more: {error}", file.path));
        let asked = (self.say)(Answer::Wants(file.sha256.clone()));
        let received = asked.and_then(|()| self.pieces(file, to));
        match received {
            Ok(written) => written,
            Err(error) => {
                (self.gone)();
                Err(lost(error))
            }
        }
    }

    /// Takes all pieces, also of a file that cannot be written. The outer error is that of the sender.
    fn pieces(&mut self, file: &LargeFile, to: &mut dyn Write) -> io::Result<Result<u64>> {
        let (mut piece, mut size, mut failure) = (Vec::new(), 0, None);
        loop {
            receive_chunk(self.input, &mut piece)?;
            if piece.is_empty() {
                return Ok(failure.map_or(Ok(size), Err));
            }
            if failure.is_some() {
                continue;
            }
            size += piece.len() as u64;
            let written = if size > file.size { Err(io::ErrorKind::FileTooLarge.into()) } else { to.write_all(&piece) };
            if let Err(error) = written {
                failure = Some(Failure::new(error.to_string()));
                (self.say)(Answer::Enough)?;
            }
        }
    }
}

/// Writes to a digest and to what is digested.
struct Both<'a>(&'a mut Digesting, &'a mut dyn Write);

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.1.write(bytes)?;
        self.0.add(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.1.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::chunk;
    use super::*;

    fn file(bytes: &[u8]) -> LargeFile {
        LargeFile { path: "files/big".to_owned(), size: bytes.len() as u64, sha256: Digest::of(bytes).0 }
    }

    /// What was written, what was asked, and how it ended, when these pieces come; and whether the sender was there to the end.
    fn brought(
        file: &LargeFile,
        arrived: &Arrived,
        pieces: &[&[u8]],
        to: &mut dyn Write,
    ) -> (Vec<Answer>, Result, bool) {
        let (mut asked, mut gone) = (Vec::new(), false);
        let sent = pieces.iter().map(|piece| chunk(piece)).collect::<Vec<_>>().concat();
        let mut input = sent.as_slice();
        let done = Sender {
            say: &mut |answer| {
                asked.push(answer);
                Ok(())
            },
            input: &mut input,
            gone: &mut || gone = true,
        }
        .bring(file, arrived, to);
        assert!(input.is_empty() || pieces.is_empty(), "something was left unread");
        (asked, done, !gone)
    }

    #[test]
    fn a_file_comes_in_pieces_once_and_is_the_one_that_was_asked_for() {
        let room = tempfile::tempdir().expect("a directory");
        let (file, arrived) = (file(b"hello, world"), Arrived::default());
        let wants = Answer::Wants(file.sha256.clone());
        let mut written = Vec::new();
        let (asked, done, _) = brought(&file, &arrived, &[b"hello", b", world", b""], &mut written);
        assert_eq!((asked, done, written.as_slice()), (vec![wants], Ok(()), &b"hello, world"[..]));
        let (path, mut again) = (room.path().join("big"), Vec::new());
        std::fs::write(&path, &written).expect("a write");
        arrived.remember(&file, path.to_str().expect("a path"));
        let (asked, done, _) = brought(&file, &arrived, &[], &mut again);
        assert_eq!((asked, done, again), (Vec::new(), Ok(()), written), "it does not come twice");
        // Changed meanwhile, or something else by now: it comes again.
        std::fs::write(&path, "HELLO, WORLD").expect("a write");
        assert_eq!(brought(&file, &arrived, &[b"hello, world", b""], &mut Vec::new()).0.len(), 1);
        std::fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink("/dev/zero", &path).expect("a link");
        assert_eq!(brought(&file, &arrived, &[b"hello, world", b""], &mut Vec::new()).0.len(), 1);
    }

    #[test]
    fn what_is_other_cut_off_too_long_or_cannot_be_written_is_refused_and_read_to_its_end() {
        let (file, arrived) = (file(b"hello"), Arrived::default());
        for (pieces, why) in [
            (&[&b"hallo"[..], b""][..], "not what the plan was made with"),
            (&[b"hel", b""], "(3 of 5 bytes)"),
            (&[b"hello", b", world", b"more", b""], "file too large"),
        ] {
            let (_, done, is_there) = brought(&file, &arrived, pieces, &mut Vec::new());
            let told = done.expect_err("another file").why;
            assert!(told.contains(why) && is_there, "{told}");
        }
        let full: &mut [u8] = &mut [0; 2];
        let (asked, done, _) = brought(&file, &arrived, &[b"hel", b"lo", b""], &mut &mut *full);
        assert!(done.is_err() && asked.last() == Some(&Answer::Enough), "{asked:?}");
        let (_, done, is_there) = brought(&file, &arrived, &[b"hel"], &mut Vec::new());
        assert!(done.is_err() && !is_there, "the sender is gone");
    }
}
