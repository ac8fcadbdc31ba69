//! `ini`: a value of a file with `[sections]`.
//!
//! In: section, key and value. Out: the file with exactly this value of the key. Never: a comment, another key or the
//! order changed.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Data, Presence};
use super::part::{FilePart, Piece};
use crate::edit::{self, Edit};

/// A value of a file with `[sections]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ini {
    /// The file. Comments, order, line endings, mode and owner stay as they are.
    path: String,
    /// The section, without brackets. Without it: the lines before the first section. It is made if it is not there.
    #[serde(default)]
    section: Option<String>,
    /// The key, as it is written in the file.
    key: String,
    /// The value. If the key is there several times, it is there once afterwards.
    #[serde(default)]
    value: Option<Data>,
    /// Instead of `value`: exactly these lines of the same key, as systemd and git have them.
    #[serde(default)]
    values: Option<Vec<Data>>,
    /// Whether a new line has spaces around its `=`, if the file has no line to go by.
    #[serde(default = "fields::yes")]
    spaces: bool,
    /// Whether it exists. `absent` removes every line of the key in the section.
    #[serde(default)]
    state: Presence,
    /// Makes the file if it is not there, for root, open to read (to nobody if the value is secret). With `absent`:
    /// removes the file if nothing is left in it.
    #[serde(default)]
    create: bool,
}

impl Ini {
    fn all(&self) -> impl Iterator<Item = &Data> {
        self.value.iter().chain(self.values.iter().flatten())
    }
}

impl FilePart for Ini {
    const NAME: &'static str = "ini";
    const SUMMARY: &'static str = "A value of a file with [sections]; the rest stays";
    const EXAMPLE: &'static str =
        "ini: { path: /etc/systemd/journald.conf, section: Journal, key: SystemMaxUse, value: 500M, create: true }";
    const SHORT: &'static str = "path";

    fn check(&self) -> Result<(), String> {
        fields::check_line("key", &self.key)?;
        let odd = self.key.is_empty() || self.key.trim() != self.key || self.key.contains('=');
        if odd || self.key.starts_with(['#', ';', '[']) {
            return Err(format!("invalid key `{}`", self.key.escape_debug()));
        }
        if let Some(section) = &self.section {
            fields::check_line("section", section)?;
            if section.is_empty() || section.contains([']', '[']) {
                return Err(format!("invalid section `{}`: write it without brackets", section.escape_debug()));
            }
        }
        for data in self.all() {
            let value = fields::one_line("value", data)?;
            if value.trim() != value || value.ends_with('\\') {
                return Err("`value` must not begin or end with a space, or end with a backslash".to_owned());
            }
        }
        match (self.state, &self.value, &self.values) {
            (Presence::Present, Some(_), None) | (Presence::Absent, None, None) => Ok(()),
            (Presence::Present, None, Some(values)) if !values.is_empty() => Ok(()),
            (Presence::Present, ..) => Err("it needs either `value` or a list of `values`".to_owned()),
            (Presence::Absent, ..) => Err("a key with `state: absent` takes no value".to_owned()),
        }
    }

    fn part(&self) -> String {
        self.section.iter().map(|section| format!("[{section}] ")).chain([self.key.clone()]).collect()
    }

    fn piece(&self) -> Piece {
        let edit = Edit::Ini(edit::Ini {
            section: self.section.clone(),
            key: self.key.clone(),
            values: self.all().map(|data| data.0.clone()).collect(),
            sign: if self.spaces { " = " } else { "=" }.to_owned(),
        });
        Piece::of(&self.path, edit, self.create)
    }

    fn keys(&self) -> Option<serde_json::Value> {
        let Self { path, section, key, .. } = self;
        let create = self.create.then_some(true);
        Some(serde_json::json!({ "path": path, "section": section, "key": key, "create": create }))
    }
}
