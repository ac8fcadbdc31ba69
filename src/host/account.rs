//! Users and groups, as the host's own name service knows them.

use super::Result;

/// A user account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// Its number.
    pub(super) uid: u32,
    /// The number of its primary group.
    pub(super) gid: u32,
    /// Its home directory.
    pub(super) home: String,
}
