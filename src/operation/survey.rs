//! From what is desired to a plan: facts, then everything else there is to know about the hosts, then the comparison.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::lock::Unreachable;
use super::project::identified;
use super::{Abort, Locked, Notice, Reading, Session, Stop};
use crate::catalog::{Catalog, Data, Facts};
use crate::diag::Diagnostics;
use crate::fact::{Fact, fact};
use crate::inventory::Endpoint;
use crate::ledger::{Applied, Ledger, Records, Revision};
use crate::name::{HostName, Owner, ProjectId};
use crate::observe;
use crate::plan::{self, Observed, Plan};
use crate::step::{Probe, Readings};
use crate::transport::{Asked, Transport, TransportError, setup_problems};
use crate::workspace::{Environment, ProjectIdentity, Selected, Unchecked, revision};

/// The facts of the hosts that answered, and why the others did not.
pub(super) type Asking = (Facts, BTreeMap<HostName, String>);

/// What is desired, what was found, and the difference.
#[derive(Debug, Clone)]
pub struct Survey {
    /// What is desired. Unreachable hosts are not in it.
    pub catalog: Catalog,
    /// What was found.
    pub observed: Observed,
    /// The difference.
    pub plan: Plan,
    /// How long it took.
    pub took: Duration,
    /// The revision of the project, where it is under version control.
    pub revision: Option<Revision>,
    /// Selectors that match nothing, where that is no error.
    pub warnings: Diagnostics,
}

impl Survey {
    /// The same for a project that had no identity until now.
    #[must_use]
    pub fn identified(mut self, project: ProjectId) -> Self {
        self.catalog.owner.project = Some(project);
        self.plan = plan::plan(&self.catalog, &self.observed);
        self
    }

    /// The hosts with a journal that is not yet worked into their ledger: an interrupted run left it.
    pub(super) fn unsettled(&self) -> BTreeSet<HostName> {
        let has = |host: &HostName, answer: &Result<Readings, String>| {
            let state = answer.as_ref().ok().and_then(|readings| readings.state(&Probe::State).ok());
            state.is_some_and(|state| Records::of(state, &self.catalog.owner, host).journal().is_some())
        };
        self.observed.iter().filter(|(host, answer)| has(host, answer)).map(|(host, _)| host.clone()).collect()
    }

    /// The hosts whose ledger does not say yet that they are as this revision wants them, or that have a journal.
    pub(super) fn stale(&self, applied: &Applied) -> BTreeSet<HostName> {
        let owner = &self.catalog.owner;
        let knows = |host: &HostName, answer: &Result<Readings, String>| {
            let records = Records::of(answer.as_ref().ok()?.state(&Probe::State).ok()?, owner, host);
            let ledger = Ledger::of(&owner.environment, records.ledger(), None).ok()?;
            Some(records.journal().is_none() && ledger.converged?.revision == applied.revision)
        };
        // What it has nothing more to do with must not be in the way of others.
        let parted = |host: &HostName| self.plan.parted.get(host).is_some_and(|parted| !parted.is_empty());
        self.observed
            .iter()
            .filter(|(host, answer)| parted(host) || knows(host, answer) != Some(true))
            .map(|(host, _)| host.clone())
            .collect()
    }
}

impl<T: Transport> Session<T> {
    /// Reads the hosts of an environment and plans, without a lock: by the time it is shown, the plan may be outdated.
    ///
    /// # Errors
    /// What is wrong in the files, also after templating with real facts.
    pub async fn survey(&self, environment: &Environment, stop: &Stop) -> Result<Survey, Abort> {
        let none = Unreachable::new();
        Reader { session: self, unreachable: &none, setup: Setup::Refused, stop }
            .survey(environment, &environment.identity)
            .await
    }

    /// Reads the hosts of a catalog and plans, without a lock.
    ///
    /// # Errors
    /// When it is stopped.
    pub async fn survey_catalog(&self, catalog: Catalog, stop: &Stop) -> Result<Survey, Abort> {
        let none = Unreachable::new();
        let owner = catalog.owner.clone();
        Reader { session: self, unreachable: &none, setup: Setup::Refused, stop }
            .plan(catalog, BTreeMap::new(), &|_| owner.clone())
            .await
    }

