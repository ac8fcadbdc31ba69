//! `docs/roles/NAME.md`: a page for each role that the binary carries, made from its `role.yml`.
//!
//! In: the role as it is. Out: the page, held against the one in the repository. With `ARMILLA_BLESS=1` it is written
//! anew. Never: a page of a role that is no more.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use armilla::diag::Source;
use armilla::name::RoleName;
use armilla::role::{Item, Role};
use armilla::yaml::{self, Node};
use regex::Regex;

#[test]
fn every_built_in_role_has_its_page() {
    let mut pages = BTreeSet::from(["README.md".to_owned()]);
    let mut index = String::from(INDEX);
    for name in folders() {
        let (role, node) = role(&name);
        let _ = writeln!(index, "| [`{name}`]({name}.md) | {} |", role.summary);
        held(&format!("{name}.md"), &page(&role, &node));
        pages.insert(format!("{name}.md"));
    }
    held("README.md", &index);
    let there = fs::read_dir(root().join("docs/roles")).expect("the pages").flatten();
    let there: BTreeSet<String> = there.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    assert_eq!(there, pages, "a page of a role that is no more is deleted by hand");
}

const INDEX: &str = "# Built-in roles

These roles are part of the program; a role of the same name in the `roles/` of your project replaces it. These pages are generated from
the roles: `ARMILLA_BLESS=1 cargo test --test suite role_pages`. How to write a role: [roles](../roles.md).

| role | description |
|---|---|
";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn folders() -> Vec<String> {
    let entries = fs::read_dir(root().join("roles")).expect("the roles").flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn role(name: &str) -> (Role, Node) {
    let path = format!("roles/{name}/role.yml");
    let text = fs::read_to_string(root().join(&path)).expect("a role.yml");
    let node = yaml::parse(&Source::new(path, text)).unwrap_or_else(|problem| panic!("{problem}"));
    let name = RoleName::new(name).expect("a name");
    (Role::read(&name, &node).unwrap_or_else(|problems| panic!("{problems}")), node)
}

fn held(file: &str, text: &str) {
    let path = root().join("docs/roles").join(file);
    if std::env::var_os("ARMILLA_BLESS").is_some() {
        fs::write(&path, text).expect("a page can be written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "docs/roles/{file} is not current: ARMILLA_BLESS=1 cargo test --test suite role_pages");
}

fn page(role: &Role, node: &Node) -> String {
    let mut text = format!("# {}\n\n{}\n", role.name, role.summary);
    let _ = writeln!(text, "\n```yaml\n# site.yml\nservices:\n  {0}: {{ hosts: GROUP }}\n```", role.name);
    let _ = writeln!(
        text,
        "\nFrom `roles/{}/role.yml`; the inputs are set like any [variable](../inventory.md).",
        role.name
    );
    inputs(role, node, &mut text);
    list(
        "Roles it brings along on the same host",
        role.requires.iter().map(|key| format!("[`{0}`]({0}.md)", key.name)),
        &mut text,
    );
    list("Services that must be healthy first", role.needs.iter().map(|key| format!("`{}`", key.name)), &mut text);
    // A dash in an expression is a minus.
    let word = if role.name.as_str().contains('-') { format!("['{}']", role.name) } else { format!(".{}", role.name) };
    let provided = role.provides.iter().map(|(key, _)| format!("`needs{word}.{key}`"));
    list("Values for roles that need it", provided, &mut text);
    let refused = node.get("refuse").and_then(Node::list).unwrap_or_default().iter().map(refusal);
    list("Refused at validate", refused, &mut text);
    let wanted = node.get("resources").and_then(Node::list).unwrap_or_default();
    let things = wanted.iter().zip(&role.resources).map(|(node, item)| resource(item, node));
    list("What it puts on a host, in order", things, &mut text);
    let checks = node.get("health").and_then(Node::list).unwrap_or_default();
    list("It is healthy when these hold", checks.iter().map(|check| format!("`{}`", check.to_json())), &mut text);
    let batch = node.get("rollout").and_then(|rollout| rollout.get("batch")).map_or_else(|| "all".to_owned(), plain);
    let _ = writeln!(text, "\n## How its hosts change\n\n`batch: {batch}`");
    text
}

fn inputs(role: &Role, node: &Node, text: &mut String) {
    if role.inputs.is_empty() {
        return;
    }
    text.push_str("\n## Inputs\n\n| input | type | default | description |\n|---|---|---|---|\n");
    for input in &role.inputs {
        let written = node.get("inputs").and_then(|inputs| inputs.get(&input.name));
        let key = |key: &str| written.and_then(|input| input.get(key)).map(plain);
        let default = match key("default") {
            _ if input.required => "must be set".to_owned(),
            Some(default) => format!("`{default}`"),
            None => String::new(),
        };
        let bounds = [("min", "at least"), ("max", "at most")];
        let bounds = bounds.into_iter().filter_map(|(name, words)| Some(format!(", {words} {}", key(name)?)));
        let kind = key("type").unwrap_or_default() + &bounds.collect::<String>();
        let about = input.description.replace('|', "\\|");
        let _ = writeln!(
            text,
            "| `{}` | {kind} | {default} | {} |",
            input.name,
            about.split_whitespace().collect::<Vec<_>>().join(" ")
        );
    }
}

/// Its kind and what it is about: the name a plan calls it by, or what it owns.
fn resource(item: &Item, node: &Node) -> String {
    let body = node.get(item.kind.name).unwrap_or(node);
    let named = ["name", item.kind.short].into_iter().find_map(|key| body.get(key));
    let about = if body.text().is_some() { Some(body) } else { named };
    let about = about.map(|about| format!(" `{}`", plain(about))).unwrap_or_default();
    let when = node.get("when").map(|when| format!(", if `{}`", plain(when))).unwrap_or_default();
    format!("{}{about}{when}", item.kind.name)
}

/// What an expression comes to is known only with the values.
fn refusal(node: &Node) -> String {
    let expression = Regex::new(r"\{\{.*?\}\}").expect("a pattern");
    let said = |key: &str| {
        let text = node.get(key).map(plain).unwrap_or_default();
        expression.replace_all(&text, "…").into_owned()
    };
    format!("{} ({})", said("because"), said("hint"))
}

/// As one writes it on one line.
fn plain(node: &Node) -> String {
    node.text().map_or_else(
        || node.to_json().to_string(),
        |text| if text.is_empty() { "\"\"".to_owned() } else { text.to_owned() },
    )
}

fn list(title: &str, items: impl Iterator<Item = String>, text: &mut String) {
    let lines: Vec<String> = items.map(|item| format!("- {item}\n")).collect();
    if !lines.is_empty() {
        let _ = write!(text, "\n## {title}\n\n{}", lines.concat());
    }
}
