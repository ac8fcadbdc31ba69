//! What is desired, in a saved plan: enough to look again whether it is so.
//!
//! In: a catalog. Out: a value that can be written, in which what many hosts share is there once; and a catalog made of
//! it. Never: another resource than before: each is read again from the keys it was made from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::keys::{self, Mark};
use crate::catalog::{Catalog, Chosen, Data, Extent, HostCatalog, Member, Move, RoleBlock, Service, Wanted};
use crate::diag::Origin;
use crate::inventory::Endpoint;
use crate::name::{HostName, Owner, RoleName, ServiceName, Tag};
use crate::resource::{Verb, kind};
use crate::secret::{Datum, Secret};
use crate::step::Check;

/// A catalog as it is written. The environment and the secrets are the plan's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    services: Vec<Service>,
    items: Vec<Item>,
    hosts: BTreeMap<HostName, Host>,
    spare: BTreeMap<HostName, Endpoint>,
    moved: Vec<Move>,
    extent: Extent,
    /// Plans that were saved before it could be chosen kept it.
    #[serde(default, skip_serializing_if = "Data::is_kept")]
    data: Data,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    kind: String,
    keys: serde_json::Value,
    /// What `keys` cannot say. None in older plans, where keys were marked in `keys` itself, if there is nothing to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    marks: Option<Vec<Mark>>,
    protect: bool,
    /// In seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    risk: Option<u64>,
    notify: Option<Verb>,
    tags: BTreeSet<Tag>,
    chosen: Chosen,
    origin: Origin,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Host {
    endpoint: Endpoint,
    blocks: Vec<SavedSelection>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedSelection {
    role: RoleName,
    service: Option<ServiceName>,
    requires: Vec<usize>,
    /// By their place in [`Stored::items`], each with its place on the host.
    items: Vec<(usize, u32)>,
    left_out: Vec<(usize, u32)>,
    health: Vec<Check>,
    #[serde(default)]
    member: Member,
}

/// Items that are there once.
#[derive(Default)]
struct Table {
    items: Vec<Item>,
    known: HashMap<(Arc<Datum>, String), usize>,
}

impl Table {
    fn place(&mut self, wanted: &Wanted) -> usize {
        let kind = wanted.resource.kind();
        let (notify, tags, chosen) = (wanted.notify, &wanted.tags, wanted.chosen);
        let risk = wanted.risk.map(|wait| wait.as_secs());
        let rest = format!("{kind} {} {risk:?} {notify:?} {tags:?} {chosen:?} {}", wanted.protect, wanted.origin);
        *self.known.entry((Arc::clone(&wanted.keys), rest)).or_insert_with(|| {
            let (keys, marks) = keys::written(&wanted.keys);
            self.items.push(Item {
                kind: kind.to_owned(),
                keys,
                marks,
                protect: wanted.protect,
                risk,
                notify,
                tags: BTreeSet::clone(tags),
                chosen,
                origin: wanted.origin.clone(),
            });
            self.items.len() - 1
        })
    }
}

impl Stored {
    pub(super) fn of(catalog: &Catalog) -> Self {
        let mut table = Table::default();
        let mut part = |block: &RoleBlock| SavedSelection {
            role: block.role.clone(),
            service: block.service.clone(),
            requires: block.requires.clone(),
            items: block.items.iter().map(|wanted| (table.place(wanted), wanted.order)).collect(),
            left_out: block.left_out.iter().map(|wanted| (table.place(wanted), wanted.order)).collect(),
            health: block.health.clone(),
            member: block.member.clone(),
        };
        let hosts = catalog.hosts.iter().map(|(name, host)| {
            let blocks = host.blocks.iter().map(&mut part).collect();
            (name.clone(), Host { endpoint: host.endpoint.clone(), blocks })
        });
        let hosts = hosts.collect();
        Self {
            services: catalog.services.clone(),
            items: table.items,
            hosts,
            spare: catalog.spare.clone(),
            moved: catalog.moved.clone(),
            extent: catalog.extent,
            data: catalog.data,
        }
    }

    /// The catalog again.
    ///
    /// # Errors
    /// When a resource is of no kind that is known, or its keys are wrong. Only where secrets are unsealed.
    pub(super) fn catalog(self, owner: Owner, secrets: Vec<Secret<String>>) -> Result<Catalog, String> {
        let Self { services, items, hosts, spare, moved, extent, data } = self;
        let items = items.into_iter().map(Item::wanted).collect::<Result<Vec<_>, _>>()?;
        let host = |(name, host): (HostName, Host)| {
            let blocks = host.blocks.into_iter().enumerate().map(|(place, part)| part.block(place, &items));
            let blocks = blocks.collect::<Result<Vec<_>, _>>().map_err(|why| format!("{name}: {why}"))?;
            if host.endpoint.name != name {
                return Err(format!("the path to {name} leads to {}", host.endpoint.name));
            }
            Ok((name, HostCatalog { endpoint: host.endpoint, blocks }))
        };
        let hosts = hosts.into_iter().map(host).collect::<Result<_, String>>()?;
        Ok(Catalog { owner, services, hosts, spare, moved, extent, data, secrets })
    }
}

impl Item {
    fn wanted(self) -> Result<Wanted, String> {
        let known = kind(&self.kind).ok_or_else(|| format!("unknown kind `{}`", self.kind.escape_debug()))?;
        let wrong = |error: crate::resource::ParseError| {
            format!("a {} of {}: {}: {}", self.kind, self.origin, error.path.join("."), error.what)
        };
        let keys = keys::read(self.keys.clone(), self.marks.clone())
            .map_err(|why| format!("a {} of {}: {why}", self.kind, self.origin))?;
        let resource = (known.parse)(&keys).map_err(wrong)?;
        let Self { protect, risk, notify, tags, chosen, origin, .. } = self;
        let (risk, tags) = (risk.map(Duration::from_secs), Arc::new(tags));
        Ok(Wanted { resource, keys: Arc::new(keys), order: 0, protect, risk, notify, tags, chosen, origin })
    }
}

impl SavedSelection {
    fn block(self, place: usize, items: &[Wanted]) -> Result<RoleBlock, String> {
        if self.requires.iter().any(|required| *required >= place) {
            return Err(format!("the role {} requires a later one", self.role));
        }
        let item = |(at, order): (usize, u32)| {
            let wanted = items.get(at).cloned().ok_or_else(|| format!("there is no resource {at}"))?;
            Ok::<_, String>(Wanted { order, ..wanted })
        };
        let left_out = self.left_out.into_iter().map(item).collect::<Result<_, _>>()?;
        let items = self.items.into_iter().map(item).collect::<Result<_, _>>()?;
        let Self { role, service, requires, health, member, .. } = self;
        Ok(RoleBlock { role, service, requires, items, left_out, health, member })
    }
}
