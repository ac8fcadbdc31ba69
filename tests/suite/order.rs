//! Whether a run kept to batches, gates and needs, told from its events alone.
//!
//! In: a catalog, a plan, what happened. Out: nothing, or what was wrong. Never: the stages' own conditions; who waits for
//! whom is worked out anew from services and roles.

use std::collections::{BTreeMap, BTreeSet};

use armilla::apply::{End, Event};
use armilla::catalog::Catalog;
use armilla::name::{HostName, ServiceName};
use armilla::plan::{Plan, PlannedBlock, ServicePlan, StageId, Work};
use armilla::sim::{Run, World, show_plan, show_run};
use armilla::step::Step;
use proptest::prelude::*;

/// When each stage began and ended, as places in the list of events.
struct Times<'a> {
    plan: &'a Plan,
    run: &'a Run,
    begun: BTreeMap<StageId, usize>,
    ended: BTreeMap<StageId, usize>,
}

impl<'a> Times<'a> {
    fn new(plan: &'a Plan, run: &'a Run) -> Self {
        let mut times = Self { plan, run, begun: BTreeMap::new(), ended: BTreeMap::new() };
        for (at, event) in run.events.iter().enumerate() {
            match event {
                Event::StageStarted(stage) => drop(times.begun.insert(*stage, at)),
                Event::StageEnded { stage, .. } => drop(times.ended.insert(*stage, at)),
                _ => {}
            }
        }
        times
    }

    /// When a stage was over and well.
    fn done(&self, stage: StageId) -> Option<usize> {
        (self.run.report.ends[stage] == End::Done).then(|| self.ended[&stage])
    }

    fn change(&self, service: &ServiceName, host: &HostName) -> Option<StageId> {
        let own = |block: &PlannedBlock| block.service.as_ref() == Some(service) && block.host == *host;
        self.plan.stages.iter().position(|stage| matches!(&stage.work, Work::Change(block) if own(block)))
    }

    fn gate(&self, service: &ServiceName, host: &HostName) -> Option<StageId> {
        let own = |work: &Work| matches!(work, Work::Gate { host: h, service: s, .. } if h == host && s == service);
        self.plan.stages.iter().position(|stage| own(&stage.work))
    }

    /// When a service began to change on a host.
    fn begin(&self, service: &ServiceName, host: &HostName) -> Option<usize> {
        self.begun.get(&self.change(service, host)?).copied()
    }

    fn text(&self) -> String {
        format!("{}{}", show_plan(self.plan), show_run(self.plan, self.run))
    }
}

/// Checks batches, gates, needs and restarts of a run.
pub(crate) fn orderly(world: &World, plan: &Plan, run: &Run) -> Result<(), TestCaseError> {
    let catalog = world.catalog().unwrap_or_else(|problems| panic!("{problems}"));
    let times = Times::new(plan, run);
    for service in &plan.services {
        size(&catalog, &times, service)?;
        batches(&times, service)?;
        needs(&catalog, &times, service)?;
    }
    restarts(world, &times)
}

/// Never more hosts of a service change at a time than a batch has, unless they were not healthy before.
fn size(catalog: &Catalog, times: &Times<'_>, service: &ServicePlan) -> Result<(), TestCaseError> {
    let wanted = catalog.services.iter().find(|other| other.name == service.name);
    let last = wanted.and_then(|wanted| Some(wanted.policy.batch.last()?.of(wanted.hosts.len())));
    let most = last.unwrap_or(usize::MAX);
    let spans: Vec<(usize, usize)> = service
        .hosts
        .iter()
        .filter(|host| !service.down.contains_key(*host))
        .filter_map(|host| {
            let change = times.change(&service.name, host)?;
            let gate = times.gate(&service.name, host).filter(|gate| times.begun.contains_key(gate));
            Some((*times.begun.get(&change)?, times.ended[&gate.unwrap_or(change)]))
        })
        .collect();
    for (begin, _) in &spans {
        let together = spans.iter().filter(|(from, to)| from <= begin && begin < to).count();
        prop_assert!(together <= most, "{} hosts of {} at a time\n{}", together, service.name, times.text());
    }
    Ok(())
}

/// No host begins before all that have nothing to lose, and begin together, are changed and healthy.
fn batches(times: &Times<'_>, service: &ServicePlan) -> Result<(), TestCaseError> {
    let together = |batch: &[HostName]| batch.iter().all(|host| service.down.contains_key(host));
    for pair in service.batches.windows(2).filter(|pair| together(&pair[0])) {
        let begin = pair[1].iter().filter_map(|host| times.begin(&service.name, host)).min();
        let Some(begin) = begin else { continue };
        for host in &pair[0] {
            let stages = [times.change(&service.name, host), times.gate(&service.name, host)];
            for stage in stages.into_iter().flatten() {
                let done = times.done(stage);
                prop_assert!(
                    done.is_some_and(|done| done < begin),
                    "{} on {host} was not ready\n{}",
                    service.name,
                    times.text()
                );
            }
        }
    }
    Ok(())
}

