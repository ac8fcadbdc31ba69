//! Which project it is: what is said where `armilla.yml` does not name it.

use std::collections::BTreeSet;
use std::path::Path;

use super::ui;
use crate::diag::{Diagnostic, Diagnostics, shown};
use crate::name::ProjectId;
use crate::operation::{Survey, new_project};
use crate::workspace::{self, Environment, FILE, IdentityRecord, only};

/// Writes into `armilla.yml` which project a plan is of that is about to be saved.
///
/// # Errors
/// When it is not known, or cannot be written.
pub(super) fn record(environment: &Environment, survey: &Survey) -> Result<(), Diagnostics> {
    let recorded = workspace::record(Some(&environment.root), &survey.plan.owner)?;
    let Some(project) = &survey.plan.owner.project else { return Ok(()) };
    match recorded {
        IdentityRecord::Already => Ok(()),
        IdentityRecord::Added => {
            ui::say(&added(project));
            Ok(())
        }
        IdentityRecord::Failed(why) => Err(Diagnostic::error(format!("{FILE} cannot be written: {why}"))
            .hint(format!("write `project: {project}` into it and commit it"))
            .into()),
    }
}

/// That `armilla.yml` names the project from now on.
pub(super) fn added(project: &ProjectId) -> String {
    format!("{FILE}: added `project: {project}`, which tells this project from others on the same hosts; commit it")
}

/// Warns of an identity that is missing, and says what to do.
pub(super) fn warn(environment: &Environment, survey: &Survey) {
    let identity = &environment.identity;
    let known = identity.known(&survey.observed);
    if identity.is_written() || known.is_empty() && !identity.is_read_only() {
        return;
    }
    let warning = missing(&environment.root, &known, survey.plan.owner.project.as_ref());
    ui::problems(&warning.unwrap_or_else(|problem| problem).into());
}

/// What to do about an identity that is missing.
fn missing(root: &Path, known: &BTreeSet<ProjectId>, planned: Option<&ProjectId>) -> Result<Diagnostic, Diagnostic> {
    let (assumed, own) = (planned.filter(|project| known.contains(*project)), planned.filter(|p| !known.contains(*p)));
    let own = own.cloned().map_or_else(|| new_project(root), Ok)?;
    let list = known.iter().map(ProjectId::as_str).collect::<Vec<_>>().join(", ");
    let what = match assumed {
        Some(project) => format!("{FILE} names no project; this plan assumes {project}, which the hosts know"),
        None if known.is_empty() => format!("{FILE} names no project"),
        None => format!("{FILE} names no project; the hosts know {list} under the name of this environment"),
    };
    let hint = match only(known) {
        Some(project) => format!(
            "if it is that project: write `project: {project}` into {FILE}, or --adopt; if it is another one: write \
             `project: {own}`"
        ),
        None => format!("write `project: {own}` into {FILE} and commit it"),
    };
    Ok(Diagnostic::warning(shown(&what)).hint(hint))
}
