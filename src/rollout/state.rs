//! A rollout on its way: which host is next, given how the members are and how the turns before ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::decision::{Directive, Halt, Hold, Restoration};
use super::order::{Phase, WaitingHosts};
use super::policy::{FRESH, OnFailure, POLL};
use super::{MemberAnswer, Rollout, StageId, Standing};
use crate::name::HostName;

/// The rollout of one service on its way: a plain state machine.
///
/// It is told what happens ([`begin`](Self::begin), [`ended`](Self::ended), [`answered`](Self::answered), ...) and says in
/// [`next`](Self::next) what comes next. In this order: a failure too many stops it, and what it changed is rolled back
/// where the role says so; hosts with nothing to lose begin all at once; then the others, as many at a time as the phase
/// allows, the canaries first and the rest once those were healthy long enough; and each only if its zone is free and the
/// others stay as healthy as promised without it. A decision takes no longer for being one of thousands.
#[derive(Debug)]
pub struct State<'p> {
    rollout: &'p Rollout,
    hosts: BTreeMap<HostName, HostState>,
    /// How many hosts are in each state.
    counts: [usize; HostState::ALL],
    /// Those in the middle of their turns.
    running: BTreeSet<HostName>,
    /// Those that begin together and have not begun.
    together: VecDeque<&'p HostName>,
    /// The others that have not begun.
    waiting: WaitingHosts<'p>,
    /// In the order in which they began, without those that begin together.
    begun: Vec<HostName>,
    /// How the members are; none if they must be asked again.
    answers: Option<Answers>,
    asked_at: Option<Duration>,
    asking: Asking,
    /// The hosts whose turns ended since the members were asked: how these are now is not known.
    changed: BTreeSet<HostName>,
    /// How many members did not answer when the plan was made.
    away: usize,
    /// The last stage that failed.
    failed: Option<StageId>,
    halt: Option<Halt>,
    /// Whether the halt was given out as a [`Directive::Stop`].
    is_halt_known: bool,
    /// When a turn ended last: canaries are watched from then on.
    ended_at: Duration,
    approved: bool,
    /// Since when too few are healthy.
    short_since: Option<Duration>,
}

/// How far a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostState {
    Waiting,
    Running,
    /// Its turn never began, and will not.
    Skipped,
    Well,
    Failed,
    RollingBack,
    RolledBack,
    /// It could not be rolled back.
    Stuck,
}

impl HostState {
    /// How many there are.
    const ALL: usize = Self::Stuck as usize + 1;
}

/// What the members said.
#[derive(Debug)]
struct Answers {
    of: BTreeMap<HostName, MemberAnswer>,
    /// How many are healthy, without those whose turns began since, or were not over when they were asked.
    healthy: usize,
}

impl Answers {
    fn is_up(&self, host: &HostName) -> bool {
        matches!(self.of.get(host), Some((Standing::Up, _)))
    }
}

/// Whether the members are being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    No,
    Yes,
    /// They are, and a turn began or ended meanwhile: what they answer is old.
    Outdated,
}

impl<'p> State<'p> {
    /// No host begun.
    pub fn new(rollout: &'p Rollout) -> Self {
        let hosts = rollout.together.iter().chain(&rollout.waiting);
        let hosts: BTreeMap<_, _> = hosts.map(|host| (host.clone(), HostState::Waiting)).collect();
        let mut counts = [0; HostState::ALL];
        counts[HostState::Waiting as usize] = hosts.len();
        Self {
            rollout,
            hosts,
            counts,
            running: BTreeSet::new(),
            together: rollout.together.iter().collect(),
            waiting: WaitingHosts::new(rollout),
            begun: Vec::new(),
            answers: None,
            asked_at: None,
            asking: Asking::No,
            changed: BTreeSet::new(),
            away: rollout.away().count(),
            failed: None,
            halt: None,
            is_halt_known: false,
            ended_at: Duration::ZERO,
            approved: false,
            short_since: None,
        }
    }

    /// Whether the stages of a host's turn may begin.
    pub fn is_open(&self, host: &HostName) -> bool {
        self.hosts.get(host).is_some_and(|state| *state != HostState::Waiting)
    }

