//! `armilla show FILE|RUN`: a saved plan, again; or what a run did.
//!
//! In: the path of a plan file, or the name of a run of this machine. Out: the plan as `armilla plan` showed it, or the run
//! as `armilla runs show` shows it. Never: a host that is asked, or a key that is needed: secrets stay masked.

use std::path::{Path, PathBuf};

use super::plan::{self, Shape};
use super::{Exit, Failure, Global, identity, runs, ui};
use crate::diag::{Diagnostic, Diagnostics, shown};
use crate::history::{HistoryError, Run};
use crate::operation::plan_file;
use crate::plan::saved::{About, File, Hosts};
use crate::report::human;
use crate::report::json;
use crate::workspace::revision;

const HELP: &str = "\
Examples:
  armilla show friday.plan            the plan as it was shown, who made it, and when
  armilla show friday.plan -D         every difference in full
  armilla show 20261121-140203-k3fq   how far that run came";

/// Shows a saved plan, or a run.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Show {
    /// A file that `armilla plan -o FILE` wrote, or a run of this machine (see `armilla runs list`)
    #[arg(value_name = "FILE|RUN", value_hint = clap::ValueHint::FilePath)]
    what: PathBuf,
    #[command(flatten)]
    shape: Shape,
    /// Exit with 2 if the plan has changes
    #[arg(long)]
    detailed_exitcode: bool,
}

/// Runs the command.
pub(super) fn run(global: &Global, command: &Show) -> Result<Exit, Failure> {
    let shown = match a_run(&command.what) {
        Some(run) => run.and_then(|run| runs::show(&run, command.shape.json)),
        None => saved_plan(global, &command.what, &command.shape)
            .map(|file| plan::exit(&file.shown, command.detailed_exitcode))
            .map_err(Into::into),
    };
    Ok(shown?)
}

/// The run that is meant, if what was typed is nothing on this machine's disks.
fn a_run(typed: &Path) -> Option<Result<Run, Diagnostics>> {
    if typed.exists() {
        return None;
    }
    let name = typed.to_string_lossy();
    let found = identity::history().map_err(Into::into).and_then(|history| {
        history.find(&name).map_err(|error| {
            let what = match &error {
                HistoryError::Unknown(_) => format!("`{name}` is neither a plan file nor a run on this machine"),
                other => other.to_string(),
            };
            let hint = "`armilla plan ENV -o FILE` saves a plan; `armilla runs list` shows the runs";
            Diagnostic::error(shown(&what)).hint(hint).into()
        })
    });
    Some(found)
}

fn saved_plan(global: &Global, path: &Path, shape: &Shape) -> Result<File, Diagnostic> {
    let file = plan_file::read(path)?;
    print(global, path, shape, &file);
    Ok(file)
}

/// Prints the plan in a file.
pub(super) fn print(global: &Global, path: &Path, shape: &Shape, file: &File) {
    if shape.json {
        let revision = file.about.revision.as_ref().map(revision::shown);
        return ui::json(&json::saved(file, revision.as_deref()));
    }
    let command = (shape.next == plan::AfterPlan::Typing).then(|| plan::to_type_file("apply", path));
    let source = plan::Source::saved(&file.about, human::Read::Saved(made(&file.about)), command);
    plan::print_plan(global, shape, &file.shown, source);
    ui::say(&format!("{}: sha256:{}", path.display(), file.digest.0));
}

/// By whom and when it was made, and for what, if not for the hosts of the inventory.
fn made(about: &About) -> String {
    let at = about.made_at.replace('T', " ").replace('Z', " UTC");
    let rehearsal = if about.hosts == Hosts::Lab { ", for lab hosts" } else { "" };
    format!("made {at} by {}{rehearsal}", about.made_by)
}
