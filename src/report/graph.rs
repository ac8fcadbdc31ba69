//! How services hang together: what needs what, where it runs, what comes with it.
//!
//! In: services placed on hosts, and their roles. Out: a list in the order of apply, or Graphviz, or Mermaid.
//! Never: a layout; a name that could be read as anything but a name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::human::words::{self, one_line};
use crate::catalog::{Catalog, Placement};
use crate::name::{HostName, RoleName};
use crate::role::Role;

/// Services and roles, to be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphView {
    /// Each after those it needs.
    pub services: Vec<GraphService>,
    /// Every role that is placed somewhere.
    pub roles: BTreeMap<String, GraphRole>,
}

/// A service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphService {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: String,
    /// Its hosts.
    pub hosts: Vec<HostName>,
    /// The services that must be healthy first.
    pub needs: Vec<String>,
}

/// A role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphRole {
    /// One line of what it is for.
    pub summary: String,
    /// Roles that come before it on the same host.
    pub requires: Vec<String>,
    /// Its resources, `file /etc/hosts`, and on how many hosts each is; empty without a catalog.
    pub resources: Vec<(String, usize)>,
}

/// How much of it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Services, hosts and roles.
    Services,
    /// Also the resources of each role.
    Resources,
}

impl GraphView {
    /// What is placed, with the resources of each role if a catalog says them.
    pub fn new(placement: &Placement, roles: &BTreeMap<RoleName, Role>, catalog: Option<&Catalog>) -> Self {
        let services = placement.services.iter().map(|placed| GraphService {
            name: placed.definition.name.to_string(),
            role: placed.definition.role.to_string(),
            hosts: placed.hosts.clone(),
            needs: placed.needs.iter().map(|(_, name)| name.to_string()).collect(),
        });
        let on_hosts = placement.hosts.values().flatten().map(|instance| &instance.role);
        let named = placement.services.iter().map(|placed| &placed.definition.role);
        let used: BTreeSet<&RoleName> = on_hosts.chain(named).collect();
        let role = |name: &RoleName| {
            let role = roles.get(name)?;
            let requires = role.requires.iter().map(|key| key.name.clone()).collect();
            let resources = catalog.map(|catalog| resources(catalog, name)).unwrap_or_default();
            Some((name.to_string(), GraphRole { summary: role.summary.clone(), requires, resources }))
        };
        Self { services: services.collect(), roles: used.into_iter().filter_map(role).collect() }
    }
}

/// The resources of a role in their order, each once.
fn resources(catalog: &Catalog, role: &RoleName) -> Vec<(String, usize)> {
    let mut found: Vec<(String, usize)> = Vec::new();
    let mut place: BTreeMap<String, usize> = BTreeMap::new();
    let blocks = catalog.hosts.values().flat_map(|host| &host.blocks).filter(|block| block.role == *role);
    for item in blocks.flat_map(|block| &block.items) {
        let name = format!("{} {}", item.resource.kind(), item.resource.target());
        let at = *place.entry(name.clone()).or_insert(found.len());
        match found.get_mut(at) {
            Some((_, hosts)) => *hosts += 1,
            None => found.push((name, 1)),
        }
    }
    found
}

/// A list in the order of apply.
pub fn text(view: &GraphView, detail: Detail) -> String {
    let mut text = String::new();
    let digits = view.services.len().to_string().len();
    let indent = " ".repeat(digits + 2);
    for (index, service) in view.services.iter().enumerate() {
        let role =
            if service.role == service.name { String::new() } else { format!(" (role {})", one_line(&service.role)) };
        let hosts = if service.hosts.is_empty() { "no host".to_owned() } else { words::hosts(&service.hosts) };
        let _ = writeln!(text, "{:>digits$}  {}{role}  on {hosts}", index + 1, one_line(&service.name));
        for (word, names) in relations(view, service) {
            let _ = writeln!(text, "{indent}  {word:<10} {names}");
        }
    }
    if detail == Detail::Resources {
        text.push_str(&all_resources(view));
    }
    text
}

/// What a service needs, what comes with it, and what needs it.
fn relations(view: &GraphView, service: &GraphService) -> Vec<(&'static str, String)> {
    let names =
        |names: &mut dyn Iterator<Item = &String>| words::list(&names.map(|name| one_line(name)).collect::<Vec<_>>());
    let needs = if service.needs.is_empty() { "nothing".to_owned() } else { names(&mut service.needs.iter()) };
    let users = view.services.iter().filter(|other| other.needs.contains(&service.name)).map(|other| &other.name);
    let users = names(&mut users.into_iter());
    let brought = required(view, &service.role, &mut vec![service.role.clone()]);
    let all = [("needs", needs), ("requires", brought), ("needed by", users)];
    all.into_iter().filter(|(_, names)| !names.is_empty()).collect()
}

