//! What a terminal, or whatever stands in its place, shows of an operation.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::patience::Patience;
use super::{Exit, Global, project_identity, ui};
use crate::diag::shown;
use crate::name::{HostName, RunId};
use crate::operation::{Finished, Notice, Observer, Ran, Reading, Recorded, describe};
use crate::plan::Plan;
use crate::report::human::{self, Ending, Progress, Record};
use crate::report::json;
use crate::workspace::FILE;

/// How often a live run is drawn anew.
const TICK: Duration = Duration::from_secs(1);

/// How a command tells of its run.
#[derive(Debug, Clone, Default)]
pub(super) struct Telling {
    /// Events and the report as JSON.
    pub(super) json: bool,
    /// Whether the exit code tells of changes.
    pub(super) detailed: bool,
    /// What to type to plan again.
    pub(super) plan_command: String,
    /// How long to wait for others.
    pub(super) patience: Option<Patience>,
}

/// Shows what is noticed.
pub(super) struct Screen {
    telling: Telling,
    verbose: u8,
    signal: OnceLock<Exit>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counter: Option<ui::Counter>,
    course: Option<LiveRun>,
    /// The lock that was told of last.
    awaited: String,
}

/// A run on its way.
struct LiveRun {
    run: RunId,
    plan: Arc<Plan>,
    begun: Instant,
    progress: Progress,
    record: Record,
}

impl Screen {
    pub(super) fn new(global: &Global, telling: Telling) -> Self {
        Self { telling, verbose: global.verbose, signal: OnceLock::new(), state: Mutex::default() }
    }

    pub(super) fn telling(&self) -> &Telling {
        &self.telling
    }

    /// The signal that asked to stop, if one did.
    pub(super) fn signal(&self) -> Option<Exit> {
        self.signal.get().copied()
    }

    /// A signal asks to stop.
    pub(super) fn stopping(&self, signal: Exit) {
        let _ = self.signal.set(signal);
        if let Some(course) = &self.state().course {
            let run = &course.run;
            course.progress.aside(|| {
                ui::say(&format!(
                    "stopping after the running steps; press Ctrl-C again to stop at once. To continue: armilla resume {run}"
                ));
            });
        }
    }

    /// Draws a live run anew, once a second, until it is dropped.
    pub(super) async fn tick(&self) -> Infallible {
        loop {
            tokio::time::sleep(TICK).await;
            if let Some(course) = &mut self.state().course {
                course.progress.tick(course.begun.elapsed());
            }
        }
    }

    /// Round trips of each host, for -vv.
    pub(super) fn round_trips(&self, trips: &BTreeMap<String, usize>) {
        if self.verbose >= 2 {
            let trips: Vec<String> = trips.iter().map(|(host, count)| format!("{host} {count}")).collect();
            ui::say(&format!("round trips: {}", trips.join(", ")));
        }
    }

    /// Says how an apply ended.
    pub(super) fn finished(&self, finished: &Finished) -> Exit {
        if let (Some(ran), Some(mut course)) = (&finished.ran, self.state().course.take()) {
            course.progress.finish();
            self.report(ran, &course.record);
        }
        unsaved(&finished.unsaved);
        match finished.ran.as_ref().map(|ran| &ran.recorded) {
            Some(Recorded::Stopped(why)) => {
                ui::say(&format!("error: the run was stopped, because its journal could not be written: {why}"));
            }
            Some(Recorded::WithoutEnd(why)) => {
                ui::say(&format!("warning: the end of the run was not recorded: {why}"));
            }
            Some(Recorded::Whole) | None => {}
        }
        Exit::of(finished.outcome, self.telling.detailed, self.signal())
    }

    fn report(&self, ran: &Ran, record: &Record) {
        if self.telling.json {
            ui::json(&json::report(&ran.plan, &ran.report, &ran.again, &ran.unhealthy, ran.took));
            return;
        }
        let ending = Ending {
            took: ran.took,
            verbose: self.verbose,
            width: ui::width(),
            record,
            again: Ok(&ran.again),
            unhealthy: &ran.unhealthy,
            plan_command: self.telling.plan_command.clone(),
            apply_command: format!("armilla resume {}", ran.run),
        };
        ui::result(&human::summary(&ran.plan, &ran.report, &ending));
    }

    fn begin(&self, run: &RunId, plan: &Arc<Plan>) {
        let progress = match ui::live() {
            _ if self.telling.json => Progress::lines(Arc::clone(plan), Box::new(std::io::sink()), self.verbose),
            true => Progress::live(Arc::clone(plan), indicatif::ProgressDrawTarget::stderr(), self.verbose),
            false => Progress::lines(Arc::clone(plan), Box::new(anstream::stderr()), self.verbose),
        };
        let (run, plan, begun) = (run.clone(), Arc::clone(plan), Instant::now());
        self.state().course = Some(LiveRun { run, plan, begun, progress, record: Record::default() });
    }

    /// A line beside a live run.
    fn say(&self, text: &str) {
        match &self.state().course {
            Some(course) => course.progress.aside(|| ui::say(&shown(text))),
            None => ui::say(&shown(text)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Screen {
    fn notice(&self, notice: Notice<'_>) {
        match notice {
            Notice::Reading { what, hosts } => {
                let mut state = self.state();
                state.course.iter_mut().for_each(|course| course.progress.pause());
                state.counter = Some(ui::Counter::new(label(what), hosts));
            }
            Notice::Answered { host, error } => {
                if let Some(counter) = &self.state().counter {
                    counter.answered(host, error.is_some());
                }
            }
            Notice::Read => {
                if let Some(counter) = self.state().counter.take() {
                    counter.finish();
                }
            }
            Notice::UnknownFact { host, fact, why } => {
                self.say(&format!("warning: {host}: facts.{fact} is not known: {why}"));
            }
            Notice::AwaitingLock { host, held } => {
                let mut state = self.state();
                if state.awaited != held.lease.id.0 {
                    state.awaited.clone_from(&held.lease.id.0);
                    ui::say(&format!("waiting for {}", describe(host, held)));
                }
            }
            Notice::AwaitingService { service, why } => self.say(&format!("waiting for {service}: {why}")),
            Notice::AwaitingMember { service, host, why } => {
                self.say(&format!("waiting for {service} on {host}: {why}"));
            }
            Notice::ProjectRecorded { project } => ui::say(&project_identity::added(project)),
            Notice::ProjectNotRecorded { project, why } => ui::say(&format!(
                "warning: {FILE} cannot be written ({why}); add `project: {project}` to it, and the next run needs no --adopt"
            )),
            Notice::Begun { run, plan } => self.begin(run, plan),
            Notice::Event { event, at } => {
                if let Some(course) = &mut self.state().course {
                    if self.telling.json {
                        ui::json(&json::event(&course.plan, event, at));
                    }
                    course.record.note(event);
                    course.progress.tick(at);
                    course.progress.event(event);
                }
            }
            Notice::LockLost { host, why } => {
                self.say(&format!("error: the lock of {host} was lost: {why}; no further step starts"));
            }
        }
    }
}

fn label(what: Reading) -> &'static str {
    match what {
        Reading::Facts => "facts",
        Reading::Resources => "reading",
        Reading::Removed => "reading the hosts again",
        Reading::Health => "health",
        Reading::State => "asking",
    }
}

/// Says whose ledger was not written.
pub(super) fn unsaved(unsaved: &BTreeMap<HostName, String>) {
    for (host, why) in unsaved {
        ui::say(&shown(&format!(
            "warning: {host}: its ledger was not written ({why}); the next run completes it from the journal"
        )));
    }
}
