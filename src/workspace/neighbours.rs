//! Machines that an environment shares with production, without saying so.

use std::path::Path;
use std::sync::Arc;

use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::inventory::{Endpoint, Inventory, Method, Texts};
use crate::name::{EnvName, HostName, did_you_mean};
use crate::settings::EnvironmentSettings;
use crate::store;
use crate::yaml;

use super::SETTINGS;

/// Where sshd listens unless told otherwise.
const SSH: u16 = 22;

/// The machines that an environment, which is not production, shares with one that is, without saying so.
pub(super) fn shared(root: &Path, settings: &EnvironmentSettings, inventory: &Inventory, texts: &Texts) -> Diagnostics {
    let mut problems = Diagnostics::new();
    let known = store::environments(root);
    for (other, origin) in settings.shares_hosts_with.iter().filter(|(other, _)| !known.contains(other)) {
        let hint = did_you_mean(other, known.iter().map(String::as_str));
        problems.push(Diagnostic::error(format!("unknown environment `{other}`")).at(origin).maybe_hint(hint));
    }
    if settings.production {
        return problems;
    }
    let is_allowed = |other: &String| settings.shares_hosts_with.iter().any(|(allowed, _)| allowed == other);
    let others = known.iter().filter(|other| other.as_str() != inventory.env.as_str() && !is_allowed(other));
    // An environment with mistakes of its own keeps nobody from working on this one.
    for other in others.filter_map(|other| production(root, other)) {
        problems.extend(both(inventory, texts, &other));
    }
    problems
}

struct Production {
    name: EnvName,
    inventory: Inventory,
    texts: Texts,
}

fn production(root: &Path, name: &str) -> Option<Production> {
    let name = EnvName::new(name).ok()?;
    let read = store::read_environment(root, &name).ok()?;
    // No key is asked for the variables of another environment.
    let open = read.into_iter().filter(|(_, source)| !crate::vault::is_encrypted(source.text.as_bytes()));
    let texts: Texts = open.map(|(path, source)| (path.as_str().into(), source)).collect();
    let file = texts.iter().find(|(path, _)| *path == SETTINGS);
    let settings = file.map(|(_, source)| {
        yaml::parse(source).ok().and_then(|node| EnvironmentSettings::read(&node).ok()).unwrap_or_default()
    });
    if !settings.unwrap_or_default().production {
        return None;
    }
    let inventory = Inventory::read(name.clone(), &texts).ok()?;
    Some(Production { name, inventory, texts })
}

/// One problem for each pair of environments, with the first machine and how many more.
fn both(inventory: &Inventory, texts: &Texts, other: &Production) -> Diagnostics {
    let theirs: std::collections::BTreeMap<(String, u16), &HostName> =
        other.inventory.hosts().map(|host| (machine(&host.endpoint), host.name())).collect();
    let mut pairs = inventory.hosts().filter_map(|host| {
        let found = theirs.get(&machine(&host.endpoint))?;
        Some((&host.endpoint, *found))
    });
    let Some((host, their_name)) = pairs.next() else { return Diagnostics::new() };
    let more = match pairs.count() {
        0 => String::new(),
        some => format!(", and {some} more"),
    };
    let name = &other.name;
    let what = format!("`{}` is the machine `{their_name}` of {name}, which is production{more}", host.name);
    let there = other.inventory.host(their_name.as_str()).map(|host| place(&other.texts, &host.endpoint));
    let there = there.flatten().map_or_else(|| format!("inventories/{name}"), |origin| origin.to_string());
    let hint = format!(
        "the other is at {there}; give it its own address, or allow it: `shares_hosts_with: [{name}]` \
         in environment.yml"
    );
    let problem = Diagnostic::error(what).hint(hint);
    place(texts, host).map_or(problem.clone(), |origin| problem.at(&origin)).into()
}

/// What makes two hosts one machine: behind one address, each port may be another.
fn machine(endpoint: &Endpoint) -> (String, u16) {
    match endpoint.method {
        Method::Local => ("this machine".to_owned(), 0),
        Method::Ssh => (endpoint.address.to_lowercase(), endpoint.port.unwrap_or(SSH)),
    }
}

/// Where its address is written, or its name; ranges are not written out, so the file will do.
fn place(texts: &Texts, endpoint: &Endpoint) -> Option<Origin> {
    let (_, source) =
        texts.iter().find(|(path, _)| path.parent().is_none_or(|parent| parent == "") && *path != SETTINGS)?;
    let found = word(source, &endpoint.address).or_else(|| word(source, endpoint.name.as_str()));
    Some(found.unwrap_or_else(|| Origin::start(source)))
}

fn word(source: &Arc<Source>, wanted: &str) -> Option<Origin> {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    source.text.lines().zip(1..).find_map(|(text, line)| {
        let (at, _) = text
            .match_indices(wanted)
            .find(|(at, _)| !text[..*at].ends_with(part) && !text[at + wanted.len()..].starts_with(part))?;
        let column = u32::try_from(text[..at].chars().count()).ok()? + 1;
        Some(Origin { source: Arc::clone(source), line, column })
    })
}
