//! Many host names written as one: `zk[1:3]`, `w[01:20]`, `rack[a:d]-[0:9:2]`.
//!
//! In: a name as written, with or without ranges. Out: every name it stands for, the last range counting fastest.
//! Never: a range that is empty, runs backwards or makes more than [`MOST`] names.
//!
//! The notation is Ansible's
//! (<https://docs.ansible.com/ansible/latest/inventory_guide/intro_inventory.html#adding-ranges-of-hosts>): both ends
//! belong to the range, a third part is the step, and leading zeros of the first end are kept. Stricter than there: a
//! range that runs backwards is an error (Ansible makes it empty), and `[a:D]` does not run from small to large letters.

use super::{ALL, UNGROUPED};
use crate::diag::Diagnostic;
use crate::name::HostName;

/// The most hosts of one name, and of an inventory: a typing error like `[1:1000000]` is not worth the memory.
pub(super) const MOST: usize = 65_536;
/// As many digits as a `u64` can have.
const WIDEST: usize = 20;

/// Every host a written name stands for.
///
/// # Errors
/// When a range is not understood or too large, or a name it makes is no host name; without a place.
pub(super) fn expand(text: &str) -> Result<Vec<HostName>, Diagnostic> {
    let parts = parts(text)?;
    let count = parts.iter().try_fold(1_usize, |count, part| count.checked_mul(part.len()).filter(|n| *n <= MOST));
    let Some(count) = count else {
        return Err(Diagnostic::error(format!("`{text}` stands for more than {MOST} hosts")));
    };
    (0..count).map(|index| name(&parts, index)).collect()
}

/// Whether more than one host can be meant.
pub(super) fn has_range(text: &str) -> bool {
    text.contains('[')
}

fn name(parts: &[RangePart<'_>], mut index: usize) -> Result<HostName, Diagnostic> {
    let mut pieces: Vec<String> = Vec::with_capacity(parts.len());
    for part in parts.iter().rev() {
        pieces.push(part.nth(index % part.len()));
        index /= part.len();
    }
    pieces.reverse();
    let name = pieces.concat();
    if [ALL, UNGROUPED].contains(&name.as_str()) {
        return Err(Diagnostic::error(format!(
            "invalid host name `{name}`: it is the name of a group that always exists"
        )));
    }
    HostName::new(&name).map_err(Diagnostic::from)
}

/// A piece of a written name.
enum RangePart<'a> {
    Literal(&'a str),
    Numbers { first: u64, step: u64, count: usize, width: usize },
    Letters { first: u8, step: u8, count: usize },
}

impl RangePart<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Literal(_) => 1,
            Self::Numbers { count, .. } | Self::Letters { count, .. } => *count,
        }
    }

    /// The piece of the name with this index; it is less than `len`, so no sum leaves the range.
    fn nth(&self, index: usize) -> String {
        match self {
            Self::Literal(text) => (*text).to_owned(),
            Self::Numbers { first, step, width, .. } => format!("{:0width$}", first + step * index as u64),
            Self::Letters { first, step, .. } => {
                let offset = u8::try_from(index * usize::from(*step)).unwrap_or(u8::MAX);
                char::from(first.saturating_add(offset)).to_string()
            }
        }
    }
}

fn parts(text: &str) -> Result<Vec<RangePart<'_>>, Diagnostic> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('[') {
        let Some((inside, end)) = after.split_once(']') else {
            return Err(Diagnostic::error(format!("`{text}` has a `[` without its `]`")).hint(EXAMPLE));
        };
        parts.push(literal_part(text, literal)?);
        parts.push(range(inside)?);
        rest = end;
    }
    parts.push(literal_part(text, rest)?);
    Ok(parts)
}

const EXAMPLE: &str =
    "a range of hosts is written `web[1:20]`, `web[01:20]`, `rack[a:d]` or, with a step, `web[1:9:2]`";

/// Checked before anything is multiplied, so that a long text is refused once and not 65,536 times.
fn literal_part<'a>(text: &str, literal: &'a str) -> Result<RangePart<'a>, Diagnostic> {
    if literal.contains(']') {
        return Err(Diagnostic::error(format!("`{text}` has a `]` without its `[`")).hint(EXAMPLE));
    }
    if literal.len() > 253 {
        return Err(Diagnostic::error("a host name is longer than 253 characters"));
    }
    Ok(RangePart::Literal(literal))
}

fn range(inside: &str) -> Result<RangePart<'static>, Diagnostic> {
    let ends: Vec<&str> = inside.split(':').collect();
    let (first, last, step) = match ends[..] {
        [first, last] => (first, last, "1"),
        [first, last, step] => (first, last, step),
        _ => return Err(no_range(inside, "it needs two ends")),
    };
    let step = step.parse().ok().filter(|step| *step > 0);
    let step: u64 = step.ok_or_else(|| no_range(inside, "its step must be a whole number from 1"))?;
    match (first.as_bytes(), last.as_bytes()) {
        ([first], [last]) if first.is_ascii_alphabetic() && last.is_ascii_alphabetic() => {
            letters(inside, *first, *last, step)
        }
        _ => numbers(inside, if first.is_empty() { "0" } else { first }, last, step),
    }
}

