//! The look of the files users write: keys in one order, indented by two, nothing behind the end of a line.
//!
//! In: a text and which file it is. Out: the same with another look. Never: another meaning, a comment lost or moved to
//! another key, other quotes, or a file of Ansible.
//!
//! The printing is `pretty_yaml`'s. It has its own mind about quotes and about the blanks before a comment behind a
//! value; both are put back as they were.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use pretty_yaml::config::FormatOptions;
use yaml_parser::SyntaxKind;

use crate::diag::{Diagnostic, Source};
use crate::inventory;
use crate::role::Role;
use crate::settings::{EnvironmentSettings, ProjectSettings};
use crate::site::Site;
use crate::yaml::{self, Node, Yaml};

/// Longer maps and lists in braces and brackets get a line for each entry.
const WIDTH: usize = 120;

/// Which of our files a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// `site.yml`.
    Site,
    /// `armilla.yml`.
    Project,
    /// `role.yml`.
    Role,
    /// `inventories/ENV/environment.yml`.
    Environment,
    /// `inventories/ENV/hosts.yml`.
    Hosts,
    /// A file below `group_vars/` or `host_vars/`.
    Variables,
}

impl Sort {
    /// By a path from the root of the file system or of the project; none if it is none of our files.
    pub fn of(path: &Path) -> Option<Self> {
        let names: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
        let (name, folders) = names.split_last()?;
        let of_environment = folders.iter().rev().nth(1) == Some(&"inventories");
        let is_yaml = path.extension().is_some_and(|ending| ending == "yml" || ending == "yaml");
        match *name {
            _ if is_yaml && folders.iter().any(|name| ["group_vars", "host_vars"].contains(name)) => {
                Some(Self::Variables)
            }
            "site.yml" => Some(Self::Site),
            "armilla.yml" => Some(Self::Project),
            "role.yml" => Some(Self::Role),
            "environment.yml" if of_environment => Some(Self::Environment),
            "hosts.yml" | "hosts.yaml" if of_environment => Some(Self::Hosts),
            _ => None,
        }
    }

    /// Its keys in the order in which they are written. Variables have any.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Site => Site::KEYS,
            Self::Project => ProjectSettings::KEYS,
            Self::Role => Role::KEYS,
            Self::Environment => EnvironmentSettings::KEYS,
            Self::Hosts => inventory::KEYS,
            Self::Variables => &[],
        }
    }

    /// Whether a text is in our form: files of Ansible have some of the same names.
    pub fn is_ours(self, source: &Arc<Source>) -> bool {
        match self {
            // A playbook is a list.
            Self::Site => yaml::parse(source).map_or(true, |root| root.list().is_none()),
            Self::Hosts => inventory::is_native(source),
            _ => true,
        }
    }
}

/// The text as it should look.
///
/// # Errors
/// When it is no YAML, or cannot be given another look without another meaning.
pub fn format(source: &Arc<Source>, sort: Sort) -> Result<String, Diagnostic> {
    let before = yaml::parse(source)?;
    let ordered = ordered(&source.text, &before, sort.keys());
    let refuse = |why: &str| {
        Diagnostic::error(format!("{} cannot be formatted: {why}", source.name))
            .hint("nothing was changed; write that part in a simpler way, or leave this file as it is")
    };
    let printed = printed(&ordered).map_err(|why| refuse(&why))?;
    let after = yaml::parse(&Source::new(source.name.clone(), printed.clone()));
    if !after.is_ok_and(|after| same(&in_any_order(before), &in_any_order(after))) {
        return Err(refuse("its meaning would change"));
    }
    if comments(&ordered) != comments(&printed) || sorted(comments(&source.text)) != sorted(comments(&printed)) {
        return Err(refuse("a comment would be lost"));
    }
    Ok(printed)
}

// Order.

/// The text with the entries of its outermost map in the order of these keys, and those of no such name behind them. The
/// comments right above an entry and the empty lines above them go with it.
fn ordered(text: &str, root: &Node, keys: &[&str]) -> String {
    let Some(starts) = starts(root) else { return text.to_owned() };
    let lines: Vec<&str> = text.lines().collect();
    let firsts: Vec<usize> = starts.iter().map(|(line, _)| with_comments(&lines, *line)).collect();
    let ends = firsts.iter().skip(1).copied().chain([lines.len()]);
    let blocks: Vec<EntryLines<'_>> =
        firsts.iter().zip(ends).map(|(from, to)| EntryLines::of(&lines[*from..to])).collect();
    let place = |index: &usize| keys.iter().position(|key| *key == starts[*index].1).unwrap_or(keys.len());
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    order.sort_by_key(place);
    if order.is_sorted() {
        return text.to_owned();
    }
    // The entry that was the first takes over the empty lines before the one that now is.
    let above = |index: usize| blocks[if index == 0 { order[0] } else { index } - 1].empty;
    let head = lines[..firsts[0]].iter().copied();
    let body = order.iter().enumerate().flat_map(|(position, index)| {
        let empty = if position == 0 { 0 } else { above(*index) };
        std::iter::repeat_n("", empty).chain(blocks[*index].lines.iter().copied())
    });
    head.chain(body).flat_map(|line| [line, "\n"]).collect()
}

