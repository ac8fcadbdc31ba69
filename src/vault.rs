//! Vault files, as `ansible-vault` makes them.
//!
//! In: the text of one, and keys. Out: what is in it, or why it stays closed; and the way back, given a salt. Never: a
//! byte of what is in it before its seal was compared, or a key, salt or random number of its own.
//!
//! The format is that of `ansible.parsing.vault.VaultAES256`: a line `$ANSIBLE_VAULT;1.1;AES256` (or `;1.2;AES256;ID`),
//! then lines of 80 hexadecimal digits. They spell three lines of hexadecimal digits again: salt, seal, and content.
//! PBKDF2-HMAC-SHA256 with 10000 rounds makes of the password and the salt a key for AES-256-CTR, one for the seal
//! (HMAC-SHA256 of the encrypted content) and the first counter. The content is padded to whole blocks (PKCS 7).

use std::fmt;

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::secret::Secret;

/// How every vault file begins.
pub const HEADER: &str = "$ANSIBLE_VAULT;";
/// The bytes of a salt.
pub const SALT: usize = 32;
/// The id that `ansible-vault` does not write down.
pub const DEFAULT_ID: &str = "default";

const CIPHER: &str = "AES256";
const ROUNDS: u32 = 10_000;
const BLOCK: usize = 16;
/// Two keys of 32 bytes and the first counter.
const DERIVED: usize = 32 + 32 + BLOCK;
/// Hexadecimal digits in a line.
const WIDTH: usize = 80;

/// What opens vault files: a password. Its memory is overwritten when it is dropped.
#[derive(Clone)]
pub struct Key(Zeroizing<Vec<u8>>);

impl Key {
    /// Takes the bytes of a password file, of what a program printed or a person typed. White space around them is no
    /// part of the key, as in Ansible. None if nothing is left.
    pub fn new(mut bytes: Vec<u8>) -> Option<Self> {
        let key = Zeroizing::new(bytes.trim_ascii().to_vec());
        bytes.zeroize();
        (!key.is_empty()).then_some(Self(key))
    }

    /// Whether it is the same password.
    pub fn is(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::secret::MASK)
    }
}

/// Why a text is no vault file that can be opened, and the place in it. Line and column count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Damage {
    /// What is wrong.
    pub what: String,
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// Why a key does not open a vault file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// It was sealed with another key, or changed since: a seal cannot tell the two apart.
    #[error("the key is wrong, or the content was changed after it was encrypted")]
    Seal,
    /// The seal fits, and what it is on is nothing `ansible-vault` writes.
    #[error("the key is right, but the content has invalid padding")]
    Padding,
}

/// A vault file, read as far as it can be without a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The vault id it names.
    pub id: Option<String>,
    salt: Vec<u8>,
    seal: Vec<u8>,
    content: Vec<u8>,
}

/// Whether these bytes begin as a vault file does.
pub fn is_encrypted(bytes: &[u8]) -> bool {
    bytes.starts_with(HEADER.as_bytes())
}

/// Refuses an id that could not be written into the first line of a vault file.
///
/// # Errors
/// Why not.
pub fn check_id(id: &str) -> Result<(), String> {
    let fine = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !id.is_empty() && id.len() <= 100 && id.chars().all(fine) {
        return Ok(());
    }
    Err(format!("invalid vault id `{}`: letters, digits, `_`, `-` and `.`", id.escape_debug()))
}

impl Envelope {
    /// Reads the text of a vault file. White space around its lines means nothing.
    ///
    /// # Errors
    /// When it is none, is of another version or cipher, or is damaged in a way that shows without a key.
    pub fn parse(text: &str) -> Result<Self, Damage> {
        let mut lines = (1..).zip(text.lines());
        let (_, first) = lines.next().unwrap_or((1, ""));
        let id = header(first)?;
        let mut outer = Vec::new();
        for (line, row) in lines {
            unhex(row.trim_end(), line, &mut outer)?;
        }
        let damaged = |what: &str| Damage { what: format!("the vault file is damaged: {what}"), line: 2, column: 1 };
        let mut parts = outer.split(|byte| *byte == b'\n').map(|part| {
            let mut bytes = Vec::new();
            let digits = std::str::from_utf8(part).ok()?;
            unhex(digits, 2, &mut bytes).ok().map(|()| bytes).filter(|bytes| !bytes.is_empty())
        });
        let mut next =
            |name: &str| parts.next().flatten().ok_or_else(|| damaged(&format!("its {name} is missing or truncated")));
        let (salt, seal, content) = (next("salt")?, next("seal")?, next("content")?);
        match () {
            () if parts.next().is_some() => Err(damaged("unexpected text after its content")),
            () if seal.len() != 32 => Err(damaged("its signature has an invalid length")),
            () if content.len() % BLOCK != 0 => Err(damaged("a part of its content is missing")),
            () => Ok(Self { id, salt, seal, content }),
        }
    }

