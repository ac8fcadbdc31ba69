//! Lines between two marks.
//!
//! In: the marks and what is between them. Out: the text with the block once. Never: a block without an end: everything
//! after it would be taken for a part of it.

use super::line::{Position, listed};
use super::text::Text;
use super::{EditError, utf8, wrong};
use crate::secret::Content;

/// A block.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkedBlock {
    /// The line before it.
    pub begin: String,
    /// The line after it.
    pub end: String,
    /// What is between them; none if neither it nor the marks are wanted.
    pub content: Option<Content>,
    /// Where it goes where there is none.
    pub place: Position,
}

impl MarkedBlock {
    pub(super) fn apply(&self, text: &mut Text) -> Result<(), EditError> {
        let found = self.find(text)?;
        let Some(content) = &self.content else {
            if let Some((begin, end)) = found {
                text.remove_all(&(begin..=end).collect::<Vec<_>>());
            }
            return Ok(());
        };
        let wanted: Vec<&str> = utf8(content)?.lines().collect();
        if let Some((begin, end)) = found {
            fill(text, begin + 1, end, &wanted);
        } else {
            let at = self.place.find(text)?;
            text.insert(at, &self.begin);
            text.insert(at + 1, &self.end);
            fill(text, at + 1, at + 1, &wanted);
        }
        Ok(())
    }

    fn find(&self, text: &Text) -> Result<Option<(usize, usize)>, EditError> {
        let marks = |mark: &str| text.places(|row| row.trim_end() == mark);
        let (begins, ends) = (marks(&self.begin), marks(&self.end));
        match (begins.as_slice(), ends.as_slice()) {
            ([], []) => Ok(None),
            ([begin], [end]) if begin < end => Ok(Some((*begin, *end))),
            _ => {
                let mut all = [begins, ends].concat();
                all.sort_unstable();
                wrong(format!("the markers of the block are not a single pair: {}", listed(&all)))
            }
        }
    }
}

/// Puts lines in the place of those between two others.
fn fill(text: &mut Text, from: usize, to: usize, wanted: &[&str]) {
    if text.rows().skip(from).take(to - from).eq(wanted.iter().copied()) {
        return;
    }
    text.remove_all(&(from..to).collect::<Vec<_>>());
    wanted.iter().enumerate().for_each(|(at, row)| text.insert(from + at, row));
}
