//! Variables: which value a name has on a host, and every place that had a say.
//!
//! In: what is set by roles, services, the inventory and the command line. Out: for a host the value of each name,
//! and, to explain it, every setting of a name with its level and origin. Never: a value that is rendered (values are
//! data), or two maps that are mixed, unless an `ansible.cfg` asks for it: a stronger map replaces a weaker one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;

use camino::Utf8PathBuf;

use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::inventory::{ALL, Group, Host, Inventory, Merging, Rules, Settings, check_variable};
use crate::name::{GroupName, HostName, RoleName, ServiceName};
use crate::yaml::{self, Node, Yaml};

/// Where a variable is set. The levels are in the order of their strength; within `Group` a child is stronger than its
/// parent, and of equally deep groups the one whose name comes later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Level {
    /// A default of a role's input.
    Role(RoleName),
    /// `vars` of a service in `site.yml`.
    Service(ServiceName),
    /// Variables of every host of the inventory.
    All,
    /// A group of the inventory.
    Group(GroupName),
    /// A host of the inventory.
    Host(HostName),
    /// `--var` on the command line.
    CommandLine,
}

impl Level {
    fn rank(&self) -> u8 {
        match self {
            Self::Role(_) => 0,
            Self::Service(_) => 1,
            Self::All => 2,
            Self::Group(_) => 3,
            Self::Host(_) => 4,
            Self::CommandLine => 5,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(name) => write!(f, "default of the role {name}"),
            Self::Service(name) => write!(f, "service {name}"),
            Self::All => f.write_str("all hosts"),
            Self::Group(name) => write!(f, "group {name}"),
            Self::Host(name) => write!(f, "host {name}"),
            Self::CommandLine => f.write_str("--var"),
        }
    }
}

/// A value of a name, and who set it.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    /// The value and where it was written.
    pub node: Arc<Node>,
    /// At which level.
    pub level: Level,
}

/// Everything that may set a variable of one host (or of a service on it), the weakest first. It shares the settings
/// with their owners, so that it costs no more than a few pointers per host.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    layers: Vec<(Level, Settings)>,
    merging: Merging,
}

impl Layers {
    /// What the inventory sets for a host. By our rules a group's files are as strong as the group; by Ansible's the files
    /// of all groups are stronger than what stands beside the hosts.
    pub fn of(inventory: &Inventory, host: &Host) -> Self {
        let mut layers = Vec::new();
        let mut add = |group: &Group, places: &[Settings]| {
            let level = || if group.name.as_str() == ALL { Level::All } else { Level::Group(group.name.clone()) };
            layers.extend(places.iter().map(|settings| (level(), settings.clone())));
        };
        for group in inventory.lineage(host) {
            add(group, &group.settings);
            if inventory.rules == Rules::Own {
                add(group, &group.files);
            }
        }
        if inventory.rules == Rules::Ansible {
            inventory.lineage(host).for_each(|group| add(group, &group.files));
        }
        let level = Level::Host(host.name().clone());
        layers.extend(host.settings.iter().chain(&host.files).map(|settings| (level.clone(), settings.clone())));
        Self { layers, merging: inventory.merging }
    }

    /// What is set for a host alone.
    pub fn of_host(inventory: &Inventory, host: &Host) -> Self {
        let level = Level::Host(host.name().clone());
        let places = host.settings.iter().chain(&host.files);
        Self { layers: places.map(|place| (level.clone(), place.clone())).collect(), merging: inventory.merging }
    }

    /// What is set for a group alone.
    pub fn of_group(inventory: &Inventory, group: &Group) -> Self {
        let level = Level::Group(group.name.clone());
        let places = group.settings.iter().chain(&group.files);
        Self { layers: places.map(|place| (level.clone(), place.clone())).collect(), merging: inventory.merging }
    }

    /// The same with settings of another level: stronger than all of its level and below, whatever the order of calls.
    #[must_use]
    pub fn with(mut self, level: Level, settings: Settings) -> Self {
        // Not by halves: Ansible's rules leave the levels of an inventory among themselves in no order of rank.
        let below = self.layers.iter().rposition(|(there, _)| there.rank() <= level.rank());
        self.layers.insert(below.map_or(0, |index| index + 1), (level, settings));
        self
    }

    /// The value that counts.
    pub fn get(&self, name: &str) -> Option<Variable> {
        let mut all = self.layers.iter().rev().filter_map(|layer| variable(layer, name));
        match self.merging {
            Merging::Replace => all.next(),
            Merging::Merge => all.reduce(|stronger, weaker| merge(stronger, &weaker)),
        }
    }

    /// Every setting of a name, the weakest first; the last one counts.
    pub fn every(&self, name: &str) -> Vec<Variable> {
        self.layers.iter().filter_map(|layer| variable(layer, name)).collect()
    }

