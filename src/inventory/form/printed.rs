//! The JSON that a dynamic inventory prints.
//!
//! In: what the program of `inventory_command` printed. Out: everything it says, in a [`Draft`]. Never: a second question
//! to the program: the variables of hosts are in `_meta`, or there are none.
//!
//! The form is that of Ansible's scripts
//! (<https://docs.ansible.com/ansible/latest/dev_guide/developing_inventory.html#inventory-script-conventions>): each group
//! is a list of hosts, or a map with `hosts`, `vars` and `children`; `_meta.hostvars` has the variables of hosts.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::settings::Settings;
use super::{Draft, Owner};
use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::name::HostName;
use crate::yaml::{Key, Node, Yaml};

/// Reads the text into the draft.
pub(super) fn read(output: &Arc<Source>, draft: &mut Draft, problems: &mut Diagnostics) {
    // A place in what a program printed helps nobody: problems name the group or host instead.
    let origin = Origin::start(&Source::new(output.name.clone(), ""));
    let mut reader = Reader { draft, problems, origin };
    match serde_json::from_str::<Value>(&output.text) {
        Ok(Value::Object(groups)) => reader.all(groups),
        Ok(_) => reader.wrong("the output is not a map of groups".to_owned()),
        Err(why) => {
            let start: String = output.text.trim().chars().take(60).collect();
            reader.wrong(format!("the output is not JSON: {why}; it begins `{}`", start.escape_debug()));
        }
    }
}

struct Reader<'a> {
    draft: &'a mut Draft,
    problems: &'a mut Diagnostics,
    origin: Origin,
}

impl Reader<'_> {
    fn wrong(&mut self, what: String) {
        (self.draft.hosts_unsure, self.draft.groups_unsure) = (true, true);
        self.problems.push(Diagnostic::error(what).at(&self.origin));
    }

    fn all(&mut self, mut groups: Map<String, Value>) {
        let meta = groups.shift_remove("_meta");
        for (name, group) in groups {
            match self.draft.owner(&name, &self.origin) {
                Ok(owner) => self.group(owner, &name, group),
                Err(problem) => self.wrong(problem.what),
            }
        }
        match meta.map(|mut meta| meta["hostvars"].take()) {
            Some(Value::Object(hosts)) => hosts.into_iter().for_each(|(name, variables)| self.host(&name, variables)),
            Some(_) => self.wrong("`_meta.hostvars` is not a map of hosts".to_owned()),
            None => {
                let problem =
                    Diagnostic::warning("no `_meta` in the output: no host has variables of its own").at(&self.origin);
                self.problems.push(problem.hint("armilla runs the program once and never asks for single hosts"));
            }
        }
    }

    fn group(&mut self, owner: Owner, name: &str, group: Value) {
        let mut group = match group {
            Value::Object(group) => group,
            hosts => Map::from_iter([("hosts".to_owned(), hosts)]),
        };
        if !group.is_empty() && !["hosts", "vars", "children"].iter().any(|key| group.contains_key(*key)) {
            // Of old, a map without any of the keys is the variables of a host of that name.
            group = Map::from_iter([
                ("hosts".to_owned(), Value::from(vec![name])),
                ("vars".to_owned(), Value::Object(group)),
            ]);
        }
        for host in self.texts(&mut group, name, "hosts") {
            let host = HostName::new(&host).map_err(|invalid| invalid.to_string());
            match host {
                Ok(_) if self.draft.hosts.len() >= super::range::MOST => {
                    return self.wrong(format!("an inventory can have at most {} hosts", super::range::MOST));
                }
                Ok(host) => {
                    let index = self.draft.host(host);
                    self.draft.join(owner, &[index]);
                }
                Err(why) => self.wrong(format!("in the group `{name}`: {why}")),
            }
        }
        if let Some(settings) =
            group.remove("vars").and_then(|vars| self.variables(vars, &format!("the group `{name}`")))
        {
            let set = self.draft.set(owner, settings);
            self.problems.keep(set.map_err(Into::into));
        }
        for child in self.texts(&mut group, name, "children") {
            let adopted =
                self.draft.owner(&child, &self.origin).and_then(|child| self.draft.adopt(owner, child, &self.origin));
            self.problems.keep(adopted.map_err(Into::into));
        }
    }

    fn texts(&mut self, group: &mut Map<String, Value>, name: &str, key: &str) -> Vec<String> {
        let Some(value) = group.remove(key) else { return Vec::new() };
        let texts = match value {
            Value::Array(items) => items.into_iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        texts.unwrap_or_else(|| {
            self.wrong(format!("`{key}` of the group `{}` is not a list of names", name.escape_debug()));
            Vec::new()
        })
    }

    /// Variables of a host that is in no group say nothing, as in Ansible.
    fn host(&mut self, name: &str, variables: Value) {
        let settings = self.variables(variables, &format!("the host `{name}`"));
        if let (Some(index), Some(settings)) =
            (self.draft.find_host(name), settings.filter(|settings| !settings.is_empty()))
        {
            self.draft.hosts[index].said.settings.push(settings);
        }
    }

    fn variables(&mut self, variables: Value, of: &str) -> Option<Settings> {
        let node = node(variables, &self.origin);
        if node.map().is_none() {
            self.wrong(format!("the variables of {of} must be a map, not {}", node.kind()));
            return None;
        }
        let read = Settings::read_loosely(node, self.problems);
        self.problems.keep(read)
    }
}

/// JSON as a tree. Numbers too large for 64 bits stay texts.
fn node(value: Value, origin: &Origin) -> Node {
    let value = match value {
        Value::Null => Yaml::Null,
        Value::Bool(value) => Yaml::Bool(value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Yaml::Int(number),
            (None, Some(value)) if !number.is_u64() => Yaml::Float(value),
            _ => Yaml::Text(number.to_string()),
        },
        Value::String(text) => Yaml::Text(text),
        Value::Array(items) => Yaml::List(items.into_iter().map(|item| node(item, origin)).collect()),
        Value::Object(entries) => {
            let key = |name| Key { name, origin: origin.clone() };
            Yaml::Map(entries.into_iter().map(|(name, value)| (key(name), node(value, origin))).collect())
        }
    };
    Node::new(origin, value)
}
