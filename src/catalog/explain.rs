//! Where a value comes from and who reads it: what a catalog forgets once it is made.
//!
//! In: what a catalog is made of, and one input or one resource of it. Out: values with the answer to "is it secret", keys
//! as they were rendered, and every place that reads a name. Never: a secret in the open.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::compile::{applies, repeated};
use super::place::Instance;
use super::scope::Known;
use super::{Desired, RoleBlock};
use crate::diag::{Diagnostics, Origin};
use crate::name::HostName;
use crate::project::Project;
use crate::resource::Source;
use crate::role::{Item, Role};
use crate::secret::{MASK, Secrecy};
use crate::template::{self, Formula, Recipe};

/// What a name means to a role on a host, in the form its expressions use, and whether it is secret: then it is masked.
///
/// # Errors
/// What is wrong with the inputs of the role.
pub fn value_of(
    desired: &Desired<'_>,
    host: &HostName,
    instance: &Instance,
    name: &str,
) -> Result<(Json, Secrecy), Diagnostics> {
    let origin = &desired.roles[&instance.role].origin;
    // What cannot work all the same has values; only if this one has none, the reason is an answer.
    let (scope, problems) = known(desired).inputs(desired, host, instance);
    let formula = Recipe::Formula(Formula::parse(name, origin)?);
    let rendered = match formula.render(&scope) {
        Err(_) if problems.has_errors() => return Err(problems),
        rendered => rendered?,
    };
    let data = if rendered.secrecy.is_secret() { MASK.into() } else { rendered.data.exposed() };
    Ok((data, rendered.secrecy))
}

/// The keys of a resource as they were rendered, secrets masked; `item` is its place in the block.
///
/// # Errors
/// What is wrong with the inputs of the role.
pub fn keys_of(
    desired: &Desired<'_>,
    host: &HostName,
    instance: &Instance,
    block: &RoleBlock,
    item: usize,
) -> Result<Json, Diagnostics> {
    let (role, wanted) = (&desired.roles[&instance.role], &block.items[item]);
    let scope = known(desired).scope(desired, host, instance)?;
    // One entry of a role may stand for many: the same number of them come before it as in the block.
    let before = block.items[..item].iter().filter(|other| other.origin == wanted.origin).count();
    let Some(entry) = role.resources.iter().find(|entry| entry.origin == wanted.origin) else { return Ok(json!({})) };
    let mut open = Vec::new();
    for scope in repeated(entry, &scope)? {
        if applies(entry, &scope)? {
            open.push(scope);
        }
    }
    let Some(scope) = open.get(before) else { return Ok(json!({})) };
    Ok(entry.body.render(scope)?.data.masked())
}

fn known(desired: &Desired<'_>) -> Known {
    let (mut problems, mut known) = (Diagnostics::new(), Known::default());
    desired.placement.services.iter().for_each(|service| known.add(desired, service, &mut problems));
    known
}

/// A place that reads a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// What it is.
    pub reader: Reader,
    /// Where.
    pub origin: Origin,
}

/// What reads a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reader {
    /// The default of another input.
    Default(String),
    /// Something that other services may read.
    Provides(String),
    /// What cannot work.
    Refusal,
    /// A key of a resource: kind, and the key.
    Key(&'static str, String),
    /// Whether, or how often, a resource is there.
    Guard(&'static str),
    /// A template file of a resource.
    Template(String),
    /// A health check.
    Health(&'static str),
}

/// Every place in a role that reads a name, in the order of the role.
pub fn uses(role: &Role, project: &Project, name: &str) -> Vec<Use> {
    let mut found = Found { name, uses: Vec::new() };
    for input in role.inputs.iter().filter(|input| input.name != name) {
        input.default.iter().for_each(|recipe| found.recipe(recipe, &|_| Reader::Default(input.name.clone())));
    }
    for (key, recipe) in &role.provides {
        found.recipe(recipe, &|_| Reader::Provides(key.clone()));
    }
    for refusal in &role.refuse {
        found.formula(&refusal.when, Reader::Refusal);
        found.recipe(&refusal.because, &|_| Reader::Refusal);
        refusal.hint.iter().for_each(|hint| found.recipe(hint, &|_| Reader::Refusal));
    }
    for item in &role.resources {
        found.item(role, project, item);
    }
    for check in &role.health {
        found.recipe(&check.body, &|_| Reader::Health(check.kind));
    }
    found.uses.dedup();
    found.uses
}

struct Found<'a> {
    name: &'a str,
    uses: Vec<Use>,
}

impl Found<'_> {
    fn item(&mut self, role: &Role, project: &Project, item: &Item) {
        for guard in item.when.iter().chain(&item.repeat) {
            self.formula(guard, Reader::Guard(item.kind.name));
        }
        self.recipe(&item.body, &|key| Reader::Key(item.kind.name, key.to_owned()));
        if item.kind.source == Source::Template
            && let Some(file) = item.body.text_of("src")
            && let Ok(text) = template::Text::load(file, &project.library(&role.name))
        {
            text.files().for_each(|(file, start, reads)| self.template(file, start, &reads));
        }
    }

    fn template(&mut self, file: &str, start: &Origin, reads: &BTreeSet<String>) {
        if !self.is_read(reads) {
            return;
        }
        for (row, line) in start.source.text.lines().enumerate() {
            let (Some(at), true) = (word(line, self.name), line.contains("{{") || line.contains("{%")) else {
                continue;
            };
            let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let column = line[..at].chars().count() + 1;
            let origin = Origin { line: number(row + 1), column: number(column), ..start.clone() };
            self.uses.push(Use { reader: Reader::Template(file.to_owned()), origin });
        }
    }

    /// A recipe of many values is looked into, so that the place is that of the value; `reader` gets the first key.
    fn recipe(&mut self, recipe: &Recipe, reader: &dyn Fn(&str) -> Reader) {
        match recipe {
            Recipe::Map(entries, _) => {
                for (key, value) in entries {
                    if self.is_read(&value.reads()) {
                        self.uses.push(Use { reader: reader(key), origin: value.origin().clone() });
                    }
                }
            }
            other if self.is_read(&other.reads()) => {
                self.uses.push(Use { reader: reader(""), origin: other.origin().clone() });
            }
            _ => {}
        }
    }

    fn formula(&mut self, formula: &Formula, reader: Reader) {
        if self.is_read(&formula.reads()) {
            self.uses.push(Use { reader, origin: formula.origin().clone() });
        }
    }

    fn is_read(&self, reads: &BTreeSet<String>) -> bool {
        reads.iter().any(|read| self.means(read))
    }

    fn means(&self, read: &str) -> bool {
        read.split('.').next() == Some(self.name)
    }
}

/// Where a name stands in a line as a word of its own.
fn word(line: &str, name: &str) -> Option<usize> {
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(name).map(|(at, _)| at).find(|at| {
        let (before, after) = (line[..*at].chars().next_back(), line[at + name.len()..].chars().next());
        !inside(before) && before != Some('.') && !inside(after)
    })
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn a_name_is_found_as_a_word_of_its_own() {
        assert_eq!(word("my_port={{ port }}", "port"), Some(11));
        assert_eq!(word("{{ x.port }} {{ ports }}", "port"), None);
    }
}
