//! Whether a plan may be applied at all.
//!
//! In: a plan and limits. Out: an approval, without which nothing can be applied, or every reason against it. Never: a host.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Abort, Notice, Proposal, Session, Stop, Typed};
use crate::apply;
use crate::diag::{Diagnostic, Diagnostics, shown};
use crate::ledger::{Applied, Revision};
use crate::name::{HostName, ServiceName};
use crate::plan::{Entry, MAX_REMOVALS, Plan, Verdict};
use crate::transport::Transport;
use crate::workspace::{Adoption, revision};

/// How often the members of a service that may recover are asked again.
const POLL: Duration = Duration::from_secs(2);

/// What a plan may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many removed resources it may take away.
    pub max_removals: usize,
    /// Whether it may bring an older revision over a newer one.
    pub older: Older,
    /// Whether it may take over ledgers that name no project.
    pub adoption: Adoption,
}

/// Whether an older revision of the project may be applied over a newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Older {
    /// No.
    Refused,
    /// Yes.
    Allowed,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_removals: MAX_REMOVALS, older: Older::Refused, adoption: Adoption::Ask }
    }
}

impl Limits {
    /// No limit: for what takes everything away on purpose.
    pub fn none() -> Self {
        Self { max_removals: usize::MAX, older: Older::Allowed, adoption: Adoption::Ask }
    }
}

/// What is known besides the plan.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Services that had too few healthy members when they were read, and have enough now.
    pub recovered: BTreeSet<ServiceName>,
    /// The commits on hosts that come after the one that is to be applied.
    pub newer: BTreeSet<String>,
    /// What was typed.
    pub typed: Typed,
}

/// A plan that may be applied. Only [`approve`] makes one.
pub struct Approved {
    pub(super) proposal: Proposal,
    pub(super) reread: Reread,
    pub(super) adoption: Adoption,
}

/// Whether hosts are read once more before the first step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reread {
    No,
    Yes,
}

impl Approved {
    /// Whether there is nothing to do on any host.
    pub fn is_empty(&self) -> bool {
        self.proposal.is_empty()
    }

    /// Whether it changes anything on a host. Waiting for health checks does not, and is not asked about.
    pub fn changes_hosts(&self) -> bool {
        self.proposal.survey.plan.changes_hosts()
    }

    /// The same after a pause, as when a person was asked: what changed on a host meanwhile is found before its first step,
    /// and that host is refused.
    #[must_use]
    pub fn after_pause(mut self) -> Self {
        self.reread = Reread::Yes;
        self
    }
}

/// Approves a plan.
///
/// # Errors
/// Why it must not be applied.
pub fn approve(proposal: Proposal, limits: &Limits, known: &Known) -> Result<Approved, Diagnostics> {
    check(&proposal.survey.plan, proposal.about.revision.as_ref(), limits, known)?;
    // A saved plan is as old as its file.
    let reread = if proposal.saved.is_some() { Reread::Yes } else { Reread::No };
    Ok(Approved { proposal, reread, adoption: limits.adoption })
}

fn check(plan: &Plan, revision: Option<&Revision>, limits: &Limits, known: &Known) -> Result<(), Diagnostics> {
    let summary = plan.summary();
    if summary.refused + summary.unreadable > 0 {
        let what = "the plan has refused or unreadable resources; nothing was changed";
        let bad = |entry: &&Entry| matches!(entry.verdict, Verdict::Refused | Verdict::Unreadable);
        let hosts: BTreeSet<&HostName> = plan.entries().filter(bad).map(|entry| &entry.address.host).collect();
        let others = hosts.len() < plan.bases.len();
        let without = format!(", or exclude their hosts: {}", known.typed.excluding(hosts));
        let hint = format!("fix them{}", if others { &without } else { "" });
        return Err(Diagnostic::error(what).hint(hint).into());
    }
    check_rollouts(plan, known)?;
    check_removals(plan, limits, &known.typed)?;
    check_adopted(plan, limits.adoption, &known.typed)?;
    check_revision(plan, revision, limits, known)
}

/// A service that would fall below what its role promises is not touched.
fn check_rollouts(plan: &Plan, known: &Known) -> Result<(), Diagnostics> {
    let mut problems = Diagnostics::new();
    for service in plan.services.iter().filter(|service| !known.recovered.contains(&service.name)) {
        if let Some(why) = service.rollout.as_ref().and_then(|rollout| rollout.refused.as_ref()) {
            let what = format!("{}: {why}; nothing was changed", service.name);
            let unhealthy: Vec<&HostName> = service.unhealthy.keys().collect();
            let alone = format!(", or apply to them alone: {}", known.typed.only(unhealthy.iter().copied()));
            let alone = if unhealthy.is_empty() { "" } else { &alone };
            problems.push(Diagnostic::error(shown(&what)).hint(format!("fix the unhealthy hosts first{alone}")));
        }
    }
    problems.result(())
}

/// More than a few removals are more often a mistake in a file than meant.
fn check_removals(plan: &Plan, limits: &Limits, typed: &Typed) -> Result<(), Diagnostics> {
    let removals: usize = plan.removals().values().sum();
    if removals <= limits.max_removals {
        return Ok(());
    }
    let what = format!(
        "the plan deletes {removals} removed resources, and {} are allowed; nothing was changed",
        limits.max_removals
    );
    let allowed = typed.with("--max-removals", Some(&removals.to_string()));
    Err(Diagnostic::error(what).hint(format!("to allow it: {allowed}")).into())
}

