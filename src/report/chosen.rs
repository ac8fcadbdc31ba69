//! Lists of what a selection chooses from a catalog.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::catalog::{Catalog, Chosen, HostCatalog, RoleBlock, Wanted};
use crate::diag::shown;
use crate::name::{EnvName, HostName, Tag};

/// A list of a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// The hosts on which something is chosen.
    Hosts,
    /// All tags.
    Tags,
    /// The chosen resources.
    Resources,
}

impl List {
    fn name(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Tags => "tags",
            Self::Resources => "resources",
        }
    }
}

/// What is listed.
pub struct Selection<'a> {
    /// The environment.
    pub environment: &'a EnvName,
    /// What was chosen of it.
    pub catalog: &'a Catalog,
    /// All tags of it.
    pub tags: &'a BTreeSet<Tag>,
}

impl Selection<'_> {
    /// These lists as text, each under its name.
    pub fn text(&self, lists: &[List]) -> String {
        let list = |list: &List| {
            let rows: Vec<String> = match list {
                List::Hosts => hosts(self.catalog).map(ToString::to_string).collect(),
                List::Tags => self.tags.iter().map(ToString::to_string).collect(),
                List::Resources => resources(self.catalog).iter().map(Resource::text).collect(),
            };
            let head = format!("{} ({}):", list.name(), rows.len());
            std::iter::once(head).chain(rows.into_iter().map(|row| format!("  {row}"))).collect::<Vec<_>>().join("\n")
        };
        lists.iter().map(list).collect::<Vec<_>>().join("\n")
    }

    /// The same as data.
    pub fn json(&self, lists: &[List]) -> Value {
        let mut all = json!({ "format": "armilla-list", "version": 1, "environment": self.environment });
        for list in lists {
            all[list.name()] = match list {
                List::Hosts => json!(hosts(self.catalog).collect::<Vec<_>>()),
                List::Tags => json!(self.tags),
                List::Resources => resources(self.catalog).iter().map(Resource::json).collect(),
            };
        }
        all
    }
}

/// The hosts on which something is chosen.
pub fn hosts(catalog: &Catalog) -> impl Iterator<Item = &HostName> {
    let chosen =
        |host: &HostCatalog| host.blocks.iter().flat_map(|block| &block.items).any(|item| item.chosen == Chosen::Yes);
    catalog.hosts.iter().filter(move |(_, host)| chosen(host)).map(|(name, _)| name)
}

/// A chosen resource, with its host and block.
pub struct Resource<'a> {
    host: &'a HostName,
    block: &'a RoleBlock,
    item: &'a Wanted,
}

/// The chosen resources, in the order of the catalog.
pub fn resources(catalog: &Catalog) -> Vec<Resource<'_>> {
    let blocks = catalog.hosts.iter().flat_map(|(host, all)| all.blocks.iter().map(move |block| (host, block)));
    let all = blocks.flat_map(|(host, block)| block.items.iter().map(move |item| Resource { host, block, item }));
    all.filter(|resource| resource.item.chosen == Chosen::Yes).collect()
}

impl Resource<'_> {
    /// As `--target` takes it, with its tags.
    pub fn text(&self) -> String {
        let resource = &self.item.resource;
        let tags: Vec<&str> = self.item.tags.iter().map(Tag::as_str).collect();
        let tags = if tags.is_empty() { String::new() } else { format!("   [{}]", tags.join(", ")) };
        let target = shown(&resource.target());
        format!("{} {} {} {target}{tags}", self.host, self.block.role, resource.kind())
    }

    /// As data.
    pub fn json(&self) -> Value {
        json!({
            "host": self.host,
            "role": self.block.role,
            "service": self.block.service,
            "kind": self.item.resource.kind(),
            "target": self.item.resource.target(),
            "tags": *self.item.tags,
        })
    }
}
