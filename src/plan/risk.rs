//! What is done around a change that could shut us out.
//!
//! In: a stage. Out: the same, with the steps by which its host undoes it unless we come back in time. Never: a stage that
//! is armed for nothing.

use super::{Entry, Stage, Work};
use crate::name::EnvName;
use crate::step::Step;

/// Lets the host undo a stage by itself if an entry that changes is risky: then it waits as long as the most patient of
/// them says, counted from the end of the last of its steps.
pub(super) fn guard(environment: &EnvName, stage: &mut Stage) {
    let Work::Change(block) = &mut stage.work else { return };
    block.before.retain(|step| !is_guard(step));
    block.after.retain(|step| !is_guard(step));
    let changing = block.entries.iter().filter(|entry| !entry.steps().is_empty());
    let Some(after) = changing.filter_map(|entry: &Entry| entry.risk).max() else { return };
    let (environment, name) = (environment.clone(), block.role.clone());
    block.before.push(Step::Arm { environment: environment.clone(), name: name.clone(), after });
    let own =
        [Step::Extend { environment: environment.clone(), name: name.clone() }, Step::Disarm { environment, name }];
    block.after.splice(0..0, own);
}

fn is_guard(step: &Step) -> bool {
    matches!(step, Step::Arm { .. } | Step::Extend { .. } | Step::Disarm { .. })
}
