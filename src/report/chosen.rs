//! Lists of what a selection chooses from a catalog.

use serde_json::{Value, json};

use crate::catalog::{Catalog, Chosen, HostCatalog, RoleBlock, Wanted};
use crate::diag::shown;
use crate::name::{HostName, Tag};

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
