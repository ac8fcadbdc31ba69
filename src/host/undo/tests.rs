//! What was before a change comes back, on real directories.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command as Process;
use std::time::Duration;

use super::super::keep::tests::{FOLDER, Host, owner};
use super::*;
use crate::ledger::Journal;
use crate::step::MARKER;

/// A host with a tree that changes.
struct Tree {
    host: Host,
}

impl Tree {
    fn new() -> Self {
        let host = Host::new();
        fs::create_dir(host.room.path().join("etc")).expect("a directory");
        Self { host }
    }

    fn path(&self, name: &str) -> String {
        self.host.room.path().join("etc").join(name).display().to_string()
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).expect("a file");
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file")
    }

    fn look(&self) -> BTreeMap<String, String> {
        look(&self.host.room.path().join("etc"))
    }

    fn kept(&self, name: &str) -> String {
        self.host.folder().join("undo/web").join(name).display().to_string()
    }

    fn with<T>(&self, work: impl FnOnce(Keep<'_>, Means<'_>) -> T) -> T {
        let nothing = |_: &Command| CommandReading { exit: 127, ..CommandReading::default() };
        self.host.with(|keep| work(keep, Means::of(keep, &nothing)))
    }

    fn keep(&self, paths: &[&str]) -> Result {
        self.with(|keep, means| snapshot(keep, &wanted(paths), means))
    }

    fn commit(&self) -> Result {
        self.with(|keep, _| commit(keep, &owner(), "web"))
    }

    fn undo(&self) -> Result<Outcome> {
        self.with(|keep, means| undo(keep, &owner(), "web", means))
    }

    fn journal(&self) -> String {
        self.host.read(&format!("{FOLDER}/journal"))
    }
}

fn wanted(paths: &[&str]) -> Snapshot {
    let touched = paths.iter().map(|path| Touched::Path((*path).to_owned())).collect();
    Snapshot { owner: owner(), name: "web".to_owned(), touched }
}

/// Everything at and below a path, with what a person can see of it. A time is none of it.
fn look(path: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let Ok(found) = fs::symlink_metadata(path) else { return all };
    let content = if found.is_symlink() {
        fs::read_link(path).expect("a link").to_string_lossy().into_owned()
    } else if found.is_file() {
        String::from_utf8_lossy(&fs::read(path).expect("a file")).into_owned()
    } else {
        for entry in fs::read_dir(path).expect("a directory") {
            all.extend(look(&entry.expect("an entry").path()));
        }
        "directory".to_owned()
    };
    let text = format!("{:o} {}:{} {content}", found.mode(), found.uid(), found.gid());
    all.insert(path.to_string_lossy().into_owned(), text);
    all
}

/// One of everything, and what the change touches.
fn furnish(tree: &Tree) -> Vec<String> {
    tree.write("it's $(a) file", "old\n\0\u{e9}");
    fs::set_permissions(tree.path("it's $(a) file"), fs::Permissions::from_mode(0o640)).expect("a mode");
    tree.write("same", "same");
    tree.write("goes", "");
    tree.write("as root", "#!");
    fs::set_permissions(tree.path("as root"), fs::Permissions::from_mode(0o6755)).expect("a mode");
    symlink("old target\n", tree.path("link")).expect("a link");
    fs::create_dir_all(tree.path("folder/empty")).expect("a directory");
    fs::set_permissions(tree.path("folder"), fs::Permissions::from_mode(0o2750)).expect("a mode");
    fs::create_dir_all(tree.path("app/bin/empty")).expect("a directory");
    tree.write("app/bin/run", "version 1");
    tree.write(&format!("app/{MARKER}"), "1");
    symlink("bin/run", tree.path("app/run")).expect("a link");
    let names = [
        "it's $(a) file",
        "same",
        "goes",
        "as root",
        "link",
        "folder",
        "folder/empty",
        "app",
        "new",
        "new link",
        "deep/new/file",
        "fresh",
    ];
    names.iter().map(|name| tree.path(name)).collect()
}

