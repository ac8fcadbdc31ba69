//! What is desired, in a saved plan: enough to look again whether it is so.
//!
//! In: a catalog. Out: a value that can be written, in which what many hosts share is there once; and a catalog made of
//! it. Never: another resource than before: each is read again from the keys it was made from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::catalog::{Block, Catalog, Chosen, Extent, HostCatalog, Member, Move, Service, Wanted};
use crate::diag::Origin;
use crate::inventory::Endpoint;
use crate::name::{EnvName, HostName, RoleName, ServiceName, Tag};
use crate::resource::{Data, Verb, kind};
use crate::secret::Secret;
use crate::step::{Check, Digest};

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
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    kind: String,
    #[serde(with = "keys")]
    keys: Arc<serde_json::Value>,
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
    blocks: Vec<Part>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
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
    known: HashMap<Digest, usize>,
}

impl Table {
    fn place(&mut self, wanted: &Wanted) -> usize {
        let kind = wanted.resource.kind();
        let (notify, tags, chosen) = (wanted.notify, &wanted.tags, wanted.chosen);
        let risk = wanted.risk.map(|wait| wait.as_secs());
        let all = format!(
            "{kind} {} {} {risk:?} {notify:?} {tags:?} {chosen:?} {}",
            wanted.keys, wanted.protect, wanted.origin
        );
        *self.known.entry(Digest::of(all.as_bytes())).or_insert_with(|| {
            self.items.push(Item {
                kind: kind.to_owned(),
                keys: Arc::clone(&wanted.keys),
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
        let mut part = |block: &Block| Part {
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
        }
    }

    /// The catalog again.
    ///
    /// # Errors
    /// When a resource is of no kind that is known, or its keys are wrong.
    pub(super) fn catalog(self, environment: EnvName, secrets: Vec<Secret<String>>) -> Result<Catalog, String> {
        let Self { services, items, hosts, spare, moved, extent } = self;
        let items = items.into_iter().map(Item::wanted).collect::<Result<Vec<_>, _>>()?;
        let host = |(name, host): (HostName, Host)| {
            let blocks = host.blocks.into_iter().enumerate().map(|(place, part)| part.block(place, &items));
            let blocks = blocks.collect::<Result<Vec<_>, _>>().map_err(|why| format!("{name}: {why}"))?;
            if host.endpoint.name != name {
                return Err(format!("the way to {name} leads to {}", host.endpoint.name));
            }
            Ok((name, HostCatalog { endpoint: host.endpoint, blocks }))
        };
        let hosts = hosts.into_iter().map(host).collect::<Result<_, String>>()?;
        Ok(Catalog { environment, services, hosts, spare, moved, extent, secrets })
    }
}

impl Item {
    fn wanted(self) -> Result<Wanted, String> {
        let known = kind(&self.kind).ok_or_else(|| format!("there is no kind `{}`", self.kind.escape_debug()))?;
        let wrong = |error: crate::resource::ParseError| {
            format!("a {} of {}: {}: {}", self.kind, self.origin, error.path.join("."), error.what)
        };
        let resource = (known.parse)(&self.keys).map_err(wrong)?;
        let Self { keys, protect, risk, notify, tags, chosen, origin, .. } = self;
        let (risk, tags) = (risk.map(Duration::from_secs), Arc::new(tags));
        Ok(Wanted { resource, keys, order: 0, protect, risk, notify, tags, chosen, origin })
    }
}

impl Part {
    fn block(self, place: usize, items: &[Wanted]) -> Result<Block, String> {
        if self.requires.iter().any(|required| *required >= place) {
            return Err(format!("the role {} requires one that is not before it", self.role));
        }
        let item = |(at, order): (usize, u32)| {
            let wanted = items.get(at).cloned().ok_or_else(|| format!("there is no resource {at}"))?;
            Ok::<_, String>(Wanted { order, ..wanted })
        };
        let left_out = self.left_out.into_iter().map(item).collect::<Result<_, _>>()?;
        let items = self.items.into_iter().map(item).collect::<Result<_, _>>()?;
        let Self { role, service, requires, health, member, .. } = self;
        Ok(Block { role, service, requires, items, left_out, health, member })
    }
}

/// The keys of a resource, in which secrets are marked (see [`Data::SECRET`]): each mark stays, what is behind it is sealed.
mod keys {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de, ser};
    use serde_json::Value;

    use super::{Arc, Data, Secret};

    pub(super) fn serialize<S: Serializer>(keys: &Arc<Value>, serializer: S) -> Result<S::Ok, S::Error> {
        let mut keys = Value::clone(keys);
        marks(&mut keys, &mut |mark| {
            let Value::String(text) = mark else { return Ok(()) };
            *mark = serde_json::to_value(Secret::new(std::mem::take(text)))?;
            Ok(())
        })
        .map_err(ser::Error::custom)?;
        keys.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Value>, D::Error> {
        let mut keys = Value::deserialize(deserializer)?;
        marks(&mut keys, &mut |mark| {
            let secret = Secret::<String>::deserialize(&*mark)?;
            *mark = Value::String(secret.expose().clone());
            Ok(())
        })
        .map_err(de::Error::custom)?;
        Ok(Arc::new(keys))
    }

    /// Does something with what is behind each mark.
    fn marks(
        value: &mut Value,
        work: &mut dyn FnMut(&mut Value) -> Result<(), serde_json::Error>,
    ) -> Result<(), serde_json::Error> {
        match value {
            Value::Array(items) => items.iter_mut().try_for_each(|item| marks(item, work)),
            Value::Object(entries) => entries.iter_mut().try_for_each(|(key, value)| match key.as_str() {
                Data::SECRET => work(value),
                _ => marks(value, work),
            }),
            _ => Ok(()),
        }
    }
}
