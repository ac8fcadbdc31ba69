//! The host program: requests come in on standard input, answers go out on standard output.
//!
//! In: calls, one after the other, each after a line with its length, which is for the shell that starts this program. Out:
//! answers. Never: anything for a person; nothing runs once nobody listens.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read, Stdin, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use nix::sys::signal::{SigSet, Signal};

use super::keep::{Keep, Uptime, lock};
use super::machine::Machine;
use super::order::Line;
use super::program::{Heard, Limits, become_and_exec};
use super::timer::{self, Firing};
use super::undo::Means;
use super::wire::{Answer, Call, Refusal, Request, receive, send};
use super::{Failure, Result, lodging, order, undo};
use crate::crash;
use crate::lease;
use crate::name::HostName;
use crate::step::Command;

/// The exit code for wrong arguments.
const USAGE: u8 = 2;

/// `armilla-host serve` answers requests. `exec` and `fire` are what it starts itself with: to become another program, and
/// at the end of a rollback timer. By the name `restore` it rolls back what is kept in its directory.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let program = PathBuf::from(arguments.next().unwrap_or_default());
    let verb = arguments.next().unwrap_or_default();
    match verb.to_str() {
        // It starts itself by that name, too, and then with arguments.
        Some("") if program.file_name().is_some_and(|name| name == undo::BY_HAND) => by_hand(&program),
        Some("serve") => serve(),
        Some("exec") => {
            let failure = become_and_exec(arguments);
            let _ = writeln!(io::stderr(), "{}", failure.why);
            ExitCode::from(u8::try_from(failure.exit).unwrap_or(1))
        }
        Some("fire") => arguments.next().map_or(ExitCode::from(USAGE), |directory| fire(Path::new(&directory))),
        Some("--version") => {
            let _ = writeln!(io::stdout(), "armilla-host {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => {
            let _ = writeln!(io::stderr(), "armilla starts this program on its hosts; there is nothing to do by hand");
            ExitCode::from(USAGE)
        }
    }
}

/// The path of this program, by which it starts itself. It may be replaced meanwhile, and is the same file still.
fn own_path() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"))
}

fn serve() -> ExitCode {
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    // A file beyond the limit of sizes (`ulimit -f`) is an error of the write, not the end of this program. Programs that are
    // started get the signal as always.
    let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
    let machine = Arc::new(Machine::new(own_path()));
    lodging::tidy(machine.path());
    // No more is read than belongs to a call: programs that are started could want none of it.
    let mut input = BufReader::new(io::stdin());
    loop {
        match next(&mut input) {
            Ok(Some(call)) => {
                if answer(&machine, &call, &mut input).is_err() {
                    return ExitCode::FAILURE;
                }
            }
            Ok(None) => return ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(io::stderr(), "armilla-host: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
}

/// The next call; none when nobody has any more.
fn next(input: &mut BufReader<Stdin>) -> io::Result<Option<Call>> {
    /// More digits than a length has.
    const DIGITS: u64 = 20;
    let mut line = Vec::new();
    input.take(DIGITS).read_until(b'\n', &mut line)?;
    match line.as_slice() {
        [] => Ok(None),
        [digits @ .., b'\n'] if digits.iter().all(u8::is_ascii_digit) => {
            receive(input)?.map(Some).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a call begins with a line that says its length")),
    }
}

fn answer(machine: &Arc<Machine>, call: &Call, input: &mut BufReader<Stdin>) -> io::Result<()> {
    let mut output = io::stdout().lock();
    let mut say = |answer: Answer| send(&mut output, &answer);
    for request in &call.requests {
        if !carry_out(machine, &call.host, request, Line { say: &mut say, input })? {
            break;
        }
    }
    say(Answer::Over)
}

/// One request. Gives whether the next one may follow.
fn carry_out(machine: &Arc<Machine>, host: &HostName, request: &Request, line: Line<'_>) -> io::Result<bool> {
    let Line { say, input } = line;
    match request {
        Request::Read { probes, budget } => {
            let readings = machine.read(probes, *budget);
            for (number, probe) in (0..).zip(probes) {
                if let Some(reading) = readings.get(probe) {
                    say(Answer::Reading(number, reading.clone()))?;
                }
            }
        }
        Request::Perform { steps, ticket, crash_at } => {
            crash::arm_host(*crash_at);
            return order::carry_out(machine, host, (steps, ticket.as_ref()), Line { say, input });
        }
        Request::Lease(request) => say(lease(machine, host, request))?,
        Request::Run(command) => run(machine, command, say)?,
    }
    Ok(true)
}

fn lease(machine: &Machine, host: &HostName, request: &lease::Request) -> Answer {
    let home = |name: &str| machine.home(name);
    let Some(place) = &machine.place else {
        return Answer::Refused(Refusal::Unable("this user has no home directory".to_owned()));
    };
    let keep = Keep { place, host, uptime: &Uptime::now, home: &home };
    match lock::lease(keep, request) {
        Ok(told) => Answer::Lease(told),
        Err(failure) => Answer::Refused(Refusal::Unable(failure.why)),
    }
}

/// Runs one program, and passes on what it says. When nobody listens any more, it ends, and all that it started.
fn run(machine: &Arc<Machine>, command: &Command, say: &mut order::Say<'_>) -> io::Result<()> {
    let person = |name: &str| machine.person(name);
    let mut gone = None;
    let ended = machine.programs(&person).run(command, &Limits::passing(command), &mut |heard| {
        let said = match heard {
            Heard::Stdout(bytes) => say(Answer::Out(bytes.to_vec())),
            Heard::Stderr(bytes) => say(Answer::Err(bytes.to_vec())),
            Heard::Beat => order::is_heard(),
        };
        match said {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                gone = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    if let Some(error) = gone {
        return Err(error);
    }
    let exit = match ended {
        Ok(ended) => ended.exit,
        Err(Failure { exit, why }) => {
            say(Answer::Err(format!("{why}\n").into_bytes()))?;
            exit
        }
    };
    say(Answer::Exited(exit))
}

/// The end of the time of a rollback timer.
fn fire(directory: &Path) -> ExitCode {
    roll_back(|means| {
        let firing = Firing { means, uptime: &Uptime::now, system: timer::SYSTEM };
        timer::fire(firing, directory, None)
    })
}

/// Somebody started what lies beside what was kept.
fn by_hand(program: &Path) -> ExitCode {
    let directory = match program.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    };
    crash::arm_host(crash::host_point());
    roll_back(|means| undo::by_hand(directory, means))
}

/// Rolls something back without armilla, and says why where it cannot.
fn roll_back(work: impl FnOnce(Means<'_>) -> Result) -> ExitCode {
    let machine = Machine::new(own_path());
    let (home, run) = (|name: &str| machine.home(name), |command: &Command| machine.run(command));
    let uid = rustix::process::geteuid().as_raw();
    match work(Means { uid, home: &home, run: &run, program: None }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "{}", failure.why);
            ExitCode::FAILURE
        }
    }
}
