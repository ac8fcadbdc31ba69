//! All that kinds and transports may say to each other: what can be asked of a host, what it answers,
//! and what can be done to it.
//!
//! In: nothing. Out: closed lists of values, with argument vectors and never shell text; quoting happens once,
//! in the transport. Never: a decision.

mod check;
pub mod deadman;
pub mod guarded;
pub mod span;
mod undo;
mod unit;
mod web;

use std::collections::BTreeMap;
use std::time::Duration;

pub use check::{Check, Expect, Gate, STRETCH, Statuses, WITHIN, WebAnswer};
pub use web::{HttpReading, HttpRequest, Method, Trust};

use check::question;
pub use undo::{Snapshot, Touched};
pub use unit::{RESTARTED, SETTLED, UnitReading};

use crate::edit::Edit;
use crate::name::{HostName, Owner, RoleName};
use crate::secret::Content;

/// A SHA-256 digest in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Digest(pub String);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = |byte: u8| [byte >> 4, byte & 15].map(|half| char::from(DIGITS[usize::from(half)]));
        Self(sha2::Sha256::digest(bytes).into_iter().flat_map(digits).collect())
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
    /// A program with its arguments, ten minutes, and nothing special.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            stdin: Content::from(""),
            environment: BTreeMap::new(),
            user: None,
            directory: None,
            timeout: Duration::from_secs(600),
            touches: Touches::Unknown,
            waits_for: None,
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

/// Something to ask a host. Asking changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Probe {
    /// What is at a path (not following a link); nothing below the home of a user who is not there.
    /// Answer: [`Reading::Path`].
    Path {
        /// Absolute, or in a home: see [`home_of`].
        path: String,
        /// Whether its content is wanted.
        content: Fetch,
    },
    /// A package of the host's own package manager. Answer: [`Reading::Package`].
    Package(String),
    /// A user account. Answer: [`Reading::User`].
    User(String),
    /// The groups a user is in. Answer: [`Reading::Membership`].
    Membership(String),
    /// A group of users. Answer: [`Reading::Group`].
    Group(String),
    /// A systemd unit, with its suffix: `ssh.service`. Answer: [`Reading::Unit`].
    Unit(String),
    /// A program that only looks. Answer: [`Reading::Command`].
    Command(Command),
    /// Whether something accepts TCP connections, asked on the host itself. Answer: [`Reading::Port`].
    Port {
        /// An IP address or name, as the host sees it.
        address: String,
        /// The port.
        port: u16,
        /// How long the answer may take; after that it accepts none.
        #[serde(default = "question", with = "span")]
        timeout: Duration,
    },
    /// A request of a web server, made by the host itself. Answer: [`Reading::Http`].
    Http(HttpRequest),
    /// What armilla itself keeps on the host, for every environment of every project. Answer: [`Reading::State`].
    State,
}

impl Probe {
    /// What is at the directory that holds a path; none of the root, and of what is in a home.
    pub fn directory_of(path: &str) -> Option<Self> {
        let (directory, _) = path.rsplit_once('/').filter(|(directory, _)| directory.starts_with('/'))?;
        Some(Self::Path { path: directory.to_owned(), content: Fetch::Digest })
    }

    /// Whether a port accepts connections, with ten seconds for the answer.
    pub fn port(address: impl Into<String>, port: u16) -> Self {
        Self::Port { address: address.into(), port, timeout: question() }
    }
}

/// Whether a probe brings a file's content along.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fetch {
    /// Only its digest.
    Digest,
    /// Its content, unless it has this digest (then we know it) or is larger than [`FETCH_LIMIT`].
    Unless(Digest),
    /// Its content, unless it is larger than [`FETCH_LIMIT`].
    Always,
}

/// The largest file whose content a probe brings along, in bytes: enough for any text a person would read as a diff.
pub const FETCH_LIMIT: u64 = 262_144;

