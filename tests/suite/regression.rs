//! Mistakes that the simulator found, each with the smallest project that shows it.

use armilla::plan::Plan;
use armilla::sim::{Fault, World, show_plan, show_run};

fn world(role: &str) -> World {
    let mut world = World::default();
    world.host("h1").expect("a name");
    world.role("it", &format!("summary: It.\n{role}")).expect("a role");
    world.site("services:\n  it: { hosts: all }\n");
    world
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
    let world =
        world("resources:\n  - package: nginx\n  - file: { path: /etc/nginx/a, content: a }\n    notify: restart\n  - service: nginx\n");
    // The package lists, the package (which starts nginx), the file; then the cable is cut.
    world.fleet.fault("h1", 2, Fault::CutAfter);
    let plan = world.plan().unwrap_or_else(|problems| panic!("{problems}"));
    assert!(!world.apply(&plan).report.converged());
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
    let mut world = world("requires: [web]\nresources:\n  - file: { path: /etc/nginx/sites-enabled/default, state: absent }\n");
    world.role("web", "summary: Web.\nresources:\n  - package: nginx\n").expect("a role");
    apply(&world);
    settled(&world);
}
