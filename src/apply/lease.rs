//! The leases of a run: taken on its hosts before its first step, kept alive while it goes on, given back at its end.
//!
//! In: hosts, who asks, and how long to wait. Out: a lease on each host that answers, or whose lease is in the way.
//! Never: a lease taken from a holder that may be alive, or half of the leases kept while waiting for the rest.
//!
//! An environment is locked by its *witnesses*: its first hosts by name, three at most, of which a majority must give a
//! lease. So two runs on different hosts of one environment exclude each other, and one dead witness stops nobody. Its name
//! plays no part in it: environments of several projects exclude each other only where they share a host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::inventory::Endpoint;
use crate::lease::{Held, Holder, LeaseAnswer, LeaseId, Request, Ticket};
use crate::name::{HostName, Owner};
use crate::transport::{Transport, TransportError};

/// How many witnesses an environment has.
const WITNESSES: usize = 3;

/// How often a lease that is taken is asked for again.
const POLL: Duration = Duration::from_secs(1);

/// Whoever leaves in a hurry waits this long for an answer.
const HURRY: Duration = Duration::from_secs(1);

/// An order of a dead holder ends by itself: this long it is waited for, whoever waits.
const LAST_ORDER: Duration = Duration::from_secs(600);

/// What a run asks for.
pub struct Terms {
    /// The name of its leases.
    pub id: LeaseId,
    /// Who asks.
    pub holder: Holder,
    /// How long a lease lasts without a sign of life, in seconds.
    pub seconds: u32,
    /// How long to wait for others.
    pub patience: Duration,
    /// Hosts that are asked at the same time.
    pub forks: usize,
    /// Whether the process of a holder is known to have ended: then its lease need not be waited for.
    pub is_dead: fn(&Holder) -> bool,
    /// Turns true when nobody wants them any more.
    pub stop: watch::Receiver<bool>,
}

/// Why there is no lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Somebody else has one.
    Taken {
        /// On which host.
        host: HostName,
        /// Whose.
        held: Box<Held>,
    },
    /// Too few witnesses answer.
    Alone {
        /// Which do not, and why.
        away: BTreeMap<HostName, TransportError>,
        /// How many there are.
        witnesses: usize,
    },
    /// Nobody wants them any more.
    Stopped,
}

/// The leases of a run.
pub struct Leases<T: Transport> {
    transport: Arc<T>,
    id: LeaseId,
    held: BTreeMap<HostName, (Endpoint, u64)>,
    /// Hosts that did not answer.
    pub away: BTreeMap<HostName, TransportError>,
    alive: Alive,
    /// Whether two hosts are names of one machine, which has one lease for both.
    shared: bool,
    /// Hosts that have released theirs.
    released: Mutex<BTreeSet<HostName>>,
    heart: Heart,
    lost: watch::Receiver<BTreeMap<HostName, String>>,
}

/// The witnesses of an environment with these hosts.
pub fn witnesses(hosts: impl IntoIterator<Item = HostName>) -> BTreeSet<HostName> {
    hosts.into_iter().collect::<BTreeSet<_>>().into_iter().take(WITNESSES).collect()
}

/// Takes a lease on every host that answers; waits for others if the terms allow it, and tells whom it waits for.
///
/// # Errors
/// When somebody else has a lease for too long, or too few witnesses answer. No lease is left behind.
pub async fn acquire<T: Transport>(
    transport: &Arc<T>,
    hosts: &[Endpoint],
    witnesses: &BTreeSet<HostName>,
    terms: &Terms,
    waiting: &(dyn Fn(&HostName, &Held) + Send + Sync),
) -> Result<Leases<T>, Refused> {
    let (begun, mut stop) = (Instant::now(), terms.stop.clone());
    loop {
        let mut round = Round::new(transport, terms);
        let refused = match until_stopped(&mut stop, round.take(hosts, witnesses)).await {
            Some(Ok(())) => return Ok(round.leases()),
            Some(Err(refused)) => refused,
            None => {
                // What was asked last may be granted all the same: all are told.
                round.heart.stop();
                let all = release(transport, &terms.id, hosts.iter().cloned());
                let _ = tokio::time::timeout(HURRY, all).await;
                return Err(Refused::Stopped);
            }
        };
        round.give_back().await;
        let Refused::Taken { host, held } = &refused else { return Err(refused) };
        // What is still done for a dead holder ends with its step.
        let patience = if held.busy && (terms.is_dead)(&held.lease.holder) { LAST_ORDER } else { terms.patience };
        if begun.elapsed() >= patience.max(terms.patience) {
            return Err(refused);
        }
        waiting(host, held);
        let _ = tokio::time::timeout(POLL, stopped(&mut stop)).await;
    }
}

