//! What hosts remember of armilla's work: what left the roles goes, what is not ours stays, and nothing is forgotten.

use std::path::Path;

use crate::house::{House, until};
use crate::project::{Project, Run};
use crate::zookeeper;

/// All that lasts on a host, but for caches and logs, and for what the account tools of the system keep as the state before
/// their last change (`/etc/passwd-`), and for the host program.
const LASTS: &str = "export LC_ALL=C
dpkg -l | sed 's/  */ /g'
dpkg --get-selections; apt-mark showauto; apt-mark showhold
find /etc /usr /var /opt /srv /root /home -xdev \\( -path /var/cache -o -path /var/log -o -path /var/lib/apt \
 -o -path '/var/lib/ucf/hashfile.*' -o -path /var/lib/systemd -o -path /var/lib/dpkg -o -path /etc/ld.so.cache -o -path /var/tmp \
 -o -path /var/lib/private -o -path /var/lib/armilla/program \\) -prune -o -path /var/lib/armilla -o -printf '%y %m %u:%g %p %l\\n' | sort
find /etc /srv /root /home -xdev -type f ! -path /etc/ld.so.cache ! -path /etc/passwd- ! -path /etc/shadow- ! -path /etc/group- ! -path /etc/gshadow- -exec sha256sum {} + | sort -k 2
getent passwd; getent group
systemctl list-unit-files --no-legend --no-pager";

/// Everything, with the times at which it was written; but what the system itself writes all the time, and the host program.
// Twice: the first walk of a merged directory of an overlay marks it, which counts as a change of it.
const EVERYTHING: &str = "walk() { find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /var/log \
 -o -path /var/lib/systemd -o -path /tmp -o -path /var/tmp -o -path /var/lib/armilla/program \\) -prune -o -path /var/lib/armilla \
 -o -printf '%p %y %m %u %g %s %T@ %C@\\n'; }; walk >/dev/null; walk | sort";

const UNIT: &str = "[Unit]\\nDescription=Sails\\n[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n";

fn role(resources: &str) -> String {
    format!("summary: It.\nresources:\n{}", resources.replace("$UNIT", UNIT))
}

fn nothing(project: &Project<'_>) {
    project.file("site.yml", "services: {}\n");
}

fn destroy(project: &Project<'_>, more: &[&str]) -> Run {
    project.run(&[&["destroy", "lab", "--lab"], more].concat())
}

fn drift(project: &Project<'_>) -> Run {
    project.run(&["drift", "lab", "--lab", "--detailed-exitcode"])
}

#[track_caller]
fn same(before: &str, after: &str, when: &str) {
    let lacks = |list: &str, line: &str| !list.lines().any(|other| other == line);
    let gone = before.lines().filter(|line| lacks(after, line)).map(|line| format!("-{line}"));
    let new = after.lines().filter(|line| lacks(before, line)).map(|line| format!("+{line}"));
    let different: Vec<String> = gone.chain(new).collect();
    assert!(different.is_empty(), "{when}:\n{}", different.join("\n"));
}

/// The places of words in a text, which must come in this order.
#[track_caller]
fn in_order(text: &str, words: &[&str]) {
    let mut from = 0;
    for word in words {
        let at = text[from..].find(word).unwrap_or_else(|| panic!("no `{word}` after {from} in\n{text}"));
        from += at + word.len();
    }
}

const SHIP: &str = r#"
  - package: hello
  - group: { name: crew }
  - user: { name: sailor, group: crew }
  - directory: { path: /srv/hold }
  - file: { path: /srv/hold/log, content: "one\n" }
  - directory: { path: /srv/ship }
  - file: { path: /srv/ship/chart, content: "sea\n" }
  - file: { path: /srv/ship/anchor, content: "iron\n" }
    protect: true
  - file: { path: /srv/before, content: "ours\n" }
  - unit: { name: sail.service, content: "$UNIT" }
    notify: restart
  - service: { name: sail, state: running, enabled: true }
"#;

