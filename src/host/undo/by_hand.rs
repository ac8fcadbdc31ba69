//! A rollback that somebody starts on the host, without armilla: `undo/NAME/restore`.

use std::path::Path;

use super::{Folder, Means, Missing, Pace, Result, restore};
use crate::host::Failure;
use crate::host::keep::walk::enter;

/// The name in the directory of what was kept: the program that kept it.
pub(in crate::host) const NAME: &str = "restore";

/// Rolls back what is kept in a directory.
///
/// # Errors
/// What cannot be rolled back, or that nothing is kept there.
pub(in crate::host) fn by_hand(directory: &Path, means: Means<'_>) -> Result {
    let strange = || Failure::new(format!("nothing was kept in {}", directory.display()));
    let directory = directory.canonicalize().map_err(|_| strange())?;
    let name = directory.file_name().and_then(|name| name.to_str()).ok_or_else(strange)?;
    let undo = directory.parent().filter(|undo| undo.ends_with("undo")).ok_or_else(strange)?;
    let environment = undo.parent().and_then(Path::to_str).ok_or_else(strange)?;
    let environment = Folder::new(enter(environment, Missing::Leave, means.uid)?, environment);
    restore(&environment, name, Pace::Wait, means)
}
