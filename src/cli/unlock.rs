//! From encrypted variables to secret ones.
//!
//! In: the texts of an environment and values with `!vault`. Out: the same, decrypted, on all processors at once: one takes
//! some milliseconds, and a project may have hundreds. Never: a key asked for where nothing is encrypted, a value decrypted
//! twice, or one that no role reads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::keys::{Keyring, Place};
use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::secret::Secret;
use crate::vault;
use crate::yaml::Node;

/// Encrypted texts, as written, and what is in them.
#[derive(Debug, Default)]
pub(super) struct Values(BTreeMap<String, Secret<String>>);

impl Values {
    /// Decrypts everything that is encrypted in these values, each once.
    ///
    /// # Errors
    /// Everything that cannot be decrypted.
    pub(super) fn open<'a>(nodes: impl Iterator<Item = &'a Node>, keys: &Keyring) -> Result<Self, Diagnostics> {
        let written: BTreeMap<&str, &Origin> = nodes.flat_map(Node::encrypted).collect();
        let written: Vec<(&str, &Origin)> = written.into_iter().collect();
        let opened = side_by_side(&written, |(text, origin)| decrypted(text, &Place::Value(origin), keys));
        let mut problems = Diagnostics::new();
        let pairs = written.iter().zip(opened);
        let known =
            pairs.filter_map(|((text, _), opened)| Some(((*text).to_owned(), problems.keep(opened)?))).collect();
        problems.result(Self(known))
    }

    /// The value, decrypted. What nobody opened stays encrypted, and masked.
    pub(super) fn decrypt(&self, node: &Node) -> Node {
        let open = |text: &str, at: &Origin| {
            let unknown = || Diagnostic::error("this value was not decrypted").at(at).into();
            self.0.get(text).cloned().ok_or_else(unknown)
        };
        node.decrypted(&open).unwrap_or_else(|_| node.clone())
    }
}

/// Decrypts those files that set variables and are encrypted as a whole; the others stay.
///
/// # Errors
/// Everything that cannot be decrypted.
pub(super) fn files(
    texts: &[(String, Arc<Source>)],
    keys: &Keyring,
) -> Result<Vec<(String, Arc<Source>)>, Diagnostics> {
    let opened = side_by_side(texts, |(path, source)| {
        let variables = path.starts_with("group_vars/") || path.starts_with("host_vars/");
        if variables { file(source, keys) } else { Ok(Arc::clone(source)) }
    });
    let mut problems = Diagnostics::new();
    let pairs = texts.iter().zip(opened);
    let texts = pairs.filter_map(|((path, _), source)| Some((path.clone(), problems.keep(source)?))).collect();
    problems.result(texts)
}

/// Decrypts a file if it is encrypted as a whole. Its places stay known, its lines are never shown.
///
/// # Errors
/// When it cannot be decrypted.
pub(super) fn file(source: &Arc<Source>, keys: &Keyring) -> Result<Arc<Source>, Diagnostics> {
    if !vault::is_encrypted(source.text.as_bytes()) {
        return Ok(Arc::clone(source));
    }
    let text = decrypted(&source.text, &Place::File(&Origin::start(source)), keys)?;
    Ok(Source::secret(source.name.clone(), text.expose().as_str()))
}

fn decrypted(text: &str, place: &Place<'_>, keys: &Keyring) -> Result<Secret<String>, Diagnostics> {
    let opened = keys.open(text, place)?;
    let (Place::File(origin) | Place::Value(origin)) = place;
    String::from_utf8(opened.plain.expose().clone())
        .map(Secret::new)
        .map_err(|_| Diagnostic::error("what is encrypted here is no text in UTF-8").at(origin).into())
}

/// Does the same with each of many, on all processors.
fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(items.len())));
    let worker = || {
        while let Some((index, item)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, items.get(i)?)))
        {
            let result = work(item);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..processors {
            scope.spawn(worker);
        }
        worker();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
