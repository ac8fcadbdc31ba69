//! Variables: which value wins, and where it was set.
//!
//! In: an inventory and the settings of the command line. Out: for a host and a name, every setting and the winner.
//! Never: a value that is computed or merged: a stronger value replaces a weaker.
//!
//! Weakest first: the role's default, the service's `vars`, `all`, groups (parents before children, then by name),
//! the host, `--var`.

use std::sync::Arc;

use crate::diag::{Diagnostic, Source};
use crate::inventory::{ALL, Inventory};
use crate::name::{GroupName, HostName};
use crate::yaml::Node;

/// One `--var NAME=VALUE`.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The name.
    pub name: String,
    /// The value, with the place in the command line.
    pub node: Node,
}

/// Where a variable can be set in an environment, weakest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Level {
    /// For all hosts.
    All,
    /// For a group.
    Group(GroupName),
    /// For the host.
    Host,
    /// By `--var`.
    CommandLine,
}

/// The variables of an environment.
#[derive(Debug, Clone)]
pub struct Variables {
    inventory: Arc<Inventory>,
    settings: Vec<Setting>,
}

impl Variables {
    /// The variables of an inventory, under those of the command line (of which the last of a name wins).
    pub fn new(inventory: &Arc<Inventory>, settings: &[Setting]) -> Self {
        Self { inventory: Arc::clone(inventory), settings: settings.to_vec() }
    }

    /// Every setting of a name for a host, weakest first.
    pub fn settings<'a>(&'a self, host: &HostName, name: &'a str) -> Vec<(Level, &'a Node)> {
        let all = self.inventory.group(ALL).and_then(|group| group.vars.get(name)).map(|node| (Level::All, node));
        let host = self.inventory.host(host.as_str());
        let groups = host.into_iter().flat_map(|host| &host.groups).filter_map(|group| {
            let node = self.inventory.group(group.as_str())?.vars.get(name)?;
            Some((Level::Group(group.clone()), node))
        });
        let own = host.and_then(|host| host.vars.get(name)).map(|node| (Level::Host, node));
        let given = self.settings.iter().filter(|setting| setting.name == name);
        let given = given.map(|setting| (Level::CommandLine, &setting.node));
        all.into_iter().chain(groups).chain(own).chain(given).collect()
    }

    /// The strongest setting of a name for a host.
    pub fn winner<'a>(&'a self, host: &HostName, name: &'a str) -> Option<&'a Node> {
        self.settings(host, name).pop().map(|(_, node)| node)
    }

    /// The names of all variables that are set for a host, in order.
    pub fn names(&self, host: &HostName) -> Vec<&str> {
        let host = self.inventory.host(host.as_str());
        let groups = host.into_iter().flat_map(|host| &host.groups).filter_map(|group| self.inventory.group(group.as_str()));
        let inherited = self.inventory.group(ALL).into_iter().chain(groups).flat_map(|group| group.vars.keys());
        let own = host.into_iter().flat_map(|host| host.vars.keys());
        let given = self.settings.iter().map(|setting| &setting.name);
        let mut names: Vec<&str> = inherited.chain(own).chain(given).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Reads `NAME=VALUE`; the value is YAML: `8`, `true`, `[a, b]`, `text`.
///
/// # Errors
/// When there is no `=`, no name, or no YAML behind it.
pub fn parse_setting(text: &str) -> Result<Setting, Diagnostic> {
    let wrong = || Diagnostic::error(format!("--var {text}: write it as NAME=VALUE, or @FILE"));
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    if !crate::inventory::is_identifier(name) {
        return Err(wrong());
    }
    let node = crate::yaml::parse(&Source::new(format!("--var {name}"), value))?;
    Ok(Setting { name: name.to_owned(), node })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::EnvName;

    const HOSTS: &str = "\
vars: { x: 0, only: 1 }
groups:
  a: { hosts: h1, vars: { x: 1 } }
  b: { hosts: h1, vars: { x: 2 } }
  c: { children: [a], vars: { x: 3 } }
hosts: { h2: { vars: { x: 9 } } }
";

    #[test]
    fn the_strongest_wins_and_all_are_known() {
        let environment = EnvName::new("e").unwrap_or_else(|e| panic!("{e}"));
        let files = [("hosts.yml".to_owned(), Source::new("hosts.yml", HOSTS))];
        let inventory = Arc::new(Inventory::read(&environment, &files).unwrap_or_else(|d| panic!("{d}")));
        let variables = Variables::new(&inventory, &[]);
        let host = HostName::new("h1").unwrap_or_else(|e| panic!("{e}"));
        let order: Vec<String> = variables.settings(&host, "x").iter().map(|(level, node)| format!("{level:?}={}", node.to_json())).collect();
        // c is the parent of a; b and c are at one depth, so they come by name.
        assert_eq!(order, ["All=0", "Group(\"b\")=2", "Group(\"c\")=3", "Group(\"a\")=1"]);
        assert_eq!(variables.names(&host), ["only", "x"]);
        let given = parse_setting("x=[7, b]").unwrap_or_else(|d| panic!("{d}"));
        let variables = Variables::new(&inventory, &[given]);
        assert_eq!(variables.winner(&host, "x").map(|n| n.to_json().to_string()).as_deref(), Some("[7,\"b\"]"));
    }

    #[test]
    fn a_setting_without_a_name_is_refused() {
        for text in ["x", "=1", "1x=2", "a b=1", "x={"] {
            assert!(parse_setting(text).is_err(), "{text}");
        }
    }
}
