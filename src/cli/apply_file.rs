//! `armilla apply FILE`: a plan that was saved, applied as it is. A host that moved since it was made is refused.

use std::path::Path;

use super::consent::{self, Consent, Reply, confirmed};
use super::environment::Question;
use super::hosts::{self, Decision};
use super::keys::KeyFlags;
use super::plan::{self, AfterPlan, Shape};
use super::screen::Telling;
use super::{Connection, Exit, Failure, Global, Selection, saved, show};
use crate::operation::{Ground, Proposal};

/// What was typed with the file.
pub(super) struct Typed<'a> {
    pub(super) keys: &'a KeyFlags,
    pub(super) shape: &'a Shape,
    /// Whether it is only shown.
    pub(super) check: bool,
    pub(super) consent: &'a Consent,
    pub(super) connection: &'a Connection,
}

/// Applies a plan that was saved. Its hosts are read once before the first step.
///
/// # Errors
/// Why none of it is done.
pub(super) async fn apply(global: &Global, path: &Path, typed: &Typed<'_>) -> Result<Exit, Failure> {
    let opened = saved::open(global, path, typed.keys).await?;
    let connection = saved::connection(&opened, typed.connection)?;
    let question = Question::of_saved(opened.workspace.as_ref(), &opened.file.about);
    show::print(global, path, &Shape { next: AfterPlan::Doing, ..typed.shape.clone() }, &opened.file);
    let (shown, consent) = (&opened.file.shown, typed.consent);
    if typed.check {
        return Ok(plan::exit(shown, consent.detailed_exitcode));
    }
    let telling = Telling {
        json: typed.shape.json,
        detailed: consent.detailed_exitcode,
        plan_command: plan_command(&opened.file.about.environment, &connection),
        patience: Some(consent.patience.clone()),
    };
    let about = &opened.file.about;
    let ground =
        Ground::of_saved(about, &opened.plan.plan.owner, opened.plan.catalog.endpoints().into_values().collect());
    let project = opened.workspace.as_ref().map(|workspace| workspace.root().to_owned());
    let proposal = Proposal::of_file(opened.plan, &opened.file, project, opened.sealer);
    let work = hosts::contact(global, &connection, telling, async |hosts| {
        let limits = consent::adoption(hosts, &proposal.survey.plan, consent.limits()).await?;
        let approved = hosts.session.approve(proposal, &limits, &hosts.stop).await?;
        if approved.is_empty() {
            return Ok(plan::exit(shown, consent.detailed_exitcode));
        }
        let asks = approved.changes_hosts() && !consent.yes;
        if asks && confirmed(hosts, &question, "-y (--auto-approve)").await? == Reply::No {
            return Ok(Exit::Error);
        }
        hosts.change(&ground, async |_| Ok(Decision::Apply(Box::new(approved)))).await
    });
    Box::pin(work).await
}

/// What to type to plan the environment of a saved plan again.
pub(super) fn plan_command(environment: &crate::name::EnvName, connection: &Connection) -> String {
    plan::to_type("plan", &Selection::of(environment.as_str()), connection)
}