/// The line of each entry of the outermost map, counted from 0, with its key. None if they have no lines of their own.
fn starts(root: &Node) -> Option<Vec<(usize, &str)>> {
    let entries = root.map().filter(|entries| !entries.is_empty())?;
    let line = |line: u32| usize::try_from(line).ok()?.checked_sub(1);
    let starts = entries.iter().map(|(key, _)| Some((line(key.origin.line)?, key.name.as_str())));
    let starts: Vec<(usize, &str)> = starts.collect::<Option<_>>()?;
    let own_lines = starts.is_sorted_by(|one, next| one.0 < next.0);
    (own_lines && entries.iter().all(|(key, _)| key.origin.column == 1)).then_some(starts)
}

/// The first of the comments right above a line.
fn with_comments(lines: &[&str], line: usize) -> usize {
    let above = lines[..line].iter().rev().take_while(|line| line.starts_with('#')).count();
    line - above
}

/// The lines of an entry, and how many empty ones follow.
struct EntryLines<'a> {
    lines: &'a [&'a str],
    empty: usize,
}

impl<'a> EntryLines<'a> {
    fn of(lines: &'a [&'a str]) -> Self {
        let empty = lines.iter().rev().take_while(|line| line.trim().is_empty()).count();
        Self { lines: &lines[..lines.len() - empty], empty }
    }
}

// Print.

fn printed(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Ok(String::new());
    }
    let mut options = FormatOptions::default();
    options.layout.print_width = WIDTH;
    // Blanks at the end of a line in a text of several lines belong to it.
    options.language.trim_trailing_whitespaces = false;
    let mut new = pretty_yaml::format_text(text, &options).map_err(|error| error.to_string())?;
    for (old, printed) in pieces(text).iter().zip(pieces(&new)).rev() {
        if old.kind == printed.kind && old.kind != PieceKind::Lines {
            new.replace_range(printed.range, &old.text);
        }
    }
    Ok(new)
}

/// A piece of a text that is kept as it is.
struct Piece {
    kind: PieceKind,
    range: Range<usize>,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PieceKind {
    /// A text in quotes that is within one line.
    Quoted,
    /// A comment with a line of its own.
    Comment,
    /// A comment behind something, with the blanks before it.
    Behind,
    /// A text in quotes over several lines, of which only the meaning is kept.
    Lines,
}

fn pieces(text: &str) -> Vec<Piece> {
    let Ok(tree) = yaml_parser::parse(text) else { return Vec::new() };
    let elements = tree.descendants_with_tokens();
    elements.filter_map(|element| Piece::of(text, element.kind(), element.text_range().into())).collect()
}

impl Piece {
    fn of(text: &str, kind: SyntaxKind, range: Range<usize>) -> Option<Self> {
        let before = text[..range.start].trim_end_matches([' ', '\t']);
        let kind = match kind {
            SyntaxKind::DOUBLE_QUOTED_SCALAR | SyntaxKind::SINGLE_QUOTED_SCALAR => {
                if text[range.clone()].contains('\n') { PieceKind::Lines } else { PieceKind::Quoted }
            }
            SyntaxKind::COMMENT if before.is_empty() || before.ends_with('\n') => PieceKind::Comment,
            SyntaxKind::COMMENT => PieceKind::Behind,
            _ => return None,
        };
        let range = if kind == PieceKind::Behind { before.len()..range.end } else { range };
        let text = &text[range.clone()];
        let text = if kind == PieceKind::Quoted { text } else { text.trim_end() };
        Some(Self { kind, range, text: text.to_owned() })
    }
}

// Compare.

/// The comments of a text, in its order.
fn comments(text: &str) -> Vec<String> {
    let is_comment = |piece: &Piece| matches!(piece.kind, PieceKind::Comment | PieceKind::Behind);
    pieces(text).into_iter().filter(is_comment).map(|piece| piece.text.trim().to_owned()).collect()
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts
}

/// A tree in which the order of the outermost entries does not count.
fn in_any_order(mut root: Node) -> Node {
    if let Yaml::Map(entries) = &mut root.value {
        entries.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    }
    root
}

/// Whether two trees say the same, wherever it is written.
fn same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Yaml::List(one), Yaml::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Yaml::Map(one), Yaml::Map(other)) => {
            let pairs = || one.iter().zip(other);
            one.len() == other.len()
                && pairs().all(|((key, one), (other_key, other))| key.name == other_key.name && same(one, other))
        }
        // Not a number is not equal to itself, and says the same.
        (Yaml::Float(one), Yaml::Float(other)) => one.to_bits() == other.to_bits(),
        (one, other) => one == other,
    }
}
