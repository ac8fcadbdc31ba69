//! Why a variable has its value on a host.
//!
//! In: everything that is written down, and facts where a default is computed from them. Out: a page. Never: a secret.

use serde_json::Value;

use super::super::hosts::{self, Hosts};
use super::super::screen::Telling;
use super::super::{Exit, Failure, ui};
use super::Asked;
use crate::catalog::explain as why;
use crate::catalog::{Facts, Instance};
use crate::report::human::explain::{self as human, Input};
use crate::report::human::written::{because, declared, default, is_secret, reader, setting, unit};
use crate::role;
use crate::secret::MASK;
use crate::workspace::Environment;

impl Asked<'_> {
    pub(super) async fn variable(&self, loaded: &Environment) -> Result<Exit, Failure> {
        let facts = if self.depends_on_facts(loaded) { self.facts(loaded).await? } else { Ok(Facts::new()) };
        let name = self.text.as_str();
        let secret = loaded.roles.values().flat_map(|role| &role.inputs).any(|i| i.name == name && is_secret(i));
        let of = |input: &role::Input| input.name == name;
        let mut inputs = Vec::new();
        for instance in loaded.instances(&self.host) {
            let role = &loaded.roles[&instance.role];
            if let Some(input) = role.inputs.iter().find(|input| of(input)) {
                inputs.push(self.input(loaded, instance, input, facts.as_ref()));
            }
        }
        let layers = loaded.variables.get(&self.host).cloned().unwrap_or_default();
        let elsewhere = loaded.roles.values().filter(|role| role.inputs.iter().any(of)).map(|r| r.name.to_string());
        let variable = human::Variable {
            name: name.to_owned(),
            host: self.host.to_string(),
            settings: layers.every(name).iter().map(|variable| setting(variable, secret)).collect(),
            elsewhere: elsewhere.collect(),
            inputs,
        };
        self.print("variable", &variable, &human::variable(&variable, ui::width()));
        Ok(if facts.is_err() && !self.command.offline { Exit::Unreachable } else { Exit::Success })
    }

    /// Only a default can be computed from facts, and only where nothing sets it.
    fn depends_on_facts(&self, loaded: &Environment) -> bool {
        let reads = |role: &role::Role| {
            let defaults = role.inputs.iter().filter_map(|input| input.default.as_ref());
            defaults.flat_map(crate::template::Recipe::reads).any(|read| read.split('.').next() == Some("facts"))
        };
        let roles = loaded.instances(&self.host).filter_map(|instance| loaded.roles.get(&instance.role));
        let mut roles = roles.filter(|role| role.inputs.iter().any(|input| input.name == self.text));
        roles.any(reads)
    }

    /// The facts of the host, or why they are not known.
    async fn facts(&self, loaded: &Environment) -> Result<Result<Facts, String>, Failure> {
        if self.command.offline {
            return Ok(Err("the host was not read (--offline)".to_owned()));
        }
        let read = async |hosts: &Hosts| hosts.session.facts(loaded, &loaded.facts_needed(), &hosts.stop).await;
        let contact = hosts::contact(self.global, &self.command.connection, Telling::default(), read);
        let (facts, mut unreachable) = contact.await?;
        Ok(unreachable.remove(&self.host).map_or(Ok(facts), Err))
    }

    fn input(
        &self,
        loaded: &Environment,
        instance: &Instance,
        input: &role::Input,
        facts: Result<&Facts, &String>,
    ) -> Input {
        let role = &loaded.roles[&instance.role];
        let (known, doubt) = match facts {
            Ok(facts) => (facts, None),
            Err(why) => (&Facts::new(), Some(why.clone())),
        };
        let limit = [self.host.clone()].into();
        let value = loaded.desired(known, &limit, |desired| why::value_of(desired, &self.host, instance, &input.name));
        let doubt = value.as_ref().err().map(|problems| {
            let first = problems.iter().next().map(|problem| problem.what.clone()).unwrap_or_default();
            format!("not known: {}", doubt.unwrap_or(first))
        });
        let every = loaded.every_setting(&self.host, instance, &input.name);
        let settings = every.iter().map(|variable| setting(variable, is_secret(input)));
        let uses = why::uses(role, &loaded.project, &input.name);
        Input {
            role: role.name.to_string(),
            service: instance.service.as_ref().map(ToString::to_string),
            value: value.map_or(Value::Null, |(data, _)| if is_secret(input) { MASK.into() } else { data }),
            doubt,
            unit: unit(input),
            kind: declared(input),
            description: input.description.split_whitespace().collect::<Vec<_>>().join(" "),
            declared: input.origin.to_string(),
            because: because(&loaded.inventory, input, &every),
            settings: default(role, input).into_iter().chain(settings).collect(),
            uses: uses.into_iter().map(|found| (reader(&found.reader), found.origin.to_string())).collect(),
        }
    }
}
