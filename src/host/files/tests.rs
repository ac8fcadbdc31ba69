//! What steps do to files, on real file systems.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;

use super::*;
use crate::edit::{Edit, Entry as Line, State};
use crate::host::directory::tests::{Room, as_user};
use crate::step::{Mode, Outcome, Removable};

/// Some users: each has a group of her number.
pub(super) struct Users;

impl Numbers for Users {
    fn user(&self, name: &str) -> Result<Option<(u32, u32)>> {
        Ok(number(name).map(|number| (number, number)))
    }

    fn group(&self, name: &str) -> Result<Option<u32>> {
        Ok(number(name))
    }

    fn home(&self, name: &str) -> Result<Option<String>> {
        Ok((name == "ada").then(|| std::env::temp_dir().to_string_lossy().into_owned()))
    }
}

fn number(name: &str) -> Option<u32> {
    match name {
        "root" => Some(0),
        "daemon" => Some(1),
        "bin" => Some(2),
        "ada" => Some(1001),
        "bob" => Some(1002),
        _ => None,
    }
}

pub(super) fn files() -> Files<'static> {
    Files::new(&Users, Company::Unknown).expect("random numbers")
}

/// What writes files that have a name from the beginning.
fn named() -> Files<'static> {
    Files { start: Start::Named, ..files() }
}

fn both() -> [Files<'static>; 2] {
    [files(), named()]
}

pub(super) fn owned(owner: Option<&str>, group: Option<&str>, mode: Option<u32>) -> Ownership {
    Ownership { owner: owner.map(str::to_owned), group: group.map(str::to_owned), mode: mode.map(Mode) }
}

fn mode(path: &str) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

fn owner(path: &str) -> (u32, u32) {
    let of = fs::metadata(path).expect("it is there");
    (of.uid(), of.gid())
}

fn why<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.expect_err("it is refused").why
}

/// Names and contents that have broken programs before.
const HOSTILE: [&str; 9] = ["a b", "-rf", "it's \"$HOME\"", "`id`", "*", "\u{e9}\u{202e}", "new\nline", "\\", "~root"];

#[test]
fn files_of_any_name_and_content_are_written() {
    for mut files in both() {
        let room = Room::new();
        let mut contents: Vec<Vec<u8>> = HOSTILE.iter().map(|text| text.as_bytes().to_vec()).collect();
        contents.extend([Vec::new(), (0..=255).collect(), vec![b'\n'; 3], vec![0; 3 << 20]]);
        for (at, content) in contents.iter().enumerate() {
            let path = room.path(HOSTILE[at % HOSTILE.len()]);
            files.write(&path, content, &owned(None, None, Some(0o640))).expect("it is written");
            assert!(fs::read(&path).expect("it is there") == *content, "{path:?}");
            assert_eq!(mode(&path), 0o640);
        }
        assert_eq!(room.names("").len(), HOSTILE.len(), "{:?}", room.names(""));
        assert_eq!(files.flush.len(), 1, "one directory, flushed once");
        files.flush().expect("it is flushed");
    }
}

#[test]
fn what_changed_since_the_plan_is_told() {
    let (room, files) = (Room::new(), files());
    let (file, link, none) = (room.path("file"), room.path("link"), room.path("none"));
    fs::write(&file, "as it was").expect("a file");
    symlink(&file, &link).expect("a link");
    let digest = |text: &str| Digest::of(text.as_bytes());
    assert_eq!(files.unchanged(&file, Some(&digest("as it was"))), Ok(()));
    for path in [&none, &room.path("none/dir/x"), &room.path("file/x")] {
        assert_eq!(files.unchanged(path, None), Ok(()), "{path}");
        assert!(files.unchanged(path, Some(&digest(""))).is_err(), "{path}");
    }
    for (path, was) in [(&file, Some("as it is")), (&file, None), (&link, Some("as it was")), (&link, None)] {
        let result = files.unchanged(path, was.map(digest).as_ref());
        assert_eq!(why(result), format!("{path} was changed since the plan was made: plan again"));
    }
}

