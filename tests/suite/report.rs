//! What people and programs read of plans and runs, compared with what they read before.
//!
//! In: plans made by hand. Out: texts equal to the files of `tests/cases/report/`; `ARMILLA_BLESS=1` writes those anew.
//! Never: a host.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use armilla::apply::{End, Event, Failure, Report};
use armilla::name::{Address, HostName, Owner, RoleName, ServiceName};
use armilla::plan::{Cause, Condition, Entry, Plan, PlannedBlock, Reason, ServicePlan, Stage, Verdict, Work};
use armilla::report::graph::{self, Detail, GraphRole, GraphService, GraphView};
use armilla::report::human::{self, Diffs, Ending, Progress, Read, Record, Subject, View};
use armilla::report::{json, svg};
use armilla::resource::{Action, Change, Field, FieldValue};
use armilla::secret::{Content, Secret};
use armilla::sim::World;
use armilla::step::{Check, Command, Expect, FailedCheck, Gate, Health, Outcome, Ownership, Probe, Step};
use proptest::prelude::*;

fn host(name: &str) -> HostName {
    HostName::new(name).expect("a host name")
}

fn service(name: &str) -> ServiceName {
    ServiceName::new(name).expect("a service name")
}

fn role(name: &str) -> RoleName {
    RoleName::new(name).expect("a role name")
}

fn hosts(names: &[&str]) -> Vec<HostName> {
    names.iter().map(|name| host(name)).collect()
}

/// A resource before it is put on a host.
#[derive(Clone)]
struct Thing {
    kind: &'static str,
    target: String,
    verdict: Verdict,
    reason: Reason,
    because: Vec<(&'static str, String)>,
}

fn thing(kind: &'static str, target: &str, action: Action, fields: Vec<Field>, steps: Vec<Step>) -> Thing {
    let reason = match action {
        Action::Add => Reason::Missing,
        Action::Remove => Reason::Unwanted,
        Action::Run => Reason::Unguarded,
        _ => Reason::Differs,
    };
    let verdict = Verdict::Change(Change { action, fields, steps });
    Thing { kind, target: target.to_owned(), verdict, reason, because: Vec::new() }
}

impl Thing {
    fn may(mut self, why: &str) -> Self {
        if let Verdict::Change(change) = self.verdict {
            self.verdict = Verdict::MayChange(change);
        }
        self.reason = Reason::Because(why.to_owned());
        self
    }

    fn because(mut self, kind: &'static str, target: &str) -> Self {
        self.because.push((kind, target.to_owned()));
        self
    }

    fn stopped(mut self, verdict: Verdict, why: &str) -> Self {
        self.verdict = verdict;
        self.reason = Reason::Because(why.to_owned());
        self
    }

    fn on(self, host: &HostName, role: &RoleName) -> Entry {
        let at =
            |kind, target: &str| Address { host: host.clone(), role: role.clone(), kind, target: target.to_owned() };
        let notified: Vec<Address> = self.because.iter().map(|(kind, target)| at(kind, target)).collect();
        let reason = if notified.is_empty() { self.reason } else { Reason::Notified(notified) };
        Entry {
            address: at(self.kind, &self.target),
            verdict: self.verdict,
            reason,
            cause: Cause::Unknown,
            mark: None,
            risk: None,
        }
    }
}

fn diff(from: &str, to: &str) -> Field {
    Field { name: "content", value: FieldValue::Diff { from: from.to_owned(), to: to.to_owned() } }
}

fn text(name: &'static str, from: Option<&str>, to: Option<&str>) -> Field {
    Field { name, value: FieldValue::Text { from: from.map(str::to_owned), to: to.map(str::to_owned) } }
}

fn write(path: &str, content: &str) -> Step {
    Step::WriteFile { path: path.to_owned(), content: Content::from(content), ownership: Ownership::default() }
}

fn run(argv: &[&str]) -> Step {
    Step::Run(Command::new(argv.iter().copied()))
}

fn package(name: &str) -> Thing {
    let steps = vec![Step::RefreshPackages, run(&["apt-get", "install", "-y", "--", name])];
    thing("package", name, Action::Add, Vec::new(), steps)
}

fn new_file(path: &str, content: &str) -> Thing {
    thing("file", path, Action::Add, vec![diff("", content)], vec![write(path, content)])
}

fn changed(path: &str, from: &str, to: &str) -> Thing {
    thing("template", path, Action::Change, vec![diff(from, to)], vec![write(path, to)])
}

fn restart(name: &str) -> Thing {
    thing("service", name, Action::Restart, Vec::new(), vec![run(&["systemctl", "restart", "--", name])])
}

fn start(name: &str) -> Thing {
    let fields = vec![text("state", None, Some("running")), text("enabled", Some("false"), Some("true"))];
    let steps = vec![run(&["systemctl", "enable", "--", name]), run(&["systemctl", "start", "--", name])];
    thing("service", name, Action::Start, fields, steps)
}

/// A plan that is being put together, as the rollout does it.
struct Build(Plan);

impl Build {
    fn new(in_sync: usize) -> Self {
        Self(Plan {
            owner: Owner::parse("staging@shop-k3fq8w2n7d").expect("an owner"),
            stages: Vec::new(),
            services: Vec::new(),
            endpoints: BTreeMap::new(),
            unreachable: BTreeMap::new(),
            in_sync,
            left_out: 0,
            secrets: Vec::new(),
            bases: BTreeMap::new(),
            silent: BTreeMap::new(),
            parted: BTreeMap::new(),
        })
    }

