//! From the texts of an environment to an [`Inventory`].
//!
//! In: `hosts.yml`, `group_vars/`, `host_vars/`. Out: hosts and groups with their variables. Never: only the first of
//! several problems, or a file of variables that nobody has.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use camino::Utf8PathBuf;

use super::{ALL, Become, Endpoint, Group, Host, Inventory, Method, Vars, range};
use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::graph;
use crate::name::{EnvName, GroupName, HostName, did_you_mean};
use crate::yaml::{Key, Node, Table, Yaml};

const INVENTORY: &[&str] = &["connection", "vars", "groups", "hosts"];
const GROUP: &[&str] = &["hosts", "children", "vars", "connection"];
const CONNECTION: &[&str] = &["address", "port", "user", "key", "method", "become"];
const HOST: &[&str] = &["address", "port", "user", "key", "method", "become", "vars"];

pub(super) fn inventory(environment: &EnvName, files: &[(String, Arc<Source>)]) -> Result<Inventory, Diagnostics> {
    let mut reader = Reader::default();
    let main = files.iter().find(|(path, _)| path == "hosts.yml" || path == "hosts.yaml");
    match main.map(|(_, source)| crate::yaml::parse(source)) {
        Some(Ok(node)) => reader.hosts_file(&node),
        Some(Err(problem)) => reader.problems.push(problem),
        None => reader.problems.push(
            Diagnostic::error(format!("the environment `{environment}` has no hosts.yml"))
                .hint(format!("make inventories/{environment}/hosts.yml with `groups:` and their `hosts:`")),
        ),
    }
    reader.resolve_children();
    for (path, source) in files {
        reader.vars_file(path, source);
    }
    let (inventory, problems) = reader.finish(environment);
    problems.result(inventory)
}

#[derive(Default)]
struct Reader {
    problems: Diagnostics,
    hosts: Vec<Written>,
    places: HashMap<HostName, usize>,
    groups: BTreeMap<GroupName, WrittenGroup>,
    all_vars: Vars,
    all_connection: Way,
}

struct Written {
    name: HostName,
    way: Way,
    vars: Vars,
}

#[derive(Default)]
struct WrittenGroup {
    own: Vec<usize>,
    children: Vec<(String, Origin)>,
    resolved: Vec<GroupName>,
    vars: Vars,
    way: Way,
    origin: Option<Origin>,
}

/// Connection keys; what is none is not said.
#[derive(Debug, Clone, Default)]
struct Way {
    address: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    key: Option<Utf8PathBuf>,
    method: Option<Method>,
    become_user: Option<Become>,
}

impl Way {
    /// This one, with what it does not say taken from a weaker one.
    fn over(self, weaker: &Self) -> Self {
        Self {
            address: self.address.or_else(|| weaker.address.clone()),
            port: self.port.or(weaker.port),
            user: self.user.or_else(|| weaker.user.clone()),
            key: self.key.or_else(|| weaker.key.clone()),
            method: self.method.or(weaker.method),
            become_user: self.become_user.or(weaker.become_user),
        }
    }

    fn endpoint(self, name: HostName) -> Endpoint {
        let plain = Endpoint::new(name);
        Endpoint {
            address: self.address.unwrap_or(plain.address),
            port: self.port,
            user: self.user,
            key: self.key,
            method: self.method.unwrap_or_default(),
            become_user: self.become_user.unwrap_or_default(),
            name: plain.name,
        }
    }
}

impl Reader {
    fn hosts_file(&mut self, node: &Node) {
        let Some(table) = Table::open("an inventory", node, INVENTORY, &mut self.problems) else { return };
        self.all_vars = self.vars(table.get("vars"));
        self.all_connection = self.way("a connection", table.get("connection"), CONNECTION);
        for (key, node) in table.entries("groups", &mut self.problems) {
            self.group(key, node);
        }
        for (key, node) in table.entries("hosts", &mut self.problems) {
            self.host_entry(key, node);
        }
    }

    fn group(&mut self, key: &Key, node: &Node) {
        let Some(name) = self.named(GroupName::new(&key.name), &key.origin) else { return };
        let Some(table) = Table::open("a group", node, GROUP, &mut self.problems) else { return };
        let own = self.group_hosts(table.get("hosts"));
        let children = self.texts("children", table.items("children"));
        let group = WrittenGroup {
            own,
            children,
            resolved: Vec::new(),
            vars: self.vars(table.get("vars")),
            way: self.way("a connection", table.get("connection"), CONNECTION),
            origin: Some(key.origin.clone()),
        };
        if name.as_str() == ALL {
            // `all` has every host by itself; what is written there is for everyone.
            self.all_vars.extend(group.vars);
            self.all_connection = group.way.over(&self.all_connection);
        } else {
            self.groups.insert(name, group);
        }
    }

