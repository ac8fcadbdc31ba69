//! What somebody changed on the hosts since armilla last changed them.

use jiff::civil::Date;

use super::Survey;
use crate::plan::{Entry, Reason};
use crate::settings::Ignored;

/// What was found, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Resources that somebody changed on a host.
    pub drifted: usize,
    /// Those of them that the settings say to ignore.
    pub ignored: usize,
    /// Resources that differ for other reasons: the project changed, or was never applied.
    pub planned: usize,
}

/// Leaves in a survey only what somebody changed on the hosts and is not to be ignored.
pub fn keep_drift(survey: &mut Survey, ignores: &[Ignored], today: Date) -> Counts {
    let mut counts = Counts::default();
    survey.plan.retain(|entry| {
        let (moved, known) = (entry.cause.is_drift(), is_ignored(entry, ignores, today));
        let count = match (moved, known) {
            (true, true) => &mut counts.ignored,
            (true, false) => &mut counts.drifted,
            // A restart that only follows is no difference of its own.
            (false, _) if entry.is_kept() || follows(entry) => return false,
            (false, _) => &mut counts.planned,
        };
        *count += 1;
        moved && !known
    });
    counts
}

/// Whether it is only planned because something else differs.
fn follows(entry: &Entry) -> bool {
    matches!(entry.reason, Reason::Notified(_) | Reason::Stale(_))
}

fn is_ignored(entry: &Entry, ignores: &[Ignored], today: Date) -> bool {
    let everywhere = format!("{} {}", entry.address.kind, entry.address.target);
    let here = format!("{} {everywhere}", entry.address.host);
    ignores.iter().any(|ignored| ignored.until >= today && (ignored.what == here || ignored.what == everywhere))
}
