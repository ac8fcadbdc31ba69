//! `armilla apply ENV`: shows the plan, asks, and does exactly what it showed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::load::{self, Loaded};
use super::part::{Lists, Only};
use super::plan::{self, Next, Shape};
use super::survey::{self, Fleet, Survey};
use super::{Connection, Exit, Global, Selection, environment, ui};
use crate::apply::{self, End, Event, Failure, Limits, Report};
use crate::diag::Diagnostics;
use crate::name::HostName;
use crate::plan::{Plan, Work};
use crate::report::human::{self, Ending, Progress, Record};
use crate::report::json;

/// Brings hosts to the state the files describe.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Apply {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    shape: Shape,
    /// Do not ask
    #[arg(short, long = "auto-approve", visible_alias = "yes")]
    yes: bool,
    /// Only show the plan, as `armilla plan` does
    #[arg(short = 'C', long)]
    check: bool,
    /// Exit with 2 if something was changed
    #[arg(long)]
    detailed_exitcode: bool,
    #[command(flatten)]
    only: Only,
    #[command(flatten)]
    lists: Lists,
    #[command(flatten)]
    connection: Connection,
}

/// Runs the command.
pub(super) fn run(global: &Global, command: &Apply) -> Exit {
    let command = &Apply { selection: command.selection.with(&command.only), ..command.clone() };
    let listed = plan::listed(global, &command.selection, &command.lists, &command.shape);
    let result = listed.unwrap_or_else(|| {
        if !command.check {
            return apply(global, command);
        }
        let survey = plan::show(global, &command.selection, &command.connection, &command.shape);
        survey.map(|survey| plan::exit(&survey.plan, command.detailed_exitcode))
    });
    result.unwrap_or_else(|problems| {
        ui::problems(&problems);
        Exit::Error
    })
}

fn apply(global: &Global, command: &Apply) -> Result<Exit, Diagnostics> {
    let mut loaded = load::load(global, &command.selection)?;
    let fleet = survey::fleet(global, &command.connection, &mut loaded)?;
    environment::banner(&loaded);
    super::block_on(async {
        let survey = survey::survey(&fleet, &loaded).await;
        let exit = match survey {
            Ok(survey) => Ok(planned(global, command, &fleet, &loaded, &survey).await),
            Err(problems) => Err(problems),
        };
        fleet.tell_round_trips(&loaded.endpoints());
        fleet.transport.close().await;
        exit
    })
}

async fn planned(global: &Global, command: &Apply, fleet: &Fleet, loaded: &Loaded, survey: &Survey) -> Exit {
    let shape = Shape { next: Next::Doing, ..command.shape.clone() };
    plan::print(global, &command.selection, &command.connection, &shape, loaded, survey);
    let summary = survey.plan.summary();
    if summary.refused + summary.unreadable > 0 {
        ui::say("error: the plan has resources that must not be changed or could not be read; nothing was changed");
        ui::say("hint: mend them, or leave their hosts out with -l 'all:!HOST'");
        return Exit::Error;
    }
    if summary.changes() == 0 {
        return plan::exit(&survey.plan, command.detailed_exitcode);
    }
    if let Err(exit) = approved(command, loaded) {
        return exit;
    }
    perform(global, command, fleet, survey).await
}

fn approved(command: &Apply, loaded: &Loaded) -> Result<(), Exit> {
    if command.yes {
        return Ok(());
    }
    if !ui::can_ask() {
        ui::say("error: there is no terminal to ask whether to do this; nothing was changed");
        ui::say("hint: say so beforehand with -y (--auto-approve)");
        return Err(Exit::Error);
    }
    if environment::is_confirmed(loaded) {
        return Ok(());
    }
    ui::say("Nothing was changed.");
    Err(Exit::Error)
}

