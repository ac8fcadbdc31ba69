//! A round trip to a host: opened and closed by the way that leads there, and the same for every way in between.

use std::future::Future;
use std::time::Duration;

use super::api::{Order, Performed, StepEvent, Stream, Then};
use super::dialogue::Channel;
use super::error::TransportError;
use super::exchange::{self, Exchange};
use crate::inventory::Endpoint;
use crate::lease::{LeaseAnswer, Request};
use crate::step::{Command, Probe, Readings};

/// What a round trip is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To read or to change; that may take as long as it likes.
    Work,
    /// To take, renew or release a lock; that cannot wait until work is over.
    Lease,
}

/// A round trip that was opened.
pub(super) struct Trip<'a, W: Way> {
    pub(super) exchange: Exchange<'a>,
    /// None once nothing else can go over it.
    pub(super) channel: Option<Channel>,
    /// The connection it goes over.
    pub(super) link: W::Link,
    /// What it keeps from others until it is closed.
    pub(super) held: W::Held,
    /// Whether its shell did something before: it may have ended meanwhile, and nobody has heard of that yet.
    pub(super) reused: bool,
}

/// A way to hosts.
pub(super) trait Way: Sized + Send + Sync + 'static {
    /// What is known of the connection that a round trip goes over.
    type Link: Clone + Send + Sync;

    /// What a round trip keeps from others.
    type Held: Send;

    /// Opens a round trip. Nothing was sent before. It may have to wait for others.
    ///
    /// # Errors
    /// When the host cannot be reached.
    fn open<'a>(
        &'a self,
        host: &'a Endpoint,
        purpose: Purpose,
    ) -> impl Future<Output = Result<Trip<'a, Self>, TransportError>> + Send;

    /// Closes a round trip, whatever came of it, and gives that: an error may be explained by the state of the connection.
    ///
    /// # Errors
    /// Those of the round trip.
    fn close<T: Send>(
        &self,
        trip: Trip<'_, Self>,
        result: Result<T, TransportError>,
    ) -> impl Future<Output = Result<T, TransportError>> + Send;

    /// Whether a connection was lost: what is opened next goes over another.
    fn is_lost(&self, host: &Endpoint, link: &Self::Link) -> impl Future<Output = bool> + Send;

    /// How long one read may take.
    fn read_timeout(&self) -> Duration;
}

/// See [`super::Transport::read`]. What asks changes nothing, so it may be asked again, once, when the connection was lost, or
/// when the host program had served before and has ended since. A host that is slow to answer over a connection that stands is not
/// asked again.
pub(super) async fn read<W: Way>(way: &W, host: &Endpoint, probes: &[Probe]) -> Result<Readings, TransportError> {
    let mut is_second = false;
    loop {
        let mut trip = way.open(host, Purpose::Work).await?;
        let (link, reused) = (trip.link.clone(), trip.reused);
        let result = trip.exchange.read(&mut trip.channel, probes, way.read_timeout()).await;
        let result = way.close(trip, result).await;
        let is_gone =
            reused && matches!(&result, Err(TransportError::Lost { why, .. }) if why == exchange::CLOSED_EARLY);
        if result.is_ok() || is_second || !(is_gone || way.is_lost(host, &link).await) {
            return result;
        }
        is_second = true;
    }
}

/// See [`super::Transport::perform_then`].
pub(super) async fn perform<W: Way>(
    way: &W,
    host: &Endpoint,
    order: (Order<'_>, Then<'_>),
    watch: &(dyn Fn(StepEvent) + Send + Sync),
) -> Result<Performed, TransportError> {
    let mut trip = way.open(host, Purpose::Work).await?;
    let result = trip.exchange.perform(&mut trip.channel, order, way.read_timeout(), watch).await;
    way.close(trip, result).await
}

/// See [`super::Transport::lease`].
pub(super) async fn lease<W: Way>(way: &W, host: &Endpoint, request: &Request) -> Result<LeaseAnswer, TransportError> {
    let mut trip = way.open(host, Purpose::Lease).await?;
    let result = trip.exchange.lease(&mut trip.channel, request, way.read_timeout()).await;
    way.close(trip, result).await
}

/// Runs one program; see [`super::Connections::run`].
pub(super) async fn run<W: Way>(
    way: &W,
    host: &Endpoint,
    command: &Command,
    tell: &(dyn Fn(Stream, &[u8]) + Send + Sync),
) -> Result<i32, TransportError> {
    let mut trip = way.open(host, Purpose::Work).await?;
    let result = trip.exchange.run(&mut trip.channel, command, way.read_timeout(), tell).await;
    way.close(trip, result).await
}
