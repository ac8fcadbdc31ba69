//! A value at a path of a YAML document.
//!
//! In: the path and the value. Out: the document in which only the text of that value, or of the way to it, is different.
//! Never: a change that is not read back: what another parse of the result does not show exactly as meant is refused.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};

use super::json::{nested, value};
use super::path::{Path, Segment};
use super::text::Text;
use super::{EditError, wrong};
use crate::secret::Content;

/// A value of a YAML file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Yaml {
    /// Where it is.
    pub path: Path,
    /// The value, as JSON; none if it is not wanted.
    pub value: Option<Content>,
}

/// No sane file is nested deeper.
const DEEPEST: usize = 64;

/// A value with the place where it is written.
#[derive(Debug)]
struct Node {
    what: What,
    /// In bytes; the end of something in lines of its own is not exact.
    from: usize,
    to: usize,
    line: usize,
    column: usize,
    /// Whether others may mean the same value, or it is not what it looks like: an anchor or a tag.
    marked: bool,
}

#[derive(Debug)]
enum What {
    Map(Vec<(Node, Node)>),
    List(Vec<Node>),
    Text { text: String, plain: bool, lines: bool },
    Alias(usize),
}

impl Yaml {
    pub(super) fn apply(&self, text: &str) -> Result<String, EditError> {
        let wanted = self.value.as_ref().map(value).transpose()?;
        let root = read(text)?;
        let before = root.as_ref().map_or(Value::Null, Node::meaning);
        let mut expected = before.clone();
        set(&mut expected, &self.path.0, wanted.as_ref())?;
        if expected == before {
            return Ok(text.to_owned());
        }
        let after = change(text, root.as_ref(), &self.path.0, wanted.as_ref())?;
        let again = read(&after).map(|root| root.as_ref().map_or(Value::Null, Node::meaning));
        let emptied = |found: &Value| found.is_null() && expected.as_object().is_some_and(Map::is_empty);
        match again {
            Ok(found) if found == expected || emptied(&found) => Ok(after),
            _ => wrong("this value cannot be changed without changing its surroundings: change it by hand"),
        }
    }
}

// Reading.

/// What a document says.
pub(super) fn document(text: &str) -> Result<Value, EditError> {
    Ok(read(text)?.map(|root| root.meaning()).unwrap_or_default())
}

fn read(text: &str) -> Result<Option<Node>, EditError> {
    // The parser counts characters, we count bytes.
    let bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut reader = Reader { text, bytes, open: Vec::new(), root: None };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.or_else(|error| {
            let place = error.marker();
            wrong(format!("invalid YAML: {} in line {}", error.info().escape_debug(), place.line()))
        })?;
        reader.take(&event, span)?;
    }
    Ok(reader.root)
}

struct Reader<'a> {
    text: &'a str,
    bytes: Vec<usize>,
    /// Maps and lists that are not at their end, with what was read of them: keys and values in turn.
    open: Vec<(Node, Vec<Node>)>,
    root: Option<Node>,
}

impl Reader<'_> {
    fn take(&mut self, event: &Event<'_>, span: Span) -> Result<(), EditError> {
        let node = |what, marked| self.node(what, span, marked);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let lines = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let what = What::Text { text: text.to_string(), plain: *style == ScalarStyle::Plain, lines };
                let node = node(what, *anchor > 0 || tag.is_some());
                self.add(node)
            }
            Event::Alias(of) => {
                let node = node(What::Alias(*of), true);
                self.add(node)
            }
            Event::MappingStart(anchor, tag) => {
                let node = node(What::Map(Vec::new()), *anchor > 0 || tag.is_some());
                self.begin(node)
            }
            Event::SequenceStart(anchor, tag) => {
                let node = node(What::List(Vec::new()), *anchor > 0 || tag.is_some());
                self.begin(node)
            }
            Event::MappingEnd | Event::SequenceEnd => self.end(span),
            _ => Ok(()),
        }
    }

    fn byte(&self, character: usize) -> usize {
        self.bytes.get(character).copied().unwrap_or(self.text.len())
    }

    fn node(&self, what: What, span: Span, marked: bool) -> Node {
        let (from, to) = (self.byte(span.start.index()), self.byte(span.end.index()));
        Node { what, from, to, line: span.start.line().saturating_sub(1), column: span.start.col(), marked }
    }

    fn begin(&mut self, node: Node) -> Result<(), EditError> {
        if self.open.len() >= DEEPEST {
            return wrong(format!("it is nested more than {DEEPEST} deep"));
        }
        self.open.push((node, Vec::new()));
        Ok(())
    }

    fn end(&mut self, span: Span) -> Result<(), EditError> {
        let Some((mut node, inside)) = self.open.pop() else { return wrong("unexpected end of a map or list") };
        node.to = self.byte(span.end.index());
        if let What::List(items) = &mut node.what {
            *items = inside;
        } else {
            let mut inside = inside.into_iter();
            let mut entries: Vec<(Node, Node)> = Vec::new();
            while let (Some(key), Some(value)) = (inside.next(), inside.next()) {
                if entries.iter().any(|(other, _)| other.name() == key.name()) {
                    return wrong(format!("the key `{}` is there more than once", key.name().escape_debug()));
                }
                entries.push((key, value));
            }
            node.what = What::Map(entries);
        }
        self.add(node)
    }

    fn add(&mut self, node: Node) -> Result<(), EditError> {
        match self.open.last_mut() {
            Some((_, inside)) => inside.push(node),
            None if self.root.is_some() => {
                return wrong("it has several documents; which one to change is ambiguous");
            }
            None => self.root = Some(node),
        }
        Ok(())
    }
}

