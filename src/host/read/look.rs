//! What is at a path, read by handles.

use std::fs::File;
use std::io::{ErrorKind, Read as _};

use rustix::fs::{FileType, Stat, readlinkat};
use rustix::io::Errno;
use sha2::Digest as _;

use super::watched::Pulse;
use crate::host::directory::{Directory, Missing, told};
use crate::step::{Digest, FETCH_LIMIT, Fetch};

/// What was found; accounts are numbers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Absent,
    File { status: Status, size: u64, digest: Digest, content: Option<Vec<u8>> },
    Directory(Status),
    Link { target: String, modified: i64 },
    Other(&'static str),
}

/// Why a content that is needed is not read.
const HIDDEN: &str =
    "others control its directory and may not read this file: they may have put it there to have it read";

/// Mode, owner and group as numbers, and modification time in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) modified: i64,
}

impl From<&Stat> for Status {
    fn from(of: &Stat) -> Self {
        Self { mode: of.st_mode & 0o7777, uid: of.st_uid, gid: of.st_gid, modified: of.st_mtime }
    }
}

/// Reads what is at a path. A link at its end is not followed. What is found is held by a handle before it is judged, so that
/// it stays the same whatever happens to its name: neither a pipe nor a device is opened, and attributes, digest and content
/// are those of one file.
pub(super) fn look(path: &str, fetch: &Fetch, pulse: &Pulse) -> Result<Found, String> {
    pulse.beat()?;
    // The root has no name of its own.
    let path = if path.trim_end_matches('/').is_empty() { "/." } else { path.trim_end_matches('/') };
    let (directory, name) = match Directory::open_parent(path, Missing::Refuse) {
        Ok(reached) => reached,
        Err(unreached) if unreached.absent => return Ok(Found::Absent),
        Err(unreached) => return Err(unreached.failure.why),
    };
    let failed = |why: String| format!("{path}: {why}");
    let entry = match directory.look(name) {
        Ok(Some(entry)) => entry,
        Ok(None) | Err(Errno::NOTDIR | Errno::NAMETOOLONG) => return Ok(Found::Absent),
        Err(Errno::ACCESS) => {
            let parent = path.rsplit_once('/').map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent });
            return Err(format!("permission denied: cannot look into {parent}"));
        }
        Err(errno) => return Err(failed(told(errno))),
    };
    let status = Status::from(&entry.stat);
    match entry.kind() {
        FileType::Directory => Ok(Found::Directory(status)),
        FileType::Symlink => {
            let target = readlinkat(&entry, "", Vec::new()).map_err(|errno| failed(told(errno)))?;
            Ok(Found::Link { target: target.to_string_lossy().into_owned(), modified: status.modified })
        }
        FileType::RegularFile => {
            let file = entry.open(&directory, path).map_err(|failure| failure.why)?;
            let (size, digest, content) = contents(file, fetch, pulse).map_err(failed)?;
            if content.is_none() || entry.may_be_shown(&directory) {
                return Ok(Found::File { status, size, digest, content });
            }
            match fetch {
                Fetch::Always => Err(failed(HIDDEN.to_owned())),
                Fetch::Digest | Fetch::Unless(_) => Ok(Found::File { status, size, digest, content: None }),
            }
        }
        kind => Ok(Found::Other(other(kind))),
    }
}

/// The words of `stat` for what is neither file, directory nor link.
fn other(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "fifo",
        FileType::CharacterDevice => "character special file",
        FileType::BlockDevice => "block special file",
        FileType::Socket => "socket",
        _ => "weird file",
    }
}

