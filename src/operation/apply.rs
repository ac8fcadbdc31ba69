//! Applying an approved plan: recorded here and on the hosts, stopped on request, by lost locks or a lost record; then settled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::guard::Reread;
use super::plan_file::Made;
use super::proposal::Saved;
use super::settle::{Over, Settled};
use super::{Abort, Approval, Approved, Locked, Notice, Observer, Outcome, Proposal, Session, Stop, Survey};
use crate::apply::{self, End, Event, Failure, Limits, Permit, Report};
use crate::diag::{Diagnostic, Diagnostics, shown};
use crate::history::{self, Head, Record};
use crate::ledger::Applied;
use crate::name::{HostName, RunId};
use crate::plan::saved::SavedPlan;
use crate::plan::{Finding, Plan};
use crate::secret::LargeFile;
use crate::step::{Digest, Probe};
use crate::store;
use crate::transport::Transport;

/// How often it is looked whether somebody approved the canaries.
const POLL: Duration = Duration::from_secs(1);

/// How an apply ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// In one word.
    pub outcome: Outcome,
    /// Hosts whose ledger could not be written, and why. Their journal has all that was done, and the next run works it in.
    pub unsaved: BTreeMap<HostName, String>,
    /// The run; none if there was nothing to do.
    pub ran: Option<Ran>,
}

/// A run that is over.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its name.
    pub run: RunId,
    /// What it was to do.
    pub plan: Arc<Plan>,
    /// How each stage ended.
    pub report: Report,
    /// What still differs on the hosts that it touched.
    pub again: Plan,
    /// The members of services that are not healthy although all was done.
    pub unhealthy: Vec<Finding>,
    /// How long it took.
    pub took: Duration,
    /// Whether all of it was recorded.
    pub recorded: Recorded,
}

/// Whether a run was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// All of it.
    Whole,
    /// Up to the moment when that failed for this reason, which stopped the run.
    Stopped(String),
    /// All but its end, for this reason.
    WithoutEnd(String),
}

impl<T: Transport> Session<T> {
    /// Applies an approved plan, exactly as it is, settles the hosts, and releases the locks. Where there is nothing to do,
    /// ledgers are brought up to date. After a stop, the running stages end and no other begins.
    ///
    /// # Errors
    /// Why nothing was begun on any host.
    pub async fn apply(&self, locked: Locked<T>, approved: Approved, stop: Stop) -> Result<Finished, Abort> {
        let finished = self.apply_under(&locked, approved, &stop).await;
        locked.release().await;
        crate::crash::point();
        finished
    }

    async fn apply_under(&self, locked: &Locked<T>, approved: Approved, stop: &Stop) -> Result<Finished, Abort> {
        let Approved { proposal, reread, adoption } = approved;
        let (survey, root) = (&proposal.survey, proposal.project.as_deref());
        if proposal.is_empty() {
            let unadopted = locked.claim(root, (&survey.plan, &survey.catalog), adoption).await?;
            let mut finished = self.settle_only(locked, &proposal).await;
            finished.unsaved.extend(unadopted);
            return Ok(finished);
        }
        check_large_files(&proposal).await?;
        let Stored { plan, bytes, digest } = self.stored(&proposal, locked.run()).await?;
        let mut refused = match (reread, plan) {
            (Reread::Yes, Some(plan)) => moved(locked, &plan, &digest, stop).await?,
            _ => BTreeMap::new(),
        };
        if stop.is_requested() {
            return Err(Abort::Stopped);
        }
        refused.extend(locked.claim(root, (&survey.plan, &survey.catalog), adoption).await?);
        let applied = self.applied(locked, &proposal, digest);
        let record = self.begin(&applied, &proposal, &bytes)?;
        let run = Run { session: self, locked, proposal: &proposal, applied, refused, stop };
        Ok(run.finish(record).await)
    }