    /// The same of an environment that is checked while hosts are logged in to.
    ///
    /// # Errors
    /// What is wrong in the files, also after templating with real facts.
    pub async fn survey_unchecked(&self, unchecked: Unchecked, stop: &Stop) -> Result<(Environment, Survey), Abort> {
        let _logins = self.log_in(hosts_to_read(unchecked.environment()));
        let environment = stop.unless_requested(unchecked.check()).await??;
        let survey = self.survey(&environment, stop).await?;
        Ok((environment, survey))
    }

    /// Asks hosts these questions.
    ///
    /// # Errors
    /// When it is stopped.
    pub async fn read(
        &self,
        what: Reading,
        questions: Vec<(Endpoint, Vec<Probe>)>,
        stop: &Stop,
    ) -> Result<Observed, Abort> {
        let none = Unreachable::new();
        Reader { session: self, unreachable: &none, setup: Setup::Refused, stop }.observe(what, questions).await
    }

    /// Reads facts of hosts of an environment; `wanted` names them by host. Gives also why hosts are unreachable.
    ///
    /// # Errors
    /// When it is stopped.
    pub async fn facts(
        &self,
        environment: &Environment,
        wanted: &BTreeMap<HostName, BTreeSet<String>>,
        stop: &Stop,
    ) -> Result<(Facts, BTreeMap<HostName, String>), Abort> {
        let none = Unreachable::new();
        Reader { session: self, unreachable: &none, setup: Setup::Refused, stop }.facts(environment, wanted).await
    }

    /// Makes connections that will be needed, as many at a time as hosts are worked on. Those that are still being made are
    /// given up when what this returns is dropped.
    pub(super) fn log_in(&self, hosts: Vec<Endpoint>) -> tokio::task::JoinSet<()> {
        let forks = self.options().forks.max(1);
        let slots = Arc::new(tokio::sync::Semaphore::new(forks));
        let asked = if hosts.len() <= forks { Asked::AtOnce } else { Asked::Later };
        let mut logins = tokio::task::JoinSet::new();
        for host in hosts {
            let (transport, slots) = (Arc::clone(self.transport()), Arc::clone(&slots));
            logins.spawn(async move {
                let _slot = slots.acquire_owned().await;
                transport.log_in(&host, asked).await;
            });
        }
        logins
    }
}

impl<T: Transport> Locked<T> {
    /// Reads the hosts of an environment and plans. No other run changes them meanwhile.
    ///
    /// # Errors
    /// What is wrong in the files, also after templating with real facts.
    pub async fn survey(&self, environment: &Environment, stop: &Stop) -> Result<Survey, Abort> {
        self.reader(stop).survey(environment, &identified(environment)?).await
    }

    /// Reads the hosts of a catalog and plans.
    ///
    /// # Errors
    /// When it is stopped.
    pub async fn survey_catalog(&self, catalog: Catalog, stop: &Stop) -> Result<Survey, Abort> {
        let owner = catalog.owner.clone();
        self.reader(stop).plan(catalog, BTreeMap::new(), &|_| owner.clone()).await
    }

    /// Reads these hosts of an environment, of which nothing is desired, and plans.
    ///
    /// # Errors
    /// When it is stopped.
    pub(super) async fn survey_nothing(
        &self,
        environment: &Environment,
        (hosts, data): (Vec<Endpoint>, Data),
        stop: &Stop,
    ) -> Result<Survey, Abort> {
        let identity = identified(environment)?;
        let nothing = Catalog { data, ..Catalog::of_nothing(identity.owner(), hosts) };
        let whose = |observed: &Observed| identity.owner_on(observed);
        self.reader(stop).plan(nothing, BTreeMap::new(), &whose).await
    }

    pub(super) fn reader<'a>(&'a self, stop: &'a Stop) -> Reader<'a, T> {
        Reader { session: self.session(), unreachable: self.unreachable(), setup: Setup::Refused, stop }
    }
}

/// What becomes of a reading when the setup keeps us from a host: sudo, or this machine. See [`TransportError::is_setup`].
pub(super) enum Setup<'a> {
    /// It ends, and says what is wrong: a plan without the host would be another one than was asked for.
    Refused,
    /// It goes on, because hosts were changed already. The host is noted.
    Noted(&'a Mutex<BTreeSet<HostName>>),
}