/// Size, digest and, if it is wanted, content. Files of `/proc` and `/sys` report no size; the size is what was read.
fn contents(mut file: File, fetch: &Fetch, pulse: &Pulse) -> Result<(u64, Digest, Option<Vec<u8>>), String> {
    let (mut hash, mut size, mut kept) = (sha2::Sha256::new(), 0_u64, Vec::new());
    let mut buffer = vec![0; 1 << 16];
    loop {
        pulse.beat()?;
        let piece = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => buffer.get(..length).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err("its content would have to be waited for".to_owned());
            }
            Err(error) => return Err(error.to_string()),
        };
        hash.update(piece);
        size += piece.len() as u64;
        if *fetch != Fetch::Digest && size <= FETCH_LIMIT {
            kept.extend_from_slice(piece);
        }
    }
    let digest = Digest(hexadecimal(&hash.finalize()));
    let wanted = match fetch {
        Fetch::Digest => false,
        Fetch::Unless(known) => digest != *known,
        Fetch::Always => true,
    };
    Ok((size, digest, (wanted && size <= FETCH_LIMIT).then_some(kept)))
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::program::tests::NOT_HELD_UP;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    /// Ends an attack, also when a test fails.
    struct Ends<'a>(&'a AtomicBool);

    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn pulse() -> Pulse {
        Pulse::until(Instant::now() + Duration::from_secs(60))
    }

    fn seen(path: &Path, fetch: &Fetch) -> Result<Found, String> {
        look(&path.display().to_string(), fetch, &pulse())
    }

    fn content(path: &Path) -> (u64, Digest, Option<Vec<u8>>) {
        match seen(path, &Fetch::Always) {
            Ok(Found::File { size, digest, content, .. }) => (size, digest, content),
            other => panic!("{}: {other:?}", path.display()),
        }
    }

    #[test]
    fn every_sort_of_thing_is_told_apart_and_none_is_waited_for() {
        let room = tempfile::tempdir().expect("a directory");
        let room = room.path();
        fs::write(room.join("file"), "known").expect("a file");
        fs::set_permissions(room.join("file"), fs::Permissions::from_mode(0o4710)).expect("a mode");
        symlink("new\nline\n -x", room.join("link")).expect("a link");
        symlink("loop", room.join("loop")).expect("a link");
        nix::unistd::mkfifo(&room.join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let _socket = std::os::unix::net::UnixListener::bind(room.join("socket")).expect("a socket");
        let known = Fetch::Unless(Digest::of(b"known"));
        let look = |name: &str| seen(&room.join(name), &known).expect("an answer");
        match look("file") {
            Found::File { status, size: 5, digest, content: None } => {
                assert_eq!((status.mode, status.uid), (0o4710, nix::unistd::geteuid().as_raw()));
                assert_eq!(digest, Digest::of(b"known"));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(look("."), Found::Directory(_)));
        assert!(matches!(look("link"), Found::Link { target, .. } if target == "new\nline\n -x"));
        assert!(matches!(look("loop"), Found::Link { .. }));
        assert_eq!((look("pipe"), look("socket")), (Found::Other("fifo"), Found::Other("socket")));
        for nothing in ["none", "none/below", "file/below", "pipe/below", &"n".repeat(300)] {
            assert_eq!(look(nothing), Found::Absent, "{nothing}");
        }
        assert!(seen(&room.join("loop/below"), &known).expect_err("a loop").contains("one link too many"));
        let device = seen(Path::new("/dev/null"), &Fetch::Always);
        assert_eq!(device, Ok(Found::Other("character special file")));
        assert!(matches!(seen(Path::new("/"), &Fetch::Digest), Ok(Found::Directory(_))));
        assert!(matches!(seen(Path::new("//"), &Fetch::Digest), Ok(Found::Directory(_))));
    }

    #[test]
    fn a_content_comes_along_up_to_the_limit() {
        let room = tempfile::tempdir().expect("a directory");
        let file = room.path().join("two\nlines \\ ÿ");
        let limit = usize::try_from(FETCH_LIMIT).expect("a size");
        for length in [0, 1, 65_536, limit] {
            let bytes = vec![7_u8; length];
            fs::write(&file, &bytes).expect("a file");
            assert_eq!(content(&file), (length as u64, Digest::of(&bytes), Some(bytes)));
        }
        let large = vec![7_u8; limit + 1];
        fs::write(&file, &large).expect("a file");
        assert_eq!(content(&file), (FETCH_LIMIT + 1, Digest::of(&large), None));
        let other = seen(&file, &Fetch::Unless(Digest::of(b"other")));
        assert!(matches!(other, Ok(Found::File { content: None, .. })), "too large");
        fs::write(&file, "x").expect("a file");
        let other = seen(&file, &Fetch::Unless(Digest::of(b"other")));
        assert!(matches!(other, Ok(Found::File { content: Some(content), .. }) if content == b"x"));
        assert!(matches!(seen(&file, &Fetch::Digest), Ok(Found::File { content: None, .. })));
    }

    #[test]
    fn files_that_say_they_are_empty_are_read_and_those_without_an_end_are_left() {
        for name in ["/proc/self/status", "/proc/sys/kernel/ostype", "/sys/kernel/mm/transparent_hugepage/enabled"] {
            let name = Path::new(name);
            if name.exists() {
                let (size, digest, found) = content(name);
                let found = found.expect("it is small");
                assert_eq!((size, digest), (found.len() as u64, Digest::of(&found)));
                assert!(!found.is_empty(), "{}", name.display());
            }
        }
        let room = tempfile::tempdir().expect("a directory");
        let endless = room.path().join("endless");
        fs::File::create(&endless).expect("a file").set_len(1 << 40).expect("a size");
        let began = Instant::now();
        let late =
            look(&endless.display().to_string(), &Fetch::Digest, &Pulse::until(began + Duration::from_millis(300)));
        assert!(late.expect_err("it takes minutes").contains("no time was left"));
        assert!(began.elapsed() < NOT_HELD_UP);
    }

    #[test]
    fn a_name_that_changes_all_the_time_shows_nothing_from_elsewhere() {
        let room = tempfile::tempdir().expect("a directory");
        let (hers, secret, file) =
            (room.path().join("hers"), room.path().join("secret"), room.path().join("hers/file"));
        fs::create_dir(&hers).expect("a directory");
        fs::write(&secret, "secret").expect("a file");
        let stop = AtomicBool::new(false);
        let began = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let put = |make: &dyn Fn(&Path)| {
                    let draft = hers.join("draft");
                    make(&draft);
                    fs::rename(&draft, &file).expect("it is hers");
                };
                while !stop.load(Ordering::Relaxed) {
                    put(&|at| fs::write(at, "hers").expect("a file"));
                    put(&|at| symlink(&secret, at).expect("a link"));
                    put(&|at| nix::unistd::mkfifo(at, nix::sys::stat::Mode::S_IRWXU).expect("a pipe"));
                }
            });
            let _ends = Ends(&stop);
            for _ in 0..2000 {
                match seen(&file, &Fetch::Always) {
                    Ok(Found::File { content: Some(content), .. }) => assert_eq!(content, b"hers"),
                    Ok(Found::File { .. } | Found::Directory(_)) => panic!("there is no such thing"),
                    Ok(_) => {}
                    // It is the last name of a file that she replaced.
                    Err(why) => assert!(why.contains("names"), "{why}"),
                }
            }
        });
        assert!(began.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_directory_that_is_swapped_for_a_link_leads_nowhere() {
        let room = tempfile::tempdir().expect("a directory");
        let hers = room.path().join("hers");
        for (directory, content) in [(hers.join("real"), "hers"), (room.path().join("roots"), "secret")] {
            fs::create_dir_all(&directory).expect("a directory");
            fs::write(directory.join("file"), content).expect("a file");
        }
        symlink(room.path().join("roots"), hers.join("link")).expect("a link");
        // Everybody may change what is in it.
        fs::set_permissions(&hers, fs::Permissions::from_mode(0o777)).expect("a mode");
        let stop = AtomicBool::new(false);
        let (mut reached, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let to = |from: &str, to: &str| fs::rename(hers.join(from), hers.join(to)).expect("it is hers");
                while !stop.load(Ordering::Relaxed) {
                    for (from, there) in [("real", "there"), ("there", "real"), ("link", "there"), ("there", "link")] {
                        to(from, there);
                    }
                }
            });
            let _ends = Ends(&stop);
            let began = Instant::now();
            while (reached < 200 || refused < 200) && began.elapsed() < Duration::from_secs(60) {
                match seen(&hers.join("there/file"), &Fetch::Always) {
                    Ok(Found::File { content: Some(content), .. }) => {
                        assert_eq!(content, b"hers");
                        reached += 1;
                    }
                    Ok(Found::Absent) => {}
                    Err(why) if why.contains("others could have planted") => refused += 1,
                    other => panic!("{other:?}"),
                }
            }
        });
        assert!(reached >= 200 && refused >= 200, "both were met: {reached} {refused}");
    }

    #[test]
    #[ignore = "needs root: becomes another user"]
    fn an_attacker_who_owns_the_directory_shows_root_no_file_of_its_own() {
        const DAEMON: u32 = 1;
        let room = tempfile::tempdir().expect("a directory");
        fs::set_permissions(room.path(), fs::Permissions::from_mode(0o711)).expect("a mode");
        let (hers, secret, roots) = (room.path().join("hers"), room.path().join("secret"), room.path().join("roots"));
        fs::create_dir(&roots).expect("a directory");
        for file in [secret.clone(), roots.join("file")] {
            fs::write(&file, "secret").expect("a file");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
        }
        fs::create_dir(&hers).expect("a directory");
        std::os::unix::fs::chown(&hers, Some(DAEMON), Some(DAEMON)).expect("root may");
        let (stop, rounds) = (AtomicBool::new(false), std::sync::atomic::AtomicUsize::new(0));
        let attack = || {
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(DAEMON)).expect("root may");
            let at = |name: &str| hers.join(name);
            let to = |from: &str, to: &str| fs::rename(at(from), at(to)).expect("it is hers");
            fs::create_dir(at("real")).expect("it is hers");
            fs::write(at("real/file"), "hers").expect("it is hers");
            symlink(&roots, at("link")).expect("it is hers");
            while !stop.load(Ordering::Relaxed) {
                fs::write(at("draft"), "hers").expect("it is hers");
                to("draft", "file");
                symlink(&secret, at("draft")).expect("it is hers");
                to("draft", "file");
                nix::unistd::mkfifo(&at("draft"), nix::sys::stat::Mode::S_IRWXU).expect("it is hers");
                to("draft", "file");
                // Where the kernel protects hard links it is refused.
                if fs::hard_link(&secret, at("draft")).is_ok() {
                    to("draft", "file");
                }
                for name in ["real", "link"] {
                    to(name, "there");
                    to("there", name);
                }
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(attack);
            let _ends = Ends(&stop);
            let (began, mut hers_seen) = (Instant::now(), 0);
            while (rounds.load(Ordering::Relaxed) < 200 || hers_seen < 200) && began.elapsed() < Duration::from_secs(60)
            {
                for name in ["file", "there/file"] {
                    if let Ok(Found::File { content: Some(content), .. }) = seen(&hers.join(name), &Fetch::Always) {
                        assert_eq!(content, b"hers", "{name}");
                        hers_seen += 1;
                    }
                }
            }
            assert!(hers_seen >= 200 && rounds.load(Ordering::Relaxed) >= 200, "{hers_seen} {rounds:?}");
        });
    }

    #[test]
    #[ignore = "needs root: gives a directory away"]
    fn a_file_of_roots_in_a_directory_of_others_is_shown_only_where_they_may_read_it() {
        const DAEMON: u32 = 1;
        let room = tempfile::tempdir().expect("a directory");
        fs::set_permissions(room.path(), fs::Permissions::from_mode(0o711)).expect("a mode");
        let hers = room.path().join("hers");
        fs::create_dir(&hers).expect("a directory");
        std::os::unix::fs::chown(&hers, Some(DAEMON), Some(DAEMON)).expect("root may");
        let file = hers.join("file");
        fs::write(&file, "content").expect("a file");
        let other = Fetch::Unless(Digest::of(b"other"));
        for (owner, group, mode, shown) in [
            (0, 0, 0o600, false),
            (0, 0, 0o640, false),
            (0, DAEMON, 0o600, false),
            (0, DAEMON, 0o640, true),
            (0, 0, 0o604, true),
            (DAEMON, 0, 0o600, true),
        ] {
            std::os::unix::fs::chown(&file, Some(owner), Some(group)).expect("root may");
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
            match seen(&file, &other) {
                Ok(Found::File { digest, content, .. }) => {
                    assert_eq!(digest, Digest::of(b"content"));
                    assert_eq!(content.is_some(), shown, "{owner} {group} {mode:o}");
                }
                other => panic!("{other:?}"),
            }
            let wanted = seen(&file, &Fetch::Always);
            assert!(if shown { wanted.is_ok() } else { wanted.is_err_and(|why| why.contains("may not read")) });
        }
    }

    #[test]
    #[ignore = "needs root: becomes another user"]
    fn what_may_not_be_read_is_not_absent() {
        let room = tempfile::tempdir().expect("a directory");
        fs::set_permissions(room.path(), fs::Permissions::from_mode(0o711)).expect("a mode");
        fs::create_dir(room.path().join("closed")).expect("a directory");
        fs::set_permissions(room.path().join("closed"), fs::Permissions::from_mode(0o700)).expect("a mode");
        fs::write(room.path().join("private"), "x").expect("a file");
        fs::set_permissions(room.path().join("private"), fs::Permissions::from_mode(0o600)).expect("a mode");
        let room = room.path().to_owned();
        let found = std::thread::spawn(move || {
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(1)).expect("root may");
            ["closed/file", "private", "closed"].map(|name| seen(&room.join(name), &Fetch::Always))
        });
        let [hidden, private, closed] = found.join().expect("it ends");
        assert!(hidden.expect_err("hidden").starts_with("permission denied: cannot look into"));
        assert!(private.expect_err("private").ends_with("Permission denied"));
        assert!(matches!(closed, Ok(Found::Directory(_))));
    }
}
