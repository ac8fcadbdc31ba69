//! `armilla artifacts lock FILE`: what a role takes from Maven or npm, each with its version and its digest.

use std::path::PathBuf;

use super::{Exit, Failure, ui};
use crate::artifacts::{self, Wanted};
use crate::diag::{Diagnostic, shown};
use crate::store;

/// Works with what hosts fetch.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ArtifactsCommand {
    /// Write the list for a `maven` or `npm`: artifacts and all they need, each with its digest. Needs Maven or npm on this
    /// machine
    Lock(Lock),
}

/// Writes a list.
#[derive(Debug, clap::Args)]
pub(super) struct Lock {
    /// The list, in the role's files/. If it exists, it is replaced
    file: PathBuf,
    /// What it shall have: GROUP:ARTIFACT:VERSION of Maven, or NAME@VERSION of npm [default: what it was made from]
    #[arg(value_name = "ARTIFACT")]
    artifacts: Vec<String>,
    /// Leave this out, and what only it needs: GROUP:ARTIFACT, `*` for all. Can be repeated
    #[arg(long, value_name = "ARTIFACT", requires = "artifacts")]
    without: Vec<String>,
}

/// Runs the command.
pub(super) fn run(command: &ArtifactsCommand) -> Result<Exit, Failure> {
    let ArtifactsCommand::Lock(Lock { file, artifacts, without }) = command;
    let name = file.display().to_string();
    let failed = |what: &str, error| Diagnostic::error(format!("{name} cannot be {what}: {error}"));
    let wanted = if artifacts.is_empty() {
        Wanted::of(&std::fs::read_to_string(file).map_err(|error| failed("read", error))?)
    } else {
        Wanted { roots: artifacts.clone(), without: without.clone() }
    };
    wanted.check()?;
    ui::say("resolving and fetching the artifacts");
    let list = artifacts::lock(&wanted)?;
    store::replace(file, list.as_bytes()).map_err(|error| failed("written", error))?;
    let count = list.lines().filter(|line| !line.starts_with('#')).count();
    ui::result(&format!("{}: {count} artifacts", shown(&name)));
    Ok(Exit::Success)
}
