//! How a run ended.
//!
//! In: a plan, how each of its stages ended, and what a new look at the hosts found. Out: what was done, what was not
//! and because of what, and what to type next. Never: "converged" for a run that nobody checked or that left something.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::alike::{self, Alike};
use super::layout::{self, paint, wrap};
use super::view::{Diffs, Read, Subject, View};
use super::{failure, service, words};
use crate::apply::{End, Event, Failure, Report};
use crate::name::{Address, HostName};
use crate::plan::{Entry, Finding, Plan, PlannedBlock, StageId, Work};
use crate::step::Outcome;

/// How many of the slowest steps are shown.
const SLOWEST: usize = 10;
/// Who waited so long wants to know for what.
const LONG: Duration = Duration::from_secs(60);

/// What was noted of each step while it was done.
#[derive(Debug, Clone, Default)]
pub struct Record(BTreeMap<(StageId, usize), Noted>);

#[derive(Debug, Clone)]
struct Noted {
    needed: bool,
    took: Duration,
}

/// A step and how long it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timed {
    /// Its stage.
    pub stage: StageId,
    /// Its place in the stage.
    pub step: usize,
    /// How long it took.
    pub took: Duration,
}

impl Record {
    /// Notes the end of a step; other events are nothing to it.
    pub fn note(&mut self, event: &Event) {
        if let Event::StepEnded { stage, step, outcome, took } = event {
            let needed = *outcome != Outcome::NotNeeded;
            self.0.insert((*stage, *step), Noted { needed, took: *took });
        }
    }

    /// The steps that took longest, the longest first.
    pub fn slowest(&self, most: usize) -> Vec<Timed> {
        let mut all: Vec<Timed> = self
            .0
            .iter()
            .map(|((stage, step), noted)| Timed { stage: *stage, step: *step, took: noted.took })
            .collect();
        all.sort_by_key(|timed| std::cmp::Reverse(timed.took));
        all.truncate(most);
        all
    }

    fn was_needed(&self, stage: StageId, steps: std::ops::Range<usize>) -> bool {
        let noted: Vec<&Noted> = steps.filter_map(|step| self.0.get(&(stage, step))).collect();
        noted.is_empty() || noted.iter().any(|noted| noted.needed)
    }
}

/// What is known of a run when it is over, besides its report.
#[derive(Debug, Clone)]
pub struct Ending<'a> {
    /// How long it took.
    pub took: Duration,
    /// How often `-v` was typed; from 1 on, the slowest steps are shown, as after a long run.
    pub verbose: u8,
    /// Columns of the terminal.
    pub width: usize,
    /// What was noted of its steps.
    pub record: &'a Record,
    /// The plan that a new look at all hosts gives, or why there was none.
    pub again: Result<&'a Plan, String>,
    /// The members of services that are not healthy when all was done.
    pub unhealthy: &'a [Finding],
    /// What to type to plan again: `armilla plan staging`.
    pub plan_command: String,
    /// What to type to go on: `armilla resume RUN`.
    pub apply_command: String,
}

/// How a run ended, as text.
pub fn summary(plan: &Plan, report: &Report, ending: &Ending<'_>) -> String {
    let outcome = Outcomes::of(plan, report, ending.record);
    let surprises = surprises(&outcome, ending);
    let mut lines = vec![outcome.title(plan, report, ending, surprises.len())];
    lines.extend(outcome.hosts());
    lines.extend(failures(plan, report, ending.width));
    lines.extend(untouched(plan));
    lines.extend(left(&surprises, ending));
    lines.extend(unhealthy(plan, ending));
    lines.extend(slowest(plan, ending));
    lines.extend(next(plan, report, ending, surprises.is_empty() && ending.unhealthy.is_empty()));
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// What became of the resources of one host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    done: usize,
    not_needed: usize,
    failed: usize,
    unhealthy: usize,
    put_back: usize,
    unsure: usize,
    not_begun: usize,
}

/// What became of every resource.
struct Outcomes<'a> {
    tallies: BTreeMap<&'a HostName, Tally>,
    /// Those that are not as planned.
    open: BTreeSet<&'a Address>,
}

