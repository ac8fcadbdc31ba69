//! What happens while a plan is done.
//!
//! In: nothing. Out: values that reports are made of. Never: a sentence.

use std::time::Duration;

use crate::plan::StageId;
use crate::step::Outcome;

/// One thing that happened. `step` counts the steps of a stage from 0, in the order of [`crate::plan::Work::steps`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Event {
    /// A stage begins.
    StageStarted(StageId),
    /// A step begins.
    StepStarted {
        /// Of which stage.
        stage: StageId,
        /// Which.
        step: usize,
    },
    /// A gate does not hold yet.
    Waiting {
        /// Of which stage.
        stage: StageId,
        /// What was answered last.
        why: String,
    },
    /// A step is over.
    StepEnded {
        /// Of which stage.
        stage: StageId,
        /// Which.
        step: usize,
        /// How.
        outcome: Outcome,
        /// How long it took.
        took: Duration,
    },
    /// A stage is over.
    StageEnded {
        /// Which.
        stage: StageId,
        /// How.
        end: End,
        /// How long it took.
        took: Duration,
    },
    /// The user asked to stop: what runs is finished, nothing new begins.
    Stopping,
}

/// How a stage ended.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum End {
    /// All of it was done.
    Done,
    /// Something went wrong.
    Failed(Failure),
    /// It was not begun, because of this one.
    Skipped(StageId),
    /// It was not begun, because the user stopped the run.
    Stopped,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Failure {
    /// A step failed.
    Step {
        /// Which of the stage's steps.
        step: usize,
        /// Its exit code.
        exit: i32,
        /// The end of what it complained.
        stderr: String,
    },
    /// The host could not be worked with; the transport's own words.
    Host {
        /// The step it was in, if one had begun. Whether that one was done is not known.
        step: Option<usize>,
        /// Why.
        why: String,
    },
    /// Nothing was begun on the host: it is not as it was when the plan was made, or gave no lease.
    Refused {
        /// Why.
        why: String,
    },
    /// The host has put back what the stage changed.
    Undone {
        /// What went wrong before that.
        cause: Box<Failure>,
        /// The host's own words.
        why: String,
    },
    /// Whether the host has put back what the stage changed is not known, or it could not: a person must look.
    Unsure {
        /// What went wrong before that.
        cause: Box<Failure>,
        /// Why.
        why: String,
    },
    /// The host refused an order, because somebody else may change it now. The whole run ends.
    Fenced {
        /// The step it was in, if one had begun.
        step: Option<usize>,
        /// Why.
        why: String,
    },
}