/// What a host answered to one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// To [`Probe::Path`].
    Path(PathReading),
    /// To [`Probe::Package`].
    Package(PackageReading),
    /// To [`Probe::User`]; none if there is no such user.
    User(Option<UserReading>),
    /// To [`Probe::Membership`]; none if there is no such user.
    Membership(Option<MembershipReading>),
    /// To [`Probe::Group`]: its number; none if there is no such group.
    Group(Option<u32>),
    /// To [`Probe::Unit`].
    Unit(UnitReading),
    /// To [`Probe::Command`].
    Command(CommandReading),
    /// To [`Probe::Port`].
    Port(PortReading),
    /// To [`Probe::Http`]: the answer, or why there was none.
    Http(Result<HttpReading, String>),
    /// To [`Probe::State`].
    State(Box<StateReading>),
    /// The host could not say; the text is its own words.
    Failed(String),
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathReading {
    /// Nothing.
    Absent,
    /// A regular file.
    File {
        /// Mode, owner and group.
        attributes: Attributes,
        /// In bytes.
        size: u64,
        /// Of its content.
        digest: Digest,
        /// When it was last written, in seconds since 1970 by the host's own clock.
        modified: i64,
        /// Its content, where the probe wanted it.
        content: Option<Vec<u8>>,
    },
    /// A directory.
    Directory(Attributes),
    /// A symbolic link.
    Link {
        /// What it says, unresolved.
        target: String,
        /// When it was made, in seconds since 1970 by the host's own clock.
        modified: i64,
    },
    /// A device, socket or pipe; the word `stat` has for it.
    Other(String),
}

/// Who may do what with a file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: Mode,
    /// User name, or the number where it has none.
    pub owner: String,
    /// Group name, or the number where it has none.
    pub group: String,
}

/// What manages the packages of a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// Debian, Ubuntu.
    #[default]
    Apt,
    /// Fedora, Red Hat 8 and later.
    Dnf,
    /// Red Hat 7.
    Yum,
    /// SUSE.
    Zypper,
    /// Alpine.
    Apk,
    /// Arch.
    Pacman,
}

impl Manager {
    /// All, each with the program it is.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Apt, "apt"),
        (Self::Dnf, "dnf"),
        (Self::Yum, "yum"),
        (Self::Zypper, "zypper"),
        (Self::Apk, "apk"),
        (Self::Pacman, "pacman"),
    ];

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, program)| *program == name).map(|(manager, _)| *manager)
    }

    /// Whether its packages are those of RPM.
    pub fn is_rpm(self) -> bool {
        matches!(self, Self::Dnf | Self::Yum | Self::Zypper)
    }
}

impl std::fmt::Display for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = Self::ALL.iter().find(|(manager, _)| manager == self);
        f.write_str(known.map_or("", |(_, program)| program))
    }
}

/// Whether a host can keep a package from being upgraded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Holding {
    /// It can.
    #[default]
    Able,
    /// Its manager cannot, or wants a plugin for it that is not there.
    Unable,
}

/// A package on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageReading {
    /// What manages it.
    pub manager: Manager,
    /// Whether it could be held.
    pub holding: Holding,
    /// The installed version, if it is wholly installed.
    pub installed: Option<String>,
    /// Whether upgrades hold it back.
    pub held: bool,
    /// Seconds since the package lists were fetched; none if they never were.
    pub lists_age: Option<u64>,
    /// Whether dpkg was stopped in the middle of something, which has to be finished first.
    pub interrupted: bool,
}

/// A user account, as in `passwd(5)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserReading {
    /// Its number.
    pub uid: u32,
    /// The number of its primary group.
    pub gid: u32,
    /// Its home directory.
    pub home: String,
    /// Its login shell.
    pub shell: String,
    /// The comment field.
    pub comment: String,
}

/// The groups a user is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipReading {
    /// The primary group, by name.
    pub group: String,
    /// The supplementary groups, by name, sorted.
    pub groups: Vec<String>,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandReading {
    /// Its exit code; 127 if there is no such program, 124 if it ran out of time.
    pub exit: i32,
    /// What it wrote, up to [`FETCH_LIMIT`] bytes.
    pub stdout: Vec<u8>,
    /// What it complained, up to 16 KiB.
    pub stderr: Vec<u8>,
}

