//! What the host program answers about this machine.
//!
//! In: probes. Out: readings of what is really there. Never: a change of anything outside a temporary directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command as Process;
use std::time::{Duration, Instant};

use armilla::secret::Content;
use armilla::step::{Command, Digest, Fetch, HttpRequest, PathReading, PortReading, Probe, Reading};

use crate::host::{HOSTILE, Room, path, program_after, read, read_by, serve, sh};
use crate::waiting::NOT_HELD_UP;

#[test]
fn every_sort_of_thing_at_a_path_is_told_apart() {
    let room = Room::new("sorts");
    fs::write(room.path("file"), "known").expect("a file");
    fs::create_dir(room.path("directory")).expect("a directory");
    symlink("new\nline\n -x", room.path("link")).expect("a link");
    symlink("/nowhere", room.path("dangling")).expect("a link");
    symlink("loop", room.path("loop")).expect("a link");
    let pipe = room.path("pipe");
    assert!(Process::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let names = ["file", "directory", "link", "dangling", "loop", "pipe", "none", "none/below", "file/below"];
    let mut probes: Vec<Probe> =
        names.iter().map(|name| path(&room.path(name), Fetch::Unless(Digest::of(b"known")))).collect();
    probes.push(path("relative", Fetch::Digest));
    probes.push(path("/nul\0", Fetch::Digest));
    probes.push(path("/proc/self/status", Fetch::Always));
    let readings = read(&probes);
    let found: Vec<&Reading> = probes.iter().map(|probe| readings.get(probe).expect("an answer")).collect();
    assert!(matches!(found[0], Reading::Path(PathReading::File { content: None, size: 5, .. })), "{:?}", found[0]);
    assert!(matches!(found[1], Reading::Path(PathReading::Directory(_))), "{:?}", found[1]);
    assert!(
        matches!(found[2], Reading::Path(PathReading::Link { target, .. }) if target == "new\nline\n -x"),
        "{:?}",
        found[2]
    );
    assert!(matches!(found[3], Reading::Path(PathReading::Link { target, .. }) if target == "/nowhere"));
    assert!(matches!(found[4], Reading::Path(PathReading::Link { .. })));
    assert!(matches!(found[5], Reading::Path(PathReading::Other(word)) if word == "fifo"), "{:?}", found[5]);
    for absent in &found[6..9] {
        assert!(matches!(absent, Reading::Path(PathReading::Absent)), "{absent:?}");
    }
    assert!(matches!(found[9], Reading::Failed(why) if why.contains("absolute")), "{:?}", found[9]);
    assert!(matches!(found[10], Reading::Failed(why) if why.contains("NUL")), "{:?}", found[10]);
    assert!(matches!(found[11], Reading::Path(PathReading::File { content: Some(_), .. })), "{:?}", found[11]);
}

#[test]
fn accounts_and_packages_of_this_machine_are_read() {
    let user = |name: &str| Probe::User(name.to_owned());
    let member = |name: &str| Probe::Membership(name.to_owned());
    let group = |name: &str| Probe::Group(name.to_owned());
    let package = |name: &str| Probe::Package(name.to_owned());
    let probes = [
        user("root"),
        user("no-such"),
        user("daemon"),
        user("-x"),
        group("root"),
        group("no-such"),
        package("dpkg"),
        package("no-such-package"),
        package("*"),
        member("root"),
        member("no-such"),
        member("-x"),
    ];
    let readings = read(&probes);
    let root = readings.user(&probes[0]).expect("an answer").clone().expect("root is there");
    assert_eq!((root.uid, root.gid, root.home.as_str()), (0, 0, "/root"));
    assert_eq!(readings.user(&probes[1]), Ok(&None));
    assert_eq!(readings.user(&probes[2]).expect("an answer").as_ref().map(|user| user.uid), Some(1));
    assert!(readings.user(&probes[3]).is_err());
    assert_eq!(readings.group(&probes[4]), Ok(&Some(0)));
    assert_eq!(readings.group(&probes[5]), Ok(&None));
    assert!(readings.package(&probes[6]).expect("an answer").installed.is_some());
    assert_eq!(readings.package(&probes[7]).expect("an answer").installed, None);
    assert!(readings.package(&probes[8]).is_err());
    let root = readings.membership(&probes[9]).expect("an answer").clone().expect("root is there");
    assert_eq!(root.group, "root");
    assert_eq!(readings.membership(&probes[10]), Ok(&None));
    assert!(readings.membership(&probes[11]).is_err());
}

#[test]
fn a_program_is_asked_with_exact_arguments_input_environment_and_directory() {
    let mut exact = Command::new(["printf", "[%s]"]);
    exact.argv.extend(HOSTILE.map(str::to_owned));
    let mut cat = Command::new(["cat"]);
    cat.stdin = Content::Plain(b"a\0b\n\n%s\\".to_vec());
    let mut place = sh("pwd; echo \"$WORD\"; umask").with("WORD", "it's\n$HOME");
    place.directory = Some("/usr".to_owned());
    let asked = [exact, cat, place, sh("echo out; echo err >&2; exit 7"), Command::new(["/no/such/program"])];
    let probes: Vec<Probe> = asked.into_iter().map(Probe::Command).collect();
    let readings = read(&probes);
    let told = |at: usize| readings.command(&probes[at]).expect("an answer").clone();
    let words = format!("[{}]", HOSTILE.join("]["));
    assert_eq!(String::from_utf8_lossy(&told(0).stdout), words);
    assert_eq!(told(1).stdout, b"a\0b\n\n%s\\");
    assert_eq!(String::from_utf8_lossy(&told(2).stdout), "/usr\nit's\n$HOME\n0022\n");
    assert_eq!((told(3).exit, told(3).stdout, told(3).stderr), (7, b"out\n".to_vec(), b"err\n".to_vec()));
    assert_eq!(told(4).exit, 127, "{:?}", told(4));
}

#[test]
fn f17_endless_output_hung_programs_and_daemons_are_bounded() {
    let began = Instant::now();
    let second = Duration::from_secs(1);
    let probes = [
        Probe::Command(Command::new(["yes"]).within(second)),
        Probe::Command(Command::new(["sleep", "600"]).within(second)),
        Probe::Command(sh("trap '' TERM; sleep 3; sleep 3; sleep 3; sleep 3").within(second)),
        Probe::Command(sh("setsid sleep 30 & echo started").within(second)),
        Probe::Command(sh("head -c 1000000 /dev/zero; exit 3")),
    ];
    let readings = read(&probes);
    let told = |at: usize| readings.command(&probes[at]).expect("an answer").clone();
    assert_eq!((told(0).exit, told(0).stdout.len()), (124, 262_144));
    assert_eq!(told(1).exit, 124);
    assert_eq!(told(2).exit, 124);
    assert!(
        matches!(readings.get(&probes[3]), Some(Reading::Failed(why)) if why.contains("holds its output")),
        "{:?}",
        readings.get(&probes[3])
    );
    assert_eq!((told(4).exit, told(4).stdout.len()), (3, 262_144), "it meets no broken pipe");
    assert!(began.elapsed() < NOT_HELD_UP, "took {:?}", began.elapsed());
}

#[test]
fn ports_and_web_servers_are_asked_by_the_host_itself() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let open = listener.local_addr().expect("its address").port();
    let server = serve("HTTP/1.1 418 teapot\r\nServer: x\r\n\r\nshort \r\n\r\n and stout");
    let closed = { std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it").port() };
    let port = |port| Probe::port("127.0.0.1", port);
    let probes = [
        port(open),
        port(closed),
        Probe::Http(HttpRequest::get(format!("http://127.0.0.1:{server}/a?b=[c]"))),
        Probe::Http(HttpRequest::get(format!("http://127.0.0.1:{closed}/"))),
        Probe::Http(HttpRequest::get("file:///etc/passwd")),
    ];
    let readings = read(&probes);
    assert_eq!(readings.port(&probes[0]), Ok(&PortReading::Open));
    assert_eq!(readings.port(&probes[1]), Ok(&PortReading::Closed));
    let answer = readings.http(&probes[2]).expect("an answer").clone().expect("a web server's answer");
    assert_eq!((answer.status, answer.body.as_slice()), (418, b"short \r\n\r\n and stout".as_slice()));
    assert!(readings.http(&probes[3]).expect("an answer").is_err());
    assert!(readings.http(&probes[4]).is_err());
}

#[test]
#[ignore = "needs root: mounts an empty directory over the programs"]
fn f21_missing_tools_are_named() {
    let room = Room::new("bare");
    let hidden = format!(
        "mount --make-rprivate /; for at in /usr/local/sbin /usr/local/bin /sbin /bin /usr/sbin /usr/bin; do \
         [ -L \"$at\" ] || mount --bind '{}' \"$at\" || exit; done",
        room.0.display()
    );
    let mut program = Process::new("unshare");
    let shell = program_after(&hidden);
    program.arg("-m").arg(shell.get_program()).args(shell.get_args());
    let probes = [
        Probe::Package("dpkg".to_owned()),
        Probe::Unit("ssh.service".to_owned()),
        Probe::Http(HttpRequest::get("http://127.0.0.1:1/")),
        Probe::User("root".to_owned()),
        Probe::Command(sh("true")),
    ];
    let readings = read_by(program, &probes);
    let named = ["no dpkg-query", "no systemctl", "curl or wget"];
    for (probe, named) in probes.iter().zip(named) {
        let found = readings.get(probe);
        assert!(matches!(found, Some(Reading::Failed(why)) if why.contains(named)), "{named}: {found:?}");
    }
    assert!(matches!(readings.get(&probes[3]), Some(Reading::User(Some(_)))), "{readings:?}");
    assert_eq!(readings.command(&probes[4]).expect("an answer").exit, 127, "{readings:?}");
}
