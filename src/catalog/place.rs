//! Which roles are on which hosts, and in which order services come.
//!
//! In: a site, roles, and the hosts each pattern means. Out: a [`Placement`], or what is missing, doubled or circular.
//! Never: a value; those come once it is known what a role reads.

use std::collections::{BTreeMap, BTreeSet};

use crate::diag::{Diagnostic, Diagnostics};
use crate::graph;
use crate::name::{HostName, RoleName, ServiceName, did_you_mean};
use crate::resource::{KINDS, kind};
use crate::role::Role;
use crate::site::{Definition, Move, Site, Thing};
use crate::yaml::Key;

/// Services in order, and the roles of every host.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    /// Each after those it needs.
    pub services: Vec<PlacedService>,
    /// The roles of each host, each after those it requires.
    pub hosts: BTreeMap<HostName, Vec<Instance>>,
    /// What has another name now.
    pub moved: Vec<Move>,
}

/// A service with its hosts.
#[derive(Debug, Clone)]
pub struct PlacedService {
    /// As it is written.
    pub definition: Definition,
    /// Its hosts, in the order of the inventory.
    pub hosts: Vec<HostName>,
    /// What its role needs: the word the role uses, and the service that is meant.
    pub needs: Vec<(String, ServiceName)>,
}

/// A role on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Which.
    pub role: RoleName,
    /// The service it is; none if only other roles brought it in.
    pub service: Option<ServiceName>,
    /// The instances before it that it requires.
    pub requires: Vec<usize>,
}

/// Places the services of a site. `hosts` says which hosts a pattern means.
///
/// # Errors
/// Everything that is missing, doubled or circular.
pub fn place(
    site: &Site,
    roles: &BTreeMap<RoleName, Role>,
    hosts: &dyn Fn(&Definition) -> Result<Vec<HostName>, Diagnostic>,
) -> Result<Placement, Diagnostics> {
    let mut problems = Diagnostics::new();
    check_requires(roles, &mut problems);
    let mut services: Vec<PlacedService> = Vec::new();
    for definition in &site.services {
        let found = hosts(definition).map_err(|problem| problems.push(problem)).unwrap_or_default();
        let Some(role) = known_role(definition, roles, &mut problems) else { continue };
        let needs = needs(definition, role, site, &mut problems);
        services.push(PlacedService { definition: definition.clone(), hosts: found, needs });
    }
    site.moved.iter().for_each(|moved| check_move(moved, roles, &mut problems));
    let services = in_order(services, roles, &mut problems);
    if problems.has_errors() {
        return Err(problems);
    }
    let hosts = instances(&services, roles);
    problems.result(Placement { services, hosts, moved: site.moved.clone() })
}

/// What is moved goes to a role that is there, and both names are of kinds that there are.
fn check_move(moved: &Move, roles: &BTreeMap<RoleName, Role>, problems: &mut Diagnostics) {
    if let Thing::Role(role) = &moved.to
        && !roles.contains_key(role)
    {
        let hint = did_you_mean(role.as_str(), roles.keys().map(RoleName::as_str));
        problems.push(Diagnostic::error(format!("unknown role `{role}`")).at(&moved.to_origin).maybe_hint(hint));
    }
    for (thing, origin) in [(&moved.from, &moved.from_origin), (&moved.to, &moved.to_origin)] {
        if let Thing::Resource { kind: word, .. } = thing
            && kind(word).is_none()
        {
            let hint = did_you_mean(word, KINDS.iter().map(|kind| kind.name));
            problems.push(Diagnostic::error(format!("unknown kind `{word}`")).at(origin).maybe_hint(hint));
        }
    }
}

