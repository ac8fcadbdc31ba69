//! Probes and steps as one script, and its answer as readings and outcomes.
//!
//! In: values of [`crate::step`], and the bytes a host answered. Out: shell text for any POSIX shell, and values again.
//! Never: a connection, a clock or chance; the nonce is an argument.
//!
//! The script travels on standard input as one brace group, so a shell runs either all of it or, if a byte is missing,
//! nothing. Its answer is made of frames (see `frame.rs`), each beginning with the nonce.

mod act;
mod answer;
mod ask;
mod command;
mod deadman;
mod frame;
mod lease;
mod progress;
mod quote;
mod relay;
mod run;
mod undo;
mod web;

use std::time::Duration;

pub use act::{longest, order_script, step_script};
pub use answer::parse_readings;
pub use ask::read_script;
pub use lease::{NoAnswer, lease_script, parse_lease};
pub use progress::{Progress, Refusal};
pub use quote::{quote, write_bytes};
pub use relay::Relay;
pub use run::run_script;

/// Puts a script together.
fn wrap(nonce: &str, budget: Duration, parts: &[&str], body: &str) -> String {
    let mut text = format!("{{\nN={} budget={}\n", quote(nonce), budget.as_secs().max(1));
    for part in [include_str!("common.sh"), WHO, HOME].iter().chain(CRASH).chain(parts) {
        text.extend(sent(part));
    }
    text.push_str(body);
    text.push_str("over\n}\n");
    text
}

/// Who we are there.
const WHO: &str = include_str!("who.sh");

/// How a program is run within its time, and how ports and web servers are asked.
const PROGRAMS: &str = include_str!("programs.sh");

/// Where users are at home.
const HOME: &str = include_str!("home.sh");

/// What is sent of a part.
fn sent(part: &str) -> impl Iterator<Item = &str> {
    part.lines().filter_map(line).flat_map(|line| [line, "\n"])
}

/// What is sent of a line: nothing of a comment.
fn line(line: &str) -> Option<&str> {
    match line.trim_start() {
        "# crash point" if !CRASH.is_empty() => Some("crash"),
        text if text.starts_with('#') => None,
        _ => Some(line),
    }
}

/// What a build for tests does at a `# crash point` of a script; see [`crate::crash`].
#[cfg(feature = "crash-points")]
const CRASH: &[&str] = &[include_str!("crash.sh")];
#[cfg(not(feature = "crash-points"))]
const CRASH: &[&str] = &[];
