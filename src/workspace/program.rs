//! Programs on this machine that settings name: allowed word by word, without a shell, and never for long.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use super::blocking;
use crate::diag::Diagnostic;
use crate::settings::{Program, ProjectSettings};

/// How long a program may take: somebody may have to touch a token or unlock a password store.
const LIMIT: Duration = Duration::from_secs(60);
/// The most a program may print.
const MOST: usize = 16 * 1024 * 1024;
/// How much of what a program says on its standard error is looked at.
const TALK: usize = 64 * 1024;
/// How long to wait for the end of that, once the program has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What a program finds in its environment, if we have it: where things are, and how a password store reaches its agent.
/// All else could hold a secret that is none of its business.
const PASSED_ON: [&str; 19] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "TZ",
    "TERM",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "GNUPGHOME",
    "GPG_TTY",
    "PASSWORD_STORE_DIR",
];

/// The environment variables of this process.
#[derive(Debug, Clone, Default)]
pub struct Variables(BTreeMap<OsString, OsString>);

impl Variables {
    /// Those given, such as `std::env::vars_os()`.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(variables.into_iter().collect())
    }

    /// The value of one, if it is set.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }
}

/// The programs that a project may run on this machine.
#[derive(Debug, Clone)]
pub struct Programs {
    root: PathBuf,
    settings: ProjectSettings,
    variables: Variables,
    limit: Duration,
}

/// Why a program gave nothing, said of the program: "it failed with exit code 1".
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It could not be started.
    #[error("cannot be started: {0}")]
    Start(std::io::Error),
    /// What it printed could not be read.
    #[error("printed unreadable output: {0}")]
    Read(std::io::Error),
    /// It printed too much.
    #[error("printed more than {} MiB and was stopped", MOST / 1024 / 1024)]
    TooMuch,
    /// It did not end in time. With the last line of its standard error.
    #[error("timed out after {} s and was stopped{}", .0.as_secs(), last(.1.as_ref()))]
    TooLong(Duration, Option<String>),
    /// It failed. With the last line of its standard error.
    #[error("failed with {}{}", shown(*.0), last(.1.as_ref()))]
    Failed(ExitStatus, Option<String>),
}

impl Programs {
    /// Those that the settings of the project in `root` allow.
    pub fn new(root: PathBuf, settings: ProjectSettings, variables: Variables) -> Self {
        Self { root, settings, variables, limit: LIMIT }
    }

    /// The project folder.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Refuses a program that is not allowed word by word.
    ///
    /// # Errors
    /// With what to write where to allow it.
    pub(super) fn allow(&self, program: &Program) -> Result<(), Diagnostic> {
        self.settings.allow(program)
    }

    /// Runs a program in the project folder, if it is allowed, and gives the text that it prints.
    ///
    /// # Errors
    /// When it is not allowed, does not start, fails, takes too long or prints too much.
    pub async fn run(&self, program: &Program) -> Result<String, Diagnostic> {
        self.allow(program)?;
        let name = program.argv.first().map(String::as_str).unwrap_or_default();
        let failed = |why: &dyn std::fmt::Display| Diagnostic::error(format!("`{name}` {why}")).at(&program.origin);
        let output = self.output(&program.argv, &self.root).await.map_err(|error| match error {
            ProgramError::Start(_) => {
                let hint = "its path is relative to the project's folder, and it must be executable: chmod +x FILE";
                failed(&error).hint(hint)
            }
            error => failed(&error),
        })?;
        String::from_utf8(output).map_err(|_| failed(&"printed output that is not UTF-8"))
    }

