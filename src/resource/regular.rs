//! What `file`, `template` and `unit` share: one regular file, however its content came to be.
//!
//! In: path, content and permissions, and what was found there. Out: a write that is never half done, or only a change
//! of permissions. Never: a write through a symbolic link, or over a directory.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Body, FileMode, Presence, Wanted};
use super::path::{PathKind, Shape};
use super::{Action, Change, Field, Source, Verdict};
use crate::secret::Content;
use crate::step::{Digest, Fetch, Ownership, PathReading, Probe, Removable, Step};

/// A kind that is a regular file: what sets it apart.
pub(super) trait Sort: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// See [`PathKind::NAME`].
    const NAME: &'static str;
    /// See [`PathKind::SUMMARY`].
    const SUMMARY: &'static str;
    /// See [`PathKind::EXAMPLE`].
    const EXAMPLE: &'static str;
    /// See [`PathKind::SOURCE`].
    const SOURCE: Source;
}

/// A regular file, as written in YAML.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound = "")]
#[schemars(bound = "")]
pub(super) struct Written<S: Sort> {
    /// Where it is on the host.
    path: String,
    /// What is in it. Instead: `src`, a file of the role's or project's `files/` (of a `template`: a template of
    /// `templates/`, which is rendered).
    #[serde(default)]
    content: Option<Body>,
    /// The user it belongs to.
    #[serde(default = "fields::root")]
    owner: String,
    /// The group it belongs to.
    #[serde(default = "fields::root")]
    group: String,
    /// Who may do what with it, in quotes. With a secret in the content, it must not let everyone read.
    #[serde(default = "fields::mode_644")]
    mode: FileMode,
    /// Whether it exists.
    #[serde(default)]
    state: Presence,
    /// Once it is there, other content stops the plan instead of being overwritten.
    #[serde(default)]
    frozen: bool,
    /// Only the first content: once it is there, other content is left alone.
    #[serde(default)]
    initial: bool,
    #[serde(skip)]
    sort: PhantomData<S>,
}

impl<S: Sort> PathKind for Written<S> {
    const NAME: &'static str = S::NAME;
    const SUMMARY: &'static str = S::SUMMARY;
    const EXAMPLE: &'static str = S::EXAMPLE;
    const SOURCE: Source = S::SOURCE;
    const SHAPE: Shape = Shape::File;

    fn path(&self) -> &str {
        &self.path
    }

    fn presence(&self) -> Presence {
        self.state
    }

    fn check(&self) -> Result<(), String> {
        fields::check_word("user", &self.owner)?;
        fields::check_word("group", &self.group)?;
        if self.frozen && self.initial {
            return Err(
                "`frozen` stops the plan at other content, which `initial` leaves alone: write one of them".to_owned()
            );
        }
        check(&format!("a {}", S::NAME), self.state, self.content.as_ref().map(Body::as_wanted), self.mode)
    }

    fn fetch(&self) -> Fetch {
        self.regular().fetch()
    }

    fn presenting(&self, found: &PathReading) -> Verdict {
        self.regular().verdict(found)
    }
}

impl<S: Sort> Written<S> {
    fn regular(&self) -> Regular<'_> {
        Regular {
            path: &self.path,
            content: self.content.as_ref().map(Body::as_wanted),
            ownership: fields::ownership(&self.owner, &self.group, self.mode),
            other: match (self.frozen, self.initial) {
                (true, _) => OtherContent::Refused,
                (false, true) => OtherContent::Kept,
                (false, false) => OtherContent::Replaced,
            },
        }
    }
}

/// A regular file as it should be.
#[derive(Debug)]
pub(super) struct Regular<'a> {
    /// Where it is on the host.
    pub(super) path: &'a str,
    /// What is in it; none if it should not be there.
    pub(super) content: Option<Wanted<'a>>,
    /// Who may do what with it.
    pub(super) ownership: Ownership,
    /// What becomes of other content.
    pub(super) other: OtherContent,
}

/// What becomes of other content in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OtherContent {
    /// It is replaced.
    Replaced,
    /// It stops the plan.
    Refused,
    /// It stays.
    Kept,
}