    fn group_hosts(&mut self, node: Option<&Node>) -> Vec<usize> {
        let Some(node) = node else { return Vec::new() };
        let places = match &node.value {
            Yaml::Map(entries) => entries.iter().flat_map(|(key, node)| self.host_entry(key, node)).collect(),
            Yaml::List(items) => items.iter().flat_map(|item| self.host_text(item)).collect(),
            _ => self.host_text(node),
        };
        let mut seen = HashSet::new();
        places.into_iter().filter(|place| seen.insert(*place)).collect()
    }

    fn host_text(&mut self, node: &Node) -> Vec<usize> {
        if let Some(text) = node.text() {
            return self.expand(text, &node.origin);
        }
        self.problems.push(Diagnostic::error(format!("a host is a name, not {}", node.kind())).at(&node.origin));
        Vec::new()
    }

    fn expand(&mut self, text: &str, origin: &Origin) -> Vec<usize> {
        match range::expand(text) {
            Ok(names) => names.iter().filter_map(|name| self.host(name, origin)).collect(),
            Err(why) => {
                self.problems.push(Diagnostic::error(why).at(origin).wide(text.chars().count()));
                Vec::new()
            }
        }
    }

    fn host(&mut self, name: &str, origin: &Origin) -> Option<usize> {
        if let Some(place) = self.places.get(name) {
            return Some(*place);
        }
        let name = self.named(HostName::new(name), origin)?;
        self.places.insert(name.clone(), self.hosts.len());
        self.hosts.push(Written { name, way: Way::default(), vars: Vars::new() });
        Some(self.hosts.len() - 1)
    }

    /// A host (or a range of them) with its keys.
    fn host_entry(&mut self, key: &Key, node: &Node) -> Vec<usize> {
        let places = self.expand(&key.name, &key.origin);
        let keys = (node.value != Yaml::Null).then_some(node);
        let way = self.way("a host", keys, HOST);
        let vars = self.vars(node.get("vars"));
        for place in &places {
            let host = &mut self.hosts[*place];
            host.way = way.clone().over(&host.way);
            host.vars.extend(vars.clone());
        }
        places
    }

    fn way(&mut self, what: &'static str, node: Option<&Node>, keys: &[&str]) -> Way {
        let Some(node) = node else { return Way::default() };
        let Some(table) = Table::open(what, node, keys, &mut self.problems) else { return Way::default() };
        let problems = &mut self.problems;
        let user = table.text("user", problems).map(str::to_owned);
        let key = table.text("key", problems).map(Utf8PathBuf::from);
        let address = table.text("address", problems).map(str::to_owned);
        for (name, text) in [("user", &user), ("address", &address)] {
            if text.as_ref().is_some_and(|text| !safe(text)) {
                let origin = table.get(name).map_or(&node.origin, |node| &node.origin);
                problems.push(Diagnostic::error(format!("this cannot be the {name} of a host")).at(origin));
            }
        }
        Way {
            address,
            port: port(&table, problems),
            user,
            key,
            method: method(&table, problems),
            become_user: table.flag("become", problems).map(|yes| if yes { Become::Root } else { Become::No }),
        }
    }

    fn vars(&mut self, node: Option<&Node>) -> Vars {
        let Some(node) = node.filter(|node| node.value != Yaml::Null) else { return Vars::new() };
        let Some(entries) = node.map() else {
            self.problems.push(Diagnostic::error(format!("variables are a map, not {}", node.kind())).at(&node.origin));
            return Vars::new();
        };
        for (key, _) in entries.iter().filter(|(key, _)| !is_identifier(&key.name)) {
            let text = format!("`{}` is no name of a variable: letters, digits and `_`", key.name);
            self.problems.push(Diagnostic::error(text).at(&key.origin).wide(key.name.chars().count()));
        }
        entries.iter().map(|(key, node)| (key.name.clone(), node.clone())).collect()
    }

