//! Package lists are fetched.

use std::path::Path;
use std::time::{Duration, Instant};

use super::others::unlocked;
use crate::host::program::{Cause, Limits, Programs, undisturbed};
use crate::host::waiting::{Tell, Teller};
use crate::host::{Failure, Result};
use crate::step::Command;

/// How long somebody else may hold the lock.
const LOCKED: Duration = Duration::from_secs(300);

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long apt may take at first. It may wait for ever where a proxy sent half an answer; then it is given up and asked once
/// more. What it has by then it does not fetch again.
const FIRST: Duration = Duration::from_secs(90);

/// Nothing is asked ahead (`Pipeline-Depth`): apt waits without end for the answer if a proxy closes the connection first.
const APT: [&str; 11] = [
    "apt-get",
    "update",
    "-q",
    "-o",
    "APT::Update::Error-Mode=any",
    "-o",
    "Acquire::http::Timeout=30",
    "-o",
    "Acquire::Retries=2",
    "-o",
    "Acquire::http::Pipeline-Depth=0",
];

/// The package managers besides apt: the program, what it says when another is at work, and what fetches the lists.
const OTHERS: [(&str, &str, &[&str]); 5] = [
    ("dnf", "waiting for process", &["dnf", "-q", "-y", "makecache"]),
    ("yum", "holding the yum lock", &["yum", "-q", "-y", "makecache"]),
    ("zypper", "is locked by", &["zypper", "--non-interactive", "--quiet", "refresh"]),
    ("apk", "lock database", &["apk", "update", "-q"]),
    ("pacman", "lock database", &["pacman", "-Sy", "--noconfirm"]),
];

/// [`crate::step::Step::RefreshPackages`]: waits for others who hold the lock, and tells who they are.
pub(in crate::host) fn refresh(programs: &Programs<'_>, tell: &mut Tell<'_>) -> Result {
    let is_debian = std::fs::metadata("/var/lib/dpkg/status").is_ok_and(|data| data.len() > 0);
    if is_debian && programs.has("apt-get") {
        unlocked(LOCKED, &[Path::new("/var/lib/apt/lists/lock")], tell)?;
        return fetched(programs, &Fetching { locked: "get lock", argv: &APT, times: &[FIRST, PATIENCE] }, tell);
    }
    match OTHERS.iter().find(|(program, ..)| programs.has(program)) {
        Some((_, locked, argv)) => fetched(programs, &Fetching { locked, argv, times: &[PATIENCE] }, tell),
        None => Err(Failure::new("this host has no package manager that armilla knows")),
    }
}

/// How lists are fetched.
pub(super) struct Fetching<'a> {
    /// What the program says when another is at work.
    pub(super) locked: &'a str,
    /// The program.
    pub(super) argv: &'a [&'a str],
    /// How long it may take, each time that it is asked.
    pub(super) times: &'a [Duration],
}

/// Again while it complains that it is locked, and again if it does not end in time and has another.
pub(super) fn fetched(programs: &Programs<'_>, fetching: &Fetching<'_>, tell: &mut Tell<'_>) -> Result {
    const PAUSE: Duration = Duration::from_secs(2);
    let (began, mut teller) = (Instant::now(), Teller::new(tell));
    let mut times = fetching.times.iter();
    let mut time = *times.next().unwrap_or(&PATIENCE);
    loop {
        let command = Command::new(fetching.argv.iter().copied()).within(time);
        let command = command.with("DEBIAN_FRONTEND", "noninteractive");
        let ended = programs.run(&command, &Limits::step(&command), &mut undisturbed)?;
        if ended.exit == 0 {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&ended.stderr.bytes()).into_owned();
        if ended.cause == Cause::Overdue
            && let Some(more) = times.next()
        {
            let (program, limit) = (fetching.argv[0], time.as_secs());
            teller.say(&format!("{program} did not end within {limit} s, and is asked once more"), "")?;
            time = *more;
            continue;
        }
        if !complaint.contains(fetching.locked) || began.elapsed() >= LOCKED {
            return Err(Failure { exit: ended.exit, why: ended.complaint() });
        }
        teller.say(&complaint, "")?;
        std::thread::sleep(PAUSE);
    }
}
