//! Files as the host program writes and reads them.
//!
//! In: steps and probes. Out: what is on the disk afterwards, and what is read of it. Never: anything outside a temporary
//! directory.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command as Process;

use armilla::host::wire::{Answer, Request, frame};
use armilla::step::{Digest, Fetch, Mode, Outcome, Ownership, PathReading, Probe, Step};

use crate::host::{
    HOSTILE, Room, call, failure, order, outcomes, path, perform, perform_by, program, program_after, read, sh, write,
};

/// Contents that have broken transports before, and what the program itself says and hears.
fn contents() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = HOSTILE.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.extend([b"".to_vec(), b"no newline".to_vec(), b"\n\n\n".to_vec(), b"nul \0 nul\0".to_vec()]);
    let forged =
        [Answer::Ended { index: 0, outcome: Outcome::NotNeeded, took: std::time::Duration::ZERO }, Answer::Over];
    all.extend(forged.iter().map(|answer| frame(answer).expect("a frame")));
    all.extend([
        (0..=255).collect(),
        b"-n 100% %s \\n \\0 \\c".to_vec(),
        call(Request::Perform { steps: Vec::new(), ticket: None, crash_at: None }),
        b"\xff\xfe\x80\x81\x88".to_vec(),
    ]);
    all
}

fn mode(path: &str) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

#[test]
fn files_of_any_name_and_content_are_written_and_read_back() {
    let room = Room::new("roundtrip");
    let contents = contents();
    let files: Vec<(String, &Vec<u8>)> = contents
        .iter()
        .enumerate()
        .map(|(at, content)| (room.path(&format!("{at}{}", HOSTILE[at % HOSTILE.len()])), content))
        .chain(HOSTILE.iter().map(|name| room.path(name)).zip(contents.iter().rev()))
        .collect();
    let steps: Vec<Step> = files.iter().map(|(name, content)| write(name, content)).collect();
    assert_eq!(perform(&steps), vec![Outcome::Done; steps.len()]);
    assert_eq!(room.names().len(), files.len(), "{:?}", room.names());
    let probes: Vec<Probe> = files.iter().map(|(name, _)| path(name, Fetch::Always)).collect();
    let readings = read(&probes);
    for ((name, content), probe) in files.iter().zip(&probes) {
        assert_eq!(&fs::read(name).expect("it is there"), *content, "{name:?}");
        assert_eq!(mode(name), 0o640);
        let Ok(PathReading::File { size, digest, content: Some(found), attributes, .. }) = readings.path(probe) else {
            panic!("{name:?}: {:?}", readings.get(probe));
        };
        assert_eq!((found, *size, digest), (*content, content.len() as u64, &Digest::of(content)), "{name:?}");
        assert_eq!(attributes.mode, Mode(0o640));
    }
}

#[test]
fn a_content_of_megabytes_travels_whole() {
    let mut content = Vec::with_capacity(20 << 20);
    let mut state = 1_u32;
    while content.len() < 20 << 20 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        content.extend_from_slice(&state.to_be_bytes()[..3]);
    }
    let room = Room::new("large");
    let file = room.path("large");
    assert_eq!(perform(&[write(&file, &content)]), [Outcome::Done]);
    assert!(fs::read(&file).expect("it is there") == content);
    let probe = path(&file, Fetch::Always);
    match read(std::slice::from_ref(&probe)).path(&probe) {
        Ok(PathReading::File { content: None, digest, .. }) => assert_eq!(*digest, Digest::of(&content)),
        other => panic!("too large to bring along, but {other:?}"),
    }
}

#[test]
fn what_changed_since_the_plan_is_not_written_over() {
    let room = Room::new("unchanged");
    let (file, link, none) = (room.path("file"), room.path("link"), room.path("none"));
    fs::write(&file, "as it was").expect("a file");
    symlink(&file, &link).expect("a link");
    let unchanged = |path: &str, digest| Step::Unchanged { path: path.to_owned(), digest };
    let was = |text: &str| Some(Digest::of(text.as_bytes()));
    let well = [unchanged(&file, was("as it was")), unchanged(&none, None), unchanged(&room.path("no/dir/x"), None)];
    assert_eq!(perform(&well), [Outcome::Done, Outcome::Done, Outcome::Done]);
    let changed = [
        unchanged(&file, was("as it is")),
        unchanged(&file, None),
        unchanged(&link, was("as it was")),
        unchanged(&link, None),
        unchanged(&none, was("as it was")),
    ];
    for step in changed {
        let outcomes = perform(&[step, write(&file, b"ours")]);
        assert_eq!(outcomes.len(), 1, "nothing is written");
        assert!(failure(&outcomes[0]).1.contains("was changed since the plan was made: plan again"));
    }
    assert_eq!(fs::read(&file).expect("a file"), b"as it was");
    assert_eq!(room.names(), ["file", "link"]);
}

