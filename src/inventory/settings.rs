//! Variables written in one place: under one `vars:`, or in one file.
//!
//! In: a map of a YAML file. Out: names and values, shared and never copied. Never: a name that no expression could
//! use, or a value that is a template: what is written here is data.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::diag::{Diagnostic, Diagnostics, Origin, Severity};
use crate::yaml::{Node, Yaml};

/// Names and values, in the order of the names. A clone shares them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings(Arc<BTreeMap<Arc<str>, Arc<Node>>>);

impl Settings {
    /// Reads a map of variables; nothing at all is an empty one.
    ///
    /// # Errors
    /// When it is no map, or for each name that is no identifier.
    pub fn read(node: Node) -> Result<Self, Diagnostics> {
        let kind = node.kind();
        let entries = match node.value {
            Yaml::Map(entries) => entries,
            Yaml::Null => return Ok(Self::default()),
            _ => {
                let problem = Diagnostic::error(format!("variables must be a map of names and values, not {kind}"));
                return Err(problem.at(&node.origin).hint("write `name: value`, one per line").into());
            }
        };
        let mut problems = Diagnostics::new();
        for (key, _) in &entries {
            if let Err(problem) = check_variable(&key.name) {
                problems.push(problem.at(&key.origin).wide(key.name.chars().count()));
            }
        }
        problems.result(entries.into_iter().map(|(key, node)| (key.name, node)).collect())
    }

    /// Reads a map of variables as Ansible does: a name that no expression could use is only warned of.
    pub(super) fn read_loosely(node: Node, problems: &mut Diagnostics) -> Result<Self, Diagnostics> {
        let Yaml::Map(entries) = node.value else { return Self::read(node) };
        for (key, _) in &entries {
            problems.extend(unusable(&key.name, &key.origin));
        }
        Ok(entries.into_iter().map(|(key, node)| (key.name, node)).collect())
    }

    /// Each name that begins so, and its value.
    pub(super) fn starting_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Node)> {
        let from = self.0.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.map(|(name, node)| (&**name, &**node)).take_while(move |(name, _)| name.starts_with(prefix))
    }

    /// The same without a name, and the value it had.
    pub(super) fn take(&mut self, name: &str) -> Option<Arc<Node>> {
        if self.get(name).is_some() { Arc::make_mut(&mut self.0).remove(name) } else { None }
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Arc<Node>> {
        self.0.get(name)
    }

    /// Each name and value, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Node>)> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of two equal names the last one counts.
impl FromIterator<(String, Node)> for Settings {
    fn from_iter<I: IntoIterator<Item = (String, Node)>>(settings: I) -> Self {
        Self(Arc::new(settings.into_iter().map(|(name, node)| (name.into(), Arc::new(node))).collect()))
    }
}

/// What to say of a name that Ansible takes and no expression can use.
pub(super) fn unusable(name: &str, origin: &Origin) -> Diagnostics {
    let Err(problem) = check_variable(name) else { return Diagnostics::new() };
    let what = format!("{}: no role can read it", problem.what);
    Diagnostic { what, severity: Severity::Warning, ..problem }.at(origin).wide(name.chars().count()).into()
}

/// Checks that an expression can use the name: a letter or `_`, then letters, digits and `_`.
///
/// # Errors
/// What is wrong and, if it can be mended, the name to use; without a place.
pub fn check_variable(name: &str) -> Result<(), Diagnostic> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.is_empty() && name.chars().all(fine) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(());
    }
    let problem = Diagnostic::error(format!("invalid variable name `{}`", name.escape_debug()));
    let mended: String = name.chars().map(|c| if fine(c) { c } else { '_' }).collect();
    if !mended.chars().any(|c| c.is_ascii_alphanumeric()) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(problem.hint("a name begins with a letter or `_`, followed by letters, digits and `_`"));
    }
    Err(problem.hint(format!("only letters, digits and `_` are allowed: `{mended}`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Source;
    use crate::yaml;

    #[test]
    fn only_identifiers_are_names() {
        for good in ["a", "_", "heap_size2", "A"] {
            assert_eq!(check_variable(good), Ok(()), "{good}");
        }
        for bad in ["", "2a", "a-b", "a.b", "ä", "a b", "-"] {
            assert!(check_variable(bad).is_err(), "{bad}");
        }
        let hint = check_variable("heap-size").err().and_then(|d| d.hint);
        assert_eq!(hint.as_deref(), Some("only letters, digits and `_` are allowed: `heap_size`"));
    }

    #[test]
    fn every_bad_name_is_reported() {
        let node = yaml::parse(&Source::new("x.yml", "a-b: 1\nc: 2\n3d: 4\n")).unwrap_or_else(|d| panic!("{d}"));
        let problems = Settings::read(node).expect_err("two bad names");
        assert_eq!(problems.iter().count(), 2);
        assert_eq!(
            Settings::read(Node::new(&Origin::start(&Source::new("", "")), Yaml::Null)),
            Ok(Settings::default())
        );
    }
}
