//! `armilla lock status ENV` and `armilla lock break ENV ID`: who may change the hosts now.

use serde_json::json;

use super::hosts::{self, Hosts};
use super::screen::Telling;
use super::{Connection, Exit, Failure, Global, Selection, load, plan, ui};
use crate::diag::Diagnostic;
use crate::lease::{Held, LeaseAnswer, LeaseId, Request};
use crate::operation::{Locks, describe, explained};
use crate::transport::TransportError;

/// Looks at the locks of an environment, and breaks one.
#[derive(Debug, clap::Subcommand)]
pub(super) enum LockCommand {
    /// Show who holds the lock of each host, since when, and for which command
    Status(Status),
    /// Break a lock. A step that runs under it completes; its holder is refused the next one
    Break(Break),
}

/// Says who holds what.
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    #[command(flatten)]
    selection: Selection,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Ends a lease, as when its owner is known to be dead or is to be stopped. A step that runs under it goes on to its end, and
/// until then nobody else gets in; everything after it is refused. A lease ends by itself when its owner is silent.
#[derive(Debug, clap::Args)]
pub(super) struct Break {
    #[command(flatten)]
    selection: Selection,
    /// The ID of the lock, as `lock status` shows it
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// Runs the command.
pub(super) async fn run(global: &Global, command: &LockCommand) -> Result<Exit, Failure> {
    match command {
        LockCommand::Status(status) => self::status(global, status).await,
        LockCommand::Break(broken) => break_one(global, broken).await,
    }
}

/// Asks every host of the environment.
async fn ask(
    global: &Global,
    selection: &Selection,
    connection: &Connection,
    request: &Request,
) -> Result<Locks, Failure> {
    let environment = load::load(global, selection, connection).await?;
    let machines = environment.machines()?;
    let ask = async |hosts: &Hosts| hosts.until_stopped(hosts.session.ask_locks(machines, request)).await;
    hosts::contact(global, connection, Telling::default(), ask).await
}

async fn status(global: &Global, command: &Status) -> Result<Exit, Failure> {
    let answers = ask(global, &command.selection, &command.connection, &Request::Look).await?;
    if command.json {
        let hosts: serde_json::Map<String, serde_json::Value> =
            answers.iter().map(|(host, answer)| (host.to_string(), shown(answer))).collect();
        ui::json(&json!({ "format": "armilla-locks", "version": 1, "hosts": hosts }));
    } else {
        for (host, answer) in &answers {
            ui::result(&match answer {
                Ok(LeaseAnswer::Taken(held)) if held.is_over() => format!(
                    "{host} is not locked (the lock of {} for the run {} expired)",
                    crate::diag::shown(&held.lease.holder.who),
                    held.lease.holder.run
                ),
                Ok(LeaseAnswer::Taken(held)) => describe(host, held),
                Ok(_) => format!("{host} is not locked"),
                Err(error) => format!("{host} is unreachable: {}", explained(error)),
            });
        }
    }
    Ok(exit(&answers))
}

/// A host that did not answer may be locked.
fn exit(answers: &Locks) -> Exit {
    let errors: Vec<&TransportError> = answers.values().filter_map(|answer| answer.as_ref().err()).collect();
    match () {
        () if errors.iter().any(|error| error.is_setup()) => Exit::Error,
        () if !errors.is_empty() => Exit::Unreachable,
        () => Exit::Success,
    }
}

fn shown(answer: &Result<LeaseAnswer, TransportError>) -> serde_json::Value {
    match answer {
        Ok(LeaseAnswer::Taken(held)) => {
            let Held { lease, silent, busy } = &**held;
            json!({ "lease": lease, "silent_seconds": silent, "ends_in_seconds": held.left(), "busy": busy })
        }
        Ok(_) => json!({ "lease": null }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

async fn break_one(global: &Global, command: &Break) -> Result<Exit, Failure> {
    let list = format!("to list them: {}", plan::to_type("lock status", &command.selection, &command.connection));
    let Some(typed) = &command.id else {
        let problem = Diagnostic::error("no lock is given: armilla lock break ENV ID");
        return Err(problem.hint(list).into());
    };
    let id = LeaseId(typed.clone());
    let answers = ask(global, &command.selection, &command.connection, &Request::Break { id }).await?;
    let broken: Vec<&str> = answers
        .iter()
        .filter(|(_, answer)| matches!(answer, Ok(LeaseAnswer::Free)))
        .map(|(host, _)| host.as_str())
        .collect();
    for (host, answer) in &answers {
        match answer {
            Err(error) => ui::say(&format!("{host} is unreachable: {}", explained(error))),
            Ok(LeaseAnswer::Taken(held)) => ui::say(&describe(host, held)),
            Ok(_) => {}
        }
    }
    if broken.is_empty() {
        let problem = Diagnostic::error(format!("no reachable host has a lock `{typed}`"));
        return Err(problem.hint(list).into());
    }
    ui::result(&format!("broken on {}: its holder is refused from now on", broken.join(", ")));
    Ok(exit(&answers))
}
