//! Probes as one script.
//!
//! In: probes. Out: a script that asks them all in as few programs as possible, and what could not be asked.
//! Never: a change to the host.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use super::command;
use super::library::{Source, sources};
use super::quote::{NUL, quote};
use crate::step::{Command, Digest, Fetch, HttpRequest, Method, Probe, Trust, home_of};

static SOURCES: [Source; 9] = sources![
    "place.sh",
    "state.sh",
    "programs.sh",
    "ask/ask.sh",
    "ask/paths.sh",
    "ask/accounts.sh",
    "ask/packages.sh",
    "ask/units.sh",
    "ask/programs.sh",
];

/// The longest ledger or journal that is brought along, in bytes: hundreds of thousands of resources.
pub(super) const STATE_LIMIT: usize = 16 << 20;

/// How many paths one `stat` is given: far from the limit of arguments, however long they are.
const PATHS_AT_ONCE: usize = 200;

/// The script that asks everything.
///
/// `budget` is the time for all programs together; who comes later is answered as failed.
pub fn read_script(probes: &[Probe], nonce: &str, budget: Duration) -> String {
    let (states, units, packages) = (states(probes), units(probes), packages(probes));
    let (paths, accounts, programs) = (paths(probes), accounts(probes), programs(probes));
    // What takes longest has a part of its own: systemd, asked about a few units, takes as long as all the rest.
    let rest = [&*states, &*paths, &*accounts, &*programs].concat();
    let (first, second) = if units.is_empty() { (&packages, rest) } else { (&units, packages.clone() + &rest) };
    let late = if packages.is_empty() { "" } else { "late\n" };
    super::wrap(nonce, budget, &[&SOURCES], &(beside(first, &second) + late))
}

/// Two parts, at the same time if the host has a processor to spare.
fn beside(first: &str, second: &str) -> String {
    if first.is_empty() || second.is_empty() {
        return first.to_owned() + second;
    }
    format!("first() {{\n{first}}}\nsecond() {{\n{second}}}\nbeside\n")
}

/// Why a probe cannot be asked at all.
pub(super) fn fault(probe: &Probe) -> Option<String> {
    let wrong = |what: &str, name: &str| Some(format!("invalid {what} `{}`", name.escape_debug()));
    match probe {
        Probe::Path { path, .. } if path.contains('\0') => Some(NUL.to_owned()),
        Probe::Path { path, .. } if home_of(path).is_some_and(|(user, _)| command::is_account(user)) => None,
        Probe::Path { path, .. } if !path.starts_with('/') => wrong("absolute path", path),
        Probe::Package(name) if !is_word(name, "+.:~") => wrong("name of a package", name),
        Probe::User(name) | Probe::Membership(name) | Probe::Group(name) if !command::is_account(name) => {
            wrong("name of a user or group", name)
        }
        Probe::Unit(name) if !is_unit(name) => wrong("name of a unit, such as `ssh.service`", name),
        Probe::Command(command) => command::function("c", command).err(),
        Probe::Port { address, .. } if !is_word(address, ":.%") => wrong("address", address),
        Probe::Http(request) if !is_url(&request.url) => wrong("http:// or https:// address", &request.url),
        Probe::Http(HttpRequest { trust: Trust::Authority(file), .. }) if !is_absolute(file) => {
            wrong("absolute path", file)
        }
        _ => None,
    }
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') && !path.contains('\0')
}

fn is_word(text: &str, more: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || more.contains(c))
}

fn is_unit(name: &str) -> bool {
    let whole = |(stem, suffix): (&str, &str)| !stem.is_empty() && !stem.ends_with('@') && !suffix.is_empty();
    is_word(name, ":.@\\") && name.rsplit_once('.').is_some_and(whole)
}

pub(super) fn is_url(url: &str) -> bool {
    (url.starts_with("http://") || url.starts_with("https://")) && !url.contains(|c: char| c.is_control() || c == ' ')
}

/// The probes that can be asked, each with its place in the list.
pub(super) fn askable(probes: &[Probe]) -> impl Iterator<Item = (usize, &Probe)> + Clone {
    probes.iter().enumerate().filter(|(_, probe)| fault(probe).is_none())
}

fn states(probes: &[Probe]) -> String {
    let state = |(index, probe): (usize, &Probe)| match probe {
        Probe::State => Some(format!("state {index}\n")),
        _ => None,
    };
    askable(probes).filter_map(state).collect()
}

fn paths(probes: &[Probe]) -> String {
    let paths: Vec<(usize, &str, &Fetch)> = askable(probes)
        .filter_map(|(index, probe)| match probe {
            Probe::Path { path, content } => Some((index, path.as_str(), content)),
            _ => None,
        })
        .collect();
    let first = if paths.is_empty() { "" } else { "away\n" };
    first.to_owned() + &paths.chunks(PATHS_AT_ONCE).map(some_paths).collect::<String>()
}

