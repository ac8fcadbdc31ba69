//! An environment: everything that is known of it without a host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::secrets::Values;
use super::{Adoption, Encrypted, Keyring, NoMatch, ProjectIdentity, Request, blocking};
use crate::catalog::{self, Catalog, Data, Desired, Facts, Instance, Placement, ResourceSelection};
use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::inventory::{Become, Endpoint, Host, Inventory, Rules};
use crate::name::{EnvName, HostName, RoleName, ServiceName, Tag};
use crate::project::Project;
use crate::role::{Input, Role};
use crate::settings::EnvironmentSettings;
use crate::vars::Layers;
use crate::yaml::Node;

/// An environment that was read and checked. It never changes, and tasks share it.
#[non_exhaustive]
pub struct Environment {
    /// The project folder.
    pub root: PathBuf,
    /// Its name.
    pub name: EnvName,
    /// Whose its resources are.
    pub identity: ProjectIdentity,
    /// Its settings.
    pub settings: EnvironmentSettings,
    /// Its texts.
    pub project: Project,
    /// Its hosts and groups.
    pub inventory: Arc<Inventory>,
    /// The roles that could be read.
    pub roles: BTreeMap<RoleName, Role>,
    /// Which roles are on which hosts.
    pub placement: Placement,
    /// Only these hosts, if a limit was given.
    pub limit: Option<BTreeSet<HostName>>,
    /// Which of the resources.
    pub part: ResourceSelection,
    /// What becomes of the content of directories that no role wants any more.
    pub data: Data,
    /// Where lab hosts of the same names are, in a rehearsal.
    pub rehearsal: Option<BTreeMap<HostName, String>>,
    /// What is set for hosts.
    pub variables: BTreeMap<HostName, Layers>,
    /// The keys of its vault files.
    pub keys: Arc<Keyring>,
    /// What is worth a look, although it stops nothing.
    pub warnings: Diagnostics,
    pub(super) no_match: NoMatch,
    pub(super) become_user: Option<Become>,
    /// What is encrypted in the values that roles read.
    pub(super) decrypted: Values,
    /// The facts that each role reads.
    pub(super) facts_read: BTreeMap<RoleName, BTreeSet<String>>,
    /// What is desired, where no role reads a fact: it was worked out for the check.
    pub(super) example: Option<Catalog>,
}

/// An environment whose hosts and settings are known. What is desired on each host is not checked yet.
pub struct Unchecked {
    environment: Environment,
    problems: Diagnostics,
    /// Where the variables of the request are written.
    ours: Vec<Arc<Source>>,
}

/// The part of a catalog that was selected.
pub struct Selected {
    /// The catalog without the rest.
    pub catalog: Catalog,
    /// Selectors that match nothing, where that is no error.
    pub warnings: Diagnostics,
}

impl Unchecked {
    pub(super) fn new(environment: Environment, problems: Diagnostics, ours: Vec<Arc<Source>>) -> Self {
        Self { environment, problems, ours }
    }

    /// Selects resources and checks everything, where there is no key.
    ///
    /// # Errors
    /// Everything that is wrong, and each value that is encrypted.
    pub(super) fn check_without_keys(mut self, request: &Request) -> Result<Environment, Diagnostics> {
        for (_, origin) in self.environment.values_read().iter().flat_map(|node| node.encrypted()) {
            self.problems.push(Encrypted::Value(origin.clone()).without_key());
        }
        self.templates();
        self.select(request);
        self.checked()
    }

    /// Decrypts the values that roles read, and selects resources.
    pub(super) async fn decrypt(mut self, request: &Request) -> Result<Self, Diagnostics> {
        let read = self.environment.values_read();
        let decrypted = Values::open(read.iter().map(Arc::as_ref), &self.environment.keys).await;
        let Some(decrypted) = self.problems.keep(decrypted) else { return Err(self.problems) };
        self.environment.decrypted = decrypted;
        self.templates();
        self.select(request);
        if self.problems.has_errors() {
            // Problems inside roles show even if others were found before.
            return Err(self.check().await.err().unwrap_or_default());
        }
        Ok(self)
    }

