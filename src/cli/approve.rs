//! `armilla approve [RUN]`: lets the other hosts follow the canaries of a run that waits for a person.
//!
//! In: a run of this machine. Out: a note beside its journal, which that run finds within a second. Never: a host.

use super::{Exit, Failure, completion, identity, runs, ui};
use crate::apply::Event;
use crate::diag::{Diagnostic, Diagnostics};
use crate::history::{History, Run};
use crate::report::human::words;
use crate::rollout::Hold;

/// Approves the canaries of a run that waits, so that the other hosts follow.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Approve {
    /// The run, or a prefix of its name; the one that waits by default
    #[arg(value_name = "RUN", add = clap_complete::ArgValueCompleter::new(completion::runs))]
    run: Option<String>,
}

const HELP: &str = "\
Run it from another terminal on the same machine, or from a CI job that shares the state folder (ARMILLA_STATE_DIR).

Examples:
  armilla approve                     the run that waits for approval
  armilla approve 20261121-1402       the run with this prefix (see armilla runs list)";

/// Runs the command.
pub(super) fn run(command: &Approve) -> Result<Exit, Failure> {
    let history = identity::history()?;
    let run = match &command.run {
        Some(typed) => runs::find(Some(typed))?,
        None => only(&history)?,
    };
    let Some(hosts) = waits(&run) else {
        let what = format!("the run {} does not wait for approval", run.head.run);
        return Err(Diagnostic::error(what)
            .hint(format!("to see what it does: armilla runs log {}", run.head.run))
            .into());
    };
    run.approve(&identity::this().who).map_err(|error| Diagnostic::error(error.to_string()))?;
    ui::say(&format!("{}: approved; the other hosts follow {}", run.head.run, words::hosts(hosts)));
    Ok(Exit::Success)
}

/// The only run that waits.
fn only(history: &History) -> Result<Run, Diagnostics> {
    let mut waiting: Vec<Run> = history.list().into_iter().filter(|run| waits(run).is_some()).collect();
    match (waiting.pop(), waiting.len()) {
        (Some(run), 0) => Ok(run),
        (Some(last), more) => {
            let names = waiting.iter().chain(std::iter::once(&last)).map(|run| run.head.run.to_string());
            let names: Vec<String> = names.collect();
            let what = format!("{} runs wait for approval: {}", more + 1, names.join(", "));
            Err(Diagnostic::error(what).hint("name one of them").into())
        }
        (None, _) => Err(Diagnostic::error("no run on this machine waits for approval")
            .hint("to list all runs: armilla runs list")
            .into()),
    }
}

/// The canaries, if a run waits for somebody to look at them.
fn waits(run: &Run) -> Option<&[crate::name::HostName]> {
    let last = run.events.iter().rev().find_map(|(_, event)| match event {
        Event::Holding { hold, .. } => Some(Some(hold)),
        Event::Turn { .. } | Event::Halted { .. } | Event::Stopping => Some(None),
        _ => None,
    });
    match last.flatten() {
        Some(Hold::Approval { hosts }) if run.end.is_none() => Some(hosts),
        _ => None,
    }
}
