//! Writes JSON that steers no terminal it may be shown on.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Writes a value as one line, piece by piece as it is made: give it a buffered writer.
///
/// # Errors
/// When a piece cannot be written; nothing more of the value is made then. A secret in clear is an error of its own, see
/// [`crate::secret`].
pub fn write(out: impl io::Write, value: &impl Serialize) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Harmless))
}

/// A value with line breaks, for people.
pub fn pretty(value: &impl Serialize) -> String {
    harmless(&serde_json::to_string_pretty(value).unwrap_or_default())
}

/// A JSON text that steers no terminal: what would is escaped, which means the same.
pub fn harmless(json: &str) -> String {
    let mut text = Vec::with_capacity(json.len());
    // Memory takes everything, and whole characters were written.
    let _ = escape(&mut text, json);
    String::from_utf8(text).unwrap_or_default()
}

/// Compact JSON. JSON itself escapes only the control characters of ASCII; all others stand in its texts.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        escape(out, text)
    }
}

fn escape<W: ?Sized + io::Write>(out: &mut W, text: &str) -> io::Result<()> {
    // Nearly every text: all that steers is beyond this.
    if text.bytes().all(|byte| byte < 0x7f) {
        return out.write_all(text.as_bytes());
    }
    let mut rest = text;
    while let Some((at, steering)) = rest.char_indices().find(|(_, c)| steers(*c)) {
        out.write_all(&rest.as_bytes()[..at])?;
        write!(out, "\\u{:04x}", u32::from(steering))?;
        rest = &rest[at + steering.len_utf8()..];
    }
    out.write_all(rest.as_bytes())
}

fn steers(c: char) -> bool {
    match c {
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}' => true,
        c => c >= '\u{7f}' && c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::secret::{Content, Secret};

    fn written(value: &impl Serialize) -> String {
        let mut text = Vec::new();
        write(&mut text, value).expect("memory takes everything");
        String::from_utf8(text).expect("UTF-8")
    }

    #[test]
    fn it_is_what_serde_writes_and_means_the_same() {
        let odd =
            json!({ "a\"b\\\n": [1, 1.5, -3, null, true, {}, []], "ö\u{1f600}": "\u{0}\u{1b}[2J\t/", "": { "x": "" } });
        assert_eq!(written(&odd), odd.to_string());
        assert_eq!(serde_json::from_str::<Value>(&written(&odd)).expect("JSON"), odd);
    }

    #[test]
    fn what_would_steer_a_terminal_is_escaped_in_values_and_keys() {
        let steering = "a\u{7f}ü\u{9b}31m\u{202e}b\u{2028}\u{200b}\u{feff}\u{61c}";
        let value = BTreeMap::from([(steering, steering)]);
        let escaped = "a\\u007fü\\u009b31m\\u202eb\\u2028\\u200b\\ufeff\\u061c";
        assert_eq!(written(&value), format!("{{\"{escaped}\":\"{escaped}\"}}"));
        assert_eq!(harmless(&serde_json::to_string(&value).expect("JSON")), written(&value));
        assert_eq!(
            serde_json::from_str::<BTreeMap<String, String>>(&written(&value)).expect("JSON")[steering],
            steering
        );
    }

    /// Takes so many bytes, and is gone then.
    struct Gone(usize);

    impl io::Write for Gone {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A list without end: it is only ever written as far as somebody reads.
    struct Endless;

    impl Serialize for Endless {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(std::iter::repeat("row"))
        }
    }

    #[test]
    fn each_row_is_written_when_it_is_made_until_the_reader_is_gone() {
        let error = write(io::BufWriter::with_capacity(64, Gone(1000)), &Endless).expect_err("nobody reads");
        assert_eq!(error.io_error_kind(), Some(io::ErrorKind::BrokenPipe));
    }

    #[test]
    fn a_secret_in_clear_ends_it() {
        let (mut text, content) = (Vec::new(), Content::Secret(Secret::new(b"hunter2".to_vec())));
        let error = write(&mut text, &("before", &content)).expect_err("a secret");
        assert!(!error.is_io(), "{error}");
        let text = String::from_utf8_lossy(&text).into_owned() + &error.to_string();
        assert!(text.starts_with("[\"before\"") && !text.contains("hunter2"), "{text}");
    }
}