    /// Every name with the value that counts.
    pub fn merged(&self) -> BTreeMap<Arc<str>, Variable> {
        let mut merged: BTreeMap<Arc<str>, Variable> = BTreeMap::new();
        for (level, settings) in self.layers.iter().rev() {
            for (name, node) in settings.iter() {
                let weaker = || Variable { node: Arc::clone(node), level: level.clone() };
                match merged.entry(Arc::clone(name)) {
                    Entry::Vacant(place) => drop(place.insert(weaker())),
                    Entry::Occupied(mut place) if self.merging == Merging::Merge => {
                        let stronger = place.get().clone();
                        place.insert(merge(stronger, &weaker()));
                    }
                    Entry::Occupied(_) => {}
                }
            }
        }
        merged
    }
}

/// Two values by the rules of Ansible's `hash_behaviour = merge`: entries of maps come together, all else is replaced.
fn merge(stronger: Variable, weaker: &Variable) -> Variable {
    if stronger.node.map().is_none() || weaker.node.map().is_none() {
        return stronger;
    }
    let node = merge_nodes(Node::clone(&stronger.node), Node::clone(&weaker.node));
    Variable { node: Arc::new(node), level: stronger.level }
}

fn merge_nodes(stronger: Node, weaker: Node) -> Node {
    let (strong, mut entries) = match (stronger.value, weaker.value) {
        (Yaml::Map(strong), Yaml::Map(weak)) => (strong, weak),
        (value, _) => return Node { origin: stronger.origin, value, mark: stronger.mark },
    };
    for (key, node) in strong {
        match entries.iter().position(|(known, _)| known.name == key.name) {
            Some(index) => {
                let (_, below) = entries.remove(index);
                entries.insert(index, (key, merge_nodes(node, below)));
            }
            None => entries.push((key, node)),
        }
    }
    Node { origin: stronger.origin, value: Yaml::Map(entries), mark: stronger.mark }
}

fn variable((level, settings): &(Level, Settings), name: &str) -> Option<Variable> {
    settings.get(name).map(|node| Variable { node: Arc::clone(node), level: level.clone() })
}

/// What one `--var` says.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    /// `NAME=VALUE`.
    One(String, Node),
    /// `@FILE`: a file with a map, which the caller reads and gives to [`read_file`].
    File(Utf8PathBuf),
}

/// Reads the text of one `--var`: `NAME=VALUE` or `@FILE`.
///
/// A value is a YAML scalar (`cores=8` is a number, `debug=true` a truth value) or, if it begins with `[`, `{` or a
/// quote, anything YAML has on one line (`list=[a, b]`, `version='1.0'`). All else is a text as it stands, with its
/// `#`, `*` and `: `; a text with spaces is one value, not several settings as in Ansible. `name=` is an empty text;
/// nothing at all is `name=null`.
///
/// # Errors
/// When it is neither, the name is no identifier, or a value that begins like a list, map or quoted text is not one.
pub fn parse_setting(text: &str) -> Result<Setting, Diagnostic> {
    if let Some(path) = text.strip_prefix('@') {
        return match path {
            "" => Err(Diagnostic::error("`--var @` needs a file").hint(USAGE)),
            path => Ok(Setting::File(path.into())),
        };
    }
    let Some((name, value)) = text.split_once('=') else {
        return Err(Diagnostic::error(format!("`{}` is not a variable assignment", text.escape_debug())).hint(USAGE));
    };
    check_variable(name)?;
    let source = Source::new(format!("--var {name}"), value);
    Ok(Setting::One(name.to_owned(), setting_value(&source)?))
}

const USAGE: &str = "write `--var NAME=VALUE` or `--var @FILE`";

fn setting_value(source: &Arc<Source>) -> Result<Node, Diagnostic> {
    let value = source.text.as_str();
    if value.trim_start().starts_with(['[', '{', '"', '\'']) {
        return yaml::parse(source);
    }
    let text = Node::new(&Origin::start(source), Yaml::Text(value.to_owned()));
    // Only what YAML reads as one plain word can be anything but a text; a lone comment or tag would read as nothing.
    if value.contains(char::is_whitespace) || value.starts_with(['#', '!', '&', '*', '%']) || value.is_empty() {
        return Ok(text);
    }
    match yaml::parse(source) {
        Ok(node) if matches!(node.value, Yaml::Bool(_) | Yaml::Int(_) | Yaml::Float(_)) => Ok(node),
        Ok(node) if matches!(value, "~" | "null" | "Null" | "NULL") => Ok(node),
        _ => Ok(text),
    }
}

