//! A project and a fleet together: everything from texts to a run, without a file or a host.
//!
//! In: a site and roles as texts, and hosts. Out: catalogs, plans and runs, by the same two rooms that the command line uses.
//! Never: another way through the program than the one users take.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::{Fleet, Host};
use crate::apply::{End, Event, Failure, Report};
use crate::catalog::{Catalog, Facts, ResourceSelection};
use crate::diag::{Diagnostics, Source};
use crate::history::History;
use crate::inventory::Endpoint;
use crate::lease::{LeaseAnswer, Request};
use crate::name::{EnvName, HostName, InvalidName, Owner, ProjectId, RoleName};
use crate::operation::destroy::{Data, destruction};
use crate::operation::guard::{Known, approve};
use crate::operation::{
    Abort, Approval, Ground, Identity, Limits, Notice, Observer, Options, Process, Session, Silent, Stop, Stopper,
    Survey, Typed,
};
use crate::plan::{self, Observed, Plan};
use crate::project::{From, Project, RoleTexts};
use crate::step::{Probe, Readings};
use crate::transport::Transport as _;
use crate::workspace::{Adoption, Environment, Request as Wanted};

/// When the first run of a world begins: 14 November 2023, 08:00 UTC.
const BEGINNING: i64 = 1_699_948_800;

/// A project and its fleet.
#[derive(Default)]
pub struct World {
    /// The hosts.
    pub fleet: Arc<Fleet>,
    project: Project,
    hosts: Vec<HostName>,
    /// How many hosts are worked on at once; 0 means 10.
    forks: usize,
    /// Seconds since the first run began: whoever looks at the clock makes one pass.
    clock: Arc<AtomicI64>,
    /// What the texts describe, until they change.
    environment: OnceLock<Result<Arc<Environment>, Diagnostics>>,
    /// What the last plan was made from.
    last: Mutex<Option<Survey>>,
    /// Whose world it is, if it is not that of the only project.
    owner: Option<Owner>,
}

/// A plan that was done.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What happened, in order.
    pub events: Vec<Event>,
    /// How every stage ended.
    pub report: Report,
}

impl World {
    /// A world in which so many hosts are worked on at once.
    pub fn with_forks(forks: usize) -> Self {
        Self { forks, ..Self::default() }
    }

    /// The world of somebody else on the same hosts, with a project that is empty yet.
    #[must_use]
    pub fn beside(&self, owner: Owner) -> Self {
        Self {
            fleet: Arc::clone(&self.fleet),
            hosts: self.hosts.clone(),
            forks: self.forks,
            clock: Arc::clone(&self.clock),
            owner: Some(owner),
            ..Self::default()
        }
    }

    /// Whose world it is.
    pub fn owner(&self) -> Owner {
        let only = || Owner { project: Some(ProjectId::compose("sim", 0)), environment: name() };
        self.owner.clone().unwrap_or_else(only)
    }

    /// Adds an empty host.
    ///
    /// # Errors
    /// When the name is none.
    pub fn host(&mut self, name: &str) -> Result<(), Diagnostics> {
        let host = HostName::new(name).map_err(|why| wrong(&why))?;
        self.hosts.push(host);
        self.environment = OnceLock::new();
        self.fleet.add(name, Host::new());
        Ok(())
    }

    /// Adds a role, or writes it anew.
    ///
    /// # Errors
    /// When the name is none.
    pub fn role(&mut self, name: &str, text: &str) -> Result<(), Diagnostics> {
        let role = Source::new(format!("roles/{name}/role.yml"), text);
        let texts = RoleTexts { role, templates: BTreeMap::new(), files: BTreeMap::new(), from: From::Project };
        let name = RoleName::new(name).map_err(|why| wrong(&why))?;
        self.texts().roles.insert(name, texts);
        Ok(())
    }

    /// Adds a template of the project, or writes it anew.
    pub fn template(&mut self, name: &str, text: &str) {
        self.texts().templates.insert(name.to_owned(), Source::new(format!("templates/{name}"), text));
    }

    /// Adds a file of the project, or writes it anew.
    pub fn file(&mut self, name: &str, text: &str) {
        self.texts().files.insert(name.to_owned(), text.as_bytes().into());
    }

    /// Writes `site.yml`.
    pub fn site(&mut self, text: &str) {
        self.texts().site = Some(Source::new("site.yml", text));
    }

