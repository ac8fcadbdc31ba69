//! Random faults at random moments, against a reference model: whatever happens in the middle of a run, the next one reaches
//! exactly the state that the project describes, and nothing that is not armilla's is touched.
//!
//! In: a seed (`ARMILLA_CHAOS_SEED`, printed), a time (`ARMILLA_CHAOS_SECONDS`, 120; an hour on demand) and, to look closely,
//! one fault only (`ARMILLA_CHAOS_FAULT=HostShell`). Out: rounds of one fault and one recovery each. Never: a judgement by armilla's own words: hosts are looked at from outside.

#![expect(clippy::print_stdout, reason = "the seed and the number of faults are a result, too")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::house::{ARMILLA, House, until};
use crate::project::{Project, Run, Started};

const HOSTS: [&str; 3] = ["h1", "h2", "h3"];

/// Leases are short, so that a controller that sleeps outlives its own.
const LEASE: &str = "ARMILLA_LEASE_SECONDS=3";

/// What happens to a run, a random time after its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// kill -9 of the controller.
    Kill,
    /// kill -9 of the controller and of every ssh it started.
    KillAll,
    /// Ctrl-C once.
    Interrupt,
    /// Ctrl-C twice.
    InterruptTwice,
    /// SIGTERM.
    Terminate,
    /// The terminal is closed.
    HangUp,
    /// The controller sleeps longer than its lease.
    Sleep,
    /// A host's network is cut, and healed while the run waits.
    Cut,
    /// A host loses its power, and boots.
    Power,
    /// kill -9 of every shell of ours on a host.
    HostShell,
    /// Another controller starts in the middle.
    Second,
    /// Nothing.
    None,
}

const FAULTS: [Fault; 12] = [
    Fault::Kill,
    Fault::KillAll,
    Fault::Interrupt,
    Fault::InterruptTwice,
    Fault::Terminate,
    Fault::HangUp,
    Fault::Sleep,
    Fault::Cut,
    Fault::Power,
    Fault::HostShell,
    Fault::Second,
    Fault::None,
];

/// Random numbers from a seed (splitmix64): the same seed makes the same choices.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn choose<T: Copy>(&mut self, items: &[T]) -> T {
        let index = self.below(items.len().try_into().expect("a number"));
        items[usize::try_from(index).expect("a number")]
    }
}

/// How far the role goes with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Daemon {
    Absent,
    UnitOnly,
    Running,
}

/// What the project describes now: the reference model.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Model {
    value: usize,
    extras: BTreeSet<u8>,
    daemon: Daemon,
    shared: bool,
}

impl Model {
    fn random(random: &mut Random, value: usize) -> Self {
        Self {
            value,
            extras: (0..4).filter(|_| random.one_in(2)).collect(),
            daemon: random.choose(&[Daemon::Absent, Daemon::UnitOnly, Daemon::Running, Daemon::Running]),
            shared: random.one_in(2),
        }
    }

    /// The role that describes it.
    fn role(&self) -> String {
        let value = self.value;
        let notify = if self.daemon == Daemon::Running { ", notify: restart" } else { "" };
        let mut role = format!(
            r#"summary: x
resources:
  - directory: {{ path: /srv/chaos }}
  - file: {{ path: /srv/chaos/conf, content: "v{value}\n" }}{notify}
  - command: {{ name: mark, run: [sh, -c, 'sleep 0.05; touch /srv/chaos/marked-v{value}'], creates: /srv/chaos/marked-v{value} }}
"#
        )
        .replace(", notify: restart", "\n    notify: restart");
        for extra in &self.extras {
            let _ = writeln!(role, "  - file: {{ path: /srv/chaos/extra{extra}, content: \"v{value}\\n\" }}");
        }
        if self.shared {
            role.push_str("  - line: { path: /etc/chaos-shared.conf, line: ours=1 }\n");
        }
        if self.daemon != Daemon::Absent {
            role.push_str(UNIT);
        }
        if self.daemon == Daemon::Running {
            role.push_str("  - service: { name: chaos, state: running, enabled: true }\n");
            role.push_str("health:\n  - unit: { name: chaos.service, stable_for: 100ms, within: 20s }\n");
        }
        role.push_str("rollout: { batch: 1 }\n");
        role
    }

