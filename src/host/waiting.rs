//! What is waited for, as it is told: not every moment, and not at length.

use std::time::{Duration, Instant};

/// Between two words about one wait.
const PAUSE: Duration = Duration::from_secs(2);

/// The most that is told of a line, in characters.
const LINE: usize = 300;

/// Tells whoever waits with us.
pub(super) struct Teller<'a> {
    tell: &'a mut dyn FnMut(&str),
    next: Instant,
}

impl<'a> Teller<'a> {
    /// One whose first word may come at once.
    pub(super) fn new(tell: &'a mut dyn FnMut(&str)) -> Self {
        Self { tell, next: Instant::now() }
    }

    /// One that keeps silent about what is over soon.
    pub(super) fn patient(tell: &'a mut dyn FnMut(&str)) -> Self {
        Self { tell, next: Instant::now() + PAUSE }
    }

    /// Tells the first line of a text and what comes behind it, unless something was told a moment ago.
    pub(super) fn say(&mut self, text: &str, more: &str) {
        if Instant::now() >= self.next {
            self.next = Instant::now() + PAUSE;
            let line: String = text.lines().next().unwrap_or_default().chars().take(LINE).collect();
            (self.tell)(&format!("{line}{more}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_told_and_then_nothing_for_a_while() {
        let mut told = Vec::new();
        let mut tell = |text: &str| told.push(text.to_owned());
        let mut teller = Teller::new(&mut tell);
        teller.say(&format!("{}\nmore", "x".repeat(400)), " (2 s left)");
        teller.say("again", "");
        Teller::patient(&mut tell).say("too soon", "");
        assert_eq!(told, [format!("{} (2 s left)", "x".repeat(300))]);
    }
}
