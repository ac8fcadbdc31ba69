//! Several projects and environments on the same hosts: they live side by side, and nothing is claimed twice.
//!
//! In: worlds that share a fleet. Out: nothing. Never: a look at how it is done; only at plans and hosts.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use armilla::catalog::Data;
use armilla::name::{Owner, ProjectId};
use armilla::plan::{Left, Plan, Verdict};
use armilla::sim::{Fault, World, show_plan, show_run};
use proptest::prelude::*;

use crate::generator::project;
use crate::host::Room;

const SITE: &str = "services:\n  it: { hosts: all }\n";

fn role(world: &mut World, resources: &str) {
    world.role("it", &format!("summary: It.\nresources:\n{resources}")).expect("a role");
    world.site(SITE);
}

fn world(resources: &str) -> World {
    let mut world = World::default();
    world.host("h1").expect("a name");
    role(&mut world, resources);
    world
}

fn owner(word: &str) -> Owner {
    Owner::parse(word).expect("an owner")
}

/// Another project with an environment of the same name.
fn other(world: &World) -> Owner {
    Owner { project: Some(ProjectId::compose("other", 1)), ..world.owner() }
}

fn beside(world: &World, owner: Owner, resources: &str) -> World {
    let mut beside = world.beside(owner);
    role(&mut beside, resources);
    beside
}

fn plan(world: &World) -> Plan {
    world.plan().unwrap_or_else(|problems| panic!("{problems}"))
}

#[track_caller]
fn converge(world: &World) {
    let plan = plan(world);
    let run = world.apply(&plan);
    assert!(run.report.converged(), "{}{}", show_plan(&plan), show_run(&plan, &run));
    settled(world);
}

#[track_caller]
fn settled(world: &World) {
    let plan = plan(world);
    let open: Vec<_> = plan.entries().filter(|entry| !entry.is_always()).collect();
    assert!(open.is_empty() && plan.unreachable.is_empty(), "{}", show_plan(&plan));
}

fn there(world: &World, path: &str) -> bool {
    world.fleet.on("h1", |host| host.paths.get(path).is_some()).unwrap_or_default()
}

/// Why each resource is refused.
fn refusals(plan: &Plan) -> Vec<String> {
    let refused = plan.entries().filter(|entry| entry.verdict == Verdict::Refused);
    refused.map(|entry| format!("{}: {:?}", entry.address, entry.reason)).collect()
}

#[test]
fn f48_two_projects_with_an_environment_of_the_same_name_live_side_by_side() {
    let mut one = world("  - file: { path: /srv/one, content: a }\n  - package: nginx\n");
    converge(&one);
    let two = beside(&one, other(&one), "  - file: { path: /srv/two, content: b }\n");
    let first = plan(&two);
    assert!(first.removals().is_empty() && first.summary().kept == 0, "{}", show_plan(&first));
    converge(&two);
    settled(&one);
    settled(&two);
    role(&mut one, "  - file: { path: /srv/new, content: a }\n");
    converge(&one);
    assert!(!there(&one, "/srv/one") && there(&one, "/srv/new") && there(&one, "/srv/two"));
    one.apply(&one.destroy(Data::Kept));
    assert!(!there(&one, "/srv/new") && there(&two, "/srv/two"), "the other project keeps what it has");
    settled(&two);
    assert!(one.fleet.kept("h1", &two.owner()).is_some_and(|(ledger, _)| ledger.is_some()));
}

#[test]
fn two_environments_of_one_project_on_one_host_live_side_by_side() {
    let one = world("  - file: { path: /srv/one, content: a }\n  - file: { path: /srv/both, content: a }\n");
    converge(&one);
    let test = Owner { environment: armilla::name::EnvName::new("test").expect("a name"), ..one.owner() };
    let two = beside(&one, test.clone(), "  - file: { path: /srv/two, content: b }\n");
    converge(&two);
    settled(&one);
    let two = beside(&one, test, "  - file: { path: /srv/both, content: a }\n");
    let refused = refusals(&plan(&two));
    assert!(refused.len() == 1 && refused[0].contains("the environment sim of the project sim-"), "{refused:?}");
}

