//! Root's own look at what an attacker could get, on her host: a process that is asked after every try.
//!
//! In: her directory, and where the secrets of root are. Out: a line for each line, with what root lost since. Never: an
//! action that she could lead astray: what it puts into her directory is made elsewhere and renamed, and then held by handles.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{BufRead as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, linkat, openat, renameat_with};

use crate::attacker::{SECRET, is_secret, names, opened, opened_at};

/// So many things of root's that she has or had in her directory are looked at.
const MOST: usize = 64;

struct Guard {
    work: File,
    /// Whose that is.
    ada: u32,
    home: String,
    secrets: String,
    /// Where what is lent to her is made, and where it is taken to.
    lent: String,
    number: u64,
    /// Files of root's alone in her directory.
    alone: VecDeque<File>,
    /// Directories of root's alone with the file in each.
    inner: VecDeque<(File, File)>,
}

/// Answers until its standard input ends.
pub(crate) fn guard(directory: &str, secrets: &str) {
    let work = opened(directory).expect("her directory");
    let ada = work.metadata().expect("her directory").uid();
    let home = directory.rsplit_once('/').expect("an absolute path").0.to_owned();
    let (secrets, lent) = (secrets.to_owned(), format!("{secrets}-lent"));
    let (alone, mut inner) = (VecDeque::new(), VecDeque::new());
    let vault = opened(&format!("{home}/vault")).expect("a directory of root's");
    let secret = file(&vault, "secret").expect("a secret of root's");
    inner.push_back((vault, secret));
    let mut guard = Guard { work, ada, home, secrets, lent, number: 0, alone, inner };
    for _ in std::io::stdin().lock().lines() {
        let damage = guard.damage().join("; ");
        guard.restore();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{damage}").and_then(|()| out.flush()).expect("somebody listens");
    }
}

/// A file in a directory, without waiting for a pipe.
fn file(directory: &File, name: impl rustix::path::Arg) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty()).map(File::from)
}

fn content(of: &File) -> Vec<u8> {
    let mut text = vec![0; 4096];
    let size = of.read_at(&mut text, 0).unwrap_or(0);
    text.truncate(size);
    text
}

/// What a file or directory of root's became; none if it is as it was.
fn changed(what: &str, open: &File, mode: u32) -> Option<String> {
    let of = open.metadata().expect("it is open");
    if (of.uid(), of.gid(), of.mode() & 0o7777) != (0, 0, mode) {
        return Some(format!("{what} is of {} with the mode {:o}", of.uid(), of.mode()));
    }
    let text = if of.is_file() { content(open) } else { SECRET.as_bytes().to_vec() };
    (text != SECRET.as_bytes()).then(|| format!("{what} says {}", text.escape_ascii()))
}

fn same(one: &File, other: &File) -> bool {
    let of = |file: &File| file.metadata().map(|of| (of.dev(), of.ino())).expect("it is open");
    of(one) == of(other)
}

/// A secret of root's.
fn private(path: &str) -> File {
    let mut new = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path).expect("it is new");
    new.write_all(SECRET.as_bytes()).expect("it is written");
    new
}

impl Guard {
    /// What of root's is not as it was.
    fn damage(&self) -> Vec<String> {
        let mut damage = Vec::new();
        for (name, mode) in [("secret", 0o600), ("linked", 0o600), ("directory", 0o755), ("directory/inside", 0o600)] {
            let open = File::open(format!("{}/{name}", self.secrets)).expect("it is there");
            damage.extend(changed(name, &open, mode));
        }
        let device = fs::symlink_metadata(format!("{}/device", self.secrets)).expect("it is there");
        if (device.uid(), device.mode() & 0o7777) != (0, 0o600) {
            damage.push(format!("device is of {} with the mode {:o}", device.uid(), device.mode()));
        }
        let mut there = [self.secrets.clone(), format!("{}/directory", self.secrets)]
            .map(|path| names(&opened(&path).expect("it is there")))
            .concat();
        there.sort();
        if there != [b"device".as_slice(), b"directory", b"inside", b"linked", b"secret"] {
            damage.push(format!("there is {}", there.join(&b' ').escape_ascii()));
        }
        damage.extend(self.alone.iter().filter_map(|open| changed("a file of root's", open, 0o600)));
        for (directory, inside) in &self.inner {
            damage.extend(changed("a directory of root's", directory, 0o700));
            damage.extend(changed("what is in a directory of root's", inside, 0o600));
            let gone = inside.metadata().expect("it is open").nlink() != 1;
            damage.extend(gone.then(|| "what was in a directory of root's is gone".to_owned()));
        }
        damage.extend(self.readable(&self.work, true));
        damage.extend(fs::read_to_string(format!("{}/loot", self.home)).ok().filter(|loot| !loot.is_empty()));
        damage.iter().map(|line| line.trim_end().replace('\n', ", ")).collect()
    }

