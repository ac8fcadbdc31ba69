//! Files, directories and links: made, changed and removed through handles.
//!
//! In: paths as steps have them, contents, and who may do what. Out: all of it done, or nothing and why. Never: anything
//! opened, changed or given away that a user put in the place of what was meant.

#[cfg(test)]
mod attack;
mod draft;
mod edit;
mod entries;
mod flush;
mod hindrance;
mod kept;
mod owner;
mod path;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub(super) use draft::Draft;
pub(super) use entries::settle_directory;
pub(super) use flush::Flush;
pub(super) use owner::{Numbers, Wanted};

use self::draft::{Start, Target};
use super::directory::{Directory, Entry, Missing, me};
use super::{Failure, Result};
use crate::step::{Digest, Ownership};

/// Whether other orders of ours may be at work on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// Perhaps: what looks like a file that another order writes is left alone.
    Unknown,
    /// No, we hold the lock: such files were left by orders that were killed, and are removed from the directories we write in.
    Alone,
}

/// What changes files on a host during one order.
pub(super) struct Files<'a> {
    numbers: &'a dyn Numbers,
    company: Company,
    /// In the names of all files that are not finished: 32 hexadecimal digits, another for each order.
    mark: String,
    /// How many such names were given.
    named: u64,
    /// Directories without what killed orders left.
    swept: BTreeSet<(u64, u64)>,
    start: Start,
    flush: Flush,
}

impl<'a> Files<'a> {
    /// Begins an order.
    pub(super) fn new(numbers: &'a dyn Numbers, company: Company) -> Result<Self> {
        let mut random = [0_u8; 16];
        getrandom::fill(&mut random).map_err(|why| Failure::new(format!("the kernel has no random numbers: {why}")))?;
        let mark = format!("{:032x}", u128::from_be_bytes(random));
        Ok(Self {
            numbers,
            company,
            mark,
            named: 0,
            swept: BTreeSet::new(),
            start: Start::Nameless,
            flush: Flush::default(),
        })
    }

    /// Writes a file: its name stands for the old or the new one at any instant. What `ownership` leaves open is as on the
    /// file that is there, with its access list, extended attributes and capabilities.
    pub(super) fn write(&mut self, path: &str, content: &[u8], ownership: &Ownership) -> Result {
        let mut draft = self.draft(path, ownership)?;
        draft.fill(content)?;
        self.place(draft)
    }

    /// Writes what many steps will give their names, and flushes all of it at once. Where that fails there is no draft: it is
    /// for the step to tell, by [`Self::write_drafted`].
    pub(super) fn drafts(&mut self, files: &[(&str, &[u8], &Ownership)]) -> Vec<Option<Draft>> {
        let mut drafts: Vec<Option<Draft>> = Vec::new();
        for (path, content, ownership) in files {
            let draft = self.draft(path, ownership);
            drafts.push(draft.and_then(|mut draft| draft.fill(content).map(|()| draft)).ok());
        }
        let _ = Draft::flush_all(&mut drafts.iter_mut().flatten().collect::<Vec<_>>());
        drafts
    }

    /// The same as [`Self::write`], with the draft of it if that still fits.
    pub(super) fn write_drafted(
        &mut self,
        draft: Option<Draft>,
        (path, content): (&str, &[u8]),
        ownership: &Ownership,
    ) -> Result {
        match draft {
            Some(draft) if draft.is_current() => self.place(draft),
            _ => self.write(path, content, ownership),
        }
    }

    /// Begins a file that [`Self::place`] gives its name: for contents that come in pieces, and for many files that are
    /// flushed together by [`Draft::flush_all`].
    pub(super) fn draft(&mut self, path: &str, ownership: &Ownership) -> Result<Draft> {
        let path = path::located(path, self.numbers)?;
        let (directory, name) = Directory::open_parent(&path, Missing::Refuse)?;
        let before = look(&directory, name, &path)?;
        match &before {
            Some(entry) if entry.is_link() => {
                return Err(Failure::new(format!("{path} is a symbolic link; a file is not written over it")));
            }
            Some(entry) if !entry.is_file() => return Err(Failure::new(format!("{path} is there and no file"))),
            _ => {}
        }
        let target = Target { directory, name: name.to_owned(), path: path.clone() };
        self.begin(target, before.as_ref(), ownership)
    }

    fn begin(&mut self, target: Target, before: Option<&Entry>, ownership: &Ownership) -> Result<Draft> {
        self.sweep(&target.directory);
        let spare = self.spare();
        let wanted = owner::Wanted::of(ownership, self.numbers)?;
        Draft::begin(target, (self.start, spare), before, wanted)
    }

    /// Gives a file its name, once its content is on the disk. Where another file has the name by now, it fails.
    pub(super) fn place(&mut self, draft: Draft) -> Result {
        let directory = draft.place()?;
        self.flush.remember(directory);
        Ok(())
    }

    /// Fails unless a file is what it was when the plan was made. Without a digest there was none.
    pub(super) fn unchanged(&self, path: &str, digest: Option<&Digest>) -> Result {
        let path = path::located(path, self.numbers)?;
        let changed = || Failure::new(format!("{path} was changed since the plan was made: plan again"));
        let (directory, name) = match Directory::open_parent(&path, Missing::Refuse) {
            Ok(found) => found,
            Err(unreached) if unreached.absent => return if digest.is_none() { Ok(()) } else { Err(changed()) },
            Err(unreached) => return Err(unreached.into()),
        };
        let found = look(&directory, name, &path)?;
        let same = match (found, digest) {
            (None, None) => true,
            (Some(entry), Some(digest)) if entry.is_file() => digest_of(&entry, &directory, &path)? == *digest,
            _ => false,
        };
        if same { Ok(()) } else { Err(changed()) }
    }

    /// Sees to it that all names that were given and removed are on the disk. To be called once, after the last step, also
    /// where one failed.
    pub(super) fn flush(&mut self) -> Result {
        std::mem::take(&mut self.flush).finish()
    }

    /// A name for what gets another one in a moment. Those of killed orders are known by it.
    fn spare(&mut self) -> String {
        self.named += 1;
        format!("{}{}-{}", draft::PREFIX, self.mark, self.named)
    }

    /// Removes what killed orders left in a directory. What cannot be removed is left to the next order.
    fn sweep(&mut self, directory: &Directory) {
        if self.company == Company::Alone && self.swept.insert(directory.identity()) {
            sweep(directory, &self.mark);
        }
    }
}

/// Removes unfinished files from a directory, but for those of the order with this mark: links, and files of ours.
pub(super) fn sweep(directory: &Directory, mark: &str) {
    for name in directory.names().unwrap_or_default() {
        if !draft::is_spare(&name, mark) {
            continue;
        }
        let Ok(Some(entry)) = directory.look(name.as_slice()) else { continue };
        if entry.is_link() || entry.is_file() && entry.stat.st_uid == me() {
            let _ = directory.unlink(name.as_slice());
        }
    }
}

fn look(directory: &Directory, name: &str, path: &str) -> Result<Option<Entry>> {
    directory.look(name).map_err(|errno| hindrance::failure(errno, path, None, directory))
}

fn digest_of(entry: &Entry, directory: &Directory, path: &str) -> Result<Digest> {
    let mut file = entry.open(directory, path)?;
    let read = Digest::of_reader(&mut file).map_err(|why| Failure::new(format!("{path}: {why}")));
    read.map(|(_, digest)| digest)
}
