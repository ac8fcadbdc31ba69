//! Hosts, each by the way its endpoint names.
//!
//! In: endpoints. Out: what [`Ssh`] or [`Local`] answers. Never: a third way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::api::{Asked, Login, Order, Performed, StepEvent, Stream, Then, Transport};
use super::back;
use super::error::TransportError;
use super::local::Local;
use super::ssh::{Ssh, SshOptions};
use super::way;
use crate::inventory::{Endpoint, Method};
use crate::lease::{LeaseAnswer, Request};
use crate::step::{Command, Probe, Readings};

/// All connections of a run, shared by everything that reads and everything that changes.
#[derive(Debug)]
pub struct Connections {
    ssh: Ssh,
    local: Local,
}

impl Connections {
    /// Connects to nothing yet.
    pub fn new(options: SshOptions) -> Self {
        let local = Local::new(options.become_password.clone(), options.programs.clone(), options.read_timeout);
        Self { ssh: Ssh::new(options), local }
    }

    /// How many connections this host has cost so far. This machine costs none.
    pub fn connects(&self, host: &Endpoint) -> usize {
        self.ssh.connects(host)
    }

    /// How many round trips each host has cost so far, by name.
    pub fn all_round_trips(&self) -> BTreeMap<String, usize> {
        let mut trips = self.ssh.all_round_trips();
        trips.extend(self.local.all_round_trips());
        trips
    }

    /// Runs one program outside of any plan; tells what it says as it says it, and gives its exit code (124 if it ran
    /// out of time, 127 if there is no such program). If the future is dropped, or this program or the connection ends,
    /// the host ends the program and all it started within a few seconds.
    ///
    /// # Errors
    /// When the host cannot be reached, or the connection is lost: how it ended is not known then.
    pub async fn run(
        &self,
        host: &Endpoint,
        command: &Command,
        tell: &(dyn Fn(Stream, &[u8]) + Send + Sync),
    ) -> Result<i32, TransportError> {
        match host.method {
            Method::Ssh => way::run(&self.ssh, host, command, tell).await,
            Method::Local => way::run(&self.local, host, command, tell).await,
        }
    }

    /// Waits until a host that was lost (it boots, or its cable is out) answers over a new connection, and gives the id
    /// of the boot it is in: another one than before means that it booted. `tell` hears what is waited for.
    ///
    /// # Errors
    /// What the host, or the way to it, said last when the time was over; at once, when its key is not the known one.
    pub async fn await_back(
        &self,
        host: &Endpoint,
        limit: Duration,
        tell: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<String, TransportError> {
        self.hang_up(host).await;
        back::wait(self, host, limit, tell).await
    }
}

impl Transport for Connections {
    async fn read(&self, host: &Endpoint, probes: &[Probe]) -> Result<Readings, TransportError> {
        match host.method {
            Method::Ssh => self.ssh.read(host, probes).await,
            Method::Local => self.local.read(host, probes).await,
        }
    }

    async fn perform_then(
        &self,
        host: &Endpoint,
        order: Order<'_>,
        then: Then<'_>,
        watch: &(dyn Fn(StepEvent) + Send + Sync),
    ) -> Result<Performed, TransportError> {
        match host.method {
            Method::Ssh => self.ssh.perform_then(host, order, then, watch).await,
            Method::Local => self.local.perform_then(host, order, then, watch).await,
        }
    }

    async fn lease(&self, host: &Endpoint, request: &Request) -> Result<LeaseAnswer, TransportError> {
        match host.method {
            Method::Ssh => self.ssh.lease(host, request).await,
            Method::Local => self.local.lease(host, request).await,
        }
    }

    async fn hang_up(&self, host: &Endpoint) {
        match host.method {
            Method::Ssh => self.ssh.hang_up(host).await,
            Method::Local => self.local.hang_up(host).await,
        }
    }

    async fn log_in(&self, host: &Endpoint, asked: Asked) {
        match host.method {
            Method::Ssh => self.ssh.log_in(host, asked).await,
            Method::Local => self.local.log_in(host, asked).await,
        }
    }

    async fn key_exchange(&self, host: &Endpoint) -> Option<String> {
        match host.method {
            Method::Ssh => self.ssh.key_exchange(host).await,
            Method::Local => self.local.key_exchange(host).await,
        }
    }

    async fn time_login(&self, host: &Endpoint, exchange: Option<&str>) -> Option<Login> {
        match host.method {
            Method::Ssh => self.ssh.time_login(host, exchange).await,
            Method::Local => self.local.time_login(host, exchange).await,
        }
    }

    async fn close(&self) {
        self.ssh.close().await;
        self.local.close().await;
    }

    fn round_trips(&self, host: &Endpoint) -> usize {
        match host.method {
            Method::Ssh => self.ssh.round_trips(host),
            Method::Local => self.local.round_trips(host),
        }
    }
}
