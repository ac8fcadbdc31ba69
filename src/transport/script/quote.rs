//! Quoting, in one place.
//!
//! In: any text or bytes. Out: shell words that stand for exactly these. Never: a NUL in a word, which no program can
//! be given.

use std::fmt::Write as _;

/// One word of a shell command.
pub(super) fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '=' | ',' | '+' | '@' | '%');
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\0', "").replace('\'', "'\\''"))
}

/// Several words.
pub(super) fn words<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().map(word).collect::<Vec<_>>().join(" ")
}

/// As many bytes as one `printf` prints: short enough for every shell's line buffer.
const PIECE: usize = 4096;

/// Commands that print exactly these bytes. `printf` is built into the shell, so that nothing of it is in an argument
/// vector.
pub(super) fn print(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 8 + 16);
    for piece in bytes.chunks(PIECE) {
        text.push_str("printf '");
        piece.iter().for_each(|byte| escape(*byte, &mut text));
        text.push_str("'\n");
    }
    if bytes.is_empty() {
        text.push_str(":\n");
    }
    text
}

fn escape(byte: u8, text: &mut String) {
    match byte {
        b'\n' => text.push_str("\\n"),
        b'%' => text.push_str("%%"),
        b'\\' => text.push_str("\\\\"),
        b' '..=b'~' if byte != b'\'' => text.push(char::from(byte)),
        // Always three digits, so that a digit after it is not taken for one of them.
        byte => drop(write!(text, "\\{byte:03o}")),
    }
}
