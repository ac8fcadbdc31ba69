//! What a host is told to write down before a stage begins.
//!
//! In: the changes of a stage. Out: the line its journal begins with. Never: anything that is not in the plan.

use crate::ledger::{Applied, Intended, Intent, ResourceKey, VERSION};
use crate::plan::{Entry, PlannedBlock, StageId};

/// The line for one stage.
pub(super) fn line(stage: StageId, block: &PlannedBlock, applied: &Applied) -> String {
    let intent = Intent {
        version: VERSION,
        applied: applied.clone(),
        stage,
        service: block.service.clone(),
        before: block.before.len(),
        entries: block.entries.iter().filter_map(intended).collect(),
    };
    // Nothing in it can fail to be written: its keys are texts.
    serde_json::to_string(&intent).unwrap_or_default()
}

fn intended(entry: &Entry) -> Option<Intended> {
    let steps = entry.steps().len();
    let mark = entry.mark.as_ref()?;
    Some(Intended {
        place: ResourceKey::from(&entry.address),
        steps,
        want: mark.want.clone(),
        existed: mark.existed,
        expected: mark.expected.clone(),
        conditional: mark.conditional,
        absent: mark.absent.clone(),
        order: mark.order,
        protect: mark.protect,
        notifies: mark.notifies.iter().map(|(address, verb)| (ResourceKey::from(address), *verb)).collect(),
    })
}
