//! What hosts remember: a run that is killed anywhere is made up for, what left goes, and what is not ours stays.
//!
//! In: projects on simulated hosts. Out: nothing. Never: a look at how it is done; only at plans and hosts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use armilla::catalog::{Data, ResourceSelection, Target};
use armilla::ledger::{Ledger, Records};
use armilla::name::HostName;
use armilla::plan::{self, Cause, Entry, Left, Plan, Reason, Verdict};
use armilla::resource::{Action, kind};
use armilla::sim::{Drift, Fault, World, show_plan, show_run};
use armilla::step::{Probe, Reading};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::generator::{Project, project};

type Shapes = BTreeMap<String, BTreeMap<String, String>>;

const NOTHING: &str = "services: {}\n";

fn plan(world: &World) -> Plan {
    world.plan().unwrap_or_else(|problems| panic!("{problems}"))
}

fn converge(world: &World) -> Plan {
    let plan = plan(world);
    let run = world.apply(&plan);
    assert!(run.report.converged(), "{}{}", show_plan(&plan), show_run(&plan, &run));
    plan
}

fn settled(world: &World) {
    let plan = plan(world);
    let left: Vec<&Entry> = plan.entries().filter(|entry| !entry.is_always()).collect();
    assert!(left.is_empty() && plan.unreachable.is_empty(), "still planned:\n{}", show_plan(&plan));
}

fn shapes(world: &World) -> Shapes {
    let shape = |name: String| {
        let shape = world.fleet.on(&name, |host| host.shape()).unwrap_or_default();
        (name, shape)
    };
    world.fleet.names().into_iter().map(shape).collect()
}

fn same(a: &Shapes, b: &Shapes, when: &str) {
    let mut text = String::new();
    for (host, shape) in a {
        for (what, is) in shape.iter().filter(|(what, is)| b[host].get(*what) != Some(is)) {
            let _ = writeln!(text, "{host}: {what} is {:?}, not {is:?}", b[host].get(what));
        }
        for what in b[host].keys().filter(|what| !shape.contains_key(*what)) {
            let _ = writeln!(text, "{host}: there is {what}");
        }
    }
    assert!(text.is_empty(), "{when}:\n{text}");
}

/// Without what a program made, which cannot be undone; without a folder that every real host has; and without the
/// folders that were made only because something was put into them.
fn undone(shapes: &Shapes) -> Shapes {
    let is_parent = |what: &str| what.strip_prefix("path /srv/d").is_some_and(|rest| !rest.contains('/'));
    let is_drop_in = |what: &str| what.starts_with("path /etc/systemd/system/") && what.ends_with(".service.d");
    let ours = |what: &String| {
        !(what.starts_with("path /srv/c")
            || what.starts_with("device ")
            || what.ends_with("multi-user.target.wants")
            || is_parent(what)
            || is_drop_in(what))
    };
    let mut shapes = shapes.clone();
    for shape in shapes.values_mut() {
        shape.retain(|what, _| ours(what));
    }
    shapes
}

fn world(role: &str) -> World {
    let mut world = World::default();
    world.host("h1").expect("a name");
    world.site("services:\n  it: { hosts: all }\n");
    of_role(&mut world, role);
    world
}

fn of_role(world: &mut World, resources: &str) {
    world.role("it", &format!("summary: It.\nresources:\n{resources}")).expect("a role");
}

fn applied(role: &str) -> World {
    let world = world(role);
    converge(&world);
    settled(&world);
    world
}

fn there(world: &World, path: &str) -> bool {
    world.fleet.on("h1", |host| host.paths.get(path).is_some()).unwrap_or_default()
}

fn is_current(world: &World, unit: &str) -> bool {
    world.fleet.on("h1", |host| host.units.is_current(unit, &host.paths)).unwrap_or_default()
}

fn is_active(world: &World, unit: &str) -> bool {
    world.fleet.on("h1", |host| host.units.is_active(unit)).unwrap_or_default()
}

/// The entry about this target.
fn about<'a>(plan: &'a Plan, target: &str) -> &'a Entry {
    let found = plan.entries().find(|entry| entry.address.target == target);
    found.unwrap_or_else(|| panic!("nothing about {target} in\n{}", show_plan(plan)))
}

/// The same projects every time.
fn projects(number: usize) -> Vec<Project> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = project().prop_map(Project::thorough);
    (0..number).map(|_| strategy.new_tree(&mut runner).expect("a project").current()).collect()
}

fn installed(project: &Project) -> World {
    let world = project.world();
    converge(&world);
    settled(&world);
    world
}

/// Kills the run that brings a world from what `before` makes to what `change` makes of it: once before each step, the
/// writing of the ledger included. Gives how many points there were.
fn killed_everywhere(before: &dyn Fn() -> World, change: &dyn Fn(&mut World), name: &str) -> usize {
    let mut calm = before();
    change(&mut calm);
    converge(&calm);
    settled(&calm);
    let calm = shapes(&calm);
    for point in 0.. {
        let mut world = before();
        change(&mut world);
        let plan = plan(&world);
        world.fleet.cut(Some(point));
        let run = world.apply(&plan);
        let undisturbed = run.report.converged() && all_is_written_down(&world);
        world.fleet.cut(None);
        converge(&world);
        settled(&world);
        same(&undone(&calm), &undone(&shapes(&world)), &format!("{name}, killed at {point}"));
        for (host, shape) in shapes(&world) {
            let stale = shape.iter().find(|(what, is)| what.starts_with("unit ") && is.contains("false"));
            assert_eq!(stale, None, "{name}, killed at {point}: {host}");
        }
        if undisturbed {
            return point;
        }
        assert!(point < 2000, "{name} never ends");
    }
    0
}

