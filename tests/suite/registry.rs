//! Every kind of resource keeps what the registry promises of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use armilla::resource::{KINDS, KindInfo, Resource, Verdict};
use armilla::secret::{Guard, sealing};
use armilla::sim::World;
use armilla::step::{Command, Digest, Step, Touched, Touches, WaitsFor};

use crate::cases::{Valid, valid};

/// What must be there before the example of a kind can work.
pub(crate) fn before(kind: &str) -> &'static str {
    match kind {
        "directory" => "  - group: zookeeper\n  - user: { name: zookeeper, group: zookeeper, system: true }\n",
        "download" => "  - directory: /usr/local/bin\n",
        "link" => "  - directory: /opt/spark\n",
        "repository" => "  - directory: /etc/apt/sources.list.d\n",
        "service" => "  - package: zookeeperd\n",
        "template" => "  - directory: /etc/zookeeper/conf\n",
        _ => "",
    }
}

pub(crate) fn world(resources: &str) -> World {
    let mut world = World::default();
    world.host("h1").expect("a host");
    world.template("zoo.cfg.j2", "tickTime={{ 1000 * 2 }}\n");
    world.file("kinds/alternative", "#!/bin/sh\n");
    world.file("notebooks.lock", "jupyterlab==4.4.1\n");
    let jar = Digest::of(b"a jar\n").0;
    let package = Digest::of(b"lib/cli.js\n").0;
    world.file("proxy.lock", &format!("node_modules/proxy proxy@5.1.0 sha256:{package}\n"));
    world.file("blazegraph.lock", &format!("com.blazegraph:blazegraph-jar:2.1.5 sha256:{jar}\n"));
    world.role("it", &format!("summary: It.\nresources:\n{resources}")).expect("a role");
    world.site("services:\n  it: { hosts: h1 }\n");
    world
}

fn example(kind: &KindInfo) -> String {
    format!("{}  - {}\n", before(kind.name), kind.example)
}

fn settles(what: &str, resources: &str) {
    let world = world(resources);
    let plan = world.plan().unwrap_or_else(|problems| panic!("{what}: {problems}"));
    assert!(!plan.is_empty(), "{what}: an empty host is not in sync");
    let run = world.apply(&plan);
    assert!(run.report.converged(), "{what}: {}", armilla::sim::show_run(&plan, &run));
    let again = world.plan().unwrap_or_else(|problems| panic!("{what}: {problems}"));
    assert!(again.is_empty(), "{what}: {}", armilla::sim::show_plan(&again));
}

#[test]
fn every_example_applied_to_an_empty_host_is_in_sync_afterwards() {
    for kind in KINDS {
        settles(kind.name, &example(kind));
    }
}

#[test]
fn all_examples_together_are_one_role() {
    let first = ["repository", "package", "group", "user", "directory", "file", "download", "archive", "template"];
    let parts = ["authorized_key", "known_host", "hosts_entry", "limits", "line", "block", "ini", "json", "yaml"];
    let system = ["firewall", "hostname", "kernel_module", "locale", "mount", "swap", "sysctl", "timer", "timezone"];
    let last = ["unit", "link", "command", "cron", "service", "script", "git", "http", "venv", "maven", "npm"];
    let order = [&first[..], &parts, &system, &last].concat();
    assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), KINDS.len(), "a new kind wants a place here");
    let kinds = order.iter().filter_map(|name| KINDS.iter().find(|kind| kind.name == *name));
    let text: Vec<&str> = kinds.map(|kind| kind.example).collect();
    settles(
        "all",
        &format!(
            "  - directory: /etc/apt/sources.list.d\n  - directory: /opt/spark\n  - directory: /usr/local/bin\n  - {}\n",
            text.join("\n  - ")
        ),
    );
}

#[test]
fn every_kind_has_a_name_of_its_own_and_that_of_its_file() {
    let names: BTreeSet<&str> = KINDS.iter().map(|kind| kind.name).collect();
    assert_eq!(names.len(), KINDS.len());
    for name in names {
        let path = format!("{}/src/resource/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{name} is not in {path}"));
        assert!(text.contains(&format!("const NAME: &'static str = \"{name}\"")), "{path} has another kind");
    }
}

