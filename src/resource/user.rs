//! `user`: a user account.
//!
//! In: its name and what of it should be so. Out: `useradd`, `usermod` with only what differs, or `userdel`.
//! Never: a password, another number for a user that is there, or the removal of a home directory, of a group that somebody
//! wants, or of an account that something else uses.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;

use super::account::Account;
use super::fields::{self, Presence};
use super::{Action, Field, GETENT, Kind, Made, Others, Tool, Verdict, Wish, trace};
use crate::step::{
    AccountUse, Alternative, Command, MembershipReading, Probe, Readings, Step, Unreadable, UserReading, WaitsFor,
};

/// A user account. What is not given is left as it is, or as the system makes it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    /// Its name.
    name: String,
    /// Its number; the next free one by default. A user that is there never gets another.
    #[serde(default)]
    uid: Option<u32>,
    /// Its primary group. A new user without it gets a group of its own name, which goes with it.
    #[serde(default)]
    group: Option<String>,
    /// Exactly the supplementary groups it is in; `[]` for none.
    #[serde(default)]
    groups: Option<BTreeSet<String>>,
    /// Its home directory. A change moves no files.
    #[serde(default)]
    home: Option<String>,
    /// Its login shell; `/usr/sbin/nologin` for one that never logs in.
    #[serde(default)]
    shell: Option<String>,
    /// Who it is, in words.
    #[serde(default)]
    comment: Option<String>,
    /// Whether a free number is taken from those for system users. Matters only when the user is made.
    #[serde(default)]
    system: bool,
    /// Whether the home directory is made with the user. Yes by default, but no for a system user.
    #[serde(default)]
    create_home: Option<bool>,
    /// Whether it exists. `absent` keeps its home directory and its files. A process or crontab of it keeps it back. When no
    /// role wants it any more, a system user also stays while a directory that armilla made and that belongs to it stays.
    #[serde(default)]
    state: Presence,
}

/// One thing that may be set of a user: how plans call it, how `useradd` and `usermod` call it, and its value.
struct Setting {
    name: &'static str,
    add: &'static str,
    change: &'static str,
    value: String,
}

/// What of an account matters.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    user: Option<UserReading>,
    /// Its groups, where something is given about them.
    membership: Option<MembershipReading>,
    /// What uses it, if it is to be absent.
    usage: Vec<AccountUse>,
}

/// Why the account has to stay; none if this use ends with the same plan.
fn keeps(found: &AccountUse, others: &Others) -> Option<String> {
    match found {
        // What comes with a package stops with it.
        AccountUse::Unit(_) if others.removes_any("package") => None,
        AccountUse::Unit(unit) => {
            let service = unit.strip_suffix(".service").unwrap_or(unit);
            let names = [("unit", unit.as_str()), ("service", service), ("timer", service)];
            let ends = names.iter().any(|(kind, name)| others.removes(kind, name));
            (!ends).then(|| format!("{} runs as it", others.described("service", service)))
        }
        AccountUse::Process { id, name } => Some(format!("the process {id} {name} runs as it")),
        AccountUse::Crontab => Some("it has a crontab".to_owned()),
    }
}

impl Kind for User {
    const NAME: &'static str = "user";
    const SUMMARY: &'static str = "A user account";
    const EXAMPLE: &'static str =
        "user: { name: zookeeper, system: true, home: /var/lib/zookeeper, shell: /usr/sbin/nologin }";
    const SHORT: &'static str = "name";
    const TOOLS: &'static [Tool] =
        &[Tool::of(&["useradd"], "passwd"), Tool::of(&["usermod"], "passwd"), Tool::of(&["userdel"], "passwd"), GETENT];
    const MAKES_DIRECTORIES: bool = true;
    type State = State;

