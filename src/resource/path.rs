//! What the kinds that are one thing at a path share: `directory`, `download`, `file`, `link`, `template`.
//!
//! In: what should be at the path, and what was found there. Out: a question about the path; a removal that takes away only
//! what is of the kind's own sort. Never: something else at the path replaced.

use std::borrow::Cow;
use std::fmt::Debug;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::fields::{self, Presence};
use super::{Action, Change, Claim, Kind, Source, Verdict, trace};
use crate::step::{Fetch, PathReading, Probe, Readings, Removable, Step, Unreadable};

/// A kind that is one thing at a path: what sets it apart.
pub(super) trait PathKind: DeserializeOwned + JsonSchema + Clone + Debug + Send + Sync + 'static {
    /// See [`Kind::NAME`].
    const NAME: &'static str;
    /// See [`Kind::SUMMARY`].
    const SUMMARY: &'static str;
    /// See [`Kind::EXAMPLE`].
    const EXAMPLE: &'static str;
    /// See [`Kind::SOURCE`].
    const SOURCE: Source = Source::None;
    /// See [`Kind::MAKES_DIRECTORIES`].
    const MAKES_DIRECTORIES: bool = false;
    /// See [`Kind::HOLDS_DATA`].
    const HOLDS_DATA: bool = false;
    /// What it is.
    const SHAPE: Shape;

    /// Where it is on the host.
    fn path(&self) -> &str;

    /// Whether it should be there.
    fn presence(&self) -> Presence;

    /// See [`Kind::check`]. The path was checked before.
    fn check(&self) -> Result<(), String>;

    /// How much of a file's content is asked for.
    fn fetch(&self) -> Fetch {
        Fetch::Digest
    }

    /// What is done so that it is there as it should be. What was found is nothing, or has the shape.
    fn presenting(&self, found: &PathReading) -> Verdict;

    /// What takes it away where it was found.
    fn removal(&self) -> Verdict {
        let step = Step::Remove { path: self.path().to_owned(), what: Self::SHAPE.removable() };
        Verdict::change(Action::Remove, Vec::new(), vec![step])
    }
}

/// What can be at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
}

impl Shape {
    fn is_of(self, found: &PathReading) -> bool {
        match self {
            Self::File => matches!(found, PathReading::File { .. }),
            Self::Directory => matches!(found, PathReading::Directory(_)),
            Self::Link => matches!(found, PathReading::Link { .. }),
        }
    }

    fn removable(self) -> Removable {
        match self {
            Self::File => Removable::File,
            Self::Directory => Removable::EmptyDirectory,
            Self::Link => Removable::Link,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Directory => "a directory",
            Self::Link => "a symbolic link",
        }
    }
}

/// A kind of which these are the keys. [`Kind`] is implemented for it, and not for every [`PathKind`]: it is for every
/// [`FilePart`](super::part::FilePart) already.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent, bound = "")]
pub(super) struct AtPath<P: PathKind>(P);

impl<P: PathKind> JsonSchema for AtPath<P> {
    fn schema_name() -> Cow<'static, str> {
        P::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        P::json_schema(generator)
    }
}

impl<P: PathKind> Kind for AtPath<P> {
    const NAME: &'static str = P::NAME;
    const SUMMARY: &'static str = P::SUMMARY;
    const EXAMPLE: &'static str = P::EXAMPLE;
    const SHORT: &'static str = "path";
    const SOURCE: Source = P::SOURCE;
    const MAKES_DIRECTORIES: bool = P::MAKES_DIRECTORIES;
    const HOLDS_DATA: bool = P::HOLDS_DATA;
    type State = PathReading;

    fn target(&self) -> String {
        self.0.path().to_owned()
    }

    fn claim(&self) -> Claim {
        Claim::Path
    }

    fn check(&self) -> Result<(), String> {
        fields::check_path(self.0.path())?;
        self.0.check()
    }

    fn probes(&self) -> Vec<Probe> {
        vec![self.probe()]
    }

    fn observe(&self, readings: &Readings) -> Result<PathReading, Unreadable> {
        readings.path(&self.probe()).cloned()
    }

    fn change(&self, found: &PathReading) -> Verdict {
        let is_there = *found != PathReading::Absent;
        match self.0.presence() {
            _ if is_there && !P::SHAPE.is_of(found) => Verdict::Refuse(fields::in_the_way(found, P::SHAPE.name())),
            Presence::Present => self.0.presenting(found),
            Presence::Absent if is_there => self.0.removal(),
            Presence::Absent => Verdict::InSync,
        }
    }

    fn unwanted(&self, found: &PathReading) -> Option<Change> {
        let is_gone = self.0.presence() == Presence::Absent && *found == PathReading::Absent;
        match self.0.removal() {
            Verdict::Change(change) if is_gone => Some(change),
            _ => None,
        }
    }

    fn written(&self, found: &PathReading) -> Option<i64> {
        match found {
            PathReading::File { modified, .. } | PathReading::Link { modified, .. } if P::SHAPE.is_of(found) => {
                Some(*modified)
            }
            _ => None,
        }
    }

    fn absent(&self) -> Option<serde_json::Value> {
        trace::away(self.0.presence(), serde_json::json!({ "path": self.0.path() }))
    }

    fn exists(&self, found: &PathReading) -> bool {
        *found != PathReading::Absent
    }

    fn fingerprint(&self, found: &PathReading) -> String {
        trace::path(found)
    }
}

impl<P: PathKind> AtPath<P> {
    fn probe(&self) -> Probe {
        Probe::Path { path: self.0.path().to_owned(), content: self.0.fetch() }
    }
}
