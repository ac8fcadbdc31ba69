//! Carrying a plan out: written down here and on the hosts, stopped by signals and by lost leases, looked at afterwards.
//!
//! In: a plan that was approved, what is desired, and leases. Out: hosts changed exactly so, their ledgers, a report and an exit
//! code. Never: a change without a lease, or before it is written down on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::leases::Locks;
use super::plan::Shape;
use super::proposal::Consent;
use super::settle::{self, Settled};
use super::signals::Signals;
use super::survey::Fleet;
use super::{Exit, Global, identity, runs, ui};
use crate::apply::{self, End, Event, Failure, Limits, Permit, Report, Restoration};
use crate::catalog::Catalog;
use crate::diag::{Diagnostic, shown};
use crate::history::{self, Head, Record as Written};
use crate::ledger::{Applied, Revision};
use crate::name::{HostName, RunId};
use crate::plan::{Plan, Stage, Work};
use crate::report::human::{self, Ending, Progress, Record};
use crate::report::json;
use crate::step::Digest;

/// A plan that was approved, and all that is needed to carry it out.
pub(super) struct Undertaking<'a> {
    /// The hosts, and how to work with them.
    pub fleet: &'a Fleet,
    /// By what right.
    pub leases: Locks,
    /// What is desired.
    pub catalog: &'a Catalog,
    /// What is done.
    pub plan: &'a Plan,
    /// Hosts on which nothing is begun, and why.
    pub refused: BTreeMap<HostName, String>,
    /// Hosts with a journal of a run that was cut off: it is worked in even if nothing is done there.
    pub unsettled: BTreeSet<HostName>,
    /// The run.
    pub run: RunId,
    /// The run it goes on with.
    pub resumes: Option<RunId>,
    /// The project's folder.
    pub project: PathBuf,
    /// The project's revision.
    pub revision: Option<Revision>,
    /// The text of the saved plan, and its digest.
    pub saved: (Vec<u8>, Digest),
    /// How it is shown.
    pub show: Show,
}

/// How a run is shown.
#[derive(Debug, Clone)]
pub(super) struct Show {
    /// Events and the report as JSON.
    pub json: bool,
    /// How often `-v` was typed.
    pub verbose: u8,
    /// Whether the exit code tells of changes.
    pub detailed: bool,
    /// How long a host may be away that was lost in the middle.
    pub patience: Duration,
    /// What to type to plan again.
    pub plan_command: String,
}

impl Show {
    /// As the flags of a command say.
    pub(super) fn new(global: &Global, shape: &Shape, consent: &Consent, plan_command: String) -> Self {
        Self {
            json: shape.json,
            verbose: global.verbose,
            detailed: consent.detailed_exitcode,
            patience: consent.patience.reboot_timeout,
            plan_command,
        }
    }
}

/// Carries it out, gives the leases back, and says how it went.
pub(super) async fn perform(work: Undertaking<'_>) -> Exit {
    let (begun, at) = (Instant::now(), identity::now());
    let written = match begin(&work, &at) {
        Ok(written) => written,
        Err(problem) => {
            ui::problems(&problem.into());
            work.leases.release().await;
            return Exit::Error;
        }
    };
    let plan = Arc::new(work.plan.clone());
    let (stop, stopping) = watch::channel(false);
    let (approve, approved) = watch::channel(false);
    let approval = written.approval();
    let course = Arc::new(Mutex::new(Course::new(&plan, &work.show, written, stop.clone())));
    let asked: Arc<OnceLock<Exit>> = Arc::default();
    // From here on a signal lets what runs finish, to the last ledger.
    let signals = asked_to_stop(Signals::new(), stop.clone(), Arc::clone(&asked), work.run.clone());
    work.leases.begin();
    let signals = tokio::spawn(signals);
    let tasks = [
        tokio::spawn(tick(Arc::clone(&course), begun)),
        tokio::spawn(lost(work.leases.lost(), stop)),
        tokio::spawn(approvals(approval, approve)),
    ];
    let applied = Applied {
        run: work.run.clone(),
        plan: work.saved.1.clone(),
        at,
        who: identity::who(),
        revision: work.revision.clone(),
    };
    let limits = Limits { forks: work.fleet.forks, patience: work.show.patience };
    let permit = Permit { applied: applied.clone(), tickets: tickets(&work), refused: work.refused.clone() };
    let tell = teller(&course, begun);
    let people = apply::Signals { stop: stopping, approved };
    let report = apply::run(&plan, Arc::clone(&work.fleet.transport), limits, Some(permit), people, tell).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let look = &touched(&plan, &report) | &work.unsettled;
    let settled = settle::settle(work.fleet, &work.leases, work.catalog, &look, &applied).await;
    crate::crash::point();
    let exit = match asked.get() {
        Some(signal) if report.stopped => *signal,
        _ => exit(&work, &report, &settled),
    };
    tell_end(&work, &plan, &report, &settled, &course, begun.elapsed(), exit);
    crate::crash::point();
    work.leases.release().await;
    crate::crash::point();
    signals.abort();
    exit
}

