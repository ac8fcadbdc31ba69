//! `maven`: a directory with the jars of a locked list, from a Maven repository.
//!
//! In: a list in which every jar has its version and its digest, and a repository. Out: a directory with these jars and no
//! other, whole or not at all. Never: a version or a jar that is not in the list, and no program that resolves anything
//! on the host.
//!
//! A list is written by `armilla artifacts lock`. Where a jar lies in a repository, and what it is called there:
//! <https://maven.apache.org/repository/layout.html>.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Data, Presence, Span};
use super::remote::{self, Bytes, Request};
use super::unpacked::{self, State, Unpacked};
use super::{Claim, Kind, Made, Others, Source, Verdict, Wish, trace};
use crate::step::{Digest, Packed, PackedFile, Probe, Readings, UnpackLimits, Unreadable};

/// The jars of a locked list.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Maven {
    /// The directory it becomes, best with its version in the name: `/opt/kafka-4.4.0`. Owned by armilla alone: nothing
    /// else may be there before.
    path: String,
    /// The locked list, each line `GROUP:ARTIFACT:VERSION sha256:...`, where a classifier may follow the version. Usually
    /// `src` instead, a file of the role's or project's `files/`, written by `armilla artifacts lock`.
    #[serde(default)]
    content: Option<Data>,
    /// The Maven repository that hosts fetch the jars from; by default Maven Central.
    #[serde(default = "central")]
    mirror: String,
    /// A symbolic link to the directory, such as `/opt/kafka`. It changes in one instant, after all jars are there.
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
    /// Whether a directory with other jars is replaced, with all that was written into it since. Without it, that stops
    /// the plan.
    #[serde(default)]
    replace: bool,
    /// Whether it exists. `absent` removes the directory with all in it, and the link if it points there. When no role wants
    /// it any more, a file that was added or changed since keeps it.
    #[serde(default)]
    state: Presence,
    /// Added to every request, such as `Authorization`. With them, redirects are not followed, and the host needs `curl`.
    #[serde(default)]
    headers: BTreeMap<String, Data>,
    /// The most that one jar may have: `512M`, `4G`. One gigabyte by default.
    #[serde(default = "one_gigabyte")]
    max_size: Bytes,
    /// How long fetching all of them may take: `30s`, `5m`, `1h30m`; half an hour by default.
    #[serde(default)]
    timeout: Option<Span>,
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Jar {
    group: String,
    artifact: String,
    version: String,
    classifier: Option<String>,
    sha256: String,
}

impl Kind for Maven {
    const NAME: &'static str = "maven";
    const SUMMARY: &'static str = "A directory with the jars of a locked list, from a Maven repository";
    const EXAMPLE: &'static str =
        "maven: { path: /opt/blazegraph-2.1.5, src: blazegraph.lock, link: /opt/blazegraph, keep: 1 }";
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
            (Presence::Absent, Some(_)) => Err("`maven` with `state: absent` takes no `src`".to_owned()),
            (Presence::Absent, None) => Ok(()),
            (Presence::Present, None) => Err("`maven` needs `src` or `content`, the list of its jars".to_owned()),
            (Presence::Present, Some(_)) => self.check_jars(&self.jars()?),
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

impl unpacked::Source for Maven {
    const NAME: &'static str = "jars";

    /// Of the jars, whatever their order and wherever they come from.
    fn digest(&self) -> Digest {
        let jars: BTreeSet<Jar> = self.jars().unwrap_or_default().into_iter().collect();
        let lines: String = jars.iter().map(|jar| format!("{} {}\n", jar.file(), jar.sha256)).collect();
        Digest::of(lines.as_bytes())
    }

    fn packed(&self) -> Packed {
        // `check` has read the list before.
        let jars = self.jars().unwrap_or_default();
        let one = |jar: &Jar| PackedFile { name: jar.file(), remote: self.request(jar, &self.url(jar)).remote() };
        Packed::Files(jars.iter().map(one).collect())
    }

    fn limits(&self) -> UnpackLimits {
        UnpackLimits { bytes: u64::MAX, entries: u64::MAX, ratio: u64::MAX }
    }
}

impl Maven {
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

    /// The list, without empty lines and comments.
    fn jars(&self) -> Result<Vec<Jar>, String> {
        let Some(content) = &self.content else { return Ok(Vec::new()) };
        let text = fields::text_of("content", content)?;
        let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
        lines
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .map(|(number, line)| {
                let line = Jar::parse(line).ok_or_else(|| (number, line.escape_debug().to_string()));
                line.map_err(|(number, line)| {
                    format!("line {number} of the list, `{line}`, is not `GROUP:ARTIFACT:VERSION sha256:...`\nwrite the list with `armilla artifacts lock`")
                })
            })
            .collect()
    }

    fn check_jars(&self, jars: &[Jar]) -> Result<(), String> {
        let mut files = BTreeSet::new();
        if jars.is_empty() {
            return Err("the list has no jars".to_owned());
        }
        if let Some(twice) = jars.iter().map(Jar::file).find(|file| !files.insert(file.clone())) {
            return Err(format!("{twice} is twice in the list: two jars of one directory have two names"));
        }
        jars.first().map_or(Ok(()), |jar| self.request(jar, &self.url(jar)).check())
    }

    fn url(&self, jar: &Jar) -> String {
        let Jar { group, artifact, version, .. } = jar;
        let mirror = self.mirror.trim_end_matches('/');
        format!("{mirror}/{}/{artifact}/{version}/{}", group.replace('.', "/"), jar.file())
    }

    fn request<'a>(&'a self, jar: &'a Jar, url: &'a str) -> Request<'a> {
        Request { url, sha256: &jar.sha256, headers: &self.headers, max_size: self.max_size, timeout: self.timeout }
    }
}

impl Jar {
    fn parse(line: &str) -> Option<Self> {
        let (coordinates, sha256) = line.split_once(" sha256:")?;
        remote::check_sha256(sha256).ok()?;
        let parts: Vec<&str> = coordinates.split(':').collect();
        let (group, artifact, version, classifier) = match parts[..] {
            [group, artifact, version] => (group, artifact, version, None),
            [group, artifact, version, classifier] => (group, artifact, version, Some(classifier)),
            _ => return None,
        };
        let word = |text: &&str| {
            !text.is_empty()
                && !text.starts_with('.')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c))
        };
        let owned = |text: &str| text.to_owned();
        let fine = parts.iter().all(word) && group.split('.').all(|part| !part.is_empty());
        fine.then(|| Self {
            group: owned(group),
            artifact: owned(artifact),
            version: owned(version),
            classifier: classifier.map(owned),
            sha256: sha256.to_ascii_lowercase(),
        })
    }

    fn file(&self) -> String {
        let Self { artifact, version, classifier, .. } = self;
        let classifier = classifier.as_ref().map(|text| format!("-{text}")).unwrap_or_default();
        format!("{artifact}-{version}{classifier}.jar")
    }
}

fn central() -> String {
    "https://repo.maven.apache.org/maven2".to_owned()
}

fn one_gigabyte() -> Bytes {
    Bytes(1 << 30)
}
