//! Working as root by way of a normal user.

use std::io::Write as _;

use crate::house::{ARMILLA, House, until};
use crate::project::{Project, Run};
use crate::watch::Watch;

const PASSWORD: &str = "tell-nobody-77ab10";

/// `become: true` in the inventory, and a user whom sudo asks nothing.
pub(crate) fn f21_none_needed(house: &House) {
    user(house, "deploy", "deploy ALL=(ALL) NOPASSWD: ALL");
    let project = by_user(house, "sudo", "deploy");
    apply(house, &project, &[]).ends(0);
    assert_eq!(house.sh("h1", "cat /srv/sudo; stat -c '%U %a' /srv/sudo"), "as root\nroot 600");
    project.run(&["plan", "lab", "--detailed-exitcode", "--ssh-config", &config(house)]).ends(0);
    assert!(
        !house.holds("h1", "ls -A /home/deploy | grep -v '^\\.\\(ssh\\|bash\\|profile\\)'"),
        "nothing is left at home"
    );

    // Without sudo the same user may not, and is told.
    inventory(house, &project, "connection: { user: deploy }");
    house.sh("h1", "rm -f /srv/sudo");
    apply(house, &project, &[]).ends(3).says("ermission denied");
    apply(house, &project, &["-b"]).ends(0);
}

/// Without -K it says so; with it, the password goes to sudo and nowhere else; a wrong one is tried once.
pub(crate) fn f21_asked_once(house: &House) {
    user(house, "person", "person ALL=(ALL) ALL");
    house.sh("h1", &format!("echo 'person:{PASSWORD}' | chpasswd"));
    let project = by_user(house, "password", "person");
    let failures = "journalctl --no-pager -q -t sudo | grep -c 'authentication failure' || true";
    let before = house.sh("h1", failures);

    apply(house, &project, &[]).says("-K (--ask-become-pass)").says("NOPASSWD").ends(1);
    apply(house, &project, &["-K"]).ends(1).says("no terminal");
    assert_eq!(house.sh("h1", failures), before, "no password was tried");

    let run = typed(house, &project, "wrong-guess");
    assert!(run.said().contains("wrong password"), "\n{run}");
    let run = run.ends(1).keeps("wrong-guess");
    let after: u32 = house.sh("h1", failures).parse().expect("a number");
    assert_eq!(after, before.parse::<u32>().expect("a number") + 1, "one attempt\n{run}");
    assert!(!house.holds("h1", "test -e /srv/sudo"));

    let watch = Watch::begin(&[PASSWORD]);
    typed(house, &project, PASSWORD).ends(0).says("Converged").keeps(PASSWORD);
    watch.saw_nothing();
    assert_eq!(house.sh("h1", "cat /srv/sudo; stat -c '%U %a' /srv/sudo"), "as root\nroot 600");
    assert!(
        !house.holds("h1", &format!("grep -rlsa {PASSWORD} /tmp /var /etc /root /run /srv /home")),
        "no trace of it"
    );
}

/// A rehearsal logs in as root unless -u says otherwise; then -b counts, and so does a sudo that wants a password.
pub(crate) fn f59_root_is_root_in_a_rehearsal(house: &House) {
    user(house, "guest", "guest ALL=(ALL) ALL");
    let project = by_user(house, "rehearsed", "guest");
    inventory(house, &project, "connection: { user: root }");
    project.run(&["exec", "lab", "--lab", "-u", "guest", "--", "id", "-un"]).ends(0).says("guest");
    for command in [&["plan", "lab"][..], &["apply", "lab", "-y"], &["exec", "lab"]] {
        let program: &[&str] = if command[0] == "exec" { &["--", "id", "-un"] } else { &[] };
        project.run(&[command, &["--lab", "-b", "-u", "guest"], program].concat()).says("-K").says("NOPASSWD").ends(1);
    }
    house.sh("h1", "echo 'guest ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/guest");
    project.run(&["exec", "lab", "--lab", "-b", "-u", "guest", "--", "id", "-un"]).ends(0).says("root");
}

fn user(house: &House, name: &str, rule: &str) {
    house.up(&["h1"]);
    house.sh("h1", "rm -f /srv/sudo /srv/slept");
    house.sh(
        "h1",
        &format!(
            "id {name} 2>/dev/null || useradd --create-home --shell /bin/bash {name}
         install -d -m 700 -o {name} -g {name} /home/{name}/.ssh
         install -m 600 -o {name} -g {name} /root/.ssh/authorized_keys /home/{name}/.ssh/authorized_keys
         echo '{rule}' >/etc/sudoers.d/{name}"
        ),
    );
}

fn by_user<'a>(house: &'a House, project: &str, name: &str) -> Project<'a> {
    let project = house.project(project);
    let role = "summary: x\nresources:\n  - file: { path: /srv/sudo, content: \"as root\\n\", mode: \"0600\" }\n  - command: { run: [sh, -c, 'sleep 0.5; touch /srv/slept'], creates: /srv/slept }\n";
    project.only(&["h1"], role);
    inventory(house, &project, &format!("connection: {{ user: {name}, become: true }}"));
    project
}

/// A rehearsal would log in as root, whatever the inventory says; so here the hosts are the real ones.
fn inventory(house: &House, project: &Project<'_>, connection: &str) {
    let host = format!("h1: {{ address: {} }}", house.address("h1"));
    project
        .file("inventories/lab/hosts.yml", format!("{connection}\ngroups:\n  all_hosts: {{ hosts: {{ {host} }} }}\n"));
}

fn config(house: &House) -> String {
    house.lab().ssh_config().display().to_string()
}

fn apply(house: &House, project: &Project<'_>, more: &[&str]) -> Run {
    project.run(&[&["apply", "lab", "-y", "--ssh-config", &config(house)], more].concat())
}

/// Applies at a terminal, and types the password when asked.
fn typed(house: &House, project: &Project<'_>, password: &str) -> Run {
    let line = format!("{ARMILLA} apply lab -y -K --ssh-config {}", config(house));
    let mut run = project.start_as(&["script", "-qec", &line, "/dev/null"], &[]);
    until("it asks", || !run.runs() || run.said().contains("sudo password"));
    // It asks a moment before it stops to show what is typed.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let mut keyboard = run.child.stdin.take().expect("a keyboard");
    // Whether it was still asked is seen in how it ends.
    let _ = keyboard.write_all(format!("{password}\n").as_bytes());
    until("it ends", || !run.runs());
    run.wait()
}
