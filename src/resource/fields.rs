//! What the fields of several kinds have in common: permissions, content, presence.
//!
//! In: values as written in YAML. Out: types that refuse what cannot be meant, and the differences they make.
//! Never: a kind.

use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{Field, FieldValue};
use crate::edit::{EditError, Path, Position, Segment, State, pattern};
use crate::secret::{Content, Datum, LargeFile, Secret, as_text, too_large};
use crate::step::{Attributes, Command, Digest, Mode, Ownership, PathReading, Touched};

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
            other => {
                return Err(D::Error::custom(format!(
                    "a mode must be in quotes, like \"0644\", not {}",
                    named(&other)
                )));
            }
        };
        let digits = text.len() == 3 || text.len() == 4;
        match u32::from_str_radix(&text, 8) {
            Ok(bits) if digits => Ok(Self(Mode(bits))),
            _ => {
                Err(D::Error::custom(format!("invalid mode `{text}`: three or four digits from 0 to 7, like \"0644\"")))
            }
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

/// A wrong value as an error may show it.
fn named(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(_) => "a map".to_owned(),
        serde_json::Value::Array(_) => "a list".to_owned(),
        plain => plain.to_string(),
    }
}

/// What is to be in a file: a text, a secret, or bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data(pub Content);

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        data(Datum::deserialize(deserializer)?).map(Self)
    }
}

fn data<E: Error>(datum: Datum) -> Result<Content, E> {
    match datum {
        Datum::Text(text) => Ok(Content::Plain(text.into_bytes())),
        Datum::Bytes(bytes) => Ok(Content::Plain(bytes)),
        Datum::Secret(secret) => {
            let text = as_text(&secret).expose().clone();
            Ok(Content::Secret(Secret::new(text.into_bytes())))
        }
        Datum::Large(file) => Err(too_large(&file)),
        _ => Err(E::custom("content must be a text; put a number in quotes")),
    }
}

/// What is to be in a file or archive, however large it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// A text, a secret, or bytes.
    Content(Content),
    /// A large file of the project.
    Large(LargeFile),
}

impl Body {
    /// The same, borrowed.
    pub(super) fn as_wanted(&self) -> Wanted<'_> {
        match self {
            Self::Content(content) => Wanted::Content(content),
            Self::Large(file) => Wanted::Large(file),
        }
    }
}

/// A borrowed [`Body`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// A text, a secret, or bytes.
    Content(&'a Content),
    /// A large file of the project.
    Large(&'a LargeFile),
}

impl Wanted<'_> {
    /// Of its bytes.
    pub(super) fn digest(self) -> Digest {
        match self {
            Self::Content(content) => Digest::of(content.bytes()),
            Self::Large(file) => Digest(file.sha256.clone()),
        }
    }

    /// Whether a secret is in it.
    pub(super) fn is_secret(self) -> bool {
        matches!(self, Self::Content(content) if content.is_secret())
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Datum::deserialize(deserializer)? {
            Datum::Large(file) => Ok(Self::Large(file)),
            other => data(other).map(Self::Content),
        }
    }
}

impl JsonSchema for Body {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Data::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Data::json_schema(generator)
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

/// A program and its arguments, as a list of texts. Never through a shell, never with a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argv(pub Vec<String>);

impl<'de> Deserialize<'de> for Argv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Datum::deserialize(deserializer)?;
        let Datum::List(items) = &value else {
            let words: Vec<&str> = value.text().unwrap_or("systemctl daemon-reload").split_whitespace().collect();
            let example = words.join(", ").escape_debug().to_string();
            return Err(D::Error::custom(format!("a program and its arguments must be a list, like [{example}]")));
        };
        items.iter().map(argument).collect::<Result<_, _>>().map(Self).map_err(D::Error::custom)
    }
}

fn argument(value: &Datum) -> Result<String, String> {
    match value {
        Datum::Text(text) => Ok(text.clone()),
        Datum::Secret(_) => {
            Err("an argument must not be a secret, because every user on the host can read it: use `stdin` or a file"
                .to_owned())
        }
        other => Err(format!("an argument must be text: put {} in quotes", named(&other.masked()))),
    }
}

