//! `service`: whether a systemd unit runs, and whether it starts with the host.
//!
//! In: the unit's name and what it should do. Out: literal `systemctl` calls, and one restart in all when it was
//! notified. Never: an end to a mask, which somebody set on purpose.
//!
//! `failed`, `activating` and `deactivating` are not running: `systemctl start` joins a start that is under way, waits
//! for it and tells if it fails, while a service that systemd keeps restarting also calls itself `activating`. Such a
//! service is not running in the moments in which it is `active` either, and one that failed or is restarted counts as
//! started only when it has run for a while.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fields;
use super::{Action, Change, Field, FieldValue, Kind, Made, Others, SYSTEMCTL, Tool, Verb, Verdict, Wish, systemd};
use crate::step::{Check, Command, Expect, Gate, Probe, Readings, Step, UnitReading, Unreadable};

/// Whether a systemd unit runs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    /// The unit. `.service` may be left out; a timer or socket is named with its ending.
    name: String,
    /// Whether it runs now. A unit that does not exist is stopped.
    #[serde(default)]
    state: Running,
    /// Whether it starts with the host. Left as it is by default. A unit without an `[Install]` section cannot be
    /// enabled or disabled and is always as wanted.
    #[serde(default)]
    enabled: Option<bool>,
}

/// Whether a service runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Running {
    /// It runs.
    #[default]
    Running,
    /// It does not run.
    Stopped,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    unit: UnitReading,
    activity: Activity,
    enablement: Enablement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    Running,
    Stopped,
    Failed,
    /// It fails, and systemd starts it again, and so on.
    Restarting,
    /// On its way from one to the other.
    Moving,
}

/// How long a service that failed before must run to count as started.
const SETTLING: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Enablement {
    Enabled,
    Disabled,
    /// There is nothing to enable.
    Fixed,
    Masked,
    /// The name is another name of some unit.
    Alias,
}

impl Kind for Service {
    const NAME: &'static str = "service";
    const SUMMARY: &'static str = "The state of a systemd unit: whether it runs, and whether it starts at boot";
    const EXAMPLE: &'static str = "service: { name: zookeeper, state: running, enabled: true }";
    const SHORT: &'static str = "name";
    const TOOLS: &'static [Tool] = &[SYSTEMCTL];
    const LEAVES_NOTHING: bool = true;
    const HEARS: bool = true;
    const MAKES_DIRECTORIES: bool = true;
    type State = State;

    fn target(&self) -> String {
        self.name.strip_suffix(".service").unwrap_or(&self.name).to_owned()
    }

    fn check(&self) -> Result<(), String> {
        if fields::is_unit(&self.unit()) && !self.unit().contains("@.") {
            return Ok(());
        }
        Err(format!("invalid service name `{}`: write it like zookeeper or backup.timer", self.name.escape_debug()))
    }

    fn service(&self) -> Option<String> {
        Some(Kind::target(self))
    }

    fn runs(&self) -> Option<String> {
        (self.state == Running::Running).then(|| self.unit())
    }

    fn probes(&self) -> Vec<Probe> {
        vec![Probe::Unit(self.unit())]
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let unit = readings.unit(&Probe::Unit(self.unit()))?.clone();
        let activity = if unit.is_restarting() { Activity::Restarting } else { activity(&unit.active)? };
        let enablement = enablement(&unit.enabled)?;
        Ok(State { unit, activity, enablement })
    }

    fn change(&self, state: &State) -> Verdict {
        let call = match self.state {
            Running::Running => (Action::Start, "start"),
            Running::Stopped => (Action::Stop, "stop"),
        };
        let activity = (!self.is_wanted(state.activity)).then_some(call);
        self.verdict(state, activity)
    }

    fn notified(&self, state: &State, verb: Verb) -> Verdict {
        if self.state == Running::Stopped {
            return self.change(state);
        }
        // What does not run now may have been started meanwhile by its package, with the configuration of before:
        // both calls start what does not run.
        let call = if verb == Verb::Restart { "restart" } else { "reload-or-restart" };
        let action = match (state.activity, verb) {
            (Activity::Running, Verb::Restart) => Action::Restart,
            (Activity::Running, Verb::Reload) => Action::Reload,
            _ => Action::Start,
        };
        self.verdict(state, Some((action, call)))
    }

