//! Why a variable has its value, and why a resource is on a host.
//!
//! In: what was found out about them. Out: a page for a person; the same values are the data for programs. Never: a secret.

use serde::Serialize;
use serde_json::Value;

use super::layout::{NAME, QUIET, WELL, WRONG, pad, paint, wrap};
use super::words::{one_line, reason};
use super::{diff, fold};
use crate::plan::{Entry, Verdict};
use crate::resource::{Field, FieldValue};

/// A variable on a host.
#[derive(Debug, Clone, Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// On which host.
    pub host: String,
    /// What it means to each role of the host that has such an input; none if no role has one.
    pub inputs: Vec<Input>,
    /// What sets it, the weakest first, where no role of the host has such an input.
    pub settings: Vec<Setting>,
    /// The roles that have such an input, where none of them is on the host.
    pub elsewhere: Vec<String>,
}

/// What a variable means to a role.
#[derive(Debug, Clone, Serialize)]
pub struct Input {
    /// The role.
    pub role: String,
    /// The service it is on this host, if it is one.
    pub service: Option<String>,
    /// What its expressions see.
    pub value: Value,
    /// What a number counts: `bytes`, `seconds`, or nothing.
    pub unit: &'static str,
    /// Why the value is not known.
    pub doubt: Option<String>,
    /// Its type, as the role declares it.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is for.
    pub description: String,
    /// Where the role declares it.
    pub declared: String,
    /// Everything that sets it, the weakest first; the last one counts.
    pub settings: Vec<Setting>,
    /// Why the last one counts.
    pub because: String,
    /// What reads it: what, and where.
    pub uses: Vec<(String, String)>,
}

/// One place that sets a variable.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    /// At which level.
    pub level: String,
    /// To what, as it is written.
    pub value: String,
    /// Where.
    pub origin: String,
}

/// A variable as text.
pub fn variable(variable: &Variable, width: usize) -> String {
    let mut lines = Vec::new();
    for input in &variable.inputs {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(input_lines(variable, input, width));
    }
    if variable.inputs.is_empty() {
        lines.push(format!("{} on {}", paint(NAME, &one_line(&variable.name)), variable.host));
        lines.extend(settings(&variable.settings));
        let others = match variable.elsewhere.as_slice() {
            [] => "no role has such an input".to_owned(),
            roles => format!("no role of this host has such an input; {} has", super::words::list(roles)),
        };
        lines.push(format!("  {}  {others}", label("used by")));
    }
    lines.join("\n")
}

fn input_lines(variable: &Variable, input: &Input, width: usize) -> Vec<String> {
    let value = match &input.doubt {
        Some(doubt) => paint(WRONG, &one_line(doubt)),
        None => paint(WELL, format!("{} {}", shown(&input.value), input.unit).trim_end()),
    };
    let service = match &input.service {
        Some(name) if *name != input.role => format!("role {} as the service {name}", input.role),
        Some(_) => format!("service {}", input.role),
        None => format!("role {}", input.role),
    };
    let mut lines = vec![format!("{} on {}, {service}", paint(NAME, &variable.name), variable.host)];
    lines.push(format!("  {}  {value}", label("value")));
    lines.push(format!("  {}  {}   {}", label("type"), one_line(&input.kind), paint(QUIET, &input.declared)));
    lines.extend(labelled("description", &input.description, width));
    lines.extend(settings(&input.settings));
    lines.extend(labelled("because", &input.because, width));
    let column = input.uses.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
    for (index, (what, origin)) in input.uses.iter().enumerate() {
        let label = label(if index == 0 { "used by" } else { "" });
        lines.push(format!("  {label}  {}  {}", pad(&one_line(what), column), paint(QUIET, &one_line(origin))));
    }
    if input.uses.is_empty() {
        lines.push(format!("  {}  nothing in the role uses it", label("used by")));
    }
    lines
}

/// The weakest first, as they override each other; the last one counts.
fn settings(settings: &[Setting]) -> Vec<String> {
    let width = |text: fn(&Setting) -> &str| settings.iter().map(|s| text(s).chars().count()).max().unwrap_or(0);
    let (levels, values) = (width(|s| &s.level), width(|s| &s.value).min(40));
    let last = settings.len().saturating_sub(1);
    let lines = settings.iter().enumerate().map(|(index, setting)| {
        let (sign, style) = if index == last { ("*", NAME) } else { (" ", QUIET) };
        let value = pad(&one_line(&setting.value), values);
        let text = format!("{sign} {}  {value}", pad(&setting.level, levels));
        let label = label(if index == 0 { "set by" } else { "" });
        format!("  {label}  {}  {}", paint(style, &text), paint(QUIET, &one_line(&setting.origin)))
    });
    lines.collect()
}

