//! One program as a script that passes on what it says while it runs.
//!
//! In: a program. Out: a script whose two streams a [`super::Relay`] each reads. Never: a step; nothing of it is planned.

use std::time::Duration;

use super::command::{invocation, seconds};
use super::library::{Source, sources};
use crate::step::Command;

static SOURCES: [Source; 2] = sources!["programs.sh", "run.sh"];

/// The script that runs it.
///
/// # Errors
/// Why it cannot be run at all.
pub fn run_script(command: &Command, nonce: &str) -> Result<String, String> {
    let body = format!("begin {}\n{} >&3 &\nlisten $!\n", seconds(command.timeout), invocation(command)?);
    Ok(super::wrap(nonce, Duration::ZERO, &[&SOURCES], &body))
}
