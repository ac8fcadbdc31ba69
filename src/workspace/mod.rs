//! A project folder, opened: one of its environments, complete and checked.
//!
//! In: a folder and a [`Request`]. Out: an [`Environment`], or everything that is wrong with what a user wrote. Never: a
//! host that is contacted, a line printed, or a variable of this process read: the caller hands them in.
//!
//! | file | what it does |
//! |---|---|
//! | `request` | what a caller wants: environment, hosts, resources, variables, keys |
//! | `reader` | from texts to typed values |
//! | `environment` | the result: immutable, shared between tasks |
//! | `project_identity` | which project it is, and which ledgers are its own |
//! | `neighbours` | machines that a production environment uses, too |
//! | `keyring` `secrets` | keys of vault files; what they decrypt |
//! | `program` | runs the programs that a project allows |
//! | `revision` | the commit of the project folder |

mod environment;
mod explain;
pub mod formatting;
mod keyring;
mod neighbours;
mod program;
mod project_identity;
mod reader;
mod request;
pub mod revision;
mod secrets;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use environment::{Environment, Selected, Unchecked};
pub use keyring::{Encrypted, Keyring, NewKey, NoPrompt, Opened, Prompt, PromptError};
pub use program::{ProgramError, Programs, Variables};
pub use project_identity::{Adoption, FILE, IdentityRecord, ProjectIdentity, new_file, only, record};
pub use reader::proxy_commands;
pub use request::{Addresses, Depth, KeySources, NoMatch, Request, Selector};

use crate::diag::{Diagnostic, Diagnostics};
use crate::name::EnvName;
use crate::project::Project;
use crate::settings::{EnvironmentSettings, ProjectSettings};
use crate::store;
use reader::{Files, Reader};

/// Where the settings of an environment are, in its folder.
const SETTINGS: &str = "environment.yml";

/// A project folder.
#[derive(Clone)]
pub struct Workspace {
    root: PathBuf,
    variables: Variables,
    prompt: Arc<dyn Prompt>,
}

impl Workspace {
    /// Opens the project at `start` or the nearest one above it.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(start: &Path) -> Result<Self, Diagnostic> {
        let start = start.canonicalize().map_err(|error| {
            Diagnostic::error(format!("cannot open the project folder {}: {error}", start.display()))
        })?;
        Ok(Self { root: store::find_project(&start)?, variables: Variables::default(), prompt: Arc::new(NoPrompt) })
    }

    /// The same with the environment variables of this process. Programs get a few of them.
    #[must_use]
    pub fn with_variables(self, variables: Variables) -> Self {
        Self { variables, ..self }
    }

    /// The same with somebody who can type a password.
    #[must_use]
    pub fn with_prompt(self, prompt: Arc<dyn Prompt>) -> Self {
        Self { prompt, ..self }
    }

    /// The project folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The names of the environments.
    pub fn environments(&self) -> Vec<String> {
        store::environments(&self.root)
    }

    /// Whether there is an environment of this name.
    pub fn has(&self, environment: &str) -> bool {
        self.environments().iter().any(|known| known == environment)
    }

    /// Reads and checks an environment.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub async fn environment(&self, request: &Request) -> Result<Environment, Diagnostics> {
        self.read(request).await?.check().await
    }

    /// Reads an environment, but leaves the check of what is desired on each host to the caller, who can log in to hosts
    /// meanwhile.
    ///
    /// # Errors
    /// Everything that is wrong so far; then with what the check finds.
    pub async fn read(&self, request: &Request) -> Result<Unchecked, Diagnostics> {
        let (root, wanted) = (self.root.clone(), request.clone());
        let mut reader = blocking(move || {
            let project = store::read_project(&root, Some(&wanted.environment))?;
            Ok::<_, Diagnostics>(Reader::new(project, &wanted))
        })
        .await?;
        let programs = self.programs(&reader.project_settings);
        let keys = Keyring::new(&request.keys, &reader.environment_settings, &programs, &self.prompt);
        let keys = Arc::new(keys);
        let set = reader.set_variables(&request.variables, &keys).await;
        let Some(texts) = reader.texts(&keys, &programs).await else { return Err(reader.problems) };
        let (root, wanted, ring) = (self.root.clone(), request.clone(), Arc::clone(&keys));
        let unchecked = blocking(move || {
            let files = Files { root: Some(root), texts: &texts };
            reader.finish(files, set, &wanted, ring)
        })
        .await?;
        unchecked.decrypt(request).await
    }

    /// The keys of an environment, and the settings of the project. Neither hosts nor roles are read.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn keys(
        &self,
        sources: &KeySources,
        environment: Option<&EnvName>,
    ) -> Result<(Keyring, ProjectSettings), Diagnostics> {
        let (project, environment) = self.settings(environment)?;
        Ok((Keyring::new(sources, &environment, &self.programs(&project), &self.prompt), project))
    }

    /// The programs that a project may run here.
    fn programs(&self, settings: &ProjectSettings) -> Programs {
        Programs::new(self.root.clone(), settings.clone(), self.variables.clone())
    }

    /// The settings of the project and of an environment.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn settings(
        &self,
        environment: Option<&EnvName>,
    ) -> Result<(ProjectSettings, EnvironmentSettings), Diagnostics> {
        let [project, environment] = store::read_settings(&self.root, environment)?;
        let project = Project {
            settings: project,
            environment: environment.into_iter().map(|source| (SETTINGS.to_owned(), source)).collect(),
            ..Project::default()
        };
        let mut problems = Diagnostics::new();
        let settings = reader::settings(&project, &mut problems);
        problems.result(settings)
    }
}

/// Runs work that reads files or computes for long on a thread where it delays no task.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime shuts down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