    /// Whether all turns were begun, and no more failed than may.
    pub fn is_well(&self) -> bool {
        let is_complete = !self.any(HostState::Waiting) && !self.any(HostState::Skipped);
        self.halt.is_none() && !self.is_too_much() && is_complete
    }

    /// The last stage that failed.
    pub fn cause(&self) -> Option<StageId> {
        self.failed
    }

    /// Why no other turn begins, if none does.
    pub fn halt_reason(&self) -> Option<&Halt> {
        self.halt.as_ref()
    }

    /// How its rollback ended; none if nothing was rolled back.
    pub fn outcome(&self) -> Option<Restoration> {
        match () {
            () if self.any(HostState::Stuck) => Some(Restoration::Stuck),
            () if self.any(HostState::RolledBack) => Some(Restoration::Restored),
            () => None,
        }
    }
}

/// What happened.
impl State<'_> {
    /// A turn begins.
    pub fn begin(&mut self, host: &HostName) {
        self.set(host, HostState::Running);
        if let Some(answers) = self.answers.as_mut().filter(|answers| answers.is_up(host)) {
            answers.healthy -= 1;
        }
        if !self.leaves(host) {
            self.begun.push(host.clone());
        }
        if self.rollout.is_ordered() {
            self.outdate();
        }
    }

    /// A turn is over: well, or because of this stage.
    pub fn ended(&mut self, host: &HostName, failed: Option<StageId>, now: Duration) {
        let Some(state) = self.hosts.get(host).copied() else { return };
        let state = match (state, failed) {
            (HostState::Waiting, _) => {
                self.leaves(host);
                HostState::Skipped
            }
            (_, failed) => {
                self.changed.insert(host.clone());
                if failed.is_some() { HostState::Failed } else { HostState::Well }
            }
        };
        self.set(host, state);
        self.failed = failed.or(self.failed);
        self.ended_at = now;
        if self.rollout.is_ordered() || failed.is_some() {
            self.outdate();
        }
    }

    /// A host is being rolled back.
    pub fn undo(&mut self, host: &HostName) {
        self.set(host, HostState::RollingBack);
    }

    /// It was, or could not be. Says nothing of a host that was never to be rolled back.
    pub fn undone(&mut self, host: &HostName, well: bool) {
        if self.is(host, HostState::RollingBack) {
            self.set(host, if well { HostState::RolledBack } else { HostState::Stuck });
        }
    }

    /// The members are being asked.
    pub fn ask(&mut self) {
        self.asking = Asking::Yes;
        self.changed.clear();
    }

    /// They answered.
    pub fn answered(&mut self, answers: BTreeMap<HostName, MemberAnswer>, now: Duration) {
        let asked = std::mem::replace(&mut self.asking, Asking::No);
        self.asked_at = Some(now);
        self.halt_of_canaries(&answers);
        self.answers = None;
        if asked != Asking::Outdated {
            self.waiting.reorder(self.rollout, &answers);
            let counts = |(host, (standing, _)): &(&HostName, &MemberAnswer)| {
                *standing == Standing::Up && !self.running.contains(*host) && !self.changed.contains(*host)
            };
            let healthy = answers.iter().filter(counts).count();
            self.answers = Some(Answers { of: answers, healthy });
        }
    }

    /// A person said that the others may begin.
    pub fn approve(&mut self) {
        self.approved = true;
    }

    /// Nothing more is begun, because the user stopped the run.
    pub fn halt(&mut self) {
        self.halt.get_or_insert(Halt::Stopped);
        self.is_halt_known = true;
    }

    /// A host does not wait any more. Whether it was one of those that begin together.
    fn leaves(&mut self, host: &HostName) -> bool {
        if let Some(at) = self.together.iter().position(|other| *other == host) {
            self.together.remove(at);
            true
        } else {
            self.waiting.remove(host);
            false
        }
    }

    /// What the members said, or will say, is old.
    fn outdate(&mut self) {
        self.answers = None;
        if self.asking == Asking::Yes {
            self.asking = Asking::Outdated;
        }
    }

    /// A canary that was well and is no more is what it was for.
    fn halt_of_canaries(&mut self, answers: &BTreeMap<HostName, MemberAnswer>) {
        // One whose turn ended since the members were asked may have answered in the middle of it.
        let was_well = |host: &HostName| self.is(host, HostState::Well) && !self.changed.contains(host);
        let why = |host: &HostName| match answers.get(host) {
            Some((Standing::Down(why) | Standing::Away(why), _)) if was_well(host) => Some(why.clone()),
            _ => None,
        };
        let canaries = self.watched().iter();
        let unhealthy: Vec<(HostName, String)> = canaries.filter_map(|host| Some((host.clone(), why(host)?))).collect();
        for (host, why) in unhealthy {
            self.set(&host, HostState::Failed);
            self.halt.get_or_insert(Halt::Unhealthy { host, why });
        }
    }
}

