//! Parts of files on a real host, seen by the programs that read those files.

#![expect(clippy::disallowed_methods, reason = "stories run ssh-keygen as a user does")]

use std::process::Command;

use crate::house::{House, until};
use crate::project::Project;

/// A new key below the project; gives its private file and its public line.
fn key(project: &Project<'_>, name: &str) -> (String, String) {
    let file = project.path(name).display().to_string();
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", &file]).status();
    assert!(made.expect("ssh-keygen runs").success());
    let line = std::fs::read_to_string(format!("{file}.pub")).expect("a public key");
    (file, line.trim().to_owned())
}

/// Whether one can log in with a key.
fn enters(house: &House, user: &str, file: &str) -> bool {
    let address = house.address("h1");
    let options = ["BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"];
    let mut command = Command::new("ssh");
    for option in options {
        command.args(["-o", option]);
    }
    let status = command.args(["-F", "none", "-i", file, &format!("{user}@{address}"), "true"]).status();
    status.expect("ssh runs").success()
}

fn made(ada: &str, root: &str, limit: u32, level: &str) -> String {
    format!(
        r#"
summary: A part of every sort of file.
resources:
  - user: {{ name: ada, home: /home/ada, shell: /bin/sh }}
  - authorized_key: {{ user: ada, key: "{ada}" }}
  - authorized_key: {{ user: root, key: "{root}", options: 'restrict,command="echo I may only say this"' }}
  - known_host: {{ name: "[db.example.org]:2222", key: "{ada}" }}
  - hosts_entry: {{ address: 192.0.2.7, names: [db1.example.org, db1] }}
  - limits: {{ domain: ada, type: "-", item: nofile, value: {limit} }}
  - line: {{ path: /srv/e/windows.txt, line: "level={level}", match: "^level=" }}
  - line: {{ path: /srv/e/windows.txt, line: first, before: BOF }}
  - line: {{ path: /srv/e/windows.txt, match: "^gone", state: absent }}
  - block: {{ path: /srv/e/script.sh, content: "echo {level}\n", after: "^#!" }}
  - ini: {{ path: /etc/systemd/journald.conf, section: Journal, key: RuntimeMaxUse, value: {limit}M }}
    notify: restart
  - service: {{ name: systemd-journald }}
  - json: {{ path: /srv/e/a.json, key: "log.levels[1]", value: {level} }}
  - yaml: {{ path: /srv/e/a.yml, key: server.log, value: {level} }}
  - cron: {{ name: armilla-test, schedule: "* * * * *", command: "echo {level} $WHO $(date +%Y) >>/srv/e/ticks", environment: {{ WHO: "me too" }} }}
"#
    )
}

const UNMADE: &str = r#"
summary: All of it gone.
resources:
  - cron: { name: armilla-test, state: absent }
  - yaml: { path: /srv/e/a.yml, key: server.log, state: absent }
  - json: { path: /srv/e/a.json, key: log, state: absent }
  - ini: { path: /etc/systemd/journald.conf, section: Journal, key: RuntimeMaxUse, state: absent }
  - block: { path: /srv/e/script.sh, state: absent }
  - line: { path: /srv/e/windows.txt, match: "^level=", state: absent }
  - line: { path: /srv/e/windows.txt, line: first, state: absent }
  - limits: { domain: ada, type: "-", item: nofile, state: absent }
  - hosts_entry: { address: 192.0.2.7, state: absent }
  - known_host: { name: "[db.example.org]:2222", state: absent }
"#;

/// What the host had before.
const BEFORE: &str = r#"
set -e
rm -rf /srv/e; mkdir -p /srv/e; cp /etc/systemd/journald.conf /srv/journald.conf; cp /etc/hosts /srv/hosts
printf 'gone\r\nlevel=low\r\nlast' >/srv/e/windows.txt
printf '#!/bin/sh\necho end\n' >/srv/e/script.sh; chmod 750 /srv/e/script.sh; chown games:adm /srv/e/script.sh
printf '{\n\t"b": 1.0,\n\t"a": [ ]\n}\n' >/srv/e/a.json
printf '# ours\nserver:\n  port: 80 # http\n  # end\n' >/srv/e/a.yml
"#;

