//! Gates: health checks that must hold on this host before what needs them goes on.
//!
//! In: checks, and who asks a probe. Out: that they hold, or what does not, how long it was waited for, and what the host
//! knows of the units behind it. Never: another rule of what is healthy than [`crate::step::health`], by which plans go.

pub(super) mod units;
mod words;

use std::time::{Duration, Instant};

use super::http;
use super::program::{Programs, seconds};
use super::waiting::{Tell, Teller};
use super::{Failure, Result};
use crate::step::{
    Check, Expect, Gate, Health, Heard, HttpRequest, JsonQuery, Probe, Reading, Readings, Wait, WaitStep, health,
};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(500);

/// A question of which less time than this was left has used all that it was given.
const SLACK: Duration = Duration::from_millis(500);

/// Who asks a probe, in so much time at most.
pub(super) type Ask<'a> = dyn FnMut(&Probe, Duration) -> Reading + 'a;

/// [`crate::step::Step::Await`]: one check after the other. `tell` hears what is waited for.
pub(super) fn pass(programs: &Programs<'_>, gate: &Gate, ask: &mut Ask<'_>, tell: &mut Tell<'_>) -> Result {
    // What never will hold is not waited for.
    if let Some(why) = gate.checks.iter().find_map(|check| fault(programs, check)) {
        return Err(Failure::new(why));
    }
    gate.checks.iter().try_for_each(|check| {
        let ended = await_check(check, ask, &mut Teller::patient(tell))?;
        ended.map_or(Ok(()), |ended| Err(Failure::new(ended.explained(programs, check))))
    })
}

/// Why a check is not waited for any longer.
struct Ended {
    /// What does not hold, and how long it was waited for.
    why: String,
    /// The last answer.
    reading: Reading,
}

impl Ended {
    /// With the other stream of a program, and with what the host knows of the units.
    fn explained(self, programs: &Programs<'_>, check: &Check) -> String {
        let Self { why, reading } = self;
        std::iter::once(why)
            .chain(words::other_stream(&reading))
            .chain(units::told(programs, check))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// None if it holds.
///
/// # Errors
/// When nobody waits for it any more.
fn await_check(check: &Check, ask: &mut Ask<'_>, teller: &mut Teller<'_>) -> Result<Option<Ended>> {
    let (began, mut wait) = (Instant::now(), Wait::begin(Duration::ZERO));
    let mut failed = units::Failed::default();
    loop {
        let asked = began.elapsed();
        let left = Duration::from_secs(seconds(wait.left(check, asked)));
        let short = shortened(&check.probe, left);
        let reading = ask(short.as_ref().unwrap_or(&check.probe), left);
        let now = began.elapsed();
        let used_up = short.is_some() && now.saturating_sub(asked) + SLACK >= left;
        let trouble = trouble(check, &reading);
        let answer = match trouble.as_deref() {
            None => Heard::Holds,
            Some(why) if used_up => Heard::Late(why),
            Some(why) => Heard::Fails(why),
        };
        match wait.hear(check, now, answer) {
            WaitStep::Enough => return Ok(None),
            WaitStep::Over(why) => return Ok(Some(Ended { why, reading })),
            WaitStep::Again(left, why) => {
                let unit = trouble.and_then(|_| failed.for_good(check, (now, left), ask));
                if let Some(unit) = unit {
                    let why = format!("{unit} has failed for good, so it is not waited for any longer: {why}");
                    return Ok(Some(Ended { why, reading }));
                }
                teller.say(&why, &format!(" ({} s left)", left.as_secs()))?;
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// The same question with less time, where it would take more.
fn shortened(probe: &Probe, left: Duration) -> Option<Probe> {
    match probe {
        Probe::Command(command) if command.timeout > left => Some(Probe::Command(command.clone().within(left))),
        Probe::Port { address, port, timeout } if *timeout > left => {
            Some(Probe::Port { address: address.clone(), port: *port, timeout: left })
        }
        Probe::Http(request) if request.timeout > left => {
            Some(Probe::Http(HttpRequest { timeout: left, ..request.clone() }))
        }
        _ => None,
    }
}

/// What does not hold.
fn trouble(check: &Check, reading: &Reading) -> Option<String> {
    let readings: Readings = [(check.probe.clone(), reading.clone())].into_iter().collect();
    match health(std::slice::from_ref(check), &readings) {
        Health::Healthy => None,
        Health::Unhealthy(why) => Some(words::unhealthy(check, &readings, why)),
        // Perhaps it can be asked in a moment.
        Health::Unknown(why) => Some(why),
    }
}

/// Why a check can never hold on this host.
fn fault(programs: &Programs<'_>, check: &Check) -> Option<String> {
    match (&check.probe, &check.expect) {
        (Probe::Port { .. }, Expect::Open | Expect::Closed) => None,
        (Probe::Unit(_), Expect::Active) => {
            (!programs.has("systemctl")).then(|| "this host has no systemctl".to_owned())
        }
        (Probe::Command(command), Expect::Output(pattern)) => {
            command.fault().or_else(|| pattern.as_deref().and_then(no_pattern))
        }
        (Probe::Http(request), Expect::Answer(answer)) => {
            let mut patterns = answer.headers.values().chain(&answer.matches);
            let certificate = || answer.valid_for.is_some() && !programs.has("curl");
            let query = || answer.json.iter().find_map(JsonQuery::fault);
            http::fault(programs, request)
                .or_else(query)
                .or_else(|| patterns.find_map(|pattern| no_pattern(pattern)))
                .or_else(|| {
                    certificate()
                        .then(|| format!("telling when the certificate of {} ends needs curl on the host", request.url))
                })
        }
        (probe, expect) => Some(format!("{probe:?} never answers {expect:?}")),
    }
}

fn no_pattern(pattern: &str) -> Option<String> {
    regex::Regex::new(pattern).is_err().then(|| format!("not an extended regular expression: {pattern}"))
}

#[cfg(test)]
mod tests;
