//! The SSH transport against a real sshd of its own, on a free port of the loopback.
//!
//! In: keys, configurations and users made for the test. Out: what really happened. Never: the sshd, the keys or the
//! known hosts of this machine.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use armilla::inventory::{Become, Endpoint, Method};
use armilla::name::HostName;
use armilla::secret::{Content, Secret};
use armilla::step::{Command, Fetch, Mode, Outcome, Ownership, PathReading, Probe, Step};
use armilla::transport::{Connections, KnownHosts, Order, SshOptions, StepEvent, Transport, TransportError};
use camino::Utf8PathBuf;

use crate::waiting::NOT_HELD_UP;

/// An sshd with keys and a configuration for its clients, in a directory of its own.
pub(crate) struct Server {
    pub(crate) home: PathBuf,
    pub(crate) port: u16,
    sshd: Child,
}

static SERVERS: AtomicUsize = AtomicUsize::new(0);

impl Server {
    /// Without root, sshd could log nobody in.
    pub(crate) fn start(more: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "starting an sshd needs root");
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let home = std::env::temp_dir().join(format!("armilla-sshd-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(&home).expect("a directory for the test");
        fs::create_dir_all("/run/sshd").expect("sshd wants this directory");
        for name in ["host", "other", "user"] {
            keygen(&home.join(name));
        }
        // Others must be able to read the keys a user may log in with.
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).expect("a mode");
        fs::copy(home.join("user.pub"), home.join("authorized")).expect("a key");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it").port();
        let server = Self { sshd: run_sshd(sshd(), &home, port, "host", more), home, port };
        server.trust("host");
        server.configure("");
        server
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.home.join(name).to_str().expect("a name in UTF-8").to_owned()
    }

    /// Makes one of the keys the known one.
    fn trust(&self, name: &str) {
        let key = fs::read_to_string(self.home.join(format!("{name}.pub"))).expect("a key");
        fs::write(self.home.join("known"), format!("# known\n[127.0.0.1]:{} {key}", self.port)).expect("a file");
    }

    pub(crate) fn configure(&self, more: &str) {
        let known = self.path("known");
        let text = format!("{more}\nHost *\nUserKnownHostsFile {known}\nGlobalKnownHostsFile /dev/null\n");
        fs::write(self.home.join("config"), text).expect("a file");
    }

    /// Clients that know the host's key by whatever port they come, and spend little on the key exchange.
    pub(crate) fn known_by_any_port(&self) {
        self.configure("HostKeyAlias known\nKexAlgorithms curve25519-sha256\n");
        let key = fs::read_to_string(self.home.join("host.pub")).expect("a key");
        fs::write(self.home.join("known"), format!("known {key}")).expect("a file");
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Ends sshd and all it serves, as a power failure does.
    pub(crate) fn stop(&mut self) {
        for session in self.sessions() {
            kill(session);
        }
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }

    /// Starts it again, on the same port.
    pub(crate) fn start_again(&mut self) {
        self.sshd = run_sshd(sshd(), &self.home, self.port, "host", "");
    }

    pub(crate) fn options(&self) -> SshOptions {
        SshOptions {
            config: Some(Utf8PathBuf::from(self.path("config"))),
            key: Some(Utf8PathBuf::from(self.path("user"))),
            user: Some("root".to_owned()),
            control_dir: Some(Utf8PathBuf::from(self.path(""))),
            connect_timeout: Duration::from_secs(5),
            ..SshOptions::default()
        }
    }

    pub(crate) fn host(&self) -> Endpoint {
        let mut host = Endpoint::new(HostName::new("h1").expect("a name"));
        "127.0.0.1".clone_into(&mut host.address);
        host.port = Some(self.port);
        host
    }

    /// The control sockets and logs that are there.
    fn leftovers(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.home).expect("a directory").map(|entry| entry.expect("an entry").path());
        entries
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("armilla-")))
            .collect()
    }

    /// The processes that serve connections.
    pub(crate) fn sessions(&self) -> Vec<i32> {
        children(self.sshd.id().cast_signed())
    }

    /// The processes that were started through connections; they may outlive them.
    fn started(&self) -> Vec<String> {
        let came_by = format!(" {}", self.port);
        let through_us = |process: &str| {
            let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable.starts_with(b"SSH_CONNECTION=") && variable.ends_with(came_by.as_bytes()))
        };
        let all = fs::read_dir("/proc").expect("processes").flatten();
        let all = all.map(|entry| entry.file_name().to_string_lossy().into_owned());
        all.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && through_us(name)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.home);
    }
}

