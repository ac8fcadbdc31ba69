//! The generated scripts, run for real by the shells of this machine in a directory of their own.
//!
//! In: steps. Out: what really happened on the disk. Never: anything outside a temporary directory.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use armilla::secret::Content;
use armilla::step::{
    Alternative, Command, Digest, Fetch, Mode, Outcome, Ownership, PathReading, Probe, Readings, Removable, Step,
    WaitsFor,
};
use armilla::transport::StepEvent;
use armilla::transport::script::{Progress, parse_readings, quote, read_script, step_script, write_bytes};
use proptest::prelude::*;

pub(crate) const NONCE: &str = "0123456789abcdef0123456789abcdef";

/// A directory that is gone afterwards.
pub(crate) struct Room(pub(crate) PathBuf);

impl Room {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("armilla-script-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory for the test");
        Self(path.canonicalize().expect("its real name"))
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a name in UTF-8").to_owned()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("a readable directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The shells of this machine: dash always, the others where they are.
pub(crate) fn shells() -> Vec<Vec<&'static str>> {
    let there = |name: &str| ["/bin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(name).exists());
    let mut shells = vec![vec!["dash"]];
    shells.extend(there("bash").then(|| vec!["bash", "--posix"]));
    shells.extend(there("busybox").then(|| vec!["busybox", "sh"]));
    shells
}

pub(crate) fn feed(shell: &[&str], before: &str, script: &[u8]) -> Vec<u8> {
    let mut child = Process::new(shell[0])
        .args(&shell[1..])
        .args(["-c", &format!("{before} eval \"$(cat)\"")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the shell starts");
    let mut input = child.stdin.take().expect("its input");
    let script = script.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = input.write_all(&script);
    });
    let output = child.wait_with_output().expect("the shell ends");
    let _ = writer.join();
    if std::env::var_os("SHOW_STDERR").is_some() {
        let _ = std::io::stderr().write_all(&output.stderr);
    }
    output.stdout
}

pub(crate) fn read_by(shell: &[&str], probes: &[Probe]) -> Readings {
    let answer = feed(shell, "", read_script(probes, NONCE, Duration::from_secs(50)).as_bytes());
    parse_readings(probes, NONCE, &answer).unwrap_or_else(|why| panic!("{shell:?}: {why}"))
}

pub(crate) fn perform_by(shell: &[&str], before: &str, steps: &[Step]) -> (Vec<StepEvent>, Vec<Outcome>) {
    let answer = feed(shell, before, step_script(steps, NONCE).as_bytes());
    let mut progress = Progress::new(NONCE);
    let events = progress.push(&answer);
    (events, progress.outcomes().unwrap_or_else(|| panic!("{shell:?}: the answer ends early")))
}

pub(crate) fn perform(shell: &[&str], steps: &[Step]) -> Vec<Outcome> {
    perform_by(shell, "", steps).1
}

pub(crate) fn path(path: &str, content: Fetch) -> Probe {
    Probe::Path { path: path.to_owned(), content }
}

fn write(path: &str, content: &[u8]) -> Step {
    Step::WriteFile {
        path: path.to_owned(),
        content: Content::Plain(content.to_vec()),
        ownership: Ownership { mode: Some(Mode(0o640)), ..Ownership::default() },
    }
}

pub(crate) fn sh(script: &str) -> Command {
    Command::new(["sh", "-c", script])
}

pub(crate) fn failure(outcome: &Outcome) -> (i32, &str) {
    match outcome {
        Outcome::Failed { exit, stderr } => (*exit, stderr),
        other => panic!("{other:?} did not fail"),
    }
}

/// Names that have broken tools before.
pub(crate) const HOSTILE: [&str; 14] = [
    "plain",
    "two words",
    "it's",
    "say \"hi\"",
    "new\nline",
    "a;b",
    "$(touch pwned)",
    "`touch pwned`",
    "-rf",
    "--",
    "\u{1b}]0;x\u{7}\u{1b}[2J",
    "back\\slash",
    "zażółć ā\u{81}",
    "*?[a]~#!&|<>{}",
];

/// Contents that have broken transports before.
fn contents() -> Vec<Vec<u8>> {
    let forged = format!("\n{NONCE}\nx\n0000 done 0\n\nabc end\n");
    let mut all: Vec<Vec<u8>> = HOSTILE.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.extend([b"".to_vec(), b"no newline".to_vec(), b"\n\n\n".to_vec(), b"nul \0 nul\0".to_vec()]);
    all.extend([
        (0..=255).collect(),
        b"-n 100% %s \\n \\0 \\c".to_vec(),
        forged.into_bytes(),
        b"\xff\xfe\x80\x81\x88".to_vec(),
    ]);
    all
}

#[test]
fn files_of_any_name_and_content_are_written_and_read_back() {
    for shell in shells() {
        let room = Room::new("roundtrip");
        let contents = contents();
        let files: Vec<(String, &Vec<u8>)> = contents
            .iter()
            .enumerate()
            .map(|(at, content)| (room.path(&format!("{at}{}", HOSTILE[at % HOSTILE.len()])), content))
            .chain(HOSTILE.iter().zip(&contents).map(|(name, content)| (room.path(name), content)))
            .collect();
        let steps: Vec<Step> = files.iter().map(|(name, content)| write(name, content)).collect();
        assert_eq!(perform(&shell, &steps), vec![Outcome::Done; steps.len()], "{shell:?}");
        assert_eq!(room.names().len(), files.len(), "{shell:?} left {:?}", room.names());
        let probes: Vec<Probe> = files.iter().map(|(name, _)| path(name, Fetch::Always)).collect();
        let readings = read_by(&shell, &probes);
        for ((name, content), probe) in files.iter().zip(&probes) {
            assert_eq!(&fs::read(name).expect("it is there"), *content, "{shell:?} {name:?}");
            assert_eq!(fs::metadata(name).expect("it is there").permissions().mode() & 0o7777, 0o640);
            let Ok(PathReading::File { size, digest, content: Some(read), attributes, .. }) = readings.path(probe)
            else {
                panic!("{shell:?} {name:?}: {:?}", readings.get(probe));
            };
            assert_eq!(
                (read, *size, digest),
                (*content, content.len() as u64, &Digest::of(content)),
                "{shell:?} {name:?}"
            );
            assert_eq!(attributes.mode, Mode(0o640));
        }
    }
}

#[test]
fn a_content_of_megabytes_travels_whole() {
    let mut content = Vec::with_capacity(3 << 20);
    let mut state = 1_u32;
    while content.len() < 3 << 20 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        content.extend_from_slice(&state.to_be_bytes()[..3]);
    }
    for shell in shells() {
        let room = Room::new("large");
        let file = room.path("large");
        let began = Instant::now();
        assert_eq!(perform(&shell, &[write(&file, &content)]), [Outcome::Done]);
        eprintln!("{shell:?}: 3 MB of noise in {:?}", began.elapsed());
        assert!(fs::read(&file).expect("it is there") == content, "{shell:?}");
        let probe = path(&file, Fetch::Always);
        match read_by(&shell, std::slice::from_ref(&probe)).path(&probe) {
            Ok(PathReading::File { content: None, digest, .. }) => assert_eq!(*digest, Digest::of(&content)),
            other => panic!("{shell:?}: too large to bring along, but {other:?}"),
        }
    }
}

