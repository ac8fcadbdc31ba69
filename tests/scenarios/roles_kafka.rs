//! Kafka at work: records through every change, on three real hosts.

use std::fmt::Write as _;
use std::fs::{read_to_string, write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::artifacts::serve;
use crate::house::{House, until};

/// The members. The first also produces and consumes.
const HOSTS: [&str; 3] = ["k1", "k2", "k3"];

const CLUSTER: &str = "3Kq0vVf1TZy6jCkYwq2eXA";

/// Three members; a producer of whom no acknowledged record is lost while all restart; one killed, one without its disk.
pub(crate) fn kafka(house: &House) {
    house.fresh(&HOSTS);
    let project = house.project("kafka");
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("roles/kafka/files/kafka-4.4.0.lock");
    let mirror = serve(house, maven_repository(&lock));
    project.hosts(&HOSTS);
    let site = |more: &str| {
        let vars = format!("maven_mirror: \"{mirror}\", cluster_id: {CLUSTER}, heap: 256M{more}");
        project.file("site.yml", format!("services:\n  kafka: {{ hosts: all_hosts, vars: {{ {vars} }} }}\n"))
    };
    site("");
    project.apply(&[]).ends(0).says("Converged");
    project.is_empty();
    let leaders = || {
        let states = HOSTS.map(|host| house.sh(host, "kafka-state"));
        states.iter().filter(|state| state.starts_with("leader")).count()
    };
    assert_eq!(leaders(), 1);

    // One input: every member restarts, one at a time, while somebody writes. kcat ends well only if all were acknowledged.
    house.sh("k1", "kafka topics --create --topic stars --partitions 3");
    let brokers = HOSTS.map(|host| format!("{}:9092", house.address(host))).join(",");
    let numbers = "n=0; while [ ! -e /tmp/enough ]; do n=$((n+1)); echo $n; sleep 0.02; done; echo $n >/tmp/count";
    let send =
        format!("kcat -P -b {brokers} -t stars -X acks=all -X enable.idempotence=true -X message.timeout.ms=120000");
    let producer = format!("({numbers}) | {send} >/tmp/said 2>&1; echo $? >/tmp/ended");
    house.sh("k1", &format!("setsid sh -c '{producer}' >/dev/null 2>&1 &"));
    until("records arrive", || house.holds("k1", &format!("kcat -C -b {brokers} -t stars -c 3 -e -q | grep -q .")));
    let lives = || HOSTS.map(|host| house.sh(host, "systemctl show -p MainPID kafka"));
    let before = lives();
    site(", retention: 2d");
    project.converges();
    assert!(lives().iter().zip(&before).all(|(now, before)| now != before), "{before:?}");
    house.sh("k1", "touch /tmp/enough");
    until("the producer ends", || house.holds("k1", "test -e /tmp/ended"));
    assert_eq!(house.sh("k1", "cat /tmp/ended"), "0", "{}", house.sh("k1", "cat /tmp/said"));
    let all_there = || {
        let read = format!("kcat -C -b {brokers} -t stars -e -q | sort -n | uniq");
        assert!(house.holds("k1", &format!("{read} >/tmp/got; seq $(cat /tmp/count) | cmp - /tmp/got")));
    };
    all_there();

    // A member that is killed is missed, however quickly systemd starts it again.
    house.sh("k2", "systemctl kill -s KILL kafka");
    project.plan(&["--detailed-exitcode"]).ends(2).says("unhealthy now: k2");
    project.converges();
    // So is one whose disk is empty: it is another voter, and gets its copies back.
    house.sh("k3", "systemctl stop kafka; rm -r /var/lib/kafka");
    project.plan(&["--detailed-exitcode"]).ends(2).says("unhealthy now: k3").says("not running");
    project.converges();
    assert_eq!(leaders(), 1);
    assert_eq!(house.sh("k3", "kafka-members | wc -l"), "3");
    all_there();

    // What Prometheus would get.
    let metrics = "exec 3<>/dev/tcp/127.0.0.1/7071; printf \"GET /metrics HTTP/1.0\\r\\n\\r\\n\" >&3; cat <&3";
    let lacking = "kafka_server_replicamanager_underreplicatedpartitions";
    let metrics = format!("timeout 20 bash -c '{metrics}' | grep '^{lacking} '");
    for host in HOSTS {
        assert_eq!(house.sh(host, &metrics), format!("{lacking} 0.0"), "{host}");
    }

    project.run(&["destroy", "lab", "--lab", "--confirm", "lab"]).ends(0);
    for host in HOSTS {
        let left = "ls -d /opt/kafka* /etc/kafka /etc/systemd/system/kafka* /usr/local/bin/kafka* 2>/dev/null; pgrep -l java; true";
        assert_eq!(house.sh(host, left), "", "{host}");
        assert!(house.holds(host, "test -s /var/lib/kafka/data/meta.properties"), "{host}: the records stay");
    }
}

/// A folder with the jars of a lock file, laid out as a Maven repository. Lab hosts reach none, so they are fetched here,
/// once per checkout, several at the same time.
pub(crate) fn maven_repository(lock: &Path) -> PathBuf {
    /// Stories with the same jars run at the same time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let name = lock.file_name().expect("a name").to_string_lossy();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("maven").join(&*name);
    std::fs::create_dir_all(&folder).expect("a folder for jars");
    let text = read_to_string(lock).expect("the lock file");
    let (mut wanted, mut sums) = (String::new(), String::new());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, digest) = line.split_once(" sha256:").expect("a name and a digest");
        let parts: Vec<_> = name.split(':').collect();
        let [group, artifact, version, classifier @ ..] = parts.as_slice() else { panic!("{line}") };
        let suffix = classifier.iter().map(|word| format!("-{word}")).collect::<Vec<_>>().concat();
        let path = format!("{}/{artifact}/{version}/{artifact}-{version}{suffix}.jar", group.replace('.', "/"));
        let _ = writeln!(sums, "{digest}  {path}");
        if !folder.join(&path).exists() {
            let _ = writeln!(wanted, "url = \"https://repo.maven.apache.org/maven2/{path}\"\noutput = \"{path}.part\"");
        }
    }
    write(folder.join("sums"), sums).expect("a list of digests");
    write(folder.join("wanted"), &wanted).expect("a list for curl");
    let script =
        "[ ! -s wanted ] || curl -fsSL --no-progress-meter --retry 3 --create-dirs --parallel --parallel-max 12 --config wanted
        find . -name '*.part' | while read -r part; do mv $part ${part%.part}; done
        sha256sum --quiet --check sums";
    #[expect(clippy::disallowed_methods, reason = "curl knows this machine's proxy and certificates")]
    let status = Command::new("sh").args(["-e", "-c", script]).current_dir(&folder).status().expect("sh starts");
    assert!(status.success(), "the jars of {name} cannot be fetched");
    folder
}
