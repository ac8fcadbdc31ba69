//! The keys of vault files.
//!
//! In: flags, and what the settings of an environment say. Out: keys, each fetched once and only when something encrypted is
//! met. Never: a program that nobody allowed, a key that everyone can read, or a question where nobody can answer.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;

use super::ui;
use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::name::EnvName;
use crate::secret::Secret;
use crate::settings::{EnvironmentSettings, KeySource, Program, ProjectSettings, VaultKey};
use crate::store;
use crate::vault::{self, Closed, Envelope, Key};

/// Where the keys of vault files come from.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct KeyFlags {
    /// A key for vault files: ID@FILE, ID@prompt or FILE; tried before those of environment.yml
    #[arg(long = "vault-id", value_name = "ID@SOURCE")]
    pub(super) vault_ids: Vec<String>,
    /// A file with the key of vault files
    #[arg(long = "vault-password-file", visible_alias = "vault-pass-file", value_name = "FILE")]
    pub(super) password_files: Vec<String>,
    /// Ask for the key of vault files
    #[arg(short = 'J', long = "ask-vault-pass", visible_alias = "ask-vault-password")]
    pub(super) ask_vault_pass: bool,
}

/// Ansible's way to name a key file for every command; used where nothing nearer names a key.
const VARIABLE: &str = "ANSIBLE_VAULT_PASSWORD_FILE";
/// A key is a line; what is larger is another file.
const LARGEST: u64 = 64 * 1024;
/// Somebody may have to touch a token or unlock a password store.
const PATIENCE: Duration = Duration::from_secs(60);

impl KeyFlags {
    /// The keys that the flags name, in the order in which they are tried.
    ///
    /// # Errors
    /// Every id that is none.
    fn keys(&self) -> Result<Vec<VaultKey>, Diagnostics> {
        let mut problems = Diagnostics::new();
        let ids = self.vault_ids.iter().filter_map(|text| problems.keep(vault_id(text).map_err(Into::into)));
        let mut keys: Vec<VaultKey> = ids.collect();
        keys.extend(self.password_files.iter().map(|path| password_file("--vault-password-file", path)));
        if self.ask_vault_pass {
            keys.push(asked("--ask-vault-pass"));
        }
        problems.result(keys)
    }

    /// What to type to give the same keys.
    pub(super) fn to_type(&self) -> Vec<String> {
        let ids = self.vault_ids.iter().flat_map(|id| ["--vault-id".to_owned(), id.clone()]);
        let files = self.password_files.iter().flat_map(|file| ["--vault-password-file".to_owned(), file.clone()]);
        ids.chain(files).chain(self.ask_vault_pass.then(|| "-J".to_owned())).collect()
    }
}

/// `ID@SOURCE`, `@SOURCE` or `SOURCE`, as Ansible reads it.
pub(super) fn vault_id(text: &str) -> Result<VaultKey, Diagnostic> {
    let origin = Origin::start(&Source::new("--vault-id", text));
    let (id, source) = text.split_once('@').unwrap_or(("", text));
    if source.is_empty() {
        let problem = Diagnostic::error(format!("`--vault-id {}` names no key", text.escape_debug()));
        return Err(problem.hint("write ID@FILE, ID@prompt or FILE"));
    }
    if !id.is_empty() {
        vault::check_id(id).map_err(|why| Diagnostic::error(format!("--vault-id: {why}")))?;
    }
    let from = if source == "prompt" { KeySource::Prompt } else { KeySource::File(source.to_owned()) };
    Ok(VaultKey { id: Some(id.to_owned()).filter(|id| !id.is_empty()), from, origin })
}

/// A key file that a flag or variable names.
pub(super) fn password_file(name: &str, path: &str) -> VaultKey {
    let origin = Origin::start(&Source::new(name, path));
    VaultKey { id: None, from: KeySource::File(path.to_owned()), origin }
}