fn change(tree: &Tree) {
    let _ = fs::remove_file(tree.path("it's $(a) file"));
    tree.write("it's $(a) file", "new");
    let _ = fs::remove_file(tree.path("goes"));
    tree.write("as root", "#? ");
    let _ = fs::remove_file(tree.path("link"));
    tree.write("link", "is a file now");
    fs::set_permissions(tree.path("folder"), fs::Permissions::from_mode(0o700)).expect("a mode");
    let _ = fs::remove_dir(tree.path("folder/empty"));
    fs::remove_dir_all(tree.path("app")).expect("a tree");
    fs::create_dir(tree.path("app")).expect("a directory");
    tree.write(&format!("app/{MARKER}"), "2");
    tree.write("app/only in 2", "");
    tree.write("new", "");
    symlink("/", tree.path("new link")).expect("a link");
    fs::create_dir_all(tree.path("deep/new")).expect("a directory");
    tree.write("deep/new/file", "");
    fs::create_dir(tree.path("fresh")).expect("a directory");
    tree.write(&format!("fresh/{MARKER}"), "1");
}

fn all(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

#[test]
fn everything_comes_back_and_only_once() {
    let tree = Tree::new();
    let names = furnish(&tree);
    let before = tree.look();
    tree.keep(&all(&names)).expect("it is kept");
    change(&tree);
    assert_ne!(tree.look(), before);
    assert_eq!(tree.undo(), Ok(Outcome::Done));
    assert_eq!(tree.look(), before);
    assert_eq!(tree.journal(), "undone web\n");
    assert_eq!(tree.undo(), Ok(Outcome::NotNeeded));
    assert_eq!(tree.journal(), "undone web\n", "told twice");
    assert_eq!(tree.commit().expect_err("it is over").why, "the change of web was undone already");
    // What comes next begins anew.
    tree.write("same", "another");
    tree.keep(&all(&names)).expect("it is kept");
    tree.write("same", "worse");
    assert_eq!(tree.undo(), Ok(Outcome::Done));
    assert_eq!(tree.text("same"), "another");
}

#[test]
fn what_nothing_changed_is_not_touched() {
    let tree = Tree::new();
    let names = furnish(&tree);
    tree.keep(&all(&names)).expect("it is kept");
    let inodes = || names.iter().map(|name| fs::symlink_metadata(name).ok().map(|is| is.ino())).collect::<Vec<_>>();
    let before = inodes();
    assert_eq!(tree.undo(), Ok(Outcome::Done));
    assert_eq!(inodes(), before);
    assert!(!Path::new(&tree.kept("begun")).exists());
}

#[test]
fn the_files_are_those_of_every_armilla_before() {
    let tree = Tree::new();
    tree.write("file", "x");
    fs::set_permissions(tree.path("file"), fs::Permissions::from_mode(0o4750)).expect("a mode");
    symlink("to", tree.path("link")).expect("a link");
    fs::create_dir_all(tree.path("app")).expect("a directory");
    tree.write(&format!("app/{MARKER}"), "1");
    let names = ["file", "link", "app", "a/b"].map(|name| tree.path(name));
    let [file, link, app, below] = &names;
    tree.keep(&all(&names)).expect("it is kept");
    let above = tree.path("a");
    let list = format!("path {file}\npath {link}\npath {app}\npath {above}\npath {below}\n");
    let read = |name: &str| fs::read_to_string(tree.kept(name)).expect(name);
    assert_eq!([read("version"), read("list")], ["1\n".to_owned(), list]);
    let (me, found) = (fs::metadata(file).expect("a file"), fs::metadata(app).expect("a directory"));
    assert_eq!(read("1/was"), format!("file {}:{} 04750\n", me.uid(), me.gid()));
    assert_eq!(read("2/was"), format!("link {}:{}\n", me.uid(), me.gid()));
    assert_eq!(read("3/was"), format!("tree {}:{}\n", found.dev(), found.ino()));
    assert_eq!([read("4/was"), read("5/was")], ["none\n", "none\n"]);
    assert_eq!([read("1/data"), read("2/data"), read(&format!("3/data/{MARKER}"))], ["x", "to", "1"]);
    let mode = fs::metadata(tree.kept("")).expect("a directory").permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
}

#[test]
fn what_was_kept_first_is_the_truth_until_the_change_is_well() {
    let tree = Tree::new();
    let (one, two) = (tree.path("one"), tree.path("two"));
    tree.write("one", "1");
    tree.write("two", "1");
    tree.keep(&[&one]).expect("it is kept");
    tree.write("one", "2");
    tree.write("two", "2");
    tree.keep(&[&two, &one]).expect("it is kept");
    tree.write("one", "3");
    tree.write("two", "3");
    tree.commit().expect("it is well");
    tree.commit().expect("it is well");
    // It can still be rolled back.
    assert_eq!(tree.undo(), Ok(Outcome::Done));
    let now = || [tree.text("one"), tree.text("two")];
    assert_eq!(now(), ["1", "2"]);
    tree.keep(&[&one]).expect("it is kept");
    tree.commit().expect("it is well");
    tree.write("one", "4");
    tree.keep(&[&one]).expect("it is kept");
    tree.write("one", "5");
    assert_eq!(tree.undo(), Ok(Outcome::Done));
    assert_eq!(now(), ["4", "2"]);
}

#[test]
fn nothing_kept_is_a_failure_and_half_a_snapshot_is_none() {
    let tree = Tree::new();
    assert_eq!(tree.undo().expect_err("nothing").why, "nothing was kept of web on this host");
    assert_eq!(tree.commit().expect_err("nothing").why, "nothing was kept of web on this host");
    tree.write("one", "1");
    tree.keep(&[&tree.path("one")]).expect("it is kept");
    // As a loss of power in the middle leaves it.
    let half = tree.kept("").replace("/web/", "/.new-web");
    fs::rename(tree.kept(""), &half).expect("it is there");
    tree.write("one", "2");
    assert!(tree.undo().expect_err("nothing").why.contains("nothing was kept"));
    assert_eq!(tree.text("one"), "2");
    tree.keep(&[&tree.path("one")]).expect("it is kept");
    assert!(!Path::new(&half).exists());
    fs::write(tree.kept("version"), "2\n").expect("a version");
    assert!(tree.undo().expect_err("newer").why.contains("of a newer armilla"));
    assert!(tree.keep(&[]).expect_err("newer").why.contains("of a newer armilla"));
    fs::write(tree.kept("version"), "1\n").expect("a version");
    fs::write(tree.kept("1/was"), "").expect("damaged");
    let why = tree.undo().expect_err("it is not known").why;
    let path = tree.path("one");
    assert_eq!(why, format!("path {path}: how it was is not known: {} is damaged", tree.kept("1/was")));
}

#[test]
fn what_cannot_be_rolled_back_is_told_and_the_rest_is() {
    let tree = Tree::new();
    tree.write("file", "1");
    tree.write("other", "1");
    tree.keep(&[&tree.path("other"), &tree.path("file")]).expect("it is kept");
    fs::remove_file(tree.path("file")).expect("a file");
    fs::create_dir_all(tree.path("file/of/another")).expect("a directory");
    tree.write("other", "2");
    let why = tree.undo().expect_err("there is a directory").why;
    let path = tree.path("file");
    assert_eq!(why, format!("path {path}: {path} is a directory now, with something in it: it is not removed"));
    assert_eq!(tree.text("other"), "1");
    assert_eq!(tree.journal(), "");
    assert!(tree.look().keys().all(|path| !path.contains(".armilla-")), "{:?}", tree.look());
    fs::remove_dir_all(tree.path("file")).expect("a directory");
    assert_eq!(tree.undo(), Ok(Outcome::Done));
    assert_eq!(tree.text("file"), "1");
    for wrong in ["/etc/../x", "/two\nlines", "relative", "/etc/", "/etc/."] {
        assert!(tree.keep(&[wrong]).expect_err(wrong).why.contains("invalid name"), "{wrong}");
    }
    rustix::fs::mkfifoat(rustix::fs::CWD, tree.path("pipe"), rustix::fs::Mode::from_raw_mode(0o600)).expect("a pipe");
    let why = tree.keep(&[&tree.path("pipe")]).expect_err("a pipe").why;
    assert!(why.ends_with("is not a file, link or directory, and nothing else can be rolled back"), "{why}");
    assert!(tree.with(|keep, means| undo(keep, &owner(), "../web", means)).is_err());
}

#[test]
fn what_is_in_a_home_is_found_there() {
    let tree = Tree::new();
    let home = tree.host.room.path().join("home/ada");
    fs::create_dir_all(&home).expect("a directory");
    fs::write(home.join("x"), "1").expect("a file");
    tree.keep(&["~ada/x", "~ada/new", "~eve/x"]).expect("it is kept");
    fs::write(home.join("x"), "2").expect("a file");
    fs::write(home.join("new"), "2").expect("a file");
    assert_eq!(tree.undo(), Ok(Outcome::Done));
    assert_eq!(fs::read_to_string(home.join("x")).expect("a file"), "1");
    assert!(!home.join("new").exists());
}

#[test]
fn a_link_that_others_could_plant_leads_nowhere() {
    let tree = Tree::new();
    fs::create_dir(tree.path("real")).expect("a directory");
    tree.write("real/file", "secret");
    let open = tree.path("open");
    fs::create_dir(&open).expect("a directory");
    fs::create_dir(format!("{open}/way")).expect("a directory");
    fs::write(format!("{open}/way/file"), "old").expect("a file");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("a mode");
    let path = format!("{open}/way/file");
    tree.keep(&[&path, &format!("{open}/way/new")]).expect("it is kept");
    fs::remove_dir_all(format!("{open}/way")).expect("removed");
    symlink(tree.path("real"), format!("{open}/way")).expect("a link");
    tree.write("real/new", "hers");
    let why = tree.undo().expect_err("it was planted").why;
    assert!(why.contains("way is a link that others could have planted"), "{why}");
    assert_eq!([tree.text("real/file"), tree.text("real/new")], ["secret", "hers"]);
    let other = Tree::new();
    symlink(tree.path("real"), other.path("way")).expect("a link");
    fs::set_permissions(other.path(""), fs::Permissions::from_mode(0o777)).expect("a mode");
    assert!(other.keep(&[&other.path("way/file")]).is_err());
    assert!(!Path::new(&other.kept("")).exists());
}

#[test]
#[ignore = "needs root: works in a directory of another user, who planted something"]
fn what_is_roots_in_a_directory_of_others_is_neither_removed_nor_given_away() {
    let ada = 1001;
    for (planted, is_done) in [
        (".armilla-new-file", false),
        (".armilla-old-file", false),
        (".armilla-new-made", false),
        ("made", false),
        ("x", true),
    ] {
        let tree = Tree::new();
        std::os::unix::fs::chown(tree.path(""), Some(ada), Some(ada)).expect("needs root");
        tree.write("file", "old");
        fs::create_dir(tree.path("made")).expect("a directory");
        std::os::unix::fs::chown(tree.path("made"), Some(ada), Some(ada)).expect("needs root");
        tree.keep(&[&tree.path("file"), &tree.path("made")]).expect("it is kept");
        tree.write("file", "new");
        fs::remove_dir(tree.path("made")).expect("it goes");
        fs::create_dir(tree.path(planted)).expect("a directory");
        fs::set_permissions(tree.path(planted), fs::Permissions::from_mode(0o700)).expect("a mode");
        tree.write(&format!("{planted}/secret"), "of root");
        let done = tree.undo();
        assert_eq!(done.is_ok(), is_done, "{planted}: {done:?}");
        let there = fs::metadata(tree.path(planted)).expect("it is there");
        assert_eq!((there.uid(), there.mode() & 0o7777), (0, 0o700), "{planted}");
        assert_eq!(tree.text(&format!("{planted}/secret")), "of root", "{planted}");
        // All else comes back, and all of it once that is away.
        assert_eq!(
            tree.text("file"),
            if planted.ends_with("-file") && planted.contains("new") { "new" } else { "old" }
        );
        fs::rename(tree.path(planted), tree.path("away")).expect("it is moved");
        assert!(tree.undo().is_ok(), "{planted}");
        assert_eq!(fs::metadata(tree.path("made")).map(|made| made.uid()).ok(), Some(ada), "{planted}");
    }
}

#[test]
fn extended_attributes_come_back() {
    let tree = Tree::new();
    let set = |name: &str, value: &str| {
        let set =
            rustix::fs::setxattr(tree.path(name), "user.armilla", value.as_bytes(), rustix::fs::XattrFlags::empty());
        set.expect("a file system with extended attributes");
    };
    let get = |name: &str| {
        let mut value = [0; 64];
        rustix::fs::getxattr(tree.path(name), "user.armilla", &mut value).ok().map(|length| value[..length].to_vec())
    };
    for name in ["replaced", "stripped", "plain"] {
        tree.write(name, "x");
    }
    set("replaced", "old");
    set("stripped", "old");
    let names = ["replaced", "stripped", "plain"].map(|name| tree.path(name));
    tree.keep(&all(&names)).expect("it is kept");
    fs::remove_file(tree.path("replaced")).expect("removed");
    tree.write("replaced", "new");
    rustix::fs::removexattr(tree.path("stripped"), "user.armilla").expect("removed");
    set("plain", "new");
    assert_eq!(tree.undo(), Ok(Outcome::Done));
    assert_eq!([get("replaced"), get("stripped"), get("plain")], [Some(b"old".to_vec()), Some(b"old".to_vec()), None]);
}

#[test]
fn what_the_shell_kept_without_extended_attributes_is_rolled_back_too() {
    let tree = Tree::new();
    tree.write("file", "1");
    tree.keep(&[&tree.path("file")]).expect("it is kept");
    fs::remove_file(tree.kept("1/xattrs")).expect("it is ours");
    fs::write(tree.kept("restore"), "#!/bin/sh\n").expect("a program");
    tree.write("file", "2");
    assert_eq!(tree.undo(), Ok(Outcome::Done));
    assert_eq!(tree.text("file"), "1");
}

#[test]
fn a_torn_journal_is_repaired_before_it_is_told() {
    let tree = Tree::new();
    tree.write("one", "1");
    tree.keep(&[&tree.path("one")]).expect("it is kept");
    fs::write(tree.host.folder().join("journal"), "undone other\nbeg").expect("a journal");
    assert_eq!(tree.undo(), Ok(Outcome::Done));
    assert_eq!(tree.journal(), "undone other\nundone web\n");
    assert!(Journal::parse(tree.journal().as_bytes()).is_ok());
}

// -- units --------------------------------------------------------------------------------------------------------------

/// A systemd that knows whether a unit is active and enabled.
#[derive(Default)]
struct Systemd {
    units: RefCell<BTreeMap<String, (String, String)>>,
    ran: RefCell<Vec<String>>,
    fails: Option<&'static str>,
}

impl Systemd {
    fn is(&self, unit: &str, active: &str, enabled: &str) {
        self.units.borrow_mut().insert(unit.to_owned(), (active.to_owned(), enabled.to_owned()));
    }

    fn run(&self, command: &Command) -> CommandReading {
        let argv: Vec<&str> = command.argv.iter().map(String::as_str).filter(|word| *word != "--").collect();
        let (verb, unit) = (argv[1..].join(" "), argv.last().copied().unwrap_or_default().to_owned());
        let said =
            |text: &str| CommandReading { stdout: format!("{text}\n").into_bytes(), ..CommandReading::default() };
        let mut units = self.units.borrow_mut();
        let known = units.entry(unit).or_insert_with(|| ("inactive".to_owned(), String::new()));
        if verb.starts_with("is-active") {
            return CommandReading { exit: 3, ..said(&known.0) };
        }
        if verb.starts_with("is-enabled") {
            return said(&known.1);
        }
        self.ran.borrow_mut().push(verb.clone());
        if self.fails.is_some_and(|fails| verb.starts_with(fails)) {
            return CommandReading { exit: 1, stdout: Vec::new(), stderr: b"Job failed.\n".to_vec() };
        }
        match verb.trim_start_matches("--no-block ").split(' ').next() {
            Some("start" | "restart") => "active".clone_into(&mut known.0),
            Some("stop") => "inactive".clone_into(&mut known.0),
            Some("enable") => "enabled".clone_into(&mut known.1),
            Some("disable") => "disabled".clone_into(&mut known.1),
            _ => {}
        }
        CommandReading::default()
    }
}

fn units(tree: &Tree, systemd: &Systemd, touched: &[Touched]) {
    let wanted = Snapshot { owner: owner(), name: "web".to_owned(), touched: touched.to_vec() };
    let run = |command: &Command| systemd.run(command);
    tree.host.with(|keep| snapshot(keep, &wanted, Means::of(keep, &run))).expect("it is kept");
}

fn unit(name: &str) -> Touched {
    Touched::Unit(name.to_owned())
}

#[test]
fn units_run_as_before_and_have_read_their_files_again() {
    let (tree, systemd) = (Tree::new(), Systemd::default());
    systemd.is("ran.service", "active", "enabled");
    systemd.is("stopped.service", "inactive", "disabled");
    systemd.is("odd.mount", "active", "static");
    tree.write("file", "1");
    let touched = ["ran.service", "stopped.service", "odd.mount", "new.service"].map(unit);
    units(&tree, &systemd, &[&touched[..], &[Touched::Path(tree.path("file"))]].concat());
    let was = |number: u8| fs::read_to_string(tree.kept(&format!("{number}/was"))).expect("a line");
    assert_eq!([was(1), was(2)], ["active enabled\n", "inactive disabled\n"]);
    assert_eq!([was(3), was(4)], ["active static\n", "inactive \n"]);
    tree.write("file", "2");
    systemd.is("ran.service", "failed", "disabled");
    systemd.is("stopped.service", "active", "enabled");
    systemd.is("new.service", "activating", "enabled-runtime");
    let run = |command: &Command| systemd.run(command);
    let done = tree.host.with(|keep| undo(keep, &owner(), "web", Means::of(keep, &run)));
    assert_eq!(done, Ok(Outcome::Done));
    let wanted = [
        "stop new.service",
        "disable new.service",
        "stop stopped.service",
        "disable stopped.service",
        "reset-failed ran.service",
        "daemon-reload",
        "reset-failed odd.mount",
        "enable ran.service",
        "reset-failed ran.service",
        "restart ran.service",
    ];
    assert_eq!(*systemd.ran.borrow(), wanted);
}

#[test]
fn while_a_host_starts_no_unit_is_waited_for_and_where_nothing_changed_none_is_restarted() {
    let (tree, systemd) = (Tree::new(), Systemd::default());
    systemd.is("ran.service", "active", "enabled");
    units(&tree, &systemd, &[unit("ran.service")]);
    systemd.is("ran.service", "inactive", "enabled");
    let run = |command: &Command| systemd.run(command);
    let early = |pace: Pace| {
        tree.host.with(|keep| {
            let environment = keep.make_belonging(&owner()).expect("a directory");
            restore(&environment, "web", pace, Means::of(keep, &run))
        })
    };
    assert_eq!(early(Pace::Early), Ok(()));
    assert_eq!(*systemd.ran.borrow(), ["reset-failed ran.service", "--no-block start ran.service"]);
    assert_eq!(early(Pace::Wait), Ok(()), "done already is success");
}

#[test]
fn a_unit_that_does_not_start_is_told_in_systemds_words() {
    let (tree, systemd) = (Tree::new(), Systemd { fails: Some("start"), ..Systemd::default() });
    systemd.is("ran.service", "active", "enabled");
    units(&tree, &systemd, &[unit("ran.service")]);
    systemd.is("ran.service", "inactive", "enabled");
    let run = |command: &Command| systemd.run(command);
    let done = tree.host.with(|keep| undo(keep, &owner(), "web", Means::of(keep, &run)));
    assert_eq!(done.expect_err("it does not start").why, "unit ran.service: Job failed.");
    assert!(!Path::new(&tree.kept("undone")).exists());
}

// -- killed -------------------------------------------------------------------------------------------------------------

/// Where a test that is killed works; see [`killed`].
const PLACE: &str = "ARMILLA_TEST_KILLED_IN";

/// What a process that is about to be killed does: the work of the test that started it, in its directory.
#[test]
fn part_of_a_test_that_is_killed() {
    let Some(room) = std::env::var_os(PLACE) else { return };
    let room = Path::new(&room);
    let tree = Tree { host: Host::at_room(room) };
    let names: Vec<String> =
        fs::read_to_string(room.join("names")).expect("names").split('|').map(str::to_owned).collect();
    fs::write(room.join("begun"), "").expect("a sign");
    if room.join("etc/new").exists() {
        tree.undo().expect("it is rolled back");
    } else {
        tree.keep(&all(&names)).expect("it is kept");
    }
}

/// Starts the work in a process of its own, and kills it after so long. Whether it came to its end.
fn killed(tree: &Tree, names: &[String], after: Duration) -> bool {
    let room = tree.host.room.path();
    fs::write(room.join("names"), names.join("|")).expect("written");
    let mut child = Process::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "host::undo::tests::part_of_a_test_that_is_killed", "--nocapture"])
        .env(PLACE, room)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    while !room.join("begun").exists() {
        std::thread::sleep(Duration::from_micros(100));
    }
    std::thread::sleep(after);
    let _ = child.kill();
    let over = child.wait().expect("it ends").success();
    fs::remove_file(room.join("begun")).expect("a sign");
    over
}

