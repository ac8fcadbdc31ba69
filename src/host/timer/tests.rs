//! Rollback timers on real directories, with a systemd that only writes down what it is asked.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::super::keep::Uptime;
use super::super::keep::tests::{FOLDER, Host, owner};
use super::super::undo::snapshot;
use super::*;
use crate::step::{Snapshot, Touched};

/// A host with a file that a risky change alters.
struct Risky {
    host: Host,
    ran: RefCell<Vec<String>>,
    boot: RefCell<String>,
}

const NAME: &str = "ssh";

impl Risky {
    fn new() -> Self {
        let host = Host::new();
        let boot = RefCell::new("boot-1".to_owned());
        let risky = Self { host, ran: RefCell::default(), boot };
        for name in ["units/multi-user.target.wants", "running", "scratch"] {
            fs::create_dir_all(risky.path(name)).expect("a directory");
        }
        fs::write(risky.path("config"), "old").expect("a file");
        fs::write(risky.path("program"), "#!").expect("a file");
        risky.with(|timer| {
            let touched = vec![Touched::Path(risky.path("config"))];
            let wanted = Snapshot { owner: owner(), name: NAME.to_owned(), touched };
            snapshot(timer.keep, &wanted, Means::of(timer.keep, timer.run)).expect("it is kept");
        });
        risky
    }

    fn path(&self, name: &str) -> String {
        self.host.room.path().join(name).display().to_string()
    }

    fn directory(&self) -> PathBuf {
        self.host.folder().join("armed").join(NAME)
    }

