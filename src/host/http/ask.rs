//! A request of a web server: it follows no redirect, and goes by no proxy.

use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use super::answer::{self, Said};
use super::{curl_line, is_gnu_wget, is_url};
use crate::host::program::{Heard, Kept, Leftover, Limits, Programs, seconds};
use crate::secret::Content;
use crate::step::{Command, FETCH_LIMIT, HttpRequest, Method, Reading, Trust};

/// The longest head of an answer, in bytes.
const HEAD: u64 = 64 << 10;

/// How much longer than its own limit curl may take before it is ended.
const MERCY: Duration = Duration::from_secs(2);

/// Answers [`crate::step::Probe::Http`]. `left` is the time of the whole conversation that remains.
pub(in crate::host) fn ask(programs: &Programs<'_>, request: &HttpRequest, left: Duration) -> Reading {
    if let Some(why) = fault(programs, request) {
        return Reading::Failed(why);
    }
    if left.is_zero() {
        return Reading::Failed("no time was left for it".to_owned());
    }
    let time = Duration::from_secs(seconds(request.timeout.min(left)));
    let command = if programs.has("curl") { by_curl(request, time) } else { by_wget(programs, request, time) };
    let most = usize::try_from(HEAD + FETCH_LIMIT).unwrap_or(usize::MAX);
    let (stdout, stderr) = (Kept::first(most), Kept::BOTH);
    let limits = Limits { time: time + MERCY, stdout, stderr, leftover: Leftover::Ignored };
    let mut count = 0;
    // A body without an end is not waited for.
    let ended = programs.run(&command, &limits, &mut |heard| {
        count += if let Heard::Stdout(bytes) = heard { bytes.len() } else { 0 };
        if count > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match ended {
        Err(failure) => Reading::Failed(failure.why),
        Ok(ended) => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
            let (stdout, complaint) = (ended.stdout.bytes(), ended.stderr.bytes());
            let complaint = String::from_utf8_lossy(&complaint).into_owned();
            let now = i64::try_from(now).unwrap_or(i64::MAX);
            Reading::Http(answer::read(&Said { exit: ended.exit, stdout, complaint, now }))
        }
    }
}

/// Why it cannot be asked at all on this host.
pub(in crate::host) fn fault(programs: &Programs<'_>, request: &HttpRequest) -> Option<String> {
    let HttpRequest { url, trust, header_file, .. } = request;
    if !is_url(url) {
        return Some(format!("invalid http:// or https:// address `{}`", url.escape_debug()));
    }
    let authority = if let Trust::Authority(file) = trust { Some(file) } else { None };
    let mut files = authority.into_iter().chain(header_file);
    if let Some(file) = files.find(|file| !file.starts_with('/') || file.contains('\0')) {
        return Some(format!("invalid absolute path `{}`", file.escape_debug()));
    }
    if header_file.is_some() && !programs.has("curl") {
        return Some(format!("asking {url} with a `header_file` needs curl on the host"));
    }
    let can = programs.has("curl") || programs.has("wget");
    (!can).then(|| format!("asking {url} needs curl or wget on the host"))
}

fn by_curl(request: &HttpRequest, time: Duration) -> Command {
    let time = time.as_secs().to_string();
    let mut argv = vec!["curl", "-q", "-K", "-", "-sS", "-g", "--noproxy", "*", "-m", &time];
    argv.push(match request.method {
        Method::Head => "-I",
        Method::Get => "-i",
    });
    match &request.trust {
        Trust::System => {}
        Trust::Anybody => argv.push("-k"),
        Trust::Authority(file) => argv.extend(["--cacert", file]),
    }
    if request.url.starts_with("https:") {
        // It tells when the certificate ends among much else.
        argv.push("-v");
    }
    let mut lines = curl_line("url", request.url.as_bytes());
    if let Some(file) = &request.header_file {
        lines.extend(curl_line("header", format!("@{file}").as_bytes()));
    }
    let stdin = Content::Plain(lines);
    Command { stdin, ..Command::new(argv) }
}

fn by_wget(programs: &Programs<'_>, request: &HttpRequest, time: Duration) -> Command {
    let time = time.as_secs().to_string();
    let mut argv = vec!["wget".to_owned()];
    let mut option = |words: &[&str]| argv.extend(words.iter().map(|&word| word.to_owned()));
    option(&["-q", "-S", "-O", "-", "-T", &time]);
    if request.method == Method::Head {
        option(&["--spider"]);
    }
    match &request.trust {
        Trust::System => {}
        Trust::Anybody => option(&["--no-check-certificate"]),
        Trust::Authority(file) => option(&[&format!("--ca-certificate={file}")]),
    }
    if is_gnu_wget(programs) {
        option(&["--max-redirect=0", "--tries=1"]);
    }
    option(&[&request.url]);
    // What is empty is no proxy.
    Command::new(argv).with("http_proxy", "").with("https_proxy", "")
}
