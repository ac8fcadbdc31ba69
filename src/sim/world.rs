//! A project and a fleet together: everything from texts to a run, without a file or a host.
//!
//! In: a site and roles as texts, and hosts. Out: catalogs, plans and runs. Never: another way through the program than
//! the one users take.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::{Fleet, Host};
use crate::apply::{self, Event, Limits, Permit, Report};
use crate::catalog::{self, Catalog, Desired, Facts, Part, Placement};
use crate::diag::{Diagnostic, Diagnostics, Source};
use crate::inventory::Endpoint;
use crate::lease::{Answer, Holder, LeaseId, Part as OrderPart, Request, SECONDS, Ticket};
use crate::ledger::Applied;
use crate::name::{EnvName, HostName, InvalidName, RoleName, RunId, ServiceName};
use crate::observe;
use crate::plan::{self, Observed, Plan};
use crate::project::{From, Project, RoleTexts};
use crate::role::Role;
use crate::site::{Definition, Site};
use crate::step::{Digest, Probe, Readings, Step};
use crate::transport::{Order, Transport as _};
use crate::yaml::{self, Node};

/// A project and its fleet.
#[derive(Debug, Default)]
pub struct World {
    /// The hosts.
    pub fleet: Arc<Fleet>,
    project: Project,
    hosts: Vec<HostName>,
    endpoints: BTreeMap<HostName, Endpoint>,
    /// How many hosts are worked on at once; 0 means 10.
    forks: usize,
    /// How many plans were done.
    runs: AtomicUsize,
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

    /// Adds an empty host.
    ///
    /// # Errors
    /// When the name is none.
    pub fn host(&mut self, name: &str) -> Result<(), Diagnostics> {
        let host = HostName::new(name).map_err(|why| wrong(&why))?;
        self.endpoints.insert(host.clone(), Endpoint::new(host.clone()));
        self.hosts.push(host);
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
        self.project.roles.insert(RoleName::new(name).map_err(|why| wrong(&why))?, texts);
        Ok(())
    }

    /// Adds a template of the project, or writes it anew.
    pub fn template(&mut self, name: &str, text: &str) {
        self.project.templates.insert(name.to_owned(), Source::new(format!("templates/{name}"), text));
    }

    /// Adds a file of the project, or writes it anew.
    pub fn file(&mut self, name: &str, text: &str) {
        self.project.files.insert(name.to_owned(), text.as_bytes().to_vec());
    }

    /// Writes `site.yml`. The hosts of a service are names with blanks between, or `all`.
    pub fn site(&mut self, text: &str) {
        self.project.site = Some(Source::new("site.yml", text));
    }

    /// What is desired.
    ///
    /// # Errors
    /// Everything that is wrong with the texts.
    pub fn catalog(&self) -> Result<Catalog, Diagnostics> {
        let site =
            self.project.site.as_ref().map(|source| Site::read(&yaml::parse(source)?)).transpose()?.unwrap_or_default();
        let roles = self.roles()?;
        let placement = catalog::place(&site, &roles, &|service| self.members(service))?;
        let variable = |_: &HostName, service: Option<&ServiceName>, name: &str| variable(&placement, service, name);
        let endpoint = |host: &HostName| self.endpoints.get(host).cloned();
        let environment = EnvName::new("sim").map_err(|why| wrong(&why))?;
        catalog::compile(&Desired {
            environment: &environment,
            project: &self.project,
            roles: &roles,
            placement: &placement,
            endpoint: &endpoint,
            variable: &variable,
            facts: &Facts::new(),
            limit: None,
            spare: &self.hosts,
        })
    }

    fn roles(&self) -> Result<BTreeMap<RoleName, Role>, Diagnostics> {
        let read =
            |(name, texts): (&RoleName, &RoleTexts)| Ok((name.clone(), Role::read(name, &yaml::parse(&texts.role)?)?));
        self.project.roles.iter().map(read).collect()
    }

    fn members(&self, service: &Definition) -> Result<Vec<HostName>, Diagnostic> {
        let known = |name: &str| self.hosts.iter().find(|host| host.as_str() == name).cloned();
        if service.hosts == "all" {
            return Ok(self.hosts.clone());
        }
        let found = |name| known(name).ok_or_else(|| Diagnostic::error(format!("there is no host `{name}`")));
        service.hosts.split_whitespace().map(found).collect()
    }