/// Whether no host has a journal that is not worked in.
fn all_is_written_down(world: &World) -> bool {
    world.fleet.names().iter().all(|name| world.fleet.kept(name, &world.owner()).is_none_or(|kept| kept.1.is_empty()))
}

#[test]
fn killed_at_every_point_of_an_update_the_next_run_ends_it() {
    let mut points = 0;
    for (index, project) in projects(8).into_iter().enumerate() {
        let change = |world: &mut World| {
            world.fleet.wait(3600);
            project.next().write(world);
        };
        points += killed_everywhere(&|| installed(&project), &change, &format!("project {index}"));
    }
    eprintln!("killed at {points} points of updates");
    assert!(points > 50, "only {points} points");
}

#[test]
fn killed_at_every_point_of_an_installation_the_next_run_ends_it() {
    let mut points = 0;
    for (index, project) in projects(5).into_iter().enumerate() {
        points += killed_everywhere(&|| project.world(), &|_| (), &format!("project {index}"));
    }
    eprintln!("killed at {points} points of installations");
    assert!(points > 50, "only {points} points");
}

#[test]
fn killed_at_every_point_of_a_removal_the_next_run_ends_it() {
    let mut points = 0;
    for (index, project) in projects(5).into_iter().enumerate() {
        let change = |world: &mut World| {
            world.fleet.wait(3600);
            world.site(NOTHING);
        };
        points += killed_everywhere(&|| installed(&project), &change, &format!("project {index}"));
    }
    eprintln!("killed at {points} points of removals");
    assert!(points > 50, "only {points} points");
}

/// How everything is taken away.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Destroyed,
    LeftTheRoles,
}

fn end(world: &mut World, end: End, when: &str) {
    let plan = match end {
        End::Destroyed => world.destroy(Data::Kept),
        End::LeftTheRoles => {
            world.site(NOTHING);
            plan(world)
        }
    };
    let run = world.apply(&plan);
    assert!(run.report.converged(), "{when}:\n{}{}", show_plan(&plan), show_run(&plan, &run));
    let kept: Vec<&Entry> = plan.entries().filter(|entry| entry.is_kept()).collect();
    // What ran cannot be undone, and what was removed has gone.
    let forgotten = Reason::Because("it cannot be removed and is only dropped from the ledger".to_owned());
    assert!(kept.iter().all(|entry| entry.reason == forgotten), "{when}:\n{}", show_plan(&plan));
}

/// Kills a run at each of its points, and then takes everything away: nothing of it stays, and nothing else goes.
fn killed_and_gone(project: &Project, update: bool, name: &str) -> usize {
    let before = undone(&shapes(&project.world()));
    for point in 0..2000 {
        let mut undisturbed = false;
        for how in [End::Destroyed, End::LeftTheRoles] {
            let mut world = if update { installed(project) } else { project.world() };
            if update {
                world.fleet.wait(3600);
                project.next().write(&mut world);
            }
            let plan = plan(&world);
            world.fleet.cut(Some(point));
            let run = world.apply(&plan);
            undisturbed = run.report.converged() && all_is_written_down(&world);
            world.fleet.cut(None);
            let when = format!("{name}, killed at {point}, {how:?}");
            end(&mut world, how, &when);
            same(&before, &undone(&shapes(&world)), &when);
        }
        if undisturbed {
            return point;
        }
    }
    panic!("{name} never ends");
}

#[test]
fn of_an_installation_that_was_killed_at_any_point_nothing_stays() {
    let projects = projects(4);
    let points: usize = projects.iter().enumerate().map(|(n, one)| killed_and_gone(one, false, &format!("{n}"))).sum();
    assert!(points > 50, "only {points} points");
}

#[test]
fn of_an_update_that_was_killed_at_any_point_nothing_stays() {
    let projects = projects(4);
    let points: usize = projects.iter().enumerate().map(|(n, one)| killed_and_gone(one, true, &format!("{n}"))).sum();
    assert!(points > 20, "only {points} points");
}

#[test]
fn of_an_installation_that_failed_anywhere_nothing_stays() {
    for (index, project) in projects(3).into_iter().enumerate() {
        let before = undone(&shapes(&project.world()));
        for fault in [Fault::PowerLossIn, Fault::PowerLossAfter, Fault::CutAfter, Fault::Fails] {
            for step in 0..20 {
                let mut world = project.world();
                world.fleet.fault("h1", step, fault);
                world.apply(&plan(&world));
                world.fleet.heal();
                world.fleet.boot("h1");
                let when = format!("project {index}, {fault:?} at {step}");
                end(&mut world, End::Destroyed, &when);
                same(&before, &undone(&shapes(&world)), &when);
            }
        }
    }
}

const SAIL: &str = "  - unit: { name: sail.service, content: \"[Service]\\nExecStart=/bin/s\\n[Install]\\n\" }\n";
const SAILS: &str = "  - service: { name: sail, enabled: true }\n";

fn link(world: &World) -> bool {
    there(world, "/etc/systemd/system/multi-user.target.wants/sail.service")
}

