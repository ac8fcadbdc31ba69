//! Cables that are cut on the way to a real sshd, at any point of what they carry.
//!
//! In: the SSH transport and a cable with a fault. Out: what is on the disk afterwards. Never: a host but this machine.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use armilla::inventory::Endpoint;
use armilla::secret::Content;
use armilla::step::{Fetch, Outcome, PathReading, Probe};
use armilla::transport::{Connections, Order, Transport as _, TransportError};
use tokio::task::JoinSet;

use crate::proxy::{Cable, Proxy, Way, What};
use crate::ssh::{Server, gone, said, write};
use crate::unpack::{tar, unpacking};

/// Points that are tried at the same time.
const AT_ONCE: usize = 6;

/// Where a cable is cut, and how.
#[derive(Debug, Clone, Copy)]
struct Point {
    number: usize,
    way: Way,
    after: u64,
    what: What,
}

impl Point {
    fn cable(self) -> Cable {
        Cable::with(self.way, self.after, self.what)
    }
}

/// Every so manieth part of the traffic, both ways, by turns with a reset and with an end.
fn points(traffic: [u64; 2], parts: u64) -> Vec<Point> {
    let ways = [(Way::There, traffic[0]), (Way::Back, traffic[1])];
    let cuts = ways.into_iter().flat_map(|(way, all)| (0..parts).map(move |part| (way, all * part / parts)));
    let what = |number| if usize::is_multiple_of(number, 2) { What::Reset } else { What::End };
    cuts.enumerate().map(|(number, (way, after))| Point { number, way, after, what: what(number) }).collect()
}

pub(crate) fn through(server: &Server, proxy: &Proxy) -> (Endpoint, Connections) {
    let mut host = server.host();
    host.port = Some(proxy.port);
    (host, Connections::new(server.options()))
}

/// A text of 64 KiB in which every line says what it belongs to.
pub(crate) fn text(word: &str) -> Vec<u8> {
    (0..65_536 / 16).flat_map(|line| format!("{word} line {line:06}\n").into_bytes()).collect()
}

