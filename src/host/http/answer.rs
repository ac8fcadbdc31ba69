//! What a web server answered, out of what curl or wget said.

use crate::step::{FETCH_LIMIT, HttpReading};

/// What the program said.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Its exit code.
    pub(super) exit: i32,
    /// Its output.
    pub(super) stdout: Vec<u8>,
    /// What it complained.
    pub(super) complaint: String,
    /// The host's clock after it, in seconds since 1970.
    pub(super) now: i64,
}

/// The answer, or why there was none. curl gives the head before the body; wget gives it, indented, among its complaints.
pub(super) fn read(said: &Said) -> Result<HttpReading, String> {
    let (head, body) = if said.stdout.starts_with(b"HTTP/") {
        parted(&said.stdout)
    } else {
        (head_of_wget(&said.complaint), said.stdout.as_slice())
    };
    let status = status(&head).ok_or_else(|| silence(said))?;
    let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    let headers = head.lines().skip(1).filter_map(header).collect();
    let body = body[..body.len().min(usize::try_from(FETCH_LIMIT).unwrap_or(usize::MAX))].to_vec();
    Ok(HttpReading { status, headers, body, certificate: certificate(&said.complaint, said.now) })
}

fn status(head: &str) -> Option<u16> {
    head.lines().next().and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok())
}

/// Head and body. What a server says beforehand (`100 Continue`, `103 Early Hints`) is no answer.
fn parted(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(bytes.len());
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let body = bytes.get(end + 4..).unwrap_or_default();
    if status(&head).is_some_and(|status| status < 200) && body.starts_with(b"HTTP/") {
        parted(body)
    } else {
        (head, body)
    }
}

/// The last head: the wget of busybox follows redirects.
fn head_of_wget(complaint: &str) -> String {
    let lines: Vec<&str> = complaint.lines().filter(|line| line.starts_with(' ')).map(str::trim).collect();
    let first = lines.iter().rposition(|line| line.starts_with("HTTP/")).unwrap_or(lines.len());
    lines[first..].join("\n")
}

/// For how many seconds more a certificate is good: curl says when it ends.
fn certificate(complaint: &str, now: i64) -> Option<i64> {
    let told = |line: &str| {
        let ends = line.strip_prefix('*')?.trim_start().strip_prefix("expire date:")?;
        seconds_since_1970(ends.trim())
    };
    complaint.lines().find_map(told).map(|ends| ends - now)
}

/// curl with OpenSSL says `Feb  8 11:08:41 2027 GMT`, with `GnuTLS` `Mon, 08 Feb 2027 11:08:41 GMT`.
fn seconds_since_1970(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let ([month, day, time, year, "GMT"] | [_, day, month, year, time, "GMT"]) = words[..] else { return None };
    let month = i64::try_from(MONTHS.iter().position(|known| *known == month)?).ok()? + 1;
    let (day, year): (i64, i64) = (day.parse().ok()?, year.parse().ok()?);
    let time: Vec<i64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = time[..] else { return None };
    let whole = (1..=31).contains(&day) && (1970..=9999).contains(&year) && (0..24).contains(&hours);
    whole.then(|| days_since_1970(year, month, day) * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

/// Years that begin in March have their odd day at the end.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

/// Why there was no answer, without how long it was waited for: hosts with one trouble say one thing, so that a person
/// reads it once.
fn silence(said: &Said) -> String {
    let told = |line: &&str| !line.trim().is_empty() && !line.starts_with(['*', '<', '>', '{', '}', '[']);
    // Below its own line curl explains what a certificate is.
    let own = said.complaint.lines().rfind(|line| line.starts_with("curl: ("));
    match own.or_else(|| said.complaint.lines().rfind(told)) {
        _ if said.exit == 124 => "no answer in time".to_owned(),
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
    let Some(at) = timed else { return complaint.to_owned() };
    let colon = if words[at + 2].ends_with(':') { ":" } else { "" };
    let rest = [&words[..at], &words[at + 3..]].map(|part| part.join(" "));
    rest.join(&format!("{colon} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_web_servers_answer_is_read_from_curl_and_from_wget() {
        let said = |stdout: &str, complaint: &str| {
            read(&Said { stdout: stdout.as_bytes().to_vec(), complaint: complaint.to_owned(), ..Said::default() })
        };
        let with = |status, headers: &[(&str, &str)], body: &str| {
            let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Ok(HttpReading { status, headers, body: body.as_bytes().to_vec(), certificate: None })
        };
        assert_eq!(said("HTTP/2 204 \r\nx: y\r\n\r\n", ""), with(204, &[("x", "y")], ""));
        let early =
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\nx: y\r\n\r\nb";
        assert_eq!(said(early, ""), with(200, &[("x", "y")], "b"));
        assert_eq!(
            said("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 500 no\r\n\r\n", ""),
            with(200, &[], "HTTP/1.1 500 no\r\n\r\n")
        );
        assert_eq!(said("body", "  HTTP/1.1 200 OK\n  Server: x\n"), with(200, &[("Server", "x")], "body"));
        assert_eq!(said("", "  HTTP/1.1 301 Moved\n  HTTP/1.1 404 Not Found\nwget: error"), with(404, &[], ""));
        assert_eq!(said("", "curl: (7) Failed to connect"), Err("curl: (7) Failed to connect".to_owned()));
        let timed = "curl: (7) Failed to connect to a port 80 after 10 ms: Couldn't connect to server";
        let untimed = "curl: (7) Failed to connect to a port 80: Couldn't connect to server";
        assert_eq!(said("", timed), Err(untimed.to_owned()));
        let strange = "curl: (60) SSL certificate problem: self-signed certificate";
        let more = "More details here: https://curl.se/docs/sslcerts.html\n\nhow to fix it, please visit the web page.";
        assert_eq!(said("", &format!("* closing\n{strange}\n{more}\n")), Err(strange.to_owned()));
        let late = "curl: (28) Operation timed out after 5001 milliseconds with 0 bytes received";
        assert_eq!(said("", late), Err("no answer in time".to_owned()));
        assert_eq!(said("HTTP/", ""), Err("no answer".to_owned()), "it broke off");
    }

    #[test]
    fn when_a_certificate_ends_is_read_from_every_curl() {
        let left = |ends: &str| certificate(&format!("*  expire date: {ends}\n"), 1_795_237_271);
        assert_eq!(left("Nov 21 05:01:12 2026 GMT"), Some(1));
        assert_eq!(left("Dec  1 05:01:11 2026 GMT"), Some(10 * 86_400));
        assert_eq!(left("Sat, 21 Nov 2026 05:00:11 GMT"), Some(-60));
        assert_eq!([left("soon"), left("Foo  1 05:01:11 2026 GMT"), left("Dec  1 05:01 2026 GMT")], [None; 3]);
        assert_eq!(certificate("curl: (7) Failed to connect", 0), None);
        assert_eq!(seconds_since_1970("Jan  1 00:00:00 1970 GMT"), Some(0));
        assert_eq!(seconds_since_1970("Feb 29 23:59:59 2024 GMT"), Some(1_709_251_199));
        assert_eq!(seconds_since_1970("Mar  1 00:00:00 2100 GMT"), Some(4_107_542_400));
    }
}
