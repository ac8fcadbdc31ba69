//! Hostile hosts and names: directories that an attacker swaps, hosts that lie, and texts that are more than they seem.
//!
//! In: the program itself, the host program, and an sshd of this test's own. Out: how it ends and what it leaves. Never:
//! anything outside a temporary directory.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use armilla::host::wire::{Answer, Frames, frame};
use armilla::step::{
    Check, Command, CommandReading, Digest, Expect, Fetch, Gate, HttpRequest, Leftovers, Manager, Mode, Outcome,
    Ownership, PackageRemoval, Probe, Reading, Removable, Step, Trust, WebAnswer,
};
use proptest::prelude::*;

use crate::faults::Here;
use crate::host::{Room, order, perform, program, read_by};
use crate::ssh::{Server, write};

#[test]
fn f34_an_attacker_who_swaps_directories_all_the_time_gets_nothing() {
    let room = Room::new("fault-race");
    fs::create_dir_all(room.path("shared/real")).expect("a directory");
    fs::create_dir_all(room.path("victim")).expect("a directory");
    fs::write(room.path("victim/file"), "precious").expect("a file");
    fs::set_permissions(room.path("shared"), fs::Permissions::from_mode(0o1777)).expect("a mode");
    symlink(room.path("victim"), room.path("shared/link")).expect("a link");
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let (target, real, link) = (room.path("shared/target"), room.path("shared/real"), room.path("shared/link"));
    let attacker = std::thread::spawn(move || {
        let mut swaps = 0;
        while !ended.load(Ordering::Relaxed) {
            // A directory at one moment, a link into the victim's at the next.
            let _ = fs::rename(&real, &target).and_then(|()| fs::rename(&target, &real));
            let _ = fs::rename(&link, &target).and_then(|()| fs::rename(&target, &link));
            swaps += 1;
        }
        swaps
    });
    let (mut done, mut refused) = (0, 0);
    for _ in 0..60 {
        let target = room.path("shared/target");
        let steps = [write(&format!("{target}/file"), "ours".into())];
        let remove = [Step::Remove { path: format!("{target}/file"), what: Removable::File }];
        let own = Ownership { mode: Some(Mode(0o777)), ..Ownership::default() };
        let give = [Step::SetOwnership { path: format!("{target}/file"), ownership: own }];
        for steps in [&steps[..], &give, &remove] {
            match perform(steps)[..] {
                [Outcome::Failed { .. }] => refused += 1,
                _ => done += 1,
            }
        }
    }
    over.store(true, Ordering::Relaxed);
    let swaps: u64 = attacker.join().expect("the attacker ends");
    assert!(swaps > 1000 && refused > 0, "{swaps} swaps, {done} done, {refused} refused");
    assert_eq!(fs::read_to_string(room.path("victim/file")).expect("it is there"), "precious");
    assert_eq!(fs::metadata(room.path("victim/file")).expect("it").permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(room.path("victim")).expect("it").count(), 1, "nothing was put there");
}

/// What is tried where a host lies: how its answers are changed on their way, in Perl. `$_` is what arrived at once.
const LIES: &[&str] = &[
    // The truth, so that it is seen that the rest is told.
    "",
    // Steps and questions that were never given.
    r"s/Started\x00/Started\x7f/",
    r"s/index\x00/index\x7f/",
    r"s/index\x01/index\x00/",
    r"s/Reading\x92\x00/Reading\x92\x7f/",
    r"$_ .= $_ if /Started/",
    r"$_ .= $_ if /Ended/",
    // Numbers and words of another sort.
    r"s/index\x00/index\xff/",
    r"s/[0-9a-f]{64}/'..\/..\/etc\/passwd' . '0' x 48/ge",
    r"s/outcome\xa4done/outcome\xa4gone/",
    r"s/Ended/Waits/",
    r"if (/^\x01</) { for (my $i = 9; $i < length; $i += 41) { substr($_, $i, 1) ^= '!' } }",
    // Other frames than there are.
    r"s/^\x01</\x02</",
    r"s/^\x01</\x01>/",
    r"s/^\x01<..../\x01<\xff\xff\xff\xff/s",
    r"s/^\x01<..../\x01<\x00\x00\x00\x01/s",
    // No end, or an end before the beginning.
    r"s/Over/Xver/",
    r"$_ = $over if /Started\x00/",
    r"$_ = $over . $_ if /^\x01</",
];

/// A program that passes on what it reads, with a lie. It leaves a mark when it has told it.
fn liar(room: &Room, lie: &str) -> String {
    let over = frame(&Answer::Over).expect("a frame");
    let over: Vec<String> = over.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let over = over.concat();
    let (told, file) = (room.path("told"), room.path("liar"));
    let script = format!(
        "my $over = \"{over}\";\nwhile (sysread(STDIN, $_, 1 << 20)) {{\n  my $was = $_;\n  {lie};\n  \
         if ($_ ne $was) {{ open(my $told, '>', '{told}') }}\n  syswrite(STDOUT, $_);\n}}\n"
    );
    fs::write(&file, script).expect("a file");
    file
}

