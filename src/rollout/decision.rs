//! What a rollout says comes next, and why it waits or stops.

use std::time::Duration;

use super::StageId;
use crate::name::HostName;

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directive {
    /// This host's turn begins.
    Begin(HostName),
    /// All members are asked how they are.
    Ask,
    /// Nothing, for this reason; at the latest at this time it is looked again.
    Wait(Hold, Option<Duration>),
    /// No other turn begins.
    Stop(Halt),
    /// What this host's turn changed is rolled back.
    Undo(HostName),
    /// Nothing is left to decide.
    Over,
}

/// How the rollback of a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restoration {
    /// All of it is as before.
    Restored,
    /// A person must look.
    Stuck,
}

/// Why no turn begins.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Hold {
    /// These are in the middle of their turns.
    Running {
        /// Which.
        hosts: Vec<HostName>,
    },
    /// The members are being asked how they are.
    Asking,
    /// What the next host needs is not there yet.
    Needs,
    /// Hosts of another zone are in the middle of their turns.
    Zone {
        /// Who waits.
        host: HostName,
        /// For these.
        running: Vec<HostName>,
    },
    /// Too few would be healthy.
    TooFew {
        /// Who waits.
        host: HostName,
        /// How many would be healthy without it.
        healthy: usize,
        /// How many must be.
        floor: usize,
        /// Those that are not, and why.
        down: Vec<(HostName, String)>,
    },
    /// The first hosts must be healthy for a time.
    Canary {
        /// Which.
        hosts: Vec<HostName>,
        /// Until when, from the beginning of the run.
        until: Duration,
    },
    /// A person must say that the others may begin.
    Approval {
        /// Those that have.
        hosts: Vec<HostName>,
    },
}

/// Why no other turn begins.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Halt {
    /// One failure too many.
    Failed {
        /// The stage that failed last.
        stage: StageId,
    },
    /// Too few would have been healthy, for too long.
    TooFew {
        /// What was waited for.
        hold: Hold,
    },
    /// A canary was healthy after its change, and then was not.
    Unhealthy {
        /// Which.
        host: HostName,
        /// Why it is not.
        why: String,
    },
    /// More hosts than may did not answer when the plan was made.
    Away {
        /// Which.
        hosts: Vec<HostName>,
    },
    /// The user stopped the run.
    Stopped,
}
