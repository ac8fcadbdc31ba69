//! `swap`: a file into which a host puts memory that nobody needs now.
//!
//! In: where and how large. Out: the file, and a `.swap` unit of our own, enabled and active. Never: a line of
//! `/etc/fstab`, or swap space that somebody else set up.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::fields::{self, Presence};
use super::generated::{Parts, shell};
use super::systemd::{self, Units, escaped};
use super::{Action, Change, Claim, Kind, Made, Verdict, trace};
use crate::step::{Command, Probe, Readings, Removable, Step, Unreadable};

/// Makes the file beside its place and moves it there when it is whole. Not every file system can give blocks that were
/// never written; there they are written.
const MAKE: &str = r#"umask 077; new=$1.armilla-new; rm -f -- "$new"
{ fallocate -l "$2M" -- "$new" 2>/dev/null || dd if=/dev/zero of="$new" bs=1M count="$2" status=none; } && mkswap -- "$new" >/dev/null && mv -f -T -- "$new" "$1" && exit
code=$?; rm -f -- "$new"; exit "$code""#;

/// A file into which a host puts memory that nobody needs now.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Swap {
    /// Where the file is. Its directory is there.
    path: String,
    /// How large it is: `512M`, `2G`. Another size needs the memory back for a moment, which fails if there is none.
    #[serde(default)]
    size: Option<Megabytes>,
    /// Whether it exists.
    #[serde(default)]
    state: Presence,
}

/// A size in 2^20 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Megabytes(u64);

impl<'de> Deserialize<'de> for Megabytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = serde_json::Value::deserialize(deserializer)?;
        let number = |text: &str, times: u64| {
            let digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
            digits.then(|| text.parse::<u64>().ok()?.checked_mul(times)).flatten()
        };
        let text = text.as_str().unwrap_or_default();
        let size = text.strip_suffix('M').and_then(|text| number(text, 1));
        let size = size.or_else(|| text.strip_suffix('G').and_then(|text| number(text, 1024)));
        // mkswap(8) wants ten pages at least; sixteen terabytes are more than anybody means.
        let size = size.filter(|size| (1..=16 << 20).contains(size)).map(Self);
        size.ok_or_else(|| serde::de::Error::custom("a size is written like 512M or 2G"))
    }
}

impl JsonSchema for Megabytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "size".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9]+[MG]$" })
    }
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    units: systemd::State,
    /// The size of the file in bytes; none if there is none.
    size: Option<u64>,
}

impl Kind for Swap {
    const NAME: &'static str = "swap";
    const SUMMARY: &'static str = "A swap file";
    const EXAMPLE: &'static str = "swap: { path: /swapfile, size: 2G }";
    const SHORT: &'static str = "path";
    type State = State;

    fn target(&self) -> String {
        self.path.clone()
    }

    fn claim(&self) -> Claim {
        Claim::Path
    }

    fn check(&self) -> Result<(), String> {
        fields::check_path(&self.path)?;
        if self.path == "/" || self.path.contains(['\\', '%', ' ']) {
            return Err(format!("invalid swap file path `{}`", self.path.escape_debug()));
        }
        if self.path.starts_with("/dev/") {
            return Err("a device is not a swap file: initialise it with mkswap, and write a `unit` for it".to_owned());
        }
        match (self.state, self.size) {
            (Presence::Present, None) => Err("a swap file needs `size`".to_owned()),
            (Presence::Absent, Some(_)) => Err("a swap file with `state: absent` takes no size".to_owned()),
            _ => Ok(()),
        }
    }

    fn probes(&self) -> Vec<Probe> {
        self.units().probes().into_iter().chain([self.sized()]).collect()
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let answer = readings.command(&self.sized())?;
        let said = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        let size = match (answer.exit, said.split_once(' ')) {
            (0, Some((size, "regular file" | "regular empty file"))) => size.parse().ok(),
            (0, _) => return Err(Unreadable(format!("{} exists and is not a swap file: {said}", self.path))),
            (1, _) => None,
            _ => return Err(Unreadable(String::from_utf8_lossy(&answer.stderr).trim().to_owned())),
        };
        Ok(State { units: self.units().observe(readings)?, size })
    }

    fn change(&self, state: &State) -> Verdict {
        let parts = match (self.size, self.units().foreign(&state.units)) {
            (None, _) => self.gone(state),
            (Some(_), Some(unit)) => {
                Err(format!("{unit} is not managed by armilla, and may come from /etc/fstab: remove it first"))
            }
            (Some(size), None) => self.parted(state, size),
        };
        parts.map_or_else(Verdict::Refuse, Parts::verdict)
    }

    fn absent(&self) -> Option<serde_json::Value> {
        trace::away(self.state, serde_json::json!({ "path": self.path }))
    }

    fn exists(&self, state: &State) -> bool {
        state.units.exists() || state.size.is_some()
    }

    fn fingerprint(&self, state: &State) -> String {
        format!("{}\n{:?}", state.units.fingerprint(), state.size)
    }

    /// It holds no data.
    fn made(&self) -> Made {
        Made::Any
    }

    fn imprint(&self, state: &State) -> String {
        format!("{}\n{:?}", state.units.imprint(), state.size)
    }
}

impl Swap {
    fn units(&self) -> Units {
        let unit = format!("{}.swap", escaped(&self.path));
        let text = format!(
            "[Unit]\nDescription=Swap file {0}\n\n[Swap]\nWhat={0}\n\n[Install]\nWantedBy=swap.target\n",
            self.path
        );
        Units::new(unit.clone(), vec![("unit", unit, text)])
    }

    /// Not the digest of a path, which would read all of it.
    fn sized(&self) -> Probe {
        Probe::Command(Command::new(["stat", "-c", "%s %F", "--", &self.path]).within(Duration::from_secs(10)))
    }

    fn parted(&self, state: &State, size: Megabytes) -> Result<Parts, String> {
        let mut parts = Parts::default();
        let units = self.units();
        let wanted = size.0 << 20;
        if state.size.is_some_and(|found| found != wanted) && state.units.is_new() {
            return Err(format!("the file {} was not created by armilla: move it first", self.path));
        }
        if state.size != Some(wanted) {
            let shown = |bytes: u64| format!("{} MiB", bytes >> 20);
            let size_field = match state.size {
                Some(found) => fields::text("size", &shown(found), &shown(wanted)),
                None => fields::new("size", &shown(wanted)),
            };
            let action = if state.size.is_some() { Action::Change } else { Action::Add };
            let make =
                Step::Run(shell("swap", MAKE, &[&self.path, &size.0.to_string()]).within(Duration::from_secs(3600)));
            let stop = state.size.map(|_| units.stopped());
            let steps = stop.into_iter().chain([make]).collect();
            parts.take(Verdict::Change(Change { action, fields: vec![size_field], steps }))?;
        }
        let restart = (!parts.is_empty()).then_some("restart");
        parts.append(units.files(&state.units)?);
        units.running(&mut parts, &state.units, restart);
        Ok(parts)
    }

    fn gone(&self, state: &State) -> Result<Parts, String> {
        let mut parts = Parts::default();
        parts.take(self.units().absent(&state.units))?;
        if !parts.is_empty() && state.size.is_some() {
            // After it is out of use, and before its unit goes: as long as that is there, the file is known to be ours.
            parts.steps.insert(2, Step::Remove { path: self.path.clone(), what: Removable::File });
        }
        Ok(parts)
    }
}
