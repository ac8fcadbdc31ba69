//! Hosts that follow each other: hooks around them, a canary and a person, a service that must not fall too low.
//!
//! In: three hosts and a service that anybody can stop. Out: the order in which things happened, and what was refused.
//! Never: a host that changes out of its turn.

use crate::house::{House, until};
use crate::project::Project;

const HOSTS: [&str; 3] = ["h1", "h2", "h3"];

/// A service that sleeps, with a setting; what happens around its change is written down.
fn sleeper(project: &Project<'_>, setting: &str, rollout: &str) {
    let unit = "[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n";
    let role = format!(
        "summary: x\nresources:\n  - unit: {{ name: sleeper.service, content: \"{unit}\" }}\n  - file: {{ path: /srv/setting, content: \"{setting}\" }}\n    notify: restart\n  - service: {{ name: sleeper, state: running, enabled: true }}\nhealth:\n  - unit: {{ name: sleeper, within: 10s }}\nrollout:\n{rollout}"
    );
    project.only(&HOSTS, &role);
}

fn log(house: &House, host: &str) -> String {
    house.sh(host, "cat /srv/log 2>/dev/null; true")
}

/// A canary goes first, a person lets the others follow, and each is drained before and let in again after.
pub(crate) fn canary(house: &House) {
    house.up(&HOSTS);
    let project = house.project("canary");
    let rollout = "  batch: 1\n  canary: { hosts: 1, stable_for: 3s, approve: true }\n  drain:\n    - run: [sh, -c, 'echo drain $(cat /srv/setting) >>/srv/log']\n    - run: [sh, -c, 'sleep 60']\n      within: 1s\n      otherwise: continue\n  undrain:\n    - run: [sh, -c, 'echo undrain $(cat /srv/setting) >>/srv/log']\n";
    sleeper(&project, "one", rollout);
    for host in HOSTS {
        house.sh(host, "rm -f /srv/log");
    }
    project.apply(&[]).ends(0);
    assert_eq!(log(house, "h1"), "", "what did not run is not drained");

    sleeper(&project, "two", rollout);
    project.plan(&[]).ends(0).says("1 host as a canary, healthy for 3 s, then approval");
    let mut run = project.start(&["apply", "lab", "--lab", "-y"]);
    drop(run.child.stdin.take());
    until("it waits for a person", || !run.runs() || run.said().contains("armilla approve"));
    assert!(run.runs(), "{}", run.said());
    assert_eq!(log(house, "h1"), "drain one\nundrain two");
    assert_eq!((log(house, "h2"), log(house, "h3")), (String::new(), String::new()), "the others wait");
    project.run(&["approve"]).ends(0).says("the other hosts follow h1");
    run.wait().ends(0).says("Converged");
    for host in HOSTS {
        assert_eq!(log(house, host), "drain one\nundrain two", "{host}");
    }
    project.run(&["approve"]).ends(1).says("no run on this machine waits for approval");
    project.is_empty();
}

/// One member is down, whoever did that: the plan says so, and nothing is changed until it is up again.
pub(crate) fn never_too_few(house: &House) {
    house.up(&HOSTS);
    let project = house.project("too-few");
    let rollout = "  batch: 1\n  keep_healthy: 2\n";
    sleeper(&project, "one", rollout);
    project.apply(&[]).ends(0);
    sleeper(&project, "two", rollout);
    house.lab().kill(&["h3"], &mut |_| {}).expect("the plug is pulled");
    project
        .plan(&[])
        .ends(4)
        .says("refused: changing h1 would leave 1 of 3 healthy, and `keep_healthy` requires 2: h3 does not answer");
    project.apply(&[]).ends(1).says("changing h1 would leave 1 of 3 healthy").says("nothing was changed");
    assert_eq!(house.sh("h1", "cat /srv/setting"), "one");
    house.lab().boot(&["h3"], &mut |_| {}).expect("it boots");
    house.lab().wait(&["h3"]).expect("it answers");

    // A member that is down and would be mended goes first, and the others follow when it is well.
    house.sh("h2", "systemctl stop sleeper");
    project.apply(&[]).ends(0);
    let started = |host| house.sh(host, "date -d \"$(systemctl show -p ActiveEnterTimestamp --value sleeper)\" +%s");
    let started = HOSTS.map(|host| started(host).parse::<u64>().expect("a time"));
    assert!(started[1] <= started[0] && started[1] <= started[2], "h2 was the first: {started:?}");
    project.is_empty();
}
