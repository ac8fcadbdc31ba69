//! What every kind promises of being taken away, and of being recognized.
//!
//! In: the example of every kind, and every resource of the case files. Out: that the form in which it is desired away is
//! the same thing, holds no secret, and leaves nothing when it was done. Never: a host.

use std::sync::Arc;

use armilla::catalog::Catalog;
use armilla::resource::{Hold, KINDS, KindInfo, Resource, Seen, kind};
use armilla::secret::Secret;
use armilla::sim::World;
use armilla::step::{Fetch, PathReading, Probe, Reading, Readings};
use serde_json::Value;

use crate::cases::{self, Told};
use crate::registry;

/// Kinds that cannot be taken away, or not as their examples are.
const STAYS: &[(&str, &str)] = &[
    ("command", "nobody knows what undoes a program"),
    ("hostname", "a host has one"),
    ("http", "only where `delete` says how"),
    ("locale", "a host has one"),
    ("timezone", "a host has one"),
];

/// Resources beside the examples, for what those do not show.
const MORE: &[(&str, &str)] = &[
    (
        "http",
        "{ url: 'http://127.0.0.1:8500/v1/jobs/7', body: { cron: daily }, delete: {}, headers: { X-From: armilla } }",
    ),
    (
        "authorized_key",
        "{ user: root, keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH9O7fFVOEwGtHvMdKYr1NOT4b8Pn1yOwiUEfKNl7wtt ada] }",
    ),
    ("block", "{ path: /etc/profile, name: ours, marker: '; {mark}', content: umask 027, create: true }"),
    ("git", "{ path: /opt/jobs, repository: 'https://git.example.org/jobs.git', revision: main, clean: overwrite }"),
    ("ini", "{ path: /etc/a.ini, key: at top, value: 1 s, create: true }"),
    ("line", "{ path: /etc/modules, line: dm_crypt, create: true }"),
    ("package", "{ name: spark, hold: true }"),
    ("service", "{ name: zookeeper }"),
    ("yaml", "{ path: /etc/a.yml, key: [a.b, c], value: [1, 2], create: true }"),
];

fn shown(resource: &dyn Resource) -> String {
    format!("{} {}", resource.kind(), resource.target())
}

/// The form that is desired away, after a look at all that is promised of it.
fn promised(
    what: &str,
    kind: &KindInfo,
    resource: &dyn Resource,
    secrets: &[Secret<String>],
) -> Option<(Value, Arc<dyn Resource>)> {
    let keys = resource.absent()?;
    let text = keys.to_string();
    let away = (kind.parse)(&keys.clone().into()).unwrap_or_else(|error| panic!("{what}: {text}: {}", error.what));
    assert_eq!(shown(&*away), shown(resource), "{what}: {text} is another thing");
    assert_eq!((away.claim(), away.holds()), (resource.claim(), resource.holds()), "{what}: {text}");
    assert_eq!(away.absent(), None, "{what}: {text} is not away");
    assert!(secrets.iter().all(|secret| !text.contains(secret.expose().trim())), "{what}: {text} has a secret in it");
    // A script is taken away by itself.
    assert!(text.len() < 1024 || kind.name == "script", "{what}: {text} is long");
    assert!(kind.name == "script" || keys.get("content").is_none(), "{what}: {text} has content");
    Some((keys, away))
}

#[test]
fn what_is_desired_away_is_the_same_thing_and_holds_no_secret() {
    let away = |told: &Told| promised(&told.path, told.kind, &*told.resource, &told.keys.secrets()).is_some();
    let count = cases::resources().iter().filter(|told| away(told)).count();
    assert!(count > 200, "only {count} resources of the cases can be taken away");
}

