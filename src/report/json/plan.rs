//! A plan as JSON, row by row.

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{About, Rows, status};
use crate::name::{Address, EnvName, HostName, ProjectId, RoleName, ServiceName};
use crate::plan::saved::File;
use crate::plan::{Cause, Condition, Entry, Moment, Plan, Reason, ServicePlan, Stage, StageId, Summary, Verdict, Work};
use crate::report::human::words;
use crate::resource::{Action, Field, FieldValue};
use crate::rollout::{Budget, Canary, Member, OnFailure, Rollout};
use crate::step::{FailedCheck, Step};

/// A plan, `"format": "armilla-plan"`.
pub fn plan<'a>(plan: &'a Plan, about: &'a About) -> impl Serialize + use<'a> {
    let of = [&about.revision, &about.limit, &about.part].map(Option::as_deref);
    planned(plan, of, None)
}

/// A saved plan: the same, and under `saved` what is told about it. The revision is the one for people.
pub fn saved<'a>(saved: &'a File, revision: Option<&'a str>) -> impl Serialize + use<'a> {
    let File { about, digest, shown, .. } = saved;
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
    planned(shown, [revision, about.limit.as_deref(), about.part.as_deref()], Some(file))
}

fn planned<'a>(plan: &'a Plan, about: [Option<&'a str>; 3], saved: Option<Value>) -> PlanJson<'a> {
    let [revision, limit, part] = about;
    PlanJson {
        format: "armilla-plan",
        version: 1,
        environment: plan.environment(),
        project: plan.owner.project.as_ref(),
        revision,
        limit,
        part,
        summary: plan.summary(),
        services: Rows(&plan.services, service),
        stages: Rows(&plan.stages, StageJson),
        unreachable: &plan.unreachable,
        silent: &plan.silent,
        unadopted: plan.unadopted().into_keys().collect(),
        saved,
    }
}

#[derive(Serialize)]
struct PlanJson<'a> {
    format: &'static str,
    version: u8,
    environment: &'a EnvName,
    project: Option<&'a ProjectId>,
    revision: Option<&'a str>,
    limit: Option<&'a str>,
    part: Option<&'a str>,
    summary: Summary,
    services: Rows<'a, ServicePlan, ServiceJson<'a>>,
    stages: Rows<'a, Stage, StageJson<'a>>,
    unreachable: &'a BTreeMap<HostName, String>,
    silent: &'a BTreeMap<HostName, String>,
    unadopted: Vec<&'a HostName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    saved: Option<Value>,
}

// -- services -----------------------------------------------------------------------------------------------------------

/// A value for each host, made when it is written.
struct Hosts<'a, T, U>(&'a BTreeMap<HostName, T>, fn(&'a T) -> U);

impl<T, U: Serialize> Serialize for Hosts<'_, T, U> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(all, value) = *self;
        serializer.collect_map(all.iter().map(|(host, one)| (host, value(one))))
    }
}

#[derive(Serialize)]
struct ServiceJson<'a> {
    name: &'a ServiceName,
    role: &'a RoleName,
    hosts: &'a [HostName],
    batches: &'a [Vec<HostName>],
    needs: &'a [ServiceName],
    down: &'a BTreeMap<HostName, String>,
    unhealthy: Hosts<'a, Vec<FailedCheck>, Vec<Value>>,
    rollout: Option<RolloutJson<'a>>,
}

fn service(_: usize, service: &ServicePlan) -> ServiceJson<'_> {
    let ServicePlan { name, role, hosts, batches, needs, down, unhealthy, rollout } = service;
    let unhealthy = Hosts(unhealthy, |checks| checks.iter().map(failed_check).collect());
    let rollout = rollout.as_ref().map(rollout_json);
    ServiceJson { name, role, hosts, batches, needs, down, unhealthy, rollout }
}

fn failed_check(failed: &FailedCheck) -> Value {
    json!({ "check": words::check(&failed.check), "status": status(&failed.health), "answer": failed.why() })
}

#[derive(Serialize)]
struct RolloutJson<'a> {
    slots: &'a [usize],
    budget: Option<usize>,
    keep_healthy: usize,
    first: Option<&'a str>,
    last: Option<&'a str>,
    canary: Option<Canary>,
    on_failure: OnFailure,
    members: Hosts<'a, Member, Value>,
    refused: Option<&'a str>,
}

fn rollout_json(rollout: &Rollout) -> RolloutJson<'_> {
    let member = |member: &Member| json!({ "standing": member.standing, "answer": member.answer, "zone": member.zone });
    RolloutJson {
        slots: &rollout.slots,
        budget: if let Budget::Failures(most) = rollout.budget { Some(most) } else { None },
        keep_healthy: rollout.floor,
        first: rollout.first.as_deref(),
        last: rollout.last.as_deref(),
        canary: rollout.canary,
        on_failure: rollout.on_failure,
        members: Hosts(&rollout.members, member),
        refused: rollout.refused.as_deref(),
    }
}

// -- stages -------------------------------------------------------------------------------------------------------------

struct StageJson<'a>(StageId, &'a Stage);

impl Serialize for StageJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(id, stage) = *self;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("stage", &id)?;
        object.serialize_entry("type", work_type(&stage.work))?;
        subject(&stage.work, &mut object)?;
        object.serialize_entry("after", &Rows(&stage.after, |_, after| AfterJson::of(after)))?;
        work(&stage.work, &mut object)?;
        if let Some(turn) = &stage.turn {
            object.serialize_entry("turn", &turn.host)?;
        }
        object.end()
    }
}

