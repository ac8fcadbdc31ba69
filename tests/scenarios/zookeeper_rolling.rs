//! An ensemble that changes while a foreign client writes to it all the time.
//!
//! In: five members and a host with kazoo, the Python client, from Debian. Out: what the client and somebody who asks all
//! members saw. Never: a write that was acknowledged and is gone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use armilla::lab::Power;

use crate::house::{House, until};
use crate::project::Project;

const MEMBERS: [&str; 5] = ["zk1", "zk2", "zk3", "zk4", "zk5"];
const CLIENT: &str = "c1";

/// A setting changes on five members: one restarts after the other, the leader last, and the client goes on in one session.
pub(crate) fn rolls_under_writes(house: &House) {
    let (project, sync_limit) = five(house);
    let leader = leader(house, &MEMBERS);
    let before = lives(house, &MEMBERS);
    let client = Client::start(house, &MEMBERS);
    inventory(&project, "zk[1:5]", "", &limit(sync_limit + 1));
    project.apply(&[]).ends(0).says("Converged");
    let seen = client.stop();
    seen.print("five members roll");

    let after = lives(house, &MEMBERS);
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "every member restarted");
    let order = restarts(house, &MEMBERS);
    assert_eq!(order.last().map(String::as_str), Some(leader.as_str()), "the leader is the last of {order:?}");
    seen.lost_nothing(house, &MEMBERS);
    assert_eq!(seen.lowest, 4, "of five members, so many answered at the worst moment");
    project.is_empty();
}

/// From three to five members and back, each by one apply: no old member restarts, the list changes by one at a time, and
/// who leaves is gone from the list before its service is gone. The leader is among them.
pub(crate) fn grows_and_shrinks(house: &House) {
    house.fresh(&MEMBERS);
    house.up(&[CLIENT]);
    let (three, two) = MEMBERS.split_at(3);
    let project = house.project("grows");
    project.file("site.yml", "services:\n  zookeeper: { hosts: zookeepers }\n");
    inventory(&project, "zk[1:3]", "", "");
    project.apply(&[]).ends(0);
    let before = lives(house, three);
    forbids(house);

    let client = Client::start(house, three);
    inventory(&project, "zk[1:5]", "", "");
    project.apply(&[]).ends(0).says("Converged");
    let seen = client.stop();
    seen.print("3 -> 5");
    assert_eq!(lives(house, three), before, "no old member restarts for a new one");
    assert_eq!(sizes(house), [3, 3, 4, 5], "so many members had the list, one time after the other");
    seen.lost_nothing(house, &MEMBERS);
    assert_eq!(seen.lowest, 3, "all old members answered all the time");
    project.is_empty();

    until("the leader is one of those that leave", || {
        let leader = leader(house, &MEMBERS);
        two.contains(&leader.as_str()) || !house.holds(&leader, "systemctl restart zookeeper")
    });
    all_in_sync(house);
    let before = lives(house, three);
    let client = Client::start(house, three);
    inventory(&project, "zk[1:3]", "  others: { hosts: \"zk[4:5]\" }\n", "");
    project.apply(&["--max-removals", "40"]).ends(0).says("Converged");
    let seen = client.stop();
    seen.print("5 -> 3");
    assert_eq!(lives(house, three), before, "no member that stays restarts");
    assert_eq!(sizes(house), [3, 3, 4, 5, 4, 3]);
    seen.lost_nothing(house, three);
    for host in two {
        assert!(!house.holds(host, "systemctl is-active -q zookeeper"), "{host} no longer runs it");
    }
    project.is_empty();
}

/// With a member down, whoever took it down, a change of the others is refused, and the member is named.
pub(crate) fn never_below_the_quorum(house: &House) {
    let (project, sync_limit) = five(house);
    let leader = leader(house, &MEMBERS);
    // Without its leader an ensemble is not healthy for a while.
    let (down, up) = match leader.as_str() {
        "zk5" => ("zk4", ["zk1", "zk2", "zk3", "zk5"]),
        _ => ("zk5", ["zk1", "zk2", "zk3", "zk4"]),
    };
    house.lab().kill(&[down], &mut |_| {}).expect("the plug is pulled");
    let before = lives(house, &up);
    inventory(&project, "zk[1:5]", "", &limit(sync_limit + 1));
    project.apply(&[]).ends(1).says(&format!("3 of 5 healthy, and `keep_healthy` requires 4: {down}"));
    assert_eq!(lives(house, &up), before, "nothing restarted");
    assert_eq!(current_limit(house), sync_limit, "and nothing was written");
    house.lab().boot(&[down], &mut |_| {}).expect("it boots");
    all_in_sync(house);
    project.apply(&[]).ends(0).says("Converged");
    assert_eq!(current_limit(house), sync_limit + 1);
}