    /// What the hosts answer to everything a catalog asks.
    pub fn observe(&self, catalog: &Catalog) -> Observed {
        let questions = catalog.questions();
        let mut observed = self.ask(questions);
        for (host, more) in self.ask(plan::left(catalog, &observed)) {
            match (observed.get_mut(&host), more) {
                (Some(Ok(readings)), Ok(more)) => readings.extend(more),
                (_, Err(why)) => drop(observed.insert(host, Err(why))),
                _ => {}
            }
        }
        observed
    }

    fn ask(&self, questions: Vec<(Endpoint, Vec<Probe>)>) -> Observed {
        let answers = wait_for(observe::ask(&self.fleet, questions, self.forks(), |_, _| ()));
        answers.into_iter().map(|(host, answer)| (host, answer.map_err(|error| error.to_string()))).collect()
    }

    /// What would change now.
    ///
    /// # Errors
    /// Everything that is wrong with the texts.
    pub fn plan(&self) -> Result<Plan, Diagnostics> {
        self.plan_part(&Part::default())
    }

    /// What would change now of a part.
    ///
    /// # Errors
    /// Everything that is wrong with the texts.
    pub fn plan_part(&self, part: &Part) -> Result<Plan, Diagnostics> {
        let mut catalog = self.catalog()?;
        part.choose(&mut catalog);
        Ok(plan::plan(&catalog, &self.observe(&catalog)))
    }

    /// What would be taken away if there were no site.
    ///
    /// # Panics
    /// Never: the name is one.
    pub fn destroy(&self) -> Plan {
        let environment = EnvName::new("sim").expect("a name");
        let hosts: Vec<Endpoint> = self.endpoints.values().cloned().collect();
        let nothing = Catalog::of_nothing(environment.clone(), hosts.clone());
        plan::destroy(&environment, &hosts, &self.observe(&nothing))
    }

    /// Gives armilla what is there of a part and as it is wanted, as `armilla import` does.
    ///
    /// # Errors
    /// Everything that is wrong with the texts.
    pub fn import(&self, part: &Part) -> Result<plan::Import, Diagnostics> {
        let mut catalog = self.catalog()?;
        part.choose(&mut catalog);
        let observed = self.observe(&catalog);
        // Leases are on the hosts of a plan; here on those of the import.
        let base = plan::plan(&catalog, &observed);
        let permit = self.permit(&Plan { endpoints: catalog.endpoints(), ..base });
        let import = plan::import(&catalog, &observed, &permit.applied);
        for (host, ticket) in &permit.tickets {
            let Some(endpoint) = self.endpoints.get(host) else { continue };
            if let Some(step) = import.saves.get(host) {
                let order = Order { steps: std::slice::from_ref(step), ticket: Some(ticket) };
                drop(wait_for(self.fleet.perform(endpoint, order, &|_| ())));
            }
            drop(wait_for(self.fleet.lease(endpoint, &Request::Release { id: ticket.id.clone() })));
        }
        Ok(import)
    }

    /// What one host answers.
    pub fn look(&self, host: &HostName, probes: &[Probe]) -> Readings {
        let answer = self.endpoints.get(host).map(|endpoint| wait_for(self.fleet.read(endpoint, probes)));
        answer.and_then(Result::ok).unwrap_or_default()
    }

    /// Does a plan.
    pub fn apply(&self, plan: &Plan) -> Run {
        self.apply_until(plan, |_| false)
    }

