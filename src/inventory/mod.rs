//! Environments: hosts, groups, and the variables set for them.
//!
//! In: the texts of one folder of `inventories/`. Out: an [`Inventory`], or everything that is wrong with it.
//! Never: a template; a value in an inventory is data.
//!
//! ```yaml
//! # hosts.yml
//! connection: { user: admin, become: true }     # how hosts are reached, unless a group or host says otherwise
//! vars: { timezone: UTC }                       # for all hosts
//! groups:
//!   zookeepers: { hosts: "zk[1:3]" }            # a text, a list of texts, or a map of hosts with their keys
//!   workers:
//!     hosts: [w1, "w[02:10]"]
//!     vars: { cores: 8 }
//!     connection: { user: worker }
//!   platform: { children: [zookeepers, workers] }
//! hosts:
//!   zk1: { address: 10.0.0.11, port: 22, user: admin, key: ~/.ssh/id, method: ssh, become: true, vars: { rack: a } }
//! ```
//!
//! Beside it: `group_vars/NAME.yml`, `host_vars/NAME.yml`, or folders of that name with several files. The hosts of a
//! group come in the order written: its own first, then those of its children. That order is a member's position.

mod connection;
mod pattern;
mod range;
mod read;

pub(crate) use read::is_identifier;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use connection::{Become, Endpoint, Method};
pub use pattern::Pattern;

use crate::diag::{Diagnostics, Source};
use crate::name::{EnvName, GroupName, HostName};
use crate::yaml::Node;

/// The group every host is in.
pub const ALL: &str = "all";

/// The hosts and groups of one environment.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// Which environment.
    pub environment: EnvName,
    hosts: Vec<Host>,
    places: HashMap<HostName, usize>,
    groups: BTreeMap<GroupName, Group>,
}

/// Variables, by name, each with the place where it is set.
pub type Vars = BTreeMap<String, Node>;

/// A host.
#[derive(Debug, Clone)]
pub struct Host {
    /// The way to it.
    pub endpoint: Endpoint,
    /// The groups it is in, also by way of others; the weakest first: parents before children, then by name.
    pub groups: Vec<GroupName>,
    /// Its own variables.
    pub vars: Vars,
}

/// A group.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// The groups in it.
    pub children: Vec<GroupName>,
    /// Its own variables.
    pub vars: Vars,
    /// How far below `all` it is, by the longest way.
    pub depth: usize,
    own: Vec<usize>,
    members: Vec<usize>,
}

impl Inventory {
    /// Reads the files of an environment's folder, each with its path below it.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn read(environment: &EnvName, files: &[(String, Arc<Source>)]) -> Result<Self, Diagnostics> {
        read::inventory(environment, files)
    }

    /// All hosts, in the order written.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter()
    }

    /// How many hosts there are.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The host of that name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.places.get(name).map(|place| &self.hosts[*place])
    }

    /// All groups, by name.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// The group of that name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(name)
    }

    /// The hosts of a group, also those of its children, in order.
    pub fn members(&self, group: &Group) -> Vec<&HostName> {
        group.members.iter().map(|place| &self.hosts[*place].endpoint.name).collect()
    }

    /// The hosts that are written in the group itself.
    pub fn own_members(&self, group: &Group) -> Vec<&HostName> {
        group.own.iter().map(|place| &self.hosts[*place].endpoint.name).collect()
    }

    /// The names of all groups and hosts.
    pub fn names(&self) -> Vec<&str> {
        let hosts = self.hosts.iter().map(|host| host.endpoint.name.as_str());
        self.groups.keys().map(GroupName::as_str).chain(hosts).collect()
    }

    fn at(&self, place: usize) -> &Host {
        &self.hosts[place]
    }

    /// The places of a group's members, or of one host.
    fn place_or_members(&self, name: &str) -> Option<Vec<usize>> {
        let group = self.groups.get(name).map(|group| group.members.clone());
        group.or_else(|| self.places.get(name).map(|place| vec![*place]))
    }

    /// The places of all hosts whose name fits, or that are in a group whose name fits.
    fn matching(&self, fits: impl Fn(&str) -> bool) -> Vec<usize> {
        let groups = self.groups.values().filter(|group| fits(group.name.as_str())).flat_map(|group| group.members.clone());
        let hosts = self.hosts.iter().enumerate().filter(|(_, host)| fits(host.endpoint.name.as_str()));
        let mut places: Vec<usize> = groups.chain(hosts.map(|(place, _)| place)).collect();
        places.sort_unstable();
        places.dedup();
        places
    }
}
