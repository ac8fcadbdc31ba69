//! The rollouts of a plan, and the stages they let begin.
//!
//! In: how stages end, and how hosts answer. Out: which stages may begin. Never: a decision; whose turn it is, a rollout
//! says itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::JoinSet;

use super::{End, Queue};
use crate::inventory::Endpoint;
use crate::name::{HostName, ServiceName};
use crate::plan::{Plan, Turn, Work};
use crate::rollout::{Directive, MemberAnswer, Restoration, Rollout, StageId, State};
use crate::transport::Transport;

/// All rollouts of a plan.
pub(super) struct Rollouts<'p> {
    /// By the place of the service.
    rollouts: BTreeMap<usize, ActiveRollout<'p>>,
    /// The stages that put hosts back, with whose turn they undo.
    undo: BTreeMap<StageId, Turn>,
}

/// One of them.
struct ActiveRollout<'p> {
    state: State<'p>,
    /// The stages of each turn.
    turns: BTreeMap<HostName, Vec<StageId>>,
    /// The stages that put each host back: the change, and its gate.
    undo: BTreeMap<HostName, Vec<StageId>>,
    /// What was told last: the same is not told again.
    told: Option<Directive>,
    again: Option<Duration>,
}

impl<'p> Rollouts<'p> {
    /// None begun.
    pub(super) fn new(plan: &'p Plan) -> Self {
        let mut rollouts = BTreeMap::new();
        let mut undo = BTreeMap::new();
        for (service, rollout) in plan.services.iter().enumerate().filter_map(|(i, s)| Some((i, s.rollout.as_ref()?))) {
            let active = ActiveRollout::new(plan, service, rollout);
            for (host, stages) in &active.undo {
                undo.extend(stages.iter().map(|id| (*id, Turn { service, host: host.clone() })));
            }
            rollouts.insert(service, active);
        }
        Self { rollouts, undo }
    }

    /// The stages that wait for the turns of their hosts.
    pub(super) fn stages(&self) -> BTreeSet<StageId> {
        let turns = self.rollouts.values().flat_map(|active| active.turns.values().flatten());
        turns.chain(self.undo.keys()).copied().collect()
    }

    /// What comes next in a rollout in which something does that was not told yet.
    pub(super) fn next(&mut self, queue: &Queue, now: Duration) -> Option<(usize, Directive)> {
        self.rollouts.iter_mut().find_map(|(service, active)| Some((*service, active.next(queue, now)?)))
    }

    /// When to look again at the latest.
    pub(super) fn again(&self) -> Option<Duration> {
        self.rollouts.values().filter_map(|active| active.again).min()
    }

    /// A turn begins. Gives its stages.
    pub(super) fn begin(&mut self, service: usize, host: &HostName) -> Vec<StageId> {
        self.tell(service, |state| state.begin(host));
        self.rollouts.get(&service).and_then(|active| active.turns.get(host)).cloned().unwrap_or_default()
    }

    /// The members are being asked.
    pub(super) fn ask(&mut self, service: usize) {
        self.tell(service, State::ask);
    }

    /// They answered.
    pub(super) fn answered(&mut self, service: usize, answers: BTreeMap<HostName, MemberAnswer>, now: Duration) {
        self.tell(service, |state| state.answered(answers, now));
    }

    /// A host is rolled back: opens the stages that do so. Returns those with nothing to roll back, because what they undo
    /// never started.
    pub(super) fn undo(&mut self, plan: &Plan, (service, host): (usize, &HostName), queue: &mut Queue) -> Vec<StageId> {
        let Some(active) = self.rollouts.get_mut(&service) else { return Vec::new() };
        active.state.undo(host);
        let stages = active.undo.get(host).cloned().unwrap_or_default();
        queue.open_turn(&stages);
        let nothing = |id: &StageId| match &plan.stages[*id].work {
            Work::Undo { of, .. } => !queue.end(*of).is_some_and(End::has_changed),
            _ => false,
        };
        stages.into_iter().filter(nothing).collect()
    }

    /// A person said that hosts may follow the canaries.
    pub(super) fn approve(&mut self) {
        self.rollouts.values_mut().for_each(|active| active.state.approve());
    }

    /// Nothing more is begun.
    pub(super) fn halt(&mut self) {
        self.rollouts.values_mut().for_each(|active| active.state.halt());
    }

