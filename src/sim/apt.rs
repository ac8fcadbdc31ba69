//! `apt-get` and `apt-mark` on a simulated host.
//!
//! In: their arguments. Out: packages with what they bring, started as Debian starts them. Never: an answer to an option
//! that is not known here.

use std::collections::BTreeSet;

use super::archive::{Package, package};
use super::host::{Host, User};
use super::{Trouble, units};
use crate::step::{Leftovers, Manager, Mode, PackageRemoval, Removable, RemovalReading};

/// What `apt-get` or `apt-mark` does. `offline`: services are neither started nor stopped.
pub(super) fn run(host: &mut Host, words: &[&str], offline: bool) -> Result<String, Trouble> {
    match words {
        ["apt-mark", "hold", "--", name] => mark(host, name, true),
        ["apt-mark", "unhold", "--", name] => mark(host, name, false),
        ["apt-get", "install", options @ .., "--", wish] => install(host, options, wish, offline),
        _ => Err(Trouble::new(100, format!("E: Command line not understood: {}", words.join(" ")))),
    }
}

/// What fetching the lists of a single source does: it must name a key that is there, or say that it has none.
pub(super) fn try_source(host: &mut Host, source: &[u8]) -> Result<String, Trouble> {
    let text = String::from_utf8_lossy(source);
    let key = text.lines().find_map(|line| line.strip_prefix("Signed-By: "));
    let known = key.map_or_else(|| text.contains("Trusted: yes"), |path| host.paths.file(path).is_some());
    if !known || !text.contains("\nURIs: http") {
        return Err(Trouble::new(100, "E: The repository is not signed."));
    }
    host.lists = Some(host.now);
    Ok(String::new())
}

fn mark(host: &mut Host, name: &str, held: bool) -> Result<String, Trouble> {
    if !host.packages.contains_key(name) && held {
        return Err(Trouble::new(
            100,
            format!("E: Can't select installed nor candidate version from package '{name}'"),
        ));
    }
    if held {
        host.held.insert(name.to_owned())
    } else {
        host.held.remove(name)
    };
    Ok(String::new())
}

fn changed_held() -> Trouble {
    Trouble::new(100, "E: Held packages were changed and -y was used without --allow-change-held-packages.")
}

const OPTIONS: &[&str] = &[
    "-y",
    "-q",
    "--no-install-recommends",
    "-o",
    "DPkg::Lock::Timeout=300",
    "Dpkg::Options::=--force-confdef",
    "Dpkg::Options::=--force-confold",
    "--allow-downgrades",
    "--allow-change-held-packages",
];

fn install(host: &mut Host, options: &[&str], wish: &str, offline: bool) -> Result<String, Trouble> {
    if let Some(option) = options.iter().find(|option| !OPTIONS.contains(option)) {
        return Err(Trouble::new(100, format!("E: Command line option {option} is not understood")));
    }
    let (name, version) = wish.split_once('=').map_or((wish, None), |(name, version)| (name, Some(version)));
    let found = package(name).filter(|_| host.lists.is_some());
    let found = found.ok_or_else(|| Trouble::new(100, format!("E: Unable to locate package {name}")))?;
    let version = version.or(host.packages.get(name).map(String::as_str));
    let missing =
        || Trouble::new(100, format!("E: Version '{}' for '{name}' was not found", version.unwrap_or_default()));
    let version = found.version(version).ok_or_else(missing)?;
    let older = host.packages.get(name).is_some_and(|old| found.age(old) > found.age(version));
    if older && !options.contains(&"--allow-downgrades") {
        return Err(Trouble::new(100, "E: Packages were downgraded and -y was used without --allow-downgrades."));
    }
    if host.held.contains(name) && !options.contains(&"--allow-change-held-packages") {
        return Err(changed_held());
    }
    host.has_space("/var/cache/apt/archives")?;
    host.automatic.remove(name);
    unpack(host, found, version, offline)?;
    Ok(String::new())
}

/// Installs the version that was there before.
pub(super) fn older(host: &mut Host, name: &str, version: &str) -> Result<(), Trouble> {
    let options = ["--allow-downgrades", "--allow-change-held-packages"];
    install(host, &options, &format!("{name}={version}"), false).map(drop).map_err(|trouble| {
        Trouble::new(
            trouble.exit,
            format!("package {name}: it cannot be restored to the version {version}: {}", trouble.stderr),
        )
    })
}

