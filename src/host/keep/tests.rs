//! What is kept, on real directories, held against the rules.

use std::cell::RefCell;
use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::super::place::Surroundings;
use super::folder::Lock;
use super::journal::Journal;
use super::lock::{Refusal, admit, lease};
use super::*;
use crate::lease::{Desk, Holder, Lease, LeaseAnswer, LeaseId, Now, Request, Ticket, grant};
use crate::name::RunId;

/// A host: a place and a time.
pub(in crate::host) struct Host {
    pub(in crate::host) room: Room,
    place: Place,
    name: HostName,
    uptime: RefCell<Uptime>,
}

/// A directory for a test.
pub(in crate::host) enum Room {
    /// It goes with the test.
    Ours(tempfile::TempDir),
    /// It stays.
    Others(PathBuf),
}

impl Room {
    pub(in crate::host) fn path(&self) -> &Path {
        match self {
            Self::Ours(room) => room.path(),
            Self::Others(room) => room,
        }
    }
}

pub(in crate::host) fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

impl Host {
    pub(in crate::host) fn new() -> Self {
        Self::in_room(Room::Ours(tempfile::tempdir().expect("a directory")))
    }

    /// In the directory of another process.
    pub(in crate::host) fn at_room(room: &Path) -> Self {
        Self::in_room(Room::Others(room.to_owned()))
    }

    fn in_room(room: Room) -> Self {
        let directory = room.path().join("var/armilla");
        let around = Surroundings { host_dir: directory.to_str(), ..Surroundings::default() };
        let place = Place::of(me(), around).expect("a place");
        let uptime = RefCell::new(Uptime { boot: "boot-1".to_owned(), seconds: 1000 });
        Self { room, place, name: HostName::new("web1").expect("a name"), uptime }
    }

    fn at(&self, boot: &str, seconds: u64) {
        *self.uptime.borrow_mut() = Uptime { boot: boot.to_owned(), seconds };
    }

    /// Does something with what is kept.
    pub(in crate::host) fn with<T>(&self, work: impl FnOnce(Keep<'_>) -> T) -> T {
        let uptime = || Ok(self.uptime.borrow().clone());
        let home = |user: &str| match user {
            "ada" => Some(self.room.path().join("home/ada").display().to_string()),
            "nobody" => Some("/nonexistent".to_owned()),
            _ => None,
        };
        work(Keep { place: &self.place, host: &self.name, uptime: &uptime, home: &home })
    }

    pub(in crate::host) fn place(&self) -> PathBuf {
        self.place.directory().to_owned()
    }

    pub(in crate::host) fn folder(&self) -> PathBuf {
        self.place().join(FOLDER)
    }

    pub(in crate::host) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.place().join(name)).unwrap_or_default()
    }

    fn ask(&self, request: &Request) -> LeaseAnswer {
        self.with(|keep| lease(keep, request)).expect("an answer")
    }

    fn acquired(&self, name: &str) -> Ticket {
        match self.ask(&acquire(name, 120, None)) {
            LeaseAnswer::Granted(fence) => ticket(name, fence),
            other => panic!("{other:?}"),
        }
    }

    fn admitted(&self, ticket: &Ticket) -> std::result::Result<lock::Admitted, Refusal> {
        self.with(|keep| admit(keep, ticket, &mut |_| ControlFlow::Break(())))
    }

    /// Takes the lock that an order holds.
    fn hold(&self) -> Lock {
        let busy = fs::OpenOptions::new().append(true).create(true).open(self.place().join("busy")).expect("a file");
        let busy = Lock::new(busy);
        assert!(busy.take_within(Duration::ZERO).expect("a lock"), "others hold it");
        busy
    }
}

/// Where things are kept for [`owner`].
pub(in crate::host) const FOLDER: &str = "staging@web1@shop-k3fq8w2n7d";

pub(in crate::host) fn owner() -> Owner {
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
    Ticket { owner: owner(), id: id(name), fence, intent: None, first: 0 }
}

fn recording(first: usize) -> Ticket {
    Ticket { intent: Some("{\"intent\": \"it's %s \\\\ me\"}".to_owned()), first, ..ticket("a", 1) }
}

// -- the lock -----------------------------------------------------------------------------------------------------------