/// A web server with one answer.
pub(crate) fn serve(answer: &'static str) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

#[test]
fn f07_a_script_that_does_not_arrive_whole_does_nothing() {
    let room = Room::new("cut");
    let made = room.path("made");
    let script = step_script(&[Step::Run(Command::new(["touch", &made])), write(&made, b"x")], NONCE);
    let reading = read_script(&[Probe::Command(Command::new(["touch", &made]))], NONCE, Duration::from_secs(9));
    for shell in shells() {
        for text in [&script, &reading] {
            let whole = text.trim_end();
            let cuts = (0..64).map(|part| whole.len() * part / 64).chain([whole.len() - 1, whole.len() - 2]);
            for cut in cuts {
                feed(&shell, "", &whole.as_bytes()[..cut]);
                assert!(room.names().is_empty(), "{shell:?}: cut at {cut} of {}", whole.len());
            }
        }
    }
}

#[test]
fn what_changed_since_the_plan_is_not_written_over() {
    for shell in shells() {
        let room = Room::new("unchanged");
        let (file, link, none) = (room.path("file"), room.path("link"), room.path("none"));
        fs::write(&file, "as it was").expect("a file");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        let unchanged = |path: &str, digest| Step::Unchanged { path: path.to_owned(), digest };
        let was = |text: &str| Some(Digest::of(text.as_bytes()));
        let well =
            [unchanged(&file, was("as it was")), unchanged(&none, None), unchanged(&room.path("no/dir/x"), None)];
        assert_eq!(perform(&shell, &well), [Outcome::Done, Outcome::Done, Outcome::Done], "{shell:?}");
        let changed = [
            unchanged(&file, was("as it is")),
            unchanged(&file, None),
            unchanged(&link, was("as it was")),
            unchanged(&link, None),
            unchanged(&none, was("as it was")),
        ];
        for step in changed {
            let outcomes = perform(&shell, &[step, write(&file, b"ours")]);
            assert_eq!(outcomes.len(), 1, "nothing is written: {shell:?}");
            assert!(failure(&outcomes[0]).1.contains("was changed since the plan was made: plan again"), "{shell:?}");
        }
        assert_eq!(fs::read(&file).expect("a file"), b"as it was");
    }
}

#[test]
fn a_path_in_a_home_is_where_the_hosts_accounts_say() {
    for shell in shells() {
        let probes =
            ["~root/.profile", "/root/.profile", "~nobody/x", "~no-such-user/x"].map(|name| path(name, Fetch::Digest));
        let readings = read_by(&shell, &probes);
        let found = probes.clone().map(|probe| readings.path(&probe).cloned());
        assert_eq!(found[0], found[1], "{shell:?}");
        assert_eq!([&found[2], &found[3]], [&Ok(PathReading::Absent), &Ok(PathReading::Absent)], "{shell:?}");
        let outcomes = perform(&shell, &[write("~no-such-user/x", b"x")]);
        assert!(failure(&outcomes[0]).1.contains("there is no user no-such-user with a home directory"), "{shell:?}");
    }
}

#[test]
fn ownership_is_given_kept_and_checked() {
    for shell in shells() {
        let room = Room::new("owner");
        let (file, directory) = (room.path("file"), room.path("a/b/c"));
        fs::write(&file, "old").expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o4711)).expect("a mode");
        let keep = Step::WriteFile { path: file.clone(), content: "new".into(), ownership: Ownership::default() };
        let fresh =
            Step::WriteFile { path: room.path("fresh"), content: "new".into(), ownership: Ownership::default() };
        let make = |mode| Step::MakeDirectory {
            path: directory.clone(),
            ownership: Ownership { mode: Some(Mode(mode)), ..Ownership::default() },
        };
        assert_eq!(perform(&shell, &[keep, fresh, make(0o2750)]), [Outcome::Done, Outcome::Done, Outcome::Done]);
        let mode = |path: &str| fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
        assert_eq!((mode(&file), mode(&room.path("fresh"))), (0o4711, 0o644), "{shell:?}");
        assert_eq!((mode(&directory), mode(&room.path("a"))), (0o2750, 0o755));
        let set = |path: &str, owner: Option<&str>| Step::SetOwnership {
            path: path.to_owned(),
            ownership: Ownership { mode: Some(Mode(0o600)), owner: owner.map(str::to_owned), group: None },
        };
        assert_eq!(perform(&shell, &[make(0o700), set(&file, None)]), [Outcome::Done, Outcome::Done]);
        assert_eq!((mode(&directory), mode(&file)), (0o700, 0o600));
        let outcomes = perform(&shell, &[set(&file, Some("no-such-user"))]);
        assert!(failure(&outcomes[0]).1.contains("no-such-user"), "{outcomes:?}");
    }
}

