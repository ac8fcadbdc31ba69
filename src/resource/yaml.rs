//! `yaml`: a value at a path of a YAML file.
//!
//! In: the way to the value, and the value. Out: the file in which only that is different. Never: another key, the order
//! or a comment changed; what cannot be changed without that is refused.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{Presence, Tree, Way};
use super::part::{Part, Piece};
use crate::edit::{self, Edit};

/// A value at a path of a YAML file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Yaml {
    /// The file. Comments, the way things are written, the order of keys, mode and owner stay as they are.
    path: String,
    /// The way to the value: `a.b[0]`, or a list like `[log-opts, max.size]` where a key has a dot in it. Maps on the way
    /// are made if they are not there. Anchors, aliases and tags on the way are refused.
    key: Way,
    /// The value: a text, number, list or map, or true or false.
    #[serde(default)]
    value: Option<Tree>,
    /// Whether it is there. `absent` removes the key.
    #[serde(default)]
    state: Presence,
    /// Makes the file if it is not there, for root, open to read (to nobody if the value is secret).
    #[serde(default)]
    create: bool,
}

impl Part for Yaml {
    const NAME: &'static str = "yaml";
    const SUMMARY: &'static str = "A value at a path of a YAML file, whoever the rest belongs to";
    const EXAMPLE: &'static str =
        "yaml: { path: /etc/monitor.yml, key: targets.zookeeper.port, value: 2181, create: true }";
    const SHORT: &'static str = "path";

    fn check(&self) -> Result<(), String> {
        match (self.state, &self.value) {
            (Presence::Present, None) => Err("it needs a `value`, which is not null".to_owned()),
            (Presence::Absent, Some(_)) => Err("a key that is to be absent has no value".to_owned()),
            (Presence::Absent, None) if matches!(self.key.0.0.last(), Some(edit::Part::Item(_))) => {
                Err("an item of a list cannot be absent: those after it would take its place".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn part(&self) -> String {
        self.key.0.to_string()
    }

    fn piece(&self) -> Piece {
        let value = self.value.as_ref().map(|tree| tree.0.clone());
        Piece::of(&self.path, Edit::Yaml(edit::Yaml { path: self.key.0.clone(), value }), self.create)
    }
}
