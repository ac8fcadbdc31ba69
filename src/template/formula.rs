//! One expression: compiled once, computed in any scope.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use minijinja::{Expression, Value};

use super::Rendered;
use super::engine::ENGINE;
use super::problem::{problem, undefined};
use super::scope::{Scope, TOUCHED};
use crate::diag::{Diagnostic, Origin};
use crate::secret::Secrecy;

/// One compiled expression, as after `when:` or inside one pair of `{{ }}`.
#[derive(Clone)]
pub struct Formula {
    expression: Arc<Expression<'static, 'static>>,
    text: Arc<str>,
    origin: Origin,
}

impl fmt::Debug for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl Formula {
    /// Compiles an expression written at a place, with or without `{{ }}` around it.
    ///
    /// # Errors
    /// When it is no expression.
    pub fn parse(text: &str, origin: &Origin) -> Result<Self, Diagnostic> {
        let text = text.trim();
        let text = single(text).unwrap_or(text).trim();
        let expression =
            ENGINE.compile_expression_owned(text.to_owned()).map_err(|e| problem(&e, text, origin, None))?;
        Ok(Self { expression: Arc::new(expression), text: text.into(), origin: origin.clone() })
    }

    /// What it comes to.
    ///
    /// # Errors
    /// When a name is not defined, or an operation does not fit its values.
    pub fn value(&self, scope: &Scope) -> Result<Value, Diagnostic> {
        TOUCHED.set(Secrecy::Open);
        let failed = |error: &minijinja::Error| problem(error, &self.text, &self.origin, Some(scope));
        let value = self.expression.eval(scope.to_value()).map_err(|error| failed(&error))?;
        if value.is_undefined() {
            return Err(undefined(&self.text, &self.text, 0, &self.origin, Some(scope)));
        }
        Ok(value)
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// As [`Formula::value`].
    pub fn holds(&self, scope: &Scope) -> Result<bool, Diagnostic> {
        Ok(self.value(scope)?.is_true())
    }

    /// The items of the list it comes to, and whether a secret went into it.
    ///
    /// # Errors
    /// As [`Formula::value`], and when it is no list.
    pub fn items(&self, scope: &Scope) -> Result<(Vec<Value>, Secrecy), Diagnostic> {
        let value = self.value(scope)?;
        match value.kind() {
            minijinja::value::ValueKind::Seq | minijinja::value::ValueKind::Iterable => {
                let items = value.try_iter().map(Iterator::collect).unwrap_or_default();
                Ok((items, TOUCHED.get()))
            }
            other => Err(Diagnostic::error(format!("`{}` is {other}, not a list", self.text)).at(&self.origin)),
        }
    }

    /// The names it reads, with their attributes.
    pub fn reads(&self) -> BTreeSet<String> {
        self.expression.undeclared_variables(true).into_iter().collect()
    }

    /// Where it was written.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn render(&self, scope: &Scope) -> Result<Rendered, Diagnostic> {
        let value = self.value(scope)?;
        let data = serde_json::to_value(&value)
            .map_err(|e| Diagnostic::error(format!("`{}` is not plain data: {e}", self.text)).at(&self.origin))?;
        Ok(Rendered::new(data, TOUCHED.get()))
    }
}

/// The text between the braces, if the whole is one `{{ expression }}`.
pub(super) fn single(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    // `{{ a }} and {{ b }}` begins and ends alike; a whole expression never has these inside.
    (!inner.contains("{{") && !inner.contains("}}") && !inner.contains("{%")).then_some(inner)
}
