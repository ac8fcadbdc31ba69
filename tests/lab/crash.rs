//! The program dies at every place at which it can die, the host's shell likewise, and disks and power go in the middle:
//! what a run began is ended by the next, and nothing is done twice that must not be.
//!
//! In: a build with the feature `crash-points`, which `tests/run` makes. Out: hosts as an undisturbed run leaves them.
//! Never: anything on this machine but files below `target`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::house::{ARMILLA, House, until};
use crate::project::{Project, Run, Started};

const HOSTS: [&str; 2] = ["h1", "h2"];

/// A file that a service must be restarted for, a program that nothing guards, and a service that counts its starts.
const ROLE: &str = r#"
summary: x
inputs:
  value: { type: string }
resources:
  - directory: { path: /srv/points }
  - template: { path: /srv/points/conf, src: conf.j2 }
    notify: restart
  - command: { name: count, run: [sh, -c, "echo {{ value }} >>/srv/points/runs"] }
  - unit:
      name: points.service
      content: |
        [Service]
        ExecStartPre=/bin/sh -c 'cat /srv/points/conf >>/srv/points/starts'
        ExecStart=/bin/sleep infinity
    notify: restart
  - service: { name: points, state: running }
health:
  - unit: { name: points.service, stable_for: 100ms, within: 20s }
rollout: { batch: 1 }
"#;

/// The program that can be killed at a place.
fn dying() -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/crash/armilla");
    let how = "make it, as tests/run does: cargo build --features crash-points && install -D target/debug/armilla target/crash/armilla";
    let built = program.metadata().and_then(|file| file.modified());
    let built = built.unwrap_or_else(|error| panic!("{}: {error}; {how}", program.display()));
    let newest = newest(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(newest <= built, "{} is older than src; {how}", program.display());
    program.display().to_string()
}

fn newest(folder: &Path) -> SystemTime {
    let entries = fs::read_dir(folder).expect("the sources").map(|entry| entry.expect("an entry").path());
    let changed = |path: PathBuf| {
        if path.is_dir() { newest(&path) } else { path.metadata().and_then(|file| file.modified()).expect("its time") }
    };
    entries.map(changed).max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A project whose runs are written down in a folder of its own.
struct Desk<'a> {
    house: &'a House,
    project: Project<'a>,
    state: PathBuf,
    hosts: &'static [&'static str],
}

impl<'a> Desk<'a> {
    fn new(house: &'a House, name: &str, role: &str, hosts: &'static [&'static str]) -> Self {
        house.up(hosts);
        for host in hosts {
            house.sh(host, "systemctl stop points 2>/dev/null; rm -rf /srv/points /etc/systemd/system/points.service /var/lib/armilla /tmp/armilla-crash-points; systemctl daemon-reload");
        }
        let project = house.project(name);
        project.only(hosts, role).file("roles/only/templates/conf.j2", "{{ value }}\n");
        let state = project.path("state");
        Self { house, project, state, hosts }
    }

    fn value(&self, value: &str) {
        self.project.file("inventories/lab/group_vars/all_hosts.yml", format!("value: {value}\n"));
    }

    fn start(&self, program: &str, variables: &[String], arguments: &[&str]) -> Started {
        let state = format!("ARMILLA_STATE_DIR={}", self.state.display());
        let mut words = vec!["env", &state];
        words.extend(variables.iter().map(String::as_str));
        words.push(program);
        let mut started = self.project.start_as(&words, arguments);
        drop(started.child.stdin.take());
        started
    }

    fn armilla(&self, arguments: &[&str]) -> Run {
        self.start(ARMILLA, &[], arguments).wait()
    }

    fn apply(&self) -> Run {
        self.armilla(&["apply", "lab", "--lab", "-y"])
    }

    fn apply_as(&self, program: &str, variable: &str, value: impl ToString) -> Run {
        let variable = format!("{variable}={}", value.to_string());
        self.start(program, &[variable], &["apply", "lab", "--lab", "-y"]).wait()
    }

    /// The journal of the last run, and those of all.
    fn journals(&self) -> Vec<PathBuf> {
        let runs = fs::read_dir(self.state.join("runs")).into_iter().flatten();
        let mut runs: Vec<_> = runs.map(|entry| entry.expect("an entry").path().join("journal")).collect();
        runs.sort();
        runs
    }

    /// How a run ended that was written down anew since there were so many; none if it did not.
    fn written(&self, before: usize) -> Written {
        let runs = self.journals();
        let Some(last) = runs.last().filter(|last| runs.len() > before && last.exists()) else {
            return Written::Nothing;
        };
        let text = fs::read_to_string(last).expect("its journal");
        match text.lines().last() {
            Some(line) if line.starts_with("{\"end\"") => Written::Ended,
            _ => Written::Open,
        }
    }

    /// Goes on as a person would who sees what is written down.
    fn go_on(&self, before: usize) -> (Written, Run) {
        let written = self.written(before);
        let run = match written {
            Written::Open => self.armilla(&["resume", "-y"]),
            Written::Nothing | Written::Ended => self.apply(),
        };
        (written, run.ends(0))
    }

    /// What a host is like: how often the program ran for this value, and how often the service started with it.
    fn counts(&self, host: &str, value: &str) -> (usize, usize) {
        let script = format!(
            "cd /srv/points; cat conf; tail -n 1 starts; systemctl is-active points; grep -cx {value} runs; grep -cx {value} starts; grep -o '\"pending\":.*' /var/lib/armilla/host/lab/ledger; ls /var/lib/armilla/host /var/lib/armilla/host/lab | grep -xE 'lease|journal'; true"
        );
        let said = self.house.sh(host, &script);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(&lines[..3], [value, value, "active"], "{host}: {said}");
        assert_eq!(&lines[5..], ["\"pending\":[]}"], "{host}: nothing is owed, locked or to be worked in: {said}");
        (lines[3].parse().expect("a number"), lines[4].parse().expect("a number"))
    }

    fn hosts(&self) -> impl Iterator<Item = &'static str> {
        self.hosts.iter().copied()
    }
}

