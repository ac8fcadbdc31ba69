//! The steps that start programs.

use std::time::{Duration, Instant};

use super::{Cause, Ended, Limits, Programs, seconds, undisturbed};
use crate::host::packages::wait_for;
use crate::host::waiting::Tell;
use crate::host::{Failure, Result};
use crate::step::{Alternative, Command, Outcome, Retry};

/// [`crate::step::Step::Run`]: waits for what it waits for, telling whom it waits for, and runs it, again where it fails and
/// may be tried again.
pub(in crate::host) fn perform(programs: &Programs<'_>, command: &Command, tell: &mut Tell<'_>) -> Result {
    command.waits_for.as_ref().map_or(Ok(()), |other| wait_for(programs, other, tell))?;
    let Retry { times, delay } = command.retry.unwrap_or_default();
    let tries = times.saturating_add(1);
    for tried in 1..tries {
        let Err(failure) = succeed(&start(programs, command)?, command) else { return Ok(()) };
        let last = failure.why.lines().last().unwrap_or_default();
        let told = format!("try {tried} of {tries} failed with exit code {}: {last}", failure.exit);
        pause(delay, &told.chars().take(LINE).collect::<String>(), tell)?;
    }
    succeed(&start(programs, command)?, command).map_err(|failure| match times {
        0 => failure,
        _ => Failure { why: format!("{}\nit was tried {tries} times", failure.why).trim_start().to_owned(), ..failure },
    })
}

/// The most that is told of a try that failed, in characters.
const LINE: usize = 300;

/// Waits, as long as somebody listens.
fn pause(delay: Duration, words: &str, tell: &mut Tell<'_>) -> Result {
    let end = Instant::now() + delay;
    let mut words = words;
    loop {
        if !tell(std::mem::take(&mut words)) {
            return Err(Failure::new("nobody waits for it any more"));
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(500)));
    }
}

/// [`crate::step::Step::RunUnless`]: performs a program where its guard fails. A guard that does not answer in time says
/// nothing.
pub(in crate::host) fn perform_unless(
    programs: &Programs<'_>,
    (command, guard): (&Command, &Command),
    tell: &mut Tell<'_>,
) -> Result<Outcome> {
    let guarded = start(programs, guard)?;
    if guarded.cause != Cause::Itself {
        let (limit, said) = (seconds(guard.timeout), guarded.complaint());
        return Err(Failure::new(format!("the guard did not answer within {limit} s: {said}")));
    }
    if guarded.exit == 0 {
        return Ok(Outcome::NotNeeded);
    }
    perform(programs, command, tell).map(|()| Outcome::Done)
}

/// [`crate::step::Step::RunOr`]: runs a program, and where it ends with the exit code of the first alternative, that, and so
/// on.
pub(in crate::host) fn perform_or(programs: &Programs<'_>, command: &Command, alternatives: &[Alternative]) -> Result {
    let mut command = command;
    let mut ended = start(programs, command)?;
    for next in alternatives {
        if ended.exit != next.after {
            break;
        }
        command = &next.command;
        ended = start(programs, command)?;
    }
    succeed(&ended, command)
}

fn start(programs: &Programs<'_>, command: &Command) -> Result<Ended> {
    programs.run(command, &Limits::step(command), &mut undisturbed)
}

/// Any other exit code than 0 is a failure, with what the program complained last.
fn succeed(ended: &Ended, command: &Command) -> Result {
    if ended.exit == 0 {
        return Ok(());
    }
    let mut why = ended.complaint();
    if ended.cause == Cause::Overdue {
        let late = format!("it took longer than {} s and was ended", seconds(command.timeout));
        why = if why.is_empty() { late } else { format!("{why}\n{late}") };
    }
    Err(Failure { exit: ended.exit, why })
}