impl<'a> Outcomes<'a> {
    fn of(plan: &'a Plan, report: &Report, record: &Record) -> Self {
        let mut all = Self { tallies: BTreeMap::new(), open: BTreeSet::new() };
        for (id, stage) in plan.stages.iter().enumerate() {
            let end = report.ends.get(id).unwrap_or(&End::Stopped);
            match &stage.work {
                Work::Change(block) => all.block(id, block, end, record),
                Work::Gate { host, .. } => {
                    let failed = usize::from(matches!(end, End::Failed(_)));
                    all.tallies.entry(host).or_default().unhealthy += failed;
                }
                Work::Hook { .. } | Work::Undo { .. } | Work::Join | Work::Rolled(_) => {}
            }
        }
        all
    }

    fn block(&mut self, id: StageId, block: &'a PlannedBlock, end: &End, record: &Record) {
        if block.entries.iter().all(Entry::is_kept) {
            return;
        }
        let tally = self.tallies.entry(&block.host).or_default();
        let mut first = block.before.len();
        for entry in &block.entries {
            let steps = first..first + entry.steps().len();
            first = steps.end;
            let fate = fate(&steps, end);
            if fate != Fate::Done {
                self.open.insert(&entry.address);
            }
            match fate {
                Fate::Done if record.was_needed(id, steps) => tally.done += 1,
                Fate::Done => tally.not_needed += 1,
                Fate::Failed => tally.failed += 1,
                Fate::PutBack => tally.put_back += 1,
                Fate::Unsure => tally.unsure += 1,
                Fate::NotBegun => tally.not_begun += 1,
            }
        }
    }

    fn total(&self) -> Tally {
        let add = |a: Tally, b: &Tally| Tally {
            done: a.done + b.done,
            not_needed: a.not_needed + b.not_needed,
            failed: a.failed + b.failed,
            unhealthy: a.unhealthy + b.unhealthy,
            put_back: a.put_back + b.put_back,
            unsure: a.unsure + b.unsure,
            not_begun: a.not_begun + b.not_begun,
        };
        self.tallies.values().fold(Tally::default(), add)
    }

    fn title(&self, plan: &Plan, report: &Report, ending: &Ending<'_>, surprises: usize) -> String {
        let failed = report.ends.iter().enumerate().filter(|(_, end)| matches!(end, End::Failed(_)));
        let failed: BTreeSet<&HostName> = failed.filter_map(|(id, _)| plan.stages.get(id)?.work.host()).collect();
        let hosts = words::count(self.tallies.len(), "host");
        let took = words::span(ending.took);
        let total = self.total();
        let done = words::count(total.done, "change");
        let back = if total.put_back > 0 { format!("{} rolled back, ", total.put_back) } else { String::new() };
        let part = format!("{done} done, {back}{} not started, in {took}", total.not_begun);
        if !failed.is_empty() {
            return format!("{}: {part}", paint(layout::WRONG, &format!("Failed on {} of {hosts}", failed.len())));
        }
        if !report.converged() {
            return format!("{}: {part}", paint(layout::CHANGE, "Stopped"));
        }
        let (style, word, seen) = match &ending.again {
            Ok(_) if surprises > 0 => (layout::WRONG, "Done", "but not every resource is in sync".to_owned()),
            Ok(_) if !ending.unhealthy.is_empty() => {
                (layout::WRONG, "Done", "but not every service is healthy".to_owned())
            }
            Ok(_) => (layout::WELL, "Converged", "read again and in sync".to_owned()),
            Err(why) => (layout::CHANGE, "Done", format!("not checked: {}", words::one_line(why))),
        };
        let rest = match plan.left_out {
            0 => String::new(),
            some => format!("; {} left out", words::count(some, "resource")),
        };
        format!("{} in {took}: {done} on {hosts}, {seen}{rest}", paint(style, word))
    }

    /// One line for all hosts that ended alike.
    fn hosts(&self) -> Vec<String> {
        let mut alike: Vec<(Tally, Vec<&HostName>)> = Vec::new();
        for (host, tally) in &self.tallies {
            match alike.iter_mut().find(|(known, _)| known == tally) {
                Some((_, hosts)) => hosts.push(host),
                None => alike.push((*tally, vec![host])),
            }
        }
        let names: Vec<String> = alike.iter().map(|(_, hosts)| words::hosts(hosts.iter().copied())).collect();
        let widest = names.iter().map(|name| layout::width(name)).filter(|width| *width < 40).max().unwrap_or(0);
        let lines = names
            .iter()
            .zip(&alike)
            .map(|(name, (tally, _))| format!("  {}   {}", layout::pad(name, widest), tally.text()));
        lines.collect()
    }
}

