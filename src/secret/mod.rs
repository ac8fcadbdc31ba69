//! A value that must not be seen.
//!
//! In: a password, token or key. Out: a type that prints as `***` wherever it is shown.
//! Never: a secret in `Debug`, `Display`, a log or a plan; who needs the value says [`Secret::expose`].

pub mod bytes;
mod datum;
mod sealed;

use std::fmt;
use std::path::{Component, Path};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

pub use datum::{Datum, as_text, too_large};
pub use sealed::{Guard, Secrets, guards_digests, hiding, sealing, unsealing};

/// Whether somebody must not see a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Secrecy {
    /// Anyone may see it.
    #[default]
    Open,
    /// Nobody may see it.
    Secret,
}

impl Secrecy {
    /// Whether nobody may see it.
    pub fn is_secret(self) -> bool {
        self == Self::Secret
    }

    /// Of what is made of both: one secret makes the whole one.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        self.max(other)
    }
}

/// How a secret looks wherever it is shown.
pub const MASK: &str = "***";

/// A value that prints as [`MASK`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Each call is a place to look at when asking who can see it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// The shortest secret that is looked for in a text: shorter ones would mask half of every word.
const SHORTEST: usize = 4;

/// A text without these secrets: what a program on a host says may repeat what it was given.
pub fn masked(text: &str, secrets: &[Secret<String>]) -> String {
    let long = secrets.iter().map(|secret| secret.expose().trim()).filter(|secret| secret.len() >= SHORTEST);
    long.fold(text.to_owned(), |text, secret| if text.contains(secret) { text.replace(secret, MASK) } else { text })
}

/// Bytes for a file or a program's input; printed masked when a secret went into them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// Anyone may see it.
    Plain(Vec<u8>),
    /// A secret is in it.
    Secret(Secret<Vec<u8>>),
}

impl Content {
    /// The bytes, for whoever writes or compares them.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Secret(bytes) => bytes.expose(),
        }
    }

    /// Whether a secret is in it.
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(bytes) => write!(f, "{:?}", String::from_utf8_lossy(bytes)),
            Self::Secret(secret) => fmt::Debug::fmt(secret, f),
        }
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Plain(text.as_bytes().to_vec())
    }
}

/// A file of the project that is too large for memory, plans and messages: it is named, and its bytes are read when a host asks
/// for them. No secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LargeFile {
    /// Where it is, from the folder of the project, and below it: a plan of somebody else sends no other file of this machine.
    #[serde(deserialize_with = "below")]
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// Of its bytes: 64 hexadecimal digits.
    pub sha256: String,
}

impl LargeFile {
    /// The folder of its project.
    ///
    /// # Errors
    /// When there is none here.
    pub fn folder<'a>(&self, project: Option<&'a Path>) -> Result<&'a Path, String> {
        project.ok_or_else(|| {
            format!("{} is a file of a project, and there is none here: change to its folder", self.path)
        })
    }
}

fn below<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let path = String::deserialize(deserializer)?;
    let is_below = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_)));
    if is_below && !path.is_empty() {
        return Ok(path);
    }
    Err(D::Error::custom(format!("`{}` is not below the folder of the project", path.escape_debug())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_is_shown_without_secrets() {
        let secrets = [Secret::new("hunter2".to_owned()), Secret::new("a".to_owned())];
        assert_eq!(masked("bad password hunter2!", &secrets), "bad password ***!");
    }

    #[test]
    fn a_large_file_is_below_the_folder_of_the_project() {
        let read = |path: &str| {
            let json = serde_json::json!({ "path": path, "size": 1, "sha256": "00" });
            serde_json::from_value::<LargeFile>(json).map(|file| file.path)
        };
        assert_eq!(read("roles/app/files/model.bin").expect("a file"), "roles/app/files/model.bin");
        for path in ["", "/etc/shadow", "../secret", "files/../../secret", "./x"] {
            assert!(read(path).is_err_and(|why| why.to_string().contains("not below the folder")), "{path}");
        }
    }

    #[test]
    fn a_secret_is_masked_however_it_is_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(
            format!("{secret} {secret:?} {:?}", Content::Secret(Secret::new(b"hunter2".to_vec()))),
            "*** *** ***"
        );
    }
}
