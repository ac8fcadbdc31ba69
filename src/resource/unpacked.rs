//! What kinds share that fill a directory of their own at once: whole or not at all, versions side by side behind a link.
//!
//! In: where it goes, and what comes there. Out: the directory, then the link, swapped in one instant, then fewer old
//! versions. Never: the removal of a directory that armilla did not unpack.
//!
//! What is in the directory is compared by the file `.armilla-archive` in it, which says what was unpacked: programs
//! write beside themselves, and what they wrote is no difference.

use std::time::Duration;

use super::fields::{self, Presence};
use super::{Action, Field, Verdict, Wish};
use super::{regular, trace};
use crate::secret::Content;
use crate::step::{
    Command, CommandReading, Digest, Fetch, MARKER, Occupied, Packed, PathReading, Probe, Readings, Removable, Step,
    UnpackLimits, Unpacking, Unreadable,
};

/// Where what is unpacked comes from.
pub(super) trait Source {
    /// What plans call it.
    const NAME: &'static str;

    /// Of all that comes.
    fn digest(&self) -> Digest;

    /// How many directories are taken off the front of each name.
    fn strip(&self) -> u32 {
        0
    }

    /// What travels, or is fetched.
    fn packed(&self) -> Packed;

    /// What it must not exceed.
    fn limits(&self) -> UnpackLimits;
}

/// A directory that is unpacked.
pub(super) struct Unpacked<'a, S> {
    pub(super) source: &'a S,
    /// The directory.
    pub(super) path: &'a str,
    /// A symbolic link to it.
    pub(super) link: Option<&'a str>,
    pub(super) owner: &'a str,
    pub(super) group: &'a str,
    /// How many earlier versions behind the link stay.
    pub(super) keep: Option<u8>,
    /// Whether what was unpacked from something else is replaced.
    pub(super) replace: bool,
    pub(super) state: Presence,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    pub(super) path: PathReading,
    pub(super) marker: PathReading,
    pub(super) link: Option<PathReading>,
    /// Directories behind the same link, the latest first.
    pub(super) versions: Vec<String>,
    /// What was added or changed since it was unpacked, if it is to be absent.
    pub(super) added: Vec<String>,
}

impl State {
    /// When it was unpacked or linked, in seconds since 1970.
    pub(super) fn written(&self) -> Option<i64> {
        let linked = match &self.link {
            Some(PathReading::Link { modified, .. }) => Some(*modified),
            _ => None,
        };
        regular::modified(&self.marker).max(linked)
    }

    /// Whether anything is at the path.
    pub(super) fn exists(&self) -> bool {
        self.path != PathReading::Absent
    }

    /// See [`super::Kind::fingerprint`].
    pub(super) fn fingerprint(&self) -> String {
        format!("{}\n{}\n{:?}", self.imprint(), trace::paths(&self.link), self.versions)
    }

    /// See [`super::Kind::imprint`]. The link may lead to a later version by now: it then stays.
    pub(super) fn imprint(&self) -> String {
        trace::paths([&self.path, &self.marker])
    }
}

