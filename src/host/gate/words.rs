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

/// The most lines that are said of the standard error beside the answer.
const LINES: usize = 10;

/// What a program complained, where only its answer was said of it. It is said at the end and not while it is waited for:
/// a complaint with the time in it would be news each time.
pub(super) fn other_stream(reading: &Reading) -> Option<String> {
    let Reading::Command(answer) = reading else { return None };
    let said = answer.exit == 0 || !text(&answer.stdout).is_empty();
    let complaint = Some(text(&answer.stderr)).filter(|text| said && !text.is_empty())?;
    Some(format!("standard error: {}", last_lines(&complaint, LINES)))
}

/// The last lines of a text.
pub(super) fn last_lines(text: &str, most: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(most)..].join("\n")
}

/// The end of what a program wrote.
fn text(bytes: &[u8]) -> String {
    let end = &bytes[bytes.len().saturating_sub(MOST)..];
    String::from_utf8_lossy(end).replace('\0', "").trim().to_owned()
}

fn of_program(answer: &CommandReading, limit: u64) -> String {
    let said = text(&answer.stdout);
    match answer.exit {
        124 => format!("no answer within {limit} s"),
        0 => format!("the answer is: {said}"),
        code if said.is_empty() => format!("exit code {code}: {}", text(&answer.stderr)),
        code => format!("exit code {code}: {said}"),
    }
}
