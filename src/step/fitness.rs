//! What a host says of itself before anything is planned for it.

use std::collections::{BTreeMap, BTreeSet};

/// As whom a host works, what it has, and how it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FitnessReading {
    /// As whom it works: a name, or the number where it has none.
    pub user: String,
    /// Whether that user could become root.
    pub sudo: Sudo,
    /// Those of the programs that were asked about that are there.
    pub programs: BTreeSet<String>,
    /// Free bytes, by directory.
    pub free: BTreeMap<String, u64>,
    /// Its clock, in seconds since 1970.
    pub clock: i64,
}

/// Whether a user could become root by sudo.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Sudo {
    /// It is root.
    #[default]
    NotNeeded,
    /// It could, without a password.
    Free,
    /// It could not; sudo's own words.
    Refused(String),
    /// There is no sudo.
    Missing,
}
