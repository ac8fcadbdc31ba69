//! `armilla resume [RUN]`: resumes an interrupted run, by what it wanted then.

use super::consent::Consent;
use super::environment::Question;
use super::plan::{AfterPlan, Shape};
use super::screen::Telling;
use super::{Connection, Exit, Failure, Global, apply_file, completion, hosts, identity, load, plan, runs, saved, ui};
use crate::diag::{Diagnostic, Diagnostics, shown};
use crate::history::Run;
use crate::operation::resume::{self, Direction, Resumption};
use crate::operation::{Ground, Proposal};
use crate::report::human;

/// Resumes an interrupted or failed run. Every host is read again: what was done is not done twice. A run that a later one has
/// overtaken is refused.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Resume {
    /// The run, or a prefix of its name; the last interrupted or failed run of this project by default
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
It applies what the interrupted run was to apply, not what the project's files say now. For that: `armilla apply`.

Examples:
  armilla resume                      the last interrupted or failed run of this project
  armilla resume 20261121-1402        the run with this prefix (see armilla runs list)";

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Resume) -> Result<Exit, Failure> {
    let old = match &command.run {
        Some(typed) => runs::find(Some(typed))?,
        None => last(global)?,
    };
    let project = global.project.clone().or_else(|| Some(old.head.project.clone()));
    let global = &Global { project, ..global.clone() };
    let opened = saved::open(global, &old.plan_file(), &command.keys).await?;
    let connection = saved::connection(&opened, &command.connection)?;
    let about = &opened.plan.about;
    let question = Question::of_saved(opened.workspace.as_ref(), about);
    let project = opened.workspace.as_ref().map(|workspace| workspace.root().to_owned());
    resume::check(&identity::history()?, &old, &opened.plan.plan)?;
    let ground =
        Ground::of_saved(about, &opened.plan.plan.owner, opened.plan.catalog.endpoints().into_values().collect());
    let telling = Telling {
        json: command.shape.json,
        detailed: command.consent.detailed_exitcode,
        plan_command: apply_file::plan_command(&about.environment, &connection),
        patience: Some(command.consent.patience.clone()),
    };
    let shape = Shape { next: AfterPlan::Doing, ..command.shape.clone() };
    ui::say(&format!("resuming run {} of {}: {}", old.head.run, old.head.at, shown(&old.head.command)));
    hosts::contact(global, &connection, telling, async |hosts| {
        let decide = async |locked: &hosts::Locks| {
            let resumption = locked.survey_resumption(&opened.plan, &old, &hosts.stop).await?;
            let Resumption { survey, direction } = resumption;
            if direction == Direction::Back {
                ui::say("that run was rolling back: this one completes the rollback");
            }
            let source = plan::Source::saved(about, human::Read::Now(survey.took), None);
            plan::print_plan(global, &shape, &survey.plan, source);
            let proposal = Proposal::new(survey, about.clone(), project, opened.sealer.clone());
            command.consent.decide(hosts, proposal.resuming(old.head.run.clone()), &question).await
        };
        hosts.change(&ground, decide).await
    })
    .await
}

/// The last run that did not converge: of the project one is in, if one is in one. What another project left undone is
/// resumed only by its name.
fn last(global: &Global) -> Result<Run, Diagnostics> {
    let here = load::workspace(global).ok();
    let settings = here.as_ref().map(|here| here.settings(None)).transpose()?;
    let project = settings.and_then(|(settings, _)| settings.project);
    let last = resume::last_open(&identity::history()?, here.as_ref().map(|here| (here.root(), project.as_ref())));
    last.ok_or_else(|| {
        let place = if here.is_some() { "this project" } else { "this machine" };
        Diagnostic::error(format!("{place} has no run to resume: the last run of each environment is complete"))
            .hint("to list all runs: armilla runs list")
            .into()
    })
}
