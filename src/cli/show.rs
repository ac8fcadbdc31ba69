//! `armilla show FILE`: a saved plan, again.
//!
//! In: the path of a plan file. Out: the plan as `armilla plan` showed it. Never: a host that is asked, or a key that is
//! needed: secrets stay masked.

use std::path::{Path, PathBuf};

use super::plan::{self, Shape};
use super::{Exit, Global, revision, saved, ui};
use crate::diag::Diagnostic;
use crate::plan::saved::{About, File, Hosts};
use crate::report::human::{self, Diffs, View};
use crate::report::json;

const HELP: &str = "\
Examples:
  armilla show friday.plan            as `armilla plan` showed it, and who made it when
  armilla show friday.plan -D         every difference in full";

/// Shows a saved plan.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Show {
    /// A file that `armilla plan -o FILE` wrote
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    what: PathBuf,
    #[command(flatten)]
    shape: Shape,
    /// Exit with 2 if there is something to do
    #[arg(long)]
    detailed_exitcode: bool,
}

/// Runs the command.
pub(super) fn run(global: &Global, command: &Show) -> Exit {
    // What is no file may be something else that can be shown: this is the place to look for it.
    let shown = saved_plan(global, &command.what, &command.shape);
    shown.map_or_else(
        |problem| {
            ui::problems(&problem.into());
            Exit::Error
        },
        |file| plan::exit(&file.shown, command.detailed_exitcode),
    )
}

fn saved_plan(global: &Global, path: &Path, shape: &Shape) -> Result<File, Diagnostic> {
    let file = saved::read(path)?;
    print(global, path, shape, &file);
    Ok(file)
}

/// Prints the plan in a file.
pub(super) fn print(global: &Global, path: &Path, shape: &Shape, file: &File) {
    if shape.json {
        let revision = file.about.revision.as_ref().map(revision::shown);
        return ui::line(&json::saved(file, revision).to_string());
    }
    let command = (shape.next == plan::Next::Typing).then(|| plan::to_type_file("apply", path));
    let read = human::Read::Saved(made(&file.about));
    print_plan(global, shape, &file.about, &file.shown, read, command);
    ui::say(&format!("{}: sha256:{}", path.display(), file.digest.0));
}

/// Prints a plan of which this is known.
pub(super) fn print_plan(
    global: &Global,
    shape: &Shape,
    about: &About,
    plan: &crate::plan::Plan,
    read: human::Read,
    command: Option<String>,
) {
    let revision = about.revision.as_ref().map(revision::shown);
    if shape.json {
        let about = json::About { revision, limit: about.limit.clone(), part: about.part.clone() };
        return ui::line(&json::plan(plan, &about).to_string());
    }
    let view = View {
        revision,
        read,
        diffs: if shape.diff { Diffs::Full } else { Diffs::Short },
        verbose: global.verbose,
        width: ui::width(),
        command,
        limit: about.limit.clone(),
        part: about.part.clone(),
        hosts_left_out: about.hosts_left_out,
    };
    ui::result(&human::plan(plan, &view));
}

/// By whom and when it was made, and for what, if not for the hosts of the inventory.
fn made(about: &About) -> String {
    let at = about.made_at.replace('T', " ").replace('Z', " UTC");
    let rehearsal = if about.hosts == Hosts::Lab { ", for lab hosts" } else { "" };
    format!("made {at} by {}{rehearsal}", about.made_by)
}
