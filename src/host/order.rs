//! An order: steps, carried out one after the other up to the first that fails.
//!
//! In: steps, and the lock that they are carried out under. Out: what happens, as it happens; the journal of this host, first.
//! Never: a step that begins although nobody listens any more, or although its beginning could not be written down.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};

use super::files::{Company, Draft, Files};
use super::keep::journal::Journal;
use super::keep::{Keep, Uptime, copies, ledger, lock};
use super::large::Sender;
use super::machine::Machine;
use super::timer::{self, Timer};
use super::undo::{self, Means};
use super::wire::{Answer, Refusal};
use super::{Failure, Result, gate, http, packages, program, unpack};
use crate::crash;
use crate::lease::Ticket;
use crate::name::HostName;
use crate::secret::LargeFile;
use crate::step::deadman::UNDONE;
use crate::step::{Gate, Outcome, Ownership, Remote, Step, home_of};

/// Says what happens; an error if nobody listens any more.
pub(super) type Say<'a> = dyn FnMut(Answer) -> io::Result<()> + 'a;

/// How many files are written before the first of them gets its name: they are flushed together.
const TOGETHER: usize = 100;

/// Who gave an order.
pub(super) struct Line<'a> {
    /// Hears what happens.
    pub(super) say: &'a mut Say<'a>,
    /// Sends large files.
    pub(super) input: &'a mut dyn io::Read,
}

/// Carries out steps. Gives whether all of them were done.
///
/// # Errors
/// When nobody listens any more.
pub(super) fn carry_out(
    machine: &Arc<Machine>,
    host: &HostName,
    (steps, ticket): (&[Step], Option<&Ticket>),
    line: Line<'_>,
) -> io::Result<bool> {
    let Line { say, input } = line;
    let refused = |say: &mut Say<'_>, refusal| say(Answer::Refused(refusal)).map(|()| false);
    let home = |name: &str| machine.home(name);
    let keep = machine.place.as_ref().map(|place| Keep { place, host, uptime: &Uptime::now, home: &home });
    let admitted = match ticket.map(|ticket| admit(keep, ticket, steps, say)) {
        None => None,
        Some(Ok(admitted)) => Some(admitted),
        Some(Err(lock::Refusal::Gone)) => return Err(io::ErrorKind::BrokenPipe.into()),
        Some(Err(lock::Refusal::Fenced(lease))) => return refused(say, Refusal::Fenced(lease)),
        Some(Err(lock::Refusal::Unable(why))) => return refused(say, Refusal::Unable(why)),
    };
    let (lock, journal) = admitted.map_or((None, None), |(lock, journal)| (Some(lock), journal));
    let company = if ticket.is_some() { Company::Alone } else { Company::Unknown };
    let files = match Files::new(&*machine.accounts, company) {
        Ok(files) => files,
        Err(failure) => return refused(say, Refusal::Unable(failure.why)),
    };
    let gone = Cell::new(false);
    let order = Order { machine, keep, lock, steps, files, input, drafts: VecDeque::new(), journal, gone };
    order.carry_out(say)
}

/// The lock of orders and the journal, or why there is none.
fn admit(
    keep: Option<Keep<'_>>,
    ticket: &Ticket,
    steps: &[Step],
    say: &mut Say<'_>,
) -> std::result::Result<(lock::Admitted, Option<Journal>), lock::Refusal> {
    let keep = keep.ok_or_else(|| lock::Refusal::Unable(nowhere().why))?;
    let admitted = lock::admit(keep, ticket, &mut |words| match words.map(|words| say(waiting(0, words))) {
        Some(Err(_)) => ControlFlow::Break(()),
        None | Some(Ok(())) => ControlFlow::Continue(()),
    })?;
    let drafts: Vec<String> = draft_directories(steps).into_iter().collect();
    let unable = |failure: Failure| lock::Refusal::Unable(failure.why);
    let journal = Journal::open(keep, ticket, &drafts).map_err(unable)?;
    Ok((admitted, journal))
}

fn nowhere() -> Failure {
    Failure::new("this user has no home directory, and so no place for what armilla keeps on a host")
}

fn waiting(index: usize, words: &str) -> Answer {
    Answer::Waiting(number(index), words.to_owned())
}

