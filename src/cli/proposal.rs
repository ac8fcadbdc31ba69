//! A plan that was shown: refused, asked about, and carried out.
//!
//! In: a plan, what it was made from, leases, and the flags of a command that changes hosts. Out: the exit code, after a
//! run or after saying why there was none. Never: a lease that is kept when nothing is done.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use super::leases::{Locks, Patience};
use super::perform::{self, Show, Undertaking};
use super::saved::{self, Made};
use super::survey::{self, Fleet, Survey};
use super::{Exit, identity, plan, settle, ui};
use crate::diag::{Diagnostic, Diagnostics, shown};
use crate::ledger::{Applied, Revision};
use crate::name::{HostName, RunId, ServiceName};
use crate::plan::Plan;
use crate::plan::saved::About;
use crate::step::Digest;
use crate::workspace::{Keyring, revision};

/// How often members that are waited for are asked again.
const POLL: Duration = Duration::from_secs(2);

/// What a command that changes hosts may do without a question.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Consent {
    /// Do not ask
    #[arg(short, long = "auto-approve", visible_alias = "yes")]
    pub yes: bool,
    /// Exit with 2 if something was changed
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Take away this many resources at most that left the roles; a plan with more is refused
    #[arg(long, value_name = "N", default_value_t = crate::plan::MAX_REMOVALS)]
    pub max_removals: usize,
    /// Apply an older revision of the project over a newer one
    #[arg(long)]
    pub allow_older: bool,
    #[command(flatten)]
    pub patience: Patience,
    /// How to say yes beforehand, where `-y` is not it.
    #[arg(skip)]
    pub beforehand: Option<String>,
}

/// A plan that was shown, and everything that is needed to carry it out.
pub(super) struct Proposal<'a> {
    /// The hosts, and how to work with them.
    pub fleet: &'a Fleet,
    /// By what right.
    pub leases: Locks,
    /// The plan, and what it was made from.
    pub survey: &'a Survey,
    /// What is told about it.
    pub about: About,
    /// What its secrets are sealed with.
    pub keys: &'a Keyring,
    /// The project's folder, where there is one.
    pub project: Option<&'a Path>,
    /// The run.
    pub run: RunId,
    /// The run it goes on with.
    pub resumes: Option<RunId>,
    /// What may be done without a question.
    pub consent: &'a Consent,
    /// How it is shown.
    pub show: Show,
}

/// What was agreed on: the plan as it is written down, and hosts on which nothing is begun, with the reason.
struct Agreed {
    made: Made,
    refused: BTreeMap<HostName, String>,
}

impl Proposal<'_> {
    /// Asks, and carries it out; or says why not.
    ///
    /// # Errors
    /// Why it is refused.
    pub(super) async fn decide(self, confirm: impl FnOnce() -> bool) -> Result<Exit, Diagnostics> {
        let Agreed { made, refused } = match self.agreed(confirm).await {
            Ok(agreed) => agreed,
            Err(end) => {
                self.leases.release().await;
                return end;
            }
        };
        Ok(perform::perform(Undertaking {
            fleet: self.fleet,
            leases: self.leases,
            catalog: &self.survey.catalog,
            plan: &self.survey.plan,
            refused,
            unsettled: self.survey.unsettled(),
            run: self.run,
            resumes: self.resumes,
            project: self.project.map(Path::to_owned).unwrap_or_default(),
            revision: self.about.revision.clone(),
            saved: (made.bytes, made.digest),
            show: self.show,
        })
        .await)
    }

    /// What is done, or how the command ends without it.
    async fn agreed(&self, confirm: impl FnOnce() -> bool) -> Result<Agreed, Result<Exit, Diagnostics>> {
        let plan = &self.survey.plan;
        let recovered = recovered(self.fleet, plan).await;
        check(plan, self.project, self.about.revision.as_ref(), (self.consent, &recovered)).map_err(Err)?;
        if plan.summary().changes() == 0 && !plan.puts_back() {
            settle::work_in(self.fleet, &self.leases, self.survey, &self.applied()).await;
            return Err(Ok(plan::exit(plan, self.consent.detailed_exitcode)));
        }
        approved(self.consent, confirm).map_err(Ok)?;
        let made = saved::make(self.about.clone(), plan, &self.survey.catalog, self.keys).await.map_err(Err)?;
        // While a person thought, a hand may have changed something: no other run could.
        let refused = if self.consent.yes {
            BTreeMap::new()
        } else {
            let now = survey::look(self.fleet, &self.survey.catalog).await;
            made.plan.moved(&made.digest, &now).refused()
        };
        Ok(Agreed { made, refused })
    }

    /// A run in which nothing had to be done: its plan was written down nowhere.
    fn applied(&self) -> Applied {
        Applied {
            run: self.run.clone(),
            plan: Digest::of(b""),
            at: identity::now(),
            who: identity::who(),
            revision: self.about.revision.clone(),
        }
    }
}

