//! A part of a plan: what tags and targets leave out, and what they must not.
//!
//! In: small projects in the simulator. Out: which resources are planned, each as `host kind target`.

use armilla::catalog::{PlacedNames, ResourceSelection, Target};
use armilla::plan::{Plan, Reason, Work, plan};
use armilla::sim::{World, show_plan};

const WEB: &str = "summary: W.
requires: [base]
health:
  - tcp: { port: 80 }
resources:
  - package: nginx
    tags: [packages]
  - file: { path: /etc/nginx/a, content: one }
    tags: config
    notify: restart
  - file: { path: /etc/nginx/b, content: one }
    tags: [config, slow]
    notify: restart
  - service: nginx
  - file: { path: /srv/always, content: x }
    tags: always
  - file: { path: /srv/never, content: x }
    tags: [never, debug]
";

fn world() -> World {
    let mut world = World::default();
    for host in ["h1", "h2"] {
        world.host(host).expect("a name");
    }
    world.role("web", WEB).expect("a role");
    world
        .role("base", "summary: B.\ntags: [ground]\nresources:\n  - file: { path: /srv/base, content: x }\n")
        .expect("a role");
    world.site("services:\n  web: { hosts: all, tags: [front] }\n");
    world
}

/// Everything as described, but for the two files of the configuration.
fn drifted() -> World {
    let mut world = world();
    let all = world.plan().expect("a plan");
    assert!(world.apply(&all).report.converged());
    world.fleet.pace(60);
    world.role("web", &WEB.replace("content: one", "content: two")).expect("a role");
    world
}

fn words(list: &[&str]) -> std::collections::BTreeSet<String> {
    list.iter().map(|&word| word.to_owned()).collect()
}

fn tags(only: &[&str], skip: &[&str]) -> ResourceSelection {
    ResourceSelection { tags: words(only), skip: words(skip), targets: Vec::new() }
}

fn names() -> PlacedNames {
    ["h1", "h2", "web", "base"].into_iter().map(str::to_owned).collect()
}

fn target(text: &str) -> ResourceSelection {
    let target = Target::parse(text, &names()).unwrap_or_else(|problem| panic!("{problem}"));
    ResourceSelection { targets: vec![target], ..ResourceSelection::default() }
}

fn chosen(world: &World, part: &ResourceSelection) -> Result<Plan, String> {
    let mut catalog = world.catalog().expect("a catalog");
    let problems = part.choose(&mut catalog);
    match problems.first() {
        Some(problem) => Err(problem.to_string()),
        None => Ok(plan(&catalog, &world.observe(&catalog))),
    }
}

fn planned(world: &World, part: &ResourceSelection) -> Vec<String> {
    let plan = chosen(world, part).expect("something is chosen");
    let on_first = plan.entries().filter(|entry| entry.address.host.as_str() == "h1");
    on_first.map(|entry| entry.address.to_string()).collect()
}

const EVERYTHING: &[&str] =
    &["file /srv/base", "package nginx", "file /etc/nginx/a", "file /etc/nginx/b", "service nginx", "file /srv/always"];

#[test]
fn tags_mean_what_they_mean_in_ansible() {
    let cases: &[(&[&str], &[&str], &[&str])] = &[
        (&[], &[], EVERYTHING),
        (&["all"], &[], EVERYTHING),
        (&["packages"], &[], &["package nginx", "file /srv/always"]),
        (&["ground"], &[], &["file /srv/base", "file /srv/always"]),
        (&["debug"], &["always"], &["file /srv/never"]),
        (&["never"], &["always"], &["file /srv/never"]),
        (&["tagged"], &["front"], &["file /srv/base"]),
        (&[], &["front"], &["file /srv/base"]),
        (&[], &["all"], &["file /srv/always"]),
    ];
    for (only, skip, want) in cases {
        assert_eq!(planned(&world(), &tags(only, skip)), *want, "-t {only:?} --skip-tags {skip:?}");
    }
}

#[test]
fn the_tags_of_a_service_are_not_those_of_what_its_role_requires() {
    let front = planned(&world(), &tags(&["front"], &["packages"]));
    assert_eq!(front, ["file /etc/nginx/a", "file /etc/nginx/b", "service nginx", "file /srv/always"]);
}

#[test]
fn a_service_stands_where_a_tag_does() {
    let own = &["package nginx", "file /etc/nginx/a", "file /etc/nginx/b", "service nginx", "file /srv/always"];
    let cases: &[(&[&str], &[&str], &[&str])] = &[
        (&["web"], &[], own),
        (&["web"], &["config"], &["package nginx", "service nginx", "file /srv/always"]),
        (&["web", "ground"], &[], EVERYTHING),
        (&[], &["web"], &["file /srv/base"]),
        (&["ground", "always"], &["web"], &["file /srv/base"]),
    ];
    for (only, skip, want) in cases {
        assert_eq!(planned(&world(), &tags(only, skip)), *want, "-t {only:?} --skip-tags {skip:?}");
    }
}

