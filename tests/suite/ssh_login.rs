//! Logins by the SSH transport on a real sshd of its own: host keys, login shells, sudo, and users without it.
//!
//! In: keys, configurations and users made for the test. Out: what really happened. Never: the sshd, the keys or the known hosts of
//! this machine.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command as Process;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use armilla::inventory::{Become, Endpoint};
use armilla::secret::Secret;
use armilla::step::{Fetch, Outcome, PathReading, Probe};
use armilla::transport::{Connections, KnownHosts, Order, SshOptions, Transport as _, TransportError};
use camino::Utf8PathBuf;

use crate::ssh::{PASSWORD, SERVERS, Server, User, gone, said, write};
use crate::waiting::NOT_HELD_UP;

fn fingerprint(file: &Path) -> String {
    let output = Process::new("ssh-keygen").arg("-lf").arg(file).output().expect("ssh-keygen");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().nth(1).expect("a fingerprint").to_owned()
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
async fn a_login_is_measured_by_each_key_exchange_that_the_host_offers() {
    let exchanges = "KexAlgorithms ecdh-sha2-nistp256,curve25519-sha256\n";
    let server = Server::start(exchanges);
    server.configure(exchanges);
    let (host, connections) = (server.host(), Connections::new(server.options()));
    assert_eq!(connections.key_exchange(&host).await, None, "nobody has logged in");
    assert_eq!(said(&connections, &host, "echo yes").await, Ok("yes".to_owned()));
    assert_eq!(connections.key_exchange(&host).await.as_deref(), Some("ecdh-sha2-nistp256"));
    let usual = connections.time_login(&host, None).await.expect("a login");
    assert!(usual.offered.starts_with(&["ecdh-sha2-nistp256".to_owned(), "curve25519-sha256".to_owned()]), "{usual:?}");
    let other = connections.time_login(&host, Some("curve25519-sha256")).await.expect("a login");
    for (login, exchange) in [(&usual, "ecdh-sha2-nistp256"), (&other, "curve25519-sha256")] {
        let parts = [login.connecting, login.exchanging, login.authenticating];
        assert!(login.exchange == exchange && parts.iter().all(|part| !part.is_zero()), "{login:?}");
        assert!(login.took() < NOT_HELD_UP, "{login:?}");
    }
    let missing = connections.time_login(&host, Some("diffie-hellman-group18-sha512")).await;
    assert_eq!((missing, connections.connects(&host)), (None, 1), "the host does not offer it");
    connections.close().await;
    assert!(gone(&server).await, "no login stays");
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
    assert_eq!(sudo(&server, &free.0, Some("unused")).await, root, "it is no part of what the host program reads");
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
