//! A host's side of leases, ledgers and journals, by the shells of this machine in a directory of their own.
//!
//! In: requests, orders and instants to be killed at. Out: what really is on the disk, held against the rules in Rust.
//! Never: the state of this machine itself; the scripts are told of another place and another time.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use armilla::lease::{Desk, Holder, Lease, LeaseAnswer, LeaseId, Now, OrderPart, Request, Ticket, grant};
use armilla::ledger::{Journal, Reached};
use armilla::name::{HostName, Owner, RunId};
use armilla::secret::Content;
use armilla::step::{Command, Outcome, Ownership, Probe, Record, Step};
use armilla::transport::script::{
    NoAnswer, Progress, Refusal, lease_script, order_script, parse_lease, parse_readings, read_script,
};
use armilla::transport::{Order, StepEvent};
use proptest::prelude::*;

use crate::script::{Room, shells};
use crate::waiting::until;

const NONCE: &str = "0123456789abcdef0123456789abcdef";

/// A host as far as these scripts know it: a place, a boot and a time.
struct Host {
    room: Room,
    shell: Vec<&'static str>,
}

impl Host {
    fn new(name: &str, shell: &[&'static str]) -> Self {
        let host = Self { room: Room::new(name), shell: shell.to_vec() };
        host.at("boot-1", 1000);
        host
    }

    fn at(&self, boot: &str, uptime: u64) {
        fs::write(self.room.path("boot_id"), format!("{boot}\n")).expect("a boot id");
        fs::write(self.room.path("uptime"), format!("{uptime}.25 1.00\n")).expect("an uptime");
    }

    /// Where it keeps what it must know.
    fn place(&self) -> PathBuf {
        self.room.0.join("var/armilla/host")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.place().join(name)).unwrap_or_default()
    }

    fn script(&self, script: &str) -> String {
        assert!(script.contains("${ARMILLA_HOST_DIR"), "the script keeps nothing");
        // With another boot id, what other tests have in use here would be what a boot left behind.
        let script = script.replace("/run/armilla.", &self.room.path("armilla."));
        let script = script.replace("/run/$o", &self.room.path("$o")).replace("/var/tmp/armilla.", "/nowhere/armilla.");
        let script = script.replace("\"$scratch\"/armilla.*", "/nowhere/armilla.*");
        format!("H=web1\n{}", script.replace("/proc/sys/kernel/random/boot_id", &self.room.path("boot_id")))
    }

