//! `script`: a kind of your own, in any language: a program that reads, applies and removes one thing.
//!
//! In: a program of the project, and values. Out: what it reads held against what is wanted, and one run of the same
//! program that ends the difference. Never: a program that only does: one that cannot look is refused in the plan.
//!
//! The contract is in `docs/script-kind.md`. The program gets the values by standard input. Its interpreter reads it from a
//! file in memory, so that a file system without programs will do.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::fields::{self, Argv, Data, Presence, Span};
use super::values::{self, Compare, Values};
use super::{Action, Change, Kind, Made, Source, Verdict, trace};
use crate::secret::{Content, masked};
use crate::step::{Command, CommandReading, FETCH_LIMIT, Probe, Readings, Step, Unreadable};

/// How long a script may look. It does so in every plan.
const LOOK: Duration = Duration::from_secs(30);
/// Says the first of its arguments that is no program here, with this exit code.
const MISSING: &str = "for p; do command -v \"$p\" >/dev/null || { printf %s \"$p\"; exit 3; }; done";
/// The longest program, in bytes: it travels in every plan.
const LONGEST: usize = 65_536;

/// One thing that a program of the project looks after.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Script {
    /// What it looks after, as plans call it. No two of a host have the same.
    name: String,
    /// The program; its first line says what runs it: `#!/bin/sh`, `#!/usr/bin/env python3`. Usually `src` instead, a
    /// file of the role's or project's `files/`.
    #[serde(default)]
    content: Option<Data>,
    /// Its arguments after `read`, `apply` or `remove`, as a list. Never a secret.
    #[serde(default)]
    arguments: Option<Argv>,
    /// How the thing should be. `read` must report each of these keys. The place for secrets.
    #[serde(default)]
    wanted: Values,
    /// How values are told: `json`, or `lines` of `key=value` for a program that cannot read JSON.
    #[serde(default)]
    format: Format,
    /// Programs it cannot look without, beside the one in its first line. As long as one is not there, neither is the thing.
    #[serde(default)]
    needs: Vec<String>,
    /// The user it runs as.
    #[serde(default)]
    user: Option<String>,
    /// How long `apply` and `remove` may take: `30s`, `5m`; ten minutes by default. `read` has 30 seconds.
    #[serde(default)]
    timeout: Option<Span>,
    /// Whether the thing is there.
    #[serde(default)]
    state: Presence,
}

/// How values travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// A JSON map; `null` if there is nothing.
    #[default]
    Json,
    /// Lines of `key=value`; the line `absent` if there is nothing, `present` if there is something without values.
    Lines,
}

/// What a script read.
#[derive(Debug, PartialEq)]
pub(super) enum State {
    /// It cannot be asked before this is there.
    Later(String),
    /// There is nothing.
    Absent,
    /// There is this.
    Found(Map<String, Value>),
}

impl Kind for Script {
    const NAME: &'static str = "script";
    const SUMMARY: &'static str = "A custom kind: a program that reads, applies and removes one thing";
    const EXAMPLE: &'static str = "script: { name: the editor, src: kinds/alternative, arguments: [editor], format: lines, \
         wanted: { path: /usr/bin/vim.tiny } }";
    const SHORT: &'static str = "name";
    const SOURCE: Source = Source::File;
    const MAKES_DIRECTORIES: bool = true;
    type State = State;

