//! What a plain word of YAML is: by the rules of YAML 1.2, or by those of Ansible's files.
//!
//! In: a plain word. Out: a value, or the text of a key. Never: a word that is read by both rules at once.
//!
//! Ansible reads YAML 1.1 by `PyYAML`: `yes` and `off` are truth values, `0644` is 420, `1:30` is 90, `1e3` is a text
//! (its resolver, <https://github.com/yaml/pyyaml/blob/main/lib/yaml/resolver.py>, is the source of these rules), and a
//! date or time stands in variables as ISO 8601 writes it. A number too large for 64 bits stays a text here.

use std::sync::LazyLock;

use regex::Regex;

use super::{Yaml, plain};

/// By whose rules a file is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// YAML 1.2's core schema.
    #[default]
    Core,
    /// YAML 1.1 as Ansible reads it, `<<` included.
    Ansible,
}

impl Dialect {
    /// The value of a plain word.
    pub(super) fn plain(self, text: &str) -> Yaml {
        match self {
            Self::Core => plain(text),
            Self::Ansible => ansible(text),
        }
    }

    /// The text of a key that is a plain word: as JSON writes it, if it is more than a text.
    pub(super) fn key(self, text: &str) -> String {
        if self == Self::Core {
            return text.to_owned();
        }
        match ansible(text) {
            Yaml::Text(text) => text,
            Yaml::Null => "null".to_owned(),
            Yaml::Bool(value) => value.to_string(),
            Yaml::Int(value) => value.to_string(),
            Yaml::Float(value) => format!("{value:?}"),
            Yaml::List(_) | Yaml::Map(_) | Yaml::Encrypted(_) | Yaml::Secret(_) => text.to_owned(),
        }
    }

    /// Whether a key stands for the entries of other maps.
    pub(super) fn merges(self, key: &str) -> bool {
        self == Self::Ansible && key == "<<"
    }
}

fn ansible(text: &str) -> Yaml {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Yaml::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Yaml::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Yaml::Bool(false),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return Yaml::Text(text.to_owned());
    }
    integer(text).or_else(|| float(text)).or_else(|| time(text)).unwrap_or_else(|| Yaml::Text(text.to_owned()))
}

static INTEGER: LazyLock<Regex> = LazyLock::new(|| {
    pattern("^[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*(?::[0-5]?[0-9])+)$")
});
static FLOAT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
    )
});
static TIME: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:(?:[Tt]|[ \t]+)([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?(?:[ \t]*(?:(Z)|([-+])([0-9]{1,2})(?::([0-9]{2}))?))?)?$",
    )
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|why| unreachable!("a fixed pattern: {why}"))
}

fn integer(text: &str) -> Option<Yaml> {
    if !INTEGER.is_match(text) {
        return None;
    }
    let digits = text.replace('_', "");
    let negative = digits.starts_with('-');
    let digits = digits.trim_start_matches(['-', '+']);
    let number = if let Some(binary) = digits.strip_prefix("0b") {
        i128::from_str_radix(binary, 2).ok()
    } else if let Some(hexadecimal) = digits.strip_prefix("0x") {
        i128::from_str_radix(hexadecimal, 16).ok()
    } else if digits.starts_with('0') {
        i128::from_str_radix(digits, 8).ok()
    } else {
        let parts = digits.split(':').map(|part| part.parse::<i128>().ok());
        parts.reduce(|sum, part| sum?.checked_mul(60)?.checked_add(part?)).flatten()
    };
    let number = number.and_then(|number| i64::try_from(if negative { -number } else { number }).ok());
    Some(number.map_or_else(|| Yaml::Text(text.to_owned()), Yaml::Int))
}

fn float(text: &str) -> Option<Yaml> {
    if !FLOAT.is_match(text) {
        return None;
    }
    let digits = text.replace('_', "").to_lowercase();
    let sign = if digits.starts_with('-') { -1.0 } else { 1.0 };
    let digits = digits.trim_start_matches(['-', '+']);
    let number = match digits {
        ".inf" => f64::INFINITY,
        ".nan" => f64::NAN,
        _ => {
            let parts = digits.split(':').map(|part| part.parse::<f64>().ok());
            parts.reduce(|sum, part| Some(sum? * 60.0 + part?)).flatten()?
        }
    };
    Some(Yaml::Float(sign * number))
}

