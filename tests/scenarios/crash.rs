//! The program dies at every place at which it can die, the host's shell likewise, and disks and power go in the middle:
//! what a run began is ended by the next, and nothing is done twice that must not be.
//!
//! In: a build with debug assertions, which has crash points. Out: hosts as an undisturbed run leaves them.
//! Never: anything on this machine but files below `target`.

#![expect(clippy::print_stdout, reason = "how many points there were is a result, too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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
        [Unit]
        StartLimitIntervalSec=0
        [Service]
        ExecStartPre=/bin/sh -c 'cat /srv/points/conf >>/srv/points/starts'
        ExecStart=/bin/sleep infinity
    notify: restart
  - service: { name: points, state: running }
health:
  - unit: { name: points.service, stable_for: 100ms, within: 20s }
rollout: { batch: 1 }
"#;

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

    fn start(&self, variables: &[String], arguments: &[&str]) -> Started {
        let state = format!("ARMILLA_STATE_DIR={}", self.state.display());
        let mut words = vec!["env", &state];
        words.extend(variables.iter().map(String::as_str));
        words.push(ARMILLA);
        let mut started = self.project.start_as(&words, arguments);
        drop(started.child.stdin.take());
        started
    }

    fn armilla(&self, arguments: &[&str]) -> Run {
        self.start(&[], arguments).wait()
    }

    fn apply(&self) -> Run {
        self.armilla(&["apply", "lab", "--lab", "-y"])
    }

    fn apply_with(&self, variable: &str, value: &impl ToString) -> Run {
        let variable = format!("{variable}={}", value.to_string());
        self.start(&[variable], &["apply", "lab", "--lab", "-y"]).wait()
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
            "cd /srv/points; cat conf; tail -n 1 starts; systemctl is-active points; grep -cx {value} runs; grep -cx {value} starts; grep -o '\"pending\":.*' /var/lib/armilla/host/lab@*/ledger; ls /var/lib/armilla/host /var/lib/armilla/host/lab@* | grep -xE 'lease|journal'; true"
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
    let desk = Desk::new(house, "points", ROLE, &HOSTS);
    desk.value("first");
    desk.apply().ends(0);
    desk.value("undisturbed");
    let count = desk.project.path("count");
    desk.apply_with("ARMILLA_CRASH_COUNT", &count.display()).ends(0);
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
        let run = desk.apply_with("ARMILLA_CRASH_AT", &point);
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
    let desk = Desk::new(house, "host-points", ROLE, &["h1"]);
    desk.value("first");
    desk.apply().ends(0);
    desk.value("undisturbed");
    desk.apply_with("ARMILLA_CRASH_HOST_AT", &0).ends(0);
    assert_eq!(desk.counts("h1", "undisturbed"), (1, 1));
    let points: usize = house.sh("h1", &format!("cat {COUNTER}")).parse().expect("a number");
    assert!(points > 15, "only {points} points");
    let (begun, mut again, mut unknown, mut unsaved) = (Instant::now(), 0, 0, 0);
    for point in 1..=points {
        let (value, before) = (format!("v{point}"), desk.journals().len());
        desk.value(&value);
        house.sh("h1", &format!("rm -f {COUNTER}"));
        let run = desk.apply_with("ARMILLA_CRASH_HOST_AT", &point);
        assert!(house.sh("h1", &format!("cat {COUNTER}")).parse::<usize>().expect("a number") >= point);
        if run.code != Some(0) {
            let run = run.ends(4);
            unknown += 1;
            assert_eq!(desk.written(before), Written::Ended, "\n{run}");
            desk.armilla(&["resume", "-y"]).ends(0);
        } else if run.said().contains("its ledger was not written") {
            // All was done; only its ledger is behind, and the next run brings it up to date from the journal.
            unsaved += 1;
            desk.apply().ends(0);
        } else {
            again += 1;
        }
        let (runs, starts) = desk.counts("h1", &value);
        assert!((1..=2).contains(&runs) && (1..=2).contains(&starts), "point {point}: {runs} runs, {starts} starts");
    }
    println!(
        "{points} points of a host's shell, {again} went on by themselves, {unknown} by `resume`, {unsaved} with their ledger behind, {:?}",
        begun.elapsed()
    );
}

