//! What a host answers, asked by the generated scripts in the shells of this machine.
//!
//! In: probes. Out: readings of what is really there. Never: a change of anything outside a temporary directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command as Process;
use std::time::{Duration, Instant};

use armilla::secret::Content;
use armilla::step::{Command, Digest, Fetch, HttpRequest, PathReading, PortReading, Probe, Reading};
use armilla::transport::script::{parse_readings, read_script};

use crate::script::{HOSTILE, NONCE, Room, feed, path, read_by, serve, sh, shells};
use crate::waiting::NOT_HELD_UP;

#[test]
fn every_sort_of_thing_at_a_path_is_told_apart() {
    for shell in shells() {
        let room = Room::new("sorts");
        fs::write(room.path("file"), "known").expect("a file");
        fs::create_dir(room.path("directory")).expect("a directory");
        symlink("new\nline\n -x", room.path("link")).expect("a link");
        symlink("/nowhere", room.path("dangling")).expect("a link");
        symlink("loop", room.path("loop")).expect("a link");
        let pipe = room.path("pipe");
        assert!(Process::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
        // Names that end as the line about another, that need an escape, and that take two lines.
        let strange = ["a:none", "back\\slash", "re\rturn", "two\nlines", "two\nlinks", "two\nnone"];
        for name in &strange[..4] {
            fs::write(room.path(name), "known").expect("a file");
        }
        symlink("file", room.path(strange[4])).expect("a link");
        let names = ["file", "directory", "link", "dangling", "loop", "pipe", "none", "none/below", "file/below"];
        let mut probes: Vec<Probe> =
            names.iter().map(|name| path(&room.path(name), Fetch::Unless(Digest::of(b"known")))).collect();
        probes.push(path("relative", Fetch::Digest));
        probes.push(path("/nul\0", Fetch::Digest));
        probes.extend(strange.iter().map(|name| path(&room.path(name), Fetch::Unless(Digest::of(b"known")))));
        probes.push(path("/proc/self/status", Fetch::Always));
        let readings = read_by(&shell, &probes);
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
            assert!(matches!(absent, Reading::Path(PathReading::Absent)), "{shell:?} {absent:?}");
        }
        assert!(matches!(found[9], Reading::Failed(why) if why.contains("absolute")), "{:?}", found[9]);
        assert!(matches!(found[10], Reading::Failed(why) if why.contains("NUL")), "{:?}", found[10]);
        for file in &found[11..15] {
            assert!(
                matches!(file, Reading::Path(PathReading::File { content: None, size: 5, .. })),
                "{shell:?} {file:?}"
            );
        }
        assert!(matches!(found[15], Reading::Path(PathReading::Link { target, .. }) if target == "file"));
        assert!(matches!(found[16], Reading::Path(PathReading::Absent)), "{:?}", found[16]);
        assert!(matches!(found[17], Reading::Path(PathReading::File { content: Some(_), .. })), "{:?}", found[17]);
    }
}

#[test]
fn accounts_and_packages_of_this_machine_are_read() {
    let user = |name: &str| Probe::User(name.to_owned());
    let member = |name: &str| Probe::Membership(name.to_owned());
    let group = |name: &str| Probe::Group(name.to_owned());
    let package = |name: &str| Probe::Package(name.to_owned());
    for shell in shells() {
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
        let readings = read_by(&shell, &probes);
        let root = readings.user(&probes[0]).expect("an answer").clone().expect("root is there");
        assert_eq!((root.uid, root.gid, root.home.as_str()), (0, 0, "/root"));
        assert_eq!(readings.user(&probes[1]), Ok(&None));
        assert_eq!(readings.user(&probes[2]).expect("an answer").as_ref().map(|user| user.uid), Some(1));
        assert!(readings.user(&probes[3]).is_err());
        assert_eq!(readings.group(&probes[4]), Ok(&Some(0)));
        assert_eq!(readings.group(&probes[5]), Ok(&None));
        assert!(readings.package(&probes[6]).expect("an answer").installed.is_some(), "{shell:?}");
        assert_eq!(readings.package(&probes[7]).expect("an answer").installed, None);
        assert!(readings.package(&probes[8]).is_err());
        let root = readings.membership(&probes[9]).expect("an answer").clone().expect("root is there");
        assert_eq!(root.group, "root");
        assert_eq!(readings.membership(&probes[10]), Ok(&None));
        assert!(readings.membership(&probes[11]).is_err());
    }
}