impl JsonSchema for Argv {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "arguments".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": { "type": "string" }, "minItems": 1 })
    }
}

impl Argv {
    /// Begins with a program, which `env` and `runuser` take for nothing else.
    ///
    /// # Errors
    /// The reason, for the user.
    pub(super) fn check(&self) -> Result<(), String> {
        let program = self.0.first().map_or("", String::as_str);
        if program.is_empty() || program.starts_with('-') || program.contains(['=', '\n', '\0']) {
            return Err(format!("invalid program `{}`", program.escape_debug()));
        }
        if self.0.iter().any(|argument| argument.contains('\0')) {
            return Err("an argument must not contain a zero byte".to_owned());
        }
        Ok(())
    }

    /// In one line, as one would type it, without control characters.
    pub(super) fn shown(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
        let quoted =
            |text: &str| format!("'{}'", text.replace('\'', "'\\''").chars().flat_map(visible).collect::<String>());
        let word =
            |text: &String| if text.is_empty() || !text.chars().all(plain) { quoted(text) } else { text.clone() };
        self.0.iter().map(word).collect::<Vec<_>>().join(" ")
    }
}

fn visible(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

/// Any value, as JSON. One secret anywhere in it makes all of it secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree(pub Content);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Datum::deserialize(deserializer)?;
        let text = value.exposed().to_string().into_bytes();
        Ok(Self(if value.has_secret() { Content::Secret(Secret::new(text)) } else { Content::Plain(text) }))
    }
}

impl JsonSchema for Tree {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "value".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean", "array", "object"] })
    }
}

/// The way to a value: `a.b[0]`, or a list of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way(pub Path);

impl<'de> Deserialize<'de> for Way {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let part = |value: &serde_json::Value| match (value.as_str(), value.as_u64()) {
            (Some(key), _) => Ok(Segment::Key(key.to_owned())),
            (_, Some(item)) => usize::try_from(item).map(Segment::Item).map_err(|error| error.to_string()),
            _ => Err(format!("{} is neither a key nor an item number", named(value))),
        };
        let path = match (&value, value.as_str()) {
            (_, Some(text)) => Path::parse(text),
            (serde_json::Value::Array(parts), _) if !parts.is_empty() => {
                parts.iter().map(part).collect::<Result<_, _>>().map(Path)
            }
            _ => Err("write the path to a value like a.b[0], or as a list: [a, b, 0]".to_owned()),
        };
        path.map(Self).map_err(D::Error::custom)
    }
}

impl Way {
    /// As a list of its parts.
    pub(super) fn list(&self) -> serde_json::Value {
        let part = |part: &Segment| -> serde_json::Value {
            match part {
                Segment::Key(key) => key.as_str().into(),
                Segment::Item(item) => (*item).into(),
            }
        };
        self.0.0.iter().map(part).collect()
    }
}

impl JsonSchema for Way {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "way".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "array"] })
    }
}

/// A length of time, written like `30s`, `5m` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let seconds = value.as_str().and_then(seconds).filter(|seconds| *seconds > 0);
        seconds.map(|seconds| Self(Duration::from_secs(seconds))).ok_or_else(|| {
            D::Error::custom(format!("invalid duration {}: write it like 30s, 5m or 1h30m", named(&value)))
        })
    }
}

fn seconds(text: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let unit = match rest.as_bytes()[end] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return None,
        };
        total = rest[..end].parse::<u64>().ok()?.checked_mul(unit)?.checked_add(total)?;
        rest = &rest[end + 1..];
    }
    Some(total)
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]+[smhd])+$" })
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
        "it must not contain `.` or `..`"
    } else if path.len() > 1 && (path.ends_with('/') || path.contains("//")) {
        "it must not contain double slashes or end with a slash"
    } else if path.chars().any(char::is_control) {
        "it must not contain a line break or another control character"
    } else {
        return Ok(());
    };
    Err(format!("invalid path `{}`: {why}", path.escape_debug()))
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
    Err(format!("invalid {what} name `{}`", word.escape_debug()))
}

