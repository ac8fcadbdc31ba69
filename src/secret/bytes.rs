//! Bytes as they are written down: a text where they are one, base64 where they are not; as they are in a format that no
//! person reads.
//!
//! In: bytes. Out: `"text"` or `{"base64": "..."}` or the bytes, and back. Never: another byte than before.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How bytes are written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Written {
    /// As they are, in a format that has bytes.
    Raw(Raw),
    /// They are UTF-8.
    Text(String),
    /// They are not.
    Base64 {
        /// The bytes.
        base64: String,
    },
}

/// Bytes of a format that has them.
pub(super) struct Raw(Vec<u8>);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Raw;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Raw, E> {
                Ok(Raw(bytes.to_vec()))
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Raw, E> {
                Ok(Raw(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

impl Written {
    pub(super) fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64 { base64: STANDARD.encode(bytes) },
        }
    }

    pub(super) fn bytes(self) -> Result<Vec<u8>, String> {
        match self {
            Self::Raw(Raw(bytes)) => Ok(bytes),
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Base64 { base64 } => STANDARD.decode(base64).map_err(|error| format!("invalid base64: {error}")),
        }
    }
}

/// For `#[serde(with)]`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        Written::of(bytes).serialize(serializer)
    } else {
        serializer.serialize_bytes(bytes)
    }
}

/// For `#[serde(with)]`.
///
/// # Errors
/// When it is neither a text nor base64.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    Written::deserialize(deserializer)?.bytes().map_err(D::Error::custom)
}

/// The same for bytes that may be missing.
pub mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use super::Written;

    struct Bytes<'a>(&'a [u8]);

    impl Serialize for Bytes<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            super::serialize(self.0, serializer)
        }
    }

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.as_deref().map(Bytes).serialize(serializer)
    }

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// When it is neither a text nor base64.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        let written = Option::<Written>::deserialize(deserializer)?;
        written.map(Written::bytes).transpose().map_err(D::Error::custom)
    }
}
