//! From a folder to everything that can be known without a host.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keys::Keyring;
use super::part::Only;
use super::{Global, Selection, environment, program, ui, unlock};
use crate::catalog::{self, Catalog, Desired, Facts, Part, Placement};
use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::inventory::{Become, Endpoint, Host, Inventory, Pattern, Rules, Settings, Texts};
use crate::name::{EnvName, HostName, RoleName, ServiceName};
use crate::project::Project;
use crate::role::Role;
use crate::settings::{EnvironmentSettings, Program, ProjectSettings};
use crate::site::{Definition, Site};
use crate::store;
use crate::vars::{self, Layers, Level, Setting};
use crate::yaml::{Node, Yaml};

/// Everything about an environment that is written down.
pub(super) struct Loaded {
    /// The folder of the project.
    pub root: PathBuf,
    /// Which environment.
    pub environment: EnvName,
    /// What the environment's settings say.
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
    pub part: Part,
    only: Only,
    /// Where lab hosts of the same names are, in a rehearsal.
    pub rehearsal: Option<BTreeMap<HostName, String>>,
    /// Whether to work as root by sudo on every host.
    pub become_root: bool,
    /// What is set for hosts.
    pub variables: BTreeMap<HostName, Layers>,
    /// What is encrypted in the values that roles read.
    opened: unlock::Values,
    /// The keys of its vault files.
    pub keys: Keyring,
    /// What was found wrong in what is written, until what is desired is checked as well.
    found: RefCell<Option<Diagnostics>>,
    /// What is desired as it was checked, where no role reads a fact: nobody needs to work it out twice.
    drawn: RefCell<Option<Catalog>>,
    /// The facts that each role reads, once somebody asked.
    reads: OnceCell<BTreeMap<RoleName, BTreeSet<String>>>,
}

/// The folder of the project.
pub(super) fn root(global: &Global) -> Result<PathBuf, Diagnostic> {
    let given = global.project.clone().map_or_else(std::env::current_dir, Ok);
    let start = given.and_then(|path| path.canonicalize());
    let start = start.map_err(|error| Diagnostic::error(format!("the project folder cannot be opened: {error}")))?;
    store::find_project(&start)
}

/// Reads a project and one of its environments.
///
/// # Errors
/// Everything that is wrong in what a user wrote, in one go.
pub(super) fn load(global: &Global, selection: &Selection) -> Result<Loaded, Diagnostics> {
    let loaded = begin(global, selection)?;
    loaded.check()?;
    Ok(loaded)
}

/// The same, but mistakes that show only in what is desired of a host are left to [`Loaded::check`]: for commands that
/// change nothing, and may log in to hosts meanwhile.
///
/// # Errors
/// Everything else that is wrong. If there is anything, those mistakes are told with it.
pub(super) fn begin(global: &Global, selection: &Selection) -> Result<Loaded, Diagnostics> {
    read(global, selection, Depth::Whole)
}

/// Reads the hosts and the settings of an environment, and neither the site nor a role: they may be broken, or gone.
///
/// # Errors
/// Everything that is wrong in what was read, in one go.
pub(super) fn load_hosts(global: &Global, selection: &Selection) -> Result<Loaded, Diagnostics> {
    let loaded = read(global, selection, Depth::Hosts)?;
    loaded.check()?;
    Ok(loaded)
}

/// How much of a project is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// All of it.
    Whole,
    /// No role, and nothing about where one is.
    Hosts,
}

