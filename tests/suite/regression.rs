//! Mistakes that the simulator found, each with the smallest project that shows it.

use armilla::plan::{Plan, Verdict};
use armilla::sim::{Drift, Fault, World, show_plan, show_run};

fn world(role: &str) -> World {
    let mut world = World::default();
    world.host("h1").expect("a name");
    world.role("it", &format!("summary: It.\n{role}")).expect("a role");
    world.site("services:\n  it: { hosts: all }\n");
    world
}

/// Three services and more on hosts of their own: name, role text, hosts.
fn many(hosts: &[&str], services: &[(&str, &str, &str)]) -> World {
    let mut world = World::default();
    for host in hosts {
        world.host(host).expect("a name");
    }
    let line = |(name, _, hosts): &(&str, &str, &str)| format!("  {name}: {{ hosts: {hosts} }}\n");
    world.site(&format!("services:\n{}", services.iter().map(line).collect::<String>()));
    for (name, role, _) in services {
        world.role(name, &format!("summary: It.\n{role}")).expect("a role");
    }
    world
}

/// A line of the plan or the run before another.
fn comes_before(text: &str, first: &str, second: &str) {
    let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part} in\n{text}"));
    assert!(place(first) < place(second), "{first} after {second} in\n{text}");
}

fn apply(world: &World) -> Plan {
    let plan = world.plan().unwrap_or_else(|problems| panic!("{problems}"));
    let run = world.apply(&plan);
    assert!(run.report.converged(), "{}{}", show_plan(&plan), show_run(&plan, &run));
    plan
}

fn settled(world: &World) {
    let plan = world.plan().unwrap_or_else(|problems| panic!("{problems}"));
    assert!(plan.is_empty(), "still planned:\n{}", show_plan(&plan));
}

#[test]
fn a_service_written_before_what_notifies_it_restarts_after_it() {
    let world = world(
        "resources:\n  - package: nginx\n  - service: nginx\n  - file: { path: /etc/nginx/a, content: a }\n    notify: restart\n",
    );
    world.fleet.pace(5);
    apply(&world);
    settled(&world);
}

#[test]
fn a_restart_that_was_lost_a_second_after_the_start_is_made_up_for() {
    let world = world(
        "resources:\n  - package: nginx\n  - file: { path: /etc/nginx/a, content: a }\n    notify: restart\n  - service: nginx\n",
    );
    // The package lists, the package (which starts nginx), the file; then the cable is cut.
    world.fleet.fault("h1", 2, Fault::CutAfter);
    let plan = world.plan().unwrap_or_else(|problems| panic!("{problems}"));
    assert!(!world.apply(&plan).report.converged());
    let again = apply(&world);
    assert!(show_plan(&again).contains("restart service nginx (pending because of file /etc/nginx/a)"));
    settled(&world);
}

#[test]
fn a_restart_that_was_lost_is_made_up_for_on_a_host_that_forgot_everything() {
    let world = world(
        "resources:\n  - package: nginx\n  - file: { path: /etc/nginx/a, content: a }\n    notify: restart\n  - service: nginx\n",
    );
    world.fleet.fault("h1", 2, Fault::CutAfter);
    let plan = world.plan().unwrap_or_else(|problems| panic!("{problems}"));
    assert!(!world.apply(&plan).report.converged());
    world.fleet.lose_state("h1");
    let again = apply(&world);
    assert!(show_plan(&again).contains("restart service nginx (because it has not read file /etc/nginx/a yet)"));
    settled(&world);
}

#[test]
fn what_a_package_brings_and_the_role_does_not_want_goes_in_the_same_run() {
    for resources in [
        "  - package: nginx\n  - file: { path: /etc/nginx/sites-enabled/default, state: absent }\n",
        "  - package: nginx\n  - service: { name: nginx, state: stopped }\n",
        "  - package: nginx\n  - service: { name: nginx, state: stopped, enabled: false }\n",
        "  - package: nginx\n  - service: { name: nginx, state: stopped, enabled: true }\n",
        "  - package: nginx\n  - service: { name: nginx, state: running, enabled: false }\n",
        "  - package: { name: nginx, start: false }\n  - service: { name: nginx, state: stopped, enabled: false }\n",
    ] {
        let world = world(&format!("resources:\n{resources}"));
        apply(&world);
        settled(&world);
    }
}

