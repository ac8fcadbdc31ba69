//! After a run: every host that was touched is read again, and what it keeps for armilla is brought up to date.
//!
//! In: the hosts of a run, still under its leases. Out: what differs from what was planned, and ledgers. Never: a change of
//! anything but a ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::survey::{self, Fleet};
use crate::apply::Leases;
use crate::catalog::Catalog;
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
    plan: &Plan,
    touched: &BTreeSet<HostName>,
    applied: &Applied,
) -> Settled {
    let (again, observed) = survey::again(fleet, catalog, touched).await;
    let ledgers = plan::settled(catalog, &observed, plan, &again, applied);
    let mut saving = JoinSet::new();
    for (host, step) in ledgers {
        let (Some(endpoint), Some(ticket)) = (endpoint(catalog, plan, &host), leases.ticket(&host)) else { continue };
        let transport = Arc::clone(&fleet.transport);
        saving.spawn(async move { (host, save(&transport, &endpoint, &step, &ticket).await) });
    }
    let mut unsaved = BTreeMap::new();
    while let Some(Ok((host, saved))) = saving.join_next().await {
        if let Err(why) = saved {
            unsaved.insert(host, why);
        }
    }
    Settled { again, unsaved }
}

fn endpoint(catalog: &Catalog, plan: &Plan, host: &HostName) -> Option<Endpoint> {
    let desired = catalog.hosts.get(host).map(|host| host.endpoint.clone());
    desired.or_else(|| plan.endpoints.get(host).cloned())
}

async fn save(transport: &Connections, host: &Endpoint, step: &Step, ticket: &Ticket) -> Result<(), String> {
    let order = Order { steps: std::slice::from_ref(step), ticket: Some(ticket) };
    crate::crash::point();
    let outcomes = transport.perform(host, order, &|_| ()).await.map_err(|error| error.to_string())?;
    match outcomes.into_iter().next() {
        Some(Outcome::Failed { stderr, .. }) => Err(stderr),
        Some(_) => Ok(()),
        None => Err("it said nothing".to_owned()),
    }
}
