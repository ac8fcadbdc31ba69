//! Whose the resources of an environment are: which project this is, and which ledgers it may take over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use nix::unistd::{AccessFlags, access};

use crate::diag::{Diagnostic, Diagnostics, Source};
use crate::edit::{self, Edit};
use crate::name::{EnvName, HostName, Owner, ProjectId};
use crate::secret::Content;
use crate::settings::ProjectSettings;
use crate::step::{Probe, Readings};
use crate::store;

/// The file that says which project it is.
pub const FILE: &str = "armilla.yml";

const COMMENT: &str = "# What tells this project from every other one on the same hosts. Commit it: a copy of this folder is the same project.";

/// What each host answered, or why it did not.
type Observed = BTreeMap<HostName, Result<Readings, String>>;

/// Which project it is, as far as that is known before a host was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Knowledge {
    /// `armilla.yml` says it.
    Written(ProjectId),
    /// `armilla.yml` does not say it; this one is written there before the first change.
    New(ProjectId),
    /// `armilla.yml` does not say it, and can be written to.
    Missing,
    /// `armilla.yml` does not say it, and cannot be written to.
    ReadOnly,
}

/// Whether what names no project, or another identity than none, may be taken over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Adoption {
    /// A person is asked; without a terminal it is refused.
    #[default]
    Ask,
    /// It was said beforehand.
    Given,
}

impl Adoption {
    /// As the flag says.
    pub fn of(flag: bool) -> Self {
        if flag { Self::Given } else { Self::Ask }
    }
}

/// Whose the resources of an environment are, as far as that is known before a host was asked.
#[derive(Debug, Clone)]
pub struct ProjectIdentity {
    environment: EnvName,
    known: Knowledge,
    adoption: Adoption,
}

impl ProjectIdentity {
    /// That of an environment of the project in this folder, if it is in one, which has these settings.
    pub fn of(root: Option<&Path>, environment: EnvName, settings: &ProjectSettings) -> Self {
        let writes = |path: &Path| access(path, AccessFlags::W_OK).is_ok();
        // A file is replaced as a whole, which takes its folder.
        let takes_file = |root: &Path| writes(root) && (!root.join(FILE).exists() || writes(&root.join(FILE)));
        let known = match &settings.project {
            Some(project) => Knowledge::Written(project.clone()),
            None if root.is_some_and(takes_file) => Knowledge::Missing,
            None => Knowledge::ReadOnly,
        };
        Self { environment, known, adoption: Adoption::default() }
    }

    /// As it is known now.
    pub fn owner(&self) -> Owner {
        Owner { project: self.project().cloned(), environment: self.environment.clone() }
    }

    /// The same once the hosts were asked: a project without an identity may be one that they know.
    pub fn owner_on(&self, observed: &Observed) -> Owner {
        let owner = self.owner();
        let may_adopt = match self.known {
            Knowledge::Written(_) => false,
            Knowledge::New(_) | Knowledge::Missing => self.adoption == Adoption::Given,
            Knowledge::ReadOnly => true,
        };
        match only(&self.known(observed)).filter(|_| may_adopt) {
            Some(project) => Owner { project: Some(project), ..owner },
            None => owner,
        }
    }

    /// The same for who is about to change hosts: a project without an identity gets this one.
    #[must_use]
    pub fn or_new(self, new: ProjectId) -> Self {
        let known = match self.known {
            Knowledge::Missing => Knowledge::New(new),
            named => named,
        };
        Self { known, ..self }
    }

    /// The same where it was said whether ledgers may be adopted.
    #[must_use]
    pub fn adopting(self, adoption: Adoption) -> Self {
        Self { adoption, ..self }
    }

    /// Whether `armilla.yml` names the project.
    pub fn is_written(&self) -> bool {
        matches!(self.known, Knowledge::Written(_))
    }

    /// Whether `armilla.yml` can be written to.
    pub fn is_read_only(&self) -> bool {
        self.known == Knowledge::ReadOnly
    }

