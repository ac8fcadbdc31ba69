//! What must hold for every project, fleet, drift and fault.
//!
//! In: random projects. Out: nothing. Never: a look at how plan and apply do it; only at plans, events and hosts.

use std::collections::{BTreeMap, BTreeSet};

use armilla::apply::{End, Event};
use armilla::plan::{Entry, Plan, Reason, StageId, Verdict, Work};
use armilla::sim::{Activity, Drift, Fault, Run, World, show_plan, show_run};
use armilla::step::{Outcome, Step};
use proptest::prelude::*;

use crate::generator::{Project, project};

type Shapes = BTreeMap<String, BTreeMap<String, String>>;

fn cases(number: u32) -> ProptestConfig {
    ProptestConfig { cases: number, failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::default() }
}

fn plan(world: &World) -> Plan {
    world.plan().unwrap_or_else(|problems| panic!("{problems}"))
}

/// Applies what is planned and wants it to end well.
fn converge(world: &World) -> Result<(Plan, Run), TestCaseError> {
    let plan = plan(world);
    let hopeless = plan.entries().find(|entry| entry.steps().is_empty());
    prop_assert!(hopeless.is_none(), "not planned: {hopeless:?}");
    let run = world.apply(&plan);
    prop_assert!(run.report.converged(), "{}{}", show_plan(&plan), show_run(&plan, &run));
    Ok((plan, run))
}

fn settled(world: &World) -> Result<(), TestCaseError> {
    let plan = plan(world);
    prop_assert!(plan.is_empty(), "still planned:\n{}", show_plan(&plan));
    Ok(())
}

fn shapes(world: &World) -> Shapes {
    let names = world.fleet.names();
    names.into_iter().map(|name| (name.clone(), world.fleet.on(&name, |host| host.shape()).unwrap_or_default())).collect()
}

fn same(a: &Shapes, b: &Shapes) -> Result<(), TestCaseError> {
    for (host, shape) in a {
        for (what, is) in shape {
            prop_assert_eq!(Some(is), b[host].get(what), "{} {}", host, what);
        }
        prop_assert!(b[host].len() == shape.len(), "{host} has more: {:?}", b[host]);
    }
    Ok(())
}

/// Every unit that runs has read its last configuration.
fn current(world: &World) -> Result<(), TestCaseError> {
    for (host, shape) in shapes(world) {
        for (what, is) in shape.iter().filter(|(what, _)| what.starts_with("unit ")) {
            prop_assert!(!is.contains("false"), "{host}: {what} runs with an old configuration");
        }
    }
    Ok(())
}

fn installed(project: &Project) -> Result<World, TestCaseError> {
    let world = project.world();
    converge(&world)?;
    Ok(world)
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Fails),
        Just(Fault::PowerLossBefore),
        Just(Fault::PowerLossAfter),
        Just(Fault::CutBefore),
        Just(Fault::CutAfter),
    ]
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn apply_empties_the_plan(project in project()) {
        let mut world = installed(&project)?;
        settled(&world)?;
        world.fleet.wait(3600);
        project.next().write(&mut world);
        converge(&world)?;
        settled(&world)?;
    }

    #[test]
    fn the_same_input_gives_the_same_plan(project in project()) {
        let (one, mut two) = (project.world(), World::with_forks(1));
        for name in project.names().iter().rev() {
            two.host(name).expect("a name");
        }
        project.write(&mut two);
        prop_assert_eq!(plan(&one), plan(&one));
        prop_assert_eq!(plan(&one), plan(&two));
    }

    #[test]
    fn whatever_happens_in_an_installation_the_next_one_ends_it(
        project in project().prop_map(Project::thorough), host in 0..5_usize, step in 0..25_usize, fault in fault(),
    ) {
        let calm = installed(&project)?;
        let world = project.world();
        disturbed(&world, &project, host, step, fault);
        converge(&world)?;
        settled(&world)?;
        same(&shapes(&calm), &shapes(&world))?;
    }

    #[test]
    fn whatever_happens_in_an_update_the_next_one_ends_it(
        project in project().prop_map(Project::thorough), host in 0..5_usize, step in 0..12_usize, fault in fault(),
    ) {
        let mut calm = installed(&project)?;
        let mut world = installed(&project)?;
        let project = project.next();
        for world in [&mut calm, &mut world] {
            world.fleet.wait(3600);
            project.write(world);
        }
        converge(&calm)?;
        current(&calm)?;
        disturbed(&world, &project, host, step, fault);
        converge(&world)?;
        settled(&world)?;
        same(&shapes(&calm), &shapes(&world))?;
    }

    #[test]
    fn killed_anywhere_the_next_run_ends_it(project in project().prop_map(Project::thorough), step in 0..60_usize) {
        let mut calm = installed(&project)?;
        let mut world = installed(&project)?;
        let project = project.next();
        for world in [&mut calm, &mut world] {
            world.fleet.wait(3600);
            project.write(world);
        }
        converge(&calm)?;
        current(&calm)?;
        world.fleet.cut(Some(step));
        world.apply(&plan(&world));
        world.fleet.cut(None);
        converge(&world)?;
        settled(&world)?;
        same(&shapes(&calm), &shapes(&world))?;
    }
}

/// Applies with a fault, then heals everything.
fn disturbed(world: &World, project: &Project, host: usize, step: usize, fault: Fault) {
    let name = format!("h{}", host % project.hosts + 1);
    world.fleet.fault(&name, step, fault);
    world.apply(&plan(world));
    world.fleet.heal();
    world.fleet.boot(&name);
}
