//! A plan that may become a run, and what is known about it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::plan_file::{self, Made, Sealer};
use super::{Session, Survey};
use crate::diag::{Diagnostic, Diagnostics};
use crate::name::RunId;
use crate::plan::Observed;
use crate::plan::saved::{About, File, SavedPlan};
use crate::step::Digest;
use crate::transport::Transport;
use crate::workspace::{Environment, Keyring};

/// A plan that may become a run.
pub struct Proposal {
    /// What is desired, what was found, and the plan.
    pub survey: Survey,
    /// What is recorded about the plan.
    pub about: About,
    /// The project's folder, where there is one.
    pub project: Option<PathBuf>,
    /// The interrupted run that it resumes.
    pub resumes: Option<RunId>,
    /// The file that it was read from.
    pub(super) saved: Option<Saved>,
    /// What its secrets are sealed with where it is recorded.
    pub(super) sealer: Arc<Sealer>,
}

/// A plan that was read from a file.
pub(super) struct Saved {
    pub(super) plan: SavedPlan,
    pub(super) bytes: Vec<u8>,
    pub(super) digest: Digest,
}

impl Proposal {
    /// A plan that was just made of the desired state that `about` names.
    pub fn new(survey: Survey, about: About, project: Option<PathBuf>, sealer: Arc<Sealer>) -> Self {
        Self { survey, about, project, resumes: None, saved: None, sealer }
    }

    /// A plan that was read from a file.
    pub fn of_file(plan: SavedPlan, file: &File, project: Option<PathBuf>, sealer: Arc<Sealer>) -> Self {
        let survey = Survey {
            catalog: plan.catalog.clone(),
            observed: Observed::new(),
            plan: plan.plan.clone(),
            took: Duration::ZERO,
            revision: plan.about.revision.clone(),
            warnings: Diagnostics::new(),
        };
        let about = plan.about.clone();
        let saved = Saved { plan, bytes: file.bytes().to_vec(), digest: file.digest.clone() };
        Self { survey, about, project, resumes: None, saved: Some(saved), sealer }
    }

    /// The same as the continuation of an interrupted run.
    #[must_use]
    pub fn resuming(self, run: RunId) -> Self {
        Self { resumes: Some(run), ..self }
    }

    /// Writes the plan to a file.
    ///
    /// # Errors
    /// When there is no key for its secrets, or the file cannot be written.
    pub async fn save(&self, path: &Path) -> Result<Made, Diagnostics> {
        let made = self.made().await?;
        plan_file::write(path, &made, &self.sealer).await?;
        Ok(made)
    }

    /// The plan as it is in a file.
    pub(super) async fn made(&self) -> Result<Made, Diagnostics> {
        plan_file::make(self.about.clone(), &self.survey.plan, &self.survey.catalog, &self.sealer).await
    }

    /// Whether there is nothing to do on any host: nothing to change, and no health check to wait for.
    pub fn is_empty(&self) -> bool {
        !self.survey.plan.has_work()
    }
}

impl<T: Transport> Session<T> {
    /// A plan of an environment that was just made. What it was limited to may be added to its `about`.
    pub fn propose(&self, environment: &Environment, survey: Survey) -> Proposal {
        let about = plan_file::about(environment, &survey, self.identity());
        let sealer = self.sealer(Arc::clone(&environment.keys));
        // An environment of texts has no folder.
        let root = Some(environment.root.clone()).filter(|root| !root.as_os_str().is_empty());
        Proposal::new(survey, about, root, sealer)
    }

    /// What secrets of plans are sealed with: a key of the environment, or this machine's own beside the recorded runs.
    pub fn sealer(&self, keys: Arc<Keyring>) -> Arc<Sealer> {
        let none = || Diagnostic::error("no folder for this machine's own key");
        Arc::new(Sealer::new(keys, self.history().state().map(Path::to_owned).ok_or_else(none)))
    }
}
