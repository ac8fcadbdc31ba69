//! `site.yml`: which services run where.
//!
//! In: its text. Out: the services in the order written, or everything that is wrong. Never: an inventory.

use std::collections::BTreeSet;

use crate::diag::{Diagnostic, Diagnostics, Origin};
use crate::name::{RoleName, ServiceName, Tag};
use crate::yaml::{Key, Node, Table};

/// The services of a project.
#[derive(Debug, Clone, Default)]
pub struct Site {
    /// In the order written.
    pub services: Vec<Definition>,
    /// What has another name now.
    pub moved: Vec<Move>,
}

/// Something that has another name now: nothing is taken away, and what armilla knows of it goes over.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// What it was.
    pub from: Thing,
    /// Where that is written.
    pub from_origin: Origin,
    /// What it is.
    pub to: Thing,
    /// Where that is written.
    pub to_origin: Origin,
}

/// Something that can have another name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Thing {
    /// `role web`: all of a role.
    Role(RoleName),
    /// `file /etc/motd`: one resource, as a plan shows it.
    Resource {
        /// The word in YAML.
        kind: String,
        /// What it owns on the host.
        target: String,
    },
}

/// One service.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Its name.
    pub name: ServiceName,
    /// Its role; the same name unless told otherwise.
    pub role: RoleName,
    /// Where the role is named.
    pub role_origin: Origin,
    /// Its hosts, as a pattern of the inventory.
    pub hosts: String,
    /// Where the hosts are named.
    pub hosts_origin: Origin,
    /// Values for the inputs of its role.
    pub vars: Vec<(Key, Node)>,
    /// Which service is meant where its role needs one of several, and what it needs besides: the word its role uses, and
    /// the service.
    pub needs: Vec<(String, Key)>,
    /// By which the resources of its own role can be chosen.
    pub tags: BTreeSet<Tag>,
    /// Where it is written.
    pub origin: Origin,
}

const SITE: &[&str] = &["services", "moved"];
const MOVE: &[&str] = &["from", "to"];
const SERVICE: &[&str] = &["hosts", "role", "vars", "needs", "tags"];

impl Site {
    /// The keys of `site.yml`, in the order in which they are best written.
    pub const KEYS: &'static [&'static str] = SITE;

    /// Reads `site.yml`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(node: &Node) -> Result<Self, Diagnostics> {
        let mut problems = Diagnostics::new();
        let Some(table) = Table::open("a site", node, SITE, &mut problems) else { return Err(problems) };
        let entries = table.entries("services", &mut problems);
        let services = entries.iter().filter_map(|(key, node)| problems.keep(definition(key, node))).collect();
        let list = table.get("moved").map(|node| (node, node.list()));
        if let Some((node, None)) = list {
            let hint = "for example `moved: [{ from: role web, to: role site }]`";
            problems.push(Diagnostic::error("`moved` must be a list").at(&node.origin).hint(hint));
        }
        let list = list.and_then(|(_, list)| list).unwrap_or_default();
        let moved = list.iter().filter_map(|node| problems.keep(a_move(node))).collect();
        problems.result(Self { services, moved })
    }
}

fn a_move(node: &Node) -> Result<Move, Diagnostics> {
    let mut problems = Diagnostics::new();
    let Some(table) = Table::open("a move", node, MOVE, &mut problems) else { return Err(problems) };
    let mut end = |key: &str| {
        let origin = table.need(key, &mut problems)?.origin.clone();
        let text = table.text(key, &mut problems)?;
        let thing = thing(text).map_err(|problem| problems.push(problem.at(&origin))).ok()?;
        Some((thing, origin))
    };
    let (from, to) = (end("from"), end("to"));
    let (Some((from, from_origin)), Some((to, to_origin))) = (from, to) else { return Err(problems) };
    if matches!(from, Thing::Role(_)) != matches!(to, Thing::Role(_)) {
        let what = "a role can only move to a role, and a resource to a resource";
        problems.push(Diagnostic::error(what).at(&to_origin).hint("for example `from: role web`, `to: role site`"));
    }
    if from == to {
        problems.push(Diagnostic::error("`from` and `to` are equal").at(&to_origin).hint("remove the entry"));
    }
    problems.result(Move { from, from_origin, to, to_origin })
}

