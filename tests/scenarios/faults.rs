//! Faults on real hosts: cables that are bad in the middle of a run, hosts that boot, disks that take nothing, locks that
//! others hold, services that die.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use armilla::inventory::Endpoint;
use armilla::name::HostName;
use armilla::transport::{Connections, SshOptions, Transport as _};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::house::{House, until};
use crate::project::Project;
use crate::proxy::{Cable, Proxy, Way, What};

/// ssh that reaches each host by its own cable.
fn by_cable(house: &House, project: &Project<'_>, cables: &[(&str, &Proxy)]) -> String {
    let beside = |name: &str| house.lab().ssh_config().with_file_name(name).display().to_string();
    let mut config = String::new();
    for (host, proxy) in cables {
        let port = proxy.port;
        let _ = write!(config, "Host {host}\n  HostName 127.0.0.1\n  Port {port}\n  HostKeyAlias {host}\n");
    }
    let _ = write!(
        config,
        "Host *\n  User root\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  HostKeyAlgorithms ssh-ed25519\n",
        beside("id_ed25519"),
        beside("known_hosts"),
    );
    project.file("ssh_config", config);
    project.path("ssh_config").display().to_string()
}

/// One host is far away, one stalls for seconds, one falls silent in the middle of a step: the first two are done, the
/// third is given up, and done when its cable is whole again.
pub(crate) fn f09_bad_cables(house: &House) {
    let hosts = ["h1", "h2", "h3"];
    house.up(&hosts);
    for host in hosts {
        house.sh(host, "rm -f /srv/far /srv/begun /srv/ended /srv/after");
    }
    let to = |name: &str| format!("{}:22", house.address(name)).parse().expect("an address");
    let late = Proxy::start(to("h1"), |_| Cable::late(Duration::from_millis(370)));
    let stall = What::Stall(Duration::from_secs(5));
    let stalls = Proxy::start(to("h2"), move |_| Cable::with(Way::There, 20_000, stall));
    let dumb = Proxy::start(to("h3"), |_| Cable::sound());
    let project = house.project("bad-cables");
    let role = "summary: x\nresources:\n  - file: { path: /srv/far, src: large }\n  - command: { run: [sh, -c, 'touch /srv/begun; sleep 3; touch /srv/ended'], creates: /srv/ended }\n  - file: { path: /srv/after, content: x }\n";
    project.file("roles/only/files/large", "far away\n".repeat(8000)).only(&hosts, role);
    let config = by_cable(house, &project, &[("h1", &late), ("h2", &stalls), ("h3", &dumb)]);
    let typed = ["--ssh-config", &config, "--connect-timeout", "4"];

    let begun = Instant::now();
    let mut run = project.start(&[&["apply", "lab", "-y", "--reboot-timeout", "2s"], &typed[..]].concat());
    drop(run.child.stdin.take());
    until("h3 is in the middle", || house.holds("h3", "test -e /srv/begun"));
    dumb.silence();
    let done = |host: &str| house.holds(host, "test -e /srv/after");
    until("the others are done", || done("h1") && done("h2"));
    assert!(begun.elapsed() < Duration::from_secs(40), "the others were held up: {:?}", begun.elapsed());
    assert!(run.runs(), "h3 has its own limit");
    let run = run.wait().ends(4).says("Failed on 1 of 3 hosts").says("the result of this step is unknown");
    assert!(begun.elapsed() < Duration::from_secs(120), "took {:?}\n{run}", begun.elapsed());
    // It was given all steps of its role, and nobody told it that the way is gone.
    assert!(house.holds("h3", "test -e /srv/ended"), "what ran ended");

    dumb.heal();
    project.run(&[&["apply", "lab", "-y"], &typed[..]].concat()).ends(0);
    project.run(&[&["plan", "lab", "--detailed-exitcode"], &typed[..]].concat()).ends(0);
    assert!(hosts.into_iter().all(done));
}

/// A host that drops every packet costs the others its own limit once for each time it is asked, and no more.
pub(crate) fn f11_the_rest_in_its_time(house: &House) {
    let hosts = ["h1", "h2", "h3"];
    house.up(&hosts);
    let project = house.project("black-hole");
    let role = |text: &str| format!("summary: x\nresources:\n  - file: {{ path: /srv/hole, content: {text} }}\n");
    project.only(&hosts, &role("one")).converges();
    let begun = Instant::now();
    project.only(&hosts, &role("two")).apply(&[]).ends(0);
    let normal = begun.elapsed();
    house.lab().cut("h2").expect("h2 is cut off");
    let begun = Instant::now();
    project.only(&hosts, &role("three")).apply(&["--connect-timeout", "3"]).ends(4).says("h2");
    let took = begun.elapsed();
    house.lab().heal("h2").expect("h2 is back");
    house.lab().wait(&["h2"]).expect("h2 answers");
    assert!(took < normal + Duration::from_secs(9), "{took:?}, and {normal:?} when all answer");
    for host in ["h1", "h3"] {
        assert_eq!(house.sh(host, "cat /srv/hole"), "three");
    }
    project.converges();
}

