//! Who made a difference between what is desired and what is there.

use super::Cause;
use super::past::digest;
use crate::catalog::Wanted;
use crate::ledger::{self, Owned};
use crate::step::Readings;

/// Who made the difference. What only hears of others differs from nothing, and what runs every time neither: `differs` is
/// whether something would be to do without the others.
pub(super) fn cause(differs: bool, item: &Wanted, owned: Option<&Owned>, readings: &Readings) -> Cause {
    let Some(owned) = owned.filter(|_| differs) else { return Cause::Unknown };
    let project = owned.want != ledger::want(item.resource.kind(), &item.keys);
    let seen = item.resource.seen(readings).ok();
    let changed = owned.imprint.as_ref().zip(seen).map(|(imprint, seen)| *imprint != digest(seen.imprint.expose()));
    let since = || owned.since.clone();
    match (project, changed) {
        (true, Some(true)) => Cause::Both { since: since() },
        (true, _) => Cause::Project,
        // It was as it should be when it was last looked at, and nothing else is wanted since.
        (false, Some(_)) => Cause::Host { since: since() },
        (false, None) => Cause::Unknown,
    }
}