#[test]
#[ignore = "needs root: starts an sshd"]
fn f35_a_host_that_lies_is_believed_nothing_that_cannot_be() {
    for (number, lie) in LIES.iter().enumerate() {
        let room = Room::new(&format!("liar-{number}"));
        let server = Server::start(&format!("ForceCommand eval \"$SSH_ORIGINAL_COMMAND\" | perl {}", liar(&room, lie)));
        let role = "summary: x\nresources:\n  - file: { path: FOLDER/a, content: \"{{ facts.hostname }}\" }\n  - command: { run: [sh, -c, 'touch FOLDER/b'], creates: FOLDER/b }\n  - file: { path: FOLDER/c, content: c }\n";
        let here = Here::new(&format!("lie-{number}"), role);
        let port = server.port;
        here.file("inventories/here/hosts.yml", &format!("hosts:\n  h1: {{ address: 127.0.0.1, port: {port} }}\n"));
        let (config, key) = (server.path("config"), server.path("user"));
        let hosts = ["--ssh-config", &config, "--private-key", &key, "-u", "root"];
        let before = listing(&here.0.0);
        let (code, said) = here.armilla(&[&["plan", "here", "-D"], &hosts[..]].concat());
        assert!(matches!(code, Some(0 | 1 | 4)) && !said.contains("panicked"), "{lie}: {code:?} {said}");
        assert_eq!(listing(&here.0.0), before, "{lie}: a plan wrote something");
        let (code, said) = here.armilla(&[&["apply", "here", "-y"], &hosts[..]].concat());
        assert!(matches!(code, Some(0 | 1 | 3 | 4)) && !said.contains("panicked"), "{lie}: {code:?} {said}");
        assert!(said.len() < 20_000, "{lie}: {} bytes", said.len());
        assert!(number > 0 || code == Some(0), "the truth is believed: {said}");
        assert_eq!(room.0.join("told").exists(), number > 0, "{lie}: it was not told");
        // It may say that all was done only where it was.
        let done = ["a", "b", "c"].iter().all(|name| here.0.0.join(name).exists());
        assert!(code != Some(0) || done, "{lie}: {said}");
    }
}

fn listing(folder: &Path) -> BTreeSet<PathBuf> {
    let (mut found, mut open) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                open.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

/// Answers as they travel, whole, damaged, cut off, and beside them anything else.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let command = (any::<i32>(), prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(exit, stdout)| Reading::Command(CommandReading { exit, stdout, ..CommandReading::default() }));
    let answer = prop_oneof![
        any::<u32>().prop_map(Answer::Started),
        (any::<u32>(), "[ -~]{0,12}").prop_map(|(index, why)| Answer::Waiting(index, why)),
        (any::<u32>(), command).prop_map(|(number, reading)| Answer::Reading(number, reading)),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(Answer::Out),
        any::<()>().prop_map(|()| Answer::Over),
    ];
    let whole = answer.prop_map(|answer| frame(&answer).expect("a frame"));
    let damaged = (whole.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, to)| {
        let at = at.index(bytes.len());
        bytes[at] = to;
        bytes
    });
    let cut = (whole.clone(), any::<prop::sample::Index>()).prop_map(|(mut bytes, at)| {
        bytes.truncate(at.index(bytes.len()));
        bytes
    });
    let announced = any::<u32>().prop_map(|length| [b"\x01<".as_slice(), &length.to_be_bytes()].concat());
    let other = prop::collection::vec(any::<u8>(), 0..60);
    let piece = prop_oneof![6 => whole, 2 => damaged, 1 => cut, 1 => announced, 1 => other];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn f35_any_answer_is_read_without_harm(bytes in answers(), size in 1..64_usize) {
        // In pieces of any size the same is read as in one, up to the first that is no answer.
        let heard = |size: usize| {
            let (mut frames, mut heard) = (Frames::default(), Vec::new());
            for piece in bytes.chunks(size) {
                frames.push(piece);
                loop {
                    match frames.take::<Answer>() {
                        Ok(Some(answer)) => heard.push(answer),
                        Ok(None) => break,
                        Err(_) => return (heard, true),
                    }
                }
            }
            (heard, false)
        };
        let (all, strange) = heard(bytes.len().max(1));
        prop_assert_eq!(heard(size), (all, strange));
    }
}

/// Texts that would make the file PWN wherever a shell takes them for more than a text.
const EVIL: &[&str] = &[
    "$(:>PWN)",
    "`:>PWN`",
    "';:>PWN;'",
    "\";:>PWN;\"",
    "\n:>PWN\n",
    ";:>PWN",
    "|:>PWN",
    "&:>PWN",
    ">PWN",
    "x\0y",
    "-x",
    "--",
    "a b",
    "\\",
    "'",
    "\"",
    "*",
    "~",
    "../x",
    "$IFS",
    "\u{1b}[2J",
];

