//! Frames: how a host answers.
//!
//! In: bytes, in pieces of any size. Out: frames, each a word, its arguments and its data.
//! Never: a frame that does not begin with the nonce of this conversation; whatever a login shell or a program
//! writes is either data of a frame or nothing.

/// One piece of an answer: `NONCE word argument...` on a line of its own, then data up to the next such line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) word: String,
    pub(super) arguments: Vec<String>,
    pub(super) data: Vec<u8>,
}

impl Frame {
    /// An argument as a number.
    pub(super) fn number<T: std::str::FromStr>(&self, place: usize) -> Option<T> {
        self.arguments.get(place)?.parse().ok()
    }

    /// The data as text; bytes that are none become U+FFFD.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }
}

/// Finds frames in a stream.
#[derive(Debug)]
pub(super) struct Frames {
    mark: Vec<u8>,
    buffer: Vec<u8>,
    scanned: usize,
    open: Option<(String, Vec<String>)>,
}

impl Frames {
    pub(super) fn new(nonce: &str) -> Self {
        Self { mark: format!("\n{nonce} ").into_bytes(), buffer: Vec::new(), scanned: 0, open: None }
    }

    /// Takes more of the stream; gives the frames that are whole now.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.buffer.extend_from_slice(bytes);
        let (mut frames, mut begin) = (Vec::new(), 0);
        while let Some(at) = find(&self.buffer, &self.mark, self.scanned.max(begin)) {
            let line = at + self.mark.len();
            let Some(length) = self.buffer[line..].iter().position(|byte| *byte == b'\n') else {
                self.scanned = at;
                break;
            };
            if let Some((word, arguments)) = self.open.take() {
                frames.push(Frame { word, arguments, data: self.buffer[begin..at].to_vec() });
            }
            self.open = Some(head(&self.buffer[line..line + length]));
            begin = line + length + 1;
            self.scanned = begin;
        }
        self.forget(begin);
        frames
    }

    /// Drops what was told, and noise before the first frame; keeps what may be the beginning of a mark.
    fn forget(&mut self, told: usize) {
        let unfinished = find(&self.buffer, &self.mark, self.scanned.max(told));
        let rest = unfinished.unwrap_or(self.buffer.len().saturating_sub(self.mark.len() - 1)).max(told);
        let keep = if self.open.is_some() { told } else { rest };
        self.buffer.drain(..keep);
        self.scanned = rest - keep;
    }
}

fn head(line: &[u8]) -> (String, Vec<String>) {
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_ascii_whitespace().map(str::to_owned);
    (words.next().unwrap_or_default(), words.collect())
}

/// Where the mark is. It begins with a newline, which is what is looked for.
fn find(buffer: &[u8], mark: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(step) = buffer.get(at..)?.iter().position(|byte| *byte == b'\n') {
        at += step;
        if buffer[at..].starts_with(mark) {
            return Some(at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"motd\nabc nothing\n\nabc one 1 x\nda\n\nta\nabcd\n\nabc two\n\nabc .\ntail";

    fn frame(word: &str, arguments: &[&str], data: &[u8]) -> Frame {
        Frame {
            word: word.to_owned(),
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            data: data.to_vec(),
        }
    }

    #[test]
    fn noise_is_ignored_and_data_is_exact_however_the_stream_is_cut() {
        let whole =
            [frame("nothing", &[], b""), frame("one", &["1", "x"], b"da\n\nta\nabcd\n"), frame("two", &[], b"")];
        for size in 1..=STREAM.len() {
            let mut frames = Frames::new("abc");
            let got: Vec<Frame> = STREAM.chunks(size).flat_map(|chunk| frames.push(chunk)).collect();
            assert_eq!(got, whole, "in pieces of {size}");
        }
    }

    #[test]
    fn endless_noise_before_the_first_frame_takes_no_memory() {
        let mut frames = Frames::new("abc");
        for _ in 0..1000 {
            assert!(frames.push(&[b'\n'; 1000]).is_empty());
        }
        assert!(frames.buffer.len() < 10);
    }
}
