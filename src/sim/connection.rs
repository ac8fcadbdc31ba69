//! The fleet as a [`Transport`]: connections that may fail, and time that passes while a step is done or waited for.

use std::time::Duration;

use super::Fleet;
use super::order::Line;
use crate::inventory::Endpoint;
use crate::lease::{self, LeaseAnswer, Request};
use crate::step::{Check, Gate, Health, Heard, Outcome, Probe, Reading, Readings, Step, Wait, WaitStep, health};
use crate::transport::{Order, Performed, StepEvent, Then, Transport, TransportError};

/// For how many seconds a unit is failed before it counts as failed for good.
const CONFIRMED: u32 = 2;

impl Transport for Fleet {
    async fn read(&self, host: &Endpoint, probes: &[Probe]) -> Result<Readings, TransportError> {
        self.connect(host)?;
        let mut state = self.state();
        Ok(probes.iter().map(|probe| (probe.clone(), state.answer(host.name.as_str(), probe))).collect())
    }

    async fn perform_then(
        &self,
        host: &Endpoint,
        order: Order<'_>,
        then: Then<'_>,
        watch: &(dyn Fn(StepEvent) + Send + Sync),
    ) -> Result<Performed, TransportError> {
        let slowness = self.connect(host)?;
        let name = host.name.as_str();
        self.state().admit(name, order.ticket)?;
        // The host itself ends an order, even if nobody is there any more to hear of it.
        let done = self.carry_out(name, order, slowness, watch).await;
        let whole = done.as_ref().is_ok_and(|outcomes| {
            outcomes.len() == order.steps.len() && !matches!(outcomes.last(), Some(Outcome::Failed { .. }))
        });
        self.state().dismiss(name, order.ticket, whole);
        let mut performed = Performed { outcomes: done?, readings: None, released: false };
        if whole && !then.read.is_empty() {
            performed.readings = self.read(host, then.read).await.ok();
        }
        if let Some(id) = then.release.filter(|_| whole) {
            let answer = self.lease(host, &Request::Release { id: id.clone() }).await;
            performed.released = answer == Ok(LeaseAnswer::Free);
        }
        Ok(performed)
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
            let (mut said, mut failed) = (None, 0);
            loop {
                let (now, answer) = self.state().look(host, &check.probe)?;
                let readings = [(check.probe.clone(), answer)].into_iter().collect();
                let trouble = trouble(&health(std::slice::from_ref(check), &readings));
                match wait.hear(check, span(now), trouble.as_deref().map_or(Heard::Holds, Heard::Fails)) {
                    WaitStep::Enough => break,
                    WaitStep::Over(stderr) => return Ok(Outcome::Failed { exit: 1, stderr }),
                    WaitStep::Again(_, why) if failed >= CONFIRMED => {
                        let stderr = format!("a unit has failed for good, so it is not waited for any longer: {why}");
                        return Ok(Outcome::Failed { exit: 1, stderr });
                    }
                    WaitStep::Again(left, _) if said != trouble => {
                        if let Some(why) = &trouble {
                            watch(StepEvent::Waiting { index, why: format!("{why} ({} s left)", left.as_secs()) });
                        }
                        said = trouble;
                    }
                    WaitStep::Again(..) => {}
                }
                failed = if self.has_failed(host, check)? { failed + 1 } else { 0 };
                self.pause().await;
            }
        }
        Ok(Outcome::Done)
    }

    /// Whether a unit that must run for a check has failed for good.
    fn has_failed(&self, host: &str, check: &Check) -> Result<bool, TransportError> {
        for unit in check.watched() {
            let (_, answer) = self.state().look(host, &Probe::Unit(unit.to_owned()))?;
            if matches!(answer, Reading::Unit(unit) if unit.has_failed()) {
                return Ok(true);
            }
        }
        Ok(false)
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
