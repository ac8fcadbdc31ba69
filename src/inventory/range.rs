//! Ranges in host names: `zk[1:3]`, `w[01:10]`, `rack[a:d]-n[1:9:2]`.
//!
//! In: one text. Out: the names it stands for, in order. Never: more than [`MOST`] of them.

/// No inventory of a person's own machines has more hosts in one range.
pub(super) const MOST: usize = 65_536;

/// The names a text stands for: one, if it has no range.
///
/// # Errors
/// What is wrong with the range.
pub(super) fn expand(text: &str) -> Result<Vec<String>, String> {
    let Some(open) = text.find('[') else { return Ok(vec![text.to_owned()]) };
    let close = text[open..].find(']').map(|at| open + at).ok_or("a range begins with `[` and has no `]`")?;
    let middle = range(&text[open + 1..close])?;
    let rest = expand(&text[close + 1..])?;
    if middle.len().saturating_mul(rest.len()) > MOST {
        return Err(format!("a range of more than {MOST} hosts"));
    }
    let head = &text[..open];
    Ok(middle.iter().flat_map(|part| rest.iter().map(move |tail| format!("{head}{part}{tail}"))).collect())
}

fn range(text: &str) -> Result<Vec<String>, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (first, last, step) = match parts.as_slice() {
        [first, last] => (*first, *last, "1"),
        [first, last, step] => (*first, *last, *step),
        _ => return Err(format!("`[{text}]` is no range: write [first:last] or [first:last:step]")),
    };
    let step: usize = step.parse().ok().filter(|step| *step > 0).ok_or(format!("`{step}` is no step"))?;
    letters(first, last, step).or_else(|| numbers(first, last, step)).unwrap_or_else(|| {
        Err(format!("`[{text}]` is no range: both ends are numbers, or both are single letters of one case"))
    })
}

type Names = Option<Result<Vec<String>, String>>;

fn letters(first: &str, last: &str, step: usize) -> Names {
    let single = |text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii_alphabetic() => Some(*byte),
        _ => None,
    };
    let (a, b) = (single(first)?, single(last)?);
    if a.is_ascii_lowercase() != b.is_ascii_lowercase() {
        return None;
    }
    Some(forwards(a <= b).map(|()| (a..=b).step_by(step).map(|byte| char::from(byte).to_string()).collect()))
}

fn numbers(first: &str, last: &str, step: usize) -> Names {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<usize>().ok()).flatten();
    let (a, b) = (number(first)?, number(last)?);
    if b.saturating_sub(a) / step > MOST {
        return Some(Err(format!("a range of more than {MOST} hosts")));
    }
    // `[01:10]` keeps its zeros: 01, 02, ... 10.
    let width = if first.len() > 1 && first.starts_with('0') { first.len() } else { 0 };
    Some(forwards(a <= b).map(|()| (a..=b).step_by(step).map(|n| format!("{n:0width$}")).collect()))
}

fn forwards(yes: bool) -> Result<(), String> {
    if yes { Ok(()) } else { Err("the range ends before it begins".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_inclusive_keep_zeros_and_combine() {
        for (text, names) in [
            ("zk1", "zk1"),
            ("zk[1:3]", "zk1 zk2 zk3"),
            ("w[08:10].lab", "w08.lab w09.lab w10.lab"),
            ("[a:c]", "a b c"),
            ("n[1:9:4]", "n1 n5 n9"),
            ("r[a:b]n[1:2]", "ran1 ran2 rbn1 rbn2"),
        ] {
            assert_eq!(expand(text).map(|names| names.join(" ")), Ok(names.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["a[1:2", "a[]", "a[1]", "a[3:1]", "a[1:c]", "a[a:C]", "a[1:2:0]", "a[1:99999999]", "a[1:999][1:999]"] {
            assert!(expand(text).is_err(), "{text}");
        }
    }
}
