//! The hosts together: what one can see of another, the clock, and the faults.
//!
//! In: probes and steps by way of [`Transport`], faults and drift by way of tests. Out: answers, outcomes, and a log of
//! every step. Never: two steps at one instant; the clock moves with every step.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::deadman::Guards;
use super::units::{Definition, at_boot};
use super::{Drift, Fault, Host, Trouble, declared, program, undo, web};
use crate::inventory::Endpoint;
use crate::lease::{self, Desk, LeaseAnswer, OrderPart, Request, Ticket};
use crate::name::{HostName, Owner, RoleName};
use crate::plan::{Wait, WaitStep};
use crate::step::{
    Alternative, Command, CommandReading, Gate, Health, HttpReading, Outcome, PortReading, Probe, Reading, Readings,
    Record, StateReading, Step, health,
};
use crate::transport::{Order, StepEvent, Transport, TransportError};

/// Hosts in memory. Everything of them is behind one lock, so that tests can look at any time.
#[derive(Debug)]
pub struct Fleet(Mutex<State>);

/// A step that was done, or tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Did {
    /// On which host.
    pub host: String,
    /// What.
    pub step: Step,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended, by the clock of the fleet.
    pub at: i64,
}

#[derive(Debug, Default)]
struct State {
    machines: BTreeMap<String, Machine>,
    now: i64,
    /// Seconds that a step takes.
    pace: i64,
    /// After so many more steps, in all of the fleet, every connection ends.
    left: Option<usize>,
    log: Vec<Did>,
}

#[derive(Debug, Default)]
struct Machine {
    host: Host,
    off: bool,
    unreachable: bool,
    /// How often others come first while it does a step.
    slowness: usize,
    faults: BTreeMap<usize, Fault>,
    steps: usize,
    trips: usize,
    /// The lease it gave.
    desk: Desk,
    /// Whether it is carrying out an order.
    busy: bool,
    boots: u32,
    /// What it undoes by itself. It outlives a loss of power.
    guards: Guards,
    /// What it keeps for armilla. It outlives a loss of power: it was flushed to disk.
    kept: BTreeMap<Owner, Kept>,
}

/// What a host keeps for an owner.
#[derive(Debug, Default)]
struct Kept {
    ledger: Option<Vec<u8>>,
    journal: Vec<u8>,
}

/// A day in 2023, so that times look like times.
const BEGINNING: i64 = 1_700_000_000;

/// What the journal says of one step.
struct Line<'a> {
    ticket: &'a Ticket,
    number: usize,
    /// Whether the step that the journal counts begins with this one.
    begins: bool,
    /// Whether it ends with it.
    ends: bool,
}

impl<'a> Line<'a> {
    fn of(order: &Order<'a>, index: usize) -> Option<Self> {
        let ticket = order.ticket.filter(|ticket| ticket.intent.is_some())?;
        Some(match ticket.part {
            OrderPart::Rest | OrderPart::Piece => {
                Self { ticket, number: ticket.first + index, begins: true, ends: true }
            }
            OrderPart::One | OrderPart::LastOne => {
                Self { ticket, number: ticket.first, begins: index == 0, ends: index + 1 == order.steps.len() }
            }
        })
    }
}

impl Default for Fleet {
    fn default() -> Self {
        Self(Mutex::new(State { now: BEGINNING, pace: 1, ..State::default() }))
    }
}

impl Fleet {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a host, or puts another in its place.
    pub fn add(&self, name: &str, host: Host) {
        self.state().machines.insert(name.to_owned(), Machine { host, ..Machine::default() });
    }

    /// Looks at a host, or changes it by hand. None if there is no such host.
    pub fn on<T>(&self, name: &str, what: impl FnOnce(&mut Host) -> T) -> Option<T> {
        let mut state = self.state();
        let now = state.now;
        let machine = state.machines.get_mut(name)?;
        machine.host.now = now;
        Some(what(&mut machine.host))
    }

    /// Changes a host behind our back; the clock moves on by a minute.
    pub fn drift(&self, name: &str, drift: &Drift) {
        self.state().now += 60;
        self.on(name, |host| drift.happen(host));
        self.state().now += 60;
    }

    /// The names of all hosts.
    pub fn names(&self) -> Vec<String> {
        self.state().machines.keys().cloned().collect()
    }