/// A key that a person types.
pub(super) fn asked(flag: &str) -> VaultKey {
    VaultKey { id: None, from: KeySource::Prompt, origin: Origin::start(&Source::new(flag, "")) }
}

/// All keys there may be.
pub(super) struct Keyring {
    slots: Vec<Slot>,
    settings: ProjectSettings,
    /// One question at a time.
    fetching: Mutex<()>,
}

struct Slot {
    key: VaultKey,
    /// What relative paths begin at.
    base: PathBuf,
    fetched: OnceLock<Result<Key, Diagnostic>>,
}

/// How often a person types a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    /// To open what is there: a mistake shows at once.
    Once,
    /// To encrypt: a mistake would lock it for ever.
    Twice,
}

/// A decrypted content and what opened it.
pub(super) struct Opened {
    /// The content.
    pub plain: Secret<Vec<u8>>,
    /// The key.
    pub key: Key,
    /// The id that the file names.
    pub id: Option<String>,
}

impl Keyring {
    /// The keys of flags, then those of an environment's settings; if there are none, that of the variable.
    ///
    /// # Errors
    /// What is wrong in the flags.
    pub(super) fn new(
        flags: &KeyFlags,
        environment: &EnvironmentSettings,
        settings: &ProjectSettings,
        root: &Path,
    ) -> Result<Self, Diagnostics> {
        let slot = |base: &Path| {
            let base = base.to_owned();
            move |key| Slot { key, base: base.clone(), fetched: OnceLock::new() }
        };
        let mut slots: Vec<Slot> = flags.keys()?.into_iter().map(slot(Path::new("."))).collect();
        slots.extend(environment.vault.iter().cloned().map(slot(root)));
        let named = std::env::var(VARIABLE).ok().filter(|path| !path.is_empty() && slots.is_empty());
        slots.extend(named.map(|path| password_file(VARIABLE, &path)).map(slot(Path::new("."))));
        Ok(Self { slots, settings: settings.clone(), fetching: Mutex::new(()) })
    }

    /// The same, with the settings of a project, if there is one, and of an environment, if one is named; and those of the
    /// project.
    ///
    /// # Errors
    /// What is wrong in the flags and settings.
    pub(super) fn of_project(
        flags: &KeyFlags,
        root: Option<&Path>,
        environment: Option<&EnvName>,
    ) -> Result<(Self, ProjectSettings), Diagnostics> {
        let texts = root.map(|root| store::read_settings(root, environment));
        let [project, environment] = texts.transpose()?.unwrap_or_default();
        let mut problems = Diagnostics::new();
        let mut parsed = |source: Option<_>| {
            let parse = |source| crate::yaml::parse(&source).map_err(Diagnostics::from);
            source.and_then(|source| problems.keep(parse(source)))
        };
        let (project, environment) = (parsed(project), parsed(environment));
        let project = project.map(|node| ProjectSettings::read(&node)).transpose();
        let environment = environment.map(|node| EnvironmentSettings::read(&node)).transpose();
        let project = problems.keep(project).flatten().unwrap_or_default();
        let environment = problems.keep(environment).flatten().unwrap_or_default();
        problems.result(())?;
        Ok((Self::new(flags, &environment, &project, root.unwrap_or(Path::new("")))?, project))
    }

    /// One key, such as a new one.
    pub(super) fn of(key: VaultKey, settings: &ProjectSettings) -> Self {
        let slot = Slot { key, base: ".".into(), fetched: OnceLock::new() };
        Self { slots: vec![slot], settings: settings.clone(), fetching: Mutex::new(()) }
    }

