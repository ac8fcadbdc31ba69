//! The nearest known names, for as long as somebody reads them.
//!
//! In: names nobody knows. Out: hints for the first of them. Never: five thousand comparisons for each of five
//! thousand mistakes, which are one mistake.

use crate::name;

/// Nobody reads more hints, and each looks at every known name.
const MOST: usize = 20;

/// Gives hints until there were enough.
#[derive(Debug, Default)]
pub(super) struct Hints {
    given: usize,
}

impl Hints {
    /// The known names nearest to what was typed, or all if they are few.
    pub(super) fn near<'a>(&mut self, typed: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
        self.given += 1;
        if self.given > MOST { None } else { name::did_you_mean(typed, known) }
    }
}
