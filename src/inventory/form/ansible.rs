//! Ansible's YAML form.
//!
//! In: one YAML text, as a tree. Out: everything it says, in a [`Draft`]. Never: a key passed over without a warning.
//!
//! The form is that of Ansible's plugin
//! (<https://docs.ansible.com/ansible/latest/collections/ansible/builtin/yaml_inventory.html>): groups by name, each with
//! `hosts`, `vars` and `children`; a name alone, `hosts: web1`, is a map with nothing in it. What Ansible warns of and goes
//! on, so do we.

use std::sync::Arc;

use super::super::settings::Settings;
use super::ini::host_and_port;
use super::{Draft, Owner};
use crate::diag::{Diagnostic, Diagnostics, Source};
use crate::name::did_you_mean;
use crate::yaml::{self, Dialect, Key, Node, Yaml};

const KEYS: [&str; 3] = ["hosts", "children", "vars"];

/// Whether a text with the name of our own form is Ansible's.
pub(in crate::inventory) fn is_meant(source: &Arc<Source>) -> bool {
    let Ok(root) = yaml::parse_as(source, Dialect::Ansible) else { return false };
    let Some(entries) = root.map() else { return false };
    let group = |(key, node): &(Key, Node)| {
        matches!(key.name.as_str(), super::ALL | super::UNGROUPED | "plugin")
            || KEYS.iter().any(|known| node.get(known).is_some())
    };
    !entries.iter().any(|(key, _)| super::NATIVE_KEYS.contains(&key.name.as_str())) && entries.iter().any(group)
}

/// Reads the tree into the draft.
pub(super) fn read(root: Node, draft: &mut Draft, problems: &mut Diagnostics) {
    let mut reader = Reader { draft, problems };
    match root.value {
        Yaml::Null => {}
        Yaml::Map(entries) if entries.iter().any(|(key, _)| key.name == "plugin") => {
            let problem = Diagnostic::error("this file configures a plugin of Ansible, which armilla does not run")
                .at(&root.origin);
            reader.wrong(
                problem.hint(
                    "name a program in environment.yml: `inventory_command: [ansible-inventory, -i, FILE, --list]`",
                ),
            );
        }
        Yaml::Map(entries) => {
            for (key, node) in entries {
                reader.group(&key, node);
            }
        }
        _ => {
            let problem = Diagnostic::error(format!("an inventory must be a map of groups, not {}", root.kind()))
                .at(&root.origin);
            reader.wrong(problem.hint("write `all: { hosts: { web1: } }`"));
        }
    }
}

struct Reader<'a> {
    draft: &'a mut Draft,
    problems: &'a mut Diagnostics,
}

impl Reader<'_> {
    /// A problem after which hosts or groups may be missing.
    fn wrong(&mut self, problem: Diagnostic) {
        (self.draft.hosts_unsure, self.draft.groups_unsure) = (true, true);
        self.problems.push(problem);
    }

    fn warn(&mut self, what: String, key: &Key, hint: Option<String>) {
        let problem = Diagnostic::warning(what).at(&key.origin).wide(key.name.chars().count());
        self.problems.push(problem.maybe_hint(hint));
    }

    fn group(&mut self, key: &Key, node: Node) -> Option<Owner> {
        if !matches!(node.value, Yaml::Map(_) | Yaml::Null) {
            self.warn(
                format!("`{}` is ignored: a group must be a map, not {}", key.name.escape_debug(), node.kind()),
                key,
                None,
            );
            return None;
        }
        self.quoted(key);
        let owner = match self.draft.owner(&key.name, &key.origin) {
            Ok(owner) => owner,
            Err(problem) => {
                self.wrong(problem);
                return None;
            }
        };
        let Yaml::Map(entries) = node.value else { return Some(owner) };
        for (part, node) in entries {
            match part.name.as_str() {
                "vars" => self.variables(owner, node),
                "children" => self.children(owner, &key.name, node),
                "hosts" => self.hosts(owner, &key.name, node),
                other => {
                    let what =
                        format!("`{}` is ignored: a group has `hosts`, `children` and `vars`", other.escape_debug());
                    self.warn(what, &part, did_you_mean(other, KEYS).filter(|hint| hint.starts_with("did")));
                }
            }
        }
        Some(owner)
    }

    fn variables(&mut self, owner: Owner, node: Node) {
        let set = Settings::read_loosely(node, self.problems)
            .and_then(|settings| self.draft.set(owner, settings).map_err(Into::into));
        self.problems.keep(set);
    }

    /// The entries of a part of a group, which may be one name.
    fn entries(&mut self, node: Node, part: &str, group: &str) -> Vec<(Key, Node)> {
        let kind = node.kind();
        match node.value {
            Yaml::Map(entries) => entries,
            Yaml::Null => Vec::new(),
            Yaml::Text(name) => {
                let nothing = Node::new(&node.origin, Yaml::Null);
                vec![(Key { name, origin: node.origin }, nothing)]
            }
            _ => {
                let what = format!("`{part}` of the group `{group}` must be a map, not {kind}");
                let hint = format!("write `{part}: {{ NAME: }}`, a name and a colon in each line");
                self.wrong(Diagnostic::error(what).at(&node.origin).hint(hint));
                Vec::new()
            }
        }
    }

    fn children(&mut self, parent: Owner, group: &str, node: Node) {
        for (key, node) in self.entries(node, "children", group) {
            if let Some(child) = self.group(&key, node) {
                let adopted = self.draft.adopt(parent, child, &key.origin);
                self.problems.keep(adopted.map_err(Into::into));
            }
        }
    }

    fn hosts(&mut self, owner: Owner, group: &str, node: Node) {
        for (key, node) in self.entries(node, "hosts", group) {
            self.quoted(&key);
            let (pattern, port) = host_and_port(&key.name);
            let known = self.draft.hosts.len();
            let expanded = self.draft.expand(pattern, &key.origin);
            let settings = Settings::read_loosely(node, self.problems);
            let settings = self.problems.keep(settings);
            let Some(hosts) = self.problems.keep(expanded.map_err(Into::into)) else { continue };
            let port = port.map(|port| {
                Settings::from_iter([("ansible_port".to_owned(), Node::new(&key.origin, Yaml::Int(port)))])
            });
            for host in &hosts {
                let said = &mut self.draft.hosts[*host].said;
                said.settings.extend(port.iter().filter(|_| *host >= known).cloned());
                said.settings.extend(settings.iter().filter(|settings| !settings.is_empty()).cloned());
            }
            self.draft.join(owner, &hosts);
        }
    }

    /// A name that YAML 1.1 reads as something else is a mistake, as in Ansible.
    fn quoted(&mut self, key: &Key) {
        let changed = matches!(key.name.as_str(), "true" | "false" | "null") || key.name.parse::<f64>().is_ok();
        let written = |line: &str| line.chars().nth(key.origin.column as usize - 1);
        if changed
            && !key.origin.source.line(key.origin.line).and_then(written).is_some_and(|c| matches!(c, '"' | '\''))
        {
            let problem = Diagnostic::error(format!("`{}` is not read as text here: a name must be text", key.name));
            self.wrong(problem.at(&key.origin).hint("put it in quotes"));
        }
    }
}