    /// What [`LOOK`] prints on a host that is as described.
    fn seen(&self) -> String {
        let value = self.value;
        let extras: Vec<_> = self.extras.iter().map(|extra| format!("extra{extra}=v{value} ")).collect();
        let extras = extras.concat();
        let running = self.daemon == Daemon::Running;
        let unit = if self.daemon == Daemon::Absent { "no" } else { "yes" };
        let (active, enabled) = if running { ("active", "yes") } else { ("inactive", "no") };
        let started = if running { format!("v{value}") } else { "-".to_owned() };
        let shared = if self.shared { "theirs=1 ours=1 " } else { "theirs=1 " };
        format!(
            "conf=v{value}\nextras={extras}\nunit={unit} {active} {enabled} {started}\nshared={shared}\nforeign=theirs"
        )
    }
}

/// The same of a host of which armilla has nothing.
const NOTHING: &str = "conf=-\nextras=\nunit=no inactive no -\nshared=theirs=1 \nforeign=theirs";

const UNIT: &str = "  - unit:
      name: chaos.service
      content: |
        [Unit]
        StartLimitIntervalSec=0
        [Service]
        ExecStartPre=/bin/sh -c 'cat /srv/chaos/conf >/srv/started'
        ExecStart=/bin/sleep infinity
        [Install]
        WantedBy=multi-user.target
";

/// The state of a host, as its own tools tell it.
const LOOK: &str = r#"
echo "conf=$(cat /srv/chaos/conf 2>/dev/null || echo -)"
printf 'extras='; for file in /srv/chaos/extra*; do [ ! -e "$file" ] || printf '%s=%s ' "${file##*/}" "$(cat "$file")"; done; echo
active=$(systemctl is-active chaos.service)
started=-; [ "$active" != active ] || started=$(cat /srv/started)
[ "$active" != failed ] || active=inactive
unit=no; [ ! -e /etc/systemd/system/chaos.service ] || unit=yes
enabled=no; [ ! -L /etc/systemd/system/multi-user.target.wants/chaos.service ] || enabled=yes
echo "unit=$unit $active $enabled $started"
printf 'shared='; tr '\n' ' ' </etc/chaos-shared.conf; echo
echo "foreign=$(cat /srv/foreign)"
"#;

/// Files that only an interrupted run leaves.
const LEFT: &str = "ls -d /run/armilla.* 2>/dev/null; find /srv/chaos /etc/systemd/system /etc/chaos-shared.conf /var/lib/armilla -name '*.armilla*' -o -name '.new-*' 2>/dev/null; true";

/// A project, its hosts, and what was tried so far.
struct Chaos<'a> {
    house: &'a House,
    project: Project<'a>,
    random: Random,
    faults: Vec<Fault>,
    tried: BTreeMap<Fault, usize>,
    rounds: usize,
}

/// For as long as was asked.
pub(crate) fn random_faults(house: &House) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("ARMILLA_CHAOS_SEED").unwrap_or(20_261_130);
    let time = Duration::from_secs(number("ARMILLA_CHAOS_SECONDS").unwrap_or(120));
    println!("ARMILLA_CHAOS_SEED={seed}");
    house.fresh(&HOSTS);
    for host in HOSTS {
        house.sh(host, "echo theirs >/srv/foreign; echo theirs=1 >/etc/chaos-shared.conf");
    }
    let project = house.project("chaos");
    project.hosts(&HOSTS).file("site.yml", "services:\n  only: { hosts: all_hosts }\n");
    let only = std::env::var("ARMILLA_CHAOS_FAULT").ok();
    let faults: Vec<_> =
        FAULTS.into_iter().filter(|fault| only.as_ref().is_none_or(|only| *only == format!("{fault:?}"))).collect();
    assert!(!faults.is_empty(), "ARMILLA_CHAOS_FAULT: one of {FAULTS:?}");
    let mut chaos = Chaos { house, project, random: Random(seed), faults, tried: BTreeMap::new(), rounds: 0 };
    let begun = Instant::now();
    while begun.elapsed() < time {
        chaos.round();
    }
    chaos.destroyed(Fault::None);
    println!("{} rounds, {:?}", chaos.rounds, chaos.tried);
}

