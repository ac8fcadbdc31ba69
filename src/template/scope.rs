//! The names that expressions can use, and the mark that reading a secret leaves.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Enumerator, Object};

use crate::secret::Secrecy;

thread_local! {
    /// Whether a secret was read since the last look. Rendering stays on one thread.
    pub(super) static TOUCHED: Cell<Secrecy> = const { Cell::new(Secrecy::Open) };
}

/// Plain data as a value of a scope.
pub fn value(data: &impl serde::Serialize) -> Value {
    minijinja::value::Serde(data).into()
}

/// A map with one more entry. What is no map stays as it is.
pub fn extend(map: &Value, key: &str, more: Value) -> Value {
    let Ok(keys) = map.try_iter() else { return map.clone() };
    let entries = keys.filter_map(|key| Some((key.clone(), map.get_item(&key).ok()?)));
    Value::from_pairs(entries.chain([(Value::from(key), more)]))
}

/// The names that expressions can use, and their values. Cheap to clone.
///
/// To read a secret leaves a mark on whatever is computed meanwhile: a part of it, its length, or what is chosen by it, is
/// as secret as itself, and it is a plain value in every operation.
#[derive(Debug, Clone, Default)]
pub struct Scope(Arc<ScopeValues>);

#[derive(Clone, Default)]
struct ScopeValues(BTreeMap<Arc<str>, (Value, Secrecy)>);

impl fmt::Debug for ScopeValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Object for ScopeValues {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let (value, secrecy) = self.0.get(key)?;
        TOUCHED.set(TOUCHED.get().with(*secrecy));
        Some(value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|name| Value::from(Arc::clone(name))).collect())
    }
}

impl Scope {
    /// Sets a name.
    pub fn set(&mut self, name: &str, value: Value) {
        self.set_as(name, value, Secrecy::Open);
    }

    /// Sets a name to a value that may be secret.
    pub fn set_as(&mut self, name: &str, value: Value, secrecy: Secrecy) {
        Arc::make_mut(&mut self.0).0.insert(name.into(), (value, secrecy));
    }

    /// The same scope with one more name.
    #[must_use]
    pub fn with(&self, name: &str, value: Value, secrecy: Secrecy) -> Self {
        let mut scope = self.clone();
        scope.set_as(name, value, secrecy);
        scope
    }

    /// All names as one value, a map that says of each entry by itself whether it is secret.
    pub fn to_value(&self) -> Value {
        Value::from_dyn_object(Arc::clone(&self.0))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.0.keys().map(|name| &**name)
    }

    /// The value of a name, unless it is secret.
    pub(super) fn open(&self, name: &str) -> Option<&Value> {
        self.0.0.get(name).filter(|(_, secrecy)| !secrecy.is_secret()).map(|(value, _)| value)
    }
}
