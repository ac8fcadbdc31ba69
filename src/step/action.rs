//! What can be done to a host, and how that ended.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ApiRequest, Command, Digest, Gate, Manager, Ownership, Snapshot, guarded, span};
use crate::edit::Edit;
use crate::name::{Owner, RoleName};
use crate::secret::{Content, LargeFile};

/// One literal action. Nothing is decided while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Writes a file: beside it, private, flushed to disk, then renamed over it. The old or the new file is there
    /// at any instant, never a part.
    WriteFile {
        /// Absolute, or in a home: see [`home_of`](super::home_of); its directory exists.
        path: String,
        /// All of it.
        content: Content,
        /// Who may do what with it.
        ownership: Ownership,
    },
    /// Writes a large file of the project, as [`Step::WriteFile`] does. Its bytes travel when the step begins, in pieces, once
    /// for each content; others than those it is named by are thrown away.
    SendFile {
        /// Absolute, or in a home: see [`home_of`](super::home_of); its directory exists.
        path: String,
        /// What it is to be.
        file: LargeFile,
        /// Who may do what with it.
        ownership: Ownership,
    },
    /// Fails unless a file is still what the plan was made for.
    Unchanged {
        /// Absolute, or in a home: see [`home_of`](super::home_of).
        path: String,
        /// Of its content; none if there was no file.
        #[serde(with = "guarded")]
        digest: Option<Digest>,
    },
    /// Changes a part of a file whose content is known only when its turn comes: it is read, changed and written, with
    /// everything that [`Step::Unchanged`] and [`Step::WriteFile`] do. Where there is nothing to change, nothing is written.
    EditFile {
        /// Absolute, or in a home: see [`home_of`](super::home_of).
        path: String,
        /// What changes.
        edit: Edit,
        /// Who may do what with a file that is not there yet; `None` if it is an error that it is not.
        create: Option<Ownership>,
    },
    /// Makes a directory and its parents, or gives an existing one these attributes.
    MakeDirectory {
        /// Absolute, or in a home: see [`home_of`](super::home_of).
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
        /// Absolute, or in a home: see [`home_of`](super::home_of).
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
        /// Absolute, or in a home: see [`home_of`](super::home_of).
        path: String,
    },
    /// Removes all those copies, and what was kept to be put back for changes that are over.
    DropCopies {
        /// Whose.
        #[serde(rename = "environment")]
        owner: Owner,
    },
    /// Lets the host put back what a snapshot of this name holds, unless it is told in time that all is well: when the time
    /// is over, and at every boot. Fails before anything is done where a host cannot do that by itself. See [`deadman`](super::deadman).
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
    RunUnless(Command, Box<Command>),
    /// Runs a program. Where it ends with the exit code of the first alternative, that is run in its place, then perhaps the
    /// next.
    RunOr(Command, Vec<Alternative>),
    /// Sends a request to a web API. An answer with another status than 2xx is an error.
    Send(Box<Sending>),
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

/// A request to a web API, and when it is not needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sending {
    /// What is sent.
    pub request: ApiRequest,
    /// Statuses that are success beside 2xx.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<u16>,
    /// Where this is answered by 2xx right before it, nothing is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<ApiRequest>,
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

impl Step {
    /// The large file that it needs.
    pub fn large_file(&self) -> Option<&LargeFile> {
        match self {
            Self::SendFile { file, .. } => Some(file),
            Self::Unpack(unpacking) => match &unpacking.source {
                Packed::Large(file) => Some(file),
                Packed::Content(_) | Packed::Remote(_) | Packed::Files(_) => None,
            },
            _ => None,
        }
    }
}

/// Where an archive comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Packed {
    /// It travels with the step.
    Content(Content),
    /// A large file of the project, which travels when the step begins.
    Large(LargeFile),
    /// The host fetches it.
    Remote(Remote),
    /// No archive: the host fetches each of these files, all within the longest of their times.
    Files(Vec<PackedFile>),
}

/// A file that the host fetches into an unpacked directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackedFile {
    /// What it is called there: a name, or a path below the directory.
    pub name: String,
    /// Where it comes from.
    pub remote: Remote,
    /// Set: it is an archive that becomes a directory of this name, and so many directories are taken off the front of each
    /// name in it. Else it stays the file that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strip: Option<u32>,
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