#[test]
fn f48_what_two_projects_want_is_refused_with_the_other_and_its_run() {
    let taken = r#"
  - file: { path: /etc/motd, content: a }
  - package: nginx
  - user: ada
  - unit: { name: app.service, content: "[Service]\nExecStart=/bin/true\n" }
  - service: { name: app, state: running }
  - file: { path: /etc/allow, content: a }
  - line: { path: /etc/deny, line: one }
"#;
    let one = world(taken);
    one.fleet.on("h1", |host| host.paths.write("/etc/deny", b"zero\n", 1).expect("a file"));
    converge(&one);
    for (wanted, shown) in [
        ("  - file: { path: /etc/motd, content: b }\n", "file /etc/motd"),
        ("  - file: { path: /etc/motd, content: a }\n", "file /etc/motd"),
        ("  - link: { path: /etc/motd, target: /etc/issue }\n", "link /etc/motd"),
        ("  - file: { path: /etc/motd, state: absent }\n", "file /etc/motd"),
        ("  - line: { path: /etc/allow, line: two }\n", "line /etc/allow"),
        ("  - file: { path: /etc/deny, content: b }\n", "file /etc/deny"),
        ("  - line: { path: /etc/deny, line: one }\n", "line /etc/deny"),
        ("  - package: nginx\n", "package nginx"),
        ("  - user: { name: ada, state: absent }\n", "user ada"),
        ("  - service: { name: app, state: stopped }\n", "service app"),
    ] {
        let two = beside(&one, other(&one), wanted);
        let (plan, before) = (plan(&two), one.fleet.on("h1", |host| host.shape()));
        let refused = refusals(&plan);
        assert!(refused.len() == 1 && refused[0].starts_with(shown), "{wanted}{}", show_plan(&plan));
        let says = "the environment sim of the project sim-2222222222 (run 20231114-";
        assert!(refused[0].contains(says), "{refused:?}");
        assert_eq!(one.fleet.on("h1", |host| host.shape()), before);
    }
    // Two lines of one file are two things.
    let apart = plan(&beside(&one, other(&one), "  - line: { path: /etc/deny, line: two }\n"));
    assert!(refusals(&apart).is_empty() && apart.summary().changes() == 1, "{}", show_plan(&apart));
}

#[test]
fn programs_are_nobodys() {
    let run = "  - command: { run: [mkfs.ext4, /dev/vdb], unless: [blkid, /dev/vdb] }\n";
    let one = world(run);
    converge(&one);
    let plan = plan(&beside(&one, other(&one), run));
    assert!(refusals(&plan).is_empty(), "{}", show_plan(&plan));
}

#[test]
fn what_an_interrupted_run_of_another_project_began_is_its_own() {
    let one = world("  - file: { path: /etc/motd, content: a }\n  - file: { path: /srv/x, content: a }\n");
    one.fleet.fault("h1", 0, Fault::PowerLossAfter);
    one.apply(&plan(&one));
    one.fleet.boot("h1");
    let two = beside(&one, other(&one), "  - file: { path: /etc/motd, content: b }\n");
    assert_eq!(refusals(&plan(&two)).len(), 1, "{}", show_plan(&plan(&two)));
    converge(&one);
}

#[test]
fn what_another_project_has_too_is_not_taken_away() {
    let both = "  - file: { path: /etc/motd, content: a }\n  - file: { path: /srv/a/b, content: a }\n";
    let mut one = world(&format!("  - directory: {{ path: /srv/a }}\n{both}"));
    converge(&one);
    // Both have it: as before their ledgers knew of each other.
    let (ledger, _) = one.fleet.kept("h1", &one.owner()).expect("a ledger");
    let two = beside(&one, other(&one), both);
    one.fleet.write_ledger("h1", &two.owner(), &ledger.expect("a ledger"));
    let gone = one.destroy(Data::Kept);
    assert_eq!((gone.removals().len(), gone.summary().kept), (0, 3), "{}", show_plan(&gone));
    assert!(show_plan(&gone).contains("of the project other-"), "{}", show_plan(&gone));
    one.site("services: {}\n");
    one.apply(&plan(&one));
    assert!(there(&two, "/etc/motd") && there(&two, "/srv/a/b"));
    // Now it is the other's alone.
    two.apply(&two.destroy(Data::Kept));
    assert!(!there(&two, "/etc/motd") && !there(&two, "/srv/a"));
}

#[test]
fn a_directory_with_something_of_another_project_stays() {
    let one = world("  - directory: { path: /srv/a }\n");
    converge(&one);
    let two = beside(&one, other(&one), "  - file: { path: /srv/a/b, content: b }\n");
    converge(&two);
    let gone = one.destroy(Data::Removed);
    assert!(show_plan(&gone).contains("/srv/a/b is in it and belongs to"), "{}", show_plan(&gone));
    one.apply(&gone);
    settled(&two);
}

#[test]
fn what_another_project_has_is_not_imported() {
    let one = world("  - file: { path: /etc/motd, content: a }\n");
    converge(&one);
    let two = beside(&one, other(&one), "  - file: { path: /etc/motd, content: a }\n");
    let import = two.import(&armilla::catalog::ResourceSelection::default()).expect("a catalog");
    let left: Vec<Left> = import.left.into_iter().map(|(_, why)| why).collect();
    assert!(import.taken.is_empty() && left == [Left::Foreign], "{left:?}");
}

