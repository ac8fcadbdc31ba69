//! Environments apart: production looks different, and is confirmed by its name.
//!
//! In: an environment that was read. Out: what is shown and asked because of it. Never: colour alone; a guess that an
//! environment is not production.

use super::ui;
use crate::name::EnvName;
use crate::plan::saved::{About, Hosts};
use crate::settings::{Confirm, EnvironmentSettings};
use crate::workspace::{Environment, Workspace};

/// Says where one is, if that is production.
pub(super) fn banner(loaded: &Environment) {
    if !loaded.is_production() {
        return;
    }
    let why = match loaded.settings.production_origin {
        Some(_) => String::new(),
        None => format!("   (inventories/{}/environment.yml does not say otherwise)", loaded.name),
    };
    production_banner(&loaded.name, &why);
}

fn production_banner(name: &EnvName, why: &str) {
    let style = anstyle::AnsiColor::White.on(anstyle::AnsiColor::Red).bold();
    ui::say(&format!("{style} PRODUCTION {style:#} {name}{why}"));
}

/// What is asked before an environment is changed, and the one answer that means yes.
pub(super) struct Question {
    text: String,
    yes: String,
}

impl Question {
    /// Whether to change this environment. Whoever works on production types its name: a `yes` comes off the fingers in the
    /// wrong window, too.
    pub(super) fn of(environment: &Environment) -> Self {
        Self::change(&environment.name, environment.is_production(), environment.settings.confirm)
    }

    /// The same for a plan that was saved; says where one is, if that is production. Without its project nothing is known of
    /// the environment, and unknown is production.
    pub(super) fn of_saved(workspace: Option<&Workspace>, about: &About) -> Self {
        let name = &about.environment;
        let settings = workspace.and_then(|workspace| workspace.settings(Some(name)).ok());
        let settings = settings.map_or_else(EnvironmentSettings::default, |(_, environment)| environment);
        let production = settings.production && about.hosts == Hosts::Real;
        if production {
            production_banner(name, "");
        }
        Self::change(name, production, settings.confirm)
    }

    /// For what cannot be taken back: the name of the environment is asked, whatever it is.
    pub(super) fn by_name(name: &EnvName, what: &str) -> Self {
        let text = format!("\n{what}? Type the name of the environment to confirm:");
        Self { text, yes: name.to_string() }
    }

    /// For what is said of a host and only a person can know.
    pub(super) fn by_yes(what: &str) -> Self {
        Self { text: format!("{what}. Only `yes` is accepted:"), yes: "yes".to_owned() }
    }

    fn change(name: &EnvName, production: bool, confirm: Option<Confirm>) -> Self {
        let wanted = confirm.unwrap_or(if production { Confirm::Name } else { Confirm::Yes });
        let place = if production { format!("PRODUCTION, {name}") } else { name.to_string() };
        match wanted {
            Confirm::Yes => {
                let text = format!("\nApply this plan to {place}? Only `yes` is accepted:");
                Self { text, yes: "yes".to_owned() }
            }
            Confirm::Name => Self::by_name(name, &format!("Apply this plan to {place}")),
        }
    }

    /// The question.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether this answer means yes.
    pub(super) fn is_yes(&self, answer: &str) -> bool {
        answer == self.yes
    }
}
