//! The keys of a resource, in a saved plan: plain JSON, and beside it what JSON cannot say.
//!
//! In: keys with secrets and bytes among them. Out: JSON with [`MASK`] in the place of each, and a list of these with the way
//! to them; and the same keys again. Never: a key or a text of a user that is taken for a secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::secret::{Datum, LargeFile, MASK, Secret};

/// A secret or bytes, and where in the keys they are.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    at: Vec<Step>,
    is: Hidden,
}

/// One step of the way to a value.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Step {
    Item(usize),
    Key(String),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Hidden {
    /// A secret text, number or truth value, as JSON. It is sealed.
    Secret(Secret<String>),
    /// Bytes, in base64.
    Bytes(String),
    /// The bytes of a large file, which are not in the plan.
    Large(LargeFile),
}

/// The names of entries by which older plans mark secrets and bytes.
const OLD_SECRET: &str = "$secret";
const OLD_BYTES: &str = "$bytes";

/// Keys as they are written.
pub(super) fn written(keys: &Datum) -> (Json, Option<Vec<Mark>>) {
    let mut marks = Vec::new();
    let json = split(keys, &mut Vec::new(), &mut marks);
    let some = !marks.is_empty() || looks_old(keys);
    (json, some.then_some(marks))
}

/// The keys again.
///
/// # Errors
/// When a mark is where no value is, or a secret is missing.
pub(super) fn read(keys: Json, marks: Option<Vec<Mark>>) -> Result<Datum, String> {
    let Some(marks) = marks else { return old(keys) };
    let mut keys = Datum::from(keys);
    for Mark { at, is } in marks {
        let place = at.iter().try_fold(&mut keys, below).ok_or("a secret is in a place that holds no value")?;
        *place = match is {
            Hidden::Secret(leaf) => {
                let leaf = serde_json::from_str(leaf.expose()).map_err(|_| "a secret cannot be read")?;
                Datum::Secret(Secret::new(leaf))
            }
            Hidden::Bytes(bytes) => Datum::Bytes(STANDARD.decode(bytes).map_err(|error| error.to_string())?),
            Hidden::Large(file) => Datum::Large(file),
        };
    }
    Ok(keys)
}

fn split(datum: &Datum, at: &mut Vec<Step>, marks: &mut Vec<Mark>) -> Json {
    let mut inside = |step: Step, value: &Datum| {
        at.push(step);
        let json = split(value, at, marks);
        at.pop();
        json
    };
    let is = match datum {
        Datum::List(items) => {
            return items.iter().enumerate().map(|(item, value)| inside(Step::Item(item), value)).collect();
        }
        Datum::Map(entries) => {
            return entries.iter().map(|(key, value)| (key.clone(), inside(Step::Key(key.clone()), value))).collect();
        }
        Datum::Secret(leaf) => Hidden::Secret(Secret::new(leaf.expose().to_string())),
        Datum::Bytes(bytes) => Hidden::Bytes(STANDARD.encode(bytes)),
        Datum::Large(file) => Hidden::Large(file.clone()),
        plain => return plain.exposed(),
    };
    marks.push(Mark { at: at.clone(), is });
    MASK.into()
}

fn below<'a>(datum: &'a mut Datum, step: &Step) -> Option<&'a mut Datum> {
    match (datum, step) {
        (Datum::List(items), Step::Item(item)) => items.get_mut(*item),
        (Datum::Map(entries), Step::Key(key)) => {
            entries.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
        }
        _ => None,
    }
}

/// Whether it would be read as older plans are if nothing were said.
fn looks_old(datum: &Datum) -> bool {
    match datum {
        Datum::List(items) => items.iter().any(looks_old),
        Datum::Map(entries) => {
            entries.iter().any(|(key, value)| key == OLD_SECRET || key == OLD_BYTES || looks_old(value))
        }
        _ => false,
    }
}

/// The keys of an older plan.
fn old(keys: Json) -> Result<Datum, String> {
    Ok(match keys {
        Json::Array(items) => Datum::List(items.into_iter().map(old).collect::<Result<_, _>>()?),
        Json::Object(entries) => {
            if let Some(secret) = entries.get(OLD_SECRET) {
                let secret = Secret::<String>::deserialize(secret).map_err(|error| error.to_string())?;
                return Ok(Datum::secret(secret.expose().as_str()));
            }
            if let Some(bytes) = entries.get(OLD_BYTES).and_then(Json::as_str) {
                return Ok(Datum::Bytes(STANDARD.decode(bytes).map_err(|error| error.to_string())?));
            }
            let entries = entries.into_iter().map(|(key, value)| Ok((key, old(value)?)));
            Datum::Map(entries.collect::<Result<_, String>>()?)
        }
        plain => plain.into(),
    })
}