#[test]
#[ignore = "needs root: gives files to other users"]
fn files_are_given_to_other_users_and_groups() {
    for shell in shells() {
        let room = Room::new("given");
        let (file, directory) = (room.path("file"), room.path("directory"));
        fs::write(&file, "old").expect("a file");
        fs::create_dir(&directory).expect("a directory");
        let ownership = |owner: Option<&str>, group: &str, mode| Ownership {
            owner: owner.map(str::to_owned),
            group: Some(group.to_owned()),
            mode: Some(Mode(mode)),
        };
        let given = [
            Step::SetOwnership { path: file.clone(), ownership: ownership(Some("daemon"), "bin", 0o600) },
            Step::SetOwnership { path: directory.clone(), ownership: ownership(None, "bin", 0o700) },
        ];
        assert_eq!(perform(&shell, &given), [Outcome::Done, Outcome::Done]);
        let owner = |path: &str| fs::metadata(path).map(|data| (data.uid(), data.gid())).expect("it is there");
        assert_eq!((owner(&file), owner(&directory)), ((1, 2), (0, 2)));
        // What is made in a directory of a group's is the group's, unless somebody says otherwise.
        let shared = Step::MakeDirectory {
            path: directory.clone(),
            ownership: Ownership { mode: Some(Mode(0o2750)), ..Ownership::default() },
        };
        let roots = ownership(Some("root"), "root", 0o640);
        let (inside, below) = (format!("{directory}/inside"), format!("{directory}/below"));
        let write = Step::WriteFile { path: inside.clone(), content: "new".into(), ownership: roots.clone() };
        let below_it = Step::MakeDirectory { path: below.clone(), ownership: roots };
        assert_eq!(perform(&shell, &[shared, write, below_it]), [Outcome::Done, Outcome::Done, Outcome::Done]);
        assert_eq!((owner(&directory), owner(&inside), owner(&below)), ((0, 2), (0, 0), (0, 0)), "{shell:?}");
    }
}

