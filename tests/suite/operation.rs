//! The front door as a program uses it that is no command line: one that embeds it, and one that stops it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use armilla::apply::End;
use armilla::history::History;
use armilla::name::EnvName;
use armilla::operation::{Abort, Approved, Ground, Identity, Locked, Notice, Observer, Outcome, Session, Silent, Stop};
use armilla::sim::{Fleet, Host};
use armilla::transport::Transport;
use armilla::workspace::{Environment, Request, Workspace};

#[path = "../../examples/embed.rs"]
#[expect(dead_code, reason = "an example has a main function of its own")]
mod embed;

use crate::host::Room;

const ROLE: &str = "summary: x\nresources:\n  - file: { path: FOLDER/greeting, content: hello }\n";

/// A project with one host, on which a role writes a file; below the project, if no other folder is named.
fn project(name: &str, folder: Option<&str>) -> Room {
    let room = Room::new(&format!("operation-{name}"));
    let folder = folder.or(room.0.to_str()).expect("a name in UTF-8");
    let file = |path: &str, text: &str| {
        let path = room.0.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    file("site.yml", "services:\n  greeting: { hosts: all }\n");
    file("inventories/here/hosts.yml", "hosts:\n  laptop: { connection: local }\n");
    file("roles/greeting/role.yml", &ROLE.replace("FOLDER", folder));
    room
}

async fn environment(project: &Path) -> Environment {
    let request = Request::of(EnvName::new("here").expect("a name"));
    Workspace::open(project).expect("a project").environment(&request).await.expect("an environment")
}

/// A session with that host in memory.
fn session(room: &Room, observer: Arc<dyn Observer>) -> Session<Fleet> {
    let fleet = Fleet::default();
    fleet.add("laptop", Host::new());
    let history = History::new(&room.0.join("state"));
    Session::new(Arc::new(fleet), Identity::of_this_process("a test"), history, observer)
}

/// Runs a test in a process of its own, in which this machine keeps what armilla remembers of it in a folder of the test.
fn on_own_host(test: &str, work: impl Future<Output = ()>) {
    const INSIDE: &str = "ARMILLA_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        return runtime.expect("a runtime").block_on(work);
    }
    let room = Room::new(&format!("operation-host-{test}"));
    let this = std::env::current_exe().expect("this program");
    let mut inside = std::process::Command::new(this);
    inside
        .args(["--include-ignored", "--exact", &format!("operation::{test}")])
        .env(INSIDE, "1")
        .env("ARMILLA_HOST_DIR", &room.0);
    let output = inside.output().expect("it starts");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Futures that a daemon spawns.
#[expect(dead_code, reason = "it only has to compile")]
fn what_a_session_does_may_move_between_threads<T: Transport>(
    session: &'static Session<T>,
    environment: &'static Environment,
    stop: &'static Stop,
    (locked, approved): (Locked<T>, Approved),
) {
    fn is_send(_: impl Future + Send) {}
    is_send(session.survey(environment, stop));
    is_send(async { session.lock(&Ground::of(environment), stop).await });
    is_send(session.apply(locked, approved, Stop::never()));
}

#[test]
#[ignore = "needs root: the files it makes belong to root"]
fn the_example_converges_and_then_finds_nothing_to_do() {
    on_own_host("the_example_converges_and_then_finds_nothing_to_do", example());
}

async fn example() {
    let room = project("embed", None);
    let state = room.0.join("state");
    let first = embed::converge(&room.0, "here", &state).await.expect("an outcome");
    assert_eq!(first.outcome, Outcome::Converged { changed: true });
    assert_eq!(fs::read_to_string(room.0.join("greeting")).expect("a file"), "hello");
    let recorded = History::new(&state).list();
    let ends: Vec<_> = recorded.iter().map(|run| run.end.as_ref().map(|end| end.outcome)).collect();
    assert_eq!(ends, [Some(Outcome::Converged { changed: true })]);
    let second = embed::converge(&room.0, "here", &state).await.expect("an outcome");
    assert_eq!(second.outcome, Outcome::Converged { changed: false });
    assert!(second.ran.is_none(), "nothing had to be done");
}

#[tokio::test]
async fn whoever_holds_the_lock_is_named_and_a_dropped_lock_is_released() {
    let room = project("lock", Some("/etc"));
    let environment = environment(&room.0).await;
    let (ground, session) = (Ground::of(&environment), session(&room, Arc::new(Silent)));
    let first = session.lock(&ground, &Stop::never()).await.expect("a lock");
    match session.lock(&ground, &Stop::never()).await.err() {
        Some(Abort::Locked { held, .. }) => assert_eq!(held.lease.holder.run, *first.run()),
        other => panic!("{other:?}"),
    }
    drop(first);
    let patient = session
        .with(armilla::operation::Options { lock_timeout: std::time::Duration::from_secs(20), ..session.options() });
    let second = patient.lock(&ground, &Stop::never()).await.expect("the lock was released");
    second.release().await;
}

#[tokio::test]
async fn a_stop_before_the_run_leaves_everything_as_it_was() {
    let room = project("stop", Some("/etc"));
    let environment = environment(&room.0).await;
    let session = session(&room, Arc::new(Silent));
    let (stopper, stop) = Stop::channel();
    let locked = session.lock(&Ground::of(&environment), &stop).await.expect("a lock");
    let survey = locked.survey(&environment, &stop).await.expect("a survey");
    let proposal = session.propose(&environment, survey);
    let approved = session.approve(proposal, &armilla::operation::Limits::default(), &stop).await.expect("approved");
    stopper.request();
    assert!(matches!(session.survey(&environment, &stop).await, Err(Abort::Stopped)));
    assert!(matches!(session.apply(locked, approved, stop.clone()).await, Err(Abort::Stopped)));
    assert!(matches!(session.lock(&Ground::of(&environment), &stop).await, Err(Abort::Stopped)));
    assert!(session.history().list().is_empty());
    let free = session.lock(&Ground::of(&environment), &Stop::never()).await.expect("the locks were released");
    free.release().await;
}

/// Requests a stop as soon as the run begins.
struct StopAtOnce(armilla::operation::Stopper);

impl Observer for StopAtOnce {
    fn notice(&self, notice: Notice<'_>) {
        if let Notice::Begun { .. } = notice {
            self.0.request();
        }
    }
}

#[tokio::test]
async fn a_stop_as_the_run_begins_is_an_outcome_and_begins_no_stage() {
    let room = project("begin", Some("/etc"));
    let environment = environment(&room.0).await;
    let (stopper, stop) = Stop::channel();
    let session = session(&room, Arc::new(StopAtOnce(stopper)));
    let locked = session.lock(&Ground::of(&environment), &stop).await.expect("a lock");
    let survey = locked.survey(&environment, &stop).await.expect("a survey");
    let proposal = session.propose(&environment, survey);
    let approved = session.approve(proposal, &armilla::operation::Limits::default(), &stop).await.expect("approved");
    let finished = session.apply(locked, approved, stop).await.expect("an outcome");
    assert_eq!(finished.outcome, Outcome::Stopped);
    let begun = finished.ran.iter().flat_map(|ran| &ran.report.ends).any(|end| *end != End::Stopped);
    assert!(!begun, "{finished:?}");
    let open = armilla::operation::resume::last_open(session.history(), Some((&environment.root, None)));
    assert_eq!(open.map(|run| run.head.run), finished.ran.map(|ran| ran.run), "it can be resumed");
}
