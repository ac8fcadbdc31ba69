//! What a program says, out of the stream it comes in.
//!
//! In: one stream of a [`super::run_script`], in pieces of any size. Out: the program's own bytes at once, and its exit
//! code. Never: a byte from before its beginning or after its end, or a sign of life between.

/// Reads one of the two streams.
#[derive(Debug)]
pub struct Relay {
    /// The nonce and a blank: what no program knows.
    mark: Vec<u8>,
    buffer: Vec<u8>,
    begun: bool,
    end: Option<i32>,
}

/// The longest word behind a mark, with its `;`.
const LONGEST: usize = 16;

impl Relay {
    /// Before the first byte.
    pub fn new(nonce: &str) -> Self {
        Self { mark: format!("{nonce} ").into_bytes(), buffer: Vec::new(), begun: false, end: None }
    }

    /// Takes more of the stream; gives what the program said in it.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.buffer.extend_from_slice(bytes);
        let mut said = Vec::new();
        while let Some(at) = position(&self.buffer, &self.mark) {
            let word = at + self.mark.len();
            let rest = &self.buffer[word..];
            let Some(length) = rest.iter().take(LONGEST).position(|byte| *byte == b';') else {
                self.pass(at, &mut said);
                return said;
            };
            let word = String::from_utf8_lossy(&rest[..length]).into_owned();
            self.pass(at, &mut said);
            self.buffer.drain(..=self.mark.len() + length);
            self.heed(&word);
        }
        self.pass(self.buffer.len() - unfinished(&self.buffer, &self.mark), &mut said);
        said
    }

    /// The exit code, once it has ended.
    pub fn end(&self) -> Option<i32> {
        self.end
    }

    fn pass(&mut self, count: usize, said: &mut Vec<u8>) {
        let bytes = self.buffer.drain(..count);
        if self.begun && self.end.is_none() {
            said.extend(bytes);
        }
    }

    fn heed(&mut self, word: &str) {
        match word.strip_prefix("end ") {
            Some(code) => self.end = code.parse().ok(),
            None => self.begun |= word == "begin",
        }
    }
}

fn position(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

/// How many bytes at the end may be the beginning of a mark.
fn unfinished(bytes: &[u8], mark: &[u8]) -> usize {
    (1..mark.len()).rev().find(|count| bytes.ends_with(&mark[..*count])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_exact_however_the_stream_is_cut() {
        let stream = b"noise NONC\nNONCE begin;one\nNONCE beat; two NONNONCE beat;CE\n\xff\0NONCE end 7;late";
        for size in 1..=stream.len() {
            let mut relay = Relay::new("NONCE");
            let said: Vec<u8> = stream.chunks(size).flat_map(|piece| relay.push(piece)).collect();
            assert_eq!(said, b"one\n two NONCE\n\xff\0", "in pieces of {size}");
            assert_eq!(relay.end(), Some(7), "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_is_passed_on_as_soon_as_it_is_there() {
        let mut relay = Relay::new("NONCE");
        relay.push(b"NONCE begin;");
        assert_eq!(relay.push(b"working\n"), b"working\n");
        assert_eq!((relay.push(b"N"), relay.push(b"o")), (Vec::new(), b"No".to_vec()));
    }
}
