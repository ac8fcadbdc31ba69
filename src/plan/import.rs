//! What is there and is as it is wanted, given to armilla as if it had made it.
//!
//! In: a catalog with what was chosen of it, and what the hosts answered. Out: what armilla takes over, what it does not and
//! why, and the ledgers that say so. Never: a change of anything but a ledger; something taken over that differs.

use std::collections::{BTreeMap, BTreeSet};

use super::past::{Known, digest, place};
use super::{Entry, Observed, Verdict, decide};
use crate::catalog::{Catalog, Chosen, RoleBlock, Wanted};
use crate::ledger::{self, Applied, Expected, Ledger, Origin, Owned};
use crate::name::{Address, HostName};
use crate::step::Step;

/// What an import would do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Import {
    /// What becomes armilla's.
    pub taken: Vec<Address>,
    /// What does not, and why.
    pub left: Vec<(Address, Left)>,
    /// Hosts that did not answer, or whose ledger cannot be used, and why.
    pub unreachable: BTreeMap<HostName, String>,
    /// The ledgers to keep.
    pub saves: BTreeMap<HostName, Step>,
}

/// Why something is not taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It is armilla's already.
    Owned,
    /// It belongs to another project or environment.
    Foreign,
    /// It is not there.
    Missing,
    /// It is there and differs from what is wanted.
    Differs,
    /// The host could not say how it is.
    Unreadable,
    /// It is wanted away, and it is.
    Away,
    /// Nothing can take it away, so nothing would follow from owning it.
    Lasting,
}

/// Finds out what of the chosen resources can be taken over.
pub fn import(catalog: &Catalog, observed: &Observed, run: &Applied) -> Import {
    let known = decide::known(catalog, observed);
    let decided = decide::hosts(catalog, &known);
    let mut import = Import::default();
    for (name, known) in &known {
        let (Some(host), Some(decided)) = (catalog.hosts.get(name), decided.get(name)) else {
            if let Err(why) = known {
                import.unreachable.insert(name.clone(), why.clone());
            }
            continue;
        };
        let Ok(known) = known else { continue };
        let entries = decided.blocks.iter().flat_map(|decided| &decided.block.entries);
        let open: BTreeMap<&Address, &Entry> = entries.map(|entry| (&entry.address, entry)).collect();
        let mut ledger = known.past.ledger.clone().unwrap_or_else(|| Ledger::new(catalog.owner.environment.clone()));
        let mut taken = BTreeSet::new();
        for block in &host.blocks {
            for item in block.items.iter().filter(|item| item.chosen == Chosen::Yes) {
                let address = Address {
                    host: name.clone(),
                    role: block.role.clone(),
                    kind: item.resource.kind(),
                    target: item.resource.target(),
                };
                match look(block, item, known, open.get(&address).copied(), run) {
                    Ok(owned) => {
                        ledger.owned.insert(place(block, item), owned);
                        taken.insert(address);
                    }
                    Err(why) => import.left.push((address, why)),
                }
            }
        }
        if !taken.is_empty() {
            let journal = u64::try_from(known.past.journal).unwrap_or(u64::MAX);
            let (owner, ledger) = (catalog.owner.clone(), Some(ledger.text()));
            import.saves.insert(name.clone(), Step::SaveLedger { owner, ledger, journal });
            import.taken.extend(taken);
        }
    }
    import
}

/// What the ledger is to say of a resource, or why nothing.
fn look(
    block: &RoleBlock,
    item: &Wanted,
    known: &Known<'_>,
    open: Option<&Entry>,
    run: &Applied,
) -> Result<Owned, Left> {
    let owned = known.past.owned(&place(block, item));
    // What armilla changed and had not made is never taken away, unless a person says here that it may be.
    if owned.is_some_and(|owned| owned.origin != Origin::Found) {
        return Err(Left::Owned);
    }
    if known.past.foreign.claimant(&*item.resource).is_some() {
        return Err(Left::Foreign);
    }
    let seen = item.resource.seen(known.readings).map_err(|_| Left::Unreadable)?;
    match open {
        Some(Entry { verdict: Verdict::Unreadable, .. }) => return Err(Left::Unreadable),
        Some(_) if !seen.exists => return Err(Left::Missing),
        Some(_) => return Err(Left::Differs),
        None if !seen.exists => return Err(Left::Away),
        None => {}
    }
    let absent = item.resource.absent().ok_or(Left::Lasting)?;
    Ok(Owned {
        want: ledger::want(item.resource.kind(), &item.keys),
        origin: Origin::Imported,
        imprint: Some(digest(seen.imprint.expose())),
        expected: Expected::Unknown,
        absent: Some(absent),
        order: item.order,
        protect: item.protect,
        service: block.service.clone(),
        notify: item.notify,
        there: true,
        done: true,
        leaving: false,
        run: run.run.clone(),
        since: run.at.clone(),
    })
}
