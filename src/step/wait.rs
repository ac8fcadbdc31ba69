//! How long a check is waited for.
//!
//! In: the answers to a check, and when each was given. Out: whether it held for long enough, is asked again, or is given
//! up. Never: a clock or a question of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Check, Digest};

/// One wait for one check. An answer that was not given before is progress and begins the time anew; to waver between
/// known ones is none.
#[derive(Debug, Clone)]
pub struct Wait {
    began: Duration,
    /// When the last new answer was given.
    fresh: Duration,
    /// Since when it holds without a break.
    since: Option<Duration>,
    /// What was answered, the empty text where it held: only the digests, as a program may say much.
    heard: BTreeSet<String>,
}

/// What was answered.
#[derive(Debug, Clone, Copy)]
pub enum Heard<'a> {
    /// It holds.
    Holds,
    /// It does not, for this reason.
    Fails(&'a str),
    /// Nothing, as its time was cut short: that says nothing new.
    Late(&'a str),
}

/// What follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitStep {
    /// It held for long enough.
    Enough,
    /// It is asked again, for this long at most unless something new is answered; why.
    Again(Duration, String),
    /// It is given up: after how long, and why.
    Over(String),
}

impl Wait {
    /// A wait that begins now, by any clock that never goes back.
    pub fn begin(now: Duration) -> Self {
        Self { began: now, fresh: now, since: None, heard: BTreeSet::new() }
    }

    /// How much time is left for an answer.
    pub fn left(&self, check: &Check, now: Duration) -> Duration {
        self.end(check).saturating_sub(now)
    }

    fn hard_end(&self, check: &Check) -> Duration {
        self.began + check.hard_end()
    }

    fn end(&self, check: &Check) -> Duration {
        self.hard_end(check).min(self.fresh + check.within)
    }

    /// An answer was given now.
    pub fn hear(&mut self, check: &Check, now: Duration, answer: Heard<'_>) -> WaitStep {
        let holds = matches!(answer, Heard::Holds);
        self.since = holds.then(|| self.since.unwrap_or(now));
        let held = self.since.map(|since| now.saturating_sub(since));
        if held.is_some_and(|held| held >= check.stable_for) {
            return WaitStep::Enough;
        }
        match answer {
            Heard::Holds => self.note("", now),
            Heard::Fails(why) => self.note(why, now),
            Heard::Late(_) => {}
        }
        let why = match answer {
            Heard::Holds => {
                format!("holds for {} s of {} s", held.unwrap_or_default().as_secs(), whole(check.stable_for))
            }
            Heard::Fails(why) | Heard::Late(why) => why.to_owned(),
        };
        let left = self.left(check, now);
        if left.is_zero() { WaitStep::Over(self.over(check, &why)) } else { WaitStep::Again(left, why) }
    }

    /// The first answer is no news, unless all is well: nothing came before it.
    fn note(&mut self, answer: &str, now: Duration) {
        let news = !self.heard.is_empty() || answer.is_empty();
        if self.heard.insert(Digest::of(answer.as_bytes()).0) && news {
            self.fresh = now;
        }
    }

    fn over(&self, check: &Check, why: &str) -> String {
        let time = if self.end(check) == self.hard_end(check) {
            format!("{} s in all", whole(check.hard_end()))
        } else if self.fresh > self.began {
            format!("{} s of the last news", whole(check.within))
        } else {
            format!("{} s", whole(check.within))
        };
        format!("not within {time}: {why}")
    }
}

/// In whole seconds, and no less.
fn whole(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
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
            .find_map(|now| {
                let said = answer(now);
                let answer = said.as_deref().map_or(Heard::Holds, Heard::Fails);
                match wait.hear(check, Duration::from_secs(now), answer) {
                    WaitStep::Again(..) => None,
                    over => Some((now, over)),
                }
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
    fn what_was_cut_short_is_no_news() {
        let (check, seconds) = (check(0, 4, 40), Duration::from_secs);
        let mut wait = Wait::begin(Duration::ZERO);
        assert_eq!(wait.hear(&check, seconds(1), Heard::Fails("no")), WaitStep::Again(seconds(3), "no".to_owned()));
        assert_eq!(wait.hear(&check, seconds(3), Heard::Late("late")), WaitStep::Again(seconds(1), "late".to_owned()));
        assert_eq!(wait.hear(&check, seconds(4), Heard::Late("late")), over("not within 4 s: late"));
        let mut wait = Wait::begin(Duration::ZERO);
        wait.hear(&check, seconds(1), Heard::Fails("no"));
        assert_eq!(
            wait.hear(&check, seconds(3), Heard::Fails("other")),
            WaitStep::Again(seconds(4), "other".to_owned())
        );
    }

    #[test]
    fn how_long_it_has_held_is_told() {
        let check = check(30, 40, 400);
        let mut wait = Wait::begin(Duration::ZERO);
        wait.hear(&check, Duration::from_secs(2), Heard::Holds);
        let WaitStep::Again(left, why) = wait.hear(&check, Duration::from_millis(9500), Heard::Holds) else {
            panic!("it is not stable yet")
        };
        assert_eq!((left, why.as_str()), (Duration::from_millis(32_500), "holds for 7 s of 30 s"));
    }

    #[test]
    fn the_time_left_is_that_of_the_nearer_end() {
        let (check, seconds) = (check(0, 10, 25), Duration::from_secs);
        let mut wait = Wait::begin(seconds(100));
        for (now, why, left) in [(103, "a", 7), (108, "b", 10), (117, "c", 8)] {
            let next = wait.hear(&check, seconds(now), Heard::Fails(why));
            assert_eq!(next, WaitStep::Again(seconds(left), why.to_owned()));
        }
        assert_eq!(wait.hear(&check, seconds(125), Heard::Fails("d")), over("not within 25 s in all: d"));
    }
}