#[test]
fn a_path_in_a_home_is_where_the_hosts_accounts_say() {
    let probes =
        ["~root/.profile", "/root/.profile", "~nobody/x", "~no-such-user/x"].map(|name| path(name, Fetch::Digest));
    let readings = read(&probes);
    let found = probes.clone().map(|probe| readings.path(&probe).cloned());
    assert_eq!(found[0], found[1]);
    assert_eq!([&found[2], &found[3]], [&Ok(PathReading::Absent), &Ok(PathReading::Absent)]);
    let outcomes = perform(&[write("~no-such-user/x", b"x")]);
    assert!(failure(&outcomes[0]).1.contains("there is no user no-such-user with a home directory"), "{outcomes:?}");
}

#[test]
fn a_mode_is_given_or_kept_whatever_the_umask_of_the_connection_is() {
    for umask in ["umask 000", "umask 077"] {
        let room = Room::new("owner");
        let (file, fresh, directory) = (room.path("file"), room.path("fresh"), room.path("a/b/c"));
        fs::write(&file, "old").expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o4711)).expect("a mode");
        let new = |path: &str| Step::WriteFile {
            path: path.to_owned(),
            content: "new".into(),
            ownership: Ownership::default(),
        };
        let ownership = Ownership { mode: Some(Mode(0o2750)), ..Ownership::default() };
        let make = Step::MakeDirectory { path: directory.clone(), ownership };
        assert_eq!(perform_by(program_after(umask), &[new(&file), new(&fresh), make]), vec![Outcome::Done; 3]);
        assert_eq!((mode(&file), mode(&fresh)), (0o4711, 0o644), "{umask}");
        assert_eq!((mode(&directory), mode(&room.path("a"))), (0o2750, 0o755), "{umask}");
    }
}

#[test]
#[ignore = "needs root: gives files to other users"]
fn files_are_given_to_users_and_groups_of_this_machine() {
    let room = Room::new("given");
    let (file, fresh) = (room.path("file"), room.path("fresh"));
    fs::write(&file, "old").expect("a file");
    let ownership =
        || Ownership { owner: Some("daemon".to_owned()), group: Some("bin".to_owned()), mode: Some(Mode(0o600)) };
    let given = [
        Step::SetOwnership { path: file.clone(), ownership: ownership() },
        Step::WriteFile { path: fresh.clone(), content: "new".into(), ownership: ownership() },
    ];
    assert_eq!(perform(&given), [Outcome::Done, Outcome::Done]);
    let owner = |path: &str| fs::metadata(path).map(|data| (data.uid(), data.gid())).expect("it is there");
    assert_eq!((owner(&file), owner(&fresh)), ((1, 2), (1, 2)));
    let nobody = Ownership { owner: Some("no-such-user".to_owned()), ..Ownership::default() };
    let outcomes = perform(&[Step::SetOwnership { path: file, ownership: nobody }]);
    assert!(failure(&outcomes[0]).1.contains("no-such-user"), "{outcomes:?}");
}

/// What reaches the disk, and which names are given, in that order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Done {
    Content,
    Directory,
    Name(String),
}

/// Carries out steps under the eyes of `strace`.
fn watched(room: &Room, steps: &[Step]) -> (Vec<Outcome>, Vec<Done>) {
    let log = room.path("log");
    let mut traced = Process::new("strace");
    traced.args(["-f", "-qq", "-y", "-e", "trace=fsync,linkat,renameat,renameat2", "-o", &log]);
    traced.arg(program().get_program()).args(program().get_args());
    let answers = order(traced, steps);
    let text = fs::read_to_string(&log).expect("strace is missing: tests/prepare installs it");
    let done = |line: &str| {
        let is_directory = || ["/a>", "/it's b>", "/it\\'s b>"].iter().any(|end| line.contains(end));
        if line.contains("resumed>") {
            None
        } else if line.contains("fsync(") {
            Some(if is_directory() { Done::Directory } else { Done::Content })
        } else {
            let name = line.rsplit('"').nth(1).expect("a name");
            (!name.starts_with(".armilla-")).then(|| Done::Name(name.to_owned()))
        }
    };
    (outcomes(&answers).expect("it is carried out"), text.lines().filter_map(done).collect())
}

