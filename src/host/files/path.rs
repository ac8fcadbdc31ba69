//! Paths as steps have them, and where they are on this host.

use super::owner::{Numbers, check_name};
use crate::host::{Failure, Result};
use crate::step::home_of;

/// Where that is. A path like `~ada/x` is below the home directory that the accounts of this host have for her.
pub(super) fn located(path: &str, numbers: &dyn Numbers) -> Result<String> {
    check(path)?;
    let Some((user, below)) = home_of(path) else { return Ok(path.to_owned()) };
    check_name(user)?;
    let homeless = || Failure::new(format!("there is no user {user} with a home directory"));
    let home = numbers.home(user)?.ok_or_else(homeless)?;
    Ok(format!("{}/{below}", home.trim_end_matches('/')))
}

/// A path whose last part is a name: what is written, linked or removed is that name in its directory.
fn check(path: &str) -> Result {
    if path.contains('\0') {
        return Err(Failure::new("a path has a NUL byte in it"));
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    let absolute = path.starts_with('/') || home_of(path).is_some();
    if !absolute || last.is_empty() || path.split('/').any(|part| part == ".." || part == ".") {
        return Err(Failure::new(format!(
            "`{}` must be absolute, without `.` and `..`, and end with a name",
            path.escape_debug()
        )));
    }
    Ok(())
}
