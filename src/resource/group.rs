//! `group`: a group of users.
//!
//! In: its name and perhaps its number. Out: `groupadd` or `groupdel`. Never: another number for a group that is there,
//! because its files would keep the old one, or the removal of a group that somebody is in.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::account::Account;
use super::fields::{self, Presence};
use super::{Action, GETENT, Kind, Made, Others, Tool, Verdict, Wish, generated, trace};
use crate::step::{Command, CommandReading, Probe, Readings, Step, Unreadable};

/// A group of users.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    /// Its name.
    name: String,
    /// Its number; the next free one by default. A group that is there never gets another.
    #[serde(default)]
    gid: Option<u32>,
    /// Whether a free number is taken from those for system groups. Matters only when the group is made.
    #[serde(default)]
    system: bool,
    /// Whether it exists. It is kept while it has members. When no role wants it any more, a system group also stays while a
    /// directory that armilla made and that belongs to it stays.
    #[serde(default)]
    state: Presence,
}

/// Says who is in the group $1: `primary NAME` if it is somebody's primary group, `member NAME` of the others.
const MEMBERS: &str = r#"# who is in a group
line=$(getent group -- "$1") || exit 0
rest=${line#*:*:} gid=${rest%%:*} members=${rest#*:}
getent passwd | while IFS=: read -r name _ _ of _; do [ "$of" != "$gid" ] || echo "primary $name"; done
for name in $(echo "$members" | tr , ' '); do echo "member $name"; done"#;

/// Removes the group $1, if nobody is in it by now. `groupdel` looks only for whose primary group it is.
const REMOVE: &str = r#"# removes a group that nobody is in
line=$(getent group -- "$1") || exit 0
[ -z "${line##*:}" ] || { echo "the group was not removed: ${line##*:} is in it; plan again" >&2; exit 1; }
exec groupdel -- "$1""#;

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    gid: Option<u32>,
    /// Who is in it, if it is to be absent: a user, and in which way.
    members: Vec<(String, Membership)>,
}

/// In which way somebody is in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Membership {
    Primary,
    Supplementary,
}

impl Kind for Group {
    const NAME: &'static str = "group";
    const SUMMARY: &'static str = "A group of users";
    const EXAMPLE: &'static str = "group: { name: zookeeper, system: true }";
    const SHORT: &'static str = "name";
    const TOOLS: &'static [Tool] = &[
        Tool::of(&["groupadd"], "passwd"),
        Tool::of(&["groupmod"], "passwd"),
        Tool::of(&["groupdel"], "passwd"),
        GETENT,
    ];
    type State = State;

    fn target(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Result<(), String> {
        fields::check_account("group", &self.name)
    }

    fn probes(&self) -> Vec<Probe> {
        std::iter::once(Probe::Group(self.name.clone())).chain(self.asking()).collect()
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let gid = *readings.group(&Probe::Group(self.name.clone()))?;
        let members = match self.asking().map(|probe| readings.command(&probe)).transpose()? {
            Some(CommandReading { exit: 0, stdout, .. }) => members(&String::from_utf8_lossy(stdout))?,
            Some(answer) => return Err(Unreadable(String::from_utf8_lossy(&answer.stderr).trim().to_owned())),
            None => Vec::new(),
        };
        Ok(State { gid, members })
    }

    fn change(&self, state: &State) -> Verdict {
        match (self.state, state.gid) {
            (Presence::Absent, None) => Verdict::InSync,
            (Presence::Absent, Some(_)) => Verdict::change(Action::Remove, Vec::new(), vec![self.removing()]),
            (Presence::Present, None) => Verdict::change(Action::Add, self.shown(), vec![self.making()]),
            (Presence::Present, Some(found)) => match self.gid.filter(|gid| *gid != found) {
                None => Verdict::InSync,
                Some(gid) => Verdict::Refuse(fields::renumber("group", &self.name, found, gid)),
            },
        }
    }

    fn among(&self, state: &State, _wish: Wish, others: &Others) -> Verdict {
        if self.state == Presence::Present || state.gid.is_none() {
            return self.change(state);
        }
        if let Some((user, how)) = state.members.iter().find(|(user, _)| !others.removes("user", user)) {
            let user = others.described("user", user);
            return Verdict::Refuse(match how {
                Membership::Primary => format!("it is the primary group of {user}"),
                Membership::Supplementary => format!("{user} is in it"),
            });
        }
        if others.wants(Self::NAME, &self.name) {
            return Verdict::Refuse("a resource of the project belongs to it".to_owned());
        }
        // A member that may stay keeps it.
        let members = state.members.iter().map(|(user, _)| ("user", user.as_str()));
        let owners = std::iter::once((Self::NAME, self.name.as_str())).chain(members).collect();
        let number = state.gid.unwrap_or_default();
        Account { entry: ["group", &self.name], number, owners }.removal(vec![self.removing()], others)
    }

    fn absent(&self) -> Option<serde_json::Value> {
        trace::away(self.state, serde_json::json!({ "name": self.name }))
    }

    fn exists(&self, state: &State) -> bool {
        state.gid.is_some()
    }

    /// Its number says nothing about it, where the system chose it.
    fn made(&self) -> Made {
        Made::Any
    }

    fn imprint(&self, state: &State) -> String {
        format!("{:?}", state.gid)
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
        Step::RunUnless(Command::new(argv), Box::new(fields::known("group", &self.name)))
    }

    /// Guarded, because `userdel` takes a user's own group along.
    fn removing(&self) -> Step {
        let gone = Command::new(["sh", "-c", "! getent group -- \"$1\" >/dev/null", "sh", &self.name]);
        Step::RunUnless(generated::shell("group-remove", REMOVE, &[&self.name]), Box::new(gone))
    }

    /// Who is in it takes the host another program, which matters only where it is removed.
    fn asking(&self) -> Option<Probe> {
        let command = generated::shell("group-members", MEMBERS, &[&self.name]).within(Duration::from_secs(30));
        (self.state == Presence::Absent).then_some(Probe::Command(command))
    }
}

/// What [`MEMBERS`] says.
fn members(said: &str) -> Result<Vec<(String, Membership)>, Unreadable> {
    let member = |line: &str| match line.split_once(' ') {
        Some(("primary", name)) => Ok((name.to_owned(), Membership::Primary)),
        Some(("member", name)) => Ok((name.to_owned(), Membership::Supplementary)),
        _ => Err(Unreadable(format!("who is in it cannot be read: `{}`", line.escape_debug()))),
    };
    said.lines().map(member).collect()
}
