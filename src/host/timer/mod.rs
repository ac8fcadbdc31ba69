//! The rollback timer: a change that could lock us out is rolled back by the host itself, unless it is confirmed in time.
//!
//! In: the steps that arm, extend and confirm it, or give the change up. Out: units of systemd, and what they start. Never: a
//! change that stays although its time was over first; a lock decides which of the two comes first.
//!
//! `armed/NAME` beside the ledger holds, as every armilla wrote it:
//!
//! ```text
//! armed      three lines: the boot in which it was armed, its seconds, and the name of its units without ending
//! fire       the program that the units start, at the end of the time and at every boot; a copy, so that it is there
//!            whatever becomes of the one that armed it
//! fired      is there when everything was rolled back: when, and why, a line each
//! stuck      is there when something could not be rolled back: what
//! lock       is locked by whoever works in the directory
//! ```

mod fire;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, StatVfsMountFlags, fchmod, fstatvfs, symlinkat};

use super::keep::Keep;
use super::keep::folder::{Folder, Lock};
use super::keep::walk::{Missing, enter};
use super::undo::Means;
use super::{Failure, Result};
use crate::crash;
use crate::name::{Owner, RoleName};
use crate::step::deadman::{STUCK, UNARMED, UNDONE};
use crate::step::{Command, CommandReading, Digest};
pub(super) use fire::{Firing, fire};

/// The parts of the system that a rollback timer works with.
#[derive(Debug, Clone, Copy)]
pub(super) struct System<'a> {
    /// Where units are: `/etc/systemd/system`.
    pub(super) units: &'a str,
    /// Is there where systemd runs: `/run/systemd/system`.
    pub(super) running: &'a str,
    /// Where programs that were copied for a moment go: `/run`.
    pub(super) scratch: &'a str,
    /// As long as it is there no step begins: `/run/armilla-late`.
    pub(super) late: &'a str,
}

/// The system of a host.
pub(super) const SYSTEM: System<'static> =
    System { units: "/etc/systemd/system", running: "/run/systemd/system", scratch: "/run", late: "/run/armilla-late" };

/// What the steps work with.
#[derive(Clone, Copy)]
pub(super) struct Timer<'a> {
    /// What is kept.
    pub(super) keep: Keep<'a>,
    /// Runs a program to its end; exit code 127 if there is none of that name.
    pub(super) run: &'a dyn Fn(&Command) -> CommandReading,
    /// The parts of the system.
    pub(super) system: System<'a>,
}

/// The directory of one rollback timer, locked.
struct Post {
    environment: Folder,
    armed: Folder,
    folder: Folder,
    /// Its path without links, by which the units name it.
    path: String,
    /// The name of its units, without ending.
    unit: String,
    lock: Lock,
}

impl Timer<'_> {
    /// Goes to the directory of a name and locks it; none where it is missing and stays so.
    fn post(&self, owner: &Owner, name: &RoleName, missing: Missing) -> Result<Option<Post>> {
        let uid = self.keep.place.uid();
        let Some(environment) = self.keep.belonging(owner, missing)? else { return Ok(None) };
        let Some(armed) = environment.own_child("armed", missing, uid)? else { return Ok(None) };
        let Some(folder) = armed.own_child(name.as_str(), missing, uid)? else { return Ok(None) };
        let lock = folder.append("lock").map(Lock::new).map_err(|_| folder.unwritable("lock"))?;
        if !lock.take_within(Duration::from_secs(120)).unwrap_or(false) {
            return Err(Failure::new("this host has been putting things back for two minutes, and is not done"));
        }
        let path = std::fs::read_link(format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd()));
        let path = path.map_err(|error| Failure::new(format!("{}: {error}", folder.path())))?;
        let path = path.to_str().ok_or_else(|| plainer(folder.path()))?.to_owned();
        let unit = format!("armilla-undo-{:.16}", Digest::of(path.as_bytes()).0);
        Ok(Some(Post { environment, armed, folder, path, unit, lock }))
    }

    fn systemctl(&self, arguments: &[&str]) -> Result {
        let command = Command::new([&["systemctl"], arguments].concat()).within(Duration::from_secs(60));
        let CommandReading { exit, stderr, .. } = (self.run)(&command);
        let why = || {
            let said = String::from_utf8_lossy(&stderr).trim().to_owned();
            Failure { exit, why: format!("systemctl {}: {said}", arguments.join(" ")) }
        };
        if exit == 0 { Ok(()) } else { Err(why()) }
    }

    /// Whether this host can do that at all.
    fn able(&self) -> Result {
        let version = Command::new(["systemctl", "--version"]).within(Duration::from_secs(10));
        let able =
            self.keep.place.uid() == 0 && Path::new(self.system.running).is_dir() && (self.run)(&version).exit == 0;
        let why = "this host cannot undo a change by itself, which takes root and systemd: \"risky: false\" beside the \
                   resource does without";
        if able { Ok(()) } else { Err(Failure::new(why)) }
    }

    /// Lets the time begin.
    fn begin_time(&self, unit: &str) -> Result {
        let (timer, service) = (format!("{unit}.timer"), format!("{unit}.service"));
        let _ = self.systemctl(&["stop", &timer, &service]);
        let _ = self.systemctl(&["reset-failed", &service]);
        self.systemctl(&["start", &timer])
    }
}

