//! Web servers, as this host sees them, by its own curl or wget.
//!
//! In: a request, or a file to fetch. Out: the answer, or the file's bytes and the word that they are the right ones. Never: an
//! address, a credential or a body among the arguments of curl; a body that is believed without its digest.

mod answer;
mod ask;
mod fetch;
mod send;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(super) use ask::{ask, fault};
pub(super) use fetch::fetch;
pub(super) use send::send;

use super::program::Programs;

/// Whether an address is one of the web.
fn is_url(url: &str) -> bool {
    (url.starts_with("http://") || url.starts_with("https://")) && !url.contains(|c: char| c.is_control() || c == ' ')
}

/// One line of a configuration of `curl(1)` (option `--config`): in quotes, a line break, too, is written with a backslash.
fn curl_line(option: &str, value: &[u8]) -> Vec<u8> {
    let mut line = format!("{option} = \"").into_bytes();
    for byte in value {
        match byte {
            b'\\' | b'"' => line.extend([b'\\', *byte]),
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            byte => line.push(*byte),
        }
    }
    line.extend(b"\"\n");
    line
}

/// Whether the wget of this host is GNU's, and not that of busybox.
fn is_gnu_wget(programs: &Programs<'_>) -> bool {
    let version = programs.tool(&["wget", "--version"], Duration::from_secs(10));
    version.is_ok_and(|ended| ended.exit == 0 && ended.output().starts_with("GNU Wget"))
}
