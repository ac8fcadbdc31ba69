//! From the texts of a project to typed values, with every problem on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::{
    Addresses, Depth, Environment, Keyring, NoMatch, Programs, ProjectIdentity, Request, SETTINGS, Unchecked, blocking,
    neighbours, secrets,
};
use crate::catalog::{self, Placement};
use crate::diag::{Diagnostic, Diagnostics, Source};
use crate::inventory::{self, Endpoint, Host, Inventory, Pattern, Texts};
use crate::name::{HostName, RoleName};
use crate::project::Project;
use crate::role::Role;
use crate::settings::{EnvironmentSettings, Program, ProjectSettings};
use crate::site::{Definition, Site};
use crate::vars::{self, Layers, Level, Setting};
use crate::yaml::Node;

/// The settings of the project and of the environment.
pub(super) fn settings(project: &Project, problems: &mut Diagnostics) -> (ProjectSettings, EnvironmentSettings) {
    let parse = |source| crate::yaml::parse(source).map_err(Diagnostics::from);
    let own = project.settings.as_ref();
    let own = own.and_then(|source| problems.keep(parse(source).and_then(|node| ProjectSettings::read(&node))));
    let file = project.environment.iter().find(|(path, _)| path == SETTINGS);
    let environment =
        file.and_then(|(_, source)| problems.keep(parse(source).and_then(|node| EnvironmentSettings::read(&node))));
    (own.unwrap_or_default(), environment.unwrap_or_default())
}

/// A project whose files were parsed.
pub(super) struct Reader {
    pub(super) problems: Diagnostics,
    pub(super) project_settings: ProjectSettings,
    pub(super) environment_settings: EnvironmentSettings,
    project: Project,
    roles: BTreeMap<RoleName, Role>,
    site: Site,
    /// Roles with mistakes: what they would have brought is not missed twice.
    unusable: BTreeSet<String>,
}

/// The texts of an environment, and the folder of the project, if it has one.
pub(super) struct Files<'a> {
    pub(super) root: Option<PathBuf>,
    pub(super) texts: &'a Texts,
}

impl Reader {
    /// Parses what is not encrypted.
    pub(super) fn new(mut project: Project, request: &Request) -> Self {
        if request.depth == Depth::Hosts {
            project.roles.clear();
            project.site = None;
        }
        project.environment.retain(|(path, _)| !request.overlay.contains_key(path));
        project.environment.extend(request.overlay.iter().map(|(path, source)| (path.clone(), Arc::clone(source))));
        let mut problems = Diagnostics::new();
        let mut unusable = BTreeSet::new();
        let roles = roles(&project, &mut unusable, &mut problems);
        let site = project.site.as_ref().and_then(|source| {
            problems.keep(crate::yaml::parse(source).map_err(Into::into).and_then(|node| Site::read(&node)))
        });
        let (project_settings, environment_settings) = settings(&project, &mut problems);
        let site = site.unwrap_or_default();
        Self { problems, project_settings, environment_settings, project, roles, site, unusable }
    }

    /// What the request sets, in the order given.
    pub(super) async fn set_variables(&mut self, given: &[Setting], keys: &Keyring) -> Vec<(String, Node)> {
        let mut settings = Vec::new();
        for setting in given {
            let read = match setting {
                Setting::One(name, node) => Ok(vec![(name.clone(), node.clone())]),
                Setting::File(file) => settings_file(file, keys).await,
            };
            settings.extend(self.problems.keep(read).into_iter().flatten());
        }
        settings
    }

    /// The files of the environment as they are.
    pub(super) fn plain_texts(&self) -> Texts {
        let files = self.project.environment.iter();
        let texts: Texts = files.map(|(path, source)| (path.into(), Arc::clone(source))).collect();
        texts.configured(self.project.ansible.clone())
    }

    /// The files of the environment, and what a program prints if one is named for the hosts.
    pub(super) async fn texts(&mut self, keys: &Arc<Keyring>, programs: &Programs) -> Option<Texts> {
        let files = self.problems.keep(secrets::files(&self.project.environment, keys).await)?;
        let texts: Texts = files.into_iter().map(|(path, source)| (path.into(), source)).collect();
        let texts = texts.configured(self.project.ansible.clone());
        let Some(program) = &self.environment_settings.inventory_command else { return Some(texts) };
        let output = self.problems.keep(programs.run(program).await.map_err(Into::into))?;
        Some(texts.printed(Source::new(format!("the output of `{}`", program.argv.join(" ")), output)))
    }

