//! Removing everything that armilla made on the hosts of an environment.

use super::{Abort, Locked, Stop, Survey};
use crate::inventory::Endpoint;
use crate::transport::Transport;
use crate::workspace::Environment;

pub use crate::catalog::Data;

impl<T: Transport> Locked<T> {
    /// Reads hosts and plans to remove everything that armilla made there. What was there before stays, and so does what
    /// somebody changed since and what is protected.
    ///
    /// # Errors
    /// When it is stopped.
    pub async fn survey_destruction(
        &self,
        environment: &Environment,
        hosts: Vec<Endpoint>,
        data: Data,
        stop: &Stop,
    ) -> Result<Survey, Abort> {
        let survey = self.survey_nothing(environment, (hosts, data), stop).await?;
        Ok(destruction(survey))
    }
}

/// The plan to remove everything that armilla made, from a survey in which nothing is desired.
pub fn destruction(mut survey: Survey) -> Survey {
    // An unreachable host may have something of ours: here it matters.
    let silent = std::mem::take(&mut survey.plan.silent);
    survey.plan.unreachable.extend(silent);
    survey.plan.without_copies();
    survey
}
