//! Why a variable has its value on a host.
//!
//! In: everything that is written down, and facts where a default is computed from them. Out: a page. Never: a secret.

use serde_json::Value;

use super::super::hosts::{self, Hosts};
use super::super::screen::Telling;
use super::super::{Exit, Failure, ui};
use super::{Asked, instances};
use crate::catalog::explain::{self as why, Reader};
use crate::catalog::{Facts, Instance};
use crate::name::ServiceName;
use crate::report::human::explain::{self as human, Input, Setting};
use crate::role::{self, InputType};
use crate::secret::MASK;
use crate::vars::{Level, Variable};
use crate::workspace::Environment;

impl Asked<'_> {
    pub(super) async fn variable(&self, loaded: &Environment) -> Result<Exit, Failure> {
        let facts = if self.depends_on_facts(loaded) { self.facts(loaded).await? } else { Ok(Facts::new()) };
        let name = self.text.as_str();
        let secret = loaded.roles.values().flat_map(|role| &role.inputs).any(|i| i.name == name && is_secret(i));
        let of = |input: &role::Input| input.name == name;
        let mut inputs = Vec::new();
        for instance in instances(loaded, &self.host) {
            let role = &loaded.roles[&instance.role];
            if let Some(input) = role.inputs.iter().find(|input| of(input)) {
                inputs.push(self.input(loaded, instance, role, input, facts.as_ref()));
            }
        }
        let layers = loaded.variables.get(&self.host).cloned().unwrap_or_default();
        let elsewhere = loaded.roles.values().filter(|role| role.inputs.iter().any(of)).map(|r| r.name.to_string());
        let variable = human::Variable {
            name: name.to_owned(),
            host: self.host.to_string(),
            settings: layers.every(name).iter().map(|variable| setting(variable, secret)).collect(),
            elsewhere: elsewhere.collect(),
            inputs,
        };
        self.print("variable", &variable, &human::variable(&variable, ui::width()));
        Ok(if facts.is_err() && !self.command.offline { Exit::Unreachable } else { Exit::Success })
    }

    /// Only a default can be computed from facts, and only where nothing sets it.
    fn depends_on_facts(&self, loaded: &Environment) -> bool {
        let reads = |role: &role::Role| {
            let defaults = role.inputs.iter().filter_map(|input| input.default.as_ref());
            defaults.flat_map(crate::template::Recipe::reads).any(|read| read.split('.').next() == Some("facts"))
        };
        let roles = instances(loaded, &self.host).filter_map(|instance| loaded.roles.get(&instance.role));
        let mut roles = roles.filter(|role| role.inputs.iter().any(|input| input.name == self.text));
        roles.any(reads)
    }

    /// The facts of the host, or why they are not known.
    async fn facts(&self, loaded: &Environment) -> Result<Result<Facts, String>, Failure> {
        if self.command.offline {
            return Ok(Err("the host was not read (--offline)".to_owned()));
        }
        let read = async |hosts: &Hosts| hosts.session.facts(loaded, &loaded.facts_needed(), &hosts.stop).await;
        let contact = hosts::contact(self.global, &self.command.connection, Telling::default(), read);
        let (facts, mut unreachable) = contact.await?;
        Ok(unreachable.remove(&self.host).map_or(Ok(facts), Err))
    }

    fn input(
        &self,
        loaded: &Environment,
        instance: &Instance,
        role: &role::Role,
        input: &role::Input,
        facts: Result<&Facts, &String>,
    ) -> Input {
        let (known, doubt) = match facts {
            Ok(facts) => (facts, None),
            Err(why) => (&Facts::new(), Some(why.clone())),
        };
        let limit = [self.host.clone()].into();
        let value = loaded.desired(known, &limit, |desired| why::value_of(desired, &self.host, instance, &input.name));
        let doubt = value.as_ref().err().map(|problems| {
            let first = problems.iter().next().map(|problem| problem.what.clone()).unwrap_or_default();
            format!("not known: {}", doubt.unwrap_or(first))
        });
        let every = self.every(loaded, instance, input);
        let settings = every.iter().map(|variable| setting(variable, is_secret(input)));
        let uses = why::uses(role, &loaded.project, &input.name);
        Input {
            role: role.name.to_string(),
            service: instance.service.as_ref().map(ToString::to_string),
            value: value.map_or(Value::Null, |(data, _)| if is_secret(input) { MASK.into() } else { data }),
            doubt,
            unit: unit(input),
            kind: declared(input),
            description: input.description.split_whitespace().collect::<Vec<_>>().join(" "),
            declared: input.origin.to_string(),
            because: because(loaded, input, &every),
            settings: default(role, input).into_iter().chain(settings).collect(),
            uses: uses.into_iter().map(|found| (reader(&found.reader), found.origin.to_string())).collect(),
        }
    }

    /// Everything that sets it but the role itself, the weakest first.
    fn every(&self, loaded: &Environment, instance: &Instance, input: &role::Input) -> Vec<Variable> {
        let mut layers = loaded.variables.get(&self.host).cloned().unwrap_or_default();
        let of_service =
            |service: &ServiceName| loaded.placement.services.iter().find(|placed| placed.definition.name == *service);
        if let Some(placed) = instance.service.as_ref().and_then(of_service) {
            let vars = placed.definition.vars.iter().map(|(key, node)| (key.name.clone(), node.clone()));
            layers = layers.with(Level::Service(placed.definition.name.clone()), vars.collect());
        }
        layers.every(&input.name)
    }
}