async fn perform(global: &Global, command: &Apply, fleet: &Fleet, survey: &Survey) -> Exit {
    let begun = Instant::now();
    let plan = Arc::new(survey.plan.clone());
    let course = Arc::new(Mutex::new(Course::new(&plan, global.verbose, command.shape.json)));
    let (stop, stopping) = watch::channel(false);
    let asked: Arc<OnceLock<Exit>> = Arc::default();
    let signals = tokio::spawn(signals(stop, Arc::clone(&asked)));
    let ticking = tokio::spawn(tick(Arc::clone(&course), begun));
    let limits = Limits { forks: fleet.forks };
    let report = apply::run(&plan, Arc::clone(&fleet.transport), limits, stopping, teller(&course, begun)).await;
    ticking.abort();
    signals.abort();
    let again = survey::again(fleet, &survey.catalog, &touched(&plan, &report)).await;
    let took = begun.elapsed();
    let mut course = locked(&course);
    course.progress.finish();
    if command.shape.json {
        ui::line(&json::report(&plan, &report, &again, took).to_string());
    } else {
        ui::result(&human::summary(
            &plan,
            &report,
            &Ending {
                took,
                verbose: global.verbose,
                width: ui::width(),
                record: &course.record,
                again: Ok(&again),
                plan_command: plan::to_type("plan", &command.selection, &command.connection),
                apply_command: plan::to_type("apply", &command.selection, &command.connection),
            },
        ));
    }
    match asked.get() {
        Some(signal) if report.stopped => *signal,
        _ => exit(&plan, &report, &again, command.detailed_exitcode),
    }
}

/// What a run shows while it runs, and remembers for its end.
struct Course {
    plan: Arc<Plan>,
    progress: Progress,
    record: Record,
    json: bool,
}

impl Course {
    fn new(plan: &Arc<Plan>, verbose: u8, json: bool) -> Self {
        let progress = match ui::live() {
            true if !json => Progress::live(Arc::clone(plan), indicatif::ProgressDrawTarget::stderr(), verbose),
            _ if json => Progress::lines(Arc::clone(plan), Box::new(std::io::sink()), verbose),
            _ => Progress::lines(Arc::clone(plan), Box::new(anstream::stderr()), verbose),
        };
        Self { plan: Arc::clone(plan), progress, record: Record::default(), json }
    }

    fn event(&mut self, event: &Event, at: Duration) {
        if self.json {
            ui::line(&json::event(&self.plan, event, at).to_string());
        }
        self.record.note(event);
        self.progress.tick(at);
        self.progress.event(event);
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

/// The first signal asks to stop after what runs now; the second leaves at once. A terminal that was closed is a signal
/// like any other: the run goes on to a clean end without it.
async fn signals(stop: watch::Sender<bool>, asked: Arc<OnceLock<Exit>>) {
    use tokio::signal::unix::{Signal, SignalKind, signal};
    async fn heard(signal: Option<&mut Signal>) {
        match signal {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
    let mut terminate = signal(SignalKind::terminate()).ok();
    let mut hangup = signal(SignalKind::hangup()).ok();
    for round in 0..2 {
        let code = tokio::select! {
            _ = tokio::signal::ctrl_c() => Exit::Interrupted,
            () = heard(terminate.as_mut()) => Exit::Terminated,
            () = heard(hangup.as_mut()) => Exit::Terminated,
        };
        if round == 1 {
            std::process::exit(code as i32);
        }
        ui::say("stopping after the roles that run now; once more to leave at once");
        let _ = asked.set(code);
        let _ = stop.send(true);
    }
}

/// The hosts on which something was begun.
fn touched(plan: &Plan, report: &Report) -> BTreeSet<HostName> {
    let begun = |end: &End| !matches!(end, End::Skipped(_) | End::Stopped);
    let stages = plan.stages.iter().zip(&report.ends).filter(|(_, end)| begun(end));
    stages.filter_map(|(stage, _)| stage.work.host().cloned()).collect()
}

/// The truth, as a number: see [`super::exit`].
fn exit(plan: &Plan, report: &Report, left: &Plan, detailed: bool) -> Exit {
    let failures: Vec<&Failure> = report
        .ends
        .iter()
        .filter_map(|end| if let End::Failed(failure) = end { Some(failure) } else { None })
        .collect();
    let lost = |failure: &&&Failure| matches!(failure, Failure::Host { .. });
    let unreachable = !plan.unreachable.is_empty() || failures.iter().any(|f| lost(&f)) || !left.unreachable.is_empty();
    let failed = failures.iter().any(|f| !lost(&f));
    // What has nothing to compare with (a command without a guard) is always in the plan again.
    let differs = left.entries().any(|entry| !entry.is_always());
    match () {
        () if failed => Exit::Failed,
        () if unreachable => Exit::Unreachable,
        () if differs => Exit::Failed,
        () if detailed && plan.stages.iter().any(|stage| matches!(stage.work, Work::Change(_))) => Exit::Changes,
        () => Exit::Success,
    }
}
