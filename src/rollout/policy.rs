//! What an author promises of a rollout, and the numbers that nobody sets.

use std::time::Duration;

/// How often members that are waited for are asked again.
pub(super) const POLL: Duration = Duration::from_secs(2);

/// How long what members said counts for those that did not change since, from the moment at which all had answered.
pub(super) const FRESH: Duration = Duration::from_secs(5);

/// How long a unit that was active before a change must be active again after a rollback.
pub const STABLE: Duration = Duration::from_secs(2);

/// What a rollout promises, the same on every host of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// How many hosts are down at a time. Of several the last goes on for ever, and each begins when those of the one before
    /// are well. None is all at once.
    pub batch: Vec<Batch>,
    /// How many hosts may fail or not answer before no other is begun. Without it, hosts that did not answer when the plan was
    /// made do not count, and the first failure is one too many.
    pub budget: Option<Amount>,
    /// How many hosts are healthy at any moment, across runs.
    pub keep_healthy: Option<Amount>,
    /// Hosts whose answer to the order's program matches this (a regular expression, the whole of it) are first.
    pub first: Option<String>,
    /// And these are last.
    pub last: Option<String>,
    /// Some that go first, and what must happen before the others.
    pub canary: Option<Canary>,
    /// What happens when there is a failure too many.
    pub on_failure: OnFailure,
}

impl Policy {
    /// Whether all hosts change at once and nothing is to be decided on the way.
    pub fn is_plain(&self) -> bool {
        *self == Self::default() || *self == Self { batch: vec![Batch::All], ..Self::default() }
    }
}

/// How many hosts change at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Batch {
    /// All at once.
    #[default]
    All,
    /// This many.
    Hosts(usize),
    /// This many of a hundred, rounded down, at least one.
    Percent(usize),
}

impl Batch {
    /// How many of so many hosts.
    pub fn of(self, hosts: usize) -> usize {
        match self {
            Self::All => hosts.max(1),
            Self::Hosts(n) => n.max(1),
            Self::Percent(n) => (hosts * n / 100).max(1),
        }
    }
}

/// A part of the hosts of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Amount {
    /// This many.
    Hosts(usize),
    /// This many of a hundred.
    Percent(usize),
    /// More than half.
    Majority,
}

impl Amount {
    /// At most so many of all: what is broken is rounded down.
    pub fn at_most(self, hosts: usize) -> usize {
        match self {
            Self::Hosts(n) => n,
            Self::Percent(n) => hosts * n / 100,
            Self::Majority => hosts / 2 + 1,
        }
    }

    /// At least so many of all: what is broken is rounded up. Never more than all but one, or nothing could ever change.
    pub fn at_least(self, hosts: usize) -> usize {
        let promised = match self {
            Self::Hosts(n) => n,
            Self::Percent(n) => (hosts * n).div_ceil(100),
            Self::Majority => hosts / 2 + 1,
        };
        promised.min(hosts.saturating_sub(1))
    }
}

/// Hosts that go first, so that the others learn from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// How many.
    pub hosts: usize,
    /// How long they must be healthy before the others begin.
    #[serde(with = "crate::step::span")]
    pub stable_for: Duration,
    /// Whether a person says when the others begin.
    pub approve: bool,
}

/// What happens when there is a failure too many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OnFailure {
    /// No other host is begun.
    #[default]
    Stop,
    /// The others are done all the same.
    Continue,
    /// What the run changed for this service is put back as it was before.
    Rollback,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_never_empty_and_never_rounds_up() {
        assert_eq!((Batch::Percent(25).of(10), Batch::Percent(25).of(3), Batch::Hosts(2).of(1)), (2, 1, 2));
        assert_eq!((Batch::All.of(7), Batch::All.of(0)), (7, 1));
    }

    #[test]
    fn what_may_fail_is_rounded_down_and_what_must_live_up() {
        assert_eq!((Amount::Percent(10).at_most(9), Amount::Percent(10).at_most(10)), (0, 1));
        assert_eq!((Amount::Percent(50).at_least(3), Amount::Hosts(5).at_least(3)), (2, 2));
        assert_eq!([1, 2, 3, 4, 5].map(|hosts| Amount::Majority.at_least(hosts)), [0, 1, 2, 3, 3]);
    }
}
