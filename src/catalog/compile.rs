//! From roles and values to resources.
//!
//! In: what is desired, and the facts. Out: a [`Catalog`]. Never: two resources that want the same thing of a host.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::place::Instance;
use super::scope::Known;
use super::{Catalog, Chosen, Data, Desired, Extent, HostCatalog, RoleBlock, Service, Wanted, risk};
use crate::diag::{Diagnostic, Diagnostics, Origin};
use crate::fact::FACTS;
use crate::name::{HostName, RoleName, Tag, did_you_mean};
use crate::project::{File, Project};
use crate::resource::{Claim, Hold, ParseError, Resource, Source};
use crate::role::{Item, Member, Role};
use crate::secret::Datum;
use crate::step::Check;
use crate::template::{self, Library, Scope};

/// Compiles what is desired of every host of the placement that is not left out by a limit.
///
/// # Errors
/// Everything that is wrong in what a user wrote, also after templating.
pub fn compile(desired: &Desired<'_>) -> Result<Catalog, Diagnostics> {
    let mut problems = Diagnostics::new();
    let mut known = Known::default();
    for service in &desired.placement.services {
        known.add(desired, service, &mut problems);
    }
    let compiler = Compiler { desired, known, templates: RefCell::default(), made: RefCell::default() };
    let mut hosts = BTreeMap::new();
    let mut clashes = Clashes::default();
    for (name, instances) in desired.placement.hosts.iter().filter(|(name, _)| desired.wants(name)) {
        let Some(endpoint) = (desired.endpoint)(name) else { continue };
        let blocks = compiler.host(name, instances, &mut problems);
        clashes.look(name, &blocks);
        hosts.insert(name.clone(), HostCatalog { endpoint, blocks });
    }
    problems.extend(clashes.problems());
    let services = desired.placement.services.iter().map(|placed| Service {
        name: placed.definition.name.clone(),
        role: placed.definition.role.clone(),
        hosts: placed.hosts.clone(),
        needs: placed.needs.iter().map(|(_, name)| name.clone()).collect(),
        policy: desired.roles[&placed.definition.role].rollout.policy.clone(),
    });
    let services = services.collect();
    let secrets = compiler.known.secrets();
    let spare = desired.spare.iter().filter(|name| !desired.placement.hosts.contains_key(*name));
    let spare = spare.filter_map(|name| Some((name.clone(), (desired.endpoint)(name)?))).collect();
    let moved = desired.placement.moved.clone();
    let owner = desired.owner.clone();
    let (extent, data) = (Extent::Whole, Data::Kept);
    problems.result(Catalog { owner, services, hosts, spare, moved, extent, data, secrets })
}

struct Compiler<'a> {
    desired: &'a Desired<'a>,
    known: Known,
    /// Compiled template files, by role and name.
    templates: RefCell<HashMap<(RoleName, String), Option<template::Text>>>,
    /// Resources that are the same on many hosts are made once: by where they are written and their keys.
    made: RefCell<Made>,
}

type Made = HashMap<(*const Item, Arc<Datum>), Arc<dyn Resource>>;