    fn texts(&mut self, what: &str, items: &[Node]) -> Vec<(String, Origin)> {
        let mut texts = Vec::new();
        for item in items {
            match item.text() {
                Some(text) => texts.push((text.to_owned(), item.origin.clone())),
                None => self.problems.push(Diagnostic::error(format!("`{what}` is a list of names")).at(&item.origin)),
            }
        }
        texts
    }

    fn named<T>(&mut self, name: Result<T, crate::name::InvalidName>, origin: &Origin) -> Option<T> {
        name.map_err(|why| self.problems.push(Diagnostic::error(why.to_string()).at(origin))).ok()
    }

    /// Finds the children of each group, and refuses circles.
    fn resolve_children(&mut self) {
        let names: Vec<GroupName> = self.groups.keys().cloned().collect();
        let place = |name: &str| names.iter().position(|other| other.as_str() == name);
        let mut edges = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let Some(group) = self.groups.get_mut(name) else { continue };
            for (child, origin) in &group.children {
                if let Some(other) = place(child) {
                    edges.push((index, other));
                    group.resolved.push(names[other].clone());
                } else {
                    let hint = did_you_mean(child, names.iter().map(GroupName::as_str));
                    let problem = Diagnostic::error(format!("there is no group `{child}`")).at(origin);
                    self.problems.push(problem.wide(child.chars().count()).maybe_hint(hint));
                }
            }
        }
        if let Err(cycle) = graph::order(names.len(), &edges) {
            let path = cycle.path(|index| names[index].as_str());
            let origin = cycle.0.first().and_then(|index| self.groups[&names[*index]].origin.clone());
            let problem = Diagnostic::error(format!("groups are in each other in a circle: {path}"));
            self.problems.push(origin.map_or(problem.clone(), |origin| problem.at(&origin)));
            self.groups.values_mut().for_each(|group| group.resolved.clear());
        }
    }

    /// A file below `group_vars/` or `host_vars/`.
    fn vars_file(&mut self, path: &str, source: &Arc<Source>) {
        let Some((folder @ ("group_vars" | "host_vars"), rest)) = path.split_once('/') else { return };
        let first = rest.split('/').next().unwrap_or(rest);
        let stem = |text: &str| text.trim_end_matches(".yml").trim_end_matches(".yaml").trim_end_matches(".json").to_owned();
        let name = if rest.contains('/') { first.to_owned() } else { stem(first) };
        let node = match crate::yaml::parse(source) {
            Ok(node) => node,
            Err(problem) => return self.problems.push(problem),
        };
        let vars = self.vars(Some(&node));
        if folder == "host_vars" {
            match self.places.get(name.as_str()) {
                Some(place) => self.hosts[*place].vars.extend(vars),
                None => self.nobody("host", &name, source),
            }
        } else if name == ALL {
            self.all_vars.extend(vars);
        } else {
            match self.groups.get_mut(name.as_str()) {
                Some(group) => group.vars.extend(vars),
                None => self.nobody("group", &name, source),
            }
        }
    }

    fn nobody(&mut self, what: &str, name: &str, source: &Arc<Source>) {
        let known: Vec<&str> = match what {
            "host" => self.places.keys().map(HostName::as_str).collect(),
            _ => self.groups.keys().map(GroupName::as_str).collect(),
        };
        let hint = did_you_mean(name, known);
        let problem = Diagnostic::error(format!("variables for a {what} `{name}` that is not in hosts.yml"));
        self.problems.push(problem.at(&Origin::start(source)).maybe_hint(hint));
    }

    fn finish(self, environment: &EnvName) -> (Inventory, Diagnostics) {
        let mut problems = self.problems;
        for (name, group) in &self.groups {
            if self.places.contains_key(name.as_str()) {
                let problem = Diagnostic::error(format!("`{name}` is a host and a group"));
                problems.push(group.origin.as_ref().map_or(problem.clone(), |origin| problem.at(origin)));
            }
        }
        let depths = depths(&self.groups);
        let mut groups = finished_groups(&self.groups, &depths);
        let mut of_host: Vec<Vec<(usize, GroupName)>> = vec![Vec::new(); self.hosts.len()];
        for group in groups.values() {
            group.members.iter().for_each(|place| of_host[*place].push((group.depth, group.name.clone())));
        }
        let ways: BTreeMap<&GroupName, &Way> = self.groups.iter().map(|(name, group)| (name, &group.way)).collect();
        let hosts: Vec<Host> = self.hosts.into_iter().zip(of_host).map(|(host, mut of)| {
            of.sort();
            let groups: Vec<GroupName> = of.into_iter().map(|(_, name)| name).collect();
            let stronger = groups.iter().fold(self.all_connection.clone(), |weaker, name| ways[name].clone().over(&weaker));
            let endpoint = host.way.over(&stronger).endpoint(host.name);
            Host { endpoint, groups, vars: host.vars }
        }).collect();
        let everyone = (0..hosts.len()).collect::<Vec<usize>>();
        if let Ok(name) = GroupName::new(ALL) {
            let all = Group { name: name.clone(), children: Vec::new(), vars: self.all_vars, depth: 0, own: Vec::new(), members: everyone };
            groups.insert(name, all);
        }
        (Inventory { environment: environment.clone(), hosts, places: self.places, groups }, problems)
    }
}

