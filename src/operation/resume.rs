//! Resuming an interrupted run, by what it wanted then.
//!
//! Nothing is guessed: every host is read again, and what was done is not in the plan any more.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Abort, Locked, Stop, Survey};
use crate::apply::{Event, Restoration};
use crate::history::{History, Run};
use crate::name::{ProjectId, RunId};
use crate::plan::saved::SavedPlan;
use crate::plan::{Begun, rollback};
use crate::transport::Transport;

/// What is left of an interrupted run.
#[derive(Debug, Clone)]
pub struct Resumption {
    /// The hosts as they are now, and what is left to do.
    pub survey: Survey,
    /// What that is.
    pub direction: Direction,
}

/// What is left of an interrupted run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// It goes on.
    Forward,
    /// It was rolling back, and so does what resumes it.
    Back,
}

impl<T: Transport> Locked<T> {
    /// Reads the hosts of an interrupted run, and works out what is left of it.
    ///
    /// # Errors
    /// When it is stopped.
    pub async fn survey_resumption(&self, saved: &SavedPlan, old: &Run, stop: &Stop) -> Result<Resumption, Abort> {
        let mut survey = self.survey_catalog(saved.catalog.clone(), stop).await?;
        survey.revision.clone_from(&saved.about.revision);
        survey.plan.leave_out_done(&survey.observed, &chain(self.session().history(), old));
        let mut direction = Direction::Forward;
        if let Some(back) = rollback(&saved.plan, &begun(old)) {
            survey.plan = back;
            direction = Direction::Back;
        }
        Ok(Resumption { survey, direction })
    }
}

/// Whether a run is of the project in this folder, which may have been moved, copied, or taken by another project since.
fn is_of(run: &Run, root: &Path, project: Option<&ProjectId>) -> bool {
    match (&run.head.id, project) {
        (Some(theirs), Some(ours)) => theirs == ours,
        _ => *root == *run.head.project,
    }
}

/// The last run that can be resumed: of a project, by its folder and identity, or of this machine. One that another run resumed already does not count.
pub fn last_open(history: &History, project: Option<(&Path, Option<&ProjectId>)>) -> Option<Run> {
    let mut runs = history.list();
    runs.retain(|run| project.is_none_or(|(root, id)| is_of(run, root, id)));
    let resumed: BTreeSet<RunId> = runs.iter().filter_map(|run| run.head.resumes.clone()).collect();
    let open = |run: &&Run| run.end.as_ref().is_none_or(|end| !end.outcome.is_settled());
    runs.iter().rev().filter(|run| !resumed.contains(&run.head.run)).find(open).cloned()
}

/// How far a run came, and what it was rolling back.
fn begun(run: &Run) -> Begun {
    let mut begun = Begun::default();
    for (_, event) in &run.events {
        match event {
            Event::StageEnded { stage, end, .. } => {
                begun.changed.extend(end.has_changed().then_some(*stage));
                begun.well.extend(end.is_well().then_some(*stage));
            }
            Event::RollingBack { service, .. } => drop(begun.services.insert(service.clone())),
            Event::RolledBack { service, outcome: Restoration::Restored } => drop(begun.services.remove(service)),
            _ => {}
        }
    }
    begun
}

/// A run and those it resumed.
fn chain(history: &History, run: &Run) -> BTreeSet<RunId> {
    let mut found = BTreeSet::from([run.head.run.clone()]);
    let mut before = run.head.resumes.clone();
    while let Some(name) = before.filter(|name| found.insert(name.clone())) {
        before = history.find(name.as_str()).ok().and_then(|run| run.head.resumes);
    }
    found
}