fn sshd() -> &'static str {
    let there = ["/usr/sbin/sshd", "/usr/bin/sshd"].into_iter().find(|path| Path::new(path).exists());
    there.expect("sshd is missing: install the package openssh-server")
}

fn keygen(file: &Path) {
    let made = Process::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(file).status();
    assert!(made.is_ok_and(|status| status.success()), "ssh-keygen is missing: install the package openssh-client");
}

fn run_sshd(program: &str, home: &Path, port: u16, key: &str, more: &str) -> Child {
    let config = home.join("sshd_config");
    let text = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {0}/{key}\nAuthorizedKeysFile {0}/authorized\nPidFile none\nUsePAM no\n\
         StrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\nMaxStartups 100\n\
         SetEnv ARMILLA_HOST_DIR={0}/kept-by-host\n{more}\n",
        home.display()
    );
    fs::write(&config, text).expect("a file");
    let log = fs::File::create(home.join("sshd.log")).expect("a file");
    let child = Process::new(program).arg("-D").arg("-e").arg("-f").arg(&config).stderr(log).spawn();
    for _ in 0..100 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.expect("sshd starts")
}

fn kill(process: i32) {
    crate::host::kill_all(&[process]);
}

/// All processes below this one.
pub(crate) fn children(parent: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let direct: Vec<i32> = list.split_whitespace().filter_map(|process| process.parse().ok()).collect();
    direct.iter().flat_map(|process| children(*process)).chain(direct.iter().copied()).collect()
}

fn fingerprint(file: &Path) -> String {
    let output = Process::new("ssh-keygen").arg("-lf").arg(file).output().expect("ssh-keygen");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().nth(1).expect("a fingerprint").to_owned()
}

pub(crate) fn run(script: &str) -> Step {
    Step::Run(Command::new(["sh", "-c", script]))
}

fn ask(script: &str) -> Probe {
    Probe::Command(Command::new(["sh", "-c", script]))
}

pub(crate) fn write(path: &str, content: Content) -> Step {
    Step::WriteFile {
        path: path.to_owned(),
        content,
        ownership: Ownership { mode: Some(Mode(0o600)), ..Ownership::default() },
    }
}

pub(crate) async fn said(connections: &Connections, host: &Endpoint, script: &str) -> Result<String, TransportError> {
    let probe = ask(script);
    let readings = connections.read(host, std::slice::from_ref(&probe)).await?;
    Ok(String::from_utf8_lossy(&readings.command(&probe).expect("an answer").stdout).trim().to_owned())
}

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

/// The session in which a host runs what it is asked to: one for each shell.
const SESSION: &str = "cut -d ' ' -f 6 /proc/self/stat";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn one_shell_does_what_comes_soon_and_is_replaced_when_it_is_gone() {
    let server = Server::start("");
    let (host, connections) = (server.host(), Connections::new(server.options()));
    let session = async || said(&connections, &host, SESSION).await.expect("an answer");
    let first = session().await;
    assert_eq!(session().await, first);
    let both = tokio::join!(session(), session());
    assert_ne!(both.0, both.1, "two at once have one each");

    let before = session().await;
    kill(before.parse().expect("a number"));
    let after = session().await;
    assert_ne!(after, before, "it was ended meanwhile");

    let failed = connections.perform(&host, Order::of(&[run("exit 3")]), &|_| ()).await.expect("an answer");
    assert!(matches!(failed[..], [Outcome::Failed { .. }]), "{failed:?}");
    assert_eq!(session().await, after, "what failed there does not concern the next");

    let died = connections.perform(&host, Order::of(&[run(&format!("pkill -KILL -P $({SESSION})"))]), &|_| ()).await;
    assert!(matches!(died, Err(TransportError::Lost { .. })), "what carried it out was killed: {died:?}");
    let after = session().await;

    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_ne!(session().await, after, "after a pause nobody knows whether it is still there");
    assert_eq!(connections.connects(&host), 1);
    connections.close().await;
    assert!(gone(&server).await);
}

