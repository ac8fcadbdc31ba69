//! `armilla facts ENV`: what can be learned of hosts.

use std::collections::{BTreeMap, BTreeSet};

use super::hosts::{self, Hosts};
use super::screen::Telling;
use super::{Connection, Exit, Failure, Global, Selection, load, ui};
use crate::diag::{Diagnostic, Diagnostics, shown};
use crate::fact::FACTS;
use crate::name::{HostName, did_you_mean};
use crate::report::json;

/// Asks hosts for facts.
#[derive(Debug, clap::Args)]
pub(super) struct Facts {
    #[command(flatten)]
    selection: Selection,
    /// Only these facts [default: all]
    #[arg(long = "fact", value_name = "NAME")]
    names: Vec<String>,
    /// Print JSON, by host
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Facts) -> Result<Exit, Failure> {
    let loaded = load::load(global, &command.selection, &command.connection).await?;
    let names = wanted(&command.names)?;
    let endpoints = loaded.endpoints();
    let wanted: BTreeMap<HostName, BTreeSet<String>> =
        endpoints.iter().map(|endpoint| (endpoint.name.clone(), names.clone())).collect();
    let read = async |hosts: &Hosts| hosts.session.facts(&loaded, &wanted, &hosts.stop).await;
    let (facts, unreachable) = hosts::contact(global, &command.connection, Telling::default(), read).await?;
    if command.json {
        ui::result(&json::pretty(&facts));
    } else {
        for (host, known) in &facts {
            let lines: Vec<String> =
                known.iter().map(|(name, value)| format!("  {name:<14}{}", shown(&value.to_string()))).collect();
            ui::result(&format!("{host}\n{}", lines.join("\n")));
        }
    }
    for (host, why) in &unreachable {
        ui::say(&format!("error: {host}: {}", shown(why)));
    }
    Ok(if unreachable.is_empty() { Exit::Success } else { Exit::Unreachable })
}

fn wanted(names: &[String]) -> Result<BTreeSet<String>, Diagnostics> {
    let known = || FACTS.iter().map(|fact| fact.name);
    let mut problems = Diagnostics::new();
    for name in names.iter().filter(|name| !known().any(|other| other == **name)) {
        problems.push(Diagnostic::error(format!("unknown fact `{name}`")).maybe_hint(did_you_mean(name, known())));
    }
    let chosen = if names.is_empty() { known().map(str::to_owned).collect() } else { names.iter().cloned().collect() };
    problems.result(chosen)
}