#[test]
fn contents_reach_the_disk_before_their_names_and_names_once_at_the_end() {
    for shell in shells() {
        let room = Room::new("flush");
        for folder in ["a", "it's b"] {
            fs::create_dir(room.path(folder)).expect("a directory");
        }
        let [one, two, three] = ["a/one", "it's b/two", "a/three"].map(|name| room.path(name));
        let told = room.path("told");
        // Which of the files have their names when it is called.
        let watch = format!(
            "sync() {{ set +f; echo \"$*:\" $(cd '{}' && ls -A a it*) >>'{told}'; set -f; }};",
            room.path("").trim_end_matches('/')
        );
        let lines = |meanwhile: &str, steps: &[Step]| {
            let (_, outcomes) = perform_by(&shell, &format!("{watch}{meanwhile}"), steps);
            let text = fs::read_to_string(&told).expect("what was flushed");
            fs::remove_file(&told).expect("it goes");
            let names = |line: &str| line.replace(&format!("{}/", room.0.display()), "");
            (outcomes, text.lines().map(names).map(|line| tidied(&line)).collect::<Vec<_>>())
        };
        let all = [write(&one, b"1"), write(&two, b"2"), write(&three, b"3")];
        let (outcomes, flushed) = lines("", &all);
        assert_eq!(outcomes, [Outcome::Done, Outcome::Done, Outcome::Done]);
        let expected = [
            "a/.armilla it's b/.armilla a/.armilla: a: .armilla .armilla it's b: .armilla",
            "a/ it's b/: a: one three it's b: two",
        ];
        assert_eq!(flushed, expected, "{shell:?}");
        for name in [&one, &two, &three] {
            fs::remove_file(name).expect("it goes");
        }
        // Where not all of them are as they should be, each is written again by itself.
        let (outcomes, flushed) =
            lines("stat() { case $# in 6) echo 1:644 ;; *) command stat \"$@\" ;; esac; };", &all);
        assert_eq!(outcomes, [Outcome::Done, Outcome::Done, Outcome::Done]);
        let expected = [
            "/proc/self/fd/7: a: .armilla it's b:",
            "/proc/self/fd/7: a: one it's b: .armilla",
            "/proc/self/fd/7: a: .armilla one it's b: two",
            "a/ it's b/: a: one three it's b: two",
        ];
        assert_eq!(flushed, expected, "{shell:?}");
        // Also what was done before a step that fails; a directory that is not there stands in nobody's way.
        let away = room.path("away/file");
        let (outcomes, flushed) = lines("", &[write(&one, b"4"), write(&away, b"5"), write(&two, b"6")]);
        assert_eq!(outcomes.len(), 2);
        assert_eq!(flushed[1..], ["a/ it's b/: a: one three it's b: two"], "{shell:?}");
        // Of what was written beforehand for steps that are not done any more nothing is left.
        assert_eq!(fs::read_dir(room.path("it's b")).expect("a directory").count(), 1, "{shell:?}");
    }
}

