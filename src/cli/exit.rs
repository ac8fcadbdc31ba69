//! Exit codes. They are an interface: scripts and pipelines depend on them.

use std::process::ExitCode;

use crate::operation::{Abort, Outcome};

/// How a command ended, as the shell sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// `plan`: no error, changes or not. `apply`: converged.
    Success = 0,
    /// Usage, configuration, an empty selection, a refused plan. Nothing was changed.
    Error = 1,
    /// With `--detailed-exitcode`: `plan` found changes, `apply` made some.
    Changes = 2,
    /// Some hosts failed; apply again to go on. `verify`: something is unhealthy.
    Failed = 3,
    /// Some hosts could not be reached, and nothing else failed.
    Unreachable = 4,
    /// A gate, a budget or a login stopped it, and what was changed was put back.
    RolledBack = 5,
    /// A host may be half changed, and could not be put back, as far as anybody knows: a person must look.
    Uncertain = 6,
    /// Somebody else works on these hosts.
    Locked = 75,
    /// Stopped by Ctrl-C; what was running was finished.
    Interrupted = 130,
    /// Stopped by SIGTERM; what was running was finished.
    Terminated = 143,
}

/// The table for `--help`.
pub const HELP: &str = "\
Exit codes:
  0    success: no error (plan, with changes or not), converged (apply)
  1    error in usage or files, a selector that matches nothing, or a refused plan: nothing was changed
  2    with --detailed-exitcode: changes found (plan) or applied (apply)
  3    apply: some hosts failed; continue with `armilla resume`. verify: something is unhealthy
  4    some hosts were unreachable
  5    apply: a check or a new login failed, and the change was rolled back
  6    apply: the rollback failed, or its result is unknown: check the hosts
  75   locked by another run: nothing was changed
  130  interrupted (143: terminated); running steps were completed; continue with `armilla resume`";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // The variants are exactly the codes, all below 256.
        Self::from(exit as u8)
    }
}

impl Exit {
    /// The exit code of an outcome. `detailed` tells changes apart; a stop was asked for by a signal.
    pub(super) fn of(outcome: Outcome, detailed: bool, signal: Option<Self>) -> Self {
        match outcome {
            Outcome::Converged { changed: true } if detailed => Self::Changes,
            Outcome::Converged { .. } => Self::Success,
            Outcome::Failed => Self::Failed,
            Outcome::Unreachable => Self::Unreachable,
            Outcome::RolledBack => Self::RolledBack,
            Outcome::Uncertain => Self::Uncertain,
            Outcome::Stopped => signal.unwrap_or(Self::Interrupted),
        }
    }

    /// The exit code of an operation that changed nothing.
    pub(super) fn of_abort(abort: &Abort, signal: Option<Self>) -> Self {
        match abort {
            Abort::Stopped => signal.unwrap_or(Self::Interrupted),
            Abort::Locked { .. } => Self::Locked,
            Abort::NoQuorum { .. } => Self::Unreachable,
            Abort::Refused(_) => Self::Error,
        }
    }
}
