//! What a program says, in bounded memory: its beginning and its end.

use std::collections::VecDeque;

/// How many bytes are kept of a stream, from its beginning and from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::host) struct Kept {
    /// Of the beginning.
    pub(in crate::host) head: usize,
    /// Of the end.
    pub(in crate::host) tail: usize,
}

impl Kept {
    /// A MiB, half of it from either end: more than a person reads.
    pub(in crate::host) const BOTH: Self = Self { head: 512 << 10, tail: 512 << 10 };

    /// Only so much of the beginning.
    pub(in crate::host) const fn first(head: usize) -> Self {
        Self { head, tail: 0 }
    }

    /// Only so much of the end.
    pub(in crate::host) const fn last(tail: usize) -> Self {
        Self { head: 0, tail }
    }
}

/// Bytes of which the middle is left out when they become too many.
#[derive(Debug, Clone)]
pub(in crate::host) struct Bounded {
    kept: Kept,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// How many there were in all.
    total: u64,
}

impl Bounded {
    /// Nothing yet.
    pub(super) fn new(kept: Kept) -> Self {
        Self { kept, head: Vec::new(), tail: VecDeque::new(), total: 0 }
    }

    /// Takes more.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let (first, rest) = bytes.split_at(bytes.len().min(self.kept.head - self.head.len()));
        self.head.extend_from_slice(first);
        let rest = &rest[rest.len().saturating_sub(self.kept.tail)..];
        let surplus = (self.tail.len() + rest.len()).saturating_sub(self.kept.tail);
        self.tail.drain(..surplus);
        self.tail.extend(rest);
    }

    /// How many bytes there were in all, those that were not kept among them.
    pub(in crate::host) fn total(&self) -> u64 {
        self.total
    }

    /// How many of them are not here any more.
    pub(in crate::host) fn left_out(&self) -> u64 {
        self.total - (self.head.len() + self.tail.len()) as u64
    }

    /// What was kept, with a line in the place of what was left out between its beginning and its end.
    pub(in crate::host) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        if self.left_out() > 0 && !self.head.is_empty() && !self.tail.is_empty() {
            bytes.extend_from_slice(format!("\n... {} bytes left out ...\n", self.left_out()).as_bytes());
        }
        bytes.extend(&self.tail);
        bytes
    }

    /// The last of what was kept.
    pub(in crate::host) fn end(&self, most: usize) -> Vec<u8> {
        let bytes = self.bytes();
        bytes[bytes.len().saturating_sub(most)..].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(kept: Kept, pieces: &[&[u8]]) -> Bounded {
        let mut bounded = Bounded::new(kept);
        for piece in pieces {
            bounded.push(piece);
        }
        bounded
    }

    #[test]
    fn all_is_kept_up_to_the_bound_and_the_middle_left_out_beyond_it() {
        let kept = Kept { head: 3, tail: 4 };
        let text = b"0123456789";
        for size in 1..=text.len() {
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            let whole = bounded(kept, &pieces);
            assert_eq!(whole.bytes(), b"012\n... 3 bytes left out ...\n6789", "in pieces of {size}");
            assert_eq!((whole.total(), whole.left_out(), whole.end(2)), (10, 3, b"89".to_vec()));
            let pieces: Vec<&[u8]> = text[..7].chunks(size).collect();
            assert_eq!(bounded(kept, &pieces).bytes(), b"0123456", "in pieces of {size}");
        }
        assert_eq!(bounded(Kept::first(2), &[b"a", b"bc"]).bytes(), b"ab");
        assert_eq!(bounded(Kept::last(2), &[b"a", b"bc"]).bytes(), b"bc");
        assert_eq!(bounded(Kept::BOTH, &[]).bytes(), b"");
    }

    #[test]
    fn memory_is_bounded() {
        let chunk = vec![b'x'; 64 << 10];
        let pieces = vec![chunk.as_slice(); 100];
        let much = bounded(Kept::BOTH, &pieces);
        assert!(much.bytes().len() < (1 << 20) + 64 && much.head.capacity() + much.tail.capacity() <= 3 << 20);
    }
}
