//! Hosts over SSH, by the user's own `ssh` program, configuration, agent and jump hosts.
//!
//! In: endpoints, probes, steps. Out: readings and outcomes, over one connection per host that is made when it is
//! first needed and kept for the whole run, or until another host needs its place. Never: a host key accepted silently,
//! a question at the terminal, a host name read as an option, or a socket left behind that nobody asked to keep.

mod directory;
mod kept;
mod link;
mod login;
mod options;
mod places;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use self::directory::Directory;
use self::link::{InUse, Link, NotStarted};
pub use self::options::{KnownHosts, SshOptions};
use self::places::{Places, Turn};
use super::api::{Asked, Login, Order, Performed, StepEvent, Then, Transport};
use super::bootstrap::{self, Password};
use super::dialogue::Channel;
use super::error::TransportError;
use super::exchange::Exchange;
use super::round_trips::RoundTrips;
use super::shortage::{few_files, shortage};
use super::way::{self, Purpose, Trip, Way};
use crate::inventory::Endpoint;
use crate::lease::{LeaseAnswer, Request};
use crate::step::{Probe, Readings};

/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(500);

/// Whether somebody said no, or hung up, before there was a connection: not a host that is silent.
fn was_turned_away(why: &str) -> bool {
    let refusals =
        ["Connection refused", "Connection reset", "Connection closed", "closed by remote host", "Broken pipe"];
    refusals.iter().any(|words| why.contains(words)) || why.starts_with(link::ENDED_AT_ONCE)
}

/// Ends a connection that does not work. A master that is kept and answers, but has no way to the host, would be taken
/// again.
async fn abandon(link: &Link) {
    link.doubt();
    link.close().await;
}

/// Where one connection is; locked while it is being made. One that was wanted before anybody asked and could not be
/// made is told to the first who asks. Nobody waits for a place meanwhile.
type LinkSlot = Arc<tokio::sync::Mutex<Option<Result<Arc<Link>, TransportError>>>>;

/// Works over SSH.
#[derive(Debug)]
pub struct Ssh {
    options: SshOptions,
    directory: Mutex<Option<Arc<Directory>>>,
    slots: Mutex<BTreeMap<String, LinkSlot>>,
    places: Arc<Places>,
    trips: RoundTrips,
    connects: RoundTrips,
}

impl Ssh {
    /// Connects to nothing yet.
    pub fn new(options: SshOptions) -> Self {
        Self {
            options,
            directory: Mutex::default(),
            slots: Mutex::default(),
            places: Arc::new(Places::here()),
            trips: RoundTrips::default(),
            connects: RoundTrips::default(),
        }
    }

    /// How many connections this host has cost so far: one, unless it was lost or never made.
    pub fn connects(&self, host: &Endpoint) -> usize {
        self.connects.of(host.name.as_str())
    }

    /// How many round trips each host has cost so far, by name.
    pub(super) fn all_round_trips(&self) -> BTreeMap<String, usize> {
        self.trips.all()
    }

    fn slot(&self, host: &Endpoint) -> LinkSlot {
        let key = format!("{}\0{}\0{:?}\0{:?}\0{:?}", host.name, host.address, host.port, host.user, host.key);
        Arc::clone(self.slots.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default())
    }

    fn directory(&self) -> std::io::Result<Arc<Directory>> {
        let mut directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = &*directory {
            return Ok(Arc::clone(directory));
        }
        let made = Arc::new(Directory::new(self.options.control_dir.as_deref())?);
        *directory = Some(Arc::clone(&made));
        Ok(made)
    }

    /// The connection that is there, or a new one, with a place.
    async fn link(&self, host: &Endpoint, purpose: Purpose) -> Result<InUse, TransportError> {
        if self.places.is_none() {
            return Err(TransportError::Local { host: host.name.to_string(), why: few_files() });
        }
        let mut turn = self.places.turn(purpose).await;
        if let Some(Ok(link)) = &*self.slot(host).lock().await {
            match InUse::again(link, &self.places, turn) {
                Ok(link) => return Ok(link),
                Err(unused) => turn = unused,
            }
        }
        // Apart, so that what only waits for an answer stays small.
        Box::pin(self.link_by(host, turn)).await
    }

    /// The same by a place that is free, or that another host gives up.
    async fn link_by(&self, host: &Endpoint, turn: Turn) -> Result<InUse, TransportError> {
        let place = self.places.take(|| self.make_room()).await;
        let slot = self.slot(host);
        let mut there = slot.lock().await;
        let link = match there.take() {
            Some(known) => known?,
            None => self.made(host).await?,
        };
        let held = InUse::new(&link, &self.places, (turn, place));
        *there = Some(Ok(link));
        Ok(held)
    }

