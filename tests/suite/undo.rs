//! What was before a change comes back: by the shells of this machine in a directory of their own, and in the simulator.
//!
//! In: changes, and instants to be killed at. Out: nothing. Never: a unit or a package of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command as Process;

use armilla::ledger::Journal;
use armilla::name::EnvName;
use armilla::step::{MARKER, Outcome, Snapshot, Step, Touched};

use crate::script::{Room, perform_by, shells};

fn environment() -> EnvName {
    EnvName::new("staging").expect("a name")
}

fn snapshot(touched: &[&str]) -> Step {
    let touched = touched.iter().map(|path| Touched::Path((*path).to_owned())).collect();
    Step::Snapshot(Snapshot { environment: environment(), name: "web".to_owned(), touched })
}

fn commit() -> Step {
    Step::Commit { environment: environment(), name: "web".to_owned() }
}

fn undo() -> Step {
    Step::Undo { environment: environment(), name: "web".to_owned() }
}

/// A host as far as these scripts know it: a place to keep things, and a tree that changes.
struct Host {
    room: Room,
    shell: Vec<&'static str>,
}

impl Host {
    fn new(name: &str, shell: &[&'static str]) -> Self {
        let host = Self { room: Room::new(name), shell: shell.to_vec() };
        fs::create_dir(host.room.path("etc")).expect("a folder");
        host
    }

    fn tree(&self) -> String {
        self.room.path("etc")
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.tree())
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).expect("a file");
    }

    fn kept(&self, name: &str) -> String {
        self.room.path(&format!("kept/host/staging@/undo/web/{name}"))
    }

    fn perform(&self, step: Step) -> Outcome {
        let before = format!("export ARMILLA_HOST_DIR={};", self.room.path("kept"));
        let (_, mut outcomes) = perform_by(&self.shell, &before, &[step]);
        outcomes.pop().expect("an outcome")
    }

    fn done(&self, step: Step) {
        assert_eq!(self.perform(step), Outcome::Done, "{:?}", self.shell);
    }

    fn fails(&self, step: Step) -> String {
        match self.perform(step) {
            Outcome::Failed { stderr, .. } => stderr,
            other => panic!("{:?}: {other:?}", self.shell),
        }
    }

    fn restore(&self) -> bool {
        let ended = Process::new(self.shell[0]).args(&self.shell[1..]).arg(self.kept("restore")).output();
        ended.expect("the program starts").status.success()
    }

    fn journal(&self) -> String {
        fs::read_to_string(self.room.path("kept/host/staging@/journal")).unwrap_or_default()
    }
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
        for entry in fs::read_dir(path).expect("a folder") {
            all.extend(look(&entry.expect("an entry").path()));
        }
        "folder".to_owned()
    };
    let text = format!("{:o} {}:{} {content}", found.mode(), found.uid(), found.gid());
    all.insert(path.to_string_lossy().into_owned(), text);
    all
}

/// A tree with one of everything, what a change makes of it, and what the change touches.
fn furnish(host: &Host) -> Vec<String> {
    host.write("it's $(a) file", "old\n\0\u{e9}");
    fs::set_permissions(host.path("it's $(a) file"), fs::Permissions::from_mode(0o640)).expect("a mode");
    host.write("same", "same");
    host.write("goes", "");
    symlink("old target\n", host.path("link")).expect("a link");
    fs::create_dir_all(host.path("folder/empty")).expect("a folder");
    fs::set_permissions(host.path("folder"), fs::Permissions::from_mode(0o2750)).expect("a mode");
    fs::create_dir_all(host.path("app/bin")).expect("a folder");
    host.write("app/bin/run", "version 1");
    host.write(&format!("app/{MARKER}"), "1");
    symlink("bin/run", host.path("app/run")).expect("a link");
    let names = [
        "it's $(a) file",
        "same",
        "goes",
        "link",
        "folder",
        "folder/empty",
        "app",
        "new",
        "new link",
        "deep/new/file",
        "fresh",
    ];
    names.iter().map(|name| host.path(name)).collect()
}

fn change(host: &Host) {
    let _ = fs::remove_file(host.path("it's $(a) file"));
    host.write("it's $(a) file", "new");
    let _ = fs::remove_file(host.path("goes"));
    let _ = fs::remove_file(host.path("link"));
    host.write("link", "is a file now");
    fs::set_permissions(host.path("folder"), fs::Permissions::from_mode(0o700)).expect("a mode");
    let _ = fs::remove_dir(host.path("folder/empty"));
    fs::remove_dir_all(host.path("app")).expect("a tree");
    fs::create_dir(host.path("app")).expect("a folder");
    host.write(&format!("app/{MARKER}"), "2");
    host.write("app/only in 2", "");
    host.write("new", "");
    symlink("/", host.path("new link")).expect("a link");
    fs::create_dir_all(host.path("deep/new")).expect("a folder");
    host.write("deep/new/file", "");
    fs::create_dir(host.path("fresh")).expect("a folder");
    host.write(&format!("fresh/{MARKER}"), "1");
}

