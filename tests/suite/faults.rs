//! Faults of the controller, of hosts and of what is put in, and the table of all of them in `docs/faults.md`.
//!
//! In: the program itself, on this machine as a host and on an sshd of its own that lies. Out: how it ends and what it
//! leaves. Never: anything outside a temporary directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use armilla::secret::Content;
use armilla::step::{
    Check, Command, Digest, Expect, Fetch, Gate, HttpRequest, Leftovers, Manager, Occupied, Outcome, Ownership,
    PackageRemoval, Packed, Probe, Removable, Step, Trust, UnpackLimits, Unpacking, WebAnswer,
};
use armilla::transport::script::{Progress, parse_readings, read_script, step_script};
use armilla::transport::{Connections, SshOptions, Transport};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use proptest::prelude::*;
use regex::Regex;

use crate::script::{Room, perform, perform_by, shells};
use crate::ssh::{Server, run, said, write};
use crate::waiting::{NOT_HELD_UP, until};

const NONCE: &str = "0123456789abcdef0123456789abcdef";

// -- the table --------------------------------------------------------------------------------------------------------

/// What has no row yet. It must become empty.
const OPEN: &[&str] = &[];

/// Every fault that must have a row.
fn wanted() -> BTreeSet<String> {
    (1..=28).chain(33..=38).chain([48]).chain(58..=59).map(|number| format!("F{number}")).collect()
}

/// The rows of the table: the fault, and the tests that are named.
fn rows() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("docs/faults.md")).expect("docs/faults.md");
    let name = Regex::new("`(f[0-9]{2}_[a-z0-9_]+)`").expect("a pattern");
    let row = Regex::new(r"(?m)^\| (F[0-9]+) \|(.*)$").expect("a pattern");
    let mut rows = BTreeMap::new();
    for found in row.captures_iter(&text) {
        let tests = name.captures_iter(&found[2]).map(|test| test[1].to_owned()).collect();
        assert!(rows.insert(found[1].to_owned(), tests).is_none(), "{} is in the table twice", &found[1]);
    }
    rows
}

/// Every test in the sources that is named by a fault.
fn tests() -> BTreeSet<String> {
    let name = Regex::new(r"\bfn (f[0-9]{2}_[a-z0-9_]+)").expect("a pattern");
    let (mut found, mut open) = (BTreeSet::new(), vec![root().join("tests"), root().join("src")]);
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(path).expect("a source file");
                found.extend(name.captures_iter(&text).map(|name| name[1].to_owned()));
            }
        }
    }
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_table_of_faults_names_every_test_and_no_other() {
    let (rows, tests) = (rows(), tests());
    let there: BTreeSet<String> = rows.keys().cloned().chain(OPEN.iter().map(|&fault| fault.to_owned())).collect();
    assert_eq!(there, wanted(), "every fault is in the table or open");
    for open in OPEN {
        assert!(!rows.contains_key(*open), "{open} has a row: take it out of OPEN");
    }
    for (fault, named) in &rows {
        let prefix = format!("f{:0>2}_", &fault[1..]);
        assert!(named.iter().any(|test| test.starts_with(&prefix)), "{fault} has no test of its number");
        for test in named {
            assert!(tests.contains(test), "{fault}: there is no test {test}");
        }
    }
    let named: BTreeSet<String> = rows.into_values().flatten().collect();
    let open = |test: &str| OPEN.iter().any(|fault| test.starts_with(&format!("f{:0>2}_", &fault[1..])));
    let missing: Vec<&String> = tests.iter().filter(|test| !named.contains(*test) && !open(test)).collect();
    assert!(missing.is_empty(), "these tests are not in docs/faults.md: {missing:#?}");
    let story = Regex::new(r"pub\(crate\) fn (f[0-9]{2}_\w+)").expect("a pattern");
    let stories = fs::read_to_string(root().join("tests/scenarios/main.rs")).expect("the list of stories");
    for entry in fs::read_dir(root().join("tests/scenarios")).expect("the stories") {
        let text = fs::read_to_string(entry.expect("an entry").path()).expect("a story");
        for story in story.captures_iter(&text) {
            assert!(stories.contains(&format!("::{}", &story[1])), "the story {} is not told", &story[1]);
        }
    }
}

// -- the program on this machine --------------------------------------------------------------------------------------

/// A project with this machine as its only host.
struct Here(Room);

impl Here {
    fn new(name: &str, role: &str) -> Self {
        let here = Self(Room::new(&format!("fault-{name}")));
        here.file("site.yml", "services:\n  only: { hosts: all }\n");
        here.file("inventories/here/hosts.yml", "hosts:\n  laptop: { connection: local }\n");
        here.file("roles/only/role.yml", &role.replace("FOLDER", here.0.0.to_str().expect("a name in UTF-8")));
        here
    }

