//! Faults of hosts: disks, hung mounts, clocks that jump, and directories that run no programs.
//!
//! In: the host program, and an sshd of this test's own. Out: how steps and questions end and what they leave. Never: anything
//! outside a temporary directory or a namespace.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command as Process;
use std::time::{Duration, Instant};

use armilla::host::wire::Answer;
use armilla::step::{Check, Command, Expect, Fetch, Gate, Outcome, Probe, Step};
use armilla::transport::{Connections, SshOptions, Transport as _};

use crate::host::{Room, failure, order, outcomes, perform, perform_by, program};
use crate::ssh::{Server, run, said, write};
use crate::unpack::{tar, unpacking};
use crate::waiting::NOT_HELD_UP;

/// A file system of memory, with these options, that is gone afterwards.
struct Mounted(String);

impl Mounted {
    fn memory(place: &str, options: &str) -> Self {
        fs::create_dir_all(place).expect("a directory");
        let mounted = Process::new("mount").args(["-t", "tmpfs", "-o", options, "none", place]).status();
        assert!(mounted.is_ok_and(|status| status.success()), "mounting a file system needs root");
        Self(place.to_owned())
    }

    fn again(&self, options: &str) {
        let mounted = Process::new("mount").args(["-o", &format!("remount,{options}"), &self.0]).status();
        assert!(mounted.is_ok_and(|status| status.success()), "{options}");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Process::new("umount").args(["-l", &self.0]).status();
    }
}

#[test]
#[ignore = "needs root: mounts a file system"]
fn f16_a_file_system_that_is_read_only_or_has_no_inodes_keeps_the_old_file() {
    let room = Room::new("fault-disk");
    let disk = Mounted::memory(&room.path("disk"), "size=1m,nr_inodes=3");
    let (file, fresh) = (room.path("disk/file"), room.path("disk/fresh"));
    fs::write(&file, "old").expect("a file");
    fs::write(&fresh, "fills the last inode").expect("a file");
    let failed = |path: &str, why: &str| {
        let outcomes = perform(&[write(path, "new".into())]);
        assert!(failure(&outcomes[0]).1.contains(why), "{path}: {outcomes:?}");
        assert_eq!(fs::read_to_string(&file).expect("the old file"), "old");
        assert_eq!(fs::read_dir(room.path("disk")).expect("a directory").count(), 2, "nothing is left");
    };
    failed(&file, "No space left on device");
    fs::remove_file(&fresh).expect("it goes");
    assert_eq!(perform(&[write(&fresh, "new".into())]), [Outcome::Done], "there is room again");
    disk.again("ro");
    failed(&file, "Read-only file system");
    failed(&room.path("disk/other"), "Read-only file system");
}

/// A file system whose server never answers: whoever looks into it hangs, until it is let go.
struct Hung {
    place: String,
    _server: fs::File,
}

impl Hung {
    fn mount(place: &str) -> Self {
        use std::os::fd::AsRawFd as _;
        fs::create_dir_all(place).expect("a directory");
        let server = fs::File::options().read(true).write(true).open("/dev/fuse").expect("/dev/fuse");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        let flags = nix::mount::MsFlags::MS_NOSUID;
        nix::mount::mount(Some("hung"), place, Some("fuse"), flags, Some(options.as_str()))
            .expect("mounting a file system needs root");
        Self { place: place.to_owned(), _server: server }
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.place.as_str(), nix::mount::MntFlags::MNT_DETACH);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f17_a_hung_mount_costs_its_own_answer_and_its_own_host_only() {
    let server = Server::start("");
    let hung = Hung::mount(&server.path("hung"));
    let options = SshOptions { read_timeout: Duration::from_secs(16), ..server.options() };
    let connections = Connections::new(options);
    let below = format!("{}/file", hung.place);
    // Programs are given up one by one, and what was asked beside them is answered.
    let asks = |argv: &[&str]| Probe::Command(Command::new(argv.iter().copied()).within(Duration::from_secs(1)));
    let probes = [asks(&["df", &hung.place]), asks(&["stat", &below]), asks(&["echo", "well"])];
    let readings = connections.read(&server.host(), &probes).await.expect("an answer");
    let code = |at: usize| readings.command(&probes[at]).expect("an answer").exit;
    assert_eq!((code(0), code(1), code(2)), (124, 124, 0));

    // Where the host program itself has to look, it says which file system does not answer, in its time.
    let begun = Instant::now();
    let probe = Probe::Path { path: below.clone(), content: Fetch::Digest };
    let host = server.host();
    let reading = connections.read(&host, std::slice::from_ref(&probe));
    let mut other = server.host();
    other.name = armilla::name::HostName::new("h2").expect("a name");
    let beside = async {
        let told = said(&connections, &other, "echo beside").await;
        (told, begun.elapsed())
    };
    let (told, (beside, took)) = tokio::join!(reading, beside);
    let why = told.expect("an answer").path(&probe).expect_err("no server").0.clone();
    assert!(why.contains(&hung.place) && why.contains("does not answer"), "{why}");
    assert!(begun.elapsed() < NOT_HELD_UP, "{:?}", begun.elapsed());
    assert!(beside == Ok("beside".to_owned()) && took < begun.elapsed(), "{beside:?} {took:?}");
    assert_eq!(said(&connections, &host, "echo still there").await, Ok("still there".to_owned()));
    connections.close().await;
}

/// Every program that loads this sees a clock that is a day early at one moment and a day late at the next.
const CLOCK: &str = r"
#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>
#include <sys/time.h>
#include <sys/syscall.h>
static long jump(void) {
  struct timespec now;
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  return (now.tv_nsec / 1000000) % 2 ? 86400 : -86400;
}
int clock_gettime(clockid_t id, struct timespec *to) {
  int r = syscall(SYS_clock_gettime, id, to);
  if (id == CLOCK_REALTIME) to->tv_sec += jump();
  return r;
}
time_t time(time_t *to) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (to) *to = now.tv_sec;
  return now.tv_sec;
}
int gettimeofday(struct timeval *to, void *zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  to->tv_sec = now.tv_sec;
  to->tv_usec = now.tv_nsec / 1000;
  return 0;
}
";

