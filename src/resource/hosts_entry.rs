//! `hosts_entry`: the names of one address in `/etc/hosts`.
//!
//! In: an address and all its names. Out: one line for it. Never: a name that another address of the same sort has, too:
//! which of the two is found would be chance.

use core::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::Presence;
use super::part::{FilePart, Piece};
use crate::edit::{Edit, Entry, HostNames};

/// The names of one address in `/etc/hosts`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HostsEntry {
    /// An IPv4 or IPv6 address.
    address: IpAddr,
    /// All its names, the main one first: other names are removed.
    #[serde(default)]
    names: Vec<String>,
    /// Whether the address is there. `absent` removes its lines.
    #[serde(default)]
    state: Presence,
}

impl FilePart for HostsEntry {
    const NAME: &'static str = "hosts_entry";
    const SUMMARY: &'static str = "The names of one address in /etc/hosts";
    const EXAMPLE: &'static str = "hosts_entry: { address: 192.0.2.7, names: [zk1.example.org, zk1] }";
    const SHORT: &'static str = "address";

    fn check(&self) -> Result<(), String> {
        if let Some(wrong) = self.names.iter().find(|name| !is_name(name)) {
            let wrong = wrong.escape_debug();
            return Err(format!("invalid host name `{wrong}`: letters, digits, `-`, `_` and `.`, 253 at most"));
        }
        match (self.state, self.names.is_empty()) {
            (Presence::Present, true) => Err("it needs `names`".to_owned()),
            (Presence::Absent, false) => Err("an address with `state: absent` takes no `names`".to_owned()),
            (Presence::Absent, true) if self.address.is_loopback() => {
                Err("without this address the host cannot resolve its own name".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn part(&self) -> String {
        self.address.to_string()
    }

    fn piece(&self) -> Piece {
        let entry = Entry::HostNames(HostNames { address: self.address, names: self.names.clone() });
        Piece::own("/etc/hosts", Edit::Entry(entry, self.state.into()))
    }

    fn keys(&self) -> Option<serde_json::Value> {
        (!self.address.is_loopback()).then(|| serde_json::json!({ "address": self.address }))
    }
}

/// A name as resolvers take it. One of digits only would be taken for a part of an address.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(fine)
    };
    name.len() <= 253 && name.split('.').all(label) && name.parse::<IpAddr>().is_err()
}
