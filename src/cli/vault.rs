//! `armilla vault`: looks into vault files, changes them, and makes them. They are those of `ansible-vault`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use super::keys::{self, KeyFlags, Terminal};
use super::{Exit, Failure, Global, editor, load, ui};
use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::name::EnvName;
use crate::secret::Secret;
use crate::settings::ProjectSettings;
use crate::store;
use crate::vault::{self, Key};
use crate::workspace::{Encrypted, KeySources, Keyring, NewKey, Opened, Prompt as _, PromptError};

/// Looks into vault files, changes them, and makes them.
#[derive(Debug, clap::Subcommand)]
pub(super) enum VaultCommand {
    /// Print the contents of vault files
    View(View),
    /// Edit a vault file in an editor; nothing decrypted stays on the disk
    Edit(Edit),
    /// Create a vault file in an editor
    Create(Edit),
    /// Encrypt files
    Encrypt(Convert),
    /// Decrypt files
    Decrypt(Convert),
    /// Encrypt vault files with a new key
    Rekey(Rekey),
    /// Encrypt a value for a variables file
    #[command(alias = "encrypt_string")]
    EncryptString(EncryptString),
}

/// Whose keys.
#[derive(Debug, clap::Args)]
pub(super) struct Whose {
    /// The environment whose keys are used [default: the one the file is in]
    #[arg(long = "env", value_name = "ENV")]
    environment: Option<String>,
    #[command(flatten)]
    flags: KeyFlags,
}

/// With which key something is encrypted.
#[derive(Debug, clap::Args)]
pub(super) struct With {
    /// Encrypt with the key of this vault id, where there are several
    #[arg(long = "encrypt-vault-id", value_name = "ID")]
    id: Option<String>,
}

/// Prints what is in vault files.
#[derive(Debug, clap::Args)]
pub(super) struct View {
    /// The files; `-` is stdin
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    #[command(flatten)]
    whose: Whose,
}

/// Changes or makes a vault file in an editor.
#[derive(Debug, clap::Args)]
pub(super) struct Edit {
    /// The file; the editor is $VISUAL, $EDITOR or vi
    #[arg(value_name = "FILE")]
    file: String,
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    with: With,
}

/// Encrypts or decrypts files.
#[derive(Debug, clap::Args)]
pub(super) struct Convert {
    /// The files; each is replaced as a whole. `-` is stdin, and the result goes to stdout
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    /// Write the result of the only file to this one, or to stdout if it is `-`
    #[arg(long, value_name = "FILE")]
    output: Option<String>,
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    with: With,
}

/// Encrypts files with another key.
#[derive(Debug, clap::Args)]
pub(super) struct Rekey {
    /// The files; none is changed before all were opened
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    #[command(flatten)]
    whose: Whose,
    /// The new key: ID@FILE, ID@prompt or FILE [default: it is asked for]
    #[arg(long, value_name = "ID@SOURCE")]
    new_vault_id: Option<String>,
    /// A file with the new key
    #[arg(long, value_name = "FILE", conflicts_with = "new_vault_id")]
    new_vault_password_file: Option<String>,
}

/// Encrypts one value.
#[derive(Debug, clap::Args)]
pub(super) struct EncryptString {
    /// Not here: it would be seen in the list of processes. It is asked for, or read from stdin.
    #[arg(value_name = "TEXT", hide = true)]
    text: Option<String>,
    /// The name of the variable
    #[arg(short, long, visible_alias = "stdin-name", value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    with: With,
}

/// Runs the command.
pub(super) async fn run(global: &Global, command: &VaultCommand) -> Result<Exit, Failure> {
    match command {
        VaultCommand::View(command) => view(global, command).await,
        VaultCommand::Edit(command) => edit(global, command).await,
        VaultCommand::Create(command) => create(global, command).await,
        VaultCommand::Encrypt(command) => convert(global, command, Way::Encrypt).await,
        VaultCommand::Decrypt(command) => convert(global, command, Way::Decrypt).await,
        VaultCommand::Rekey(command) => rekey(global, command).await,
        VaultCommand::EncryptString(command) => encrypt_string(global, command).await,
    }?;
    Ok(Exit::Success)
}