/// `role NAME`, or a kind and a target.
fn thing(text: &str) -> Result<Thing, Diagnostic> {
    match text.trim().split_once(' ').map(|(word, rest)| (word, rest.trim())) {
        Some(("role", name)) => Ok(Thing::Role(RoleName::new(name)?)),
        Some((kind, target)) => Ok(Thing::Resource { kind: kind.to_owned(), target: target.to_owned() }),
        None => Err(Diagnostic::error(format!("`{text}` is neither a role nor a resource"))
            .hint("write `role NAME`, or a resource as a plan shows it: `file /etc/motd`")),
    }
}

fn definition(key: &Key, node: &Node) -> Result<Definition, Diagnostics> {
    let mut problems = Diagnostics::new();
    let Some(table) = Table::open("a service", node, SERVICE, &mut problems) else { return Err(problems) };
    let name = checked(ServiceName::new(&key.name), &key.origin, &mut problems);
    let hosts = table.need("hosts", &mut problems);
    let pattern = table.text("hosts", &mut problems);
    let role_text = table.text("role", &mut problems).unwrap_or(&key.name);
    let role_origin = table.get("role").map_or(&key.origin, |node| &node.origin).clone();
    let role = checked(RoleName::new(role_text), &role_origin, &mut problems);
    let vars = table.entries("vars", &mut problems).to_vec();
    let needs = table.entries("needs", &mut problems).iter().filter_map(|(key, node)| {
        let chosen = node.text()?.to_owned();
        Some((key.name.clone(), Key { name: chosen, origin: node.origin.clone() }))
    });
    let needs = needs.collect();
    let tags = table.tags(&mut problems);
    match (name, role, hosts, pattern) {
        (Some(name), Some(role), Some(hosts), Some(pattern)) => problems.result(Definition {
            name,
            role,
            role_origin,
            hosts: pattern.to_owned(),
            hosts_origin: hosts.origin.clone(),
            vars,
            needs,
            tags,
            origin: key.origin.clone(),
        }),
        _ => Err(problems),
    }
}

fn checked<T>(name: Result<T, crate::name::InvalidName>, origin: &Origin, problems: &mut Diagnostics) -> Option<T> {
    name.map_err(|why| problems.push(Diagnostic::from(why).at(origin))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Source;

    fn read(text: &str) -> Result<Site, Diagnostics> {
        Site::read(&crate::yaml::parse(&Source::new("site.yml", text))?)
    }

    #[test]
    fn a_service_has_the_role_of_its_name_unless_told() {
        let site = read("services:\n  zk: { hosts: a, role: zookeeper }\n  spark: { hosts: b }\n");
        let roles: Vec<String> =
            site.unwrap_or_default().services.iter().map(|s| format!("{}={}", s.name, s.role)).collect();
        assert_eq!(roles, ["zk=zookeeper", "spark=spark"]);
    }

    #[test]
    fn what_is_moved_is_a_role_or_a_resource() {
        let site = read("moved:\n  - { from: role web, to: role site }\n  - { from: unit a b, to: file /a b }\n");
        let moved = site.unwrap_or_default().moved;
        let role = |name: &str| Thing::Role(RoleName::new(name).expect("a name"));
        assert_eq!((&moved[0].from, &moved[0].to), (&role("web"), &role("site")));
        let thing = |kind: &str, target: &str| Thing::Resource { kind: kind.to_owned(), target: target.to_owned() };
        assert_eq!((&moved[1].from, &moved[1].to), (&thing("unit", "a b"), &thing("file", "/a b")));
        let wrong = "moved:\n  - { from: web, to: role site }\n  - { frm: role a, to: file /a }\n  - { from: role a, to: file /a }\n";
        let text = read(wrong).expect_err("wrong").to_string();
        for part in ["neither a role nor a resource", "unknown key `frm`", "a role can only move to a role"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn all_mistakes_come_at_once() {
        let problems = read("services:\n  a: { host: x }\n  -b: { hosts: y }\n  c: z\n").expect_err("wrong");
        let text = problems.to_string();
        for part in [
            "unknown key `host`",
            "did you mean `hosts`?",
            "a service needs `hosts`",
            "invalid service name `-b`",
            "a service is a map",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
