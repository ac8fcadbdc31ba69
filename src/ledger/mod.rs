//! What armilla owns on one host, and what it last made of it.
//!
//! In: the texts that a host keeps (a ledger, and the journal of what was done since it was written). Out: a [`Ledger`],
//! with everything in the journal worked in; the same as text again. Never: a host, a clock, or a secret.
//!
//! A ledger belongs to one environment of one project and lies on the host itself, so there is no central state to lose. It is replaced
//! as a whole at the end of a run; until then the journal beside it says what was begun and what was done.

mod journal;
mod records;
mod settle;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

pub use journal::{Intended, Intent, Journal, Reached, StageRecord};
pub use records::{Records, Standing};
pub use settle::{Found, Parted};

use crate::name::{Address, EnvName, RoleName, RunId, ServiceName};
use crate::resource::Verb;
use crate::secret::{Datum, as_text};
use crate::step::Digest;

/// The format. A newer one is refused, never misread.
pub const VERSION: u32 = 1;

/// Where a resource lives on its host: an [`crate::name::Address`] without the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceKey {
    /// The role that wants it.
    pub role: RoleName,
    /// The word in YAML.
    pub kind: String,
    /// What it owns on the host.
    pub target: String,
}

impl From<&Address> for ResourceKey {
    fn from(address: &Address) -> Self {
        Self { role: address.role.clone(), kind: address.kind.to_string(), target: address.target.clone() }
    }
}

impl std::fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.target)
    }
}

/// Everything armilla knows about its own work on one host for one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Of which environment.
    pub environment: EnvName,
    /// How many runs have changed this host. A plan made at one number is refused at another.
    pub generation: u64,
    /// The last run that changed something here.
    pub last: Option<Applied>,
    /// The last run after which everything was as it should be.
    pub converged: Option<Applied>,
    /// What armilla made or changed here.
    pub owned: BTreeMap<ResourceKey, Owned>,
    /// Restarts and reloads that are owed: something changed, and the service has not heard of it.
    pub pending: BTreeMap<ResourceKey, Pending>,
}

/// A run, as a host remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Which.
    pub run: RunId,
    /// The digest of its plan.
    pub plan: Digest,
    /// When it began, by the controller's clock, in RFC 3339.
    pub at: String,
    /// `user@machine`.
    pub who: String,
    /// The project's revision.
    pub revision: Option<Revision>,
}

/// A revision of a project's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The whole name of the commit.
    pub commit: String,
    /// Whether something in the project was not committed.
    pub dirty: bool,
}

/// One thing armilla made or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a plain fact, written down by itself")]
pub struct Owned {
    /// The digest of the keys that were wanted: another one means that the files of the project changed.
    pub want: Digest,
    /// Whether it was there before.
    pub origin: Origin,
    /// What it looked like after the last change (a digest of [`crate::resource::Kind::imprint`]); none if the run was
    /// interrupted before it could look.
    pub imprint: Option<Digest>,
    /// What [`Self::imprint`] may be while it is none.
    #[serde(default, skip_serializing_if = "Expected::is_unknown")]
    pub expected: Expected,
    /// The keys that take it away; none if it cannot be taken away.
    pub absent: Option<serde_json::Value>,
    /// Its place among the resources of the host: what comes later is taken away first.
    pub order: u32,
    /// Whether it must stay even if nothing wants it any more.
    pub protect: bool,
    /// The service it was made for, if any.
    pub service: Option<ServiceName>,
    /// What a change of it asks of the services of its role: taking it away is a change, too.
    pub notify: Option<Verb>,
    /// Whether it was there after the last change; not if it was wanted away.
    pub there: bool,
    /// Whether its last change was seen to end well.
    pub done: bool,
    /// Whether taking it away was begun: what is left of it goes without another question. If that was done to its end, it
    /// stayed, because something was in it or needed it.
    pub leaving: bool,
    /// The run that last changed it.
    pub run: RunId,
    /// When, by the controller's clock, in RFC 3339.
    pub since: String,
}

/// How something looks that a run began to change, as far as its plan could tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// It is not known.
    #[default]
    Unknown,
    /// It makes no difference.
    Any,
    /// As one of these imprints: a run may have ended between two steps.
    Among(#[serde(with = "crate::step::guarded::many")] Vec<Digest>),
}

impl Expected {
    /// Whether it is not known.
    pub fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }

    /// Whether something that looks so is as expected, if that is known.
    pub fn fits(&self, imprint: &Digest) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Any => Some(true),
            Self::Among(imprints) => Some(imprints.contains(imprint)),
        }
    }

    /// The same for something that looked so before a change which may not have been done.
    #[must_use]
    fn or(mut self, before: &Owned) -> Self {
        if let Self::Among(imprints) = &mut self {
            let more = match (&before.imprint, &before.expected) {
                (Some(imprint), _) => std::slice::from_ref(imprint),
                (None, Self::Among(imprints)) => imprints,
                (None, Self::Unknown | Self::Any) => &[],
            };
            for imprint in more.iter().filter(|_| before.origin != Origin::Found) {
                if !imprints.contains(imprint) {
                    imprints.push(imprint.clone());
                }
            }
        }
        self
    }
}