/// The name of a user or group that `useradd` and `groupadd` make and everything else accepts.
///
/// # Errors
/// The reason, for the user.
pub(super) fn check_account(what: &str, name: &str) -> Result<(), String> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    // 32 is the longest that utmp(5) can hold.
    if name.starts_with(first) && name.chars().all(fine) && name.len() <= 32 {
        return Ok(());
    }
    Err(format!(
        "invalid {what} name `{}`: a letter, then letters, digits, `-`, `_` and `.`, 32 at most",
        name.escape_debug()
    ))
}

/// Whether a text is the full name of a systemd unit of a sort that a file can describe (`systemd.unit(5)`).
pub(super) fn is_unit(name: &str) -> bool {
    let sorts = ["service", "socket", "timer", "path", "mount", "automount", "swap", "target", "slice"];
    let sorted = name.rsplit_once('.').is_some_and(|(stem, sort)| !stem.is_empty() && sorts.contains(&sort));
    sorted && name.len() < 256 && !name.starts_with('.') && check_word("unit", name).is_ok()
}

/// A text for one line of a file.
///
/// # Errors
/// The reason, for the user.
pub(super) fn check_line(key: &str, text: &str) -> Result<(), String> {
    if text.chars().any(char::is_control) {
        return Err(format!("`{key}` must not contain a line break or another control character"));
    }
    Ok(())
}

/// A text that is one line, secret or not.
///
/// # Errors
/// The reason, for the user, without the text.
pub(super) fn one_line<'a>(key: &str, data: &'a Data) -> Result<&'a str, String> {
    let text = text_of(key, data)?;
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(format!("`{key}` must not contain a line break or another control character"));
    }
    Ok(text)
}

/// A text, secret or not.
///
/// # Errors
/// The reason, for the user, without the text.
pub(super) fn text_of<'a>(key: &str, data: &'a Data) -> Result<&'a str, String> {
    let text = std::str::from_utf8(data.0.bytes()).map_err(|_| format!("`{key}` is not UTF-8 text"))?;
    if text.contains('\0') { Err(format!("`{key}` must not contain a zero byte")) } else { Ok(text) }
}

/// At most one of `after` and `before`, and each a regular expression or the word for an end of the file.
///
/// # Errors
/// The reason, for the user.
pub(super) fn check_place(after: Option<&str>, before: Option<&str>) -> Result<(), String> {
    if after.is_some() && before.is_some() {
        return Err("`after` and `before` are mutually exclusive".to_owned());
    }
    let why = |key: &str, why: EditError| format!("`{key}`: {why}");
    match (after, before) {
        (Some("BOF"), _) => Err("for the beginning of the file write `before: BOF`".to_owned()),
        (_, Some("EOF")) => Err("for the end of the file write `after: EOF`".to_owned()),
        (Some(after), _) => pattern(after).map(drop).map_err(|error| why("after", error)),
        (_, Some(before)) => pattern(before).map(drop).map_err(|error| why("before", error)),
        (None, None) => Ok(()),
    }
}

/// Where something new goes, from the two keys in YAML.
pub(super) fn place(after: Option<&str>, before: Option<&str>) -> Position {
    match (after, before) {
        (None | Some("EOF"), None) => Position::End,
        (_, Some("BOF")) => Position::Beginning,
        (Some(after), _) => Position::After(after.to_owned()),
        (None, Some(before)) => Position::Before(before.to_owned()),
    }
}

impl From<Presence> for State {
    fn from(presence: Presence) -> Self {
        match presence {
            Presence::Present => Self::Present,
            Presence::Absent => Self::Absent,
        }
    }
}

