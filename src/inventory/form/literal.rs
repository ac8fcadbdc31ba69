//! Values of Ansible's INI form: a Python literal, or the text as it stands.
//!
//! In: what stands behind a `=`. Out: a number, truth value, list, map or text. Never: anything that is evaluated.
//!
//! Ansible gives each value to Python's `ast.literal_eval` and keeps the text where that finds no literal
//! (<https://docs.ansible.com/ansible/latest/collections/ansible/builtin/ini_inventory.html>). So `8080` is a number,
//! `True` a truth value but `true` a text, `0644` a text, `1,2` a list, and `1 # one` the number 1. The literals are those
//! of <https://docs.python.org/3/reference/lexical_analysis.html#literals>. Beyond that: a whole number too large for 64
//! bits stays a text, and so does a text with `\N{NAME}`.

use crate::diag::Origin;
use crate::yaml::{Key, Node, Yaml};

/// Deeper brackets are no value but a mistake; Python has a limit, too.
const DEEPEST: usize = 100;

/// The value of a text.
pub(super) fn value(text: &str, origin: &Origin) -> Node {
    let literal = Reader { rest: text.trim_start_matches([' ', '\t']), depth: 0, origin }.whole();
    Node::new(origin, literal.map_or_else(|| Yaml::Text(text.to_owned()), Literal::yaml))
}

/// What Python has and YAML has not.
#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Plain(Yaml),
    /// A whole number too large for 64 bits.
    Large(String),
    /// A number with `j`, as Python writes it.
    Complex(String),
    Bytes(String),
}

impl Literal {
    fn yaml(self) -> Yaml {
        match self {
            Self::Plain(value) => value,
            Self::Large(text) | Self::Complex(text) | Self::Bytes(text) => Yaml::Text(text),
        }
    }

    fn negative(self) -> Option<Self> {
        Some(match self {
            Self::Plain(Yaml::Int(number)) => Self::Plain(Yaml::Int(number.checked_neg()?)),
            Self::Plain(Yaml::Float(number)) => Self::Plain(Yaml::Float(-number)),
            Self::Large(text) => Self::Large(format!("-{text}")),
            Self::Complex(text) => Self::Complex(format!("(-0-{text})")),
            _ => return None,
        })
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Plain(Yaml::Int(_) | Yaml::Float(_)) | Self::Large(_) | Self::Complex(_))
    }

    /// As JSON writes a key of a map.
    fn key(self) -> Option<String> {
        Some(match self {
            Self::Plain(Yaml::Text(text)) | Self::Large(text) => text,
            Self::Plain(Yaml::Int(number)) => number.to_string(),
            Self::Plain(Yaml::Float(number)) => format!("{number:?}"),
            Self::Plain(Yaml::Bool(value)) => value.to_string(),
            Self::Plain(Yaml::Null) => "null".to_owned(),
            _ => return None,
        })
    }
}

/// The rest of a text that may be a literal. Every method takes what it understands and gives nothing for what it is not.
struct Reader<'a> {
    rest: &'a str,
    depth: usize,
    origin: &'a Origin,
}

