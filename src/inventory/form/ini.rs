//! Ansible's INI form.
//!
//! In: one text. Out: everything it says, in a [`Draft`]; every line that is wrong, in the list of problems. Never: a line
//! that is passed over, but for comments.
//!
//! The form is that of Ansible's plugin
//! (<https://docs.ansible.com/ansible/latest/collections/ansible/builtin/ini_inventory.html>): lines before the first
//! section are hosts of no group; the words of a host's line are split as a shell does it, and values are Python literals
//! or texts. A child that is defined further down stands in its parent where it is defined, as there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::super::settings::{Settings, unusable};
use super::words::{Comments, Word, split};
use super::{Draft, Owner, literal};
use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::name::did_you_mean;
use crate::yaml::{Node, Yaml};

/// Reads the text into the draft.
pub(super) fn read(source: &Arc<Source>, draft: &mut Draft, problems: &mut Diagnostics) {
    let section = Section { owner: Some(Owner::Ungrouped), holds: Holds::Hosts };
    let (variables, waiting, undefined) = (Vec::new(), HashMap::new(), BTreeMap::new());
    let mut reader = Reader { source, draft, problems, section, variables, waiting, undefined };
    for (index, line) in source.text.lines().enumerate() {
        reader.line(u32::try_from(index + 1).unwrap_or(u32::MAX), line);
    }
    reader.finish();
}

/// What the lines below a header are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Hosts,
    Children,
    Variables,
}

/// The part of the text that is being read.
#[derive(Debug, Clone, Copy)]
struct Section {
    /// Whose; nothing if its name was not understood.
    owner: Option<Owner>,
    holds: Holds,
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    draft: &'a mut Draft,
    problems: &'a mut Diagnostics,
    section: Section,
    /// The variables of the section so far.
    variables: Vec<(String, Node)>,
    /// Children that are not defined yet, and the parents that wait for them.
    waiting: HashMap<String, Vec<(Owner, Origin)>>,
    /// Groups of which so far only variables are known.
    undefined: BTreeMap<String, Origin>,
}