    fn target(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Result<(), String> {
        fields::check_account("user", &self.name)?;
        self.group.iter().chain(self.groups.iter().flatten()).try_for_each(|g| fields::check_account("group", g))?;
        for (key, path) in [("home", &self.home), ("shell", &self.shell)] {
            path.iter().try_for_each(|path| fields::check_path(path).and_then(|()| check_entry(key, path)))?;
        }
        self.comment.iter().try_for_each(|comment| check_entry("comment", comment))
    }

    fn probes(&self) -> Vec<Probe> {
        [Some(Probe::User(self.name.clone())), self.membership(), self.usage()].into_iter().flatten().collect()
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let user = readings.user(&Probe::User(self.name.clone()))?.clone();
        let membership = self.membership().map(|probe| readings.membership(&probe).cloned()).transpose()?.flatten();
        let usage = self.usage().map(|probe| readings.account_use(&probe).cloned()).transpose()?.unwrap_or_default();
        Ok(State { user, membership, usage })
    }

    fn change(&self, state: &State) -> Verdict {
        match (self.state, &state.user) {
            (Presence::Absent, None) => Verdict::InSync,
            (Presence::Absent, Some(found)) => {
                Verdict::change(Action::Remove, Vec::new(), self.removal(found, self.shares_group()))
            }
            (Presence::Present, None) => self.making(),
            (Presence::Present, Some(found)) => self.mending(found, state.membership.as_ref()),
        }
    }

    fn among(&self, state: &State, _wish: Wish, others: &Others) -> Verdict {
        let (Presence::Absent, Some(found)) = (self.state, &state.user) else { return self.change(state) };
        if others.wants(Self::NAME, &self.name) {
            return Verdict::Refuse("a resource of the project belongs to it or runs as it".to_owned());
        }
        if let Some(why) = state.usage.iter().find_map(|usage| keeps(usage, others)) {
            return Verdict::Refuse(why);
        }
        let given = self.shares_group() && !others.removes("group", &self.name);
        let steps = self.removal(found, given || others.wants("group", &self.name));
        let owners = vec![(Self::NAME, self.name.as_str())];
        Account { entry: ["passwd", &self.name], number: found.uid, owners }.removal(steps, others)
    }

    /// With the primary group, which came from elsewhere.
    fn absent(&self) -> Option<serde_json::Value> {
        trace::away(self.state, serde_json::json!({ "name": self.name, "group": self.group }))
    }

    fn exists(&self, state: &State) -> bool {
        state.user.is_some()
    }

    /// Who is logged in comes and goes.
    fn fingerprint(&self, state: &State) -> String {
        format!("{:?} {:?}", state.user, state.membership)
    }

    /// Its files stay.
    fn made(&self) -> Made {
        Made::Any
    }

    /// Groups and comment are others' to change.
    fn imprint(&self, state: &State) -> String {
        format!("{:?}", state.user.as_ref().map(|user| (user.uid, &user.home, &user.shell)))
    }
}

impl User {
    fn usage(&self) -> Option<Probe> {
        (self.state == Presence::Absent).then(|| Probe::AccountUse(self.name.clone()))
    }

    /// Whether it was given a group of its own name, which came from elsewhere.
    fn shares_group(&self) -> bool {
        self.group.as_ref() == Some(&self.name)
    }

    /// `userdel` takes the group of the user's own name along (`USERGROUPS_ENAB` in login.defs(5)) and cannot be told not to.
    fn removal(&self, found: &UserReading, keeps_group: bool) -> Vec<Step> {
        let others = WaitsFor::ProcessesOf(self.name.clone());
        let delete = Step::Run(Command::new(["userdel", "--", &self.name]).waiting_for(others));
        let again = keeps_group.then(|| {
            let add = Command::new(["groupadd", "--gid", &found.gid.to_string(), "--", &self.name]);
            Step::RunUnless(add, Box::new(fields::known("group", &self.name)))
        });
        std::iter::once(delete).chain(again).collect()
    }

    /// Who is in which group takes the host another program, which most accounts do not need.
    fn membership(&self) -> Option<Probe> {
        let given = self.state == Presence::Present && (self.group.is_some() || self.groups.is_some());
        given.then(|| Probe::Membership(self.name.clone()))
    }

    /// All that is given, for a user with this primary group.
    fn settings(&self, primary: &str) -> Vec<Setting> {
        let groups = self.groups.as_ref().map(|groups| joined(groups.iter(), primary));
        let all = [
            ("group", "--gid", "--gid", self.group.clone()),
            ("groups", "--groups", "--groups", groups),
            ("home", "--home-dir", "--home", self.home.clone()),
            ("shell", "--shell", "--shell", self.shell.clone()),
            ("comment", "--comment", "--comment", self.comment.clone()),
        ];
        let given = |(name, add, change, value): (_, _, _, Option<String>)| {
            value.map(|value| Setting { name, add, change, value })
        };
        all.into_iter().filter_map(given).collect()
    }