fn letters(inside: &str, first: u8, last: u8, step: u64) -> Result<RangePart<'static>, Diagnostic> {
    if first.is_ascii_lowercase() != last.is_ascii_lowercase() {
        return Err(no_range(inside, "one end is a lower-case letter and the other is not"));
    }
    if first > last {
        return Err(backwards(inside));
    }
    let step = u8::try_from(step).unwrap_or(u8::MAX);
    Ok(RangePart::Letters { first, step, count: usize::from((last - first) / step) + 1 })
}

fn numbers(inside: &str, first: &str, last: &str, step: u64) -> Result<RangePart<'static>, Diagnostic> {
    let padded = first.len() > 1 && first.starts_with('0');
    if first.len() > WIDEST || last.len() > WIDEST {
        return Err(no_range(inside, "its numbers are too long"));
    }
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| digits)
    };
    let (Some(from), Some(to)) = (number(first), number(last)) else {
        return Err(no_range(inside, "its ends are neither two numbers nor two letters"));
    };
    if padded && first.len() != last.len() {
        let wide =
            format!("with leading zeros both ends have the same length: `[{from:0w$}:{to:0w$}]`", w = last.len());
        return Err(no_range(inside, "its ends must have the same length").hint(wide));
    }
    if from > to {
        return Err(backwards(inside));
    }
    let count = usize::try_from((to - from) / step).unwrap_or(usize::MAX).saturating_add(1);
    Ok(RangePart::Numbers { first: from, step, count, width: if padded { first.len() } else { 1 } })
}

fn backwards(inside: &str) -> Diagnostic {
    let mut ends: Vec<&str> = inside.split(':').collect();
    ends.swap(0, 1);
    Diagnostic::error(format!("the range `[{inside}]` runs backwards"))
        .hint(format!("did you mean `[{}]`?", ends.join(":")))
}

fn no_range(inside: &str, why: &str) -> Diagnostic {
    Diagnostic::error(format!("invalid range `[{inside}]`: {why}")).hint(EXAMPLE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str) -> String {
        match expand(text) {
            Ok(names) => names.iter().map(HostName::as_str).collect::<Vec<_>>().join(" "),
            Err(problem) => problem.what,
        }
    }

    #[test]
    fn a_range_holds_both_ends_and_keeps_zeros_and_steps() {
        for (text, expected) in [
            ("zk1", "zk1"),
            ("zk[1:3]", "zk1 zk2 zk3"),
            ("w[08:11].lan", "w08.lan w09.lan w10.lan w11.lan"),
            ("w[0:9:4]", "w0 w4 w8"),
            ("w[:2]", "w0 w1 w2"),
            ("r[a:c]", "ra rb rc"),
            ("r[A:Z:20]", "rA rU"),
            ("r[a:b]-[1:2]", "ra-1 ra-2 rb-1 rb-2"),
            ("w[5:5]", "w5"),
            ("w[18446744073709551614:18446744073709551615]", "w18446744073709551614 w18446744073709551615"),
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
    }

    #[test]
    fn a_range_that_cannot_be_meant_is_refused() {
        for (text, expected) in [
            ("w[3:1]", "the range `[3:1]` runs backwards"),
            ("w[d:a]", "the range `[d:a]` runs backwards"),
            ("w[1:9:0]", "invalid range `[1:9:0]`: its step must be a whole number from 1"),
            ("w[]", "invalid range `[]`: it needs two ends"),
            ("w[3]", "invalid range `[3]`: it needs two ends"),
            ("w[1:]", "invalid range `[1:]`: its ends are neither two numbers nor two letters"),
            ("w[+1:2]", "invalid range `[+1:2]`: its ends are neither two numbers nor two letters"),
            ("w[a:Z]", "invalid range `[a:Z]`: one end is a lower-case letter and the other is not"),
            ("w[01:100]", "invalid range `[01:100]`: its ends must have the same length"),
            ("w[1:65537]", "`w[1:65537]` stands for more than 65536 hosts"),
            ("w[1:300]-[1:300]", "`w[1:300]-[1:300]` stands for more than 65536 hosts"),
            ("w[0:18446744073709551615]", "`w[0:18446744073709551615]` stands for more than 65536 hosts"),
            ("w[1:2", "`w[1:2` has a `[` without its `]`"),
            ("w1:2]", "`w1:2]` has a `]` without its `[`"),
            ("al[l:l]", "invalid host name `all`: it is the name of a group that always exists"),
            ("", "invalid host name ``: it is empty"),
            ("w 1", "invalid host name `w 1`: only letters, digits, `-`, `_` and `.` are allowed"),
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-c0-9:\\[\\]-]{0,12}|\\PC{0,40}") {
            if let Ok(names) = expand(&text) {
                prop_assert!(!names.is_empty() && names.len() <= MOST);
            }
        }
    }
}
