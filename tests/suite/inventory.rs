//! Inventories and patterns: the cases of `tests/cases/{inventory,pattern}`, and what holds for any text.
//!
//! A case of an inventory has the text of `hosts.yml`, texts of other files, and what is expected: `members` of groups,
//! `groups` and `endpoint` of hosts, `variables` with their levels, and all `problems` as a user sees them. A case of
//! patterns has a text of `hosts.yml` and for each pattern its hosts, or the error and its hint.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use armilla::diag::{Diagnostic, Source};
use armilla::inventory::{Become, Endpoint, Inventory, Method, Pattern, Texts};
use armilla::name::{EnvName, GroupName, HostName};
use armilla::vars::Layers;
use armilla::yaml::{self, Node};
use proptest::prelude::*;

fn cases(folder: &str) -> Vec<(PathBuf, Node)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    assert!(!paths.is_empty(), "no cases in {}", folder.display());
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let node = yaml::parse(&Source::new(path.display().to_string(), text)).unwrap_or_else(|d| panic!("{d}"));
        (path, node)
    };
    paths.into_iter().map(read).collect()
}

fn read(files: &[(&str, &str)]) -> Result<Inventory, armilla::diag::Diagnostics> {
    let texts: Texts = files.iter().map(|(path, text)| ((*path).into(), Source::new(*path, *text))).collect();
    Inventory::read(EnvName::new("test").expect("a name"), &texts)
}

fn entries<'a>(case: &'a Node, key: &str) -> Vec<(&'a str, &'a Node)> {
    let entries = case.get(key).and_then(Node::map).unwrap_or_default();
    entries.iter().map(|(key, node)| (key.name.as_str(), node)).collect()
}

fn text(node: &Node) -> &str {
    node.text().unwrap_or_else(|| panic!("{}: a text is expected", node.origin))
}

fn joined<'a, T: AsRef<str> + 'a>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().fold(String::new(), |mut all, name| {
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str(name.as_ref());
        all
    })
}

