//! Control groups of hosts. In come the machine's mounts and the caller's own groups, out go folders below the caller's,
//! so that any limit on the caller holds for its hosts too. It never touches a group that the lab did not make.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::error::LabError;
use super::files;

/// The only devices a host may open, so that no role can touch the machine's disks: null, zero, full, random, urandom,
/// tty, ptmx and pseudo-terminals. Any node may be made.
const DEVICES: [&str; 10] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// The groups of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cgroups {
    /// Its cgroup2 group: the root of all groups the host sees.
    unified: PathBuf,
    /// Its group of the version 1 devices controller, on machines that have it.
    devices: Option<PathBuf>,
}

impl Cgroups {
    /// The groups `LAB/NAME` below those of this process.
    pub(crate) fn below_own(lab: &str, name: &str) -> Result<Self, LabError> {
        let (mounts, own) = (read("/proc/self/mounts")?, read("/proc/self/cgroup")?);
        let tail = Path::new(lab).join(name);
        Self::find(&mounts, &own, &tail).ok_or_else(|| LabError::Kernel {
            doing: "finding the machine's cgroup2 mount: type `mount -t cgroup2 cgroup2 /sys/fs/cgroup`".to_owned(),
            source: nix::Error::ENOENT,
        })
    }

    fn find(mounts: &str, own: &str, tail: &Path) -> Option<Self> {
        let unified = mounted(mounts, "cgroup2", None)?.join(own_group(own, "")?).join(tail);
        let devices = mounted(mounts, "cgroup", Some("devices"))
            .and_then(|mount| Some(mount.join(own_group(own, "devices")?).join(tail)));
        Some(Self { unified, devices })
    }

    /// Reads back what `record` wrote, if the host has groups.
    pub(crate) fn recorded(host: &Path) -> Option<Self> {
        let text = fs::read_to_string(host.join("cgroups")).ok()?;
        let mut lines = text.lines().map(PathBuf::from);
        Some(Self { unified: lines.next()?, devices: lines.next() })
    }

    /// Notes the groups in the host's folder, for commands that run in another group.
    pub(crate) fn record(&self, host: &Path) -> Result<(), LabError> {
        let lines: Vec<_> = self.all().map(|group| format!("{}\n", group.display())).collect();
        files::replace(&host.join("cgroups"), &lines.concat(), 0o600)
    }

    /// Whether opening devices is limited by a group.
    pub(crate) fn guard_devices(&self) -> bool {
        self.devices.is_some()
    }

    /// Makes the groups.
    pub(crate) fn make(&self) -> Result<(), LabError> {
        for group in self.all() {
            files::context(make_group(group), "making the cgroup", group)?;
        }
        let Some(group) = &self.devices else { return Ok(()) };
        files::context(fs::write(group.join("devices.deny"), "a"), "limiting", group)?;
        for rule in DEVICES {
            files::context(fs::write(group.join("devices.allow"), rule), "limiting", group)?;
        }
        Ok(())
    }

    /// Moves this process into both groups.
    pub(crate) fn enter(&self) -> Result<(), LabError> {
        self.all().try_for_each(|group| join(group))
    }

    /// Moves this process under the device limits only. A foreign process in the unified group would hinder the host's
    /// systemd, which moves everything it finds at its root.
    pub(crate) fn enter_devices(&self) -> Result<(), LabError> {
        self.devices.iter().try_for_each(|group| join(group))
    }

    /// Removes the groups, innermost first, and the lab's own once they are empty.
    pub(crate) fn remove(&self) -> Result<(), LabError> {
        for group in self.all() {
            files::context(remove_group(group), "removing the cgroup", group)?;
            if let Some(lab) = group.parent() {
                // Fails as long as another host has its group there.
                let _ = fs::remove_dir(lab);
            }
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.unified).chain(&self.devices)
    }
}

fn read(path: &str) -> Result<String, LabError> {
    files::context(fs::read_to_string(path), "reading", Path::new(path))
}

/// "0" stands for the writer itself, whatever pid it has where.
fn join(group: &Path) -> Result<(), LabError> {
    files::context(fs::write(group.join("cgroup.procs"), "0"), "entering the cgroup", group)
}

/// Where a kind of cgroup file system is mounted; see proc(5), `/proc/PID/mounts`.
fn mounted(mounts: &str, kind: &str, controller: Option<&str>) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let [_, place, found, options, ..] = line.split_whitespace().collect::<Vec<_>>()[..] else { return None };
        let fits = found == kind && controller.is_none_or(|word| options.split(',').any(|option| option == word));
        fits.then(|| PathBuf::from(place))
    })
}

/// This process's group in a hierarchy, relative to its mount; see cgroups(7), `/proc/PID/cgroup`.
fn own_group<'a>(own: &'a str, controller: &str) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { return None };
        let fits = controllers.split(',').any(|word| word == controller);
        fits.then(|| path.trim_start_matches('/'))
    })
}

/// Another host going off may remove the lab's own group between two steps of making ours.
fn make_group(group: &Path) -> io::Result<()> {
    let missing = |result: &io::Result<()>| matches!(result, Err(error) if error.kind() == io::ErrorKind::NotFound);
    let mut result = fs::create_dir_all(group);
    for _ in 0..20 {
        if !missing(&result) {
            break;
        }
        result = fs::create_dir_all(group);
    }
    result
}

/// A killed process leaves its group a moment after its death is seen.
fn remove_group(group: &Path) -> io::Result<()> {
    let mut result = remove_depth_first(group);
    for _ in 0..100 {
        match &result {
            Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => sleep(Duration::from_millis(20)),
            _ => break,
        }
        result = remove_depth_first(group);
    }
    result
}

fn remove_depth_first(group: &Path) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(group) else { return Ok(()) };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_depth_first(&entry.path())?;
        }
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = "armilla0/h1";

    #[test]
    fn a_machine_with_both_versions_uses_both() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/devices cgroup rw,relatime,devices 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let groups = Cgroups::find(mounts, "5:devices:/box\n0::/\n", Path::new(TAIL)).expect("groups");
        assert_eq!(groups.unified, Path::new("/sys/fs/cgroup/unified/armilla0/h1"));
        assert_eq!(groups.devices.as_deref(), Some(Path::new("/sys/fs/cgroup/devices/box/armilla0/h1")));
    }

    #[test]
    fn a_pure_cgroup2_machine_uses_the_callers_group() {
        let mounts = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        let groups = Cgroups::find(mounts, "0::/user.slice/a:b.scope\n", Path::new(TAIL)).expect("groups");
        assert_eq!(groups.unified, Path::new("/sys/fs/cgroup/user.slice/a:b.scope/armilla0/h1"));
        assert!(!groups.guard_devices());
    }

    #[test]
    fn no_cgroup2_is_no_groups() {
        assert_eq!(Cgroups::find("", "0::/\n", Path::new(TAIL)), None);
    }
}