/// What is written down of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Nothing,
    Open,
    Ended,
}

/// The program is killed at each of its places in turn, and what was begun is ended by the next.
pub(crate) fn f01_every_point_of_the_program(house: &House) {
    let program = dying();
    let desk = Desk::new(house, "points", ROLE, &HOSTS);
    desk.value("first");
    desk.apply().ends(0);
    desk.value("undisturbed");
    let count = desk.project.path("count");
    desk.apply_as(&program, "ARMILLA_CRASH_COUNT", count.display()).ends(0);
    for host in desk.hosts() {
        assert_eq!(desk.counts(host, "undisturbed"), (1, 1), "{host}");
    }
    let points: usize = fs::read_to_string(&count).expect("the count").parse().expect("a number");
    assert!(points > 40, "only {points} points");
    let begun = Instant::now();
    let mut killed = [0, 0, 0];
    for point in 1..=points {
        let (value, before) = (format!("v{point}"), desk.journals().len());
        desk.value(&value);
        let run = desk.apply_as(&program, "ARMILLA_CRASH_AT", point);
        assert_eq!(run.code, None, "point {point} of {points}: it was not killed\n{run}");
        let (written, run) = desk.go_on(before);
        killed[written as usize] += 1;
        for host in desk.hosts() {
            // A run that was over is over: the next is another one, and the program runs at every one.
            let runs = if written == Written::Ended { 2 } else { 1 };
            assert_eq!(desk.counts(host, &value), (runs, 1), "point {point} of {points}, {written:?}, {host}\n{run}");
        }
    }
    println!("{points} points of the program, {killed:?} before, in and after the run, {:?}", begun.elapsed());
    assert!(killed[Written::Nothing as usize] > 0 && killed[Written::Ended as usize] > 0, "{killed:?}");
}

/// The shell that carries out an order dies at each of its places in turn. What may be done twice is done again at once;
/// what must not be is left to a new look.
pub(crate) fn f01_every_point_of_a_host(house: &House) {
    const COUNTER: &str = "/tmp/armilla-crash-points";
    let program = dying();
    let desk = Desk::new(house, "host-points", ROLE, &["h1"]);
    desk.value("first");
    desk.apply().ends(0);
    desk.value("undisturbed");
    desk.apply_as(&program, "ARMILLA_CRASH_HOST_AT", 0).ends(0);
    assert_eq!(desk.counts("h1", "undisturbed"), (1, 1));
    let points: usize = house.sh("h1", &format!("cat {COUNTER}")).parse().expect("a number");
    assert!(points > 15, "only {points} points");
    let (begun, mut again, mut unknown) = (Instant::now(), 0, 0);
    for point in 1..=points {
        let (value, before) = (format!("v{point}"), desk.journals().len());
        desk.value(&value);
        house.sh("h1", &format!("rm -f {COUNTER}"));
        let run = desk.apply_as(&program, "ARMILLA_CRASH_HOST_AT", point);
        assert!(house.sh("h1", &format!("cat {COUNTER}")).parse::<usize>().expect("a number") >= point);
        if run.code != Some(0) {
            let run = run.ends(4);
            unknown += 1;
            assert_eq!(desk.written(before), Written::Ended, "\n{run}");
            desk.armilla(&["resume", "-y"]).ends(0);
        } else {
            again += 1;
        }
        let (runs, starts) = desk.counts("h1", &value);
        assert!((1..=2).contains(&runs) && (1..=2).contains(&starts), "point {point}: {runs} runs, {starts} starts");
    }
    println!(
        "{points} points of a host's shell, {again} went on by themselves, {unknown} by `resume`, {:?}",
        begun.elapsed()
    );
}