    async fn stored(&self, proposal: &Proposal, run: &RunId) -> Result<Stored, Abort> {
        if let Some(Saved { plan, bytes, digest }) = &proposal.saved {
            return Ok(Stored { plan: Some(plan.clone()), bytes: bytes.clone(), digest: digest.clone() });
        }
        if self.history().state().is_none() {
            let digest = Digest::of(run.as_str().as_bytes());
            return Ok(Stored { plan: None, bytes: Vec::new(), digest });
        }
        let Made { plan, bytes, digest, .. } = proposal.made().await?;
        Ok(Stored { plan: Some(plan), bytes, digest })
    }

    /// A run in which there is nothing to do: it is recorded nowhere.
    async fn settle_only(&self, locked: &Locked<T>, proposal: &Proposal) -> Finished {
        let applied = self.applied(locked, proposal, Digest::of(b""));
        let unsaved = locked.settle_unchanged(&proposal.survey, &applied).await;
        let all_there = proposal.survey.plan.unreachable.is_empty();
        let outcome = if all_there { Outcome::Converged { changed: false } } else { Outcome::Unreachable };
        Finished { outcome, unsaved, ran: None }
    }

    fn applied(&self, locked: &Locked<T>, proposal: &Proposal, plan: Digest) -> Applied {
        let identity = self.identity();
        Applied {
            run: locked.run().clone(),
            plan,
            at: identity.now(),
            who: identity.who.clone(),
            revision: proposal.about.revision.clone(),
        }
    }

    fn begin(&self, applied: &Applied, proposal: &Proposal, plan_file: &[u8]) -> Result<Record, Diagnostic> {
        let plan = &proposal.survey.plan;
        let head = Head {
            version: history::VERSION,
            run: applied.run.clone(),
            environment: plan.environment().clone(),
            id: plan.owner.project.clone(),
            command: self.identity().command.clone(),
            who: applied.who.clone(),
            at: applied.at.clone(),
            project: proposal.project.clone().unwrap_or_default(),
            revision: proposal.about.revision.clone(),
            resumes: proposal.resumes.clone(),
            changes: plan.summary().changes(),
        };
        self.history().begin(&head, plan_file).map_err(|error| {
            Diagnostic::error(format!("the journal of the run cannot be written; nothing was changed: {error}"))
                .hint("free some space there, or set ARMILLA_STATE_DIR to another folder")
        })
    }
}

/// A plan as it is recorded.
struct Stored {
    /// Not where nothing is recorded.
    plan: Option<SavedPlan>,
    bytes: Vec<u8>,
    digest: Digest,
}

/// Hosts that are not any more as the plan saw them, and why.
async fn moved<T: Transport>(
    locked: &Locked<T>,
    plan: &SavedPlan,
    digest: &Digest,
    stop: &Stop,
) -> Result<BTreeMap<HostName, String>, Abort> {
    let look = plan.moved(digest, &locked.reader(stop).look(&plan.catalog).await?);
    let refused = look.refused();
    let Some(stale) = &look.stale else { return Ok(refused) };
    let hosts: Vec<String> = refused.iter().map(|(host, moved)| format!("\n  {host}: {moved}")).collect();
    let problem = Diagnostic::error(shown(&format!("{stale}; nothing was changed{}", hosts.concat())));
    Err(problem.hint("plan again; to complete an interrupted run: armilla resume").into())
}

/// A plan that was made earlier names its large files: each must still be what it was.
async fn check_large_files(proposal: &Proposal) -> Result<(), Abort> {
    if proposal.saved.is_none() && proposal.resumes.is_none() {
        return Ok(());
    }
    let steps = proposal.survey.plan.stages.iter().flat_map(|stage| stage.work.steps());
    let files: BTreeSet<LargeFile> = steps.filter_map(|step| step.large_file().cloned()).collect();
    let project = proposal.project.clone();
    let check = move |file: &LargeFile| store::check_large(file.folder(project.as_deref())?, file);
    let mut problems = Diagnostics::new();
    let checked = tokio::task::spawn_blocking(move || files.iter().filter_map(|file| check(file).err()).collect());
    let wrong: Vec<String> = checked.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    for why in wrong {
        problems.push(Diagnostic::error(why).hint("plan again; nothing was changed"));
    }
    problems.result(()).map_err(Abort::from)
}