    fn start(&self, script: &str) -> Child {
        let mut child = Process::new(self.shell[0])
            .args(&self.shell[1..])
            .args(["-c", "eval \"$(cat)\""])
            .env("ARMILLA_HOST_DIR", self.room.0.join("var/armilla"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if std::env::var_os("SHOW_STDERR").is_some() { Stdio::inherit() } else { Stdio::null() })
            .process_group(0)
            .spawn()
            .expect("the shell starts");
        let text = self.script(script);
        child.stdin.take().expect("its input").write_all(text.as_bytes()).expect("it reads");
        child
    }

    fn run(&self, script: &str) -> Vec<u8> {
        self.start(script).wait_with_output().expect("it ends").stdout
    }

    fn lease(&self, request: &Request) -> Result<LeaseAnswer, NoAnswer> {
        let script = lease_script(request, NONCE).expect("a script");
        let script = script.replace("/proc/uptime", &self.room.path("uptime"));
        parse_lease(NONCE, &self.run(&script))
    }

    fn ask(&self, request: &Request) -> LeaseAnswer {
        self.lease(request).unwrap_or_else(|why| panic!("{:?} {request:?}: {why:?}", self.shell))
    }

    fn acquired(&self, id: &str) -> Ticket {
        match self.ask(&acquire(id, 120, None)) {
            LeaseAnswer::Granted(fence) => ticket(id, fence),
            other => panic!("{:?}: {other:?}", self.shell),
        }
    }

    fn order(&self, steps: &[Step], ticket: &Ticket) -> (Vec<StepEvent>, Result<Vec<Outcome>, Refusal>) {
        let script = order_script(Order { steps, ticket: Some(ticket) }, NONCE).expect("a script");
        let mut progress = Progress::new(NONCE);
        let events = progress.push(&self.run(&script));
        let refusal = progress.refusal().cloned();
        let outcomes = progress.outcomes().unwrap_or_else(|| panic!("{:?}: the answer ends early", self.shell));
        (events, refusal.map_or(Ok(outcomes), Err))
    }

    fn perform(&self, steps: &[Step], ticket: &Ticket) -> Result<Vec<Outcome>, Refusal> {
        self.order(steps, ticket).1
    }

    fn look(&self) -> armilla::step::StateReading {
        let probe = Probe::State;
        let script = read_script(std::slice::from_ref(&probe), NONCE, Duration::from_secs(50));
        let readings = parse_readings(std::slice::from_ref(&probe), NONCE, &self.run(&script)).expect("an answer");
        readings.state(&probe).unwrap_or_else(|why| panic!("{:?}: {why}", self.shell)).clone()
    }

    fn state(&self) -> Record {
        let host = HostName::new("web1").expect("a name");
        self.look().records.remove(&(owner(), host)).unwrap_or_default()
    }

    fn journal(&self) -> Journal {
        let text = self.read(&format!("{FOLDER}/journal"));
        Journal::parse(text.as_bytes()).unwrap_or_else(|why| panic!("{:?}: {why}\n{text}", self.shell))
    }
}

/// Where things are kept for [`owner`].
const FOLDER: &str = "staging@web1@shop-k3fq8w2n7d";

fn owner() -> Owner {
    Owner::parse("staging@shop-k3fq8w2n7d").expect("an owner")
}

fn holder() -> Holder {
    Holder {
        environment: owner().environment,
        project: owner().project,
        run: RunId::new("run-1").expect("a name"),
        who: "ada@desk's \"corner\"\n$(touch pwned)".to_owned(),
        command: "armilla apply 'a\\b' \u{1b}[2J".to_owned(),
        machine: "m".to_owned(),
        boot: "b".to_owned(),
        pid: 7,
        ticks: 8,
        namespace: String::new(),
        since: "2026-01-01T00:00:00Z".to_owned(),
    }
}

fn id(id: &str) -> LeaseId {
    LeaseId(id.to_owned())
}

fn acquire(name: &str, seconds: u32, instead_of: Option<&str>) -> Request {
    Request::Acquire { id: id(name), holder: holder(), seconds, instead_of: instead_of.map(id) }
}

fn ticket(name: &str, fence: u64) -> Ticket {
    Ticket { owner: owner(), id: id(name), fence, intent: None, first: 0, part: OrderPart::Rest }
}

fn intent() -> String {
    let intent = serde_json::json!({
        "version": 1, "applied": {"run": "run-1", "at": "2026-01-01T00:00:00Z", "plan": "p", "who": "it's %s \\ me", "revision": null},
        "stage": 3, "service": null, "entries": [],
    });
    intent.to_string()
}

fn recording(ticket: &Ticket) -> Ticket {
    Ticket { intent: Some(intent()), ..ticket.clone() }
}

fn sh(script: &str) -> Step {
    Step::Run(Command::new(["sh", "-c", script]).within(Duration::from_secs(30)))
}

fn save(ledger: Option<&[u8]>, journal: u64) -> Step {
    Step::SaveLedger { owner: owner(), ledger: ledger.map(<[u8]>::to_vec), journal }
}

#[test]
fn one_at_a_time_gets_a_lease_and_looking_makes_nothing() {
    for shell in shells() {
        let host = Host::new("lease", &shell);
        assert_eq!(host.ask(&Request::Look), LeaseAnswer::Free, "{shell:?}");
        assert_eq!(host.ask(&Request::Renew { id: id("a") }), LeaseAnswer::Lost(None));
        assert_eq!(host.ask(&Request::Release { id: id("a") }), LeaseAnswer::Lost(None));
        assert_eq!(host.state().ledger, None);
        assert!(!host.room.0.join("var").exists(), "{shell:?}: a look made something");
        assert_eq!(host.ask(&acquire("a", 120, None)), LeaseAnswer::Granted(1), "{shell:?}");
        let written: Lease = serde_json::from_str(host.read("lease").lines().next().expect("a line")).expect("a lease");
        assert_eq!((written.holder, written.fence), (holder(), 1));
        for name in ["lease", "fence", "guard", "busy", ""] {
            let mode = fs::metadata(host.place().join(name)).expect(name).permissions().mode() & 0o777;
            assert_eq!(mode, if name.is_empty() { 0o700 } else { 0o600 }, "{shell:?} {name}");
        }
        host.at("boot-1", 1050);
        let LeaseAnswer::Taken(held) = host.ask(&acquire("b", 120, None)) else { panic!("{shell:?}: two") };
        assert_eq!((held.silent, held.busy, held.left()), (50, false, 70));
        assert_eq!(host.ask(&Request::Look), LeaseAnswer::Taken(held.clone()));
        assert_eq!(host.ask(&Request::Renew { id: id("b") }), LeaseAnswer::Lost(Some(held)));
        assert_eq!(host.ask(&Request::Renew { id: id("a") }), LeaseAnswer::Granted(1));
        host.at("boot-1", 1170);
        assert_eq!(host.ask(&acquire("b", 120, None)), LeaseAnswer::Granted(2), "{shell:?}");
        assert!(matches!(host.ask(&Request::Renew { id: id("a") }), LeaseAnswer::Lost(Some(_))));
        assert_eq!(host.ask(&Request::Release { id: id("b") }), LeaseAnswer::Free);
        assert_eq!(
            fs::read_dir(host.room.0.join("var")).expect("it is there").count(),
            0,
            "{shell:?}: something is left"
        );
    }
}

#[test]
fn no_fence_is_given_twice_even_if_a_power_loss_kept_only_the_lease_under_it() {
    for shell in shells() {
        let host = Host::new("loss", &shell);
        assert_eq!(host.ask(&acquire("a", 120, None)), LeaseAnswer::Granted(1), "{shell:?}");
        fs::write(host.place().join("fence"), "0\n").expect("written");
        host.at("boot-2", 130);
        assert_eq!(host.ask(&acquire("b", 120, None)), LeaseAnswer::Granted(2), "{shell:?}");
        fs::remove_file(host.place().join("fence")).expect("it was there");
        host.at("boot-3", 130);
        assert_eq!(host.ask(&acquire("c", 120, None)), LeaseAnswer::Granted(3), "{shell:?}");
    }
}

#[test]
fn an_order_without_the_lease_does_nothing() {
    for shell in shells() {
        let host = Host::new("fence", &shell);
        let sign = host.room.path("sign");
        let steps = [sh(&format!("touch {sign}"))];
        assert_eq!(host.perform(&steps, &ticket("a", 1)), Err(Refusal::Fenced(None)), "{shell:?}");
        let ticket = host.acquired("a");
        let stale = Ticket { fence: 7, ..ticket.clone() };
        assert!(matches!(host.perform(&steps, &stale), Err(Refusal::Fenced(Some(_)))), "{shell:?}");
        assert_eq!(host.ask(&acquire("b", 120, Some("a"))), LeaseAnswer::Granted(2));
        match host.perform(&steps, &recording(&ticket)) {
            Err(Refusal::Fenced(Some(lease))) => assert_eq!((lease.id, lease.holder), (id("b"), holder())),
            other => panic!("{shell:?}: {other:?}"),
        }
        assert!(!PathBuf::from(&sign).exists(), "{shell:?}: it was done");
        assert!(host.state().journal.is_none());
        let other = Ticket { id: id("b"), fence: 2, ..ticket };
        assert_eq!(host.perform(&steps, &other), Ok(vec![Outcome::Done]), "{shell:?}");
        assert!(PathBuf::from(&sign).exists());
    }
}

#[test]
fn a_journal_tells_what_was_done_and_a_ledger_takes_it_in() {
    for shell in shells() {
        let host = Host::new("journal", &shell);
        let ticket = recording(&host.acquired("a"));
        let two = [sh("true"), sh("true")];
        assert_eq!(
            host.perform(&two, &Ticket { part: OrderPart::Piece, ..ticket.clone() }),
            Ok(vec![Outcome::Done; 2])
        );
        let edit = Ticket { first: 2, part: OrderPart::One, ..ticket.clone() };
        assert_eq!(host.perform(&two, &edit), Ok(vec![Outcome::Done; 2]));
        let rest = Ticket { first: 3, ..ticket.clone() };
        assert_eq!(host.perform(&two[..1], &rest), Ok(vec![Outcome::Done]));
        let wanted = format!(
            "stage boot-1 {}\nbegin 0\ndone 0\nbegin 1\ndone 1\nbegin 2\ndone 2\nbegin 3\ndone 3\nover\n",
            intent()
        );
        assert_eq!(host.read(&format!("{FOLDER}/journal")), wanted, "{shell:?}");
        assert!(host.journal().stages[0].over);
        let failing = [sh("true"), sh("exit 7"), sh("true")];
        assert!(matches!(
            host.perform(&failing, &ticket).as_deref(),
            Ok([Outcome::Done, Outcome::Failed { exit: 7, .. }])
        ));
        let stage = &host.journal().stages[1];
        assert_eq!((stage.begun, stage.ended, stage.over), (Some(1), Some(Reached::Failed(7)), false), "{shell:?}");
        let kept = host.state();
        assert_eq!((host.look().boot.as_str(), kept.ledger.as_deref()), ("boot-1", None));
        let read = kept.journal.expect("a journal");
        assert_eq!(String::from_utf8_lossy(&read), host.read(&format!("{FOLDER}/journal")));
        // What came after the look stays.
        assert_eq!(host.perform(&two[..1], &ticket), Ok(vec![Outcome::Done]));
        let plain = Ticket { intent: None, ..ticket.clone() };
        let ledger = b"{\"a\": \"it's %s \\\\\"}\n";
        assert_eq!(
            host.perform(&[save(Some(ledger), read.len() as u64)], &plain),
            Ok(vec![Outcome::Done]),
            "{shell:?}"
        );
        assert_eq!(host.state().ledger.as_deref(), Some(ledger.as_slice()));
        assert_eq!(host.journal().stages.len(), 1, "{shell:?}");
        let length = host.read(&format!("{FOLDER}/journal")).len() as u64;
        assert_eq!(host.perform(&[save(Some(b"2"), length)], &plain), Ok(vec![Outcome::Done]));
        assert_eq!((host.state().ledger.as_deref(), host.state().journal), (Some(b"2".as_slice()), None));
        assert!(
            matches!(host.perform(&[save(None, 0)], &ticket).as_deref(), Ok([Outcome::Failed { .. }])),
            "{shell:?}"
        );
        assert_eq!(host.perform(&[save(None, 9999)], &plain), Ok(vec![Outcome::Done]));
        assert_eq!(host.ask(&Request::Release { id: id("a") }), LeaseAnswer::Free);
        assert!(!host.room.0.join("var/armilla").exists(), "{shell:?}: something is left");
    }
}

/// Takes the lock that an order holds.
fn hold(host: &Host) -> fs::File {
    let busy = fs::OpenOptions::new().append(true).create(true).open(host.place().join("busy")).expect("a lock file");
    busy.lock().expect("a lock");
    busy
}

/// A directory that keeps its files: with an environment in it, nothing is removed with the lease.
fn furnish(host: &Host) {
    fs::create_dir_all(host.place().join(FOLDER)).expect("a directory");
    for path in [host.place(), host.place().join(FOLDER)] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("a mode");
    }
}

