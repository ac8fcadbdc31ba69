//! `armilla artifacts lock FILE`: what a role takes from Maven or npm, each with its version and its digest.

use std::path::PathBuf;

use super::{Exit, Failure, ui};
use crate::artifacts::{self, Wanted};
use crate::diag::{Diagnostic, shown};
use crate::store;

/// Where there is no lock file yet.
const FIRST: &str = "to create it, name the artifacts: GROUP:ARTIFACT:VERSION of Maven, or NAME@VERSION of npm";

/// Works with what hosts fetch.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ArtifactsCommand {
    /// Write a lock file for the kind `maven` or `npm`: artifacts and their dependencies, each with its digest. Needs Maven or
    /// npm on this machine
    Lock(Lock),
}

/// Writes a list.
#[derive(Debug, clap::Args)]
pub(super) struct Lock {
    /// The lock file, in the role's files/. If it exists, it is replaced
    file: PathBuf,
    /// The artifacts to lock: GROUP:ARTIFACT:VERSION of Maven, or NAME@VERSION of npm [default: those in the head of FILE]
    #[arg(value_name = "ARTIFACT")]
    artifacts: Vec<String>,
    /// Exclude an artifact, and what only it depends on: GROUP:ARTIFACT, `*` for all. Can be repeated
    #[arg(long, value_name = "ARTIFACT", requires = "artifacts")]
    without: Vec<String>,
}

/// Runs the command.
pub(super) fn run(command: &ArtifactsCommand) -> Result<Exit, Failure> {
    let ArtifactsCommand::Lock(Lock { file, artifacts, without }) = command;
    let name = file.display().to_string();
    let failed = |what: &str, error| Diagnostic::error(format!("{name} cannot be {what}: {error}"));
    let wanted = if artifacts.is_empty() {
        Wanted::of(&std::fs::read_to_string(file).map_err(|error| failed("read", error).hint(FIRST))?)
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
