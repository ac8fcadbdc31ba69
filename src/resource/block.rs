//! `block`: some lines of a text file between two marks.
//!
//! In: the lines, the marks, and where a new block goes. Out: the file with the block once. Never: a block of which one
//! mark is missing.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Data, Presence};
use super::part::{FilePart, Piece};
use crate::edit::{self, Edit};

/// Lines between two marks.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Block {
    /// The file. Its mode, owner, line endings and all other lines stay as they are.
    path: String,
    /// The lines. Not needed with `state: absent`.
    #[serde(default)]
    content: Option<Data>,
    /// What the lines before and after it look like: a comment of the file's language in which `{mark}` stands for
    /// `BEGIN` and `END`.
    #[serde(default = "marker")]
    marker: String,
    /// Tells several blocks of one file apart. It is a part of the marks.
    #[serde(default)]
    name: Option<String>,
    /// Where a new block goes: after the last line that matches this regular expression, or `EOF` for the end, which is
    /// what is done if nothing is given. A block that is there is not moved.
    #[serde(default)]
    after: Option<String>,
    /// Where a new block goes: before the first line that matches this regular expression, or `BOF` for the beginning.
    #[serde(default)]
    before: Option<String>,
    /// Whether it exists. `absent` removes the marks with it.
    #[serde(default)]
    state: Presence,
    /// Makes the file if it is not there, for root, open to read (to nobody if the block is secret). With `absent`:
    /// removes the file if nothing is left in it.
    #[serde(default)]
    create: bool,
}

fn marker() -> String {
    "# {mark} armilla managed block".to_owned()
}

impl Block {
    fn mark(&self, word: &str) -> String {
        let name = self.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        self.marker.replace("{mark}", &format!("{word}{name}"))
    }
}

impl FilePart for Block {
    const NAME: &'static str = "block";
    const SUMMARY: &'static str = "Lines of a text file between two markers; the other lines stay";
    const EXAMPLE: &'static str =
        "block: { path: /etc/profile, content: \"umask 027\\nexport EDITOR=vi\\n\", create: true }";
    const SHORT: &'static str = "path";

    fn check(&self) -> Result<(), String> {
        fields::check_line("marker", &self.marker)?;
        self.name.iter().try_for_each(|name| fields::check_word("block", name))?;
        if !self.marker.contains("{mark}") || self.marker.trim_end() != self.marker {
            return Err("`marker` needs `{mark}`, which stands for BEGIN and END, and no space at its end".to_owned());
        }
        fields::check_place(self.after.as_deref(), self.before.as_deref())?;
        let content = self.content.as_ref().map(|content| fields::text_of("content", content)).transpose()?;
        match (self.state, content) {
            (Presence::Present, None) => Err("a block needs `content`".to_owned()),
            (Presence::Absent, Some(_)) => Err("a block with `state: absent` takes no content".to_owned()),
            (_, Some(text))
                if text
                    .lines()
                    .any(|row| [self.mark("BEGIN"), self.mark("END")].contains(&row.trim_end().to_owned())) =>
            {
                Err("`content` has a line that equals a marker of the block".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn part(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.mark("BEGIN"))
    }

    fn piece(&self) -> Piece {
        let edit = Edit::Block(edit::MarkedBlock {
            begin: self.mark("BEGIN"),
            end: self.mark("END"),
            content: self.content.as_ref().map(|data| data.0.clone()),
            place: fields::place(self.after.as_deref(), self.before.as_deref()),
        });
        Piece::of(&self.path, edit, self.create)
    }

    fn keys(&self) -> Option<serde_json::Value> {
        let create = self.create.then_some(true);
        let own = (self.marker != marker()).then_some(&self.marker);
        Some(serde_json::json!({ "path": self.path, "name": self.name, "marker": own, "create": create }))
    }
}
