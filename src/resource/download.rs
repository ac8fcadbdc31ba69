//! `download`: a file that the host fetches from a web server.
//!
//! In: an address and the SHA-256 of what is there. Out: the file, checked before it is in its place; nothing if the
//! right one is there. Never: a file that is not what it must be, or a credential where others on the host can see it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Data, FileMode, Presence, Span};
use super::path::{AtPath, PathKind, Shape};
use super::remote::{self, Bytes, Request};
use super::{Action, Verdict};
use crate::step::{Attributes, Digest, Ownership, PathReading, Step};

/// A file from a web server, fetched by the host with `curl` or `wget`.
pub(super) type Download = AtPath<Keys>;

/// A file from a web server, fetched by the host with `curl` or `wget`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// Where it is on the host.
    path: String,
    /// Where it comes from: `https://` or `http://`, as the host reaches it. Certificates are checked; up to five
    /// redirects are followed.
    #[serde(default)]
    url: Option<String>,
    /// What it must be, as `sha256sum` prints it. Anything else is thrown away.
    #[serde(default)]
    sha256: Option<String>,
    /// Added to the request, such as `Authorization`. Secrets may be here, and only here. With them, redirects are not
    /// followed, and the host needs `curl`.
    #[serde(default)]
    headers: BTreeMap<String, Data>,
    /// The most that is read: `512M`, `4G`. Four gigabytes by default.
    #[serde(default = "remote::four_gigabytes")]
    max_size: Bytes,
    /// How long it may take: `30s`, `5m`, `1h30m`; half an hour by default.
    #[serde(default)]
    timeout: Option<Span>,
    /// The user it belongs to.
    #[serde(default = "fields::root")]
    owner: String,
    /// The group it belongs to.
    #[serde(default = "fields::root")]
    group: String,
    /// Who may do what with it, in quotes.
    #[serde(default = "fields::mode_644")]
    mode: FileMode,
    /// Whether it exists.
    #[serde(default)]
    state: Presence,
}

impl PathKind for Keys {
    const NAME: &'static str = "download";
    const SUMMARY: &'static str = "A file that the host fetches from a web server";
    const EXAMPLE: &'static str = "download: { url: \"https://downloads.example.org/reader-1.2\", \
        sha256: 8774a45b2879932e8e0d0df01ca02d6843e3f052b5991b32d7c12e5fc8d7caba, path: /usr/local/bin/reader, mode: \"0755\" }";
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
        match (self.state, self.request()) {
            (Presence::Present, Some(request)) => request.check(),
            (Presence::Present, None) => Err("a download needs `url`, and `sha256` of the file".to_owned()),
            (Presence::Absent, _) if self.url.is_some() || self.sha256.is_some() => {
                Err("a download with `state: absent` takes no `url` and no `sha256`".to_owned())
            }
            (Presence::Absent, _) => Ok(()),
        }
    }

    fn presenting(&self, found: &PathReading) -> Verdict {
        // There is one: `check` refuses a download without.
        let Some(request) = self.request() else { return Verdict::InSync };
        match found {
            PathReading::File { attributes, digest, .. } => self.keeping(&request, attributes, digest),
            _ => self.fetching(&request),
        }
    }
}

impl Keys {
    fn request(&self) -> Option<Request<'_>> {
        let (url, sha256) = self.url.as_deref().zip(self.sha256.as_deref())?;
        Some(Request { url, sha256, headers: &self.headers, max_size: self.max_size, timeout: self.timeout })
    }

    fn ownership(&self) -> Ownership {
        fields::ownership(&self.owner, &self.group, self.mode)
    }

    fn step(&self, request: &Request<'_>) -> Step {
        Step::Download { path: self.path.clone(), remote: request.remote(), ownership: self.ownership() }
    }

    fn fetching(&self, request: &Request<'_>) -> Verdict {
        let shown = vec![fields::new("url", request.url), fields::new("sha256", &remote::digest(request.sha256).0)];
        Verdict::change(Action::Add, shown, vec![self.step(request)])
    }

    fn keeping(&self, request: &Request<'_>, attributes: &Attributes, digest: &Digest) -> Verdict {
        let wanted = remote::digest(request.sha256);
        let permissions = fields::ownership_fields(attributes, &self.ownership());
        if *digest == wanted {
            let step = Step::SetOwnership { path: self.path.clone(), ownership: self.ownership() };
            return Verdict::differing(permissions, vec![step]);
        }
        let content = fields::text("sha256", &digest.0, &wanted.0);
        let all = std::iter::once(content).chain(permissions).collect();
        Verdict::change(Action::Change, all, vec![self.step(request)])
    }
}
