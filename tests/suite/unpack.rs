//! Archives and downloads, by the generated scripts and the shells and tools of this machine.
//!
//! In: archives made byte by byte, as a hostile hand would. Out: what is on the disk afterwards. Never: anything outside
//! a temporary directory.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use armilla::secret::{Content, Secret};
use armilla::step::{Digest, MARKER, Occupied, Outcome, Ownership, Packed, Remote, Step, UnpackLimits, Unpacking};

use crate::script::{Room, perform, perform_by, shells};

// -- archives ---------------------------------------------------------------------------------------------------------

/// One entry of a tar archive: its kind (`0` file, `5` directory, `2` link, `1` hard link, `3` device, `6` pipe).
pub(crate) struct Entry<'a> {
    kind: u8,
    name: &'a str,
    target: &'a str,
    content: &'a [u8],
    mode: u32,
}

pub(crate) fn file<'a>(name: &'a str, content: &'a str) -> Entry<'a> {
    Entry { kind: b'0', name, target: "", content: content.as_bytes(), mode: 0o644 }
}

fn link<'a>(kind: u8, name: &'a str, target: &'a str) -> Entry<'a> {
    Entry { kind, name, target, content: b"", mode: 0o777 }
}

fn directory(name: &str) -> Entry<'_> {
    Entry { kind: b'5', name, target: "", content: b"", mode: 0o755 }
}

/// The format is that of POSIX.1-1988 (`ustar`), as `tar(5)` describes it.
pub(crate) fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in entries {
        all.extend(header(entry, entry.content.len() as u64));
        all.extend(entry.content);
        all.resize(all.len().next_multiple_of(512), 0);
    }
    all.resize(all.len() + 1024, 0);
    all
}

fn header(entry: &Entry<'_>, size: u64) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, entry.name.as_bytes());
    put(100, format!("{:07o}", entry.mode).as_bytes());
    put(108, b"0001750\0");
    put(116, b"0001750\0");
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"14000000000\0");
    put(148, b"        ");
    put(156, &[entry.kind]);
    put(157, entry.target.as_bytes());
    put(257, b"ustar\x0000");
    put(329, b"0000001\0");
    put(337, b"0000003\0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// Stored, not packed: the format is that of PKWARE's APPNOTE, 4.3. `attributes` is a Unix mode, or none.
fn zip(entries: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let (mut all, mut directory) = (Vec::new(), Vec::new());
    for (name, content, mode) in entries {
        let place = u32::try_from(all.len()).expect("a small archive");
        let (name, size) = (name.as_bytes(), u32::try_from(content.len()).expect("a small file"));
        let mut common = vec![0; 4];
        common.extend([0, 0, 0x21, 0x54]);
        common.extend(crc32(content).to_le_bytes());
        common.extend([size.to_le_bytes(), size.to_le_bytes()].concat());
        common.extend(u16::try_from(name.len()).expect("a short name").to_le_bytes());
        common.extend([0, 0]);
        all.extend([b"PK\x03\x04\x14\x00".as_slice(), &common, name, content].concat());
        directory.extend([b"PK\x01\x02\x14\x03\x14\x00".as_slice(), &common, &[0; 6]].concat());
        directory.extend([(mode << 16).to_le_bytes(), place.to_le_bytes()].concat());
        directory.extend(name);
    }
    let count = u16::try_from(entries.len()).expect("few entries").to_le_bytes();
    let (start, size) = (all.len(), directory.len());
    all.extend(directory);
    all.extend([b"PK\x05\x06\0\0\0\0".as_slice(), &count, &count].concat());
    all.extend([size, start].map(|number| u32::try_from(number).expect("a small archive").to_le_bytes()).concat());
    all.extend([0, 0]);
    all
}

fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc)))
}

fn packed(program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut child = Process::new(program)
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|why| panic!("{program}: {why}"));
    let (mut input, bytes) = (child.stdin.take().expect("its input"), bytes.to_vec());
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it reads").expect("all of it");
    output.stdout
}