    fn tell(&mut self, service: usize, how: impl FnOnce(&mut State<'p>)) {
        if let Some(active) = self.rollouts.get_mut(&service) {
            how(&mut active.state);
        }
    }

    /// The stages of turns that will not begin.
    pub(super) fn closed(&self, service: usize, queue: &Queue) -> Vec<StageId> {
        let Some(active) = self.rollouts.get(&service) else { return Vec::new() };
        let closed = active.turns.iter().filter(|(host, _)| !active.state.is_open(host));
        closed.flat_map(|(_, stages)| stages.iter().copied()).filter(|id| queue.end(*id).is_none()).collect()
    }

    /// The stages that would have put hosts back.
    pub(super) fn undone(&self, service: usize, queue: &Queue) -> Vec<StageId> {
        let stages = self.rollouts.get(&service).into_iter().flat_map(|active| active.undo.values().flatten().copied());
        stages.filter(|id| queue.end(*id).is_none()).collect()
    }

    /// How the rollback of a service ended.
    pub(super) fn outcome(&self, service: usize) -> Option<Restoration> {
        self.rollouts.get(&service)?.state.outcome()
    }

    /// The same of all services.
    pub(super) fn restored(&self, plan: &Plan) -> BTreeMap<ServiceName, Restoration> {
        let one = |service: &usize| Some((plan.services[*service].name.clone(), self.outcome(*service)?));
        self.rollouts.keys().filter_map(one).collect()
    }

    /// How a stage ends in which nothing is done on a host.
    pub(super) fn end(&self, work: &Work) -> End {
        let Work::Rolled(service) = work else { return End::Done };
        let Some(active) = self.rollouts.get(service).filter(|active| !active.state.is_well()) else {
            return End::Done;
        };
        match (active.state.cause(), active.state.halt_reason()) {
            (Some(stage), _) => End::Skipped(stage),
            (None, Some(halt)) => End::Held(halt.clone()),
            (None, None) => End::Done,
        }
    }

    /// Stages ended: turns that are over with them are.
    pub(super) fn ended(&mut self, plan: &Plan, stages: &[StageId], queue: &Queue, now: Duration) {
        let mut turns: BTreeSet<Turn> = stages.iter().filter_map(|id| plan.stages[*id].turn.clone()).collect();
        let undone: BTreeSet<Turn> = stages.iter().filter_map(|id| self.undo.get(id).cloned()).collect();
        turns.retain(|turn| self.rollouts.contains_key(&turn.service));
        for turn in turns {
            if let Some(active) = self.rollouts.get_mut(&turn.service) {
                active.ended(&turn.host, queue, now);
            }
        }
        for turn in undone {
            if let Some(active) = self.rollouts.get_mut(&turn.service) {
                active.put_back(&turn.host, queue);
            }
        }
    }
}

impl<'p> ActiveRollout<'p> {
    fn new(plan: &Plan, service: usize, rollout: &'p Rollout) -> Self {
        let mut turns: BTreeMap<HostName, Vec<StageId>> = BTreeMap::new();
        for (id, stage) in plan.stages.iter().enumerate() {
            if let Some(turn) = stage.turn.as_ref().filter(|turn| turn.service == service) {
                turns.entry(turn.host.clone()).or_default().push(id);
            }
        }
        Self { state: State::new(rollout), turns, undo: rollout.undo.clone(), told: None, again: None }
    }

    /// What comes next, if that was not told yet.
    fn next(&mut self, queue: &Queue, now: Duration) -> Option<Directive> {
        let turns = &self.turns;
        let ready = |host: &HostName| turns.get(host).is_some_and(|stages| stages.iter().any(|id| queue.is_ready(*id)));
        let next = self.state.next(&ready, now);
        self.again = if let Directive::Wait(_, again) = &next { *again } else { None };
        let same = |told: &Directive| match (told, &next) {
            (Directive::Wait(told, _), Directive::Wait(hold, _)) => told == hold,
            (told, next) => told == next,
        };
        let steady = matches!(next, Directive::Wait(..) | Directive::Over);
        if steady && self.told.as_ref().is_some_and(same) {
            return None;
        }
        self.told = Some(next.clone());
        Some(next)
    }

    fn ended(&mut self, host: &HostName, queue: &Queue, now: Duration) {
        let stages = &self.turns[host];
        if stages.iter().any(|id| queue.end(*id).is_none()) {
            return;
        }
        let failed = |id: &&StageId| queue.end(**id).is_some_and(|end| !end.is_well());
        // What was skipped because of another is not the cause.
        let first = stages.iter().find(|id| matches!(queue.end(**id), Some(End::Failed(_))) && failed(id));
        let failed = first.or_else(|| stages.iter().find(failed)).copied();
        self.state.ended(host, failed, now);
    }

    fn put_back(&mut self, host: &HostName, queue: &Queue) {
        let ends: Vec<Option<&End>> = self.undo.get(host).into_iter().flatten().map(|id| queue.end(*id)).collect();
        if ends.iter().all(Option::is_some) {
            self.state.undone(host, ends.iter().flatten().all(|end| end.is_well()));
        }
    }
}

/// Asks all members of a service how they are, at once.
pub async fn ask<T: Transport>(
    transport: &std::sync::Arc<T>,
    rollout: &Rollout,
    endpoints: &BTreeMap<HostName, Endpoint>,
) -> BTreeMap<HostName, MemberAnswer> {
    let mut tasks = JoinSet::new();
    for (name, member) in &rollout.members {
        let (name, member, endpoint) = (name.clone(), member.clone(), endpoints.get(name).cloned());
        let transport = std::sync::Arc::clone(transport);
        tasks.spawn(async move {
            let Some(endpoint) = endpoint else {
                // It was left out: what the plan knew of it is all there is.
                let known = (member.standing.clone(), member.answer.clone());
                return (name, known);
            };
            let readings = transport.read(&endpoint, &member.probes()).await;
            let answer = member.answer(readings.as_ref().map_err(ToString::to_string));
            (name, answer)
        });
    }
    let mut answers = BTreeMap::new();
    while let Some(Ok((name, answer))) = tasks.join_next().await {
        answers.insert(name, answer);
    }
    answers
}