fn is_secret(input: &role::Input) -> bool {
    input.kind == InputType::Secret
}

fn setting(variable: &Variable, secret: bool) -> Setting {
    let value = if secret { MASK.to_owned() } else { variable.node.to_json().to_string() };
    Setting { level: variable.level.to_string(), value, origin: variable.node.origin.to_string() }
}

/// The default as the role's author wrote it.
fn default(role: &role::Role, input: &role::Input) -> Option<Setting> {
    let recipe = input.default.as_ref()?;
    let value = match recipe {
        _ if is_secret(input) => MASK.to_owned(),
        crate::template::Recipe::Literal(data, _) => data.masked().to_string(),
        other => format!("computed from {}", other.reads().into_iter().collect::<Vec<_>>().join(", ")),
    };
    let level = Level::Role(role.name.clone()).to_string();
    Some(Setting { level, value, origin: recipe.origin().to_string() })
}

/// The type and its bounds, as words.
fn declared(input: &role::Input) -> String {
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
fn unit(input: &role::Input) -> &'static str {
    match input.kind {
        InputType::Size => "bytes",
        InputType::Duration => "seconds",
        _ => "",
    }
}

/// A bound as one would write it.
fn amount(input: &role::Input, bound: f64) -> String {
    let units = [("G", 1_073_741_824.0), ("M", 1_048_576.0), ("K", 1024.0)];
    let whole = units.iter().find(|(_, size)| bound >= *size && bound % size == 0.0);
    match (&input.kind, whole) {
        (InputType::Size, Some((unit, size))) => format!("{}{unit}", bound / size),
        _ => format!("{bound} {}", unit(input)).trim_end().to_owned(),
    }
}

/// Which rule made the last one win.
fn because(loaded: &Environment, input: &role::Input, every: &[Variable]) -> String {
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
        (Level::Group(own), Some(Level::Group(other))) if below(loaded, other.as_str(), own.as_str()) => {
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
fn below(loaded: &Environment, parent: &str, child: &str) -> bool {
    let children = loaded.inventory.group(parent).map(|group| group.children.as_slice()).unwrap_or_default();
    children.iter().any(|name| name.as_str() == child || below(loaded, name.as_str(), child))
}

fn reader(reader: &Reader) -> String {
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
