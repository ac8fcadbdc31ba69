//! An environment as `ansible-inventory` prints it, so that what reads that can read this.
//!
//! In: an inventory, and what is set for its hosts. Out: the JSON of `--list` and `--host`, and the tree of `--graph`. Never:
//! a control character that steers a terminal.
//!
//! The shape is that of ansible-core 2.19: keys in order, hosts and children as written, empty parts left out
//! (<https://docs.ansible.com/ansible/latest/cli/ansible-inventory.html>).

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::json::harmless;
use crate::catalog::Placement;
use crate::diag::shown;
use crate::inventory::{ALL, Become, Group, Host, Inventory, Method, Rules, UNGROUPED};
use crate::name::HostName;
use crate::vars::Layers;

/// How Ansible calls the encoding of its lists.
const PROFILE: &str = "inventory_legacy";
/// A tree longer than this is one of groups in many groups, and nobody reads it.
const MOST_LINES: usize = 200_000;

/// Where variables are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variables {
    /// All of a host at the host.
    Merged,
    /// Each where it is set: at a group or a host.
    Own,
}

/// What a tree shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Details {
    /// Groups and hosts.
    Names,
    /// The variables of each, too.
    Variables,
}

/// Which hosts are shown, and with which variables.
pub struct View<'a> {
    /// All hosts and groups.
    pub inventory: &'a Inventory,
    /// What is set for a host.
    pub layers: &'a dyn Fn(&Host) -> Layers,
    /// Whether a host is shown.
    pub wanted: &'a dyn Fn(&HostName) -> bool,
}

impl View<'_> {
    /// The answer to `--list`.
    pub fn list(&self, variables: Variables) -> Value {
        let mut root = Map::new();
        let implied = [ALL, UNGROUPED].into_iter().filter_map(|name| self.inventory.group(name));
        root.extend(implied.chain(self.inventory.groups()).filter_map(|group| self.group(group, variables)));
        let hosts = self.inventory.hosts().filter(|host| (self.wanted)(host.name()));
        let hosts = hosts.map(|host| (host.name().to_string(), self.host(host, variables)));
        let hosts: Map<String, Value> = hosts.filter(|(_, variables)| variables != &json!({})).collect();
        root.insert("_meta".to_owned(), json!({ "hostvars": hosts, "profile": PROFILE }));
        sorted(Value::Object(root))
    }

    /// The answer to `--host`: all variables, or those set for the host alone.
    pub fn host(&self, host: &Host, variables: Variables) -> Value {
        let layers = match variables {
            Variables::Merged => (self.layers)(host),
            Variables::Own => Layers::of_host(self.inventory, host),
        };
        let mut all = plain(&layers);
        if self.inventory.rules == Rules::Own && variables == Variables::Merged {
            all.extend(connection(host));
        }
        sorted(Value::Object(all))
    }

    fn group(&self, group: &Group, variables: Variables) -> Option<(String, Value)> {
        let mut parts = Map::new();
        let own = self.inventory.own(group.name.as_str()).into_iter().filter(|host| (self.wanted)(host));
        let own: Vec<&HostName> = own.collect();
        if !own.is_empty() {
            parts.insert("hosts".to_owned(), json!(own));
        }
        if !group.children.is_empty() {
            parts.insert("children".to_owned(), json!(group.children));
        }
        let vars = self.variables_of(group);
        if variables == Variables::Own && !vars.is_empty() {
            parts.insert("vars".to_owned(), Value::Object(vars));
        }
        (!parts.is_empty()).then(|| (group.name.to_string(), Value::Object(parts)))
    }

    fn variables_of(&self, group: &Group) -> Map<String, Value> {
        let mut all = plain(&Layers::of_group(self.inventory, group));
        if group.priority != 1 {
            all.insert("ansible_group_priority".to_owned(), json!(group.priority));
        }
        all
    }

    /// The answer to `--graph`: groups below groups, with variables if wanted.
    pub fn graph(&self, details: Details) -> String {
        let mut lines = Vec::new();
        if let Some(all) = self.inventory.group(ALL) {
            self.branch(all, 0, details, &mut lines);
        }
        lines.join("\n")
    }

    fn branch(&self, group: &Group, depth: usize, details: Details, lines: &mut Vec<String>) {
        if lines.len() > MOST_LINES {
            return;
        }
        lines.push(leaf(&format!("@{}:", group.name), depth));
        for child in group.children.iter().filter_map(|child| self.inventory.group(child.as_str())) {
            self.branch(child, depth + 1, details, lines);
        }
        for name in self.inventory.own(group.name.as_str()).into_iter().filter(|name| (self.wanted)(name)) {
            lines.push(leaf(name.as_str(), depth + 1));
            if let Some(host) = self.inventory.host(name.as_str()).filter(|_| details == Details::Variables) {
                lines.extend(leaves(&self.host(host, Variables::Merged), depth + 2));
            }
        }
        if details == Details::Variables {
            lines.extend(leaves(&sorted(Value::Object(self.variables_of(group))), depth + 1));
        }
    }
}

