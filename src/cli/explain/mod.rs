//! `armilla explain ENV VAR|RESOURCE --host H` and `armilla explain KIND`.

mod resource;
mod variable;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::keys::KeyFlags;
use super::load;
use super::{Connection, Exit, Failure, Global, Selection, ui};
use crate::catalog::Catalog;
use crate::diag::Diagnostic;
use crate::name::{HostName, did_you_mean};
use crate::report::reference;
use crate::resource::{KINDS, kind};
use crate::vars::Layers;
use crate::workspace::Environment;

/// Explains a variable or a resource of a host, or a kind of resource.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// ENV and a variable or resource (`client_port`, `/etc/hosts`, `service zookeeper`), or just a kind (`template`)
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// The host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The environment as a path, as in Ansible: inventories/ENV
    #[arg(short, long, value_name = "PATH")]
    inventory: Option<PathBuf>,
    /// Set a variable, overriding all other sources: NAME=VALUE, or @FILE with a map
    #[arg(short = 'e', long = "var", visible_alias = "extra-vars", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// Do not contact the host
    #[arg(long)]
    offline: bool,
    /// Print JSON (versioned)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: KeyFlags,
    #[command(flatten)]
    connection: Connection,
}

const USAGE: &str = "armilla explain ENV VARIABLE --host HOST, armilla explain ENV RESOURCE --host HOST, \
                     or armilla explain KIND";

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Explain) -> Result<Exit, Failure> {
    match (command.words.as_slice(), &command.inventory) {
        ([], None) => {
            ui::result(&format!("{}\n\nusage: {USAGE}", reference::list(KINDS)));
            Ok(Exit::Success)
        }
        ([word], None) => a_kind(global, command, word),
        _ => on_a_host(global, command).await,
    }
}

fn a_kind(global: &Global, command: &Explain, word: &str) -> Result<Exit, Failure> {
    if let Some(kind) = kind(word) {
        if command.json {
            ui::json(&reference::data(kind));
        } else {
            ui::result(&reference::text(kind, ui::width()));
        }
        return Ok(Exit::Success);
    }
    let environments = load::workspace(global).map(|workspace| workspace.environments()).unwrap_or_default();
    let problem = if environments.iter().any(|name| name == word) {
        Diagnostic::error(format!("nothing to explain in `{word}`")).hint(USAGE)
    } else {
        let kinds = KINDS.iter().map(|kind| kind.name);
        let near = did_you_mean(word, kinds.chain(environments.iter().map(String::as_str)));
        let problem = Diagnostic::error(format!("unknown resource kind `{}`", crate::diag::shown(word)));
        problem.hint(near.map_or_else(|| USAGE.to_owned(), |near| format!("{near} Usage: {USAGE}")))
    };
    Err(problem.into())
}

async fn on_a_host(global: &Global, command: &Explain) -> Result<Exit, Failure> {
    let (environment, words) = match &command.inventory {
        None => (command.words.first().cloned(), command.words.get(1..).unwrap_or_default()),
        Some(_) => (None, command.words.as_slice()),
    };
    let selection = Selection {
        environment,
        inventory: command.inventory.clone(),
        limit: None,
        variables: command.variables.clone(),
        keys: command.keys.clone(),
        ..Selection::default()
    };
    let loaded = if command.offline {
        load::offline(global, &selection).await?
    } else {
        load::load(global, &selection, &command.connection).await?
    };
    let host = host(&loaded, command.host.as_deref())?;
    let loaded = loaded.limited_to(host.clone());
    let (text, only) = named(words);
    let asked = Asked { global, command, host, text, only };
    let (facts, limit) = (loaded.example_facts(), BTreeSet::new());
    let catalog = loaded.catalog(&facts, &limit)?;
    match asked.meant(&loaded, &catalog)? {
        Meant::Variable => asked.variable(&loaded).await,
        Meant::Resource(block, item) => asked.resource(&loaded, catalog, (block, item)).await,
    }
}

/// `variable x` is the variable, even if a resource is called `x`.
fn named(words: &[String]) -> (String, Only) {
    match words {
        [first, rest @ ..] if first == "variable" && !rest.is_empty() => (rest.join(" "), Only::Variables),
        words => (words.join(" "), Only::Anything),
    }
}

