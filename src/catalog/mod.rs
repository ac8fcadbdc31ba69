//! What is desired, complete: every host with its roles, every role with its resources, nothing left to compute.
//!
//! In: an inventory, a site, roles, variables and facts. Out: a [`Catalog`], or everything that is wrong.
//! Never: what a host looks like now.

mod compile;
pub mod explain;
mod part;
mod place;
pub mod risk;
mod scope;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use crate::role::{Hook, Member, Otherwise};
pub use crate::site::{Move, Thing};
pub use compile::{compile, facts_read};
pub use part::{PlacedNames, ResourceSelection, Target};
pub use place::{Instance, PlacedService, Placement, place};

use crate::diag::Origin;
use crate::inventory::Endpoint;
use crate::name::{HostName, Owner, RoleName, ServiceName, Tag};
use crate::project::Project;
use crate::resource::{Resource, Verb};
use crate::role::Role;
use crate::rollout::{Batch, Policy};
use crate::secret::{Datum, Secret};
use crate::step::{Check, Probe};
use crate::yaml::Node;

/// The facts of each host, by name.
pub type Facts = BTreeMap<HostName, BTreeMap<String, serde_json::Value>>;

/// Finds what is set for an input; see [`Desired::variable`].
pub type Lookup<'a> = dyn Fn(&HostName, Option<&ServiceName>, &str) -> Option<Node> + 'a;

/// Everything a catalog is made of.
pub struct Desired<'a> {
    /// Whose it is.
    pub owner: &'a Owner,
    /// The texts of the project.
    pub project: &'a Project,
    /// Its roles, read.
    pub roles: &'a BTreeMap<RoleName, Role>,
    /// Which roles are on which hosts.
    pub placement: &'a Placement,
    /// How a host is reached.
    pub endpoint: &'a dyn Fn(&HostName) -> Option<Endpoint>,
    /// What is set for an input: on a host, for a service (none for a role that others brought in), by its name.
    pub variable: &'a Lookup<'a>,
    /// What is known of the hosts.
    pub facts: &'a Facts,
    /// Only these hosts, if given. The others are still members of their services.
    pub limit: Option<&'a BTreeSet<HostName>>,
    /// Hosts that have no role, and may have had one: they are asked only what they keep for armilla.
    pub spare: &'a [HostName],
}

impl Desired<'_> {
    fn address(&self, host: &HostName) -> String {
        (self.endpoint)(host).map_or_else(|| host.to_string(), |endpoint| endpoint.address)
    }

    fn wants(&self, host: &HostName) -> bool {
        self.limit.is_none_or(|limit| limit.contains(host))
    }
}

/// Everything that is desired in one environment.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// Whose it is.
    pub owner: Owner,
    /// Its services, each after those it needs.
    pub services: Vec<Service>,
    /// Its hosts. Those without a role are not in it.
    pub hosts: BTreeMap<HostName, HostCatalog>,
    /// Hosts without a role. What armilla made there when they had one is taken away.
    pub spare: BTreeMap<HostName, Endpoint>,
    /// What has another name now.
    pub moved: Vec<Move>,
    /// Whether it is all that is desired of its hosts.
    pub extent: Extent,
    /// What becomes of the content of directories that no role wants any more.
    pub data: Data,
    /// The secrets that went into it: whatever a host says is shown without them.
    pub secrets: Vec<Secret<String>>,
}

/// How much of what is desired a catalog holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Extent {
    /// All of it.
    #[default]
    Whole,
    /// What was chosen by tags or targets. Nothing is taken away by a plan of it.
    Chosen,
}

/// What becomes of the directories that armilla made, when no role wants them any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Data {
    /// Those in which something is stay, with the accounts of the system that they belong to.
    #[default]
    Kept,
    /// They go with everything in them.
    Removed,
}

impl Data {
    /// Whether it is the default.
    pub fn is_kept(&self) -> bool {
        *self == Self::Kept
    }
}

/// A service: a role on a group of hosts.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Its role.
    pub role: RoleName,
    /// Its hosts, in the order of the inventory.
    pub hosts: Vec<HostName>,
    /// The services that must be healthy first.
    pub needs: Vec<ServiceName>,
    /// How its hosts change. Plans that were saved before there was more to say have only a batch.
    #[serde(alias = "batch", deserialize_with = "policy")]
    pub policy: Policy,
}

fn policy<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Policy, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Written {
        Policy(Policy),
        Batch(Batch),
    }
    Ok(match serde::Deserialize::deserialize(deserializer)? {
        Written::Policy(policy) => policy,
        Written::Batch(batch) => Policy { batch: vec![batch], ..Policy::default() },
    })
}

/// What is desired of one host.
#[derive(Debug, Clone)]
pub struct HostCatalog {
    /// How it is reached.
    pub endpoint: Endpoint,
    /// Its roles, each after those it requires.
    pub blocks: Vec<RoleBlock>,
}

