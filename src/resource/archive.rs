//! `archive`: a tar or zip archive, unpacked into a directory of its own; versions side by side behind a link.
//!
//! In: a file of the project or an address, and where it goes. Out: the directory, whole or not at all, then the link,
//! swapped in one instant, then fewer old versions. Never: anything outside of the directory, or the removal of one that
//! armilla did not unpack.
//!
//! The archive is judged on the host, by one judge for files of the project and for what the host fetches: the plan
//! cannot look into what only the host can reach, and two judges would not agree for long. Its SHA-256 says that it is
//! what the user chose; the judge says that the choice was a good one, before anything of it is written. Its rules are in
//! `host/unpack/judge.rs`.
//!
//! What is in the directory is compared by the file `.armilla-archive` in it, which says what was unpacked: programs
//! write beside themselves, and what they wrote is no difference.

use std::collections::BTreeMap;

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Body, Data, Presence, Span, Wanted};
use super::remote::{self, Bytes, Request};
use super::{Action, Claim, Field, Kind, Made, Others, Source, Verdict, Wish, regular, trace};
use crate::secret::Content;
use crate::step::{
    Command, CommandReading, Digest, Fetch, MARKER, Occupied, Packed, PathReading, Probe, Readings, Removable, Step,
    UnpackLimits, Unpacking, Unreadable,
};

/// A tar archive (plain, or packed with gzip, xz, zstd or bzip2) or a zip archive, unpacked. Which of them is told by its
/// first bytes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Archive {
    /// The directory it becomes, best with its version in the name: `/opt/spark-3.5.1`. Owned by armilla alone: nothing
    /// else may be there before.
    path: String,
    /// Where the host fetches it. Instead: `src`, a file of the role's or project's `files/`.
    #[serde(default)]
    url: Option<String>,
    /// What it must be, as `sha256sum` prints it. Needed with `url`.
    #[serde(default)]
    sha256: Option<String>,
    /// The archive itself, which `src` names.
    #[serde(default)]
    content: Option<Body>,
    /// A symbolic link to the directory, such as `/opt/spark`. It changes in one instant, after everything is unpacked.
    /// A file of your own inside is best named by `path`, not by way of the link, which still leads elsewhere in a plan.
    #[serde(default)]
    link: Option<String>,
    /// How many directories are taken off the front of each name in it: 1 for the usual `spark-3.5.1/...`.
    #[serde(default)]
    strip: u8,
    /// The user that everything in it belongs to.
    #[serde(default = "fields::root")]
    owner: String,
    /// The group that everything in it belongs to.
    #[serde(default = "fields::root")]
    group: String,
    /// How many earlier versions behind the same link stay beside it; the oldest go. All of them by default.
    #[serde(default)]
    keep: Option<u8>,
    /// Whether a directory that was unpacked from something else, or in another way, is replaced, with all that was
    /// written into it since. Without it, that stops the plan.
    #[serde(default)]
    replace: bool,
    /// Whether it exists. `absent` removes the directory with all in it, and the link if it points there. When no role wants
    /// it any more, a file that was added or changed since it was unpacked keeps it.
    #[serde(default)]
    state: Presence,
    /// Added to the request, such as `Authorization`. With them, redirects are not followed, and the host needs `curl`.
    #[serde(default)]
    headers: BTreeMap<String, Data>,
    /// The most that is read from the address: `512M`, `4G`. Four gigabytes by default.
    #[serde(default = "remote::four_gigabytes")]
    max_size: Bytes,
    /// The most that all files in it may have together. Sixteen gigabytes by default.
    #[serde(default = "sixteen_gigabytes")]
    max_unpacked: Bytes,
    /// The most files, directories and links it may have.
    #[serde(default = "entries")]
    max_entries: u32,
    /// How many times its own size all files in it may have together, if that is more than 16 MiB.
    #[serde(default = "ratio")]
    max_ratio: u32,
    /// How long fetching it may take: `30s`, `5m`, `1h30m`; half an hour by default.
    #[serde(default)]
    timeout: Option<Span>,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    path: PathReading,
    marker: PathReading,
    link: Option<PathReading>,
    /// Directories behind the same link, the latest first.
    versions: Vec<String>,
    /// What was added or changed since it was unpacked, if it is to be absent.
    added: Vec<String>,
}

impl Kind for Archive {
    const NAME: &'static str = "archive";
    const SUMMARY: &'static str = "An unpacked tar or zip archive; several versions can be kept behind a link";
    const EXAMPLE: &'static str = "archive: { url: \"https://downloads.example.org/spark-3.5.1.tgz\", \
        sha256: 697a967bb419733a705e7d67d2ad767ac91cdb1a69a3682084175001abfd591f, path: /opt/spark-3.5.1, \
        link: /opt/spark-now, strip: 1, keep: 2 }";
    const SHORT: &'static str = "path";
    const SOURCE: Source = Source::File;
    const BRINGS: bool = true;
    type State = State;

