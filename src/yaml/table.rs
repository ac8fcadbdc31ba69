//! A map whose keys are known, read with every mistake noted.
//!
//! In: a node that should be a map. Out: its values by key. Never: an unknown key passed over.

use super::{Key, Node, Yaml};
use crate::diag::{Diagnostic, Diagnostics};
use crate::name::did_you_mean;

/// What other tools call a thing, and what it is called here.
const SYNONYMS: &[(&str, &str)] = &[
    ("dependson", "services that must be healthy first go under `needs`"),
    ("depends_on", "services that must be healthy first go under `needs`"),
    ("dependencies", "roles on the same host go under `requires`, services under `needs`"),
    ("with_items", "a list to repeat for goes under `loop`"),
    ("for_each", "a list to repeat for goes under `loop`"),
    ("defaults", "each input has its own `default`"),
    ("tasks", "what should be there goes under `resources`"),
    ("handlers", "a resource says `notify: restart`; the services of the role restart once"),
    ("dest", "where a thing is goes under `path`"),
];

/// A map with known keys.
pub struct Table<'a> {
    /// The map itself.
    pub node: &'a Node,
    what: &'static str,
    entries: &'a [(Key, Node)],
}

impl<'a> Table<'a> {
    /// Takes a node that should be a map with these keys. `what` names it in messages: "a role".
    /// `None` if it is no map; nothing at all counts as an empty map.
    pub fn open(what: &'static str, node: &'a Node, keys: &[&str], problems: &mut Diagnostics) -> Option<Self> {
        let entries = match &node.value {
            Yaml::Map(entries) => entries.as_slice(),
            Yaml::Null => &[],
            _ => {
                let problem = Diagnostic::error(format!("{what} is a map, not {}", node.kind())).at(&node.origin);
                problems.push(problem.hint(format!("its keys are: {}", keys.join(", "))));
                return None;
            }
        };
        for (key, _) in entries.iter().filter(|(key, _)| !keys.contains(&key.name.as_str())) {
            problems.push(unknown_key(what, key, keys));
        }
        Some(Self { node, what, entries })
    }

    /// The value of a key, if it is there and not empty.
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        let node = self.entries.iter().find(|(k, _)| k.name == key).map(|(_, node)| node)?;
        (node.value != Yaml::Null).then_some(node)
    }

    /// The value of a key that must be there.
    pub fn need(&self, key: &str, problems: &mut Diagnostics) -> Option<&'a Node> {
        let node = self.get(key);
        if node.is_none() {
            let problem = Diagnostic::error(format!("{} needs `{key}`", self.what)).at(&self.node.origin);
            problems.push(problem.hint(format!("write `{key}: ...` into it")));
        }
        node
    }

    /// A text.
    pub fn text(&self, key: &str, problems: &mut Diagnostics) -> Option<&'a str> {
        let node = self.get(key)?;
        node.text().or_else(|| wrong(key, "a text", node, problems))
    }

    /// True or false.
    pub fn flag(&self, key: &str, problems: &mut Diagnostics) -> Option<bool> {
        let node = self.get(key)?;
        match node.value {
            Yaml::Bool(flag) => Some(flag),
            _ => wrong(key, "true or false", node, problems),
        }
    }

    /// The items of a list; a single value counts as a list of one. Empty if it is not there.
    pub fn items(&self, key: &str) -> &'a [Node] {
        match self.get(key) {
            None => &[],
            Some(node) => node.list().unwrap_or(std::slice::from_ref(node)),
        }
    }

    /// The entries of a map. Empty if it is not there.
    pub fn entries(&self, key: &str, problems: &mut Diagnostics) -> &'a [(Key, Node)] {
        let Some(node) = self.get(key) else { return &[] };
        node.map().or_else(|| wrong(key, "a map", node, problems)).unwrap_or(&[])
    }
}

fn wrong<T>(key: &str, wanted: &str, node: &Node, problems: &mut Diagnostics) -> Option<T> {
    let example = match wanted {
        "a text" => "\"in quotes\"",
        "a map" => "{ key: value }",
        _ => "true",
    };
    let problem = Diagnostic::error(format!("`{key}` is {wanted}, not {}", node.kind())).at(&node.origin);
    problems.push(problem.hint(format!("for example `{key}: {example}`")));
    None
}

/// A key nobody knows, with what may be meant.
pub fn unknown_key(what: &str, key: &Key, keys: &[&str]) -> Diagnostic {
    let synonym =
        SYNONYMS.iter().find(|(other, _)| *other == key.name.to_lowercase()).map(|(_, hint)| (*hint).to_owned());
    Diagnostic::error(format!("unknown key `{}` in {what}", key.name))
        .at(&key.origin)
        .wide(key.name.chars().count())
        .maybe_hint(synonym.or_else(|| did_you_mean(&key.name, keys.iter().copied())))
}
