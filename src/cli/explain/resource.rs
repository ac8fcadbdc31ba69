//! Why a resource is on a host, and how it stands there.
//!
//! In: what is desired and, unless that is not wanted, what the host says. Out: a page. Never: a change on the host.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::hosts::{self, Hosts};
use super::super::screen::Telling;
use super::super::{Exit, Failure, ui};
use super::Asked;
use crate::catalog::explain as why;
use crate::catalog::{Block, Catalog, Facts, Wanted};
use crate::diag::Diagnostic;
use crate::name::{GroupName, HostName, ServiceName};
use crate::operation::Survey;
use crate::report::human::explain::{self as human, Now, Resource};
use crate::workspace::Environment;

impl Asked<'_> {
    pub(super) async fn resource(
        &self,
        loaded: &Environment,
        offline: Catalog,
        (block, item): (usize, usize),
    ) -> Result<Exit, Failure> {
        let address = |catalog: &Catalog| {
            let resource = &catalog.hosts[&self.host].blocks[block].items[item].resource;
            (resource.kind(), resource.target())
        };
        let wanted = address(&offline);
        let survey = if self.command.offline { None } else { Some(self.look(loaded).await?) };
        let now = self.now(survey.as_ref(), &wanted);
        let (facts, catalog) = match survey {
            // With real facts a resource may not be wanted at all.
            Some((survey, facts)) if survey.catalog.hosts.contains_key(&self.host) => (facts, survey.catalog),
            _ => (loaded.example_facts(), offline),
        };
        let Some((block, item)) = place(&catalog.hosts[&self.host].blocks, &wanted) else {
            let text = format!("with the facts of {}, {} {} does not apply there", self.host, wanted.0, wanted.1);
            return Err(Diagnostic::error(text).hint("check its `when` and `loop`").into());
        };
        let blocks = &catalog.hosts[&self.host].blocks;
        let instance = &loaded.placement.hosts[&self.host][block];
        let limit = [self.host.clone()].into();
        let keys = loaded
            .desired(&facts, &limit, |desired| why::keys_of(desired, &self.host, instance, &blocks[block], item))?;
        let resource = self.told(loaded, blocks, (block, item), &keys, now);
        self.print("resource", &resource, &human::resource(&resource, ui::width()));
        Ok(if matches!(resource.now, Now::Unreachable(_)) { Exit::Unreachable } else { Exit::Success })
    }

    /// Asks the host what there is.
    async fn look(&self, loaded: &Environment) -> Result<(Survey, Facts), Failure> {
        let read = async |hosts: &Hosts| {
            let (facts, _) = hosts.session.facts(loaded, &loaded.facts_needed(), &hosts.stop).await?;
            Ok((hosts.session.survey(loaded, &hosts.stop).await?, facts))
        };
        hosts::contact(self.global, &self.command.connection, Telling::default(), read).await
    }

    fn now(&self, survey: Option<&(Survey, Facts)>, wanted: &(&'static str, String)) -> Now {
        let Some((survey, _)) = survey else { return Now::NotAsked };
        if let Some(why) = survey.plan.unreachable.get(&self.host) {
            return Now::Unreachable(why.clone());
        }
        let mut entries = survey.plan.entries();
        let meant = entries
            .find(|e| e.address.host == self.host && (e.address.kind, &e.address.target) == (wanted.0, &wanted.1));
        meant.map_or(Now::InSync, |entry| Now::Planned(Box::new(entry.clone())))
    }

    fn told(
        &self,
        loaded: &Environment,
        blocks: &[Block],
        (block, item): (usize, usize),
        keys: &Value,
        now: Now,
    ) -> Resource {
        let own = &blocks[block];
        let wanted = &own.items[item];
        let name = |wanted: &Wanted| format!("{} {}", wanted.resource.kind(), wanted.resource.target());
        let notifies = wanted.notify.map(|verb| {
            let hearers: Vec<String> = own.items.iter().filter(|other| other.resource.hears()).map(name).collect();
            format!("{} of {}", format!("{verb:?}").to_lowercase(), hearers.join(", "))
        });
        let speakers = own.items.iter().filter(|other| wanted.resource.hears() && other.notify.is_some());
        Resource {
            kind: wanted.resource.kind().to_owned(),
            target: wanted.resource.target(),
            host: self.host.to_string(),
            role: own.role.to_string(),
            origin: wanted.origin.to_string(),
            why: here_by(loaded, &self.host, block),
            keys: keys.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect(),
            after: after(loaded, blocks, block, item),
            notifies: notifies.into_iter().collect(),
            hears: speakers.map(name).collect(),
            now,
        }
    }
}

fn place(blocks: &[Block], wanted: &(&'static str, String)) -> Option<(usize, usize)> {
    blocks.iter().enumerate().find_map(|(block, b)| {
        let is = |item: &Wanted| (item.resource.kind(), item.resource.target()) == *wanted;
        Some((block, b.items.iter().position(is)?))
    })
}

/// From a service down to the role: why it is on the host.
fn here_by(loaded: &Environment, host: &HostName, block: usize) -> Vec<String> {
    let instances = &loaded.placement.hosts[host];
    let instance = &instances[block];
    let of = |name: &ServiceName| loaded.placement.services.iter().find(|placed| placed.definition.name == *name);
    if let Some(placed) = instance.service.as_ref().and_then(of) {
        let definition = &placed.definition;
        let groups = loaded.inventory.host(host.as_str()).into_iter().flat_map(|host| &host.groups);
        let groups: BTreeSet<&str> = groups.map(GroupName::as_str).collect();
        let named = definition.hosts.split([':', ',', '&']).find(|word| groups.contains(word));
        let by = named.map(|group| format!(", and {host} is in the group {group}")).unwrap_or_default();
        let text =
            format!("the service {} runs on `{}`{by} ({})", definition.name, definition.hosts, definition.hosts_origin);
        return vec![text];
    }
    let requirer = instances.iter().position(|other| other.requires.contains(&block));
    let Some(requirer) = requirer else { return Vec::new() };
    let mut why = here_by(loaded, host, requirer);
    let role = &loaded.roles[&instances[requirer].role];
    let key = role.requires.iter().find(|key| key.name == instance.role.as_str());
    let place = key.map(|key| format!(" ({})", key.origin)).unwrap_or_default();
    why.push(format!("the role {} requires {}{place}", role.name, instance.role));
    why
}

/// What is done before it: in its role, in the roles it requires, and services it needs.
fn after(loaded: &Environment, blocks: &[Block], block: usize, item: usize) -> Vec<String> {
    let own = &blocks[block];
    let name = |wanted: &Wanted| format!("{} {}", wanted.resource.kind(), wanted.resource.target());
    let mut texts: Vec<String> = own.items[..item].iter().map(name).collect();
    let roles = own.requires.iter().map(|before| format!("all of the role {}", blocks[*before].role));
    texts.splice(0..0, roles.collect::<Vec<_>>());
    let placed = loaded.placement.services.iter().find(|placed| Some(&placed.definition.name) == own.service.as_ref());
    let needs = placed.into_iter().flat_map(|placed| &placed.needs);
    let needs = needs.map(|(_, service)| format!("the service {service} is healthy"));
    texts.splice(0..0, needs.collect::<Vec<_>>());
    texts
}
