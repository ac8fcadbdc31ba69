//! The units behind a check: whether one has failed for good while the check is waited for, and what the host knows of them
//! when the wait is over.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Ask, words};
use crate::host::program::Programs;
use crate::step::{Check, Command, CommandReading, Probe, Reading, UnitReading};

/// How long a unit must be `failed` without a break: between two starts systemd may call it so for a moment, and what
/// starts it may be another unit.
const CONFIRMED: Duration = Duration::from_secs(2);

/// Of how many units something is said: more would not be read.
const MOST: usize = 3;

/// How many lines of a unit's log are said, and how many characters of each.
const LINES: usize = 10;
const LINE: usize = 300;

/// How long systemd and the journal may take to say it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long [`told`] takes at most.
pub(in crate::host) const LONGEST: Duration = Duration::from_secs(2 * 5 * 3);

/// Units that are `failed`: since when, by the clock of the wait, and how often they had been restarted then.
#[derive(Default)]
pub(super) struct Failed(BTreeMap<String, (Duration, u64)>);

impl Failed {
    /// A unit of a check that has failed for good, asked now; there is so much time left for the answers.
    pub(super) fn for_good<'a>(
        &mut self,
        check: &'a Check,
        (now, left): (Duration, Duration),
        ask: &mut Ask<'_>,
    ) -> Option<&'a str> {
        check.watched().into_iter().find(|unit| match ask(&Probe::Unit((*unit).to_owned()), left.min(PATIENCE)) {
            Reading::Unit(reading) if reading.has_failed() => self.lasts(unit, &reading, now),
            _ => {
                self.0.remove(*unit);
                false
            }
        })
    }

    fn lasts(&mut self, unit: &str, reading: &UnitReading, now: Duration) -> bool {
        let restarts = reading.restarts;
        let seen = self.0.entry(unit.to_owned()).or_insert((now, restarts));
        if seen.1 != restarts {
            *seen = (now, restarts);
        }
        now.saturating_sub(seen.0) >= CONFIRMED
    }
}

/// What the host knows of the units of a check that does not hold: state, result, restarts and the end of their logs.
pub(super) fn told(programs: &Programs<'_>, check: &Check) -> Vec<String> {
    if !programs.has("systemctl") {
        return Vec::new();
    }
    check.watched().into_iter().take(MOST).flat_map(|unit| one(programs, unit)).collect()
}

fn one(programs: &Programs<'_>, unit: &str) -> Vec<String> {
    const PROPERTIES: &str = "--property=LoadState,ActiveState,SubState,Result,NRestarts,ExecMainCode,ExecMainStatus";
    let ask = |argv: &[&str]| match programs.ask(&Command::new(argv.iter().copied()).within(PATIENCE), PATIENCE) {
        Reading::Command(answer) => answer,
        Reading::Failed(why) => CommandReading { exit: 1, stderr: why.into_bytes(), ..CommandReading::default() },
        _ => CommandReading { exit: 1, ..CommandReading::default() },
    };
    let shown = ask(&["systemctl", "show", PROPERTIES, "--", unit]);
    if shown.exit != 0 {
        return Vec::new();
    }
    let state = state(unit, &String::from_utf8_lossy(&shown.stdout));
    let count = format!("--lines={LINES}");
    let unit = format!("--unit={unit}");
    let journal = ask(&["journalctl", "--quiet", "--no-pager", &count, &unit]);
    let log = log(&journal);
    std::iter::once(state).chain(log).collect()
}

/// `web.service is failed (failed), result exit-code, exit code 3, 5 restarts`, from the properties of the unit.
fn state(unit: &str, properties: &str) -> String {
    let properties: BTreeMap<&str, &str> = properties.lines().filter_map(|line| line.split_once('=')).collect();
    let value = |name: &str| properties.get(name).copied().filter(|value| !value.is_empty());
    let sub = value("SubState").map(|sub| format!(" ({sub})")).unwrap_or_default();
    let active = match value("LoadState") {
        Some(load) if load != "loaded" => load,
        _ => value("ActiveState").unwrap_or("in an unknown state"),
    };
    let number = |name: &str| value(name).and_then(|value| value.parse::<u64>().ok()).filter(|number| *number > 0);
    // As in `waitid(2)`: 1 is an exit, 2 and 3 are signals.
    let ended = number("ExecMainStatus").map(|status| match value("ExecMainCode") {
        Some("2" | "3") => format!("signal {status}"),
        _ => format!("exit code {status}"),
    });
    let result = value("Result").filter(|result| *result != "success").map(|result| format!("result {result}"));
    let restarts = number("NRestarts").map(|times| format!("{times} restart{}", if times == 1 { "" } else { "s" }));
    let more = [result, ended, restarts].into_iter().flatten().map(|text| format!(", {text}"));
    format!("{unit} is {active}{sub}") + &more.collect::<String>()
}

