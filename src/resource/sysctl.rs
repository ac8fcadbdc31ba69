//! `sysctl`: a setting of the kernel, now and after every boot.
//!
//! In: its name and value. Out: a file below `/etc/sysctl.d` of its own, and the value set. Never: two settings in one
//! file, or a value that the kernel took for another and nobody was told.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::fields::{self, Presence};
use super::generated::{Generated, Parts, folder, shell};
use super::{Kind, Verdict, trace};
use crate::step::{Command, PathReading, Probe, Readings, Step, Unreadable};

const FOLDER: &str = "/etc/sysctl.d";

/// Sets `$2` to `$1` and looks at what came of it, in words: the kernel puts tabs where one writes blanks.
const SET: &str = r#"printf '%s\n' "$1" >"$2" || exit; is=$(cat "$2") || exit; set -f; [ "$(printf '%s ' $1)" = "$(printf '%s ' $is)" ] || { echo "the kernel made '$is' of '$1': write that" >&2; exit 1; }"#;

/// A setting of the kernel.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Sysctl {
    /// Which: `net.ipv4.ip_forward`. A dot in the name of an interface is written `/`, or all of it with slashes, as in
    /// `sysctl.d(5)`: `net.ipv4.conf.eth0/100.forwarding` or `net/ipv4/conf/eth0.100/forwarding`.
    name: String,
    /// Its value: a number or a text. Several numbers are one text.
    #[serde(default)]
    value: Option<Value>,
    /// Whether it is also set now. If not, it is set at the next boot.
    #[serde(default = "fields::yes")]
    apply: bool,
    /// Whether its file is there. Without it, the present value stays until the host boots again.
    #[serde(default)]
    state: Presence,
}

/// A value: a number or a text, its words with one blank between them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Value(String);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(text)),
            serde_json::Value::Number(number) => Ok(Self(number.to_string())),
            _ => Err(serde::de::Error::custom(
                "a value must be a number or text; write several numbers as one text in quotes",
            )),
        }
    }
}

impl JsonSchema for Value {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "value".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "integer"] })
    }
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    file: PathReading,
    /// The present value; none if this kernel has no such setting, or not yet.
    live: Option<String>,
}

impl Kind for Sysctl {
    const NAME: &'static str = "sysctl";
    const SUMMARY: &'static str = "A kernel setting, applied now and at every boot";
    const EXAMPLE: &'static str = "sysctl: { name: net.ipv4.ip_forward, value: 1 }";
    const SHORT: &'static str = "name";
    type State = State;

    fn target(&self) -> String {
        self.parts().map_or_else(|_| self.name.clone(), |parts| dotted(&parts))
    }

    fn check(&self) -> Result<(), String> {
        self.parts()?;
        match (self.state, &self.value) {
            (Presence::Present, None) => Err("a setting needs `value`".to_owned()),
            (Presence::Absent, Some(_)) => Err("a setting with `state: absent` takes no value".to_owned()),
            (_, Some(value)) if words(&value.0).is_empty() => Err("`value` is empty".to_owned()),
            (_, Some(value)) => fields::check_line("value", &value.0),
            (Presence::Absent, None) => Ok(()),
        }
    }

    fn probes(&self) -> Vec<Probe> {
        vec![self.file().probe(), self.looking()]
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let answer = readings.command(&self.looking())?;
        let live = (answer.exit == 0).then(|| words(&String::from_utf8_lossy(&answer.stdout)));
        Ok(State { file: self.file().found(readings)?, live })
    }

    fn change(&self, state: &State) -> Verdict {
        self.parted(state).map_or_else(Verdict::Refuse, Parts::verdict)
    }

    fn written(&self, state: &State) -> Option<i64> {
        super::generated::newest([&state.file])
    }

    fn absent(&self) -> Option<serde_json::Value> {
        trace::away(self.state, serde_json::json!({ "name": self.name }))
    }

    /// The kernel has the setting anyway.
    fn exists(&self, state: &State) -> bool {
        state.file != PathReading::Absent
    }

    fn fingerprint(&self, state: &State) -> String {
        format!("{}\n{:?}", trace::path(&state.file), state.live)
    }

    fn imprint(&self, state: &State) -> String {
        trace::path(&state.file)
    }
}

impl Sysctl {
    /// The names of the folders below `/proc/sys`, and of the file.
    fn parts(&self) -> Result<Vec<String>, String> {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | ':' | '+');
        let slashes = self.name.find(['.', '/']).is_some_and(|at| self.name[at..].starts_with('/'));
        let parts: Vec<String> = if slashes {
            self.name.split('/').map(str::to_owned).collect()
        } else {
            self.name.split('.').map(|part| part.replace('/', ".")).collect()
        };
        let wrong = |part: &String| {
            part.is_empty() || part.starts_with('-') || part.chars().all(|c| c == '.') || !part.chars().all(fine)
        };
        if parts.len() < 2 || parts.iter().any(wrong) {
            let name = self.name.escape_debug();
            return Err(format!("invalid setting name `{name}`: write it like net.ipv4.ip_forward"));
        }
        Ok(parts)
    }

    /// The file of its own, read after Debian's `99-sysctl.conf`, so that what it says is what holds. A part cannot have
    /// a comma, so no two settings have one file.
    fn file(&self) -> Generated {
        let parts = self.parts().unwrap_or_default();
        let name: Vec<String> = parts.iter().map(|part| part.replace('.', ",")).collect();
        let value = words(self.value.as_ref().map_or("", |value| &value.0));
        let line = format!("{} = {value}\n", parts.join("/"));
        Generated::new("file", format!("{FOLDER}/99-zz-{}.conf", name.join(".")), &line)
    }

    fn place(&self) -> String {
        format!("/proc/sys/{}", self.parts().unwrap_or_default().join("/"))
    }

    fn looking(&self) -> Probe {
        Probe::Command(Command::new(["cat", &self.place()]).within(std::time::Duration::from_secs(10)))
    }

    fn parted(&self, state: &State) -> Result<Parts, String> {
        let mut parts = Parts::default();
        let Some(value) = self.value.as_ref().map(|value| words(&value.0)) else {
            parts.take(self.file().removed(&state.file))?;
            if let (false, Some(live)) = (parts.is_empty(), &state.live) {
                parts.fields.push(fields::text("value", live, &format!("{live} until the host boots again")));
            }
            return Ok(parts);
        };
        parts.take(self.file().written(&state.file))?;
        if matches!(state.file, PathReading::Absent) {
            parts.steps.insert(0, folder(FOLDER));
        }
        if self.apply && state.live.as_ref() != Some(&value) {
            let live = state
                .live
                .as_deref()
                .map_or_else(|| fields::new("value", &value), |live| fields::text("value", live, &value));
            parts.add(live, Step::Run(shell("sysctl", SET, &[&value, &self.place()])));
        }
        Ok(parts)
    }
}

/// With dots between the parts, and slashes where a part has a dot.
fn dotted(parts: &[String]) -> String {
    parts.iter().map(|part| part.replace('.', "/")).collect::<Vec<_>>().join(".")
}

/// What is between white space, with one blank between.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
