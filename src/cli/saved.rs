//! Plan files: written, read, and their secrets sealed and unsealed.
//!
//! In: a plan that was just made, or the path of a file. Out: a file that only its owner can read, or the plan in one.
//! Never: a secret in clear, or a file overwritten that is no plan.
//!
//! Secrets are sealed with a key of the environment's vault files, so that whoever may open those can apply the plan, on
//! any machine. An environment without one has a key of this machine instead, which is made when it is first needed.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::survey::Survey;
use super::{Connection, Global, Selection, identity, keys, leases, load, ui};
use crate::catalog::Catalog;
use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::ledger::Revision;
use crate::name::EnvName;
use crate::plan::Plan;
use crate::plan::saved::{About, File, Hosts, LIMIT, SavedError, SavedPlan, is_plan};
use crate::secret::Secret;
use crate::settings::ProjectSettings;
use crate::step::Digest;
use crate::store;
use crate::vault::{self, Envelope, Key};
use crate::workspace::{self, Encrypted, Environment, Keyring, NewKey, Workspace};

/// The vault id of what is sealed with this machine's own key.
const MACHINE: &str = "armilla-machine";

/// Refuses a path at which a plan would overwrite something else.
///
/// # Errors
/// What is there.
pub(super) fn check_place(path: &Path) -> Result<(), Diagnostic> {
    let here = path.display();
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Diagnostic::error(format!("--out: {here} cannot be looked at: {error}"))),
    };
    if !about.is_file() {
        return Err(Diagnostic::error(format!("--out: {here} is no file")).hint("name a file to write the plan into"));
    }
    let mut beginning = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(64).read_to_end(&mut beginning));
    match read {
        Ok(0) => Ok(()),
        Ok(_) if is_plan(&beginning) => Ok(()),
        Ok(_) => Err(Diagnostic::error(format!("--out: {here} is there and is no plan: it is not overwritten"))
            .hint("name another file, or move this one away")),
        Err(error) => Err(Diagnostic::error(format!("--out: {here} cannot be read: {error}"))),
    }
}

/// Writes a plan that was just made, and says so.
///
/// # Errors
/// When there is no key for its secrets, or the file cannot be written.
pub(super) async fn save(
    path: &Path,
    selection: &Selection,
    loaded: &Environment,
    survey: &Survey,
) -> Result<(), Diagnostics> {
    let cannot = |why: &dyn std::fmt::Display| {
        Diagnostic::error(format!("the plan cannot be saved to {}: {why}", path.display())).hint("nothing was changed")
    };
    let made =
        make(about(selection, loaded, survey.revision.clone()), &survey.plan, &survey.catalog, &loaded.keys).await?;
    check_place(path)?;
    write(path, &made.bytes).map_err(|error| cannot(&error))?;
    // A plan that cannot be read must show now, not in the night in which it is needed.
    whole(path, &read(path)?, &loaded.keys).await?;
    ui::say(&format!("Saved to {} (sha256:{}).", path.display(), &made.digest.0[..12]));
    if let Some(with) = made.sealed_with {
        ui::say(&format!("The secrets in it are sealed with {with}."));
    }
    Ok(())
}

/// A plan as it is in a file.
pub(super) struct Made {
    /// The plan.
    pub plan: SavedPlan,
    /// The bytes of the file.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// What its secrets are sealed with, if there are any.
    sealed_with: Option<String>,
}

/// Makes a file of a plan that was just made.
///
/// # Errors
/// When there is no key for its secrets.
pub(super) async fn make(about: About, plan: &Plan, catalog: &Catalog, keys: &Keyring) -> Result<Made, Diagnostics> {
    let cannot = |why: SavedError| Diagnostic::error(format!("the plan cannot be written down: {why}"));
    let plan = SavedPlan::new(about, plan.clone(), catalog.clone(), &identity::random()?).map_err(cannot)?;
    let draft = plan.draft().map_err(cannot)?;
    let sealed = match draft.secrets() {
        Some(secrets) => Some(seal(&secrets, keys).await?),
        None => None,
    };
    let (bytes, digest) = draft.finish(sealed.as_ref().map(|sealed| sealed.text.as_str())).map_err(cannot)?;
    Ok(Made { plan, bytes, digest, sealed_with: sealed.map(|sealed| sealed.with) })
}

/// The project one is in, if there is one, the keys of an environment of it and of the flags, and what it allows.
///
/// # Errors
/// What is wrong in the flags and settings.
pub(super) fn keys_for(
    global: &Global,
    selection: &Selection,
    environment: &EnvName,
) -> Result<(Option<Workspace>, Keyring, ProjectSettings), Diagnostics> {
    let workspace = load::workspace(global).ok().filter(|workspace| workspace.has(environment.as_str()));
    let (keys, settings) = keys::ring(workspace.as_ref(), &selection.keys, Some(environment))?;
    Ok((workspace, keys, settings))
}

/// What is told about a plan of this selection.
pub(super) fn about(selection: &Selection, loaded: &Environment, revision: Option<Revision>) -> About {
    let witnesses = crate::apply::witnesses(leases::witnesses(loaded));
    let folder = loaded.root.file_name().map(|name| name.to_string_lossy().into_owned());
    About {
        armilla: env!("CARGO_PKG_VERSION").to_owned(),
        environment: loaded.name.clone(),
        made_at: identity::now(),
        made_by: identity::who(),
        revision,
        project: folder.unwrap_or_default(),
        limit: selection.limit.clone(),
        part: selection.only.described(),
        hosts_left_out: loaded.hosts_left_out(),
        witnesses: witnesses.iter().filter_map(|witness| loaded.endpoint(witness)).collect(),
        hosts: if loaded.rehearsal.is_some() { Hosts::Lab } else { Hosts::Real },
        command: identity::command_line(),
    }
}