    /// Frees the place that has been parked for the longest time, and closes its connection if nobody uses that by another
    /// place. False if all places are in use.
    async fn make_room(&self) -> bool {
        let slots: Vec<LinkSlot> =
            self.slots.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let parked = slots.into_iter().filter_map(|slot| {
            let there = slot.try_lock_owned().ok()?;
            let since = there.as_ref()?.as_ref().ok()?.parked_since()?;
            Some((since, there))
        });
        let Some((_, mut there)) = parked.min_by_key(|(since, _)| *since) else { return false };
        let Some(Ok(link)) = there.take() else { return false };
        match link.vacate() {
            Some((place, false)) => {
                drop(there);
                link.leave().await;
                drop(place);
                true
            }
            given => {
                *there = Some(Ok(link));
                given.is_some()
            }
        }
    }

    /// Starts a shell for whoever asks first. Not where sudo wants a password: a shell that nobody comes to use would be a
    /// failed attempt in the log of the host.
    async fn prepare(&self, host: &Endpoint, mut held: InUse) -> Result<(), NotStarted> {
        let Ok(exchange) = Exchange::new(host, self.options.become_password.as_ref(), &self.options.programs) else {
            return Ok(());
        };
        let (Password::None, Ok(token), Ok(digests)) = (exchange.password(), exchange.token(), exchange.digests())
        else {
            return Ok(());
        };
        let words = bootstrap::line(host.become_user, Password::None, &digests, &token);
        let channel = held.open(&words, token, self.options.connect_timeout).await?;
        held.link.ended();
        held.free(host.become_user, channel);
        Ok(())
    }

    async fn made(&self, host: &Endpoint) -> Result<Arc<Link>, TransportError> {
        let directory = self.directory().map_err(|error| TransportError::Local {
            host: host.name.to_string(),
            why: shortage(&error).unwrap_or_else(|| format!("no directory for control sockets: {error}")),
        })?;
        self.connect(host, directory).await.map(Arc::new)
    }

    /// A new connection. One that was refused or broken off at once is tried again, once: sshd may be starting again, or
    /// have too many at its door. One that was not answered is not: that would double the time.
    async fn connect(&self, host: &Endpoint, directory: Arc<Directory>) -> Result<Link, TransportError> {
        self.connects.count(host.name.as_str());
        match link::connect(host, &self.options, Arc::clone(&directory)).await {
            Err(TransportError::Unreachable { why, .. }) if was_turned_away(&why) => {
                tokio::time::sleep(AGAIN).await;
                self.connects.count(host.name.as_str());
                link::connect(host, &self.options, directory).await
            }
            result => result,
        }
    }

    /// A new shell. Nothing was sent before it began, so a connection that turns out dead is made anew, once.
    async fn shell(
        &self,
        exchange: &Exchange<'_>,
        mut held: InUse,
        purpose: Purpose,
    ) -> Result<(InUse, Channel), TransportError> {
        let host = exchange.host;
        let (digests, token) = (exchange.digests()?, exchange.token()?);
        let words = bootstrap::line(host.become_user, exchange.password(), &digests, &token);
        let mut opened = held.open(&words, token.clone(), self.options.connect_timeout).await;
        if let Err(NotStarted::Lost(_)) = opened {
            self.forget(host, &held.link).await;
            abandon(&held.link).await;
            // Nobody keeps one place while they wait for another.
            drop(held);
            held = self.link(host, purpose).await?;
            opened = held.open(&words, token, self.options.connect_timeout).await;
        }
        match opened {
            Ok(channel) => Ok((held, channel)),
            Err(NotStarted::Local(why)) => Err(TransportError::Local { host: host.name.to_string(), why }),
            Err(NotStarted::Lost(why)) => {
                self.forget(host, &held.link).await;
                Err(TransportError::Lost { host: host.name.to_string(), why })
            }
        }
    }

    /// Forgets a connection, unless another has taken its place already.
    async fn forget(&self, host: &Endpoint, lost: &Arc<Link>) {
        let slot = self.slot(host);
        let mut link = slot.lock().await;
        if matches!(&*link, Some(Ok(link)) if Arc::ptr_eq(link, lost)) {
            *link = None;
        }
    }

