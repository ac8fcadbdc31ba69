//! New identities for projects that have none.

use std::path::Path;

use super::random;
use crate::diag::Diagnostic;
use crate::name::ProjectId;
use crate::workspace::{Environment, ProjectIdentity};

/// A new identity for a project in this folder.
///
/// # Errors
/// When this machine has no random numbers.
pub fn new_project(root: &Path) -> Result<ProjectId, Diagnostic> {
    let folder = root.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(ProjectId::compose(&folder.unwrap_or_default(), u64::from_be_bytes(random()?)))
}

/// What is known of the project of an environment, for who is about to change hosts: it has an identity, or gets one.
pub(super) fn identified(environment: &Environment) -> Result<ProjectIdentity, Diagnostic> {
    Ok(environment.identity.clone().or_new(new_project(&environment.root)?))
}
