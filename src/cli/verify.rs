//! `armilla verify ENV`: whether every service is as healthy as its role wants it. Hosts are only asked.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::part::Only;
use super::screen::Telling;
use super::{Connection, Exit, Failure, Global, Selection, hosts, load, ui};
use crate::diag::Diagnostic;
use crate::operation::{Checked, Verified};
use crate::report::json;
use crate::report::verify::{self, Depth, Tally};

/// Asks every health check of every service, and nothing else. Changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP, mut_arg("with_data", |flag| flag.hide(true)))]
pub(super) struct Verify {
    #[command(flatten)]
    selection: Selection,
    /// Wait until each check has passed for its `stable_for`, or its time is over (`within`, `at_most`)
    #[arg(long)]
    wait: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// Also write a `JUnit` XML report to this file: a suite for each service, a case for each check on each host
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    #[command(flatten)]
    only: Only,
    #[command(flatten)]
    connection: Connection,
}

const HELP: &str = "\
Examples:
  armilla verify staging                             every service on every host
  armilla verify staging --target zookeeper -v       one service, each check
  armilla verify staging --wait --junit health.xml   in CI, after a change

Exits with 0 if everything is healthy, 3 if something is unhealthy, and 4 if the health of a host is not known:
an unreachable host is never healthy.";

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Verify) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let environment = load::load(global, &command.selection.with(&command.only), &command.connection).await?;
    let checked = if command.wait { Checked::UntilStable } else { Checked::Once };
    hosts::contact(global, &command.connection, Telling::default(), async |hosts| {
        let Verified { findings, warnings } = hosts.session.verify(&environment, checked, &hosts.stop).await?;
        ui::problems(&warnings);
        if findings.is_empty() {
            let hint = "declare health checks under `health` in the role";
            return Err(Diagnostic::error("nothing in the selection has a health check").hint(hint).into());
        }
        if let Some(file) = &command.junit {
            write(file, &verify::junit(&environment.name, &findings, begun.elapsed()))?;
        }
        if command.json {
            ui::result(&json::pretty(&verify::json(&environment.name, &findings)));
        } else {
            let depth = if global.verbose > 0 { Depth::Checks } else { Depth::Hosts };
            ui::result(&verify::text(&findings, depth));
        }
        Ok(match Tally::of(&findings) {
            Tally { unhealthy: 1.., .. } => Exit::Failed,
            Tally { unknown: 1.., .. } => Exit::Unreachable,
            Tally { .. } => Exit::Success,
        })
    })
    .await
}

fn write(file: &Path, text: &str) -> Result<(), Diagnostic> {
    let why = |error| Diagnostic::error(format!("--junit: {} cannot be written: {error}", file.display()));
    std::fs::write(file, text).map_err(why)
}
