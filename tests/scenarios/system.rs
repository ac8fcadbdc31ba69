//! Kinds of the system itself on a real host, seen with the system's own tools.

use crate::house::{House, until};

const SETTINGS: &str = r#"
summary: Settings of the system itself.
resources:
  - sysctl: { name: net.ipv4.tcp_rmem, value: "4096 131072 4194304" }
  - sysctl: { name: net/ipv4/conf/eth0/log_martians, value: 1 }
  - sysctl: { name: vm.swappiness, value: 11, apply: false }
  - hostname: { name: ithaca }
  - timezone: { name: Europe/Athens }
  - timer:
      name: weave
      every: 1s
      command: [sh, -c, 'echo "$0 $THREAD" >>/root/woven', "100% \"wool\" $HOME"]
      environment: { THREAD: 5% "red" $x }
      description: Weaves 100%
  - timer: { name: unweave, schedule: "*-*-* 03:00", command: [/bin/true], persistent: true, random_delay: 5m, user: games }
  - directory: /srv/loom
  - file: { path: /srv/loom/thread, content: "red\n" }
  - mount: { path: /srv/wool-1, source: tmpfs, type: tmpfs, options: [size=1M, nosuid] }
  - mount: { path: /srv/thread, source: /srv/loom, type: none, options: [bind] }
"#;

const GONE: &str = r#"
summary: All of it gone, but for what was mounted.
resources:
  - directory: /srv/loom
  - file: { path: /srv/loom/thread, content: "red\n" }
  - mount: { path: /srv/thread, state: absent }
  - mount: { path: /srv/wool-1, state: absent }
  - timer: { name: weave, state: absent }
  - timer: { name: unweave, state: absent }
  - sysctl: { name: net.ipv4.tcp_rmem, state: absent }
  - sysctl: { name: net.ipv4.conf.eth0.log_martians, state: absent }
  - sysctl: { name: vm.swappiness, state: absent }
"#;

/// Set, found as set, changed, repaired, refused and removed.
pub(crate) fn settings(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("system");
    let is = |script: &str, wanted: &str| assert_eq!(house.sh("h1", script), wanted, "{script}");
    project.only(&["h1"], SETTINGS);
    project.plan(&["--detailed-exitcode"]).ends(2).says("tcp_rmem").says("weave");
    project.converges();
    is("sysctl -n net.ipv4.tcp_rmem net.ipv4.conf.eth0.log_martians", "4096\t131072\t4194304\n1");
    is("hostname; hostnamectl hostname", "ithaca\nithaca");
    is(
        "timedatectl show -p Timezone --value; date +%Z | grep -c EE; cat /etc/timezone",
        "Europe/Athens\n1\nEurope/Athens",
    );
    is("systemctl is-active weave.timer unweave.timer; systemctl is-enabled weave.timer", "active\nactive\nenabled");
    is("systemctl list-timers --no-pager | grep -c unweave", "1");
    until("the timer ran its program", || house.holds("h1", "grep -q . /root/woven"));
    is("head -1 /root/woven", "100% \"wool\" $HOME 5% \"red\" $x");
    is("findmnt -rno FSTYPE,OPTIONS /srv/wool-1 | grep -o 'tmpfs.*nosuid\\|size=1024k'", "tmpfs rw,nosuid\nsize=1024k");
    is("cat /srv/thread/thread; systemctl is-enabled 'srv-wool\\x2d1.mount'", "red\nenabled");

    // What systemd and the kernel make of it is what the next boot makes of it.
    is("/lib/systemd/systemd-sysctl --cat-config | grep -A1 armilla | grep -c =", "3");
    is("systemd-analyze verify weave.timer unweave.timer 2>&1", "");

    changed(house, &project);
    project.only(&["h1"], GONE);
    project.plan(&[]).says("until the host boots again");
    project.converges();
    is("ls /etc/sysctl.d | grep -c zz; find /etc/systemd/system -name '*weave*' -o -name 'srv-*'", "0");
    is("findmnt -rno TARGET | grep /srv || echo none", "none");
    is("systemctl list-units --all --no-legend '*weave*'; cat /srv/loom/thread", "red");
}

