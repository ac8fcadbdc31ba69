//! The loop that drives a queue.
//!
//! In: a plan, a transport, and how much may happen at once. Out: events, and a report. Never: two stages at once on one
//! host, or a stage before what it waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::deadman::{Guard, Vigil};
use super::recover::{Cut, Onward};
use super::roll::{self, Rollouts};
use super::{End, Event, Failure, Queue, intent};
use crate::inventory::Endpoint;
use crate::lease::Ticket;
use crate::ledger::Applied;
use crate::name::{HostName, RunId, ServiceName};
use crate::plan::{Plan, StageId, Work};
use crate::rollout::{Directive, Halt, MemberAnswer, Restoration};
use crate::secret::{Secret, masked};
use crate::step::{Outcome, Probe, Readings, Step};
use crate::transport::{Order, Performed, StepEvent, Then, Transport, TransportError};

/// How much may happen at once, and how long it is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Hosts that are worked on at the same time.
    pub forks: usize,
    /// How long a host may be away that was lost in the middle of something.
    pub patience: Duration,
}

/// By what right a run changes hosts, and as what it is remembered there.
#[derive(Debug, Clone)]
pub struct Permit {
    /// The run.
    pub applied: Applied,
    /// For each host that gave a lease, what orders carry.
    pub tickets: BTreeMap<HostName, Ticket>,
    /// Hosts on which nothing is begun, and why.
    pub refused: BTreeMap<HostName, String>,
    /// The folder of the project, in which large files are.
    pub project: Option<Arc<Path>>,
    /// What hosts are asked in the same round trip as the last steps on them, so that they need not be asked again.
    pub questions: BTreeMap<HostName, Vec<Probe>>,
}

/// How every stage ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// By the place of the stage in the plan.
    pub ends: Vec<End>,
    /// Whether the user stopped the run.
    pub stopped: bool,
    /// The services that were put back as they were, or should have been.
    pub restored: BTreeMap<ServiceName, Restoration>,
    /// What hosts answered after the last steps on them; see [`Permit::questions`].
    pub readings: BTreeMap<HostName, Readings>,
}

impl Report {
    /// Whether all was done.
    pub fn converged(&self) -> bool {
        self.ends.iter().all(End::is_well)
    }
}

/// Takes the events of a run.
pub type Tell = Arc<dyn Fn(Event) + Send + Sync>;

/// How a run and the program around it talk while it goes on.
pub struct Channels {
    /// Turning true, it ends the run after the stages that run.
    pub stop: watch::Receiver<bool>,
    /// Turning true, it lets hosts follow the canaries.
    pub approved: watch::Receiver<bool>,
    /// Takes what happens.
    pub tell: Tell,
}

/// What a task of a run comes back with.
pub(super) enum Came {
    /// A stage ended; what its host answered then, if it was asked.
    Ended(StageId, End, Duration, Option<Readings>),
    /// The members of a service answered.
    Answered(usize, BTreeMap<HostName, MemberAnswer>),
}

/// Does a plan. Without a permit, hosts ask nobody and write
/// nothing down: for hosts in memory.
pub async fn run<T: Transport>(
    plan: &Plan,
    transport: Arc<T>,
    limits: Limits,
    permit: Option<Permit>,
    mut channels: Channels,
) -> Report {
    let rollouts = Rollouts::new(plan);
    let mut runner = Runner {
        plan,
        transport,
        limits,
        permit,
        tell: channels.tell.clone(),
        queue: Queue::new(plan, rollouts.stages()),
        stages: stages_by_host(plan),
        readings: BTreeMap::new(),
        rollouts,
        begun: Instant::now(),
        busy: BTreeSet::new(),
        tasks: JoinSet::new(),
        fenced: false,
        stop: channels.stop.clone(),
    };
    let mut stopped = false;
    loop {
        if (*channels.stop.borrow_and_update() || runner.fenced) && !stopped {
            stopped = true;
            (runner.tell)(Event::Stopping);
            runner.queue.stop();
            runner.rollouts.halt();
        }
        if *channels.approved.borrow_and_update() {
            runner.rollouts.approve();
        }
        let again = runner.go_on();
        if runner.tasks.is_empty() && again.is_none() {
            break;
        }
        let late = again.unwrap_or(Duration::MAX).saturating_sub(runner.begun.elapsed()).min(LONG);
        tokio::select! {
            Some(came) = runner.tasks.join_next() => runner.came(came),
            Ok(()) = channels.stop.changed(), if !stopped => {}
            Ok(()) = channels.approved.changed() => {}
            () = tokio::time::sleep(late) => {}
        }
    }
    runner.report(stopped)
}

