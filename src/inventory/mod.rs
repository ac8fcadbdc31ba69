//! Environments: which hosts there are, in which groups, how each is reached, and what is said of them.
//!
//! In: the texts of one folder of `inventories/`. Out: an [`Inventory`] that answers without searching, or every
//! problem of all files at once. Never: a file, a connection, or a value taken for a template.
//!
//! # The files
//!
//! | file | what is in it |
//! |---|---|
//! | `hosts.yml` (or `.yaml`) | hosts, groups and how to reach them, in our own form |
//! | instead: `hosts`, `inventory.ini`, `production.yml`, ... | one or several files in Ansible's forms: see `form` |
//! | `group_vars/NAME.yml`, `group_vars/NAME/*.yml` | variables of a group, of `all` or of `ungrouped` |
//! | `host_vars/NAME.yml`, `host_vars/NAME/*.yml` | variables of a host |
//!
//! ```yaml
//! vars: { timezone: UTC }                       # variables of every host
//! connection: { user: admin, become: true }     # how to reach every host: port, user, key, become, method
//! groups:
//!   zookeepers: { hosts: "zk[1:3]" }            # one text ...
//!   workers:
//!     hosts: [w1, "w[02:10]"]                   # ... or a list of texts ...
//!     vars: { cores: 8 }
//!     connection: { user: worker }              # stronger than that of all and of its parents
//!   masters:
//!     hosts: { m1: { address: 10.0.0.5 }, m2: } # ... or a map of hosts and their keys
//!   platform: { children: [zookeepers, workers] }
//! hosts:                                        # keys of hosts; those in no group above are `ungrouped`
//!   zk1: { address: 10.0.0.11, port: 22, user: admin, key: ~/.ssh/id, connection: ssh, become: true, vars: { rack: a } }
//!   bastion:
//! ```
//!
//! `connection: local` is short for `connection: { method: local }`; on a host, where the other keys stand beside it,
//! it is the only form. Keys of one host may be written in several places, each key once.
//!
//! Ranges are inclusive: `zk[1:3]`, `w[01:20]`, `rack[a:d]`, `w[1:9:2]` (every second), several in one name.
//!
//! # Order
//!
//! A user sees these orders, and roles build on them; they change only when the file changes.
//!
//! - *Of the inventory*: as the hosts are first written, those under `groups` before those under `hosts`.
//! - *Of a group*: its own hosts as written, then those of each child in the order of `children`; none twice.
//! - *Of strength*, for variables and connections: `all`, then groups from parent to child (a group is as deep as its
//!   longest way from the top), equally deep ones by priority and name, then the host. The later is the stronger.
//!
//! # Ansible's rules
//!
//! An environment whose hosts are written in one of Ansible's forms is read as Ansible reads it, files of variables
//! included: YAML 1.1, of `web/`, `web.yml`, `web.yaml` and `web.json` only the first that is there, and all variables in
//! files of groups are stronger than those beside the hosts
//! (<https://docs.ansible.com/ansible/latest/playbook_guide/playbooks_variables.html#understanding-variable-precedence>).
//! `ansible_host`, `ansible_user` and their like say how a host is reached, and are variables, too.

use std::collections::HashMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::diag::{Diagnostic, Diagnostics, Source};
use crate::name::{EnvName, GroupName, HostName};

mod ansible;
mod build;
mod connection;
mod files;
mod form;
mod hint;
mod pattern;
mod range;
mod settings;
mod ssh;

use connection::Connection;
pub use connection::{Become, Endpoint, Method};
use form::Declared;
pub use pattern::Pattern;
pub use settings::{Settings, check_variable};
pub use ssh::{ProxyCommand, SshArguments};

/// The name of the group that holds every host.
pub const ALL: &str = "all";
/// The name of the group that holds the hosts of no other group.
pub const UNGROUPED: &str = "ungrouped";

/// The keys of our own `hosts.yml`, in the order in which they are best written.
pub const KEYS: &[&str] = &form::NATIVE_KEYS;

/// Whether a `hosts.yml` is written in our own form; one that is no YAML at all is meant to be.
pub fn is_native(source: &Arc<Source>) -> bool {
    !form::is_ansible(source)
}

/// Whose rules an environment is read by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rules {
    /// Those of our own form.
    #[default]
    Own,
    /// Ansible's.
    Ansible,
}

