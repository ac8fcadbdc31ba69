//! Waiting for a host that was lost.
//!
//! In: a host and how long to wait. Out: the id of the boot it is in, as soon as it answers. Never: a guess that it is
//! back, or a step.

use std::time::Duration;

use tokio::time::Instant;

use super::api::Transport;
use super::error::TransportError;
use crate::inventory::Endpoint;
use crate::step::{Command, Probe};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// What another boot has another of.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Asks again and again; `tell` hears what is waited for.
pub(super) async fn wait<T: Transport>(
    transport: &T,
    host: &Endpoint,
    limit: Duration,
    tell: &(dyn Fn(&str) + Send + Sync),
) -> Result<String, TransportError> {
    let begun = Instant::now();
    loop {
        let why = match boot(transport, host).await {
            Ok(id) => return Ok(id),
            Err(why) => why,
        };
        // A stranger at its address does not become the host by waiting.
        let stranger = matches!(why, TransportError::HostKeyChanged { .. } | TransportError::HostKeyUnknown { .. });
        let left = limit.saturating_sub(begun.elapsed());
        if stranger || left.is_zero() {
            return Err(why);
        }
        tell(&format!("waiting for {} to come back: {why}", host.name));
        tokio::time::sleep(LOOK.min(left)).await;
    }
}

async fn boot<T: Transport>(transport: &T, host: &Endpoint) -> Result<String, TransportError> {
    let probe = Probe::Command(Command::new(["cat", BOOT]));
    let readings = transport.read(host, std::slice::from_ref(&probe)).await?;
    let wrong = |why: String| TransportError::Protocol { host: host.name.to_string(), why };
    let said = readings.command(&probe).map_err(|why| wrong(why.to_string()))?;
    let id = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    if said.exit == 0 && !id.is_empty() { Ok(id) } else { Err(wrong(format!("{BOOT} cannot be read"))) }
}
