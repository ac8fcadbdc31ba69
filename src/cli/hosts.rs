//! The frame of every command that contacts hosts: connections, signals, what is shown meanwhile, and a clean end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;

use super::keys::Terminal;
use super::patience::Patience;
use super::screen::{Screen, Telling};
use super::signals::Signals;
use super::{Connection, Exit, Failure, Global, identity, ui};
use crate::diag::Diagnostic;
use crate::history::History;
use crate::lease;
use crate::operation::{Abort, Approved, Ground, Locked, Options, Session, Stop, Stopper};
use crate::secret::Secret;
use crate::transport::{Connections, KnownHosts, Programs, SshOptions, Transport as _};
use crate::workspace::{Prompt as _, PromptError};

/// How long locks and connections may take to end after a signal.
const HURRY: Duration = Duration::from_secs(2);

/// The hosts of a command, while it works with them.
pub(super) struct Hosts {
    /// The way through which they are planned and changed.
    pub(super) session: Session<Connections>,
    /// Whether a signal asked to stop.
    pub(super) stop: Stop,
    screen: Arc<Screen>,
}

/// The locks of a command.
pub(super) type Locks = Locked<Connections>;

/// What a command makes of hosts that are locked.
pub(super) enum Decision {
    /// It applies a plan.
    Apply(Box<Approved>),
    /// It ends without a run.
    End(Exit),
}

/// Contacts hosts, for one command. A signal asks the work to stop, a second one ends the program; either way connections
/// are closed.
///
/// # Errors
/// Why it could not be done.
pub(super) async fn contact<T>(
    global: &Global,
    connection: &Connection,
    telling: Telling,
    work: impl AsyncFnOnce(&Hosts) -> Result<T, Abort>,
) -> Result<T, Failure> {
    let transport = Arc::new(Connections::new(options(connection)?));
    let screen = Arc::new(Screen::new(global, telling));
    let (stopper, stop) = Stop::channel();
    let watching = tokio::spawn(watch(Signals::new(), stopper, Arc::clone(&screen), Arc::clone(&transport)));
    let history = identity::history().unwrap_or_else(|_| History::none());
    let session = Session::new(Arc::clone(&transport), identity::this(), history, screen.clone());
    let session = session.with(session_options(connection, screen.telling().patience.as_ref()));
    let hosts = Hosts { session, stop, screen };
    let result = tokio::select! {
        result = work(&hosts) => result,
        never = hosts.screen.tick() => match never {},
    };
    hosts.screen.round_trips(&transport.all_round_trips());
    in_a_hurry(&hosts.stop, transport.close()).await;
    watching.abort();
    result.map_err(|abort| {
        match &abort {
            Abort::Stopped => ui::say("\ninterrupted; nothing was changed"),
            _ => ui::problems(&abort.problems()),
        }
        Failure::Told(Exit::of_abort(&abort, hosts.signal()))
    })
}

impl Hosts {
    /// Locks hosts, and does what the command decides about them. The locks are released, however it ends.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub(super) async fn change(
        &self,
        ground: &Ground,
        decide: impl AsyncFnOnce(&Locks) -> Result<Decision, Abort>,
    ) -> Result<Exit, Abort> {
        // A run that cannot be recorded is not begun.
        identity::history()?;
        let locked = self.session.lock(ground, &self.stop).await?;
        let exit = match decide(&locked).await {
            Ok(Decision::Apply(approved)) => {
                let finished = self.session.apply(locked, *approved, self.stop.clone()).await?;
                return Ok(self.screen.finished(&finished));
            }
            Ok(Decision::End(exit)) => Ok(exit),
            Err(abort) => Err(abort),
        };
        in_a_hurry(&self.stop, locked.release()).await;
        exit
    }

    /// Waits for work that changes nothing, until a signal asks to stop.
    ///
    /// # Errors
    /// When it does.
    pub(super) async fn until_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Abort> {
        tokio::select! {
            done = work => Ok(done),
            () = self.stop.requested() => Err(Abort::Stopped),
        }
    }

    /// The signal that asked to stop, if one did.
    pub(super) fn signal(&self) -> Option<Exit> {
        self.screen.signal()
    }
}

