//! This machine as a host.
//!
//! In: probes and steps. Out: readings and outcomes, by the same program as over SSH.
//! Never: a shortcut that SSH does not have; what works here works there.

use std::process::Stdio;
use std::time::Duration;

use super::api::{Order, Performed, StepEvent, Then, Transport};
use super::bootstrap;
use super::dialogue::Channel;
use super::error::TransportError;
use super::exchange::Exchange;
use super::programs::Programs;
use super::round_trips::RoundTrips;
use super::shortage::shortage;
use super::way::{self, Purpose, Trip, Way};
use crate::inventory::Endpoint;
use crate::lease::{LeaseAnswer, Request};
use crate::secret::Secret;
use crate::step::{Probe, Readings};

/// Works on this machine.
#[derive(Debug)]
pub struct Local {
    become_password: Option<Secret<String>>,
    programs: Programs,
    read_timeout: Duration,
    trips: RoundTrips,
}

impl Local {
    /// With the password sudo may ask for, what the host program may be, and the time one read may take.
    pub fn new(become_password: Option<Secret<String>>, programs: Programs, read_timeout: Duration) -> Self {
        Self { become_password, programs, read_timeout, trips: RoundTrips::default() }
    }

    /// How many round trips each host has cost so far, by name.
    pub(super) fn all_round_trips(&self) -> std::collections::BTreeMap<String, usize> {
        self.trips.all()
    }
}

/// In a process group of its own: an interrupt at the terminal is for us, and does not end a step half-way.
fn start(words: &[&str], token: &str) -> std::io::Result<Channel> {
    let mut child = tokio::process::Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let missing = || std::io::Error::other("a pipe is missing");
    Ok(Channel {
        stdin: Box::pin(child.stdin.take().ok_or_else(missing)?),
        stdout: Box::pin(child.stdout.take().ok_or_else(missing)?),
        stderr: Box::pin(child.stderr.take().ok_or_else(missing)?),
        keep: Box::new(child),
        token: token.to_owned(),
        is_used: false,
    })
}

impl Way for Local {
    type Link = ();
    type Held = ();

    async fn open<'a>(&'a self, host: &'a Endpoint, _: Purpose) -> Result<Trip<'a, Self>, TransportError> {
        let exchange = Exchange::new(host, self.become_password.as_ref(), &self.programs)?;
        let (digests, token) = (exchange.digests()?, exchange.token()?);
        let words = bootstrap::words(host.become_user, exchange.password(), &digests, &token);
        let channel = start(&words, &token).map_err(|error| TransportError::Local {
            host: host.name.to_string(),
            why: shortage(&error).unwrap_or_else(|| format!("{} cannot be started: {error}", words[0])),
        })?;
        self.trips.count(host.name.as_str());
        Ok(Trip { exchange, channel: Some(channel), link: (), held: (), reused: false })
    }

    async fn close<T: Send>(&self, _: Trip<'_, Self>, result: Result<T, TransportError>) -> Result<T, TransportError> {
        result
    }

    /// There is none to lose.
    async fn is_lost(&self, _: &Endpoint, (): &()) -> bool {
        false
    }

    fn read_timeout(&self) -> Duration {
        self.read_timeout
    }
}

impl Transport for Local {
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

    fn round_trips(&self, host: &Endpoint) -> usize {
        self.trips.of(host.name.as_str())
    }
}
