//! What was before a change comes back: by the host program in a directory of its own, and in the simulator.
//!
//! In: changes, and instants to be killed at. Out: nothing. Never: a unit or a package of this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use armilla::host::wire::Request;
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
use crate::host::{Room, call, perform_by, program_in, start};

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

/// A host: a place to keep things, and a tree that changes.
struct Host(Room);

impl Host {
    fn new(name: &str) -> Self {
        let host = Self(Room::new(&format!("undo-{name}")));
        fs::create_dir(host.tree()).expect("a directory");
        host
    }

    fn tree(&self) -> String {
        self.0.path("etc")
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.tree())
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).expect("a file");
    }

    fn perform(&self, step: Step) -> Outcome {
        perform_by(program_in(&self.0), &[step]).pop().expect("an outcome")
    }

    fn done(&self, step: Step) {
        assert_eq!(self.perform(step), Outcome::Done);
    }

    /// Whether the step came to its end before this crash point.
    fn survives(&self, step: Step, crash_point: usize) -> bool {
        let request = Request::Perform { steps: vec![step], ticket: None, crash_at: Some(crash_point) };
        let ended = start(program_in(&self.0), call(request)).wait_with_output();
        ended.expect("it ends").status.success()
    }

    fn journal(&self) -> String {
        fs::read_to_string(self.0.path("kept/host/staging@web1/journal")).unwrap_or_default()
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
        for entry in fs::read_dir(path).expect("a directory") {
            all.extend(look(&entry.expect("an entry").path()));
        }
        "directory".to_owned()
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
    fs::create_dir_all(host.path("folder/empty")).expect("a directory");
    fs::set_permissions(host.path("folder"), fs::Permissions::from_mode(0o2750)).expect("a mode");
    fs::create_dir_all(host.path("app/bin")).expect("a directory");
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
    fs::create_dir(host.path("app")).expect("a directory");
    host.write(&format!("app/{MARKER}"), "2");
    host.write("app/only in 2", "");
    host.write("new", "");
    symlink("/", host.path("new link")).expect("a link");
    fs::create_dir_all(host.path("deep/new")).expect("a directory");
    host.write("deep/new/file", "");
    fs::create_dir(host.path("fresh")).expect("a directory");
    host.write(&format!("fresh/{MARKER}"), "1");
}

fn all(names: &[String]) -> Step {
    snapshot(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn everything_comes_back_and_only_once() {
    let host = Host::new("once");
    let names = furnish(&host);
    let before = look(Path::new(&host.tree()));
    host.done(all(&names));
    change(&host);
    assert_ne!(look(Path::new(&host.tree())), before);
    host.done(undo());
    assert_eq!(look(Path::new(&host.tree())), before);
    assert_eq!(host.journal(), "undone web\n");
    assert_eq!(host.perform(undo()), Outcome::NotNeeded);
    assert_eq!(host.journal(), "undone web\n", "told twice");
    match host.perform(commit()) {
        Outcome::Failed { stderr, .. } => assert!(stderr.contains("was undone already"), "{stderr}"),
        other => panic!("{other:?}"),
    }
    // What comes next begins anew.
    host.write("same", "another");
    host.done(all(&names));
    host.write("same", "worse");
    host.done(undo());
    assert_eq!(fs::read_to_string(host.path("same")).expect("it is there"), "another");
}

/// Does it with a host that dies at the first crash point, at the second, and so on, to the end.
fn at_every_crash_point(least: usize, one: impl Fn(usize) -> bool) {
    let points = (1..10_000).find(|point| one(*point)).expect("it ends");
    assert!(points > least, "only {points} crash points");
}

#[test]
fn a_rollback_that_was_killed_anywhere_and_is_done_again_ends_the_same() {
    at_every_crash_point(20, |point| {
        let host = Host::new(&format!("killed-{point}"));
        let names = furnish(&host);
        let before = look(Path::new(&host.tree()));
        host.done(all(&names));
        change(&host);
        let over = host.survives(undo(), point);
        let done = host.perform(undo());
        assert!(matches!(done, Outcome::Done | Outcome::NotNeeded), "crash point {point}: {done:?}");
        assert_eq!(look(Path::new(&host.tree())), before, "crash point {point}");
        assert!(Journal::parse(host.journal().as_bytes()).is_ok(), "crash point {point}");
        assert_eq!(host.perform(undo()), Outcome::NotNeeded, "crash point {point}");
        over
    });
}

#[test]
fn a_snapshot_that_was_killed_is_made_again_and_never_half() {
    at_every_crash_point(10, |point| {
        let host = Host::new(&format!("kept-{point}"));
        let names = furnish(&host);
        // One that is over is there already.
        host.done(snapshot(&[&host.path("same")]));
        host.done(commit());
        let before = look(Path::new(&host.tree()));
        let over = host.survives(all(&names), point);
        host.done(all(&names));
        change(&host);
        host.done(undo());
        assert_eq!(look(Path::new(&host.tree())), before, "crash point {point}");
        over
    });
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
