//! What the end of a run makes of a ledger.
//!
//! In: a ledger with its journal worked in, and what a new look at the host found. Out: the ledger to keep. Never: a
//! look of something that armilla did not just change taken for its own work.

use std::collections::BTreeMap;

use super::{Applied, Ledger, ResourceKey};
use crate::name::ServiceName;
use crate::resource::Verb;
use crate::step::Digest;

/// A resource that is wanted, as a new look found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The digest of the keys that are wanted: see [`super::want`].
    pub want: Digest,
    /// Whether nothing is left to do about it.
    pub settled: bool,
    /// Whether it is there.
    pub exists: bool,
    /// See [`super::Owned::imprint`].
    pub imprint: Digest,
    /// See [`super::Owned::absent`].
    pub absent: Option<serde_json::Value>,
    /// See [`super::Owned::order`].
    pub order: u32,
    /// See [`super::Owned::protect`].
    pub protect: bool,
    /// See [`super::Owned::service`].
    pub service: Option<ServiceName>,
    /// See [`super::Owned::notify`].
    pub notify: Option<Verb>,
}

/// What is not any more where a ledger has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parted {
    /// What is wanted under another name now: from where to where.
    pub moved: Vec<(ResourceKey, ResourceKey)>,
    /// What armilla has nothing more to do with.
    pub forgotten: Vec<ResourceKey>,
}

impl Parted {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.moved.is_empty() && self.forgotten.is_empty()
    }
}

impl Ledger {
    /// Lets what is wanted under another name now have the history of what it was.
    pub fn move_over(&mut self, moved: &[(ResourceKey, ResourceKey)]) {
        for (from, to) in moved {
            if let Some(old) = self.owned.remove(from) {
                match self.owned.get_mut(to) {
                    // It was changed already under its new name, when it was of course there.
                    Some(new) => new.origin = old.origin,
                    // Another kind has another imprint.
                    None if from.kind != to.kind => {
                        let expected = super::Expected::Unknown;
                        drop(self.owned.insert(to.clone(), super::Owned { imprint: None, expected, ..old }));
                    }
                    None => drop(self.owned.insert(to.clone(), old)),
                }
            }
            if let Some(pending) = self.pending.remove(from) {
                self.pending.entry(to.clone()).or_insert(pending);
            }
        }
    }

    /// Works in what a new look found. `boot` is the boot in which that was; `converged` is the run, if now all of the
    /// host is as it should be.
    pub fn settle(
        &mut self,
        found: &BTreeMap<ResourceKey, Found>,
        parted: &Parted,
        boot: &str,
        converged: Option<&Applied>,
    ) {
        self.move_over(&parted.moved);
        for place in &parted.forgotten {
            self.owned.remove(place);
            self.pending.remove(place);
        }
        for (place, found) in found {
            self.look(place, found);
        }
        // What runs was started since.
        self.pending.retain(|_, pending| pending.boot == boot);
        if let Some(run) = converged {
            self.converged = Some(run.clone());
        }
    }

    fn look(&mut self, place: &ResourceKey, found: &Found) {
        if found.settled {
            self.pending.remove(place);
        }
        let Some(owned) = self.owned.get_mut(place) else { return };
        owned.order = found.order;
        owned.protect = found.protect;
        owned.notify = found.notify;
        owned.leaving = false;
        owned.service.clone_from(&found.service);
        owned.absent.clone_from(&found.absent);
        if found.settled {
            owned.want.clone_from(&found.want);
            owned.there = found.exists;
            // One that is known is of our last change: what somebody did since must not become ours.
            owned.imprint.get_or_insert_with(|| found.imprint.clone());
            owned.expected = super::Expected::Unknown;
        }
    }
}