/// Without its role, what was made is taken away: in reverse, not too much, not what is protected, changed, or older.
pub(crate) fn removed_with_its_role(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("ledger-removal");
    let sh = |script: &str| house.sh("h1", script);
    sh("echo theirs >/srv/before");
    project.only(&["h1"], &role(SHIP));
    project.converges();
    sh("echo land >>/srv/ship/chart");
    nothing(&project);

    let plan = project.plan(&["--detailed-exitcode"]).ends(2).says("no longer in any role");
    let plan = plan.says("it was changed on the host").says("it is protected").says("it existed before armilla");
    plan.says("is in it and stays").says("5 to remove 1 stop 1 may change").says("4 kept");
    let json = project.plan(&["--json"]).ends(0).out;
    let target = |target: &str| format!("\"target\":\"{target}\"");
    let order = ["sail", "sail.service", "/srv/hold/log", "/srv/hold", "sailor", "crew", "hello"].map(target);
    in_order(&json, &order.each_ref().map(String::as_str));

    let capped = project.apply(&["--max-removals", "6"]).ends(1).says("and 6 are allowed");
    let capped = capped.says("to allow it: armilla apply lab --lab -y --max-removals 7");
    assert!(house.holds("h1", "systemctl is-active -q sail && test -e /srv/hold/log"), "nothing was changed");
    project.suggested(&capped, "to allow it:").ends(0);
    assert_eq!(
        sh("ls -d /srv/* /srv/*/*; cat /srv/before /srv/ship/chart"),
        "/srv/before\n/srv/ship\n/srv/ship/anchor\n/srv/ship/chart\nours\nsea\nland"
    );
    assert!(!house.holds("h1", "id sailor || getent group crew || dpkg -s hello"), "something is left");
    assert!(!house.holds("h1", "systemctl cat sail"), "its unit is left");
    let copy =
        "cd /var/lib/armilla/host/lab*/backup/1 && find . -type f && cat srv/hold/log && stat -c %a .. srv/hold/log";
    assert_eq!(sh(copy), "./etc/systemd/system/sail.service\n./srv/hold/log\none\n700\n644");
    // What stays is said again, and is nothing to do.
    project.plan(&["--detailed-exitcode"]).ends(0).says("it is protected");
    sh("printf 'sea\\n' >/srv/ship/chart");
    project.plan(&["--detailed-exitcode"]).ends(2).says("1 to remove");
    project.apply(&[]).ends(0);
    assert_eq!(sh("ls /srv/ship"), "anchor");
}

/// A host that leaves a group loses what its role made; a role with another name loses nothing.
pub(crate) fn left_its_group(house: &House) {
    let hosts = ["h1", "h2"];
    house.up(&hosts);
    for host in hosts {
        house.sh(host, "rm -rf /srv/* /var/lib/armilla");
    }
    let project = house.project("ledger-group");
    let resources = role("  - directory: { path: /srv/it }\n  - file: { path: /srv/it/file, content: x }\n");
    project.only(&hosts, &resources);
    project.converges();
    project.file("inventories/lab/hosts.yml", "groups:\n  all_hosts: { hosts: [h1] }\n  others: { hosts: [h2] }\n");
    let plan = project.plan(&["--detailed-exitcode"]).ends(2).says("1 to remove 1 may change");
    plan.says("h2").keeps("h1  -");
    project.converges();
    assert!(house.holds("h1", "test -e /srv/it/file") && !house.holds("h2", "test -e /srv/it"));

    let inode = house.sh("h1", "stat -c '%i %Z' /srv/it/file");
    let site = "services:\n  other: { hosts: all_hosts }\nmoved:\n  - { from: role only, to: role other }\n";
    project.file("roles/other/role.yml", &resources).file("site.yml", site);
    project.plan(&["--detailed-exitcode"]).ends(0);
    project.converges();
    assert_eq!(house.sh("h1", "stat -c '%i %Z' /srv/it/file"), inode, "it was not touched");
    project.file("site.yml", "services: {}\n");
    project.plan(&["--detailed-exitcode"]).ends(2).says("1 to remove 1 may change");
    project.converges();
    assert_eq!(house.sh("h1", "ls /srv; ls /var/lib/armilla/host/lab*"), "backup");
}

/// After `destroy`, hosts are as they were before `apply`, whatever became of the roles.
pub(crate) fn destroyed(house: &House) {
    let members = ["zk1", "zk2", "zk3"];
    house.fresh(&members);
    let project = zookeeper::example(house, "quickstart");
    let before = members.map(|host| house.sh(host, LASTS));
    project.apply(&[]).ends(0).says("Converged");
    assert!(house.holds("zk1", "test -s /var/lib/armilla/host/lab*/ledger"));
    let status = project.run(&["inventory", "lab", "--lab", "--status"]).ends(0);
    let line = status.out.lines().find(|line| line.starts_with("zk2")).map(str::to_owned);
    assert!(line.is_some_and(|line| line.contains(" UTC ") && line.contains('@') && line.ends_with(" 0")), "{status}");

    project.file("roles/broken/role.yml", "summary: [\n").file("site.yml", "services: [nonsense\n");
    destroy(&project, &[]).ends(1).says("destroy lab").says("3 hosts").says("--confirm lab").keeps("0 services");
    destroy(&project, &["-y"]).ends(1).says("--confirm lab");
    destroy(&project, &["--confirm", "other"]).ends(1).says("another environment");
    destroy(&project, &["--confirm", "lab", "--with-data"]).ends(0);
    for (host, before) in members.iter().zip(&before) {
        assert!(!house.holds(host, "test -e /var/lib/armilla/host"), "{host} remembers");
        same(before, &house.sh(host, LASTS), host);
    }
    destroy(&project, &["--confirm", "lab"]).ends(0);
    project.run(&["inventory", "lab", "--lab", "--status"]).ends(0).says("zk1 never");
}

