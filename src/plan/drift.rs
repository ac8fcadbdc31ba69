//! What somebody changed on the hosts, apart from what the project changed.
//!
//! In: a plan, and what is to be ignored. Out: the plan with nothing but drift in it, and how much of everything there was.
//! Never: a host that did not answer called unchanged.

use super::{Entry, Plan, Reason, Verdict};
use crate::resource::{Action, Change};

/// What was found, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drift {
    /// Resources that somebody changed, whether the project changed as well or not.
    pub drifted: usize,
    /// The same, but ignored.
    pub ignored: usize,
    /// Resources that differ for other reasons: the project changed, or they were never applied.
    pub planned: usize,
    /// Hosts that answered.
    pub answered: usize,
    /// Hosts that did not: of these nothing is known.
    pub unreachable: usize,
}

/// Leaves in a plan only what somebody changed on the hosts and is not ignored.
pub fn drift(plan: &mut Plan, mut is_ignored: impl FnMut(&Entry) -> bool) -> Drift {
    let mut found = Drift { answered: plan.bases.len(), unreachable: plan.unreachable.len(), ..Drift::default() };
    plan.retain(|entry| {
        let moved = entry.cause.is_drift();
        let ignored = moved && is_ignored(entry);
        let count = match () {
            () if ignored => &mut found.ignored,
            () if moved => &mut found.drifted,
            // A restart that only follows is no difference of its own.
            () if entry.is_kept() || follows(entry) => return false,
            () => &mut found.planned,
        };
        *count += 1;
        moved && !ignored
    });
    for entry in plan.entries_mut() {
        on_its_own(entry);
    }
    found
}

/// Whether it is only planned because something else changes.
fn follows(entry: &Entry) -> bool {
    matches!(entry.reason, Reason::Notified(_) | Reason::Stale(_))
}

/// Of something that differs and is notified as well, only the difference: what notifies it is not drift.
fn on_its_own(entry: &mut Entry) {
    if !follows(entry) && !matches!(entry.reason, Reason::Owed(_)) {
        return;
    }
    entry.reason = Reason::Differs;
    if let Verdict::Change(Change { action, .. }) | Verdict::MayChange(Change { action, .. }) = &mut entry.verdict
        && matches!(action, Action::Restart | Action::Reload)
    {
        *action = Action::Change;
    }
}