/// Its end; nothing if it is not over soon after it was stopped.
async fn until_stopped<T>(stop: &mut watch::Receiver<bool>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => return Some(done).filter(|_| !*stop.borrow()),
        () = stopped(stop) => {}
    }
    let _ = tokio::time::timeout(HURRY, work).await;
    None
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Nobody is left who could stop it.
        std::future::pending::<()>().await;
    }
}

/// One attempt.
struct Round<'a, T> {
    transport: &'a Arc<T>,
    terms: &'a Terms,
    held: BTreeMap<HostName, (Endpoint, u64)>,
    away: BTreeMap<HostName, TransportError>,
    /// The hosts that hear signs of life: those that gave a lease.
    alive: Alive,
    /// Whether a machine was asked by two names.
    shared: bool,
    heart: Heart,
    lost: watch::Receiver<BTreeMap<HostName, String>>,
}

type Alive = Arc<Mutex<BTreeMap<HostName, Endpoint>>>;

impl<'a, T: Transport> Round<'a, T> {
    /// Its heart beats from the beginning: until all hosts have answered, the first lease could end.
    fn new(transport: &'a Arc<T>, terms: &'a Terms) -> Self {
        let (tell, lost) = watch::channel(BTreeMap::new());
        let alive = Alive::default();
        let every = Duration::from_millis(u64::from(terms.seconds) * 250).max(Duration::from_millis(250));
        let pulse = Pulse { transport: Arc::clone(transport), id: terms.id.clone(), alive: Arc::clone(&alive), every };
        let heart = Heart::start(pulse, tell);
        Self { transport, terms, held: BTreeMap::new(), away: BTreeMap::new(), alive, shared: false, heart, lost }
    }

    /// One host after the other until one has answered: of two runs that begin together one is the first there, and the
    /// other does not come between it and its other hosts. Then the rest at once. Only witnesses are waited for so, and
    /// no longer than they can make a majority.
    async fn take(&mut self, hosts: &[Endpoint], witnesses: &BTreeSet<HostName>) -> Result<(), Refused> {
        let mut rest: Vec<Endpoint> = hosts.to_vec();
        rest.sort_by(|a, b| (!witnesses.contains(&a.name), &a.name).cmp(&(!witnesses.contains(&b.name), &b.name)));
        while self.held.is_empty() && rest.first().is_some_and(|first| witnesses.contains(&first.name)) {
            let first = rest.remove(0);
            let answer = ask(self.transport, self.terms, &first).await;
            self.note(first, answer)?;
            self.is_alone(witnesses, witnesses.len() - self.away.len())?;
        }
        let slots = Arc::new(Semaphore::new(self.terms.forks.max(1)));
        let mut asked = JoinSet::new();
        for host in rest {
            let (transport, slots) = (Arc::clone(self.transport), Arc::clone(&slots));
            let (request, is_dead) = (request(self.terms, None), self.terms.is_dead);
            asked.spawn(async move {
                let _slot = slots.acquire_owned().await;
                let answer = ask_for(&transport, request, is_dead, &host).await;
                (host, answer)
            });
        }
        let mut refused = None;
        while let Some(Ok((host, answer))) = asked.join_next().await {
            // All answers are waited for: what was granted must be known to be given back.
            refused = refused.or(self.note(host, answer).err());
        }
        match refused {
            Some(refused) => Err(refused),
            // One that was not asked is no witness.
            None => self.is_alone(witnesses, self.held.keys().filter(|name| witnesses.contains(*name)).count()),
        }
    }

