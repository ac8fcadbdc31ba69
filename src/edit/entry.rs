//! Lines of the system's own tables: keys that may log in, keys of hosts, names of addresses, limits.
//!
//! In: one entry. Out: the table with the entry once, in its own form. Never: a line that is not about the same thing.

use core::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};

use super::text::Text;
use super::{EditError, State, wrong};

/// An entry of one of the tables.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry {
    /// Of `authorized_keys`.
    LoginKey(LoginKey),
    /// Of `known_hosts`.
    HostKey(HostKey),
    /// Of `hosts(5)`.
    HostNames(HostNames),
    /// Of `limits.conf(5)`.
    Limit(Limit),
}

/// A key that may log in: `authorized_keys` of `sshd(8)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginKey {
    /// The key. Two lines with one key are one entry.
    pub key: PublicKey,
    /// What is allowed with it, as in `sshd(8)`.
    pub options: Option<String>,
}

/// A key of a host: `known_hosts` of `sshd(8)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostKey {
    /// Its name, address, or `[name]:port`.
    pub name: String,
    /// The key; none for all keys of the name.
    pub key: Option<PublicKey>,
}

/// All names of one address, as in `hosts(5)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostNames {
    /// The address.
    pub address: IpAddr,
    /// Its names, the main one first.
    pub names: Vec<String>,
}

/// One limit, as in `limits.conf(5)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// A user, `@group`, `*` or `%group`.
    pub domain: String,
    /// `soft`, `hard` or `-`.
    pub kind: String,
    /// What is limited.
    pub item: String,
    /// How much; empty where it is not wanted.
    pub value: String,
}

/// A public key in OpenSSH's own form: `ssh-ed25519 AAAA... comment`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicKey {
    /// The sort of key.
    pub kind: String,
    /// The key in base64.
    pub blob: String,
    /// Whose it is, for people.
    pub comment: String,
}

/// The sorts of keys that OpenSSH 9 takes.
const KINDS: &[&str] = &[
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
];

impl PublicKey {
    /// Reads a key as `ssh-keygen` writes it. The blob begins with its own sort, so a key that was cut or mixed up is
    /// noticed (RFC 4253, section 6.6).
    ///
    /// # Errors
    /// What is wrong with it, for a user; never the text itself, which may be a private key.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains("PRIVATE KEY") {
            return Err("it is a private key: give the line of the `.pub` file".to_owned());
        }
        if text.trim().chars().any(char::is_control) {
            return Err("a key is one line: give several as several resources".to_owned());
        }
        let mut words = text.trim().splitn(3, ' ');
        let (kind, blob) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !KINDS.contains(&kind) {
            let all = KINDS.join(", ");
            return Err(format!("it must begin with a key type ({all}); options go into `options`"));
        }
        let bytes = STANDARD.decode(blob).map_err(|_| "the text after its type is not valid base64: was it cut?")?;
        match bytes.split_at_checked(4) {
            Some((length, rest)) if u32_of(length) == kind.len() && rest.starts_with(kind.as_bytes()) => {}
            _ => return Err(format!("the text after `{kind}` is not a key of that type: was it cut or mixed up?")),
        }
        if !is_whole(&bytes) {
            return Err("a part of it is missing: was it cut?".to_owned());
        }
        let comment = words.next().unwrap_or_default().trim();
        Ok(Self { kind: kind.to_owned(), blob: blob.to_owned(), comment: comment.to_owned() })
    }

    /// The end of the blob, which tells keys apart at a glance.
    pub fn short(&self) -> &str {
        let digits = self.blob.trim_end_matches('=');
        &digits[digits.len().saturating_sub(12)..]
    }

    fn line(&self) -> String {
        format!("{} {} {}", self.kind, self.blob, self.comment).trim_end().to_owned()
    }
}

