//! `armilla runs list|show|log`: what was done from this machine, and how it ended.

use std::time::Duration;

use clap_complete::ArgValueCompleter;
use serde_json::json;

use super::{Exit, completion, identity, ui};
use crate::diag::{Diagnostic, Diagnostics, shown};
use crate::history::{self, Run};
use crate::operation::Outcome;
use crate::plan::Plan;
use crate::report::human::{Progress, Reached};

/// Shows the runs of this machine.
#[derive(Debug, clap::Subcommand)]
pub(super) enum RunsCommand {
    /// List the runs, the latest last
    List(List),
    /// Show a run: its plan, how far each host came, and what to do next
    Show(One),
    /// Print the events of a run, line by line
    Log(Log),
}

/// Lists runs.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only those of this environment
    #[arg(value_name = "ENV", add = ArgValueCompleter::new(completion::environments))]
    environment: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Names a run.
#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// The run, or a prefix of its name; the last one by default
    #[arg(value_name = "RUN", add = ArgValueCompleter::new(completion::runs))]
    run: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the events of a run.
#[derive(Debug, clap::Args)]
pub(super) struct Log {
    #[command(flatten)]
    one: One,
    /// Print new events until the run ends
    #[arg(short = 'F', long)]
    follow: bool,
}

/// How often a run that is followed is read again.
const POLL: Duration = Duration::from_millis(250);

/// Runs the command.
pub(super) fn run(verbose: u8, command: &RunsCommand) -> Result<Exit, Diagnostics> {
    match command {
        RunsCommand::List(list) => self::list(list),
        RunsCommand::Show(one) => find(one.run.as_deref()).and_then(|run| show(&run, one.json)),
        RunsCommand::Log(command) => find(command.one.run.as_deref()).and_then(|run| log(run, command, verbose)),
    }
}

/// A run by its name or the beginning of it, or the last one.
///
/// # Errors
/// When there is none.
pub(super) fn find(typed: Option<&str>) -> Result<Run, Diagnostics> {
    let history = identity::history()?;
    let found = match typed {
        Some(typed) => history.find(typed).map_err(|error| {
            Diagnostic::error(shown(&error.to_string())).hint("to list all runs of this machine: armilla runs list")
        })?,
        None => history.list().pop().ok_or_else(|| Diagnostic::error("no runs on this machine yet"))?,
    };
    Ok(found)
}

/// How a run ended, in a word or two.
fn ended(run: &Run) -> &'static str {
    match run.progress() {
        history::Progress::Running => "running",
        history::Progress::Interrupted => "interrupted",
        history::Progress::Ended(end) => match end.outcome {
            Outcome::Converged { .. } => "converged",
            Outcome::Failed => "failed",
            Outcome::Unreachable => "unreachable",
            Outcome::RolledBack => "rolled back",
            Outcome::Uncertain => "uncertain",
            Outcome::Stopped => "stopped",
        },
    }
}

/// How a run ended, as data.
fn end(run: &Run) -> Option<serde_json::Value> {
    let end = run.end.as_ref()?;
    let exit = Exit::of(end.outcome, false, None) as i32;
    Some(json!({ "outcome": end.outcome, "exit": exit, "left": end.left, "seconds": end.seconds }))
}

fn list(command: &List) -> Result<Exit, Diagnostics> {
    let wanted = |run: &Run| command.environment.as_ref().is_none_or(|name| run.head.environment.as_str() == name);
    let runs: Vec<Run> = identity::history()?.list().into_iter().filter(wanted).collect();
    if command.json {
        let all: Vec<_> = runs.iter().map(|run| json!({ "run": run.head, "end": end(run) })).collect();
        ui::json(&json!({ "format": "armilla-runs", "version": 1, "runs": all }));
        return Ok(Exit::Success);
    }
    for run in &runs {
        let head = &run.head;
        let revision = head.revision.as_ref().map_or_else(String::new, |revision| {
            format!("  {}{}", &revision.commit[..revision.commit.len().min(7)], if revision.dirty { "+" } else { "" })
        });
        let line =
            format!("{}  {}  {:<12}  {}{revision}  {}", head.run, head.at, ended(run), head.environment, head.command);
        ui::result(&shown(&line));
    }
    if runs.is_empty() {
        ui::say("no runs on this machine yet");
    }
    Ok(Exit::Success)
}

/// The plan of a run, with its secrets masked.
fn plan(run: &Run) -> Result<Plan, Diagnostics> {
    Ok(crate::operation::plan_file::read(&run.plan_file())?.shown)
}

/// Shows one: what it was, and how far each host came.
///
/// # Errors
/// When its plan cannot be read.
pub(super) fn show(run: &Run, as_json: bool) -> Result<Exit, Diagnostics> {
    if as_json {
        ui::json(&json!({ "format": "armilla-run", "version": 1, "run": run.head, "end": end(run) }));
        return Ok(Exit::Success);
    }
    let (head, plan) = (&run.head, plan(run)?);
    let mut lines = vec![format!("{}  {}  {}", head.run, head.environment, ended(run))];
    lines.push(format!("  {} by {}: {}", head.at, head.who, head.command));
    lines.extend(head.id.iter().map(|project| format!("  project {project}")));
    if let Some(revision) = &head.revision {
        let dirty = if revision.dirty { ", with changes that were not committed" } else { "" };
        lines.push(format!("  revision {}{dirty}", revision.commit));
    }
    lines.extend(head.resumes.iter().map(|before| format!("  resumes {before}")));
    let reached = Reached::of(run.events.iter().map(|(_, event)| event));
    lines.extend(reached.stages(&plan, run.end.is_some()).iter().map(|line| shown(&format!("  {line}"))));
    lines.extend(match run.progress() {
        history::Progress::Running => Some(format!("to follow it: armilla runs log {} --follow", head.run)),
        history::Progress::Ended(end) if matches!(end.outcome, Outcome::Converged { .. }) => None,
        _ => Some(format!("to resume it: armilla resume {}", head.run)),
    });
    ui::result(&lines.join("\n"));
    Ok(Exit::Success)
}

/// Prints the events of a run; of one that is followed also those to come.
fn log(mut run: Run, command: &Log, verbose: u8) -> Result<Exit, Diagnostics> {
    let plan = std::sync::Arc::new(plan(&run)?);
    let mut progress = Progress::lines(std::sync::Arc::clone(&plan), Box::new(anstream::stdout()), verbose.max(1));
    let mut printed = 0;
    loop {
        for (at, event) in &run.events[printed..] {
            if command.one.json {
                ui::json(&crate::report::json::event(&plan, event, *at));
            } else {
                progress.tick(*at);
                progress.event(event);
            }
        }
        printed = run.events.len();
        if !command.follow || run.progress() != history::Progress::Running {
            break;
        }
        std::thread::sleep(POLL);
        run = run.again().map_err(|error| Diagnostic::error(shown(&error.to_string())))?;
    }
    progress.finish();
    Ok(Exit::Success)
}
