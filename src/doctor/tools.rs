//! Which programs of a host armilla uses, and for what.
//!
//! In: what is desired of a host. Out: the tools that must be there. Never: those of a kind nobody uses there.

use std::collections::BTreeSet;

use crate::catalog::HostCatalog;
use crate::resource::{self, kind};
use crate::step::{Check, Probe};

/// A program that must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// Its name; one of several is enough.
    pub any_of: &'static [&'static str],
    /// The Debian package that brings it; empty if no package helps.
    pub package: &'static str,
    /// Who uses it.
    pub used_by: &'static str,
}

/// What starts the host program, and what it starts itself on every host.
const EVERYWHERE: &[&str] = &["sha256sum", "head", "mkdir", "chmod", "mv", "rm", "uname", "cat", "id"];

/// What health checks use.
const HEALTH: &[(&str, &str, &[&str])] =
    &[("health unit", "systemd", &["systemctl"]), ("health http", "curl", &["curl", "wget"])];

/// The tools that must be on a host. Of one without a role nothing is desired, but it must be able to answer.
pub fn needed(host: Option<&HostCatalog>) -> Vec<Tool> {
    let blocks = host.map(|host| host.blocks.as_slice()).unwrap_or_default();
    let health: BTreeSet<&str> = blocks.iter().flat_map(|block| &block.health).filter_map(user).collect();
    let kinds: BTreeSet<&str> = blocks.iter().flat_map(|block| &block.items).map(|item| item.resource.kind()).collect();
    let everywhere = EVERYWHERE.iter().map(|name| {
        let any_of = std::slice::from_ref(name);
        Tool { any_of, package: "coreutils", used_by: "every host" }
    });
    let of_kind = |name: &&str| kind(name).map(|info| info.tools.iter().map(|tool| used_by(tool, info.name)));
    let of_kinds = kinds.iter().filter_map(of_kind).flatten();
    let of_health = HEALTH.iter().filter(|(used_by, ..)| health.contains(used_by));
    let of_health = of_health.map(|(used_by, package, any_of)| Tool { any_of, package, used_by });
    everywhere.chain(of_kinds).chain(of_health).collect()
}

fn used_by(tool: &resource::Tool, used_by: &'static str) -> Tool {
    let resource::Tool { any_of, package } = *tool;
    Tool { any_of, package, used_by }
}

fn user(check: &Check) -> Option<&'static str> {
    match check.probe {
        Probe::Http(_) => Some("health http"),
        Probe::Unit(_) => Some("health unit"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_role_only_answers() {
        assert!(needed(None).iter().all(|tool| tool.used_by == "every host"));
    }
}