    fn service(mut self, name: &str, members: &[&str], batches: &[&[&str]], needs: &[&str]) -> Self {
        self.0.services.push(ServicePlan {
            name: service(name),
            role: role(name),
            hosts: hosts(members),
            batches: batches.iter().map(|batch| hosts(batch)).collect(),
            needs: needs.iter().map(|need| service(need)).collect(),
            down: BTreeMap::new(),
            unhealthy: BTreeMap::new(),
            rollout: None,
        });
        self
    }

    /// The last service does not run on these members.
    fn down(mut self, members: &[(&str, &str)]) -> Self {
        let last = self.0.services.last_mut().expect("a service");
        last.down = members.iter().map(|(name, why)| (host(name), (*why).to_owned())).collect();
        self
    }

    /// The last service has an unhealthy member.
    fn unhealthy(mut self, member: &str, unit: &str, why: &str) -> Self {
        let last = self.0.services.last_mut().expect("a service");
        let check = Check::new(Probe::Unit(unit.to_owned()), Expect::Active);
        let health = Health::Unhealthy(why.to_owned());
        last.unhealthy.insert(host(member), vec![FailedCheck { check, health }]);
        self
    }

    fn stage(&mut self, work: Work) {
        let after = self.0.stages.len().checked_sub(1).map(|before| (before, Condition::Done));
        self.0.stages.push(Stage { after: after.into_iter().collect(), work, turn: None });
    }

    fn block(mut self, on: &str, of: &str, as_service: bool, things: Vec<Thing>) -> Self {
        let (host, role) = (host(on), role(of));
        let entries = things.into_iter().map(|thing| thing.on(&host, &role)).collect();
        let service = as_service.then(|| service(of));
        let (before, after) = (Vec::new(), Vec::new());
        self.stage(Work::Change(PlannedBlock { host, role, service, before, entries, after }));
        self
    }

    fn gate(mut self, on: &str, of: &str) -> Self {
        let open = Check::new(Probe::port("127.0.0.1", 2181), Expect::Open);
        let check = Check { stable_for: Duration::from_secs(5), ..open };
        let gate = Gate { of: of.to_owned(), checks: vec![check] };
        self.stage(Work::Gate { host: host(on), service: service(of), gate, then: Vec::new() });
        self
    }

    fn join(mut self) -> Self {
        self.stage(Work::Join);
        self
    }

    fn silent(mut self, name: &str, why: &str) -> Self {
        self.0.unreachable.insert(host(name), why.to_owned());
        self
    }
}

fn view(width: usize) -> View {
    View {
        revision: Some("3f2c1ab (clean)".into()),
        read: Read::Now(Duration::from_millis(740)),
        diffs: Diffs::Short,
        verbose: 0,
        width,
        command: Some("armilla apply staging".into()),
        limit: None,
        part: None,
        hosts_left_out: 0,
        subject: Subject::Services,
    }
}

/// The text without our own colours.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        plain.push_str(&rest[..at]);
        let end = rest[at..].find('m').expect("a colour that ends");
        rest = &rest[at + end + 1..];
    }
    plain + rest
}