/// The end of the log of a unit, or why it cannot be read.
fn log(journal: &CommandReading) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', "").trim().to_owned();
    let lines = text(&journal.stdout);
    let cut = |line: &str| format!("  {}", line.chars().take(LINE).collect::<String>());
    match (journal.exit, lines.as_str()) {
        (0, "") => vec!["  its log is empty, or this user must not read it".to_owned()],
        (0, lines) => words::last_lines(lines, LINES).lines().map(cut).collect(),
        _ => {
            let why = text(&journal.stderr);
            vec![cut(&format!("its log cannot be read: {}", why.lines().next().unwrap_or("no answer")))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Expect;

    fn reading(active: &str, sub: &str, restarts: u64) -> Reading {
        let (active, sub) = (active.to_owned(), sub.to_owned());
        Reading::Unit(UnitReading { active, sub, restarts, ..UnitReading::default() })
    }

    /// When a unit that is found so, every half second, counts as failed for good.
    fn when(found: impl Fn(u64) -> Reading) -> Option<u64> {
        let check =
            Check { units: vec!["web.service".to_owned()], ..Check::new(Probe::port("127.0.0.1", 1), Expect::Open) };
        let (mut failed, patience) = (Failed::default(), Duration::from_secs(60));
        (0..40).find(|half| {
            let mut ask = |probe: &Probe, _| {
                assert_eq!(*probe, Probe::Unit("web.service".to_owned()));
                found(*half)
            };
            failed.for_good(&check, (Duration::from_millis(500 * half), patience), &mut ask) == Some("web.service")
        })
    }

    #[test]
    fn a_unit_has_failed_for_good_when_it_stays_failed() {
        assert_eq!(when(|_| reading("failed", "failed", 5)), Some(4), "after two seconds");
        assert_eq!(when(|_| reading("activating", "auto-restart", 5)), None);
        assert_eq!(when(|_| Reading::Failed("no answer".to_owned())), None);
        let between =
            |half| if half % 3 == 0 { reading("active", "running", 1) } else { reading("failed", "failed", 1) };
        assert_eq!(when(between), None, "something starts it again and again");
        let counted = |half| reading("failed", "failed", half / 4);
        assert_eq!(when(counted), None, "it was started in between");
        let later = |half| if half < 10 { reading("active", "running", 0) } else { reading("failed", "failed", 0) };
        assert_eq!(when(later), Some(14));
    }

    #[test]
    fn a_unit_is_told_with_its_result_and_restarts() {
        let limit = "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=start-limit-hit\nNRestarts=5\n\
             ExecMainCode=1\nExecMainStatus=3\n";
        let limit = state("web.service", limit);
        assert_eq!(limit, "web.service is failed (failed), result start-limit-hit, exit code 3, 5 restarts");
        let well = "LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nNRestarts=0\n";
        assert_eq!(state("web.service", well), "web.service is active (running)");
        let killed = "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=signal\nNRestarts=1\n\
             ExecMainCode=2\nExecMainStatus=9\n";
        assert_eq!(state("a.service", killed), "a.service is failed (failed), result signal, signal 9, 1 restart");
        let none = "LoadState=not-found\nActiveState=inactive\nSubState=dead\nResult=success\n";
        assert_eq!(state("a.service", none), "a.service is not-found (dead)");
    }

    #[test]
    fn of_a_log_the_end_is_told_and_never_more() {
        let said = |exit, stdout: &str, stderr: &str| {
            log(&CommandReading { exit, stdout: stdout.into(), stderr: stderr.into() })
        };
        let long: Vec<String> = (1..=12).map(|number| format!("{number} {}\n", "x".repeat(400))).collect();
        let long = long.concat();
        let told = said(0, &long, "");
        assert_eq!(told.len(), 10);
        assert!(told[0].starts_with("  3 x") && told.iter().all(|line| line.chars().count() <= 302), "{told:?}");
        assert_eq!(said(0, "\n", ""), ["  its log is empty, or this user must not read it"]);
        assert_eq!(said(127, "", "no journalctl\n"), ["  its log cannot be read: no journalctl"]);
    }
}
