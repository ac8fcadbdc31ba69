//! `armilla inventory ENV`: hosts, groups and variables as they are understood.

use serde_json::{Value, json};

use super::load::{self, Loaded};
use super::{Exit, Global, Selection, ui};
use crate::inventory::{Host, Pattern};
use crate::name::HostName;

/// Shows hosts, groups and variables.
#[derive(Debug, clap::Args)]
pub(super) struct Inventory {
    #[command(flatten)]
    selection: Selection,
    /// All variables of one host
    #[arg(long, value_name = "HOST", conflicts_with = "list")]
    host: Option<String>,
    /// Print everything as JSON, in the shape of `ansible-inventory --list`
    #[arg(long, visible_alias = "json")]
    list: bool,
}

/// Runs the command.
pub(super) fn run(global: &Global, command: &Inventory) -> Exit {
    let loaded = match load::load(global, &command.selection) {
        Ok(loaded) => loaded,
        Err(problems) => {
            ui::problems(&problems);
            return Exit::Error;
        }
    };
    match &command.host {
        Some(pattern) => return one(&loaded, pattern),
        None if command.list => ui::result(&pretty(&list(&loaded))),
        None => ui::result(&table(&loaded)),
    }
    Exit::Success
}

fn one(loaded: &Loaded, name: &str) -> Exit {
    let selected = Pattern::parse(name).and_then(|pattern| pattern.select(&loaded.inventory));
    match selected {
        Ok(hosts) => {
            for host in hosts {
                ui::result(&pretty(&variables(loaded, &host)));
            }
            Exit::Success
        }
        Err(problem) => {
            ui::problems(&problem.into());
            Exit::Error
        }
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn variables(loaded: &Loaded, host: &HostName) -> Value {
    let merged = loaded.variables.get(host).map(crate::vars::Layers::merged).unwrap_or_default();
    let pairs = merged.into_iter().map(|(name, variable)| (name.to_string(), variable.node.to_json()));
    let mut all: serde_json::Map<String, Value> = pairs.collect();
    if let Some(host) = loaded.inventory.host(host.as_str()) {
        all.extend(connection(host));
    }
    Value::Object(all)
}

/// Ansible's names for the way to a host, so that tools which read them understand.
fn connection(host: &Host) -> Vec<(String, Value)> {
    let endpoint = &host.endpoint;
    let address = (endpoint.address != endpoint.name.as_str()).then(|| json!(endpoint.address));
    let pairs = [
        ("ansible_host", address),
        ("ansible_port", endpoint.port.map(|port| json!(port))),
        ("ansible_user", endpoint.user.as_ref().map(|user| json!(user))),
        ("ansible_ssh_private_key_file", endpoint.key.as_ref().map(|key| json!(key.as_str()))),
    ];
    pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn list(loaded: &Loaded) -> Value {
    let inventory = &loaded.inventory;
    let hostvars: serde_json::Map<String, Value> = inventory
        .hosts()
        .map(|host| (host.endpoint.name.to_string(), variables(loaded, &host.endpoint.name)))
        .filter(|(_, vars)| vars.as_object().is_some_and(|vars| !vars.is_empty()))
        .collect();
    let mut root = serde_json::Map::new();
    root.insert("_meta".to_owned(), json!({ "hostvars": hostvars }));
    let inside: Vec<&str> =
        inventory.groups().flat_map(|group| &group.children).map(crate::name::GroupName::as_str).collect();
    let top: Vec<&str> = inventory.groups().map(|g| g.name.as_str()).filter(|n| !inside.contains(n)).collect();
    let grouped = |host: &&Host| host.groups.is_empty();
    let ungrouped: Vec<&str> = inventory.hosts().filter(grouped).map(|host| host.endpoint.name.as_str()).collect();
    let children: Vec<&str> = std::iter::once("ungrouped").chain(top).collect();
    root.insert("all".to_owned(), json!({ "children": children }));
    if !ungrouped.is_empty() {
        root.insert("ungrouped".to_owned(), json!({ "hosts": ungrouped }));
    }
    for group in inventory.groups() {
        let mut entry = serde_json::Map::new();
        let own: Vec<&HostName> = inventory
            .members(&group.name)
            .into_iter()
            .filter(|name| inventory.host(name.as_str()).is_some_and(|host| host.direct_groups.contains(&group.name)))
            .collect();
        if !own.is_empty() {
            entry.insert("hosts".to_owned(), json!(own));
        }
        if !group.children.is_empty() {
            entry.insert("children".to_owned(), json!(group.children));
        }
        root.insert(group.name.to_string(), Value::Object(entry));
    }
    Value::Object(root)
}

fn table(loaded: &Loaded) -> String {
    let wanted = |host: &&Host| loaded.limit.as_ref().is_none_or(|limit| limit.contains(&host.endpoint.name));
    let rows: Vec<[String; 4]> = loaded.inventory.hosts().filter(wanted).map(|host| row(loaded, host)).collect();
    let head = ["HOST", "ADDRESS", "GROUPS", "ROLES"].map(str::to_owned);
    let width = |column: usize| rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let line = |row: &[String; 4]| {
        let text = format!(
            "{:<a$}  {:<b$}  {:<c$}  {}",
            row[0],
            row[1],
            row[2],
            row[3],
            a = widths[0],
            b = widths[1],
            c = widths[2]
        );
        text.trim_end().to_owned()
    };
    std::iter::once(&head).chain(&rows).map(line).collect::<Vec<_>>().join("\n")
}

fn row(loaded: &Loaded, host: &Host) -> [String; 4] {
    let endpoint = &host.endpoint;
    let port = endpoint.port.map_or_else(String::new, |port| format!(":{port}"));
    let groups: Vec<&str> = host.groups.iter().map(crate::name::GroupName::as_str).collect();
    let roles = loaded.placement.hosts.get(&endpoint.name).map(Vec::as_slice).unwrap_or_default();
    let roles: Vec<&str> = roles.iter().map(|instance| instance.role.as_str()).collect();
    [endpoint.name.to_string(), format!("{}{port}", endpoint.address), groups.join(" "), roles.join(" ")]
}
