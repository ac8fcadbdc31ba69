//! `link`: a symbolic link.
//!
//! In: where it is and what it says. Out: the link, replaced in one instant. Never: a link in the place of a file or
//! directory, or a look at what it points to.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Presence};
use super::{Action, Change, Claim, Field, Kind, Verdict, trace};
use crate::step::{Fetch, PathReading, Probe, Readings, Removable, Step, Unreadable};

/// A symbolic link.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    /// Where it is on the host.
    path: String,
    /// What it points to, absolute or relative to its own directory. It need not be there.
    #[serde(default)]
    target: Option<String>,
    /// Whether it exists.
    #[serde(default)]
    state: Presence,
}

impl Kind for Link {
    const NAME: &'static str = "link";
    const SUMMARY: &'static str = "A symbolic link";
    const EXAMPLE: &'static str = "link: { path: /opt/spark/current, target: /opt/spark/3.5.1 }";
    const SHORT: &'static str = "path";
    const MAKES_DIRECTORIES: bool = true;
    type State = PathReading;

    fn target(&self) -> String {
        self.path.clone()
    }

    fn claim(&self) -> Claim {
        Claim::Path
    }

    fn check(&self) -> Result<(), String> {
        fields::check_path(&self.path)?;
        match (self.state, self.target.as_deref()) {
            (Presence::Present, None) => Err("a link needs `target`".to_owned()),
            (Presence::Present, Some("")) => Err("`target` is empty".to_owned()),
            (_, Some(target)) => fields::check_line("target", target),
            (Presence::Absent, None) => Ok(()),
        }
    }

    fn probes(&self) -> Vec<Probe> {
        vec![self.probe()]
    }

    fn observe(&self, readings: &Readings) -> Result<PathReading, Unreadable> {
        readings.path(&self.probe()).cloned()
    }

    fn change(&self, state: &PathReading) -> Verdict {
        match (self.wanted(), state) {
            (None, PathReading::Absent) => Verdict::InSync,
            (None, PathReading::Link { .. }) => Verdict::change(Action::Remove, Vec::new(), vec![self.removing()]),
            (Some(to), PathReading::Absent) => self.making(Action::Add, fields::new("target", to), to),
            (Some(to), PathReading::Link { target, .. }) if target == to => Verdict::InSync,
            (Some(to), PathReading::Link { target, .. }) => {
                self.making(Action::Change, fields::text("target", target, to), to)
            }
            (_, other) => Verdict::Refuse(fields::in_the_way(other, "a symbolic link")),
        }
    }

    fn unwanted(&self, state: &PathReading) -> Option<Change> {
        let gone = self.wanted().is_none() && *state == PathReading::Absent;
        gone.then(|| Change { action: Action::Remove, fields: Vec::new(), steps: vec![self.removing()] })
    }

    fn written(&self, state: &PathReading) -> Option<i64> {
        if let PathReading::Link { modified, .. } = state { Some(*modified) } else { None }
    }

    fn absent(&self) -> Option<serde_json::Value> {
        trace::away(self.state, serde_json::json!({ "path": self.path }))
    }

    fn exists(&self, state: &PathReading) -> bool {
        *state != PathReading::Absent
    }

    fn fingerprint(&self, state: &PathReading) -> String {
        trace::path(state)
    }
}

impl Link {
    fn probe(&self) -> Probe {
        Probe::Path { path: self.path.clone(), content: Fetch::Digest }
    }

    fn wanted(&self) -> Option<&str> {
        self.target.as_deref().filter(|_| self.state == Presence::Present)
    }

    fn removing(&self) -> Step {
        Step::Remove { path: self.path.clone(), what: Removable::Link }
    }

    fn making(&self, action: Action, field: Field, target: &str) -> Verdict {
        let step = Step::MakeLink { path: self.path.clone(), target: target.to_owned() };
        Verdict::change(action, vec![field], vec![step])
    }
}