/// A port that cannot be bound stops at the first member, which is put back as it was; also if the program is killed
/// while it does that, and gone on with.
pub(crate) fn f28_bad_port_is_put_back(house: &House) {
    let (project, sync_limit) = five(house);
    impatient(&project);
    let leader = leader(house, &MEMBERS);
    let before = lives(house, &MEMBERS);
    inventory(&project, "zk[1:5]", "", &(limit(sync_limit) + ", client_port: 22"));
    project.apply(&[]).ends(5).says("zookeeper rolled back to the state before this run");
    as_it_was(house, &before, &leader);

    let before = lives(house, &MEMBERS);
    let mut run = project.start(&["apply", "lab", "--lab", "-y"]);
    drop(run.child.stdin.take());
    until("it is being put back", || !run.runs() || run.said().contains("rolling back"));
    run.child.kill().expect("it is killed");
    run.wait();
    project.run(&["resume", "-y"]).ends(5);
    as_it_was(house, &before, &leader);
}

/// One member was tried; all serve on the old port, and the leader is who it was.
fn as_it_was(house: &House, before: &[String], leader: &str) {
    all_in_sync(house);
    let after = lives(house, &MEMBERS);
    let tried = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert_eq!(tried, 1, "one member was tried: {before:?} {after:?}");
    for host in MEMBERS {
        let old = "! grep -rqw 'clientPort=22' /etc/zookeeper/conf && zookeeper-mode --commits";
        assert!(house.holds(host, old), "{host} is not as it was");
    }
    assert_eq!(self::leader(house, &MEMBERS), leader);
}

fn all_in_sync(house: &House) {
    until("all are in sync", || MEMBERS.iter().all(|host| house.holds(host, "zookeeper-mode --in-sync")));
}

/// One server becomes an ensemble: its data is what all have then.
pub(crate) fn one_becomes_three(house: &House) {
    let three = &MEMBERS[..3];
    house.fresh(three);
    let project = house.project("one");
    project.file("site.yml", "services:\n  zookeeper: { hosts: zookeepers }\n");
    inventory(&project, "zk1", "", ", allow_single: true");
    project.apply(&[]).ends(0);
    house.sh("zk1", "zookeeper-cli create /kept yes");
    let before = lives(house, &["zk1"]);
    inventory(&project, "zk[1:3]", "", "");
    project.apply(&[]).ends(0).says("Converged");
    assert_eq!(lives(house, &["zk1"]), before);
    assert_eq!(sizes(house), [1, 1, 2, 3]);
    assert!(house.sh("zk3", "zookeeper-cli get /kept 2>/dev/null").contains("yes"));
    project.is_empty();
}

/// An ensemble whose configuration still names its members, as the role once wrote it: one restart each, and its data
/// and its members stay.
pub(crate) fn moves_to_the_list(house: &House) {
    let three = &MEMBERS[..3];
    house.fresh(three);
    let project = house.project("moves");
    project.file("site.yml", "services:\n  zookeeper: { hosts: zookeepers }\n");
    // A member that does not take changes of the list yet begins each election anew that one who does takes part in. On a
    // busy machine none must become necessary before all have moved.
    inventory(&project, "zk[1:3]", "", ", sync_limit: 30");
    project.apply(&[]).ends(0);
    house.sh("zk1", "zookeeper-cli create /kept yes");
    let lines: Vec<String> =
        three.iter().zip(1..).map(|(host, id)| format!("server.{id}={}:2888:3888", house.address(host))).collect();
    for host in three {
        house.sh(host, "systemctl stop zookeeper");
        house.sh(host, &OLDER.replace("LINES", &lines.join("\\n")));
    }
    until("the older ensemble serves", || three.iter().all(|host| house.holds(host, "zookeeper-mode")));
    let before = lives(house, three);
    project.apply(&[]).ends(0).says("Converged");
    let after = lives(house, three);
    assert!(before.iter().zip(&after).all(|(before, after)| before != after));
    assert_eq!(sizes(house), [3, 3]);
    catches_up(house, "zk3");
    assert!(house.sh("zk3", "zookeeper-cli get /kept 2>/dev/null").contains("yes"));
    project.is_empty();
}

