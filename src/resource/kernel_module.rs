//! `kernel_module`: a module of the kernel, now and after every boot.
//!
//! In: its name and options. Out: a file below `/etc/modules-load.d`, one below `/etc/modprobe.d` if it has options, and
//! the module loaded. Never: a module taken out of a running kernel, where somebody may use it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Presence};
use super::generated::{Generated, Parts, folder};
use super::{Action, Change, Kind, Verdict, trace};
use crate::step::{Command, Fetch, PathReading, Probe, Readings, Step, Unreadable};

const LOAD: &str = "/etc/modules-load.d";
const OPTIONS: &str = "/etc/modprobe.d";

/// A module of the kernel.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KernelModule {
    /// Its name. `-` and `_` are the same in it.
    name: String,
    /// Its options, as a list: `[max_loop=16]`. A module that is loaded keeps those it was loaded with.
    #[serde(default)]
    options: Vec<String>,
    /// Whether it is also loaded now. If not, it is loaded at the next boot.
    #[serde(default = "fields::yes")]
    load: bool,
    /// Whether it is loaded at boot. One that is loaded now stays until the host boots again.
    #[serde(default)]
    state: Presence,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    load: PathReading,
    options: PathReading,
    /// What the kernel shows of it; nothing if it is not loaded.
    live: PathReading,
}

impl Kind for KernelModule {
    const NAME: &'static str = "kernel_module";
    const SUMMARY: &'static str = "A kernel module, loaded now and at every boot";
    const EXAMPLE: &'static str = "kernel_module: { name: br_netfilter }";
    const SHORT: &'static str = "name";
    type State = State;

    fn target(&self) -> String {
        self.own_name()
    }

    fn check(&self) -> Result<(), String> {
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !self.name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !self.name.chars().all(fine) {
            return Err(format!("invalid module name `{}`", self.name.escape_debug()));
        }
        if self.state == Presence::Absent && !self.options.is_empty() {
            return Err("a module with `state: absent` takes no options".to_owned());
        }
        self.options.iter().try_for_each(|option| check_option(option))
    }

    fn probes(&self) -> Vec<Probe> {
        vec![self.load_file().probe(), self.options_file().probe(), self.live()]
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let live = readings.path(&self.live())?.clone();
        Ok(State { load: self.load_file().found(readings)?, options: self.options_file().found(readings)?, live })
    }

    fn change(&self, state: &State) -> Verdict {
        self.parted(state).map_or_else(Verdict::Refuse, Parts::verdict)
    }

    fn absent(&self) -> Option<serde_json::Value> {
        trace::away(self.state, serde_json::json!({ "name": self.name }))
    }

    /// Who else loaded it does not matter: the files are what is made and taken away.
    fn exists(&self, state: &State) -> bool {
        [&state.load, &state.options].into_iter().any(|file| *file != PathReading::Absent)
    }

    fn fingerprint(&self, state: &State) -> String {
        format!("{}\nloaded {}", self.imprint(state), state.live != PathReading::Absent)
    }

    fn imprint(&self, state: &State) -> String {
        trace::paths([&state.load, &state.options])
    }
}

impl KernelModule {
    /// As the kernel calls it.
    fn own_name(&self) -> String {
        self.name.replace('-', "_")
    }

    fn load_file(&self) -> Generated {
        let name = self.own_name();
        Generated::new("file", format!("{LOAD}/armilla-{name}.conf"), &format!("{name}\n"))
    }

    fn options_file(&self) -> Generated {
        let name = self.own_name();
        let line = format!("options {name} {}\n", self.options.join(" "));
        Generated::new("options", format!("{OPTIONS}/armilla-{name}.conf"), &line)
    }

    fn place(&self) -> String {
        format!("/sys/module/{}", self.own_name())
    }

    fn live(&self) -> Probe {
        Probe::Path { path: self.place(), content: Fetch::Digest }
    }

    /// The options come first: a module reads them when it is loaded.
    fn parted(&self, state: &State) -> Result<Parts, String> {
        let loaded = state.live != PathReading::Absent;
        let present = self.state == Presence::Present;
        let mut parts = Parts::default();
        let (load, options) = (self.load_file(), self.options_file());
        parts.take(if present { load.written(&state.load) } else { load.removed(&state.load) })?;
        let wanted = present && !self.options.is_empty();
        let before = parts.steps.len();
        let differs = if wanted { options.written(&state.options) } else { options.removed(&state.options) };
        parts.take(match differs {
            // A module without options is still there.
            Verdict::Change(change) if present => Verdict::Change(Change { action: Action::Change, ..change }),
            verdict => verdict,
        })?;
        let new_options = parts.steps.len() > before;
        let folders = [
            (present && state.load == PathReading::Absent, LOAD),
            (wanted && state.options == PathReading::Absent, OPTIONS),
        ];
        parts.steps.splice(0..0, folders.iter().filter(|(missing, _)| *missing).map(|(_, path)| folder(path)));
        if loaded && !present && !parts.is_empty() {
            parts.fields.push(fields::text("loaded", "yes", "until the host boots again"));
        } else if loaded && new_options {
            parts.fields.push(fields::text("loaded", "yes", "with the options of before, until it is loaded again"));
        }
        if present && self.load && !loaded {
            parts.add(fields::text("loaded", "no", "yes"), self.loading());
        }
        Ok(parts)
    }

    /// Guarded, because another module may have brought it meanwhile.
    fn loading(&self) -> Step {
        let there = Command::new(["test", "-e", &self.place()]).within(Duration::from_secs(30));
        Step::RunUnless(Command::new(["modprobe", "--", &self.own_name()]), Box::new(there))
    }
}

/// One word of modprobe.d(5), which has no quotes for what holds a blank.
fn check_option(option: &str) -> Result<(), String> {
    let name = option.split('=').next().unwrap_or_default();
    let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.');
    let wrong = |c: char| c.is_whitespace() || c.is_control() || "\\\"'#".contains(c);
    if named && !option.chars().any(wrong) {
        return Ok(());
    }
    Err(format!("invalid module option `{}`: write it like max_loop=16", option.escape_debug()))
}