    fn file(&self, name: &str, text: &str) -> &Self {
        let path = self.0.0.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
        self
    }

    fn command(&self, before: &[&str], arguments: &[&str]) -> Process {
        let words = [before, &[env!("CARGO_BIN_EXE_armilla")], arguments].concat();
        let mut command = Process::new(words[0]);
        command
            .args(&words[1..])
            .env("ARMILLA_PROJECT", &self.0.0)
            .env("ARMILLA_HOST_DIR", self.0.0.join("host"))
            .env("NO_COLOR", "1")
            .env_remove("RUST_BACKTRACE");
        command.env("ARMILLA_STATE_DIR", self.0.0.join("state"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir("/").process_group(0);
        command
    }

    /// How it ended, and all it said.
    fn armilla(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command(&[], arguments).output().expect("armilla runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }
}

fn all_of(mut child: Child) -> (Option<i32>, String) {
    let mut text = String::new();
    let status = child.wait().expect("it ends");
    for stream in [
        child.stdout.take().map(|out| Box::new(out) as Box<dyn std::io::Read>),
        child.stderr.take().map(|err| Box::new(err) as _),
    ] {
        let _ = stream.expect("a stream").read_to_string(&mut text);
    }
    (status.code(), text)
}

const SLOW: &str = "summary: x\nresources:\n  - command: { run: [sh, -c, 'touch FOLDER/begun; until [ -e FOLDER/go ]; do sleep 0.05; done; touch FOLDER/finished'], creates: FOLDER/finished }\n";

/// A service that takes its time, and another after it.
fn slow(name: &str) -> Here {
    let here = Here::new(name, SLOW);
    here.file("site.yml", "services:\n  only: { hosts: all }\n  then: { hosts: all }\n");
    let then = "summary: x\nneeds: [only]\nresources:\n  - file: { path: FOLDER/then, content: x }\n";
    here.file("roles/then/role.yml", &then.replace("FOLDER", here.0.0.to_str().expect("a name in UTF-8")));
    here
}

#[test]
#[ignore = "needs root: the files it makes belong to root"]
fn f02_every_signal_lets_what_runs_finish_and_begins_nothing_new() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 143)] {
        let here = slow(&format!("{signal}"));
        let child = here.command(&[], &["apply", "here", "-y"]).spawn().expect("armilla starts");
        until("the step runs", || Path::new(&here.0.path("begun")).exists());
        killpg(Pid::from_raw(child.id().cast_signed()), signal).expect("a signal");
        std::thread::sleep(Duration::from_millis(500));
        fs::write(here.0.path("go"), "").expect("a file");
        let (ended, said) = all_of(child);
        assert_eq!(ended, Some(code), "{signal}: {said}");
        assert!(said.contains("stopping after"), "{signal}: {said}");
        assert!(Path::new(&here.0.path("finished")).exists(), "{signal}: what ran was finished");
        assert!(!Path::new(&here.0.path("then")).exists(), "{signal}: nothing new was begun");
        assert_eq!(here.armilla(&["apply", "here", "-y"]).0, Some(0), "the next run does the rest");
    }
}

#[test]
fn f02_the_second_signal_leaves_at_once() {
    for (second, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 143)] {
        let here = slow(&format!("second-{second}"));
        let child = here.command(&[], &["apply", "here", "-y"]).spawn().expect("armilla starts");
        until("the step runs", || Path::new(&here.0.path("begun")).exists());
        let process = Pid::from_raw(child.id().cast_signed());
        kill(process, Signal::SIGINT).expect("a signal");
        std::thread::sleep(Duration::from_millis(500));
        kill(process, second).expect("a signal");
        let begun = Instant::now();
        let status = child.wait_with_output().expect("it ends").status;
        assert_eq!(status.code(), Some(code), "{second}");
        assert!(begun.elapsed() < NOT_HELD_UP, "{second}: {:?}", begun.elapsed());
        assert!(!Path::new(&here.0.path("finished")).exists());
        fs::write(here.0.path("go"), "").expect("what still waits there ends");
        until("it has ended", || Path::new(&here.0.path("finished")).exists());
    }
}

