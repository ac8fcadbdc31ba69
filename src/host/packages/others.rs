//! Others that have to end first: those who hold a lock of the package manager, and the processes of a user.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::host::program::Programs;
use crate::host::waiting::{Tell, Teller};
use crate::host::{Failure, Result};
use crate::step::WaitsFor;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Long enough for another installation.
const DPKG: Duration = Duration::from_secs(300);

/// Who logged in a moment ago is still there: systemd keeps the manager of a user for ten seconds.
const PROCESSES: Duration = Duration::from_secs(30);

/// Waits until what a program waits for has ended; `tell` hears who it is.
///
/// # Errors
/// When it did not end in time; who it is.
pub(in crate::host) fn wait_for(programs: &Programs<'_>, other: &WaitsFor, tell: &mut Tell<'_>) -> Result {
    match other {
        WaitsFor::Dpkg => unlocked_dpkg(tell),
        WaitsFor::ProcessesOf(user) => match (programs.person)(user) {
            Ok(person) => ended(PROCESSES, tell, || user_process(user, person.identity.uid)),
            // Who is not there has no processes.
            Err(_) => Ok(()),
        },
    }
}

/// Waits for others who work with dpkg.
pub(super) fn unlocked_dpkg(tell: &mut Tell<'_>) -> Result {
    unlocked(DPKG, &["/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"].map(Path::new), tell)
}

/// Waits until no other program holds a lock on one of these files.
pub(super) fn unlocked(patience: Duration, files: &[&Path], tell: &mut Tell<'_>) -> Result {
    ended(patience, tell, || holder(files))
}

/// Waits until there is nobody any more.
fn ended(patience: Duration, tell: &mut Tell<'_>, look: impl Fn() -> Option<String>) -> Result {
    let (began, mut teller) = (Instant::now(), Teller::new(tell));
    while let Some(other) = look() {
        if began.elapsed() >= patience {
            return Err(Failure::new(format!("{other}: waited {} s for it to end", patience.as_secs())));
        }
        teller.say(&other, "")?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Who holds a lock on one of these files: its number and its name, as what was typed may have a secret in it. The locks of
/// apt and dpkg are POSIX's.
fn holder(files: &[&Path]) -> Option<String> {
    let identity = |path: &Path| fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
    let files: Vec<_> = files.iter().filter_map(|file| Some((file, identity(file)?))).collect();
    let locks = if files.is_empty() { return None } else { fs::read_to_string("/proc/locks").ok()? };
    // `1: POSIX  ADVISORY  WRITE 4711 fe:00:1234 0 EOF`; who waits for one has an arrow before that word.
    let processes = locks.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        (words.get(1) == Some(&"POSIX")).then(|| words.get(4)?.parse::<u32>().ok())?
    });
    processes.filter(|process| *process > 0).find_map(|process| {
        let open = fs::read_dir(format!("/proc/{process}/fd")).ok()?;
        let mut open = open.filter_map(|file| identity(&file.ok()?.path()));
        let (file, _) = open.find_map(|open| files.iter().find(|(_, file)| *file == open))?;
        Some(format!("{} is locked by process {process} ({})", file.display(), name_of(process)))
    })
}

/// Which process a user still has: real, effective, saved or for files.
fn user_process(user: &str, uid: u32) -> Option<String> {
    let is_of = |process: u32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
        numbers.split_ascii_whitespace().any(|number| number.parse() == Ok(uid))
    };
    let entries = fs::read_dir("/proc").ok()?;
    let mut processes = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let process = processes.find(|process| is_of(*process))?;
    Some(format!("user {user} is used by process {process} ({})", name_of(process)))
}

fn name_of(process: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    name.chars().filter(|c| !c.is_control()).collect()
}