/// Installs a package after those it depends on.
fn unpack(host: &mut Host, package: &Package, version: &str, offline: bool) -> Result<(), Trouble> {
    for name in package.depends {
        let other = self::package(name).filter(|_| !host.packages.contains_key(*name));
        if let Some((other, version)) = other.and_then(|other| Some((other, other.version(None)?))) {
            unpack(host, other, version, offline)?;
            host.automatic.insert((*name).to_owned());
        }
    }
    if host.packages.get(package.name).is_some_and(|old| old == version) {
        return Ok(());
    }
    let first = host.packages.insert(package.name.to_owned(), version.to_owned()).is_none();
    account(host, package);
    folders(host, package)?;
    contents(host, package, version, first)?;
    if let Some((name, text)) = package.unit {
        service(host, name, text, first, offline)?;
    }
    Ok(())
}

fn account(host: &mut Host, package: &Package) {
    let Some((name, home)) = package.user.filter(|(name, _)| !host.users.contains_key(*name)) else { return };
    let free = |taken: &dyn Fn(u32) -> bool| (100..1000).rev().find(|number| !taken(*number)).unwrap_or(100);
    let gid = host.groups.get(name).copied();
    let gid = gid.unwrap_or_else(|| free(&|number| host.groups.values().any(|other| *other == number)));
    let uid = free(&|number| host.users.values().any(|other| other.uid == number));
    host.groups.insert(name.to_owned(), gid);
    host.users.insert(name.to_owned(), User::new(uid, gid, home, "/usr/sbin/nologin"));
}

fn folders(host: &mut Host, package: &Package) -> Result<(), Trouble> {
    for path in package.directories {
        let there = host.paths.get(path).is_some();
        host.paths.make_directory(path, host.now)?;
        let owner = package.user.and_then(|(name, _)| host.users.get(name)).map(|user| (user.uid, user.gid));
        if let (true, false, Some(owner), Some(node)) =
            (path.starts_with("/var/"), there, owner, host.paths.get_mut(path))
        {
            (node.uid, node.gid) = owner;
        }
    }
    Ok(())
}

fn contents(host: &mut Host, package: &Package, version: &str, first: bool) -> Result<(), Trouble> {
    for (path, content) in package.files {
        host.paths.write(path, format!("{content} {version}\n").as_bytes(), host.now)?;
        if let Some(node) = host.paths.get_mut(path) {
            node.mode = Mode(0o755);
        }
    }
    // What is there stays (`--force-confold`); what was deleted by hand stays deleted in an upgrade.
    for (path, content) in package.configuration {
        if first && host.paths.get(path).is_none() {
            host.paths.write(path, content.as_bytes(), host.now)?;
        }
    }
    Ok(())
}

fn service(host: &mut Host, name: &str, text: &str, first: bool, offline: bool) -> Result<(), Trouble> {
    host.paths.write(&format!("/usr/lib/systemd/system/{name}"), text.as_bytes(), host.now)?;
    if first {
        units::enable(name, &mut host.paths, host.now)?;
    }
    if offline {
        return Ok(());
    }
    host.units.reload_all(&host.paths);
    let running = host.units.is_active(name);
    // A service that does not start is no failure of its package: `deb-systemd-invoke ... || true`.
    let _ = match (first, running) {
        (true, _) => host.start(name),
        (false, true) => host.restart(name),
        (false, false) => Ok(()),
    };
    Ok(())
}

/// What goes with a package: those that depend on it first.
fn going(host: &Host, name: &str) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![name.to_owned()]);
    while let Some(next) = open.pop() {
        if !found.contains(&next) {
            let needs = |other: &&String| package(other).is_some_and(|of| of.depends.contains(&next.as_str()));
            open.extend(host.packages.keys().filter(needs).cloned());
            found.push(next);
        }
    }
    found.reverse();
    found
}

/// What was installed for others and is needed by none.
fn idle(host: &Host) -> Vec<String> {
    let asked = host.packages.keys().filter(|name| !host.automatic.contains(*name));
    let mut open: Vec<&str> = asked.map(String::as_str).collect();
    let mut needed = BTreeSet::new();
    while let Some(name) = open.pop() {
        if needed.insert(name) {
            open.extend(package(name).map(|package| package.depends).unwrap_or_default());
        }
    }
    host.packages.keys().filter(|name| !needed.contains(name.as_str())).cloned().collect()
}

/// Everything that a package depends on, directly or by way of others.
fn below(name: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = package(name).map(|package| package.depends.to_vec()).unwrap_or_default();
    while let Some(next) = open.pop() {
        if let Some(package) = package(next).filter(|package| found.insert(package.name)) {
            open.extend(package.depends);
        }
    }
    found
}

