//! Plans and runs as short, stable text, for stories and failing tests.
//!
//! In: a plan, a run. Out: a few lines. Never: a time, or anything else that differs from run to run.

use std::fmt::Write as _;

use super::Run;
use crate::apply::{End, Event, Failure};
use crate::plan::{Entry, Plan, Reason, StageId, Verdict, Work};
use crate::report::human::rollout;
use crate::resource::{Change, Field, FieldValue};
use crate::step::{FailedCheck, Outcome};

/// Every service with its batches, every change with its reason, and the sums.
pub fn show_plan(plan: &Plan) -> String {
    let mut text = String::new();
    for service in plan.services.iter().filter(|service| !service.batches.is_empty()) {
        let batches: Vec<String> = service.batches.iter().map(|batch| names(batch)).collect();
        let after = if service.needs.is_empty() { String::new() } else { format!(", after {}", names(&service.needs)) };
        let _ = writeln!(text, "{}: {}{after}", service.name, batches.join(", then "));
    }
    for block in plan.blocks() {
        for entry in &block.entries {
            let _ = writeln!(text, "  {} {}", block.host, line(entry));
        }
    }
    for service in &plan.services {
        for (host, failed) in service.unhealthy_unchanged() {
            let why: Vec<&str> = failed.iter().map(FailedCheck::why).collect();
            let _ = writeln!(text, "  {host} {} is unhealthy: {}", service.name, why.join(", "));
        }
    }
    for (host, why) in &plan.unreachable {
        let _ = writeln!(text, "  {host} is unreachable: {why}");
    }
    let summary = plan.summary();
    let counts = summary.actions.iter().map(|(action, n)| format!("{n} to {}", format!("{action:?}").to_lowercase()));
    let more = [(summary.may_change, "may change"), (summary.refused, "refused"), (summary.unreadable, "not known")];
    let more = more.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
    let all = counts.chain(more).chain([format!("{} in sync", summary.in_sync)]);
    let all: Vec<String> =
        all.chain((summary.unhealthy > 0).then(|| format!("{} unhealthy", summary.unhealthy))).collect();
    let _ = writeln!(text, "{}", all.join(", "));
    text
}