#[test]
fn one_at_a_time_gets_a_lease_and_looking_makes_nothing() {
    let host = Host::new();
    assert_eq!(host.ask(&Request::Look), LeaseAnswer::Free);
    assert_eq!(host.ask(&Request::Renew { id: id("a") }), LeaseAnswer::Lost(None));
    assert_eq!(host.ask(&Request::Release { id: id("a") }), LeaseAnswer::Lost(None));
    assert!(!host.room.path().join("var").exists(), "a look made something");
    assert_eq!(host.ask(&acquire("a", 120, None)), LeaseAnswer::Granted(1));
    let written: Lease = serde_json::from_str(host.read("lease").lines().next().expect("a line")).expect("a lease");
    assert_eq!((written.holder, written.fence), (holder(), 1));
    for name in ["lease", "fence", "guard", "busy", ""] {
        let mode = fs::metadata(host.place().join(name)).expect(name).permissions().mode() & 0o777;
        assert_eq!(mode, if name.is_empty() { 0o700 } else { 0o600 }, "{name}");
    }
    host.at("boot-1", 1050);
    let LeaseAnswer::Taken(held) = host.ask(&acquire("b", 120, None)) else { panic!("two") };
    assert_eq!((held.silent, held.busy, held.left()), (50, false, 70));
    assert_eq!(host.ask(&Request::Look), LeaseAnswer::Taken(held.clone()));
    assert_eq!(host.ask(&Request::Renew { id: id("b") }), LeaseAnswer::Lost(Some(held)));
    assert_eq!(host.ask(&Request::Renew { id: id("a") }), LeaseAnswer::Granted(1));
    host.at("boot-1", 1170);
    assert_eq!(host.ask(&acquire("b", 120, None)), LeaseAnswer::Granted(2));
    assert!(matches!(host.ask(&Request::Renew { id: id("a") }), LeaseAnswer::Lost(Some(_))));
    assert_eq!(host.ask(&Request::Release { id: id("b") }), LeaseAnswer::Free);
    assert_eq!(fs::read_dir(host.room.path().join("var")).expect("it is there").count(), 0, "something is left");
}

#[test]
fn the_files_are_those_of_every_armilla_before() {
    let host = Host::new();
    host.ask(&acquire("a", 120, None));
    let holder = serde_json::to_string(&holder()).expect("a holder");
    // The shell finds the parts by these very texts, and in this order.
    let line = format!("{{\"version\":1,\"id\":\"a\",\"fence\":1,\"seconds\":120,\"holder\":{holder}}}");
    assert_eq!((host.read("fence"), host.read("lease")), ("1\n".to_owned(), format!("{line}\nboot-1 1000\n")));
    // What a newer one has written is kept as it is by a sign of life.
    let newer = line.replace("\"seconds\"", "\"more\":[1],\"seconds\"");
    fs::write(host.place().join("lease"), format!("{newer}\nboot-1 1000\n")).expect("written");
    host.at("boot-1", 1007);
    assert_eq!(host.ask(&Request::Renew { id: id("a") }), LeaseAnswer::Granted(1));
    assert_eq!(host.read("lease"), format!("{newer}\nboot-1 1007\n"));
    // Released in the middle of an order.
    let busy = host.hold();
    host.at("boot-1", 1010);
    assert_eq!(host.ask(&Request::Release { id: id("a") }), LeaseAnswer::Free);
    let ended = line.replace("\"id\":\"a\"", "\"id\":\"ended-a\"").replace("\"seconds\":120", "\"seconds\":0");
    assert_eq!(host.read("lease"), format!("{ended}\nboot-1 1007\n"));
    drop(busy);
}

#[test]
fn no_fence_is_given_twice_even_if_a_power_loss_kept_only_the_lease_under_it() {
    let host = Host::new();
    assert_eq!(host.ask(&acquire("a", 120, None)), LeaseAnswer::Granted(1));
    fs::write(host.place().join("fence"), "0\n").expect("written");
    host.at("boot-2", 130);
    assert_eq!(host.ask(&acquire("b", 120, None)), LeaseAnswer::Granted(2));
    fs::remove_file(host.place().join("fence")).expect("it was there");
    host.at("boot-3", 130);
    assert_eq!(host.ask(&acquire("c", 120, None)), LeaseAnswer::Granted(3));
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
    (request, pause, prop::bool::weighted(0.2), prop::bool::weighted(0.1))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_host_writes_down_is_the_rule(asked in prop::collection::vec(requests(), 1..14)) {
        let host = Host::new();
        // With an environment in it, nothing is removed with the lease.
        fs::create_dir_all(host.folder()).expect("a directory");
        fs::set_permissions(host.place(), fs::Permissions::from_mode(0o700)).expect("a mode");
        let (mut desk, mut boot, mut uptime) = (Desk::default(), 1, 1000);
        for (request, pause, reboot, busy) in &asked {
            if *reboot {
                (boot, uptime) = (boot + 1, 0);
            }
            uptime += pause;
            let name = format!("boot-{boot}");
            host.at(&name, uptime);
            let held = busy.then(|| host.hold());
            let wanted = grant(&mut desk, request, Now { boot: &name, uptime, busy: *busy });
            prop_assert_eq!(host.ask(request), wanted, "{:?} of {:?}", request, asked);
            drop(held);
        }
    }
}