/// After a signal nothing is waited for long: a host that does not answer ends a lock by itself.
async fn in_a_hurry(stop: &Stop, work: impl Future<Output = ()>) {
    let hurried = async {
        stop.requested().await;
        tokio::time::sleep(HURRY).await;
    };
    tokio::select! {
        () = work => {}
        () = hurried => {}
    }
}

/// The first signal asks to stop, the second ends the program.
#[expect(clippy::exit, reason = "a program that is asked twice ends, whatever it is in")]
async fn watch(mut signals: Signals, stopper: Stopper, screen: Arc<Screen>, transport: Arc<Connections>) {
    let first = signals.next().await;
    screen.stopping(first);
    stopper.request();
    let second = signals.next().await;
    let _ = tokio::time::timeout(HURRY, transport.close()).await;
    std::process::exit(second as i32);
}

fn session_options(connection: &Connection, patience: Option<&Patience>) -> Options {
    let usual = Options::default();
    Options {
        forks: usize::from(connection.forks),
        lock_timeout: patience.map_or(usual.lock_timeout, |patience| patience.lock_timeout),
        reboot_timeout: patience.map_or(usual.reboot_timeout, |patience| patience.reboot_timeout),
        lease_seconds: lease_seconds(),
        ..usual
    }
}

/// Two minutes; a test shortens it.
fn lease_seconds() -> u32 {
    let given = std::env::var("ARMILLA_LEASE_SECONDS").ok().and_then(|text| text.parse().ok());
    given.filter(|seconds| (1..=3600).contains(seconds)).unwrap_or(lease::SECONDS)
}

/// How hosts are connected to; asks for the sudo password if wanted.
fn options(connection: &Connection) -> Result<SshOptions, Diagnostic> {
    let mut options = SshOptions {
        config: connection.ssh_config.clone().map(path).transpose()?,
        user: connection.user.clone(),
        key: connection.private_key.clone().map(path).transpose()?,
        connect_timeout: Duration::from_secs(u64::from(connection.connect_timeout)),
        keep: connection.keep_connections.filter(|keep| !keep.is_zero()),
        programs: Programs::new(connection.host_programs.clone()),
        ..SshOptions::default()
    };
    if connection.accept_new {
        options.known_hosts = KnownHosts::AcceptNew;
    }
    if connection.ask_become_pass {
        options.become_password = Some(password()?);
    }
    if connection.lab {
        options.config = Some(path(lab()?.ssh_config())?);
    }
    Ok(options)
}

fn path(path: PathBuf) -> Result<Utf8PathBuf, Diagnostic> {
    Utf8PathBuf::try_from(path).map_err(|error| Diagnostic::error(format!("a path must be UTF-8: {error}")))
}

fn password() -> Result<Secret<String>, Diagnostic> {
    Terminal.password("sudo password: ").map_err(|error| match error {
        PromptError::Unavailable => {
            Diagnostic::error("--ask-become-pass: there is no terminal to ask for the sudo password")
        }
        PromptError::Failed(why) => Diagnostic::error(format!("cannot read the password: {why}")),
    })
}

fn lab() -> Result<crate::lab::Lab, Diagnostic> {
    let lab = crate::lab::Lab::open(crate::lab::LabOptions::from_environment());
    lab.map_err(|error| Diagnostic::error(error.to_string()))
}

/// The lab hosts and their addresses.
///
/// # Errors
/// When there is no lab.
pub(super) fn lab_hosts() -> Result<BTreeMap<String, String>, Diagnostic> {
    let hosts = lab()?.hosts().map_err(|error| Diagnostic::error(error.to_string()))?;
    Ok(hosts.iter().map(|host| (host.name.clone(), host.address.to_string())).collect())
}
