//! What `maven` and `npm` share: a directory with what a locked list names, each with its digest.
//!
//! In: a list, and where hosts fetch what is in it. Out: a directory with that and no more, whole or not at all. Never: a
//! version or a file that is not in the list, or a program on the host that resolves anything.
//!
//! Lists are written by `armilla artifacts lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Data, Presence, Span};
use super::remote::{self, Bytes, Request};
use super::unpacked::{self, State, Unpacked};
use super::{Claim, Kind, Made, Others, Source, Verdict, Wish, trace};
use crate::step::{Digest, Packed, PackedFile, Probe, Readings, UnpackLimits, Unreadable};

/// Where such things come from: what sets its kind apart.
pub(super) trait Repository: Clone + Debug + Send + Sync + 'static {
    /// See [`Kind::NAME`].
    const NAME: &'static str;
    /// See [`Kind::SUMMARY`].
    const SUMMARY: &'static str;
    /// See [`Kind::EXAMPLE`].
    const EXAMPLE: &'static str;
    /// What is in a list, in the plural.
    const THINGS: &'static str;
    /// The one that everybody uses.
    const PUBLIC: &'static str;
    /// How a line is written.
    const LINE: &'static str;
    /// For archives: how many directories are taken off the front of each name. Else the files are taken as they are.
    const STRIP: Option<u32>;

    /// What a line says before its digest; none if that is not one.
    fn parse(line: &str) -> Option<Entry>;
}

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// Where it lies below the directory.
    pub(super) place: String,
    /// Where it lies in the repository.
    pub(super) address: String,
}

/// What a locked list names.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound = "")]
#[schemars(bound = "")]
pub(super) struct Listed<R: Repository> {
    /// The directory it becomes, best with its version in the name: `/opt/kafka-4.4.0`. Owned by armilla alone: nothing
    /// else may be there before.
    path: String,
    /// The locked list, in which each line ends with `sha256:...`. Usually `src` instead, a file of the role's or project's
    /// `files/`, written by `armilla artifacts lock`.
    #[serde(default)]
    content: Option<Data>,
    /// Where hosts fetch all that; by default Maven Central or the registry of npm.
    #[serde(default)]
    mirror: Option<String>,
    /// A symbolic link to the directory, such as `/opt/kafka`. It changes in one instant, after everything is there.
    #[serde(default)]
    link: Option<String>,
    /// The user that everything in it belongs to.
    #[serde(default = "fields::root")]
    owner: String,
    /// The group that everything in it belongs to.
    #[serde(default = "fields::root")]
    group: String,
    /// How many earlier versions behind the same link stay beside it; the oldest go. All of them by default.
    #[serde(default)]
    keep: Option<u8>,
    /// Whether a directory that was made from another list is replaced, with all that was written into it since. Without it,
    /// that stops the plan.
    #[serde(default)]
    replace: bool,
    /// Whether it exists. `absent` removes the directory with all in it, and the link if it points there. When no role wants
    /// it any more, a file that was added or changed since keeps it.
    #[serde(default)]
    state: Presence,
    /// Added to every request, such as `Authorization`. With them, redirects are not followed, and the host needs `curl`.
    #[serde(default)]
    headers: BTreeMap<String, Data>,
    /// The most that each of them may have, packed or unpacked: `512M`, `4G`. One gigabyte by default.
    #[serde(default = "one_gigabyte")]
    max_size: Bytes,
    /// How long fetching all of them may take: `30s`, `5m`, `1h30m`; half an hour by default.
    #[serde(default)]
    timeout: Option<Span>,
    #[serde(skip)]
    repository: PhantomData<R>,
}