#[test]
fn of_two_who_ask_at_once_one_gets_it() {
    // Nothing stays after a release: the files of the locks go, too, while the other waits for them.
    let room = tempfile::tempdir().expect("a directory");
    let around = Surroundings { host_dir: room.path().to_str(), ..Surroundings::default() };
    let (place, name) = (Place::of(me(), around).expect("a place"), HostName::new("web1").expect("a name"));
    let (inside, rounds) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for holder in ["a", "b", "c"] {
            let (place, name, inside, rounds) = (&place, &name, &inside, &rounds);
            scope.spawn(move || {
                let keep = Keep { place, host: name, uptime: &Uptime::now, home: &|_| None };
                while rounds.load(Ordering::SeqCst) < 300 {
                    match lease(keep, &acquire(holder, 120, None)).expect("an answer") {
                        LeaseAnswer::Granted(fence) => {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two have it");
                            rounds.fetch_add(1, Ordering::SeqCst);
                            let right = admit(keep, &ticket(holder, fence), &mut |_| ControlFlow::Continue(()));
                            drop(right.expect("the right to do something"));
                            inside.fetch_sub(1, Ordering::SeqCst);
                            let release = Request::Release { id: id(holder) };
                            assert_eq!(lease(keep, &release).expect("an answer"), LeaseAnswer::Free);
                        }
                        LeaseAnswer::Taken(held) => assert_ne!(held.lease.id, id(holder)),
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    assert!(!place.directory().exists(), "something is left");
}

#[test]
fn an_order_without_the_lease_is_refused() {
    let host = Host::new();
    assert_eq!(host.admitted(&ticket("a", 1)).expect_err("nobody has it"), Refusal::Fenced(None));
    let ticket_a = host.acquired("a");
    let stale = Ticket { fence: 7, ..ticket_a.clone() };
    assert!(matches!(host.admitted(&stale), Err(Refusal::Fenced(Some(_)))));
    assert_eq!(host.ask(&acquire("b", 120, Some("a"))), LeaseAnswer::Granted(2));
    match host.admitted(&ticket_a) {
        Err(Refusal::Fenced(Some(lease))) => assert_eq!((lease.id, lease.holder), (id("b"), holder())),
        other => panic!("{other:?}"),
    }
    drop(host.admitted(&ticket("b", 2)).expect("its holder may"));
    // Who was released in the middle of an order is refused, and the next one waits for its end.
    let busy = host.admitted(&ticket("b", 2)).expect("its holder may");
    assert_eq!(host.ask(&Request::Break { id: id("b") }), LeaseAnswer::Free);
    assert!(matches!(host.ask(&acquire("c", 120, None)), LeaseAnswer::Taken(held) if held.busy));
    drop(busy);
    assert!(matches!(host.admitted(&ticket("b", 2)), Err(Refusal::Fenced(Some(lease))) if lease.is_ended()));
    assert_eq!(host.ask(&acquire("c", 120, None)), LeaseAnswer::Granted(3));
}

/// As it is open between `fork` and `execve` in a process that another thread starts at that moment.
#[test]
fn a_lock_ends_with_its_holder_though_others_have_its_file_open() {
    let host = Host::new();
    let ticket = host.acquired("a");
    let held = host.hold();
    let twin = held.file().try_clone().expect("a second handle");
    let busy = |host: &Host| matches!(host.ask(&Request::Look), LeaseAnswer::Taken(held) if held.busy);
    assert!(busy(&host));
    drop(held);
    assert!(!busy(&host), "the second handle keeps it");
    drop(host.admitted(&ticket).expect("its holder may"));
    drop(twin);
}

#[test]
fn an_order_waits_for_the_one_before_it_and_says_so() {
    let host = Host::new();
    let ticket = host.acquired("a");
    let first = host.admitted(&ticket).expect("it is the first");
    assert!(matches!(host.ask(&acquire("b", 120, Some("a"))), LeaseAnswer::Taken(held) if held.busy));
    assert_eq!(host.ask(&Request::Renew { id: id("a") }), LeaseAnswer::Granted(1));
    assert_eq!(host.admitted(&ticket).expect_err("nobody waits"), Refusal::Gone);
    let (mut first, mut told, mut asked) = (Some(first), Vec::new(), 0);
    let admitted = host.with(|keep| {
        admit(keep, &ticket, &mut |words| {
            asked += 1;
            if let Some(words) = words {
                told.push(words.to_owned());
                first = None;
            }
            ControlFlow::Continue(())
        })
    });
    drop(admitted.expect("the first is over"));
    assert_eq!(told, ["an earlier order is still being carried out there"]);
    assert!((9..=11).contains(&asked), "{asked}");
}

#[test]
fn while_a_program_of_a_killed_order_runs_nobody_gets_in() {
    let host = Host::new();
    let ticket = host.acquired("a");
    let mut program = std::process::Command::new("sleep").arg("600").spawn().expect("sleep");
    // An order that is killed leaves the line there, and not its lock.
    let order = host.admitted(&ticket).expect("its holder may");
    order.runs(Some(program.id()));
    drop(order);
    let busy = |host: &Host| matches!(host.ask(&Request::Look), LeaseAnswer::Taken(held) if held.busy);
    assert!(busy(&host));
    assert!(matches!(host.ask(&acquire("b", 120, Some("a"))), LeaseAnswer::Taken(held) if held.busy));
    assert_eq!(host.admitted(&ticket).expect_err("nobody waits"), Refusal::Gone);
    host.at("boot-2", 7);
    assert!(!busy(&host), "a process of another boot");
    host.at("boot-1", 1000);
    program.kill().expect("it runs");
    program.wait().expect("it ends");
    assert!(!busy(&host));
    let order = host.admitted(&ticket).expect("its holder may");
    order.runs(Some(std::process::id()));
    order.runs(None);
    drop(order);
    assert_eq!(host.read("busy"), "");
    for damaged in ["x", "1", "1 2", "99999999999999999999 1 boot-1\n", "-1 -1 boot-1\n"] {
        fs::write(host.place().join("busy"), damaged).expect("written");
        drop(host.admitted(&ticket).unwrap_or_else(|why| panic!("{damaged}: {why:?}")));
    }
}

#[test]
fn an_order_that_waits_is_refused_when_everything_is_removed_meanwhile() {
    let host = Host::new();
    let ticket = host.acquired("a");
    let busy = host.hold();
    let mut waited = 0;
    let refused = host.with(|keep| {
        admit(keep, &ticket, &mut |_| {
            waited += 1;
            fs::remove_dir_all(host.place()).expect("it was there");
            ControlFlow::Continue(())
        })
    });
    assert_eq!((refused.expect_err("there is no lease"), waited), (Refusal::Fenced(None), 1));
    drop(busy);
}

#[test]
fn a_place_that_others_could_have_made_is_not_believed() {
    let host = Host::new();
    let unable = |what: &str| {
        let why = host.with(|keep| lease(keep, &acquire("a", 120, None))).expect_err(what).why;
        assert!(why.contains(host.place().to_str().expect("a path")), "{what}: {why}");
        why
    };
    let elsewhere = host.room.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a directory");
    fs::create_dir_all(host.place().parent().expect("a parent")).expect("a directory");
    symlink(&elsewhere, host.place()).expect("a link");
    assert!(unable("a link").ends_with("armilla keeps nothing behind one: remove it"));
    assert_eq!(fs::read_dir(&elsewhere).expect("a directory").count(), 0, "written through a link");
    fs::remove_file(host.place()).expect("removed");
    fs::create_dir(host.place()).expect("a directory");
    for open in [0o777, 0o720, 0o702] {
        fs::set_permissions(host.place(), fs::Permissions::from_mode(open)).expect("a mode");
        assert!(unable("open to others").starts_with("others can write in "), "{open:o}");
    }
    fs::set_permissions(host.place(), fs::Permissions::from_mode(0o700)).expect("a mode");
    for damaged in
        ["{\"version\":2,\"id\":\"x\"}\nboot-1 3\n", "", "{}\n", "{\"version\":1,\"id\":\"a\",\"fence\":x,\n\n", "\0\0"]
    {
        fs::write(host.place().join("lease"), damaged).expect("written");
        assert!(unable(damaged).contains("is damaged"), "{damaged:?}");
    }
    fs::remove_file(host.place().join("lease")).expect("removed");
    for damaged in ["", "x\n", "-1\n", "99999999999999999999\n"] {
        fs::write(host.place().join("fence"), damaged).expect("written");
        assert!(unable(damaged).contains("is damaged"), "{damaged:?}");
    }
    fs::remove_file(host.place().join("fence")).expect("removed");
    symlink("/etc/passwd", host.place().join("lease")).expect("a link");
    unable("a link in the place of the lease");
}

#[test]
#[ignore = "needs root: gives a directory to another user"]
fn a_place_of_another_user_is_not_believed() {
    let host = Host::new();
    fs::create_dir_all(host.place()).expect("a directory");
    std::os::unix::fs::chown(host.place(), Some(65534), None).expect("giving a directory away needs root");
    let why = host.with(|keep| lease(keep, &Request::Look)).expect_err("it is another's").why;
    assert!(why.contains("belongs to another user (number 65534)"), "{why}");
    fs::remove_dir(host.place()).expect("removed");
    host.acquired("a");
    fs::create_dir(host.folder()).expect("a directory");
    std::os::unix::fs::chown(host.folder(), Some(65534), None).expect("giving a directory away needs root");
    let why = host.with(|keep| ledger::save(keep, &owner(), Some(b"x"), 0)).expect_err("it is another's").why;
    assert!(why.contains("is no directory of armilla's"), "{why}");
}

#[test]
fn a_name_that_the_shell_could_not_compare_is_refused() {
    let host = Host::new();
    for name in ["", "a\"b", "a b", "a\nb", "../a", "ä", &"a".repeat(65)] {
        let why = host.with(|keep| lease(keep, &acquire(name, 1, None))).expect_err("it is refused").why;
        assert!(why.starts_with("invalid lease name"), "{name}: {why}");
        assert!(host.with(|keep| lease(keep, &acquire("a", 1, Some(name)))).is_err(), "{name}");
    }
    let holder = Holder { who: "x".repeat(40 << 10), ..holder() };
    let request = Request::Acquire { id: id("a"), holder, seconds: 1, instead_of: None };
    assert!(host.with(|keep| lease(keep, &request)).expect_err("it is refused").why.contains("longer than 32 KiB"));
    assert!(!host.place().exists());
}

#[test]
fn what_killed_orders_left_goes_with_the_next_lock_and_never_under_an_order_that_runs() {
    let host = Host::new();
    let ticket = host.acquired("a");
    let directories = ["etc", "home/ada/x"].map(|name| host.room.path().join(name));
    for path in &directories {
        fs::create_dir_all(path).expect("a directory");
    }
    fs::create_dir(host.folder()).expect("a directory");
    let list = format!("{}/\n~ada/x/\n~nobody/x/\n~eve/x/\nrelative/\n/nowhere/\n", directories[0].display());
    let draft = format!(".armilla-{}-3", "f".repeat(32));
    let mut gone: Vec<PathBuf> = ["drafts", ".new-ledger", ".new-journal"].map(|name| host.folder().join(name)).into();
    gone.extend(directories.iter().map(|path| path.join(&draft)));
    let stay = [".armilla-archive", ".armilla-old-a", "file"].map(|name| directories[0].join(name));
    for path in gone.iter().chain(&stay) {
        fs::write(path, "half").expect("written");
    }
    fs::write(&gone[0], list).expect("written");
    let link = directories[0].join(format!(".armilla-{}-4", "e".repeat(32)));
    symlink("file", &link).expect("a link");
    let busy = host.admitted(&ticket).expect("its holder may");
    host.at("boot-1", 9000);
    assert!(matches!(host.ask(&acquire("b", 120, None)), LeaseAnswer::Taken(held) if held.busy));
    assert!(gone.iter().all(|path| path.exists()));
    drop(busy);
    assert_eq!(host.ask(&acquire("b", 120, None)), LeaseAnswer::Granted(2));
    for path in &gone {
        assert!(!path.exists(), "{} is left", path.display());
    }
    assert!(fs::symlink_metadata(link).is_err() && stay.iter().all(|path| path.exists()));
}

// -- the journal --------------------------------------------------------------------------------------------------------

fn open(host: &Host, ticket: &Ticket) -> Journal {
    host.with(|keep| Journal::open(keep, ticket, &[])).expect("a journal").expect("an intent")
}

/// Carries out so many steps that all go well.
fn perform(host: &Host, ticket: &Ticket, steps: usize) {
    let mut journal = open(host, ticket);
    for step in 0..steps {
        journal.begin(step).expect("it is written down");
        journal.done(step);
    }
    journal.complete();
}

fn journal(host: &Host) -> String {
    host.read(&format!("{FOLDER}/journal"))
}

#[test]
fn a_journal_tells_what_was_done() {
    let host = Host::new();
    let plain = Ticket { intent: None, ..recording(0) };
    assert!(host.with(|keep| Journal::open(keep, &plain, &[])).expect("it may").is_none());
    assert!(!host.place().exists());
    perform(&host, &recording(0), 2);
    perform(&host, &recording(2), 1);
    let stage = "stage boot-1 {\"intent\": \"it's %s \\\\ me\"}\n";
    let wanted = format!("{stage}begin 0\ndone 0\nbegin 1\ndone 1\nover\nbegin 2\ndone 2\nover\n");
    assert_eq!(journal(&host), wanted);
    let mut failing = open(&host, &recording(4));
    failing.begin(0).expect("it is written down");
    failing.done(0);
    failing.begin(1).expect("it is written down");
    failing.failed(1, -1);
    drop(failing);
    assert_eq!(journal(&host), format!("{wanted}begin 4\ndone 4\nbegin 5\nfailed 5 -1\n"));
    let two = Ticket { intent: Some("{\n}".to_owned()), ..recording(0) };
    assert!(host.with(|keep| Journal::open(keep, &two, &[])).is_err());
}

#[test]
fn a_torn_line_joins_no_other() {
    let host = Host::new();
    perform(&host, &recording(0), 1);
    let whole = journal(&host);
    let long = "x".repeat(200_000);
    for torn in ["begin 1\nbeg", "stage boot-1 {\"ver", "\0\0\0", &long] {
        let mut file = fs::OpenOptions::new().append(true).open(host.folder().join("journal")).expect("a journal");
        file.write_all(torn.as_bytes()).expect("written");
        drop(open(&host, &recording(1)));
        let kept = if torn.starts_with("begin 1\n") { "begin 1\n" } else { "" };
        assert_eq!(journal(&host), format!("{whole}{kept}"), "{:.20}", torn);
        fs::write(host.folder().join("journal"), &whole).expect("written");
    }
    fs::write(host.folder().join("journal"), &long).expect("written");
    let folder = host.with(|keep| keep.make_belonging(&owner())).expect("a directory");
    journal::tell_undone(&folder, "web").expect("it is written down");
    assert_eq!(journal(&host), "undone web\n");
}

#[test]
fn the_directories_of_drafts_are_announced_and_forgotten() {
    let host = Host::new();
    let lines = ["/etc/", "~ada/", "/two\nlines/"].map(str::to_owned);
    let opened = host.with(|keep| Journal::open(keep, &recording(0), &lines));
    let opened = opened.expect("a journal");
    assert_eq!(host.read(&format!("{FOLDER}/drafts")), "/etc/\n~ada/\n");
    drop(opened);
    assert!(!host.folder().join("drafts").exists());
}

/// A file system without room for a byte.
struct Full(PathBuf);

impl Full {
    fn at(path: PathBuf) -> Self {
        let options = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("tmpfs"), &path, Some("tmpfs"), options, Some("size=4k,mode=0700"))
            .expect("root mounts");
        fs::write(path.join("filler"), [0; 4096]).expect("one page fits");
        Self(path)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH).expect("it was mounted");
    }
}

#[test]
#[ignore = "needs root: mounts a file system that is full"]
fn without_room_for_the_journal_nothing_is_begun() {
    let host = Host::new();
    let ticket = recording(0);
    fs::create_dir_all(host.folder()).expect("a directory");
    fs::set_permissions(host.place(), fs::Permissions::from_mode(0o700)).expect("a mode");
    let _mounted = Full::at(host.folder());
    let why = host.with(|keep| Journal::open(keep, &ticket, &[])).expect_err("it is full").why;
    assert!(why.ends_with(&format!("{FOLDER}/journal cannot be written; is the disk full?")), "{why}");
    let why = host.with(|keep| ledger::save(keep, &owner(), Some(b"x"), 0)).expect_err("it is full").why;
    assert!(why.ends_with(&format!("{FOLDER}/ledger cannot be written; is the disk full?")), "{why}");
    let rest = Ticket { first: 1, ..ticket };
    let mut journal = open(&host, &rest);
    let why = journal.begin(0).expect_err("it is full").why;
    assert!(why.ends_with("cannot be written, and without it no step starts; is the disk full?"), "{why}");
    assert!(journal.begin(0).is_err(), "after a line that is not whole there is no other");
}

// -- the ledger ---------------------------------------------------------------------------------------------------------

fn save(host: &Host, ledger: Option<&str>, worked_in: usize) -> Result {
    host.with(|keep| ledger::save(keep, &owner(), ledger.map(str::as_bytes), worked_in as u64))
}

#[test]
fn a_ledger_takes_the_beginning_of_a_journal_in() {
    let host = Host::new();
    perform(&host, &recording(0), 1);
    let read = journal(&host);
    perform(&host, &recording(1), 1);
    save(&host, Some("{\"a\": 1}\n"), read.len()).expect("it is saved");
    assert_eq!(host.read(&format!("{FOLDER}/ledger")), "{\"a\": 1}\n");
    assert_eq!(journal(&host), "begin 1\ndone 1\nover\n", "what came after the look stays");
    let mode = fs::metadata(host.folder().join("ledger")).expect("a ledger").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    save(&host, Some("2"), journal(&host).len()).expect("it is saved");
    assert!(host.read(&format!("{FOLDER}/ledger")) == "2" && !host.folder().join("journal").exists());
    fs::write(host.folder().join("journal"), "begin 1\nbeg").expect("written");
    save(&host, Some("3"), 8).expect("it is saved");
    assert!(!host.folder().join("journal").exists(), "a line without an end does not count");
    save(&host, Some("3"), 8).expect("it is saved");
    fs::write(host.folder().join("journal"), "begin 1\n").expect("written");
    save(&host, Some("4"), 9999).expect("it is saved");
    assert!(!host.folder().join("journal").exists());
}

#[test]
fn where_nothing_is_owned_nothing_stays() {
    let host = Host::new();
    save(&host, None, 0).expect("there is nothing");
    assert!(!host.place().exists(), "nothing was made");
    save(&host, Some("x"), 0).expect("it is saved");
    fs::write(host.folder().join("journal"), "begin 1\nbegin 2\n").expect("written");
    save(&host, None, 8).expect("it is cleared");
    assert_eq!(journal(&host), "begin 2\n");
    save(&host, None, 9999).expect("it is cleared");
    assert!(!host.folder().exists());
    save(&host, Some("x"), 0).expect("it is saved");
    for name in ["undo", "backup", "armed"] {
        fs::create_dir(host.folder().join(name)).expect("a directory");
        save(&host, None, 0).expect("it is cleared");
        assert!(host.folder().join(name).exists() && !host.folder().join("ledger").exists());
        fs::remove_dir(host.folder().join(name)).expect("it was there");
    }
}

#[test]
fn a_link_in_the_place_of_a_directory_is_refused_and_nothing_is_written_through_it() {
    let host = Host::new();
    host.acquired("a");
    let elsewhere = host.room.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a directory");
    symlink(&elsewhere, host.folder()).expect("a link");
    for done in [save(&host, Some("x"), 0), save(&host, None, 0), host.with(|keep| copies::drop_copies(keep, &owner()))]
    {
        let why = done.expect_err("it is a link").why;
        assert_eq!(why, format!("{} is no directory of armilla's: move it away", host.folder().display()));
    }
    assert_eq!(fs::read_dir(&elsewhere).expect("a directory").count(), 0);
    fs::remove_file(host.folder()).expect("removed");
    fs::create_dir(host.folder()).expect("a directory");
    let target = elsewhere.join("target");
    for name in ["ledger", ".new-ledger", "journal"] {
        let _ = fs::remove_file(host.folder().join("journal"));
        symlink(&target, host.folder().join(name)).expect("a link");
        let _ = save(&host, Some("x"), 0);
        let _ = host.with(|keep| Journal::open(keep, &recording(0), &[]));
        assert!(!target.exists(), "{name}");
    }
}

#[test]
fn a_ledger_of_an_unknown_project_is_adopted_once() {
    let host = Host::new();
    let adopt = || host.with(|keep| ledger::adopt(keep, &owner()));
    adopt().expect("there is nothing");
    let old = host.place().join("staging@web1");
    let make = || {
        fs::create_dir_all(old.join("armed/web")).expect("a directory");
        fs::set_permissions(host.place(), fs::Permissions::from_mode(0o700)).expect("a mode");
        fs::write(old.join("ledger"), "old").expect("written");
    };
    make();
    fs::write(old.join("armed/web/armed"), "").expect("written");
    let why = adopt().expect_err("it is armed").why;
    let wanted = format!("a rollback timer is armed in {}: confirm or await it, then adopt again", old.display());
    assert_eq!(why, wanted);
    fs::remove_dir_all(old.join("armed")).expect("removed");
    adopt().expect("it is adopted");
    assert!(!old.exists() && host.read(&format!("{FOLDER}/ledger")) == "old");
    make();
    let why = adopt().expect_err("there are two").why;
    assert!(why.ends_with(&format!("and so is {}: move one of them away", old.display())), "{why}");
    fs::remove_dir_all(&old).expect("removed");
    symlink(host.folder(), &old).expect("a link");
    assert!(adopt().expect_err("it is a link").why.contains("is no directory of armilla's"));
}

// -- copies -------------------------------------------------------------------------------------------------------------

#[test]
fn a_copy_of_a_file_is_kept_and_of_nothing_else() {
    let host = Host::new();
    let keep_copy = |path: &str| host.with(|keep| copies::keep_copy(keep, &owner(), 3, path));
    let etc = host.room.path().join("etc");
    fs::create_dir_all(&etc).expect("a directory");
    let path = |name: &str| etc.join(name).display().to_string();
    symlink("file", path("link")).expect("a link");
    keep_copy(&path("missing/below")).expect("there is nothing");
    keep_copy(&path("link")).expect("it is a link");
    keep_copy(&path("")).expect("it is a directory");
    assert!(!host.place().exists());
    fs::write(path("file"), "old\0").expect("a file");
    fs::set_permissions(path("file"), fs::Permissions::from_mode(0o4751)).expect("a mode");
    keep_copy(&path("file")).expect("it is kept");
    let copy = host.folder().join(format!("backup/3{}", path("file")));
    assert_eq!(fs::read(&copy).expect("a copy"), b"old\0");
    assert_eq!(fs::metadata(&copy).expect("a copy").permissions().mode() & 0o7777, 0o751, "not what lets it be root");
    fs::write(path("file"), "new").expect("a file");
    keep_copy(&path("file")).expect("it is kept");
    assert_eq!(fs::read(&copy).expect("a copy"), b"new", "the last one of a generation");
    for name in ["backup", "backup/3"] {
        let mode = fs::metadata(host.folder().join(name)).expect(name).permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{name}");
    }
    let home = host.room.path().join("home/ada");
    fs::create_dir_all(&home).expect("a directory");
    fs::write(home.join("x"), "hers").expect("a file");
    keep_copy("~ada/x").expect("it is kept");
    let copy = host.folder().join(format!("backup/3{}/x", home.display()));
    assert_eq!(fs::read(copy).expect("a copy"), b"hers");
    assert_eq!(keep_copy("~eve/x").expect_err("nobody").why, "there is no user eve with a home directory");
    // Through a directory that others can write.
    fs::set_permissions(host.room.path(), fs::Permissions::from_mode(0o777)).expect("a mode");
    symlink("etc", host.room.path().join("planted")).expect("a link");
    let planted = host.room.path().join("planted/file").display().to_string();
    assert!(keep_copy(&planted).expect_err("it could be planted").why.contains("could have planted"));
}

#[test]
fn copies_go_and_what_can_still_be_rolled_back_stays() {
    let host = Host::new();
    let drop_copies = || host.with(|keep| copies::drop_copies(keep, &owner()));
    drop_copies().expect("there is nothing");
    for name in ["backup/1/etc", "undo/open/1", "undo/over", "undo/undone", "undo/.new-x", "undo/.old-y"] {
        fs::create_dir_all(host.folder().join(name)).expect("a directory");
    }
    fs::set_permissions(host.place(), fs::Permissions::from_mode(0o700)).expect("a mode");
    fs::write(host.folder().join("undo/over/committed"), "").expect("written");
    fs::write(host.folder().join("undo/undone/undone"), "").expect("written");
    drop_copies().expect("they go");
    let left = |name: &str| {
        let names = fs::read_dir(host.folder().join(name)).expect("a directory");
        names.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect::<Vec<_>>()
    };
    assert_eq!((left(""), left("undo")), (vec!["undo".to_owned()], vec!["open".to_owned()]));
    fs::write(host.folder().join("undo/open/committed"), "").expect("written");
    drop_copies().expect("they go");
    assert_eq!(left(""), Vec::<String>::new());
}
