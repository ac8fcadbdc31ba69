//! YAML as a tree in which every node knows where it was written. The only file that names the YAML crate.
//!
//! In: the text of a file. Out: a [`Node`], or what is wrong and where. Never: a duplicate key that is silently
//! lost, a number or `yes` that is guessed, or a small file that becomes a huge tree.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::diag::{Diagnostic, Origin, Source};
use crate::secret::{MASK, Secret};

mod dialect;
mod hidden;
mod table;
mod tag;
mod tag_list;

pub use dialect::Dialect;
pub use hidden::Opener;
pub use table::{Table, unknown_key};
use tag::Meaning;
pub use tag_list::tags;

/// No sane file is nested deeper.
const DEEPEST: usize = 64;
/// More nodes than this from one file is a bomb (aliases of aliases), not a configuration.
const MOST_NODES: usize = 2_000_000;

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where.
    pub origin: Origin,
    /// What.
    pub value: Yaml,
    /// How it is marked.
    pub mark: Mark,
}

/// What a tag says of a value besides its type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mark {
    /// Nothing.
    #[default]
    None,
    /// `!unsafe`: it is no template, also where Ansible would render one.
    Unsafe,
}

/// A value of YAML 1.2's core schema.
#[derive(Debug, Clone, PartialEq)]
pub enum Yaml {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`; `yes` and `no` are texts.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a point or exponent.
    Float(f64),
    /// A text.
    Text(String),
    /// `[a, b]` or lines with dashes.
    List(Vec<Node>),
    /// `{a: b}` or lines with colons, in the order written.
    Map(Vec<(Key, Node)>),
    /// A text that `ansible-vault` encrypted, as it is written after `!vault`.
    Encrypted(String),
    /// Something that was decrypted. Only who asks for [`Node::exposed`] sees it.
    Secret(Secret<Box<Node>>),
}

/// A key of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its text.
    pub name: String,
    /// Where.
    pub origin: Origin,
}

impl Node {
    /// A node that nobody wrote, at the place that caused it.
    pub fn new(origin: &Origin, value: Yaml) -> Self {
        Self { origin: origin.clone(), value, mark: Mark::None }
    }

    /// The same, marked. A mark holds for everything in a list or map.
    #[must_use]
    fn marked(mut self, mark: Mark) -> Self {
        if mark == Mark::None {
            return self;
        }
        self.mark = mark;
        self.value = match self.value {
            Yaml::List(items) => Yaml::List(items.into_iter().map(|item| item.marked(mark)).collect()),
            Yaml::Map(entries) => Yaml::Map(entries.into_iter().map(|(key, node)| (key, node.marked(mark))).collect()),
            value => value,
        };
        self
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Yaml::Text(text) = &self.value { Some(text) } else { None }
    }

    /// The entries, if it is a map.
    pub fn map(&self) -> Option<&[(Key, Node)]> {
        if let Yaml::Map(entries) = &self.value { Some(entries) } else { None }
    }

    /// The items, if it is a list.
    pub fn list(&self) -> Option<&[Node]> {
        if let Yaml::List(items) = &self.value { Some(items) } else { None }
    }

    /// The value of a key, if it is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.map()?.iter().find(|(k, _)| k.name == key).map(|(_, node)| node)
    }

    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Yaml::Null => "nothing",
            Yaml::Bool(_) => "true or false",
            Yaml::Int(_) => "a whole number",
            Yaml::Float(_) => "a number",
            Yaml::Text(_) => "a text",
            Yaml::List(_) => "a list",
            Yaml::Map(_) => "a map",
            Yaml::Encrypted(_) => "an encrypted value",
            Yaml::Secret(_) => "a secret",
        }
    }

    /// As plain data, without places. Secrets are masked.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or(serde_json::Value::Null)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Yaml::Null => serializer.serialize_unit(),
            Yaml::Bool(value) => serializer.serialize_bool(*value),
            Yaml::Int(value) => serializer.serialize_i64(*value),
            Yaml::Float(value) => serializer.serialize_f64(*value),
            Yaml::Text(value) => serializer.serialize_str(value),
            Yaml::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Yaml::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, node)| map.serialize_entry(&key.name, node))?;
                map.end()
            }
            Yaml::Encrypted(_) | Yaml::Secret(_) => serializer.serialize_str(MASK),
        }
    }
}

/// Reads one document. An empty file is [`Yaml::Null`]. What a secret source sets is secret; the names it sets are not.
///
/// # Errors
/// When the text is no YAML, has a key twice, more than one document, or is too deep or too large.
pub fn parse(source: &Arc<Source>) -> Result<Node, Diagnostic> {
    parse_as(source, Dialect::Core)
}

/// Reads one document by the rules of a dialect.
///
/// # Errors
/// As [`parse`].
pub fn parse_as(source: &Arc<Source>, dialect: Dialect) -> Result<Node, Diagnostic> {
    let parser = Parser::new_from_str(&source.text);
    let root = Reader { parser, source, dialect, anchors: HashMap::new(), nodes: 0 }.document()?;
    Ok(if source.secrecy.is_secret() { root.hidden() } else { root })
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    source: &'a Arc<Source>,
    dialect: Dialect,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Node, Diagnostic> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                _ if root.is_some() => {
                    return Err(Diagnostic::error("a second document in one file")
                        .at(&self.origin(span))
                        .hint("one file holds one document: remove the `---` line or split the file"));
                }
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        Ok(root.unwrap_or_else(|| Node::new(&Origin::start(self.source), Yaml::Null)))
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Diagnostic> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let marker = error.marker();
                let origin = within(origin(self.source, marker.line(), marker.col()));
                let what =
                    hidden::unless(self.source, || format!("this is not YAML: {}", error.info()), "this is not YAML");
                Err(Diagnostic::error(what).at(&origin).hint(cure(&origin)))
            }
            None => Err(Diagnostic::error("the file ends too early").at(&Origin::start(self.source))),
        }
    }

    fn origin(&self, span: Span) -> Origin {
        origin(self.source, span.start.line(), span.start.col())
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Diagnostic> {
        let at = self.origin(span);
        let before = self.nodes;
        self.count(1, &at)?;
        if depth > DEEPEST {
            return Err(Diagnostic::error(format!("nested deeper than {DEEPEST} levels")).at(&at));
        }
        let (value, anchor, mark) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let meaning = meaning(tag.as_deref(), &at)?;
                let quoted = style != ScalarStyle::Plain;
                let value = match meaning {
                    Meaning::Encrypted => Yaml::Encrypted(text.into_owned()),
                    Meaning::Text | Meaning::Unsafe => Yaml::Text(text.into_owned()),
                    Meaning::Own if quoted => Yaml::Text(text.into_owned()),
                    Meaning::Own | Meaning::Collection => self.dialect.plain(&text),
                };
                (value, anchor, meaning.mark())
            }
            Event::SequenceStart(anchor, tag) => {
                let mark = collection(tag.as_deref(), &at)?;
                (self.items(depth)?, anchor, mark)
            }
            Event::MappingStart(anchor, tag) => {
                let mark = collection(tag.as_deref(), &at)?;
                (self.entries(depth)?, anchor, mark)
            }
            Event::Alias(anchor) => return self.alias(anchor, &at),
            _ => (Yaml::Null, 0, Mark::None),
        };
        let node = Node::new(&at, value).marked(mark);
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, at: &Origin) -> Result<Node, Diagnostic> {
        let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
            return Err(Diagnostic::error("an alias of something that is not finished yet").at(at));
        };
        self.count(size, at)?;
        Ok(Node { origin: at.clone(), ..node })
    }

    fn count(&mut self, nodes: usize, at: &Origin) -> Result<(), Diagnostic> {
        self.nodes += nodes;
        if self.nodes > MOST_NODES {
            return Err(Diagnostic::error(format!("more than {MOST_NODES} values in one file")).at(at));
        }
        Ok(())
    }

    fn items(&mut self, depth: usize) -> Result<Yaml, Diagnostic> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Yaml::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Yaml, Diagnostic> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen: HashMap<String, Origin> = HashMap::new();
        let mut merged = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => break,
                (event, span) => self.key(event, span)?,
            };
            if self.dialect.merges(&key.name) {
                let (event, span) = self.next()?;
                merged.extend(merge(self.node(event, span, depth + 1)?)?);
                continue;
            }
            if let Some(first) = seen.insert(key.name.clone(), key.origin.clone()) {
                let what = hidden::unless(
                    self.source,
                    || format!("the key `{}` is here twice", key.name),
                    "a key is here twice",
                );
                return Err(Diagnostic::error(what)
                    .at(&key.origin)
                    .wide(key.name.chars().count())
                    .hint(format!("the first is in line {}: keep one of them", first.line)));
            }
            let (event, span) = self.next()?;
            entries.push((key, self.node(event, span, depth + 1)?));
        }
        entries
            .extend(merged.into_iter().filter(|(key, _)| seen.insert(key.name.clone(), key.origin.clone()).is_none()));
        Ok(Yaml::Map(entries))
    }

    fn key(&mut self, event: Event<'a>, span: Span) -> Result<Key, Diagnostic> {
        let origin = self.origin(span);
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => Ok(Key { name: self.dialect.key(&text), origin }),
            Event::Scalar(text, ..) => Ok(Key { name: text.into_owned(), origin }),
            Event::Alias(_) | Event::SequenceStart(..) | Event::MappingStart(..) => {
                Err(Diagnostic::error("a key must be a text")
                    .at(&origin)
                    .hint("a value that begins with `{` or `*` must be in quotes: \"{{ name }}\""))
            }
            _ => Err(Diagnostic::error("a key is missing").at(&origin)),
        }
    }
}

/// What is most often wrong with a line that is not YAML.
fn cure(origin: &Origin) -> &'static str {
    let line = origin.source.line(origin.line).unwrap_or_default();
    let count = |c: char| line.matches(c).count();
    if line[..line.len() - line.trim_start().len()].contains('\t') {
        "indent by spaces: YAML has no tabs there"
    } else if count('"') % 2 == 1 || count('\'') % 2 == 1 {
        "each quote needs its other one"
    } else if count('{') != count('}') || count('[') != count(']') {
        "each `{` needs its `}`, each `[` its `]`"
    } else {
        "keys of one map begin in one column; a text with `: `, ` #` or at its beginning one of `{[*&!%@` is put in quotes"
    }
}

