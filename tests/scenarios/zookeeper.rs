//! The quickstart and the life of its ensemble.

use std::collections::BTreeMap;
use std::path::Path;

use crate::house::{House, until};
use crate::project::{Project, Run};
use crate::zookeeper_rolling;

const MEMBERS: [&str; 3] = ["zk1", "zk2", "zk3"];

/// Everything a plan must not touch. The first one brings the host program.
const LISTING: &str = "find /etc /usr/local /opt /srv /home /root /var/lib -xdev ! -path '/var/lib/systemd/*' ! -path '/root/.cache*' ! -path /var/lib ! -path '/var/lib/armilla*' -printf '%p %y %m %u %g %s %T@\\n' | sort; dpkg-query -W; ls -A /tmp";

/// Empty hosts, an untouched plan, an ensemble, and nothing left to do.
pub(crate) fn quickstart(house: &House) {
    house.fresh(&MEMBERS);
    let project = example(house, "quickstart");
    let before = MEMBERS.map(|host| house.sh(host, LISTING));
    project.plan(&[]).ends(0).says("zookeeper.service").says("Nothing was changed");
    for (host, before) in MEMBERS.iter().zip(&before) {
        let after = house.sh(host, LISTING);
        let new: Vec<_> = after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
        assert!(after == *before, "the plan changed something on {host}: {new:#?}");
    }
    project.apply(&[]).ends(0).says("Converged").says("3 hosts");
    assert_eq!(modes(house, &MEMBERS), BTreeMap::from([("follower".to_owned(), 2), ("leader".to_owned(), 1)]));
    let run = project.plan(&["--detailed-exitcode", "-vv"]).ends(0);
    let trips = round_trips(&run);
    assert!(trips.len() == 3 && trips.values().all(|trips| (1..=6).contains(trips)), "{trips:?}");
}

/// One configuration changed by hand: shown, repaired, and only that server restarts, once.
pub(crate) fn edited_configuration(house: &House) {
    let project = ensemble(house);
    let before = lives(house);
    house.sh("zk2", "sed -i s/^initLimit=.*/initLimit=77/ /etc/zookeeper/conf/zoo.cfg");
    let run = project.plan(&["--detailed-exitcode"]).ends(2).says("zk2 ~ template /etc/zookeeper/conf/zoo.cfg");
    run.says("- initLimit=77").says("+ initLimit=10").says("1 to change 1 restart").keeps("zk1  ~").keeps("zk3  ~");
    assert_eq!(lives(house), before, "a plan restarts nothing");
    house.sh("zk2", "date +%s.%N >/root/before");

    project.apply(&["--detailed-exitcode"]).ends(2).says("Converged");
    let after = lives(house);
    assert_eq!((&after[0], &after[2]), (&before[0], &before[2]), "zk1 and zk3 go on");
    assert_ne!(after[1], before[1], "zk2 is another process");
    let started = "journalctl -q --no-pager -u zookeeper -o cat --since=@$(cat /root/before) | grep -c '^Started '";
    assert_eq!(house.sh("zk2", started), "1", "one restart");
    assert!(house.holds("zk2", "grep -qx initLimit=10 /etc/zookeeper/conf/zoo.cfg"));
    project.apply(&["--detailed-exitcode"]).ends(0);
    assert_eq!(lives(house), after, "nothing restarts for nothing");
    project.is_empty();
}

/// Mode, unit, enablement, package, shell and file: each is shown, and repaired without touching a server that runs.
pub(crate) fn other_drift(house: &House) {
    let project = ensemble(house);
    let before = lives(house);
    house.sh("zk1", "chmod 0600 /usr/local/bin/zookeeper-mode; usermod -s /bin/sh zookeeper");
    house.sh("zk2", "systemctl disable -q zookeeper; rm /usr/local/bin/zookeeper-cli");
    house.sh("zk3", "systemctl stop zookeeper; dpkg --force-depends -r libzookeeper-java 2>/dev/null");
    let run = project.plan(&["--detailed-exitcode"]).ends(2);
    let run = run.says("zk1 ~ user zookeeper").says("shell /bin/sh -> /usr/sbin/nologin").says("mode 0600 -> 0755");
    let run = run.says("zk2 + template /usr/local/bin/zookeeper-cli").says("enabled false -> true");
    run.says("zk3 + package libzookeeper-java").says("zk3 ! start zookeeper").keeps("! restart");

    project.apply(&["--detailed-exitcode"]).ends(2).says("Converged");
    let after = lives(house);
    assert_eq!(&after[..2], &before[..2], "zk1 and zk2 go on");
    assert_ne!(after[2], before[2]);
    assert_eq!(
        house.sh("zk1", "stat -c %a /usr/local/bin/zookeeper-mode; getent passwd zookeeper | cut -d: -f7"),
        "755\n/usr/sbin/nologin"
    );
    assert_eq!(
        house.sh("zk2", "systemctl is-enabled zookeeper; test -x /usr/local/bin/zookeeper-cli && echo there"),
        "enabled\nthere"
    );
    assert_eq!(
        house.sh("zk3", "systemctl is-active zookeeper; dpkg-query -W -f '${Status}' libzookeeper-java"),
        "active\ninstall ok installed"
    );
    project.is_empty();
    assert_eq!(modes(house, &MEMBERS), BTreeMap::from([("follower".to_owned(), 2), ("leader".to_owned(), 1)]));
}

