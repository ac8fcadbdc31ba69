//! Our own form of `hosts.yml`.
//!
//! In: one YAML text. Out: everything it says, in a [`Draft`]; every key and name that is wrong, in the list of
//! problems. Never: a key that is silently ignored, or a host that is reached in two ways.
//!
//! The keys are shown in the documentation of [`crate::inventory`].

use std::collections::HashSet;
use std::sync::Arc;

use super::super::connection::{Become, Connection, Method, address_char, user_char};
use super::super::range;
use super::super::settings::Settings;
use super::Draft;
use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::name::{self, GroupName};
use crate::yaml::{self, Key, Node, Yaml};

pub(in crate::inventory) const FILE_KEYS: [&str; 4] = ["vars", "connection", "groups", "hosts"];
const GROUP_KEYS: [&str; 4] = ["hosts", "children", "vars", "connection"];
const HOST_KEYS: [&str; 7] = ["address", "port", "user", "key", "connection", "become", "vars"];
const CONNECTION_KEYS: [&str; 5] = ["port", "user", "key", "become", "method"];

/// Ansible's words for our keys.
const ANSIBLE: [(&str, &str); 8] = [
    ("ansible_host", "address"),
    ("ansible_ssh_host", "address"),
    ("ansible_port", "port"),
    ("ansible_user", "user"),
    ("ansible_ssh_user", "user"),
    ("ansible_ssh_private_key_file", "key"),
    ("ansible_connection", "connection"),
    ("ansible_become", "become"),
];

/// Reads the text into the draft.
pub(super) fn read(source: &Arc<Source>, draft: &mut Draft, problems: &mut Diagnostics) {
    match yaml::parse(source) {
        Ok(root) => Reader { draft, problems }.file(root),
        Err(problem) => {
            problems.push(problem);
            draft.hosts_unsure = true;
            draft.groups_unsure = true;
        }
    }
}

struct Reader<'a> {
    draft: &'a mut Draft,
    problems: &'a mut Diagnostics,
}

