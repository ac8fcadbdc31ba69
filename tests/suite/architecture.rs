//! Who may name whom: the table of rooms, held against the source.
//!
//! A room may name the rooms in its row. Pure rooms hold no effects: time, paths and random numbers are arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::imports::{self, File};

const WORDS: &[&str] = &["name", "secret", "edit", "step", "diag"];

/// Room, whether it is pure, and the rooms it may name besides the words (and itself).
const ROOMS: &[(&str, bool, &[&str])] = &[
    ("name", true, &[]),
    ("secret", true, &[]),
    ("edit", true, &[]),
    ("step", true, &[]),
    ("diag", true, &[]),
    ("graph", true, &[]),
    ("rollout", true, &[]),
    ("vault", true, &[]),
    ("yaml", true, &[]),
    ("template", true, &["yaml"]),
    ("inventory", true, &["yaml"]),
    ("vars", true, &["yaml", "inventory"]),
    ("resource", true, &[]),
    ("fact", true, &[]),
    ("role", true, &["yaml", "template", "resource", "rollout"]),
    ("settings", true, &["yaml", "vault"]),
    ("site", true, &["yaml"]),
    ("format", true, &["yaml", "role", "settings", "site", "inventory"]),
    ("project", true, &["template"]),
    (
        "catalog",
        true,
        &["yaml", "template", "fact", "graph", "inventory", "resource", "role", "rollout", "site", "project"],
    ),
    ("lease", true, &[]),
    ("ledger", true, &["resource"]),
    ("plan", true, &["catalog", "resource", "inventory", "ledger", "rollout"]),
    ("host", false, &["lease", "ledger", "crash"]),
    ("transport", false, &["inventory", "lease", "crash", "host"]),
    ("observe", false, &["transport", "inventory"]),
    ("doctor", true, &["catalog", "inventory", "resource", "transport"]),
    ("exec", false, &["transport", "inventory"]),
    ("apply", false, &["plan", "rollout", "transport", "inventory", "ledger", "lease", "crash"]),
    ("artifacts", false, &[]),
    ("store", false, &["project", "template"]),
    (
        "workspace",
        false,
        &[
            "yaml",
            "vault",
            "inventory",
            "vars",
            "role",
            "settings",
            "site",
            "project",
            "format",
            "fact",
            "catalog",
            "ledger",
            "store",
        ],
    ),
    (
        "operation",
        false,
        &[
            "workspace",
            "catalog",
            "plan",
            "rollout",
            "observe",
            "transport",
            "apply",
            "history",
            "ledger",
            "lease",
            "doctor",
            // What it reads of hosts and keeps in plan files.
            "fact",
            "inventory",
            "settings",
            "store",
            "vault",
            "crash",
        ],
    ),
    ("crash", false, &[]),
    ("history", false, &["apply", "crash", "ledger"]),
    (
        "report",
        true,
        &[
            "plan",
            "rollout",
            "apply",
            "exec",
            "ledger",
            "doctor",
            "resource",
            "catalog",
            "role",
            "site",
            "inventory",
            "vars",
        ],
    ),
    ("sim", false, ANY),
    ("lab", false, &[]),
    ("cli", false, ANY),
];

const ANY: &[&str] = &["*"];

/// What a pure room must not hold, and why it is looked for as text: an effect is always named somehow.
const EFFECTS: &[&str] =
    &["async fn", "tokio::", "std::fs", "std::net", "std::process", "std::env", "SystemTime", "Instant::now", "rand::"];

