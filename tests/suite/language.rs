//! One term per thing: words that help, messages and pages must not use, each with the word to use instead.

use std::path::{Path, PathBuf};

use crate::imports::is_test;

/// What must not be said, and what to say instead. Lower case; a phrase may stand in any case and across line breaks.
const WORDS: &[(&str, &str)] = &[
    ("` is no", "invalid NAME `x`: ..."),
    ("it is no", "it is not a"),
    ("mend", "fix"),
    ("mends", "fixes"),
    ("mended", "fixed"),
    ("put back", "roll back, rolled back"),
    ("puts back", "rolls back"),
    ("put everything back", "rolled back"),
    ("puts everything back", "rolls back"),
    ("cut off", "interrupted (a run), disconnected (a host)"),
    ("cut short", "truncated"),
    ("go on", "continue, resume"),
    ("goes on", "continues, resumes"),
    ("went on", "continued, resumed"),
    ("gone on with", "resumed"),
    ("going on with", "resuming"),
    ("dead man", "rollback timer"),
    ("vigil", "rollback timer"),
    ("who may change", "lock"),
    ("who may work", "lock"),
    ("witness", "lock host"),
    ("witnesses", "lock hosts"),
    ("ticket", "lock, fencing token"),
    ("sick", "unhealthy"),
    ("owed", "pending"),
    ("owes", "has a pending restart"),
    ("has not heard", "pending restart"),
    ("what leaves", "removed resources"),
    ("what left", "removed resources"),
    ("leaves the roles", "is removed from the roles"),
    ("left the roles", "was removed from the roles"),
    ("leaves the role", "is removed from the role"),
    ("taken away", "removed"),
    ("takes away", "removes"),
    ("take away", "remove"),
    ("away, silent", "unreachable"),
    ("is away", "is unreachable"),
    ("are away", "are unreachable"),
    ("is silent", "is unreachable"),
    ("looked at", "read, checked"),
    ("ask around", "survey"),
    ("look around", "survey"),
    ("is told", "is shown, gets"),
    ("be told", "load, parse"),
    ("the told", "the output"),
    ("not begun", "not started"),
    ("is begun", "starts"),
    ("begun", "started"),
    ("anew", "again"),
    ("as described", "in sync"),
    ("whoever", "anyone who, the user that"),
    ("is no more", "no longer exists"),
    ("are no more", "no longer exist"),
    ("a person must look", "check the host"),
    ("nobody said", "not confirmed"),
    ("nobody knows", "unknown"),
    ("somebody", "another user, another run"),
    ("all is well", "healthy"),
    ("in a circle", "in a cycle"),
    ("passed over", "ignored, skipped"),
    ("circles", "cycles"),
    ("sealed", "encrypted"),
    ("no mistake", "no errors"),
    ("mistakes found", "errors found"),
];

/// What may be said although a phrase of the table is in it.
const ALLOWED: &[&str] = &["is no longer", "are no longer"];

/// A forbidden phrase in a text.
#[derive(Debug, PartialEq, Eq)]
struct Hit {
    line: usize,
    phrase: &'static str,
    instead: &'static str,
}

/// Every forbidden phrase of a text that begins at this line of its file. A phrase is one of whole words.
fn search(text: &str, first: usize) -> Vec<Hit> {
    let text = text.to_lowercase();
    // Words with the line they are on, so that a line break is as good as a blank.
    let mut flat: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    for allowed in ALLOWED {
        flat = flat.replace(allowed, &"_".repeat(allowed.len()));
    }
    let mut hits = Vec::new();
    for (phrase, instead) in WORDS.iter().copied() {
        for (at, _) in flat.match_indices(phrase) {
            let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '-' || c == '_');
            let before = phrase.starts_with(char::is_alphanumeric) && inside(flat[..at].chars().next_back());
            let after = inside(flat[at + phrase.len()..].chars().next());
            if !before && !after {
                hits.push(Hit { line: first + text[..at].matches('\n').count(), phrase, instead });
            }
        }
    }
    hits.sort_by_key(|hit| hit.line);
    hits
}

/// Forbidden phrases in the string literals of Rust source that reach users: not in comments, attributes' reasons and
/// test modules. A literal of one word is a name, not a sentence.
fn search_rust(source: &str) -> Vec<Hit> {
    let source = source.find("#[cfg(test)]\nmod").map_or(source, |end| &source[..end]);
    let mut hits = Vec::new();
    for (at, literal) in literals(source) {
        let reason = source[..at - 1].trim_end_matches(['r', '#']).ends_with("reason = ");
        if literal.trim().contains(' ') && !reason {
            hits.extend(search(&spoken(literal), source[..at].matches('\n').count() + 1));
        }
    }
    hits
}