    /// The environment that the texts describe, and all hosts.
    ///
    /// # Errors
    /// Everything that is wrong with the texts.
    pub fn environment(&self) -> Result<Arc<Environment>, Diagnostics> {
        self.environment.get_or_init(|| self.read().map(Arc::new)).clone()
    }

    fn read(&self) -> Result<Environment, Diagnostics> {
        // The order of an inventory has a meaning; that in which hosts were added here has none.
        let hosts: BTreeSet<&HostName> = self.hosts.iter().collect();
        let hosts = hosts.iter().map(|host| format!("  {host}: {{}}\n")).collect::<Vec<_>>().concat();
        let mut project = self.project.clone();
        project.environment = vec![("hosts.yml".to_owned(), Source::new("hosts.yml", format!("hosts:\n{hosts}")))];
        let owner = self.owner();
        let identity = owner.project.map(|project| Source::new("armilla.yml", format!("project: {project}\n")));
        project.settings = identity.or(project.settings);
        Environment::from_texts(project, &Wanted::of(owner.environment))
    }

    /// The texts, to be changed.
    fn texts(&mut self) -> &mut Project {
        self.environment = OnceLock::new();
        &mut self.project
    }

    /// What is desired.
    ///
    /// # Errors
    /// Everything that is wrong with the texts.
    pub fn catalog(&self) -> Result<Catalog, Diagnostics> {
        self.environment()?.catalog(&Facts::new(), &BTreeSet::new())
    }

    /// What the hosts answer to everything a catalog asks.
    pub fn observe(&self, catalog: &Catalog) -> Observed {
        self.survey(catalog.clone()).observed
    }

    #[expect(clippy::expect_used, reason = "a survey ends only when it is stopped")]
    fn survey(&self, catalog: Catalog) -> Survey {
        let session = self.session(Arc::new(Silent));
        let survey = wait_for(session.survey_catalog(catalog, &Stop::never()));
        survey.expect("nobody stops it")
    }

    /// What would change now.
    ///
    /// # Errors
    /// Everything that is wrong with the texts.
    pub fn plan(&self) -> Result<Plan, Diagnostics> {
        self.plan_part(&ResourceSelection::default())
    }

    /// What would change now of a part.
    ///
    /// # Errors
    /// Everything that is wrong with the texts.
    pub fn plan_part(&self, part: &ResourceSelection) -> Result<Plan, Diagnostics> {
        let mut catalog = self.catalog()?;
        part.choose(&mut catalog);
        Ok(self.remember(self.survey(catalog)))
    }

    /// What would change now, with the content of removed directories.
    ///
    /// # Errors
    /// Everything that is wrong with the texts.
    pub fn plan_with_data(&self) -> Result<Plan, Diagnostics> {
        Ok(self.remember(self.survey(Catalog { data: Data::Removed, ..self.catalog()? })))
    }

    /// What would be removed if nothing were desired.
    pub fn destroy(&self, data: Data) -> Plan {
        let survey = self.survey(Catalog { data, ..Catalog::of_nothing(self.owner(), self.endpoints()) });
        self.remember(destruction(survey))
    }

    fn remember(&self, survey: Survey) -> Plan {
        let plan = survey.plan.clone();
        *lock(&self.last) = Some(survey);
        plan
    }

    /// Adopts what is there of a part and as it is wanted, as `armilla import` does.
    ///
    /// # Errors
    /// Everything that is wrong with the texts.
    pub fn import(&self, part: &ResourceSelection) -> Result<plan::Import, Diagnostics> {
        let mut environment = self.read()?;
        environment.part = part.clone();
        let session = self.session(Arc::new(Silent));
        let import = wait_for(async {
            self.break_locks().await;
            let stop = Stop::never();
            let locked = session.lock(&Ground::of(&environment), &stop).await?;
            let survey = locked.survey(&environment, &stop).await?;
            let import = locked.find_import(&survey);
            locked.import(&survey, &import).await;
            locked.release().await;
            Ok(import)
        });
        import.map_err(|abort: Abort| abort.problems())
    }

    /// What one host answers.
    pub fn look(&self, host: &HostName, probes: &[Probe]) -> Readings {
        wait_for(self.fleet.read(&Endpoint::new(host.clone()), probes)).unwrap_or_default()
    }

    /// Does a plan.
    pub fn apply(&self, plan: &Plan) -> Run {
        self.apply_until(plan, |_| false)
    }

