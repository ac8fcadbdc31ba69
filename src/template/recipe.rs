//! A value of YAML with templates in it: what is computed, and what is written as it is.

use std::collections::BTreeSet;

use super::Rendered;
use super::formula::{Formula, single};
use super::scope::Scope;
use super::text::Text;
use crate::diag::{Diagnostic, Diagnostics, Origin};
use crate::secret::{Datum, Secrecy};
use crate::yaml::{Node, Yaml};

/// What to do with a secret where a role is written.
const ELSEWHERE: &str = "set it for a group, a host or a service, and use it here by its name: \"{{ name }}\"";

/// A value of YAML with templates in it, compiled.
#[derive(Debug, Clone)]
pub enum Recipe {
    /// Nothing to compute.
    Literal(Datum, Origin),
    /// One single `{{ expression }}`: keeps its type.
    Formula(Formula),
    /// A text with expressions in it.
    Text(Text),
    /// A list of which some item must be computed.
    List(Vec<Recipe>, Origin),
    /// A map of which some value must be computed.
    Map(Vec<(String, Recipe)>, Origin),
}

impl Recipe {
    /// The value, where nothing has to be computed.
    pub fn literal(&self) -> Option<&Datum> {
        match self {
            Self::Literal(data, _) => Some(data),
            _ => None,
        }
    }

    /// Compiles a value.
    ///
    /// # Errors
    /// Every text in it that is no template.
    pub fn parse(node: &Node) -> Result<Self, Diagnostics> {
        let at = || node.origin.clone();
        let recipe = match &node.value {
            Yaml::Text(text) => Self::text(text, node)?,
            Yaml::List(items) => {
                let items = collect(items.iter().map(Self::parse))?;
                Self::List(items, at())
            }
            Yaml::Map(entries) => {
                let values = collect(entries.iter().map(|(_, node)| Self::parse(node)))?;
                Self::Map(entries.iter().map(|(key, _)| key.name.clone()).zip(values).collect(), at())
            }
            Yaml::Encrypted(_) | Yaml::Secret(_) => {
                let problem = Diagnostic::error(format!("{} is not allowed here", node.kind())).at(&node.origin);
                return Err(problem.hint(ELSEWHERE).into());
            }
            _ => Self::Literal(node.to_json().into(), at()),
        };
        Ok(if recipe.is_constant() { Self::Literal(node.to_json().into(), at()) } else { recipe })
    }

    fn text(text: &str, node: &Node) -> Result<Self, Diagnostics> {
        if !text.contains("{{") && !text.contains("{%") && !text.contains("{#") {
            return Ok(Self::Literal(text.into(), node.origin.clone()));
        }
        // With as much as a line break around it, it is a text.
        match single(text).filter(|_| text.trim() == text) {
            Some(inner) => Ok(Self::Formula(Formula::parse(inner, &node.origin)?)),
            None => Ok(Self::Text(Text::parse(text, &node.origin)?)),
        }
    }

    /// Where it was written.
    pub fn origin(&self) -> &Origin {
        match self {
            Self::Formula(formula) => formula.origin(),
            Self::Text(text) => &text.origin,
            Self::Literal(_, origin) | Self::List(_, origin) | Self::Map(_, origin) => origin,
        }
    }

    /// Whether it is the same in every scope.
    pub fn is_constant(&self) -> bool {
        match self {
            Self::Literal(..) => true,
            Self::Formula(_) | Self::Text(_) => false,
            Self::List(items, _) => items.iter().all(Self::is_constant),
            Self::Map(entries, _) => entries.iter().all(|(_, value)| value.is_constant()),
        }
    }

    /// The text of a key, if it is a map that has it and nothing in the text must be computed.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        match self {
            Self::Literal(data, _) => data.get(key)?.text(),
            Self::Map(entries, _) => match entries.iter().find(|(k, _)| k == key).map(|(_, value)| value) {
                Some(Self::Literal(data, _)) => data.text(),
                _ => None,
            },
            _ => None,
        }
    }

    /// Computes it.
    ///
    /// # Errors
    /// Everything in it that cannot be computed.
    pub fn render(&self, scope: &Scope) -> Result<Rendered, Diagnostics> {
        let secrecy = |parts: &[Rendered]| parts.iter().fold(Secrecy::Open, |all, part| all.with(part.secrecy));
        match self {
            Self::Literal(data, _) => Ok(Rendered { data: data.clone(), secrecy: Secrecy::Open }),
            Self::Formula(formula) => Ok(formula.render(scope)?),
            Self::Text(text) => {
                let (text, secrecy) = text.render(scope)?;
                Ok(Rendered::new(text.into(), secrecy))
            }
            Self::List(items, _) => {
                let items = collect(items.iter().map(|item| item.render(scope)))?;
                let secrecy = secrecy(&items);
                Ok(Rendered { data: Datum::List(items.into_iter().map(|item| item.data).collect()), secrecy })
            }
            Self::Map(entries, _) => {
                let values = collect(entries.iter().map(|(_, value)| value.render(scope)))?;
                let secrecy = secrecy(&values);
                let keys = entries.iter().map(|(key, _)| key.clone());
                Ok(Rendered {
                    data: Datum::Map(keys.zip(values.into_iter().map(|value| value.data)).collect()),
                    secrecy,
                })
            }
        }
    }

    /// The names it reads, with their attributes: `facts.os.codename`.
    pub fn reads(&self) -> BTreeSet<String> {
        match self {
            Self::Literal(..) => BTreeSet::new(),
            Self::Formula(formula) => formula.reads(),
            Self::Text(text) => text.reads(),
            Self::List(items, _) => items.iter().flat_map(Self::reads).collect(),
            Self::Map(entries, _) => entries.iter().flat_map(|(_, value)| value.reads()).collect(),
        }
    }
}