#[test]
fn a_service_is_told_when_what_its_package_brought_is_taken_away() {
    let world = world(
        "resources:\n  - package: nginx\n  - file: { path: /etc/nginx/sites-enabled/default, state: absent }\n    notify: restart\n  - service: nginx\n",
    );
    apply(&world);
    settled(&world);
    let current = world.fleet.on("h1", |host| host.units.is_current("nginx.service", &host.paths));
    assert_eq!(current, Some(true), "nginx runs with the file that was removed");
}

#[test]
fn a_required_role_may_bring_it_too() {
    let mut world =
        world("requires: [web]\nresources:\n  - file: { path: /etc/nginx/sites-enabled/default, state: absent }\n");
    world.role("web", "summary: Web.\nresources:\n  - package: nginx\n").expect("a role");
    apply(&world);
    settled(&world);
}

#[test]
fn an_expression_with_a_line_break_after_it_is_a_text() {
    let world = world("resources:\n  - file: { path: /srv/id, content: \"{{ service.position }}\\n\" }\n");
    apply(&world);
    assert_eq!(
        world.fleet.on("h1", |host| host.paths.file("/srv/id").map(<[u8]>::to_vec)),
        Some(Some(b"1\n".to_vec()))
    );
}

#[test]
fn a_wrong_key_is_the_only_thing_said_about_it() {
    let world = world("resources:\n  - file: { path: /srv/id, content: 1 }\n");
    let problems = world.plan().expect_err("a number is no content").to_string();
    assert!(problems.contains("content must be a text") && !problems.contains("needs `content`"), "{problems}");
}

#[test]
fn services_wait_for_what_services_that_do_not_change_wait_for() {
    let file = |name: &str, needs: &str, n: u32| {
        format!("needs: [{needs}]\nresources:\n  - file: {{ path: /srv/{name}, content: \"{n}\" }}\n")
    };
    let roles =
        |n| [file("y1", "", n), file("y2", "", n), file("z", "y1, y2", 1), file("s", "z", 1), file("w", "s", n)];
    let services = roles(1);
    let services: Vec<(&str, &str, &str)> =
        ["y1", "y2", "z", "s", "w"].iter().zip(&services).map(|(name, role)| (*name, role.as_str(), *name)).collect();
    let mut world = many(&["y1", "y2", "z", "s", "w"], &services);
    apply(&world);
    for (name, role) in ["y1", "y2", "z", "s", "w"].iter().zip(roles(2)) {
        world.role(name, &format!("summary: It.\n{role}")).expect("a role");
    }
    world.fleet.slow("y1", 20);
    let plan = world.plan().unwrap_or_else(|problems| panic!("{problems}"));
    let text = show_run(&plan, &world.apply(&plan));
    comes_before(&text, "y1 file /srv/y1", "w file /srv/w");
}

#[test]
fn a_service_whose_role_another_requires_keeps_its_own_batches() {
    let store = |n| {
        format!(
            "rollout: {{ batch: 1 }}\nhealth:\n  - unit: {{ name: s, stable_for: 5s }}\nresources:\n  - unit: {{ name: s.service, content: \"# {n}\" }}\n    notify: restart\n  - service: s\n"
        )
    };
    let first = store(1);
    // The one that requires is written first.
    let above = "requires: [store]\nresources:\n  - file: { path: /srv/above, content: a }\n";
    let mut world = many(&["h1", "h2"], &[("above", above, "all"), ("store", &first, "all")]);
    apply(&world);
    world.role("store", &format!("summary: It.\n{}", store(2))).expect("a role");
    let plan = world.plan().unwrap_or_else(|problems| panic!("{problems}"));
    let text = show_run(&plan, &world.apply(&plan));
    comes_before(&text, "h1 store is healthy", "h2 unit s.service");
}

#[test]
fn what_requires_a_role_that_cannot_be_done_waits() {
    let mut world = world("requires: [base]\nresources:\n  - file: { path: /srv/top, content: a }\n");
    world.role("base", "summary: B.\nresources:\n  - file: { path: /srv/base, content: a }\n").expect("a role");
    world.fleet.drift("h1", &Drift::Directory("/srv/base".to_owned()));
    let plan = world.plan().unwrap_or_else(|problems| panic!("{problems}"));
    let top = plan.entries().find(|entry| entry.address.target == "/srv/top").map(|entry| &entry.verdict);
    assert_eq!(top, Some(&Verdict::Blocked), "{}", show_plan(&plan));
}

