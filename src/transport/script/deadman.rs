//! The steps by which a host undoes a change by itself, as shell text.
//!
//! In: one of these steps. Out: the function it needs and its call, of those in `deadman.sh`. Never: another step.

use super::command::{folder, seconds};
use super::quote::{quote, write_bytes};
use crate::step::Step;

/// What a host carries out when its time is over. It stays there, so it must need nothing of a conversation.
const FIRE: &str = include_str!("fire.sh");

/// The functions a step needs, and what its own function says.
pub(super) fn shell(index: usize, step: &Step) -> Result<(String, String), String> {
    let words = |owner, name: &crate::name::RoleName| format!("{} {}", folder(owner), quote(name.as_str()));
    let plain = |call: String| Ok((String::new(), call));
    match step {
        Step::Arm { owner, name, after } => {
            let function = format!("f{index}() {{\n{}\n}}\n", write_bytes(FIRE.as_bytes()));
            Ok((function, format!("arm {} {} f{index}", words(owner, name), seconds(*after))))
        }
        Step::Extend { owner, name } => plain(format!("extend {}", words(owner, name))),
        Step::Disarm { owner, name } => plain(format!("disarm {}", words(owner, name))),
        Step::GiveUp { owner, name } => plain(format!("giveup {}", words(owner, name))),
        _ => Err("it does not belong to a rollback".to_owned()),
    }
}
