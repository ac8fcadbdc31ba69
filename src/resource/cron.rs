//! `cron`: a program that runs at certain times.
//!
//! In: when, as whom and what. Out: a file of its own in `/etc/cron.d`. Never: a table that cron would pass over without
//! a word, or a secret, because everyone can read it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Presence, Wanted};
use super::regular::{OtherContent, Regular, modified};
use super::{Hold, Kind, Verdict, trace};
use crate::secret::Content;
use crate::step::{PathReading, Probe, Readings, Unreadable};

/// A program that runs at certain times, by a file of its own in `/etc/cron.d`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cron {
    /// The file's name: letters, digits, `-` and `_`. cron passes over any other.
    name: String,
    /// As whom it runs.
    #[serde(default = "fields::root")]
    user: String,
    /// When: minute, hour, day of the month, month and day of the week, as in `crontab(5)`; or `@hourly`, `@daily`,
    /// `@weekly`, `@monthly`, `@yearly`, `@reboot`.
    #[serde(default)]
    schedule: Option<String>,
    /// What to run, in one line, by `/bin/sh`. `%` is just that: armilla writes it so that cron does not take it for a
    /// line break.
    #[serde(default)]
    command: Option<String>,
    /// Variables, for everyone to read. Without a `PATH` cron has `/usr/bin:/bin`.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// Whether it exists.
    #[serde(default)]
    state: Presence,
}

/// A field of a schedule: what it is, from where to where, and names for its numbers.
struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    names: &'static [&'static str],
}

/// In the order of `crontab(5)`. Sunday is both 0 and 7.
const FIELDS: [Field; 5] = [
    Field { name: "minute", first: 0, last: 59, names: &[] },
    Field { name: "hour", first: 0, last: 23, names: &[] },
    Field { name: "day of the month", first: 1, last: 31, names: &[] },
    Field {
        name: "month",
        first: 1,
        last: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field { name: "day of the week", first: 0, last: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

/// Words for whole schedules.
const WORDS: &[&str] = &["@reboot", "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// Debian's cron drops a longer command without a word (`MAX_COMMAND`).
const LONGEST: usize = 998;

impl Kind for Cron {
    const NAME: &'static str = "cron";
    const SUMMARY: &'static str = "A program that cron runs on a schedule";
    const EXAMPLE: &'static str = "cron: { name: zk-snapshots, user: root, schedule: \"30 3 * * *\", command: \"find /var/lib/zookeeper -name 'snapshot.*' -mtime +7 -delete\" }";
    const SHORT: &'static str = "name";
    type State = PathReading;

    fn target(&self) -> String {
        self.name.clone()
    }

    fn holds(&self) -> Option<Hold> {
        Some(Hold::Whole(self.path()))
    }

    fn check(&self) -> Result<(), String> {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if self.name.is_empty() || !self.name.chars().all(fine) || self.name.starts_with('-') {
            let name = self.name.escape_debug();
            return Err(format!("invalid cron job name `{name}`: only letters, digits, `-` and `_` are allowed"));
        }
        fields::check_account("user", &self.user)?;
        self.environment.iter().try_for_each(|(name, value)| check_variable(name, value))?;
        match (self.state, &self.schedule, &self.command) {
            (Presence::Present, Some(schedule), Some(command)) => {
                check_schedule(schedule)?;
                check_command(command)
            }
            (Presence::Present, None, _) => Err("it needs a `schedule`".to_owned()),
            (Presence::Present, _, None) => Err("it needs a `command`".to_owned()),
            (Presence::Absent, None, None) => Ok(()),
            (Presence::Absent, ..) => {
                Err("a cron job with `state: absent` takes no schedule and no command".to_owned())
            }
        }
    }

    fn probes(&self) -> Vec<Probe> {
        vec![regular(&self.path(), self.content().as_ref()).probe()]
    }

    fn observe(&self, readings: &Readings) -> Result<PathReading, Unreadable> {
        readings.path(&regular(&self.path(), self.content().as_ref()).probe()).cloned()
    }

    fn change(&self, state: &PathReading) -> Verdict {
        regular(&self.path(), self.content().as_ref()).verdict(state)
    }

    fn unwanted(&self, state: &PathReading) -> Option<super::Change> {
        regular(&self.path(), self.content().as_ref()).unwanted(state)
    }

    fn written(&self, state: &PathReading) -> Option<i64> {
        modified(state)
    }

    fn absent(&self) -> Option<serde_json::Value> {
        trace::away(self.state, serde_json::json!({ "name": self.name }))
    }

    fn exists(&self, state: &PathReading) -> bool {
        *state != PathReading::Absent
    }

    fn fingerprint(&self, state: &PathReading) -> String {
        trace::path(state)
    }
}

impl Cron {
    fn path(&self) -> String {
        format!("/etc/cron.d/{}", self.name)
    }

    fn content(&self) -> Option<Content> {
        let (schedule, command) = (self.schedule.as_ref()?, self.command.as_ref()?);
        let variables = self.environment.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        let when = schedule.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let job = format!("{when} {} {}\n", self.user, command.trim().replace('%', "\\%"));
        let text = variables.chain([job]).collect::<Vec<_>>().join("\n");
        Some(Content::from(text.as_str()))
    }
}

fn regular<'a>(path: &'a str, content: Option<&'a Content>) -> Regular<'a> {
    let ownership = fields::ownership("root", "root", fields::mode_644());
    Regular { path, content: content.map(Wanted::Content), ownership, other: OtherContent::Replaced }
}

/// In quotes where cron would take away or misread something.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,+@=".contains(c);
    match (value.chars().all(plain) && !value.is_empty(), value.contains('"')) {
        (true, _) => value.to_owned(),
        (false, false) => format!("\"{value}\""),
        (false, true) => format!("'{value}'"),
    }
}

fn check_variable(name: &str, value: &str) -> Result<(), String> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !name.starts_with(first) || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("invalid variable name `{}`", name.escape_debug()));
    }
    fields::check_line("environment", value)?;
    if value.contains('"') && value.contains('\'') {
        return Err(format!("the value of {name} contains both types of quotes, which cron cannot read"));
    }
    Ok(())
}

