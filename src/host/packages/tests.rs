use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};

use super::others::unlocked;
use super::refresh::{Fetching, fetched};
use super::*;
use crate::host::program::tests::{NOT_HELD_UP, Stage, sh};
use crate::step::{Leftovers, Manager, Outcome, PackageRemoval, WaitsFor};

fn lock(file: &File, kind: i32) {
    // Zeros are the whole file.
    let whole = nix::libc::flock {
        l_type: i16::try_from(kind).expect("a small number"),
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_SETLK(&whole)).expect("a lock");
}

#[test]
fn a_lock_is_waited_for_and_its_holder_named() {
    let stage = Stage::new();
    let path = stage.path("lock");
    let file = File::create(&path).expect("a file");
    let files = [Path::new("/no/such/lock"), Path::new(&path)];
    assert_eq!(unlocked(Duration::ZERO, &files, &mut |_| true), Ok(()), "nobody holds it");
    lock(&file, nix::libc::F_WRLCK);
    let us = format!("{path} is locked by process {} (", std::process::id());
    let why = unlocked(Duration::from_secs(1), &files, &mut |_| true).expect_err("we hold it").why;
    assert!(why.starts_with(&us) && why.ends_with("): waited 1 s for it to end"), "{why}");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(1500));
            lock(&file, nix::libc::F_UNLCK);
        });
        let mut told = Vec::new();
        assert_eq!(
            unlocked(NOT_HELD_UP, &files, &mut |text| {
                told.push(text.to_owned());
                true
            }),
            Ok(())
        );
        assert!(told.first().is_some_and(|text| text.starts_with(&us)), "{told:?}");
    });
}

#[test]
fn a_program_waits_for_nobody_where_nobody_is() {
    let stage = Stage::new();
    let version = sh("echo").waiting_for(WaitsFor::ProcessesOf("no-such-user".to_owned()));
    assert_eq!(stage.perform(&version), Ok(()));
}

#[test]
#[ignore = "needs root: starts a process of another user"]
fn the_processes_of_a_user_are_waited_for_and_named() {
    let stage = Stage::new();
    let mut sleeps = std::process::Command::new("setpriv");
    sleeps.args(["--reuid=games", "--regid=games", "--clear-groups", "sleep", "4"]);
    let mut sleeps = sleeps.spawn().expect("setpriv");
    std::thread::sleep(Duration::from_millis(500));
    let (began, mut told) = (Instant::now(), Vec::new());
    let waiter = std::thread::spawn(move || sleeps.wait());
    let other = WaitsFor::ProcessesOf("games".to_owned());
    assert_eq!(
        wait_for(&stage.programs(), &other, &mut |text| {
            told.push(text.to_owned());
            true
        }),
        Ok(())
    );
    assert!(began.elapsed() >= Duration::from_secs(2) && began.elapsed() < NOT_HELD_UP, "{:?}", began.elapsed());
    assert!(told[0].starts_with("user games is used by process ") && told[0].ends_with(" (sleep)"), "{told:?}");
    assert!(waiter.join().expect("a thread").is_ok());
}

#[test]
fn package_lists_that_hang_are_fetched_once_more_and_locked_ones_again() {
    let stage = Stage::new();
    let count = stage.path("count");
    let counted = |rest: &str| format!("echo x >>'{count}'; n=$(wc -l <'{count}'); {rest}");
    let fetch = |script: &str, told: &mut Vec<String>| {
        let _ = fs::remove_file(&count);
        let argv = ["sh", "-c", &counted(script)];
        let times = [Duration::from_secs(1), Duration::from_secs(30)];
        let fetching = Fetching { locked: "get lock", argv: &argv, times: &times };
        let done = fetched(&stage.programs(), &fetching, &mut |text| {
            told.push(text.to_owned());
            true
        });
        (done, fs::read_to_string(&count).expect("it ran").len() / 2)
    };
    let mut told = Vec::new();
    assert_eq!(fetch("[ $n -ge 2 ] || sleep 600", &mut told), (Ok(()), 2));
    assert_eq!(told, ["sh did not end within 1 s, and is asked once more"]);
    let locked = "[ $n -ge 2 ] || { echo 'E: Could not get lock /x' >&2; exit 100; }; [ \"$DEBIAN_FRONTEND\" ]";
    assert_eq!(fetch(locked, &mut told), (Ok(()), 2));
    assert_eq!(told[1], "E: Could not get lock /x");
    let (failed, times) = fetch("echo out; echo 'E: no network' >&2; exit 100", &mut told);
    let failed = failed.expect_err("it fails");
    assert_eq!((failed.exit, failed.why.as_str(), times), (100, "E: no network", 1));
}

