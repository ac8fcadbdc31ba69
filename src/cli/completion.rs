//! `armilla completion SHELL`, and what a shell asks while somebody types.
//!
//! In: the words typed so far and the files of the project. Out: names that fit. Never: an error, a host that is asked,
//! or a variable that is read: a shell that completes must be fast and silent.
//!
//! The script that is printed asks this program at each press of the key (`ARMILLA_COMPLETE=bash armilla -- WORDS`), so it knows
//! the environments, hosts, groups, services, roles and tags of the project one is in.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap_complete::CompletionCandidate;
use clap_complete::env::{CompleteEnv, Shells};

use super::{Cli, Exit, ui};
use crate::diag::{Diagnostics, Source};
use crate::inventory::{Inventory, Texts};
use crate::name::{EnvName, RoleName};
use crate::project::Project;
use crate::resource::KINDS;
use crate::role::Role;
use crate::site::Site;
use crate::{store, yaml};

/// Prints a completion script.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Completion {
    /// For which shell
    shell: clap_complete::Shell,
}

/// Set by the scripts of the shells. Another program may have its own use for the usual `COMPLETE`.
const VARIABLE: &str = "ARMILLA_COMPLETE";

const HELP: &str = "\
To install permanently:
  bash  armilla completion bash > ~/.local/share/bash-completion/completions/armilla
  zsh   armilla completion zsh > \"${fpath[1]}/_armilla\"
  fish  armilla completion fish > ~/.config/fish/completions/armilla.fish";

/// Runs the command.
pub(super) fn run(command: &Completion) -> Exit {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let written = shells
        .completer(&command.shell.to_string())
        .map(|shell| shell.write_registration(VARIABLE, "armilla", "armilla", "armilla", &mut script));
    match written {
        Some(Ok(())) => ui::result(&String::from_utf8_lossy(&script)),
        _ => ui::say("error: no completion for this shell"),
    }
    if matches!(written, Some(Ok(()))) { Exit::Success } else { Exit::Error }
}

/// Answers a shell that completes: whether one did.
pub(super) fn answer(arguments: &[OsString]) -> bool {
    let completer = CompleteEnv::with_factory(<Cli as clap::CommandFactory>::command).var(VARIABLE);
    let here = std::env::current_dir().ok();
    // A shell that completes has no place to show an error.
    completer.try_complete(arguments.to_vec(), here.as_deref()).unwrap_or(true)
}

/// What there is to name, of the project and the environment that the words so far speak of.
#[derive(Default)]
struct Typing {
    root: Option<PathBuf>,
    environment: Option<EnvName>,
}

impl Typing {
    fn now() -> Self {
        let words: Vec<String> = std::env::args_os().filter_map(|word| word.into_string().ok()).collect();
        let after = |flag: &str| words.iter().position(|word| word == flag).and_then(|at| words.get(at + 1));
        let start =
            after("--project").map(PathBuf::from).or_else(|| std::env::var_os("ARMILLA_PROJECT").map(Into::into));
        let start = start.or_else(|| std::env::current_dir().ok());
        let root = start.and_then(|start| store::find_project(&start.canonicalize().ok()?).ok());
        let known = root.as_deref().map(store::environments).unwrap_or_default();
        let named = words
            .iter()
            .map(|word| word.trim_start_matches("inventories/"))
            .find(|word| known.iter().any(|e| e == word));
        Self { environment: named.and_then(|name| EnvName::new(name).ok()), root }
    }

    fn inventory(&self) -> Option<Inventory> {
        let name = self.environment.clone()?;
        let texts = store::read_environment(self.root.as_deref()?, &name).ok()?;
        // Variables are many and say nothing about names.
        let top = texts.into_iter().filter(|(path, _)| !path.contains('/') && path != "environment.yml");
        let texts: Texts = top.map(|(path, source)| (path.as_str().into(), source)).collect();
        Inventory::read(name, &texts).ok()
    }

    fn project(&self) -> Option<Project> {
        store::read_project(self.root.as_deref()?, None).ok()
    }
}

fn site(project: &Project) -> Option<Site> {
    let source = project.site.as_ref()?;
    read(source).and_then(|node| Site::read(&node).ok())
}

fn read(source: &std::sync::Arc<Source>) -> Option<yaml::Node> {
    yaml::parse(source).ok()
}

fn roles(project: &Project) -> Vec<Role> {
    let role = |(name, texts): (&RoleName, &crate::project::RoleTexts)| -> Option<Role> {
        let read: Result<Role, Diagnostics> = Role::read(name, &read(&texts.role)?);
        read.ok()
    };
    project.roles.iter().filter_map(role).collect()
}

/// Candidates for the last of several names with one of these characters between.
fn last_of(current: &OsStr, between: &[char], names: BTreeSet<String>) -> Vec<CompletionCandidate> {
    let Some(typed) = current.to_str() else { return Vec::new() };
    let start = typed.rfind(between).map_or(0, |at| at + 1);
    let (before, last) = typed.split_at(start);
    let fitting = names.into_iter().filter(|name| name.starts_with(last));
    fitting.map(|name| CompletionCandidate::new(format!("{before}{name}"))).collect()
}

/// The environments.
pub(super) fn environments(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = Typing::now().root.as_deref().map(store::environments).unwrap_or_default();
    last_of(current, &[], names.into_iter().collect())
}

/// Runs of this machine.
pub(super) fn runs(current: &OsStr) -> Vec<CompletionCandidate> {
    let runs = super::identity::history().map(|history| history.list()).unwrap_or_default();
    last_of(current, &[], runs.into_iter().map(|run| run.head.run.to_string()).collect())
}

/// Hosts, groups, and what combines them.
pub(super) fn patterns(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(inventory) = Typing::now().inventory() else { return Vec::new() };
    let groups = inventory.groups().map(|group| group.name.to_string());
    let hosts = inventory.hosts().map(|host| host.name().to_string());
    let names = groups.chain(hosts).chain(["all".to_owned()]).collect();
    last_of(current, &[':', ',', '&', '!'], names)
}

/// The tags of the project.
pub(super) fn tags(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(project) = Typing::now().project() else { return Vec::new() };
    let roles = roles(&project);
    let of_roles =
        roles.iter().flat_map(|role| role.tags.iter().chain(role.resources.iter().flat_map(|item| &item.tags)));
    let site = site(&project).unwrap_or_default();
    let of_services = site.services.iter().flat_map(|service| &service.tags);
    let services = site.services.iter().map(|service| service.name.to_string());
    last_of(current, &[','], of_roles.chain(of_services).map(ToString::to_string).chain(services).collect())
}

/// Services, roles, hosts and kinds.
pub(super) fn targets(current: &OsStr) -> Vec<CompletionCandidate> {
    let typing = Typing::now();
    let Some(project) = typing.project() else { return Vec::new() };
    let hosts: Vec<String> = typing
        .inventory()
        .map(|inventory| inventory.hosts().map(|host| host.name().to_string()).collect())
        .unwrap_or_default();
    let services = site(&project).unwrap_or_default().services.into_iter().map(|service| service.name.to_string());
    let roles = project.roles.keys().map(ToString::to_string);
    let kinds = KINDS.iter().map(|kind| kind.name.to_owned());
    last_of(current, &[':', ' '], hosts.into_iter().chain(services).chain(roles).chain(kinds).collect())
}