    /// Lets the clock move on.
    pub fn wait(&self, seconds: i64) {
        self.state().now += seconds;
    }

    /// Sets how many seconds a step takes.
    pub fn pace(&self, seconds: i64) {
        self.state().pace = seconds;
    }

    /// Lets something happen at the host's step of this number, counting from 0 and from now on.
    pub fn fault(&self, name: &str, step: usize, fault: Fault) {
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.faults.insert(machine.steps + step, fault);
        }
    }

    /// Lets every connection end after so many more steps of all hosts together: as if armilla were killed. None: no more.
    pub fn cut(&self, steps: Option<usize>) {
        self.state().left = steps;
    }

    /// Takes all faults back.
    pub fn heal(&self) {
        let mut state = self.state();
        state.left = None;
        for machine in state.machines.values_mut() {
            machine.faults.clear();
            machine.unreachable = false;
        }
    }

    /// Makes a host unreachable, or reachable again.
    pub fn unreachable(&self, name: &str, unreachable: bool) {
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.unreachable = unreachable;
        }
    }

    /// Lets others come first so many times while the host does one step.
    pub fn slow(&self, name: &str, slowness: usize) {
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.slowness = slowness;
        }
    }

    /// Takes a host's power.
    pub fn power_off(&self, name: &str) {
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.lose_power();
        }
    }

    /// Gives a host its power again: units that are enabled start.
    pub fn boot(&self, name: &str) {
        let mut state = self.state();
        state.now += 60;
        let now = state.now;
        let Some(machine) = state.machines.get_mut(name).filter(|machine| machine.off) else { return };
        machine.off = false;
        machine.boots += 1;
        machine.host.now = now;
        machine.host.units.reload_all(&machine.host.paths);
        machine.wake();
        for unit in at_boot(&machine.host.paths) {
            // What does not start at boot is found by the next plan.
            let _ = machine.host.start(&unit);
        }
    }

    /// Forgets everything a host keeps for armilla.
    pub fn lose_state(&self, name: &str) {
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.kept.clear();
            machine.host.kept.clear();
        }
    }

    /// What a host keeps for an owner: its ledger, and its journal.
    pub fn kept(&self, name: &str, owner: &Owner) -> Option<(Option<Vec<u8>>, Vec<u8>)> {
        let state = self.state();
        let kept = state.machines.get(name)?.kept.get(owner)?;
        Some((kept.ledger.clone(), kept.journal.clone()))
    }

    /// Puts this text in the place of a host's ledger.
    pub fn write_ledger(&self, name: &str, owner: &Owner, text: &[u8]) {
        if let Some(machine) = self.state().machines.get_mut(name) {
            machine.kept.entry(owner.clone()).or_default().ledger = Some(text.to_vec());
        }
    }

    /// Whether a host has no power.
    pub fn is_off(&self, name: &str) -> bool {
        self.state().machines.get(name).is_some_and(|machine| machine.off)
    }

    /// Every step that was done or tried, in order.
    pub fn log(&self) -> Vec<Did> {
        self.state().log.clone()
    }

    /// Forgets the log.
    pub fn forget(&self) {
        self.state().log.clear();
    }

    fn connect(&self, host: &Endpoint) -> Result<usize, TransportError> {
        let mut state = self.state();
        let now = state.now;
        let unreachable = |why: &str| TransportError::Unreachable { host: host.name.to_string(), why: why.to_owned() };
        if state.left == Some(0) {
            return Err(unreachable("we are dead"));
        }
        let machine = state.machines.get_mut(host.name.as_str()).ok_or_else(|| unreachable("no such host"))?;
        machine.trips += 1;
        if machine.off || machine.unreachable {
            return Err(unreachable("No route to host"));
        }
        machine.watch_over(now);
        Ok(machine.slowness)
    }
}

impl Transport for Fleet {
    async fn read(&self, host: &Endpoint, probes: &[Probe]) -> Result<Readings, TransportError> {
        self.connect(host)?;
        let mut state = self.state();
        Ok(probes.iter().map(|probe| (probe.clone(), state.answer(host.name.as_str(), probe))).collect())
    }