#[test]
fn a_service_is_ours_where_an_earlier_run_made_its_unit() {
    let mut world = applied(SAIL);
    of_role(&mut world, &format!("{SAIL}{SAILS}"));
    converge(&world);
    assert!(is_active(&world, "sail.service") && link(&world));
    let plan = world.destroy(Data::Kept);
    assert_eq!(plan.summary().kept, 0, "{}", show_plan(&plan));
    assert!(world.apply(&plan).report.converged());
    assert!(!is_active(&world, "sail.service") && !link(&world) && !there(&world, "/etc/systemd/system/sail.service"));
}

#[test]
fn what_runs_by_a_unit_of_ours_ends_with_it_whoever_started_it() {
    let mut world = applied(SAIL);
    world.fleet.drift("h1", &Drift::Start("sail.service".to_owned()));
    of_role(&mut world, "");
    world.site(NOTHING);
    converge(&world);
    assert!(!is_active(&world, "sail.service") && !there(&world, "/etc/systemd/system/sail.service"));
}

#[test]
fn a_service_of_others_that_was_started_is_stopped_again_and_one_that_ran_is_not() {
    for runs in [false, true] {
        let mut world = world("  - service: { name: sail, enabled: true }\n");
        put(&world, "/etc/systemd/system/sail.service", "[Service]\nExecStart=/bin/s\n[Install]\n");
        if runs {
            world.fleet.drift("h1", &Drift::Start("sail.service".to_owned()));
        }
        converge(&world);
        world.site(NOTHING);
        converge(&world);
        assert!(there(&world, "/etc/systemd/system/sail.service"), "its unit is not ours");
        assert_eq!(is_active(&world, "sail.service"), runs);
    }
}

#[test]
fn what_differs_from_what_an_interrupted_run_made_stays() {
    let mut world = world("  - file: { path: /etc/a, content: a }\n  - file: { path: /etc/b, content: b }\n");
    world.fleet.cut(Some(2));
    world.apply(&plan(&world));
    world.fleet.cut(None);
    assert!(there(&world, "/etc/a") && there(&world, "/etc/b"));
    world.fleet.drift("h1", &Drift::Edit("/etc/a".to_owned()));
    let plan = world.destroy(Data::Kept);
    let entry = about(&plan, "/etc/a");
    assert_eq!(entry.reason, Reason::Because("it is not as the interrupted run left it".to_owned()));
    world.apply(&plan);
    assert!(there(&world, "/etc/a") && !there(&world, "/etc/b"));
    world.site(NOTHING);
}

#[test]
fn of_what_an_older_journal_does_not_tell_it_is_said_that_it_is_not_known() {
    let world = applied("  - file: { path: /etc/a, content: a }\n");
    let owner = world.owner();
    let (ledger, _) = world.fleet.kept("h1", &owner).expect("a ledger");
    let mut ledger = Ledger::parse(&ledger.expect("a ledger")).expect("a ledger");
    ledger.owned.values_mut().for_each(|owned| owned.imprint = None);
    world.fleet.write_ledger("h1", &owner, &ledger.text());
    let plan = world.destroy(Data::Kept);
    assert_eq!(plan.undecided().count(), 1, "{}", show_plan(&plan));
    world.apply(&plan);
    assert!(there(&world, "/etc/a"));
}

fn install(world: &World, package: &str) {
    world.fleet.on("h1", |host| host.packages.insert(package.to_owned(), "1".to_owned()));
}

fn is_installed(world: &World, package: &str) -> bool {
    world.fleet.on("h1", |host| host.packages.contains_key(package)).unwrap_or_default()
}

fn kept(plan: &Plan, target: &str, why: &str) {
    let entry = about(plan, target);
    let Reason::Because(said) = &entry.reason else { panic!("{entry:?}") };
    assert!(entry.is_kept() && said.contains(why), "{said}\n{}", show_plan(plan));
}

#[test]
fn a_package_that_anothers_depends_on_stays() {
    let mut world = applied("  - package: { name: openjdk-17-jre-headless, purge: true }\n");
    install(&world, "spark");
    of_role(&mut world, "  - package: tree\n");
    let plan = converge(&world);
    // It is kept back before anything is known of what comes with the new one.
    kept(&plan, "openjdk-17-jre-headless", "package spark depends on it");
    assert!(is_installed(&world, "spark") && is_installed(&world, "openjdk-17-jre-headless"));
    world.fleet.on("h1", |host| host.packages.remove("spark"));
    converge(&world);
    assert!(!is_installed(&world, "openjdk-17-jre-headless"));
    settled(&world);
}

#[test]
fn a_package_that_a_new_one_needs_stays_with_its_data() {
    let mut world = applied("  - package: zookeeper\n");
    put(&world, "/var/lib/zookeeper/log.1", "data");
    of_role(&mut world, "  - package: zookeeperd\n");
    let plan = plan(&world);
    assert!(matches!(about(&plan, "zookeeper").verdict, Verdict::MayChange(_)), "{}", show_plan(&plan));
    world.apply(&plan);
    assert!(is_installed(&world, "zookeeper") && is_installed(&world, "zookeeperd"));
    settled(&world);
    kept(&self::plan(&world), "zookeeper", "package zookeeperd (which is in a role) depends on it");
    world.site(NOTHING);
    converge(&world);
    assert!(!is_installed(&world, "zookeeper") && !is_installed(&world, "zookeeperd"));
    assert!(there(&world, "/var/lib/zookeeper/log.1") && there(&world, "/etc/zookeeper/conf/zoo.cfg"));
}

