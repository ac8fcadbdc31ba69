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
