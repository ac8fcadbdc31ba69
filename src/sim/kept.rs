//! What a simulated host keeps before a change: the values that `undo` puts back.

use std::collections::BTreeMap;

use super::tree::Node;
use crate::name::Owner;
use crate::step::Touched;

/// Whose it is, and the name of the change.
pub(super) type Key = (Owner, String);

/// What was there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Kept {
    pub(super) state: State,
    pub(super) things: Vec<(Touched, Was)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    #[default]
    Open,
    Committed,
    Undone,
}

/// How one thing was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Was {
    /// A path with its node; and with all below it, by name, where an archive was unpacked. None: nothing was there.
    Path(Option<Node>, BTreeMap<String, Node>),
    Unit {
        active: bool,
        failed: bool,
        enabled: bool,
    },
    Package {
        version: Option<String>,
        automatic: bool,
        held: bool,
    },
}
