//! Keeping what is there before a change, so that it can be put back.
//!
//! In: nothing. Out: the words for it. Never: a decision about what is worth keeping.

use crate::name::Owner;

/// What is kept of a host before a change.
///
/// It is *open* until [`super::Step::Commit`]. Where an open one of the name is there, because an earlier run was cut off in
/// the middle of its change, only what it does not have yet is added to it: what was kept first is the truth. In the place
/// of one that is committed, or that was put back, a new one begins.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Whose.
    #[serde(rename = "environment")]
    pub owner: Owner,
    /// Its name: that of the role whose change it is for.
    pub name: String,
    /// What the change touches, in the order in which it does so.
    pub touched: Vec<Touched>,
}

/// Something that a change touches, and that can be put back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Touched {
    /// What is at a path, absolute or in a home (see [`super::home_of`]): a file or link with its content, owner and mode;
    /// a directory with its owner and mode, and all that is in it only where an archive was unpacked to it; or nothing.
    /// With nothing there, the directories above it that are missing belong to it.
    Path(String),
    /// Whether a unit is active, and whether it is enabled. Its name with its ending.
    Unit(String),
    /// The version of a package, whether upgrades leave it alone and whether it was asked for; or that it is not installed.
    Package(String),
}