impl Node {
    fn name(&self) -> String {
        if let What::Text { text, .. } = &self.what { text.clone() } else { self.meaning().to_string() }
    }

    /// What it says, so that two texts can be compared: also what cannot be changed has a form of its own.
    fn meaning(&self) -> Value {
        match &self.what {
            What::Map(entries) => {
                Value::Object(entries.iter().map(|(key, value)| (key.name(), value.meaning())).collect())
            }
            What::List(items) => Value::Array(items.iter().map(Node::meaning).collect()),
            What::Text { text, .. } if self.marked => serde_json::json!({ "!": text }),
            What::Text { text, plain: true, .. } => resolved(text),
            What::Text { text, .. } => Value::String(text.clone()),
            What::Alias(of) => serde_json::json!({ "*": of }),
        }
    }

    /// Whether it is written in braces or brackets.
    fn is_inline(&self, text: &str) -> bool {
        text[self.from..].starts_with(['{', '['])
    }

    fn is_nothing(&self) -> bool {
        matches!(&self.what, What::Text { text, plain: true, .. } if text.is_empty())
    }
}

/// What a text without quotes means in YAML's core schema.
fn resolved(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if let Ok(number) = text.strip_prefix('+').unwrap_or(text).parse::<i64>() {
        return number.into();
    }
    let number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.contains(|c: char| c.is_ascii_digit());
    match text.parse::<f64>() {
        Ok(float) if number && float.is_finite() => float.into(),
        _ => Value::String(text.to_owned()),
    }
}

/// The same change in what the document says.
fn set(at: &mut Value, path: &[Segment], wanted: Option<&Value>) -> Result<(), EditError> {
    match (path, &mut *at) {
        ([], _) => at.clone_from(wanted.unwrap_or(&Value::Null)),
        (path, Value::Null) => {
            if let Some(value) = wanted {
                *at = nested(path, value)?;
            }
        }
        ([Segment::Key(key)], Value::Object(entries)) if wanted.is_none() => drop(entries.shift_remove(key)),
        ([Segment::Key(key), rest @ ..], Value::Object(entries)) => match (entries.get_mut(key), wanted) {
            (Some(inside), _) => set(inside, rest, wanted)?,
            (None, Some(value)) => drop(entries.insert(key.clone(), nested(rest, value)?)),
            (None, None) => {}
        },
        ([Segment::Item(_)], Value::Array(_)) if wanted.is_none() => {
            return wrong("an item of a list cannot be absent: the items after it would move up");
        }
        ([Segment::Item(item), rest @ ..], Value::Array(items)) => match (items.len(), items.get_mut(*item), wanted) {
            (_, Some(inside), _) => set(inside, rest, wanted)?,
            (count, None, Some(value)) if *item == count => items.push(nested(rest, value)?),
            (count, None, Some(_)) => {
                return wrong(format!("item {item} does not exist: the list has only {count} items"));
            }
            (_, None, None) => {}
        },
        ([Segment::Key(key), ..], _) => {
            return wrong(format!("the parent of the key `{}` is not a map", key.escape_debug()));
        }
        ([Segment::Item(item), ..], _) => return wrong(format!("the parent of the item {item} is not a list")),
    }
    Ok(())
}

// Writing. A mistake here is noticed when the result is read again.

