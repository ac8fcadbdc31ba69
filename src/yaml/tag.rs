//! Tags: `!vault`, `!unsafe`, and those of YAML's own schema.
//!
//! In: the two parts of a tag. Out: what it makes of the value behind it, or what is wrong. Never: a tag passed over: what
//! it asks for would not happen, and nobody would know.

use super::Mark;
use crate::diag::{Diagnostic, Origin};

/// YAML's own tags, as they are written with `!!`.
const SCHEMA: &str = "tag:yaml.org,2002:";

/// What a tag makes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// What it is by itself.
    Own,
    /// A text, also if it looks like a number.
    Text,
    /// The same, and no template.
    Unsafe,
    /// A list or a map.
    Collection,
    /// A text that `ansible-vault` encrypted.
    Encrypted,
}

impl Meaning {
    /// What it says besides the type.
    pub(super) fn mark(self) -> Mark {
        if self == Self::Unsafe { Mark::Unsafe } else { Mark::None }
    }
}

/// What a tag means, if it means something.
pub(super) fn meaning(handle: &str, suffix: &str) -> Option<Meaning> {
    match (handle, suffix) {
        ("!", "vault" | "vault-encrypted") => Some(Meaning::Encrypted),
        ("!", "unsafe") => Some(Meaning::Unsafe),
        ("", "!") | (SCHEMA, "str") => Some(Meaning::Text),
        (SCHEMA, "int" | "float" | "bool" | "null") => Some(Meaning::Own),
        (SCHEMA, "seq" | "map") => Some(Meaning::Collection),
        _ => None,
    }
}

/// A tag that means nothing here.
pub(super) fn unknown(handle: &str, suffix: &str, at: &Origin) -> Diagnostic {
    let written = if handle == SCHEMA { format!("!!{suffix}") } else { format!("{handle}{suffix}") };
    let problem = if at.source.secrecy.is_secret() {
        Diagnostic::error("this tag is not known")
    } else {
        Diagnostic::error(format!("the tag `{written}` is not known"))
    };
    problem
        .at(at)
        .hint("a value may have `!vault` or `!unsafe` before it; a text that begins with `!` must be in quotes")
}