#[test]
fn f19_a_clock_that_jumps_by_days_changes_no_limit_and_no_duration() {
    let room = Room::new("fault-clock");
    let library = room.path("clock.so");
    fs::write(room.path("clock.c"), CLOCK).expect("a file");
    let made = Process::new("cc").args(["-shared", "-fPIC", "-o", &library, &room.path("clock.c")]).status();
    assert!(made.is_ok_and(|status| status.success()), "cc is missing: it comes with what links Rust");
    let seen: BTreeSet<String> = (0..40)
        .map(|_| {
            let date = Process::new("date").arg("+%F").env("LD_PRELOAD", &library).output();
            String::from_utf8_lossy(&date.expect("date").stdout).into_owned()
        })
        .collect();
    assert!(seen.len() > 1, "the clock jumps: {seen:?}");
    let under = |argv: &[&str]| Command::new(argv.iter().copied()).with("LD_PRELOAD", &library);
    let check = Check {
        probe: Probe::Command(under(&["date"])),
        expect: Expect::Output(None),
        stable_for: Duration::from_secs(2),
        within: Duration::from_secs(5),
        at_most: Duration::from_secs(9),
        units: Vec::new(),
    };
    let never = Check { probe: Probe::Command(under(&["false"])), within: Duration::from_secs(2), ..check.clone() };
    let gate = |check: &Check| Step::Await(Gate { of: "it".to_owned(), checks: vec![check.clone()] });
    let steps = [
        Step::Run(under(&["sleep", "1"])),
        gate(&check),
        write(&room.path("file"), "x".into()),
        Step::Run(under(&["sleep", "600"]).within(Duration::from_secs(1))),
    ];
    let begun = Instant::now();
    let answers = order(program(), &steps);
    let whole = begun.elapsed();
    let took: Vec<Duration> = answers
        .iter()
        .filter_map(|answer| if let Answer::Ended { took, .. } = answer { Some(*took) } else { None })
        .collect();
    let ended = outcomes(&answers).expect("it is carried out");
    assert_eq!(ended[..3], [Outcome::Done, Outcome::Done, Outcome::Done]);
    assert_eq!(failure(&ended[3]).0, 124, "{ended:?}");
    assert!(whole > Duration::from_secs(4) && whole < NOT_HELD_UP, "{whole:?}");
    assert!(took.iter().sum::<Duration>() <= whole && took[1] >= Duration::from_secs(2), "{took:?} of {whole:?}");
    let begun = Instant::now();
    let ended = perform(&[gate(&never)]);
    assert!(matches!(ended[0], Outcome::Failed { .. }) && begun.elapsed() < NOT_HELD_UP, "{ended:?}");
}

/// The host program is linked statically, so that no other clock can be put under it: it does not look at the calendar.
#[test]
fn f19_the_host_program_asks_what_day_it_is_only_for_dates() {
    let (mut found, mut open) =
        (BTreeSet::new(), vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/host"))]);
    while let Some(directory) = open.pop() {
        for path in fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                open.push(path);
            } else if fs::read_to_string(&path)
                .is_ok_and(|text| text.contains("SystemTime::now") || text.contains("ClockId::Realtime"))
            {
                let end: Vec<_> = path.iter().rev().take(2).filter_map(|part| part.to_str()).collect();
                found.insert(format!("{}/{}", end[1], end[0]));
            }
        }
    }
    // When a program was last used, when a certificate ends, whether a clock is right, how old a list of packages is, the time
    // of a file of an archive, and what a person is told.
    let dates =
        ["host/lodging.rs", "http/ask.rs", "read/fitness.rs", "read/packages.rs", "timer/fire.rs", "unpack/spread.rs"];
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), dates);
}

#[test]
#[ignore = "needs root: a namespace of its own"]
fn f21_directories_for_temporary_files_need_not_let_programs_run() {
    let around =
        "for at in /tmp /var/tmp /run; do mount -t tmpfs -o noexec none $at || exit 9; done; exec \"$0\" \"$@\"";
    let possible = Process::new("unshare").args(["-m", "sh", "-c", around, "true"]).status();
    assert!(possible.is_ok_and(|status| status.success()), "a namespace of mounts needs root");
    let room = Room(PathBuf::from(format!("/var/lib/armilla-fault-{}", std::process::id())));
    fs::create_dir_all(&room.0).expect("a directory");
    let mut there = Process::new("unshare");
    there.args(["-m", "sh", "-c", around, env!("CARGO_BIN_EXE_armilla-host"), "serve"]);
    let file = room.path("file");
    let steps =
        [write(&file, "x".into()), run(&format!("cat '{file}'")), unpacking(&room.path("tree"), tar(&[("x", "1")]))];
    assert_eq!(perform_by(there, &steps), [Outcome::Done, Outcome::Done, Outcome::Done]);
    assert_eq!(fs::read_to_string(room.path("tree/x")).expect("a file"), "1");
}
