//! The keys of a health check, as values of the types they must have.
//!
//! In: rendered data. Out: texts, lengths of time, patterns. Never: a wrong one without its place and an example.

use std::time::Duration;

use serde_json::Value as Json;

use super::HealthCheck;
use crate::diag::Diagnostic;
use crate::role::parse_duration;

/// The keys of a check, or those below one of them.
pub(super) struct Fields<'a> {
    pub(super) data: &'a Json,
    pub(super) check: &'a HealthCheck,
    /// The key they are below of, with a dot.
    pub(super) above: &'static str,
}

/// A text or number as one word.
pub(super) fn word(item: &Json) -> Option<String> {
    match item {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl Fields<'_> {
    /// A value, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&Json> {
        self.data.get(key).filter(|value| !value.is_null())
    }

    /// The items of a list.
    pub(super) fn list(&self, key: &str) -> Option<&[Json]> {
        self.get(key).and_then(Json::as_array).map(Vec::as_slice)
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, Diagnostic> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(key, "a text")),
        }
    }

    /// What the word stands for; the first if there is none.
    pub(super) fn one_of<T: Clone>(&self, key: &str, words: &[(&str, T)]) -> Result<T, Diagnostic> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| text.as_deref().is_none_or(|text| text == *word));
        let known = || words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
        found.map(|(_, value)| value.clone()).ok_or_else(|| self.wrong(key, &known()))
    }

    pub(super) fn duration(&self, key: &str, default: f64) -> Result<Duration, Diagnostic> {
        let seconds = self.get(key).map_or(Some(default), parse_duration).filter(|seconds| *seconds < 1e9);
        seconds.map(Duration::from_secs_f64).ok_or_else(|| self.wrong(key, "a duration such as `5s`"))
    }

    pub(super) fn pattern(&self, key: &str) -> Result<Option<String>, Diagnostic> {
        self.text(key)?.map(|pattern| self.checked(key, pattern)).transpose()
    }

    /// A regular expression that means the same here, where plans are made, and on hosts, where `grep -E` matches it.
    pub(super) fn checked(&self, key: &str, pattern: String) -> Result<String, Diagnostic> {
        if let Err(error) = regex::Regex::new(&pattern) {
            return Err(self.wrong(key, "a regular expression").hint(error.to_string()));
        }
        match foreign(&pattern) {
            None => Ok(pattern),
            Some(part) => {
                let what = format!("`{key}` of a health check has `{part}`, which `grep -E` does not support");
                let hint = "write [0-9] for \\d, [[:alnum:]_] for \\w, [[:space:]] for \\s, and (a|b) for (?:a|b)";
                Err(Diagnostic { what, ..self.wrong(key, "") }.hint(hint))
            }
        }
    }

    pub(super) fn wrong(&self, key: &str, wanted: &str) -> Diagnostic {
        let name = format!("{}{key}", self.above);
        let place = self.check.keys.iter().find(|k| k.name == name).map_or(&self.check.origin, |key| &key.origin);
        Diagnostic::error(format!("`{name}` of a health check must be {wanted}"))
            .at(place)
            .wide(key.len())
            .hint(format!("for example `{key}: {}`", example(key)))
    }
}

fn example(key: &str) -> &'static str {
    match key {
        "url" => "http://127.0.0.1:8080/",
        "run" => "[pg_isready, -q]",
        "port" => "8080",
        "status" => "[200, 204, 300-399]",
        "expect" | "matches" => "\"ready\"",
        "headers" => "{ Content-Type: \"^application/json\" }",
        "json" => "[{ query: $.state, is: [active, standby] }]",
        "method" => "head",
        "state" => "closed",
        "certificate" => "{ valid_for: 14d }",
        "header_file" => "/etc/app/token.header",
        "ca" => "/etc/ssl/our-ca.pem",
        "verify" => "false",
        "valid_for" => "14d",
        "at_most" => "10m",
        "within" | "stable_for" | "timeout" => "30s",
        _ => "\"text\"",
    }
}

/// What Rust's regular expressions have and extended ones (POSIX 1003.1, chapter 9) have not.
fn foreign(pattern: &str) -> Option<String> {
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek().copied()) {
            ('\\', Some(next)) if next.is_ascii_alphanumeric() => return Some(format!("\\{next}")),
            ('\\', _) => drop(chars.next()),
            ('(' | '*' | '+' | '?' | '}', Some('?')) => return Some(format!("{c}?")),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::foreign;

    #[test]
    fn patterns_mean_the_same_on_hosts() {
        for plain in ["leader|follower", r"^v1\.[0-9]+$", "a?b*c+", r"\\", r"\(x\)?", "[[:digit:]]{2}"] {
            assert_eq!(foreign(plain), None, "{plain}");
        }
        for (pattern, part) in [(r"\d+", r"\d"), ("(?i)ok", "(?"), ("a.*?b", "*?"), (r"\bx", r"\b")] {
            assert_eq!(foreign(pattern).as_deref(), Some(part), "{pattern}");
        }
    }
}
