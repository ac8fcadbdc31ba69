//! Cassandra at work: rows through every change, on two real hosts.

use std::path::Path;

use crate::artifacts::serve;
use crate::house::House;
use crate::roles_kafka::maven_repository;

/// The members. The second joins after the first.
const HOSTS: [&str; 2] = ["c1", "c2"];

const PASSWORD: &str = "dust of stars";

/// Two members with a password; rows with one of them killed; all restart for one input; removal leaves the rows.
pub(crate) fn cassandra(house: &House) {
    house.fresh(&HOSTS);
    let project = house.project("cassandra");
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("roles/cassandra/files/cassandra-5.0.9.lock");
    let mirror = serve(house, maven_repository(&lock));
    project.hosts(&HOSTS);
    let site = |more: &str| {
        let vars =
            format!("maven_mirror: \"{mirror}\", cluster_name: Stars, allow_few: true, heap: 384M, ring_delay: 5s");
        let login = format!("authentication: true, password: \"{PASSWORD}\"");
        let vars = format!("{vars}, {login}{more}");
        project.file("site.yml", format!("services:\n  cassandra: {{ hosts: all_hosts, vars: {{ {vars} }} }}\n"))
    };
    site("");
    project.apply(&[]).ends(0).says("Converged");
    project.is_empty();
    let ring = "nodetool status | grep -c '^UN'";
    assert_eq!(house.sh("c1", ring), "2");

    // Whoever knows the password, and nobody else.
    let cql =
        |host: &str, level: &str, text: &str| house.ask(host, &format!("echo \"{text}\" | cassandra-cql -c {level}"));
    let done = |host: &str, level: &str, text: &str| {
        let output = cql(host, level, text);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{host}: {text}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let known = "printf 'cassandra\\ncassandra\\n' >/tmp/known; echo 'SELECT key FROM system.local' | cassandra-cql -u /tmp/known";
    assert!(!house.holds("c1", known), "the well-known password is accepted");

    // Two copies: both are written, one answers alone, and the quorum of two is both.
    let two = "{'class': 'NetworkTopologyStrategy', 'dc1': '2'}";
    done("c1", "ONE", &format!("CREATE KEYSPACE sky WITH replication = {two}"));
    done("c1", "ONE", "CREATE TABLE sky.stars (name text PRIMARY KEY, magnitude int)");
    let insert = |number: u8| format!("INSERT INTO sky.stars (name, magnitude) VALUES ('star {number}', {number})");
    for number in 0..10 {
        done("c2", "QUORUM", &insert(number));
    }
    // A member that is killed is missed by the plan and by a quorum, however quickly systemd starts it again.
    house.sh("c2", "systemctl kill -s KILL cassandra");
    assert_eq!(done("c1", "ONE", "SELECT count(*) FROM sky.stars"), "10");
    assert!(!cql("c1", "QUORUM", &insert(10)).status.success(), "one of two is a quorum");
    done("c1", "ONE", &insert(10));
    project.plan(&["--detailed-exitcode"]).ends(2).says("unhealthy now: c2");

    // One input: it is repaired, all restart, one at a time, and what was written is there.
    let lives = || HOSTS.map(|host| house.sh(host, "systemctl show -p MainPID cassandra"));
    let before = lives();
    site(", settings: { concurrent_reads: 16 }");
    project.converges();
    assert!(lives().iter().zip(&before).all(|(now, before)| now != before), "{before:?}");
    assert!(house.holds("c1", "journalctl -u cassandra -o cat | grep -q DRAINED"), "it drains before it stops");
    assert_eq!(done("c2", "ALL", "SELECT count(*) FROM sky.stars"), "11");

    project.run(&["destroy", "lab", "--lab", "--confirm", "lab"]).ends(0);
    for host in HOSTS {
        let left = "ls -d /opt/cassandra* /etc/cassandra /etc/systemd/system/cassandra* /usr/local/bin/{cassandra*,nodetool} 2>/dev/null; pgrep -l java; true";
        assert_eq!(house.sh(host, &format!("bash -c \"{left}\"")), "", "{host}");
        assert!(house.holds(host, "test -d /var/lib/cassandra/ring/data/sky"), "{host}: the rows stay");
    }
}