// -- steps ------------------------------------------------------------------------------------------------------------

const MARK: &str = "armilla archive 1\n";

pub(crate) fn me() -> (String, String) {
    let name = |option: &str| {
        let output = Process::new("id").arg(option).output().expect("id runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    (name("-un"), name("-gn"))
}

fn unpacking(room: &Room, content: Vec<u8>) -> Unpacking {
    let (owner, group) = me();
    Unpacking {
        path: room.path("tree"),
        source: Packed::Content(Content::Plain(content)),
        strip: 0,
        owner,
        group,
        limits: UnpackLimits { bytes: 1 << 20, entries: 100, ratio: 100 },
        occupied: Occupied::Refuse,
        marker: MARK.to_owned(),
    }
}

fn unpack(shell: &[&str], unpacking: Unpacking) -> Result<(), String> {
    ended(&perform(shell, &[Step::Unpack(Box::new(unpacking))])[0])
}

fn ended(outcome: &Outcome) -> Result<(), String> {
    match outcome {
        Outcome::Done => Ok(()),
        Outcome::Failed { stderr, .. } => Err(stderr.clone()),
        Outcome::NotNeeded => Err("not needed".to_owned()),
    }
}

/// Everything below a directory, sorted: `name=content`, `name/`, `name->target`.
fn tree(room: &Room, name: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut open = vec![(room.0.join(name), String::new())];
    while let Some((folder, prefix)) = open.pop() {
        for entry in fs::read_dir(folder).expect("a directory") {
            let entry = entry.expect("an entry");
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let sort = entry.file_type().expect("its sort");
            if sort.is_dir() {
                all.push(format!("{name}/"));
                open.push((entry.path(), format!("{name}/")));
            } else if sort.is_symlink() {
                all.push(format!("{name}->{}", fs::read_link(entry.path()).expect("its target").display()));
            } else {
                all.push(format!("{name}={}", fs::read_to_string(entry.path()).expect("its content")));
            }
        }
    }
    all.sort();
    all
}

fn spark() -> Vec<u8> {
    tar(&[
        directory("./spark-3.5.1/"),
        file("spark-3.5.1/RELEASE", "3.5.1"),
        directory("spark-3.5.1/bin"),
        Entry { mode: 0o6755, ..file("spark-3.5.1/bin/run it \u{fc}", "#!") },
        Entry { mode: 0o400, ..file("spark-3.5.1/bin/private", "x") },
        link(b'2', "spark-3.5.1/bin/release", "../RELEASE"),
        link(b'1', "spark-3.5.1/again", "spark-3.5.1/RELEASE"),
        link(b'2', "spark-3.5.1/dangling", "bin/not-yet/there"),
    ])
}

const SPARK: [&str; 8] = [
    ".armilla-archive=armilla archive 1\n",
    "RELEASE=3.5.1",
    "again=3.5.1",
    "bin/",
    "bin/private=x",
    "bin/release->../RELEASE",
    "bin/run it \u{fc}=#!",
    "dangling->bin/not-yet/there",
];

// -- tests ------------------------------------------------------------------------------------------------------------

#[test]
fn every_packing_of_a_tar_becomes_the_same_tree() {
    for shell in shells() {
        for program in ["cat", "gzip", "xz", "zstd", "bzip2"] {
            let room = Room::new("packings");
            let bytes = if program == "cat" { spark() } else { packed(program, &spark()) };
            unpack(&shell, Unpacking { strip: 1, ..unpacking(&room, bytes) })
                .unwrap_or_else(|why| panic!("{program}: {why}"));
            assert_eq!(tree(&room, "tree"), SPARK, "{shell:?} {program}");
            assert_eq!(room.names(), ["tree"], "nothing else stays");
            let mode = |name: &str| fs::metadata(room.path(name)).expect("it is there").permissions().mode() & 0o7777;
            assert_eq!(mode("tree"), 0o755);
            assert_eq!(mode("tree/bin/run it \u{fc}"), 0o755, "no set-user-ID bit comes from an archive");
            assert_eq!(mode("tree/bin/private"), 0o600, "the owner can always write");
            assert_eq!(mode(&format!("tree/{MARKER}")), 0o644);
            let inode = |name: &str| fs::metadata(room.path(name)).expect("it is there").ino();
            assert_eq!(inode("tree/again"), inode("tree/RELEASE"), "a hard link stays one");
        }
    }
}

#[test]
fn a_zip_becomes_a_tree() {
    let bytes = zip(&[
        ("app/", b"", 0o40_755),
        ("app/bin/run", b"#!", 0o100_755),
        ("app/lib/a b.jar", b"jar", 0o100_644),
        ("app/NOTICE", b"text", 0),
    ]);
    for shell in shells() {
        let room = Room::new("zip");
        unpack(&shell, Unpacking { strip: 1, ..unpacking(&room, bytes.clone()) }).expect("it is unpacked");
        let wanted =
            [".armilla-archive=armilla archive 1\n", "NOTICE=text", "bin/", "bin/run=#!", "lib/", "lib/a b.jar=jar"];
        assert_eq!(tree(&room, "tree"), wanted, "{shell:?}");
        let mode = fs::metadata(room.path("tree/bin/run")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "a program stays one");
    }
}

/// What it is, its bytes, and a part of why it is refused.
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let pair = |first: Entry<'_>, second: Entry<'_>| tar(&[first, second]);
    let many: Vec<String> = (0..101).map(|number| format!("f{number}")).collect();
    let many: Vec<Entry<'_>> = many.iter().map(|name| file(name, "")).collect();
    let large = [header(&file("large", ""), (1 << 20) + 1).to_vec(), vec![0; (1 << 20) + 2048]].concat();
    let arrow = "x -> y";
    vec![
        ("a way up", tar(&[file("a/../../evil", "")]), "leads out of it"),
        ("a way up at the end", tar(&[directory("a/..")]), "leads out of it"),
        ("an absolute name", tar(&[file("/tmp/armilla-evil", "")]), "is absolute"),
        ("a link out", tar(&[link(b'2', "l", "../evil")]), "leads out of it"),
        ("an absolute link", tar(&[link(b'2', "l", "/etc")]), "leads out of it"),
        ("a link down and up", tar(&[directory("d"), link(b'2', "l", "d/../../evil")]), "goes up after it went down"),
        ("a deep link out", tar(&[link(b'2', "a/b/l", "../../../evil")]), "leads out of it"),
        ("a file through a link", pair(link(b'2', "d", "."), file("d/x", "")), "is below d, which is no directory"),
        ("a file below a file", pair(file("d", ""), file("d/x", "")), "no directory"),
        ("a hard link out", tar(&[link(b'1', "h", "/etc/passwd")]), "the hard link h leads out"),
        ("a hard link up", tar(&[link(b'1', "h", "../../etc/passwd")]), "the hard link h leads out"),
        ("a hard link to a link", pair(link(b'2', "l", "x"), link(b'1', "h", "l")), "the hard link h leads out"),
        ("a hard link to what comes later", pair(link(b'1', "h", "x"), file("x", "")), "the hard link h leads out"),
        ("a name twice", pair(file("x", "1"), file("./x", "2")), "is in it twice"),
        ("a link in the place of a file", pair(file("x", "1"), link(b'2', "x", "y")), "is in it twice"),
        ("a character device", tar(&[link(b'3', "d", "")]), "a device, pipe"),
        ("a block device", tar(&[link(b'4', "d", "")]), "a device, pipe"),
        ("a pipe", tar(&[link(b'6', "p", "")]), "a device, pipe"),
        ("a line break", tar(&[file("a\nb", "")]), "control characters"),
        ("a terminal escape", tar(&[file("a\u{1b}[2Jb", "")]), "control characters"),
        ("a terminal escape in a link", tar(&[link(b'2', "l", "a\u{1b}[2Jb")]), "control characters"),
        ("a backslash", tar(&[file("a\\b", "")]), "a backslash"),
        ("an arrow in a link", tar(&[link(b'2', arrow, "z")]), "an arrow in its name"),
        ("a marker of its own", tar(&[file(".armilla-archive", "armilla archive 1\n")]), "a file .armilla-archive"),
        ("too many entries", tar(&many), "more than 100 entries"),
        ("too large", large, "more than 1048576 bytes"),
        ("nothing", tar(&[]), "nothing in it"),
        ("no archive", b"just a text".to_vec(), "cannot be read"),
        ("a torn one", packed("gzip", &spark())[..60].to_vec(), "cannot be read"),
        ("a way up in a zip", zip(&[("../evil", b"", 0o100_644)]), "leads out of it"),
        ("an absolute name in a zip", zip(&[("/tmp/armilla-evil", b"", 0o100_644)]), "is absolute"),
        ("a link in a zip", zip(&[("l", b"/etc", 0o120_777)]), "links in a zip"),
        ("a name twice in a zip", zip(&[("x", b"1", 0o100_644), ("x", b"2", 0o100_644)]), "is in it twice"),
        ("a line break in a zip", zip(&[("a\nb", b"", 0o100_644)]), "control characters"),
        ("a torn zip", zip(&[("x", b"1", 0o100_644)])[..40].to_vec(), "cannot be read"),
    ]
}

#[test]
fn f33_a_hostile_archive_is_refused_and_leaves_nothing() {
    for shell in shells() {
        for (what, bytes, why) in hostile() {
            let room = Room::new("hostile");
            fs::create_dir(room.path("deep")).expect("a directory");
            let one = Unpacking { path: room.path("deep/tree"), ..unpacking(&room, bytes) };
            let said = unpack(&shell, one).expect_err(what);
            assert!(said.contains(why), "{shell:?} {what}: {said}");
            assert!(!said.contains('\u{1b}'), "{what}: an escape is passed on");
            assert_eq!((room.names(), tree(&room, "deep")), (vec!["deep".to_owned()], Vec::new()), "{shell:?} {what}");
        }
    }
    assert!(!std::path::Path::new("/tmp/armilla-evil").exists());
}

#[test]
fn f33_a_bomb_is_refused_before_it_goes_off() {
    let zeros = "\0".repeat(40 << 20);
    let bomb = packed("gzip", &tar(&[file("zeros", &zeros)]));
    for shell in shells() {
        let room = Room::new("bomb");
        let mut one = unpacking(&room, bomb.clone());
        let small = unpack(&shell, one.clone()).expect_err("more than may be");
        assert!(small.contains("more than 1048576 bytes"), "{shell:?}: {small}");
        one.limits.bytes = 1 << 30;
        let dense = unpack(&shell, one.clone()).expect_err("too dense");
        assert!(dense.contains("more than 100 times its size"), "{shell:?}: {dense}");
        assert!(room.names().is_empty());
        one.limits.ratio = 2000;
        assert_eq!(unpack(&shell, one), Ok(()), "{shell:?}");
    }
}

#[test]
fn f33_stripping_makes_no_two_names_one() {
    let twice = tar(&[file("a/x", "1"), file("b/x", "2")]);
    let merged = tar(&[file("a/d/x", "1"), file("b/d/y", "2")]);
    let flat = tar(&[file("x", "1")]);
    for shell in shells() {
        let room = Room::new("strip");
        let said = |bytes: &[u8], strip| {
            unpack(&shell, Unpacking { strip, ..unpacking(&room, bytes.to_vec()) }).expect_err("refused")
        };
        assert!(said(&twice, 1).contains("two names in it become x"), "{shell:?}");
        assert!(said(&merged, 1).contains("two directories in it become one"), "{shell:?}");
        assert!(said(&flat, 1).contains("nothing in it below 1 directories"), "{shell:?}");
        assert!(room.names().is_empty());
    }
}

#[test]
fn f33_only_what_was_unpacked_is_replaced_or_removed() {
    for shell in shells() {
        let room = Room::new("replace");
        fs::create_dir(room.path("tree")).expect("a directory of somebody else");
        fs::write(room.path("tree/precious"), "x").expect("a file in it");
        let one = |content: &str, occupied| Unpacking { occupied, ..unpacking(&room, tar(&[file("x", content)])) };
        let remove = |name: &str| ended(&perform(&shell, &[Step::RemoveUnpacked { path: room.path(name) }])[0]);
        let said = unpack(&shell, one("1", Occupied::Replace)).expect_err("it is somebody else's");
        assert!(said.contains("armilla did not unpack it"), "{shell:?}: {said}");
        assert!(remove("tree").expect_err("it is somebody else's").contains("was not unpacked by armilla"));
        assert_eq!(tree(&room, "tree"), ["precious=x"]);

        fs::remove_dir_all(room.path("tree")).expect("it goes");
        fs::create_dir_all(room.path(".armilla-new-tree/tree")).expect("what a crash left");
        assert_eq!(unpack(&shell, one("1", Occupied::Refuse)), Ok(()));
        assert!(unpack(&shell, one("2", Occupied::Refuse)).expect_err("it is there").contains("already exists"));
        assert_eq!(unpack(&shell, one("2", Occupied::Replace)), Ok(()));
        assert_eq!(tree(&room, "tree"), [".armilla-archive=armilla archive 1\n", "x=2"]);
        assert_eq!(room.names(), ["tree"]);
        assert_eq!((remove("tree"), remove("tree"), remove("no/such/place")), (Ok(()), Ok(()), Ok(())));
        assert!(room.names().is_empty(), "{shell:?}");
    }
}

/// Makes a host that has no such program.
fn without(program: &str) -> String {
    let others = "printf) echo printf ;; *) type \"$2\" >/dev/null 2>&1 ;;";
    format!("command() {{ case $2 in {program}) return 1 ;; {others} esac; }};")
}

#[test]
fn a_missing_tool_is_named_with_its_package() {
    let bytes = packed("zstd", &spark());
    for shell in shells() {
        let room = Room::new("tools");
        let step = Step::Unpack(Box::new(unpacking(&room, bytes.clone())));
        let without = without("zstd");
        let (_, outcomes) = perform_by(&shell, &without, &[step]);
        let said = ended(&outcomes[0]).expect_err("there is no zstd");
        assert!(said.contains("takes zstd to unpack it") && said.contains("add the package zstd"), "{shell:?}: {said}");
    }
}

// -- downloads --------------------------------------------------------------------------------------------------------

/// A web server for one file, one redirect to it and an endless one; gives its address and what it was asked.
fn server(body: &'static [u8]) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("its address"));
    let (told, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = Vec::new();
            let mut chunk = [0; 1024];
            while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                match stream.read(&mut chunk) {
                    Ok(count) if count > 0 => request.extend(&chunk[..count]),
                    _ => break,
                }
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let _ = told.send(request);
            let length = body.len();
            let head = match path.as_str() {
                "/file" => format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"),
                // Without its length, so that only what arrives can tell.
                "/endless" => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(),
                "/moved" => {
                    "HTTP/1.1 302 Found\r\nLocation: /file\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
                }
                "/circle" => {
                    "HTTP/1.1 302 Found\r\nLocation: /circle\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                        .to_owned()
                }
                _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
            };
            let _ = stream.write_all(head.as_bytes());
            if path == "/file" {
                let _ = stream.write_all(body);
            }
            while path == "/endless" && stream.write_all(&[b'x'; 4096]).is_ok() {}
        }
    });
    (address, asked)
}

