//! Which programs of a host armilla uses, and for what.
//!
//! In: what is desired of a host. Out: the tools that must be there. Never: those of a kind nobody uses there.

use std::collections::BTreeSet;

use crate::catalog::HostCatalog;
use crate::step::Probe;

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

macro_rules! tools {
    ($($used_by:literal: $package:literal [$($($name:literal)|+),*];)*) => {
        const TOOLS: &[Tool] =
            &[$($(Tool { any_of: &[$($name),+], package: $package, used_by: $used_by }),*),*];
    };
}

// `every host` is what the scripts of the transport use; the others are kinds of resources and of health checks.
tools! {
    "every host": "coreutils" ["cat", "stat", "sha256sum", "readlink", "head", "tail", "tr", "timeout", "mktemp", "mv",
        "ln", "mkdir", "rmdir", "chmod", "chown", "id", "date", "sync"];
    "every host": "grep" ["grep"];
    "package": "" ["apt-get", "dpkg-query", "apt-mark"];
    "service": "systemd" ["systemctl"];
    "unit": "systemd" ["systemctl"];
    "user": "passwd" ["useradd", "usermod", "userdel"];
    "user": "libc-bin" ["getent"];
    "group": "passwd" ["groupadd", "groupmod", "groupdel"];
    "group": "libc-bin" ["getent"];
    "health unit": "systemd" ["systemctl"];
    "health tcp": "bash" ["bash" | "nc"];
    "health http": "curl" ["curl" | "wget"];
}

/// The tools that must be on a host. Of one without a role nothing is desired, but it must be able to answer.
pub fn needed(host: Option<&HostCatalog>) -> Vec<Tool> {
    let blocks = host.map(|host| host.blocks.as_slice()).unwrap_or_default();
    let kinds = blocks.iter().flat_map(|block| &block.items).map(|item| item.resource.kind());
    let health = blocks.iter().flat_map(|block| &block.health).filter_map(|check| match check.probe {
        Probe::Port { .. } => Some("health tcp"),
        Probe::Http(_) => Some("health http"),
        Probe::Unit(_) => Some("health unit"),
        _ => None,
    });
    let users: BTreeSet<&str> = std::iter::once("every host").chain(kinds).chain(health).collect();
    TOOLS.iter().filter(|tool| users.contains(tool.used_by)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_of_a_tool_is_a_kind_that_exists() {
        for tool in TOOLS {
            let other = tool.used_by == "every host" || tool.used_by.starts_with("health ");
            assert!(other || crate::resource::kind(tool.used_by).is_some(), "{}", tool.used_by);
        }
    }

    #[test]
    fn a_host_without_a_role_only_answers() {
        assert!(needed(None).iter().all(|tool| tool.used_by == "every host"));
    }
}
