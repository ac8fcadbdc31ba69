//! The built-in roles at work: installed, in sync, broken, changed and removed, on real hosts.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::artifacts::serve;
use crate::house::{House, until};

/// Prometheus and Alertmanager on one host, nginx and dnsmasq on another, exporters on both.
pub(crate) fn monitoring(house: &House) {
    const HOSTS: [&str; 2] = ["h1", "h2"];
    house.fresh(&HOSTS);
    let project = house.project("monitoring");
    project.hosts(&HOSTS);
    let site = |prometheus: &str| project.file("site.yml", MONITORING.replace("PROMETHEUS", prometheus));
    site("{ interval: 1s }");
    project.apply(&[]).ends(0).says("Converged");
    project.is_empty();

    // A client: the name, the proxy, the database, the targets.
    let dns = house.sh("h2", "dnsmasq-check");
    assert_eq!(dns, "answers 8 names");
    until("all targets are up", || targets(house) == "4");
    let query = get("h2:80", "metrics.example.org", "/api/v1/query?query=node_uname_info");
    assert_eq!(house.sh("h1", &format!("{query} | grep -o '\"nodename\"' | wc -l")), "2");
    let other = get("h2:80", "other.example.org", "/");
    assert!(house.holds("h1", &format!("{other} | grep -q '^HTTP/1.1 404'")));

    // Each is missed when it is gone.
    for (host, unit) in [
        ("h1", "prometheus"),
        ("h1", "prometheus-alertmanager"),
        ("h2", "prometheus-node-exporter"),
        ("h2", "nginx"),
        ("h2", "dnsmasq"),
    ] {
        house.sh(host, &format!("systemctl stop {unit}"));
    }
    let plan = project.plan(&["--detailed-exitcode"]).ends(2);
    let plan = plan.says("unhealthy now: h1").says("unhealthy now: h2");
    plan.says("! start nginx").says("! start dnsmasq").says("! start prometheus-alertmanager");
    project.converges();

    // A reload keeps the process; one that promtool refuses changes nothing that runs.
    let life = || house.sh("h1", "systemctl show -p MainPID prometheus");
    let before = life();
    site("{ interval: 2s }");
    project.apply(&[]).ends(0).says("reload");
    assert_eq!(life(), before);
    let loaded = get("h1:9090", "h1", "/api/v1/status/config");
    until("it has loaded the file", || house.holds("h1", &format!("{loaded} | grep -q 'scrape_interval: 2s'")));
    site("{ interval: 2s, rules: [{ name: mine, rules: [{ alert: Bad, expr: \"up ==\" }] }] }");
    project.apply(&[]).ends(5).says("up ==").says("rolled back");
    assert!(house.holds("h1", "promtool check config /etc/prometheus/armilla/prometheus.yml"));
    let before = life();
    site("{ interval: 2s, retention: 2d }");
    project.converges();
    assert_ne!(life(), before);

    project.run(&["destroy", "lab", "--lab", "--confirm", "lab"]).ends(0);
    for host in HOSTS {
        let left = "ls -d /etc/prometheus/armilla* /etc/nginx/armilla /etc/armilla-dnsmasq /etc/systemd/system/{prometheus,nginx,dnsmasq}* 2>/dev/null; ps -eo comm= | grep -E '^(prometheus|nginx|dnsmasq)'; true";
        assert_eq!(house.sh(host, &format!("bash -c \"{left}\"")), "", "{host}");
    }
}

const MONITORING: &str = "
services:
  node-exporter: { hosts: all_hosts }
  alertmanager: { hosts: h1 }
  prometheus:
    hosts: h1
    needs: { node: node-exporter, alertmanager: alertmanager }
    vars: PROMETHEUS
  nginx:
    hosts: h2
    needs: { prometheus: prometheus }
    vars: { routes: [{ service: prometheus, name: metrics.example.org }] }
  dnsmasq:
    hosts: h2
    needs: { prometheus: prometheus, node: node-exporter }
    vars: { records: { printer: 192.0.2.7, router: 192.0.2.1 } }
";

/// How many targets Prometheus finds up.
fn targets(house: &House) -> String {
    let sum = get("h1:9090", "h1", "/api/v1/query?query=sum(up)");
    house.sh("h1", &format!("{sum} | sed -n 's/.*\"value\":\\[[0-9.]*,\"\\([0-9]*\\)\"\\].*/\\1/p'"))
}

/// A shell command that prints head and body of a page, with no program but bash.
fn get(server: &str, name: &str, path: &str) -> String {
    let (host, port) = server.split_once(':').expect("a port");
    let request = format!("GET {path} HTTP/1.1\\r\\nHost: {name}\\r\\nConnection: close\\r\\n\\r\\n");
    format!("timeout 5 bash -c 'exec 3<>/dev/tcp/{host}/{port}; printf \"{request}\" >&3; cat <&3'")
}