    /// The projects that the hosts know under the name of this environment.
    pub fn known(&self, observed: &Observed) -> BTreeSet<ProjectId> {
        let states = observed.iter().filter_map(|(host, answer)| {
            let state = answer.as_ref().ok()?.state(&Probe::State).ok()?;
            Some((host, state))
        });
        let owners = states.flat_map(|(host, state)| state.records.keys().filter(move |(_, name)| name == host));
        let same = owners.map(|(owner, _)| owner).filter(|owner| owner.environment == self.environment);
        same.filter_map(|owner| owner.project.clone()).collect()
    }

    /// The project, as far as it is known now.
    pub fn project(&self) -> Option<&ProjectId> {
        match &self.known {
            Knowledge::Written(project) | Knowledge::New(project) => Some(project),
            Knowledge::Missing | Knowledge::ReadOnly => None,
        }
    }
}

/// Whether `armilla.yml` names the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityRecord {
    /// It did already, or there is no folder.
    Already,
    /// It does now.
    Added,
    /// It cannot be written, for this reason.
    Failed(String),
}

/// Writes into `armilla.yml` which project this is, if it does not say so.
///
/// # Errors
/// When that is not known, or another project is named there.
pub fn record(root: Option<&Path>, owner: &Owner) -> Result<IdentityRecord, Diagnostics> {
    let source = root.map(|root| store::read_settings(root, None)).transpose()?.and_then(|[project, _]| project);
    let here = named(source.as_ref())?;
    match (&owner.project, here, root) {
        (Some(project), Some(here), _) if *project == here => Ok(IdentityRecord::Already),
        (Some(_), _, None) => Ok(IdentityRecord::Already),
        (Some(project), None, Some(root)) => {
            let written = write(root, source.as_ref().map(|source| source.text.as_str()), project);
            Ok(written.map_or_else(IdentityRecord::Failed, |()| IdentityRecord::Added))
        }
        (Some(project), Some(here), Some(_)) => {
            let what = format!("the plan is for the project {project}, and {FILE} names {here}; nothing was changed");
            Err(Diagnostic::error(what).hint("plan again").into())
        }
        (None, None, Some(_)) => Err(Diagnostic::error(format!("{FILE} names no project; nothing was changed"))
            .hint(format!("write the `project: ...` line that the plan shows into {FILE}, and commit it"))
            .into()),
        (None, ..) => {
            let what = "the plan names no project: an earlier version of armilla made it; nothing was changed";
            Err(Diagnostic::error(what).hint("plan again").into())
        }
    }
}

/// The project that `armilla.yml` names.
fn named(settings: Option<&Arc<Source>>) -> Result<Option<ProjectId>, Diagnostics> {
    let node = settings.map(crate::yaml::parse).transpose()?;
    Ok(node.map(|node| ProjectSettings::read(&node)).transpose()?.and_then(|settings| settings.project))
}

/// The text of a new file.
pub fn new_file(project: &ProjectId) -> String {
    format!("{COMMENT}\nproject: {project}\n")
}

