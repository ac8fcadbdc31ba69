//! Wires and keys.

use crate::house::House;
use crate::project::Project;

/// One of three hosts is cut off: the plan says so and shows the rest; apply does the rest.
pub(crate) fn f11_unreachable(house: &House) {
    let hosts = ["h1", "h2", "h3"];
    house.up(&hosts);
    for host in hosts {
        house.sh(host, "rm -f /srv/wire");
    }
    let project = house.project("unreachable");
    project.only(&hosts, "summary: x\nresources:\n  - file: { path: /srv/wire, content: x }\n");
    house.lab().cut("h2").expect("h2 is cut off");
    let quick = ["--connect-timeout", "2"];
    let run = project.plan(&quick).ends(4).says("h2 unreachable").says("1 host unreachable");
    run.says("h1 h3 + file /srv/wire").says("2 to add");
    project.plan(&[&quick[..], &["--detailed-exitcode"]].concat()).ends(4);
    project.apply(&quick).ends(4).says("unreachable when planned: h2");
    assert!(house.holds("h1", "test -e /srv/wire") && house.holds("h3", "test -e /srv/wire"));
    // The rest has nothing left to do, and still this is not "no changes".
    project.plan(&[&quick[..], &["--detailed-exitcode"]].concat()).ends(4);
    project.apply(&[&quick[..], &["-l", "all:!h2"]].concat()).ends(0);

    house.lab().heal("h2").expect("h2 is back");
    house.lab().wait(&["h2"]).expect("h2 answers");
    project.converges();
    assert!(house.holds("h2", "test -e /srv/wire"));
}

/// ssh by files of the story's own: a key that changed and a key that is not known are refused with fingerprints.
pub(crate) fn f12_host_keys(house: &House) {
    house.fresh(&["h4"]);
    house.up(&["h1"]);
    let project = house.project("host-keys");
    let entry = |name: &str| format!("{name}: {{ address: {} }}", house.address(name));
    project.only(&["h1", "h4"], "summary: x\nresources:\n  - file: { path: /srv/key, content: x }\n");
    project.file(
        "inventories/lab/hosts.yml",
        format!("groups:\n  all_hosts:\n    hosts: {{ {}, {} }}\n", entry("h1"), entry("h4")),
    );
    house.sh("h1", "rm -f /srv/key");
    let known =
        std::fs::read_to_string(house.lab().ssh_config().with_file_name("known_hosts")).expect("the lab's keys");
    let old = fingerprint(house, "h4");
    project.file("known_hosts", &known);
    let config = ssh_config(house, &project);
    let config = ["--ssh-config", config.as_str()];
    let command = |verb: &str, more: &[&str]| {
        let yes: &[&str] = if verb == "apply" { &["-y"] } else { &[] };
        project.run(&[&[verb, "lab"], &config[..], yes, more].concat())
    };
    command("plan", &[]).ends(0).says("2 to add");

    house.sh("h4", "rm /etc/ssh/ssh_host_ed25519_key*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key; systemctl restart ssh");
    let new = fingerprint(house, "h4");
    assert_ne!(old, new);
    for more in [&[][..], &["--accept-new"]] {
        let run = command("plan", more).ends(4).says("the host key of h4 changed");
        let run = run.says(&old).says(&new).says("ssh-keygen -R");
        assert_eq!(run.said().matches("SHA256:").count(), 2, "\n{run}");
    }
    command("apply", &["-l", "h4"]).ends(4);
    assert!(!house.holds("h4", "test -e /srv/key"), "nothing was done behind a changed key");
    assert_eq!(std::fs::read_to_string(project.path("known_hosts")).expect("the file"), known, "no key was replaced");

    let without: String = known.split_inclusive('\n').filter(|line| !line.starts_with("h4,")).collect();
    project.file("known_hosts", &without);
    command("plan", &["-l", "h4"]).ends(4).says("host key of h4 is unknown").says("--accept-new");
    command("apply", &["-l", "h4"]).ends(4);
    assert!(!house.holds("h4", "test -e /srv/key"), "nothing was done behind an unknown key");
    command("apply", &["--accept-new"]).ends(0);
    assert!(house.holds("h1", "test -e /srv/key") && house.holds("h4", "test -e /srv/key"));
    command("plan", &["--detailed-exitcode"]).ends(0);
    house.down(&["h4"]);
}

/// A configuration that knows only the story's own files; `~/.ssh` is not looked at.
fn ssh_config(house: &House, project: &Project<'_>) -> String {
    let key = house.lab().ssh_config().with_file_name("id_ed25519");
    let config = format!(
        "Host *\n  User root\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  HostKeyAlgorithms ssh-ed25519\n",
        key.display(),
        project.path("known_hosts").display(),
    );
    project.file("ssh_config", config);
    project.path("ssh_config").display().to_string()
}

fn fingerprint(house: &House, host: &str) -> String {
    let line = house.sh(host, "ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub");
    line.split(' ').nth(1).expect("a fingerprint").to_owned()
}
