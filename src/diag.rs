//! What is wrong with something a user wrote, and where.
//!
//! In: problems found anywhere while reading a project. Out: all of them at once, each with file, line,
//! column, the line itself and a hint. Never: an error about a file without the place in it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use crate::secret::Secrecy;

/// A text a user wrote, and the name under which they know it.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The path, relative to the project.
    pub name: String,
    /// All of it.
    pub text: String,
    /// Whether its lines may be shown.
    pub secrecy: Secrecy,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.name)
    }
}

impl Source {
    /// A text with its name.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into(), secrecy: Secrecy::Open })
    }

    /// A text that was decrypted: its places can be told, its lines are never shown.
    pub fn secret(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into(), secrecy: Secrecy::Secret })
    }

    /// One line of it, without its end; `line` counts from 1. None of a secret.
    pub fn line(&self, line: u32) -> Option<&str> {
        if self.secrecy.is_secret() {
            return None;
        }
        self.text.lines().nth(usize::try_from(line.checked_sub(1)?).ok()?)
    }
}

/// A place in a [`Source`]. Line and column count from 1; columns are characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The text it is in.
    pub source: Arc<Source>,
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Origin {
    /// The beginning of a text.
    pub fn start(source: &Arc<Source>) -> Self {
        Self { source: Arc::clone(source), line: 1, column: 1 }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source.name, self.line, self.column)
    }
}

/// As it is shown.
impl serde::Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The name and the place; the text is not there any more.
impl<'de> serde::Deserialize<'de> for Origin {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        let mut parts = text.rsplitn(3, ':');
        let mut number = || parts.next().and_then(|part| part.parse().ok());
        let (column, line) = (number(), number());
        match (parts.next(), line, column) {
            (Some(name), Some(line), Some(column)) => Ok(Self { source: Source::new(name, ""), line, column }),
            _ => Err(serde::de::Error::custom(format!("invalid place in a file `{}`", text.escape_debug()))),
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing can be done before it is mended.
    Error,
    /// Worth a look; nothing is stopped.
    Warning,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub what: String,
    /// Where.
    pub origin: Option<Origin>,
    /// How many characters are meant, for the underline; 0 for the word that begins there.
    pub width: usize,
    /// The hosts it is about, where that is not plain from the place.
    pub hosts: Vec<String>,
    /// What to type.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error without a place: about the command line or the project as a whole.
    pub fn error(what: impl Into<String>) -> Self {
        Self { severity: Severity::Error, what: what.into(), origin: None, width: 0, hosts: Vec::new(), hint: None }
    }

    /// A warning.
    pub fn warning(what: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(what) }
    }

    /// The same, at a place.
    #[must_use]
    pub fn at(mut self, origin: &Origin) -> Self {
        self.origin = Some(origin.clone());
        self
    }

    /// The same, with that many characters underlined.
    #[must_use]
    pub fn wide(mut self, width: usize) -> Self {
        self.width = width.max(1);
        self
    }

    /// The same, about this host. One problem of many hosts is shown once.
    #[must_use]
    pub fn on(mut self, host: impl fmt::Display) -> Self {
        self.hosts.push(host.to_string());
        self
    }

    /// What is wrong and, where it is said, on which hosts.
    pub fn text(&self) -> String {
        let most = 3;
        match self.hosts.len() {
            0 => self.what.clone(),
            n if n <= most => format!("{} (on {})", self.what, self.hosts.join(", ")),
            n => format!("{} (on {} and {} more)", self.what, self.hosts[..most].join(", "), n - most),
        }
    }

    /// The same, with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with a hint if there is one.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    /// The same for those that say the same.
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.key(), &self.hint).hash(&mut hasher);
        hasher.finish()
    }

    fn key(&self) -> (Severity, Option<(&str, u32, u32)>, &str) {
        (self.severity, self.origin.as_ref().map(|o| (o.source.name.as_str(), o.line, o.column)), &self.what)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.severity == Severity::Error { "error" } else { "warning" };
        write!(f, "{word}: {}", shown(&self.text()))?;
        if let Some(origin) = &self.origin {
            write!(f, "\n  --> {}", shown(&origin.to_string()))?;
            excerpt(f, origin, self.width)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {}", shown(hint))?;
        }
        Ok(())
    }
}

