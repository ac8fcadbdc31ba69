//! What keeps a command from its hosts that is not the network: sudo, and too little of something on this machine. And
//! what a command that is killed leaves on this machine: nothing.
//!
//! In: a real sshd, and the program itself. Out: exit codes, messages, processes. Never: the ssh settings of this machine.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command as Process, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::ssh::{Server, User, gone};
use crate::waiting::until;

/// A project with hosts that are all the one of this sshd.
struct Project<'a>(&'a Server);

impl<'a> Project<'a> {
    fn new(server: &'a Server, user: &str, hosts: usize) -> Self {
        let project = Self(server);
        let mut text = format!(
            "connection: {{ user: {user}, key: {}, port: {} }}\ngroups:\n  all_hosts:\n    hosts:\n",
            server.path("user"),
            server.port
        );
        for number in 1..=hosts {
            let _ = writeln!(text, "      h{number}: {{ address: 127.0.0.1 }}");
        }
        project.file("inventories/x/hosts.yml", &text);
        project.file("site.yml", "services:\n  one: { hosts: all_hosts }\n");
        let file = server.path("made");
        project.file(
            "roles/one/role.yml",
            &format!("summary: x\nresources:\n  - file: {{ path: {file}, content: x, mode: \"0600\" }}\nhealth:\n  - command: {{ run: [test, -e, {file}], expect: \"\" }}\n"),
        );
        project
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.0.home.join("project").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    /// The program, behind some words, such as a shell that sets a limit.
    fn command(&self, before: &[&str], arguments: &[&str]) -> Process {
        let words = [before, &[env!("CARGO_BIN_EXE_armilla")], arguments].concat();
        let mut command = Process::new(words[0]);
        command
            .args(&words[1..])
            .env("ARMILLA_PROJECT", self.0.home.join("project"))
            .env("ARMILLA_STATE_DIR", self.0.home.join("state"))
            .env("ARMILLA_SSH_CONFIG", self.0.path("config"))
            .env("TMPDIR", &self.0.home)
            .env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir("/").process_group(0);
        command
    }

    /// The program, where this is the limit.
    fn limited(&self, limit: &str, arguments: &[&str]) -> Process {
        self.command(&["sh", "-c", &format!("ulimit {limit}; exec \"$@\""), "sh"], arguments)
    }

    fn armilla(&self, arguments: &[&str]) -> (Option<i32>, String) {
        told(self.command(&[], arguments).output().expect("armilla runs"))
    }
}

/// How it ended, and all it said.
fn told(output: Output) -> (Option<i32>, String) {
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// One that takes far longer than the rest of a login.
#[test]
#[ignore = "needs root: starts an sshd"]
fn the_doctor_says_what_an_expensive_key_exchange_costs_and_what_a_cheap_one_would() {
    let exchanges = |names: &str| format!("KexAlgorithms diffie-hellman-group18-sha512{names}\n");
    for (offered, advice) in [(",curve25519-sha256", "`KexAlgorithms curve25519-sha256`"), ("", "--keep-connections")] {
        let server = Server::start(&exchanges(offered));
        server.configure(&exchanges(offered));
        let project = Project::new(&server, "root", 2);
        let examined = || {
            let (code, text) = project.armilla(&["doctor", "x"]);
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(code, Some(0), "{text}");
            text
        };
        // On a busy machine another part may take longer now and then, and then nothing is said of this one.
        let is_said = |text: &String| text.contains("the key exchange");
        let text = (0..20).map(|_| examined()).find(is_said).expect("it is the largest part once");
        assert_eq!(text.matches("the key exchange diffie-hellman-group18-sha512 takes ").count(), 1, "{text}");
        assert!(text.contains("2 hosts use this exchange") && text.contains(advice), "{text}");
        assert_eq!(text.contains("curve25519-sha256"), !offered.is_empty(), "{text}");
        server.configure("KexAlgorithms curve25519-sha256\n");
        if !offered.is_empty() {
            let (code, text) = project.armilla(&["doctor", "x"]);
            assert!(code == Some(0) && !text.contains("key exchange"), "{text}");
        }
    }
}

#[test]
#[ignore = "needs root: starts an sshd"]
fn f59_every_command_stops_where_sudo_wants_a_password_and_says_how_to_give_one() {
    let server = Server::start("");
    let asked = User::new("USER ALL=(ALL) ALL\n");
    let project = Project::new(&server, &asked.0, 2);
    for command in [
        &["plan", "x", "-b"][..],
        &["apply", "x", "-y", "-b"],
        &["exec", "x", "-b", "--", "touch", "/tmp/never-made-by-armilla"],
        &["facts", "x", "-b"],
        &["verify", "x", "-b"],
        &["verify", "x", "-b", "--wait"],
        &["drift", "x", "-b"],
        &["doctor", "x", "-b"],
        &["lock", "status", "x", "-b"],
        &["import", "x", "-b", "--target", "h1 file /etc/passwd"],
        &["destroy", "x", "-b", "--confirm", "x"],
        &["inventory", "x", "-b", "--status"],
    ] {
        let (code, text) = project.armilla(command);
        assert_eq!(code, Some(1), "{command:?}\n{text}");
        for part in ["h1", "h2", "a password is required", "-K (--ask-become-pass)", "NOPASSWD"] {
            assert!(text.contains(part), "{command:?}: no `{part}` in\n{text}");
        }
    }
    assert!(!server.home.join("made").exists() && !server.home.join("kept-by-host").exists(), "nothing was changed");
    assert!(!fs::exists("/tmp/never-made-by-armilla").expect("a directory"), "nothing ran");

    // A host that the network keeps away is something else, and the two do not hide each other.
    let silent = "groups:\n  all_hosts:\n    hosts:\n      h3: { address: 127.0.0.1, port: 1 }\n";
    let hosts = fs::read_to_string(server.home.join("project/inventories/x/hosts.yml")).expect("a file");
    project.file("inventories/x/hosts.yml", &hosts.replace("groups:\n  all_hosts:\n    hosts:\n", silent));
    let (code, text) = project.armilla(&["plan", "x", "-b"]);
    assert!(code == Some(1) && text.contains("sudo on h1, h2"), "{text}");
    let (code, text) = project.armilla(&["plan", "x"]);
    assert!(code == Some(4) && text.contains("Connection refused"), "{code:?}\n{text}");
}

#[test]
#[ignore = "needs root: starts an sshd"]
fn f58_hosts_take_turns_where_few_files_may_be_open() {
    let server = Server::start("");
    server.known_by_any_port();
    let project = Project::new(&server, "root", 8);
    let few = |arguments: &[&str]| told(project.limited("-n 40", arguments).output().expect("armilla runs"));
    let (code, text) = few(&["plan", "x"]);
    assert!(code == Some(0) && text.contains("8 to add"), "{code:?}\n{text}");
    let (code, text) = few(&["apply", "x", "-y"]);
    assert!(code == Some(0) && text.contains("8 changes on 8 hosts"), "{code:?}\n{text}");
    let (code, text) = few(&["exec", "x", "--keep-connections", "5s", "--", "true"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = few(&["destroy", "x", "--confirm", "x"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!server.home.join("made").exists(), "{text}");
}

/// The lock, the survey, the steps with the second survey, and the ledger with the end of the lock. A gate is one more.
#[test]
#[ignore = "needs root: starts an sshd"]
fn a_plan_is_one_round_trip_and_an_apply_four() {
    let server = Server::start("");
    server.known_by_any_port();
    let trips = |project: &Project<'_>, arguments: &[&str]| {
        let (code, text) = project.armilla(arguments);
        assert_eq!(code, Some(0), "{text}");
        let line = text.lines().find_map(|line| line.strip_prefix("round trips: ").map(str::to_owned));
        line.unwrap_or_else(|| panic!("no round trips in\n{text}"))
    };
    let project = Project::new(&server, "root", 1);
    assert_eq!(trips(&project, &["plan", "x", "-vv"]), "h1 1");
    assert_eq!(trips(&project, &["apply", "x", "-y", "-vv"]), "h1 5", "with a health check");
    let project = Project::new(&server, "root", 3);
    let role = "summary: x\nresources:\n  - command: { run: [\"true\"] }\n";
    project.file("roles/one/role.yml", role);
    let shared = trips(&project, &["apply", "x", "-y", "-vv"]);
    assert!(shared.ends_with("h2 5, h3 5"), "one machine with three names: {shared}");
    let project = Project::new(&server, "root", 1);
    project.file("roles/one/role.yml", role);
    assert_eq!(trips(&project, &["apply", "x", "-y", "-vv"]), "h1 4");
}

#[test]
#[ignore = "needs root: starts an sshd"]
fn f58_locks_are_renewed_over_connections_that_were_closed_meanwhile() {
    let server = Server::start("");
    server.known_by_any_port();
    let project = Project::new(&server, "root", 2);
    // Longer than the lease: without a sign of life from us it ends.
    project.file("roles/one/role.yml", "summary: x\nresources:\n  - command: { run: [sleep, \"12\"] }\n");
    let mut command = project.limited("-n 40", &["apply", "x", "-y"]);
    let mut first = command.env("ARMILLA_LEASE_SECONDS", "10").spawn().expect("armilla runs");
    let mut silences = Vec::new();
    while first.try_wait().expect("it runs").is_none() {
        let (_, text) = project.armilla(&["lock", "status", "x", "--json"]);
        let silent = text.split("\"silent_seconds\":").skip(1).filter_map(|rest| rest.split([',', '}']).next());
        silences.extend(silent.map(|seconds| seconds.parse::<u64>().expect("a number")));
        std::thread::sleep(Duration::from_millis(500));
    }
    let (code, text) = told(first.wait_with_output().expect("it ends"));
    assert!(code == Some(0) && text.contains("2 changes on 2 hosts"), "{code:?}\n{text}");
    assert!(silences.len() > 3 && silences.iter().all(|seconds| *seconds < 10), "{silences:?}\n{text}");
}

#[test]
#[ignore = "needs root: starts an sshd"]
fn f58_too_few_files_are_an_error_of_this_machine_and_no_host_is_called_unreachable() {
    let server = Server::start("");
    let project = Project::new(&server, "root", 12);
    let limited =
        |limit: &str, arguments: &[&str]| told(project.limited(limit, arguments).output().expect("armilla runs"));
    for command in [&["plan", "x"][..], &["apply", "x", "-y"], &["exec", "x", "--", "true"]] {
        let (code, text) = limited("-n 26", command);
        assert!(matches!(code, Some(1 | 3)), "{code:?}\n{text}");
        assert!(text.contains("limit of open files is 26") && text.contains("ulimit -n"), "{text}");
        assert!(!text.contains("unreachable") && !text.contains("did not answer"), "{text}");
    }
    let (code, text) = limited("-n 15", &["plan", "x"]);
    assert!(code == Some(1) && text.contains("limit of open files is 15"), "{code:?}\n{text}");
    let (code, text) = limited("-S -n 26", &["plan", "x"]);
    assert_eq!(code, Some(0), "what is allowed is taken\n{text}");
}

#[test]
#[ignore = "needs root: starts an sshd"]
fn f58_a_long_tmpdir_is_no_hindrance() {
    let server = Server::start("");
    let project = Project::new(&server, "root", 1);
    let long = server.home.join("x".repeat(95));
    fs::DirBuilder::new().mode(0o700).create(&long).expect("a directory");
    let mut command = project.command(&[], &["exec", "x", "--keep-connections", "2s", "--", "echo", "here"]);
    command.env("TMPDIR", &long).env_remove("XDG_RUNTIME_DIR");
    let (code, text) = told(command.output().expect("armilla runs"));
    assert!(code == Some(0) && text.contains("here"), "{code:?}\n{text}");
}

#[test]
#[ignore = "needs root: starts an sshd"]
fn f58_a_mistake_in_the_ssh_configuration_or_a_missing_ssh_is_an_error_of_this_machine() {
    let server = Server::start("");
    let project = Project::new(&server, "root", 1);
    let none = server.home.join("empty");
    fs::create_dir(&none).expect("a directory");
    let mut command = project.command(&[], &["plan", "x"]);
    let (code, text) = told(command.env("PATH", &none).output().expect("armilla runs"));
    assert!(code == Some(1) && text.contains("ssh cannot be started"), "{code:?}\n{text}");
    server.configure("Host *\nHstName 127.0.0.1\n");
    let (code, text) = project.armilla(&["plan", "x"]);
    assert!(code == Some(1) && text.contains("configuration option"), "{code:?}\n{text}");
}

/// A command that works for so many seconds, once it does so on a host.
fn busy(project: &Project<'_>, seconds: u32) -> Child {
    let begun = project.0.path("begun");
    let _ = fs::remove_file(&begun);
    let program = format!("touch {begun}; sleep {seconds}");
    let child = project.command(&[], &["exec", "x", "--shell", "--", &program]).spawn().expect("armilla runs");
    until("it works on a host", || fs::exists(&begun).expect("a directory"));
    child
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn f02_no_connection_outlives_a_command_that_was_ended_in_any_way() {
    let server = Server::start("");
    let project = Project::new(&server, "root", 2);
    for signals in [&[Signal::SIGKILL][..], &[Signal::SIGHUP], &[Signal::SIGINT, Signal::SIGINT], &[Signal::SIGTERM]] {
        let mut child = busy(&project, 60);
        for signal in signals {
            let _ = kill(Pid::from_raw(child.id().cast_signed()), *signal);
            std::thread::sleep(Duration::from_millis(50));
        }
        child.wait().expect("it ends");
        until("no connection is left", || server.sessions().is_empty());
        assert!(gone(&server).await, "{signals:?}");
    }
    let mut shown = String::new();
    let mut child = busy(&project, 1);
    child.stderr.take().expect("a pipe").read_to_string(&mut shown).expect("a text");
    assert!(child.wait().expect("it ends").success(), "{shown}");
}

#[test]
#[ignore = "needs root: starts an sshd"]
fn f23_the_process_of_a_holder_is_judged_only_where_its_number_means_the_same() {
    let server = Server::start("");
    let project = Project::new(&server, "root", 1);
    let [begun, release] = ["begun", "release"].map(|name| server.path(name));
    let program = format!("touch {begun}; until [ -e {release} ]; do sleep 0.1; done");
    project.file(
        "roles/one/role.yml",
        &format!("summary: x\nresources:\n  - command: {{ run: [sh, -c, '{program}'] }}\n"),
    );
    let exists = |path: &str| fs::exists(path).expect("a directory");
    let apply = ["apply", "x", "-y"];
    let contained = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let run = |before: &[&str]| told(project.command(before, &apply).output().expect("armilla runs"));
    let first = project.command(&contained, &apply).spawn().expect("armilla runs");
    until("the first one works", || exists(&begun));
    for before in [&contained[..], &[]] {
        let (code, text) = run(before);
        assert!(code == Some(75) && text.contains("is locked by"), "{before:?} {code:?}\n{text}");
    }
    fs::write(&release, "").expect("a file");
    let (code, text) = told(first.wait_with_output().expect("it ends"));
    assert_eq!(code, Some(0), "{text}");

    // Killed: the next one in the same namespace need not wait; any other waits until the lock ends by itself.
    for path in [&begun, &release] {
        fs::remove_file(path).expect("a file");
    }
    let mut killed = project.command(&[], &apply).spawn().expect("armilla runs");
    until("it works", || exists(&begun));
    killed.kill().expect("it runs");
    killed.wait().expect("it ends");
    fs::write(&release, "").expect("a file");
    until("its last step is over", || !project.armilla(&["lock", "status", "x"]).1.contains("running"));
    let (code, text) = run(&contained);
    assert!(code == Some(75), "{code:?}\n{text}");
    let (code, text) = run(&[]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
#[ignore = "needs root: starts an sshd"]
fn the_directory_of_sockets_is_ours_alone() {
    let server = Server::start("");
    let project = Project::new(&server, "root", 1);
    let mut child = busy(&project, 2);
    let folders = fs::read_dir(&server.home).expect("a directory").flatten();
    let ours = folders.filter(|entry| entry.file_name().to_string_lossy().starts_with("armilla-"));
    let modes: Vec<u32> = ours.map(|entry| entry.metadata().expect("it").permissions().mode() & 0o777).collect();
    assert_eq!(modes, [0o700]);
    assert!(child.wait().expect("it ends").success());
}
