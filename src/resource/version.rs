//! The order of Debian's version numbers, and of RPM's.
//!
//! In: two versions. Out: which is later. Never: a guess about what an archive has.
//!
//! The rules are those of `deb-version(7)` and of `rpm-version(7)`.

use std::cmp::Ordering;

/// Which of two versions is later.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let ((epoch_a, rest_a), (epoch_b, rest_b)) = (epoch(a), epoch(b));
    let ((upstream_a, revision_a), (upstream_b, revision_b)) = (revision(rest_a), revision(rest_b));
    epoch_a.cmp(&epoch_b).then_with(|| part(upstream_a, upstream_b)).then_with(|| part(revision_a, revision_b))
}

fn epoch(version: &str) -> (u64, &str) {
    version.split_once(':').map_or((0, version), |(epoch, rest)| (epoch.parse().unwrap_or(0), rest))
}

fn revision(version: &str) -> (&str, &str) {
    version.rsplit_once('-').unwrap_or((version, "0"))
}

/// Texts and numbers by turns.
fn part(mut a: &str, mut b: &str) -> Ordering {
    while !(a.is_empty() && b.is_empty()) {
        let ((text_a, rest_a), (text_b, rest_b)) = (split(a, false), split(b, false));
        let ((number_a, next_a), (number_b, next_b)) = (split(rest_a, true), split(rest_b, true));
        let order = texts(text_a, text_b).then_with(|| numbers(number_a, number_b));
        if order.is_ne() {
            return order;
        }
        (a, b) = (next_a, next_b);
    }
    Ordering::Equal
}

fn split(text: &str, digits: bool) -> (&str, &str) {
    text.split_at(text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len()))
}

fn texts(a: &str, b: &str) -> Ordering {
    let length = a.len().max(b.len());
    let weights = |text: &str| text.bytes().map(weight).chain(std::iter::repeat(1)).take(length).collect::<Vec<_>>();
    weights(a).cmp(&weights(b))
}

/// A tilde is before the end, which is before letters, which are before everything else.
fn weight(byte: u8) -> u32 {
    match byte {
        b'~' => 0,
        letter if letter.is_ascii_alphabetic() => 2 + u32::from(letter),
        other => 1000 + u32::from(other),
    }
}

fn numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Which of two versions of RPM packages is later. Without a release, any release is the same.
pub(super) fn compare_rpm(a: &str, b: &str) -> Ordering {
    let ((epoch_a, rest_a), (epoch_b, rest_b)) = (epoch(a), epoch(b));
    let ((version_a, release_a), (version_b, release_b)) = (release(rest_a), release(rest_b));
    let releases = release_a.zip(release_b).map_or(Ordering::Equal, |(a, b)| segments(a, b));
    epoch_a.cmp(&epoch_b).then_with(|| segments(version_a, version_b)).then(releases)
}

fn release(version: &str) -> (&str, Option<&str>) {
    version.rsplit_once('-').map_or((version, None), |(version, release)| (version, Some(release)))
}

/// Letters or digits by turns; what is between them only parts them, but for `~` (before the end) and `^` (after it).
fn segments(a: &str, b: &str) -> Ordering {
    let parting = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '~' | '^');
    let (a, b) = (a.trim_start_matches(parting), b.trim_start_matches(parting));
    match (a.strip_prefix('~'), b.strip_prefix('~')) {
        (Some(a), Some(b)) => return segments(a, b),
        (Some(_), None) => return Ordering::Less,
        (None, Some(_)) => return Ordering::Greater,
        (None, None) => {}
    }
    match (a.strip_prefix('^'), b.strip_prefix('^')) {
        (Some(a), Some(b)) => return segments(a, b),
        (Some(_), None) => return if b.is_empty() { Ordering::Greater } else { Ordering::Less },
        (None, Some(_)) => return if a.is_empty() { Ordering::Less } else { Ordering::Greater },
        (None, None) => {}
    }
    if a.is_empty() || b.is_empty() {
        return a.len().cmp(&b.len());
    }
    segment(a, b)
}

/// Numbers are later than letters.
fn segment(a: &str, b: &str) -> Ordering {
    let (digits_a, digits_b) =
        (a.starts_with(|c: char| c.is_ascii_digit()), b.starts_with(|c: char| c.is_ascii_digit()));
    if digits_a != digits_b {
        return digits_a.cmp(&digits_b);
    }
    let end = |text: &str| {
        let same = |c: char| if digits_a { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
        text.find(|c: char| !same(c)).unwrap_or(text.len())
    };
    let ((a, rest_a), (b, rest_b)) = (a.split_at(end(a)), b.split_at(end(b)));
    let order = if digits_a { numbers(a, b) } else { a.cmp(b) };
    order.then_with(|| segments(rest_a, rest_b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        // Each pair was confirmed by `dpkg --compare-versions A lt B`.
        for (a, b) in [
            ("1.0", "1.1"),
            ("1.9", "1.10"),
            ("1.0~rc1", "1.0"),
            ("1.0~~", "1.0~"),
            ("1.0", "1.0a"),
            ("1.0a", "1.0+"),
            ("9", "1:1"),
            ("1.0-1", "1.0-2"),
            ("1.0-1", "1.0-1+b1"),
            ("1.0", "1.0-1"),
            ("3.8.0-11", "3.8.0-11+deb12u2"),
            ("2.0-1~bpo12+1", "2.0-1"),
            ("1.0a1", "1.0b"),
        ] {
            assert_eq!(compare(a, b), Ordering::Less, "{a} {b}");
            assert_eq!(compare(b, a), Ordering::Greater, "{b} {a}");
        }
        for (a, b) in [("1.0", "1.0-0"), ("0:1", "1"), ("1.01", "1.1")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    #[test]
    fn versions_are_ordered_as_rpm_orders_them() {
        // The pairs are those of rpm's own tests (tests/rpmvercmp.at), and of packages with epochs.
        for (a, b) in [
            ("1.0", "2.0"),
            ("2.0", "2.0.1"),
            ("2.0.1", "2.0.1a"),
            ("5.5p1", "5.5p2"),
            ("5.5p1", "5.5p10"),
            ("xyz.4", "8"),
            ("xyz10", "xyz10.1"),
            ("1.0~rc1", "1.0"),
            ("1.0~rc1~git123", "1.0~rc1"),
            ("1.0", "1.0^"),
            ("1.0^git1", "1.0^git2"),
            ("1.0^git1", "1.01"),
            ("1.0^20160101", "1.0.1"),
            ("1.0^git1~pre", "1.0^git1"),
            ("5.1.8-6.el9", "5.1.8-6.el9_1"),
            ("9.9-1", "1:1.0-1"),
        ] {
            assert_eq!(compare_rpm(a, b), Ordering::Less, "{a} {b}");
            assert_eq!(compare_rpm(b, a), Ordering::Greater, "{b} {a}");
        }
        for (a, b) in [("1.0", "1_0"), ("1.0.", "1.0"), ("2.01", "2.1"), ("1.0", "1.0-3.el9")] {
            assert_eq!(compare_rpm(a, b), Ordering::Equal, "{a} {b}");
        }
    }
}
