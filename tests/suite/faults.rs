//! Faults of the controller, and the table of all faults in `docs/faults.md`.
//!
//! In: the program itself, on this machine as a host. Out: how it ends and what it leaves. Never: anything outside a temporary
//! directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use armilla::step::{Check, Command, Expect, Gate, Outcome, Probe, Step};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use regex::Regex;

use crate::host::{Room, perform};
use crate::ssh::run;
use crate::waiting::{NOT_HELD_UP, until};

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
pub(crate) struct Here(pub(crate) Room);

impl Here {
    pub(crate) fn new(name: &str, role: &str) -> Self {
        let here = Self(Room::new(&format!("fault-{name}")));
        here.file("site.yml", "services:\n  only: { hosts: all }\n");
        here.file("inventories/here/hosts.yml", "hosts:\n  laptop: { connection: local }\n");
        here.file("roles/only/role.yml", &role.replace("FOLDER", here.0.0.to_str().expect("a name in UTF-8")));
        here
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> &Self {
        let path = self.0.0.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
        self
    }

    pub(crate) fn command(&self, before: &[&str], arguments: &[&str]) -> Process {
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
    pub(crate) fn armilla(&self, arguments: &[&str]) -> (Option<i32>, String) {
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
    let room = Room::new("fault-gate");
    let begin = format!("sh -c 'sleep 1; kill -KILL $$' & echo $! >{}", room.path("pid"));
    let alive = format!("kill -0 $(cat {}) && echo alive", room.path("pid"));
    let check = Check {
        probe: Probe::Command(Command::new(["sh", "-c", &alive])),
        expect: Expect::Output(Some("alive".to_owned())),
        stable_for: Duration::from_secs(3),
        within: Duration::from_secs(5),
        at_most: Duration::from_secs(9),
        units: Vec::new(),
    };
    let begin = run(&format!("{begin} >/dev/null 2>&1"));
    let outcomes = perform(&[begin, Step::Await(Gate { of: "it".to_owned(), checks: vec![check] })]);
    assert!(matches!(outcomes[..], [Outcome::Done, Outcome::Failed { .. }]), "{outcomes:?}");
}
