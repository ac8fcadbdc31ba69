//! A user who owns the directory that root works in, and puts links, pipes, devices and other files of root in the place of
//! everything, as fast as she can. Nothing of root's may be read by her, changed or given to her.
//!
//! The old way, which looks at a path and then uses it, is tried as well: if it withstands, this attacker has no teeth.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, inotify, linkat, mkdirat, mkfifoat, mknodat, openat, renameat,
    renameat_with, symlinkat, unlinkat,
};

use super::tests::{files, hosts, owned};
use super::*;
use crate::host::directory::tests::{Room, as_user};
use crate::step::{Outcome, Removable};

/// Her number.
const ADA: u32 = 1001;

/// So often root works there at least, and until she could not hinder some of it.
const TRIES: usize = 200;
const DONE: usize = 5;

/// What only root may read.
const SECRET: &str = "# the secret of root\n";

/// What root writes, for root alone.
const FRESH: &str = "# a new secret of root\n";

/// The name of an unfinished file, where the old way is so kind to tell it beforehand.
const SPARE: &str = ".armilla-x-1";

/// Somewhere to be: `root` is root's alone, and hers is `home` with the directory `work`.
struct Scene {
    room: Room,
    stop: AtomicBool,
    /// What she read that was for root alone.
    loot: Mutex<Vec<String>>,
    /// How often she changed what a name stands for.
    swaps: AtomicUsize,
}

impl Scene {
    fn new() -> Self {
        let room = Room::new();
        room.make("root/directory", 0o755);
        room.make("home/work", 0o755);
        let device = rustix::fs::makedev(1, 3);
        mknodat(CWD, room.path("root/device"), FileType::CharacterDevice, Mode::from_raw_mode(0o600), device)
            .expect("root");
        for name in ["root/secret", "root/directory/inside", "root/linked"] {
            private(&room.path(name));
        }
        for name in ["home", "home/work"] {
            chown(room.path(name), Some(ADA), Some(ADA)).expect("needs root");
        }
        let scene = Self { room, stop: AtomicBool::new(false), loot: Mutex::default(), swaps: AtomicUsize::new(0) };
        scene.restore();
        scene
    }

    /// What of root's is in her directory: a file with a second name, as she can give it where the kernel does not protect hard
    /// links, one that is root's alone, and a directory. She can rename them, which is her right.
    fn restore(&self) {
        let work = self.work();
        for name in ["linked", "alone", "inner"] {
            let _ = unlinkat(&work, name, AtFlags::empty());
        }
        let _ = linkat(CWD, self.room.path("root/linked"), &work, "linked", AtFlags::empty());
        if let Ok(open) =
            openat(&work, "alone", OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY, Mode::from_raw_mode(0o600))
        {
            File::from(open).write_all(SECRET.as_bytes()).expect("it is written");
        }
        if mkdirat(&work, "inner", Mode::from_raw_mode(0o700)).is_ok()
            && let Ok(open) = openat(
                &work,
                "inner/file",
                OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW,
                Mode::from_raw_mode(0o600),
            )
        {
            let _ = File::from(open).write_all(SECRET.as_bytes());
        }
    }

    fn path(&self, name: &str) -> String {
        self.room.path(&format!("home/work/{name}"))
    }

    /// Her directory, wherever it is now.
    fn work(&self) -> File {
        loop {
            for name in ["home/work", "home/away"] {
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                if let Ok(open) = openat(CWD, self.room.path(name), flags, Mode::empty()) {
                    return File::from(open);
                }
            }
        }
    }

