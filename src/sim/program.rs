//! The programs of a simulated host.
//!
//! In: an argument vector, as the kinds of resources write them. Out: what the program does and prints.
//! Never: success of a program, or of an option, that is not known here.

use super::host::{Host, User};
use super::tree::What;
use super::{Activity, Trouble, Units, apt, foreign, system, units, web};
use crate::step::{AccountUse, Command, MARKER, Removable};

/// What a program prints that only looks, or how it failed.
pub(super) fn look(host: &Host, command: &Command) -> Result<String, Trouble> {
    let words: Vec<&str> = command.argv.iter().map(String::as_str).collect();
    allowed(host, command)?;
    match words.as_slice() {
        ["true"] => Ok(String::new()),
        ["false"] => Err(Trouble::new(1, "")),
        ["test", "-e", path] => exists(host, path),
        ["blkid", device] => blkid(host, device),
        ["getent", database @ ("passwd" | "group"), "--", name] => getent(host, database, name),
        ["sh", "-c", "! getent group -- \"$1\" >/dev/null", "sh", name] => no_group(host, name),
        ["sh", "-c", "! systemctl \"$1\" --quiet -- \"$2\"", "sh", question, unit] => no_to(host, question, unit),
        ["sh", "-c", script, "sh", parent, link] if script.contains(MARKER) => Ok(web::versions(host, parent, link)),
        ["find", path, "-xdev", "!", "-type", "d", "-newer", marker] => newer(host, path, marker),
        ["sh", "-c", _, "unit-ended", question, unit] => ended(host, question, unit),
        ["sh", "-c", _, "group-members", name] => Ok(members(host, name)),
        ["sh", "-c", _, "account-stays", database, name, paths @ ..] => account_stays(host, (database, name), paths),
        _ => foreign::look(host, &words, command).unwrap_or_else(|| system::look(host, &words)),
    }
}

/// What a program does: its output, or how it failed.
pub(super) fn run(host: &mut Host, command: &Command) -> Result<String, Trouble> {
    let words: Vec<&str> = command.argv.iter().map(String::as_str).collect();
    allowed(host, command)?;
    match words.as_slice() {
        ["touch", "--", path] => touch(host, path),
        ["rmdir", "--ignore-fail-on-non-empty", "--", path] => rmdir(host, path),
        ["rm", "-rf", "--one-file-system", "--", path] => {
            host.paths.clear(path);
            Ok(String::new())
        }
        ["mkfs.ext4", device] => {
            host.formatted.insert((*device).to_owned());
            Ok(String::new())
        }
        ["groupadd" | "groupdel" | "useradd" | "usermod" | "userdel", ..] => account(host, &words),
        ["sh", "-c", script] if script.contains("apt-get update") => apt::try_source(host, command.stdin.bytes()),
        ["systemctl", rest @ ..] => systemctl(host, rest),
        ["sh", "-c", _, "group-remove", name] => group_remove(host, name),
        ["apt-get" | "apt-mark", ..] => apt::run(host, &words, command.environment.contains_key("SYSTEMD_OFFLINE")),
        ["sh", "-c", _, name, ..] if system::KNOWN.contains(name) => system::run(host, &words, command.stdin.bytes()),
        ["nft" | "modprobe", ..] => system::run(host, &words, command.stdin.bytes()),
        _ => foreign::run(host, &words, command).unwrap_or_else(|| look(host, command)),
    }
}

fn allowed(host: &Host, command: &Command) -> Result<(), Trouble> {
    match command.user.as_ref().filter(|user| !host.users.contains_key(*user)) {
        Some(user) => Err(Trouble::new(1, format!("runuser: user {user} does not exist"))),
        None => Ok(()),
    }
}

fn exists(host: &Host, path: &str) -> Result<String, Trouble> {
    if host.paths.get(path).is_some() { Ok(String::new()) } else { Err(Trouble::new(1, "")) }
}

fn touch(host: &mut Host, path: &str) -> Result<String, Trouble> {
    host.has_space(path)?;
    let content = host.paths.file(path).unwrap_or_default().to_vec();
    host.paths.write(path, &content, host.now).map(|()| String::new())
}

fn rmdir(host: &mut Host, path: &str) -> Result<String, Trouble> {
    if host.paths.get(path).is_none() {
        return Err(Trouble::new(1, format!("rmdir: failed to remove '{path}': No such file or directory")));
    }
    if host.paths.below(path).nth(1).is_none() {
        host.paths.remove(path, Removable::EmptyDirectory)?;
    }
    Ok(String::new())
}

