//! Values nobody may see, and encrypted ones.
//!
//! In: a tree in which some values are secret or still encrypted. Out: the tree decrypted, hidden, or exposed. Never: a
//! secret in [`Node::to_json`], in `Debug`, or as a text, list or map that code takes for a plain one.

use serde_json::Value as Json;

use super::{Node, Yaml};
use crate::diag::{Diagnostics, Origin, Source};
use crate::secret::{Secrecy, Secret};

/// Decrypts the text after a `!vault`, written at a place.
pub type Opener<'a> = dyn Fn(&str, &Origin) -> Result<Secret<String>, Diagnostics> + 'a;

/// A message, or a shorter one if it would show a part of a secret text.
pub(super) fn unless(source: &Source, whole: impl FnOnce() -> String, short: &str) -> String {
    if source.secrecy.is_secret() { short.to_owned() } else { whole() }
}

impl Node {
    /// The root of a decrypted file: every value it sets becomes a secret.
    #[must_use]
    pub(super) fn hidden(self) -> Self {
        let hide = |node: Self| Self::new(&node.origin.clone(), Yaml::Secret(Secret::new(Box::new(node))));
        match self.value {
            Yaml::Map(entries) => {
                let entries = entries.into_iter().map(|(key, node)| (key, hide(node))).collect();
                Self { value: Yaml::Map(entries), ..self }
            }
            Yaml::Null => self,
            _ => hide(self),
        }
    }

    /// Every encrypted text in it, with its place.
    pub fn encrypted(&self) -> Vec<(&str, &Origin)> {
        match &self.value {
            Yaml::Encrypted(text) => vec![(text, &self.origin)],
            Yaml::List(items) => items.iter().flat_map(Self::encrypted).collect(),
            Yaml::Map(entries) => entries.iter().flat_map(|(_, node)| node.encrypted()).collect(),
            Yaml::Secret(inner) => inner.expose().encrypted(),
            _ => Vec::new(),
        }
    }

    /// The same with every encrypted text decrypted.
    ///
    /// # Errors
    /// Everything that cannot be decrypted.
    pub fn decrypted(&self, open: &Opener<'_>) -> Result<Self, Diagnostics> {
        let mut problems = Diagnostics::new();
        let mut each = |node: &Self| problems.keep(node.decrypted(open)).unwrap_or_else(|| node.clone());
        let value = match &self.value {
            Yaml::Encrypted(text) => {
                let text = Self::new(&self.origin, Yaml::Text(open(text, &self.origin)?.expose().clone()));
                Yaml::Secret(Secret::new(Box::new(text)))
            }
            Yaml::List(items) => Yaml::List(items.iter().map(each).collect()),
            Yaml::Map(entries) => Yaml::Map(entries.iter().map(|(key, node)| (key.clone(), each(node))).collect()),
            Yaml::Secret(inner) => Yaml::Secret(Secret::new(Box::new(each(inner.expose())))),
            plain => plain.clone(),
        };
        problems.result(Self { origin: self.origin.clone(), value, mark: self.mark })
    }

    /// As plain data with every secret in it, and whether there is one. Only for what keeps the two together. What is
    /// still encrypted stays masked.
    pub fn exposed(&self) -> (Json, Secrecy) {
        let mut secrecy = Secrecy::Open;
        let mut each = |node: &Self| {
            let (data, other) = node.exposed();
            secrecy = secrecy.with(other);
            data
        };
        let data = match &self.value {
            Yaml::List(items) => items.iter().map(each).collect(),
            Yaml::Map(entries) => entries.iter().map(|(key, node)| (key.name.clone(), each(node))).collect(),
            Yaml::Secret(inner) => return (inner.expose().exposed().0, Secrecy::Secret),
            _ => self.to_json(),
        };
        (data, secrecy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Diagnostic;
    use crate::yaml::parse;
    use serde_json::json;

    fn read(text: &str) -> Node {
        parse(&Source::new("x.yml", text)).unwrap_or_else(|problem| panic!("{problem}"))
    }

    const VAULT: &str = "a: 1\nb: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\nc: [!vault-encrypted x]\n";

    #[test]
    fn an_encrypted_value_is_masked_until_it_is_decrypted_and_then_too() {
        let node = read(VAULT);
        let texts: Vec<&str> = node.encrypted().into_iter().map(|(text, _)| text).collect();
        assert_eq!(texts, ["$ANSIBLE_VAULT;1.1;AES256\n6162\n", "x"]);
        let open = |text: &str, _: &Origin| Ok(Secret::new(format!("hunter{}", text.len())));
        let opened = node.decrypted(&open).unwrap_or_else(|problems| panic!("{problems}"));
        for node in [&node, &opened] {
            assert_eq!(node.to_json(), json!({ "a": 1, "b": "***", "c": ["***"] }));
            assert!(!format!("{node:?}").contains("hunter"));
        }
        assert_eq!(opened.exposed(), (json!({ "a": 1, "b": "hunter31", "c": ["hunter1"] }), Secrecy::Secret));
        assert_eq!(node.get("a").map(Node::exposed), Some((json!(1), Secrecy::Open)));
    }

    #[test]
    fn everything_that_cannot_be_decrypted_is_reported() {
        let open = |_: &str, at: &Origin| Err(Diagnostic::error("no key").at(at).into());
        let problems = read(VAULT).decrypted(&open).expect_err("two");
        assert_eq!(problems.iter().count(), 2);
    }

    #[test]
    fn what_a_decrypted_file_sets_is_secret_and_its_mistakes_show_none_of_it() {
        let secret = |text: &str| parse(&Source::secret("vault.yml", text));
        let node = secret("port: 2181\nusers: {hunter2: [x]}\n").unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!(node.to_json(), json!({ "port": "***", "users": "***" }));
        assert_eq!(node.get("port").map(Node::kind), Some("a secret"));
        assert_eq!(node.get("port").map(|n| n.origin.to_string()).as_deref(), Some("vault.yml:1:7"));
        assert_eq!(node.exposed(), (json!({ "port": 2181, "users": { "hunter2": ["x"] } }), Secrecy::Secret));
        for text in ["a: {hunter2: 1, hunter2: 2}", "a: [hunter2", "a: !hunter2 x", "a: *hunter2"] {
            let problem = secret(text).expect_err(text).to_string();
            assert!(!problem.contains("hunter2") && problem.contains("vault.yml:1:"), "{problem}");
        }
    }

    #[test]
    fn tags_are_understood_or_refused() {
        for (text, data) in [
            ("!unsafe '{{ x }}'", json!("{{ x }}")),
            ("!unsafe 5", json!("5")),
            ("!!str 5", json!("5")),
            ("!!int 5", json!(5)),
            ("!unsafe [a]", json!(["a"])),
            ("!!map {a: 1}", json!({ "a": 1 })),
            ("! 5", json!("5")),
        ] {
            assert_eq!(read(text).to_json(), data, "{text}");
        }
        for (text, what) in [
            ("a: !valt x", "`!valt` is not known"),
            ("a: !!binary x", "`!!binary` is not known"),
            ("a: !vault [x]", "`!vault` stands before a text"),
        ] {
            let problem = parse(&Source::new("x.yml", text)).expect_err(text).to_string();
            assert!(problem.contains(what) && problem.contains("x.yml:1:"), "{problem}");
        }
    }
}
