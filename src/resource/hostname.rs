//! `hostname`: what a host calls itself, now and after every boot.
//!
//! In: the name. Out: `/etc/hostname` and the kernel's own name. Never: `/etc/hosts`, or a name that a network could not
//! resolve. No D-Bus is needed: `hostnamectl` reads the same two places.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::generated::{Generated, Parts, shell};
use super::{Kind, Verdict, fields, trace};
use crate::step::{Command, Fetch, PathReading, Probe, Readings, Step, Unreadable};

const FILE: &str = "/etc/hostname";
const LIVE: &str = "/proc/sys/kernel/hostname";
/// The kernel takes no more (`HOST_NAME_MAX`, hostname(7)).
const LONGEST: usize = 64;

/// What a host calls itself.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Hostname {
    /// The name: letters, digits and `-`, with dots between its parts. Programs that run keep the one they read.
    name: String,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    file: PathReading,
    live: String,
}

impl Kind for Hostname {
    const NAME: &'static str = "hostname";
    const SUMMARY: &'static str = "The host name of a host";
    const EXAMPLE: &'static str = "hostname: { name: zk1 }";
    const SHORT: &'static str = "name";
    type State = State;

    /// A host has one.
    fn target(&self) -> String {
        FILE.to_owned()
    }

    fn check(&self) -> Result<(), String> {
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let label = |part: &str| {
            !part.is_empty()
                && part.len() <= 63
                && part.chars().all(fine)
                && !part.starts_with('-')
                && !part.ends_with('-')
        };
        let name = self.name.escape_debug();
        if self.name.len() > LONGEST || !self.name.split('.').all(label) {
            return Err(format!(
                "invalid host name `{name}`: letters, digits and `-`, {LONGEST} at most, with dots between"
            ));
        }
        let everybody = self.name == "localhost" || self.name.starts_with("localhost.");
        if everybody {
            Err(format!("`{name}` is reserved for the loopback address: choose another name"))
        } else {
            Ok(())
        }
    }

    fn probes(&self) -> Vec<Probe> {
        vec![asked(), live()]
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let answer = readings.command(&live())?;
        if answer.exit != 0 {
            return Err(Unreadable(String::from_utf8_lossy(&answer.stderr).trim().to_owned()));
        }
        let live = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        Ok(State { file: readings.path(&asked())?.clone(), live })
    }

    fn change(&self, state: &State) -> Verdict {
        self.parted(state).map_or_else(Verdict::Refuse, Parts::verdict)
    }

    fn written(&self, state: &State) -> Option<i64> {
        super::generated::newest([&state.file])
    }

    fn fingerprint(&self, state: &State) -> String {
        format!("{}\n{}", trace::path(&state.file), state.live)
    }
}

impl Hostname {
    fn parted(&self, state: &State) -> Result<Parts, String> {
        let mut parts = Parts::default();
        if said(&state.file) != Some(&self.name) {
            parts.take(Generated::bare("file", FILE.to_owned(), &format!("{}\n", self.name)).written(&state.file))?;
        }
        if state.live != self.name {
            let set = shell("hostname", "printf %s \"$1\" >\"$2\"", &[&self.name, LIVE]);
            parts.add(fields::text("name", &state.live, &self.name), Step::Run(set));
        }
        Ok(parts)
    }
}

fn asked() -> Probe {
    Probe::Path { path: FILE.to_owned(), content: Fetch::Always }
}

fn live() -> Probe {
    Probe::Command(Command::new(["cat", LIVE]).within(Duration::from_secs(10)))
}

/// The name in the file: its first line that is no comment (hostname(5)).
fn said(file: &PathReading) -> Option<&str> {
    let PathReading::File { content: Some(bytes), .. } = file else { return None };
    let lines = std::str::from_utf8(bytes).ok()?.lines().map(str::trim);
    lines.into_iter().find(|line| !line.is_empty() && !line.starts_with('#'))
}