impl Reader<'_> {
    fn line(&mut self, number: u32, line: &str) {
        let text = line.trim();
        if text.is_empty() || text.starts_with(['#', ';']) {
            return;
        }
        let indent = line.chars().take_while(|c| c.is_whitespace()).count();
        let origin = self.origin(number, indent);
        match header(text) {
            Some(Ok((name, kind))) => self.header(name, kind, &origin),
            Some(Err(())) => {
                let problem = Diagnostic::error(format!("invalid section header `{}`", text.escape_debug()));
                self.section.owner = None;
                self.wrong(
                    problem
                        .at(&origin)
                        .wide(text.chars().count())
                        .hint("write `[NAME]`, `[NAME:children]` or `[NAME:vars]`, without spaces"),
                );
            }
            None => match self.section.holds {
                Holds::Hosts => self.host(text, &origin),
                Holds::Children => self.child(text, &origin),
                Holds::Variables => self.variable(text, &origin),
            },
        }
    }

    fn origin(&self, line: u32, column: usize) -> Origin {
        Origin { source: Arc::clone(self.source), line, column: u32::try_from(column + 1).unwrap_or(u32::MAX) }
    }

    /// A problem after which hosts or groups may be missing.
    fn wrong(&mut self, problem: Diagnostic) {
        (self.draft.hosts_unsure, self.draft.groups_unsure) = (true, true);
        self.problems.push(problem);
    }

    fn keep<T>(&mut self, result: Result<T, Diagnostic>) -> Option<T> {
        self.problems.keep(result.map_err(Into::into))
    }

    fn header(&mut self, name: &str, kind: &str, origin: &Origin) {
        self.end_section();
        let holds = match kind {
            "" | "hosts" => Holds::Hosts,
            "children" => Holds::Children,
            "vars" => Holds::Variables,
            other => {
                let problem = Diagnostic::error(format!("unknown section kind `{}`", other.escape_debug())).at(origin);
                let hint = did_you_mean(other, ["children", "vars", "hosts"]);
                self.section.owner = None;
                return self.wrong(problem.wide(name.chars().count() + other.chars().count() + 3).maybe_hint(hint));
            }
        };
        let place = Origin { column: origin.column + 1, ..origin.clone() };
        let new = self.draft.find_group(name).is_none();
        let owner = self.draft.owner(name, &place);
        self.section = Section { owner: self.keep(owner), holds };
        let Some(owner @ Owner::Group(_)) = self.section.owner else { return };
        if holds != Holds::Variables {
            self.undefined.remove(name);
            for (parent, origin) in self.waiting.remove(name).unwrap_or_default() {
                let adopted = self.draft.adopt(parent, owner, &origin);
                self.keep(adopted);
            }
        } else if new && !self.waiting.contains_key(name) {
            self.undefined.insert(name.to_owned(), place);
        }
    }

    fn end_section(&mut self) {
        let settings: Settings = std::mem::take(&mut self.variables).into_iter().collect();
        if let Some(owner) = self.section.owner {
            let set = self.draft.set(owner, settings);
            self.keep(set);
        }
    }

    fn child(&mut self, text: &str, origin: &Origin) {
        let name = text.split('#').next().unwrap_or_default().trim_end();
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || matches!(c, ':' | ']')) {
            let problem = Diagnostic::error(format!("invalid group name `{}`", text.escape_debug())).at(origin);
            return self.wrong(problem.wide(text.chars().count()).hint("`[NAME:children]` takes one name per line"));
        }
        let Some(parent) = self.section.owner else { return };
        let reserved = matches!(name, super::ALL | super::UNGROUPED);
        if reserved || self.draft.find_group(name).is_some() {
            let child = self.draft.owner(name, origin).and_then(|child| self.draft.adopt(parent, child, origin));
            self.keep(child);
        } else {
            self.waiting.entry(name.to_owned()).or_default().push((parent, origin.clone()));
        }
    }

    fn variable(&mut self, text: &str, origin: &Origin) {
        let Some((name, value)) = text.split_once('=') else {
            let problem = Diagnostic::error("a variable is written `name=value`").at(origin);
            return self.problems.push(problem.wide(text.chars().count()));
        };
        let column = origin.column as usize - 1 + name.chars().count() + 1;
        let blanks = value.chars().take_while(|c| c.is_whitespace()).count();
        self.problems.extend(unusable(name.trim(), origin));
        let place = self.origin(origin.line, column + blanks);
        self.variables.push((name.trim().to_owned(), literal::value(value.trim(), &place)));
    }

    fn host(&mut self, text: &str, origin: &Origin) {
        let words = match split(text, Comments::Left) {
            Ok(words) => words,
            Err(unfinished) => {
                return self.wrong(
                    Diagnostic::error(format!("the line of a host is incomplete: {unfinished}"))
                        .at(origin)
                        .hint("close each quote; write a literal quote inside quotes of the other type: \"it's\""),
                );
            }
        };
        let Some((name, rest)) = words.split_first() else { return };
        let (pattern, port) = host_and_port(&name.text);
        if pattern.ends_with(':') || pattern == "---" {
            let problem = Diagnostic::error(format!("invalid host name `{}`", pattern.escape_debug())).at(origin);
            let hint = if pattern == "---" {
                "the name of a YAML file must end in `.yml`"
            } else {
                "a port is expected after `:`"
            };
            return self.wrong(problem.wide(name.text.chars().count()).hint(hint));
        }
        let known = self.draft.hosts.len();
        let expanded = self.draft.expand(pattern, origin);
        let Some(hosts) = self.keep(expanded) else { return };
        let settings = self.settings(rest, origin);
        // A port counts where the host is first named, as in Ansible.
        let port =
            port.map(|port| Settings::from_iter([("ansible_port".to_owned(), Node::new(origin, Yaml::Int(port)))]));
        for host in &hosts {
            let said = &mut self.draft.hosts[*host].said;
            said.settings.extend(port.iter().filter(|_| *host >= known).cloned());
            said.settings.extend(settings.clone());
        }
        if let Some(owner) = self.section.owner {
            self.draft.join(owner, &hosts);
        }
    }

    /// The variables behind a host; none if there are none.
    fn settings(&mut self, words: &[Word], origin: &Origin) -> Option<Settings> {
        let mut settings = Vec::with_capacity(words.len());
        for word in words {
            let place = self.origin(origin.line, origin.column as usize - 1 + word.column);
            let Some((name, value)) = word.text.split_once('=') else {
                let problem =
                    Diagnostic::error(format!("invalid host variable `{}`", word.text.escape_debug())).at(&place);
                self.problems.push(
                    problem
                        .wide(word.text.chars().count())
                        .hint("write `name=value`, with quotes around a value that has spaces"),
                );
                continue;
            };
            self.problems.extend(unusable(name, &place));
            let at = self.origin(origin.line, origin.column as usize + word.column + name.chars().count());
            settings.push((name.to_owned(), literal::value(value, &at)));
        }
        (!settings.is_empty()).then(|| settings.into_iter().collect())
    }

    fn finish(mut self) {
        self.end_section();
        let mut waiting: Vec<_> = self.waiting.iter().collect();
        waiting.sort_by_key(|(_, parents)| parents.first().map(|(_, origin)| origin.line));
        for (name, parents) in waiting {
            let hint = if self.draft.find_host(name).is_some() {
                Some("it is a host: hosts go under the group itself".to_owned())
            } else {
                did_you_mean(name, self.draft.group_names())
            };
            for (_, origin) in parents {
                let problem = Diagnostic::error(format!("unknown group `{}`", name.escape_debug())).at(origin);
                self.problems.push(problem.wide(name.chars().count()).maybe_hint(hint.clone()));
            }
        }
        for (name, origin) in &self.undefined {
            let problem = Diagnostic::error(format!("variables of the undefined group `{name}`"));
            let hint = did_you_mean(name, self.draft.group_names().filter(|known| known != name));
            self.problems.push(problem.at(origin).wide(name.chars().count()).maybe_hint(hint));
        }
    }
}

