//! `os`: the operating system.
//!
//! In: os-release(5), from `/etc` or, where that is the usual link, from `/usr/lib`. Out: id, version, codename and
//! family. Never: a version for a release that has none, such as Debian's unstable; it is empty then.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::{Fact, strange};
use crate::step::{FETCH_LIMIT, Fetch, PathReading, Probe, Readings, Unreadable};

pub(super) const FACT: Fact = Fact {
    name: "os",
    summary: "The operating system: `id` (debian), `version` (12), `codename` (bookworm), `family` (debian)",
    example: || json!({ "id": "debian", "version": "12", "codename": "bookworm", "family": "debian" }),
    timeout: Duration::from_secs(10),
    probes: || PLACES.iter().map(|path| at(path)).collect(),
    read,
};

const PLACES: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

fn at(path: &str) -> Probe {
    Probe::Path { path: path.to_owned(), content: Fetch::Always }
}

fn read(readings: &Readings) -> Result<serde_json::Value, Unreadable> {
    for path in PLACES {
        if let PathReading::File { content, .. } = readings.path(&at(path))? {
            let content = content.as_deref().ok_or_else(|| Unreadable(too_large(path)))?;
            return understood(&String::from_utf8_lossy(content));
        }
    }
    Err(Unreadable(format!("neither {} nor {} exists", PLACES[0], PLACES[1])))
}

fn too_large(path: &str) -> String {
    format!("{path} was not sent; it may be larger than {FETCH_LIMIT} bytes")
}

fn understood(text: &str) -> Result<serde_json::Value, Unreadable> {
    let values: BTreeMap<&str, String> = text.lines().filter_map(assignment).collect();
    let value = |key: &str| values.get(key).cloned().unwrap_or_default();
    let id = value("ID");
    if id.is_empty() {
        return Err(strange("the operating system", text));
    }
    let family = family(&id, &value("ID_LIKE"));
    Ok(json!({ "id": id, "version": value("VERSION_ID"), "codename": value("VERSION_CODENAME"), "family": family }))
}

/// `KEY=value`, where the value may be in quotes with backslashes, as a shell would read it.
fn assignment(line: &str) -> Option<(&str, String)> {
    let (key, value) = line.trim().split_once('=').filter(|(key, _)| !key.starts_with('#'))?;
    let quoted = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    if let Some(literal) = quoted('\'') {
        return Some((key, literal.to_owned()));
    }
    let mut text = String::new();
    let mut characters = quoted('"').unwrap_or(value).chars();
    while let Some(c) = characters.next() {
        text.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    Some((key, text))
}

/// The oldest relative that has its own ways; the system itself if it has none.
fn family(id: &str, like: &str) -> String {
    let mut relatives = std::iter::once(id).chain(like.split_whitespace());
    let known = relatives.find_map(|relative| match relative {
        "debian" => Some("debian"),
        "rhel" | "fedora" => Some("redhat"),
        "suse" | "opensuse" => Some("suse"),
        _ => None,
    });
    known.unwrap_or(id).to_owned()
}