/// What becomes of two maps of the same name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Merging {
    /// The stronger one replaces the weaker one.
    #[default]
    Replace,
    /// The stronger one adds to the weaker one and replaces single entries of it, at any depth. Only if an `ansible.cfg`
    /// says `hash_behaviour = merge`.
    Merge,
}

/// The files of one environment: each path relative to its folder, and the text.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    files: Vec<(Utf8PathBuf, Arc<Source>)>,
    /// What a program printed, instead of files with hosts.
    printed: Option<Arc<Source>>,
    /// The project's `ansible.cfg`.
    config: Option<Arc<Source>>,
}

impl Texts {
    /// Each path and text.
    pub fn iter(&self) -> impl Iterator<Item = (&Utf8Path, &Arc<Source>)> {
        self.files.iter().map(|(path, source)| (path.as_path(), source))
    }

    /// The same with what a program printed, instead of files with hosts.
    #[must_use]
    pub fn printed(mut self, output: Arc<Source>) -> Self {
        self.printed = Some(output);
        self
    }

    /// The same with the project's `ansible.cfg`.
    #[must_use]
    pub fn configured(mut self, config: Option<Arc<Source>>) -> Self {
        self.config = config;
        self
    }
}

impl FromIterator<(Utf8PathBuf, Arc<Source>)> for Texts {
    fn from_iter<I: IntoIterator<Item = (Utf8PathBuf, Arc<Source>)>>(texts: I) -> Self {
        Self { files: texts.into_iter().collect(), ..Self::default() }
    }
}

/// A host of an environment.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name and the way to it, with everything its groups say.
    pub endpoint: Endpoint,
    /// Every group it is in, by itself or through a child, by name; `all` goes without saying.
    pub groups: Vec<GroupName>,
    /// The groups that name it themselves, in the order written.
    pub direct_groups: Vec<GroupName>,
    /// The variables written for it alone beside the hosts, place by place, the strongest last.
    pub settings: Vec<Settings>,
    /// Those of its files, which are stronger.
    pub files: Vec<Settings>,
    connection: Connection,
    file_connection: Connection,
    /// The groups, `all` included, by strength.
    lineage: Vec<usize>,
}

impl Host {
    fn new(name: HostName, said: Declared) -> Self {
        Self {
            endpoint: Endpoint::new(name),
            groups: Vec::new(),
            direct_groups: Vec::new(),
            settings: said.settings,
            files: said.files,
            connection: said.connection,
            file_connection: said.file_connection,
            lineage: Vec::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &HostName {
        &self.endpoint.name
    }
}

/// A group of hosts.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// The groups directly below it, in the order written.
    pub children: Vec<GroupName>,
    /// The variables written for it beside the hosts, place by place, the strongest last.
    pub settings: Vec<Settings>,
    /// Those of its files, which are stronger.
    pub files: Vec<Settings>,
    /// Of equally deep groups the one with the higher priority is the stronger.
    pub priority: i64,
    connection: Connection,
    file_connection: Connection,
    depth: usize,
    own: Vec<usize>,
    members: Vec<usize>,
}

impl Group {
    /// How many hosts are in it, those of its children included.
    pub fn size(&self) -> usize {
        self.members.len()
    }
}

/// The hosts and groups of an environment.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// Its name.
    pub env: EnvName,
    /// By whose rules it was read.
    pub rules: Rules,
    /// What becomes of two maps of the same name.
    pub merging: Merging,
    /// What is worth a look, although it stops nothing.
    pub warnings: Diagnostics,
    hosts: Vec<Host>,
    host_index: HashMap<HostName, usize>,
    /// `all`, `ungrouped`, then those written.
    groups: Vec<Group>,
    group_index: HashMap<GroupName, usize>,
}

/// How many groups nobody writes.
const IMPLIED: usize = 2;

impl Inventory {
    /// Reads the files of an environment.
    ///
    /// # Errors
    /// Every problem of every file, warnings included, if one of them is an error.
    pub fn read(env: EnvName, texts: &Texts) -> Result<Self, Diagnostics> {
        let mut problems = Diagnostics::new();
        let mut draft = form::read(texts, &mut problems);
        files::read(texts, &mut draft, &mut problems);
        let mut merging = Merging::Replace;
        if draft.rules == Rules::Ansible {
            ansible::connect(&mut draft, &mut problems);
            merging = texts.config.as_ref().map_or(merging, |config| ansible::merging(config, &mut problems));
        }
        let inventory = build::build(env, draft, problems)?;
        Ok(Self { merging, ..inventory })
    }