/// Tries all points, a few at a time; gives what each was told.
async fn tried<T, F>(points: Vec<Point>, one: impl Fn(Point) -> F) -> Vec<(Point, T)>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (mut all, mut running) = (Vec::new(), JoinSet::new());
    for point in points {
        if running.len() == AT_ONCE {
            all.extend(running.join_next().await.map(|ended| ended.expect("it ends")));
        }
        let one = one(point);
        running.spawn(async move { (point, one.await) });
    }
    all.extend(running.join_all().await);
    all
}

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    entries.map(|name| name.to_string_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f07_a_transfer_cut_at_any_64th_leaves_the_old_file_or_the_new() {
    // The login prints something: without it, a cut before our shell starts is plain.
    let server = Server::start("ForceCommand echo welcome >&2; exec sh -c \"$SSH_ORIGINAL_COMMAND\"\n");
    server.known_by_any_port();
    let server = Arc::new(server);
    let (old, new) = (text("old"), text("new"));
    let change = |server: Arc<Server>, folder: String, cable: Cable| {
        let (old, new) = (old.clone(), new.clone());
        async move {
            fs::create_dir(&folder).expect("a directory");
            fs::write(format!("{folder}/file"), &old).expect("a file");
            let proxy = Proxy::first(server.address(), cable);
            let (host, connections) = through(&server, &proxy);
            let steps = [write(&format!("{folder}/file"), Content::Plain(new))];
            let told = connections.perform(&host, Order::of(&steps), &|_| ()).await;
            connections.close().await;
            (told, proxy.carried(0))
        }
    };
    let (told, traffic) = change(Arc::clone(&server), server.path("sound"), Cable::sound()).await;
    assert_eq!(told, Ok(vec![Outcome::Done]));
    assert!(traffic[0] > 65_536, "the file is carried: {traffic:?}");
    let points = points(traffic, 64);
    let count = points.len();
    let all =
        tried(points, |point| change(Arc::clone(&server), server.path(&format!("f{}", point.number)), point.cable()))
            .await;
    assert!(gone(&server).await, "what was under way has ended");
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for (point, (told, _)) in &all {
        let folder = server.path(&format!("f{}", point.number));
        assert_eq!(names(&folder), ["file"], "{point:?}: nothing else is left");
        let now = fs::read(format!("{folder}/file")).expect("the file");
        assert!(now == old || now == new, "{point:?}: {} bytes of both", now.len());
        match told {
            Ok(outcomes) => assert!(outcomes == &[Outcome::Done] && now == new, "{point:?} {outcomes:?}"),
            Err(TransportError::Lost { .. }) => {}
            Err(other) => panic!("{point:?}: {other}"),
        }
        let end = match (told, now == new) {
            (Ok(_), _) => "done",
            (Err(_), true) => "lost after it was done",
            (Err(_), false) => "lost before",
        };
        *ends.entry(end).or_default() += 1;
    }
    assert!(ends["lost before"] > 40, "most of the traffic there is the file: {ends:?}");
    eprintln!("cut at {count} points of {traffic:?} bytes: {ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f07_a_reading_cut_at_any_64th_is_asked_again_and_leaves_no_trace() {
    let server = Server::start("");
    server.known_by_any_port();
    let server = Arc::new(server);
    let content = text("the");
    fs::create_dir(server.path("read")).expect("a directory");
    fs::write(server.path("read/file"), &content).expect("a file");
    let read = |server: Arc<Server>, cable: Cable| async move {
        let proxy = Proxy::first(server.address(), cable);
        let (host, connections) = through(&server, &proxy);
        let probe = Probe::Path { path: server.path("read/file"), content: Fetch::Always };
        let told = connections.read(&host, std::slice::from_ref(&probe)).await.map(|readings| {
            match readings.path(&probe).expect("an answer") {
                PathReading::File { content, .. } => content.clone().expect("its content"),
                other => panic!("{other:?}"),
            }
        });
        connections.close().await;
        (told, proxy.carried(0), proxy.connections())
    };
    let (told, traffic, _) = read(Arc::clone(&server), Cable::sound()).await;
    assert_eq!(told, Ok(content.clone()));
    assert!(traffic[1] > 65_536, "the file is carried: {traffic:?}");
    let points = points(traffic, 64);
    let count = points.len();
    let all = tried(points, |point| read(Arc::clone(&server), point.cable())).await;
    let mut twice = 0;
    for (point, (told, _, connections)) in &all {
        assert!(told.as_ref() == Ok(&content), "{point:?}: {:?}", told.as_ref().err());
        twice += connections - 1;
    }
    assert!(gone(&server).await, "what was under way has ended");
    assert_eq!(names(&server.path("read")), ["file"], "no trace");
    assert_eq!(fs::read(server.path("read/file")).expect("the file"), content);
    assert!(twice > 100, "nearly all of them connected again: {twice}");
    eprintln!("cut at {count} points of {traffic:?} bytes: {twice} connected again, all were answered");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f07_an_archive_cut_at_any_16th_leaves_the_old_tree_or_the_new() {
    let server = Server::start("");
    server.known_by_any_port();
    let server = Arc::new(server);
    let archive = |word: &str| {
        let text = String::from_utf8(text(word)).expect("a text");
        tar(&[("one", &text), ("two", word)])
    };
    let (old, new) = (archive("old"), archive("new"));
    let swap = |server: Arc<Server>, folder: String, cable: Cable| {
        let [first, second] = [&old, &new].map(|archive| unpacking(&format!("{folder}/tree"), archive.clone()));
        async move {
            fs::create_dir(&folder).expect("a directory");
            let outcomes = crate::host::perform(&[first]);
            assert_eq!(outcomes, [Outcome::Done]);
            let proxy = Proxy::first(server.address(), cable);
            let (host, connections) = through(&server, &proxy);
            let told = connections.perform(&host, Order::of(&[second]), &|_| ()).await;
            connections.close().await;
            (told, proxy.carried(0))
        }
    };
    let (told, traffic) = swap(Arc::clone(&server), server.path("sound"), Cable::sound()).await;
    assert_eq!(told, Ok(vec![Outcome::Done]));
    let points = points(traffic, 16);
    let count = points.len();
    let all =
        tried(points, |point| swap(Arc::clone(&server), server.path(&format!("a{}", point.number)), point.cable()))
            .await;
    assert!(gone(&server).await, "what was under way has ended");
    let mut fresh = 0;
    for (point, (told, _)) in &all {
        let folder = server.path(&format!("a{}", point.number));
        assert_eq!(names(&folder), ["tree"], "{point:?}: nothing else is left");
        let word = fs::read_to_string(format!("{folder}/tree/two")).expect("a file of it");
        assert!(fs::read(format!("{folder}/tree/one")).expect("the other") == text(&word), "{point:?}: a mixture");
        assert!(told.is_err() || word == "new", "{point:?}: {told:?} {word}");
        fresh += usize::from(word == "new");
    }
    eprintln!("cut at {count} points of {traffic:?} bytes: {fresh} new trees, {} old ones", count - fresh);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f07_a_host_that_turns_the_first_connection_away_is_asked_once_more() {
    let server = Server::start("");
    server.known_by_any_port();
    for what in [What::Reset, What::End] {
        let proxy = Proxy::first(server.address(), Cable::with(Way::Back, 0, what));
        let (host, connections) = through(&server, &proxy);
        assert_eq!(said(&connections, &host, "echo yes").await, Ok("yes".to_owned()), "{what:?}");
        assert_eq!(connections.connects(&host), 2);
        let proxy = Proxy::start(server.address(), move |_| Cable::with(Way::Back, 0, what));
        let (host, connections) = through(&server, &proxy);
        let told = said(&connections, &host, "echo yes").await;
        assert!(matches!(told, Err(TransportError::Unreachable { .. })), "{what:?}: {told:?}");
        assert_eq!(proxy.connections(), 2, "not for ever");
    }
}