    async fn perform(
        &self,
        host: &Endpoint,
        order: Order<'_>,
        watch: &(dyn Fn(StepEvent) + Send + Sync),
    ) -> Result<Vec<Outcome>, TransportError> {
        let slowness = self.connect(host)?;
        let name = host.name.as_str();
        self.state().admit(name, order.ticket)?;
        // The host itself ends an order, even if nobody is there any more to hear of it.
        let done = self.carry_out(name, order, slowness, watch).await;
        let whole = done.as_ref().is_ok_and(|outcomes| {
            outcomes.len() == order.steps.len() && !matches!(outcomes.last(), Some(Outcome::Failed { .. }))
        });
        self.state().dismiss(name, order.ticket, whole);
        done
    }

    async fn lease(&self, host: &Endpoint, request: &Request) -> Result<LeaseAnswer, TransportError> {
        self.connect(host)?;
        let mut state = self.state();
        let uptime = u64::try_from(state.now).unwrap_or_default();
        let Some(machine) = state.machines.get_mut(host.name.as_str()) else { return Ok(LeaseAnswer::Free) };
        let boot = machine.boot();
        Ok(lease::grant(&mut machine.desk, request, lease::Now { boot: &boot, uptime, busy: machine.busy }))
    }

    fn round_trips(&self, host: &Endpoint) -> usize {
        self.state().machines.get(host.name.as_str()).map_or(0, |machine| machine.trips)
    }
}

impl Fleet {
    async fn carry_out(
        &self,
        host: &str,
        order: Order<'_>,
        slowness: usize,
        watch: &(dyn Fn(StepEvent) + Send + Sync),
    ) -> Result<Vec<Outcome>, TransportError> {
        let mut outcomes = Vec::new();
        for (index, step) in order.steps.iter().enumerate() {
            watch(StepEvent::Started { index });
            for _ in 0..slowness {
                tokio::task::yield_now().await;
            }
            let begun = self.state().now;
            let outcome = match step {
                Step::Await(gate) => self.gate(host, gate, index, watch).await?,
                step => self.state().perform(host, step, Line::of(&order, index).as_ref())?,
            };
            let took = Duration::from_secs(u64::try_from(self.state().now - begun).unwrap_or_default());
            outcomes.push(outcome.clone());
            let failed = matches!(outcome, Outcome::Failed { .. });
            watch(StepEvent::Ended { index, outcome, took });
            if failed {
                break;
            }
            tokio::task::yield_now().await;
        }
        Ok(outcomes)
    }

    /// Looks every second until each check holds for long enough, one after the other.
    async fn gate(
        &self,
        host: &str,
        gate: &Gate,
        index: usize,
        watch: &(dyn Fn(StepEvent) + Send + Sync),
    ) -> Result<Outcome, TransportError> {
        self.state().begin(host)?;
        for check in &gate.checks {
            let mut wait = Wait::begin(span(self.state().now));
            let mut said = None;
            loop {
                let (now, answer) = self.state().look(host, &check.probe)?;
                let readings = [(check.probe.clone(), answer)].into_iter().collect();
                let trouble = trouble(&health(std::slice::from_ref(check), &readings));
                match wait.hear(check, span(now), trouble.as_deref()) {
                    WaitStep::Enough => break,
                    WaitStep::Over(stderr) => return Ok(Outcome::Failed { exit: 1, stderr }),
                    WaitStep::Again(left) if said != trouble => {
                        if let Some(why) = &trouble {
                            watch(StepEvent::Waiting { index, why: format!("{why} ({} s left)", left.as_secs()) });
                        }
                        said = trouble;
                    }
                    WaitStep::Again(_) => {}
                }
                self.pause().await;
            }
        }
        Ok(Outcome::Done)
    }

    async fn pause(&self) {
        self.wait(1);
        tokio::task::yield_now().await;
    }
}

