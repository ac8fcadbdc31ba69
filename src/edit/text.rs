//! A text as lines that remember how they ended.
//!
//! In: bytes of a file. Out: its lines, to look at and change, and the bytes again. Never: a line ending changed, or a
//! missing last one added.

use super::{EditError, wrong};

/// A file's lines.
#[derive(Debug, Clone)]
pub(super) struct Text {
    rows: Vec<Row>,
    /// What it ends lines with: what the first one ends with.
    newline: &'static str,
}

#[derive(Debug, Clone)]
struct Row {
    text: String,
    end: &'static str,
}

impl Text {
    /// Reads UTF-8 text.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, EditError> {
        let Ok(text) = std::str::from_utf8(bytes) else { return wrong("it is not UTF-8 text") };
        if text.contains('\0') {
            return wrong("it is not text: it contains a zero byte");
        }
        let rows: Vec<Row> = text.split_inclusive('\n').map(Row::read).collect();
        let newline = rows.first().map_or("\n", |row| if row.end.is_empty() { "\n" } else { row.end });
        Ok(Self { rows, newline })
    }

    /// How many lines there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The lines in order, without their ends.
    pub(super) fn rows(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.rows.iter().map(|row| row.text.as_str())
    }

    /// One line.
    pub(super) fn row(&self, at: usize) -> &str {
        &self.rows[at].text
    }

    /// The places of the lines that are so.
    pub(super) fn places(&self, is: impl Fn(&str) -> bool) -> Vec<usize> {
        self.rows().enumerate().filter(|(_, row)| is(row)).map(|(at, _)| at).collect()
    }

    /// Gives a line another text.
    pub(super) fn replace(&mut self, at: usize, text: &str) {
        text.clone_into(&mut self.rows[at].text);
    }

    /// Puts a line before the one at this place, or at the end. The last line ends as the last one did.
    pub(super) fn insert(&mut self, at: usize, text: &str) {
        let mut end = self.newline;
        let last = if at == self.rows.len() { self.rows.last_mut() } else { None };
        if let Some(last) = last.filter(|last| last.end.is_empty()) {
            last.end = std::mem::take(&mut end);
        }
        self.rows.insert(at, Row { text: text.to_owned(), end });
    }

    /// Takes a line out.
    pub(super) fn remove(&mut self, at: usize) {
        let gone = self.rows.remove(at);
        if let Some(last) = self.rows.last_mut().filter(|_| gone.end.is_empty()) {
            last.end = "";
        }
    }

    /// Takes out the lines at these places, which are in order.
    pub(super) fn remove_all(&mut self, places: &[usize]) {
        places.iter().rev().for_each(|at| self.remove(*at));
    }

    /// All of it.
    pub(super) fn written(&self) -> String {
        self.rows.iter().flat_map(|row| [row.text.as_str(), row.end]).collect()
    }
}

impl Row {
    fn read(line: &str) -> Self {
        let end = ["\r\n", "\n"].into_iter().find(|end| line.ends_with(end)).unwrap_or_default();
        Self { text: line[..line.len() - end.len()].to_owned(), end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_stays_as_it_is() {
        for bytes in ["", "\n", "a", "a\n", "a\r\nb\n", "a\nb", "\r\n\r\n"] {
            assert_eq!(Text::read(bytes.as_bytes()).expect("a text").written(), bytes);
        }
        assert!(Text::read(b"a\0b").is_err());
        assert!(Text::read(&[0xff]).is_err());
    }

    #[test]
    fn the_last_line_ends_as_the_last_one_did() {
        let mut text = Text::read(b"a\r\nb").expect("a text");
        text.insert(2, "c");
        assert_eq!(text.written(), "a\r\nb\r\nc");
        text.remove(2);
        assert_eq!(text.written(), "a\r\nb");
    }
}
