//! `addresses`: where the host can be reached.
//!
//! In: `hostname -I`. Out: its IPv4 and IPv6 addresses in the kernel's order. Never: those that are valid only on the
//! host itself or on one cable (loopback, link-local).

use core::net::IpAddr;

use serde_json::json;

use super::{AT_HAND, Fact, ask, strange};
use crate::step::{Probe, Readings, Unreadable};

pub(super) const FACT: Fact = Fact {
    name: "addresses",
    summary: "The host's IPv4 and IPv6 addresses, without loopback and link-local ones",
    example: || json!(["10.0.0.11"]),
    timeout: AT_HAND,
    probes: || vec![probe()],
    read,
};

fn probe() -> Probe {
    ask(&["hostname", "-I"], AT_HAND)
}

/// A host without a network writes an empty line, which is an answer.
fn read(readings: &Readings) -> Result<serde_json::Value, Unreadable> {
    let reading = readings.command(&probe())?;
    if reading.exit != 0 {
        return super::answer(readings, &probe()).map(Into::into);
    }
    let text = String::from_utf8_lossy(&reading.stdout);
    let address = |word: &str| word.parse::<IpAddr>().map_err(|_| strange("an address", word));
    let all = text.split_whitespace().map(address).collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().filter(|address| !is_local(*address)).map(|address| address.to_string()).collect())
}

fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
    }
}