fn known_role<'a>(
    definition: &Definition,
    roles: &'a BTreeMap<RoleName, Role>,
    problems: &mut Diagnostics,
) -> Option<&'a Role> {
    let role = roles.get(&definition.role);
    if role.is_none() {
        let name = definition.role.as_str();
        let hint = did_you_mean(name, roles.keys().map(RoleName::as_str)).unwrap_or_default();
        // Nobody wrote the name of a role here, so it helps to say where it comes from.
        let own = format!("a service runs the role of its name unless `role` names another; {hint}");
        let hint = if definition.role_origin == definition.origin { own } else { hint };
        problems.push(
            Diagnostic::error(format!("unknown role `{name}`"))
                .at(&definition.role_origin)
                .wide(name.chars().count())
                .hint(hint.trim_end_matches("; ")),
        );
    }
    role
}

/// Every required role exists, and none requires itself by way of others.
fn check_requires(roles: &BTreeMap<RoleName, Role>, problems: &mut Diagnostics) {
    let names: Vec<&RoleName> = roles.keys().collect();
    let place: BTreeMap<&str, usize> = names.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
    let mut edges = Vec::new();
    for (index, role) in roles.values().enumerate() {
        for required in &role.requires {
            match place.get(required.name.as_str()) {
                Some(other) => edges.push((index, *other)),
                None => problems.push(
                    Diagnostic::error(format!("unknown role `{}`", required.name))
                        .at(&required.origin)
                        .wide(required.name.chars().count())
                        .maybe_hint(did_you_mean(&required.name, place.keys().copied())),
                ),
            }
        }
    }
    if let Err(cycle) = graph::order(names.len(), &edges) {
        let path = cycle.path(|index| names[index].as_str());
        let first = cycle.0.first().and_then(|index| roles[names[*index]].requires.first());
        let problem = Diagnostic::error(format!("roles require each other in a cycle: {path}"));
        let problem = problem.hint("remove one of them from the `requires` of the one before it");
        problems.push(first.map_or(problem.clone(), |key| problem.at(&key.origin)));
    }
}

/// What its role needs, and what is added to that in site.yml, which its role may not know of.
fn needs(definition: &Definition, role: &Role, site: &Site, problems: &mut Diagnostics) -> Vec<(String, ServiceName)> {
    let added = definition.needs.iter().filter(|(word, _)| role.needs.iter().all(|need| need.name != *word));
    let added = added.map(|(word, chosen)| Key { name: word.clone(), origin: chosen.origin.clone() });
    let wanted: Vec<Key> = role.needs.iter().cloned().chain(added).collect();
    let found = wanted.into_iter().filter_map(|need| {
        let found = needed_service(definition, &need, site).map_err(|problem| problems.push(problem)).ok()?;
        Some((need.name, found))
    });
    found.collect()
}

fn needed_service(definition: &Definition, need: &Key, site: &Site) -> Result<ServiceName, Diagnostic> {
    if let Some((_, chosen)) = definition.needs.iter().find(|(word, _)| *word == need.name) {
        let found = site.services.iter().find(|service| service.name.as_str() == chosen.name);
        return found.map(|service| service.name.clone()).ok_or_else(|| {
            let names = site.services.iter().map(|service| service.name.as_str());
            Diagnostic::error(format!("unknown service `{}`", chosen.name))
                .at(&chosen.origin)
                .maybe_hint(did_you_mean(&chosen.name, names))
        });
    }
    if let Some(service) = site.services.iter().find(|service| service.name.as_str() == need.name) {
        return Ok(service.name.clone());
    }
    let of_role: Vec<&Definition> = site.services.iter().filter(|service| service.role.as_str() == need.name).collect();
    match of_role.as_slice() {
        [one] => Ok(one.name.clone()),
        [] => Err(Diagnostic::error(format!(
            "`{}` needs the service `{}`, which is not in site.yml",
            definition.name, need.name
        ))
        .at(&definition.origin)
        .wide(definition.name.as_str().chars().count())
        .hint(format!("add `{}: {{ hosts: GROUP }}` under `services` ({} needs it)", need.name, need.origin))),
        several => {
            let names: Vec<&str> = several.iter().map(|service| service.name.as_str()).collect();
            Err(Diagnostic::error(format!("`{}` needs one of {}", definition.name, names.join(", ")))
                .at(&definition.origin)
                .hint(format!("say which: `needs: {{ {}: {} }}`", need.name, names[0])))
        }
    }
}