    fn target(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Result<(), String> {
        fields::check_line("name", &self.name)?;
        if self.name.trim().is_empty() {
            return Err("`name` must say what the script manages".to_owned());
        }
        self.check_program()?;
        self.user.iter().try_for_each(|user| fields::check_account("user", user))?;
        self.needs.iter().try_for_each(|program| Argv(vec![program.clone()]).check())?;
        if self.words().any(|word| word.contains('\0')) {
            return Err("an argument must not contain a zero byte".to_owned());
        }
        let Some(map) = self.wanted.map() else {
            return Err("`wanted` must be a map of names and values".to_owned());
        };
        if self.format == Format::Lines {
            map.iter().try_for_each(|(key, value)| check_line(key, &value.exposed()))?;
        }
        Ok(())
    }

    fn probes(&self) -> Vec<Probe> {
        let user = self.user.iter().map(|user| Probe::User(user.clone()));
        user.chain([self.missing(), self.look()]).collect()
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        if let Some(user) = &self.user
            && readings.user(&Probe::User(user.clone()))?.is_none()
        {
            return Ok(State::Later(format!("the user {user}")));
        }
        let missing = readings.command(&self.missing())?;
        match missing.exit {
            0 => self.read(readings.command(&self.look())?),
            3 => Ok(State::Later(String::from_utf8_lossy(&missing.stdout).into_owned())),
            _ => Err(self.wrong("could not be read", missing)),
        }
    }

    fn change(&self, state: &State) -> Verdict {
        match (self.state, state) {
            (Presence::Absent, State::Absent | State::Later(_)) => Verdict::InSync,
            (Presence::Absent, State::Found(found)) => {
                let gone = self.wanted.gone("values", &found.clone().into());
                Verdict::change(Action::Remove, vec![gone], vec![self.step("remove")])
            }
            (Presence::Present, State::Absent) => Verdict::Change(self.adding()),
            (Presence::Present, State::Later(what)) => {
                Verdict::MayChange(self.adding(), format!("its script can run only when {what} exists"))
            }
            (Presence::Present, State::Found(found)) => {
                let difference = self.as_told().difference("values", &found.clone().into(), Compare::Subset);
                Verdict::differing(difference.into_iter().collect(), vec![self.step("apply")])
            }
        }
    }

    /// It is taken away by the program that made it, which is therefore kept. One that is told a secret cannot be asked
    /// without it.
    fn absent(&self) -> Option<serde_json::Value> {
        let wanted = Some(self.wanted.plain()?).filter(|_| self.wanted.map().is_some_and(|map| !map.is_empty()));
        let lines = (self.format == Format::Lines).then_some("lines");
        let needs = (!self.needs.is_empty()).then_some(&self.needs);
        let arguments = self.arguments.as_ref().map(|arguments| &arguments.0);
        trace::away(
            self.state,
            serde_json::json!({
                "name": self.name, "content": self.program(), "arguments": arguments, "wanted": wanted,
                "format": lines, "needs": needs, "user": self.user,
            }),
        )
    }

    fn exists(&self, state: &State) -> bool {
        matches!(state, State::Found(_))
    }

    fn made(&self) -> Made {
        // One that is told a secret is never taken away, so nothing need be known of it.
        self.wanted.plain().map_or(Made::BySteps, |wanted| Made::As(format!("found {wanted}")))
    }

    /// What else it reports may move by itself.
    fn fingerprint(&self, state: &State) -> String {
        let State::Found(found) = state else { return format!("{state:?}") };
        let wanted = self.wanted.map().into_iter().flatten();
        let reported: Map<String, Value> =
            wanted.filter_map(|(key, _)| Some((key.clone(), found.get(key)?.clone()))).collect();
        format!("found {}", Value::Object(reported))
    }
}

impl Script {
    fn check_program(&self) -> Result<(), String> {
        let Some(Data(content)) = &self.content else { return Err("a script needs `src` or `content`".to_owned()) };
        if content.is_secret() {
            return Err("the program itself must not contain a secret: pass it in `wanted`".to_owned());
        }
        let Ok(text) = std::str::from_utf8(content.bytes()) else {
            return Err("the program is not text: a script is text that begins with `#!`".to_owned());
        };
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("#!/") {
            return Err("the first line of the program must name its interpreter, such as `#!/bin/sh`".to_owned());
        }
        if text.contains(['\r', '\0']) {
            return Err("the program contains carriage returns or zero bytes: use Unix line ends".to_owned());
        }
        if text.len() > LONGEST {
            return Err(format!("the program is longer than {} KiB", LONGEST / 1024));
        }
        Ok(())
    }

    /// The text of the program, with a line break at its end; [`Kind::check`] looked at it before.
    fn program(&self) -> String {
        let bytes = self.content.as_ref().map(|data| data.0.bytes()).unwrap_or_default();
        let text = String::from_utf8_lossy(bytes);
        format!("{}\n", text.strip_suffix('\n').unwrap_or(&text))
    }

    /// What runs it, and the one argument that the first line may have.
    fn interpreter(&self) -> (String, String) {
        let program = self.program();
        let line = program.lines().next().unwrap_or_default().trim_start_matches("#!").trim();
        let (interpreter, option) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        (interpreter.to_owned(), option.trim().to_owned())
    }

    fn words(&self) -> impl Iterator<Item = &String> {
        self.arguments.iter().flat_map(|arguments| &arguments.0).chain(&self.needs)
    }

    /// The values as they travel: in lines all of them are texts.
    fn as_told(&self) -> Values {
        match self.format {
            Format::Json => self.wanted.clone(),
            Format::Lines => self.wanted.in_lines(),
        }
    }

    fn command(&self, verb: &str) -> Command {
        let (interpreter, option) = self.interpreter();
        let option = Some(option).filter(|option| !option.is_empty());
        let fixed = std::iter::once(interpreter).chain(option).chain([Command::FILE, verb].map(str::to_owned));
        let arguments = self.arguments.iter().flat_map(|arguments| arguments.0.clone());
        let mut command = Command::new(fixed.chain(arguments));
        command.file = Some(Content::from(self.program().as_str()));
        command.user.clone_from(&self.user);
        let told = match self.format {
            Format::Json => self.wanted.content().bytes().iter().copied().chain(*b"\n").collect(),
            Format::Lines => lines_of(self.wanted.in_lines().expose().expose()).into_bytes(),
        };
        command.stdin = values::sealed(told, self.wanted.has_secrets());
        command
    }