/// A moment of the fleet's clock.
fn span(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

fn trouble(health: &Health) -> Option<String> {
    match health {
        Health::Healthy => None,
        Health::Unhealthy(why) | Health::Unknown(why) => Some(why.clone()),
    }
}

impl Machine {
    /// Its boot id.
    fn boot(&self) -> String {
        format!("boot-{}", self.boots)
    }

    /// Writes a line into the journal.
    fn note(&mut self, ticket: &Ticket, line: &str) {
        self.write(&ticket.owner, line);
    }

    fn write(&mut self, owner: &Owner, line: &str) {
        let journal = &mut self.kept.entry(owner.clone()).or_default().journal;
        journal.extend_from_slice(line.as_bytes());
        journal.push(b'\n');
    }

    fn save(&mut self, owner: &Owner, ledger: Option<&[u8]>, worked_in: u64) {
        let kept = self.kept.entry(owner.clone()).or_default();
        kept.ledger = ledger.map(<[u8]>::to_vec);
        let worked_in = usize::try_from(worked_in).unwrap_or(usize::MAX).min(kept.journal.len());
        kept.journal.drain(..worked_in);
    }

    fn state(&self, name: &str) -> StateReading {
        let record = |kept: &Kept| Record {
            ledger: kept.ledger.clone(),
            journal: Some(kept.journal.clone()).filter(|journal| !journal.is_empty()),
        };
        let host = HostName::new(name).ok();
        let records = self.kept.iter().filter_map(|(owner, kept)| Some(((owner.clone(), host.clone()?), record(kept))));
        StateReading {
            machine: format!("machine-{name}"),
            boot: self.boot(),
            records: records.filter(|(_, record)| *record != Record::default()).collect(),
        }
    }

    /// Gives an owner what is kept for the same environment of no project.
    fn adopt(&mut self, owner: &Owner) {
        if let Some(kept) = self.kept.remove(&owner.without_project()) {
            self.kept.insert(owner.clone(), kept);
        }
        self.host.adopt(owner);
    }

    /// Does a step about what it undoes by itself.
    fn guard(&mut self, step: &Step, now: i64) -> Outcome {
        let (outcome, due) = self.guards.perform(step, now);
        if let Some((owner, name)) = &due {
            self.put_back(owner, name);
        }
        outcome
    }

    /// Puts back what is due, unless an order is being carried out.
    fn watch_over(&mut self, now: i64) {
        let due = if self.busy { Vec::new() } else { self.guards.due(now) };
        for (owner, name) in &due {
            self.put_back(owner, name);
        }
    }

    /// Puts back all that is armed: it has booted.
    fn wake(&mut self) {
        self.watch_over(i64::MAX);
    }

    fn put_back(&mut self, owner: &Owner, name: &RoleName) {
        let key = (owner.clone(), name.to_string());
        if !undo::is_done(&self.host, &key) && undo::undo(&mut self.host, &key).is_ok() {
            self.write(owner, &format!("undone {name}"));
        }
    }

    fn lose_power(&mut self) {
        self.off = true;
        self.busy = false;
        self.host.units.lose_power();
    }
}

impl State {
    fn lost(host: &str, why: &str) -> TransportError {
        TransportError::Lost { host: host.to_owned(), why: why.to_owned() }
    }

    /// A step begins: it counts, and faults strike. Gives what strikes after it.
    fn begin(&mut self, host: &str) -> Result<Option<Fault>, TransportError> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or_else(|| Self::lost(host, "we are dead"))?;
        }
        let machine = self.machines.get_mut(host).ok_or_else(|| Self::lost(host, "no such host"))?;
        let number = machine.steps;
        machine.steps += 1;
        let fault = machine.faults.remove(&number);
        if fault == Some(Fault::PowerLossBefore) {
            machine.lose_power();
        }
        match fault {
            _ if machine.off => Err(Self::lost(host, "the host has no power")),
            Some(Fault::CutBefore) => Err(Self::lost(host, "Connection reset by peer")),
            other => Ok(other),
        }
    }

    /// Lets an order in: its lease is the one that was given, and what it is about to do is written down.
    fn admit(&mut self, host: &str, ticket: Option<&Ticket>) -> Result<(), TransportError> {
        let Some(machine) = self.machines.get_mut(host) else { return Err(Self::lost(host, "no such host")) };
        let Some(ticket) = ticket else { return Ok(()) };
        let held = machine.desk.lease.as_ref();
        if machine.busy || !held.is_some_and(|lease| lease.id == ticket.id && lease.fence == ticket.fence) {
            let why = held.map_or_else(
                || "the lease has ended".to_owned(),
                |lease| format!("the lease is that of {}", lease.holder.who),
            );
            return Err(TransportError::Fenced { host: host.to_owned(), why });
        }
        machine.busy = true;
        if let Some(intent) = ticket.intent.as_ref().filter(|_| ticket.first == 0) {
            let line = format!("stage {} {intent}", machine.boot());
            machine.note(ticket, &line);
        }
        Ok(())
    }

    /// Ends an order; after the last one of a stage that did all of it, the stage is over.
    fn dismiss(&mut self, host: &str, ticket: Option<&Ticket>, whole: bool) {
        let (Some(machine), Some(ticket)) = (self.machines.get_mut(host), ticket) else { return };
        machine.busy = false;
        if whole && ticket.intent.is_some() && matches!(ticket.part, OrderPart::Rest | OrderPart::LastOne) {
            machine.note(ticket, "over");
        }
    }

    fn perform(&mut self, host: &str, step: &Step, line: Option<&Line<'_>>) -> Result<Outcome, TransportError> {
        let fault = self.begin(host)?;
        self.now += self.pace;
        let now = self.now;
        let mode = self.mode(host);
        let Some(machine) = self.machines.get_mut(host) else { return Err(Self::lost(host, "no such host")) };
        machine.host.now = now;
        if let Some(line) = line.filter(|line| line.begins) {
            machine.note(line.ticket, &format!("begin {}", line.number));
        }
        let outcome = match (fault, step) {
            (Some(Fault::Fails), _) => Outcome::Failed { exit: 1, stderr: "it was made to fail".to_owned() },
            // Killed while it runs: whether it was done, the host itself does not know.
            (Some(Fault::PowerLossIn), _) => {
                machine.lose_power();
                return Err(Self::lost(host, "the host has no power"));
            }
            (_, Step::Arm { .. } | Step::Extend { .. } | Step::Disarm { .. } | Step::GiveUp { .. }) => {
                machine.guard(step, now)
            }
            (_, Step::SaveLedger { owner, ledger, journal }) => {
                machine.save(owner, ledger.as_deref(), *journal);
                Outcome::Done
            }
            (_, Step::AdoptLedger { owner }) => {
                machine.adopt(owner);
                Outcome::Done
            }
            _ => perform(&mut machine.host, step, mode.as_deref()),
        };
        if let (Step::Undo { owner, name }, Outcome::Done) = (step, &outcome) {
            machine.write(owner, &format!("undone {name}"));
        }
        // A host that loses its power at the end of a step may have done it and not have written it down.
        if let Some(line) = line.filter(|_| fault != Some(Fault::PowerLossAfter)) {
            match &outcome {
                Outcome::Failed { exit, .. } => machine.note(line.ticket, &format!("failed {} {exit}", line.number)),
                _ if line.ends => machine.note(line.ticket, &format!("done {}", line.number)),
                _ => {}
            }
        }
        // What armilla writes down for itself changes nothing of the host.
        if !matches!(step, Step::SaveLedger { .. } | Step::AdoptLedger { .. }) {
            self.log.push(Did { host: host.to_owned(), step: step.clone(), outcome: outcome.clone(), at: now });
        }
        if fault == Some(Fault::PowerLossAfter) {
            machine.lose_power();
            return Err(Self::lost(host, "the host has no power"));
        }
        if fault == Some(Fault::CutAfter) {
            return Err(Self::lost(host, "Connection reset by peer"));
        }
        Ok(outcome)
    }

    fn look(&mut self, host: &str, probe: &Probe) -> Result<(i64, Reading), TransportError> {
        match self.machines.get(host) {
            Some(machine) if !machine.off => Ok((self.now, self.answer(host, probe))),
            _ => Err(Self::lost(host, "the host has no power")),
        }
    }

    fn answer(&mut self, name: &str, probe: &Probe) -> Reading {
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

    fn port(&self, from: &str, address: &str, port: u16) -> PortReading {
        let here = ["127.0.0.1", "localhost"].contains(&address);
        let name = if here { from } else { address };
        let open = self.machines.get(name).filter(|machine| !machine.off).is_some_and(|machine| {
            let listens =
                |(unit, definition): (&String, &Definition)| definition.port == Some(port) && self.works(name, unit);
            machine.host.units.iter().map(|(unit, known)| (unit, &known.definition)).any(listens)
        });
        if open { PortReading::Open } else { PortReading::Closed }
    }

    /// Whether a unit runs on a host, has run for long enough, and has enough others with it.
    fn works(&self, name: &str, unit: &str) -> bool {
        let known = self.machines.get(name).and_then(|machine| machine.host.units.get(unit));
        known.is_some_and(|known| {
            let warm = known.since.is_some_and(|since| self.now - since >= known.definition.warm);
            let (_, age) = known.restarts(self.now);
            age.is_some() && warm && (!known.definition.quorum || self.has_quorum(unit))
        })
    }

    fn has_quorum(&self, unit: &str) -> bool {
        let members: Vec<&Machine> =
            self.machines.values().filter(|machine| Definition::read(unit, &machine.host.paths).is_some()).collect();
        let running = members.iter().filter(|machine| !machine.off && machine.host.units.is_active(unit)).count();
        running * 2 > members.len()
    }

    /// What `zookeeper-mode` says: the first running host is the leader.
    fn mode(&self, name: &str) -> Option<String> {
        let unit = "zookeeper.service";
        let running = |machine: &Machine| !machine.off && machine.host.units.is_active(unit);
        if !self.machines.get(name).is_some_and(running) || !self.has_quorum(unit) {
            return None;
        }
        let leader = self.machines.iter().find(|(_, machine)| running(machine)).map(|(name, _)| name.as_str());
        Some(if leader == Some(name) { "leader" } else { "follower" }.to_owned())
    }
}