/// What the role wrote before it left the list to the ensemble.
const OLDER: &str = r"
set -e
rm -r /var/lib/zookeeper/config /run/zookeeper
printf 'LINES\n' >>/etc/zookeeper/conf/zoo.cfg
sed -i s/^reconfigEnabled=.*/reconfigEnabled=false/ /etc/zookeeper/conf/zoo.cfg
unit=/etc/systemd/system/zookeeper.service
sed -i '/zookeeper-members/d; /^# By root/d; s,@/run/zookeeper/super.args ,,; s,/var/lib/zookeeper/config/zoo.cfg,/etc/zookeeper/conf/zoo.cfg,' $unit
systemctl daemon-reload
systemctl start zookeeper
";

/// Five healthy members and a client, and the `sync_limit` that they have: those that an earlier story left, if they are
/// well.
fn five(house: &House) -> (Project<'_>, u32) {
    let there = house.lab().hosts().expect("the hosts are listed");
    let on = |name: &str| there.iter().any(|host| host.name == name && host.power == Power::On);
    let well = "test \"$(zookeeper-members | grep -c :participant)\" = 5 && zookeeper-mode --in-sync";
    let there = MEMBERS.iter().all(|name| on(name) && house.holds(name, well));
    if !there {
        house.fresh(&MEMBERS);
    }
    house.up(&[CLIENT]);
    let project = house.project("five");
    project.file("site.yml", "services:\n  zookeeper: { hosts: zookeepers }\n");
    let sync_limit = if there { current_limit(house) } else { 5 };
    inventory(&project, "zk[1:5]", "", &limit(sync_limit));
    project.apply(&[]).ends(0);
    (project, sync_limit)
}

/// More variables of the members.
fn limit(sync_limit: u32) -> String {
    format!(", sync_limit: {sync_limit}")
}

fn current_limit(house: &House) -> u32 {
    house.sh("zk1", "sed -n s/^syncLimit=//p /etc/zookeeper/conf/zoo.cfg").parse().expect("a number")
}

/// The role as it is, with a gate that gives a member up sooner: it is waited for until then.
fn impatient(project: &Project<'_>) {
    let mut open = vec![PathBuf::from("roles/zookeeper")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder)).expect("a folder of the role") {
            let (name, path) = entry.map(|entry| (entry.file_name(), entry.path())).expect("a part of the role");
            let name = folder.join(name);
            if path.is_dir() {
                open.push(name);
                continue;
            }
            let text = fs::read_to_string(path).expect("a text of the role");
            let text = if name.ends_with("role.yml") { sooner(&text) } else { text };
            project.file(name.to_str().expect("a name in UTF-8"), text);
        }
    }
}

fn sooner(role: &str) -> String {
    assert_eq!(role.matches("      within: 90s\n").count(), 1, "the gate of a member that is not in sync");
    role.replace("      within: 90s\n", "      within: 30s\n")
}

/// Members, other groups, and more variables of the members.
fn inventory(project: &Project<'_>, members: &str, others: &str, more: &str) {
    let members = format!("  zookeepers: {{ hosts: \"{members}\", vars: {{ heap: 96M{more} }} }}\n");
    project.file("inventories/lab/hosts.yml", format!("groups:\n{members}{others}"));
}

/// Who cannot read root's password on a member cannot change the list, with a session that anybody can have.
fn forbids(house: &House) {
    let said = house.sh("zk1", "runuser -u nobody -- zookeeper-cli reconfig -remove 3 2>&1; true");
    assert!(said.contains("Insufficient permission"), "{said}");
    assert!(!house.holds("zk1", "runuser -u zookeeper -- cat /run/zookeeper/secret"), "not even the server's account");
    assert!(
        !house.holds("zk1", "grep -rlF \"$(cat /run/zookeeper/secret)\" /etc /var/lib/zookeeper /proc/[0-9]*/cmdline")
    );
}