/// One role on one host.
#[derive(Debug, Clone)]
pub struct RoleBlock {
    /// Which.
    pub role: RoleName,
    /// The service it belongs to; none for a role that others brought in.
    pub service: Option<ServiceName>,
    /// The blocks of this host that come before it, by their place in [`HostCatalog::blocks`].
    pub requires: Vec<usize>,
    /// Its resources, in order.
    pub items: Vec<Wanted>,
    /// Those that were not chosen. They are desired all the same.
    pub left_out: Vec<Wanted>,
    /// When it is healthy.
    pub health: Vec<Check>,
    /// What it has of its own in the rollout of its service.
    pub member: Member,
}

/// One resource, desired.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The thing itself.
    pub resource: Arc<dyn Resource>,
    /// The keys it was made from.
    pub keys: Arc<Datum>,
    /// Its place among all resources of its host.
    pub order: u32,
    /// Whether it stays on the host even if it leaves the role.
    pub protect: bool,
    /// How long the host waits before it undoes a change of it by itself; none if it does not. See [`risk`].
    pub risk: Option<Duration>,
    /// What a change of it asks of the services of its role.
    pub notify: Option<Verb>,
    /// By which it can be chosen: its own tags, those of its role and of its service.
    pub tags: Arc<BTreeSet<Tag>>,
    /// Whether it was.
    pub chosen: Chosen,
    /// Where it is written.
    pub origin: Origin,
}

/// Whether a resource belongs to the part of a plan that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Chosen {
    /// It does.
    Yes,
    /// Only if a chosen resource notifies it: a change without its restart would be a trap.
    WhenNotified,
    /// It does not. It is asked only because a rollout must know whether a service runs.
    No,
}

impl Catalog {
    /// The way to each of its hosts.
    pub fn endpoints(&self) -> BTreeMap<HostName, Endpoint> {
        let spare = self.spare.iter().map(|(name, endpoint)| (name.clone(), endpoint.clone()));
        self.hosts.iter().map(|(name, host)| (name.clone(), host.endpoint.clone())).chain(spare).collect()
    }

    /// All there is to ask each host, each question once: of its resources, of its health, and what it keeps for armilla.
    pub fn questions(&self) -> Vec<(Endpoint, Vec<Probe>)> {
        let spare = self.spare.values().map(|endpoint| (endpoint.clone(), vec![Probe::State]));
        self.hosts.values().map(|host| (host.endpoint.clone(), host.probes())).chain(spare).collect()
    }

    /// Whether a role on a host belongs to the part that is wanted.
    pub fn chooses(&self, block: &RoleBlock) -> bool {
        self.extent == Extent::Whole || block.items.iter().any(|item| item.chosen == Chosen::Yes)
    }

    /// Of an environment in which nothing is desired of these hosts.
    pub fn of_nothing(owner: Owner, hosts: impl IntoIterator<Item = Endpoint>) -> Self {
        Self {
            owner,
            services: Vec::new(),
            hosts: BTreeMap::new(),
            spare: hosts.into_iter().map(|endpoint| (endpoint.name.clone(), endpoint)).collect(),
            moved: Vec::new(),
            extent: Extent::Whole,
            data: Data::Kept,
            secrets: Vec::new(),
        }
    }
}

impl HostCatalog {
    /// The resources whose target, or kind and target, are this text: each with the indexes of its block and item.
    pub fn named(&self, text: &str) -> Vec<(&Arc<dyn Resource>, usize, usize)> {
        let all = self.blocks.iter().enumerate().flat_map(|(block, b)| {
            b.items.iter().enumerate().map(move |(item, wanted)| (&wanted.resource, block, item))
        });
        let meant = |(resource, ..): &(&Arc<dyn Resource>, usize, usize)| {
            let target = resource.target();
            text == target || text == format!("{} {target}", resource.kind())
        };
        all.filter(meant).collect()
    }

    fn probes(&self) -> Vec<Probe> {
        let mut probes: Vec<Probe> = self.blocks.iter().flat_map(RoleBlock::probes).collect();
        probes.push(Probe::State);
        probes.sort_unstable();
        probes.dedup();
        probes
    }
}

impl RoleBlock {
    fn probes(&self) -> impl Iterator<Item = Probe> {
        let health = self.health.iter().map(|check| check.probe.clone());
        let items = self.items.iter().flat_map(|item| item.resource.probes());
        let items = items.flat_map(|probe| parent(&probe).into_iter().chain([probe]));
        items.chain(health).chain(self.member.by.clone())
    }
}

/// What is asked of the directory of a path: what is not there is to be written into it.
fn parent(probe: &Probe) -> Option<Probe> {
    let Probe::Path { path, .. } = probe else { return None };
    let is_kernels = path.starts_with("/proc/") || path.starts_with("/sys/");
    Probe::directory_of(path).filter(|_| !is_kernels)
}
