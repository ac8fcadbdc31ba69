//! A plan in a file, to be shown, discussed and carried out later, on another machine or by somebody else.
//!
//! In: a plan, and the catalog it was made from. Out: the bytes of a file; from these the same plan and catalog again, or
//! why not; and what moved on the hosts since. Never: a file, a clock, a random number, or a secret in clear.
//!
//! # The format
//!
//! One JSON document of a few lines, so that `head -2` says what it is:
//!
//! ```text
//! {"armilla":"plan","version":1,"digest":"sha256:5e884898da...",
//! "about":{"armilla":"0.1.0","environment":"production","made_at":"2026-11-21T14:02:11Z","made_by":"ada@deck", ...},
//! "plan":{"stages":[...], ...},
//! "catalog":{"services":[...],"items":[...],"hosts":{...}},
//! "key":null,
//! "sealed":null}
//! ```
//!
//! The digest is that of the whole file, byte for byte, with zeros in the place of its own digits. It is no signature:
//! whoever may change the file may change what will be done. It finds what was cut short or touched by accident.
//!
//! Where a secret was, stands `{"sealed":N}`, and `sealed` holds all of them, encrypted as a vault file. The keys of a
//! resource are plain JSON, and `marks` beside them says where in them secrets and bytes are. In a plan with
//! secrets the digests of what was seen on the hosts are keyed with `key`, which is sealed, too, and the digests
//! of what is wanted are sealed: from none of them a short secret can be guessed.
//!
//! A format that was written once is readable for ever: `tests/cases/plan/` holds a file of each.

mod catalog;
mod keys;
mod moved;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

pub use moved::{Look, Moved, Stale};

use super::{Observed, Plan};
use crate::catalog::Catalog;
use crate::inventory::Endpoint;
use crate::ledger::Revision;
use crate::name::EnvName;
use crate::resource;
use crate::secret::{Guard, Secret, Secrets, hiding, sealing, unsealing};
use crate::step::Digest;

/// The format. Another one is refused, never misread.
pub const VERSION: u32 = 1;

/// A larger file is no plan of ours, in bytes, and none is written: one of five hundred resources on two thousand hosts is a
/// quarter of it.
pub const LIMIT: u64 = 1024 * 1024 * 1024;

/// How every file begins.
const BEGINNING: &str = "{\"armilla\":\"plan\",\"version\":";
const DIGITS: usize = 64;

/// What is told about a saved plan before anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The version of armilla that made it.
    pub armilla: String,
    /// Of which environment.
    pub environment: EnvName,
    /// When, by that machine's clock, in RFC 3339.
    pub made_at: String,
    /// `user@machine`.
    pub made_by: String,
    /// The project's revision, if it has one.
    pub revision: Option<Revision>,
    /// The name of the project's folder.
    pub project: String,
    /// The hosts it was limited to, as they were typed.
    pub limit: Option<String>,
    /// The resources it was limited to, in words.
    pub part: Option<String>,
    /// How many hosts that left out.
    pub hosts_left_out: usize,
    /// The hosts that keep the lock of the environment, whatever the plan is limited to.
    pub witnesses: Vec<Endpoint>,
    /// For which hosts.
    pub hosts: Hosts,
    /// What was typed.
    pub command: String,
}

/// For which hosts a plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hosts {
    /// Those of the inventory.
    Real,
    /// Those of a lab that have their names: it is a rehearsal.
    Lab,
}

/// A plan with all that is needed to carry it out and to look again afterwards.
#[derive(Debug, Clone)]
pub struct SavedPlan {
    /// What is told about it.
    pub about: About,
    /// The plan. If a secret is in it, the digests of what was seen are keyed.
    pub plan: Plan,
    /// What it was made from: the hosts that answered.
    pub catalog: Catalog,
    /// The key of the digests of what was seen; none if there is no secret.
    key: Option<Secret<String>>,
}

/// Why a file cannot be used as a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SavedError {
    /// It is larger than [`LIMIT`].
    #[error("it is larger than 1 GiB: limit it to a part of the hosts (`--limit`)")]
    TooLarge,
    /// It does not begin as one.
    #[error("it is not a plan written by `armilla plan -o FILE`")]
    Stranger,
    /// It is of another format.
    #[error("the plan has format {found}, this version reads {VERSION}: use the version that made it, or plan again")]
    Version {
        /// The format it has.
        found: u64,
    },
    /// Its end is missing.
    #[error("it is truncated: copy it again, or plan again")]
    Cut,
    /// Its digest is another one.
    #[error("it was changed after it was written: its digest does not match")]
    Changed,
    /// Its digest fits, and yet it says something that no plan says.
    #[error("it cannot be read: {0}")]
    Broken(String),
    /// A secret in it is needed.
    #[error("it has encrypted secrets")]
    Sealed,
    /// The plan cannot be written.
    #[error("it cannot be written: {0}")]
    Unwritable(String),
}

