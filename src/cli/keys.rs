//! The flags that name keys of vault files, and the person who types one.

use std::sync::Arc;

use crate::diag::{Diagnostics, Origin, Source};
use crate::name::EnvName;
use crate::secret::Secret;
use crate::settings::{EnvironmentSettings, KeySource, ProjectSettings, VaultKey};
use crate::workspace::{KeySources, Keyring, Programs, Prompt, PromptError, Variables, Workspace};

use super::ui;

/// Where the keys of vault files come from.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct KeyFlags {
    /// A vault key: ID@FILE, ID@prompt or FILE; tried before the keys in environment.yml
    #[arg(long = "vault-id", value_name = "ID@SOURCE")]
    pub(super) vault_ids: Vec<String>,
    /// Read the vault key from this file
    #[arg(long = "vault-password-file", visible_alias = "vault-pass-file", value_name = "FILE")]
    pub(super) password_files: Vec<String>,
    /// Ask for the vault key
    #[arg(short = 'J', long = "ask-vault-pass", visible_alias = "ask-vault-password")]
    pub(super) ask_vault_pass: bool,
}

/// Ansible's way to name a key file for every command; used where nothing nearer names a key.
const VARIABLE: &str = "ANSIBLE_VAULT_PASSWORD_FILE";

impl KeyFlags {
    /// The keys that the flags and Ansible's variable name, in the order in which they are tried.
    ///
    /// # Errors
    /// Every id that is none.
    pub(super) fn sources(&self) -> Result<KeySources, Diagnostics> {
        let mut problems = Diagnostics::new();
        let ids = self.vault_ids.iter().filter_map(|text| problems.keep(VaultKey::parse(text).map_err(Into::into)));
        let mut keys: Vec<VaultKey> = ids.collect();
        keys.extend(self.password_files.iter().map(|path| password_file("--vault-password-file", path)));
        if self.ask_vault_pass {
            keys.push(asked("--ask-vault-pass"));
        }
        let named = std::env::var(VARIABLE).ok().filter(|path| !path.is_empty());
        problems.result(KeySources { first: keys, fallback: named.map(|path| password_file(VARIABLE, &path)) })
    }

    /// What to type to give the same keys.
    pub(super) fn to_type(&self) -> Vec<String> {
        let ids = self.vault_ids.iter().flat_map(|id| ["--vault-id".to_owned(), id.clone()]);
        let files = self.password_files.iter().flat_map(|file| ["--vault-password-file".to_owned(), file.clone()]);
        ids.chain(files).chain(self.ask_vault_pass.then(|| "-J".to_owned())).collect()
    }
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

/// The keys that flags name and those of an environment, and the settings of the project; without a project, those of the
/// flags.
///
/// # Errors
/// What is wrong in the flags and settings.
pub(super) fn ring(
    workspace: Option<&Workspace>,
    flags: &KeyFlags,
    environment: Option<&EnvName>,
) -> Result<(Keyring, ProjectSettings), Diagnostics> {
    let sources = flags.sources()?;
    match workspace {
        Some(workspace) => workspace.keys(&sources, environment),
        None => Ok((new_ring(&sources, &ProjectSettings::default()), ProjectSettings::default())),
    }
}

/// These keys and no others.
pub(super) fn new_ring(sources: &KeySources, settings: &ProjectSettings) -> Keyring {
    let programs = Programs::new(".".into(), settings.clone(), Variables::new(std::env::vars_os()));
    let prompt: Arc<dyn Prompt> = Arc::new(Terminal);
    Keyring::new(sources, &EnvironmentSettings::default(), &programs, &prompt)
}

/// The person at the terminal.
pub(super) struct Terminal;

impl Prompt for Terminal {
    fn password(&self, question: &str) -> Result<Secret<String>, PromptError> {
        if !ui::can_ask() {
            return Err(PromptError::Unavailable);
        }
        let typed = rpassword::prompt_password(question);
        typed.map(Secret::new).map_err(|error| PromptError::Failed(error.to_string()))
    }
}
