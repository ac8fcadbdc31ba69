//! Whose turn it is in a rollout.
//!
//! In: a rollout, how its hosts are now, and how their turns ended. Out: what happens next. Never: a host, a clock, or a
//! task; the time is an argument, and this is a plain state machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::event::{Halt, Hold, Restoration};
use crate::name::HostName;
use crate::plan::{Answer, Budget, OnFailure, Rollout, StageId, Standing};

/// How often hosts that are waited for are asked again.
const POLL: Duration = Duration::from_secs(2);

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// This host's turn begins.
    Begin(HostName),
    /// All members are asked how they are.
    Ask,
    /// Nothing, for this reason; at the latest at this time it is looked again.
    Wait(Hold, Option<Duration>),
    /// No other turn begins.
    Stop(Halt),
    /// What this host's turn changed is put back.
    Undo(HostName),
    /// Nothing is left to decide.
    Over,
}

/// Where a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting,
    Running,
    /// It was never begun, and will not be.
    Left,
    Well,
    Failed,
    Undoing,
    Undone,
    /// It could not be put back.
    Stuck,
}

/// Whether the members are being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    No,
    Yes,
    /// They are, and a turn began or ended meanwhile: what they answer is old.
    Outdated,
}

impl Asking {
    fn outdate(&mut self) {
        if *self == Self::Yes {
            *self = Self::Outdated;
        }
    }
}

/// The rollout of one service on its way.
#[derive(Debug)]
pub struct Steering<'p> {
    rollout: &'p Rollout,
    places: BTreeMap<HostName, Place>,
    /// In the order in which they began, without those that begin together.
    begun: Vec<HostName>,
    /// How the members are, and when they were asked; none if something happened since.
    known: Option<BTreeMap<HostName, Answer>>,
    asked_at: Option<Duration>,
    asking: Asking,
    /// The last stage that failed.
    failed: Option<StageId>,
    stop: Option<Halt>,
    told: bool,
    /// When the last canary was well.
    well_at: Duration,
    approved: bool,
    /// Since when too few are healthy.
    short_since: Option<Duration>,
}

impl<'p> Steering<'p> {
    /// None begun.
    pub fn new(rollout: &'p Rollout) -> Self {
        let hosts = rollout.together.iter().chain(&rollout.waiting);
        Self {
            rollout,
            places: hosts.map(|host| (host.clone(), Place::Waiting)).collect(),
            begun: Vec::new(),
            known: None,
            asked_at: None,
            asking: Asking::No,
            failed: None,
            stop: None,
            told: false,
            well_at: Duration::ZERO,
            approved: false,
            short_since: None,
        }
    }

    /// Whether the stages of a host's turn may begin.
    pub fn is_open(&self, host: &HostName) -> bool {
        self.places.get(host).is_some_and(|place| *place != Place::Waiting)
    }

    /// Whether its failures are no more than they may be.
    pub fn is_well(&self) -> bool {
        let left = [Place::Waiting, Place::Left].into_iter().any(|place| self.hosts(place).next().is_some());
        self.stop.is_none() && !self.is_too_much() && !left
    }

    /// The last stage that failed.
    pub fn cause(&self) -> Option<StageId> {
        self.failed
    }

    /// Why no other turn begins, if none does.
    pub fn halt_reason(&self) -> Option<&Halt> {
        self.stop.as_ref()
    }

    /// How it ended that it was put back; none if nothing was.
    pub fn outcome(&self) -> Option<Restoration> {
        let any = |place| self.hosts(place).next().is_some();
        match () {
            () if any(Place::Stuck) => Some(Restoration::Stuck),
            () if any(Place::Undone) => Some(Restoration::Restored),
            () => None,
        }
    }

    /// A turn begins.
    pub fn begin(&mut self, host: &HostName) {
        self.places.insert(host.clone(), Place::Running);
        if !self.rollout.together.contains(host) {
            self.begun.push(host.clone());
        }
        self.known = None;
        self.asking.outdate();
    }

    /// A turn is over: well, or because of this stage.
    pub fn ended(&mut self, host: &HostName, failed: Option<StageId>, now: Duration) {
        let Some(place) = self.places.get_mut(host) else { return };
        *place = match (*place, failed) {
            (Place::Waiting, _) => Place::Left,
            (_, Some(_)) => Place::Failed,
            (_, None) => Place::Well,
        };
        self.failed = failed.or(self.failed);
        self.known = None;
        self.asking.outdate();
        self.well_at = now;
    }

    /// A host is put back.
    pub fn undo(&mut self, host: &HostName) {
        self.places.insert(host.clone(), Place::Undoing);
    }

    /// It was, or could not be.
    pub fn undone(&mut self, host: &HostName, well: bool) {
        // What was never to be put back is not.
        if self.places.get(host) == Some(&Place::Undoing) {
            self.places.insert(host.clone(), if well { Place::Undone } else { Place::Stuck });
        }
    }

    /// The members are being asked.
    pub fn ask(&mut self) {
        self.asking = Asking::Yes;
    }

