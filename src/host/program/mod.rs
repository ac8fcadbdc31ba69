//! Programs, as steps and questions start them.
//!
//! In: an argument vector and its limits. Out: how it ended, and the beginning and the end of what it said. Never: a shell,
//! a terminal, a program that holds a lock or an answer of ours, or one that outlives its time.

mod bounded;
mod conversation;
mod file;
mod session;
mod steps;
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

pub(super) use bounded::{Bounded, Kept};
pub(super) use conversation::{Cause, undisturbed};
pub(super) use session::{Identity, become_and_exec, described};
pub(super) use steps::{perform, perform_or, perform_unless};

use super::{Failure, Result};
use crate::step::{Command, CommandReading, FETCH_LIMIT, Reading};
use conversation::Conversation;

/// The exit code of what ran out of time.
pub(super) const OVERDUE: i32 = 124;

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What programs find in their environment of ours: who and where they are, and how this host reaches the web.
const INHERITED: [&str; 16] = [
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "TZ",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
];

/// What of it belongs to whoever runs this, and to nobody else.
const PERSONAL: [&str; 3] = ["TMPDIR", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];

/// The variables that every program gets, of those that this program was given.
pub(super) fn environment(ours: impl IntoIterator<Item = (OsString, OsString)>) -> BTreeMap<OsString, OsString> {
    let inherited = ours.into_iter().filter(|(name, _)| INHERITED.iter().any(|known| name == known));
    inherited.chain([("PATH", PATH), ("LC_ALL", "C")].map(|(name, value)| (name.into(), value.into()))).collect()
}

/// A user, as far as it matters to programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    /// By numbers.
    pub(super) identity: Identity,
    /// The home directory.
    pub(super) home: String,
    /// The login shell.
    pub(super) shell: String,
}

/// How programs are started on this host.
#[derive(Clone, Copy)]
pub(super) struct Programs<'a> {
    /// The program that becomes another by [`become_and_exec`] when its first argument is `exec`: this one.
    pub(super) starter: &'a Path,
    /// See [`environment`].
    pub(super) environment: &'a BTreeMap<OsString, OsString>,
    /// Who a user is, by name; a failure says that there is none.
    pub(super) person: &'a dyn Fn(&str) -> Result<Person>,
    /// Gets to know the number of the process when a program has started, and that there is none any more.
    pub(super) running: &'a dyn Fn(Option<u32>),
}

/// For [`Programs::running`], where nobody needs to know.
pub(super) fn unwatched(_: Option<u32>) {}

/// What a program must not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// How long it may take. Then all of its process group is asked to end, and ended 5 s later.
    pub(super) time: Duration,
    /// What is kept of its standard output.
    pub(super) stdout: Kept,
    /// What is kept of its standard error.
    pub(super) stderr: Kept,
    /// What it leaves running.
    pub(super) leftover: Leftover,
}

/// What happens where a program has ended, and something that it started holds its outputs open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leftover {
    /// It is left alone: the program has said what it had to say.
    Ignored,
    /// It is waited for, while the program itself would have had time: it may still say something.
    Awaited,
}

impl Limits {
    /// For what changes a host: its own time.
    pub(super) fn step(command: &Command) -> Self {
        let time = Duration::from_secs(seconds(command.timeout));
        Self { time, stdout: Kept::BOTH, stderr: Kept::BOTH, leftover: Leftover::Ignored }
    }

    /// For what is passed on as it comes: its own time, and nothing is kept.
    pub(super) fn passing(command: &Command) -> Self {
        Self { stdout: Kept::first(0), stderr: Kept::first(0), ..Self::step(command) }
    }

    /// For what only looks: its own time, and no more than is left.
    pub(super) fn question(command: &Command, left: Duration) -> Self {
        let first = usize::try_from(FETCH_LIMIT).unwrap_or(usize::MAX);
        let time = Duration::from_secs(seconds(command.timeout)).min(left);
        Self { time, stdout: Kept::first(first), stderr: Kept::last(COMPLAINT), leftover: Leftover::Awaited }
    }
}

/// What a program says, while it says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// On its standard output.
    Stdout(&'a [u8]),
    /// On its standard error.
    Stderr(&'a [u8]),
    /// Nothing: a second has passed.
    Beat,
}

/// Who listens to a program, and may break it off.
pub(super) type Watch<'a> = dyn FnMut(Heard<'_>) -> ControlFlow<()> + 'a;

/// How a program ended.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    /// Its exit code; 128 and the number of the signal that ended it, [`OVERDUE`] if it ran out of time.
    pub(super) exit: i32,
    /// Why it ended.
    pub(super) cause: Cause,
    /// What it wrote.
    pub(super) stdout: Bounded,
    /// What it complained.
    pub(super) stderr: Bounded,
    /// Whether something that it left running holds its outputs open.
    pub(super) is_held: bool,
}

/// How much of a complaint is worth keeping, in bytes.
pub(super) const COMPLAINT: usize = 16 << 10;

impl Ended {
    /// The last that it complained, or else said: up to [`COMPLAINT`] bytes, as a text.
    pub(super) fn complaint(&self) -> String {
        let said = if self.stderr.total() > 0 { &self.stderr } else { &self.stdout };
        text(&said.end(COMPLAINT))
    }

    /// All of its output that was kept, as a text.
    pub(super) fn output(&self) -> String {
        text(&self.stdout.bytes())
    }
}

/// Bytes as a text without NULs and the blanks at its end.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "").trim_end().to_owned()
}