/// A run that is recorded and may begin.
struct Run<'a, T: Transport> {
    session: &'a Session<T>,
    locked: &'a Locked<T>,
    proposal: &'a Proposal,
    applied: Applied,
    /// Hosts on which nothing is begun, and why.
    refused: BTreeMap<HostName, String>,
    stop: &'a Stop,
}

impl<T: Transport> Run<'_, T> {
    /// Does it, to the last ledger.
    async fn finish(self, record: Record) -> Finished {
        let begun = Instant::now();
        let survey = &self.proposal.survey;
        let plan = Arc::new(survey.plan.clone());
        self.session.notify(Notice::Begun { run: &self.applied.run, plan: &plan });
        let (report, course) = self.carry_out(&plan, record, begun).await;
        let touched = &touched(&plan, &report) | &survey.unsettled();
        let Report { readings, .. } = &report;
        let over = Over { catalog: &survey.catalog, plan: &plan, touched: &touched, readings, applied: &self.applied };
        let Settled { again, unsaved, setup, unhealthy } = if report.converged() {
            self.locked.settle_healthy(&over, self.stop).await
        } else {
            self.locked.settle(&over).await
        };
        crate::crash::point();
        let unlocked = |host: &HostName| self.locked.unreachable().contains_key(host);
        let cut_short = report.stopped || !unhealthy.is_empty();
        let outcome = match Outcome::of(&plan, &report, (&again, &unhealthy), unlocked) {
            _ if cut_short && self.stop.is_requested() => Outcome::Stopped,
            // It does not pass by itself: somebody must change sudo on the host, or something on this machine.
            Outcome::Unreachable if !setup.is_empty() => Outcome::Failed,
            outcome => outcome,
        };
        let left = again.entries().filter(|entry| !entry.is_always()).count() + unhealthy.len();
        let ending = history::Ending { outcome, left, seconds: begun.elapsed().as_secs() };
        let recorded = lock(&course).end(ending);
        crate::crash::point();
        let run = self.applied.run;
        let ran = Ran { run, plan, report, again, unhealthy, took: begun.elapsed(), recorded };
        Finished { outcome, unsaved, ran: Some(ran) }
    }

    async fn carry_out(&self, plan: &Arc<Plan>, record: Record, begun: Instant) -> (Report, Arc<Mutex<RunRecorder>>) {
        let (halt, halted) = watch::channel(self.stop.is_requested());
        let (approve, approved) = watch::channel(false);
        // They end with the run, or with whoever gives it up.
        let mut beside = JoinSet::new();
        beside.spawn(forward(self.stop.clone(), halt.clone()));
        beside.spawn(approvals(record.approval(), self.session.options().approval, approve));
        let observer = Arc::clone(&self.session.shared.observer);
        beside.spawn(lost(self.locked.leases().lost(), Arc::clone(&observer), halt.clone()));
        let course = RunRecorder { record: Some(record), unrecorded: None, halt, observer, stop: self.stop.clone() };
        let course = Arc::new(Mutex::new(course));
        let told = Arc::clone(&course);
        let tell = Arc::new(move |event: Event| lock(&told).event(&event, begun.elapsed()));
        let options = self.session.options();
        let limits = Limits { forks: options.forks, patience: options.reboot_timeout };
        let project = self.proposal.project.as_deref().map(Arc::from);
        let (applied, refused) = (self.applied.clone(), self.refused.clone());
        let permit = Permit { applied, tickets: self.tickets(), refused, project, questions: self.questions() };
        let channels = apply::Channels { stop: halted, approved, tell };
        let transport = Arc::clone(self.session.transport());
        let report = apply::run(plan, transport, limits, Some(permit), channels).await;
        (report, course)
    }

    /// What hosts are asked with their last steps. Where what other hosts do after that can tell on the health of a member, its
    /// host is read when all is over.
    fn questions(&self) -> BTreeMap<HostName, Vec<Probe>> {
        let Survey { catalog, plan, .. } = &self.proposal.survey;
        let changed: BTreeSet<&HostName> = plan.stages.iter().filter_map(|stage| stage.work.host()).collect();
        let is_checked = |host: &HostName| {
            catalog.hosts.get(host).is_some_and(|all| all.blocks.iter().any(|b| !b.health.is_empty()))
        };
        let asked = |host: &HostName| changed.contains(host) && (changed.len() == 1 || !is_checked(host));
        let questions = catalog.questions().into_iter().filter(|(endpoint, _)| asked(&endpoint.name));
        questions.map(|(endpoint, probes)| (endpoint.name, probes)).collect()
    }

    fn tickets(&self) -> BTreeMap<HostName, crate::lease::Ticket> {
        let (leases, owner) = (self.locked.leases(), &self.proposal.survey.plan.owner);
        leases.hosts().filter_map(|host| Some((host.clone(), leases.ticket(host, owner)?))).collect()
    }
}