/// The roles that come with a role: `spark (requires java)`. `above` is the way to it, so that a circle ends.
fn required(view: &GraphView, role: &str, above: &mut Vec<String>) -> String {
    let Some(known) = view.roles.get(role) else { return String::new() };
    let mut texts = Vec::new();
    for name in known.requires.iter().filter(|name| !above.contains(*name)).cloned().collect::<Vec<_>>() {
        above.push(name.clone());
        let deeper = required(view, &name, above);
        above.pop();
        let more = if deeper.is_empty() { String::new() } else { format!(" (requires {deeper})") };
        texts.push(format!("{}{more}", one_line(&name)));
    }
    words::list(&texts)
}

fn all_resources(view: &GraphView) -> String {
    let mut text = String::new();
    for (name, role) in &view.roles {
        let summary = if role.summary.is_empty() { String::new() } else { format!("  {}", one_line(&role.summary)) };
        let _ = writeln!(text, "\nrole {}{summary}", one_line(name));
        for (resource, hosts) in &role.resources {
            let _ = writeln!(text, "  {}  on {}", one_line(resource), words::count(*hosts, "host"));
        }
    }
    text
}

/// Graphviz: services as boxes with their hosts, what they need as arrows, what they require dotted.
pub fn dot(view: &GraphView, detail: Detail) -> String {
    let mut text = String::from("digraph armilla {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for (index, service) in view.services.iter().enumerate() {
        let (node, hosts) = (id("service", &service.name), quoted(&words::hosts(&service.hosts)));
        let _ = writeln!(text, "  subgraph cluster_{index} {{\n    label={};", quoted(&service.name));
        let _ = writeln!(text, "    {node} [label={hosts}, shape=plaintext];\n  }}");
    }
    for service in &view.services {
        let node = id("service", &service.name);
        for need in &service.needs {
            let _ = writeln!(text, "  {node} -> {};", id("service", need));
        }
        let _ = writeln!(text, "  {node} -> {} [style=dotted, arrowhead=none];", id("role", &service.role));
    }
    for (name, role) in &view.roles {
        let label = quoted(&label(name, role, detail));
        let _ = writeln!(text, "  {} [label={label}, style=rounded];", id("role", name));
        for other in &role.requires {
            let _ = writeln!(text, "  {} -> {} [style=dotted];", id("role", name), id("role", other));
        }
    }
    text.push_str("}\n");
    text
}

fn label(name: &str, role: &GraphRole, detail: Detail) -> String {
    let resources =
        role.resources.iter().filter(|_| detail == Detail::Resources).map(|(resource, _)| resource.as_str());
    std::iter::once(name).chain(resources).map(one_line).collect::<Vec<_>>().join("\n")
}

fn id(what: &str, name: &str) -> String {
    quoted(&format!("{what} {name}"))
}

/// A text as Graphviz reads it: <https://graphviz.org/doc/info/lang.html>. A backslash begins an escape there.
fn quoted(text: &str) -> String {
    let lines: Vec<String> =
        text.split('\n').map(|line| one_line(line).replace('\\', "\\\\").replace('"', "\\\"")).collect();
    format!("\"{}\"", lines.join("\\n"))
}

/// Mermaid, which code hosts show in Markdown: services and what they need.
pub fn mermaid(view: &GraphView) -> String {
    let mut text = String::from("flowchart LR\n");
    let place: BTreeMap<&str, usize> =
        view.services.iter().enumerate().map(|(index, service)| (service.name.as_str(), index)).collect();
    for (index, service) in view.services.iter().enumerate() {
        let _ = writeln!(
            text,
            "  s{index}[\"{}<br/>{}\"]",
            entities(&service.name),
            entities(&words::hosts(&service.hosts))
        );
    }
    for (index, service) in view.services.iter().enumerate() {
        for need in service.needs.iter().filter_map(|need| place.get(need.as_str())) {
            let _ = writeln!(text, "  s{index} --> s{need}");
        }
    }
    text
}

/// Every character that could mean something to Mermaid or HTML as a number.
fn entities(text: &str) -> String {
    let one = |c: char| {
        if c.is_alphanumeric() || " -_.:[]".contains(c) { c.to_string() } else { format!("#{};", u32::from(c)) }
    };
    one_line(text).chars().map(one).collect()
}
