//! Every kind of resource on a real host.

use crate::house::House;

const MADE: &str = r#"
summary: Every kind once.
resources:
  - package: { name: hello, version: "2.10*", hold: true }
  - group: { name: ships, gid: 4711 }
  - user: { name: odysseus, uid: 4711, group: ships, groups: [users], home: /home/odysseus, shell: /bin/bash, comment: Nobody }
  - directory: { path: /srv/ithaca, owner: odysseus, group: ships, mode: "0750" }
  - file: { path: /srv/ithaca/bow, content: "strung\n", owner: odysseus, group: ships, mode: "0640" }
  - template: { path: /srv/ithaca/suitors, src: suitors.j2 }
    notify: restart
  - link: { path: /srv/ithaca/home, target: /home/odysseus }
  - unit: { name: loom.service, src: loom.service.j2 }
    notify: restart
  - unit: { name: loom.service.d/night.conf, content: "[Service]\nEnvironment=UNDO=yes\n" }
    notify: restart
  - service: { name: loom, state: running, enabled: true }
  - command: { run: [touch, /srv/ithaca/landed], creates: /srv/ithaca/landed, user: odysseus }
  - command:
      name: string the bow once
      run: [sh, -c, "cat >>/srv/ithaca/arrows"]
      unless: [grep, -q, twelve, /srv/ithaca/arrows]
      stdin: "twelve\n"
      directory: /srv/ithaca
      environment: { AXES: "12" }
"#;

/// In reverse, as a person would take it apart.
const UNMADE: &str = r#"
summary: Every kind, gone.
resources:
  - service: { name: loom, state: stopped, enabled: false }
  - unit: { name: loom.service.d/night.conf, state: absent }
  - unit: { name: loom.service, state: absent }
  - command: { run: [rm, /srv/ithaca/landed, /srv/ithaca/arrows], unless: [test, "!", -e, /srv/ithaca/landed] }
  - link: { path: /srv/ithaca/home, state: absent }
  - template: { path: /srv/ithaca/suitors, state: absent }
  - file: { path: /srv/ithaca/bow, state: absent }
  - directory: { path: /srv/ithaca, state: absent }
  - user: { name: odysseus, state: absent }
  - group: { name: ships, state: absent }
  - package: { name: hello, state: absent, hold: false }
"#;

const LOOM: &str = "[Unit]\nDescription=Weaves on {{ host.name }}\n[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";

/// Made from nothing, found as made, unmade, and found as unmade.
pub(crate) fn made_and_unmade(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("kinds");
    project.only(&["h1"], MADE);
    project.file("roles/only/templates/suitors.j2", "{{ 2 * 54 }} on {{ host.name }}\n");
    project.file("roles/only/templates/loom.service.j2", LOOM);

    project.plan(&["--detailed-exitcode"]).ends(2).says("hello").says("loom");
    project.converges();
    let is = |script: &str, wanted: &str| assert_eq!(house.sh("h1", script), wanted, "{script}");
    is("hello -g well; apt-mark showhold", "well\nhello");
    is("getent passwd odysseus", "odysseus:x:4711:4711:Nobody:/home/odysseus:/bin/bash");
    is("id -Gn odysseus", "ships users");
    is("stat -c '%a %U:%G' /srv/ithaca /srv/ithaca/bow", "750 odysseus:ships\n640 odysseus:ships");
    is("cat /srv/ithaca/bow /srv/ithaca/suitors", "strung\n108 on h1");
    is("readlink /srv/ithaca/home", "/home/odysseus");
    is("systemctl is-active loom; systemctl is-enabled loom", "active\nenabled");
    is("systemctl show -P Description loom", "Weaves on h1");
    is("tr '\\0' '\\n' </proc/$(systemctl show -P MainPID loom)/environ | grep UNDO", "UNDO=yes");
    is("stat -c %U /srv/ithaca/landed; cat /srv/ithaca/arrows", "odysseus\ntwelve");

    // Once more, with everything there: the very same plan does nothing.
    let before = house.sh("h1", "systemctl show -P ExecMainStartTimestampMonotonic loom");
    project.apply(&["--detailed-exitcode"]).ends(0);
    is("systemctl show -P ExecMainStartTimestampMonotonic loom", &before);

    changed(house, &project);
    project.only(&["h1"], UNMADE);
    project.plan(&["--detailed-exitcode"]).ends(2);
    project.converges();
    is("find /etc/systemd/system -name 'loom*' ! -type d", "");
    is("test -e /srv/ithaca || echo gone", "gone");
    is("getent passwd odysseus; getent group ships; apt-mark showhold; ls /usr/bin/hello 2>/dev/null; true", "");
    is("systemctl show -P LoadState loom; ls -d /home/odysseus", "not-found\n/home/odysseus");
}