/// Whether a port answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortReading {
    /// It accepts connections.
    Open,
    /// It does not.
    Closed,
}

/// What armilla keeps on a host, and how to recognize the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateReading {
    /// The host's `/etc/machine-id`; empty if it has none.
    pub machine: String,
    /// Its boot id.
    pub boot: String,
    /// What it keeps, for each owner and each name under which an inventory knows this machine.
    pub records: BTreeMap<(Owner, HostName), Record>,
}

/// What a host keeps for one owner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The text of the ledger, if there is one.
    pub ledger: Option<Vec<u8>>,
    /// What was done since it was written, if anything.
    pub journal: Option<Vec<u8>>,
}

/// The answers of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readings(BTreeMap<Probe, Reading>);

/// Why an answer could not be used. Unknown is not false.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

macro_rules! answers {
    ($($(#[$doc:meta])* $name:ident: $variant:ident -> $answer:ty;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// When the probe was not asked, or the host could not answer it.
        pub fn $name(&self, probe: &Probe) -> Result<&$answer, Unreadable> {
            match self.0.get(probe) {
                Some(Reading::$variant(answer)) => Ok(answer),
                Some(Reading::Failed(why)) => Err(Unreadable(why.clone())),
                Some(_) => Err(Unreadable(format!("the host answered something else to {probe:?}"))),
                None => Err(Unreadable(format!("the host did not answer {probe:?}"))),
            }
        }
    )*};
}

impl Readings {
    /// Adds one answer.
    pub fn insert(&mut self, probe: Probe, reading: Reading) {
        self.0.insert(probe, reading);
    }

    /// Adds all of another.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// One answer, as it is.
    pub fn get(&self, probe: &Probe) -> Option<&Reading> {
        self.0.get(probe)
    }

    /// All, in the order of the probes.
    pub fn iter(&self) -> impl Iterator<Item = (&Probe, &Reading)> {
        self.0.iter()
    }

    answers! {
        /// What is at a path.
        path: Path -> PathReading;
        /// A package.
        package: Package -> PackageReading;
        /// A user.
        user: User -> Option<UserReading>;
        /// The groups a user is in.
        membership: Membership -> Option<MembershipReading>;
        /// A group's number.
        group: Group -> Option<u32>;
        /// A unit.
        unit: Unit -> UnitReading;
        /// How a program ended.
        command: Command -> CommandReading;
        /// Whether a port answers.
        port: Port -> PortReading;
        /// What a web server answered.
        http: Http -> Result<HttpReading, String>;
        /// What armilla keeps there.
        state: State -> StateReading;
    }
}

impl FromIterator<(Probe, Reading)> for Readings {
    fn from_iter<I: IntoIterator<Item = (Probe, Reading)>>(answers: I) -> Self {
        Self(answers.into_iter().collect())
    }
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

/// One literal action. Nothing is decided while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Writes a file: beside it, private, flushed to disk, then renamed over it. The old or the new file is there
    /// at any instant, never a part.
    WriteFile {
        /// Absolute, or in a home: see [`home_of`]; its directory exists.
        path: String,
        /// All of it.
        content: Content,
        /// Who may do what with it.
        ownership: Ownership,
    },
    /// Fails unless a file is still what the plan was made for.
    Unchanged {
        /// Absolute, or in a home: see [`home_of`].
        path: String,
        /// Of its content; none if there was no file.
        #[serde(with = "guarded")]
        digest: Option<Digest>,
    },
    /// Changes a part of a file whose content is known only when its turn comes: it is read, changed and written, with
    /// everything that [`Step::Unchanged`] and [`Step::WriteFile`] do. Where there is nothing to change, nothing is written.
    EditFile {
        /// Absolute, or in a home: see [`home_of`].
        path: String,
        /// What changes.
        edit: Edit,
        /// Who may do what with a file that is not there yet; `None` if it is an error that it is not.
        create: Option<Ownership>,
    },
    /// Makes a directory and its parents, or gives an existing one these attributes.
    MakeDirectory {
        /// Absolute, or in a home: see [`home_of`].
        path: String,
        /// Of the last directory; parents get the system's defaults.
        ownership: Ownership,
    },
    /// Makes a symbolic link, replacing a link that is there.
    MakeLink {
        /// Absolute.
        path: String,
        /// What it says.
        target: String,
    },
    /// Changes mode, owner or group.
    SetOwnership {
        /// Absolute, or in a home: see [`home_of`].
        path: String,
        /// What to set.
        ownership: Ownership,
    },
    /// Removes one file, link or empty directory. Nothing there is success.
    Remove {
        /// Absolute.
        path: String,
        /// What it must be; anything else there is an error.
        what: Removable,
    },
    /// Keeps a copy of a regular file among what armilla keeps on the host, for those who can read the ledger only. Anything
    /// else there, or nothing, is left alone.
    KeepCopy {
        /// Whose.
        #[serde(rename = "environment")]
        owner: Owner,
        /// The generation of the ledger that has it last: the folder of the copy.
        generation: u64,
        /// Absolute, or in a home: see [`home_of`].
        path: String,
    },
    /// Removes all those copies, and what was kept to be put back for changes that are over.
    DropCopies {
        /// Whose.
        #[serde(rename = "environment")]
        owner: Owner,
    },
    /// Lets the host put back what a snapshot of this name holds, unless it is told in time that all is well: when the time
    /// is over, and at every boot. Fails before anything is done where a host cannot do that by itself. See [`deadman`].
    Arm {
        /// Whose.
        #[serde(rename = "environment")]
        owner: Owner,
        /// The name of the snapshot.
        name: RoleName,
        /// How long it waits.
        #[serde(with = "span")]
        after: Duration,
    },
    /// Lets the time of [`Step::Arm`] begin anew. Fails if the host has put everything back.
    Extend {
        /// Whose.
        #[serde(rename = "environment")]
        owner: Owner,
        /// The name of the snapshot.
        name: RoleName,
    },
    /// Says that all is well: the change stays. Fails if the host has put everything back. Nothing armed is success.
    Disarm {
        /// Whose.
        #[serde(rename = "environment")]
        owner: Owner,
        /// The name of the snapshot.
        name: RoleName,
    },
    /// Says that it is not well: the host puts everything back at once. If it has done so already, that is success.
    GiveUp {
        /// Whose.
        #[serde(rename = "environment")]
        owner: Owner,
        /// The name of the snapshot.
        name: RoleName,
    },
    /// Fetches a file from a web server, as the host sees it: beside the target, private, checked, then renamed over it.
    Download {
        /// Absolute; its directory exists.
        path: String,
        /// Where it comes from, and what it must be.
        remote: Remote,
        /// Who may do what with it.
        ownership: Ownership,
    },
    /// Unpacks an archive: checked before anything is written, into a private directory beside its place, then renamed.
    Unpack(Box<Unpacking>),
    /// Removes a directory that [`Step::Unpack`] made, with all in it. Nothing there is success.
    RemoveUnpacked {
        /// Absolute.
        path: String,
    },
    /// Fetches the package lists. A plan has it once a host at most.
    RefreshPackages,
    /// Removes packages in one transaction; those that are gone already are left out. Where that would take any other
    /// package along it fails, and nothing is changed.
    RemovePackages(PackageRemoval),
    /// Runs a program; an exit code other than 0 is an error.
    Run(Command),
    /// Runs the first program unless the second says (by exit code 0) that it is not needed.
    RunUnless(Command, Command),
    /// Runs a program. Where it ends with the exit code of the first alternative, that is run in its place, then perhaps the
    /// next.
    RunOr(Command, Vec<Alternative>),
    /// Waits until checks hold.
    Await(Gate),
    /// Puts another ledger in the place of the host's, as [`Step::WriteFile`] does, and takes from its journal what is
    /// worked in. What is left empty is removed.
    SaveLedger {
        /// Whose.
        #[serde(rename = "environment")]
        owner: Owner,
        /// The text; none if nothing is owned there any more.
        #[serde(with = "crate::secret::bytes::optional")]
        ledger: Option<Vec<u8>>,
        /// How many bytes of the journal are worked in.
        journal: u64,
    },
    /// Gives this owner what the host keeps for the same environment of a project that is not known: the ledger of an
    /// earlier armilla. Nothing there is success. Fails while a rollback timer is armed there, which would not find it.
    AdoptLedger {
        /// Whose it becomes.
        #[serde(rename = "environment")]
        owner: Owner,
    },
    /// Keeps what is there before a change: all of it, flushed to disk, or nothing.
    Snapshot(Snapshot),
    /// The change is well: the next [`Step::Snapshot`] of this name begins anew. Until then this one can still be put back.
    Commit {
        /// Whose.
        #[serde(rename = "environment")]
        owner: Owner,
        /// What it was kept under.
        name: String,
    },
    /// Puts back all that was kept, and tells the journal so. What can be put back is, even where something else cannot; then
    /// it is a failure that says what cannot. Done again it gives the same end. With all of it put back already it is not
    /// needed; with nothing kept under that name it fails.
    Undo {
        /// Whose.
        #[serde(rename = "environment")]
        owner: Owner,
        /// What it was kept under.
        name: String,
    },
}

/// Packages that are removed together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageRemoval {
    /// By which program.
    pub manager: Manager,
    /// As it knows them: first the one that is meant, then what goes with it.
    pub names: Vec<String>,
    /// What becomes of what they leave.
    pub leftovers: Leftovers,
    /// Packages that the same plan installs first. Where the removal would take one of these along, it is not needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unless_needed_by: Vec<String>,
}

