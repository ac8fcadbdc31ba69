//! How to connect, where neither the inventory nor the user's ssh configuration says so.

use std::time::Duration;

use camino::Utf8PathBuf;

use crate::secret::Secret;
use crate::transport::programs::Programs;

/// How long a master outlives us when we are killed: it ends when nobody has been connected to its socket for so long, and
/// as long as we live we are (see `Link::hold`). Long enough to be connected to after a login on a busy machine.
pub(super) const ORPHAN: Duration = Duration::from_secs(5);

/// What to do with the key of a host that was never seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KnownHosts {
    /// Refuse it.
    #[default]
    Strict,
    /// Write it down and go on. A key that changed is refused all the same.
    AcceptNew,
}

/// How to connect, where neither the inventory nor the user's ssh configuration says so.
#[derive(Debug, Clone)]
pub struct SshOptions {
    /// Instead of `~/.ssh/config` and the system's.
    pub config: Option<Utf8PathBuf>,
    /// What to do with unknown keys.
    pub known_hosts: KnownHosts,
    /// How long to wait for a connection; twice that for the whole login.
    pub connect_timeout: Duration,
    /// How long one read may take, and how long steps may take beyond their own limits.
    pub read_timeout: Duration,
    /// A connection that is silent for three times as long is lost. As it is, one that stalls for 30 s is not.
    pub keep_alive: Duration,
    /// Whom to log in as.
    pub user: Option<String>,
    /// A private key.
    pub key: Option<Utf8PathBuf>,
    /// How long a connection that nobody uses stays for the next run; not at all if not given. Nobody but this user can use it.
    pub keep: Option<Duration>,
    /// What sudo may ask for.
    pub become_password: Option<Secret<String>>,
    /// What the host program may be.
    pub programs: Programs,
    /// Where the control sockets are put, in a new directory that is removed at the end; the directory for temporary
    /// files, or another one if its path is long, if not given. The path must be short: Unix allows a socket about 100 bytes.
    pub control_dir: Option<Utf8PathBuf>,
}

impl Default for SshOptions {
    fn default() -> Self {
        Self {
            config: None,
            known_hosts: KnownHosts::Strict,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            keep_alive: Duration::from_secs(15),
            user: None,
            key: None,
            keep: None,
            become_password: None,
            programs: Programs::default(),
            control_dir: None,
        }
    }
}
