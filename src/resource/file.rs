//! `file`: a regular file with this content, owner and mode.
//!
//! In: path, content and permissions. Out: a write that is never half done, or only a change of permissions.
//! Never: a write through a symbolic link, or over a directory.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Data, FileMode, Presence};
use super::{Action, Change, Claim, Field, Kind, Source, Verdict};
use crate::step::{Digest, Fetch, PathReading, Probe, Readings, Removable, Step, Unreadable};

/// A regular file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct File {
    /// Where it is on the host.
    pub path: String,
    /// What is in it. Instead: `src`, a file of the role's or project's `files/`.
    #[serde(default)]
    pub content: Option<Data>,
    /// The user it belongs to.
    #[serde(default = "fields::root")]
    pub owner: String,
    /// The group it belongs to.
    #[serde(default = "fields::root")]
    pub group: String,
    /// Who may do what with it, in quotes.
    #[serde(default = "fields::mode_644")]
    pub mode: FileMode,
    /// Whether it is there.
    #[serde(default)]
    pub state: Presence,
    /// Once it is there, other content stops the plan instead of being overwritten.
    #[serde(default)]
    pub frozen: bool,
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
        match (self.state, &self.content) {
            (Presence::Present, None) => Err("a file needs `content` or `src`".to_owned()),
            (Presence::Absent, Some(_)) => Err("a file that is to be absent has no content".to_owned()),
            _ => Ok(()),
        }
    }

    fn probes(&self) -> Vec<Probe> {
        vec![self.probe()]
    }

    fn observe(&self, readings: &Readings) -> Result<PathReading, Unreadable> {
        readings.path(&self.probe()).cloned()
    }

    fn change(&self, state: &PathReading) -> Verdict {
        match (self.state, &self.content) {
            (Presence::Absent, _) | (_, None) => self.removal(state),
            (Presence::Present, Some(content)) => self.writing(content, state),
        }
    }

    fn written(&self, state: &PathReading) -> Option<i64> {
        if let PathReading::File { modified, .. } = state { Some(*modified) } else { None }
    }
}

impl File {
    fn probe(&self) -> Probe {
        let content = self.content.as_ref().map_or(Fetch::Digest, |data| match data.0.is_secret() {
            // A secret's old value is as secret: only its digest travels.
            true => Fetch::Digest,
            false => Fetch::Unless(Digest::of(data.0.bytes())),
        });
        Probe::Path { path: self.path.clone(), content }
    }

    fn removal(&self, state: &PathReading) -> Verdict {
        match state {
            PathReading::Absent => Verdict::InSync,
            PathReading::File { .. } => Verdict::Change(Change {
                action: Action::Remove,
                fields: Vec::new(),
                steps: vec![Step::Remove { path: self.path.clone(), what: Removable::File }],
            }),
            other => Verdict::Refuse(fields::in_the_way(other, "a file")),
        }
    }

    fn writing(&self, content: &Data, state: &PathReading) -> Verdict {
        let ownership = fields::ownership(&self.owner, &self.group, self.mode);
        let write =
            |ownership| Step::WriteFile { path: self.path.clone(), content: content.0.clone(), ownership };
        match state {
            PathReading::Absent => changed(Action::Add, fields::content(None, &content.0), Vec::new(), write(ownership)),
            PathReading::File { attributes, digest, size, content: found, .. } => {
                let permissions = fields::ownership_fields(attributes, &ownership);
                if *digest != Digest::of(content.0.bytes()) {
                    if self.frozen {
                        return Verdict::Refuse("it is frozen and holds something else".to_owned());
                    }
                    let difference = fields::content(Some((found.as_deref(), *size)), &content.0);
                    return changed(Action::Change, difference, permissions, write(ownership));
                }
                if permissions.is_empty() {
                    return Verdict::InSync;
                }
                let step = Step::SetOwnership { path: self.path.clone(), ownership };
                Verdict::Change(Change { action: Action::Change, fields: permissions, steps: vec![step] })
            }
            other => Verdict::Refuse(fields::in_the_way(other, "a file")),
        }
    }
}

fn changed(action: Action, content: Field, permissions: Vec<Field>, step: Step) -> Verdict {
    let fields = std::iter::once(content).chain(permissions).collect();
    Verdict::Change(Change { action, fields, steps: vec![step] })
}
