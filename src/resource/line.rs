//! `line`: one line of a text file.
//!
//! In: the line, what an older form of it looks like, and where a new one goes. Out: the file with the line once.
//! Never: a line that would be added again by every run, or a choice between several that match.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Data, Presence};
use super::part::{FilePart, Piece};
use crate::edit::{self, Edit, Several, pattern};

/// One line of a text file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "a `line` has a `line` in YAML")]
pub(super) struct Line {
    /// The file. Its mode, owner, line endings and all other lines stay as they are.
    path: String,
    /// The line. Not needed with `match` and `state: absent`.
    #[serde(default)]
    line: Option<Data>,
    /// A regular expression for older forms of the line, which are replaced by it. It must match the line itself, too:
    /// otherwise every run would add it again. More than one such line is refused, unless `all` says what to do.
    #[serde(default, rename = "match")]
    matches: Option<String>,
    /// Where a new line goes: after the last line that matches this regular expression, or `EOF` for the end, which is
    /// what is done if nothing is given. A line that is there is not moved.
    #[serde(default)]
    after: Option<String>,
    /// Where a new line goes: before the first line that matches this regular expression, or `BOF` for the beginning.
    #[serde(default)]
    before: Option<String>,
    /// Whether the line is there. `absent` removes every line that matches (or, without `match`, is the same).
    #[serde(default)]
    state: Presence,
    /// Makes the file if it is not there, for root, open to read (to nobody if the line is secret). With `absent`:
    /// removes the file if nothing is left in it.
    #[serde(default)]
    create: bool,
    /// If several lines match, the first becomes the line and the others are removed.
    #[serde(default)]
    all: bool,
}

impl FilePart for Line {
    const NAME: &'static str = "line";
    const SUMMARY: &'static str = "One line of a text file; the other lines stay";
    const EXAMPLE: &'static str =
        "line: { path: /etc/ssh/sshd_config, match: '^#?PermitRootLogin ', line: PermitRootLogin no, create: true }";
    const SHORT: &'static str = "path";

    fn check(&self) -> Result<(), String> {
        let line = self.line.as_ref().map(|line| fields::one_line("line", line)).transpose()?;
        let is = self.matches.as_deref().map(pattern).transpose().map_err(|why| format!("`match`: {why}"))?;
        fields::check_place(self.after.as_deref(), self.before.as_deref())?;
        match (self.state, line, is) {
            (Presence::Present, None, _) => Err("a line that is to be present needs `line`".to_owned()),
            (Presence::Absent, None, None) => Err("a line that is to be absent needs `line` or `match`".to_owned()),
            (Presence::Present, Some(line), Some(is)) if !is.is_match(line) => {
                Err("`match` does not match `line` itself, so every run would add the line again: widen it".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// By what is looked for; a secret line without `match` cannot be named.
    fn part(&self) -> String {
        let text = |data: &Data| String::from_utf8_lossy(data.0.bytes()).into_owned();
        let line = self.line.as_ref().filter(|line| !line.0.is_secret()).map(text);
        self.matches.clone().or(line).unwrap_or_else(|| "secret line".to_owned())
    }

    fn piece(&self) -> Piece {
        let edit = Edit::Line(edit::Line {
            line: self.line.as_ref().map(|data| data.0.clone()),
            matches: self.matches.clone(),
            place: fields::place(self.after.as_deref(), self.before.as_deref()),
            state: self.state.into(),
            several: if self.all { Several::KeepFirst } else { Several::Refuse },
        });
        Piece::of(&self.path, edit, self.create)
    }

    fn keys(&self) -> Option<serde_json::Value> {
        let create = self.create.then_some(true);
        if let Some(matches) = &self.matches {
            return Some(serde_json::json!({ "path": self.path, "match": matches, "create": create }));
        }
        let line = self.line.as_ref().filter(|line| !line.0.is_secret())?;
        let line = std::str::from_utf8(line.0.bytes()).ok()?;
        Some(serde_json::json!({ "path": self.path, "line": line, "create": create }))
    }
}