    fn look(&self) -> Probe {
        Probe::Command(self.command("read").within(LOOK))
    }

    fn missing(&self) -> Probe {
        let (interpreter, option) = self.interpreter();
        // `env` finds the real one by name.
        let named = if interpreter.ends_with("/env") && !option.starts_with('-') { option } else { String::new() };
        let programs = [interpreter, named].into_iter().filter(|program| !program.is_empty());
        let fixed = ["sh", "-c", MISSING, "sh"].map(str::to_owned).into_iter();
        let mut command = Command::new(fixed.chain(programs).chain(self.needs.iter().cloned())).within(LOOK);
        command.user.clone_from(&self.user);
        Probe::Command(command)
    }

    fn step(&self, verb: &str) -> Step {
        let limit = self.timeout.map_or(Duration::from_secs(600), |span| span.0);
        Step::Run(self.command(verb).within(limit))
    }

    fn adding(&self) -> Change {
        Change { action: Action::Add, fields: vec![self.wanted.made("values")], steps: vec![self.step("apply")] }
    }

    fn read(&self, answer: &CommandReading) -> Result<State, Unreadable> {
        if answer.exit != 0 {
            return Err(self.wrong("cannot run", answer));
        }
        if answer.stdout.len() as u64 >= FETCH_LIMIT {
            return Err(Unreadable(format!("its script printed more than {} KiB", FETCH_LIMIT / 1024)));
        }
        let text = std::str::from_utf8(&answer.stdout).map_err(|_| self.no_answer(answer))?;
        let found = match self.format {
            Format::Json => json_answer(text),
            Format::Lines => lines_answer(text),
        };
        let state = found.ok_or_else(|| self.no_answer(answer))?;
        if let State::Found(found) = &state
            && self.state == Presence::Present
            && let Some((key, _)) = self.wanted.map().into_iter().flatten().find(|(key, _)| !found.contains_key(key))
        {
            return Err(Unreadable(format!("`read` of its script does not report `{key}`, so its state is unknown")));
        }
        Ok(state)
    }

    fn no_answer(&self, answer: &CommandReading) -> Unreadable {
        let wanted = match self.format {
            Format::Json => "a JSON map, or null if there is nothing",
            Format::Lines => "lines of key=value, or absent",
        };
        let said = self.end_of(&answer.stdout);
        Unreadable(format!("`read` of its script must print {wanted}; it printed: {said}"))
    }

    fn wrong(&self, what: &str, answer: &CommandReading) -> Unreadable {
        let why = if answer.exit == 124 { "it timed out".to_owned() } else { format!("exit code {}", answer.exit) };
        Unreadable(format!("its script {what} (`read`: {why}): {}", self.end_of(&answer.stderr)))
    }

    /// The end of what it said, in one line, without the secrets it was told.
    fn end_of(&self, said: &[u8]) -> String {
        let text = masked(&String::from_utf8_lossy(said), &self.wanted.secrets());
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let skipped = line.chars().count().saturating_sub(300);
        if line.is_empty() { "nothing".to_owned() } else { line.chars().skip(skipped).collect() }
    }
}

fn json_answer(text: &str) -> Option<State> {
    match serde_json::from_str(text).ok()? {
        Value::Null => Some(State::Absent),
        Value::Object(map) => Some(State::Found(map)),
        _ => None,
    }
}

fn lines_answer(text: &str) -> Option<State> {
    let lines: Vec<&str> = text.lines().collect();
    match lines.as_slice() {
        [] => None,
        ["absent"] => Some(State::Absent),
        ["present"] => Some(State::Found(Map::new())),
        _ => {
            let entry = |line: &&str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.into()));
            lines.iter().map(entry).collect::<Option<_>>().map(State::Found)
        }
    }
}

fn lines_of(values: &Value) -> String {
    let line = |(key, value): (&String, &Value)| format!("{key}={}\n", value.as_str().unwrap_or_default());
    values.as_object().into_iter().flatten().map(line).collect()
}

/// A value that fits on a line.
fn check_line(key: &str, value: &Value) -> Result<(), String> {
    if key.is_empty() || key.contains('=') || key.chars().any(char::is_control) {
        return Err(format!("`{}` cannot be the key of a line: use `format: json`", key.escape_debug()));
    }
    match value {
        Value::String(text) if text.chars().any(char::is_control) => {
            Err(format!("`{key}` has a line break or another control character in it: use `format: json`"))
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) => Ok(()),
        _ => Err(format!("`{key}` is not text or a number and does not fit on a line: use `format: json`")),
    }
}
