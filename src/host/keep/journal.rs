//! The journal of an environment: what is written down while the steps of a stage are carried out. See [`crate::ledger::Journal`].

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use super::super::{Failure, Result};
use super::folder::Folder;
use super::{Keep, leftovers};
use crate::crash;
use crate::lease::Ticket;

/// A journal that is open for the steps of one order.
#[derive(Debug)]
pub(in crate::host) struct Journal {
    file: File,
    folder: Folder,
    /// The number that the first step of the order has in the journal.
    first: usize,
    /// Whether a line could not be written whole: after that there is no other.
    stuck: bool,
    /// Whether there is a list of the directories in which drafts are made.
    drafts: bool,
}

impl Journal {
    /// Opens the journal for an order, and writes down what is intended, flushed to disk, if the order is the
    /// first of its stage. `drafts` are the directories in which the steps make drafts, absolute or in a home, each with a
    /// slash at its end: a killed order could not remove them. None where nothing is to be written down.
    ///
    /// # Errors
    /// Why it cannot be kept: then no step may begin.
    pub(in crate::host) fn open(keep: Keep<'_>, ticket: &Ticket, drafts: &[String]) -> Result<Option<Self>> {
        let Some(intent) = &ticket.intent else { return Ok(None) };
        if intent.contains('\n') {
            return Err(Failure::new("an intent has more than one line"));
        }
        let folder = keep.make_belonging(&ticket.owner)?;
        let file = open_whole(&folder)?;
        leftovers::remove_drafts(keep, &folder);
        let first = ticket.first;
        let mut journal = Self { file, folder, first, stuck: false, drafts: !drafts.is_empty() };
        journal.announce(drafts)?;
        crash::on_host();
        if first == 0 {
            let boot = (keep.uptime)()?.boot;
            let synced = |journal: &Self| journal.file.sync_all().and_then(|()| journal.folder.sync());
            let line = format!("stage {boot} {intent}\n");
            let written = journal.file.write_all(line.as_bytes()).and_then(|()| synced(&journal));
            written.map_err(|_| journal.folder.unwritable("journal"))?;
        }
        crash::on_host();
        Ok(Some(journal))
    }

    fn announce(&self, drafts: &[String]) -> Result {
        let lines: Vec<String> =
            drafts.iter().filter(|line| !line.contains('\n')).map(|line| format!("{line}\n")).collect();
        if lines.is_empty() {
            return Ok(());
        }
        let written = self.folder.write_synced("drafts", lines.concat().as_bytes());
        written.map_err(|_| self.folder.unwritable("drafts"))
    }

    /// Writes down that a step of the order begins, counted from 0.
    ///
    /// # Errors
    /// When it cannot be written down: then the step must not begin.
    pub(in crate::host) fn begin(&mut self, step: usize) -> Result {
        let told = self.note(step, "begin", "");
        let why = || {
            let path = self.folder.at("journal");
            Failure::new(format!("{path} cannot be written, and without it no step starts; is the disk full?"))
        };
        if told { Ok(()) } else { Err(why()) }
    }

    /// Writes down that a step was done, or was not needed.
    pub(in crate::host) fn done(&mut self, step: usize) {
        self.note(step, "done", "");
    }

    /// Writes down that a step failed.
    pub(in crate::host) fn failed(&mut self, step: usize, exit: i32) {
        self.note(step, "failed", &format!(" {exit}"));
    }

    /// Writes down that the stage is over: all steps were done.
    pub(in crate::host) fn complete(mut self) {
        crash::on_host();
        if !self.stuck {
            self.write("over\n");
        }
        crash::on_host();
    }

    fn note(&mut self, step: usize, word: &str, more: &str) -> bool {
        let number = self.first + step;
        self.write(&format!("{word} {number}{more}\n"))
    }

    /// In one piece, so that a reader meanwhile sees whole lines.
    fn write(&mut self, line: &str) -> bool {
        self.stuck = self.stuck || !matches!(self.file.write(line.as_bytes()), Ok(all) if all == line.len());
        !self.stuck
    }
}

/// The order is over, and no draft of it is left.
impl Drop for Journal {
    fn drop(&mut self) {
        if self.drafts {
            let _ = self.folder.remove("drafts");
        }
    }
}

/// Writes down that what the stages before did for a role was rolled back, flushed to disk.
pub(in crate::host) fn tell_undone(folder: &Folder, role: &str) -> Result {
    let mut file = open_whole(folder)?;
    let written = file.write_all(format!("undone {role}\n").as_bytes());
    let synced = written.and_then(|()| file.sync_all()).and_then(|()| folder.sync());
    synced.map_err(|_| folder.unwritable("journal"))
}

/// Opens the journal of a directory to add to its end. A last line without an end is removed: the power went while it was
/// written.
fn open_whole(folder: &Folder) -> Result<File> {
    let mut file = folder.append("journal").map_err(|_| folder.unwritable("journal"))?;
    cut_torn(&mut file)
        .map_err(|_| Failure::new(format!("the journal of {} cannot be repaired; is the disk full?", folder.path())))?;
    Ok(file)
}

fn cut_torn(file: &mut File) -> io::Result<()> {
    const BLOCK: u64 = 64 << 10;
    let length = file.metadata()?.len();
    let mut end = length;
    while end > 0 {
        let begin = end.saturating_sub(BLOCK);
        let mut block = Vec::new();
        file.seek(SeekFrom::Start(begin))?;
        (&*file).take(end - begin).read_to_end(&mut block)?;
        if let Some(last) = block.iter().rposition(|byte| *byte == b'\n') {
            end = begin + last as u64 + 1;
            break;
        }
        end = begin;
    }
    if end == length {
        return Ok(());
    }
    file.set_len(end)?;
    file.sync_all()
}