/// A ledger that names no project becomes that of a project only if somebody says so.
///
/// # Errors
/// Which hosts have one, who wrote it, and what says so.
pub fn check_adoption(plan: &Plan, adoption: Adoption) -> Result<(), Diagnostics> {
    check_adopted(plan, adoption, &Typed::default())
}

fn check_adopted(plan: &Plan, adoption: Adoption, typed: &Typed) -> Result<(), Diagnostics> {
    let Some(what) = unadopted(plan).filter(|_| adoption == Adoption::Ask) else { return Ok(()) };
    let adopt = typed.with("--adopt", None);
    let hint = format!("if another project wrote it, apply that one first, with --adopt; if this one did: {adopt}");
    Err(Diagnostic::error(format!("{what}; nothing was changed")).hint(hint).into())
}

/// Which hosts have a ledger that names no project, and who wrote it.
pub fn unadopted(plan: &Plan) -> Option<String> {
    let unadopted = plan.unadopted();
    let hosts: Vec<&str> = unadopted.keys().map(|host| host.as_str()).collect();
    let last = unadopted.values().flatten().max_by(|one, other| one.at.cmp(&other.at));
    let by = last.map(|last| format!(", last by {} at {} (run {})", last.who, last.at, last.run)).unwrap_or_default();
    let text = format!(
        "the ledger of {} on {} names no project: an earlier armilla wrote it{by}",
        plan.environment(),
        hosts.join(", ")
    );
    (!hosts.is_empty()).then(|| shown(&text))
}

/// An older commit never comes over a newer one by accident: a pipeline that was slow, a checkout that was forgotten.
fn check_revision(plan: &Plan, ours: Option<&Revision>, limits: &Limits, known: &Known) -> Result<(), Diagnostics> {
    let applied = applied_revisions(plan);
    let is_newer = |(theirs, _): &(&&str, &(&HostName, &Applied))| known.newer.contains(**theirs);
    let Some((theirs, (host, last))) = applied.iter().find(is_newer) else { return Ok(()) };
    let (Some(ours), Older::Refused) = (ours, limits.older) else { return Ok(()) };
    let short = |commit: &str| commit.get(..7).unwrap_or(commit).to_owned();
    let what = format!(
        "this is revision {}, and {host} already has {}, which came after it: applied {} by {} (run {}); nothing was changed",
        short(&ours.commit),
        short(theirs),
        last.at,
        last.who,
        last.run
    );
    let older = known.typed.with("--allow-older", None);
    Err(Diagnostic::error(shown(&what))
        .hint(format!("update this checkout; to apply the older revision: {older}"))
        .into())
}

/// The commits that hosts have, each with the first host that has it.
fn applied_revisions(plan: &Plan) -> BTreeMap<&str, (&HostName, &Applied)> {
    let mut known = BTreeMap::new();
    for (host, base) in &plan.bases {
        if let Some(last) = &base.last
            && let Some(theirs) = &last.revision
        {
            known.entry(theirs.commit.as_str()).or_insert((host, last));
        }
    }
    known
}

impl<T: Transport> Session<T> {
    /// Approves a plan. A service that cannot keep its promise now and may recover soon is waited for.
    ///
    /// # Errors
    /// Why it must not be applied.
    pub async fn approve(&self, proposal: Proposal, limits: &Limits, stop: &Stop) -> Result<Approved, Abort> {
        let recovered = stop.unless_requested(self.recovered(&proposal.survey.plan)).await?;
        let newer = match limits.older {
            Older::Refused => newer(&proposal).await,
            Older::Allowed => BTreeSet::new(),
        };
        let typed = self.identity().typed.clone();
        Ok(approve(proposal, limits, &Known { recovered, newer, typed })?)
    }

    /// Services that could not keep their promise when their hosts were read, and can now: a member that was restarted a moment
    /// ago, as by a run that was killed, needs its time. It is waited for as long as its slowest check may take.
    async fn recovered(&self, plan: &Plan) -> BTreeSet<ServiceName> {
        let mut recovered = BTreeSet::new();
        for service in &plan.services {
            let Some(rollout) = &service.rollout else { continue };
            let Some(why) = rollout.refused.as_ref().filter(|_| rollout.may_recover()) else { continue };
            self.notify(Notice::AwaitingService { service: &service.name, why });
            let end = Instant::now() + rollout.patience();
            while Instant::now() < end {
                let answers = apply::ask_members(self.transport(), rollout, &plan.endpoints).await;
                if rollout.refusal_now(&answers).is_none() {
                    recovered.insert(service.name.clone());
                    break;
                }
                tokio::time::sleep(POLL).await;
            }
        }
        recovered
    }
}

/// The commits on hosts that come after that of the proposal, as the project's repository knows.
async fn newer(proposal: &Proposal) -> BTreeSet<String> {
    let (Some(project), Some(ours)) = (&proposal.project, &proposal.about.revision) else { return BTreeSet::new() };
    let (project, ours) = (project.clone(), ours.commit.clone());
    let theirs: Vec<String> =
        applied_revisions(&proposal.survey.plan).keys().map(|&commit| commit.to_owned()).collect();
    let newer = move || {
        let is_newer = |theirs: &String| revision::is_older(&project, &ours, theirs);
        theirs.into_iter().filter(is_newer).collect()
    };
    tokio::task::spawn_blocking(newer).await.unwrap_or_default()
}
