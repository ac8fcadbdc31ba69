//! After a run: every host that was touched is read again, and its ledger is brought up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use super::survey::{Reader, Setup};
use super::{Locked, Notice, Stop, Survey, verify};
use crate::catalog::Catalog;
use crate::inventory::Endpoint;
use crate::lease::{LeaseId, Ticket};
use crate::ledger::Applied;
use crate::name::HostName;
use crate::plan::{self, Finding, Plan};
use crate::step::{Gate, Health, Outcome, Readings, Step};
use crate::transport::{self, Order, Transport};

/// What was found after a run.
pub(super) struct Settled {
    /// What still differs.
    pub(super) again: Plan,
    /// Hosts whose ledger could not be written, and why. Their journal has all that was done, and the next run works it in.
    pub(super) unsaved: BTreeMap<HostName, String>,
    /// Hosts that the setup keeps us from now: sudo, or this machine.
    pub(super) setup: BTreeSet<HostName>,
    /// The members of services that are not healthy. Empty where nobody looked, because the run did not do all it should.
    pub(super) unhealthy: Vec<Finding>,
}

/// A run that is over.
#[derive(Clone, Copy)]
pub(super) struct Over<'a> {
    /// What is desired.
    pub(super) catalog: &'a Catalog,
    /// What was done.
    pub(super) plan: &'a Plan,
    /// The hosts on which something was begun.
    pub(super) touched: &'a BTreeSet<HostName>,
    /// What some of them answered after their last step.
    pub(super) readings: &'a BTreeMap<HostName, Readings>,
    /// The run.
    pub(super) applied: &'a Applied,
}

/// The lock of a host whose ledger is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    /// More is done there.
    Kept,
    /// That was all: it is released in the same round trip.
    Released,
}

/// What the hosts of a run are like afterwards.
struct Reread {
    /// Their part of what is desired.
    catalog: Catalog,
    again: Plan,
    setup: BTreeSet<HostName>,
    /// Their ledgers.
    steps: BTreeMap<HostName, Step>,
}

impl<T: Transport> Locked<T> {
    /// Reads the hosts of a run again, writes their ledgers and releases their locks. A stop does not keep it from that.
    pub(super) async fn settle(&self, over: &Over<'_>) -> Settled {
        let reread = self.reread(over).await;
        self.written(reread, Lock::Released).await
    }

    /// Reads the hosts of a run that were not read with their last step.
    async fn reread(&self, over: &Over<'_>) -> Reread {
        let mut catalog = over.catalog.clone();
        catalog.hosts.retain(|host, _| over.touched.contains(host));
        catalog.spare.retain(|host, _| over.touched.contains(host));
        let never = Stop::never();
        let setup = Mutex::default();
        let reader = Reader { setup: Setup::Noted(&setup), ..self.reader(&never) };
        let known = over.readings.iter().filter(|(host, _)| over.touched.contains(*host));
        let known = known.map(|(host, readings)| (host.clone(), Ok(readings.clone()))).collect();
        let observed = reader.look_further(&catalog, known).await.unwrap_or_default();
        let steps = plan::settle(&catalog, &observed, over.applied);
        let setup = setup.into_inner().unwrap_or_else(PoisonError::into_inner);
        Reread { again: plan::plan(&catalog, &observed), catalog, setup, steps }
    }

    async fn written(&self, reread: Reread, lock: Lock) -> Settled {
        let Reread { catalog, again, setup, steps } = reread;
        let unsaved = self.save(&catalog, steps, lock).await;
        Settled { again, unsaved, setup, unhealthy: Vec::new() }
    }

    /// The same after a run that did all it should, and whether every service of the selection is healthy now, also on hosts
    /// that did not change: a member that lost its leader by the run is waited for, as its checks allow.
    pub(super) async fn settle_healthy(&self, over: &Over<'_>, stop: &Stop) -> Settled {
        let reread = self.reread(over).await;
        let open = self.unhealthy(over, &reread.again, stop).await;
        if open.is_empty() {
            return self.written(reread, Lock::Released).await;
        }
        let mut settled = self.written(reread, Lock::Kept).await;
        let waited: BTreeSet<HostName> = open.iter().map(|finding| finding.host.clone()).collect();
        settled.unhealthy = self.recovered(over.catalog, open, stop).await;
        // Hosts that are healthy only now have not written down that they converged.
        let well =
            |host: &&HostName| over.touched.contains(*host) && settled.unhealthy.iter().all(|f| f.host != **host);
        let well: BTreeSet<HostName> = waited.iter().filter(well).cloned().collect();
        if !well.is_empty() {
            // What they answered before is out of date.
            let over = Over { touched: &well, readings: &BTreeMap::new(), ..*over };
            settled.unsaved.extend(self.settle(&over).await.unsaved);
        }
        settled
    }

    /// The members that are not healthy. The hosts of the run were just read; the others are asked once.
    async fn unhealthy(&self, over: &Over<'_>, again: &Plan, stop: &Stop) -> Vec<Finding> {
        let wanted = |finding: &Finding| {
            finding.is_of_service(over.catalog) && !over.plan.unreachable.contains_key(&finding.host)
        };
        let checks = plan::checks(over.catalog).into_iter().filter(wanted);
        let (read, other): (Vec<_>, Vec<_>) = checks.partition(|finding| over.touched.contains(&finding.host));
        let asked = verify::once(&self.reader(stop), over.catalog, other.clone()).await;
        let read = read.into_iter().map(|finding| finding.found_in(again));
        not_healthy(read.chain(asked.unwrap_or(other)), over.catalog)
    }

