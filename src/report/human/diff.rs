//! Two texts as a unified diff.
//!
//! In: what is there and what will be. Out: lines with a sign, three lines around each difference. Never: a line cut
//! short, or a difference that cannot be seen because it is a blank.

use similar::{ChangeTag, TextDiff};

use super::layout::{ADD, QUIET, REMOVE, paint};
use super::words::{count, one_line};

/// Lines around a difference.
const CONTEXT: usize = 3;
/// Lines shown when not all are asked for.
const SHORT: usize = 12;

/// One line of a diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    sign: char,
    text: String,
}

/// The lines of a diff.
pub(super) fn lines(from: &str, to: &str) -> Vec<Line> {
    let diff = TextDiff::from_lines(from, to);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(CONTEXT) {
        if !lines.is_empty() {
            lines.push(Line { sign: '.', text: "...".to_owned() });
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = sign(change.tag());
            lines.push(Line { sign, text: visible(change.value(), sign) });
            if change.missing_newline() && (sign != ' ' || from.ends_with('\n') != to.ends_with('\n')) {
                lines.push(Line { sign: '.', text: "(no line break at the end)".to_owned() });
            }
        }
    }
    lines
}

fn sign(tag: ChangeTag) -> char {
    match tag {
        ChangeTag::Equal => ' ',
        ChangeTag::Delete => '-',
        ChangeTag::Insert => '+',
    }
}

/// In changed lines, tabs and blanks at the end are seen too.
fn visible(line: &str, sign: char) -> String {
    let line = line.strip_suffix('\n').unwrap_or(line);
    if sign == ' ' {
        return one_line(&line.replace('\t', "    "));
    }
    let body = line.trim_end_matches(' ');
    let blanks = "·".repeat(line.len() - body.len());
    format!("{}{blanks}", one_line(&body.replace('\t', "→   ")))
}

/// The lines to show: all, or the first and how many more there are.
pub(super) fn show(lines: &[Line], all: bool, indent: usize) -> Vec<String> {
    let blanks = " ".repeat(indent);
    // One line more is shown rather than announced.
    let most = if all || lines.len() <= SHORT + 1 { lines.len() } else { SHORT };
    let mut texts: Vec<String> = lines[..most].iter().map(|line| format!("{blanks}{}", line.painted())).collect();
    if most < lines.len() {
        let hidden = |sign: char| lines[most..].iter().filter(|line| line.sign == sign).count();
        let more = count(lines.len() - most, "more line");
        let more = format!("... {more} (+{} -{}), -D shows all", hidden('+'), hidden('-'));
        texts.push(format!("{blanks}{}", paint(QUIET, &more)));
    }
    texts
}

impl Line {
    fn painted(&self) -> String {
        match self.sign {
            '+' => paint(ADD, format!("+ {}", self.text).trim_end()),
            '-' => paint(REMOVE, format!("- {}", self.text).trim_end()),
            '.' => paint(QUIET, &self.text),
            _ => paint(QUIET, format!("  {}", self.text).trim_end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(from: &str, to: &str) -> Vec<String> {
        lines(from, to).iter().map(|line| format!("{}{}", line.sign, line.text)).collect()
    }

    #[test]
    fn a_difference_in_blanks_or_at_the_end_is_seen() {
        assert_eq!(text("a\nb \n", "a\n\tb\n"), [" a", "-b·", "+→   b"]);
        assert_eq!(text("a\n", "a"), ["-a", "+a", ".(no line break at the end)"]);
        assert_eq!(text("a\r\n", "a\n"), ["-a\\r", "+a"]);
    }
}
