//! Host patterns, as Ansible writes them.
//!
//! In: `a:b:&c:!d`, with names, groups, globs, `~regex` and `group[0:2]`. Out: hosts, in the order of the inventory.
//! Never: a term that matches nothing and is passed over.
//!
//! Terms are separated by `:` or `,`; unions come first, then intersections (`&`), then exclusions (`!`), whatever their
//! order. A `:` inside `[ ]` belongs to the term.

use std::collections::BTreeSet;

use regex::Regex;

use super::Inventory;
use crate::diag::Diagnostic;
use crate::name::{HostName, did_you_mean};

/// A parsed pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    terms: Vec<Term>,
}

#[derive(Debug, Clone)]
struct Term {
    role: Role,
    text: String,
    matcher: Matcher,
    slice: Option<Slice>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Union,
    Intersection,
    Exclusion,
}

#[derive(Debug, Clone)]
enum Matcher {
    All,
    Name(String),
    Regex(Regex),
}

/// Places of a group's hosts; both ends belong to it, negative numbers count from the end.
#[derive(Debug, Clone, Copy)]
struct Slice {
    first: isize,
    last: Option<isize>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When a term is empty, or is no regular expression or slice.
    pub fn parse(text: &str) -> Result<Self, Diagnostic> {
        let mut terms: Vec<Term> = split(text).into_iter().map(|term| Term::parse(&term)).collect::<Result<_, _>>()?;
        terms.sort_by_key(|term| term.role);
        if terms.first().is_some_and(|term| term.role != Role::Union) {
            let all = Term { role: Role::Union, text: "all".to_owned(), matcher: Matcher::All, slice: None };
            terms.insert(0, all);
        }
        Ok(Self { text: text.to_owned(), terms })
    }

    /// The hosts it means, in the order of the inventory.
    ///
    /// # Errors
    /// When a term matches nothing, or all of them together select nothing.
    pub fn select(&self, inventory: &Inventory) -> Result<Vec<HostName>, Diagnostic> {
        let mut selected: BTreeSet<usize> = BTreeSet::new();
        for term in &self.terms {
            let found: BTreeSet<usize> = term.hosts(inventory)?.into_iter().collect();
            match term.role {
                Role::Union => selected.extend(found),
                Role::Intersection => selected.retain(|host| found.contains(host)),
                Role::Exclusion => selected.retain(|host| !found.contains(host)),
            }
        }
        if selected.is_empty() {
            return Err(Diagnostic::error(format!("`{}` selects no host", self.text)));
        }
        Ok(selected.into_iter().map(|place| inventory.at(place).endpoint.name.clone()).collect())
    }
}

fn split(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut depth = 0_usize;
    for c in text.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match c {
            ':' | ',' if depth == 0 => terms.push(String::new()),
            c => terms.last_mut().into_iter().for_each(|term| term.push(c)),
        }
    }
    terms.into_iter().map(|term| term.trim().to_owned()).collect()
}

impl Term {
    fn parse(text: &str) -> Result<Self, Diagnostic> {
        let (role, rest) = match text.chars().next() {
            Some('&') => (Role::Intersection, &text[1..]),
            Some('!') => (Role::Exclusion, &text[1..]),
            _ => (Role::Union, text),
        };
        if rest.is_empty() {
            return Err(Diagnostic::error("a host pattern has an empty part").hint("write it like `web:db:!db1`"));
        }
        if let Some(regex) = rest.strip_prefix('~') {
            // As Ansible: the expression holds from the beginning of the name.
            let regex = regex_of(&format!("^(?:{regex})"))?;
            return Ok(Self { role, text: rest.to_owned(), matcher: Matcher::Regex(regex), slice: None });
        }
        let (name, slice) = sliced(rest)?;
        let matcher = match name {
            "all" | "*" => Matcher::All,
            name if name.contains(['*', '?', '[']) => Matcher::Regex(regex_of(&glob(name))?),
            name => Matcher::Name(name.to_owned()),
        };
        Ok(Self { role, text: rest.to_owned(), matcher, slice })
    }

    fn hosts(&self, inventory: &Inventory) -> Result<Vec<usize>, Diagnostic> {
        let found = match &self.matcher {
            Matcher::All => (0..inventory.len()).collect(),
            Matcher::Name(name) => match inventory.place_or_members(name) {
                Some(places) => places,
                None => {
                    let known = inventory.names();
                    return Err(Diagnostic::error(format!("there is no host or group `{name}`"))
                        .maybe_hint(did_you_mean(name, known.iter().copied())));
                }
            },
            Matcher::Regex(regex) => inventory.matching(|name| regex.is_match(name)),
        };
        let found = match self.slice {
            None => found,
            Some(slice) => slice.of(&found),
        };
        // An exclusion of nothing is what one hopes for; a selection of nothing is a mistake.
        if found.is_empty() && !matches!(self.matcher, Matcher::Name(_) if self.slice.is_none()) {
            return Err(Diagnostic::error(format!("`{}` matches no host", self.text)));
        }
        Ok(found)
    }
}

/// `group[0]`, `group[0:2]`, `group[1:]`, `group[-1]`; brackets that hold something else belong to a glob.
fn sliced(text: &str) -> Result<(&str, Option<Slice>), Diagnostic> {
    let Some((name, inside)) = text.strip_suffix(']').and_then(|text| text.rsplit_once('[')) else { return Ok((text, None)) };
    if name.is_empty() || !inside.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | ':')) {
        return Ok((text, None));
    }
    let wrong = || Diagnostic::error(format!("`[{inside}]` is no part of a group")).hint("write [0], [-1], [0:2] or [1:]");
    let number = |text: &str| text.parse::<isize>().map_err(|_| wrong());
    let slice = match inside.split_once(':') {
        None => {
            let only = number(inside)?;
            Slice { first: only, last: Some(only) }
        }
        Some((first, "")) => Slice { first: number(first)?, last: None },
        Some(("", last)) => Slice { first: 0, last: Some(number(last)?) },
        Some((first, last)) => Slice { first: number(first)?, last: Some(number(last)?) },
    };
    Ok((name, Some(slice)))
}

impl Slice {
    fn of(self, hosts: &[usize]) -> Vec<usize> {
        let length = isize::try_from(hosts.len()).unwrap_or(isize::MAX);
        let place = |n: isize| if n < 0 { n + length } else { n };
        let (first, last) = (place(self.first), self.last.map_or(length - 1, place).min(length - 1));
        let within = |index: &isize| (0..length).contains(index);
        (first..=last).filter(within).filter_map(|index| hosts.get(usize::try_from(index).ok()?).copied()).collect()
    }
}

fn regex_of(text: &str) -> Result<Regex, Diagnostic> {
    Regex::new(text).map_err(|error| Diagnostic::error(format!("`{text}` is no pattern")).hint(error.to_string()))
}

/// A shell glob as a regular expression for the whole name.
fn glob(text: &str) -> String {
    let mut regex = String::from("^");
    let mut inside = false;
    for c in text.chars() {
        match c {
            '*' if !inside => regex.push_str(".*"),
            '?' if !inside => regex.push('.'),
            '[' if !inside => {
                inside = true;
                regex.push('[');
            }
            ']' if inside => {
                inside = false;
                regex.push(']');
            }
            '!' if inside && regex.ends_with('[') => regex.push('^'),
            '-' if inside => regex.push('-'),
            c => regex.push_str(&regex::escape(&c.to_string())),
        }
    }
    regex + "$"
}
