//! How many members may fail, and how many must stay healthy.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::decision::Hold;
use super::policy::OnFailure;
use super::{Member, MemberAnswer, Rollout, Standing};
use crate::name::HostName;

/// How many failures are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Budget {
    /// One. Hosts that did not answer when the plan was made are left out, and do not count.
    Unset,
    /// One more than this; hosts that did not answer when the plan was made count.
    Failures(usize),
}

impl Budget {
    /// Whether so many failed hosts, and so many that did not answer when the plan was made, are too many.
    pub fn is_exceeded(self, failed: usize, away: usize) -> bool {
        match self {
            Self::Unset => failed > 0,
            Self::Failures(most) => failed + away > most,
        }
    }
}

impl Rollout {
    /// Whether so many failed hosts, and so many that did not answer when the plan was made, stop it.
    pub(super) fn is_too_much(&self, failed: usize, away: usize) -> bool {
        self.on_failure != OnFailure::Continue && self.budget.is_exceeded(failed, away)
    }

    /// The members that did not answer when the plan was made.
    pub(super) fn away(&self) -> impl Iterator<Item = &HostName> {
        let away = |member: &Member| matches!(member.standing, Standing::Away(_));
        self.members.iter().filter(move |(_, member)| away(member)).map(|(host, _)| host)
    }

    /// How long a service below what it promises is waited for: as long as its slowest check may take.
    pub fn patience(&self) -> Duration {
        let checks = self.members.values().flat_map(|member| &member.checks);
        checks.map(|check| check.within).max().unwrap_or_default()
    }

    /// What a host waits for without which only so many members would be healthy.
    pub(super) fn too_few(&self, host: &HostName, answers: &BTreeMap<HostName, MemberAnswer>, healthy: usize) -> Hold {
        let down = answers.iter().filter_map(|(host, (standing, _))| Some((host.clone(), standing.why()?.to_owned())));
        Hold::TooFew { host: host.clone(), healthy, floor: self.floor, down: down.collect() }
    }

    /// Why it cannot be kept that so many stay healthy, if it cannot. Hosts that are down and change are counted as if they
    /// will be healthy: they change first, and nothing follows unless they are.
    pub(super) fn refusal(&self) -> Option<String> {
        let is_up = |host: &&HostName| self.members.get(*host).is_some_and(|member| member.standing == Standing::Up);
        let risked = self.waiting.iter().find(is_up)?;
        let changing: BTreeSet<&HostName> = self.together.iter().chain(&self.waiting).collect();
        let counts = |(host, member): &(&HostName, &Member)| match member.standing {
            Standing::Up => true,
            Standing::Down(_) => changing.contains(host),
            Standing::Away(_) | Standing::Unknown(_) => false,
        };
        let (well, down): (Vec<_>, Vec<_>) = self.members.iter().partition(counts);
        let left = well.len().saturating_sub(1);
        if left >= self.floor {
            return None;
        }
        let down: Vec<String> =
            down.into_iter().map(|(host, member)| format!("{host} {}", short(&member.standing))).collect();
        let because = if down.is_empty() { String::new() } else { format!(": {}", down.join("; ")) };
        Some(format!(
            "changing {risked} would leave {left} of {} healthy, and `keep_healthy` requires {}{because}",
            self.members.len(),
            self.floor
        ))
    }

    /// The same with what the members say now.
    pub fn refusal_now(&self, answers: &BTreeMap<HostName, MemberAnswer>) -> Option<String> {
        let mut now = self.clone();
        for (host, (standing, answer)) in answers {
            if let Some(member) = now.members.get_mut(host) {
                (member.standing, member.answer) = (standing.clone(), answer.clone());
            }
        }
        now.refusal()
    }

    /// Whether it could be kept if all members that answer were healthy: one that was restarted a moment ago will be.
    pub fn may_recover(&self) -> bool {
        let up = |member: &Member| match &member.standing {
            Standing::Down(_) => (Standing::Up, None),
            other => (other.clone(), None),
        };
        self.refusal_now(&self.members.iter().map(|(host, member)| (host.clone(), up(member))).collect()).is_none()
    }
}

fn short(standing: &Standing) -> String {
    match standing {
        Standing::Up => "is healthy".to_owned(),
        Standing::Down(why) => format!("is not healthy ({why})"),
        Standing::Away(why) => format!("does not answer ({why})"),
        Standing::Unknown(why) => format!("is not known to be healthy ({why})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::{Changing, Policy, tests::members};

    fn down() -> Standing {
        Standing::Down("port 1 is closed".to_owned())
    }

    fn rollout(standings: &[Standing], waiting: &[usize]) -> Rollout {
        let members = members(standings);
        let waiting = waiting.iter().filter_map(|at| members.keys().nth(*at).cloned()).collect();
        let policy = Policy { keep_healthy: Some(crate::rollout::Amount::Hosts(2)), ..Policy::default() };
        Rollout::new(&policy, members, Changing { waiting, ..Changing::default() })
    }

    #[test]
    fn hosts_that_did_not_answer_count_only_against_a_budget() {
        assert_eq!([0, 1].map(|failed| Budget::Unset.is_exceeded(failed, 5)), [false, true]);
        assert_eq!([(1, 1), (2, 1)].map(|(failed, away)| Budget::Failures(2).is_exceeded(failed, away)), [false, true]);
    }

    #[test]
    fn a_member_that_is_unhealthy_and_changes_counts_as_if_it_will_be_healthy() {
        let standings = [Standing::Up, Standing::Up, down()];
        assert_eq!(rollout(&standings, &[0, 1, 2]).refused, None);
        let refused = rollout(&standings, &[0]).refused;
        assert_eq!(
            refused.as_deref(),
            Some(
                "changing h0 would leave 1 of 3 healthy, and `keep_healthy` requires 2: h2 is not healthy (port 1 is closed)"
            )
        );
        assert_eq!(rollout(&standings, &[2]).refused, None, "nothing healthy goes down");
    }

    #[test]
    fn only_members_that_answer_may_recover() {
        assert!(rollout(&[Standing::Up, Standing::Up, down()], &[0]).may_recover());
        let away = Standing::Away("no route".to_owned());
        assert!(!rollout(&[Standing::Up, Standing::Up, away], &[0]).may_recover());
    }
}