/// Reads hosts, until it is stopped.
pub(super) struct Reader<'a, T: Transport> {
    pub(super) session: &'a Session<T>,
    /// Hosts that gave no lock: to wait for each of them again and again would only cost time.
    pub(super) unreachable: &'a Unreachable,
    pub(super) setup: Setup<'a>,
    pub(super) stop: &'a Stop,
}

impl<T: Transport> Reader<'_, T> {
    async fn survey(&self, environment: &Environment, identity: &ProjectIdentity) -> Result<Survey, Abort> {
        let begun = Instant::now();
        // Beside each other: hosts are logged in to and git looks, while it is worked out what to ask.
        let _logins = self.session.log_in(hosts_to_read(environment));
        let root = environment.root.clone();
        // A project that is only texts has no folder.
        let of = move || if root.as_os_str().is_empty() { None } else { revision::of(&root) };
        let revision = tokio::task::spawn_blocking(of);
        let (facts, unreachable) = self.facts(environment, &environment.facts_needed()).await?;
        let away: BTreeSet<HostName> = unreachable.keys().cloned().collect();
        let catalog = environment.catalog(&facts, &away)?;
        let (catalog, warnings) = selected(environment, catalog, &away)?;
        let whose = |observed: &Observed| identity.owner_on(observed);
        let survey = self.plan(catalog, unreachable, &whose).await?;
        let revision = revision.await.ok().flatten();
        Ok(Survey { took: begun.elapsed(), revision, warnings, ..survey })
    }

    /// Reads the hosts of a catalog and plans. Of `unreachable` hosts it is known already why they cannot be read.
    /// `whose` says from what the hosts keep whose it is.
    pub(super) async fn plan(
        &self,
        mut catalog: Catalog,
        unreachable: BTreeMap<HostName, String>,
        whose: &(dyn Fn(&Observed) -> Owner + Send + Sync),
    ) -> Result<Survey, Abort> {
        let begun = Instant::now();
        let mut observed = self.observe(Reading::Resources, catalog.questions()).await?;
        catalog.owner = whose(&observed);
        self.look_again(&catalog, &mut observed).await?;
        observed.extend(unreachable.into_iter().map(|(host, why)| (host, Err(why))));
        let plan = plan::plan(&catalog, &observed);
        Ok(Survey { catalog, observed, plan, took: begun.elapsed(), revision: None, warnings: Diagnostics::new() })
    }

    /// Asks the hosts of a catalog everything. Those on which something is left that no role wants any more are asked twice.
    pub(super) async fn look(&self, catalog: &Catalog) -> Result<Observed, Abort> {
        self.look_further(catalog, Observed::new()).await
    }

    /// The same, of which some hosts were asked a moment ago.
    pub(super) async fn look_further(&self, catalog: &Catalog, known: Observed) -> Result<Observed, Abort> {
        let questions = catalog.questions().into_iter().filter(|(host, _)| !known.contains_key(&host.name)).collect();
        let mut observed = self.observe(Reading::Resources, questions).await?;
        observed.extend(known);
        self.look_again(catalog, &mut observed).await?;
        Ok(observed)
    }

    /// Asks about what no role wants any more.
    async fn look_again(&self, catalog: &Catalog, observed: &mut Observed) -> Result<(), Abort> {
        for (host, answer) in self.observe(Reading::Removed, plan::left(catalog, observed)).await? {
            match (observed.get_mut(&host), answer) {
                (Some(Ok(known)), Ok(more)) => known.extend(more),
                (_, answer) => drop(observed.insert(host, answer)),
            }
        }
        Ok(())
    }

    /// Asks hosts these questions.
    pub(super) async fn observe(
        &self,
        what: Reading,
        questions: Vec<(Endpoint, Vec<Probe>)>,
    ) -> Result<Observed, Abort> {
        if questions.is_empty() {
            return Ok(Observed::new());
        }
        let answers = self.ask(what, questions).await?;
        Ok(answers.into_iter().map(|(host, answer)| (host, answer.map_err(|error| explained(&error)))).collect())
    }

    /// Asks each host its facts. Hosts that need none are not asked; a fact that cannot be read is left out.
    pub(super) async fn facts(
        &self,
        environment: &Environment,
        wanted: &BTreeMap<HostName, BTreeSet<String>>,
    ) -> Result<Asking, Abort> {
        let questions = |endpoint: Endpoint| {
            let facts = named(wanted.get(&endpoint.name)?);
            let probes: Vec<Probe> = facts.iter().flat_map(|fact| (fact.probes)()).collect();
            (!probes.is_empty()).then_some((endpoint, probes))
        };
        let questions: Vec<_> = environment.endpoints().into_iter().filter_map(questions).collect();
        let (mut facts, mut unreachable) = (Facts::new(), BTreeMap::new());
        for (host, answer) in self.ask(Reading::Facts, questions).await? {
            match answer {
                Ok(readings) => {
                    let known = self.understood(&host, &named(&wanted[&host]), &readings);
                    facts.insert(host, known);
                }
                Err(error) => drop(unreachable.insert(host, explained(&error))),
            }
        }
        Ok((facts, unreachable))
    }

    fn understood(&self, host: &HostName, facts: &[&Fact], readings: &Readings) -> BTreeMap<String, serde_json::Value> {
        let mut known = BTreeMap::new();
        for fact in facts {
            match (fact.read)(readings) {
                Ok(value) => drop(known.insert(fact.name.to_owned(), value)),
                Err(why) => self.session.notify(Notice::UnknownFact { host, fact: fact.name, why: &why }),
            }
        }
        known
    }

    async fn ask(&self, what: Reading, questions: Vec<(Endpoint, Vec<Probe>)>) -> Result<observe::Answers, Abort> {
        let session = self.session;
        session.notify(Notice::Reading { what, hosts: questions.len() });
        let is_missing = |(host, _): &(Endpoint, Vec<Probe>)| self.unreachable.contains_key(&host.name);
        let (missing, there): (Vec<_>, Vec<_>) = questions.into_iter().partition(is_missing);
        let answered = |host: &HostName, error: Option<&TransportError>| {
            session.notify(Notice::Answered { host, error });
        };
        let asking = observe::ask(session.transport(), there, session.options().forks, answered);
        let mut answers = self.stop.unless_requested(asking).await?;
        for (host, _) in missing {
            let why = &self.unreachable[&host.name];
            answered(&host.name, Some(why));
            answers.insert(host.name, Err(why.clone()));
        }
        session.notify(Notice::Read);
        let errors = answers.iter().filter_map(|(host, answer)| Some((host, answer.as_ref().err()?)));
        match self.setup {
            Setup::Refused => {
                let without =
                    |hosts: &[&HostName]| session.identity().typed.excluding(hosts.iter().copied()).to_string();
                setup_problems(errors, &without).result(())?;
            }
            Setup::Noted(hosts) => {
                let setup = errors.filter(|(_, error)| error.is_setup()).map(|(host, _)| host.clone());
                hosts.lock().unwrap_or_else(PoisonError::into_inner).extend(setup);
            }
        }
        Ok(answers)
    }
}