    /// They answered.
    pub fn answered(&mut self, answers: BTreeMap<HostName, Answer>, now: Duration) {
        let asked = std::mem::replace(&mut self.asking, Asking::No);
        self.asked_at = Some(now);
        let sick = |host: &&HostName| {
            self.places.get(*host) == Some(&Place::Well)
                && matches!(answers.get(*host), Some((Standing::Down(_) | Standing::Away(_), _)))
        };
        // A canary that was well and fell sick is what it was for.
        let sick: Vec<HostName> = self.canaries().filter(sick).cloned().collect();
        for host in sick {
            let why = answers[&host].0.why().unwrap_or_default();
            self.stop.get_or_insert(Halt::Sick { host: host.clone(), why: why.to_owned() });
            self.places.insert(host, Place::Failed);
        }
        self.known = (asked != Asking::Outdated).then_some(answers);
    }

    /// A person said that the others may begin.
    pub fn approve(&mut self) {
        self.approved = true;
    }

    /// Nothing more is begun, because the user stopped the run.
    pub fn halt(&mut self) {
        self.stop.get_or_insert(Halt::Stopped);
        self.told = true;
    }

    fn hosts(&self, place: Place) -> impl Iterator<Item = &HostName> {
        self.places.iter().filter(move |(_, is)| **is == place).map(|(host, _)| host)
    }

    fn canaries(&self) -> impl Iterator<Item = &HostName> {
        let canaries = self.rollout.canary.map_or(0, |canary| canary.hosts);
        let soaking = self.begun.len() <= canaries;
        self.begun.iter().take(if soaking { canaries } else { 0 })
    }

    /// What happens next. `ready` are the hosts whose first stage waits for nothing but its turn.
    pub fn next(&mut self, ready: &BTreeSet<HostName>, now: Duration) -> Next {
        if self.stop.is_none() && self.is_too_much() {
            let away = || Halt::Away { hosts: self.away_hosts().cloned().collect() };
            self.stop = Some(self.failed.map_or_else(away, |stage| Halt::Failed { stage }));
        }
        if let Some(stop) = &self.stop {
            if !self.told {
                self.told = true;
                return Next::Stop(stop.clone());
            }
            return self.back();
        }
        if self.hosts(Place::Waiting).next().is_none() {
            let running: Vec<HostName> = self.hosts(Place::Running).cloned().collect();
            return if running.is_empty() { Next::Over } else { Next::Wait(Hold::Running { hosts: running }, None) };
        }
        self.together(ready).unwrap_or_else(|| self.one(ready, now))
    }

    /// Whether there is a failure too many.
    fn is_too_much(&self) -> bool {
        if self.rollout.on_failure == OnFailure::Continue {
            return false;
        }
        let failed = self.hosts(Place::Failed).count();
        match self.rollout.budget {
            Budget::Unset => failed > 0,
            Budget::Failures(most) => failed + self.away_hosts().count() > most,
        }
    }

    fn away_hosts(&self) -> impl Iterator<Item = &HostName> {
        let away = |standing: &Standing| matches!(standing, Standing::Away(_));
        self.rollout.members.iter().filter(move |(_, member)| away(&member.standing)).map(|(host, _)| host)
    }

    /// What was changed is put back, the last first, once nothing runs any more.
    fn back(&self) -> Next {
        let is = |place: Place| self.hosts(place).next();
        let waits = [Place::Running, Place::Undoing].into_iter().find_map(is);
        if let Some(host) = waits {
            return Next::Wait(Hold::Running { hosts: vec![host.clone()] }, None);
        }
        let wanted = self.rollout.on_failure == OnFailure::Rollback && self.stop != Some(Halt::Stopped);
        if !wanted || is(Place::Stuck).is_some() {
            return Next::Over;
        }
        let order = self.rollout.together.iter().chain(&self.begun).rev();
        let mut changed = order.filter(|host| matches!(self.places.get(*host), Some(Place::Well | Place::Failed)));
        let next = changed.find(|host| self.rollout.undo.contains_key(*host));
        next.map_or(Next::Over, |host| Next::Undo(host.clone()))
    }

    /// The hosts that have nothing to lose are first.
    fn together(&self, ready: &BTreeSet<HostName>) -> Option<Next> {
        let open = |host: &&HostName| matches!(self.places.get(*host), Some(Place::Waiting | Place::Running));
        let open: Vec<&HostName> = self.rollout.together.iter().filter(open).collect();
        let first = open.iter().find(|host| self.places.get(**host) == Some(&Place::Waiting) && ready.contains(**host));
        match first {
            Some(host) => Some(Next::Begin((*host).clone())),
            None if open.is_empty() => None,
            None => Some(Next::Wait(Hold::Running { hosts: open.into_iter().cloned().collect() }, None)),
        }
    }

