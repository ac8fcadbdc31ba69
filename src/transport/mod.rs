//! The one room through which every effect on a host goes.
//!
//! In: probes and steps, as values. Out: readings and outcomes, as values. Never: a decision about what to do.

mod channel;
mod local;
mod script;
mod ssh;

use std::collections::HashMap;
use std::future::Future;
use std::io::Read as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub use ssh::{KnownHosts, SshOptions};

use crate::inventory::{Become, Endpoint, Method};
use crate::name::HostName;
use crate::step::{Outcome, Probe, Readings, Step};
use channel::{Broken, PROMPT};

/// A way to hosts.
pub trait Transport: Send + Sync + 'static {
    /// Asks a host everything in one round trip.
    ///
    /// # Errors
    /// When the host cannot be reached or does not answer in the agreed form. A single probe that fails is a
    /// [`crate::step::Reading::Failed`], not an error.
    fn read(&self, host: &Endpoint, probes: &[Probe]) -> impl Future<Output = Result<Readings, TransportError>> + Send;

    /// Does steps in order in one round trip, up to the first that fails. Tells of each as it begins and ends.
    ///
    /// # Errors
    /// When the connection is lost; what was told until then did happen.
    fn perform(
        &self,
        host: &Endpoint,
        steps: &[Step],
        watch: &(dyn Fn(StepEvent) + Send + Sync),
    ) -> impl Future<Output = Result<Vec<Outcome>, TransportError>> + Send;

    /// How many round trips this host has cost so far.
    fn round_trips(&self, host: &Endpoint) -> usize;
}

/// What happens while steps are done. `index` counts from 0 in the list given to [`Transport::perform`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepEvent {
    /// It begins.
    Started {
        /// Which.
        index: usize,
    },
    /// A check does not hold yet, or not for long enough.
    Waiting {
        /// Which.
        index: usize,
        /// What was answered last, in one line.
        why: String,
    },
    /// It is over.
    Ended {
        /// Which.
        index: usize,
        /// How.
        outcome: Outcome,
        /// How long it took.
        took: Duration,
    },
}

/// Why a host could not be worked with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection; ssh's own words.
    #[error("{host} cannot be reached: {why}")]
    Unreachable {
        /// Which host.
        host: String,
        /// Why.
        why: String,
    },
    /// Its key is not the one we know. Somebody may be in between, or it was installed anew.
    #[error("{host} has another host key than known: known {known}, offered {offered}")]
    HostKeyChanged {
        /// Which host.
        host: String,
        /// The fingerprint in `known_hosts`, with file and line.
        known: String,
        /// The fingerprint the host offered.
        offered: String,
    },
    /// Its key is not known yet.
    #[error("the host key of {host} is not known: {offered}")]
    HostKeyUnknown {
        /// Which host.
        host: String,
        /// The fingerprint the host offered, if ssh said it.
        offered: String,
    },
    /// sudo did not let us.
    #[error("sudo on {host}: {why}")]
    Become {
        /// Which host.
        host: String,
        /// Why.
        why: String,
    },
    /// The connection ended in the middle.
    #[error("the connection to {host} was lost: {why}")]
    Lost {
        /// Which host.
        host: String,
        /// Why.
        why: String,
    },
    /// It answered something that is not our protocol.
    #[error("{host} answered something unexpected: {why}")]
    Protocol {
        /// Which host.
        host: String,
        /// What.
        why: String,
    },
}

/// The real hosts: over SSH, or this machine.
pub struct Connections {
    options: SshOptions,
    sessions: ssh::Sessions,
    trips: Mutex<HashMap<HostName, usize>>,
}

/// How long a host may be silent while it is asked. Each question has a shorter limit of its own.
const ASKING: Duration = Duration::from_secs(120);
/// How much longer than a step's own limit a host may be silent while it works.
const SPARE: Duration = Duration::from_secs(60);

impl Connections {
    /// No connection yet; each is made when it is first used.
    pub fn new(options: SshOptions) -> Self {
        Self { options, sessions: ssh::Sessions::default(), trips: Mutex::default() }
    }

    /// Ends all connections.
    pub async fn close(&self) {
        self.sessions.close().await;
    }

    async fn run(
        &self,
        host: &Endpoint,
        script: &[u8],
        limit: Duration,
        take: impl FnMut(&[u8]) + Send,
    ) -> Result<(), TransportError> {
        *self.trips.lock().unwrap_or_else(PoisonError::into_inner).entry(host.name.clone()).or_default() += 1;
        let password = self.options.become_password.as_ref();
        let shell = shell(host.become_user, password.is_some());
        match host.method {
            Method::Ssh => self.sessions.run(host, &self.options, &shell, script, limit, take).await,
            Method::Local => local::run(host, password, &shell, script, limit, take).await,
        }
    }
}