fn write(root: &Path, before: Option<&str>, project: &ProjectId) -> Result<(), String> {
    let text = match before {
        None => new_file(project),
        Some(text) => added(text, project)?,
    };
    store::replace(&root.join(FILE), text.as_bytes()).map_err(|error| error.to_string())?;
    if before.is_none() {
        // What is new is for its owner alone; this is for everybody who may read the project.
        use std::os::unix::fs::PermissionsExt as _;
        let readable = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(root.join(FILE), readable).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The text with one more key.
fn added(before: &str, project: &ProjectId) -> Result<String, String> {
    let path = edit::Path::parse("project")?;
    let value = serde_json::Value::from(project.as_str()).to_string();
    let edit = Edit::Yaml(edit::Yaml { path, value: Some(Content::from(value.as_str())) });
    let after = edit.apply(Some(before.as_bytes())).map_err(|error| error.to_string())?;
    String::from_utf8(after.unwrap_or_default()).map_err(|error| error.to_string())
}

/// The project, if there is only one.
pub fn only(known: &BTreeSet<ProjectId>) -> Option<ProjectId> {
    known.first().filter(|_| known.len() == 1).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::{Reading, Record, StateReading};

    fn project(number: u64) -> ProjectId {
        ProjectId::compose("shop", number)
    }

    fn identity(known: Knowledge) -> ProjectIdentity {
        let environment = EnvName::new("live").expect("a name");
        ProjectIdentity { environment, known, adoption: Adoption::Ask }
    }

    /// A host that knows these projects.
    fn observed(known: &[u64]) -> Observed {
        let (host, environment) = (HostName::new("h1").expect("a name"), EnvName::new("live").expect("a name"));
        let owner = |number: &u64| Owner { project: Some(project(*number)), environment: environment.clone() };
        let records = known.iter().map(|number| ((owner(number), host.clone()), Record::default())).collect();
        let state = StateReading { records, ..StateReading::default() };
        [(host, Ok([(Probe::State, Reading::State(Box::new(state)))].into_iter().collect()))].into()
    }

    fn owner(identity: &ProjectIdentity, known: &[u64]) -> Option<ProjectId> {
        identity.owner_on(&observed(known)).project
    }

    #[test]
    fn what_is_written_is_never_another_project() {
        let written = identity(Knowledge::Written(project(1))).or_new(project(9)).adopting(Adoption::Given);
        for known in [&[][..], &[2], &[1, 2]] {
            assert_eq!(owner(&written, known), Some(project(1)));
        }
    }

    #[test]
    fn a_project_without_an_identity_is_a_new_one_unless_it_is_said_to_be_a_known_one() {
        let new = identity(Knowledge::Missing).or_new(project(9)).adopting(Adoption::Ask);
        assert_eq!(owner(&new, &[1]), Some(project(9)));
        let adopts = identity(Knowledge::Missing).or_new(project(9)).adopting(Adoption::Given);
        assert_eq!(owner(&adopts, &[1]), Some(project(1)));
        assert_eq!(owner(&adopts, &[]), Some(project(9)));
        assert_eq!(owner(&adopts, &[1, 2]), Some(project(9)), "which of them is not known");
        assert_eq!(owner(&identity(Knowledge::Missing), &[1]), None, "a plan assumes nothing");
    }

    #[test]
    fn a_checkout_that_cannot_be_written_to_is_the_only_project_that_the_hosts_know() {
        let read_only = identity(Knowledge::ReadOnly).or_new(project(9)).adopting(Adoption::Ask);
        assert_eq!(owner(&read_only, &[1]), Some(project(1)));
        assert_eq!(owner(&read_only, &[]), None);
        assert_eq!(owner(&read_only, &[1, 2]), None);
    }

    #[test]
    fn an_identity_is_added_and_everything_else_stays() {
        let project = project(7);
        for before in [
            "",
            "# only a comment\n",
            "---\n# programs\nallow_commands:\n  - [./hosts.py, --list]   # ours\n",
            "allow_commands: [[./hosts.py]]\n",
            "allow_commands: []",
            "{ allow_commands: [[./hosts.py, --list]] }\n",
        ] {
            let after = added(before, &project).unwrap_or_else(|why| panic!("{before:?}: {why}"));
            let node = crate::yaml::parse(&crate::diag::Source::new(FILE, &*after)).expect(&after);
            let settings = ProjectSettings::read(&node).unwrap_or_else(|why| panic!("{after}{why}"));
            assert_eq!(settings.project.as_ref(), Some(&project), "{after}");
            let kept = |line: &&str| !line.trim().is_empty() && !line.starts_with('{');
            for line in before.lines().filter(kept) {
                assert!(after.contains(line), "{line:?} is not in {after:?}");
            }
        }
    }
}
