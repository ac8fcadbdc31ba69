//! The kinds of resources as a reference: for documents, for a terminal, and as data.
//!
//! In: a kind as the registry knows it. Out: its keys with their types and defaults, from its own schema. Never: a word
//! about a key that its kind does not say itself.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::human::layout::{NAME, QUIET, paint, wrap};
use crate::resource::{KindInfo, Source};

/// A key of a kind.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// What it holds, in words of Markdown.
    #[serde(rename = "type")]
    pub holds: String,
    /// Whether it must be given.
    pub required: bool,
    /// What it is unless given, as JSON; none where nothing is said.
    pub default: Option<Value>,
    /// What it is for, in one line of Markdown.
    pub description: String,
}

/// The keys of a kind, in the order of its fields.
pub fn keys(kind: &KindInfo) -> Vec<Key> {
    let schema = (kind.schema)().to_value();
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let key = |(name, about): (&String, &Value)| Key {
        name: name.clone(),
        holds: kind_of(about, &schema),
        required: required.contains(&name.as_str()),
        default: about.get("default").filter(|value| !value.is_null()).cloned(),
        description: one_line(about),
    };
    let mut keys: Vec<Key> = schema["properties"].as_object().into_iter().flatten().map(key).collect();
    keys.extend(source(kind.source).map(|about| Key {
        name: "src".to_owned(),
        holds: "text".to_owned(),
        required: false,
        default: None,
        description: about.to_owned(),
    }));
    keys
}

fn source(source: Source) -> Option<&'static str> {
    match source {
        Source::None => None,
        Source::File => Some("A file of the role's `files/` or the project's, taken as it is. Instead of `content`."),
        Source::Template => {
            Some("A template of the role's `templates/` or the project's, rendered. Instead of `content`.")
        }
    }
}

/// The short form, if the kind has one.
fn short(kind: &KindInfo) -> Option<String> {
    let schema = (kind.schema)().to_value();
    let has = schema["properties"][kind.short]["type"] == "string";
    has.then(|| format!("`- {0}: x` is short for `- {0}: {{ {1}: x }}`.", kind.name, kind.short))
}

/// A chapter of a document.
pub fn markdown(kind: &KindInfo) -> String {
    let mut text = format!("\n## {}\n\n{}.\n\n```yaml\n- {}\n```\n\n", kind.name, kind.summary, kind.example);
    if let Some(short) = short(kind) {
        let _ = writeln!(text, "{short}\n");
    }
    text.push_str("| key | type | default | description |\n|---|---|---|---|\n");
    for key in keys(kind) {
        let default = match &key.default {
            _ if key.required => "required".to_owned(),
            None => String::new(),
            Some(value) => format!("`{value}`"),
        };
        let about = key.description.replace('|', "\\|");
        let _ = writeln!(text, "| `{}` | {} | {default} | {about} |", key.name, key.holds);
    }
    text
}

/// A page on a terminal.
pub fn text(kind: &KindInfo, width: usize) -> String {
    let mut lines = vec![format!("{}   {}.", paint(NAME, kind.name), plain(kind.summary)), String::new()];
    lines.extend(kind.example.lines().enumerate().map(|(row, line)| {
        let sign = if row == 0 { "- " } else { "  " };
        format!("  {sign}{line}")
    }));
    if let Some(short) = short(kind) {
        lines.extend([String::new(), plain(&short)]);
    }
    let keys = keys(kind);
    let column = keys.iter().map(|key| key.name.len()).max().unwrap_or(0);
    for key in &keys {
        let blanks = " ".repeat(column + 4);
        let default = match &key.default {
            _ if key.required => ", required".to_owned(),
            None => String::new(),
            Some(value) => format!(", default {value}"),
        };
        let name = format!("{}{}", paint(NAME, &key.name), " ".repeat(column - key.name.len()));
        lines
            .extend([String::new(), format!("  {name}  {}", paint(QUIET, &format!("{}{default}", plain(&key.holds))))]);
        let about = wrap(&plain(&key.description), width.min(100).saturating_sub(blanks.len()));
        lines.extend(about.into_iter().filter(|line| !line.is_empty()).map(|line| format!("{blanks}{line}")));
    }
    lines.join("\n")
}

/// All kinds, each in a line.
pub fn list(kinds: &[KindInfo]) -> String {
    let column = kinds.iter().map(|kind| kind.name.len()).max().unwrap_or(0);
    let line = |kind: &KindInfo| {
        format!("  {}{}  {}", paint(NAME, kind.name), " ".repeat(column - kind.name.len()), plain(kind.summary))
    };
    kinds.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The same as data.
pub fn data(kind: &KindInfo) -> Value {
    json!({
        "format": "armilla-kind",
        "version": 1,
        "name": kind.name,
        "summary": kind.summary,
        "example": kind.example,
        "short": short(kind).map(|_| kind.short),
        "keys": keys(kind),
    })
}

/// Markdown without its marks.
fn plain(text: &str) -> String {
    text.replace('`', "")
}

fn one_line(about: &Value) -> String {
    let text = about.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The type of a key in words.
fn kind_of(about: &Value, schema: &Value) -> String {
    let resolved = match about.get("$ref").and_then(Value::as_str) {
        Some(name) => name.strip_prefix('#').and_then(|pointer| schema.pointer(pointer)).unwrap_or(about),
        None => about,
    };
    if let Some(words) = choices(resolved) {
        return words;
    }
    for of in ["anyOf", "oneOf"] {
        if let Some(list) = resolved.get(of).and_then(Value::as_array) {
            let mut names: Vec<String> =
                list.iter().map(|one| kind_of(one, schema)).filter(|name| !name.is_empty()).collect();
            names.dedup();
            return names.join(" or ");
        }
    }
    match resolved.get("type") {
        Some(Value::String(name)) => word(name).to_owned(),
        Some(Value::Array(names)) => {
            let words = names.iter().filter_map(Value::as_str).map(word).filter(|name| !name.is_empty());
            words.collect::<Vec<_>>().join(" or ")
        }
        _ => "text".to_owned(),
    }
}

/// One of a few words, if it is that.
fn choices(about: &Value) -> Option<String> {
    let words = |values: &[&Value]| {
        let words: Vec<String> = values.iter().filter_map(|value| value.as_str()).map(|w| format!("`{w}`")).collect();
        words.join(" or ")
    };
    if let Some(list) = about.get("enum").and_then(Value::as_array) {
        return Some(words(&list.iter().collect::<Vec<_>>()));
    }
    let list = about.get("oneOf").and_then(Value::as_array)?;
    let constants: Vec<&Value> = list.iter().filter_map(|one| one.get("const")).collect();
    (constants.len() == list.len()).then(|| words(&constants))
}

fn word(kind: &str) -> &'static str {
    match kind {
        "string" => "text",
        "boolean" => "`true` or `false`",
        "integer" => "whole number",
        "number" => "number",
        "array" => "list",
        "object" => "map",
        _ => "",
    }
}
