//! What a removal must know so that it takes nothing but its own.
//!
//! In: what else of the host is wanted, removed and installed by the same plan. Out: answers to a kind's questions about
//! these. Never: a guess about what the plan does not manage; that is read from the host.

use std::collections::BTreeSet;

/// Everything else that a plan does with one host. A kind asks it before it removes something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    wanted: Things,
    removed: Things,
    installed: Things,
}

/// Things by kind and target.
type Things = BTreeSet<(String, String)>;

fn thing(kind: &str, target: &str) -> (String, String) {
    (kind.to_owned(), target.to_owned())
}

impl Others {
    /// Takes note of something that a role wants.
    pub fn want(&mut self, kind: &str, target: &str) {
        self.wanted.insert(thing(kind, target));
    }

    /// Takes note of something that is removed, or is not there because a role wants it away.
    pub fn remove(&mut self, kind: &str, target: &str) {
        self.removed.insert(thing(kind, target));
    }

    /// Takes note that something stays all the same.
    pub fn keep(&mut self, kind: &str, target: &str) {
        self.removed.remove(&thing(kind, target));
    }

    /// Takes note of something that is not there yet and is installed before anything is removed.
    pub fn install(&mut self, kind: &str, target: &str) {
        self.installed.insert(thing(kind, target));
    }

    /// Whether a role wants it.
    pub fn wants(&self, kind: &str, target: &str) -> bool {
        self.wanted.contains(&thing(kind, target))
    }

    /// Whether it is removed as well.
    pub fn removes(&self, kind: &str, target: &str) -> bool {
        self.removed.contains(&thing(kind, target))
    }

    /// Whether anything of a kind is removed as well.
    pub fn removes_any(&self, kind: &str) -> bool {
        self.removed.iter().any(|(of, _)| of == kind)
    }

    /// The targets of a kind that are installed before anything is removed.
    pub fn installs(&self, kind: &str) -> Vec<String> {
        self.installed.iter().filter(|(of, _)| of == kind).map(|(_, target)| target.clone()).collect()
    }

    /// A name with the remark that it is wanted, if it is: why something stays is read by a person.
    pub(super) fn described(&self, kind: &str, target: &str) -> String {
        let wanted = if self.wants(kind, target) { " (which is in a role)" } else { "" };
        format!("{kind} {target}{wanted}")
    }
}

/// Why something is to be away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// A role says so.
    Written,
    /// No role wants it any more.
    Left,
}

/// How a thing looks right after it was made (see [`super::Kind::imprint`]): by this it is recognized where the run ended
/// before it could read the host again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// As its steps leave its files.
    BySteps,
    /// This, on every host.
    As(String),
    /// However it looks: it holds nothing that could be lost with it.
    Any,
}
