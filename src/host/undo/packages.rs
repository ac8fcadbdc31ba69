//! How a package of apt is, and what brings it there again.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::keep::folder::Folder;
use super::super::{Failure, Result};
use super::Means;
use super::units::changing;

/// What a package is that cannot be rolled back, because the host has no apt.
const OTHER: &str = "other";

/// Its version, and as which it is marked: `VERSION auto|manual hold|unhold`; `none`; `left` (its configuration); `half VERSION`.
pub(super) fn was(package: &str, means: Means<'_>) -> String {
    if has_apt() { of_apt(package, means) } else { OTHER.to_owned() }
}

fn has_apt() -> bool {
    let programs = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    std::fs::metadata("/var/lib/dpkg/status").is_ok_and(|status| status.len() > 0)
        && programs.iter().any(|directory| Path::new(directory).join("apt-get").exists())
}

fn of_apt(package: &str, means: Means<'_>) -> String {
    let (_, said) = means.ask(&["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Version}\\n", "--", package]);
    let said = said.lines().next().unwrap_or_default();
    let version = said.rsplit(' ').next().unwrap_or_default();
    match said.as_bytes().get(1) {
        Some(b'i') => {}
        Some(b'c') => return "left".to_owned(),
        None | Some(b'n') => return "none".to_owned(),
        _ => return format!("half {version}"),
    }
    let held = if said.starts_with('h') { "hold" } else { "unhold" };
    let (_, automatic) = means.ask(&["apt-mark", "showauto", "--", package]);
    let asked = if automatic.trim().is_empty() { "manual" } else { "auto" };
    format!("{version} {asked} {held}")
}

/// Makes it as it was.
pub(super) fn back(kept: &Folder, package: &str, was: &str, means: Means<'_>) -> Result {
    back_from(kept, package, (was, &self::was(package, means)), means)
}

fn back_from(kept: &Folder, package: &str, (was, now): (&str, &str), means: Means<'_>) -> Result {
    if now == was {
        return Ok(());
    }
    if was == OTHER {
        return Err(Failure::new("it cannot be restored: this host has no apt"));
    }
    changing(kept)?;
    let _ = means.program(1800, &["dpkg", "--configure", "-a", "--force-confdef", "--force-confold"]);
    if now.ends_with(" hold") {
        means.program(60, &["apt-mark", "unhold", "--", package])?;
    }
    let not_there = |failure: Failure| Failure {
        why: format!("it was not there, and cannot be removed: {}", failure.why),
        ..failure
    };
    match was.split(' ').collect::<Vec<_>>()[..] {
        ["none"] => purge(package, means).map_err(not_there),
        ["left"] => {
            let argv = ["apt-get", "remove", "-y", "-q", "-o", "DPkg::Lock::Timeout=300", "--", package];
            means.program(1800, &argv).map(drop).map_err(not_there)
        }
        [version, asked, held] => {
            install(package, version, now, means)?;
            means.program(60, &["apt-mark", asked, "--", package])?;
            if held == "hold" { means.program(60, &["apt-mark", "hold", "--", package]).map(drop) } else { Ok(()) }
        }
        _ => Err(Failure::new("it was installed only by half, and that cannot be restored")),
    }
}

/// What apt would take away.
fn rehearse(means: Means<'_>, arguments: &[&str]) -> Result<Vec<String>> {
    let argv = [&["apt-get", "-s", "-q", "-o", "APT::AutoRemove::SuggestsImportant=false"], arguments].concat();
    let said = means.program(1800, &argv)?;
    let name = |line: &str| {
        let rest = line.strip_prefix("Purg ").or_else(|| line.strip_prefix("Remv "))?;
        rest.split(' ').next().map(str::to_owned)
    };
    Ok(said.lines().filter_map(name).collect())
}

