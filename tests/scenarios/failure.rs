//! Things that go wrong on a host, and what becomes of the rest.

use crate::house::{House, until};

/// One role fails in the middle; what does not depend on it is done, what depends on it is not begun.
pub(crate) fn stops_what_depends(house: &House) {
    let hosts = ["h1", "h2"];
    house.up(&hosts);
    for host in hosts {
        house.sh(host, "rm -f /srv/before /srv/after /srv/apart /srv/needs /srv/requires /srv/mended");
    }
    let project = house.project("failed-step");
    project.hosts(&hosts).file(
        "site.yml",
        "services:\n  needing: { hosts: all_hosts }\n  breaking: { hosts: h1 }\n  apart: { hosts: all_hosts }\n  requiring: { hosts: h1 }\n",
    );
    let file = |name: &str| format!("  - file: {{ path: /srv/{name}, content: \"{name}\\n\" }}\n");
    let breaks = "  - command: { run: [sh, -c, 'echo the dam is open >&2; test -e /srv/mended'], unless: [test, -e, /srv/mended] }\n";
    let role = |head: &str, resources: String| format!("summary: x\n{head}resources:\n{resources}");
    project.file("roles/breaking/role.yml", role("", file("before") + breaks + &file("after")));
    project.file("roles/needing/role.yml", role("needs: [breaking]\n", file("needs")));
    project.file("roles/requiring/role.yml", role("requires: [breaking]\n", file("requires")));
    project.file("roles/apart/role.yml", role("", file("apart")));

    let run = project.apply(&[]).ends(3).says("Failed on 1 of 2 hosts").says("h1 failed breaking command");
    let run = run
        .says("exit code 1")
        .says("the dam is open")
        .says("not started because of it: 1 more resource of breaking on h1");
    run.says("needing on h1 h2").says("requiring on h1").says("To continue: armilla resume");
    let there = |host: &str| house.sh(host, "cd /srv; ls -d before after apart needs requires 2>/dev/null; true");
    assert_eq!(there("h1"), "apart\nbefore", "h1 after the failure");
    assert_eq!(there("h2"), "apart", "h2 after the failure");

    house.sh("h1", "touch /srv/mended");
    project.converges();
    assert_eq!(there("h1"), "after\napart\nbefore\nneeds\nrequires", "h1 after going on");
    assert_eq!(there("h2"), "apart\nneeds", "h2 after going on");
}

/// A file that does not fit is not there by half, and the other host gets it.
pub(crate) fn f16_full_disk(house: &House) {
    let hosts = ["h1", "h2"];
    house.up(&hosts);
    for host in hosts {
        house.sh(
            host,
            "umount /srv/small 2>/dev/null; mkdir -p /srv/small; rm -f /srv/small/*; echo old >/srv/small/file",
        );
    }
    house.sh("h1", "mount -t tmpfs -o size=64k small /srv/small; echo old >/srv/small/file; stat -c '%i %Y' /srv/small/file >/srv/stat");
    let project = house.project("full-disk");
    project.file("roles/only/files/large", vec![b'x'; 300_000]);
    project.only(&hosts, "summary: x\nresources:\n  - file: { path: /srv/small/file, src: large }\n  - file: { path: /srv/next, content: x }\n");

    let run = project.apply(&[]).ends(3).says("h1 failed only file /srv/small/file").says("is the disk full?");
    run.says("1 more resource of only on h1").keeps("h2 failed");
    assert_eq!(
        house.sh("h1", "cat /srv/small/file; ls -A /srv/small; df --output=used /srv/small | tail -1 | tr -d ' '"),
        "old\nfile\n4"
    );
    assert_eq!(
        house.sh("h1", "stat -c '%i %Y' /srv/small/file"),
        house.sh("h1", "cat /srv/stat"),
        "the very same file"
    );
    assert!(!house.holds("h1", "ls -d /tmp/armilla.*"), "nothing is left in /tmp");
    assert_eq!(house.sh("h2", "stat -c %s /srv/small/file"), "300000");

    house.sh("h1", "umount /srv/small");
    project.converges();
    house.sh("h1", "rm -r /srv/small");
}

