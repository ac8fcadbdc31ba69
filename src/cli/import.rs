//! `armilla import ENV --target ADDRESS`: adopts what is on the hosts already and is as the project wants it.

use super::consent::{self, Reply, confirmed};
use super::environment::{self, Question};
use super::hosts::{self, Decision, Hosts, Locks};
use super::part::Only;
use super::patience::Patience;
use super::screen::{self, Telling};
use super::{Connection, Exit, Failure, Global, Selection, load, ui};
use crate::diag::Diagnostic;
use crate::operation::{Abort, Ground, Limits, guard};
use crate::plan::Import;
use crate::report::human;
use crate::workspace::{Adoption, Environment};

/// Imports resources that exist on the hosts and are as described: armilla owns them from then on, and removes them when they
/// are deleted from the roles. Changes nothing else on the hosts.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP, mut_arg("with_data", |flag| flag.hide(true)))]
pub(super) struct Give {
    #[command(flatten)]
    selection: Selection,
    /// Do not ask
    #[arg(short, long = "auto-approve", visible_alias = "yes")]
    yes: bool,
    /// Take over ledgers that name no project, which an earlier armilla wrote for this one
    #[arg(long)]
    adopt: bool,
    #[command(flatten)]
    only: Only,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    connection: Connection,
}

const HELP: &str = "\
armilla removes only what it owns: what it created, and what was imported. Examples:
  armilla import staging --target 'zk1 file /etc/motd'
  armilla import staging --target 'file /etc/motd'      on all hosts that have it";

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Give) -> Result<Exit, Failure> {
    if command.only.is_all() {
        let problem = Diagnostic::error("no resource to import is given");
        return Err(problem.hint("name it as the plan shows it: --target 'zk1 file /etc/motd'").into());
    }
    let environment = load::load(global, &command.selection.with(&command.only), &command.connection).await?;
    let environment = environment.adopting(Adoption::of(command.adopt));
    environment::banner(&environment);
    let telling = Telling { patience: Some(command.patience.clone()), ..Telling::default() };
    hosts::contact(global, &command.connection, telling, async |hosts| {
        let ground = Ground::of_hosts(&environment, environment.endpoints());
        let decide = async |locked: &Locks| adopt(hosts, locked, &environment, command).await.map(Decision::End);
        hosts.change(&ground, decide).await
    })
    .await
}

async fn adopt(hosts: &Hosts, locked: &Locks, environment: &Environment, command: &Give) -> Result<Exit, Abort> {
    let survey = locked.survey(environment, &hosts.stop).await?;
    ui::problems(&survey.warnings);
    let import = locked.find_import(&survey);
    ui::result(&human::import(&environment.name, &import, ui::width()));
    if import.taken.is_empty() {
        return nothing(&import);
    }
    let question = Question::of(environment);
    if !command.yes && confirmed(hosts, &question, "-y (--auto-approve)").await? == Reply::No {
        return Ok(Exit::Error);
    }
    let limits = Limits { adoption: Adoption::of(command.adopt), ..Limits::default() };
    let adoption = consent::adoption(hosts, &survey.plan, limits).await?.adoption;
    guard::check_adoption(&survey.plan, adoption)?;
    let unadopted = locked.claim(Some(&environment.root), (&survey.plan, &survey.catalog), adoption).await?;
    let mut unsaved = locked.import(&survey, &import).await;
    unsaved.extend(unadopted);
    screen::unsaved(&unsaved);
    Ok(match () {
        () if !unsaved.is_empty() => Exit::Failed,
        () if !import.unreachable.is_empty() => Exit::Unreachable,
        () => Exit::Success,
    })
}

fn nothing(import: &Import) -> Result<Exit, Abort> {
    if !import.unreachable.is_empty() {
        return Ok(Exit::Unreachable);
    }
    let problem = Diagnostic::error("nothing to import; nothing was changed");
    Err(problem
        .hint("only a resource that exists, matches the project and is not owned by armilla can be imported")
        .into())
}