fn check_command(command: &str) -> Result<(), String> {
    fields::check_line("command", command)?;
    if command.trim().is_empty() {
        return Err("`command` is empty".to_owned());
    }
    if command.contains("\\%") {
        return Err("`command` has a `%` with a backslash before it\nwrite `%` alone: armilla adds the backslash that cron needs".to_owned());
    }
    let length = command.len() + command.matches('%').count();
    if length > LONGEST {
        return Err(format!(
            "`command` has {length} bytes; cron drops those of more than {LONGEST}: put it into a script"
        ));
    }
    Ok(())
}

fn check_schedule(schedule: &str) -> Result<(), String> {
    if schedule.starts_with('@') {
        return if WORDS.contains(&schedule) { Ok(()) } else { Err(unknown_word(schedule)) };
    }
    fields::check_line("schedule", &schedule.replace('\t', " "))?;
    let parts: Vec<&str> = schedule.split_ascii_whitespace().collect();
    if parts.len() != FIELDS.len() {
        let names = FIELDS.map(|field| field.name).join(", ");
        return Err(format!("a schedule has five fields ({names}), not {}: `{schedule}`", parts.len()));
    }
    FIELDS.iter().zip(parts).try_for_each(|(field, part)| field.check(part))
}

fn unknown_word(word: &str) -> String {
    let hint = crate::name::did_you_mean(word, WORDS.iter().copied());
    format!("invalid schedule `{}`; {}", word.escape_debug(), hint.unwrap_or_else(|| WORDS.join(", ")))
}

impl Field {
    /// Lists of ranges with steps.
    fn check(&self, text: &str) -> Result<(), String> {
        text.split(',').try_for_each(|part| {
            self.check_range(part).map_err(|why| format!("{} `{}`: {why}", self.name, text.escape_debug()))
        })
    }

    fn check_range(&self, text: &str) -> Result<(), String> {
        let (range, step) = text.split_once('/').map_or((text, None), |(range, step)| (range, Some(step)));
        let wide = match range.split_once('-') {
            _ if range == "*" => true,
            None => self.number(range).map(|_| false)?,
            Some((from, to)) if self.number(from)? <= self.number(to)? => true,
            Some(_) => return Err(format!("the range {range} goes backwards: write it as two, with a comma")),
        };
        match step.map(|step| step.parse::<u32>().ok().filter(|step| (1..=self.last).contains(step))) {
            Some(None) => Err(format!("a step is a number from 1 to {}", self.last)),
            Some(Some(_)) if !wide => Err("a step needs a range or `*` before it".to_owned()),
            None | Some(Some(_)) => Ok(()),
        }
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = named.and_then(|at| u32::try_from(at).ok()).map(|at| at + self.first);
        let digits = || text.chars().all(|c| c.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let number = named.or_else(digits).filter(|number| (self.first..=self.last).contains(number));
        let words = if self.names.is_empty() { String::new() } else { format!(", or {}", self.names.join(", ")) };
        number.ok_or_else(|| format!("`{}` is none of {} to {}{words}", text.escape_debug(), self.first, self.last))
    }
}
