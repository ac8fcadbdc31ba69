//! Resuming an interrupted run, by what it wanted then.
//!
//! Nothing is guessed: every host is read again, and what was done is not in the plan any more. A run never goes back in time:
//! where a later run changed a host, or found it as described, the interrupted one is overtaken.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Abort, Locked, Stop, Survey, plan_file};
use crate::apply::Event;
use crate::diag::{Diagnostic, shown};
use crate::history::{History, Progress, Run};
use crate::ledger::Applied;
use crate::name::{EnvName, HostName, ProjectId, RunId};
use crate::plan::saved::SavedPlan;
use crate::plan::{Begun, Plan, rollback};
use crate::rollout::Restoration;
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
    /// When a later run has overtaken it, or it is stopped.
    pub async fn survey_resumption(&self, saved: &SavedPlan, old: &Run, stop: &Stop) -> Result<Resumption, Abort> {
        let mut survey = self.survey_catalog(saved.catalog.clone(), stop).await?;
        survey.revision.clone_from(&saved.about.revision);
        let chain = chain(self.session().history(), old);
        if let Some((host, later)) = overtaken(&survey.plan, &saved.plan, &chain) {
            return Err(refusal(old, &format!("{host}: run {} of {} by {}", later.run, later.at, later.who)).into());
        }
        survey.plan.leave_out_done(&survey.observed, &chain);
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

/// The run that can be resumed: the last one of an environment, if it was interrupted or failed; of several environments the
/// latest. What came before the last run of its environment is overtaken by it. Only runs of a project count, given by its folder
/// and identity, or all of this machine.
pub fn last_open(history: &History, project: Option<(&Path, Option<&ProjectId>)>) -> Option<Run> {
    let mut runs = history.list();
    runs.retain(|run| project.is_none_or(|(root, id)| is_of(run, root, id)));
    let mut seen: BTreeSet<(EnvName, Option<ProjectId>)> = BTreeSet::new();
    let lasts = runs.iter().rev().filter(|run| seen.insert((run.head.environment.clone(), run.head.id.clone())));
    let open = |run: &&Run| match run.progress() {
        Progress::Ended(end) => !end.outcome.is_settled(),
        Progress::Interrupted => true,
        Progress::Running => false,
    };
    lasts.into_iter().find(open).cloned()
}

/// Refuses a run that must not be resumed: it still runs, or a later run of this machine worked on the same hosts of its
/// environment. Runs of other machines are found on the hosts.
///
/// # Errors
/// Why it must not.
pub fn check(history: &History, old: &Run, plan: &Plan) -> Result<(), Diagnostic> {
    let run = &old.head.run;
    if matches!(old.progress(), Progress::Running) {
        let problem = Diagnostic::error(format!("run {run} is still running; nothing was changed"));
        return Err(problem.hint(format!("follow it with `armilla runs log {run} --follow`")));
    }
    let hosts = hosts(plan);
    let same = |later: &&Run| {
        later.head.run > *run && later.head.environment == old.head.environment && later.head.id == old.head.id
    };
    let touches = |later: &Run| {
        plan_file::read(&later.plan_file()).is_ok_and(|file| !hosts.is_disjoint(&self::hosts(&file.shown)))
    };
    let later = history.list();
    let Some(later) = later.iter().filter(same).find(|later| touches(later)) else { return Ok(()) };
    let head = &later.head;
    let problem = refusal(old, &format!("run {} of {} by {}", head.run, head.at, head.who));
    let resumed = chain(history, later).contains(run);
    Err(if resumed { problem.hint(format!("it resumed this one: armilla resume {}", head.run)) } else { problem })
}

/// The hosts on which a plan does something.
fn hosts(plan: &Plan) -> BTreeSet<HostName> {
    plan.stages.iter().filter_map(|stage| stage.work.host().cloned()).collect()
}

fn refusal(old: &Run, later: &str) -> Diagnostic {
    let run = &old.head.run;
    let what = format!("run {run} cannot be resumed: a later run has overtaken it; nothing was changed\n  {later}");
    let hint = format!("plan again from the project's files: armilla plan {}", old.head.environment);
    Diagnostic::error(shown(&what)).hint(hint)
}

/// A host that a later run changed, or found as described, since the interrupted run read it. `chain` are that run and those
/// that it resumed.
fn overtaken(now: &Plan, then: &Plan, chain: &BTreeSet<RunId>) -> Option<(HostName, Applied)> {
    now.bases.iter().find_map(|(host, base)| {
        let before = then.bases.get(host);
        let known = |run: &RunId, of: Option<&Applied>| chain.contains(run) || of.is_some_and(|of| of.run == *run);
        let changed = base.last.as_ref().filter(|last| !known(&last.run, before.and_then(|base| base.last.as_ref())));
        let confirmed = base.converged.as_ref().filter(|converged| {
            // A plan from before this was kept does not say which run that was; names of runs are in their order.
            let earlier = chain.iter().all(|run| converged.run < *run);
            !earlier && !known(&converged.run, before.and_then(|base| base.converged.as_ref()))
        });
        Some((host.clone(), changed.or(confirmed)?.clone()))
    })
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
