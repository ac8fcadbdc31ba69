//! From the tree of a `role.yml` to a [`Role`].
//!
//! In: a tree. Out: a role. Never: only the first of several problems.

use regex::Regex;

use super::{HealthCheck, Input, InputType, Item, Refusal, Role, risk};
use crate::diag::{Diagnostic, Diagnostics, Origin};
use crate::name::{RoleName, did_you_mean};
use crate::resource::{KINDS, Verb, kind};
use crate::secret::Secrecy;
use crate::template::{Formula, Recipe};
use crate::yaml::{Key, Node, Table, Yaml, tags, unknown_key};

pub(super) const ROLE: &[&str] =
    &["summary", "tags", "inputs", "requires", "needs", "provides", "refuse", "resources", "health", "rollout"];
const INPUT: &[&str] = &["type", "default", "required", "min", "max", "pattern", "choices", "description"];
const REFUSAL: &[&str] = &["when", "because", "hint"];
const AROUND: &[&str] = &["when", "loop", "notify", "tags", "protect", "risky"];

/// Ansible's modules that have another name here.
const MODULES: &[(&str, &str)] = &[
    ("apt", "package"),
    ("apt_key", "repository"),
    ("apt_repository", "repository"),
    ("blockinfile", "block"),
    ("copy", "file"),
    ("cronjob", "cron"),
    ("deb822_repository", "repository"),
    ("dnf", "package"),
    ("get_url", "download"),
    ("ini_file", "ini"),
    ("known_hosts", "known_host"),
    ("lineinfile", "line"),
    ("locale_gen", "locale"),
    ("modprobe", "kernel_module"),
    ("nftables", "firewall"),
    ("pacman", "package"),
    ("pam_limits", "limits"),
    ("pip", "venv"),
    ("raw", "command"),
    ("shell", "command"),
    ("systemd", "service"),
    ("systemd_service", "service"),
    ("ufw", "firewall"),
    ("unarchive", "archive"),
    ("uri", "http"),
    ("yum", "package"),
    ("yum_repository", "repository"),
    ("zypper", "package"),
];

/// Names that mean something in every expression, so no input can have them.
const RESERVED: &[&str] = &["host", "service", "needs", "facts", "groups", "environment", "vars", "item"];

pub(super) fn role(name: &RoleName, node: &Node) -> Result<Role, Diagnostics> {
    let mut problems = Diagnostics::new();
    let Some(table) = Table::open("a role", node, ROLE, &mut problems) else { return Err(problems) };
    let role = Role {
        name: name.clone(),
        summary: table.text("summary", &mut problems).unwrap_or_default().to_owned(),
        inputs: inputs(&table, &mut problems),
        requires: names(&table, "requires", &mut problems),
        needs: names(&table, "needs", &mut problems),
        provides: provides(&table, &mut problems),
        refuse: each(table.items("refuse"), refusal, &mut problems),
        tags: table.tags(&mut problems),
        resources: each(table.items("resources"), item, &mut problems),
        health: each(table.items("health"), HealthCheck::read, &mut problems),
        rollout: table.get("rollout").map(|node| super::rollout::read(node, &mut problems)).unwrap_or_default(),
        origin: node.origin.clone(),
    };
    problems.result(role)
}

fn each<T>(nodes: &[Node], read: fn(&Node) -> Result<T, Diagnostics>, problems: &mut Diagnostics) -> Vec<T> {
    nodes.iter().filter_map(|node| problems.keep(read(node))).collect()
}

fn names(table: &Table<'_>, key: &'static str, problems: &mut Diagnostics) -> Vec<Key> {
    let name = |node: &Node| match node.text() {
        Some(text) => Ok(Key { name: text.to_owned(), origin: node.origin.clone() }),
        None => Err(Diagnostic::error(format!("`{key}` must be a list of names")).at(&node.origin)),
    };
    table.items(key).iter().filter_map(|node| name(node).map_err(|problem| problems.push(problem)).ok()).collect()
}