fn remote(url: String, digest: Digest) -> Remote {
    Remote { url, digest, limit: 100_000, headers: std::collections::BTreeMap::new(), timeout: Duration::from_secs(20) }
}

fn download(room: &Room, remote: Remote) -> Step {
    let ownership = Ownership { mode: Some(armilla::step::Mode(0o640)), owner: None, group: None };
    Step::Download { path: room.path("file"), remote, ownership }
}

#[test]
fn a_download_is_there_whole_and_right_or_not_at_all() {
    let body: &[u8] = b"#!/bin/sh\n\0\xff";
    let (address, _asked) = server(body);
    let right = Digest::of(body);
    for (tool, before) in [("curl", String::new()), ("wget", without("curl"))] {
        for shell in shells() {
            let room = Room::new("download");
            let fetch = |path: &str, digest: &Digest| {
                let step = download(&room, remote(format!("{address}{path}"), digest.clone()));
                ended(&perform_by(&shell, &before, &[step]).1[0])
            };
            for path in ["/missing", "/circle", "/endless"] {
                let said = fetch(path, &right).expect_err(path);
                assert!(
                    said.contains(if path == "/endless" { "larger than 100000 bytes" } else { "could not be fetched" }),
                    "{tool} {path}: {said}"
                );
                assert!(room.names().is_empty(), "{tool} {shell:?} {path}");
            }
            fs::write(room.path("file"), "old").expect("an old file");
            let said = fetch("/file", &Digest::of(b"other")).expect_err("another digest");
            assert!(said.contains(&right.0) && said.contains(&Digest::of(b"other").0), "{tool} {shell:?}: {said}");
            assert_eq!(fs::read(room.path("file")).expect("the old file"), b"old", "never over a mismatch");
            assert_eq!(fetch("/moved", &right), Ok(()), "{tool} {shell:?}");
            assert_eq!(fs::read(room.path("file")).expect("the file"), body);
            assert_eq!(fs::metadata(room.path("file")).expect("the file").permissions().mode() & 0o7777, 0o640);
            assert_eq!(room.names(), ["file"]);
        }
    }
}

