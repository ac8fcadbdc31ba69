//! The runs of this machine: what each was about to do, and what happened, written down while it happens.
//!
//! In: a plan as text, events as they come. Out: the same again after the program has ended in whatever way. Never: the
//! truth about a host: that is in the host's own ledger and journal, and this is lost with the machine without harm.
//!
//! A run is a folder `runs/RUN` with two files: `plan.json`, the saved plan, and `journal`, one JSON object per line: a head,
//! then events, then the end. A last line without its end was being written when the program died, and does not count.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::apply::{Event, Outcome};
use crate::crash;
use crate::ledger::Revision;
use crate::name::{EnvName, ProjectId, RunId};

/// The format. A newer one is refused, never misread. Format 1 ended with an exit code instead of an outcome.
pub const VERSION: u32 = 2;

/// The file beside a journal that says that hosts may follow the canaries: who said so, a line each.
const APPROVED: &str = "approved";

/// How many ended runs are kept.
const KEPT: usize = 200;

/// What a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The format: [`VERSION`].
    pub version: u32,
    /// Its name.
    pub run: RunId,
    /// The environment it works on.
    pub environment: EnvName,
    /// What was typed, without secrets.
    pub command: String,
    /// `user@machine`.
    pub who: String,
    /// When it began, in RFC 3339.
    pub at: String,
    /// The project's folder.
    pub project: PathBuf,
    /// The project's identity; none of a run from before projects had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ProjectId>,
    /// The project's revision.
    pub revision: Option<Revision>,
    /// The run that this one goes on with.
    pub resumes: Option<RunId>,
    /// How many resources it is about to change.
    pub changes: usize,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredEnding")]
pub struct Ending {
    /// In one word.
    pub outcome: Outcome,
    /// How many resources still differed when the hosts were read again.
    pub left: usize,
    /// Seconds since it began.
    pub seconds: u64,
}

/// An ending as it is stored, in any format.
#[derive(Deserialize)]
struct StoredEnding {
    outcome: Option<Outcome>,
    exit: Option<i32>,
    left: usize,
    seconds: u64,
}

impl TryFrom<StoredEnding> for Ending {
    type Error = String;

    fn try_from(stored: StoredEnding) -> Result<Self, String> {
        let outcome = stored.outcome.or_else(|| stored.exit.map(of_exit_code));
        let outcome = outcome.ok_or_else(|| "it does not say how the run ended".to_owned())?;
        Ok(Self { outcome, left: stored.left, seconds: stored.seconds })
    }
}

/// The outcome behind an exit code of format 1.
fn of_exit_code(exit: i32) -> Outcome {
    match exit {
        0 | 2 => Outcome::Converged { changed: true },
        4 => Outcome::Unreachable,
        5 => Outcome::RolledBack,
        6 => Outcome::Uncertain,
        130 | 143 => Outcome::Stopped,
        _ => Outcome::Failed,
    }
}

/// One line of a journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Head(Box<Head>),
    Event { at: Duration, event: Event },
    End(Ending),
}

/// A run as it was written down.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What it is.
    pub head: Head,
    /// What happened, and when, since it began.
    pub events: Vec<(Duration, Event)>,
    /// How it ended; none if it did not, or died.
    pub end: Option<Ending>,
    /// Whether the program that records it was there when it was read.
    is_recorded: bool,
    folder: PathBuf,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// It ended so.
    Ended(&'a Ending),
    /// Its program records it now.
    Running,
    /// Its program is gone, and did not record an end.
    Interrupted,
}

/// Why the runs of this machine cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A file or folder.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is from a newer armilla.
    #[error("the run {run} has format {found}, this version reads {VERSION}: upgrade armilla")]
    Newer {
        /// Which.
        run: String,
        /// The format it has.
        found: u32,
    },
    /// There is none of that name.
    #[error("run `{0}` not found on this machine")]
    Unknown(String),
    /// There is more than one.
    #[error("`{typed}` matches {} runs: {}", .found.len(), .found.join(", "))]
    Ambiguous {
        /// What was asked for.
        typed: String,
        /// What begins so.
        found: Vec<String>,
    },
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> HistoryError + use<> {
    let path = path.to_owned();
    |source| HistoryError::Io { path, source }
}

