//! How things are recognized that were found on a host, and how a resource is written that is to be away.
//!
//! In: what was found. Out: texts that are the same as long as the thing is. Never: what moves by itself, as times and
//! ages do, or content: a digest stands for it, whether it travelled along or not.

use serde_json::Value;

use super::fields::Presence;
use crate::step::{Attributes, PathReading, UnitReading};

/// What is at a path.
pub(super) fn path(found: &PathReading) -> String {
    let owned = |Attributes { mode, owner, group }: &Attributes| format!("{mode} {owner}:{group}");
    match found {
        PathReading::Absent => "nothing".to_owned(),
        PathReading::File { attributes, digest, .. } => format!("file {} {}", digest.0, owned(attributes)),
        PathReading::Directory(attributes) => format!("directory {}", owned(attributes)),
        PathReading::Link { target, .. } => format!("link {target}"),
        PathReading::Other(what) => format!("other {what}"),
    }
}

/// What is at several paths.
pub(super) fn paths<'a>(found: impl IntoIterator<Item = &'a PathReading>) -> String {
    found.into_iter().map(path).collect::<Vec<_>>().join("\n")
}

/// A unit that should be running, or not.
pub(super) fn unit(found: &UnitReading) -> String {
    format!("{} {}", found.active, part(found))
}

/// A unit that runs now and then.
pub(super) fn part(found: &UnitReading) -> String {
    let UnitReading { load, enabled, needs_reload, .. } = found;
    format!("{load} {enabled} {needs_reload}")
}

/// Keys of a resource with the state `absent`, without those that are null. None if it is desired away itself.
pub(super) fn away(state: Presence, keys: Value) -> Option<Value> {
    let (Presence::Present, Value::Object(mut keys)) = (state, keys) else { return None };
    keys.retain(|_, value| !value.is_null());
    keys.insert("state".to_owned(), "absent".into());
    Some(Value::Object(keys))
}
