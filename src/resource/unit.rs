//! `unit`: a systemd unit file or drop-in of our own.
//!
//! In: its name and content. Out: the file below `/etc/systemd/system`, and systemd told to read it. Never: a start or
//! stop, which is the `service`'s business, or a secret, because everyone can read units.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Data, Presence};
use super::regular::{self, Regular};
use super::{Action, Change, Hold, Kind, Source, Verdict, trace};
use crate::step::{Command, PathReading, Probe, Readings, Step, Unreadable};

const FOLDER: &str = "/etc/systemd/system";

/// A systemd unit file or drop-in.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Unit {
    /// `zookeeper.service`, or `zookeeper.service.d/limits.conf` for a drop-in. Also timers, sockets and the like.
    name: String,
    /// What is in it. Instead: `src`, a template of the role's or project's `templates/`.
    #[serde(default)]
    content: Option<Data>,
    /// Whether it is there.
    #[serde(default)]
    state: Presence,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    file: PathReading,
    /// Whether systemd still goes by an older file.
    stale: bool,
}

impl Kind for Unit {
    const NAME: &'static str = "unit";
    const SUMMARY: &'static str = "A systemd unit file or drop-in";
    const EXAMPLE: &'static str =
        "unit: { name: zookeeper.service.d/limits.conf, content: \"[Service]\\nLimitNOFILE=16384\\n\" }";
    const SHORT: &'static str = "name";
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
                "`{name}` is no name of a unit\nwrite `{name}.service`, or `x.service.d/y.conf` for a part of one"
            ));
        }
        if self.content.as_ref().is_some_and(|data| data.0.is_secret()) {
            let instead = "put it into a file and name that with `EnvironmentFile=` or `LoadCredential=`";
            return Err(format!("a secret goes into it, and everyone can read a unit: {instead}"));
        }
        regular::check("a unit", self.state, self.content.as_ref(), fields::mode_644())
    }

    fn probes(&self) -> Vec<Probe> {
        std::iter::once(self.regular(&self.path()).probe()).chain(self.loaded_unit()).collect()
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let file = readings.path(&self.regular(&self.path()).probe())?.clone();
        let unit = self.loaded_unit().map(|probe| readings.unit(&probe)).transpose()?;
        Ok(State { file, stale: unit.is_some_and(|unit| unit.needs_reload) })
    }

    fn change(&self, state: &State) -> Verdict {
        match self.regular(&self.path()).verdict(&state.file) {
            Verdict::Change(change) => Verdict::Change(self.told(change)),
            Verdict::InSync if state.stale => {
                let shown = vec![fields::text("loaded", "an older file", "this one")];
                Verdict::change(Action::Reload, shown, vec![daemon_reload()])
            }
            Verdict::Refuse(_) if is_mask(&state.file) => {
                Verdict::Refuse(format!("it is masked on the host: `systemctl unmask {}` allows it again", self.name))
            }
            verdict => verdict,
        }
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
        format!("{}\nstale {}", trace::path(&state.file), state.stale)
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
        format!("{FOLDER}/{}", self.name)
    }

    fn regular<'a>(&'a self, path: &'a str) -> Regular<'a> {
        let content = self.content.as_ref().map(|data| &data.0);
        let ownership = fields::ownership("root", "root", fields::mode_644());
        Regular { path, content, ownership, frozen: false }
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
            change.steps.insert(0, Step::MakeDirectory { path: format!("{FOLDER}/{unit}.d"), ownership });
        }
        if change.action == Action::Remove && drop_in.is_some() {
            let folder = format!("{FOLDER}/{unit}.d");
            change.steps.push(Step::Run(Command::new(["rmdir", "--ignore-fail-on-non-empty", "--", &folder])));
        }
        change.steps.push(daemon_reload());
        change
    }
}

fn daemon_reload() -> Step {
    Step::Run(Command::new(["systemctl", "daemon-reload"]))
}

/// `systemctl mask` puts a link to nowhere in the unit's place.
fn is_mask(file: &PathReading) -> bool {
    matches!(file, PathReading::Link { target, .. } if target == "/dev/null")
}
