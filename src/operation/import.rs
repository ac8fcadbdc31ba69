//! Adopting what is on the hosts already and is as the project wants it.

use std::collections::BTreeMap;

use super::settle::Lock;
use super::{Locked, Survey};
use crate::ledger::Applied;
use crate::name::HostName;
use crate::plan::{self, Import};
use crate::step::Digest;
use crate::transport::Transport;

impl<T: Transport> Locked<T> {
    /// Finds out what of a survey can be adopted. Nothing is written.
    pub fn find_import(&self, survey: &Survey) -> Import {
        let identity = self.session().identity();
        let applied = Applied {
            run: self.run().clone(),
            plan: Digest::of(b""),
            at: identity.now(),
            who: identity.who.clone(),
            revision: survey.revision.clone(),
        };
        let mut import = plan::import(&survey.catalog, &survey.observed, &applied);
        import.unreachable.extend(survey.plan.unreachable.clone());
        import
    }

    /// Writes the ledgers of an import; nothing else on a host is changed. Gives the hosts on which that failed, and why.
    pub async fn import(&self, survey: &Survey, import: &Import) -> BTreeMap<HostName, String> {
        self.save(&survey.catalog, import.saves.clone(), Lock::Kept).await
    }
}
