//! What a host fetches from a web server: where it is, what it must be, and how much of it is read.
//!
//! In: values as written in YAML. Out: a [`Remote`], or why it cannot be meant. Never: a kind, or a credential in an
//! address, where every log and every process list has it.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error};

use super::fields::{self, Data, Span};
use crate::step::{Digest, Remote};

/// How long a download may take if nothing else is said: half an hour.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30 * 60);

/// An amount of bytes, written like `512M` or `4G`: K, M, G and T are powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) u64);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let bytes = value.as_u64().or_else(|| value.as_str().and_then(bytes));
        // The arithmetic of a shell ends at 2^63; a petabyte is more than any disk it will meet.
        bytes
            .filter(|bytes| (1..=1 << 50).contains(bytes))
            .map(Self)
            .ok_or_else(|| D::Error::custom("write a size like 300K, 512M or 4G, at most one petabyte"))
    }
}

fn bytes(text: &str) -> Option<u64> {
    let (digits, power) = match text.char_indices().last()? {
        (end, 'K') => (&text[..end], 10),
        (end, 'M') => (&text[..end], 20),
        (end, 'G') => (&text[..end], 30),
        (end, 'T') => (&text[..end], 40),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << power)
}

impl JsonSchema for Bytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "pattern": "^[0-9]+[KMGT]?$" })
    }
}

/// The keys of a request, as several kinds have them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) url: &'a str,
    pub(super) sha256: &'a str,
    pub(super) headers: &'a BTreeMap<String, Data>,
    pub(super) max_size: Bytes,
    pub(super) timeout: Option<Span>,
}

impl Request<'_> {
    /// Whether it can be meant.
    ///
    /// # Errors
    /// The reason, for the user.
    pub(super) fn check(&self) -> Result<(), String> {
        check_url(self.url)?;
        check_sha256(self.sha256)?;
        let secret = self.headers.values().any(|value| value.0.is_secret());
        if secret && !self.url.starts_with("https://") {
            return Err("a secret header can be sent to an https:// address only: others are not encrypted".to_owned());
        }
        self.headers.iter().try_for_each(|(name, value)| check_header(name, value))
    }

    /// The same for a step.
    pub(super) fn remote(&self) -> Remote {
        Remote {
            url: self.url.to_owned(),
            digest: digest(self.sha256),
            limit: self.max_size.0,
            headers: self.headers.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect(),
            timeout: self.timeout.map_or(PATIENCE, |span| span.0),
        }
    }
}

/// The digest that a text says.
pub(super) fn digest(sha256: &str) -> Digest {
    Digest(sha256.to_ascii_lowercase())
}

/// # Errors
/// The reason, for the user.
pub(super) fn check_sha256(text: &str) -> Result<(), String> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(format!("invalid SHA-256 `{}`: it has 64 digits from 0 to f, as `sha256sum` prints them", text.escape_debug()))
}

fn check_url(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Of RFC 3986 everything but the quote, which is of use to nobody.
    let fine = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&()*+,;=%".contains(c);
    if host.contains('@') {
        return Err("an address with a name or password is visible to everyone: use `headers`".to_owned());
    }
    if host.is_empty() || !url.chars().all(fine) {
        return Err(format!("invalid URL `{}`: it must begin with http:// or https://", url.escape_debug()));
    }
    Ok(())
}

fn check_header(name: &str, value: &Data) -> Result<(), String> {
    fields::check_header_name(name)?;
    let line = !value.0.bytes().iter().any(u8::is_ascii_control);
    if line { Ok(()) } else { Err(format!("the header {name} has more than one line, or a control character")) }
}

/// Four gigabytes: more than software for one machine has.
pub(super) fn four_gigabytes() -> Bytes {
    Bytes(4 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_powers_of_1024() {
        let all = ["7", "300K", "512M", "4G", "1T"].map(|text| bytes(text).expect("an amount"));
        assert_eq!(all, [7, 300 << 10, 512 << 20, 4 << 30, 1 << 40]);
        assert!(
            ["", "G", "-1", "1.5G", "4g", "99999999999999999999", "99999999999T"]
                .iter()
                .all(|text| bytes(text).is_none())
        );
    }

    #[test]
    fn an_address_has_no_credentials_and_nothing_a_program_could_misread() {
        for fine in ["https://a.b/c?d=e#f", "http://[::1]:8080/x", "https://a.b/x%20y/@c"] {
            assert_eq!(check_url(fine), Ok(()), "{fine}");
        }
        for wrong in [
            "",
            "ftp://a/b",
            "https://",
            "https:///x",
            "https://u:p@a/b",
            "https://a/b c",
            "https://a/\"b",
            "file:///etc/shadow",
            "-o/x",
        ] {
            assert!(check_url(wrong).is_err(), "{wrong}");
        }
    }
}