#[test]
fn a_path_must_say_where_it_is() {
    let mut files = files();
    for path in ["x", "", "/", "/tmp/", "/tmp/../x", "/./x", "/tmp/.", "~ada", "~ada/", "~ada/../x", "/a\0b"] {
        assert!(files.write(path, b"", &Ownership::default()).is_err(), "{path:?}");
        assert!(files.remove(path, Removable::File).is_err(), "{path:?}");
    }
    assert_eq!(why(files.write("~eve/x", b"", &Ownership::default())), "there is no user eve with a home directory");
    assert!(why(files.write("~-x/x", b"", &Ownership::default())).contains("invalid user"));
    let path = format!("~ada/armilla-files-{}", std::process::id());
    files.write(&path, b"in her home", &Ownership::default()).expect("it is written");
    let place = std::env::temp_dir().join(&path[5..]);
    assert_eq!(fs::read(&place).expect("it is there"), b"in her home");
    files.remove(&path, Removable::File).expect("it is removed");
    assert!(!place.exists());
}

#[test]
fn ownership_is_given_kept_and_checked() {
    for mut files in both() {
        let room = Room::new();
        let (file, fresh, directory) = (room.path("file"), room.path("fresh"), room.path("a/b/c"));
        fs::write(&file, "old").expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o4711)).expect("a mode");
        files.write(&file, b"new", &Ownership::default()).expect("it is written");
        files.write(&fresh, b"new", &Ownership::default()).expect("it is written");
        assert_eq!((mode(&file), mode(&fresh)), (0o4711, 0o644));
        files.make_directory(&directory, &owned(None, None, Some(0o2750))).expect("it is made");
        assert_eq!((mode(&directory), mode(&room.path("a"))), (0o2750, 0o755));
        files.make_directory(&directory, &Ownership::default()).expect("it is there");
        assert_eq!(mode(&directory), 0o2750, "what is not asked for stays");
        files.make_directory(&directory, &owned(None, None, Some(0o700))).expect("it is changed");
        files.set_ownership(&file, &owned(None, None, Some(0o600))).expect("it is changed");
        assert_eq!((mode(&directory), mode(&file)), (0o700, 0o600));
        assert!(why(files.set_ownership(&file, &owned(Some("no-such-user"), None, None))).contains("no-such-user"));
        assert!(why(files.write(&file, b"", &owned(None, Some("no-such-group"), None))).contains("no-such-group"));
        assert!(why(files.set_ownership(&file, &owned(Some("a b"), None, None))).contains("invalid"));
        assert!(
            why(files.set_ownership(&room.path("none"), &Ownership::default())).starts_with("there is nothing at ")
        );
        assert_eq!(room.names(""), ["a", "file", "fresh"]);
    }
}

#[test]
#[ignore = "needs root: gives files to other users"]
fn files_are_given_to_other_users_and_groups() {
    for mut files in both() {
        let room = Room::new();
        let (file, directory) = (room.path("file"), room.path("directory"));
        fs::write(&file, "old").expect("a file");
        fs::create_dir(&directory).expect("a directory");
        files.set_ownership(&file, &owned(Some("daemon"), Some("bin"), Some(0o600))).expect("it is given");
        files.set_ownership(&directory, &owned(None, Some("bin"), Some(0o700))).expect("it is given");
        assert_eq!((owner(&file), owner(&directory)), ((1, 2), (0, 2)));
        files.write(&file, b"new", &Ownership::default()).expect("it is written");
        assert_eq!((owner(&file), mode(&file)), ((1, 2), 0o600), "it stays whose it was");
        files.set_ownership(&file, &owned(None, None, Some(0o6755))).expect("it is given");
        files.write(&file, b"new", &owned(Some("root"), Some("root"), None)).expect("it is written");
        assert_eq!((owner(&file), mode(&file)), ((0, 0), 0o755), "special bits were for another user");
        // What is made in a directory of a group's is the group's, unless somebody says otherwise.
        files.make_directory(&directory, &owned(None, None, Some(0o2750))).expect("it is given");
        let roots = owned(Some("root"), Some("root"), Some(0o640));
        let (inside, below) = (format!("{directory}/inside"), format!("{directory}/below"));
        files.write(&inside, b"new", &roots).expect("it is written");
        files.make_directory(&below, &roots).expect("it is made");
        assert_eq!((owner(&directory), owner(&inside), owner(&below)), ((0, 2), (0, 0), (0, 0)));
        assert_eq!(mode(&below), 0o640);
        // What is new for a user is her group's.
        files.write(&room.path("hers"), b"", &owned(Some("ada"), None, None)).expect("it is written");
        files.make_directory(&room.path("her"), &owned(Some("ada"), None, None)).expect("it is made");
        assert_eq!((owner(&room.path("hers")), owner(&room.path("her"))), ((1001, 1001), (1001, 1001)));
        files.set_ownership(&room.path("hers"), &owned(Some("4711"), None, None)).expect("a number will do");
        assert_eq!(owner(&room.path("hers")), (4711, 1001));
    }
}