/// A program that only looks.
fn look(host: &Host, command: &Command, mode: Option<&str>) -> Result<String, Trouble> {
    match (command.argv.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), mode) {
        (["zookeeper-mode"], Some(mode)) => Ok(format!("{mode}\n")),
        (["zookeeper-mode"], None) => Err(Trouble::new(1, "not serving")),
        _ => program::look(host, command),
    }
}

/// Runs the command; after the exit status that an alternative is for, the alternative, and so on.
fn run_or(host: &mut Host, command: &Command, alternatives: &[Alternative]) -> Result<String, Trouble> {
    let mut done = declared::run(host, command);
    for alternative in alternatives {
        match done {
            Err(trouble) if trouble.exit == alternative.after => done = declared::run(host, &alternative.command),
            done => return done,
        }
    }
    done
}

fn perform(host: &mut Host, step: &Step, mode: Option<&str>) -> Outcome {
    let done = match step {
        Step::WriteFile { path, content, ownership } => host.write(path, content.bytes(), ownership),
        Step::Unchanged { path, digest } => host.unchanged(path, digest.as_ref()),
        Step::EditFile { .. } => Err(Trouble::new(127, "a file must be read before a part of it can be changed")),
        Step::MakeDirectory { path, ownership } => host.make_directory(path, ownership),
        Step::MakeLink { path, target } => host.link(path, target),
        Step::SetOwnership { path, ownership } => host.set_ownership(path, ownership),
        Step::Remove { path, what } => host.remove(path, *what),
        Step::KeepCopy { path, .. } => {
            host.keep_copy(path);
            Ok(())
        }
        Step::DropCopies { owner } => {
            host.drop_copies(owner);
            Ok(())
        }
        Step::Download { path, remote, ownership } => web::download(host, path, remote, ownership),
        Step::Unpack(unpacking) => web::unpack(host, unpacking),
        Step::RemoveUnpacked { path } => web::remove(host, path),
        Step::RefreshPackages => {
            host.lists = Some(host.now);
            Ok(())
        }
        Step::RemovePackages(removal) => match super::apt::remove_all(host, removal) {
            Ok(false) => return Outcome::NotNeeded,
            done => done.map(drop),
        },
        Step::Run(command) => declared::run(host, command).map(drop),
        Step::RunUnless(command, guard) => match look(host, guard, mode) {
            Ok(_) => return Outcome::NotNeeded,
            Err(_) => declared::run(host, command).map(drop),
        },
        Step::RunOr(command, alternatives) => run_or(host, command, alternatives).map(drop),
        Step::Await(_) => Err(Trouble::new(127, "a gate is no step of a single host")),
        Step::SaveLedger { .. }
        | Step::AdoptLedger { .. }
        | Step::Arm { .. }
        | Step::Extend { .. }
        | Step::Disarm { .. }
        | Step::GiveUp { .. } => Ok(()),
        Step::Snapshot(snapshot) => undo::snapshot(host, snapshot),
        Step::Commit { owner, name } => undo::commit(host, &(owner.clone(), name.clone())),
        Step::Undo { owner, name } => {
            let key = (owner.clone(), name.clone());
            if undo::is_done(host, &key) {
                return Outcome::NotNeeded;
            }
            undo::undo(host, &key)
        }
    };
    match done {
        Ok(()) => Outcome::Done,
        Err(trouble) => Outcome::Failed { exit: trouble.exit, stderr: trouble.stderr },
    }
}
