//! `armilla destroy ENV`: removes everything that armilla made on the hosts of an environment.

use std::sync::OnceLock;

use super::consent::{self, Reply, confirmed};
use super::environment::{self, Question};
use super::hosts::{self, Decision};
use super::patience::Patience;
use super::plan::{self, AfterPlan, Shape};
use super::screen::Telling;
use super::{Connection, Exit, Failure, Global, Selection, load, saved, ui};
use crate::diag::{Diagnostic, shown};
use crate::name::EnvName;
use crate::operation::destroy::Data;
use crate::operation::{Ground, Limits};
use crate::plan::Plan;
use crate::workspace::{Adoption, revision};

/// Removes everything that armilla created on the hosts of an environment. What existed before, what was changed since, what
/// something else needs, and what has `protect: true` stays; the plan says why. Exit code 6: something stays of which it is
/// not known whether it should.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Destroy {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    shape: Shape,
    /// Confirm with the name of the environment instead of being asked
    #[arg(long, value_name = "ENV")]
    confirm: Option<String>,
    /// What other commands take for yes: here it is an error with a hint
    #[arg(short, long = "auto-approve", alias = "yes", hide = true)]
    yes: bool,
    /// Also remove the contents of directories that armilla created, and purge packages: deletes the data of the services
    #[arg(long, help_heading = "Removed resources")]
    with_data: bool,
    /// Take over ledgers that name no project, which an earlier armilla wrote for this one
    #[arg(long)]
    adopt: bool,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    connection: Connection,
}

const HELP: &str = "\
Examples:
  armilla destroy staging             show what is removed and what stays, and ask for the name
  armilla destroy staging -l web3     one host
  armilla destroy staging --confirm staging --with-data";

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Destroy) -> Result<Exit, Failure> {
    let Destroy { selection, connection, .. } = command;
    // No role is needed to take away what roles brought: they may be broken, or gone.
    let environment = load::load_hosts(global, selection, connection).await?;
    let name = environment.name.clone();
    check_consent(command, &name)?;
    let environment = environment.adopting(Adoption::of(command.adopt));
    environment::banner(&environment);
    let machines = environment.machines()?;
    let telling = Telling {
        json: command.shape.json,
        plan_command: plan::to_type("destroy", selection, connection),
        patience: Some(command.patience.clone()),
        ..Telling::default()
    };
    let shape = Shape { next: AfterPlan::Destroying, ..command.shape.clone() };
    let data = if command.with_data { Data::Removed } else { Data::Kept };
    let undecided = OnceLock::new();
    let exit = hosts::contact(global, connection, telling, async |hosts| {
        let ground = Ground::of_hosts(&environment, machines.clone());
        let decide = async |locked: &hosts::Locks| {
            let mut survey = locked.survey_destruction(&environment, machines, data, &hosts.stop).await?;
            survey.revision = revision::of(&environment.root);
            let _ = undecided.set(undecided_names(&survey.plan));
            plan::print(global, &plan::Chosen { selection, connection }, &shape, &environment, &survey);
            let proposal = saved::proposal(hosts, selection, &environment, survey);
            let limits = Limits { adoption: Adoption::of(command.adopt), ..Limits::none() };
            let limits = consent::adoption(hosts, &proposal.survey.plan, limits).await?;
            let approved = hosts.session.approve(proposal, &limits, &hosts.stop).await?;
            if approved.is_empty() || command.confirm.is_some() {
                return Ok(Decision::Apply(Box::new(approved)));
            }
            let question = Question::by_name(&name, "Remove all of this");
            Ok(match confirmed(hosts, &question, &format!("--confirm {name}")).await? {
                Reply::Yes => Decision::Apply(Box::new(approved.after_pause())),
                Reply::No => Decision::End(Exit::Error),
            })
        };
        hosts.change(&ground, decide).await
    })
    .await?;
    Ok(decided(exit, undecided.get().map(Vec::as_slice).unwrap_or_default()))
}

fn check_consent(command: &Destroy, name: &EnvName) -> Result<(), Diagnostic> {
    if command.yes {
        let problem = Diagnostic::error("`-y` is not enough to remove everything; nothing was changed");
        return Err(problem.hint(format!("confirm the name of the environment: --confirm {name}")));
    }
    if command.confirm.as_ref().is_some_and(|typed| typed != name.as_str()) {
        return Err(Diagnostic::error(format!("--confirm names another environment than {name}; nothing was changed")));
    }
    Ok(())
}

/// What stays because it is not known whether it should.
fn undecided_names(plan: &Plan) -> Vec<String> {
    plan.undecided().map(|entry| entry.address.to_string()).collect()
}

/// The exit code, given that these stay.
fn decided(exit: Exit, undecided: &[String]) -> Exit {
    if undecided.is_empty() || !matches!(exit, Exit::Success | Exit::Changes) {
        return exit;
    }
    ui::say(&shown(&format!("error: the state of these is unknown, so they stay: {}", undecided.join(", "))));
    ui::say("hint: check them; the next destroy forgets what you remove by hand");
    Exit::Uncertain
}