#[test]
#[ignore = "needs root: the files it makes belong to root"]
fn f02_a_closed_terminal_lets_what_runs_finish() {
    let here = slow("terminal");
    let line = format!("exec {} apply here -y", env!("CARGO_BIN_EXE_armilla"));
    let mut script = Process::new("script");
    script.args(["-qec", &line, "/dev/null"]).env("ARMILLA_PROJECT", &here.0.0).process_group(0);
    script.env("ARMILLA_STATE_DIR", here.0.0.join("state")).env("ARMILLA_HOST_DIR", here.0.0.join("host"));
    let mut terminal =
        script.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("script");
    until("the step runs", || Path::new(&here.0.path("begun")).exists());
    terminal.kill().expect("the terminal is closed");
    let _ = terminal.wait();
    std::thread::sleep(Duration::from_millis(500));
    fs::write(here.0.path("go"), "").expect("a file");
    until("what ran was finished", || Path::new(&here.0.path("finished")).exists());
    std::thread::sleep(Duration::from_secs(1));
    assert!(!Path::new(&here.0.path("then")).exists(), "nothing new was begun");
    assert_eq!(
        here.armilla(&["apply", "here", "-y", "--lock-timeout", "60s"]).0,
        Some(0),
        "the next run does the rest"
    );
}

#[test]
fn f20_a_program_or_a_service_that_is_killed_is_no_success() {
    let role = "summary: x\nresources:\n  - command: { run: [sh, -c, 'kill -KILL $$'] }\n  - file: { path: FOLDER/after, content: x }\n";
    let here = Here::new("killed", role);
    let (code, said) = here.armilla(&["apply", "here", "-y"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("137") && !Path::new(&here.0.path("after")).exists(), "{said}");

    // No more memory than this: what it asks for more, it does not get.
    let role = "summary: x\nresources:\n  - command: { run: [sh, -c, 'ulimit -v 60000; head -c 300000000 /dev/zero | tail >/dev/null'] }\n";
    let (code, said) = Here::new("memory", role).armilla(&["apply", "here", "-y"]);
    assert_eq!(code, Some(3), "{said}");

    // What was healthy for a moment and is dead then does not pass.
    for shell in shells() {
        let room = Room::new("fault-gate");
        let begin = format!("sh -c 'sleep 1; kill -KILL $$' & echo $! >{}", room.path("pid"));
        let alive = format!("kill -0 $(cat {}) && echo alive", room.path("pid"));
        let check = Check {
            probe: Probe::Command(Command::new(["sh", "-c", &alive])),
            expect: Expect::Output(Some("alive".to_owned())),
            stable_for: Duration::from_secs(3),
            within: Duration::from_secs(5),
            at_most: Duration::from_secs(9),
        };
        let begin = run(&format!("{begin} >/dev/null 2>&1"));
        let outcomes = perform(&shell, &[begin, Step::Await(Gate { of: "it".to_owned(), checks: vec![check] })]);
        assert!(matches!(outcomes[..], [Outcome::Done, Outcome::Failed { .. }]), "{shell:?}: {outcomes:?}");
    }
}

// -- hosts ------------------------------------------------------------------------------------------------------------

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
    for shell in shells() {
        let room = Room::new("fault-disk");
        let disk = Mounted::memory(&room.path("disk"), "size=1m,nr_inodes=3");
        let (file, fresh) = (room.path("disk/file"), room.path("disk/fresh"));
        fs::write(&file, "old").expect("a file");
        fs::write(&fresh, "fills the last inode").expect("a file");
        let failed = |path: &str, why: &str| {
            let outcomes = perform(&shell, &[write(path, "new".into())]);
            let [Outcome::Failed { stderr, .. }] = &outcomes[..] else { panic!("{shell:?} {path}: {outcomes:?}") };
            assert!(stderr.contains(why), "{shell:?} {path}: {stderr}");
            assert_eq!(fs::read_to_string(&file).expect("the old file"), "old", "{shell:?}");
            assert_eq!(fs::read_dir(room.path("disk")).expect("a directory").count(), 2, "{shell:?}: nothing is left");
        };
        failed(&file, "No space left on device");
        fs::remove_file(&fresh).expect("it goes");
        assert_eq!(perform(&shell, &[write(&fresh, "new".into())]), [Outcome::Done], "{shell:?}: there is room again");
        disk.again("ro");
        failed(&file, "Read-only file system");
        failed(&room.path("disk/other"), "Read-only file system");
    }
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

    // Where the shell itself has to look, that host is given up, in its time, and asked nothing again.
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
    let why = told.expect_err("no answer").to_string();
    assert!(why.contains("no answer within 16 s"), "{why}");
    assert!(begun.elapsed() < NOT_HELD_UP, "{:?}", begun.elapsed());
    assert!(beside == Ok("beside".to_owned()) && took < begun.elapsed(), "{beside:?} {took:?}");
    assert_eq!(said(&connections, &host, "echo still there").await, Ok("still there".to_owned()));
    connections.close().await;
}

