//! `cpus`: how many processors programs on the host may use.
//!
//! In: `nproc`. Out: a number that respects what a container or a mask leaves. Never: processors that are switched off.

use serde_json::json;

use super::{AT_HAND, Fact, answer, ask, strange};
use crate::step::{Probe, Readings, Unreadable};

pub(super) const FACT: Fact = Fact {
    name: "cpus",
    summary: "The number of processors that programs may use",
    example: || json!(8),
    timeout: AT_HAND,
    probes: || vec![probe()],
    read,
};

fn probe() -> Probe {
    ask(&["nproc"], AT_HAND)
}

fn read(readings: &Readings) -> Result<serde_json::Value, Unreadable> {
    let text = answer(readings, &probe())?;
    text.parse::<u32>().map(Into::into).map_err(|_| strange("the number of processors", &text))
}
