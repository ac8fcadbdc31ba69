//! Several projects on the same hosts.

use std::fs;

use crate::house::{ARMILLA, House};
use crate::project::Project;

const PLACE: &str = "/var/lib/armilla/host";

fn role(resources: &str) -> String {
    format!("summary: It.\nresources:\n{resources}")
}

/// A project without an identity, as it was written by hand.
fn unnamed<'a>(house: &'a House, name: &str, resources: &str) -> Project<'a> {
    let project = house.project(name);
    fs::remove_file(project.path("armilla.yml")).expect("the identity goes");
    project.only(&["h1"], &role(resources));
    project
}

fn identity(project: &Project<'_>) -> String {
    let text = fs::read_to_string(project.path("armilla.yml")).expect("armilla.yml");
    text.lines().find_map(|line| line.strip_prefix("project: ")).expect("an identity").to_owned()
}

/// Two projects with an environment of the same name live side by side; what both want is refused.
pub(crate) fn f48_side_by_side(house: &House) {
    house.fresh(&["h1"]);
    // Both before the first apply: with each project the hosts forget what they keep.
    let two = unnamed(house, "projects-two", "  - file: { path: /srv/two, content: two }\n");
    let one = unnamed(house, "projects-one", "  - file: { path: /srv/one, content: one }\n  - group: crew\n");
    one.apply(&[]).ends(0).says("armilla.yml: added `project: projects-one-");
    one.is_empty();
    two.plan(&[]).ends(0).says("1 to add").keeps("/srv/one");
    two.apply(&[]).ends(0).keeps("remove");
    one.is_empty();
    two.is_empty();
    let (first, second) = (identity(&one), identity(&two));
    assert_ne!(first, second);
    let folders = format!("{PLACE}/lab@h1@{first}\n{PLACE}/lab@h1@{second}");
    assert_eq!(house.sh("h1", &format!("ls -d {PLACE}/*@*")), folders);

    two.only(&["h1"], &role("  - file: { path: /srv/two, content: two }\n  - group: crew\n"));
    let refused = two.plan(&[]).ends(1).says("group crew").says("the environment lab of the project").says(&first);
    refused.says("run ");
    two.apply(&[]).ends(1).says("nothing was changed");
    two.only(&["h1"], &role("  - file: { path: /srv/two, content: two }\n"));

    let saved = one.path("one.plan").to_string_lossy().into_owned();
    one.only(&["h1"], &role("  - file: { path: /srv/one, content: more }\n  - group: crew\n"));
    one.plan(&["-o", &saved]).ends(0);
    two.run(&["apply", &saved, "-y"]).ends(1).says(&format!("the plan is for the project {first}"));
    one.run(&["apply", &saved, "-y"]).ends(0);

    one.run(&["destroy", "lab", "--lab", "--confirm", "lab"]).ends(0);
    assert_eq!(house.sh("h1", "ls /srv"), "two");
    two.is_empty();
}

/// What an earlier armilla wrote is adopted once, and a checkout that cannot be written to has to say which project it is.
pub(crate) fn f48_adopted_once(house: &House) {
    house.fresh(&["h1"]);
    let project = unnamed(house, "projects-old", "  - file: { path: /srv/old, content: old }\n");
    project.apply(&[]).ends(0);
    let id = identity(&project);
    // As it was before projects had identities.
    house.sh("h1", &format!("mv {PLACE}/lab@h1@{id} {PLACE}/lab@h1"));
    fs::remove_file(project.path("armilla.yml")).expect("the identity goes");
    project.only(&["h1"], &role("  - file: { path: /srv/new, content: new }\n"));
    project.plan(&[]).ends(0).says("to be adopted: the ledger on h1").says("1 to remove");
    project.apply(&[]).ends(1).says("--adopt").says("names no project").says("nothing was changed");
    assert_eq!(house.sh("h1", &format!("ls /srv; ls -d {PLACE}/*@*")), format!("old\n{PLACE}/lab@h1"));
    project.apply(&["--adopt"]).ends(0);
    let id = identity(&project);
    assert_eq!(house.sh("h1", &format!("ls /srv; ls -d {PLACE}/*@*")), format!("new\n{PLACE}/lab@h1@{id}"));
    project.is_empty();

    // A checkout of the same files without the line, on a file system that takes nothing.
    fs::remove_file(project.path("armilla.yml")).expect("the identity goes");
    project.only(&["h1"], &role("  - file: { path: /srv/new, content: newer }\n"));
    let state = Project::new(house, "projects-state").path("state");
    let folder = project.path("").to_string_lossy().into_owned();
    let script = format!("mount --bind {folder} {folder} && mount -o remount,bind,ro {folder} && exec \"$@\"");
    let state = format!("ARMILLA_STATE_DIR={}", state.display());
    let program = ["env", &state, "unshare", "-m", "sh", "-c", &script, "sh", ARMILLA];
    let read_only = |arguments: &[&str]| project.start_as(&program, arguments).wait();
    read_only(&["plan", "lab", "--lab"]).ends(0).says(&format!("write `project: {id}` into armilla.yml"));
    read_only(&["apply", "lab", "--lab", "-y"]).ends(1).says("--adopt").says("nothing was changed");
    assert_eq!(house.sh("h1", "cat /srv/new"), "new");
    read_only(&["apply", "lab", "--lab", "-y", "--adopt"]).ends(0);
    assert_eq!(house.sh("h1", "cat /srv/new"), "newer");
}