/// Everything that can be different is made different: all but the number of a group, which files would keep.
fn changed(house: &House, project: &crate::project::Project<'_>) {
    let is = |script: &str, wanted: &str| assert_eq!(house.sh("h1", script), wanted, "{script}");
    let changes = [
        ("hold: true", "hold: false"),
        ("shell: /bin/bash, comment: Nobody", "shell: /bin/sh, comment: Somebody"),
        ("groups: [users]", "groups: [games]"),
        ("mode: \"0750\"", "mode: \"0700\""),
        ("strung", "unstrung"),
        ("target: /home/odysseus", "target: /srv"),
        ("UNDO=yes", "UNDO=no"),
        ("enabled: true", "enabled: false"),
    ];
    let role = changes.iter().fold(MADE.to_owned(), |role, (from, to)| {
        assert!(role.contains(from), "{from}");
        role.replace(from, to)
    });
    project.only(&["h1"], &role);
    project.file("roles/only/templates/suitors.j2", "{{ 2 * 55 }} on {{ host.name }}\n");
    project.file("roles/only/templates/loom.service.j2", LOOM.replace("Weaves", "Unweaves"));
    project.plan(&["--detailed-exitcode"]).ends(2);
    project.converges();
    is("apt-mark showhold; getent passwd odysseus", "odysseus:x:4711:4711:Somebody:/home/odysseus:/bin/sh");
    is("id -Gn odysseus", "ships games");
    is("stat -c %a /srv/ithaca; cat /srv/ithaca/bow /srv/ithaca/suitors", "700\nunstrung\n110 on h1");
    is("readlink /srv/ithaca/home; systemctl show -P Description loom", "/srv\nUnweaves on h1");
    is("systemctl is-active loom; systemctl is-enabled loom || true", "active\ndisabled");
    is("tr '\\0' '\\n' </proc/$(systemctl show -P MainPID loom)/environ | grep UNDO", "UNDO=no");
}

/// A service that only has a script: systemd calls it `generated`, and its links say whether it is enabled.
pub(crate) fn script_of_system_v(house: &House) {
    const SCRIPT: &str = "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: galley\n# Required-Start:\n# Required-Stop:\n# Default-Start: 2 3 4 5\n# Default-Stop: 0 1 6\n### END INIT INFO\nexit 0\n";
    house.fresh(&["h1"]);
    let project = house.project("system-v");
    house.sh(
        "h1",
        &format!(
            "printf '{}' >/etc/init.d/galley; chmod 755 /etc/init.d/galley; systemctl daemon-reload",
            SCRIPT.replace('\n', "\\n")
        ),
    );
    project.only(&["h1"], "summary: x\nresources:\n  - service: { name: galley, state: running, enabled: true }\n");
    project.plan(&[]).ends(0).says("enabled false -> true");
    project.converges();
    assert_eq!(
        house.sh("h1", "systemctl is-enabled galley 2>/dev/null; ls /etc/rc3.d | grep galley"),
        "enabled\nS01galley"
    );
    house.sh("h1", "update-rc.d galley disable");
    project
        .plan(&["--detailed-exitcode"])
        .ends(2)
        .says("enabled false -> true")
        .says("drift: changed on the host since");
    project.converges();
}
