//! `http`: an object of a web API.
//!
//! In: its address and how it should be, as JSON. Out: a request by the host itself that makes, changes or removes it.
//! Never: a secret among the arguments of a program, a redirect followed, or a request that must not be made twice tried
//! again.
//!
//! curl does the requests. What it is told (curl(1), `--config`) goes by standard input.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fields::{self, Data, Presence, Span};
use super::values::{self, Compare, Values};
use super::{Action, Change, Kind, Made, Verdict, trace};
use crate::secret::{Content, Secret, masked};
use crate::step::{ApiRequest, Command, CommandReading, Probe, Readings, Sending, Step, Trust, Unreadable};

/// How long a request may take if nothing else is said.
const USUAL: Duration = Duration::from_secs(15);
/// How long reading may take at most: it is part of every plan.
const LONGEST_LOOK: u64 = 30;
/// The longest body, in bytes: curl takes lines of its configuration up to 100 KiB.
const LONGEST: usize = 65_536;
/// Times an idempotent request is tried again, a second apart: a service may have started a moment ago.
const TRIES: u8 = 10;

/// What goes with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Nothing,
    Body,
}

/// An object of a web API. The host itself makes the requests, with curl.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    /// Where the object is: it is read there, changed and removed.
    url: String,
    /// How the object should be, as plain data. It is sent as a whole, and held against what is read.
    #[serde(default)]
    body: Option<Values>,
    /// How it is changed, and made where `create` is not given.
    #[serde(default)]
    method: Method,
    /// How it is made, where that is another request: `{ method: post, url: ... }`.
    #[serde(default)]
    create: Option<Request>,
    /// How it is removed, where that is not a DELETE of `url`.
    #[serde(default)]
    delete: Option<Request>,
    /// How it is read, where that is not a GET of `url`, or not all of it matters.
    #[serde(default)]
    read: Read,
    /// Headers of every request. A place for secrets: `Authorization: "Bearer {{ token }}"`.
    #[serde(default)]
    headers: BTreeMap<String, Data>,
    /// A file on the host with the certificates to trust, instead of the system's.
    #[serde(default)]
    ca: Option<String>,
    /// How long one request may take: `30s`, `2m`; 15 seconds by default.
    #[serde(default)]
    timeout: Option<Span>,
    /// Whether it exists.
    #[serde(default)]
    state: Presence,
}

/// What a request is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Method {
    /// Once more does no harm.
    #[default]
    Put,
    /// Only what is sent changes.
    Patch,
    /// Once more may make another.
    Post,
    /// It goes.
    Delete,
}

/// Another request than the usual one.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Request {
    /// What it is.
    #[serde(default)]
    method: Option<Method>,
    /// Where it goes.
    #[serde(default)]
    url: Option<String>,
}

/// How the object is read.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Read {
    /// Where.
    #[serde(default)]
    url: Option<String>,
    /// Whether more keys than wanted may be there.
    #[serde(default)]
    compare: Compare,
    /// Keys that are not compared, such as times that the server writes.
    #[serde(default)]
    ignore: Vec<String>,
    /// The statuses that say that it is not there; 404 and 410 by default.
    #[serde(default)]
    absent: Option<Vec<u16>>,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) enum State {
    /// Nobody answers yet; why.
    Later(String),
    /// There is no such object.
    Absent,
    /// It is there.
    Found(Value),
}

impl Kind for Http {
    const NAME: &'static str = "http";
    const SUMMARY: &'static str = "An object of a web API, as JSON";
    const EXAMPLE: &'static str =
        "http: { url: \"http://127.0.0.1:8500/v1/config/limits\", body: { jobs: 20, users: [ada] } }";
    const SHORT: &'static str = "url";
    type State = State;

    fn target(&self) -> String {
        self.url.clone()
    }