fn compare(name: &str, text: &str) {
    let path = format!("{}/tests/cases/report/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("ARMILLA_BLESS").is_some() {
        std::fs::write(&path, text).expect("a file that can be written");
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(known == text, "{path} is different (ARMILLA_BLESS=1 rewrites it):\n{text}");
}

const ZOO: &str = "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/var/lib/zookeeper\nclientPort=2181\nserver.1=zk1:2888:3888\nserver.2=zk2:2888:3888\nserver.3=zk3:2888:3888\n";

fn first_install() -> Plan {
    let closed = "port 2181 is closed";
    let mut build = Build::new(2).service("zookeeper", &["zk1", "zk2", "zk3"], &[&["zk1", "zk2", "zk3"]], &[]);
    build = build.down(&[("zk1", closed), ("zk2", closed), ("zk3", closed)]);
    build = build.service("spark-master", &["m1"], &[&["m1"]], &["zookeeper"]).down(&[("m1", "port 7077 is closed")]);
    for (position, name) in ["zk1", "zk2", "zk3"].iter().enumerate() {
        build = build.block(name, "java", false, vec![package("default-jre-headless")]).block(
            name,
            "zookeeper",
            true,
            vec![
                package("zookeeperd"),
                thing(
                    "directory",
                    "/var/lib/zookeeper",
                    Action::Add,
                    vec![text("mode", None, Some("0750"))],
                    Vec::new(),
                ),
                new_file("/etc/zookeeper/conf/zoo.cfg", ZOO),
                new_file("/etc/zookeeper/conf/myid", &format!("{}\n", position + 1)),
                thing(
                    "file",
                    "/etc/zookeeper/conf/token",
                    Action::Add,
                    vec![Field { name: "content", value: FieldValue::Secret }],
                    vec![Step::WriteFile {
                        path: "/etc/zookeeper/conf/token".into(),
                        content: Content::Secret(Secret::new(b"hunter2".to_vec())),
                        ownership: Ownership::default(),
                    }],
                ),
                start("zookeeper")
                    .because("file", "/etc/zookeeper/conf/zoo.cfg")
                    .because("file", "/etc/zookeeper/conf/myid"),
            ],
        );
    }
    build = build.join().gate("zk1", "zookeeper").gate("zk2", "zookeeper").gate("zk3", "zookeeper").join();
    build
        .block("m1", "java", false, vec![package("default-jre-headless")])
        .block("m1", "spark-master", true, vec![package("spark"), start("spark-master")])
        .join()
        .join()
        .0
}

#[test]
fn a_first_install_is_folded() {
    compare("first-install", &plain(&human::plan(&first_install(), &view(110))));
}

/// One file drifted on one host; two batches of the rest have nothing to do.
fn drift() -> Plan {
    let drifted = ZOO.replace("tickTime=2000", "tickTime=3000").replace("server.3=zk3:2888:3888\n", "");
    Build::new(112)
        .service("zookeeper", &["zk1", "zk2", "zk3"], &[&["zk2"]], &[])
        .service("kafka", &["k1", "k2"], &[], &["zookeeper"])
        .service("spark-master", &["m1"], &[], &["zookeeper"])
        .block(
            "zk2",
            "zookeeper",
            true,
            vec![
                changed("/etc/zookeeper/conf/zoo.cfg", &drifted, ZOO),
                thing(
                    "file",
                    "/etc/zookeeper/conf/myid",
                    Action::Change,
                    vec![text("mode", Some("0666"), Some("0644"))],
                    Vec::new(),
                ),
                restart("zookeeper").because("template", "/etc/zookeeper/conf/zoo.cfg"),
            ],
        )
        .join()
        .gate("zk2", "zookeeper")
        .join()
        .0
}

#[test]
fn a_drifted_file_shows_its_difference_and_the_restart() {
    compare("drift", &plain(&human::plan(&drift(), &view(110))));
    compare(
        "drift-verbose-limited",
        &plain(&human::plan(&drift(), &View { verbose: 1, limit: Some("-l zk2".into()), revision: None, ..view(70) })),
    );
}

/// What somebody changed by hand, what leaves, and what stays all the same.
fn leaving() -> Plan {
    let since = "2026-11-19T14:02:31Z".to_owned();
    let mode = || vec![text("mode", Some("0666"), Some("0644"))];
    let gone = |path: &str| thing("file", path, Action::Remove, Vec::new(), vec![run(&["rm", path])]);
    let kept = |path: &str, why: &str| gone(path).stopped(Verdict::Keep, why);
    let mut plan = Build::new(20)
        .service("web", &["w1", "w2"], &[&["w1", "w2"]], &[])
        .block(
            "w1",
            "web",
            true,
            vec![
                thing("file", "/etc/drifted", Action::Change, mode(), Vec::new()),
                thing("file", "/etc/both", Action::Change, mode(), Vec::new()),
                thing("file", "/etc/ours", Action::Change, mode(), Vec::new()),
            ],
        )
        .join()
        .block("w2", "old", false, vec![gone("/etc/old")])
        .block(
            "w2",
            "old",
            false,
            vec![
                kept("/etc/by-hand", "it was changed on the host"),
                kept("/etc/before", "it existed before armilla and is only dropped from the ledger"),
            ],
        )
        .0;
    plan.silent.insert(host("spare1"), "No route to host".to_owned());
    for block in plan.stages.iter_mut().filter_map(|stage| match &mut stage.work {
        Work::Change(block) => Some(block),
        _ => None,
    }) {
        for entry in &mut block.entries {
            match entry.address.target.as_str() {
                "/etc/drifted" | "/etc/by-hand" => entry.cause = Cause::Host { since: since.clone() },
                "/etc/both" => entry.cause = Cause::Both { since: since.clone() },
                "/etc/ours" => entry.cause = Cause::Project,
                "/etc/old" => entry.reason = Reason::Left,
                _ => {}
            }
        }
    }
    plan
}

#[test]
fn what_drifted_what_leaves_and_what_stays_are_told_apart() {
    let plan = leaving();
    compare("leaving", &plain(&human::plan(&plan, &view(110))));
    let json = value(&json::plan(&plan, &json::About::default()));
    let entry = &json["stages"][0]["entries"][0];
    assert_eq!((&entry["cause"], &entry["since"]), (&"host".into(), &"2026-11-19T14:02:31Z".into()));
    assert_eq!((&json["summary"]["kept"], &json["silent"]["spare1"]), (&2.into(), &"No route to host".into()));
}

#[test]
fn a_host_where_something_only_stays_is_no_host_that_was_changed() {
    let mut plan = leaving();
    plan.stages.retain(|stage| match &stage.work {
        Work::Change(block) => block.entries.iter().all(armilla::plan::Entry::is_kept),
        _ => false,
    });
    plan.services.clear();
    plan.silent.clear();
    let text = plain(&human::plan(&plan, &view(110)));
    assert!(plan.is_empty() && text.contains("Nothing to do"), "{text}");
    assert!(text.contains("/etc/by-hand") && text.contains("owned since 19 Nov 2026, 14:02 UTC"), "{text}");
}

/// Everything that is not a plain change.
fn doubts() -> Plan {
    let names: Vec<String> = (1..=12).map(|n| format!("w{n:02}")).collect();
    let workers: Vec<&str> = names.iter().map(String::as_str).collect();
    let long: String = (1..=40).fold(String::new(), |text, n| format!("{text}line {n}\n"));
    let other = long.replace("line", "Line");
    let mut build = Build::new(40)
        .service("hdfs", &["n1", "n2", "n3"], &[&["n2"], &["n1"], &["n3"]], &[])
        .down(&[("n2", "it is failed")])
        .unhealthy("n2", "hdfs.service", "it is failed")
        .service("spark-worker", &workers, &[&workers[..5], &workers[5..10], &workers[10..11]], &["hdfs", "zookeeper"])
        .silent("w12", "ssh: connect to host w12 port 22: Connection timed out\n")
        .silent("zk9", "Permission denied (publickey).");
    let guarded = || {
        thing(
            "command",
            "format-namenode",
            Action::Run,
            vec![text("unless", None, Some("test -e /data/VERSION"))],
            vec![Step::RunUnless(
                Command::new(["hdfs", "namenode", "-format"]),
                Box::new(Command::new(["test", "-e", "/data/VERSION"])),
            )],
        )
    };
    build = build.block(
        "n2",
        "hdfs",
        true,
        vec![
            changed("/etc/hadoop/hdfs-site.xml", &long, &other),
            guarded().may("its guard can run only when the user hdfs exists"),
            restart("hdfs").may("only if format-namenode runs"),
            thing("command", "sync-clock", Action::Run, Vec::new(), vec![run(&["chronyc", "makestep"])]),
            thing("file", "/etc/hadoop/old.xml", Action::Remove, Vec::new(), Vec::new()),
        ],
    );
    build = build.join().gate("n2", "hdfs").join();
    build = build.block(
        "n1",
        "hdfs",
        true,
        vec![guarded().stopped(
            Verdict::Refused,
            "a directory exists where a file should be; armilla never replaces one with the other: move it first",
        )],
    );
    build = build.join().gate("n1", "hdfs").join();
    build = build.block(
        "n3",
        "hdfs",
        true,
        vec![
            package("hadoop").stopped(Verdict::Unreadable, "dpkg-query: error: reading /var/lib/dpkg/status"),
            start("hdfs").stopped(Verdict::Blocked, "-"),
        ],
    );
    spark_workers(build.join().gate("n3", "hdfs").join(), &workers[..11])
}

/// Two whose unit changes, and others that are restarted because of it.
fn spark_workers(mut build: Build, workers: &[&str]) -> Plan {
    for (index, worker) in workers.iter().enumerate() {
        let things = vec![
            thing(
                "unit",
                "spark-worker.service",
                Action::Change,
                vec![
                    diff(&format!("[Service]\nEnvironment=HOST=w{index}\n"), "[Service]\n"),
                    text("mode", Some("0600"), Some("0644")),
                ],
                Vec::new(),
            ),
            restart("spark-worker").because("unit", "spark-worker.service"),
        ];
        build = build.block(worker, "spark-worker", true, if index < 2 { things } else { things[1..].to_vec() });
        build = if [4, 9, 10].contains(&index) { build.join().join() } else { build };
    }
    build.0
}

#[test]
fn what_may_happen_what_must_not_and_what_is_not_known_are_told_apart() {
    compare("doubts", &plain(&human::plan(&doubts(), &view(100))));
}

#[test]
fn a_full_view_shows_every_line() {
    let full = View { diffs: Diffs::Full, ..view(100) };
    let text = plain(&human::plan(&doubts(), &full));
    assert!(text.contains("+ Line 40") && !text.contains("-D shows all"), "{text}");
    let text = plain(&human::plan(&first_install(), &full));
    assert!(
        text.contains("+ tickTime=2000") && text.contains("zk2          + file       /etc/zookeeper/conf/myid"),
        "{text}"
    );
}

#[test]
fn five_hundred_hosts_are_one_screen() {
    let names: Vec<String> = (1..=500).map(|n| format!("w{n:03}.rack.example.org")).collect();
    let workers: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut build = Build::new(0).service("spark-worker", &workers, &[&workers], &[]);
    for name in &workers {
        let own = changed(
            "/etc/spark/spark-env.sh",
            &format!("# {name}\n1\n2\n3\n4\nCORES=4\n"),
            &format!("# {name}\n1\n2\n3\n4\nCORES=8\n"),
        );
        build = build.block(
            name,
            "spark-worker",
            true,
            vec![package("spark"), new_file("/etc/spark/host", name), own, start("spark-worker")],
        );
    }
    compare("many", &plain(&human::plan(&build.join().join().0, &view(100))));
}

#[test]
fn nothing_to_do_is_said_only_if_everything_was_seen() {
    let quiet = || Build::new(112).service("zookeeper", &["zk1", "zk2"], &[], &[]);
    compare("empty", &plain(&human::plan(&quiet().0, &view(100))));
    compare("empty-but-unreachable", &plain(&human::plan(&quiet().silent("zk2", "no route to host").0, &view(100))));
}

/// As `--json` writes it.
fn line(value: &impl serde::Serialize) -> String {
    let mut text = Vec::new();
    json::write(&mut text, value).expect("memory takes everything");
    String::from_utf8(text).expect("UTF-8") + "\n"
}

fn value(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::from_str(&line(value)).expect("JSON")
}

#[test]
fn a_secret_is_in_no_text() {
    let plan = first_install();
    let view = View { diffs: Diffs::Full, verbose: 3, ..view(100) };
    let texts = [human::plan(&plan, &view), line(&json::plan(&plan, &json::About::default()))];
    assert!(texts.iter().all(|text| !text.contains("hunter2")), "{texts:?}");
    assert!(texts[0].contains("content (secret)"), "{}", texts[0]);
}

/// zk2 fails in the middle of its third stage; what waits for it is skipped.
fn failed(plan: &Plan) -> Report {
    let stage = plan.stages.iter().position(|stage| {
        matches!(&stage.work, Work::Change(block) if block.host.as_str() == "zk2" && block.role.as_str() == "zookeeper")
    });
    let stage = stage.expect("a stage");
    let stderr = "Reading package lists...\nE: Unable to locate package \u{1b}[2Jzookeeperd\n".to_owned();
    let end = |id: usize| match &plan.stages[id].work {
        _ if id == stage => End::Failed(Failure::Step { step: 1, exit: 100, stderr: stderr.clone() }),
        Work::Change(block) if block.host.as_str().starts_with("zk") => End::Done,
        _ => End::Skipped(stage),
    };
    Report {
        ends: (0..plan.stages.len()).map(end).collect(),
        stopped: false,
        restored: BTreeMap::new(),
        readings: BTreeMap::new(),
    }
}

fn ending<'a>(record: &'a Record, again: Result<&'a Plan, String>) -> Ending<'a> {
    Ending {
        took: Duration::from_secs(41),
        verbose: 1,
        width: 100,
        record,
        again,
        unhealthy: &[],
        plan_command: "armilla plan staging".into(),
        apply_command: "armilla resume 20261121-140211-k7xq".into(),
    }
}

#[test]
fn a_failure_is_told_with_all_that_was_not_begun() {
    let plan = first_install();
    let record = Record::default();
    compare("failed", &plain(&human::summary(&plan, &failed(&plan), &ending(&record, Err("a host failed".into())))));
    let lost = End::Failed(Failure::Host { step: Some(0), why: "connection reset by peer".into() });
    let mut ends = vec![End::Done; plan.stages.len()];
    ends[0] = lost;
    let report = Report { ends, stopped: false, restored: BTreeMap::new(), readings: BTreeMap::new() };
    compare("lost", &plain(&human::summary(&plan, &report, &ending(&record, Err("a host failed".into())))));
}

#[test]
fn converged_means_read_again_and_as_described() {
    let (plan, same) = (drift(), Build::new(115).0);
    let mut record = Record::default();
    for (step, seconds) in [(0, 1), (1, 12)] {
        let took = Duration::from_secs(seconds);
        record.note(&Event::StepEnded { stage: 0, step, outcome: Outcome::Done, took });
    }
    let report = Report {
        ends: vec![End::Done; plan.stages.len()],
        stopped: false,
        restored: BTreeMap::new(),
        readings: BTreeMap::new(),
    };
    compare("converged", &plain(&human::summary(&plan, &report, &ending(&record, Ok(&same)))));
    compare("surprise", &plain(&human::summary(&plan, &report, &ending(&record, Ok(&plan)))));
    compare("unchecked", &plain(&human::summary(&plan, &report, &ending(&record, Err("--no-verify".into())))));
}

/// Something to write to that can be read.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A run of the first install in which zk2 waits long and then fails.
fn story(progress: &mut Progress, plan: &Plan) {
    let second = Duration::from_secs;
    let step = |stage, step| Event::StepStarted { stage, step };
    let ended = |stage, step| Event::StepEnded { stage, step, outcome: Outcome::Done, took: second(2) };
    for event in [Event::StageStarted(0), step(0, 0), ended(0, 0), step(0, 1), ended(0, 1)] {
        progress.event(&event);
    }
    progress.event(&Event::StageEnded { stage: 0, end: End::Done, took: second(4) });
    let gate = plan.stages.iter().position(|stage| matches!(stage.work, Work::Gate { .. })).expect("a gate");
    for event in [Event::StageStarted(3), step(3, 1), Event::StageStarted(gate), step(gate, 0)] {
        progress.event(&event);
    }
    progress.event(&Event::Waiting { stage: gate, why: "port 2181 is closed".into() });
    (1..75).for_each(|n| progress.tick(second(n)));
    let failure = Failure::Step { step: 1, exit: 100, stderr: "E: no such package\u{1b}[31m\n".into() };
    progress.event(&Event::StageEnded { stage: 3, end: End::Failed(failure), took: second(74) });
    progress.event(&Event::Stopping);
    progress.finish();
}

#[test]
fn a_log_has_a_line_for_each_stage_and_a_sign_of_life() {
    for (name, verbose) in [("progress", 0), ("progress-verbose", 1)] {
        let (plan, shared) = (Arc::new(first_install()), Shared::default());
        let mut progress = Progress::lines(Arc::clone(&plan), Box::new(shared.clone()), verbose);
        story(&mut progress, &plan);
        let text = String::from_utf8(shared.0.lock().expect("no panic").clone()).expect("a text");
        compare(name, &plain(&text));
    }
}

/// A terminal that keeps what is written to it.
#[derive(Debug)]
struct Screen(Arc<Mutex<String>>);

impl indicatif::TermLike for Screen {
    fn width(&self) -> u16 {
        80
    }
    fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn write_line(&self, text: &str) -> std::io::Result<()> {
        self.write_str(&format!("{text}\n"))
    }
    fn write_str(&self, text: &str) -> std::io::Result<()> {
        self.0.lock().expect("no panic").push_str(text);
        Ok(())
    }
    fn clear_line(&self) -> std::io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_terminal_shows_who_is_worked_on_and_keeps_failures() {
    let (plan, screen) = (Arc::new(first_install()), Arc::new(Mutex::new(String::new())));
    let target = indicatif::ProgressDrawTarget::term_like(Box::new(Screen(Arc::clone(&screen))));
    let mut progress = Progress::live(Arc::clone(&plan), target, 0);
    story(&mut progress, &plan);
    let text = plain(&screen.lock().expect("no panic"));
    for part in [
        "1 of 11 stages done",
        "zk1  zookeeper  ",
        "not healthy yet: port 2181 is closed",
        "zk2 failed  zookeeper",
        "    E: no such package\\u{1b}[31m",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn json_says_the_same_to_programs() {
    let plan = drift();
    let about = json::About { revision: Some("3f2c1ab".into()), ..json::About::default() };
    compare("drift.json", &(json::pretty(&json::plan(&plan, &about)) + "\n"));
    let second = Duration::from_secs(1);
    let outcome = Outcome::Failed { exit: 1, stderr: "no".into() };
    let events = [
        Event::StageStarted(0),
        Event::StepStarted { stage: 0, step: 0 },
        Event::Waiting { stage: 2, why: "port 2181 is closed".into() },
        Event::StepEnded { stage: 0, step: 0, outcome, took: second },
        Event::StageEnded { stage: 2, end: End::Skipped(0), took: second },
        Event::Stopping,
    ];
    let lines: Vec<String> = events.iter().map(|event| line(&json::event(&plan, event, second))).collect();
    compare("events.json", &lines.concat());
    let report = Report {
        ends: vec![End::Done, End::Done, End::Stopped, End::Skipped(2)],
        stopped: true,
        restored: BTreeMap::new(),
        readings: BTreeMap::new(),
    };
    compare("report.json", &(json::pretty(&json::report(&plan, &report, &plan, &[], second)) + "\n"));
}

/// A change that is rolled out and may be rolled back, around which each host is drained.
fn rolled_out() -> Plan {
    let mut world = World::default();
    for host in ["h1", "h2", "h3"] {
        world.host(host).expect("a name");
    }
    let rollout =
        "  batch: 1\n  on_failure: rollback\n  drain: [{ run: [lb, drain] }]\n  undrain: [{ run: [lb, add] }]\n";
    let role = |content: &str| {
        let file = format!("file: {{ path: /etc/web, content: \"{content}\", mode: \"0600\" }}\n    notify: restart");
        format!(
            "summary: W.\nrollout:\n{rollout}health:\n  - tcp: {{ port: 80 }}\nresources:\n  - package: nginx\n  - {file}\n  - service: nginx\n"
        )
    };
    world.site("services:\n  web: { hosts: all }\n");
    let plan = |world: &mut World, content: &str| {
        world.role("web", &role(content)).expect("a role");
        world.plan().unwrap_or_else(|problems| panic!("{problems}"))
    };
    let first = plan(&mut world, "one");
    assert!(world.apply(&first).report.converged());
    plan(&mut world, "two")
}

#[test]
fn json_has_every_type_of_stage() {
    let plan = rolled_out();
    compare("rolled-out.json", &(json::pretty(&json::plan(&plan, &json::About::default())) + "\n"));
    let stages = value(&json::plan(&plan, &json::About::default()))["stages"].clone();
    let types: BTreeSet<&str> =
        stages.as_array().into_iter().flatten().filter_map(|stage| stage["type"].as_str()).collect();
    assert_eq!(types, ["change", "drain", "gate", "join", "rolled", "undo", "undrain"].into());
}

fn platform() -> GraphView {
    let service = |name: &str, role: &str, on: &[&str], needs: &[&str]| GraphService {
        name: name.into(),
        role: role.into(),
        hosts: hosts(on),
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
    };
    let role = |summary: &str, requires: &[&str], resources: &[&str]| GraphRole {
        summary: summary.into(),
        requires: requires.iter().map(|name| (*name).to_owned()).collect(),
        resources: resources.iter().map(|name| ((*name).to_owned(), 3)).collect(),
    };
    GraphView {
        services: vec![
            service("zookeeper", "zookeeper", &["zk1", "zk2", "zk3"], &[]),
            service("spark-master", "spark-master", &["m1"], &["zookeeper"]),
            service("workers", "spark-worker", &["w1", "w2", "w3", "w4", "w5"], &["spark-master", "zookeeper"]),
        ],
        roles: [
            ("java".to_owned(), role("A Java runtime", &[], &["package default-jre-headless"])),
            ("spark".to_owned(), role("Spark's programs", &["java"], &["file /opt/\"spark\"\u{1b}[2J"])),
            ("zookeeper".to_owned(), role("An ensemble", &["java"], &["package zookeeperd"])),
            ("spark-master".to_owned(), role("", &["spark", "java"], &[])),
            ("spark-worker".to_owned(), role("", &["spark"], &[])),
        ]
        .into(),
    }
}

#[test]
fn a_graph_is_a_list_a_drawing_and_a_chart() {
    compare("graph", &graph::text(&platform(), Detail::Services));
    compare("graph-resources", &graph::text(&platform(), Detail::Resources));
    compare("graph.dot", &graph::dot(&platform(), Detail::Resources));
    compare("graph.mermaid", &graph::mermaid(&platform()));
}

#[test]
fn a_picture_shows_what_the_terminal_shows() {
    let picture = svg::terminal(&human::plan(&drift(), &view(100)), "armilla plan staging <&>");
    compare("drift.svg", &picture);
    assert!(picture.contains("staging &lt;&amp;&gt;") && !picture.contains('\u{1b}'));
}

/// Whether our own colours and line breaks are the only control characters.
fn is_tame(text: &str) -> bool {
    let plain = plain(text);
    plain
        .chars()
        .all(|c| c == '\n' || !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

fn hostile() -> impl Strategy<Value = String> {
    let nasty = [
        "\u{1b}[2J",
        "\u{1b}]0;x\u{7}",
        "\r",
        "\n",
        "\t",
        "\u{9b}31m",
        "\u{202e}",
        "\0",
        "\u{8}",
        " ",
        "a",
        "\"",
        "</text>",
    ];
    prop::collection::vec(prop_oneof![prop::sample::select(nasty.to_vec()).prop_map(str::to_owned), ".{0,6}"], 0..8)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn f14_nothing_that_others_wrote_steers_the_terminal(
        a in hostile(), b in hostile(), c in hostile(), full in any::<bool>(), verbose in 0_u8..2, width in 0_usize..140,
    ) {
        let commands = vec![
            Step::Run(Command { user: Some(b.clone()), directory: Some(c.clone()), ..Command::new([a.as_str(), &b]) }),
            Step::MakeLink { path: a.clone(), target: b.clone() },
            write(&c, &b),
        ];
        let plan = Build::new(1)
            .service("s", &["h", "i"], &[&["h"]], &["n"])
            .down(&[("h", &a)])
            .block("h", "s", true, vec![
                thing("file", &a, Action::Change, vec![diff(&b, &c), text("mode", Some(&a), Some(&b)), text("x", Some(&c), None)], commands),
                new_file(&b, &c).because("file", &a),
                package(&c).may(&b),
                package(&a).stopped(Verdict::Refused, &c),
                package(&b).stopped(Verdict::Unreadable, &a),
            ])
            .join()
            .gate("h", "s")
            .silent("i", &c)
            .0;
        let diffs = if full { Diffs::Full } else { Diffs::Short };
        let revision = Some(a.clone());
        let shown = human::plan(&plan, &View { diffs, verbose, width, revision, limit: Some(b.clone()), command: Some(c.clone()), ..view(0) });
        prop_assert!(is_tame(&shown), "{shown:?}");
        let picture = svg::terminal(&shown, &a);
        prop_assert!(picture.chars().all(|c| c == '\n' || !c.is_control()), "{picture:?}");

        let failure = Failure::Step { step: 0, exit: 1, stderr: b.clone() };
        let lost = Failure::Host { step: Some(1), why: c.clone() };
        let ends = vec![End::Failed(failure), End::Done, End::Failed(lost)];
        let record = Record::default();
        let end = human::summary(&plan, &Report { ends: ends.clone(), stopped: true, restored: BTreeMap::new(), readings: BTreeMap::new() }, &ending(&record, Err(a.clone())));
        prop_assert!(is_tame(&end), "{end:?}");
        let well = Report { ends: vec![End::Done; 3], stopped: false, restored: BTreeMap::new(), readings: BTreeMap::new() };
        let end = human::summary(&plan, &well, &ending(&record, Ok(&plan)));
        prop_assert!(is_tame(&end), "{end:?}");

        let shared = Shared::default();
        let mut progress = Progress::lines(Arc::new(plan.clone()), Box::new(shared.clone()), verbose);
        for (stage, end) in ends.into_iter().enumerate() {
            progress.event(&Event::StageStarted(stage));
            progress.event(&Event::StepStarted { stage, step: 0 });
            progress.event(&Event::Waiting { stage, why: a.clone() });
            progress.tick(Duration::from_secs(40 * (stage as u64 + 1)));
            progress.event(&Event::StageEnded { stage, end, took: Duration::ZERO });
        }
        let told = String::from_utf8(shared.0.lock().expect("no panic").clone()).expect("a text");
        prop_assert!(is_tame(&told), "{told:?}");

        let mut graph = platform();
        graph.services[0].name = a.clone();
        graph.services[1].needs = vec![a.clone(), b.clone()];
        graph.roles.insert(b.clone(), GraphRole { summary: c.clone(), requires: vec![a.clone()], resources: vec![(c.clone(), 1)] });
        for text in [graph::text(&graph, Detail::Resources), graph::dot(&graph, Detail::Resources), graph::mermaid(&graph)] {
            prop_assert!(is_tame(&text) && !text.contains('\u{1b}'), "{text:?}");
        }
    }
}