    fn making(&self) -> Verdict {
        let settings = self.settings(self.group.as_ref().unwrap_or(&self.name));
        let uid = self.uid.iter().map(|uid| fields::new("uid", uid));
        let shown = uid.chain(settings.iter().map(|s| fields::new(s.name, &s.value))).collect();
        Verdict::change(Action::Add, shown, vec![self.joining(&settings)])
    }

    /// `useradd`, and what is run where the name is taken by then. A package before it may have brought the user with other
    /// settings: then they are set here, in the same run. Or there is only a group of this name: then it is the user's.
    fn joining(&self, settings: &[Setting]) -> Step {
        /// Exit codes of `useradd(8)`, `usermod(8)` and `getent(1)`.
        const NAME_IN_USE: i32 = 9;
        const NO_SUCH_USER: i32 = 6;
        const NOT_FOUND: i32 = 2;
        let own_group: &[&str] = if self.group.is_none() { &["--user-group"] } else { &[] };
        let (known, unknown) = match settings {
            [] => (fields::known("passwd", &self.name), NOT_FOUND),
            _ => (self.usermod(settings), NO_SUCH_USER),
        };
        let mut alternatives = vec![Alternative { after: NAME_IN_USE, command: known }];
        if self.group.is_none() {
            alternatives.push(Alternative { after: unknown, command: self.useradd(&["--gid", &self.name], settings) });
        }
        Step::RunOr(self.useradd(own_group, settings), alternatives)
    }

    fn useradd(&self, primary: &[&str], settings: &[Setting]) -> Command {
        let uid = self.uid.map(|uid| uid.to_string());
        let home = if self.create_home.unwrap_or(!self.system) { "--create-home" } else { "--no-create-home" };
        let mut argv = vec!["useradd"];
        argv.extend(self.system.then_some("--system"));
        argv.extend(uid.iter().flat_map(|uid| ["--uid", uid]));
        argv.extend(primary);
        argv.extend(settings.iter().flat_map(|s| [s.add, &s.value]));
        argv.extend([home, "--", &self.name]);
        Command::new(argv)
    }

    fn usermod(&self, settings: &[Setting]) -> Command {
        let options = settings.iter().flat_map(|s| [s.change, &s.value]);
        Command::new(["usermod"].into_iter().chain(options).chain(["--", &self.name]))
    }

    fn mending(&self, found: &UserReading, membership: Option<&MembershipReading>) -> Verdict {
        if let Some(uid) = self.uid.filter(|uid| *uid != found.uid) {
            return Verdict::Refuse(fields::renumber("user", &self.name, found.uid, uid));
        }
        let primary = self.group.as_deref().or(membership.map(|of| of.group.as_str())).unwrap_or_default();
        let current = |setting: &Setting| current(found, membership, setting.name, primary);
        let different: Vec<Setting> = self.settings(primary).into_iter().filter(|s| current(s) != s.value).collect();
        let shown: Vec<Field> = different.iter().map(|s| fields::text(s.name, &current(s), &s.value)).collect();
        Verdict::differing(shown, vec![Step::Run(self.usermod(&different))])
    }
}

/// The present value of a setting.
fn current(found: &UserReading, membership: Option<&MembershipReading>, name: &str, primary: &str) -> String {
    let groups = || membership.iter().flat_map(|of| &of.groups).collect::<BTreeSet<_>>();
    match name {
        "group" => membership.map(|of| of.group.clone()).unwrap_or_default(),
        "groups" => joined(groups().into_iter(), primary),
        "home" => found.home.clone(),
        "shell" => found.shell.clone(),
        _ => found.comment.clone(),
    }
}

/// The groups as `usermod` takes them. The primary group is no supplementary one, even where it is listed.
fn joined<'a>(groups: impl Iterator<Item = &'a String>, primary: &str) -> String {
    groups.filter(|group| *group != primary).map(String::as_str).collect::<Vec<_>>().join(",")
}

/// An entry of `/etc/passwd` ends at a colon.
fn check_entry(key: &str, value: &str) -> Result<(), String> {
    fields::check_line(key, value)?;
    if value.contains(':') { Err(format!("`{key}` must not contain a colon")) } else { Ok(()) }
}