#[test]
fn packages_that_leave_together_go_whatever_their_order() {
    for role in
        ["  - package: zookeeperd\n  - package: zookeeper\n", "  - package: zookeeper\n  - package: zookeeperd\n"]
    {
        let mut world = applied(role);
        world.site(NOTHING);
        let plan = converge(&world);
        assert_eq!(plan.summary().kept, 0, "{}", show_plan(&plan));
        assert!(!is_installed(&world, "zookeeper") && !is_installed(&world, "zookeeperd"));
    }
}

#[test]
fn what_somebody_wants_and_came_only_for_another_does_not_go_with_that() {
    let mut world = applied("  - package: zookeeperd\n");
    of_role(&mut world, "  - package: zookeeper\n");
    converge(&world);
    assert!(is_installed(&world, "zookeeper") && !is_installed(&world, "zookeeperd"));
    settled(&world);
}

#[test]
fn a_group_with_others_in_it_stays_and_so_does_a_group_of_a_user_that_goes() {
    let crew = "  - group: crew\n  - user: { name: crew, group: crew, system: true }\n";
    let mut world = applied(crew);
    of_role(&mut world, "  - group: crew\n");
    converge(&world);
    let groups = |world: &World| world.fleet.on("h1", |host| host.groups.contains_key("crew")).unwrap_or_default();
    assert!(groups(&world), "a role wants it");
    world.fleet.on("h1", |host| {
        host.users.get_mut("nobody").expect("a user").groups.insert("crew".to_owned());
    });
    world.site(NOTHING);
    let plan = converge(&world);
    kept(&plan, "crew", "user nobody is in it");
    assert!(groups(&world));
}

fn has(world: &World, user: &str, group: &str) -> [bool; 2] {
    let has = world.fleet.on("h1", |host| [host.users.contains_key(user), host.groups.contains_key(group)]);
    has.expect("a host")
}

/// What a service leaves, and to whom it belongs.
const KEEPER: &str = "  - group: { name: hold, system: true }\n  - user: { name: keeper, group: hold, system: true }\n  \
                      - directory: { path: /srv/data, owner: keeper, group: hold }\n";

#[test]
fn an_account_stays_with_its_data_and_goes_with_them() {
    let data = |world: &World| put(world, "/srv/data/log", "all");
    let mut world = applied(KEEPER);
    data(&world);
    world.site(NOTHING);
    let first = converge(&world);
    for target in ["/srv/data", "keeper", "hold"] {
        assert!(matches!(about(&first, target).verdict, Verdict::MayChange(_)), "{}", show_plan(&first));
    }
    assert!(there(&world, "/srv/data/log") && has(&world, "keeper", "hold") == [true, true]);
    let second = plan(&world);
    kept(&second, "/srv/data", "it was not empty when it was to be removed: delete it by hand, or with --with-data");
    kept(&second, "keeper", "/srv/data, which stays, belongs to it");
    kept(&second, "hold", "/srv/data, which stays, belongs to it");
    assert!(second.is_empty() && !second.has_work(), "{}", show_plan(&second));

    // All of it goes where somebody asks for that, also later.
    let all = world.plan_with_data().expect("a plan");
    assert_eq!(all.summary().count(Action::Remove), 3, "{}", show_plan(&all));
    assert!(world.apply(&all).report.converged());
    assert!(!there(&world, "/srv/data") && has(&world, "keeper", "hold") == [false, false]);
    assert!(plan(&world).entries().next().is_none() && all_is_written_down(&world));

    // Or when a person has deleted the data.
    let mut world = applied(KEEPER);
    data(&world);
    world.site(NOTHING);
    converge(&world);
    for path in ["/srv/data/log", "/srv/data"] {
        world.fleet.drift("h1", &Drift::Delete(path.to_owned()));
    }
    converge(&world);
    assert_eq!(has(&world, "keeper", "hold"), [false, false]);
}

#[test]
fn an_account_without_data_goes_at_once_and_one_that_comes_back_has_its_data() {
    let mut world = applied(KEEPER);
    world.site(NOTHING);
    converge(&world);
    assert!(!there(&world, "/srv/data") && has(&world, "keeper", "hold") == [false, false]);
    settled(&world);

    let mut world = applied(KEEPER);
    put(&world, "/srv/data/log", "all");
    let uid = |world: &World| world.fleet.on("h1", |host| host.users["keeper"].uid).expect("a host");
    let before = uid(&world);
    world.site(NOTHING);
    converge(&world);
    world.site("services:\n  it: { hosts: all }\n");
    let back = converge(&world);
    assert!(back.entries().next().is_none() && uid(&world) == before, "{}", show_plan(&back));
    // It is still armilla's own.
    world.site(NOTHING);
    let gone = world.destroy(Data::Removed);
    world.apply(&gone);
    assert!(!there(&world, "/srv/data") && has(&world, "keeper", "hold") == [false, false], "{}", show_plan(&gone));
}

