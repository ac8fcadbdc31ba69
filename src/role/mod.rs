//! Roles: what makes a machine part of a service.
//!
//! In: the text of a `role.yml`. Out: a [`Role`], its expressions compiled, or everything that is wrong with it.
//! Never: a value of a host; those come in the catalog.

mod health;
mod input;
mod read;
mod risk;
mod rollout;

use std::collections::BTreeSet;

pub use health::HealthCheck;
pub use input::{Input, InputType, Typed, parse_duration};
pub use risk::Risk;
pub use rollout::{Hook, HookRecipe, Member, Otherwise, RolloutRecipe};

use crate::diag::Origin;
use crate::name::{RoleName, Tag};
use crate::resource::{KindInfo, Verb};
use crate::template::{Formula, Recipe};
use crate::yaml::Key;

/// A role as its author wrote it.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name: that of its folder.
    pub name: RoleName,
    /// One line of what it is for.
    pub summary: String,
    /// What can be set, in the order written.
    pub inputs: Vec<Input>,
    /// Roles that come before it on the same host.
    pub requires: Vec<Key>,
    /// Services that must be healthy first, wherever they run.
    pub needs: Vec<Key>,
    /// What roles that need it may read.
    pub provides: Vec<(String, Recipe)>,
    /// What cannot work, and why.
    pub refuse: Vec<Refusal>,
    /// By which all of its resources can be chosen.
    pub tags: BTreeSet<Tag>,
    /// What should be on the host, in order.
    pub resources: Vec<Item>,
    /// When it is healthy.
    pub health: Vec<HealthCheck>,
    /// How its hosts change.
    pub rollout: RolloutRecipe,
    /// Where it is written.
    pub origin: Origin,
}

/// A combination that cannot work.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// When this holds.
    pub when: Formula,
    /// Why.
    pub because: Recipe,
    /// What to type.
    pub hint: Option<Recipe>,
}

/// One entry of `resources`.
#[derive(Clone)]
pub struct Item {
    /// Its kind.
    pub kind: &'static KindInfo,
    /// Its keys.
    pub body: Recipe,
    /// Where each key is written.
    pub keys: Vec<Key>,
    /// Only if this holds.
    pub when: Option<Formula>,
    /// Once for each item of this list.
    pub repeat: Option<Formula>,
    /// By which it can be chosen, besides those of its role.
    pub tags: BTreeSet<Tag>,
    /// What a change of it asks of the role's services.
    pub notify: Option<Verb>,
    /// Whether it stays on the host even if it leaves the role.
    pub protect: bool,
    /// Whether a change of it could shut us out, if its author says so.
    pub risk: Option<Risk>,
    /// Where it is written.
    pub origin: Origin,
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.kind.name, self.origin)
    }
}

impl Role {
    /// The keys of a `role.yml`, in the order in which they are best written.
    pub const KEYS: &'static [&'static str] = read::ROLE;

    /// Reads a role.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(name: &RoleName, node: &crate::yaml::Node) -> Result<Self, crate::diag::Diagnostics> {
        read::role(name, node)
    }

    /// The names its expressions read, with their attributes: `facts.os.codename`. Template files are not in it.
    pub fn reads(&self) -> BTreeSet<String> {
        let inputs = self.inputs.iter().filter_map(|input| input.default.as_ref()).flat_map(Recipe::reads);
        let provides = self.provides.iter().flat_map(|(_, recipe)| recipe.reads());
        let refusals = self.refuse.iter().flat_map(|refusal| {
            let texts = std::iter::once(&refusal.because).chain(&refusal.hint).flat_map(Recipe::reads);
            texts.chain(refusal.when.reads())
        });
        let items = self.resources.iter().flat_map(|item| {
            let guards = item.when.iter().chain(&item.repeat).flat_map(Formula::reads);
            guards.chain(item.body.reads())
        });
        let health = self.health.iter().flat_map(|check| check.body.reads());
        let rollout = self.rollout.recipes().flat_map(Recipe::reads);
        inputs.chain(provides).chain(refusals).chain(items).chain(health).chain(rollout).collect()
    }
}
