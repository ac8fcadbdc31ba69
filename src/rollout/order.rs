//! Which host comes before which, and in which batches.

use std::collections::{BTreeMap, VecDeque};

use super::{MemberAnswer, Rollout, Standing};
use crate::name::HostName;

/// One of the parts in which hosts follow each other: the canaries, each step of a ramp, and the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Phase {
    /// How many hosts have begun when it begins.
    pub(super) from: usize,
    /// How many have begun when the next begins; none if it is the last.
    pub(super) to: Option<usize>,
    /// How many are down at a time.
    pub(super) slots: usize,
    /// Whether those before it are canaries.
    pub(super) after_canaries: bool,
}

impl Rollout {
    /// The part in which a host is that begins after so many others. Those that are begun together do not count.
    pub(super) fn phase(&self, begun: usize) -> Phase {
        let canaries = self.canary.map(|canary| canary.hosts);
        let ramp = self.slots.split_last().map_or(&[] as &[usize], |(_, ramp)| ramp);
        let mut from = 0;
        let sizes = canaries.into_iter().chain(ramp.iter().copied()).enumerate();
        for (index, size) in sizes {
            if begun < from + size {
                let after_canaries = index == 1 && canaries.is_some();
                return Phase { from, to: Some(from + size), slots: size, after_canaries };
            }
            from += size;
        }
        let slots = self.slots.last().copied().unwrap_or(1);
        Phase { from, to: None, slots, after_canaries: canaries.is_some() && ramp.is_empty() }
    }

    /// Where hosts come, by what they say.
    pub fn ranking(&self) -> Ranking {
        // The role was refused if this is no regular expression.
        let whole = |pattern: &Option<String>| {
            pattern.as_deref().and_then(|pattern| regex::Regex::new(&format!("^(?:{pattern})$")).ok())
        };
        Ranking { first: whole(&self.first), last: whole(&self.last) }
    }

    /// Where the hosts that wait come, by what the members said when the plan was made.
    fn places(&self) -> Vec<Place> {
        let ranking = self.ranking();
        let place = |host: &HostName| {
            let member = self.members.get(host)?;
            Some(ranking.place(&member.standing, member.answer.as_deref()))
        };
        self.waiting.iter().map(place).collect()
    }

    /// The hosts that change, in the batches that are to be expected.
    pub fn batches(&self) -> Vec<Vec<HostName>> {
        let mut rest = self.in_order();
        let mut batches: Vec<Vec<HostName>> = vec![self.together.clone()];
        let mut begun = 0;
        while !rest.is_empty() {
            let phase = self.phase(begun);
            let most = phase.to.map_or(phase.slots, |to| to - begun).min(phase.slots);
            let zone = self.zone(&rest[0]);
            let same = rest.iter().take(most).take_while(|host| self.zone(host) == zone).count();
            begun += same;
            batches.push(rest.drain(..same).collect());
        }
        batches.retain(|batch| !batch.is_empty());
        batches
    }

    /// Those that wait, by their places, then zone by zone.
    fn in_order(&self) -> Vec<HostName> {
        let mut zones: Vec<&str> = Vec::new();
        for zone in self.waiting.iter().filter_map(|host| self.zone(host)) {
            if !zones.contains(&zone) {
                zones.push(zone);
            }
        }
        let zone = |host: &HostName| zones.iter().position(|known| Some(*known) == self.zone(host));
        let mut hosts: Vec<(Place, &HostName)> = self.places().into_iter().zip(&self.waiting).collect();
        hosts.sort_by_cached_key(|(place, host)| (*place, zone(host)));
        hosts.into_iter().map(|(_, host)| host.clone()).collect()
    }
}

/// Where hosts come, by what they say to the order's program.
#[derive(Debug)]
pub struct Ranking {
    first: Option<regex::Regex>,
    last: Option<regex::Regex>,
}

impl Ranking {
    /// Where a host comes that says this: the lowest is first.
    pub fn rank(&self, answer: Option<&str>) -> u8 {
        let is = |pattern: &Option<regex::Regex>| {
            pattern.as_ref().zip(answer).is_some_and(|(pattern, answer)| pattern.is_match(answer))
        };
        match () {
            () if is(&self.first) => 0,
            () if is(&self.last) => 2,
            () => 1,
        }
    }

    /// Where a member comes, by how it is and what it says: the lowest is first. One that is not known to be healthy comes
    /// before the healthy ones, which must not go down before it is well again; but never before its turn by what it says.
    fn place(&self, standing: &Standing, answer: Option<&str>) -> (u8, bool) {
        (self.rank(answer), *standing == Standing::Up)
    }
}

/// Where a host comes; none of one that is no member.
type Place = Option<(u8, bool)>;

/// The hosts that wait for their turns.
#[derive(Debug)]
pub(super) struct WaitingHosts<'p> {
    ranking: Ranking,
    /// By their places, then in the order of the inventory. Most are taken from the front.
    hosts: VecDeque<WaitingHost<'p>>,
}

