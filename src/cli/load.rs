//! From the command line to an environment.

use std::path::Path;
use std::sync::Arc;

use super::keys::Terminal;
use super::{Connection, Global, Selection, ui};
use crate::diag::{Diagnostic, Diagnostics};
use crate::workspace::{Environment, Request, Unchecked, Variables, Workspace};

/// The project that is meant.
///
/// # Errors
/// When there is none.
pub(super) fn workspace(global: &Global) -> Result<Workspace, Diagnostic> {
    let start = global.project.clone().map_or_else(std::env::current_dir, Ok);
    let start = start.map_err(|error| Diagnostic::error(format!("the project folder cannot be opened: {error}")))?;
    workspace_at(&start)
}

/// The project at a folder or above it.
///
/// # Errors
/// When there is none.
pub(super) fn workspace_at(start: &Path) -> Result<Workspace, Diagnostic> {
    let workspace = Workspace::open(start)?;
    Ok(workspace.with_variables(Variables::new(std::env::vars_os())).with_prompt(Arc::new(Terminal)))
}

/// Reads and checks an environment whose hosts will be contacted, and shows warnings.
///
/// # Errors
/// Everything that is wrong in what a user wrote, in one go.
pub(super) async fn load(
    global: &Global,
    selection: &Selection,
    connection: &Connection,
) -> Result<Environment, Diagnostics> {
    checked(begin(global, selection, connection).await?).await
}

/// The same, but what is desired of each host is not checked yet: for commands that change nothing, and may log in to hosts
/// meanwhile.
///
/// # Errors
/// Everything else that is wrong. If there is anything, what the check would find is told with it.
pub(super) async fn begin(
    global: &Global,
    selection: &Selection,
    connection: &Connection,
) -> Result<Unchecked, Diagnostics> {
    let workspace = workspace(global)?;
    let unchecked = workspace.read(&connection.complete(selection.request(&workspace)?)?).await?;
    unchecked.environment().check_rehearsal()?;
    Ok(unchecked)
}

/// Checks what is desired of each host, and shows warnings.
///
/// # Errors
/// What is wrong with it.
pub(super) async fn checked(unchecked: Unchecked) -> Result<Environment, Diagnostics> {
    let environment = unchecked.check().await?;
    ui::problems(&environment.warnings);
    Ok(environment)
}

/// Reads and checks an environment whose hosts are not contacted.
///
/// # Errors
/// Everything that is wrong in what a user wrote, in one go.
pub(super) async fn offline(global: &Global, selection: &Selection) -> Result<Environment, Diagnostics> {
    let workspace = workspace(global)?;
    checked(workspace.read(&selection.request(&workspace)?).await?).await
}

/// Reads the hosts and the settings of an environment, and neither the site nor a role: they may be broken, or gone.
///
/// # Errors
/// Everything that is wrong in what was read, in one go.
pub(super) async fn load_hosts(
    global: &Global,
    selection: &Selection,
    connection: &Connection,
) -> Result<Environment, Diagnostics> {
    let workspace = workspace(global)?;
    let request: Request = connection.complete(selection.request(&workspace)?)?;
    checked(workspace.read(&request.hosts_only()).await?).await
}