fn read(global: &Global, selection: &Selection, depth: Depth) -> Result<Loaded, Diagnostics> {
    let root = root(global)?;
    if selection.name().is_empty() {
        let known = store::environments(&root).join(", ");
        let problem = Diagnostic::error("no environment is given: it is the first word after the command");
        return Err(problem.hint(format!("there are: {known}")).into());
    }
    let environment = EnvName::new(&selection.name()).map_err(Diagnostic::from)?;
    let mut project = store::read_project(&root, Some(&environment))?;
    if depth == Depth::Hosts {
        project.roles.clear();
        project.site = None;
    }
    let mut reader = Reader { problems: Diagnostics::new(), project: &project, unusable: BTreeSet::new() };
    let roles = reader.roles();
    let site = reader.site();
    let (project_settings, environment_settings) = (reader.project_settings(), reader.environment_settings());
    let keys = Keyring::new(&selection.keys, &environment_settings, &project_settings, &root);
    let Some(keys) = reader.problems.keep(keys) else { return Err(reader.problems) };
    let settings = reader.settings(&selection.variables, &keys);
    let Some(texts) = reader.texts(&root, &project_settings, &environment_settings, &keys) else {
        return Err(reader.problems);
    };
    let inventory = reader.problems.keep(Inventory::read(environment.clone(), &texts));
    let Some(inventory) = inventory.map(Arc::new) else { return Err(reader.problems) };
    reader.problems.extend(inventory.warnings.clone());
    reader.problems.extend(proxy_commands(inventory.hosts().map(|host| &host.endpoint), &project_settings));
    reader.problems.extend(environment::shared(&root, &environment, &environment_settings, &inventory, &texts));
    let given: Settings = settings.iter().cloned().collect();
    let layers = |host| Layers::of(&inventory, host).with(Level::CommandLine, given.clone());
    let variables = inventory.hosts().map(|host| (host.name().clone(), layers(host))).collect();
    let placement = reader.place(&site, roles.clone(), &inventory);
    if inventory.rules == Rules::Ansible {
        reader.templates(&placement, &roles, &variables);
    }
    let limit = selection.limit.as_deref().map(|limit| reader.limit(limit, &selection.only, &inventory));
    if depth == Depth::Whole {
        reader.unread_settings(&settings, &roles, &site);
    }
    let mut loaded = Loaded {
        root,
        environment,
        settings: environment_settings,
        inventory,
        roles,
        placement,
        limit,
        part: Part::default(),
        only: selection.only.clone(),
        rehearsal: None,
        become_root: false,
        variables,
        project: project.clone(),
        opened: unlock::Values::default(),
        keys,
        found: RefCell::default(),
        drawn: RefCell::default(),
        reads: OnceCell::new(),
    };
    let opened = unlock::Values::open(loaded.values_read().iter().map(Arc::as_ref), &loaded.keys);
    let Some(opened) = reader.problems.keep(opened) else { return Err(reader.problems) };
    loaded.opened = opened;
    if !reader.problems.has_errors() {
        loaded.part = selection.only.part(&loaded, &mut reader.problems);
    }
    // Problems inside roles show even if others were found before.
    let broken = reader.problems.has_errors();
    loaded.found = RefCell::new(Some(reader.problems));
    if broken {
        loaded.check()?;
    }
    Ok(loaded)
}

struct Reader<'a> {
    problems: Diagnostics,
    project: &'a Project,
    /// Roles with mistakes: what they would have brought is not missed twice.
    unusable: BTreeSet<String>,
}