fn requests() -> impl Strategy<Value = (Request, u64, bool, bool)> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    let other = prop::option::of(prop::sample::select(vec!["a", "b", "c"]));
    let request = prop_oneof![
        4 => (name.clone(), prop::sample::select(vec![0_u32, 3, 120]), other)
            .prop_map(|(name, seconds, other)| acquire(name, seconds, other)),
        2 => name.clone().prop_map(|name| Request::Renew { id: id(name) }),
        1 => name.clone().prop_map(|name| Request::Release { id: id(name) }),
        2 => prop::sample::select(vec!["a", "b", "c", "ended-a"]).prop_map(|name| Request::Break { id: id(name) }),
        1 => Just(Request::Look),
    ];
    let pause = prop::sample::select(vec![0_u64, 1, 2, 3, 60, 119, 120, 500]);
    (request, pause, prop::bool::weighted(0.2), prop::bool::weighted(0.2))
}

#[test]
fn the_rule_of_a_host_is_the_rule_in_rust() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 12, ..ProptestConfig::default() });
    let all = prop::collection::vec(requests(), 1..14);
    let same = |asked: Vec<(Request, u64, bool, bool)>| {
        for shell in shells() {
            let host = Host::new("rule", &shell);
            furnish(&host);
            let (mut desk, mut boot, mut uptime) = (Desk::default(), 1, 1000);
            for (request, pause, reboot, busy) in &asked {
                if *reboot {
                    (boot, uptime) = (boot + 1, 0);
                }
                uptime += pause;
                let name = format!("boot-{boot}");
                host.at(&name, uptime);
                let held = busy.then(|| hold(&host));
                let wanted = grant(&mut desk, request, Now { boot: &name, uptime, busy: *busy });
                prop_assert_eq!(host.ask(request), wanted, "{:?} {:?} of {:?}", shell, request, asked);
                drop(held);
            }
        }
        Ok(())
    };
    runner.run(&all, same).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn of_two_who_ask_at_once_one_gets_it() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    for shell in shells() {
        // Nothing stays after a release: the files of the locks go, too, while the other waits for them.
        let host = Host::new("race", &shell);
        let wanted = if shell == ["dash"] { 100 } else { 20 };
        let (inside, rounds) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for name in ["a", "b"] {
                let (host, inside, rounds) = (&host, &inside, &rounds);
                scope.spawn(move || {
                    while rounds.load(Ordering::SeqCst) < wanted {
                        match host.ask(&acquire(name, 120, None)) {
                            LeaseAnswer::Granted(_) => {
                                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two have it");
                                rounds.fetch_add(1, Ordering::SeqCst);
                                inside.fetch_sub(1, Ordering::SeqCst);
                                assert_eq!(host.ask(&Request::Release { id: id(name) }), LeaseAnswer::Free);
                            }
                            LeaseAnswer::Taken(held) => assert_ne!(held.lease.id, id(name)),
                            other => panic!("{other:?}"),
                        }
                    }
                });
            }
        });
    }
}

