//! Faults of the network on the way to a real sshd: cables that stall, drop everything silently, or are slow, and hosts that do
//! not answer or answer without end.
//!
//! In: the SSH transport and a cable with a fault. Out: how it ended, and how long it took. Never: a host but this machine.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use armilla::inventory::Endpoint;
use armilla::name::HostName;
use armilla::observe;
use armilla::secret::Content;
use armilla::step::{Command, Outcome, Probe};
use armilla::transport::{Connections, Order, SshOptions, StepEvent, Transport as _, TransportError};
use camino::Utf8PathBuf;
use tokio::task::JoinSet;

use crate::network::{text, through};
use crate::proxy::{Cable, Pieces, Proxy, Way, What};
use crate::ssh::{Server, gone, run, said, write};
use crate::waiting::NOT_HELD_UP;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f08_steps_are_never_begun_a_second_time_by_themselves() {
    let server = Server::start("");
    server.known_by_any_port();
    let proxy = Proxy::start(server.address(), |_| Cable::sound());
    let (host, connections) = through(&server, &proxy);
    let count = server.path("count");
    let steps = [run(&format!("echo once >>'{count}'; sleep 1")), run(&format!("echo two >>'{count}'"))];
    let begun = tokio::sync::Notify::new();
    let watch = |event| {
        if event == (StepEvent::Started { index: 0 }) {
            begun.notify_one();
        }
    };
    let cut = async {
        begun.notified().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        proxy.cut();
    };
    let (told, ()) = tokio::join!(connections.perform(&host, Order::of(&steps), &watch), cut);
    assert!(matches!(told, Err(TransportError::Lost { .. })), "{told:?}");
    assert!(gone(&server).await, "what was under way has ended");
    assert_eq!(fs::read_to_string(&count).expect("a file"), "once\n", "the step ended, and no other began");
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f09_a_slow_a_late_and_a_stalled_connection_do_their_work() {
    let server = Server::start("");
    server.known_by_any_port();
    let (late, gathered) = (Duration::from_millis(370), Duration::from_millis(40));
    let stall = What::Stall(Duration::from_secs(5));
    let cables = [
        ("370 ms later each way", Cable::late(late)),
        ("stalled there for 5 s", Cable::with(Way::There, 30_000, stall)),
        ("stalled back for 5 s", Cable::with(Way::Back, 3_000, stall)),
        ("40 kB in a second", Cable { rate: Some(40_000), ..Cable::sound() }),
        ("in pieces of 7 bytes", Cable { pieces: Pieces::AtMost(7), ..Cable::sound() }),
        ("gathered for 40 ms", Cable { pieces: Pieces::Gathered(gathered), ..Cable::sound() }),
    ];
    let (server, new) = (Arc::new(server), text("new"));
    let mut all = JoinSet::new();
    for (number, (what, cable)) in cables.into_iter().enumerate() {
        let (server, new) = (Arc::clone(&server), new.clone());
        all.spawn(async move {
            let proxy = Proxy::start(server.address(), move |_| cable.clone());
            let (host, connections) = through(&server, &proxy);
            let (file, begun) = (server.path(&format!("slow{number}")), Instant::now());
            let steps = [write(&file, Content::Plain(new.clone())), run("exit 0")];
            let told = connections.perform(&host, Order::of(&steps), &|_| ()).await;
            assert_eq!(told, Ok(vec![Outcome::Done, Outcome::Done]), "{what}");
            assert!(fs::read(&file).expect("the file") == new, "{what}");
            assert_eq!(said(&connections, &host, "echo read").await, Ok("read".to_owned()), "{what}");
            assert_eq!(connections.connects(&host), 1, "{what}: nothing was lost");
            connections.close().await;
            eprintln!("{what}: {:?}", begun.elapsed());
        });
    }
    all.join_all().await;
}

/// Three hosts, each with a cable of its own, and connected.
async fn three(server: &Server, connections: &Connections) -> (Vec<Proxy>, Vec<Endpoint>) {
    server.known_by_any_port();
    let proxies: Vec<Proxy> = (0..3).map(|_| Proxy::start(server.address(), |_| Cable::sound())).collect();
    let hosts: Vec<Endpoint> =
        proxies.iter().zip(["a1", "a2", "a3"]).map(|(proxy, name)| at(proxy.port, name)).collect();
    for host in &hosts {
        assert_eq!(said(connections, host, "echo up").await, Ok("up".to_owned()));
    }
    (proxies, hosts)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f09_a_host_that_falls_silent_holds_nobody_up() {
    let server = Server::start("");
    // As if the silent one were waited for without end.
    let connections = Connections::new(SshOptions { keep_alive: Duration::from_secs(600), ..server.options() });
    let (proxies, hosts) = three(&server, &connections).await;
    proxies[1].silence();
    let steps = [run("sleep 1"), run("sleep 1")];
    let others = async {
        let told = tokio::join!(
            connections.perform(&hosts[0], Order::of(&steps), &|_| ()),
            connections.perform(&hosts[2], Order::of(&steps), &|_| ())
        );
        proxies[1].cut();
        told
    };
    let (silent, (one, three)) = tokio::join!(connections.perform(&hosts[1], Order::of(&steps), &|_| ()), others);
    assert_eq!((one, three), (Ok(vec![Outcome::Done; 2]), Ok(vec![Outcome::Done; 2])));
    assert!(matches!(silent, Err(TransportError::Lost { .. } | TransportError::Unreachable { .. })), "{silent:?}");
    connections.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f09_a_host_that_falls_silent_ends_by_its_own_limit() {
    let server = Server::start("");
    let options =
        SshOptions { keep_alive: Duration::from_secs(1), connect_timeout: Duration::from_secs(2), ..server.options() };
    let connections = Connections::new(options);
    let (proxies, hosts) = three(&server, &connections).await;
    let (proxy, host) = (&proxies[1], &hosts[1]);
    let begun = Instant::now();
    proxy.silence();
    let told = connections.perform(host, Order::of(&[run("exit 0")]), &|_| ()).await;
    assert!(matches!(told, Err(TransportError::Lost { .. } | TransportError::Unreachable { .. })), "{told:?}");

    // In the middle of a conversation, too; and once the cable is whole again, the next one just works.
    proxy.heal();
    assert_eq!(said(&connections, host, "echo back").await, Ok("back".to_owned()));
    let silent = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        proxy.silence();
    };
    let steps = [run("sleep 600")];
    let (told, ()) = tokio::join!(connections.perform(host, Order::of(&steps), &|_| ()), silent);
    assert!(matches!(told, Err(TransportError::Lost { .. })), "{told:?}");
    let told = said(&connections, host, "echo yes").await;
    assert!(matches!(told, Err(TransportError::Unreachable { .. })), "{told:?}");
    proxy.heal();
    assert_eq!(said(&connections, host, "echo back").await, Ok("back".to_owned()));
    assert!(begun.elapsed() < NOT_HELD_UP, "{:?}", begun.elapsed());
    connections.close().await;
}

fn at(port: u16, name: &str) -> Endpoint {
    let mut host = Endpoint::new(HostName::new(name).expect("a name"));
    "127.0.0.1".clone_into(&mut host.address);
    host.port = Some(port);
    host
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f11_a_host_that_never_answers_a_dead_bastion_and_a_hung_name_delay_by_their_limit() {
    let server = Server::start("");
    server.known_by_any_port();
    // Takes connections and never says a word.
    let dumb = TcpListener::bind("127.0.0.1:0").expect("a port");
    let deaf = dumb.local_addr().expect("it").port();
    let config = fs::read_to_string(server.path("config")).expect("a file");
    let own = format!(
        "Host bastion\nHostName 127.0.0.1\nPort {deaf}\nHost inner\nHostName 127.0.0.1\nProxyJump bastion\n\
         Match originalhost nameless exec \"sleep 600\"\nHostName 127.0.0.1\nHost *\n"
    );
    fs::write(server.path("config"), own + &config).expect("a file");
    let options = SshOptions { connect_timeout: Duration::from_secs(1), ..server.options() };
    let transport = Arc::new(Connections::new(options));
    let mut hosts = vec![at(deaf, "b1"), at(server.port, "b2"), at(server.port, "b3")];
    for name in ["inner", "nameless"] {
        let mut host = at(server.port, name);
        name.clone_into(&mut host.address);
        hosts.push(host);
    }
    let probe = Probe::Command(Command::new(["true"]));
    let questions = hosts.into_iter().map(|host| (host, vec![probe.clone()])).collect();
    let (begun, mut took) = (Instant::now(), BTreeMap::new());
    let answers = observe::ask(&transport, questions, 20, |host, _| {
        took.insert(host.to_string(), begun.elapsed());
    })
    .await;
    eprintln!("{took:?}");
    for (host, answer) in &answers {
        assert_eq!(answer.is_ok(), ["b2", "b3"].contains(&host.as_str()), "{host}: {answer:?}");
        assert!(took[host.as_str()] < NOT_HELD_UP, "{took:?}");
    }
    transport.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f13_output_without_end_is_cut_off() {
    // A busy machine needs its time for 64 MiB.
    let endless = [
        ("yes", 40, "more than 64 MiB"),
        ("sh -c 'yes >&2'", 4, "no answer within 4 s"),
        ("sh -c 'cat /dev/zero'", 40, "more than 64 MiB"),
        ("sleep 600", 4, "no answer within 4 s"),
    ];
    for (command, limit, wanted) in endless {
        let server = Server::start(&format!("ForceCommand {command}"));
        let begun = Instant::now();
        let options = SshOptions { read_timeout: Duration::from_secs(limit), ..server.options() };
        let told = said(&Connections::new(options), &server.host(), "echo yes").await;
        let why = told.expect_err("no answer").to_string();
        assert!(why.contains(wanted), "{command}: {why}");
        assert!(begun.elapsed() < NOT_HELD_UP, "{command}: {:?}", begun.elapsed());
    }
    let noise = "head -c 40000 /dev/urandom; printf '\\033[2J'; head -c 200000 /dev/urandom >&2";
    // No `SetEnv`: sshd takes only the first, and the server has one.
    let language = "export LC_ALL=de_DE.UTF-8 LANG=xx";
    let server = Server::start(&format!("ForceCommand {language}; {noise}; eval \"$SSH_ORIGINAL_COMMAND\""));
    let script = "ls /no/such 2>&1 | grep -c 'No such'; echo $LC_ALL";
    let told = said(&Connections::new(server.options()), &server.host(), script).await;
    assert_eq!(told, Ok("1\nC".to_owned()), "noise before the answer, and a language of its own");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f15_a_host_that_was_lost_is_waited_for() {
    let mut server = Server::start("");
    let host = server.host();
    let options = SshOptions { control_dir: Some(Utf8PathBuf::from("/tmp")), ..server.options() };
    let connections = Connections::new(options);
    let here = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("an id");
    assert_eq!(said(&connections, &host, "echo up").await, Ok("up".to_owned()));
    server.stop();
    let told: Mutex<Vec<String>> = Mutex::default();
    let tell = |text: &str| told.lock().expect("a lock").push(text.to_owned());
    let begun = Instant::now();
    let never = connections.await_back(&host, Duration::from_secs(3), &tell).await;
    assert!(matches!(never, Err(TransportError::Unreachable { .. })), "{never:?}");
    assert!(begun.elapsed() < NOT_HELD_UP, "{:?}", begun.elapsed());
    let first = told.lock().expect("a lock").first().cloned().expect("it was told");
    assert!(first.starts_with("waiting for h1 to come back: h1 is unreachable: "), "{first}");
    let (back, ()) = tokio::join!(connections.await_back(&host, Duration::from_secs(60), &tell), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.start_again();
    });
    assert_eq!(back.as_deref(), Ok(here.trim()), "the boot it is in");
    assert_eq!(said(&connections, &host, "echo on").await, Ok("on".to_owned()));
    server.stop();
    fs::copy(server.path("other"), server.path("host")).expect("another key");
    server.start_again();
    let begun = Instant::now();
    let stranger = connections.await_back(&host, Duration::from_secs(600), &tell).await;
    assert!(matches!(stranger, Err(TransportError::HostKeyChanged { .. })), "{stranger:?}");
    assert!(begun.elapsed() < NOT_HELD_UP, "a stranger is not waited for");
}