/// A host boots in the middle of a step, with nobody having planned it. It is lost, waited for, and done by the next run.
pub(crate) fn f15_boot_in_the_middle(house: &House) {
    let hosts = ["h1", "h2"];
    house.up(&hosts);
    for host in hosts {
        house.sh(host, "rm -f /srv/boots /srv/booted /srv/up");
    }
    house.sh("h1", "touch /srv/boots");
    let project = house.project("boots");
    let wait = "if [ -e /srv/boots ]; then rm /srv/boots; touch /srv/booted; sync; systemctl reboot; sleep 60; fi; touch /srv/up";
    project.only(
        &hosts,
        &format!("summary: x\nresources:\n  - command: {{ run: [sh, -c, '{wait}'], creates: /srv/up }}\n"),
    );
    let options = SshOptions {
        config: Some(house.lab().ssh_config().try_into().expect("a name in UTF-8")),
        connect_timeout: Duration::from_secs(2),
        ..SshOptions::default()
    };
    let mut host = Endpoint::new(HostName::new("h1").expect("a name"));
    host.address = house.address("h1");
    let before = house.sh("h1", "cat /proc/sys/kernel/random/boot_id");
    let run = project.apply(&["--connect-timeout", "2"]);
    assert!(matches!(run.code, Some(3 | 4)), "\n{run}");
    // The host itself may have had the time to write down how it ended.
    run.says("Failed on 1 of 2 hosts").says("h1 failed");
    assert!(house.holds("h2", "test -e /srv/up"), "the other is done");

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let back = runtime.block_on(async {
        let connections = Connections::new(options);
        let mut back = before.clone();
        // The old sshd may still answer for a moment.
        while back == before {
            tokio::time::sleep(Duration::from_millis(200)).await;
            back = connections.await_back(&host, Duration::from_secs(60), &|_| ()).await.expect("it comes back");
        }
        connections.close().await;
        back
    });
    assert_eq!(back, house.sh("h1", "cat /proc/sys/kernel/random/boot_id"));
    assert!(house.holds("h1", "test -e /srv/booted && ! test -e /srv/up"), "it stopped in the middle");
    project.converges();
    assert!(house.holds("h1", "test -e /srv/up"));
}

/// A disk that cannot be written, and one with room but no inodes: the old file stays, the error says why, others go on.
pub(crate) fn f16_disks_that_take_nothing(house: &House) {
    let hosts = ["h1", "h2"];
    house.up(&hosts);
    for host in hosts {
        house.sh(host, "umount /srv/disk 2>/dev/null; rm -rf /srv/disk; mkdir -p /srv/disk; echo old >/srv/disk/file");
    }
    let project = house.project("disks");
    let role = "summary: x\nresources:\n  - file: { path: /srv/disk/file, content: \"new\\n\" }\n";
    for (options, why) in [("ro", "Read-only file system"), ("rw", "No space left on device")] {
        house.sh("h2", "echo old >/srv/disk/file");
        house.sh("h1", "mount -t tmpfs -o size=1m,nr_inodes=2 disk /srv/disk; echo old >/srv/disk/file");
        house.sh("h1", &format!("mount -o remount,{options} /srv/disk"));
        project.only(&hosts, role).apply(&[]).ends(3).says("h1 failed only file /srv/disk/file").says(why);
        assert_eq!(house.sh("h1", "cat /srv/disk/file; ls -A /srv/disk"), "old\nfile", "{options}");
        assert_eq!(house.sh("h2", "cat /srv/disk/file"), "new", "{options}");
        house.sh("h1", "umount /srv/disk");
    }
    project.converges();
}

/// Somebody else holds apt's locks: it is waited for, its name is told, and then it is done.
pub(crate) fn f18_locks_of_others(house: &House) {
    house.fresh(&["h4"]);
    let project = house.project("locks");
    project.only(&["h4"], "summary: x\nresources:\n  - package: hello\n");
    // What apt asks for are locks of fcntl(2).
    let hold = "use Fcntl;\nfor (@ARGV) {\n  open(my $f, '>>', $_) or die; push @f, $f;\n  my $l = pack('ssx4qqlx4', F_WRLCK, 0, 0, 0, 0);\n  fcntl($f, F_SETLK, $l) or die;\n}\nsleep 600;\n";
    house.sh("h4", &format!("cat >/root/hold <<'END'\n{hold}END"));
    house.sh("h4", "systemd-run -q --unit=holder perl /root/hold /var/lib/apt/lists/lock /var/lib/dpkg/lock-frontend");
    let locked = || !house.holds("h4", "apt-get update -q");
    until("the lock is held", || house.holds("h4", "systemctl is-active -q holder") && locked());
    let mut run = project.start(&["apply", "lab", "--lab", "-y", "-v"]);
    drop(run.child.stdin.take());
    let pid = house.sh("h4", "systemctl show -p MainPID --value holder");
    until("it says who holds the lock", || !run.runs() || run.said().contains(&format!("process {pid} (perl)")));
    assert!(run.runs(), "it waits");
    house.sh("h4", "systemctl stop holder");
    run.wait().ends(0);
    house.sh("h4", "hello");
    project.is_empty();
    house.down(&["h4"]);
}

