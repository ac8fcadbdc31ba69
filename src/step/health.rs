//! Whether a service is healthy on a host, from what the host answered. What could not be asked is unknown, never unhealthy.

use serde_json::Value;

use super::{
    Check, CommandReading, Expect, HttpReading, JsonQuery, PortReading, Probe, Reading, Readings, UnitReading,
    WebAnswer,
};
use crate::secret::{Secret, masked};

/// How a service is on a host.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Health {
    /// All checks hold.
    Healthy,
    /// One does not; which, and what was answered.
    #[serde(alias = "sick")]
    Unhealthy(String),
    /// One could not be asked.
    Unknown(String),
}

/// A health check that a member of a service does not pass, and what it answered.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedCheck {
    /// The check.
    pub check: Check,
    /// [`Health::Unhealthy`], or [`Health::Unknown`] where it could not be asked.
    pub health: Health,
}

impl Health {
    /// What was answered, or why nothing was; none of what is healthy.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Healthy => None,
            Self::Unhealthy(why) | Self::Unknown(why) => Some(why),
        }
    }
}

impl FailedCheck {
    /// What was answered, or why nothing was.
    pub fn why(&self) -> &str {
        self.health.why().unwrap_or_default()
    }
}

/// The checks that do not hold. What a host answered may hold secrets, which are masked.
pub fn failed(checks: &[Check], readings: &Readings, secrets: &[Secret<String>]) -> Vec<FailedCheck> {
    let failed = |check: &Check| {
        let health = match one(check, readings) {
            Health::Healthy => return None,
            Health::Unhealthy(why) => Health::Unhealthy(masked(&why, secrets)),
            Health::Unknown(why) => Health::Unknown(masked(&why, secrets)),
        };
        Some(FailedCheck { check: check.clone(), health })
    };
    checks.iter().filter_map(failed).collect()
}

/// How a service with these checks is. Without checks it is healthy.
pub fn health(checks: &[Check], readings: &Readings) -> Health {
    let all = checks.iter().map(|check| one(check, readings));
    all.reduce(worse).unwrap_or(Health::Healthy)
}

fn worse(a: Health, b: Health) -> Health {
    match (a, b) {
        (Health::Healthy, other) => other,
        (Health::Unknown(_), unhealthy @ Health::Unhealthy(_)) => unhealthy,
        (first, _) => first,
    }
}

fn one(check: &Check, readings: &Readings) -> Health {
    let Some(reading) = readings.get(&check.probe) else {
        return Health::Unknown("it was not checked".to_owned());
    };
    let problem = match (&check.expect, reading) {
        (_, Reading::Failed(why)) => return Health::Unknown(why.clone()),
        (Expect::Open, Reading::Port(PortReading::Closed)) => Some(format!("{} is closed", port(&check.probe))),
        (Expect::Closed, Reading::Port(PortReading::Open)) => Some(format!("{} is open", port(&check.probe))),
        (Expect::Open | Expect::Closed, Reading::Port(_)) => None,
        (Expect::Active, Reading::Unit(unit)) => inactive(unit),
        (Expect::Output(pattern), Reading::Command(command)) => output(pattern.as_deref(), command),
        (Expect::Answer(wanted), Reading::Http(answer)) => match answer {
            Err(why) => Some(why.clone()),
            Ok(_) if unsaid(wanted, reading) => return Health::Unknown(UNSAID.to_owned()),
            Ok(answer) => wrong(wanted, answer),
        },
        _ => return Health::Unknown("it gave another answer".to_owned()),
    };
    problem.map_or(Health::Healthy, Health::Unhealthy)
}

/// Why a unit does not count as active, if it does not.
fn inactive(unit: &UnitReading) -> Option<String> {
    match unit.active.as_str() {
        // The same in all its states, which would be news to whoever waits for it.
        _ if unit.is_restarting() => Some("it fails, and systemd keeps restarting it".to_owned()),
        "active" => None,
        other => Some(format!("it is {other}")),
    }
}

