//! The units of systemd.

use std::collections::{BTreeMap, BTreeSet};

use rustix::time::{ClockId, clock_gettime};

use super::tools::{PATIENCE, Tools};
use crate::step::{Command, UnitReading};

/// The properties of a unit that are read.
const PROPERTIES: &str = "--property=LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,ActiveEnterTimestamp,\
     ActiveEnterTimestampMonotonic,NRestarts,Id,RequiredBy,BoundBy,ConsistsOf";

/// How many units one program is asked about: what it says of a target can be long.
const AT_ONCE: usize = 100;

/// Each of these units, in their order.
pub(super) fn units(names: &[&str], tools: &Tools) -> Vec<Result<UnitReading, String>> {
    names.chunks(AT_ONCE).flat_map(|some| some_units(some, tools)).collect()
}

fn some_units(names: &[&str], tools: &Tools) -> Vec<Result<UnitReading, String>> {
    let output = tools.tell(["systemctl", "show", PROPERTIES, "--"].into_iter().chain(names.iter().copied()));
    // The clock is read after the units, so that none has a negative age.
    let now = clock_gettime(ClockId::Monotonic);
    let now = u64::try_from(now.tv_sec).unwrap_or_default() * 1_000_000
        + u64::try_from(now.tv_nsec / 1000).unwrap_or_default();
    let text = match output.and_then(|output| output.fine("systemctl", &[0]).map(str::to_owned)) {
        Ok(text) => text,
        Err(why) => return names.iter().map(|_| Err(why.clone())).collect(),
    };
    let answer = Answer::parse(&text, now);
    let mut units: Vec<_> = names.iter().enumerate().map(|(place, name)| answer.unit(place, name)).collect();
    for (unit, id) in units.iter_mut().filter_map(|unit| unit.as_mut().ok()) {
        // Of a script of System V systemd does not know whether it is enabled; only `is-enabled` looks.
        if unit.enabled == "generated"
            && let Some(enabled) = is_enabled(id, tools)
        {
            unit.enabled = enabled;
        }
    }
    units.into_iter().map(|unit| unit.map(|(unit, _)| unit)).collect()
}

/// The first word of its output. It reports redirections on standard error.
fn is_enabled(id: &str, tools: &Tools) -> Option<String> {
    let command = Command::new(["systemctl", "is-enabled", "--", id]).within(PATIENCE);
    let ended = tools.run(&command).ok()?;
    String::from_utf8_lossy(&ended.stdout).split_ascii_whitespace().next().map(str::to_owned)
}

type Block<'a> = BTreeMap<&'a str, &'a str>;

/// The output of `systemctl show` for several units.
struct Answer<'a> {
    blocks: Vec<Block<'a>>,
    /// The monotonic clock after that, in microseconds.
    now: u64,
}

impl<'a> Answer<'a> {
    fn parse(text: &'a str, now: u64) -> Self {
        Self { blocks: text.trim().split("\n\n").map(properties).collect(), now }
    }

    /// The unit that was asked for in this place, and its own name.
    fn unit(&self, place: usize, name: &str) -> Result<(UnitReading, String), String> {
        // Aliases answer under another name, so the order counts; a name that is there is better.
        let named = self.blocks.iter().find(|block| block.get("Id") == Some(&name));
        let silent = |what: &str| format!("the host did not report {what}");
        let block = named.or_else(|| self.blocks.get(place)).ok_or_else(|| silent("about the unit"))?;
        let word = |key: &str| block.get(key).map(|value| (*value).to_owned());
        let unit = UnitReading {
            load: word("LoadState").ok_or_else(|| silent("whether the unit is loaded"))?,
            active: word("ActiveState").ok_or_else(|| silent("whether the unit is active"))?,
            sub: word("SubState").unwrap_or_default(),
            enabled: word("UnitFileState").unwrap_or_default(),
            needs_reload: block.get("NeedDaemonReload") == Some(&"yes"),
            since: block.get("ActiveEnterTimestamp").and_then(|text| timestamp(text)),
            restarts: block.get("NRestarts").and_then(|text| text.parse().ok()).unwrap_or_default(),
            age: block.get("ActiveEnterTimestampMonotonic").and_then(|text| self.age(text)),
            required_by: required_by(block),
        };
        Ok((unit, word("Id").unwrap_or_else(|| name.to_owned())))
    }

    /// Seconds since a moment of the monotonic clock, in microseconds; 0 means never.
    fn age(&self, at: &str) -> Option<u64> {
        let at: u64 = at.parse().ok().filter(|at| *at > 0)?;
        Some(self.now.saturating_sub(at) / 1_000_000)
    }
}

fn properties(block: &str) -> Block<'_> {
    block.lines().filter_map(|line| line.split_once('=')).collect()
}

/// The units that stop with it, each once.
fn required_by(block: &Block<'_>) -> Vec<String> {
    let named = ["RequiredBy", "BoundBy", "ConsistsOf"].iter().filter_map(|key| block.get(key));
    let units: BTreeSet<&str> = named.flat_map(|names| names.split_whitespace()).collect();
    units.into_iter().map(str::to_owned).collect()
}

