//! `timer`: a program that systemd runs again and again.
//!
//! In: a program with its arguments, and when. Out: a service and a timer below `/etc/systemd/system`, the timer enabled
//! and active. Never: a shell of our own, a secret (everyone can read units), or an end to a run that is under way.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Argv, Presence, Span};
use super::generated::Parts;
use super::systemd::{self, Units, quoted};
use super::{Kind, Others, Verdict, Wish, trace};
use crate::step::{Command, Probe, Readings, Unreadable};

/// A program that runs again and again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Timer {
    /// Its name: of the timer and of the service that it starts, without an ending.
    name: String,
    /// When, as in `systemd.time(7)`: `daily`, `"*-*-* 03:00"`, `Mon..Fri 08:30`. Instead: `every`.
    #[serde(default)]
    schedule: Option<String>,
    /// How much time is between two runs, and before the first after a start of the host: `15m`, `6h`.
    #[serde(default)]
    every: Option<Span>,
    /// The program and its arguments, as a list. No shell reads it; one that is needed is written out: `[sh, -c, ...]`.
    #[serde(default)]
    command: Option<Argv>,
    /// The user it runs as; root by default.
    #[serde(default)]
    user: Option<String>,
    /// The directory it runs in; `/` by default.
    #[serde(default)]
    directory: Option<String>,
    /// Variables added to its environment. Everyone on the host can read them.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// Whether a run that was missed while the host was off is made up for. Only with `schedule`.
    #[serde(default)]
    persistent: bool,
    /// Up to how much later it runs, by chance, so that not all hosts do it at once.
    #[serde(default)]
    random_delay: Option<Span>,
    /// What `systemctl list-units` says of it.
    #[serde(default)]
    description: Option<String>,
    /// Whether it exists.
    #[serde(default)]
    state: Presence,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    units: systemd::State,
    /// What this host's systemd says against the schedule.
    complaint: Option<String>,
}

impl Kind for Timer {
    const NAME: &'static str = "timer";
    const SUMMARY: &'static str = "A program that runs on a schedule";
    const EXAMPLE: &'static str = "timer: { name: purge-snapshots, schedule: \"*-*-* 03:00\", command: [find, /srv/snapshots, -mtime, \"+30\", -delete] }";
    const SHORT: &'static str = "name";
    type State = State;

    fn target(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Result<(), String> {
        let unit = fields::is_unit(&format!("{}.service", self.name)) && !self.name.contains('@');
        let ended = [".timer", ".service"].iter().any(|ending| self.name.ends_with(ending));
        if !unit || ended {
            let name = self.name.escape_debug();
            return Err(format!("invalid timer name `{name}`: write one word without a suffix, like backup"));
        }
        match self.state {
            Presence::Absent => self.check_absent(),
            Presence::Present => self.check_present(),
        }
    }

    fn probes(&self) -> Vec<Probe> {
        self.units().probes().into_iter().chain(self.judging()).collect()
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let answer = self.judging().map(|probe| readings.command(&probe)).transpose()?;
        // A host without the program is asked when the timer starts.
        let against = answer.filter(|answer| !matches!(answer.exit, 0 | 127));
        let complaint = against.map(|answer| String::from_utf8_lossy(&answer.stderr).trim().to_owned());
        Ok(State { units: self.units().observe(readings)?, complaint })
    }

    fn change(&self, state: &State) -> Verdict {
        if self.state == Presence::Absent {
            return self.units().absent(&state.units);
        }
        if let Some(complaint) = &state.complaint {
            return Verdict::Refuse(format!("the systemd of the host rejects its schedule: {complaint}"));
        }
        if let Some(unit) = self.units().foreign(&state.units) {
            return Verdict::Refuse(format!(
                "the host has a unit {unit} that armilla does not manage: choose another name"
            ));
        }
        self.parted(&state.units).map_or_else(Verdict::Refuse, Parts::verdict)
    }

    fn among(&self, state: &State, _wish: Wish, others: &Others) -> Verdict {
        match self.state {
            Presence::Absent => self.units().absent_among(&state.units, others),
            Presence::Present => self.change(state),
        }
    }

    fn absent(&self) -> Option<serde_json::Value> {
        trace::away(self.state, serde_json::json!({ "name": self.name }))
    }

    fn exists(&self, state: &State) -> bool {
        state.units.exists()
    }

    fn fingerprint(&self, state: &State) -> String {
        format!("{}\n{:?}", state.units.fingerprint(), state.complaint)
    }

    fn imprint(&self, state: &State) -> String {
        state.units.imprint()
    }
}

impl Timer {
    fn check_absent(&self) -> Result<(), String> {
        let more = self.schedule.is_some() || self.every.is_some() || self.command.is_some();
        if more { Err("a timer with `state: absent` takes only a name".to_owned()) } else { Ok(()) }
    }

