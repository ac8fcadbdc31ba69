//! Whether an archive may be unpacked: everything in it must be a file, directory or link whose name and target stay inside,
//! and all of it together no more than it may be.

use std::collections::{BTreeMap, HashMap};

use super::member::{Checked, Fault, Kind, Member};
use crate::step::{MARKER, UnpackLimits};

/// Below this many bytes nobody asks how much denser an archive was packed.
pub(super) const SMALL: u64 = 16 << 20;

/// The most bytes that all names together may have: they are held in memory.
const NAMES: usize = 64 << 20;

/// What Linux takes: the bytes of a path, and of one name in it.
const PATH: usize = 4095;
const NAME: usize = 255;

/// So many directories may be in each other: each of them is held open while something is written below it.
const DEEPEST: usize = 200;

/// What is wrong with it, in words that follow "the archive is refused".
type Judged<T = ()> = std::result::Result<T, String>;

/// Where a member goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Below the tree.
    pub(super) name: Vec<u8>,
    /// Where that is which a hard link is another name of.
    pub(super) linked: Option<Vec<u8>>,
}

/// Hears of each member once.
pub(super) struct Judge {
    limits: UnpackLimits,
    strip: usize,
    /// The size of the archive in bytes.
    packed: u64,
    total: u64,
    count: u64,
    /// Bytes of all names.
    named: usize,
    sorts: BTreeMap<Vec<u8>, Sort>,
    /// What was taken off the front of what became this place; directories above places are among them.
    fronts: HashMap<Vec<u8>, Vec<u8>>,
    places: Vec<Option<Place>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// By its first or another name.
    File,
    Directory,
    Link,
}

impl Judge {
    pub(super) fn new(limits: UnpackLimits, strip: u32, packed: u64) -> Self {
        Self {
            limits,
            strip: usize::try_from(strip).unwrap_or(usize::MAX),
            packed,
            total: 0,
            count: 0,
            named: 0,
            sorts: BTreeMap::new(),
            fronts: HashMap::new(),
            places: Vec::new(),
        }
    }

    /// Hears of the next member.
    pub(super) fn hear(&mut self, member: &Member) -> Checked {
        let place = self.place(member).map_err(Fault::Refused)?;
        self.places.push(place);
        Ok(())
    }

    /// Where the members go, in their order; none is for what is stripped off.
    pub(super) fn finish(self) -> Checked<Vec<Option<Place>>> {
        self.check_whole().map_err(Fault::Refused)?;
        Ok(self.places)
    }

    fn place(&mut self, member: &Member) -> Judged<Option<Place>> {
        let sort = sort(member)?;
        self.count(member)?;
        let Some(name) = tidied(&member.name, sort)? else { return Ok(None) };
        if self.sorts.get(name).is_some_and(|known| (*known, sort) != (Sort::Directory, Sort::Directory)) {
            return Err(format!("the name {} is in it twice", shown(name)));
        }
        self.remember(name.len())?;
        self.sorts.insert(name.to_vec(), sort);
        let linked = match &member.kind {
            Kind::HardLink(target) => Some(self.linked(name, target)?),
            _ => None,
        };
        let (front, place) = stripped(name, self.strip);
        if place.is_empty() {
            return Ok(None);
        }
        if place == MARKER.as_bytes() {
            return Err(format!("it has a file {MARKER} of its own"));
        }
        self.settle(front, place)?;
        if let Kind::Link(target) = &member.kind {
            check_link(name, target, place)?;
        }
        let linked = linked.map(|target| self.linked_place(name, &target)).transpose()?;
        Ok(Some(Place { name: place.to_vec(), linked }))
    }

    fn count(&mut self, member: &Member) -> Judged {
        let UnpackLimits { bytes, entries, ratio } = self.limits;
        self.count += 1;
        if self.count > entries {
            return Err(format!("it has more than {entries} entries: if that is right, raise `max_entries`"));
        }
        self.total = self.total.saturating_add(member.size);
        if self.total > bytes {
            return Err(format!("it unpacks to more than {bytes} bytes: if that is right, raise `max_unpacked`"));
        }
        if self.total > SMALL && self.total > ratio.saturating_mul(self.packed) {
            return Err(format!("it unpacks to more than {ratio} times its size: if that is right, raise `max_ratio`"));
        }
        Ok(())
    }

    fn remember(&mut self, bytes: usize) -> Judged {
        self.named += bytes;
        if self.named > NAMES { Err("its names are too long".to_owned()) } else { Ok(()) }
    }

    /// The name of a file that came before, for which a hard link is another one.
    fn linked(&self, name: &[u8], target: &[u8]) -> Judged<Vec<u8>> {
        let target = tidy(target);
        if self.sorts.get(target) != Some(&Sort::File) || target == name {
            return Err(format!("the hard link {} leads out of it, to {}", shown(name), shown(target)));
        }
        Ok(target.to_vec())
    }

    fn linked_place(&self, name: &[u8], target: &[u8]) -> Judged<Vec<u8>> {
        let (_, place) = stripped(target, self.strip);
        if place.is_empty() {
            let (name, target) = (shown(name), shown(target));
            return Err(format!("the hard link {name} leads to {target}, which is stripped off: look at `strip`"));
        }
        Ok(place.to_vec())
    }