impl<R: Repository> Kind for Listed<R> {
    const NAME: &'static str = R::NAME;
    const SUMMARY: &'static str = R::SUMMARY;
    const EXAMPLE: &'static str = R::EXAMPLE;
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
        self.unpacked().check()?;
        match (self.state, &self.content) {
            (Presence::Absent, Some(_)) => Err(format!("`{}` with `state: absent` takes no `src`", R::NAME)),
            (Presence::Absent, None) => Ok(()),
            (Presence::Present, None) => {
                Err(format!("`{}` needs `src` or `content`, the list of its {}", R::NAME, R::THINGS))
            }
            (Presence::Present, Some(_)) => self.check_list(&self.entries()?),
        }
    }

    fn probes(&self) -> Vec<Probe> {
        self.unpacked().probes()
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        self.unpacked().observe(readings)
    }

    fn among(&self, state: &State, wish: Wish, _others: &Others) -> Verdict {
        self.unpacked().among(state, wish)
    }

    fn change(&self, state: &State) -> Verdict {
        self.unpacked().change(state)
    }

    fn written(&self, state: &State) -> Option<i64> {
        state.written()
    }

    fn absent(&self) -> Option<serde_json::Value> {
        trace::away(self.state, serde_json::json!({ "path": self.path, "link": self.link }))
    }

    fn versions(&self) -> Option<String> {
        self.link.clone()
    }

    fn exists(&self, state: &State) -> bool {
        state.exists()
    }

    fn fingerprint(&self, state: &State) -> String {
        state.fingerprint()
    }

    /// What was added to it since keeps it.
    fn made(&self) -> Made {
        Made::Any
    }

    fn imprint(&self, state: &State) -> String {
        state.imprint()
    }
}

impl<R: Repository> unpacked::Source for Listed<R> {
    const NAME: &'static str = R::THINGS;

    /// Of what is in the list, whatever the order of its lines and wherever that comes from.
    fn digest(&self) -> Digest {
        let entries = self.entries().unwrap_or_default();
        let lines: BTreeSet<String> =
            entries.iter().map(|(entry, sha256)| format!("{} {sha256}\n", entry.place)).collect();
        Digest::of(lines.into_iter().collect::<String>().as_bytes())
    }

    fn packed(&self) -> Packed {
        // `check` has read the list before.
        let entries = self.entries().unwrap_or_default();
        let one = |(entry, sha256): &(Entry, String)| PackedFile {
            name: entry.place.clone(),
            remote: self.request(&self.url(entry), sha256).remote(),
            strip: R::STRIP,
        };
        Packed::Files(entries.iter().map(one).collect())
    }

    fn limits(&self) -> UnpackLimits {
        UnpackLimits { bytes: self.max_size.0, entries: 100_000, ratio: 200 }
    }
}

impl<R: Repository> Listed<R> {
    fn unpacked(&self) -> Unpacked<'_, Self> {
        Unpacked {
            source: self,
            path: &self.path,
            link: self.link.as_deref(),
            owner: &self.owner,
            group: &self.group,
            keep: self.keep,
            replace: self.replace,
            state: self.state,
        }
    }

    /// The list, without empty lines and comments: what it names, and its digests.
    fn entries(&self) -> Result<Vec<(Entry, String)>, String> {
        let Some(content) = &self.content else { return Ok(Vec::new()) };
        let text = fields::text_of("content", content)?;
        let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
        let wanted = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let one = |(number, line): (usize, &str)| {
            let parsed = line.split_once(" sha256:").and_then(|(line, sha256)| {
                remote::check_sha256(sha256).ok()?;
                Some((R::parse(line)?, sha256.to_ascii_lowercase()))
            });
            parsed.ok_or_else(|| {
                let (line, form) = (line.escape_debug(), R::LINE);
                format!("line {number} of the list, `{line}`, is not `{form} sha256:...`\nwrite the list with `armilla artifacts lock`")
            })
        };
        wanted.map(one).collect()
    }

    fn check_list(&self, entries: &[(Entry, String)]) -> Result<(), String> {
        let mut places = BTreeSet::new();
        if let Some((twice, _)) = entries.iter().find(|(entry, _)| !places.insert(&entry.place)) {
            return Err(format!("{} is twice in the list", twice.place));
        }
        match entries.first() {
            Some((entry, sha256)) => self.request(&self.url(entry), sha256).check(),
            None => Err(format!("the list has no {}", R::THINGS)),
        }
    }

    fn url(&self, entry: &Entry) -> String {
        let mirror = self.mirror.as_deref().unwrap_or(R::PUBLIC);
        format!("{}/{}", mirror.trim_end_matches('/'), entry.address)
    }

    fn request<'a>(&'a self, url: &'a str, sha256: &'a str) -> Request<'a> {
        Request { url, sha256, headers: &self.headers, max_size: self.max_size, timeout: self.timeout }
    }
}

/// Whether it is one part of a name, of letters that mean nothing in a path or an address.
pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('.') && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c))
}

fn one_gigabyte() -> Bytes {
    Bytes(1 << 30)
}