/// A host that waits.
#[derive(Debug)]
struct WaitingHost<'p> {
    host: &'p HostName,
    zone: Option<&'p str>,
    place: Place,
    /// Where it is in the inventory.
    index: usize,
}

impl<'p> WaitingHosts<'p> {
    /// All that wait, by what the members said when the plan was made.
    pub(super) fn new(rollout: &'p Rollout) -> Self {
        let hosts = rollout.waiting.iter().zip(rollout.places()).enumerate();
        let waiting = |(index, (host, place))| WaitingHost { host, zone: rollout.zone(host), place, index };
        let mut all = Self { ranking: rollout.ranking(), hosts: hosts.map(waiting).collect() };
        all.sort();
        all
    }

    fn sort(&mut self) {
        self.hosts.make_contiguous().sort_unstable_by_key(|waiting| (waiting.place, waiting.index));
    }

    /// By what they say now.
    pub(super) fn reorder(&mut self, rollout: &Rollout, answers: &BTreeMap<HostName, MemberAnswer>) {
        for waiting in &mut self.hosts {
            let member = rollout.members.get(waiting.host);
            let known = member.map(|member| (&member.standing, &member.answer));
            let now = answers.get(waiting.host).map(|(standing, answer)| (standing, answer)).or(known);
            waiting.place = now.map(|(standing, answer)| self.ranking.place(standing, answer.as_deref()));
        }
        self.sort();
    }

    /// A host does not wait any more.
    pub(super) fn remove(&mut self, host: &HostName) {
        if let Some(at) = self.hosts.iter().position(|waiting| waiting.host == host) {
            self.hosts.remove(at);
        }
    }

    /// The first that is ready. None overtakes a host that comes earlier, and the zone of the host that began last (`open`)
    /// is finished before the next.
    pub(super) fn first_ready(&self, ready: &dyn Fn(&HostName) -> bool, open: Option<&str>) -> Option<&'p HostName> {
        let first = self.hosts.front()?.place;
        let mut same = self.hosts.iter().take_while(|waiting| waiting.place == first);
        let of_zone = |waiting: &&WaitingHost<'_>| waiting.zone == open && ready(waiting.host);
        let next = open.and_then(|_| same.clone().find(of_zone));
        next.or_else(|| same.find(|waiting| ready(waiting.host))).map(|waiting| waiting.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::{Batch, Canary, Changing, Policy, tests::members};

    fn rollout(policy: &Policy, hosts: usize) -> Rollout {
        let members = members(&vec![Standing::Up; hosts]);
        let waiting = members.keys().cloned().collect();
        Rollout::new(policy, members, Changing { waiting, ..Changing::default() })
    }

    fn batches(rollout: &Rollout) -> Vec<String> {
        let text = |batch: Vec<HostName>| batch.iter().map(HostName::as_str).collect::<Vec<_>>().join(" ");
        rollout.batches().into_iter().map(text).collect()
    }

    #[test]
    fn canaries_are_before_the_ramp_and_its_last_part_goes_on() {
        let canary = Canary { hosts: 1, stable_for: std::time::Duration::ZERO, approve: false };
        let policy =
            Policy { batch: vec![Batch::Hosts(2), Batch::Hosts(3)], canary: Some(canary), ..Policy::default() };
        let rollout = rollout(&policy, 9);
        assert_eq!(batches(&rollout), ["h0", "h1 h2", "h3 h4 h5", "h6 h7 h8"]);
        assert_eq!([0, 1, 2, 3].map(|begun| rollout.phase(begun).after_canaries), [false, true, true, false]);
    }

    #[test]
    fn the_leader_is_last_and_a_batch_has_one_zone() {
        let policy = Policy { batch: vec![Batch::Hosts(2)], last: Some("leader".to_owned()), ..Policy::default() };
        let mut rollout = rollout(&policy, 5);
        for (at, member) in rollout.members.values_mut().enumerate() {
            member.zone = Some(["a", "b"][at % 2].to_owned());
            member.answer = Some(if at == 0 { "leader" } else { "follower" }.to_owned());
        }
        assert_eq!(batches(&rollout), ["h2 h4", "h1 h3", "h0"]);
    }

    #[test]
    fn an_unhealthy_member_is_before_the_healthy_ones_but_not_before_its_rank() {
        let policy = Policy { batch: vec![Batch::Hosts(1)], last: Some("leader".to_owned()), ..Policy::default() };
        let mut rollout = rollout(&policy, 4);
        for (at, member) in rollout.members.values_mut().enumerate().filter(|(at, _)| *at >= 2) {
            member.standing = Standing::Down("port 1 is closed".to_owned());
            member.answer = (at == 3).then(|| "leader".to_owned());
        }
        assert_eq!(batches(&rollout), ["h2", "h0", "h1", "h3"]);
    }
}