/// Without what is random in the names of new files.
fn tidied(line: &str) -> String {
    let short = |word: &str| match word.find(".armilla-") {
        Some(at) => format!("{}.armilla", &word[..at]) + if word.ends_with(':') { ":" } else { "" },
        None => word.to_owned(),
    };
    line.split(' ').map(short).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_written_in_a_home_reaches_the_disk_at_once() {
    let script = step_script(&[write("~root/.armilla-test", b"")], NONCE);
    assert!(script.contains("later=\nhome=$(home 'root')") && !script.contains("later=yes"), "{script}");
}

#[test]
fn f34_links_are_made_replaced_and_removed_but_never_written_through() {
    for shell in shells() {
        let room = Room::new("links");
        let (link, target, folder) = (room.path("li nk"), room.path("target"), room.path("folder"));
        fs::write(&target, "safe").expect("a file");
        fs::create_dir(&folder).expect("a directory");
        let make = |path: &str, target: &str| Step::MakeLink { path: path.to_owned(), target: target.to_owned() };
        assert_eq!(perform(&shell, &[make(&link, &folder), make(&link, "-x\ny")]), [Outcome::Done, Outcome::Done]);
        assert_eq!(fs::read_link(&link).expect("a link").to_str(), Some("-x\ny"), "{shell:?}");
        assert!(fs::read_dir(&folder).expect("a directory").next().is_none(), "nothing was put into it");
        let remove = |path: &str, what| Step::Remove { path: path.to_owned(), what };
        let refused = [
            make(&target, "x"),
            make(&folder, "x"),
            remove(&link, Removable::File),
            remove(&target, Removable::Link),
            remove(&folder, Removable::File),
            remove(&target, Removable::EmptyDirectory),
            remove(&room.0.to_string_lossy(), Removable::EmptyDirectory),
            write(&folder, b"x"),
            write(&room.path("none/x"), b"x"),
            write(&room.path("x/../y"), b"x"),
        ];
        for step in refused {
            failure(&perform(&shell, std::slice::from_ref(&step))[0]);
        }
        let trap = room.path("trap");
        symlink(&target, &trap).expect("a link");
        let outcomes = perform(&shell, &[write(&trap, b"through")]);
        assert!(failure(&outcomes[0]).1.contains("symbolic link"), "{outcomes:?}");
        assert_eq!(fs::read_to_string(&target).expect("a file"), "safe");
        let steps = [
            remove(&link, Removable::Link),
            remove(&link, Removable::Link),
            remove(&target, Removable::File),
            remove(&folder, Removable::EmptyDirectory),
            remove(&room.path("none/below"), Removable::File),
            remove(&trap, Removable::Link),
        ];
        assert_eq!(perform(&shell, &steps), vec![Outcome::Done; 6], "{shell:?}");
        assert!(room.names().is_empty(), "{:?}", room.names());
    }
}

#[test]
fn f34_a_link_in_a_directory_of_others_is_not_followed() {
    for shell in shells() {
        let room = Room::new("planted");
        fs::create_dir_all(room.path("shared/real")).expect("a directory");
        fs::create_dir_all(room.path("private/real")).expect("a directory");
        fs::set_permissions(room.path("shared"), fs::Permissions::from_mode(0o1777)).expect("a mode");
        for parent in ["shared", "private"] {
            symlink("real", room.path(&format!("{parent}/inside"))).expect("a link");
            symlink(room.path("private"), room.path(&format!("{parent}/link"))).expect("a link");
        }
        assert_eq!(perform(&shell, &[write(&room.path("private/link/file"), b"x")]), [Outcome::Done], "{shell:?}");
        let outcomes = perform(&shell, &[write(&room.path("shared/link/other"), b"x")]);
        assert!(failure(&outcomes[0]).1.contains("planted"), "{shell:?} {outcomes:?}");
        assert!(!Path::new(&room.path("private/other")).exists());
    }
}

#[test]
fn f16_a_full_disk_leaves_the_old_file_and_no_other() {
    for shell in shells() {
        let room = Room::new("full");
        let file = room.path("file");
        fs::write(&file, "old").expect("a file");
        let (_, outcomes) = perform_by(&shell, "ulimit -f 8;", &[write(&file, &vec![b'x'; 100_000])]);
        assert!(failure(&outcomes[0]).1.contains("of 100000 bytes"), "{shell:?} {outcomes:?}");
        assert_eq!(fs::read_to_string(&file).expect("a file"), "old");
        assert_eq!(room.names(), ["file"]);
    }
}

#[test]
#[ignore = "needs root: mounts a file system"]
fn f16_a_full_file_system_leaves_the_old_file_and_no_other() {
    for shell in shells() {
        let room = Room::new("tmpfs");
        let mounted = Process::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "none"]).arg(&room.0).status();
        assert!(mounted.is_ok_and(|status| status.success()), "mounting a file system needs root");
        let file = room.path("file");
        fs::write(&file, "old").expect("a file");
        let outcomes = perform(&shell, &[write(&file, &vec![b'x'; 100_000])]);
        let names = room.names();
        let kept = fs::read_to_string(&file).expect("a file");
        let _ = Process::new("umount").arg(&room.0).status();
        assert!(failure(&outcomes[0]).1.contains("of 100000 bytes"), "{shell:?} {outcomes:?}");
        assert_eq!((kept.as_str(), names), ("old", vec!["file".to_owned()]));
    }
}

