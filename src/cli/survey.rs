//! From what is written down to a plan: facts, then everything else, then the comparison.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use tokio::task::JoinSet;

use super::{Connection, Global, Selection, load, ui};
use crate::catalog::{Catalog, Facts};
use crate::diag::{Diagnostic, Diagnostics};
use crate::fact::{Fact, fact};
use crate::inventory::Endpoint;
use crate::ledger::{Applied, Ledger, Revision};
use crate::name::HostName;
use crate::observe;
use crate::plan::{self, Observed, Plan};
use crate::secret::Secret;
use crate::step::{Probe, Readings};
use crate::transport::{Asked, Connections, KnownHosts, SshOptions, Transport, TransportError};
use crate::workspace::{Environment, Selected, Unchecked, revision};

/// Hosts, and how to work with them.
pub(super) struct Fleet {
    /// The connections, one a host, for the whole run.
    pub transport: Arc<Connections>,
    /// Hosts worked on at the same time.
    pub forks: usize,
    verbose: u8,
    /// Hosts that gave no lease: without one they are not asked anything more.
    away: Mutex<BTreeMap<HostName, TransportError>>,
}

/// What was found, and what follows from it.
pub(super) struct Survey {
    /// What is desired; the hosts that did not answer are not in it.
    pub catalog: Catalog,
    /// What was found.
    pub observed: Observed,
    /// The difference.
    pub plan: Plan,
    /// How long it took.
    pub took: Duration,
    /// The revision of the project, where it is under version control and was asked for.
    pub revision: Option<Revision>,
}

impl Survey {
    /// The hosts that have a journal which is not yet worked into their ledger.
    pub(super) fn unsettled(&self) -> BTreeSet<HostName> {
        let probe = Probe::State(self.catalog.environment.clone());
        let has = |answer: &Result<Readings, String>| {
            let state = answer.as_ref().ok().and_then(|readings| readings.state(&probe).ok());
            state.is_some_and(|state| state.journal.is_some())
        };
        self.observed.iter().filter(|(_, answer)| has(answer)).map(|(host, _)| host.clone()).collect()
    }
}

impl Survey {
    /// The hosts that do not know yet that they are as this revision wants them, or have a journal to work in.
    pub(super) fn stale(&self, applied: &Applied) -> BTreeSet<HostName> {
        let probe = Probe::State(self.catalog.environment.clone());
        let knows = |answer: &Result<Readings, String>| {
            let state = answer.as_ref().ok()?.state(&probe).ok()?;
            let ledger = Ledger::of(&self.catalog.environment, state.ledger.as_deref(), None).ok()?;
            Some(state.journal.is_none() && ledger.converged?.revision == applied.revision)
        };
        self.observed.iter().filter(|(_, answer)| knows(answer) != Some(true)).map(|(host, _)| host.clone()).collect()
    }
}

/// Prepares connections to the hosts of an environment; asks for the sudo password if wanted.
///
/// # Errors
/// When there is nobody to ask, or a host of a rehearsal is missing in the lab.
pub(super) fn fleet(global: &Global, connection: &Connection, environment: &Environment) -> Result<Fleet, Diagnostics> {
    environment.check_rehearsal()?;
    Ok(fleet_of(global, connection)?)
}

fn lab() -> Result<crate::lab::Lab, Diagnostic> {
    let lab = crate::lab::Lab::open(crate::lab::LabOptions::from_environment());
    lab.map_err(|error| Diagnostic::error(error.to_string()))
}

/// The lab hosts and their addresses.
///
/// # Errors
/// When there is no lab.
pub(super) fn lab_hosts() -> Result<BTreeMap<String, String>, Diagnostic> {
    let hosts = lab()?.hosts().map_err(|error| Diagnostic::error(error.to_string()))?;
    Ok(hosts.iter().map(|host| (host.name.clone(), host.address.to_string())).collect())
}

/// The same for hosts that are known already: those of a saved plan.
///
/// # Errors
/// When there is nobody to ask, or no lab.
pub(super) fn fleet_of(global: &Global, connection: &Connection) -> Result<Fleet, Diagnostic> {
    let mut options = SshOptions {
        config: connection.ssh_config.clone().map(path).transpose()?,
        user: connection.user.clone(),
        key: connection.private_key.clone().map(path).transpose()?,
        connect_timeout: Duration::from_secs(u64::from(connection.connect_timeout)),
        keep: connection.keep_connections.filter(|keep| !keep.is_zero()),
        ..SshOptions::default()
    };
    if connection.accept_new {
        options.known_hosts = KnownHosts::AcceptNew;
    }
    if connection.ask_become_pass {
        options.become_password = Some(password()?);
    }
    if connection.lab {
        options.config = Some(path(lab()?.ssh_config())?);
    }
    let transport = Arc::new(Connections::new(options));
    Ok(Fleet { transport, forks: usize::from(connection.forks), verbose: global.verbose, away: Mutex::default() })
}

fn path(path: PathBuf) -> Result<Utf8PathBuf, Diagnostic> {
    Utf8PathBuf::try_from(path).map_err(|error| Diagnostic::error(format!("a path must be UTF-8: {error}")))
}