type Done = Result<(), Diagnostics>;

async fn view(global: &Global, command: &View) -> Done {
    let mut rings = Rings::new(global, &command.whose);
    let mut problems = Diagnostics::new();
    for name in &command.files {
        let opened = opened(name, &mut rings).await;
        if let Some(opened) = problems.keep(opened) {
            ui::raw(opened.plain.expose());
        }
    }
    problems.result(())
}

async fn edit(global: &Global, command: &Edit) -> Done {
    let path = Path::new(&command.file);
    let before = read(&command.file)?;
    let mut rings = Rings::new(global, &command.whose);
    let ring = rings.of(&command.file)?;
    let opened = open(&command.file, &before, ring).await?;
    // As in Ansible: who opened it closes it, unless another key is asked for.
    let (key, id) = match &command.with.id {
        Some(id) => ring.to_encrypt(Some(id)).await.map(|new| (new.key, new.id))?,
        None => (opened.key.clone(), opened.id.clone()),
    };
    let Some(after) = editor::edit(path, opened.plain.expose()).await? else {
        ui::say(&format!("{}: nothing was changed", path.display()));
        return Ok(());
    };
    let text = sealed(after.expose(), &key, id.as_deref())?;
    if fs::read(path).ok().as_ref() != Some(&before) {
        let what = format!("{} was changed by another program meanwhile and is not overwritten", path.display());
        return Err(Diagnostic::error(what).into());
    }
    replace(path, text.as_bytes())?;
    ui::say(&format!("{}: changed and encrypted{}", path.display(), by(id.as_deref())));
    Ok(())
}

async fn create(global: &Global, command: &Edit) -> Done {
    let path = Path::new(&command.file);
    if path.symlink_metadata().is_ok() {
        let problem = Diagnostic::error(format!("{} already exists", path.display()));
        return Err(problem.hint(format!("to change it: armilla vault edit {}", path.display())).into());
    }
    let mut rings = Rings::new(global, &command.whose);
    let NewKey { key, id, .. } = rings.of(&command.file)?.to_encrypt(command.with.id.as_deref()).await?;
    let Some(plain) = editor::edit(path, b"").await? else {
        ui::say("the text is empty; no file was created");
        return Ok(());
    };
    replace(path, sealed(plain.expose(), &key, id.as_deref())?.as_bytes())?;
    ui::say(&format!("{}: made and encrypted{}", path.display(), by(id.as_deref())));
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Encrypt,
    Decrypt,
}

/// Everything is converted before the first file is replaced.
async fn convert(global: &Global, command: &Convert, way: Way) -> Done {
    if command.output.is_some() && command.files.len() > 1 {
        return Err(Diagnostic::error("--output works with one file only").into());
    }
    let mut rings = Rings::new(global, &command.whose);
    let mut problems = Diagnostics::new();
    let mut converted = Vec::new();
    for name in &command.files {
        let result = match way {
            Way::Encrypt => encrypted(name, &mut rings, command.with.id.as_deref()).await,
            Way::Decrypt => opened(name, &mut rings).await.map(|opened| (opened.plain, "decrypted".to_owned())),
        };
        converted.extend(problems.keep(result).map(|result| (name, result)));
    }
    problems.result(())?;
    for (name, (content, done)) in converted {
        write(command.output.as_ref().unwrap_or(name), content.expose(), &done)?;
    }
    Ok(())
}

