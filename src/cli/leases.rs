//! Leases for a command: taken with patience, and refused with the holder's name.
//!
//! In: hosts and the flags of a command. Out: leases, or exit code 75 and who is in the way. Never: a host changed without one.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::signals::Signals;
use super::survey::Fleet;
use super::{Exit, identity, ui};
use crate::apply::{self, Leases, Refused, Terms};
use crate::diag::{Diagnostic, shown};
use crate::inventory::{Endpoint, Host};
use crate::lease::{self, Held};
use crate::name::{EnvName, HostName, RunId};
use crate::plan::saved::About;
use crate::transport::Connections;
use crate::workspace::Environment;

/// How long to wait for others.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Waiting")]
pub(super) struct Patience {
    /// How long to wait for somebody else who works on these hosts: 90s, 10m; 0 does not wait
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = span)]
    lock_timeout: Duration,
    /// How long to wait for a host that was lost in the middle, as when it reboots
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = span)]
    pub(super) reboot_timeout: Duration,
}

pub(super) fn span(text: &str) -> Result<Duration, String> {
    let seconds = crate::role::parse_duration(&text.into());
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "write it as 90s, 10m or 2h".to_owned())
}

/// What is to be locked.
pub(super) struct Ground {
    /// The environment.
    pub environment: EnvName,
    /// The hosts to work on, and the witnesses of the environment.
    pub hosts: Vec<Endpoint>,
    /// All hosts of the environment: the first of them are its witnesses.
    pub all: Vec<HostName>,
}

impl Ground {
    /// That of a plan that was saved, with some of the hosts of its environment.
    pub(super) fn of_saved(about: &About, mut hosts: Vec<Endpoint>) -> Self {
        let more = about.witnesses.iter().filter(|witness| hosts.iter().all(|host| host.name != witness.name));
        hosts.extend(more.cloned().collect::<Vec<_>>());
        let all = about.witnesses.iter().map(|witness| witness.name.clone()).collect();
        Self { environment: about.environment.clone(), hosts, all }
    }

    /// That of a project's environment: the hosts within the limit, and its witnesses.
    pub(super) fn of(loaded: &Environment, hosts: Vec<Endpoint>) -> Self {
        let all = witnesses(loaded);
        let mut hosts = hosts;
        for witness in apply::witnesses(all.iter().cloned()) {
            if !hosts.iter().any(|host| host.name == witness) {
                hosts.extend(loaded.endpoint(&witness));
            }
        }
        Self { environment: loaded.name.clone(), hosts, all }
    }
}

/// The hosts of which the first keep the lock of an environment: those with a role, which are there as a rule; a spare
/// machine may be switched off. In a rehearsal those that have a lab host: the real ones are never meant then.
pub(super) fn witnesses(loaded: &Environment) -> Vec<HostName> {
    let in_lab = |host: &&HostName| loaded.rehearsal.as_ref().is_none_or(|lab| lab.contains_key(*host));
    let with_role: Vec<HostName> = loaded.placement.hosts.keys().filter(in_lab).cloned().collect();
    let all = || loaded.inventory.hosts().map(Host::name).filter(in_lab).cloned().collect();
    if with_role.is_empty() { all() } else { with_role }
}

/// The leases of a command. A signal before it begins to change anything gives them back and ends the command.
pub(super) struct Locks {
    leases: Leases<Connections>,
    watchman: JoinHandle<()>,
}

impl Locks {
    fn new(leases: Leases<Connections>, transport: &Arc<Connections>, signals: Signals) -> Self {
        let watchman = tokio::spawn(watch(signals, leases.end(), Arc::clone(transport)));
        Self { leases, watchman }
    }

    /// From here on somebody else listens to signals.
    pub(super) fn begin(&self) {
        self.watchman.abort();
    }

    /// Gives all back.
    pub(super) async fn release(self) {
        self.leases.release().await;
        self.watchman.abort();
    }
}

impl std::ops::Deref for Locks {
    type Target = Leases<Connections>;

    fn deref(&self) -> &Leases<Connections> {
        &self.leases
    }
}

