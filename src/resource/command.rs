//! `command`: a program that runs when a guard says that it must.
//!
//! In: a program with its arguments and what tells that it is not needed. Out: one run, asked again right before it.
//! Never: a shell of our own, or a secret among arguments and variables, where others can read it.
//!
//! A guard that could not be asked is not a guard that said no: then the plan says why, or stops.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Argv, Data, Span};
use super::{Action, Change, Field, Kind, Verdict};
use crate::secret::Content;
use crate::step::{self, Fetch, PathReading, Probe, Readings, Retry, Step, Unreadable};

/// How long a guard may look. It is asked in every plan.
const GUARD: Duration = Duration::from_secs(60);

/// How often it may be tried again.
const RETRIES: u32 = 1000;

/// Between two tries, as in Ansible.
const DELAY: Duration = Duration::from_secs(5);

/// A program to run. Without `creates` and `unless` it runs at every apply.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Command {
    /// The program and its arguments, as a list. No shell reads it; one that is needed is written out: `[sh, -c, ...]`.
    run: Argv,
    /// How plans call it. The program and its arguments by default.
    #[serde(default)]
    name: Option<String>,
    /// A path. It does not run where something is there.
    #[serde(default)]
    creates: Option<String>,
    /// A program that only looks. It does not run where this ends with exit code 0; it runs where this ends with any
    /// other; but a program that is killed, or does not end within a minute, has not answered, and the plan stops.
    #[serde(default)]
    unless: Option<Argv>,
    /// The user it runs as, and its guard too.
    #[serde(default)]
    user: Option<String>,
    /// The directory it runs in, and its guard too; `/` by default.
    #[serde(default)]
    directory: Option<String>,
    /// Variables added to its environment, and to its guard's.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// How long it may take, each time: `30s`, `5m`, `1h30m`; ten minutes by default.
    #[serde(default)]
    timeout: Option<Span>,
    /// How often it is tried again where it fails; 0 by default.
    #[serde(default)]
    retries: u32,
    /// The pause before each of these: `10s`, `1m`; 5 seconds by default.
    #[serde(default)]
    delay: Option<Span>,
    /// What it reads from its standard input. The only place for a secret.
    #[serde(default)]
    stdin: Option<Data>,
}

/// What its guard says.
#[derive(Debug, PartialEq)]
pub(super) enum State {
    /// It has none.
    Unguarded,
    /// It need not run.
    NotNeeded,
    /// It must run.
    Needed,
    /// The guard could not be asked; why.
    Later(String),
}

impl Kind for Command {
    const NAME: &'static str = "command";
    const SUMMARY: &'static str = "A program that runs when its guard requires it";
    const EXAMPLE: &'static str = "command: { run: [mkfs.ext4, /dev/vdb], unless: [blkid, /dev/vdb], timeout: 5m }";
    const SHORT: &'static str = "run";
    const MAKES_DIRECTORIES: bool = true;
    const SHARED: bool = true;
    type State = State;

    fn target(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.run.shown())
    }

    fn check(&self) -> Result<(), String> {
        self.run.check()?;
        self.unless.iter().try_for_each(Argv::check)?;
        if self.creates.is_some() && self.unless.is_some() {
            return Err("`creates` and `unless` are mutually exclusive".to_owned());
        }
        if self.retries > RETRIES {
            return Err(format!("`retries` must be at most {RETRIES}"));
        }
        if self.delay.is_some() && self.retries == 0 {
            return Err("`delay` is the pause between tries, and needs `retries`".to_owned());
        }
        self.name.iter().try_for_each(|name| fields::check_line("name", name))?;
        self.creates.iter().chain(&self.directory).try_for_each(|path| fields::check_path(path))?;
        self.user.iter().try_for_each(|user| fields::check_account("user", user))?;
        self.environment.iter().try_for_each(|(name, value)| fields::check_variable(name, value))
    }

    fn probes(&self) -> Vec<Probe> {
        match (&self.creates, self.guard()) {
            (Some(path), _) => vec![at(path)],
            (None, Some(guard)) => {
                let user = self.user.iter().map(|user| Probe::User(user.clone()));
                user.chain(self.directory.iter().map(|path| at(path))).chain([Probe::Command(guard)]).collect()
            }
            (None, None) => Vec::new(),
        }
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        match (&self.creates, self.guard()) {
            (Some(path), _) if *readings.path(&at(path))? == PathReading::Absent => Ok(State::Needed),
            (Some(_), _) => Ok(State::NotNeeded),
            (None, Some(guard)) => match self.missing(readings)? {
                Some(what) => Ok(later(&what)),
                None => answered(readings.command(&Probe::Command(guard.clone()))?.exit, &guard.argv[0]),
            },
            (None, None) => Ok(State::Unguarded),
        }
    }

    fn change(&self, state: &State) -> Verdict {
        let change = || Change { action: Action::Run, fields: self.shown(), steps: vec![self.step()] };
        match state {
            State::NotNeeded => Verdict::InSync,
            State::Unguarded | State::Needed => Verdict::Change(change()),
            State::Later(why) => Verdict::MayChange(change(), why.clone()),
        }
    }

    /// What it made, if it says what that is.
    fn exists(&self, state: &State) -> bool {
        *state == State::NotNeeded
    }
}

