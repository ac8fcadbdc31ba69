//! `docs/commands.md` and the manual pages: each knows every command.
//!
//! In: the definition of the command line. Out: the page, held against the one in the repository (`ARMILLA_BLESS=1`
//! writes it anew), and what the pages of `armilla man` lack.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Program;

use armilla::cli::{Cli, exit};
use clap::{Arg, ArgAction, Command, CommandFactory as _};

const HEAD: &str = "# Commands

Every command with all it understands. This page is made from the program: `ARMILLA_BLESS=1 cargo test --test suite command_pages`.
`armilla COMMAND --help` and `armilla man COMMAND` say the same; `armilla man --dir ~/.local/share/man/man1` makes `man armilla-plan`
work. Options may stand before or after ENV, the name of a folder in `inventories/`.
";

/// What people type most, by the words of the command.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("init", &["armilla init shop"]),
    ("validate", &["armilla validate", "armilla validate staging -e workers=8"]),
    ("fmt", &["armilla fmt", "armilla fmt --check --diff", "armilla fmt inventories/staging/group_vars"]),
    (
        "plan",
        &[
            "armilla plan staging",
            "armilla plan staging --limit 'web:!web3' --diff",
            "armilla plan staging -o staging.plan",
        ],
    ),
    (
        "apply",
        &[
            "armilla apply staging",
            "armilla apply staging --limit db -y",
            "armilla apply staging.plan -y --lock-timeout 10m",
            "armilla apply staging --lab",
        ],
    ),
    ("show", &["armilla show staging.plan --diff"]),
    ("verify", &["armilla verify staging", "armilla verify staging --wait --junit health.xml"]),
    ("drift", &["armilla drift staging --detailed-exitcode"]),
    ("resume", &["armilla resume", "armilla resume 20261121-140211-k7xq"]),
    ("approve", &["armilla approve", "armilla approve 20261121-140211-k7xq"]),
    ("runs list", &["armilla runs list staging"]),
    ("runs show", &["armilla runs show"]),
    ("runs log", &["armilla runs log 20261121-140211-k7xq"]),
    ("lock status", &["armilla lock status staging"]),
    ("lock break", &["armilla lock break staging 5f0c2a9b1e77d340"]),
    ("import", &["armilla import staging --target file:/etc/motd"]),
    ("destroy", &["armilla destroy staging", "armilla destroy staging --confirm staging --with-data"]),
    ("graph", &["armilla graph staging --resources", "armilla graph staging --format html -o graph.html"]),
    ("inventory", &["armilla inventory staging", "armilla inventory staging --host web1"]),
    ("facts", &["armilla facts staging --limit db"]),
    ("exec", &["armilla exec staging --limit web -- systemctl is-active app"]),
    ("vault edit", &["armilla vault edit inventories/staging/group_vars/all/vault.yml"]),
    ("doctor", &["armilla doctor", "armilla doctor staging"]),
    ("lab up", &["armilla lab up 3", "armilla lab up --env staging"]),
    ("lab exec", &["armilla lab exec h1 -- ip address"]),
    ("completion", &["armilla completion bash"]),
    ("man", &["armilla man lab up", "armilla man --dir ~/.local/share/man/man1"]),
    ("version", &["armilla version --json"]),
];

#[test]
fn the_page_of_commands_is_current() {
    let root = commands();
    let mut page = String::from(HEAD);
    page.push_str("\n| command | what it does |\n|---|---|\n");
    for command in shown(&root) {
        let _ = writeln!(page, "| [`armilla {0}`](#armilla-{0}) | {1} |", command.get_name(), about(command));
    }
    page.push_str("\n## For every command\n\n");
    options(&root, &mut page);
    let _ = write!(page, "\n```text\n{}\n```\n", exit::HELP);
    shown(&root).for_each(|command| section(command, "", 2, &mut page));
    current("docs/commands.md", &page);
}

/// clap puts whatever follows a group with a heading under its heading.
#[test]
fn an_option_stands_under_the_same_heading_in_every_command() {
    fn of(command: &Command, headings: &mut BTreeMap<String, BTreeSet<String>>) {
        for arg in own(command).filter(|arg| arg.get_long().is_some()) {
            let name = arg.get_long().unwrap_or_default().to_owned();
            headings.entry(name).or_default().insert(arg.get_help_heading().unwrap_or("Options").to_owned());
        }
        shown(command).for_each(|below| of(below, headings));
    }
    let mut headings = BTreeMap::new();
    of(&commands(), &mut headings);
    assert!(headings["lab"].contains("Connections"), "{headings:?}");
    headings.retain(|_, found| found.len() > 1);
    assert!(headings.is_empty(), "{headings:?}");
}

#[test]
fn examples_are_understood() {
    for (words, examples) in EXAMPLES {
        let command = words.split(' ').try_fold(commands(), |command, word| command.find_subcommand(word).cloned());
        assert!(command.is_some(), "there is no `armilla {words}`");
        for example in *examples {
            assert!(example.starts_with(&format!("armilla {words}")), "{example}");
            let typed = example.split(' ').map(|word| word.trim_matches('\''));
            let read = Cli::command().try_get_matches_from(typed);
            assert!(read.is_ok(), "{example}: {}", read.expect_err("wrong"));
        }
    }
}