    /// Whether so many witnesses are too few.
    fn is_alone(&self, witnesses: &BTreeSet<HostName>, given: usize) -> Result<(), Refused> {
        if witnesses.is_empty() || given * 2 > witnesses.len() {
            return Ok(());
        }
        let away = self.away.iter().filter(|(name, _)| witnesses.contains(*name));
        let away = away.map(|(name, error)| (name.clone(), error.clone())).collect();
        Err(Refused::Alone { away, witnesses: witnesses.len() })
    }

    fn note(&mut self, host: Endpoint, answer: Result<LeaseAnswer, TransportError>) -> Result<(), Refused> {
        match answer {
            Ok(answer @ (LeaseAnswer::Granted(fence) | LeaseAnswer::Shared(fence))) => {
                self.shared |= matches!(answer, LeaseAnswer::Shared(_));
                lock(&self.alive).insert(host.name.clone(), host.clone());
                self.held.insert(host.name.clone(), (host, fence));
            }
            Ok(LeaseAnswer::Taken(held) | LeaseAnswer::Lost(Some(held))) => {
                return Err(Refused::Taken { host: host.name, held });
            }
            Ok(LeaseAnswer::Free | LeaseAnswer::Lost(None)) => {
                let why = "it neither granted a lock nor said why".to_owned();
                self.away.insert(host.name.clone(), TransportError::Protocol { host: host.name.to_string(), why });
            }
            Err(error) => drop(self.away.insert(host.name.clone(), error)),
        }
        Ok(())
    }

    async fn give_back(self) {
        self.heart.stop();
        release(self.transport, &self.terms.id, self.held.into_values().map(|(host, _)| host)).await;
    }

    fn leases(self) -> Leases<T> {
        Leases {
            transport: Arc::clone(self.transport),
            id: self.terms.id.clone(),
            held: self.held,
            away: self.away,
            alive: self.alive,
            shared: self.shared,
            released: Mutex::default(),
            heart: self.heart,
            lost: self.lost,
        }
    }
}

fn request(terms: &Terms, instead_of: Option<LeaseId>) -> Request {
    Request::Acquire { id: terms.id.clone(), holder: terms.holder.clone(), seconds: terms.seconds, instead_of }
}

async fn ask<T: Transport>(transport: &Arc<T>, terms: &Terms, host: &Endpoint) -> Result<LeaseAnswer, TransportError> {
    ask_for(transport, request(terms, None), terms.is_dead, host).await
}

/// Asks for a lease; in the place of a holder that is dead, if that is what is in the way.
async fn ask_for<T: Transport>(
    transport: &Arc<T>,
    request: Request,
    is_dead: fn(&Holder) -> bool,
    host: &Endpoint,
) -> Result<LeaseAnswer, TransportError> {
    let answer = transport.lease(host, &request).await?;
    let LeaseAnswer::Taken(held) = &answer else { return Ok(answer) };
    if held.busy || !is_dead(&held.lease.holder) {
        return Ok(answer);
    }
    let Request::Acquire { id, holder, seconds, .. } = request else { return Ok(answer) };
    let instead_of = Some(held.lease.id.clone());
    transport.lease(host, &Request::Acquire { id, holder, seconds, instead_of }).await
}

/// Sends signs of life as long as it is there. When it is dropped, the leases are released.
struct Heart {
    task: JoinHandle<()>,
    _owner: oneshot::Sender<()>,
}

impl Heart {
    fn start<T: Transport>(pulse: Pulse<T>, lose: watch::Sender<BTreeMap<HostName, String>>) -> Self {
        let (owner, gone) = oneshot::channel();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = pulse.beat(&lose) => {}
                _ = gone => pulse.release().await,
            }
        });
        Self { task, _owner: owner }
    }

    /// Sends no other sign of life: somebody else releases the leases.
    fn stop(&self) {
        self.task.abort();
    }
}