#[test]
fn an_account_stays_with_a_directory_that_is_protected() {
    let mut world = applied(&KEEPER.replace("  - directory:", "  - protect: true\n    directory:"));
    world.site(NOTHING);
    let plan = converge(&world);
    kept(&plan, "keeper", "/srv/data, which stays, belongs to it");
    let all = world.plan_with_data().expect("a plan");
    kept(&all, "keeper", "/srv/data, which stays, belongs to it");
    assert_eq!(has(&world, "keeper", "hold"), [true, true]);
}

#[test]
fn an_account_in_use_stays() {
    let mut world = applied("  - user: { name: sailor, system: true }\n");
    put(&world, "/etc/systemd/system/theirs.service", "[Service]\nUser=sailor\nExecStart=/bin/s\n");
    world.fleet.drift("h1", &Drift::Start("theirs.service".to_owned()));
    world.site(NOTHING);
    kept(&plan(&world), "sailor", "service theirs runs as it");
    world.fleet.drift("h1", &Drift::Stop("theirs.service".to_owned()));
    let mut again = applied("  - user: { name: sailor, system: true }\n");
    of_role(&mut again, "  - file: { path: /etc/a, content: a, owner: sailor }\n");
    kept(&plan(&again), "sailor", "a resource of the project belongs to it");
    converge(&world);
    assert_eq!(world.fleet.on("h1", |host| host.users.contains_key("sailor")), Some(false));
}

#[test]
fn a_unit_that_anothers_requires_stays_with_its_service() {
    let mut world = applied(&format!("{SAIL}{SAILS}"));
    put(&world, "/etc/systemd/system/theirs.service", "[Unit]\nRequires=sail.service\n[Service]\nExecStart=/bin/s\n");
    world.site(NOTHING);
    let plan = converge(&world);
    kept(&plan, "sail", "the unit theirs.service requires it");
    kept(&plan, "sail.service", "the unit theirs.service requires it");
    assert!(is_active(&world, "sail.service"));
}

#[test]
fn what_every_kind_of_fault_cuts_off_is_made_up_for() {
    let mut points = 0;
    for (index, project) in projects(3).into_iter().enumerate() {
        let calm = {
            let mut world = installed(&project);
            project.next().write(&mut world);
            converge(&world);
            shapes(&world)
        };
        for fault in [Fault::PowerLossIn, Fault::PowerLossAfter, Fault::CutAfter, Fault::Fails] {
            for step in 0..12 {
                let mut world = installed(&project);
                project.next().write(&mut world);
                world.fleet.fault("h1", step, fault);
                world.apply(&plan(&world));
                world.fleet.heal();
                world.fleet.boot("h1");
                converge(&world);
                settled(&world);
                same(&calm, &shapes(&world), &format!("project {index}, {fault:?} at {step}"));
                points += 1;
            }
        }
    }
    eprintln!("faults at {points} points");
}

#[test]
fn a_site_without_services_leaves_hosts_as_they_were() {
    for (index, project) in projects(12).into_iter().enumerate() {
        let mut world = project.world();
        let before = shapes(&world);
        converge(&world);
        world.site(NOTHING);
        let plan = converge(&world);
        let after = shapes(&world);
        same(&undone(&before), &undone(&after), &format!("project {index}\n{}", show_plan(&plan)));
        settled(&world);
    }
}

#[test]
fn what_is_wanted_and_what_takes_it_away_look_the_same() {
    for project in projects(12) {
        let world = installed(&project);
        let catalog = world.catalog().unwrap_or_else(|problems| panic!("{problems}"));
        for (name, host) in &catalog.hosts {
            for item in host.blocks.iter().flat_map(|block| &block.items) {
                let Some(absent) = item.resource.absent() else { continue };
                let away = (kind(item.resource.kind()).expect("a kind").parse)(&absent.into()).expect("its own keys");
                let probes: Vec<Probe> = item.resource.probes().into_iter().chain(away.probes()).collect();
                let readings = world.look(name, &probes);
                let (wanted, away) = (item.resource.seen(&readings), away.seen(&readings));
                let (wanted, away) = (wanted.expect("an answer"), away.expect("an answer"));
                assert_eq!(wanted.imprint.expose(), away.imprint.expose(), "{:?}", item.resource);
                assert!(wanted.exists && away.exists, "{:?} is there", item.resource);
            }
        }
    }
}

#[test]
fn what_leaves_a_role_is_taken_away_in_reverse_order() {
    let mut world = applied(
        "  - directory: /etc/own\n  - file: { path: /etc/own/a, content: a }\n  - file: { path: /etc/stays, content: a }\n",
    );
    of_role(&mut world, "  - file: { path: /etc/stays, content: a }\n");
    let plan = converge(&world);
    let targets: Vec<&str> = plan.entries().map(|entry| entry.address.target.as_str()).collect();
    assert_eq!(targets, ["/etc/own/a", "/etc/own"]);
    assert!(plan.entries().all(Entry::is_removal), "{}", show_plan(&plan));
    assert_eq!(plan.removals().values().sum::<usize>(), 2);
    assert!(!there(&world, "/etc/own") && there(&world, "/etc/stays"));
    settled(&world);
}

#[test]
fn what_was_there_before_stays() {
    let mut world = world("  - file: { path: /etc/motd, content: a }\n");
    world.fleet.on("h1", |host| host.paths.write("/etc/motd", b"before", 1).expect("a file"));
    converge(&world);
    of_role(&mut world, "  - file: { path: /etc/other, content: a }\n");
    let plan = converge(&world);
    assert_eq!(about(&plan, "/etc/motd").verdict, Verdict::Keep, "{}", show_plan(&plan));
    assert!(there(&world, "/etc/motd"));
    assert_eq!(self::plan(&world).summary().kept, 0, "it is said once");
}