/// A role that has nothing to do with others.
const OTHER: &str = "resources:\n  - file: { path: /srv/other, content: a }\n";

#[test]
fn nothing_begins_while_all_of_what_it_needs_cannot_be_reached() {
    let store =
        "health:\n  - unit: { name: s }\nresources:\n  - unit: { name: s.service, content: a }\n  - service: s\n";
    let front = "needs: [store]\nresources:\n  - file: { path: /srv/front, content: a }\n";
    // With the third host most of them keep the lock.
    let world = many(&["h1", "h2", "h3"], &[("store", store, "h1"), ("front", front, "h2"), ("other", OTHER, "h3")]);
    world.fleet.unreachable("h1", true);
    let plan = world.plan().unwrap_or_else(|problems| panic!("{problems}"));
    world.apply(&plan);
    assert_eq!(world.fleet.on("h3", |host| host.paths.get("/srv/other").is_some()), Some(true), "the rest is done");
    let written = world.fleet.on("h2", |host| host.paths.get("/srv/front").is_some());
    assert_eq!(written, Some(false), "{}", show_plan(&plan));
}

/// A role that a service requires waits for nobody on a host where neither of them ever was; where they are, it waits like
/// the service itself, whose members follow each other.
#[test]
fn what_a_new_service_requires_does_not_wait_for_what_it_needs() {
    let store =
        "health:\n  - unit: { name: s }\nresources:\n  - unit: { name: s.service, content: a }\n  - service: s\n";
    let front = "requires: [base]\nneeds: [store]\nresources:\n  - file: { path: /srv/front, content: a }\n";
    let base =
        |content: &str| format!("summary: It.\nresources:\n  - file: {{ path: /srv/base, content: {content} }}\n");
    let mut world =
        many(&["h1", "h2", "h3"], &[("store", store, "h1"), ("front", front, "h2"), ("other", OTHER, "h3")]);
    world.role("base", &base("a")).expect("a role");
    let written = |world: &World| {
        world.fleet.on("h2", |host| ["/srv/base", "/srv/front"].map(|path| host.paths.get(path).is_some()))
    };
    world.fleet.unreachable("h1", true);
    let plan = world.plan().unwrap_or_else(|problems| panic!("{problems}"));
    world.apply(&plan);
    assert_eq!(written(&world), Some([true, false]), "{}", show_plan(&plan));

    world.fleet.unreachable("h1", false);
    apply(&world);
    assert_eq!(written(&world), Some([true, true]));
    world.fleet.drift("h1", &Drift::Stop("s.service".to_owned()));
    world.role("base", &base("b")).expect("a role");
    let plan = world.plan().unwrap_or_else(|problems| panic!("{problems}"));
    let run = world.apply(&plan);
    let shown = show_run(&plan, &run);
    comes_before(&shown, "h1", "/srv/base");
}

#[test]
fn a_service_that_a_plan_brings_is_not_unhealthy() {
    let role =
        "resources:\n  - unit: { name: s.service, content: a }\n  - service: s\nhealth:\n  - unit: { name: s }\n";
    let world = many(&["h1", "h2"], &[("web", role, "all")]);
    let unhealthy = || {
        let plan = world.plan().unwrap_or_else(|problems| panic!("{problems}"));
        plan.services[0].unhealthy.keys().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(unhealthy(), Vec::<String>::new(), "it is not there yet");
    apply(&world);
    world.fleet.drift("h2", &Drift::Stop("s.service".to_owned()));
    assert_eq!(unhealthy(), ["h2"], "it was there");
}

#[test]
fn a_check_that_asks_for_what_is_wanted_makes_no_running_service_unhealthy() {
    let role = |port: u16| {
        format!(
            "resources:\n  - package: nginx\n  - file: {{ path: /etc/nginx/port, content: \"{port}\" }}\n    notify: restart\n  - service: nginx\nhealth:\n  - tcp: {{ port: {port} }}\nrollout: {{ batch: 1 }}\n"
        )
    };
    let mut world = many(&["h1", "h2", "h3"], &[("web", &role(80), "all")]);
    apply(&world);
    world.role("web", &format!("summary: It.\n{}", role(81))).expect("a role");
    let plan = world.plan().unwrap_or_else(|problems| panic!("{problems}"));
    let batches: Vec<usize> = plan.services[0].batches.iter().map(Vec::len).collect();
    assert_eq!(batches, [1, 1, 1], "{}", show_plan(&plan));
}