/// The name and kind of a header, or that it is none although it looks like one.
fn header(text: &str) -> Option<Result<(&str, &str), ()>> {
    let inner = text.strip_prefix('[')?;
    let found = inner.split_once(']').filter(|(_, rest)| {
        let rest = rest.trim_start();
        rest.is_empty() || rest.starts_with('#')
    });
    let Some((inside, _)) = found else { return text.ends_with(']').then_some(Err(())) };
    let (name, kind) = inside.split_once(':').map_or((inside, None), |(name, kind)| (name, Some(kind)));
    let word = |kind: &str| !kind.is_empty() && kind.chars().all(|c| c.is_alphanumeric() || c == '_');
    if name.is_empty() || name.contains(char::is_whitespace) || !kind.is_none_or(word) {
        return Some(Err(()));
    }
    Some(Ok((name, kind.unwrap_or_default())))
}

/// The name and the port behind it: `web1:22`, `web[1:3]:22`, `[2001:db8::1]:22`.
pub(super) fn host_and_port(text: &str) -> (&str, Option<i64>) {
    let Some((host, digits)) = text.rsplit_once(':') else { return (text, None) };
    let port =
        Some(digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit())).and_then(|digits| digits.parse().ok());
    let inside =
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).filter(|host| !host.contains(['[', ']']));
    match (inside, port) {
        (_, None) => (text, None),
        (Some(host), Some(_)) => (host, port),
        (None, Some(_)) if colons_outside(host) => (text, None),
        (None, Some(_)) => (host, port),
    }
}

/// Whether there is a colon that no range holds: then it is an address of IPv6, and no port is behind it.
fn colons_outside(text: &str) -> bool {
    let mut inside = false;
    text.chars().any(|c| {
        inside = (inside || c == '[') && c != ']';
        c == ':' && !inside
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_kind() {
        for (text, expected) in [
            ("[web]", Some(Ok(("web", "")))),
            ("[web:vars] # x", Some(Ok(("web", "vars")))),
            ("[a-b.c:children]", Some(Ok(("a-b.c", "children")))),
            ("[we b]", Some(Err(()))),
            ("[web:]", Some(Err(()))),
            ("[a:b:c]", Some(Err(()))),
            ("[]", Some(Err(()))),
            ("web[1:3]", None),
            ("[::1]:22", None),
        ] {
            assert_eq!(header(text), expected, "{text}");
        }
    }

    #[test]
    fn a_port_is_behind_the_last_colon() {
        for (text, expected) in [
            ("web", ("web", None)),
            ("web:22", ("web", Some(22))),
            ("web[1:3]", ("web[1:3]", None)),
            ("web[1:3]:22", ("web[1:3]", Some(22))),
            ("[2001:db8::1]:22", ("2001:db8::1", Some(22))),
            ("2001:db8::1", ("2001:db8::1", None)),
            ("::1", ("::1", None)),
            ("web:", ("web:", None)),
            ("web:x", ("web:x", None)),
        ] {
            assert_eq!(host_and_port(text), expected, "{text}");
        }
    }
}