fn u32_of(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// A blob is a row of strings, each after its length, and nothing else.
fn is_whole(mut bytes: &[u8]) -> bool {
    while let Some((length, rest)) = bytes.split_at_checked(4) {
        let Some((_, after)) = rest.split_at_checked(u32_of(length)) else { return false };
        bytes = after;
    }
    bytes.is_empty()
}

impl Entry {
    /// What sort of thing it is, for a person.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::LoginKey(_) => "a key",
            Self::HostKey(_) => "a host key",
            Self::HostNames(_) => "the names of an address",
            Self::Limit(_) => "a limit",
        }
    }

    pub(super) fn apply(&self, state: State, text: &mut Text) -> Result<(), EditError> {
        let (found, line) = match self {
            Self::HostKey(key) => {
                key.apply(state, text);
                return Ok(());
            }
            Self::LoginKey(key) => (text.places(|row| key.is_in(row)), key.line()),
            Self::HostNames(names) => (names.find(state, text)?, names.line(text)),
            Self::Limit(limit) => (text.places(|row| limit.is_in(row)), limit.line()),
        };
        match (state, found.as_slice()) {
            (State::Absent, all) => text.remove_all(all),
            (State::Present, []) => text.insert(text.len(), &line),
            (State::Present, [first, others @ ..]) => {
                if !self.says(text.row(*first)) {
                    text.replace(*first, &line);
                }
                text.remove_all(others);
            }
        }
        Ok(())
    }

    /// Whether a line says the same, perhaps with other space or a comment.
    fn says(&self, row: &str) -> bool {
        match self {
            Self::LoginKey(key) => row.trim() == key.line(),
            Self::HostNames(names) => words(row).skip(1).eq(names.names.iter().map(String::as_str)),
            Self::Limit(limit) => words(row).eq(limit.line().split(' ')),
            Self::HostKey(_) => false,
        }
    }
}

/// The words of a line up to a comment.
fn words(row: &str) -> impl Iterator<Item = &str> {
    row.split('#').next().unwrap_or_default().split_ascii_whitespace()
}

impl LoginKey {
    /// The line.
    pub fn line(&self) -> String {
        self.options.iter().cloned().chain([self.key.line()]).collect::<Vec<_>>().join(" ")
    }

    fn is_in(&self, row: &str) -> bool {
        if row.trim_start().starts_with('#') {
            return false;
        }
        let mut rest = outside_quotes(row).into_iter();
        rest.any(|word| word == self.key.kind) && rest.next() == Some(&self.key.blob)
    }
}

/// The words of a line in which options may have quoted text with spaces.
fn outside_quotes(row: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let space = |c: char| {
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = c == '\\' && !escaped;
        !quoted && (c == ' ' || c == '\t')
    };
    row.split(space).filter(|word| !word.is_empty()).collect()
}

impl HostKey {
    fn apply(&self, state: State, text: &mut Text) {
        let mut wanted = self.key.as_ref().filter(|_| state == State::Present);
        let mut gone = Vec::new();
        for at in text.places(|row| self.is_in(row)) {
            let row = text.row(at).to_owned();
            let (names, rest) = row.trim_start().split_once([' ', '\t']).unwrap_or_default();
            if wanted.is_some_and(|key| rest.split_ascii_whitespace().nth(1) == Some(&key.blob)) {
                wanted = None;
                continue;
            }
            let others: Vec<&str> = names.split(',').filter(|name| !self.is_named(name)).collect();
            match others.as_slice() {
                [] => gone.push(at),
                others => text.replace(at, &format!("{} {rest}", others.join(","))),
            }
        }
        match (wanted, gone.as_slice()) {
            (Some(key), [first, others @ ..]) => {
                text.replace(*first, &self.line(key));
                text.remove_all(others);
            }
            (Some(key), []) => text.insert(text.len(), &self.line(key)),
            (None, gone) => text.remove_all(gone),
        }
    }

    fn line(&self, key: &PublicKey) -> String {
        format!("{} {} {}", self.name, key.kind, key.blob)
    }

    /// A line about a key of this sort of this name. Lines with a mark (`@revoked`) say something else.
    fn is_in(&self, row: &str) -> bool {
        let mut words = row.split_ascii_whitespace();
        let names = words.next().unwrap_or_default();
        let kind = words.next().unwrap_or_default();
        let sort = self.key.as_ref().is_none_or(|key| key.kind == kind);
        sort && !names.starts_with(['#', '@']) && names.split(',').any(|name| self.is_named(name))
    }

