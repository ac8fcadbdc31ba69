//! Every kind of resource keeps what the registry promises of it.

use std::collections::BTreeSet;

use armilla::resource::{KINDS, KindInfo};
use armilla::sim::World;

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
    let last = ["unit", "link", "command", "cron", "service", "script", "git", "http", "venv"];
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