/// The entries of one map, or of a list of maps, of which the first is the strongest.
fn merge(node: Node) -> Result<Vec<(Key, Node)>, Diagnostic> {
    match node.value {
        Yaml::Map(entries) => Ok(entries),
        Yaml::List(items) => {
            Ok(items.into_iter().map(merge).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        }
        _ => {
            Err(Diagnostic::error(format!("`<<` takes over the entries of a map, not of {}", node.kind()))
                .at(&node.origin))
        }
    }
}

fn meaning(tag: Option<&saphyr_parser::Tag>, at: &Origin) -> Result<Meaning, Diagnostic> {
    let Some(tag) = tag else { return Ok(Meaning::Own) };
    tag::meaning(&tag.handle, &tag.suffix).ok_or_else(|| tag::unknown(&tag.handle, &tag.suffix, at))
}

fn collection(tag: Option<&saphyr_parser::Tag>, at: &Origin) -> Result<Mark, Diagnostic> {
    match meaning(tag, at)? {
        Meaning::Encrypted => Err(Diagnostic::error("`!vault` stands before a text, not a list or map").at(at)),
        meaning => Ok(meaning.mark()),
    }
}

/// The end of a text is no place to look at: the end of its last line is.
fn within(origin: Origin) -> Origin {
    let here = usize::try_from(origin.line).unwrap_or(1).saturating_sub(1);
    if origin.source.text.lines().nth(here).is_some_and(|line| !line.trim().is_empty()) {
        return origin;
    }
    let before = origin.source.text.lines().take(usize::try_from(origin.line).unwrap_or(1)).enumerate();
    let Some((index, line)) = before.filter(|(_, line)| !line.trim().is_empty()).last() else { return origin };
    let number = |n: usize| u32::try_from(n).unwrap_or(1);
    Origin { line: number(index + 1), column: number(line.trim_end().chars().count().max(1)), source: origin.source }
}

fn origin(source: &Arc<Source>, line: usize, column: usize) -> Origin {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Origin { source: Arc::clone(source), line: number(line.max(1)), column: number(column + 1) }
}

/// A plain scalar by the core schema: <https://yaml.org/spec/1.2.2/#103-core-schema>.
fn plain(text: &str) -> Yaml {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Yaml::Null,
        "true" | "True" | "TRUE" => return Yaml::Bool(true),
        "false" | "False" | "FALSE" => return Yaml::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Yaml::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Yaml::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Yaml::Float(f64::NEG_INFINITY),
        _ => {}
    }
    integer(text).or_else(|| float(text)).unwrap_or_else(|| Yaml::Text(text.to_owned()))
}

