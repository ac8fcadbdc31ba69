//! How a host is reached.
//!
//! In: the connection keys of a host and its groups. Out: one value the transport works with.
//! Never: a password; that is asked for on the command line.

use camino::Utf8PathBuf;

use crate::name::HostName;

/// A host and the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

/// By which way a host is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// Over SSH, by the user's own `ssh` program and configuration.
    #[default]
    Ssh,
    /// It is this machine.
    Local,
}

/// As whom to work once logged in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
        Self {
            address: name.as_str().to_owned(),
            name,
            port: None,
            user: None,
            key: None,
            method: Method::default(),
            become_user: Become::default(),
        }
    }
}