    fn with<T>(&self, work: impl FnOnce(Timer<'_>) -> T) -> T {
        let run = |command: &Command| {
            self.ran.borrow_mut().push(command.argv[1..].join(" "));
            CommandReading::default()
        };
        let uptime = || Ok(Uptime { boot: self.boot.borrow().clone(), seconds: 7 });
        let (units, running) = (self.path("units"), self.path("running"));
        let (scratch, late) = (self.path("scratch"), self.path("late"));
        let system = System { units: &units, running: &running, scratch: &scratch, late: &late };
        self.host.with(|keep| work(Timer { keep: Keep { uptime: &uptime, ..keep }, run: &run, system }))
    }

    fn name() -> RoleName {
        RoleName::new(NAME).expect("a name")
    }

    fn arm(&self, after: Duration) -> Result {
        self.with(|timer| arm(timer, &owner(), (&Self::name(), after), Path::new(&self.path("program"))))
    }

    fn armed(self) -> Self {
        self.arm(Duration::from_millis(1500)).expect("it is armed");
        fs::write(self.path("config"), "new").expect("a file");
        self.ran.borrow_mut().clear();
        self
    }

    fn extend(&self) -> Result {
        self.with(|timer| extend(timer, &owner(), &Self::name()))
    }

    fn disarm(&self) -> Result {
        self.with(|timer| disarm(timer, &owner(), &Self::name()))
    }

    fn give_up(&self) -> Result {
        self.with(|timer| give_up(timer, &owner(), &Self::name()))
    }

    fn fire(&self) -> Result {
        self.with(|timer| {
            let Timer { keep, run, system } = timer;
            fire(Firing { means: Means::of(keep, run), uptime: keep.uptime, system }, &self.directory(), None)
        })
    }

    fn config(&self) -> String {
        fs::read_to_string(self.path("config")).expect("a file")
    }

    fn unit(&self) -> String {
        let directory = fs::canonicalize(self.directory()).expect("a directory");
        format!("armilla-undo-{:.16}", Digest::of(directory.to_str().expect("a path").as_bytes()).0)
    }

    /// The files of systemd.
    fn units(&self) -> Vec<String> {
        let mut names = Vec::new();
        for directory in ["units", "units/multi-user.target.wants"] {
            let entries = fs::read_dir(self.path(directory)).expect("a directory");
            names.extend(entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")));
        }
        names.retain(|name| name != "multi-user.target.wants");
        names.sort();
        names
    }
}

#[test]
#[ignore = "needs root: only root arms a rollback timer"]
fn what_is_armed_is_what_every_armilla_before_armed() {
    let risky = Risky::new();
    risky.arm(Duration::from_millis(1500)).expect("it is armed");
    let (unit, directory) = (risky.unit(), fs::canonicalize(risky.directory()).expect("a directory"));
    let directory = directory.display();
    let read = |name: &str| fs::read_to_string(name).expect("a file");
    assert_eq!(read(&format!("{directory}/armed")), format!("boot-1\n2\n{unit}\n"));
    assert_eq!(read(&format!("{directory}/fire")), "#!");
    let mode = fs::metadata(risky.directory().join("fire")).expect("a program").permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    assert_eq!(
        read(&risky.path(&format!("units/{unit}.service"))),
        format!(
            "[Unit]\nDescription=armilla rolls back what the role ssh changed\n[Service]\n\
             ExecStart={directory}/fire fire {directory}\n[Install]\nWantedBy=multi-user.target\n"
        )
    );
    assert_eq!(
        read(&risky.path(&format!("units/{unit}.timer"))),
        "[Unit]\nDescription=armilla waits for word about what the role ssh changed\n[Timer]\nOnActiveSec=2s\n\
         AccuracySec=100ms\n"
    );
    let link = fs::read_link(risky.path(&format!("units/multi-user.target.wants/{unit}.service"))).expect("a link");
    assert_eq!(link.display().to_string(), risky.path(&format!("units/{unit}.service")));
    let mode = fs::metadata(risky.path(&format!("units/{unit}.timer"))).expect("a unit").permissions().mode() & 0o777;
    assert_eq!(mode, 0o644);
    let begins = [
        format!("stop {unit}.timer {unit}.service"),
        format!("reset-failed {unit}.service"),
        format!("start {unit}.timer"),
    ];
    assert_eq!(*risky.ran.borrow(), [&["--version".to_owned(), "daemon-reload".to_owned()], &begins[..]].concat());
    risky.ran.borrow_mut().clear();
    risky.extend().expect("its time begins again");
    assert_eq!(*risky.ran.borrow(), begins);
    // Armed again, it begins anew.
    risky.arm(Duration::from_secs(60)).expect("it is armed");
    assert_eq!(read(&format!("{directory}/armed")), format!("boot-1\n60\n{unit}\n"));
    assert_eq!(risky.units().len(), 3);
}

#[test]
fn a_host_that_cannot_do_it_says_so_before_anything_is_made() {
    let risky = Risky::new();
    fs::remove_dir(risky.path("running")).expect("removed");
    assert!(risky.arm(Duration::from_secs(9)).expect_err("no systemd").why.contains("\"risky: false\""));
    assert!(!risky.host.folder().join("armed").exists() && risky.units().is_empty());
}

#[test]
#[ignore = "needs root: only root arms a rollback timer"]
fn without_a_snapshot_nothing_is_armed() {
    let risky = Risky::new();
    fs::remove_dir_all(risky.host.folder().join("undo")).expect("removed");
    let why = risky.arm(Duration::from_secs(9)).expect_err("nothing is kept").why;
    assert_eq!(why, "nothing is kept under the name ssh that can be rolled back");
    assert!(risky.units().is_empty());
}

#[test]
fn where_nothing_is_armed_that_is_told_each_in_its_way() {
    let risky = Risky::new();
    assert_eq!(risky.extend().expect_err("nothing").why, "nothing is armed under the name ssh");
    assert_eq!(risky.give_up().expect_err("nothing").exit, UNARMED);
    assert_eq!(risky.disarm(), Ok(()));
    assert!(!risky.host.folder().join("armed").exists() && risky.ran.borrow().is_empty());
}

#[test]
#[ignore = "needs root: only root arms a rollback timer"]
fn what_is_confirmed_stays_and_nothing_is_left() {
    let risky = Risky::new().armed();
    let unit = risky.unit();
    risky.disarm().expect("it is confirmed");
    assert_eq!(*risky.ran.borrow(), [format!("stop {unit}.timer {unit}.service"), "daemon-reload".to_owned()]);
    assert!(risky.units().is_empty() && !risky.host.folder().join("armed").exists());
    assert_eq!(risky.config(), "new");
    assert_eq!(risky.disarm(), Ok(()));
    // As a loss of power in the middle leaves it.
    let risky = Risky::new().armed();
    fs::remove_file(risky.directory().join("armed")).expect("it was armed");
    assert_eq!(risky.fire(), Ok(()), "it is confirmed");
    assert_eq!(risky.config(), "new");
    assert_eq!(risky.give_up().expect_err("it is confirmed").exit, UNARMED);
    risky.disarm().expect("it is confirmed");
    assert!(risky.units().is_empty());
}

#[test]
#[ignore = "needs root: only root arms a rollback timer"]
fn who_comes_too_late_is_told() {
    let risky = Risky::new().armed();
    let unit = risky.unit();
    risky.fire().expect("it is rolled back");
    assert_eq!(risky.config(), "old");
    assert_eq!(risky.host.read(&format!("{FOLDER}/journal")), "undone ssh\n");
    assert!(risky.units().is_empty() && !risky.directory().join("armed").exists());
    assert!(!risky.directory().join("fire").exists() && !Path::new(&risky.path("late")).exists());
    assert_eq!(*risky.ran.borrow(), [format!("stop {unit}.timer"), "daemon-reload".to_owned()]);
    let fired = fs::read_to_string(risky.directory().join("fired")).expect("it is written down");
    let (when, why) = fired.split_once('\n').expect("two lines");
    assert_eq!(why, "nobody logged in again within 2 s\n");
    for late in [risky.extend(), risky.disarm(), risky.disarm()] {
        let failure = late.expect_err("it is too late");
        let wanted = format!("this host rolled everything back by itself at {when}: nobody logged in again within 2 s");
        assert_eq!((failure.exit, failure.why), (UNDONE, wanted));
    }
    assert_eq!(risky.give_up(), Ok(()), "it was rolled back, as was asked");
    assert_eq!(risky.fire(), Ok(()), "nothing is armed any more");
    // The next change of the same role.
    let touched = vec![Touched::Path(risky.path("config"))];
    let wanted = Snapshot { owner: owner(), name: NAME.to_owned(), touched };
    risky.with(|timer| snapshot(timer.keep, &wanted, Means::of(timer.keep, timer.run))).expect("it is kept");
    let risky = risky.armed();
    risky.disarm().expect("it is confirmed");
    assert_eq!(risky.config(), "new");
}

#[test]
#[ignore = "needs root: only root arms a rollback timer"]
fn a_boot_rolls_back_at_once() {
    let risky = Risky::new().armed();
    "boot-2".clone_into(&mut risky.boot.borrow_mut());
    risky.fire().expect("it is rolled back");
    assert_eq!(risky.config(), "old");
    let why = risky.disarm().expect_err("it is too late").why;
    assert!(why.ends_with(": it booted before the change was confirmed"), "{why}");
}

#[test]
#[ignore = "needs root: only root arms a rollback timer"]
fn what_could_not_be_rolled_back_stays_armed() {
    let risky = Risky::new().armed();
    fs::remove_file(risky.path("config")).expect("a file");
    fs::create_dir_all(risky.path("config/in/the/way")).expect("a directory");
    let path = risky.path("config");
    let said = format!("path {path}: {path} is a directory now, with something in it: it is not removed");
    let told =
        format!("this host was to roll everything back (nobody logged in again within 2 s), and could not: {said}");
    assert_eq!(risky.fire().expect_err("it is in the way").why, told);
    for late in [risky.extend(), risky.disarm()] {
        assert_eq!(late, Err(Failure { exit: STUCK, why: told.clone() }));
    }
    assert_eq!(risky.units().len(), 3, "the next boot tries again");
    assert_eq!(risky.give_up(), Err(Failure { exit: STUCK, why: told }));
    fs::remove_dir_all(risky.path("config")).expect("removed");
    "boot-2".clone_into(&mut risky.boot.borrow_mut());
    risky.fire().expect("it is rolled back");
    assert_eq!(risky.config(), "old");
    assert_eq!(risky.disarm().expect_err("it is too late").exit, UNDONE);
    let risky = Risky::new().armed();
    fs::remove_file(risky.path("config")).expect("a file");
    fs::create_dir_all(risky.path("config/in/the/way")).expect("a directory");
    let failure = risky.give_up().expect_err("it is in the way");
    assert!(failure.why.contains("(armilla could not continue with the change), and could not"), "{}", failure.why);
    assert_eq!(failure.exit, STUCK);
}

#[test]
#[ignore = "needs root: only root arms a rollback timer"]
fn what_is_given_up_is_rolled_back_at_once() {
    let risky = Risky::new().armed();
    risky.give_up().expect("it is rolled back");
    assert_eq!(risky.config(), "old");
    assert!(risky.units().is_empty());
    assert!(risky.disarm().expect_err("the story").why.ends_with(": armilla could not continue with the change"));
}

#[test]
#[ignore = "needs root: only root arms a rollback timer"]
fn a_step_that_runs_ends_first_and_one_that_lasts_is_the_last() {
    let risky = Risky::new().armed();
    let busy = fs::OpenOptions::new().append(true).create(true).open(risky.host.place().join("busy")).expect("a file");
    busy.lock().expect("a lock");
    std::thread::scope(|scope| {
        let late = risky.path("late");
        scope.spawn(move || {
            // Twice its time, and a little more for the rollback: the sign is there until the step ends.
            std::thread::sleep(Duration::from_millis(1500));
            assert!(!Path::new(&late).exists());
            std::thread::sleep(Duration::from_millis(1500));
            assert!(Path::new(&late).exists());
            std::thread::sleep(Duration::from_millis(2500));
            assert!(Path::new(&late).exists());
            drop(busy);
        });
        risky.fire().expect("it is rolled back");
    });
    assert_eq!(risky.config(), "old");
    assert!(!Path::new(&risky.path("late")).exists());
}

#[test]
fn only_the_directory_of_a_rollback_timer_is_one() {
    let risky = Risky::new();
    fs::create_dir_all(risky.directory()).expect("a directory");
    risky.with(|Timer { keep, run, system }| {
        let firing = Firing { means: Means::of(keep, run), uptime: keep.uptime, system };
        for wrong in ["/", "/etc", "/nowhere/armed/x", "armed/x", "/tmp/armed/../x"] {
            assert!(fire(firing, Path::new(wrong), None).is_err(), "{wrong}");
        }
        assert_eq!(fire(firing, &risky.directory(), None), Ok(()), "nothing is armed");
        for damaged in ["", "boot\n7\n", "boot\nx\narmilla-undo-1\n", "boot\n7\n../../etc/passwd\n"] {
            fs::write(risky.directory().join("armed"), damaged).expect("written");
            assert_eq!(fire(firing, &risky.directory(), None), Ok(()), "{damaged:?}");
            assert_eq!(risky.config(), "old");
        }
    });
    assert!(risky.ran.borrow().is_empty());
}