fn names(names: &[impl ToString]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn line(entry: &Entry) -> String {
    let what = match &entry.verdict {
        Verdict::Change(change) => action(change),
        Verdict::MayChange(change) => format!("perhaps {}", action(change)),
        Verdict::Refused => "refused".to_owned(),
        Verdict::Unreadable => "not known".to_owned(),
        Verdict::Blocked => "blocked".to_owned(),
        Verdict::Keep => "keep".to_owned(),
    };
    let fields = match &entry.verdict {
        Verdict::Change(change) | Verdict::MayChange(change) => change.fields.iter().map(field).collect::<String>(),
        _ => String::new(),
    };
    format!("{what} {}{fields}{}", entry.address, reason(&entry.reason))
}

fn action(change: &Change) -> String {
    format!("{:?}", change.action).to_lowercase()
}

fn field(field: &Field) -> String {
    match &field.value {
        FieldValue::Text { from, to } => {
            let side = |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing".to_owned());
            format!(", {} {} -> {}", field.name, side(from), side(to))
        }
        _ => format!(", {}", field.name),
    }
}

fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Missing | Reason::Unwanted | Reason::Differs | Reason::Unguarded | Reason::Needed => String::new(),
        Reason::Notified(from) => {
            format!(" (because of {})", from.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
        Reason::Stale(from) => format!(" (because it has not read {from} yet)"),
        Reason::Because(why) | Reason::Undecided(why) => format!(" ({why})"),
        Reason::After(first) => format!(" (after {first})"),
        Reason::Owed(from) => {
            format!(" (pending because of {})", from.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
        Reason::Left => " (no longer in any role)".to_owned(),
        Reason::LeftIf(why) => format!(" (no longer in any role; {why})"),
    }
}

/// What happened, a line for each thing, and what is left undone.
pub fn show_run(plan: &Plan, run: &Run) -> String {
    let mut text: String =
        run.events.iter().filter_map(|event| happened(plan, event)).map(|line| line + "\n").collect();
    let ended = |wanted: fn(&End) -> bool| run.report.ends.iter().filter(|end| wanted(end)).count();
    if run.report.converged() {
        text.push_str("converged\n");
    } else {
        let (failed, skipped) =
            (ended(|end| matches!(end, End::Failed(_))), ended(|end| matches!(end, End::Skipped(_))));
        let stopped = ended(|end| *end == End::Stopped);
        let _ = writeln!(text, "not converged: {failed} failed, {skipped} skipped, {stopped} not started");
    }
    text
}

fn happened(plan: &Plan, event: &Event) -> Option<String> {
    match event {
        Event::StepEnded { stage, step, outcome, .. } => ended(plan, *stage, *step, outcome),
        Event::Waiting { stage, why } => Some(format!("  {} waits: {why}", name(plan, *stage))),
        Event::StageEnded { stage, end, .. } => over(plan, *stage, end),
        Event::Stopping => Some("  stopping: running steps finish, nothing new starts".to_owned()),
        Event::Halted { service, halt } => Some(format!("  {service} goes no further: {}", rollout::halt(plan, halt))),
        Event::RollingBack { service, host } => Some(format!("  rolling back {service} on {host}")),
        Event::RolledBack { service, outcome } => Some(format!("  {service} {}", rollout::restoration(*outcome))),
        Event::StageStarted(_) | Event::StepStarted { .. } | Event::Turn { .. } | Event::Holding { .. } => None,
    }
}

/// One line for the last step of each resource, and for a step that fails.
fn ended(plan: &Plan, stage: StageId, step: usize, outcome: &Outcome) -> Option<String> {
    let entry = plan.entry_of(stage, step)?;
    let last = plan.entry_of(stage, step + 1).is_none_or(|next| next.address != entry.address);
    match outcome {
        Outcome::Failed { exit, stderr } => {
            Some(format!("  {} {} FAILED with {exit}: {stderr}", entry.address.host, entry.address))
        }
        Outcome::NotNeeded if last => Some(format!("  {} {} was not needed", entry.address.host, entry.address)),
        _ if last => Some(format!("  {} {}", entry.address.host, entry.address)),
        _ => None,
    }
}

fn over(plan: &Plan, stage: StageId, end: &End) -> Option<String> {
    match (&plan.stages[stage].work, end) {
        (Work::Join | Work::Rolled(_), _) => None,
        (Work::Gate { host, service, .. }, End::Done) => Some(format!("  {host} {service} is healthy")),
        (Work::Gate { host, service, .. }, End::Failed(Failure::Step { stderr, .. })) => {
            Some(format!("  {host} {service} is NOT healthy: {stderr}"))
        }
        (_, End::Failed(Failure::Undone { .. })) => Some(format!("  {} was rolled back", name(plan, stage))),
        (_, End::Failed(Failure::Unsure { why, .. })) => {
            Some(format!("  {}: the result of its rollback is unknown: {why}", name(plan, stage)))
        }
        (_, End::Failed(Failure::Host { why, .. } | Failure::Refused { why } | Failure::Fenced { why, .. })) => {
            Some(format!("  {}: {why}", name(plan, stage)))
        }
        (_, End::Skipped(cause)) => {
            Some(format!("  {} is skipped because of {}", name(plan, stage), name(plan, *cause)))
        }
        _ => None,
    }
}

fn name(plan: &Plan, stage: StageId) -> String {
    match &plan.stages[stage].work {
        Work::Change(block) => format!("{} {}", block.host, block.role),
        Work::Gate { host, service, .. } => format!("{host} {service}'s health"),
        Work::Undo { host, service, .. } => format!("{host} {service} rolled back"),
        Work::Hook { host, service, .. } => format!("{host} {service}'s hook"),
        Work::Join | Work::Rolled(_) => "what was before".to_owned(),
    }
}

/// Whether a text is in the line that is shown for an event.
pub(super) fn mentions(plan: &Plan, event: &Event, text: &str) -> bool {
    happened(plan, event).is_some_and(|line| line.contains(text))
}
