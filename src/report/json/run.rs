//! The events of a run and its end as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::plan::{EntryJson, Subject, entry};
use super::{Rows, status};
use crate::apply::{End, Event, Failure, Report};
use crate::name::{EnvName, HostName, ServiceName};
use crate::plan::{Finding, Plan, StageId};
use crate::report::human::words;
use crate::rollout::Restoration;
use crate::step::Outcome;

#[derive(Serialize)]
struct EventJson<'a> {
    format: &'static str,
    version: u8,
    r#type: &'static str,
    at: f64,
    #[serde(flatten)]
    subject: Option<Subject<'a>>,
    #[serde(flatten)]
    more: Value,
}

/// One event of a run, `"format": "armilla-event"`: one line of JSON Lines. `at` is how long the run lasted then.
pub fn event<'a>(plan: &'a Plan, event: &Event, at: Duration) -> impl Serialize + use<'a> {
    let (r#type, id, more) = match event {
        Event::StageStarted(id) => ("stage_started", Some(*id), json!({})),
        Event::StepStarted { stage, step } => ("step_started", Some(*stage), named_step(plan, *stage, *step)),
        Event::Waiting { stage, why } => ("waiting", Some(*stage), json!({ "why": why })),
        Event::StepEnded { stage, step, outcome, took } => {
            let ended = merged(named_step(plan, *stage, *step), outcome_of(outcome));
            ("step_ended", Some(*stage), merged(ended, seconds(*took)))
        }
        Event::StageEnded { stage, end: how, took } => ("stage_ended", Some(*stage), merged(end(how), seconds(*took))),
        Event::Stopping => ("stopping", None, json!({})),
        Event::Turn { service, host } => ("turn", None, json!({ "service": service, "host": host })),
        Event::Holding { service, hold } => ("holding", None, json!({ "service": service, "for": hold })),
        Event::Halted { service, halt } => ("halted", None, json!({ "service": service, "because": halt })),
        Event::RollingBack { service, host } => ("rolling_back", None, json!({ "service": service, "host": host })),
        Event::RolledBack { service, outcome } => {
            ("rolled_back", None, json!({ "service": service, "outcome": outcome }))
        }
    };
    let subject = id.map(|id| Subject(plan, id));
    EventJson { format: "armilla-event", version: 1, r#type, at: at.as_secs_f64(), subject, more }
}

#[derive(Serialize)]
struct ReportJson<'a> {
    format: &'static str,
    version: u8,
    environment: &'a EnvName,
    converged: bool,
    stopped: bool,
    restored: &'a BTreeMap<ServiceName, Restoration>,
    seconds: f64,
    stages: Ends<'a>,
    left: Vec<EntryJson<'a>>,
    unhealthy: Rows<'a, Finding, Value>,
    unreachable: BTreeSet<&'a HostName>,
}

/// How each stage ended.
struct Ends<'a>(&'a Plan, &'a [End]);

#[derive(Serialize)]
struct Ended<'a> {
    #[serde(flatten)]
    subject: Subject<'a>,
    #[serde(flatten)]
    end: Value,
}

impl Serialize for Ends<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(plan, ends) = *self;
        let rows = ends.iter().enumerate().map(|(id, how)| Ended { subject: Subject(plan, id), end: end(how) });
        serializer.collect_seq(rows)
    }
}

/// How a run ended, `"format": "armilla-report"`. `again` is what a new look at the touched hosts finds: what is still not
/// as described is under `left`, without what runs every time anyway; the members of services that are not healthy then are
/// under `unhealthy`.
pub fn report<'a>(
    plan: &'a Plan,
    report: &'a Report,
    again: &'a Plan,
    unhealthy: &'a [Finding],
    took: Duration,
) -> impl Serialize + use<'a> {
    let left: Vec<_> = again.entries().filter(|entry| !entry.is_always()).map(entry).collect();
    let is_read = again.unreachable.is_empty();
    ReportJson {
        format: "armilla-report",
        version: 1,
        environment: plan.environment(),
        converged: report.converged() && left.is_empty() && is_read && unhealthy.is_empty(),
        stopped: report.stopped,
        restored: &report.restored,
        seconds: took.as_secs_f64(),
        stages: Ends(plan, &report.ends),
        left,
        unhealthy: Rows(unhealthy, |_, one| finding(one)),
        unreachable: plan.unreachable.keys().chain(again.unreachable.keys()).collect(),
    }
}

fn finding(finding: &Finding) -> Value {
    json!({
        "host": finding.host,
        "service": finding.service,
        "check": finding.check.as_ref().map(words::check),
        "status": status(&finding.health),
        "answer": finding.health.why(),
    })
}

fn named_step(plan: &Plan, stage: StageId, step: usize) -> Value {
    let known = plan.stages.get(stage).and_then(|stage| stage.work.steps().get(step).map(words::step));
    let resource = plan.stages.get(stage).and_then(|_| plan.entry_of(stage, step)).map(|entry| &entry.address);
    json!({ "step": step, "text": known, "resource": resource })
}

fn outcome_of(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Done => json!({ "outcome": "done" }),
        Outcome::NotNeeded => json!({ "outcome": "not_needed" }),
        Outcome::Failed { exit, stderr } => json!({ "outcome": "failed", "exit": exit, "stderr": stderr }),
    }
}

fn end(end: &End) -> Value {
    match end {
        End::Done => json!({ "end": "done" }),
        End::Failed(failure) => json!({ "end": "failed", "failure": failed(failure) }),
        End::Skipped(because) => json!({ "end": "skipped", "because": because }),
        End::Stopped => json!({ "end": "stopped" }),
        End::Held(halt) => json!({ "end": "held", "because": halt }),
        End::NotNeeded => json!({ "end": "not_needed" }),
        End::PassedOver(failure) => json!({ "end": "passed_over", "failure": failed(failure) }),
    }
}

fn failed(failure: &Failure) -> Value {
    match failure {
        Failure::Step { step, exit, stderr } => {
            json!({ "type": "step", "step": step, "exit": exit, "stderr": stderr })
        }
        Failure::Host { step, why } => json!({ "type": "host", "step": step, "why": why }),
        Failure::Refused { why } => json!({ "type": "refused", "why": why }),
        Failure::Undone { cause, why } => json!({ "type": "undone", "cause": failed(cause), "why": why }),
        Failure::Unsure { cause, why } => json!({ "type": "unsure", "cause": failed(cause), "why": why }),
        Failure::Fenced { step, why } => json!({ "type": "fenced", "step": step, "why": why }),
    }
}

fn seconds(took: Duration) -> Value {
    json!({ "seconds": took.as_secs_f64() })
}

/// The keys of both objects.
fn merged(mut one: Value, other: Value) -> Value {
    if let (Some(all), Value::Object(more)) = (one.as_object_mut(), other) {
        all.extend(more);
    }
    one
}