    fn check(&self) -> Result<(), String> {
        let more = [&self.create, &self.delete].into_iter().flatten().filter_map(|request| request.url.as_ref());
        std::iter::once(&self.url).chain(more).chain(&self.read.url).try_for_each(|url| check_url(url))?;
        self.headers.iter().try_for_each(|(name, value)| check_header(name, value))?;
        self.ca.iter().try_for_each(|path| fields::check_path(path))?;
        if self.method == Method::Delete {
            return Err("`method: delete` neither creates nor changes\nwrite `state: absent`".to_owned());
        }
        match (&self.body, self.state) {
            (None, Presence::Present) => Err("an object with `state: present` needs a `body`".to_owned()),
            (Some(body), _) if body.content().bytes().len() > LONGEST => {
                Err(format!("`body` is longer than {} KiB", LONGEST / 1024))
            }
            _ => Ok(()),
        }
    }

    fn probes(&self) -> Vec<Probe> {
        vec![self.look()]
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let answer = readings.command(&self.look())?;
        let server = place_of(self.read_url());
        match answer.exit {
            0 => self.answered(&String::from_utf8_lossy(&answer.stdout)),
            // Exit codes of curl(1): 7 is a connection that was refused.
            7 => Ok(State::Later(format!("nothing answers at {server}; a service planned before it may start it"))),
            127 => {
                Ok(State::Later("it can be read only when curl is installed: add `package: curl` before it".to_owned()))
            }
            28 | 124 => Err(Unreadable(format!("{server} did not answer within {} s", self.patience().as_secs()))),
            exit => Err(Unreadable(format!("{server} could not be read (curl: {exit}): {}", self.said(answer)))),
        }
    }

    fn change(&self, state: &State) -> Verdict {
        let body = self.body.clone().unwrap_or_default().without(&self.read.ignore);
        match (self.state, state) {
            (Presence::Absent, State::Absent) => Verdict::InSync,
            (Presence::Absent, State::Found(found)) => {
                let gone = body.gone("body", &values::without(found, &self.read.ignore));
                Verdict::change(Action::Remove, vec![gone], vec![self.removing()])
            }
            (Presence::Absent, State::Later(why)) => {
                let change = Change { action: Action::Remove, fields: Vec::new(), steps: vec![self.removing()] };
                Verdict::MayChange(change, why.clone())
            }
            (Presence::Present, State::Absent) => {
                Verdict::change(Action::Add, vec![body.made("body")], vec![self.making()])
            }
            (Presence::Present, State::Later(why)) => {
                let mut steps = vec![self.making()];
                // Where it is there already, it becomes as wanted in the same run.
                steps.extend((self.create.is_some() && self.method != Method::Post).then(|| self.changing()));
                Verdict::MayChange(Change { action: Action::Add, fields: vec![body.made("body")], steps }, why.clone())
            }
            (Presence::Present, State::Found(found)) => {
                let found = values::without(found, &self.read.ignore);
                let difference = body.difference("body", &found, self.read.compare);
                Verdict::differing(difference.into_iter().collect(), vec![self.changing()])
            }
        }
    }

    /// Only where `delete` says how: not every address that takes an object can be rid of it. A secret header would have
    /// to be kept, so there is no way without it.
    fn absent(&self) -> Option<serde_json::Value> {
        let delete = self.delete.as_ref()?;
        if self.headers.values().any(|value| value.0.is_secret()) {
            return None;
        }
        let text = |data: &Data| std::str::from_utf8(data.0.bytes()).map(str::to_owned).ok();
        let headers: Option<BTreeMap<&String, String>> =
            self.headers.iter().map(|(name, value)| Some((name, text(value)?))).collect();
        let Read { url, ignore, absent, .. } = &self.read;
        let read = json!({ "url": url, "ignore": ignore, "absent": absent });
        let seconds = self.timeout.map(|span| format!("{}s", span.0.as_secs()));
        trace::away(
            self.state,
            json!({
                "url": self.url, "delete": { "method": delete.method.map(Method::key), "url": delete.url },
                "read": read, "headers": headers?, "ca": self.ca, "timeout": seconds,
            }),
        )
    }