#[test]
fn a_ledger_that_names_no_project_is_adopted_once() {
    let old = world("  - file: { path: /srv/old, content: a }\n");
    converge(&old);
    // As it was before projects had identities.
    let unnamed = old.owner().without_project();
    let (ledger, _) = old.fleet.kept("h1", &old.owner()).expect("a ledger");
    old.fleet.lose_state("h1");
    old.fleet.write_ledger("h1", &unnamed, &ledger.expect("a ledger"));
    let new = beside(&old, owner("sim@shop-k3fq8w2n7d"), "  - file: { path: /srv/new, content: a }\n");
    let first = plan(&new);
    assert_eq!(first.unadopted().len(), 1);
    assert_eq!(first.removals().values().sum::<usize>(), 1, "{}", show_plan(&first));
    converge(&new);
    assert!(!there(&new, "/srv/old") && there(&new, "/srv/new"));
    assert!(plan(&new).unadopted().is_empty());
    assert_eq!(new.fleet.kept("h1", &unnamed), None);
    let other = beside(&old, other(&old), "  - file: { path: /srv/third, content: a }\n");
    assert!(plan(&other).unadopted().is_empty(), "it is somebody's now");
    converge(&other);
    settled(&new);
}

#[test]
fn a_ledger_of_another_project_that_is_not_understood_stops_the_host() {
    let one = world("  - file: { path: /srv/one, content: a }\n");
    one.fleet.write_ledger("h1", &other(&one), b"{\"version\":99}");
    let plan = plan(&one);
    let why = plan.unreachable.values().next().cloned().unwrap_or_default();
    assert!(why.contains("sim of other-") && why.contains("upgrade armilla"), "{why}");
}

// -- the program on this machine --------------------------------------------------------------------------------------

/// Projects that have this machine as their only host.
pub(crate) struct Here(Room);

impl Here {
    pub(crate) fn new(name: &str) -> Self {
        Self(Room::new(&format!("projects-{name}")))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.0.join(name)
    }

    /// A project in a folder of this name that writes these files.
    fn project(&self, name: &str, files: &[&str]) {
        let file = |file: &&str| format!("  - file: {{ path: {}, content: {name} }}\n", self.path(file).display());
        self.role(name, &files.iter().map(file).collect::<String>());
    }

    pub(crate) fn role(&self, name: &str, resources: &str) {
        self.write(&format!("{name}/site.yml"), "services:\n  only: { hosts: all }\n");
        self.write(&format!("{name}/inventories/here/hosts.yml"), "hosts:\n  laptop: { connection: local }\n");
        self.write(&format!("{name}/roles/only/role.yml"), &format!("summary: x\nresources:\n{resources}"));
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    fn identity(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path(name).join("armilla.yml")).expect("armilla.yml");
        text.lines().find_map(|line| line.strip_prefix("project: ")).expect("an identity").to_owned()
    }

