//! Archives made byte by byte, as a hostile hand would.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// One entry of a tar archive: its kind (`0` file, `5` directory, `2` link, `1` hard link, `3` device, `6` pipe).
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) kind: u8,
    pub(super) name: &'a str,
    pub(super) target: &'a str,
    pub(super) content: &'a [u8],
    pub(super) mode: u32,
}

pub(super) fn file<'a>(name: &'a str, content: &'a str) -> Entry<'a> {
    Entry { kind: b'0', name, target: "", content: content.as_bytes(), mode: 0o644 }
}

pub(super) fn link<'a>(kind: u8, name: &'a str, target: &'a str) -> Entry<'a> {
    Entry { kind, name, target, content: b"", mode: 0o777 }
}

pub(super) fn directory(name: &str) -> Entry<'_> {
    Entry { kind: b'5', name, target: "", content: b"", mode: 0o755 }
}

/// The format is that of POSIX.1-1988 (`ustar`), as `tar(5)` describes it.
pub(super) fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in entries {
        all.extend(header(entry, entry.content.len() as u64));
        all.extend(entry.content);
        all.resize(all.len().next_multiple_of(512), 0);
    }
    all.resize(all.len() + 1024, 0);
    all
}

pub(super) fn header(entry: &Entry<'_>, size: u64) -> [u8; 512] {
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

/// A header with more about the next one: records of POSIX.1-2001.
pub(super) fn pax(kind: u8, records: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (rest..rest + 9).find(|length| length.to_string().len() + rest == *length).expect("a length");
        text.extend([length.to_string().as_str(), " ", key, "=", value, "\n"]);
    }
    let mut all = header(&Entry { kind, ..file("more", "") }, text.len() as u64).to_vec();
    all.extend(text.as_bytes());
    all.resize(all.len().next_multiple_of(512), 0);
    all
}

/// Stored, not packed: the format is that of PKWARE's APPNOTE, 4.3. The last is a Unix mode, or none.
pub(super) fn zip(entries: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let (mut all, mut directory) = (Vec::new(), Vec::new());
    for (name, content, mode) in entries {
        let place = u32::try_from(all.len()).expect("a small archive");
        let (name, size) = (name.as_bytes(), u32::try_from(content.len()).expect("a small file"));
        let mut common = vec![0; 4];
        common.extend([0, 0, 0x21, 0x54]);
        let mut crc = flate2::Crc::new();
        crc.update(content);
        common.extend(crc.sum().to_le_bytes());
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

/// What a program of this machine makes of it.
pub(super) fn packed(program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
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

pub(super) fn spark() -> Vec<u8> {
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
