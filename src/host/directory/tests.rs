//! Directories are reached as they are meant, on real file systems.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::*;

/// A directory that is gone afterwards.
pub(in crate::host) struct Room(tempfile::TempDir);

impl Room {
    pub(in crate::host) fn new() -> Self {
        let room = Self(tempfile::tempdir().expect("a directory"));
        fs::set_permissions(room.0.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        room
    }

    pub(in crate::host) fn path(&self, name: &str) -> String {
        self.at(name).to_str().expect("a name in UTF-8").to_owned()
    }

    pub(in crate::host) fn at(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().expect("its real name").join(name)
    }

    pub(in crate::host) fn make(&self, name: &str, mode: u32) {
        fs::create_dir_all(self.at(name)).expect("a directory");
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).expect("a mode");
    }

    pub(in crate::host) fn names(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.at(name)).expect("a readable directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// Does something as this user, in a thread that is hers. Needs root.
pub(in crate::host) fn as_user<T: Send>(uid: u32, what: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    let (user, group) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(uid));
    let begin = || {
        set_thread_groups(&[]).and_then(|()| set_thread_res_gid(group, group, group)).expect("needs root");
        set_thread_res_uid(user, user, user).expect("needs root");
        what()
    };
    std::thread::scope(|scope| scope.spawn(begin).join().expect("it ends well"))
}

fn reached(path: &str) -> Result<(u64, u64), String> {
    Directory::open(path, Missing::Refuse).map(|found| found.identity()).map_err(|unreached| unreached.failure.why)
}

fn number(path: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    let of = fs::metadata(path).expect("it is there");
    (of.dev(), of.ino())
}

#[test]
fn every_way_to_write_a_path_leads_to_the_same_place() {
    let room = Room::new();
    room.make("a/b c/-x\n'$é", 0o755);
    let whole = room.path("a/b c/-x\n'$é");
    for path in [whole.clone(), whole.replace('/', "//"), format!("{whole}/"), whole.replace("/a/", "/./a/./")] {
        assert_eq!(reached(&path), Ok(number(&room.at("a/b c/-x\n'$é"))), "{path:?}");
    }
    assert_eq!(reached("/"), Ok(number(Path::new("/"))));
    assert_eq!(reached(""), reached("/"));
}

#[test]
fn links_of_ours_are_followed_as_the_kernel_follows_them() {
    let room = Room::new();
    room.make("a/b", 0o755);
    room.make("c/d", 0o755);
    let links = [
        ("a/up", "../c/d"),
        ("a/here", "."),
        ("a/whole", &room.path("c")),
        ("a/b/twice", "../up/../d/"),
        ("way", "a/whole/d"),
    ];
    for (name, target) in links {
        symlink(target, room.at(name)).expect("a link");
    }
    for name in ["a/up", "a/here/up", "a/whole/d", "a/b/twice", "way", "a/here/here/b/twice"] {
        assert_eq!(reached(&room.path(name)), Ok(number(&room.at("c/d"))), "{name}");
        assert_eq!(number(&room.at(name)), number(&room.at("c/d")), "the kernel says the same of {name}");
    }
    symlink("/../../../..", room.at("top")).expect("a link");
    assert_eq!(reached(&room.path("top")), Ok(number(Path::new("/"))));
    let endless = [("circle", "circle"), ("one", "two/x"), ("two", "one/x")];
    for (name, target) in endless {
        symlink(target, room.at(name)).expect("a link");
    }
    for (name, _) in endless {
        assert!(reached(&room.path(name)).expect_err("it has no end").contains("one link too many"), "{name}");
    }
}

#[test]
fn links_that_others_could_have_planted_are_not_followed() {
    let room = Room::new();
    room.make("target", 0o755);
    for (directory, mode) in [("sticky", 0o1777), ("group", 0o775), ("all", 0o757)] {
        room.make(directory, mode);
        symlink(room.at("target"), room.at(&format!("{directory}/link"))).expect("a link");
        let why = reached(&room.path(&format!("{directory}/link"))).expect_err("it may be planted");
        assert!(why.ends_with("link is a link that others could have planted"), "{why}");
        // Nor in what is below it: with the directory above, others can put another one in its place.
        room.make(&format!("{directory}/inside"), 0o755);
        symlink(room.at("target"), room.at(&format!("{directory}/inside/link"))).expect("a link");
        let found = reached(&room.path(&format!("{directory}/inside/link")));
        assert_eq!(found.is_ok(), directory == "sticky", "{directory}: {found:?}");
        // A link of ours may lead there; from there on nothing is followed.
        symlink(room.at(directory), room.at(&format!("to-{directory}"))).expect("a link");
        assert!(reached(&room.path(&format!("to-{directory}/link"))).is_err());
        assert!(reached(&room.path(&format!("to-{directory}/inside"))).is_ok());
    }
}

#[test]
#[ignore = "needs root: gives directories to other users"]
fn what_users_control_is_known_from_the_way_there() {
    let room = Room::new();
    for name in ["ada", "ada/root", "ada/ada", "ada/bob", "sticky", "sticky/ada", "sticky/root", "ada/sticky"] {
        room.make(name, if name.ends_with("sticky") { 0o1777 } else { 0o755 });
    }
    room.make("ada/sticky/root", 0o755);
    for (name, uid) in [("ada", 1001), ("ada/ada", 1001), ("ada/bob", 1002), ("sticky/ada", 1001)] {
        std::os::unix::fs::chown(room.at(name), Some(uid), Some(uid)).expect("an owner");
    }
    let control = |name: &str| Directory::open(&room.path(name), Missing::Refuse).expect("it is there").control();
    assert_eq!(control("ada"), Control::User(1001));
    assert_eq!(control("ada/root"), Control::User(1001), "she can put another one in its place");
    assert_eq!(control("ada/ada"), Control::User(1001));
    assert_eq!(control("ada/bob"), Control::Anyone);
    assert_eq!(control("sticky"), Control::Anyone);
    assert_eq!(control("sticky/ada"), Control::Anyone);
    assert_eq!(control("sticky/root"), Control::Ours, "nobody can rename what is root's");
    assert_eq!(
        control("ada/sticky/root"),
        Control::User(1001),
        "she can put another one in the place of the sticky one"
    );
    symlink("/etc", room.at("ada/root/link")).expect("a link");
    assert!(reached(&room.path("ada/root/link")).expect_err("it may be planted").contains("planted"));
}

#[test]
fn what_is_not_there_is_told_apart_from_what_cannot_be_looked_at() {
    let room = Room::new();
    fs::write(room.at("file"), "").expect("a file");
    let open = |name: &str| Directory::open(&room.path(name), Missing::Refuse).expect_err("it is not there");
    for (name, why) in [
        ("none", "there is no directory "),
        ("none/below", "there is no directory "),
        ("file", "/file is not a directory"),
    ] {
        let unreached = open(name);
        assert!(unreached.absent && unreached.failure.why.contains(why), "{name}: {unreached:?}");
    }
    symlink("nowhere", room.at("dangling")).expect("a link");
    assert!(open("dangling").absent);
    assert!(Directory::open_parent("relative/x", Missing::Refuse).is_err());
    assert!(Directory::open_parent("/x/", Missing::Refuse).is_err());
    let path = room.path("x");
    assert_eq!(Directory::open_parent(&path, Missing::Refuse).expect("a directory").1, "x");
}

#[test]
fn parents_are_made_whatever_the_mask_is() {
    let room = Room::new();
    room.make("shared", 0o2750);
    symlink("nowhere", room.at("dangling")).expect("a link");
    let masked = || {
        // The mask of this thread alone.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).expect("a mask of its own");
        rustix::process::umask(Mode::from_raw_mode(0o077));
        Directory::open(&room.path("shared/a/b"), Missing::Make).expect("it is made");
        assert!(Directory::open(&room.path("dangling"), Missing::Make).is_ok(), "where the link leads");
    };
    std::thread::scope(|scope| scope.spawn(masked).join()).expect("it ends well");
    let mode = |name: &str| fs::metadata(room.at(name)).expect("it is there").permissions().mode() & 0o7777;
    assert_eq!((mode("shared/a"), mode("shared/a/b")), (0o2755, 0o2755), "the group of a shared directory goes on");
    assert_eq!(mode("nowhere"), 0o755);
}

#[test]
fn looking_opens_nothing() {
    let room = Room::new();
    rustix::fs::mkfifoat(CWD, room.at("pipe"), Mode::from_raw_mode(0o600)).expect("a pipe");
    symlink("/dev/zero", room.at("link")).expect("a link");
    let directory = Directory::open(&room.path(""), Missing::Refuse).expect("a directory");
    let look = |name| directory.look(name).expect("a look").expect("it is there");
    let kinds = [look("pipe").kind(), look("link").kind()];
    assert_eq!(kinds, [FileType::Fifo, FileType::Symlink]);
    assert!(directory.look("none").expect("a look").is_none());
    for name in ["pipe", "link"] {
        let entry = directory.look(name).expect("a look").expect("it is there");
        assert!(entry.open(&directory, name).is_err(), "{name}");
    }
}