impl<S: Source> Unpacked<'_, S> {
    /// Whether the places can be meant.
    ///
    /// # Errors
    /// The reason, for the user.
    pub(super) fn check(&self) -> Result<(), String> {
        check_place("path", self.path)?;
        self.link.iter().try_for_each(|link| check_place("link", link))?;
        fields::check_word("user", self.owner)?;
        fields::check_word("group", self.group)?;
        self.check_link()
    }

    /// What to ask a host.
    pub(super) fn probes(&self) -> Vec<Probe> {
        let versions = self.earlier().map(Probe::Command);
        let link = self.link.map(at);
        [at(self.path), self.marker_probe()].into_iter().chain(link).chain(versions).chain(self.newer()).collect()
    }

    /// What the answers mean.
    ///
    /// # Errors
    /// When an answer is missing or is not understood.
    pub(super) fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let link = self.link.map(|link| readings.path(&at(link)).cloned()).transpose()?;
        let versions = match self.earlier() {
            Some(command) => versions(self.path, &readings.command(&Probe::Command(command))?.stdout),
            None => Vec::new(),
        };
        let path = readings.path(&at(self.path))?.clone();
        let added = match self.newer().map(|probe| readings.command(&probe)).transpose()? {
            Some(answer) if *readings.path(&self.marker_probe())? != PathReading::Absent => added(self.path, answer)?,
            _ => Vec::new(),
        };
        Ok(State { path, marker: readings.path(&self.marker_probe())?.clone(), link, versions, added })
    }

    /// How to get there. What no role wants any more stays where others added to it.
    pub(super) fn among(&self, state: &State, wish: Wish) -> Verdict {
        match (wish, state.added.as_slice()) {
            (Wish::Left, [first, rest @ ..]) => {
                let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
                Verdict::Refuse(format!("files in it were added or changed since it was unpacked: {first}{more}"))
            }
            _ => self.change(state),
        }
    }

    /// How to get there.
    pub(super) fn change(&self, state: &State) -> Verdict {
        match self.state {
            Presence::Absent => self.removal(state),
            Presence::Present => self.presence(state),
        }
    }

    fn check_link(&self) -> Result<(), String> {
        match self.link {
            None if self.keep.is_some() => Err("`keep` needs a `link`: it counts the versions behind it".to_owned()),
            Some(link) if inside(link, self.path) || inside(self.path, link) => {
                Err(format!("`link` {link} and `path` {} must not contain each other", self.path))
            }
            _ => Ok(()),
        }
    }

    /// Asks for what is in it that came after the marker, which is written last.
    fn newer(&self) -> Option<Probe> {
        let marker = self.marker_path();
        let command = Command::new(["find", self.path, "-xdev", "!", "-type", "d", "-newer", &marker]);
        (self.state == Presence::Absent).then(|| Probe::Command(command.within(Duration::from_secs(60))))
    }

    fn marker_path(&self) -> String {
        format!("{}/{MARKER}", self.path)
    }

    fn marker_probe(&self) -> Probe {
        Probe::Path { path: self.marker_path(), content: Fetch::Always }
    }

    /// What the directory was made from: another text is another directory.
    fn made_from(&self) -> String {
        let Self { source, owner, group, .. } = self;
        let (digest, strip) = (source.digest().0, source.strip());
        format!("{HEAD}sha256 {digest}\nstrip {strip}\nowner {owner}:{group}\n")
    }

    fn marker(&self) -> String {
        self.made_from() + &self.link.map(|link| format!("link {link}\n")).unwrap_or_default()
    }

    fn presence(&self, state: &State) -> Verdict {
        let mut change = match self.directory(state) {
            Ok(change) => change,
            Err(why) => return Verdict::Refuse(why),
        };
        if let (Some(link), Some(found)) = (self.link, &state.link) {
            match found {
                PathReading::Absent => change.add(fields::new("link", link), self.linking(link)),
                PathReading::Link { target, .. } if target == self.path => {}
                PathReading::Link { target, .. } => {
                    change.add(fields::text("link", target, self.path), self.linking(link));
                }
                other => return Verdict::Refuse(fields::in_the_way(other, &format!("the symbolic link {link}"))),
            }
        }
        for path in state.versions.iter().skip(usize::from(self.keep.unwrap_or(u8::MAX))) {
            let removed = Step::RemoveUnpacked { path: path.clone() };
            change.add(fields::new("removed", path), removed);
        }
        let before = matches!(state.link, Some(PathReading::Link { .. }));
        if state.path == PathReading::Absent && !before {
            return Verdict::change(Action::Add, change.fields, change.steps);
        }
        Verdict::differing(change.fields, change.steps)
    }

    /// What is to be done about the directory itself.
    fn directory(&self, state: &State) -> Result<Doing, String> {
        let mut doing = Doing::default();
        let shown = |from: Option<&str>| match from {
            Some(from) => fields::text(S::NAME, from, &self.source.digest().0),
            None => fields::new(S::NAME, &self.source.digest().0),
        };
        match (&state.path, said(&state.marker)) {
            (PathReading::Absent, _) => doing.add(shown(None), self.unpacking(Occupied::Refuse)),
            (PathReading::Directory(_), Some(marker)) if *marker == self.marker() => {}
            (PathReading::Directory(_), Some(marker)) if made_from(marker) == self.made_from() => {
                let ownership = fields::ownership("root", "root", fields::mode_644());
                let (path, content) = (self.marker_path(), Content::from(self.marker().as_str()));
                doing.add(fields::new("marker", "other link"), Step::WriteFile { path, content, ownership });
            }
            (PathReading::Directory(_), Some(marker)) if self.replace => {
                doing.add(shown(Some(line(marker, "sha256 "))), self.unpacking(Occupied::Replace));
            }
            (PathReading::Directory(_), Some(_)) => return Err(self.other_version()),
            (PathReading::Directory(_), None) => return Err(not_ours(self.path)),
            (other, _) => return Err(fields::in_the_way(other, "a directory")),
        }
        Ok(doing)
    }

    fn other_version(&self) -> String {
        format!(
            "{} was made from something else, or with another `strip` or owner: give the new one its own path (with a version) behind a `link`, or write `replace: true` to discard changes in the old one",
            self.path
        )
    }

    fn linking(&self, link: &str) -> Step {
        Step::MakeLink { path: link.to_owned(), target: self.path.to_owned() }
    }

    fn unpacking(&self, occupied: Occupied) -> Step {
        let Self { source, path, owner, group, .. } = self;
        Step::Unpack(Box::new(Unpacking {
            path: (*path).to_owned(),
            source: source.packed(),
            strip: source.strip(),
            owner: (*owner).to_owned(),
            group: (*group).to_owned(),
            limits: source.limits(),
            occupied,
            marker: self.marker(),
        }))
    }

    fn removal(&self, state: &State) -> Verdict {
        let mut steps = Vec::new();
        if let (Some(link), Some(PathReading::Link { target, .. })) = (self.link, &state.link)
            && target == self.path
        {
            steps.push(Step::Remove { path: link.to_owned(), what: Removable::Link });
        }
        match (&state.path, said(&state.marker)) {
            (PathReading::Absent, _) => {}
            (PathReading::Directory(_), Some(_)) => steps.push(Step::RemoveUnpacked { path: self.path.to_owned() }),
            (PathReading::Directory(_), None) => return Verdict::Refuse(not_ours(self.path)),
            (other, _) => return Verdict::Refuse(fields::in_the_way(other, "a directory")),
        }
        if steps.is_empty() { Verdict::InSync } else { Verdict::change(Action::Remove, Vec::new(), steps) }
    }

    /// Asks for the directories beside this one that armilla unpacked behind the same link: when, and which. The link
    /// itself leads to one of them, and is none.
    fn earlier(&self) -> Option<Command> {
        let link = self.link.filter(|_| self.keep.is_some() && self.state == Presence::Present)?;
        let (parent, _) = self.path.rsplit_once('/')?;
        let script = format!(
            "for file in \"$1\"/*/{MARKER}; do if [ -f \"$file\" ] && [ ! -L \"${{file%/*}}\" ] && grep -q -x -F -e \"link $2\" \"$file\"; then stat -c '%Y %n' \"$file\"; fi; done"
        );
        Some(Command::new(["sh", "-c", &script, "sh", parent, link]).within(std::time::Duration::from_secs(20)))
    }
}

