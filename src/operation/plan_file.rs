//! Plan files: written, read, and their secrets sealed and unsealed.
//!
//! Secrets are sealed with a key of the environment's vault files, so that whoever may open those can apply the plan, on
//! any machine. An environment without one has a key of this machine instead, which is made when it is first needed. A file
//! is for its owner alone, and nothing is overwritten that is not a plan.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Identity, Survey, identity, lock};
use crate::apply;
use crate::catalog::Catalog;
use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::plan::Plan;
use crate::plan::saved::{About, File, Hosts, LIMIT, SavedError, SavedPlan, is_plan};
use crate::secret::Secret;
use crate::settings::ProjectSettings;
use crate::step::Digest;
use crate::store;
use crate::vault::{self, Envelope, Key};
use crate::workspace::{Encrypted, Environment, Keyring, proxy_commands};

/// The vault id of what is sealed with this machine's own key.
const MACHINE: &str = "armilla-machine";

/// Refuses a path at which a plan would overwrite something else.
///
/// # Errors
/// What is there.
pub fn check_place(path: &Path) -> Result<(), Diagnostic> {
    let here = path.display();
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Diagnostic::error(format!("--out: {here} cannot be read: {error}"))),
    };
    if !about.is_file() {
        return Err(Diagnostic::error(format!("--out: {here} is not a file")).hint("give the name of a file"));
    }
    let mut beginning = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(64).read_to_end(&mut beginning));
    match read {
        Ok(0) => Ok(()),
        Ok(_) if is_plan(&beginning) => Ok(()),
        Ok(_) => Err(Diagnostic::error(format!("--out: {here} exists and is not a plan, so it is not overwritten"))
            .hint("give another file, or move this one")),
        Err(error) => Err(Diagnostic::error(format!("--out: {here} cannot be read: {error}"))),
    }
}

/// Encrypts and decrypts the secrets of plans.
pub struct Sealer {
    keys: Arc<Keyring>,
    machine_key: Result<PathBuf, Diagnostic>,
}

impl Sealer {
    /// With the keys of an environment; without any, with this machine's own, which is kept in the folder `state`, if there is
    /// such a folder.
    pub fn new(keys: Arc<Keyring>, state: Result<PathBuf, Diagnostic>) -> Self {
        Self { keys, machine_key: state.map(|state| state.join("plan.key")) }
    }
}

/// Writes a plan to a file.
///
/// # Errors
/// When the file cannot be written, or something else than a plan is there.
pub async fn write(path: &Path, made: &Made, sealer: &Sealer) -> Result<(), Diagnostics> {
    check_place(path)?;
    // A plan is for its owner alone, whoever could read the one before.
    let private = fs::Permissions::from_mode(0o600);
    let closed = if path.exists() { fs::set_permissions(path, private) } else { Ok(()) };
    closed.and_then(|()| store::replace(path, &made.bytes)).map_err(|error| {
        Diagnostic::error(format!("the plan cannot be saved to {}: {error}", path.display()))
            .hint("nothing was changed")
    })?;
    // A plan that cannot be read must show now, not in the night in which it is needed.
    whole(path, &read(path)?, sealer).await.map(drop)
}

/// A plan as it is in a file.
pub struct Made {
    /// The plan.
    pub plan: SavedPlan,
    /// The bytes of the file.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// What its secrets are sealed with, if there are any, and who can apply it therefore.
    pub sealed_with: Option<String>,
}

/// Makes a file of a plan that was just made.
///
/// # Errors
/// When there is no key for its secrets.
pub async fn make(about: About, plan: &Plan, catalog: &Catalog, sealer: &Sealer) -> Result<Made, Diagnostics> {
    let cannot = |why: SavedError| Diagnostic::error(format!("the plan cannot be written: {why}"));
    let plan = SavedPlan::new(about, plan.clone(), catalog.clone(), &identity::random()?).map_err(cannot)?;
    let draft = plan.draft().map_err(cannot)?;
    let secrets = match draft.secrets() {
        Some(secrets) => Some(seal(&secrets, sealer).await?),
        None => None,
    };
    let (bytes, digest) = draft.finish(secrets.as_ref().map(|secrets| secrets.text.as_str())).map_err(cannot)?;
    Ok(Made { plan, bytes, digest, sealed_with: secrets.map(|secrets| secrets.with) })
}

/// What is recorded about a plan of a whole environment.
pub(super) fn about(environment: &Environment, survey: &Survey, identity: &Identity) -> About {
    let witnesses = apply::witnesses(lock::witnesses(environment));
    let folder = environment.root.file_name().map(|name| name.to_string_lossy().into_owned());
    About {
        armilla: env!("CARGO_PKG_VERSION").to_owned(),
        environment: environment.name.clone(),
        made_at: identity.now(),
        made_by: identity.who.clone(),
        revision: survey.revision.clone(),
        project: folder.unwrap_or_default(),
        limit: None,
        part: None,
        hosts_left_out: environment.hosts_left_out(),
        witnesses: witnesses.iter().filter_map(|witness| environment.endpoint(witness)).collect(),
        hosts: if environment.rehearsal.is_some() { Hosts::Lab } else { Hosts::Real },
        command: identity.command.clone(),
    }
}

/// Encrypted secrets, and what with.
struct Sealed {
    text: String,
    with: String,
}

