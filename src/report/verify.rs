//! The health of services: a table, JSON for programs, and the XML of `JUnit` for what shows the results of tests.
//!
//! In: findings. Out: texts. Never: a host left out, or unknown called unhealthy.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::human::layout::{NAME, QUIET, RUN, WELL, WRONG, pad, paint};
use super::human::words::{check, count, one_line};
use crate::name::EnvName;
use crate::plan::Finding;
use crate::step::Health;

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Of a host that is well, one line.
    Hosts,
    /// Every check.
    Checks,
}

/// How many of something are in which health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All is as it must be.
    pub healthy: usize,
    /// Something is not.
    pub unhealthy: usize,
    /// Nobody can say.
    pub unknown: usize,
}

impl Tally {
    /// Counts findings.
    pub fn of<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Self {
        let mut tally = Self::default();
        for finding in findings {
            match finding.health {
                Health::Healthy => tally.healthy += 1,
                Health::Unhealthy(_) => tally.unhealthy += 1,
                Health::Unknown(_) => tally.unknown += 1,
            }
        }
        tally
    }

    fn sentence(self) -> String {
        let all = self.healthy + self.unhealthy + self.unknown;
        let mut texts = vec![format!("{} of {} healthy", self.healthy, count(all, "check"))];
        texts.extend((self.unhealthy > 0).then(|| format!("{} unhealthy", self.unhealthy)));
        texts.extend((self.unknown > 0).then(|| format!("{} unknown", self.unknown)));
        texts.join(", ")
    }
}

/// The findings of each service, host by host, all in their order.
fn by_service(findings: &[Finding]) -> Vec<(&str, Vec<&[Finding]>)> {
    let services = findings.chunk_by(|a, b| a.service == b.service);
    services.map(|all| (all[0].service.as_str(), all.chunk_by(|a, b| a.host == b.host).collect())).collect()
}

fn asked(finding: &Finding) -> String {
    finding.check.as_ref().map_or_else(|| "the host answers".to_owned(), check)
}

fn word(health: &Health) -> (anstyle::Style, &'static str, Option<&str>) {
    match health {
        Health::Healthy => (WELL, "healthy", None),
        Health::Unhealthy(why) => (WRONG, "unhealthy", Some(why)),
        Health::Unknown(why) => (RUN, "unknown", Some(why)),
    }
}

/// For a person: each service with its hosts, and what is wrong there.
pub fn text(findings: &[Finding], depth: Depth) -> String {
    let column = findings.iter().map(|finding| finding.host.as_str().chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (service, hosts) in by_service(findings) {
        lines.push(paint(NAME, service));
        lines.extend(hosts.into_iter().flat_map(|host| of_host(host, column, depth)));
    }
    lines.extend([String::new(), Tally::of(findings).sentence()]);
    lines.join("\n")
}

fn of_host(findings: &[Finding], column: usize, depth: Depth) -> Vec<String> {
    let line = |finding: &Finding| {
        let (style, word, why) = word(&finding.health);
        let why = why.map(|why| format!(": {}", one_line(why))).unwrap_or_default();
        let state = format!("{}{}", paint(style, word), " ".repeat("unhealthy".len() - word.len()));
        format!("  {}  {state}  {}{why}", pad(finding.host.as_str(), column), one_line(&asked(finding)))
    };
    let shown: Vec<String> = findings
        .iter()
        .filter(|finding| depth == Depth::Checks || finding.health != Health::Healthy)
        .map(line)
        .collect();
    if !shown.is_empty() {
        return shown;
    }
    let host = findings.first().map_or("", |finding| finding.host.as_str());
    let checks = paint(QUIET, &count(findings.len(), "check"));
    vec![format!("  {}  {}  {checks}", pad(host, column), paint(WELL, "healthy"))]
}

/// For programs.
pub fn json(environment: &EnvName, findings: &[Finding]) -> Value {
    let one = |finding: &Finding| {
        let (_, word, why) = word(&finding.health);
        let mut value = json!({ "check": asked(finding), "health": word });
        if let Some(why) = why {
            value["why"] = json!(why);
        }
        value
    };
    let host = |findings: &[Finding]| json!({ "health": worst(findings), "checks": findings.iter().map(one).collect::<Vec<_>>() });
    let service = |hosts: Vec<&[Finding]>| -> serde_json::Map<String, Value> {
        hosts.into_iter().map(|findings| (findings[0].host.to_string(), host(findings))).collect()
    };
    let services: serde_json::Map<String, Value> =
        by_service(findings).into_iter().map(|(name, hosts)| (name.to_owned(), json!(service(hosts)))).collect();
    let Tally { healthy, unhealthy, unknown } = Tally::of(findings);
    json!({
        "format": "armilla-verify",
        "version": 1,
        "environment": environment,
        "checks": { "healthy": healthy, "unhealthy": unhealthy, "unknown": unknown },
        "services": services,
    })
}

fn worst(findings: &[Finding]) -> &'static str {
    match Tally::of(findings) {
        Tally { unhealthy: 1.., .. } => "unhealthy",
        Tally { unknown: 1.., .. } => "unknown",
        Tally { .. } => "healthy",
    }
}