#[test]
fn the_age_of_package_lists_is_told_with_paths_and_without() {
    let folders = ["/var/lib/apt/lists", "/var/lib/apt/lists/partial"];
    let fetched = folders.iter().filter_map(|folder| fs::metadata(folder).and_then(|of| of.modified()).ok()).max();
    let any = fs::read_dir(folders[0])
        .is_ok_and(|mut files| files.any(|file| file.is_ok_and(|f| f.file_name().to_string_lossy().contains('_'))));
    let wanted = fetched.filter(|_| any).map(|at| at.elapsed().expect("it was before now").as_secs());
    let package = Probe::Package("dpkg".to_owned());
    for shell in shells() {
        for probes in [vec![package.clone()], vec![package.clone(), path("/etc", Fetch::Digest)]] {
            let readings = read_by(&shell, &probes);
            let told = readings.package(&package).expect("an answer").lists_age;
            assert!(told.is_some() == wanted.is_some(), "{shell:?}: {told:?} {wanted:?}");
            assert!(
                told.unwrap_or_default().abs_diff(wanted.unwrap_or_default()) < 60,
                "{shell:?}: {told:?} {wanted:?}"
            );
        }
    }
}

#[test]
fn a_host_answers_the_same_in_turn_or_at_once_and_wherever_its_accounts_are() {
    let room = Room::new("same");
    let mut probes =
        vec![path("/etc/passwd", Fetch::Always), path("/etc", Fetch::Digest), path("/none", Fetch::Digest)];
    probes.extend(["root", "daemon", "nobody-at-all"].map(|name| Probe::User(name.to_owned())));
    probes.extend(["root", "daemon", "nobody-at-all"].map(|name| Probe::Membership(name.to_owned())));
    probes.extend(["root", "nobody-at-all"].map(|name| Probe::Group(name.to_owned())));
    probes.extend(["cron.service", "none.service"].map(|name| Probe::Unit(name.to_owned())));
    let large = fs::File::create(room.path("large")).expect("a file");
    large.set_len((16 << 20) + 1).expect("a size");
    probes.push(path(&room.path("large"), Fetch::Digest));
    let log = room.path("log");
    fs::write(room.path("bounded"), format!("#!/bin/sh\necho \"$*\" >>{log}\nexec timeout \"$@\"\n"))
        .expect("a program");
    fs::set_permissions(room.path("bounded"), fs::Permissions::from_mode(0o755)).expect("a mode");
    let script = read_script(&probes, NONCE, Duration::from_secs(50))
        .replace("bound=\"timeout ", &format!("bound=\"{} ", room.path("bounded")))
        .replace("/etc/nsswitch.conf", &room.path("nsswitch.conf"));
    let near = ["passwd: files\ngroup: files # ours\n", "group: files\nhosts: dns\npasswd:\tfiles\n"];
    let far = [
        "passwd: files sss\ngroup: files\n",
        "passwd: files\ngroup: files systemd\n",
        "hosts: dns\n",
        "passwd: files\n",
    ];
    for shell in shells() {
        let mut answers = Vec::new();
        for (spare, accounts) in
            ["true", "false"].into_iter().flat_map(|s| near.iter().chain(&far).map(move |a| (s, *a)))
        {
            fs::write(room.path("nsswitch.conf"), accounts).expect("a file");
            fs::write(&log, "").expect("a file");
            let script = script.replace("if spare; then", &format!("if {spare}; then"));
            answers.push(parse_readings(&probes, NONCE, &feed(&shell, "", script.as_bytes())).expect("an answer"));
            let bounded = fs::read_to_string(&log).expect("a file");
            let bounded: Vec<&str> = bounded.lines().filter(|line| !line.contains("systemctl")).collect();
            let wanted = if near.contains(&accounts) { 1 } else { 4 };
            assert_eq!(bounded.len(), wanted, "{shell:?} {accounts:?}: {bounded:?}");
        }
        assert!(answers.windows(2).all(|two| two[0] == two[1]), "{shell:?}: {answers:?}");
        assert!(answers[0].user(&probes[3]).is_ok_and(Option::is_some), "{shell:?}");
    }
}

#[test]
fn a_program_is_asked_with_exact_arguments_input_environment_and_directory() {
    for shell in shells() {
        let mut exact = Command::new(["printf", "[%s]"]);
        exact.argv.extend(HOSTILE.map(str::to_owned));
        let mut cat = Command::new(["cat"]);
        cat.stdin = Content::Plain(b"a\0b\n\n%s\\".to_vec());
        let mut place = sh("pwd; echo \"$WORD\"; umask").with("WORD", "it's\n$HOME");
        place.directory = Some("/usr".to_owned());
        let asked = [exact, cat, place, sh("echo out; echo err >&2; exit 7"), Command::new(["/no/such/program"])];
        let probes: Vec<Probe> = asked.into_iter().map(Probe::Command).collect();
        let readings = read_by(&shell, &probes);
        let told = |at: usize| readings.command(&probes[at]).expect("an answer").clone();
        let words = format!("[{}]", HOSTILE.join("]["));
        assert_eq!(String::from_utf8_lossy(&told(0).stdout), words, "{shell:?}");
        assert_eq!(told(1).stdout, b"a\0b\n\n%s\\");
        assert_eq!(String::from_utf8_lossy(&told(2).stdout), "/usr\nit's\n$HOME\n0022\n");
        assert_eq!((told(3).exit, told(3).stdout, told(3).stderr), (7, b"out\n".to_vec(), b"err\n".to_vec()));
        assert_eq!(told(4).exit, 127, "{:?}", told(4));
    }
}

