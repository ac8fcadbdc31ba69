//! Health: asked alone, and waited for.

use std::time::{Duration, Instant};

use crate::house::House;
use crate::project::Project;

/// A role whose service is a file away from being unhealthy.
const WEB: &str = "summary: x
resources:
  - file: { path: /srv/health, content: well }
health:
  - unit: { name: ssh }
  - tcp: { port: 22 }
  - tcp: { port: 9, state: closed }
  - command: { run: [cat, /srv/health], expect: well, timeout: 5s }
";

fn project<'a>(house: &'a House, name: &str, role: &str) -> Project<'a> {
    let project = house.project(name);
    project.only(&["h1", "h2"], role);
    project
}

/// Healthy, unhealthy and unreachable hosts, for a person, a program and CI.
pub(crate) fn every_service(house: &House) {
    house.up(&["h1", "h2"]);
    let project = project(house, "verify", WEB);
    project.apply(&[]).ends(0);
    let verify = |more: &[&str]| project.run(&[&["verify", "lab", "--lab", "--connect-timeout", "2"], more].concat());
    verify(&[]).ends(0).says("h1  healthy  4 checks").says("8 of 8 checks healthy");
    verify(&["-vv"]).ends(0).says("round trips: h1 1, h2 1").says("127.0.0.1:9 is closed");

    house.sh("h2", "echo ill >/srv/health");
    let unhealthy = verify(&[]).ends(3).says("h1  healthy  4 checks").says("h2  unhealthy");
    unhealthy.says("its output does not match well: ill");
    verify(&["-l", "h1"]).ends(0);

    house.lab().cut("h2").expect("h2 is cut off");
    let junit = project.path("health.xml").display().to_string();
    let lost = verify(&["--json", "--junit", &junit]).ends(4);
    let told: serde_json::Value = serde_json::from_str(&lost.out).expect("JSON");
    assert_eq!(told["format"], "armilla-verify");
    assert_eq!(told["services"]["only"]["h1"]["health"], "healthy");
    assert_eq!(told["services"]["only"]["h2"]["health"], "unknown", "a host that is away is never healthy");
    let xml = std::fs::read_to_string(&junit).expect("the file for CI");
    assert!(xml.contains("tests=\"8\" failures=\"0\" errors=\"4\""), "{xml}");
    house.lab().heal("h2").expect("h2 is back");
    house.lab().wait(&["h2"]).expect("h2 answers");

    // What gets well while it is waited for is healthy.
    house.sh(
        "h2",
        "systemd-run --quiet --on-active=3 --timer-property=AccuracySec=100ms sh -c 'printf well >/srv/health'",
    );
    verify(&["--wait"]).ends(0).says("8 of 8 checks healthy");
    house.sh("h2", "rm /srv/health");
}

/// A service for `systemd` that does this, and a check that reads what it says.
fn service(script: &str, check: &str) -> String {
    format!(
        "summary: x
resources:
  - unit:
      name: fickle.service
      content: |
        [Service]
        ExecStart=/bin/sh -c '{script}'
  - service: {{ name: fickle, state: running }}
health:
  - {check}
"
    )
}

/// Each is stopped at its gate, or passes it, on a host with a real systemd.
pub(crate) fn f27_health_of_real_services(house: &House) {
    house.up(&["h1"]);
    let tried = |name: &str, script: &str, check: &str| {
        house.sh("h1", "systemctl stop fickle 2>/dev/null; rm -f /etc/systemd/system/fickle.service /run/fickle; systemctl daemon-reload; systemctl reset-failed");
        let project = house.project(name);
        project.only(&["h1"], &service(script, check));
        project.apply(&[])
    };
    let dies =
        tried("f27-dies", "sleep 20; exit 1", "unit: { name: fickle, stable_for: 25s, within: 30s, at_most: 35s }");
    dies.ends(3).says("fickle.service is failed");

    let flaps = "while :; do echo up >/run/fickle; sleep 2; echo down >/run/fickle; sleep 1; done";
    let check = "command: { run: [cat, /run/fickle], expect: up, stable_for: 5s, within: 8s }";
    tried("f27-flaps", flaps, check).ends(3).says("not within 8 s of the last news");

    let slow = "for i in 1 2 3 4 5; do echo $$i of 5 >/run/fickle; sleep 2; done; echo up >/run/fickle; sleep 600";
    let check = "command: { run: [cat, /run/fickle], expect: up, within: 4s, at_most: 60s }";
    tried("f27-slow", slow, check).ends(0);

    let hangs = tried("f27-hangs", "sleep 600", "command: { run: [sleep, 60], timeout: 1s, within: 4s }");
    hangs.ends(3).says("no answer within 1 s");
    house.sh(
        "h1",
        "systemctl stop fickle; rm -f /etc/systemd/system/fickle.service /run/fickle; systemctl daemon-reload",
    );
}

