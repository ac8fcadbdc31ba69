//! Names of hosts. In come names as a user typed them, out go names that systemd, ssh and resolvers all accept, or a
//! refusal with the nearest known name. It never looks at the machine.

use super::error::LabError;

/// The name by which hosts know the machine itself.
pub(crate) const GATEWAY: &str = "lab-gateway";

/// Checks every name before anything is made.
pub(crate) fn check_all<S: AsRef<str>>(names: &[S]) -> Result<(), LabError> {
    names.iter().try_for_each(|name| check(name.as_ref()))
}

/// A host is named by one label of RFC 1123 section 2.1, in lower case as resolvers ignore case and folders do not.
pub(crate) fn check(name: &str) -> Result<(), LabError> {
    match flaw(name) {
        Some(reason) => Err(LabError::BadName { name: name.to_owned(), reason }),
        None => Ok(()),
    }
}

fn flaw(name: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 63 {
        Some("it must have 1 to 63 characters")
    } else if !name.chars().all(plain) {
        Some("only the lower-case letters a-z, digits and - are allowed, like web-1")
    } else if name.starts_with('-') || name.ends_with('-') {
        Some("it must not begin or end with -")
    } else if name.chars().all(|c| c.is_ascii_digit()) {
        Some("a name of digits only is read as an address; add a letter, like h1")
    } else if name == GATEWAY || name == "localhost" {
        Some("this name is already taken in every host")
    } else {
        None
    }
}

/// Names for `up N`: PREFIX1 to PREFIXN.
pub fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{prefix}{number}")).collect()
}

/// The error for a name that no host has.
pub(crate) fn unknown(name: &str, known: &[String]) -> LabError {
    LabError::Unknown { name: name.to_owned(), hint: hint(name, known) }
}

fn hint(name: &str, known: &[String]) -> String {
    if known.is_empty() {
        return ": it has no hosts yet, type `armilla lab up 3`".to_owned();
    }
    // The nearest are those one or two slips of the finger away.
    let slips = |other: &String| strsim::damerau_levenshtein(name, other);
    let mut near: Vec<_> = known.iter().filter(|other| slips(other) <= (name.len() / 2).min(2)).collect();
    near.sort_by_key(|other| slips(other));
    let near: Vec<_> = near.into_iter().take(3).map(String::as_str).collect();
    if near.is_empty() {
        ": `armilla lab list` shows the names".to_owned()
    } else {
        format!(": did you mean {}?", near.join(", "))
    }
}

/// Orders names as a reader counts: h2 before h10.
pub(crate) fn natural(name: &str) -> (String, u64, String) {
    let digits = name.chars().rev().take_while(char::is_ascii_digit).count();
    let (word, number) = name.split_at(name.len() - digits);
    (word.to_owned(), number.parse().unwrap_or(u64::MAX), name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_pass() {
        for name in ["h1", "web-1", "a", "1a", &"x".repeat(63)] {
            assert!(check(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for name in ["", "-a", "a-", "a.b", "a_b", "A", "12", "ä", "a/b", "..", GATEWAY, &"x".repeat(64)] {
            assert!(check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_brings_the_nearest() {
        let known = ["web1".to_owned(), "zoo1".to_owned()];
        assert_eq!(unknown("wbe1", &known).to_string(), "no host \"wbe1\" in the lab: did you mean web1?");
        assert!(unknown("h", &[]).to_string().contains("lab up 3"));
    }

    #[test]
    fn names_sort_as_a_reader_counts() {
        let mut names = numbered("h", 10);
        names.reverse();
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, numbered("h", 10));
    }
}
