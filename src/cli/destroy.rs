//! `armilla destroy ENV`: takes away everything armilla made on the hosts of an environment.
//!
//! In: an environment. Out: hosts without what armilla made there. Never: anything that was there before, that was changed by
//! hand since, or that is protected.

use super::leases::{self, Ground};
use super::perform::Show;
use super::plan::{self, Next, Shape};
use super::proposal::{Consent, Proposal};
use super::{Connection, Exit, Global, Selection, environment, identity, load, saved, survey, ui};
use crate::catalog::Catalog;
use crate::diag::{Diagnostic, Diagnostics};
use crate::workspace::revision;

/// Takes away everything armilla made on the hosts of an environment, although the roles still want it. What was there before
/// armilla stays, and so do what somebody changed since and what has `protect: true`; the plan says why.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Destroy {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    shape: Shape,
    /// The name of the environment once more, instead of typing it when asked
    #[arg(long, value_name = "ENV")]
    confirm: Option<String>,
    /// What other commands take for yes: here it is an error with a hint
    #[arg(short, long = "auto-approve", alias = "yes", hide = true)]
    yes: bool,
    /// Take away the directories that armilla made with everything in them: the data of the services, too
    #[arg(long)]
    with_data: bool,
    #[command(flatten)]
    patience: leases::Patience,
    #[command(flatten)]
    connection: Connection,
}

const HELP: &str = "\
Examples:
  armilla destroy staging             shows what goes and what stays, and asks for the name
  armilla destroy staging -l web3     one host
  armilla destroy staging --confirm staging --with-data";

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Destroy) -> Exit {
    destroy(global, command).await.unwrap_or_else(|problems| {
        ui::problems(&problems);
        Exit::Error
    })
}

async fn destroy(global: &Global, command: &Destroy) -> Result<Exit, Diagnostics> {
    // No role is needed to take away what roles brought: they may be broken, or gone.
    let loaded = load::load_hosts(global, &command.selection, &command.connection).await?;
    let name = loaded.name.clone();
    if command.yes {
        let problem = Diagnostic::error("`-y` is not enough to take everything away; nothing was changed");
        return Err(problem.hint(format!("say which environment is meant: --confirm {name}")).into());
    }
    if command.confirm.as_ref().is_some_and(|typed| typed != name.as_str()) {
        let what = format!("--confirm names another environment than {name}; nothing was changed");
        return Err(Diagnostic::error(what).into());
    }
    let fleet = survey::fleet(global, &command.connection, &loaded)?;
    environment::banner(&loaded);
    let run = identity::new_run()?;
    let consent = Consent {
        yes: command.confirm.is_some(),
        detailed_exitcode: false,
        max_removals: usize::MAX,
        allow_older: true,
        patience: command.patience.clone(),
        beforehand: Some(format!("--confirm {name}")),
    };
    let hosts = loaded.machines()?;
    let ground = Ground::of(&loaded, hosts.clone());
    let leases = match leases::acquire(&fleet, &ground, &run, &command.patience).await {
        Ok(leases) => leases,
        Err(exit) => {
            fleet.transport.close().await;
            return Ok(exit);
        }
    };
    let mut survey = survey::of(&fleet, Catalog::of_nothing(name.clone(), hosts)).await;
    survey.revision = revision::of(&loaded.root);
    // A host that is away and may have something of ours matters here.
    let away = std::mem::take(&mut survey.plan.silent);
    survey.plan.unreachable.extend(away);
    if command.with_data {
        survey.plan.with_data();
    }
    survey.plan.without_copies();
    let shape = Shape { next: Next::Destroying, ..command.shape.clone() };
    plan::print(global, &command.selection, &command.connection, &shape, &loaded, &survey);
    let proposal = Proposal {
        fleet: &fleet,
        leases,
        survey: &survey,
        about: saved::about(&command.selection, &loaded, survey.revision.clone()),
        keys: &loaded.keys,
        project: Some(&loaded.root),
        run,
        resumes: None,
        consent: &consent,
        show: Show::new(global, &command.shape, &consent, format!("armilla destroy {name}")),
    };
    let exit = proposal.decide(|| environment::is_named(&loaded, "Take all of this away")).await;
    fleet.transport.close().await;
    exit
}
