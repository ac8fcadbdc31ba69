//! What kinds share that speak JSON: wanted values with secrets among them, held against what was found.
//!
//! In: values as the catalog hands them over, and what a host answered. Out: whether they are the same, and two texts that
//! show the difference. Never: a secret in a text that is shown.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Field, FieldValue};
use crate::secret::{Content, Datum, MASK, Secret, as_text, masked};

/// Any data, secrets among it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Values(Datum);

/// What may be there that nobody asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Compare {
    /// What is wanted must be there; more keys in its maps do not matter.
    #[default]
    Subset,
    /// Nothing else may be there.
    Exact,
}

impl Default for Values {
    fn default() -> Self {
        Self(Datum::Map(Vec::new()))
    }
}

impl JsonSchema for Values {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "data".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["object", "array", "string", "number", "boolean"] })
    }
}

impl Values {
    /// The entries, if it is a map.
    pub(super) fn map(&self) -> Option<&[(String, Datum)]> {
        self.0.map()
    }

    /// The values themselves, secrets among them.
    pub(super) fn expose(&self) -> Secret<Value> {
        Secret::new(self.0.exposed())
    }

    /// As plain data, if there is no secret among them.
    pub(super) fn plain(&self) -> Option<Value> {
        self.0.plain()
    }

    /// All of it as JSON in one line, for a program or a server.
    pub(super) fn content(&self) -> Content {
        sealed(self.expose().expose().to_string().into_bytes(), self.has_secrets())
    }

    /// Whether a secret is among them.
    pub(super) fn has_secrets(&self) -> bool {
        self.0.has_secret()
    }

    /// Every secret among them.
    pub(super) fn secrets(&self) -> Vec<Secret<String>> {
        self.0.secrets()
    }

    /// The same without some keys of its outermost map.
    pub(super) fn without(&self, keys: &[String]) -> Self {
        let Datum::Map(entries) = &self.0 else { return self.clone() };
        Self(Datum::Map(entries.iter().filter(|(key, _)| !keys.contains(key)).cloned().collect()))
    }

    /// The same with every number and every yes or no of its outermost map as a text.
    pub(super) fn in_lines(&self) -> Self {
        let text = |value: &Datum| match value {
            Datum::Map(_) | Datum::Text(_) => value.clone(),
            Datum::Secret(secret) => Datum::secret(as_text(secret).expose().as_str()),
            other if other.has_secret() => Datum::secret(other.exposed().to_string()),
            other => Datum::Text(other.exposed().to_string()),
        };
        Self(Datum::Map(self.map().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()))
    }

    /// How what was found differs; none if it does not.
    pub(super) fn difference(&self, name: &'static str, found: &Value, how: Compare) -> Option<Field> {
        let sides = Comparison { how, secrets: self.secrets() }.sides(&self.0, found);
        (!sides.same).then(|| diff(name, &text(&sides.from), &text(&sides.to)))
    }

    /// All of it as something new.
    pub(super) fn made(&self, name: &'static str) -> Field {
        diff(name, "", &text(&self.0.masked()))
    }

    /// What was found as something that goes.
    pub(super) fn gone(&self, name: &'static str, found: &Value) -> Field {
        diff(name, &text(&Comparison { how: Compare::Exact, secrets: self.secrets() }.masked(found)), "")
    }
}

/// Bytes that are a secret if one went into them.
pub(super) fn sealed(bytes: Vec<u8>, secret: bool) -> Content {
    if secret { Content::Secret(Secret::new(bytes)) } else { Content::Plain(bytes) }
}

/// A map without some of its keys; anything else as it is.
pub(super) fn without(value: &Value, keys: &[String]) -> Value {
    let Some(map) = value.as_object() else { return value.clone() };
    Value::Object(map.iter().filter(|(key, _)| !keys.contains(key)).map(|(k, v)| (k.clone(), v.clone())).collect())
}

fn diff(name: &'static str, from: &str, to: &str) -> Field {
    Field { name, value: FieldValue::Diff { from: from.to_owned(), to: to.to_owned() } }
}

/// One value in a line of its own, as people compare it.
fn text(value: &Value) -> String {
    format!("{value:#}\n")
}

struct Comparison {
    how: Compare,
    secrets: Vec<Secret<String>>,
}

/// What is shown of both sides.
struct Sides {
    from: Value,
    to: Value,
    same: bool,
}