fn excerpt(f: &mut fmt::Formatter<'_>, origin: &Origin, width: usize) -> fmt::Result {
    let Some(line) = origin.source.line(origin.line) else { return Ok(()) };
    let number = origin.line.to_string();
    let before = usize::try_from(origin.column).unwrap_or(1).saturating_sub(1);
    let (line, before) = around(line, before);
    let line = line.as_str();
    // A tab is as wide as the terminal says, so the pointer's indent repeats the line's own tabs.
    let indent: String = line.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let left = line.chars().count().saturating_sub(before).max(1);
    let width = if width == 0 { word(line.chars().skip(before)) } else { width };
    let gap = " ".repeat(number.len());
    write!(f, "\n {gap} |\n {number} | {}\n {gap} | {indent}{}", shown(line), "^".repeat(width.clamp(1, left)))
}

/// The longest line that is shown whole, in characters; of a longer one, so many before the place that is meant.
const LONGEST: usize = 400;
const BEFORE: usize = 100;

/// The part of a line around a place, and where the place is in it.
fn around(line: &str, place: usize) -> (String, usize) {
    let count = line.chars().count();
    if count <= LONGEST {
        return (line.to_owned(), place);
    }
    let from = place.min(count).saturating_sub(BEFORE);
    let part: String = line.chars().skip(from).take(LONGEST).collect();
    let end = if from + LONGEST < count { "..." } else { "" };
    if from == 0 { (part + end, place) } else { (format!("...{part}{end}"), place - from + 3) }
}

/// How many characters the word has that begins a text: a name, number or path, or all between two quotes.
fn word(mut text: impl Iterator<Item = char>) -> usize {
    let part = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '%' | '~');
    match text.next() {
        Some(quote @ ('"' | '\'')) => text.take_while(|c| *c != quote).count() + 2,
        Some(first) if part(&first) => text.take_while(part).count() + 1,
        _ => 1,
    }
}

/// The text with control characters made visible: what a user or a host wrote never steers the terminal.
pub fn shown(text: &str) -> String {
    if !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return text.to_owned();
    }
    text.chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

/// All problems found so far. An `Err` of it always holds at least one error.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    all: Vec<Diagnostic>,
    /// Where those with the same digest of what they say are in the list: thousands are looked up at once.
    places: HashMap<u64, Vec<usize>>,
    /// The hosts of each, where there are any.
    hosts: HashSet<(usize, String)>,
}

impl PartialEq for Diagnostics {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

impl Eq for Diagnostics {}

impl Diagnostics {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one, once; the hosts of those that are alike come together.
    pub fn push(&mut self, mut diagnostic: Diagnostic) {
        let alike = self.places.entry(diagnostic.digest()).or_default();
        let same = |index: &&usize| {
            let other = &self.all[**index];
            other.key() == diagnostic.key() && other.hint == diagnostic.hint
        };
        let index = alike.iter().find(same).copied().unwrap_or(self.all.len());
        let hosts = std::mem::take(&mut diagnostic.hosts);
        if index == self.all.len() {
            alike.push(index);
            self.all.push(diagnostic);
        }
        for host in hosts {
            if self.hosts.insert((index, host.clone())) {
                self.all[index].hosts.push(host);
            }
        }
    }

    /// Adds all of another list.
    pub fn extend(&mut self, other: Self) {
        other.all.into_iter().for_each(|d| self.push(d));
    }

    /// The value of a result; its problems are kept here.
    pub fn keep<T>(&mut self, result: Result<T, Self>) -> Option<T> {
        result.map_err(|problems| self.extend(problems)).ok()
    }

