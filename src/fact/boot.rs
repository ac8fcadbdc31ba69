//! `boot`: when the host was last started.
//!
//! In: the kernel's boot id and uptime. Out: an id that is another after every boot, and seconds since then. Never: a
//! time of day, because a host's clock may be wrong.

use serde_json::json;

use super::{AT_HAND, Fact, answer, ask, strange};
use crate::step::{Probe, Readings, Unreadable};

pub(super) const FACT: Fact = Fact {
    name: "boot",
    summary: "The last boot: `id`, another one each time, and `seconds` since then",
    example: || json!({ "id": "5f0c3a5e-8f0e-4b63-9a83-0a6d4c5e7f21", "seconds": 3600 }),
    timeout: AT_HAND,
    probes: || vec![id(), uptime()],
    read,
};

fn id() -> Probe {
    ask(&["cat", "/proc/sys/kernel/random/boot_id"], AT_HAND)
}

fn uptime() -> Probe {
    ask(&["cat", "/proc/uptime"], AT_HAND)
}

fn read(readings: &Readings) -> Result<serde_json::Value, Unreadable> {
    let (id, text) = (answer(readings, &id())?, answer(readings, &uptime())?);
    if id.len() != 36 || !id.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        return Err(strange("the boot id", &id));
    }
    // `2091.46 3753.00`: seconds since the boot, and seconds of idleness: proc(5).
    let seconds = text.split('.').next().and_then(|seconds| seconds.parse::<u64>().ok());
    let seconds = seconds.ok_or_else(|| strange("the time since the boot", &text))?;
    Ok(json!({ "id": id, "seconds": seconds }))
}
