//! One line of a text.
//!
//! In: the line, by what an older form of it is known, and where it goes if there is none. Out: the text with the line
//! once. Never: one of several lines picked by chance, or a line added to what already has it.

use regex::{Regex, RegexBuilder};

use super::text::Text;
use super::{EditError, State, utf8, wrong};
use crate::secret::Content;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The line itself; none only where what matches is to be gone.
    pub line: Option<Content>,
    /// What an older form of the line looks like, as a regular expression.
    pub matches: Option<String>,
    /// Where it goes where there is none.
    pub place: Position,
    /// Whether it is there.
    pub state: State,
    /// What becomes of several that match.
    pub several: Several,
}

/// Where something new goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Position {
    /// Before everything else.
    Beginning,
    /// After everything else.
    End,
    /// After the last line that matches this regular expression.
    After(String),
    /// Before the first line that matches this regular expression.
    Before(String),
}

/// What becomes of several lines that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Several {
    /// Nobody can know which was meant.
    Refuse,
    /// The first becomes the line, the others go.
    KeepFirst,
}

/// Compiles a regular expression for one line.
///
/// # Errors
/// The expression's own complaint, in one line.
pub fn pattern(text: &str) -> Result<Regex, EditError> {
    // What a person writes by hand compiles to a few KiB.
    let built = RegexBuilder::new(text).size_limit(1 << 20).build();
    built.or_else(|error| {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
        wrong(format!("invalid regular expression `{}`: {why}", text.escape_debug()))
    })
}

impl Position {
    /// The place in a text.
    pub(super) fn find(&self, text: &Text) -> Result<usize, EditError> {
        let none = |pattern: &str| {
            EditError(format!("no line matches `{}`, the position for the new line", pattern.escape_debug()))
        };
        match self {
            Self::Beginning => Ok(0),
            Self::End => Ok(text.len()),
            Self::After(pattern) => {
                let is = self::pattern(pattern)?;
                text.rows().rposition(|row| is.is_match(row)).map(|at| at + 1).ok_or_else(|| none(pattern))
            }
            Self::Before(pattern) => {
                let is = self::pattern(pattern)?;
                text.rows().position(|row| is.is_match(row)).ok_or_else(|| none(pattern))
            }
        }
    }

    /// The regular expression it is told by, if any.
    pub fn pattern(&self) -> Option<&str> {
        match self {
            Self::After(pattern) | Self::Before(pattern) => Some(pattern),
            Self::Beginning | Self::End => None,
        }
    }
}

impl Line {
    pub(super) fn apply(&self, text: &mut Text) -> Result<(), EditError> {
        let line = self.line.as_ref().map(utf8).transpose()?;
        let found = match (&self.matches, line) {
            (Some(matches), _) => {
                let is = pattern(matches)?;
                text.places(|row| is.is_match(row))
            }
            (None, Some(line)) => text.places(|row| row == line),
            (None, None) => return wrong("neither a line nor a pattern is given"),
        };
        match (self.state, line) {
            (State::Absent, _) => text.remove_all(&found),
            (State::Present, Some(line)) => self.put(text, line, &found)?,
            (State::Present, None) => return wrong("no line is given"),
        }
        Ok(())
    }

    fn put(&self, text: &mut Text, line: &str, found: &[usize]) -> Result<(), EditError> {
        match found {
            [] => text.insert(self.place.find(text)?, line),
            all if all.iter().all(|at| text.row(*at) == line) => {}
            [one] => text.replace(*one, line),
            [first, others @ ..] if self.several == Several::KeepFirst => {
                text.replace(*first, line);
                text.remove_all(others);
            }
            all => return wrong(format!("{} match: the pattern is ambiguous", listed(all))),
        }
        Ok(())
    }
}

/// `lines 3, 5, 9`, counted from 1 as editors do.
pub(super) fn listed(places: &[usize]) -> String {
    let numbers: Vec<String> = places.iter().take(4).map(|at| (at + 1).to_string()).collect();
    let more = if places.len() > 4 { " and more" } else { "" };
    let lines = if places.len() == 1 { "line" } else { "lines" };
    format!("{lines} {}{more}", numbers.join(", "))
}