#[test]
fn steps_stop_at_the_first_failure_and_say_why() {
    for shell in shells() {
        let room = Room::new("stop");
        let steps = [
            write(&room.path("one"), b"1"),
            Step::Run(sh("echo ignored; echo reason >&2; exit 42")),
            write(&room.path("two"), b"2"),
        ];
        let (events, outcomes) = perform_by(&shell, "", &steps);
        assert_eq!(outcomes, [Outcome::Done, Outcome::Failed { exit: 42, stderr: "reason".to_owned() }]);
        assert!(matches!(
            events.as_slice(),
            [
                StepEvent::Started { index: 0 },
                StepEvent::Ended { index: 0, .. },
                StepEvent::Started { index: 1 },
                StepEvent::Ended { index: 1, .. }
            ]
        ));
        assert_eq!(room.names(), ["one"]);
        let outcomes = perform(&shell, &[Step::Run(sh("echo only output; exit 1"))]);
        assert_eq!(failure(&outcomes[0]), (1, "only output"));
        let outcomes = perform(&shell, &[Step::Run(sh("yes reason | head -c 100000 >&2; exit 1"))]);
        assert!((16_000..=16_384).contains(&failure(&outcomes[0]).1.len()), "{shell:?}");
        let outcomes = perform(&shell, &[Step::Run(Command::new(["sleep", "30"]).within(Duration::from_secs(1)))]);
        assert_eq!(failure(&outcomes[0]).0, 124, "{shell:?}");
        let daemon = format!("setsid sh -c 'while [ -e {} ]; do sleep 1; done' & echo daemon", room.path("one"));
        assert_eq!(perform(&shell, &[Step::Run(sh(&daemon))]), [Outcome::Done], "a daemon holds nothing");
    }
}

