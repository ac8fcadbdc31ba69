//! Who may change a real host, when connections, controllers and the host itself come and go.

use std::time::Duration;

use armilla::inventory::Endpoint;
use armilla::lease::{Holder, LeaseAnswer, LeaseId, Request, Ticket};
use armilla::ledger::{Journal, Reached};
use armilla::name::{EnvName, HostName, RunId};
use armilla::step::{Command, Outcome, Probe, Record, Step};
use armilla::transport::{Connections, Order, SshOptions, Transport as _, TransportError};

use crate::house::{House, until};

/// Where the host keeps it.
const PLACE: &str = "/var/lib/armilla/host";

fn connections(house: &House) -> Connections {
    let config = Some(house.ssh_config().into());
    Connections::new(SshOptions { config, connect_timeout: Duration::from_secs(5), ..SshOptions::default() })
}

fn environment() -> EnvName {
    EnvName::new("staging").expect("a name")
}

fn id(name: &str) -> LeaseId {
    LeaseId(name.to_owned())
}

fn acquire(name: &str, seconds: u32) -> Request {
    let holder = Holder {
        environment: environment(),
        project: None,
        run: RunId::new(&format!("run-{name}")).expect("a name"),
        who: format!("{name}@desk"),
        command: "armilla apply staging".to_owned(),
        machine: String::new(),
        boot: String::new(),
        pid: 1,
        ticks: 1,
        namespace: String::new(),
        since: "2026-01-01T00:00:00Z".to_owned(),
    };
    Request::Acquire { id: id(name), holder, seconds, instead_of: None }
}

fn sh(script: &str) -> Step {
    Step::Run(Command::new(["sh", "-c", script]).within(Duration::from_secs(60)))
}

fn intent() -> String {
    let digest = "0".repeat(64);
    format!(
        r#"{{"version":1,"applied":{{"run":"run-a","plan":"{digest}","at":"2026-01-01T00:00:00Z","who":"a","revision":null}},"stage":0,"service":null,"entries":[]}}"#
    )
}

/// A controller with connections of its own.
struct Controller {
    connections: Connections,
    host: Endpoint,
    name: &'static str,
    fence: u64,
}

impl Controller {
    fn new(house: &House, name: &'static str) -> Self {
        let host = Endpoint::new(HostName::new("h1").expect("a name"));
        Self { connections: connections(house), host, name, fence: 0 }
    }

    async fn ask(&self, request: &Request) -> LeaseAnswer {
        self.connections.lease(&self.host, request).await.expect("an answer")
    }

    async fn acquire(&mut self, seconds: u32) -> LeaseAnswer {
        let answer = self.ask(&acquire(self.name, seconds)).await;
        if let LeaseAnswer::Granted(fence) = answer {
            self.fence = fence;
        }
        answer
    }

    async fn perform(&self, steps: &[Step], intent: Option<String>) -> Result<Vec<Outcome>, TransportError> {
        let (owner, id) = (environment().into(), id(self.name));
        let ticket = Ticket { owner, id, fence: self.fence, intent, first: 0 };
        self.connections.perform(&self.host, Order { ticket: Some(&ticket), ..Order::of(steps) }, &|_| {}).await
    }

    async fn state(&self) -> Record {
        let readings = self.connections.read(&self.host, &[Probe::State]).await.expect("readings");
        let key = (environment().into(), self.host.name.clone());
        readings.state(&Probe::State).expect("a state").records.get(&key).cloned().unwrap_or_default()
    }
}

