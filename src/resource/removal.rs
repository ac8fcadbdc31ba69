//! What a removal must know so that it takes nothing but its own.
//!
//! In: what else of the host is wanted, removed and installed by the same plan. Out: answers to a kind's questions about
//! these. Never: a guess about what the plan does not manage; that is read from the host.

use std::collections::{BTreeMap, BTreeSet};

/// Everything else that a plan does with one host. A kind asks it before it removes something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    wanted: Things,
    removed: Things,
    installed: Things,
    /// The directories that belong to an account, and whether they stay.
    belongings: BTreeMap<(String, String), BTreeMap<String, Staying>>,
}

/// Whether a directory that no role wants any more stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Staying {
    /// If something is in it when its turn comes.
    Perhaps,
    /// In any case.
    Surely,
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

    /// Takes note of a directory that stays, or may, and belongs to an account: a `user` or a `group`.
    pub fn belongs(&mut self, (kind, account): (&str, &str), path: &str, staying: Staying) {
        self.belongings.entry(thing(kind, account)).or_default().insert(path.to_owned(), staying);
    }

    /// The directories that belong to an account and stay, or may, in their order.
    pub(super) fn belongings(&self, kind: &str, account: &str) -> impl Iterator<Item = (&String, Staying)> {
        let of = self.belongings.get(&thing(kind, account));
        of.into_iter().flatten().map(|(path, staying)| (path, *staying))
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
