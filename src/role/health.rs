//! Health checks as a role's author writes them.
//!
//! In: one entry of `health`. Out: its expressions compiled and, given values, a [`Check`]. Never: the asking.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;

use super::parse_duration;
use crate::diag::{Diagnostic, Diagnostics, Origin};
use crate::step::{Check, Command, Expect, Probe};
use crate::template::{Recipe, Scope};
use crate::yaml::{Key, Node, unknown_key};

/// One entry of `health`.
#[derive(Debug, Clone)]
pub struct HealthCheck {
    /// `tcp`, `http`, `command` or `unit`.
    pub kind: &'static str,
    /// Its keys.
    pub body: Recipe,
    keys: Vec<Key>,
    origin: Origin,
}

/// What holds unless a check says otherwise, in seconds.
const WITHIN: f64 = 60.0;

/// The kinds of checks: word, keys of its own, the key that must be there.
const KINDS: &[(&str, &[&str], &str)] = &[
    ("tcp", &["port", "address"], "port"),
    ("http", &["url", "status", "contains"], "url"),
    ("command", &["run", "expect", "user", "timeout"], "run"),
    ("unit", &["name"], "name"),
];
const COMMON: &[&str] = &["stable_for", "within"];

impl HealthCheck {
    /// Reads one entry.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(node: &Node) -> Result<Self, Diagnostics> {
        let words: Vec<&str> = KINDS.iter().map(|(word, ..)| *word).collect();
        let Some([(key, body)]) = node.map() else {
            let text = format!("a health check is a map with one key: {}", words.join(", "));
            return Err(Diagnostic::error(text).at(&node.origin).hint("for example `- tcp: { port: 8080 }`").into());
        };
        let Some((word, own, needed)) = KINDS.iter().find(|(word, ..)| *word == key.name) else {
            return Err(unknown_key("a health check", key, &words).into());
        };
        let mut problems = Diagnostics::new();
        let known: Vec<&str> = own.iter().chain(COMMON).copied().collect();
        crate::yaml::Table::open("a health check", body, &known, &mut problems)
            .and_then(|table| table.need(needed, &mut problems).map(|_| ()));
        let recipe = problems.keep(Recipe::parse(body));
        let keys = body.map().unwrap_or_default().iter().map(|(key, _)| key.clone()).collect();
        match recipe {
            Some(body) => problems.result(Self { kind: word, body, keys, origin: node.origin.clone() }),
            None => Err(problems),
        }
    }

    /// The check with the values of one host.
    ///
    /// # Errors
    /// What cannot be computed or does not fit.
    pub fn check(&self, scope: &Scope) -> Result<Check, Diagnostics> {
        let rendered = self.body.render(scope, &|leaf| leaf)?;
        if rendered.secrecy.is_secret() {
            let text = "a secret must not be in a health check: its command line can be seen by others on the host";
            let hint = "let a program on the host read it from a file: `run: [/usr/local/bin/check]`";
            return Err(Diagnostic::error(text).at(&self.origin).hint(hint).into());
        }
        let fields = Fields { data: &rendered.data, check: self };
        let (probe, expect) = fields.question()?;
        Ok(Check {
            probe,
            expect,
            stable_for: fields.duration("stable_for", 0.0)?,
            within: fields.duration("within", WITHIN)?,
        })
    }
}

struct Fields<'a> {
    data: &'a Json,
    check: &'a HealthCheck,
}

impl Fields<'_> {
    fn question(&self) -> Result<(Probe, Expect), Diagnostic> {
        Ok(match self.check.kind {
            "tcp" => {
                let address = self.text("address")?.unwrap_or_else(|| "127.0.0.1".to_owned());
                (Probe::Port { address, port: self.number("port", 0)? }, Expect::Open)
            }
            "http" => {
                let url = self.text("url")?.unwrap_or_default();
                if !url.starts_with("http://") && !url.starts_with("https://") {
                    return Err(self.wrong("url", "a URL that begins with http:// or https://"));
                }
                (Probe::Http { url }, Expect::Status(self.number("status", 200)?, self.text("contains")?))
            }
            "unit" => {
                let name = self.text("name")?.unwrap_or_default();
                let name = if name.contains('.') { name } else { format!("{name}.service") };
                (Probe::Unit(name), Expect::Active)
            }
            _ => (Probe::Command(self.command()?), Expect::Output(self.expected()?)),
        })
    }

    fn command(&self) -> Result<Command, Diagnostic> {
        let wanted = "a list of a program and its arguments";
        let items = self.data.get("run").and_then(Json::as_array).ok_or_else(|| self.wrong("run", wanted))?;
        let word = |item: &Json| match item {
            Json::String(text) => Ok(text.clone()),
            Json::Number(number) => Ok(number.to_string()),
            _ => Err(self.wrong("run", wanted)),
        };
        let argv = items.iter().map(word).collect::<Result<Vec<_>, _>>()?;
        if argv.is_empty() {
            return Err(self.wrong("run", wanted));
        }
        let command = Command::new(argv).within(self.duration("timeout", 10.0)?);
        Ok(Command { user: self.text("user")?, environment: BTreeMap::new(), ..command })
    }

    fn expected(&self) -> Result<Option<String>, Diagnostic> {
        let pattern = self.text("expect")?;
        if let Some(Err(error)) = pattern.as_deref().map(regex::Regex::new) {
            return Err(self.wrong("expect", "a regular expression").hint(error.to_string()));
        }
        Ok(pattern)
    }

    fn text(&self, key: &str) -> Result<Option<String>, Diagnostic> {
        match self.data.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(key, "a text")),
        }
    }

    fn number(&self, key: &str, default: u16) -> Result<u16, Diagnostic> {
        match self.data.get(key) {
            None => Ok(default),
            Some(data) => data
                .as_u64()
                .and_then(|n| u16::try_from(n).ok())
                .filter(|n| *n > 0)
                .ok_or_else(|| self.wrong(key, "a number from 1 to 65535")),
        }
    }

    fn duration(&self, key: &str, default: f64) -> Result<Duration, Diagnostic> {
        let seconds = match self.data.get(key) {
            None => Some(default),
            Some(data) => parse_duration(data),
        };
        seconds.map(Duration::from_secs_f64).ok_or_else(|| self.wrong(key, "a duration such as `5s`"))
    }

    fn wrong(&self, key: &str, wanted: &str) -> Diagnostic {
        let place = self.check.keys.iter().find(|k| k.name == key).map_or(&self.check.origin, |key| &key.origin);
        let example = match key {
            "url" => "http://127.0.0.1:8080/",
            "run" => "[pg_isready, -q]",
            "port" | "status" => "200",
            "expect" => "\"ready\"",
            "within" | "stable_for" | "timeout" => "30s",
            _ => "\"text\"",
        };
        Diagnostic::error(format!("`{key}` of a health check must be {wanted}"))
            .at(place)
            .wide(key.len())
            .hint(format!("for example `{key}: {example}`"))
    }
}
