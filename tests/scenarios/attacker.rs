//! A user who owns the directory that root works in: a process of her own on the host, which puts links, pipes, other
//! files of root and whole directories in the place of everything, as fast as she can.
//!
//! In: her directory, and where the secrets of root are. Out: what she stole, in `loot` beside her directory, and how often
//! she struck, in `strikes`. Never: more than this user may do.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, inotify, mkdirat, mknodat, openat, renameat, renameat_with,
    symlinkat, unlinkat,
};

/// What only root may read.
pub(crate) const SECRET: &str = "# the secret of root";

/// What root writes, for root alone.
pub(crate) const FRESH: &str = "# a new secret of root";

/// Names that root works with.
pub(crate) const NAMES: [(&str, Kind); 3] = [("target", Kind::File), ("made", Kind::Directory), ("tree", Kind::Tree)];

/// The name of an unfinished file, where the old way is so kind to tell it beforehand.
const SPARE: &str = "target.new";

/// What root's things in her directory are called, and what is hers.
const BESIDE: [&str; 7] = ["alone", "inner", "linked", "bait", "pipe", "plain", "lost"];

/// What she makes where nothing of root's is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// What looks as if armilla had unpacked it.
    Tree,
}

struct Attacker {
    /// Her directory, wherever it is now.
    work: File,
    /// The directory that it is in.
    home: File,
    secrets: String,
    strikes: AtomicUsize,
}