impl Reader<'_> {
    /// Groups come before hosts, wherever they stand in the file: this is the order of the inventory.
    fn file(&mut self, root: Node) {
        let mut hosts = None;
        for (key, node) in self.entries(root, "the file") {
            match key.name.as_str() {
                "vars" => self.draft.all.settings.extend(self.problems.keep(Settings::read(node))),
                "connection" => self.draft.all.connection = self.connection(node),
                "groups" => self.groups(node),
                "hosts" => hosts = Some(node),
                _ => self.problems.push(unknown(&key, "the inventory", &FILE_KEYS)),
            }
        }
        if let Some(hosts) = hosts {
            for (key, node) in self.entries(hosts, "`hosts`") {
                let ids = self.names(&key.name, &key.origin);
                self.host(&ids, &key, node);
            }
        }
    }

    /// The entries of a map; what is no map is reported and has none.
    fn entries(&mut self, node: Node, what: &str) -> Vec<(Key, Node)> {
        match node.value {
            Yaml::Map(entries) => entries,
            Yaml::Null => Vec::new(),
            _ => {
                self.problems.push(wrong(&node, what, "a map"));
                self.draft.hosts_unsure = true;
                self.draft.groups_unsure = true;
                Vec::new()
            }
        }
    }

    fn groups(&mut self, node: Node) {
        for (key, node) in self.entries(node, "`groups`") {
            if let Some(problem) = reserved(&key) {
                self.problems.push(problem);
                continue;
            }
            match self.group_name(&key.name, &key.origin) {
                Some(name) => {
                    let index = self.draft.group(&name, &key.origin);
                    self.group(index, &key, node);
                }
                None => self.draft.hosts_unsure = true,
            }
        }
    }

    fn group_name(&mut self, text: &str, origin: &Origin) -> Option<GroupName> {
        GroupName::new(text)
            .map_err(|invalid| {
                self.draft.groups_unsure = true;
                self.problems.push(Diagnostic::from(invalid).at(origin).wide(text.chars().count()));
            })
            .ok()
    }

    fn group(&mut self, index: usize, name: &Key, node: Node) {
        if !matches!(node.value, Yaml::Map(_) | Yaml::Null) {
            let problem = wrong(&node, &format!("the group `{}`", name.name), "a map");
            self.problems.push(problem.hint(format!("write `{}: {{ hosts: ... }}`", name.name)));
            self.draft.hosts_unsure = true;
            return;
        }
        for (key, node) in self.entries(node, "a group") {
            match key.name.as_str() {
                "hosts" => self.group_hosts(index, node),
                "children" => self.children(index, &node),
                "vars" => {
                    let settings = self.problems.keep(Settings::read(node));
                    self.draft.groups[index].said.settings.extend(settings);
                }
                "connection" => self.draft.groups[index].said.connection = self.connection(node),
                _ => self.problems.push(unknown(&key, "a group", &GROUP_KEYS)),
            }
        }
    }

    fn group_hosts(&mut self, group: usize, node: Node) {
        let mut seen = HashSet::new();
        match node.value {
            Yaml::Null => {}
            Yaml::Text(_) => self.member(group, &node, &mut seen),
            Yaml::List(items) => items.iter().for_each(|item| self.member(group, item, &mut seen)),
            Yaml::Map(entries) => {
                for (key, node) in entries {
                    let ids = self.names(&key.name, &key.origin);
                    self.draft.groups[group].hosts.extend(ids.iter().filter(|id| seen.insert(**id)));
                    self.host(&ids, &key, node);
                }
            }
            _ => {
                self.problems.push(wrong(&node, "`hosts` of a group", "a text, a list of texts or a map"));
                self.draft.hosts_unsure = true;
            }
        }
    }

    fn member(&mut self, group: usize, item: &Node, seen: &mut HashSet<usize>) {
        let Some(text) = item.text() else {
            let problem = wrong(item, "a host in a list", "a text");
            self.problems.push(match item.value {
                Yaml::Map(_) => problem.hint("a host's keys are written under the top-level `hosts`"),
                _ => problem.hint("put it in quotes"),
            });
            self.draft.hosts_unsure = true;
            return;
        };
        for id in self.names(text, &item.origin) {
            if seen.insert(id) {
                self.draft.groups[group].hosts.push(id);
            } else if !range::has_range(text) {
                let what = format!("`{text}` is twice in the group `{}`", self.draft.groups[group].name);
                self.problems.push(Diagnostic::warning(what).at(&item.origin).wide(text.chars().count()));
            }
        }
    }

    /// The hosts a written name stands for.
    fn names(&mut self, text: &str, origin: &Origin) -> Vec<usize> {
        self.problems.keep(self.draft.expand(text, origin).map_err(Into::into)).unwrap_or_default()
    }

    fn children(&mut self, group: usize, node: &Node) {
        let items = match &node.value {
            Yaml::Null => return,
            Yaml::List(items) => items.as_slice(),
            Yaml::Text(_) => std::slice::from_ref(node),
            _ => {
                self.problems.push(wrong(node, "`children`", "a text or a list of texts"));
                return;
            }
        };
        for item in items {
            let Some(text) = item.text() else {
                self.problems.push(wrong(item, "a child", "a text"));
                continue;
            };
            if let Some(name) = self.group_name(text, &item.origin) {
                self.draft.groups[group].children.push((name, item.origin.clone()));
            }
        }
    }

    /// The keys of a host, or of several if they are written for a range.
    fn host(&mut self, ids: &[usize], name: &Key, node: Node) {
        let mut given = Connection::default();
        let mut settings = None;
        for (key, node) in self.entries(node, &format!("`{}`", name.name)) {
            match key.name.as_str() {
                "vars" => settings = self.problems.keep(Settings::read(node)),
                "address" => given.address = self.address(ids, &key, &node),
                "connection" => given.method = self.method(&node),
                "port" | "user" | "key" | "become" => self.connection_key(&mut given, &key, &node),
                _ => self.problems.push(unknown_of_host(&key)),
            }
        }
        for id in ids {
            let said = &mut self.draft.hosts[*id].said;
            let common = said.connection.common(&given);
            said.connection.absorb(&given);
            said.settings.extend(settings.clone());
            for key in common {
                let what = format!("`{key}` of `{}` is written in two places", self.draft.hosts[*id].name);
                let problem = Diagnostic::error(what).at(&name.origin).wide(name.name.chars().count());
                self.problems.push(problem.hint("keep one of them"));
            }
        }
    }

    fn connection(&mut self, node: Node) -> Connection {
        let mut connection = Connection::default();
        if node.text().is_some() {
            connection.method = self.method(&node);
            return connection;
        }
        for (key, node) in self.entries(node, "`connection`") {
            match key.name.as_str() {
                "method" => connection.method = self.method(&node),
                "port" | "user" | "key" | "become" => self.connection_key(&mut connection, &key, &node),
                "address" => self.problems.push(
                    unknown(&key, "a connection", &CONNECTION_KEYS).hint("an address belongs to one host: `hosts`"),
                ),
                _ => self.problems.push(unknown(&key, "a connection", &CONNECTION_KEYS)),
            }
        }
        connection
    }

    fn connection_key(&mut self, connection: &mut Connection, key: &Key, node: &Node) {
        match key.name.as_str() {
            "port" => connection.port = self.port(node),
            "user" => connection.user = self.argument("user", node, user_char),
            "key" => {
                connection.key = self.argument("key", node, |c| !c.is_control()).map(Into::into);
            }
            _ => connection.become_user = self.becomes(node),
        }
    }

    fn port(&mut self, node: &Node) -> Option<u16> {
        match node.value {
            Yaml::Int(port) if port > 0 && u16::try_from(port).is_ok() => u16::try_from(port).ok(),
            Yaml::Int(port) => {
                let problem = Diagnostic::error(format!("{port} is no port: it is from 1 to 65535")).at(&node.origin);
                self.problems.push(problem.hint("that of ssh is 22, and need not be written"));
                None
            }
            _ => {
                self.problems.push(wrong(node, "`port`", "a whole number").hint("for example `port: 2222`"));
                None
            }
        }
    }

    fn address(&mut self, ids: &[usize], key: &Key, node: &Node) -> Option<String> {
        if ids.len() > 1 {
            let what = format!("one address for {} hosts", ids.len());
            self.problems.push(Diagnostic::error(what).at(&key.origin).wide(7).hint("give each its own"));
        }
        self.argument("address", node, address_char)
    }

    /// A text that is given to `ssh`: not empty, no option, and only of these characters.
    fn argument(&mut self, what: &str, node: &Node, allowed: fn(char) -> bool) -> Option<String> {
        let Some(text) = node.text() else {
            self.problems.push(wrong(node, &format!("`{what}`"), "a text").hint("put it in quotes"));
            return None;
        };
        if text.is_empty() || text.starts_with('-') || !text.chars().all(allowed) {
            let problem = Diagnostic::error(format!("`{}` cannot be the {what} of a host", text.escape_debug()));
            self.problems.push(problem.at(&node.origin).wide(text.chars().count()));
            return None;
        }
        Some(text.to_owned())
    }

    fn becomes(&mut self, node: &Node) -> Option<Become> {
        match node.value {
            Yaml::Bool(true) => Some(Become::Root),
            Yaml::Bool(false) => Some(Become::No),
            _ => {
                let problem = wrong(node, "`become`", "true or false");
                self.problems.push(problem.hint("`become: true` works as root, by sudo"));
                None
            }
        }
    }

    fn method(&mut self, node: &Node) -> Option<Method> {
        match node.text() {
            Some("ssh") => Some(Method::Ssh),
            Some("local") => Some(Method::Local),
            Some(text) => {
                let problem = Diagnostic::error(format!("invalid connection `{}`", text.escape_debug()));
                self.problems.push(
                    problem.at(&node.origin).wide(text.chars().count()).hint("`ssh`, or `local` for this machine"),
                );
                None
            }
            None => {
                let problem = wrong(node, "the way to reach a host", "`ssh` or `local`");
                self.problems.push(match node.value {
                    Yaml::Map(_) => problem.hint("on a host the other keys stand beside it: `user: admin`"),
                    _ => problem,
                });
                None
            }
        }
    }
}