fn password() -> Result<Secret<String>, Diagnostic> {
    if !ui::can_ask() {
        return Err(Diagnostic::error("--ask-become-pass: there is no terminal to ask for the sudo password"));
    }
    let typed = rpassword::prompt_password("sudo password: ");
    typed.map(Secret::new).map_err(|error| Diagnostic::error(format!("no password could be read: {error}")))
}

/// Asks the hosts everything and compares.
///
/// # Errors
/// What is wrong in what is desired, also after templating with real facts.
pub(super) async fn survey(fleet: &Fleet, loaded: &Environment) -> Result<Survey, Diagnostics> {
    let begun = Instant::now();
    let root = loaded.root.clone();
    let revision = tokio::task::spawn_blocking(move || revision::of(&root));
    let (facts, unreachable) = facts(fleet, loaded, &loaded.facts_needed()).await;
    let away: BTreeSet<HostName> = unreachable.keys().cloned().collect();
    let catalog = loaded.catalog(&facts, &away)?;
    // What was asked for may be on a host that did not answer, which is told anyway.
    let catalog = if away.is_empty() { chosen(loaded, catalog)? } else { loaded.chosen_of_some(catalog) };
    let mut survey = of_known(fleet, catalog, unreachable).await;
    survey.took = begun.elapsed();
    survey.revision = revision.await.ok().flatten();
    Ok(survey)
}

/// The part of a catalog that was asked for; shows warnings.
///
/// # Errors
/// What was asked for and is not there.
pub(super) fn chosen(environment: &Environment, catalog: Catalog) -> Result<Catalog, Diagnostics> {
    let Selected { catalog, warnings } = environment.chosen(catalog)?;
    ui::problems(&warnings);
    Ok(catalog)
}

/// Reads an environment and its hosts, for a command that changes nothing. `banner` is shown before hosts are asked.
///
/// # Errors
/// What is wrong in what a user wrote.
pub(super) async fn read(
    global: &Global,
    selection: &Selection,
    connection: &Connection,
    banner: &dyn Fn(&Environment),
) -> Result<(Environment, Survey), Diagnostics> {
    let unchecked = load::begin(global, selection, connection).await?;
    if connection.ask_become_pass {
        // Nobody is asked for a password only to hear that nothing can be done.
        let environment = load::checked(unchecked).await?;
        let fleet = fleet(global, connection, &environment)?;
        banner(&environment);
        return surveyed(&fleet, JoinSet::new(), std::future::ready(Ok(environment))).await;
    }
    let fleet = fleet(global, connection, unchecked.environment())?;
    banner(unchecked.environment());
    surveyed(&fleet, log_in(&fleet, &unchecked), load::checked(unchecked)).await
}

async fn surveyed(
    fleet: &Fleet,
    logins: JoinSet<()>,
    environment: impl Future<Output = Result<Environment, Diagnostics>>,
) -> Result<(Environment, Survey), Diagnostics> {
    let work = async {
        let environment = environment.await?;
        let survey = survey(fleet, &environment).await?;
        fleet.tell_round_trips(&environment.endpoints());
        Ok((environment, survey))
    };
    let result = work.await;
    drop(logins);
    fleet.transport.close().await;
    result
}

/// Logs in to the hosts of an environment while what is desired of them is checked. Logins that are still being made are
/// given up when what this returns is dropped. Of a part of the resources it is not known yet which hosts have them.
fn log_in(fleet: &Fleet, unchecked: &Unchecked) -> JoinSet<()> {
    let known = unchecked.environment();
    fleet.log_in(if known.part.is_all() { known.endpoints() } else { Vec::new() })
}

/// Reads the hosts of a catalog, and compares.
pub(super) async fn of(fleet: &Fleet, catalog: Catalog) -> Survey {
    of_known(fleet, catalog, BTreeMap::new()).await
}

/// The same, where some hosts are known to be away, and why.
async fn of_known(fleet: &Fleet, catalog: Catalog, away: BTreeMap<HostName, String>) -> Survey {
    let begun = Instant::now();
    let mut observed = look(fleet, &catalog).await;
    observed.extend(away.into_iter().map(|(host, why)| (host, Err(why))));
    let plan = plan::plan(&catalog, &observed);
    Survey { catalog, observed, plan, took: begun.elapsed(), revision: None }
}

/// Reads some hosts of a catalog again.
pub(super) async fn again(fleet: &Fleet, catalog: &Catalog, touched: &BTreeSet<HostName>) -> Survey {
    let mut catalog = catalog.clone();
    catalog.hosts.retain(|host, _| touched.contains(host));
    catalog.spare.retain(|host, _| touched.contains(host));
    of(fleet, catalog).await
}

/// Asks the hosts of a catalog everything; those on which something is left that nothing wants any more are asked twice.
pub(super) async fn look(fleet: &Fleet, catalog: &Catalog) -> Observed {
    let mut observed = observe(fleet, "reading", catalog.questions()).await;
    for (host, answer) in observe(fleet, "reading what is left", plan::left(catalog, &observed)).await {
        match (observed.get_mut(&host), answer) {
            (Some(Ok(known)), Ok(more)) => known.extend(more),
            (_, answer) => drop(observed.insert(host, answer)),
        }
    }
    observed
}