fn depths(groups: &BTreeMap<GroupName, WrittenGroup>) -> BTreeMap<&GroupName, usize> {
    let names: Vec<&GroupName> = groups.keys().collect();
    let place: BTreeMap<&GroupName, usize> = names.iter().enumerate().map(|(i, name)| (*name, i)).collect();
    // Each child needs its parent, so that parents come first.
    let edges: Vec<(usize, usize)> =
        groups.iter().flat_map(|(name, group)| group.resolved.iter().map(|child| (place[child], place[name])).collect::<Vec<_>>()).collect();
    let mut depth: BTreeMap<&GroupName, usize> = names.iter().map(|name| (*name, 1)).collect();
    for index in graph::order(names.len(), &edges).unwrap_or_default() {
        let next = depth[names[index]] + 1;
        for child in &groups[names[index]].resolved {
            if let Some(child) = depth.get_mut(child) {
                *child = next.max(*child);
            }
        }
    }
    depth
}

fn finished_groups(groups: &BTreeMap<GroupName, WrittenGroup>, depths: &BTreeMap<&GroupName, usize>) -> BTreeMap<GroupName, Group> {
    let mut by_depth: Vec<&GroupName> = groups.keys().collect();
    by_depth.sort_by_key(|name| std::cmp::Reverse(depths[*name]));
    let mut members: BTreeMap<&GroupName, Vec<usize>> = BTreeMap::new();
    for name in by_depth {
        let group = &groups[name];
        let of_children = group.resolved.iter().flat_map(|child| members.get(child).cloned().unwrap_or_default());
        let mut seen = HashSet::new();
        let all = group.own.iter().copied().chain(of_children).filter(|place| seen.insert(*place)).collect();
        members.insert(name, all);
    }
    let finished = groups.iter().map(|(name, group)| {
        let group = Group {
            name: name.clone(),
            children: group.resolved.clone(),
            vars: group.vars.clone(),
            depth: depths[name],
            own: group.own.clone(),
            members: members.remove(name).unwrap_or_default(),
        };
        (name.clone(), group)
    });
    finished.collect()
}

fn port(table: &Table<'_>, problems: &mut Diagnostics) -> Option<u16> {
    let node = table.get("port")?;
    let port = if let Yaml::Int(n) = node.value { u16::try_from(n).ok().filter(|n| *n > 0) } else { None };
    if port.is_none() {
        problems.push(Diagnostic::error("`port` is a number from 1 to 65535").at(&node.origin));
    }
    port
}

fn method(table: &Table<'_>, problems: &mut Diagnostics) -> Option<Method> {
    match table.text("method", problems)? {
        "ssh" => Some(Method::Ssh),
        "local" => Some(Method::Local),
        _ => {
            let origin = table.get("method").map_or(&table.node.origin, |node| &node.origin);
            problems.push(Diagnostic::error("`method` is `ssh` or `local`").at(origin));
            None
        }
    }
}

