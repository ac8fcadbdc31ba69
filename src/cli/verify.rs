//! `armilla verify ENV`: whether everything is as healthy as its roles want it.
//!
//! In: an environment. Out: each check of each service on each host: healthy, sick or unknown. Never: a change; hosts are
//! only asked, and no lease is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::load;
use super::part::Only;
use super::survey::{self, Fleet};
use super::{Connection, Exit, Global, Selection, ui};
use crate::catalog::Catalog;
use crate::diag::{Diagnostic, Diagnostics};
use crate::inventory::Endpoint;
use crate::name::HostName;
use crate::plan::{self, Finding, Health, Next, Observed, Wait};
use crate::report::verify::{self, Depth, Tally};
use crate::secret::masked;
use crate::step::Probe;
use crate::workspace::Environment;

/// Asks every health check of every service, and nothing else. Changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Verify {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    only: Only,
    /// Ask again until each check holds for its `stable_for`, or its time is over (`within`, `at_most`)
    #[arg(long)]
    wait: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// Also write it there as CI systems read it (`JUnit`'s XML): a suite for each service, a case for each check on each host
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

const HELP: &str = "\
Examples:
  armilla verify staging                          every service on every host
  armilla verify staging --target zookeeper -v    one service, each check
  armilla verify staging --wait --junit health.xml     in CI, after a change

Exits with 0 if all is healthy, 3 if something is sick, and 4 if nothing is but somewhere nobody can say: a host
that does not answer is never healthy.";

/// Between two questions of `--wait`.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Verify) -> Exit {
    verify(global, command).await.unwrap_or_else(|problems| {
        ui::problems(&problems);
        Exit::Error
    })
}

async fn verify(global: &Global, command: &Verify) -> Result<Exit, Diagnostics> {
    let begun = Instant::now();
    let loaded = load::load(global, &command.selection.with(&command.only), &command.connection).await?;
    let fleet = survey::fleet(global, &command.connection, &loaded)?;
    let findings = look(&fleet, &loaded, command).await;
    fleet.tell_round_trips(&loaded.endpoints());
    fleet.transport.close().await;
    let findings = findings?;
    if findings.is_empty() {
        let hint = "a role says under `health` when its service is healthy";
        return Err(Diagnostic::error("nothing that was asked for has a health check").hint(hint).into());
    }
    if let Some(file) = &command.junit {
        write(file, &verify::junit(&loaded.name, &findings, begun.elapsed()))?;
    }
    if command.json {
        let json = verify::json(&loaded.name, &findings);
        ui::result(&ui::data(&serde_json::to_string_pretty(&json).unwrap_or_default()));
    } else {
        let depth = if global.verbose > 0 { Depth::Checks } else { Depth::Hosts };
        ui::result(&verify::text(&findings, depth));
    }
    Ok(match Tally::of(&findings) {
        Tally { sick: 1.., .. } => Exit::Failed,
        Tally { unknown: 1.., .. } => Exit::Unreachable,
        Tally { .. } => Exit::Success,
    })
}

fn write(file: &Path, text: &str) -> Result<(), Diagnostic> {
    let why = |error| Diagnostic::error(format!("--junit: {} cannot be written: {error}", file.display()));
    std::fs::write(file, text).map_err(why)
}

/// Asks the hosts, once or for as long as the checks want it.
async fn look(fleet: &Fleet, loaded: &Environment, command: &Verify) -> Result<Vec<Finding>, Diagnostics> {
    let (facts, away) = survey::facts(fleet, loaded, &loaded.facts_needed()).await;
    let hosts: BTreeSet<HostName> = away.keys().cloned().collect();
    let catalog = loaded.catalog(&facts, &hosts)?;
    let catalog = if away.is_empty() { survey::chosen(loaded, catalog)? } else { loaded.chosen_of_some(catalog) };
    let checks = plan::checks(&catalog);
    let found = if command.wait { waited(fleet, &catalog, checks).await } else { once(fleet, &catalog, checks).await };
    let mut findings: Vec<Finding> = found.into_iter().chain(lost(loaded, &away)).collect();
    findings.sort_by(|a, b| a.service.cmp(&b.service));
    Ok(findings.into_iter().map(|finding| without(finding, &catalog)).collect())
}

