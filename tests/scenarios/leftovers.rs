//! What a host and this machine keep of runs that were killed: nothing, once the next one has the lock.

use nix::sys::signal::Signal;

use crate::house::{House, until};
use crate::project::Project;

/// A file, and a program that ends when it may.
const ROLE: &str = r#"
summary: x
inputs:
  value: { type: string, default: first }
resources:
  - directory: { path: /srv/left }
  - file: { path: /srv/left/file, content: "{{ value }}\n" }
  - link: { path: /srv/left/link, target: file }
  - command: { run: [sh, -c, "touch /srv/left/begun; until [ -e /srv/left/go ]; do sleep 0.1; done"], creates: /srv/left/go }
"#;

/// What is left on the host: temporary directories, drafts, half-written records. The journal is what the next run reads.
const LEFT: &str = "ls -d /run/armilla.*.* /var/tmp/armilla.*.* /srv/left/.armilla-* 2>/dev/null; \
                    find /var/lib/armilla/host -name '.new-*' -o -name drafts";

fn interrupted(house: &House, project: &Project<'_>, end: &dyn Fn()) {
    house.sh("h1", "rm -rf /srv/left");
    let run = project.start(&["apply", "lab", "--lab", "-y"]);
    until("the program runs", || house.holds("h1", "test -e /srv/left/begun"));
    assert_ne!(house.sh("h1", LEFT), "", "nothing to clean up: this tests nothing");
    run.signal(Signal::SIGKILL);
    run.wait();
    end();
    // What an order that is killed a moment earlier leaves.
    let draft = "/srv/left/.armilla-00000000000000000000000000000000-1";
    house.sh("h1", &format!("echo half >{draft}; ln -s x /srv/left/.armilla-00000000000000000000000000000000-2"));
    let half = r"find /var/lib/armilla/host -name journal -execdir sh -c 'echo half >.new-ledger' \;";
    house.sh("h1", &format!("{half}; touch /srv/left/go"));
}

/// kill -9 of the program, of the host program, and of what it runs.
pub(crate) fn killed(house: &House) {
    house.up(&["h1"]);
    let project = house.project("leftovers-killed");
    project.only(&["h1"], ROLE);
    let kill = || drop(house.ask("h1", "pkill -KILL -f 'armilla/[p]rogram'; pkill -KILL -f '[s]rv/left/go'"));
    interrupted(house, &project, &kill);
    project.apply(&[]).ends(0);
    assert_eq!(house.sh("h1", LEFT), "");
    assert_eq!(house.sh("h1", "cat /srv/left/link"), "first");
}

/// The power goes while a run works, and another run follows after the boot.
pub(crate) fn without_power(house: &House) {
    house.up(&["h1"]);
    let project = house.project("leftovers-power");
    project.only(&["h1"], ROLE);
    interrupted(house, &project, &|| {
        house.lab().kill(&["h1"], &mut |_| {}).expect("the power goes");
        house.lab().boot(&["h1"], &mut |_| {}).expect("the power comes");
    });
    project.apply(&[]).ends(0);
    assert_eq!(house.sh("h1", LEFT), "");
}
