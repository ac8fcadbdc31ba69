//! `armilla apply FILE`: a plan that was saved, carried out as it is.
//!
//! In: a plan file. Out: the exit code. Never: a step on a host on which something of the plan moved since it was made.

use std::collections::BTreeSet;
use std::path::Path;

use super::apply::Apply;
use super::leases::{self, Ground};
use super::perform::{self, Show, Undertaking};
use super::plan::{self, Next, Shape};
use super::proposal::{approved, check, recovered};
use super::survey::{self, Fleet};
use super::{Connection, Exit, Global, Selection, environment, identity, saved, show};
use crate::diag::{Diagnostic, Diagnostics, shown};
use crate::name::RunId;
use crate::plan::saved::{File, Hosts, SavedPlan};
use crate::workspace::Workspace;

/// Carries out a plan that was saved. Its hosts are read once before the first step; what moved since is refused.
///
/// # Errors
/// Why none of it is done.
pub(super) async fn apply(global: &Global, command: &Apply, path: &Path) -> Result<Exit, Diagnostics> {
    let file = saved::read(path)?;
    let name = file.about.environment.clone();
    let (workspace, keys, settings) = saved::keys_for(global, &command.selection, &name)?;
    let saved = saved::open(path, &file, &keys, &settings).await?;
    let root = workspace.as_ref().map(Workspace::root);
    let connection = saved::connection(&file, &command.connection)?;
    let fleet = survey::fleet_of(global, &connection)?;
    let production = environment::banner_of(workspace.as_ref(), &name, file.about.hosts);
    show::print(global, path, &Shape { next: Next::Doing, ..command.shape.clone() }, &file);
    if command.check {
        return Ok(plan::exit(&file.shown, command.consent.detailed_exitcode));
    }
    let run = identity::new_run()?;
    let exit = carry_out(global, command, &fleet, (&file, saved), root, run, &production).await;
    fleet.transport.close().await;
    exit
}

async fn carry_out(
    global: &Global,
    command: &Apply,
    fleet: &Fleet,
    (file, saved): (&File, SavedPlan),
    root: Option<&Path>,
    run: RunId,
    production: &environment::Question,
) -> Result<Exit, Diagnostics> {
    let (plan, catalog) = (&saved.plan, &saved.catalog);
    let recovered = recovered(fleet, plan).await;
    check(plan, root, saved.about.revision.as_ref(), (&command.consent, &recovered))?;
    if plan.summary().changes() == 0 {
        return Ok(plan::exit(plan, command.consent.detailed_exitcode));
    }
    if let Err(exit) = approved(&command.consent, || production.ask()) {
        return Ok(exit);
    }
    let hosts: Vec<_> = catalog.endpoints().into_values().collect();
    let ground = Ground::of_saved(&saved.about, hosts);
    let leases = match leases::acquire(fleet, &ground, &run, &command.consent.patience).await {
        Ok(leases) => leases,
        Err(exit) => return Ok(exit),
    };
    let look = saved.moved(&file.digest, &survey::look(fleet, catalog).await);
    if let Some(stale) = &look.stale {
        leases.release().await;
        let moved: Vec<String> = look.refused().iter().map(|(host, moved)| format!("\n  {host}: {moved}")).collect();
        let problem = Diagnostic::error(shown(&format!("{stale}; nothing was changed{}", moved.concat())));
        return Err(problem.hint("plan again; what a run left undone: armilla resume RUN").into());
    }
    Ok(perform::perform(Undertaking {
        fleet,
        leases,
        catalog,
        plan,
        refused: look.refused(),
        unsettled: BTreeSet::new(),
        run,
        resumes: None,
        project: root.map(Path::to_owned).unwrap_or_default(),
        revision: saved.about.revision.clone(),
        saved: (file.bytes().to_vec(), file.digest.clone()),
        show: Show::new(
            global,
            &command.shape,
            &command.consent,
            plan::to_type(
                "plan",
                &Selection::of(plan.environment.as_str()),
                &Connection { lab: saved.about.hosts == Hosts::Lab, ..command.connection.clone() },
            ),
        ),
    })
    .await)
}