/// Tells what a step waits for; an empty text only asks whether anybody listens. Gives whether somebody does.
fn tells(index: usize, words: &str, (say, gone): (&mut Say<'_>, &Cell<bool>)) -> bool {
    let heard = if words.is_empty() { is_heard() } else { say(waiting(index, words)) };
    gone.set(gone.get() || heard.is_err());
    heard.is_ok()
}

/// Whether somebody still listens: a pipe that nobody reads any more says so.
///
/// # Errors
/// When nobody does.
pub(super) fn is_heard() -> io::Result<()> {
    let output = io::stdout();
    let mut asked = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::empty())];
    poll(&mut asked, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    let gone = asked[0].revents().intersects(PollFlags::ERR | PollFlags::HUP);
    if gone { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// The directories in which steps make drafts, each with a slash at its end.
fn draft_directories(steps: &[Step]) -> BTreeSet<String> {
    let directory = |step: &Step| match step {
        Step::WriteFile { path, .. }
        | Step::SendFile { path, .. }
        | Step::EditFile { path, .. }
        | Step::Download { path, .. }
        | Step::MakeLink { path, .. } => path.rsplit_once('/').map(|(directory, _)| format!("{directory}/")),
        _ => None,
    };
    steps.iter().filter_map(directory).collect()
}

struct Order<'a> {
    machine: &'a Arc<Machine>,
    keep: Option<Keep<'a>>,
    /// What keeps others out until it is over.
    lock: Option<lock::Admitted>,
    steps: &'a [Step],
    files: Files<'a>,
    /// Where large files come from.
    input: &'a mut dyn io::Read,
    /// Files that are written and not in their places yet, with the numbers of their steps.
    drafts: VecDeque<(usize, Option<Draft>)>,
    journal: Option<Journal>,
    /// Whether somebody stopped listening while something was waited for.
    gone: Cell<bool>,
}

impl Order<'_> {
    fn carry_out(mut self, say: &mut Say<'_>) -> io::Result<bool> {
        for index in 0..self.steps.len() {
            say(Answer::Started(number(index)))?;
            crash::on_host();
            let begun = Instant::now();
            let done = self.one(index, say);
            if self.gone.get() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let (outcome, took) = (done.unwrap_or_else(failed), begun.elapsed());
            let is_failed = matches!(outcome, Outcome::Failed { .. });
            say(Answer::Ended { index: number(index), outcome, took })?;
            if is_failed {
                return Ok(false);
            }
        }
        if let Some(journal) = self.journal {
            journal.complete();
        }
        Ok(true)
    }

    /// One step, with what is written down about it.
    fn one(&mut self, index: usize, say: &mut Say<'_>) -> Result<Outcome> {
        if Path::new(timer::SYSTEM.late).exists() {
            let why = "this host rolls everything back: the time for the change is over";
            return Err(Failure { exit: UNDONE, why: why.to_owned() });
        }
        if let Some(journal) = &mut self.journal {
            journal.begin(index)?;
        }
        crash::on_host();
        let mut done = self.step(index, say);
        // Names that were given are on the disk before anybody hears that the last step is done.
        if done.is_err() || index + 1 == self.steps.len() {
            self.drafts.clear();
            let flushed = self.files.flush();
            done = done.and_then(|outcome| flushed.map(|()| outcome));
        }
        crash::on_host();
        // Nobody was there to hear of what was waited for: it did not fail.
        if self.gone.get() {
            return done;
        }
        // First for those who come later: perhaps nobody listens any more.
        match (&mut self.journal, &done) {
            (Some(journal), Ok(_)) => journal.done(index),
            (Some(journal), Err(failure)) => journal.failed(index, failure.exit),
            (None, _) => {}
        }
        crash::on_host();
        done
    }

    fn step(&mut self, index: usize, say: &mut Say<'_>) -> Result<Outcome> {
        let done = |result: Result| result.map(|()| Outcome::Done);
        match &self.steps[index] {
            Step::WriteFile { path, content, ownership } if home_of(path).is_none() => {
                let draft = self.drafted(index);
                done(self.files.write_drafted(draft, (path, content.bytes()), ownership))
            }
            Step::WriteFile { path, content, ownership } => done(self.files.write(path, content.bytes(), ownership)),
            Step::SendFile { path, file, ownership } => done(self.receive(path, (file, ownership), say)),
            Step::Unchanged { path, digest } => done(self.files.unchanged(path, digest.as_ref())),
            Step::EditFile { path, edit, create } => self.files.edit(path, edit, create.as_ref()),
            Step::MakeDirectory { path, ownership } => done(self.files.make_directory(path, ownership)),
            Step::MakeLink { path, target } => done(self.files.make_link(path, target)),
            Step::SetOwnership { path, ownership } => done(self.files.set_ownership(path, ownership)),
            Step::Remove { path, what } => done(self.files.remove(path, *what)),
            Step::Download { path, remote, ownership } => done(self.download(path, remote, ownership)),
            Step::Unpack(unpacking) => {
                let (machine, gone) = (self.machine, &self.gone);
                let person = |name: &str| machine.person(name);
                let mut sender = Sender { say, input: &mut *self.input, gone: &mut || gone.set(true) };
                let mut bring = |file: &LargeFile, to: &mut dyn io::Write| sender.bring(file, &machine.arrived, to);
                done(unpack::unpack(&machine.programs(&person), &*machine.accounts, unpacking, &mut bring))
            }
            Step::RemoveUnpacked { path } => done(unpack::remove(path)),
            step => self.other(index, step, say),
        }
    }

    /// A step that is no file.
    fn other(&mut self, index: usize, step: &Step, say: &mut Say<'_>) -> Result<Outcome> {
        let machine = self.machine;
        let person = |name: &str| machine.person(name);
        let running = |process| {
            if let Some(lock) = &self.lock {
                lock.runs(process);
            }
        };
        let programs = program::Programs { running: &running, ..machine.programs(&person) };
        let done = |result: Result| result.map(|()| Outcome::Done);
        let gone = &self.gone;
        let mut tell = |words: &str| tells(index, words, (say, gone));
        let ended = match step {
            Step::Run(command) => done(program::perform(&programs, command, &mut tell)),
            Step::RunUnless(command, guard) => program::perform_unless(&programs, (command, guard), &mut tell),
            Step::RunOr(command, alternatives) => done(program::perform_or(&programs, command, alternatives)),
            Step::RefreshPackages => done(packages::refresh(&programs, &mut tell)),
            Step::RemovePackages(removal) => packages::remove(&programs, removal, &mut tell),
            Step::Send(sending) => http::send(&programs, sending),
            Step::Await(gate) => return done(self.await_gate(index, gate, say)),
            step => return self.kept(step),
        };
        // It may have made or removed users.
        machine.accounts.forget();
        ended
    }

    /// A step about what armilla keeps on this host.
    fn kept(&mut self, step: &Step) -> Result<Outcome> {
        let keep = self.keep.ok_or_else(nowhere)?;
        let run = |command: &crate::step::Command| self.machine.run(command);
        let means = Means { program: Some(self.machine.path()), ..Means::of(keep, &run) };
        let timer = Timer { keep, run: &run, system: timer::SYSTEM };
        let done = |result: Result| result.map(|()| Outcome::Done);
        match step {
            Step::KeepCopy { owner, generation, path } => done(copies::keep_copy(keep, owner, *generation, path)),
            Step::DropCopies { owner } => done(copies::drop_copies(keep, owner)),
            Step::Arm { owner, name, after } => done(timer::arm(timer, owner, (name, *after), self.machine.path())),
            Step::Extend { owner, name } => done(timer::extend(timer, owner, name)),
            Step::Disarm { owner, name } => done(timer::disarm(timer, owner, name)),
            Step::GiveUp { owner, name } => done(timer::give_up(timer, owner, name)),
            Step::SaveLedger { .. } if self.journal.is_some() => {
                Err(Failure::new("a ledger is saved by an order of its own"))
            }
            Step::SaveLedger { owner, ledger, journal } => done(ledger::save(keep, owner, ledger.as_deref(), *journal)),
            Step::AdoptLedger { owner } => done(ledger::adopt(keep, owner)),
            Step::Snapshot(snapshot) => done(undo::snapshot(keep, snapshot, means)),
            Step::Commit { owner, name } => done(undo::commit(keep, owner, name)),
            Step::Undo { owner, name } => undo::undo(keep, owner, name, means),
            other => Err(Failure::new(format!("this host program does not know the step {other:?}"))),
        }
    }

    fn await_gate(&self, index: usize, gate: &Gate, say: &mut Say<'_>) -> Result {
        let person = |name: &str| self.machine.person(name);
        let mut ask = |probe: &crate::step::Probe, left| {
            let readings = self.machine.read(std::slice::from_ref(probe), left);
            readings.get(probe).cloned().unwrap_or_else(|| crate::step::Reading::Failed("no answer".to_owned()))
        };
        let mut tell = |words: &str| tells(index, words, (say, &self.gone));
        gate::pass(&self.machine.programs(&person), gate, &mut ask, &mut tell)
    }

    fn download(&mut self, path: &str, remote: &Remote, ownership: &Ownership) -> Result {
        let person = |name: &str| self.machine.person(name);
        let mut draft = self.files.draft(path, ownership)?;
        http::fetch(&self.machine.programs(&person), remote, path, &mut Sink(&mut draft))?;
        self.files.place(draft)
    }

    fn receive(&mut self, path: &str, (file, ownership): (&LargeFile, &Ownership), say: &mut Say<'_>) -> Result {
        let (arrived, gone) = (&self.machine.arrived, &self.gone);
        let mut draft = self.files.draft(path, ownership)?;
        let mut sender = Sender { say, input: &mut *self.input, gone: &mut || gone.set(true) };
        sender.bring(file, arrived, &mut Sink(&mut draft))?;
        self.files.place(draft)?;
        if home_of(path).is_none() {
            arrived.remember(file, path);
        }
        Ok(())
    }

    /// The draft of a step; the drafts of all files that the next steps write, too, if there is none yet.
    fn drafted(&mut self, index: usize) -> Option<Draft> {
        if self.drafts.front().is_none_or(|(first, _)| *first != index) {
            let next = self.steps[index..].iter().map_while(|step| match step {
                Step::WriteFile { path, content, ownership } if home_of(path).is_none() => {
                    Some((path.as_str(), content.bytes(), ownership))
                }
                _ => None,
            });
            let next: Vec<_> = next.take(TOGETHER).collect();
            self.drafts = (index..).zip(self.files.drafts(&next)).collect();
        }
        self.drafts.pop_front().and_then(|(_, draft)| draft)
    }
}

/// Takes what is fetched.
struct Sink<'a>(&'a mut Draft);

impl io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fill(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failed(failure: Failure) -> Outcome {
    Outcome::Failed { exit: failure.exit, stderr: failure.why }
}