/// Each after those it needs, and after those whose roles its own requires on one of its hosts: what a service is made of
/// changes in the batches of its own.
fn in_order(
    services: Vec<PlacedService>,
    roles: &BTreeMap<RoleName, Role>,
    problems: &mut Diagnostics,
) -> Vec<PlacedService> {
    let index: BTreeMap<&ServiceName, usize> =
        services.iter().enumerate().map(|(index, service)| (&service.definition.name, index)).collect();
    let needs = services.iter().enumerate().flat_map(|(from, service)| {
        service.needs.iter().filter_map(|(_, need)| index.get(need).map(|to| (from, *to))).collect::<Vec<_>>()
    });
    let edges: Vec<(usize, usize)> = needs.chain(stacked(&services, roles)).collect();
    match graph::order(services.len(), &edges) {
        Ok(order) => order.into_iter().map(|index| services[index].clone()).collect(),
        Err(cycle) => {
            let path = cycle.path(|index| services[index].definition.name.as_str());
            let problem = Diagnostic::error(format!("services need each other in a cycle: {path}"));
            let problem = problem.hint("remove one of them from the `needs` of the role of the one before it");
            let first = cycle.0.first().map(|index| services[*index].definition.origin.clone());
            problems.push(first.map_or(problem.clone(), |origin| problem.at(&origin)));
            services
        }
    }
}

/// Pairs of services that share a host, of which the first requires the role of the second.
fn stacked(services: &[PlacedService], roles: &BTreeMap<RoleName, Role>) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for (from, service) in services.iter().enumerate() {
        let below = all_required(&service.definition.role, roles);
        for (to, other) in services.iter().enumerate().filter(|(to, _)| *to != from) {
            if below.contains(&other.definition.role) && service.hosts.iter().any(|host| other.hosts.contains(host)) {
                pairs.push((from, to));
            }
        }
    }
    pairs
}

/// All roles that a role requires, directly or by way of others, without itself.
fn all_required(role: &RoleName, roles: &BTreeMap<RoleName, Role>) -> BTreeSet<RoleName> {
    let mut found = BTreeSet::new();
    let mut open = vec![role.clone()];
    while let Some(next) = open.pop() {
        let names = roles.get(&next).into_iter().flat_map(|role| &role.requires);
        open.extend(names.filter_map(|key| RoleName::new(&key.name).ok()).filter(|name| found.insert(name.clone())));
    }
    found.remove(role);
    found
}

fn instances(services: &[PlacedService], roles: &BTreeMap<RoleName, Role>) -> BTreeMap<HostName, Vec<Instance>> {
    let mut of_role: BTreeMap<(&HostName, &RoleName), &ServiceName> = BTreeMap::new();
    for service in services {
        for host in &service.hosts {
            of_role.entry((host, &service.definition.role)).or_insert(&service.definition.name);
        }
    }
    let mut hosts: BTreeMap<HostName, Vec<Instance>> = BTreeMap::new();
    for service in services {
        for host in &service.hosts {
            let placed = hosts.entry(host.clone()).or_default();
            let services = |role: &RoleName| of_role.get(&(host, role)).map(|name| (*name).clone());
            let own = Some(service.definition.name.clone());
            add(&service.definition.role, own, roles, &services, placed);
        }
    }
    hosts
}

/// Adds a role after all it requires; gives its place. Cycles were refused before.
fn add(
    role: &RoleName,
    service: Option<ServiceName>,
    roles: &BTreeMap<RoleName, Role>,
    services: &dyn Fn(&RoleName) -> Option<ServiceName>,
    placed: &mut Vec<Instance>,
) -> usize {
    if let Some(index) = placed.iter().position(|other| other.role == *role && other.service == service) {
        return index;
    }
    let wanted: BTreeSet<RoleName> =
        roles[role].requires.iter().filter_map(|key| RoleName::new(&key.name).ok()).collect();
    let requires = wanted.iter().map(|other| add(other, services(other), roles, services, placed)).collect();
    placed.push(Instance { role: role.clone(), service, requires });
    placed.len() - 1
}
