//! Connections of the SSH transport to a real sshd: how many there are, what they carry, and what stays of them.
//!
//! In: keys, configurations and users made for the test. Out: what really happened. Never: the sshd, the keys or the known hosts of
//! this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use armilla::inventory::{Endpoint, Method};
use armilla::lease::LeaseId;
use armilla::name::HostName;
use armilla::secret::{Content, Secret};
use armilla::step::{Command, Fetch, Outcome, PathReading, Probe, Step};
use armilla::transport::{Connections, Order, SshOptions, StepEvent, Then, Transport as _, TransportError};

use crate::host::kill_all;
use crate::ssh::{Server, gone, run, said, write};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn one_connection_carries_the_whole_run_and_leaves_nothing_behind() {
    let server = Server::start("");
    let (host, connections) = (server.host(), Connections::new(server.options()));
    let (file, large) = (server.path("it's a file"), vec![0xfe; 3 << 20]);
    let probe = Probe::Path { path: file.clone(), content: Fetch::Always };
    let both = tokio::join!(
        connections.read(&host, std::slice::from_ref(&probe)),
        connections.read(&host, std::slice::from_ref(&probe))
    );
    assert_eq!(both.0.expect("an answer").path(&probe), Ok(&PathReading::Absent));
    let events = Mutex::new(Vec::new());
    let steps = [write(&file, Content::Plain(large.clone())), run("echo done")];
    let outcomes =
        connections.perform(&host, Order::of(&steps), &|event| events.lock().expect("a lock").push(event)).await;
    assert_eq!(outcomes, Ok(vec![Outcome::Done, Outcome::Done]));
    assert_eq!(events.lock().expect("a lock").len(), 4);
    assert!(fs::read(&file).expect("a file") == large);
    let (began, nothing) = (Instant::now(), Probe::Path { path: "/none".to_owned(), content: Fetch::Digest });
    connections.read(&host, &[nothing]).await.expect("an answer");
    eprintln!("one more read over the same connection: {:?}", began.elapsed());
    assert_eq!((connections.round_trips(&host), connections.connects(&host)), (4, 1));
    assert_eq!(server.leftovers().len(), 1);
    connections.close().await;
    assert_eq!(server.leftovers(), Vec::<PathBuf>::new());
    assert!(gone(&server).await, "the connection has ended");
    let again = Connections::new(server.options());
    again.read(&host, std::slice::from_ref(&probe)).await.expect("an answer");
    drop(again);
    assert_eq!(server.leftovers(), Vec::<PathBuf>::new());
    assert!(gone(&server).await, "dropping ends it as well");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn what_follows_steps_is_part_of_their_round_trip() {
    let server = Server::start("");
    let (host, connections) = (server.host(), Connections::new(server.options()));
    let file = server.path("made");
    let probe = Probe::Path { path: file.clone(), content: Fetch::Always };
    let asked = std::slice::from_ref(&probe);
    let then = Then { read: asked, release: None };
    let steps = [write(&file, Content::from("new"))];
    let done = connections.perform_then(&host, Order::of(&steps), then, &|_| {}).await.expect("it is done");
    assert_eq!(done.outcomes, [Outcome::Done]);
    let readings = done.readings.expect("it was read");
    assert!(matches!(readings.path(&probe), Ok(PathReading::File { content: Some(content), .. }) if content == b"new"));
    // Nobody reads on the strength of steps that failed.
    let steps = [run("exit 3"), write(&file, Content::from("never"))];
    let failed = connections.perform_then(&host, Order::of(&steps), then, &|_| {}).await.expect("it says so");
    assert!(matches!(failed.outcomes.as_slice(), [Outcome::Failed { exit: 3, .. }]) && failed.readings.is_none());
    // A host that holds no lease releases none; the steps are done.
    let id = LeaseId("lease-1".to_owned());
    let then = Then { read: asked, release: Some(&id) };
    let done = connections.perform_then(&host, Order::of(&[run("true")]), then, &|_| {}).await.expect("it is done");
    assert!(done.outcomes == [Outcome::Done] && done.readings.is_some() && !done.released);
    assert_eq!(connections.round_trips(&host), 3);
    connections.close().await;
}

/// The host program that a host runs what it is asked to by.
const PROGRAM: &str = "echo $PPID";

/// The connection that the host program came by: its own ports, as sshd knows them.
const CAME_BY: &str = "tr '\\0' '\\n' </proc/$PPID/environ | sed -n 's/^SSH_CONNECTION=//p'";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn one_program_does_what_comes_soon_and_is_replaced_when_it_is_gone() {
    let server = Server::start("");
    let (host, connections) = (server.host(), Connections::new(server.options()));
    let serving = async || said(&connections, &host, PROGRAM).await.expect("an answer");
    let first = serving().await;
    assert_eq!(serving().await, first);
    let both = tokio::join!(serving(), serving());
    assert_ne!(both.0, both.1, "two at once have one each");

    let before = serving().await;
    kill_all(&[before.parse().expect("a number")]);
    let after = serving().await;
    assert_ne!(after, before, "it was ended meanwhile");

    let failed = connections.perform(&host, Order::of(&[run("exit 3")]), &|_| ()).await.expect("an answer");
    assert!(matches!(failed[..], [Outcome::Failed { .. }]), "{failed:?}");
    assert_eq!(serving().await, after, "what failed there does not concern the next");

    let died = connections.perform(&host, Order::of(&[run("kill -KILL $PPID")]), &|_| ()).await;
    assert!(matches!(died, Err(TransportError::Lost { .. })), "what carried it out was killed: {died:?}");
    let after = serving().await;

    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_ne!(serving().await, after, "after a pause nobody knows whether it is still there");
    assert_eq!(connections.connects(&host), 1);
    connections.close().await;
    assert!(gone(&server).await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn a_connection_that_is_kept_serves_the_next_run_and_then_ends() {
    let server = Server::start("");
    let host = server.host();
    let options = |seconds: u64| SshOptions { keep: Some(Duration::from_secs(seconds)), ..server.options() };
    // What the host calls the connection that a run came by: other ports, another connection.
    let run = async |seconds: u64| {
        let connections = Connections::new(options(seconds));
        let came_by = said(&connections, &host, CAME_BY).await.expect("an answer");
        connections.close().await;
        came_by
    };
    let first = run(60).await;
    assert_eq!(run(60).await, first, "it stays, and is used again");
    assert_ne!(run(2).await, first, "not by who wants something else");

    // It stands, but nothing comes over it any more.
    let stop = |signal| {
        for session in server.sessions() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(session), signal);
        }
    };
    stop(nix::sys::signal::Signal::SIGSTOP);
    let second = run(60).await;
    assert_ne!(second, first);
    assert_eq!(run(60).await, second);
    stop(nix::sys::signal::Signal::SIGCONT);

    let folder = server.home.join("kept");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).expect("a mode");
    match said(&Connections::new(options(60)), &host, "echo here").await {
        Err(TransportError::Local { why, .. }) => assert!(why.contains("only this user can read"), "{why}"),
        other => panic!("{other:?}"),
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("a mode");

    // What is to be kept no more ends, and the rest by itself.
    let connections = Connections::new(options(60));
    assert_eq!(said(&connections, &host, CAME_BY).await, Ok(second));
    connections.hang_up(&host).await;
    assert!(gone(&server).await, "{:?}", server.sessions());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn what_programs_that_were_killed_left_on_this_machine_goes() {
    let server = Server::start("");
    let folder = |name: &str, age: u64| {
        let folder = server.home.join(name);
        fs::create_dir(&folder).expect("a folder");
        let socket = UnixListener::bind(folder.join("1")).expect("a socket");
        let changed = SystemTime::now() - Duration::from_secs(age);
        fs::File::open(&folder).and_then(|folder| folder.set_modified(changed)).expect("a time");
        socket
    };
    drop(folder("armilla-00000000deadbeef", 3600));
    drop(folder("armilla-00000000deadbee1", 5));
    let _alive = folder("armilla-00000000deadbee2", 3600);
    drop(folder("armilla-of-somebody-else", 3600));
    // A program that lives may have no connection for a while.
    drop(folder("armilla-00000000deadbee3", 3600));
    let lock = fs::File::create(server.home.join("armilla-00000000deadbee3/lock")).expect("a file");
    lock.lock().expect("a lock");
    let changed = SystemTime::now() - Duration::from_secs(3600);
    let waiting = fs::File::open(server.home.join("armilla-00000000deadbee3"));
    waiting.and_then(|folder| folder.set_modified(changed)).expect("a time");
    let connections = Connections::new(server.options());
    assert_eq!(said(&connections, &server.host(), "echo here").await, Ok("here".to_owned()));
    connections.close().await;
    let mut left = server.leftovers();
    left.sort();
    let left: Vec<_> = left.iter().map(|path| path.file_name().expect("a name").to_string_lossy()).collect();
    let stay = ["armilla-00000000deadbee1", "armilla-00000000deadbee2", "armilla-00000000deadbee3"];
    assert_eq!(left[..3], stay);
    assert_eq!(left[3..], ["armilla-of-somebody-else"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f08_a_lost_connection_is_told_the_running_step_ends_and_the_next_read_connects_again() {
    let server = Server::start("");
    let (host, connections) = (server.host(), Connections::new(server.options()));
    let (one, two) = (server.path("one"), server.path("two"));
    let steps = [run(&format!("sleep 2; touch '{one}'")), run(&format!("touch '{two}'"))];
    let begun = tokio::sync::Notify::new();
    let watch = |event| {
        if event == (StepEvent::Started { index: 0 }) {
            begun.notify_one();
        }
    };
    let cut = async {
        begun.notified().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        for process in server.sessions() {
            if fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.starts_with("sshd")) {
                kill_all(&[process]);
            }
        }
    };
    let (outcomes, ()) = tokio::join!(connections.perform(&host, Order::of(&steps), &watch), cut);
    assert!(matches!(outcomes, Err(TransportError::Lost { .. })), "{outcomes:?}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(Path::new(&one).exists(), "what had begun was finished");
    assert!(!Path::new(&two).exists(), "nothing new began");
    assert_eq!(said(&connections, &host, "echo back").await, Ok("back".to_owned()));
    assert_eq!(connections.connects(&host), 2);
    for process in server.sessions() {
        kill_all(&[process]);
    }
    assert_eq!(said(&connections, &host, "echo again").await, Ok("again".to_owned()), "nothing was under way");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn a_secret_is_in_no_list_of_processes() {
    let server = Server::start("");
    let (host, connections) = (server.host(), Connections::new(server.options()));
    let secret = "correct-horse-battery";
    let mut reads = Command::new(["sh", "-c", "read -r word; sleep 1; [ ${#word} = 21 ]"]);
    reads.stdin = Content::Secret(Secret::new(format!("{secret}\n").into_bytes()));
    let steps = [write(&server.path("secret"), Content::Secret(Secret::new(secret.into()))), Step::Run(reads)];
    let seen = async {
        let (mut seen, began) = (Vec::new(), Instant::now());
        while began.elapsed() < Duration::from_millis(1500) {
            seen.extend(processes_with(secret));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        seen
    };
    let (outcomes, seen) = tokio::join!(connections.perform(&host, Order::of(&steps), &|_| ()), seen);
    assert_eq!(outcomes, Ok(vec![Outcome::Done, Outcome::Done]));
    assert_eq!(seen, Vec::<String>::new());
    assert_eq!(fs::read_to_string(server.path("secret")).expect("a file"), secret);
}

fn processes_with(secret: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let texts = entries.flat_map(|entry| ["cmdline", "environ"].map(|file| entry.path().join(file)));
    texts
        .filter_map(|file| fs::read(file).ok())
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .filter(|text| text.contains(secret))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn a_connection_lives_as_long_as_it_may_be_needed() {
    let server = Server::start("");
    let (host, connections) = (server.host(), Connections::new(server.options()));
    assert_eq!(said(&connections, &host, "echo yes").await, Ok("yes".to_owned()));
    // Longer than a master outlives its program.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(said(&connections, &host, "echo yes").await, Ok("yes".to_owned()));
    assert_eq!(connections.connects(&host), 1);
    connections.close().await;
    assert!(gone(&server).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn this_machine_is_worked_on_without_ssh() {
    let mut host = Endpoint::new(HostName::new("here").expect("a name"));
    host.method = Method::Local;
    let connections = Connections::new(SshOptions { config: Some("/no/such/file".into()), ..SshOptions::default() });
    assert_eq!(said(&connections, &host, "echo \"it's here\"").await, Ok("it's here".to_owned()));
    let outcomes = connections.perform(&host, Order::of(&[run("exit 3")]), &|_| ()).await;
    assert_eq!(outcomes, Ok(vec![Outcome::Failed { exit: 3, stderr: String::new() }]));
    assert_eq!((connections.round_trips(&host), connections.connects(&host)), (2, 0));
}
