//! The loop that drives a queue.
//!
//! In: a plan, a transport, and how much may happen at once. Out: events, and a report. Never: two stages at once on one
//! host, or a stage before what it waits for.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{End, Event, Failure, Queue};
use crate::inventory::Endpoint;
use crate::name::HostName;
use crate::plan::{Plan, StageId, Work};
use crate::secret::{Secret, masked};
use crate::step::{Outcome, Step};
use crate::transport::{Order, StepEvent, Transport, TransportError, perform};

/// How much may happen at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Hosts that are worked on at the same time.
    pub forks: usize,
}

/// How every stage ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// By the place of the stage in the plan.
    pub ends: Vec<End>,
    /// Whether the user stopped the run.
    pub stopped: bool,
}

impl Report {
    /// Whether all was done.
    pub fn converged(&self) -> bool {
        self.ends.iter().all(|end| *end == End::Done)
    }
}

type Tell = Arc<dyn Fn(Event) + Send + Sync>;

/// Does a plan. `stop` turning true ends it after the stages that run.
pub async fn run<T: Transport>(
    plan: &Plan,
    transport: Arc<T>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
    tell: Tell,
) -> Report {
    let mut runner =
        Runner { plan, transport, limits, tell, queue: Queue::new(plan), busy: BTreeSet::new(), tasks: JoinSet::new() };
    let mut stopped = false;
    loop {
        if *stop.borrow_and_update() && !stopped {
            stopped = true;
            (runner.tell)(Event::Stopping);
            runner.queue.stop();
        }
        runner.begin();
        if runner.tasks.is_empty() {
            break;
        }
        tokio::select! {
            Some(ended) = runner.tasks.join_next() => runner.ended(ended),
            Ok(()) = stop.changed(), if !stopped => {}
        }
    }
    let ends = (0..plan.stages.len()).map(|id| runner.queue.end(id).cloned().unwrap_or(End::Stopped)).collect();
    Report { ends, stopped }
}

struct Runner<'a, T> {
    plan: &'a Plan,
    transport: Arc<T>,
    limits: Limits,
    tell: Tell,
    queue: Queue,
    busy: BTreeSet<HostName>,
    tasks: JoinSet<(StageId, End, Duration)>,
}

impl<T: Transport> Runner<'_, T> {
    /// Begins all that can be begun now.
    fn begin(&mut self) {
        loop {
            let free = |id: &StageId| self.plan.stages[*id].work.host().is_none_or(|host| !self.busy.contains(host));
            let Some(id) = self.queue.ready().find(free) else { return };
            let work = &self.plan.stages[id].work;
            let Some(host) = work.host() else {
                self.finish(id, End::Done, Duration::ZERO);
                continue;
            };
            if self.queue.running() >= self.limits.forks.max(1) {
                return;
            }
            self.busy.insert(host.clone());
            self.queue.start(id);
            self.spawn(id, host, work);
        }
    }

    fn spawn(&mut self, id: StageId, host: &HostName, work: &Work) {
        let Some(endpoint) = self.plan.endpoints.get(host).cloned() else { return };
        let steps = work.steps();
        let secrets = self.plan.secrets.clone();
        let (transport, tell) = (Arc::clone(&self.transport), Arc::clone(&self.tell));
        tell(Event::StageStarted(id));
        self.tasks.spawn(async move {
            let begun = Instant::now();
            let end = stage(id, &endpoint, &steps, &*transport, &tell, &secrets).await;
            (id, end, begun.elapsed())
        });
    }

    fn ended(&mut self, ended: Result<(StageId, End, Duration), tokio::task::JoinError>) {
        match ended {
            Ok((id, end, took)) => {
                if let Some(host) = self.plan.stages[id].work.host() {
                    self.busy.remove(host);
                }
                self.finish(id, end, took);
            }
            // A bug of ours: shown as it is rather than hidden behind a stage that seems to run for ever.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn finish(&mut self, id: StageId, end: End, took: Duration) {
        let skipped = self.queue.finish(id, end.clone());
        (self.tell)(Event::StageEnded { stage: id, end, took });
        for (stage, cause) in skipped {
            (self.tell)(Event::StageEnded { stage, end: End::Skipped(cause), took: Duration::ZERO });
        }
    }
}

async fn stage<T: Transport>(
    id: StageId,
    host: &Endpoint,
    steps: &[Step],
    transport: &T,
    tell: &Tell,
    secrets: &[Secret<String>],
) -> End {
    let reached: Mutex<Option<usize>> = Mutex::new(None);
    let watch = |event: StepEvent| {
        if let StepEvent::Started { index } = event {
            *reached.lock().unwrap_or_else(PoisonError::into_inner) = Some(index);
        }
        tell(translate(id, event, secrets));
    };
    let result = perform(transport, host, Order::of(steps), &watch).await;
    let step = *reached.lock().unwrap_or_else(PoisonError::into_inner);
    end(result.map(|outcomes| outcomes.into_iter().map(|outcome| clean(outcome, secrets)).collect()), step, steps.len())
}

fn end(result: Result<Vec<Outcome>, TransportError>, step: Option<usize>, steps: usize) -> End {
    let outcomes = match result {
        Ok(outcomes) => outcomes,
        Err(error) => return End::Failed(Failure::Host { step, why: error.to_string() }),
    };
    let failed = outcomes.iter().enumerate().find_map(|(step, outcome)| match outcome {
        Outcome::Failed { exit, stderr } => Some(Failure::Step { step, exit: *exit, stderr: stderr.clone() }),
        _ => None,
    });
    match failed {
        Some(failure) => End::Failed(failure),
        None if outcomes.len() < steps => {
            End::Failed(Failure::Host { step, why: "it stopped before the last step without saying why".to_owned() })
        }
        None => End::Done,
    }
}

/// A program may repeat a secret it was given; nobody is to see it.
fn clean(outcome: Outcome, secrets: &[Secret<String>]) -> Outcome {
    match outcome {
        Outcome::Failed { exit, stderr } => Outcome::Failed { exit, stderr: masked(&stderr, secrets) },
        other => other,
    }
}

fn translate(stage: StageId, event: StepEvent, secrets: &[Secret<String>]) -> Event {
    match event {
        StepEvent::Started { index } => Event::StepStarted { stage, step: index },
        StepEvent::Waiting { why, .. } => Event::Waiting { stage, why: masked(&why, secrets) },
        StepEvent::Ended { index, outcome, took } => {
            Event::StepEnded { stage, step: index, outcome: clean(outcome, secrets), took }
        }
    }
}