impl Compiler<'_> {
    fn host(&self, host: &HostName, instances: &[Instance], problems: &mut Diagnostics) -> Vec<RoleBlock> {
        let mut blocks: Vec<RoleBlock> =
            instances.iter().map(|instance| self.block(host, instance, problems)).collect();
        let items = blocks.iter_mut().flat_map(|block| &mut block.items);
        items.zip(0..).for_each(|(item, order)| item.order = order);
        blocks
    }

    fn block(&self, host: &HostName, instance: &Instance, problems: &mut Diagnostics) -> RoleBlock {
        let role = &self.desired.roles[&instance.role];
        let scope = problems.keep(self.known.scope(self.desired, host, instance));
        let (mut items, mut health, mut member) = (Vec::new(), Vec::new(), Member::default());
        let tags = Arc::new(self.tags(role, instance));
        if let Some(scope) = &scope {
            for item in &role.resources {
                items.extend(problems.keep(self.item(role, item, scope, &tags)).into_iter().flatten());
            }
            let checks = role.health.iter().filter_map(|check| problems.keep(check.check(scope)));
            let units: Vec<String> = items.iter().filter_map(|item: &Wanted| item.resource.runs()).collect();
            health.extend(checks.map(|check| Check { units: units.clone(), ..check }));
            // A role that others bring in changes with them.
            if instance.service.is_some() {
                member = problems.keep(role.rollout.member(scope)).unwrap_or_default();
            }
        }
        RoleBlock {
            role: instance.role.clone(),
            service: instance.service.clone(),
            requires: instance.requires.clone(),
            items,
            left_out: Vec::new(),
            health,
            member,
        }
    }

    /// The tags that all resources of a role have on a host.
    fn tags(&self, role: &Role, instance: &Instance) -> BTreeSet<Tag> {
        let mut services = self.desired.placement.services.iter();
        let service = services.find(|placed| Some(&placed.definition.name) == instance.service.as_ref());
        role.tags.iter().chain(service.into_iter().flat_map(|placed| &placed.definition.tags)).cloned().collect()
    }

    /// One entry of `resources`: none, one, or one for each item of its loop.
    fn item(
        &self,
        role: &Role,
        item: &Item,
        scope: &Scope,
        inherited: &Arc<BTreeSet<Tag>>,
    ) -> Result<Vec<Wanted>, Diagnostics> {
        let mut problems = Diagnostics::new();
        let mut made = Vec::new();
        for scope in repeated(item, scope)? {
            if problems.keep(applies(item, &scope)) == Some(true) {
                made.extend(problems.keep(self.resource(role, item, &scope)));
            }
        }
        let tags = match () {
            () if item.tags.is_empty() => Arc::clone(inherited),
            // Choosing a whole service must not wake what its author put to sleep.
            () if item.tags.contains("never") => Arc::new(item.tags.clone()),
            () => Arc::new(&item.tags | inherited),
        };
        let wanted = made.into_iter().map(|(resource, keys)| Wanted {
            risk: risk::wait(item.risk, &*resource),
            resource,
            keys,
            order: 0,
            protect: item.protect,
            notify: item.notify,
            tags: Arc::clone(&tags),
            chosen: Chosen::Yes,
            origin: item.origin.clone(),
        });
        problems.result(wanted.collect())
    }

    fn resource(
        &self,
        role: &Role,
        item: &Item,
        scope: &Scope,
    ) -> Result<(Arc<dyn Resource>, Arc<Datum>), Diagnostics> {
        let mut keys = item.body.render(scope)?.data;
        self.source(role, item, scope, &mut keys)?;
        let key = (std::ptr::from_ref(item), Arc::new(keys));
        if let Some(resource) = self.made.borrow().get(&key) {
            return Ok((Arc::clone(resource), key.1));
        }
        let resource = parse(item, &key.1)?;
        self.made.borrow_mut().insert(key.clone(), Arc::clone(&resource));
        Ok((resource, key.1))
    }

    /// Replaces `src` by the content it names.
    fn source(&self, role: &Role, item: &Item, scope: &Scope, keys: &mut Datum) -> Result<(), Diagnostics> {
        if item.kind.source == Source::None || keys.get("src").is_none() {
            return Ok(());
        }
        let place = place(item, "src");
        if keys.get("content").is_some() {
            let problem = Diagnostic::error("`src` and `content` are mutually exclusive").at(&place);
            return Err(problem.hint("keep one of them").into());
        }
        let Some(Datum::Text(name)) = keys.remove("src") else {
            let problem = Diagnostic::error("`src` must be the name of a file").at(&place);
            return Err(problem
                .hint(format!("for example `src: motd`, which is roles/{}/files/motd", role.name))
                .into());
        };
        let content = match item.kind.source {
            Source::Template => self.rendered_file(role, &name, scope, &place)?,
            _ => self.plain_file(role, &name, &place)?,
        };
        if let Datum::Map(entries) = keys {
            entries.push(("content".to_owned(), content));
        }
        Ok(())
    }

    fn plain_file(&self, role: &Role, name: &str, place: &Origin) -> Result<Datum, Diagnostics> {
        let project = self.desired.project;
        match project.file(&role.name, name) {
            None => Err(missing("file", role, name, place, &project.file_names(&role.name)).into()),
            Some(File::Held(bytes)) => Ok(match std::str::from_utf8(bytes) {
                Ok(text) => text.into(),
                Err(_) => Datum::Bytes(bytes.clone()),
            }),
            Some(File::Large(file)) => match file.described() {
                Ok(file) => Ok(Datum::Large(file.clone())),
                Err(why) => Err(Diagnostic::error(why.clone()).at(place).into()),
            },
        }
    }

    fn rendered_file(&self, role: &Role, name: &str, scope: &Scope, place: &Origin) -> Result<Datum, Diagnostics> {
        let library = self.desired.project.library(&role.name);
        if library.get(name).is_none() {
            let known: Vec<&str> = library.names().into_iter().collect();
            return Err(missing("template", role, name, place, &known).into());
        }
        let key = (role.name.clone(), name.to_owned());
        if !self.templates.borrow().contains_key(&key) {
            let compiled = template::Text::load(name, &library);
            let kept = compiled.as_ref().ok().cloned();
            self.templates.borrow_mut().insert(key.clone(), kept);
            compiled?;
        }
        // A template that does not compile was reported when it was first met.
        let Some(Some(text)) = self.templates.borrow().get(&key).cloned() else { return Ok(Datum::from("")) };
        let (content, secrecy) = text.render(scope)?;
        Ok(if secrecy.is_secret() { Datum::secret(content) } else { Datum::Text(content) })
    }
}

