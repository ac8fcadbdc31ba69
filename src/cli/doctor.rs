//! `armilla doctor ENV`: whether everything is there, on this machine and on hosts. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::hosts::{self, Hosts};
use super::screen::Telling;
use super::{Connection, Exit, Failure, Global, Selection, load, ui};
use crate::doctor::{self, Finding, Tool, Weight};
use crate::name::HostName;
use crate::report::human::doctor::{self as human, Examination, Setting};
use crate::workspace::Environment;

/// Checks this machine and the hosts: settings and their origin, ssh, sudo, tools, clocks, disks.
#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    selection: Selection,
    /// Print JSON (versioned)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Doctor) -> Result<Exit, Failure> {
    let loaded = load::load(global, &command.selection, &command.connection).await?;
    let endpoints = loaded.machines()?;
    let catalog = loaded.catalog(&loaded.example_facts(), &BTreeSet::new())?;
    let tools: BTreeMap<HostName, Vec<Tool>> =
        endpoints.iter().map(|host| (host.name.clone(), doctor::needed(catalog.hosts.get(&host.name)))).collect();
    let ask = async |hosts: &Hosts| hosts.until_stopped(hosts.session.examine(&endpoints, &tools)).await;
    let mut patients = hosts::contact(global, &command.connection, Telling::default(), ask).await?;
    let (settings, here) = this_machine(global, command, &loaded);
    let examination = Examination {
        environment: loaded.name.to_string(),
        settings,
        here,
        hosts: endpoints.iter().filter_map(|host| patients.remove(&host.name)).collect(),
    };
    if command.json {
        ui::json(&json(&examination));
    } else {
        ui::result(&human::examination(&examination, ui::width()));
    }
    Ok(exit(&examination))
}

fn json(examination: &Examination) -> serde_json::Value {
    let mut data = serde_json::json!({ "format": "armilla-doctor", "version": 1 });
    if let (Some(all), Ok(serde_json::Value::Object(more))) = (data.as_object_mut(), serde_json::to_value(examination))
    {
        all.extend(more);
    }
    data
}

fn exit(examination: &Examination) -> Exit {
    let hosts = examination.hosts.iter().flat_map(|host| &host.findings);
    let worst: BTreeSet<Weight> = examination.here.iter().chain(hosts).map(|finding| finding.weight).collect();
    match () {
        () if worst.contains(&Weight::Fault) => Exit::Error,
        () if worst.contains(&Weight::Unreachable) => Exit::Unreachable,
        () => Exit::Success,
    }
}

// -- this machine -----------------------------------------------------------------------------------------------------

fn this_machine(global: &Global, command: &Doctor, loaded: &Environment) -> (Vec<Setting>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut settings = files(global, command, loaded);
    for (program, flag, missing) in [("ssh", "-V", Weight::Fault), ("git", "--version", Weight::Note)] {
        match version(program, flag) {
            Some(value) => settings.push(Setting { name: program, value, from: String::new() }),
            None => findings.push(lacking(program, missing)),
        }
    }
    settings.extend(ssh(command, loaded));
    settings.extend(talk(global, command));
    (settings, findings)
}

fn lacking(program: &str, weight: Weight) -> Finding {
    let use_of = if program == "git" { "; plans do not show the revision" } else { ", which reaches the hosts" };
    let package = if program == "ssh" { "openssh-client" } else { program };
    let mend = Some(format!("apt-get install {package}, or the package of your system"));
    Finding { weight, what: format!("{program} is not installed on this machine{use_of}"), mend }
}