/// Asks hosts these questions.
pub(super) async fn observe(fleet: &Fleet, what: &'static str, questions: Vec<(Endpoint, Vec<Probe>)>) -> Observed {
    if questions.is_empty() {
        return Observed::new();
    }
    let answers = ask(fleet, what, questions).await;
    answers.into_iter().map(|(host, answer)| (host, answer.map_err(|error| explained(&error)))).collect()
}

/// Asks each host its facts. Hosts that need none are not asked; a fact that cannot be read is left out.
pub(super) async fn facts(
    fleet: &Fleet,
    loaded: &Environment,
    wanted: &BTreeMap<HostName, BTreeSet<String>>,
) -> (Facts, BTreeMap<HostName, String>) {
    let asked = |endpoint: Endpoint| {
        let facts = asked_facts(wanted.get(&endpoint.name)?);
        let probes: Vec<Probe> = facts.iter().flat_map(|fact| (fact.probes)()).collect();
        (!probes.is_empty()).then_some((endpoint, probes))
    };
    let questions: Vec<(Endpoint, Vec<Probe>)> = loaded.endpoints().into_iter().filter_map(asked).collect();
    let (mut facts, mut unreachable) = (Facts::new(), BTreeMap::new());
    for (host, answer) in ask(fleet, "facts", questions).await {
        match answer {
            Ok(readings) => {
                drop(facts.insert(host.clone(), understood(&host, &asked_facts(&wanted[&host]), &readings)));
            }
            Err(error) => drop(unreachable.insert(host, explained(&error))),
        }
    }
    (facts, unreachable)
}

fn asked_facts(names: &BTreeSet<String>) -> Vec<&'static Fact> {
    names.iter().filter_map(|name| fact(name)).collect()
}

fn understood(host: &HostName, facts: &[&Fact], readings: &Readings) -> BTreeMap<String, serde_json::Value> {
    let mut known = BTreeMap::new();
    for fact in facts {
        match (fact.read)(readings) {
            Ok(value) => drop(known.insert(fact.name.to_owned(), value)),
            Err(why) => ui::say(&format!(
                "warning: {host}: facts.{} is not known: {}",
                fact.name,
                crate::diag::shown(&why.to_string())
            )),
        }
    }
    known
}

async fn ask(fleet: &Fleet, what: &'static str, questions: Vec<(Endpoint, Vec<Probe>)>) -> observe::Answers {
    let away = fleet.away.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let bar = ui::Counter::new(what, questions.len());
    let (missing, there): (Vec<_>, Vec<_>) = questions.into_iter().partition(|(host, _)| away.contains_key(&host.name));
    let mut answers =
        observe::ask(&fleet.transport, there, fleet.forks, |host, problem| bar.answered(host, problem.is_some())).await;
    for (host, _) in missing {
        bar.answered(&host.name, true);
        answers.extend(away.get(&host.name).map(|why| (host.name.clone(), Err(why.clone()))));
    }
    bar.finish();
    answers
}

/// Why a host could not be worked with, and what to do about it.
pub(super) fn explained(error: &TransportError) -> String {
    let hint = match error {
        TransportError::HostKeyChanged { .. } => {
            "; if it was installed anew, remove the old key: ssh-keygen -R HOST. If not, somebody may be in between"
        }
        TransportError::HostKeyUnknown { .. } => {
            "; compare the fingerprint, then add it to known_hosts or use --accept-new"
        }
        _ => "",
    };
    format!("{error}{hint}")
}

impl Fleet {
    /// Makes connections that will be needed, as many at a time as hosts are worked on. Those that are still being made are
    /// given up when what this returns is dropped.
    pub(super) fn log_in(&self, hosts: Vec<Endpoint>) -> JoinSet<()> {
        let slots = Arc::new(tokio::sync::Semaphore::new(self.forks.max(1)));
        let asked = if hosts.len() <= self.forks { Asked::AtOnce } else { Asked::Later };
        let mut logins = JoinSet::new();
        for host in hosts {
            let (transport, slots) = (Arc::clone(&self.transport), Arc::clone(&slots));
            logins.spawn(async move {
                let _slot = slots.acquire_owned().await;
                transport.log_in(&host, asked).await;
            });
        }
        logins
    }

    /// These gave no lease. To wait for each of them again and again would only cost time: nothing can be done there.
    pub(super) fn miss(&self, away: &BTreeMap<HostName, TransportError>) {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).clone_from(away);
    }

    /// Round trips of each host, for -vv.
    pub(super) fn tell_round_trips(&self, hosts: &[Endpoint]) {
        if self.verbose < 2 {
            return;
        }
        let trips: Vec<String> =
            hosts.iter().map(|host| format!("{} {}", host.name, self.transport.round_trips(host))).collect();
        ui::say(&format!("round trips: {}", trips.join(", ")));
    }
}
