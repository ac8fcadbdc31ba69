//! `known_host`: a host key that everyone on the host trusts.
//!
//! In: a name and its key. Out: one line of this sort of key for the name. Never: a key asked of the network: whoever
//! answers first would be trusted.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::Presence;
use super::part::{FilePart, Piece};
use crate::edit::{Edit, Entry, HostKey, PublicKey};

/// A host key that everyone on the host trusts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KnownHost {
    /// The host as one types it for ssh: `db1.example.org`, an address, or `[db1.example.org]:2222` for another port.
    name: String,
    /// Its public key, like `ssh-ed25519 AAAA...`, as `ssh-keyscan` or the host's own `/etc/ssh/*.pub` have it. Another
    /// key of the same sort is replaced. Not needed with `state: absent`, which then removes all keys of the name.
    #[serde(default)]
    key: Option<String>,
    /// The file. Names that are hashed in it are recognized.
    #[serde(default = "everyone")]
    path: String,
    /// Whether it exists.
    #[serde(default)]
    state: Presence,
}

fn everyone() -> String {
    "/etc/ssh/ssh_known_hosts".to_owned()
}

impl KnownHost {
    fn key(&self) -> Result<Option<PublicKey>, String> {
        self.key.as_deref().map(PublicKey::parse).transpose().map_err(|why| format!("`key`: {why}"))
    }
}

impl FilePart for KnownHost {
    const NAME: &'static str = "known_host";
    const SUMMARY: &'static str = "A host key that ssh on the host trusts";
    const EXAMPLE: &'static str = "known_host: { name: zk1.example.org, key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH9O7fFVOEwGtHvMdKYr1NOT4b8Pn1yOwiUEfKNl7wtt }";
    const SHORT: &'static str = "name";

    fn check(&self) -> Result<(), String> {
        if !is_name(&self.name) {
            let name = self.name.escape_debug();
            return Err(format!(
                "invalid host `{name}`: a name, an address, or `[name]:port` for a port that is not 22"
            ));
        }
        match (self.state, self.key()?) {
            (Presence::Present, None) => Err("it needs a `key`".to_owned()),
            _ => Ok(()),
        }
    }

    fn part(&self) -> String {
        let sort = self.key().ok().flatten().map(|key| format!(" {}", key.kind)).unwrap_or_default();
        format!("{}{sort}", self.name)
    }

    fn piece(&self) -> Piece {
        let entry = Entry::HostKey(HostKey { name: self.name.clone(), key: self.key().ok().flatten() });
        Piece::own(&self.path, Edit::Entry(entry, self.state.into()))
    }

    fn keys(&self) -> Option<serde_json::Value> {
        let path = (self.path != everyone()).then_some(&self.path);
        Some(serde_json::json!({ "name": self.name, "key": self.key, "path": path }))
    }
}

/// One host, without the signs that patterns, lists and hashed names have in this file.
fn is_name(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '%');
    let plain = |name: &str| !name.is_empty() && !name.starts_with('-') && name.chars().all(fine);
    match name.strip_prefix('[') {
        None => plain(name),
        Some(rest) => rest.split_once("]:").is_some_and(|(name, port)| {
            plain(name)
                && port != "22"
                && port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port)
        }),
    }
}