    fn exists(&self, state: &State) -> bool {
        matches!(state, State::Found(_))
    }

    /// By what differs: a server may say more than was asked, and other things every time.
    fn fingerprint(&self, state: &State) -> String {
        let State::Found(found) = state else { return format!("{state:?}") };
        let body = self.body.as_ref().map(|body| body.without(&self.read.ignore));
        let found = values::without(found, &self.read.ignore);
        format!("found {:?}", body.and_then(|body| body.difference("body", &found, self.read.compare)))
    }

    /// Without a body there is nothing to hold it against.
    fn made(&self) -> Made {
        Made::As(String::new())
    }

    fn imprint(&self, _state: &State) -> String {
        String::new()
    }
}

impl Http {
    fn read_url(&self) -> &str {
        self.read.url.as_ref().unwrap_or(&self.url)
    }

    fn patience(&self) -> Duration {
        self.timeout.map_or(USUAL, |span| span.0)
    }

    fn look(&self) -> Probe {
        let limit = self.patience().as_secs().min(LONGEST_LOOK);
        let mut command = Command::new(["curl", "-q", "-K", "-"]).within(Duration::from_secs(limit + 2));
        command.stdin = self.configuration(limit);
        Probe::Command(command)
    }

    fn has_secrets(&self) -> bool {
        self.headers.values().any(|value| value.0.is_secret()) || self.body.as_ref().is_some_and(Values::has_secrets)
    }

    /// The configuration of curl that reads, with quotes and line breaks escaped.
    fn configuration(&self, limit: u64) -> Content {
        let mut text = String::from("silent\nshow-error\ngloboff\nproto = \"=http,https\"\nnoproxy = \"*\"\n");
        let mut option = |name: &str, value: &str| {
            let _ = writeln!(text, "{name} = \"{}\"", escaped(value));
        };
        option("url", self.read_url());
        option("request", "GET");
        option("max-time", &limit.to_string());
        option("write-out", "\n%{http_code} %{redirect_url}");
        self.ca.iter().for_each(|path| option("cacert", path));
        for (name, value) in self.all_headers(Sent::Nothing) {
            option("header", &format!("{name}: {}", String::from_utf8_lossy(value.bytes())));
        }
        values::sealed(text.into_bytes(), self.has_secrets())
    }

    /// Those that are given, and what goes without saying.
    fn all_headers(&self, sent: Sent) -> BTreeMap<String, Content> {
        let has = |name: &str| self.headers.keys().any(|key| key.eq_ignore_ascii_case(name));
        let usual = [("Accept", true), ("Content-Type", sent == Sent::Body)];
        let usual = usual.into_iter().filter(|(name, is)| *is && !has(name));
        let usual = usual.map(|(name, _)| (name.to_owned(), Content::from("application/json")));
        usual.chain(self.headers.iter().map(|(name, value)| (name.clone(), value.0.clone()))).collect()
    }

    fn request(&self, method: &str, url: &str, body: Option<&Values>) -> ApiRequest {
        let sent = if body.is_some() { Sent::Body } else { Sent::Nothing };
        ApiRequest {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: self.all_headers(sent),
            body: body.map(Values::content),
            trust: self.ca.clone().map_or(Trust::System, Trust::Authority),
            timeout: self.patience(),
            // What may be done twice (RFC 9110, 9.2.2) is tried again.
            retries: if ["PUT", "DELETE", "GET"].contains(&method) { TRIES } else { 0 },
        }
    }

    /// What must not be done twice is done only where the object is not there right before it.
    fn making(&self) -> Step {
        let request = self.create.clone().unwrap_or_default();
        let method = request.method.unwrap_or(if self.create.is_some() { Method::Post } else { self.method });
        let url = request.url.as_ref().unwrap_or(&self.url);
        let unless = (method != Method::Put).then(|| self.request("GET", self.read_url(), None));
        send(self.request(method.word(), url, self.body.as_ref()), Vec::new(), unless)
    }