/// One scope, or one for each item of a loop.
pub(super) fn repeated(item: &Item, scope: &Scope) -> Result<Vec<Scope>, Diagnostics> {
    let Some(list) = &item.repeat else { return Ok(vec![scope.clone()]) };
    let (items, secrecy) = list.items(scope)?;
    Ok(items.into_iter().map(|value| scope.with("item", value, secrecy)).collect())
}

/// Whether it is there at all.
pub(super) fn applies(item: &Item, scope: &Scope) -> Result<bool, Diagnostics> {
    Ok(item.when.as_ref().map_or(Ok(true), |when| when.holds(scope))?)
}

fn missing(what: &str, role: &Role, name: &str, place: &Origin, known: &[&str]) -> Diagnostic {
    Diagnostic::error(format!("{what} `{name}` not found"))
        .at(place)
        .hint(format!("it would be roles/{}/{what}s/{name} or {what}s/{name}", role.name))
        .maybe_hint(did_you_mean(name, known.iter().copied()).filter(|hint| hint.starts_with("did")))
}

fn place(item: &Item, key: &str) -> Origin {
    item.keys.iter().find(|k| k.name == key).map_or(&item.origin, |key| &key.origin).clone()
}

/// Makes the resource. A wrong key is taken out and the rest tried again, so that all wrong keys are found at once.
fn parse(item: &Item, data: &Datum) -> Result<Arc<dyn Resource>, Diagnostics> {
    let mut problems = Diagnostics::new();
    let mut rest = data.clone();
    let mut removed: BTreeSet<String> = BTreeSet::new();
    loop {
        let error = match (item.kind.parse)(&rest) {
            Ok(resource) => return problems.result(resource),
            Err(error) => error,
        };
        let missing = error.what.strip_prefix("missing field `").and_then(|text| text.split('`').next());
        // What is wrong with the whole may be so only because a key was taken out.
        let certain = !error.path.is_empty() || missing.is_some_and(|key| !removed.contains(key));
        if !problems.has_errors() || certain {
            problems.push(wrong_key(item, data, &error, missing));
        }
        let Some(key) = error.path.first().filter(|key| rest.remove(key).is_some()) else { return Err(problems) };
        removed.insert(key.clone());
    }
}

fn wrong_key(item: &Item, data: &Datum, error: &ParseError, missing: Option<&str>) -> Diagnostic {
    let kind = item.kind.name;
    let example = format!("for example: {}", item.kind.example);
    let (what, hint) = error.what.split_once('\n').unwrap_or((&error.what, &example));
    let Some(key) = error.path.first() else {
        let what = missing.map_or_else(|| what.to_owned(), |key| format!("a `{kind}` needs `{key}`"));
        return Diagnostic::error(what).at(&item.origin).wide(kind.len()).hint(hint);
    };
    let secret = data.get(key).is_some_and(Datum::has_secret);
    let (what, hint) = if secret {
        let what = format!("`{key}` of a `{kind}` must not be a secret: other users on the host could read it");
        (what, "pass it to a program with `stdin`, or in a file with `mode: \"0600\"`")
    } else {
        (format!("`{}` of a `{kind}`: {what}", error.path.join(".")), hint)
    };
    Diagnostic::error(what).at(&place(item, key)).wide(key.chars().count()).hint(hint)
}