    /// No two names, and no two directories above them, may become one when their fronts are taken off.
    fn settle(&mut self, front: &[u8], place: &[u8]) -> Judged {
        match self.fronts.get(place) {
            Some(known) if known != front => {
                return Err(format!("two names in it become {} when stripped", shown(place)));
            }
            Some(_) => return Ok(()),
            None => self.fronts.insert(place.to_vec(), front.to_vec()),
        };
        let mut above = parent(place);
        while let Some(directory) = above {
            match self.fronts.get(directory) {
                Some(known) if known != front => {
                    return Err("two directories in it become one when stripped".to_owned());
                }
                Some(_) => break,
                None => self.fronts.insert(directory.to_vec(), front.to_vec()),
            };
            self.remember(directory.len())?;
            above = parent(directory);
        }
        Ok(())
    }

    fn check_whole(&self) -> Judged {
        if self.places.iter().all(Option::is_none) {
            let below = match self.strip {
                0 => String::new(),
                strip => format!(" below {strip} directories: look at `strip`"),
            };
            return Err(format!("there is nothing in it{below}"));
        }
        for (name, _) in self.sorts.iter().filter(|(_, sort)| **sort != Sort::Directory) {
            let inside = [name.as_slice(), b"/"].concat();
            let next = self.sorts.range(inside.clone()..).next();
            if let Some((below, _)) = next.filter(|(next, _)| next.starts_with(&inside)) {
                return Err(format!("the name {} is below {}, which is no directory", shown(below), shown(name)));
            }
        }
        Ok(())
    }
}

fn shown(name: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(name)
}

fn sort(member: &Member) -> Judged<Sort> {
    check_text(&member.name)?;
    match &member.kind {
        Kind::File => Ok(Sort::File),
        Kind::Directory => Ok(Sort::Directory),
        Kind::HardLink(target) => check_text(target).map(|()| Sort::File),
        Kind::Link(target) => check_text(target).map(|()| Sort::Link),
        Kind::Other(letter) => Err(format!("it has a device, pipe or something else of the kind {letter} in it")),
    }
}

fn check_text(text: &[u8]) -> Judged {
    if text.contains(&b'\\') || shown(text).chars().any(char::is_control) {
        return Err("a name in it has control characters or a backslash".to_owned());
    }
    if text.len() > PATH || text.split(|byte| *byte == b'/').any(|part| part.len() > NAME) {
        return Err("a name in it is longer than names can be".to_owned());
    }
    if depth(text) > DEEPEST {
        return Err(format!("a name in it is below more than {DEEPEST} directories"));
    }
    Ok(())
}

/// A name without what means the same without it: `./` before it, and slashes behind that.
fn tidy(mut name: &[u8]) -> &[u8] {
    while let Some(rest) = name.strip_prefix(b"./") {
        name = rest;
        while let Some(rest) = name.strip_prefix(b"/") {
            name = rest;
        }
    }
    name
}

/// The name that is meant; none for the directory that the archive was made of.
fn tidied(name: &[u8], sort: Sort) -> Judged<Option<&[u8]>> {
    if name.starts_with(b"/") {
        return Err(format!("the name {} is absolute", shown(name)));
    }
    let mut name = tidy(name);
    while let Some(rest) = name.strip_suffix(b"/") {
        name = rest;
    }
    if name.is_empty() || name == b"." {
        let nameless = || "it has something without a name in it".to_owned();
        return if sort == Sort::Directory { Ok(None) } else { Err(nameless()) };
    }
    let has = |wanted: &[u8]| name.split(|byte| *byte == b'/').any(|part| part == wanted);
    if has(b"..") {
        return Err(format!("the name {} leads out of it", shown(name)));
    }
    if has(b".") || has(b"") {
        return Err(format!("the name {} is not written as names are", shown(name)));
    }
    Ok(Some(name))
}

/// What is taken off the front of a name, and what becomes of it; nothing if all of it goes.
fn stripped(name: &[u8], strip: usize) -> (&[u8], &[u8]) {
    if strip == 0 {
        return (b"", name);
    }
    let slash = name.iter().enumerate().filter(|(_, byte)| **byte == b'/').nth(strip - 1);
    slash.map_or((name, b""), |(at, _)| (&name[..at], &name[at + 1..]))
}

fn parent(place: &[u8]) -> Option<&[u8]> {
    place.iter().rposition(|byte| *byte == b'/').map(|at| &place[..at])
}

/// Up first and then down: with a way up after a name, which may be a link, nobody knows where it ends.
fn check_link(name: &[u8], target: &[u8], place: &[u8]) -> Judged {
    let out = || format!("the link {} leads out of it, to {}", shown(name), shown(target));
    if target.starts_with(b"/") || target.is_empty() {
        return Err(out());
    }
    let (mut up, mut went_down) = (0, false);
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if went_down => {
                let (name, target) = (shown(name), shown(target));
                return Err(format!("the link {name} goes up after it went down, to {target}"));
            }
            b".." => up += 1,
            _ => went_down = true,
        }
    }
    if up > depth(place) { Err(out()) } else { Ok(()) }
}

/// How many directories a name is below.
fn depth(name: &[u8]) -> usize {
    name.split(|byte| *byte == b'/').count() - 1
}
