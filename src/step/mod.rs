//! All that kinds and transports may say to each other: what can be asked of a host, what it answers,
//! and what can be done to it.
//!
//! In: nothing. Out: closed lists of values, with argument vectors and never shell text; quoting happens once,
//! in the transport. Never: a decision.

mod action;
mod check;
pub mod deadman;
mod fault;
mod fitness;
pub mod guarded;
mod health;
mod reading;
mod removal;
pub mod span;
mod undo;
mod unit;
mod wait;
mod web;

use std::collections::BTreeMap;
use std::time::Duration;

pub use action::{
    Alternative, Leftovers, MARKER, Occupied, Outcome, PackageRemoval, Packed, PackedFile, Remote, Removable, Sending,
    Step, UnpackLimits, Unpacking,
};
pub use check::{Check, Expect, Gate, JsonQuery, STRETCH, Statuses, WITHIN, WebAnswer};
pub use fault::is_account;
pub use fitness::{FitnessReading, Sudo};
pub use health::{FailedCheck, Health, failed, health};
pub use reading::{
    Attributes, CommandReading, FETCH_LIMIT, Fetch, Holding, Manager, MembershipReading, PackageReading, PathReading,
    PortReading, Probe, Reading, Readings, Record, StateReading, Unreadable, UserReading,
};
pub use removal::{AccountUse, RemovalReading};
pub use web::{ApiRequest, HttpReading, HttpRequest, Method, Trust};

pub use undo::{Snapshot, Touched};
pub use unit::{RESTARTED, SETTLED, UnitReading};
pub use wait::{Heard, Wait, WaitStep};

use crate::secret::Content;

/// A SHA-256 digest in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Digest(pub String);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut all = Digesting::default();
        all.add(bytes);
        all.finish()
    }

    /// The digest of all that can be read, and how many bytes that is.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn of_reader(from: &mut impl std::io::Read) -> std::io::Result<(u64, Self)> {
        /// Large enough that reading costs less than digesting.
        const PIECE: usize = 256 << 10;
        let (mut all, mut size, mut piece) = (Digesting::default(), 0, vec![0; PIECE]);
        loop {
            match from.read(&mut piece) {
                Ok(0) => return Ok((size, all.finish())),
                Ok(count) => {
                    size += count as u64;
                    all.add(&piece[..count]);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The digest of bytes that come in pieces.
#[derive(Debug, Clone, Default)]
pub struct Digesting(sha2::Sha256);

impl Digesting {
    /// Takes the next bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        use sha2::Digest as _;
        self.0.update(bytes);
    }

    /// The digest of all of them.
    pub fn finish(self) -> Digest {
        use sha2::Digest as _;
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = |byte: u8| [byte >> 4, byte & 15].map(|half| char::from(DIGITS[usize::from(half)]));
        Digest(self.0.finalize().into_iter().flat_map(digits).collect())
    }
}

/// Permission bits, as in `chmod`: `0o644`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mode(pub u32);

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl std::fmt::Debug for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Mode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Mode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bits = u32::from_str_radix(&text, 8).ok().filter(|bits| *bits <= 0o7777);
        bits.map(Self).ok_or_else(|| serde::de::Error::custom(format!("invalid mode `{}`", text.escape_debug())))
    }
}

/// A program to run on a host. Never through a shell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// What it reads from its standard input; nothing if empty.
    pub stdin: Content,
    /// What it can read at [`Command::FILE`], such as a script: it is only in memory, so that it may hold a secret, and
    /// goes with the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Content>,
    /// Variables added to its environment. Never a secret: others can read it.
    pub environment: BTreeMap<String, String>,
    /// As whom; the connection's user (or root after `become`) if not given.
    pub user: Option<String>,
    /// Where; `/` if not given.
    pub directory: Option<String>,
    /// How long it may take.
    #[serde(with = "span")]
    pub timeout: Duration,
    /// What it changes.
    #[serde(default, skip_serializing_if = "Touches::is_unknown")]
    pub touches: Touches,
    /// What must have ended before it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<WaitsFor>,
    /// How often it is tried again where it fails; not at all if not given. Steps do, questions do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

/// How often a program is tried again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// After the first time.
    pub times: u32,
    /// Between two tries.
    #[serde(with = "span")]
    pub delay: Duration,
}

/// What a program changes on a host, so far as its kind says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Touches {
    /// Anything: what it did cannot be rolled back.
    #[default]
    Unknown,
    /// These things and no others; none if it only reads, fetches lists that fit every change, or tells systemd of files.
    Only(Vec<Touched>),
}

impl Touches {
    fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

/// What a program waits for before it starts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// Others that hold the locks of dpkg. It would wait for them by itself, too, but say nothing until it gives up.
    Dpkg,
    /// The processes of a user, who can only be removed when there are none.
    ProcessesOf(String),
}

impl Command {
    /// The path of the file that a program is given, in its argument vector.
    pub const FILE: &str = "/proc/self/fd/3";

    /// A program with its arguments, ten minutes, and nothing special.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            stdin: Content::from(""),
            file: None,
            environment: BTreeMap::new(),
            user: None,
            directory: None,
            timeout: Duration::from_secs(600),
            touches: Touches::Unknown,
            waits_for: None,
            retry: None,
        }
    }

    /// The same, which changes these things and no others.
    #[must_use]
    pub fn touching(mut self, things: impl IntoIterator<Item = Touched>) -> Self {
        self.touches = Touches::Only(things.into_iter().collect());
        self
    }

    /// The same, which starts only when that has ended.
    #[must_use]
    pub fn waiting_for(mut self, other: WaitsFor) -> Self {
        self.waits_for = Some(other);
        self
    }

    /// The same, with a limit on how long it may take.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same, with one more variable in its environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// The user and the path below it of a path like `~ada/.ssh/authorized_keys`: below the home directory that the host's
/// own accounts have for her when its turn comes. None of an absolute path.
pub fn home_of(path: &str) -> Option<(&str, &str)> {
    let (user, below) = path.strip_prefix('~')?.split_once('/')?;
    Some((user, below))
}

/// Attributes to give; what is `None` stays as it is (or as the system makes it).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ownership {
    /// Permission bits.
    pub mode: Option<Mode>,
    /// User name.
    pub owner: Option<String>,
    /// Group name. Without one, what is new for an owner gets the owner's own.
    pub group: Option<String>,
}

/// How long one question may take, unless it says otherwise.
fn question() -> Duration {
    Duration::from_secs(10)
}
