//! Typed inputs.
//!
//! In: the type a role's author gave an input, and a value. Out: the value in the form expressions use (a size in
//! bytes, a duration in seconds), or why it does not fit. Never: a guess.

use regex::Regex;
use serde_json::Value as Json;

use crate::diag::Origin;
use crate::secret::Secrecy;
use crate::template::{Recipe, Value, value};

/// Something a role lets its user set.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its name, as a variable.
    pub name: String,
    /// Of what type.
    pub kind: InputType,
    /// What it is unless set; may be computed from inputs before it.
    pub default: Option<Recipe>,
    /// Whether it must be set.
    pub required: bool,
    /// The smallest value (or the shortest text or list).
    pub min: Option<f64>,
    /// The largest value (or the longest text or list).
    pub max: Option<f64>,
    /// What a text must match, as a whole.
    pub pattern: Option<Regex>,
    /// For documents.
    pub description: String,
    /// Where it is written.
    pub origin: Origin,
}

/// The types there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputType {
    /// A text.
    String,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Number,
    /// A TCP or UDP port: 1 to 65535.
    Port,
    /// Bytes, as a number or with K, M, G, T (powers of 1024).
    Size,
    /// Seconds, as a number or with ms, s, m, h, d.
    Duration,
    /// An absolute path on a host.
    Path,
    /// A list.
    List,
    /// A map.
    Map,
    /// One of these texts.
    Choice(Vec<String>),
    /// A text nobody may see.
    Secret,
}

impl InputType {
    /// The words for them in `role.yml`.
    pub const WORDS: &[&str] =
        &["string", "bool", "int", "number", "port", "size", "duration", "path", "list", "map", "choice", "secret"];

    /// The type of that word.
    pub fn named(word: &str, choices: Vec<String>) -> Option<Self> {
        Some(match word {
            "string" => Self::String,
            "bool" => Self::Bool,
            "int" => Self::Int,
            "number" => Self::Number,
            "port" => Self::Port,
            "size" => Self::Size,
            "duration" => Self::Duration,
            "path" => Self::Path,
            "list" => Self::List,
            "map" => Self::Map,
            "choice" => Self::Choice(choices),
            "secret" => Self::Secret,
            _ => return None,
        })
    }

    /// What others call a type, in our word.
    pub fn synonym(word: &str) -> Option<&'static str> {
        Some(match word.to_lowercase().as_str() {
            "str" | "text" => "string",
            "boolean" => "bool",
            "integer" => "int",
            "float" => "number",
            "array" | "tuple" => "list",
            "dict" | "object" | "mapping" => "map",
            "enum" => "choice",
            "password" | "token" => "secret",
            "bytes" => "size",
            "time" | "timeout" => "duration",
            "file" | "directory" => "path",
            _ => return None,
        })
    }

    fn wanted(&self) -> String {
        match self {
            Self::String => "a text (a number in quotes)".into(),
            Self::Bool => "`true` or `false`".into(),
            Self::Int => "a whole number".into(),
            Self::Number => "a number".into(),
            Self::Port => "a port, 1 to 65535".into(),
            Self::Size => "a size such as `512M` or `2G`".into(),
            Self::Duration => "a duration such as `500ms`, `30s` or `5m`".into(),
            Self::Path => "an absolute path such as `/var/lib/x`".into(),
            Self::List => "a list".into(),
            Self::Map => "a map".into(),
            Self::Choice(choices) => format!("one of {}", choices.join(", ")),
            Self::Secret => "a text".into(),
        }
    }
}

/// A value that fits its input.
#[derive(Debug, Clone)]
pub struct Typed {
    /// In the form expressions use. Print it only if it is not secret.
    pub value: Value,
    /// Whether nobody may see it: because of its input, or because of where it comes from.
    pub secrecy: Secrecy,
}

impl Input {
    /// Checks a value and brings it into the form expressions use.
    ///
    /// # Errors
    /// What is expected instead. The text never has a secret in it.
    pub fn accept(&self, data: &Json, secrecy: Secrecy) -> Result<Typed, String> {
        let secrecy = secrecy.with(self.secrecy());
        let mismatch = || {
            let shown = if secrecy.is_secret() { "the value that is set".to_owned() } else { short(data) };
            format!("`{}` must be {}, not {shown}", self.name, self.kind.wanted())
        };
        let (typed, measure) = convert(&self.kind, data).ok_or_else(mismatch)?;
        self.bounds(measure)?;
        if let (Some(pattern), Some(text)) = (&self.pattern, data.as_str())
            && !pattern.is_match(text)
        {
            return Err(format!("`{}` must match `{}`", self.name, bare(pattern)));
        }
        // An empty text has nothing to hide.
        let secrecy = if matches!(data, Json::String(text) if text.is_empty()) { Secrecy::Open } else { secrecy };
        Ok(Typed { value: typed, secrecy })
    }

