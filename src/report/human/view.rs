//! What a person wants to see of a plan.

use std::time::Duration;

/// What a person wants to see of a plan.
#[derive(Debug, Clone)]
pub struct View {
    /// Of the project, if it has one: `3f2c1ab (clean)`.
    pub revision: Option<String>,
    /// When the hosts were read.
    pub read: Read,
    /// How much of each difference.
    pub diffs: Diffs,
    /// How often `-v` was typed; from 1 on, each step is shown.
    pub verbose: u8,
    /// Columns of the terminal.
    pub width: usize,
    /// What to type to do the plan; none if it is done anyway.
    pub command: Option<String>,
    /// The hosts it was limited to, as they were typed.
    pub limit: Option<String>,
    /// The resources it was limited to, in words.
    pub part: Option<String>,
    /// How many hosts were left out by the limit.
    pub hosts_left_out: usize,
    /// What it is about.
    pub subject: Subject,
}

/// What a plan is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Subject {
    /// Services on their hosts.
    #[default]
    Services,
    /// Taking away everything on so many hosts.
    Destruction {
        /// How many.
        hosts: usize,
    },
}

/// When the hosts of a plan were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Just now, and it took so long.
    Now(Duration),
    /// When it was saved; the words for it.
    Saved(String),
}

/// How much of each difference is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Diffs {
    /// The first lines, and how many more there are. Of new files, only how large they are.
    Short,
    /// Every line.
    Full,
}