/// Who runs processes is not removed under their feet: the plan keeps the user and says why, until they have ended.
pub(crate) fn f18_users_who_are_there(house: &House) {
    house.up(&["h1"]);
    let project = house.project("users");
    project.only(&["h1"], "summary: x\nresources:\n  - user: { name: grace }\n").apply(&[]).ends(0);
    house.sh("h1", "systemd-run -q --unit=grace --uid=grace sleep 600");
    project.only(&["h1"], "summary: x\nresources: []\n");
    project.apply(&[]).ends(0).says("service grace runs as it");
    assert!(house.holds("h1", "getent passwd grace && systemctl is-active grace"));
    house.sh("h1", "systemctl stop grace");
    project.apply(&[]).ends(0);
    assert!(!house.holds("h1", "getent passwd grace"));
}

/// A service that is killed after a moment was not started well, and what needs it is not begun.
pub(crate) fn f20_killed_services(house: &House) {
    house.up(&["h1"]);
    house.sh("h1", "rm -f /srv/needs");
    let project = house.project("killed");
    project
        .hosts(&["h1"])
        .file("site.yml", "services:\n  hungry: { hosts: all_hosts }\n  needs: { hosts: all_hosts }\n");
    let unit = "[Service]\\nExecStart=/bin/sh -c 'sleep 1; kill -KILL $$$$'\\n";
    let role = format!(
        "summary: x\nresources:\n  - unit: {{ name: hungry.service, content: \"{unit}\" }}\n  - service: {{ name: hungry, state: running }}\nhealth:\n  - unit: {{ name: hungry, stable_for: 3s, within: 6s }}\n"
    );
    project.file("roles/hungry/role.yml", role);
    let needs = "summary: x\nneeds: [hungry]\nresources:\n  - file: { path: /srv/needs, content: x }\n";
    project.file("roles/needs/role.yml", needs);
    project.apply(&[]).ends(3).says("hungry").says("not started");
    assert!(!house.holds("h1", "test -e /srv/needs"));
    assert_eq!(house.sh("h1", "systemctl show -p Result --value hungry"), "signal");
    house.sh("h1", "rm -f /etc/systemd/system/hungry.service; systemctl reset-failed; systemctl daemon-reload");
}

/// No program may be run from where temporary files are.
pub(crate) fn f21_no_programs_in_temporary_places(house: &House) {
    house.fresh(&["h4"]);
    for place in ["/tmp", "/var/tmp"] {
        house.sh("h4", &format!("mount -t tmpfs -o noexec,nosuid,nodev none {place}"));
    }
    house.sh("h4", "mount -o remount,noexec /run; mount -t tmpfs -o noexec none /dev/shm");
    house.sh("h4", "printf '#!/bin/sh\\n' >/tmp/x; chmod 755 /tmp/x; ! /tmp/x 2>/dev/null; rm /tmp/x");
    let project = house.project("noexec");
    let role = "summary: x\nresources:\n  - file: { path: /srv/a, content: x }\n  - command: { run: [sh, -c, 'touch /srv/b'], creates: /srv/b, stdin: y }\n  - package: hello\n";
    project.only(&["h4"], role).converges();
    house.sh("h4", "hello; test -e /srv/b");
    assert_eq!(house.sh("h4", "ls -A /tmp /var/tmp | grep armilla || echo nothing"), "nothing");
    house.down(&["h4"]);
}

/// While systemd hangs nothing is known about its units; about all else of the host it is.
pub(crate) fn systemd_that_hangs(house: &House) {
    house.up(&["h1"]);
    let project = house.project("hung-systemd");
    let role = "summary: x\nresources:\n  - file: { path: /srv/hung, content: x }\n  - service: { name: ssh, state: running, enabled: true }\n";
    project.only(&["h1"], role).converges();
    // To log in would take as long: PAM asks systemd, too.
    let keep = ["--keep-connections", "60s"];
    project.plan(&keep).ends(0);
    let begun = Instant::now();
    let asleep = Asleep::put(house, "h1");
    let run = project.plan(&keep);
    drop(asleep);
    run.ends(1).says("systemctl did not answer in time").says("1 unreadable   1 in sync");
    assert!(begun.elapsed() < Duration::from_secs(40), "took {:?}", begun.elapsed());
    project.plan(&keep).ends(0).says("2 resources");
}

/// The first process of a host that does nothing, until this is dropped.
struct Asleep(Pid);

impl Asleep {
    fn put(house: &House, host: &str) -> Self {
        let recorded = house.lab().ssh_config().with_file_name("hosts").join(host).join("init");
        let text = fs::read_to_string(&recorded).expect("its number is written down");
        let pid = Pid::from_raw(text.split(' ').next().and_then(|pid| pid.parse().ok()).expect("a number"));
        kill(pid, Signal::SIGSTOP).expect("it stops");
        Self(pid)
    }
}

impl Drop for Asleep {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}