/// The runs of this machine.
#[derive(Debug, Clone)]
pub struct History {
    folder: Option<PathBuf>,
}

impl History {
    /// The runs below a folder, which need not be there yet.
    pub fn new(state: &Path) -> Self {
        Self { folder: Some(state.join("runs")) }
    }

    /// Keeps nothing: no run can be resumed, or approved while it waits. For hosts in memory.
    pub fn none() -> Self {
        Self { folder: None }
    }

    /// The folder that was given to it.
    pub fn state(&self) -> Option<&Path> {
        self.folder.as_deref().and_then(Path::parent)
    }

    /// Begins to write a run down. What is needed to go on with it is on the disk when this returns.
    ///
    /// # Errors
    /// When something cannot be written. Then nothing must be begun.
    pub fn begin(&self, head: &Head, plan: &[u8]) -> Result<Record, HistoryError> {
        self.prune();
        let Some(runs) = &self.folder else { return Ok(Record(None)) };
        let folder = runs.join(head.run.as_str());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(runs).map_err(failed(runs))?;
        fs::DirBuilder::new().mode(0o700).create(&folder).map_err(failed(&folder))?;
        crash::point();
        // What is only there by half is nothing, and takes room.
        begin_in(&folder, head, plan).inspect_err(|_| drop(fs::remove_dir_all(&folder)))
    }

    /// All runs, the oldest first. What cannot be read is left out.
    pub fn list(&self) -> Vec<Run> {
        let Some(runs) = &self.folder else { return Vec::new() };
        self.names().iter().filter_map(|name| read(&runs.join(name)).ok()).collect()
    }

    /// The run of this name, or whose name begins so.
    ///
    /// # Errors
    /// When there is none, more than one, or it cannot be read.
    pub fn find(&self, typed: &str) -> Result<Run, HistoryError> {
        let unknown = || HistoryError::Unknown(typed.to_owned());
        let runs = self.folder.as_ref().ok_or_else(unknown)?;
        let names = self.names();
        let mut found: Vec<String> = names.iter().filter(|name| name.starts_with(typed)).cloned().collect();
        found.sort_by_key(|name| name != typed);
        match found.as_slice() {
            [] => Err(unknown()),
            [one] => read(&runs.join(one)),
            [first, ..] if first == typed => read(&runs.join(first)),
            _ => Err(HistoryError::Ambiguous { typed: typed.to_owned(), found }),
        }
    }

    /// The names begin with the time, so their order is that of the runs.
    fn names(&self) -> Vec<String> {
        let entries = self.folder.iter().filter_map(|runs| fs::read_dir(runs).ok()).flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Forgets old runs that have ended; one that has not may be gone on with.
    fn prune(&self) {
        let names = self.names();
        let (Some(runs), Some(old)) = (&self.folder, names.len().checked_sub(KEPT)) else { return };
        for name in &names[..old] {
            let folder = runs.join(name);
            if read(&folder).is_ok_and(|run| run.end.is_some()) {
                // What cannot be removed now is met again next time.
                let _ = fs::remove_dir_all(&folder);
            }
        }
    }
}

impl Run {
    /// Where it is: ended, running, or interrupted.
    pub fn progress(&self) -> Progress<'_> {
        match &self.end {
            Some(end) => Progress::Ended(end),
            None if self.is_recorded => Progress::Running,
            None => Progress::Interrupted,
        }
    }

    /// The same run, read again.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn again(&self) -> Result<Self, HistoryError> {
        read(&self.folder)
    }

    /// The text of its saved plan.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn plan(&self) -> Result<Vec<u8>, HistoryError> {
        let path = self.folder.join("plan.json");
        fs::read(&path).map_err(failed(&path))
    }

    /// Writes down that hosts may follow its canaries, and who said so. Twice is the same as once.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn approve(&self, who: &str) -> Result<(), HistoryError> {
        let path = self.folder.join(APPROVED);
        let write = || -> io::Result<()> {
            let mut file = File::options().create(true).append(true).mode(0o600).open(&path)?;
            writeln!(file, "{who}")?;
            file.sync_all()
        };
        write().map_err(failed(&path))
    }

    /// Where its saved plan is.
    pub fn plan_file(&self) -> PathBuf {
        self.folder.join("plan.json")
    }
}