/// A limit in whole seconds, as people write them: a second at least, a week at most.
pub(super) fn seconds(limit: Duration) -> u64 {
    (limit.as_secs() + u64::from(limit.subsec_nanos() > 0)).clamp(1, 7 * 24 * 3600)
}

impl Programs<'_> {
    /// Runs a program to its end.
    ///
    /// It gets a session and a process group of its own, so no terminal; the umask 022; of variables those of
    /// [`environment`] and its own; as its input what it is to read, or nothing. What it leaves running may live on, and does not
    /// meet a broken pipe.
    ///
    /// # Errors
    /// Why it cannot be started at all. That there is no such program is its exit code 127, as in a shell.
    pub(super) fn run(&self, command: &Command, limits: &Limits, watch: &mut Watch<'_>) -> Result<Ended> {
        command.fault().map_or(Ok(()), |why| Err(Failure::new(why)))?;
        let input = command.stdin.bytes();
        // It is open until the program has it.
        let file = command
            .file
            .as_ref()
            .map(|content| file::shared(content.bytes()))
            .transpose()
            .map_err(|error| without_file(&error))?;
        let mut process = self.process(command, file.as_ref())?;
        process.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
        let started = process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        drop(file);
        let program = command.argv.first().map_or("", String::as_str);
        let failed = |error| Failure { exit: 126, why: format!("cannot start `{program}`: {}", described(&error)) };
        let child = started.map_err(failed)?;
        (self.running)(Some(child.id()));
        let conversation = Conversation::begin(child, input, limits).map_err(failed)?;
        let talked = conversation.hold(limits, watch);
        (self.running)(None);
        let exit = match talked.cause {
            Cause::Overdue => OVERDUE,
            Cause::Itself | Cause::Stopped => talked.status.map_or(128, exit_code),
        };
        let is_held = !talked.held.is_empty();
        talked.held.into_iter().for_each(|pipe| self.keep_reading(pipe));
        let [stdout, stderr] = talked.said;
        Ok(Ended { exit, cause: talked.cause, stdout, stderr, is_held })
    }

    /// Runs one of the host's own tools, and keeps what it says.
    pub(super) fn tool(&self, argv: &[&str], time: Duration) -> Result<Ended> {
        let command = Command::new(argv.iter().copied()).within(time);
        self.run(&command, &Limits::step(&command), &mut undisturbed)
    }

    /// Asks a program that only looks. `left` is the time of the whole conversation that remains.
    pub(super) fn ask(&self, command: &Command, left: Duration) -> Reading {
        if left.is_zero() {
            return Reading::Failed("no time was left for it".to_owned());
        }
        match self.run(command, &Limits::question(command, left), &mut undisturbed) {
            Err(failure) => Reading::Failed(failure.why),
            // What was not read to its end is not known, and unknown is not empty.
            Ok(ended) if ended.is_held => Reading::Failed("a program it left running holds its output open".to_owned()),
            Ok(ended) => Reading::Command(CommandReading {
                exit: ended.exit,
                stdout: ended.stdout.bytes(),
                stderr: ended.stderr.bytes(),
            }),
        }
    }

    /// Where a program is; none if this host has none of this name.
    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        let path = self.environment.get(OsStr::new("PATH"))?;
        let is_program =
            |file: &PathBuf| file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok();
        std::env::split_paths(path).map(|directory| directory.join(name)).find(is_program)
    }

    /// Whether this host has a program.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn process(&self, command: &Command, file: Option<&OwnedFd>) -> Result<std::process::Command> {
        let me = rustix::process::geteuid().as_raw();
        let person = command.user.as_deref().map(self.person).transpose()?;
        let person = person.filter(|person| person.identity.uid != me);
        let directory = command.directory.as_deref().unwrap_or("/");
        let mut process = self.starting(directory, person.as_ref().map(|person| &person.identity), file);
        if let Some((person, user)) = person.as_ref().zip(command.user.as_deref()) {
            for name in PERSONAL {
                process.env_remove(name);
            }
            process.envs([
                ("USER", user),
                ("LOGNAME", user),
                ("HOME", person.home.as_str()),
                ("SHELL", person.shell.as_str()),
            ]);
        }
        process.envs(&command.environment).args(&command.argv);
        Ok(process)
    }

    /// The starter, up to the vector that it is to become.
    fn starting(&self, directory: &str, identity: Option<&Identity>, file: Option<&OwnedFd>) -> std::process::Command {
        let mut process = std::process::Command::new(self.starter);
        process.env_clear().envs(self.environment).args(session::arguments(directory, identity, file));
        process
    }

    /// Lets what was left running write on: where nobody read its pipe any more, it would be ended by its next word. It
    /// was to write into a file; `cat` goes when it does.
    fn keep_reading(&self, pipe: OwnedFd) {
        // It waits for us with open eyes: `cat` would end at the first moment in which nothing is there.
        let _ = rustix::fs::fcntl_setfl(&pipe, rustix::fs::OFlags::empty());
        let mut process = self.starting("/", None, None);
        process.arg("cat").stdin(Stdio::from(pipe)).stdout(Stdio::null()).stderr(Stdio::null());
        if let Ok(mut reader) = process.spawn() {
            std::thread::spawn(move || reader.wait());
        }
    }
}

fn without_file(error: &std::io::Error) -> Failure {
    Failure { exit: 126, why: format!("cannot give the program its file: {}", described(error)) }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}
