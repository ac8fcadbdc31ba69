//! From encrypted variables to secret ones, each decrypted once and only if a role reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Encrypted, Keyring};
use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::secret::Secret;
use crate::vault;
use crate::yaml::{Mark, Node, Yaml};

/// Encrypted texts, as written, and what is in them.
#[derive(Debug, Default)]
pub(super) struct Values(BTreeMap<String, Secret<String>>);

impl Values {
    /// Decrypts everything that is encrypted in these values, each once.
    ///
    /// # Errors
    /// Everything that cannot be decrypted.
    pub(super) async fn open<'a>(
        nodes: impl Iterator<Item = &'a Node>,
        keys: &Arc<Keyring>,
    ) -> Result<Self, Diagnostics> {
        let written: BTreeMap<&str, &Origin> = nodes.flat_map(Node::encrypted).collect();
        let items = written.iter().map(|(text, origin)| ((*text).to_owned(), Encrypted::Value((*origin).clone())));
        let opened = decrypt(items.collect(), keys).await;
        let mut problems = Diagnostics::new();
        let pairs = written.keys().zip(opened);
        let known = pairs.filter_map(|(text, opened)| Some(((*text).to_owned(), problems.keep(opened)?))).collect();
        problems.result(Self(known))
    }

    /// Where a value holds what Ansible would render, at any depth and also in what is encrypted.
    pub(super) fn templates<'a>(&self, node: &'a Node) -> Vec<&'a Origin> {
        let is_found = match &node.value {
            _ if node.mark == Mark::Unsafe => false,
            Yaml::Text(text) => is_template(text),
            Yaml::Encrypted(text) => self.0.get(text).is_some_and(|text| is_template(text.expose())),
            Yaml::List(items) => return items.iter().flat_map(|item| self.templates(item)).collect(),
            Yaml::Map(entries) => return entries.iter().flat_map(|(_, node)| self.templates(node)).collect(),
            Yaml::Secret(inner) => return self.templates(inner.expose()),
            Yaml::Null | Yaml::Bool(_) | Yaml::Int(_) | Yaml::Float(_) => false,
        };
        if is_found { vec![&node.origin] } else { Vec::new() }
    }

    /// The value, decrypted. What was not opened stays encrypted, and masked.
    pub(super) fn decrypt(&self, node: &Node) -> Node {
        let open = |text: &str, at: &Origin| {
            let unknown = || Diagnostic::error("this value was not decrypted").at(at).into();
            self.0.get(text).cloned().ok_or_else(unknown)
        };
        node.decrypted(&open).unwrap_or_else(|_| node.clone())
    }
}

/// Whether Ansible would render a text.
fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.split_once("{#").is_some_and(|(_, rest)| rest.contains("#}"))
}

/// Decrypts those files that set variables and are encrypted as a whole; the others stay.
///
/// # Errors
/// Everything that cannot be decrypted.
pub(super) async fn files(
    texts: &[(String, Arc<Source>)],
    keys: &Arc<Keyring>,
) -> Result<Vec<(String, Arc<Source>)>, Diagnostics> {
    let sets = |path: &str| path.starts_with("group_vars/") || path.starts_with("host_vars/");
    let closed = |(path, source): &&(String, Arc<Source>)| sets(path) && vault::is_encrypted(source.text.as_bytes());
    let encrypted: Vec<&(String, Arc<Source>)> = texts.iter().filter(closed).collect();
    let item = |(_, source): &&(String, Arc<Source>)| (source.text.clone(), Encrypted::File(Origin::start(source)));
    let opened = decrypt(encrypted.iter().map(item).collect(), keys).await;
    let mut problems = Diagnostics::new();
    let plain: BTreeMap<&str, Option<Secret<String>>> = encrypted
        .iter()
        .map(|(path, _)| path.as_str())
        .zip(opened.into_iter().map(|text| problems.keep(text)))
        .collect();
    let text = |(path, source): &(String, Arc<Source>)| {
        let source = match plain.get(path.as_str()) {
            None => Arc::clone(source),
            Some(text) => secret(source, text.as_ref()?),
        };
        Some((path.clone(), source))
    };
    let texts = texts.iter().filter_map(text).collect();
    problems.result(texts)
}

/// Decrypts a file if it is encrypted as a whole.
///
/// # Errors
/// When it cannot be decrypted.
pub(super) async fn file(source: &Arc<Source>, keys: &Keyring) -> Result<Arc<Source>, Diagnostics> {
    if !vault::is_encrypted(source.text.as_bytes()) {
        return Ok(Arc::clone(source));
    }
    let text = decrypted(&source.text, &Encrypted::File(Origin::start(source)), keys).await?;
    Ok(secret(source, &text))
}

/// A decrypted file: its places stay known, its lines are never shown.
fn secret(source: &Source, text: &Secret<String>) -> Arc<Source> {
    Source::secret(source.name.clone(), text.expose().as_str())
}

async fn decrypted(text: &str, place: &Encrypted, keys: &Keyring) -> Result<Secret<String>, Diagnostics> {
    let opened = keys.open(text, place).await?;
    let wrong = |_| Diagnostic::error("the decrypted value is not UTF-8 text").at(place.origin()).into();
    String::from_utf8(opened.plain.expose().clone()).map(Secret::new).map_err(wrong)
}

/// Decrypts each of these, in their order, on all processors: one takes some milliseconds, and there may be hundreds.
async fn decrypt(items: Vec<(String, Encrypted)>, keys: &Arc<Keyring>) -> Vec<Result<Secret<String>, Diagnostics>> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let slots = Arc::new(Semaphore::new(processors));
    let mut tasks = JoinSet::new();
    for (index, (text, place)) in items.into_iter().enumerate() {
        let (keys, slots) = (Arc::clone(keys), Arc::clone(&slots));
        tasks.spawn(async move {
            let _slot = slots.acquire_owned().await;
            (index, decrypted(&text, &place, &keys).await)
        });
    }
    let mut done = tasks.join_all().await;
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