    /// Opens a vault file with whichever key fits: first those of its id, then all others.
    ///
    /// # Errors
    /// Damage, keys that cannot be had, or that no key fits.
    pub(super) fn open(&self, text: &str, place: &Place<'_>) -> Result<Opened, Diagnostics> {
        let envelope = Envelope::parse(text).map_err(|damage| place.damage(&damage))?;
        if self.slots.is_empty() {
            return Err(no_key(place).into());
        }
        let own = |slot: &&Slot| envelope.id.is_some() && slot.key.id == envelope.id;
        let (first, then): (Vec<&Slot>, Vec<&Slot>) = self.slots.iter().partition(own);
        let mut problems = Diagnostics::new();
        let mut tried = Vec::new();
        for slot in first.into_iter().chain(then) {
            let key = match self.fetch(slot, Typed::Once) {
                Ok(key) => key,
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            match envelope.open(&key) {
                Ok(plain) => return Ok(Opened { plain, key, id: envelope.id }),
                Err(Closed::Seal) => tried.push(slot.name()),
                Err(closed @ Closed::Padding) => return Err(place.of(&closed.to_string()).into()),
            }
        }
        if !tried.is_empty() {
            problems.push(wrong_key(place, envelope.id.as_deref(), &tried));
        }
        Err(problems)
    }

    /// The key to encrypt with: that of the id, or the only one.
    ///
    /// # Errors
    /// When there is none, or it is not plain which.
    pub(super) fn to_encrypt(&self, id: Option<&str>) -> Result<(Key, Option<String>), Diagnostic> {
        let matching: Vec<&Slot> = self
            .slots
            .iter()
            .filter(|slot| id.is_none_or(|id| slot.key.id.as_deref().unwrap_or(vault::DEFAULT_ID) == id))
            .collect();
        match (matching.as_slice(), id) {
            ([slot], _) | ([slot, ..], Some(_)) => Ok((self.fetch(slot, Typed::Twice)?, slot.key.id.clone())),
            ([], _) if self.slots.is_empty() => Err(Diagnostic::error("no key is given to encrypt with").hint(GIVE)),
            ([], id) => Err(Diagnostic::error(format!("no key has the vault id `{}`", id.unwrap_or_default()))
                .hint(format!("there are: {}", self.names().join(", ")))),
            ([_, ..], None) => Err(Diagnostic::error("several keys are given, and it is not said which one encrypts")
                .hint(format!("say so with --encrypt-vault-id, one of: {}", self.names().join(", ")))),
        }
    }

    /// A key that can be had without a question, its id and its name for a person: one that was already used before one that
    /// was not.
    pub(super) fn at_hand(&self) -> Option<(Key, Option<String>, String)> {
        let used = |slot: &&Slot| matches!(slot.fetched.get(), Some(Ok(_)));
        let silent = |slot: &&Slot| slot.key.from != KeySource::Prompt;
        let slots = self.slots.iter().filter(used).chain(self.slots.iter().filter(silent));
        slots.into_iter().find_map(|slot| Some((self.fetch(slot, Typed::Once).ok()?, slot.key.id.clone(), slot.name())))
    }

    fn names(&self) -> Vec<String> {
        self.slots.iter().map(|slot| slot.key.id.clone().unwrap_or_else(|| vault::DEFAULT_ID.to_owned())).collect()
    }

    fn fetch(&self, slot: &Slot, typed: Typed) -> Result<Key, Diagnostic> {
        let _alone = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        slot.fetched.get_or_init(|| slot.fetch(&self.settings, typed)).clone()
    }
}

/// What to type where a key is missing.
const GIVE: &str = "name one under `vault` in inventories/ENV/environment.yml, or with --vault-id ID@FILE, \
                    --vault-password-file FILE or -J (--ask-vault-pass)";

fn no_key(place: &Place<'_>) -> Diagnostic {
    let (Place::File(origin) | Place::Value(origin)) = place;
    Diagnostic::error("this is encrypted, and no key is given").at(origin).hint(GIVE)
}

fn wrong_key(place: &Place<'_>, id: Option<&str>, tried: &[String]) -> Diagnostic {
    let named = id.map_or_else(String::new, |id| format!(" (its vault id is `{}`)", id.escape_debug()));
    place.of(&format!("no key fits{named}: tried {}", tried.join(", "))).hint(
        "either the right key is missing, or the text was changed after it was encrypted: then take it from an older revision",
    )
}

/// Where something encrypted is.
pub(super) enum Place<'a> {
    /// It is a whole file.
    File(&'a Origin),
    /// It is a value in a file.
    Value(&'a Origin),
}

impl Place<'_> {
    fn of(&self, what: &str) -> Diagnostic {
        let (Self::File(origin) | Self::Value(origin)) = self;
        Diagnostic::error(format!("this cannot be decrypted: {what}")).at(origin)
    }

    fn damage(&self, damage: &vault::Damage) -> Diagnostic {
        let hint = "take it from a backup or from version control, or write it anew: `armilla vault create FILE`";
        let problem = Diagnostic::error(damage.what.clone()).hint(hint);
        match self {
            Self::Value(origin) => problem.at(origin),
            Self::File(origin) => {
                problem.at(&Origin { line: damage.line, column: damage.column, source: origin.source.clone() })
            }
        }
    }
}

impl Slot {
    fn name(&self) -> String {
        match (&self.key.id, &self.key.from) {
            (Some(id), _) => format!("`{id}`"),
            (None, KeySource::File(path)) => format!("the key in {path}"),
            (None, KeySource::Command(program)) => format!("the key of {}", program.argv.join(" ")),
            (None, KeySource::Prompt) => "the key that was typed".to_owned(),
        }
    }

