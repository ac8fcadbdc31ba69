//! What a program says on many hosts.
//!
//! In: lines as they come, and how it ended. Out: lines that say which host said them, one block for hosts that said the
//! same, and a sum. Never: a control character that came from a host.

use std::collections::BTreeMap;

use super::layout::{NAME, QUIET, WELL, WRONG, pad, paint};
use super::words;
use crate::exec::{Ended, NoEnd, Stream};
use crate::name::HostName;

/// One line of a host, harmless for a terminal. `column` is the width of the longest name; nothing stands before the line
/// of a host that is alone.
pub fn line(host: &HostName, column: Option<usize>, stream: Stream, bytes: &[u8]) -> String {
    format!("{}{}", prefix(host, column, stream), harmless(bytes))
}

/// What stands before a line. What was written to standard error has another sign.
pub fn prefix(host: &HostName, column: Option<usize>, stream: Stream) -> String {
    let Some(column) = column else { return String::new() };
    let (style, sign) = match stream {
        Stream::Out => (NAME, "|"),
        Stream::Err => (WRONG, "!"),
    };
    format!("{} {} ", paint(style, &pad(host.as_str(), column)), paint(QUIET, sign))
}

fn harmless(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    words::one_line(&text.trim_end_matches('\r').replace('\t', "    "))
}

/// What a host said, and how it ended there.
pub type HostOutput = (Ended, Lines);

/// The lines of a host, each with where to it was written.
pub type Lines = Vec<(Stream, Vec<u8>)>;

/// Hosts that said the same and ended alike, each such block once, in the order of their first hosts.
pub fn grouped(all: &[HostOutput]) -> String {
    let mut blocks: Vec<(&HostOutput, Vec<&HostName>)> = Vec::new();
    for said in all {
        let alike = |(other, _): &&mut (&HostOutput, Vec<&HostName>)| other.0.how == said.0.how && other.1 == said.1;
        match blocks.iter_mut().find(alike) {
            Some((_, hosts)) => hosts.push(&said.0.host),
            None => blocks.push((said, vec![&said.0.host])),
        }
    }
    let texts = blocks.into_iter().map(|((ended, lines), hosts)| {
        let head = format!("{}   {}", paint(NAME, &words::hosts(hosts)), how(ended));
        let lines = lines.iter().map(|(stream, bytes)| match stream {
            Stream::Out => format!("  {}", harmless(bytes)),
            Stream::Err => format!("{} {}", paint(WRONG, "!"), harmless(bytes)),
        });
        std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
    });
    texts.collect::<Vec<_>>().join("\n\n")
}

/// How it ended on a host.
fn how(ended: &Ended) -> String {
    match &ended.how {
        Ok(0) => paint(WELL, "ok"),
        Ok(124) => paint(WRONG, "timed out and was stopped (exit code 124)"),
        Ok(code) => paint(WRONG, &format!("exit code {code}")),
        Err(none) => paint(WRONG, &words::one_line(none.why())),
    }
}

/// Hosts by how it ended there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Sum {
    /// Exit code 0.
    pub ok: usize,
    /// Any other.
    pub failed: usize,
    /// None, because sudo or this machine did not allow to start it.
    pub not_started: usize,
    /// None: the host could not be reached, or was lost.
    pub unreachable: usize,
}

impl Sum {
    /// Counts.
    pub fn of(all: &[Ended]) -> Self {
        let mut sum = Self::default();
        for ended in all {
            match ended.how {
                Ok(0) => sum.ok += 1,
                Ok(_) => sum.failed += 1,
                Err(NoEnd::NotStarted(_)) => sum.not_started += 1,
                Err(NoEnd::Unreachable(_)) => sum.unreachable += 1,
            }
        }
        sum
    }
}

/// How it ended everywhere: what went wrong, hosts that ended alike in one line, then counts.
pub fn summary(all: &[Ended]) -> String {
    let mut codes: BTreeMap<i32, Vec<&HostName>> = BTreeMap::new();
    let mut lines = Vec::new();
    for ended in all {
        match &ended.how {
            Ok(0) => {}
            Ok(code) => codes.entry(*code).or_default().push(&ended.host),
            Err(none) => {
                lines.push(format!("{}   {}", paint(NAME, ended.host.as_str()), words::one_line(none.why())));
            }
        }
    }
    let failed = codes.into_iter().map(|(code, hosts)| {
        let late = if code == 124 { ": timed out and was stopped" } else { "" };
        format!("{}   exit code {code}{late}", paint(NAME, &words::hosts(hosts)))
    });
    lines.splice(0..0, failed.collect::<Vec<_>>());
    let sum = Sum::of(all);
    let part = |style, number, word: &str| (number > 0).then(|| paint(style, &format!("{number} {word}")));
    let counts = [part(WELL, sum.ok, "ok"), part(WRONG, sum.failed, "failed")];
    let none = [part(WRONG, sum.not_started, "not started"), part(WRONG, sum.unreachable, "unreachable")];
    let counts = counts.into_iter().chain(none);
    lines.push(counts.flatten().collect::<Vec<_>>().join("   "));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ended(host: &str, how: Result<i32, NoEnd>) -> Ended {
        Ended { host: HostName::new(host).expect("a name"), how, took: Duration::ZERO }
    }

    #[test]
    fn a_host_cannot_steer_the_terminal_or_speak_for_another() {
        let host = HostName::new("w1").expect("a name");
        let text = line(&host, Some(3), Stream::Out, b"a\x1b[2Jb\rw2 | c\t\x9bd\r");
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), "w1  | a\\u{1b}[2Jb\\rw2 | c    \u{fffd}d");
    }

    #[test]
    fn hosts_that_say_the_same_are_one_block() {
        let line = |text: &str| vec![(Stream::Out, text.as_bytes().to_vec())];
        let all = [
            (ended("w1", Ok(0)), line("active")),
            (ended("w2", Ok(3)), line("inactive")),
            (ended("w3", Ok(0)), line("active")),
        ];
        let text = anstream::adapter::strip_str(&grouped(&all)).to_string();
        assert_eq!(text, "w1 w3   ok\n  active\n\nw2   exit code 3\n  inactive");
    }

    #[test]
    fn the_sum_names_who_failed_and_how() {
        let none = [NoEnd::Unreachable("is away".into()), NoEnd::NotStarted("no sudo".into())];
        let [away, barred] = none.map(Err);
        let all = [ended("a", Ok(0)), ended("c", Ok(7)), ended("b", Ok(7)), ended("d", away), ended("e", barred)];
        let text = anstream::adapter::strip_str(&summary(&all)).to_string();
        assert_eq!(
            text,
            "c b   exit code 7\nd   is away\ne   no sudo\n1 ok   2 failed   1 not started   1 unreachable"
        );
    }
}