/// Names as in POSIX (section 8.1), so that no shell and no `env` reads more than a name.
///
/// # Errors
/// The reason, for the user.
pub(super) fn check_variable(name: &str, value: &str) -> Result<(), String> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !name.starts_with(first) || !name.chars().all(|c| first(c) || c.is_ascii_digit()) {
        return Err(format!("invalid variable name `{}`", name.escape_debug()));
    }
    if value.contains('\0') { Err(format!("the variable {name} contains a zero byte")) } else { Ok(()) }
}

/// Names of headers of a request are those of RFC 9110 (section 5.1).
///
/// # Errors
/// The reason, for the user.
pub(super) fn check_header_name(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if !name.is_empty() && name.chars().all(fine) {
        return Ok(());
    }
    Err(format!("invalid header name `{}`", name.escape_debug()))
}

/// Removes a directory, unless something is in it.
pub(super) fn remove_if_empty(path: &str) -> Command {
    let command = Command::new(["rmdir", "--ignore-fail-on-non-empty", "--", path]);
    command.touching([Touched::Path(path.to_owned())])
}

/// Asks `getent`, by exit code, whether a database of users or groups has a name.
pub(super) fn known(database: &str, name: &str) -> Command {
    Command::new(["getent", database, "--", name])
}

/// Why what is there gets no other number.
pub(super) fn renumber(what: &str, name: &str, from: u32, to: u32) -> String {
    format!(
        "the {what} {name} has the id {from}, not {to}: files on the host would keep the old id; write {from}, or change it by hand together with the files"
    )
}

/// Who should own something, from the three keys in YAML.
pub(super) fn ownership(owner: &str, group: &str, mode: FileMode) -> Ownership {
    Ownership { mode: Some(mode.0), owner: Some(owner.to_owned()), group: Some(group.to_owned()) }
}

/// The differences between who owns it and who should.
pub(super) fn ownership_fields(found: &Attributes, wanted: &Ownership) -> Vec<Field> {
    let mode = wanted.mode.filter(|mode| *mode != found.mode).map(|mode| text("mode", &found.mode, &mode));
    let owner = wanted.owner.as_ref().filter(|owner| **owner != found.owner).map(|to| text("owner", &found.owner, to));
    let group = wanted.group.as_ref().filter(|group| **group != found.group).map(|to| text("group", &found.group, to));
    [mode, owner, group].into_iter().flatten().collect()
}

/// A difference of two short texts.
pub(super) fn text(name: &'static str, from: &(impl ToString + ?Sized), to: &(impl ToString + ?Sized)) -> Field {
    Field { name, value: FieldValue::Text { from: Some(from.to_string()), to: Some(to.to_string()) } }
}

/// Something that was not there.
pub(super) fn new(name: &'static str, to: &(impl ToString + ?Sized)) -> Field {
    Field { name, value: FieldValue::Text { from: None, to: Some(to.to_string()) } }
}

/// What was there (its bytes, if the host sent them, and its size) against what should be.
pub(super) fn content(found: Option<(Option<&[u8]>, u64)>, wanted: Wanted<'_>) -> Field {
    let value = match (found, wanted) {
        (found, Wanted::Large(file)) => FieldValue::Binary { from: found.map(|(_, size)| size), to: file.size },
        (_, Wanted::Content(Content::Secret(_))) => FieldValue::Secret,
        (None, Wanted::Content(Content::Plain(to))) => diff(b"", to, None),
        (Some((Some(from), size)), Wanted::Content(Content::Plain(to))) => diff(from, to, Some(size)),
        (Some((None, size)), Wanted::Content(Content::Plain(to))) => {
            FieldValue::Binary { from: Some(size), to: to.len() as u64 }
        }
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
pub(super) fn in_the_way(found: &PathReading, wanted: &str) -> String {
    let found = match found {
        PathReading::Absent => "nothing",
        PathReading::File { .. } => "a file",
        PathReading::Directory(_) => "a directory",
        PathReading::Link { .. } => "a symbolic link",
        PathReading::Other(what) => what,
    };
    format!("{found} exists where {wanted} should be; armilla never replaces one with the other: move it first")
}
