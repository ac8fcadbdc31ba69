//! Archives and downloads, by the host program.
//!
//! In: archives made byte by byte. Out: what is on the disk afterwards. Never: anything outside a temporary directory; what is
//! hostile in an archive is tested in `src/host/unpack`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command as Process;
use std::time::Duration;

use armilla::host::wire::Request;
use armilla::secret::Content;
use armilla::step::{
    Digest, MARKER, Mode, Occupied, Outcome, Ownership, Packed, Remote, Step, UnpackLimits, Unpacking,
};

use crate::host::{Room, call, failure, perform, program_in, start};

/// A file in a tar archive, in the format of POSIX.1-1988 (`ustar`), as `tar(5)` describes it.
pub(crate) fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut all = Vec::new();
    for (name, content) in files {
        all.extend(header(name, content.len()));
        all.extend(content.as_bytes());
        all.resize(all.len().next_multiple_of(512), 0);
    }
    all.resize(all.len() + 1024, 0);
    all
}

fn header(name: &str, size: usize) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0006755\0");
    put(108, b"0001750\0");
    put(116, b"0001750\0");
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"14000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn me() -> [String; 2] {
    ["-un", "-gn"].map(|option| {
        let output = Process::new("id").arg(option).output().expect("id runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    })
}

/// The step that unpacks an archive there, in the place of one that was unpacked before.
pub(crate) fn unpacking(path: &str, archive: Vec<u8>) -> Step {
    let [owner, group] = me();
    Step::Unpack(Box::new(Unpacking {
        path: path.to_owned(),
        source: Packed::Content(Content::Plain(archive)),
        strip: 0,
        owner,
        group,
        limits: UnpackLimits { bytes: 1 << 20, entries: 100, ratio: 100 },
        occupied: Occupied::Replace,
        marker: "armilla archive 1\n".to_owned(),
    }))
}

/// The names and contents of the files of a directory, sorted.
fn tree(path: &str) -> Vec<String> {
    let entries = fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry"));
    let mut all: Vec<String> = entries
        .map(|entry| {
            let content = fs::read_to_string(entry.path()).expect("a file");
            format!("{}={content}", entry.file_name().to_string_lossy())
        })
        .collect();
    all.sort();
    all
}

const OLD: [(&str, &str); 2] = [("./goes", "old"), ("stays", "old")];
const NEW: [(&str, &str); 2] = [("./comes \u{fc}", "new"), ("stays", "new")];
const OLD_TREE: [&str; 3] = [".armilla-archive=armilla archive 1\n", "goes=old", "stays=old"];
const NEW_TREE: [&str; 3] = [".armilla-archive=armilla archive 1\n", "comes \u{fc}=new", "stays=new"];

#[test]
fn an_archive_is_unpacked_replaced_and_removed() {
    let room = Room::new("unpack");
    let path = room.path("tree");
    assert_eq!(perform(&[unpacking(&path, tar(&OLD))]), [Outcome::Done]);
    assert_eq!(tree(&path), OLD_TREE);
    let file = fs::metadata(format!("{path}/stays")).expect("a file");
    assert_eq!(file.permissions().mode() & 0o7777, 0o755, "no set-user-ID bit comes from an archive");
    assert_eq!(file.uid(), nix::unistd::geteuid().as_raw());
    assert!(fs::metadata(format!("{path}/{MARKER}")).is_ok());
    assert_eq!(perform(&[unpacking(&path, tar(&NEW))]), [Outcome::Done]);
    assert_eq!((tree(&path), room.names()), (NEW_TREE.map(str::to_owned).to_vec(), vec!["tree".to_owned()]));
    let refused = perform(&[unpacking(&path, tar(&[("../evil", "")]))]);
    assert!(failure(&refused[0]).1.contains("leads out of it"), "{refused:?}");
    assert_eq!((tree(&path), room.names()), (NEW_TREE.map(str::to_owned).to_vec(), vec!["tree".to_owned()]));
    assert_eq!(perform(&[Step::RemoveUnpacked { path }]), [Outcome::Done]);
    assert!(room.names().is_empty());
}

#[test]
fn an_archive_that_replaces_another_is_old_or_new_wherever_its_host_dies() {
    let mut points = 0;
    for point in 1.. {
        let room = Room::new(&format!("unpack-{point}"));
        let path = room.path("srv/tree");
        fs::create_dir(room.path("srv")).expect("a directory");
        assert_eq!(perform(&[unpacking(&path, tar(&OLD))]), [Outcome::Done]);
        let steps = vec![unpacking(&path, tar(&NEW))];
        let request = Request::Perform { steps: steps.clone(), ticket: None, crash_at: Some(point) };
        let over = start(program_in(&room), call(request)).wait_with_output().expect("it ends").status.success();
        assert!(tree(&path) == OLD_TREE || tree(&path) == NEW_TREE, "crash point {point}: {:?}", tree(&path));
        assert_eq!(perform(&steps), [Outcome::Done], "crash point {point}");
        assert_eq!(tree(&path), NEW_TREE, "crash point {point}");
        assert_eq!(fs::read_dir(room.path("srv")).expect("a directory").count(), 1, "crash point {point}");
        if over {
            break;
        }
        points = point;
    }
    assert!(points > 5, "only {points} crash points");
}

// -- downloads --------------------------------------------------------------------------------------------------------

/// A web server for one file, and one that never ends; gives its address.
fn server(body: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap_or(0);
            let path = String::from_utf8_lossy(&request[..count]).split(' ').nth(1).unwrap_or_default().to_owned();
            let length = body.len();
            let head = match path.as_str() {
                "/file" => format!("200 OK\r\nContent-Length: {length}"),
                // Without its length, so that only what arrives can tell.
                "/endless" => "200 OK".to_owned(),
                _ => "404 Not Found\r\nContent-Length: 0".to_owned(),
            };
            let _ = stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes());
            if path == "/file" {
                let _ = stream.write_all(body);
            }
            while path == "/endless" && stream.write_all(&[b'x'; 4096]).is_ok() {}
        }
    });
    address
}

