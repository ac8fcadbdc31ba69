//! Which hosts are meant: Ansible's host patterns, as in `-l 'workers:&rack_a:!w3'`.
//!
//! In: a pattern as typed, and an inventory. Out: the hosts, in the order of the inventory, or which part of the
//! pattern matches nothing. Never: an empty answer, or a part that is silently ignored.
//!
//! | written | means |
//! |---|---|
//! | `all`, `*` | every host |
//! | `web`, `w1` | a group with its children, or a host |
//! | `a:b`, `a,b` | the hosts of either |
//! | `a:&b` | of `a` only those also in `b` |
//! | `a:!b` | of `a` only those not in `b` |
//! | `web*`, `w?`, `w[13]x` | groups and hosts whose whole name matches |
//! | `~w\d+` | groups and hosts whose name begins with a match of the regular expression |
//! | `web[0]`, `web[-1]` | the first, the last host of a group, in the order of the group |
//! | `web[0:2]`, `web[1:]` | a range of them, both ends included |
//!
//! The rules come from Ansible
//! (<https://docs.ansible.com/ansible/latest/inventory_guide/intro_patterns.html>): wherever they stand, first all
//! plain parts are united (every host if there is none), then each `&` is applied, then each `!`. A word that names a
//! host and a group is the host, but behind `&` and `!` it is the group.
//!
//! Different from Ansible: a part that matches no group and no host is an error, and so is a pattern that leaves no
//! host; both separators can be mixed; `web[0-2]`, which reads like a set of characters, is refused; and separators
//! inside the brackets of a regular expression, `~w(?:1|2)`, do not separate. A name with colons, such as an IPv6
//! address, is understood if it is a host of the inventory and stands alone or between commas: `w1,2001:db8::7`.

use regex::Regex;

use super::{IMPLIED, Inventory};
use crate::diag::Diagnostic;
use crate::name::{self, HostName};

/// A pattern that can be asked of any inventory.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    pieces: Vec<Piece>,
}

/// What stands between two commas.
#[derive(Debug, Clone)]
struct Piece {
    /// All of it as one name, if it has colons: perhaps a host is called so.
    whole: Option<Term>,
    /// What it is otherwise.
    terms: Vec<Term>,
}

/// One part of a pattern.
#[derive(Debug, Clone)]
struct Term {
    text: String,
    sign: Sign,
    names: NamePattern,
    positions: Option<Positions>,
}

/// What becomes of the hosts of a part; in the order in which the parts are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    Union,
    Intersection,
    Difference,
}

/// Which groups and hosts a part names.
#[derive(Debug, Clone)]
enum NamePattern {
    Word(String),
    Matching(Regex),
}

/// Which hosts of those named.
#[derive(Debug, Clone, Copy)]
enum Positions {
    /// One; a negative number counts from the end.
    One(i64),
    /// From the first number to the second, both included, or to the end.
    Range(usize, Option<usize>),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When nothing is in it, a sign stands alone, or a position or an expression is not understood; without a place.
    pub fn parse(text: &str) -> Result<Self, Diagnostic> {
        let pieces: Vec<Piece> = split(text, ',').into_iter().map(Piece::parse).collect::<Result<_, _>>()?;
        if pieces.iter().all(|piece| piece.terms.is_empty()) {
            return Err(Diagnostic::error("the host pattern is empty").hint("`all` means every host"));
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// The pattern as typed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The hosts that are meant, in the order of the inventory.
    ///
    /// # Errors
    /// When a part matches no group and no host, or the whole leaves no host; without a place.
    pub fn select(&self, inventory: &Inventory) -> Result<Vec<HostName>, Diagnostic> {
        let mut terms: Vec<&Term> = self.pieces.iter().flat_map(|piece| piece.terms_in(inventory)).collect();
        terms.sort_by_key(|term| term.sign);
        let every = terms.iter().all(|term| term.sign != Sign::Union);
        let mut chosen = vec![every; inventory.hosts.len()];
        let mut emptied = None;
        for term in terms {
            let found = term.hosts(inventory)?;
            term.sign.apply(&mut chosen, &found);
            if term.sign != Sign::Union && !chosen.contains(&true) {
                emptied = emptied.or(Some(term));
            }
        }
        let hosts: Vec<HostName> =
            inventory.hosts.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(h, _)| h.name().clone()).collect();
        if hosts.is_empty() { Err(self.nothing(emptied)) } else { Ok(hosts) }
    }

    fn nothing(&self, emptied: Option<&Term>) -> Diagnostic {
        let problem = Diagnostic::error(format!("the pattern `{}` selects no host", self.text));
        problem.hint(match emptied {
            Some(term) => format!("`{}` excludes all of them", term.text),
            None => "its groups have no hosts".to_owned(),
        })
    }
}

impl Sign {
    fn of(text: &str) -> (Self, &str) {
        match (text.strip_prefix('&'), text.strip_prefix('!')) {
            (Some(rest), _) => (Self::Intersection, rest.trim_start()),
            (_, Some(rest)) => (Self::Difference, rest.trim_start()),
            _ => (Self::Union, text),
        }
    }

