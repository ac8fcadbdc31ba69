//! What was before a change comes back: by the shells of this machine in a directory of their own, and in the simulator.
//!
//! In: changes, and instants to be killed at. Out: nothing. Never: a unit or a package of this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command as Process;

use armilla::inventory::Endpoint;
use armilla::ledger::{Journal, Ledger};
use armilla::name::{Address, EnvName};
use armilla::plan::undo::touched;
use armilla::plan::{Plan, PlannedBlock};
use armilla::sim::{Fault, World};
use armilla::step::{MARKER, Outcome, Snapshot, Step, Touched};
use armilla::transport::{Order, Transport as _, TransportError};
use proptest::prelude::*;

use crate::generator::{Project, project};
use crate::script::{Room, perform_by, shells};

fn environment() -> EnvName {
    EnvName::new("staging").expect("a name")
}

fn snapshot(touched: &[&str]) -> Step {
    let touched = touched.iter().map(|path| Touched::Path((*path).to_owned())).collect();
    Step::Snapshot(Snapshot { owner: environment().into(), name: "web".to_owned(), touched })
}

fn commit() -> Step {
    Step::Commit { owner: environment().into(), name: "web".to_owned() }
}

fn undo() -> Step {
    Step::Undo { owner: environment().into(), name: "web".to_owned() }
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
        self.room.path(&format!("kept/host/staging@web1/undo/web/{name}"))
    }

    fn perform(&self, step: Step) -> Outcome {
        let before = format!("H=web1; export ARMILLA_HOST_DIR={};", self.room.path("kept"));
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
        fs::read_to_string(self.room.path("kept/host/staging@web1/journal")).unwrap_or_default()
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

fn all(names: &[String]) -> Step {
    snapshot(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn everything_comes_back_and_only_once() {
    for shell in shells() {
        let host = Host::new("undo", &shell);
        let names = furnish(&host);
        let before = look(Path::new(&host.tree()));
        host.done(all(&names));
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
        host.done(all(&names));
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
        assert!(host.fails(snapshot(&["/etc/../x"])).contains("invalid name"));
        assert!(host.fails(snapshot(&["/two\nlines"])).contains("invalid name"));
    }
}

#[test]
fn the_journal_is_mended_before_it_is_told() {
    let host = Host::new("torn", &["dash"]);
    host.write("one", "1");
    host.done(snapshot(&[&host.path("one")]));
    fs::write(host.room.path("kept/host/staging@web1/journal"), "undone other\nbeg").expect("a journal");
    assert!(host.restore());
    assert_eq!(host.journal(), "undone other\nundone web\n");
    assert!(Journal::parse(host.journal().as_bytes()).is_ok());
}

/// Runs a script by bash, which kills itself before its command of this number. Whether it came to its end.
fn killed_at(number: usize, script: &str, place: &str) -> bool {
    let trap = format!("_k=0; trap '_k=$((_k + 1)); [ $_k != {number} ] || kill -KILL $$' DEBUG; set -T; . \"$0\"");
    let ended =
        Process::new("bash").args(["-c", &trap, script]).env("ARMILLA_HOST_DIR", place).env("H", "web1").output();
    ended.expect("bash starts").status.success()
}

/// Numbers of commands, close together at first.
fn instants() -> impl Iterator<Item = usize> {
    (0..).map(|n| n * n / 2 + n * 11 + 3)
}

#[test]
fn killed_anywhere_and_done_again_it_ends_the_same() {
    for number in instants() {
        let host = Host::new(&format!("killed-{number}"), &["dash"]);
        let names = furnish(&host);
        let before = look(Path::new(&host.tree()));
        host.done(all(&names));
        change(&host);
        let over = killed_at(number, &host.kept("restore"), "");
        let done = host.perform(undo());
        assert!(matches!(done, Outcome::Done | Outcome::NotNeeded), "killed before command {number}: {done:?}");
        assert_eq!(look(Path::new(&host.tree())), before, "killed before command {number}");
        assert!(Journal::parse(host.journal().as_bytes()).is_ok(), "{number}");
        assert_eq!(host.perform(undo()), Outcome::NotNeeded, "{number}");
        if over {
            assert!(number > 150, "it has more commands than that");
            break;
        }
    }
}

#[test]
fn a_snapshot_that_was_killed_is_made_again_and_never_half() {
    for number in instants() {
        let host = Host::new(&format!("kept-{number}"), &["dash"]);
        let names = furnish(&host);
        // One that is over is there already.
        host.done(snapshot(&[&host.path("same")]));
        host.done(commit());
        let before = look(Path::new(&host.tree()));
        let script = host.room.path("script");
        let text = armilla::transport::script::step_script(&[all(&names)], "0123456789abcdef0123456789abcdef");
        fs::write(&script, text).expect("a script");
        let over = killed_at(number, &script, &host.room.path("kept"));
        host.done(all(&names));
        change(&host);
        host.done(undo());
        assert_eq!(look(Path::new(&host.tree())), before, "killed before command {number}");
        if over {
            assert!(number > 150, "it has more commands than that");
            break;
        }
    }
}

// -- what the ledger makes of it ----------------------------------------------------------------------------------------

/// A stage of a run with an entry of two steps for each role.
fn stage(run: &str, roles: &[&str]) -> String {
    let entry = |role: &&str| {
        serde_json::json!({
            "place": {"role": role, "kind": "file", "target": format!("/{role}")}, "steps": 2, "want": "w",
            "existed": false, "absent": null, "order": 0, "protect": false,
            "notifies": [[{"role": role, "kind": "service", "target": role}, "restart"]],
        })
    };
    let entries: Vec<serde_json::Value> = roles.iter().map(entry).collect();
    let applied =
        serde_json::json!({"run": run, "at": "2026-01-01T00:00:00Z", "plan": "p", "who": "me", "revision": null});
    let intent = serde_json::json!({"version": 1, "applied": applied, "stage": 0, "service": null, "entries": entries});
    format!("stage boot {intent}\n")
}

/// What is owned, and what is owed, by role; `?` where it is not known whether it was done.
fn ledger(before: Option<&Ledger>, journal: &str) -> String {
    let text = before.map(Ledger::text);
    let ledger = Ledger::of(&environment(), text.as_deref(), Some(journal.as_bytes())).expect("a ledger");
    let sure = |done: bool| if done { "" } else { "?" };
    let owned = ledger.owned.iter().map(|(place, owned)| place.role.to_string() + sure(owned.done));
    let pending = ledger.pending.keys().map(|place| "!".to_owned() + place.role.as_str());
    owned.chain(pending).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_was_put_back_is_nobodys() {
    let (a, b) = (stage("run-1", &["a"]), stage("run-1", &["b"]));
    let done = "begin 0\ndone 0\nbegin 1\ndone 1\nover\n";
    assert_eq!(ledger(None, &format!("{a}{done}{b}{done}")), "a b !a !b");
    assert_eq!(ledger(None, &format!("{a}{done}{b}{done}undone a\n")), "b !b");
    assert_eq!(ledger(None, &format!("{a}{done}undone a\n{b}{done}")), "b !b");
    assert_eq!(ledger(None, &format!("{a}{done}undone b\n")), "a !a");
    // What comes after it counts, and what the ledger said before stays.
    assert_eq!(ledger(None, &format!("{a}{done}undone a\n{a}{done}")), "a !a");
    let known = Ledger::of(&environment(), None, Some(format!("{a}{done}").as_bytes())).expect("a ledger");
    assert_eq!(ledger(Some(&known), &format!("{a}begin 0\nundone a\n")), "a !a");
    assert_eq!(ledger(None, "undone a\n"), "");
    // Of a stage with two roles, one goes.
    let both = stage("run-1", &["a", "b"]);
    assert_eq!(ledger(None, &format!("{both}begin 3\ndone 3\nover\nundone a\n")), "b !b");
}

#[test]
fn a_step_that_went_on_after_it_was_put_back_is_not_known() {
    let a = stage("run-1", &["a"]);
    assert_eq!(ledger(None, &format!("{a}begin 0\ndone 0\nbegin 1\nundone a\n")), "");
    assert_eq!(ledger(None, &format!("{a}begin 0\ndone 0\nundone a\nbegin 1\n")), "a? !a");
    assert_eq!(ledger(None, &format!("{a}begin 0\ndone 0\nbegin 1\nundone a\ndone 1\nover\n")), "a? !a");
    assert_eq!(ledger(None, &format!("{a}undone a\nbegin 0\ndone 0\nbegin 1\ndone 1\n")), "a !a");
    for wrong in ["undone", "undone ", "undone -x", "undone a b"] {
        assert!(Journal::parse(format!("{wrong}\n").as_bytes()).is_err(), "{wrong}");
    }
}

// -- random projects in the simulator -----------------------------------------------------------------------------------

type Shapes = BTreeMap<String, BTreeMap<String, String>>;

fn cases(number: u32) -> ProptestConfig {
    ProptestConfig { cases: number, failure_persistence: None, max_shrink_iters: 500, ..ProptestConfig::default() }
}

fn plan(world: &World) -> Plan {
    world.plan().unwrap_or_else(|problems| panic!("{problems}"))
}

fn perform(world: &World, block: &PlannedBlock, step: Step) -> Result<Outcome, TransportError> {
    let host = Endpoint::new(block.host.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let steps = [step];
    let done = runtime.block_on(world.fleet.perform(&host, Order::of(&steps), &|_| ()));
    done.map(|mut outcomes| outcomes.pop().expect("an outcome"))
}

/// Keeps what each role is about to change.
fn keep(world: &World, plan: &Plan) {
    for block in plan.blocks() {
        let snapshot =
            Snapshot { owner: plan.owner.clone(), name: block.role.to_string(), touched: touched(&block.entries).0 };
        assert_eq!(perform(world, block, Step::Snapshot(snapshot)), Ok(Outcome::Done));
    }
}

/// Puts all of it back, what changed last first.
fn roll_back(world: &World, plan: &Plan) {
    for block in plan.blocks().collect::<Vec<_>>().into_iter().rev() {
        let undo = || Step::Undo { owner: plan.owner.clone(), name: block.role.to_string() };
        let mut ended = perform(world, block, undo());
        // The host had no power in the middle of it.
        if ended.is_err() {
            world.fleet.heal();
            world.fleet.boot(block.host.as_str());
            ended = perform(world, block, undo());
        }
        let done = matches!(ended, Ok(Outcome::Done | Outcome::NotNeeded));
        assert!(done, "{} {}: {ended:?}", block.host, block.role);
    }
}

/// All that can be put back, by host. Accounts cannot, nor what a command of the project made; systemd keeps the folder it
/// puts its links in; and who has read its files is not told, because what is put back is always read.
fn shapes(world: &World, plan: &Plan) -> Shapes {
    let lost: BTreeSet<Address> = plan.blocks().flat_map(|block| touched(&block.entries).1).collect();
    let commands: BTreeSet<String> =
        lost.iter().filter(|lost| lost.kind == "command").map(|lost| lost.target.clone()).collect();
    let links = "path /etc/systemd/system/multi-user.target.wants";
    let covered = |what: &str| {
        let made = what.strip_prefix("path ").is_some_and(|path| commands.iter().any(|command| command.contains(path)));
        !made && what != links && !["user ", "group ", "device "].iter().any(|kind| what.starts_with(kind))
    };
    let shape = |name: String| {
        let shape = world.fleet.on(&name, |host| host.shape()).unwrap_or_default();
        let shape = shape.into_iter().filter(|(what, _)| covered(what)).map(|(what, is)| {
            let is = if what.starts_with("unit ") { is.split(',').next().unwrap_or_default().to_owned() } else { is };
            (what, is)
        });
        (name, shape.collect())
    };
    world.fleet.names().into_iter().map(shape).collect()
}

fn same(before: &Shapes, after: &Shapes) -> Result<(), TestCaseError> {
    for (host, shape) in before {
        let after = &after[host];
        for what in shape.keys().chain(after.keys()) {
            prop_assert_eq!(shape.get(what), after.get(what), "{} {}", host, what);
        }
    }
    Ok(())
}

fn installed(project: &Project) -> World {
    let world = project.world();
    let run = world.apply(&plan(&world));
    assert!(run.report.converged(), "{run:?}");
    world.fleet.wait(3600);
    world
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    prop::option::of(prop_oneof![
        Just(Fault::Fails),
        Just(Fault::PowerLossBefore),
        Just(Fault::PowerLossIn),
        Just(Fault::PowerLossAfter),
        Just(Fault::CutBefore),
        Just(Fault::CutAfter),
    ])
}

/// The fault that meets a change at a step on a host, and again the roll back.
struct Cut {
    host: usize,
    step: usize,
    fault: Option<Fault>,
    again: bool,
}

/// A change that may be cut off, and a roll back that may be, too.
fn back(world: &World, project: &Project, cut: &Cut) -> Result<(), TestCaseError> {
    let Cut { host, step, fault, again } = *cut;
    let plan = plan(world);
    let mut before = shapes(world, &plan);
    keep(world, &plan);
    let name = format!("h{}", host % project.hosts + 1);
    let powerless = matches!(fault, Some(Fault::PowerLossBefore | Fault::PowerLossIn | Fault::PowerLossAfter));
    if let Some(fault) = fault {
        world.fleet.fault(&name, step, fault);
    }
    world.apply(&plan);
    world.fleet.heal();
    world.fleet.boot(&name);
    // Not one that comes after it: what runs then is what starts with the host.
    let fault = fault.filter(|fault| again && !matches!(fault, Fault::Fails | Fault::PowerLossAfter));
    if let Some(fault) = fault {
        world.fleet.fault(&name, 0, fault);
    }
    roll_back(world, &plan);
    let mut after = shapes(world, &plan);
    // Without power a unit stops that no change had to do with, or none had begun with, and that does not start with the host.
    let touched: Vec<Touched> = plan.blocks().flat_map(|block| touched(&block.entries).0).collect();
    let started = before.get(&name).cloned().unwrap_or_default();
    let starts = |unit: &str| started.contains_key(&format!("path /etc/systemd/system/multi-user.target.wants/{unit}"));
    let ours = |host: &str, what: &str| {
        what.strip_prefix("unit ")
            .is_none_or(|unit| touched.contains(&Touched::Unit(unit.to_owned())) && (host != name || starts(unit)))
    };
    if powerless {
        for (host, shape) in before.iter_mut().chain(&mut after) {
            shape.retain(|what, _| ours(host, what));
        }
    }
    same(&before, &after)
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn a_change_that_is_put_back_never_was(
        project in project(), roles in any::<u8>(), host in 0..5_usize, step in 0..25_usize, fault in fault(), again in any::<bool>(),
    ) {
        let mut world = installed(&project);
        project.partly(roles).write(&mut world);
        back(&world, &project, &Cut { host, step, fault, again })?;
    }

    #[test]
    fn an_installation_that_is_put_back_never_was(
        project in project(), host in 0..5_usize, step in 0..25_usize, fault in fault(), again in any::<bool>(),
    ) {
        back(&project.world(), &project, &Cut { host, step, fault, again })?;
    }
}
