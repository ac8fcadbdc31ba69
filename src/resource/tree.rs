//! What kinds share that own a whole directory: where one grows before it is there, and how it goes.
//!
//! In: a path. Out: steps that make no half of it visible. Never: a directory so near to / that it is somebody else's.

use super::fields;
use crate::step::{Command, Step};

/// A path that may be removed with all that is below it.
///
/// # Errors
/// The reason, for the user.
pub(super) fn check(path: &str) -> Result<(), String> {
    fields::check_path(path)?;
    if path.matches('/').count() < 2 {
        return Err(format!("`{path}` is too close to /: with `state: absent` the whole directory is removed"));
    }
    Ok(())
}

/// The name beside a path under which it grows or goes, so that a rename is all it takes.
pub(super) fn beside(path: &str) -> String {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    format!("{parent}/.{name}.armilla")
}

/// Removes a directory. It is renamed first, so that half of it is never taken for all.
pub(super) fn removing(path: &str) -> Vec<Step> {
    let old = beside(path);
    vec![clearing(path), Step::Run(Command::new(["mv", "-T", "--", path, &old])), clearing(path)]
}

/// Removes what a run that was broken off left beside the path.
pub(super) fn clearing(path: &str) -> Step {
    Step::Run(Command::new(["rm", "-rf", "--", &beside(path)]))
}