/// Every program but the shell itself sees a clock that is a day early at one moment and a day late at the next.
const CLOCK: &str = r"
#define _GNU_SOURCE
#include <dlfcn.h>
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
    fs::write(room.path("clock.c"), CLOCK).expect("a file");
    let made =
        Process::new("cc").args(["-shared", "-fPIC", "-o", &room.path("clock.so"), &room.path("clock.c")]).status();
    assert!(made.is_ok_and(|status| status.success()), "cc is missing: it comes with what links Rust");
    let before = format!("export LD_PRELOAD={};", room.path("clock.so"));
    for shell in shells() {
        let seen: BTreeSet<String> = (0..40)
            .map(|_| {
                let date = Process::new("date").arg("+%F").env("LD_PRELOAD", room.path("clock.so")).output();
                String::from_utf8_lossy(&date.expect("date").stdout).into_owned()
            })
            .collect();
        assert!(seen.len() > 1, "the clock jumps: {seen:?}");
        let check = Check {
            probe: Probe::Command(Command::new(["date"])),
            expect: Expect::Output(None),
            stable_for: Duration::from_secs(2),
            within: Duration::from_secs(5),
            at_most: Duration::from_secs(9),
        };
        let never =
            Check { probe: Probe::Command(Command::new(["false"])), within: Duration::from_secs(2), ..check.clone() };
        let gate = |check: &Check| Step::Await(Gate { of: "it".to_owned(), checks: vec![check.clone()] });
        let steps = [
            run("sleep 1"),
            gate(&check),
            write(&room.path("file"), "x".into()),
            Step::Run(Command::new(["sleep", "600"]).within(Duration::from_secs(1))),
        ];
        let begun = Instant::now();
        let (events, outcomes) = perform_by(&shell, &before, &steps);
        let took: Vec<Duration> = events
            .iter()
            .filter_map(|event| match event {
                armilla::transport::StepEvent::Ended { took, .. } => Some(*took),
                _ => None,
            })
            .collect();
        assert_eq!(outcomes[..3], [Outcome::Done, Outcome::Done, Outcome::Done], "{shell:?}");
        assert!(matches!(outcomes[3], Outcome::Failed { exit: 124, .. }), "{shell:?}: {outcomes:?}");
        let whole = begun.elapsed();
        assert!(whole > Duration::from_secs(4) && whole < NOT_HELD_UP, "{shell:?}: {whole:?}");
        // A host tells the time in hundredths of a second.
        let exact = Duration::from_millis(10) * 4;
        assert!(
            took.iter().sum::<Duration>() <= whole + exact && took[1] >= Duration::from_secs(2),
            "{shell:?}: {took:?} of {whole:?}"
        );
        let begun = Instant::now();
        let (_, outcomes) = perform_by(&shell, &before, &[gate(&never)]);
        assert!(matches!(outcomes[0], Outcome::Failed { .. }) && begun.elapsed() < NOT_HELD_UP, "{shell:?}");
    }
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
    for shell in shells() {
        let there: Vec<&str> = [&["unshare", "-m", "sh", "-c", around], &shell[..]].concat();
        let (file, archive) = (room.path("file"), crate::unpack::tar(&[crate::unpack::file("x", "1")]));
        let (owner, group) = crate::unpack::me();
        let unpack = Step::Unpack(Box::new(Unpacking {
            path: room.path("tree"),
            source: Packed::Content(Content::Plain(archive)),
            strip: 0,
            owner,
            group,
            limits: UnpackLimits { bytes: 1 << 20, entries: 100, ratio: 100 },
            occupied: Occupied::Replace,
            marker: "armilla archive 1\n".to_owned(),
        }));
        let steps = [write(&file, "x".into()), run(&format!("cat '{file}'")), unpack];
        assert_eq!(perform(&there, &steps), [Outcome::Done, Outcome::Done, Outcome::Done], "{shell:?}");
        assert_eq!(fs::read_to_string(room.path("tree/x")).expect("a file"), "1");
        fs::remove_file(&file).expect("it was written");
    }
}

// -- hostile input ----------------------------------------------------------------------------------------------------