#[test]
fn f34_links_are_made_replaced_and_removed_but_never_written_through() {
    for mut files in both() {
        let room = Room::new();
        let (link, target, folder) = (room.path("li nk"), room.path("target"), room.path("folder"));
        fs::write(&target, "safe").expect("a file");
        fs::create_dir(&folder).expect("a directory");
        files.make_link(&link, &folder).expect("it is made");
        files.make_link(&link, "-x\ny").expect("it is replaced");
        assert_eq!(fs::read_link(&link).expect("a link").to_str(), Some("-x\ny"));
        assert!(room.names("folder").is_empty(), "nothing was put into it");
        assert_eq!(why(files.make_link(&target, "x")), format!("{target} is there and no symbolic link"));
        assert!(files.make_link(&folder, "x").is_err() && files.make_link(&link, "").is_err());
        let refused = [
            (&link, Removable::File, "file but a link"),
            (&target, Removable::Link, "link but a file"),
            (&folder, Removable::File, "file but a directory"),
            (&target, Removable::EmptyDirectory, "directory but a file"),
        ];
        for (path, what, said) in refused {
            assert_eq!(why(files.remove(path, what)), format!("{path} is no {said}: not removed"));
        }
        assert!(files.remove(&room.path(""), Removable::EmptyDirectory).is_err(), "a name is missing");
        symlink(&target, room.path("trap")).expect("a link");
        let any = Ownership::default();
        assert!(why(files.write(&room.path("trap"), b"through", &any)).contains("is a symbolic link"));
        assert!(why(files.set_ownership(&room.path("trap"), &any)).contains("is a symbolic link"));
        assert!(why(files.make_directory(&room.path("trap"), &any)).contains("is a symbolic link"));
        assert!(why(files.make_directory(&target, &any)).contains("is there and no directory"));
        assert!(why(files.write(&folder, b"x", &any)).contains("is there and no file"));
        assert!(files.write(&room.path("none/x"), b"x", &any).is_err());
        assert_eq!(fs::read(&target).expect("a file"), b"safe");
        let gone = [
            (link.clone(), Removable::Link),
            (link.clone(), Removable::Link),
            (target, Removable::File),
            (folder, Removable::EmptyDirectory),
            (room.path("none/below"), Removable::File),
            (room.path("trap"), Removable::Link),
        ];
        for (path, what) in gone {
            files.remove(&path, what).expect("it is gone");
        }
        assert!(room.names("").is_empty(), "{:?}", room.names(""));
    }
}

#[test]
#[ignore = "needs root: works as another user"]
fn what_a_user_cannot_look_into_is_not_taken_for_gone() {
    let room = Room::new();
    room.make("closed/below", 0o755);
    fs::write(room.path("closed/below/file"), "").expect("a file");
    fs::set_permissions(room.path("closed"), fs::Permissions::from_mode(0o700)).expect("a mode");
    as_user(1001, || {
        let mut files = files();
        let (closed, below) = (room.path("closed"), room.path("closed/below/file"));
        let denied = format!("permission denied: cannot look into {closed}");
        assert_eq!(why(files.remove(&below, Removable::File)), denied);
        assert_eq!(why(files.unchanged(&below, None)), denied);
        assert_eq!(
            why(files.write(&room.path("x"), b"", &Ownership::default())),
            format!("permission denied: cannot change {}", room.path("x"))
        );
    });
    assert!(Path::new(&room.path("closed/below/file")).exists());
}

