//! How an input was written: its type and bounds, its default, the places that set it, and why one of them counts.

use super::explain::Setting;
use crate::catalog::explain::Reader;
use crate::inventory::Inventory;
use crate::role::{Input, InputType, Role};
use crate::secret::MASK;
use crate::vars::{Level, Variable};

/// Whether its value is shown to nobody.
pub fn is_secret(input: &Input) -> bool {
    input.kind == InputType::Secret
}

/// One place that sets it; a secret is masked.
pub fn setting(variable: &Variable, secret: bool) -> Setting {
    let value = if secret { MASK.to_owned() } else { variable.node.to_json().to_string() };
    Setting { level: variable.level.to_string(), value, origin: variable.node.origin.to_string() }
}

/// The default as the role's author wrote it.
pub fn default(role: &Role, input: &Input) -> Option<Setting> {
    let recipe = input.default.as_ref()?;
    let computed = || format!("computed from {}", recipe.reads().into_iter().collect::<Vec<_>>().join(", "));
    let value = if is_secret(input) {
        MASK.to_owned()
    } else {
        recipe.literal().map_or_else(computed, |data| data.masked().to_string())
    };
    let level = Level::Role(role.name.clone()).to_string();
    Some(Setting { level, value, origin: recipe.origin().to_string() })
}

/// The type and its bounds, as words.
pub fn declared(input: &Input) -> String {
    let bound = |word: &str, bound: Option<f64>| bound.map(|bound| format!("{word} {}", amount(input, bound)));
    let choices = match &input.kind {
        InputType::Choice(choices) => Some(format!("one of {}", choices.join(", "))),
        _ => None,
    };
    let pattern =
        input.pattern.as_ref().map(|p| p.as_str().trim_start_matches("^(?:").trim_end_matches(")$").to_owned());
    let pattern = pattern.map(|pattern| format!("matching {pattern}"));
    let required = input.required.then(|| "must be set".to_owned());
    let name = format!("{:?}", input.kind).split('(').next().unwrap_or_default().to_lowercase();
    let more = [choices, bound("at least", input.min), bound("at most", input.max), pattern, required];
    std::iter::once(name).chain(more.into_iter().flatten()).collect::<Vec<_>>().join(", ")
}

/// What its value counts, where the number alone does not say it.
pub fn unit(input: &Input) -> &'static str {
    match input.kind {
        InputType::Size => "bytes",
        InputType::Duration => "seconds",
        _ => "",
    }
}

/// A bound as one would write it.
fn amount(input: &Input, bound: f64) -> String {
    let units = [("G", 1_073_741_824.0), ("M", 1_048_576.0), ("K", 1024.0)];
    let whole = units.iter().find(|(_, size)| bound >= *size && bound % size == 0.0);
    match (&input.kind, whole) {
        (InputType::Size, Some((unit, size))) => format!("{}{unit}", bound / size),
        _ => format!("{bound} {}", unit(input)).trim_end().to_owned(),
    }
}

/// Which rule made the last one win.
pub fn because(inventory: &Inventory, input: &Input, every: &[Variable]) -> String {
    let Some(winner) = every.last() else {
        let computed = input.default.is_some();
        return if computed { "not set: the role's default applies" } else { "not set" }.to_owned();
    };
    let before = every.len().checked_sub(2).map(|index| &every[index].level);
    match (&winner.level, before) {
        (Level::CommandLine, _) => "--var overrides everything else".to_owned(),
        (Level::Host(_), Some(Level::Host(_))) | (Level::All, Some(Level::All)) => {
            "at one level the last one wins: files of group_vars and host_vars after hosts.yml".to_owned()
        }
        (Level::Host(_), _) => "values of the host override those of its groups".to_owned(),
        (Level::Group(own), Some(Level::Group(other))) if own == other => {
            "at one level the last one wins: files of group_vars and host_vars after hosts.yml".to_owned()
        }
        (Level::Group(own), Some(Level::Group(other))) if below(inventory, other.as_str(), own.as_str()) => {
            format!("the group {own} is a child of {other}: a child overrides its parent")
        }
        (Level::Group(own), Some(Level::Group(other))) => {
            format!("{own} is deeper than {other}, or as deep with the later name")
        }
        (Level::Group(_), Some(Level::All)) => "a group overrides all hosts".to_owned(),
        (Level::Group(_) | Level::All, _) => "the inventory overrides the service and the role's default".to_owned(),
        (Level::Service(_), _) => "the service overrides the role's default".to_owned(),
        (Level::Role(_), _) => "not set: the role's default applies".to_owned(),
    }
}

/// Whether a group is below another.
fn below(inventory: &Inventory, parent: &str, child: &str) -> bool {
    let children = inventory.group(parent).map(|group| group.children.as_slice()).unwrap_or_default();
    children.iter().any(|name| name.as_str() == child || below(inventory, name.as_str(), child))
}

/// What reads it, in words.
pub fn reader(reader: &Reader) -> String {
    match reader {
        Reader::Default(input) => format!("default of {input}"),
        Reader::Provides(key) => format!("provides {key}"),
        Reader::Refusal => "refuse".to_owned(),
        Reader::Key(kind, key) => format!("{kind} {key}").trim_end().to_owned(),
        Reader::Guard(kind) => format!("{kind} when or loop"),
        Reader::Template(file) => format!("template {file}"),
        Reader::Health(kind) => format!("health {kind}"),
    }
}
