//! `directory`: a directory with this owner and mode.
//!
//! In: path and permissions. Out: the directory with its parents, or only a change of permissions.
//! Never: the removal of anything in it, or a directory in the place of something else.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, FileMode, Presence};
use super::path::{AtPath, PathKind, Shape};
use super::{Action, Change, Verdict};
use crate::step::{Attributes, Ownership, PathReading, Step};

/// A directory.
pub(super) type Directory = AtPath<Keys>;

/// A directory.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// Where it is on the host. Parents that are missing are made, owned by root and open to read.
    path: String,
    /// The user it belongs to.
    #[serde(default = "fields::root")]
    owner: String,
    /// The group it belongs to.
    #[serde(default = "fields::root")]
    group: String,
    /// Who may do what with it, in quotes.
    #[serde(default = "fields::mode_755")]
    mode: FileMode,
    /// Whether it exists. `absent` removes it only if nothing is in it.
    #[serde(default)]
    state: Presence,
}

impl PathKind for Keys {
    const NAME: &'static str = "directory";
    const SUMMARY: &'static str = "A directory with this owner and mode";
    const EXAMPLE: &'static str =
        "directory: { path: /var/lib/zookeeper, owner: zookeeper, group: zookeeper, mode: \"0750\" }";
    const HOLDS_DATA: bool = true;
    const SHAPE: Shape = Shape::Directory;

    fn path(&self) -> &str {
        &self.path
    }

    fn presence(&self) -> Presence {
        self.state
    }

    fn check(&self) -> Result<(), String> {
        fields::check_word("user", &self.owner)?;
        fields::check_word("group", &self.group)
    }

    fn presenting(&self, found: &PathReading) -> Verdict {
        if let PathReading::Directory(found) = found { self.owning(found) } else { self.making() }
    }

    /// What is in it now may be gone when its turn comes: files that leave a role leave before their directory.
    fn removal(&self) -> Verdict {
        let command = fields::remove_if_empty(&self.path);
        let change = Change { action: Action::Remove, fields: Vec::new(), steps: vec![Step::Run(command)] };
        Verdict::MayChange(change, "it is removed only if it is empty at that time".to_owned())
    }
}

impl Keys {
    fn ownership(&self) -> Ownership {
        fields::ownership(&self.owner, &self.group, self.mode)
    }

    fn making(&self) -> Verdict {
        let shown = vec![
            fields::new("mode", &self.mode.0),
            fields::new("owner", &self.owner),
            fields::new("group", &self.group),
        ];
        let step = Step::MakeDirectory { path: self.path.clone(), ownership: self.ownership() };
        Verdict::change(Action::Add, shown, vec![step])
    }

    fn owning(&self, found: &Attributes) -> Verdict {
        let ownership = self.ownership();
        let different = fields::ownership_fields(found, &ownership);
        Verdict::differing(different, vec![Step::SetOwnership { path: self.path.clone(), ownership }])
    }
}