fn busy(host: &Host) -> bool {
    matches!(host.ask(&Request::Look), LeaseAnswer::Taken(held) if held.busy)
}

#[test]
fn while_an_order_runs_nobody_else_gets_in_but_a_sign_of_life_does() {
    for shell in shells() {
        let host = Host::new("busy", &shell);
        let ticket = recording(&host.acquired("a"));
        let [begun, daemon, over] = ["begun", "daemon", "over"].map(|name| host.room.path(name));
        let daemon_step = format!("setsid sleep 300 </dev/null >/dev/null 2>&1 & echo $! >{daemon}");
        let steps = [sh(&format!("touch {begun}; until [ -e {over} ]; do sleep 0.1; done; {daemon_step}"))];
        let script = order_script(Order { steps: &steps, ticket: Some(&ticket) }, NONCE).expect("a script");
        let first = host.start(&script);
        until("the step begins", || PathBuf::from(&begun).exists());
        host.at("boot-1", 5000);
        assert!(busy(&host), "{shell:?}");
        assert!(matches!(host.ask(&acquire("b", 120, Some("a"))), LeaseAnswer::Taken(held) if held.busy), "{shell:?}");
        assert_eq!(host.ask(&Request::Renew { id: id("a") }), LeaseAnswer::Granted(1));
        // The same holder after a lost connection: its next order waits for the end of the one before.
        let next = Ticket { first: 1, ..ticket.clone() };
        let (events, done) = std::thread::scope(|scope| {
            let order = scope.spawn(|| host.order(&[sh("true")], &next));
            std::thread::sleep(Duration::from_secs(3));
            fs::write(&over, "").expect("a file");
            order.join().expect("it ends")
        });
        assert_eq!(done, Ok(vec![Outcome::Done]), "{shell:?}");
        assert!(matches!(&events[0], StepEvent::Waiting { why, .. } if why.contains("earlier order")), "{events:?}");
        first.wait_with_output().expect("it ends");
        let process = fs::read_to_string(&daemon).expect("its number");
        assert!(PathBuf::from(format!("/proc/{}", process.trim())).exists(), "{shell:?}: the daemon is gone");
        let kept = busy(&host);
        assert!(Process::new("kill").arg(process.trim()).status().expect("kill").success());
        assert!(!kept, "{shell:?}: a daemon keeps the lock");
        assert!(
            host.read(&format!("{FOLDER}/journal")).ends_with("begin 0\ndone 0\nover\nbegin 1\ndone 1\nover\n"),
            "{shell:?}"
        );
    }
}

