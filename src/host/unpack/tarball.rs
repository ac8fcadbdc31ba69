//! Tar archives: POSIX.1-1988 (`ustar`), POSIX.1-2001 (`pax`) and GNU, as `tar(5)` describes them.
//!
//! Where programs read an archive in different ways, it is refused: what is judged here must be what is meant.

use std::io::Read;

use ::tar::Header;

use super::member::{Checked, Fault, Kind, Member, Visit, unreadable};

/// Headers are of this size, and contents are filled up to it, in bytes.
const BLOCK: u64 = 512;

/// The most that headers may have which only say more of the next one. Names are 4 KiB at most.
const MOST_MORE: u64 = 1 << 20;

/// Visits each member, up to the end that the archive has by its own word.
pub(super) fn each(from: &mut dyn Read, visit: &mut Visit<'_>) -> Checked {
    let mut more = More::default();
    while let Some(header) = next(from)? {
        let size = header.entry_size().map_err(unreadable)?;
        let kind = header.entry_type().as_byte();
        if matches!(kind, b'L' | b'K' | b'x' | b'g') {
            more.add(kind, &text(from, size)?)?;
            continue;
        }
        let member = std::mem::take(&mut more).member(&header, size)?;
        let mut content = (&mut *from).take(member.size);
        visit(&member, &mut content)?;
        let rest = content.limit() + padding(member.size);
        skip(from, rest)?;
    }
    if more == More::default() { Ok(()) } else { Err(torn()) }
}

fn torn() -> Fault {
    Fault::Unreadable("it ends early".to_owned())
}

/// What follows a content of this size.
fn padding(size: u64) -> u64 {
    (BLOCK - size % BLOCK) % BLOCK
}

fn skip(from: &mut dyn Read, count: u64) -> Checked {
    let skipped = std::io::copy(&mut from.take(count), &mut std::io::sink()).map_err(unreadable)?;
    if skipped == count { Ok(()) } else { Err(torn()) }
}

/// The next header; none at the end.
fn next(from: &mut dyn Read) -> Checked<Option<Header>> {
    let mut bytes = Vec::new();
    from.take(BLOCK).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.iter().all(|byte| *byte == 0) {
        // Two blocks of zeros, or none: GNU tar is content with one, too.
        return Ok(None);
    }
    let mut header = Header::new_old();
    if bytes.len() != header.as_bytes().len() {
        return Err(Fault::Unreadable("it is not a tar archive, or ends early".to_owned()));
    }
    header.as_mut_bytes().copy_from_slice(&bytes);
    let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum();
    match header.cksum() {
        // The sum itself counts as blanks.
        Ok(claimed) if claimed == sum + 8 * 32 => Ok(Some(header)),
        _ => Err(Fault::Unreadable("it is not a tar archive, or damaged: a header has a wrong checksum".to_owned())),
    }
}

/// The content of a header that says more of the next one.
fn text(from: &mut dyn Read, size: u64) -> Checked<Vec<u8>> {
    if size > MOST_MORE {
        return Err(Fault::Refused(format!("a header in it has more than {MOST_MORE} bytes")));
    }
    let mut text = Vec::new();
    (&mut *from).take(size).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 != size {
        return Err(torn());
    }
    skip(from, padding(size))?;
    Ok(text)
}

/// What headers before the one of a member said of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct More {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    modified: Option<u64>,
}

impl More {
    fn add(&mut self, kind: u8, text: &[u8]) -> Checked {
        let whole = || text.split(|byte| *byte == 0).next().unwrap_or_default();
        match kind {
            b'L' => set(&mut self.name, whole().to_vec()),
            b'K' => set(&mut self.target, whole().to_vec()),
            _ => records(text)?.into_iter().try_for_each(|(key, value)| self.record(kind, key, value)),
        }
    }

    /// One record of POSIX.1-2001; `g` says it of all members that follow.
    fn record(&mut self, kind: u8, key: &[u8], value: &[u8]) -> Checked {
        let digits = |value: &[u8]| std::str::from_utf8(value).ok()?.parse().ok();
        match key {
            _ if key.starts_with(b"GNU.sparse.") => Err(sparse()),
            b"path" | b"linkpath" | b"size" if kind == b'g' => {
                Err(Fault::Refused("it has one name or size for all its files".to_owned()))
            }
            b"path" => set(&mut self.name, value.to_vec()),
            b"linkpath" => set(&mut self.target, value.to_vec()),
            b"size" => {
                let size = digits(value).ok_or_else(|| Fault::Unreadable("a size in it is not a number".to_owned()))?;
                set(&mut self.size, size)
            }
            b"mtime" if kind == b'x' => {
                self.modified = value.split(|byte| *byte == b'.').next().and_then(digits);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn member(self, header: &Header, size: u64) -> Checked<Member> {
        let name = self.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let size = self.size.unwrap_or(size);
        let target = || self.target.or_else(|| Some(header.link_name_bytes()?.into_owned())).unwrap_or_default();
        let kind = match header.entry_type().as_byte() {
            // As it was before there were directories.
            b'0' | 0 if name.ends_with(b"/") => Kind::Directory,
            b'0' | 0 => Kind::File,
            b'1' => Kind::HardLink(target()),
            b'2' => Kind::Link(target()),
            b'3' => Kind::Other('c'),
            b'4' => Kind::Other('b'),
            b'5' => Kind::Directory,
            b'6' => Kind::Other('p'),
            b'S' => return Err(sparse()),
            byte => Kind::Other(if byte.is_ascii_graphic() { char::from(byte) } else { '?' }),
        };
        if matches!(kind, Kind::Directory | Kind::Link(_) | Kind::HardLink(_)) && size > 0 {
            return Err(Fault::Refused("it has a directory or link with a content in it".to_owned()));
        }
        let mode = header.mode().map_err(unreadable)? & 0o7777;
        Ok(Member { name, kind, size, mode, modified: self.modified.or_else(|| header.mtime().ok()) })
    }
}

fn sparse() -> Fault {
    Fault::Refused(
        "it has a file with holes (sparse) in it, which is not supported: pack it without `--sparse`".to_owned(),
    )
}

/// What is said twice is read in two ways.
fn set<T>(place: &mut Option<T>, value: T) -> Checked {
    if place.replace(value).is_some() {
        return Err(Fault::Refused("it says twice what one file is called, or how large it is".to_owned()));
    }
    Ok(())
}

/// A key and its value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// Records as `LENGTH KEY=VALUE` and a line break, where the length is that of all of it.
fn records(mut text: &[u8]) -> Checked<Vec<Record<'_>>> {
    let mut records = Vec::new();
    while !text.is_empty() {
        let (record, rest) = record(text).ok_or_else(|| Fault::Unreadable("a header in it is damaged".to_owned()))?;
        records.push(record);
        text = rest;
    }
    Ok(records)
}

fn record(text: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let blank = text.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&text[..blank]).ok()?.parse().ok()?;
    let (whole, rest) = text.split_at_checked(length)?;
    let pair = whole.strip_suffix(b"\n")?.get(blank + 1..)?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    Some(((&pair[..equals], &pair[equals + 1..]), rest))
}
