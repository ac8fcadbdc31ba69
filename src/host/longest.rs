//! How long steps may take at most: who waits for a host must wait longer.

use std::time::Duration;

use super::gate;
use crate::step::{Alternative, Command, Packed, Retry, Step, WaitsFor};

/// Packages of some size go slowly, and another program may have to finish first.
const REMOVING: Duration = Duration::from_secs(30 * 60);

/// How long a package manager may take to say what would go.
const LOOKING: Duration = Duration::from_secs(120);

/// A rollback installs packages again.
const UNDOING: Duration = Duration::from_secs(2 * 3600);

/// Ending a program that does not want to end.
const MERCY: Duration = Duration::from_secs(10);

/// How long a program may take with all its tries and what it waits for.
fn performed(command: &Command) -> Duration {
    let Retry { times, delay } = command.retry.unwrap_or_default();
    let again = (command.timeout + MERCY).saturating_add(delay).saturating_mul(times);
    let waits = command.waits_for.as_ref().map_or(Duration::ZERO, longest_wait);
    (command.timeout + MERCY + waits).saturating_add(again)
}

/// How long steps may take at most, if each uses all the time it is given.
pub fn longest(steps: &[Step]) -> Duration {
    /// For a step that has no limit of its own, such as a file on a slow disk.
    const PLAIN: Duration = Duration::from_secs(120);
    /// For many small files on a slow disk, written and flushed.
    const UNPACKING: Duration = Duration::from_secs(30 * 60);
    let one = |step: &Step| match step {
        Step::Run(command) => performed(command),
        Step::RunUnless(command, guard) => performed(command) + guard.timeout + MERCY,
        Step::RunOr(command, alternatives) => {
            programs(command, alternatives).map(|command| command.timeout + MERCY).sum()
        }
        Step::Send(sending) => {
            let both = [Some(&sending.request), sending.unless.as_ref()];
            both.into_iter().flatten().map(|request| request.longest() + MERCY).sum()
        }
        Step::RefreshPackages => Duration::from_secs(300 + 90 + 600) + MERCY + longest_wait(&WaitsFor::Dpkg),
        Step::RemovePackages(_) => REMOVING + LOOKING + MERCY + MERCY + longest_wait(&WaitsFor::Dpkg),
        Step::Download { remote, .. } => remote.timeout + MERCY,
        Step::Unpack(unpacking) => UNPACKING + fetching(&unpacking.source) + sending(step),
        Step::SendFile { .. } => PLAIN + sending(step),
        Step::Await(gate) => {
            let waits: Duration = gate.checks.iter().map(|check| check.hard_end() + MERCY + MERCY).sum();
            // The first check that does not hold ends it.
            waits + gate::units::LONGEST
        }
        Step::RemoveUnpacked { .. } | Step::Snapshot(_) => UNPACKING,
        Step::Undo { .. } | Step::GiveUp { .. } => UNDOING,
        _ => PLAIN,
    };
    steps.iter().map(one).sum::<Duration>() + PLAIN
}

/// How long a large file may be on its way.
fn sending(step: &Step) -> Duration {
    /// Bytes in a second, over a slow connection that many hosts share.
    const SLOW: u64 = 128 << 10;
    step.large_file().map_or(Duration::ZERO, |file| Duration::from_secs(file.size / SLOW))
}

/// How long what is unpacked may take to come.
fn fetching(source: &Packed) -> Duration {
    match source {
        Packed::Remote(remote) => remote.timeout,
        Packed::Files(files) => files.iter().map(|file| file.remote.timeout).max().unwrap_or_default(),
        Packed::Content(_) | Packed::Large(_) => Duration::ZERO,
    }
}

/// How long a program waits for others at most.
fn longest_wait(other: &WaitsFor) -> Duration {
    match other {
        WaitsFor::Dpkg => Duration::from_secs(310),
        WaitsFor::ProcessesOf(_) => Duration::from_secs(40),
    }
}

/// A program and what may be run in its place.
fn programs<'a>(command: &'a Command, alternatives: &'a [Alternative]) -> impl Iterator<Item = &'a Command> {
    std::iter::once(command).chain(alternatives.iter().map(|alternative| &alternative.command))
}