#[test]
fn a_killed_order_leaves_a_journal_of_what_happened() {
    let mut chance = 7_u64;
    for shell in shells() {
        let host = Host::new("killed", &shell);
        let ticket = recording(&host.acquired("a"));
        for round in 0..16 {
            let marks: Vec<String> = (0..6).map(|step| host.room.path(&format!("{round}-{step}"))).collect();
            let steps: Vec<Step> = marks.iter().map(|mark| sh(&format!("sleep 0.03; touch {mark}"))).collect();
            let script = order_script(Order { steps: &steps, ticket: Some(&ticket) }, NONCE).expect("a script");
            let before = host.journal().stages.len();
            let mut child = host.start(&script);
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            std::thread::sleep(Duration::from_millis(20 + (chance >> 33) % 400));
            let all = if round % 2 == 0 { "" } else { "-" };
            let target = format!("{all}{}", child.id());
            let _ = Process::new("kill").args(["-KILL", "--", &target]).stderr(Stdio::null()).status();
            let mut rest = Vec::new();
            let _ = child.stdout.take().expect("its output").read_to_end(&mut rest);
            child.wait().expect("it ends");
            until("the last step is over", || !busy(&host));
            let journal = host.journal();
            let Some(stage) = journal.stages.get(before) else {
                assert!(!PathBuf::from(&marks[0]).exists(), "{shell:?}: done, and nothing says so");
                continue;
            };
            for (step, mark) in marks.iter().enumerate() {
                let done = PathBuf::from(mark).exists();
                match stage.step(step) {
                    Reached::Done => assert!(done, "{shell:?} {round} {step}"),
                    Reached::NotBegun => assert!(!done, "{shell:?} {round} {step}"),
                    Reached::Unknown => {}
                    failed @ Reached::Failed(_) => panic!("{shell:?} {failed:?}"),
                }
            }
        }
    }
}