#[test]
fn what_a_person_changed_stays_until_it_is_gone() {
    let two = "  - file: { path: /etc/a, content: a }\n  - file: { path: /etc/b, content: b }\n";
    let mut world = applied(two);
    of_role(&mut world, "  - file: { path: /etc/b, content: b }\n");
    world.fleet.drift("h1", &Drift::Edit("/etc/a".to_owned()));
    let kept = plan(&world);
    let entry = about(&kept, "/etc/a");
    assert!(entry.verdict == Verdict::Keep && entry.cause.is_drift(), "{}", show_plan(&kept));
    assert!(kept.is_empty() && kept.summary().kept == 1);
    converge(&world);
    assert!(there(&world, "/etc/a"));
    world.fleet.drift("h1", &Drift::Delete("/etc/a".to_owned()));
    assert_eq!(plan(&world).summary().kept, 0);
    settled(&world);
}

#[test]
fn what_is_protected_stays_and_is_ours_when_it_comes_back() {
    let role = "  - file: { path: /etc/a, content: a }\n    protect: true\n";
    let mut world = applied(role);
    of_role(&mut world, "  - file: { path: /etc/b, content: b }\n");
    let kept = converge(&world);
    assert_eq!(about(&kept, "/etc/a").reason, Reason::Because("it is protected".to_owned()));
    of_role(&mut world, "  - file: { path: /etc/a, content: a }\n");
    converge(&world);
    // Still what armilla made: now that nothing protects it, it goes.
    of_role(&mut world, "  - file: { path: /etc/c, content: c }\n");
    world.apply(&plan(&world));
    assert!(!there(&world, "/etc/a") || about(&plan(&world), "/etc/a").verdict == Verdict::Keep);
}

#[test]
fn a_service_hears_of_what_is_taken_away() {
    let with = |file: &str| format!("  - package: nginx\n{file}  - service: nginx\n");
    let file = "  - file: { path: /etc/nginx/a, content: a }\n    notify: restart\n";
    let mut world = applied(&with(file));
    world.fleet.wait(60);
    of_role(&mut world, &with(""));
    let plan = converge(&world);
    assert!(about(&plan, "/etc/nginx/a").is_removal());
    assert!(matches!(&about(&plan, "nginx").reason, Reason::Notified(from) if from.len() == 1), "{}", show_plan(&plan));
    assert!(!there(&world, "/etc/nginx/a") && is_current(&world, "nginx.service"));
    settled(&world);
}

#[test]
fn a_reload_that_was_lost_is_made_up_for() {
    let role = |n: u32| {
        format!(
            "  - package: nginx\n  - file: {{ path: /etc/nginx/a, content: \"{n}\" }}\n    notify: reload\n  - service: nginx\n"
        )
    };
    let mut world = applied(&role(1));
    of_role(&mut world, &role(2));
    world.fleet.wait(60);
    world.fleet.fault("h1", 0, Fault::CutAfter);
    world.apply(&plan(&world));
    assert!(!is_current(&world, "nginx.service"));
    let again = converge(&world);
    let entry = about(&again, "nginx");
    assert!(matches!(entry.reason, Reason::Owed(_)), "{}", show_plan(&again));
    assert!(matches!(&entry.verdict, Verdict::Change(change) if change.action == Action::Reload));
    assert!(is_current(&world, "nginx.service"));
    settled(&world);
}

#[test]
fn after_a_boot_nothing_is_owed() {
    let role = |n: u32| {
        format!(
            "  - package: nginx\n  - file: {{ path: /etc/nginx/a, content: \"{n}\" }}\n    notify: reload\n  - service: {{ name: nginx, enabled: true }}\n"
        )
    };
    let mut world = applied(&role(1));
    of_role(&mut world, &role(2));
    world.fleet.fault("h1", 0, Fault::PowerLossAfter);
    world.apply(&plan(&world));
    world.fleet.boot("h1");
    assert!(is_active(&world, "nginx.service") && is_current(&world, "nginx.service"));
    settled(&world);
}

#[test]
fn a_difference_is_the_projects_or_the_hosts_or_of_both() {
    let role = |a: u32, b: u32| {
        format!(
            "  - file: {{ path: /etc/a, content: \"{a}\" }}\n  - file: {{ path: /etc/b, content: \"{b}\" }}\n  - file: {{ path: /etc/c, content: \"{b}\" }}\n"
        )
    };
    let mut world = applied(&role(1, 1));
    world.fleet.drift("h1", &Drift::Edit("/etc/a".to_owned()));
    world.fleet.drift("h1", &Drift::Edit("/etc/b".to_owned()));
    of_role(&mut world, &role(1, 2));
    let mut plan = plan(&world);
    assert!(matches!(about(&plan, "/etc/a").cause, Cause::Host { .. }));
    assert!(matches!(about(&plan, "/etc/b").cause, Cause::Both { .. }));
    assert_eq!(about(&plan, "/etc/c").cause, Cause::Project);
    let drift = plan::drift(&mut plan, |entry| entry.address.target == "/etc/b");
    assert_eq!((drift.drifted, drift.ignored, drift.planned), (1, 1, 1));
    assert_eq!(plan.entries().map(|entry| entry.address.target.as_str()).collect::<Vec<_>>(), ["/etc/a"]);
}

