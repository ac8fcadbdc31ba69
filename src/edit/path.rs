//! Where a value is in a tree of maps and lists.
//!
//! In: `a.b[0].c`, or the same as a list. Out: its parts. Never: a part that could be read in two ways.

use std::fmt;

/// The way from the root of a document to a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Path(pub Vec<Segment>);

/// One part of the way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Segment {
    /// The value of a key of a map.
    Key(String),
    /// The item of a list, counted from 0.
    Item(usize),
}

impl Segment {
    /// What is there in a value.
    pub(super) fn inside<'a>(value: &'a serde_json::Value, part: &Self) -> Option<&'a serde_json::Value> {
        match part {
            Self::Key(key) => value.get(key),
            Self::Item(item) => value.get(item),
        }
    }
}

impl Path {
    /// Reads `a.b[0].c`. A key with a dot or a bracket in it can only be a part of a list.
    ///
    /// # Errors
    /// What is wrong with it, for a user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            let shown = text.escape_debug();
            format!("invalid path to a value `{shown}`: write it like a.b[0].c, or as a list: [a, b, 0, c.with.dots]")
        };
        let mut parts = Vec::new();
        for step in text.split('.') {
            let (key, items) = step.split_at(step.find('[').unwrap_or(step.len()));
            // A document that is a list begins with an item.
            if key.is_empty() && (items.is_empty() || !parts.is_empty()) || key.contains(']') {
                return Err(wrong());
            }
            parts.extend((!key.is_empty()).then(|| Segment::Key(key.to_owned())));
            let mut rest = items;
            while let Some((number, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                parts.push(Segment::Item(number.parse().map_err(|_| wrong())?));
                rest = after;
            }
            if !rest.is_empty() {
                return Err(wrong());
            }
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, part) in self.0.iter().enumerate() {
            match part {
                Segment::Key(key) if place == 0 => write!(f, "{key}")?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Item(item) => write!(f, "[{item}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_read_and_written() {
        for way in ["a", "a.b", "a[0]", "a.b[0][12].c", "[3].x", "log-opts.max-size"] {
            assert_eq!(Path::parse(way).expect("a way").to_string(), way);
        }
        for wrong in ["", ".", "a.", "a..b", "a[", "a[x]", "a[0]b", "a]", "a.[0]"] {
            assert!(Path::parse(wrong).is_err(), "{wrong}");
        }
    }
}
