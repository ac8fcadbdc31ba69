//! Plans, events and ends of runs as JSON.
//!
//! In: the same values that the texts for people are made of. Out: objects that begin with `format` and `version`; within
//! a version, keys and words are only added. Never: a secret, or the content of a step.
//!
//! A plan holds every text as it is (escaped as JSON asks), so that programs can compare it:
//!
//! ```
//! use std::collections::BTreeMap;
//! use armilla::name::{Address, EnvName, HostName, RoleName, ServiceName};
//! use armilla::plan::{PlannedBlock, Cause, Entry, Plan, Reason, ServicePlan, Stage, Verdict, Work};
//! use armilla::report::json::{self, About};
//! use armilla::resource::{Action, Change, Field, FieldValue};
//!
//! let (host, role) = (HostName::new("zk1").unwrap(), RoleName::new("zookeeper").unwrap());
//! let service = ServiceName::new("zookeeper").unwrap();
//! let mode = FieldValue::Text { from: Some("0600".into()), to: Some("0644".into()) };
//! let change = Change {
//!     action: Action::Change,
//!     fields: vec![Field { name: "mode", value: mode }, Field { name: "content", value: FieldValue::Secret }],
//!     steps: vec![],
//! };
//! let address = Address { host: host.clone(), role: role.clone(), kind: "file", target: "/etc/token".into() };
//! let entry = Entry { address, verdict: Verdict::Change(change), reason: Reason::Differs, cause: Cause::Unknown, mark: None, risk: None };
//! let block = PlannedBlock { host: host.clone(), role: role.clone(), service: Some(service.clone()),
//!     before: vec![], entries: vec![entry], after: vec![] };
//! let plan = Plan {
//!     owner: EnvName::new("staging").unwrap().into(),
//!     stages: vec![Stage { after: vec![], work: Work::Change(block), turn: None }],
//!     services: vec![ServicePlan {
//!         name: service,
//!         role,
//!         hosts: vec![host.clone()],
//!         batches: vec![vec![host]],
//!         needs: vec![],
//!         down: BTreeMap::new(),
//!         unhealthy: BTreeMap::new(),
//!         rollout: None,
//!     }],
//!     endpoints: BTreeMap::new(),
//!     unreachable: [(HostName::new("zk2").unwrap(), "no route to host".to_owned())].into(),
//!     in_sync: 4,
//!     left_out: 0,
//!     secrets: vec![],
//!     silent: BTreeMap::new(),
//!     bases: BTreeMap::new(),
//!     parted: BTreeMap::new(),
//! };
//! let about = About { revision: Some("3f2c1ab".into()), ..About::default() };
//! assert_eq!(json::plan(&plan, &about), serde_json::json!({
//!     "format": "armilla-plan",
//!     "version": 1,
//!     "environment": "staging",
//!     "project": null,
//!     "revision": "3f2c1ab",
//!     "limit": null,
//!     "part": null,
//!     "summary": {
//!         "actions": { "change": 1 },
//!         "may_change": 0, "refused": 0, "unreadable": 0, "in_sync": 4, "kept": 0, "left_out": 0,
//!         "unreachable": 1, "unhealthy": 0
//!     },
//!     "services": [{
//!         "name": "zookeeper", "role": "zookeeper", "hosts": ["zk1"], "batches": [["zk1"]], "needs": [], "down": {},
//!         "unhealthy": {}, "rollout": null
//!     }],
//!     "stages": [{
//!         "stage": 0, "type": "change", "host": "zk1", "role": "zookeeper", "service": "zookeeper", "after": [],
//!         "entries": [{
//!             "host": "zk1", "role": "zookeeper", "kind": "file", "target": "/etc/token",
//!             "verdict": "change", "action": "change",
//!             "reason": { "code": "differs", "text": "differs", "from": [] },
//!             "cause": "unknown", "since": null,
//!             "fields": [
//!                 { "name": "mode", "type": "text", "from": "0600", "to": "0644" },
//!                 { "name": "content", "type": "secret" }
//!             ],
//!             "steps": []
//!         }]
//!     }],
//!     "unreachable": { "zk2": "no route to host" },
//!     "silent": {},
//!     "unadopted": []
//! }));
//! ```
//!
//! Under `unhealthy`, each service has the members that fail a health check, with each check that fails (`status` is
//! `unhealthy`, or `unknown` where it could not be asked); `down` are the hosts where the service does not run, and
//! why. In the summary, `unhealthy` counts the members that fail and are not changed.
//!
//! Words: a verdict is `change`, `may_change`, `refused`, `unreadable`, `blocked` or `keep` (no role wants it any more, and
//! it stays; the reason says why); a cause is `project`, `host` (drift), `both` or `unknown`, and `since` is when armilla
//! last applied what somebody then changed; `silent` are hosts without a role that did not answer; a stage is of type `change`, `gate`,
//! `drain`, `undrain`, `undo` (begun only by a roll back), `rolled` (the end of a rollout) or `join`; `turn` is the host whose turn in
//! the rollout of its service it must be; a field is of type `text`, `diff`, `binary` (sizes in bytes) or `secret`; `after` says of each stage before
//! whether it must be `done` or only `over`. `steps` are in words, for people. An event is of type `stage_started`,
//! `step_started`, `waiting`, `step_ended`, `stage_ended`, `stopping`, or of a rollout: `turn`, `holding` (with the reason),
//! `halted` (with the reason), `rolling_back`, `rolled_back`; an end is `done`, `failed`, `skipped`, `held`, `not_needed`,
//! `passed_over` or `stopped`. Times are in seconds.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::human::words;
use crate::apply::{End, Event, Failure, Report};
use crate::name::Address;
use crate::plan::saved::File;
use crate::plan::{Cause, Condition, Entry, Finding, Plan, Reason, ServicePlan, Stage, StageId, Verdict, Work};
use crate::resource::{Field, FieldValue};
use crate::rollout::{Budget, Rollout};
use crate::step::{FailedCheck, Health, Outcome};

