//! Removing everything that armilla made on the hosts of an environment.

use super::{Abort, Locked, Stop, Survey};
use crate::inventory::Endpoint;
use crate::transport::Transport;
use crate::workspace::Environment;

/// What becomes of the directories that armilla made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Data {
    /// Those in which something is stay.
    #[default]
    Kept,
    /// They go with everything in them.
    Removed,
}

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
        let survey = self.survey_nothing(environment, hosts, stop).await?;
        Ok(destruction(survey, data))
    }
}

/// The plan to remove everything that armilla made, from a survey in which nothing is desired.
pub fn destruction(mut survey: Survey, data: Data) -> Survey {
    // An unreachable host may have something of ours: here it matters.
    let silent = std::mem::take(&mut survey.plan.silent);
    survey.plan.unreachable.extend(silent);
    if data == Data::Removed {
        survey.plan.with_data();
    }
    survey.plan.without_copies();
    survey
}
