//! `armilla exec ENV -l PATTERN -- PROGRAM ARGUMENT...`: one program on hosts, outside of any plan.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::screen::Telling;
use super::{Connection, Exit, Failure, Global, Selection, hosts, load, patience, ui};
use crate::diag::Diagnostic;
use crate::exec::{self, Ended, Heard, Hearer, NoEnd, Stream};
use crate::name::HostName;
use crate::operation::explained;
use crate::report::human::exec as human;
use crate::report::human::words;
use crate::secret::Content;
use crate::step::Command;
use crate::workspace::Environment;

/// Runs a program on the hosts of -l, or on all hosts of the environment, in / with a plain PATH, without a shell or a terminal.
/// It ends when armilla ends.
#[derive(Debug, clap::Args)]
pub(super) struct Exec {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    shape: Shape,
    /// File to pass to its standard input
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,
    /// Working directory on the host
    #[arg(long, value_name = "DIR", default_value = "/")]
    chdir: String,
    /// Time limit on each host: 90s, 10m, 2h
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = patience::limit)]
    timeout: Duration,
    /// The program and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    argv: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

/// How what hosts say is shown.
#[derive(Debug, Clone, Copy, clap::Args)]
struct Shape {
    /// Run the program as a script with /bin/sh on each host
    #[arg(long)]
    shell: bool,
    /// Show output when all hosts have finished, grouped by equal output
    #[arg(long)]
    grouped: bool,
    /// Print each output line, each result and the summary as a line of JSON
    #[arg(long, conflicts_with = "grouped")]
    json: bool,
}

/// The largest file for --stdin, in bytes: it travels with the request.
const LARGEST_INPUT: u64 = 4 << 20;

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Exec) -> Result<Exit, Failure> {
    let program = program(command)?;
    let loaded = load::load(global, &command.selection, &command.connection).await?;
    let machines = loaded.machines()?;
    if machines.is_empty() {
        return Err(Diagnostic::error(format!("{} has no hosts", loaded.name)).into());
    }
    let names: Vec<HostName> = machines.iter().map(|host| host.name.clone()).collect();
    announce(&loaded, &names);
    let shown = Arc::new(Shown::new(command.shape, names.clone()));
    let tell = Arc::clone(&shown);
    let hearer = Hearer { tell: Arc::new(move |heard| tell.heard(heard)), explain: explained };
    hosts::contact(global, &command.connection, Telling::default(), async |contact| {
        let session = &contact.session;
        let work = exec::everywhere(session.transport(), machines, &program, session.options().forks, hearer);
        Ok(contact.until_stopped(work).await.map_or_else(
            |_| {
                ui::say("interrupted: the hosts stop their programs within a few seconds");
                contact.signal().unwrap_or(Exit::Interrupted)
            },
            |ended| shown.end(ended),
        ))
    })
    .await
}

/// What is to be run, checked before any host is asked.
fn program(command: &Exec) -> Result<Command, Diagnostic> {
    let argv = match (command.shape.shell, command.argv.as_slice()) {
        (false, words) => words.to_vec(),
        (true, [text]) => ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
        (true, _) => {
            let problem = Diagnostic::error("--shell takes the whole program as one argument");
            return Err(problem.hint("quote it: armilla exec ENV --shell -- 'df -h / | tail -1'"));
        }
    };
    let stdin = command.stdin.as_deref().map_or_else(|| Ok(Content::from("")), input)?;
    let directory = Some(command.chdir.clone());
    let program = Command { stdin, directory, ..Command::new(argv).within(command.timeout) };
    program.fault().map_or(Ok(program), |why| Err(Diagnostic::error(why)))
}

fn input(file: &std::path::Path) -> Result<Content, Diagnostic> {
    let wrong = |why: String| Diagnostic::error(format!("--stdin {}: {why}", file.display()));
    let size = std::fs::metadata(file).map_err(|error| wrong(error.to_string()))?.len();
    if size > LARGEST_INPUT {
        let problem = wrong(format!("it is larger than {} MiB", LARGEST_INPUT >> 20));
        return Err(problem.hint("copy it with a `file` resource or scp"));
    }
    let bytes = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    // It may be anything, so it is handled like the most delicate.
    Ok(Content::Secret(crate::secret::Secret::new(bytes)))
}

fn announce(loaded: &Environment, hosts: &[HostName]) {
    super::environment::banner(loaded);
    let kind = if loaded.rehearsal.is_some() { " (rehearsal on lab hosts)" } else { "" };
    ui::say(&format!("{}{kind}: {}: {}", loaded.name, words::count(hosts.len(), "host"), words::hosts(hosts)));
}

/// What is shown while hosts speak.
struct Shown {
    shape: Shape,
    /// In the order of the inventory.
    hosts: Vec<HostName>,
    column: Option<usize>,
    /// What was said, for what is shown at the end.
    kept: Mutex<BTreeMap<HostName, human::Lines>>,
}

impl Shown {
    fn new(shape: Shape, hosts: Vec<HostName>) -> Self {
        let longest = hosts.iter().map(|host| host.as_str().chars().count()).max();
        let column = longest.filter(|_| hosts.len() > 1);
        Self { shape, hosts, column, kept: Mutex::default() }
    }

    fn heard(&self, heard: Heard) {
        match heard {
            Heard::Line { host, stream, bytes } if self.shape.grouped => {
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.entry(host).or_default().push((stream, bytes));
            }
            Heard::Line { host, stream, bytes } => self.line(&host, stream, &bytes),
            Heard::Ended(ended) if self.shape.json => ui::json(&end(&ended)),
            Heard::Ended(_) => {}
        }
    }

    fn line(&self, host: &HostName, stream: Stream, bytes: &[u8]) {
        if self.shape.json {
            let word = if stream == Stream::Out { "stdout" } else { "stderr" };
            let line = json!({ "event": "line", "host": host, "stream": word, "text": String::from_utf8_lossy(bytes) });
            ui::json(&line);
        } else if self.column.is_none() && !ui::is_terminal(stream) {
            ui::bytes(stream, bytes);
        } else {
            ui::passed_on(stream, &human::line(host, self.column, stream, bytes));
        }
    }

    fn end(&self, mut ended: Vec<Ended>) -> Exit {
        ended.sort_by_key(|ended| self.hosts.iter().position(|host| *host == ended.host));
        let sum = human::Sum::of(&ended);
        if self.shape.json {
            ui::json(&json!({ "event": "summary", "ok": sum.ok, "failed": sum.failed,
                    "not_started": sum.not_started, "unreachable": sum.unreachable }));
        } else {
            if self.shape.grouped {
                self.groups(&ended);
            }
            ui::say(&human::summary(&ended));
        }
        match () {
            () if sum.not_started == ended.len() => Exit::Error,
            () if sum.failed + sum.not_started > 0 => Exit::Failed,
            () if sum.unreachable > 0 => Exit::Unreachable,
            () => Exit::Success,
        }
    }

    fn groups(&self, ended: &[Ended]) {
        let mut kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        let said: Vec<human::HostOutput> =
            ended.iter().map(|ended| (ended.clone(), kept.remove(&ended.host).unwrap_or_default())).collect();
        ui::result(&human::grouped(&said));
    }
}

fn end(ended: &Ended) -> serde_json::Value {
    let (code, error) = (ended.how.as_ref().ok(), ended.how.as_ref().err().map(NoEnd::why));
    json!({ "event": "end", "host": ended.host, "exit": code, "error": error, "seconds": ended.took.as_secs_f64() })
}
