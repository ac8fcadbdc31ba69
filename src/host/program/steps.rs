//! The steps that start programs.

use super::{Cause, Ended, Limits, Programs, seconds, undisturbed};
use crate::host::packages::wait_for;
use crate::host::waiting::Tell;
use crate::host::{Failure, Result};
use crate::step::{Alternative, Command, Outcome};

/// [`crate::step::Step::Run`]: waits for what it waits for, telling whom it waits for, and runs it.
pub(in crate::host) fn perform(programs: &Programs<'_>, command: &Command, tell: &mut Tell<'_>) -> Result {
    command.waits_for.as_ref().map_or(Ok(()), |other| wait_for(programs, other, tell))?;
    succeed(&start(programs, command)?, command)
}

/// [`crate::step::Step::RunUnless`]: runs a program where its guard fails. A guard that does not answer in time says nothing.
pub(in crate::host) fn perform_unless(programs: &Programs<'_>, command: &Command, guard: &Command) -> Result<Outcome> {
    let guarded = start(programs, guard)?;
    if guarded.cause != Cause::Itself {
        let (limit, said) = (seconds(guard.timeout), guarded.complaint());
        return Err(Failure::new(format!("the guard did not answer within {limit} s: {said}")));
    }
    if guarded.exit == 0 {
        return Ok(Outcome::NotNeeded);
    }
    succeed(&start(programs, command)?, command).map(|()| Outcome::Done)
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