/// The far shell, if need be as root. Nothing in it comes from anywhere but here.
fn shell(become_user: Become, with_password: bool) -> String {
    let plain = format!("sh -c '{}'", channel::bootstrap());
    match (become_user, with_password) {
        (Become::No, _) => plain,
        (Become::Root, false) => format!("sh -c '[ \"$(id -u)\" = 0 ] || exec sudo -n -- {}; {}'", inner(), channel::bootstrap()),
        (Become::Root, true) => {
            format!("sh -c '[ \"$(id -u)\" = 0 ] || exec sudo -S -p \"{PROMPT}\" -- {}; {}'", inner(), channel::bootstrap())
        }
    }
}

/// The bootstrap as an argument inside single quotes.
fn inner() -> String {
    format!("sh -c \"{}\"", channel::bootstrap())
}

impl Transport for Connections {
    async fn read(&self, host: &Endpoint, probes: &[Probe]) -> Result<Readings, TransportError> {
        let nonce = nonce(host)?;
        let mut output = Vec::new();
        self.run(host, &script::ask(probes, &nonce), ASKING, |bytes| output.extend_from_slice(bytes)).await?;
        script::readings(probes, &output, &nonce)
            .map_err(|why| TransportError::Protocol { host: host.name.to_string(), why })
    }

    async fn perform(
        &self,
        host: &Endpoint,
        steps: &[Step],
        watch: &(dyn Fn(StepEvent) + Send + Sync),
    ) -> Result<Vec<Outcome>, TransportError> {
        let nonce = nonce(host)?;
        let mut doing = script::Doing::new(&nonce);
        self.run(host, &script::act(steps, &nonce), patience(steps), |bytes| doing.take(bytes, watch)).await?;
        match doing.broken {
            Some(why) => Err(TransportError::Protocol { host: host.name.to_string(), why }),
            None if doing.done => Ok(doing.outcomes),
            None => Err(TransportError::Lost { host: host.name.to_string(), why: "it ended in the middle".to_owned() }),
        }
    }

    fn round_trips(&self, host: &Endpoint) -> usize {
        self.trips.lock().unwrap_or_else(PoisonError::into_inner).get(&host.name).copied().unwrap_or_default()
    }
}

/// How long a host may be silent: as long as its longest step.
fn patience(steps: &[Step]) -> Duration {
    let longest = steps.iter().map(|step| match step {
        Step::Run(command) => command.timeout,
        Step::RunUnless(command, guard) => command.timeout + guard.timeout,
        Step::RefreshPackages => Duration::from_secs(600),
        // A gate speaks up every few seconds; one question of it may be silent.
        _ => Duration::from_secs(120),
    });
    longest.max().unwrap_or_default() + SPARE
}

/// A word nobody can guess, new for every script.
fn nonce(host: &Endpoint) -> Result<String, TransportError> {
    let mut bytes = [0_u8; 16];
    let filled = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    match filled {
        Ok(()) => Ok(bytes.iter().fold(String::from("armilla-"), |text, byte| format!("{text}{byte:02x}"))),
        Err(error) => Err(TransportError::Protocol { host: host.name.to_string(), why: format!("no random numbers: {error}") }),
    }
}

/// What ended a script early, for the user.
fn broken(host: &Endpoint, broken: Broken) -> TransportError {
    let name = host.name.to_string();
    let sudo = ssh::is_sudo(&broken);
    match broken {
        Broken::NotStarted(why) if sudo && why.contains("password is required") => {
            TransportError::Become { host: name, why: "it wants a password; give it with -K (--ask-become-pass)".to_owned() }
        }
        Broken::NotStarted(why) if sudo => TransportError::Become { host: name, why },
        Broken::NotStarted(why) => TransportError::Lost { host: name, why },
        Broken::WrongPassword => TransportError::Become { host: name, why: "the password is wrong".to_owned() },
        Broken::Lost(why) => TransportError::Lost { host: name, why },
        Broken::TimedOut(limit) => {
            TransportError::Lost { host: name, why: format!("it was silent for {} s", limit.as_secs()) }
        }
        Broken::TooMuch => TransportError::Protocol { host: name, why: "it answered more than 64 MiB".to_owned() },
    }
}