    /// Whether every value of it is secret.
    pub fn secrecy(&self) -> Secrecy {
        if self.kind == InputType::Secret { Secrecy::Secret } else { Secrecy::Open }
    }

    /// What to write instead of a value that does not fit. The text never has a secret in it.
    pub fn example(&self, data: &Json, secrecy: Secrecy) -> String {
        let name = &self.name;
        let data = if secrecy.is_secret() { &Json::Null } else { data };
        let value = match &self.kind {
            InputType::Choice(choices) => {
                let typed = data.as_str().unwrap_or_default();
                let near = crate::name::did_you_mean(typed, choices.iter().map(String::as_str));
                return near.unwrap_or_else(|| format!("one of: {}", choices.join(", ")));
            }
            InputType::String if data.is_number() || data.is_boolean() => format!("\"{data}\""),
            InputType::Bool => {
                let no = data.as_str().is_some_and(|text| ["no", "off", "n"].contains(&text.to_lowercase().as_str()));
                if no { "false" } else { "true" }.to_owned()
            }
            InputType::String | InputType::Secret => "\"text\"".to_owned(),
            InputType::Int | InputType::Number => "8".to_owned(),
            InputType::Port => "8080".to_owned(),
            InputType::Size => "512M".to_owned(),
            InputType::Duration => "30s".to_owned(),
            InputType::Path => "/var/lib/x".to_owned(),
            InputType::List => "[a, b]".to_owned(),
            InputType::Map => "{ a: 1 }".to_owned(),
        };
        format!("for example `{name}: {value}`")
    }

    fn bounds(&self, measure: Option<f64>) -> Result<(), String> {
        let Some(measure) = measure else { return Ok(()) };
        let what = match self.kind {
            InputType::String | InputType::Path | InputType::Secret => "have that many characters: ",
            InputType::List | InputType::Map => "have that many items: ",
            _ => "be ",
        };
        if self.min.is_some_and(|min| measure < min) {
            return Err(format!("`{}` must {what}at least {}", self.name, self.min.unwrap_or_default()));
        }
        if self.max.is_some_and(|max| measure > max) {
            return Err(format!("`{}` must {what}at most {}", self.name, self.max.unwrap_or_default()));
        }
        Ok(())
    }
}

fn bare(pattern: &Regex) -> &str {
    pattern.as_str().trim_start_matches("^(?:").trim_end_matches(")$")
}

fn short(data: &Json) -> String {
    let text = data.to_string();
    if text.chars().count() > 60 { text.chars().take(57).chain("...".chars()).collect() } else { text }
}

/// The value for expressions, and what bounds are compared with.
fn convert(kind: &InputType, data: &Json) -> Option<(Value, Option<f64>)> {
    let number = |n: f64| Some((value(data), Some(n)));
    match kind {
        InputType::String | InputType::Secret => data.as_str().map(|text| (value(data), Some(length(text)))),
        InputType::Bool => data.as_bool().map(|flag| (Value::from(flag), None)),
        InputType::Int => data.as_i64().and_then(|n| number(lossy(n))),
        InputType::Number => data.as_f64().and_then(number),
        InputType::Port => data.as_i64().filter(|n| (1..=65535).contains(n)).and_then(|n| number(lossy(n))),
        InputType::Size => parse_size(data).map(|bytes| (Value::from(bytes), Some(lossy(bytes)))),
        InputType::Duration => parse_duration(data).map(|seconds| (Value::from(seconds), Some(seconds))),
        InputType::Path => {
            let path = data.as_str().filter(|path| is_path(path))?;
            Some((value(data), Some(length(path))))
        }
        InputType::List => data.as_array().map(|items| (value(data), Some(count(items.len())))),
        InputType::Map => data.as_object().map(|entries| (value(data), Some(count(entries.len())))),
        InputType::Choice(choices) => {
            let text = data.as_str().filter(|text| choices.iter().any(|choice| choice == text))?;
            Some((Value::from(text), None))
        }
    }
}

fn length(text: &str) -> f64 {
    count(text.chars().count())
}

#[expect(clippy::cast_precision_loss, reason = "only compared with bounds far below 2^53")]
fn count(n: usize) -> f64 {
    n as f64
}

#[expect(clippy::cast_precision_loss, reason = "only compared with bounds far below 2^53")]
fn lossy(n: i64) -> f64 {
    n as f64
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.split('/').any(|part| part == "..") && !text.contains(['\0', '\n'])
}

