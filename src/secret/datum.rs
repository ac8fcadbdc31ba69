//! Plain data of which some parts are secret, and some are bytes.
//!
//! In: JSON, of which the parts that a secret went into are known. Out: a tree that every type with `Deserialize` can be read
//! from, and in which only a type that asks for a [`Datum`] finds a secret. Never: a key or a text that makes data secret:
//! whatever a user writes, also `{ $secret: x }`, is data.

use std::fmt;

use serde::de::value::{BytesDeserializer, Error, MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserialize, Deserializer, EnumAccess, IntoDeserializer, MapAccess, VariantAccess, Visitor};
use serde_json::{Number, Value as Json};

use super::{LargeFile, MASK, Secret};

/// A value of any type. Maps keep the order of their entries.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub enum Datum {
    /// Nothing.
    #[default]
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
    /// A text, number or truth value that a secret went into.
    Secret(Secret<Json>),
    /// Bytes that are not a text.
    Bytes(Vec<u8>),
    /// The bytes of a large file.
    Large(LargeFile),
    /// A list.
    List(Vec<Datum>),
    /// A map.
    Map(Vec<(String, Datum)>),
}

impl From<Json> for Datum {
    fn from(data: Json) -> Self {
        match data {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Bool(flag),
            Json::Number(number) => Self::Number(number),
            Json::String(text) => Self::Text(text),
            Json::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Json::Object(entries) => {
                Self::Map(entries.into_iter().map(|(key, value)| (key, Self::from(value))).collect())
            }
        }
    }
}

impl From<&str> for Datum {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Datum {
    /// A secret text.
    pub fn secret(text: impl Into<String>) -> Self {
        Self::Secret(Secret::new(Json::String(text.into())))
    }

    /// Data that a secret went into: every text, number and truth value in it is secret.
    pub fn hidden(data: Json) -> Self {
        match data {
            Json::Null => Self::Null,
            Json::Array(items) => Self::List(items.into_iter().map(Self::hidden).collect()),
            Json::Object(entries) => {
                Self::Map(entries.into_iter().map(|(key, value)| (key, Self::hidden(value))).collect())
            }
            leaf => Self::Secret(Secret::new(leaf)),
        }
    }

    /// The value of a key, if it is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.map()?.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Takes an entry out of a map.
    pub fn remove(&mut self, key: &str) -> Option<Self> {
        let Self::Map(entries) = self else { return None };
        let place = entries.iter().position(|(name, _)| name == key)?;
        Some(entries.remove(place).1)
    }

    /// The entries, if it is a map.
    pub fn map(&self) -> Option<&[(String, Self)]> {
        if let Self::Map(entries) = self { Some(entries) } else { None }
    }

    /// The text, if it is one that anyone may see.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Whether a secret is anywhere in it.
    pub fn has_secret(&self) -> bool {
        !self.secrets().is_empty()
    }

    /// Every secret in it, as a text.
    pub fn secrets(&self) -> Vec<Secret<String>> {
        match self {
            Self::Secret(secret) => vec![as_text(secret)],
            Self::List(items) => items.iter().flat_map(Self::secrets).collect(),
            Self::Map(entries) => entries.iter().flat_map(|(_, value)| value.secrets()).collect(),
            _ => Vec::new(),
        }
    }

    /// As JSON, with every secret in it. Each call is a place to look at when asking who can see it.
    pub fn exposed(&self) -> Json {
        self.json(&|secret| secret.expose().clone())
    }

    /// As JSON to be shown, secrets masked.
    pub fn masked(&self) -> Json {
        self.json(&|_| MASK.into())
    }

    /// As JSON, if there is no secret in it.
    pub fn plain(&self) -> Option<Json> {
        (!self.has_secret()).then(|| self.exposed())
    }

    fn json(&self, open: &dyn Fn(&Secret<Json>) -> Json) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(flag) => (*flag).into(),
            Self::Number(number) => number.clone().into(),
            Self::Text(text) => text.as_str().into(),
            Self::Secret(secret) => open(secret),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into(),
            Self::Large(file) => format!("{} (SHA-256 {})", file.path, file.sha256).into(),
            Self::List(items) => items.iter().map(|item| item.json(open)).collect(),
            Self::Map(entries) => entries.iter().map(|(key, value)| (key.clone(), value.json(open))).collect(),
        }
    }
}

/// A secret as a text, also if it is a number or truth value.
pub fn as_text(secret: &Secret<Json>) -> Secret<String> {
    Secret::new(match secret.expose() {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    })
}

impl fmt::Debug for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.masked())
    }
}

