//! `armilla fmt [PATH…]`: the files of a project in a consistent format. None is replaced while another one is refused.

use std::path::PathBuf;

use super::{Exit, Failure, Global, load, ui};
use crate::diag::{Diagnostic, Diagnostics, shown};
use crate::store;
use crate::workspace::formatting::{self, Change};

/// Gives files their look.
#[derive(Debug, clap::Args)]
pub(super) struct Fmt {
    /// Files and folders [default: site.yml, armilla.yml, roles and inventories of the project, without variables]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Write nothing; exit with 1 if a file would change
    #[arg(long)]
    check: bool,
    /// Show every difference
    #[arg(long)]
    diff: bool,
}

/// Runs the command.
pub(super) fn run(global: &Global, command: &Fmt) -> Result<Exit, Failure> {
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
    let changes = if command.paths.is_empty() {
        formatting::of_project(load::workspace(global)?.root(), &here)
    } else {
        formatting::of_paths(&command.paths, &here)
    }?;
    Ok(deliver(command, &changes)?)
}

fn deliver(command: &Fmt, changes: &[Change]) -> Result<Exit, Diagnostics> {
    let mut problems = Diagnostics::new();
    for change in changes {
        if !command.check {
            let failed =
                |error| Diagnostic::error(format!("{} cannot be replaced and is unchanged: {error}", change.name));
            problems.keep(store::replace(&change.path, change.after.as_bytes()).map_err(|error| failed(error).into()));
        }
        ui::result(&if command.diff { change.diff() } else { shown(&change.name) });
    }
    let exit = if command.check && !changes.is_empty() { Exit::Error } else { Exit::Success };
    problems.result(exit)
}
