//! How many files this process may have open: each host takes some.

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

use crate::diag::Diagnostic;

/// Enough for a thousand hosts at a time. Not all that the system allows: some programs that we start close every file that
/// they may have open, one by one.
const WANTED: rlim_t = 65_536;

/// Without so many nothing runs that talks to hosts, not even one.
const LEAST: rlim_t = 24;

/// Raises the limit as far as it is useful and allowed.
///
/// # Errors
/// When what is allowed is not enough to begin.
pub(super) fn raise_open_files() -> Result<(), Diagnostic> {
    // A system that does not know this limit has none.
    let Ok((now, most)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    let wanted = WANTED.min(most).max(now);
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, wanted, most).is_ok() { wanted } else { now };
    if limit >= LEAST {
        return Ok(());
    }
    let problem = Diagnostic::error(format!("the limit of open files is {limit}, too low to start"));
    Err(problem.hint("raise it: `ulimit -n 4096`, or LimitNOFILE= in a unit"))
}