/// Refuses a plan that must not be carried out, whether it was just made or saved.
///
/// # Errors
/// Why not.
pub(super) fn check(
    plan: &Plan,
    project: Option<&Path>,
    revision: Option<&Revision>,
    (consent, recovered): (&Consent, &BTreeSet<ServiceName>),
) -> Result<(), Diagnostics> {
    let summary = plan.summary();
    if summary.refused + summary.unreadable > 0 {
        let what = "the plan has resources that must not be changed or could not be read; nothing was changed";
        return Err(Diagnostic::error(what).hint("mend them, or leave their hosts out with -l 'all:!HOST'").into());
    }
    check_rollouts(plan, recovered)?;
    check_removals(plan, consent)?;
    check_revision(project, revision, plan, consent)
}

/// Services that could not keep their promise when their hosts were read, and can now: a member that was restarted a moment
/// ago, as by a run that was killed, needs its time. It is waited for as long as its slowest check may take.
pub(super) async fn recovered(fleet: &Fleet, plan: &Plan) -> BTreeSet<ServiceName> {
    let mut recovered = BTreeSet::new();
    for service in &plan.services {
        let Some(rollout) = &service.rollout else { continue };
        let Some(why) = rollout.refused.as_ref().filter(|_| rollout.may_recover()) else { continue };
        ui::say(&shown(&format!("waiting for {}: {why}", service.name)));
        let end = Instant::now() + rollout.patience();
        while Instant::now() < end {
            let answers = crate::apply::ask_members(&fleet.transport, rollout, &plan.endpoints).await;
            if rollout.refusal_now(&answers).is_none() {
                recovered.insert(service.name.clone());
                break;
            }
            tokio::time::sleep(POLL).await;
        }
    }
    recovered
}

/// A service that would fall below what its role promises is not touched.
fn check_rollouts(plan: &Plan, recovered: &BTreeSet<ServiceName>) -> Result<(), Diagnostics> {
    let mut problems = Diagnostics::new();
    for service in plan.services.iter().filter(|service| !recovered.contains(&service.name)) {
        let refused = service.rollout.as_ref().and_then(|rollout| rollout.refused.as_ref());
        if let Some(why) = refused {
            let what = format!("{}: {why}; nothing was changed", service.name);
            let hint = "mend the hosts that are not healthy first, or let the plan do so: -l HOST";
            problems.push(Diagnostic::error(shown(&what)).hint(hint));
        }
    }
    if problems.has_errors() { Err(problems) } else { Ok(()) }
}

/// More than a few removals are more often a mistake in a file than meant.
fn check_removals(plan: &Plan, consent: &Consent) -> Result<(), Diagnostics> {
    let removals: usize = plan.removals().values().sum();
    if removals <= consent.max_removals {
        return Ok(());
    }
    let what = format!(
        "the plan takes away {removals} resources that left the roles, and {} are allowed; nothing was changed",
        consent.max_removals
    );
    Err(Diagnostic::error(what).hint(format!("if that is meant: --max-removals {removals}")).into())
}

/// An older commit never comes over a newer one by accident: a pipeline that was slow, a checkout that was forgotten.
fn check_revision(
    project: Option<&Path>,
    ours: Option<&Revision>,
    plan: &Plan,
    consent: &Consent,
) -> Result<(), Diagnostics> {
    let (Some(project), Some(ours)) = (project, ours) else { return Ok(()) };
    if consent.allow_older {
        return Ok(());
    }
    let mut known: BTreeMap<&str, (&HostName, &Applied)> = BTreeMap::new();
    for (host, base) in &plan.bases {
        if let Some(last) = &base.last
            && let Some(theirs) = &last.revision
        {
            known.entry(&theirs.commit).or_insert((host, last));
        }
    }
    let older = known.iter().find(|(theirs, _)| revision::is_older(project, &ours.commit, theirs));
    let Some((theirs, (host, last))) = older else { return Ok(()) };
    let short = |commit: &str| commit.get(..7).unwrap_or(commit).to_owned();
    let what = format!(
        "this is revision {}, and {host} already has {}, which came after it: applied {} by {} (run {}); nothing was changed",
        short(&ours.commit),
        short(theirs),
        last.at,
        last.who,
        last.run
    );
    Err(Diagnostic::error(shown(&what))
        .hint("bring this checkout up to date; to go back on purpose: --allow-older")
        .into())
}

/// Whether it may be done.
///
/// # Errors
/// The exit code, after saying why not.
pub(super) fn approved(consent: &Consent, confirm: impl FnOnce() -> bool) -> Result<(), Exit> {
    if consent.yes {
        return Ok(());
    }
    if !ui::can_ask() {
        ui::say("error: there is no terminal to ask whether to do this; nothing was changed");
        let yes = consent.beforehand.as_deref().unwrap_or("-y (--auto-approve)");
        ui::say(&format!("hint: say so beforehand with {yes}"));
        return Err(Exit::Error);
    }
    if confirm() {
        return Ok(());
    }
    ui::say("Nothing was changed.");
    Err(Exit::Error)
}
