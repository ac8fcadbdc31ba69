//! What the kinds that are a part of a file share: `line`, `block`, `ini`, `json`, and the system's own tables.
//!
//! In: a literal edit, and what was found in the file. Out: all of the file with the part as wanted, written only if it is
//! still what was found; mode, owner and group stay. Never: a write through a symbolic link, or the rest of the file in a
//! plan: it may hold what is nobody's business.

use serde::de::DeserializeOwned;
use similar::{ChangeTag, TextDiff};

use super::fields::{self, Presence};
use super::{Action, Change, Field, FieldValue, Hold, Kind, Made, Verdict, trace};
use crate::edit::Edit;
use crate::secret::{Content, Secret};
use crate::step::{
    Attributes, Digest, FETCH_LIMIT, Fetch, Mode, Ownership, PathReading, Probe, Readings, Removable, Step, Unreadable,
};

/// A kind that is a part of a file: what sets it apart.
pub(super) trait FilePart:
    DeserializeOwned + schemars::JsonSchema + Clone + std::fmt::Debug + Send + Sync + 'static
{
    /// See [`Kind::NAME`].
    const NAME: &'static str;
    /// See [`Kind::SUMMARY`].
    const SUMMARY: &'static str;
    /// See [`Kind::EXAMPLE`].
    const EXAMPLE: &'static str;
    /// See [`Kind::SHORT`].
    const SHORT: &'static str;

    /// See [`Kind::check`].
    fn check(&self) -> Result<(), String>;

    /// Which part of the file it is: what tells it from the file's other parts.
    fn part(&self) -> String;

    /// The file, and what it should become.
    fn piece(&self) -> Piece;

    /// What must be known to find it when it is to be taken away, the file among it: see [`Kind::absent`]. None if that
    /// cannot be said, as of a secret.
    fn keys(&self) -> Option<serde_json::Value>;
}

impl<P: FilePart> Kind for P {
    const NAME: &'static str = P::NAME;
    const SUMMARY: &'static str = P::SUMMARY;
    const EXAMPLE: &'static str = P::EXAMPLE;
    const SHORT: &'static str = P::SHORT;
    type State = PathReading;

    fn target(&self) -> String {
        format!("{} {}", self.piece().path, self.part())
    }

    fn holds(&self) -> Option<Hold> {
        Some(Hold::Part(self.piece().path))
    }

    fn check(&self) -> Result<(), String> {
        fields::check_path(&self.piece().path)?;
        FilePart::check(self)
    }

    fn probes(&self) -> Vec<Probe> {
        vec![self.piece().probe()]
    }

    fn observe(&self, readings: &Readings) -> Result<PathReading, Unreadable> {
        readings.path(&self.piece().probe()).cloned()
    }

    fn change(&self, state: &PathReading) -> Verdict {
        self.piece().verdict(state)
    }

    fn absent(&self) -> Option<serde_json::Value> {
        let wanted = if self.piece().edit.is_wanted() { Presence::Present } else { Presence::Absent };
        trace::away(wanted, self.keys()?)
    }

    fn exists(&self, state: &PathReading) -> bool {
        match removal(self) {
            Some(piece) => piece.is_there(state),
            None => self.piece().verdict(state) == Verdict::InSync,
        }
    }

    /// The step that writes it wants the whole file to be as it was.
    fn fingerprint(&self, state: &PathReading) -> String {
        trace::path(state)
    }

    fn imprint(&self, state: &PathReading) -> String {
        removal(self).map_or_else(String::new, |piece| piece.imprint(state))
    }

    fn made(&self) -> Made {
        alone(self).map_or(Made::BySteps, Made::As)
    }

    fn unforeseen(&self, state: &PathReading) -> Option<Change> {
        self.piece().unforeseen(state)
    }

    fn written(&self, state: &PathReading) -> Option<i64> {
        super::regular::modified(state)
    }
}