#[test]
fn f34_an_attacker_who_swaps_directories_all_the_time_gets_nothing() {
    let room = Room::new("fault-race");
    fs::create_dir_all(room.path("shared/real")).expect("a directory");
    fs::create_dir_all(room.path("victim")).expect("a directory");
    fs::write(room.path("victim/file"), "precious").expect("a file");
    fs::set_permissions(room.path("shared"), fs::Permissions::from_mode(0o1777)).expect("a mode");
    symlink(room.path("victim"), room.path("shared/link")).expect("a link");
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let (target, real, link) = (room.path("shared/target"), room.path("shared/real"), room.path("shared/link"));
    let attacker = std::thread::spawn(move || {
        let mut swaps = 0;
        while !ended.load(Ordering::Relaxed) {
            // A directory at one moment, a link into the victim's at the next.
            let _ = fs::rename(&real, &target).and_then(|()| fs::rename(&target, &real));
            let _ = fs::rename(&link, &target).and_then(|()| fs::rename(&target, &link));
            swaps += 1;
        }
        swaps
    });
    let (mut done, mut refused) = (0, 0);
    for _ in 0..60 {
        let target = room.path("shared/target");
        let steps = [write(&format!("{target}/file"), "ours".into())];
        let remove = [Step::Remove { path: format!("{target}/file"), what: Removable::File }];
        let own = Ownership { mode: Some(armilla::step::Mode(0o777)), ..Ownership::default() };
        let give = [Step::SetOwnership { path: format!("{target}/file"), ownership: own }];
        for steps in [&steps[..], &give, &remove] {
            match perform(&["dash"], steps)[..] {
                [Outcome::Failed { .. }] => refused += 1,
                _ => done += 1,
            }
        }
    }
    over.store(true, Ordering::Relaxed);
    let swaps: u64 = attacker.join().expect("the attacker ends");
    assert!(swaps > 1000 && refused > 0, "{swaps} swaps, {done} done, {refused} refused");
    assert_eq!(fs::read_to_string(room.path("victim/file")).expect("it is there"), "precious");
    assert_eq!(fs::metadata(room.path("victim/file")).expect("it").permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(room.path("victim")).expect("it").count(), 1, "nothing was put there");
}

/// What is tried where a host lies: how its answers are changed on their way, line by line.
const LIES: &[&str] = &[
    // The truth, so that it is seen that the rest is told.
    r"s/x/x/",
    // Steps and questions that were never given.
    r"s/^([0-9a-f]{32}) (begin|done|waiting|failed) [0-9]+/\1 \2 99999999/",
    r"s/^([0-9a-f]{32}) (begin|done) [0-9]+/\1 \2 18446744073709551616/",
    r"s/^([0-9a-f]{32}) begin 0 .*/&\n\1 begin 1 1\n\1 done 1 1\n\1 begin 2 1/",
    r"s/^([0-9a-f]{32}) (status|digest|content|command|link) [0-9]+/\1 \2 99999999/",
    // Numbers and words of another sort.
    r"s/^([0-9a-f]{32}) digest ([0-9]+) .*/\1 digest \2 ..\/..\/etc\/passwd/",
    r"s/^[0-9a-f]{4}:[0-9]+:/zzzz:-1:/",
    r"s/^([0-9a-f]{32}) (begin|done) ([0-9]+) .*/\1 \2 \3 -1/",
    r"s/^([0-9a-f]{32}) ([a-z]+) code .*/\1 \2 code 99999999999999/",
    // No end, or an end before the beginning.
    r"s/^([0-9a-f]{32}) end/\1 dne/",
    r"s/^([0-9a-f]{32}) begin.*/\1 end/",
    r"s/^([0-9a-f]{32}) .*/\1 end/",
];

#[test]
#[ignore = "needs root: starts an sshd"]
fn f35_a_host_that_lies_is_believed_nothing_that_cannot_be() {
    for (number, lie) in LIES.iter().enumerate() {
        let server = Server::start(&format!("ForceCommand eval \"$SSH_ORIGINAL_COMMAND\" | sed -u -E '{lie}'"));
        let role = "summary: x\nresources:\n  - file: { path: FOLDER/a, content: \"{{ facts.hostname }}\" }\n  - command: { run: [sh, -c, 'touch FOLDER/b'], creates: FOLDER/b }\n  - file: { path: FOLDER/c, content: c }\n";
        let here = Here::new(&format!("lie-{number}"), role);
        let port = server.port;
        here.file("inventories/here/hosts.yml", &format!("hosts:\n  h1: {{ address: 127.0.0.1, port: {port} }}\n"));
        let (config, key) = (server.path("config"), server.path("user"));
        let hosts = ["--ssh-config", &config, "--private-key", &key, "-u", "root"];
        let before = listing(&here.0.0);
        let (code, said) = here.armilla(&[&["plan", "here", "-D"], &hosts[..]].concat());
        assert!(matches!(code, Some(0 | 1 | 4)) && !said.contains("panicked"), "{lie}: {code:?} {said}");
        assert_eq!(listing(&here.0.0), before, "{lie}: a plan wrote something");
        let (code, said) = here.armilla(&[&["apply", "here", "-y"], &hosts[..]].concat());
        assert!(matches!(code, Some(0 | 1 | 3 | 4)) && !said.contains("panicked"), "{lie}: {code:?} {said}");
        assert!(said.len() < 20_000, "{lie}: {} bytes", said.len());
        assert!(number > 0 || code == Some(0), "the truth is believed: {said}");
        // It may say that all was done only where it was.
        let done = ["a", "b", "c"].iter().all(|name| here.0.0.join(name).exists());
        assert!(code != Some(0) || done, "{lie}: {said}");
    }
}

