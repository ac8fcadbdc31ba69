//! The end of the time: rolls back what a change altered that was not confirmed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::super::keep::Uptime;
use super::super::keep::folder::{Folder, Lock};
use super::super::keep::walk::{Missing, enter};
use super::super::undo::{Means, Pace, restore};
use super::super::{Failure, Result};
use super::{System, remove_units};
use crate::name::RoleName;
use crate::step::Command;

/// What it works with.
#[derive(Clone, Copy)]
pub(in crate::host) struct Firing<'a> {
    /// For the rollback.
    pub(in crate::host) means: Means<'a>,
    /// The time: [`Uptime::now`].
    pub(in crate::host) uptime: &'a dyn Fn() -> Result<Uptime>,
    /// The parts of the system.
    pub(in crate::host) system: System<'a>,
}

/// Longer than anything that may hold a lock here.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Rolls back what the rollback timer in a directory is armed for: started by its timer and by every boot, and by armilla
/// itself, with the reason, where it could not continue. Nothing armed is success. Needs nothing but that directory.
///
/// # Errors
/// What could not be rolled back. It stays armed: the next boot tries again.
pub(in crate::host) fn fire(firing: Firing<'_>, directory: &Path, reason: Option<&str>) -> Result {
    let (environment, folder, name) = open(&firing, directory)?;
    let Some(armed) = Armed::read(&folder) else { return Ok(()) };
    let (why, pace) = match reason {
        Some(reason) => (reason.to_owned(), Pace::Wait),
        None if (firing.uptime)()?.boot == armed.boot => {
            (format!("nobody logged in again within {} s", armed.seconds), Pace::Wait)
        }
        None => ("it booted before the change was confirmed".to_owned(), Pace::Early),
    };
    let busy = if reason.is_none() { wait_for_steps(&firing, &environment, armed.seconds)? } else { None };
    let lock = folder.append("lock").map(Lock::new).map_err(|_| folder.unwritable("lock"))?;
    let _ = lock.take_within(FOREVER);
    if folder.has("armed") && !folder.has("fired") {
        let restored = restore(&environment, name.as_str(), pace, firing.means);
        if let Err(failure) = restored.and_then(|()| tell_fired(&folder, &why)) {
            return Err(stuck(&firing, &folder, (&why, &failure.why)));
        }
    }
    if folder.has("fired") {
        settle(&firing, &folder, &armed.unit);
    }
    drop(lock);
    // A step that has outlived all this is its order's last one.
    if let Some(busy) = busy.filter(|_| Path::new(firing.system.late).exists()) {
        let _ = busy.take_within(FOREVER);
        let _ = fs::remove_file(firing.system.late);
    }
    Ok(())
}

/// The directory of the environment, the one of the timer in it, and its name.
fn open(firing: &Firing<'_>, directory: &Path) -> Result<(Folder, Folder, RoleName)> {
    let strange = || Failure::new(format!("{} is not the directory of a rollback timer", directory.display()));
    let name = directory.file_name().and_then(|name| RoleName::new(name.to_str()?).ok()).ok_or_else(strange)?;
    let armed = directory.parent().filter(|armed| armed.ends_with("armed")).ok_or_else(strange)?;
    let environment = armed.parent().and_then(Path::to_str).ok_or_else(strange)?;
    let uid = firing.means.uid;
    let environment = Folder::new(enter(environment, Missing::Leave, uid)?, environment);
    let armed = environment.own_child("armed", Missing::Leave, uid)?.ok_or_else(strange)?;
    let folder = armed.own_child(name.as_str(), Missing::Leave, uid)?.ok_or_else(strange)?;
    Ok((environment, folder, name))
}

/// What is armed.
struct Armed {
    boot: String,
    seconds: u64,
    unit: String,
}

impl Armed {
    fn read(folder: &Folder) -> Option<Self> {
        let text = folder.read("armed", 4096).ok().flatten()?;
        let text = String::from_utf8(text).ok()?;
        let mut lines = text.lines();
        let (boot, seconds, unit) = (lines.next()?, lines.next()?, lines.next()?);
        // It becomes the name of files that are removed.
        let is_plain = unit.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let plain = Some(unit).filter(|unit| unit.starts_with("armilla-undo-") && is_plain)?;
        Some(Self { boot: boot.to_owned(), seconds: seconds.parse().ok()?, unit: plain.to_owned() })
    }
}

/// What is being changed at this moment comes to its end first, if it does so in time; else no step of it begins any more.
fn wait_for_steps(firing: &Firing<'_>, environment: &Folder, seconds: u64) -> Result<Option<Lock>> {
    let most = Duration::from_secs(seconds);
    let all = Path::new(environment.path()).parent().and_then(Path::to_str).unwrap_or("/");
    let all = Folder::new(enter(all, Missing::Leave, firing.means.uid)?, all);
    let Ok(busy) = all.append("busy").map(Lock::new) else { return Ok(None) };
    if !busy.take_within(most).unwrap_or(false) {
        let _ = fs::write(firing.system.late, "");
        let _ = busy.take_within(most);
    }
    Ok(Some(busy))
}

fn tell_fired(folder: &Folder, why: &str) -> Result {
    let written = folder.write_synced(".new-fired", format!("{}\n{why}\n", now()).as_bytes());
    let renamed = written
        .and_then(|()| folder.remove("stuck"))
        .and_then(|()| folder.rename(".new-fired", "fired"))
        .and_then(|()| folder.sync());
    renamed.map_err(|_| folder.unwritable("fired"))
}

fn stuck(firing: &Firing<'_>, folder: &Folder, (why, said): (&str, &str)) -> Failure {
    let text = format!("this host was to roll everything back ({why}), and could not: {said}");
    let _ = folder.replace("stuck", format!("{text}\n").as_bytes());
    let _ = fs::remove_file(firing.system.late);
    Failure::new(text)
}

/// Nothing is armed any more.
fn settle(firing: &Firing<'_>, folder: &Folder, unit: &str) {
    let systemctl = |arguments: &[&str]| {
        let command = Command::new([&["systemctl"], arguments].concat()).within(Duration::from_secs(60));
        let _ = (firing.means.run)(&command);
    };
    // A timer that still waits when systemd finds what it starts gone is left there as failed.
    systemctl(&["stop", &format!("{unit}.timer")]);
    remove_units(&firing.system, unit);
    let _ = folder.remove("armed").and_then(|()| folder.remove("fire")).and_then(|()| folder.sync());
    systemctl(&["daemon-reload"]);
}

/// The time by the clock of this host, in UTC.
fn now() -> String {
    text_of(clock_gettime(ClockId::Realtime).tv_sec)
}

/// Seconds since 1970 as `2026-01-31T23:59:59Z`.
fn text_of(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
    // By eras of 400 years from a first of March, so that the leap day is the last of its year.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 { (month + 3, year) } else { (month - 9, year + 1) };
    let year = year + era * 400;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_that_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(text_of(seconds), text);
        }
    }
}