#[test]
#[ignore = "needs root: works as another user"]
fn a_user_changes_what_is_hers() {
    let room = Room::new();
    room.make("hers", 0o755);
    chown(room.path("hers"), Some(1001), Some(1001)).expect("an owner");
    fs::write(room.path("hers/roots"), "x").expect("a file");
    as_user(1001, || {
        for mut files in both() {
            let file = room.path("hers/file");
            files.write(&file, b"1", &owned(None, None, Some(0o400))).expect("it is written");
            files.write(&file, b"2", &owned(Some("ada"), Some("ada"), None)).expect("it is written");
            assert_eq!((owner(&file), mode(&file)), ((1001, 1001), 0o400));
            files.make_directory(&room.path("hers/a/b"), &owned(Some("ada"), None, Some(0o750))).expect("it is made");
            assert!(files.write(&file, b"3", &owned(Some("root"), None, None)).is_err(), "she cannot give it away");
            assert!(files.write(&room.path("hers/roots"), b"3", &Ownership::default()).is_err());
            files.flush().expect("it is flushed");
            assert_eq!(fs::read(&file).expect("a file"), b"2");
        }
        assert_eq!(room.names("hers"), ["a", "file", "roots"]);
    });
}

#[test]
#[ignore = "needs root: mounts a file system"]
fn f16_a_full_file_system_leaves_the_old_file_and_no_other() {
    for mut files in both() {
        let room = Room::new();
        room.make("full", 0o755);
        let at = room.path("full");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k,mode=0755", "none", &at]).status();
        assert!(mounted.is_ok_and(|status| status.success()), "mounting a file system needs root");
        let file = room.path("full/file");
        fs::write(&file, "old").expect("a file");
        let result = files.write(&file, &vec![b'x'; 100_000], &Ownership::default());
        let busy = files.remove(&at, Removable::EmptyDirectory);
        let found = (fs::read(&file).expect("a file"), room.names("full"));
        drop(files);
        let _ = Command::new("umount").arg(&at).status();
        let told = why(result);
        assert!(told.contains("of 100000 bytes could be written") && told.ends_with("is the disk full?"), "{told}");
        assert_eq!(found, (b"old".to_vec(), vec!["file".to_owned()]));
        assert!(why(busy).contains("is a mount point"));
    }
}

#[test]
#[ignore = "needs root: sets the flag of chattr +i, mounts"]
fn what_cannot_be_changed_is_told_by_name() {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let room = Room::new();
    let (file, inside) = (room.path("file"), room.path("directory/file"));
    room.make("directory", 0o755);
    fs::write(&file, "old").expect("a file");
    fs::write(&inside, "old").expect("a file");
    let mark = |path: &str, on: bool| {
        let open = fs::File::open(path).expect("it opens");
        let flags = ioctl_getflags(&open).expect("flags");
        ioctl_setflags(&open, if on { flags | IFlags::IMMUTABLE } else { flags - IFlags::IMMUTABLE })
            .expect("flags are set");
    };
    let (any, edit) = (Ownership::default(), hosts("a"));
    for mut files in both() {
        mark(&file, true);
        mark(&room.path("directory"), true);
        let told = [
            why(files.write(&file, b"new", &any)),
            why(files.set_ownership(&file, &owned(None, None, Some(0o600)))),
            why(files.remove(&file, Removable::File)),
            why(files.edit(&file, &edit, None)),
            why(files.write(&inside, b"new", &any)),
            why(files.remove(&inside, Removable::File)),
            why(files.make_directory(&room.path("directory/new"), &any)),
            why(files.make_link(&room.path("directory/link"), "x")),
        ];
        mark(&file, false);
        mark(&room.path("directory"), false);
        for (at, told) in told.iter().enumerate() {
            let what = if at < 4 { &file } else { &room.path("directory") };
            assert_eq!(told, &format!("{what} is immutable (chattr +i)"), "{at}");
        }
        assert_eq!(
            (room.names(""), room.names("directory")),
            (vec!["directory".into(), "file".into()], vec!["file".into()])
        );
    }
    let mounted = Command::new("mount").args(["--bind", &inside, &file]).status();
    assert!(mounted.is_ok_and(|status| status.success()), "mounting needs root");
    let result = files().write(&file, b"new", &any);
    let _ = Command::new("umount").arg(&file).status();
    assert_eq!(why(result), format!("{file} is a mount point, or in use by the system"));
}

/// An access list in the form of `system.posix_acl_access`: the user 1001 may read, the group nothing, the mask allows it.
fn access_list() -> Vec<u8> {
    let entries = [(1, 6, u32::MAX), (2, 4, 1001), (4, 0, u32::MAX), (0x10, 4, u32::MAX), (0x20, 0, u32::MAX)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        list.extend([u16::to_le_bytes(tag), u16::to_le_bytes(bits)].concat());
        list.extend(u32::to_le_bytes(id));
    }
    list
}

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