fn host(loaded: &Environment, name: Option<&str>) -> Result<HostName, Diagnostic> {
    let names = || loaded.inventory.hosts().map(|host| host.name().as_str());
    let Some(name) = name else {
        let problem = Diagnostic::error("no host is given: values and resources differ between hosts");
        return Err(problem.maybe_hint(names().next().map(|first| format!("for example: --host {first}"))));
    };
    let found = loaded.inventory.host(name).map(|host| host.name().clone());
    found.ok_or_else(|| {
        let problem = Diagnostic::error(format!("unknown host `{}`", crate::diag::shown(name)));
        problem.maybe_hint(did_you_mean(name, names()))
    })
}

/// What somebody wants to know.
struct Asked<'a> {
    global: &'a Global,
    command: &'a Explain,
    host: HostName,
    text: String,
    only: Only,
}

/// What may be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Only {
    Anything,
    Variables,
}

/// What is meant by it.
enum Meant {
    /// A variable.
    Variable,
    /// A resource: the places of its block and of itself.
    Resource(usize, usize),
}

impl Asked<'_> {
    fn meant(&self, loaded: &Environment, catalog: &Catalog) -> Result<Meant, Diagnostic> {
        let found = if self.only == Only::Variables { Vec::new() } else { self.resources(catalog) };
        let roles = loaded.instances(&self.host).filter_map(|instance| loaded.roles.get(&instance.role));
        let inputs: BTreeSet<&str> = roles.flat_map(|role| &role.inputs).map(|input| input.name.as_str()).collect();
        let set = loaded.variables.get(&self.host).is_some_and(|layers| layers.get(&self.text).is_some());
        let anywhere = loaded.roles.values().flat_map(|role| &role.inputs).any(|input| input.name == self.text);
        match (inputs.contains(self.text.as_str()) || set, found.as_slice()) {
            (true, []) => Ok(Meant::Variable),
            (false, [(_, block, item)]) => Ok(Meant::Resource(*block, *item)),
            (false, []) if anywhere => Ok(Meant::Variable),
            (false, []) => Err(self.unknown(&inputs, loaded, catalog)),
            (is_variable, several) => {
                let variable = format!("variable {}", self.text);
                let mut names: Vec<&str> = several.iter().map(|(name, ..)| name.as_str()).collect();
                names.extend(is_variable.then_some(variable.as_str()));
                let problem = Diagnostic::error(format!("`{}` is ambiguous on {}", self.text, self.host));
                Err(problem.hint(format!("give the kind, too: {}", names.join(", "))))
            }
        }
    }

    /// The resources whose target, or kind and target, are as asked.
    fn resources(&self, catalog: &Catalog) -> Vec<(String, usize, usize)> {
        let found = catalog.hosts.get(&self.host).map(|host| host.named(&self.text)).unwrap_or_default();
        found.into_iter().map(|(r, block, item)| (format!("{} {}", r.kind(), r.target()), block, item)).collect()
    }

    fn unknown(&self, inputs: &BTreeSet<&str>, loaded: &Environment, catalog: &Catalog) -> Diagnostic {
        let what = if self.text.is_empty() { "nothing" } else { &self.text };
        let problem =
            Diagnostic::error(format!("{} has no variable or resource `{}`", self.host, crate::diag::shown(what)));
        let merged = loaded.variables.get(&self.host).map(Layers::merged).unwrap_or_default();
        let blocks = catalog.hosts.get(&self.host).map(|host| host.blocks.as_slice()).unwrap_or_default();
        let resources = blocks.iter().flat_map(|block| &block.items);
        let targets: Vec<[String; 2]> = resources
            .map(|item| [item.resource.target(), format!("{} {}", item.resource.kind(), item.resource.target())])
            .collect();
        let names = inputs.iter().copied().chain(merged.keys().map(|name| &**name));
        let near = did_you_mean(&self.text, names.chain(targets.iter().flatten().map(String::as_str)));
        let list =
            format!("to list all: armilla inventory {0} --host {1}, armilla graph {0} -r", loaded.name, self.host);
        problem.hint(near.unwrap_or(list))
    }

    fn print(&self, kind: &str, value: &impl serde::Serialize, text: &str) {
        if !self.command.json {
            return ui::result(text);
        }
        let mut data = json!({ "format": format!("armilla-{kind}"), "version": 1 });
        if let (Some(all), Ok(Value::Object(more))) = (data.as_object_mut(), serde_json::to_value(value)) {
            all.extend(more);
        }
        ui::json(&data);
    }
}
