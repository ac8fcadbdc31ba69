//! Where a run is: what is being done, since when, and what waits.
//!
//! In: a plan, events, and how long the run lasts. Out: counts and sentences about them. Never: a clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::failure::subject;
use super::{rollout, words};
use crate::apply::{End, Event};
use crate::name::{HostName, ServiceName};
use crate::plan::{Plan, StageId, Work};
use crate::rollout::Hold;

/// A run on its way.
pub(super) struct RunState {
    pub(super) plan: Arc<Plan>,
    /// How long the run lasts, as it was last told.
    pub(super) now: Duration,
    /// What rollouts wait for.
    holds: BTreeMap<ServiceName, Hold>,
    running: BTreeMap<StageId, Running>,
    /// Stages of each host that are not over.
    left: BTreeMap<HostName, usize>,
    all: usize,
    over: usize,
    failed: usize,
    skipped: usize,
}

struct Running {
    since: Duration,
    step: Option<usize>,
    waiting: Option<String>,
}

impl RunState {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        let mut left: BTreeMap<HostName, usize> = BTreeMap::new();
        for host in plan.stages.iter().filter_map(|stage| stage.work.host()) {
            *left.entry(host.clone()).or_default() += 1;
        }
        let all = left.values().sum();
        Self {
            plan,
            now: Duration::ZERO,
            holds: BTreeMap::new(),
            running: BTreeMap::new(),
            left,
            all,
            over: 0,
            failed: 0,
            skipped: 0,
        }
    }

    pub(super) fn work(&self, stage: StageId) -> Option<&Work> {
        self.plan.stages.get(stage).map(|stage| &stage.work)
    }

    /// Notes what happened.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::StageStarted(stage) => {
                self.running.insert(*stage, Running { since: self.now, step: None, waiting: None });
            }
            Event::StepStarted { stage, step } => {
                if let Some(running) = self.running.get_mut(stage) {
                    (running.step, running.since, running.waiting) = (Some(*step), self.now, None);
                }
            }
            Event::Waiting { stage, why } => {
                if let Some(running) = self.running.get_mut(stage) {
                    running.waiting = Some(why.clone());
                }
            }
            Event::StageEnded { stage, end, .. } => self.ended(*stage, end),
            Event::Holding { service, hold } => drop(self.holds.insert(service.clone(), hold.clone())),
            Event::Turn { service, .. } | Event::Halted { service, .. } => drop(self.holds.remove(service)),
            Event::StepEnded { .. } | Event::Stopping | Event::RollingBack { .. } | Event::RolledBack { .. } => {}
        }
    }

    fn ended(&mut self, stage: StageId, end: &End) {
        self.running.remove(&stage);
        let Some(host) = self.work(stage).and_then(Work::host).cloned() else { return };
        if let Some(left) = self.left.get_mut(&host) {
            *left = left.saturating_sub(1);
        }
        match end {
            End::Done | End::NotNeeded | End::PassedOver(_) => self.over += 1,
            End::Failed(_) => self.failed += 1,
            End::Skipped(_) | End::Stopped | End::Held(_) => self.skipped += 1,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// What is being done, one line for each stage.
    pub(super) fn working(&self) -> Vec<String> {
        let stages = self.running.iter().filter_map(|(stage, running)| self.one(*stage, running));
        stages.chain(self.holding()).collect()
    }

    /// What the rollout of a service waits for.
    pub(super) fn hold(&self, service: &ServiceName) -> Option<&Hold> {
        self.holds.get(service)
    }

    /// What rollouts wait for that no line of a host shows.
    fn holding(&self) -> impl Iterator<Item = String> {
        let told = |hold: &Hold| !matches!(hold, Hold::Running { .. } | Hold::Asking | Hold::Needs);
        let holds = self.holds.iter().filter(move |(_, hold)| told(hold));
        holds.map(|(service, hold)| format!("{service}  waits: {}", rollout::hold(hold, self.now)))
    }

    fn one(&self, stage: StageId, running: &Running) -> Option<String> {
        let work = self.work(stage)?;
        let host = work.host()?;
        let step = running.step.and_then(|step| work.steps().get(step).map(words::step));
        let doing = match (work, &running.waiting) {
            (Work::Gate { .. }, Some(why)) => format!("not healthy yet: {}", words::one_line(why)),
            // Such as a lock, with the name of who holds it.
            (_, Some(why)) => format!("{}, waits: {}", step.unwrap_or_default(), words::one_line(why)),
            _ => step.unwrap_or_else(|| "connects".to_owned()),
        };
        let time = words::span(Duration::from_secs(self.now.saturating_sub(running.since).as_secs()));
        Some(format!("{host}  {}  {}  {doing}", subject(work), time.replace(".0 s", " s")))
    }

    /// How far it is: `7 of 23 stages, 2 hosts working, 3 waiting for zookeeper on zk1`.
    pub(super) fn sentence(&self) -> String {
        let mut texts = vec![format!("{} of {} done", self.over, words::count(self.all, "stage"))];
        texts.extend((self.failed > 0).then(|| format!("{} failed", self.failed)));
        texts.extend((self.skipped > 0).then(|| format!("{} not started", self.skipped)));
        let working = self.running.len();
        texts.push(format!("{} working", words::count(working, "host")));
        let open = self.left.values().filter(|left| **left > 0).count();
        let waiting = open.saturating_sub(working);
        texts.extend((waiting > 0).then(|| format!("{waiting} waiting{}", self.gates())));
        texts.join(", ")
    }

    /// The gates that others may be waiting for.
    fn gates(&self) -> String {
        let gates = self.running.keys().filter_map(|stage| match self.work(*stage) {
            Some(Work::Gate { host, service, .. }) => Some(format!("{service} on {host}")),
            _ => None,
        });
        let gates: Vec<String> = gates.collect();
        match gates.as_slice() {
            [] => String::new(),
            [first] => format!(" for {first}"),
            [first, rest @ ..] => format!(" for {first} and {} more", rest.len()),
        }
    }
}