#[test]
fn another_kind_or_role_for_the_same_thing_takes_nothing_away() {
    let mut world = applied("  - file: { path: /etc/a, content: a }\n");
    world.template("a.j2", "a");
    of_role(&mut world, "  - template: { path: /etc/a, src: a.j2 }\n");
    let moved = converge(&world);
    assert!(moved.removals().is_empty() && moved.summary().kept == 0, "{}", show_plan(&moved));
    world.role("other", "summary: O.\nresources:\n  - template: { path: /etc/a, src: a.j2 }\n").expect("a role");
    world.site("services:\n  other: { hosts: all }\n");
    let moved = converge(&world);
    assert!(moved.removals().is_empty() && moved.summary().kept == 0, "{}", show_plan(&moved));
    // And it is still known that armilla made it.
    world.role("other", "summary: O.\nresources:\n  - file: { path: /etc/b, content: b }\n").expect("a role");
    converge(&world);
    assert!(!there(&world, "/etc/a"));
}

#[test]
fn what_is_moved_by_name_is_not_taken_away() {
    let unit = "[Service]\\nExecStart=/bin/s\\n";
    let mut world = applied(&format!("  - unit: {{ name: s.service, content: \"{unit}\" }}\n"));
    of_role(&mut world, &format!("  - file: {{ path: /etc/systemd/system/s.service, content: \"{unit}\" }}\n"));
    world.site(
        "services:\n  it: { hosts: all }\nmoved:\n  - { from: unit s.service, to: file /etc/systemd/system/s.service }\n",
    );
    let moved = converge(&world);
    assert!(moved.removals().is_empty() && moved.summary().kept == 0, "{}", show_plan(&moved));
    assert!(there(&world, "/etc/systemd/system/s.service"));
}

#[test]
fn a_service_that_leaves_a_host_is_taken_away_there() {
    let mut world = World::default();
    for host in ["h1", "h2"] {
        world.host(host).expect("a name");
    }
    let role = "summary: It.\nresources:\n  - package: { name: nginx, purge: true }\n  - service: nginx\n";
    world.role("it", role).expect("a role");
    world.site("services:\n  it: { hosts: h1:h2 }\n");
    let before = shapes(&world);
    converge(&world);
    world.site("services:\n  it: { hosts: h2 }\n");
    // A machine without a role that does not answer is no error.
    world.fleet.unreachable("h1", true);
    let away = plan(&world);
    assert!(away.unreachable.is_empty() && away.silent.len() == 1, "{}", show_plan(&away));
    world.fleet.unreachable("h1", false);
    let plan = converge(&world);
    assert_eq!(plan.removals().get("h1").copied(), Some(plan.removals().values().sum()), "{}", show_plan(&plan));
    assert_eq!(undone(&before)["h1"], undone(&shapes(&world))["h1"]);
    settled(&world);
}

#[test]
fn destroying_an_environment_needs_no_site() {
    for (index, project) in projects(6).into_iter().enumerate() {
        let before = shapes(&project.world());
        let world = installed(&project);
        let plan = world.destroy(Data::Kept);
        let run = world.apply(&plan);
        assert!(run.report.converged(), "{}{}", show_plan(&plan), show_run(&plan, &run));
        let name = format!("project {index}\n{}", show_plan(&plan));
        same(&undone(&before), &undone(&shapes(&world)), &name);
    }
}

#[test]
fn a_part_of_a_plan_takes_nothing_away() {
    let mut world = applied("  - file: { path: /etc/a, content: a }\n  - file: { path: /etc/b, content: b }\n");
    of_role(&mut world, "  - file: { path: /etc/b, content: c }\n    tags: [b]\n");
    let part = armilla::catalog::ResourceSelection { tags: ["b".to_owned()].into(), ..Default::default() };
    let plan = world.plan_part(&part).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(plan.removals().is_empty() && plan.summary().changes() == 1, "{}", show_plan(&plan));
}

#[test]
fn what_is_tagged_never_is_still_wanted() {
    let role = "  - file: { path: /etc/a, content: a }\n";
    let mut world = applied(role);
    of_role(&mut world, &format!("{role}    tags: [never, big]\n"));
    let plan = plan(&world);
    assert!(plan.is_empty() && plan.summary().kept == 0, "{}", show_plan(&plan));
}

#[test]
fn a_host_whose_ledger_is_not_understood_is_not_changed() {
    let mut world = applied("  - file: { path: /etc/a, content: a }\n");
    of_role(&mut world, "  - file: { path: /etc/a, content: b }\n");
    for (text, says) in [("{\"version\":99}", "upgrade armilla"), ("{", "cannot be read")] {
        world.fleet.write_ledger("h1", &world.owner(), text.as_bytes());
        let plan = plan(&world);
        let why = plan.unreachable.values().next().cloned().unwrap_or_default();
        assert!(why.contains(says) && plan.entries().next().is_none(), "{why}\n{}", show_plan(&plan));
    }
}