    fn apply(self, chosen: &mut [bool], found: &[usize]) {
        match self {
            Self::Union => found.iter().for_each(|host| chosen[*host] = true),
            Self::Difference => found.iter().for_each(|host| chosen[*host] = false),
            Self::Intersection => {
                let mut both = vec![false; chosen.len()];
                for host in found {
                    both[*host] = chosen[*host];
                }
                chosen.copy_from_slice(&both);
            }
        }
    }
}

impl Piece {
    fn parse(text: &str) -> Result<Self, Diagnostic> {
        let terms = split(text, ':').into_iter().map(Term::parse).collect::<Result<_, _>>()?;
        let whole = text.contains(':').then(|| {
            let (sign, name) = Sign::of(text);
            Term { text: text.to_owned(), sign, names: NamePattern::Word(name.to_owned()), positions: None }
        });
        Ok(Self { whole, terms })
    }

    fn terms_in(&self, inventory: &Inventory) -> &[Term] {
        match &self.whole {
            Some(term) if matches!(&term.names, NamePattern::Word(name) if inventory.host(name).is_some()) => {
                std::slice::from_ref(term)
            }
            _ => &self.terms,
        }
    }
}

impl Term {
    fn parse(text: &str) -> Result<Self, Diagnostic> {
        let (sign, rest) = Sign::of(text);
        if rest.is_empty() {
            return Err(Diagnostic::error(format!("`{text}` stands alone in the host pattern"))
                .hint("write it before a name: `all:!w3`"));
        }
        let (names, positions) = if let Some(expression) = rest.strip_prefix('~') {
            (matching(&format!(r"\A(?:{expression})"), rest)?, None)
        } else {
            let (name, positions) = positions(rest)?;
            (names(name)?, positions)
        };
        Ok(Self { text: text.to_owned(), sign, names, positions })
    }

    /// By index, in the order in which positions count.
    fn hosts(&self, inventory: &Inventory) -> Result<Vec<usize>, Diagnostic> {
        let found = match &self.names {
            NamePattern::Word(word) => self.word(word, inventory),
            NamePattern::Matching(expression) => matches(expression, inventory),
        };
        let found = found.ok_or_else(|| self.unknown(inventory))?;
        let Some(positions) = self.positions else { return Ok(found) };
        positions.of(&found).map(<[usize]>::to_vec).ok_or_else(|| {
            let hint = match found.len() {
                0 => "there are no hosts in it".to_owned(),
                1 => "there is one host, [0]".to_owned(),
                count => format!("there are {count} hosts, [0] to [{}]", count - 1),
            };
            Diagnostic::error(format!("`{}` selects no host: the position is out of range", self.text)).hint(hint)
        })
    }

    fn word(&self, word: &str, inventory: &Inventory) -> Option<Vec<usize>> {
        let host = || inventory.host_index.get(word).map(|host| vec![*host]);
        let group = || inventory.group(word).map(|group| group.members.clone());
        if self.sign == Sign::Union && self.positions.is_none() { host().or_else(group) } else { group().or_else(host) }
    }