/// A service that never becomes healthy: its run can be killed in the gate.
const SICK: &str = r#"
summary: It.
resources:
  - group: { name: crew }
  - user: { name: sailor, group: crew, system: true }
  - directory: { path: /srv/hold, owner: sailor }
  - file: { path: /srv/hold/log, content: "one\n", owner: sailor }
  - unit: { name: sail.service, content: "$UNIT" }
  - service: { name: sail, enabled: true }
health:
  - tcp: { port: 65001, within: 300s }
"#;

/// Of a first run that was killed in its gate nothing stays, whether all is destroyed or the role left; and a service is ours
/// also where an earlier run made its unit.
pub(crate) fn interrupted_and_gone(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("ledger-interrupted");
    // Of files that left the roles, armilla keeps copies; sessions come and go.
    let lasts = || house.sh("h1", &format!("{{ {LASTS}; }} | grep -v -e ' /var/lib/armilla' -e '[.]scope '"));
    let before = lasts();
    let gone = |when: &str| {
        same(&before, &lasts(), when);
        assert!(!house.holds("h1", "pgrep -u sailor . || pgrep -x sleep -a | grep infinity"), "{when}: it runs on");
    };
    let killed = || {
        project.only(&["h1"], &SICK.replace("$UNIT", UNIT));
        let mut run = project.start(&["apply", "lab", "--lab", "-y"]);
        until("it is asked for its health", || house.holds("h1", "systemctl is-active -q sail"));
        run.child.kill().expect("it is killed");
        drop(run);
        project.run(&["runs", "show"]).ends(0).keeps("  h1  only  not started");
    };
    killed();
    let destroyed = destroy(&project, &["--confirm", "lab", "--lock-timeout", "60s"]).ends(0);
    destroyed.keeps("without resources of armilla");
    gone("destroyed");
    killed();
    nothing(&project);
    project.apply(&["--lock-timeout", "60s"]).ends(0);
    gone("left the roles");

    let unit = "  - unit: { name: sail.service, content: \"$UNIT\" }\n";
    project.only(&["h1"], &role(unit));
    project.converges();
    project.only(&["h1"], &role(&format!("{unit}  - service: {{ name: sail, enabled: true }}\n")));
    project.converges();
    destroy(&project, &["--confirm", "lab"]).ends(0);
    gone("its unit came first");
}

/// What was changed after the plan is refused on its host, with its path; the others are done.
pub(crate) fn moved_since_the_plan(house: &House) {
    let hosts = ["h1", "h2"];
    house.up(&hosts);
    for host in hosts {
        house.sh(host, "rm -rf /srv/* /var/lib/armilla");
    }
    let project = house.project("ledger-saved");
    let one = |content: &str| role(&format!("  - file: {{ path: /srv/one, content: {content} }}\n"));
    project.only(&hosts, &one("a"));
    project.converges();
    project.only(&hosts, &one("b"));
    let file = project.path("saved.plan");
    let file = file.to_str().expect("a path");
    project.plan(&["-o", file]).ends(0);
    house.sh("h1", "printf mine >/srv/one");
    project.run(&["apply", file, "-y"]).ends(3).says("h1").says("/srv/one");
    assert_eq!(house.sh("h1", "cat /srv/one") + &house.sh("h2", "cat /srv/one"), "mineb");
    // It was used on h2.
    project.run(&["apply", file, "-y"]).ends(1).says("nothing was changed");
    assert_eq!(house.sh("h1", "cat /srv/one"), "mine");
    project.run(&["show", file]).ends(0);
    project.run(&["show", "no-such-thing"]).ends(1).says("neither a plan file nor a run");
}

