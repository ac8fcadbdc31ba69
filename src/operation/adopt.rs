//! Before the first change: the project is named where everybody finds it, and ledgers that name none become its own.

use std::collections::BTreeMap;
use std::path::Path;

use super::settle::Lock;
use super::{Abort, Locked, Notice};
use crate::catalog::Catalog;
use crate::diag::Diagnostic;
use crate::name::HostName;
use crate::plan::Plan;
use crate::step::Step;
use crate::transport::Transport;
use crate::workspace::{Adoption, FILE, IdentityRecord, record};

impl<T: Transport> Locked<T> {
    /// Writes down in the project's folder which project it is, and gives it the ledgers that name none. Gives the hosts on
    /// which the latter failed, and why.
    ///
    /// # Errors
    /// When it is not known which project it is, or that cannot be written down.
    pub async fn claim(
        &self,
        root: Option<&Path>,
        (plan, catalog): (&Plan, &Catalog),
        adoption: Adoption,
    ) -> Result<BTreeMap<HostName, String>, Abort> {
        let recorded = record(root, &plan.owner)?;
        if let Some(project) = &plan.owner.project {
            match recorded {
                IdentityRecord::Already => {}
                IdentityRecord::Added => self.session().notify(Notice::ProjectRecorded { project }),
                // The hosts know it, and who started this said that it is that one.
                IdentityRecord::Failed(why) if adoption == Adoption::Given => {
                    self.session().notify(Notice::ProjectNotRecorded { project, why: &why });
                }
                IdentityRecord::Failed(why) => {
                    let problem = Diagnostic::error(format!("{FILE} cannot be written: {why}; nothing was changed"));
                    let hint = format!(
                        "write `project: {project}` into it and commit it; if the hosts know this project already: --adopt"
                    );
                    return Err(problem.hint(hint).into());
                }
            }
        }
        let step = Step::AdoptLedger { owner: plan.owner.clone() };
        let steps = plan.unadopted().into_keys().map(|host| (host.clone(), step.clone()));
        let mut refused = self.save(catalog, steps.collect(), Lock::Kept).await;
        for why in refused.values_mut() {
            *why = format!("its ledger could not be adopted: {why}");
        }
        Ok(refused)
    }
}