    /// What is in it. The seal is compared, in constant time, before anything is decrypted.
    ///
    /// # Errors
    /// When the key is another one, or the content was changed.
    pub fn open(&self, key: &Key) -> Result<Secret<Vec<u8>>, Closed> {
        let keys = Keys::derive(key, &self.salt);
        keys.seal(&self.content).verify_slice(&self.seal).map_err(|_| Closed::Seal)?;
        let mut plain = self.content.clone();
        keys.apply(&mut plain);
        let padding = plain.last().map_or(0, |last| usize::from(*last));
        let kept = plain.len().checked_sub(padding).filter(|_| (1..=BLOCK).contains(&padding));
        if let Some(kept) = kept.filter(|kept| plain[*kept..].iter().all(|byte| usize::from(*byte) == padding)) {
            plain.truncate(kept);
            return Ok(Secret::new(plain));
        }
        plain.zeroize();
        Err(Closed::Padding)
    }
}

/// Makes a vault file. The salt must come from chance and be used once.
pub fn seal(plain: &[u8], key: &Key, id: Option<&str>, salt: &[u8; SALT]) -> String {
    let keys = Keys::derive(key, salt);
    let padding = BLOCK - plain.len() % BLOCK;
    let mut content = Vec::with_capacity(plain.len() + padding);
    content.extend_from_slice(plain);
    content.extend(std::iter::repeat_n(u8::try_from(padding).unwrap_or_default(), padding));
    keys.apply(&mut content);
    let sealed = keys.seal(&content).finalize().into_bytes();
    let inner = [hex(salt), hex(&sealed), hex(&content)].join("\n");
    let digits = hex(inner.as_bytes());
    let mut text = match id.filter(|id| *id != DEFAULT_ID) {
        Some(id) => format!("{HEADER}1.2;{CIPHER};{id}\n"),
        None => format!("{HEADER}1.1;{CIPHER}\n"),
    };
    for row in digits.as_bytes().chunks(WIDTH) {
        text.extend(row.iter().map(|digit| char::from(*digit)));
        text.push('\n');
    }
    text
}

/// What a password and a salt come to.
struct Keys(Zeroizing<[u8; DERIVED]>);

impl Keys {
    fn derive(key: &Key, salt: &[u8]) -> Self {
        let mut derived = Zeroizing::new([0; DERIVED]);
        pbkdf2::pbkdf2_hmac::<Sha256>(&key.0, salt, ROUNDS, &mut *derived);
        Self(derived)
    }

    fn seal(&self, content: &[u8]) -> Hmac<Sha256> {
        let mut key = [0; 32];
        key.copy_from_slice(&self.0[32..64]);
        // The block of HMAC-SHA256 has 64 bytes; a shorter key is filled up with zeros.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&key);
        let mut seal = Hmac::<Sha256>::new(&block.into());
        key.zeroize();
        block.zeroize();
        seal.update(content);
        seal
    }

    /// Encrypts or decrypts in place, which is the same.
    fn apply(&self, content: &mut [u8]) {
        let (mut key, mut counter) = ([0; 32], [0; BLOCK]);
        key.copy_from_slice(&self.0[..32]);
        counter.copy_from_slice(&self.0[64..]);
        Ctr128BE::<Aes256>::new(&key.into(), &counter.into()).apply_keystream(content);
        key.zeroize();
    }
}