    /// Waits for these members as for a gate; gives those that are not healthy in the end. As a gate of the run it is not cut
    /// short, but after a stop it does not begin.
    async fn recovered(&self, catalog: &Catalog, open: Vec<Finding>, stop: &Stop) -> Vec<Finding> {
        if stop.is_requested() {
            return open;
        }
        let endpoints = catalog.endpoints();
        let mut by_host: BTreeMap<HostName, Vec<Finding>> = BTreeMap::new();
        for finding in open {
            let (service, host) = (&finding.service, &finding.host);
            let why = finding.health.why().unwrap_or_default();
            self.session().notify(Notice::AwaitingMember { service, host, why });
            by_host.entry(host.clone()).or_default().push(finding);
        }
        let (mut waiting, mut found) = (JoinSet::new(), Vec::new());
        for (host, findings) in by_host {
            let ticket = self.leases().ticket(&host, &catalog.owner);
            match endpoints.get(&host).cloned().zip(ticket) {
                Some((endpoint, ticket)) => {
                    let transport = Arc::clone(self.session().transport());
                    waiting.spawn(async move { awaited(&*transport, &endpoint, &ticket, findings).await });
                }
                None => found.extend(findings),
            }
        }
        while let Some(Ok(findings)) = waiting.join_next().await {
            found.extend(findings);
        }
        not_healthy(found, catalog)
    }

    /// Brings the ledgers of hosts up to date on which there is nothing to do: what an interrupted run left in their journals,
    /// and which revision they are as wanted by. A host that knows it already is not written to. Gives the hosts on which that
    /// failed, and why.
    pub(super) async fn settle_unchanged(&self, survey: &Survey, applied: &Applied) -> BTreeMap<HostName, String> {
        let stale = survey.stale(applied);
        let mut steps = plan::settle(&survey.catalog, &survey.observed, applied);
        steps.retain(|host, _| stale.contains(host));
        self.save(&survey.catalog, steps, Lock::Released).await
    }

    /// Writes these ledgers. Gives the hosts on which that failed, and why.
    pub(super) async fn save(
        &self,
        catalog: &Catalog,
        steps: BTreeMap<HostName, Step>,
        lock: Lock,
    ) -> BTreeMap<HostName, String> {
        let endpoints = catalog.endpoints();
        let mut saving = JoinSet::new();
        for (host, step) in steps {
            let ticket = self.leases().ticket(&host, &catalog.owner);
            let (Some(endpoint), Some(ticket)) = (endpoints.get(&host).cloned(), ticket) else { continue };
            let transport = Arc::clone(self.session().transport());
            let lease = if lock == Lock::Released { self.leases().last_order(&host).cloned() } else { None };
            saving.spawn(async move { (host, save(&*transport, &endpoint, (&step, &ticket), lease).await) });
        }
        let mut unsaved = BTreeMap::new();
        while let Some(Ok((host, saved))) = saving.join_next().await {
            match saved {
                Ok(Lock::Released) => self.leases().released(host),
                Ok(Lock::Kept) => {}
                Err(why) => drop(unsaved.insert(host, why)),
            }
        }
        unsaved
    }
}

async fn save<T: Transport>(
    transport: &T,
    host: &Endpoint,
    (step, ticket): (&Step, &Ticket),
    lease: Option<LeaseId>,
) -> Result<Lock, String> {
    let order = Order { ticket: Some(ticket), ..Order::of(std::slice::from_ref(step)) };
    let then = transport::Then { read: &[], release: lease.as_ref() };
    crate::crash::point();
    let performed = transport.perform_then(host, order, then, &|_| ()).await.map_err(|error| error.to_string())?;
    crate::crash::point();
    match performed.outcomes.into_iter().next() {
        Some(Outcome::Failed { stderr, .. }) => Err(stderr),
        Some(_) if performed.released => Ok(Lock::Released),
        Some(_) => Ok(Lock::Kept),
        None => Err("no message".to_owned()),
    }
}

/// What becomes of the checks of one host that are waited for, one after the other.
async fn awaited<T: Transport>(
    transport: &T,
    host: &Endpoint,
    ticket: &Ticket,
    mut findings: Vec<Finding>,
) -> Vec<Finding> {
    for finding in &mut findings {
        let Some(check) = finding.check.clone() else { continue };
        let steps = [Step::Await(Gate { of: finding.service.clone(), checks: vec![check] })];
        let order = Order { ticket: Some(ticket), ..Order::of(&steps) };
        finding.health = match transport.perform(host, order, &|_| ()).await {
            Ok(outcomes) => match outcomes.into_iter().next() {
                Some(Outcome::Failed { stderr, .. }) => Health::Unhealthy(stderr),
                Some(_) => Health::Healthy,
                None => Health::Unknown("no message".to_owned()),
            },
            Err(error) => Health::Unknown(error.to_string()),
        };
    }
    findings
}

fn not_healthy(findings: impl IntoIterator<Item = Finding>, catalog: &Catalog) -> Vec<Finding> {
    let open = findings.into_iter().filter(|finding| finding.health != Health::Healthy);
    open.map(|finding| verify::without_secrets(finding, catalog)).collect()
}
