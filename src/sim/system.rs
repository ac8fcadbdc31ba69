//! The programs of a simulated host that look at the system itself: kernel settings, name, clock, timers.
//!
//! In: an argument vector, as the kinds of resources write them. Out: what the program does and prints.
//! Never: success of a program, or of an option, that is not known here.

use super::Trouble;
use super::host::Host;
use crate::step::Removable;

/// The names of the shell texts that [`run`] knows.
pub(super) const KNOWN: &[&str] =
    &["sysctl", "hostname", "swap", "locale-known", "locale-gen", "firewall-arm", "firewall-load", "firewall-confirm"];

/// What a program prints that only looks, or how it failed.
pub(super) fn look(host: &Host, words: &[&str]) -> Result<String, Trouble> {
    match words {
        ["cat", path] => read(host, path),
        ["stat", "-c", "%s %F", "--", path] => size(host, path),
        ["locale", "-a"] => Ok("C\nC.utf8\nPOSIX\n".to_owned()),
        ["ls", "--", path] if host.paths.get(path).is_some() => Ok(format!("{path}\n")),
        ["ls", "--", path] => Err(Trouble::new(2, format!("ls: cannot access '{path}': No such file or directory"))),
        ["systemd-analyze", "calendar", "--", schedule] => Ok(format!("Normalized form: {schedule}\n")),
        ["sh", "-c", _, "firewall-way"] => Ok("10.0.0.1 50000 10.0.0.2 22\n".to_owned()),
        ["sh", "-c", _, "firewall-live", run, rules] => live(host, run, rules),
        ["sh", "-c", _, "firewall-gone"] if host.paths.file(LOADED).is_some() => Err(Trouble::new(1, "")),
        ["sh", "-c", _, "firewall-gone"] => Ok(String::new()),
        ["findmnt", "--noheadings", "--raw", "--output", "SOURCE,FSTYPE,OPTIONS", "--mountpoint", path] => {
            mounted(host, path)
        }
        _ => Err(Trouble::new(127, format!("{}: not found", words.join(" ")))),
    }
}

/// What a shell text of a kind does; its name comes after it.
pub(super) fn run(host: &mut Host, words: &[&str], input: &[u8]) -> Result<String, Trouble> {
    match words {
        ["modprobe", "--", name] => {
            host.paths.make_directory(&format!("/sys/module/{name}"), host.now).map(|()| String::new())
        }
        ["sh", "-c", _, "swap", path, size] => swap(host, path, size),
        ["sh", "-c", _, "locale-known", names @ ..] if names.iter().all(|name| LOCALES.contains(name)) => {
            Ok(String::new())
        }
        ["nft", "-c", "-f", "-"] | ["sh", "-c", _, "firewall-confirm", ..] => Ok(String::new()),
        ["nft", "delete", "table", "inet", "armilla"] => unload(host),
        ["sh", "-c", _, "firewall-arm", run] => host.paths.make_directory(run, host.now).map(|()| String::new()),
        ["sh", "-c", _, "firewall-load", run, _] => load(host, run, input),
        ["sh", "-c", _, "sysctl" | "hostname", value, path] if path.starts_with("/proc/sys/") => set(host, path, value),
        _ => look(host, words),
    }
}

fn read(host: &Host, path: &str) -> Result<String, Trouble> {
    let file = host.paths.file(path).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    file.ok_or_else(|| Trouble::new(1, format!("cat: {path}: No such file or directory")))
}

/// The kernel of a simulated host has every setting that is asked for.
fn set(host: &mut Host, path: &str, value: &str) -> Result<String, Trouble> {
    let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
    host.paths.make_directory(folder, host.now)?;
    host.paths.write(path, format!("{value}\n").as_bytes(), host.now)?;
    Ok(String::new())
}

/// What a host has without the package `locales`.
const LOCALES: &[&str] = &["C", "C.UTF-8", "POSIX"];

/// A swap file is as large as it says.
fn swap(host: &mut Host, path: &str, megabytes: &str) -> Result<String, Trouble> {
    host.has_space(path)?;
    host.paths.write(path, format!("swap of {megabytes} M").as_bytes(), host.now).map(|()| String::new())
}

fn size(host: &Host, path: &str) -> Result<String, Trouble> {
    let none = || Trouble::new(1, format!("stat: cannot statx '{path}': No such file or directory"));
    let text = String::from_utf8_lossy(host.paths.file(path).ok_or_else(none)?).into_owned();
    let swap = text.strip_prefix("swap of ").and_then(|text| text.strip_suffix(" M")?.parse::<usize>().ok());
    Ok(format!("{} regular file\n", swap.map_or(text.len(), |size| size << 20)))
}

/// The rules that are loaded, as they were read.
const LOADED: &str = "/run/armilla-firewall/source";

fn load(host: &mut Host, run: &str, input: &[u8]) -> Result<String, Trouble> {
    host.paths.write(&format!("{run}/source"), input, host.now).map(|()| String::new())
}

fn unload(host: &mut Host) -> Result<String, Trouble> {
    host.paths.remove(LOADED, Removable::File).map(|()| String::new())
}

fn live(host: &Host, run: &str, rules: &str) -> Result<String, Trouble> {
    let loaded = host.paths.file(&format!("{run}/source"));
    if loaded.is_some() && loaded == host.paths.file(rules) { Ok(String::new()) } else { Err(Trouble::new(1, "")) }
}

/// What the active unit of a place says.
fn mounted(host: &Host, path: &str) -> Result<String, Trouble> {
    let text = host.units.active().map(|unit| &unit.definition.text).find(|text| value(text, "Where=") == Some(path));
    let text = text.ok_or_else(|| Trouble::new(1, ""))?;
    let word = |key: &str| value(text, key).unwrap_or("rw");
    Ok(format!("{} {} {}\n", word("What="), word("Type="), word("Options=")))
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key))
}