#[test]
fn a_guarded_step_runs_only_when_it_is_needed() {
    for shell in shells() {
        let room = Room::new("guard");
        let guarded = |guard: &str| {
            Step::RunUnless(Command::new(["touch", &room.path("made")]), sh(guard).within(Duration::from_secs(1)))
        };
        assert_eq!(perform(&shell, &[guarded("echo text; exit 0")]), [Outcome::NotNeeded]);
        failure(&perform(&shell, &[guarded("sleep 9")])[0]);
        assert!(room.names().is_empty());
        assert_eq!(perform(&shell, &[guarded("exit 9")]), [Outcome::Done]);
        assert_eq!(room.names(), ["made"]);
    }
}

#[test]
fn what_a_program_cannot_do_another_does_as_its_exit_code_says() {
    for shell in shells() {
        let room = Room::new("or");
        let either = |first: &str, second: &str| {
            let last = Command::new(["touch", &room.path("last")]);
            let second = Alternative { after: 9, command: sh(second) };
            Step::RunOr(sh(first).within(Duration::from_secs(1)), vec![second, Alternative { after: 6, command: last }])
        };
        assert_eq!(perform(&shell, &[either("echo text", "exit 6")]), [Outcome::Done]);
        assert_eq!(failure(&perform(&shell, &[either("exit 6", "exit 6")])[0]).0, 6);
        assert_eq!(failure(&perform(&shell, &[either("exit 9", "echo why; exit 9")])[0]), (9, "why"));
        assert_eq!(failure(&perform(&shell, &[either("sleep 9", "exit 6")])[0]).0, 124);
        assert_eq!(perform(&shell, &[either("echo no; exit 9", "exit 0")]), [Outcome::Done]);
        assert!(room.names().is_empty());
        assert_eq!(perform(&shell, &[either("echo no; exit 9", "echo nor here; exit 6")]), [Outcome::Done]);
        assert_eq!(room.names(), ["last"]);
    }
}

#[test]
#[ignore = "needs root: becomes another user"]
fn a_program_can_run_as_another_user() {
    for shell in shells() {
        let mut who = Command::new(["printf", "%s|", "it's", "-x"]);
        who.user = Some("nobody".to_owned());
        let mut id = Command::new(["id", "-un"]);
        id.user = Some("nobody".to_owned());
        let probes = [Probe::Command(who), Probe::Command(id)];
        let readings = read_by(&shell, &probes);
        assert_eq!(readings.command(&probes[0]).expect("an answer").stdout, b"it's|-x|");
        assert_eq!(readings.command(&probes[1]).expect("an answer").stdout, b"nobody\n", "{shell:?}");
    }
}

#[test]
fn f08_when_nobody_listens_any_more_the_running_step_ends_and_no_other_begins() {
    for shell in shells() {
        let room = Room::new("deaf");
        let one = format!("sleep 1; touch '{}'", room.path("one"));
        let steps = [Step::Run(sh(&one)), write(&room.path("two"), b"2"), write(&room.path("three"), b"3")];
        let script = step_script(&steps, NONCE);
        let mut child = Process::new(shell[0])
            .args(&shell[1..])
            .args(["-c", "eval \"$(cat)\""])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the shell starts");
        child.stdin.take().expect("its input").write_all(script.as_bytes()).expect("it reads");
        std::thread::sleep(Duration::from_millis(500));
        drop(child.stdout.take());
        let _ = child.wait();
        assert_eq!(room.names(), ["one"], "{shell:?}");
    }
}

