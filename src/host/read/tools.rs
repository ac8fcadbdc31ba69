//! Programs of the host that list packages, units and addresses.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};

use super::watched::LATE;
use crate::host::account::Run;
use crate::step::{Command, CommandReading};

/// Where programs are looked for, below the root.
const PATH: [&str; 6] = ["usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin"];

/// How long one of them may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Starts the host's own programs, and finds their files.
#[derive(Clone)]
pub(super) struct Tools {
    /// See [`super::Means::tool`].
    pub(super) tool: Run,
    /// `/`, but for tests.
    pub(super) root: PathBuf,
    /// When the time for all programs together is over.
    pub(super) deadline: Instant,
}

/// The output of a program, standard error after standard output, and its exit code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) exit: i32,
    pub(super) text: String,
}

impl Output {
    /// The text if the exit code is one of `fine`, otherwise the error message.
    pub(super) fn fine(&self, program: &str, fine: &[i32]) -> Result<&str, String> {
        match self.text.trim() {
            _ if fine.contains(&self.exit) => Ok(&self.text),
            "" if self.exit == 124 => Err(format!("{program} did not answer in time")),
            "" => Err(format!("{program}: exit code {}", self.exit)),
            complaint => Err(complaint.to_owned()),
        }
    }
}

impl Tools {
    /// Whether the host has a program of that name.
    pub(super) fn has(&self, program: &str) -> bool {
        PATH.iter().any(|directory| access(self.file(directory).join(program), Access::EXEC_OK).is_ok())
    }

    /// A file below the root.
    pub(super) fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A limit, or the remaining time if that is shorter.
    ///
    /// # Errors
    /// When no time is left.
    pub(super) fn left(&self, limit: Duration) -> Result<Duration, String> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(LATE.to_owned()) } else { Ok(left.min(limit)) }
    }

    /// Runs a program within its limit and the remaining time.
    pub(super) fn run(&self, command: &Command) -> Result<CommandReading, String> {
        self.within(&self.tool, command)
    }

    /// The same with a program of a probe.
    pub(super) fn within(&self, run: &Run, command: &Command) -> Result<CommandReading, String> {
        run(&command.clone().within(self.left(command.timeout)?))
    }

    /// Runs a program within [`PATIENCE`]; it writes times in UTC.
    ///
    /// # Errors
    /// When the host has no such program, or it is not known how it ended.
    pub(super) fn tell<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<Output, String> {
        let command = Command::new(words).within(PATIENCE).with("TZ", "UTC");
        let program = command.argv.first().map_or("", String::as_str);
        if !self.has(program) {
            return Err(format!("this host has no {program}"));
        }
        let ended = self.run(&command)?;
        let bytes = [ended.stdout, ended.stderr].concat();
        Ok(Output { exit: ended.exit, text: String::from_utf8_lossy(&bytes).into_owned() })
    }
}