impl Regular<'_> {
    /// What to ask a host.
    pub(super) fn probe(&self) -> Probe {
        Probe::Path { path: self.path.to_owned(), content: self.fetch() }
    }

    fn fetch(&self) -> Fetch {
        match self.content {
            _ if self.other == OtherContent::Kept => Fetch::Digest,
            // A secret's old value is as secret: only its digest travels.
            None | Some(Wanted::Large(_) | Wanted::Content(Content::Secret(_))) => Fetch::Digest,
            Some(Wanted::Content(Content::Plain(bytes))) => Fetch::Unless(Digest::of(bytes)),
        }
    }

    /// How to get there from what was found.
    pub(super) fn verdict(&self, found: &PathReading) -> Verdict {
        match self.content {
            None => self.removal(found),
            Some(content) => self.writing(content, found),
        }
    }

    /// See [`super::Kind::unwanted`].
    pub(super) fn unwanted(&self, found: &PathReading) -> Option<Change> {
        let gone = self.content.is_none() && *found == PathReading::Absent;
        gone.then(|| Change { action: Action::Remove, fields: Vec::new(), steps: vec![self.removing()] })
    }

    fn removing(&self) -> Step {
        Step::Remove { path: self.path.to_owned(), what: Removable::File }
    }

    fn removal(&self, found: &PathReading) -> Verdict {
        match found {
            PathReading::Absent => Verdict::InSync,
            PathReading::File { .. } => Verdict::change(Action::Remove, Vec::new(), vec![self.removing()]),
            other => Verdict::Refuse(fields::in_the_way(other, "a file")),
        }
    }

    fn writing(&self, content: Wanted<'_>, found: &PathReading) -> Verdict {
        match found {
            PathReading::Absent => self.written(Action::Add, content, vec![fields::content(None, content)]),
            PathReading::File { attributes, digest, size, content: old, .. } => {
                let permissions = fields::ownership_fields(attributes, &self.ownership);
                match self.other {
                    _ if *digest == content.digest() => self.owned(permissions),
                    OtherContent::Kept => self.owned(permissions),
                    OtherContent::Refused => Verdict::Refuse("it is frozen and has other content".to_owned()),
                    OtherContent::Replaced => {
                        let difference = fields::content(Some((old.as_deref(), *size)), content);
                        let all = std::iter::once(difference).chain(permissions).collect();
                        self.written(Action::Change, content, all)
                    }
                }
            }
            other => Verdict::Refuse(fields::in_the_way(other, "a file")),
        }
    }

    fn written(&self, action: Action, content: Wanted<'_>, fields: Vec<Field>) -> Verdict {
        let (path, ownership) = (self.path.to_owned(), self.ownership.clone());
        let step = match content {
            Wanted::Content(content) => Step::WriteFile { path, content: content.clone(), ownership },
            Wanted::Large(file) => Step::SendFile { path, file: file.clone(), ownership },
        };
        Verdict::change(action, fields, vec![step])
    }

    fn owned(&self, fields: Vec<Field>) -> Verdict {
        let step = Step::SetOwnership { path: self.path.to_owned(), ownership: self.ownership.clone() };
        Verdict::differing(fields, vec![step])
    }
}

/// When a file was last written, if it is one.
pub(super) fn modified(found: &PathReading) -> Option<i64> {
    if let PathReading::File { modified, .. } = found { Some(*modified) } else { None }
}

/// Content is there exactly when the file should be, and a secret is not for everyone.
///
/// # Errors
/// The reason, for the user.
pub(super) fn check(
    what: &str,
    state: Presence,
    content: Option<Wanted<'_>>,
    mode: fields::FileMode,
) -> Result<(), String> {
    match (state, content) {
        (Presence::Present, None) => Err(format!("{what} needs `content` or `src`")),
        (Presence::Absent, Some(_)) => Err(format!("{what} with `state: absent` takes no content")),
        (_, Some(content)) if content.is_secret() && mode.0.0 & 0o004 != 0 => {
            Err(format!("it contains a secret, and mode {} lets everyone read it\nwrite `mode: \"0640\"`", mode.0))
        }
        _ => Ok(()),
    }
}