fn begin(work: &Undertaking<'_>, at: &str) -> Result<Written, Diagnostic> {
    let head = Head {
        version: history::VERSION,
        run: work.run.clone(),
        environment: work.plan.environment.clone(),
        command: identity::command_line(),
        who: identity::who(),
        at: at.to_owned(),
        project: work.project.clone(),
        revision: work.revision.clone(),
        resumes: work.resumes.clone(),
        changes: work.plan.summary().changes(),
    };
    let written = runs::history()?.begin(&head, &work.saved.0);
    written.map_err(|error| {
        Diagnostic::error(format!("the run cannot be written down, so nothing was changed: {error}"))
            .hint("make room there, or name another folder in ARMILLA_STATE_DIR")
    })
}

fn tickets(work: &Undertaking<'_>) -> BTreeMap<HostName, crate::lease::Ticket> {
    work.leases.hosts().filter_map(|host| Some((host.clone(), work.leases.ticket(host)?))).collect()
}

fn tell_end(
    work: &Undertaking<'_>,
    plan: &Plan,
    report: &Report,
    settled: &Settled,
    course: &Arc<Mutex<Course>>,
    took: Duration,
    exit: Exit,
) {
    let mut course = locked(course);
    course.progress.finish();
    if work.show.json {
        ui::line(&json::report(plan, report, &settled.again, took).to_string());
    } else {
        ui::result(&human::summary(
            plan,
            report,
            &Ending {
                took,
                verbose: work.show.verbose,
                width: ui::width(),
                record: &course.record,
                again: Ok(&settled.again),
                plan_command: work.show.plan_command.clone(),
                apply_command: format!("armilla resume {}", work.run),
            },
        ));
    }
    settle::tell(&settled.unsaved);
    if let Some(why) = &course.unwritten {
        ui::say(&format!("error: the run was stopped, because it could no longer be written down: {why}"));
    }
    let left = settled.again.entries().filter(|entry| !entry.is_always()).count();
    let ending = history::Ending { exit: exit as i32, left, seconds: took.as_secs() };
    if let Some(Err(error)) = course.written.take().map(|written| written.end(ending)) {
        ui::say(&format!("warning: the end of the run was not written down: {error}"));
    }
}

/// What a run shows while it runs, and remembers for its end.
struct Course {
    plan: Arc<Plan>,
    progress: Progress,
    record: Record,
    json: bool,
    written: Option<Written>,
    /// Why it could not be written down any more.
    unwritten: Option<String>,
    stop: watch::Sender<bool>,
}

impl Course {
    fn new(plan: &Arc<Plan>, show: &Show, written: Written, stop: watch::Sender<bool>) -> Self {
        let progress = match ui::live() {
            true if !show.json => {
                Progress::live(Arc::clone(plan), indicatif::ProgressDrawTarget::stderr(), show.verbose)
            }
            _ if show.json => Progress::lines(Arc::clone(plan), Box::new(std::io::sink()), show.verbose),
            _ => Progress::lines(Arc::clone(plan), Box::new(anstream::stderr()), show.verbose),
        };
        Self {
            plan: Arc::clone(plan),
            progress,
            record: Record::default(),
            json: show.json,
            written: Some(written),
            unwritten: None,
            stop,
        }
    }

    fn event(&mut self, event: &Event, at: Duration) {
        self.write(event, at);
        if self.json {
            ui::line(&json::event(&self.plan, event, at).to_string());
        }
        self.record.note(event);
        self.progress.tick(at);
        self.progress.event(event);
    }