/// Many small roles, one after another, so that a run writes much down.
fn chain(desk: &Desk<'_>) {
    let names: Vec<String> = (0..20).map(|number| format!("s{number:02}")).collect();
    let services: Vec<String> = names.iter().map(|name| format!("  {name}: {{ hosts: all_hosts }}\n")).collect();
    desk.project.file("site.yml", format!("services:\n{}", services.concat()));
    for (number, name) in names.iter().enumerate() {
        let needs = number.checked_sub(1).map_or(String::new(), |before| format!("needs: [{}]\n", names[before]));
        let role = format!(
            "summary: x\n{needs}inputs:\n  value: {{ type: string }}\nresources:\n  - file: {{ path: /srv/points/{name}, content: \"{{{{ value }}}}\\n\" }}\n"
        );
        desk.project.file(&format!("roles/{name}/role.yml"), role);
    }
}

/// There is no room to write a run down: it stops before the next stage, and says for which file; with room it goes on.
pub(crate) fn f03_no_room_to_write_down(house: &House) {
    let desk = Desk::new(house, "no-room", ROLE, &HOSTS);
    chain(&desk);
    for host in HOSTS {
        house.sh(host, "mkdir /srv/points");
    }
    desk.value("first");
    desk.apply().ends(0);
    let plan = desk.journals().pop().expect("a run").with_file_name("plan.json");
    let pages = plan.metadata().expect("its plan").len().div_ceil(4096);
    let there =
        |host: &str, value: &str| house.sh(host, &format!("cd /srv/points; grep -lx {value} s* | wc -l; ls -A"));
    // In a mount namespace of its own, so that this machine has no such disk.
    let on_a_small_disk = |pages: u64, arguments: &[&str]| {
        let state = desk.project.path("small");
        let kept = desk.project.path("kept");
        let _ = fs::remove_dir_all(&kept);
        fs::create_dir_all(&state).expect("a folder");
        let script = format!(
            "mount -t tmpfs -o size={}k none \"$ARMILLA_STATE_DIR\" && cd / && {{ \"$0\" \"$@\"; code=$?; cp -r \"$ARMILLA_STATE_DIR\" {}; exit $code; }}",
            pages * 4,
            kept.display()
        );
        let state = format!("ARMILLA_STATE_DIR={}", state.display());
        let mut started =
            desk.project.start_as(&["env", &state, "unshare", "-m", "sh", "-c", &script, ARMILLA], arguments);
        drop(started.child.stdin.take());
        started.wait()
    };

    // Not even its plan: nothing is begun.
    desk.value("second");
    let run = on_a_small_disk(1, &["apply", "lab", "--lab", "-y"]).ends(1);
    run.says("the journal of the run cannot be written; nothing was changed")
        .says("plan.json: No space left on device");
    for host in HOSTS {
        assert!(there(host, "second").starts_with("0\n") && !house.holds(host, "test -e /var/lib/armilla/host/lease"));
    }
    let left = fs::read_dir(desk.project.path("kept/runs")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing is left of it");

    // In the middle.
    let run = on_a_small_disk(pages + 2, &["apply", "lab", "--lab", "-y"]).ends(3);
    let run = run.says("its journal could not be written").says("/journal: No space left on device");
    let done: Vec<usize> = HOSTS
        .iter()
        .map(|host| there(host, "second").lines().next().expect("a number").parse().expect("a number"))
        .collect();
    assert!(done.iter().all(|done| (1..20).contains(done)) && done[0].abs_diff(done[1]) <= 1, "{done:?}\n{run}");
    for host in HOSTS {
        let state =
            house.sh(host, "cd /var/lib/armilla/host; ls -A lab@*; grep -o '\"pending\":.*' lab@*/ledger; ls -A");
        assert!(state.starts_with("ledger\n\"pending\":[]}\n") && !state.contains("lease"), "{host}: {state}");
    }
    // What was written down of it is whole but for its last line.
    let kept = fs::read_dir(desk.project.path("kept/runs")).expect("the runs").next().expect("one").expect("one");
    let text = fs::read_to_string(kept.path().join("journal")).expect("its journal");
    assert!(text.contains("StageStarted") && !text.contains("\n{\"end\""), "{text}");
    desk.apply().ends(0);
    for host in HOSTS {
        assert!(there(host, "second").starts_with("20\n"), "{host}");
    }

    // A plan that does not fit.
    let small = desk.project.path("small");
    let file = small.join("my.plan");
    let run = on_a_small_disk(1, &["plan", "lab", "--lab", "-o", &file.display().to_string()]).ends(1);
    run.says("the plan cannot be saved to").says("my.plan: No space left on device");
    assert_eq!(fs::read_dir(desk.project.path("kept")).expect("the disk").count(), 0, "nothing is left of it");
}

/// A panic of our own in the middle: what is written down is whole, nothing secret is said, and it can be gone on with.
pub(crate) fn f05_panic(house: &House) {
    const CANARY: &str = "canary-panic-77e1";
    let role = ROLE.replace("inputs:\n", "inputs:\n  token: { type: secret }\n").replace(
        "  - unit:\n",
        "  - file: { path: /srv/points/token, content: \"{{ token }} {{ value }}\\n\", mode: \"0600\" }\n  - unit:\n",
    );
    let desk = Desk::new(house, "panic", &role, &["h1"]);
    desk.project.file("inventories/lab/group_vars/all_hosts/token.yml", format!("token: {CANARY}\n"));
    let value = |value: &str| {
        desk.project.file("inventories/lab/group_vars/all_hosts/value.yml", format!("value: {value}\n"));
    };
    value("first");
    let count = desk.project.path("count");
    desk.apply_with("ARMILLA_CRASH_COUNT", &count.display()).ends(0);
    let points: usize = fs::read_to_string(&count).expect("the count").parse().expect("a number");
    // Not before anything was begun, and not after the end.
    for point in [8, 13, 18, 23] {
        assert!(point + 8 < points, "only {points} points");
        let (text, before) = (format!("v{point}"), desk.journals().len());
        value(&text);
        let run = desk.apply_with("ARMILLA_PANIC_AT", &point);
        let run = run.ends(101).says("this panic was asked for").keeps(CANARY);
        assert_eq!(desk.written(before), Written::Open, "\n{run}");
        desk.armilla(&["runs", "show"]).ends(0).keeps(CANARY);
        for part in ["journal", "plan.json"] {
            let text = fs::read_to_string(desk.journals().pop().expect("a run").with_file_name(part)).expect("a file");
            assert!(!text.contains(CANARY), "{part} holds it");
        }
        let run = desk.armilla(&["resume", "-y"]).ends(0).keeps(CANARY);
        assert_eq!(desk.counts("h1", &text), (1, 1), "point {point}\n{run}");
        assert_eq!(house.sh("h1", "cat /srv/points/token"), format!("{CANARY} {text}"));
    }
}

/// The processes of ssh that a run started, by what it is told in its environment.
fn connections(state: &Path) -> Vec<nix::unistd::Pid> {
    let told = format!("ARMILLA_STATE_DIR={}", state.display()).into_bytes();
    let is_ours = |pid: &i32| {
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        read("comm").starts_with(b"ssh") && read("environ").split(|byte| *byte == 0).any(|variable| variable == told)
    };
    let all = fs::read_dir("/proc").expect("the processes").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(is_ours).map(nix::unistd::Pid::from_raw).collect()
}

/// A step that takes long, nothing guards, and notes how often it began and ended.
const LONG: &str = "summary: x\nresources:\n  - directory: { path: /srv/points }\n  - command: { name: long, run: [sh, -c, 'echo x >>/srv/points/begun; sync; sleep SECONDS; echo x >>/srv/points/ended'] }\n  - file: { path: /srv/points/after, content: x }\n";

/// The connection dies under a long step: the run connects again, waits for its end, and goes on.
pub(crate) fn f08_connects_again_and_goes_on(house: &House) {
    let desk = Desk::new(house, "connects-again", &LONG.replace("SECONDS", "6"), &["h1"]);
    let mut run = desk.start(&[], &["apply", "lab", "--lab", "-y"]);
    until("the step runs", || !run.runs() || house.holds("h1", "test -e /srv/points/begun"));
    let masters = connections(&desk.state);
    assert!(!masters.is_empty(), "there is a connection");
    for pid in masters {
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    assert!(!house.holds("h1", "test -e /srv/points/ended"), "it was in the middle");
    run.wait().ends(0);
    assert_eq!(
        house.sh("h1", "cd /srv/points; cat begun ended after"),
        "x\nx\nx",
        "it ran once, and what follows was done"
    );
    assert!(!house.holds("h1", "ls /var/lib/armilla/host/lease /var/lib/armilla/host/lab@*/journal"));
}

/// The power goes in the middle and comes back. A step that must not be done twice is not: the run says that nobody knows,
/// and the next looks. A gate is waited for again.
pub(crate) fn f15_power_comes_back(house: &House) {
    let typed = ["apply", "lab", "--lab", "-y", "--reboot-timeout", "2m", "--connect-timeout", "2"];
    let cycle = |run: &mut Started, holds: &str| {
        until(holds, || !run.runs() || house.holds("h1", holds));
        house.lab().kill(&["h1"], &mut |_| {}).expect("the power goes");
        std::thread::sleep(Duration::from_secs(2));
        house.lab().boot(&["h1"], &mut |_| {}).expect("the power comes");
        house.lab().wait(&["h1"]).expect("the host answers");
    };
    let desk = Desk::new(house, "power-comes-back", &LONG.replace("SECONDS", "20"), &["h1"]);
    let mut run = desk.start(&[], &typed);
    cycle(&mut run, "test -e /srv/points/begun");
    run.wait().ends(4).says("the host went down during this step");
    assert!(!house.holds("h1", "test -e /srv/points/after || test -e /srv/points/ended"), "nothing more was begun");
    desk.project.only(&["h1"], &LONG.replace("SECONDS", "0"));
    desk.apply().ends(0);
    assert_eq!(house.sh("h1", "cd /srv/points; cat begun ended after"), "x\nx\nx\nx", "begun twice, ended once");

    let gate = "summary: x\nresources:\n  - file: { path: /srv/points/after, content: y }\nhealth:\n  - command: { run: [sh, -c, 'echo >>/srv/points/asked; sync; test -e /srv/points/open'], within: 2m }\n";
    desk.project.only(&["h1"], gate);
    let mut run = desk.start(&[], &typed);
    cycle(&mut run, "rm -f /srv/points/asked; grep y /srv/points/after && sleep 1 && test -e /srv/points/asked");
    assert!(run.runs(), "it goes on waiting");
    house.sh("h1", "touch /srv/points/open");
    run.wait().ends(0);
    assert!(!house.holds("h1", "ls /var/lib/armilla/host/lease /var/lib/armilla/host/lab@*/journal"));
}

const MEMBERS: [&str; 3] = ["zk1", "zk2", "zk3"];

/// The quickstart, with a setting that changes.
fn quickstart<'a>(house: &'a House, name: &str) -> Desk<'a> {
    let project = house.project(name);
    project.file("site.yml", "services:\n  zookeeper: { hosts: zookeepers }\n");
    Desk { house, state: project.path("state"), project, hosts: &MEMBERS }
}

