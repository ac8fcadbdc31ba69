//! The generated scripts, run for real by the shells of this machine: for the tests that do not start the host program yet.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command as Process, Stdio};

use armilla::step::{Outcome, Step};
use armilla::transport::StepEvent;
use armilla::transport::script::{Progress, step_script};

pub(crate) use crate::host::Room;

const NONCE: &str = "0123456789abcdef0123456789abcdef";

/// The shells of this machine: dash always, the others where they are.
pub(crate) fn shells() -> Vec<Vec<&'static str>> {
    let there = |name: &str| ["/bin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(name).exists());
    let mut shells = vec![vec!["dash"]];
    shells.extend(there("bash").then(|| vec!["bash", "--posix"]));
    shells.extend(there("busybox").then(|| vec!["busybox", "sh"]));
    shells
}

fn feed(shell: &[&str], before: &str, script: &[u8]) -> Vec<u8> {
    let mut child = Process::new(shell[0])
        .args(&shell[1..])
        .args(["-c", &format!("{before} eval \"$(cat)\"")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the shell starts");
    let mut input = child.stdin.take().expect("its input");
    let script = script.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = input.write_all(&script);
    });
    let output = child.wait_with_output().expect("the shell ends");
    let _ = writer.join();
    output.stdout
}

pub(crate) fn perform_by(shell: &[&str], before: &str, steps: &[Step]) -> (Vec<StepEvent>, Vec<Outcome>) {
    let answer = feed(shell, before, step_script(steps, NONCE).as_bytes());
    let mut progress = Progress::new(NONCE);
    let events = progress.push(&answer);
    (events, progress.outcomes().unwrap_or_else(|| panic!("{shell:?}: the answer ends early")))
}

pub(crate) fn perform(shell: &[&str], steps: &[Step]) -> Vec<Outcome> {
    perform_by(shell, "", steps).1
}