    /// Refuses values that Ansible would render: a role would get the text of the template. What a request or `site.yml` sets
    /// is none of Ansible's, and what no role reads does no harm.
    fn templates(&mut self) {
        if self.environment.inventory.rules != Rules::Ansible {
            return;
        }
        for (name, node) in self.environment.inventory_values() {
            for origin in self.environment.decrypted.templates(&node) {
                if !self.ours.iter().any(|source| Arc::ptr_eq(source, &origin.source)) {
                    self.problems.push(template(&name, origin));
                }
            }
        }
    }

    fn select(&mut self, request: &Request) {
        if !self.problems.has_errors() {
            let (known, problems) = (&self.environment, &mut self.problems);
            let part = request.selector.part(&known.placement, &known.tags(), problems);
            self.environment.part = part;
        }
    }

    /// What is known already: hosts, settings, and what was asked for.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Works out what is desired of every host with facts as they may be, to find what is wrong in it.
    ///
    /// # Errors
    /// Everything that is wrong in what a user wrote, in one go.
    pub async fn check(self) -> Result<Environment, Diagnostics> {
        blocking(move || self.checked()).await
    }

    fn checked(self) -> Result<Environment, Diagnostics> {
        let Self { mut environment, mut problems, .. } = self;
        let read = |(name, role): (&RoleName, &Role)| (name.clone(), catalog::facts_read(role, &environment.project));
        environment.facts_read = environment.roles.iter().map(read).collect();
        let example = problems.keep(environment.catalog(&environment.example_facts(), &BTreeSet::new()));
        if problems.has_errors() {
            return Err(problems);
        }
        let facts = environment.facts_needed().into_values().flatten().next();
        environment.example = example.filter(|_| facts.is_none());
        environment.warnings = problems;
        Ok(environment)
    }
}

