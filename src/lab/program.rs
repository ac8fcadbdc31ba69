//! Programs of the machine. In comes a command line, out goes its success or an error with what it said. It never uses
//! a shell.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use super::error::LabError;
use super::files;

/// Folders of system programs that a user's PATH may lack.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Where a program lies; a path is taken as it is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SYSTEM_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// A program together with why it is run.
pub(crate) struct Program {
    doing: String,
    command: Command,
}

impl Program {
    /// Names a program and the purpose that its error will give.
    pub(crate) fn new(program: &str, doing: impl Into<String>) -> Self {
        // A user's PATH may lack the folders of system programs.
        let mut command = Command::new(find(program).unwrap_or_else(|| program.into()));
        command.stdin(Stdio::null());
        Self { doing: doing.into(), command }
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Result<(), LabError> {
        self.start()?.finish()
    }

    /// Runs it with a text on its standard input.
    pub(crate) fn feed(mut self, text: &str) -> Result<(), LabError> {
        self.command.stdin(Stdio::piped());
        let mut started = self.start()?;
        if let Some(mut input) = started.child.stdin.take() {
            // A program that stops reading says why by itself.
            let _ = input.write_all(text.as_bytes());
        }
        started.finish()
    }

    /// Starts it, so that several can run at once.
    pub(crate) fn start(mut self) -> Result<Started, LabError> {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        match self.command.spawn() {
            Ok(child) => Ok(Started { program: self, child }),
            Err(error) => Err(self.failed("did not start", &error.to_string())),
        }
    }

    fn failed(&self, status: &str, output: &str) -> LabError {
        let program = self.command.get_program().to_string_lossy().into_owned();
        let output = files::indented(&output.trim().lines().collect::<Vec<_>>());
        LabError::Program { doing: self.doing.clone(), program, status: status.to_owned(), output }
    }
}

/// A program under way.
pub(crate) struct Started {
    program: Program,
    child: Child,
}

impl Started {
    /// Waits for its end.
    pub(crate) fn finish(self) -> Result<(), LabError> {
        match self.child.wait_with_output() {
            Ok(Output { status, .. }) if status.success() => Ok(()),
            Ok(output) => {
                Err(self.program.failed(&output.status.to_string(), &String::from_utf8_lossy(&output.stderr)))
            }
            Err(error) => Err(self.program.failed("was lost", &error.to_string())),
        }
    }
}
