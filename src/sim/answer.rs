//! What a host of the fleet answers to probes.

use super::perform::look;
use super::state::State;
use super::{Trouble, apt, program, web};
use crate::step::{Command, CommandReading, FitnessReading, HttpReading, PortReading, Probe, Reading};
use crate::transport::TransportError;

impl State {
    pub(super) fn look(&mut self, host: &str, probe: &Probe) -> Result<(i64, Reading), TransportError> {
        match self.machines.get(host) {
            Some(machine) if !machine.off => Ok((self.now, self.answer(host, probe))),
            _ => Err(Self::lost(host, "the host has no power")),
        }
    }

    pub(super) fn answer(&mut self, name: &str, probe: &Probe) -> Reading {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(name) else { return Reading::Failed("no such host".to_owned()) };
        machine.host.now = now;
        let host = &machine.host;
        match probe {
            Probe::Path { path, content } => Reading::Path(host.path(path, content)),
            Probe::Package(package) => Reading::Package(host.package(package)),
            Probe::User(user) => Reading::User(host.user(user)),
            Probe::Membership(user) => Reading::Membership(host.membership(user)),
            Probe::Group(group) => Reading::Group(host.groups.get(group).copied()),
            Probe::Unit(unit) => Reading::Unit(host.unit(unit)),
            Probe::Command(command) => Reading::Command(self.command(name, command)),
            Probe::Port { address, port, .. } => Reading::Port(self.port(name, address, *port)),
            Probe::Http(request) => Reading::Http(self.http(name, &request.url)),
            Probe::AccountUse(user) => Reading::AccountUse(program::usage(host, user)),
            Probe::Removal(package) => Reading::Removal(apt::rehearse(host, package)),
            // Every host has whatever is needed.
            Probe::Fitness(programs) => Reading::Fitness(FitnessReading {
                user: "root".to_owned(),
                programs: programs.clone(),
                clock: now,
                ..FitnessReading::default()
            }),
            Probe::State => Reading::State(Box::new(machine.state(name))),
        }
    }

    fn command(&self, name: &str, command: &Command) -> CommandReading {
        let mode = self.mode(name);
        let result = match self.machines.get(name) {
            Some(machine) => look(&machine.host, command, mode.as_deref()),
            None => Err(Trouble::new(127, "no such host")),
        };
        match result {
            Ok(stdout) => CommandReading { exit: 0, stdout: stdout.into_bytes(), stderr: Vec::new() },
            Err(trouble) => {
                CommandReading { exit: trouble.exit, stdout: Vec::new(), stderr: trouble.stderr.into_bytes() }
            }
        }
    }

    fn http(&self, name: &str, url: &str) -> Result<HttpReading, String> {
        let place = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let (address, port) = place.rsplit_once(':').unwrap_or((place, "80"));
        match self.port(name, address, port.parse().unwrap_or_default()) {
            PortReading::Open => Ok(web::answer(url)),
            PortReading::Closed => Err("connection refused".to_owned()),
        }
    }
}
