//! The functions of the shell that there are, and which of them a script needs.
//!
//! In: files of shell text, and what is to be done with them. Out: their statements, and the functions that
//! these or each other name. Never: a function left out whose whole name stands anywhere in what is sent, be it in a text;
//! so no name may be put together by the shell.

use std::collections::HashMap;
use std::sync::LazyLock;

/// A file of shell text, read when it is first needed.
pub(super) type Source = LazyLock<Vec<Piece>>;

/// Files of shell text, by their names.
macro_rules! sources {
    ($($file:literal),+ $(,)?) => {
        [$(std::sync::LazyLock::new(|| $crate::transport::script::library::pieces(include_str!($file)))),+]
    };
}
pub(super) use sources;

/// What is sent as a whole or not at all: a function, or a line that is in none.
#[derive(Debug)]
pub(super) struct Piece {
    /// Of a function.
    name: Option<&'static str>,
    lines: Vec<&'static str>,
}

/// What a host does at a `# crash point` where a test has set one; see [`crate::crash`].
static CRASH: [Source; 1] = sources!["crash.sh"];

/// Whether scripts have crash points: nobody sets one while the program runs.
static CRASHES: LazyLock<bool> = LazyLock::new(|| crate::crash::host_point().is_some());

/// The pieces of a file. A function begins in the first column with `NAME() {`, and ends on that line, or with the next
/// line that has its `}` there.
pub(super) fn pieces(text: &'static str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut inside = false;
    for line in text.lines().filter_map(sent) {
        match pieces.last_mut() {
            Some(function) if inside => {
                function.lines.push(line);
                inside = !line.starts_with('}');
            }
            _ => {
                let name = line.split_once("() {").map(|(name, _)| name);
                inside = name.is_some() && line.ends_with('{');
                pieces.push(Piece { name, lines: vec![line] });
            }
        }
    }
    pieces
}

/// What of these files `body` needs, in their order.
pub(super) fn needed(sources: &[&[Source]], body: &str) -> String {
    let crash = CRASH.iter().filter(|_| *CRASHES);
    let pieces: Vec<&Piece> = crash.chain(sources.iter().copied().flatten()).flat_map(|source| &**source).collect();
    // A file may have its own function in the place of one that stands before it: then both are sent.
    let mut functions: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, piece) in pieces.iter().enumerate() {
        if let Some(name) = piece.name {
            functions.entry(name).or_default().push(place);
        }
    }
    let mut needed: Vec<bool> = pieces.iter().map(|piece| piece.name.is_none()).collect();
    let statements = pieces.iter().filter(|piece| piece.name.is_none());
    let mut texts: Vec<&str> = statements.flat_map(|piece| piece.lines.iter().copied()).chain([body]).collect();
    while let Some(text) = texts.pop() {
        for place in words(text).filter_map(|word| functions.remove(word)).flatten() {
            needed[place] = true;
            texts.extend(&pieces[place].lines);
        }
    }
    let lines = pieces.iter().zip(needed).filter(|(_, needed)| *needed).flat_map(|(piece, _)| &piece.lines);
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// What may be the name of a function.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
}

/// What is sent of a line: nothing of a comment.
fn sent(line: &'static str) -> Option<&'static str> {
    match line.trim_start() {
        "# crash point" if *CRASHES => Some("crash"),
        text if text.starts_with('#') => None,
        _ => Some(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SOME: [Source; 1] = [LazyLock::new(|| {
        pieces(
            "# first: no more.\nfirst() { second; }\nsecond() {\n  # crash point\n  for i in third; do \"$i\"; done\n} 2>/dev/null\n\
             third() { :; }\nnobody() { first; }\nat=once\ntrap 'at_the_end' EXIT\nat_the_end() {\n  :\n}\n",
        )
    })];

    #[test]
    fn what_is_named_is_there_and_nothing_else() {
        let text = needed(&[&SOME], "first\n");
        let has = |name: &str| text.contains(&format!("\n{name}() {{")) || text.starts_with(&format!("{name}() {{"));
        assert!(["first", "second", "third", "at_the_end"].into_iter().all(has), "{text}");
        assert!(!has("nobody") && !text.contains('#') && text.contains("\n} 2>/dev/null\n"), "{text}");
        let least = needed(&[&SOME], "");
        assert_eq!(least, needed(&[&SOME], "firsts\n"));
        assert!(least.ends_with("at=once\ntrap 'at_the_end' EXIT\nat_the_end() {\n  :\n}\n"), "{least}");
        assert!(!least.contains("first"), "{least}");
    }
}