fn listing(folder: &Path) -> BTreeSet<PathBuf> {
    let (mut found, mut open) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                open.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

fn words() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "begin", "done", "failed", "skipped", "waiting", "end", "status", "digest", "content", "link", "absent",
        "packages", "units", "passwd", "group", "id", "code", "command", "lists", "manager", "port", "http", "user",
        ".",
    ]);
    let argument = prop_oneof![
        Just("0".to_owned()),
        Just("1".to_owned()),
        Just("code".to_owned()),
        Just("99999999999999999999".to_owned()),
        Just("-1".to_owned()),
        Just("../../etc/passwd".to_owned()),
        Just("{{ 7 * 7 }}".to_owned()),
        "[ -~]{0,12}",
    ];
    let data = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        Just(b"81a4:5:1700000000:0:0:root:root".to_vec()),
        Just(b"zzzz:99999999999999999999:-5:x:y:a:b".to_vec()),
    ];
    let frame = (word, prop::collection::vec(argument, 0..4), data).prop_map(|(word, arguments, data)| {
        [format!("\n{NONCE} {word} {}\n", arguments.join(" ")).into_bytes(), data].concat()
    });
    prop::collection::vec(frame, 0..20).prop_map(|frames| frames.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn f35_any_answer_is_read_without_harm(mut answer in words()) {
        let probes = [
            Probe::Path { path: "/a".to_owned(), content: Fetch::Always },
            Probe::Path { path: "/b".to_owned(), content: Fetch::Unless(Digest::of(b"x")) },
            Probe::Package("nginx".to_owned()),
            Probe::Unit("ssh.service".to_owned()),
            Probe::User("root".to_owned()),
            Probe::Group("root".to_owned()),
            Probe::Command(Command::new(["true"])),
            Probe::port("127.0.0.1", 1),
            Probe::Http(HttpRequest::get("https://h/")),
        ];
        let mut progress = Progress::new(NONCE);
        progress.push(&answer);
        let _ = progress.outcomes();
        answer.extend(format!("\n{NONCE} end\n\n{NONCE} .\n").into_bytes());
        let readings = parse_readings(&probes, NONCE, &answer).expect("it has an end");
        for probe in &probes {
            prop_assert!(readings.get(probe).is_some(), "every question has an answer, if only that there is none");
        }
    }
}