#[test]
fn a_lock_of_dpkg_is_waited_for_and_its_holder_named() {
    use nix::fcntl::{FcntlArg, fcntl};
    let steps = [Step::Run(Command::new(["dpkg", "--version"]).waiting_for(WaitsFor::Dpkg))];
    for shell in shells() {
        let room = Room::new("locked");
        let file = fs::File::create(room.path("lock")).expect("a file");
        let script = step_script(&steps, NONCE).replace("/var/lib/dpkg/lock-frontend", &room.path("lock"));
        let run = |script: &str| {
            let mut progress = Progress::new(NONCE);
            let events = progress.push(&feed(&shell, "", script.as_bytes()));
            (events, progress.outcomes().expect("an answer"))
        };
        assert_eq!(run(&script).1, [Outcome::Done], "{shell:?}: nobody holds it");
        let lock = |kind: i32| {
            // Zeros are the whole file.
            let whole = nix::libc::flock {
                l_type: i16::try_from(kind).expect("a small number"),
                l_whence: 0,
                l_start: 0,
                l_len: 0,
                l_pid: 0,
            };
            fcntl(&file, FcntlArg::F_SETLK(&whole)).expect("a lock");
        };
        lock(nix::libc::F_WRLCK);
        let us = format!("/lock is locked by process {} (", std::process::id());
        let (_, outcomes) = run(&script.replace("unlocked 300", "unlocked 1"));
        let (_, why) = failure(&outcomes[0]);
        assert!(why.contains(&us) && why.contains("suite") && why.contains("waited 1 s"), "{shell:?}: {why}");
        std::thread::scope(|scope| {
            let running = scope.spawn(|| run(&script));
            std::thread::sleep(Duration::from_millis(1500));
            lock(nix::libc::F_UNLCK);
            let (events, outcomes) = running.join().expect("it ends");
            assert_eq!(outcomes, [Outcome::Done], "{shell:?}");
            assert!(
                events.iter().any(|event| matches!(event, StepEvent::Waiting { why, .. } if why.contains(&us))),
                "{shell:?}: {events:?}"
            );
        });
    }
}

#[test]
fn package_lists_that_hang_are_fetched_once_more() {
    for shell in shells() {
        let room = Room::new("refresh");
        let told = room.path("told");
        // The first time it runs out of time.
        let clock = format!(
            "timeout() {{ echo \"$3 $4 $5\" >>'{told}'; set -- $(wc -l <'{told}'); [ \"$1\" -gt 1 ] || return 124; }};"
        );
        let (_, outcomes) = perform_by(&shell, &clock, &[Step::RefreshPackages]);
        assert_eq!(outcomes, [Outcome::Done], "{shell:?}");
        assert_eq!(fs::read_to_string(told).expect("it ran"), "90 apt-get update\n600 apt-get update\n", "{shell:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn f37_any_words_and_bytes_survive_a_real_shell(words in proptest::collection::vec("[^\0]{0,40}", 1..8), bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for shell in shells() {
            let line: Vec<String> = words.iter().map(|word| quote(word)).collect();
            let script = format!("{{\n{}\nprintf '\\0'; printf '%s\\0' {}\n}}\n", write_bytes(&bytes), line.join(" "));
            let mut wanted = bytes.clone();
            wanted.push(0);
            for word in &words {
                wanted.extend(word.as_bytes());
                wanted.push(0);
            }
            prop_assert_eq!(feed(&shell, "LC_ALL=C;", script.as_bytes()), wanted, "{:?}", shell);
        }
    }
}
