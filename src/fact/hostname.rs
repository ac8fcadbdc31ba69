//! `hostname`: what the host calls itself.
//!
//! In: `uname -n`. Out: the name, short or full, as it was set. Never: the inventory's name of it.

use serde_json::json;

use super::{AT_HAND, Fact, answer, ask};
use crate::step::Probe;

pub(super) const FACT: Fact = Fact {
    name: "hostname",
    summary: "The host name that the host has set",
    example: || json!("host1"),
    timeout: AT_HAND,
    probes: || vec![probe()],
    read: |readings| answer(readings, &probe()).map(Into::into),
};

fn probe() -> Probe {
    ask(&["uname", "-n"], AT_HAND)
}