    fn check_present(&self) -> Result<(), String> {
        let command = self.command.as_ref().ok_or("a timer needs `command`")?;
        command.check()?;
        check_program(&command.0[0])?;
        match (&self.schedule, self.every) {
            (None, None) => return Err("a timer needs `schedule` or `every`".to_owned()),
            (Some(_), Some(_)) => {
                return Err("`schedule` and `every` are mutually exclusive".to_owned());
            }
            (None, Some(_)) if self.persistent => {
                return Err("`persistent` needs `schedule`: `every` cannot miss a run".to_owned());
            }
            (Some(schedule), None) => check_schedule(schedule)?,
            (None, Some(_)) => {}
        }
        self.user.iter().try_for_each(|user| fields::check_account("user", user))?;
        self.directory.iter().try_for_each(|path| fields::check_path(path))?;
        self.description.iter().try_for_each(|text| fields::check_line("description", text))?;
        self.environment.iter().try_for_each(|(name, value)| fields::check_variable(name, value))?;
        let texts = command.0.iter().chain(self.environment.values());
        texts.into_iter().try_for_each(|text| check_printable(text))
    }

    fn judging(&self) -> Option<Probe> {
        let schedule = self.schedule.as_ref()?;
        let command = Command::new(["systemd-analyze", "calendar", "--", schedule]);
        Some(Probe::Command(command.within(Duration::from_secs(20))))
    }

    fn units(&self) -> Units {
        let (service, timer) = (format!("{}.service", self.name), format!("{}.timer", self.name));
        Units::new(timer.clone(), vec![("service", service, self.service_text()), ("timer", timer, self.timer_text())])
    }

    fn described(&self) -> String {
        let text = self.description.clone().unwrap_or_else(|| self.name.clone());
        format!("[Unit]\nDescription={}\n", plain(&text))
    }

    fn service_text(&self) -> String {
        let mut text = self.described() + "\n[Service]\nType=oneshot\n";
        for (key, value) in [("User", &self.user), ("WorkingDirectory", &self.directory)] {
            text.extend(value.iter().map(|value| format!("{key}={}\n", plain(value))));
        }
        for (name, value) in &self.environment {
            let _ = writeln!(text, "Environment={}", quoted(&format!("{name}={value}")));
        }
        let command = self.command.as_ref().map(|command| command.0.as_slice()).unwrap_or_default();
        // A dollar would begin a variable, also in quotes (systemd.service(5)).
        let words: Vec<String> = command.iter().map(|word| quoted(&word.replace('$', "$$"))).collect();
        let _ = writeln!(text, "ExecStart={}", words.join(" "));
        text
    }

    fn timer_text(&self) -> String {
        let mut text = self.described() + "\n[Timer]\n";
        text.extend(self.schedule.iter().map(|schedule| format!("OnCalendar={schedule}\n")));
        if let Some(span) = self.every {
            let seconds = span.0.as_secs();
            let _ = writeln!(text, "OnActiveSec={seconds}s\nOnUnitActiveSec={seconds}s");
        }
        text.push_str(if self.persistent { "Persistent=true\n" } else { "" });
        text.extend(self.random_delay.iter().map(|span| format!("RandomizedDelaySec={}s\n", span.0.as_secs())));
        // Without it, systemd may be a minute late.
        text + "AccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n"
    }

    /// A changed timer is restarted: only then it counts anew.
    fn parted(&self, state: &systemd::State) -> Result<Parts, String> {
        let units = self.units();
        let mut parts = units.files(state)?;
        let older = state.is_stale();
        if older && parts.fields.is_empty() {
            parts.fields.push(fields::text("loaded", "an older file", "this one"));
        }
        let restart = (!parts.is_empty() || older).then_some("restart");
        units.running(&mut parts, state, restart);
        Ok(parts)
    }
}

/// A value of a unit that is a whole line; `%` begins a specifier there, and a `\` at the end would go on.
fn plain(text: &str) -> String {
    text.trim_end_matches('\\').replace('%', "%%")
}

/// Letters before a program would change how systemd starts it.
fn check_program(program: &str) -> Result<(), String> {
    let fine = |c: char| c.is_alphanumeric() || "/._+-".contains(c);
    let begins = program.starts_with(|c: char| c.is_alphanumeric() || c == '/');
    if begins && program.chars().all(fine) && (program.starts_with('/') || !program.contains('/')) {
        return Ok(());
    }
    Err(format!("invalid program `{}`: a name, or a path that begins with /", program.escape_debug()))
}

fn check_printable(text: &str) -> Result<(), String> {
    let wrong = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.chars().any(wrong) { Err("a control character cannot be in a unit".to_owned()) } else { Ok(()) }
}

/// What is plainly wrong; the rest is the host's systemd's to judge.
fn check_schedule(schedule: &str) -> Result<(), String> {
    let shown = schedule.escape_debug();
    let fine = |c: char| c.is_ascii_alphanumeric() || "*,:/.-~_+ ".contains(c);
    let words: Vec<&str> = schedule.split_whitespace().collect();
    let cron = |word: &&str| word.chars().all(|c| c.is_ascii_digit() || "*,/-".contains(c));
    if words.len() == 5 && words.iter().all(cron) {
        return Err(format!("`{shown}` is a cron schedule; systemd uses `Mon *-*-* 03:00`, see systemd.time(7)"));
    }
    if words.is_empty() || schedule.starts_with('-') || !schedule.chars().all(fine) {
        return Err(format!("invalid time `{shown}`: write it like daily, \"*-*-* 03:00\" or Mon..Fri 08:30"));
    }
    Ok(())
}
