//! The identity of this host, and the ledgers and journals that armilla keeps on it, of all owners.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::host::Place;
use crate::host::directory::{Directory, Missing, told};
use crate::name::{EnvName, HostName, Owner, ProjectId};
use crate::step::{Record, StateReading};

/// The longest ledger or journal that is brought along, in bytes: hundreds of thousands of resources.
const STATE_LIMIT: u64 = 16 << 20;

/// The files that identify this host.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) machine: PathBuf,
    pub(super) boot: PathBuf,
}

impl Default for Identity {
    fn default() -> Self {
        Self { machine: "/etc/machine-id".into(), boot: "/proc/sys/kernel/random/boot_id".into() }
    }
}

/// All of it. Without a place nothing is kept.
pub(super) fn state(place: Option<&Place>, identity: &Identity) -> Result<StateReading, String> {
    let boot = first_line(&identity.boot);
    if boot.is_empty() {
        return Err("the host did not report its boot id".to_owned());
    }
    let records = place.map_or(Ok(BTreeMap::new()), records)?;
    Ok(StateReading { machine: first_line(&identity.machine), boot, records })
}

fn first_line(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

type Records = BTreeMap<(Owner, HostName), Record>;

fn records(place: &Place) -> Result<Records, String> {
    let path = place.directory().display().to_string();
    let strange = || format!("{path} belongs to another user, or is a link: armilla believes nothing in it");
    let (parent, name) = match Directory::open_parent(&path, Missing::Refuse) {
        Ok(reached) => reached,
        Err(unreached) if unreached.absent => return Ok(Records::new()),
        Err(unreached) => return Err(unreached.failure.why),
    };
    let directory = match parent.child(name) {
        Ok(directory) if directory.stat().st_uid == place.uid() => directory,
        Err(Errno::NOENT) => return Ok(Records::new()),
        Ok(_) | Err(Errno::LOOP | Errno::NOTDIR) => return Err(strange()),
        Err(errno) => return Err(format!("{path}: {}", told(errno))),
    };
    let mut records = Records::new();
    for folder in names(&directory).map_err(|errno| format!("{path}: {}", told(errno)))? {
        // Other names are not of ours.
        let Some(key) = unfold(&folder) else { continue };
        let record = record(&directory, &folder, &format!("{path}/{folder}"))?;
        if record != Record::default() {
            records.insert(key, record);
        }
    }
    Ok(records)
}

/// The names in a directory that are texts. Its own handle is not good for reading.
fn names(directory: &Directory) -> rustix::io::Result<Vec<String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let entries = Dir::new(openat(directory, ".", flags, Mode::empty())?)?;
    let names = entries.map(|entry| entry.map(|entry| String::from_utf8(entry.file_name().to_bytes().to_vec())));
    names.filter_map(|name| name.map(std::result::Result::ok).transpose()).collect()
}

/// The record of one owner. The journal is read before the ledger: what moves from the journal to the ledger in between is then
/// in both, which does no harm, and never in neither.
fn record(directory: &Directory, name: &str, path: &str) -> Result<Record, String> {
    let folder = match directory.child(name) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(Record::default()),
        Err(Errno::LOOP | Errno::NOTDIR) => {
            let is_link = directory.look(name).is_ok_and(|entry| entry.is_some_and(|entry| entry.is_link()));
            return if is_link { Err(link(path)) } else { Ok(Record::default()) };
        }
        Err(errno) => return Err(format!("{path}: {}", told(errno))),
    };
    let journal = kept(&folder, "journal", path)?.filter(|text| !text.is_empty());
    Ok(Record { journal, ledger: kept(&folder, "ledger", path)? })
}

fn link(path: &str) -> String {
    format!("{path} is a symbolic link: remove it")
}

/// One file of a record; none if it is not there.
fn kept(folder: &Directory, name: &str, path: &str) -> Result<Option<Vec<u8>>, String> {
    let whole = format!("{path}/{name}");
    let unreadable = |why: &str| format!("{whole} cannot be read: {why}");
    let Some(entry) = folder.look(name).map_err(|errno| unreadable(&told(errno)))? else { return Ok(None) };
    if entry.is_link() {
        return Err(link(&whole));
    }
    let file = entry.open(folder, &whole).map_err(|failure| unreadable(&failure.why))?;
    let mut text = Vec::new();
    file.take(STATE_LIMIT + 1).read_to_end(&mut text).map_err(|error| unreadable(&error.to_string()))?;
    if text.len() as u64 > STATE_LIMIT {
        let folder = path.rsplit('/').next().unwrap_or_default();
        return Err(format!("the {name} in {folder} is larger than {} MiB", STATE_LIMIT >> 20));
    }
    Ok(Some(text))
}

