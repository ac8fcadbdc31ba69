//! Changes that could shut us out, and hosts in memory that undo them by themselves.
//!
//! In: a change, and instants at which nobody is left. Out: nothing. Never: a host that is neither as before nor as wanted.

use std::collections::BTreeMap;

use armilla::catalog::risk;
use armilla::inventory::Endpoint;
use armilla::plan::{Plan, PlannedBlock};
use armilla::sim::{World, show_run};
use armilla::step::deadman::{UNARMED, UNDONE};
use armilla::step::{Outcome, Step};
use armilla::transport::{Order, Transport as _};

const BEFORE: &str = "
  - directory: /etc/ssh/sshd_config.d
  - file: { path: /etc/ssh/sshd_config.d/a.conf, content: \"Port 22\\n\" }
  - file: { path: /srv/b, content: old }
";

const AFTER: &str = "
  - directory: /etc/ssh/sshd_config.d
  - file: { path: /srv/b, content: new }
  - file: { path: /etc/ssh/sshd_config.d/a.conf, content: \"Port 2222\\n\" }
  - link: { path: /srv/c, target: b }
";

fn role(world: &mut World, resources: &str) -> Plan {
    world.role("it", &format!("summary: It.\nresources:{resources}")).expect("a role");
    world.plan().unwrap_or_else(|problems| panic!("{problems}"))
}

/// A host as the first role wants it, and the plan for the second.
fn changing() -> (World, Plan) {
    let mut world = World::default();
    world.host("h1").expect("a name");
    world.site("services:\n  it: { hosts: all }\n");
    let first = role(&mut world, BEFORE);
    let run = world.apply(&first);
    assert!(run.report.converged(), "a risky change that goes well stays: {}", show_run(&first, &run));
    let plan = role(&mut world, AFTER);
    (world, plan)
}

fn shape(world: &World) -> BTreeMap<String, String> {
    world.fleet.on("h1", |host| host.shape()).expect("the host")
}

fn perform(world: &World, block: &PlannedBlock, step: &Step) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (host, steps) = (Endpoint::new(block.host.clone()), std::slice::from_ref(step));
    let done = runtime.block_on(world.fleet.perform(&host, Order::of(steps), &|_| ()));
    done.expect("the host answers").pop().expect("an outcome")
}

fn block(plan: &Plan) -> &PlannedBlock {
    plan.blocks().find(|block| block.risk().is_some()).expect("a risky stage")
}

#[test]
fn f10_a_risky_change_is_whole_or_put_back_wherever_the_controller_dies() {
    let number = block(&changing().1).steps().count();
    for (died, boots) in (0..=number).flat_map(|died| [(died, false), (died, true)]) {
        let (world, plan) = changing();
        let before = shape(&world);
        let block = block(&plan);
        for step in block.steps().take(died) {
            assert_eq!(perform(&world, block, step), Outcome::Done, "{step:?}");
        }
        let wanted = if block.steps().take(died).any(|step| matches!(step, Step::Disarm { .. })) {
            shape(&world)
        } else {
            before
        };
        if boots {
            world.fleet.power_off("h1");
            world.fleet.boot("h1");
        } else {
            world.fleet.wait(61);
        }
        // A host in memory does what is due when somebody comes.
        world.plan().unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(shape(&world), wanted, "dead after {died} of {number} steps, a boot: {boots}");
    }
}

#[test]
fn who_comes_too_late_is_told() {
    let (world, plan) = changing();
    let block = block(&plan);
    let steps: Vec<&Step> = block.steps().collect();
    let (owner, name) = (plan.owner.clone(), block.role.clone());
    let give_up = Step::GiveUp { owner, name };
    let exit = |outcome: Outcome| if let Outcome::Failed { exit, .. } = outcome { exit } else { 0 };
    assert_eq!(exit(perform(&world, block, &give_up)), UNARMED);
    let disarm = steps.iter().position(|step| matches!(step, Step::Disarm { .. })).expect("a word");
    for step in &steps[..disarm] {
        perform(&world, block, step);
    }
    world.fleet.wait(61);
    for late in [steps[disarm - 1], steps[disarm], steps[disarm]] {
        assert_eq!(exit(perform(&world, block, late)), UNDONE, "{late:?}");
    }
    assert_eq!(perform(&world, block, &give_up), Outcome::Done, "it has been put back, as was asked");
}

#[test]
fn the_table_of_what_is_risky_is_whole() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/roles.md")).expect("docs/roles.md");
    let begin = text.find("### Changes that could lock you out").expect("the section");
    let section = &text[begin..];
    let section = &section[..section.find("### A part of a plan").expect("the next section")];
    for name in [risk::PATHS, risk::BEGINNINGS, risk::HARMLESS, risk::SERVICES].concat() {
        assert!(section.contains(&format!("`{name}`")), "docs/roles.md does not name {name}");
    }
}