#[test]
fn inventory_cases() {
    let mut failures = String::new();
    for (path, case) in cases("inventory") {
        let known =
            ["about", "hosts", "files", "order", "members", "groups", "direct", "endpoint", "variables", "problems"];
        entries_known(&case, &known);
        let mut files: Vec<(&str, &str)> = entries(&case, "files").into_iter().map(|(k, v)| (k, text(v))).collect();
        files.extend(case.get("hosts").map(|hosts| ("hosts.yml", text(hosts))));
        let expected = case.get("problems").map(text).unwrap_or_default();
        let (inventory, problems) = match read(&files) {
            Ok(inventory) => {
                let warnings = inventory.warnings.to_string();
                (Some(inventory), warnings)
            }
            Err(problems) => (None, problems.to_string()),
        };
        if problems.trim() != expected.trim() {
            writeln!(failures, "== {}: the problems are\n{problems}", path.display()).expect("a string");
        }
        if let Some(inventory) = inventory {
            check(&path, &case, &inventory);
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

fn entries_known(case: &Node, known: &[&str]) {
    for (key, _) in case.map().unwrap_or_default() {
        assert!(known.contains(&key.name.as_str()), "{}: unknown key {}", key.origin, key.name);
    }
}

fn check(path: &Path, case: &Node, inventory: &Inventory) {
    let at = path.display();
    let host = |name: &str| inventory.host(name).unwrap_or_else(|| panic!("{at}: no host {name}"));
    if let Some(order) = case.get("order") {
        assert_eq!(joined(inventory.hosts().map(|host| host.name().as_str())), text(order), "{at}: order");
    }
    for (group, expected) in entries(case, "members") {
        let members = inventory.members(&GroupName::new(group).expect("a name"));
        assert_eq!(joined(members.iter().map(|name| name.as_str())), text(expected), "{at}: members of {group}");
    }
    for (name, expected) in entries(case, "groups") {
        assert_eq!(joined(host(name).groups.iter().map(GroupName::as_str)), text(expected), "{at}: groups of {name}");
    }
    for (name, expected) in entries(case, "direct") {
        let direct = host(name).direct_groups.iter().map(GroupName::as_str);
        assert_eq!(joined(direct), text(expected), "{at}: direct groups of {name}");
    }
    for (name, expected) in entries(case, "endpoint") {
        assert_eq!(shown(&host(name).endpoint), text(expected), "{at}: endpoint of {name}");
    }
    for (name, expected) in entries(case, "variables") {
        let variables = Layers::of(inventory, host(name)).merged();
        let mut lines = String::new();
        for (name, variable) in &variables {
            writeln!(lines, "{name} = {} ({})", variable.node.to_json(), variable.level).expect("a string");
        }
        assert_eq!(lines, text(expected), "{at}: variables of {name}");
    }
}

fn shown(endpoint: &Endpoint) -> String {
    let user = endpoint.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let port = endpoint.port.map(|port| format!(" port {port}")).unwrap_or_default();
    let key = endpoint.key.as_ref().map(|key| format!(" key {key}")).unwrap_or_default();
    let method = if endpoint.method == Method::Local { " local" } else { "" };
    let root = if endpoint.become_user == Become::Root { " as root" } else { "" };
    format!("{user}{}{port}{key}{method}{root}", endpoint.address)
}

#[test]
fn pattern_cases() {
    for (path, case) in cases("pattern") {
        entries_known(&case, &["about", "hosts", "select", "refuse"]);
        let hosts = case.get("hosts").map(text).unwrap_or_default();
        let inventory =
            read(&[("hosts.yml", hosts)]).unwrap_or_else(|problems| panic!("{}: {problems}", path.display()));
        let select = |pattern: &str| Pattern::parse(pattern).and_then(|pattern| pattern.select(&inventory));
        for (pattern, expected) in entries(&case, "select") {
            let found = select(pattern).map(|names| joined(names.iter().map(HostName::as_str)));
            assert_eq!(found, Ok(text(expected).to_owned()), "{}: {pattern}", path.display());
        }
        for (pattern, expected) in entries(&case, "refuse") {
            let found = select(pattern).expect_err(pattern);
            assert_eq!(told(&found), text(expected), "{}: {pattern}", path.display());
        }
    }
}

fn told(problem: &Diagnostic) -> String {
    let hint = problem.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{}{hint}", problem.what)
}

/// A small fleet: for each group its own hosts and the later groups below it, all by number.
#[derive(Debug, Clone)]
struct Fleet(Vec<(Vec<usize>, Vec<usize>)>);

impl Fleet {
    fn strategy() -> impl Strategy<Value = Self> {
        let group = (prop::collection::vec(0..6_usize, 0..4), prop::collection::vec(1..4_usize, 0..3));
        prop::collection::vec(group, 1..5).prop_map(Self)
    }

    fn children(&self, group: usize) -> impl Iterator<Item = usize> {
        self.0[group].1.iter().map(move |below| group + below).filter(|child| *child < self.0.len())
    }

    /// By the definition: its own hosts in order, then those of the children, none twice.
    fn members(&self, group: usize) -> Vec<usize> {
        let below = self.children(group).flat_map(|child| self.members(child)).collect::<Vec<_>>();
        let mut members = Vec::new();
        for host in self.0[group].0.iter().copied().chain(below) {
            if !members.contains(&host) {
                members.push(host);
            }
        }
        members
    }

    fn text(&self) -> String {
        let mut text = String::from("groups:\n");
        for (group, (hosts, _)) in self.0.iter().enumerate() {
            let hosts: Vec<String> = hosts.iter().map(|host| format!("h{host}")).collect();
            let children: Vec<String> = self.children(group).map(|child| format!("g{child}")).collect();
            writeln!(text, "  g{group}: {{ hosts: [{}], children: [{}] }}", hosts.join(", "), children.join(", "))
                .expect("a string");
        }
        text + "hosts: { h0: , h1: , h2: , h3: , h4: , h5: }\n"
    }
}

/// A part of a pattern, and its meaning by the definition.
#[derive(Debug, Clone)]
enum Part {
    Group(usize),
    Host(usize),
    Every,
    First(usize),
}

impl Part {
    fn strategy() -> impl Strategy<Value = Self> {
        prop_oneof![
            (0..5_usize).prop_map(Self::Group),
            (0..7_usize).prop_map(Self::Host),
            Just(Self::Every),
            (0..5_usize).prop_map(Self::First),
        ]
    }

    fn text(&self) -> String {
        match self {
            Self::Group(group) => format!("g{group}"),
            Self::Host(host) => format!("h{host}"),
            Self::Every => "h*".to_owned(),
            Self::First(group) => format!("g{group}[0]"),
        }
    }

    fn hosts(&self, fleet: &Fleet) -> Option<Vec<usize>> {
        match self {
            Self::Group(group) => (*group < fleet.0.len()).then(|| fleet.members(*group)),
            Self::Host(host) => (*host < 6).then(|| vec![*host]),
            Self::Every => Some((0..6).collect()),
            Self::First(group) => Self::Group(*group).hosts(fleet)?.first().map(|host| vec![*host]),
        }
    }
}

/// Nothing if a part is unknown or nothing is left.
fn model(fleet: &Fleet, parts: &[(char, Part)]) -> Option<Vec<usize>> {
    let found: Vec<(char, Vec<usize>)> =
        parts.iter().map(|(sign, part)| Some((*sign, part.hosts(fleet)?))).collect::<Option<_>>()?;
    let of = |wanted: char| found.iter().filter(move |(sign, _)| *sign == wanted).map(|(_, hosts)| hosts);
    let all_signed = of(' ').next().is_none();
    let chosen: Vec<usize> = (0..6)
        .filter(|host| all_signed || of(' ').any(|hosts| hosts.contains(host)))
        .filter(|host| of('&').all(|hosts| hosts.contains(host)))
        .filter(|host| !of('!').any(|hosts| hosts.contains(host)))
        .collect();
    (!chosen.is_empty()).then_some(chosen)
}

proptest! {
    #[test]
    fn a_pattern_selects_what_its_definition_says(
        fleet in Fleet::strategy(),
        parts in prop::collection::vec((prop::sample::select(vec![' ', '&', '!']), Part::strategy()), 1..5),
    ) {
        let inventory = read(&[("hosts.yml", &fleet.text())]).map_err(|p| TestCaseError::fail(p.to_string()))?;
        let text: Vec<String> = parts.iter().map(|(sign, part)| format!("{sign}{}", part.text())).collect();
        let found = Pattern::parse(&text.join(":")).and_then(|pattern| pattern.select(&inventory));
        let order: Vec<&str> = inventory.hosts().map(|host| host.name().as_str()).collect();
        let expected = model(&fleet, &parts).map(|hosts| {
            let names: Vec<String> = hosts.iter().map(|host| format!("h{host}")).collect();
            order.iter().filter(|name| names.iter().any(|n| n == *name)).map(|n| (*n).to_owned()).collect::<Vec<_>>()
        });
        prop_assert_eq!(found.ok().map(|names| names.iter().map(ToString::to_string).collect()), expected);
        for group in 0..fleet.0.len() {
            let name = GroupName::new(&format!("g{group}")).expect("a name");
            let members: Vec<String> = inventory.members(&name).iter().map(ToString::to_string).collect();
            let expected: Vec<String> = fleet.members(group).iter().map(|host| format!("h{host}")).collect();
            prop_assert_eq!(members, expected);
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,60}|[a-z:{}\\[\\],\n -]{0,60}", path in "(group|host)_vars/[a-z./~]{0,9}") {
        let _ = read(&[("hosts.yml", &text)]);
        let _ = read(&[("hosts.yml", "groups: { a: { hosts: \"a[1:3]\" } }"), (&path, &text)]);
        let _ = armilla::vars::parse_setting(&text);
    }

    #[test]
    fn no_shape_of_an_inventory_panics(
        keys in prop::collection::vec(
            (
                prop::sample::select(vec!["vars", "groups", "hosts", "connection", "all", "a", "children", "port", "x-y"]),
                prop::sample::select(vec!["", "a", "[a, b]", "{a: {hosts: a}}", "{a: {children: [a, b]}}", "1", "\"w[1:2]\""]),
            ),
            0..6,
        ),
    ) {
        let flat: Vec<String> = keys.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
        let flat = flat.concat();
        let _ = read(&[("hosts.yml", &flat)]);
        let nested = format!("    {}", flat.trim_end().replace('\n', "\n    "));
        let _ = read(&[("hosts.yml", &format!("groups:\n  a:\n{nested}\nhosts:\n  a:\n{nested}\n"))]);
    }

    #[test]
    fn no_pattern_panics(text in "[ab~*?!&:,\\[\\](){}0-9\\\\-]{0,20}|\\PC{0,20}") {
        let inventory = read(&[("hosts.yml", "groups: { a: { hosts: \"a[1:3]\" } }")]).expect("an inventory");
        if let Ok(names) = Pattern::parse(&text).and_then(|pattern| pattern.select(&inventory)) {
            prop_assert!(!names.is_empty());
        }
    }
}

#[test]
fn thousands_of_mistakes_are_all_told() {
    let own = (0..3_000).map(|n| (format!("host_vars/x{n}.yml").into(), Source::new(format!("x{n}"), "a: 1\n")));
    let hosts = Source::new("hosts.yml", "groups: { g: { hosts: \"h[1:5000]\" } }");
    let texts: Texts = own.chain([("hosts.yml".into(), Arc::clone(&hosts))]).collect();
    let problems = Inventory::read(EnvName::new("test").expect("a name"), &texts).expect_err("3,000 problems");
    assert_eq!(problems.iter().count(), 3_000);
}

#[test]
fn what_would_fill_the_memory_is_refused() {
    let mut deep = String::from("groups:\n  g0: { hosts: \"h[1:65536]\" }\n");
    for group in 1..20_000 {
        writeln!(deep, "  g{group}: {{ children: g{} }}", group - 1).expect("a string");
    }
    for (hosts, what) in [
        ("groups: { a: { hosts: [\"a[1:40000]\", \"b[1:40000]\"] } }", "too many hosts"),
        (deep.as_str(), "too many members"),
    ] {
        let problems = read(&[("hosts.yml", hosts)]).expect_err(what).to_string();
        assert!(problems.contains(what), "{problems}");
    }
    let chain = deep.replace("65536", "3");
    let inventory = read(&[("hosts.yml", &chain)]).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(inventory.group("g19999").map(armilla::inventory::Group::size), Some(3));
}
