//! `timezone`: the zone of a host's clock.
//!
//! In: the name of a zone. Out: `/etc/localtime`, and `/etc/timezone` where the host has one. Never: a zone that the host
//! does not know. Programs that run keep the zone they began with.

use schemars::JsonSchema;
use serde::Deserialize;

use super::generated::{Generated, Parts};
use super::{Kind, Verdict, fields, trace};
use crate::step::{Command, Fetch, PathReading, Probe, Readings, Removable, Step, Unreadable};

const ZONES: &str = "/usr/share/zoneinfo";
const LINK: &str = "/etc/localtime";
/// Debian's own, up to version 12. Where it is, some programs believe it.
const NAME: &str = "/etc/timezone";

/// The zone of a host's clock.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Timezone {
    /// The zone, as in `timedatectl list-timezones`: `Europe/Athens`, `Etc/UTC`.
    name: String,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    link: PathReading,
    name: PathReading,
    zones: PathReading,
    zone: PathReading,
}

impl Kind for Timezone {
    const NAME: &'static str = "timezone";
    const SUMMARY: &'static str = "The time zone of a host";
    const EXAMPLE: &'static str = "timezone: { name: Etc/UTC }";
    const SHORT: &'static str = "name";
    type State = State;

    /// A host has one.
    fn target(&self) -> String {
        LINK.to_owned()
    }

    fn check(&self) -> Result<(), String> {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+');
        let part = |part: &str| part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.chars().all(fine);
        if self.name.split('/').all(part) {
            return Ok(());
        }
        Err(format!("invalid time zone name `{}`: write it like Europe/Athens", self.name.escape_debug()))
    }

    fn probes(&self) -> Vec<Probe> {
        vec![at(LINK), named(), at(ZONES), at(&self.zone())]
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let path = |probe: &Probe| readings.path(probe).cloned();
        Ok(State {
            link: path(&at(LINK))?,
            name: path(&named())?,
            zones: path(&at(ZONES))?,
            zone: path(&at(&self.zone()))?,
        })
    }

    fn change(&self, state: &State) -> Verdict {
        if state.zones != PathReading::Absent && state.zone == PathReading::Absent {
            return Verdict::Refuse(format!(
                "unknown time zone {} on this host: `timedatectl list-timezones` lists them",
                self.name
            ));
        }
        self.parted(state).map_or_else(Verdict::Refuse, Parts::verdict)
    }

    fn fingerprint(&self, state: &State) -> String {
        let there = |found: &PathReading| *found != PathReading::Absent;
        let State { link, name, zones, zone } = state;
        format!("{}\n{} {}", trace::paths([link, name]), there(zones), there(zone))
    }
}

impl Timezone {
    fn zone(&self) -> String {
        format!("{ZONES}/{}", self.name)
    }

    fn parted(&self, state: &State) -> Result<Parts, String> {
        let mut parts = Parts::default();
        // A package before it may bring the zones; a link to nowhere would mean UTC to everyone.
        let known = Step::Run(Command::new(["ls", "--", &self.zone()]).touching([]));
        let link = Step::MakeLink { path: LINK.to_owned(), target: self.zone() };
        match &state.link {
            PathReading::Link { target, .. } if zone_of(target) == Some(&self.name) => {}
            PathReading::Link { target, .. } => {
                parts.steps.push(known);
                parts.add(fields::text("zone", zone_of(target).unwrap_or(target), &self.name), link);
            }
            PathReading::Absent => {
                parts.steps.push(known);
                parts.add(fields::text("zone", "none, which is UTC", &self.name), link);
            }
            PathReading::File { .. } => {
                let copy = Step::Remove { path: LINK.to_owned(), what: Removable::File };
                parts.steps.extend([known, copy]);
                parts.add(fields::text("zone", "a copy of a zone", &self.name), link);
            }
            other => return Err(fields::in_the_way(other, "a symbolic link")),
        }
        if state.name != PathReading::Absent {
            parts.take(Generated::bare("file", NAME.to_owned(), &format!("{}\n", self.name)).written(&state.name))?;
        }
        Ok(parts)
    }
}

fn at(path: &str) -> Probe {
    Probe::Path { path: path.to_owned(), content: Fetch::Digest }
}

fn named() -> Probe {
    Probe::Path { path: NAME.to_owned(), content: Fetch::Always }
}

/// The zone that a link names, as localtime(5) says.
fn zone_of(target: &str) -> Option<&str> {
    target.strip_prefix("..").unwrap_or(target).strip_prefix(ZONES)?.strip_prefix('/')
}