#[test]
fn a_secret_header_reaches_the_server_and_no_list_of_processes() {
    let body: &[u8] = b"content";
    let (address, asked) = server(body);
    for shell in shells() {
        let room = Room::new("headers");
        let mut one = remote(format!("{address}/file"), Digest::of(body));
        let secret = Content::Secret(Secret::new(br#"Bearer a"b\c $x"#.to_vec()));
        one.headers.insert("Authorization".to_owned(), secret);
        // Whatever curl is given is written down first.
        let spied = format!("curl() {{ echo \"$*\" >>{}; env curl \"$@\"; }};", room.path("argv"));
        let spied = spied.replace("env curl", "/usr/bin/curl");
        let timed = format!("{spied} timeout() {{ shift 3; \"$@\"; }};");
        let (_, outcomes) = perform_by(&shell, &timed, &[download(&room, one.clone())]);
        assert_eq!(outcomes, [Outcome::Done], "{shell:?}");
        assert!(asked.recv().expect("a request").contains("Authorization: Bearer a\"b\\c $x\r\n"));
        let argv = fs::read_to_string(room.path("argv")).expect("what curl was given");
        assert!(argv.contains("/file") && !argv.contains("Bearer"), "{shell:?}: {argv}");
        one.url = format!("{address}/moved");
        let said = ended(&perform(&shell, &[download(&room, one)])[0]).expect_err("a redirect with a secret");
        assert!(said.contains("could not be fetched"), "{said}");
        assert!(asked.recv().expect("a request").starts_with("GET /moved"));
        assert!(asked.try_recv().is_err(), "it was sent on");
    }
}

#[test]
fn busybox_is_not_asked_to_check_certificates() {
    for shell in shells() {
        let room = Room::new("busybox");
        let before = without("curl") + "wget() { busybox wget \"$@\"; };";
        let step = download(&room, remote("https://127.0.0.1:1/file".to_owned(), Digest::of(b"content")));
        let said = ended(&perform_by(&shell, &before, &[step]).1[0]).expect_err("no certificates");
        assert!(said.contains("does not check certificates"), "{shell:?}: {said}");
    }
}