fn attribute(path: &str, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 4096];
    match rustix::fs::getxattr(path, name, value.as_mut_slice()) {
        Ok(size) => Some(value[..size].to_vec()),
        Err(rustix::io::Errno::NODATA) => None,
        Err(errno) => panic!("{path} {name}: {errno}"),
    }
}

fn set_attribute(path: &str, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).expect("a file system with attributes");
}

/// Adds a line of `hosts(5)`.
pub(super) fn hosts(name: &str) -> Edit {
    Edit::Entry(line(name), State::Present)
}

fn line(name: &str) -> Line {
    let address = "10.0.0.1".parse().expect("an address");
    Line::HostNames(crate::edit::HostNames { address, names: vec![name.to_owned()] })
}

#[test]
fn access_lists_and_attributes_survive_a_new_content_and_an_edit() {
    for mut files in both() {
        let room = Room::new();
        let file = room.path("file");
        fs::write(&file, "127.0.0.1 localhost\n").expect("a file");
        set_attribute(&file, ACCESS, &access_list());
        set_attribute(&file, "user.note", b"by hand");
        assert_eq!(mode(&file), 0o640, "the mask looks like the rights of the group");
        assert_eq!(files.edit(&file, &hosts("a"), None), Ok(Outcome::Done));
        assert!(fs::read_to_string(&file).expect("a file").contains("10.0.0.1"));
        assert_eq!(
            (attribute(&file, ACCESS), attribute(&file, "user.note")),
            (Some(access_list()), Some(b"by hand".to_vec()))
        );
        files.write(&file, b"new", &Ownership::default()).expect("it is written");
        assert_eq!((attribute(&file, ACCESS), mode(&file)), (Some(access_list()), 0o640));
        // A mode that is asked for is that of the list: the group still may nothing.
        files.write(&file, b"new", &owned(None, None, Some(0o660))).expect("it is written");
        let list = attribute(&file, ACCESS).expect("a list");
        assert_eq!((list[..28].to_vec(), list[30], mode(&file)), (access_list()[..28].to_vec(), 6, 0o660));
    }
}

#[test]
fn a_file_does_not_get_the_access_list_of_its_directory_when_it_is_replaced() {
    for mut files in both() {
        let room = Room::new();
        room.make("listed", 0o755);
        let (before, fresh) = (room.path("listed/before"), room.path("listed/fresh"));
        fs::write(&before, "old").expect("a file");
        set_attribute(&room.path("listed"), DEFAULT, &access_list());
        files.write(&before, b"new", &Ownership::default()).expect("it is written");
        assert_eq!((attribute(&before, ACCESS), mode(&before)), (None, 0o644));
        files.write(&fresh, b"new", &owned(None, None, Some(0o600))).expect("it is written");
        assert_eq!((attribute(&fresh, ACCESS).is_some(), mode(&fresh)), (true, 0o600), "the mask lets nobody read");
    }
}

/// `cap_net_bind_service=ep`, as in `capabilities(7)`: revision 2 with the effective bit.
const BIND: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
#[ignore = "needs root: sets capabilities"]
fn capabilities_are_kept_where_nobody_else_can_put_a_file() {
    for mut files in both() {
        let room = Room::new();
        room.make("hers", 0o755);
        for name in ["file", "hers/file"] {
            fs::write(room.path(name), "old").expect("a file");
            set_attribute(&room.path(name), kept::CAPABILITY, &BIND);
        }
        chown(room.path("hers"), Some(1001), Some(1001)).expect("an owner");
        let (file, hers) = (room.path("file"), room.path("hers/file"));
        files.write(&file, b"new", &owned(None, None, Some(0o755))).expect("it is written");
        assert_eq!(attribute(&file, kept::CAPABILITY).as_deref(), Some(&BIND[..]));
        files.set_ownership(&file, &owned(Some("ada"), None, None)).expect("it is given");
        assert_eq!(attribute(&file, kept::CAPABILITY).as_deref(), Some(&BIND[..]));
        for result in [
            files.write(&hers, b"new", &owned(Some("ada"), None, None)),
            files.set_ownership(&hers, &owned(Some("ada"), None, None)),
        ] {
            assert!(why(result).contains("has capabilities, and others can change its directory"));
        }
        assert_eq!(fs::read(&hers).expect("a file"), b"old");
    }
}