fn provides(table: &Table<'_>, problems: &mut Diagnostics) -> Vec<(String, Recipe)> {
    let entries = table.entries("provides", problems);
    entries
        .iter()
        .filter_map(|(key, node)| problems.keep(Recipe::parse(node)).map(|recipe| (key.name.clone(), recipe)))
        .collect()
}

fn inputs(table: &Table<'_>, problems: &mut Diagnostics) -> Vec<Input> {
    let entries = table.entries("inputs", problems);
    entries.iter().filter_map(|(key, node)| problems.keep(input(key, node))).collect()
}

fn input(key: &Key, node: &Node) -> Result<Input, Diagnostics> {
    let mut problems = Diagnostics::new();
    check_input_name(key, &mut problems);
    let Some(table) = Table::open("an input", node, INPUT, &mut problems) else { return Err(problems) };
    let kind = input_type(&table, &mut problems);
    let default = table.get("default").and_then(|node| problems.keep(Recipe::parse(node)));
    let required = table.flag("required", &mut problems).unwrap_or(false);
    if required && default.is_some() {
        let problem = Diagnostic::error("an input with a default cannot be required").at(&key.origin);
        problems.push(problem.hint("remove `required` or `default`"));
    }
    let input = kind.map(|kind| Input {
        name: key.name.clone(),
        min: bound(&table, "min", &kind, &mut problems),
        max: bound(&table, "max", &kind, &mut problems),
        kind,
        default,
        required,
        pattern: pattern(&table, &mut problems),
        description: table.text("description", &mut problems).unwrap_or_default().to_owned(),
        origin: key.origin.clone(),
    });
    if let Some(input) = &input {
        check_default(input, &mut problems);
    }
    match input {
        Some(input) => problems.result(input),
        None => Err(problems),
    }
}

fn check_input_name(key: &Key, problems: &mut Diagnostics) {
    let identifier = key.name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let what = match () {
        () if RESERVED.contains(&key.name.as_str()) => "has another meaning in expressions",
        () if !identifier => "is not a valid input name: only letters, digits and `_`, not beginning with a digit",
        () => return,
    };
    let mut offered: String = key.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if identifier || !offered.starts_with(|c: char| c.is_ascii_alphabetic()) {
        offered.insert_str(0, "the_");
    }
    problems.push(
        Diagnostic::error(format!("`{}` {what}", key.name))
            .at(&key.origin)
            .wide(key.name.chars().count())
            .hint(format!("for example `{offered}`")),
    );
}

fn input_type(table: &Table<'_>, problems: &mut Diagnostics) -> Option<InputType> {
    let node = table.need("type", problems)?;
    let word = table.text("type", problems)?;
    let choices: Vec<String> = table.items("choices").iter().filter_map(|n| n.text().map(str::to_owned)).collect();
    let kind = InputType::named(word, choices);
    match &kind {
        None => problems.push(
            Diagnostic::error(format!("unknown type `{word}`"))
                .at(&node.origin)
                .wide(word.len())
                .maybe_hint(did_you_mean(word, InputType::WORDS.iter().copied()))
                .maybe_hint(InputType::synonym(word).map(|ours| format!("use `{ours}`"))),
        ),
        Some(InputType::Choice(choices)) if choices.is_empty() => {
            let problem = Diagnostic::error("a choice needs `choices`, a list of texts").at(&node.origin);
            problems.push(problem.hint("for example `choices: [info, debug]`"));
        }
        Some(_) => {}
    }
    kind
}

fn bound(table: &Table<'_>, key: &str, kind: &InputType, problems: &mut Diagnostics) -> Option<f64> {
    let node = table.get(key)?;
    let data = node.to_json();
    let unbounded = Input { min: None, max: None, pattern: None, ..plain(kind, &node.origin) };
    let number = match kind {
        InputType::Size | InputType::Duration => {
            unbounded.accept(&data, Secrecy::Open).ok().and_then(|typed| typed.value.to_string().parse().ok())
        }
        _ => data.as_f64(),
    };
    if number.is_none() {
        let problem = Diagnostic::error(format!("`{key}` does not fit the type of the input")).at(&node.origin);
        problems
            .push(problem.hint("write a number; for a size or duration, one of these; for text or a list, a length"));
    }
    number
}