impl Desk<'_> {
    fn tick(&self, tick: &str) {
        let vars = format!("{{ heap: 128M, tick_time: {tick} }}");
        let hosts = format!("groups:\n  zookeepers: {{ hosts: \"zk[1:3]\", vars: {vars} }}\n");
        self.project.file("inventories/lab/hosts.yml", hosts);
    }

    /// How often each member was started.
    fn starts(&self) -> [usize; 3] {
        let started = "journalctl -q --no-pager -u zookeeper -o cat | grep -c '^Started '; true";
        MEMBERS.map(|host| self.house.sh(host, started).parse().expect("a number"))
    }

    /// Each member serves, with a process that was begun after its settings were written; nothing is owed, locked or to be
    /// worked in.
    #[track_caller]
    fn serves(&self, tick: &str, when: &str) {
        for host in MEMBERS {
            let file = "/etc/zookeeper/conf/zoo.cfg";
            let script = format!(
                "grep -qx tickTime={tick} {file} && systemctl is-active -q zookeeper && [ /proc/$(systemctl show -p MainPID --value zookeeper) -nt {file} ] && cd /var/lib/armilla/host && grep -q '\"pending\":\\[\\]}}' lab@*/ledger && ! ls lease lab@*/journal 2>/dev/null"
            );
            assert!(self.house.holds(host, &script), "{when}: {host} is not as it should be");
        }
    }
}

