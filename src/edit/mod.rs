//! Changes of a part of a file: one line, one block, one value.
//!
//! In: what was in the file, if there was one, and which part should be how. Out: all that should be in it, where every
//! other byte is as it was. Never: a file, a guess about a text that is not understood, or a second change: done twice,
//! an edit is as done once.

mod block;
mod entry;
mod ini;
mod json;
mod line;
mod path;
mod text;
mod yaml;

use std::fmt;

pub use block::MarkedBlock;
pub use entry::{Entry, HostKey, HostNames, Limit, LoginKey, PublicKey};
pub use ini::Ini;
pub use json::Json;
pub use line::{Line, Position, Several, pattern};
pub use path::{Path, Segment};
pub use yaml::Yaml;

use serde_json::Value;

use crate::secret::Content;

/// Whether a part is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum State {
    /// It is there.
    Present,
    /// It is not there.
    Absent,
}

/// What a file becomes where one part of it is as wanted. Literal: nothing is left to decide but by the file itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Edit {
    /// One line.
    Line(Line),
    /// Some lines between two marks.
    Block(MarkedBlock),
    /// A value below a `[section]`.
    Ini(Ini),
    /// A value at a path of a JSON document.
    Json(Json),
    /// A value at a path of a YAML document.
    Yaml(Yaml),
    /// A line of one of the system's own tables.
    Entry(Entry, State),
}

/// Why a part cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EditError(pub String);

impl Edit {
    /// What should be in the file. `None` before is no file; `None` after is none because there is nothing to write.
    ///
    /// # Errors
    /// When the file is not what it is taken for, or it is not clear which part is meant.
    pub fn apply(&self, before: Option<&[u8]>) -> Result<Option<Vec<u8>>, EditError> {
        if before.is_none() && self.state() == State::Absent {
            return Ok(None);
        }
        let mut text = text::Text::read(before.unwrap_or_default())?;
        match self {
            Self::Line(line) => line.apply(&mut text)?,
            Self::Block(block) => block.apply(&mut text)?,
            Self::Ini(ini) => ini.apply(&mut text)?,
            Self::Entry(entry, state) => entry.apply(*state, &mut text)?,
            Self::Json(json) => return json.apply(&text.written()).map(|text| Some(text.into_bytes())),
            Self::Yaml(yaml) => return yaml.apply(&text.written()).map(|text| Some(text.into_bytes())),
        }
        Ok(Some(text.written().into_bytes()))
    }

    /// The value that is in a document now, as JSON, of an edit that is about one; empty if there is none. None of any
    /// other edit.
    pub fn value_in(&self, before: &[u8]) -> Option<Result<String, EditError>> {
        let text = text::Text::read(before).map(|text| text.written());
        let (path, document) = match self {
            Self::Json(json) => (&json.path, text.and_then(|text| json::document(&text))),
            Self::Yaml(yaml) => (&yaml.path, text.and_then(|text| yaml::document(&text))),
            _ => return None,
        };
        let inside = |document: Value| {
            path.0.iter().try_fold(&document, Segment::inside).map_or(String::new(), Value::to_string)
        };
        Some(document.map(inside))
    }

    /// Whether nothing is left in a file but what the parts were in: sections and maps without anything.
    pub fn is_hollow(&self, text: &[u8]) -> bool {
        let text = String::from_utf8_lossy(text);
        match self {
            Self::Ini(_) => text.lines().all(|line| line.trim().is_empty() || line.starts_with('[')),
            // A comment is something.
            Self::Json(_) | Self::Yaml(_) if text.contains(['#', '/']) => false,
            Self::Json(_) => json::document(&text).is_ok_and(|document| is_hollow(&document)),
            Self::Yaml(_) => yaml::document(&text).is_ok_and(|document| is_hollow(&document)),
            Self::Line(_) | Self::Block(_) | Self::Entry(..) => text.is_empty(),
        }
    }

    /// Whether a secret goes into the file.
    pub fn is_secret(&self) -> bool {
        match self {
            Self::Line(line) => line.line.as_ref().is_some_and(Content::is_secret),
            Self::Block(block) => block.content.as_ref().is_some_and(Content::is_secret),
            Self::Ini(ini) => ini.values.iter().any(Content::is_secret),
            Self::Json(Json { value, .. }) | Self::Yaml(Yaml { value, .. }) => {
                value.as_ref().is_some_and(Content::is_secret)
            }
            Self::Entry(..) => false,
        }
    }

    /// Whether there is to be something in the file.
    pub fn is_wanted(&self) -> bool {
        self.state() == State::Present
    }

    fn state(&self) -> State {
        let wanted = |wanted: bool| if wanted { State::Present } else { State::Absent };
        match self {
            Self::Line(line) => line.state,
            Self::Block(block) => wanted(block.content.is_some()),
            Self::Ini(ini) => wanted(!ini.values.is_empty()),
            Self::Json(Json { value, .. }) | Self::Yaml(Yaml { value, .. }) => wanted(value.is_some()),
            Self::Entry(_, state) => *state,
        }
    }
}

/// What is changed, for a person, in a few words and without any secret.
impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Line(_) => "a line",
            Self::Block(_) => "a block",
            Self::Ini(ini) => return write!(f, "the value of {}", ini.key),
            Self::Json(Json { path, .. }) | Self::Yaml(Yaml { path, .. }) => return write!(f, "the value of {path}"),
            Self::Entry(entry, _) => entry.what(),
        };
        f.write_str(what)
    }
}

fn is_hollow(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(|entries| entries.values().all(is_hollow))
}

fn wrong<T>(why: impl Into<String>) -> Result<T, EditError> {
    Err(EditError(why.into()))
}

/// A text of a role as lines of a file.
fn utf8(content: &Content) -> Result<&str, EditError> {
    std::str::from_utf8(content.bytes()).or_else(|_| wrong("its content must be UTF-8 text"))
}
