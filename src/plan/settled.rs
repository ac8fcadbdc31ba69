//! What a host keeps after a run.
//!
//! In: what was desired, what the host answered after the run, and what still differs. Out: the step that puts a new
//! ledger in the place of the old one, with the journal worked in. Never: an imprint of a thing that is not as it should be.

use std::collections::{BTreeMap, BTreeSet};

use super::{Observed, Plan, Reason};
use crate::catalog::Catalog;
use crate::ledger::{Applied, Ledger, Place};
use crate::name::HostName;
use crate::resource::kind;
use crate::step::{Digest, Probe, Readings, StateReading, Step};

/// The new ledgers of the hosts that were read again. A host whose own ledger is not understood is left alone.
pub fn settled(
    catalog: &Catalog,
    observed: &Observed,
    plan: &Plan,
    again: &Plan,
    applied: &Applied,
) -> BTreeMap<HostName, Step> {
    let probe = Probe::State(catalog.environment.clone());
    let one = |(host, answer): (&HostName, &Result<Readings, String>)| {
        let readings = answer.as_ref().ok()?;
        let state = readings.state(&probe).ok()?;
        Some((host.clone(), ledger(catalog, (host, readings), state, [plan, again], applied)?))
    };
    observed.iter().filter_map(one).collect()
}

fn ledger(
    catalog: &Catalog,
    (host, readings): (&HostName, &Readings),
    state: &StateReading,
    [plan, again]: [&Plan; 2],
    applied: &Applied,
) -> Option<Step> {
    let environment = catalog.environment.clone();
    let mut ledger = Ledger::of(&environment, state.ledger.as_deref(), state.journal.as_deref()).ok()?;
    for place in plan.forgotten.get(host).into_iter().flatten() {
        ledger.owned.remove(place);
    }
    let open: BTreeSet<Place> = again.entries_of(host).map(|entry| Place::from(&entry.address)).collect();
    imprint(&mut ledger, readings, &open);
    // What needs nothing any more has heard of it, or reads it when it starts.
    ledger.pending.retain(|place, _| open.contains(place));
    let is_open = |entry: &super::Entry| !entry.is_always() && !entry.is_kept() && entry.reason != Reason::Unguarded;
    if !again.entries_of(host).any(is_open) && !again.unreachable.contains_key(host) {
        ledger.converged = Some(applied.clone());
    }
    let roles = catalog.hosts.get(host).is_some_and(|host| !host.blocks.is_empty());
    let keep = roles || !ledger.owned.is_empty() || !ledger.pending.is_empty();
    let journal = state.journal.as_ref().map_or(0, |journal| journal.len() as u64);
    let ledger = keep.then(|| ledger.text());
    (ledger != state.ledger || journal > 0).then_some(Step::SaveLedger { environment, ledger, journal })
}

/// How things look that were changed since the last time and are now as they should be.
fn imprint(ledger: &mut Ledger, readings: &Readings, open: &BTreeSet<Place>) {
    for (place, owned) in &mut ledger.owned {
        if owned.imprint.is_some() || open.contains(place) {
            continue;
        }
        let absent = owned.absent.as_ref().and_then(|keys| (kind(&place.kind)?.parse)(keys).ok());
        let seen = absent.and_then(|resource| resource.seen(readings).ok());
        owned.imprint = seen.map(|seen| Digest::of(seen.imprint.expose().as_bytes()));
    }
}
