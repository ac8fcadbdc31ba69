//! After a run: every host that was touched is read again, and what it keeps for armilla is brought up to date.
//!
//! In: the hosts of a run, still under its leases. Out: what differs from what was planned, and ledgers. Never: a change of
//! anything but a ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::survey::{self, Fleet, Survey};
use crate::apply::Leases;
use crate::catalog::Catalog;
use crate::diag::shown;
use crate::inventory::Endpoint;
use crate::lease::Ticket;
use crate::ledger::Applied;
use crate::name::HostName;
use crate::plan::{self, Plan};
use crate::step::{Outcome, Step};
use crate::transport::{Connections, Order, Transport};

/// What was found after a run.
pub(super) struct Settled {
    /// What still differs.
    pub again: Plan,
    /// Hosts whose ledger could not be written, and why.
    pub unsaved: BTreeMap<HostName, String>,
}

/// Reads hosts again and writes their ledgers.
pub(super) async fn settle(
    fleet: &Fleet,
    leases: &Leases<Connections>,
    catalog: &Catalog,
    touched: &BTreeSet<HostName>,
    applied: &Applied,
) -> Settled {
    let again = survey::again(fleet, catalog, touched).await;
    let steps = plan::settle(&again.catalog, &again.observed, applied);
    let unsaved = save_steps(fleet, leases, &again.catalog, steps).await;
    Settled { again: again.plan, unsaved }
}

/// Brings up to date what hosts remember on which there is nothing to do: what a run that was cut off left in their
/// journals, and of which revision they are now as they should be. A host that knows it already is not written to.
pub(super) async fn work_in(fleet: &Fleet, leases: &Leases<Connections>, survey: &Survey, applied: &Applied) {
    let stale = survey.stale(applied);
    let mut steps = plan::settle(&survey.catalog, &survey.observed, applied);
    steps.retain(|host, _| stale.contains(host));
    tell(&save_steps(fleet, leases, &survey.catalog, steps).await);
}

/// Says whose ledger was not written.
pub(super) fn tell(unsaved: &BTreeMap<HostName, String>) {
    for (host, why) in unsaved {
        super::ui::say(&shown(&format!(
            "warning: {host}: its ledger was not written ({why}); its journal has all that was done, and the next run works it in"
        )));
    }
}

/// Writes these ledgers. Gives the hosts on which that failed, and why.
pub(super) async fn save_steps(
    fleet: &Fleet,
    leases: &Leases<Connections>,
    catalog: &Catalog,
    steps: BTreeMap<HostName, Step>,
) -> BTreeMap<HostName, String> {
    let endpoints = catalog.endpoints();
    let mut saving = JoinSet::new();
    for (host, step) in steps {
        let (Some(endpoint), Some(ticket)) = (endpoints.get(&host).cloned(), leases.ticket(&host)) else { continue };
        let transport = Arc::clone(&fleet.transport);
        saving.spawn(async move { (host, save(&transport, &endpoint, &step, &ticket).await) });
    }
    let mut unsaved = BTreeMap::new();
    while let Some(Ok((host, saved))) = saving.join_next().await {
        if let Err(why) = saved {
            unsaved.insert(host, why);
        }
    }
    unsaved
}

async fn save(transport: &Connections, host: &Endpoint, step: &Step, ticket: &Ticket) -> Result<(), String> {
    let order = Order { steps: std::slice::from_ref(step), ticket: Some(ticket) };
    crate::crash::point();
    let outcomes = transport.perform(host, order, &|_| ()).await.map_err(|error| error.to_string())?;
    crate::crash::point();
    match outcomes.into_iter().next() {
        Some(Outcome::Failed { stderr, .. }) => Err(stderr),
        Some(_) => Ok(()),
        None => Err("it said nothing".to_owned()),
    }
}
