//! Plans, events and ends of runs as JSON.
//!
//! In: the same values that the texts for people are made of. Out: objects that begin with `format` and `version`; within
//! a version, keys and words are only added. Never: a secret, the content of a step, or a second copy of a large plan in
//! memory: what is made here is a view, and [`write()`] makes each of its rows when that is written.
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
//! assert_eq!(serde_json::to_value(json::plan(&plan, &about)).unwrap(), serde_json::json!({
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

mod plan;
mod run;
mod write;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

pub use plan::{plan, saved};
pub use run::{event, report};
pub use write::{harmless, pretty, write};

use crate::step::Health;

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

/// The rows of a list with their places, each made when it is written.
struct Rows<'a, T, U>(&'a [T], fn(usize, &'a T) -> U);

impl<T, U: Serialize> Serialize for Rows<'_, T, U> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(all, row) = *self;
        serializer.collect_seq(all.iter().enumerate().map(|(at, one)| row(at, one)))
    }
}

fn status(health: &Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Unhealthy(_) => "unhealthy",
        Health::Unknown(_) => "unknown",
    }
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
