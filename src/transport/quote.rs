//! How a text becomes a word of a shell.

/// One word: shell text that stands for exactly this text, in any POSIX shell. The one place where texts are quoted.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word() {
        assert_eq!(quote("it's; $(x)"), r"'it'\''s; $(x)'");
        assert_eq!(quote(""), "''");
    }
}