/// Records the events of a run and tells the observer.
struct RunRecorder {
    record: Option<Record>,
    unrecorded: Option<String>,
    halt: watch::Sender<bool>,
    observer: Arc<dyn Observer>,
    stop: Stop,
}

impl RunRecorder {
    fn event(&mut self, event: &Event, at: Duration) {
        self.write(event, at);
        self.observer.notice(Notice::Event { event, at });
        // Not only soon after, as a task would find it: what was stopped by what it heard begins nothing more.
        if self.stop.is_requested() {
            self.halt.send_replace(true);
        }
    }

    /// What cannot be recorded any more is not continued: the stages that run end, and no other begins.
    fn write(&mut self, event: &Event, at: Duration) {
        let Some(record) = &mut self.record else { return };
        if let Err(error) = record.event(event, at) {
            self.unrecorded = Some(error.to_string());
            self.record = None;
            self.halt.send_replace(true);
        }
    }

    fn end(&mut self, ending: history::Ending) -> Recorded {
        match (self.record.take(), self.unrecorded.take()) {
            (_, Some(why)) => Recorded::Stopped(why),
            (Some(record), None) => match record.end(ending) {
                Ok(()) => Recorded::Whole,
                Err(error) => Recorded::WithoutEnd(error.to_string()),
            },
            (None, None) => Recorded::Whole,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn forward(stop: Stop, halt: watch::Sender<bool>) {
    stop.requested().await;
    halt.send_replace(true);
}

/// Waits for the note beside the record that hosts may follow the canaries.
async fn approvals(note: Option<PathBuf>, approval: Approval, approve: watch::Sender<bool>) {
    if approval == Approval::Awaited {
        while !note.as_ref().is_some_and(|note| note.exists()) {
            tokio::time::sleep(POLL).await;
        }
    }
    approve.send_replace(true);
    // Who waits for it must never see it gone.
    std::future::pending::<()>().await;
}

/// A host that gave our lock to somebody else ends the run: what runs is finished, nothing more begins.
async fn lost(
    mut lost: watch::Receiver<BTreeMap<HostName, String>>,
    observer: Arc<dyn Observer>,
    halt: watch::Sender<bool>,
) {
    let mut told = BTreeSet::new();
    while lost.changed().await.is_ok() {
        for (host, why) in lost.borrow_and_update().iter().filter(|(host, _)| told.insert((*host).clone())) {
            observer.notice(Notice::LockLost { host, why });
        }
        halt.send_replace(true);
    }
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