/// The XML of `JUnit`, as CI systems read it: a suite for each service, a case for each check on each host. An unhealthy
/// check is a failure, an unknown one an error.
pub fn junit(environment: &EnvName, findings: &[Finding], took: Duration) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let head = |tag: &str, name: &str, tally: Tally| {
        let Tally { healthy, unhealthy, unknown } = tally;
        let (name, all) = (escaped(name), healthy + unhealthy + unknown);
        format!("<{tag} name=\"{name}\" tests=\"{all}\" failures=\"{unhealthy}\" errors=\"{unknown}\"")
    };
    let name = format!("armilla verify {environment}");
    let _ = writeln!(xml, "{} time=\"{:.3}\">", head("testsuites", &name, Tally::of(findings)), took.as_secs_f64());
    for (service, hosts) in by_service(findings) {
        let tally = Tally::of(hosts.iter().copied().flatten());
        let _ = writeln!(xml, "  {} skipped=\"0\">", head("testsuite", service, tally));
        xml.extend(hosts.into_iter().flatten().map(case));
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn case(finding: &Finding) -> String {
    let host = &finding.host;
    let class = escaped(&format!("{}.{host}", finding.service));
    let open =
        format!("    <testcase classname=\"{class}\" name=\"{}\"", escaped(&format!("{host}: {}", asked(finding))));
    let (tag, why) = match &finding.health {
        Health::Healthy => return format!("{open}/>\n"),
        Health::Unhealthy(why) => ("failure", why),
        Health::Unknown(why) => ("error", why),
    };
    let (_, word, _) = word(&finding.health);
    let why = escaped(why);
    format!("{open}>\n      <{tag} type=\"{word}\" message=\"{why}\">{why}</{tag}>\n    </testcase>\n")
}

/// Text as it may stand in XML, in attributes too (XML 1.0, sections 2.2 and 2.4). What cannot be written at all becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            '\n' | '\r' | '\t' => {
                let _ = write!(safe, "&#{};", u32::from(c));
            }
            '\0'..' ' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::HostName;
    use crate::step::{Check, Expect, Probe};

    fn findings() -> Vec<Finding> {
        let finding = |service: &str, host: &str, port, health| Finding {
            service: service.to_owned(),
            host: HostName::new(host).expect("a name"),
            check: Some(Check::new(Probe::port("127.0.0.1", port), Expect::Open)),
            health,
        };
        let lost =
            Finding { check: None, ..finding("web", "server10", 80, Health::Unknown("No route to host".into())) };
        vec![
            finding("db", "db1", 5432, Health::Healthy),
            finding("db", "db1", 5433, Health::Healthy),
            finding("web", "server1", 80, Health::Healthy),
            finding("web", "server1", 81, Health::Unhealthy("<it> says \"no\" & \u{1b}[2Jmore\n".into())),
            lost,
        ]
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_person_sees_what_is_wrong_and_where() {
        let told = plain(&text(&findings(), Depth::Hosts));
        let want = "\
db
  db1       healthy  2 checks
web
  server1   unhealthy  127.0.0.1:81 is open: <it> says \"no\" & \\u{1b}[2Jmore\\n
  server10  unknown    the host answers: No route to host

3 of 5 checks healthy, 1 unhealthy, 1 unknown";
        assert_eq!(told, want);
        assert!(plain(&text(&findings(), Depth::Checks)).contains("  db1       healthy    127.0.0.1:5433 is open\n"));
    }

    #[test]
    fn programs_are_told_the_same() {
        let told = json(&EnvName::new("staging").expect("a name"), &findings());
        assert_eq!(told["checks"], json!({ "healthy": 3, "unhealthy": 1, "unknown": 1 }));
        assert_eq!(told["services"]["web"]["server1"]["health"], "unhealthy");
        assert_eq!(told["services"]["web"]["server10"]["checks"][0]["why"], "No route to host");
        assert_eq!(
            told["services"]["db"]["db1"]["checks"][1],
            json!({ "check": "127.0.0.1:5433 is open", "health": "healthy" })
        );
    }

    #[test]
    fn junit_is_xml_whatever_a_host_says() {
        let xml = junit(&EnvName::new("staging").expect("a name"), &findings(), Duration::from_millis(1500));
        let want = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="armilla verify staging" tests="5" failures="1" errors="1" time="1.500">
  <testsuite name="db" tests="2" failures="0" errors="0" skipped="0">
    <testcase classname="db.db1" name="db1: 127.0.0.1:5432 is open"/>
    <testcase classname="db.db1" name="db1: 127.0.0.1:5433 is open"/>
  </testsuite>
  <testsuite name="web" tests="3" failures="1" errors="1" skipped="0">
    <testcase classname="web.server1" name="server1: 127.0.0.1:80 is open"/>
    <testcase classname="web.server1" name="server1: 127.0.0.1:81 is open">
      <failure type="unhealthy" message="&lt;it&gt; says &quot;no&quot; &amp; �[2Jmore&#10;">&lt;it&gt; says &quot;no&quot; &amp; �[2Jmore&#10;</failure>
    </testcase>
    <testcase classname="web.server10" name="server10: the host answers">
      <error type="unknown" message="No route to host">No route to host</error>
    </testcase>
  </testsuite>
</testsuites>
"#;
        assert_eq!(xml, want);
    }
}