fn blkid(host: &Host, device: &str) -> Result<String, Trouble> {
    if host.formatted.contains(device) { Ok(format!("{device}: TYPE=\"ext4\"\n")) } else { Err(Trouble::new(2, "")) }
}

fn getent(host: &Host, database: &str, name: &str) -> Result<String, Trouble> {
    let found = if database == "group" { host.groups.contains_key(name) } else { host.users.contains_key(name) };
    if found { Ok(format!("{name}:x\n")) } else { Err(Trouble::new(2, "")) }
}

fn no_group(host: &Host, name: &str) -> Result<String, Trouble> {
    if host.groups.contains_key(name) { Err(Trouble::new(1, "")) } else { Ok(String::new()) }
}

/// Whether an account need not go: it is not there, or one of its directories is.
fn account_stays(host: &Host, (database, name): (&str, &str), paths: &[&str]) -> Result<String, Trouble> {
    let is_there = |path: &&str| host.paths.get(path).is_some_and(|node| node.what == What::Directory);
    match getent(host, database, name) {
        Ok(_) if !paths.iter().any(is_there) => Err(Trouble::new(1, "")),
        _ => Ok(String::new()),
    }
}

fn no_to(host: &Host, question: &str, unit: &str) -> Result<String, Trouble> {
    let reading = host.unit(unit);
    let yes = match question {
        "is-active" => reading.active == "active",
        "is-enabled" => ["enabled", "static"].contains(&reading.enabled.as_str()),
        _ => return Err(Trouble::new(127, format!("systemctl {question}: not known to the simulator"))),
    };
    if yes { Err(Trouble::new(1, "")) } else { Ok(String::new()) }
}

fn newer(host: &Host, path: &str, marker: &str) -> Result<String, Trouble> {
    let missing = || Trouble::new(1, format!("find: '{marker}': No such file or directory"));
    let than = host.paths.get(marker).ok_or_else(missing)?.modified;
    let newer = host.paths.below(path).filter(|(_, node)| node.what != What::Directory && node.modified > than);
    Ok(newer.map(|(path, _)| format!("{path}\n")).collect::<Vec<_>>().concat())
}

/// Whether a unit need not be stopped or disabled before its file is removed.
fn ended(host: &Host, question: &str, unit: &str) -> Result<String, Trouble> {
    if host.paths.get(&format!("/usr/lib/systemd/system/{unit}")).is_some() {
        return Ok(String::new());
    }
    no_to(host, question, unit)
}

fn members(host: &Host, name: &str) -> String {
    let Some(gid) = host.groups.get(name) else { return String::new() };
    let primary = host.users.iter().filter(|(_, user)| user.gid == *gid).map(|(user, _)| format!("primary {user}\n"));
    let others = host.users.iter().filter(|(_, user)| user.groups.contains(name));
    primary.chain(others.map(|(user, _)| format!("member {user}\n"))).collect()
}

/// What uses an account.
pub(super) fn usage(host: &Host, name: &str) -> Vec<AccountUse> {
    let own = |unit: &&String| {
        let unit = host.units.get(unit).filter(|unit| unit.activity == Activity::Active);
        unit.is_some_and(|unit| unit.definition.user.as_deref() == Some(name))
    };
    let units = host.units.iter().map(|(unit, _)| unit).filter(own).map(|unit| AccountUse::Unit(unit.clone()));
    let tab = host.paths.get(&format!("/var/spool/cron/crontabs/{name}")).map(|_| AccountUse::Crontab);
    if host.users.contains_key(name) { units.chain(tab).collect() } else { Vec::new() }
}

fn group_remove(host: &mut Host, name: &str) -> Result<String, Trouble> {
    match members(host, name).lines().find_map(|line| line.strip_prefix("member ").map(str::to_owned)) {
        Some(user) => Err(Trouble::new(1, format!("the group was not removed: {user} is in it; plan again"))),
        None if !host.groups.contains_key(name) => Ok(String::new()),
        None => account(host, &["groupdel", "--", name]),
    }
}

/// The options of one of the account programs, and the name at its end.
struct Options<'a> {
    program: &'a str,
    given: Vec<(&'a str, &'a str)>,
    name: &'a str,
}

/// Those without a value.
const FLAGS: &[&str] = &["--system", "--user-group", "--create-home", "--no-create-home"];

