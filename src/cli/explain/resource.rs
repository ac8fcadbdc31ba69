//! Why a resource is on a host, and how it stands there.
//!
//! In: what is desired and, unless that is not wanted, what the host says. Out: a page. Never: a change on the host.

use serde_json::Value;

use super::super::hosts::{self, Hosts};
use super::super::screen::Telling;
use super::super::{Exit, Failure, ui};
use super::Asked;
use crate::catalog::explain as why;
use crate::catalog::{Catalog, Facts, RoleBlock, Wanted};
use crate::diag::Diagnostic;
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
        let named = catalog.hosts[&self.host].named(&format!("{} {}", wanted.0, wanted.1));
        let Some(&(_, block, item)) = named.first() else {
            let text = format!("with the facts of {}, {} {} does not apply there", self.host, wanted.0, wanted.1);
            return Err(Diagnostic::error(text).hint("check its `when` and `loop`").into());
        };
        let blocks = &catalog.hosts[&self.host].blocks;
        let instance = &loaded.placement.hosts[&self.host][block];
        let limit = [self.host.clone()].into();
        let keys = loaded
            .desired(&facts, &limit, |desired| why::keys_of(desired, &self.host, instance, &blocks[block], item))?;
        let found = Found { blocks, block, item };
        let resource = self.described(loaded, &found, &keys, now);
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

    fn described(&self, loaded: &Environment, found: &Found<'_>, keys: &Value, now: Now) -> Resource {
        let Found { blocks, block, item } = *found;
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
            why: loaded.reasons(&self.host, block),
            keys: keys.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect(),
            after: loaded.before(blocks, block, item),
            notifies: notifies.into_iter().collect(),
            hears: speakers.map(name).collect(),
            now,
        }
    }
}

/// A resource, by its place among those of its host.
struct Found<'a> {
    blocks: &'a [RoleBlock],
    block: usize,
    item: usize,
}
