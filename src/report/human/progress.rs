//! What is happening, while it happens.
//!
//! In: a plan, the events of its run, and once a second how long the run lasts. Out: on a terminal, a line for each host
//! that is worked on; elsewhere, a line for each stage that is over and a sign of life. Never: a clock; a write to
//! anything but what it was given; silence for longer than half a minute.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::course::RunState;
use super::failure::{self, subject};
use super::layout::{self, paint};
use super::{rollout, words};
use crate::apply::{End, Event};
use crate::name::ServiceName;
use crate::plan::{Entry, Moment, Plan, StageId, Work};
use crate::rollout::Hold;
use crate::step::Outcome;

/// Where nobody looks at a terminal, systems that kill silent jobs do (mostly after some minutes).
const HEARTBEAT: Duration = Duration::from_secs(30);
/// More lines than this are no help on a terminal of 24.
const LIVE: usize = 12;
/// Hosts named in a sign of life.
const NAMED: usize = 4;

/// Shows a run on its way.
pub struct Progress {
    course: RunState,
    out: Out,
    verbose: u8,
    /// When the last line was written.
    spoke: Duration,
    is_paused: bool,
}

enum Out {
    Lines(Box<dyn Write + Send>),
    Live(Live),
}

struct Live {
    multi: MultiProgress,
    slots: Vec<ProgressBar>,
    bottom: ProgressBar,
}

impl Progress {
    /// One line for each thing that is over: for CI and files.
    pub fn lines(plan: Arc<Plan>, out: Box<dyn Write + Send>, verbose: u8) -> Self {
        Self { course: RunState::new(plan), out: Out::Lines(out), verbose, spoke: Duration::ZERO, is_paused: false }
    }

    /// A line for each host that is worked on, drawn over and over.
    pub fn live(plan: Arc<Plan>, target: ProgressDrawTarget, verbose: u8) -> Self {
        let multi = MultiProgress::with_draw_target(target);
        let bottom = multi.add(bar());
        let live = Live { multi, slots: Vec::new(), bottom };
        Self { course: RunState::new(plan), out: Out::Live(live), verbose, spoke: Duration::ZERO, is_paused: false }
    }

    /// Something happened.
    pub fn event(&mut self, event: &Event) {
        self.is_paused = false;
        self.course.note(event);
        let lines = self.told(event);
        self.say(&lines);
        self.draw();
    }

    /// The run lasts this long now. To be called once a second.
    pub fn tick(&mut self, elapsed: Duration) {
        self.course.now = elapsed;
        let silent = elapsed.saturating_sub(self.spoke) >= HEARTBEAT;
        if matches!(self.out, Out::Lines(_)) && silent && !self.course.is_idle() {
            let lines = self.heartbeat();
            self.say(&lines);
        }
        self.draw();
    }

    /// The run is over: a terminal is left as if nothing had been drawn.
    pub fn finish(&mut self) {
        match &mut self.out {
            Out::Lines(out) => drop(out.flush()),
            Out::Live(live) => drop(live.multi.clear()),
        }
    }

    /// Writes something else to the terminal, beside what is drawn.
    pub fn aside(&self, write: impl FnOnce()) {
        match &self.out {
            Out::Lines(_) => write(),
            Out::Live(live) => live.multi.suspend(write),
        }
    }

    /// Another bar is drawn from now on, until the next event.
    pub fn pause(&mut self) {
        self.is_paused = true;
        self.finish();
    }

    /// Nobody is left to hear of it if standard error is closed.
    fn say(&mut self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        self.spoke = self.course.now;
        match &mut self.out {
            Out::Lines(out) => {
                for line in lines {
                    let _ = writeln!(out, "{line}");
                }
                let _ = out.flush();
            }
            Out::Live(live) => lines.iter().for_each(|line| drop(live.multi.println(line))),
        }
    }

