//! `archive`: a tar or zip archive, unpacked into a directory of its own; versions side by side behind a link.
//!
//! In: a file of the project or an address, and where it goes. Out: the directory, whole or not at all. Never: anything
//! outside of the directory.
//!
//! The archive is judged on the host, by one judge for files of the project and for what the host fetches: the plan
//! cannot look into what only the host can reach, and two judges would not agree for long. Its SHA-256 says that it is
//! what the user chose; the judge says that the choice was a good one, before anything of it is written. Its rules are in
//! `host/unpack/judge.rs`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Body, Data, Presence, Span, Wanted};
use super::remote::{self, Bytes, Request};
use super::unpacked::{self, State, Unpacked};
use super::{Claim, Kind, Made, Others, Source, Verdict, Wish, trace};
use crate::secret::Content;
use crate::step::{Digest, Packed, Probe, Readings, UnpackLimits, Unreadable};

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
        self.unpacked().check()?;
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

impl unpacked::Source for Archive {
    const NAME: &'static str = "archive";

    fn digest(&self) -> Digest {
        match (&self.content, &self.sha256) {
            (Some(body), _) => body.as_wanted().digest(),
            (None, sha256) => remote::digest(sha256.as_deref().unwrap_or_default()),
        }
    }

    fn strip(&self) -> u32 {
        self.strip.into()
    }

    fn packed(&self) -> Packed {
        match (&self.content, self.request()) {
            (None, Some(request)) => Packed::Remote(request.remote()),
            (Some(Body::Content(content)), _) => Packed::Content(content.clone()),
            (Some(Body::Large(file)), _) => Packed::Large(file.clone()),
            (None, None) => Packed::Content(Content::from("")),
        }
    }

    fn limits(&self) -> UnpackLimits {
        UnpackLimits { bytes: self.max_unpacked.0, entries: self.max_entries.into(), ratio: self.max_ratio.into() }
    }
}

impl Archive {
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