/// The versions and files that count.
fn files(global: &Global, command: &Doctor, loaded: &Environment) -> Vec<Setting> {
    let setting = |name, value: String, from: &str| Setting { name, value, from: from.to_owned() };
    let found = "the nearest site.yml at or above this folder";
    let project = given(global.project.as_deref(), "ARMILLA_PROJECT", "--project").unwrap_or(found);
    let environment = if command.selection.inventory.is_some() { "--inventory" } else { "the first argument" };
    let there = |file: &str| if loaded.root.join(file).exists() { "there" } else { "none (optional)" };
    let own = format!("inventories/{}/environment.yml", loaded.name);
    let production = match (&loaded.settings.production_origin, loaded.settings.production) {
        (Some(origin), _) => origin.to_string(),
        (None, _) => "default".to_owned(),
    };
    vec![
        setting("armilla", env!("CARGO_PKG_VERSION").to_owned(), ""),
        setting("project", loaded.root.display().to_string(), project),
        setting("environment", loaded.name.to_string(), environment),
        setting("production", if loaded.settings.production { "yes" } else { "no" }.to_owned(), &production),
        setting("project settings", "armilla.yml".to_owned(), there("armilla.yml")),
        setting("environment's", own.clone(), there(&own)),
    ]
}

/// How ssh finds its way.
fn ssh(command: &Doctor, loaded: &Environment) -> Vec<Setting> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let setting = |name, value: String, from: String| Setting { name, value, from };
    let own = |file: &str| {
        let path = home.join(".ssh").join(file);
        let lines = std::fs::read_to_string(&path).map(|text| text.lines().count());
        let from = lines.map_or_else(|_| "not there".to_owned(), |lines| format!("{lines} lines"));
        (path.display().to_string(), from)
    };
    let (config, from) = match &command.connection.ssh_config {
        _ if loaded.rehearsal.is_some() => ("of the lab".to_owned(), "--lab".to_owned()),
        Some(file) => {
            let from = given(Some(file), "ARMILLA_SSH_CONFIG", "--ssh-config").unwrap_or_default();
            (file.display().to_string(), from.to_owned())
        }
        None => own("config"),
    };
    let (known, known_from) = own("known_hosts");
    let unknown = if command.connection.accept_new { "written down" } else { "refused" };
    let agent = std::env::var("SSH_AUTH_SOCK").unwrap_or_else(|_| "none".to_owned());
    vec![
        setting("ssh config", config, from),
        setting("known hosts", known, format!("{known_from}; keys of other hosts are {unknown}")),
        setting("ssh agent", agent, "SSH_AUTH_SOCK".to_owned()),
    ]
}

fn talk(global: &Global, command: &Doctor) -> Vec<Setting> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let forks = command.connection.forks;
    let colour = match (global.no_color, variable("NO_COLOR")) {
        (true, _) => ("never".to_owned(), "--no-color"),
        (false, Some(_)) => ("never".to_owned(), "NO_COLOR"),
        (false, None) => (format!("{:?}", global.color).to_lowercase(), "--color"),
    };
    vec![
        Setting { name: "forks", value: forks.to_string(), from: "-f".to_owned() },
        Setting { name: "colours", value: colour.0, from: colour.1.to_owned() },
        Setting {
            name: "terminal",
            value: variable("TERM").unwrap_or_else(|| "none".to_owned()),
            from: "TERM".to_owned(),
        },
    ]
}

/// Who gave a path: a variable or a flag; nobody if there is none.
fn given(path: Option<&Path>, variable: &str, flag: &'static str) -> Option<&'static str> {
    let from_variable = std::env::var_os(variable).is_some_and(|value| path == Some(Path::new(&value)));
    path.map(|_| match (from_variable, variable) {
        (true, "ARMILLA_PROJECT") => "ARMILLA_PROJECT",
        (true, _) => "ARMILLA_SSH_CONFIG",
        (false, _) => flag,
    })
}

/// The first line of what a program says of itself.
#[expect(clippy::disallowed_methods, reason = "only the program itself knows its version")]
fn version(program: &str, flag: &str) -> Option<String> {
    let output = std::process::Command::new(program).arg(flag).stdin(std::process::Stdio::null()).output().ok()?;
    // ssh says it to its standard error.
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned())
}