#[test]
fn the_generation_counts_the_runs_that_changed_something() {
    let mut world = applied("  - file: { path: /etc/a, content: a }\n");
    let generation = |world: &World| plan(world).bases.values().next().map(|base| base.generation);
    assert_eq!(generation(&world), Some(1));
    world.apply(&plan(&world));
    assert_eq!(generation(&world), Some(1), "nothing was to do");
    of_role(&mut world, "  - file: { path: /etc/a, content: b }\n");
    world.fleet.fault("h1", 0, Fault::PowerLossAfter);
    world.apply(&plan(&world));
    world.fleet.boot("h1");
    assert_eq!(generation(&world), Some(2), "it was begun");
    let base = plan(&world).bases.into_values().next().expect("a base");
    assert_eq!((base.machine.as_str(), base.seen.len()), ("machine-h1", 1));
}

#[test]
fn a_ledger_is_read_as_it_was_written() {
    let world = applied(
        "  - package: nginx\n  - file: { path: /etc/nginx/a, content: a }\n    notify: reload\n  - service: nginx\n",
    );
    let (owner, host) = (world.owner(), HostName::new("h1").expect("a name"));
    let readings = world.look(&host, &[Probe::State]);
    let Some(Reading::State(state)) = readings.get(&Probe::State) else { panic!("no state") };
    let records = Records::of(state, &owner, &host);
    assert_eq!(records.journal(), None, "it is worked in");
    let ledger = Ledger::of(&owner.environment, records.ledger(), None).expect("a ledger");
    assert_eq!(Ledger::parse(&ledger.text()), Ok(ledger.clone()));
    assert!(ledger.pending.is_empty() && ledger.converged.is_some());
    assert!(ledger.owned.values().all(|owned| owned.imprint.is_some()), "{ledger:?}");
}

fn put(world: &World, path: &str, content: &str) {
    world.fleet.on("h1", |host| host.paths.write(path, content.as_bytes(), 1).expect("a file"));
}

/// What is said of each target when a part of the world is imported; none for what is taken over.
fn imported(world: &World, target: &str) -> BTreeMap<String, Option<Left>> {
    let names = ["h1", "it"].into_iter().map(str::to_owned).collect();
    let target = Target::parse(target, &names).unwrap_or_else(|problem| panic!("{problem}"));
    let import = world
        .import(&ResourceSelection { targets: vec![target], ..ResourceSelection::default() })
        .unwrap_or_else(|why| panic!("{why}"));
    let left = import.left.into_iter().map(|(address, why)| (address.target, Some(why)));
    import.taken.into_iter().map(|address| (address.target, None)).chain(left).collect()
}

#[test]
fn what_is_there_and_as_it_is_wanted_can_be_given_to_armilla() {
    let file = |name: &str| format!("  - file: {{ path: /etc/{name}, content: ours }}\n");
    let mut world = world(&(file("same") + &file("other") + &file("missing")));
    put(&world, "/etc/same", "ours");
    put(&world, "/etc/other", "theirs");
    let before = shapes(&world);
    let wanted = BTreeMap::from([
        ("/etc/same".to_owned(), None),
        ("/etc/other".to_owned(), Some(Left::Differs)),
        ("/etc/missing".to_owned(), Some(Left::Missing)),
    ]);
    assert_eq!(imported(&world, "file"), wanted);
    same(&before, &shapes(&world), "an import changed something");
    assert_eq!(imported(&world, "file /etc/same"), BTreeMap::from([("/etc/same".to_owned(), Some(Left::Owned))]));

    // What armilla changed and had not made becomes its own in the same way.
    converge(&world);
    assert_eq!(imported(&world, "file /etc/other"), BTreeMap::from([("/etc/other".to_owned(), None)]));
    of_role(&mut world, "  - file: { path: /etc/stays, content: x }\n");
    converge(&world);
    assert!(["same", "other", "missing"].iter().all(|name| !there(&world, &format!("/etc/{name}"))));

    // Without an import it would have stayed.
    put(&world, "/etc/found", "ours");
    of_role(&mut world, &file("found"));
    converge(&world);
    world.site(NOTHING);
    converge(&world);
    assert!(there(&world, "/etc/found"), "what nobody gave to armilla was taken away");
}

#[test]
fn what_was_given_to_armilla_and_changed_since_is_drift_and_stays() {
    let mut world = world("  - file: { path: /etc/a, content: ours }\n");
    put(&world, "/etc/a", "ours");
    assert_eq!(imported(&world, "it"), BTreeMap::from([("/etc/a".to_owned(), None)]));
    settled(&world);
    put(&world, "/etc/a", "mine");
    assert!(about(&plan(&world), "/etc/a").cause.is_drift());
    world.site(NOTHING);
    converge(&world);
    assert!(there(&world, "/etc/a"), "it was changed on the host");
}

#[test]
fn of_a_file_that_left_the_roles_a_copy_is_kept_until_all_is_destroyed() {
    let mut world = applied("  - file: { path: /etc/a, content: ours }\n  - file: { path: /etc/b, content: ours }\n");
    of_role(&mut world, "  - file: { path: /etc/b, content: ours }\n");
    converge(&world);
    let copies = |world: &World| world.fleet.on("h1", |host| host.copies.keys().cloned().collect::<Vec<_>>());
    assert_eq!(copies(&world), Some(vec!["/etc/a".to_owned()]));
    let plan = world.destroy(Data::Kept);
    assert!(world.apply(&plan).report.converged(), "{}", show_plan(&plan));
    assert!(!there(&world, "/etc/b"));
    assert_eq!(copies(&world), Some(Vec::new()));
}
