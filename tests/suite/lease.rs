//! A host's lock, journals and ledgers, by the host program in a directory of its own.
//!
//! In: requests, orders and instants to be killed at. Out: what really is on the disk. Never: what this machine itself keeps, and
//! no clock but its own; the rules at any time and after any boot are tested in `src/host/keep`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use armilla::host::wire::{self, Answer, Refusal};
use armilla::lease::{Holder, LeaseAnswer, LeaseId, Request, Ticket};
use armilla::ledger::{Journal, Reached};
use armilla::name::{HostName, Owner, RunId};
use armilla::secret::Content;
use armilla::step::{Command, Outcome, Ownership, Probe, Record, StateReading, Step};

use crate::host::{Room, ask, call, kill_all, outcomes, program_after, program_in, read_by, start};
use crate::waiting::until;

/// A host: this machine, with another place for what armilla keeps on it.
struct Host(Room);

impl Host {
    fn new(name: &str) -> Self {
        Self(Room::new(&format!("lease-{name}")))
    }

    fn path(&self, name: &str) -> String {
        self.0.path(name)
    }

    /// Where it keeps what it must know.
    fn place(&self) -> PathBuf {
        self.0.0.join("kept/host")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.place().join(name)).unwrap_or_default()
    }

    fn lease(&self, request: Request) -> Answer {
        ask(program_in(&self.0), wire::Request::Lease(request)).pop().expect("an answer")
    }

    fn ask(&self, request: Request) -> LeaseAnswer {
        match self.lease(request) {
            Answer::Lease(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn acquired(&self, id: &str) -> Ticket {
        self.acquired_for(id, 120)
    }

    fn acquired_for(&self, id: &str, seconds: u32) -> Ticket {
        match self.ask(acquire(id, seconds, None)) {
            LeaseAnswer::Granted(fence) => ticket(id, fence),
            other => panic!("{other:?}"),
        }
    }

    fn order(&self, steps: &[Step], ticket: &Ticket) -> Vec<Answer> {
        ask(program_in(&self.0), perform(steps, ticket, None))
    }

    fn perform(&self, steps: &[Step], ticket: &Ticket) -> Result<Vec<Outcome>, Refusal> {
        outcomes(&self.order(steps, ticket))
    }

    /// An order that a test does not wait for, in a process group of its own.
    fn start(&self, steps: &[Step], ticket: &Ticket, crash_at: Option<usize>) -> Child {
        let mut program = program_in(&self.0);
        program.process_group(0);
        start(program, call(perform(steps, ticket, crash_at)))
    }

    fn look(&self) -> StateReading {
        let probe = Probe::State;
        let readings = read_by(program_in(&self.0), std::slice::from_ref(&probe));
        readings.state(&probe).unwrap_or_else(|why| panic!("{why}")).clone()
    }

    fn state(&self) -> Record {
        let host = HostName::new("web1").expect("a name");
        self.look().records.remove(&(owner(), host)).unwrap_or_default()
    }

    fn journal(&self) -> Journal {
        let text = self.read(&format!("{FOLDER}/journal"));
        Journal::parse(text.as_bytes()).unwrap_or_else(|why| panic!("{why}\n{text}"))
    }

    fn is_busy(&self) -> bool {
        matches!(self.ask(Request::Look), LeaseAnswer::Taken(held) if held.busy)
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

fn perform(steps: &[Step], ticket: &Ticket, crash_at: Option<usize>) -> wire::Request {
    wire::Request::Perform { steps: steps.to_vec(), ticket: Some(ticket.clone()), crash_at }
}

fn ticket(name: &str, fence: u64) -> Ticket {
    Ticket { owner: owner(), id: id(name), fence, intent: None, first: 0 }
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

fn write(path: &str) -> Step {
    Step::WriteFile { path: path.to_owned(), content: Content::from("new"), ownership: Ownership::default() }
}

fn save(ledger: Option<&[u8]>, journal: u64) -> Step {
    Step::SaveLedger { owner: owner(), ledger: ledger.map(<[u8]>::to_vec), journal }
}

/// The boot id, as this machine says it.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot id").trim_end().to_owned()
}

// -- the lock -----------------------------------------------------------------------------------------------------------

#[test]
fn one_at_a_time_gets_the_lock_and_looking_makes_nothing() {
    let host = Host::new("one");
    assert_eq!(host.ask(Request::Look), LeaseAnswer::Free);
    assert_eq!(host.ask(Request::Renew { id: id("a") }), LeaseAnswer::Lost(None));
    assert_eq!(host.ask(Request::Release { id: id("a") }), LeaseAnswer::Lost(None));
    assert_eq!(host.state().ledger, None);
    assert!(!Path::new(&host.path("kept")).exists(), "a look made something");
    assert_eq!(host.ask(acquire("a", 120, None)), LeaseAnswer::Granted(1));
    for name in ["lease", "fence", "guard", "busy", ""] {
        let mode = fs::metadata(host.place().join(name)).expect(name).permissions().mode() & 0o777;
        assert_eq!(mode, if name.is_empty() { 0o700 } else { 0o600 }, "{name}");
    }
    let LeaseAnswer::Taken(held) = host.ask(acquire("b", 120, None)) else { panic!("two") };
    assert_eq!((&held.lease.holder, held.lease.fence, held.busy), (&holder(), 1, false));
    assert!(held.silent < 120 && held.left() > 0, "{held:?}");
    assert!(matches!(host.ask(Request::Renew { id: id("b") }), LeaseAnswer::Lost(Some(_))));
    assert_eq!(host.ask(Request::Renew { id: id("a") }), LeaseAnswer::Granted(1));
    assert_eq!(host.ask(acquire("b", 0, Some("a"))), LeaseAnswer::Granted(2));
    assert!(matches!(host.ask(Request::Renew { id: id("a") }), LeaseAnswer::Lost(Some(_))));
    assert_eq!(host.ask(acquire("c", 120, None)), LeaseAnswer::Granted(3), "its time is over");
    assert_eq!(host.ask(Request::Release { id: id("c") }), LeaseAnswer::Free);
    assert!(!Path::new(&host.path("kept")).exists(), "something is left");
}

#[test]
fn of_two_programs_that_ask_at_once_one_gets_it() {
    // Nothing stays after a release: the files of the locks go, too, while the other waits for them.
    let host = Host::new("race");
    let (inside, rounds) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            let (host, inside, rounds) = (&host, &inside, &rounds);
            scope.spawn(move || {
                while rounds.load(Ordering::SeqCst) < 100 {
                    match host.ask(acquire(name, 120, None)) {
                        LeaseAnswer::Granted(_) => {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two have it");
                            rounds.fetch_add(1, Ordering::SeqCst);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            assert_eq!(host.ask(Request::Release { id: id(name) }), LeaseAnswer::Free);
                        }
                        LeaseAnswer::Taken(held) => assert_ne!(held.lease.id, id(name)),
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
}

#[test]
fn a_place_behind_a_link_is_not_believed() {
    let host = Host::new("link");
    let elsewhere = host.0.0.join("elsewhere");
    fs::create_dir(&elsewhere).expect("a directory");
    fs::create_dir(host.path("kept")).expect("a directory");
    symlink(&elsewhere, host.place()).expect("a link");
    match host.lease(acquire("a", 120, None)) {
        Answer::Refused(Refusal::Unable(why)) => assert!(why.contains(host.place().to_str().expect("a path")), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_dir(&elsewhere).expect("a directory").count(), 0, "written through a link");
}

#[test]
fn an_order_without_the_lock_does_nothing() {
    let host = Host::new("fence");
    let sign = host.path("sign");
    let steps = [sh(&format!("touch {sign}"))];
    assert_eq!(host.perform(&steps, &ticket("a", 1)), Err(Refusal::Fenced(None)));
    let ticket = host.acquired("a");
    let stale = Ticket { fence: 7, ..ticket.clone() };
    assert!(matches!(host.perform(&steps, &stale), Err(Refusal::Fenced(Some(_)))));
    assert_eq!(host.ask(acquire("b", 120, Some("a"))), LeaseAnswer::Granted(2));
    match host.perform(&steps, &recording(&ticket)) {
        Err(Refusal::Fenced(Some(lease))) => assert_eq!((lease.id, lease.holder), (id("b"), holder())),
        other => panic!("{other:?}"),
    }
    assert!(!Path::new(&sign).exists(), "it was done");
    assert!(host.state().journal.is_none());
    let other = Ticket { id: id("b"), fence: 2, ..ticket };
    assert_eq!(host.perform(&steps, &other), Ok(vec![Outcome::Done]));
    assert!(Path::new(&sign).exists());
}

#[test]
fn while_an_order_runs_nobody_else_gets_in_but_a_sign_of_life_does() {
    let host = Host::new("busy");
    let ticket = recording(&host.acquired("a"));
    let [begun, daemon, over] = ["begun", "daemon", "over"].map(|name| host.path(name));
    let daemon_step = format!("setsid sleep 300 </dev/null >/dev/null 2>&1 & echo $! >{daemon}");
    let steps = [sh(&format!("touch {begun}; until [ -e {over} ]; do sleep 0.1; done; {daemon_step}"))];
    let first = host.start(&steps, &ticket, None);
    until("the step begins", || Path::new(&begun).exists());
    assert!(host.is_busy());
    assert!(matches!(host.ask(acquire("b", 120, Some("a"))), LeaseAnswer::Taken(held) if held.busy));
    assert_eq!(host.ask(Request::Renew { id: id("a") }), LeaseAnswer::Granted(1));
    // The same holder after a lost connection: its next order waits for the end of the one before.
    let next = Ticket { first: 1, ..ticket.clone() };
    let answers = std::thread::scope(|scope| {
        let order = scope.spawn(|| host.order(&[sh("true")], &next));
        std::thread::sleep(Duration::from_secs(3));
        fs::write(&over, "").expect("a file");
        order.join().expect("it ends")
    });
    assert_eq!(outcomes(&answers), Ok(vec![Outcome::Done]));
    assert!(matches!(&answers[0], Answer::Waiting(0, why) if why.contains("earlier order")), "{answers:?}");
    first.wait_with_output().expect("it ends");
    let process = fs::read_to_string(&daemon).expect("its number");
    let process = process.trim().parse().expect("a number");
    assert!(Path::new(&format!("/proc/{process}")).exists(), "the daemon is gone");
    let kept = host.is_busy();
    kill_all(&[process]);
    assert!(!kept, "a daemon keeps the lock");
    assert!(host.read(&format!("{FOLDER}/journal")).ends_with("begin 0\ndone 0\nover\nbegin 1\ndone 1\nover\n"));
}

// -- the journal and the ledger -----------------------------------------------------------------------------------------

#[test]
fn a_journal_tells_what_was_done() {
    let host = Host::new("journal");
    let ticket = recording(&host.acquired("a"));
    let two = [sh("true"), sh("true")];
    assert_eq!(host.perform(&two, &ticket), Ok(vec![Outcome::Done; 2]));
    let (boot, intent) = (boot(), intent());
    let wanted = format!("stage {boot} {intent}\nbegin 0\ndone 0\nbegin 1\ndone 1\nover\n");
    assert_eq!(host.read(&format!("{FOLDER}/journal")), wanted);
    assert!(host.journal().stages[0].over);
    let failing = [sh("true"), sh("exit 7"), sh("true")];
    let done = host.perform(&failing, &ticket);
    assert!(matches!(done.as_deref(), Ok([Outcome::Done, Outcome::Failed { exit: 7, .. }])), "{done:?}");
    let stage = &host.journal().stages[1];
    assert_eq!((stage.begun, stage.ended, stage.over), (Some(1), Some(Reached::Failed(7)), false));
}

#[test]
fn a_ledger_takes_in_what_was_read_of_a_journal() {
    let host = Host::new("ledger");
    let ticket = recording(&host.acquired("a"));
    let one = [sh("true")];
    assert_eq!(host.perform(&one, &ticket), Ok(vec![Outcome::Done]));
    let kept = host.state();
    assert_eq!((host.look().boot, kept.ledger), (boot(), None));
    let read = kept.journal.expect("a journal");
    assert_eq!(String::from_utf8_lossy(&read), host.read(&format!("{FOLDER}/journal")));
    // What came after the look stays.
    assert_eq!(host.perform(&one, &ticket), Ok(vec![Outcome::Done]));
    let plain = Ticket { intent: None, ..ticket.clone() };
    let ledger = b"{\"a\": \"it's %s \\\\\"}\n";
    assert_eq!(host.perform(&[save(Some(ledger), read.len() as u64)], &plain), Ok(vec![Outcome::Done]));
    assert_eq!(host.state().ledger.as_deref(), Some(ledger.as_slice()));
    assert_eq!(host.journal().stages.len(), 1);
    let length = host.read(&format!("{FOLDER}/journal")).len() as u64;
    assert_eq!(host.perform(&[save(Some(b"2"), length)], &plain), Ok(vec![Outcome::Done]));
    assert_eq!((host.state().ledger.as_deref(), host.state().journal), (Some(b"2".as_slice()), None));
    let wrong = host.perform(&[save(None, 0)], &ticket);
    assert!(matches!(wrong.as_deref(), Ok([Outcome::Failed { .. }])), "{wrong:?}");
    assert_eq!(host.perform(&[save(None, 9999)], &plain), Ok(vec![Outcome::Done]));
    assert_eq!(host.ask(Request::Release { id: id("a") }), LeaseAnswer::Free);
    assert!(!Path::new(&host.path("kept")).exists(), "something is left");
}

#[test]
fn without_room_for_the_journal_nothing_is_begun() {
    let host = Host::new("full");
    let ticket = recording(&host.acquired("a"));
    let sign = host.path("sign");
    let steps = [sh(&format!("touch {sign}"))];
    // No file may become longer than it is.
    let full = |ticket: &Ticket| {
        let mut program = program_after("trap '' XFSZ; ulimit -f 0");
        program.env("ARMILLA_HOST_DIR", host.path("kept"));
        outcomes(&ask(program, perform(&steps, ticket, None)))
    };
    match full(&ticket) {
        Err(Refusal::Unable(why)) => {
            assert!(why.contains(&format!("{FOLDER}/journal")) && why.contains("full"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    match full(&Ticket { first: 1, ..ticket }).as_deref() {
        Ok([Outcome::Failed { stderr, .. }]) => {
            assert!(stderr.contains(&format!("{FOLDER}/journal cannot be written")), "{stderr}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!Path::new(&sign).exists(), "it was done");
}

#[test]
fn when_the_connection_is_gone_the_end_of_the_running_step_is_written_down() {
    let host = Host::new("gone");
    let ticket = recording(&host.acquired("a"));
    let (begun, second) = (host.path("begun"), host.path("second"));
    let steps = [sh(&format!("touch {begun}; sleep 1; exit 0")), sh(&format!("touch {second}"))];
    let mut child = host.start(&steps, &ticket, None);
    until("the step begins", || Path::new(&begun).exists());
    drop(child.stdout.take());
    child.wait().expect("it ends");
    assert!(host.read(&format!("{FOLDER}/journal")).ends_with("}\nbegin 0\ndone 0\n"));
    assert!(!Path::new(&second).exists(), "another step began");
}

// -- killed -------------------------------------------------------------------------------------------------------------

/// What the journal says of a stage, held against the marks that its steps made.
fn compare(host: &Host, stages: usize, marks: &[String], when: &str) {
    let journal = host.journal();
    let Some(stage) = journal.stages.get(stages) else {
        assert!(!Path::new(&marks[0]).exists(), "{when}: done, and nothing says so");
        return;
    };
    for (step, mark) in marks.iter().enumerate() {
        let done = Path::new(mark).exists();
        match stage.step(step) {
            Reached::Done => assert!(done, "{when}, step {step}"),
            Reached::NotBegun => assert!(!done, "{when}, step {step}"),
            Reached::Unknown => {}
            failed @ Reached::Failed(_) => panic!("{when}: {failed:?}"),
        }
    }
}

#[test]
fn a_killed_order_leaves_a_journal_of_what_happened() {
    let mut chance = 7_u64;
    let host = Host::new("killed");
    let ticket = recording(&host.acquired("a"));
    for round in 0..24 {
        let marks: Vec<String> = (0..6).map(|step| host.path(&format!("{round}-{step}"))).collect();
        let steps: Vec<Step> = marks.iter().map(|mark| sh(&format!("sleep 0.03; touch {mark}"))).collect();
        let before = host.journal().stages.len();
        let mut child = host.start(&steps, &ticket, None);
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(20 + (chance >> 33) % 400));
        let program = child.id().cast_signed();
        // With all that it started, or alone; then a step may go on for a while.
        if round % 2 == 0 {
            kill_all(&crate::ssh::children(program));
        }
        kill_all(&[program]);
        child.wait().expect("it ends");
        std::thread::sleep(Duration::from_millis(300));
        compare(&host, before, &marks, &format!("round {round}"));
    }
}

#[test]
fn while_a_step_of_a_killed_order_goes_on_nobody_else_gets_in() {
    let host = Host::new("orphan");
    let ticket = recording(&host.acquired_for("a", 0));
    let [begun, over] = ["begun", "over"].map(|name| host.path(name));
    let steps = [sh(&format!("touch {begun}; until [ -e {over} ]; do sleep 0.05; done"))];
    let mut child = host.start(&steps, &ticket, None);
    until("the step begins", || Path::new(&begun).exists());
    kill_all(&[child.id().cast_signed()]);
    child.wait().expect("it ends");
    assert!(host.is_busy());
    assert!(matches!(host.ask(acquire("b", 120, None)), LeaseAnswer::Taken(held) if held.busy));
    let next = Ticket { first: 1, ..ticket };
    let done = std::thread::scope(|scope| {
        let order = scope.spawn(|| host.perform(&[sh(&format!("[ -e {over} ]"))], &next));
        std::thread::sleep(Duration::from_secs(1));
        fs::write(&over, "").expect("a file");
        order.join().expect("it ends")
    });
    assert_eq!(done, Ok(vec![Outcome::Done]));
    assert_eq!(host.ask(acquire("b", 120, None)), LeaseAnswer::Granted(2));
}

#[test]
fn at_every_crash_point_the_journal_tells_what_happened_and_the_next_order_works() {
    let mut points = 0;
    for point in 1.. {
        let host = Host::new(&format!("point-{point}"));
        let ticket = recording(&host.acquired("a"));
        let marks = ["one", "two", "three"].map(|name| host.path(name));
        let steps = [write(&marks[0]), write(&marks[1]), sh(&format!("touch {}", marks[2]))];
        let mut child = host.start(&steps, &ticket, Some(point));
        let over = child.wait().expect("it ends").success();
        let when = format!("crash point {point}");
        compare(&host, 0, &marks, &when);
        let left = |name: &String| name.starts_with(".armilla-");
        let again = Ticket { first: 1, ..ticket };
        assert_eq!(host.perform(&[write(&marks[0])], &again), Ok(vec![Outcome::Done]), "{when}");
        assert!(!host.0.names().iter().any(left), "{when}: {:?}", host.0.names());
        if over {
            break;
        }
        points = point;
    }
    assert!(points > 12, "only {points} crash points");
}

#[test]
fn what_a_killed_order_left_beside_a_file_goes_with_the_next() {
    let host = Host::new("left");
    let ticket = host.acquired("a");
    let folder = host.0.0.join("etc");
    fs::create_dir(&folder).expect("a directory");
    let left = folder.join(format!(".armilla-{}-3", "f".repeat(32)));
    fs::write(&left, "half").expect("written");
    fs::write(folder.join(".armilla-archive"), "not ours to take").expect("written");
    assert_eq!(host.perform(&[write(&host.path("etc/file"))], &ticket), Ok(vec![Outcome::Done]));
    assert!(!left.exists() && folder.join(".armilla-archive").exists());
}

#[test]
fn what_killed_orders_left_goes_with_the_next_lock_and_never_under_an_order_that_runs() {
    let host = Host::new("swept");
    // Its time is over at once: whoever comes gets the lock when no order runs.
    let ticket = recording(&host.acquired_for("a", 0));
    let folder = host.0.0.join("etc");
    fs::create_dir(&folder).expect("a directory");
    let begun = host.path("begun");
    let steps = [
        write(&host.path("etc/file")),
        Step::MakeLink { path: host.path("etc/link"), target: "file".to_owned() },
        sh(&format!("touch {begun}; sleep 300")),
    ];
    let mut child = host.start(&steps, &ticket, None);
    until("the last step begins", || Path::new(&begun).exists());
    assert_eq!(host.read(&format!("{FOLDER}/drafts")), format!("{}/\n", folder.display()));
    // What the order had not renamed yet, and a ledger and a journal that were being written.
    let half = folder.join(format!(".armilla-{}-7", "e".repeat(32)));
    let link = folder.join(format!(".armilla-{}-8", "e".repeat(32)));
    let others = folder.join(".armilla-archive");
    let news = [".new-ledger", ".new-journal"].map(|name| host.place().join(FOLDER).join(name));
    for path in news.iter().chain([&half, &others]) {
        fs::write(path, "half").expect("written");
    }
    symlink("file", &link).expect("a link");
    assert!(matches!(host.ask(acquire("b", 120, None)), LeaseAnswer::Taken(held) if held.busy));
    assert!(half.exists() && news.iter().all(|path| path.exists()), "it was swept under an order that runs");
    let program = child.id().cast_signed();
    kill_all(&[crate::ssh::children(program), vec![program]].concat());
    child.wait().expect("it ends");
    until("nothing runs", || !host.is_busy());
    assert_eq!(host.ask(acquire("b", 120, None)), LeaseAnswer::Granted(2));
    for path in news.iter().chain([&half, &host.place().join(FOLDER).join("drafts")]) {
        assert!(!path.exists(), "{} is left", path.display());
    }
    assert!(fs::symlink_metadata(&link).is_err() && others.exists());
    assert!(folder.join("file").exists() && folder.join("link").exists(), "what was done stays");
}