/// Times to be killed at, close together at first.
fn instants() -> impl Iterator<Item = Duration> {
    (0..40).map(|n: u64| Duration::from_micros(n * n * 30))
}

#[test]
fn killed_anywhere_and_done_again_it_ends_the_same() {
    let mut unfinished = 0;
    for after in instants() {
        let tree = Tree::new();
        let names = furnish(&tree);
        let before = tree.look();
        tree.keep(&all(&names)).expect("it is kept");
        change(&tree);
        let over = killed(&tree, &names, after);
        unfinished += usize::from(!over);
        let done = tree.undo();
        assert!(matches!(done, Ok(Outcome::Done | Outcome::NotNeeded)), "killed after {after:?}: {done:?}");
        assert_eq!(tree.look(), before, "killed after {after:?}");
        assert!(Journal::parse(tree.journal().as_bytes()).is_ok(), "{after:?}");
        assert_eq!(tree.undo(), Ok(Outcome::NotNeeded), "{after:?}");
    }
    assert!(unfinished > 3, "only {unfinished} were killed in the middle");
}

#[test]
fn a_snapshot_that_was_killed_is_made_again_and_never_half() {
    let mut unfinished = 0;
    for after in instants() {
        let tree = Tree::new();
        let names = furnish(&tree);
        // One that is over is there already.
        tree.keep(&[&tree.path("same")]).expect("it is kept");
        tree.commit().expect("it is well");
        let before = tree.look();
        unfinished += usize::from(!killed(&tree, &names, after));
        tree.keep(&all(&names)).expect("it is kept");
        change(&tree);
        assert_eq!(tree.undo(), Ok(Outcome::Done), "killed after {after:?}");
        assert_eq!(tree.look(), before, "killed after {after:?}");
    }
    assert!(unfinished > 3, "only {unfinished} were killed in the middle");
}
