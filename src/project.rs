//! A project as texts: everything its files say, before anything is understood.
//!
//! In: texts and bytes, read by the store or made by a test. Out: look-ups by role and file name. Never: a file system.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diag::Source;
use crate::name::RoleName;
use crate::template::{Folder, Library};

/// All texts of a project that its environments share, and those of one environment.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// `site.yml`; none if there is none.
    pub site: Option<Arc<Source>>,
    /// `armilla.yml`; none if there is none.
    pub settings: Option<Arc<Source>>,
    /// `ansible.cfg`; none if there is none.
    pub ansible: Option<Arc<Source>>,
    /// The roles: those of the project first, then those the binary carries.
    pub roles: BTreeMap<RoleName, RoleTexts>,
    /// The project's own `templates/`, by path below it.
    pub templates: Folder,
    /// The templates that the binary carries for all roles, by path below `templates/`.
    pub shared: Folder,
    /// The project's own `files/`, by path below it.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The files of the environment's folder, by path below it.
    pub environment: Vec<(String, Arc<Source>)>,
}

/// The files of one role.
#[derive(Debug, Clone)]
pub struct RoleTexts {
    /// `role.yml`.
    pub role: Arc<Source>,
    /// `templates/`, by path below it.
    pub templates: Folder,
    /// `files/`, by path below it.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Where it comes from.
    pub from: From,
}

/// Where a role comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The project's `roles/`.
    Project,
    /// The binary.
    BuiltIn,
}

impl Project {
    /// The templates a role can use: its own come before the project's, and those before the built-in ones.
    pub fn library(&self, role: &RoleName) -> Library<'_> {
        let own = self.roles.get(role).map(|texts| &texts.templates);
        Library::new(own.into_iter().chain([&self.templates, &self.shared]))
    }

    /// A file for a role: the role's own comes before the project's.
    pub fn file(&self, role: &RoleName, name: &str) -> Option<&[u8]> {
        let own = self.roles.get(role).and_then(|texts| texts.files.get(name));
        own.or_else(|| self.files.get(name)).map(Vec::as_slice)
    }

    /// The names of the files a role can use.
    pub fn file_names(&self, role: &RoleName) -> Vec<&str> {
        let own = self.roles.get(role).into_iter().flat_map(|texts| texts.files.keys());
        own.chain(self.files.keys()).map(String::as_str).collect()
    }
}