#[test]
#[ignore = "needs root: a namespace of its own"]
fn f36_what_looks_like_a_template_is_data_wherever_it_comes_from() {
    let role = "summary: x\ninputs:\n  given: { type: string }\n  told: { type: string }\nresources:\n  - file: { path: FOLDER/out, content: \"{{ given }}|{{ told }}|{{ facts.hostname }}|{{ twice }}\\n\" }\n  - template: { path: FOLDER/rendered, src: x.j2 }\n";
    let role = role.replace("inputs:\n", "inputs:\n  twice: { type: string, default: x }\n");
    let here = Here::new("template", &role);
    here.file("roles/only/templates/x.j2", "{{ given }}|{{ told }}|{{ facts.hostname }}|{{ twice }}\n");
    here.file("inventories/here/host_vars/laptop.yml", "twice: \"{{ 7 * 7 }}\"\n");
    let evil = "{{ 7 * 7 }}{% for i in range(9) %}x{% endfor %}";
    // The host calls itself so.
    let named = "printf %s \"$EVIL\" >/proc/sys/kernel/hostname; exec \"$0\" \"$@\"";
    let mut command = here.command(
        &["unshare", "-u", "sh", "-c", named],
        &["apply", "here", "-y", "-e", &format!("given=\"{evil}\""), "-e", "told=\"${IFS}`id`{{ facts }}\""],
    );
    let output = command.env("EVIL", "{{ 7 * 7 }}").output().expect("armilla runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let wanted = format!("{evil}|${{IFS}}`id`{{{{ facts }}}}|{{{{ 7 * 7 }}}}|{{{{ 7 * 7 }}}}\n");
    assert_eq!(fs::read_to_string(here.0.path("out")).expect("it was written"), wanted);
    assert_eq!(fs::read_to_string(here.0.path("rendered")).expect("it was written"), wanted);
}

/// Texts that would make the file PWN wherever they are taken for more than a text, with nothing but the shell itself.
const EVIL: &[&str] = &[
    "$(:>PWN)",
    "`:>PWN`",
    "';:>PWN;'",
    "\";:>PWN;\"",
    "\n:>PWN\n",
    ";:>PWN",
    "|:>PWN",
    "&:>PWN",
    ">PWN",
    "x\0y",
    "-x",
    "--",
    "a b",
    "\\",
    "'",
    "\"",
    "*",
    "~",
    "../x",
    "$IFS",
    "\u{1b}[2J",
];

fn every_step(evil: &str) -> Vec<Step> {
    let own = Ownership { mode: None, owner: Some(evil.to_owned()), group: Some(evil.to_owned()) };
    let path = |text: &str| format!("/nowhere/{text}");
    let mut command = Command::new([evil, evil]).with("NAME", evil).with(evil, "value");
    command.user = Some(evil.to_owned());
    command.directory = Some(evil.to_owned());
    let program = Command::new(["true", evil]).with("NAME", evil);
    let check = |probe: Probe| Check {
        probe,
        expect: Expect::Output(Some(evil.to_owned())),
        stable_for: Duration::ZERO,
        within: Duration::ZERO,
        at_most: Duration::ZERO,
    };
    let mut steps = vec![
        Step::Unchanged { path: path(evil), digest: Some(Digest(evil.to_owned())) },
        Step::MakeLink { path: path("x"), target: evil.to_owned() },
        Step::Remove { path: path(evil), what: Removable::File },
        Step::Remove { path: evil.to_owned(), what: Removable::EmptyDirectory },
        Step::RemoveUnpacked { path: path(evil) },
        Step::RemovePackages(PackageRemoval {
            manager: Manager::Apt,
            names: vec![evil.to_owned()],
            leftovers: Leftovers::Kept,
            unless_needed_by: Vec::new(),
        }),
        Step::Run(command.clone()),
        Step::Run(program.clone()),
        Step::RunUnless(program.clone(), command),
        Step::Await(Gate { of: evil.to_owned(), checks: vec![check(Probe::Command(program))] }),
        Step::Await(Gate { of: evil.to_owned(), checks: vec![check(Probe::Unit(evil.to_owned()))] }),
        Step::Await(Gate { of: evil.to_owned(), checks: vec![evil_answer(evil)] }),
    ];
    for path in [path(evil), evil.to_owned(), format!("~{evil}/x")] {
        steps.push(Step::WriteFile { path: path.clone(), content: evil.into(), ownership: own.clone() });
        steps.push(Step::MakeDirectory { path: path.clone(), ownership: own.clone() });
        steps.push(Step::SetOwnership { path, ownership: own.clone() });
    }
    steps
}

fn evil_request(evil: &str) -> Probe {
    let trust = Trust::Authority(format!("/nowhere/{evil}"));
    Probe::Http(HttpRequest { trust, ..HttpRequest::get(format!("http://127.0.0.1:1/{evil}")) })
}

/// A check of a web server that gives up at once.
fn evil_answer(evil: &str) -> Check {
    let text = || Some(evil.to_owned());
    let headers = [("Server".to_owned(), evil.to_owned()), (evil.to_owned(), String::new())].into();
    let answer = WebAnswer { contains: text(), matches: text(), headers, ..WebAnswer::status(200) };
    let check = Check::new(evil_request(evil), Expect::Answer(Box::new(answer)));
    Check { within: Duration::ZERO, at_most: Duration::ZERO, ..check }
}

fn every_probe(evil: &str) -> Vec<Probe> {
    vec![
        Probe::Path { path: format!("/nowhere/{evil}"), content: Fetch::Unless(Digest(evil.to_owned())) },
        Probe::Path { path: evil.to_owned(), content: Fetch::Digest },
        Probe::Path { path: format!("~{evil}/x"), content: Fetch::Digest },
        Probe::Package(evil.to_owned()),
        Probe::Unit(evil.to_owned()),
        Probe::Unit(format!("{evil}.service")),
        Probe::User(evil.to_owned()),
        Probe::Group(evil.to_owned()),
        Probe::port(evil, 1),
        evil_request(evil),
        Probe::Command(Command::new(["true", evil]).with("NAME", evil)),
    ]
}

#[test]
fn f37_no_field_of_a_step_or_a_question_is_more_than_data() {
    let room = Room::new("fault-injection");
    let mut tried = 0;
    for shell in shells() {
        for evil in EVIL.iter().map(|evil| evil.replace("PWN", &room.path("pwned"))) {
            let scripts = every_step(&evil).into_iter().map(|step| step_script(&[step], NONCE));
            let questions = read_script(&every_probe(&evil), NONCE, Duration::from_secs(9));
            for script in scripts.chain([questions]) {
                // No program is found: what is run is run by the shell alone.
                let (before, after) = script.split_once(" PATH=").expect("the script sets a path");
                let (path, rest) = after.split_once('\n').expect("more lines");
                assert!(path.ends_with(":/bin") && !rest.contains("\nPATH="), "the path is set once: {path}");
                let script = format!("{before} PATH={}\n{rest}", room.path("none"));
                let mut child = Process::new(shell[0])
                    .args(&shell[1..])
                    .args(["-c", "eval \"$(/bin/cat)\""])
                    .current_dir(&room.0)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("the shell starts");
                std::io::Write::write_all(&mut child.stdin.take().expect("its input"), script.as_bytes())
                    .expect("it reads");
                let _ = child.wait();
                tried += 1;
                assert!(room.names().is_empty(), "{shell:?} {evil:?}: {:?}\n{script}", room.names());
                assert!(!Path::new("/nowhere").exists(), "{shell:?} {evil:?}: a program was found\n{script}");
            }
        }
    }
    assert!(tried > 400, "{tried}");
}

#[test]
fn f37_names_in_files_are_names() {
    let evil = ["-oProxyCommand=x", "a b", "a;b", "$(x)", "`x`", "a/../b", "", ".", "..", "a\\nb", "\\0", "a'b", "--"];
    for name in evil {
        let here = Here::new("names", "summary: x\n");
        here.file("inventories/here/hosts.yml", &format!("hosts:\n  \"{name}\": {{ connection: local }}\n"));
        let (code, said) = here.armilla(&["validate", "here"]);
        assert!(code == Some(1) && said.contains("error:") && !said.contains("panicked"), "{name}: {code:?} {said}");
    }
    for (kind, name) in ["package", "service", "user", "group"].iter().flat_map(|kind| evil.map(|name| (kind, name))) {
        let here = Here::new("kinds", &format!("summary: x\nresources:\n  - {kind}: {{ name: \"{name}\" }}\n"));
        let (code, said) = here.armilla(&["validate", "here"]);
        assert!(code == Some(1) && said.contains("error:") && !said.contains("panicked"), "{kind} {name}: {said}");
    }
}

/// What is wrong, a file of the project, its text, and a part of the complaint.
fn bombs() -> Vec<(&'static str, &'static str, String, &'static str)> {
    let mut aliases = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..12 {
        let list = vec![format!("*a{}", n - 1); 10].join(", ");
        let _ = writeln!(aliases, "a{n}: &a{n} [{list}]");
    }
    let role = |text: &str| format!("summary: x\nresources:\n  - file: {{ path: /tmp/x, content: \"{text}\" }}\n");
    let deep = |open: &str, close: &str| format!("summary: {}x{}\n", open.repeat(1000), close.repeat(1000));
    vec![
        ("a bomb of aliases", "site.yml", aliases.clone(), "more than"),
        ("a bomb in an inventory", "inventories/here/hosts.yml", aliases, "more than"),
        ("deep nesting", "roles/only/role.yml", deep("[", "]"), "error:"),
        ("deep maps", "roles/only/role.yml", deep("{a: ", "}"), "error:"),
        ("a key twice", "roles/only/role.yml", "summary: x\nsummary: y\n".to_owned(), "twice"),
        ("an anchor of itself", "site.yml", "a: &a [*a]\n".to_owned(), "error:"),
        ("a role that requires itself", "roles/only/role.yml", "summary: x\nrequires: [only]\n".to_owned(), "error:"),
        (
            "a group in itself",
            "inventories/here/hosts.yml",
            "groups:\n  a: { children: [b] }\n  b: { children: [a] }\n".to_owned(),
            "error:",
        ),
        ("an endless loop", "roles/only/role.yml", role("{% for i in range(10000000) %}{{ i }}{% endfor %}"), "error:"),
        (
            "loops in loops",
            "roles/only/role.yml",
            role("{% for i in range(10000) %}{% for j in range(10000) %}x{% endfor %}{% endfor %}"),
            "error:",
        ),
        ("a macro of itself", "roles/only/role.yml", role("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}"), "error:"),
        (
            "ten million hosts",
            "inventories/here/hosts.yml",
            "groups:\n  all_hosts: { hosts: \"h[1:10000000]\" }\n".to_owned(),
            "error:",
        ),
        (
            "a yes that is no truth",
            "roles/only/role.yml",
            "summary: x\nresources:\n  - service: { name: x, enabled: yes }\n".to_owned(),
            "error:",
        ),
        ("a second document", "site.yml", "services: {}\n---\nservices: {}\n".to_owned(), "second document"),
        ("a file of zeros", "site.yml", "\0".repeat(1 << 20), "error:"),
    ]
}

#[test]
fn f38_hostile_files_are_refused_soon_and_in_little_memory() {
    for (what, file, text, why) in bombs() {
        let here = Here::new("bomb", "summary: x\n");
        here.file(file, &text);
        let limited = ["prlimit", "--as=4000000000", "--cpu=30", "--"];
        let output = here.command(&limited, &["validate", "here"]).output().expect("armilla runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{what}: {said:.2000}");
        assert!(said.contains(why) && !said.contains("panicked"), "{what}: {said:.2000}");
        assert!(said.len() < 20_000, "{what}: {} bytes of complaint", said.len());
    }
}