/// The variable that holds a path. Below the home of nobody there is nothing, as there is below `/dev/null`.
fn named(index: usize, path: &str) -> String {
    match home_of(path) {
        None => format!("p{index}={}", quote(path)),
        Some((user, below)) => {
            let below = quote(&format!("/{below}"));
            format!("p{index}=$(home {}) || p{index}=/dev/null\np{index}=$p{index}{below}", quote(user))
        }
    }
}

fn some_paths(paths: &[(usize, &str, &Fetch)]) -> String {
    let mut text = String::new();
    text.extend(paths.iter().map(|(index, path, _)| format!("{}\n", named(*index, path))));
    let (mut plain, mut odd, mut names) = (String::new(), String::new(), String::new());
    for (index, path, _) in paths {
        if is_odd(path) {
            let _ = write!(odd, " {index}");
        } else {
            let _ = write!(plain, " {index}");
            let _ = write!(names, " \"$p{index}\"");
        }
    }
    if !plain.is_empty() {
        let _ = writeln!(text, "regard() {{ exec stat -c \"$stat\" --{names} $aside; }}\npaths{plain}");
    }
    if !odd.is_empty() {
        let _ = writeln!(text, "each{odd}");
    }
    text.extend(paths.iter().filter_map(|(index, _, fetch)| match fetch {
        Fetch::Digest => None,
        Fetch::Always => Some(format!("content {index} ''\n")),
        Fetch::Unless(Digest(known)) => Some(format!("content {index} {}\n", quote(known))),
    }));
    text
}

/// Whether a path cannot stand beside others: it has several lines, or is where a file may have no end.
fn is_odd(path: &str) -> bool {
    path.contains('\n') || path.starts_with("/proc/") || path.starts_with("/sys/")
}

/// One line that gives all names of one sort to one program, or nothing.
fn together<'a>(program: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(quote).collect();
    if names.is_empty() { String::new() } else { format!("{program} {}\n", names.join(" ")) }
}

fn packages(probes: &[Probe]) -> String {
    let names = askable(probes).filter_map(|(_, probe)| match probe {
        Probe::Package(name) => Some(name.as_str()),
        _ => None,
    });
    together("packages", names)
}

/// What is asked of systemd about a unit.
const UNIT_PROPERTIES: &str = "LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,ActiveEnterTimestamp,\
     ActiveEnterTimestampMonotonic,NRestarts,Id,RequiredBy,BoundBy,ConsistsOf";

fn units(probes: &[Probe]) -> String {
    let names = askable(probes).filter_map(|(_, probe)| match probe {
        Probe::Unit(name) => Some(name.as_str()),
        _ => None,
    });
    together(&format!("units {UNIT_PROPERTIES}"), names)
}

fn accounts(probes: &[Probe]) -> String {
    // Whether somebody is in a group matters only if there is such a user.
    let users = askable(probes).filter_map(|(_, probe)| match probe {
        Probe::User(name) | Probe::Membership(name) => Some(name.as_str()),
        _ => None,
    });
    let members = askable(probes).filter_map(|(index, probe)| match probe {
        Probe::Membership(name) => Some(format!("{index} {}", quote(name))),
        _ => None,
    });
    let groups = askable(probes).filter_map(|(_, probe)| match probe {
        Probe::Group(name) => Some(name.as_str()),
        _ => None,
    });
    let members: Vec<String> = members.collect();
    let ids = if members.is_empty() { String::new() } else { format!("ids {}\n", members.join(" ")) };
    let users: BTreeSet<&str> = users.collect();
    together("accounts passwd", users.into_iter()) + &ids + &together("accounts group", groups)
}

fn programs(probes: &[Probe]) -> String {
    askable(probes).filter_map(|(index, probe)| program(index, probe)).collect()
}

fn program(index: usize, probe: &Probe) -> Option<String> {
    match probe {
        Probe::Command(command) => asked(index, command),
        Probe::Port { address, port, timeout } => {
            Some(format!("port_ {index} {} {}\n", command::seconds(*timeout), port_words(address, *port)))
        }
        Probe::Http(request) => {
            let limit = command::seconds(request.timeout);
            Some(format!("c{index}() ( fetch {}\n)\ncommand_ {index} {limit} c{index}\n", web_words(request)))
        }
        _ => None,
    }
}

fn asked(index: usize, command: &Command) -> Option<String> {
    let function = command::function(&format!("c{index}"), command).ok()?;
    Some(format!("{function}command_ {index} {} c{index}\n", command::seconds(command.timeout)))
}

/// The arguments of the shell's `port`: address, port, the port in hexadecimal, whether the address is this machine.
pub(super) fn port_words(address: &str, port: u16) -> String {
    let here = address == "localhost" || address == "::1" || address.starts_with("127.");
    format!("{} {port} {port:04X} {}", quote(address), if here { "yes" } else { "no" })
}

/// The arguments of the shell's `fetch`: address, method, whose certificates are believed.
pub(super) fn web_words(request: &HttpRequest) -> String {
    let method = match request.method {
        Method::Get => "get",
        Method::Head => "head",
    };
    let trust = match &request.trust {
        Trust::System => "",
        Trust::Authority(file) => file,
        Trust::Anybody => "-",
    };
    format!("{} {method} {}", quote(&request.url), quote(trust))
}
