//! `armilla apply ENV`: shows the plan, asks, and does exactly what it showed. A plan in a file is `apply_file.rs`'s.

use std::path::PathBuf;

use super::leases::{self, Ground};
use super::part::{Lists, Only};
use super::perform::Show;
use super::plan::{self, Next, Shape};
use super::proposal::{Consent, Proposal};
use super::{Connection, Exit, Global, Selection, apply_file, environment, identity, load, saved, survey, ui};
use crate::diag::Diagnostics;

/// Brings hosts to the state the files describe, or carries out a plan that `armilla plan -o FILE` saved.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = HELP, mut_arg("environment", |argument| argument.value_name("ENV|FILE").help(WHAT)))]
pub(super) struct Apply {
    /// The environment, or a file.
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub shape: Shape,
    /// Only show the plan, as `armilla plan` does
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
  armilla apply staging               shows the plan, asks, does it
  armilla apply friday.plan -y        does the plan in this file; a host that moved since is refused
  armilla apply staging --lock-timeout 10m      waits for a colleague's run

Ctrl-C finishes what runs and begins nothing more. After that, and after kill -9: armilla resume";

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Apply) -> Exit {
    let command = &Apply { selection: command.selection.with(&command.only), ..command.clone() };
    if let Some(file) = file(global, &command.selection) {
        return ended(apply_file::apply(global, command, &file).await);
    }
    if let Some(listed) = plan::listed(global, &command.selection, &command.lists, &command.shape).await {
        return ended(listed);
    }
    if !command.check {
        return ended(apply(global, command).await);
    }
    let survey = plan::show(global, &command.selection, &command.connection, &command.shape).await;
    ended(survey.map(|survey| plan::exit(&survey.plan, command.consent.detailed_exitcode)))
}

fn ended(result: Result<Exit, Diagnostics>) -> Exit {
    result.unwrap_or_else(|problems| {
        ui::problems(&problems);
        Exit::Error
    })
}

/// The file that is meant, if what was typed is no environment of the project.
fn file(global: &Global, selection: &Selection) -> Option<PathBuf> {
    let typed = selection.environment()?;
    let is_environment = load::workspace(global).is_ok_and(|workspace| workspace.has(typed));
    let typed = PathBuf::from(typed);
    (!is_environment && typed.is_file()).then_some(typed)
}

async fn apply(global: &Global, command: &Apply) -> Result<Exit, Diagnostics> {
    let loaded = load::load(global, &command.selection, &command.connection).await?;
    let fleet = survey::fleet(global, &command.connection, &loaded)?;
    environment::banner(&loaded);
    let run = identity::new_run()?;
    let ground = Ground::of(&loaded, loaded.concerned());
    // Before the hosts are read: what the plan shows cannot be changed by another run meanwhile.
    let leases = match leases::acquire(&fleet, &ground, &run, &command.consent.patience).await {
        Ok(leases) => leases,
        Err(exit) => {
            fleet.transport.close().await;
            return Ok(exit);
        }
    };
    let exit = match survey::survey(&fleet, &loaded).await {
        Ok(survey) => {
            let shape = Shape { next: Next::Doing, ..command.shape.clone() };
            plan::print(global, &command.selection, &command.connection, &shape, &loaded, &survey);
            let about = saved::about(&command.selection, &loaded, survey.revision.clone());
            let proposal = Proposal {
                fleet: &fleet,
                leases,
                survey: &survey,
                about,
                keys: &loaded.keys,
                project: Some(&loaded.root),
                run,
                resumes: None,
                consent: &command.consent,
                show: Show::new(
                    global,
                    &command.shape,
                    &command.consent,
                    plan::to_type("plan", &command.selection, &command.connection),
                ),
            };
            proposal.decide(|| environment::is_confirmed(&loaded)).await
        }
        Err(problems) => {
            leases.release().await;
            Err(problems)
        }
    };
    fleet.tell_round_trips(&loaded.endpoints());
    fleet.transport.close().await;
    exit
}
