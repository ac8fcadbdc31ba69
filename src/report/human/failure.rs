//! One failure in words: at once while it happens, and again at the end.
//!
//! In: a plan, a stage and what went wrong. Out: host, role, resource, step, exit code and the end of the complaint.
//! Never: "done" or "not done" where nobody knows.

use super::layout::{self, paint};
use super::words;
use crate::apply::Failure;
use crate::plan::{Plan, StageId, Work};
use crate::step::Step;

/// Lines of a complaint that are shown; its end is what explains it.
const COMPLAINT: usize = 15;

/// The same of a gate: its first line says what was waited for, and what follows is short by itself.
const GATE: usize = 60;

/// The role or service a stage is about.
pub(super) fn subject(work: &Work) -> String {
    match work {
        Work::Change(block) => block.role.to_string(),
        Work::Gate { service, .. } | Work::Hook { service, .. } | Work::Undo { service, .. } => service.to_string(),
        Work::Join | Work::Rolled(_) => String::new(),
    }
}

/// What went wrong, in lines.
pub(super) fn lines(plan: &Plan, stage: StageId, failure: &Failure) -> Vec<String> {
    let Some(work) = plan.stages.get(stage).map(|stage| &stage.work) else { return Vec::new() };
    let host = work.host().map(ToString::to_string).unwrap_or_default();
    let resource =
        failure.step().and_then(|step| plan.entry_of(stage, step)).map(|entry| words::address(&entry.address));
    let resource = resource.map(|text| format!("  {text}")).unwrap_or_default();
    let mut lines = vec![format!("{}  {}{resource}", paint(layout::WRONG, &format!("{host} failed")), subject(work))];
    let step = failure.step().and_then(|step| work.steps().get(step).cloned());
    let most = if matches!(step, Some(Step::Await(_))) { GATE } else { COMPLAINT };
    let step = step.as_ref().map(words::step);
    lines.extend(match failure {
        Failure::Step { exit, stderr, .. } => broken(step.as_deref(), *exit, &complaint(stderr, most)),
        Failure::Host { why, .. } | Failure::Fenced { why, .. } => lost(step.as_deref(), why),
        Failure::Undone { cause, why } => put_back(plan, stage, cause, &format!("the change was rolled back: {why}")),
        Failure::Unsure { cause, why } => {
            put_back(plan, stage, cause, &format!("the result of the rollback is unknown; check the host: {why}"))
        }
        Failure::Refused { why } => words::lines(why).into_iter().map(|line| format!("  {line}")).collect(),
    });
    lines
}

/// What went wrong first, and what became of it.
fn put_back(plan: &Plan, stage: StageId, cause: &Failure, what: &str) -> Vec<String> {
    let first = match cause {
        Failure::Host { why, .. } => lost(None, why),
        cause => lines(plan, stage, cause).into_iter().skip(1).collect(),
    };
    first.into_iter().chain(words::lines(what).into_iter().map(|line| format!("  {line}"))).collect()
}

fn broken(step: Option<&str>, exit: i32, complaint: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = step.map(|step| format!("  {step}")).into_iter().collect();
    lines.push(match exit {
        124 => "  timed out (exit code 124)".to_owned(),
        127 => "  command not found (exit code 127)".to_owned(),
        _ => format!("  exit code {exit}"),
    });
    lines.extend_from_slice(complaint);
    lines
}

fn lost(step: Option<&str>, why: &str) -> Vec<String> {
    let doubt = step.map(|step| format!("  the result of this step is unknown: {step}"));
    std::iter::once(format!("  {}", words::one_line(why.trim()))).chain(doubt).collect()
}

/// The end of what a program complained.
fn complaint(stderr: &str, most: usize) -> Vec<String> {
    let all = words::lines(stderr.trim_end());
    let hidden = all.len().saturating_sub(most);
    let before = (hidden > 0).then(|| paint(layout::QUIET, &format!("... {}", words::count(hidden, "earlier line"))));
    before
        .into_iter()
        .chain(all.into_iter().skip(hidden))
        .map(|line| format!("    {line}").trim_end().to_owned())
        .collect()
}