/// What waits for nothing is looked at again after this time at the latest.
const LONG: Duration = Duration::from_secs(3600);

struct Runner<'a, T> {
    plan: &'a Plan,
    transport: Arc<T>,
    limits: Limits,
    permit: Option<Permit>,
    tell: Tell,
    queue: Queue,
    stages: BTreeMap<HostName, Vec<StageId>>,
    /// What hosts answered after their last steps.
    readings: BTreeMap<HostName, Readings>,
    rollouts: Rollouts<'a>,
    /// When the run began.
    begun: Instant,
    busy: BTreeSet<HostName>,
    tasks: JoinSet<Came>,
    /// Whether a host refused us.
    fenced: bool,
    /// Whether somebody asked to stop.
    stop: watch::Receiver<bool>,
}

impl<T: Transport> Runner<'_, T> {
    /// Begins all that can be begun now, and gives when to look again at the latest: none if nothing is left to be begun.
    fn go_on(&mut self) -> Option<Duration> {
        loop {
            self.begin();
            let Some(next) = self.rollouts.next(&self.queue, self.begun.elapsed()) else {
                return self.rollouts.again();
            };
            self.turn(next);
        }
    }

    /// Does what a rollout says comes next.
    fn turn(&mut self, (service, next): (usize, Directive)) {
        let name = self.plan.services[service].name.clone();
        match next {
            Directive::Begin(host) => {
                (self.tell)(Event::Turn { service: name, host: host.clone() });
                let stages = self.rollouts.begin(service, &host);
                self.queue.open_turn(&stages);
            }
            Directive::Ask => {
                self.rollouts.ask(service);
                self.ask(service);
            }
            Directive::Wait(hold, _) => (self.tell)(Event::Holding { service: name, hold }),
            Directive::Stop(halt) => {
                (self.tell)(Event::Halted { service: name, halt: halt.clone() });
                for id in self.rollouts.closed(service, &self.queue) {
                    let end =
                        if let Halt::Failed { stage } = halt { End::Skipped(stage) } else { End::Held(halt.clone()) };
                    self.finish(id, end, Duration::ZERO);
                }
            }
            Directive::Undo(host) => {
                (self.tell)(Event::RollingBack { service: name, host: host.clone() });
                for id in self.rollouts.undo(self.plan, (service, &host), &mut self.queue) {
                    self.finish(id, End::NotNeeded, Duration::ZERO);
                }
            }
            Directive::Over => {
                for id in self.rollouts.undone(service, &self.queue) {
                    self.finish(id, End::NotNeeded, Duration::ZERO);
                }
                if let Some(outcome) = self.rollouts.outcome(service) {
                    (self.tell)(Event::RolledBack { service: name, outcome });
                }
            }
        }
    }

    /// Asks all members of a service how they are, at once.
    fn ask(&mut self, service: usize) {
        let Some(rollout) = self.plan.services[service].rollout.clone() else { return };
        let endpoints = self.plan.endpoints.clone();
        let transport = Arc::clone(&self.transport);
        self.tasks.spawn(async move { Came::Answered(service, roll::ask(&transport, &rollout, &endpoints).await) });
    }

    fn report(self, stopped: bool) -> Report {
        let ends = (0..self.plan.stages.len()).map(|id| self.queue.end(id).cloned().unwrap_or(End::Stopped)).collect();
        Report { ends, stopped, restored: self.rollouts.restored(self.plan), readings: self.readings }
    }

    /// Begins all whose turn it is.
    fn begin(&mut self) {
        loop {
            let free = |id: &StageId| self.plan.stages[*id].work.host().is_none_or(|host| !self.busy.contains(host));
            let Some(id) = self.queue.startable().find(free) else { return };
            let work = &self.plan.stages[id].work;
            let Some(host) = work.host() else {
                let end = self.rollouts.end(work);
                self.finish(id, end, Duration::ZERO);
                continue;
            };
            if let Some(why) = self.refusal(host) {
                self.queue.start(id);
                self.finish(id, End::Failed(Failure::Refused { why }), Duration::ZERO);
                continue;
            }
            if self.queue.running() >= self.limits.forks.max(1) {
                return;
            }
            (self.tell)(Event::StageStarted(id));
            // Who is told writes it down, and asks to stop where that cannot be done: then not even this one is begun.
            if *self.stop.borrow() {
                (self.tell)(Event::StageEnded { stage: id, end: End::Stopped, took: Duration::ZERO });
                return;
            }
            self.busy.insert(host.clone());
            self.queue.start(id);
            self.spawn(id, host, work);
        }
    }

    /// Why nothing is begun on a host.
    fn refusal(&self, host: &HostName) -> Option<String> {
        let permit = self.permit.as_ref()?;
        let none = || (!permit.tickets.contains_key(host)).then(|| "it granted no lock".to_owned());
        permit.refused.get(host).cloned().or_else(none)
    }

    fn spawn(&mut self, id: StageId, host: &HostName, work: &Work) {
        let Some(endpoint) = self.plan.endpoints.get(host).cloned() else { return };
        let right = self.permit.as_ref().and_then(|permit| {
            let intent =
                if let Work::Change(block) = work { Some(intent::line(id, block, &permit.applied)) } else { None };
            let ticket = Ticket { intent, ..permit.tickets.get(host)?.clone() };
            Some((ticket, permit.applied.run.clone()))
        });
        self.readings.remove(host);
        let task = Task {
            id,
            endpoint,
            steps: work.steps(),
            right,
            questions: self.questions(id, host).to_vec(),
            project: self.permit.as_ref().and_then(|permit| permit.project.clone()),
            patience: self.limits.patience,
            secrets: self.plan.secrets.clone(),
            transport: Arc::clone(&self.transport),
            tell: Arc::clone(&self.tell),
            reached: Mutex::new(None),
        };
        self.tasks.spawn(async move {
            let begun = Instant::now();
            let (end, readings) = task.run().await;
            Came::Ended(id, end, begun.elapsed(), readings)
        });
    }

    /// What a host is asked with a stage: nothing, if another one may follow there.
    fn questions(&self, id: StageId, host: &HostName) -> &[Probe] {
        let mut others = self.stages.get(host).into_iter().flatten().filter(|other| **other != id);
        let questions = self.permit.as_ref().and_then(|permit| permit.questions.get(host));
        match questions {
            Some(questions) if others.all(|other| self.queue.end(*other).is_some()) => questions,
            _ => &[],
        }
    }

    fn came(&mut self, came: Result<Came, tokio::task::JoinError>) {
        match came {
            Ok(Came::Answered(service, answers)) => self.rollouts.answered(service, answers, self.begun.elapsed()),
            Ok(Came::Ended(id, end, took, readings)) => {
                if let Some(host) = self.plan.stages[id].work.host() {
                    self.busy.remove(host);
                    self.readings.extend(readings.map(|readings| (host.clone(), readings)));
                }
                self.finish(id, end, took);
            }
            // A bug of ours: shown as it is rather than hidden behind a stage that seems to run for ever.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn finish(&mut self, id: StageId, end: End, took: Duration) {
        self.fenced |= matches!(end, End::Failed(Failure::Fenced { .. }));
        if self.queue.end(id).is_some() {
            return;
        }
        let end = match end {
            End::Failed(failure) if self.plan.stages[id].work.is_optional() => End::PassedOver(failure),
            end => end,
        };
        let skipped = self.queue.finish(id, end.clone());
        (self.tell)(Event::StageEnded { stage: id, end, took });
        for (stage, cause) in &skipped {
            (self.tell)(Event::StageEnded { stage: *stage, end: End::Skipped(*cause), took: Duration::ZERO });
        }
        let ended = std::iter::once(id).chain(skipped.into_iter().map(|(stage, _)| stage));
        let ended: Vec<StageId> = ended.collect();
        self.rollouts.ended(self.plan, &ended, &self.queue, self.begun.elapsed());
    }
}

