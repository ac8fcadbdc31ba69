//! The keys of vault files: each is fetched once, and only when something encrypted is met.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Mutex, OnceCell};

use super::{KeySources, Programs, Variables, blocking};
use crate::diag::{Diagnostic, Diagnostics, Origin};
use crate::secret::Secret;
use crate::settings::{EnvironmentSettings, KeySource, Program, ProjectSettings, VaultKey};
use crate::vault::{self, Closed, Envelope, Key};

/// A key is a line; what is larger is another file.
const LARGEST: u64 = 64 * 1024;

/// What to type where a key is missing.
const GIVE: &str = "give one under `vault` in inventories/ENV/environment.yml, or with --vault-id ID@FILE, \
                    --vault-password-file FILE or -J (--ask-vault-pass)";

/// Asks a person for a password.
pub trait Prompt: Send + Sync {
    /// Asks, without showing what is typed. It may block for as long as the person thinks.
    ///
    /// # Errors
    /// When nobody can be asked, or nothing could be read.
    fn password(&self, question: &str) -> Result<Secret<String>, PromptError>;
}

/// Why there is no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// Nobody can be asked.
    #[error("there is no terminal to ask for it")]
    Unavailable,
    /// Nothing could be read.
    #[error("{0}")]
    Failed(String),
}

/// Nobody: a daemon, a test.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPrompt;

impl Prompt for NoPrompt {
    fn password(&self, _: &str) -> Result<Secret<String>, PromptError> {
        Err(PromptError::Unavailable)
    }
}

/// All keys there may be.
pub struct Keyring {
    slots: Vec<Slot>,
    programs: Programs,
    prompt: Arc<dyn Prompt>,
    /// One question at a time.
    fetching: Mutex<()>,
}

struct Slot {
    key: VaultKey,
    /// What relative paths begin at.
    base: PathBuf,
    fetched: OnceCell<Result<Key, Diagnostic>>,
}

/// How often a person types a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Typed {
    /// To decrypt: a mistake shows at once.
    Once,
    /// To encrypt: a mistake would lock it for ever.
    Twice,
}

/// A decrypted content and what opened it.
pub struct Opened {
    /// The content.
    pub plain: Secret<Vec<u8>>,
    /// The key.
    pub key: Key,
    /// The id that the file names.
    pub id: Option<String>,
}

/// A key to encrypt with.
pub struct NewKey {
    /// The key.
    pub key: Key,
    /// Its id, if it has one.
    pub id: Option<String>,
    /// What to call it.
    pub name: String,
}

/// Where something encrypted is.
#[derive(Debug, Clone)]
pub enum Encrypted {
    /// It is a whole file.
    File(Origin),
    /// It is a value in a file.
    Value(Origin),
}

impl Keyring {
    /// The first keys of `sources`, then those of an environment's settings; if there are none, the fallback. Relative paths
    /// in settings begin at the project folder.
    pub fn new(
        sources: &KeySources,
        settings: &EnvironmentSettings,
        programs: &Programs,
        prompt: &Arc<dyn Prompt>,
    ) -> Self {
        let here = |key: &VaultKey| Slot::new(key, Path::new("."));
        let mut slots: Vec<Slot> = sources.first.iter().map(here).collect();
        slots.extend(settings.vault.iter().map(|key| Slot::new(key, programs.root())));
        slots.extend(sources.fallback.iter().filter(|_| slots.is_empty()).map(here).collect::<Vec<_>>());
        Self { slots, programs: programs.clone(), prompt: Arc::clone(prompt), fetching: Mutex::default() }
    }

    /// No key at all.
    pub(super) fn empty() -> Self {
        let programs = Programs::new(PathBuf::new(), ProjectSettings::default(), Variables::default());
        Self { slots: Vec::new(), programs, prompt: Arc::new(NoPrompt), fetching: Mutex::default() }
    }