fn wrong(node: &Node, what: &str, wanted: &str) -> Diagnostic {
    Diagnostic::error(format!("{what} must be {wanted}, not {}", node.kind())).at(&node.origin)
}

fn unknown(key: &Key, place: &str, known: &[&str]) -> Diagnostic {
    Diagnostic::error(format!("unknown key `{}` in {place}", key.name.escape_debug()))
        .at(&key.origin)
        .wide(key.name.chars().count())
        .maybe_hint(name::did_you_mean(&key.name, known.iter().copied()))
}

fn unknown_of_host(key: &Key) -> Diagnostic {
    let problem = unknown(key, "a host", &HOST_KEYS);
    if let Some((_, ours)) = ANSIBLE.iter().find(|(theirs, _)| *theirs == key.name) {
        return problem.hint(format!("it is `{ours}` here"));
    }
    if name::nearest(&key.name, HOST_KEYS).is_empty() {
        return problem
            .hint(format!("a variable of the host goes under `vars: {{ {}: ... }}`", key.name.escape_debug()));
    }
    problem
}

fn reserved(key: &Key) -> Option<Diagnostic> {
    let hint = match key.name.as_str() {
        "all" => "every host is in `all`; its variables go under the top-level `vars`, its hosts under `hosts`",
        "ungrouped" => {
            "hosts of no group go under the top-level `hosts`, their variables into `group_vars/ungrouped.yml`"
        }
        _ => return None,
    };
    let what = format!("`{}` is there without being written", key.name);
    Some(Diagnostic::error(what).at(&key.origin).wide(key.name.len()).hint(hint))
}
