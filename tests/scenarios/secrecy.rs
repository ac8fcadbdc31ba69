//! A secret goes to one place.

use crate::house::House;
use crate::watch::Watch;

const OLD: &str = "canary-old-5b1f77";
const NEW: &str = "canary-new-e09c42";

/// A file for one user and the input of a program; nothing armilla says, and no process shows it.
pub(crate) fn nowhere_else(house: &House) {
    house.up(&["h1"]);
    house.sh(
        "h1",
        &format!("rm -rf /srv/s; mkdir -p /srv/s/bin; printf 'token={OLD}\\n' >/srv/s/token; chmod 644 /srv/s/token"),
    );
    let project = house.project("secret");
    let role = r#"
summary: Keeps a secret.
inputs:
  token: { type: secret }
resources:
  - file: { path: /srv/s/token, content: "token={{ token }}\n", mode: "0600" }
  - template: { path: /srv/s/rendered, src: rendered.j2, owner: root, group: users, mode: "0640" }
  - command:
      run: [sh, -c, "cat >/srv/s/told; sleep 1; echo I was told"]
      unless: [test, -s, /srv/s/told]
      stdin: "{{ token }}"
  - command: { run: [sh, -c, "cat >&2; exit 7"], stdin: "{{ token }}\n" }
"#;
    project.only(&["h1"], role).file("roles/only/templates/rendered.j2", "user = me\npassword = {{ token }}\n");
    project.file("inventories/lab/group_vars/all_hosts.yml", format!("token: {NEW}\n"));

    let watch = Watch::begin(&[NEW, OLD]);
    let mut runs = vec![
        project.run(&["validate", "lab"]).ends(0),
        project.plan(&["-D", "-vv"]).ends(0).says("/srv/s/token"),
        project.plan(&["-D", "-vv", "--json"]).ends(0),
        // The last command fails, and complains with the secret itself.
        project.apply(&["-D", "-vv"]).ends(3).says("exit code 7"),
        project.apply(&["-D", "-vv", "--json"]).ends(3),
    ];
    watch.saw_nothing();
    project.only(&["h1"], &role[..role.find("  - command: {").expect("the failing one")]);
    runs.push(project.plan(&["-D", "-vv", "--detailed-exitcode"]).ends(0));
    for run in &runs {
        for secret in [NEW, OLD] {
            assert!(!run.said().contains(secret), "the secret is shown\n{run}");
        }
    }
    let files = house.sh("h1", "cd /srv/s; cat token rendered told; stat -c ' %a %U:%G' token rendered");
    assert_eq!(files, format!("token={NEW}\nuser = me\npassword = {NEW}\n{NEW} 600 root:root\n 640 root:users"));
    let found = house.sh("h1", &format!("grep -rlsa {NEW} /tmp /var /etc /root /run /srv /home | sort"));
    assert_eq!(found, "/srv/s/rendered\n/srv/s/token\n/srv/s/told", "nothing else on the host holds it");

    // Readable by everyone is refused before any host is asked.
    project
        .only(&["h1"], &role.replace("\"0600\"", "\"0644\""))
        .plan(&[])
        .ends(1)
        .says("lets everyone read it")
        .keeps(NEW);
}
