//! `file`: a regular file with this content, owner and mode.
//!
//! In: path, content and permissions. Out: a write that is never half done, or only a change of permissions.
//! Never: a write through a symbolic link, or over a directory.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Data, FileMode, Presence};
use super::regular::{self, Regular};
use super::{Change, Claim, Kind, Source, Verdict};
use crate::step::{PathReading, Probe, Readings, Unreadable};

/// A regular file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Where it is on the host.
    path: String,
    /// What is in it. Instead: `src`, a file of the role's or project's `files/`.
    #[serde(default)]
    content: Option<Data>,
    /// The user it belongs to.
    #[serde(default = "fields::root")]
    owner: String,
    /// The group it belongs to.
    #[serde(default = "fields::root")]
    group: String,
    /// Who may do what with it, in quotes. With a secret in the content, it must not let everyone read.
    #[serde(default = "fields::mode_644")]
    mode: FileMode,
    /// Whether it is there.
    #[serde(default)]
    state: Presence,
    /// Once it is there, other content stops the plan instead of being overwritten.
    #[serde(default)]
    frozen: bool,
}

impl Kind for File {
    const NAME: &'static str = "file";
    const SUMMARY: &'static str = "A regular file with this content, owner and mode";
    const EXAMPLE: &'static str = "file: { path: /etc/motd, content: \"Be kind.\\n\", mode: \"0644\" }";
    const SHORT: &'static str = "path";
    const SOURCE: Source = Source::File;
    type State = PathReading;

    fn target(&self) -> String {
        self.path.clone()
    }

    fn claim(&self) -> Claim {
        Claim::Path
    }

    fn check(&self) -> Result<(), String> {
        fields::check_path(&self.path)?;
        fields::check_word("user", &self.owner)?;
        fields::check_word("group", &self.group)?;
        regular::check("a file", self.state, self.content.as_ref(), self.mode)
    }

    fn probes(&self) -> Vec<Probe> {
        vec![self.regular().probe()]
    }

    fn observe(&self, readings: &Readings) -> Result<PathReading, Unreadable> {
        readings.path(&self.regular().probe()).cloned()
    }

    fn change(&self, state: &PathReading) -> Verdict {
        self.regular().verdict(state)
    }

    fn unwanted(&self, state: &PathReading) -> Option<Change> {
        self.regular().unwanted(state)
    }

    fn written(&self, state: &PathReading) -> Option<i64> {
        regular::modified(state)
    }
}

impl File {
    fn regular(&self) -> Regular<'_> {
        Regular {
            path: &self.path,
            content: self.content.as_ref().map(|data| &data.0),
            ownership: fields::ownership(&self.owner, &self.group, self.mode),
            frozen: self.frozen,
        }
    }
}