    /// A package enables and starts its services when it is installed.
    fn unwanted(&self, state: &State) -> Option<Change> {
        if state.unit.load != "not-found" {
            return None;
        }
        let stop = (self.state == Running::Stopped).then(|| self.only_if("is-active", "stop"));
        let disable = (self.enabled == Some(false)).then(|| self.only_if("is-enabled", "disable"));
        let steps: Vec<Step> = disable.into_iter().chain(stop).collect();
        (!steps.is_empty()).then(|| Change { action: Action::Stop, fields: Vec::new(), steps })
    }

    fn loaded(&self, state: &State) -> Option<i64> {
        state.unit.since.filter(|_| state.activity == Activity::Running)
    }

    /// What nobody enabled is not disabled: a name that is an alias could not be.
    fn absent(&self) -> Option<serde_json::Value> {
        let mut keys = serde_json::json!({ "name": self.name, "state": Running::Stopped });
        if let (Some(_), Some(keys)) = (self.enabled, keys.as_object_mut()) {
            keys.insert("enabled".to_owned(), false.into());
        }
        (self.state == Running::Running).then_some(keys)
    }

    /// That there is a unit says nothing: it may be ours, or come with a package.
    fn exists(&self, state: &State) -> bool {
        matches!(state.activity, Activity::Running | Activity::Moving) || state.enablement == Enablement::Enabled
    }

    fn among(&self, state: &State, wish: Wish, others: &Others) -> Verdict {
        let needed = match wish {
            Wish::Left => systemd::needed(&state.unit, others),
            // A person wants it stopped, and systemd stops what requires it.
            Wish::Written => None,
        };
        match (needed, self.change(state)) {
            (Some(why), Verdict::Change(_)) => Verdict::Refuse(why),
            (_, verdict) => verdict,
        }
    }

    fn lives_by(&self) -> Option<String> {
        let unit = self.unit();
        let (stem, instance) = unit.split_once('@').unwrap_or((&unit, ""));
        let template = instance.rsplit_once('.').map(|(_, ending)| format!("{stem}@.{ending}"));
        Some(systemd::path(&template.unwrap_or_else(|| unit.clone())))
    }

    fn made(&self) -> Made {
        Made::As(String::new())
    }

    fn fingerprint(&self, state: &State) -> String {
        let State { unit, activity, enablement } = state;
        format!("{} {activity:?} {enablement:?} {} {:?}", unit.load, unit.needs_reload, unit.required_by)
    }

    /// It starts and stops by other hands all the time.
    fn imprint(&self, _state: &State) -> String {
        String::new()
    }
}

impl Service {
    fn is_wanted(&self, activity: Activity) -> bool {
        match self.state {
            Running::Running => activity == Activity::Running,
            Running::Stopped => matches!(activity, Activity::Stopped | Activity::Failed),
        }
    }

    fn unit(&self) -> String {
        if fields::is_unit(&self.name) { self.name.clone() } else { format!("{}.service", self.name) }
    }

    fn systemctl(&self, verb: &str) -> Command {
        systemd::call(verb, &self.unit())
    }

    /// A call that is needed only if `systemctl` says yes to a question. It says no for a unit that does not exist.
    fn only_if(&self, question: &str, verb: &str) -> Step {
        let guard = Command::new(["sh", "-c", "! systemctl \"$1\" --quiet -- \"$2\"", "sh", question, &self.unit()]);
        Step::RunUnless(self.systemctl(verb), Box::new(guard.within(Duration::from_secs(30))))
    }

    /// What to do, with the call for the activity already decided.
    fn verdict(&self, state: &State, activity: Option<(Action, &str)>) -> Verdict {
        let enable = self.enabling(state);
        if let Some(why) = self.hindrance(state, activity.is_some(), enable) {
            return Verdict::Refuse(why);
        }
        let Some(action) = activity.map(|(action, _)| action).or(enable.map(|_| Action::Change)) else {
            return Verdict::InSync;
        };
        // Its package, before it, may enable and start it when it is installed.
        let fresh = state.unit.load == "not-found";
        let enabling = match enable {
            Some(verb) => Some(Step::Run(self.systemctl(verb))),
            None => (fresh && self.enabled == Some(false)).then(|| self.only_if("is-enabled", "disable")),
        };
        let acting = match activity {
            Some((_, call)) => self.acting(state, call),
            None if fresh && self.state == Running::Stopped => vec![self.only_if("is-active", "stop")],
            None => Vec::new(),
        };
        Verdict::change(action, self.shown(state, enable), enabling.into_iter().chain(acting).collect())
    }

