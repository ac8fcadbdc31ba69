//! What must hold for every project, fleet, drift and fault.
//!
//! In: random projects. Out: nothing. Never: a look at how plan and apply do it; only at plans, events and hosts.

use std::collections::BTreeMap;

use armilla::catalog::{Catalog, Wanted};
use armilla::plan::{Entry, Plan, Verdict};
use armilla::sim::{Drift, Fault, Run, World, show_plan, show_run};
use proptest::prelude::*;

use crate::generator::{Project, project};
use crate::order::{innocent, orderly};

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
    world.fleet.forget();
    let run = world.apply(&plan);
    prop_assert!(run.report.converged(), "{}{}", show_plan(&plan), show_run(&plan, &run));
    orderly(world, &plan, &run)?;
    Ok((plan, run))
}

fn settled(world: &World) -> Result<(), TestCaseError> {
    let plan = plan(world);
    prop_assert!(plan.is_empty(), "still planned:\n{}", show_plan(&plan));
    Ok(())
}

fn shapes(world: &World) -> Shapes {
    let names = world.fleet.names();
    names
        .into_iter()
        .map(|name| (name.clone(), world.fleet.on(&name, |host| host.shape()).unwrap_or_default()))
        .collect()
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
        Just(Fault::PowerLossIn),
        Just(Fault::PowerLossAfter),
        Just(Fault::CutBefore),
        Just(Fault::CutAfter),
    ]
}

proptest! {
    #![proptest_config(cases(200))]

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

    #[test]
    fn a_failure_stops_what_depends_on_it_and_nothing_else(
        project in project(), roles in any::<u8>(), host in 0..5_usize, step in 0..12_usize,
    ) {
        let mut world = installed(&project)?;
        world.fleet.wait(3600);
        project.partly(roles).write(&mut world);
        world.fleet.fault(&format!("h{}", host % project.hosts + 1), step, Fault::Fails);
        let plan = plan(&world);
        world.fleet.forget();
        let run = world.apply(&plan);
        orderly(&world, &plan, &run)?;
        innocent(&world, &plan, &run)?;
    }

    #[test]
    fn a_part_that_changes_is_changed_in_order(project in project(), roles in any::<u8>()) {
        let mut world = installed(&project)?;
        world.fleet.wait(3600);
        project.partly(roles).write(&mut world);
        converge(&world)?;
        settled(&world)?;
    }

    #[test]
    fn drift_is_found_and_repaired_and_nothing_else_changes(
        project in project().prop_map(Project::thorough),
        picks in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize), 1..4),
    ) {
        let world = installed(&project)?;
        let before = shapes(&world);
        let catalog = world.catalog().unwrap_or_else(|problems| panic!("{problems}"));
        let mut drifted = Vec::new();
        for (pick, how) in picks {
            drifted.extend(Drifted::choose(&catalog, pick, how).filter(|new: &Drifted| new.is_other(&drifted)));
        }
        for one in &drifted {
            world.fleet.drift(&one.host, &one.drift);
        }
        let (plan, _) = converge(&world)?;
        for one in &drifted {
            let found = plan.entries().any(|entry| one.is(entry));
            prop_assert!(found, "{one:?} was not found:\n{}", show_plan(&plan));
        }
        for entry in plan.entries() {
            let expected = drifted.iter().any(|drifted| drifted.explains(entry, &catalog));
            prop_assert!(expected, "{entry:?} has nothing to do with {drifted:?}");
        }
        settled(&world)?;
        same(&before, &shapes(&world))?;
    }
}

/// Something that was changed behind our back.
#[derive(Debug, Clone, PartialEq)]
struct Drifted {
    host: String,
    role: String,
    kind: &'static str,
    target: String,
    drift: Drift,
}

impl Drifted {
    /// One of all resources of the catalog, changed in a way that can happen to its kind.
    fn choose(catalog: &Catalog, pick: prop::sample::Index, how: usize) -> Option<Self> {
        let all: Vec<(String, String, &Wanted)> = catalog
            .hosts
            .iter()
            .flat_map(|(host, wanted)| wanted.blocks.iter().map(move |block| (host, block)))
            .flat_map(|(host, block)| {
                block.items.iter().map(move |item| (host.to_string(), block.role.to_string(), item))
            })
            .collect();
        let (host, role, item) = &all[pick.index(all.len())];
        let (kind, target) = (item.resource.kind(), item.resource.target());
        let drift = possible(item)?.into_iter().cycle().nth(how)?;
        Some(Self { host: host.clone(), role: role.clone(), kind, target, drift })
    }