/// A value as one would write it.
fn shown(value: &Value) -> String {
    one_line(&value.to_string())
}

const LABELS: usize = 11;

fn label(text: &str) -> String {
    paint(QUIET, &pad(text, LABELS))
}

fn labelled(name: &str, text: &str, width: usize) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let lines = wrap(&one_line(text), width.saturating_sub(LABELS + 4));
    let labels = std::iter::once(name).chain(std::iter::repeat(""));
    labels.zip(lines).map(|(name, line)| format!("  {}  {line}", label(name))).collect()
}

/// A resource on a host.
#[derive(Debug, Clone, Serialize)]
pub struct Resource {
    /// Its kind.
    pub kind: String,
    /// What it owns.
    pub target: String,
    /// On which host.
    pub host: String,
    /// By which role.
    pub role: String,
    /// Where it is written.
    pub origin: String,
    /// Why the role is on the host, from the service down.
    pub why: Vec<String>,
    /// Its keys as they were rendered, secrets masked.
    pub keys: Vec<(String, Value)>,
    /// What is done before it.
    pub after: Vec<String>,
    /// What hears of a change of it.
    pub notifies: Vec<String>,
    /// Whose changes it hears of.
    pub hears: Vec<String>,
    /// What the host said.
    pub now: Now,
}

/// What is known of a resource on its host.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Now {
    /// The host was not asked.
    NotAsked,
    /// It did not answer.
    Unreachable(String),
    /// It is as described.
    InSync,
    /// It is in the plan.
    #[serde(serialize_with = "as_text")]
    Planned(Box<Entry>),
}

fn as_text<S: serde::Serializer>(entry: &Entry, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&standing(entry))
}

/// A resource as text.
pub fn resource(resource: &Resource, width: usize) -> String {
    let name = format!("{} {}", resource.kind, one_line(&resource.target));
    let head = format!("{} on {}, role {}", paint(NAME, &name), resource.host, resource.role);
    let mut lines = vec![head, format!("  {}  {}", label("written at"), one_line(&resource.origin))];
    lines.extend(list("here by", &resource.why, width));
    for (index, (key, value)) in resource.keys.iter().enumerate() {
        let text = format!("{key}: {}", shown(value));
        let text =
            if text.chars().count() > 300 { text.chars().take(297).chain("...".chars()).collect() } else { text };
        lines.extend(labelled(if index == 0 { "keys" } else { "" }, &text, width));
    }
    lines.extend(list("after", &resource.after, width));
    lines.extend(list("notifies", &resource.notifies, width));
    lines.extend(list("hears", &resource.hears, width));
    lines.extend(now(&resource.now, width));
    lines.join("\n")
}

fn list(name: &str, texts: &[String], width: usize) -> Vec<String> {
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    names.zip(texts).flat_map(|(name, text)| labelled(name, text, width)).collect()
}

fn now(now: &Now, width: usize) -> Vec<String> {
    let line = |text: &str| vec![format!("  {}  {text}", label("now"))];
    match now {
        Now::NotAsked => line("the host was not read (--offline)"),
        Now::Unreachable(why) => line(&paint(WRONG, &one_line(why))),
        Now::InSync => line(&paint(WELL, "in sync")),
        Now::Planned(entry) => {
            let mut lines = labelled("now", &standing(entry), width);
            let fields = fold::change(&entry.verdict).into_iter().flat_map(|change| &change.fields);
            lines.extend(fields.flat_map(field_lines));
            lines
        }
    }
}

/// What the plan says of it, and why.
fn standing(entry: &Entry) -> String {
    let because = reason(&entry.reason);
    match &entry.verdict {
        Verdict::Change(change) => format!("will change ({}): {because}", action(change.action)),
        Verdict::MayChange(_) => format!("may change: {because}"),
        Verdict::Refused => format!("refused: {because}"),
        Verdict::Unreadable => format!("its state could not be read: {because}"),
        Verdict::Blocked => format!("not planned: it {because}"),
        Verdict::Keep => format!("it stays: {because}"),
    }
}

fn action(action: crate::resource::Action) -> String {
    serde_json::to_value(action).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn field_lines(field: &Field) -> Vec<String> {
    let blanks = " ".repeat(LABELS + 6);
    let side = |text: &Option<String>| text.as_ref().map_or_else(|| "nothing".to_owned(), |text| one_line(text));
    match &field.value {
        FieldValue::Text { from, to } => vec![format!("{blanks}{}  {} -> {}", field.name, side(from), side(to))],
        FieldValue::Diff { from, to } => diff::show(&diff::lines(from, to), true, LABELS + 6),
        FieldValue::Secret => vec![format!("{blanks}{}  differs (secret)", field.name)],
        FieldValue::Binary { .. } => vec![format!("{blanks}{}  differs (not text)", field.name)],
    }
}
