//! Hosts over SSH, by the user's own `ssh` program: its configuration, agent and jump hosts hold here, too.
//!
//! In: endpoints and scripts. Out: what the scripts printed. Never: a host key that is accepted without being told to,
//! or a second connection to a host that has one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openssh::{ControlPersist, KnownHosts as Check, Session, SessionBuilder, Stdio};
use tokio::sync::{Mutex, OnceCell};

use super::TransportError;
use super::channel::{Broken, Streams};
use crate::inventory::Endpoint;
use crate::name::HostName;
use crate::secret::Secret;

/// What is done with the key of a host that is not known yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KnownHosts {
    /// It is refused.
    #[default]
    Strict,
    /// It is recorded. A key that changed is still refused.
    AcceptNew,
}

/// How to use ssh.
#[derive(Debug, Clone)]
pub struct SshOptions {
    /// Another configuration than the user's.
    pub config: Option<PathBuf>,
    /// Unknown host keys.
    pub known_hosts: KnownHosts,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// Log in as this user, whatever the inventory says.
    pub user: Option<String>,
    /// Log in with this key, whatever the inventory says.
    pub key: Option<PathBuf>,
    /// What sudo is told if it asks.
    pub become_password: Option<Secret<String>>,
}

impl Default for SshOptions {
    fn default() -> Self {
        Self {
            config: None,
            known_hosts: KnownHosts::Strict,
            connect_timeout: Duration::from_secs(10),
            user: None,
            key: None,
            become_password: None,
        }
    }
}

type Slot = Arc<OnceCell<Result<Arc<Session>, TransportError>>>;

/// The connections of one run.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<HostName, Slot>>);

impl Sessions {
    /// Runs a script on a host, over the one connection it has.
    pub(super) async fn run(
        &self,
        host: &Endpoint,
        options: &SshOptions,
        shell: &str,
        script: &[u8],
        limit: Duration,
        take: impl FnMut(&[u8]) + Send,
    ) -> Result<(), TransportError> {
        let session = self.session(host, options).await?;
        let lost = |why: String| TransportError::Lost { host: host.name.to_string(), why };
        let mut command = session.raw_command(shell);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().await.map_err(|error| lost(error.to_string()))?;
        let (input, output, errors) = (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let (Some(input), Some(output), Some(errors)) = (input, output, errors) else {
            return Err(lost("ssh gave no streams".to_owned()));
        };
        let password = options.become_password.as_ref();
        let ended = Streams { input, output, errors }.converse(script, password, limit, take).await;
        if ended.is_ok() {
            // The script says itself whether it came to its end.
            let _ = tokio::time::timeout(Duration::from_secs(5), child.wait()).await;
        }
        ended.map_err(|broken| super::broken(host, broken))
    }

    async fn session(&self, host: &Endpoint, options: &SshOptions) -> Result<Arc<Session>, TransportError> {
        let slot = Arc::clone(self.0.lock().await.entry(host.name.clone()).or_default());
        slot.get_or_init(|| async { connect(host, options).await.map(Arc::new) }).await.clone()
    }

    /// Ends all connections.
    pub(super) async fn close(&self) {
        for (_, slot) in self.0.lock().await.drain() {
            let session = Arc::into_inner(slot).and_then(OnceCell::into_inner).and_then(Result::ok);
            if let Some(session) = session.and_then(Arc::into_inner) {
                // A connection that is gone already is what is wanted.
                let _ = tokio::time::timeout(Duration::from_secs(5), session.close()).await;
            }
        }
    }
}

async fn connect(host: &Endpoint, options: &SshOptions) -> Result<Session, TransportError> {
    let mut builder = SessionBuilder::default();
    builder.known_hosts_check(match options.known_hosts {
        KnownHosts::Strict => Check::Strict,
        KnownHosts::AcceptNew => Check::Add,
    });
    builder.connect_timeout(options.connect_timeout).control_persist(ControlPersist::Forever);
    // Silence of a dead connection ends after 45 s.
    builder.server_alive_interval(Duration::from_secs(15));
    let user = options.user.clone().or_else(|| host.user.clone());
    let key = options.key.clone().or_else(|| host.key.as_ref().map(|key| expanded(key.as_str())));
    if let Some(user) = user {
        builder.user(user);
    }
    if let Some(port) = host.port {
        builder.port(port);
    }
    if let Some(key) = key {
        builder.keyfile(key);
    }
    if let Some(config) = &options.config {
        builder.config_file(config);
    }
    // A host key that changed makes ssh wait for nobody: it fails at once, as its input is closed.
    let patience = options.connect_timeout + Duration::from_secs(20);
    match tokio::time::timeout(patience, builder.connect_mux(&host.address)).await {
        Ok(Ok(session)) => Ok(session),
        Ok(Err(error)) => Err(refused(host, &complaint(&error))),
        Err(_) => Err(refused(host, &format!("no connection within {} s", patience.as_secs()))),
    }
}

fn expanded(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), home()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from)
}

fn complaint(error: &openssh::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}

/// What ssh said, understood: a changed key is another thing than a cable that is out.
fn refused(host: &Endpoint, said: &str) -> TransportError {
    let name = host.name.to_string();
    let offered = said.split_whitespace().find(|word| word.starts_with("SHA256:"));
    let offered = offered.map_or_else(|| "not said".to_owned(), |word| word.trim_end_matches('.').to_owned());
    if said.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        let place = said.lines().find(|line| line.contains("Offending") && line.contains(" key in "));
        let known = place.and_then(known_fingerprint).unwrap_or_else(|| "in your known_hosts".to_owned());
        return TransportError::HostKeyChanged { host: name, known, offered };
    }
    if said.contains("Host key verification failed") || said.contains("host key is known") {
        return TransportError::HostKeyUnknown { host: name, offered };
    }
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("ssh said nothing");
    TransportError::Unreachable { host: name, why: last.to_owned() }
}

/// `Offending ED25519 key in /home/me/.ssh/known_hosts:3` as a fingerprint with its place.
fn known_fingerprint(line: &str) -> Option<String> {
    let place = line.rsplit(" key in ").next()?.trim();
    let (file, number) = place.rsplit_once(':')?;
    let text = std::fs::read_to_string(Path::new(file)).ok()?;
    let entry = text.lines().nth(number.parse::<usize>().ok()?.checked_sub(1)?)?;
    let key = entry.split_whitespace().skip_while(|word| !word.starts_with("ssh-") && !word.starts_with("ecdsa-")).nth(1)?;
    Some(format!("{} ({place})", fingerprint(key)?))
}

/// As ssh shows it: SHA-256 of the key, in base64 without padding (RFC 4716 keys, `ssh-keygen -l`).
fn fingerprint(key: &str) -> Option<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    use sha2::Digest as _;
    let bytes = STANDARD.decode(key).ok()?;
    Some(format!("SHA256:{}", STANDARD_NO_PAD.encode(sha2::Sha256::digest(bytes))))
}

/// What ended a script, as far as it is ssh's own.
pub(super) fn is_sudo(broken: &Broken) -> bool {
    matches!(broken, Broken::NotStarted(why) if why.starts_with("sudo:") || why.contains("sudo: "))
}
