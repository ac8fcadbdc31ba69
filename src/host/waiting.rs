//! What is waited for, as it is told: not every moment, and not at length.

use std::time::{Duration, Instant};

use super::{Failure, Result};

/// Hears what is waited for, and gives whether anybody still listens; an empty text only asks that.
pub(super) type Tell<'a> = dyn FnMut(&str) -> bool + 'a;

/// Between two words about one wait.
const PAUSE: Duration = Duration::from_secs(2);

/// The most that is told of a line, in characters.
const LINE: usize = 300;

/// Tells whoever waits with us.
pub(super) struct Teller<'a> {
    tell: &'a mut Tell<'a>,
    next: Instant,
}

impl<'a> Teller<'a> {
    /// One whose first word may come at once.
    pub(super) fn new(tell: &'a mut Tell<'_>) -> Self {
        Self { tell, next: Instant::now() }
    }

    /// One that keeps silent about what is over soon.
    pub(super) fn patient(tell: &'a mut Tell<'_>) -> Self {
        Self { tell, next: Instant::now() + PAUSE }
    }

    /// Tells the first line of a text and what comes behind it, unless something was told a moment ago.
    ///
    /// # Errors
    /// When nobody listens any more: then nothing is waited for.
    pub(super) fn say(&mut self, text: &str, more: &str) -> Result {
        let mut words = String::new();
        if Instant::now() >= self.next {
            self.next = Instant::now() + PAUSE;
            let line: String = text.lines().next().unwrap_or_default().chars().take(LINE).collect();
            words = format!("{line}{more}");
        }
        if (self.tell)(&words) { Ok(()) } else { Err(Failure::new("nobody waits for it any more")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_told_and_then_nothing_for_a_while() {
        let mut told = Vec::new();
        let mut tell = |text: &str| {
            told.push(text.to_owned());
            true
        };
        let mut teller = Teller::new(&mut tell);
        assert_eq!(teller.say(&format!("{}\nmore", "x".repeat(400)), " (2 s left)"), Ok(()));
        assert_eq!(teller.say("again", ""), Ok(()));
        assert_eq!(Teller::patient(&mut tell).say("too soon", ""), Ok(()));
        assert_eq!(told, [format!("{} (2 s left)", "x".repeat(300)), String::new(), String::new()]);
        assert!(Teller::new(&mut |_: &str| false).say("again", "").is_err());
    }
}
