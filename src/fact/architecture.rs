//! `architecture`: the machine's architecture, as the kernel calls it.
//!
//! In: `uname -m`. Out: its word, such as `x86_64` or `aarch64`. Never: Debian's word for the same.

use serde_json::json;

use super::{AT_HAND, Fact, answer, ask};
use crate::step::Probe;

pub(super) const FACT: Fact = Fact {
    name: "architecture",
    summary: "The machine's architecture: x86_64, aarch64, ...",
    example: || json!("x86_64"),
    timeout: AT_HAND,
    probes: || vec![probe()],
    read: |readings| answer(readings, &probe()).map(Into::into),
};

fn probe() -> Probe {
    ask(&["uname", "-m"], AT_HAND)
}
