//! What a web server answered, as the program of the host tells it.
//!
//! In: what curl or wget said, and how it ended. Out: the answer, or why there was none. Never: how long it was waited for.

use crate::step::{CommandReading, HttpReading};

/// curl gives the head before the body; wget gives it, indented, among its complaints. Without either nothing is known.
pub(super) fn answer(answer: &CommandReading) -> Result<Result<HttpReading, String>, String> {
    let complaint = String::from_utf8_lossy(&answer.stderr);
    if answer.exit == 127 {
        return Err(complaint.trim().to_owned());
    }
    let end = answer.stdout.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(answer.stdout.len());
    let (head, body) = if answer.stdout.starts_with(b"HTTP/") {
        let body = answer.stdout.get(end + 4..).unwrap_or_default();
        (String::from_utf8_lossy(&answer.stdout[..end]).into_owned(), body.to_vec())
    } else {
        (head_of_wget(&complaint), answer.stdout.clone())
    };
    let status = head.lines().next().and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok());
    let Some(status) = status else { return Ok(Err(silence(answer.exit, &complaint))) };
    let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    let headers = head.lines().skip(1).filter_map(header).collect();
    Ok(Ok(HttpReading { status, headers, body, certificate: certificate(&complaint) }))
}

/// The last head: wget follows redirects.
fn head_of_wget(complaint: &str) -> String {
    let lines: Vec<&str> = complaint.lines().filter(|line| line.starts_with(' ')).map(str::trim).collect();
    let first = lines.iter().rposition(|line| line.starts_with("HTTP/")).unwrap_or(lines.len());
    lines[first..].join("\n")
}

/// For how many seconds more a certificate is good: curl says when it ends, and the host what is now.
fn certificate(complaint: &str) -> Option<i64> {
    let told = |word: &str| {
        complaint.lines().find_map(|line| line.strip_prefix('*')?.trim_start().strip_prefix(word)).map(str::trim)
    };
    let (ends, now) = (told("expire date:")?, told("now:")?);
    // curl with OpenSSL says `Feb  8 11:08:41 2027 GMT`, with GnuTLS `Mon, 08 Feb 2027 11:08:41 GMT`.
    let read = |form| jiff::fmt::strtime::parse(form, ends).and_then(|time| time.to_datetime()).ok();
    let time = read("%b %e %H:%M:%S %Y GMT").or_else(|| read("%a, %d %b %Y %H:%M:%S GMT"))?;
    let ends = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    Some(ends - now.parse::<i64>().ok()?)
}

/// Why there was no answer, without how long it was waited for: hosts with one trouble say one thing, so that a person
/// reads it once.
fn silence(exit: i32, complaint: &str) -> String {
    let last = complaint.lines().rfind(|line| !line.starts_with('*') && !line.trim().is_empty());
    match last {
        _ if exit == 124 => "no answer in time".to_owned(),
        Some(last) if last.contains(" timed out") => "no answer in time".to_owned(),
        Some(last) => untimed(last.trim()),
        None => "no answer".to_owned(),
    }
}

/// Without how long curl tried.
fn untimed(complaint: &str) -> String {
    let words: Vec<&str> = complaint.split(' ').collect();
    let timed = words.windows(3).position(|three| {
        three[0] == "after" && three[1].parse::<u64>().is_ok() && three[2].trim_end_matches(':') == "ms"
    });
    match timed {
        None => complaint.to_owned(),
        Some(at) => {
            let colon = if words[at + 2].ends_with(':') { ":" } else { "" };
            let rest = [&words[..at], &words[at + 3..]].map(|part| part.join(" "));
            rest.join(&format!("{colon} "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_web_servers_answer_is_read_from_curl_and_from_wget() {
        let said = |stdout: &str, stderr: &str| {
            let (stdout, stderr) = (stdout.as_bytes().to_vec(), stderr.as_bytes().to_vec());
            answer(&CommandReading { exit: 0, stdout, stderr }).expect("it was asked")
        };
        let with = |status, headers: &[(&str, &str)], body: &str| {
            let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Ok(HttpReading { status, headers, body: body.as_bytes().to_vec(), certificate: None })
        };
        assert_eq!(said("HTTP/2 204 \r\nx: y\r\n\r\n", ""), with(204, &[("x", "y")], ""));
        assert_eq!(said("body", "  HTTP/1.1 200 OK\n  Server: x\n"), with(200, &[("Server", "x")], "body"));
        assert_eq!(said("", "  HTTP/1.1 301 Moved\n  HTTP/1.1 404 Not Found\nwget: error"), with(404, &[], ""));
        assert_eq!(said("", "curl: (7) Failed to connect"), Err("curl: (7) Failed to connect".to_owned()));
        let timed = "curl: (7) Failed to connect to a port 80 after 10 ms: Couldn't connect to server";
        let untimed = "curl: (7) Failed to connect to a port 80: Couldn't connect to server";
        assert_eq!(said("", timed), Err(untimed.to_owned()));
        let late = "curl: (28) Operation timed out after 5001 milliseconds with 0 bytes received";
        assert_eq!(said("", late), Err("no answer in time".to_owned()));
        let neither = "asking http://h/ needs curl or wget on the host";
        let none = CommandReading { exit: 127, stdout: Vec::new(), stderr: neither.as_bytes().to_vec() };
        assert_eq!(answer(&none), Err(neither.to_owned()), "nothing is known of it");
    }

    #[test]
    fn when_a_certificate_ends_is_read_from_every_curl() {
        let left = |ends: &str| certificate(&format!("*  expire date: {ends}\n* now: 1795237271\n"));
        assert_eq!(left("Nov 21 05:01:12 2026 GMT"), Some(1));
        assert_eq!(left("Dec  1 05:01:11 2026 GMT"), Some(10 * 86_400));
        assert_eq!(left("Sat, 21 Nov 2026 05:00:11 GMT"), Some(-60));
        assert_eq!(left("soon"), None);
        assert_eq!(certificate("curl: (7) Failed to connect"), None);
    }
}