/// The hosts that will be read. Of a part of the resources it is not known yet which hosts they are on.
fn hosts_to_read(environment: &Environment) -> Vec<Endpoint> {
    if environment.part.is_all() { environment.endpoints() } else { Vec::new() }
}

/// The selected part of a catalog, and selectors that match nothing. What is not there may be on an unreachable host, which is
/// told anyway.
pub(super) fn selected(
    environment: &Environment,
    catalog: Catalog,
    unreachable: &BTreeSet<HostName>,
) -> Result<(Catalog, Diagnostics), Diagnostics> {
    if !unreachable.is_empty() {
        return Ok((environment.chosen_of_some(catalog), Diagnostics::new()));
    }
    let Selected { catalog, warnings } = environment.chosen(catalog)?;
    Ok((catalog, warnings))
}

fn named(names: &BTreeSet<String>) -> Vec<&'static Fact> {
    names.iter().filter_map(|name| fact(name)).collect()
}

/// Why a host could not be worked with, and what to do about it.
pub fn explained(error: &TransportError) -> String {
    let hint = match error {
        TransportError::HostKeyChanged { .. } => {
            "; if it was reinstalled, remove the old key: ssh-keygen -R HOST. If not, the connection may be intercepted"
        }
        TransportError::HostKeyUnknown { .. } => {
            "; compare the fingerprint, then add it to known_hosts or use --accept-new"
        }
        _ => "",
    };
    format!("{error}{hint}")
}