fn broken(error: impl std::fmt::Display) -> SavedError {
    SavedError::Broken(error.to_string())
}

/// A plan that is written but for its secrets.
pub struct Draft {
    lines: String,
    secrets: Secrets,
}

impl Draft {
    /// The secrets in clear, to be encrypted; none if there is none, and no key is needed.
    pub fn secrets(&self) -> Option<Zeroizing<Vec<u8>>> {
        (!self.secrets.is_empty()).then(|| self.secrets.text())
    }

    /// The bytes of the file and its digest, given the encrypted secrets.
    ///
    /// # Errors
    /// When there are secrets, and they were not encrypted.
    pub fn finish(self, sealed: Option<&str>) -> Result<(Vec<u8>, Digest), SavedError> {
        if sealed.is_none() && !self.secrets.is_empty() {
            return Err(SavedError::Sealed);
        }
        let sealed = serde_json::to_string(&sealed).map_err(|error| SavedError::Unwritable(error.to_string()))?;
        let head = format!("{BEGINNING}{VERSION},\"digest\":\"sha256:");
        let zeros = "0".repeat(DIGITS);
        let mut text = format!("{head}{zeros}\",\n{}\"sealed\":{sealed}}}\n", self.lines).into_bytes();
        if text.len() as u64 > LIMIT {
            return Err(SavedError::TooLarge);
        }
        let digest = Digest::of(&text);
        text[head.len()..head.len() + DIGITS].copy_from_slice(digest.0.as_bytes());
        Ok((text, digest))
    }
}

impl SavedPlan {
    /// A plan that was just made from this catalog. The chance is the key of its digests, if it needs one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(about: About, mut plan: Plan, catalog: Catalog, chance: &[u8; 32]) -> Result<Self, SavedError> {
        let trial = Self { about, plan: plan.clone(), catalog, key: None };
        let Self { about, catalog, .. } = &trial;
        if trial.draft()?.secrets.is_empty() {
            return Ok(trial);
        }
        let key = Secret::new(chance.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")));
        for (_, digest) in plan.bases.values_mut().flat_map(|base| &mut base.seen) {
            *digest = keyed(&key, digest);
        }
        Ok(Self { about: about.clone(), plan, catalog: catalog.clone(), key: Some(key) })
    }

    /// All of it as text but the secrets, which are apart.
    ///
    /// # Errors
    /// When something in it cannot be written.
    pub fn draft(&self) -> Result<Draft, SavedError> {
        let guard = if self.key.is_some() { Guard::Digests } else { Guard::Secrets };
        let (lines, secrets) = sealing(guard, || self.lines());
        let lines = lines.map_err(|error| SavedError::Unwritable(error.to_string()))?;
        Ok(Draft { lines, secrets })
    }

    fn lines(&self) -> serde_json::Result<String> {
        Ok(format!(
            "\"about\":{},\n\"plan\":{},\n\"catalog\":{},\n\"key\":{},\n",
            serde_json::to_string(&self.about)?,
            serde_json::to_string(&self.plan)?,
            serde_json::to_string(&catalog::Stored::of(&self.catalog))?,
            serde_json::to_string(&self.key)?,
        ))
    }

    /// What moved on the hosts since the plan was made, given what they answer now to [`Catalog::questions`]. The digest
    /// is that of the file.
    pub fn moved(&self, digest: &Digest, now: &Observed) -> Look {
        moved::look(self, digest, now)
    }

    /// The digest of something seen, as it is in this plan.
    fn marked(&self, seen: &str) -> Digest {
        let digest = Digest::of(seen.as_bytes());
        self.key.as_ref().map_or_else(|| digest.clone(), |key| keyed(key, &digest))
    }

    /// Refuses what would lead elsewhere than a plan of ours can.
    fn check(&self) -> Result<(), SavedError> {
        check(&self.about, &self.plan)?;
        if self.catalog.owner != self.plan.owner {
            return Err(broken("its catalog is for another environment or project"));
        }
        Ok(())
    }
}