fn plain(layers: &Layers) -> Map<String, Value> {
    layers.merged().into_iter().map(|(name, variable)| (name.to_string(), variable.node.to_json())).collect()
}

/// Ansible's names for the way to a host, where our own form says it.
fn connection(host: &Host) -> Vec<(String, Value)> {
    let endpoint = &host.endpoint;
    let address = (endpoint.address != endpoint.name.as_str()).then(|| json!(endpoint.address));
    let pairs = [
        ("ansible_host", address),
        ("ansible_port", endpoint.port.map(|port| json!(port))),
        ("ansible_user", endpoint.user.as_ref().map(|user| json!(user))),
        ("ansible_ssh_private_key_file", endpoint.key.as_ref().map(|key| json!(key.as_str()))),
        ("ansible_connection", (endpoint.method == Method::Local).then(|| json!("local"))),
        ("ansible_become", (endpoint.become_user == Become::Root).then(|| json!(true))),
    ];
    pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The same with the keys of every map in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let mut entries: Vec<(String, Value)> =
                entries.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        value => value,
    }
}

/// JSON as Ansible indents it, that steers no terminal.
pub fn pretty(value: &Value) -> String {
    let mut text = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, format);
    // Plain data is always JSON.
    let _ = serde::Serialize::serialize(value, &mut serializer);
    harmless(&String::from_utf8(text).unwrap_or_default())
}

fn leaf(text: &str, depth: usize) -> String {
    if depth == 0 { text.to_owned() } else { format!("{}--{text}", "  |".repeat(depth)) }
}

fn leaves(variables: &Value, depth: usize) -> Vec<String> {
    let all = variables.as_object().into_iter().flatten();
    all.map(|(name, value)| shown(&leaf(&format!("{{{name} = {}}}", printed(value)), depth)).replace('\n', "\\n"))
        .collect()
}

/// A value as Python prints it: a text as it stands.
fn printed(value: &Value) -> String {
    value.as_str().map_or_else(|| python(value), str::to_owned)
}

fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{}: {}", quoted(key), python(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut quoted = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c == quote => quoted.extend(['\\', c]),
            c if c.is_control() => drop(write!(quoted, "\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push(quote);
    quoted
}

/// Hosts with their address, groups and roles.
pub fn table(hosts: &[&Host], placement: &Placement) -> String {
    let rows: Vec<[String; 4]> = hosts.iter().map(|host| row(host, placement)).collect();
    let head = ["HOST", "ADDRESS", "GROUPS", "ROLES"].map(str::to_owned);
    let width = |column: usize| rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let line = |row: &[String; 4]| {
        let text = format!(
            "{:<a$}  {:<b$}  {:<c$}  {}",
            row[0],
            row[1],
            row[2],
            row[3],
            a = widths[0],
            b = widths[1],
            c = widths[2]
        );
        text.trim_end().to_owned()
    };
    std::iter::once(&head).chain(&rows).map(line).collect::<Vec<_>>().join("\n")
}

fn row(host: &Host, placement: &Placement) -> [String; 4] {
    let endpoint = &host.endpoint;
    let port = endpoint.port.map_or_else(String::new, |port| format!(":{port}"));
    let groups: Vec<&str> = host.groups.iter().map(crate::name::GroupName::as_str).collect();
    let roles = placement.hosts.get(&endpoint.name).map(Vec::as_slice).unwrap_or_default();
    let roles: Vec<&str> = roles.iter().map(|instance| instance.role.as_str()).collect();
    [endpoint.name.to_string(), format!("{}{port}", endpoint.address), groups.join(" "), roles.join(" ")]
}