    /// The call that makes it start with the host, or not, if one is needed.
    fn enabling(&self, state: &State) -> Option<&'static str> {
        match (self.enabled?, state.enablement) {
            (true, Enablement::Disabled | Enablement::Masked | Enablement::Alias) => Some("enable"),
            (false, Enablement::Enabled | Enablement::Alias) => Some("disable"),
            _ => None,
        }
    }

    fn hindrance(&self, state: &State, acts: bool, enable: Option<&str>) -> Option<String> {
        let name = self.unit();
        let masked = state.enablement == Enablement::Masked || state.unit.load == "masked";
        if masked && self.state == Running::Running && acts || masked && enable.is_some() {
            return Some(format!("it is masked on the host: `systemctl unmask {name}` allows it again"));
        }
        let alias = state.enablement == Enablement::Alias && enable.is_some();
        alias.then(|| format!("{name} is another name of a unit: systemd enables only the unit's own name"))
    }

    fn acting(&self, state: &State, call: &str) -> Vec<Step> {
        let starts = call != "stop";
        // Its file was changed by somebody who did not tell systemd.
        let reload = (starts && state.unit.needs_reload).then(|| systemd::daemon_reload(None));
        // One that failed too often in a row is not started again before this.
        let reset = (starts && state.activity == Activity::Failed).then(|| self.systemctl("reset-failed"));
        let settles = starts && matches!(state.activity, Activity::Failed | Activity::Restarting);
        let calls = reload.into_iter().chain(reset).chain([self.systemctl(call)]).map(Step::Run);
        calls.chain(settles.then(|| self.settling())).collect()
    }

    /// Waits until it has run for a while: that it could be started says little of what failed before.
    fn settling(&self) -> Step {
        let check = Check { stable_for: SETTLING, ..Check::new(Probe::Unit(self.unit()), Expect::Active) };
        Step::Await(Gate { of: self.unit(), checks: vec![check] })
    }

    fn shown(&self, state: &State, enable: Option<&str>) -> Vec<Field> {
        let there = state.unit.load != "not-found";
        let restarting = state.activity == Activity::Restarting;
        let from = there.then(|| if restarting { "restarting".to_owned() } else { state.unit.active.clone() });
        let value = FieldValue::Text { from, to: Some(self.wanted().to_owned()) };
        let activity = (!self.is_wanted(state.activity)).then_some(Field { name: "state", value });
        let enabled = enable.map(|verb| fields::text("enabled", &(verb != "enable"), &(verb == "enable")));
        activity.into_iter().chain(enabled).collect()
    }

    fn wanted(&self) -> &'static str {
        if self.state == Running::Running { "running" } else { "stopped" }
    }
}

/// The words of `systemctl list-units --state=help`, below ACTIVE.
fn activity(word: &str) -> Result<Activity, Unreadable> {
    match word {
        "active" | "reloading" | "refreshing" => Ok(Activity::Running),
        "inactive" => Ok(Activity::Stopped),
        "failed" => Ok(Activity::Failed),
        "activating" | "deactivating" | "maintenance" => Ok(Activity::Moving),
        other => Err(Unreadable(format!("systemd reports the unknown state `{other}`"))),
    }
}

/// The words of `systemctl is-enabled`, as in systemctl(1). What lasts only until the next boot is not enabled.
fn enablement(word: &str) -> Result<Enablement, Unreadable> {
    match word {
        "enabled" => Ok(Enablement::Enabled),
        "disabled" | "enabled-runtime" | "linked" | "linked-runtime" | "bad" | "not-found" | "" => {
            Ok(Enablement::Disabled)
        }
        "static" | "indirect" | "generated" | "transient" => Ok(Enablement::Fixed),
        "masked" | "masked-runtime" => Ok(Enablement::Masked),
        "alias" => Ok(Enablement::Alias),
        other => Err(Unreadable(format!("systemd reports the unknown state `{other}`"))),
    }
}