#[test]
#[ignore = "needs strace"]
fn contents_reach_the_disk_before_their_names_and_names_once_at_the_end() {
    let room = Room::new("flush");
    for folder in ["a", "it's b"] {
        fs::create_dir(room.path(folder)).expect("a directory");
    }
    let [one, two, three] = ["a/one", "it's b/two", "a/three"].map(|name| room.path(name));
    let name = |name: &str| Done::Name(name.to_owned());
    let expected = [
        Done::Content,
        Done::Content,
        Done::Content,
        name("one"),
        name("two"),
        name("three"),
        Done::Directory,
        Done::Directory,
    ];
    // New ones, and then others in their places.
    for text in [b"1", b"2"] {
        let (outcomes, done) = watched(&room, &[write(&one, text), write(&two, text), write(&three, text)]);
        assert_eq!(outcomes, vec![Outcome::Done; 3]);
        assert_eq!(done, expected);
    }
    // Also what was done before a step that fails.
    let (outcomes, done) = watched(&room, &[write(&one, b"4"), write(&room.path("away/x"), b"5"), write(&two, b"6")]);
    assert_eq!(outcomes.len(), 2);
    assert_eq!(done[done.len() - 2..], [name("one"), Done::Directory], "{done:?}");
    assert_eq!(done.iter().position(|done| *done == name("one")), Some(2), "{done:?}");
}

#[test]
fn a_step_that_fails_leaves_nothing_of_the_files_after_it() {
    let room = Room::new("half");
    let [one, away, two] = ["one", "away/x", "two"].map(|name| room.path(name));
    fs::write(&two, "old").expect("a file");
    let outcomes = perform(&[write(&one, b"new"), write(&away, b"new"), write(&two, b"new")]);
    assert_eq!((outcomes.len(), &outcomes[0]), (2, &Outcome::Done));
    assert!(failure(&outcomes[1]).1.contains("there is no directory"), "{outcomes:?}");
    assert_eq!((fs::read(&one).expect("a file"), fs::read(&two).expect("a file")), (b"new".to_vec(), b"old".to_vec()));
    assert_eq!(room.names(), ["one", "two"]);
}

#[test]
fn f34_a_link_in_a_directory_of_others_is_not_followed() {
    let room = Room::new("planted");
    fs::create_dir_all(room.path("shared/real")).expect("a directory");
    fs::create_dir_all(room.path("private/real")).expect("a directory");
    fs::set_permissions(room.path("shared"), fs::Permissions::from_mode(0o1777)).expect("a mode");
    for parent in ["shared", "private"] {
        symlink("real", room.path(&format!("{parent}/inside"))).expect("a link");
        symlink(room.path("private"), room.path(&format!("{parent}/link"))).expect("a link");
    }
    assert_eq!(perform(&[write(&room.path("private/link/file"), b"x")]), [Outcome::Done]);
    let outcomes = perform(&[write(&room.path("shared/link/other"), b"x")]);
    assert!(failure(&outcomes[0]).1.contains("planted"), "{outcomes:?}");
    assert!(!Path::new(&room.path("private/other")).exists());
    let probe = path(&room.path("shared/link/file"), Fetch::Always);
    let why = read(std::slice::from_ref(&probe)).path(&probe).expect_err("it is not read either").to_string();
    assert!(why.contains("planted"), "{why}");
}

#[test]
fn f16_a_full_disk_leaves_the_old_file_and_no_other() {
    let room = Room::new("full");
    let file = room.path("file");
    fs::write(&file, "old").expect("a file");
    let limited = || program_after("ulimit -f 8");
    let outcomes = perform_by(limited(), &[write(&file, &vec![b'x'; 100_000])]);
    assert!(failure(&outcomes[0]).1.contains("of 100000 bytes could be written"), "{outcomes:?}");
    assert_eq!(fs::read_to_string(&file).expect("a file"), "old");
    assert_eq!(room.names(), ["file"]);
    // A program that is started ends by the signal for it, as it would anywhere.
    let outcomes = perform_by(limited(), &[Step::Run(sh("head -c 100000 /dev/zero >\"$FILE\"").with("FILE", &file))]);
    assert_eq!(failure(&outcomes[0]).0, 153, "128 + SIGXFSZ: {outcomes:?}");
}