async fn seal(secrets: &[u8], sealer: &Sealer) -> Result<Sealed, Diagnostic> {
    let salt = identity::random()?;
    if let Some(key) = sealer.keys.at_hand().await {
        return Ok(Sealed {
            text: vault::seal(secrets, &key.key, key.id.as_deref(), &salt),
            with: format!("the vault key {}: anyone who has it can apply this plan", key.name),
        });
    }
    let place = sealer.machine_key.as_ref().map_err(Clone::clone)?;
    let key = machine_key(place, Wanted::Made)?;
    let with = format!("this machine's own key, {}: the plan can be applied on this machine only", place.display());
    Ok(Sealed { text: vault::seal(secrets, &key, Some(MACHINE), &salt), with })
}

/// Whether a key is made where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Found,
    Made,
}

fn machine_key(path: &Path, wanted: Wanted) -> Result<Key, Diagnostic> {
    let here = path.display();
    let failed =
        |error: &io::Error| Diagnostic::error(format!("this machine's own key {here} cannot be used: {error}"));
    if wanted == Wanted::Made && !path.exists() {
        make_key(path).map_err(|error| failed(&error))?;
    }
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let problem =
                Diagnostic::error("the secrets in this plan are encrypted with the key of the machine that made it");
            return Err(problem.hint(
                "apply it there, or give the environment a vault key (`vault` in environment.yml) and plan again",
            ));
        }
        Err(error) => return Err(failed(&error)),
    };
    let about = file.metadata().map_err(|error| failed(&error))?;
    if about.permissions().mode() & 0o077 != 0 || about.uid() != nix::unistd::geteuid().as_raw() {
        let problem = Diagnostic::error(format!("other users can read or change this machine's own key {here}"));
        return Err(problem
            .hint(format!("run chmod 600 {here}; if it may have been read or changed, remove it and plan again")));
    }
    let mut bytes = Vec::new();
    file.take(1024).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    Key::new(bytes)
        .ok_or_else(|| Diagnostic::error(format!("this machine's own key {here} is empty")).hint("remove it"))
}

/// Makes a key where none is: whoever comes second takes what the first has made.
fn make_key(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let bytes: [u8; 32] = identity::random().map_err(|problem| io::Error::other(problem.what))?;
    let digits = bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(new, "{digits}")?;
    new.as_file().sync_all()?;
    match new.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

/// Reads a plan file, but for its secrets.
///
/// # Errors
/// When it cannot be read or is no plan.
pub fn read(path: &Path) -> Result<File, Diagnostic> {
    let here = path.display();
    let unreadable = |error: io::Error| Diagnostic::error(format!("{here} cannot be read: {error}"));
    // Opened without waiting: a pipe that nobody writes into is no plan.
    let file = fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(Diagnostic::error(format!("{here} is not a file")));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    File::parse(bytes).map_err(|error| wrong(path, &error))
}

/// Reads everything in a plan file, secrets included.
///
/// # Errors
/// When no key fits, or it says what no plan says.
pub async fn open(
    path: &Path,
    file: &File,
    sealer: &Sealer,
    settings: &ProjectSettings,
) -> Result<SavedPlan, Diagnostics> {
    let saved = whole(path, file, sealer).await?;
    // A file can name any program for its connections: only those run that the project allows.
    let hosts = saved.catalog.hosts.values().map(|host| &host.endpoint).chain(saved.catalog.spare.values());
    let all = hosts.chain(saved.plan.endpoints.values()).chain(&saved.about.witnesses);
    let problems = proxy_commands(all, settings);
    problems.result(saved)
}

async fn whole(path: &Path, file: &File, sealer: &Sealer) -> Result<SavedPlan, Diagnostics> {
    let secrets = match &file.sealed {
        Some(text) => Some(unseal(path, text, sealer).await?),
        None => None,
    };
    file.open(secrets.as_ref()).map_err(|error| wrong(path, &error).into())
}

async fn unseal(path: &Path, text: &str, sealer: &Sealer) -> Result<Secret<Vec<u8>>, Diagnostics> {
    let id = Envelope::parse(text).ok().and_then(|envelope| envelope.id);
    if id.as_deref() != Some(MACHINE) {
        let origin = Origin::start(&Source::secret(format!("{} (its secrets)", path.display()), ""));
        return sealer.keys.open(text, &Encrypted::Value(origin)).await.map(|opened| opened.plain);
    }
    let key = machine_key(sealer.machine_key.as_ref().map_err(Clone::clone)?, Wanted::Found)?;
    let envelope = Envelope::parse(text).map_err(|damage| Diagnostic::error(damage.what))?;
    envelope.open(&key).map_err(|_| {
        let what = format!("{}: its secrets are encrypted with the key of another machine or user", path.display());
        let hint = "apply it where it was made, or give the environment a vault key (`vault` in environment.yml) and plan again";
        Diagnostic::error(what).hint(hint).into()
    })
}

fn wrong(path: &Path, error: &SavedError) -> Diagnostic {
    let problem = Diagnostic::error(format!("{}: {error}", path.display()));
    match error {
        SavedError::Stranger => problem.hint("to write a plan: armilla plan ENV -o FILE"),
        SavedError::Changed | SavedError::Broken(_) => problem.hint("plan again; a plan file must not be edited"),
        _ => problem,
    }
}
