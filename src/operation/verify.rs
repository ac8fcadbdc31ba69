//! Whether every service is as healthy as its role wants it. Hosts are only asked, and nothing is locked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::lock::Unreachable;
use super::survey::{Reader, Setup, selected};
use super::{Abort, Reading, Session, Stop};
use crate::catalog::{Catalog, Instance};
use crate::diag::Diagnostics;
use crate::inventory::Endpoint;
use crate::name::HostName;
use crate::plan::{self, Finding, Observed};
use crate::secret::masked;
use crate::step::{Health, Heard, Probe, Wait, WaitStep};
use crate::transport::Transport;
use crate::workspace::Environment;

/// How long checks are asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Checked {
    /// Once: what holds now is healthy.
    #[default]
    Once,
    /// Until each holds for its `stable_for`, or its time is over.
    UntilStable,
}

/// What the checks found.
#[derive(Debug)]
pub struct Verified {
    /// Each check of each service on each host.
    pub findings: Vec<Finding>,
    /// Selectors that match nothing, where that is no error.
    pub warnings: Diagnostics,
}

/// Between two questions while checks are waited for.
const PAUSE: Duration = Duration::from_secs(1);

impl<T: Transport> Session<T> {
    /// Asks every health check of every service of an environment.
    ///
    /// # Errors
    /// What is wrong in the files, also after templating with real facts.
    pub async fn verify(&self, environment: &Environment, checked: Checked, stop: &Stop) -> Result<Verified, Abort> {
        let none = Unreachable::new();
        let reader = Reader { session: self, unreachable: &none, setup: Setup::Refused, stop };
        let (facts, away) = reader.facts(environment, &environment.facts_needed()).await?;
        let hosts: BTreeSet<HostName> = away.keys().cloned().collect();
        let catalog = environment.catalog(&facts, &hosts)?;
        let (catalog, warnings) = selected(environment, catalog, &hosts)?;
        let checks = plan::checks(&catalog);
        let found = match checked {
            Checked::Once => once(&reader, &catalog, checks).await?,
            Checked::UntilStable => stop.unless_requested(until_stable(&reader, &catalog, checks)).await??,
        };
        let mut findings: Vec<Finding> = found.into_iter().chain(unreachable(environment, &away)).collect();
        findings.sort_by(|a, b| a.service.cmp(&b.service));
        let findings = findings.into_iter().map(|finding| without_secrets(finding, &catalog)).collect();
        Ok(Verified { findings, warnings })
    }
}

/// What a host says is shown without the secrets that the catalog knows.
pub(super) fn without_secrets(finding: Finding, catalog: &Catalog) -> Finding {
    let health = match finding.health {
        Health::Healthy => Health::Healthy,
        Health::Unhealthy(why) => Health::Unhealthy(masked(&why, &catalog.secrets)),
        Health::Unknown(why) => Health::Unknown(masked(&why, &catalog.secrets)),
    };
    Finding { health, ..finding }
}

/// The services with checks on hosts whose facts could not even be read.
fn unreachable(environment: &Environment, away: &BTreeMap<HostName, String>) -> Vec<Finding> {
    let placed = away.iter().filter_map(|(host, why)| Some((host, why, environment.placement.hosts.get(host)?)));
    let instances = placed.flat_map(|(host, why, instances)| instances.iter().map(move |one| (host, why, one)));
    let has_checks =
        |instance: &Instance| environment.roles.get(&instance.role).is_some_and(|role| !role.health.is_empty());
    let finding = |(host, why, instance): (&HostName, &String, &Instance)| Finding {
        service: instance.service.as_ref().map_or_else(|| instance.role.to_string(), ToString::to_string),
        host: host.clone(),
        check: None,
        health: Health::Unknown(why.clone()),
    };
    instances.filter(|(_, _, instance)| has_checks(instance)).map(finding).collect()
}

/// Asks everything once: what holds now is healthy.
pub(super) async fn once<T: Transport>(
    reader: &Reader<'_, T>,
    catalog: &Catalog,
    checks: Vec<Finding>,
) -> Result<Vec<Finding>, Abort> {
    let observed = ask(reader, catalog, checks.iter()).await?;
    Ok(checks.into_iter().map(|finding| answered(finding, &observed)).collect())
}

fn answered(finding: Finding, observed: &Observed) -> Finding {
    let answer = observed.get(&finding.host);
    finding.answered(answer)
}

/// One round trip to each host.
async fn ask<T: Transport>(
    reader: &Reader<'_, T>,
    catalog: &Catalog,
    findings: impl Iterator<Item = &Finding>,
) -> Result<Observed, Abort> {
    let mut probes: BTreeMap<&HostName, BTreeSet<Probe>> = BTreeMap::new();
    for finding in findings {
        probes.entry(&finding.host).or_default().extend(finding.probe().cloned());
    }
    let way = |host: &HostName| catalog.hosts.get(host).map(|host| host.endpoint.clone());
    let question = |(host, probes): (&HostName, BTreeSet<Probe>)| Some((way(host)?, probes.into_iter().collect()));
    let questions: Vec<(Endpoint, Vec<Probe>)> = probes.into_iter().filter_map(question).collect();
    reader.observe(Reading::Health, questions).await
}

/// Asks again and again, by the rules of a gate.
async fn until_stable<T: Transport>(
    reader: &Reader<'_, T>,
    catalog: &Catalog,
    checks: Vec<Finding>,
) -> Result<Vec<Finding>, Abort> {
    let begun = Instant::now();
    let open = |finding| (finding, Some(Wait::begin(Duration::ZERO)));
    let mut all: Vec<(Finding, Option<Wait>)> = checks.into_iter().map(open).collect();
    while all.iter().any(|(_, wait)| wait.is_some()) {
        let open = all.iter().filter(|(_, wait)| wait.is_some()).map(|(finding, _)| finding);
        let observed = ask(reader, catalog, open).await?;
        let now = begun.elapsed();
        let go_on = |(finding, wait): (Finding, Option<Wait>)| match wait {
            Some(wait) => heard(answered(finding, &observed), wait, now),
            None => (finding, None),
        };
        all = all.into_iter().map(go_on).collect();
        if all.iter().any(|(_, wait)| wait.is_some()) {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(all.into_iter().map(|(finding, _)| finding).collect())
}

/// What follows from the answer; with the wait, if it goes on.
fn heard(finding: Finding, mut wait: Wait, now: Duration) -> (Finding, Option<Wait>) {
    let Some(check) = &finding.check else { return (finding, None) };
    let next = match &finding.health {
        Health::Healthy => wait.hear(check, now, Heard::Holds),
        Health::Unhealthy(why) | Health::Unknown(why) => wait.hear(check, now, Heard::Fails(why)),
    };
    match next {
        WaitStep::Enough => (finding, None),
        WaitStep::Again(..) => (finding, Some(wait)),
        WaitStep::Over(why) => {
            let health =
                if let Health::Unknown(_) = finding.health { Health::Unknown(why) } else { Health::Unhealthy(why) };
            (Finding { health, ..finding }, None)
        }
    }
}