fn change(text: &str, root: Option<&Node>, path: &[Segment], wanted: Option<&Value>) -> Result<String, EditError> {
    let Some(mut node) = root.filter(|root| !root.is_nothing()) else {
        return wanted.map_or_else(|| Ok(text.to_owned()), |value| beginning(text, path, value));
    };
    let mut key: Option<(&Node, &Node)> = None;
    // That of the map that the key is in.
    let mut above = key;
    // Inside of braces everything is written as in JSON, which it may be.
    let mut style = Style::of(node, text, Style::Own);
    for (depth, part) in path.iter().enumerate() {
        if node.marked {
            return wrong("its path goes through an anchor, alias or tag that others may use: change it by hand");
        }
        let rest = &path[depth + 1..];
        let next = match (&node.what, part) {
            (What::Map(entries), Segment::Key(name)) => {
                let found = entries.iter().find(|(key, _)| key.name() == *name);
                above = key;
                key = found.map(|(key, _)| (node, key));
                found.map(|(_, value)| value)
            }
            (What::List(items), Segment::Item(item)) => {
                key = None;
                items.get(*item)
            }
            // Nothing, in the place of what should be a map.
            _ => return replace(text, node, key, style, &nested(&path[depth..], wanted.unwrap_or(&Value::Null))?),
        };
        match (next, wanted) {
            (Some(next), _) => {
                node = next;
                style = Style::of(node, text, style);
            }
            (None, Some(value)) => return insert(text, node, part, &nested(rest, value)?),
            (None, None) => return Ok(text.to_owned()),
        }
    }
    match (wanted, key) {
        (Some(_), _) if node.marked => wrong("it is an anchor, alias or tag that others may use: change it by hand"),
        (Some(value), key) => replace(text, node, key, style, value),
        (None, Some((map, key))) => remove(text, map, key, above),
        (None, None) => Ok(text.to_owned()),
    }
}

/// The first value of a document that says nothing yet.
fn beginning(text: &str, path: &[Segment], value: &Value) -> Result<String, EditError> {
    let mut lines = Text::read(text.as_bytes())?;
    let whole = nested(path, value)?;
    let new = whole.as_object().map_or_else(
        || vec![Style::Own.inline(&whole)],
        |entries| entries.iter().flat_map(|(key, value)| block(key, value, 0)).collect(),
    );
    let last = lines.len();
    new.iter().enumerate().for_each(|(more, line)| lines.insert(last + more, line));
    Ok(lines.written())
}

/// How new values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// As people write YAML.
    Own,
    /// As JSON.
    Json,
}

impl Style {
    /// Of a node inside of others.
    fn of(node: &Node, text: &str, outside: Self) -> Self {
        let quoted = matches!(node.what, What::Text { plain: false, lines: false, .. });
        if quoted || node.is_inline(text) { Self::Json } else { outside }
    }

    /// A value in one line. JSON is YAML.
    fn inline(self, value: &Value) -> String {
        match (self, value.as_str()) {
            (Self::Own, Some(text)) => scalar(text),
            _ => value.to_string(),
        }
    }
}

fn replace(
    text: &str,
    old: &Node,
    key: Option<(&Node, &Node)>,
    style: Style,
    value: &Value,
) -> Result<String, EditError> {
    let lines = matches!(old.what, What::Text { lines: true, .. })
        || matches!(old.what, What::Map(_) | What::List(_)) && !old.is_inline(text);
    if !lines && !old.is_nothing() {
        return Ok(format!("{}{}{}", &text[..old.from], style.inline(value), &text[old.to..]));
    }
    let Some((_, key)) = key else { return wrong("an item on several lines cannot be replaced: change it by hand") };
    let Some(colon) = text[key.to..].find(':').map(|at| key.to + at + 1) else { return wrong("its key has no colon") };
    if !lines {
        return Ok(format!("{} {}{}", &text[..colon], style.inline(value), &text[colon..]));
    }
    let mut rows = Text::read(text.as_bytes())?;
    let end = extent(&rows, key.line, key.column);
    let own: Vec<usize> = (key.line + 1..end).collect();
    if own.iter().any(|at| rows.row(*at).trim_start().starts_with('#')) {
        return wrong("the old value has comments between its lines: change it by hand");
    }
    let head = &text[text[..colon].rfind('\n').map_or(0, |at| at + 1)..colon];
    let new: Vec<String> = block("", value, key.column).into_iter().skip(1).collect();
    if new.is_empty() {
        rows.replace(key.line, &format!("{head} {}", Style::Own.inline(value)));
    } else {
        rows.replace(key.line, head);
    }
    rows.remove_all(&own);
    new.iter().enumerate().for_each(|(more, line)| rows.insert(key.line + 1 + more, line));
    Ok(rows.written())
}

