//! `link`: a symbolic link.
//!
//! In: where it is and what it says. Out: the link, replaced in one instant. Never: a link in the place of a file or
//! directory, or a look at what it points to.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Presence};
use super::path::{AtPath, PathKind, Shape};
use super::{Action, Field, Verdict};
use crate::step::{PathReading, Step};

/// A symbolic link.
pub(super) type Link = AtPath<Keys>;

/// A symbolic link.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// Where it is on the host.
    path: String,
    /// What it points to, absolute or relative to its own directory. It need not be there.
    #[serde(default)]
    target: Option<String>,
    /// Whether it exists.
    #[serde(default)]
    state: Presence,
}

impl PathKind for Keys {
    const NAME: &'static str = "link";
    const SUMMARY: &'static str = "A symbolic link";
    const EXAMPLE: &'static str = "link: { path: /opt/spark/current, target: /opt/spark/3.5.1 }";
    const MAKES_DIRECTORIES: bool = true;
    const SHAPE: Shape = Shape::Link;

    fn path(&self) -> &str {
        &self.path
    }

    fn presence(&self) -> Presence {
        self.state
    }

    fn check(&self) -> Result<(), String> {
        match (self.state, self.target.as_deref()) {
            (Presence::Present, None) => Err("a link needs `target`".to_owned()),
            (Presence::Present, Some("")) => Err("`target` is empty".to_owned()),
            (_, Some(target)) => fields::check_line("target", target),
            (Presence::Absent, None) => Ok(()),
        }
    }

    fn presenting(&self, found: &PathReading) -> Verdict {
        // It has one: `check` refuses a link without.
        let to = self.target.as_deref().unwrap_or_default();
        match found {
            PathReading::Link { target, .. } if target == to => Verdict::InSync,
            PathReading::Link { target, .. } => self.making(Action::Change, fields::text("target", target, to), to),
            _ => self.making(Action::Add, fields::new("target", to), to),
        }
    }
}

impl Keys {
    fn making(&self, action: Action, field: Field, target: &str) -> Verdict {
        let step = Step::MakeLink { path: self.path.clone(), target: target.to_owned() };
        Verdict::change(action, vec![field], vec![step])
    }
}