/// Nothing of a service begins before all it needs, directly or not, is changed, and all it needs directly is healthy.
fn needs(catalog: &Catalog, times: &Times<'_>, service: &ServicePlan) -> Result<(), TestCaseError> {
    let begin = service.hosts.iter().filter_map(|host| times.begin(&service.name, host)).min();
    let Some(begin) = begin else { return Ok(()) };
    for need in upstream(catalog, &service.name) {
        let needed = catalog.services.iter().find(|other| other.name == need);
        for host in needed.into_iter().flat_map(|needed| &needed.hosts) {
            let direct = service.needs.contains(&need);
            let checked =
                catalog.hosts[host].blocks.iter().any(|b| b.service.as_ref() == Some(&need) && !b.health.is_empty());
            let gate = times.gate(&need, host);
            prop_assert!(gate.is_some() || !direct || !checked, "{} has no gate on {host}\n{}", need, times.text());
            let change = times.change(&need, host);
            // What is needed indirectly is waited for only where it changes: a member that is unhealthy and does not change
            // keeps back what needs it directly.
            let gate = gate.filter(|_| direct || change.is_some());
            for stage in [change, gate].into_iter().flatten() {
                let done = times.done(stage);
                prop_assert!(
                    done.is_some_and(|done| done < begin),
                    "{} began before {need} on {host}\n{}",
                    service.name,
                    times.text()
                );
            }
        }
    }
    Ok(())
}

fn upstream(catalog: &Catalog, service: &ServiceName) -> BTreeSet<ServiceName> {
    let direct = catalog.services.iter().find(|other| other.name == *service).map(|found| found.needs.clone());
    let direct: BTreeSet<ServiceName> = direct.into_iter().flatten().collect();
    direct.iter().flat_map(|need| upstream(catalog, need)).chain(direct.clone()).collect()
}

/// A unit starts once, however many resources notify it.
fn restarts(world: &World, times: &Times<'_>) -> Result<(), TestCaseError> {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for did in world.fleet.log() {
        if let Step::Run(command) = &did.step
            && let [program, verb, _, unit] = command.argv.as_slice()
            && program == "systemctl"
            && ["start", "restart", "reload-or-restart"].contains(&verb.as_str())
        {
            *counts.entry((did.host.clone(), unit.clone())).or_default() += 1;
        }
    }
    let twice = counts.iter().find(|(_, count)| **count > 1);
    prop_assert!(twice.is_none(), "{:?} started more than once\n{}", twice, times.text());
    Ok(())
}

/// Checks that everything was done that has nothing to do with what failed.
pub(crate) fn innocent(world: &World, plan: &Plan, run: &Run) -> Result<(), TestCaseError> {
    let catalog = world.catalog().unwrap_or_else(|problems| panic!("{problems}"));
    let failed: Vec<&Work> = plan
        .stages
        .iter()
        .enumerate()
        .filter(|(id, _)| matches!(run.report.ends[*id], End::Failed(_)))
        .map(|(_, stage)| &stage.work)
        .collect();
    let touched = touched(&catalog, &failed);
    for (stage, end) in plan.stages.iter().zip(&run.report.ends) {
        let Work::Change(block) = &stage.work else { continue };
        let owners = owners(&catalog, block);
        if !failed.contains(&&stage.work) && owners.iter().all(|owner| !touched.contains(owner)) {
            prop_assert!(
                *end == End::Done,
                "{} on {} is {end:?}\n{}{}",
                block.role,
                block.host,
                show_plan(plan),
                show_run(plan, run)
            );
        }
    }
    Ok(())
}

/// The services that have something to do with a failure: it is in what they are made of, or they need such a one.
fn touched(catalog: &Catalog, failed: &[&Work]) -> BTreeSet<ServiceName> {
    let mut touched: BTreeSet<ServiceName> = BTreeSet::new();
    for work in failed {
        match work {
            Work::Change(block) => touched.extend(owners(catalog, block)),
            Work::Gate { service, .. } | Work::Hook { service, .. } => drop(touched.insert(service.clone())),
            Work::Undo { .. } | Work::Join | Work::Rolled(_) => {}
        }
    }
    let more = |service: &ServiceName| upstream(catalog, service).iter().any(|need| touched.contains(need));
    let more: Vec<ServiceName> = catalog.services.iter().map(|s| s.name.clone()).filter(more).collect();
    touched.extend(more);
    // What shares a role on a host with such a service waits with it.
    let shared = |service: &ServiceName| {
        family(catalog, service).iter().any(|part| touched.iter().any(|t| family(catalog, t).contains(part)))
    };
    let shared: Vec<ServiceName> = catalog.services.iter().map(|s| s.name.clone()).filter(shared).collect();
    touched.extend(shared);
    let more = |service: &ServiceName| upstream(catalog, service).iter().any(|need| touched.contains(need));
    let more: Vec<ServiceName> = catalog.services.iter().map(|s| s.name.clone()).filter(more).collect();
    touched.extend(more);
    touched
}

/// The services that a block is a part of.
fn owners(catalog: &Catalog, block: &PlannedBlock) -> BTreeSet<ServiceName> {
    let index =
        catalog.hosts[&block.host].blocks.iter().position(|b| b.role == block.role && b.service == block.service);
    let part = (block.host.clone(), index.unwrap_or(usize::MAX));
    catalog.services.iter().map(|s| s.name.clone()).filter(|service| family(catalog, service).contains(&part)).collect()
}

/// The blocks of a service: its own and all they require, by host and place.
fn family(catalog: &Catalog, service: &ServiceName) -> BTreeSet<(HostName, usize)> {
    let mut found = BTreeSet::new();
    for (name, host) in &catalog.hosts {
        let own = host.blocks.iter().position(|block| block.service.as_ref() == Some(service));
        let mut open: Vec<usize> = own.into_iter().collect();
        while let Some(next) = open.pop() {
            if found.insert((name.clone(), next)) {
                open.extend(&host.blocks[next].requires);
            }
        }
    }
    found
}