    /// Does a plan; as soon as `enough` says so of an event, the user stops it. As users do it: under leases, with a journal,
    /// and at the end each host keeps a new ledger.
    pub fn apply_until(&self, plan: &Plan, enough: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Run {
        let (stop, stopped) = watch::channel(false);
        let signals = apply::Signals { stop: stopped, approved: watch::channel(true).1 };
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let tell = move |event: Event| {
            if enough(&event) {
                stop.send_replace(true);
            }
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        };
        let limits = Limits { forks: self.forks(), patience: std::time::Duration::ZERO };
        let permit = self.permit(plan);
        let run = apply::run(plan, Arc::clone(&self.fleet), limits, Some(permit.clone()), signals, Arc::new(tell));
        let report = wait_for(run);
        self.settle(plan, &permit);
        let events = std::mem::take(&mut *events.lock().unwrap_or_else(PoisonError::into_inner));
        Run { events, report }
    }

    /// Leases on all hosts of a plan that answer. Whoever has one is dead: there is one controller in a world.
    fn permit(&self, plan: &Plan) -> Permit {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let name = format!("20231114-{number:06}-simu");
        let run = RunId::new(&name).expect("a name");
        let at = format!("2023-11-14T{:02}:{:02}:{:02}Z", 8 + number / 3600 % 16, number / 60 % 60, number % 60);
        let applied =
            Applied { run, plan: Digest::of(name.as_bytes()), at, who: "somebody@here".to_owned(), revision: None };
        let id = LeaseId(format!("{number:016x}"));
        let ticket = |host: &Endpoint| {
            let fence = self.lease(host, &id, &applied)?;
            let ticket = Ticket {
                environment: plan.environment.clone(),
                id: id.clone(),
                fence,
                intent: None,
                first: 0,
                part: OrderPart::Rest,
            };
            Some((host.name.clone(), ticket))
        };
        let tickets = plan.endpoints.values().filter_map(ticket).collect();
        Permit { applied, tickets, refused: BTreeMap::new() }
    }

    fn lease(&self, host: &Endpoint, id: &LeaseId, applied: &Applied) -> Option<u64> {
        let ask = |request: &Request| wait_for(self.fleet.lease(host, request)).ok();
        if let Answer::Taken(held) = ask(&Request::Look)? {
            ask(&Request::Break { id: held.lease.id })?;
        }
        let holder = Holder {
            environment: EnvName::new("sim").expect("a name"),
            run: applied.run.clone(),
            who: applied.who.clone(),
            command: "armilla apply sim".to_owned(),
            machine: String::new(),
            boot: String::new(),
            pid: 1,
            ticks: 0,
            namespace: String::new(),
            since: applied.at.clone(),
        };
        let acquire = Request::Acquire { id: id.clone(), holder, seconds: SECONDS, instead_of: None };
        if let Answer::Granted(fence) = ask(&acquire)? { Some(fence) } else { None }
    }

    /// Looks again, writes down what is ours now, and gives the leases back. A run that was killed does nothing of it.
    fn settle(&self, done: &Plan, permit: &Permit) {
        let Ok(mut catalog) = self.catalog() else { return };
        Part::default().choose(&mut catalog);
        catalog.hosts.retain(|host, _| done.endpoints.contains_key(host));
        catalog.spare.retain(|host, _| done.endpoints.contains_key(host));
        let observed = self.observe(&catalog);
        let steps: BTreeMap<HostName, Step> = plan::settle(&catalog, &observed, &permit.applied);
        for (host, ticket) in &permit.tickets {
            let Some(endpoint) = done.endpoints.get(host) else { continue };
            if let Some(step) = steps.get(host) {
                let order = Order { steps: std::slice::from_ref(step), ticket: Some(ticket) };
                // What is not written down now is worked in by the next run.
                drop(wait_for(self.fleet.perform(endpoint, order, &|_| ())));
            }
            drop(wait_for(self.fleet.lease(endpoint, &Request::Release { id: ticket.id.clone() })));
        }
    }

    fn forks(&self) -> usize {
        if self.forks == 0 { 10 } else { self.forks }
    }
}

fn wrong(why: &InvalidName) -> Diagnostics {
    Diagnostic::from(why.clone()).into()
}

fn variable(placement: &Placement, service: Option<&ServiceName>, name: &str) -> Option<Node> {
    let placed = placement.services.iter().find(|placed| Some(&placed.definition.name) == service)?;
    placed.definition.vars.iter().find(|(key, _)| key.name == name).map(|(_, node)| node.clone())
}

/// Runs to the end on this thread alone, so that the same input gives the same order.
///
/// # Panics
/// When no runtime can be made, which needs no more than memory.
fn wait_for<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}