/// A plan holds what will be in files: it is for its owner alone, whoever could read the one before.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.exists() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    store::replace(path, bytes)
}

/// Encrypted secrets, and what with.
struct Sealed {
    text: String,
    with: String,
}

async fn seal(secrets: &[u8], keys: &Keyring) -> Result<Sealed, Diagnostic> {
    let salt = identity::random()?;
    if let Some(NewKey { key, id, name }) = keys.at_hand().await {
        return Ok(Sealed {
            text: vault::seal(secrets, &key, id.as_deref(), &salt),
            with: format!("the vault key {name}: whoever has it can apply this plan"),
        });
    }
    let place = machine_key_file()?;
    let key = machine_key(&place, Wanted::Made)?;
    let with = format!("this machine's own key, {}: nobody else can apply this plan", place.display());
    Ok(Sealed { text: vault::seal(secrets, &key, Some(MACHINE), &salt), with })
}

/// Whether a key is made where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Found,
    Made,
}

/// Where the key of this machine is.
fn machine_key_file() -> Result<PathBuf, Diagnostic> {
    Ok(identity::state_folder()?.join("plan.key"))
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
                Diagnostic::error("the secrets in this plan are sealed with the key of the machine it was made on");
            return Err(problem.hint(
                "apply it there, or give the environment a vault key (`vault` in environment.yml) and plan again",
            ));
        }
        Err(error) => return Err(failed(&error)),
    };
    let about = file.metadata().map_err(|error| failed(&error))?;
    if about.permissions().mode() & 0o077 != 0 || about.uid() != nix::unistd::geteuid().as_raw() {
        let problem = Diagnostic::error(format!("others can read or change this machine's own key {here}"));
        return Err(
            problem.hint(format!("if nobody did, type: chmod 600 {here}; if in doubt, remove it and plan again"))
        );
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
pub(super) fn read(path: &Path) -> Result<File, Diagnostic> {
    let here = path.display();
    let unreadable = |error: io::Error| Diagnostic::error(format!("{here} cannot be read: {error}"));
    // Opened without waiting: a pipe that nobody writes into is no plan.
    let file = fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(Diagnostic::error(format!("{here} is no file")));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    File::parse(bytes).map_err(|error| wrong(path, &error))
}

/// Reads everything in a plan file, secrets included.
///
/// # Errors
/// When no key fits, or it says what no plan says.
pub(super) async fn open(
    path: &Path,
    file: &File,
    keys: &Keyring,
    settings: &ProjectSettings,
) -> Result<SavedPlan, Diagnostics> {
    let saved = whole(path, file, keys).await?;
    // A file can name any program for its connections: only those run that the project allows.
    let hosts = saved.catalog.hosts.values().map(|host| &host.endpoint).chain(saved.catalog.spare.values());
    let all = hosts.chain(saved.plan.endpoints.values()).chain(&saved.about.witnesses);
    let problems = workspace::proxy_commands(all, settings);
    problems.result(saved)
}

/// How the hosts of a saved plan are reached: as the command says, and in a lab if it was made for one.
///
/// # Errors
/// When a lab is wanted for a plan of the inventory's hosts.
pub(super) fn connection(file: &File, given: &Connection) -> Result<Connection, Diagnostic> {
    let lab = file.about.hosts == Hosts::Lab;
    if given.lab && !lab {
        let what = "this plan was made for the hosts of the inventory, not for a rehearsal; nothing was changed";
        return Err(Diagnostic::error(what).hint("leave --lab out, or plan with it"));
    }
    Ok(Connection { lab, ..given.clone() })
}

async fn whole(path: &Path, file: &File, keys: &Keyring) -> Result<SavedPlan, Diagnostics> {
    let secrets = match &file.sealed {
        Some(sealed) => Some(unseal(path, sealed, keys).await?),
        None => None,
    };
    file.open(secrets.as_ref()).map_err(|error| wrong(path, &error).into())
}

async fn unseal(path: &Path, sealed: &str, keys: &Keyring) -> Result<Secret<Vec<u8>>, Diagnostics> {
    let id = Envelope::parse(sealed).ok().and_then(|envelope| envelope.id);
    if id.as_deref() != Some(MACHINE) {
        let origin = Origin::start(&Source::secret(format!("{} (its secrets)", path.display()), ""));
        return keys.open(sealed, &Encrypted::Value(origin)).await.map(|opened| opened.plain);
    }
    let key = machine_key(&machine_key_file()?, Wanted::Found)?;
    let envelope = Envelope::parse(sealed).map_err(|damage| Diagnostic::error(damage.what))?;
    envelope.open(&key).map_err(|_| {
        let what = format!("{}: its secrets are sealed with the key of another machine, or of another user", path.display());
        let hint = "apply it where it was made, or give the environment a vault key (`vault` in environment.yml) and plan again";
        Diagnostic::error(what).hint(hint).into()
    })
}

fn wrong(path: &Path, error: &SavedError) -> Diagnostic {
    let problem = Diagnostic::error(format!("{}: {error}", path.display()));
    match error {
        SavedError::Stranger => problem.hint("write one: armilla plan ENV -o FILE"),
        SavedError::Changed | SavedError::Broken(_) => problem.hint("plan again; a plan is never changed by hand"),
        _ => problem,
    }
}