impl<'a> Options<'a> {
    fn parse(words: &[&'a str]) -> Result<Self, Trouble> {
        let usage = || Trouble::new(2, format!("Usage: {}", words.join(" ")));
        let [program, options @ .., "--", name] = words else { return Err(usage()) };
        let mut given = Vec::new();
        let mut rest = options.iter().copied();
        while let Some(option) = rest.next() {
            let value = if FLAGS.contains(&option) { "" } else { rest.next().ok_or_else(usage)? };
            given.push((option, value));
        }
        Ok(Self { program, given, name })
    }

    fn get(&self, option: &str) -> Option<&'a str> {
        self.given.iter().find(|(name, _)| *name == option).map(|(_, value)| *value)
    }

    fn allow(&self, known: &[&str]) -> Result<(), Trouble> {
        match self.given.iter().find(|(option, _)| !known.contains(option)) {
            Some((option, _)) => Err(Trouble::new(2, format!("{}: unrecognized option '{option}'", self.program))),
            None => Ok(()),
        }
    }

    fn fail(&self, exit: i32, why: &str) -> Trouble {
        Trouble::new(exit, format!("{}: {why}", self.program))
    }
}

fn account(host: &mut Host, words: &[&str]) -> Result<String, Trouble> {
    let options = Options::parse(words)?;
    match options.program {
        "groupadd" => groupadd(host, &options),
        "groupdel" => groupdel(host, &options),
        "useradd" => useradd(host, &options),
        "usermod" => usermod(host, &options),
        _ => userdel(host, &options),
    }?;
    Ok(String::new())
}

/// Exit codes as in `groupadd(8)`.
fn groupadd(host: &mut Host, options: &Options<'_>) -> Result<(), Trouble> {
    options.allow(&["--system", "--gid"])?;
    if host.groups.contains_key(options.name) {
        return Err(options.fail(9, &format!("group '{}' already exists", options.name)));
    }
    let taken: Vec<u32> = host.groups.values().copied().collect();
    let gid = number(options, "--gid", &taken)?;
    host.groups.insert(options.name.to_owned(), gid);
    Ok(())
}

fn number(options: &Options<'_>, option: &str, taken: &[u32]) -> Result<u32, Trouble> {
    if let Some(given) = options.get(option) {
        let number = given.parse().map_err(|_| options.fail(3, &format!("invalid number '{given}'")))?;
        return if taken.contains(&number) {
            Err(options.fail(4, &format!("{given} already exists")))
        } else {
            Ok(number)
        };
    }
    let free = |number: &u32| !taken.contains(number);
    let found =
        if options.get("--system").is_some() { (100..1000).rev().find(free) } else { (1000..60_000).find(free) };
    found.ok_or_else(|| options.fail(4, "no number is free"))
}

fn groupdel(host: &mut Host, options: &Options<'_>) -> Result<(), Trouble> {
    options.allow(&[])?;
    let Some(gid) = host.groups.get(options.name).copied() else {
        return Err(options.fail(6, &format!("group '{}' does not exist", options.name)));
    };
    if host.users.values().any(|user| user.gid == gid) {
        return Err(options.fail(8, "cannot remove the primary group of a user"));
    }
    host.groups.remove(options.name);
    for user in host.users.values_mut() {
        user.groups.remove(options.name);
    }
    Ok(())
}

fn useradd(host: &mut Host, options: &Options<'_>) -> Result<(), Trouble> {
    options.allow(&[
        "--system",
        "--user-group",
        "--uid",
        "--gid",
        "--groups",
        "--home-dir",
        "--shell",
        "--comment",
        "--create-home",
        "--no-create-home",
    ])?;
    if host.users.contains_key(options.name) {
        return Err(options.fail(9, &format!("user '{}' already exists", options.name)));
    }
    let own = options.get("--user-group").is_some();
    if own && host.groups.contains_key(options.name) {
        return Err(options.fail(9, &format!("group {} exists", options.name)));
    }
    let gid = if own {
        number(options, "--gid", &host.groups.values().copied().collect::<Vec<_>>())?
    } else {
        group(host, options, options.get("--gid").unwrap_or(options.name))?
    };
    let taken: Vec<u32> = host.users.values().map(|user| user.uid).collect();
    let home = options.get("--home-dir").map_or_else(|| format!("/home/{}", options.name), str::to_owned);
    let mut user =
        User::new(number(options, "--uid", &taken)?, gid, &home, options.get("--shell").unwrap_or("/bin/sh"));
    user.groups = supplementary(host, options)?.unwrap_or_default();
    options.get("--comment").unwrap_or_default().clone_into(&mut user.comment);
    if options.get("--create-home").is_some() && host.paths.get(&home).is_none() {
        host.has_space(&home)?;
        host.paths.make_directory(&home, host.now)?;
        if let Some(node) = host.paths.get_mut(&home) {
            (node.uid, node.gid) = (user.uid, gid);
        }
    }
    if own {
        host.groups.insert(options.name.to_owned(), gid);
    }
    host.users.insert(options.name.to_owned(), user);
    Ok(())
}