/// What a plan was made of.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Of the project, if it has one.
    pub revision: Option<String>,
    /// The hosts it was limited to, as they were typed.
    pub limit: Option<String>,
    /// The resources it was limited to, in words.
    pub part: Option<String>,
}

/// A plan, `"format": "armilla-plan"`.
pub fn plan(plan: &Plan, about: &About) -> Value {
    let unreachable: Map<String, Value> =
        plan.unreachable.iter().map(|(host, why)| (host.to_string(), why.as_str().into())).collect();
    let silent: Map<String, Value> =
        plan.silent.iter().map(|(host, why)| (host.to_string(), why.as_str().into())).collect();
    json!({
        "format": "armilla-plan",
        "version": 1,
        "environment": plan.environment(),
        "project": plan.owner.project,
        "revision": about.revision,
        "limit": about.limit,
        "part": about.part,
        "summary": plan.summary(),
        "services": plan.services.iter().map(service).collect::<Vec<_>>(),
        "stages": plan.stages.iter().enumerate().map(|(id, one)| stage(id, one)).collect::<Vec<_>>(),
        "unreachable": unreachable,
        "silent": silent,
        "unadopted": plan.unadopted().into_keys().collect::<Vec<_>>(),
    })
}

/// A saved plan: the same, and under `saved` what is told about it. The revision is the one for people.
pub fn saved(saved: &File, revision: Option<String>) -> Value {
    let File { about, digest, shown, .. } = saved;
    let of = About { revision, limit: about.limit.clone(), part: about.part.clone() };
    let file = json!({
        "digest": format!("sha256:{}", digest.0),
        "armilla": about.armilla,
        "made_at": about.made_at,
        "made_by": about.made_by,
        "revision": about.revision,
        "project": about.project,
        "hosts": about.hosts,
        "command": about.command,
    });
    merged(plan(shown, &of), json!({ "saved": file }))
}

fn service(service: &ServicePlan) -> Value {
    let down: Map<String, Value> =
        service.down.iter().map(|(host, why)| (host.to_string(), why.as_str().into())).collect();
    let unhealthy: Map<String, Value> = service
        .unhealthy
        .iter()
        .map(|(host, checks)| (host.to_string(), checks.iter().map(failed_check).collect()))
        .collect();
    json!({
        "name": service.name,
        "role": service.role,
        "hosts": service.hosts,
        "batches": service.batches,
        "needs": service.needs,
        "down": down,
        "unhealthy": unhealthy,
        "rollout": service.rollout.as_ref().map(rollout),
    })
}