/// Reads the file of a `--var @FILE`.
///
/// # Errors
/// When it is no YAML, no map, or a name is no identifier.
pub fn read_file(source: &Arc<Source>) -> Result<Settings, Diagnostics> {
    Settings::read(yaml::parse(source)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Texts;
    use crate::name::EnvName;

    fn inventory(hosts: &str, files: &[(&str, &str)]) -> Inventory {
        let hosts = [("hosts.yml", hosts)];
        let texts: Texts =
            files.iter().chain(&hosts).map(|(path, text)| ((*path).into(), Source::new(*path, *text))).collect();
        let env = EnvName::new("test").unwrap_or_else(|e| panic!("{e}"));
        Inventory::read(env, &texts).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn settings(text: &str) -> Settings {
        read_file(&Source::new("x.yml", text)).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn shown(variables: &[Variable]) -> Vec<String> {
        variables.iter().map(|v| format!("{} {} {}", v.node.to_json(), v.level, v.node.origin)).collect()
    }

    #[test]
    fn every_level_is_stronger_than_those_before_it() {
        let inventory = inventory(
            "vars: { x: all }\ngroups:\n  b: { hosts: w1, vars: { x: b } }\n  a: { hosts: w1, vars: { x: a } }\n  \
             top: { children: a, vars: { x: top } }\nhosts: { w1: { vars: { x: w1 } } }\n",
            &[("group_vars/a.yml", "x: file\n"), ("host_vars/w1/1.yml", "y: {k: 1}\n")],
        );
        let host = inventory.host("w1").unwrap_or_else(|| panic!("w1"));
        let name = |text| RoleName::new(text).unwrap_or_else(|e| panic!("{e}"));
        let service = Level::Service(ServiceName::new("s").unwrap_or_else(|e| panic!("{e}")));
        let layers = Layers::of(&inventory, host)
            .with(Level::CommandLine, settings("x: given"))
            .with(service, settings("x: service\ny: {l: 2}"))
            .with(Level::Role(name("r")), settings("x: default\nz: 0"));
        assert_eq!(
            shown(&layers.every("x")),
            [
                "\"default\" default of the role r x.yml:1:4",
                "\"service\" service s x.yml:1:4",
                "\"all\" all hosts hosts.yml:1:12",
                "\"b\" group b hosts.yml:3:30",
                "\"top\" group top hosts.yml:5:34",
                "\"a\" group a hosts.yml:4:30",
                "\"file\" group a group_vars/a.yml:1:4",
                "\"w1\" host w1 hosts.yml:6:27",
                "\"given\" --var x.yml:1:4",
            ]
        );
        let merged: Vec<String> = layers.merged().iter().map(|(k, v)| format!("{k}={}", v.node.to_json())).collect();
        assert_eq!(merged, ["x=\"given\"", "y={\"k\":1}", "z=0"], "maps are replaced, not mixed");
        assert_eq!(layers.get("y").map(|v| v.level), Some(Level::Host(host.name().clone())));
        assert_eq!(layers.get("nobody"), None);
    }

    #[test]
    fn a_setting_is_a_word_of_yaml_or_a_text_as_it_stands() {
        for (text, expected) in [
            ("cores=8", "8"),
            ("debug=true", "true"),
            ("ratio=0.5", "0.5"),
            ("x=yes", "\"yes\""),
            ("x=null", "null"),
            ("x=", "\"\""),
            ("x= 8", "\" 8\""),
            ("x='8'", "\"8\""),
            ("list=[a, 2]", "[\"a\",2]"),
            ("map={a: {b: c}}", "{\"a\":{\"b\":\"c\"}}"),
            ("x=a: b", "\"a: b\""),
            ("x=a:", "\"a:\""),
            ("x=- a", "\"- a\""),
            ("x=#1", "\"#1\""),
            ("x=*", "\"*\""),
            ("x=---", "\"---\""),
            ("x=a=b", "\"a=b\""),
            ("opts=-Xmx1g -Da=b", "\"-Xmx1g -Da=b\""),
            ("x={{ y }}", "a key must be a text"),
            ("x=[1", "this is not YAML"),
            ("a-b=1", "invalid variable name `a-b`"),
            ("=1", "invalid variable name ``"),
            ("x", "`x` is not a variable assignment"),
            ("@", "`--var @` needs a file"),
        ] {
            let found = match parse_setting(text) {
                Ok(Setting::One(_, node)) => node.to_json().to_string(),
                Ok(Setting::File(path)) => path.into_string(),
                Err(problem) => problem.what,
            };
            assert!(found == expected || found.starts_with(expected) && found.starts_with("this"), "{text}: {found}");
        }
        assert_eq!(parse_setting("@a/b.yml"), Ok(Setting::File("a/b.yml".into())));
    }
}
