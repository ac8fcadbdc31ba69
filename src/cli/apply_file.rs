//! `armilla apply FILE`: a plan that was saved, applied as it is. A host that moved since it was made is refused.

use std::path::Path;

use super::apply::Apply;
use super::consent::{self, Answer, confirmed};
use super::environment::Question;
use super::hosts::{self, Decision};
use super::plan::{self, Next, Shape};
use super::screen::Telling;
use super::{Connection, Exit, Failure, Global, Selection, saved, show};
use crate::operation::{Ground, Proposal};

/// Applies a plan that was saved. Its hosts are read once before the first step.
///
/// # Errors
/// Why none of it is done.
pub(super) async fn apply(global: &Global, command: &Apply, path: &Path) -> Result<Exit, Failure> {
    let opened = saved::open(global, path, &command.selection.keys).await?;
    let connection = saved::connection(&opened, &command.connection)?;
    let question = Question::of_saved(opened.workspace.as_ref(), &opened.file.about);
    show::print(global, path, &Shape { next: Next::Doing, ..command.shape.clone() }, &opened.file);
    let (shown, consent) = (&opened.file.shown, &command.consent);
    if command.check {
        return Ok(plan::exit(shown, consent.detailed_exitcode));
    }
    let telling = Telling {
        json: command.shape.json,
        detailed: consent.detailed_exitcode,
        plan_command: plan_command(&opened.file.about.environment, &connection),
        patience: Some(consent.patience.clone()),
    };
    let about = &opened.file.about;
    let ground =
        Ground::of_saved(about, &opened.plan.plan.owner, opened.plan.catalog.endpoints().into_values().collect());
    let project = opened.workspace.as_ref().map(|workspace| workspace.root().to_owned());
    let proposal = Proposal::of_file(opened.plan, &opened.file, project, opened.sealer);
    hosts::contact(global, &connection, telling, async |hosts| {
        let limits = consent::adoption(hosts, &proposal.survey.plan, consent.limits()).await?;
        let approved = hosts.session.approve(proposal, &limits, &hosts.stop).await?;
        if approved.is_empty() {
            return Ok(plan::exit(shown, consent.detailed_exitcode));
        }
        let asks = approved.changes_hosts() && !consent.yes;
        if asks && confirmed(hosts, &question, "-y (--auto-approve)").await? == Answer::No {
            return Ok(Exit::Error);
        }
        hosts.change(&ground, async |_| Ok(Decision::Apply(Box::new(approved)))).await
    })
    .await
}

/// What to type to plan the environment of a saved plan again.
pub(super) fn plan_command(environment: &crate::name::EnvName, connection: &Connection) -> String {
    plan::to_type("plan", &Selection::of(environment.as_str()), connection)
}