/// An even number is refused; accepted, the new member joins and the old ones go on as they are, under the eyes of
/// somebody who asks all of them all the time, and of a client that writes all the time.
pub(crate) fn fourth_member(house: &House) {
    let project = ensemble(house);
    house.fresh(&["zk4"]);
    house.up(&["h1"]);
    let before = lives(house);
    let hosts = |more: &str| format!("groups:\n  zookeepers: {{ hosts: \"zk[1:4]\", vars: {{ heap: 128M{more} }} }}\n");
    project.file("inventories/lab/hosts.yml", hosts(""));
    for verb in ["plan", "apply"] {
        project
            .run(&[verb, "lab", "--lab"])
            .ends(1)
            .says("4 members survive no more failures than 3")
            .says("allow_even");
    }
    assert_eq!(lives(house), before);
    assert!(!house.holds("zk4", "test -e /etc/zookeeper"), "zk4 is untouched");

    project.file("inventories/lab/hosts.yml", hosts(", allow_even: true"));
    house.sh("h1", &script("watch", WATCH));
    zookeeper_rolling::catches_up(house, "zk1");
    house.sh("zk1", "zookeeper-cli create /w x 2>/dev/null; true");
    house.sh("zk1", &script("write", WRITE));
    until("the client writes", || written(house).len() > 2);
    let acknowledged = written(house).len();
    project.apply(&[]).ends(0).says("Converged").says("zk4");
    until("the client writes on", || written(house).len() > acknowledged + 3);
    for (host, name) in [("h1", "watch"), ("zk1", "write")] {
        house.sh(host, &format!("touch /root/{name}.stop"));
        until("it has ended", || house.holds(host, &format!("test -e /root/{name}.ended")));
    }

    let seen = house.sh("h1", "sort /root/watch.seen | uniq -c");
    let lowest = house.sh("h1", "sort -n /root/watch.seen | head -n 1");
    assert_eq!(lowest, "3", "of the three old members, so many answered, so often:\n{seen}");
    assert_eq!(lives(house), before, "no old member restarts for a new one");
    let listed = house.sh("zk2", "zookeeper-members");
    assert_eq!(listed.lines().filter(|line| line.contains(":participant")).count(), 4, "{listed}");
    let all = zookeeper_rolling::nodes(house, "zk1");
    for node in written(house) {
        assert!(all.contains(&node), "{node} was acknowledged and is gone from {all:?}");
    }
    let four = ["zk1", "zk2", "zk3", "zk4"];
    assert_eq!(modes(house, &four), BTreeMap::from([("follower".to_owned(), 3), ("leader".to_owned(), 1)]));
    project.is_empty();
}

/// Counts which of the old members answer at all, again and again.
const WATCH: &str = r#"
while [ ! -e /root/watch.stop ]; do
    up=0
    for member in zk1 zk2 zk3; do
        answer=$(timeout 1 bash -c 'exec 3<>/dev/tcp/$0/2181 && printf srvr >&3 && cat <&3' $member 2>/dev/null | tr -d '\0')
        [ -z "$answer" ] || up=$((up + 1))
    done
    echo $up >>/root/watch.seen
done
touch /root/watch.ended
"#;

/// One session that creates nodes as fast as it is answered; it notes each that was acknowledged.
const WRITE: &str = r"
(until [ -e /root/write.stop ]; do echo 'create -s /w/n x'; sleep 0.3; done; echo quit) |
    zookeeper-cli -server zk1:2181,zk2:2181,zk3:2181 2>&1 | sed -un 's/.*Created \/w\/\(n[0-9]*\).*/\1/p' >/root/write.done
touch /root/write.ended
";

fn written(house: &House) -> Vec<String> {
    house.sh("zk1", "cat /root/write.done").lines().map(str::to_owned).collect()
}

/// Starts a script in the background of a host.
fn script(name: &str, text: &str) -> String {
    format!(
        "rm -f /root/{name}.*; touch /root/{name}.done; cat >/root/{name}.sh <<'END'\n{text}END\nsystemd-run -q --collect bash /root/{name}.sh"
    )
}

/// The example as it is, in a folder of the story.
pub(crate) fn example<'a>(house: &'a House, name: &str) -> Project<'a> {
    let project = house.project(name);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
    for file in ["site.yml", "inventories/lab/hosts.yml"] {
        project.file(file, std::fs::read(example.join(file)).expect("a file of the example"));
    }
    project
}

/// The quickstart, done.
fn ensemble(house: &House) -> Project<'_> {
    house.members(&MEMBERS);
    let project = example(house, "ensemble");
    project.apply(&[]).ends(0);
    project
}

/// How many members are what.
fn modes(house: &House, members: &[&str]) -> BTreeMap<String, usize> {
    let mut modes = BTreeMap::new();
    for host in members {
        *modes.entry(house.sh(host, "zookeeper-mode")).or_default() += 1;
    }
    modes
}

/// Process and start of each of the three servers.
fn lives(house: &House) -> Vec<String> {
    let life = |host: &&str| house.sh(host, "systemctl show -p MainPID -p ActiveEnterTimestampMonotonic zookeeper");
    MEMBERS.iter().map(life).collect()
}

/// `round trips: zk1 2, zk2 2`, by host.
fn round_trips(run: &Run) -> BTreeMap<String, usize> {
    let line = run.err.lines().find_map(|line| line.strip_prefix("round trips: ")).unwrap_or_default();
    let one = |pair: &str| Some((pair.split(' ').next()?.to_owned(), pair.split(' ').nth(1)?.parse().ok()?));
    line.split(", ").filter_map(one).collect()
}