#[test]
fn f17_endless_output_hung_programs_and_daemons_are_bounded() {
    for shell in shells() {
        let began = Instant::now();
        let second = Duration::from_secs(1);
        let probes = [
            Probe::Command(Command::new(["yes"]).within(second)),
            Probe::Command(Command::new(["sleep", "600"]).within(second)),
            Probe::Command(sh("trap '' TERM; sleep 3; sleep 3; sleep 3; sleep 3").within(second)),
            Probe::Command(sh("setsid sleep 30 & echo started").within(second)),
            Probe::Command(sh("head -c 1000000 /dev/zero; exit 3")),
        ];
        let readings = read_by(&shell, &probes);
        let told = |at: usize| readings.command(&probes[at]).expect("an answer").clone();
        assert_eq!((told(0).exit, told(0).stdout.len()), (124, 262_144), "{shell:?}");
        assert_eq!(told(1).exit, 124);
        assert_eq!(told(2).exit, 124, "{shell:?}");
        assert!(
            matches!(readings.get(&probes[3]), Some(Reading::Failed(why)) if why.contains("holds its output")),
            "{shell:?}"
        );
        assert_eq!((told(4).exit, told(4).stdout.len()), (3, 262_144), "it meets no broken pipe");
        assert!(began.elapsed() < NOT_HELD_UP, "{shell:?} took {:?}", began.elapsed());
    }
}

#[test]
fn ports_and_web_servers_are_asked_by_the_host_itself() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let open = listener.local_addr().expect("its address").port();
    let server = serve("HTTP/1.1 418 teapot\r\nServer: x\r\n\r\nshort \r\n\r\n and stout");
    let closed = { std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it").port() };
    for shell in shells() {
        let port = |port| Probe::port("127.0.0.1", port);
        let probes = [
            port(open),
            port(closed),
            Probe::Http(HttpRequest::get(format!("http://127.0.0.1:{server}/a?b=[c]"))),
            Probe::Http(HttpRequest::get(format!("http://127.0.0.1:{closed}/"))),
            Probe::Http(HttpRequest::get("file:///etc/passwd")),
        ];
        let readings = read_by(&shell, &probes);
        assert_eq!(readings.port(&probes[0]), Ok(&PortReading::Open));
        assert_eq!(readings.port(&probes[1]), Ok(&PortReading::Closed));
        let answer = readings.http(&probes[2]).expect("an answer").clone().expect("a web server's answer");
        assert_eq!((answer.status, answer.body.as_slice()), (418, b"short \r\n\r\n and stout".as_slice()));
        assert!(readings.http(&probes[3]).expect("an answer").is_err());
        assert!(readings.http(&probes[4]).is_err());
    }
}

#[test]
fn a_file_system_that_hangs_hides_only_itself() {
    for shell in shells() {
        let room = Room::new("away");
        for name in ["hung up", "well"] {
            fs::create_dir(room.path(name)).expect("a directory");
            fs::write(Path::new(&room.path(name)).join("file"), "x").expect("a file");
        }
        let mounts =
            format!("s:/a {}/hung\\040up nfs4 rw 0 0\ns:/b {}/well nfs rw 0 0\n", room.path(""), room.path(""));
        fs::write(room.path("mounts"), mounts.replace("//", "/")).expect("a table");
        let probes =
            ["hung up/file", "hung up", "well/file", "hung upper"].map(|name| path(&room.path(name), Fetch::Digest));
        let script = read_script(&probes, NONCE, Duration::from_secs(50)).replace("/proc/mounts", &room.path("mounts"));
        // As if the server were away: nothing else can hang for sure.
        let before = "timeout() { case \"$*\" in *'hung up') return 124 ;; esac; command timeout \"$@\"; };";
        let answer = feed(&shell, before, script.as_bytes());
        let readings = parse_readings(&probes, NONCE, &answer).expect("an answer");
        for probe in &probes[..2] {
            let why = readings.path(probe).expect_err("it hangs").to_string();
            assert!(why.contains("hung up does not answer"), "{shell:?}: {why}");
        }
        assert!(matches!(readings.path(&probes[2]), Ok(PathReading::File { .. })), "{shell:?}");
        assert!(matches!(readings.path(&probes[3]), Ok(PathReading::Absent)), "{shell:?}");
    }
}