// -- reading any type from a datum ------------------------------------------------------------------------------------

/// Why a large file cannot be what is in most kinds.
pub fn too_large<E: de::Error>(file: &LargeFile) -> E {
    de::Error::custom(format!("{} is larger than 1 MiB: only `file` and `archive` take such a `src`", file.path))
}

fn misplaced() -> Error {
    de::Error::custom("a secret is not allowed here")
}

impl<'de> IntoDeserializer<'de, Error> for &'de Datum {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Where a plain value is wanted, a secret is an error; so is what is not UTF-8.
impl<'de> Deserializer<'de> for &'de Datum {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Datum::Null => visitor.visit_unit(),
            Datum::Bool(flag) => visitor.visit_bool(*flag),
            Datum::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => visitor.visit_u64(number),
                (_, Some(number), _) => visitor.visit_i64(number),
                (.., number) => visitor.visit_f64(number.unwrap_or(f64::NAN)),
            },
            Datum::Text(text) => visitor.visit_borrowed_str(text),
            Datum::Secret(_) => Err(misplaced()),
            Datum::Bytes(_) => Err(de::Error::custom("the file is not UTF-8 text, and only text is allowed here")),
            Datum::Large(file) => Err(too_large(file)),
            Datum::List(items) => {
                let mut items = SeqDeserializer::new(items.iter());
                let value = visitor.visit_seq(&mut items)?;
                items.end().map(|()| value)
            }
            Datum::Map(entries) => {
                let mut entries = entries_of(entries);
                let value = visitor.visit_map(&mut entries)?;
                entries.end().map(|()| value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if *self == Datum::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name == ITSELF { visitor.visit_enum(Itself(self)) } else { visitor.visit_newtype_struct(self) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Datum::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Datum::Map(entries) if entries.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(entries_of(entries)))
            }
            Datum::Secret(_) => Err(misplaced()),
            other => Err(de::Error::invalid_type(other.sort(), &"string or map")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier
    }
}

type Entries<'de> = MapDeserializer<'de, Box<dyn Iterator<Item = (&'de str, &'de Datum)> + 'de>, Error>;

fn entries_of(entries: &[(String, Datum)]) -> Entries<'_> {
    MapDeserializer::new(Box::new(entries.iter().map(|(key, value)| (key.as_str(), value))))
}

impl Datum {
    fn sort(&self) -> de::Unexpected<'_> {
        match self {
            Self::Null => de::Unexpected::Unit,
            Self::Bool(flag) => de::Unexpected::Bool(*flag),
            Self::Number(number) => de::Unexpected::Float(number.as_f64().unwrap_or(f64::NAN)),
            Self::Text(_) | Self::Secret(_) => de::Unexpected::Str(MASK),
            Self::Bytes(_) | Self::Large(_) => de::Unexpected::Bytes(&[]),
            Self::List(_) => de::Unexpected::Seq,
            Self::Map(_) => de::Unexpected::Map,
        }
    }
}

// -- reading a datum from a datum -------------------------------------------------------------------------------------

/// The name by which a type asks for the datum itself. It is a name of code: no data is held against it.
const ITSELF: &str = "armilla::secret::Datum";

/// Hands a datum over as it is: what sort it is, and then its content.
struct Itself<'de>(&'de Datum);

const PLAIN: u8 = 0;
const SECRET: u8 = 1;
const BYTES: u8 = 2;
const LIST: u8 = 3;
const MAP: u8 = 4;
const LARGE: u8 = 5;

impl<'de> EnumAccess<'de> for Itself<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: de::DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let sort = match self.0 {
            Datum::Secret(_) => SECRET,
            Datum::Bytes(_) => BYTES,
            Datum::Large(_) => LARGE,
            Datum::List(_) => LIST,
            Datum::Map(_) => MAP,
            _ => PLAIN,
        };
        let sort: de::value::U8Deserializer<Error> = sort.into_deserializer();
        Ok((seed.deserialize(sort)?, self))
    }
}

impl<'de> VariantAccess<'de> for Itself<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Err(misplaced())
    }

    fn newtype_variant_seed<S: de::DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        match self.0 {
            Datum::Secret(secret) => {
                let text: de::value::StringDeserializer<Error> = secret.expose().to_string().into_deserializer();
                seed.deserialize(text)
            }
            Datum::Large(file) => {
                let text = serde_json::to_string(file).map_err(de::Error::custom)?;
                let text: de::value::StringDeserializer<Error> = text.into_deserializer();
                seed.deserialize(text)
            }
            Datum::Bytes(bytes) => seed.deserialize(BytesDeserializer::<Error>::new(bytes)),
            other => seed.deserialize(other),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, _visitor: V) -> Result<V::Value, Error> {
        Err(misplaced())
    }

    fn struct_variant<V: Visitor<'de>>(self, _names: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        Err(misplaced())
    }
}

