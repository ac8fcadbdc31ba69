//! Rollouts in words: how hosts follow each other, what they wait for, and why they stopped.
//!
//! In: rollouts and what happened to them. Out: short texts of one line. Never: a number that is not the plan's.

use std::time::Duration;

use super::failure::subject;
use super::words;
use crate::name::HostName;
use crate::plan::Plan;
use crate::rollout::{Budget, Halt, Hold, OnFailure, Restoration, Rollout};

/// What a rollout promises: `one at a time, leader last (now zk3), never below 2 of 3`.
pub(super) fn promises(rollout: &Rollout) -> Vec<String> {
    let mut texts = Vec::new();
    texts.extend(rollout.first.iter().map(|first| format!("{first} first{}", now(rollout, 0))));
    texts.extend(rollout.last.iter().map(|last| format!("{last} last{}", now(rollout, 2))));
    if rollout.members.values().any(|member| member.zone.is_some()) {
        texts.push("one zone after the other".to_owned());
    }
    if let Some(canary) = rollout.canary {
        let soak = if canary.stable_for.is_zero() {
            String::new()
        } else {
            format!(", healthy for {}", words::span(canary.stable_for).replace(".0 s", " s"))
        };
        let approve = if canary.approve { ", then approval" } else { "" };
        texts.push(format!("{} as a canary{soak}{approve}", words::count(canary.hosts, "host")));
    }
    if rollout.floor > 0 {
        texts.push(format!("never below {} of {}", rollout.floor, rollout.members.len()));
    }
    if let Budget::Failures(most) = rollout.budget {
        texts.push(format!("at most {}", words::count(most, "failure")));
    }
    match rollout.on_failure {
        OnFailure::Stop => {}
        OnFailure::Continue => texts.push("failures do not stop it".to_owned()),
        OnFailure::Rollback => texts.push("rolled back on failure".to_owned()),
    }
    texts
}

/// Who answers so now.
fn now(rollout: &Rollout, rank: u8) -> String {
    let ranking = rollout.ranking();
    let says = |answer: &Option<String>| answer.is_some() && ranking.rank(answer.as_deref()) == rank;
    let some = rollout.members.iter().filter(|(_, member)| says(&member.answer));
    let hosts: Vec<&HostName> = some.map(|(host, _)| host).collect();
    match hosts.as_slice() {
        [] => String::new(),
        some if some.len() > 3 => String::new(),
        some => format!(" (now {})", words::hosts(some.iter().copied())),
    }
}

/// What is waited for. `at` is how long the run lasts already.
pub(super) fn hold(hold: &Hold, at: Duration) -> String {
    match hold {
        Hold::Running { hosts } => format!("for {}", words::hosts(hosts)),
        Hold::Asking => "for the state of its members".to_owned(),
        Hold::Needs => "for a service that the next host needs".to_owned(),
        Hold::Zone { host, running } => format!("{host} for another zone: {}", words::hosts(running)),
        Hold::TooFew { host, healthy, floor, down } => too_few(host, (*healthy, *floor), down),
        Hold::Canary { hosts, until } => {
            let left = words::span(Duration::from_secs(until.saturating_sub(at).as_secs()));
            format!("for {} to stay healthy, {} left", words::hosts(hosts), left.replace(".0 s", " s"))
        }
        Hold::Approval { hosts } => {
            format!("for approval: {} changed and healthy; to continue: armilla approve", words::hosts(hosts))
        }
    }
}

fn too_few(host: &HostName, (healthy, floor): (usize, usize), down: &[(HostName, String)]) -> String {
    let down: Vec<String> = down.iter().map(|(host, why)| format!("{host}: {}", words::one_line(why))).collect();
    let because = if down.is_empty() { String::new() } else { format!(" ({})", down.join("; ")) };
    format!("changing {host} would leave {healthy} healthy, and `keep_healthy` requires {floor}{because}")
}

/// Why no other turn begins.
pub(crate) fn halt(plan: &Plan, halt: &Halt) -> String {
    match halt {
        Halt::Failed { stage } => {
            let work = plan.stages.get(*stage).map(|stage| &stage.work);
            let host = work.and_then(|work| work.host()).map(ToString::to_string).unwrap_or_default();
            format!("{} failed on {host}", work.map(subject).unwrap_or_default())
        }
        Halt::TooFew { hold: Hold::TooFew { host, healthy, floor, down } } => too_few(host, (*healthy, *floor), down),
        Halt::TooFew { .. } => "too few are healthy".to_owned(),
        Halt::Unhealthy { host, why } => {
            format!("{host} became unhealthy after its change: {}", words::one_line(why))
        }
        Halt::Away { hosts } => format!("{} unreachable: more hosts than may fail", words::hosts(hosts)),
        Halt::Stopped => "the run was stopped".to_owned(),
    }
}

/// How it ended that a service was put back.
pub(crate) fn restoration(outcome: Restoration) -> &'static str {
    match outcome {
        Restoration::Restored => "rolled back to the state before this run",
        Restoration::Stuck => "rollback failed: check the hosts",
    }
}
