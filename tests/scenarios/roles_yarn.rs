//! YARN on real hosts: applications go on while `ResourceManagers` and `NodeManagers` die and change.

use std::path::Path;

use crate::artifacts::serve;
use crate::house::{House, until};
use crate::roles_hdfs::LOCK;
use crate::roles_kafka::maven_repository;

const HOSTS: [&str; 2] = ["y1", "y2"];

/// Two `ResourceManagers`, of which one is active, and two `NodeManagers`. Without HDFS, which YARN does not need for this.
pub(crate) fn yarn(house: &House) {
    house.fresh(&HOSTS);
    let project = house.project("yarn");
    let mirror = serve(house, maven_repository(Path::new(LOCK)));
    project.file(
        "inventories/lab/hosts.yml",
        format!(
            "groups:\n  all_hosts: {{ hosts: [y1, y2] }}\nvars: {{ maven_mirror: \"{mirror}\", heap: 256M, memory: 1G }}\n"
        ),
    );
    let site = |queues: &str, more: &str| {
        project.file("site.yml", SITE.replace("QUEUES", queues).replace("MORE", more));
    };
    site("default: 60", "");
    project.run(&["validate", "lab"]).ends(1).says("the capacities of all queues together are not 100 percent");
    site("default: 60, jobs: 40", "");
    project.apply(&[]).ends(0).says("Converged");
    project.is_empty();
    let states = || {
        let mut states = HOSTS.map(|host| house.sh(host, "yarn-rm-state"));
        states.sort();
        states
    };
    assert_eq!(states(), ["ACTIVE", "STANDBY"]);

    // The active one dies: it is missed, the other takes over, the application goes on to its end.
    let short = submit(house, "jobs", "sleep 30; echo over >/tmp/over");
    until("it runs", || count(house, "sleep 30") == 1);
    let dies = HOSTS.into_iter().find(|host| house.sh(host, "yarn-rm-state") == "ACTIVE").expect("one is active");
    let other = HOSTS.into_iter().find(|host| *host != dies).expect("there are two");
    house.sh(dies, "systemctl kill -s KILL yarn-resourcemanager; systemctl stop yarn-resourcemanager");
    until("the other one is active", || house.sh(other, "yarn-rm-state") == "ACTIVE");
    assert_eq!(count(house, "sleep 30"), 1);
    let plan = project.plan(&["--detailed-exitcode"]).ends(2);
    plan.says(&format!("unhealthy now: {dies}")).says("! start yarn-resourcemanager");
    until("it is over", || HOSTS.iter().any(|host| house.holds(host, "test -e /tmp/over")));
    // A program that is no master of an application has failed for YARN, which tells how it ended.
    until("YARN knows", || rest(house, "GET", &format!("apps/{short}"), "").contains("exitCode: 0"));

    // It comes back, and queues change without a restart of the others, but not one in which an application runs.
    let process = |host: &str, unit: &str| house.sh(host, &format!("systemctl show -p MainPID {unit}"));
    let before = process(other, "yarn-resourcemanager");
    site(QUEUES, "");
    project.converges();
    assert_eq!(states(), ["ACTIVE", "STANDBY"]);
    let long = submit(house, "night", "sleep 1000");
    until("it runs", || count(house, "sleep 1000") == 1);
    site("default: 50, jobs: 50", "");
    project.apply(&[]).ends(5).says("the queues were not changed").says("DRAINING");
    assert_eq!(process(other, "yarn-resourcemanager"), before);

    // One input, and NodeManagers restart in their turn; their containers stay.
    let lives = || HOSTS.map(|host| process(host, "yarn-nodemanager"));
    let before = lives();
    let container = || HOSTS.map(|host| house.sh(host, "pgrep -x sleep || true"));
    let runs = container();
    site(QUEUES, ", vars: { cores: 3 }");
    project.converges();
    assert!(lives().iter().zip(&before).all(|(now, before)| now != before), "{before:?}");
    assert_eq!(container(), runs);
    assert!(rest(house, "GET", &format!("apps/{long}"), "").contains("\"finalStatus\":\"UNDEFINED\""));

    // With the role its containers end.
    project.run(&["destroy", "lab", "--lab", "--confirm", "lab"]).ends(0);
    for host in HOSTS {
        let left = "ls -d /opt/hadoop* /etc/hadoop /usr/local/share/hadoop /usr/local/bin/{hadoop,yarn*} /etc/systemd/system/yarn* 2>/dev/null; pgrep -lx 'java|sleep'; true";
        assert_eq!(house.sh(host, &format!("bash -c \"{left}\"")), "", "{host}");
    }
}

const SITE: &str = "
services:
  zookeeper: { hosts: y1, vars: { allow_single: true } }
  yarn-resourcemanager: { hosts: all_hosts, vars: { queues: { QUEUES } } }
  yarn-nodemanager: { hosts: all_hosts MORE }
";

const QUEUES: &str = "default: 50, jobs: { capacity: 30, maximum-capacity: 70 }, night: 20";

/// How often a program runs, on both hosts together.
fn count(house: &House, program: &str) -> usize {
    HOSTS.iter().map(|host| house.sh(host, &format!("pgrep -xf '{program}' || true")).lines().count()).sum()
}

/// Submits a command as an application of a user, and gives its id.
fn submit(house: &House, queue: &str, command: &str) -> String {
    let answer = rest(house, "POST", "apps/new-application", "");
    let id = answer.split('"').find(|word| word.starts_with("application_")).expect("an id");
    let body = format!(
        "{{\"application-id\":\"{id}\",\"application-name\":\"test\",\"queue\":\"{queue}\",\"max-app-attempts\":1,\
        \"resource\":{{\"memory\":64,\"vCores\":1}},\"am-container-spec\":{{\"commands\":{{\"command\":\"{command}\"}}}}}}"
    );
    let answer = rest(house, "POST", "apps", &body);
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    id.to_owned()
}

/// Asks the active `ResourceManager`, with no program but bash; gives head and body of the answer.
fn rest(house: &House, method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    let script = format!(
        "timeout 10 bash <<'END'
exec 3<>/dev/tcp/$(yarn-rm-state --active | tr ' ' /)
printf '%s\\r\\n' '{method} /ws/v1/cluster/{path}?user.name=ada HTTP/1.0' 'Host: yarn' \\
    'Content-Type: application/json' 'Accept: application/json' 'Content-Length: {length}' '' >&3
printf %s '{body}' >&3
cat <&3
END"
    );
    house.sh("y1", &script)
}
