//! Templates that include others: which facts a role reads through them, which files belong to a project.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;

use armilla::catalog::facts_read;
use armilla::diag::{Diagnostics, Origin, Source};
use armilla::fact::FACTS;
use armilla::name::RoleName;
use armilla::project::{From, Project, RoleTexts};
use armilla::role::Role;
use armilla::store;
use armilla::template::{Folder, Library, Text};
use armilla::yaml;

fn folder(files: &[(&str, &str)]) -> Folder {
    files.iter().map(|(name, text)| ((*name).to_owned(), Source::new(format!("templates/{name}"), *text))).collect()
}

/// The facts that a role with these resources reads.
fn facts(resources: &str, own: &[(&str, &str)], project: &[(&str, &str)]) -> Result<BTreeSet<String>, Diagnostics> {
    let name = RoleName::new("r").expect("a name");
    let text = Source::new("roles/r/role.yml", format!("summary: R.\nresources:\n{resources}"));
    let role = Role::read(&name, &yaml::parse(&text)?)?;
    let texts = RoleTexts { role: text, templates: folder(own), files: BTreeMap::default(), from: From::Project };
    let roles = [(name, texts)].into();
    Ok(facts_read(&role, &Project { roles, templates: folder(project), ..Project::default() }))
}

#[test]
fn the_facts_that_included_templates_read_are_asked() {
    let own = [
        ("a.j2", "{% include ['none.j2', 'b.j2'] ignore missing %}"),
        ("b.j2", "{% extends 'base.j2' %}{% block one %}{{ facts.memory }}{% endblock %}"),
        ("other.j2", "{{ facts.kernel }}"),
    ];
    let project = [("base.j2", "{% block one %}{% endblock %}{{ facts.os.codename }}")];
    let read = |resources: &str| facts(resources, &own, &project).expect("a role");
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(read("  - template: { src: a.j2, path: /a }\n"), names(&["memory", "os"]));
    assert_eq!(read("  - unit: { src: a.j2, name: a.service }\n"), names(&["memory", "os"]));
    assert_eq!(read("  - template: { content: x, path: /a }\n"), names(&[]));
    // A computed name may be that of any template.
    let computed = "  - template: { src: \"{{ item }}.j2\", path: \"/{{ item }}\" }\n    loop: [a, other]\n";
    assert_eq!(read(computed), names(&["memory", "os", "kernel"]));
}

#[test]
fn facts_as_a_whole_are_all_facts() {
    let all: BTreeSet<String> = FACTS.iter().map(|fact| fact.name.to_owned()).collect();
    let library = [("m.j2", "{% macro os(facts) %}{{ facts.os.name }}{% endmacro %}")];
    for text in
        ["{% import 'm.j2' as m %}{{ m.os(facts) }}", "{{ facts['memory'] }}", "{% set f = facts %}{{ f.memory }}"]
    {
        let read = facts("  - template: { src: a.j2, path: /a }\n", &[("a.j2", text)], &library);
        assert_eq!(read.as_ref(), Ok(&all), "{text}");
    }
}

#[test]
fn every_built_in_template_compiles() {
    let shared = store::shared_templates();
    assert!(shared.contains_key("armilla/java.service.j2"));
    for name in shared.keys() {
        if let Err(problems) = Text::load(name, &Library::new([&shared])) {
            panic!("{problems}");
        }
    }
}

#[test]
fn a_template_that_is_a_link_out_of_the_project_is_refused() {
    let outside = tempfile::tempdir().expect("a folder");
    fs::write(outside.path().join("secret"), "hunter2").expect("written");
    let project = tempfile::tempdir().expect("a folder");
    let templates = project.path().join("roles/r/templates");
    fs::create_dir_all(&templates).expect("made");
    fs::create_dir_all(project.path().join("templates")).expect("made");
    fs::write(project.path().join("site.yml"), "services: {}\n").expect("written");
    fs::write(project.path().join("roles/r/role.yml"), "summary: R.\n").expect("written");
    fs::write(templates.join("a.j2"), "a").expect("written");
    symlink("../roles/r/templates/a.j2", project.path().join("templates/inside.j2")).expect("linked");
    let read = || store::read_project(project.path(), None);
    assert!(read().is_ok_and(|project| project.templates.contains_key("inside.j2")));

    symlink(outside.path().join("secret"), templates.join("b.j2")).expect("linked");
    let problems = read().expect_err("it leads outside").to_string();
    assert!(problems.contains("roles/r/templates/b.j2 is a link to a file outside the project"), "{problems}");
    assert!(!problems.contains("hunter2"));
}

#[test]
fn an_included_file_says_where_it_begins_and_what_it_reads() {
    let library = folder(&[("a.j2", "{% include 'b.j2' %}\n{{ port }}"), ("b.j2", "\n{{ port }}")]);
    let text = Text::load("a.j2", &Library::new([&library])).expect("it is whole");
    let reads: Vec<(&str, &Origin)> =
        text.files().filter(|(_, _, reads)| reads.contains("port")).map(|(name, origin, _)| (name, origin)).collect();
    assert_eq!(reads.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["a.j2", "b.j2"]);
    assert_eq!(reads[1].1.to_string(), "templates/b.j2:1:1");
}