fn plain(kind: &InputType, origin: &Origin) -> Input {
    Input {
        name: String::new(),
        kind: kind.clone(),
        default: None,
        required: false,
        min: None,
        max: None,
        pattern: None,
        description: String::new(),
        origin: origin.clone(),
    }
}

fn pattern(table: &Table<'_>, problems: &mut Diagnostics) -> Option<Regex> {
    let text = table.text("pattern", problems)?;
    let node = table.get("pattern")?;
    Regex::new(&format!("^(?:{text})$"))
        .map_err(|error| {
            let told = error.to_string();
            let why = told.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let problem = Diagnostic::error(format!("invalid regular expression: {why}")).at(&node.origin);
            problems.push(
                problem.hint("escape a literal `[`, `(`, `.`, `*` or `+` with a backslash, in single quotes: '\\['"),
            );
        })
        .ok()
}

/// A default that needs no host is checked at once.
fn check_default(input: &Input, problems: &mut Diagnostics) {
    if let Some(Recipe::Literal(data, origin)) = &input.default
        && let data = data.exposed()
        && let Err(why) = input.accept(&data, Secrecy::Open)
    {
        problems.push(Diagnostic::error(why).at(origin).hint(input.example(&data, Secrecy::Open)));
    }
}

fn refusal(node: &Node) -> Result<Refusal, Diagnostics> {
    let mut problems = Diagnostics::new();
    let Some(table) = Table::open("a refusal", node, REFUSAL, &mut problems) else { return Err(problems) };
    let when = table.need("when", &mut problems).and_then(|node| formula(node, &mut problems));
    let because = table.need("because", &mut problems).and_then(|node| problems.keep(Recipe::parse(node)));
    let hint = table.get("hint").and_then(|node| problems.keep(Recipe::parse(node)));
    match (when, because) {
        (Some(when), Some(because)) => problems.result(Refusal { when, because, hint }),
        _ => Err(problems),
    }
}

fn formula(node: &Node, problems: &mut Diagnostics) -> Option<Formula> {
    let parsed = match &node.value {
        Yaml::Text(text) => Formula::parse(text, &node.origin),
        Yaml::Bool(flag) => Formula::parse(if *flag { "true" } else { "false" }, &node.origin),
        _ => Err(Diagnostic::error("an expression must be text, such as `port > 1024`").at(&node.origin)),
    };
    parsed.map_err(|problem| problems.push(problem)).ok()
}

/// An expression that gives a list, or the list itself: JSON is an expression as it stands.
fn repeat(node: &Node, problems: &mut Diagnostics) -> Option<Formula> {
    let Yaml::List(_) = &node.value else { return formula(node, problems) };
    let list = problems.keep(Recipe::parse(node))?;
    if !list.is_constant() {
        let problem = Diagnostic::error("a literal list cannot contain expressions");
        problems.push(problem.at(list.origin()).hint("write the whole list as an expression: loop: \"[site, 'www']\""));
        return None;
    }
    problems.keep(Formula::parse(&node.to_json().to_string(), &node.origin).map_err(Diagnostics::from))
}