    /// Runs an allowed program in a folder, and gives what it prints. Its standard input is empty and its environment is
    /// cleared. It and everything it started are ended when it has exited, takes too long, or nobody waits any more.
    ///
    /// # Errors
    /// When it does not start, fails, takes too long or prints too much.
    pub(super) async fn output(&self, argv: &[String], folder: &Path) -> Result<Vec<u8>, ProgramError> {
        let mut child = self.start(argv, folder).map_err(ProgramError::Start)?;
        let group = Group::of(&child);
        let (output, talk) = (child.stdout.take(), child.stderr.take());
        let talk = tokio::spawn(tail(talk));
        let work = async {
            let (output, ()) = tokio::join!(
                async {
                    let output = read(output, MOST + 1).await;
                    if output.as_ref().is_ok_and(|output| output.len() > MOST) {
                        group.end();
                    }
                    output
                },
                // What it leaves running would keep its output open.
                async {
                    group.exited().await;
                    group.end();
                }
            );
            (output, child.wait().await)
        };
        let ended = tokio::time::timeout(self.limit, work).await;
        group.end();
        let words = || async {
            let said = tokio::time::timeout(LAST_WORDS, talk).await;
            last_line(&said.ok().and_then(Result::ok).unwrap_or_default())
        };
        match ended {
            Err(_) => Err(ProgramError::TooLong(self.limit, words().await)),
            Ok((Ok(output), _)) if output.len() > MOST => Err(ProgramError::TooMuch),
            Ok((Ok(output), Ok(status))) if status.success() => Ok(output),
            Ok((Ok(_), Ok(status))) => Err(ProgramError::Failed(status, words().await)),
            Ok((Err(error), _) | (_, Err(error))) => Err(ProgramError::Read(error)),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "only programs that the project allows word by word come here")]
    fn start(&self, argv: &[String], folder: &Path) -> std::io::Result<Child> {
        let (name, arguments) = argv.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
        // A path begins at the folder, wherever armilla was started; a bare name is looked up in `PATH`.
        let path = if name.contains('/') { self.path(name, folder) } else { name.into() };
        let mut command = Command::new(path);
        command.args(arguments).current_dir(folder).env_clear();
        command.envs(PASSED_ON.iter().filter_map(|name| Some((name, self.variables.get(name)?))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true).spawn()
    }

    /// A path as written in settings or on a command line: `~/` is the home, a relative one begins at `base`.
    pub(super) fn path(&self, written: &str, base: &Path) -> PathBuf {
        match (written.strip_prefix("~/"), self.variables.get("HOME")) {
            (Some(rest), Some(home)) => Path::new(home).join(rest),
            _ => std::path::absolute(base.join(written)).unwrap_or_else(|_| base.join(written)),
        }
    }
}

/// A program and everything it started, as long as the program was not waited for. Whoever drops this ends them.
struct Group {
    leader: Option<Pid>,
    ended: AtomicBool,
}

impl Group {
    fn of(child: &Child) -> Self {
        Self { leader: child.id().map(|id| Pid::from_raw(id.cast_signed())), ended: AtomicBool::new(false) }
    }

    /// Waits until the program has exited. It stays a zombie, so that its number means nothing else yet.
    async fn exited(&self) {
        let Some(leader) = self.leader else { return };
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        blocking(move || while waitid(Id::Pid(leader), look) == Err(nix::errno::Errno::EINTR) {}).await;
    }

    /// Ends them, once: later the number may be that of others.
    fn end(&self) {
        if let Some(leader) = self.leader.filter(|_| !self.ended.swap(true, Ordering::Relaxed)) {
            let _ = killpg(leader, Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads until the end, or so many bytes.
async fn read(pipe: Option<impl AsyncRead + Unpin>, most: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(most as u64).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Reads until the end, and keeps the last bytes.
async fn tail(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let Some(mut pipe) = pipe else { return Vec::new() };
    let (mut kept, mut more) = (Vec::new(), vec![0; TALK]);
    while let Ok(count @ 1..) = pipe.read(&mut more).await {
        kept.extend_from_slice(&more[..count]);
        kept.drain(..kept.len().saturating_sub(TALK));
    }
    kept
}

fn shown(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit code {code}"))
}

fn last(line: Option<&String>) -> String {
    line.map(|line| format!(": {line}")).unwrap_or_default()
}

/// The last line that a program complained with.
fn last_line(talk: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(talk);
    let last = text.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(last.trim().chars().take(300).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn programs(limit: Duration) -> Programs {
        let programs = Programs::new("/".into(), ProjectSettings::default(), Variables::new(std::env::vars_os()));
        Programs { limit, ..programs }
    }

    async fn run(argv: &[&str], limit: Duration) -> Result<String, String> {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        let output = programs(limit).output(&argv, Path::new("/")).await;
        output.map(|output| String::from_utf8_lossy(&output).into_owned()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_program_gives_what_it_prints_or_the_reason_why_not() {
        let limit = Duration::from_secs(20);
        assert_eq!(run(&["pwd"], limit).await, Ok("/\n".to_owned()));
        assert_eq!(
            run(&["sh", "-c", "echo a; echo oh no >&2; exit 3"], limit).await,
            Err("failed with exit code 3: oh no".to_owned())
        );
        assert_eq!(
            run(&["head", "-c", "20000000", "/dev/zero"], limit).await,
            Err("printed more than 16 MiB and was stopped".to_owned())
        );
        let loud = "yes loud | head -c 200000 >&2; echo >&2; echo last >&2; exit 1";
        assert!(run(&["sh", "-c", loud], limit).await.expect_err("it fails").ends_with("last"));
        let started = run(&["./nobody/has/this"], limit).await.expect_err("not there");
        assert!(started.contains("cannot be started"), "{started}");
    }

    #[tokio::test]
    async fn what_a_program_leaves_running_is_ended_with_it() {
        let begun = Instant::now();
        let ended = run(&["sh", "-c", "sleep 60 & sleep 60"], Duration::from_secs(1)).await;
        assert_eq!(ended, Err("timed out after 1 s and was stopped".to_owned()));
        // It holds the output open, and nobody waits for it.
        assert_eq!(run(&["sh", "-c", "sleep 60 & echo a"], Duration::from_secs(40)).await, Ok("a\n".to_owned()));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[tokio::test]
    async fn a_program_sees_only_a_few_environment_variables() {
        let text = run(&["env"], Duration::from_secs(20)).await.expect("env prints");
        assert!(
            text.lines().all(|line| line.split('=').next().is_some_and(|name| PASSED_ON.contains(&name))),
            "{text}"
        );
    }
}