    /// Whether it does not meddle with what others do.
    fn is_other(&self, others: &[Self]) -> bool {
        let wide = |drift: &Drift| matches!(drift, Drift::Leave(_) | Drift::Remove(_));
        let near = |other: &Self| {
            other.host == self.host
                && (other.target == self.target || other.role == self.role && (wide(&other.drift) || wide(&self.drift)))
        };
        !others.iter().any(near)
    }

    fn is(&self, entry: &Entry) -> bool {
        let address = &entry.address;
        address.host.as_str() == self.host && address.kind == self.kind && address.target == self.target
    }

    /// Whether an entry of a plan is there because of it: it itself, what was in it, or what it notifies.
    fn explains(&self, entry: &Entry, catalog: &Catalog) -> bool {
        if entry.address.host.as_str() != self.host {
            return false;
        }
        let here = entry.address.role.as_str() == self.role;
        let brought = matches!(entry.verdict, Verdict::MayChange(_));
        match &self.drift {
            _ if self.is(entry) => true,
            // What else a package or user takes along is in the same role. A package may bring things to others.
            Drift::Remove(_) => here || brought,
            Drift::Leave(_) => here,
            // systemd has not read a unit if it has not read its drop-in.
            _ if here && self.kind == "unit" && entry.address.kind == "unit" => true,
            Drift::Delete(folder) => {
                let below =
                    path(entry.address.kind, &entry.address.target).is_some_and(|path| path.starts_with(folder));
                below || here && entry.address.kind == "service"
            }
            Drift::Stop(_) | Drift::Disable(_) | Drift::Start(_) => false,
            _ => here && entry.address.kind == "service" && self.notifies(catalog),
        }
    }

    fn notifies(&self, catalog: &Catalog) -> bool {
        let blocks =
            catalog.hosts.iter().filter(|(host, _)| host.as_str() == self.host).flat_map(|(_, host)| &host.blocks);
        let items = blocks.flat_map(|block| &block.items);
        items.filter(|item| item.resource.target() == self.target).any(|item| item.notify.is_some())
    }
}

fn path(kind: &str, target: &str) -> Option<String> {
    match kind {
        "file" | "template" | "link" | "directory" => Some(target.to_owned()),
        "unit" => Some(format!("/etc/systemd/system/{target}")),
        "command" => target.strip_prefix("touch -- ").map(str::to_owned),
        _ => None,
    }
}

/// The ways in which a resource that should be there can change; none for those that should not.
fn possible(item: &Wanted) -> Option<Vec<Drift>> {
    let (kind, target) = (item.resource.kind(), item.resource.target());
    let wanted = format!("{:?}", item.resource);
    let path = path(kind, &target);
    match kind {
        _ if wanted.contains("state: Absent") => None,
        "file" | "template" | "unit" => {
            let path = path?;
            Some(vec![
                Drift::Edit(path.clone()),
                Drift::Delete(path.clone()),
                Drift::Mode(path.clone()),
                Drift::Owner(path),
            ])
        }
        "directory" => {
            path.map(|path| vec![Drift::Mode(path.clone()), Drift::Owner(path.clone()), Drift::Delete(path)])
        }
        "link" => path.map(|path| vec![Drift::Relink(path.clone()), Drift::Delete(path)]),
        "command" => path.map(|path| vec![Drift::Delete(path)]),
        "package" => Some(vec![Drift::Remove(target)]),
        "user" => Some(vec![Drift::Leave(target)]),
        "service" => {
            let unit = format!("{target}.service");
            let activity =
                if wanted.contains("Stopped") { Drift::Start(unit.clone()) } else { Drift::Stop(unit.clone()) };
            let disable = wanted.contains("enabled: Some(true)").then_some(Drift::Disable(unit));
            Some(std::iter::once(activity).chain(disable).collect())
        }
        _ => None,
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