/// A run that is being written down, or not, where nothing is kept.
#[derive(Debug)]
pub struct Record(Option<Journal>);

#[derive(Debug)]
struct Journal {
    path: PathBuf,
    file: File,
}

impl Record {
    /// Writes down what happened.
    ///
    /// # Errors
    /// When it cannot be written: then nothing more must be begun.
    pub fn event(&mut self, event: &Event, at: Duration) -> Result<(), HistoryError> {
        self.0.as_mut().map_or(Ok(()), |journal| journal.write(&Line::Event { at, event: event.clone() }))
    }

    /// Writes down the end.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(self, ending: Ending) -> Result<(), HistoryError> {
        let Some(mut journal) = self.0 else { return Ok(()) };
        journal.write(&Line::End(ending))?;
        journal.file.sync_all().map_err(failed(&journal.path))?;
        crash::point();
        Ok(())
    }

    /// The file that is there once somebody said that hosts may follow the canaries.
    pub fn approval(&self) -> Option<PathBuf> {
        self.0.as_ref().map(|journal| journal.path.with_file_name(APPROVED))
    }
}

impl Journal {
    fn write(&mut self, line: &Line) -> Result<(), HistoryError> {
        crash::point();
        self.file.write_all(&text(line)).map_err(failed(&self.path))?;
        crash::point();
        Ok(())
    }
}

fn begin_in(folder: &Path, head: &Head, plan: &[u8]) -> Result<Record, HistoryError> {
    let write = |path: &Path, text: &[u8]| -> io::Result<File> {
        let mut file = File::options().create_new(true).append(true).mode(0o600).open(path)?;
        file.write_all(text)?;
        file.sync_all()?;
        Ok(file)
    };
    let path = folder.join("plan.json");
    write(&path, plan).map_err(failed(&path))?;
    crash::point();
    let path = folder.join("journal");
    let file = write(&path, &text(&Line::Head(Box::new(head.clone())))).map_err(failed(&path))?;
    // It ends with this process: whoever reads the run knows by it that the run goes on.
    file.try_lock().map_err(|error| failed(&path)(error.into()))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))?;
    crash::point();
    Ok(Record(Some(Journal { path, file })))
}

fn text(line: &Line) -> Vec<u8> {
    // Nothing in it can fail to be written: its keys are texts.
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}

/// Whether a process records into this journal now: it holds a lock on it.
fn is_recorded(journal: &Path) -> bool {
    let locked = |file: File| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock));
    File::open(journal).is_ok_and(locked)
}

fn read(folder: &Path) -> Result<Run, HistoryError> {
    #[derive(Deserialize)]
    struct Versioned {
        head: Version,
    }
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let path = folder.join("journal");
    let text = fs::read(&path).map_err(failed(&path))?;
    let broken = |what: &str| failed(&path)(io::Error::new(io::ErrorKind::InvalidData, what));
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(&text[..0], |end| &text[..end]);
    let mut lines = whole.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let Ok(Versioned { head: Version { version } }) = serde_json::from_slice(first) else {
        return Err(broken("it does not begin like the journal of a run"));
    };
    if version > VERSION {
        let run = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        return Err(HistoryError::Newer { run, found: version });
    }
    let Ok(Line::Head(head)) = serde_json::from_slice(first) else {
        return Err(broken("it does not begin like the journal of a run"));
    };
    let is_recorded = is_recorded(&path);
    let mut run = Run { head: *head, events: Vec::new(), end: None, is_recorded, folder: folder.to_owned() };
    for line in lines {
        match serde_json::from_slice(line) {
            Ok(Line::Event { at, event }) => run.events.push((at, event)),
            Ok(Line::End(end)) => run.end = Some(end),
            Ok(Line::Head(_)) | Err(_) => return Err(broken("it has a line that is not a journal entry")),
        }
    }
    Ok(run)
}
