//! Digests of what may hold a secret, as they are written down.
//!
//! In: a digest. Out: the same, or sealed where secrets are. Never: a digest in clear from which a short secret could be
//! guessed.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Digest;
use crate::secret::Secret;
use crate::secret::guards_digests;

/// For `#[serde(with)]`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(digest: &Option<Digest>, serializer: S) -> Result<S::Ok, S::Error> {
    match digest {
        Some(digest) if guards_digests() => Secret::new(digest.0.clone()).serialize(serializer),
        other => other.serialize(serializer),
    }
}

/// For `#[serde(with)]`.
///
/// # Errors
/// When it is neither.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Digest>, D::Error> {
    Ok(Option::<Written>::deserialize(deserializer)?.map(Written::digest))
}

/// A digest as it may be written down.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Open(Digest),
    Sealed(Secret<String>),
}

impl Written {
    fn digest(self) -> Digest {
        match self {
            Self::Open(digest) => digest,
            Self::Sealed(secret) => Digest(secret.expose().clone()),
        }
    }
}

/// The same for several.
pub mod many {
    use super::{Deserialize, Deserializer, Digest, Serializer, Written};

    #[derive(serde::Serialize)]
    struct One<'a>(#[serde(serialize_with = "one")] &'a Digest);

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    fn one<S: Serializer>(digest: &&Digest, serializer: S) -> Result<S::Ok, S::Error> {
        super::serialize(&Some((*digest).clone()), serializer)
    }

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(digests: &[Digest], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(digests.iter().map(One))
    }

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Digest>, D::Error> {
        Ok(Vec::<Written>::deserialize(deserializer)?.into_iter().map(Written::digest).collect())
    }
}