impl Comparison {
    fn sides(&self, wanted: &Datum, found: &Value) -> Sides {
        match (wanted, found) {
            (Datum::Secret(leaf), _) => {
                let same = equal(leaf.expose(), found);
                let other = if found.is_null() { Value::Null } else { format!("{MASK} (another)").into() };
                Sides { from: if same { MASK.into() } else { other }, to: MASK.into(), same }
            }
            (Datum::Map(wanted), Value::Object(found)) => self.maps(wanted, found),
            (Datum::List(wanted), Value::Array(found)) if wanted.len() == found.len() => self.lists(wanted, found),
            _ => Sides {
                from: self.masked(found),
                to: wanted.masked(),
                same: wanted.plain().is_some_and(|wanted| equal(&wanted, found)),
            },
        }
    }

    fn maps(&self, wanted: &[(String, Datum)], found: &Map<String, Value>) -> Sides {
        let (mut from, mut to, mut same) = (Map::new(), Map::new(), true);
        for (key, value) in wanted {
            let Some(there) = found.get(key) else {
                to.insert(key.clone(), value.masked());
                same = false;
                continue;
            };
            let sides = self.sides(value, there);
            from.insert(key.clone(), sides.from);
            to.insert(key.clone(), sides.to);
            same &= sides.same;
        }
        let more = found.iter().filter(|(key, _)| wanted.iter().all(|(wanted, _)| wanted != *key));
        for (key, value) in more.filter(|_| self.how == Compare::Exact) {
            from.insert(masked(key, &self.secrets), self.masked(value));
            same = false;
        }
        Sides { from: from.into(), to: to.into(), same }
    }

    fn lists(&self, wanted: &[Datum], found: &[Value]) -> Sides {
        let sides: Vec<Sides> = wanted.iter().zip(found).map(|(wanted, found)| self.sides(wanted, found)).collect();
        let same = sides.iter().all(|sides| sides.same);
        let (from, to): (Vec<Value>, Vec<Value>) = sides.into_iter().map(|sides| (sides.from, sides.to)).unzip();
        Sides { from: from.into(), to: to.into(), same }
    }

    /// A host may say a secret where nobody expects it.
    fn masked(&self, found: &Value) -> Value {
        match found {
            Value::String(text) => masked(text, &self.secrets).into(),
            Value::Object(map) => {
                map.iter().map(|(key, value)| (masked(key, &self.secrets), self.masked(value))).collect()
            }
            Value::Array(items) => items.iter().map(|item| self.masked(item)).collect(),
            other => other.clone(),
        }
    }
}

/// `1` and `1.0` are one number, whoever writes it.
fn equal(one: &Value, other: &Value) -> bool {
    match (one.is_number(), other.is_number()) {
        (true, true) => one == other || one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn difference(wanted: impl Into<Datum>, found: &Value, how: Compare) -> Option<(String, String)> {
        match Values(wanted.into()).difference("values", found, how).map(|field| field.value) {
            Some(FieldValue::Diff { from, to }) => Some((from, to)),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn more_keys_matter_only_where_nothing_else_may_be_there() {
        let (wanted, found) = (json!({ "a": { "b": 1 } }), json!({ "a": { "b": 1.0, "c": 2 }, "d": 3 }));
        assert_eq!(difference(wanted.clone(), &found, Compare::Subset), None);
        assert!(difference(wanted, &found, Compare::Exact).is_some_and(|(from, _)| from.contains("\"d\": 3")));
    }

    #[test]
    fn lists_are_the_same_length() {
        assert_eq!(difference(json!([{ "a": 1 }]), &json!([{ "a": 1, "b": 2 }]), Compare::Subset), None);
        assert!(difference(json!([1]), &json!([1, 2]), Compare::Subset).is_some());
    }

    #[test]
    fn a_secret_is_compared_and_never_shown() {
        let wanted = || Datum::Map(vec![("token".into(), Datum::secret("hunter2")), ("note".into(), "x".into())]);
        assert_eq!(difference(wanted(), &json!({ "token": "hunter2", "note": "x" }), Compare::Subset), None);
        let found = json!({ "token": "older-secret", "note": "it was hunter2", "hunter2": 1 });
        let (from, to) = difference(wanted(), &found, Compare::Exact).expect("it differs");
        for hidden in ["hunter2", "older-secret"] {
            assert!(!format!("{from}{to}{:?}", Values(wanted())).contains(hidden), "{from}{to}");
        }
        assert!(from.contains("*** (another)") && from.contains("it was ***") && to.contains(MASK));
    }
}
