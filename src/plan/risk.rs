//! What is done around a change that could shut us out.
//!
//! In: a stage. Out: the same, with the steps by which its host undoes it unless we come back in time. Never: a stage that
//! is armed for nothing.

use super::{Entry, PlannedBlock, Stage, Work, undo};
use crate::name::Owner;
use crate::step::{Snapshot, Step};

/// Lets the host undo a stage by itself if an entry that changes is risky: then it waits as long as the most patient of
/// them says, counted from the end of the last of its steps. What it keeps for that is kept for nothing else, unless
/// the stage keeps it anyway.
pub(super) fn guard(owner: &Owner, stage: &mut Stage) {
    let Work::Change(block) = &mut stage.work else { return };
    disarm(block);
    let changing = block.entries.iter().filter(|entry| !entry.steps().is_empty());
    let Some(after) = changing.filter_map(|entry: &Entry| entry.risk).max() else { return };
    let (owner, name) = (owner.clone(), block.role.clone());
    let mut word = vec![
        Step::Extend { owner: owner.clone(), name: name.clone() },
        Step::Disarm { owner: owner.clone(), name: name.clone() },
    ];
    if !block.before.iter().any(|step| matches!(step, Step::Snapshot(_))) {
        let (touched, _) = undo::touched(&block.entries);
        let (owner, name) = (owner.clone(), name.to_string());
        block.before.push(Step::Snapshot(Snapshot { owner: owner.clone(), name: name.clone(), touched }));
        word.push(Step::Commit { owner, name });
    }
    block.before.push(Step::Arm { owner, name, after });
    block.after.splice(0..0, word);
}

/// Takes away what an earlier guard put there.
fn disarm(block: &mut PlannedBlock) {
    let own = matches!(block.after.as_slice(), [Step::Extend { .. }, Step::Disarm { .. }, Step::Commit { .. }, ..]);
    let is_own = |step: &Step| own && matches!(step, Step::Snapshot(_) | Step::Commit { .. });
    let is_guard = |step: &Step| matches!(step, Step::Arm { .. } | Step::Extend { .. } | Step::Disarm { .. });
    block.before.retain(|step| !is_guard(step) && !is_own(step));
    block.after.retain(|step| !is_guard(step) && !is_own(step));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::name::{Address, HostName, RoleName};
    use crate::plan::{Cause, Reason, Verdict};
    use crate::resource::{Action, Change};
    use crate::step::Removable;

    fn stage(risks: &[Option<u64>]) -> Stage {
        let (host, role) = (HostName::new("h1").expect("a name"), RoleName::new("ssh").expect("a name"));
        let entry = |(index, risk): (usize, &Option<u64>)| {
            let path = format!("/etc/{index}");
            let steps = vec![Step::Remove { path: path.clone(), what: Removable::File }];
            let address = Address { host: host.clone(), role: role.clone(), kind: "file", target: path };
            let verdict = Verdict::Change(Change { action: Action::Remove, fields: Vec::new(), steps });
            let risk = risk.map(Duration::from_secs);
            Entry { address, verdict, reason: Reason::Unwanted, cause: Cause::Unknown, mark: None, risk }
        };
        let entries = risks.iter().enumerate().map(entry).collect();
        let (before, after) = (Vec::new(), Vec::new());
        let block = PlannedBlock { host: host.clone(), role: role.clone(), service: None, before, entries, after };
        Stage { after: Vec::new(), work: Work::Change(block), turn: None }
    }

    fn words(stage: &Stage) -> Vec<&'static str> {
        let Work::Change(block) = &stage.work else { return Vec::new() };
        let word = |step: &Step| match step {
            Step::Snapshot(_) => "snapshot",
            Step::Arm { .. } => "arm",
            Step::Extend { .. } => "extend",
            Step::Disarm { .. } => "disarm",
            Step::Commit { .. } => "commit",
            _ => "change",
        };
        block.steps().map(word).collect()
    }

    #[test]
    fn a_stage_with_a_risky_change_is_armed_once_however_often_it_is_looked_at() {
        let owner = Owner::parse("lab@shop-k3fq8w2n7d").expect("an owner");
        let mut risky = stage(&[None, Some(20), Some(90)]);
        for _ in 0..2 {
            guard(&owner, &mut risky);
            let wanted = ["snapshot", "arm", "change", "change", "change", "extend", "disarm", "commit"];
            assert_eq!(words(&risky), wanted);
        }
        let Work::Change(block) = &mut risky.work else { panic!("a change") };
        assert_eq!(block.risk(), Some(Duration::from_secs(90)), "the most patient one counts");
        block.entries.truncate(1);
        guard(&owner, &mut risky);
        assert_eq!(words(&risky), ["change"], "nothing risky is left");
    }

    #[test]
    fn what_is_kept_for_another_reason_is_not_given_up_with_the_guard() {
        let owner = Owner::parse("lab@shop-k3fq8w2n7d").expect("an owner");
        let mut risky = stage(&[Some(20)]);
        let Work::Change(block) = &mut risky.work else { panic!("a change") };
        let snapshot = Snapshot { owner: owner.clone(), name: "ssh".to_owned(), touched: Vec::new() };
        block.before.push(Step::Snapshot(snapshot));
        for _ in 0..2 {
            guard(&owner, &mut risky);
            assert_eq!(words(&risky), ["snapshot", "arm", "change", "extend", "disarm"]);
        }
    }
}