/// All values, or all problems.
fn collect<T>(results: impl Iterator<Item = Result<T, Diagnostics>>) -> Result<Vec<T>, Diagnostics> {
    let mut problems = Diagnostics::new();
    let values: Vec<T> = results.filter_map(|result| problems.keep(result)).collect();
    problems.result(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Source;
    use crate::template::{Value, value};

    fn scope() -> Scope {
        let mut scope = Scope::default();
        scope.set("port", Value::from(2181));
        scope.set("hosts", value(&["a", "b"]));
        scope.set_as("token", Value::from("hunter2"), Secrecy::Secret);
        scope.set_as("pins", value(&[[1234]]), Secrecy::Secret);
        let mut provided = Scope::default();
        provided.set("address", Value::from("db1"));
        provided.set_as("password", Value::from("hunter2"), Secrecy::Secret);
        scope.set("db", provided.to_value());
        scope
    }

    fn render(yaml: &str) -> Result<Rendered, Diagnostics> {
        let node = crate::yaml::parse(&Source::new("role.yml", yaml))?;
        Recipe::parse(&node)?.render(&scope())
    }

    #[test]
    fn one_single_expression_keeps_its_type() {
        assert_eq!(render("\"{{ port }}\"").map(|r| r.data), Ok(serde_json::json!(2181).into()));
        assert_eq!(render("\"{{ port }}!\"").map(|r| r.data), Ok(serde_json::json!("2181!").into()));
        assert_eq!(render("\"{{ port }}\\n\"").map(|r| r.data), Ok(serde_json::json!("2181\n").into()));
        assert_eq!(render("[\"{{ hosts }}\"]").map(|r| r.data), Ok(serde_json::json!([["a", "b"]]).into()));
        assert_eq!(render("{a: 1, b: [x]}").map(|r| r.data), Ok(serde_json::json!({"a": 1, "b": ["x"]}).into()));
    }

    #[test]
    fn values_are_never_rendered_twice() {
        let node = crate::yaml::parse(&Source::new("x", "\"{{ x }}\"")).unwrap_or_else(|d| panic!("{d}"));
        let mut scope = Scope::default();
        scope.set("x", Value::from("{{ 7 * 7 }}"));
        let recipe = Recipe::parse(&node).unwrap_or_else(|d| panic!("{d}"));
        assert_eq!(recipe.render(&scope).map(|r| r.data), Ok("{{ 7 * 7 }}".into()));
    }

    #[test]
    fn what_a_secret_went_into_is_secret() {
        for text in [
            "token",
            "'x' ~ token",
            "[token] | join(',')",
            "token | length",
            "token[0]",
            "token == 'x'",
            "'a' if token else 'b'",
            "pins[0][0] + 1",
            "db.password",
        ] {
            for yaml in [format!("\"{{{{ {text} }}}}\""), format!("\"a {{{{ {text} }}}} b\"")] {
                let rendered = render(&yaml).unwrap_or_else(|d| panic!("{d}"));
                assert!(rendered.secrecy.is_secret(), "{yaml}: {rendered:?}");
                assert!(matches!(rendered.data, Datum::Secret(_)), "{yaml}: {rendered:?}");
            }
        }
        let whole = |text: &str| render(text).unwrap_or_else(|d| panic!("{d}"));
        assert_eq!(
            whole("\"{{ pins }}\"").data,
            Datum::List(vec![Datum::List(vec![Datum::hidden(serde_json::json!(1234))])])
        );
        assert_eq!(whole("\"{{ db }}\"").data.get("password"), Some(&Datum::secret("hunter2")));
        assert_eq!(whole("\"{% for n in pins %}{{ n[0] }}{% endfor %}\"").data, Datum::secret("1234"));
        for text in ["\"{{ port }}\"", "\"{{ db.address }}\"", "\"{% set x = port %}{{ x }}\""] {
            assert!(!whole(text).secrecy.is_secret(), "{text}");
        }
    }

    #[test]
    fn an_encrypted_value_is_not_written_where_values_are_computed() {
        let problems = render("a: !vault x").expect_err("no place for it").to_string();
        assert!(
            problems.contains("an encrypted value is not allowed here") && problems.contains("role.yml:1:4"),
            "{problems}"
        );
    }

    #[test]
    fn all_problems_of_a_value_come_at_once() {
        assert_eq!(render("[\"{{ a }}\", \"{{ b }}\"]").expect_err("two").iter().count(), 2);
    }
}