    fn changing(&self) -> Step {
        send(self.request(self.method.word(), &self.url, self.body.as_ref()), Vec::new(), None)
    }

    /// One that is gone already is success.
    fn removing(&self) -> Step {
        let request = self.delete.clone().unwrap_or_default();
        let method = request.method.unwrap_or(Method::Delete);
        let url = request.url.as_ref().unwrap_or(&self.url);
        send(self.request(method.word(), url, None), vec![404, 410], None)
    }

    /// The body, and in the last line the status and where it redirects to.
    fn answered(&self, text: &str) -> Result<State, Unreadable> {
        let too_long = || Unreadable(format!("the answer of {} is too large", self.read_url()));
        let (body, last) = text.rsplit_once('\n').ok_or_else(too_long)?;
        let (status, target) = last.split_once(' ').unwrap_or((last, ""));
        let status: u16 = status.parse().map_err(|_| too_long())?;
        let absent = self.read.absent.as_deref().unwrap_or(&[404, 410]);
        if absent.contains(&status) {
            return Ok(State::Absent);
        }
        let why = match status {
            200..=299 => return serde_json::from_str(body).map(State::Found).map_err(|_| self.no_json(body)),
            300..=399 => format!("{status}: it redirects to {target}; redirects are not followed: use that address"),
            401 | 403 => format!("{status}: the credentials in `headers` are not accepted"),
            _ => format!("{status}: {}", self.short(body)),
        };
        Err(Unreadable(format!("{} answers {why}", self.read_url())))
    }

    fn no_json(&self, body: &str) -> Unreadable {
        Unreadable(format!("the answer of {} is not JSON: {}", self.read_url(), self.short(body)))
    }

    fn said(&self, answer: &CommandReading) -> String {
        self.short(&String::from_utf8_lossy(&answer.stderr))
    }

    /// In one line, without the secrets that were sent.
    fn short(&self, text: &str) -> String {
        let hidden = self.headers.values().filter(|value| value.0.is_secret());
        let hidden = hidden.map(|value| String::from_utf8_lossy(value.0.bytes()).into_owned());
        // Of `Bearer TOKEN`, the server may say the token alone.
        let alone = |text: String| [Some(text.clone()), text.rsplit_once(' ').map(|(_, token)| token.to_owned())];
        let hidden = hidden.flat_map(alone).flatten().map(Secret::new);
        let secrets: Vec<Secret<String>> = hidden.chain(self.body.iter().flat_map(Values::secrets)).collect();
        let line = masked(text, &secrets).split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().take(300).collect()
    }
}

impl Method {
    /// As it is written in YAML.
    fn key(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

fn send(request: ApiRequest, accepted: Vec<u16>, unless: Option<ApiRequest>) -> Step {
    Step::Send(Box::new(Sending { request, accepted, unless }))
}

/// The host and port of an address.
fn place_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

/// A text between the quotes of a curl configuration.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '"' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out
}

fn check_url(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let odd = |c: char| c.is_control() || c.is_whitespace() || c == '#';
    match rest {
        Some(_) if place_of(url).contains('@') => {
            Err("an address must not contain a user or password, because every user on the host could read it: use a header `Authorization` with a secret"
                .to_owned())
        }
        Some(rest) if !rest.starts_with(['/', ':']) && !rest.is_empty() && !url.contains(odd) => Ok(()),
        _ => Err(format!("invalid URL `{}`: it must begin with http:// or https://", url.escape_debug())),
    }
}

/// A name, and a value in one line.
fn check_header(name: &str, value: &Data) -> Result<(), String> {
    fields::check_header_name(name)?;
    let text = std::str::from_utf8(value.0.bytes()).map_err(|_| format!("the header `{name}` is not text"))?;
    if text.trim().is_empty() {
        return Err(format!("the header `{name}` is empty"));
    }
    fields::check_line(&format!("headers.{name}"), text)
}