    /// Does a plan; as soon as `enough` says so of an event, the user stops it. As users do it: under locks, with a journal, and
    /// at the end each host keeps a new ledger. Every limit of the guard is off, as with the flags that turn them off.
    pub fn apply_until(&self, plan: &Plan, enough: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Run {
        let (stopper, stop) = Stop::channel();
        let watcher = Arc::new(Watcher { enough: Box::new(enough), stopper, events: Mutex::default() });
        let session = self.session(Arc::clone(&watcher) as Arc<dyn Observer>);
        let finished = wait_for(self.applied(&session, plan, stop));
        let report = finished.unwrap_or_else(|abort| refused(plan, &abort));
        let events = std::mem::take(&mut *lock(&watcher.events));
        Run { events, report }
    }

    async fn applied(&self, session: &Session<Fleet>, plan: &Plan, stop: Stop) -> Result<Report, Abort> {
        let environment = self.environment()?;
        let last = lock(&self.last).clone();
        let survey = match last {
            Some(last) if last.plan.owner == plan.owner => Survey { plan: plan.clone(), ..last },
            _ => {
                let catalog = environment.catalog(&Facts::new(), &BTreeSet::new())?;
                let survey = session.survey_catalog(catalog, &stop).await?;
                Survey { plan: plan.clone(), ..survey }
            }
        };
        let limits = Limits { adoption: Adoption::Given, ..Limits::none() };
        let approved = approve(session.propose(&environment, survey), &limits, &Known::default())?;
        self.break_locks().await;
        let locked = session.lock(&Ground::of(&environment), &stop).await?;
        let ran = session.apply(locked, approved, stop).await?.ran;
        let nothing = Report { ends: Vec::new(), stopped: false, restored: BTreeMap::new(), readings: BTreeMap::new() };
        Ok(ran.map_or(nothing, |ran| ran.report))
    }

    /// Whoever holds a lock is dead: there is one controller in a world.
    async fn break_locks(&self) {
        for host in self.endpoints() {
            if let Ok(LeaseAnswer::Taken(held)) = self.fleet.lease(&host, &Request::Look).await {
                drop(self.fleet.lease(&host, &Request::Break { id: held.lease.id }).await);
            }
        }
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        self.hosts.iter().cloned().map(Endpoint::new).collect()
    }

    fn session(&self, observer: Arc<dyn Observer>) -> Session<Fleet> {
        let clock = Arc::clone(&self.clock);
        let identity = Identity {
            who: "somebody@here".to_owned(),
            command: "armilla apply sim".to_owned(),
            typed: Typed::default(),
            process: Process::default(),
            clock: Arc::new(move || {
                let seconds = BEGINNING + clock.fetch_add(1, Ordering::Relaxed);
                jiff::Timestamp::from_second(seconds).unwrap_or_default()
            }),
        };
        let forks = if self.forks == 0 { 10 } else { self.forks };
        // Nobody waits for a host in memory that was lost, or for a person.
        let options =
            Options { forks, reboot_timeout: Duration::ZERO, approval: Approval::Given, ..Options::default() };
        Session::new(Arc::clone(&self.fleet), identity, History::none(), observer).with(options)
    }
}

/// Keeps the events of a run, and stops it when that is enough.
struct Watcher {
    enough: Box<dyn Fn(&Event) -> bool + Send + Sync>,
    stopper: Stopper,
    events: Mutex<Vec<Event>>,
}

impl Observer for Watcher {
    fn notice(&self, notice: Notice<'_>) {
        if let Notice::Event { event, .. } = notice {
            if (self.enough)(event) {
                self.stopper.request();
            }
            lock(&self.events).push(event.clone());
        }
    }
}

/// The report of a plan of which nothing was begun.
fn refused(plan: &Plan, abort: &Abort) -> Report {
    let why = abort.problems().to_string();
    let end = End::Failed(Failure::Refused { why });
    Report { ends: vec![end; plan.stages.len()], stopped: false, restored: BTreeMap::new(), readings: BTreeMap::new() }
}

#[expect(clippy::expect_used, reason = "the name is valid")]
fn name() -> EnvName {
    EnvName::new("sim").expect("a name")
}

fn wrong(why: &InvalidName) -> Diagnostics {
    crate::diag::Diagnostic::from(why.clone()).into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs to the end on this thread alone, so that the same input gives the same order.
///
/// # Panics
/// When no runtime can be made, which needs no more than memory.
#[expect(clippy::expect_used, reason = "a simulator without memory cannot go on")]
fn wait_for<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}