/// Attacks until its standard input ends.
pub(crate) fn attack(directory: &str, secrets: &str) {
    let home = directory.rsplit_once('/').expect("an absolute path").0;
    let attacker = Attacker {
        work: opened(directory).expect("it is hers"),
        home: opened(home).expect("it is hers"),
        secrets: secrets.to_owned(),
        strikes: AtomicUsize::new(0),
    };
    let attacker: &'static Attacker = Box::leak(Box::new(attacker));
    for (name, kind) in NAMES {
        std::thread::spawn(move || attacker.swap_names(name, kind));
    }
    std::thread::spawn(|| attacker.swap_what_appears());
    std::thread::spawn(|| attacker.lend_before());
    std::thread::spawn(|| attacker.swap_directories());
    let loot = format!("{home}/loot");
    std::thread::spawn(move || attacker.look_around(&loot));
    let strikes = format!("{home}/strikes");
    std::thread::spawn(move || {
        let new = format!("{strikes}.new");
        loop {
            let count = attacker.strikes.load(Ordering::Relaxed).to_string();
            fs::write(&new, count).and_then(|()| fs::rename(&new, &strikes)).expect("it is hers");
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    // The test says nothing, and closes it, also where it dies.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// A directory, and not a link to one.
pub(crate) fn opened(path: &str) -> rustix::io::Result<File> {
    opened_at(CWD, path)
}

/// The same, in another.
pub(crate) fn opened_at(at: impl std::os::fd::AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<File> {
    openat(at, name, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map(File::from)
}

/// The names in a directory.
pub(crate) fn names(directory: &File) -> Vec<Vec<u8>> {
    let Ok(entries) = rustix::fs::Dir::read_from(directory) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_bytes().to_vec());
    names.filter(|name| !matches!(name.as_slice(), b"." | b"..")).collect()
}

/// Whether a text is one of those that only root may read.
pub(crate) fn is_secret(text: &[u8]) -> bool {
    [SECRET, FRESH].iter().any(|secret| text.windows(secret.len()).any(|part| part == secret.as_bytes()))
}

impl Attacker {
    fn strike(&self) -> usize {
        self.strikes.fetch_add(1, Ordering::Relaxed)
    }

    fn secret(&self, name: &str) -> String {
        format!("{}/{name}", self.secrets)
    }

    /// Lets a name stand for one thing after the other.
    fn swap_names(&self, name: &str, kind: Kind) {
        for turn in 0_u64.. {
            self.strike();
            let _ = match turn % 10 {
                0 => self.put_link(name, &self.secret("secret")),
                1 => self.put_link(name, &self.secret("device")),
                2 => self.put_link(name, &self.secret("directory")),
                3 => self.put_link(name, &self.secret("directory/new")),
                4 => self.put_pipe(name, &format!("pipe-{name}")),
                5 => self.remove(name),
                // What is root's in her directory takes its turn.
                6 => self.lend(name, "linked"),
                7 => self.lend(name, "alone"),
                8 => self.lend(name, "inner"),
                _ => self.put(name, kind),
            };
            // Sometimes root must have the time to do something.
            match turn % 128 {
                0 => std::thread::sleep(Duration::from_millis(20)),
                9 | 19 | 29 | 39 => std::thread::sleep(Duration::from_millis(2)),
                rest if rest % 2 == 0 => std::thread::sleep(Duration::from_micros(50 + turn % 300)),
                _ => {}
            }
        }
    }

    /// Whatever root makes in her directory is something else at once.
    fn swap_what_appears(&self) {
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).expect("inotify");
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let path = format!("/proc/self/fd/{}", self.work.as_raw_fd());
        let what = inotify::WatchFlags::CREATE | inotify::WatchFlags::ATTRIB | inotify::WatchFlags::MODIFY;
        inotify::add_watch(&watch, &path, what).expect("inotify");
        let mut events = inotify::Reader::new(&watch, &mut buffer);
        loop {
            let turn = self.strike();
            // Names that can be guessed need not be waited for.
            let guessed = match turn % 4 {
                0 => self.put_link(SPARE, &self.secret("directory/new")),
                1 => self.put_link(SPARE, &self.secret("secret")),
                2 => self.put_pipe(SPARE, "pipe-guessed"),
                _ => self.put_link(SPARE, &self.secret("device")),
            };
            let _ = guessed.and_then(|()| unlinkat(&self.work, SPARE, AtFlags::empty()));
            let Ok(event) = events.next() else {
                std::thread::sleep(Duration::from_micros(60));
                continue;
            };
            let Some(name) = event.file_name().and_then(|name| name.to_str().ok()) else { continue };
            if !BESIDE.iter().any(|beside| name.starts_with(beside)) {
                let _ = self.swap_at_once(name, turn);
            }
        }
    }

    fn swap_at_once(&self, name: &str, turn: usize) -> rustix::io::Result<()> {
        let exchange = |with: &str| renameat_with(&self.work, name, &self.work, with, RenameFlags::EXCHANGE);
        match turn % 8 {
            0 | 1 => exchange("inner"),
            2 => exchange("alone"),
            3 => self.put_link(name, &self.secret("secret")),
            4 => self.put_link(name, &self.secret("directory/new")),
            5 => self.put_link(name, &self.secret("directory")),
            6 => self.put_pipe(name, "pipe-appeared"),
            _ => Ok(()),
        }
    }

    /// Names that root moves things to, or removes what is left there: what is root's has them already.
    fn lend_before(&self) {
        for turn in 0.. {
            let (name, _) = NAMES[turn % NAMES.len()];
            for word in ["new", "old"] {
                self.strike();
                let guessed = format!(".armilla-{word}-{name}");
                let lent = renameat(&self.work, "inner", &self.work, guessed.as_str());
                std::thread::sleep(Duration::from_micros(300));
                if lent.is_ok() {
                    let _ = renameat(&self.work, guessed.as_str(), &self.work, "inner");
                }
                // What root refuses to remove does not stay there for ever, or root never gets further than that.
                if turn % 64 < NAMES.len() {
                    let _ = self.lose(&guessed);
                }
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// Her directory is sometimes a link to one of root's, and sometimes one that is root's alone.
    fn swap_directories(&self) {
        let _ = symlinkat(self.secret("directory"), &self.home, "away");
        for turn in 0_usize.. {
            self.strike();
            let with = if turn % 2 == 0 { "away" } else { "vault" };
            for _ in 0..2 {
                let _ = renameat_with(&self.home, "work", &self.home, with, RenameFlags::EXCHANGE);
                std::thread::sleep(Duration::from_micros(50));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Reads whatever she can open, pipes as well, and what is in directories.
    fn look_around(&self, loot: &str) {
        let mut loot = OpenOptions::new().create(true).append(true).open(loot).expect("it is hers");
        // A pipe that somebody writes to is read only if it stays open for a while.
        let mut pipes: Vec<File> = Vec::new();
        loop {
            let mut read_one = |directory: &File, name: &[u8]| {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let Ok(open) = openat(directory, name, flags, Mode::empty()).map(File::from) else { return };
                let text = read(&open);
                if is_secret(&text) {
                    let (name, text) = (String::from_utf8_lossy(name), String::from_utf8_lossy(&text));
                    writeln!(loot, "she read {name}: {}", text.escape_debug()).expect("it is hers");
                }
                if is_pipe(&open) {
                    pipes.push(open);
                }
            };
            for name in names(&self.work) {
                read_one(&self.work, &name);
                if let Ok(inside) = opened_at(&self.work, name.as_slice()) {
                    for name in names(&inside) {
                        read_one(&inside, &name);
                    }
                }
            }
            for pipe in &pipes {
                let text = read(pipe);
                if is_secret(&text) {
                    writeln!(loot, "through a pipe: {}", String::from_utf8_lossy(&text)).expect("it is hers");
                }
            }
            pipes.drain(..pipes.len().saturating_sub(16));
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    fn remove(&self, name: &str) -> rustix::io::Result<()> {
        let gone = unlinkat(&self.work, name, AtFlags::empty());
        gone.or_else(|_| unlinkat(&self.work, name, AtFlags::REMOVEDIR)).or_else(|_| self.lose(name))
    }

    /// A directory that is not empty leaves its name, too.
    fn lose(&self, name: &str) -> rustix::io::Result<()> {
        renameat(&self.work, name, &self.work, format!("lost-{}", self.strike()))
    }

    fn give(&self, bait: &str, name: &str) -> rustix::io::Result<()> {
        let given = || renameat(&self.work, bait, &self.work, name);
        given().or_else(|_| self.remove(name).and_then(|()| given()))
    }

    fn put_link(&self, name: &str, target: &str) -> rustix::io::Result<()> {
        let bait = format!("bait-{name}");
        let _ = unlinkat(&self.work, bait.as_str(), AtFlags::empty());
        symlinkat(target, &self.work, bait.as_str())?;
        self.give(&bait, name)
    }

    fn put_pipe(&self, name: &str, bait: &str) -> rustix::io::Result<()> {
        let _ = unlinkat(&self.work, bait, AtFlags::empty());
        mknodat(&self.work, bait, FileType::Fifo, Mode::from_raw_mode(0o666), 0)?;
        self.give(bait, name)
    }

    /// Gives a name to something of root's for a moment, and takes it back.
    fn lend(&self, name: &str, roots: &str) -> rustix::io::Result<()> {
        let exchange = || renameat_with(&self.work, name, &self.work, roots, RenameFlags::EXCHANGE);
        exchange()?;
        std::thread::sleep(Duration::from_micros(50));
        exchange()
    }

    fn put(&self, name: &str, kind: Kind) -> rustix::io::Result<()> {
        let plain = format!("plain-{name}");
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if kind == Kind::File {
            openat(&self.work, plain.as_str(), flags, Mode::from_raw_mode(0o644))?;
            return self.give(&plain, name);
        }
        let _ = mkdirat(&self.work, plain.as_str(), Mode::from_raw_mode(0o755));
        if kind == Kind::Tree {
            let inside = opened_at(&self.work, plain.as_str())?;
            openat(&inside, armilla::step::MARKER, flags, Mode::from_raw_mode(0o644))?;
            let _ = symlinkat(self.secret("secret"), &inside, "link");
        }
        self.give(&plain, name)
    }
}

fn read(open: &File) -> Vec<u8> {
    let mut text = Vec::new();
    let _ = open.take(4096).read_to_end(&mut text);
    text
}

fn is_pipe(open: &File) -> bool {
    rustix::fs::fstat(open).is_ok_and(|of| FileType::from_raw_mode(of.st_mode) == FileType::Fifo)
}