impl Environment {
    /// The hosts that have a role and are within the limit, and the way to each.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let wanted = self.placement.hosts.keys().filter(|host| self.limit.as_ref().is_none_or(|l| l.contains(*host)));
        wanted.filter_map(|host| self.endpoint(host)).collect()
    }

    /// Every host within the limit, with a role or without, and the way to each.
    ///
    /// # Errors
    /// In a rehearsal, when there is no lab host of such a name: the real one is never meant then.
    pub fn machines(&self) -> Result<Vec<Endpoint>, Diagnostic> {
        let within = |host: &&HostName| self.limit.as_ref().is_none_or(|limit| limit.contains(*host));
        let hosts: Vec<&HostName> = self.inventory.hosts().map(Host::name).filter(within).collect();
        let in_lab = |host: &HostName| self.rehearsal.as_ref().is_none_or(|lab| lab.contains_key(host));
        if let Some(missing) = hosts.iter().find(|host| !in_lab(host)) {
            let problem = Diagnostic::error(format!("--lab: unknown lab host {missing}"));
            return Err(problem.hint(format!("to create it: armilla lab up --env {}", self.name)));
        }
        Ok(hosts.into_iter().filter_map(|host| self.endpoint(host)).collect())
    }

    /// How many hosts that have a role are not within the limit.
    pub fn hosts_left_out(&self) -> usize {
        let out = |host: &&HostName| self.limit.as_ref().is_some_and(|limit| !limit.contains(*host));
        self.placement.hosts.keys().filter(out).count()
    }

    /// The way to a host. In a rehearsal it leads to the lab host of its name, and never to the real one.
    pub fn endpoint(&self, host: &HostName) -> Option<Endpoint> {
        let real = &self.inventory.host(host.as_str())?.endpoint;
        // Lab hosts are logged in to as root, where it changes nothing, or as whom the command line names.
        let become_user = self.become_user.unwrap_or(real.become_user);
        match &self.rehearsal {
            None => Some(Endpoint { become_user, ..real.clone() }),
            Some(lab) => Some(Endpoint { address: lab.get(host)?.clone(), become_user, ..Endpoint::new(host.clone()) }),
        }
    }

    /// In a rehearsal: refuses hosts with a role, and within the limit, that have no lab host.
    ///
    /// # Errors
    /// Which.
    pub fn check_rehearsal(&self) -> Result<(), Diagnostic> {
        let Some(lab) = &self.rehearsal else { return Ok(()) };
        let within = |host: &&HostName| self.limit.as_ref().is_none_or(|limit| limit.contains(*host));
        let wanted = self.placement.hosts.keys().filter(within);
        let missing: Vec<&str> = wanted.filter(|host| !lab.contains_key(*host)).map(HostName::as_str).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (are, plural) = if missing.len() == 1 { ("is", "") } else { ("are", "s") };
        let text = format!("--lab: there {are} no lab host{plural} {}", missing.join(", "));
        Err(Diagnostic::error(text).hint(format!("to create them: armilla lab up --env {}", self.name)))
    }

    /// Whether people depend on what is worked on. A rehearsal works on lab hosts.
    pub fn is_production(&self) -> bool {
        self.settings.production && self.rehearsal.is_none()
    }

    /// The same, limited to one host.
    #[must_use]
    pub fn limited_to(self, host: HostName) -> Self {
        Self { limit: Some([host].into()), ..self }
    }

    /// The same where it was said whether ledgers may be adopted.
    #[must_use]
    pub fn adopting(self, adoption: Adoption) -> Self {
        Self { identity: self.identity.adopting(adoption), ..self }
    }

    /// All tags of what is placed in it.
    pub fn tags(&self) -> BTreeSet<Tag> {
        let placed = self.placement.hosts.values().flatten().map(|instance| &instance.role).collect::<BTreeSet<_>>();
        let roles = placed.into_iter().filter_map(|name| self.roles.get(name));
        let of_roles = roles.flat_map(|role| role.tags.iter().chain(role.resources.iter().flat_map(|item| &item.tags)));
        let of_services = self.placement.services.iter().flat_map(|placed| &placed.definition.tags);
        of_roles.chain(of_services).cloned().collect()
    }

    /// The facts that must be asked of each host: those that its roles read.
    pub fn facts_needed(&self) -> BTreeMap<HostName, BTreeSet<String>> {
        let hosts = self.placement.hosts.iter().map(|(host, instances)| {
            let reads = instances.iter().filter_map(|instance| self.facts_read.get(&instance.role)).flatten().cloned();
            (host.clone(), reads.collect())
        });
        hosts.collect()
    }

    /// What facts look like, for checks without a host.
    pub fn example_facts(&self) -> Facts {
        let all: BTreeMap<String, serde_json::Value> =
            crate::fact::FACTS.iter().map(|fact| (fact.name.to_owned(), (fact.example)())).collect();
        self.placement.hosts.keys().map(|host| (host.clone(), all.clone())).collect()
    }

    /// Everything that is desired of the hosts, given the facts; not of those that are unreachable.
    ///
    /// # Errors
    /// What is wrong after templating.
    pub fn catalog(&self, facts: &Facts, unreachable: &BTreeSet<HostName>) -> Result<Catalog, Diagnostics> {
        let here = |host: &&HostName| {
            !unreachable.contains(*host) && self.limit.as_ref().is_none_or(|limit| limit.contains(*host))
        };
        let limit: BTreeSet<HostName> = self.placement.hosts.keys().filter(here).cloned().collect();
        let spare: BTreeSet<HostName> = self.spare().into_iter().collect();
        let same = |known: &&Catalog| known.hosts.keys().eq(&limit) && known.spare.keys().eq(&spare);
        let catalog = match self.example.as_ref().filter(|_| facts.is_empty()).filter(same) {
            Some(known) => known.clone(),
            None => self.desired(facts, &limit, catalog::compile)?,
        };
        Ok(Catalog { data: self.data, ..catalog })
    }

    /// Works with everything that a catalog of these hosts is made of.
    pub fn desired<T>(&self, facts: &Facts, limit: &BTreeSet<HostName>, work: impl FnOnce(&Desired<'_>) -> T) -> T {
        let variable = |host: &HostName, service: Option<&ServiceName>, name: &str| self.variable(host, service, name);
        work(&Desired {
            owner: &self.identity.owner(),
            project: &self.project,
            roles: &self.roles,
            placement: &self.placement,
            endpoint: &|host| self.endpoint(host),
            variable: &variable,
            facts,
            limit: Some(limit),
            spare: &self.spare(),
        })
    }

    /// The hosts that may be changed: those that have a role, and those that may have something left of one.
    pub fn concerned(&self) -> Vec<Endpoint> {
        let mut hosts = self.endpoints();
        hosts.extend(self.spare().iter().filter_map(|host| self.endpoint(host)));
        hosts
    }

    /// The hosts within the limit that have no role. In a rehearsal, those that have a lab host.
    pub fn spare(&self) -> Vec<HostName> {
        let within = |host: &&HostName| self.limit.as_ref().is_none_or(|limit| limit.contains(*host));
        let there = |host: &&HostName| self.rehearsal.as_ref().is_none_or(|known| known.contains_key(*host));
        let all = self.inventory.hosts().map(Host::name);
        all.filter(|host| !self.placement.hosts.contains_key(*host)).filter(within).filter(there).cloned().collect()
    }

    /// The part of a catalog that was selected.
    ///
    /// # Errors
    /// What was asked for and is not there.
    pub fn chosen(&self, mut catalog: Catalog) -> Result<Selected, Diagnostics> {
        let mut warnings = Diagnostics::new();
        let missing = self.part.choose(&mut catalog);
        missing.into_iter().map(|problem| self.no_match.weigh(problem)).for_each(|problem| warnings.push(problem));
        if warnings.has_errors() { Err(warnings) } else { Ok(Selected { catalog, warnings }) }
    }

    /// The same where some hosts are unreachable: what is not there may be on those.
    pub fn chosen_of_some(&self, mut catalog: Catalog) -> Catalog {
        self.part.choose(&mut catalog);
        catalog
    }

    /// What the inventory or the request sets for inputs, with their names, each value once.
    fn inventory_values(&self) -> Vec<(String, Arc<Node>)> {
        let mut known = BTreeSet::new();
        let set = |(host, _, input): (&HostName, &Instance, &Input)| {
            let variable = self.variables.get(host)?.get(&input.name)?;
            Some((input.name.clone(), variable.node))
        };
        self.inputs().filter_map(set).filter(|(_, node)| known.insert(Arc::as_ptr(node))).collect()
    }

    /// The value of every input, each once, however many share it.
    fn values_read(&self) -> Vec<Arc<Node>> {
        let mut known = BTreeSet::new();
        let value = |(host, instance, input): (&HostName, &Instance, &Input)| {
            self.written(host, instance.service.as_ref(), &input.name)
        };
        self.inputs().filter_map(value).filter(|node| known.insert(Arc::as_ptr(node))).collect()
    }

    /// Every input of every role on every host.
    fn inputs(&self) -> impl Iterator<Item = (&HostName, &Instance, &Input)> {
        let placed = self.placement.hosts.iter().flat_map(|(host, instances)| instances.iter().map(move |i| (host, i)));
        placed.flat_map(|(host, instance)| {
            let inputs = self.roles.get(&instance.role).into_iter().flat_map(|role| &role.inputs);
            inputs.map(move |input| (host, instance, input))
        })
    }

    fn variable(&self, host: &HostName, service: Option<&ServiceName>, name: &str) -> Option<Node> {
        self.written(host, service, name).map(|node| self.decrypted.decrypt(&node))
    }

    fn written(&self, host: &HostName, service: Option<&ServiceName>, name: &str) -> Option<Arc<Node>> {
        let of_service = || {
            service.and_then(|service| {
                let placed = self.placement.services.iter().find(|placed| placed.definition.name == *service)?;
                placed.definition.vars.iter().find(|(key, _)| key.name == name).map(|(_, node)| Arc::new(node.clone()))
            })
        };
        self.variables.get(host).and_then(|layers| layers.get(name)).map(|set| set.node).or_else(of_service)
    }
}

fn template(name: &str, origin: &Origin) -> Diagnostic {
    let what = format!("the value of `{name}` is a template, and values of an inventory are not rendered");
    let hint = "write the value itself, or compute it as the `default` of an input in a role; in YAML, `!unsafe` before a text marks it as plain text";
    Diagnostic::error(what).at(origin).hint(hint)
}