/// A silent holder is fenced off, an order that hangs is not; neither a daemon nor a power cut takes the host away.
pub(crate) fn fenced(house: &House) {
    house.fresh(&["h1"]);
    house.sh("h1", "rm -rf /var/lib/armilla");
    let runtime = runtime();
    let (mut first, mut second) = (Controller::new(house, "a"), Controller::new(house, "b"));
    runtime.block_on(silent_holder(house, &mut first, &mut second));
    runtime.block_on(daemon_lives_on(house, &second));
    hanging_order(house, &mut second);
    let second = power_cut(house, &mut first, second);
    runtime.block_on(nothing_is_left(house, &second));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

/// The first holder is stopped for longer than its lease.
async fn silent_holder(house: &House, first: &mut Controller, second: &mut Controller) {
    let readings = first.connections.read(&first.host, &[Probe::State]).await.expect("readings");
    assert_eq!(readings.state(&Probe::State).expect("a state").machine, house.sh("h1", "cat /etc/machine-id"));
    assert_eq!(first.ask(&Request::Look).await, LeaseAnswer::Free);
    assert!(!house.holds("h1", "test -e /var/lib/armilla/host"), "a look made something");

    assert_eq!(first.acquire(3).await, LeaseAnswer::Granted(1));
    assert!(matches!(second.acquire(3).await, LeaseAnswer::Taken(held) if held.lease.holder.who == "a@desk"));
    assert_eq!(first.perform(&[sh("touch /srv/first")], Some(intent())).await, Ok(vec![Outcome::Done]));
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(second.acquire(120).await, LeaseAnswer::Granted(2));
    match first.perform(&[sh("touch /srv/late")], None).await {
        Err(TransportError::Fenced { host, why }) => {
            assert!(host == "h1" && why.contains("b@desk") && why.contains("run-b"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    assert!(house.holds("h1", "test -e /srv/first && ! test -e /srv/late"), "a stale order was carried out");
}

/// A daemon that a step starts holds nothing.
async fn daemon_lives_on(house: &House, second: &Controller) {
    let daemon = "setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $! >/run/daemon";
    assert_eq!(second.perform(&[sh(daemon)], None).await, Ok(vec![Outcome::Done]));
    assert!(house.holds("h1", "kill -0 $(cat /run/daemon)"), "the daemon lives on");
    let held = second.ask(&Request::Look).await;
    assert!(matches!(held, LeaseAnswer::Taken(held) if !held.busy), "a daemon keeps the lock");
}

/// An order that hangs keeps others out, however long its holder is silent.
fn hanging_order(house: &House, second: &mut Controller) {
    let mut third = Controller::new(house, "c");
    let hanging = std::thread::spawn(move || {
        let hangs = [sh("echo $PPID >/run/step; while test -e /run/step; do sleep 0.1; done")];
        runtime().block_on(async {
            until_granted(&mut third, 2).await;
            third.perform(&hangs, Some(intent())).await
        })
    });
    let runtime = runtime();
    runtime.block_on(second.ask(&Request::Release { id: id("b") }));
    until("the step runs", || house.holds("h1", "test -s /run/step"));
    runtime.block_on(async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(matches!(second.acquire(120).await, LeaseAnswer::Taken(held) if held.busy && held.left() == 0));
    });
    house.sh("h1", "rm /run/step");
    assert_eq!(hanging.join().expect("the holder ends"), Ok(vec![Outcome::Done]));
    assert_eq!(runtime.block_on(second.acquire(120)), LeaseAnswer::Granted(4));
}

/// The power goes while a step runs: the lock and the journal outlive it. Gives the holder with a new
/// connection.
fn power_cut(house: &House, first: &mut Controller, second: Controller) -> Controller {
    let cut = std::thread::spawn(move || {
        let steps = [sh("touch /run/step; sleep 50"), sh("true")];
        let done = runtime().block_on(second.perform(&steps, Some(intent())));
        (second, done)
    });
    until("the step runs", || house.holds("h1", "test -e /run/step"));
    house.lab().kill(&["h1"], &mut |_| {}).expect("the power goes");
    house.lab().boot(&["h1"], &mut |_| {}).expect("the power comes");
    house.lab().wait(&["h1"]).expect("the host answers");
    let (second, done) = cut.join().expect("the holder ends");
    assert!(matches!(done, Err(TransportError::Lost { .. })), "{done:?}");
    runtime().block_on(async {
        let second = Controller { connections: connections(house), ..second };
        assert!(matches!(first.acquire(3).await, LeaseAnswer::Taken(held) if !held.busy && held.lease.id == id("b")));
        assert_eq!(second.ask(&Request::Renew { id: id("b") }).await, LeaseAnswer::Granted(4));
        let journal = second.state().await.journal.expect("a journal");
        let stages = Journal::parse(&journal).expect("it is understood").stages;
        assert_eq!(stages.len(), 3);
        assert_eq!((stages[2].step(0), stages[2].step(1)), (Reached::Unknown, Reached::NotBegun));
        second
    })
}

/// A saved ledger ends the journal and is readable by root only; without it nothing of ours stays.
async fn nothing_is_left(house: &House, second: &Controller) {
    let worked = second.state().await.journal.expect("a journal").len() as u64;
    let save = |ledger: Option<&str>| Step::SaveLedger {
        owner: environment().into(),
        ledger: ledger.map(|ledger| ledger.as_bytes().to_vec()),
        journal: worked,
    };
    assert_eq!(second.perform(&[save(Some("{}"))], None).await, Ok(vec![Outcome::Done]));
    let state = second.state().await;
    assert_eq!((state.ledger.as_deref(), state.journal), (Some(b"{}".as_slice()), None));
    let modes = house.sh("h1", &format!("stat -c %a {PLACE} {PLACE}/staging@h1 {PLACE}/staging@h1/ledger"));
    assert_eq!(modes, "700\n700\n600");
    assert_eq!(second.perform(&[save(None)], None).await, Ok(vec![Outcome::Done]));
    assert_eq!(second.ask(&Request::Release { id: id("b") }).await, LeaseAnswer::Free);
    assert!(!house.holds("h1", "test -e /var/lib/armilla/host"), "something is left");
}

async fn until_granted(controller: &mut Controller, seconds: u32) {
    while !matches!(controller.acquire(seconds).await, LeaseAnswer::Granted(_)) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