fn group(host: &Host, options: &Options<'_>, name: &str) -> Result<u32, Trouble> {
    host.groups.get(name).copied().ok_or_else(|| options.fail(6, &format!("group '{name}' does not exist")))
}

fn supplementary(host: &Host, options: &Options<'_>) -> Result<Option<std::collections::BTreeSet<String>>, Trouble> {
    let Some(list) = options.get("--groups") else { return Ok(None) };
    let names = list.split(',').filter(|name| !name.is_empty());
    names.map(|name| group(host, options, name).map(|_| name.to_owned())).collect::<Result<_, _>>().map(Some)
}

/// A user whose programs run gets no other home, as in `usermod(8)`.
fn usermod(host: &mut Host, options: &Options<'_>) -> Result<(), Trouble> {
    options.allow(&["--gid", "--groups", "--home", "--shell", "--comment"])?;
    let Some(mut user) = host.users.get(options.name).cloned() else {
        return Err(options.fail(6, &format!("user '{}' does not exist", options.name)));
    };
    if options.get("--home").is_some_and(|home| home != user.home) && host.is_busy(options.name) {
        return Err(options.fail(8, &format!("user {} is currently used by process 4711", options.name)));
    }
    if let Some(name) = options.get("--gid") {
        user.gid = group(host, options, name)?;
    }
    user.groups = supplementary(host, options)?.unwrap_or(user.groups);
    for (option, field) in [("--home", &mut user.home), ("--shell", &mut user.shell), ("--comment", &mut user.comment)]
    {
        options.get(option).unwrap_or(field).to_owned().clone_into(field);
    }
    host.users.insert(options.name.to_owned(), user);
    Ok(())
}

/// Takes the user's own group along, as Debian's `userdel` does (`USERGROUPS_ENAB`).
fn userdel(host: &mut Host, options: &Options<'_>) -> Result<(), Trouble> {
    options.allow(&[])?;
    if host.is_busy(options.name) {
        return Err(options.fail(8, &format!("user {} is currently used by process 4711", options.name)));
    }
    let Some(user) = host.users.remove(options.name) else {
        return Err(options.fail(6, &format!("user '{}' does not exist", options.name)));
    };
    let own = host.groups.get(options.name) == Some(&user.gid);
    let shared = host.users.values().any(|other| other.gid == user.gid || other.groups.contains(options.name));
    if own && !shared {
        host.groups.remove(options.name);
    }
    Ok(())
}

fn systemctl(host: &mut Host, words: &[&str]) -> Result<String, Trouble> {
    match words {
        ["daemon-reload"] => host.units.reload_all(&host.paths),
        ["enable", "--", unit] => units::enable(unit, &mut host.paths, host.now)?,
        // Instances of a template are not simulated.
        ["disable", "--", unit] if unit.contains("@.") => {}
        ["stop", "--", pattern] if pattern.contains('*') => {}
        ["disable", "--", unit] => units::disable(unit, &mut host.paths)?,
        ["reset-failed", "--", unit] => host.units.reset(unit, &host.paths)?,
        ["stop", "--", unit] => stop(host, unit)?,
        ["restart", "--", unit] => host.restart(unit)?,
        ["reload-or-restart", "--", unit] if host.units.is_active(unit) => host.units.reload(unit, &host.paths)?,
        ["start" | "reload-or-restart", "--", unit] => host.start(unit)?,
        _ => return Err(Trouble::new(127, format!("systemctl {}: not known to the simulator", words.join(" ")))),
    }
    Ok(String::new())
}

/// Stops a unit, and what requires it.
fn stop(host: &mut Host, unit: &str) -> Result<(), Trouble> {
    for other in Units::required_by(unit, &host.paths) {
        if host.units.is_active(&other) {
            host.units.stop(&other, &host.paths)?;
        }
    }
    host.units.stop(unit, &host.paths)
}