/// What to type next.
fn next(plan: &Plan, report: &Report, ending: &Ending<'_>, well: bool) -> Vec<String> {
    let (look, again) = (words::one_line(&ending.plan_command), words::one_line(&ending.apply_command));
    if report.converged() {
        let open = !well || !plan.unreachable.is_empty() || ending.again.is_err();
        let text = format!("To see the rest:  {}", paint(layout::NAME, &look));
        return if open { vec![String::new(), text] } else { Vec::new() };
    }
    let again = paint(layout::NAME, &again);
    let look = paint(layout::NAME, &look);
    let is_back = |end: &End| matches!(end, End::Failed(Failure::Undone { .. }));
    let stays = if report.ends.iter().any(is_back) {
        "Changes that were not rolled back stay."
    } else {
        "Completed changes stay."
    };
    vec![String::new(), format!("{stays} To see the rest:  {look}   To continue:  {again}")]
}

impl Tally {
    fn text(self) -> String {
        let counts = [
            (self.done, "done"),
            (self.not_needed, "not needed"),
            (self.failed, "failed"),
            (self.unhealthy, "not healthy"),
            (self.put_back, "rolled back"),
            (self.unsure, "not known"),
            (self.not_begun, "not started"),
        ];
        let texts: Vec<String> =
            counts.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}")).collect();
        if texts.is_empty() { "nothing to do, healthy".to_owned() } else { texts.join(", ") }
    }
}

#[derive(PartialEq, Eq)]
enum Fate {
    Done,
    Failed,
    /// It was done, at least a part of it, and put back.
    PutBack,
    /// The same, and whether it was put back is not known.
    Unsure,
    NotBegun,
}

/// What became of an entry with these steps in a stage that ended so.
fn fate(steps: &std::ops::Range<usize>, end: &End) -> Fate {
    match end {
        End::Done => Fate::Done,
        End::Failed(Failure::Undone { cause, .. }) if begun(steps, cause) => Fate::PutBack,
        End::Failed(Failure::Unsure { cause, .. }) if begun(steps, cause) => Fate::Unsure,
        End::Failed(Failure::Undone { .. } | Failure::Unsure { .. })
        | End::Skipped(_)
        | End::Stopped
        | End::Held(_)
        | End::NotNeeded
        | End::PassedOver(_) => Fate::NotBegun,
        End::Failed(failure) => match failure.step() {
            Some(at) if steps.end <= at => Fate::Done,
            Some(at) if steps.contains(&at) => Fate::Failed,
            _ => Fate::NotBegun,
        },
    }
}

/// Whether steps were begun before something went wrong. Where it is not known in which step that was, they were.
fn begun(steps: &std::ops::Range<usize>, cause: &Failure) -> bool {
    cause.step().is_none_or(|at| steps.start <= at)
}

fn failures(plan: &Plan, report: &Report, width: usize) -> Vec<String> {
    let failed = report.ends.iter().enumerate().filter_map(|(id, end)| match end {
        End::Failed(failure) => Some((id, failure)),
        _ => None,
    });
    let mut lines = Vec::new();
    for (id, failure) in failed {
        lines.push(String::new());
        lines.extend(failure::lines(plan, id, failure));
        let skipped = skipped(plan, report, id, failure);
        if !skipped.is_empty() {
            let text = format!("not started because of it: {}", words::list(&skipped));
            lines.extend(wrap(&text, width.saturating_sub(2)).into_iter().map(|line| format!("  {line}")));
        }
    }
    lines
}