#[test]
fn a_download_is_there_whole_and_right_or_not_at_all() {
    let body: &[u8] = b"#!/bin/sh\n\0\xff";
    let (address, right) = (server(body), Digest::of(body));
    let room = Room::new("download");
    let fetch = |path: &str, digest: &Digest| {
        let remote = Remote {
            url: format!("{address}{path}"),
            digest: digest.clone(),
            limit: 100_000,
            headers: std::collections::BTreeMap::new(),
            timeout: Duration::from_secs(60),
        };
        let ownership = Ownership { mode: Some(Mode(0o640)), ..Ownership::default() };
        perform(&[Step::Download { path: room.path("file"), remote, ownership }]).pop().expect("an outcome")
    };
    for (path, why) in [("/missing", "could not be fetched"), ("/endless", "larger than 100000 bytes")] {
        let outcome = fetch(path, &right);
        assert!(failure(&outcome).1.contains(why), "{path}: {outcome:?}");
        assert!(room.names().is_empty(), "{path}");
    }
    fs::write(room.path("file"), "old").expect("an old file");
    let other = Digest::of(b"other");
    let outcome = fetch("/file", &other);
    assert!(failure(&outcome).1.contains(&right.0) && failure(&outcome).1.contains(&other.0), "{outcome:?}");
    assert_eq!(fs::read(room.path("file")).expect("the old file"), b"old", "never over a mismatch");
    assert_eq!(fetch("/file", &right), Outcome::Done);
    assert_eq!(fs::read(room.path("file")).expect("the file"), body);
    assert_eq!(fs::metadata(room.path("file")).expect("the file").permissions().mode() & 0o7777, 0o640);
    assert_eq!(room.names(), ["file"]);
}