/// What a host says is shown without the secrets that the catalog knows.
fn without(finding: Finding, catalog: &Catalog) -> Finding {
    let health = match finding.health {
        Health::Healthy => Health::Healthy,
        Health::Sick(why) => Health::Sick(masked(&why, &catalog.secrets)),
        Health::Unknown(why) => Health::Unknown(masked(&why, &catalog.secrets)),
    };
    Finding { health, ..finding }
}

/// The services with checks on hosts that did not even tell their facts.
fn lost(loaded: &Environment, away: &BTreeMap<HostName, String>) -> Vec<Finding> {
    let placed = away.iter().filter_map(|(host, why)| Some((host, why, loaded.placement.hosts.get(host)?)));
    let instances = placed.flat_map(|(host, why, instances)| instances.iter().map(move |one| (host, why, one)));
    let checked = instances
        .filter(|(_, _, instance)| loaded.roles.get(&instance.role).is_some_and(|role| !role.health.is_empty()));
    let finding = |(host, why, instance): (&HostName, &String, &crate::catalog::Instance)| Finding {
        service: instance.service.as_ref().map_or_else(|| instance.role.to_string(), ToString::to_string),
        host: host.clone(),
        check: None,
        health: Health::Unknown(why.clone()),
    };
    checked.map(finding).collect()
}

/// Asks everything once: what holds now is healthy.
async fn once(fleet: &Fleet, catalog: &Catalog, checks: Vec<Finding>) -> Vec<Finding> {
    let observed = ask(fleet, catalog, checks.iter()).await;
    checks.into_iter().map(|finding| answered(finding, &observed)).collect()
}

fn answered(finding: Finding, observed: &Observed) -> Finding {
    let answer = observed.get(&finding.host);
    finding.answered(answer)
}

/// One round trip to each host.
async fn ask(fleet: &Fleet, catalog: &Catalog, findings: impl Iterator<Item = &Finding>) -> Observed {
    let mut probes: BTreeMap<&HostName, BTreeSet<Probe>> = BTreeMap::new();
    for finding in findings {
        probes.entry(&finding.host).or_default().extend(finding.probe().cloned());
    }
    let way = |host: &HostName| catalog.hosts.get(host).map(|host| host.endpoint.clone());
    let question = |(host, probes): (&HostName, BTreeSet<Probe>)| Some((way(host)?, probes.into_iter().collect()));
    let questions: Vec<(Endpoint, Vec<Probe>)> = probes.into_iter().filter_map(question).collect();
    survey::observe(fleet, "health", questions).await
}

/// Asks again and again, by the rules of a gate.
async fn waited(fleet: &Fleet, catalog: &Catalog, checks: Vec<Finding>) -> Vec<Finding> {
    let begun = Instant::now();
    let open = |finding| (finding, Some(Wait::begin(Duration::ZERO)));
    let mut all: Vec<(Finding, Option<Wait>)> = checks.into_iter().map(open).collect();
    while all.iter().any(|(_, wait)| wait.is_some()) {
        let open = all.iter().filter(|(_, wait)| wait.is_some()).map(|(finding, _)| finding);
        let observed = ask(fleet, catalog, open).await;
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
    all.into_iter().map(|(finding, _)| finding).collect()
}

/// What follows from the answer; with the wait, if it goes on.
fn heard(finding: Finding, mut wait: Wait, now: Duration) -> (Finding, Option<Wait>) {
    let Some(check) = &finding.check else { return (finding, None) };
    let next = match &finding.health {
        Health::Healthy => wait.hear(check, now, None),
        Health::Sick(why) | Health::Unknown(why) => wait.hear(check, now, Some(why)),
    };
    match next {
        Next::Enough => (finding, None),
        Next::Again(_) => (finding, Some(wait)),
        Next::Over(why) => {
            let health = if let Health::Unknown(_) = finding.health { Health::Unknown(why) } else { Health::Sick(why) };
            (Finding { health, ..finding }, None)
        }
    }
}
