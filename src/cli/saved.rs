//! Plan files on the command line: where their keys and hosts come from.

use std::path::Path;
use std::sync::Arc;

use super::hosts::Hosts;
use super::keys::{self, KeyFlags};
use super::{Connection, Global, Selection, identity, load, ui};
use crate::diag::{Diagnostic, Diagnostics};
use crate::inventory::{Become, Endpoint};
use crate::operation::plan_file::{self, Sealer};
use crate::operation::{Proposal, Survey};
use crate::plan::saved::{File, Hosts as Meant, SavedPlan};
use crate::workspace::{Environment, Workspace};

/// A plan file with its secrets.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) plan: SavedPlan,
    /// What its secrets are sealed with.
    pub(super) sealer: Arc<Sealer>,
    /// The project one is in, if it has the environment of the plan.
    pub(super) workspace: Option<Workspace>,
}

/// Reads a plan file, secrets included.
///
/// # Errors
/// When it is no plan, or no key fits.
pub(super) async fn open(global: &Global, path: &Path, flags: &KeyFlags) -> Result<Opened, Diagnostics> {
    let file = plan_file::read(path)?;
    let name = &file.about.environment;
    let workspace = load::workspace(global).ok().filter(|workspace| workspace.has(name.as_str()));
    let (keys, settings) = keys::ring(workspace.as_ref(), flags, Some(name))?;
    let sealer = Arc::new(Sealer::new(Arc::new(keys), identity::state_folder()));
    let plan = plan_file::open(path, &file, &sealer, &settings).await?;
    Ok(Opened { file, plan, sealer, workspace })
}

/// A plan of this selection that may become a run.
pub(super) fn proposal(hosts: &Hosts, selection: &Selection, environment: &Environment, survey: Survey) -> Proposal {
    let mut proposal = hosts.session.propose(environment, survey);
    proposal.about.limit.clone_from(&selection.limit);
    proposal.about.part = selection.only.described();
    proposal
}

/// Writes a plan that was just made, and says so.
///
/// # Errors
/// When there is no key for its secrets, or the file cannot be written.
pub(super) async fn save(path: &Path, proposal: &Proposal) -> Result<(), Diagnostics> {
    let made = proposal.save(path).await?;
    ui::say(&format!("Saved to {} (sha256:{}).", path.display(), &made.digest.0[..12]));
    if let Some(with) = made.sealed_with {
        ui::say(&format!("Its secrets are encrypted with {with}."));
    }
    Ok(())
}

/// How the hosts of a saved plan are reached: as the command says, and in a lab if it was made for one.
///
/// # Errors
/// When a lab is wanted for a plan of the inventory's hosts, or root for one that was made as another user.
pub(super) fn connection(opened: &Opened, given: &Connection) -> Result<Connection, Diagnostic> {
    let lab = opened.file.about.hosts == Meant::Lab;
    if given.lab && !lab {
        let what = "this plan is for the hosts of the inventory, not for lab hosts; nothing was changed";
        return Err(Diagnostic::error(what).hint("omit --lab, or plan with it"));
    }
    let flag = [(given.ask_become_pass, "-K"), (given.become_root, "-b")].into_iter().find(|(is_given, _)| *is_given);
    let is_plain = |host: &Endpoint| host.become_user == Become::No;
    if let (Some((_, flag)), Some(host)) = (flag, opened.plan.catalog.endpoints().values().find(|host| is_plain(host)))
    {
        let what = format!("{flag}: this plan was made without becoming root on {}; nothing was changed", host.name);
        return Err(Diagnostic::error(what).hint(format!("plan again with {flag}, or omit it")));
    }
    Ok(Connection { lab, ..given.clone() })
}
