//! How a run ended, as one word.

use super::{End, Failure, Report};
use crate::name::HostName;
use crate::plan::{Finding, Plan, Stage, Work};
use crate::rollout::Restoration;
use crate::step::Health;

/// How a run ended. Never an exit code: whoever asked for the run turns it into what its callers expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every host is as the plan wants it, and every service of the selection is healthy.
    Converged {
        /// Whether the run changed anything.
        changed: bool,
    },
    /// Some hosts failed. The run can be resumed.
    Failed,
    /// Some hosts are unreachable, and nothing else failed.
    Unreachable,
    /// A gate, a budget or a login stopped it, and what it concerned was rolled back.
    RolledBack,
    /// A host may be half changed and could not be rolled back: a person must look.
    Uncertain,
    /// Whoever asked for the run stopped it. The run can be resumed.
    Stopped,
}

impl Outcome {
    /// Whether nothing is left to resume: the run converged, or was rolled back.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Converged { .. } | Self::RolledBack)
    }

    /// The outcome of a run: its plan, how its stages ended, the plan that a new survey of its hosts gives, and the members of
    /// services that are not healthy then. Hosts that `unlocked` names did not answer when they were to be locked: they failed
    /// at nothing.
    pub fn of(
        plan: &Plan,
        report: &Report,
        (again, unhealthy): (&Plan, &[Finding]),
        unlocked: impl Fn(&HostName) -> bool,
    ) -> Self {
        let fails = |finding: &Finding| matches!(finding.health, Health::Unhealthy(_));
        let ended = Ended::of(plan, report, unlocked);
        // What has nothing to compare with (a command without a guard) is in every plan.
        let differs = again.entries().any(|entry| !entry.is_always() && !entry.is_kept());
        let changed = || plan.stages.iter().any(|stage| matches!(stage.work, Work::Change(_)));
        match () {
            () if ended.uncertain || is_stuck(plan, report) => Self::Uncertain,
            () if is_rolled_back(plan, report) => Self::RolledBack,
            () if ended.failed => Self::Failed,
            () if ended.undone => Self::RolledBack,
            () if unhealthy.iter().any(fails) => Self::Failed,
            () if ended.unreachable || !again.unreachable.is_empty() => Self::Unreachable,
            () if differs => Self::Failed,
            // Whether a member is healthy that nobody could ask is not known.
            () if !unhealthy.is_empty() => Self::Unreachable,
            () => Self::Converged { changed: changed() },
        }
    }
}

/// What the ends of the stages show.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is seen apart from the others, and several at once")]
struct Ended {
    failed: bool,
    unreachable: bool,
    undone: bool,
    uncertain: bool,
}

impl Ended {
    fn of(plan: &Plan, report: &Report, unlocked: impl Fn(&HostName) -> bool) -> Self {
        let mut ended = Self { failed: report.stopped, unreachable: !plan.unreachable.is_empty(), ..Self::default() };
        let is_lost = |stage: &Stage, failure: &Failure| match failure {
            Failure::Host { .. } => true,
            Failure::Refused { .. } => stage.work.host().is_some_and(&unlocked),
            _ => false,
        };
        for (stage, end) in stages(plan, report) {
            ended.failed |= matches!(end, End::Held(_));
            if let End::Failed(failure) = end {
                *match failure {
                    Failure::Undone { .. } => &mut ended.undone,
                    Failure::Unsure { .. } => &mut ended.uncertain,
                    failure if is_lost(stage, failure) => &mut ended.unreachable,
                    _ => &mut ended.failed,
                } = true;
            }
        }
        ended
    }
}

fn stages<'a>(plan: &'a Plan, report: &'a Report) -> impl Iterator<Item = (&'a Stage, &'a End)> {
    plan.stages.iter().zip(&report.ends)
}

fn rollbacks<'a>(plan: &'a Plan, report: &'a Report) -> impl Iterator<Item = &'a End> {
    stages(plan, report).filter(|(stage, _)| matches!(stage.work, Work::Undo { .. })).map(|(_, end)| end)
}

fn is_stuck(plan: &Plan, report: &Report) -> bool {
    rollbacks(plan, report).any(|end| !end.is_well() && *end != End::Stopped)
        || report.restored.values().any(|how| *how == Restoration::Stuck)
}

fn is_rolled_back(plan: &Plan, report: &Report) -> bool {
    rollbacks(plan, report).any(|end| *end == End::Done)
}