/// A role with a unit that does this and is restarted for ever, and more lines of the role.
fn restarted(script: &str, more: &str) -> String {
    let unit = format!("[Service]\\nExecStart=/bin/sh -c '{script}'\\nRestart=always\\n");
    format!(
        "summary: x
resources:
  - unit: {{ name: fickle.service, content: \"{unit}\" }}
    notify: restart
  - service: {{ name: fickle, state: running }}
{more}"
    )
}

fn clean(house: &House, host: &str) {
    house.sh(host, "systemctl stop fickle 2>/dev/null; rm -f /etc/systemd/system/fickle.service /run/fickle /srv/note; systemctl daemon-reload; systemctl reset-failed");
}

/// A service that runs while its check fails, or is restarted for ever, is never as described, whatever else is done.
pub(crate) fn unhealthy_is_never_as_described(house: &House) {
    house.up(&["h1", "h2"]);
    clean(house, "h1");
    let project = house.project("unhealthy");
    let plan = || project.plan(&["--detailed-exitcode"]);
    let closed = "health:\n  - tcp: { port: 9, within: 3s }\n";
    project.only(&["h1"], &restarted("sleep infinity", closed));
    project.apply(&[]).ends(3);
    let shown = plan().ends(2).says("unhealthy: h1").says("127.0.0.1:9 is open").says("port 9 is closed");
    shown.says("1 member unhealthy").keeps("Nothing to do").keeps("are in sync");
    project.apply(&[]).ends(3).says("not within 3 s").keeps("Converged").keeps("Nothing to do");
    let note = "  - file: { path: /srv/note, content: x }\n";
    project.only(&["h1"], &restarted("sleep infinity", &(note.to_owned() + closed)));
    project.apply(&[]).ends(3).keeps("Converged");

    // What an apply waits for may come.
    let well = "health:\n  - command: { run: [cat, /run/fickle], within: 30s }\n";
    project.only(&["h1"], &restarted("sleep infinity", well));
    project.run(&["plan", "lab", "--lab", "--detailed-exitcode"]).ends(2).says("unhealthy");
    house.sh("h1", "systemd-run --quiet --on-active=3 --timer-property=AccuracySec=100ms touch /run/fickle");
    project.apply(&[]).ends(0).says("Converged");
    plan().ends(0).says("Nothing to do");

    clean(house, "h1");
    restarted_is_never_as_described(house);
}

/// With and without a check of its own, side by side: the gate of each takes a minute.
fn restarted_is_never_as_described(house: &House) {
    let (hosts, project) = (["h1", "h2"], house.project("restarted"));
    for host in hosts {
        clean(house, host);
    }
    project.hosts(&hosts).file("site.yml", "services:\n  plain: { hosts: h1 }\n  checked: { hosts: h2 }\n");
    let does = |script: &str, health: &str| {
        project.file("roles/plain/role.yml", restarted(script, ""));
        project.file("roles/checked/role.yml", restarted(script, health));
    };
    does("sleep 2; exit 1", "health:\n  - unit: { name: fickle, within: 20s }\n");
    project.apply(&[]);
    // In whichever moment between two starts it is asked.
    for pause in [3000, 700, 1100] {
        std::thread::sleep(Duration::from_millis(pause));
        for host in hosts {
            project.plan(&["--detailed-exitcode", "-l", host]).ends(2).says("restarting").keeps("Nothing to do");
        }
    }
    let failed = project.apply(&[]).ends(3).says("h1 failed plain service").says("h2 failed checked service");
    let failed = failed.keeps("Converged");
    // The gate says so, or `systemctl start` does, when its job meets the unit at the end of a round.
    let by_gate = "not within 60 s: fickle.service fails, and systemd keeps restarting it";
    let by_start = "Job for fickle.service failed because the control process exited with error code";
    let reasons = [by_gate, by_start].map(|reason| failed.out.matches(reason).count());
    assert_eq!(reasons.iter().sum::<usize>(), hosts.len(), "\n{failed}");
    does("sleep infinity", "");
    project.apply(&[]).ends(0).says("Converged");
    for host in hosts {
        clean(house, host);
    }
}

/// A service that fails as its script says and is started again after this many seconds; what its log says is a secret.
fn failing(script: &str, pause: &str) -> String {
    format!(
        "summary: x
inputs:
  word: {{ type: secret, default: hunter2 }}
resources:
  - file: {{ path: /srv/word, content: \"{{{{ word }}}}\", mode: \"0600\" }}
  - unit:
      name: fickle.service
      content: |
        [Service]
        ExecStart=/bin/sh -c '{script}'
        Restart=on-failure
        RestartSec={pause}
  - service: {{ name: fickle, state: running }}
health:
  - command: {{ run: [sh, -c, 'test -e /run/fickle || {{ echo nothing; echo the hatch is shut >&2; exit 1; }}'], stable_for: 12s, within: 200s }}
"
    )
}

/// What systemd gave up is not waited for, and the end of its log is shown; what it starts again is waited for.
pub(crate) fn a_failed_gate_gives_its_cause(house: &House) {
    house.up(&["h1"]);
    clean(house, "h1");
    let project = house.project("cause");
    let began = Instant::now();
    project.only(&["h1"], &failing("echo bad word $$(cat /srv/word); sleep 0.5; exit 7", "100ms"));
    let failed = project.apply(&[]).ends(3).says("fickle.service has failed for good").says("exit code 1: nothing");
    assert!(began.elapsed() < Duration::from_secs(60), "it was waited for: {:?}", began.elapsed());
    let failed = failed.says("standard error: the hatch is shut").says("5 restarts").says("bad word ***");
    failed.says("Start request repeated too quickly").keeps("hunter2");
    // The same where nothing changes: the apply starts what failed, or only waits.
    project.apply(&[]).ends(3).says("fickle.service").keeps("Converged").keeps("hunter2");
    assert!(began.elapsed() < Duration::from_secs(120), "it was waited for: {:?}", began.elapsed());

    clean(house, "h1");
    // As long as it must be healthy, it counts as running again.
    let second = "echo x >>/srv/note; test $$(wc -l </srv/note) -ge 2 || exit 7; touch /run/fickle; sleep infinity";
    project.only(&["h1"], &failing(second, "4s"));
    project.converges();
    assert_eq!(house.sh("h1", "wc -l </srv/note"), "2");
    clean(house, "h1");
    house.sh("h1", "rm -f /srv/word");
}
