//! A user who owns the directory that is unpacked into, and wants more than that.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use super::archives::{file, tar};
use super::tests::{Nobody, nowhere, unpacking};
use super::*;
use crate::host::directory::tests::{Room, as_user};
use crate::host::program::tests::Stage;
use crate::step::Occupied;

const EVE: u32 = 1001;

/// Ends the attack, also where the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How often the attacker gets a chance.
const TRIES: usize = 200;

/// Her directory `eve`, and the secrets of root in `root`.
fn stage() -> Room {
    let room = Room::new();
    room.make("eve", 0o755);
    std::os::unix::fs::chown(room.at("eve"), Some(EVE), Some(EVE)).expect("it is given to her");
    room.make("root/deep", 0o700);
    room.make("root", 0o700);
    fs::write(room.at("root/deep/secret"), "root only").expect("a secret");
    room
}

fn untouched(room: &Room) {
    let data = |name: &str| fs::metadata(room.at(name)).expect("it is there");
    assert_eq!((data("root").uid(), data("root").permissions().mode() & 0o7777), (0, 0o700));
    assert_eq!((data("root/deep/secret").uid(), data("root/deep/secret").nlink()), (0, 1));
    assert_eq!(room.names("root"), ["deep"]);
    assert_eq!(fs::read_to_string(room.at("root/deep/secret")).expect("it is there"), "root only");
}

fn order(room: &Room) -> Unpacking {
    let one = unpacking(room.path("eve/tree"), tar(&[file("a/x", "1"), file("b", "2")]));
    Unpacking { owner: EVE.to_string(), group: EVE.to_string(), occupied: Occupied::Replace, ..one }
}

#[test]
#[ignore = "needs root: it becomes another user"]
fn what_she_planted_is_neither_followed_nor_removed_for_her() {
    let programs = Stage::new();
    for name in [".armilla-new-tree", ".armilla-old-tree", "tree"] {
        let room = stage();
        as_user(EVE, || symlink(room.at("root"), room.at("eve").join(name)).expect("a link"));
        let done = unpack(&programs.programs(), &Nobody, &order(&room), &mut nowhere);
        assert_eq!(done.is_ok(), name != "tree", "{name}: {done:?}");
        untouched(&room);
        // What belongs to root and she could move, but not remove.
        let room = stage();
        fs::rename(room.at("root"), room.at("eve").join(name)).expect("it is moved");
        let done = unpack(&programs.programs(), &Nobody, &order(&room), &mut nowhere);
        assert!(done.is_err() && remove(&order(&room).path).is_err() == (name == "tree"), "{name}: {done:?}");
        assert!(room.at("eve").join(name).join("deep/secret").exists(), "{name}");
    }
}

#[test]
#[ignore = "needs root: it becomes another user"]
fn whatever_she_swaps_while_it_is_unpacked_nothing_of_root_changes() {
    let (room, programs, over) = (stage(), Stage::new(), AtomicBool::new(false));
    let (mut done, mut failed) = (0, 0);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        scope.spawn(|| as_user(EVE, || swap(&room, &over)));
        for _ in 0..TRIES {
            match unpack(&programs.programs(), &Nobody, &order(&room), &mut nowhere) {
                Ok(()) => done += 1,
                Err(_) => failed += 1,
            }
            let _ = remove(&order(&room).path);
            untouched(&room);
        }
    });
    assert_eq!(done + failed, TRIES);
    untouched(&room);
}

/// Puts links and directories of hers where those of the order are.
fn swap(room: &Room, over: &AtomicBool) {
    let eve = room.at("eve");
    for round in 0_usize.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let name = [".armilla-new-tree", ".armilla-old-tree", "tree"][round % 3];
        let _ = fs::rename(eve.join(name), eve.join(format!("away-{}", round % 50)));
        match round % 4 {
            0 => drop(symlink(room.at("root"), eve.join(name))),
            1 => drop(fs::create_dir(eve.join(name))),
            2 => drop(fs::rename(eve.join(format!("away-{}", (round + 7) % 50)), eve.join(name))),
            _ => {}
        }
    }
}