impl Reader<'_> {
    fn roles(&mut self) -> BTreeMap<RoleName, Role> {
        let mut roles = BTreeMap::new();
        for (name, texts) in &self.project.roles {
            let role = crate::yaml::parse(&texts.role).map_err(Into::into).and_then(|node| Role::read(name, &node));
            match self.problems.keep(role) {
                Some(role) => drop(roles.insert(name.clone(), role)),
                None => drop(self.unusable.insert(name.to_string())),
            }
        }
        roles
    }

    fn site(&mut self) -> Site {
        let Some(source) = &self.project.site else { return Site::default() };
        let site = crate::yaml::parse(source).map_err(Into::into).and_then(|node| Site::read(&node));
        self.problems.keep(site).unwrap_or_default()
    }

    fn project_settings(&mut self) -> ProjectSettings {
        let Some(source) = &self.project.settings else { return ProjectSettings::default() };
        let read = crate::yaml::parse(source).map_err(Into::into).and_then(|node| ProjectSettings::read(&node));
        self.problems.keep(read).unwrap_or_default()
    }

    fn environment_settings(&mut self) -> EnvironmentSettings {
        let file = self.project.environment.iter().find(|(path, _)| path == "environment.yml");
        let Some((_, source)) = file else { return EnvironmentSettings::default() };
        let read = crate::yaml::parse(source).map_err(Into::into).and_then(|node| EnvironmentSettings::read(&node));
        self.problems.keep(read).unwrap_or_default()
    }

    /// The files of the environment, and what a program prints if one is named for the hosts.
    fn texts(
        &mut self,
        root: &Path,
        project: &ProjectSettings,
        environment: &EnvironmentSettings,
        keys: &Keyring,
    ) -> Option<Texts> {
        let files = self.problems.keep(unlock::files(&self.project.environment, keys))?;
        let texts: Texts = files.into_iter().map(|(path, source)| (path.into(), source)).collect();
        let texts = texts.configured(self.project.ansible.clone());
        let Some(program) = &environment.inventory_command else { return Some(texts) };
        let output = self.problems.keep(program::run(root, program, project).map_err(Into::into))?;
        Some(texts.printed(Source::new(format!("what `{}` printed", program.argv.join(" ")), output)))
    }

    /// Ansible would render these, armilla does not; only what a role reads is worth a word.
    fn templates(
        &mut self,
        placement: &Placement,
        roles: &BTreeMap<RoleName, Role>,
        variables: &BTreeMap<HostName, Layers>,
    ) {
        for (host, instances) in &placement.hosts {
            let inputs =
                instances.iter().filter_map(|instance| roles.get(&instance.role)).flat_map(|role| &role.inputs);
            let layers = variables.get(host);
            for (input, set) in inputs.filter_map(|input| Some((input, layers?.get(&input.name)?))) {
                if let Some(origin) = template_in(&set.node) {
                    let what = format!("`{}` is a template, and values of an inventory are not rendered", input.name);
                    let hint = "write the value itself here: what is computed from other values belongs into a role";
                    self.problems.push(Diagnostic::warning(what).at(origin).hint(hint));
                }
            }
        }
    }

    /// What `--var` sets, in the order given.
    fn settings(&mut self, given: &[String], keys: &Keyring) -> Vec<(String, Node)> {
        let mut settings = Vec::new();
        for text in given {
            let read = match vars::parse_setting(text) {
                Ok(Setting::One(name, node)) => Ok(vec![(name, node)]),
                Ok(Setting::File(file)) => settings_file(&file, keys),
                Err(problem) => Err(problem.into()),
            };
            settings.extend(self.problems.keep(read).into_iter().flatten());
        }
        settings
    }

    /// Places the services whose roles could be read.
    fn place(&mut self, site: &Site, mut roles: BTreeMap<RoleName, Role>, inventory: &Inventory) -> Placement {
        let usable = |definition: &&Definition| !self.unusable.contains(definition.role.as_str());
        let mut site = Site { services: site.services.iter().filter(usable).cloned().collect(), ..site.clone() };
        for role in roles.values_mut() {
            role.requires.retain(|key| !self.unusable.contains(&key.name));
            role.needs.retain(|key| !self.unusable.contains(&key.name));
        }
        for definition in &mut site.services {
            definition.needs.retain(|(word, _)| !self.unusable.contains(word));
        }
        let hosts = |definition: &Definition| {
            let pattern = Pattern::parse(&definition.hosts).and_then(|pattern| pattern.select(inventory));
            pattern.map_err(|problem| problem.at(&definition.hosts_origin).wide(definition.hosts.chars().count()))
        };
        let placed = catalog::place(&site, &roles, &hosts);
        self.problems.keep(placed).unwrap_or_default()
    }

    fn limit(&mut self, limit: &str, only: &Only, inventory: &Inventory) -> BTreeSet<HostName> {
        let selected = Pattern::parse(limit).and_then(|pattern| pattern.select(inventory));
        match selected {
            Ok(hosts) => hosts.into_iter().collect(),
            Err(mut problem) => {
                problem.what = format!("--limit: {}", problem.what);
                self.problems.push(only.weighed(problem));
                BTreeSet::new()
            }
        }
    }

    /// A setting that no role reads is a typing error.
    fn unread_settings(&mut self, settings: &[(String, Node)], roles: &BTreeMap<RoleName, Role>, site: &Site) {
        let known: BTreeSet<&str> =
            roles.values().flat_map(|role| &role.inputs).map(|input| input.name.as_str()).collect();
        for (name, _) in settings.iter().filter(|(name, _)| !known.contains(name.as_str())) {
            let hint = crate::name::did_you_mean(name, known.iter().copied());
            self.problems.push(Diagnostic::error(format!("--var {name}: no role has such an input")).maybe_hint(hint));
        }
        for definition in &site.services {
            let Some(role) = roles.get(&definition.role) else { continue };
            for (key, _) in &definition.vars {
                if !role.inputs.iter().any(|input| input.name == key.name) {
                    let names: Vec<&str> = role.inputs.iter().map(|input| input.name.as_str()).collect();
                    let problem = crate::yaml::unknown_key("", key, &names);
                    self.problems.push(Diagnostic {
                        what: format!("the role `{}` has no input `{}`", role.name, key.name),
                        ..problem
                    });
                }
            }
        }
    }
}

/// The programs that make connections to these hosts and are not allowed: they must be, like any other.
pub(super) fn proxy_commands<'a>(
    endpoints: impl Iterator<Item = &'a Endpoint>,
    settings: &ProjectSettings,
) -> Diagnostics {
    let (mut problems, mut seen) = (Diagnostics::new(), BTreeSet::new());
    let arguments = endpoints.flat_map(|endpoint| &endpoint.ssh);
    for proxy in arguments.filter_map(|arguments| arguments.proxy_command.as_ref()) {
        if seen.insert((&proxy.origin, &proxy.argv)) {
            let program = Program { argv: proxy.argv.clone(), origin: proxy.origin.clone() };
            problems.extend(settings.allow(&program).map_or_else(Into::into, |()| Diagnostics::new()));
        }
    }
    problems
}