/// Seconds since 1970 of `Sat 2026-11-21 05:01:11 UTC`; none of an empty text.
fn timestamp(text: &str) -> Option<i64> {
    let mut words = text.split_ascii_whitespace().skip(1);
    let date: jiff::civil::Date = words.next()?.parse().ok()?;
    let time: jiff::civil::Time = words.next()?.parse().ok()?;
    let zoned = date.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::CommandReading;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    #[test]
    fn units_are_told_apart_by_name_and_by_order() {
        let answer = Answer::parse(
            "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=yes\n\
             ActiveEnterTimestamp=Sat 2026-11-21 05:01:11 UTC\nId=real.service\nRequiredBy=b.service a.service\n\
             ConsistsOf=a.service\n\n\
             LoadState=loaded\nActiveState=failed\nUnitFileState=disabled\nNeedDaemonReload=no\n\
             ActiveEnterTimestamp=\nId=ssh.service\n\n\
             LoadState=not-found\nActiveState=inactive\nUnitFileState=\nNeedDaemonReload=no\nId=none.service\n",
            0,
        );
        let unit = |place: usize, name: &str| answer.unit(place, name).expect("an answer").0;
        let alias = unit(0, "alias.service");
        assert_eq!((alias.active.as_str(), alias.needs_reload, alias.since), ("active", true, Some(1_795_237_271)));
        assert_eq!(alias.required_by, ["a.service", "b.service"]);
        let ssh = unit(0, "ssh.service");
        assert_eq!((ssh.active.as_str(), ssh.enabled.as_str(), ssh.since), ("failed", "disabled", None));
        assert_eq!(unit(2, "none.service").load, "not-found");
        assert!(answer.unit(3, "more.service").is_err());
    }

    #[test]
    fn the_age_of_a_unit_is_told_by_the_monotonic_clock() {
        let block =
            |name: &str, more: &str| format!("LoadState=loaded\nActiveState=active\nId={name}.service\n{more}\n\n");
        let said = block("loop", "SubState=running\nNRestarts=7\nActiveEnterTimestampMonotonic=98000000")
            + &block("never", "SubState=dead\nNRestarts=0\nActiveEnterTimestampMonotonic=0")
            // Before systemd 235 nobody counts restarts.
            + &block("old", "SubState=running\nActiveEnterTimestampMonotonic=5000000");
        let answer = Answer::parse(&said, 100_000_000);
        let unit = |name: &str| answer.unit(9, name).expect("an answer").0;
        let restarting = unit("loop.service");
        assert_eq!((restarting.restarts, restarting.age, restarting.is_restarting()), (7, Some(2), true));
        assert_eq!((unit("never.service").sub.as_str(), unit("never.service").age), ("dead", None));
        assert_eq!((unit("old.service").restarts, unit("old.service").age), (0, Some(95)));
    }

    #[test]
    fn all_units_are_asked_of_one_program_and_scripts_of_system_v_on_their_own() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(root.path().join("usr/bin")).expect("a directory");
        std::fs::write(root.path().join("usr/bin/systemctl"), "").expect("a file");
        std::fs::set_permissions(root.path().join("usr/bin/systemctl"), std::fs::Permissions::from_mode(0o755))
            .expect("a mode");
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&log);
        let run = move |command: &Command| {
            let words: Vec<&str> = command.argv.iter().map(String::as_str).collect();
            noted.lock().expect("a log").push(words.join(" "));
            let (exit, text) = match words.as_slice() {
                [_, "show", _, "--", names @ ..] => {
                    let state = |name: &str| if name == "new.service" { "enabled" } else { "generated" };
                    let block = |name: &&str| {
                        format!("LoadState=loaded\nActiveState=active\nUnitFileState={}\nId={name}\n\n", state(name))
                    };
                    assert_eq!(command.environment.get("TZ").map(String::as_str), Some("UTC"));
                    (0, names.iter().map(block).collect::<String>())
                }
                [.., "on.service"] => (0, "enabled\n".to_owned()),
                _ => (1, "disabled\n".to_owned()),
            };
            let stderr = b"on.service is not a native service, redirecting to systemd-sysv-install.\n".to_vec();
            Ok(CommandReading { exit, stdout: text.into_bytes(), stderr })
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        let tools = Tools { tool: Arc::new(run), root: root.path().to_owned(), deadline };
        let found = units(&["on.service", "new.service", "off.service"], &tools);
        let enabled: Vec<&str> = found.iter().map(|unit| unit.as_ref().expect("an answer").enabled.as_str()).collect();
        assert_eq!(enabled, ["enabled", "enabled", "disabled"]);
        assert_eq!(log.lock().expect("a log").len(), 3);
        assert_eq!(units(&[], &tools).len(), 0);
        let said = "System has not been booted with systemd as init system";
        let down = move |_: &Command| Ok(CommandReading { exit: 1, stdout: Vec::new(), stderr: said.into() });
        let down = Tools { tool: Arc::new(down), ..tools.clone() };
        assert_eq!(units(&["a.service"], &down), [Err(said.to_owned())]);
        let none = Tools { root: root.path().join("none"), ..tools };
        assert_eq!(units(&["a.service"], &none), [Err("this host has no systemctl".to_owned())]);
    }
}