async fn encrypted(
    name: &str,
    rings: &mut Rings<'_>,
    id: Option<&str>,
) -> Result<(Secret<Vec<u8>>, String), Diagnostics> {
    let plain = read(name)?;
    let ring = rings.of(name)?;
    if vault::is_encrypted(&plain) {
        let problem = Diagnostic::error(format!("{name} is already encrypted"));
        return Err(problem.hint(format!("to change its key: armilla vault rekey {name}")).into());
    }
    let NewKey { key, id, .. } = ring.to_encrypt(id).await?;
    let text = sealed(&plain, &key, id.as_deref())?;
    Ok((Secret::new(text.into_bytes()), format!("encrypted{}", by(id.as_deref()))))
}

async fn rekey(global: &Global, command: &Rekey) -> Done {
    let mut rings = Rings::new(global, &command.whose);
    let mut problems = Diagnostics::new();
    let mut opened = Vec::new();
    for name in &command.files {
        let result = self::opened(name, &mut rings).await;
        opened.extend(problems.keep(result).map(|opened| (name, opened)));
    }
    problems.result(())?;
    let new = match (&command.new_vault_id, &command.new_vault_password_file) {
        (Some(text), _) => crate::settings::VaultKey::parse(text)?,
        (None, Some(path)) => keys::password_file("--new-vault-password-file", path),
        (None, None) => keys::asked("--new-vault-id"),
    };
    let new = KeySources { first: vec![new], fallback: None };
    let NewKey { key, id, .. } = keys::new_ring(&new, rings.settings()).to_encrypt(None).await?;
    for (name, opened) in opened {
        let text = sealed(opened.plain.expose(), &key, id.as_deref())?;
        write(name, text.as_bytes(), &format!("encrypted{}", by(id.as_deref())))?;
    }
    Ok(())
}

async fn encrypt_string(global: &Global, command: &EncryptString) -> Done {
    if command.text.as_ref().is_some_and(|text| text != "-") {
        let problem = Diagnostic::error("a secret on the command line is visible to everyone on this machine");
        return Err(problem.hint("omit it to be asked for it, or pass it on stdin").into());
    }
    if let Some(name) = &command.name {
        crate::inventory::check_variable(name)?;
    }
    let mut rings = Rings::new(global, &command.whose);
    let NewKey { key, id, .. } = rings.of("-")?.to_encrypt(command.with.id.as_deref()).await?;
    let plain = match Terminal.password("Text to encrypt: ") {
        Ok(typed) => Secret::new(typed.expose().clone().into_bytes()),
        Err(PromptError::Unavailable) => Secret::new(read("-")?),
        Err(PromptError::Failed(why)) => return Err(Diagnostic::error(format!("cannot read the text: {why}")).into()),
    };
    if plain.expose().ends_with(b"\n") {
        ui::say("note: the text ends with a line break, which is now part of it: use `printf %s TEXT` to omit it");
    }
    let text = sealed(plain.expose(), &key, id.as_deref())?;
    ui::result(&value(command.name.as_deref(), &text));
    Ok(())
}

/// As `ansible-vault encrypt_string` prints it.
fn value(name: Option<&str>, text: &str) -> String {
    let rows = text.lines().map(|row| format!("          {row}")).collect::<Vec<_>>().join("\n");
    let name = name.map_or_else(String::new, |name| format!("{name}: "));
    format!("{name}!vault |\n{rows}")
}

fn by(id: Option<&str>) -> String {
    id.map_or_else(String::new, |id| format!(" with the vault id {id}"))
}

/// A file, or stdin.
fn read(name: &str) -> Result<Vec<u8>, Diagnostic> {
    let mut bytes = Vec::new();
    if name != "-" {
        return fs::read(name).map_err(|error| Diagnostic::error(format!("{name} cannot be read: {error}")));
    }
    if io::stdin().is_terminal() {
        ui::say("(reading from the terminal; Ctrl-D ends it)");
    }
    let read = io::stdin().lock().read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|error| Diagnostic::error(format!("stdin cannot be read: {error}")))
}

async fn opened(name: &str, rings: &mut Rings<'_>) -> Result<Opened, Diagnostics> {
    let bytes = read(name)?;
    open(name, &bytes, rings.of(name)?).await
}