    /// Tells every host what its groups are and say.
    fn link(env: EnvName, rules: Rules, mut hosts: Vec<Host>, groups: Vec<Group>, problems: Diagnostics) -> Self {
        let mut by_strength: Vec<usize> = (0..groups.len()).collect();
        by_strength.sort_by_key(|group| (groups[*group].depth, groups[*group].priority, &groups[*group].name));
        for group in by_strength {
            groups[group].members.iter().for_each(|host| hosts[*host].lineage.push(group));
        }
        let mut by_name: Vec<&Group> = groups.iter().skip(1).collect();
        by_name.sort_by_key(|group| &group.name);
        for group in by_name {
            group.members.iter().for_each(|host| hosts[*host].groups.push(group.name.clone()));
        }
        for group in &groups {
            group.own.iter().for_each(|host| hosts[*host].direct_groups.push(group.name.clone()));
        }
        let mut warnings = problems;
        for host in &mut hosts {
            let connection = connection(host, &groups);
            if let Some((user, origin)) = connection.stranger() {
                let what =
                    format!("armilla works as root or as the user that logs in, not as `{}`", user.escape_debug());
                warnings
                    .push(Diagnostic::error(what).at(origin).hint("remove `ansible_become` or `ansible_become_user`"));
            }
            if let Some((method, origin)) = connection.strange_method() {
                warnings.push(strange_method(method, connection.become_user).at(origin));
            }
            host.endpoint = connection.endpoint(host.endpoint.name.clone());
        }
        let host_index = hosts.iter().enumerate().map(|(index, host)| (host.name().clone(), index)).collect();
        let group_index = groups.iter().enumerate().map(|(index, group)| (group.name.clone(), index)).collect();
        Self { env, rules, merging: Merging::Replace, warnings, hosts, host_index, groups, group_index }
    }

    /// Every host, in the order of the inventory.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = &Host> {
        self.hosts.iter()
    }

    /// A host.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.host_index.get(name).map(|index| &self.hosts[*index])
    }

    /// The groups somebody wrote, in that order: without `all` and `ungrouped`.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &Group> {
        self.groups.iter().skip(IMPLIED)
    }

    /// A group; `all` and `ungrouped`, too.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.group_index.get(name).map(|index| &self.groups[*index])
    }

    /// The hosts of a group and its children, in the order of the group; none if there is no such group.
    pub fn members(&self, group: &GroupName) -> Vec<&HostName> {
        self.group(group.as_str()).map(|group| self.members_of(group)).unwrap_or_default()
    }

    /// The groups of a host, `all` first, the strongest last.
    pub fn lineage<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = &'a Group> {
        host.lineage.iter().filter_map(|group| self.groups.get(*group))
    }

    /// The hosts a group names itself, in the order written; none if there is no such group.
    pub fn own(&self, group: &str) -> Vec<&HostName> {
        let own = self.group(group).map(|group| group.own.as_slice()).unwrap_or_default();
        own.iter().map(|host| self.hosts[*host].name()).collect()
    }

    fn members_of(&self, group: &Group) -> Vec<&HostName> {
        group.members.iter().map(|host| self.hosts[*host].name()).collect()
    }
}

/// How a host is reached, with everything its groups say. What files say is stronger than what is beside the hosts, for
/// groups and then for the host.
fn connection(host: &Host, groups: &[Group]) -> Connection {
    let mut connection = Connection::default();
    host.lineage.iter().for_each(|group| connection.absorb(&groups[*group].connection));
    host.lineage.iter().for_each(|group| connection.absorb(&groups[*group].file_connection));
    connection.absorb(&host.connection);
    connection.absorb(&host.file_connection);
    connection
}
/// An `ansible_become_method` that armilla does not have. It is an error only where somebody becomes root by it.
fn strange_method(method: &str, becoming: Option<Become>) -> Diagnostic {
    let method = method.escape_debug();
    match becoming {
        Some(Become::Root) => {
            Diagnostic::error(format!("become method `{method}` is not supported: armilla uses sudo"))
                .hint("allow this user to use sudo on the host and remove `ansible_become_method`, or log in as root")
        }
        _ => Diagnostic::warning(format!("become method `{method}` has no effect: armilla uses sudo")),
    }
}