#[test]
fn every_room_names_only_rooms_of_its_row() {
    let mut wrong = Vec::new();
    for (room, file) in sources() {
        let path = file.path.display();
        let Some((_, _, allowed)) = ROOMS.iter().find(|(name, ..)| *name == room) else {
            wrong.push(format!("{path}: the room `{room}` is not in the table"));
            continue;
        };
        for other in named(&file) {
            let words = WORDS.contains(&other) && (!WORDS.contains(&room.as_str()) || before(other, &room));
            if other != room && !words && *allowed != ANY && !allowed.contains(&other) {
                wrong.push(format!("{path}: `{room}` must not name `{other}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_rooms_hold_no_effects() {
    let mut wrong = Vec::new();
    for (room, file) in sources() {
        if !ROOMS.iter().any(|(name, pure, _)| *name == room && *pure) {
            continue;
        }
        // What only draws on a terminal is the report's own, kept in one file.
        if file.path.ends_with("report/human/progress.rs") {
            continue;
        }
        for effect in EFFECTS.iter().filter(|effect| file.code.contains(**effect)) {
            wrong.push(format!("{}: the pure room `{room}` holds `{effect}`", file.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn some_crates_are_named_in_one_place_only() {
    // What a user wrote is read by `yaml`; what is on a host is changed by `edit`, which must know every byte of it.
    let homes: [(&str, &[&str]); 7] = [
        ("minijinja", &["template/"]),
        ("saphyr_parser", &["yaml/mod.rs", "edit/yaml.rs"]),
        ("pretty_yaml", &["format.rs"]),
        ("yaml_parser", &["format.rs"]),
        ("petgraph", &["graph.rs"]),
        ("openssh::", &["transport/ssh"]),
        ("jsonc_parser", &["edit/json.rs"]),
    ];
    let mut wrong = Vec::new();
    for (_, file) in sources() {
        for (krate, homes) in homes {
            if file.code.contains(krate) && !homes.iter().any(|home| file.path.to_string_lossy().contains(home)) {
                wrong.push(format!("{}: only {} names {krate}", file.path.display(), homes.join(" and ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rooms that a daemon uses as the command line does: nothing in them takes from this process or talks to a person.
const SHARED: &[&str] = &["workspace", "operation"];

const PROCESS: &[&str] = &[
    "clap",
    "std::env",
    "process::exit",
    "println",
    "anstream",
    "anstyle",
    "indicatif",
    "rpassword",
    "terminal_size",
    "IsTerminal",
    "tokio::signal",
    "ctrl_c",
];

#[test]
fn shared_rooms_leave_the_process_and_the_terminal_to_their_callers() {
    let mut wrong = Vec::new();
    for (room, file) in sources().iter().filter(|(room, _)| SHARED.contains(&room.as_str())) {
        for word in PROCESS.iter().filter(|word| file.code.contains(**word)) {
            wrong.push(format!("{}: the room `{room}` holds `{word}`", file.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_is_one_runtime() {
    // The simulator runs what is async from tests that are not.
    let homes = ["cli/mod.rs", "sim/world.rs"];
    let makes = |text: &str| text.contains("runtime::Builder") || text.contains("Runtime::new");
    let found = sources().into_iter().filter(|(_, file)| makes(&file.code)).map(|(_, file)| file.path);
    let others: Vec<PathBuf> = found.filter(|file| !homes.iter().any(|home| file.ends_with(home))).collect();
    assert!(others.is_empty(), "{others:?} make a runtime: a second one panics inside the first");
}

#[test]
fn no_kind_names_another() {
    let kinds: BTreeSet<&str> = armilla::resource::KINDS.iter().map(|kind| kind.name).collect();
    let mut wrong = Vec::new();
    for (room, file) in sources() {
        let own = file.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        if room != "resource" || !kinds.contains(own.as_str()) {
            continue;
        }
        for other in kinds.iter().filter(|other| **other != own) {
            if file.names.iter().any(|path| path.len() > 2 && path[0] == "resource" && path[1] == **other) {
                wrong.push(format!("{}: names the kind `{other}`", file.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a kind means to the rest of the program, it says itself: adding one touches no other room.
#[test]
fn no_room_asks_for_a_kind_by_its_name() {
    let kinds: Vec<String> = armilla::resource::KINDS.iter().map(|kind| format!("\"{}\"", kind.name)).collect();
    let mut wrong = Vec::new();
    for (room, file) in sources() {
        if room == "resource" {
            continue;
        }
        for line in file.code.lines().filter(|line| line.contains("kind")) {
            for kind in kinds.iter().filter(|kind| line.contains(kind.as_str())) {
                wrong.push(format!("{}: asks for the kind {kind}: {}", file.path.display(), line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn before(one: &str, other: &str) -> bool {
    let place = |name: &str| WORDS.iter().position(|word| *word == name);
    place(one) < place(other)
}

/// Every source file with its room.
fn sources() -> Vec<(String, File)> {
    let room = |(module, file): (Vec<String>, File)| Some((module.first()?.clone(), file));
    imports::files().into_iter().filter_map(room).collect()
}

/// The rooms a file names.
fn named(file: &File) -> BTreeSet<&str> {
    let rooms = file.names.iter().filter_map(|path| path.first());
    rooms.map(String::as_str).filter(|name| ROOMS.iter().any(|(room, ..)| room == name)).collect()
}

/// Files that name each other in a circle have no order in which they could be read. What a `mod.rs` defines is the
/// vocabulary of the files below it, so a file may name the `mod.rs` above it.
#[test]
fn no_files_name_each_other_in_a_circle() {
    let files = imports::files();
    let mut named: BTreeMap<&Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (module, file) in &files {
        let homes = file.names.iter().filter_map(|path| imports::home(&files, path));
        let others = homes.filter(|other| !module.starts_with(other) && !other.is_empty());
        named.insert(module, others.collect());
    }
    let mut circles = BTreeSet::new();
    for module in files.keys() {
        // Everything that can be reached from here, and leads back.
        let (mut open, mut reached) = (vec![module], BTreeSet::new());
        while let Some(next) = open.pop() {
            open.extend(named[next].iter().filter(|other| reached.insert(*other)));
        }
        let circle: Vec<&Vec<String>> =
            reached.iter().copied().filter(|other| *other == module || leads(&named, other, module)).collect();
        if reached.contains(module) {
            circles.insert(circle.iter().map(|module| module.join("::")).collect::<Vec<_>>().join(", "));
        }
    }
    assert!(circles.is_empty(), "circles:\n{}", circles.into_iter().collect::<Vec<_>>().join("\n"));
}

fn leads(named: &BTreeMap<&Vec<String>, BTreeSet<Vec<String>>>, from: &Vec<String>, to: &Vec<String>) -> bool {
    let (mut open, mut reached) = (vec![from], BTreeSet::new());
    while let Some(next) = open.pop() {
        open.extend(named[next].iter().filter(|other| reached.insert(*other)));
    }
    reached.contains(to)
}
