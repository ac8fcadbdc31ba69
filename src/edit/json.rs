//! A value at a path of a JSON document.
//!
//! In: the path and the value. Out: the document in which only that value, or the way to it, is different; indentation,
//! the order of keys, the way numbers are written and comments stay. Never: one of two values of one key.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{
    CstArray, CstContainerNode, CstInputValue, CstLeafNode, CstNode, CstObject, CstObjectProp, CstRootNode,
};
use serde_json::Value;

use super::path::{Path, Segment};
use super::{EditError, utf8, wrong};
use crate::secret::Content;

/// A value of a JSON file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Json {
    /// Where it is.
    pub path: Path,
    /// The value, as JSON; none if it is not wanted.
    pub value: Option<Content>,
}

/// JSON as programs write it; comments, which some take too, are kept where they are.
const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_loose_object_property_names: false,
    allow_trailing_commas: true,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

impl Json {
    pub(super) fn apply(&self, text: &str) -> Result<String, EditError> {
        let wanted = self.value.as_ref().map(value).transpose()?;
        if wanted.is_none() && text.trim().is_empty() {
            return Ok(text.to_owned());
        }
        let document = if text.trim().is_empty() { empty(&self.path) } else { text };
        let root = CstRootNode::parse(document, &OPTIONS)
            .or_else(|error| wrong(format!("invalid JSON: {}", error.to_string().escape_debug())))?;
        let Some(top) = root.value() else { return wrong("invalid JSON: there are only comments") };
        match &wanted {
            Some(value) => put(&top, &self.path.0, value)?,
            None => take(&top, &self.path.0)?,
        }
        Ok(root.to_string())
    }
}

/// What a document says.
pub(super) fn document(text: &str) -> Result<Value, EditError> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    let root = CstRootNode::parse(text, &OPTIONS).or_else(|_| wrong("invalid JSON"))?;
    Ok(root.to_serde_value().unwrap_or_default())
}

/// What a new file begins with.
fn empty(path: &Path) -> &'static str {
    if matches!(path.0.first(), Some(Segment::Item(_))) { "[]\n" } else { "{}\n" }
}

/// The value that a JSON text means.
pub(super) fn value(content: &Content) -> Result<Value, EditError> {
    // The parser's own words could repeat a part of a secret.
    serde_json::from_str(utf8(content)?).or_else(|_| wrong("the value is not JSON"))
}

fn put(node: &CstNode, path: &[Segment], value: &Value) -> Result<(), EditError> {
    match path {
        [Segment::Key(key), rest @ ..] => {
            let object = object(node, key)?;
            match (property(&object, key)?, rest) {
                (None, rest) => drop(object.append(key, input(&nested(rest, value)?))),
                (Some(found), []) if found.value().and_then(|node| node.to_serde_value()).as_ref() == Some(value) => {}
                (Some(found), []) => found.set_value(input(value)),
                (Some(found), rest) => put(&valued(&found, key)?, rest, value)?,
            }
        }
        [Segment::Item(item), rest @ ..] => {
            let array = array(node, *item)?;
            let elements = array.elements();
            match (elements.get(*item), rest) {
                (None, rest) if *item == elements.len() => drop(array.append(input(&nested(rest, value)?))),
                (None, _) => {
                    return wrong(format!("item {item} does not exist: the list has only {} items", elements.len()));
                }
                (Some(found), []) if found.to_serde_value().as_ref() == Some(value) => {}
                (Some(found), []) => swap(found, input(value)),
                (Some(found), rest) => put(found, rest, value)?,
            }
        }
        [] => return wrong("no key is given"),
    }
    Ok(())
}

fn swap(old: &CstNode, new: CstInputValue) {
    match old {
        CstNode::Container(CstContainerNode::Object(object)) => drop(object.clone().replace_with(new)),
        CstNode::Container(CstContainerNode::Array(array)) => drop(array.clone().replace_with(new)),
        CstNode::Leaf(CstLeafNode::StringLit(text)) => drop(text.clone().replace_with(new)),
        CstNode::Leaf(CstLeafNode::NumberLit(number)) => drop(number.clone().replace_with(new)),
        CstNode::Leaf(CstLeafNode::BooleanLit(yes)) => drop(yes.clone().replace_with(new)),
        CstNode::Leaf(CstLeafNode::NullKeyword(null)) => drop(null.clone().replace_with(new)),
        // No value of JSON.
        _ => {}
    }
}

fn take(node: &CstNode, path: &[Segment]) -> Result<(), EditError> {
    match path {
        [Segment::Key(key), rest @ ..] => match (property(&object(node, key)?, key)?, rest) {
            (None, _) => {}
            (Some(found), []) => found.remove(),
            (Some(found), rest) => take(&valued(&found, key)?, rest)?,
        },
        [Segment::Item(item), rest @ ..] => match (array(node, *item)?.elements().get(*item), rest) {
            (None, _) => {}
            (Some(_), []) => return wrong("an item of a list cannot be absent: the items after it would move up"),
            (Some(found), rest) => take(found, rest)?,
        },
        [] => return wrong("no key is given"),
    }
    Ok(())
}

fn object(node: &CstNode, key: &str) -> Result<CstObject, EditError> {
    node.as_object().map_or_else(|| wrong(format!("the parent of the key `{}` is not a map", key.escape_debug())), Ok)
}

fn array(node: &CstNode, item: usize) -> Result<CstArray, EditError> {
    node.as_array().map_or_else(|| wrong(format!("the parent of the item {item} is not a list")), Ok)
}

fn property(object: &CstObject, key: &str) -> Result<Option<CstObjectProp>, EditError> {
    let mut named = object.properties().into_iter().filter(|found| found.decoded_name().as_deref() == Some(key));
    match (named.next(), named.next()) {
        (_, Some(_)) => wrong(format!("the key `{}` is there more than once", key.escape_debug())),
        (found, None) => Ok(found),
    }
}

fn valued(property: &CstObjectProp, key: &str) -> Result<CstNode, EditError> {
    property.value().map_or_else(|| wrong(format!("the key `{}` has no value", key.escape_debug())), Ok)
}

/// The value with the maps and lists on the way to it, where there are none yet.
pub(super) fn nested(path: &[Segment], value: &Value) -> Result<Value, EditError> {
    match path {
        [] => Ok(value.clone()),
        [Segment::Key(key), rest @ ..] => {
            Ok(Value::Object([(key.clone(), nested(rest, value)?)].into_iter().collect()))
        }
        [Segment::Item(0), rest @ ..] => Ok(Value::Array(vec![nested(rest, value)?])),
        [Segment::Item(item), ..] => wrong(format!("item {item} does not exist: the list is empty")),
    }
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(yes) => CstInputValue::Bool(*yes),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(entries) => {
            CstInputValue::Object(entries.iter().map(|(key, value)| (key.clone(), input(value))).collect())
        }
    }
}