/// Where a value holds what Ansible would render, if it does.
fn template_in(node: &Node) -> Option<&Origin> {
    match &node.value {
        Yaml::Text(text) => (text.contains("{{") || text.contains("{%")).then_some(&node.origin),
        Yaml::List(items) => items.iter().find_map(template_in),
        Yaml::Map(entries) => entries.iter().find_map(|(_, node)| template_in(node)),
        _ => None,
    }
}

/// As a shell would: relative to where the command was typed.
fn settings_file(file: &camino::Utf8Path, keys: &Keyring) -> Result<Vec<(String, Node)>, Diagnostics> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Diagnostic::error(format!("--var @{file}: the file cannot be read: {error}")))
        .map_err(|problem| {
            problem.hint("after `@` comes a path from where you are, to a file with `NAME: VALUE` lines")
        })?;
    let settings = vars::read_file(&unlock::file(&Source::new(file.as_str(), text), keys)?)?;
    Ok(settings.iter().map(|(name, node)| (name.to_string(), Node::clone(node))).collect())
}

impl Loaded {
    /// The hosts that have a role and are within the limit, and the way to each.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        let wanted = self.placement.hosts.keys().filter(|host| self.limit.as_ref().is_none_or(|l| l.contains(*host)));
        wanted.filter_map(|host| self.endpoint(host)).collect()
    }

    /// Every host within the limit, with a role or without, and the way to each.
    ///
    /// # Errors
    /// In a rehearsal, when there is no lab host of such a name: the real one is never meant then.
    pub(super) fn machines(&self) -> Result<Vec<Endpoint>, Diagnostic> {
        let within = |host: &&HostName| self.limit.as_ref().is_none_or(|limit| limit.contains(*host));
        let hosts: Vec<&HostName> = self.inventory.hosts().map(Host::name).filter(within).collect();
        let in_lab = |host: &HostName| self.rehearsal.as_ref().is_none_or(|lab| lab.contains_key(host));
        if let Some(missing) = hosts.iter().find(|host| !in_lab(host)) {
            let problem = Diagnostic::error(format!("--lab: there is no lab host {missing}"));
            return Err(problem.hint(format!("make it: armilla lab up --env {}", self.environment)));
        }
        Ok(hosts.into_iter().filter_map(|host| self.endpoint(host)).collect())
    }

    /// How many hosts that have a role are not within the limit.
    pub(super) fn hosts_left_out(&self) -> usize {
        let out = |host: &&HostName| self.limit.as_ref().is_some_and(|limit| !limit.contains(*host));
        self.placement.hosts.keys().filter(out).count()
    }

    /// The way to a host; in a rehearsal to the lab host of its name.
    pub(super) fn endpoint(&self, host: &HostName) -> Option<Endpoint> {
        let real = self.inventory.host(host.as_str())?.endpoint.clone();
        match &self.rehearsal {
            None => Some(with_become(real, self.become_root)),
            Some(addresses) => {
                let address = addresses.get(host).cloned().unwrap_or_else(|| host.to_string());
                Some(Endpoint { address, ..Endpoint::new(host.clone()) })
            }
        }
    }

    /// Works out what is desired of every host with facts as they may be, to find what is wrong in it. Once is enough.
    ///
    /// # Errors
    /// Everything that is wrong in what a user wrote, in one go.
    pub(super) fn check(&self) -> Result<(), Diagnostics> {
        let Some(mut problems) = self.found.take() else { return Ok(()) };
        let drawn = problems.keep(self.catalog(&self.example_facts(), &BTreeSet::new()));
        self.drawn.replace(drawn.filter(|_| self.facts_needed().values().all(BTreeSet::is_empty)));
        if !problems.has_errors() && !problems.is_empty() {
            ui::problems(&problems);
        }
        problems.result(())
    }

    /// The facts that must be asked of each host: those that its roles read.
    pub(super) fn facts_needed(&self) -> BTreeMap<HostName, BTreeSet<String>> {
        let read = |(name, role): (&RoleName, &Role)| (name.clone(), catalog::facts_read(role, &self.project));
        let by_role = self.reads.get_or_init(|| self.roles.iter().map(read).collect());
        let hosts = self.placement.hosts.iter().map(|(host, instances)| {
            let reads = instances.iter().filter_map(|instance| by_role.get(&instance.role)).flatten().cloned();
            (host.clone(), reads.collect())
        });
        hosts.collect()
    }

    /// What facts look like, for checks without a host.
    pub(super) fn example_facts(&self) -> Facts {
        let all: BTreeMap<String, serde_json::Value> =
            crate::fact::FACTS.iter().map(|fact| (fact.name.to_owned(), (fact.example)())).collect();
        self.placement.hosts.keys().map(|host| (host.clone(), all.clone())).collect()
    }

    /// Everything that is desired of the hosts that are not away, given the facts.
    ///
    /// # Errors
    /// What is wrong after templating.
    pub(super) fn catalog(&self, facts: &Facts, away: &BTreeSet<HostName>) -> Result<Catalog, Diagnostics> {
        let here =
            |host: &&HostName| !away.contains(*host) && self.limit.as_ref().is_none_or(|limit| limit.contains(*host));
        let limit: BTreeSet<HostName> = self.placement.hosts.keys().filter(here).cloned().collect();
        let drawn = self.drawn.take().filter(|_| facts.is_empty() && !self.become_root && self.rehearsal.is_none());
        let spare: BTreeSet<HostName> = self.spare().into_iter().collect();
        let drawn = drawn.filter(|drawn| drawn.hosts.keys().eq(&limit) && drawn.spare.keys().eq(&spare));
        drawn.map_or_else(|| self.desired(facts, &limit, catalog::compile), Ok)
    }

    /// Works with everything that a catalog of these hosts is made of.
    pub(super) fn desired<T>(
        &self,
        facts: &Facts,
        limit: &BTreeSet<HostName>,
        work: impl FnOnce(&Desired<'_>) -> T,
    ) -> T {
        let variable = |host: &HostName, service: Option<&ServiceName>, name: &str| self.variable(host, service, name);
        work(&Desired {
            environment: &self.environment,
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
    pub(super) fn concerned(&self) -> Vec<Endpoint> {
        let mut hosts = self.endpoints();
        hosts.extend(self.spare().iter().filter_map(|host| self.endpoint(host)));
        hosts
    }

    /// The hosts within the limit that have no role. In a rehearsal, those that have a lab host.
    fn spare(&self) -> Vec<HostName> {
        let within = |host: &&HostName| self.limit.as_ref().is_none_or(|limit| limit.contains(*host));
        let there = |host: &&HostName| self.rehearsal.as_ref().is_none_or(|known| known.contains_key(*host));
        let all = self.inventory.hosts().map(crate::inventory::Host::name);
        all.filter(|host| !self.placement.hosts.contains_key(*host)).filter(within).filter(there).cloned().collect()
    }

    /// The part of a catalog that was asked for.
    ///
    /// # Errors
    /// What was asked for and is not there.
    pub(super) fn chosen(&self, mut catalog: Catalog) -> Result<Catalog, Diagnostics> {
        let mut problems = Diagnostics::new();
        let missing = self.part.choose(&mut catalog);
        missing.into_iter().map(|problem| self.only.weighed(problem)).for_each(|problem| problems.push(problem));
        if !problems.has_errors() && !problems.is_empty() {
            ui::problems(&problems);
        }
        problems.result(catalog)
    }

    /// The same where some hosts are away: what is not there may be on those.
    pub(super) fn chosen_of_some(&self, mut catalog: Catalog) -> Catalog {
        self.part.choose(&mut catalog);
        catalog
    }

    /// The value of every input of every role on every host, each once, however many share it.
    fn values_read(&self) -> Vec<Arc<Node>> {
        let mut known = BTreeSet::new();
        let placed = self.placement.hosts.iter().flat_map(|(host, instances)| instances.iter().map(move |i| (host, i)));
        let read = placed.flat_map(|(host, instance)| {
            let inputs = self.roles.get(&instance.role).into_iter().flat_map(|role| &role.inputs);
            inputs.filter_map(move |input| self.written(host, instance.service.as_ref(), &input.name))
        });
        read.filter(|node| known.insert(Arc::as_ptr(node))).collect()
    }

    fn variable(&self, host: &HostName, service: Option<&ServiceName>, name: &str) -> Option<Node> {
        self.written(host, service, name).map(|node| self.opened.decrypt(&node))
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

/// Works as root on every host, if that was asked for.
fn with_become(mut endpoint: Endpoint, become_root: bool) -> Endpoint {
    if become_root {
        endpoint.become_user = Become::Root;
    }
    endpoint
}
