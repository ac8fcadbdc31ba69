//! What may be done without a question, and the question.

use super::environment::Question;
use super::hosts::{Decision, Hosts};
use super::patience::Patience;
use super::{Exit, ui};
use crate::diag::Diagnostic;
use crate::operation::guard::{self, Older};
use crate::operation::{Abort, Limits, Proposal};
use crate::plan::Plan;
use crate::workspace::Adoption;

/// What a command that changes hosts may do without a question.
#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Consent {
    /// Do not ask
    #[arg(short, long = "auto-approve", visible_alias = "yes")]
    pub yes: bool,
    /// Exit with 2 if something was changed
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Maximum number of removed resources to delete; a plan with more is refused
    #[arg(long, value_name = "N", default_value_t = crate::plan::MAX_REMOVALS)]
    pub max_removals: usize,
    /// Apply an older revision of the project over a newer one
    #[arg(long)]
    pub allow_older: bool,
    /// Take over ledgers that name no project, which an earlier armilla wrote for this one; and, where armilla.yml names no
    /// project, be the one that the hosts know
    #[arg(long)]
    pub adopt: bool,
    #[command(flatten)]
    pub patience: Patience,
}

impl Consent {
    /// What the plan may do.
    pub(super) fn limits(&self) -> Limits {
        let older = if self.allow_older { Older::Allowed } else { Older::Refused };
        Limits { max_removals: self.max_removals, older, adoption: Adoption::of(self.adopt) }
    }

    /// Has a plan approved, and asks whether to apply it.
    ///
    /// # Errors
    /// Why it must not be applied.
    pub(super) async fn decide(
        &self,
        hosts: &Hosts,
        proposal: Proposal,
        question: &Question,
    ) -> Result<Decision, Abort> {
        let limits = adoption(hosts, &proposal.survey.plan, self.limits()).await?;
        let approved = hosts.session.approve(proposal, &limits, &hosts.stop).await?;
        if !approved.changes_hosts() || self.yes {
            return Ok(Decision::Apply(Box::new(approved)));
        }
        Ok(match confirmed(hosts, question, "-y (--auto-approve)").await? {
            Reply::Yes => Decision::Apply(Box::new(approved.after_pause())),
            Reply::No => Decision::End(Exit::Error),
        })
    }
}

/// The limits with the answer to the question whether ledgers that name no project may become this one's. Nobody is asked
/// where there are none, or without a terminal: then the plan is refused.
///
/// # Errors
/// When a signal asks to stop, or the answer is no.
pub(super) async fn adoption(hosts: &Hosts, plan: &Plan, limits: Limits) -> Result<Limits, Abort> {
    if plan.unadopted().is_empty() || limits.adoption == Adoption::Given || !ui::can_ask() {
        return Ok(limits);
    }
    let project = plan.owner.project.as_ref().map(ToString::to_string).unwrap_or_default();
    ui::say(&format!("\n{}", guard::unadopted(plan).unwrap_or_default()));
    let question = Question::by_yes(&format!("Did this project write it? Then it becomes that of {project}"));
    match confirmed(hosts, &question, "--adopt").await? {
        Reply::Yes => Ok(Limits { adoption: Adoption::Given, ..limits }),
        Reply::No => Err(Diagnostic::error("the ledger was not adopted; nothing was changed").into()),
    }
}

/// What a person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Yes,
    No,
}

/// Asks whether to go on.
///
/// # Errors
/// When there is nobody to ask; the hint names the flag that says yes beforehand. When a signal asks to stop.
pub(super) async fn confirmed(hosts: &Hosts, question: &Question, flag: &str) -> Result<Reply, Abort> {
    if !ui::can_ask() {
        let problem = Diagnostic::error("approval is needed, and there is no terminal to ask; nothing was changed");
        return Err(problem.hint(format!("approve it on the command line with {flag}")).into());
    }
    let typed = hosts.until_stopped(ui::ask(question.text())).await?;
    if question.is_yes(&typed) {
        return Ok(Reply::Yes);
    }
    ui::say("Nothing was changed.");
    Ok(Reply::No)
}
