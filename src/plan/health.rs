//! Whether a service is healthy on a host, from what the host answered.
//!
//! In: a check and readings. Out: healthy, sick with the reason, or unknown. Never: unknown taken for sick.

use crate::step::{Check, CommandReading, Expect, PortReading, Probe, Reading, Readings};

/// How a service is on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// All checks hold.
    Healthy,
    /// One does not; which, and what was answered.
    Sick(String),
    /// One could not be asked.
    Unknown(String),
}

/// How a service with these checks is. Without checks it is healthy.
pub fn health(checks: &[Check], readings: &Readings) -> Health {
    let all = checks.iter().map(|check| one(check, readings));
    all.reduce(worse).unwrap_or(Health::Healthy)
}

fn worse(a: Health, b: Health) -> Health {
    match (a, b) {
        (Health::Healthy, other) => other,
        (Health::Unknown(_), sick @ Health::Sick(_)) => sick,
        (first, _) => first,
    }
}

fn one(check: &Check, readings: &Readings) -> Health {
    let Some(reading) = readings.get(&check.probe) else {
        return Health::Unknown("it was not asked".to_owned());
    };
    let problem = match (&check.expect, reading) {
        (_, Reading::Failed(why)) => return Health::Unknown(why.clone()),
        (Expect::Open, Reading::Port(port)) => closed(&check.probe, *port),
        (Expect::Active, Reading::Unit(unit)) => (unit.active != "active").then(|| format!("it is {}", unit.active)),
        (Expect::Output(pattern), Reading::Command(command)) => output(pattern.as_deref(), command),
        (Expect::Status(status, contains), Reading::Http(answer)) => match answer {
            Err(why) => Some(why.clone()),
            Ok(answer) if answer.status != *status => Some(format!("it answered {}", answer.status)),
            Ok(answer) => {
                let body = String::from_utf8_lossy(&answer.body);
                let missing = contains.as_ref().filter(|text| !body.contains(text.as_str()));
                missing.map(|text| format!("`{text}` is not in its answer"))
            }
        },
        _ => return Health::Unknown("it answered something else".to_owned()),
    };
    problem.map_or(Health::Healthy, Health::Sick)
}

fn closed(probe: &Probe, port: PortReading) -> Option<String> {
    let number = if let Probe::Port { port, .. } = probe { *port } else { 0 };
    (port == PortReading::Closed).then(|| format!("port {number} is closed"))
}

fn output(pattern: Option<&str>, command: &CommandReading) -> Option<String> {
    let stdout = String::from_utf8_lossy(&command.stdout);
    let stdout = stdout.trim();
    if command.exit != 0 {
        return Some(format!("it ended with code {}{}", command.exit, said(stdout)));
    }
    let pattern = pattern?;
    // The role was refused if this is no regular expression.
    let matches = regex::Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|regex| regex.is_match(stdout));
    (!matches).then(|| format!("it does not say {pattern}{}", said(stdout)))
}

fn said(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() { String::new() } else { format!(": {}", line.chars().take(80).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::step::Command;

    fn check(expect: Expect, probe: Probe) -> Check {
        Check { probe, expect, stable_for: Duration::ZERO, within: Duration::from_secs(1) }
    }

    #[test]
    fn unknown_is_not_sick() {
        let port = Probe::Port { address: "127.0.0.1".into(), port: 1 };
        let checks = [check(Expect::Open, port.clone())];
        let answer = |reading| [(port.clone(), reading)].into_iter().collect::<Readings>();
        assert_eq!(health(&checks, &answer(Reading::Port(PortReading::Open))), Health::Healthy);
        assert_eq!(
            health(&checks, &answer(Reading::Port(PortReading::Closed))),
            Health::Sick("port 1 is closed".into())
        );
        assert!(matches!(health(&checks, &answer(Reading::Failed("no".into()))), Health::Unknown(_)));
        assert!(matches!(health(&checks, &Readings::default()), Health::Unknown(_)));
        assert_eq!(health(&[], &Readings::default()), Health::Healthy);
    }

    #[test]
    fn the_whole_output_must_match() {
        let probe = Probe::Command(Command::new(["mode"]));
        let checks = [check(Expect::Output(Some("leader|follower".into())), probe.clone())];
        let said = |text: &str, exit| {
            let reading = CommandReading { exit, stdout: text.as_bytes().to_vec(), stderr: Vec::new() };
            health(&checks, &[(probe.clone(), Reading::Command(reading))].into_iter().collect())
        };
        assert_eq!(said("leader\n", 0), Health::Healthy);
        assert!(matches!(said("no leader", 0), Health::Sick(_)));
        assert!(matches!(said("leader", 1), Health::Sick(_)));
    }
}