/// What reaches ssh must not be an option, and has no white space or control characters.
fn safe(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// Whether a text can name a variable.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Pattern;

    const HOSTS: &str = "\
connection: { user: admin }
vars: { a: 1, b: 1 }
groups:
  platform: { children: [zookeepers, workers], vars: { b: 2, c: 2 } }
  workers: { hosts: [w1, \"w[2:3]\"], connection: { user: worker, become: true } }
  zookeepers: { hosts: \"zk[1:3]\", vars: { c: 3 } }
hosts:
  zk1: { address: 10.0.0.1, port: 2222, vars: { c: 4 } }
";

    fn read(files: &[(&str, &str)]) -> Result<Inventory, Diagnostics> {
        let environment = EnvName::new("staging").unwrap_or_else(|e| panic!("{e}"));
        let files: Vec<(String, Arc<Source>)> =
            files.iter().map(|(path, text)| ((*path).to_owned(), Source::new(*path, *text))).collect();
        inventory(&environment, &files)
    }

    fn good() -> Inventory {
        read(&[("hosts.yml", HOSTS)]).unwrap_or_else(|d| panic!("{d}"))
    }

    #[test]
    fn members_come_in_the_order_written_own_before_childrens() {
        let inventory = good();
        let members = |name: &str| inventory.group(name).map(|group| inventory.members(group).iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        assert_eq!(members("platform").as_deref(), Some("zk1 zk2 zk3 w1 w2 w3"));
        assert_eq!(members("all").as_deref(), Some("w1 w2 w3 zk1 zk2 zk3"));
    }

    #[test]
    fn connection_keys_come_from_all_groups_and_the_host() {
        let inventory = good();
        let way = |name: &str| inventory.host(name).map(|host| host.endpoint.clone());
        let (zk1, w1) = (way("zk1"), way("w1"));
        assert_eq!(zk1.as_ref().map(|e| (e.address.as_str(), e.port, e.user.as_deref())), Some(("10.0.0.1", Some(2222), Some("admin"))));
        assert_eq!(w1.as_ref().map(|e| (e.address.as_str(), e.user.as_deref(), e.become_user)), Some(("w1", Some("worker"), Become::Root)));
    }

    #[test]
    fn patterns_select_in_ansibles_way() {
        let inventory = good();
        for (pattern, hosts) in [
            ("all", "w1 w2 w3 zk1 zk2 zk3"),
            ("zookeepers:w1", "w1 zk1 zk2 zk3"),
            ("platform:&workers", "w1 w2 w3"),
            ("platform:!workers:!zk1", "zk2 zk3"),
            ("!workers", "zk1 zk2 zk3"),
            ("zk*", "zk1 zk2 zk3"),
            ("w[1-2]", "w1 w2"),
            ("~(zk|w)1", "w1 zk1"),
            ("zookeepers[0]", "zk1"),
            ("zookeepers[-1]", "zk3"),
            ("zookeepers[0:1]", "zk1 zk2"),
            ("zookeepers[1:],w1", "w1 zk2 zk3"),
        ] {
            let selected = Pattern::parse(pattern).and_then(|p| p.select(&inventory)).unwrap_or_else(|d| panic!("{pattern}: {d}"));
            let names: Vec<String> = selected.iter().map(ToString::to_string).collect();
            assert_eq!(names.join(" "), hosts, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_an_error_with_the_nearest_name() {
        let inventory = good();
        for (pattern, part) in [
            ("zookeper", "did you mean `zookeepers`?"),
            ("zk1:nope", "no host or group `nope`"),
            ("x*", "`x*` matches no host"),
            ("~y", "matches no host"),
            ("zk1:&w1", "selects no host"),
            ("zookeepers[7]", "matches no host"),
            ("zk1:", "empty part"),
            ("~(", "no pattern"),
        ] {
            let problem = Pattern::parse(pattern).and_then(|p| p.select(&inventory)).expect_err(pattern);
            assert!(problem.to_string().contains(part), "{pattern}: {problem}");
        }
    }

    #[test]
    fn all_mistakes_come_at_once_with_their_places() {
        let problems = read(&[
            ("hosts.yml", "groups:\n  a: { hosts: \"x[3:1]\", childs: [b] }\n  b: { children: [c, nope] }\n  c: { children: [b] }\nhosts:\n  -bad: {}\n  y: { port: 0, user: \"-o\", vars: [1] }\n"),
            ("host_vars/yy.yml", "q: 1\n"),
            ("group_vars/a/one.yml", "1x: 1\n"),
        ]).expect_err("wrong").to_string();
        for part in [
            "ends before it begins\n  --> hosts.yml:2:15", "unknown key `childs`", "did you mean `children`?", "no group `nope`",
            "in a circle: b -> c -> b", "`-bad` is no host name", "`port` is a number", "cannot be the user", "variables are a map",
            "a host `yy` that is not in hosts.yml", "did you mean `y`?", "`1x` is no name of a variable",
        ] {
            assert!(problems.contains(part), "{part}\n---\n{problems}");
        }
    }
}
