//! What `json` and `yaml` share: a value at a path of a file that is a tree.
//!
//! In: the way to the value, and the value. Out: the file in which only that is different. Never: another key, the order,
//! the indentation or a comment changed; what cannot be changed without that is refused.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{Presence, Tree, Way};
use super::part::{FilePart, Piece};
use crate::edit::{self, Edit};
use crate::secret::Content;

/// A format of trees: what sets its kind apart.
pub(super) trait Format: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// See [`super::Kind::NAME`].
    const NAME: &'static str;
    /// See [`super::Kind::SUMMARY`].
    const SUMMARY: &'static str;
    /// See [`super::Kind::EXAMPLE`].
    const EXAMPLE: &'static str;

    /// The edit that puts a value at a path, or takes away what is there.
    fn edit(path: edit::Path, value: Option<Content>) -> Edit;
}

/// A value at a path of a file, as written in YAML.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound = "")]
#[schemars(bound = "")]
pub(super) struct Keyed<F: Format> {
    /// The file. The way it is written, the order of keys, comments, mode and owner stay as they are.
    path: String,
    /// The way to the value: `a.b[0]`, or a list like `[log-opts, max.size]` where a key has a dot in it. Maps on the way
    /// are made if they are not there; YAML's anchors, aliases and tags on the way are refused.
    key: Way,
    /// The value: a text, number, list or map, or true or false.
    #[serde(default)]
    value: Option<Tree>,
    /// Whether it exists. `absent` removes the key.
    #[serde(default)]
    state: Presence,
    /// Makes the file if it is not there, for root, open to read (to nobody if the value is secret). With `absent`:
    /// removes the file if nothing is left in it.
    #[serde(default)]
    create: bool,
    #[serde(skip)]
    format: PhantomData<F>,
}

impl<F: Format> FilePart for Keyed<F> {
    const NAME: &'static str = F::NAME;
    const SUMMARY: &'static str = F::SUMMARY;
    const EXAMPLE: &'static str = F::EXAMPLE;
    const SHORT: &'static str = "path";

    fn check(&self) -> Result<(), String> {
        match (self.state, &self.value) {
            (Presence::Present, None) => Err("it needs a `value`, which is not null".to_owned()),
            (Presence::Absent, Some(_)) => Err("a key with `state: absent` takes no value".to_owned()),
            (Presence::Absent, None) if matches!(self.key.0.0.last(), Some(edit::Segment::Item(_))) => {
                Err("an item of a list cannot be absent: the items after it would move up".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn part(&self) -> String {
        self.key.0.to_string()
    }

    fn piece(&self) -> Piece {
        let value = self.value.as_ref().map(|tree| tree.0.clone());
        Piece::of(&self.path, F::edit(self.key.0.clone(), value), self.create)
    }

    fn keys(&self) -> Option<serde_json::Value> {
        if let Some(edit::Segment::Item(_)) = self.key.0.0.last() {
            return None;
        }
        let create = self.create.then_some(true);
        Some(serde_json::json!({ "path": self.path, "key": self.key.list(), "create": create }))
    }
}
