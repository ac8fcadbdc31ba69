//! The values a role's expressions can use on a host.
//!
//! In: a placement, variables and facts. Out: a scope per role and host. Never: a value that does not fit its type.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::place::{Instance, PlacedService};
use super::{Desired, Facts};
use crate::diag::{Diagnostic, Diagnostics};
use crate::name::{HostName, ServiceName};
use crate::role::{Input, Role, Typed};
use crate::secret::{Secrecy, Secret};
use crate::template::{Scope, Value, value};
use crate::yaml::Node;

/// What services provide and where they run, as far as it is known.
#[derive(Default)]
pub(super) struct Known {
    services: BTreeMap<ServiceName, Value>,
    /// Converted once, however many hosts read it.
    provided: BTreeMap<ServiceName, Value>,
    /// The place of each host in its service, from 1.
    positions: BTreeMap<ServiceName, BTreeMap<HostName, usize>>,
    secrets: RefCell<BTreeSet<Secret<String>>>,
}

impl Known {
    /// Works out what a service is and provides. Those it needs are known already.
    pub(super) fn add(&mut self, desired: &Desired<'_>, service: &PlacedService, problems: &mut Diagnostics) {
        let name = &service.definition.name;
        let members = members(desired, &service.hosts);
        self.services.insert(name.clone(), value(&json!({ "name": name.as_str(), "hosts": members })));
        let positions = service.hosts.iter().enumerate().map(|(index, host)| (host.clone(), index + 1));
        self.positions.insert(name.clone(), positions.collect());
        let mut provided = Scope::default();
        provided.set("hosts", value(&members));
        let role = &desired.roles[&service.definition.role];
        if let (Some(first), false) = (service.hosts.first(), role.provides.is_empty()) {
            let instance = Instance { role: role.name.clone(), service: Some(name.clone()), requires: Vec::new() };
            // Inputs that are wrong are reported where the role itself is compiled.
            let (scope, _) = self.inputs(desired, first, &instance);
            for (key, recipe) in &role.provides {
                if let Some(rendered) = problems.keep(recipe.render(&scope)) {
                    let data = rendered.data.exposed();
                    self.remember(&data, rendered.secrecy);
                    provided.set_as(key, value(&data), rendered.secrecy);
                }
            }
        }
        self.provided.insert(name.clone(), provided.to_value());
    }

    /// All secrets that were set, the longest first: a short one that is a part of it would leave the rest to be seen.
    pub(super) fn secrets(&self) -> Vec<Secret<String>> {
        let mut secrets: Vec<Secret<String>> = self.secrets.borrow().iter().cloned().collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        secrets
    }

    /// Keeps what must be masked wherever a host repeats it: every text and number, and every line of a long text.
    fn remember(&self, data: &Json, secrecy: Secrecy) {
        if !secrecy.is_secret() {
            return;
        }
        let keep = |text: &str| {
            self.secrets.borrow_mut().insert(Secret::new(text.to_owned()));
        };
        match data {
            Json::Null | Json::Bool(_) => {}
            Json::Number(number) => keep(&number.to_string()),
            Json::String(text) => std::iter::once(text.as_str()).chain(text.lines()).for_each(keep),
            Json::Array(items) => items.iter().for_each(|item| self.remember(item, secrecy)),
            Json::Object(entries) => {
                entries.keys().for_each(|key| keep(key));
                entries.values().for_each(|item| self.remember(item, secrecy));
            }
        }
    }

    /// The scope of a role on a host.
    ///
    /// # Errors
    /// Inputs that are missing or do not fit.
    pub(super) fn scope(
        &self,
        desired: &Desired<'_>,
        host: &HostName,
        instance: &Instance,
    ) -> Result<Scope, Diagnostics> {
        let (scope, mut problems) = self.inputs(desired, host, instance);
        let role = &desired.roles[&instance.role];
        for refusal in &role.refuse {
            // A refusal may ask for an input that is wrong; that was said already.
            if !problems.has_errors() {
                let found = refused(desired, role, refusal, instance.service.as_ref(), &scope);
                found.sorted().into_iter().for_each(|problem| problems.push(problem.on(host)));
            }
        }
        problems.result(scope)
    }