    /// Secrets of root's in her directory that she may read now.
    fn readable(&self, directory: &File, deeper: bool) -> Vec<String> {
        let mut found = Vec::new();
        for name in names(directory) {
            let Ok(open) = file(directory, name.as_slice()) else { continue };
            let Ok(of) = open.metadata() else { continue };
            let hers = of.uid() == self.ada || of.mode() & 0o044 != 0;
            if of.is_dir() && deeper && hers {
                found.extend(self.readable(&open, false));
            } else if of.is_file() && hers && is_secret(&content(&open)) {
                found.push(format!("she may read {}", name.escape_ascii()));
            }
        }
        found
    }

    /// What of root's is in her directory: a file with a second name, as she can give it where the kernel does not protect
    /// hard links, one that is root's alone, and a directory. She can rename them, which is her right.
    fn restore(&mut self) {
        for name in names(&self.work) {
            let Ok(directory) = opened_at(&self.work, name.as_slice()) else { continue };
            let roots = self.inner.iter().any(|(inner, _)| same(inner, &directory));
            if roots && name != b"inner" || name.starts_with(b"lost") {
                self.take(&name);
            }
        }
        let found = file(&self.work, "inner").ok();
        if !found.is_some_and(|found| self.inner.iter().any(|(inner, _)| same(inner, &found))) {
            let path = self.fresh_path("inner");
            DirBuilder::new().mode(0o700).create(&path).expect("it is new");
            let inside = private(&format!("{path}/file"));
            self.inner.push_back((opened(&path).expect("it is there"), inside));
            self.give(&path, "inner");
        }
        let found = file(&self.work, "alone").ok();
        if !found.is_some_and(|found| self.alone.iter().any(|alone| same(alone, &found))) {
            let path = self.fresh_path("alone");
            self.alone.push_back(private(&path));
            self.give(&path, "alone");
        }
        let roots = File::open(format!("{}/linked", self.secrets)).expect("it is there");
        if !file(&self.work, "linked").is_ok_and(|found| same(&found, &roots)) {
            let path = self.fresh_path("linked");
            linkat(CWD, format!("{}/linked", self.secrets), CWD, &path, AtFlags::empty()).expect("a second name");
            self.give(&path, "linked");
        }
        // The vault is the first of them, and stays.
        if self.inner.len() > MOST {
            self.inner.remove(1);
        }
        if self.alone.len() > MOST {
            self.alone.pop_front();
        }
    }

    fn fresh_path(&mut self, word: &str) -> String {
        self.number += 1;
        format!("{}/{word}-{}", self.lent, self.number)
    }

    fn give(&mut self, path: &str, name: &str) {
        self.take(name.as_bytes());
        // If she was faster, there is another one the next time.
        let _ = renameat_with(CWD, path, &self.work, name, RenameFlags::NOREPLACE);
    }

    /// Takes away what has a name, and removes it if it is hers.
    fn take(&mut self, name: &[u8]) {
        let path = self.fresh_path("taken");
        if renameat_with(&self.work, name, CWD, &path, RenameFlags::NOREPLACE).is_ok() {
            let hers = fs::symlink_metadata(&path).is_ok_and(|of| of.uid() == self.ada);
            if hers && fs::remove_file(&path).is_err() {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }
}