fn failed_check(failed: &FailedCheck) -> Value {
    json!({ "check": words::check(&failed.check), "status": status(&failed.health), "answer": failed.why() })
}

fn status(health: &Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Unhealthy(_) => "unhealthy",
        Health::Unknown(_) => "unknown",
    }
}

fn rollout(rollout: &Rollout) -> Value {
    let members: Map<String, Value> = rollout
        .members
        .iter()
        .map(|(host, member)| {
            let told = json!({ "standing": member.standing, "answer": member.answer, "zone": member.zone });
            (host.to_string(), told)
        })
        .collect();
    json!({
        "slots": rollout.slots,
        "budget": if let Budget::Failures(most) = rollout.budget { Some(most) } else { None },
        "keep_healthy": rollout.floor,
        "first": rollout.first,
        "last": rollout.last,
        "canary": rollout.canary,
        "on_failure": rollout.on_failure,
        "members": members,
        "refused": rollout.refused,
    })
}

fn stage(id: StageId, stage: &Stage) -> Value {
    let mut object = subject(id, &stage.work);
    let after = stage.after.iter().map(|(before, condition)| {
        let condition = if *condition == Condition::Done { "done" } else { "over" };
        json!({ "stage": before, "condition": condition })
    });
    object.insert("after".to_owned(), after.collect());
    match &stage.work {
        Work::Change(block) => {
            object.insert("entries".to_owned(), block.entries.iter().map(entry).collect());
            if let Some(wait) = block.risk() {
                object.insert("undone_unless_login_within".to_owned(), wait.as_secs().into());
            }
        }
        Work::Gate { gate, .. } => {
            object.insert(
                "checks".to_owned(),
                gate.checks.iter().map(|check| Value::from(words::check(check))).collect(),
            );
        }
        Work::Hook { hook, .. } => {
            object.insert("step".to_owned(), words::step(&hook.step).into());
            object.insert("otherwise".to_owned(), json!(hook.otherwise));
        }
        Work::Undo { of, step, .. } => {
            object.insert("of".to_owned(), (*of).into());
            object.insert("step".to_owned(), words::step(step).into());
        }
        Work::Join | Work::Rolled(_) => {}
    }
    if let Some(turn) = &stage.turn {
        object.insert("turn".to_owned(), turn.host.to_string().into());
    }
    Value::Object(object)
}

/// What a stage is about.
fn subject(id: StageId, work: &Work) -> Map<String, Value> {
    let object = match work {
        Work::Change(block) => json!({
            "stage": id, "type": "change", "host": block.host, "role": block.role, "service": block.service,
        }),
        Work::Gate { host, service, .. } => json!({ "stage": id, "type": "gate", "host": host, "service": service }),
        Work::Hook { host, service, moment, .. } => {
            json!({ "stage": id, "type": moment, "host": host, "service": service })
        }
        Work::Undo { host, service, .. } => {
            json!({ "stage": id, "type": "undo", "host": host, "service": service })
        }
        Work::Join => json!({ "stage": id, "type": "join" }),
        Work::Rolled(service) => json!({ "stage": id, "type": "rolled", "rollout": service }),
    };
    if let Value::Object(object) = object { object } else { Map::new() }
}

fn entry(entry: &Entry) -> Value {
    let (verdict, change) = match &entry.verdict {
        Verdict::Change(change) => ("change", Some(change)),
        Verdict::MayChange(change) => ("may_change", Some(change)),
        Verdict::Refused => ("refused", None),
        Verdict::Unreadable => ("unreadable", None),
        Verdict::Blocked => ("blocked", None),
        Verdict::Keep => ("keep", None),
    };
    let (cause, since) = match &entry.cause {
        Cause::Unknown => ("unknown", None),
        Cause::Project => ("project", None),
        Cause::Host { since } => ("host", Some(since)),
        Cause::Both { since } => ("both", Some(since)),
    };
    json!({
        "host": entry.address.host,
        "role": entry.address.role,
        "kind": entry.address.kind,
        "target": entry.address.target,
        "verdict": verdict,
        "action": change.map(|change| change.action),
        "reason": reason(&entry.reason),
        "cause": cause,
        "since": since,
        "fields": change.map(|change| change.fields.iter().map(field).collect::<Vec<_>>()).unwrap_or_default(),
        "steps": entry.steps().iter().map(words::step).collect::<Vec<_>>(),
    })
}

