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
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Any {
        Open(Digest),
        Sealed(Secret<String>),
    }
    Ok(Option::<Any>::deserialize(deserializer)?.map(|any| match any {
        Any::Open(digest) => digest,
        Any::Sealed(secret) => Digest(secret.expose().clone()),
    }))
}
