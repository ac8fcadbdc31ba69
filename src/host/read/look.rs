//! What is at a path: one look, by handles.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;
use sha2::Digest as _;

use super::walk;
use super::watched::Pulse;
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

/// How often a path is read again that changes during the read.
const LOOKS: usize = 5;

/// Reads what is at a path. A link at its end is not followed. A file is opened so that neither a pipe nor a device blocks the
/// read, and attributes, digest and content come from one handle.
pub(super) fn look(path: &Path, fetch: &Fetch, pulse: &Pulse) -> Result<Found, String> {
    let Some((parent, name)) = walk::parent(path)? else { return Ok(Found::Absent) };
    let place = Place { parent, name: &name, path };
    for _ in 0..LOOKS {
        pulse.beat()?;
        let status = match statat(&place.parent, place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) => status,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => return Ok(Found::Absent),
            Err(Errno::ACCESS) => return Err(walk::denied(path.parent().unwrap_or(path))),
            Err(error) => return Err(place.failed(error)),
        };
        let found = match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => Some(Found::Directory(Status::from(&status))),
            FileType::Symlink => place.link(&status)?,
            FileType::RegularFile => place.file(fetch, pulse)?,
            kind => Some(Found::Other(other(kind))),
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Err(format!("{} changes while it is read", path.display()))
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

/// A name in a directory.
struct Place<'a> {
    parent: OwnedFd,
    name: &'a std::ffi::OsStr,
    /// For messages.
    path: &'a Path,
}

impl Place<'_> {
    fn failed(&self, why: impl std::fmt::Display) -> String {
        format!("{}: {why}", self.path.display())
    }

    /// The link; none if there is something else by now.
    fn link(&self, status: &Stat) -> Result<Option<Found>, String> {
        match readlinkat(&self.parent, self.name, Vec::new()) {
            Ok(target) => {
                let target = String::from_utf8_lossy(target.as_bytes()).into_owned();
                Ok(Some(Found::Link { target, modified: status.st_mtime }))
            }
            Err(Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The regular file; none if there is something else by now.
    fn file(&self, fetch: &Fetch, pulse: &Pulse) -> Result<Option<Found>, String> {
        let Some(handle) = self.open()? else { return Ok(None) };
        let status = fstat(&handle).map_err(|error| self.failed(error))?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        self.check_names(&status)?;
        let (size, digest, content) = self.contents(handle, fetch, pulse)?;
        Ok(Some(Found::File { status: Status::from(&status), size, digest, content }))
    }

    /// The kernel says that we would have to wait when a program has a lease on the file, and asks that program to give it back.
    fn open(&self) -> Result<Option<OwnedFd>, String> {
        const TRIES: u32 = 20;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        for _ in 0..TRIES {
            match openat(&self.parent, self.name, flags, Mode::empty()) {
                Ok(handle) => return Ok(Some(handle)),
                // A link, nothing, a socket or a device by now.
                Err(Errno::LOOP | Errno::NOENT | Errno::NXIO | Errno::NODEV) => return Ok(None),
                Err(Errno::ACCESS | Errno::PERM) => return Err(self.failed("permission denied")),
                Err(Errno::AGAIN) => sleep(Duration::from_millis(50)),
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Err(self.failed("a program holds a lease on it and does not give it back"))
    }

    /// Where the kernel lets everybody make another name for any file, a name in a directory of others says nothing about who
    /// wants the file to be read.
    fn check_names(&self, file: &Stat) -> Result<(), String> {
        if file.st_nlink < 2 {
            return Ok(());
        }
        let directory = fstat(&self.parent).map_err(|error| self.failed(error))?;
        let protected = std::fs::read("/proc/sys/fs/protected_hardlinks").is_ok_and(|text| text.starts_with(b"1"));
        if protected || !could_be_planted(file, &directory) {
            return Ok(());
        }
        Err(self.failed("it has several names, and others could have made this one: set fs.protected_hardlinks to 1"))
    }

    /// Size, digest and, where it is wanted, content. Files of /proc and /sys say nothing of their size; what was read is it.
    fn contents(
        &self,
        handle: OwnedFd,
        fetch: &Fetch,
        pulse: &Pulse,
    ) -> Result<(u64, Digest, Option<Vec<u8>>), String> {
        let (mut file, mut hash, mut size, mut kept) = (File::from(handle), sha2::Sha256::new(), 0_u64, Vec::new());
        let mut buffer = vec![0; 1 << 16];
        loop {
            pulse.beat()?;
            let piece = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => buffer.get(..length).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(self.failed("its content would have to be waited for"));
                }
                Err(error) => return Err(self.failed(error)),
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
}

/// Whether a user who may not read the file could have given it this name: others can write to the directory, and the file
/// does not belong to the owner of the directory.
fn could_be_planted(file: &Stat, directory: &Stat) -> bool {
    !walk::is_ours(directory) && file.st_uid != directory.st_uid
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    fn pulse() -> Pulse {
        Pulse::until(Instant::now() + Duration::from_secs(60))
    }

    fn seen(path: &Path, fetch: &Fetch) -> Result<Found, String> {
        look(path, fetch, &pulse())
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
        for nothing in ["none", "none/below", "file/below", "loop/below", "pipe/below", &"n".repeat(300)] {
            assert_eq!(look(nothing), Found::Absent, "{nothing}");
        }
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
        fs::File::create(&endless).expect("a file").set_len(1 << 50).expect("a size");
        let began = Instant::now();
        let late = look(&endless, &Fetch::Digest, &Pulse::until(began + Duration::from_millis(300)));
        assert!(late.expect_err("it takes years").contains("no time was left"));
        assert!(began.elapsed() < Duration::from_secs(20));
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
            for _ in 0..2000 {
                match seen(&file, &Fetch::Always) {
                    Ok(Found::File { content: Some(content), .. }) => assert_eq!(content, b"hers"),
                    Ok(Found::File { .. } | Found::Directory(_)) => panic!("there is no such thing"),
                    Ok(_) => {}
                    Err(why) => assert!(why.contains("changes while it is read"), "{why}"),
                }
            }
            stop.store(true, Ordering::Relaxed);
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
                    [("real", "there"), ("there", "real"), ("link", "there"), ("there", "link")]
                        .map(|(from, there)| to(from, there));
                }
            });
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
            stop.store(true, Ordering::Relaxed);
        });
        assert!(reached >= 200 && refused >= 200, "both were met: {reached} {refused}");
    }

    #[test]
    fn a_name_for_a_file_of_somebody_else_may_be_planted() {
        let of = |path: &str| rustix::fs::stat(path).expect("it is there");
        let (mut file, shared, ours) = (of("/etc/passwd"), of("/tmp"), of("/etc"));
        file.st_uid = shared.st_uid;
        assert!(!could_be_planted(&file, &shared), "of those who may write there, she is the first");
        file.st_uid = 4321;
        assert!(could_be_planted(&file, &shared), "everybody may make a name in /tmp");
        assert!(!could_be_planted(&file, &ours));
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
        assert!(private.expect_err("private").ends_with("permission denied"));
        assert!(matches!(closed, Ok(Found::Directory(_))));
    }
}
