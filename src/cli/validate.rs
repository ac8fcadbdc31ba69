//! `armilla validate [ENV]`: everything that can be checked without a host.

use super::load;
use super::{Exit, Global, Selection, ui};
use crate::diag::{Diagnostic, Diagnostics, Severity};
use crate::workspace::Environment;

/// Checks a project.
#[derive(Debug, clap::Args)]
pub(super) struct Validate {
    /// The environment: a folder of inventories/ [default: all of them]
    #[arg(value_name = "ENV", add = clap_complete::ArgValueCompleter::new(super::completion::environments))]
    environment: Option<String>,
    /// Set a variable, overriding all other sources: NAME=VALUE, or @FILE with a map
    #[arg(short = 'e', long = "var", visible_alias = "extra-vars", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    #[command(flatten)]
    keys: super::keys::KeyFlags,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Validate) -> Exit {
    let names = match (&command.environment, load::workspace(global)) {
        (_, Err(problem)) => return report(command, &problem.into(), &[]),
        (Some(name), Ok(_)) => vec![name.clone()],
        (None, Ok(workspace)) => workspace.environments(),
    };
    let mut problems = Diagnostics::new();
    let mut fine = Vec::new();
    for name in names {
        let selection =
            Selection { variables: command.variables.clone(), keys: command.keys.clone(), ..Selection::of(&name) };
        fine.extend(problems.keep(load::offline(global, &selection).await));
    }
    report(command, &problems, &fine)
}

fn report(command: &Validate, problems: &Diagnostics, fine: &[Environment]) -> Exit {
    if command.json {
        ui::json(&crate::report::json::diagnostics(problems));
    } else {
        ui::problems(problems);
        for loaded in fine {
            let (hosts, services) = (loaded.placement.hosts.len(), loaded.placement.services.len());
            let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            let (services, hosts) = (count(services, "service"), count(hosts, "host"));
            ui::result(&format!("{}: {services} on {hosts}, no errors", loaded.name));
        }
        let is_error = |problem: &&Diagnostic| problem.severity == Severity::Error;
        let errors = problems.iter().filter(is_error).count();
        if errors > 0 {
            ui::say(&format!("\n{errors} {} found", if errors == 1 { "error" } else { "errors" }));
        } else if fine.is_empty() {
            ui::say("error: no environment: inventories/ has no folder");
            return Exit::Error;
        }
    }
    if problems.has_errors() { Exit::Error } else { Exit::Success }
}
