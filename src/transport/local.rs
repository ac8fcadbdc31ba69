//! This machine, by the same scripts as every other.
//!
//! In: a script. Out: what it printed. Never: another way to do a step than on a far host.

use std::process::Stdio;
use std::time::Duration;

use super::TransportError;
use super::channel::Streams;
use crate::inventory::Endpoint;
use crate::secret::Secret;

/// Runs a script in a shell of this machine.
pub(super) async fn run(
    host: &Endpoint,
    password: Option<&Secret<String>>,
    shell: &str,
    script: &[u8],
    limit: Duration,
    take: impl FnMut(&[u8]) + Send,
) -> Result<(), TransportError> {
    let unreachable = |why: String| TransportError::Unreachable { host: host.name.to_string(), why };
    #[expect(clippy::disallowed_methods, reason = "the transport is the room that starts programs")]
    let mut command = tokio::process::Command::new("/bin/sh");
    command.arg("-c").arg(shell).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| unreachable(error.to_string()))?;
    let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
        return Err(unreachable("the shell has no streams".to_owned()));
    };
    let ended = Streams { input, output, errors }.converse(script, password, limit, take).await;
    if ended.is_ok() {
        let _ = child.wait().await;
    }
    ended.map_err(|broken| super::broken(host, broken))
}