    fn fetch(&self, settings: &ProjectSettings, typed: Typed) -> Result<Key, Diagnostic> {
        match &self.key.from {
            KeySource::File(path) => self.file(path, settings),
            KeySource::Command(program) => self.command(program, settings),
            KeySource::Prompt => self.prompt(typed),
        }
    }

    fn problem(&self, what: String) -> Diagnostic {
        Diagnostic::error(what).at(&self.key.origin)
    }

    fn file(&self, written: &str, settings: &ProjectSettings) -> Result<Key, Diagnostic> {
        let path = self.path(written);
        let unreadable =
            |error: std::io::Error| self.problem(format!("the key file {written} cannot be read: {error}"));
        let about = fs::metadata(&path).map_err(unreadable)?;
        let mode = about.permissions().mode();
        // A pipe such as `<(pass show vault)` is nobody else's.
        if about.is_file() && mode & 0o111 != 0 {
            return self.executable(written, settings);
        }
        if about.is_file() && mode & 0o007 != 0 {
            let problem = self.problem(format!("everyone on this machine can read or change the key file {written}"));
            return Err(problem.hint(format!("type: chmod 600 {written}")));
        }
        let mut bytes = Vec::new();
        fs::File::open(&path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
        self.key(bytes, &format!("the key file {written}"))
    }

    /// Ansible runs a key file that is executable; with `-client` at the end of its name it asks for an id.
    fn executable(&self, written: &str, settings: &ProjectSettings) -> Result<Key, Diagnostic> {
        let mut argv = vec![written.to_owned()];
        let client = Path::new(written).file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("-client"));
        if client {
            argv.extend(["--vault-id".to_owned(), self.key.id.clone().unwrap_or_else(|| vault::DEFAULT_ID.to_owned())]);
        }
        let program = Program { argv, origin: self.key.origin.clone() };
        settings.allow(&program).map_err(|problem| Diagnostic {
            what: format!(
                "the key file {written} is executable, so it is a program that prints the key; {}",
                problem.what
            ),
            hint: problem.hint.map(|hint| format!("{hint}; if it is a plain file, type: chmod 600 {written}")),
            ..problem
        })?;
        self.run(&program, &self.path(written))
    }

    fn command(&self, program: &Program, settings: &ProjectSettings) -> Result<Key, Diagnostic> {
        settings.allow(program)?;
        let name = program.argv.first().map_or("", String::as_str);
        let path = if name.contains('/') { self.path(name) } else { name.into() };
        self.run(program, &path)
    }