/// Two masters, of which one is active, two workers, the history of what they did.
pub(crate) fn spark(house: &House) {
    house.fresh(&HOSTS);
    let project = house.project("spark");
    let address = serve(house, archive());
    let vars = format!("spark_url: \"{address}/{ARCHIVE}\", heap: 256M, memory: 1G, cores: 1");
    let inventory = |more: &str| {
        let groups = "groups:\n  all_hosts: { hosts: [m1, m2] }\n";
        project.file("inventories/lab/hosts.yml", format!("{groups}vars: {{ {vars}{more} }}\n"))
    };
    inventory("");
    project.file("site.yml", SPARK);
    project.apply(&[]).ends(0).says("Converged");
    project.is_empty();
    let states = || {
        let mut states = HOSTS.map(|host| house.sh(host, "spark-master-state"));
        states.sort();
        states
    };
    assert_eq!(states(), ["ALIVE", "STANDBY"]);
    pi(house);
    let history = get("m1:18080", "m1", "/api/v1/applications");
    until("the history shows it", || house.holds("m1", &format!("{history} | grep -q '\"name\" : \"Pi\"'")));

    // A worker that is gone is missed, also by the master.
    house.sh("m2", "systemctl stop spark-worker");
    let plan = project.plan(&["--detailed-exitcode"]).ends(2);
    plan.says("unhealthy now: m2").says("not answering").says("! start spark-worker");
    project.converges();
    // So is a master that is killed, however quickly systemd starts it again.
    let active = HOSTS.into_iter().find(|host| house.sh(host, "spark-master-state") == "ALIVE").expect("one is active");
    house.sh(active, "systemctl kill -s KILL spark-master");
    project.plan(&["--detailed-exitcode"]).ends(2).says(&format!("unhealthy now: {active}"));
    project.converges();
    assert_eq!(states(), ["ALIVE", "STANDBY"]);

    // One input, and every daemon restarts in its turn.
    let lives = || HOSTS.map(|host| house.sh(host, "systemctl show -p MainPID spark-master spark-worker"));
    let before = lives();
    inventory(", keep_work: 1d, rest_port: 6066");
    project.converges();
    assert!(lives().iter().zip(&before).all(|(now, before)| now != before), "{before:?}");
    pi(house);

    project.run(&["destroy", "lab", "--lab", "--confirm", "lab"]).ends(0);
    for host in HOSTS {
        let left = "ls -d /opt/spark* /etc/spark /etc/systemd/system/spark* 2>/dev/null; pgrep -l java; true";
        assert_eq!(house.sh(host, left), "", "{host}");
    }
}

const SPARK: &str = "
services:
  zookeeper: { hosts: m1, vars: { allow_single: true } }
  spark-master: { hosts: all_hosts, needs: { zookeeper: zookeeper } }
  spark-worker: { hosts: all_hosts }
  spark-history: { hosts: m1 }
";

/// The hosts of the Spark cluster.
const HOSTS: [&str; 2] = ["m1", "m2"];

const ARCHIVE: &str = "pyspark-3.5.9.tar.gz";

/// The folder with the archive that the role names. Lab hosts reach no registry, so it is fetched here, once per checkout.
fn archive() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("archives");
    std::fs::create_dir_all(&folder).expect("a folder for archives");
    if !folder.join(ARCHIVE).exists() {
        let role = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/roles/spark-common/role.yml"));
        let role = role.expect("the role");
        let url =
            role.split('\'').find(|part| part.starts_with("https://") && part.ends_with(ARCHIVE)).expect("its address");
        let script = format!("curl -fsSL --retry 3 -o {ARCHIVE}.part {url} && mv {ARCHIVE}.part {ARCHIVE}");
        #[expect(clippy::disallowed_methods, reason = "curl knows this machine's proxy and certificates")]
        let status = Command::new("sh").args(["-c", &script]).current_dir(&folder).status().expect("sh starts");
        assert!(status.success(), "{url} cannot be fetched");
    }
    folder
}

/// An application of a user, which draws dots on executors of both workers. `PyPI`'s Spark has no jar with examples.
fn pi(house: &House) {
    let (one, two) = (house.address("m1"), house.address("m2"));
    let submit = format!(
        "runuser -u nobody -- env HOME=/tmp/pi SPARK_LOCAL_IP={one} /opt/spark/deps/bin/spark-sql --name Pi \
        --master spark://{one}:7077,{two}:7077 --driver-memory 512m --executor-memory 512m \
        --conf spark.sql.catalogImplementation=in-memory \
        --conf spark.eventLog.enabled=true --conf spark.eventLog.dir=file:/var/lib/spark/events \
        -e \"SELECT concat('Pi is roughly ', 4 * avg(if(x * x + y * y < 1, 1, 0))) \
        FROM (SELECT rand(1) x, rand(2) y FROM range(0, 1000000, 1, 8))\" 2>&1"
    );
    let said = house.sh("m1", &format!("install -d -m 1777 /tmp/pi; cd /tmp/pi; {submit} | grep '^Pi is'"));
    assert!(said.starts_with("Pi is roughly 3.14"), "{said}");
    let both = "ls -d /var/lib/spark/work/app-* | wc -l";
    assert!(HOSTS.iter().all(|host| house.sh(host, both) != "0"), "both workers computed");
}
