//! What the fields of several kinds have in common: permissions, content, presence.
//!
//! In: values as written in YAML. Out: types that refuse what cannot be meant, and the differences they make.
//! Never: a kind.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{Field, FieldValue};
use crate::secret::{Content, Secret};
use crate::step::{Attributes, Mode, Ownership, PathReading};

/// Whether a thing is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// It is there.
    #[default]
    Present,
    /// It is not there.
    Absent,
}

/// Permission bits, written in quotes: `"0644"`. Without them YAML would read another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(pub Mode);

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => text,
            other => return Err(D::Error::custom(format!("a mode is written in quotes, like \"0644\", not {other}"))),
        };
        let digits = text.len() == 3 || text.len() == 4;
        match u32::from_str_radix(&text, 8) {
            Ok(bits) if digits => Ok(Self(Mode(bits))),
            _ => Err(D::Error::custom(format!("`{text}` is no mode: three or four digits from 0 to 7, like \"0644\""))),
        }
    }
}

impl Serialize for FileMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for FileMode {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "mode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-7]{3,4}$" })
    }
}

/// What is to be in a file. Bytes and secrets come from the catalog, as a map with one of these keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data(pub Content);

impl Data {
    /// The key under which the catalog hands over a text that a secret went into.
    pub const SECRET: &'static str = "$secret";
    /// The key under which the catalog hands over bytes that are no text, in base64.
    pub const BYTES: &'static str = "$bytes";
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::Engine as _;
        let value = serde_json::Value::deserialize(deserializer)?;
        if let Some(text) = value.as_str() {
            return Ok(Self(Content::from(text)));
        }
        if let Some(text) = value.get(Self::SECRET).and_then(|v| v.as_str()) {
            return Ok(Self(Content::Secret(Secret::new(text.as_bytes().to_vec()))));
        }
        let bytes = value.get(Self::BYTES).and_then(|v| v.as_str()).map(|text| {
            base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| D::Error::custom(error.to_string()))
        });
        match bytes {
            Some(bytes) => bytes.map(|bytes| Self(Content::Plain(bytes))),
            None => Err(D::Error::custom("content must be a text; put a number in quotes")),
        }
    }
}

impl JsonSchema for Data {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// A path on a host must be absolute and written the one way it can be compared.
///
/// # Errors
/// The reason, for the user.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    let why = if !path.starts_with('/') {
        "it must begin with /"
    } else if path.split('/').any(|part| part == ".." || part == ".") {
        "it must not have `.` or `..` in it"
    } else if path.len() > 1 && (path.ends_with('/') || path.contains("//")) {
        "write it without a slash at its end and without double slashes"
    } else if path.contains(['\0', '\n']) {
        "it must not have a line break in it"
    } else {
        return Ok(());
    };
    Err(format!("`{}` is no path for a host: {why}", path.escape_debug()))
}

/// A user, group, package or unit name is one word that no program takes for an option.
///
/// # Errors
/// The reason, for the user.
pub(super) fn check_word(what: &str, word: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '@' | ':' | '$' | '\\');
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(fine) {
        return Ok(());
    }
    Err(format!("`{}` is no name of a {what}", word.escape_debug()))
}

/// Who should own something, from the three keys in YAML.
pub(super) fn ownership(owner: &str, group: &str, mode: FileMode) -> Ownership {
    Ownership { mode: Some(mode.0), owner: Some(owner.to_owned()), group: Some(group.to_owned()) }
}

/// The differences between who owns it and who should.
pub(super) fn ownership_fields(found: &Attributes, wanted: &Ownership) -> Vec<Field> {
    let mode = wanted.mode.filter(|mode| *mode != found.mode).map(|mode| text("mode", found.mode, mode));
    let owner = wanted.owner.as_ref().filter(|owner| **owner != found.owner).map(|to| text("owner", &found.owner, to));
    let group = wanted.group.as_ref().filter(|group| **group != found.group).map(|to| text("group", &found.group, to));
    [mode, owner, group].into_iter().flatten().collect()
}

/// A difference of two short texts.
pub(super) fn text(name: &'static str, from: impl ToString, to: impl ToString) -> Field {
    Field { name, value: FieldValue::Text { from: Some(from.to_string()), to: Some(to.to_string()) } }
}

/// Something that was not there.
pub(super) fn new(name: &'static str, to: impl ToString) -> Field {
    Field { name, value: FieldValue::Text { from: None, to: Some(to.to_string()) } }
}

/// What was there (its bytes, if the host sent them, and its size) against what should be.
pub(super) fn content(found: Option<(Option<&[u8]>, u64)>, wanted: &Content) -> Field {
    let value = match (found, wanted) {
        (_, Content::Secret(_)) => FieldValue::Secret,
        (None, Content::Plain(to)) => diff(b"", to, None),
        (Some((Some(from), size)), Content::Plain(to)) => diff(from, to, Some(size)),
        (Some((None, size)), Content::Plain(to)) => FieldValue::Binary { from: Some(size), to: to.len() as u64 },
    };
    Field { name: "content", value }
}

fn diff(from: &[u8], to: &[u8], size: Option<u64>) -> FieldValue {
    match (std::str::from_utf8(from), std::str::from_utf8(to)) {
        (Ok(from), Ok(to)) if !from.contains('\0') && !to.contains('\0') => {
            FieldValue::Diff { from: from.to_owned(), to: to.to_owned() }
        }
        _ => FieldValue::Binary { from: size, to: to.len() as u64 },
    }
}

/// The value serde takes when the key is not there.
pub(super) fn root() -> String {
    "root".to_owned()
}

/// `"0644"`: everyone reads, the owner writes.
pub(super) fn mode_644() -> FileMode {
    FileMode(Mode(0o644))
}

/// `"0755"`: everyone enters, the owner writes.
pub(super) fn mode_755() -> FileMode {
    FileMode(Mode(0o755))
}

/// True.
pub(super) fn yes() -> bool {
    true
}

/// Why a thing of one sort is not replaced by one of another.
/// Why a thing of one sort is not replaced by one of another.
pub(super) fn in_the_way(found: &PathReading, wanted: &str) -> String {
    let found = match found {
        PathReading::Absent => "nothing",
        PathReading::File { .. } => "a file",
        PathReading::Directory(_) => "a directory",
        PathReading::Link { .. } => "a symbolic link",
        PathReading::Other(what) => what,
    };
    format!("there is {found} where {wanted} should be; armilla never replaces one by the other: move it away first")
}
