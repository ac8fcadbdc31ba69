//! What a gate says of an answer that is not healthy: a plan names the check beside it, a gate has to say which it was.

use crate::step::{Check, CommandReading, PortReading, Probe, Reading, Readings};

use super::seconds;

/// The most that is said of what a program answered, in bytes.
const MOST: usize = 16 << 10;

/// `why` is what [`crate::step::health`] says of it.
pub(super) fn unhealthy(check: &Check, readings: &Readings, why: String) -> String {
    match (&check.probe, readings.get(&check.probe)) {
        (Probe::Port { address, port, .. }, Some(Reading::Port(PortReading::Closed))) => {
            format!("{address} port {port} does not accept connections")
        }
        (Probe::Port { address, port, .. }, _) => format!("{address} port {port} accepts connections"),
        (Probe::Unit(unit), _) => of(unit, &why),
        (Probe::Command(command), Some(Reading::Command(answer))) => of_program(answer, seconds(command.timeout)),
        (Probe::Http(request), _) if why == "no answer in time" => {
            format!("{}: no answer within {} s", request.url, seconds(request.timeout))
        }
        (Probe::Http(request), _) => of(&request.url, &why),
        _ => why,
    }
}

/// `it is failed` is `app.service is failed` then.
fn of(subject: &str, why: &str) -> String {
    why.strip_prefix("it ").map_or_else(|| format!("{subject}: {why}"), |rest| format!("{subject} {rest}"))
}

fn of_program(answer: &CommandReading, limit: u64) -> String {
    let text = |bytes: &[u8]| {
        let end = &bytes[bytes.len().saturating_sub(MOST)..];
        String::from_utf8_lossy(end).replace('\0', "").trim().to_owned()
    };
    let said = text(&answer.stdout);
    match answer.exit {
        124 => format!("no answer within {limit} s"),
        0 => format!("the answer is: {said}"),
        code if said.is_empty() => format!("exit code {code}: {}", text(&answer.stderr)),
        code => format!("exit code {code}: {said}"),
    }
}