fn stages_by_host(plan: &Plan) -> BTreeMap<HostName, Vec<StageId>> {
    let mut stages: BTreeMap<HostName, Vec<StageId>> = BTreeMap::new();
    for (id, stage) in plan.stages.iter().enumerate() {
        if let Some(host) = stage.work.host() {
            stages.entry(host.clone()).or_default().push(id);
        }
    }
    stages
}

/// How often a stage goes on after a lost connection.
const ATTEMPTS: usize = 3;

/// One stage on its host.
struct Task<T> {
    id: StageId,
    endpoint: Endpoint,
    steps: Vec<Step>,
    /// What its orders carry, and the run it belongs to.
    right: Option<(Ticket, RunId)>,
    /// What its host is asked afterwards.
    questions: Vec<Probe>,
    /// The folder of the project, if there is one.
    project: Option<Arc<Path>>,
    patience: Duration,
    secrets: Vec<Secret<String>>,
    transport: Arc<T>,
    tell: Tell,
    /// The last step that is known to have begun.
    reached: Mutex<Option<usize>>,
}

impl<T: Transport> Task<T> {
    /// How it ended, and what its host answered then.
    async fn run(&self) -> (End, Option<Readings>) {
        match Guard::of(&self.steps) {
            Some(guard) => (self.guarded(guard).await, None),
            None => self.plain().await,
        }
    }

