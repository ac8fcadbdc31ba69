//! A real sshd of a test's own, on a free port of the loopback, with keys, configurations and users made for it.
//!
//! In: what to add to its configuration. Out: hosts and connections to it, and what they left. Never: the sshd, the keys or the
//! known hosts of this machine.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use armilla::inventory::Endpoint;
use armilla::name::HostName;
use armilla::secret::Content;
use armilla::step::{Command, Mode, Ownership, Probe, Step};
use armilla::transport::{Connections, SshOptions, Transport as _, TransportError};
use camino::Utf8PathBuf;

/// An sshd with keys and a configuration for its clients, in a directory of its own.
pub(crate) struct Server {
    pub(crate) home: PathBuf,
    pub(crate) port: u16,
    sshd: Child,
}

pub(crate) static SERVERS: AtomicUsize = AtomicUsize::new(0);

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
    pub(crate) fn trust(&self, name: &str) {
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
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
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

/// A bash that sshd starts reads `~/.bashrc` of whoever runs the tests, unless another shell seems to have started it
/// (`SHLVL`): what stands there may take long, or wait for what a test that killed its shells left.
fn run_sshd(program: &str, home: &Path, port: u16, key: &str, more: &str) -> Child {
    let config = home.join("sshd_config");
    let text = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {0}/{key}\nAuthorizedKeysFile {0}/authorized\nPidFile none\nUsePAM no\n\
         StrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\nMaxStartups 100\n\
         SetEnv ARMILLA_HOST_DIR={0}/kept-by-host SHLVL=5\n{more}\n",
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

/// A user that is gone afterwards.
pub(crate) struct User(pub(crate) String);

pub(crate) const PASSWORD: &str = "let-me-in-7";

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
