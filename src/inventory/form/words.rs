//! A line as words, as a POSIX shell would split it, but with nothing replaced.
//!
//! In: one line. Out: its words, each with the column it begins at. Never: a variable, glob or substitution.
//!
//! The rules are those of Python's `shlex.split` (<https://docs.python.org/3/library/shlex.html#parsing-rules>), by which
//! Ansible reads host lines and arguments of ssh: a `#` begins a comment wherever it stands outside of quotes.

/// Whether `#` begins a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::inventory) enum Comments {
    Left,
    Words,
}

/// A word and where it begins, in characters from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::inventory) struct Word {
    pub(in crate::inventory) text: String,
    pub(in crate::inventory) column: usize,
}

/// What is not finished at the end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::inventory) enum Unfinished {
    #[error("a quote is not closed")]
    Quote,
    #[error("nothing follows the last backslash")]
    Escape,
}

/// Splits a line.
pub(in crate::inventory) fn split(line: &str, comments: Comments) -> Result<Vec<Word>, Unfinished> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut characters = line.chars().enumerate();
    while let Some((column, c)) = characters.next() {
        if matches!(c, ' ' | '\t' | '\r' | '\n') {
            words.extend(word.take());
            continue;
        }
        if c == '#' && comments == Comments::Left {
            break;
        }
        let text = &mut word.get_or_insert_with(|| Word { text: String::new(), column }).text;
        match c {
            '\\' => text.push(characters.next().ok_or(Unfinished::Escape)?.1),
            '"' | '\'' => quoted(c, &mut characters, text)?,
            c => text.push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// What stands up to the closing quote. Between double quotes a backslash protects a quote and a backslash.
fn quoted(
    quote: char,
    characters: &mut impl Iterator<Item = (usize, char)>,
    text: &mut String,
) -> Result<(), Unfinished> {
    loop {
        match characters.next().ok_or(Unfinished::Quote)?.1 {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match characters.next().ok_or(Unfinished::Escape)?.1 {
                c @ ('"' | '\\') => text.push(c),
                c => text.extend(['\\', c]),
            },
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        for (line, expected) in [
            ("a b=1  c='x y'", "a|b=1|c=x y"),
            (r#"a="x \"y\" \z" b=\"q\""#, r#"a=x "y" \z|b="q""#),
            ("a=b#c d=e", "a=b"),
            ("a # b", "a"),
            ("a='#' b=\"#\"", "a=#|b=#"),
            (r"u=a\ b", "u=a b"),
            ("''", ""),
            ("", ""),
        ] {
            let words = split(line, Comments::Left)
                .map(|words| words.into_iter().map(|word| word.text).collect::<Vec<_>>().join("|"));
            assert_eq!(words.as_deref(), Ok(expected), "{line}");
        }
        assert_eq!(split("a 'b", Comments::Left), Err(Unfinished::Quote));
        assert_eq!(split("a b\\", Comments::Left), Err(Unfinished::Escape));
        let columns =
            split("ä  bc=1", Comments::Words).map(|words| words.iter().map(|word| word.column).collect::<Vec<_>>());
        assert_eq!(columns, Ok(vec![0, 3]));
    }
}
