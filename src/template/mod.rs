//! Expressions and templates. The only room that names minijinja.
//!
//! In: texts with `{{ }}` and `{% %}`, the template files they may include, and a scope of values. Out: values, each with
//! the answer to "was a secret read for it". Never: a value rendered twice, an undefined name that becomes an empty text, a
//! file system, or a clock.

mod engine;
mod formula;
mod library;
mod problem;
mod recipe;
mod scope;
mod text;

pub use formula::Formula;
pub use library::{Folder, Library};
pub use minijinja::Value;
pub use recipe::Recipe;
pub use scope::{Scope, extend, value};
pub use text::Text;

use crate::secret::{Datum, Secrecy};

/// What came out of an expression or template.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The value. What a secret went into is secret in it.
    pub data: Datum,
    /// Whether a secret went into any of it.
    pub secrecy: Secrecy,
}

impl Rendered {
    /// A result as secret as what went into it.
    fn new(data: serde_json::Value, secrecy: Secrecy) -> Self {
        let data = if secrecy.is_secret() { Datum::hidden(data) } else { Datum::from(data) };
        Self { data, secrecy }
    }
}