#[test]
fn a_file_with_two_names_stays_one_file() {
    for mut files in both() {
        let room = Room::new();
        let (file, other) = (room.path("file"), room.path("other"));
        fs::write(&file, "127.0.0.1 localhost\n").expect("a file");
        fs::hard_link(&file, &other).expect("a second name");
        for result in
            [files.write(&file, b"new", &Ownership::default()), files.edit(&file, &hosts("a"), None).map(drop)]
        {
            assert!(why(result).contains("has 2 names (hard links)"));
        }
        files.set_ownership(&file, &owned(None, None, Some(0o600))).expect("it is one file");
        assert_eq!((mode(&other), files.edit(&file, &hosts("b"), None).is_ok()), (0o600, false));
        // In what armilla unpacked, the other name is that of the copy for a rollback.
        room.make("tree/below", 0o755);
        fs::write(room.path(&format!("tree/{}", crate::step::MARKER)), "").expect("a marker");
        fs::hard_link(&file, room.path("tree/below/file")).expect("a third name");
        files.write(&room.path("tree/below/file"), b"new", &Ownership::default()).expect("it is written");
        assert_eq!(fs::read(&other).expect("a file"), b"127.0.0.1 localhost\n");
    }
}

#[test]
#[ignore = "needs root: gives files to other users"]
fn what_is_roots_alone_is_not_given_to_those_who_can_rename_it() {
    let (room, mut files) = (Room::new(), files());
    room.make("hers/full", 0o700);
    room.make("hers/empty", 0o700);
    room.make("sticky", 0o1777);
    for name in ["hers/alone", "hers/full/file", "linked"] {
        fs::write(room.path(name), "127.0.0.1 localhost\n").expect("a file");
        fs::set_permissions(room.path(name), fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    for name in ["hers/nothing", "hers/known"] {
        fs::write(room.path(name), if name == "hers/known" { "x" } else { "" }).expect("a file");
    }
    fs::set_permissions(room.path("hers/nothing"), fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::hard_link(room.path("linked"), room.path("hers/linked")).expect("a second name");
    let (null, device) = (rustix::fs::makedev(1, 3), rustix::fs::FileType::CharacterDevice);
    rustix::fs::mknodat(rustix::fs::CWD, room.at("hers/device"), device, 0o600.into(), null).expect("needs root");
    chown(room.path("hers"), Some(1001), Some(1001)).expect("an owner");
    let ada = |mode| owned(Some("ada"), Some("ada"), mode);
    let refused = [
        ("alone", ada(None), "can be read by user 0 alone, and others can change its directory"),
        ("alone", owned(None, None, Some(0o644)), "can be read by user 0 alone"),
        ("full", ada(None), "can be read by user 0 alone"),
        ("linked", ada(None), "has 2 names (hard links) and others can change its directory"),
        ("device", ada(None), "is a device in a directory that others can change"),
    ];
    for (name, ownership, said) in refused {
        let path = room.path(&format!("hers/{name}"));
        let told = why(files.set_ownership(&path, &ownership));
        assert!(told.starts_with(&format!("{path} {said}")), "{told}");
        assert_eq!(owner(&path), (0, 0));
        if name == "full" {
            assert!(why(files.make_directory(&path, &ownership)).contains(said));
        }
    }
    let linked = room.path("hers/linked");
    assert!(why(files.edit(&linked, &hosts("a"), None)).contains("has 2 names (hard links) and others"));
    assert!(files.unchanged(&linked, Some(&Digest::of(b"127.0.0.1 localhost\n"))).is_err(), "it is not read");
    // Nobody learns anything by these.
    for name in ["nothing", "known", "empty"] {
        files.set_ownership(&room.path(&format!("hers/{name}")), &ada(None)).expect("it is given");
    }
    files.set_ownership(&room.path("hers/alone"), &owned(None, None, Some(0o400))).expect("it is still root's alone");
    files.set_ownership(&room.path("linked"), &ada(None)).expect("here nobody else gives names");
    // What somebody else filled does not become root's with all that is in it.
    room.make("sticky/bobs", 0o755);
    fs::write(room.path("sticky/bobs/file"), "").expect("a file");
    chown(room.path("sticky/bobs"), Some(1002), Some(1002)).expect("an owner");
    let told = why(files.make_directory(&room.path("sticky/bobs"), &owned(Some("root"), None, None)));
    assert!(told.contains("belongs to user 1002 and is not empty"), "{told}");
    files.make_directory(&room.path("sticky/bobs"), &owned(None, None, Some(0o700))).expect("it stays his");
}

#[test]
fn an_edit_changes_what_is_there_now() {
    for mut files in both() {
        let room = Room::new();
        let (file, none) = (room.path("file"), room.path("none"));
        fs::write(&file, "# ours\n").expect("a file");
        assert_eq!(files.edit(&file, &hosts("a"), None), Ok(Outcome::Done));
        let after = fs::read_to_string(&file).expect("a file");
        assert!(after.starts_with("# ours\n") && after.contains("10.0.0.1"), "{after:?}");
        let inode = fs::metadata(&file).expect("a file").ino();
        assert_eq!(files.edit(&file, &hosts("a"), None), Ok(Outcome::NotNeeded));
        assert_eq!(fs::metadata(&file).expect("a file").ino(), inode, "nothing is written");
        assert!(
            why(files.edit(&none, &hosts("a"), None))
                .contains("the file still does not exist: no earlier step created it")
        );
        assert!(why(files.edit(&room.path("no/dir"), &hosts("a"), None)).contains("the file still does not exist"));
        let absent = Edit::Entry(line("a"), State::Absent);
        assert_eq!(files.edit(&none, &absent, None), Ok(Outcome::NotNeeded));
        let create = owned(None, None, Some(0o600));
        assert!(
            why(files.edit(&room.path("no/dir"), &hosts("a"), Some(&create))).starts_with("there is no directory ")
        );
        assert_eq!(files.edit(&none, &hosts("a"), Some(&create)), Ok(Outcome::Done));
        assert_eq!(mode(&none), 0o600);
        assert_eq!(files.edit(&file, &absent, Some(&create)), Ok(Outcome::Done));
        assert_eq!(mode(&file), 0o644, "only a new file gets it");
        symlink(&file, room.path("link")).expect("a link");
        rustix::fs::mkfifoat(rustix::fs::CWD, room.path("pipe"), rustix::fs::Mode::from_raw_mode(0o600))
            .expect("a pipe");
        for name in ["link", "pipe", ""] {
            let path = if name.is_empty() { room.path("directory") } else { room.path(name) };
            room.make("directory", 0o755);
            let told = why(files.edit(&path, &hosts("a"), Some(&create)));
            assert_eq!(told, format!("{path}: it is not a regular file, and armilla does not write through links"));
        }
        fs::write(&file, vec![b'\n'; (256 << 10) + 1]).expect("a file");
        assert_eq!(why(files.edit(&file, &hosts("a"), None)), format!("{file}: it is larger than 256 KiB"));
    }
}

#[test]
fn what_another_program_wrote_meanwhile_is_not_written_over() {
    for mut files in both() {
        let room = Room::new();
        let (file, fresh) = (room.path("file"), room.path("fresh"));
        fs::write(&file, "old").expect("a file");
        let begin = |files: &mut Files<'_>, path: &str| {
            let mut draft = files.draft(path, &Ownership::default()).expect("a draft");
            draft.fill(b"ours").expect("it is filled");
            draft
        };
        let (exact, replacing, new) =
            (begin(&mut files, &file).exactly(), begin(&mut files, &file), begin(&mut files, &fresh));
        assert!(exact.is_current() && replacing.is_current() && new.is_current());
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(&file, "hers").expect("a file");
        assert!(!exact.is_current() && replacing.is_current());
        fs::write(room.path("moved"), "new").expect("a file");
        fs::rename(room.path("moved"), &file).expect("it is replaced");
        fs::write(&fresh, "hers").expect("a file");
        for draft in [exact, replacing, new] {
            assert!(!draft.is_current());
            assert!(why(files.place(draft)).ends_with("was changed since the plan was made: plan again"));
        }
        assert_eq!(
            (fs::read(&file).expect("a file"), fs::read(&fresh).expect("a file")),
            (b"new".to_vec(), b"hers".to_vec())
        );
        assert_eq!(room.names(""), ["file", "fresh"]);
    }
}

#[test]
fn drafts_are_flushed_together_and_named_one_by_one() {
    let room = Room::new();
    room.make("a", 0o755);
    room.make("b", 0o755);
    for mut files in both() {
        let names: Vec<String> = (0..40).map(|at| room.path(&format!("{}/{at}", ["a", "b"][at % 2]))).collect();
        let mut drafts: Vec<Draft> = names
            .iter()
            .map(|name| {
                let mut draft = files.draft(name, &owned(None, None, Some(0o640))).expect("a draft");
                draft.fill(name.as_bytes()).expect("there is room");
                draft
            })
            .collect();
        Draft::flush_all(&mut drafts.iter_mut().collect::<Vec<_>>()).expect("they are flushed");
        assert!(names.iter().all(|name| !Path::new(name).exists()), "none has its name yet");
        let rest = drafts.split_off(30);
        for draft in drafts {
            files.place(draft).expect("it has its name");
        }
        assert_eq!(rest.len(), 10);
        drop(rest);
        assert_eq!(room.names("a").len() + room.names("b").len(), 30, "what is dropped leaves nothing");
        assert_eq!(files.flush.len(), 2);
        files.flush().expect("they are flushed");
        for name in &names[..30] {
            assert_eq!(fs::read(name).expect("it is there"), name.as_bytes());
            fs::remove_file(name).expect("it goes");
        }
    }
}

#[test]
fn a_draft_that_does_not_fit_any_more_is_written_again() {
    for mut files in both() {
        let room = Room::new();
        let [twice, gone, late] = ["twice", "gone/file", "late"].map(|name| room.path(name));
        room.make("gone", 0o755);
        let any = Ownership::default();
        let mode = owned(None, None, Some(0o600));
        let steps: [(&str, &[u8], &Ownership); 5] = [
            (&twice, b"1", &any),
            (&twice, b"2", &mode),
            (&gone, b"3", &any),
            (&room.path("none/x"), b"4", &any),
            (&late, b"5", &any),
        ];
        let drafts = files.drafts(&steps);
        assert_eq!(drafts.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, true, false, true]);
        fs::rename(room.path("gone"), room.path("moved")).expect("it is moved");
        let mut results = drafts
            .into_iter()
            .zip(steps)
            .map(|(draft, (path, content, ownership))| files.write_drafted(draft, (path, content), ownership));
        assert_eq!(results.by_ref().take(2).collect::<Vec<_>>(), [Ok(()), Ok(())]);
        assert!(results.by_ref().take(2).all(|result| result.is_err()), "neither directory is there");
        assert_eq!(results.next(), Some(Ok(())));
        drop(results);
        assert_eq!((fs::read(&twice).expect("a file"), self::mode(&twice)), (b"2".to_vec(), 0o600));
        assert_eq!(room.names(""), ["late", "moved", "twice"]);
        assert!(room.names("moved").is_empty(), "the path says where it goes");
    }
}

#[test]
fn what_killed_orders_left_goes_where_nobody_else_is_at_work() {
    let room = Room::new();
    let left = [".armilla-00000000000000000000000000000000-1", ".armilla-ffffffffffffffffffffffffffffffff-22"];
    let others = [".armilla-new-x", ".armilla-0-1", ".armilla-00000000000000000000000000000000", "x"];
    let leave = || {
        symlink("x", room.at(left[1])).expect("a link");
        for name in others.iter().chain(&left[..1]) {
            fs::write(room.at(name), "half").expect("a file");
        }
    };
    leave();
    files().write(&room.path("x"), b"", &Ownership::default()).expect("it is written");
    assert_eq!(room.names("").len(), 6);
    let mut files = Files::new(&Users, Company::Alone).expect("random numbers");
    let mut draft = files.draft(&room.path("x"), &Ownership::default()).expect("a draft");
    assert_eq!(room.names(""), [others[1], others[2], others[0], "x"]);
    draft.fill(b"").expect("it is filled");
    drop(draft);
    room.make(left[0], 0o755);
    sweep(&Directory::open(&room.path(""), Missing::Refuse).expect("a directory"), "");
    assert!(room.at(left[0]).is_dir(), "a directory is none of ours");
}
