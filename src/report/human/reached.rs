//! How far the stages of a recorded run came.

use std::collections::{BTreeMap, BTreeSet};

use super::words;
use crate::apply::{End, Event, Failure};
use crate::name::{HostName, ServiceName};
use crate::plan::{Plan, Stage, Work};
use crate::rollout::Restoration;

/// How far the stages of a run came, as far as this machine wrote it down. Each line is written before or after the thing
/// itself, so what the last line of a stage says may be one behind.
#[derive(Default)]
pub struct Reached<'a> {
    started: BTreeSet<usize>,
    begun: BTreeMap<usize, usize>,
    ends: BTreeMap<usize, &'a End>,
    /// Whether the changes of a service were rolled back on a host; none while nobody knows.
    rolled_back: BTreeMap<(&'a ServiceName, &'a HostName), Option<bool>>,
}

impl<'a> Reached<'a> {
    /// From its events, the earliest first.
    pub fn of(events: impl Iterator<Item = &'a Event>) -> Self {
        let mut reached = Self::default();
        for event in events {
            match event {
                Event::StageStarted(stage) => drop(reached.started.insert(*stage)),
                Event::StepStarted { stage, step } => drop(reached.begun.insert(*stage, *step)),
                Event::StageEnded { stage, end, .. } => drop(reached.ends.insert(*stage, end)),
                Event::RollingBack { service, host } => drop(reached.rolled_back.insert((service, host), None)),
                Event::RolledBack { service, outcome } => {
                    let own = reached.rolled_back.iter_mut().filter(|((of, _), _)| *of == service);
                    own.for_each(|(_, done)| *done = Some(*outcome == Restoration::Restored));
                }
                _ => {}
            }
        }
        reached
    }

    /// A line for each stage that changes a host. `ended` is whether the record has an end.
    pub fn stages(&self, plan: &Plan, ended: bool) -> Vec<String> {
        let line = |(id, stage): (usize, &Stage)| {
            let Work::Change(block) = &stage.work else { return None };
            Some(format!("{}  {}  {}", block.host, block.role, self.state(id, stage, ended)?))
        };
        plan.stages.iter().enumerate().filter_map(line).collect()
    }

    /// In words; none of what there was no need for.
    fn state(&self, id: usize, stage: &Stage, ended: bool) -> Option<String> {
        let unknown = |what: &str| format!("unknown: {what}; the next plan reads it from the host");
        let text = match (self.ends.get(&id), self.begun.get(&id)) {
            (Some(End::Done), _) => self.kept(stage).unwrap_or_else(|| "done".to_owned()),
            (Some(End::Failed(failure)), _) => {
                let failed = format!("failed: {}", why(failure));
                self.kept(stage).map_or(failed.clone(), |kept| format!("{failed}; {kept}"))
            }
            (Some(End::Skipped(_)), _) => "skipped".to_owned(),
            (Some(End::Stopped | End::Held(_)), _) => "stopped before it started".to_owned(),
            (Some(End::NotNeeded), _) => return None,
            (Some(End::PassedOver(failure)), _) => format!("failed, and continued: {}", why(failure)),
            (None, Some(step)) => {
                let what = stage.work.steps().get(*step).map(words::step).unwrap_or_default();
                unknown(&format!("the journal ends at `{what}`"))
            }
            (None, None) if self.started.contains(&id) => {
                unknown("it was sent to the host, and the journal ends there")
            }
            (None, None) if ended => "not started".to_owned(),
            (None, None) => "not started, according to the journal".to_owned(),
        };
        Some(text)
    }

    /// What a rollback made of the stage, if there was one.
    fn kept(&self, stage: &Stage) -> Option<String> {
        let Work::Change(block) = &stage.work else { return None };
        let key = (block.service.as_ref()?, &block.host);
        let text = match self.rolled_back.get(&key)? {
            Some(true) => "rolled back",
            Some(false) => "its rollback failed",
            None => "unknown: the journal ends during its rollback",
        };
        Some(text.to_owned())
    }
}

fn why(failure: &Failure) -> String {
    match failure {
        Failure::Step { exit, stderr, .. } => {
            format!("exit code {exit} {}", stderr.lines().next_back().unwrap_or_default())
        }
        Failure::Undone { cause, .. } => format!("{}; the host rolled it back", self::why(cause)),
        Failure::Unsure { cause, why } => format!("{}; {why}", self::why(cause)),
        Failure::Host { why, .. } | Failure::Refused { why } | Failure::Fenced { why, .. } => why.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::name::RoleName;
    use crate::plan::PlannedBlock;

    fn stage() -> Stage {
        let (host, role) = (HostName::new("h1").expect("a name"), RoleName::new("web").expect("a name"));
        let service = Some(ServiceName::new("web").expect("a name"));
        let (before, entries, after) = (Vec::new(), Vec::new(), Vec::new());
        let block = PlannedBlock { host, role, service, before, entries, after };
        Stage { after: Vec::new(), work: Work::Change(block), turn: None }
    }

    fn said(events: &[Event], ended: bool) -> String {
        Reached::of(events.iter()).state(0, &stage(), ended).unwrap_or_default()
    }

    #[test]
    fn what_was_sent_to_a_host_is_unknown_where_the_record_ends() {
        let (started, step) = (Event::StageStarted(0), Event::StepStarted { stage: 0, step: 0 });
        let done = Event::StageEnded { stage: 0, end: End::Done, took: Duration::ZERO };
        assert!(said(&[], false).starts_with("not started"));
        assert!(said(std::slice::from_ref(&started), false).starts_with("unknown: it was sent"));
        assert!(said(&[started.clone(), step.clone()], false).starts_with("unknown: the journal ends at"));
        assert_eq!(said(&[started, step, done], false), "done");
    }

    #[test]
    fn what_was_rolled_back_is_not_done() {
        let names = || (ServiceName::new("web").expect("a name"), HostName::new("h1").expect("a name"));
        let done = Event::StageEnded { stage: 0, end: End::Done, took: Duration::ZERO };
        let (service, host) = names();
        let back = Event::RollingBack { service, host };
        assert!(said(&[done.clone(), back.clone()], false).starts_with("unknown"));
        let (service, _) = names();
        let over = Event::RolledBack { service, outcome: Restoration::Restored };
        assert_eq!(said(&[done, back, over], true), "rolled back");
    }
}