/// Bytes: `512`, `512M`, `1.5G`, also with `iB` behind.
fn parse_size(data: &Json) -> Option<i64> {
    if let Some(bytes) = data.as_i64() {
        return (bytes >= 0).then_some(bytes);
    }
    let text = data.as_str()?.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let power = match unit.trim().trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" | "k" => 1,
        "M" | "m" => 2,
        "G" | "g" => 3,
        "T" | "t" => 4,
        _ => return None,
    };
    whole(number.parse::<f64>().ok()? * 1024_f64.powi(power))
}

#[expect(clippy::cast_possible_truncation, reason = "checked to be below 2^53")]
fn whole(number: f64) -> Option<i64> {
    (number.is_finite() && (0.0..9e15).contains(&number)).then_some(number as i64)
}

/// Seconds: `30`, `500ms`, `30s`, `5m`, `2h`, `1d`.
pub fn parse_duration(data: &Json) -> Option<f64> {
    if let Some(seconds) = data.as_f64() {
        return (seconds >= 0.0).then_some(seconds);
    }
    let text = data.as_str()?.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * factor).filter(|seconds| *seconds < 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Source;
    use serde_json::json;

    fn input(kind: InputType) -> Input {
        Input {
            name: "x".into(),
            kind,
            default: None,
            required: false,
            min: None,
            max: None,
            pattern: None,
            description: String::new(),
            origin: Origin::start(&Source::new("role.yml", "")),
        }
    }

    #[test]
    fn values_become_what_expressions_use() {
        for (kind, written, used) in [
            (InputType::Size, json!("512M"), "536870912"),
            (InputType::Size, json!("1.5G"), "1610612736"),
            (InputType::Size, json!(7), "7"),
            (InputType::Duration, json!("500ms"), "0.5"),
            (InputType::Duration, json!("5m"), "300.0"),
            (InputType::Port, json!(2181), "2181"),
            (InputType::Path, json!("/a b"), "/a b"),
        ] {
            let typed = input(kind.clone()).accept(&written, Secrecy::Open);
            let typed = typed.unwrap_or_else(|why| panic!("{kind:?} {written}: {why}"));
            assert_eq!(typed.value.to_string(), used, "{kind:?} {written}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_does() {
        for (kind, written) in [
            (InputType::String, json!(1)),
            (InputType::Bool, json!("yes")),
            (InputType::Int, json!(1.5)),
            (InputType::Port, json!(0)),
            (InputType::Port, json!(65536)),
            (InputType::Port, json!("2181")),
            (InputType::Size, json!("512 apples")),
            (InputType::Size, json!(-1)),
            (InputType::Duration, json!("5 parsecs")),
            (InputType::Path, json!("var/lib")),
            (InputType::Path, json!("/a/../b")),
            (InputType::List, json!({})),
            (InputType::Map, json!([])),
            (InputType::Choice(vec!["a".into()]), json!("b")),
        ] {
            let why = input(kind.clone()).accept(&written, Secrecy::Open).expect_err(&format!("{kind:?} {written}"));
            assert!(why.starts_with("`x` must be"), "{why}");
            let why = input(kind.clone()).accept(&written, Secrecy::Secret).expect_err("as before");
            assert!(why.ends_with("not the value that is set"), "{why}");
        }
    }

    #[test]
    fn a_secret_that_does_not_fit_is_not_shown() {
        let why = input(InputType::Secret).accept(&json!(["hunter2"]), Secrecy::Open).expect_err("a list");
        assert!(!why.contains("hunter2"), "{why}");
    }

    #[test]
    fn a_value_is_secret_by_its_type_or_by_where_it_comes_from() {
        let secrecy =
            |kind: InputType, data: Json, secrecy| input(kind).accept(&data, secrecy).map(|typed| typed.secrecy);
        assert_eq!(secrecy(InputType::Secret, json!("x"), Secrecy::Open), Ok(Secrecy::Secret));
        assert_eq!(secrecy(InputType::Port, json!(2181), Secrecy::Secret), Ok(Secrecy::Secret));
        assert_eq!(secrecy(InputType::String, json!("x"), Secrecy::Open), Ok(Secrecy::Open));
        assert_eq!(secrecy(InputType::Secret, json!(""), Secrecy::Secret), Ok(Secrecy::Open), "nothing to hide");
    }

    #[test]
    fn bounds_count_what_they_are_about() {
        let size = Input { min: Some(1024.0), ..input(InputType::Size) };
        let fits = |input: &Input, data: Json| input.accept(&data, Secrecy::Open).is_ok();
        assert!(fits(&size, json!("1K")) && !fits(&size, json!("1")));
        let list = Input { max: Some(1.0), ..input(InputType::List) };
        assert!(fits(&list, json!([1])) && !fits(&list, json!([1, 2])));
    }
}
