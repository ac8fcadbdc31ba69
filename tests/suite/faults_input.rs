//! Hostile files of a project: templates in values, names that are options, and texts that cost memory or time without end.
//!
//! In: the program itself, on this machine. Out: how it ends and what it leaves. Never: anything outside a temporary directory.

use std::fmt::Write as _;
use std::fs;

use crate::faults::Here;

#[test]
#[ignore = "needs root: a namespace of its own"]
fn f36_what_looks_like_a_template_is_data_wherever_it_comes_from() {
    let role = "summary: x\ninputs:\n  given: { type: string }\n  told: { type: string }\nresources:\n  - file: { path: FOLDER/out, content: \"{{ given }}|{{ told }}|{{ facts.hostname }}|{{ twice }}\\n\" }\n  - template: { path: FOLDER/rendered, src: x.j2 }\n";
    let role = role.replace("inputs:\n", "inputs:\n  twice: { type: string, default: x }\n");
    let here = Here::new("template", &role);
    here.file("roles/only/templates/x.j2", "{{ given }}|{{ told }}|{{ facts.hostname }}|{{ twice }}\n");
    here.file("inventories/here/host_vars/laptop.yml", "twice: \"{{ 7 * 7 }}\"\n");
    let evil = "{{ 7 * 7 }}{% for i in range(9) %}x{% endfor %}";
    // The host calls itself so.
    let named = "printf %s \"$EVIL\" >/proc/sys/kernel/hostname; exec \"$0\" \"$@\"";
    let mut command = here.command(
        &["unshare", "-u", "sh", "-c", named],
        &["apply", "here", "-y", "-e", &format!("given=\"{evil}\""), "-e", "told=\"${IFS}`id`{{ facts }}\""],
    );
    let output = command.env("EVIL", "{{ 7 * 7 }}").output().expect("armilla runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let wanted = format!("{evil}|${{IFS}}`id`{{{{ facts }}}}|{{{{ 7 * 7 }}}}|{{{{ 7 * 7 }}}}\n");
    assert_eq!(fs::read_to_string(here.0.path("out")).expect("it was written"), wanted);
    assert_eq!(fs::read_to_string(here.0.path("rendered")).expect("it was written"), wanted);
}

#[test]
fn f37_names_in_files_are_names() {
    let evil = ["-oProxyCommand=x", "a b", "a;b", "$(x)", "`x`", "a/../b", "", ".", "..", "a\\nb", "\\0", "a'b", "--"];
    for name in evil {
        let here = Here::new("names", "summary: x\n");
        here.file("inventories/here/hosts.yml", &format!("hosts:\n  \"{name}\": {{ connection: local }}\n"));
        let (code, said) = here.armilla(&["validate", "here"]);
        assert!(code == Some(1) && said.contains("error:") && !said.contains("panicked"), "{name}: {code:?} {said}");
    }
    for (kind, name) in ["package", "service", "user", "group"].iter().flat_map(|kind| evil.map(|name| (kind, name))) {
        let here = Here::new("kinds", &format!("summary: x\nresources:\n  - {kind}: {{ name: \"{name}\" }}\n"));
        let (code, said) = here.armilla(&["validate", "here"]);
        assert!(code == Some(1) && said.contains("error:") && !said.contains("panicked"), "{kind} {name}: {said}");
    }
}

/// What is wrong, a file of the project, its text, and a part of the complaint.
fn bombs() -> Vec<(&'static str, &'static str, String, &'static str)> {
    let mut aliases = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..12 {
        let list = vec![format!("*a{}", n - 1); 10].join(", ");
        let _ = writeln!(aliases, "a{n}: &a{n} [{list}]");
    }
    let role = |text: &str| format!("summary: x\nresources:\n  - file: {{ path: /tmp/x, content: \"{text}\" }}\n");
    let deep = |open: &str, close: &str| format!("summary: {}x{}\n", open.repeat(1000), close.repeat(1000));
    vec![
        ("a bomb of aliases", "site.yml", aliases.clone(), "more than"),
        ("a bomb in an inventory", "inventories/here/hosts.yml", aliases, "more than"),
        ("deep nesting", "roles/only/role.yml", deep("[", "]"), "error:"),
        ("deep maps", "roles/only/role.yml", deep("{a: ", "}"), "error:"),
        ("a key twice", "roles/only/role.yml", "summary: x\nsummary: y\n".to_owned(), "twice"),
        ("an anchor of itself", "site.yml", "a: &a [*a]\n".to_owned(), "error:"),
        ("a role that requires itself", "roles/only/role.yml", "summary: x\nrequires: [only]\n".to_owned(), "error:"),
        (
            "a group in itself",
            "inventories/here/hosts.yml",
            "groups:\n  a: { children: [b] }\n  b: { children: [a] }\n".to_owned(),
            "error:",
        ),
        ("an endless loop", "roles/only/role.yml", role("{% for i in range(10000000) %}{{ i }}{% endfor %}"), "error:"),
        (
            "loops in loops",
            "roles/only/role.yml",
            role("{% for i in range(10000) %}{% for j in range(10000) %}x{% endfor %}{% endfor %}"),
            "error:",
        ),
        ("a macro of itself", "roles/only/role.yml", role("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}"), "error:"),
        (
            "ten million hosts",
            "inventories/here/hosts.yml",
            "groups:\n  all_hosts: { hosts: \"h[1:10000000]\" }\n".to_owned(),
            "error:",
        ),
        (
            "a yes that is no truth",
            "roles/only/role.yml",
            "summary: x\nresources:\n  - service: { name: x, enabled: yes }\n".to_owned(),
            "error:",
        ),
        ("a second document", "site.yml", "services: {}\n---\nservices: {}\n".to_owned(), "second document"),
        ("a file of zeros", "site.yml", "\0".repeat(1 << 20), "error:"),
    ]
}

#[test]
fn f38_hostile_files_are_refused_soon_and_in_little_memory() {
    for (what, file, text, why) in bombs() {
        let here = Here::new("bomb", "summary: x\n");
        here.file(file, &text);
        let limited = ["prlimit", "--as=4000000000", "--cpu=30", "--"];
        let output = here.command(&limited, &["validate", "here"]).output().expect("armilla runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{what}: {said:.2000}");
        assert!(said.contains(why) && !said.contains("panicked"), "{what}: {said:.2000}");
        assert!(said.len() < 20_000, "{what}: {} bytes of complaint", said.len());
    }
}