    /// The environment, but for what is encrypted in single values. Its folder is none in a project that is only texts.
    ///
    /// # Errors
    /// Everything that is wrong, if it keeps the inventory from being read.
    pub(super) fn finish(
        mut self,
        files: Files<'_>,
        set: Vec<(String, Node)>,
        request: &Request,
        keys: Arc<Keyring>,
    ) -> Result<Unchecked, Diagnostics> {
        let Files { root, texts } = files;
        let inventory = self.problems.keep(Inventory::read(request.environment.clone(), texts));
        let Some(inventory) = inventory.map(Arc::new) else { return Err(self.problems) };
        self.problems.extend(inventory.warnings.clone());
        let endpoints = inventory.hosts().map(|host| &host.endpoint);
        self.problems.extend(proxy_commands(endpoints, &self.project_settings));
        if let Some(root) = &root {
            self.problems.extend(neighbours::shared(root, &self.environment_settings, &inventory, texts));
        }
        if request.depth == Depth::Whole {
            self.unread_settings(&set);
        }
        let ours: Vec<Arc<Source>> = set.iter().map(|(_, node)| Arc::clone(&node.origin.source)).collect();
        let given: inventory::Settings = set.into_iter().collect();
        let layers = |host| Layers::of(&inventory, host).with(Level::CommandLine, given.clone());
        let variables = inventory.hosts().map(|host| (host.name().clone(), layers(host))).collect();
        let placement = self.place(&inventory);
        let limit = request.limit.as_deref().map(|limit| self.limit(limit, request.selector.no_match, &inventory));
        let identity = ProjectIdentity::of(root.as_deref(), request.environment.clone(), &self.project_settings);
        let environment = Environment {
            identity,
            root: root.unwrap_or_default(),
            name: request.environment.clone(),
            settings: self.environment_settings,
            project: self.project,
            roles: self.roles,
            placement,
            limit,
            part: catalog::ResourceSelection::default(),
            data: request.data,
            rehearsal: rehearsal(&request.addresses, &inventory),
            variables,
            inventory,
            keys,
            warnings: Diagnostics::new(),
            no_match: request.selector.no_match,
            become_user: request.become_user,
            decrypted: secrets::Values::default(),
            facts_read: BTreeMap::new(),
            example: None,
        };
        Ok(Unchecked::new(environment, self.problems, ours))
    }

    /// Places the services whose roles could be read.
    fn place(&mut self, inventory: &Inventory) -> Placement {
        let usable = |definition: &&Definition| !self.unusable.contains(definition.role.as_str());
        let mut site =
            Site { services: self.site.services.iter().filter(usable).cloned().collect(), ..self.site.clone() };
        let mut roles = self.roles.clone();
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

    fn limit(&mut self, limit: &str, no_match: NoMatch, inventory: &Inventory) -> BTreeSet<HostName> {
        let selected = Pattern::parse(limit).and_then(|pattern| pattern.select(inventory));
        match selected {
            Ok(hosts) => hosts.into_iter().collect(),
            Err(mut problem) => {
                problem.what = format!("--limit: {}", problem.what);
                self.problems.push(no_match.weigh(problem));
                BTreeSet::new()
            }
        }
    }

    /// A setting that no role reads is a typing error.
    fn unread_settings(&mut self, settings: &[(String, Node)]) {
        let known: BTreeSet<&str> =
            self.roles.values().flat_map(|role| &role.inputs).map(|input| input.name.as_str()).collect();
        for (name, _) in settings.iter().filter(|(name, _)| !known.contains(name.as_str())) {
            let hint = crate::name::did_you_mean(name, known.iter().copied());
            self.problems.push(Diagnostic::error(format!("--var {name}: no role has such an input")).maybe_hint(hint));
        }
        for definition in &self.site.services {
            let Some(role) = self.roles.get(&definition.role) else { continue };
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

impl Environment {
    /// Reads and checks an environment of a project that is only texts, as a test or a simulation makes it. No program is
    /// run and no key is fetched: what is encrypted is an error.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_texts(project: Project, request: &Request) -> Result<Self, Diagnostics> {
        let reader = Reader::new(project, request);
        let (texts, set) = (reader.plain_texts(), plain_variables(&request.variables)?);
        let unchecked = reader.finish(Files { root: None, texts: &texts }, set, request, Arc::new(Keyring::empty()))?;
        unchecked.check_without_keys(request)
    }
}

/// What a request sets, where there are no files.
fn plain_variables(given: &[Setting]) -> Result<Vec<(String, Node)>, Diagnostic> {
    let plain = |setting: &Setting| match setting {
        Setting::One(name, node) => Ok((name.clone(), node.clone())),
        Setting::File(file) => Err(Diagnostic::error(format!("--var @{file}: this project has no files"))),
    };
    given.iter().map(plain).collect()
}

fn roles(project: &Project, unusable: &mut BTreeSet<String>, problems: &mut Diagnostics) -> BTreeMap<RoleName, Role> {
    let mut roles = BTreeMap::new();
    for (name, texts) in &project.roles {
        let role = crate::yaml::parse(&texts.role).map_err(Into::into).and_then(|node| Role::read(name, &node));
        match problems.keep(role) {
            Some(role) => drop(roles.insert(name.clone(), role)),
            None => drop(unusable.insert(name.to_string())),
        }
    }
    roles
}

/// The addresses of the lab hosts that stand for hosts of the inventory.
fn rehearsal(addresses: &Addresses, inventory: &Inventory) -> Option<BTreeMap<HostName, String>> {
    let Addresses::Lab(known) = addresses else { return None };
    let all = inventory.hosts().map(Host::name);
    Some(all.filter_map(|host| Some((host.clone(), known.get(host.as_str())?.clone()))).collect())
}

/// The programs that make connections to these hosts and are not allowed: they must be, like any other.
pub fn proxy_commands<'a>(endpoints: impl Iterator<Item = &'a Endpoint>, settings: &ProjectSettings) -> Diagnostics {
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

/// A file of `--var @FILE`. As in a shell, a relative path begins at the working directory.
async fn settings_file(file: &camino::Utf8Path, keys: &Keyring) -> Result<Vec<(String, Node)>, Diagnostics> {
    let path = file.to_owned();
    let text = blocking(move || std::fs::read_to_string(path)).await.map_err(|error| {
        let problem = Diagnostic::error(format!("--var @{file}: the file cannot be read: {error}"));
        problem.hint("after `@` write the path of a file with `NAME: VALUE` lines")
    })?;
    let settings = vars::read_file(&secrets::file(&Source::new(file.as_str(), text), keys).await?)?;
    Ok(settings.iter().map(|(name, node)| (name.to_string(), Node::clone(node))).collect())
}