#[test]
fn every_command_has_a_manual_page_that_man_understands() {
    let pages = std::env::temp_dir().join(format!("armilla-man-{}", std::process::id()));
    let _ = fs::remove_dir_all(&pages);
    let armilla = |arguments: &[&str]| {
        let output = Program::new(env!("CARGO_BIN_EXE_armilla")).args(arguments).output().expect("armilla runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    armilla(&["man", "--dir", &pages.display().to_string()]);
    let mut wanted = BTreeSet::new();
    names(&commands(), "armilla", &mut wanted);
    let there = fs::read_dir(&pages).expect("pages").flatten().map(|entry| entry.file_name());
    let there: BTreeSet<String> = there.filter_map(|name| name.into_string().ok()).collect();
    assert_eq!(there, wanted);
    for name in &there {
        let page = fs::read_to_string(pages.join(name)).expect("a page");
        for part in [".TH armilla", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
            assert!(page.contains(part), "{name} has no {part}");
        }
        lint(&pages.join(name));
    }
    let one = fs::read_to_string(pages.join("armilla-lab-up.1")).expect("a page");
    assert_eq!(armilla(&["man", "lab", "up"]).trim_end(), one.trim_end());
    let _ = fs::remove_dir_all(&pages);
}

/// What those say who read such pages, where they are installed.
fn lint(page: &Path) {
    let checks: [(&str, &[&str]); 2] =
        [("groff", &["-man", "-Tutf8", "-ww", "-z"]), ("mandoc", &["-T", "lint", "-W", "warning"])];
    for (program, arguments) in checks {
        if let Ok(output) = Program::new(program).args(arguments).arg(page).output() {
            let said = [output.stdout, output.stderr].concat();
            assert!(said.is_empty(), "{program} {}: {}", page.display(), String::from_utf8_lossy(&said));
        }
    }
}

fn names(command: &Command, name: &str, into: &mut BTreeSet<String>) {
    into.insert(format!("{name}.1"));
    shown(command).for_each(|below| names(below, &format!("{name}-{}", below.get_name()), into));
}

// -- the page ---------------------------------------------------------------------------------------------------------

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn commands() -> Command {
    let mut root = Cli::command();
    root.build();
    root
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default().replace('|', "\\|")
}

fn section(command: &Command, before: &str, level: usize, page: &mut String) {
    let words = format!("{before}{}", command.get_name());
    let usage = command.clone().render_usage().to_string().replace("Usage: ", "");
    let text = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let full_stop = if text.ends_with('.') { "" } else { "." };
    let _ = write!(page, "\n{} armilla {words}\n\n{text}{full_stop}\n\n```sh\n{usage}\n```\n", "#".repeat(level));
    if own(command).next().is_some() {
        page.push('\n');
        options(command, page);
    }
    // Examples of its help are shown there already.
    if let Some(more) = command.get_after_help() {
        let _ = write!(page, "\n```text\n{}\n```\n", more.to_string().trim_end());
    }
    if let Some((_, examples)) = EXAMPLES.iter().find(|(name, _)| *name == words) {
        let _ = write!(page, "\nFor example:\n\n```sh\n{}\n```\n", examples.join("\n"));
    }
    shown(command).for_each(|below| section(below, &format!("{words} "), level + 1, page));
}

/// The options of a command that are not those of every command.
fn own(command: &Command) -> impl Iterator<Item = &Arg> {
    let root = command.get_name() == "armilla";
    let of_all = |arg: &Arg| arg.is_global_set() || ["help", "version"].contains(&arg.get_id().as_str());
    command.get_arguments().filter(move |arg| !arg.is_hide_set() && (root || !of_all(arg)))
}

fn options(command: &Command, page: &mut String) {
    page.push_str("| option | what it says | default |\n|---|---|---|\n");
    for arg in own(command) {
        let text = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let environment = arg.get_env().map(|name| format!(" (or `{}`)", name.to_string_lossy())).unwrap_or_default();
        let choices: Vec<String> =
            arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        let choices =
            if takes(arg) && !choices.is_empty() { format!(" ({})", choices.join(", ")) } else { String::new() };
        // A default that is no value is part of the text.
        let (text, described) =
            text.split_once(" [default: ").map_or((text.as_str(), None), |(text, rest)| (text, rest.strip_suffix(']')));
        let given: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = match described {
            Some(text) => text.to_owned(),
            None if takes(arg) && !given.is_empty() => format!("`{}`", given.join(" ")),
            None => String::new(),
        };
        let _ = writeln!(page, "| {} | {}{environment} | {default} |", name(arg), cell(&format!("{text}{choices}")));
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "\\<").replace('\n', " ")
}

fn takes(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

/// `-l`, `--limit PATTERN`; the other names of an option, too.
fn name(arg: &Arg) -> String {
    let value = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default();
    if arg.is_positional() {
        return format!("`{value}`");
    }
    let short = arg.get_short().map(|letter| format!("-{letter}"));
    let long = arg.get_long().into_iter().chain(arg.get_visible_aliases().unwrap_or_default());
    let mut all: Vec<String> = short.into_iter().chain(long.map(|name| format!("--{name}"))).collect();
    if let Some(last) = all.last_mut().filter(|_| takes(arg) && !value.is_empty()) {
        *last = format!("{last} {value}");
    }
    all.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn current(name: &str, text: &str) {
    let path = folder().join(name);
    if std::env::var_os("ARMILLA_BLESS").is_some() {
        fs::write(&path, text).expect("a document can be written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == text,
        "{name} is not current: ARMILLA_BLESS=1 cargo test --test suite command_pages writes it anew"
    );
}