/// The first installation of the quickstart is killed again and again on its way, each time a place later than the time
/// before, and gone on with. With `ARMILLA_CRASH_PART` each of its places is tried in an installation of its own, too.
pub(crate) fn f01_quickstart(house: &House) {
    house.fresh(&MEMBERS);
    let desk = quickstart(house, &format!("quickstart-killed{}", part()));
    desk.tick("2s");
    let (begun, mut kills) = (Instant::now(), 1);
    let mut before = desk.journals().len();
    let mut run = desk.apply_with("ARMILLA_CRASH_AT", &20);
    for point in 21.. {
        assert_eq!(run.code, None, "it was not killed\n{run}");
        assert_eq!(desk.written(before), Written::Open);
        before = desk.journals().len();
        run = desk.start(&[format!("ARMILLA_CRASH_AT={point}")], &["resume", "-y"]).wait();
        if run.code == Some(0) {
            break;
        }
        kills += 1;
    }
    desk.serves("2000", "after the installation");
    assert_eq!(desk.starts(), [1, 1, 1], "none was started twice");
    desk.armilla(&["plan", "lab", "--lab", "--detailed-exitcode"]).ends(0);
    println!("the quickstart installed over {kills} kills, {:?}", begun.elapsed());
    if !part().is_empty() {
        every_installation(&desk);
    }
}

