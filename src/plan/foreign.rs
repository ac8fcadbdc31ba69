//! What other owners have on a host: what we must neither change nor take away.
//!
//! In: the ledgers of other projects and environments on one host. Out: who has a target. Never: a ledger that is not
//! understood taken for an empty one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ledger::{Ledger, Owned, ResourceKey};
use crate::name::{Owner, RunId};
use crate::resource::{Claim, Hold, Resource, kind};
use crate::step::Record;

/// What takes something away, if anything does.
pub(super) fn resource_of(place: &ResourceKey, owned: &Owned) -> Option<Arc<dyn Resource>> {
    (kind(&place.kind)?.parse)(&keys_of(place, owned)?.into()).ok()
}

/// The keys of what takes something away, in today's form.
pub(super) fn keys_of(place: &ResourceKey, owned: &Owned) -> Option<serde_json::Value> {
    Some((kind(&place.kind)?.renewed)(owned.absent.clone()?))
}

/// What others have on one host.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    claims: BTreeMap<(Claim, String), Other>,
    /// The paths that are wholly theirs, and those of which they have a part.
    wholes: BTreeMap<String, Other>,
    parts: BTreeMap<String, Other>,
}

/// Who has something, and since which run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Other {
    owner: Owner,
    run: RunId,
    since: String,
}

impl std::fmt::Display for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { owner: Owner { project, environment }, run, since } = self;
        match project {
            Some(project) => write!(f, "the environment {environment} of the project {project}")?,
            None => write!(f, "the environment {environment} of a project that is not named")?,
        }
        write!(f, " (run {run} of {since})")
    }
}

impl Foreign {
    /// Reads the ledgers of others.
    ///
    /// # Errors
    /// When one of them cannot be read: what it holds is not known then.
    pub(super) fn of(others: &[(&Owner, &Record)]) -> Result<Self, String> {
        let mut foreign = Self::default();
        for (owner, record) in others {
            let ledger = Ledger::of(&owner.environment, record.ledger.as_deref(), record.journal.as_deref());
            let ledger = ledger.map_err(|why| format!("the ledger of {owner} there cannot be read: {why}"))?;
            for (place, owned) in &ledger.owned {
                foreign.add(owner, place, owned);
            }
        }
        Ok(foreign)
    }

    fn add(&mut self, owner: &Owner, place: &ResourceKey, thing: &Owned) {
        let other = Other { owner: (*owner).clone(), run: thing.run.clone(), since: thing.since.clone() };
        let Some(info) = kind(&place.kind) else { return };
        // What is wanted away has nothing that takes it away; of a path this is enough to know it.
        let by_path = || (info.parse)(&serde_json::json!({ "path": place.target, "state": "absent" }).into()).ok();
        let Some(resource) = resource_of(place, thing).or_else(by_path) else {
            self.claims.insert((Claim::Own(info.name), place.target.clone()), other);
            return;
        };
        match resource.holds() {
            Some(Hold::Whole(path)) => drop(self.wholes.insert(path, other.clone())),
            Some(Hold::Part(path)) => drop(self.parts.insert(path, other.clone())),
            None => {}
        }
        self.claims.insert((resource.claim(), place.target.clone()), other);
    }

    /// Who else has this. A file is either one resource's own, or parts of it are several resources'; the same part is
    /// one target.
    pub(super) fn claimant(&self, resource: &dyn Resource) -> Option<&Other> {
        if resource.is_shared() {
            return None;
        }
        let same = || self.claims.get(&(resource.claim(), resource.target()));
        let around = || match resource.holds()? {
            Hold::Whole(path) => self.parts.get(&path),
            Hold::Part(path) => self.wholes.get(&path),
        };
        same().or_else(around)
    }

    /// Who else has something in a directory, and what.
    pub(super) fn inside(&self, resource: &dyn Resource) -> Option<(&str, &Other)> {
        let Some(Hold::Whole(directory)) = resource.holds() else { return None };
        let below = |path: &str| path.strip_prefix(&*directory).is_some_and(|rest| rest.starts_with('/'));
        let mut paths = self.wholes.iter().chain(&self.parts);
        paths.find(|(path, _)| below(path)).map(|(path, other)| (path.as_str(), other))
    }

    /// Why something that others have is refused.
    pub(super) fn refusal(&self, resource: &dyn Resource) -> Option<String> {
        let other = self.claimant(resource)?;
        Some(format!("it belongs to {other}: remove it from one of the two"))
    }
}
