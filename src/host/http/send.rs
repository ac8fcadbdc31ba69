//! A request to a web API, and what its status means.

use super::{curl_line, is_url};
use crate::host::program::{Cause, Ended, Limits, Programs, undisturbed};
use crate::host::{Failure, Result};
use crate::secret::{Content, Secret};
use crate::step::{ApiRequest, Command, Outcome, Sending, Trust};

/// The exit code where the server answered with another status than it should, as curl has it.
const REFUSED: i32 = 22;

/// How much of an answer is told, in characters.
const TOLD: usize = 1000;

/// [`crate::step::Step::Send`]: not needed where the request before it succeeds.
pub(in crate::host) fn send(programs: &Programs<'_>, sending: &Sending) -> Result<Outcome> {
    if let Some(question) = &sending.unless {
        let ended = start(programs, question)?;
        if ended.cause != Cause::Itself {
            let limit = question.longest().as_secs();
            return Err(Failure::new(format!("the guard did not answer within {limit} s: {}", ended.complaint())));
        }
        if judge(&ended, &[]).is_ok() {
            return Ok(Outcome::NotNeeded);
        }
    }
    let ended = start(programs, &sending.request)?;
    if ended.cause == Cause::Overdue {
        let late = format!("it took longer than {} s and was ended", sending.request.longest().as_secs());
        return Err(Failure { exit: ended.exit, why: format!("{}\n{late}", ended.complaint()).trim().to_owned() });
    }
    judge(&ended, &sending.accepted).map(|()| Outcome::Done)
}

fn start(programs: &Programs<'_>, request: &ApiRequest) -> Result<Ended> {
    if !is_url(&request.url) {
        return Err(Failure::new(format!("invalid http:// or https:// address `{}`", request.url.escape_debug())));
    }
    if !programs.has("curl") {
        return Err(Failure { exit: 127, why: format!("a request to {} needs curl on the host", request.url) });
    }
    let stdin = Content::Secret(Secret::new(configuration(request)));
    let command = Command { stdin, ..Command::new(["curl", "-q", "-K", "-"]).within(request.longest()) };
    programs.run(&command, &Limits::step(&command), &mut undisturbed)
}

/// What curl is told (`curl(1)`, `--config`). The last line of its output is the status alone.
fn configuration(request: &ApiRequest) -> Vec<u8> {
    let ApiRequest { method, url, headers, body, trust, timeout, retries } = request;
    let mut told = b"silent\nshow-error\ngloboff\nproto = \"=http,https\"\nnoproxy = \"*\"\n".to_vec();
    let mut option = |name: &str, value: &[u8]| told.extend(curl_line(name, value));
    option("url", url.as_bytes());
    option("request", method.as_bytes());
    option("max-time", timeout.as_secs().to_string().as_bytes());
    option("write-out", b"\n%{http_code}");
    if let Trust::Authority(file) = trust {
        option("cacert", file.as_bytes());
    }
    for (name, value) in headers {
        option("header", &[name.as_bytes(), b": ", value.bytes()].concat());
    }
    if let Some(body) = body {
        option("data-raw", body.bytes());
    }
    if *trust == Trust::Anybody {
        told.extend(b"insecure\n");
    }
    if *retries > 0 {
        told.extend(format!("retry = {retries}\nretry-delay = 1\nretry-connrefused\n").into_bytes());
    }
    told
}

/// Whether the server took it.
fn judge(ended: &Ended, accepted: &[u16]) -> Result {
    if ended.exit != 0 {
        let stderr = String::from_utf8_lossy(&ended.stderr.bytes()).trim_end().to_owned();
        return Err(Failure { exit: ended.exit, why: stderr });
    }
    let output = ended.output();
    let (answer, status) = output.rsplit_once('\n').unwrap_or(("", &output));
    let code: u16 = status.trim().parse().unwrap_or_default();
    if (200..300).contains(&code) || accepted.contains(&code) {
        return Ok(());
    }
    let told: String = answer.trim_end().chars().take(TOLD).collect();
    Err(Failure { exit: REFUSED, why: format!("the server answered {status}: {told}") })
}
