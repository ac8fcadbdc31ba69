//! What a run leaves behind.
//!
//! In: what a host remembers, and what is there now. Out: a digest of everything that was seen; the ledger that
//! a run ends with. Never: a guess where a run was cut off.

use std::collections::{BTreeMap, BTreeSet};

use super::past::{Known, digest, place};
use super::{Base, Entry, Observed, decide};
use crate::catalog::{Catalog, Chosen, Extent, HostCatalog};
use crate::ledger::{self, Applied, Found, ResourceKey};
use crate::name::{Address, HostName};
use crate::step::{Health, Step, health};

/// What a plan for a host is made on.
pub(super) fn base(name: &HostName, host: Option<&HostCatalog>, known: &Known<'_>) -> Base {
    let blocks = host.into_iter().flat_map(|host| &host.blocks);
    let wanted = blocks.flat_map(|block| block.items.iter().map(|item| (block.role.clone(), &item.resource)));
    let leaving = known.past.leaving.iter().map(|leaving| (leaving.place.role.clone(), &leaving.resource));
    let seen = wanted.chain(leaving).filter_map(|(role, resource)| {
        let seen = resource.seen(known.readings).ok()?;
        let address = Address { host: name.clone(), role, kind: resource.kind(), target: resource.target() };
        Some((address, digest(seen.fingerprint.expose())))
    });
    Base {
        machine: known.past.machine.clone(),
        is_unadopted: known.past.is_unadopted,
        generation: known.past.ledger.as_ref().map_or(0, |ledger| ledger.generation),
        last: known.past.ledger.as_ref().and_then(|ledger| ledger.last.clone()),
        converged: known.past.ledger.as_ref().and_then(|ledger| ledger.converged.clone()),
        seen: seen.collect(),
    }
}

/// What each host is to keep after a run: for those where it is not so already, the step that saves it. `observed` is a
/// look after the run, with the answers to [`super::left`].
pub fn settle(catalog: &Catalog, observed: &Observed, run: &Applied) -> BTreeMap<HostName, Step> {
    let known = decide::known(catalog, observed);
    let decided = decide::hosts(catalog, &known);
    let saved = decided.iter().filter_map(|(name, decided)| {
        let known = known.get(name)?.as_ref().ok()?;
        let open = |entry: &&Entry| !entry.is_always();
        let blocks = decided.blocks.iter().map(|decided| &decided.block).chain(&decided.removed);
        let open: BTreeSet<&Address> =
            blocks.flat_map(|block| &block.entries).filter(open).map(|e| &e.address).collect();
        Some((name.clone(), save(catalog, name, known, &open, run)?))
    });
    saved.collect()
}

fn save(
    catalog: &Catalog,
    name: &HostName,
    known: &Known<'_>,
    open: &BTreeSet<&Address>,
    run: &Applied,
) -> Option<Step> {
    let past = &known.past;
    let mut ledger = past.ledger.clone()?;
    let host = catalog.hosts.get(name);
    let found = host.map(|host| found(name, host, known, open)).unwrap_or_default();
    let converged = open.is_empty() && catalog.extent == Extent::Whole && host.is_none_or(|host| healthy(host, known));
    ledger.settle(&found, &past.parted, &past.boot, converged.then_some(run));
    let nothing = host.is_none() && ledger.owned.is_empty() && ledger.pending.is_empty();
    let text = (!nothing).then(|| ledger.text());
    let journal = u64::try_from(past.journal).unwrap_or(u64::MAX);
    (journal > 0 || text != past.kept).then(|| Step::SaveLedger { owner: catalog.owner.clone(), ledger: text, journal })
}

/// Whether every service of a host is healthy there. What could not be asked is not healthy.
fn healthy(host: &HostCatalog, known: &Known<'_>) -> bool {
    let services = host.blocks.iter().filter(|block| block.service.is_some());
    services.into_iter().all(|block| health(&block.health, known.readings) == Health::Healthy)
}

/// What a host's ledger speaks of, as it is now.
fn found(
    name: &HostName,
    host: &HostCatalog,
    known: &Known<'_>,
    open: &BTreeSet<&Address>,
) -> BTreeMap<ResourceKey, Found> {
    let Some(ledger) = &known.past.ledger else { return BTreeMap::new() };
    let mut all = BTreeMap::new();
    for block in &host.blocks {
        for item in block.items.iter().filter(|item| item.chosen == Chosen::Yes) {
            let place = place(block, item);
            if !ledger.owned.contains_key(&place) && !ledger.pending.contains_key(&place) {
                continue;
            }
            let (resource, role) = (&item.resource, block.role.clone());
            let Ok(seen) = resource.seen(known.readings) else { continue };
            let address = Address { host: name.clone(), role, kind: resource.kind(), target: resource.target() };
            let found = Found {
                want: ledger::want(resource.kind(), &item.keys),
                settled: !open.contains(&address),
                exists: seen.exists,
                imprint: digest(seen.imprint.expose()),
                absent: resource.absent(),
                order: item.order,
                protect: item.protect,
                service: block.service.clone(),
                notify: item.notify,
            };
            all.insert(place, found);
        }
    }
    all
}