async fn open(name: &str, bytes: &[u8], ring: &Keyring) -> Result<Opened, Diagnostics> {
    let source = Source::new(if name == "-" { "(stdin)" } else { name }, String::from_utf8_lossy(bytes));
    if !vault::is_encrypted(bytes) {
        let problem = Diagnostic::error(format!("{} is not encrypted", source.name));
        return Err(problem.hint(format!("a vault file begins with `{}`", vault::HEADER)).into());
    }
    ring.open(&source.text, &Encrypted::File(Origin::start(&source))).await
}

fn sealed(plain: &[u8], key: &Key, id: Option<&str>) -> Result<String, Diagnostic> {
    let mut salt = [0; vault::SALT];
    getrandom::fill(&mut salt).map_err(|error| Diagnostic::error(format!("no random numbers available: {error}")))?;
    Ok(vault::seal(plain, key, id, &salt))
}

fn write(name: &str, content: &[u8], done: &str) -> Result<(), Diagnostic> {
    if name == "-" {
        ui::raw(content);
        return Ok(());
    }
    replace(Path::new(name), content)?;
    ui::say(&format!("{name}: {done}"));
    Ok(())
}

fn replace(path: &Path, content: &[u8]) -> Result<(), Diagnostic> {
    store::replace(path, content).map_err(|error| {
        Diagnostic::error(format!("{} cannot be written: {error}", path.display())).hint("the file is unchanged")
    })
}

/// The keys of each environment that files are in.
struct Rings<'a> {
    global: &'a Global,
    whose: &'a Whose,
    known: BTreeMap<Option<(PathBuf, EnvName)>, (Keyring, ProjectSettings)>,
}

impl<'a> Rings<'a> {
    fn new(global: &'a Global, whose: &'a Whose) -> Self {
        Self { global, whose, known: BTreeMap::new() }
    }

    /// The keys for a file; `-` is in no environment.
    fn of(&mut self, file: &str) -> Result<&Keyring, Diagnostics> {
        let place = self.place(file)?;
        if !self.known.contains_key(&place) {
            let ring = self.ring(place.as_ref())?;
            self.known.insert(place.clone(), ring);
        }
        let missing = || Diagnostic::error("the keys were not read").into();
        self.known.get(&place).map(|(ring, _)| ring).ok_or_else(missing)
    }

    /// What the project of the first file allows.
    fn settings(&self) -> &ProjectSettings {
        static NOTHING: ProjectSettings = ProjectSettings { project: None, allow_commands: Vec::new() };
        self.known.values().next().map_or(&NOTHING, |(_, settings)| settings)
    }

    /// The project and environment whose keys count.
    fn place(&self, file: &str) -> Result<Option<(PathBuf, EnvName)>, Diagnostics> {
        let name = |text: &str| EnvName::new(text).map_err(|why| Diagnostic::error(why.to_string()));
        if let Some(environment) = &self.whose.environment {
            let workspace = load::workspace(self.global)?;
            if !workspace.has(environment) {
                let known = workspace.environments();
                let hint = crate::name::did_you_mean(environment, known.iter().map(String::as_str));
                return Err(Diagnostic::error(format!("unknown environment `{environment}`")).maybe_hint(hint).into());
            }
            return Ok(Some((workspace.root().to_owned(), name(environment)?)));
        }
        let found = store::environment_of(Path::new(file)).filter(|_| file != "-");
        Ok(found.and_then(|(root, environment)| Some((root, EnvName::new(&environment).ok()?))))
    }

    fn ring(&self, place: Option<&(PathBuf, EnvName)>) -> Result<(Keyring, ProjectSettings), Diagnostics> {
        let workspace = match place {
            Some((root, _)) => Some(load::workspace_at(root)?),
            None => load::workspace(self.global).ok(),
        };
        keys::ring(workspace.as_ref(), &self.whose.flags, place.map(|(_, environment)| environment))
    }
}
