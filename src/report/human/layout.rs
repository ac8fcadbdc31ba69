//! Colours, columns and line breaks.
//!
//! In: short texts. Out: the same, painted, padded or broken. Never: a text made shorter.

use anstyle::{AnsiColor, Style};

/// What will be there.
pub(super) const ADD: Style = AnsiColor::Green.on_default();
/// What will be different.
pub(super) const CHANGE: Style = AnsiColor::Yellow.on_default();
/// What will be gone.
pub(super) const REMOVE: Style = AnsiColor::Red.on_default();
/// What a service does.
pub(super) const ACT: Style = AnsiColor::Magenta.on_default().bold();
/// What runs.
pub(in crate::report) const RUN: Style = AnsiColor::Cyan.on_default();
/// What may be.
pub(super) const MAY: Style = AnsiColor::Blue.on_default();
/// What is wrong.
pub(in crate::report) const WRONG: Style = AnsiColor::Red.on_default().bold();
/// What is well.
pub(in crate::report) const WELL: Style = AnsiColor::Green.on_default().bold();
/// What is named.
pub(in crate::report) const NAME: Style = Style::new().bold();
/// What matters less.
pub(in crate::report) const QUIET: Style = Style::new().dimmed();

/// The text in a style.
pub(in crate::report) fn paint(style: Style, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{style}{text}{style:#}") }
}

/// How many columns a text takes that has no colours.
pub(super) fn width(text: &str) -> usize {
    text.chars().count()
}

/// The text with blanks up to a width.
pub(in crate::report) fn pad(text: &str, to: usize) -> String {
    format!("{text}{}", " ".repeat(to.saturating_sub(width(text))))
}

/// The text in lines of at most this width, broken at blanks where it can be.
pub(in crate::report) fn wrap(text: &str, most: usize) -> Vec<String> {
    let most = most.max(16);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Parts of a line with three blanks between, broken between parts where the width asks for it.
pub(super) fn parts(parts: &[String], most: usize, indent: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        match lines.last_mut() {
            Some(line) if width(line) + 3 + width(part) <= most => {
                line.push_str("   ");
                line.push_str(part);
            }
            Some(_) => {
                let wrapped = wrap(part, most.saturating_sub(indent));
                lines.extend(wrapped.into_iter().map(|line| format!("{}{line}", " ".repeat(indent))));
            }
            None => lines.push(part.clone()),
        }
    }
    lines
}