fn every_step(room: &Room, evil: &str) -> Vec<Step> {
    let own = Ownership { mode: None, owner: Some(evil.to_owned()), group: Some(evil.to_owned()) };
    let path = |text: &str| room.path(&format!("none/{text}"));
    let mut command = Command::new([evil, evil]).with("NAME", evil).with(evil, "value");
    command.user = Some(evil.to_owned());
    command.directory = Some(evil.to_owned());
    let program = Command::new(["true", evil]).with("NAME", evil);
    let check = |probe: Probe| Check {
        probe,
        expect: Expect::Output(Some(evil.to_owned())),
        stable_for: Duration::ZERO,
        within: Duration::ZERO,
        at_most: Duration::ZERO,
        units: vec![evil.to_owned()],
    };
    let mut steps = vec![
        Step::Unchanged { path: path(evil), digest: Some(Digest(evil.to_owned())) },
        Step::MakeLink { path: path("x"), target: evil.to_owned() },
        Step::Remove { path: path(evil), what: Removable::File },
        Step::Remove { path: evil.to_owned(), what: Removable::EmptyDirectory },
        Step::RemoveUnpacked { path: path(evil) },
        Step::RemovePackages(PackageRemoval {
            // Not that of this machine, so that nothing is removed from it.
            manager: Manager::Apk,
            names: vec![evil.to_owned()],
            leftovers: Leftovers::Kept,
            unless_needed_by: Vec::new(),
        }),
        Step::Run(command.clone()),
        Step::Run(program.clone()),
        Step::RunUnless(program.clone(), Box::new(command)),
        Step::Await(Gate { of: evil.to_owned(), checks: vec![check(Probe::Command(program))] }),
        Step::Await(Gate { of: evil.to_owned(), checks: vec![check(Probe::Unit(evil.to_owned()))] }),
        Step::Await(Gate { of: evil.to_owned(), checks: vec![evil_answer(room, evil)] }),
    ];
    for path in [path(evil), evil.to_owned(), format!("~{evil}/x")] {
        steps.push(Step::WriteFile { path: path.clone(), content: evil.into(), ownership: own.clone() });
        steps.push(Step::MakeDirectory { path: path.clone(), ownership: own.clone() });
        steps.push(Step::SetOwnership { path, ownership: own.clone() });
    }
    steps
}

fn evil_request(room: &Room, evil: &str) -> Probe {
    let trust = Trust::Authority(room.path(&format!("none/{evil}")));
    Probe::Http(HttpRequest { trust, ..HttpRequest::get(format!("http://127.0.0.1:1/{evil}")) })
}

/// A check of a web server that gives up at once.
fn evil_answer(room: &Room, evil: &str) -> Check {
    let text = || Some(evil.to_owned());
    let headers = [("Server".to_owned(), evil.to_owned()), (evil.to_owned(), String::new())].into();
    let answer = WebAnswer { contains: text(), matches: text(), headers, ..WebAnswer::status(200) };
    let check = Check::new(evil_request(room, evil), Expect::Answer(Box::new(answer)));
    Check { within: Duration::ZERO, at_most: Duration::ZERO, ..check }
}

fn every_probe(room: &Room, evil: &str) -> Vec<Probe> {
    vec![
        Probe::Path { path: room.path(&format!("none/{evil}")), content: Fetch::Unless(Digest(evil.to_owned())) },
        Probe::Path { path: evil.to_owned(), content: Fetch::Digest },
        Probe::Path { path: format!("~{evil}/x"), content: Fetch::Digest },
        Probe::Package(evil.to_owned()),
        Probe::Unit(evil.to_owned()),
        Probe::Unit(format!("{evil}.service")),
        Probe::User(evil.to_owned()),
        Probe::Group(evil.to_owned()),
        Probe::port(evil, 1),
        evil_request(room, evil),
        Probe::Command(Command::new(["true", evil]).with("NAME", evil)),
    ]
}

#[test]
fn f37_no_field_of_a_step_or_a_question_is_more_than_data() {
    let room = Room::new("fault-injection");
    let mut tried = 0;
    for evil in EVIL.iter().map(|evil| evil.replace("PWN", &room.path("pwned"))) {
        let harmless = |what: &str| {
            let names = room.names();
            assert!(names.iter().all(|name| name == "none"), "{evil:?} {what}: {names:?}");
        };
        for step in every_step(&room, &evil) {
            let answers = order(in_room(&room), std::slice::from_ref(&step));
            assert!(answers.iter().any(|answer| matches!(answer, Answer::Ended { index: 0, .. })), "{step:?}");
            tried += 1;
            harmless(&format!("{step:?}"));
        }
        let probes = every_probe(&room, &evil);
        let readings = read_by(in_room(&room), &probes);
        assert!(probes.iter().all(|probe| readings.get(probe).is_some()), "{evil:?}: {readings:?}");
        harmless("read");
    }
    assert!(tried > 400, "{tried}");
}

/// The host program, where a relative name would be one in the room.
fn in_room(room: &Room) -> std::process::Command {
    let mut program = program();
    program.current_dir(&room.0).env("ARMILLA_HOST_DIR", room.path("none/kept"));
    program
}