/// Resources that want the same thing of a host.
#[derive(Default)]
struct Clashes(BTreeMap<(String, Origin, Origin), Vec<HostName>>);

impl Clashes {
    fn look(&mut self, host: &HostName, blocks: &[RoleBlock]) {
        let mut claimed: BTreeMap<(Claim, String), &Wanted> = BTreeMap::new();
        for item in blocks.iter().flat_map(|block| &block.items) {
            let target = item.resource.target();
            if let Some(first) = claimed.insert((item.resource.claim(), target.clone()), item) {
                self.add(host, format!("{} {target}", item.resource.kind()), item, first);
            }
        }
        self.look_at_files(host, blocks);
    }

    /// A file is either one resource's own, or parts of it are several resources'.
    fn look_at_files(&mut self, host: &HostName, blocks: &[RoleBlock]) {
        let items = || blocks.iter().flat_map(|block| &block.items);
        let part = |item: &Wanted| if let Some(Hold::Part(path)) = item.resource.holds() { Some(path) } else { None };
        let parts: Vec<(String, &Wanted)> = items().filter_map(|item| Some((part(item)?, item))).collect();
        if parts.is_empty() {
            return;
        }
        let whole =
            |item: &'_ Wanted| if let Some(Hold::Whole(path)) = item.resource.holds() { Some(path) } else { None };
        let wholes: BTreeMap<String, &Wanted> = items().filter_map(|item| Some((whole(item)?, item))).collect();
        for (path, item) in parts {
            if let Some(first) = wholes.get(&path) {
                let (kind, whole) = (item.resource.kind(), first.resource.kind());
                self.add(host, format!("{path}, managed in part by {kind} and as a whole by {whole},"), item, first);
            }
        }
    }

    fn add(&mut self, host: &HostName, what: String, item: &Wanted, first: &Wanted) {
        self.0.entry((what, item.origin.clone(), first.origin.clone())).or_default().push(host.clone());
    }

    fn problems(self) -> Diagnostics {
        let mut problems = Diagnostics::new();
        for ((what, here, there), hosts) in self.0 {
            let more = if hosts.len() > 3 { format!(" and {} more", hosts.len() - 3) } else { String::new() };
            let names: Vec<&str> = hosts.iter().take(3).map(HostName::as_str).collect();
            problems.push(
                Diagnostic::error(format!("{what} is declared twice on {}{more}", names.join(", ")))
                    .at(&here)
                    .hint(format!("the other is at {there}; keep one, or move it to a role that both require")),
            );
        }
        problems
    }
}

/// The names of facts that a role reads, in its templates and what those include, too.
pub fn facts_read(role: &Role, project: &Project) -> BTreeSet<String> {
    let library = project.library(&role.name);
    let names: BTreeSet<&str> = role.resources.iter().flat_map(|item| sources(item, &library)).collect();
    let templates = names.into_iter().filter_map(|name| template::Text::load(name, &library).ok());
    let reads: BTreeSet<String> = role.reads().into_iter().chain(templates.flat_map(|text| text.reads())).collect();
    // `facts` as a whole, as in `facts[name]` or a macro's argument, may be any of them.
    if reads.contains("facts") {
        return FACTS.iter().map(|fact| fact.name.to_owned()).collect();
    }
    reads.iter().filter_map(|name| name.strip_prefix("facts.")?.split('.').next().map(str::to_owned)).collect()
}

/// The templates that a resource may be made from: one, or any if the name is computed.
fn sources<'a>(item: &'a Item, library: &Library<'a>) -> Vec<&'a str> {
    if item.kind.source != Source::Template || !item.keys.iter().any(|key| key.name == "src") {
        return Vec::new();
    }
    item.body.text_of("src").map_or_else(|| library.names().into_iter().collect(), |name| vec![name])
}