/// What runs is finished; the next role and the next host are not begun; a second run does the rest.
pub(crate) fn f02_interrupted(house: &House) {
    let hosts = ["h1", "h2"];
    house.up(&hosts);
    for host in hosts {
        house.sh(host, "rm -f /srv/begun /srv/go /srv/finished /srv/then");
    }
    let project = house.project("interrupted");
    project.hosts(&hosts).file("site.yml", "services:\n  long: { hosts: all_hosts }\n  then: { hosts: all_hosts }\n");
    let wait = "touch /srv/begun; until [ -e /srv/go ]; do sleep 0.05; done; touch /srv/finished";
    let role =
        "summary: x\nresources:\n  - command: { run: [sh, -c, WAIT], creates: /srv/finished }\nrollout: { batch: 1 }\n";
    project.file("roles/long/role.yml", role.replace("WAIT", &format!("'{wait}'")));
    project.file(
        "roles/then/role.yml",
        "summary: x\nneeds: [long]\nresources:\n  - file: { path: /srv/then, content: x }\n",
    );

    let mut run = project.start(&["apply", "lab", "--lab", "-y", "-f", "1"]);
    drop(run.child.stdin.take());
    until("the first step runs", || hosts.iter().any(|host| house.holds(host, "test -e /srv/begun")));
    let busy = hosts.into_iter().find(|host| house.holds(host, "test -e /srv/begun")).expect("one of them");
    let idle = if busy == "h1" { "h2" } else { "h1" };
    run.ctrl_c();
    until("it says so", || run.said().contains("stopping after"));
    assert!(run.runs() && !house.holds(busy, "test -e /srv/finished"), "it waits for the step that runs");
    house.sh(busy, "touch /srv/go");
    run.wait().ends(130).says("Stopped").says("not started");
    assert!(house.holds(busy, "test -e /srv/finished && ! test -e /srv/then"), "{busy}: finished, and nothing new");
    assert!(!house.holds(idle, "test -e /srv/begun || test -e /srv/then"), "{idle}: nothing begun");

    house.sh(idle, "touch /srv/go");
    project.converges();
    assert!(hosts.iter().all(|host| house.holds(host, "test -e /srv/finished && test -e /srv/then")));
}

/// The plug of one host is pulled while dpkg unpacks; the others get there, and it does after its boot.
pub(crate) fn f15_power_loss(house: &House) {
    let hosts = ["p1", "p2", "p3"];
    house.fresh(&hosts);
    let project = house.project("power-loss");
    project.only(
        &hosts,
        "summary: x\nresources:\n  - package: { name: python3 }\n  - file: { path: /srv/after, content: \"done\\n\" }\n",
    );
    let mut run = project.start(&["apply", "lab", "--lab", "-y", "--reboot-timeout", "0"]);
    drop(run.child.stdin.take());
    until("p2 unpacks", || house.holds("p2", "grep -q 'status half-installed' /var/log/dpkg.log"));
    house.lab().kill(&["p2"], &mut |_| {}).expect("the plug is pulled");
    let run = run.wait();
    assert!(matches!(run.code, Some(3 | 4)), "\n{run}");
    run.says("Failed on 1 of 3 hosts")
        .says("p2 failed only package python3")
        .says("the result of this step is unknown");
    for host in ["p1", "p3"] {
        assert_eq!(house.sh(host, "python3 -c 'print(6 * 7)'; cat /srv/after"), "42\ndone");
    }
    project.plan(&["--connect-timeout", "2"]).ends(4).says("p2");

    house.lab().boot(&["p2"], &mut |_| {}).expect("p2 boots");
    assert!(!house.holds("p2", "test -e /srv/after"), "p2 was stopped in the middle");
    assert!(house.holds("p2", "dpkg --audit | grep ."), "and dpkg was, too");
    project.plan(&["-v"]).ends(0).says("dpkg interrupted -> finished");
    project.converges();
    assert_eq!(house.sh("p2", "python3 -c 'print(6 * 7)'; cat /srv/after; dpkg --audit"), "42\ndone");
    house.down(&hosts);
}