    /// The program in this project.
    pub(crate) fn command(&self, project: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_armilla"));
        command.args(arguments).env("ARMILLA_PROJECT", self.path(project)).env("NO_COLOR", "1");
        command.env("ARMILLA_HOST_DIR", self.path("host")).env("ARMILLA_STATE_DIR", self.path("state"));
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// Runs it in this project, and gives all it said.
    #[track_caller]
    pub(crate) fn ends(&self, project: &str, code: i32, arguments: &[&str]) -> String {
        let output = self.command(project, arguments).output().expect("armilla runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "armilla {}:\n{said}", arguments.join(" "));
        said
    }
}

#[test]
#[ignore = "needs root: the files it makes belong to root"]
fn the_first_apply_of_a_project_gives_it_an_identity_that_every_later_one_finds() {
    let here = Here::new("identity");
    here.project("shop", &["one"]);
    here.write("shop/armilla.yml", "# what may run\nallow_commands:\n  - [./hosts.py, --list]   # ours\n");
    here.ends("shop", 0, &["plan", "here"]);
    assert!(
        !fs::read_to_string(here.path("shop/armilla.yml")).expect("it").contains("project"),
        "a plan writes nothing"
    );
    let said = here.ends("shop", 0, &["apply", "here", "-y"]);
    let id = here.identity("shop");
    assert!(id.starts_with("shop-") && said.contains(&format!("armilla.yml: added `project: {id}`")), "{said}");
    let text = fs::read_to_string(here.path("shop/armilla.yml")).expect("armilla.yml");
    assert!(text.starts_with("# what may run\nallow_commands:\n  - [./hosts.py, --list]   # ours\n"), "{text}");
    assert!(here.path(&format!("host/host/here@laptop@{id}/ledger")).exists());
    let said = here.ends("shop", 0, &["apply", "here", "-y"]);
    assert!(!said.contains("armilla.yml"), "{said}");
    // A copy is the same project, and a folder that was renamed as well.
    fs::rename(here.path("shop"), here.path("moved")).expect("it moves");
    here.ends("moved", 0, &["plan", "here", "--detailed-exitcode"]);
    let status = here.ends("moved", 0, &["runs", "show"]);
    assert!(status.contains(&id), "{status}");
}

#[test]
#[ignore = "needs root: the files it makes belong to root"]
fn two_projects_on_this_machine_keep_what_they_have() {
    let here = Here::new("two");
    here.project("one", &["a", "b"]);
    here.project("two", &["c"]);
    for name in ["one", "two"] {
        here.ends(name, 0, &["apply", "here", "-y"]);
    }
    for name in ["one", "two"] {
        here.ends(name, 0, &["plan", "here", "--detailed-exitcode"]);
    }
    here.project("two", &["c", "b"]);
    let said = here.ends("two", 1, &["plan", "here"]);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let by = format!("it belongs to the environment here of the project {} (run ", here.identity("one"));
    assert!(words(&said).contains(&words(&by)), "{said}");
    assert_eq!(fs::read_to_string(here.path("b")).expect("it is there"), "one");
    here.project("one", &["b"]);
    let plan = here.path("one.plan").display().to_string();
    here.ends("one", 0, &["plan", "here", "-o", &plan]);
    let said = here.ends("two", 1, &["apply", &plan, "-y"]);
    assert!(said.contains(&format!("the plan is for the project {}", here.identity("one"))), "{said}");
    here.ends("one", 0, &["apply", &plan, "-y"]);
    here.ends("one", 0, &["destroy", "here", "--confirm", "here"]);
    assert!(!here.path("b").exists() && here.path("c").exists());
}

#[test]
#[ignore = "needs root: the files it makes belong to root"]
fn what_an_earlier_armilla_wrote_is_adopted_by_whom_it_is_said() {
    let here = Here::new("adopt");
    here.project("shop", &["one"]);
    here.ends("shop", 0, &["apply", "here", "-y"]);
    let known = here.path(&format!("host/host/here@laptop@{}", here.identity("shop")));
    fs::rename(&known, here.path("host/host/here@laptop")).expect("as it was before");
    here.project("shop", &["two"]);
    let said = here.ends("shop", 0, &["plan", "here"]);
    assert!(said.contains("to be adopted: the ledger on laptop") && said.contains("1 to remove"), "{said}");
    for arguments in [&["apply", "here", "-y"][..], &["destroy", "here", "--confirm", "here"]] {
        let said = here.ends("shop", 1, arguments);
        assert!(said.contains("--adopt") && said.contains("nothing was changed"), "{said}");
    }
    assert!(here.path("one").exists() && !here.path("two").exists() && !known.exists());
    here.ends("shop", 0, &["apply", "here", "-y", "--adopt"]);
    assert!(!here.path("one").exists() && here.path("two").exists() && known.exists());
    here.ends("shop", 0, &["plan", "here", "--detailed-exitcode"]);
    assert!(!here.path("host/host/here@laptop").exists());
}

#[test]
fn resume_finds_the_runs_of_the_project_wherever_its_folder_is() {
    let here = Here::new("resume");
    let go = here.path("go");
    here.role("shop", &format!("  - command: {{ run: [test, -e, {}] }}\n", go.display()));
    here.ends("shop", 3, &["apply", "here", "-y"]);
    fs::rename(here.path("shop"), here.path("moved")).expect("it moves");
    here.project("shop", &["one"]);
    here.write("shop/armilla.yml", "project: shop-2222222222\n");
    let said = here.ends("shop", 1, &["resume", "-y"]);
    assert!(said.contains("this project has no run"), "{said}");
    fs::write(go, "").expect("a file");
    here.ends("moved", 0, &["resume", "-y"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_one_project_does_another_keeps_what_it_has(project in project()) {
        let one = project.world();
        let mut two = one.beside(other(&one));
        role(&mut two, "  - directory: { path: /opt/two }\n  - file: { path: /opt/two/file, content: b }\n  - group: two\n");
        converge(&two);
        let first = plan(&one);
        one.apply(&first);
        settled(&two);
        let mut one = one;
        project.next().write(&mut one);
        one.apply(&plan(&one));
        settled(&two);
        one.apply(&one.destroy(Data::Kept));
        settled(&two);
        prop_assert!(plan(&two).in_sync > 0);
        two.apply(&two.destroy(Data::Kept));
        for host in two.fleet.names() {
            let left = two.fleet.on(&host, |host| host.paths.get("/opt/two/file").is_some());
            prop_assert_eq!(left, Some(false));
        }
    }
}