fn insert(text: &str, into: &Node, part: &Segment, value: &Value) -> Result<String, EditError> {
    let last = match &into.what {
        What::Map(entries) => entries.last().map(|(key, value)| (key, value)),
        What::List(items) => items.last().map(|item| (item, item)),
        _ => None,
    };
    if into.is_inline(text) {
        let (at, comma) = last.map_or((into.from + 1, ""), |(_, value)| (value.to, ", "));
        let entry = match part {
            Segment::Key(key) => format!("{}: {value}", Value::String(key.clone())),
            Segment::Item(_) => value.to_string(),
        };
        return Ok(format!("{}{comma}{entry}{}", &text[..at], &text[at..]));
    }
    let Some((last, _)) = last else { return wrong("there is no line for a new key") };
    let mut rows = Text::read(text.as_bytes())?;
    let dash = rows.row(last.line).chars().take_while(|c| *c == ' ').count();
    let column = if matches!(part, Segment::Item(_)) { dash } else { into.column };
    let end = extent(&rows, last.line, column);
    let new = match part {
        Segment::Key(key) => block(key, value, column),
        Segment::Item(_) => vec![format!("{}- {}", " ".repeat(column), Style::Own.inline(value))],
    };
    new.iter().enumerate().for_each(|(more, line)| rows.insert(end + more, line));
    Ok(rows.written())
}

/// Takes a key away. `above` is the key of the map it is in.
fn remove(text: &str, map: &Node, key: &Node, above: Option<(&Node, &Node)>) -> Result<String, EditError> {
    let What::Map(entries) = &map.what else { return wrong("it is not in a map") };
    let mut rows = Text::read(text.as_bytes())?;
    let alone = rows.row(key.line).chars().take(key.column).all(|c| c == ' ');
    if map.is_inline(text) || !alone {
        return wrong("it shares its line with something else: change it by hand");
    }
    // Without a key in it, the map must still be one.
    if entries.len() == 1 && map.column > 0 {
        return replace(text, map, above, Style::Own, &Value::Object(Map::new()));
    }
    let end = extent(&rows, key.line, key.column);
    rows.remove_all(&(key.line..end).collect::<Vec<_>>());
    Ok(rows.written())
}

/// The line after the last one that belongs to an entry that begins in a line and column. Comments and empty lines at its
/// end belong to what follows.
fn extent(rows: &Text, line: usize, column: usize) -> usize {
    let indent = |row: &str| row.len() - row.trim_start_matches(' ').len();
    let silent = |row: &str| row.trim().is_empty() || row.trim_start().starts_with('#');
    // The items of a list may be as little indented as the key they belong to.
    let is_item = |row: &str| row.trim_start().starts_with("- ") || row.trim() == "-";
    let key_has_items = !rows.row(line).chars().skip(column).collect::<String>().starts_with('-');
    let inside =
        |row: &str| silent(row) || indent(row) > column || key_has_items && indent(row) == column && is_item(row);
    let mut end = line + 1;
    let mut last = end;
    while end < rows.len() && inside(rows.row(end)) {
        end += 1;
        if !silent(rows.row(end - 1)) {
            last = end;
        }
    }
    last
}

/// A key and its value in lines of their own.
fn block(key: &str, value: &Value, column: usize) -> Vec<String> {
    let (space, key) = (" ".repeat(column), scalar(key));
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            let inside = entries.iter().flat_map(|(key, value)| block(key, value, column + 2));
            std::iter::once(format!("{space}{key}:")).chain(inside).collect()
        }
        Value::Array(items) if !items.is_empty() => {
            let inside = items.iter().map(|item| format!("{space}  - {}", Style::Own.inline(item)));
            std::iter::once(format!("{space}{key}:")).chain(inside).collect()
        }
        value => vec![format!("{space}{key}: {}", Style::Own.inline(value))],
    }
}

/// A text, in quotes where it could be read as something else.
fn scalar(text: &str) -> String {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '/';
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    // Older parsers take these for true and false.
    let word = ["yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    let safe = text.starts_with(first) && text.chars().all(plain) && resolved(text).is_string() && !word;
    if safe { text.to_owned() } else { Value::String(text.to_owned()).to_string() }
}
