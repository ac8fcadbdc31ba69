//! What was typed to begin a run, so that a hint can say what to type instead.
//!
//! It is only shown to whoever typed it, and never kept: the values of variables are in it. Errors may stand in the log of a
//! pipeline: with such values, their hints are only the flag.

use std::fmt;

use crate::diag::shown;
use crate::name::HostName;

/// The flags of a pattern of hosts.
const LIMIT: [&str; 2] = ["-l", "--limit"];

/// So many hosts are named in a pattern that is suggested; who has more knows how it goes on.
const NAMED: usize = 5;

/// The words of a command line, the program first; none where nobody typed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Typed(Vec<String>);

impl Typed {
    /// These words.
    pub fn new(words: impl IntoIterator<Item = String>) -> Self {
        Self(words.into_iter().collect())
    }

    /// The same with a flag that is there once.
    #[must_use]
    pub fn with(&self, flag: &str, value: Option<&str>) -> Self {
        let (mut words, _) = self.without(&[flag], value.is_some());
        words.push(flag.to_owned());
        words.extend(value.map(str::to_owned));
        Self(words)
    }

    /// The same for fewer hosts: those that were meant, without these.
    #[must_use]
    pub fn excluding<'a>(&self, hosts: impl IntoIterator<Item = &'a HostName>) -> Self {
        let (mut words, before) = self.without(&LIMIT, true);
        let mut pattern = before.unwrap_or_else(|| "all".to_owned());
        hosts.into_iter().take(NAMED).for_each(|host| pattern.extend([":!", host.as_str()]));
        words.extend([LIMIT[0].to_owned(), pattern]);
        Self(words)
    }

    /// The same for these hosts alone.
    #[must_use]
    pub fn only<'a>(&self, hosts: impl IntoIterator<Item = &'a HostName>) -> Self {
        let names: Vec<&str> = hosts.into_iter().take(NAMED).map(HostName::as_str).collect();
        self.with_limit(&names.join(":"))
    }

    fn with_limit(&self, pattern: &str) -> Self {
        let (mut words, _) = self.without(&LIMIT, true);
        words.extend([LIMIT[0].to_owned(), pattern.to_owned()]);
        Self(words)
    }

    /// The words without a flag of these names, and its last value: `-l x`, `-lx`, `--limit x`, `--limit=x`. No words if values
    /// of variables are among them, which may be secret.
    fn without(&self, flags: &[&str], has_value: bool) -> (Vec<String>, Option<String>) {
        if self.0.iter().any(|word| is_assignment(word)) {
            return (Vec::new(), None);
        }
        let (mut words, mut value) = (Vec::new(), None);
        let mut all = self.0.iter();
        while let Some(word) = all.next() {
            if flags.contains(&word.as_str()) {
                value = if has_value { all.next().cloned() } else { value };
                continue;
            }
            match flags.iter().find_map(|flag| attached(word, flag)).filter(|_| has_value) {
                Some(attached) => value = Some(attached.to_owned()),
                None => words.push(word.clone()),
            }
        }
        (words, value)
    }
}

/// Whether a word gives a variable its value, by itself or as a part of a flag, or may do so: what has a `=` and is no other
/// flag.
fn is_assignment(word: &str) -> bool {
    let is_other = (word.starts_with("--") && !word.starts_with("--var") && !word.starts_with("--extra-vars"))
        || word.starts_with("-l");
    word.contains('=') && !is_other
}

/// The value that is a part of the word of a flag.
fn attached<'a>(word: &'a str, flag: &str) -> Option<&'a str> {
    let rest = word.strip_prefix(flag).filter(|rest| !rest.is_empty())?;
    if flag.starts_with("--") { rest.strip_prefix('=') } else { Some(rest.strip_prefix('=').unwrap_or(rest)) }
}

/// Without the words: a value among them may be secret.
impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Typed").field(&self.0.len()).finish()
    }
}

/// As a shell takes it.
impl fmt::Display for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_alphanumeric() || "-_.:,=/@%+".contains(c);
        let word = |word: &String| {
            let is_plain = !word.is_empty() && word.chars().all(plain);
            if is_plain { word.clone() } else { format!("'{}'", word.replace('\'', "'\\''")) }
        };
        f.write_str(&shown(&self.0.iter().map(word).collect::<Vec<_>>().join(" ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Typed {
        Typed::new(text.split(' ').map(str::to_owned))
    }

    fn hosts(names: &[&str]) -> Vec<HostName> {
        names.iter().map(|name| HostName::new(name).expect("a name")).collect()
    }

    #[test]
    fn a_flag_is_there_once_with_its_last_value() {
        let more = |text: &str| typed(text).with("--max-removals", Some("25")).to_string();
        assert_eq!(more("armilla apply staging -y"), "armilla apply staging -y --max-removals 25");
        assert_eq!(more("armilla apply --max-removals 6 staging"), "armilla apply staging --max-removals 25");
        assert_eq!(more("armilla apply staging --max-removals=6"), "armilla apply staging --max-removals 25");
        assert_eq!(typed("armilla apply s").with("--adopt", None).to_string(), "armilla apply s --adopt");
        assert_eq!(Typed::default().with("--max-removals", Some("25")).to_string(), "--max-removals 25");
    }

    #[test]
    fn hosts_are_taken_out_of_those_that_were_meant() {
        let bad = hosts(&["w1", "w2"]);
        let less = |text: &str| typed(text).excluding(&bad).to_string();
        assert_eq!(less("armilla apply s -y"), "armilla apply s -y -l 'all:!w1:!w2'");
        for limit in ["-l web:&new", "-lweb:&new", "-l=web:&new", "--limit web:&new", "--limit=web:&new"] {
            assert_eq!(less(&format!("armilla apply s {limit} --lab")), "armilla apply s --lab -l 'web:&new:!w1:!w2'");
        }
        assert_eq!(typed("armilla apply s -l web").only(&bad).to_string(), "armilla apply s -l w1:w2");
    }

    #[test]
    fn words_are_quoted_as_a_shell_needs_it() {
        let typed = Typed::new(["armilla", "apply", "s", "--target", "it's a \u{1b}"].map(str::to_owned));
        assert_eq!(typed.to_string(), "armilla apply s --target 'it'\\''s a \\u{1b}'");
    }

    #[test]
    fn no_value_of_a_variable_is_repeated() {
        for text in [
            "-e token=S",
            "-etoken=S",
            "--var token=S",
            "--var=token=S",
            "--extra-vars=token=S",
            "-De token=S",
            "-var=token=S",
        ] {
            let hint = typed(&format!("armilla apply s {text}")).with("--max-removals", Some("25")).to_string();
            assert_eq!(hint, "--max-removals 25", "{text}");
        }
        let file = typed("armilla apply s -e @more.yml --lock-timeout=5m").with("--adopt", None).to_string();
        assert_eq!(file, "armilla apply s -e @more.yml --lock-timeout=5m --adopt");
    }
}