#[test]
fn f21_missing_tools_are_named() {
    let room = Room::new("bare");
    for tool in ["cat", "id", "stat", "sha256sum", "readlink", "timeout", "head", "tail", "sh", "date"] {
        symlink(format!("/usr/bin/{tool}"), room.path(tool)).expect("a link");
    }
    let probes = [
        Probe::Package("dpkg".to_owned()),
        Probe::Unit("ssh.service".to_owned()),
        Probe::Http(HttpRequest::get("http://127.0.0.1:1/")),
        Probe::User("root".to_owned()),
    ];
    let script = read_script(&probes, NONCE, Duration::from_secs(9));
    let (before, after) = script.split_once("PATH=/usr").expect("the script sets a path");
    let rest = after.split_once('\n').expect("more lines").1;
    let script = format!("{before}PATH={}\n{rest}", room.0.display());
    for shell in shells() {
        let readings = parse_readings(&probes, NONCE, &feed(&shell, "", script.as_bytes())).expect("an answer");
        assert!(
            matches!(readings.get(&probes[0]), Some(Reading::Failed(why)) if why.contains("no dpkg-query")),
            "{shell:?} {readings:?}"
        );
        assert!(matches!(readings.get(&probes[1]), Some(Reading::Failed(why)) if why.contains("no systemctl")));
        assert!(
            matches!(readings.get(&probes[2]), Some(Reading::Failed(why)) if why.contains("curl or wget")),
            "{readings:?}"
        );
        assert!(matches!(readings.get(&probes[3]), Some(Reading::User(Some(_)))), "{readings:?}");
    }
}

/// A folder in which every program of this machine notes that it was started, and is.
fn counted(room: &Room) -> String {
    let (folder, log) = (room.path("programs"), room.path("log"));
    fs::create_dir(&folder).expect("a directory");
    let script = "echo \"${0##*/}\" >>'LOG'; PATH=/usr/sbin:/usr/bin:/sbin:/bin; exec \"${0##*/}\" \"$@\"";
    let one = format!("{folder}/armilla-counts");
    fs::write(&one, format!("#!/bin/sh\n{}\n", script.replace("LOG", &log))).expect("a file");
    fs::set_permissions(&one, fs::Permissions::from_mode(0o755)).expect("a mode");
    for program in fs::read_dir("/usr/bin").expect("programs").flatten() {
        symlink(&one, Path::new(&folder).join(program.file_name())).expect("a link");
    }
    folder
}

#[test]
fn fifty_paths_start_as_many_programs_as_ten() {
    for shell in shells() {
        let room = Room::new("programs");
        let folder = counted(&room);
        let started = |number: usize| {
            let mut probes: Vec<Probe> = (0..number)
                .map(|at| {
                    let (file, content) = (room.path(&format!("file {at}")), vec![b'x'; 1000 + at]);
                    fs::write(&file, &content).expect("a file");
                    path(&file, Fetch::Unless(Digest::of(&content)))
                })
                .collect();
            probes.extend(["dpkg", "bash", "coreutils", "tar", "sed"].map(|name| Probe::Package(name.to_owned())));
            probes.extend(["ssh.service", "cron.service", "dbus.service"].map(|name| Probe::Unit(name.to_owned())));
            let _ = fs::remove_file(room.path("log"));
            let script = read_script(&probes, NONCE, Duration::from_secs(50));
            // It looks for programs only where it says itself.
            let own = "PATH=/usr/local/sbin:";
            assert!(script.contains(own));
            let answer = feed(&shell, "", script.replace(own, &format!("PATH={folder}:/usr/local/sbin:")).as_bytes());
            let readings = parse_readings(&probes, NONCE, &answer).unwrap_or_else(|why| panic!("{shell:?}: {why}"));
            assert!(matches!(readings.path(&probes[number - 1]), Ok(PathReading::File { content: None, .. })));
            let log = fs::read_to_string(room.path("log")).expect("what was started");
            // One more, where a processor is free and answers are gathered side by side.
            log.lines().filter(|program| *program != "cat").collect::<Vec<_>>().join("\n")
        };
        let (ten, fifty) = (started(10), started(50));
        assert!(fifty.lines().any(|program| program == "sha256sum"), "{shell:?}: they are counted\n{fifty}");
        assert_eq!(fifty.lines().count(), ten.lines().count(), "{shell:?}\n{ten}\n{fifty}");
    }
}
