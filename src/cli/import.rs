//! `armilla import ENV --target ADDRESS`: gives armilla what is there already.
//!
//! In: an environment, and names of resources that are on hosts as the project wants them. Out: ledgers in which they are
//! armilla's, so that they go when they leave the roles. Never: a change of anything else on a host.

use super::leases::{self, Ground};
use super::part::Only;
use super::proposal::{Consent, approved};
use super::survey::{self, Fleet};
use super::{Connection, Exit, Global, Selection, environment, identity, load, settle, ui};
use crate::diag::{Diagnostic, Diagnostics};
use crate::ledger::Applied;
use crate::plan::{self, Import};
use crate::report::human;
use crate::step::Digest;
use crate::workspace::{Environment, revision};

/// Gives armilla what is on the hosts already and is as the project wants it: from then on it is taken away when it leaves
/// the roles. Nothing else on the hosts is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Give {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    only: Only,
    /// Do not ask
    #[arg(short, long = "auto-approve", visible_alias = "yes")]
    yes: bool,
    #[command(flatten)]
    patience: leases::Patience,
    #[command(flatten)]
    connection: Connection,
}

const HELP: &str = "\
What armilla makes is its own; what it finds and changes is not, and stays when it leaves the roles. To give it that, too:
  armilla import staging --target 'zk1 file /etc/motd'
  armilla import staging --target 'file /etc/motd'      on all hosts that have it";

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Give) -> Exit {
    import(global, command).await.unwrap_or_else(|problems| {
        ui::problems(&problems);
        Exit::Error
    })
}

async fn import(global: &Global, command: &Give) -> Result<Exit, Diagnostics> {
    if command.only.is_all() {
        let problem = Diagnostic::error("it is not said what to import");
        return Err(problem.hint("name it as the plan does: --target 'zk1 file /etc/motd'").into());
    }
    let loaded = load::load(global, &command.selection.with(&command.only), &command.connection).await?;
    let fleet = survey::fleet(global, &command.connection, &loaded)?;
    environment::banner(&loaded);
    let run = identity::new_run()?;
    let ground = Ground::of(&loaded, loaded.endpoints());
    let leases = match leases::acquire(&fleet, &ground, &run, &command.patience).await {
        Ok(leases) => leases,
        Err(exit) => {
            fleet.transport.close().await;
            return Ok(exit);
        }
    };
    let applied = Applied {
        run,
        plan: Digest::of(b""),
        at: identity::now(),
        who: identity::who(),
        revision: revision::of(&loaded.root),
    };
    let exit = given(&fleet, &loaded, &leases, command, &applied).await;
    leases.release().await;
    fleet.transport.close().await;
    exit
}

async fn given(
    fleet: &Fleet,
    loaded: &Environment,
    leases: &crate::apply::Leases<crate::transport::Connections>,
    command: &Give,
    applied: &Applied,
) -> Result<Exit, Diagnostics> {
    let survey = survey::survey(fleet, loaded).await?;
    let mut import = plan::import(&survey.catalog, &survey.observed, applied);
    import.unreachable.extend(survey.plan.unreachable.clone());
    ui::result(&human::import(&loaded.name, &import, ui::width()));
    if import.taken.is_empty() {
        return nothing(&import);
    }
    let consent = Consent {
        yes: command.yes,
        detailed_exitcode: false,
        max_removals: 0,
        allow_older: true,
        patience: command.patience.clone(),
        beforehand: None,
    };
    if let Err(exit) = approved(&consent, || environment::is_confirmed(loaded)) {
        return Ok(exit);
    }
    let unsaved = settle::save_steps(fleet, leases, &survey.catalog, import.saves.clone()).await;
    settle::tell(&unsaved);
    Ok(match () {
        () if !unsaved.is_empty() => Exit::Failed,
        () if !import.unreachable.is_empty() => Exit::Unreachable,
        () => Exit::Success,
    })
}

fn nothing(import: &Import) -> Result<Exit, Diagnostics> {
    if !import.unreachable.is_empty() {
        return Ok(Exit::Unreachable);
    }
    let problem = Diagnostic::error("there is nothing to import; nothing was changed");
    Err(problem.hint("what is taken over is there, is as the project wants it, and is not armilla's yet").into())
}