/// Parts of files are made, found as made, changed, and unmade; sshd, the resolver, PAM, cron and journald go by them.
pub(crate) fn made_and_unmade(house: &House) {
    house.fresh(&["h1"]);
    house.sh("h1", BEFORE);
    let project = house.project("edit");
    let (file, ada) = key(&project, "ada");
    let (restricted, root) = key(&project, "root");
    let is = |script: &str, wanted: &str| assert_eq!(house.sh("h1", script), wanted, "{script}");

    project.only(&["h1"], &made(&ada, &root, 2048, "high"));
    // A list cannot begin with its second item: it is said before anything is done.
    project.plan(&[]).ends(1).says("item 1 does not exist: the list is empty");
    house.sh("h1", r#"printf '{\n\t"b": 1.0,\n\t"log": { "levels": ["all"] }\n}\n' >/srv/e/a.json"#);
    project.plan(&["--detailed-exitcode", "-D"]).ends(2).says("level=high").keeps("port: 80");
    project.converges();

    assert!(enters(house, "ada", &file), "ada can log in with her key");
    assert!(!enters(house, "ada", &restricted), "ada cannot log in with another key");
    assert!(enters(house, "root", &restricted), "root can do what the key allows");
    is("stat -c '%a %U:%G' /home/ada/.ssh /home/ada/.ssh/authorized_keys", "700 ada:ada\n600 ada:ada");
    is("ssh-keygen -F '[db.example.org]:2222' -f /etc/ssh/ssh_known_hosts | grep -c ssh-ed25519", "1");
    is("getent hosts db1", "192.0.2.7       db1.example.org db1");
    is("su - ada -c 'ulimit -Sn; ulimit -Hn'", "2048\n2048");
    is("od -An -c /srv/e/windows.txt | tr -d ' \\n'", r"first\r\nlevel=high\r\nlast");
    is("stat -c '%a %U:%G' /srv/e/script.sh; /srv/e/script.sh", "750 games:adm\nhigh\nend");
    is("systemd-analyze cat-config systemd/journald.conf | grep ^RuntimeMaxUse", "RuntimeMaxUse=2048M");
    is("cat /srv/e/a.json", "{\n\t\"b\": 1.0,\n\t\"log\": { \"levels\": [\"all\", \"high\"] }\n}");
    is("cat /srv/e/a.yml", "# ours\nserver:\n  port: 80 # http\n  log: high\n  # end");

    // What somebody writes between the plan and its end stays.
    project.only(&["h1"], &made(&ada, &root, 4096, "low"));
    house.sh("h1", "printf '#by hand\\n' >>/etc/hosts");
    project.converges();
    is("su - ada -c 'ulimit -n'", "4096");
    is("/srv/e/script.sh", "low\nend");
    is("grep -c 'by hand' /etc/hosts", "1");
    until("cron runs the job", || house.holds("h1", "grep -q \"^low me too $(date +%Y)$\" /srv/e/ticks"));

    project.only(&["h1"], UNMADE);
    project.converges();
    is("od -An -c /srv/e/windows.txt | tr -d ' \\n'", "last");
    is("cat /srv/e/script.sh", "#!/bin/sh\necho end");
    is("cat /srv/e/a.yml", "# ours\nserver:\n  port: 80 # http\n  # end");
    is("diff /etc/systemd/journald.conf /srv/journald.conf; getent hosts db1; true", "");
    is("grep -v 'by hand' /etc/hosts | diff - /srv/hosts; true", "");
    is("su - ada -c 'ulimit -n' | grep -c 4096; ls /etc/cron.d | grep -c armilla; true", "0\n0");
}

/// A package brings a file of which the same plan changes a part; and what changed since a plan is not written over.
pub(crate) fn first_install(house: &House) {
    house.up(&["h1"]);
    house.sh("h1", "apt-get purge -y -qq nginx nginx-common >/dev/null 2>&1; rm -rf /etc/nginx; true");
    let project = house.project("edit-first");
    project.only(
        &["h1"],
        r#"
summary: A part of what a package brings.
resources:
  - package: nginx
  - line: { path: /etc/nginx/nginx.conf, match: "^worker_processes ", line: "worker_processes 3;" }
    notify: restart
  - block: { path: /etc/nginx/nginx.conf, content: "worker_rlimit_nofile 4096;\n", after: "^worker_processes" }
    notify: restart
  - service: nginx
"#,
    );
    project.plan(&["--detailed-exitcode"]).ends(2).says("planned before it, may create it");
    project.converges();
    assert_eq!(
        house.sh("h1", "nginx -T 2>/dev/null | grep -A2 '^worker_processes' | tr -d '\\n'"),
        "worker_processes 3;# BEGIN armilla managed blockworker_rlimit_nofile 4096;"
    );
    assert_eq!(house.sh("h1", "ps -C nginx -o args= | grep -c worker"), "3");
}
