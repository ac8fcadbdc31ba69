//! What a caller wants of a workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::catalog::{Data, PlacedNames, Placement, ResourceSelection, Target};
use crate::diag::{Diagnostic, Diagnostics, Severity, Source};
use crate::inventory::Become;
use crate::name::{EnvName, Tag};
use crate::settings::VaultKey;
use crate::vars::Setting;

/// Which environment, and what of it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The environment.
    pub environment: EnvName,
    /// How much of the project is read.
    pub depth: Depth,
    /// Only the hosts that this pattern selects; all if there is none.
    pub limit: Option<String>,
    /// Which resources.
    pub selector: Selector,
    /// What becomes of the content of directories that no role wants any more.
    pub data: Data,
    /// Variables that override all others, in the order given; see [`crate::vars::parse_setting`].
    pub variables: Vec<Setting>,
    /// Where the keys of vault files come from.
    pub keys: KeySources,
    /// Where the hosts are.
    pub addresses: Addresses,
    /// As whom to work on every host; as the inventory says if not given.
    pub become_user: Option<Become>,
    /// Files of the environment that are added, or replace those in the folder, by path below it:
    /// `group_vars/workers.yml`.
    pub overlay: BTreeMap<String, Arc<Source>>,
}

impl Request {
    /// A whole environment, as its files describe it.
    pub fn of(environment: EnvName) -> Self {
        Self {
            environment,
            depth: Depth::default(),
            limit: None,
            selector: Selector::default(),
            data: Data::default(),
            variables: Vec::new(),
            keys: KeySources::default(),
            addresses: Addresses::default(),
            become_user: None,
            overlay: BTreeMap::new(),
        }
    }

    /// The same without site and roles: they may be broken or gone.
    #[must_use]
    pub fn hosts_only(self) -> Self {
        Self { depth: Depth::Hosts, ..self }
    }

    /// The same with files of the environment added or replaced.
    #[must_use]
    pub fn overlay(mut self, files: impl IntoIterator<Item = (String, Arc<Source>)>) -> Self {
        self.overlay.extend(files);
        self
    }
}

/// How much of a project is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Depth {
    /// All of it.
    #[default]
    Whole,
    /// Hosts and settings. Site and roles are not read.
    Hosts,
}

/// Where the hosts are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Addresses {
    /// Where the inventory says.
    #[default]
    Inventory,
    /// In a lab, by name: a rehearsal. A host without a lab host is never contacted.
    Lab(BTreeMap<String, String>),
}

/// Where the keys of vault files come from, besides the settings of an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySources {
    /// Tried first. Relative paths begin at the working directory.
    pub first: Vec<VaultKey>,
    /// Used if nothing else names a key.
    pub fallback: Option<VaultKey>,
}

/// What becomes of a selector that matches nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NoMatch {
    /// It is an error.
    #[default]
    Error,
    /// It is a warning.
    Warning,
}

impl NoMatch {
    /// The problem with the severity that was asked for.
    pub(super) fn weigh(self, problem: Diagnostic) -> Diagnostic {
        match self {
            Self::Error => problem,
            Self::Warning => Diagnostic { severity: Severity::Warning, ..problem },
        }
    }
}

/// Which resources of an environment, as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Only resources with one of these tags; all if there is none.
    pub tags: Vec<String>,
    /// Not resources with one of these tags.
    pub skip_tags: Vec<String>,
    /// Only what one of these names, as a plan shows it; all if there is none.
    pub targets: Vec<String>,
    /// What becomes of a word that matches nothing.
    pub no_match: NoMatch,
}

impl Selector {
    /// What the words mean in an environment.
    pub(super) fn part(
        &self,
        placement: &Placement,
        known: &BTreeSet<Tag>,
        problems: &mut Diagnostics,
    ) -> ResourceSelection {
        let set = |words: &[String]| {
            words.iter().map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect::<BTreeSet<_>>()
        };
        let names = PlacedNames::of(placement);
        let targets: Vec<Result<Target, Diagnostic>> =
            self.targets.iter().map(|text| Target::parse(text, &names)).collect();
        let mut part = ResourceSelection { tags: set(&self.tags), skip: set(&self.skip_tags), targets: Vec::new() };
        let services = placement.services.iter().map(|placed| placed.definition.name.as_str()).collect();
        let mut unknown = part.unknown_tags(known, &services);
        for target in targets {
            match target {
                Ok(target) => part.targets.push(target),
                Err(problem) => unknown.push(problem),
            }
        }
        unknown.into_iter().map(|problem| self.no_match.weigh(problem)).for_each(|problem| problems.push(problem));
        part
    }
}