/// A literal as a user sees it: a backslash at the end of a line takes the break and the indentation with it, and the
/// names of values in braces are not shown.
fn spoken(literal: &str) -> String {
    let mut lines = literal.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let joined = lines.fold(first, |text, line| text + line.trim_start()).replace("\\n", " ");
    let mut pieces = joined.split('{');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + "{}" + piece.split_once('}').map_or(piece, |(_, rest)| rest))
}

/// The string literals of Rust source, each with the offset of its first character.
fn literals(source: &str) -> Vec<(usize, &str)> {
    let bytes = source.as_bytes();
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let rest = &source[at..];
        at += match bytes[at] {
            b'/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            b'\'' => character(rest),
            b'r' if rest.starts_with("r\"") || rest.starts_with("r#") => {
                let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
                let start = hashes + 2;
                let end = format!("\"{}", "#".repeat(hashes));
                if rest[1 + hashes..].starts_with('"') {
                    let length = rest[start..].find(&end).unwrap_or(rest.len() - start);
                    found.push((at + start, &rest[start..start + length]));
                    start + length + end.len()
                } else {
                    1
                }
            }
            b'"' => {
                let mut length = 0;
                while at + 1 + length < bytes.len() && bytes[at + 1 + length] != b'"' {
                    length += if bytes[at + 1 + length] == b'\\' { 2 } else { 1 };
                }
                found.push((at + 1, &rest[1..=length]));
                length + 2
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
    }
    found
}

/// How long a character literal is; one for the mark of a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => rest[2..].char_indices().skip(1).find(|(_, c)| *c == '\'').map_or(1, |(end, _)| end + 3),
        Some(_) => chars.next().filter(|(_, c)| *c == '\'').map_or(1, |(end, _)| end + 1),
        None => 1,
    }
}

fn files(folder: &Path, ends: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(files(&path, ends));
        } else if path.to_string_lossy().ends_with(ends) {
            all.push(path);
        }
    }
    all.sort();
    all
}

#[test]
fn help_messages_and_pages_use_the_words_of_the_glossary() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<PathBuf> = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(|name| root.join(name)).into();
    pages.extend(["docs", "examples"].iter().flat_map(|folder| files(&root.join(folder), ".md")));
    pages.extend(files(&root.join("roles"), ".yml"));
    let mut sources = files(&root.join("src"), ".rs");
    sources.retain(|path| !is_test(path));
    assert!(pages.len() > 20 && sources.len() > 200, "the files are there");
    let mut report = Vec::new();
    let mut check = |path: &Path, read: fn(&str) -> Vec<Hit>| {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.strip_prefix(root).unwrap_or(path).display();
        report.extend(
            read(&text).iter().map(|hit| format!("{name}:{}: `{}`: say `{}`", hit.line, hit.phrase, hit.instead)),
        );
    };
    for path in &pages {
        check(path, |text| search(text, 1));
    }
    for path in &sources {
        check(path, search_rust);
    }
    assert!(report.is_empty(), "{} places do not use the words of the glossary:\n{}", report.len(), report.join("\n"));
}

#[test]
fn a_forbidden_word_is_found_in_texts_and_literals_and_nowhere_else() {
    let lines = |hits: Vec<Hit>| hits.iter().map(|hit| (hit.line, hit.phrase)).collect::<Vec<_>>();
    assert_eq!(lines(search("A run\nthat goes\non is Mended.\n", 1)), [(2, "goes on"), (3, "mended")]);
    assert_eq!(lines(search("recommended, a-mend, homesick, `x` is now, as_described", 1)), []);
    assert_eq!(lines(search("`x` is no name", 7)), [(7, "` is no")]);
    let source = r##"//! It goes on.
// "a comment that goes on"
#[expect(dead_code, reason = "it goes on")]
fn a<'a>(b: &'a str) {
    say("sick");
    say("h1 is sick");
    let quote = '"';
    say("the change was \
         put back");
    say(r#"a "raw" text goes on"#);
    say("{mended} is a name, {} is no longer");
}
#[cfg(test)]
mod tests { const A: &str = "it goes on"; }
"##;
    assert_eq!(lines(search_rust(source)), [(6, "sick"), (8, "put back"), (10, "goes on")]);
}

#[test]
fn every_word_to_use_is_allowed_itself() {
    for (phrase, instead) in WORDS {
        assert_eq!(search(instead, 1), [], "{phrase}");
        assert_eq!(*phrase, phrase.to_lowercase(), "phrases are in lower case");
    }
}