#[test]
fn a_target_is_typed_as_the_plan_shows_it_or_with_colons() {
    let cases: &[(&str, &[&str])] = &[
        ("h1 file /etc/nginx/a", &["file /etc/nginx/a"]),
        ("h1:web:file:/etc/nginx/a", &["file /etc/nginx/a"]),
        ("/etc/nginx/a", &["file /etc/nginx/a"]),
        ("web package", &["package nginx"]),
        ("h1 start nginx", &["service nginx"]),
        ("base", &["file /srv/base"]),
        ("file /srv/never", &["file /srv/never"]),
        ("h2 package nginx", &[]),
    ];
    for (text, want) in cases {
        assert_eq!(planned(&world(), &target(text)), *want, "{text}");
    }
}

#[test]
fn a_target_that_names_nothing_is_refused_with_what_may_be_meant() {
    for (text, part) in [("h1 fil /a", "did you mean `file`"), ("wep", "did you mean `web`"), ("", "is empty")] {
        let problem = Target::parse(text, &names()).expect_err(text).to_string();
        assert!(problem.contains(part), "{problem}");
    }
    let problem = chosen(&world(), &target("file /etc/nginx/aa")).expect_err("no such file");
    assert!(problem.contains("did you mean `/etc/nginx/a`"), "{problem}");
}

#[test]
fn what_is_left_out_is_counted_apart_and_is_not_in_sync() {
    let plan = chosen(&world(), &tags(&["packages"], &[])).expect("a plan");
    let summary = plan.summary();
    assert_eq!((summary.changes(), summary.in_sync, summary.left_out), (4, 0, 10), "{}", show_plan(&plan));
    let whole = world().plan().expect("a plan");
    assert_eq!(whole.summary().left_out, 2, "without a selection only what is tagged `never`");
}

#[test]
fn a_selection_that_leaves_nothing_is_refused() {
    let problem = chosen(&world(), &tags(&["packages"], &["front"])).expect_err("nothing is left");
    assert!(problem.contains("the selection is empty"), "{problem}");
}

#[test]
fn tags_that_nothing_has_are_told_with_the_nearest() {
    let known = ["config", "slow"].iter().map(|tag| armilla::name::Tag::new(tag).expect("a tag")).collect();
    let told = tags(&["confg", "all", "web"], &["slov", "never", "web"]).unknown_tags(&known, &["web"].into());
    let told: Vec<String> = told.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2);
    assert!(
        told[0].starts_with("error: --tags: no tag or service `confg`") && told[0].contains("`config`"),
        "{}",
        told[0]
    );
    assert!(told[1].starts_with("warning: --skip-tags"), "{}", told[1]);
}

#[test]
fn a_chosen_change_restarts_its_service_even_if_that_was_not_chosen() {
    let world = drifted();
    let plan = chosen(&world, &target("/etc/nginx/a")).expect("a plan");
    let reasons: Vec<(String, &Reason)> =
        plan.entries().map(|entry| (format!("{} {}", entry.address.host, entry.address), &entry.reason)).collect();
    let restart = reasons.iter().find(|(what, _)| what == "h1 service nginx").expect("a restart");
    let Reason::Notified(from) = restart.1 else { panic!("{reasons:?}") };
    assert_eq!(from.iter().map(ToString::to_string).collect::<Vec<_>>(), ["file /etc/nginx/a"], "and nothing left out");
    assert_eq!(reasons.len(), 4);
    assert!(world.apply(&plan).report.converged());
    let again = chosen(&world, &target("/etc/nginx/a")).expect("a plan");
    assert!(again.is_empty(), "{}", show_plan(&again));
}

#[test]
fn a_change_that_was_left_out_restarts_nothing() {
    let plan = chosen(&drifted(), &target("service nginx")).expect("a plan");
    assert!(plan.is_empty(), "{}", show_plan(&plan));
}

#[test]
fn a_service_that_is_skipped_by_name_is_not_restarted_but_not_forgotten() {
    let mut world = drifted();
    let skipped =
        WEB.replace("- service: nginx", "- service: nginx\n    tags: boot").replace("content: one", "content: two");
    world.role("web", &skipped).expect("a role");
    let plan = chosen(&world, &tags(&["config"], &["boot"])).expect("a plan");
    assert!(plan.entries().all(|entry| entry.address.kind == "file"), "{}", show_plan(&plan));
    assert!(world.apply(&plan).report.converged());
    world.fleet.pace(60);
    let later = world.plan().expect("a plan");
    assert!(later.entries().any(|entry| matches!(entry.reason, Reason::Owed(_))), "{}", show_plan(&later));
}

#[test]
fn the_gates_of_a_part_are_those_of_the_whole() {
    let plan = chosen(&drifted(), &target("h1 /etc/nginx/a")).expect("a plan");
    let gates = plan.stages.iter().filter(|stage| matches!(stage.work, Work::Gate { .. })).count();
    assert_eq!(gates, 1, "{}", show_plan(&plan));
}
