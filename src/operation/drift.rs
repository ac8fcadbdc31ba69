//! What somebody changed on the hosts since armilla last changed them.

use jiff::civil::Date;

use super::Survey;
use crate::plan::{self, Drift, Entry};
use crate::settings::Ignored;

/// Leaves in a survey only what somebody changed on the hosts and is not to be ignored.
pub fn keep_drift(survey: &mut Survey, ignores: &[Ignored], today: Date) -> Drift {
    plan::drift(&mut survey.plan, |entry| is_ignored(entry, ignores, today))
}

fn is_ignored(entry: &Entry, ignores: &[Ignored], today: Date) -> bool {
    let everywhere = format!("{} {}", entry.address.kind, entry.address.target);
    let here = format!("{} {everywhere}", entry.address.host);
    ignores.iter().any(|ignored| ignored.until >= today && (ignored.what == here || ignored.what == everywhere))
}