#[test]
fn every_field_of_every_kind_is_described() {
    for kind in KINDS {
        let schema = (kind.schema)().to_value();
        let fields = schema["properties"].as_object().unwrap_or_else(|| panic!("{} has no fields", kind.name)).clone();
        assert!(fields.contains_key(kind.short), "{}: no `{}`", kind.name, kind.short);
        assert!(!kind.summary.is_empty() && kind.example.starts_with(&format!("{}: ", kind.name)), "{}", kind.name);
        for (name, field) in fields {
            let described =
                field["description"].as_str().is_some_and(|text| text.ends_with('.') || text.contains(". "));
            assert!(described, "{}.{name} has no description", kind.name);
        }
    }
}

/// The programs that a resource would run, of every case that has something to do.
fn programs() -> Vec<(Arc<dyn Resource>, Command)> {
    let of_case = |case: Valid| {
        let steps = match case.decision.map(|decision| decision.verdict) {
            Some(Verdict::Change(change) | Verdict::MayChange(change, _)) => change.steps,
            _ => Vec::new(),
        };
        let program = |step| match step {
            Step::Run(command) | Step::RunUnless(command, _) | Step::RunOr(command, _) => Some(command),
            _ => None,
        };
        let programs = steps.into_iter().filter_map(program);
        programs.map(move |program| (Arc::clone(&case.resource), program)).collect::<Vec<_>>()
    };
    valid().into_iter().flat_map(of_case).collect()
}

#[test]
fn a_kind_says_what_its_programs_touch_and_wait_for() {
    let (mut known, mut waiting) = (BTreeSet::new(), BTreeSet::new());
    for (resource, program) in programs() {
        let words: Vec<&str> = program.argv.iter().map(String::as_str).collect();
        let what = format!("{} {}: {words:?}", resource.kind(), resource.target());
        let only = |things: &[Touched]| assert_eq!(program.touches, Touches::Only(things.to_vec()), "{what}");
        match (resource.kind(), words.as_slice()) {
            // What a user wrote can do anything.
            ("command" | "script" | "http", _) => assert_eq!(program.touches, Touches::Unknown, "{what}"),
            (_, ["systemctl", _, "--", unit]) if unit.contains("@.") || unit.contains('*') => {
                assert_eq!(program.touches, Touches::Unknown, "{what}");
            }
            (_, ["systemctl", _, "--", unit]) => only(&[Touched::Unit((*unit).to_owned())]),
            (_, ["rmdir", .., path]) => only(&[Touched::Path((*path).to_owned())]),
            ("package", ["apt-get" | "apt-mark", ..]) => only(&[Touched::Package(resource.target())]),
            ("user" | "group" | "git" | "venv", _) => assert_eq!(program.touches, Touches::Unknown, "{what}"),
            _ => {}
        }
        let expected = match words.as_slice() {
            ["apt-get", ..] => Some(WaitsFor::Dpkg),
            ["userdel", .., user] => Some(WaitsFor::ProcessesOf((*user).to_owned())),
            _ => None,
        };
        assert_eq!(program.waits_for, expected, "{what}");
        known.extend((program.touches != Touches::Unknown).then(|| resource.kind()));
        waiting.extend(program.waits_for.map(|_| resource.kind()));
    }
    for kind in ["package", "repository", "service", "timer", "unit", "mount", "swap", "timezone", "directory"] {
        assert!(known.contains(kind), "no program of a {kind} says what it touches: {known:?}");
    }
    assert!(waiting.contains("package") && waiting.contains("user"), "{waiting:?}");
}

#[test]
fn a_program_touches_and_waits_for_what_a_saved_plan_says() {
    let command = Command::new(["it"]).touching([Touched::Unit("a.service".into())]).waiting_for(WaitsFor::Dpkg);
    let text = sealing(Guard::Secrets, || serde_json::to_string(&command)).0.expect("it can be written");
    assert_eq!(serde_json::from_str::<Command>(&text).expect("it can be read"), command);
    let older = sealing(Guard::Secrets, || serde_json::to_string(&Command::new(["it"]))).0.expect("it can be written");
    assert!(!older.contains("touches") && !older.contains("waits_for"), "{older}");
    assert_eq!(serde_json::from_str::<Command>(&older).expect("it can be read").touches, Touches::Unknown);
}