    /// Decrypts with whichever key fits: first those of its id, then all others.
    ///
    /// # Errors
    /// Damage, keys that cannot be had, or that no key fits.
    pub async fn open(&self, text: &str, place: &Encrypted) -> Result<Opened, Diagnostics> {
        let envelope = Arc::new(Envelope::parse(text).map_err(|damage| place.damage(&damage))?);
        if self.slots.is_empty() {
            return Err(place.without_key().into());
        }
        let own = |slot: &&Slot| envelope.id.is_some() && slot.key.id == envelope.id;
        let (first, then): (Vec<&Slot>, Vec<&Slot>) = self.slots.iter().partition(own);
        let (mut problems, mut tried) = (Diagnostics::new(), Vec::new());
        for slot in first.into_iter().chain(then) {
            let key = match self.fetch(slot, Typed::Once).await {
                Ok(key) => key,
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            let (closed, with) = (Arc::clone(&envelope), key.clone());
            match blocking(move || closed.open(&with)).await {
                Ok(plain) => return Ok(Opened { plain, key, id: envelope.id.clone() }),
                Err(Closed::Seal) => tried.push(slot.name()),
                Err(closed @ Closed::Padding) => return Err(place.problem(&closed.to_string()).into()),
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
    pub async fn to_encrypt(&self, id: Option<&str>) -> Result<NewKey, Diagnostic> {
        let has = |slot: &&Slot| id.is_none_or(|id| slot.key.id.as_deref().unwrap_or(vault::DEFAULT_ID) == id);
        let matching: Vec<&Slot> = self.slots.iter().filter(has).collect();
        match (matching.as_slice(), id) {
            ([slot], _) | ([slot, ..], Some(_)) => Ok(slot.new_key(self.fetch(slot, Typed::Twice).await?)),
            ([], _) if self.slots.is_empty() => Err(Diagnostic::error("no key to encrypt with").hint(GIVE)),
            ([], id) => Err(Diagnostic::error(format!("no key has the vault id `{}`", id.unwrap_or_default()))
                .hint(format!("known: {}", self.ids().join(", ")))),
            ([_, ..], None) => Err(Diagnostic::error("several keys are given: which one encrypts is ambiguous")
                .hint(format!("choose one with --encrypt-vault-id: {}", self.ids().join(", ")))),
        }
    }

    /// A key that can be had without asking a person. One that was used already comes first.
    pub async fn at_hand(&self) -> Option<NewKey> {
        let used = |slot: &&Slot| matches!(slot.fetched.get(), Some(Ok(_)));
        let silent = |slot: &&Slot| slot.key.from != KeySource::Prompt;
        for slot in self.slots.iter().filter(used).chain(self.slots.iter().filter(silent)) {
            if let Ok(key) = self.fetch(slot, Typed::Once).await {
                return Some(slot.new_key(key));
            }
        }
        None
    }

    fn ids(&self) -> Vec<String> {
        self.slots.iter().map(|slot| slot.key.id.clone().unwrap_or_else(|| vault::DEFAULT_ID.to_owned())).collect()
    }

    async fn fetch(&self, slot: &Slot, typed: Typed) -> Result<Key, Diagnostic> {
        let _alone = self.fetching.lock().await;
        let read = || async {
            match &slot.key.from {
                KeySource::File(path) => slot.file(path, &self.programs).await,
                KeySource::Command(program) => slot.command(program, &self.programs).await,
                KeySource::Prompt => slot.prompt(Arc::clone(&self.prompt), typed).await,
            }
        };
        slot.fetched.get_or_init(read).await.clone()
    }
}

fn wrong_key(place: &Encrypted, id: Option<&str>, tried: &[String]) -> Diagnostic {
    let named = id.map_or_else(String::new, |id| format!(" (its vault id is `{}`)", id.escape_debug()));
    place.problem(&format!("no matching key{named}: tried {}", tried.join(", "))).hint(
        "the right key is missing, or the text was changed after it was encrypted: restore it from an older revision",
    )
}

impl Encrypted {
    /// Where it begins.
    pub fn origin(&self) -> &Origin {
        let (Self::File(origin) | Self::Value(origin)) = self;
        origin
    }

    /// The problem that there is no key.
    pub(super) fn without_key(&self) -> Diagnostic {
        Diagnostic::error("encrypted, and no key is given").at(self.origin()).hint(GIVE)
    }

    fn problem(&self, what: &str) -> Diagnostic {
        Diagnostic::error(format!("this cannot be decrypted: {what}")).at(self.origin())
    }

    fn damage(&self, damage: &vault::Damage) -> Diagnostic {
        let hint = "restore it from a backup or version control, or create it again: `armilla vault create FILE`";
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
    fn new(key: &VaultKey, base: &Path) -> Self {
        Self { key: key.clone(), base: base.to_owned(), fetched: OnceCell::new() }
    }

    fn name(&self) -> String {
        match (&self.key.id, &self.key.from) {
            (Some(id), _) => format!("`{id}`"),
            (None, KeySource::File(path)) => format!("the key in {path}"),
            (None, KeySource::Command(program)) => format!("the key of {}", program.argv.join(" ")),
            (None, KeySource::Prompt) => "the key that was typed".to_owned(),
        }
    }

    fn new_key(&self, key: Key) -> NewKey {
        NewKey { key, id: self.key.id.clone(), name: self.name() }
    }

    fn problem(&self, what: String) -> Diagnostic {
        Diagnostic::error(what).at(&self.key.origin)
    }

    async fn file(&self, written: &str, programs: &Programs) -> Result<Key, Diagnostic> {
        let path = programs.path(written, &self.base);
        let unreadable =
            |error: std::io::Error| self.problem(format!("the key file {written} cannot be read: {error}"));
        let about = fs::metadata(&path).map_err(unreadable)?;
        let mode = about.permissions().mode();
        // A pipe such as `<(pass show vault)` is nobody else's.
        if about.is_file() && mode & 0o111 != 0 {
            return self.executable(written, programs).await;
        }
        if about.is_file() && mode & 0o007 != 0 {
            let problem =
                self.problem(format!("the key file {written} is readable or writable by everyone on this machine"));
            return Err(problem.hint(format!("run: chmod 600 {written}")));
        }
        let read = move || {
            let mut bytes = Vec::new();
            fs::File::open(&path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes)).map(|_| bytes)
        };
        self.key(blocking(read).await.map_err(unreadable)?, &format!("the key file {written}"))
    }

    /// Ansible runs a key file that is executable; with `-client` at the end of its name it asks for an id.
    async fn executable(&self, written: &str, programs: &Programs) -> Result<Key, Diagnostic> {
        let mut argv = vec![written.to_owned()];
        let client = Path::new(written).file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("-client"));
        if client {
            argv.extend(["--vault-id".to_owned(), self.key.id.clone().unwrap_or_else(|| vault::DEFAULT_ID.to_owned())]);
        }
        let program = Program { argv, origin: self.key.origin.clone() };
        programs.allow(&program).map_err(|problem| Diagnostic {
            what: format!(
                "the key file {written} is executable, so it is a program that prints the key; {}",
                problem.what
            ),
            hint: problem.hint.map(|hint| format!("{hint}; if it is a plain file, run: chmod 600 {written}")),
            ..problem
        })?;
        // It is a file, never a name that is looked up in `PATH`.
        let file = programs.path(written, &self.base).to_string_lossy().into_owned();
        let argv = std::iter::once(file).chain(program.argv[1..].iter().cloned()).collect();
        self.printed(&Program { argv, ..program.clone() }, &program.argv, programs).await
    }

    async fn command(&self, program: &Program, programs: &Programs) -> Result<Key, Diagnostic> {
        programs.allow(program)?;
        self.printed(program, &program.argv, programs).await
    }

    /// The key that an allowed program prints. `words` is what to call it.
    async fn printed(&self, program: &Program, words: &[String], programs: &Programs) -> Result<Key, Diagnostic> {
        let words = words.join(" ");
        let printed = programs.output(&program.argv, &self.base).await;
        let failed = |why| self.problem(format!("the program `{words}` did not print a key: it {why}"));
        self.key(printed.map_err(failed)?, &format!("the program `{words}`"))
    }

    async fn prompt(&self, prompt: Arc<dyn Prompt>, typed: Typed) -> Result<Key, Diagnostic> {
        let name = self.key.id.as_ref().map_or_else(String::new, |id| format!(" ({id})"));
        let ask = |question: &str| {
            let (prompt, question) = (Arc::clone(&prompt), format!("{question}{name}: "));
            blocking(move || prompt.password(&question))
        };
        let key = self.typed(ask("Vault password").await)?;
        if typed == Typed::Twice && !self.typed(ask("Vault password again").await)?.is(&key) {
            return Err(self.problem("the passwords do not match".to_owned()));
        }
        Ok(key)
    }

    fn typed(&self, answer: Result<Secret<String>, PromptError>) -> Result<Key, Diagnostic> {
        match answer {
            Ok(typed) => self.key(typed.expose().clone().into_bytes(), "what was typed"),
            Err(PromptError::Failed(why)) => Err(self.problem(format!("cannot read the key: {why}"))),
            Err(PromptError::Unavailable) => {
                let problem = self.problem("there is no terminal to ask for the key of vault files".to_owned());
                Err(problem.hint("pass it in a file that only you can read: --vault-password-file FILE"))
            }
        }
    }

    fn key(&self, bytes: Vec<u8>, whose: &str) -> Result<Key, Diagnostic> {
        if bytes.len() as u64 > LARGEST {
            return Err(self.problem(format!("{whose} is too large: a key has at most 64 KiB")));
        }
        if vault::is_encrypted(&bytes) {
            return Err(self.problem(format!("{whose} is encrypted itself")));
        }
        Key::new(bytes).ok_or_else(|| self.problem(format!("{whose} is empty")))
    }
}