fn item(node: &Node) -> Result<Item, Diagnostics> {
    let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let Some(entries) = node.map() else {
        let text = format!("a resource must be a map with its kind as the key, not {}", node.kind());
        return Err(Diagnostic::error(text).at(&node.origin).hint("for example `- package: { name: curl }`").into());
    };
    let mut problems = Diagnostics::new();
    let (around, own): (Vec<_>, Vec<_>) = entries.iter().partition(|(key, _)| AROUND.contains(&key.name.as_str()));
    let [(key, body)] = own.as_slice() else {
        return Err(one_kind(node, &own));
    };
    let Some(info) = kind(&key.name) else {
        return Err(unknown_kind(key, &kinds).into());
    };
    let known = info.keys();
    for (key, _) in body.map().unwrap_or_default().iter().filter(|(key, _)| !known.contains(&key.name)) {
        problems.push(unknown_key(
            &format!("a `{}`", info.name),
            key,
            &known.iter().map(String::as_str).collect::<Vec<_>>(),
        ));
    }
    let get = |word: &str| around.iter().find(|(key, _)| key.name == word).map(|(_, node)| node);
    let body = short_form(info.short, body);
    let recipe = problems.keep(Recipe::parse(&body));
    let item = recipe.map(|recipe| Item {
        kind: info,
        keys: body.map().unwrap_or_default().iter().map(|(key, _)| key.clone()).collect(),
        body: recipe,
        when: get("when").and_then(|node| formula(node, &mut problems)),
        repeat: get("loop").and_then(|node| repeat(node, &mut problems)),
        tags: tags(get("tags"), &mut problems),
        notify: get("notify").and_then(|node| verb(node, &mut problems)),
        protect: get("protect").is_some_and(|node| protect(node, &mut problems)),
        risk: get("risky").and_then(|node| risk::read(node, &mut problems)),
        origin: key.origin.clone(),
    });
    match item {
        Some(item) => problems.result(item),
        None => Err(problems),
    }
}

fn protect(node: &Node, problems: &mut Diagnostics) -> bool {
    if let crate::yaml::Yaml::Bool(protect) = node.value {
        return protect;
    }
    problems.push(Diagnostic::error("`protect` must be `true` or `false`").at(&node.origin));
    false
}

fn one_kind(node: &Node, own: &[&(Key, Node)]) -> Diagnostics {
    // A misspelt `notify` beside a kind is more likely than two kinds in one entry.
    let strangers: Vec<&Key> = own.iter().map(|(key, _)| key).filter(|key| kind(&key.name).is_none()).collect();
    let mut problems = Diagnostics::new();
    if own.len() == strangers.len() + 1 {
        for key in strangers {
            problems.push(unknown_key("a resource", key, AROUND));
        }
        return problems;
    }
    let found: Vec<String> = own.iter().map(|(key, _)| format!("`{}`", key.name)).collect();
    let (what, hint) = if found.is_empty() {
        ("a resource needs a kind as its key".to_owned(), "for example `- package: { name: curl }`")
    } else {
        (format!("a resource must have one kind, not {}", found.join(" and ")), "start each resource with its own dash")
    };
    problems.push(Diagnostic::error(what).at(&node.origin).hint(hint));
    problems
}

fn unknown_kind(key: &Key, kinds: &[&str]) -> Diagnostic {
    Diagnostic::error(format!("unknown resource kind `{}`", key.name))
        .at(&key.origin)
        .wide(key.name.chars().count())
        .maybe_hint(did_you_mean(&key.name, kinds.iter().copied()))
        .maybe_hint(module(&key.name).map(|ours| format!("for the Ansible module `{}` use `{ours}`", key.name)))
}

/// The kind for one of Ansible's modules.
fn module(name: &str) -> Option<&'static str> {
    let short = name.rsplit('.').next().unwrap_or(name);
    MODULES.iter().find(|(theirs, _)| *theirs == short).map(|(_, ours)| *ours).filter(|ours| kind(ours).is_some())
}

/// `- package: curl` is `- package: { name: curl }`.
fn short_form(key: &str, body: &Node) -> Node {
    match &body.value {
        Yaml::Text(_) => {
            let key = Key { name: key.to_owned(), origin: body.origin.clone() };
            Node::new(&body.origin, Yaml::Map(vec![(key, body.clone())]))
        }
        _ => body.clone(),
    }
}

fn verb(node: &Node, problems: &mut Diagnostics) -> Option<Verb> {
    match node.text() {
        Some("restart") => Some(Verb::Restart),
        Some("reload") => Some(Verb::Reload),
        _ => {
            let problem = Diagnostic::error("`notify` must be `restart` or `reload`").at(&node.origin);
            problems.push(problem.maybe_hint(did_you_mean(node.text().unwrap_or_default(), ["restart", "reload"])));
            None
        }
    }
}