    fn target(&self) -> String {
        self.path.clone()
    }

    fn claim(&self) -> Claim {
        Claim::Path
    }

    fn check(&self) -> Result<(), String> {
        check_place("path", &self.path)?;
        self.link.iter().try_for_each(|link| check_place("link", link))?;
        fields::check_word("user", &self.owner)?;
        fields::check_word("group", &self.group)?;
        self.check_link()?;
        if self.state == Presence::Absent {
            let given = self.url.is_some() || self.content.is_some() || self.sha256.is_some();
            return if given {
                Err("an archive with `state: absent` takes no `src`, `url` or `sha256`".to_owned())
            } else {
                Ok(())
            };
        }
        self.check_source()
    }

    fn probes(&self) -> Vec<Probe> {
        let versions = self.earlier().map(Probe::Command);
        let link = self.link.as_ref().map(|link| at(link));
        [at(&self.path), self.marker_probe()].into_iter().chain(link).chain(versions).chain(self.newer()).collect()
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let link = self.link.as_ref().map(|link| readings.path(&at(link)).cloned()).transpose()?;
        let versions = match self.earlier() {
            Some(command) => versions(&self.path, &readings.command(&Probe::Command(command))?.stdout),
            None => Vec::new(),
        };
        let path = readings.path(&at(&self.path))?.clone();
        let added = match self.newer().map(|probe| readings.command(&probe)).transpose()? {
            Some(answer) if *readings.path(&self.marker_probe())? != PathReading::Absent => added(&self.path, answer)?,
            _ => Vec::new(),
        };
        Ok(State { path, marker: readings.path(&self.marker_probe())?.clone(), link, versions, added })
    }

    fn among(&self, state: &State, wish: Wish, _others: &Others) -> Verdict {
        match (wish, state.added.as_slice()) {
            (Wish::Left, [first, rest @ ..]) => {
                let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
                Verdict::Refuse(format!("files in it were added or changed since it was unpacked: {first}{more}"))
            }
            _ => self.change(state),
        }
    }

    fn change(&self, state: &State) -> Verdict {
        match self.state {
            Presence::Absent => self.removal(state),
            Presence::Present => self.presence(state),
        }
    }

    fn written(&self, state: &State) -> Option<i64> {
        let linked = match &state.link {
            Some(PathReading::Link { modified, .. }) => Some(*modified),
            _ => None,
        };
        regular::modified(&state.marker).max(linked)
    }

    fn absent(&self) -> Option<serde_json::Value> {
        trace::away(self.state, serde_json::json!({ "path": self.path, "link": self.link }))
    }

    fn versions(&self) -> Option<String> {
        self.link.clone()
    }

    fn exists(&self, state: &State) -> bool {
        state.path != PathReading::Absent
    }

    fn fingerprint(&self, state: &State) -> String {
        format!("{}\n{}\n{:?}", self.imprint(state), trace::paths(&state.link), state.versions)
    }

    /// What was added to it since keeps it.
    fn made(&self) -> Made {
        Made::Any
    }

    /// The link may lead to a later version by now: it then stays.
    fn imprint(&self, state: &State) -> String {
        trace::paths([&state.path, &state.marker])
    }
}

impl Archive {
    fn check_link(&self) -> Result<(), String> {
        match &self.link {
            None if self.keep.is_some() => Err("`keep` needs a `link`: it counts the versions behind it".to_owned()),
            Some(link) if inside(link, &self.path) || inside(&self.path, link) => {
                Err(format!("`link` {link} and `path` {} must not contain each other", self.path))
            }
            _ => Ok(()),
        }
    }

    fn check_source(&self) -> Result<(), String> {
        if !(1..=10_000_000).contains(&self.max_entries) || self.max_ratio == 0 {
            return Err("`max_entries` is from 1 to 10000000, and `max_ratio` at least 1".to_owned());
        }
        match (&self.content, self.request()) {
            (Some(_), None) if self.url.is_some() => Err("`src` and `url` are mutually exclusive".to_owned()),
            (Some(_), Some(_)) => Err("`src` and `url` are mutually exclusive".to_owned()),
            (Some(body), None) => self.check_content(body.as_wanted()),
            (None, Some(request)) => request.check(),
            (None, None) => Err("an archive needs `src`, or `url` and `sha256`".to_owned()),
        }
    }

