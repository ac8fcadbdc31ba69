//! `armilla resume [RUN]`: goes on with a run that was cut off, by what it wanted then.
//!
//! In: a run of this machine. Out: the same hosts brought to what that run wanted. Never: a guess about a step: every host is
//! read again, and what was done is not in the plan any more.

use std::collections::BTreeSet;

use super::leases::{self, Ground};
use super::perform::Show;
use super::plan::{Next, Shape};
use super::proposal::{Consent, Proposal};
use super::survey;
use super::{Connection, Exit, Global, Selection, completion, environment, identity, load, runs, saved, show, ui};
use crate::apply::{Event, Restoration};
use crate::diag::{Diagnostic, Diagnostics};
use crate::history::Run;
use crate::name::RunId;
use crate::plan::{Begun, rollback};
use crate::report::human;
use crate::workspace::Workspace;

/// Goes on with a run that was cut off. The hosts are read again: what was done is not done twice, what is not known is
/// looked at.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Resume {
    /// The run, or the beginning of its name; the last one that did not converge if not given
    #[arg(value_name = "RUN", add = clap_complete::ArgValueCompleter::new(completion::runs))]
    run: Option<String>,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    keys: super::keys::KeyFlags,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    connection: Connection,
}

const HELP: &str = "\
It wants what that run wanted, whatever the project's files say today. For what they say today: `armilla apply`.

Examples:
  armilla resume                      the last run of this machine that did not converge
  armilla resume 20261121-1402        the run whose name begins so (armilla runs list)";

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Resume) -> Exit {
    resume(global, command).await.unwrap_or_else(|problems| {
        ui::problems(&problems);
        Exit::Error
    })
}

async fn resume(global: &Global, command: &Resume) -> Result<Exit, Diagnostics> {
    let old = match &command.run {
        Some(typed) => runs::find(Some(typed))?,
        None => last_open(global)?,
    };
    let path = old.plan_file();
    let file = saved::read(&path)?;
    let name = file.about.environment.clone();
    let selection = Selection { keys: command.keys.clone(), ..Selection::of(name.as_str()) };
    let global =
        &Global { project: global.project.clone().or_else(|| Some(old.head.project.clone())), ..global.clone() };
    let (workspace, keys, settings) = saved::keys_for(global, &selection, &name)?;
    let saved = saved::open(&path, &file, &keys, &settings).await?;
    let connection = saved::connection(&file, &command.connection)?;
    let fleet = survey::fleet_of(global, &connection)?;
    let question = environment::banner_of(workspace.as_ref(), &name, file.about.hosts);
    let run = identity::new_run()?;
    ui::say(&format!("going on with the run {} of {}", old.head.run, old.head.at));
    let hosts: Vec<_> = saved.catalog.endpoints().into_values().collect();
    let ground = Ground::of_saved(&saved.about, hosts);
    let leases = match leases::acquire(&fleet, &ground, &run, &command.consent.patience).await {
        Ok(leases) => leases,
        Err(exit) => return Ok(exit),
    };
    let mut survey = survey::of(&fleet, saved.catalog.clone()).await;
    survey.plan.leave_out_done(&survey.observed, &chain(&old));
    if let Some(back) = rollback(&saved.plan, &begun(&old)) {
        ui::say("that run was putting back what it had changed: so does this one");
        survey.plan = back;
    }
    let shape = Shape { next: Next::Doing, ..command.shape.clone() };
    show::print_plan(global, &shape, &file.about, &survey.plan, human::Read::Now(survey.took), None);
    let proposal = Proposal {
        fleet: &fleet,
        leases,
        survey: &survey,
        about: file.about.clone(),
        keys: &keys,
        project: workspace.as_ref().map(Workspace::root),
        run,
        resumes: Some(old.head.run.clone()),
        consent: &command.consent,
        show: Show::new(
            global,
            &command.shape,
            &command.consent,
            format!("armilla plan {name}{}", if connection.lab { " --lab" } else { "" }),
        ),
    };
    let exit = proposal.decide(|| question.ask()).await;
    fleet.transport.close().await;
    exit
}

/// The last run that did not converge: of the project one is in, if one is in one. What another project left undone is
/// gone on with only by its name.
fn last_open(global: &Global) -> Result<Run, Diagnostics> {
    let here = load::workspace(global).ok();
    let mut runs = runs::history()?.list();
    runs.retain(|run| here.as_ref().is_none_or(|here| here.root() == run.head.project));
    let gone_on: BTreeSet<RunId> = runs.iter().filter_map(|run| run.head.resumes.clone()).collect();
    let open = |run: &&Run| run.end.as_ref().is_none_or(|end| !matches!(end.exit, 0 | 2 | 5));
    let last = runs.iter().rev().filter(|run| !gone_on.contains(&run.head.run)).find(open).cloned();
    last.ok_or_else(|| {
        let place = if here.is_some() { "this project" } else { "this machine" };
        Diagnostic::error(format!("no run of {place} is left to go on with"))
            .hint("`armilla runs list` shows all")
            .into()
    })
}

/// How far a run came, and what it was putting back.
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

/// A run and those it went on with.
fn chain(run: &Run) -> BTreeSet<RunId> {
    let mut found = BTreeSet::from([run.head.run.clone()]);
    let mut before = run.head.resumes.clone();
    while let Some(name) = before.filter(|name| found.insert(name.clone())) {
        before = runs::find(Some(name.as_str())).ok().and_then(|run| run.head.resumes);
    }
    found
}