#[test]
fn a_torn_line_joins_no_other() {
    for shell in shells() {
        let host = Host::new("torn", &shell);
        let ticket = recording(&host.acquired("a"));
        for torn in ["begin 1\nbeg", "stage boot-1 {\"ver", "\0\0\0"] {
            assert_eq!(host.perform(&[sh("true")], &ticket), Ok(vec![Outcome::Done]), "{shell:?}");
            let stages = host.journal().stages.len();
            let path = host.place().join(FOLDER).join("journal");
            let mut file = fs::OpenOptions::new().append(true).open(&path).expect("a journal");
            file.write_all(torn.as_bytes()).expect("written");
            assert_eq!(host.perform(&[sh("true")], &ticket), Ok(vec![Outcome::Done]), "{shell:?}");
            assert_eq!(host.journal().stages.len(), stages + 1, "{shell:?} {torn:?}");
        }
    }
}

#[test]
fn without_room_for_the_journal_nothing_is_begun() {
    for shell in shells() {
        let host = Host::new("full", &shell);
        let ticket = recording(&host.acquired("a"));
        furnish(&host);
        symlink("/dev/full", host.place().join(FOLDER).join("journal")).expect("a link");
        let sign = host.room.path("sign");
        let steps = [sh(&format!("touch {sign}"))];
        match host.perform(&steps, &ticket) {
            Err(Refusal::Unable(why)) => {
                assert!(why.contains(&format!("{FOLDER}/journal")) && why.contains("full"), "{why}");
            }
            other => panic!("{shell:?}: {other:?}"),
        }
        match host.perform(&steps, &Ticket { first: 1, ..ticket }).as_deref() {
            Ok([Outcome::Failed { stderr, .. }]) => {
                assert!(stderr.contains(&format!("{FOLDER}/journal cannot be written")), "{stderr}");
            }
            other => panic!("{shell:?}: {other:?}"),
        }
        assert!(!PathBuf::from(&sign).exists(), "{shell:?}: it was done");
    }
}

