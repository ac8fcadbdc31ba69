//! Secrecy is a type: no data of a user is taken for a secret or for bytes, and a secret stays one.

use armilla::name::HostName;
use armilla::sim::{World, show_plan, show_run};
use armilla::step::{Fetch, PathReading, Probe};
use serde_json::{Value, json};

/// Words by which a program could mark secrets or bytes in data, at every depth and beside other keys.
fn odd() -> Value {
    let words =
        ["$secret", "$bytes", "$$secret", "sealed", "base64", "armilla::secret::Datum", "$serde_json::private::Number"];
    let alone: Vec<Value> = words.iter().map(|word| json!({ *word: "AP8A" })).collect();
    let beside: Vec<Value> =
        words.iter().map(|word| json!({ *word: "AP8A", "more": { *word: [{ *word: 1 }] } })).collect();
    json!({ "alone": alone, "beside": beside, "$secret": "x", "deep": { "$secret": { "sealed": 0 } } })
}

fn world(resources: &str) -> World {
    let mut world = World::default();
    world.host("h1").expect("a name");
    let role =
        format!("summary: R.\ninputs:\n  odd: {{ type: map }}\n  flat: {{ type: map }}\nresources:\n{resources}");
    world.role("r", &role).expect("a role");
    let flat = json!({ "$secret": "x" });
    world.site(&format!("services:\n  r: {{ hosts: all, vars: {{ odd: {}, flat: {flat} }} }}\n", odd()));
    world.template("odd.j2", "{{ odd | tojson }}");
    world
}

fn content(world: &World, path: &str) -> String {
    let host = HostName::new("h1").expect("a name");
    let probe = Probe::Path { path: path.to_owned(), content: Fetch::Always };
    let readings = world.look(&host, std::slice::from_ref(&probe));
    match readings.path(&probe) {
        Ok(PathReading::File { content: Some(content), .. }) => String::from_utf8_lossy(content).into_owned(),
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn data_that_looks_like_a_secret_reaches_the_host_as_written() {
    let world = world(concat!(
        "  - template: { src: odd.j2, path: /etc/t.json }\n",
        "  - json: { path: /etc/j.json, create: true, key: [here], value: \"{{ odd }}\" }\n",
        "  - json: { path: /etc/f.json, create: true, key: [here], value: { flat: \"{{ flat }}\", $bytes: AP8A } }\n",
    ));
    let plan = world.plan().unwrap_or_else(|problems| panic!("{problems}"));
    assert!(!show_plan(&plan).contains("***"), "{}", show_plan(&plan));
    let run = world.apply(&plan);
    assert!(run.report.converged(), "{}", show_run(&plan, &run));
    let read = |path: &str| serde_json::from_str::<Value>(&content(&world, path)).expect("JSON");
    assert_eq!(read("/etc/t.json"), odd());
    assert_eq!(read("/etc/j.json")["here"], odd());
    assert_eq!(read("/etc/f.json")["here"], json!({ "flat": { "$secret": "x" }, "$bytes": "AP8A" }));
    assert!(world.plan().unwrap_or_else(|problems| panic!("{problems}")).is_empty(), "it is in sync afterwards");
}

#[test]
fn a_map_in_the_place_of_a_text_is_a_map_whatever_its_keys_are() {
    for (resource, what) in [
        ("file: { path: /a, content: \"{{ flat }}\" }", "content must be a text"),
        ("file: { path: /a, content: { $bytes: AP8A } }", "content must be a text"),
        ("command: { run: [echo, \"{{ flat }}\"], name: it }", "an argument must be text: put a map in quotes"),
        ("file: { path: /a, content: x, mode: \"{{ flat }}\" }", "a mode must be in quotes, like \"0644\", not a map"),
    ] {
        let problems = world(&format!("  - {resource}\n")).plan().expect_err(what).to_string();
        assert!(problems.contains(what), "{what} in {problems}");
        assert!(!problems.contains("secret must"), "{problems}");
    }
}
