//! What an order leaves behind that was killed, or whose host lost its power, and its removal.
//!
//! Only while the lock of all orders is held, so that none of them is at work.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::Keep;
use super::folder::{Folder, kind};
use super::walk::{Missing, enter};

/// Removes it. What cannot be removed stays for the next one.
pub(super) fn sweep(keep: Keep<'_>, all: &Folder) {
    for name in all.folders() {
        let Ok(Some(folder)) = all.child(&name, Missing::Leave) else { continue };
        for half in [".new-ledger", ".new-journal"] {
            if folder.has_file(half) {
                let _ = folder.remove(half);
            }
        }
        remove_drafts(keep, &folder);
    }
    let scratch = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let boot = (keep.uptime)().map(|uptime| uptime.boot).unwrap_or_default();
    for parent in [Path::new("/run"), Path::new("/var/tmp"), &scratch] {
        remove_abandoned(parent, &boot, keep.place.uid());
    }
}

/// Removes the drafts from the directories that the list `drafts` of an environment names, one a line, and the list.
pub(super) fn remove_drafts(keep: Keep<'_>, folder: &Folder) {
    if !folder.has_file("drafts") {
        return;
    }
    let list = folder.read("drafts", 16 << 20).ok().flatten().unwrap_or_default();
    for line in String::from_utf8_lossy(&list).lines() {
        let Some(path) = keep.located(line) else { continue };
        if let Ok(directory) = enter(&path, Missing::Leave, keep.place.uid()) {
            remove_drafts_in(&Folder::new(directory, path), keep.place.uid());
        }
    }
    let _ = folder.remove("drafts");
}

/// Removes the drafts in a directory: `.armilla-`, 32 characters, and more after a hyphen; links, or files of our own.
fn remove_drafts_in(directory: &Folder, uid: u32) {
    for name in directory.names().unwrap_or_default() {
        let bytes = name.as_encoded_bytes();
        let is_draft = bytes.strip_prefix(b".armilla-").is_some_and(|rest| rest.get(32) == Some(&b'-'));
        let Ok(Some(stat)) = directory.look(name.as_os_str()) else { continue };
        let ours = match kind(&stat) {
            FileType::Symlink => true,
            FileType::RegularFile => stat.st_uid == uid,
            _ => false,
        };
        if is_draft && ours {
            let _ = directory.remove(name.as_os_str());
        }
    }
}

/// Removes the temporary directories of processes that have ended.
fn remove_abandoned(parent: &Path, boot: &str, uid: u32) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(maker) = name.to_str().and_then(Maker::parse) else { continue };
        let ours = fs::symlink_metadata(entry.path()).is_ok_and(|found| found.is_dir() && found.uid() == uid);
        if ours && maker.has_ended(boot) {
            // Only its owner can have put another thing in its place, and that is us.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Who made a temporary directory, by its name `armilla.BOOT.PROCESS.BEGINNING.RANDOM`: the first part of the boot id, the
/// number of the process, and when it began, in the kernel's ticks. No two processes of a host ever have all three.
struct Maker<'a> {
    boot: &'a str,
    process: u64,
    began: u64,
}

impl<'a> Maker<'a> {
    fn parse(name: &'a str) -> Option<Self> {
        let mut parts = name.strip_prefix("armilla.")?.split('.');
        let boot = parts.next()?;
        let (process, began) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let random = parts.next()?;
        (!random.is_empty() && parts.next().is_none()).then_some(Self { boot, process, began })
    }

    fn has_ended(&self, boot: &str) -> bool {
        if boot.is_empty() || boot.split('-').next() != Some(self.boot) {
            return !boot.is_empty();
        }
        beginning(self.process) != Some(self.began)
    }
}

/// When a process began, in the kernel's ticks; none if there is none, or it has ended and nobody has asked how.
pub(super) fn beginning(process: u64) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Its name, in parentheses, may hold anything.
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    let state = words.next()?;
    if matches!(state, "Z" | "X") { None } else { words.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_another_boot_goes_and_one_of_a_living_process_stays() {
        let room = tempfile::tempdir().expect("a directory");
        let stat = fs::read_to_string("/proc/self/stat").expect("a process");
        let ticks = stat.rsplit_once(')').expect("a name").1.split_whitespace().nth(19).expect("its beginning");
        let us = std::process::id();
        let names = [
            (format!("armilla.b007.{us}.{ticks}.x"), true),
            (format!("armilla.ea51.{us}.{ticks}.x"), false),
            (format!("armilla.b007.{us}.1.x"), false),
            (format!("armilla.b007.x.{us}.of-another"), true),
            (format!("armilla.ea51.{us}.{ticks}"), true),
            (format!("armilla.ea51.{us}.{ticks}.x.y"), true),
            ("armilla.of.some.other.program".to_owned(), true),
        ];
        for (name, _) in &names {
            fs::create_dir_all(room.path().join(name).join("below")).expect("a directory");
        }
        let file = room.path().join(format!("armilla.ea51.{us}.{ticks}.file"));
        fs::write(&file, "").expect("a file");
        remove_abandoned(room.path(), "b007-1", rustix::process::geteuid().as_raw());
        for (name, stays) in &names {
            assert_eq!(room.path().join(name).exists(), *stays, "{name}");
        }
        assert!(file.exists());
        remove_abandoned(room.path(), "", rustix::process::geteuid().as_raw());
        assert!(room.path().join(&names[0].0).exists(), "without a boot id nothing is known");
    }
}
