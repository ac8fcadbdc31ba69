//! `group`: a group of users.
//!
//! In: its name and perhaps its number. Out: `groupadd` or `groupdel`. Never: another number for a group that is there,
//! because its files would keep the old one.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Presence};
use super::{Action, Kind, Verdict, trace};
use crate::step::{Command, Probe, Readings, Step, Unreadable};

/// A group of users.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    /// Its name.
    name: String,
    /// Its number; the next free one if not given. A group that is there never gets another.
    #[serde(default)]
    gid: Option<u32>,
    /// Whether a free number is taken from those for system groups. Matters only when the group is made.
    #[serde(default)]
    system: bool,
    /// Whether it is there.
    #[serde(default)]
    state: Presence,
}

impl Kind for Group {
    const NAME: &'static str = "group";
    const SUMMARY: &'static str = "A group of users";
    const EXAMPLE: &'static str = "group: { name: zookeeper, system: true }";
    const SHORT: &'static str = "name";
    type State = Option<u32>;

    fn target(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Result<(), String> {
        fields::check_account("group", &self.name)
    }

    fn probes(&self) -> Vec<Probe> {
        vec![Probe::Group(self.name.clone())]
    }

    fn observe(&self, readings: &Readings) -> Result<Option<u32>, Unreadable> {
        readings.group(&Probe::Group(self.name.clone())).copied()
    }

    fn change(&self, state: &Option<u32>) -> Verdict {
        match (self.state, *state) {
            (Presence::Absent, None) => Verdict::InSync,
            (Presence::Absent, Some(_)) => Verdict::change(Action::Remove, Vec::new(), vec![self.removing()]),
            (Presence::Present, None) => Verdict::change(Action::Add, self.shown(), vec![self.making()]),
            (Presence::Present, Some(found)) => match self.gid.filter(|gid| *gid != found) {
                None => Verdict::InSync,
                Some(gid) => Verdict::Refuse(fields::renumber("group", &self.name, found, gid)),
            },
        }
    }

    fn absent(&self) -> Option<serde_json::Value> {
        trace::away(self.state, serde_json::json!({ "name": self.name }))
    }

    fn exists(&self, state: &Option<u32>) -> bool {
        state.is_some()
    }
}

impl Group {
    fn shown(&self) -> Vec<super::Field> {
        self.gid.iter().map(|gid| fields::new("gid", gid)).collect()
    }

    /// Guarded, because a package before it may have brought the group.
    fn making(&self) -> Step {
        let gid = self.gid.map(|gid| gid.to_string());
        let mut argv = vec!["groupadd"];
        argv.extend(self.system.then_some("--system"));
        argv.extend(gid.iter().flat_map(|gid| ["--gid", gid]));
        argv.extend(["--", &self.name]);
        Step::RunUnless(Command::new(argv), fields::known("group", &self.name))
    }

    /// Guarded, because `userdel` takes a user's own group along.
    fn removing(&self) -> Step {
        let gone = Command::new(["sh", "-c", "! getent group -- \"$1\" >/dev/null", "sh", &self.name]);
        Step::RunUnless(Command::new(["groupdel", "--", &self.name]), gone)
    }
}