fn removal(manager: Manager, names: &[&str]) -> PackageRemoval {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    PackageRemoval { manager, names, leftovers: Leftovers::Kept, unless_needed_by: Vec::new() }
}

/// A package manager that knows three packages, of which `app` needs `lib`; gives what was done.
struct Apt(Stage);

impl Apt {
    fn new() -> Self {
        let mut stage = Stage::new();
        let folder = stage.path("apt");
        fs::create_dir(&folder).expect("a directory");
        let make = |name: &str, script: &str| {
            let file = format!("{folder}/{name}");
            let mut writer = std::process::Command::new("sh");
            writer.args(["-c", "printf '#!/bin/sh\\n%s' \"$1\" >\"$0\"; chmod 755 \"$0\"", &file, script]);
            assert!(writer.status().expect("sh").success());
        };
        let query = "for name do :; done\ncase $name in app|lib|free) echo installed ;; old) echo config-files ;; half) echo not-installed ;; *) echo \"no packages found matching $name\" >&2; exit 1 ;; esac\n";
        make("dpkg-query", query);
        make("dpkg", "echo amd64\n");
        let apt = format!(
            "echo \"$*\" >>'{folder}/log'\n[ \"$1\" = -s ] || {{ env | grep -E 'NEEDRESTART|FRONTEND' | sort >'{folder}/env'; exit 0; }}\nfor name do case $name in lib) echo 'Remv app [1] '; echo 'Remv lib [1] [app ]' ;; app*|free|old) echo \"Purg ${{name%:*}} [1]\" ;; broken) echo 'E: broken' >&2; exit 100 ;; esac; done\n"
        );
        make("apt-get", &apt);
        stage.environment.insert("PATH".into(), format!("{folder}:/usr/bin:/bin").into());
        Self(stage)
    }

    fn remove(&self, removal: &PackageRemoval) -> std::result::Result<Outcome, String> {
        remove(&self.0.programs(), removal, &mut |_| true).map_err(|failure| failure.why)
    }

    /// What was removed for real.
    fn done(&self) -> Vec<String> {
        let log = fs::read_to_string(self.0.path("apt/log")).unwrap_or_default();
        log.lines().filter(|line| !line.starts_with("-s")).map(str::to_owned).collect()
    }
}

#[test]
fn packages_are_removed_together_and_no_other_with_them() {
    let apt = Apt::new();
    let needed =
        "nothing was removed: it is needed by or would take along app, which the plan does not remove; plan again";
    assert_eq!(apt.remove(&removal(Manager::Apt, &["lib"])), Err(needed.to_owned()));
    for gone in [&["none"][..], &["half", "old"]] {
        assert_eq!(apt.remove(&removal(Manager::Apt, gone)), Ok(Outcome::NotNeeded), "{gone:?}");
    }
    let spared = PackageRemoval { unless_needed_by: vec!["app".to_owned()], ..removal(Manager::Apt, &["lib"]) };
    assert_eq!(apt.remove(&spared), Ok(Outcome::NotNeeded));
    assert!(apt.done().is_empty());
    assert_eq!(apt.remove(&removal(Manager::Apt, &["lib", "app", "none"])), Ok(Outcome::Done));
    let purge = PackageRemoval { leftovers: Leftovers::Purged, ..removal(Manager::Apt, &["old", "free"]) };
    assert_eq!(apt.remove(&purge), Ok(Outcome::Done));
    let options = "-y -q -o DPkg::Lock::Timeout=300 --";
    assert_eq!(apt.done(), [format!("remove {options} lib app"), format!("purge {options} old free")]);
    let quiet = fs::read_to_string(apt.0.path("apt/env")).expect("it ran");
    assert_eq!(quiet, "APT_LISTCHANGES_FRONTEND=none\nDEBIAN_FRONTEND=noninteractive\nNEEDRESTART_MODE=l\n");
    for name in ["", "-y", "a b", "a\nb"] {
        let why = apt.remove(&removal(Manager::Apt, &[name])).expect_err("no name");
        assert!(why.contains("invalid package name"), "{why}");
    }
}

#[test]
fn what_is_not_there_is_not_removed() {
    let stage = Stage::new();
    let removed = remove(&stage.programs(), &removal(Manager::Apt, &["no-such-package"]), &mut |_| true);
    assert_eq!(removed, Ok(Outcome::NotNeeded));
}