impl Reader<'_> {
    /// One literal, or several with commas, and perhaps a comment.
    fn whole(mut self) -> Option<Literal> {
        let first = self.sum()?;
        let mut items = vec![first];
        let mut comma = false;
        while self.skip(",") {
            comma = true;
            if self.at_end() {
                break;
            }
            items.push(self.sum()?);
        }
        if !self.at_end() {
            return None;
        }
        if comma { Some(self.list(items)) } else { items.pop() }
    }

    fn at_end(&mut self) -> bool {
        self.blanks();
        self.rest.is_empty() || self.rest.starts_with('#')
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\u{c}']);
    }

    fn skip(&mut self, word: &str) -> bool {
        self.blanks();
        self.rest.strip_prefix(word).map(|rest| self.rest = rest).is_some()
    }

    fn list(&self, items: Vec<Literal>) -> Literal {
        Literal::Plain(Yaml::List(items.into_iter().map(|item| Node::new(self.origin, item.yaml())).collect()))
    }

    /// A literal, or a number and a complex one.
    fn sum(&mut self) -> Option<Literal> {
        let left = self.signed()?;
        self.blanks();
        let Some(sign) = self.rest.chars().next().filter(|c| matches!(c, '+' | '-')) else { return Some(left) };
        self.rest = &self.rest[1..];
        match (left, self.atom()?) {
            (Literal::Plain(Yaml::Int(left)), Literal::Complex(right)) => {
                Some(Literal::Complex(format!("({left}{sign}{right})")))
            }
            (Literal::Plain(Yaml::Float(left)), Literal::Complex(right)) => {
                Some(Literal::Complex(format!("({left}{sign}{right})")))
            }
            _ => None,
        }
    }

    fn signed(&mut self) -> Option<Literal> {
        if self.skip("-") {
            return self.atom()?.negative();
        }
        if self.skip("+") {
            return self.atom().filter(Literal::is_number);
        }
        self.atom()
    }

    fn atom(&mut self) -> Option<Literal> {
        self.blanks();
        match self.rest.chars().next()? {
            '[' => self.nested(Self::brackets),
            '(' => self.nested(Self::parentheses),
            '{' => self.nested(Self::braces),
            '.' if self.skip("...") => Some(Literal::Plain(Yaml::Text("...".to_owned()))),
            '0'..='9' | '.' => self.number(),
            _ => self.word().or_else(|| self.texts()),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Option<Literal>) -> Option<Literal> {
        self.rest = &self.rest[1..];
        self.depth += 1;
        let literal = if self.depth > DEEPEST { None } else { read(self) };
        self.depth -= 1;
        literal
    }

    fn word(&mut self) -> Option<Literal> {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let value = match word {
            "True" => Yaml::Bool(true),
            "False" => Yaml::Bool(false),
            "None" => Yaml::Null,
            "set" => {
                self.rest = rest;
                return (self.skip("(") && self.skip(")")).then_some(Literal::Plain(Yaml::List(Vec::new())));
            }
            _ => return None,
        };
        self.rest = rest;
        Some(Literal::Plain(value))
    }

    /// Items up to a bracket, and whether there was a comma.
    fn items(&mut self, end: &str) -> Option<(Vec<Literal>, bool)> {
        let (mut items, mut comma) = (Vec::new(), false);
        loop {
            if self.skip(end) {
                return Some((items, comma));
            }
            if !items.is_empty() && !comma {
                return None;
            }
            items.push(self.sum()?);
            comma = self.skip(",");
        }
    }

    fn brackets(&mut self) -> Option<Literal> {
        let (items, _) = self.items("]")?;
        Some(self.list(items))
    }

    fn parentheses(&mut self) -> Option<Literal> {
        let (mut items, comma) = self.items(")")?;
        if items.len() == 1 && !comma { items.pop() } else { Some(self.list(items)) }
    }

    /// A map, or a set if the first item has no colon.
    fn braces(&mut self) -> Option<Literal> {
        if self.skip("}") {
            return Some(Literal::Plain(Yaml::Map(Vec::new())));
        }
        let first = self.sum()?;
        if self.skip(":") { self.map(first) } else { self.set(first) }
    }

    fn set(&mut self, first: Literal) -> Option<Literal> {
        let mut items = vec![first];
        if self.skip(",") {
            items.extend(self.items("}")?.0);
        } else if !self.skip("}") {
            return None;
        }
        let mut seen: Vec<Literal> = Vec::new();
        for item in items {
            if matches!(item, Literal::Plain(Yaml::List(_) | Yaml::Map(_))) {
                return None;
            }
            if !seen.contains(&item) {
                seen.push(item);
            }
        }
        Some(self.list(seen))
    }

    /// The map whose first key and colon were taken. Of two equal keys the last one counts.
    fn map(&mut self, first: Literal) -> Option<Literal> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut name = first.key()?;
        loop {
            let node = Node::new(self.origin, self.sum()?.yaml());
            match entries.iter_mut().find(|(key, _)| key.name == name) {
                Some((_, known)) => *known = node,
                None => entries.push((Key { name, origin: self.origin.clone() }, node)),
            }
            let comma = self.skip(",");
            if self.skip("}") {
                return Some(Literal::Plain(Yaml::Map(entries)));
            }
            name = if comma { self.sum()?.key()? } else { return None };
            if !self.skip(":") {
                return None;
            }
        }
    }

    fn number(&mut self) -> Option<Literal> {
        for (prefix, radix) in [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2)] {
            if let Some(rest) = self.rest.strip_prefix(prefix) {
                let (digits, rest) = digits(rest.strip_prefix('_').unwrap_or(rest), radix)?;
                self.rest = rest;
                return Some(
                    i64::from_str_radix(&digits, radix)
                        .map_or(Literal::Large(digits), |n| Literal::Plain(Yaml::Int(n))),
                );
            }
        }
        let (mut text, mut rest) = digits(self.rest, 10).unwrap_or((String::new(), self.rest));
        let mut whole = !text.is_empty();
        if let Some(after) = rest.strip_prefix('.') {
            let (fraction, after) = digits(after, 10).unwrap_or((String::new(), after));
            if text.is_empty() && fraction.is_empty() {
                return None;
            }
            text = format!("{text}.{fraction}");
            (rest, whole) = (after, false);
        }
        if let Some((exponent, after)) = exponent(rest) {
            text.push_str(&exponent);
            (rest, whole) = (after, false);
        }
        if let Some(after) = rest.strip_prefix(['j', 'J']) {
            self.rest = after;
            return Some(Literal::Complex(format!("{}j", text.parse::<f64>().ok()?)));
        }
        self.rest = rest;
        match whole {
            false => text.parse().ok().map(|number| Literal::Plain(Yaml::Float(number))),
            // `07` is no number of Python, `00` is.
            true if text.len() > 1 && text.starts_with('0') && text.contains(|c| c != '0') => None,
            true => Some(text.parse().map_or(Literal::Large(text), |number| Literal::Plain(Yaml::Int(number)))),
        }
    }

    /// One text, or several beside each other, which are one.
    fn texts(&mut self) -> Option<Literal> {
        let mut all: Option<(String, bool)> = None;
        loop {
            self.blanks();
            let Some((text, bytes)) = self.text() else { break };
            match &mut all {
                None => all = Some((text, bytes)),
                Some((before, kind)) if *kind == bytes => before.push_str(&text),
                Some(_) => return None,
            }
        }
        let (text, bytes) = all?;
        Some(if bytes { Literal::Bytes(text) } else { Literal::Plain(Yaml::Text(text)) })
    }

    /// A text in quotes with its prefix, and whether it is one of bytes.
    fn text(&mut self) -> Option<(String, bool)> {
        let quote = self.rest.find(['"', '\''])?;
        let prefix = self.rest[..quote].to_lowercase();
        if !["", "r", "u", "b", "br", "rb"].contains(&prefix.as_str()) {
            return None;
        }
        let (raw, bytes) = (prefix.contains('r'), prefix.contains('b'));
        let mark = &self.rest[quote..=quote];
        let triple = self.rest[quote..].strip_prefix(&mark.repeat(3));
        let end = if triple.is_some() { mark.repeat(3) } else { mark.to_owned() };
        let mut rest = triple.unwrap_or(&self.rest[quote + 1..]);
        let mut text = String::new();
        loop {
            if let Some(after) = rest.strip_prefix(&end) {
                self.rest = after;
                return Some((text, bytes));
            }
            let c = rest.chars().next()?;
            rest = &rest[c.len_utf8()..];
            if c != '\\' {
                text.push(c);
                continue;
            }
            let escaped = rest.chars().next()?;
            if raw {
                text.extend(['\\', escaped]);
                rest = &rest[escaped.len_utf8()..];
            } else {
                rest = escape(rest, escaped, bytes, &mut text)?;
            }
        }
    }
}

