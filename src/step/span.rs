//! Lengths of time as they are written down: `"90s"`, `"0.5s"`.
//!
//! In: a duration. Out: seconds as a text, and back. Never: another length than before.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// For `#[serde(with)]`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let (whole, rest) = (span.as_secs(), span.subsec_nanos());
    if rest == 0 {
        return serializer.collect_str(&format_args!("{whole}s"));
    }
    let digits = format!("{rest:09}");
    serializer.collect_str(&format_args!("{whole}.{}s", digits.trim_end_matches('0')))
}

/// For `#[serde(with)]`.
///
/// # Errors
/// When it is no length of time.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    read(&text).ok_or_else(|| D::Error::custom(format!("invalid duration `{}`", text.escape_debug())))
}

/// The same for a length of time that need not be there.
pub mod optional {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Span(#[serde(with = "super")] Duration);

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(span: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        span.map(Span).serialize(serializer)
    }

    /// For `#[serde(with)]`.
    ///
    /// # Errors
    /// When it is no length of time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Span>::deserialize(deserializer)?.map(|Span(span)| span))
    }
}

fn read(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(rest) || rest.len() > 9 {
        return None;
    }
    Some(Duration::new(whole.parse().ok()?, format!("{rest:0<9}").parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
    struct Wait(#[serde(with = "super")] Duration);

    #[test]
    fn a_length_of_time_is_written_exactly() {
        for (span, text) in [
            (Duration::from_secs(600), "\"600s\""),
            (Duration::from_millis(500), "\"0.5s\""),
            (Duration::new(u64::MAX, 1), "\"18446744073709551615.000000001s\""),
        ] {
            assert_eq!(serde_json::to_string(&Wait(span)).ok().as_deref(), Some(text));
            assert_eq!(serde_json::from_str::<Wait>(text).ok(), Some(Wait(span)));
        }
        for wrong in ["\"\"", "\"s\"", "\"-1s\"", "\"1.s\"", "\"1\"", "\"18446744073709551616s\"", "\"1.0000000001s\""]
        {
            assert!(serde_json::from_str::<Wait>(wrong).is_err(), "{wrong}");
        }
    }
}
