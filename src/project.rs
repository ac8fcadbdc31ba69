//! A project as texts: everything its files say, before anything is understood.
//!
//! In: texts and bytes, read by the store or made by a test. Out: look-ups by role and file name. Never: a file system.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use crate::diag::Source;
use crate::name::RoleName;
use crate::secret::LargeFile;
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
    pub files: BTreeMap<String, File>,
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
    pub files: BTreeMap<String, File>,
    /// Where it comes from.
    pub from: From,
}

/// A file of `files/`.
#[derive(Debug, Clone)]
pub enum File {
    /// Its bytes.
    Held(Vec<u8>),
    /// One that is too large for memory.
    Large(Large),
}

impl std::convert::From<&[u8]> for File {
    fn from(bytes: &[u8]) -> Self {
        Self::Held(bytes.to_vec())
    }
}

/// A large file, which is read when a resource is made of it, and not before.
#[derive(Clone)]
pub struct Large(Arc<Described>);

type Described = LazyLock<Result<LargeFile, String>, Box<dyn FnOnce() -> Result<LargeFile, String> + Send>>;

impl Large {
    /// One that `describe` reads.
    pub fn new(describe: impl FnOnce() -> Result<LargeFile, String> + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(describe))))
    }

    /// What it is.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn described(&self) -> Result<&LargeFile, &String> {
        LazyLock::force(&self.0).as_ref()
    }
}

impl fmt::Debug for Large {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Large").finish_non_exhaustive()
    }
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
    pub fn file(&self, role: &RoleName, name: &str) -> Option<&File> {
        let own = self.roles.get(role).and_then(|texts| texts.files.get(name));
        own.or_else(|| self.files.get(name))
    }

    /// The names of the files a role can use.
    pub fn file_names(&self, role: &RoleName) -> Vec<&str> {
        let own = self.roles.get(role).into_iter().flat_map(|texts| texts.files.keys());
        own.chain(self.files.keys()).map(String::as_str).collect()
    }
}
