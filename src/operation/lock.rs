//! The locks of an operation: taken before hosts are read, held while they are changed, released at its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Abort, Notice, Session, Stop, identity};
use crate::apply::{self, Leases, Refused, Terms};
use crate::inventory::{Endpoint, Host};
use crate::lease::{Held, LeaseAnswer, Request};
use crate::name::{EnvName, HostName, Owner, RunId};
use crate::plan::saved::About;
use crate::transport::{Transport, TransportError, setup_problems};
use crate::workspace::Environment;

/// Hosts that cannot be worked with, and why.
pub(super) type Unreachable = BTreeMap<HostName, TransportError>;

/// What each host answered about its lock.
pub type Locks = BTreeMap<HostName, Result<LeaseAnswer, TransportError>>;

/// What is to be locked.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Whose environment.
    pub owner: Owner,
    /// The hosts to change, and those that keep the lock of the environment.
    pub hosts: Vec<Endpoint>,
    /// The hosts of the environment: the first of them keep its lock.
    pub all: Vec<HostName>,
}

impl Ground {
    /// The hosts that an apply of an environment may change.
    pub fn of(environment: &Environment) -> Self {
        Self::of_hosts(environment, environment.concerned())
    }

    /// Some hosts of an environment.
    pub fn of_hosts(environment: &Environment, mut hosts: Vec<Endpoint>) -> Self {
        let all = witnesses(environment);
        for witness in apply::witnesses(all.iter().cloned()) {
            if !hosts.iter().any(|host| host.name == witness) {
                hosts.extend(environment.endpoint(&witness));
            }
        }
        Self { owner: environment.identity.owner(), hosts, all }
    }

    /// The hosts of a saved plan.
    pub fn of_saved(about: &About, owner: &Owner, mut hosts: Vec<Endpoint>) -> Self {
        let more = about.witnesses.iter().filter(|witness| hosts.iter().all(|host| host.name != witness.name));
        hosts.extend(more.cloned().collect::<Vec<_>>());
        let all = about.witnesses.iter().map(|witness| witness.name.clone()).collect();
        Self { owner: owner.clone(), hosts, all }
    }
}

/// The hosts of which the first keep the lock of an environment: those with a role, which are up as a rule; a spare machine may
/// be switched off. In a rehearsal those that have a lab host: the real ones are never meant then.
pub(super) fn witnesses(environment: &Environment) -> Vec<HostName> {
    let in_lab = |host: &&HostName| environment.rehearsal.as_ref().is_none_or(|lab| lab.contains_key(*host));
    let with_role: Vec<HostName> = environment.placement.hosts.keys().filter(in_lab).cloned().collect();
    let all = || environment.inventory.hosts().map(Host::name).filter(in_lab).cloned().collect();
    if with_role.is_empty() { all() } else { with_role }
}

/// The locks of an operation. They are released when it is dropped; [`Locked::release`] waits for that.
pub struct Locked<T: Transport> {
    session: Session<T>,
    run: RunId,
    leases: Leases<T>,
}

impl<T: Transport> Locked<T> {
    /// The run that may follow: others see its name with the locks.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Hosts that did not answer when they were to be locked, and why: nothing can be changed there.
    pub fn unreachable(&self) -> &BTreeMap<HostName, TransportError> {
        &self.leases.away
    }

    pub(super) fn session(&self) -> &Session<T> {
        &self.session
    }

    pub(super) fn leases(&self) -> &Leases<T> {
        &self.leases
    }

    /// Releases the locks.
    pub async fn release(self) {
        self.leases.release().await;
    }
}

impl<T: Transport> Session<T> {
    /// Locks hosts. Waits for other holders as long as the options say; a holder on this machine that has ended is not waited for.
    ///
    /// # Errors
    /// When somebody else holds a lock, too few hosts answer, or it is stopped. No lock is left behind.
    pub async fn lock(&self, ground: &Ground, stop: &Stop) -> Result<Locked<T>, Abort> {
        let run = self.identity().new_run()?;
        let terms = Terms {
            id: identity::new_lease()?,
            holder: self.identity().holder(&ground.owner, &run),
            seconds: self.options().lease_seconds,
            patience: self.options().lock_timeout,
            forks: self.options().forks,
            is_dead: identity::is_dead,
            stop: stop.receiver(),
        };
        let waiting = |host: &HostName, held: &Held| self.notify(Notice::AwaitingLock { host, held });
        // The first host is asked alone; the others need not wait for that with their logins.
        let _logins = self.log_in(ground.hosts.clone());
        let witnesses = apply::witnesses(ground.all.iter().cloned());
        let leases = apply::acquire(self.transport(), &ground.hosts, &witnesses, &terms, &waiting).await;
        crate::crash::point();
        let leases = match leases {
            Ok(leases) => leases,
            Err(refused) => {
                if let Refused::Alone { away, .. } = &refused {
                    self.refuse_setup(&ground.hosts, away).await?;
                }
                return Err(aborted(&ground.owner.environment, refused));
            }
        };
        if let Err(abort) = self.refuse_setup(&ground.hosts, &leases.away).await {
            leases.release().await;
            return Err(abort);
        }
        Ok(Locked { session: self.clone(), run, leases })
    }

    /// Ends an operation if the setup keeps us from one of these hosts: sudo, or this machine. The others are asked as well,
    /// so that everything that is wrong is said at once; but a wrong password is not tried on every host.
    async fn refuse_setup(&self, hosts: &[Endpoint], known: &Unreachable) -> Result<(), Abort> {
        let setup: Vec<&TransportError> = known.values().filter(|error| error.is_setup()).collect();
        if setup.is_empty() {
            return Ok(());
        }
        let mut all = known.clone();
        if !setup.iter().any(|error| error.is_wrong_password()) {
            let rest = hosts.iter().filter(|host| !known.contains_key(&host.name)).cloned().collect();
            let answers = self.ask_locks(rest, &Request::Look).await;
            all.extend(answers.into_iter().filter_map(|(host, answer)| Some((host, answer.err()?))));
        }
        Ok(setup_problems(&all, &|hosts| self.identity().typed.excluding(hosts.iter().copied()).to_string())
            .result(())?)
    }

    /// Asks hosts about their locks, or to end one.
    pub async fn ask_locks(&self, hosts: Vec<Endpoint>, request: &Request) -> Locks {
        let mut asked = JoinSet::new();
        for host in hosts {
            let (transport, request) = (Arc::clone(self.transport()), request.clone());
            asked.spawn(async move {
                let answer = transport.lease(&host, &request).await;
                (host.name, answer)
            });
        }
        let mut answers = Locks::new();
        while let Some(Ok((host, answer))) = asked.join_next().await {
            answers.insert(host, answer);
        }
        answers
    }
}

fn aborted(environment: &EnvName, refused: Refused) -> Abort {
    let environment = environment.clone();
    match refused {
        Refused::Taken { host, held } => Abort::Locked { environment, host, held },
        Refused::Alone { away, witnesses } => Abort::NoQuorum { environment, unreachable: away, witnesses },
        Refused::Stopped => Abort::Stopped,
    }
}