/// Drift is repaired; other options are given without an unmount; what is busy is not unmounted.
fn changed(house: &House, project: &crate::project::Project<'_>) {
    let is = |script: &str, wanted: &str| assert_eq!(house.sh("h1", script), wanted, "{script}");
    house.sh(
        "h1",
        "sysctl -qw net.ipv4.conf.eth0.log_martians=0; hostname troy; umount /srv/thread; systemctl stop weave.timer",
    );
    project.converges();
    is("sysctl -n net.ipv4.conf.eth0.log_martians; hostname; cat /srv/thread/thread", "1\nithaca\nred");

    house.sh("h1", "echo kept >/srv/wool-1/kept");
    let more = SETTINGS.replace("size=1M, nosuid", "size=2M, nosuid, noexec").replace("every: 1s", "every: 1h");
    project.only(&["h1"], &more);
    project.converges();
    is(
        "cat /srv/wool-1/kept; findmnt -rno OPTIONS /srv/wool-1 | grep -o 'noexec\\|size=[0-9]*k'",
        "kept\nnoexec\nsize=2048k",
    );
    is("systemctl show -p TimersMonotonic --value weave.timer | grep -c 1h", "2");

    // One that systemd does not know of: a service that names the place would be stopped with it.
    house.sh("h1", "systemd-run --quiet --unit=sitter sh -c 'cd /srv/wool-1; exec sleep 600'; sleep 1");
    project.only(&["h1"], "summary: Busy.\nresources:\n  - mount: { path: /srv/wool-1, state: absent }\n");
    project.apply(&[]).ends(3);
    is("cat /srv/wool-1/kept; systemctl stop sitter", "kept");

    project.only(
        &["h1"],
        "summary: Not for a host in a box.\nresources:\n  - sysctl: { name: vm.swappiness, value: 11 }\n",
    );
    if house.sh("h1", "cat /proc/sys/vm/swappiness") != "11" {
        project.apply(&[]).ends(3).says("/proc/sys/vm/swappiness");
    }
    project.only(&["h1"], "summary: Wrong.\nresources:\n  - timezone: { name: Mars/Olympus }\n");
    project.plan(&[]).says("unknown time zone Mars/Olympus on this host");
    project.only(&["h1"], "summary: Wrong.\nresources:\n  - timer: { name: x, schedule: Mon foo, command: [x] }\n");
    project.plan(&[]).says("Failed to parse calendar specification");
}

const FIREWALL: &str = r#"
summary: A firewall.
resources:
  - package: nftables
  - firewall:
      allow:
        - { port: 8080, from: [SUBNET.0/24, "fd00::/8"] }
        - { port: 8081, from: [192.0.2.0/24] }
        - { ports: [53, "5000-5010"], protocol: udp }
"#;

/// Loads other rules than it is told: those that let ssh in are not among them.
const EVIL: &str = r#"#!/bin/sh
if [ "$*" = "-f /run/armilla-firewall/source" ]; then
  sed '/comment/d; /established/d' "$2" | /usr/sbin/nft -f -
  THEN
else exec /usr/sbin/nft "$@"
fi
"#;

/// Rules hold, also after a boot; rules that shut us out are taken back, by us or, when we are gone, by the host alone.
pub(crate) fn f10_firewall(house: &House) {
    house.fresh(&["h1"]);
    house.up(&["h2"]);
    let project = house.project("firewall");
    let subnet = house.address("h1").rsplit_once('.').map(|(subnet, _)| subnet.to_owned()).expect("an address");
    let rules = FIREWALL.replace("SUBNET", &subnet);
    let listen =
        "for p in 8080 8081; do systemd-run -q --unit=p$p systemd-socket-activate -l $p --accept /bin/cat; done";
    house.sh("h1", listen);
    let reach = |port: &str| house.holds("h2", &format!("timeout 2 bash -c 'exec 3<>/dev/tcp/h1/{port}'"));
    until("both ports are open without a firewall", || reach("8080") && reach("8081"));

    project.only(&["h1"], &rules);
    project.plan(&["--detailed-exitcode"]).ends(2).says("port 22, which armilla uses");
    project.converges();
    assert!(reach("8080") && !reach("8081") && reach("22"), "one is allowed, and ssh, and no more");
    house.sh("h1", "nft list table inet armilla | grep -q 'udp dport { 53, 5000-5010 } accept'");
    assert!(!house.holds("h1", "systemctl is-active -q armilla-firewall-undo.timer"), "nobody waits to take them back");

    // Somebody takes the rules away; the host boots; Debian's own firewall flushes all tables.
    house.sh("h1", "nft flush ruleset");
    project.plan(&["--detailed-exitcode"]).ends(2);
    project.converges();
    project.run(&["lab", "kill", "h1"]).ends(0);
    project.run(&["lab", "boot", "h1"]).ends(0);
    house.sh("h1", listen);
    until("the allowed port is open after a boot", || reach("8080"));
    assert!(!reach("8081"), "the rules are there after a boot");
    project.is_empty();
    house.sh("h1", "systemctl start nftables && systemctl restart nftables");
    let active = || house.holds("h1", "systemctl is-active armilla-firewall");
    until("the rules are there after others were loaded", active);
    project.is_empty();

    shut_out(house, &project, &rules);
    project.only(&["h1"], "summary: None.\nresources:\n  - firewall: { state: absent }\n");
    project.converges();
    assert!(reach("8081") && !house.holds("h1", "nft list table inet armilla"), "nothing is forbidden any more");
    assert_eq!(house.sh("h1", "ls /etc/nftables.d; find /etc/systemd/system -name 'armilla*'"), "");
}