impl Command {
    /// What is not there yet that the guard needs before it can be asked.
    fn missing(&self, readings: &Readings) -> Result<Option<String>, Unreadable> {
        if let Some(user) = &self.user
            && readings.user(&Probe::User(user.clone()))?.is_none()
        {
            return Ok(Some(format!("the user {user}")));
        }
        if let Some(path) = &self.directory
            && *readings.path(&at(path))? == PathReading::Absent
        {
            return Ok(Some(path.clone()));
        }
        Ok(None)
    }

    fn step(&self) -> Step {
        let mut run = self.command(&self.run, self.timeout.map_or(Duration::from_secs(600), |span| span.0));
        let delay = self.delay.map_or(DELAY, |span| span.0);
        run.retry = (self.retries > 0).then_some(Retry { times: self.retries, delay });
        run.stdin = self.stdin.as_ref().map_or(Content::from(""), |data| data.0.clone());
        match (&self.creates, self.guard()) {
            (Some(path), _) => Step::RunUnless(run, Box::new(step::Command::new(["test", "-e", path]).within(GUARD))),
            (None, Some(guard)) => Step::RunUnless(run, Box::new(guard)),
            (None, None) => Step::Run(run),
        }
    }

    fn guard(&self) -> Option<step::Command> {
        self.unless.as_ref().map(|argv| self.command(argv, GUARD))
    }

    fn command(&self, argv: &Argv, timeout: Duration) -> step::Command {
        let mut command = step::Command::new(&argv.0).within(timeout);
        command.environment.clone_from(&self.environment);
        command.user.clone_from(&self.user);
        command.directory.clone_from(&self.directory);
        let dpkg = argv.0.first().is_some_and(|program| ["apt-get", "apt", "dpkg"].contains(&program.as_str()));
        command.waits_for = dpkg.then_some(step::WaitsFor::Dpkg);
        command
    }

    fn shown(&self) -> Vec<Field> {
        let run = self.name.as_ref().map(|_| fields::new("run", &self.run.shown()));
        let creates = self.creates.as_ref().map(|path| fields::new("creates", path));
        // A script in the guard is not for the screen; who wants to read it has it in the role.
        let short = self.unless.as_ref().filter(|guard| !guard.0.iter().any(|word| word.contains('\n')));
        let unless = short.map(|guard| fields::new("unless", &guard.shown()));
        [run, creates, unless].into_iter().flatten().collect()
    }
}

fn at(path: &str) -> Probe {
    Probe::Path { path: path.to_owned(), content: Fetch::Digest }
}

/// 124 to 126 and 128 and more are those of `timeout`, of the shell and of signals: no answer of the guard.
fn answered(exit: i32, program: &str) -> Result<State, Unreadable> {
    match exit {
        0 => Ok(State::NotNeeded),
        1..=123 => Ok(State::Needed),
        124 => Err(Unreadable(format!("its guard {program} timed out after {} seconds", GUARD.as_secs()))),
        127 => Ok(later(program)),
        other => Err(Unreadable(format!("its guard {program} failed: exit code {other}"))),
    }
}

fn later(what: &str) -> State {
    State::Later(format!("its guard can run only when {what} exists"))
}