    /// What of root's is not as it was.
    fn damage(&self) -> Vec<String> {
        let mut damage = self.loot.lock().expect("no thread ended badly").clone();
        let mut is = |name: &str, mode: u32, content: Option<&str>| {
            let path = self.room.path(&format!("root/{name}"));
            let of = fs::symlink_metadata(&path).expect("it is there");
            if (of.uid(), of.gid(), of.mode() & 0o7777) != (0, 0, mode) {
                damage.push(format!("{name} is of {} with the mode {:o}", of.uid(), of.mode()));
            }
            if content.is_some_and(|content| fs::read_to_string(&path).expect("a file") != content) {
                damage.push(format!("{name} has another content"));
            }
        };
        is("device", 0o600, None);
        is("directory", 0o755, None);
        for name in ["secret", "linked", "directory/inside"] {
            is(name, 0o600, Some(SECRET));
        }
        let names = [self.room.names("root"), self.room.names("root/directory")].concat();
        if names != ["device", "directory", "linked", "secret", "inside"] {
            damage.push(format!("there is {names:?}"));
        }
        damage.extend(given(&self.work(), 2));
        damage
    }

    /// Lets her begin, works `tries` times, ends her, and tells how often that was done and refused, and the damage.
    fn attack(&self, tries: usize, work: &(dyn Fn(&Self, usize) -> bool + Sync)) -> (usize, usize, Vec<String>) {
        let (mut done, mut refused, mut damage) = (0, 0, Vec::new());
        let began = Instant::now();
        let swappers: [&(dyn Fn() + Sync); 5] = [
            &|| self.swap_names("target", Kind::File),
            &|| self.swap_names("made", Kind::Directory),
            &|| self.swap_spares(),
            &|| self.swap_directories(),
            &|| self.look_around(),
        ];
        std::thread::scope(|scope| {
            for swapper in swappers {
                scope.spawn(move || as_user(ADA, swapper));
            }
            let root = scope.spawn(move || {
                while done + refused < tries || done < DONE {
                    self.restore();
                    let count = if work(self, done + refused) { &mut done } else { &mut refused };
                    *count += 1;
                    damage = self.damage();
                    if !damage.is_empty() || began.elapsed() > Duration::from_secs(120) {
                        break;
                    }
                }
                (done, refused, damage)
            });
            let ended = root.join();
            self.stop.store(true, Ordering::SeqCst);
            let ended = ended.expect("root's work ends well");
            (ended.0, ended.1, [ended.2, self.loot.lock().expect("no thread ended badly").clone()].concat())
        })
    }

    fn goes_on(&self) -> bool {
        self.swaps.fetch_add(1, Ordering::Relaxed);
        !self.stop.load(Ordering::SeqCst)
    }

    /// Lets a name stand for one thing after the other.
    fn swap_names(&self, name: &str, kind: Kind) {
        let work = self.work();
        let mut turn = 0_u64;
        while self.goes_on() {
            turn += 1;
            let _ = match turn % 9 {
                0 => put_link(&work, name, &self.room.path("root/secret")),
                1 => put_link(&work, name, &self.room.path("root/device")),
                2 => put_link(&work, name, &self.room.path("root/directory")),
                3 => put_link(&work, name, &self.room.path("root/directory/new")),
                4 => put_pipe(&work, name),
                5 => unlinkat(&work, name, AtFlags::empty()).or_else(|_| unlinkat(&work, name, AtFlags::REMOVEDIR)),
                // What is root's in her directory takes its turn.
                6 => lend(&work, name, "linked"),
                7 => lend(&work, name, if kind == Kind::File { "alone" } else { "inner" }),
                _ => kind.make(&work, name),
            };
            // Sometimes root must have the time to do something.
            match turn % 128 {
                0 => std::thread::sleep(Duration::from_millis(20)),
                rest if rest % 4 == 0 => std::thread::sleep(Duration::from_micros(turn % 300)),
                _ => {}
            }
        }
    }