#[test]
fn when_the_connection_is_gone_the_end_of_the_running_step_is_written_down() {
    for shell in shells() {
        let host = Host::new("gone", &shell);
        let ticket = recording(&host.acquired("a"));
        let (begun, second) = (host.room.path("begun"), host.room.path("second"));
        let steps = [sh(&format!("touch {begun}; sleep 1; exit 0")), sh(&format!("touch {second}"))];
        let script = order_script(Order { steps: &steps, ticket: Some(&ticket) }, NONCE).expect("a script");
        let mut child = host.start(&script);
        until("the step begins", || PathBuf::from(&begun).exists());
        drop(child.stdout.take());
        child.wait().expect("it ends");
        assert!(host.read(&format!("{FOLDER}/journal")).ends_with("}\nbegin 0\ndone 0\n"), "{shell:?}");
        assert!(!PathBuf::from(&second).exists(), "{shell:?}: another step began");
    }
}

#[test]
fn what_a_killed_order_left_beside_a_file_goes_with_the_next() {
    for shell in shells() {
        let host = Host::new("left", &shell);
        let ticket = host.acquired("a");
        let folder = host.room.0.join("etc");
        fs::create_dir(&folder).expect("a directory");
        let left = folder.join(format!(".armilla-{}-3", "f".repeat(32)));
        fs::write(&left, "half").expect("written");
        fs::write(folder.join(".armilla-archive"), "not ours to take").expect("written");
        let path = folder.join("file").to_str().expect("a path").to_owned();
        let step = Step::WriteFile { path, content: Content::from("new"), ownership: Ownership::default() };
        assert_eq!(host.perform(&[step], &ticket), Ok(vec![Outcome::Done]), "{shell:?}");
        assert!(!left.exists() && folder.join(".armilla-archive").exists(), "{shell:?}");
    }
}

/// The directories for temporary files that the shell with this number made.
fn temporary(host: &Host, process: u32) -> Vec<PathBuf> {
    let names = fs::read_dir(&host.room.0).expect("a directory").flatten().map(|entry| entry.path());
    let mine = format!(".{process}.");
    let is_ours = |path: &PathBuf| {
        path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with("armilla.boot.") && name.contains(&mine)
        })
    };
    names.filter(is_ours).collect()
}

#[test]
fn what_killed_orders_left_goes_with_the_next_lock_and_never_under_an_order_that_runs() {
    for shell in shells() {
        let host = Host::new("swept", &shell);
        let ticket = recording(&host.acquired("a"));
        let folder = host.room.0.join("etc");
        fs::create_dir(&folder).expect("a directory");
        let begun = host.room.path("begun");
        let path = folder.join("file").to_str().expect("a path").to_owned();
        let link = folder.join("link").to_str().expect("a path").to_owned();
        let steps = [
            Step::WriteFile { path, content: Content::from("new"), ownership: Ownership::default() },
            Step::MakeLink { path: link, target: "file".to_owned() },
            sh(&format!("touch {begun}; sleep 300")),
        ];
        let script = order_script(Order { steps: &steps, ticket: Some(&ticket) }, NONCE).expect("a script");
        let mut child = host.start(&script);
        until("the last step begins", || PathBuf::from(&begun).exists());
        assert_eq!(temporary(&host, child.id()).len(), 1, "{shell:?}");
        assert_eq!(host.read(&format!("{FOLDER}/drafts")), format!("{}/\n", folder.display()), "{shell:?}");
        // What the order had not renamed yet, and a ledger and a journal that were being written.
        let file = folder.join(format!(".armilla-{NONCE}-7"));
        let symlink_left = folder.join(format!(".armilla-{NONCE}-8"));
        let others = folder.join(".armilla-archive");
        let news = [".new-ledger", ".new-journal"].map(|name| host.place().join(FOLDER).join(name));
        let make = || {
            for path in news.iter().chain([&file, &others]) {
                fs::write(path, "half").expect("written");
            }
            let _ = symlink("file", &symlink_left);
        };
        make();
        // It runs, and its lock has ended: whoever comes now waits, and removes nothing.
        host.at("boot-1", 9000);
        assert!(matches!(host.ask(&acquire("b", 120, None)), LeaseAnswer::Taken(held) if held.busy), "{shell:?}");
        assert!(file.exists() && news.iter().all(|path| path.exists()), "{shell:?}");
        assert_eq!(temporary(&host, child.id()).len(), 1, "{shell:?}");

        let group = format!("-{}", child.id());
        assert!(Process::new("kill").args(["-KILL", "--", &group]).status().expect("kill").success());
        child.wait().expect("it ends");
        until("nothing runs", || !busy(&host));
        // The nonce of another conversation than the one that is asked now.
        let other = |path: &PathBuf| PathBuf::from(path.to_str().expect("a path").replace(NONCE, &"e".repeat(32)));
        fs::rename(&file, other(&file)).expect("renamed");
        fs::rename(&symlink_left, other(&symlink_left)).expect("renamed");
        assert_eq!(host.ask(&acquire("b", 120, None)), LeaseAnswer::Granted(2), "{shell:?}");
        for path in news.iter().chain([&other(&file), &host.place().join(FOLDER).join("drafts")]) {
            assert!(!path.exists(), "{shell:?}: {} is left", path.display());
        }
        assert!(fs::symlink_metadata(other(&symlink_left)).is_err() && others.exists(), "{shell:?}");
        assert_eq!(temporary(&host, child.id()), Vec::<PathBuf>::new(), "{shell:?}");
        assert!(folder.join("file").exists() && folder.join("link").exists(), "what was done stays");
    }
}