/// What comes next.
impl State<'_> {
    /// What comes next. `ready` says of a host whether its first stage waits for nothing but its turn.
    pub fn next(&mut self, ready: &dyn Fn(&HostName) -> bool, now: Duration) -> Directive {
        if self.halt.is_none() && self.is_too_much() {
            let away = || Halt::Away { hosts: self.rollout.away().cloned().collect() };
            self.halt = Some(self.failed.map_or_else(away, |stage| Halt::Failed { stage }));
        }
        if let Some(halt) = &self.halt {
            if !std::mem::replace(&mut self.is_halt_known, true) {
                return Directive::Stop(halt.clone());
            }
            return self.roll_back();
        }
        if !self.any(HostState::Waiting) {
            return if self.running.is_empty() { Directive::Over } else { wait_for(&self.running) };
        }
        self.together(ready).unwrap_or_else(|| self.one(ready, now))
    }

    /// What was changed is rolled back, the last first, once nothing runs any more.
    fn roll_back(&self) -> Directive {
        let rolling = || self.hosts.iter().find(|(_, state)| **state == HostState::RollingBack).map(|(host, _)| host);
        let busy = self.running.first().or_else(|| self.any(HostState::RollingBack).then(rolling)?);
        if let Some(host) = busy {
            return wait_for([host]);
        }
        let is_wanted = self.rollout.on_failure == OnFailure::Rollback && self.halt != Some(Halt::Stopped);
        if !is_wanted || self.any(HostState::Stuck) {
            return Directive::Over;
        }
        let mut last_first = self.rollout.together.iter().chain(&self.begun).rev();
        let has_changed = |host: &HostName| self.is(host, HostState::Well) || self.is(host, HostState::Failed);
        let next = last_first.find(|host| has_changed(host) && self.rollout.undo.contains_key(*host));
        next.map_or(Directive::Over, |host| Directive::Undo(host.clone()))
    }

    /// The hosts that have nothing to lose are first. No other host runs meanwhile.
    fn together(&self, ready: &dyn Fn(&HostName) -> bool) -> Option<Directive> {
        if let Some(host) = self.together.iter().find(|host| ready(host)) {
            return Some(Directive::Begin((*host).clone()));
        }
        let is_over = !self.begun.is_empty() || (self.together.is_empty() && self.running.is_empty());
        (!is_over).then(|| wait_for(self.running.iter().chain(self.together.iter().copied())))
    }

    /// One of the others, if one may begin.
    fn one(&mut self, ready: &dyn Fn(&HostName) -> bool, now: Duration) -> Directive {
        let phase = self.rollout.phase(self.begun.len());
        let begins_phase = phase.from == self.begun.len();
        if (begins_phase && !self.running.is_empty()) || self.running.len() >= phase.slots {
            return wait_for(&self.running);
        }
        if begins_phase && let Some(directive) = self.after_canaries(phase, now) {
            return directive;
        }
        if self.asking != Asking::No {
            return Directive::Wait(Hold::Asking, None);
        }
        let fresh = self.answers.is_some() && self.asked_at.is_some_and(|at| now < at + FRESH);
        if self.rollout.asks_before_each() && !fresh {
            return Directive::Ask;
        }
        self.choose(ready, now)
    }

    /// What the hosts after the canaries still wait for.
    fn after_canaries(&self, phase: Phase, now: Duration) -> Option<Directive> {
        let canary = self.rollout.canary.filter(|_| phase.after_canaries)?;
        let until = self.ended_at + canary.stable_for;
        let waits = now < until || (canary.approve && !self.approved);
        // What was seen before its time was over is not enough.
        let seen = canary.stable_for.is_zero() || self.asked_at.is_some_and(|at| at >= until);
        if !waits && seen {
            return None;
        }
        let again = self.asked_at.filter(|at| *at >= self.ended_at).map(|at| at + POLL);
        let is_due = !waits || again.is_none_or(|again| now >= again);
        if self.asking == Asking::No && is_due {
            return Some(Directive::Ask);
        }
        let hosts = self.watched().to_vec();
        let hold = if now < until || !waits { Hold::Canary { hosts, until } } else { Hold::Approval { hosts } };
        let again = again.map(|again| if now < until { again.min(until) } else { again });
        Some(Directive::Wait(hold, again.filter(|_| self.asking == Asking::No)))
    }

    /// The next in order that is ready, if its zone is free and the others stay as healthy as promised without it.
    fn choose(&mut self, ready: &dyn Fn(&HostName) -> bool, now: Duration) -> Directive {
        let open = self.begun.last().and_then(|host| self.rollout.zone(host));
        let Some(host) = self.waiting.first_ready(ready, open).cloned() else {
            return Directive::Wait(Hold::Needs, None);
        };
        // All that run are of one zone.
        if self.running.first().is_some_and(|other| self.rollout.zone(other) != self.rollout.zone(&host)) {
            let running = self.running.iter().cloned().collect();
            return Directive::Wait(Hold::Zone { host, running }, None);
        }
        let Some(hold) = self.too_few(&host) else {
            self.short_since = None;
            return Directive::Begin(host);
        };
        // Whose turn has ended since may be healthy.
        if !self.changed.is_empty() {
            return Directive::Ask;
        }
        if !self.running.is_empty() {
            return Directive::Wait(hold, None);
        }
        let since = *self.short_since.get_or_insert(now);
        if now >= since + self.rollout.patience() {
            self.halt = Some(Halt::TooFew { hold });
            return self.next(ready, now);
        }
        match self.asked_at {
            Some(at) if now < at + POLL => Directive::Wait(hold, Some(at + POLL)),
            _ => Directive::Ask,
        }
    }

    /// Why a healthy host must not go down now. A host in the middle of its turn does not count as healthy, even if it
    /// answers at this moment, nor does one whose turn ended since the members were asked.
    fn too_few(&self, host: &HostName) -> Option<Hold> {
        let answers = self.answers.as_ref()?;
        if self.rollout.floor == 0 || !answers.is_up(host) {
            return None;
        }
        let healthy = answers.healthy - 1;
        (healthy < self.rollout.floor).then(|| self.rollout.too_few(host, &answers.of, healthy))
    }

    fn set(&mut self, host: &HostName, state: HostState) {
        if let Some(before) = self.hosts.insert(host.clone(), state) {
            self.counts[before as usize] -= 1;
        }
        self.counts[state as usize] += 1;
        if state == HostState::Running {
            self.running.insert(host.clone());
        } else {
            self.running.remove(host);
        }
    }

    fn is(&self, host: &HostName, state: HostState) -> bool {
        self.hosts.get(host) == Some(&state)
    }

    fn any(&self, state: HostState) -> bool {
        self.counts[state as usize] > 0
    }

    /// Whether there is a failure too many.
    fn is_too_much(&self) -> bool {
        self.rollout.is_too_much(self.counts[HostState::Failed as usize], self.away)
    }

    /// The canaries, as long as no other host has begun.
    fn watched(&self) -> &[HostName] {
        let canaries = self.rollout.canary.map_or(0, |canary| canary.hosts);
        if self.begun.len() <= canaries { &self.begun } else { &[] }
    }
}

fn wait_for<'h>(hosts: impl IntoIterator<Item = &'h HostName>) -> Directive {
    Directive::Wait(Hold::Running { hosts: hosts.into_iter().cloned().collect() }, None)
}