    /// Whether anything stops us.
    pub fn has_errors(&self) -> bool {
        self.all.iter().any(|d| d.severity == Severity::Error)
    }

    /// The value if there was no error, else everything found.
    pub fn result<T>(self, value: T) -> Result<T, Self> {
        if self.has_errors() { Err(self) } else { Ok(value) }
    }

    /// All, errors first, then by file, line and column.
    pub fn sorted(mut self) -> Vec<Diagnostic> {
        self.all.sort_by(|a, b| a.key().cmp(&b.key()));
        self.all
    }

    /// Each, in the order found.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.all.iter()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl From<crate::name::InvalidName> for Diagnostic {
    fn from(why: crate::name::InvalidName) -> Self {
        let hint = why.nearest().map(|name| format!("for example `{name}`"));
        Self::error(why.to_string()).maybe_hint(hint)
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        let mut problems = Self::new();
        problems.push(diagnostic);
        problems
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.clone().sorted().iter().map(ToString::to_string).collect();
        f.write_str(&texts.join("\n\n"))
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_line_and_what_to_type() {
        let source = Source::new("roles/web/role.yml", "a: 1\n  dependson: [x]\n");
        let origin = Origin { source, line: 2, column: 3 };
        let text = Diagnostic::error("unknown key `dependson`").at(&origin).wide(9).hint("use `needs`").to_string();
        assert_eq!(
            text,
            "error: unknown key `dependson`\n  --> roles/web/role.yml:2:3\n   |\n 2 |   dependson: [x]\n   |   ^^^^^^^^^\nhint: use `needs`"
        );
    }

    #[test]
    fn a_word_a_path_and_a_quoted_text_are_underlined_as_a_whole() {
        for (line, wide) in
            [("99999 }", 5), ("etc/a, x", 5), ("\"a b\" }", 5), ("{ a: 1 }", 1), ("'never closed", 14), ("25%", 3)]
        {
            assert_eq!(word(line.chars()), wide, "{line}");
        }
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_shown() {
        let long = format!("{}HERE{}", "a".repeat(5000), "b".repeat(5000));
        let (part, place) = around(&long, 5000);
        assert!(part.len() < 410 && part.starts_with("...a") && part.ends_with("b..."), "{part}");
        assert_eq!(part.get(place..place + 4), Some("HERE"));
        assert_eq!(around(&long, 3).1, 3);
        assert_eq!(around("short", 2), ("short".to_owned(), 2));
        assert!(around(&long, 20_000).0.ends_with('b'), "a place behind the end");
    }

    #[test]
    fn a_line_of_a_secret_text_is_not_shown() {
        let origin = Origin { source: Source::secret("vault.yml", "a: 1\nhunter2\n"), line: 2, column: 1 };
        let problem = Diagnostic::error("no map").at(&origin);
        assert_eq!(problem.to_string(), "error: no map\n  --> vault.yml:2:1");
        assert!(!format!("{problem:?} {:?}", origin.source).contains("hunter2"));
    }

    #[test]
    fn one_problem_of_many_hosts_is_one_problem() {
        let mut problems = Diagnostics::new();
        for host in ["a", "b", "a", "c", "d"] {
            problems.push(Diagnostic::error("x").on(host));
        }
        assert_eq!(problems.to_string(), "error: x (on a, b, c and 1 more)");
    }

    #[test]
    fn tens_of_thousands_of_problems_and_hosts_are_kept_at_once() {
        let mut problems = Diagnostics::new();
        for n in 0..50_000 {
            problems.push(Diagnostic::error(format!("x{n}")));
            problems.push(Diagnostic::warning("alike").on(n));
        }
        assert_eq!(problems.iter().count(), 50_001);
        let alike = problems.iter().find(|problem| problem.what == "alike").map(|problem| problem.hosts.len());
        assert_eq!(alike, Some(50_000));
    }

    #[test]
    fn a_terminal_escape_is_shown_not_sent() {
        assert_eq!(shown("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
    }
}
