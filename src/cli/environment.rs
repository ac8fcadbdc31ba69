//! Environments apart: production looks different, and is confirmed by its name.
//!
//! In: an environment that was read. Out: what is shown and asked because of it. Never: colour alone; a guess that an
//! environment is not production.

use super::ui;
use crate::name::EnvName;
use crate::plan::saved::Hosts;
use crate::settings::{Confirm, EnvironmentSettings};
use crate::workspace::{Environment, Workspace};

/// Says where one is, if that is production.
pub(super) fn banner(loaded: &Environment) {
    if !loaded.is_production() {
        return;
    }
    let style = anstyle::AnsiColor::White.on(anstyle::AnsiColor::Red).bold();
    let why = match loaded.settings.production_origin {
        Some(_) => String::new(),
        None => format!("   (inventories/{}/environment.yml does not say otherwise)", loaded.name),
    };
    ui::say(&format!("{style} PRODUCTION {style:#} {}{why}", loaded.name));
}

/// What is asked before an environment is changed.
pub(super) struct Question {
    name: EnvName,
    production: bool,
    confirm: Option<Confirm>,
}

impl Question {
    /// Asks it.
    pub(super) fn ask(&self) -> bool {
        asked(&self.name, self.production, self.confirm)
    }
}

/// Says where one is, if that is production, for a plan that was saved. Without its project nothing is known of the
/// environment, and unknown is production.
pub(super) fn banner_of(workspace: Option<&Workspace>, name: &EnvName, hosts: Hosts) -> Question {
    let settings = workspace.and_then(|workspace| workspace.settings(Some(name)).ok());
    let settings = settings.map_or_else(EnvironmentSettings::default, |(_, environment)| environment);
    let production = settings.production && hosts == Hosts::Real;
    if production {
        let style = anstyle::AnsiColor::White.on(anstyle::AnsiColor::Red).bold();
        ui::say(&format!("{style} PRODUCTION {style:#} {name}"));
    }
    Question { name: name.clone(), production, confirm: settings.confirm }
}

/// Asks for the name of the environment, whatever it is: there is no way back.
pub(super) fn is_named(loaded: &Environment, what: &str) -> bool {
    let name = &loaded.name;
    ui::ask(&format!("\n{what}? Type the name of the environment to go on:")) == name.as_str()
}

/// Asks whether to change this environment. Whoever works on production types its name: a `yes` comes off the fingers
/// in the wrong window, too.
pub(super) fn is_confirmed(loaded: &Environment) -> bool {
    asked(&loaded.name, loaded.is_production(), loaded.settings.confirm)
}

fn asked(name: &EnvName, production: bool, confirm: Option<Confirm>) -> bool {
    let wanted = confirm.unwrap_or(if production { Confirm::Name } else { Confirm::Yes });
    let place = if production { format!("PRODUCTION, {name}") } else { name.to_string() };
    match wanted {
        Confirm::Yes => ui::ask(&format!("\nDo exactly this to {place}? Only `yes` is taken for yes:")) == "yes",
        Confirm::Name => {
            let question = format!("\nDo exactly this to {place}? Type the name of the environment to go on:");
            ui::ask(&question) == name.as_str()
        }
    }
}