fn port(probe: &Probe) -> String {
    if let Probe::Port { port, .. } = probe { format!("port {port}") } else { "the port".to_owned() }
}

/// What a host without a curl that can tell says.
const UNSAID: &str = "the host cannot tell when the certificate expires: that needs curl with OpenSSL or GnuTLS";

fn unsaid(wanted: &WebAnswer, reading: &Reading) -> bool {
    wanted.valid_for.is_some() && matches!(reading, Reading::Http(Ok(answer)) if answer.certificate.is_none())
}

/// What is wrong with the answer of a web server, if anything.
fn wrong(wanted: &WebAnswer, answer: &HttpReading) -> Option<String> {
    if !wanted.status.iter().any(|statuses| statuses.contain(answer.status)) {
        return Some(format!("it answered {}", answer.status));
    }
    if let Some(problem) = wanted.headers.iter().find_map(|(name, pattern)| wrong_header(name, pattern, answer)) {
        return Some(problem);
    }
    let body = String::from_utf8_lossy(&answer.body);
    if let Some(text) = wanted.contains.as_ref().filter(|text| !body.contains(text.as_str())) {
        return Some(format!("`{text}` is not in its answer"));
    }
    if let Some(pattern) = wanted.matches.as_ref().filter(|pattern| !found(pattern, &body)) {
        return Some(format!("nothing in its answer matches `{pattern}`"));
    }
    if let Some(problem) = wrong_json(&wanted.json, &answer.body) {
        return Some(problem);
    }
    let (wanted, left) = (wanted.valid_for?.as_secs(), answer.certificate?);
    (left < i64::try_from(wanted).unwrap_or(i64::MAX)).then(|| ends(left))
}

/// Which query does not find what it must.
fn wrong_json(queries: &[JsonQuery], body: &[u8]) -> Option<String> {
    if queries.is_empty() {
        return None;
    }
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return Some("its answer is not JSON".to_owned()) };
    queries.iter().find_map(|JsonQuery { query, is }| {
        // The role was refused if this is no query.
        let path = serde_json_path::JsonPath::parse(query).ok()?;
        let found: Vec<String> = path.query(&body).into_iter().map(text).collect();
        if found.is_empty() {
            return Some(format!("`{query}` finds nothing in its answer"));
        }
        let wrong = found.iter().find(|value| !is.is_empty() && !is.contains(value))?;
        Some(format!("`{query}` is {}, not {}", short(wrong), is.join(" or ")))
    })
}

/// A text as it is, anything else as JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn short(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(80).collect()
}

fn wrong_header(name: &str, pattern: &str, answer: &HttpReading) -> Option<String> {
    let values: Vec<&str> = answer.header(name).collect();
    match values.first() {
        None => Some(format!("its answer has no header {name}")),
        Some(_) if values.iter().any(|value| found(pattern, value)) => None,
        Some(value) => Some(format!("it answers with {name}{}", said(value))),
    }
}

fn ends(left: i64) -> String {
    match left {
        i64::MIN..0 => "its certificate has expired".to_owned(),
        0..172_800 => format!("its certificate expires in {} h", left / 3600),
        _ => format!("its certificate expires in {} days", left / 86_400),
    }
}

/// Whether a line has something in it that matches. The role was refused if the pattern is no regular expression.
fn found(pattern: &str, text: &str) -> bool {
    let text = text.replace('\r', "");
    regex::Regex::new(pattern).is_ok_and(|regex| text.split('\n').any(|line| regex.is_match(line)))
}

fn output(pattern: Option<&str>, command: &CommandReading) -> Option<String> {
    let stdout = String::from_utf8_lossy(&command.stdout);
    let stdout = stdout.trim();
    if command.exit == 124 {
        return Some(format!("no answer in time{}", said(stdout)));
    }
    if command.exit != 0 {
        return Some(format!("it exited with {}{}", command.exit, said(stdout)));
    }
    let pattern = pattern?;
    // The role was refused if this is no regular expression.
    let matches = regex::Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|regex| regex.is_match(stdout));
    (!matches).then(|| format!("its output does not match {pattern}{}", said(stdout)))
}

