//! What people and programs read of plans and runs, compared with what they read before.
//!
//! In: plans made by hand. Out: texts equal to the files of `tests/cases/report/`; `ARMILLA_BLESS=1` writes those anew.
//! Never: a host.

use std::collections::BTreeMap;
use std::time::Duration;

use armilla::name::{Address, EnvName, HostName, RoleName, ServiceName};
use armilla::plan::{Block, Condition, Entry, Plan, Reason, ServicePlan, Stage, Verdict, Work};
use armilla::report::human::{self, Diffs, View};
use armilla::resource::{Action, Change, Field, FieldValue};
use armilla::secret::{Content, Secret};
use armilla::step::{Check, Command, Expect, Gate, Ownership, Probe, Step};

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
        let at = |kind, target: &str| Address { host: host.clone(), role: role.clone(), kind, target: target.to_owned() };
        let notified: Vec<Address> = self.because.iter().map(|(kind, target)| at(kind, target)).collect();
        let reason = if notified.is_empty() { self.reason } else { Reason::Notified(notified) };
        Entry { address: at(self.kind, &self.target), verdict: self.verdict, reason }
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
            environment: EnvName::new("staging").expect("a name"),
            stages: Vec::new(),
            services: Vec::new(),
            endpoints: BTreeMap::new(),
            unreachable: BTreeMap::new(),
            in_sync,
        })
    }

    fn service(mut self, name: &str, members: &[&str], batches: &[&[&str]], needs: &[&str], sick: &[(&str, &str)]) -> Self {
        self.0.services.push(ServicePlan {
            name: service(name),
            role: role(name),
            hosts: hosts(members),
            batches: batches.iter().map(|batch| hosts(batch)).collect(),
            needs: needs.iter().map(|need| service(need)).collect(),
            sick: sick.iter().map(|(name, why)| (host(name), (*why).to_owned())).collect(),
        });
        self
    }

    fn stage(&mut self, work: Work) {
        let after = self.0.stages.len().checked_sub(1).map(|before| (before, Condition::Done));
        self.0.stages.push(Stage { after: after.into_iter().collect(), work });
    }

    fn block(mut self, on: &str, of: &str, as_service: bool, things: Vec<Thing>) -> Self {
        let (host, role) = (host(on), role(of));
        let entries = things.into_iter().map(|thing| thing.on(&host, &role)).collect();
        self.stage(Work::Change(Block { host, role, service: as_service.then(|| service(of)), entries }));
        self
    }

    fn gate(mut self, on: &str, of: &str) -> Self {
        let check = Check {
            probe: Probe::Port { address: "127.0.0.1".into(), port: 2181 },
            expect: Expect::Open,
            stable_for: Duration::from_secs(5),
            within: Duration::from_secs(60),
        };
        let gate = Gate { of: of.to_owned(), checks: vec![check] };
        self.stage(Work::Gate { host: host(on), service: service(of), gate });
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
        took: Duration::from_millis(740),
        diffs: Diffs::Short,
        verbose: 0,
        width,
        command: "armilla apply staging".into(),
        limit: None,
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
    let mut build = Build::new(2).service(
        "zookeeper",
        &["zk1", "zk2", "zk3"],
        &[&["zk1", "zk2", "zk3"]],
        &[],
        &[("zk1", closed), ("zk2", closed), ("zk3", closed)],
    );
    build = build.service("spark-master", &["m1"], &[&["m1"]], &["zookeeper"], &[("m1", "port 7077 is closed")]);
    for (position, name) in ["zk1", "zk2", "zk3"].iter().enumerate() {
        build = build.block(name, "java", false, vec![package("default-jre-headless")]).block(name, "zookeeper", true, vec![
            package("zookeeperd"),
            thing("directory", "/var/lib/zookeeper", Action::Add, vec![text("mode", None, Some("0750"))], Vec::new()),
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
            start("zookeeper").because("file", "/etc/zookeeper/conf/zoo.cfg").because("file", "/etc/zookeeper/conf/myid"),
        ]);
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