/// How many voting members each list had that a first member was told of.
fn sizes(house: &House) -> Vec<usize> {
    let script = "cd /var/lib/zookeeper/config; for v in $(ls | sed -n 's/^zoo.cfg.dynamic.\\([0-9a-f]*\\)$/\\1/p' | while read v; do echo $((0x$v)) $v; done | sort -n | cut -d' ' -f2); do grep -c '^server.*:participant' zoo.cfg.dynamic.$v || grep -c ^server zoo.cfg.dynamic.$v; done";
    house.sh("zk1", script).lines().filter_map(|line| line.parse().ok()).filter(|size| *size > 0).collect()
}

/// The one that leads.
fn leader(house: &House, members: &[&str]) -> String {
    let mut found = None;
    until("one leads", || {
        found = members.iter().find(|host| house.holds(host, "test \"$(zookeeper-mode)\" = leader"));
        found.is_some()
    });
    (*found.expect("a leader")).to_owned()
}

/// Process and start of each server.
fn lives(house: &House, members: &[&str]) -> Vec<String> {
    let life = |host: &&str| house.sh(host, "systemctl show -p MainPID -p ActiveEnterTimestampMonotonic zookeeper");
    members.iter().map(life).collect()
}

/// The members by the time of their last start.
fn restarts(house: &House, members: &[&str]) -> Vec<String> {
    let start = |host: &&str| {
        let at = house.sh(host, "systemctl show --timestamp=unix -p ActiveEnterTimestamp --value zookeeper");
        (at, (*host).to_owned())
    };
    let mut starts: Vec<_> = members.iter().map(start).collect();
    starts.sort();
    starts.into_iter().map(|(_, host)| host).collect()
}

/// Writes, and asks every member whether it answers, until it is stopped.
struct Client<'a> {
    house: &'a House,
}

impl<'a> Client<'a> {
    fn start(house: &'a House, members: &[&str]) -> Self {
        if !house.holds(CLIENT, "python3 -c 'import kazoo'") {
            house.sh(CLIENT, "apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends python3-kazoo");
        }
        let members: Vec<String> = members.iter().map(|host| format!("{}:2181", house.address(host))).collect();
        house.sh(CLIENT, "rm -f /root/stop /root/acknowledged /root/seen.json");
        house.sh(CLIENT, &format!("cat >/root/client.py <<'END'\n{KAZOO}END"));
        house.sh(
            CLIENT,
            &format!("systemd-run -q --collect --unit=client python3 /root/client.py {}", members.join(",")),
        );
        let client = Self { house };
        until("the client writes", || client.acknowledged() > 10);
        client
    }

    fn acknowledged(&self) -> usize {
        self.house.sh(CLIENT, "cat /root/acknowledged 2>/dev/null | wc -l").parse().expect("a number")
    }

    /// Ends once it has written on for a while after the change.
    fn stop(self) -> Seen {
        let written = self.acknowledged();
        until("the client writes on", || self.acknowledged() > written + 20);
        self.house.sh(CLIENT, "touch /root/stop");
        until("it has ended", || self.house.holds(CLIENT, "test -e /root/seen.json"));
        let text = self.house.sh(CLIENT, "cat /root/seen.json");
        let seen: serde_json::Value = serde_json::from_str(&text).expect("what it saw");
        let number = |key: &str| seen[key].as_u64().unwrap_or_else(|| panic!("{key} in {text}"));
        let names = self.house.sh(CLIENT, "cat /root/acknowledged");
        Seen {
            acknowledged: names.lines().map(str::to_owned).collect(),
            errors: number("errors"),
            longest_gap: number("longest_gap_ms"),
            sessions: number("sessions"),
            lowest: number("lowest"),
        }
    }
}

