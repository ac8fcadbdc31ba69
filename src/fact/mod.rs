//! What can be learned of a host before anything is decided for it, one file per fact.
//!
//! In: what a host answered to a fact's probes. Out: plain data, which roles read as `facts.NAME`.
//! Never: a connection, a guess where the answer was not understood, or a value that is a secret.
//!
//! To add a fact: one new file here, one line below, and cases in `tests/cases/fact/FACT/`.

use std::time::Duration;

use serde_json::Value;

use crate::step::{Command, Probe, Readings, Unreadable};

/// One thing to know about a host.
pub struct Fact {
    /// How roles call it: `facts.NAME`.
    pub name: &'static str,
    /// One line of help, with the shape of its value.
    pub summary: &'static str,
    /// What a value looks like, for checks without a host: that of a usual server.
    pub example: fn() -> Value,
    /// How long the host may take to answer. A fact that takes longer is unreadable, the others are not.
    pub timeout: Duration,
    /// What to ask a host.
    pub probes: fn() -> Vec<Probe>,
    /// What the answers mean. Fails when one is missing or is not understood.
    pub read: fn(&Readings) -> Result<Value, Unreadable>,
}

/// The fact of that name.
pub fn fact(name: &str) -> Option<&'static Fact> {
    FACTS.iter().find(|fact| fact.name == name)
}

/// How long a program may take that only reads what the kernel or systemd has at hand.
const AT_HAND: Duration = Duration::from_secs(10);

fn ask(argv: &[&str], timeout: Duration) -> Probe {
    Probe::Command(Command::new(argv.iter().copied()).within(timeout))
}

/// What a program wrote, if it ended well and wrote something.
fn answer(readings: &Readings, probe: &Probe) -> Result<String, Unreadable> {
    let reading = readings.command(probe)?;
    let (out, complaint) = (String::from_utf8_lossy(&reading.stdout), String::from_utf8_lossy(&reading.stderr));
    match (reading.exit, out.trim()) {
        (0, "") => Err(Unreadable(format!("{} printed nothing", program(probe)))),
        (0, text) => Ok(text.to_owned()),
        (124, _) => Err(Unreadable(format!("{} did not answer in time", program(probe)))),
        (127, _) => Err(Unreadable(format!("program {} not found", program(probe)))),
        (exit, _) => Err(Unreadable(format!("{} exited with {exit}: {}", program(probe), complaint.trim()))),
    }
}

fn program(probe: &Probe) -> &str {
    if let Probe::Command(command) = probe { command.argv.first().map_or("", String::as_str) } else { "" }
}

/// The answer was not in the form that its documentation promises.
fn strange(what: &str, text: &str) -> Unreadable {
    let start: String = text.chars().take(80).collect();
    Unreadable(format!("{what} cannot be read from `{}`", start.escape_debug()))
}

macro_rules! facts {
    ($($file:ident),* $(,)?) => {
        $(mod $file;)*
        /// Every fact there is.
        pub static FACTS: &[Fact] = &[$($file::FACT),*];
    };
}

facts! {
    addresses,
    architecture,
    boot,
    cpus,
    hostname,
    kernel,
    memory,
    os,
    systemd,
}
