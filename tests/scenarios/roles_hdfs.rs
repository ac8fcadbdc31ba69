//! HDFS on real hosts: files are read and written, also while a `DataNode` is away, and stay when the roles go.

use std::path::Path;

use crate::artifacts::serve;
use crate::house::House;
use crate::roles_kafka::maven_repository;

const HOSTS: [&str; 2] = ["d1", "d2"];

/// The jars of all Hadoop roles.
pub(crate) const LOCK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/roles/hadoop-common/files/hadoop-3.5.0.lock");

/// A `NameNode` and two `DataNodes`.
pub(crate) fn hdfs(house: &House) {
    house.fresh(&HOSTS);
    let project = house.project("hdfs");
    let mirror = serve(house, maven_repository(Path::new(LOCK)));
    project.file(
        "inventories/lab/hosts.yml",
        format!(
            "groups:\n  all_hosts: {{ hosts: [d1, d2] }}\nvars: {{ maven_mirror: \"{mirror}\", heap: 256M, replication: 2 }}\n"
        ),
    );
    let site = |more: &str| project.file("site.yml", SITE.replace("MORE", more));

    // One NameNode: two would be two file systems.
    project.file("site.yml", "services:\n  hdfs-namenode: { hosts: all_hosts }\n");
    project.run(&["validate", "lab"]).ends(1).says("2 hosts would be 2 file systems");

    site("");
    project.apply(&[]).ends(0).says("Converged");
    project.is_empty();
    let written = house.sh(
        "d1",
        &format!(
            "head -c 5000000 /dev/urandom >/tmp/file; {ADA} fs -put /tmp/file /user/ada/file; sha256sum </tmp/file"
        ),
    );
    let is_there = |host: &str| {
        assert_eq!(house.sh(host, &format!("{ADA} fs -cat /user/ada/file | sha256sum")), written, "{host}");
    };
    is_there("d2");
    let others = "HADOOP_USER_NAME=bob hadoop fs -cat /user/ada/file 2>&1 || true";
    assert!(house.sh("d2", others).contains("Permission denied"));

    // One DataNode dies: it is missed, and files are read and written all the same.
    house.sh("d1", "systemctl kill -s KILL hdfs-datanode; systemctl stop hdfs-datanode");
    let plan = project.plan(&["--detailed-exitcode"]).ends(2);
    plan.says("unhealthy now: d1").says("not answering").says("! start hdfs-datanode");
    is_there("d1");
    house.sh(
        "d1",
        &format!("{ADA} fs -put /etc/passwd /user/ada/other && {ADA} fs -cat /user/ada/other | cmp - /etc/passwd"),
    );
    project.converges();

    // One input, and DataNodes restart in their turn, but not the NameNode.
    let life = |host: &str, unit: &str| house.sh(host, &format!("systemctl show -p MainPID {unit}"));
    let lives = || HOSTS.map(|host| life(host, "hdfs-datanode"));
    let (before, name_node) = (lives(), life("d1", "hdfs-namenode"));
    site(", vars: { reserved: 2G }");
    project.converges();
    assert!(lives().iter().zip(&before).all(|(now, before)| now != before), "{before:?}");
    assert_eq!(life("d1", "hdfs-namenode"), name_node);

    // A disk with the names that is not mounted: no other file system is made in its place.
    house.sh("d1", "systemctl stop hdfs-namenode; mv /var/lib/hdfs/name /var/lib/hdfs/away; install -d -o hdfs -g hadoop -m 0700 /var/lib/hdfs/name");
    project.apply(&[]).ends(5).says("was formatted before: is its disk mounted?");
    assert_eq!(house.sh("d1", "ls -A /var/lib/hdfs/name"), "");
    house.sh("d1", "rmdir /var/lib/hdfs/name; mv /var/lib/hdfs/away /var/lib/hdfs/name");
    project.converges();
    is_there("d2");

    project.run(&["destroy", "lab", "--lab", "--confirm", "lab"]).ends(0);
    for host in HOSTS {
        let left = "ls -d /opt/hadoop* /etc/hadoop /usr/local/share/hadoop /usr/local/bin/h* /etc/systemd/system/hdfs* 2>/dev/null; pgrep -l java; true";
        assert_eq!(house.sh(host, left), "", "{host}");
        assert!(house.holds(host, "find /var/lib/hdfs/data -name 'blk_*.meta' | grep -q ."), "{host}: blocks stay");
    }
    assert!(house.holds("d1", "test -s /var/lib/hdfs/name/current/VERSION"), "names stay");
}

/// The command line as a user.
const ADA: &str = "HADOOP_USER_NAME=ada hadoop";

/// The `NameNode` leaves its safe mode as soon as it knows all blocks, not half a minute later.
const SITE: &str = "
services:
  hdfs-namenode:
    hosts: d1
    vars: { directories: [{ path: /user/ada, owner: ada }], settings: { dfs.namenode.safemode.extension: 1000 } }
  hdfs-datanode: { hosts: all_hosts MORE }
";