/// Somebody between armilla and the kernel makes other rules of ours.
fn shut_out(house: &House, project: &crate::project::Project<'_>, rules: &str) {
    let other = rules.replace("8080", "8082");
    let old = "nft list table inet armilla | grep -q 'comment' && nft list table inet armilla | grep -q 8080";
    project.only(&["h1"], &other);
    let put = |text: &str| {
        let write = format!("cat >/usr/local/sbin/nft <<'END'\n{text}END\nchmod 755 /usr/local/sbin/nft");
        house.sh("h1", &write);
    };
    put(&EVIL.replace("THEN", ":"));
    project.apply(&[]).ends(3).says("the rules of before are back");
    house.sh("h1", old);

    // Now nobody is left to take them back.
    put(&EVIL.replace("THEN", "sleep 300"));
    let run = project.start(&["apply", "lab", "--lab", "-y"]);
    until("the bad rules are loaded", || house.holds("h1", "nft list table inet armilla | grep -q 8082"));
    assert!(!house.holds("h1", old));
    until("the host has taken them back by itself", || house.holds("h1", old));
    assert!(matches!(run.wait().code, Some(3 | 4)), "it was not done");
    house.sh("h1", "rm /usr/local/sbin/nft");
    project.plan(&["--detailed-exitcode"]).ends(2);
    project.converges();
    house.sh("h1", "nft list table inet armilla | grep -q 8082");
}

const LANGUAGE: &str = "
summary: What programs speak, and a module for the next boot.
resources:
  - package: locales
  - locale: { lang: de_DE.UTF-8, variables: { LC_TIME: C.UTF-8 }, generate: [de_DE.UTF-8] }
  - kernel_module: { name: br_netfilter, options: [brnf=1], load: false }
";

/// A locale is made and spoken. A module is named for the next boot: to load one, a lab host has no right.
pub(crate) fn language(house: &House) {
    house.up(&["h1"]);
    let project = house.project("language");
    let is = |script: &str, wanted: &str| assert_eq!(house.sh("h1", script), wanted, "{script}");
    project.only(&["h1"], LANGUAGE);
    project.plan(&["--detailed-exitcode"]).ends(2).says("de_DE.UTF-8").says("br_netfilter");
    project.converges();
    is(
        "env -i PATH=/usr/bin:/bin $(grep -v ^# /etc/default/locale) date -d 2026-03-01 +%B; LC_ALL=de_DE.UTF-8 date -d 2026-03-01 +%B",
        "March\nM\u{e4}rz",
    );
    is(
        "grep -hv ^# /etc/modules-load.d/*netfilter* /etc/modprobe.d/*netfilter*",
        "br_netfilter\noptions br_netfilter brnf=1",
    );

    let other = LANGUAGE.replace("lang: de_DE.UTF-8", "lang: C.UTF-8").replace("brnf=1", "brnf=0");
    project.only(&["h1"], &other);
    project.converges();
    is(
        "grep ^LANG= /etc/default/locale; grep -hv ^# /etc/modprobe.d/*netfilter*",
        "LANG=C.UTF-8\noptions br_netfilter brnf=0",
    );

    project.only(&["h1"], "summary: Gone.\nresources:\n  - kernel_module: { name: br_netfilter, state: absent }\n");
    project.converges();
    is("ls /etc/modules-load.d /etc/modprobe.d | grep netfilter || echo none", "none");
    project.only(&["h1"], "summary: Wrong.\nresources:\n  - locale: { lang: xx_XX.UTF-8 }\n");
    project.plan(&["--detailed-exitcode"]).ends(2).says("/etc/default/locale");
}