/// What a heart needs.
struct Pulse<T> {
    transport: Arc<T>,
    id: LeaseId,
    alive: Alive,
    every: Duration,
}

impl<T: Transport> Pulse<T> {
    fn hosts(&self) -> Vec<Endpoint> {
        lock(&self.alive).values().cloned().collect()
    }

    async fn release(&self) {
        release(&self.transport, &self.id, self.hosts().into_iter()).await;
    }

    /// Signs of life, until the task is ended. A host that does not answer is asked again; one that says that the lease is
    /// not ours any more is told of.
    async fn beat(&self, lose: &watch::Sender<BTreeMap<HostName, String>>) {
        let mut clock = tokio::time::interval(self.every);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        clock.tick().await;
        loop {
            clock.tick().await;
            let mut beats = JoinSet::new();
            for host in self.hosts() {
                let (transport, id) = (Arc::clone(&self.transport), self.id.clone());
                beats.spawn(async move {
                    let answer = transport.lease(&host, &Request::Renew { id }).await;
                    (host.name, answer)
                });
            }
            while let Some(Ok((host, answer))) = beats.join_next().await {
                // It may have been released while it was asked.
                if let Ok(LeaseAnswer::Lost(held)) = answer
                    && lock(&self.alive).contains_key(&host)
                {
                    let why = match held {
                        Some(held) if held.lease.is_ended() => "it was broken by hand".to_owned(),
                        Some(held) => {
                            let holder = &held.lease.holder;
                            format!("{} holds it now, since {} (run {})", holder.who, holder.since, holder.run)
                        }
                        None => {
                            "it was not renewed in time and another run held it meanwhile, or it was broken".to_owned()
                        }
                    };
                    lose.send_modify(|lost| drop(lost.insert(host, why)));
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn release<T: Transport>(transport: &Arc<T>, id: &LeaseId, hosts: impl Iterator<Item = Endpoint>) {
    let mut released = JoinSet::new();
    for host in hosts {
        let (transport, id) = (Arc::clone(transport), id.clone());
        // A host that does not answer now ends the lease by itself.
        released.spawn(async move { drop(transport.lease(&host, &Request::Release { id }).await) });
    }
    while released.join_next().await.is_some() {}
}

impl<T: Transport> Leases<T> {
    /// By what right something is done on a host for an owner; none if there is no lease there.
    pub fn ticket(&self, host: &HostName, owner: &Owner) -> Option<Ticket> {
        let (_, fence) = self.held.get(host)?;
        Some(Ticket { owner: owner.clone(), id: self.id.clone(), fence: *fence, intent: None, first: 0 })
    }

    /// The hosts that gave a lease.
    pub fn hosts(&self) -> impl Iterator<Item = &HostName> {
        self.held.keys()
    }

    /// Hosts that took their lease back, and why: grows while the run goes on.
    pub fn lost(&self) -> watch::Receiver<BTreeMap<HostName, String>> {
        self.lost.clone()
    }

    /// The lease that a host is to release with the last order on it, and which gets no sign of life any more. None if it
    /// must outlive that order: another host may be the same machine.
    pub fn last_order(&self, host: &HostName) -> Option<&LeaseId> {
        if self.shared {
            return None;
        }
        lock(&self.alive).remove(host);
        Some(&self.id)
    }

    /// This host has released its lease.
    pub fn released(&self, host: HostName) {
        lock(&self.released).insert(host);
    }

    /// Releases those that are left. Without this, they are released beside whatever comes next.
    pub async fn release(self) {
        self.heart.stop();
        let released = std::mem::take(&mut *lock(&self.released));
        let left = self.held.iter().filter(|(name, _)| !released.contains(*name));
        let hosts: Vec<Endpoint> = left.map(|(_, (host, _))| host.clone()).collect();
        release(&self.transport, &self.id, hosts.into_iter()).await;
    }
}