/// The id of the first line.
fn header(line: &str) -> Result<Option<String>, Damage> {
    let at = |column: usize, what: String| Damage { what, line: 1, column: u32::try_from(column).unwrap_or(1) };
    let Some(rest) = line.trim_end().strip_prefix(HEADER) else {
        return Err(at(1, format!("not a vault file: it does not begin with `{HEADER}`")));
    };
    let mut parts = rest.split(';').map(str::trim);
    let (version, cipher, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
    if !matches!(version, "1.1" | "1.2") {
        let what = format!("vault file version `{}` is not supported, only 1.1 and 1.2", version.escape_debug());
        return Err(at(HEADER.len() + 1, what));
    }
    if cipher != CIPHER {
        let what = format!("cipher `{}` is not supported, only {CIPHER}", cipher.escape_debug());
        return Err(at(HEADER.len() + version.len() + 2, what));
    }
    Ok(id.filter(|id| !id.is_empty()).map(str::to_owned))
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from(DIGITS[usize::from(n)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Adds the bytes that a line of hexadecimal digits spells.
fn unhex(text: &str, line: u32, bytes: &mut Vec<u8>) -> Result<(), Damage> {
    let damage = |column: usize, what: &str| Damage {
        what: format!("the vault file is damaged: {what}"),
        line,
        column: u32::try_from(column + 1).unwrap_or(1),
    };
    let indent = text.len() - text.trim_start().len();
    let digits = text.trim_start().as_bytes();
    bytes.reserve(digits.len() / 2);
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
    for (index, pair) in digits.chunks(2).enumerate() {
        let column = indent + index * 2;
        let &[high, low] = pair else { return Err(damage(column, "this line has an odd number of digits")) };
        let (Some(high), Some(low)) = (value(high), value(low)) else {
            return Err(damage(column, "only hexadecimal digits are allowed here"));
        };
        bytes.push(high << 4 | low);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(text: &str) -> Key {
        Key::new(text.as_bytes().to_vec()).unwrap_or_else(|| panic!("a key"))
    }

    /// Made by `ansible-vault` 2.19 of `secret: hunter2` and a line break, with the password `correct horse`.
    const REAL: &str = include_str!("../tests/cases/vault/real-1.1.yml");

    #[test]
    fn a_file_of_ansible_vault_is_read() {
        let envelope = Envelope::parse(REAL).unwrap_or_else(|damage| panic!("{damage:?}"));
        let opened = envelope.open(&key("correct horse\n")).unwrap_or_else(|closed| panic!("{closed}"));
        assert_eq!(opened.expose().as_slice(), b"secret: hunter2\n");
        assert_eq!(envelope.open(&key("correct pony")), Err(Closed::Seal));
        assert_eq!(envelope.id, None);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_place() {
        let lines: Vec<&str> = REAL.lines().collect();
        let with = |line: usize, text: &str| {
            let mut lines = lines.clone();
            lines[line] = text;
            lines.join("\n")
        };
        for (text, what, place) in [
            (String::new(), "does not begin with", (1, 1)),
            (with(0, "$ANSIBLE_VAULT;1.0;AES"), "version `1.0`", (1, 16)),
            (with(0, "$ANSIBLE_VAULT;2.0;AES256"), "version `2.0`", (1, 16)),
            (with(0, "$ANSIBLE_VAULT;1.1;AES"), "cipher `AES`", (1, 20)),
            (with(2, "xyz"), "only hexadecimal", (3, 1)),
            (with(2, "616"), "odd number", (3, 3)),
            (lines[..1].join("\n"), "its salt is missing", (2, 1)),
            (lines[..3].join("\n"), "its seal is missing or truncated", (2, 1)),
            (lines[..5].join("\n"), "a part of its content is missing", (2, 1)),
            (with(5, &lines[5][4..]), "a part of its content is missing", (2, 1)),
        ] {
            let damage = Envelope::parse(&text).expect_err(&text);
            assert!(damage.what.contains(what), "{what}: {damage:?}");
            assert_eq!((damage.line, damage.column), place, "{what}");
        }
    }

    #[test]
    fn white_space_around_a_password_is_no_part_of_it() {
        assert!(key(" a b \r\n").is(&key("a b")));
        assert!(Key::new(b" \n".to_vec()).is_none());
        assert_eq!(format!("{:?}", key("hunter2")), "***");
    }

    #[test]
    fn an_id_is_one_word() {
        for good in ["prod", "a-b_c.d", "ä"] {
            assert_eq!(check_id(good), Ok(()), "{good}");
        }
        for bad in ["", "a;b", "a b", "a\n", "\u{1b}[2J"] {
            assert!(check_id(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn what_was_encrypted_is_decrypted(
            plain in proptest::collection::vec(any::<u8>(), 0..200),
            salt in any::<[u8; SALT]>(),
            id in proptest::option::of("[a-z]{1,8}"),
        ) {
            let text = seal(&plain, &key("k"), id.as_deref(), &salt);
            let envelope = Envelope::parse(&text).map_err(|damage| TestCaseError::fail(damage.to_string()))?;
            prop_assert_eq!(&envelope.id, &id.filter(|id| id != DEFAULT_ID));
            let opened = envelope.open(&key("k"));
            prop_assert_eq!(opened.as_ref().map(Secret::expose), Ok(&plain));
        }

        /// Every byte after the first line is of the salt, the seal or the content; and a changed first line is refused or
        /// changes nothing but the id, which is no part of what is sealed.
        #[test]
        fn a_changed_byte_is_refused_or_changes_nothing(place in any::<prop::sample::Index>(), bit in 0..7_u8) {
            let text = seal(b"attack at dawn", &key("k"), None, &[7; SALT]);
            let body = text.find('\n').map_or(0, |at| at + 1);
            let at = body + place.index(text.len() - body);
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let changed = String::from_utf8_lossy(&bytes).into_owned();
            // A digit may be written large, at each of the two layers, and lines may be broken elsewhere: what opens is what
            // was sealed.
            let opened = Envelope::parse(&changed).map(|envelope| envelope.open(&key("k")));
            if let Ok(Ok(plain)) = opened {
                prop_assert_eq!(plain.expose().as_slice(), b"attack at dawn", "{} {}", at, bit);
            }
        }
    }
}
