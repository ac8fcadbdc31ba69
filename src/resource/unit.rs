//! `unit`: a systemd unit file or drop-in of our own.
//!
//! In: its name and content. Out: the file below `/etc/systemd/system`, and systemd told to read it; what runs by a unit
//! stops and is disabled before the unit is removed. Never: a start, which is the `service`'s business, or a secret,
//! because everyone can read units.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Data, Presence, Wanted};
use super::regular::{self, OtherContent, Regular};
use super::systemd;
use super::{Action, Change, Hold, Kind, Others, SYSTEMCTL, Source, Tool, Verdict, Wish, trace};
use crate::step::{Command, PathReading, Probe, Readings, Step, UnitReading, Unreadable};

/// Says by exit code 0 that a unit need not be stopped (`is-active`) or disabled (`is-enabled`) before its file is removed:
/// because it is not, or because there is another file by which it goes on.
const NOT_NEEDED: &str = r#"# whether a unit has ended or continues with another file
for d in /run/systemd/system /run/systemd/generator /run/systemd/generator.late /usr/local/lib/systemd/system /usr/lib/systemd/system /lib/systemd/system; do [ ! -e "$d/$2" ] || exit 0; done
[ "$1" = is-active ] || { ! systemctl "$1" --quiet -- "$2"; exit; }
case $(systemctl is-active -- "$2") in inactive | failed | unknown) ;; *) exit 1 ;; esac"#;

/// A systemd unit file or drop-in.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Unit {
    /// `zookeeper.service`, or `zookeeper.service.d/limits.conf` for a drop-in. Also timers, sockets and the like.
    name: String,
    /// What is in it. Instead: `src`, a template of the role's or project's `templates/`.
    #[serde(default)]
    content: Option<Data>,
    /// Whether it exists.
    #[serde(default)]
    state: Presence,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    file: PathReading,
    /// What systemd knows of the unit; none of a template, which is no unit itself.
    unit: Option<UnitReading>,
}

impl State {
    /// Whether systemd still goes by an older file.
    fn stale(&self) -> bool {
        self.unit.as_ref().is_some_and(|unit| unit.needs_reload)
    }
}

impl Kind for Unit {
    const NAME: &'static str = "unit";
    const SUMMARY: &'static str = "A systemd unit file or drop-in";
    const EXAMPLE: &'static str =
        "unit: { name: zookeeper.service.d/limits.conf, content: \"[Service]\\nLimitNOFILE=16384\\n\" }";
    const SHORT: &'static str = "name";
    const TOOLS: &'static [Tool] = &[SYSTEMCTL];
    const SOURCE: Source = Source::Template;
    type State = State;

    fn target(&self) -> String {
        self.name.clone()
    }

    fn holds(&self) -> Option<Hold> {
        Some(Hold::Whole(self.path()))
    }

    fn check(&self) -> Result<(), String> {
        let (unit, drop_in) = self.parts();
        let stem = drop_in.map(|file| file.strip_suffix(".conf").unwrap_or_default());
        let file = stem.is_none_or(|stem| fields::check_word("drop-in", stem).is_ok());
        if !file || !fields::is_unit(unit) {
            let name = self.name.escape_debug();
            return Err(format!(
                "invalid unit name `{name}`\nwrite `{name}.service`, or `x.service.d/y.conf` for a part of one"
            ));
        }
        if self.content.as_ref().is_some_and(|data| data.0.is_secret()) {
            let instead = "put it into a file and use `EnvironmentFile=` or `LoadCredential=`";
            return Err(format!("it contains a secret, and everyone can read a unit: {instead}"));
        }
        let content = self.content.as_ref().map(|data| Wanted::Content(&data.0));
        regular::check("a unit", self.state, content, fields::mode_644())
    }

    fn probes(&self) -> Vec<Probe> {
        std::iter::once(self.regular(&self.path()).probe()).chain(self.loaded_unit()).collect()
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let file = readings.path(&self.regular(&self.path()).probe())?.clone();
        let unit = self.loaded_unit().map(|probe| readings.unit(&probe).cloned()).transpose()?;
        Ok(State { file, unit })
    }

    fn change(&self, state: &State) -> Verdict {
        match self.regular(&self.path()).verdict(&state.file) {
            Verdict::Change(change) => Verdict::Change(self.told(change)),
            Verdict::InSync if state.stale() => {
                let shown = vec![fields::text("loaded", "an older file", "this one")];
                Verdict::change(Action::Reload, shown, vec![self.daemon_reload()])
            }
            Verdict::Refuse(_) if is_mask(&state.file) => {
                Verdict::Refuse(format!("it is masked on the host: `systemctl unmask {}` allows it again", self.name))
            }
            verdict => verdict,
        }
    }

