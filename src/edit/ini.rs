//! Values below `[sections]`, as in files of systemd, git and many others.
//!
//! In: section, key and values. Out: the text with exactly these values of the key; comments, order and the way in which
//! `=` is written stay. Never: a value that goes over several lines.

use std::ops::Range;

use super::text::Text;
use super::{EditError, utf8, wrong};
use crate::secret::Content;

/// A key of an INI file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ini {
    /// The section, without brackets; none for what comes before the first.
    pub section: Option<String>,
    /// The key.
    pub key: String,
    /// Its values, one line each; none if the key is not wanted.
    pub values: Vec<Content>,
    /// What is between a new key and its value where the file has no example of it.
    pub sign: String,
}

impl Ini {
    pub(super) fn apply(&self, text: &mut Text) -> Result<(), EditError> {
        let wanted: Vec<&str> = self.values.iter().map(utf8).collect::<Result<_, _>>()?;
        let sections = self.sections(text);
        let found: Vec<usize> = sections.iter().flat_map(Clone::clone).filter(|at| self.is_mine(text, *at)).collect();
        found.iter().try_for_each(|at| one_line(text, *at))?;
        let have: Vec<&str> = found.iter().filter_map(|at| entry(text.row(*at))).map(|entry| entry.value).collect();
        if have == wanted {
            return Ok(());
        }
        let sign = self.sign(text, &sections, &found);
        let kept = found.len().min(wanted.len());
        for (at, value) in found.iter().zip(&wanted) {
            let line = self.line(text.row(*at), &sign, value);
            text.replace(*at, &line);
        }
        text.remove_all(&found[kept..]);
        self.add(text, &found[..kept], &wanted[kept..], &sign);
        Ok(())
    }

    /// The lines of the section, where it is written.
    fn sections(&self, text: &Text) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let (mut name, mut from) = (None, 0);
        for (at, row) in text.rows().map(Some).chain([None]).enumerate() {
            let next = row.and_then(header);
            if row.is_some() && next.is_none() {
                continue;
            }
            if name == self.section.as_deref() {
                found.push(from..at);
            }
            (name, from) = (next, at + 1);
        }
        found
    }

    fn is_mine(&self, text: &Text, at: usize) -> bool {
        first(text, at).is_some_and(|entry| entry.key == self.key)
    }

    /// How this key, or else the first other one, has its `=` written.
    fn sign(&self, text: &Text, sections: &[Range<usize>], found: &[usize]) -> String {
        let here = found.iter().copied().chain(sections.iter().flat_map(Clone::clone));
        let mut examples = here.chain(0..text.len()).filter_map(|at| first(text, at));
        // `key =` without a value says nothing about the space that would follow.
        let example = examples.find(|entry| !entry.value.is_empty()).map(|entry| entry.sign.to_owned());
        example.or_else(|| commented_sign(text)).unwrap_or_else(|| self.sign.clone())
    }

    fn line(&self, old: &str, sign: &str, value: &str) -> String {
        let indent = &old[..old.len() - old.trim_start().len()];
        format!("{indent}{}{sign}{value}", self.key).trim_end().to_owned()
    }

    /// Adds what is new after the last line of the key, of the section, or of the file.
    fn add(&self, text: &mut Text, kept: &[usize], values: &[&str], sign: &str) {
        if values.is_empty() {
            return;
        }
        let sections = self.sections(text);
        let last = |section: &Range<usize>| section.clone().rev().find(|at| first(text, *at).is_some());
        let beside = kept.last().copied().or_else(|| sections.iter().find_map(last));
        let at = match (beside, sections.first()) {
            (Some(at), _) => at + 1,
            (None, Some(section)) => section.start,
            (None, None) => self.new_section(text),
        };
        let at = (at..text.len()).find(|at| !goes_on(text, *at)).unwrap_or(text.len());
        let indent = beside.map(|at| text.row(at).to_owned()).unwrap_or_default();
        for (more, value) in values.iter().enumerate() {
            text.insert(at + more, &self.line(&indent, sign, value));
        }
    }

    fn new_section(&self, text: &mut Text) -> usize {
        if text.rows().next_back().is_some_and(|row| !row.trim().is_empty()) {
            text.insert(text.len(), "");
        }
        text.insert(text.len(), &format!("[{}]", self.section.as_deref().unwrap_or_default()));
        text.len()
    }
}

struct Pair<'a> {
    key: &'a str,
    /// From the key's end to the value.
    sign: &'a str,
    value: &'a str,
}

fn is_comment(row: &str) -> bool {
    row.trim_start().starts_with(['#', ';'])
}

fn header(row: &str) -> Option<&str> {
    let rest = row.trim_start().strip_prefix('[')?;
    rest.rsplit_once(']').filter(|(_, after)| after.trim().is_empty() || is_comment(after)).map(|(name, _)| name)
}

fn entry(row: &str) -> Option<Pair<'_>> {
    if is_comment(row) || header(row).is_some() {
        return None;
    }
    let row = row.trim();
    let (before, after) = row.split_once('=')?;
    let (key, value) = (before.trim_end(), after.trim_start());
    let sign = &row[key.len()..row.len() - value.len()];
    (!key.is_empty()).then_some(Pair { key, sign, value })
}

/// Files with only defaults have them as comments: `#Storage=auto`. A sentence has a space after its mark.
fn commented_sign(text: &Text) -> Option<String> {
    let example = |row: &str| {
        let bare = row.strip_prefix(['#', ';']).filter(|bare| !bare.starts_with(' '))?;
        entry(bare)
            .filter(|entry| !entry.key.contains(' ') && !entry.value.is_empty())
            .map(|entry| entry.sign.to_owned())
    };
    text.rows().find_map(example)
}

/// The key and value that begin in a line.
fn first(text: &Text, at: usize) -> Option<Pair<'_>> {
    entry(text.row(at)).filter(|_| !goes_on(text, at))
}

/// Whether a line is a part of the value before it: after a backslash, or indented without being anything by itself.
fn goes_on(text: &Text, at: usize) -> bool {
    let row = text.row(at);
    let odd = row.starts_with([' ', '\t']) && !row.trim().is_empty() && !is_comment(row);
    let before = at.checked_sub(1).map(|before| text.row(before));
    let continued = before.is_some_and(|before| before.ends_with('\\') && !is_comment(before));
    continued || odd && entry(row).is_none() && header(row).is_none()
}

/// A value that goes on in the next line cannot be changed by its first.
fn one_line(text: &Text, at: usize) -> Result<(), EditError> {
    if at + 1 < text.len() && goes_on(text, at + 1) {
        return wrong(format!("the value in line {} spans several lines and cannot be edited", at + 1));
    }
    Ok(())
}