impl Chaos<'_> {
    fn round(&mut self) {
        self.rounds += 1;
        let fault = self.random.choose(&self.faults);
        *self.tried.entry(fault).or_default() += 1;
        if self.rounds.is_multiple_of(6) {
            return self.destroyed(fault);
        }
        let model = Model::random(&mut self.random, self.rounds);
        self.project.file("roles/only/role.yml", model.role());
        let story = format!("round {}: {fault:?} in {model:?}", self.rounds);
        let before = self.recorded();
        let run = self.disturbed(fault, &["apply", "lab", "--lab", "-y"]);
        if run.code == Some(0) {
            self.is(&model.seen(), &format!("{story}: it ended with 0\n{run}"));
        } else {
            let run = self.recovered(&run, &before);
            self.is(&model.seen(), &format!("{story}: recovered\n{run}"));
        }
        // What a shell leaves that is killed after the last lock of its run goes with the next lock: the next round sees it.
        if fault != Fault::HostShell || run.code != Some(0) {
            self.nothing_stays(&format!("{story}\n{run}"));
        }
        if self.random.one_in(3) {
            self.armilla(&["plan", "lab", "--lab", "--detailed-exitcode"]).ends(0);
        }
    }

    /// Removes everything, with a fault in the middle, until it says that it has.
    fn destroyed(&mut self, fault: Fault) {
        let destroy = ["destroy", "lab", "--lab", "--confirm", "lab"];
        let mut run = self.disturbed(fault, &destroy);
        // A second controller may have had its turn after it, and have brought everything back.
        if run.code != Some(0) || fault == Fault::Second {
            self.healed();
            run = self.armilla(&[&destroy[..], &PATIENT].concat());
        }
        let run = run.ends(0);
        self.is(NOTHING, &format!("round {}: destroyed after {fault:?}\n{run}", self.rounds));
        self.nothing_stays("destroyed");
    }

    fn start(&self, arguments: &[&str]) -> Started {
        let sockets = format!("TMPDIR={}", self.sockets().display());
        let mut started = self.project.start_as(&["env", LEASE, &sockets, ARMILLA], arguments);
        drop(started.child.stdin.take());
        started
    }

    /// Where the connections of these runs are: no path of another test.
    fn sockets(&self) -> std::path::PathBuf {
        let folder = std::path::Path::new("/tmp").join(format!("chaos-{}", self.house.number()));
        std::fs::create_dir_all(&folder).expect("a folder for sockets");
        folder
    }

    fn armilla(&self, arguments: &[&str]) -> Run {
        self.start(arguments).wait()
    }

    /// Runs a command, and lets the fault happen at a random moment of it.
    fn disturbed(&mut self, fault: Fault, arguments: &[&str]) -> Run {
        let mut started = self.start(arguments);
        sleep(Duration::from_millis(self.random.below(3000)));
        let host = self.random.choose(&HOSTS);
        let gap = Duration::from_millis(self.random.below(1000));
        if started.runs() {
            self.happens(fault, &started, host, gap);
        }
        let run = started.wait();
        self.healed();
        let known = [0, 3, 4, 5, 75, 130, 143];
        assert!(run.code.is_none_or(|code| known.contains(&code)), "round {}: {fault:?}\n{run}", self.rounds);
        if fault == Fault::None {
            assert_eq!(run.code, Some(0), "round {}: nothing happened\n{run}", self.rounds);
        }
        run
    }

    fn happens(&self, fault: Fault, started: &Started, host: &str, gap: Duration) {
        let controller = Pid::from_raw(started.child.id().try_into().expect("a pid"));
        // It may have ended by itself a moment ago.
        let send = |signal| {
            let _ = kill(controller, signal);
        };
        match fault {
            Fault::Kill => send(Signal::SIGKILL),
            Fault::KillAll => started.signal(Signal::SIGKILL),
            Fault::Interrupt => started.signal(Signal::SIGINT),
            Fault::InterruptTwice => {
                started.signal(Signal::SIGINT);
                sleep(gap);
                send(Signal::SIGINT);
            }
            Fault::Terminate => send(Signal::SIGTERM),
            Fault::HangUp => send(Signal::SIGHUP),
            Fault::Sleep => {
                send(Signal::SIGSTOP);
                sleep(Duration::from_secs(4) + gap);
                send(Signal::SIGCONT);
            }
            Fault::Cut => {
                self.house.lab().cut(host).expect("the network is cut");
                sleep(Duration::from_secs(2) + gap);
                self.house.lab().heal(host).expect("the network is healed");
            }
            Fault::Power => {
                self.house.lab().kill(&[host], &mut |_| {}).expect("the power goes");
                self.house.lab().boot(&[host], &mut |_| {}).expect("the power comes");
            }
            Fault::HostShell => {
                drop(self.house.ask(host, "pkill -KILL -f '[a]rmilla'; pkill -KILL -u root -x sh"));
            }
            Fault::Second => {
                let state = format!("ARMILLA_STATE_DIR={}", self.project.path("second").display());
                let arguments = ["apply", "lab", "--lab", "-y", "--lock-timeout", "60s"];
                let second = self.project.start_as(&["env", &state, ARMILLA], &arguments).wait();
                assert!(matches!(second.code, Some(0 | 3 | 4)), "the second controller\n{second}");
            }
            Fault::None => {}
        }
    }

    /// All hosts are up and connected again.
    fn healed(&self) {
        self.house.up(&HOSTS);
    }

    /// The runs that this machine has recorded.
    fn recorded(&self) -> Vec<String> {
        let runs = std::fs::read_dir(self.project.path("state/runs")).into_iter().flatten();
        runs.map(|run| run.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }

    /// Goes on as a person would: resumes the run if it is open, otherwise applies. `before` are the runs that were recorded
    /// before it.
    fn recovered(&mut self, run: &Run, before: &[String]) -> Run {
        if self.random.one_in(2) {
            let resumed = self.armilla(&[&["resume", "-y"][..], &PATIENT].concat());
            // A run that ended before it began is not recorded. What is resumed is then the one before, which has nothing left
            // to do: another one completed it.
            let older = before.iter().any(|run| resumed.said().contains(&format!("resuming run {run} ")));
            if resumed.code == Some(0) && !older {
                return resumed;
            }
            let nothing = resumed.code == Some(1) && resumed.said().contains("nothing was changed");
            assert!(nothing || older || resumed.said().contains("resume"), "{run}\nthen\n{resumed}");
        }
        self.armilla(&[&["apply", "lab", "--lab", "-y"][..], &PATIENT].concat()).ends(0)
    }

    /// Every host is exactly so.
    #[track_caller]
    fn is(&self, wanted: &str, story: &str) {
        for host in HOSTS {
            let seen = self.house.sh(host, LOOK);
            let (seen, wanted) = (lines(&seen), lines(wanted));
            assert_eq!(seen, wanted, "{host}: {story}");
        }
    }

    /// Nothing of a run stays: no file that only a run needs, no lock, no connection.
    fn nothing_stays(&self, story: &str) {
        for host in HOSTS {
            let left = self.house.sh(host, LEFT);
            assert!(left.is_empty(), "{host}: {left} stay after {story}");
        }
        let sockets = self.sockets().display().to_string();
        until(&format!("every ssh has ended after {story}"), || !is_named_by_a_process(&sockets));
    }
}

/// What a run waits for after a fault: a lock of an owner that died ends by itself.
const PATIENT: [&str; 2] = ["--lock-timeout", "60s"];

fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim_end().to_owned()).collect()
}

fn is_named_by_a_process(text: &str) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.into_iter().any(|line| {
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains("ssh") && line.contains(text)
    })
}