    /// What cannot be written down any more is not gone on with: the stages that run end, and no other begins.
    fn write(&mut self, event: &Event, at: Duration) {
        let Some(written) = &mut self.written else { return };
        if let Err(error) = written.event(event, at) {
            self.unwritten = Some(error.to_string());
            self.written = None;
            let _ = self.stop.send(true);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn teller(course: &Arc<Mutex<Course>>, begun: Instant) -> Arc<dyn Fn(Event) + Send + Sync> {
    let course = Arc::clone(course);
    Arc::new(move |event| locked(&course).event(&event, begun.elapsed()))
}

async fn tick(course: Arc<Mutex<Course>>, begun: Instant) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        locked(&course).progress.tick(begun.elapsed());
    }
}

/// Somebody else's note that hosts may follow the canaries: see [`super::approve`].
async fn approvals(note: PathBuf, approve: watch::Sender<bool>) {
    while !note.exists() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let _ = approve.send(true);
    // Who waits for it must never see it gone.
    std::future::pending::<()>().await;
}

/// A host that gave its lease to somebody else ends the run: what runs is finished, nothing more begins.
async fn lost(mut lost: watch::Receiver<BTreeMap<HostName, String>>, stop: watch::Sender<bool>) {
    let mut told = BTreeSet::new();
    while lost.changed().await.is_ok() {
        for (host, why) in lost.borrow_and_update().iter().filter(|(host, _)| told.insert((*host).clone())) {
            ui::say(&shown(&format!("error: {host} took our lease back: {why}; nothing more is begun")));
        }
        let _ = stop.send(true);
    }
}

/// The first signal asks to stop after what runs now; the second leaves at once.
async fn asked_to_stop(mut signals: Signals, stop: watch::Sender<bool>, asked: Arc<OnceLock<Exit>>, run: RunId) {
    let first = signals.next().await;
    ui::say(&format!(
        "stopping after the roles that run now; once more to leave at once. To go on: armilla resume {run}"
    ));
    let _ = asked.set(first);
    let _ = stop.send(true);
    let second = signals.next().await;
    std::process::exit(second as i32);
}

/// The hosts on which something was begun.
fn touched(plan: &Plan, report: &Report) -> BTreeSet<HostName> {
    let begun = |end: &End| match end {
        End::Done | End::PassedOver(_) => true,
        End::Failed(failure) => !matches!(failure, Failure::Refused { .. }),
        End::Skipped(_) | End::Stopped | End::Held(_) | End::NotNeeded => false,
    };
    let stages = plan.stages.iter().zip(&report.ends).filter(|(_, end)| begun(end));
    stages.filter_map(|(stage, _)| stage.work.host().cloned()).collect()
}

/// The truth, as a number: see [`super::exit`].
fn exit(work: &Undertaking<'_>, report: &Report, settled: &Settled) -> Exit {
    let plan = work.plan;
    let away = |host: Option<&HostName>| host.is_some_and(|host| work.leases.away.contains_key(host));
    // A host that did not answer when it was to be locked failed at nothing.
    let lost = |stage: &Stage, failure: &Failure| match failure {
        Failure::Host { .. } => true,
        Failure::Refused { .. } => away(stage.work.host()),
        _ => false,
    };
    let (mut failed, mut unreachable) = (report.stopped, !plan.unreachable.is_empty());
    let (mut undone, mut unsure) = (false, false);
    for (stage, end) in plan.stages.iter().zip(&report.ends) {
        failed |= matches!(end, End::Held(_));
        if let End::Failed(failure) = end {
            *match failure {
                Failure::Undone { .. } => &mut undone,
                Failure::Unsure { .. } => &mut unsure,
                failure if lost(stage, failure) => &mut unreachable,
                _ => &mut failed,
            } = true;
        }
    }
    let left = &settled.again;
    unreachable |= !left.unreachable.is_empty();
    // What has nothing to compare with (a command without a guard) is always in the plan again.
    let differs = left.entries().any(|entry| !entry.is_always() && !entry.is_kept());
    let back = || plan.stages.iter().zip(&report.ends).filter(|(stage, _)| matches!(stage.work, Work::Undo { .. }));
    let restored = |outcome| match outcome {
        Restoration::Stuck => {
            let lost = |(_, end): (&Stage, &End)| !end.is_well() && *end != End::Stopped;
            back().any(lost) || report.restored.values().any(|how| *how == outcome)
        }
        Restoration::Restored => back().any(|(_, end)| *end == End::Done),
    };
    match () {
        () if unsure || restored(Restoration::Stuck) => Exit::Uncertain,
        () if restored(Restoration::Restored) => Exit::RolledBack,
        () if failed => Exit::Failed,
        () if undone => Exit::RolledBack,
        () if unreachable => Exit::Unreachable,
        () if differs => Exit::Failed,
        () if work.show.detailed && plan.stages.iter().any(|stage| matches!(stage.work, Work::Change(_))) => {
            Exit::Changes
        }
        () => Exit::Success,
    }
}
