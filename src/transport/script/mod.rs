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
mod library;
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

use library::{Source, needed, sources};

/// Puts a script together.
fn wrap(nonce: &str, budget: Duration, sources: &[&[Source]], body: &str) -> String {
    static BEGINNING: [Source; 3] = sources!["common.sh", "who.sh", "home.sh"];
    let (nonce, budget) = (quote(nonce), budget.as_secs().max(1));
    let body = format!("{body}over\n}}\n");
    let functions = needed(&[&[&BEGINNING[..]], sources].concat(), &body);
    format!("{{\nN={nonce} budget={budget}\n{functions}{body}")
}
