//! Health checks as a role's author writes them.
//!
//! In: one entry of `health`. Out: its expressions compiled and, given values, a [`Check`]. Never: the asking.

mod fields;
mod web;

use std::time::Duration;

use fields::Fields;

use crate::diag::{Diagnostic, Diagnostics, Origin};
use crate::step::{Check, Command, Expect, Probe, STRETCH, WITHIN};
use crate::template::{Recipe, Scope};
use crate::yaml::{Key, Node, Table, unknown_key};

/// One entry of `health`.
#[derive(Debug, Clone)]
pub struct HealthCheck {
    /// `tcp`, `http`, `command` or `unit`.
    pub kind: &'static str,
    /// Its keys.
    pub body: Recipe,
    /// Each key with the keys it is below of: `certificate.ca`.
    keys: Vec<Key>,
    origin: Origin,
}

/// The kinds of checks: word, keys of its own, the key that must be there.
const KINDS: &[(&str, &[&str], &str)] = &[
    ("tcp", &["port", "address", "state", "timeout"], "port"),
    (
        "http",
        &["url", "method", "status", "contains", "matches", "json", "headers", "header_file", "certificate", "timeout"],
        "url",
    ),
    ("command", &["run", "expect", "user", "timeout"], "run"),
    ("unit", &["name"], "name"),
];
const COMMON: &[&str] = &["stable_for", "within", "at_most"];
const CERTIFICATE: &[&str] = &["valid_for", "ca", "verify"];

/// How long one question may take, unless it says otherwise, in seconds.
const TIMEOUT: f64 = 10.0;

impl HealthCheck {
    /// Reads one entry.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(node: &Node) -> Result<Self, Diagnostics> {
        let words: Vec<&str> = KINDS.iter().map(|(word, ..)| *word).collect();
        let Some([(key, body)]) = node.map() else {
            let text = format!("a health check must be a map with one key: {}", words.join(", "));
            return Err(Diagnostic::error(text).at(&node.origin).hint("for example `- tcp: { port: 8080 }`").into());
        };
        let Some((word, own, needed)) = KINDS.iter().find(|(word, ..)| *word == key.name) else {
            return Err(unknown_key("a health check", key, &words).into());
        };
        let mut problems = Diagnostics::new();
        let known: Vec<&str> = own.iter().chain(COMMON).copied().collect();
        if let Some(table) = Table::open("a health check", body, &known, &mut problems) {
            table.need(needed, &mut problems);
            if let Some(certificate) = table.get("certificate") {
                Table::open("`certificate` of a health check", certificate, CERTIFICATE, &mut problems);
            }
        }
        let recipe = problems.keep(Recipe::parse(body));
        match recipe {
            Some(body_recipe) => {
                problems.result(Self { kind: word, body: body_recipe, keys: keys(body), origin: node.origin.clone() })
            }
            None => Err(problems),
        }
    }

    /// The check with the values of one host.
    ///
    /// # Errors
    /// What cannot be computed or does not fit.
    pub fn check(&self, scope: &Scope) -> Result<Check, Diagnostics> {
        let rendered = self.body.render(scope)?;
        if rendered.secrecy.is_secret() {
            let text = "a health check must not contain a secret: other users on the host can read its command line";
            let hint = "use a program on the host that reads it from a file: `run: [/usr/local/bin/check]`";
            return Err(Diagnostic::error(text).at(&self.origin).hint(hint).into());
        }
        let data = rendered.data.exposed();
        let fields = Fields { data: &data, check: self, above: "" };
        let (probe, expect) = self.question(&fields)?;
        let stable_for = fields.duration("stable_for", 0.0)?;
        let within = fields.duration("within", WITHIN.as_secs_f64())?;
        let at_most = fields.duration("at_most", (within * STRETCH).as_secs_f64())?;
        let check = Check { stable_for, within, at_most, ..Check::new(probe, expect) };
        Ok(possible(check, &fields)?)
    }

    fn question(&self, fields: &Fields<'_>) -> Result<(Probe, Expect), Diagnostic> {
        Ok(match self.kind {
            "tcp" => {
                let address = fields.text("address")?.unwrap_or_else(|| "127.0.0.1".to_owned());
                let expect = fields.one_of("state", &[("open", Expect::Open), ("closed", Expect::Closed)])?;
                (Probe::Port { address, port: fields.port()?, timeout: fields.timeout()? }, expect)
            }
            "http" => {
                let (request, answer) = web::question(fields)?;
                (Probe::Http(request), Expect::Answer(Box::new(answer)))
            }
            "unit" => {
                let name = fields.text("name")?.unwrap_or_default();
                let name = if name.contains('.') { name } else { format!("{name}.service") };
                (Probe::Unit(name), Expect::Active)
            }
            _ => {
                let command = Command::new(fields.argv()?).within(fields.timeout()?);
                let command = Command { user: fields.text("user")?, ..command };
                (Probe::Command(command), Expect::Output(fields.pattern("expect")?))
            }
        })
    }
}

/// A check that can be healthy at all.
fn possible(check: Check, fields: &Fields<'_>) -> Result<Check, Diagnostic> {
    let Check { stable_for, within, at_most, .. } = check;
    if at_most < within {
        return Err(fields.wrong("at_most", "at least as long as `within`"));
    }
    if stable_for > within {
        let wanted = "at most `within`";
        return Err(fields.wrong("stable_for", wanted));
    }
    Ok(check)
}

/// All keys, with those above them.
fn keys(body: &Node) -> Vec<Key> {
    let below = |(key, node): &(Key, Node)| {
        let inner = node.map().unwrap_or_default().iter().map(|(inner, _)| inner.clone());
        let named = |inner: Key| Key { name: format!("{}.{}", key.name, inner.name), ..inner };
        std::iter::once(key.clone()).chain(inner.map(named).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    body.map().unwrap_or_default().iter().flat_map(below).collect()
}

impl Fields<'_> {
    fn timeout(&self) -> Result<Duration, Diagnostic> {
        let timeout = self.duration("timeout", TIMEOUT)?;
        if timeout.is_zero() { Err(self.wrong("timeout", "longer than zero")) } else { Ok(timeout) }
    }

    fn port(&self) -> Result<u16, Diagnostic> {
        let port = self.data.get("port").and_then(serde_json::Value::as_u64);
        let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        port.ok_or_else(|| self.wrong("port", "a number from 1 to 65535"))
    }

    fn argv(&self) -> Result<Vec<String>, Diagnostic> {
        let words = self.list("run").unwrap_or_default();
        let words: Option<Vec<String>> = words.iter().map(fields::word).collect();
        let words = words.filter(|words| !words.is_empty());
        words.ok_or_else(|| self.wrong("run", "a list of a program and its arguments"))
    }
}