/// What a client saw.
struct Seen {
    /// The nodes whose creation was acknowledged.
    acknowledged: Vec<String>,
    /// Writes without an answer.
    errors: u64,
    /// The longest time between two acknowledged writes, in milliseconds.
    longest_gap: u64,
    /// One, unless a session was lost.
    sessions: u64,
    /// The fewest members that answered at a time.
    lowest: u64,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, errors, longest_gap, sessions, lowest } = self;
        let writes = acknowledged.len();
        write!(f, "{writes} writes acknowledged, {errors} errors, longest gap {longest_gap} ms, ")?;
        write!(f, "{sessions} session, at least {lowest} members answered")
    }
}

impl Seen {
    #[expect(clippy::print_stdout, reason = "these numbers are what the story is told for")]
    fn print(&self, what: &str) {
        println!("{what}: {self}");
    }

    /// Every acknowledged write is on every member, and the client kept its session: it was never longer without a quorum
    /// than a session lasts.
    #[track_caller]
    fn lost_nothing(&self, house: &House, members: &[&str]) {
        for host in members {
            let all = nodes(house, host);
            let lost: Vec<&String> = self.acknowledged.iter().filter(|node| !all.contains(*node)).collect();
            assert!(lost.is_empty(), "{host} has not: {lost:?}; {self}");
        }
        assert_eq!(self.sessions, 1, "{self}");
        assert!(self.longest_gap < 10_000, "{self}");
    }
}

/// Waits until a member serves and has all that its leader had: after the leader changed, another member may still be
/// looking for the new one.
pub(crate) fn catches_up(house: &House, host: &str) {
    until("the member has what its leader has", || house.holds(host, "zookeeper-mode --commits"));
}

/// The nodes below `/w`, as a member has them that has caught up. Who asks waits for its connection first: what it says of
/// it comes in the middle of the list otherwise.
pub(crate) fn nodes(house: &House, host: &str) -> BTreeSet<String> {
    catches_up(house, host);
    let said = house.sh(host, "zookeeper-cli -waitforconnection ls /w 2>&1");
    let list = said.lines().last().and_then(|line| line.strip_prefix('[')?.strip_suffix(']'));
    list.unwrap_or_else(|| panic!("{host} lists no nodes: {said}")).split(", ").map(str::to_owned).collect()
}

/// Creates nodes one after the other in one session; a second thread asks all members all the time.
const KAZOO: &str = r#"
import json, os, socket, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from kazoo.client import KazooClient

members = [m.rsplit(":", 1) for m in sys.argv[1].split(",")]
lowest, stop = len(members), False

# Who loses its leader closes every connection without a word, and answers the next.
def answers(host, port):
    return any(asked(host, port) for _ in range(2))

def asked(host, port):
    try:
        with socket.create_connection((host, int(port)), 1) as s:
            s.settimeout(2)
            s.sendall(b"ruok")
            return s.recv(16) == b"imok"
    except OSError:
        return False

# All at the same moment: one after the other, two that were away one after the other could count as two.
def watch():
    global lowest
    with ThreadPoolExecutor(len(members)) as pool:
        while not stop:
            lowest = min(lowest, sum(pool.map(lambda m: answers(*m), members)))
            time.sleep(0.02)

client = KazooClient(hosts=sys.argv[1], timeout=10)
client.start(30)
client.ensure_path("/w")
sessions, errors, gap, last, n = {client.client_id[0]}, 0, 0.0, time.monotonic(), 0
run = str(int(time.time()))
watcher = threading.Thread(target=watch)
watcher.start()
with open("/root/acknowledged", "w", buffering=1) as acknowledged:
    while not os.path.exists("/root/stop"):
        n += 1
        name = f"{run}-{n:06}"
        try:
            client.create("/w/" + name, b"x")
            now = time.monotonic()
            gap, last = max(gap, now - last), now
            acknowledged.write(name + "\n")
            sessions.add(client.client_id[0])
        except Exception as why:
            errors += 1
            print("no answer:", name, repr(why), flush=True)
        time.sleep(0.01)
stop = True
watcher.join()
with open("/root/seen.tmp", "w") as out:
    json.dump({"errors": errors, "longest_gap_ms": int(gap * 1000), "sessions": len(sessions), "lowest": lowest}, out)
os.rename("/root/seen.tmp", "/root/seen.json")
"#;
