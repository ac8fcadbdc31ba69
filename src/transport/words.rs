//! What hosts and programs say, made fit for an error message.

/// The last line, harmless for a terminal and not too long.
pub(super) fn brief(text: &str) -> String {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}