#[derive(Serialize)]
struct AfterJson {
    stage: StageId,
    condition: &'static str,
}

impl AfterJson {
    fn of((stage, condition): &(StageId, Condition)) -> Self {
        let condition = if *condition == Condition::Done { "done" } else { "over" };
        Self { stage: *stage, condition }
    }
}

/// What a stage is about, for events: its type is called `work`, which an event's own `type` would hide.
pub(super) struct Subject<'a>(pub(super) &'a Plan, pub(super) StageId);

impl Serialize for Subject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(plan, id) = *self;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("stage", &id)?;
        if let Some(stage) = plan.stages.get(id) {
            subject(&stage.work, &mut object)?;
            object.serialize_entry("work", work_type(&stage.work))?;
        }
        object.end()
    }
}

fn work_type(work: &Work) -> &'static str {
    match work {
        Work::Change(_) => "change",
        Work::Gate { .. } => "gate",
        Work::Hook { moment: Moment::Drain, .. } => "drain",
        Work::Hook { moment: Moment::Undrain, .. } => "undrain",
        Work::Undo { .. } => "undo",
        Work::Join => "join",
        Work::Rolled(_) => "rolled",
    }
}

fn subject<M: SerializeMap>(work: &Work, object: &mut M) -> Result<(), M::Error> {
    match work {
        Work::Change(block) => {
            object.serialize_entry("host", &block.host)?;
            object.serialize_entry("role", &block.role)?;
            object.serialize_entry("service", &block.service)
        }
        Work::Gate { host, service, .. } | Work::Hook { host, service, .. } | Work::Undo { host, service, .. } => {
            object.serialize_entry("host", host)?;
            object.serialize_entry("service", service)
        }
        Work::Join => Ok(()),
        Work::Rolled(service) => object.serialize_entry("rollout", service),
    }
}

fn work<M: SerializeMap>(work: &Work, object: &mut M) -> Result<(), M::Error> {
    match work {
        Work::Change(block) => {
            object.serialize_entry("entries", &Rows(&block.entries, |_, one| entry(one)))?;
            match block.risk() {
                Some(wait) => object.serialize_entry("undone_unless_login_within", &wait.as_secs()),
                None => Ok(()),
            }
        }
        Work::Gate { gate, .. } => {
            object.serialize_entry("checks", &Rows(&gate.checks, |_, check| words::check(check)))
        }
        Work::Hook { hook, .. } => {
            object.serialize_entry("step", &words::step(&hook.step))?;
            object.serialize_entry("otherwise", &hook.otherwise)
        }
        Work::Undo { of, step, .. } => {
            object.serialize_entry("of", of)?;
            object.serialize_entry("step", &words::step(step))
        }
        Work::Join | Work::Rolled(_) => Ok(()),
    }
}

// -- entries ------------------------------------------------------------------------------------------------------------

#[derive(Serialize)]
pub(super) struct EntryJson<'a> {
    host: &'a HostName,
    role: &'a RoleName,
    kind: &'a str,
    target: &'a str,
    verdict: &'static str,
    action: Option<Action>,
    reason: ReasonJson<'a>,
    cause: &'static str,
    since: Option<&'a str>,
    fields: Rows<'a, Field, FieldJson<'a>>,
    steps: Rows<'a, Step, String>,
}

pub(super) fn entry(entry: &Entry) -> EntryJson<'_> {
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
        Cause::Host { since } => ("host", Some(since.as_str())),
        Cause::Both { since } => ("both", Some(since.as_str())),
    };
    EntryJson {
        host: &entry.address.host,
        role: &entry.address.role,
        kind: entry.address.kind,
        target: &entry.address.target,
        verdict,
        action: change.map(|change| change.action),
        reason: reason(&entry.reason),
        cause,
        since,
        fields: Rows(change.map(|change| change.fields.as_slice()).unwrap_or_default(), |_, one| field(one)),
        steps: Rows(entry.steps(), |_, step| words::step(step)),
    }
}

#[derive(Serialize)]
struct ReasonJson<'a> {
    code: &'static str,
    text: String,
    from: &'a [Address],
}

fn reason(reason: &Reason) -> ReasonJson<'_> {
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
    ReasonJson { code, text: words::reason(reason), from }
}

/// A field. A secret one has no sides: there is nothing here that could be written.
#[derive(Serialize)]
struct FieldJson<'a> {
    name: &'static str,
    r#type: &'static str,
    #[serde(flatten)]
    sides: Option<Sides<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Sides<'a> {
    Text { from: Option<&'a str>, to: Option<&'a str> },
    Size { from: Option<u64>, to: u64 },
}

fn field(field: &Field) -> FieldJson<'_> {
    let (r#type, sides) = match &field.value {
        FieldValue::Text { from, to } => ("text", Some(Sides::Text { from: from.as_deref(), to: to.as_deref() })),
        FieldValue::Diff { from, to } => ("diff", Some(Sides::Text { from: Some(from), to: Some(to) })),
        FieldValue::Binary { from, to } => ("binary", Some(Sides::Size { from: *from, to: *to })),
        FieldValue::Secret => ("secret", None),
    };
    FieldJson { name: field.name, r#type, sides }
}
