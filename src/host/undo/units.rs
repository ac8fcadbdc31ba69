//! How a unit of systemd is, and what brings it there again.

use super::super::keep::folder::Folder;
use super::super::{Failure, Result};
use super::{Means, Pace};

/// Whether a unit is active and enabled, in systemd's own words; the second is empty where it knows none.
pub(super) fn was(unit: &str, means: Means<'_>) -> String {
    let (exit, active) = means.ask(&["systemctl", "is-active", "--", unit]);
    if exit == 127 {
        return "none".to_owned();
    }
    let (_, enabled) = means.ask(&["systemctl", "is-enabled", "--", unit]);
    let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    let active = Some(first(&active)).filter(|active| !active.is_empty());
    format!("{} {}", active.as_deref().unwrap_or("inactive"), first(&enabled))
}

fn runs(was: &str) -> bool {
    ["active", "activating", "reloading", "refreshing"].iter().any(|state| was.starts_with(state))
}

fn starts(was: &str) -> bool {
    was.contains(" enabled")
}

/// One that did not run or did not start with the host does not do so now, while its file is still there.
pub(super) fn halt(kept: &Folder, unit: &str, was: &str, means: Means<'_>) -> Result {
    let now = self::was(unit, means);
    let mut wrong = Vec::new();
    if !runs(was) && runs(&now) {
        changing(kept)?;
        wrong.extend(means.program(600, &["systemctl", "stop", "--", unit]).err());
    }
    if !starts(was) && starts(&now) {
        changing(kept)?;
        wrong.extend(means.program(60, &["systemctl", "disable", "--", unit]).err());
    }
    if !was.starts_with("failed") && now.starts_with("failed") {
        let _ = means.program(60, &["systemctl", "reset-failed", "--", unit]);
    }
    all(wrong)
}

/// One that ran runs, and has read what is there again.
pub(super) fn run(kept: &Folder, unit: &str, (was, pace): (&str, Pace), means: Means<'_>) -> Result {
    let now = self::was(unit, means);
    let mut wrong = Vec::new();
    if starts(was) && !starts(&now) {
        changing(kept)?;
        wrong.extend(means.program(60, &["systemctl", "enable", "--", unit]).err());
    }
    if runs(was) {
        // What fell over too often would not be started again.
        let _ = means.program(60, &["systemctl", "reset-failed", "--", unit]);
        // What is in use is not taken away from under those who use it.
        let in_use = [".mount", ".automount", ".swap", ".target", ".slice"].iter().any(|end| unit.ends_with(end));
        let verb = if !in_use && kept.has("begun") { "restart" } else { "start" };
        if verb == "restart" || !runs(&now) {
            let argv: &[&str] = match pace {
                Pace::Wait => &["systemctl", verb, "--", unit],
                Pace::Early => &["systemctl", "--no-block", verb, "--", unit],
            };
            wrong.extend(means.program(600, argv).err());
        }
    }
    all(wrong)
}

/// From here on something is different from what it was a moment ago. It is remembered for the case that the rollback is
/// interrupted.
pub(super) fn changing(kept: &Folder) -> Result {
    if kept.has("begun") {
        return Ok(());
    }
    kept.mark("begun").map_err(|_| kept.unwritable("begun"))
}

/// One failure of several.
fn all(wrong: Vec<Failure>) -> Result {
    let whys: Vec<String> = wrong.into_iter().map(|failure| failure.why).collect();
    if whys.is_empty() { Ok(()) } else { Err(Failure::new(whys.join("\n"))) }
}