/// Digits with single `_` between them, and the rest; nothing if there is none.
fn digits(text: &str, radix: u32) -> Option<(String, &str)> {
    let mut end = 0;
    for (index, c) in text.char_indices() {
        if c.is_digit(radix) && end + 1 >= index {
            end = index + 1;
        } else if c != '_' || end != index || index == 0 {
            break;
        }
    }
    (end > 0).then(|| (text[..end].replace('_', ""), &text[end..]))
}

fn exponent(text: &str) -> Option<(String, &str)> {
    let after = text.strip_prefix(['e', 'E'])?;
    let sign = after.strip_prefix('-').map_or("", |_| "-");
    let (digits, rest) = digits(after.strip_prefix(['-', '+']).unwrap_or(after), 10)?;
    Some((format!("e{sign}{digits}"), rest))
}

/// Adds what a backslash and the character after it stand for; the rest of the text.
fn escape<'a>(rest: &'a str, escaped: char, bytes: bool, text: &mut String) -> Option<&'a str> {
    let after = &rest[escaped.len_utf8()..];
    let width = match escaped {
        'x' => 2,
        'u' if !bytes => 4,
        'U' if !bytes => 8,
        'N' if !bytes => return None,
        '0'..='7' => {
            let end = rest.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
            text.push(char::from_u32(u32::from_str_radix(&rest[..end], 8).ok()?)?);
            return Some(&rest[end..]);
        }
        _ => 0,
    };
    if width > 0 {
        let code = after.get(..width).and_then(|digits| u32::from_str_radix(digits, 16).ok())?;
        text.push(char::from_u32(code).filter(|c| !bytes || c.is_ascii())?);
        return Some(&after[width..]);
    }
    match escaped {
        '\\' | '\'' | '"' => text.push(escaped),
        'n' => text.push('\n'),
        't' => text.push('\t'),
        'r' => text.push('\r'),
        'a' => text.push('\u{7}'),
        'b' => text.push('\u{8}'),
        'f' => text.push('\u{c}'),
        'v' => text.push('\u{b}'),
        other => text.extend(['\\', other]),
    }
    Some(after)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::diag::Source;

    fn read(text: &str) -> Node {
        value(text, &Origin::start(&Source::new("hosts.ini", text)))
    }

    /// The right side is what `ansible-inventory --list` prints for `x=` and the left one.
    const PYTHON: &[(&str, &str)] = &[
        ("1", "1"),
        ("1 # comment", "1"),
        ("foo # comment", r#""foo # comment""#),
        (r#""x # y""#, r#""x # y""#),
        ("[1, 2,] # x", "[1,2]"),
        (r#""a" "b""#, r#""ab""#),
        ("", r#""""#),
        (r"r'\n'", r#""\\n""#),
        (r"'\x41\u00e9\q'", r#""Aé\\q""#),
        ("\"unterminated", r#""\"unterminated""#),
        ("1.0", "1.0"),
        ("1 2", r#""1 2""#),
        ("- 1", "-1"),
        ("--1", r#""--1""#),
        ("-True", r#""-True""#),
        ("True", "true"),
        ("true", r#""true""#),
        ("None", "null"),
        ("0644", r#""0644""#),
        ("00", "0"),
        ("0x1f", "31"),
        ("0o17", "15"),
        ("1_000", "1000"),
        ("1__0", r#""1__0""#),
        ("0_1", r#""0_1""#),
        ("1_0.5", "10.5"),
        ("1e3", "1000.0"),
        ("1.e5", "100000.0"),
        (".5", "0.5"),
        ("1L", r#""1L""#),
        ("0x", r#""0x""#),
        ("(1)", "1"),
        ("(1,)", "[1]"),
        ("1,2", "[1,2]"),
        ("()", "[]"),
        ("{1,2,1}", "[1,2]"),
        ("set()", "[]"),
        ("{}", "{}"),
        ("[[],{}]", "[[],{}]"),
        ("{'a':[1,{'b':(2,3)}]}", r#"{"a":[1,{"b":[2,3]}]}"#),
        ("{1: 2, None: 3, 1.5: 5}", r#"{"1":2,"null":3,"1.5":5}"#),
        ("{'a': 1, 'a': 2}", r#"{"a":2}"#),
        ("1+2j", r#""(1+2j)""#),
        ("1.5j", r#""1.5j""#),
        ("1+1", r#""1+1""#),
        ("f'x'", r#""f'x'""#),
        ("u'x'", r#""x""#),
        ("b'x'", r#""x""#),
        ("b'a' 'c'", r#""b'a' 'c'""#),
        ("\"a\"b", r#""\"a\"b""#),
        ("...", r#""...""#),
        ("[1 2]", r#""[1 2]""#),
        ("[,]", r#""[,]""#),
        ("(1", r#""(1""#),
        ("\"\"\"a\"\"\"", r#""a""#),
        ("10.0.0.1", r#""10.0.0.1""#),
        ("123456789012345678901", r#""123456789012345678901""#),
        ("{{ x }}", r#""{{ x }}""#),
    ];

    #[test]
    fn a_value_is_what_python_reads_or_a_text() {
        for (text, expected) in PYTHON {
            assert_eq!(read(text).to_json().to_string(), *expected, "{text}");
        }
    }

    #[test]
    fn what_is_deep_is_read_once() {
        for (open, close) in [("{", "}"), ("[", "]"), ("(", ")"), ("{'a':", "}")] {
            for depth in [90, 200_000] {
                let _ = read(&format!("{}1{}", open.repeat(depth), close.repeat(depth)));
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r#"[\[\](){},:'"\\xuN0-9._ejb#+-]{0,30}|\PC{0,30}"#) {
            let _ = read(&text);
        }
    }
}
