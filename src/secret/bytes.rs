//! Bytes as they are written down: a text where they are one, base64 where they are not.
//!
//! In: bytes. Out: `"text"` or `{"base64": "..."}`, and back. Never: another byte than before.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// How bytes are written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Written {
    /// They are UTF-8.
    Text(String),
    /// They are not.
    Base64 {
        /// The bytes.
        base64: String,
    },
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
    Written::of(bytes).serialize(serializer)
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

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.as_deref().map(Written::of).serialize(serializer)
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