    /// All names of a role on a host, the inputs in the order written, so that a default can use those before it.
    pub(super) fn inputs(&self, desired: &Desired<'_>, host: &HostName, instance: &Instance) -> (Scope, Diagnostics) {
        let mut problems = Diagnostics::new();
        let mut scope = Scope::default();
        scope.set("environment", value(&json!({ "name": desired.owner.environment.as_str() })));
        scope.set("host", value(&json!({ "name": host.as_str(), "address": desired.address(host) })));
        scope.set("facts", facts(desired.facts, host));
        if let Some(service) = &instance.service {
            self.service(desired, service, host, &mut scope);
        }
        for input in &desired.roles[&instance.role].inputs {
            let given = (desired.variable)(host, instance.service.as_ref(), &input.name);
            let typed = self
                .input(input, given, &scope)
                .and_then(|typed| typed.ok_or_else(|| missing(input, instance.service.as_ref()).on(host).into()));
            if let Some(typed) = problems.keep(typed) {
                scope.set_as(&input.name, typed.value, typed.secrecy);
            }
        }
        (scope, problems)
    }

    /// The value of an input, from what was given for it; nothing where it is required and missing.
    fn input(&self, input: &Input, given: Option<Node>, scope: &Scope) -> Result<Option<Typed>, Diagnostics> {
        let ((data, secrecy), origin) = if let Some(node) = given {
            (node.exposed(), node.origin.clone())
        } else if let Some(recipe) = &input.default {
            let rendered = recipe.render(scope)?;
            ((rendered.data.exposed(), rendered.secrecy), recipe.origin().clone())
        } else if input.required {
            return Ok(None);
        } else {
            return Ok(Some(Typed { value: Value::from(()), secrecy: Secrecy::Open }));
        };
        self.remember(&data, secrecy.with(input.secrecy()));
        let wrong = |why| Diagnostic::error(why).at(&origin).hint(input.example(&data, secrecy)).into();
        input.accept(&data, secrecy).map(Some).map_err(wrong)
    }

    fn service(&self, desired: &Desired<'_>, service: &ServiceName, host: &HostName, scope: &mut Scope) {
        let Some(placed) = desired.placement.services.iter().find(|s| s.definition.name == *service) else { return };
        let position = self.positions.get(service).and_then(|all| all.get(host)).copied().unwrap_or_default();
        if let Some(known) = self.services.get(service) {
            scope.set("service", crate::template::extend(known, "position", Value::from(position)));
        }
        let needs: BTreeMap<&str, &Value> =
            placed.needs.iter().filter_map(|(word, name)| Some((word.as_str(), self.provided.get(name)?))).collect();
        scope.set("needs", value(&needs));
    }
}

fn members(desired: &Desired<'_>, hosts: &[HostName]) -> Json {
    let member = |(index, host): (usize, &HostName)| json!({ "name": host.as_str(), "address": desired.address(host), "position": index + 1 });
    hosts.iter().enumerate().map(member).collect()
}

fn facts(facts: &Facts, host: &HostName) -> Value {
    facts.get(host).map_or_else(|| value(&json!({})), value)
}

fn missing(input: &Input, service: Option<&ServiceName>) -> Diagnostic {
    let place = service.map_or_else(String::new, |service| format!("under `vars` of the service `{service}`, or "));
    let about = if input.description.is_empty() {
        String::new()
    } else {
        format!(" ({})", input.description.trim_end_matches('.'))
    };
    Diagnostic::error(format!("`{}` must be set", input.name))
        .at(&input.origin)
        .wide(input.name.len())
        .hint(format!("set `{}`{about} {place}in group_vars or host_vars", input.name))
}

/// The place is the service, which is what a user can mend; without one, the role.
fn refused(
    desired: &Desired<'_>,
    role: &Role,
    refusal: &crate::role::Refusal,
    service: Option<&ServiceName>,
    scope: &Scope,
) -> Diagnostics {
    let mut problems = Diagnostics::new();
    let holds = refusal.when.holds(scope).map_err(|problem| problems.push(problem)).unwrap_or(false);
    if !holds {
        return problems;
    }
    let mut text = |recipe: &crate::template::Recipe| {
        let rendered = problems.keep(recipe.render(scope)).map(|rendered| rendered.data.masked());
        rendered.map(|data| data.as_str().map_or_else(|| data.to_string(), str::to_owned)).unwrap_or_default()
    };
    let because = text(&refusal.because);
    let hint = refusal.hint.as_ref().map(&mut text);
    let who = service.map_or_else(|| role.name.to_string(), ToString::to_string);
    let placed = service.and_then(|name| desired.placement.services.iter().find(|s| s.definition.name == *name));
    let place = placed.map_or_else(|| refusal.when.origin(), |placed| &placed.definition.origin);
    problems.push(Diagnostic::error(format!("{who} is refused: {because}")).at(place).maybe_hint(hint));
    problems
}