/// What the removal of a package would take along.
pub(super) fn rehearse(host: &Host, name: &str) -> RemovalReading {
    if !host.packages.contains_key(name) {
        return RemovalReading { left: is_left(host, name), ..RemovalReading::default() };
    }
    let (direct, before) = (going(host, name), idle(host));
    let mut after = host.clone();
    after.packages.retain(|name, _| !direct.contains(name));
    let came_for_it = |other: &String| {
        host.automatic.contains(other) && below(name).contains(other.as_str()) && !before.contains(other)
    };
    let (serves, needs) = direct.into_iter().filter(|other| other != name).partition(came_for_it);
    let along = idle(&after).into_iter().filter(|other| !before.contains(other)).collect();
    RemovalReading { needs, serves, along, ..RemovalReading::default() }
}

/// Whether the configuration of a package outlived it.
fn is_left(host: &Host, name: &str) -> bool {
    let files = package(name).map(|package| package.configuration).unwrap_or_default();
    files.iter().any(|(path, _)| host.paths.file(path).is_some())
}

/// What [`crate::step::Step::RemovePackages`] does. Gives whether there was anything to do.
pub(super) fn remove_all(host: &mut Host, removal: &PackageRemoval) -> Result<bool, Trouble> {
    let purged = removal.leftovers == Leftovers::Purged;
    let there = |name: &&String| host.packages.contains_key(*name) || purged && is_left(host, name);
    let names: Vec<String> = removal.names.iter().filter(there).cloned().collect();
    let goes: BTreeSet<String> =
        names.iter().filter(|name| host.packages.contains_key(*name)).flat_map(|name| going(host, name)).collect();
    if names.is_empty() || goes.iter().any(|name| removal.unless_needed_by.contains(name)) {
        return Ok(false);
    }
    if let Some(more) = goes.iter().find(|name| !names.contains(name)) {
        return Err(Trouble::new(1, format!("nothing was removed: it is needed by or would take along {more}")));
    }
    if names.iter().any(|name| host.held.contains(name)) {
        return Err(changed_held());
    }
    names.iter().try_for_each(|name| take_away(host, name))?;
    if purged {
        names.iter().filter_map(|name| package(name)).try_for_each(|package| clear(host, package))?;
    }
    Ok(true)
}

/// What `host/packages/removal.rs` does: the package with what came only for it, configuration and all.
pub(super) fn purge(host: &mut Host, name: &str) -> Result<(), Trouble> {
    let RemovalReading { serves, along, .. } = rehearse(host, name);
    let along = [serves, along].concat();
    let names = std::iter::once(name.to_owned()).chain(along).collect();
    let (leftovers, unless_needed_by) = (Leftovers::Purged, Vec::new());
    remove_all(host, &PackageRemoval { manager: Manager::Apt, names, leftovers, unless_needed_by }).map(drop)
}

/// Takes away what a package leaves when it is removed.
fn clear(host: &mut Host, package: &Package) -> Result<(), Trouble> {
    package.configuration.iter().try_for_each(|(path, _)| host.paths.remove(path, Removable::File))?;
    let kept = |host: &Host, path: &str| {
        let others = host.packages.keys().filter_map(|name| self::package(name));
        others.flat_map(|other| other.directories).any(|other| *other == path)
    };
    for path in package.directories.iter().rev() {
        if host.paths.below(path).count() == 1 && !kept(host, path) {
            host.paths.remove(path, Removable::EmptyDirectory)?;
        }
    }
    if let Some((name, _)) = package.user {
        host.users.remove(name);
        host.groups.remove(name);
    }
    Ok(())
}

/// Removes a package; its configuration and its user stay.
pub(super) fn take_away(host: &mut Host, name: &str) -> Result<(), Trouble> {
    host.packages.remove(name);
    host.automatic.remove(name);
    let Some(package) = package(name) else { return Ok(()) };
    if let Some((unit, _)) = package.unit {
        if host.units.is_active(unit) {
            host.units.stop(unit, &host.paths)?;
        }
        units::disable(unit, &mut host.paths)?;
        host.paths.remove(&format!("/usr/lib/systemd/system/{unit}"), Removable::File)?;
        host.units.reload_all(&host.paths);
    }
    package.files.iter().try_for_each(|(path, _)| host.paths.remove(path, Removable::File))
}
