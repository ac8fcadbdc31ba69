//! Changes that shut us out, and hosts that undo them by themselves.

use crate::house::{House, until};
use crate::project::{Project, Run};

/// An sshd that listens where nobody looks for it.
const ELSEWHERE: &str = "Port 2222\\n";
/// An sshd that does not start.
const BROKEN: &str = "NoSuchOption yes\\n";

const SSHD: &str = "
summary: How one comes in.
resources:
  - file: { path: /etc/ssh/sshd_config.d/50-story.conf, content: \"CONTENT\" }
    risky: WAIT
    notify: restart
  - service: ssh
    risky: WAIT
";

const PACKETS: &str = "
summary: Nothing comes in or out.
resources:
  - package: nftables
  - file:
      path: /srv/story.nft
      content: |
        table inet story {
          chain in { type filter hook input priority 0; policy drop; }
          chain out { type filter hook output priority 0; policy drop; }
        }
    risky: WAIT
  - unit:
      name: story.service
      content: |
        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/usr/sbin/nft -f /srv/story.nft
        ExecStop=/usr/sbin/nft delete table inet story
        [Install]
        WantedBy=multi-user.target
  - service: { name: story, enabled: true }
    risky: WAIT
";

const SUDO: &str = "
summary: Who may do what.
resources:
  - file: { path: /etc/sudoers.d/zz-story, mode: \"0440\", content: \"deploy ALL=(ALL) !ALL\\n\" }
    risky: WAIT
";

fn role(text: &str, content: &str, wait: &str) -> String {
    text.replace("CONTENT", content).replace("WAIT", wait)
}

/// Nothing of the guard is left, neither armed nor waiting.
fn is_over(house: &House) {
    assert_eq!(house.sh("h1", "find /etc/systemd/system /run -name 'armilla-undo*' -o -name armilla-late"), "");
    assert!(!house.holds("h1", "systemctl list-timers --all | grep armilla-undo"), "no timer waits");
    assert!(!house.holds("h1", "ls /var/lib/armilla/host/*/armed/*/armed"), "nothing is armed");
}

/// The host is as before, and the plan wants the same again.
fn is_back(house: &House, project: &Project<'_>) {
    until("sshd answers where it did", || house.holds("h1", "ss -Htln 'sport = :22' | grep -q ."));
    assert!(!house.holds("h1", "test -e /etc/ssh/sshd_config.d/50-story.conf"), "the file is gone again");
    is_over(house);
    project.plan(&["--detailed-exitcode"]).ends(2).says("50-story.conf");
}

/// An sshd that moves away, and one that does not start, are back within their time; a good change stays.
pub(crate) fn f10_sshd(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("deadman-sshd");
    project.only(&["h1"], &role(SSHD, ELSEWHERE, "8s"));
    project.plan(&[]).says("the host rolls it back unless we can log in again within 8 s");
    project.apply(&[]).ends(5).says("rolled everything back by itself").says("nobody logged in again within 8 s");
    is_back(house, &project);

    project.only(&["h1"], &role(SSHD, BROKEN, "8s"));
    project.apply(&[]).ends(5).says("restart").says("the change was rolled back");
    is_back(house, &project);

    project.only(&["h1"], &role(SSHD, "MaxAuthTries 5\\n", "30s"));
    project.converges();
    assert!(house.holds("h1", "sshd -T | grep -qx 'maxauthtries 5'"), "the good change stays");
    is_over(house);

    // What is put back is what was there, not nothing.
    project.only(&["h1"], &role(SSHD, ELSEWHERE, "8s"));
    project.apply(&[]).ends(5);
    assert!(house.holds("h1", "sshd -T | grep -qx 'maxauthtries 5' && sshd -T | grep -qx 'port 22'"));
    is_over(house);
}

/// Rules that drop every packet go again.
pub(crate) fn f10_packets(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("deadman-packets");
    project.only(&["h1"], "summary: x\nresources:\n  - package: nftables\n");
    project.converges();
    project.only(&["h1"], &role(PACKETS, "", "8s"));
    project.apply(&[]).ends(5).says("rolled everything back by itself");
    assert!(!house.holds("h1", "nft list table inet story"), "the rules are gone");
    assert_eq!(house.sh("h1", "find /etc/systemd/system /srv -name 'story*'"), "");
    is_over(house);
}

/// A sudo that lets nobody in any more does again.
pub(crate) fn f10_sudo(house: &House) {
    let project = deploys(house, "deadman-sudo");
    project.file("roles/only/role.yml", role(SUDO, "", "8s"));
    as_deploy(house, &project).ends(5).says("no new login: sudo on h1").says("nobody logged in again within 8 s");
    house.sh("h1", "runuser -u deploy -- sudo -n true");
    is_over(house);
}

/// A host that loses its power meanwhile undoes it when it boots, long before its time is over.
pub(crate) fn f15_undone_at_boot(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("deadman-boot");
    project.only(&["h1"], &role(SSHD, ELSEWHERE, "20m"));
    booted(house, &project, "ss -Htln 'sport = :2222' | grep -q .", &["--lab"]);
    is_back(house, &project);

    project.only(&["h1"], "summary: x\nresources:\n  - package: nftables\n");
    project.converges();
    project.only(&["h1"], &role(PACKETS, "", "20m"));
    booted(house, &project, "nft list table inet story", &["--lab"]);
    assert!(!house.holds("h1", "nft list table inet story"), "the rules are gone");
    is_over(house);

    let project = deploys(house, "deadman-boot-sudo");
    project.file("roles/only/role.yml", role(SUDO, "", "20m"));
    let config = config(house);
    booted(house, &project, "test -e /etc/sudoers.d/zz-story", &["--ssh-config", &config]);
    house.sh("h1", "runuser -u deploy -- sudo -n true");
    is_over(house);
}

/// The controller dies after the change: the host does not need it.
pub(crate) fn f10_nobody_left(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("deadman-alone");
    project.only(&["h1"], &role(SSHD, ELSEWHERE, "8s"));
    let mut run = project.start(&["apply", "lab", "--lab", "-y"]);
    until("sshd is away", || house.holds("h1", "ss -Htln 'sport = :2222' | grep -q ."));
    run.signal(nix::sys::signal::Signal::SIGKILL);
    until("it is dead", || !run.runs());
    until("the host has put it back", || house.holds("h1", "ss -Htln 'sport = :22' | grep -q ."));
    until("it has written that down", || house.holds("h1", "grep -q nobody /var/lib/armilla/host/*/armed/*/fired"));
    is_back(house, &project);
    // What was put back is not armilla's any more, and the next change of it is like the first.
    project.only(&["h1"], &role(SSHD, "MaxAuthTries 5\\n", "30s"));
    project.apply(&["--lock-timeout", "3m"]).ends(0);
    project.only(&["h1"], "summary: Nothing.\n");
    project.converges();
    assert!(!house.holds("h1", "test -e /etc/ssh/sshd_config.d/50-story.conf"));
    is_over(house);
}

/// Applies until the change is there, and pulls the plug.
fn booted(house: &House, project: &Project<'_>, there: &str, more: &[&str]) {
    let run = project.start(&[&["apply", "lab", "-y"], more].concat());
    until("the change is there", || house.holds("h1", there));
    project.run(&["lab", "kill", "h1"]).ends(0);
    project.run(&["lab", "boot", "h1"]).ends(0);
    run.wait().ends(5).says("rolled everything back").says("it booted before the change was confirmed");
}

/// A project whose host is entered by a user who may use sudo.
fn deploys<'a>(house: &'a House, name: &str) -> Project<'a> {
    house.fresh(&["h1"]);
    house.sh(
        "h1",
        "useradd --create-home --shell /bin/bash deploy
         install -d -m 700 -o deploy -g deploy /home/deploy/.ssh
         install -m 600 -o deploy -g deploy /root/.ssh/authorized_keys /home/deploy/.ssh/authorized_keys
         echo 'deploy ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/deploy",
    );
    let project = house.project(name);
    project.only(&["h1"], "summary: x\n");
    let host = format!("h1: {{ address: {} }}", house.address("h1"));
    let connection = "connection: { user: deploy, become: true }";
    let hosts = format!("{connection}\ngroups:\n  all_hosts: {{ hosts: {{ {host} }} }}\n");
    project.file("inventories/lab/hosts.yml", hosts);
    project
}

fn config(house: &House) -> String {
    house.lab().ssh_config().display().to_string()
}

fn as_deploy(house: &House, project: &Project<'_>) -> Run {
    project.run(&["apply", "lab", "-y", "--ssh-config", &config(house)])
}
