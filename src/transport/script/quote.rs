//! How a text becomes a word of a shell.
//!
//! In: texts and bytes from anywhere. Out: shell text that stands for exactly them, in any POSIX shell.
//! Never: a byte of them that the shell could read as anything but itself.

/// Why a text cannot be an argument of a program: Unix ends arguments at a NUL.
pub(super) const NUL: &str = "a NUL cannot be part of a path, name or argument";

pub use crate::transport::quote::quote;

/// Bytes one `printf` writes: short enough for every shell, long enough to be few.
const CHUNK: usize = 16 * 1024;

/// Commands that write exactly these bytes, by the shell's own `printf`: nothing is to be seen in the list of processes.
pub fn write_bytes(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return ":".to_owned();
    }
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 4 + 64);
    for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
        text.push_str(if index == 0 { "printf '" } else { " &&\nprintf '" });
        escape(chunk, &mut text);
        text.push('\'');
    }
    text
}

/// A format for `printf`. A dash at its beginning would be an option.
fn escape(bytes: &[u8], text: &mut String) {
    use std::fmt::Write as _;
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            b'%' => text.push_str("%%"),
            b'\\' => text.push_str(r"\\"),
            b'-' if index == 0 => text.push_str(r"\055"),
            b'\n' | b' '..=b'~' if byte != b'\'' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, r"\{byte:03o}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_a_format_without_surprises() {
        assert_eq!(write_bytes(b"-n 100%\\'\0\xff\n"), "printf '\\055n 100%%\\\\\\047\\000\\377\n'");
        assert_eq!(write_bytes(b""), ":");
        assert_eq!(write_bytes(&vec![b'a'; CHUNK + 1]).matches("printf").count(), 2);
    }
}