fn integer(text: &str) -> Option<Yaml> {
    let parsed = if let Some(digits) = text.strip_prefix("0o") {
        i64::from_str_radix(digits, 8).ok()
    } else if let Some(digits) = text.strip_prefix("0x") {
        i64::from_str_radix(digits, 16).ok()
    } else {
        text.parse().ok()
    };
    parsed.map(Yaml::Int)
}

fn float(text: &str) -> Option<Yaml> {
    let number = text.trim_start_matches(['-', '+']);
    let shaped = number.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && number.chars().any(|c| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    if shaped { text.parse().ok().map(Yaml::Float) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Node, Diagnostic> {
        parse(&Source::new("x.yml", text))
    }

    #[test]
    fn every_node_knows_its_place() {
        let root = read("a: 1\nb:\n  - x\n  - {c: yes}\n").unwrap_or_else(|d| panic!("{d}"));
        let c = root.get("b").and_then(|b| b.list()?[1].get("c").cloned()).unwrap_or_else(|| panic!("{root:?}"));
        assert_eq!((c.text(), c.origin.to_string().as_str()), (Some("yes"), "x.yml:4:9"));
    }

    #[test]
    fn numbers_and_texts_are_told_apart_by_the_core_schema() {
        let cases = [("1", "a whole number"), ("0755", "a whole number"), ("1.5", "a number"), ("1e3", "a number")];
        let texts =
            [("1.2.3", "a text"), ("yes", "a text"), ("'1'", "a text"), ("10.0.0.1", "a text"), ("-", "a text")];
        for (text, kind) in cases.into_iter().chain(texts) {
            if text != "-" {
                assert_eq!(read(text).map(|n| n.kind()), Ok(kind), "{text}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, what, place) in [
            ("a: 1\na: 2\n", "twice", "x.yml:2:1"),
            ("a: [1\n", "not YAML", "x.yml:1:5"),
            ("a: {{ b }}\n", "a key must be a text", "x.yml:1:5"),
            ("a: 1\n---\nb: 2\n", "second document", "x.yml:3:1"),
        ] {
            let problem = read(text).expect_err(text);
            assert!(problem.what.contains(what), "{text:?}: {problem}");
            assert_eq!(problem.origin.map(|o| o.to_string()).as_deref(), Some(place), "{text:?}");
        }
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..10 {
            let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
            text = format!("{text}a{n}: &a{n} [{aliases}]\n");
        }
        let problem = read(&text).expect_err("a bomb");
        assert!(problem.what.contains("more than"), "{problem}");
        let deep = "[".repeat(100);
        assert!(read(&deep).is_err());
    }
}