    /// A stage that its host undoes unless it hears from us is not gone on with after a lost connection.
    async fn guarded(&self, guard: Guard<'_>) -> End {
        let change = &self.steps[..guard.word];
        let performed = self.perform(change, 0, &[]).await;
        let failure = match performed.map(|performed| self.end(change, 0, &performed.outcomes)) {
            Ok(End::Failed(failure @ Failure::Step { step, .. })) if guard.begins_after(step) => {
                return End::Failed(failure);
            }
            Ok(End::Failed(failure)) => Some(failure),
            Ok(_) => None,
            Err(error @ TransportError::Fenced { .. }) => {
                return End::Failed(Failure::Fenced { step: self.step(), why: error.to_string() });
            }
            Err(error) => {
                let failure = self.failure(&error);
                // What was sent before the connection was lost may have been done, whatever we heard of it.
                let begun = self.step().is_some() || matches!(error, TransportError::Lost { .. });
                if !begun {
                    return End::Failed(failure);
                }
                Some(failure)
            }
        };
        let waiting = |why: String| (self.tell)(Event::Waiting { stage: self.id, why: masked(&why, &self.secrets) });
        let ticket = self.right.as_ref().map(|(ticket, _)| Ticket { intent: None, ..ticket.clone() });
        let (transport, host) = (&*self.transport, &self.endpoint);
        let (patience, secrets) = (self.patience, &self.secrets);
        let vigil = Vigil { guard, transport, host, ticket, patience, secrets, waiting: &waiting };
        match failure {
            None => vigil.keep(&|event| self.watch(event, guard.word)).await,
            Some(failure) => End::Failed(vigil.give_up(failure).await),
        }
    }

    async fn plain(&self) -> (End, Option<Readings>) {
        let mut from = 0;
        for _ in 0..ATTEMPTS {
            let error = match self.perform(&self.steps, from, &self.questions).await {
                Ok(Performed { outcomes, readings, .. }) => {
                    return (self.end(&self.steps, from, &outcomes), readings);
                }
                Err(error) => error,
            };
            from = match self.onward(error).await {
                Ok(next) => next,
                Err(failure) => return (End::Failed(failure), None),
            };
            // They ended while nobody listened.
            for step in self.step().unwrap_or(from)..from {
                (self.tell)(Event::StepEnded { stage: self.id, step, outcome: Outcome::Done, took: Duration::ZERO });
            }
            if from == self.steps.len() {
                return (End::Done, None);
            }
        }
        let why = "its connection was lost repeatedly".to_owned();
        (End::Failed(Failure::Host { step: self.step(), why }), None)
    }