/// What is shown and done, together.
#[derive(Default)]
struct Doing {
    fields: Vec<Field>,
    steps: Vec<Step>,
}

impl Doing {
    fn add(&mut self, field: Field, step: Step) {
        self.fields.push(field);
        self.steps.push(step);
    }
}

/// The first line of every marker. A later format has another.
const HEAD: &str = "armilla archive 1\n";

fn at(path: &str) -> Probe {
    Probe::Path { path: path.to_owned(), content: Fetch::Digest }
}

/// What a marker says, if it is one.
fn said(found: &PathReading) -> Option<&str> {
    let PathReading::File { content: Some(content), .. } = found else { return None };
    std::str::from_utf8(content).ok().filter(|text| text.starts_with(HEAD))
}

fn line<'a>(marker: &'a str, word: &str) -> &'a str {
    marker.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_default()
}

/// A marker without what can change while the directory stays.
fn made_from(marker: &str) -> String {
    marker.split_inclusive('\n').filter(|line| !line.starts_with("link ")).collect()
}

/// The directories beside `path`, the latest first, from lines like `1700000000 /opt/spark-3.5.0/.armilla-archive`.
fn versions(path: &str, stdout: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stdout);
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let one = |line: &str| {
        let (at, marker) = line.split_once(' ')?;
        let found = marker.strip_suffix(MARKER)?.strip_suffix('/')?;
        let beside = found.strip_prefix(parent)?.strip_prefix('/')?;
        let plain = fields::check_path(found).is_ok() && !beside.is_empty() && !beside.contains('/');
        (plain && found != path).then(|| Some((at.parse::<i64>().ok()?, found.to_owned())))?
    };
    let mut all: Vec<(i64, String)> = text.lines().filter_map(one).collect();
    all.sort_by(|a, b| b.cmp(a));
    all.into_iter().map(|(_, path)| path).collect()
}

fn check_place(key: &str, path: &str) -> Result<(), String> {
    fields::check_path(path)?;
    if path.matches('/').count() < 2 {
        return Err(format!("`{key}` {path} is too close to /: write it like /opt/{}", path.trim_start_matches('/')));
    }
    Ok(())
}

fn inside(inner: &str, outer: &str) -> bool {
    inner == outer || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
}

/// The names below the directory that `find` says.
fn added(path: &str, answer: &CommandReading) -> Result<Vec<String>, Unreadable> {
    if answer.exit != 0 {
        let why = String::from_utf8_lossy(&answer.stderr);
        return Err(Unreadable(format!("the files added to it cannot be read: {}", why.trim())));
    }
    let text = String::from_utf8_lossy(&answer.stdout);
    let below = |line: &str| line.strip_prefix(path).unwrap_or(line).trim_start_matches('/').to_owned();
    Ok(text.lines().map(below).collect())
}

fn not_ours(path: &str) -> String {
    format!("the directory {path} was not unpacked by armilla, which never replaces or removes it: move it first")
}