    fn among(&self, state: &State, _wish: Wish, others: &Others) -> Verdict {
        let mut verdict = self.change(state);
        let Verdict::Change(change) = &mut verdict else { return verdict };
        if change.action != Action::Remove || self.parts().1.is_some() {
            return verdict;
        }
        if let Some(why) = state.unit.as_ref().and_then(|unit| systemd::needed(unit, others)) {
            return Verdict::Refuse(why);
        }
        // It continues with another file: that of a package.
        if others.wants("service", self.name.strip_suffix(".service").unwrap_or(&self.name)) {
            let ends = self.ending();
            change.steps.retain(|step| !ends.contains(step));
        }
        verdict
    }

    fn written(&self, state: &State) -> Option<i64> {
        regular::modified(&state.file)
    }

    fn absent(&self) -> Option<serde_json::Value> {
        trace::away(self.state, serde_json::json!({ "name": self.name }))
    }

    fn exists(&self, state: &State) -> bool {
        state.file != PathReading::Absent
    }

    fn fingerprint(&self, state: &State) -> String {
        let required_by =
            state.unit.iter().flat_map(|unit| &unit.required_by).filter(|_| self.state == Presence::Absent);
        let required_by: Vec<&String> = required_by.collect();
        format!("{}\nstale {} {required_by:?}", trace::path(&state.file), state.stale())
    }

    fn imprint(&self, state: &State) -> String {
        trace::path(&state.file)
    }
}

impl Unit {
    /// The unit, and the file's name if it is a drop-in.
    fn parts(&self) -> (&str, Option<&str>) {
        match self.name.split_once(".d/") {
            Some((unit, file)) => (unit, Some(file)),
            None => (&self.name, None),
        }
    }

    fn path(&self) -> String {
        systemd::path(&self.name)
    }

    fn regular<'a>(&'a self, path: &'a str) -> Regular<'a> {
        let content = self.content.as_ref().map(|data| Wanted::Content(&data.0));
        let ownership = fields::ownership("root", "root", fields::mode_644());
        Regular { path, content, ownership, other: OtherContent::Replaced }
    }

    /// What systemd has loaded. It cannot be asked about `x@.service`, which is none before it has an instance.
    fn loaded_unit(&self) -> Option<Probe> {
        let (unit, _) = self.parts();
        (!unit.contains("@.")).then(|| Probe::Unit(unit.to_owned()))
    }

    /// The same change, with what systemd needs before and after it.
    fn told(&self, mut change: Change) -> Change {
        let (unit, drop_in) = self.parts();
        if change.action == Action::Add && drop_in.is_some() {
            let ownership = fields::ownership("root", "root", fields::mode_755());
            change.steps.insert(0, Step::MakeDirectory { path: format!("{}.d", systemd::path(unit)), ownership });
        }
        if change.action == Action::Remove && drop_in.is_some() {
            let folder = format!("{}.d", systemd::path(unit));
            change.steps.push(Step::Run(fields::remove_if_empty(&folder)));
        }
        if change.action == Action::Remove && drop_in.is_none() {
            change.steps.splice(..0, self.ending());
        }
        change.steps.push(self.daemon_reload());
        change
    }

    fn daemon_reload(&self) -> Step {
        Step::Run(systemd::daemon_reload(Some(self.parts().0)))
    }

    /// What ends a unit whose file is removed: without the file, its process would run on, and its links would lead nowhere.
    fn ending(&self) -> Vec<Step> {
        let run = systemd::call;
        if let Some((stem, ending)) = self.name.split_once("@.") {
            return vec![Step::Run(run("disable", &self.name)), Step::Run(run("stop", &format!("{stem}@*.{ending}")))];
        }
        let unless = |question: &str, verb: &str| {
            let guard = Command::new(["sh", "-c", NOT_NEEDED, "unit-ended", question, &self.name]);
            Step::RunUnless(run(verb, &self.name), Box::new(guard.within(Duration::from_secs(30))))
        };
        vec![unless("is-enabled", "disable"), unless("is-active", "stop")]
    }
}

/// `systemctl mask` puts a link to nowhere in the unit's place.
fn is_mask(file: &PathReading) -> bool {
    matches!(file, PathReading::Link { target, .. } if target == "/dev/null")
}