fn plainer(path: &str) -> Failure {
    Failure::new(format!("{path}: systemd needs a plainer path"))
}

fn unarmed(name: &RoleName) -> Failure {
    Failure::new(format!("nothing is armed under the name {name}"))
}

/// Arms it for the snapshot of the same name. `program` is the path of this very program, which must do `fire DIRECTORY`.
pub(super) fn arm(timer: Timer<'_>, owner: &Owner, (name, after): (&RoleName, Duration), program: &Path) -> Result {
    timer.able()?;
    let post = timer.post(owner, name, Missing::Make)?.ok_or_else(|| unarmed(name))?;
    let kept = post.environment.child("undo", Missing::Leave).ok().flatten();
    let kept = kept.and_then(|undo| undo.child(name.as_str(), Missing::Leave).ok().flatten());
    if !kept.is_some_and(|kept| kept.has_file("list")) {
        return Err(Failure::new(format!("nothing is kept under the name {name} that can be rolled back")));
    }
    if post.path.contains(|c: char| c.is_whitespace() || "%\\\"'$".contains(c)) {
        return Err(plainer(&post.path));
    }
    let removed = post.folder.remove("fired").and_then(|()| post.folder.remove("stuck"));
    removed.map_err(|error| Failure::new(format!("{}: {error}", post.path)))?;
    copy_program(&post.folder, program).map_err(|error| Failure::new(format!("{}/fire: {error}", post.path)))?;
    let boot = (timer.keep.uptime)()?.boot;
    // The limit in whole seconds, which is what systemd and every host before this one understands.
    let seconds = (after.as_secs() + u64::from(after.subsec_nanos() > 0)).clamp(1, 7 * 24 * 3600);
    post.folder.replace("armed", format!("{boot}\n{seconds}\n{}\n", post.unit).as_bytes())?;
    crash::on_host();
    write_units(&timer.system, &post, (name, seconds))?;
    crash::on_host();
    timer.systemctl(&["daemon-reload"])?;
    timer.begin_time(&post.unit)
}

/// Copies the program, flushed to disk.
fn copy_program(folder: &Folder, program: &Path) -> io::Result<()> {
    let mut copy = folder.create(".new-fire")?;
    io::copy(&mut File::open(program)?, &mut copy)?;
    fchmod(&copy, Mode::from_raw_mode(0o700))?;
    copy.sync_all()?;
    drop(copy);
    folder.rename(".new-fire", "fire").and_then(|()| folder.sync())
}

fn write_units(system: &System<'_>, post: &Post, (name, seconds): (&RoleName, u64)) -> Result {
    let units = Folder::new(enter(system.units, Missing::Make, 0)?, system.units);
    let Post { path, unit, .. } = post;
    // Where nothing may be executed, it is copied at the last moment to where something may be.
    let noexec = fstatvfs(&post.folder).is_ok_and(|mounted| mounted.f_flag.contains(StatVfsMountFlags::NOEXEC));
    let start = if noexec {
        let copy = format!("{}/{unit}", system.scratch);
        format!("ExecStartPre=/bin/cp -f {path}/fire {copy}\nExecStart={copy} fire {path}")
    } else {
        format!("ExecStart={path}/fire fire {path}")
    };
    let service = format!(
        "[Unit]\nDescription=armilla rolls back what the role {name} changed\n[Service]\n{start}\n[Install]\n\
         WantedBy=multi-user.target\n"
    );
    let timer = format!(
        "[Unit]\nDescription=armilla waits for word about what the role {name} changed\n[Timer]\n\
         OnActiveSec={seconds}s\nAccuracySec=100ms\n"
    );
    let service_name = format!("{unit}.service");
    write_unit(&units, &service_name, &service)?;
    write_unit(&units, &format!("{unit}.timer"), &timer)?;
    let wants = format!("{}/multi-user.target.wants", system.units);
    let wants = Folder::new(enter(&wants, Missing::Make, 0)?, wants);
    let linked = wants
        .remove(service_name.as_str())
        .and_then(|()| Ok(symlinkat(units.at(&service_name), &wants, &service_name)?))
        .and_then(|()| wants.sync());
    linked.map_err(|_| wants.unwritable(&service_name))
}