fn said(text: &str) -> String {
    let line = short(text);
    if line.is_empty() { line } else { format!(": {line}") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::step::{Command, HttpRequest, Statuses};

    #[test]
    fn unknown_is_not_sick() {
        let port = Probe::port("127.0.0.1", 1);
        let checks = [Check::new(port.clone(), Expect::Open)];
        let answer = |reading| [(port.clone(), reading)].into_iter().collect::<Readings>();
        assert_eq!(health(&checks, &answer(Reading::Port(PortReading::Open))), Health::Healthy);
        assert_eq!(
            health(&checks, &answer(Reading::Port(PortReading::Closed))),
            Health::Unhealthy("port 1 is closed".into())
        );
        assert!(matches!(health(&checks, &answer(Reading::Failed("no".into()))), Health::Unknown(_)));
        assert!(matches!(health(&checks, &Readings::default()), Health::Unknown(_)));
        assert_eq!(health(&[], &Readings::default()), Health::Healthy);
    }

    #[test]
    fn a_unit_that_systemd_keeps_restarting_is_never_healthy() {
        let probe = Probe::Unit("app.service".into());
        let checks = [Check::new(probe.clone(), Expect::Active)];
        let unit = |active: &str, sub: &str, restarts, age| {
            let (active, sub) = (active.to_owned(), sub.to_owned());
            let reading = UnitReading { active, sub, restarts, age, ..UnitReading::default() };
            health(&checks, &[(probe.clone(), Reading::Unit(reading))].into_iter().collect())
        };
        let unhealthy = |why: &str| Health::Unhealthy(why.to_owned());
        assert_eq!(unit("active", "running", 0, Some(0)), Health::Healthy);
        assert_eq!(unit("active", "running", 9, Some(600)), Health::Healthy);
        assert_eq!(unit("active", "running", 9, Some(2)), unhealthy("it fails, and systemd keeps restarting it"));
        let waits = unit("activating", "auto-restart", 9, None);
        assert_eq!(waits, unhealthy("it fails, and systemd keeps restarting it"));
        assert_eq!(unit("failed", "failed", 9, None), unhealthy("it is failed"));
    }

    #[test]
    fn the_whole_output_must_match() {
        let probe = Probe::Command(Command::new(["mode"]));
        let checks = [Check::new(probe.clone(), Expect::Output(Some("leader|follower".into())))];
        let said = |text: &str, exit| {
            let reading = CommandReading { exit, stdout: text.as_bytes().to_vec(), stderr: Vec::new() };
            health(&checks, &[(probe.clone(), Reading::Command(reading))].into_iter().collect())
        };
        assert_eq!(said("leader\n", 0), Health::Healthy);
        assert!(matches!(said("no leader", 0), Health::Unhealthy(_)));
        assert!(matches!(said("leader", 1), Health::Unhealthy(_)));
    }

    fn web(wanted: WebAnswer, answer: Result<HttpReading, String>) -> Health {
        let probe = Probe::Http(HttpRequest::get("https://h/"));
        let checks = [Check::new(probe.clone(), Expect::Answer(Box::new(wanted)))];
        health(&checks, &[(probe, Reading::Http(answer))].into_iter().collect())
    }

    #[test]
    fn every_part_of_a_web_answer_must_be_right() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let answer = || HttpReading {
            status: 204,
            headers: vec![header("Server", "app/2.1"), header("Via", "a"), header("via", "b")],
            body: b"one\r\nready: yes\r\n".to_vec(),
            certificate: Some(3 * 86_400),
        };
        let says = |wanted: WebAnswer| web(wanted, Ok(answer()));
        let unhealthy = |why: &str| Health::Unhealthy(why.to_owned());
        let any = || WebAnswer::status(204);
        let headers = |name: &str, pattern: &str| WebAnswer { headers: [header(name, pattern)].into(), ..any() };
        assert_eq!(says(WebAnswer { status: vec![Statuses(200, 200), Statuses(204, 299)], ..any() }), Health::Healthy);
        assert_eq!(says(WebAnswer::status(200)), unhealthy("it answered 204"));
        assert_eq!(says(headers("server", "^app/[0-9.]+$")), Health::Healthy);
        assert_eq!(says(headers("Via", "^b$")), Health::Healthy);
        assert_eq!(says(headers("Server", "nginx")), unhealthy("it answers with Server: app/2.1"));
        assert_eq!(says(headers("Age", "")), unhealthy("its answer has no header Age"));
        let matches = |pattern: &str| WebAnswer { matches: Some(pattern.to_owned()), ..any() };
        assert_eq!(says(matches("^ready: (yes|true)$")), Health::Healthy);
        assert_eq!(says(matches("^yes")), unhealthy("nothing in its answer matches `^yes`"));
        assert_eq!(web(any(), Err("no route".into())), unhealthy("no route"));
    }

    #[test]
    fn queries_find_what_they_must_in_json() {
        let body = r#"{"status": "ALIVE", "cores": 8, "ready": true, "none": null, "workers":
            [{"host": "w1", "state": "ALIVE"}, {"host": "w2", "state": "DEAD"}]}"#;
        let says = |query: &str, is: &[&str]| {
            let json = vec![JsonQuery { query: query.to_owned(), is: is.iter().map(|&is| is.to_owned()).collect() }];
            let answer = HttpReading { status: 200, body: body.into(), ..HttpReading::default() };
            web(WebAnswer { json, ..WebAnswer::status(200) }, Ok(answer))
        };
        let unhealthy = |why: &str| Health::Unhealthy(why.to_owned());
        for (query, is) in [
            ("$.status", &["ALIVE", "STANDBY"][..]),
            ("$.cores", &["8"]),
            ("$.ready", &["true"]),
            ("$.none", &[]),
            ("$.none", &["null"]),
            ("$.workers[?@.host == 'w1'].state", &["ALIVE"]),
            ("$.workers[?@.state == 'ALIVE' && @.host == 'w1']", &[]),
        ] {
            assert_eq!(says(query, is), Health::Healthy, "{query}");
        }
        assert_eq!(says("$.status", &["STANDBY", "DEAD"]), unhealthy("`$.status` is ALIVE, not STANDBY or DEAD"));
        assert_eq!(says("$.workers[*].state", &["ALIVE"]), unhealthy("`$.workers[*].state` is DEAD, not ALIVE"));
        assert_eq!(says("$.missing", &[]), unhealthy("`$.missing` finds nothing in its answer"));
        let json = vec![JsonQuery { query: "$".to_owned(), is: Vec::new() }];
        let answer = HttpReading { status: 200, body: b"<html>".to_vec(), ..HttpReading::default() };
        assert_eq!(web(WebAnswer { json, ..WebAnswer::status(200) }, Ok(answer)), unhealthy("its answer is not JSON"));
    }

    #[test]
    fn a_certificate_must_not_end_too_soon() {
        let says = |days: u64, certificate: Option<i64>| {
            let valid_for = Some(Duration::from_secs(days * 86_400));
            web(
                WebAnswer { valid_for, ..WebAnswer::status(200) },
                Ok(HttpReading { status: 200, certificate, ..HttpReading::default() }),
            )
        };
        assert_eq!(says(14, Some(14 * 86_400)), Health::Healthy);
        assert_eq!(says(14, Some(14 * 86_400 - 1)), Health::Unhealthy("its certificate expires in 13 days".into()));
        assert_eq!(says(1, Some(3600)), Health::Unhealthy("its certificate expires in 1 h".into()));
        assert_eq!(says(0, Some(-1)), Health::Unhealthy("its certificate has expired".into()));
        assert!(matches!(says(14, None), Health::Unknown(why) if why.contains("curl")));
    }
}