/// Whose a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It was not there: armilla made it.
    Made,
    /// It was there: armilla changed it. It is never taken away.
    Found,
    /// It was there, and a person gave it to armilla (`armilla import`).
    Imported,
}

/// A service that has not heard of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// What it is owed.
    pub verb: Verb,
    /// What changed.
    pub because: Vec<ResourceKey>,
    /// The boot of the host in which that was: after another boot, what runs was started since.
    pub boot: String,
    /// The run in which that was.
    pub run: RunId,
}

/// The digest of what is wanted: of a kind and its keys, in whatever order they are written.
pub fn want(kind: &str, keys: &Datum) -> Digest {
    Digest::of(format!("{kind} {}", in_order(keys)).as_bytes())
}

/// As JSON with the entries of every map in the order of their names. Ledgers keep the digest of it, so it stays as it is:
/// secrets, bytes and large files are maps of one entry, and data that looks like one of these gets another name.
fn in_order(value: &Datum) -> serde_json::Value {
    match value {
        Datum::Secret(secret) => serde_json::json!({ "$secret": as_text(secret).expose() }),
        Datum::Bytes(bytes) => serde_json::json!({ "$bytes": STANDARD.encode(bytes) }),
        Datum::Large(file) => serde_json::json!({ "$sha256": file.sha256 }),
        Datum::Map(entries) => {
            let sorted: BTreeMap<&String, serde_json::Value> =
                entries.iter().map(|(key, value)| (key, in_order(value))).collect();
            sorted.into_iter().map(|(key, value)| (apart(key), value)).collect()
        }
        Datum::List(items) => items.iter().map(in_order).collect(),
        plain => plain.exposed(),
    }
}

/// The key of a map of data, never that of a secret, of bytes or of a large file.
fn apart(key: &str) -> String {
    let word = key.trim_start_matches('$');
    if word.len() < key.len() && ["secret", "bytes", "sha256"].contains(&word) {
        format!("${key}")
    } else {
        key.to_owned()
    }
}

/// Why a ledger cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// It is from a newer armilla.
    #[error("its ledger has format {found}, this version reads {VERSION}: upgrade armilla")]
    Newer {
        /// The format it has.
        found: u32,
    },
    /// It is no ledger.
    #[error("its ledger cannot be read: {0}")]
    Broken(String),
}

/// The text on a host. A list, because a map's keys are texts.
#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    environment: EnvName,
    generation: u64,
    last: Option<Applied>,
    converged: Option<Applied>,
    owned: Vec<(ResourceKey, Owned)>,
    pending: Vec<(ResourceKey, Pending)>,
}

/// The same with only the names of what is owned.
#[derive(Deserialize)]
struct OwnedNames {
    owned: Vec<(ResourceKey, serde::de::IgnoredAny)>,
}

/// What every format has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Reads a text of this format.
fn read<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, LedgerError> {
    let broken = |error: serde_json::Error| LedgerError::Broken(error.to_string());
    let Versioned { version } = serde_json::from_slice(text).map_err(broken)?;
    if version > VERSION {
        return Err(LedgerError::Newer { found: version });
    }
    serde_json::from_slice(text).map_err(broken)
}

impl Ledger {
    /// Of a host on which armilla has not yet worked.
    pub fn new(environment: EnvName) -> Self {
        Self {
            environment,
            generation: 0,
            last: None,
            converged: None,
            owned: BTreeMap::new(),
            pending: BTreeMap::new(),
        }
    }

    /// Reads the text of a host.
    ///
    /// # Errors
    /// When it is of a newer format, or none.
    pub fn parse(text: &[u8]) -> Result<Self, LedgerError> {
        let file: File = read(text)?;
        Ok(Self {
            environment: file.environment,
            generation: file.generation,
            last: file.last,
            converged: file.converged,
            owned: file.owned.into_iter().collect(),
            pending: file.pending.into_iter().collect(),
        })
    }

    /// What is owned by the text of a host, and nothing about it: a fraction of the work of [`Self::parse`].
    ///
    /// # Errors
    /// As there.
    pub fn places(text: &[u8]) -> Result<Vec<ResourceKey>, LedgerError> {
        let names: OwnedNames = read(text)?;
        Ok(names.owned.into_iter().map(|(place, _)| place).collect())
    }

    /// The text for a host.
    pub fn text(&self) -> Vec<u8> {
        let file = File {
            version: VERSION,
            environment: self.environment.clone(),
            generation: self.generation,
            last: self.last.clone(),
            converged: self.converged.clone(),
            owned: self.owned.iter().map(|(place, owned)| (place.clone(), owned.clone())).collect(),
            pending: self.pending.iter().map(|(place, pending)| (place.clone(), pending.clone())).collect(),
        };
        // Nothing in it can fail to be written: its keys are texts.
        let mut text = serde_json::to_vec(&file).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Reads what a host keeps, with the journal worked in.
    ///
    /// # Errors
    /// When the ledger is of a newer format, or none.
    pub fn of(environment: &EnvName, ledger: Option<&[u8]>, journal: Option<&[u8]>) -> Result<Self, LedgerError> {
        let mut known = ledger.map_or_else(|| Ok(Self::new(environment.clone())), Self::parse)?;
        if let Some(journal) = journal {
            known.work_in(&Journal::parse(journal)?);
        }
        Ok(known)
    }
}