/// What a person changed is told from what the project changed, may be ignored for a time, and looking writes nothing.
pub(crate) fn drifted(house: &House) {
    house.up(&["h1"]);
    house.sh("h1", "rm -rf /srv/* /var/lib/armilla");
    let project = house.project("ledger-drift");
    let resources = |b: &str| {
        role(&format!(
            "  - file: {{ path: /srv/a, content: a }}\n    notify: restart\n  - file: {{ path: /srv/b, content: {b} }}\n  - unit: {{ name: sail.service, content: \"$UNIT\" }}\n  - service: sail\n"
        ))
    };
    project.only(&["h1"], &resources("one"));
    project.converges();
    drift(&project).ends(0).says("no drift");
    house.sh("h1", "sleep 1.1; printf mine >/srv/a");
    project.only(&["h1"], &resources("two"));
    let before = house.sh("h1", EVERYTHING);
    let told = drift(&project).ends(2).says("1 resource drifted").says("/srv/a");
    told.says("1 differ for other reasons").keeps("/srv/b");
    project.plan(&["--detailed-exitcode"]).ends(2).says("/srv/b");
    project.run(&["inventory", "lab", "--lab", "--status"]).ends(0);
    same(&before, &house.sh("h1", EVERYTHING), "a look wrote something");

    let ignore = |until: &str| {
        let entry =
            format!("ignore_drift:\n  - {{ what: h1 file /srv/a, until: {until}, because: the harbour says so }}\n");
        project.file("inventories/lab/environment.yml", entry);
    };
    ignore("2999-01-31");
    drift(&project).ends(0).says("no drift").says("1 ignored");
    ignore("2020-01-31");
    drift(&project).ends(2).says("1 resource drifted").says("its entry expired on 2020-01-31");
    project.converges();
    drift(&project).ends(0);
    house.sh("h1", "systemctl disable -q --now sail; rm -f /etc/systemd/system/sail.service; systemctl daemon-reload");
}

/// What is there and as it is wanted becomes armilla's, and nothing else is changed.
pub(crate) fn imported(house: &House) {
    house.up(&["h1"]);
    house.sh(
        "h1",
        "rm -rf /srv/* /var/lib/armilla; printf ours >/srv/same; printf theirs >/srv/other; chmod 0644 /srv/*",
    );
    let project = house.project("ledger-import");
    let file = |name: &str| format!("  - file: {{ path: /srv/{name}, content: ours }}\n");
    project.only(&["h1"], &role(&(file("same") + &file("other"))));
    let import = |more: &[&str]| project.run(&[&["import", "lab", "--lab"], more].concat());
    // The lease was there while it lasted.
    let everything = || house.sh("h1", &format!("{EVERYTHING} | grep -v '^/var/lib d '"));
    let before = everything();
    import(&[]).ends(1).says("--target");
    import(&["--target", "h1 file /srv/sane"]).ends(1).says("did you mean").says("/srv/same");
    import(&["--target", "file /srv/other", "-y"]).ends(1).says("it differs").says("nothing to import");
    import(&["--target", "file"]).ends(1).says("file /srv/same").says("no terminal");
    same(&before, &everything(), "what was refused wrote something");
    import(&["--target", "file", "-y"]).ends(0).says("1 resource on 1 host").says("it differs");
    assert_eq!(house.sh("h1", "cat /srv/same /srv/other"), "ourstheirs");
    import(&["--target", "file /srv/same", "-y"]).ends(1).says("armilla already owns it");
    project.run(&["drift", "lab", "--lab"]).ends(0).says("no drift");
    project.converges();
    nothing(&project);
    project.plan(&[]).ends(0).says("1 to remove").says("it existed before armilla");
    project.apply(&[]).ends(0);
    assert_eq!(house.sh("h1", "ls /srv"), "other");
}

#[expect(clippy::disallowed_methods, reason = "git makes commits best")]
fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut git = std::process::Command::new("git");
    git.arg("-C").arg(folder).args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]).args(arguments);
    let output = git.output().expect("git starts");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// An older commit does not come over a newer one by accident, and what was not committed is shown.
