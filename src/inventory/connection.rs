//! How a host is reached.
//!
//! In: the connection keys of a host and its groups. Out: one value the transport works with.
//! Never: a password; that is asked for on the command line.

use std::sync::Arc;

use camino::Utf8PathBuf;

use super::ssh::SshArguments;
use crate::diag::Origin;
use crate::name::HostName;

/// A host and the way to it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Its name in the inventory.
    pub name: HostName,
    /// What to connect to, and what other hosts call it in their configuration. The name, unless told otherwise.
    pub address: String,
    /// The port of its sshd; what the user's ssh configuration says if not given.
    pub port: Option<u16>,
    /// Whom to log in as; what the user's ssh configuration says if not given.
    pub user: Option<String>,
    /// A private key; what the user's ssh configuration says if not given.
    pub key: Option<Utf8PathBuf>,
    /// By which way.
    pub method: Method,
    /// As whom to work once logged in.
    pub become_user: Become,
    /// What else ssh is told; of two that say the same the first counts.
    #[serde(with = "super::ssh::shared")]
    pub ssh: Vec<Arc<SshArguments>>,
}

/// By which way a host is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Method {
    /// Over SSH, by the user's own `ssh` program and configuration.
    #[default]
    Ssh,
    /// It is this machine.
    Local,
}

/// As whom to work once logged in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Become {
    /// As the one who logged in.
    #[default]
    No,
    /// As root, by sudo.
    Root,
}

impl Endpoint {
    /// A host reached over SSH by its own name.
    pub fn new(name: HostName) -> Self {
        Connection::default().endpoint(name)
    }
}

/// The connection keys of one level: of all hosts, a group or a host. What is not given is left to weaker levels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) address: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) key: Option<Utf8PathBuf>,
    pub(super) method: Option<Method>,
    pub(super) become_user: Option<Become>,
    /// What Ansible's second names say, such as `ansible_ssh_user`; stronger than the first names of any level.
    pub(super) second: Second,
    /// Whom an Ansible inventory wants to become, and where it says so.
    pub(super) becoming: Option<(String, Origin)>,
    /// How an Ansible inventory wants to become root, and where it says so.
    pub(super) become_method: Option<(String, Origin)>,
    pub(super) common: Option<Arc<SshArguments>>,
    pub(super) extra: Option<Arc<SshArguments>>,
}

/// The keys that have a second name in Ansible.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Second {
    pub(super) address: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) key: Option<Utf8PathBuf>,
}

impl Connection {
    /// Takes over what a stronger level gives.
    pub(super) fn absorb(&mut self, stronger: &Self) {
        take(&mut self.address, stronger.address.as_ref());
        take(&mut self.port, stronger.port.as_ref());
        take(&mut self.user, stronger.user.as_ref());
        take(&mut self.key, stronger.key.as_ref());
        take(&mut self.method, stronger.method.as_ref());
        take(&mut self.become_user, stronger.become_user.as_ref());
        take(&mut self.second.address, stronger.second.address.as_ref());
        take(&mut self.second.port, stronger.second.port.as_ref());
        take(&mut self.second.user, stronger.second.user.as_ref());
        take(&mut self.second.key, stronger.second.key.as_ref());
        take(&mut self.becoming, stronger.becoming.as_ref());
        take(&mut self.become_method, stronger.become_method.as_ref());
        take(&mut self.common, stronger.common.as_ref());
        take(&mut self.extra, stronger.extra.as_ref());
    }

    /// Whom to become, if it is neither root nor nobody: armilla cannot.
    pub(super) fn stranger(&self) -> Option<&(String, Origin)> {
        self.becoming.as_ref().filter(|(user, _)| self.become_user == Some(Become::Root) && user != "root")
    }

    /// The way to become root, if it is another than sudo: armilla has no other.
    pub(super) fn strange_method(&self) -> Option<&(String, Origin)> {
        self.become_method.as_ref().filter(|(method, _)| !matches!(method.as_str(), "sudo" | "ansible.builtin.sudo"))
    }

    /// The keys that are given on both sides.
    pub(super) fn common(&self, other: &Self) -> Vec<&'static str> {
        let both = [
            ("address", self.address.is_some() && other.address.is_some()),
            ("port", self.port.is_some() && other.port.is_some()),
            ("user", self.user.is_some() && other.user.is_some()),
            ("key", self.key.is_some() && other.key.is_some()),
            ("connection", self.method.is_some() && other.method.is_some()),
            ("become", self.become_user.is_some() && other.become_user.is_some()),
        ];
        both.into_iter().filter(|(_, both)| *both).map(|(name, _)| name).collect()
    }

    /// The way to a host, once every level is absorbed.
    pub(super) fn endpoint(self, name: HostName) -> Endpoint {
        Endpoint {
            address: self.second.address.or(self.address).unwrap_or_else(|| name.as_str().to_owned()),
            name,
            port: self.second.port.or(self.port),
            user: self.second.user.or(self.user),
            key: self.second.key.or(self.key),
            method: self.method.unwrap_or_default(),
            become_user: self.become_user.unwrap_or_default(),
            ssh: self.common.into_iter().chain(self.extra).collect(),
        }
    }
}

/// What the name of a user can hold.
pub(super) fn user_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '\\' | '+' | '$')
}

/// What an address can hold.
pub(super) fn address_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '%')
}

fn take<T: Clone>(value: &mut Option<T>, stronger: Option<&T>) {
    if let Some(stronger) = stronger {
        *value = Some(stronger.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stronger_level_replaces_only_what_it_gives() {
        let mut all = Connection { user: Some("admin".into()), port: Some(22), ..Connection::default() };
        let host = Connection { port: Some(2222), become_user: Some(Become::Root), ..Connection::default() };
        assert_eq!(all.common(&host), ["port"]);
        all.absorb(&host);
        let name = HostName::new("zk1").unwrap_or_else(|e| panic!("{e}"));
        let expected = Endpoint {
            port: Some(2222),
            user: Some("admin".into()),
            become_user: Become::Root,
            ..Endpoint::new(name.clone())
        };
        assert_eq!(all.endpoint(name), expected);
    }
}