#[test]
fn a_thing_is_recognized_whatever_moves_by_itself() {
    let mut count = 0;
    for Told { path, resource, readings, .. } in cases::resources() {
        let Some(readings) = readings else { continue };
        let Ok(before) = resource.seen(&readings) else { continue };
        let later: Readings = readings.iter().map(|(probe, reading)| (probe.clone(), moved(probe, reading))).collect();
        assert_eq!(resource.seen(&later).expect("it is understood"), before, "{path}");
        count += 1;
    }
    assert!(count > 300, "only {count} resources of the cases were recognized");
}

/// The same answer a day later.
fn moved(probe: &Probe, reading: &Reading) -> Reading {
    const DAY: i64 = 86_400;
    let mut reading = reading.clone();
    match (&mut reading, probe) {
        (Reading::Path(PathReading::File { modified, content, .. }), Probe::Path { content: fetch, .. }) => {
            *modified += DAY;
            if !matches!(fetch, Fetch::Always) {
                *content = None;
            }
        }
        (Reading::Path(PathReading::Link { modified, .. }), _) => *modified += DAY,
        (Reading::Package(package), _) => package.lists_age = Some(package.lists_age.unwrap_or_default() + 86_400),
        (Reading::Unit(unit), _) => unit.since = unit.since.map(|since| since + DAY),
        _ => {}
    }
    reading
}

/// The last resource of a kind, as the host sees it now.
fn seen(what: &str, world: &World, kind: &str) -> (Arc<dyn Resource>, Seen) {
    let catalog: Catalog = world.catalog().unwrap_or_else(|problems| panic!("{what}: {problems}"));
    let items = catalog.hosts.values().flat_map(|host| &host.blocks).flat_map(|block| &block.items);
    let resource = items.map(|item| Arc::clone(&item.resource)).rfind(|resource| resource.kind() == kind);
    let resource = resource.unwrap_or_else(|| panic!("{what}: no {kind}"));
    let observed = world.observe(&catalog);
    let readings = observed.values().next().and_then(|answer| answer.as_ref().ok()).expect("the host answers");
    let seen = resource.seen(readings).unwrap_or_else(|why| panic!("{what}: {why}"));
    (resource, seen)
}

fn settles(what: &str, world: &World) {
    let plan = world.plan().unwrap_or_else(|problems| panic!("{what}: {problems}"));
    assert!(!plan.is_empty(), "{what}: there is nothing to do");
    let run = world.apply(&plan);
    assert!(run.report.converged(), "{what}: {}", armilla::sim::show_run(&plan, &run));
    let again = world.plan().unwrap_or_else(|problems| panic!("{what}: {problems}"));
    assert!(again.is_empty(), "{what}: {}", armilla::sim::show_plan(&again));
}

/// Made on an empty host, recognized later, taken away.
fn comes_and_goes(what: &str, kind: &KindInfo, before: &str, resource: &str) {
    let all = format!("{before}  - {resource}\n");
    let mut world = registry::world(&all);
    let (_, nothing) = seen(what, &world, kind.name);
    assert!(!nothing.exists || before.contains(kind.name), "{what}: it is there before it was made");
    settles(what, &world);
    let (made, there) = seen(what, &world, kind.name);
    assert!(there.exists, "{what}: it is not there");
    if kind.name != "service" {
        assert_ne!(there.fingerprint, nothing.fingerprint, "{what}: that it was made cannot be seen");
    }
    world.fleet.wait(100_000);
    assert_eq!(seen(what, &world, kind.name).1, there, "{what}: it changes with the time");
    let Some((keys, _)) = promised(what, kind, &*made, &[]) else { panic!("{what}: it cannot be taken away") };
    world.role("it", &format!("summary: It.\nresources:\n{before}  - {}: {keys}\n", kind.name)).expect("a role");
    let (_, same) = seen(what, &world, kind.name);
    assert!(same.exists, "{what}: it is not found: {keys}");
    assert_eq!(same.imprint.expose(), there.imprint.expose(), "{what}: it is not recognized: {keys}");
    settles(what, &world);
    let (_, gone) = seen(what, &world, kind.name);
    if resource.contains("create: true") {
        let left = world.fleet.on("h1", |host| made.holds().map(|held| host.path(path_of(&held), &Fetch::Digest)));
        assert_eq!(left.flatten(), Some(PathReading::Absent), "{what}: its file is still there");
    }
    // A package may have enabled the unit it brought.
    assert!(!gone.exists || kind.name == "service", "{what}: it is still there");
}