#[test]
fn a_directory_of_another_boot_goes_and_one_of_a_living_shell_stays() {
    for shell in shells() {
        let host = Host::new("boots", &shell);
        let stat = fs::read_to_string("/proc/self/stat").expect("a process");
        let ticks =
            stat.rsplit_once(')').expect("a name").1.split_whitespace().nth(19).expect("its beginning").to_owned();
        let us = std::process::id();
        let name = |boot: &str, ticks: &str| PathBuf::from(host.room.path(&format!("armilla.{boot}.{us}.{ticks}.x")));
        let (alive, before, again) = (name("boot", &ticks), name("earlier", &ticks), name("boot", "1"));
        let strange = PathBuf::from(host.room.path(&format!("armilla.boot.x.{us}.of-somebody")));
        for folder in [&alive, &before, &again, &strange] {
            let _ = fs::remove_dir_all(folder);
            fs::create_dir(folder).expect("a directory");
        }
        host.acquired("a");
        let left: Vec<bool> = [&alive, &before, &again, &strange].map(|folder| folder.exists()).into();
        for folder in [&alive, &before, &again, &strange] {
            let _ = fs::remove_dir_all(folder);
        }
        assert_eq!(left, [true, false, false, true], "{shell:?}");
    }
}

#[test]
#[ignore = "needs root: gives a folder to another user"]
fn a_place_that_others_could_have_made_is_not_believed() {
    for shell in shells() {
        let host = Host::new("attack", &shell);
        let unable = |what: &str| match host.lease(&acquire("a", 120, None)) {
            Err(NoAnswer::Unable(why)) => {
                assert!(why.contains(host.place().to_str().expect("a path")), "{shell:?} {what}: {why}");
            }
            other => panic!("{shell:?} {what}: {other:?}"),
        };
        let elsewhere = host.room.0.join("elsewhere");
        fs::create_dir(&elsewhere).expect("a directory");
        fs::create_dir_all(host.place().parent().expect("a parent")).expect("a directory");
        symlink(&elsewhere, host.place()).expect("a link");
        unable("a link");
        assert_eq!(fs::read_dir(&elsewhere).expect("a directory").count(), 0, "{shell:?}: written through a link");
        fs::remove_file(host.place()).expect("removed");
        furnish(&host);
        fs::set_permissions(host.place(), fs::Permissions::from_mode(0o777)).expect("a mode");
        unable("open to all");
        fs::set_permissions(host.place(), fs::Permissions::from_mode(0o720)).expect("a mode");
        unable("open to a group");
        fs::set_permissions(host.place(), fs::Permissions::from_mode(0o700)).expect("a mode");
        std::os::unix::fs::chown(host.place(), Some(65534), None).expect("giving a folder away needs root");
        unable("another's");
        std::os::unix::fs::chown(host.place(), Some(0), None).expect("an owner");
        for damaged in
            ["{\"version\":2,\"id\":\"x\"}\nboot-1 3\n", "", "{}\n", "{\"version\":1,\"id\":\"a\",\"fence\":x,\n\n"]
        {
            fs::write(host.place().join("lease"), damaged).expect("written");
            unable(damaged);
        }
    }
}