    /// Also where the name is only there as `|1|salt|hash` (`HashKnownHosts` of `ssh_config(5)`).
    fn is_named(&self, name: &str) -> bool {
        let Some(hashed) = name.strip_prefix("|1|") else { return name.eq_ignore_ascii_case(&self.name) };
        let decoded = |text: &str| STANDARD.decode(text).ok();
        let parts = hashed.split_once('|').and_then(|(salt, hash)| Some((decoded(salt)?, decoded(hash)?)));
        parts.is_some_and(|(salt, hash)| {
            let mac = Hmac::<sha1::Sha1>::new_from_slice(&salt).ok();
            mac.is_some_and(|mac| mac.chain_update(self.name.to_ascii_lowercase()).verify_slice(&hash).is_ok())
        })
    }
}

impl HostNames {
    /// The lines of the address. A name that another address has would go on being found there first.
    fn find(&self, state: State, text: &Text) -> Result<Vec<usize>, EditError> {
        let address = |row: &str| words(row).next().and_then(|word| word.parse::<IpAddr>().ok());
        let rival = |row: &&str| {
            address(row).is_some_and(|other| other != self.address && other.is_ipv4() == self.address.is_ipv4())
        };
        let mut rivals = text.rows().enumerate().filter(|(_, row)| rival(row));
        let taken = rivals.find_map(|(at, row)| Some((at, row, words(row).skip(1).find(|name| self.has(name))?)));
        match taken.filter(|_| state == State::Present) {
            Some((at, row, name)) => {
                let other = words(row).next().unwrap_or_default();
                wrong(format!(
                    "{name} is also a name of {other} in line {}: declare the names of {other} with a `hosts_entry` before this one",
                    at + 1
                ))
            }
            None => Ok(text.places(|row| address(row) == Some(self.address))),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// The line, with the comment of the one it takes the place of.
    fn line(&self, text: &Text) -> String {
        let mine = |row: &&str| words(row).next().is_some_and(|word| word.parse() == Ok(self.address));
        let comment = text.rows().find(mine).and_then(|row| row.split_once('#')).map(|(_, comment)| comment);
        let comment = comment.map(|comment| format!(" #{comment}")).unwrap_or_default();
        format!("{} {}{comment}", self.address, self.names.join(" "))
    }
}

impl Limit {
    fn line(&self) -> String {
        format!("{} {} {} {}", self.domain, self.kind, self.item, self.value)
    }

    fn is_in(&self, row: &str) -> bool {
        words(row).take(3).eq([self.domain.as_str(), &self.kind, &self.item])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH9O7fFVOEwGtHvMdKYr1NOT4b8Pn1yOwiUEfKNl7wtt ada@ship";

    #[test]
    fn a_key_is_read_whole_or_not_at_all() {
        let key = PublicKey::parse(KEY).expect("a key");
        assert_eq!((key.kind.as_str(), key.comment.as_str(), key.short()), ("ssh-ed25519", "ada@ship", "wiUEfKNl7wtt"));
        let cut = KEY.replace("AAAAIH9O7fFVOEwGtHvMdKYr1NOT4b8Pn1yOwiUEfKNl7wtt", "AAAAIH9O7fFVOEwG");
        let mixed = KEY.replace("ssh-ed25519", "ssh-rsa");
        let two = format!("{KEY}\n{KEY}");
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----";
        for wrong in ["", "ssh-ed25519", "command=\"x\" ssh-ed25519 AAAA", &cut, &mixed, &two, private] {
            assert!(PublicKey::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_found_behind_options_with_spaces_in_quotes() {
        let key = LoginKey { key: PublicKey::parse(KEY).expect("a key"), options: None };
        assert!(key.is_in(&format!("from=\"a\",command=\"echo \\\" ssh-ed25519 x\" {KEY}")));
        assert!(!key.is_in(&format!("command=\"{KEY}\" ssh-ed25519 AAAAother")));
        assert!(!key.is_in(&format!("# {KEY}")));
    }

    #[test]
    fn a_hashed_name_is_known_as_ssh_keygen_hashes_it() {
        // Made by `ssh-keygen -H` from `[db1.example.org]:2222`.
        let hashed = "|1|Kh7gqmq0l9Y9Am9Yr0dcwfORa4E=|86ylTYjurYwSlz5W4i0tqP2fqPU=";
        let key = |name: &str| HostKey { name: name.to_owned(), key: None };
        assert!(key("[db1.example.org]:2222").is_named(hashed));
        assert!(!key("db1.example.org").is_named(hashed));
        assert!(!key("[db1.example.org]:2222").is_named("|1|no base64"));
        assert!(key("db1.example.org").is_named("DB1.example.org"));
    }
}