    fn run(&self, program: &Program, path: &Path) -> Result<Key, Diagnostic> {
        let words = program.argv.join(" ");
        let failed = |why: String| self.problem(format!("the program `{words}` gave no key: {why}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(error.to_string()))?;
        let printed = runtime.block_on(printed(path, &program.argv[1..], &self.base));
        self.key(printed.map_err(failed)?, &format!("the program `{words}`"))
    }

    fn prompt(&self, typed: Typed) -> Result<Key, Diagnostic> {
        if !ui::can_ask() {
            let problem = self.problem("there is no terminal to ask for the key of vault files".to_owned());
            return Err(problem.hint("give it in a file that only you can read: --vault-password-file FILE"));
        }
        let name = self.key.id.as_ref().map_or_else(String::new, |id| format!(" ({id})"));
        let ask = |question: &str| {
            let typed = rpassword::prompt_password(format!("{question}{name}: "));
            typed.map_err(|error| self.problem(format!("no key could be read: {error}")))
        };
        let key = self.key(ask("Vault password")?.into_bytes(), "what was typed")?;
        if typed == Typed::Twice && !self.key(ask("Vault password again")?.into_bytes(), "what was typed")?.is(&key) {
            return Err(self.problem("the two are not the same".to_owned()));
        }
        Ok(key)
    }

    fn key(&self, bytes: Vec<u8>, whose: &str) -> Result<Key, Diagnostic> {
        if bytes.len() as u64 > LARGEST {
            return Err(self.problem(format!("{whose} is no key: it is larger than 64 KiB")));
        }
        if vault::is_encrypted(&bytes) {
            return Err(self.problem(format!("{whose} is encrypted itself")));
        }
        Key::new(bytes).ok_or_else(|| self.problem(format!("{whose} is empty")))
    }

    fn path(&self, written: &str) -> PathBuf {
        match (written.strip_prefix("~/"), std::env::home_dir()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ if self.base == Path::new(".") => std::path::absolute(written).unwrap_or_else(|_| written.into()),
            _ => self.base.join(written),
        }
    }
}

/// What a program prints. It talks to the user on stderr and to no shell; what takes too long is ended.
async fn printed(program: &Path, arguments: &[String], folder: &Path) -> Result<Vec<u8>, String> {
    #[expect(clippy::disallowed_methods, reason = "the settings of the project allow it")]
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let output = child.stdout.take().ok_or("it has no output")?;
    let work = async {
        let mut bytes = Vec::new();
        output.take(LARGEST + 1).read_to_end(&mut bytes).await.map_err(|error| error.to_string())?;
        if bytes.len() as u64 > LARGEST {
            return Ok(bytes);
        }
        let status = child.wait().await.map_err(|error| error.to_string())?;
        if status.success() { Ok(bytes) } else { Err(format!("it ended with {status}")) }
    };
    let ended = tokio::time::timeout(PATIENCE, work).await;
    ended.unwrap_or_else(|_| Err(format!("it did not end within {} seconds", PATIENCE.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_ansible_reads_them() {
        let read = |text: &str| vault_id(text).map(|key| (key.id, key.from)).map_err(|problem| problem.what);
        let file = |path: &str| KeySource::File(path.to_owned());
        assert_eq!(read("prod@~/key"), Ok((Some("prod".into()), file("~/key"))));
        assert_eq!(read("prod@a@b"), Ok((Some("prod".into()), file("a@b"))));
        assert_eq!(read("@key"), Ok((None, file("key"))));
        assert_eq!(read("key"), Ok((None, file("key"))));
        assert_eq!(read("dev@prompt"), Ok((Some("dev".into()), KeySource::Prompt)));
        assert_eq!(read("prompt"), Ok((None, KeySource::Prompt)));
        for wrong in ["", "prod@", "a;b@key"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