/// What takes a part away; none if nobody can say which one it is.
fn removal<P: FilePart>(part: &P) -> Option<Piece> {
    if !part.piece().edit.is_wanted() {
        return Some(part.piece());
    }
    let away: P = serde_json::from_value(Kind::absent(part)?).ok()?;
    Some(away.piece())
}

/// What would be taken away of a file with nothing in it but this part; none if it cannot be alone.
fn alone<P: FilePart>(part: &P) -> Option<String> {
    let edit = part.piece().edit;
    let content = edit.apply(None).or_else(|_| edit.apply(Some(b""))).ok()??;
    let (digest, size) = (Digest::of(&content), content.len() as u64);
    let attributes = Attributes { mode: Mode(0o644), owner: fields::root(), group: fields::root() };
    let found = PathReading::File { attributes, size, digest, modified: 0, content: Some(content) };
    Some(removal(part)?.imprint(&found))
}

/// A part of a file as it should be.
#[derive(Debug)]
pub(super) struct Piece {
    /// The file.
    pub(super) path: String,
    /// What it should become.
    pub(super) edit: Edit,
    /// What happens where there is no file.
    pub(super) missing: Missing,
    /// Who should own the file that is there, if this kind says so.
    pub(super) ownership: Ownership,
    /// Whether packages bring such a file.
    pub(super) origin: Origin,
}

/// What happens where there is no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is made; and it goes with the last of its parts.
    Create,
    /// It is a mistake.
    Refuse,
}

/// Where a file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Perhaps a package: what will be in it is known only then.
    Package,
    /// Nobody but those who write parts of it.
    Own,
}

impl Piece {
    /// A part of any file, made if `create` says so.
    pub(super) fn of(path: &str, edit: Edit, create: bool) -> Self {
        let missing = if create { Missing::Create } else { Missing::Refuse };
        Self { path: path.to_owned(), edit, missing, ownership: Ownership::default(), origin: Origin::Package }
    }

    /// A part of a file of the system's, which is made if it is not there and which no package brings.
    pub(super) fn own(path: &str, edit: Edit) -> Self {
        Self { origin: Origin::Own, ..Self::of(path, edit, true) }
    }

    /// What to ask a host.
    pub(super) fn probe(&self) -> Probe {
        Probe::Path { path: self.path.clone(), content: Fetch::Always }
    }

    /// How to get there from what was found.
    pub(super) fn verdict(&self, found: &PathReading) -> Verdict {
        match found {
            PathReading::Absent if !self.edit.is_wanted() => Verdict::InSync,
            PathReading::Absent if self.missing == Missing::Refuse => {
                Verdict::Refuse("the file does not exist; `create: true` creates it".to_owned())
            }
            PathReading::Absent => self.edited(None, None),
            PathReading::File { attributes, .. } if self.edit.is_secret() && attributes.mode.0 & 0o004 != 0 => {
                let mode = attributes.mode;
                Verdict::Refuse(format!("it contains a secret, and its mode {mode} lets everyone read it"))
            }
            PathReading::File { content: Some(content), digest, attributes, .. } => {
                self.edited(Some((content, digest)), Some(attributes))
            }
            PathReading::File { .. } => Verdict::Refuse(format!(
                "it is larger than {} KiB, the limit for changing a part of a file",
                FETCH_LIMIT >> 10
            )),
            other => Verdict::Refuse(fields::in_the_way(other, "a file")),
        }
    }

    /// Whether there is something to take away, of a part that is to be away.
    pub(super) fn is_there(&self, found: &PathReading) -> bool {
        match found {
            PathReading::Absent => false,
            // A part that cannot be read may well be there.
            PathReading::File { content: Some(bytes), .. } => {
                self.edit.apply(Some(bytes)).map_or(true, |after| after.as_ref() != Some(bytes))
            }
            _ => true,
        }
    }

