//! What can be asked of a host, and what it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{
    AccountUse, Command, Digest, FitnessReading, HttpReading, HttpRequest, Mode, RemovalReading, UnitReading, question,
    span,
};
use crate::name::{HostName, Owner};

/// Something to ask a host. Asking changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Probe {
    /// What is at a path (not following a link); nothing below the home of a user who is not there.
    /// Answer: [`Reading::Path`].
    Path {
        /// Absolute, or in a home: see [`home_of`](super::home_of).
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
    /// What uses an account: processes and crontabs. Answer: [`Reading::AccountUse`].
    AccountUse(String),
    /// What the removal of a package would take along. Answer: [`Reading::Removal`].
    Removal(String),
    /// As whom the host works, which of these programs it has, its clock and free space. Answer: [`Reading::Fitness`].
    Fitness(BTreeSet<String>),
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
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
    /// To [`Probe::AccountUse`]; empty if there is no such user.
    AccountUse(Vec<AccountUse>),
    /// To [`Probe::Removal`]; empty if there is no such package.
    Removal(RemovalReading),
    /// To [`Probe::Fitness`].
    Fitness(FitnessReading),
    /// To [`Probe::State`].
    State(Box<StateReading>),
    /// The host could not say; the text is its own words.
    Failed(String),
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
        #[serde(with = "crate::secret::bytes::optional")]
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
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Holding {
    /// It can.
    #[default]
    Able,
    /// Its manager cannot, or wants a plugin for it that is not there.
    Unable,
}

/// A package on a host.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MembershipReading {
    /// The primary group, by name.
    pub group: String,
    /// The supplementary groups, by name, sorted.
    pub groups: Vec<String>,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct CommandReading {
    /// Its exit code; 127 if there is no such program, 124 if it ran out of time.
    pub exit: i32,
    /// What it wrote, up to [`FETCH_LIMIT`] bytes.
    #[serde(with = "crate::secret::bytes")]
    pub stdout: Vec<u8>,
    /// What it complained, up to 16 KiB.
    #[serde(with = "crate::secret::bytes")]
    pub stderr: Vec<u8>,
}

/// Whether a port answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum PortReading {
    /// It accepts connections.
    Open,
    /// It does not.
    Closed,
}

/// What armilla keeps on a host, and how to recognize the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct StateReading {
    /// The host's `/etc/machine-id`; empty if it has none.
    pub machine: String,
    /// Its boot id.
    pub boot: String,
    /// What it keeps, for each owner and each name under which an inventory knows this machine.
    pub records: BTreeMap<(Owner, HostName), Record>,
}

/// What a host keeps for one owner.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Record {
    /// The text of the ledger, if there is one.
    #[serde(with = "crate::secret::bytes::optional")]
    pub ledger: Option<Vec<u8>>,
    /// What was done since it was written, if anything.
    #[serde(with = "crate::secret::bytes::optional")]
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
        /// What uses an account.
        account_use: AccountUse -> Vec<AccountUse>;
        /// What the removal of a package would take along.
        removal: Removal -> RemovalReading;
        /// What the host says of itself.
        fitness: Fitness -> FitnessReading;
        /// What armilla keeps there.
        state: State -> StateReading;
    }
}

impl FromIterator<(Probe, Reading)> for Readings {
    fn from_iter<I: IntoIterator<Item = (Probe, Reading)>>(answers: I) -> Self {
        Self(answers.into_iter().collect())
    }
}
