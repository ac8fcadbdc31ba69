//! After a run: every host that was touched is read again, and its ledger is brought up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use super::survey::{Reader, Setup};
use super::{Locked, Stop, Survey};
use crate::catalog::Catalog;
use crate::inventory::Endpoint;
use crate::lease::Ticket;
use crate::ledger::Applied;
use crate::name::HostName;
use crate::plan::{self, Plan};
use crate::step::{Outcome, Step};
use crate::transport::{Order, Transport};

/// What was found after a run.
pub(super) struct Settled {
    /// What still differs.
    pub(super) again: Plan,
    /// Hosts whose ledger could not be written, and why. Their journal has all that was done, and the next run works it in.
    pub(super) unsaved: BTreeMap<HostName, String>,
    /// Hosts that the setup keeps us from now: sudo, or this machine.
    pub(super) setup: BTreeSet<HostName>,
}

impl<T: Transport> Locked<T> {
    /// Reads the hosts of a run again and writes their ledgers. A stop does not keep it from that.
    pub(super) async fn settle(&self, catalog: &Catalog, touched: &BTreeSet<HostName>, applied: &Applied) -> Settled {
        let mut catalog = catalog.clone();
        catalog.hosts.retain(|host, _| touched.contains(host));
        catalog.spare.retain(|host, _| touched.contains(host));
        let never = Stop::never();
        let setup = Mutex::default();
        let reader = Reader { setup: Setup::Noted(&setup), ..self.reader(&never) };
        let observed = reader.look(&catalog).await.unwrap_or_default();
        let steps = plan::settle(&catalog, &observed, applied);
        let unsaved = self.save(&catalog, steps).await;
        let setup = setup.into_inner().unwrap_or_else(PoisonError::into_inner);
        Settled { again: plan::plan(&catalog, &observed), unsaved, setup }
    }

    /// Brings the ledgers of hosts up to date on which there is nothing to do: what an interrupted run left in their journals,
    /// and which revision they are as wanted by. A host that knows it already is not written to. Gives the hosts on which that
    /// failed, and why.
    pub(super) async fn settle_unchanged(&self, survey: &Survey, applied: &Applied) -> BTreeMap<HostName, String> {
        let stale = survey.stale(applied);
        let mut steps = plan::settle(&survey.catalog, &survey.observed, applied);
        steps.retain(|host, _| stale.contains(host));
        self.save(&survey.catalog, steps).await
    }

    /// Writes these ledgers. Gives the hosts on which that failed, and why.
    pub(super) async fn save(&self, catalog: &Catalog, steps: BTreeMap<HostName, Step>) -> BTreeMap<HostName, String> {
        let endpoints = catalog.endpoints();
        let mut saving = JoinSet::new();
        for (host, step) in steps {
            let ticket = self.leases().ticket(&host);
            let (Some(endpoint), Some(ticket)) = (endpoints.get(&host).cloned(), ticket) else { continue };
            let transport = Arc::clone(self.session().transport());
            saving.spawn(async move { (host, save(&*transport, &endpoint, &step, &ticket).await) });
        }
        let mut unsaved = BTreeMap::new();
        while let Some(Ok((host, saved))) = saving.join_next().await {
            if let Err(why) = saved {
                unsaved.insert(host, why);
            }
        }
        unsaved
    }
}

async fn save<T: Transport>(transport: &T, host: &Endpoint, step: &Step, ticket: &Ticket) -> Result<(), String> {
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