    fn check_content(&self, content: Wanted<'_>) -> Result<(), String> {
        let Some(wanted) = &self.sha256 else { return Ok(()) };
        remote::check_sha256(wanted)?;
        let found = content.digest();
        if found == remote::digest(wanted) {
            return Ok(());
        }
        Err(format!("`src` has the SHA-256 {}, `sha256` expects {wanted}", found.0))
    }

    fn request(&self) -> Option<Request<'_>> {
        let (url, sha256) = self.url.as_deref().zip(self.sha256.as_deref())?;
        Some(Request { url, sha256, headers: &self.headers, max_size: self.max_size, timeout: self.timeout })
    }

    fn digest(&self) -> Digest {
        match (&self.content, &self.sha256) {
            (Some(body), _) => body.as_wanted().digest(),
            (None, sha256) => remote::digest(sha256.as_deref().unwrap_or_default()),
        }
    }

    /// Asks for what is in it that came after the marker, which is written last.
    fn newer(&self) -> Option<Probe> {
        let marker = self.marker_path();
        let command = Command::new(["find", &self.path, "-xdev", "!", "-type", "d", "-newer", &marker]);
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
        let Self { strip, owner, group, .. } = self;
        format!("{HEAD}sha256 {}\nstrip {strip}\nowner {owner}:{group}\n", self.digest().0)
    }

    fn marker(&self) -> String {
        self.made_from() + &self.link.as_ref().map(|link| format!("link {link}\n")).unwrap_or_default()
    }

    fn presence(&self, state: &State) -> Verdict {
        let mut change = match self.directory(state) {
            Ok(change) => change,
            Err(why) => return Verdict::Refuse(why),
        };
        if let (Some(link), Some(found)) = (&self.link, &state.link) {
            match found {
                PathReading::Absent => change.add(fields::new("link", link), self.linking(link)),
                PathReading::Link { target, .. } if *target == self.path => {}
                PathReading::Link { target, .. } => {
                    change.add(fields::text("link", target, &self.path), self.linking(link));
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
            Some(from) => fields::text("archive", from, &self.digest().0),
            None => fields::new("archive", &self.digest().0),
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
            (PathReading::Directory(_), None) => return Err(not_ours(&self.path)),
            (other, _) => return Err(fields::in_the_way(other, "a directory")),
        }
        Ok(doing)
    }

    fn other_version(&self) -> String {
        format!(
            "{} was unpacked from another archive, or with another `strip` or owner: give the new one its own path (with a version) behind a `link`, or write `replace: true` to discard changes in the old one",
            self.path
        )
    }

    fn linking(&self, link: &str) -> Step {
        Step::MakeLink { path: link.to_owned(), target: self.path.clone() }
    }

    fn unpacking(&self, occupied: Occupied) -> Step {
        let source = match (&self.content, self.request()) {
            (None, Some(request)) => Packed::Remote(request.remote()),
            (Some(Body::Content(content)), _) => Packed::Content(content.clone()),
            (Some(Body::Large(file)), _) => Packed::Large(file.clone()),
            (None, None) => Packed::Content(Content::from("")),
        };
        let limits =
            UnpackLimits { bytes: self.max_unpacked.0, entries: self.max_entries.into(), ratio: self.max_ratio.into() };
        let Self { path, strip, owner, group, .. } = self.clone();
        let strip = strip.into();
        Step::Unpack(Box::new(Unpacking { path, source, strip, owner, group, limits, occupied, marker: self.marker() }))
    }

    fn removal(&self, state: &State) -> Verdict {
        let mut steps = Vec::new();
        if let (Some(link), Some(PathReading::Link { target, .. })) = (&self.link, &state.link)
            && *target == self.path
        {
            steps.push(Step::Remove { path: link.clone(), what: Removable::Link });
        }
        match (&state.path, said(&state.marker)) {
            (PathReading::Absent, _) => {}
            (PathReading::Directory(_), Some(_)) => steps.push(Step::RemoveUnpacked { path: self.path.clone() }),
            (PathReading::Directory(_), None) => return Verdict::Refuse(not_ours(&self.path)),
            (other, _) => return Verdict::Refuse(fields::in_the_way(other, "a directory")),
        }
        if steps.is_empty() { Verdict::InSync } else { Verdict::change(Action::Remove, Vec::new(), steps) }
    }

    /// Asks for the directories beside this one that armilla unpacked behind the same link: when, and which. The link
    /// itself leads to one of them, and is none.
    fn earlier(&self) -> Option<Command> {
        let link = self.link.as_ref().filter(|_| self.keep.is_some() && self.state == Presence::Present)?;
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

fn sixteen_gigabytes() -> Bytes {
    Bytes(16 << 30)
}

fn entries() -> u32 {
    500_000
}

fn ratio() -> u32 {
    200
}