    fn step(&self) -> Option<usize> {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn perform(&self, steps: &[Step], from: usize, read: &[Probe]) -> Result<Performed, TransportError> {
        let ticket = self.right.as_ref().map(|(ticket, _)| Ticket { first: from, ..ticket.clone() });
        let order = Order { steps: &steps[from..], ticket: ticket.as_ref(), project: self.project.as_deref() };
        let then = Then { read, release: None };
        self.transport.perform_then(&self.endpoint, order, then, &|event| self.watch(event, from)).await
    }

    /// Tells of a step; the order counts from `from`.
    fn watch(&self, event: StepEvent, from: usize) {
        let event = translate(self.id, event, from, &self.secrets);
        if let Event::StepStarted { step, .. } = event {
            *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = Some(step);
        }
        (self.tell)(event);
    }

    /// What an error is for the stage. Where the setup kept us from the host before a step had begun, nothing was done.
    fn failure(&self, error: &TransportError) -> Failure {
        match self.step() {
            None if error.is_setup() => Failure::Refused { why: error.to_string() },
            step => Failure::Host { step, why: error.to_string() },
        }
    }

    /// From which step it goes on after an error.
    async fn onward(&self, error: TransportError) -> Result<usize, Failure> {
        let (ticket, run) = match (&error, &self.right) {
            (TransportError::Fenced { .. }, _) => {
                return Err(Failure::Fenced { step: self.step(), why: error.to_string() });
            }
            (TransportError::Lost { .. }, Some((ticket, run))) if !self.patience.is_zero() => (ticket, run),
            _ => return Err(self.failure(&error)),
        };
        let cut = Cut {
            transport: &*self.transport,
            host: &self.endpoint,
            ticket,
            run,
            stage: self.id,
            steps: &self.steps,
            patience: self.patience,
        };
        let waiting = |why: String| (self.tell)(Event::Waiting { stage: self.id, why: masked(&why, &self.secrets) });
        match cut.look(&waiting).await {
            Onward::From(next) => Ok(next),
            Onward::Failed(step, exit) => {
                let stderr = "it failed while the connection was lost; its message is unknown".to_owned();
                Err(Failure::Step { step, exit, stderr })
            }
            Onward::Unknown(step) => {
                let why = "the host went down during this step: the next plan reads what it did".to_owned();
                Err(Failure::Host { step: Some(step), why })
            }
            Onward::Away(error) => Err(Failure::Host { step: self.step(), why: error.to_string() }),
            Onward::Fenced(error) => Err(Failure::Fenced { step: self.step(), why: error.to_string() }),
        }
    }

    /// How steps ended that are a stage, or its beginning.
    fn end(&self, steps: &[Step], from: usize, outcomes: &[Outcome]) -> End {
        let failed = outcomes.iter().enumerate().find_map(|(step, outcome)| match outcome {
            Outcome::Failed { exit, stderr } => {
                Some(Failure::Step { step: from + step, exit: *exit, stderr: masked(stderr, &self.secrets) })
            }
            _ => None,
        });
        match failed {
            Some(failure) => End::Failed(failure),
            None if from + outcomes.len() < steps.len() => {
                let why = "it stopped before the last step without saying why".to_owned();
                End::Failed(Failure::Host { step: self.step(), why })
            }
            None => End::Done,
        }
    }
}

/// A program may repeat a secret it was given; nobody is to see it.
fn clean(outcome: Outcome, secrets: &[Secret<String>]) -> Outcome {
    match outcome {
        Outcome::Failed { exit, stderr } => Outcome::Failed { exit, stderr: masked(&stderr, secrets) },
        other => other,
    }
}

/// The transport counts the steps of one order, which may be the rest of a stage.
fn translate(stage: StageId, event: StepEvent, from: usize, secrets: &[Secret<String>]) -> Event {
    match event {
        StepEvent::Started { index } => Event::StepStarted { stage, step: from + index },
        StepEvent::Waiting { why, .. } => Event::Waiting { stage, why: masked(&why, secrets) },
        StepEvent::Ended { index, outcome, took } => {
            Event::StepEnded { stage, step: from + index, outcome: clean(outcome, secrets), took }
        }
    }
}
