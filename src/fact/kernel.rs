//! `kernel`: the release of the running kernel.
//!
//! In: `uname -r`. Out: the text, such as `6.1.0-18-amd64`. Never: a kernel that is installed and waits for a reboot.

use serde_json::json;

use super::{AT_HAND, Fact, answer, ask};
use crate::step::Probe;

pub(super) const FACT: Fact = Fact {
    name: "kernel",
    summary: "The running kernel's release, such as 6.1.0-18-amd64",
    example: || json!("6.1.0-31-amd64"),
    timeout: AT_HAND,
    probes: || vec![probe()],
    read: |readings| answer(readings, &probe()).map(Into::into),
};

fn probe() -> Probe {
    ask(&["uname", "-r"], AT_HAND)
}