    fn told(&self, event: &Event) -> Vec<String> {
        match event {
            Event::StepEnded { stage, step, outcome, took } if self.verbose > 0 => {
                self.step(*stage, *step, outcome, *took).into_iter().collect()
            }
            Event::StageEnded { stage, end, took } => self.stage(*stage, end, *took),
            Event::Stopping => vec!["stopping: running steps finish, nothing new starts".to_owned()],
            Event::Holding { service, hold: Hold::Approval { .. } | Hold::TooFew { .. } | Hold::Canary { .. } } => {
                self.holding(service).into_iter().collect()
            }
            Event::Halted { service, halt: why } => {
                let why = rollout::halt(&self.course.plan, why);
                vec![paint(layout::WRONG, &format!("{service}  no other host starts: {why}"))]
            }
            Event::RollingBack { service, host } => {
                vec![format!("{host}  {service}  {}", paint(layout::ACT, "rolling back"))]
            }
            Event::RolledBack { service, outcome } => vec![format!("{service}  {}", rollout::restoration(*outcome))],
            _ => Vec::new(),
        }
    }

    fn holding(&self, service: &ServiceName) -> Option<String> {
        let hold = self.course.hold(service)?;
        Some(format!("{service}  waits: {}", rollout::hold(hold, self.course.now)))
    }

    fn step(&self, stage: StageId, step: usize, outcome: &Outcome, took: Duration) -> Option<String> {
        let work = self.course.work(stage)?;
        let how = match outcome {
            Outcome::Done => words::span(took),
            Outcome::NotNeeded => "not needed".to_owned(),
            Outcome::Failed { .. } => "failed".to_owned(),
        };
        let text = words::step(work.steps().get(step)?);
        let text = paint(layout::QUIET, &format!("  {text}  {how}"));
        Some(format!("{}  {}{text}", work.host()?, subject(work)))
    }

    fn stage(&self, stage: StageId, end: &End, took: Duration) -> Vec<String> {
        let Some(work) = self.course.work(stage) else { return Vec::new() };
        let Some(host) = work.host() else { return Vec::new() };
        match end {
            // What only stays is told in the plan.
            End::Done if matches!(work, Work::Change(block) if block.entries.iter().all(Entry::is_kept)) => Vec::new(),
            End::Done => {
                let what = match work {
                    Work::Change(block) => {
                        let done = block.entries.iter().filter(|entry| !entry.is_kept());
                        words::count(done.count(), "change")
                    }
                    Work::Undo { .. } => "rolled back".to_owned(),
                    Work::Hook { moment: Moment::Drain, .. } => "drained".to_owned(),
                    Work::Hook { moment: Moment::Undrain, .. } => "undrained".to_owned(),
                    _ => "healthy".to_owned(),
                };
                vec![format!("{host}  {}  {}  {}", subject(work), paint(layout::ADD, &what), words::span(took))]
            }
            End::Failed(failure) => failure::lines(&self.course.plan, stage, failure),
            End::PassedOver(failure) => {
                let mut lines = failure::lines(&self.course.plan, stage, failure);
                lines.push("  continues, as its role allows".to_owned());
                lines
            }
            End::Skipped(_) | End::Stopped | End::Held(_) if self.verbose > 0 => {
                vec![format!("{host}  {}  not started", subject(work))]
            }
            End::Skipped(_) | End::Stopped | End::Held(_) | End::NotNeeded => Vec::new(),
        }
    }

    /// What is waited for, so that a log of hours can be understood.
    fn heartbeat(&self) -> Vec<String> {
        let working = self.course.working();
        let more = working.len().saturating_sub(NAMED);
        let mut lines = vec![format!("after {}: {}", words::span(self.course.now), self.course.sentence())];
        lines.extend(working.into_iter().take(NAMED).map(|line| format!("  {line}")));
        lines.extend((more > 0).then(|| format!("  and {} more", words::count(more, "host"))));
        lines
    }

    fn draw(&mut self) {
        let Out::Live(live) = &mut self.out else { return };
        if self.is_paused {
            return;
        }
        let working = self.course.working();
        let shown = working.len().min(LIVE);
        for slot in live.slots.drain(shown.min(live.slots.len())..) {
            live.multi.remove(&slot);
        }
        while live.slots.len() < shown {
            live.slots.push(live.multi.insert_before(&live.bottom, bar()));
        }
        for (slot, text) in live.slots.iter().zip(&working) {
            slot.set_message(text.clone());
        }
        live.bottom.set_message(paint(layout::QUIET, &self.course.sentence()));
    }
}

/// A line that shows its message as far as it fits.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    bar.with_style(ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()))
}