    fn unknown(&self, inventory: &Inventory) -> Diagnostic {
        let known = inventory.groups.iter().map(|group| group.name.as_str());
        let known = known.chain(inventory.hosts.iter().map(|host| host.name().as_str()));
        match &self.names {
            NamePattern::Word(word) => Diagnostic::error(format!("unknown group or host `{}`", word.escape_debug()))
                .maybe_hint(name::did_you_mean(word, known)),
            NamePattern::Matching(_) => {
                let letters: String =
                    self.text.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.')).collect();
                Diagnostic::error(format!("`{}` matches no group and no host", self.text.escape_debug()))
                    .maybe_hint(name::did_you_mean(&letters, known))
            }
        }
    }
}

/// The hosts of all groups that match, then the hosts that match; nothing if none does.
fn matches(expression: &Regex, inventory: &Inventory) -> Option<Vec<usize>> {
    let groups: Vec<_> =
        inventory.groups.iter().skip(IMPLIED).filter(|group| expression.is_match(group.name.as_str())).collect();
    let hosts = (0..inventory.hosts.len()).filter(|host| expression.is_match(inventory.hosts[*host].name().as_str()));
    let mut seen = vec![false; inventory.hosts.len()];
    let mut found: Vec<usize> = groups.iter().flat_map(|group| group.members.iter().copied()).chain(hosts).collect();
    found.retain(|host| !std::mem::replace(&mut seen[*host], true));
    (!groups.is_empty() || !found.is_empty()).then_some(found)
}

impl Positions {
    fn of(self, hosts: &[usize]) -> Option<&[usize]> {
        match self {
            Self::One(position) => {
                let index = usize::try_from(position).ok().or_else(|| {
                    hosts.len().checked_sub(usize::try_from(position.unsigned_abs()).unwrap_or(usize::MAX))
                })?;
                hosts.get(index).map(std::slice::from_ref)
            }
            Self::Range(first, last) => {
                let end = last.map_or(hosts.len(), |last| last.saturating_add(1).min(hosts.len()));
                hosts.get(first..end).filter(|hosts| !hosts.is_empty())
            }
        }
    }
}

/// The parts between separators, trimmed and not empty. What is inside brackets is not separated; round and curly
/// ones count in regular expressions only.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut term) = (0, 0);
    let (mut set, mut depth, mut regex, mut escaped) = (false, 0_u32, false, false);
    for (at, c) in text.char_indices() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match c {
            '\\' if regex => escaped = true,
            '[' => set = true,
            ']' => set = false,
            '(' | '{' if regex && !set => depth += 1,
            ')' | '}' if regex && !set => depth = depth.saturating_sub(1),
            '~' if text[term..at].chars().all(|c| c.is_whitespace() || matches!(c, '&' | '!')) => regex = true,
            ',' | ':' if depth == 0 && !set => {
                if c == separator {
                    parts.push(text[start..at].trim());
                    start = at + 1;
                }
                (term, regex) = (at + 1, false);
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// The name and the positions behind it, if there are any.
fn positions(text: &str) -> Result<(&str, Option<Positions>), Diagnostic> {
    let Some((name, inside)) = text.strip_suffix(']').and_then(|text| text.rsplit_once('[')) else {
        return Ok((text, None));
    };
    if name.is_empty() || inside.is_empty() || !inside.chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | '-')) {
        return Ok((text, None));
    }
    let found = match inside.split_once(':') {
        None => inside.parse().ok().map(Positions::One),
        Some((first, "")) => first.parse().ok().map(|first| Positions::Range(first, None)),
        Some((first, last)) => first.parse().ok().zip(last.parse().ok()).map(|(a, b)| Positions::Range(a, Some(b))),
    };
    match found {
        Some(Positions::Range(first, Some(last))) if first > last => {
            Err(Diagnostic::error(format!("the positions `[{inside}]` run backwards"))
                .hint(format!("did you mean `{name}[{last}:{first}]`?")))
        }
        Some(found) => Ok((name, Some(found))),
        None => Err(Diagnostic::error(format!("invalid position `[{inside}]`")).hint(format!(
            "positions are `[0]`, `[-1]`, `[0:2]` and `[1:]`; a set of characters is `~{name}[{inside}]$`"
        ))),
    }
}

fn names(text: &str) -> Result<NamePattern, Diagnostic> {
    if text.contains(['*', '?', '[']) {
        matching(&format!(r"\A(?s:{})\z", translate(text)), text)
    } else {
        Ok(NamePattern::Word(text.to_owned()))
    }
}

fn matching(expression: &str, text: &str) -> Result<NamePattern, Diagnostic> {
    Regex::new(expression).map(NamePattern::Matching).map_err(|error| {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Diagnostic::error(format!("invalid pattern `{}`: {why}", text.escape_debug()))
    })
}

/// A shell's `*`, `?`, `[abc]` and `[!abc]` as a regular expression.
fn translate(glob: &str) -> String {
    let mut expression = String::new();
    let mut rest = glob.chars();
    while let Some(c) = rest.next() {
        match c {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '[' => match set(rest.as_str()) {
                Some((inside, after)) => {
                    expression.push_str(&inside);
                    rest = after.chars();
                }
                None => expression.push_str(r"\["),
            },
            other => expression.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    expression
}

/// A set of characters, from behind its `[`, and what follows it. A `]` that comes first belongs to the set.
fn set(text: &str) -> Option<(String, &str)> {
    let (not, inside) = text.strip_prefix('!').map_or(("", text), |inside| ("^", inside));
    let first = inside.chars().next()?.len_utf8();
    let end = first + inside.get(first..)?.find(']')?;
    let escape = |c: char| if c == '-' { "-".to_owned() } else { regex::escape(c.encode_utf8(&mut [0; 4])) };
    let escaped: String = inside[..end].chars().map(escape).collect();
    Some((format!("[{not}{escaped}]"), &inside[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_inside_brackets_do_not_separate() {
        for (text, expected) in [
            ("a:b", vec!["a", "b"]),
            ("a[0:2]:!b", vec!["a[0:2]", "!b"]),
            (" a : : b ", vec!["a", "b"]),
            ("~w(?:1|2):!~x{1:2}", vec!["~w(?:1|2)", "!~x{1:2}"]),
            ("a(b:c)", vec!["a(b", "c)"]),
        ] {
            assert_eq!(split(text, ':'), expected, "{text}");
        }
        assert_eq!(split("~w{1,2},a:!~w{1,2},c[1,2]", ','), ["~w{1,2}", "a:!~w{1,2}", "c[1,2]"]);
        assert_eq!(split(r"~w\(:b", ':'), [r"~w\(", "b"]);
    }

    #[test]
    fn a_glob_is_a_whole_name() {
        for (glob, yes, no) in [
            ("w*", "w12", "aw1"),
            ("w?", "w1", "w12"),
            ("w[13].x", "w3.x", "w3_x"),
            ("w[!1-3]a", "w4a", "w2a"),
            ("w[]a]*", "w]", "wb"),
            ("w[*", "w[1", "w1"),
        ] {
            let Ok(NamePattern::Matching(expression)) = names(glob) else { panic!("{glob}") };
            assert!(expression.is_match(yes) && !expression.is_match(no), "{glob}: {expression}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, what) in [
            ("", "the host pattern is empty"),
            (" , :", "the host pattern is empty"),
            ("a:!", "`!` stands alone in the host pattern"),
            ("a[0-2]", "invalid position `[0-2]`"),
            ("a[-2:]", "invalid position `[-2:]`"),
            ("a[2:1]", "the positions `[2:1]` run backwards"),
            ("~(", "invalid pattern `~(`: unclosed group"),
        ] {
            assert_eq!(Pattern::parse(text).map_err(|d| d.what).err().as_deref(), Some(what), "{text}");
        }
    }
}
