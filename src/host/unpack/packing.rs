//! What packed an archive, told by its first bytes: names can say anything.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek as _, Write as _};
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use flate2::bufread::GzDecoder;

use super::judge::SMALL;
use super::member::{Checked, Fault, Visit, unreadable};
use super::{ARCHIVE, PLAIN, create, number, tarball, zipped};
use crate::host::directory::{Directory, told};
use crate::host::program::{COMPLAINT, Ended, Heard, Kept, Leftover, Limits, Programs};
use crate::host::{Failure, Result};
use crate::step::{Command, UnpackLimits};

/// How long a program of the host may unpack.
const TIME: Duration = Duration::from_secs(30 * 60);

/// What headers and the end of an archive take at most, in bytes: for each entry, and in all.
const ENTRY: u64 = 2048;
const MORE: u64 = 1 << 20;

/// An archive in a file that only we can read.
#[derive(Debug)]
pub(super) struct Archive {
    /// A zip, or a tar without its packing, or with that of gzip.
    file: File,
    packing: Packing,
    /// Its size as it came.
    size: u64,
    /// The most that is read of what was packed.
    most: u64,
    /// What a program of the host complained that did not unpack all of it.
    complaint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Zip,
    /// By a program of the host, and its package.
    Program(&'static str, &'static str),
}

impl Packing {
    fn of(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Program("xz", "xz-utils (xz on other systems than Debian)"),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Program("zstd", "zstd"),
            [b'B', b'Z', b'h', ..] => Self::Program("bzip2", "bzip2"),
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Self::Zip,
            _ => Self::None,
        }
    }
}

impl Archive {
    /// Opens what is in the file [`ARCHIVE`] of the private directory. Where it takes a program of the host to unpack it,
    /// [`PLAIN`] becomes what was packed.
    pub(super) fn open(
        mut file: File,
        new: &Directory,
        programs: &Programs<'_>,
        limits: &UnpackLimits,
    ) -> Checked<Self> {
        let size = file.metadata().map_err(unreadable)?.len();
        file.rewind().map_err(unreadable)?;
        let mut first = Vec::new();
        (&file).take(6).read_to_end(&mut first).map_err(unreadable)?;
        // What is denser is refused, and need not be on the disk for that.
        let bytes = limits.bytes.min(limits.ratio.saturating_mul(size).max(SMALL));
        let most = bytes.saturating_add(limits.entries.saturating_mul(ENTRY)).saturating_add(MORE);
        let packing = Packing::of(&first);
        let mut archive = Self { file, packing, size, most, complaint: None };
        if let Packing::Program(program, package) = packing {
            if !programs.has(program) {
                let why = format!("it takes {program} to unpack it, and this host has none: add the package {package}");
                return Err(Failure::new(why).into());
            }
            archive.unpack(program, new, programs)?;
            archive.packing = Packing::None;
        }
        Ok(archive)
    }

    /// Its size as it came, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Visits each member. What is in an archive that ends early is visited first: it tells more than that it ends early.
    pub(super) fn each(&self, visit: &mut Visit<'_>) -> Checked {
        let mut file = &self.file;
        file.rewind().map_err(unreadable)?;
        let read = match self.packing {
            Packing::Zip => zipped::each(file, visit),
            Packing::Gzip => {
                let mut from = Gzip::new(BufReader::with_capacity(1 << 16, file)).take(self.most);
                // Its checksum is at the end.
                tarball::each(&mut from, visit)
                    .and_then(|()| std::io::copy(&mut from, &mut std::io::sink()).map(drop).map_err(unreadable))
            }
            Packing::None | Packing::Program(..) => {
                tarball::each(&mut BufReader::with_capacity(1 << 16, file).take(self.most), visit)
            }
        };
        match (read, &self.complaint) {
            (Ok(()) | Err(Fault::Unreadable(_)), Some(why)) => Err(Fault::Unreadable(why.clone())),
            (read, _) => read,
        }
    }

    /// Lets a program of the host write what was packed into another file, and not more than there may be.
    fn unpack(&mut self, program: &str, new: &Directory, programs: &Programs<'_>) -> Result {
        let failed = |why: &str| Failure::new(format!("the archive cannot be unpacked: {why}"));
        let mut plain = create(new, PLAIN).map_err(|errno| failed(&told(errno)))?;
        let (mut count, mut error) = (0_u64, None);
        let limits =
            Limits { time: TIME, stdout: Kept::first(0), stderr: Kept::last(COMPLAINT), leftover: Leftover::Ignored };
        let ended = programs.run(&filter(program, new), &limits, &mut |heard| {
            let Heard::Stdout(bytes) = heard else { return ControlFlow::Continue(()) };
            count += bytes.len() as u64;
            error = error.take().or_else(|| plain.write_all(bytes).err());
            if error.is_some() || count > self.most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if let Some(error) = error {
            return Err(failed(&told(number(&error))));
        }
        self.complaint = (ended.exit != 0 && count <= self.most).then(|| complaint(&ended, program));
        self.file = plain;
        Ok(())
    }
}

fn complaint(ended: &Ended, program: &str) -> String {
    let said = ended.complaint();
    if said.is_empty() { format!("{program} ended with the exit code {}", ended.exit) } else { said }
}

/// The program reads the archive by the handle of its directory, which it can open because it runs as we do.
fn filter(program: &str, new: &Directory) -> Command {
    let (process, handle) = (rustix::process::getpid().as_raw_nonzero(), new.as_fd().as_raw_fd());
    let archive = format!("/proc/{process}/fd/{handle}/{ARCHIVE}");
    Command::new([program, "-dc", "--", &archive])
}

/// What gzip packed: one or several streams. What follows them is left alone, as gzip does.
struct Gzip<R> {
    /// None after the last one.
    stream: Option<GzDecoder<R>>,
}

impl<R: BufRead> Gzip<R> {
    fn new(from: R) -> Self {
        Self { stream: Some(GzDecoder::new(from)) }
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while let Some(stream) = &mut self.stream {
            let count = stream.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let mut rest = self.stream.take().map(GzDecoder::into_inner);
            let first = rest.as_mut().map(|rest| rest.fill_buf().map(|bytes| bytes.first().copied())).transpose()?;
            if first.flatten() == Some(0x1f) {
                self.stream = rest.map(GzDecoder::new);
            }
        }
        Ok(0)
    }
}