/// Waits until no connection is served any more, and nothing that came by one is under way.
pub(crate) async fn gone(server: &Server) -> bool {
    for _ in 0..600 {
        if server.sessions().is_empty() && server.started().is_empty() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
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
        let came_by = said(&connections, &host, "echo $SSH_CONNECTION").await.expect("an answer");
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
    assert_eq!(said(&connections, &host, "echo $SSH_CONNECTION").await, Ok(second));
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
async fn f12_an_unknown_host_key_is_refused_unless_it_is_wanted_and_a_changed_one_always() {
    let server = Server::start("");
    let (host, known) = (server.host(), server.home.join("known"));
    let offered_now = fingerprint(&server.home.join("host.pub"));
    fs::write(&known, "").expect("a file");
    match said(&Connections::new(server.options()), &host, "echo yes").await {
        Err(TransportError::HostKeyUnknown { offered, .. }) => assert!(offered.contains(&offered_now), "{offered}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_to_string(&known).expect("a file"), "", "nothing was accepted");
    let accept = SshOptions { known_hosts: KnownHosts::AcceptNew, ..server.options() };
    assert_eq!(said(&Connections::new(accept.clone()), &host, "echo yes").await, Ok("yes".to_owned()));
    assert_eq!(said(&Connections::new(server.options()), &host, "echo yes").await, Ok("yes".to_owned()));
    server.trust("other");
    for options in [accept, server.options()] {
        match said(&Connections::new(options), &host, "echo yes").await {
            Err(TransportError::HostKeyChanged { known: was, offered, .. }) => {
                assert!(offered.contains(&offered_now), "{offered}");
                assert!(was.contains(&fingerprint(&server.home.join("other.pub"))) && was.contains("known:2"), "{was}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn a_host_that_cannot_be_reached_says_why_and_soon() {
    let server = Server::start("");
    let options = SshOptions { connect_timeout: Duration::from_secs(1), ..server.options() };
    let connections = Connections::new(options.clone());
    let mut host = server.host();
    host.port = Some(1);
    match said(&connections, &host, "echo").await {
        Err(TransportError::Unreachable { why, .. }) => assert!(why.contains("Connection refused"), "{why}"),
        other => panic!("{other:?}"),
    }
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    host.port = Some(silent.local_addr().expect("it").port());
    let began = Instant::now();
    assert!(matches!(said(&connections, &host, "echo").await, Err(TransportError::Unreachable { .. })));
    assert!(began.elapsed() < NOT_HELD_UP, "took {:?}", began.elapsed());
    let stranger = SshOptions { key: Some(Utf8PathBuf::from(server.path("other"))), ..options };
    match said(&Connections::new(stranger), &server.host(), "echo").await {
        Err(TransportError::Unreachable { why, .. }) => assert!(why.contains("Permission denied"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f37_names_are_never_options() {
    let server = Server::start("");
    let connections = Connections::new(server.options());
    let trap = server.path("trap");
    let bad = ["-oProxyCommand=touch TRAP", "h;touch TRAP", "$(touch TRAP)", "a b", "", "ssh://x", "root@127.0.0.1"];
    for text in bad.map(|text| text.replace("TRAP", &trap)) {
        for field in ["address", "user"] {
            let mut host = server.host();
            match field {
                "address" => host.address.clone_from(&text),
                _ => host.user = Some(text.clone()),
            }
            let told = said(&connections, &host, "echo").await;
            assert!(matches!(told, Err(TransportError::Unreachable { .. })), "{field} {text:?}: {told:?}");
        }
    }
    assert!(!Path::new(&trap).exists());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f13_chatty_login_shells_are_ignored_and_others_named() {
    let noise = "ForceCommand echo Welcome; echo 'armilla-ready '; printf '\\033[2J\\000binary'; echo complaint >&2; eval \"$SSH_ORIGINAL_COMMAND\"; echo Bye";
    let server = Server::start(noise);
    assert_eq!(said(&Connections::new(server.options()), &server.host(), "echo yes").await, Ok("yes".to_owned()));
    drop(server);
    let server = Server::start("ForceCommand echo This account is for mail only.");
    match said(&Connections::new(server.options()), &server.host(), "echo yes").await {
        Err(TransportError::Protocol { why, .. }) => assert!(why.contains("mail only"), "{why}"),
        other => panic!("{other:?}"),
    }
    drop(server);
    for shell in ["bash", "dash", "zsh", "fish", "tcsh"] {
        if !Path::new("/bin").join(shell).exists() && !Path::new("/usr/bin").join(shell).exists() {
            continue;
        }
        let server = Server::start(&format!("ForceCommand {shell} -c \"$SSH_ORIGINAL_COMMAND\""));
        for become_user in [Become::No, Become::Root] {
            let host = Endpoint { become_user, ..server.host() };
            let told = said(&Connections::new(server.options()), &host, "echo \"it's $((6 * 7))\"").await;
            assert_eq!(told, Ok("it's 42".to_owned()), "{shell}");
        }
    }
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
                kill(process);
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
        kill(process);
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
async fn jump_hosts_of_the_users_configuration_are_used() {
    let server = Server::start("");
    let (port, key) = (server.port, server.path("user"));
    server.configure(&format!("Host inner\nHostName 127.0.0.1\nPort {port}\nProxyJump jump\nHost jump\nHostName 127.0.0.1\nPort {port}\nUser root\nIdentityFile {key}\n"));
    let mut host = server.host();
    (host.address, host.port) = ("inner".to_owned(), None);
    assert_eq!(said(&Connections::new(server.options()), &host, "echo yes").await, Ok("yes".to_owned()));
    let jump = fs::read_to_string(server.home.join("known")).expect("a file");
    fs::write(server.home.join("known"), jump.replace("[127.0.0.1]", "[elsewhere]")).expect("a file");
    let told = said(&Connections::new(server.options()), &host, "echo yes").await;
    assert!(told.is_err(), "an unknown jump host is refused without a question: {told:?}");
}

/// A user that is gone afterwards.
pub(crate) struct User(pub(crate) String);

const PASSWORD: &str = "let-me-in-7";

impl User {
    pub(crate) fn new(rule: &str) -> Self {
        assert!(Path::new("/usr/bin/sudo").exists(), "sudo is missing: install the package sudo");
        let name = format!("armilla-t{}-{}", std::process::id(), SERVERS.fetch_add(1, Ordering::Relaxed));
        let made = Process::new("useradd").args(["-M", "-s", "/bin/sh", &name]).status();
        assert!(made.is_ok_and(|status| status.success()), "useradd is missing: install the package passwd");
        let mut chpasswd = Process::new("chpasswd").stdin(Stdio::piped()).spawn().expect("chpasswd");
        let mut input = chpasswd.stdin.take().expect("its input");
        writeln!(input, "{name}:{PASSWORD}").expect("it reads");
        drop(input);
        assert!(chpasswd.wait().expect("it ends").success());
        let user = Self(name);
        fs::write(user.rules(), rule.replace("USER", &user.0)).expect("a file");
        fs::set_permissions(user.rules(), fs::Permissions::from_mode(0o440)).expect("a mode");
        user
    }

    fn rules(&self) -> String {
        format!("/etc/sudoers.d/{}", self.0)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.rules());
        let _ = Process::new("userdel").arg(&self.0).stderr(Stdio::null()).status();
    }
}

async fn sudo(server: &Server, user: &str, password: Option<&str>) -> Result<String, TransportError> {
    let options =
        SshOptions { become_password: password.map(|password| Secret::new(password.to_owned())), ..server.options() };
    let host = Endpoint { user: Some(user.to_owned()), become_user: Become::Root, ..server.host() };
    let connections = Connections::new(options);
    let told = said(&connections, &host, "id -un; cat").await;
    connections.close().await;
    told
}

fn refusal(told: Result<String, TransportError>) -> String {
    match told {
        Err(TransportError::Become { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f21_sudo_is_given_a_password_once_and_only_when_it_asks() {
    let server = Server::start("");
    let root = Ok("root".to_owned());
    let free = User::new("USER ALL=(ALL) NOPASSWD: ALL\n");
    assert_eq!(sudo(&server, &free.0, None).await, root);
    assert_eq!(sudo(&server, &free.0, Some("unused")).await, root, "it is no part of the script");
    assert_eq!(sudo(&server, "root", Some("unused")).await, root);
    let asked = User::new("Defaults:USER lecture=always, passwd_tries=3, timestamp_timeout=0\nUSER ALL=(ALL) ALL\n");
    assert_eq!(sudo(&server, &asked.0, Some(PASSWORD)).await, root);
    assert_eq!(refusal(sudo(&server, &asked.0, Some("wrong")).await), "wrong password");
    assert!(refusal(sudo(&server, &asked.0, None).await).contains("--ask-become-pass"));
    assert!(matches!(sudo(&server, &asked.0, Some("a\nb")).await, Err(TransportError::Become { .. })));
    let once = User::new("Defaults:USER passwd_tries=1\nUSER ALL=(ALL) ALL\n");
    assert_eq!(refusal(sudo(&server, &once.0, Some("wrong")).await), "wrong password");
    let nobody = User::new("");
    assert!(refusal(sudo(&server, &nobody.0, Some(PASSWORD)).await).contains("not in the sudoers file"));
    let terminal = User::new("Defaults:USER requiretty\nUSER ALL=(ALL) NOPASSWD: ALL\n");
    assert!(refusal(sudo(&server, &terminal.0, None).await).contains("requiretty"));
    assert!(refusal(sudo(&server, &terminal.0, Some(PASSWORD)).await).contains("requiretty"));
    let other = User::new("Defaults:USER runas_default=nobody\nUSER ALL=(ALL) NOPASSWD: ALL\n");
    assert_eq!(sudo(&server, &other.0, None).await, root, "root is meant, whatever the default is");
    let little = User::new("USER ALL=(ALL) NOPASSWD: /bin/ls\n");
    let why = refusal(sudo(&server, &little.0, Some(PASSWORD)).await);
    assert!(why.contains("do not allow this user to run /bin/sh as root"), "{why}");
}

/// A host with another sudo than its own: `ForceCommand` puts a directory before the others.
fn with_sudo(script: Option<&str>) -> Server {
    let place = std::env::temp_dir().join(format!("armilla-sudo-{}", SERVERS.fetch_add(1, Ordering::Relaxed)));
    let path = match script {
        Some(_) => format!("{}:$PATH", place.display()),
        None => place.display().to_string(),
    };
    let server = Server::start(&format!("ForceCommand PATH={path}; eval \"$SSH_ORIGINAL_COMMAND\""));
    let _ = fs::remove_dir_all(&place);
    fs::create_dir(&place).expect("a directory");
    if let Some(script) = script {
        fs::write(place.join("sudo"), format!("#!/bin/sh\n{script}\n")).expect("a file");
        fs::set_permissions(place.join("sudo"), fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    server
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f59_a_host_where_sudo_does_not_make_us_root_reads_no_script() {
    let plain = User::new("");
    // It lets everybody in, and changes nothing.
    let server = with_sudo(Some("while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\""));
    for password in [None, Some(PASSWORD)] {
        let why = refusal(sudo(&server, &plain.0, password).await);
        assert!(why.contains("not root"), "{why}");
    }
    drop(server);
    for (script, says) in [
        ("echo 'Il faut un mot de passe' >&2; exit 1", "Il faut un mot de passe"),
        ("exit 1", "without a message"),
        ("echo \"sudo: I'm sorry $USER. I'm afraid I can't do that\" >&2; exit 1", "do not allow"),
    ] {
        let server = with_sudo(Some(script));
        let why = refusal(sudo(&server, &plain.0, None).await);
        assert!(why.contains(says), "{why}");
    }
    let server = with_sudo(None);
    assert!(refusal(sudo(&server, &plain.0, None).await).contains("not installed"));
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
#[ignore = "needs root: starts an sshd"]
async fn f21_without_root_what_is_hidden_is_not_called_absent() {
    let server = Server::start("");
    let user = User::new("");
    let host = Endpoint { user: Some(user.0.clone()), ..server.host() };
    fs::create_dir(server.path("hidden")).expect("a directory");
    fs::set_permissions(server.path("hidden"), fs::Permissions::from_mode(0o700)).expect("a mode");
    let connections = Connections::new(server.options());
    let path = |path: &str| Probe::Path { path: path.to_owned(), content: Fetch::Digest };
    let probes = [path(&server.path("hidden/x/y")), path("/etc/shadow"), path("/none/x"), path(&server.path("user"))];
    let readings = connections.read(&host, &probes).await.expect("an answer");
    for (at, word) in [(0, "cannot look into"), (1, "ermission denied"), (3, "ermission denied")] {
        assert!(readings.path(&probes[at]).expect_err("hidden").0.contains(word), "{:?}", readings.get(&probes[at]));
    }
    assert_eq!(readings.path(&probes[2]), Ok(&PathReading::Absent));
    let file = server.path("hidden/file");
    let outcomes =
        connections.perform(&host, Order::of(&[write(&file, "x".into())]), &|_| ()).await.expect("an answer");
    assert!(matches!(&outcomes[0], Outcome::Failed { .. }), "{outcomes:?}");
    connections.close().await;
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