/// A unit, flushed to disk.
fn write_unit(units: &Folder, name: &str, text: &str) -> Result {
    let new = format!("{name}.new");
    let written = units.create(&new).and_then(|mut file| {
        io::Write::write_all(&mut file, text.as_bytes())?;
        fchmod(&file, Mode::from_raw_mode(0o644))?;
        file.sync_all()?;
        units.rename(&new, name).and_then(|()| units.sync())
    });
    written.map_err(|_| {
        let _ = units.remove(new.as_str());
        units.unwritable(name)
    })
}

/// Removes the units, of which only the first decides whether a boot starts anything.
fn remove_units(system: &System<'_>, unit: &str) {
    let wants = format!("{}/multi-user.target.wants", system.units);
    for (directory, ending) in [(wants.as_str(), "service"), (system.units, "timer"), (system.units, "service")] {
        let Ok(handle) = enter(directory, Missing::Leave, 0) else { continue };
        let folder = Folder::new(handle, directory);
        let _ = folder.remove(format!("{unit}.{ending}").as_str()).and_then(|()| folder.sync());
    }
    let _ = std::fs::remove_file(format!("{}/{unit}", system.scratch));
}

/// Lets the time begin again.
///
/// # Errors
/// Exit code [`UNDONE`] or [`STUCK`] where it comes too late.
pub(super) fn extend(timer: Timer<'_>, owner: &Owner, name: &RoleName) -> Result {
    let post = timer.post(owner, name, Missing::Leave)?.ok_or_else(|| unarmed(name))?;
    check(&post.folder)?;
    if post.folder.has("armed") { timer.begin_time(&post.unit) } else { Err(unarmed(name)) }
}

/// Confirms the change: it stays. Nothing armed is success.
///
/// # Errors
/// As [`extend`].
pub(super) fn disarm(timer: Timer<'_>, owner: &Owner, name: &RoleName) -> Result {
    let Some(post) = timer.post(owner, name, Missing::Leave)? else { return Ok(()) };
    check(&post.folder)?;
    let failed = |error: io::Error| Failure::new(format!("{}: {error}", post.path));
    // From here on nothing is rolled back any more, whatever is left.
    post.folder.remove("armed").and_then(|()| post.folder.sync()).map_err(failed)?;
    crash::on_host();
    let (unit_timer, service) = (format!("{}.timer", post.unit), format!("{}.service", post.unit));
    let _ = timer.systemctl(&["stop", &unit_timer, &service]);
    remove_units(&timer.system, &post.unit);
    crash::on_host();
    // Where there is none, nothing was armed either.
    let _ = timer.systemctl(&["daemon-reload"]);
    post.armed.remove_all(name.as_str()).map_err(failed)?;
    let _ = post.environment.remove_empty("armed");
    Ok(())
}

/// Rolls everything back at once. If that was done already, that is success.
///
/// # Errors
/// Exit code [`UNARMED`] where nothing is armed, [`STUCK`] where something could not be rolled back.
pub(super) fn give_up(timer: Timer<'_>, owner: &Owner, name: &RoleName) -> Result {
    let nothing = || Failure { exit: UNARMED, ..unarmed(name) };
    let post = timer.post(owner, name, Missing::Leave)?.ok_or_else(nothing)?;
    match check(&post.folder) {
        Err(failure) if failure.exit == UNDONE => return Ok(()),
        checked => checked?,
    }
    if !post.folder.has("armed") {
        return Err(nothing());
    }
    let Post { path, folder, lock, .. } = post;
    drop(lock);
    let Timer { keep, run, system } = timer;
    let firing = Firing { means: Means::of(keep, run), uptime: keep.uptime, system };
    fire(firing, Path::new(&path), Some("armilla could not continue with the change")).map_err(|failure| {
        let exit = if folder.has("stuck") { STUCK } else { 1 };
        Failure { exit, ..failure }
    })
}

/// Fails with the whole story if everything was rolled back, or was to be.
fn check(folder: &Folder) -> Result {
    let read =
        |name: &str| folder.read(name, 1 << 20).ok().flatten().map(|text| String::from_utf8_lossy(&text).into_owned());
    if let Some(stuck) = read("stuck") {
        return Err(Failure { exit: STUCK, why: stuck.trim_end().to_owned() });
    }
    let Some(fired) = read("fired") else { return Ok(()) };
    let (when, why) = fired.trim_end().split_once('\n').unwrap_or((fired.trim_end(), ""));
    Err(Failure { exit: UNDONE, why: format!("this host rolled everything back by itself at {when}: {why}") })
}

#[cfg(test)]
mod tests;