    /// After a conversation that broke: was it the connection? Then ssh knows why.
    async fn explain(&self, host: &Endpoint, link: &Arc<Link>, error: TransportError) -> TransportError {
        // What a login prints before the connection is cut looks like a host without a shell.
        let may_be = matches!(error, TransportError::Lost { .. } | TransportError::Protocol { .. });
        if !may_be || link.is_alive().await {
            return error;
        }
        self.forget(host, link).await;
        TransportError::Lost { host: host.name.to_string(), why: link.last_words() }
    }
}

impl Way for Ssh {
    type Link = Arc<Link>;
    type Held = InUse;

    async fn open<'a>(&'a self, host: &'a Endpoint, purpose: Purpose) -> Result<Trip<'a, Self>, TransportError> {
        let exchange = Exchange::new(host, self.options.become_password.as_ref(), &self.options.programs)?;
        let mut held = self.link(host, purpose).await?;
        let waiting = held.idle(host.become_user).await;
        let reused = waiting.is_some();
        let (held, channel) = match waiting {
            Some(channel) => (held, channel),
            // Apart, as in `link`.
            None => Box::pin(self.shell(&exchange, held, purpose)).await?,
        };
        self.trips.count(host.name.as_str());
        Ok(Trip { exchange, channel: Some(channel), link: Arc::clone(&held.link), held, reused })
    }

    /// What is left of a conversation that went well may carry another.
    async fn close<T: Send>(
        &self,
        trip: Trip<'_, Self>,
        result: Result<T, TransportError>,
    ) -> Result<T, TransportError> {
        let Trip { exchange, channel, link, held, .. } = trip;
        match result {
            Ok(result) => {
                link.ended();
                if let Some(channel) = channel {
                    held.free(exchange.host.become_user, channel);
                }
                Ok(result)
            }
            Err(error) => Err(self.explain(exchange.host, &link, error).await),
        }
    }

    async fn is_lost(&self, host: &Endpoint, link: &Arc<Link>) -> bool {
        let slot = self.slot(host);
        let there = slot.lock().await;
        !matches!(&*there, Some(Ok(there)) if Arc::ptr_eq(there, link))
    }

    fn read_timeout(&self) -> Duration {
        self.options.read_timeout
    }
}

impl Transport for Ssh {
    async fn read(&self, host: &Endpoint, probes: &[Probe]) -> Result<Readings, TransportError> {
        way::read(self, host, probes).await
    }

    async fn perform_then(
        &self,
        host: &Endpoint,
        order: Order<'_>,
        then: Then<'_>,
        watch: &(dyn Fn(StepEvent) + Send + Sync),
    ) -> Result<Performed, TransportError> {
        way::perform(self, host, (order, then), watch).await
    }

    async fn lease(&self, host: &Endpoint, request: &Request) -> Result<LeaseAnswer, TransportError> {
        way::lease(self, host, request).await
    }

    async fn hang_up(&self, host: &Endpoint) {
        let old = self.slot(host).lock().await.take();
        if let Some(Ok(old)) = old {
            old.close().await;
        }
    }

    /// Starts a shell, too, if the host is asked at once. Takes no place from others.
    async fn log_in(&self, host: &Endpoint, asked: Asked) {
        let slot = self.slot(host);
        let mut there = slot.lock().await;
        if there.is_some() {
            return;
        }
        let Some(place) = self.places.spare() else { return };
        let made = self.made(host).await;
        if let Ok(link) = &made {
            let held = InUse::new(link, &self.places, place);
            if asked == Asked::AtOnce
                && let Err(NotStarted::Lost(_)) = self.prepare(host, held).await
            {
                abandon(link).await;
                return;
            }
        }
        *there = Some(made);
    }

    async fn key_exchange(&self, host: &Endpoint) -> Option<String> {
        let slot = self.slot(host);
        let there = slot.lock().await;
        login::algorithm(&there.as_ref()?.as_ref().ok()?.log())
    }

    async fn time_login(&self, host: &Endpoint, exchange: Option<&str>) -> Option<Login> {
        login::time(host, &self.options, exchange).await
    }

    /// Without this, connections end when the last user of this value drops it.
    async fn close(&self) {
        let slots = std::mem::take(&mut *self.slots.lock().unwrap_or_else(PoisonError::into_inner));
        let mut closing = tokio::task::JoinSet::new();
        for slot in slots.into_values() {
            closing.spawn(async move {
                if let Some(Ok(link)) = slot.lock().await.take() {
                    link.leave().await;
                }
            });
        }
        while closing.join_next().await.is_some() {}
        self.directory.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn round_trips(&self, host: &Endpoint) -> usize {
        self.trips.of(host.name.as_str())
    }
}
