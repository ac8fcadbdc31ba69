//! How the hosts of a service change: what an author promises of it.
//!
//! In: the `rollout` of a `role.yml`. Out: a [`Policy`], which is the same on every host, and expressions that each host
//! gives its own values. Never: an order of hosts; that is the plan's, and of a run.

mod hook;
mod read;

pub use hook::{Hook, Otherwise};
pub(super) use read::read;

use super::HealthCheck;
use crate::diag::Diagnostics;
use crate::rollout::Policy;
use crate::step::{Command, Probe};
use crate::template::{Recipe, Scope};

/// How the hosts of a service change, before the values of a host are known.
#[derive(Debug, Clone, Default)]
pub struct RolloutRecipe {
    /// What is the same on every host.
    pub policy: Policy,
    /// A program whose answer says when the turn of a host comes: see [`Policy::first`].
    pub by: Option<Recipe>,
    /// What stands or falls together: a rack, a zone. Hosts of two of them never change at the same time.
    pub zone: Option<Recipe>,
    /// What is done on a host before it changes.
    pub drain: Vec<HookRecipe>,
    /// What is done when it is healthy again.
    pub undrain: Vec<HookRecipe>,
}

/// A hook before the values of a host are known.
#[derive(Debug, Clone)]
pub enum HookRecipe {
    /// A program or a request.
    Act(Recipe),
    /// A check that is waited for.
    Until(HealthCheck, Otherwise),
}

/// What a host has of its own in a rollout.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Whose answer says when its turn comes.
    pub by: Option<Probe>,
    /// What stands or falls with it.
    pub zone: Option<String>,
    /// What is done before it changes.
    pub drain: Vec<Hook>,
    /// What is done when it is healthy again.
    pub undrain: Vec<Hook>,
}

impl RolloutRecipe {
    /// What a host has of its own.
    ///
    /// # Errors
    /// Everything that cannot be computed or does not fit.
    pub fn member(&self, scope: &Scope) -> Result<Member, Diagnostics> {
        let mut problems = Diagnostics::new();
        let hooks = |recipes: &[HookRecipe], problems: &mut Diagnostics| {
            recipes.iter().filter_map(|recipe| problems.keep(hook::hook(recipe, scope))).collect()
        };
        let drain = hooks(&self.drain, &mut problems);
        let undrain = hooks(&self.undrain, &mut problems);
        let by = self.by.as_ref().and_then(|by| problems.keep(hook::command(by, "by", scope)));
        let zone = self.zone.as_ref().and_then(|zone| problems.keep(hook::zone(zone, scope)));
        let by = by.map(|command: Command| Probe::Command(command));
        problems.result(Member { by, zone, drain, undrain })
    }

    /// The expressions in it.
    pub(super) fn recipes(&self) -> impl Iterator<Item = &Recipe> {
        let hooks = self.drain.iter().chain(&self.undrain).map(|hook| match hook {
            HookRecipe::Act(recipe) => recipe,
            HookRecipe::Until(check, _) => &check.body,
        });
        self.by.iter().chain(&self.zone).chain(hooks)
    }
}