/// A digest that only who has the key could have made.
fn keyed(key: &Secret<String>, digest: &Digest) -> Digest {
    // The block of HMAC-SHA256 has 64 bytes, and so has the text of the key.
    let mut block = [0; 64];
    let bytes = key.expose().as_bytes();
    let length = bytes.len().min(block.len());
    block[..length].copy_from_slice(&bytes[..length]);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(digest.0.as_bytes());
    let sum = mac.finalize().into_bytes();
    Digest(sum.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}

fn check(about: &About, plan: &Plan) -> Result<(), SavedError> {
    if *plan.environment() != about.environment {
        return Err(broken("its plan is for another environment"));
    }
    for (id, stage) in plan.stages.iter().enumerate() {
        if stage.after.iter().any(|(before, _)| *before >= id) {
            return Err(broken(format!("its stage {id} waits for a later stage")));
        }
        if let Some(host) = stage.work.host().filter(|host| !plan.endpoints.contains_key(*host)) {
            return Err(broken(format!("it has no connection for {host}")));
        }
    }
    let mut addresses = plan.entries().map(|entry| &entry.address);
    match addresses.find(|address| resource::kind(address.kind).is_none()) {
        Some(address) => Err(broken(format!("unknown kind `{}`", address.kind.escape_debug()))),
        None => Ok(()),
    }
}

/// What every format has.
#[derive(Deserialize)]
struct Versioned {
    armilla: String,
    version: u64,
}

/// What can be read without a key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    #[serde(rename = "armilla")]
    _armilla: String,
    #[serde(rename = "version")]
    _version: u64,
    #[serde(rename = "digest")]
    _digest: String,
    about: About,
    plan: Plan,
    #[serde(rename = "catalog")]
    _catalog: serde::de::IgnoredAny,
    #[serde(rename = "key")]
    _key: serde::de::IgnoredAny,
    sealed: Option<String>,
}

/// What needs one, if there are secrets.
#[derive(Deserialize)]
struct Whole {
    about: About,
    plan: Plan,
    catalog: catalog::Stored,
    key: Option<Secret<String>>,
}

/// A file that is whole and unchanged.
#[derive(Debug)]
pub struct File {
    /// What is told about the plan.
    pub about: About,
    /// The plan without its secrets: to be shown, and for nothing else.
    pub shown: Plan,
    /// The digest of the file.
    pub digest: Digest,
    /// Its secrets, encrypted.
    pub sealed: Option<String>,
    text: String,
}

/// Whether these bytes are a plan of any format, whole or not.
pub fn is_plan(bytes: &[u8]) -> bool {
    bytes.starts_with(BEGINNING.as_bytes())
}

impl File {
    /// Reads what can be read without a key.
    ///
    /// # Errors
    /// When it is no plan, of another format, damaged or changed.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, SavedError> {
        if bytes.len() as u64 > LIMIT {
            return Err(SavedError::TooLarge);
        }
        let digest = verified(&bytes)?;
        let text = String::from_utf8(bytes).map_err(|_| SavedError::Changed)?;
        let Open { about, plan, sealed, .. } = hiding(|| serde_json::from_str(&text)).map_err(broken)?;
        check(&about, &plan)?;
        Ok(Self { about, shown: plan, digest, sealed, text })
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Reads everything, given what was sealed.
    ///
    /// # Errors
    /// When something in it is not understood, or secrets are missing.
    pub fn open(&self, secrets: Option<&Secret<Vec<u8>>>) -> Result<SavedPlan, SavedError> {
        let secrets = match (&self.sealed, secrets) {
            (None, _) => Secrets::default(),
            (Some(_), None) => return Err(SavedError::Sealed),
            (Some(_), Some(plain)) => Secrets::parse(plain.expose()).map_err(SavedError::Broken)?,
        };
        let saved = unsealing(secrets, || {
            let Whole { about, plan, catalog, key } = serde_json::from_str(&self.text).map_err(broken)?;
            let catalog = catalog.catalog(plan.owner.clone(), plan.secrets.clone());
            Ok(SavedPlan { about, plan, catalog: catalog.map_err(SavedError::Broken)?, key })
        })?;
        saved.check()?;
        Ok(saved)
    }
}

/// The digest of a file, if it is the one it names.
fn verified(bytes: &[u8]) -> Result<Digest, SavedError> {
    let rest = bytes.strip_prefix(BEGINNING.as_bytes()).ok_or_else(|| stranger(bytes))?;
    let number = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let version = std::str::from_utf8(&rest[..number]).ok().and_then(|digits| digits.parse().ok());
    match version {
        Some(found) if found != u64::from(VERSION) => return Err(SavedError::Version { found }),
        None => return Err(SavedError::Stranger),
        Some(_) => {}
    }
    let place = BEGINNING.len() + number + ",\"digest\":\"sha256:".len();
    let Some(named) = bytes.get(place..place + DIGITS) else { return Err(SavedError::Cut) };
    let named = Digest(String::from_utf8_lossy(named).into_owned());
    let mut text = bytes.to_vec();
    text[place..place + DIGITS].fill(b'0');
    match () {
        () if Digest::of(&text) == named => Ok(named),
        () if !bytes.ends_with(b"}\n") => Err(SavedError::Cut),
        () => Err(SavedError::Changed),
    }
}

/// It does not begin as a plan: it may be one that something wrote anew.
fn stranger(bytes: &[u8]) -> SavedError {
    match serde_json::from_slice::<Versioned>(bytes) {
        Ok(Versioned { armilla, version }) if armilla == "plan" && version == u64::from(VERSION) => SavedError::Changed,
        Ok(Versioned { armilla, version }) if armilla == "plan" => SavedError::Version { found: version },
        _ => SavedError::Stranger,
    }
}