fn touched(names: &[String]) -> Step {
    snapshot(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn everything_comes_back_and_only_once() {
    for shell in shells() {
        let host = Host::new("undo", &shell);
        let names = furnish(&host);
        let before = look(Path::new(&host.tree()));
        host.done(touched(&names));
        change(&host);
        assert_ne!(look(Path::new(&host.tree())), before);
        host.done(undo());
        assert_eq!(look(Path::new(&host.tree())), before, "{shell:?}");
        assert_eq!(host.journal(), "undone web\n");
        assert_eq!(host.perform(undo()), Outcome::NotNeeded, "{shell:?}");
        assert!(host.restore());
        assert_eq!(host.journal(), "undone web\n", "{shell:?}: told twice");
        assert!(host.fails(commit()).contains("was undone already"));
        // What comes next begins anew.
        host.write("same", "another");
        host.done(touched(&names));
        host.write("same", "worse");
        host.done(undo());
        assert_eq!(fs::read_to_string(host.path("same")).expect("it is there"), "another", "{shell:?}");
    }
}

#[test]
fn what_was_kept_first_is_the_truth_until_the_change_is_well() {
    for shell in shells() {
        let host = Host::new("open", &shell);
        let (one, two) = (host.path("one"), host.path("two"));
        host.write("one", "1");
        host.write("two", "1");
        host.done(snapshot(&[&one]));
        host.write("one", "2");
        host.write("two", "2");
        host.done(snapshot(&[&two, &one]));
        host.write("one", "3");
        host.write("two", "3");
        host.done(commit());
        host.done(commit());
        // It can still be put back.
        host.done(undo());
        let now = || [&one, &two].map(|path| fs::read_to_string(path).expect("a file"));
        assert_eq!(now(), ["1", "2"], "{shell:?}");
        host.done(snapshot(&[&one]));
        host.done(commit());
        host.write("one", "4");
        host.done(snapshot(&[&one]));
        host.write("one", "5");
        host.done(undo());
        assert_eq!(now(), ["4", "2"], "{shell:?}");
    }
}

#[test]
fn nothing_kept_is_a_failure_and_half_a_snapshot_is_none() {
    for shell in shells() {
        let host = Host::new("half", &shell);
        assert!(host.fails(undo()).contains("nothing was kept of web on this host"), "{shell:?}");
        assert!(host.fails(commit()).contains("nothing was kept of web on this host"), "{shell:?}");
        host.write("one", "1");
        host.done(snapshot(&[&host.path("one")]));
        // As a loss of power in the middle leaves it.
        let folder = host.kept("");
        let half = folder.replace("/web/", "/.new-web");
        fs::rename(&folder, &half).expect("it is there");
        host.write("one", "2");
        assert!(host.fails(undo()).contains("nothing was kept"), "{shell:?}");
        assert_eq!(fs::read_to_string(host.path("one")).expect("a file"), "2");
        host.done(snapshot(&[&host.path("one")]));
        assert!(!Path::new(&half).exists());
        fs::write(host.kept("version"), "2\n").expect("a version");
        assert!(host.fails(undo()).contains("of a newer armilla"), "{shell:?}");
        assert!(host.fails(snapshot(&[])).contains("of a newer armilla"), "{shell:?}");
    }
}

#[test]
fn what_cannot_be_put_back_is_told_and_the_rest_is() {
    for shell in shells() {
        let host = Host::new("rest", &shell);
        host.write("file", "1");
        host.write("other", "1");
        host.done(snapshot(&[&host.path("other"), &host.path("file")]));
        fs::remove_file(host.path("file")).expect("a file");
        fs::create_dir_all(host.path("file/of/somebody")).expect("a folder");
        host.write("other", "2");
        let why = host.fails(undo());
        assert_eq!(
            why.trim(),
            format!("path {0}: {0} is a directory now, with something in it: it is not removed", host.path("file"))
        );
        assert_eq!(fs::read_to_string(host.path("other")).expect("a file"), "1", "{shell:?}");
        assert_eq!(host.journal(), "");
        fs::remove_dir_all(host.path("file")).expect("a folder");
        host.done(undo());
        assert_eq!(fs::read_to_string(host.path("file")).expect("a file"), "1", "{shell:?}");
        assert!(host.fails(snapshot(&["/etc/../x"])).contains("is no name of one"));
        assert!(host.fails(snapshot(&["/two\nlines"])).contains("is no name of one"));
    }
}

#[test]
fn the_journal_is_mended_before_it_is_told() {
    let host = Host::new("torn", &["dash"]);
    host.write("one", "1");
    host.done(snapshot(&[&host.path("one")]));
    fs::write(host.room.path("kept/host/staging@/journal"), "undone other\nbeg").expect("a journal");
    assert!(host.restore());
    assert_eq!(host.journal(), "undone other\nundone web\n");
    assert!(Journal::parse(host.journal().as_bytes()).is_ok());
}