fn path_of(held: &Hold) -> &str {
    let (Hold::Whole(path) | Hold::Part(path)) = held;
    path
}

#[test]
fn every_example_comes_is_recognized_and_goes() {
    for kind in KINDS.iter().filter(|kind| STAYS.iter().all(|(name, _)| *name != kind.name)) {
        comes_and_goes(kind.name, kind, registry::before(kind.name), kind.example);
    }
}

#[test]
fn more_than_the_examples_comes_is_recognized_and_goes() {
    for (name, keys) in MORE {
        let kind = kind(name).expect("a kind");
        comes_and_goes(&format!("{name}: {keys}"), kind, registry::before(name), &format!("{name}: {keys}"));
    }
}

#[test]
fn what_cannot_be_taken_away_says_so() {
    for (name, why) in STAYS {
        let kind = kind(name).expect("a kind");
        let world = registry::world(&format!("{}  - {}\n", registry::before(name), kind.example));
        assert_eq!(seen(name, &world, name).0.absent(), None, "{name}: {why}");
    }
}

#[test]
fn a_purge_takes_along_what_came_with_it_and_nothing_else() {
    let mut world = registry::world("  - package: zookeeperd\n  - package: spark\n");
    let installed = |world: &World| {
        let names = world.fleet.on("h1", |host| host.packages.keys().cloned().collect::<Vec<_>>());
        names.expect("the host").join(" ")
    };
    // Installed for another package that is gone: not ours.
    world.fleet.on("h1", |host| {
        host.packages.insert("tree".to_owned(), "2.1.0-1".to_owned());
        host.automatic.insert("tree".to_owned());
    });
    let shape = |world: &World| world.fleet.on("h1", |host| host.shape()).expect("the host");
    let before = shape(&world);
    settles("two packages", &world);
    assert_eq!(installed(&world), "openjdk-17-jre-headless spark tree zookeeper zookeeperd");
    let away =
        "summary: It.\nresources:\n  - package: { name: zookeeperd, state: absent, purge: true }\n  - package: spark\n";
    world.role("it", away).expect("a role");
    let shown = armilla::sim::show_plan(&world.plan().expect("a plan"));
    assert!(shown.contains("zookeeper") && !shown.contains("tree"), "{shown}");
    settles("one away", &world);
    assert_eq!(installed(&world), "openjdk-17-jre-headless spark tree");
    let away = "summary: It.\nresources:\n  - package: { name: spark, state: absent }\n";
    world.role("it", away).expect("a role");
    settles("the other removed", &world);
    let conf = |world: &World| world.fleet.on("h1", |host| host.paths.file("/etc/spark/spark.conf").is_some());
    assert_eq!((installed(&world).as_str(), conf(&world)), ("openjdk-17-jre-headless tree", Some(true)));
    let away = "summary: It.\nresources:\n  - package: { name: spark, state: absent, purge: true }\n  - package: { name: openjdk-17-jre-headless, state: absent, purge: true }\n";
    world.role("it", away).expect("a role");
    settles("what was left of it", &world);
    let after = shape(&world);
    // systemd leaves the folder of its links.
    let after: std::collections::BTreeMap<_, _> =
        after.into_iter().filter(|(key, _)| !key.ends_with(".target.wants")).collect();
    let odd: Vec<_> = before
        .iter()
        .filter(|(key, value)| after.get(*key) != Some(value))
        .chain(after.iter().filter(|(key, _)| !before.contains_key(*key)))
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
}
