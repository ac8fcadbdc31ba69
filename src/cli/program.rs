//! Programs on this machine that settings name: allowed word by word, without a shell, and never for long.
//!
//! In: a program that was allowed. Out: what it printed, or what went wrong with the end of what it complained about.
//! Never: a program that was not allowed, an endless wait, or more output than fits.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::diag::Diagnostic;
use crate::settings::{Program, ProjectSettings};

/// How long a program may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The most a program may print.
const MOST: usize = 16 * 1024 * 1024;
/// What a program finds in its environment, if we have it. All else could hold a secret that is none of its business.
const ENVIRONMENT: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "TZ"];

/// Runs a program in the folder of the project, if the project allows it.
///
/// # Errors
/// When it is not allowed, does not start, fails, takes too long or prints too much.
pub(super) fn run(root: &Path, program: &Program, settings: &ProjectSettings) -> Result<String, Diagnostic> {
    settings.allow(program)?;
    run_within(root, program, LIMIT)
}

fn run_within(root: &Path, program: &Program, limit: Duration) -> Result<String, Diagnostic> {
    let name = program.argv.first().map(String::as_str).unwrap_or_default();
    let failed = |why: String| Diagnostic::error(format!("`{name}` {why}")).at(&program.origin);
    let mut child = spawn(root, &program.argv).map_err(|why| {
        let hint = "its path is relative to the project's folder, and it must be executable: chmod +x FILE";
        failed(format!("cannot be started: {why}")).hint(hint)
    })?;
    let output = drain(child.stdout.take(), MOST);
    let talk = drain(child.stderr.take(), MOST);
    let deadline = Instant::now() + limit;
    let output = output.recv_timeout(limit);
    if !matches!(output, Ok(Some(_))) {
        end(&child);
    }
    let ended = wait(&mut child, deadline);
    let said = talk.recv_timeout(Duration::from_secs(1)).ok().flatten().unwrap_or_default();
    match (output, ended) {
        (Ok(None), _) => Err(failed(format!("printed more than {} MiB and was ended", MOST / 1024 / 1024))),
        (Err(RecvTimeoutError::Timeout), _) | (_, None) => {
            Err(failed(format!("took longer than {} s and was ended{}", limit.as_secs(), last_words(&said))))
        }
        (_, Some(status)) if !status.success() => {
            Err(failed(format!("failed with {}{}", shown(status), last_words(&said))))
        }
        (Ok(Some(output)), _) => String::from_utf8(output).map_err(|_| failed("printed what is no UTF-8".to_owned())),
        (Err(RecvTimeoutError::Disconnected), _) => Err(failed("printed what cannot be read".to_owned())),
    }
}

#[expect(clippy::disallowed_methods, reason = "only programs that the project allows word by word come here")]
fn spawn(root: &Path, argv: &[String]) -> std::io::Result<Child> {
    let (name, arguments) = argv.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    // A path is one below the project, wherever armilla was started; a bare name is looked for in `PATH`.
    let mut command = if name.contains('/') { Command::new(root.join(name)) } else { Command::new(name) };
    command.args(arguments).current_dir(root).env_clear();
    command.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command.spawn()
}

/// Reads everything on a thread of its own; nothing if it is too much.
fn drain(pipe: Option<impl Read + Send + 'static>, most: usize) -> Receiver<Option<Vec<u8>>> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        let read = pipe.map(|pipe| pipe.take(most + 1).read_to_end(&mut bytes));
        let whole = !matches!(read, Some(Ok(count)) if u64::try_from(count).is_ok_and(|count| count > most));
        // Nobody listens any more if it took too long.
        let _ = tell.send(whole.then_some(bytes));
    });
    told
}

/// Waits until then, and ends what still runs, with everything it started.
fn wait(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                end(child);
                let _ = child.wait();
                return None;
            }
        }
    }
}

/// Ends a program that was not waited for yet, and everything it started.
fn end(child: &Child) {
    let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
}

fn shown(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit code {code}"))
}

/// The last line a program complained with.
fn last_words(talk: &[u8]) -> String {
    let text = String::from_utf8_lossy(talk);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.map(|line| format!(": {}", line.trim().chars().take(300).collect::<String>())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::{Origin, Source};

    fn told(argv: &[&str], limit: Duration) -> Result<String, String> {
        let origin = Origin::start(&Source::new("environment.yml", ""));
        let program = Program { argv: argv.iter().map(|word| (*word).to_owned()).collect(), origin };
        run_within(Path::new("/"), &program, limit).map_err(|problem| problem.what)
    }

    #[test]
    fn a_program_answers_or_it_is_said_why_not() {
        let limit = Duration::from_secs(20);
        assert_eq!(told(&["pwd"], limit), Ok("/\n".to_owned()));
        assert_eq!(
            told(&["sh", "-c", "echo a; echo oh no >&2; exit 3"], limit),
            Err("`sh` failed with exit code 3: oh no".to_owned())
        );
        assert_eq!(
            told(&["head", "-c", "20000000", "/dev/zero"], limit),
            Err("`head` printed more than 16 MiB and was ended".to_owned())
        );
        assert_eq!(told(&["printf", "\\377"], limit), Err("`printf` printed what is no UTF-8".to_owned()));
        let started = told(&["./nobody/has/this"], limit).expect_err("not there");
        assert!(started.contains("cannot be started"), "{started}");
    }

    #[test]
    fn a_program_that_waits_is_ended_with_its_children() {
        let begun = Instant::now();
        let ended = told(&["sh", "-c", "sleep 60 & sleep 60"], Duration::from_secs(1));
        assert_eq!(ended, Err("`sh` took longer than 1 s and was ended".to_owned()));
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn nothing_but_the_needed_is_in_its_environment() {
        let text = told(&["env"], Duration::from_secs(20)).expect("env prints");
        assert!(
            text.lines().all(|line| line.split('=').next().is_some_and(|name| ENVIRONMENT.contains(&name))),
            "{text}"
        );
    }
}