pub(crate) fn revisions(house: &House) {
    house.up(&["h1"]);
    house.sh("h1", "rm -rf /srv/* /var/lib/armilla");
    let project = house.project("ledger-revisions");
    let folder = project.path("");
    let one = |content: &str| role(&format!("  - file: {{ path: /srv/one, content: {content} }}\n"));
    let commit = |content: &str| {
        project.only(&["h1"], &one(content));
        git(&folder, &["add", "-A"]);
        git(&folder, &["commit", "-q", "-m", content]);
        git(&folder, &["rev-parse", "--short=7", "HEAD"])
    };
    project.file(".gitignore", "runs\nstate\n");
    git(&folder, &["init", "-q", "-b", "main"]);
    let old = commit("old");
    let new = commit("new");
    project.plan(&[]).ends(0).says(&format!("{new} (clean)"));
    project.converges();
    project.run(&["inventory", "lab", "--lab", "--status"]).ends(0).says(&new);

    git(&folder, &["checkout", "-q", &old]);
    let refused = project.apply(&[]).ends(1).says("which came after it");
    refused.says(&old).says(&new).says("--allow-older");
    assert_eq!(house.sh("h1", "cat /srv/one"), "new");
    project.apply(&["--allow-older"]).ends(0);
    assert_eq!(house.sh("h1", "cat /srv/one"), "old");

    git(&folder, &["checkout", "-q", "main"]);
    project.only(&["h1"], &one("dirty"));
    project.plan(&[]).ends(0).says("with uncommitted changes");
    project.converges();
    project.run(&["runs", "show"]).ends(0).says("with changes that were not committed");
    project.run(&["inventory", "lab", "--lab", "--status"]).ends(0).says(&format!("{new}+"));
    let ledger = house.sh("h1", "cat /var/lib/armilla/host/lab*/ledger");
    assert!(ledger.contains("\"dirty\":true"), "{ledger}");
}

/// Two services that hear of changes; the first does not stop and does not reload while there is a gate.
const GATED: &str = r"
  - unit:
      name: slow.service
      content: |
        [Service]
        ExecStart=/bin/sleep infinity
        ExecReload=/bin/sh -c 'touch /run/waits; while test -e /run/gate; do sleep 0.1; done'
        ExecStop=/bin/sh -c 'touch /run/waits; while test -e /run/gate; do sleep 0.1; done'
  - unit:
      name: sail.service
      content: |
        [Service]
        ExecStartPre=/bin/sh -c 'echo start >>/run/sail'
        ExecStart=/bin/sleep infinity
        ExecReload=/bin/sh -c 'echo reload >>/run/sail'
  - service: { name: slow }
  - service: { name: sail }
";

/// A service that did not hear of a change, because the controller was killed, hears of it from the next run, once.
pub(crate) fn pending_restarts(house: &House) {
    house.up(&["h1"]);
    house.sh("h1", "rm -rf /srv/* /var/lib/armilla /run/sail /run/gate");
    let project = house.project("ledger-pending");
    let with = |content: &str, verb: &str| {
        let file = |name: &str, content: &str, verb: &str| {
            format!("  - file: {{ path: /srv/{name}, content: {content} }}\n    notify: {verb}\n")
        };
        role(&(file("one", content, verb) + &file("two", "x", "restart") + GATED))
    };
    let without = |content: &str| {
        role(&(format!("  - file: {{ path: /srv/one, content: {content} }}\n    notify: reload\n") + GATED))
    };
    project.only(&["h1"], &with("a", "restart"));
    project.converges();
    let heard = || house.sh("h1", "cat /run/sail; : >/run/sail");
    assert_eq!(heard(), "start");

    let rounds = [
        ("a file", with("b", "restart"), "start", "restart"),
        ("a file with a reload", with("c", "reload"), "reload", "reload"),
        ("a file that left", without("c"), "start", "restart"),
    ];
    for (what, role, wanted, verb) in rounds {
        // What was written in the second in which a service started is taken for read.
        house.sh("h1", "sleep 1.1; rm -f /run/waits; touch /run/gate");
        project.only(&["h1"], &role);
        let mut run = project.start(&["apply", "lab", "--lab", "-y"]);
        until("the first service is told", || house.holds("h1", "test -e /run/waits"));
        run.child.kill().expect("it is killed");
        drop(run);
        house.sh("h1", "rm /run/gate; sleep 1");
        assert_eq!(heard(), "", "{what}: it has not heard yet");
        project.run(&["inventory", "lab", "--lab", "--status"]).ends(0).says(&format!("sail has a pending {verb}"));
        project.plan(&["--detailed-exitcode"]).ends(2).says("was interrupted");
        project.apply(&["--lock-timeout", "60s"]).ends(0);
        assert_eq!(heard(), wanted, "{what}: it hears once");
        project.is_empty();
        project.apply(&[]).ends(0);
        assert_eq!(heard(), "", "{what}: and not again");
    }
    destroy(&project, &["--confirm", "lab"]).ends(0);
}