/// All that the quickstart makes is gone but its packages, which take longest.
const UNMAKE: &str = "systemctl disable -q --now zookeeper; rm -rf /etc/zookeeper /var/lib/zookeeper /usr/local/bin/zookeeper-* /etc/systemd/system/zookeeper.service* /var/lib/armilla; systemctl daemon-reload; userdel zookeeper; ! id zookeeper 2>/dev/null";

fn every_installation(desk: &Desk<'_>) {
    let house = desk.house;
    let unmake = || {
        std::thread::scope(|scope| {
            for host in MEMBERS {
                scope.spawn(move || house.sh(host, UNMAKE));
            }
        });
        fs::remove_dir_all(desk.state.join("runs")).expect("what is written down of the runs before");
    };
    let count = desk.project.path("count");
    unmake();
    desk.apply_with("ARMILLA_CRASH_COUNT", &count.display()).ends(0);
    let points: usize = fs::read_to_string(&count).expect("the count").parse().expect("a number");
    let (begun, places) = (Instant::now(), places(points));
    for point in &places {
        unmake();
        let started = desk.starts();
        let run = desk.apply_with("ARMILLA_CRASH_AT", point);
        assert_eq!(run.code, None, "point {point} of {points}: it was not killed\n{run}");
        desk.go_on(0);
        desk.serves("2000", &format!("point {point} of {points}"));
        assert_eq!(desk.starts(), started.map(|starts| starts + 1), "point {point} of {points}: one start each");
    }
    println!("{} of {points} points of an installation of the quickstart, {:?}", places.len(), begun.elapsed());
}

/// Which part of the places is tried, for the name of a folder: two may be tried at the same time, each in a lab of its own.
fn part() -> String {
    std::env::var("ARMILLA_CRASH_PART").unwrap_or_default().replace('/', "-of-")
}

/// The places at which a change of the quickstart is killed, of so many: three, because each member takes its time to
/// restart. `ARMILLA_CRASH_PART=1/2` tries every place of the first half, `1/1` all.
fn places(points: usize) -> Vec<usize> {
    const TRIED: usize = 3;
    let given = std::env::var("ARMILLA_CRASH_PART").ok();
    let part = given.as_deref().and_then(|part| part.split_once('/'));
    let part: Option<(usize, usize)> = part.and_then(|(one, all)| Some((one.parse().ok()?, all.parse().ok()?)));
    match part {
        Some((one, all)) => (points * (one - 1) / all + 1..=points * one / all).collect(),
        None => (0..TRIED).map(|round| points * (2 * round + 1) / (2 * TRIED)).collect(),
    }
}

/// A change of a setting of the quickstart is killed: no member serves with older settings than its file, none restarts
/// twice.
pub(crate) fn f01_change_of_the_quickstart(house: &House) {
    house.members(&MEMBERS);
    let desk = quickstart(house, &format!("quickstart-changed{}", part()));
    desk.tick("2s");
    desk.apply().ends(0);
    let count = desk.project.path("count");
    desk.tick("3s");
    desk.apply_with("ARMILLA_CRASH_COUNT", &count.display()).ends(0);
    let points: usize = fs::read_to_string(&count).expect("the count").parse().expect("a number");
    let (begun, mut last) = (Instant::now(), desk.starts());
    let places = places(points);
    for (round, point) in places.iter().enumerate() {
        let (typed, value) = if round % 2 == 0 { ("2s", "2000") } else { ("3s", "3000") };
        desk.tick(typed);
        let before = desk.journals().len();
        let run = desk.apply_with("ARMILLA_CRASH_AT", point);
        assert_eq!(run.code, None, "point {point} of {points}: it was not killed\n{run}");
        desk.go_on(before);
        desk.serves(value, &format!("point {point} of {points}"));
        last = last.map(|starts| starts + 1);
        assert_eq!(desk.starts(), last, "point {point} of {points}: one restart each");
    }
    println!("{} of {points} points of a change of the quickstart, {:?}", places.len(), begun.elapsed());
}
