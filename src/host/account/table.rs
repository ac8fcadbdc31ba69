//! The users or the groups of a host, from their file and from the name service.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::entry::Entry;
use super::{AT_ONCE, PATIENCE, Run, complaint};
use crate::host::{Failure, Result};
use crate::step::Command;

/// The key of a lookup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Name(String),
    Number(u32),
}

impl Key {
    fn word(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// Where the name service looks for accounts of one sort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// Only in the files of this host.
    Files,
    /// In the files first: an account that is in them is final.
    FilesFirst,
    /// Elsewhere first, or by rules of its own.
    #[default]
    Elsewhere,
}

/// The users or the groups.
pub(super) struct Table<E> {
    pub(super) order: Order,
    /// The entries of the file, in its order.
    pub(super) file: Vec<E>,
    /// Where they are; of two with one name or number the first counts.
    places: BTreeMap<Key, usize>,
    /// The names in lines that cannot be read.
    broken: BTreeSet<String>,
    /// What the name service answered.
    answers: BTreeMap<Key, Option<E>>,
}

impl<E> Default for Table<E> {
    fn default() -> Self {
        Self {
            order: Order::default(),
            file: Vec::new(),
            places: BTreeMap::new(),
            broken: BTreeSet::new(),
            answers: BTreeMap::new(),
        }
    }
}

impl<E: Entry> Table<E> {
    /// Reads the file.
    pub(super) fn load(etc: &Path, order: Order) -> Self {
        let mut table = Self { order, ..Self::default() };
        let text = fs::read(etc.join(E::DATABASE)).unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            // Lines of NIS, comments.
            if line.starts_with(['+', '-', '#']) || line.trim().is_empty() {
                continue;
            }
            let Some(entry) = E::parse(line) else {
                table.broken.extend(line.split(':').next().map(str::to_owned));
                continue;
            };
            let place = table.file.len();
            table.places.entry(Key::Name(entry.name().to_owned())).or_insert(place);
            table.places.entry(Key::Number(entry.number())).or_insert(place);
            table.file.push(entry);
        }
        table
    }

    /// What the file says.
    pub(super) fn in_file(&self, key: &Key) -> Option<&E> {
        self.places.get(key).and_then(|place| self.file.get(*place))
    }

    /// Asks the name service about those that the files do not answer.
    pub(super) fn prepare(&mut self, keys: &[Key], run: &Run) -> Result {
        let answered = |key: &&Key| {
            self.answers.contains_key(*key) || self.order == Order::FilesFirst && self.in_file(key).is_some()
        };
        let open: BTreeSet<&Key> = keys.iter().filter(|key| !answered(key)).collect();
        if self.order == Order::Files || open.is_empty() {
            return Ok(());
        }
        let open: Vec<&Key> = open.into_iter().collect();
        let mut answers = BTreeMap::new();
        for some in open.chunks(AT_ONCE) {
            let Some(entries) = getent::<E>(some, run)? else {
                // Without a name service the files are all there is.
                self.order = Order::Files;
                return Ok(());
            };
            for key in some {
                let is_it = |entry: &&E| match key {
                    Key::Name(name) => entry.name() == name,
                    Key::Number(number) => entry.number() == *number,
                };
                answers.insert((*key).clone(), entries.iter().find(is_it).cloned());
            }
        }
        self.answers.extend(answers);
        Ok(())
    }

    /// The account, if there is one.
    ///
    /// # Errors
    /// When that is not known.
    pub(super) fn find(&mut self, key: Key, run: &Run) -> Result<Option<E>> {
        self.prepare(std::slice::from_ref(&key), run)?;
        let found = match self.answers.get(&key) {
            Some(answer) => answer.clone(),
            None => self.in_file(&key).cloned(),
        };
        match key {
            Key::Name(name) if found.is_none() && self.broken.contains(&name) => {
                Err(Failure::new(format!("the entry of {} {name} in /etc/{} is invalid", E::WHAT, E::DATABASE)))
            }
            _ => Ok(found),
        }
    }
}

/// What the name service knows of these; none if this host has no `getent`.
fn getent<E: Entry>(keys: &[&Key], run: &Run) -> Result<Option<Vec<E>>> {
    let words = ["getent", E::DATABASE, "--"].map(str::to_owned).into_iter();
    let command = Command::new(words.chain(keys.iter().map(|key| key.word()))).within(PATIENCE);
    let ended = run(&command).map_err(Failure::new)?;
    match ended.exit {
        127 => Ok(None),
        // 2 says that it does not know one of the names.
        0 | 2 => {
            let text = String::from_utf8_lossy(&ended.stdout);
            Ok(Some(text.lines().filter_map(E::parse).collect()))
        }
        exit => Err(Failure { exit, why: complaint(&ended, &format!("getent {}", E::DATABASE)) }),
    }
}

/// Whether `nsswitch.conf(5)` says anything of a database.
pub(super) fn has_line(orders: &str, database: &str) -> bool {
    lines(orders, database).next().is_some()
}

/// What `nsswitch.conf(5)` says of one database.
fn lines<'a>(orders: &'a str, database: &'a str) -> impl Iterator<Item = &'a str> {
    let line =
        move |line: &'a str| line.split('#').next()?.trim().strip_prefix(database)?.trim_start().strip_prefix(':');
    orders.lines().filter_map(line)
}

/// Where the name service looks: without a line about it, in the files first. Rules in brackets can say anything.
pub(super) fn order(orders: &str, database: &str) -> Order {
    let Some(line) = lines(orders, database).next() else { return Order::FilesFirst };
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    match words.as_slice() {
        _ if line.contains('[') => Order::Elsewhere,
        ["files"] => Order::Files,
        ["files", ..] => Order::FilesFirst,
        _ => Order::Elsewhere,
    }
}