    /// What would be taken away, of a part that is to be away.
    pub(super) fn imprint(&self, found: &PathReading) -> String {
        let PathReading::File { content: Some(before), .. } = found else { return trace::path(found) };
        if let Some(value) = self.edit.value_in(before) {
            return value.unwrap_or_else(|why| why.to_string());
        }
        match self.edit.apply(Some(before)) {
            Ok(after) => lines(before, &after.unwrap_or_default(), ChangeTag::Delete),
            Err(why) => why.to_string(),
        }
    }

    fn edited(&self, before: Option<(&[u8], &Digest)>, attributes: Option<&Attributes>) -> Verdict {
        let after = match self.edit.apply(before.map(|(bytes, _)| bytes)) {
            Ok(after) => after.unwrap_or_default(),
            Err(why) => return Verdict::Refuse(why.to_string()),
        };
        let permissions = attributes.map(|found| fields::ownership_fields(found, &self.ownership)).unwrap_or_default();
        if before.is_some_and(|(bytes, _)| bytes == after) {
            let step = Step::SetOwnership { path: self.path.clone(), ownership: self.ownership.clone() };
            return Verdict::differing(permissions, vec![step]);
        }
        let shown = self.difference(before.map(|(bytes, _)| bytes).unwrap_or_default(), &after);
        let ownership = if before.is_some() { self.ownership.clone() } else { self.new_ownership() };
        let content = if self.edit.is_secret() { Content::Secret(Secret::new(after)) } else { Content::Plain(after) };
        let unchanged = Step::Unchanged { path: self.path.clone(), digest: before.map(|(_, digest)| digest.clone()) };
        let empty = self.edit.is_hollow(content.bytes()) && self.missing == Missing::Create && !self.edit.is_wanted();
        let path = self.path.clone();
        let write = if empty {
            Step::Remove { path, what: Removable::File }
        } else {
            Step::WriteFile { path, content, ownership }
        };
        let action = match (self.edit.is_wanted(), before) {
            (false, _) => Action::Remove,
            (true, None) => Action::Add,
            (true, Some(_)) => Action::Change,
        };
        Verdict::change(action, [vec![shown], permissions].concat(), vec![unchanged, write])
    }

    /// The lines that go and the lines that come, without those around them.
    fn difference(&self, before: &[u8], after: &[u8]) -> Field {
        let all = |tag: ChangeTag| lines(before, after, tag);
        let diff = || FieldValue::Diff { from: all(ChangeTag::Delete), to: all(ChangeTag::Insert) };
        Field { name: "content", value: if self.edit.is_secret() { FieldValue::Secret } else { diff() } }
    }

    /// A new file is root's; everyone may read it unless a secret goes into it.
    fn new_ownership(&self) -> Ownership {
        let mode = Mode(if self.edit.is_secret() { 0o600 } else { 0o644 });
        let name = |name: &Option<String>| name.clone().or_else(|| Some(fields::root()));
        let given = &self.ownership;
        let group = if given.owner.is_some() { given.group.clone() } else { name(&given.group) };
        Ownership { mode: given.mode.or(Some(mode)), owner: name(&given.owner), group }
    }

    /// See [`Kind::unforeseen`].
    pub(super) fn unforeseen(&self, found: &PathReading) -> Option<Change> {
        if *found != PathReading::Absent || self.origin == Origin::Own {
            return None;
        }
        let create = (self.missing == Missing::Create && self.edit.is_wanted()).then(|| self.new_ownership());
        let step = Step::EditFile { path: self.path.clone(), edit: self.edit.clone(), create };
        let action = if self.edit.is_wanted() { Action::Change } else { Action::Remove };
        Some(Change { action, fields: Vec::new(), steps: vec![step] })
    }
}

/// The lines that only one of two texts has.
fn lines(before: &[u8], after: &[u8], tag: ChangeTag) -> String {
    let (before, after) = (String::from_utf8_lossy(before), String::from_utf8_lossy(after));
    let difference = TextDiff::from_lines(&*before, &*after);
    let changes = difference.iter_all_changes().filter(|change| change.tag() == tag);
    changes.map(|change| change.value().to_owned()).collect()
}