/// On a thread of its own: while a question is asked, the command itself waits for a key.
async fn watch(mut signals: Signals, end: impl Future<Output = ()>, transport: Arc<Connections>) {
    let exit = signals.next().await;
    ui::say("\nnothing was changed; the locks are given back");
    let _ = tokio::time::timeout(HURRY, end).await;
    let _ = tokio::time::timeout(HURRY, transport.close()).await;
    std::process::exit(exit as i32);
}

/// How long it is waited for hosts that are to take their lease back.
const HURRY: Duration = Duration::from_secs(2);

/// Takes leases.
///
/// # Errors
/// The exit code, after saying why.
pub(super) async fn acquire(fleet: &Fleet, ground: &Ground, run: &RunId, patience: &Patience) -> Result<Locks, Exit> {
    let mut signals = Signals::new();
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let id = identity::new_lease().map_err(|problem| {
        ui::problems(&problem.into());
        Exit::Error
    })?;
    let terms = Terms {
        id,
        holder: identity::holder(&ground.environment, run, identity::command_line()),
        seconds: seconds(),
        patience: patience.lock_timeout,
        forks: fleet.forks,
        is_dead: identity::is_dead,
        stop: stopping,
    };
    let told = std::sync::Mutex::new(String::new());
    let waiting = |host: &HostName, held: &Held| {
        let text = format!("waiting for {}", line(host, held));
        let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *told != held.lease.id.0 {
            told.clone_from(&held.lease.id.0);
            ui::say(&text);
        }
    };
    // The first host is asked alone; the others need not wait for that with their logins.
    let _logins = fleet.log_in(ground.hosts.clone());
    let witnesses = apply::witnesses(ground.all.iter().cloned());
    let mut acquiring = std::pin::pin!(apply::acquire(&fleet.transport, &ground.hosts, &witnesses, &terms, &waiting));
    let leases = tokio::select! {
        leases = &mut acquiring => leases,
        exit = signals.next() => {
            let _ = stop.send(true);
            if let Ok(leases) = acquiring.await {
                leases.release().await;
            }
            ui::say("nothing was changed");
            return Err(exit);
        }
    };
    crate::crash::point();
    match leases {
        Ok(leases) => {
            fleet.miss(&leases.away);
            Ok(Locks::new(leases, &fleet.transport, signals))
        }
        Err(refused) => {
            ui::problems(&problem(&ground.environment, &refused).into());
            Err(match refused {
                Refused::Taken { .. } => Exit::Locked,
                Refused::Alone { .. } => Exit::Unreachable,
                Refused::Stopped => Exit::Interrupted,
            })
        }
    }
}

/// Two minutes; a test shortens it.
fn seconds() -> u32 {
    let given = std::env::var("ARMILLA_LEASE_SECONDS").ok().and_then(|text| text.parse().ok());
    given.filter(|seconds| (1..=3600).contains(seconds)).unwrap_or(lease::SECONDS)
}

fn problem(environment: &EnvName, refused: &Refused) -> Diagnostic {
    match refused {
        Refused::Taken { host, held } => Diagnostic::error(format!("{}; nothing was changed", line(host, held))).hint(format!(
            "wait with --lock-timeout 10m; look with `armilla lock status {environment}`; if its owner is gone it ends by \
             itself in {} s",
            held.left()
        )),
        Refused::Stopped => Diagnostic::error("interrupted; nothing was changed"),
        Refused::Alone { away, witnesses } => {
            let who: Vec<String> = away.iter().map(|(host, why)| format!("{host} ({})", shown(&why.to_string()))).collect();
            let what = format!(
                "{environment} cannot be locked: {} of the {witnesses} hosts that keep its lock do not answer: {}",
                away.len(),
                who.join(", ")
            );
            Diagnostic::error(what).hint("without a lock nothing is changed: bring them back, or take them out of the inventory")
        }
    }
}

/// Who holds a lease, in one line. It comes from a host: nothing of it is trusted.
pub(super) fn line(host: &HostName, held: &Held) -> String {
    let holder = &held.lease.holder;
    let busy = match (held.busy, held.lease.is_ended()) {
        (true, true) => ", which is over, but for a step that is still running",
        (true, false) => ", a step of it is running",
        (false, _) => "",
    };
    shown(&format!(
        "{host} is locked by {} since {} for {} (`{}`, run {}, lease {}, last sign of life {} s ago{busy})",
        holder.who, holder.since, holder.environment, holder.command, holder.run, held.lease.id.0, held.silent
    ))
}
