//! A project and a fleet together: everything from texts to a run, without a file or a host.
//!
//! In: a site and roles as texts, and hosts. Out: catalogs, plans and runs. Never: another way through the program than
//! the one users take.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::{Fleet, Host};
use crate::apply::{self, Event, Limits, Report};
use crate::catalog::{self, Catalog, Desired, Facts, Part, Placement};
use crate::diag::{Diagnostic, Diagnostics, Source};
use crate::inventory::Endpoint;
use crate::name::{EnvName, HostName, InvalidName, RoleName, ServiceName};
use crate::observe;
use crate::plan::{self, Observed, Plan};
use crate::project::{From, Project, RoleTexts};
use crate::role::Role;
use crate::site::{Definition, Site};
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
        let answers = wait_for(observe::ask(&self.fleet, questions, self.forks(), |_, _| ()));
        answers.into_iter().map(|(host, answer)| (host, answer.map_err(|error| error.to_string()))).collect()
    }

    /// What would change now.
    ///
    /// # Errors
    /// Everything that is wrong with the texts.
    pub fn plan(&self) -> Result<Plan, Diagnostics> {
        let mut catalog = self.catalog()?;
        Part::default().choose(&mut catalog);
        Ok(plan::plan(&catalog, &self.observe(&catalog)))
    }

    /// Does a plan.
    pub fn apply(&self, plan: &Plan) -> Run {
        self.apply_until(plan, |_| false)
    }

    /// Does a plan; as soon as `enough` says so of an event, the user stops it.
    pub fn apply_until(&self, plan: &Plan, enough: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Run {
        let (stop, stopped) = watch::channel(false);
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let tell = move |event: Event| {
            if enough(&event) {
                stop.send_replace(true);
            }
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        };
        let limits = Limits { forks: self.forks(), patience: std::time::Duration::ZERO };
        let report = wait_for(apply::run(plan, Arc::clone(&self.fleet), limits, None, stopped, Arc::new(tell)));
        let events = std::mem::take(&mut *events.lock().unwrap_or_else(PoisonError::into_inner));
        Run { events, report }
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
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}
