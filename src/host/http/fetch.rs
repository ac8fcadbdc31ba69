//! Files that the host fetches itself.

use std::io::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{curl_line, is_gnu_wget, is_url};
use crate::host::program::{Cause, Heard, Kept, Leftover, Limits, Programs, described, seconds};
use crate::host::{Failure, Result};
use crate::secret::Content;
use crate::step::{Command, Remote};

/// How many redirects are followed. Where others could be sent what only the server may see, none is.
const REDIRECTS: u32 = 5;

/// curl's exit code where the server announces more than the limit.
const TOO_LARGE: i32 = 63;

/// Fetches a file into `sink` as it comes, up to its limit, and says whether it is the right one; `path` is what it is to
/// become, for the texts. After a failure, what is in the sink is worth nothing.
///
/// # Errors
/// When it was not fetched whole and in time, is larger than it may be, or has another digest.
pub(in crate::host) fn fetch(programs: &Programs<'_>, remote: &Remote, path: &str, sink: &mut dyn Write) -> Result {
    let Remote { url, digest, limit, timeout, .. } = remote;
    check(remote)?;
    let failed = |why: &str| Failure::new(format!("{url} could not be fetched: {why}"));
    let command = transfer(programs, remote).map_err(|why| failed(&why))?;
    let time = seconds(*timeout);
    let limits = Limits {
        time: Duration::from_secs(time),
        stdout: Kept::first(0),
        stderr: Kept::last(4096),
        leftover: Leftover::Ignored,
    };
    let mut received = Received { sink, digest: Sha256::new(), count: 0, limit: *limit, error: None };
    let ended = programs.run(&command, &limits, &mut |heard| received.hear(heard))?;
    if let Some(error) = received.error {
        return Err(Failure::new(format!("{path}: what came from {url} cannot be written: {}", described(&error))));
    }
    if received.count > *limit || ended.exit == TOO_LARGE && command.argv[0] == "curl" {
        return Err(Failure::new(format!("{url} is larger than {limit} bytes: if that is right, raise `max_size`")));
    }
    if ended.cause == Cause::Overdue {
        return Err(Failure::new(format!("{url} was not fetched within {time} s: if that is right, raise `timeout`")));
    }
    if ended.exit != 0 {
        return Err(failed(&ended.complaint()));
    }
    let got = hexadecimal(received.digest.finalize());
    if got == digest.0 {
        return Ok(());
    }
    Err(Failure::new(format!("{path}: what came has the SHA-256 {got} and not {}: it was thrown away", digest.0)))
}

/// What has come so far.
struct Received<'a> {
    sink: &'a mut dyn Write,
    digest: Sha256,
    count: u64,
    limit: u64,
    error: Option<std::io::Error>,
}

impl Received<'_> {
    fn hear(&mut self, heard: Heard<'_>) -> ControlFlow<()> {
        let Heard::Stdout(bytes) = heard else { return ControlFlow::Continue(()) };
        if self.count > self.limit || self.error.is_some() {
            return ControlFlow::Break(());
        }
        self.count += bytes.len() as u64;
        if self.count > self.limit {
            return ControlFlow::Break(());
        }
        self.digest.update(bytes);
        self.error = self.sink.write_all(bytes).err();
        if self.error.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn hexadecimal(bytes: impl IntoIterator<Item = u8>) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn check(remote: &Remote) -> Result {
    let Remote { url, headers, .. } = remote;
    if !is_url(url) {
        let url = url.escape_debug();
        return Err(Failure::new(format!("invalid URL `{url}`: it must begin with http:// or https://")));
    }
    match headers.iter().find(|(name, value)| !is_header(name, value.bytes())) {
        None => Ok(()),
        Some((name, _)) => {
            let name = name.escape_debug();
            Err(Failure::new(format!("invalid request header `{name}`, or its value has more than one line")))
        }
    }
}

/// Names by RFC 9110 (section 5.1).
fn is_header(name: &str, value: &[u8]) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(token) && !value.iter().any(u8::is_ascii_control)
}

/// The program that writes the file to its output; or what is missing for that.
fn transfer(programs: &Programs<'_>, remote: &Remote) -> std::result::Result<Command, String> {
    if programs.has("curl") {
        return Ok(by_curl(remote));
    }
    if !programs.has("wget") {
        return Err("this host has no curl: add its package".to_owned());
    }
    // Only curl takes headers from where nobody else can read them.
    if !remote.headers.is_empty() {
        return Err("`headers` need curl on the host: add its package".to_owned());
    }
    let url = remote.url.as_str();
    if is_gnu_wget(programs) {
        let redirects = format!("--max-redirect={REDIRECTS}");
        let options = ["wget", "-nv", "--no-hsts", "-O", "-", "--tries=1", "--timeout=30", &redirects, "--", url];
        return Ok(Command::new(options));
    }
    if url.starts_with("https:") {
        return Err("the wget of this host (busybox) does not check certificates: add the package curl".to_owned());
    }
    Ok(Command::new(["wget", "-q", "-O", "-", "-T", "30", "--", url]))
}

fn by_curl(remote: &Remote) -> Command {
    let Remote { url, limit, headers, .. } = remote;
    let with = if url.starts_with("https:") { "=https" } else { "=http,https" };
    let redirects = if headers.is_empty() { REDIRECTS } else { 0 }.to_string();
    let limit = limit.to_string();
    let mut argv = vec!["curl", "-q", "-K", "-", "-sS", "-g", "-f", "-L", "--max-redirs", &redirects];
    argv.extend(["--proto", with, "--proto-redir", with, "--connect-timeout", "30", "--max-filesize", &limit]);
    let mut config = curl_line("url", url.as_bytes());
    for (name, value) in headers {
        let header = [name.as_bytes(), b": ", value.bytes()].concat();
        config.extend(curl_line("header", &header));
    }
    let secret = headers.values().any(Content::is_secret);
    let stdin = if secret { Content::Secret(crate::secret::Secret::new(config)) } else { Content::Plain(config) };
    Command { stdin, ..Command::new(argv) }
}