/// The owner and host of a directory: `ENVIRONMENT@HOST@PROJECT`, or `ENVIRONMENT@HOST` of a project that is not
/// known.
fn unfold(folder: &str) -> Option<(Owner, HostName)> {
    let mut parts = folder.split('@');
    let (environment, host) = (EnvName::new(parts.next()?).ok()?, HostName::new(parts.next()?).ok()?);
    let project = parts.next().map(ProjectId::new).transpose().ok()?;
    parts.next().is_none().then_some((Owner { project, environment }, host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::place::Surroundings;
    use std::fs;
    use std::os::unix::fs::symlink;

    const FOLDER: &str = "staging@web1@shop-k3fq8w2n7d";

    struct Room {
        directory: tempfile::TempDir,
        place: Place,
        identity: Identity,
    }

    impl Room {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let around = Surroundings { host_dir: directory.path().to_str(), ..Surroundings::default() };
            let place = Place::of(nix::unistd::geteuid().as_raw(), around).expect("a place");
            let identity = Identity { machine: directory.path().join("machine"), boot: directory.path().join("boot") };
            fs::write(&identity.machine, "0123\nmore\n").expect("a file");
            fs::write(&identity.boot, "boot-1\n").expect("a file");
            Self { directory, place, identity }
        }

        fn keep(&self, folder: &str, name: &str, text: &[u8]) {
            let folder = self.place.directory().join(folder);
            fs::create_dir_all(&folder).expect("a directory");
            fs::write(folder.join(name), text).expect("a file");
        }

        fn state(&self) -> Result<StateReading, String> {
            state(Some(&self.place), &self.identity)
        }
    }

    #[test]
    fn a_host_that_keeps_nothing_says_who_it_is_and_nothing_is_made() {
        let room = Room::new();
        let wanted = StateReading { machine: "0123".into(), boot: "boot-1".into(), records: BTreeMap::new() };
        assert_eq!(room.state(), Ok(wanted.clone()));
        assert_eq!(state(None, &room.identity), Ok(wanted));
        assert!(!room.place.directory().exists());
        fs::remove_file(&room.identity.machine).expect("a file");
        assert_eq!(room.state().map(|state| state.machine).as_deref(), Ok(""));
        fs::remove_file(&room.identity.boot).expect("a file");
        assert_eq!(room.state().expect_err("unknown").as_str(), "the host did not report its boot id");
    }

    #[test]
    fn ledgers_and_journals_are_told_by_owner_and_host() {
        let room = Room::new();
        room.keep(FOLDER, "ledger", b"{\"a\": \"it's \xff\"}\n");
        room.keep(FOLDER, "journal", b"begin 0\n");
        room.keep("staging@web2", "ledger", b"");
        room.keep("staging@web3", "journal", b"");
        room.keep("a b@c", "ledger", b"x");
        room.keep("staging@web1@no project", "ledger", b"x");
        room.keep("plain", "ledger", b"x");
        fs::write(room.place.directory().join("file@web1"), "x").expect("a file");
        let records = room.state().expect("an answer").records;
        let owner = Owner::parse("staging@shop-k3fq8w2n7d").expect("an owner");
        let key = |owner: &Owner, host: &str| (owner.clone(), HostName::new(host).expect("a name"));
        assert_eq!(records.len(), 2, "{records:?}");
        let record = &records[&key(&owner, "web1")];
        assert_eq!(record.ledger.as_deref(), Some(b"{\"a\": \"it's \xff\"}\n".as_slice()));
        assert_eq!(record.journal.as_deref(), Some(b"begin 0\n".as_slice()));
        let record = &records[&key(&owner.without_project(), "web2")];
        assert_eq!((record.ledger.as_deref(), record.journal.as_deref()), (Some(b"".as_slice()), None));
    }

    #[test]
    fn what_is_too_large_is_told() {
        let room = Room::new();
        room.keep(FOLDER, "journal", b"");
        let file = fs::File::options().write(true).open(room.place.directory().join(FOLDER).join("journal"));
        file.expect("it is there").set_len((16 << 20) + 1).expect("a size");
        let why = room.state().expect_err("too large");
        assert_eq!(why, format!("the journal in {FOLDER} is larger than 16 MiB"));
    }

    #[test]
    fn nothing_is_believed_that_others_could_have_put_there() {
        let room = Room::new();
        room.keep(FOLDER, "ledger", b"x");
        let at = room.place.directory();
        let ledger = at.join(FOLDER).join("ledger");
        fs::remove_file(&ledger).expect("a file");
        symlink("/etc/passwd", &ledger).expect("a link");
        assert!(room.state().expect_err("a link").ends_with("ledger is a symbolic link: remove it"));
        fs::remove_file(&ledger).expect("a link");
        nix::unistd::mkfifo(&ledger, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        assert!(room.state().expect_err("a pipe").ends_with("is not a regular file"));
        fs::remove_dir_all(at.join(FOLDER)).expect("a directory");
        symlink("/etc", at.join(FOLDER)).expect("a link");
        assert!(room.state().expect_err("a link").contains("is a symbolic link: remove it"));
        fs::remove_dir_all(at).expect("a directory");
        symlink(room.directory.path(), at).expect("a link");
        assert!(room.state().expect_err("a link").contains("belongs to another user, or is a link"));
    }

    #[test]
    #[ignore = "needs root: gives a directory to another user"]
    fn a_place_of_another_user_is_not_believed() {
        let room = Room::new();
        room.keep(FOLDER, "ledger", b"x");
        std::os::unix::fs::chown(room.place.directory(), Some(1), None).expect("root may");
        assert!(room.state().expect_err("hers").contains("belongs to another user"));
    }
}
