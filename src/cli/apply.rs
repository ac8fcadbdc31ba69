//! `armilla apply ENV`: shows the plan, asks, and does exactly what it showed. A plan in a file is `apply_file.rs`'s.

use std::path::PathBuf;

use super::apply_file::{self, Typed};
use super::consent::Consent;
use super::environment::{self, Question};
use super::part::{Lists, Only};
use super::plan::{self, AfterPlan, Shape};
use super::screen::Telling;
use super::{Connection, Exit, Failure, Global, Selection, hosts, load, project_identity, saved};
use crate::operation::Ground;
use crate::workspace::Adoption;

/// Brings hosts to the state that the files describe, or applies a plan that `armilla plan -o FILE` saved.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = HELP, mut_arg("environment", |argument| argument.value_name("ENV|FILE").help(WHAT)))]
pub(super) struct Apply {
    /// The environment, or a file.
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub shape: Shape,
    /// Show the plan and stop, like `armilla plan`
    #[arg(short = 'C', long)]
    pub check: bool,
    #[command(flatten)]
    pub consent: Consent,
    #[command(flatten)]
    only: Only,
    #[command(flatten)]
    lists: Lists,
    #[command(flatten)]
    pub connection: Connection,
}

/// What is applied.
const WHAT: &str = "The environment, a folder of inventories/; or a file that `armilla plan -o FILE` wrote";

const HELP: &str = "\
Examples:
  armilla apply staging                      show the plan, ask, apply it
  armilla apply friday.plan -y               apply this saved plan; refuses hosts that changed since
  armilla apply staging --lock-timeout 10m   wait for a colleague's run

Ctrl-C lets running steps finish and starts nothing new; a second Ctrl-C stops at once. To continue: armilla resume";

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Apply) -> Result<Exit, Failure> {
    let command = &Apply { selection: command.selection.with(&command.only), ..command.clone() };
    let Apply { selection, connection, shape, consent, check, .. } = command;
    match file(global, selection) {
        Some(file) => {
            let typed = Typed { keys: &selection.keys, shape, check: *check, consent, connection };
            Box::pin(apply_file::apply(global, &file, &typed)).await
        }
        None if command.lists.any() => plan::list(global, selection, &command.lists, shape).await,
        None if *check => plan::show(global, selection, connection, (shape, consent.detailed_exitcode)).await,
        None => apply(global, command).await,
    }
}

/// The file that is meant, if what was typed is no environment of the project.
fn file(global: &Global, selection: &Selection) -> Option<PathBuf> {
    let typed = selection.environment()?;
    let is_environment = load::workspace(global).is_ok_and(|workspace| workspace.has(typed));
    let path = PathBuf::from(typed);
    let is_file = path.is_file() || (typed.contains('/') && !path.is_dir());
    (!is_environment && is_file).then_some(path)
}

async fn apply(global: &Global, command: &Apply) -> Result<Exit, Failure> {
    let Apply { selection, connection, consent, .. } = command;
    let environment = load::load(global, selection, connection).await?;
    let environment = environment.adopting(Adoption::of(consent.adopt));
    environment::banner(&environment);
    let telling = Telling {
        json: command.shape.json,
        detailed: consent.detailed_exitcode,
        plan_command: plan::to_type("plan", selection, connection),
        patience: Some(consent.patience.clone()),
    };
    let shape = Shape { next: AfterPlan::Doing, ..command.shape.clone() };
    hosts::contact(global, connection, telling, async |hosts| {
        // Locked before the hosts are read: what the plan shows cannot be changed by another run meanwhile.
        let decide = async |locked: &hosts::Locks| {
            let survey = locked.survey(&environment, &hosts.stop).await?;
            plan::print(global, &plan::Chosen { selection, connection }, &shape, &environment, &survey);
            project_identity::warn(&environment, &survey);
            let proposal = saved::proposal(hosts, selection, &environment, survey);
            consent.decide(hosts, proposal, &Question::of(&environment)).await
        };
        hosts.change(&Ground::of(&environment), decide).await
    })
    .await
}
