//! What an archive says of one thing in it, and what can be wrong with an archive.

use std::io::Read;

use rustix::fs::RawMode;

use crate::host::Failure;
use crate::host::program::described;

/// The most that is told of what a program complained, in characters.
const COMPLAINT: usize = 2000;

/// One thing in an archive, as the archive has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    /// Bytes of content.
    pub(super) size: u64,
    /// Permission bits.
    pub(super) mode: RawMode,
    /// When it was changed, in seconds since 1970.
    pub(super) modified: Option<u64>,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    /// A symbolic link with this target.
    Link(Vec<u8>),
    /// Another name of what has this one in the archive.
    HardLink(Vec<u8>),
    /// A device, a pipe or something else, with its letter in the lists of GNU tar.
    Other(char),
}

/// What gets each member with its content, in the order of the archive.
pub(super) type Visit<'a> = dyn FnMut(&Member, &mut dyn Read) -> Checked + 'a;

/// What comes of reading an archive.
pub(super) type Checked<T = ()> = std::result::Result<T, Fault>;

/// Why an archive is not unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It has something in it that must not be there.
    Refused(String),
    /// It is damaged, or of a kind that is not known.
    Unreadable(String),
    /// It is not the fault of the archive.
    Failed(Failure),
}

impl Fault {
    /// The same for a person; `path` is what the archive was to become.
    pub(super) fn told(self, path: &str) -> Failure {
        match self {
            Self::Refused(why) => Failure::new(format!("the archive is refused: {why}")),
            Self::Unreadable(why) => {
                let why: String = why.chars().take(COMPLAINT).collect();
                Failure::new(format!("{path}: the archive cannot be read: {why}"))
            }
            Self::Failed(failure) => failure,
        }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What went wrong while an archive was read.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(super) fn unreadable(error: std::io::Error) -> Fault {
    Fault::Unreadable(described(&error))
}
