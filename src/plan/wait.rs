//! How long a check is waited for.
//!
//! In: the answers to a check, and when each was given. Out: whether it held for long enough, is asked again, or is given
//! up. Never: a clock or a question of its own. The shell of `transport/script/act/checks.sh` (`await`) goes by the same rules.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::step::Check;

/// One wait for one check. An answer that was not given before is progress and begins the time anew; to waver between
/// known ones is none.
#[derive(Debug, Clone)]
pub struct Wait {
    began: Duration,
    /// When the last new answer was given.
    fresh: Duration,
    /// Since when it holds without a break.
    since: Option<Duration>,
    /// What was answered, the empty text where it held.
    heard: BTreeSet<String>,
}

/// What follows from an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitStep {
    /// It held for long enough.
    Enough,
    /// It is asked again, for this long at most unless something new is answered.
    Again(Duration),
    /// It is given up: after how long, and why.
    Over(String),
}

impl Wait {
    /// A wait that begins now, by any clock that never goes back.
    pub fn begin(now: Duration) -> Self {
        Self { began: now, fresh: now, since: None, heard: BTreeSet::new() }
    }

    /// An answer was given now: what does not hold, or nothing where it does.
    pub fn hear(&mut self, check: &Check, now: Duration, trouble: Option<&str>) -> WaitStep {
        self.since = trouble.is_none().then(|| self.since.unwrap_or(now));
        if self.since.is_some_and(|since| now.saturating_sub(since) >= check.stable_for) {
            return WaitStep::Enough;
        }
        // The first answer is no news, unless all is well: nothing came before it.
        let news = !self.heard.is_empty() || trouble.is_none();
        if self.heard.insert(trouble.unwrap_or_default().to_owned()) && news {
            self.fresh = now;
        }
        let hard = self.began + check.hard_end();
        let end = hard.min(self.fresh + check.within);
        let left = end.saturating_sub(now);
        if !left.is_zero() {
            return WaitStep::Again(left);
        }
        let why = trouble.unwrap_or("it is not stable for long enough");
        WaitStep::Over(match () {
            () if end == hard => format!("not within {} s in all: {why}", check.hard_end().as_secs()),
            () if self.fresh > self.began => format!("not within {} s of the last news: {why}", check.within.as_secs()),
            () => format!("not within {} s: {why}", check.within.as_secs()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::{Expect, Probe};

    fn check(stable_for: u64, within: u64, at_most: u64) -> Check {
        let [stable_for, within, at_most] = [stable_for, within, at_most].map(Duration::from_secs);
        Check { stable_for, within, at_most, ..Check::new(Probe::port("127.0.0.1", 1), Expect::Open) }
    }

    /// Asks every second until it is over; gives when, and how it ended.
    fn play(check: &Check, answer: impl Fn(u64) -> Option<String>) -> (u64, WaitStep) {
        let mut wait = Wait::begin(Duration::ZERO);
        (0..)
            .find_map(|now| match wait.hear(check, Duration::from_secs(now), answer(now).as_deref()) {
                WaitStep::Again(_) => None,
                over => Some((now, over)),
            })
            .expect("every wait ends")
    }

    fn over(text: &str) -> WaitStep {
        WaitStep::Over(text.to_owned())
    }

    #[test]
    fn f27_healthy_then_unhealthy_is_not_healthy() {
        let unhealthy_after_20 = |now| (now >= 20).then(|| "dead".to_owned());
        assert_eq!(play(&check(30, 40, 400), unhealthy_after_20), (60, over("not within 40 s of the last news: dead")));
        assert_eq!(play(&check(15, 40, 400), unhealthy_after_20), (15, WaitStep::Enough));
        assert_eq!(play(&check(19, 19, 400), unhealthy_after_20), (19, WaitStep::Enough), "it may use all of its time");
    }

    #[test]
    fn f27_flapping_between_known_answers_is_no_progress() {
        let flapping = |now| (now % 3 == 0).then(|| "dead".to_owned());
        assert_eq!(play(&check(5, 30, 300), flapping).0, 31, "the first time that it holds is progress, no other");
        let held = |now| (now % 3 == 0 && now < 60).then(|| "dead".to_owned());
        assert_eq!(play(&check(5, 90, 900), held), (63, WaitStep::Enough), "it begins again after each break");
    }

    #[test]
    fn f27_a_slow_start_is_waited_for_while_it_gets_on() {
        let loading = |now| (now < 300).then(|| format!("{} of 30 tables", now / 10));
        assert_eq!(play(&check(0, 15, 600), loading), (300, WaitStep::Enough));
        assert_eq!(play(&check(0, 15, 100), loading), (100, over("not within 100 s in all: 10 of 30 tables")));
        assert_eq!(play(&check(0, 5, 600), loading), (5, over("not within 5 s: 0 of 30 tables")));
    }

    #[test]
    fn the_time_left_is_that_of_the_nearer_end() {
        let (check, seconds) = (check(0, 10, 25), Duration::from_secs);
        let mut wait = Wait::begin(seconds(100));
        assert_eq!(wait.hear(&check, seconds(103), Some("a")), WaitStep::Again(seconds(7)));
        assert_eq!(wait.hear(&check, seconds(108), Some("b")), WaitStep::Again(seconds(10)));
        assert_eq!(wait.hear(&check, seconds(117), Some("c")), WaitStep::Again(seconds(8)));
    }
}