fn reason(reason: &Reason) -> Value {
    let (code, from): (&str, &[Address]) = match reason {
        Reason::Missing => ("missing", &[]),
        Reason::Unwanted => ("unwanted", &[]),
        Reason::Differs => ("differs", &[]),
        Reason::Notified(from) => ("notified", from),
        Reason::Stale(from) => ("stale", std::slice::from_ref(from)),
        Reason::Unguarded => ("unguarded", &[]),
        Reason::Needed => ("needed", &[]),
        Reason::Because(_) => ("because", &[]),
        Reason::Undecided(_) => ("undecided", &[]),
        Reason::After(from) => ("after", std::slice::from_ref(from)),
        Reason::Owed(from) => ("owed", from),
        Reason::Left | Reason::LeftIf(_) => ("left", &[]),
    };
    json!({ "code": code, "text": words::reason(reason), "from": from })
}

fn field(field: &Field) -> Value {
    let name = field.name;
    match &field.value {
        FieldValue::Text { from, to } => json!({ "name": name, "type": "text", "from": from, "to": to }),
        FieldValue::Diff { from, to } => json!({ "name": name, "type": "diff", "from": from, "to": to }),
        FieldValue::Binary { from, to } => json!({ "name": name, "type": "binary", "from": from, "to": to }),
        FieldValue::Secret => json!({ "name": name, "type": "secret" }),
    }
}

/// One event of a run, `"format": "armilla-event"`: one line of JSON Lines. `at` is how long the run lasted then.
pub fn event(plan: &Plan, event: &Event, at: Duration) -> Value {
    let (name, id, more) = match event {
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
    let head = json!({ "format": "armilla-event", "version": 1, "type": name, "at": at.as_secs_f64() });
    merged(merged(head, id.map_or(json!({}), |id| place(plan, id))), more)
}

/// How a run ended, `"format": "armilla-report"`. `again` is what a new look at the touched hosts finds: what is still not
/// as described is under `left`, without what runs every time anyway; the members of services that are not healthy then are
/// under `unhealthy`.
pub fn report(plan: &Plan, report: &Report, again: &Plan, unhealthy: &[Finding], took: Duration) -> Value {
    let left: Vec<Value> = again.entries().filter(|entry| !entry.is_always()).map(entry).collect();
    let stages = report.ends.iter().enumerate().map(|(id, how)| merged(place(plan, id), end(how)));
    json!({
        "format": "armilla-report",
        "version": 1,
        "environment": plan.environment(),
        "converged": report.converged()
            && left.is_empty()
            && again.unreachable.is_empty()
            && unhealthy.is_empty(),
        "stopped": report.stopped,
        "restored": report.restored,
        "seconds": took.as_secs_f64(),
        "stages": stages.collect::<Vec<_>>(),
        "left": left,
        "unhealthy": unhealthy.iter().map(finding).collect::<Vec<_>>(),
        "unreachable": plan.unreachable.keys().chain(again.unreachable.keys()).collect::<BTreeSet<_>>(),
    })
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

/// What a stage is about, without the word that an event's own `type` would hide.
fn place(plan: &Plan, id: StageId) -> Value {
    let Some(stage) = plan.stages.get(id) else { return json!({ "stage": id }) };
    let mut object = subject(id, &stage.work);
    let work = object.shift_remove("type").unwrap_or_default();
    object.insert("work".to_owned(), work);
    Value::Object(object)
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

/// Mistakes in what a user wrote, `"format": "armilla-diagnostics"`.
pub fn diagnostics(problems: &crate::diag::Diagnostics) -> Value {
    let one = |problem: &crate::diag::Diagnostic| {
        let place =
            problem.origin.as_ref().map(|o| json!({ "file": o.source.name, "line": o.line, "column": o.column }));
        let severity = if problem.severity == crate::diag::Severity::Error { "error" } else { "warning" };
        json!({ "severity": severity, "what": problem.text(), "place": place, "hint": problem.hint })
    };
    let all: Vec<Value> = problems.clone().sorted().iter().map(one).collect();
    json!({ "format": "armilla-diagnostics", "version": 1, "valid": !problems.has_errors(), "diagnostics": all })
}
