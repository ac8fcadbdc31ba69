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