/// What was not begun because of a failed stage.
fn skipped(plan: &Plan, report: &Report, cause: StageId, failure: &Failure) -> Vec<String> {
    let mut texts = Vec::new();
    if let Some(Work::Change(block)) = plan.stages.get(cause).map(|stage| &stage.work) {
        let entry = failure.step().and_then(|step| plan.entry_of(cause, step));
        let done = entry.and_then(|entry| block.entries.iter().position(|other| other.address == entry.address));
        let rest = match failure {
            Failure::Undone { .. } | Failure::Unsure { .. } if entry.is_none() => 0,
            _ => block.entries.len() - done.map_or(0, |index| index + 1),
        };
        texts.extend(
            (rest > 0).then(|| format!("{} of {} on {}", words::count(rest, "more resource"), block.role, block.host)),
        );
    }
    let mut roles: Vec<(String, Vec<&HostName>)> = Vec::new();
    for (stage, end) in plan.stages.iter().zip(&report.ends) {
        if let (Work::Change(block), End::Skipped(by)) = (&stage.work, end)
            && *by == cause
        {
            let role = block.role.to_string();
            match roles.iter_mut().find(|(known, _)| *known == role) {
                Some((_, hosts)) => hosts.push(&block.host),
                None => roles.push((role, vec![&block.host])),
            }
        }
    }
    texts.extend(roles.iter().map(|(role, hosts)| format!("{role} on {}", words::hosts(hosts.iter().copied()))));
    texts
}

fn untouched(plan: &Plan) -> Vec<String> {
    if plan.unreachable.is_empty() {
        return Vec::new();
    }
    let text = format!("not changed, because unreachable when planned: {}", words::hosts(plan.unreachable.keys()));
    vec![String::new(), paint(layout::WRONG, &text)]
}

/// What a new look finds although the run says it was done, without what runs every time anyway.
fn surprises(outcomes: &Outcomes<'_>, ending: &Ending<'_>) -> Vec<PlannedBlock> {
    let Ok(again) = &ending.again else { return Vec::new() };
    let surprise = |entry: &&Entry| !entry.is_always() && !outcomes.open.contains(&entry.address);
    let blocks = again.blocks().filter(|block| outcomes.tallies.contains_key(&block.host));
    let blocks = blocks.map(|block| {
        let entries = block.entries.iter().filter(surprise).cloned().collect();
        PlannedBlock { entries, ..block.clone() }
    });
    blocks.filter(|block| !block.entries.is_empty()).collect()
}

fn left(surprises: &[PlannedBlock], ending: &Ending<'_>) -> Vec<String> {
    if surprises.is_empty() {
        return Vec::new();
    }
    let view = View {
        revision: None,
        read: Read::Now(ending.took),
        diffs: Diffs::Short,
        verbose: 0,
        width: ending.width,
        command: None,
        limit: None,
        part: None,
        hosts_left_out: 0,
        subject: Subject::Services,
    };
    let blocks: Vec<&PlannedBlock> = surprises.iter().collect();
    let mut lines = vec![String::new(), paint(layout::WRONG, "Reported as done, but not in sync:")];
    for (role, blocks) in service::by_role(&blocks) {
        lines.push(format!("  {}", paint(layout::QUIET, &format!("role {role}"))));
        lines.extend(service::roles(&blocks, &role, &view, |_| true));
    }
    lines
}

/// The members that are not healthy although all was done, with what their checks answer.
fn unhealthy(plan: &Plan, ending: &Ending<'_>) -> Vec<String> {
    if ending.unhealthy.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), paint(layout::WRONG, "Not healthy after the run:")];
    let mut found = Vec::new();
    for finding in ending.unhealthy {
        let check = finding.check.as_ref().map(|check| format!("check: {}; ", words::check(check)));
        let answer = words::one_line(finding.health.why().unwrap_or_default());
        let address = plan.endpoints.get(&finding.host).map(|endpoint| endpoint.address.as_str());
        let text = format!("{}answer: {answer}", check.unwrap_or_default());
        alike::note(&mut found, &finding.service, text, (&finding.host, address));
    }
    for Alike { key: service, text, hosts, .. } in found {
        let text = format!("{service} on {} ({text})", words::hosts(hosts));
        lines.extend(wrap(&text, ending.width.saturating_sub(2)).into_iter().map(|line| format!("  {line}")));
    }
    lines
}

fn slowest(plan: &Plan, ending: &Ending<'_>) -> Vec<String> {
    let steps = if ending.verbose > 0 || ending.took >= LONG { ending.record.slowest(SLOWEST) } else { Vec::new() };
    if steps.is_empty() {
        return Vec::new();
    }
    let lines = steps.iter().filter_map(|timed| {
        let work = &plan.stages.get(timed.stage)?.work;
        let step = words::step(work.steps().get(timed.step)?);
        Some(format!("  {}  {}  {step}", layout::pad(&words::span(timed.took), 12), work.host()?))
    });
    [String::new(), "slowest steps:".to_owned()].into_iter().chain(lines).collect()
}