    /// Whatever appears in her directory is something else at once.
    fn swap_spares(&self) {
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).expect("inotify");
        let (work, mut buffer) = (self.work(), [MaybeUninit::uninit(); 4096]);
        let path = format!("/proc/self/fd/{}", work.as_raw_fd());
        inotify::add_watch(&watch, &path, inotify::WatchFlags::ALL_EVENTS).expect("inotify");
        let mut events = inotify::Reader::new(&watch, &mut buffer);
        let baits = ["root/secret", "root/device", "root/directory/new"].map(|name| self.room.path(name));
        while self.goes_on() {
            let at = self.swaps.load(Ordering::Relaxed) % baits.len();
            // Names that can be guessed need not be waited for.
            let _ = put_link_as(&work, SPARE, &baits[at], "bait-2");
            let _ = unlinkat(&work, SPARE, AtFlags::empty());
            let Ok(event) = events.next() else { continue };
            let Some(name) = event.file_name().and_then(|name| name.to_str().ok()) else { continue };
            if name.starts_with(".armilla-") && name != SPARE {
                let _ = put_link_as(&work, name, &baits[at], "bait-2");
            }
        }
    }

    /// Her directory is sometimes a link to one of root's.
    fn swap_directories(&self) {
        let home =
            openat(CWD, self.room.path("home"), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("hers");
        symlinkat(self.room.path("root/directory"), &home, "away").expect("a link");
        while self.goes_on() {
            for _ in 0..2 {
                renameat_with(&home, "work", &home, "away", RenameFlags::EXCHANGE).expect("it is hers");
                std::thread::sleep(Duration::from_micros(30));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Reads whatever she can open, pipes as well.
    fn look_around(&self) {
        let work = self.work();
        while self.goes_on() {
            for name in names(&work) {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let Ok(open) = openat(&work, name.as_slice(), flags, Mode::empty()) else { continue };
                let mut text = Vec::new();
                let _ = File::from(open).take(4096).read_to_end(&mut text);
                let text = String::from_utf8_lossy(&text);
                if text.contains(SECRET) || text.contains(FRESH) {
                    let name = String::from_utf8_lossy(&name);
                    self.loot.lock().expect("no thread ended badly").push(format!("she read {name}: {text}"));
                    self.stop.store(true, Ordering::SeqCst);
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
}

impl Kind {
    fn make(self, work: &File, name: &str) -> rustix::io::Result<()> {
        match self {
            Self::Directory => mkdirat(work, name, Mode::from_raw_mode(0o755)),
            Self::File => {
                openat(work, "plain", OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW, Mode::from_raw_mode(0o644))?;
                renameat(work, "plain", work, name)
            }
        }
    }
}

fn put_link(work: &File, name: &str, target: &str) -> rustix::io::Result<()> {
    let bait = format!("bait-{name}");
    put_link_as(work, name, target, &bait)
}

fn put_link_as(work: &File, name: &str, target: &str, bait: &str) -> rustix::io::Result<()> {
    let _ = unlinkat(work, bait, AtFlags::empty());
    symlinkat(target, work, bait)?;
    if renameat(work, bait, work, name).is_err() {
        unlinkat(work, name, AtFlags::REMOVEDIR)?;
        renameat(work, bait, work, name)?;
    }
    Ok(())
}

fn put_pipe(work: &File, name: &str) -> rustix::io::Result<()> {
    let bait = format!("pipe-{name}");
    let _ = unlinkat(work, bait.as_str(), AtFlags::empty());
    mkfifoat(work, bait.as_str(), Mode::from_raw_mode(0o666))?;
    renameat(work, bait.as_str(), work, name)
}

/// Gives a name to a file of root's for a moment, and takes it back.
fn lend(work: &File, name: &str, roots: &str) -> rustix::io::Result<()> {
    renameat_with(work, name, work, roots, RenameFlags::EXCHANGE)?;
    std::thread::sleep(Duration::from_micros(50));
    renameat_with(work, name, work, roots, RenameFlags::EXCHANGE)
}

fn names(directory: &File) -> Vec<Vec<u8>> {
    let Ok(entries) = rustix::fs::Dir::read_from(directory) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_bytes().to_vec());
    names.filter(|name| !matches!(name.as_slice(), b"." | b"..")).collect()
}

/// Secrets of root's that she may read now, in her directory.
fn given(directory: &File, depth: usize) -> Vec<String> {
    let mut given = Vec::new();
    for name in names(directory) {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(open) = openat(directory, name.as_slice(), flags, Mode::empty()).map(File::from) else { continue };
        let Ok(of) = open.metadata() else { continue };
        let hers = of.uid() == ADA || of.mode() & 0o044 != 0;
        if of.is_dir() && depth > 0 && hers {
            // A directory of root's alone may be shown to her only if there is nothing in it.
            given.extend(
                self::names(&open)
                    .contains(&b"file".to_vec())
                    .then(|| format!("she has {}", String::from_utf8_lossy(&name))),
            );
        } else if of.is_file() && hers {
            let mut text = String::new();
            let _ = open.take(4096).read_to_string(&mut text);
            given.extend((text.contains(SECRET) || text.contains(FRESH)).then(|| format!("she may read {text}")));
        }
    }
    given
}

/// A file of root's alone.
fn private(path: &str) {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).expect("it is new");
    file.write_all(SECRET.as_bytes()).expect("it is written");
}

/// That she does no damage, though she is at work, and that something is done all the same.
fn withstands(what: &str, work: &(dyn Fn(&Scene, usize) -> bool + Sync)) {
    let scene = Scene::new();
    let (done, refused, damage) = scene.attack(TRIES, work);
    let swaps = scene.swaps.load(Ordering::Relaxed);
    eprintln!("{what}: {done} done, {refused} refused, {swaps} swaps");
    assert_eq!(damage, Vec::<String>::new(), "{what}");
    assert!(swaps > TRIES && refused > 0, "{what}: she was not at work");
    assert!(done + refused >= TRIES && done >= DONE, "{what}: she stops everything");
}

/// That the attacker does damage to one who looks first and then acts.
fn bites(what: &str, work: &(dyn Fn(&Scene, usize) -> bool + Sync)) {
    let (mut tries, began) = (0, Instant::now());
    while began.elapsed() < Duration::from_secs(90) {
        let scene = Scene::new();
        let (done, refused, damage) = scene.attack(TRIES, work);
        tries += done + refused;
        if !damage.is_empty() {
            eprintln!("{what}, the old way: after {tries} tries {}", damage.join("; "));
            return;
        }
    }
    panic!("{what}: the attacker does no damage to the old way in {tries} tries");
}

/// The time that a shell needs to start a program.
fn fork() {
    std::thread::sleep(Duration::from_micros(300));
}

/// For root alone in turn with what is given to her.
fn turn(at: usize) -> (&'static str, Ownership) {
    match at % 2 {
        0 => (FRESH, owned(Some("root"), Some("root"), Some(0o600))),
        _ => ("for everybody\n", owned(Some("ada"), Some("ada"), Some(0o666))),
    }
}

#[test]
#[ignore = "needs root: works in a directory of another user, who attacks"]
fn a_new_file_withstands() {
    withstands("new file", &|scene, at| {
        let (content, ownership) = turn(at);
        let mut files = files();
        let _ = files.remove(&scene.path("target"), Removable::File);
        files.write(&scene.path("target"), content.as_bytes(), &ownership).is_ok()
    });
    bites("new file", &|scene, _| old_write(&scene.path("target"), &scene.path(SPARE), b"for everybody\n").is_ok());
}

#[test]
#[ignore = "needs root: works in a directory of another user, who attacks"]
fn a_named_draft_withstands() {
    withstands("new file with a name", &|scene, at| {
        let (content, ownership) = turn(at);
        let mut files = Files { start: Start::Named, ..files() };
        files.write(&scene.path("target"), content.as_bytes(), &ownership).is_ok()
    });
}

#[test]
#[ignore = "needs root: works in a directory of another user, who attacks"]
fn a_changed_file_withstands() {
    withstands("changed file", &|scene, at| {
        let (content, ownership) = turn(at);
        // Half of them leave open who may read it; then it is no secret.
        let ownership = if at % 4 == 3 { Ownership::default() } else { ownership };
        files().write(&scene.path("target"), content.as_bytes(), &ownership).is_ok()
    });
}

#[test]
#[ignore = "needs root: works in a directory of another user, who attacks"]
fn attributes_withstand() {
    let hers = || owned(Some("ada"), Some("ada"), Some(0o666));
    withstands("attributes", &|scene, at| {
        let ownership = if at % 2 == 0 { hers() } else { owned(None, None, Some(0o644)) };
        files().set_ownership(&scene.path("target"), &ownership).is_ok()
    });
    bites("attributes", &|scene, _| old_attributes(&scene.path("target")).is_ok());
}

#[test]
#[ignore = "needs root: works in a directory of another user, who attacks"]
fn an_edit_withstands() {
    withstands("one-line edit", &|scene, at| {
        let edit = hosts(&format!("host-{at}"));
        let create = owned(Some("ada"), Some("ada"), Some(0o644));
        files().edit(&scene.path("target"), &edit, Some(&create)) == Ok(Outcome::Done)
    });
    bites("one-line edit", &|scene, _| old_edit(&scene.path("target"), &scene.path(SPARE)).is_ok());
}

#[test]
#[ignore = "needs root: works in a directory of another user, who attacks"]
fn a_directory_withstands() {
    withstands("directory", &|scene, at| {
        let path = if at % 2 == 0 { scene.path("made") } else { scene.path("made/below") };
        files().make_directory(&path, &owned(Some("ada"), Some("ada"), Some(0o755))).is_ok()
    });
    bites("directory", &|scene, _| old_directory(&scene.path("made")).is_ok());
}

#[test]
#[ignore = "needs root: works in a directory of another user, who attacks"]
fn reading_and_removing_withstand() {
    withstands("reading", &|scene, at| {
        let path = scene.path("target");
        if at % 8 == 7 {
            return files().remove(&path, Removable::File).is_ok();
        }
        let Ok((directory, name)) = Directory::open_parent(&path, Missing::Refuse) else { return false };
        let Ok(Some(entry)) = directory.look(name) else { return false };
        let mut text = String::new();
        let read = entry.open(&directory, &path).is_ok_and(|mut file| file.read_to_string(&mut text).is_ok());
        // What is root's alone in her directory was put there by root; all else must not be read.
        let of_roots = entry.stat.st_uid == 0 && entry.stat.st_nlink == 1;
        if read && text.contains(SECRET) && (!of_roots || entry.may_be_shown(&directory)) {
            scene.loot.lock().expect("no thread ended badly").push(format!("the plan shows {text}"));
        }
        read
    });
}

/// Looks whether the names are well, writes by name, and gives it away by name.
fn old_write(path: &str, spare: &str, content: &[u8]) -> std::io::Result<()> {
    let is_link = |path: &str| fs::symlink_metadata(path).is_ok_and(|of| of.file_type().is_symlink());
    if is_link(path) || is_link(spare) || Path::new(spare).exists() {
        return Err(std::io::Error::other("something is there"));
    }
    fork();
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(spare)?;
    rustix::fs::fchown(&file, Some(rustix::fs::Uid::from_raw(ADA)), None)?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(0o666))?;
    fs::rename(spare, path)
}

fn old_attributes(path: &str) -> std::io::Result<()> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(std::io::Error::other("no file"));
    }
    fork();
    chown(path, Some(ADA), Some(ADA))
}

fn old_edit(path: &str, spare: &str) -> std::io::Result<()> {
    let of = fs::symlink_metadata(path)?;
    if !of.is_file() {
        return Err(std::io::Error::other("no file"));
    }
    fork();
    let mut content = Vec::new();
    OpenOptions::new().read(true).custom_flags(libc_nonblock()).open(path)?.take(4096).read_to_end(&mut content)?;
    content.extend_from_slice(b"10.0.0.1 a\n");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(spare)?;
    file.write_all(&content)?;
    rustix::fs::fchown(&file, Some(rustix::fs::Uid::from_raw(of.uid())), None)?;
    file.set_permissions(fs::Permissions::from_mode(of.mode() & 0o777))?;
    fs::rename(spare, path)
}

fn libc_nonblock() -> i32 {
    i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag")
}

fn old_directory(path: &str) -> std::io::Result<()> {
    match fs::DirBuilder::new().mode(0o755).create(path) {
        Err(why) if why.kind() != std::io::ErrorKind::AlreadyExists => return Err(why),
        _ => {}
    }
    if !fs::symlink_metadata(path)?.is_dir() {
        return Err(std::io::Error::other("no directory"));
    }
    fork();
    chown(path, Some(ADA), Some(ADA))
}
