//! `hostname`: what the host calls itself.
//!
//! In: `uname -n`. Out: the name, short or full, as it was set. Never: the inventory's name of it.

use super::{AT_HAND, Fact, answer, ask};
use crate::step::Probe;

pub(super) const FACT: Fact = Fact {
    name: "hostname",
    summary: "What the host calls itself",
    timeout: AT_HAND,
    probes: || vec![probe()],
    read: |readings| answer(readings, &probe()).map(Into::into),
};

fn probe() -> Probe {
    ask(&["uname", "-n"], AT_HAND)
}
