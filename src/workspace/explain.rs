//! Why a variable has its value and a resource is on a host, as far as the files say.

use std::collections::BTreeSet;

use super::Environment;
use crate::catalog::{Instance, RoleBlock, Wanted};
use crate::name::{GroupName, HostName, ServiceName};
use crate::vars::{Level, Variable};

impl Environment {
    /// The roles of a host, each after those it requires.
    pub fn instances(&self, host: &HostName) -> impl Iterator<Item = &Instance> {
        self.placement.hosts.get(host).into_iter().flatten()
    }

    /// Everything that sets a variable on a host but the role itself, the weakest first.
    pub fn every_setting(&self, host: &HostName, instance: &Instance, name: &str) -> Vec<Variable> {
        let mut layers = self.variables.get(host).cloned().unwrap_or_default();
        let of_service =
            |service: &ServiceName| self.placement.services.iter().find(|placed| placed.definition.name == *service);
        if let Some(placed) = instance.service.as_ref().and_then(of_service) {
            let vars = placed.definition.vars.iter().map(|(key, node)| (key.name.clone(), node.clone()));
            layers = layers.with(Level::Service(placed.definition.name.clone()), vars.collect());
        }
        layers.every(name)
    }

    /// Why the role of a block is on a host, from the service down to the role.
    pub fn reasons(&self, host: &HostName, block: usize) -> Vec<String> {
        let instances = &self.placement.hosts[host];
        let instance = &instances[block];
        let of = |name: &ServiceName| self.placement.services.iter().find(|placed| placed.definition.name == *name);
        if let Some(placed) = instance.service.as_ref().and_then(of) {
            let definition = &placed.definition;
            let groups = self.inventory.host(host.as_str()).into_iter().flat_map(|host| &host.groups);
            let groups: BTreeSet<&str> = groups.map(GroupName::as_str).collect();
            let named = definition.hosts.split([':', ',', '&']).find(|word| groups.contains(word));
            let by = named.map(|group| format!(", and {host} is in the group {group}")).unwrap_or_default();
            let text = format!(
                "the service {} runs on `{}`{by} ({})",
                definition.name, definition.hosts, definition.hosts_origin
            );
            return vec![text];
        }
        let requirer = instances.iter().position(|other| other.requires.contains(&block));
        let Some(requirer) = requirer else { return Vec::new() };
        let mut why = self.reasons(host, requirer);
        let role = &self.roles[&instances[requirer].role];
        let key = role.requires.iter().find(|key| key.name == instance.role.as_str());
        let place = key.map(|key| format!(" ({})", key.origin)).unwrap_or_default();
        why.push(format!("the role {} requires {}{place}", role.name, instance.role));
        why
    }

    /// What comes before a resource: in its role, in the roles it requires, and services it needs.
    pub fn before(&self, blocks: &[RoleBlock], block: usize, item: usize) -> Vec<String> {
        let own = &blocks[block];
        let name = |wanted: &Wanted| format!("{} {}", wanted.resource.kind(), wanted.resource.target());
        let mut texts: Vec<String> = own.items[..item].iter().map(name).collect();
        let roles = own.requires.iter().map(|before| format!("all of the role {}", blocks[*before].role));
        texts.splice(0..0, roles.collect::<Vec<_>>());
        let placed =
            self.placement.services.iter().find(|placed| Some(&placed.definition.name) == own.service.as_ref());
        let needs = placed.into_iter().flat_map(|placed| &placed.needs);
        let needs = needs.map(|(_, service)| format!("the service {service} is healthy"));
        texts.splice(0..0, needs.collect::<Vec<_>>());
        texts
    }
}
