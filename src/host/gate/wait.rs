//! How long a check is waited for: the rules of `plan/wait.rs`, which looks from outside.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::step::{Check, Digest};

/// One wait for one check. An answer that was not given before is progress and begins the time anew; to waver between
/// known ones is none.
#[derive(Debug, Default)]
pub(super) struct Wait {
    /// When the last new answer was given, counted from the beginning as all times here.
    fresh: Duration,
    /// Since when it holds without a break.
    since: Option<Duration>,
    /// What was answered, the empty text where it held: only the digests, as a program may say much.
    heard: BTreeSet<String>,
}

/// What was answered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer<'a> {
    /// It holds.
    Holds,
    /// It does not, for this reason.
    Fails(&'a str),
    /// Nothing, as its time was cut short: that says nothing new.
    Late(&'a str),
}

/// What follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// It held for long enough.
    Enough,
    /// It is asked again, for this long at most unless something new is answered; why.
    Again(Duration, String),
    /// It is given up: after how long, and why.
    Over(String),
}

impl Wait {
    /// How much time is left for an answer.
    pub(super) fn left(&self, check: &Check, now: Duration) -> Duration {
        self.end(check).saturating_sub(now)
    }

    fn end(&self, check: &Check) -> Duration {
        check.hard_end().min(self.fresh + check.within)
    }

    /// An answer was given now.
    pub(super) fn hear(&mut self, check: &Check, now: Duration, answer: Answer<'_>) -> Next {
        let holds = matches!(answer, Answer::Holds);
        self.since = holds.then(|| self.since.unwrap_or(now));
        let held = self.since.map(|since| now.saturating_sub(since));
        if held.is_some_and(|held| held >= check.stable_for) {
            return Next::Enough;
        }
        match answer {
            Answer::Holds => self.note("", now),
            Answer::Fails(why) => self.note(why, now),
            Answer::Late(_) => {}
        }
        let why = match answer {
            Answer::Holds => {
                format!("holds for {} s of {} s", held.unwrap_or_default().as_secs(), whole(check.stable_for))
            }
            Answer::Fails(why) | Answer::Late(why) => why.to_owned(),
        };
        let left = self.left(check, now);
        if left.is_zero() { Next::Over(self.over(check, &why)) } else { Next::Again(left, why) }
    }

    /// The first answer is no news, unless all is well: nothing came before it.
    fn note(&mut self, answer: &str, now: Duration) {
        let news = !self.heard.is_empty() || answer.is_empty();
        if self.heard.insert(Digest::of(answer.as_bytes()).0) && news {
            self.fresh = now;
        }
    }

    fn over(&self, check: &Check, why: &str) -> String {
        let time = if self.end(check) == check.hard_end() {
            format!("{} s in all", whole(check.hard_end()))
        } else if self.fresh > Duration::ZERO {
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
    fn play(check: &Check, answer: impl Fn(u64) -> Option<String>) -> (u64, Next) {
        let mut wait = Wait::default();
        (0..)
            .find_map(|now| {
                let said = answer(now);
                let answer = said.as_deref().map_or(Answer::Holds, Answer::Fails);
                match wait.hear(check, Duration::from_secs(now), answer) {
                    Next::Again(..) => None,
                    over => Some((now, over)),
                }
            })
            .expect("every wait ends")
    }

    fn over(text: &str) -> Next {
        Next::Over(text.to_owned())
    }

    #[test]
    fn healthy_then_unhealthy_is_not_healthy() {
        let unhealthy_after_20 = |now| (now >= 20).then(|| "dead".to_owned());
        assert_eq!(play(&check(30, 40, 400), unhealthy_after_20), (60, over("not within 40 s of the last news: dead")));
        assert_eq!(play(&check(15, 40, 400), unhealthy_after_20), (15, Next::Enough));
        assert_eq!(play(&check(19, 19, 400), unhealthy_after_20), (19, Next::Enough), "it may use all of its time");
    }

    #[test]
    fn flapping_between_known_answers_is_no_progress() {
        let flapping = |now| (now % 3 == 0).then(|| "dead".to_owned());
        assert_eq!(play(&check(5, 30, 300), flapping).0, 31, "the first time that it holds is progress, no other");
        let held = |now| (now % 3 == 0 && now < 60).then(|| "dead".to_owned());
        assert_eq!(play(&check(5, 90, 900), held), (63, Next::Enough), "it begins again after each break");
    }

    #[test]
    fn a_slow_start_is_waited_for_while_it_gets_on() {
        let loading = |now| (now < 300).then(|| format!("{} of 30 tables", now / 10));
        assert_eq!(play(&check(0, 15, 600), loading), (300, Next::Enough));
        assert_eq!(play(&check(0, 15, 100), loading), (100, over("not within 100 s in all: 10 of 30 tables")));
        assert_eq!(play(&check(0, 5, 600), loading), (5, over("not within 5 s: 0 of 30 tables")));
    }

    #[test]
    fn what_was_cut_short_is_no_news() {
        let (check, seconds) = (check(0, 4, 40), Duration::from_secs);
        let mut wait = Wait::default();
        assert_eq!(wait.hear(&check, seconds(1), Answer::Fails("no")), Next::Again(seconds(3), "no".to_owned()));
        assert_eq!(wait.hear(&check, seconds(3), Answer::Late("late")), Next::Again(seconds(1), "late".to_owned()));
        assert_eq!(wait.hear(&check, seconds(4), Answer::Late("late")), over("not within 4 s: late"));
        let mut wait = Wait::default();
        wait.hear(&check, seconds(1), Answer::Fails("no"));
        assert_eq!(wait.hear(&check, seconds(3), Answer::Fails("other")), Next::Again(seconds(4), "other".to_owned()));
    }

    #[test]
    fn how_long_it_has_held_is_told() {
        let check = check(30, 40, 400);
        let mut wait = Wait::default();
        wait.hear(&check, Duration::from_secs(2), Answer::Holds);
        let Next::Again(left, why) = wait.hear(&check, Duration::from_millis(9500), Answer::Holds) else {
            panic!("it is not stable yet")
        };
        assert_eq!((left, why.as_str()), (Duration::from_millis(32_500), "holds for 7 s of 30 s"));
    }
}
