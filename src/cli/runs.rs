//! `armilla runs list|show|log`: what was done from this machine, and how it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap_complete::ArgValueCompleter;
use serde_json::json;

use super::{Exit, completion, identity, ui};
use crate::apply::{End, Event, Failure, Restoration};
use crate::diag::{Diagnostic, Diagnostics, shown};
use crate::history::{self, Run};
use crate::name::{HostName, ServiceName};
use crate::operation::Outcome;
use crate::plan::{Plan, Stage, Work};
use crate::report::human::{self, Progress};

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
        ui::result(&ui::data(&json!({ "format": "armilla-runs", "version": 1, "runs": all }).to_string()));
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
        ui::result(&ui::data(
            &json!({ "format": "armilla-run", "version": 1, "run": run.head, "end": end(run) }).to_string(),
        ));
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
    for (id, stage) in plan.stages.iter().enumerate() {
        let (Work::Change(block), host) = (&stage.work, stage.work.host()) else { continue };
        let Some(state) = reached.state(id, stage, run.end.is_some()) else { continue };
        let host = host.map(ToString::to_string).unwrap_or_default();
        lines.push(shown(&format!("  {host}  {}  {state}", block.role)));
    }
    lines.extend(match run.progress() {
        history::Progress::Running => Some(format!("to follow it: armilla runs log {} --follow", head.run)),
        history::Progress::Ended(end) if matches!(end.outcome, Outcome::Converged { .. }) => None,
        _ => Some(format!("to resume it: armilla resume {}", head.run)),
    });
    ui::result(&lines.join("\n"));
    Ok(Exit::Success)
}

/// How far the stages of a run came, as far as this machine wrote it down. Each line is written before or after the thing
/// itself, so what the last line of a stage says may be one behind.
#[derive(Default)]
struct Reached<'a> {
    started: BTreeSet<usize>,
    begun: BTreeMap<usize, usize>,
    ends: BTreeMap<usize, &'a End>,
    /// Whether the changes of a service were rolled back on a host; none while nobody knows.
    rolled_back: BTreeMap<(&'a ServiceName, &'a HostName), Option<bool>>,
}

impl<'a> Reached<'a> {
    fn of(events: impl Iterator<Item = &'a Event>) -> Self {
        let mut reached = Self::default();
        for event in events {
            match event {
                Event::StageStarted(stage) => drop(reached.started.insert(*stage)),
                Event::StepStarted { stage, step } => drop(reached.begun.insert(*stage, *step)),
                Event::StageEnded { stage, end, .. } => drop(reached.ends.insert(*stage, end)),
                Event::RollingBack { service, host } => drop(reached.rolled_back.insert((service, host), None)),
                Event::RolledBack { service, outcome } => {
                    let own = reached.rolled_back.iter_mut().filter(|((of, _), _)| *of == service);
                    own.for_each(|(_, done)| *done = Some(*outcome == Restoration::Restored));
                }
                _ => {}
            }
        }
        reached
    }

    /// In words; none of what there was no need for.
    fn state(&self, id: usize, stage: &Stage, ended: bool) -> Option<String> {
        let unknown = |what: &str| format!("unknown: {what}; the next plan reads it from the host");
        let text = match (self.ends.get(&id), self.begun.get(&id)) {
            (Some(End::Done), _) => self.kept(stage).unwrap_or_else(|| "done".to_owned()),
            (Some(End::Failed(failure)), _) => {
                let failed = format!("failed: {}", why(failure));
                self.kept(stage).map_or(failed.clone(), |kept| format!("{failed}; {kept}"))
            }
            (Some(End::Skipped(_)), _) => "skipped".to_owned(),
            (Some(End::Stopped | End::Held(_)), _) => "stopped before it started".to_owned(),
            (Some(End::NotNeeded), _) => return None,
            (Some(End::PassedOver(failure)), _) => format!("failed, and continued: {}", why(failure)),
            (None, Some(step)) => {
                let what = stage.work.steps().get(*step).map(human::words::step).unwrap_or_default();
                unknown(&format!("the journal ends at `{what}`"))
            }
            (None, None) if self.started.contains(&id) => {
                unknown("it was sent to the host, and the journal ends there")
            }
            (None, None) if ended => "not started".to_owned(),
            (None, None) => "not started, according to the journal".to_owned(),
        };
        Some(text)
    }

    /// What a rollback made of the stage, if there was one.
    fn kept(&self, stage: &Stage) -> Option<String> {
        let Work::Change(block) = &stage.work else { return None };
        let key = (block.service.as_ref()?, &block.host);
        let text = match self.rolled_back.get(&key)? {
            Some(true) => "rolled back",
            Some(false) => "its rollback failed",
            None => "unknown: the journal ends during its rollback",
        };
        Some(text.to_owned())
    }
}

fn why(failure: &Failure) -> String {
    match failure {
        Failure::Step { exit, stderr, .. } => {
            format!("exit code {exit} {}", stderr.lines().next_back().unwrap_or_default())
        }
        Failure::Undone { cause, .. } => format!("{}; the host rolled it back", self::why(cause)),
        Failure::Unsure { cause, why } => format!("{}; {why}", self::why(cause)),
        Failure::Host { why, .. } | Failure::Refused { why } | Failure::Fenced { why, .. } => why.clone(),
    }
}

/// Prints the events of a run; of one that is followed also those to come.
fn log(mut run: Run, command: &Log, verbose: u8) -> Result<Exit, Diagnostics> {
    let plan = std::sync::Arc::new(plan(&run)?);
    let mut progress = Progress::lines(std::sync::Arc::clone(&plan), Box::new(anstream::stdout()), verbose.max(1));
    let mut printed = 0;
    loop {
        for (at, event) in &run.events[printed..] {
            if command.one.json {
                ui::line(&crate::report::json::event(&plan, event, *at).to_string());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::RoleName;
    use crate::plan::Block;

    fn stage() -> Stage {
        let (host, role) = (HostName::new("h1").expect("a name"), RoleName::new("web").expect("a name"));
        let service = Some(ServiceName::new("web").expect("a name"));
        let (before, entries, after) = (Vec::new(), Vec::new(), Vec::new());
        let block = Block { host, role, service, before, entries, after };
        Stage { after: Vec::new(), work: Work::Change(block), turn: None }
    }

    fn said(events: &[Event], ended: bool) -> String {
        Reached::of(events.iter()).state(0, &stage(), ended).unwrap_or_default()
    }

    #[test]
    fn what_was_sent_to_a_host_is_unknown_where_the_record_ends() {
        let (started, step) = (Event::StageStarted(0), Event::StepStarted { stage: 0, step: 0 });
        let done = Event::StageEnded { stage: 0, end: End::Done, took: Duration::ZERO };
        assert!(said(&[], false).starts_with("not started"));
        assert!(said(std::slice::from_ref(&started), false).starts_with("unknown: it was sent"));
        assert!(said(&[started.clone(), step.clone()], false).starts_with("unknown: the journal ends at"));
        assert_eq!(said(&[started, step, done], false), "done");
    }

    #[test]
    fn what_was_rolled_back_is_not_done() {
        let names = || (ServiceName::new("web").expect("a name"), HostName::new("h1").expect("a name"));
        let done = Event::StageEnded { stage: 0, end: End::Done, took: Duration::ZERO };
        let (service, host) = names();
        let back = Event::RollingBack { service, host };
        assert!(said(&[done.clone(), back.clone()], false).starts_with("unknown"));
        let (service, _) = names();
        let over = Event::RolledBack { service, outcome: Restoration::Restored };
        assert_eq!(said(&[done, back, over], true), "rolled back");
    }
}