/// A date or a time, as Python's `isoformat` writes it; what is neither stays a text.
fn time(text: &str) -> Option<Yaml> {
    let found = TIME.captures(text)?;
    let part = |index: usize| found.get(index).map_or("", |part| part.as_str());
    let number = |index: usize| part(index).parse::<u32>().unwrap_or_default();
    let date = format!("{}-{:02}-{:02}", part(1), number(2), number(3));
    if found.get(4).is_none() {
        // A short month or day is a date only with a time behind it.
        return (part(2).len() == 2 && part(3).len() == 2).then_some(Yaml::Text(date));
    }
    let fraction: String = part(7).chars().chain(std::iter::repeat('0')).take(6).collect();
    let fraction = if fraction == "000000" { String::new() } else { format!(".{fraction}") };
    let zone = match (found.get(8), found.get(9)) {
        (Some(_), _) => "+00:00".to_owned(),
        (_, Some(sign)) => format!("{}{:02}:{:02}", sign.as_str(), number(10), number(11)),
        _ => String::new(),
    };
    Some(Yaml::Text(format!("{date}T{:02}:{:02}:{:02}{fraction}{zone}", number(4), number(5), number(6))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Source;
    use crate::yaml::parse_as;

    /// The right side is what `ansible-inventory --list` prints.
    #[test]
    fn a_plain_word_is_what_ansible_reads() {
        for (text, expected) in [
            ("yes", "true"),
            ("Off", "false"),
            ("y", "\"y\""),
            ("~", "null"),
            ("0644", "420"),
            ("0o17", "\"0o17\""),
            ("089", "\"089\""),
            ("0b101", "5"),
            ("-017", "-15"),
            ("0xFF", "255"),
            ("+5", "5"),
            ("1_000", "1000"),
            ("1:30", "90"),
            ("1:30.5", "90.5"),
            ("1e3", "\"1e3\""),
            ("1.0e+3", "1000.0"),
            ("1.", "1.0"),
            (".5", "0.5"),
            ("1.2.3", "\"1.2.3\""),
            ("2024-01-02", "\"2024-01-02\""),
            ("2024-1-2", "\"2024-1-2\""),
            ("2024-01-02 10:11:12", "\"2024-01-02T10:11:12\""),
            ("2024-01-02T10:11:12.5Z", "\"2024-01-02T10:11:12.500000+00:00\""),
            ("2024-01-02T10:11:12+02:00", "\"2024-01-02T10:11:12+02:00\""),
            ("=", "\"=\""),
            ("9223372036854775808", "\"9223372036854775808\""),
        ] {
            let node = parse_as(&Source::new("x.yml", text), Dialect::Ansible).unwrap_or_else(|d| panic!("{d}"));
            assert_eq!(node.to_json().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn keys_are_words_too_and_two_angles_take_over_entries() {
        let text = "a: &a { x: 1, y: 2 }\nb: { <<: *a, y: 3 }\nc: { <<: [{ z: 1 }, { z: 2, w: 2 }], 0644: 1, no: 2, ~: 3, '007': 4 }\n";
        let node = parse_as(&Source::new("x.yml", text), Dialect::Ansible).unwrap_or_else(|d| panic!("{d}"));
        assert_eq!(
            node.to_json().to_string(),
            r#"{"a":{"x":1,"y":2},"b":{"y":3,"x":1},"c":{"420":1,"false":2,"null":3,"007":4,"z":1,"w":2}}"#
        );
        let wrong = parse_as(&Source::new("x.yml", "a: { <<: 5 }"), Dialect::Ansible).expect_err("no map");
        assert!(wrong.what.contains("`<<`"), "{wrong}");
    }
}