/// Removes a package with its configuration, and in the same transaction every package that was needed before and is needed
/// by nothing without it. What nothing needed before stays, and so does the package itself where one depends on it that
/// another user installed since. A suggestion is no need.
fn purge(package: &str, means: Means<'_>) -> Result {
    let idle = rehearse(means, &["autoremove"])?;
    let going = rehearse(means, &["purge", "--auto-remove", "--", package])?;
    let said = means.program(60, &["apt-mark", "showauto"])?;
    let automatic: BTreeSet<&str> = said.lines().collect();
    let alone = rehearse(means, &["remove", "--", package])?;
    if let Some(other) = alone.iter().find(|name| *name != package && !automatic.contains(name.as_str())) {
        return Err(Failure::new(format!("{other} depends on {package}")));
    }
    let more =
        going.iter().map(String::as_str).filter(|name| *name != package && !idle.iter().any(|idle| idle == name));
    let argv = ["apt-get", "purge", "-y", "-q", "-o", "DPkg::Lock::Timeout=300", "--", package];
    let argv: Vec<&str> = argv.into_iter().chain(more).collect();
    means.program(1800, &argv).map(drop)
}

/// Installs a version. What came with the newer one and is needed by nothing without it goes; what nothing needed before stays.
fn install(package: &str, version: &str, now: &str, means: Means<'_>) -> Result {
    const OPTIONS: [&str; 3] = ["--no-install-recommends", "--allow-downgrades", "--allow-change-held-packages"];
    if now.split(' ').next() == Some(version) {
        return Ok(());
    }
    let wanted = format!("{package}={version}");
    let idle = rehearse(means, &["autoremove"]).unwrap_or_default();
    let rehearsal = [&["install", "--auto-remove"], &OPTIONS[..], &["--", &wanted]].concat();
    let going = rehearse(means, &rehearsal).unwrap_or_default();
    let more: Vec<String> =
        going.into_iter().filter(|name| !idle.contains(name)).map(|name| format!("{name}-")).collect();
    let locked = ["-o", "DPkg::Lock::Timeout=300"];
    let kept = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold", "--", &wanted];
    let argv = [&["apt-get", "install", "-y", "-q", "--purge"], &OPTIONS[..], &locked, &kept].concat();
    let argv: Vec<&str> = argv.into_iter().chain(more.iter().map(String::as_str)).collect();
    let why = |failure: Failure| Failure {
        why: format!("it cannot be restored to the version {version}: {}", failure.why),
        ..failure
    };
    means.program(1800, &argv).map(drop).map_err(why)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::super::super::keep::walk::{Missing, enter};
    use super::*;
    use crate::step::{Command, CommandReading};

    /// A host on which each program whose command line begins with the first text says the second.
    fn with<T>(says: &[(&str, &str)], work: impl FnOnce(Means<'_>) -> T) -> (T, Vec<String>) {
        let ran = RefCell::new(Vec::new());
        let run = |command: &Command| {
            let line = command.argv.join(" ");
            ran.borrow_mut().push(line.clone());
            let said = says.iter().find(|(begin, _)| line.starts_with(begin)).map_or("", |(_, said)| said);
            let exit = i32::from(said.starts_with("E:"));
            CommandReading { exit, stdout: said.as_bytes().to_vec(), stderr: Vec::new() }
        };
        let result = work(Means { uid: 0, home: &|_| None, run: &run, program: None });
        (result, ran.into_inner())
    }

    #[test]
    fn a_package_is_as_dpkg_says() {
        let was = |status: &str, mark: &str| {
            with(&[("dpkg-query", status), ("apt-mark", mark)], |means| of_apt("nginx", means)).0
        };
        assert_eq!(was("ii  1.2-3\n", ""), "1.2-3 manual unhold");
        assert_eq!(was("hi  1:2~x\nii  4\n", "nginx\n"), "1:2~x auto hold");
        assert_eq!(was("rc  1.2\n", ""), "left");
        assert_eq!([was("", ""), was("un  \n", "")], ["none", "none"]);
        assert_eq!(was("pHR 1.2\n", ""), "half 1.2");
    }

    fn back(was: &str, now: &str, says: &[(&str, &str)]) -> (Result, Vec<String>) {
        let room = tempfile::tempdir().expect("a directory");
        let path = room.path().to_str().expect("a path");
        let uid = rustix::process::geteuid().as_raw();
        let kept = Folder::new(enter(path, Missing::Leave, uid).expect("a directory"), path);
        let (result, ran) = with(says, |means| back_from(&kept, "nginx", (was, now), means));
        assert_eq!(kept.has("begun"), was != now && was != OTHER);
        (result, ran.into_iter().filter(|line| !line.contains("apt-get -s") && line != "apt-mark showauto").collect())
    }

    const CONFIGURE: &str = "dpkg --configure -a --force-confdef --force-confold";
    const PURGE: &str = "apt-get purge -y -q -o DPkg::Lock::Timeout=300 -- nginx";

    #[test]
    fn what_came_with_a_package_goes_with_it_and_what_nothing_needed_before_stays() {
        let simulated = "apt-get -s -q -o APT::AutoRemove::SuggestsImportant=false ";
        let says = |verb: &str| format!("{simulated}{verb}");
        let (autoremove, purge, remove) = (says("autoremove"), says("purge"), says("remove"));
        let mut all = vec![
            (autoremove.as_str(), "Remv idle [1]\n"),
            (purge.as_str(), "Purg nginx [1]\nPurg idle [1]\nPurg libx [2] []\n"),
            (remove.as_str(), "Remv nginx [1]\nRemv libneeds [1]\n"),
            ("apt-mark showauto", "libneeds\nlibx\n"),
        ];
        let (done, ran) = back("none", "1 manual hold", &all);
        assert_eq!(done, Ok(()));
        assert_eq!(ran, [CONFIGURE, "apt-mark unhold -- nginx", &format!("{PURGE} libx")]);
        all[3].1 = "libx\n";
        let (done, ran) = back("none", "1 manual unhold", &all);
        assert_eq!(
            done.expect_err("it is needed").why,
            "it was not there, and cannot be removed: libneeds depends on nginx"
        );
        assert_eq!(ran, [CONFIGURE]);
    }

    #[test]
    fn a_version_comes_back_with_its_marks() {
        let rehearsal = "apt-get -s -q -o APT::AutoRemove::SuggestsImportant=false ";
        let (install, idle) = (format!("{rehearsal}install"), format!("{rehearsal}autoremove"));
        let says = [(install.as_str(), "Remv newer [2]\nRemv idle [1]\n"), (idle.as_str(), "Remv idle [1]\n")];
        let (done, ran) = back("1 auto hold", "2 manual unhold", &says);
        assert_eq!(done, Ok(()));
        let install = "apt-get install -y -q --purge --no-install-recommends --allow-downgrades --allow-change-held-packages \
                       -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
                       -- nginx=1 newer-";
        assert_eq!(ran, [CONFIGURE, install, "apt-mark auto -- nginx", "apt-mark hold -- nginx"]);
        let (_, ran) = back("1 auto unhold", "1 manual unhold", &says);
        assert_eq!(ran, [CONFIGURE, "apt-mark auto -- nginx"]);
        let says = [("apt-get install", "E: Version '1' for 'nginx' was not found")];
        let why = back("1 auto unhold", "none", &says).0.expect_err("it is gone").why;
        assert_eq!(why, "it cannot be restored to the version 1: E: Version '1' for 'nginx' was not found");
        assert_eq!(back("left", "1 auto unhold", &[]).1.len(), 2);
        assert!(back("half 1", "none", &[]).0.is_err() && back(OTHER, "none", &[]).0.is_err());
        assert_eq!(back("none", "none", &[]), (Ok(()), Vec::new()));
    }
}