/// What becomes of the configuration of a package that is removed, and of what its own scripts delete with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Leftovers {
    /// It stays.
    Kept,
    /// It goes. The scripts of a package of apt may delete its data, too.
    Purged,
}

/// What is run in the place of a program that could not do it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alternative {
    /// The exit code by which the program before it says so.
    pub after: i32,
    /// What is run then.
    pub command: Command,
}

/// Something on a web server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// `http://` or `https://`.
    pub url: String,
    /// What it must have; anything else is thrown away.
    pub digest: Digest,
    /// The most that is read, in bytes.
    pub limit: u64,
    /// Added to the request; never followed by a redirect, which could carry them to somebody else.
    pub headers: BTreeMap<String, Content>,
    /// How long it may take.
    #[serde(with = "span")]
    pub timeout: Duration,
}

/// An archive to unpack, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unpacking {
    /// The directory it becomes. Parents that are missing are made.
    pub path: String,
    /// Where the archive comes from.
    pub source: Packed,
    /// How many directories are taken off the front of each name.
    pub strip: u32,
    /// The user that everything in it belongs to.
    pub owner: String,
    /// The group that everything in it belongs to.
    pub group: String,
    /// More than this is refused.
    pub limits: UnpackLimits,
    /// What happens to a directory that is there and was unpacked by armilla. Anything else there is an error.
    pub occupied: Occupied,
    /// What the file [`MARKER`] in the directory will say.
    pub marker: String,
}

/// The file in an unpacked directory that says what it was unpacked from.
pub const MARKER: &str = ".armilla-archive";

/// Where an archive comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Packed {
    /// It travels with the step.
    Content(Content),
    /// The host fetches it.
    Remote(Remote),
}

/// What an archive must not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnpackLimits {
    /// All files together, in bytes.
    pub bytes: u64,
    /// Files, directories and links together.
    pub entries: u64,
    /// How many times larger than the archive all files together may be.
    pub ratio: u64,
}

/// What happens to a directory in the place of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Occupied {
    /// The step fails.
    Refuse,
    /// It is moved away, and removed when the new one is in its place.
    Replace,
}

/// What [`Step::Remove`] may remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Removable {
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A directory with nothing in it.
    EmptyDirectory,
}

/// How one step ended on a host.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// It was done.
    Done,
    /// A guarded step was not needed.
    NotNeeded,
    /// It failed; exit code and the end of what it complained.
    Failed {
        /// The exit code, 124 when it ran out of time.
        exit: i32,
        /// What it wrote to its standard error (or output, if that was empty), up to 16 KiB.
        stderr: String,
    },
}