    /// One of the others, if one may begin.
    fn one(&mut self, ready: &BTreeSet<HostName>, now: Duration) -> Next {
        let running: Vec<HostName> =
            self.begun.iter().filter(|host| self.places[*host] == Place::Running).cloned().collect();
        let phase = self.rollout.phase(self.begun.len());
        let before = phase.from == self.begun.len() && !running.is_empty();
        if before || running.len() >= phase.slots {
            return Next::Wait(Hold::Running { hosts: running }, None);
        }
        if phase.after_canaries
            && phase.from == self.begun.len()
            && let Some(wait) = self.canary(now)
        {
            return wait;
        }
        if self.asking != Asking::No {
            return Next::Wait(Hold::Asking, None);
        }
        if self.rollout.asks() && self.known.is_none() {
            return Next::Ask;
        }
        self.choose(ready, &running, now)
    }

    /// What the hosts after the canaries still wait for.
    fn canary(&mut self, now: Duration) -> Option<Next> {
        let canary = self.rollout.canary?;
        let until = self.well_at + canary.stable_for;
        let hosts: Vec<HostName> = self.canaries().cloned().collect();
        let again = self.asked_at.filter(|at| *at >= self.well_at).map(|at| at + POLL);
        let due = again.is_none_or(|again| now >= again);
        let waits = now < until || (canary.approve && !self.approved);
        // What was seen before its time was over is not enough.
        let seen = canary.stable_for.is_zero() || self.asked_at.is_some_and(|at| at >= until);
        if self.asking == Asking::No && if waits { due } else { !seen } {
            return Some(Next::Ask);
        }
        if !waits && seen {
            return None;
        }
        let hold = if now < until || !waits { Hold::Canary { hosts, until } } else { Hold::Approval { hosts } };
        let again = again.map(|again| if now < until { again.min(until) } else { again });
        Some(Next::Wait(hold, again.filter(|_| self.asking == Asking::No)))
    }

    /// The next in order that is ready, if the others stay as healthy as promised without it.
    fn choose(&mut self, ready: &BTreeSet<HostName>, running: &[HostName], now: Duration) -> Next {
        let Some(host) = self.head(ready) else {
            return Next::Wait(Hold::Needs, None);
        };
        let zone = |host: &HostName| self.rollout.members.get(host).and_then(|member| member.zone.as_deref());
        if running.iter().any(|other| zone(other) != zone(&host)) {
            return Next::Wait(Hold::Zone { host, running: running.to_vec() }, None);
        }
        let Some(hold) = self.too_few(&host) else {
            self.short_since = None;
            return Next::Begin(host);
        };
        if !running.is_empty() {
            return Next::Wait(hold, None);
        }
        let since = *self.short_since.get_or_insert(now);
        if now >= since + self.rollout.patience() {
            self.stop = Some(Halt::TooFew { hold });
            return self.next(ready, now);
        }
        match self.asked_at {
            Some(at) if now < at + POLL => Next::Wait(hold, Some(at + POLL)),
            _ => Next::Ask,
        }
    }

    /// The first in order that is ready. Nobody overtakes a host that says it is earlier.
    fn head(&self, ready: &BTreeSet<HostName>) -> Option<HostName> {
        let waiting = || self.rollout.waiting.iter().filter(|host| self.places[*host] == Place::Waiting);
        let rank = |host: &&HostName| {
            let asked = self.known.as_ref().and_then(|known| known.get(*host));
            let planned = || self.rollout.members.get(*host).map(|member| (&member.standing, member.answer.as_deref()));
            let now = asked.map(|(standing, answer)| (standing, answer.as_deref())).or_else(planned);
            now.map(|(standing, answer)| self.rollout.place(standing, answer))
        };
        let first = waiting().map(|host| rank(&host)).min()?;
        let begun = self.begun.last().and_then(|host| self.rollout.members.get(host)?.zone.as_deref());
        let candidates: Vec<&HostName> =
            waiting().filter(|host| rank(host) == first && ready.contains(*host)).collect();
        // A zone is finished before the next.
        let same = |host: &&&HostName| {
            let zone = self.rollout.members.get(**host).and_then(|member| member.zone.as_deref());
            zone.is_some() && zone == begun
        };
        candidates.iter().find(same).or(candidates.first()).map(|host| (*host).clone())
    }

    /// Why a host must not go down now.
    fn too_few(&self, host: &HostName) -> Option<Hold> {
        let known = self.known.as_ref().filter(|_| self.rollout.floor > 0)?;
        let up = |host: &HostName| matches!(known.get(host), Some((Standing::Up, _)));
        if !up(host) {
            return None;
        }
        // Who is in the middle of its turn is not counted, even if it answers at this moment.
        let counts =
            |other: &&HostName| *other != host && up(other) && self.places.get(*other) != Some(&Place::Running);
        let healthy = self.rollout.members.keys().filter(counts).count();
        if healthy >= self.rollout.floor {
            return None;
        }
        let down = known.iter().filter_map(|(host, (standing, _))| Some((host.clone(), standing.why()?.to_owned())));
        Some(Hold::TooFew { host: host.clone(), healthy, floor: self.rollout.floor, down: down.collect() })
    }
}
