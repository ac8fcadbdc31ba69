//! `memory`: how much memory the host has.
//!
//! In: `/proc/meminfo`, through `cat`, because files there have no size. Out: bytes. Never: what is free at the moment.

use serde_json::json;

use super::{AT_HAND, Fact, answer, ask, strange};
use crate::step::{Probe, Readings, Unreadable};

pub(super) const FACT: Fact = Fact {
    name: "memory",
    summary: "All memory that the kernel has, in bytes",
    example: || json!(17_179_869_184_u64),
    timeout: AT_HAND,
    probes: || vec![probe()],
    read,
};

fn probe() -> Probe {
    ask(&["cat", "/proc/meminfo"], AT_HAND)
}

fn read(readings: &Readings) -> Result<serde_json::Value, Unreadable> {
    let text = answer(readings, &probe())?;
    total(&text).map(Into::into).ok_or_else(|| strange("the memory", &text))
}

/// The line is `MemTotal:  24684092 kB`, and its kB are 1024 bytes: proc(5).
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}
