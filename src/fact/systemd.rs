//! `systemd`: the version of the host's service manager.
//!
//! In: `systemctl --version`. Out: its number. Never: the distribution's own suffix.

use serde_json::json;

use super::{AT_HAND, Fact, answer, ask, strange};
use crate::step::{Probe, Readings, Unreadable};

pub(super) const FACT: Fact = Fact {
    name: "systemd",
    summary: "The version of systemd, a number",
    example: || json!(252),
    timeout: AT_HAND,
    probes: || vec![probe()],
    read,
};

fn probe() -> Probe {
    ask(&["systemctl", "--version"], AT_HAND)
}

fn read(readings: &Readings) -> Result<serde_json::Value, Unreadable> {
    let text = answer(readings, &probe())?;
    number(&text).map(Into::into).ok_or_else(|| strange("the version of systemd", &text))
}

/// The text begins with `systemd 252 (252.38-1~deb12u1)`, for a release candidate `systemd 257~rc1 (...)`.
fn number(text: &str) -> Option<u32> {
    let word = text.strip_prefix("systemd ")?.split_whitespace().next()?;
    word.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