/// From a datum the same datum; from any other format data without secrets.
impl<'de> Deserialize<'de> for Datum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;

        impl<'de> Visitor<'de> for Whole {
            type Value = Datum;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("data")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Datum, D::Error> {
                Json::deserialize(deserializer).map(Datum::from)
            }

            fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Datum, A::Error> {
                let (sort, content) = data.variant::<u8>()?;
                Ok(match sort {
                    SECRET => {
                        let leaf = serde_json::from_str(&content.newtype_variant::<String>()?);
                        Datum::Secret(Secret::new(leaf.map_err(de::Error::custom)?))
                    }
                    BYTES => Datum::Bytes(content.newtype_variant::<Raw>()?.0),
                    LARGE => {
                        let file = serde_json::from_str(&content.newtype_variant::<String>()?);
                        Datum::Large(file.map_err(de::Error::custom)?)
                    }
                    LIST => Datum::List(content.newtype_variant()?),
                    MAP => Datum::Map(content.newtype_variant::<Ordered>()?.0),
                    _ => Datum::from(content.newtype_variant::<Json>()?),
                })
            }
        }

        deserializer.deserialize_newtype_struct(ITSELF, Whole)
    }
}

struct Raw(Vec<u8>);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Raw, E> {
                Ok(Raw(bytes.to_vec()))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}

struct Ordered(Vec<(String, Datum)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut entries = Vec::with_capacity(map.size_hint().unwrap_or_default());
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }

        deserializer.deserialize_map(Map)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn datum() -> Datum {
        Datum::Map(vec![
            ("z".into(), Datum::secret("hunter2")),
            ("pin".into(), Datum::hidden(json!(1234))),
            (
                "a".into(),
                Datum::List(vec![Datum::Bytes(vec![0, 255]), Datum::Null, json!(1.5).into(), json!(-1).into()]),
            ),
            ("$secret".into(), json!({ "$secret": "x", "$bytes": "AP8A", "sealed": 1, "base64": "AA==" }).into()),
        ])
    }

    #[test]
    fn a_datum_is_read_as_it_is_and_other_types_find_no_secret() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Kind {
            content: Datum,
            list: Vec<Option<Datum>>,
            map: BTreeMap<String, Datum>,
            word: Word,
        }
        #[derive(Debug, PartialEq, serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Word {
            Present,
        }
        let mut keys = vec![
            ("content".to_owned(), datum()),
            ("list".to_owned(), Datum::List(vec![Datum::secret("hunter3"), Datum::Null])),
            ("map".to_owned(), datum()),
            ("word".to_owned(), "present".into()),
        ];
        let kind: Kind = serde_path_to_error::deserialize(&Datum::Map(keys.clone())).expect("it fits");
        assert_eq!(kind.content, datum());
        assert_eq!(kind.list, [Some(Datum::secret("hunter3")), None]);
        assert_eq!(kind.map.get("z"), Some(&Datum::secret("hunter2")));
        for hidden in [Datum::secret("present"), Datum::List(vec![]), Datum::Null] {
            keys[3].1 = hidden;
            let error = serde_path_to_error::deserialize::<_, Kind>(&Datum::Map(keys.clone())).expect_err("no word");
            assert_eq!(error.path().to_string(), "word");
            assert!(!error.to_string().contains("present"), "{error}");
        }
        assert!(String::deserialize(&Datum::secret("x")).is_err() && Json::deserialize(&datum()).is_err());
    }

    #[test]
    fn no_data_spells_a_secret() {
        let written =
            json!({ "$secret": "x", "deep": [{ "$bytes": "AP8A" }, { "armilla::secret::Datum": 1 }, { "1": "x" }] });
        for datum in [Datum::from(written.clone()), serde_json::from_value(written.clone()).expect("data")] {
            assert!(!datum.has_secret());
            assert_eq!(datum.exposed(), written);
            assert_eq!(Datum::deserialize(&datum), Ok(datum));
        }
    }

    #[test]
    fn a_secret_is_shown_masked() {
        assert!(!format!("{:?} {}", datum(), datum().masked()).contains("hunter2"));
        assert_eq!(Datum::hidden(json!([1, { "a": true }, null])).exposed(), json!([1, { "a": true }, null]));
        assert_eq!(datum().plain(), None);
    }
}
