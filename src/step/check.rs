//! Health checks and the gates made of them.
//!
//! In: nothing. Out: values. Never: an answer judged.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Probe, span};

/// Checks that must hold on a host, one after the other, before what needs it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Whose health, for the texts: a service's name.
    pub of: String,
    /// All must hold.
    pub checks: Vec<Check>,
}

/// One health check.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What to ask, again and again.
    pub probe: Probe,
    /// Which answer is healthy.
    pub expect: Expect,
    /// How long it must hold without a break.
    #[serde(with = "span")]
    pub stable_for: Duration,
    /// How long to wait for an answer that was not given before. Each one begins it anew.
    #[serde(with = "span")]
    pub within: Duration,
    /// How long to wait in all, whatever is answered.
    #[serde(default = "patience", with = "span")]
    pub at_most: Duration,
    /// The units that must run for it: if one has failed for good, the check is not waited for. None in plans that were
    /// saved before there were any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<String>,
}

/// What is waited for without a new answer, unless a check says otherwise.
pub const WITHIN: Duration = Duration::from_secs(60);

/// How many times that is waited for in all, unless a check says otherwise.
pub const STRETCH: u32 = 10;

fn patience() -> Duration {
    WITHIN * STRETCH
}

impl Check {
    /// A check that must hold once, within a minute.
    pub fn new(probe: Probe, expect: Expect) -> Self {
        Self { probe, expect, stable_for: Duration::ZERO, within: WITHIN, at_most: patience(), units: Vec::new() }
    }

    /// The units without which it cannot hold: the one it asks for, and those that must run for it.
    pub fn watched(&self) -> Vec<&str> {
        let own = match (&self.probe, &self.expect) {
            (Probe::Unit(unit), Expect::Active) => Some(unit),
            _ => None,
        };
        let others = self.units.iter().filter(|unit| Some(*unit) != own);
        own.into_iter().chain(others).map(String::as_str).collect()
    }

    /// When the wait for it ends at the latest.
    pub fn hard_end(&self) -> Duration {
        self.at_most.max(self.within)
    }
}

/// Which answer of a probe is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Expect {
    /// The port accepts connections.
    Open,
    /// The port accepts no connections.
    Closed,
    /// The unit is active.
    Active,
    /// The program ends with code 0 and, if given, its trimmed output matches this (extended regular expression,
    /// the whole of it).
    Output(Option<String>),
    /// The web server answers so. Plans that were saved before answers had more to them say `status`.
    #[serde(alias = "status")]
    Answer(Box<WebAnswer>),
}

/// Which answer of a web server is healthy. Regular expressions are extended ones, found anywhere in a line.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(from = "WrittenAnswer")]
pub struct WebAnswer {
    /// The status is in one of these.
    pub status: Vec<Statuses>,
    /// The body has this in it.
    pub contains: Option<String>,
    /// A line of the body matches this.
    pub matches: Option<String>,
    /// The values of these headers match these.
    pub headers: BTreeMap<String, String>,
    /// The server's certificate is good for this long.
    #[serde(with = "span::optional")]
    pub valid_for: Option<Duration>,
    /// What these queries find in the body, which is JSON.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub json: Vec<JsonQuery>,
}

impl WebAnswer {
    /// One status and nothing more.
    pub fn status(status: u16) -> Self {
        let status = vec![Statuses(status, status)];
        Self { status, contains: None, matches: None, headers: BTreeMap::new(), valid_for: None, json: Vec::new() }
    }
}

/// A `JSONPath` query (RFC 9535) and what it must find: something, and nothing but these values.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonQuery {
    /// The query.
    pub query: String,
    /// The values that may be found: texts as they are, numbers and truth values as JSON writes them. Any, if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub is: Vec<String>,
}

impl JsonQuery {
    /// Why it is no query, if it is none.
    pub fn fault(&self) -> Option<String> {
        serde_json_path::JsonPath::parse(&self.query).err().map(|error| format!("{}: {}", self.query, error.message()))
    }
}

/// The first and the last of some status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Statuses(pub u16, pub u16);

impl Statuses {
    /// Whether this is one of them.
    pub fn contain(self, status: u16) -> bool {
        (self.0..=self.1).contains(&status)
    }
}

impl std::fmt::Display for Statuses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == self.1 { write!(f, "{}", self.0) } else { write!(f, "{}-{}", self.0, self.1) }
    }
}

/// The forms in which a web answer was ever written down.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum WrittenAnswer {
    /// The status, and what is in the body.
    Pair(u16, Option<String>),
    /// All there is to it.
    Whole(Whole),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    status: Vec<Statuses>,
    contains: Option<String>,
    matches: Option<String>,
    headers: BTreeMap<String, String>,
    #[serde(with = "span::optional")]
    valid_for: Option<Duration>,
    #[serde(default)]
    json: Vec<JsonQuery>,
}

impl From<WrittenAnswer> for WebAnswer {
    fn from(written: WrittenAnswer) -> Self {
        match written {
            WrittenAnswer::Pair(status, contains) => Self { contains, ..Self::status(status) },
            WrittenAnswer::Whole(Whole { status, contains, matches, headers, valid_for, json }) => {
                Self { status, contains, matches, headers, valid_for, json }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::HttpRequest;

    #[test]
    fn checks_of_the_first_saved_plans_are_read() {
        let old =
            r#"{"probe":{"http":{"url":"http://h/"}},"expect":{"status":[200,"ok"]},"stable_for":"0s","within":"60s"}"#;
        let check: Check = serde_json::from_str(old).expect("the old form");
        let answer = WebAnswer { contains: Some("ok".into()), ..WebAnswer::status(200) };
        assert_eq!(check, Check::new(Probe::Http(HttpRequest::get("http://h/")), Expect::Answer(Box::new(answer))));
        let old = r#"{"port":{"address":"127.0.0.1","port":1}}"#;
        let port: Probe = serde_json::from_str(old).expect("the old form");
        assert_eq!(port, Probe::port("127.0.0.1", 1));
    }

    #[test]
    fn a_check_is_read_as_it_was_written() {
        let headers = [("Server".to_owned(), "^x$".to_owned())].into();
        let json = vec![JsonQuery { query: "$.state".to_owned(), is: vec!["on".to_owned()] }];
        let answer = WebAnswer { headers, valid_for: Some(Duration::from_secs(90)), json, ..WebAnswer::status(204) };
        let check = Check::new(Probe::Http(HttpRequest::get("https://h/")), Expect::Answer(Box::new(answer)));
        let text = serde_json::to_string(&check).expect("JSON");
        assert!(!text.contains("units"), "an older armilla reads it, too: {text}");
        assert_eq!(serde_json::from_str::<Check>(&text).expect("the same"), check);
        let watching = Check { units: vec!["a.service".to_owned()], ..check };
        let text = serde_json::to_string(&watching).expect("JSON");
        assert_eq!(serde_json::from_str::<Check>(&text).expect("the same"), watching);
    }

    #[test]
    fn the_unit_that_is_asked_for_is_watched_with_those_that_must_run() {
        let units = ["b.service", "a.service"].map(str::to_owned).to_vec();
        let of = |probe, expect| Check { units: units.clone(), ..Check::new(probe, expect) };
        let unit = || Probe::Unit("a.service".to_owned());
        assert_eq!(of(unit(), Expect::Active).watched(), ["a.service", "b.service"]);
        assert_eq!(of(Probe::port("127.0.0.1", 1), Expect::Open).watched(), ["b.service", "a.service"]);
        assert_eq!(Check::new(unit(), Expect::Output(None)).watched(), [""; 0]);
    }
}
