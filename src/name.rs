//! The names of things, each a type of its own and checked once, where it enters.
//!
//! In: what a user wrote. Out: names that are safe to show, to compare and to pass to `ssh`.
//! Never: a name that begins with a dash, holds a control character, or stands for another kind of thing.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} `{}`: {why}", .text.escape_debug())]
pub struct InvalidName {
    what: &'static str,
    text: String,
    why: &'static str,
}

impl InvalidName {
    /// The nearest text that is a name: what cannot be in one replaced by dashes. None if nothing is left of it.
    pub fn nearest(&self) -> Option<String> {
        let kept: String = self.text.chars().map(|c| if word(c) { c } else { '-' }).take(LONGEST).collect();
        let name = kept.trim_matches(['-', '.']);
        (!name.is_empty()).then(|| name.to_owned())
    }
}

const LONGEST: usize = 253;

fn check(what: &'static str, text: &str, allowed: fn(char) -> bool) -> Result<(), InvalidName> {
    let why = if text.is_empty() {
        "it is empty"
    } else if text.len() > LONGEST {
        "it is longer than 253 characters"
    } else if text.starts_with(['-', '.']) {
        "it begins with a dash or a dot"
    } else if !text.chars().all(allowed) {
        "only letters, digits, `-`, `_` and `.` are allowed"
    } else {
        return Ok(());
    };
    Err(InvalidName { what, text: text.to_owned(), why })
}

fn word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn host(c: char) -> bool {
    word(c) || c == ':'
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $what:literal, $allowed:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks the text.
            ///
            /// # Errors
            /// When it is empty, too long, begins with a dash or a dot, or holds a character no name has.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                check($what, text, $allowed)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

names! {
    /// A machine, by the name the inventory gives it.
    HostName = "host name", host;
    /// A group of hosts.
    GroupName = "group name", word;
    /// A role: a folder of `roles/`, or one that the binary carries.
    RoleName = "role name", word;
    /// A service of `site.yml`.
    ServiceName = "service name", word;
    /// An environment: a folder of `inventories/`.
    EnvName = "environment name", word;
    /// A word by which resources can be chosen.
    Tag = "tag", word;
    /// One run of `apply` or its like: when it began, the parts of a second as letters, `20261121-140203-k3fq`.
    RunId = "run", word;
}

/// What tells a project from every other one on the same hosts: `shop-k3fq8w2n7d`, the name its folder had when the identity
/// was made, and ten random characters. It stays when the folder is renamed or copied: a copy is the same project.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectId(std::sync::Arc<str>);

impl ProjectId {
    /// The characters of the random part: none looks like another.
    const RANDOM: &'static [u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";
    /// How many there are: 50 bits.
    const DIGITS: usize = 10;
    const LONGEST: usize = 64;

    /// Checks the text.
    ///
    /// # Errors
    /// When it is not a name, a dash and ten random characters. A name without them could be that of two projects.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        const WHAT: &str = "project identity";
        check(WHAT, text, |c| c.is_ascii() && word(c))?;
        let random = |part: &str| part.len() == Self::DIGITS && part.bytes().all(|byte| Self::RANDOM.contains(&byte));
        let why = match text.rsplit_once('-') {
            Some((name, part)) if !name.is_empty() && random(part) && text.len() <= Self::LONGEST => {
                return Ok(Self(text.into()));
            }
            _ => "it must be a name, a dash and ten random characters, as written by `armilla init` or the first apply",
        };
        Err(InvalidName { what: WHAT, text: text.to_owned(), why })
    }

    /// A new one for a project in a folder of this name.
    pub fn compose(folder: &str, random: u64) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = folder.chars().map(plain).take(Self::LONGEST - Self::DIGITS - 1).collect();
        let name = name.trim_matches('-');
        let digit = |place: usize| {
            let index = usize::try_from(random >> (5 * place) & 31).unwrap_or_default();
            char::from(Self::RANDOM[index])
        };
        let digits: String = (0..Self::DIGITS).map(digit).collect();
        Self(format!("{}-{digits}", if name.is_empty() { "project" } else { name }).into())
    }

    /// The identity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl serde::Serialize for ProjectId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for ProjectId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// Whose resources they are: those of one environment of one project. Each owner has a ledger of its own on a host.
///
/// It is written as one word: `staging@shop-k3fq8w2n7d`. What was written before projects had identities says only
/// `staging`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The project; none if it is not known.
    pub project: Option<ProjectId>,
    /// The environment.
    pub environment: EnvName,
}

impl Owner {
    /// The word.
    pub fn word(&self) -> String {
        match &self.project {
            Some(project) => format!("{}@{project}", self.environment),
            None => self.environment.to_string(),
        }
    }

    /// Reads the word.
    ///
    /// # Errors
    /// When a part of it is not a name.
    pub fn parse(word: &str) -> Result<Self, InvalidName> {
        let (environment, project) = word.split_once('@').map_or((word, None), |(name, id)| (name, Some(id)));
        let project = project.map(ProjectId::new).transpose()?;
        Ok(Self { project, environment: EnvName::new(environment)? })
    }

    /// The same environment of a project that is not known.
    #[must_use]
    pub fn without_project(&self) -> Self {
        Self { project: None, environment: self.environment.clone() }
    }
}

/// The environment of a project that is not known.
impl From<EnvName> for Owner {
    fn from(environment: EnvName) -> Self {
        Self { project: None, environment }
    }
}

/// For a message: `staging of shop-k3fq8w2n7d`.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.project {
            Some(project) => write!(f, "{} of {project}", self.environment),
            None => self.environment.fmt(f),
        }
    }
}

impl serde::Serialize for Owner {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.word())
    }
}

impl<'de> serde::Deserialize<'de> for Owner {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Where a resource lives: `zk1`, `zookeeper`, `file /etc/zookeeper/conf/zoo.cfg`.
///
/// It names the resource in plans, events and errors, and stays the same as long as the thing does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The host it is on.
    pub host: HostName,
    /// The role that wants it.
    pub role: RoleName,
    /// The word in YAML, such as `file`.
    #[serde(deserialize_with = "interned")]
    pub kind: Word,
    /// What it owns on the host, such as a path.
    pub target: String,
}

/// A word of the program itself, such as the name of a kind. It has a name of its own because serde's macros take a field
/// of type `&'static str` for one that borrows from what is read.
pub type Word = &'static str;

/// For `#[serde(deserialize_with)]`: a [`Word`] that was written down. A word is kept for ever once it was read, so there
/// are no more of them than a program of this sort can have.
///
/// # Errors
/// When it is no text, too long, or one too many.
pub fn interned<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
    use serde::{Deserialize as _, de::Error as _};
    let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
    intern(&text).ok_or_else(|| D::Error::custom(format!("unknown word `{}`", text.escape_debug())))
}

fn intern(text: &str) -> Option<Word> {
    static WORDS: Mutex<BTreeSet<Word>> = Mutex::new(BTreeSet::new());
    const MOST: usize = 10_000;
    const LONGEST: usize = 64;
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = words.get(text) {
        return Some(known);
    }
    if text.len() > LONGEST || words.len() >= MOST {
        return None;
    }
    let word: Word = Box::leak(text.to_owned().into_boxed_str());
    words.insert(word);
    Some(word)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.target)
    }
}

/// The known names closest to what was typed, best first, three at most.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut scored: Vec<(usize, &str)> = known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&typed.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= name.chars().count().max(3) / 3 + 1)
        .collect();
    scored.sort_unstable();
    scored.dedup();
    scored.into_iter().map(|(_, name)| name).take(3).collect()
}

/// A hint from [`nearest`], or the whole list when it is short, or nothing.
pub fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    let near = nearest(typed, known.iter().copied());
    if !near.is_empty() {
        return Some(format!("did you mean {}?", list(&near, "or")));
    }
    (!known.is_empty() && known.len() <= 12).then(|| format!("known: {}", known.join(", ")))
}

fn list(names: &[&str], last: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    match quoted.split_last() {
        Some((end, rest)) if !rest.is_empty() => format!("{} {last} {end}", rest.join(", ")),
        _ => quoted.join(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_be_an_option_or_hold_a_control_character() {
        for bad in ["", "-oProxyCommand=x", "a b", "a\n", "a;b", "$(x)", "../x", "a/b", "a\u{1b}[2J"] {
            assert!(HostName::new(bad).is_err(), "{bad:?}");
        }
        for good in ["zk1", "db-01.example.org", "Röck_7"] {
            assert!(HostName::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn what_is_offered_for_no_name_is_one() {
        for bad in ["-oProxyCommand=x", "web 1", "a;b", "../x", ".hidden-"] {
            let offered = HostName::new(bad).expect_err(bad).nearest().expect(bad);
            assert!(HostName::new(&offered).is_ok(), "{offered}");
        }
        assert_eq!(HostName::new("--").expect_err("no name").nearest(), None);
    }

    #[test]
    fn a_project_identity_is_unique_and_survives_any_folder_name() {
        for folder in ["shop", "My Shop!", "Röck", "", "---", "a".repeat(200).as_str(), "x@y/z"] {
            for random in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
                let id = ProjectId::compose(folder, random);
                assert_eq!(ProjectId::new(id.as_str()), Ok(id.clone()), "{folder:?}");
            }
        }
        assert_ne!(ProjectId::compose("shop", 1), ProjectId::compose("shop", 2));
        for bad in ["shop", "shop-1", "-k3fq8w2n7d", "shop@k3fq8w2n7d", "shop-K3FQ8W2N7D", "röck-k3fq8w2n7d"] {
            assert!(ProjectId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_owner_is_one_word_that_can_be_read_again() {
        for word in ["staging@shop-k3fq8w2n7d", "staging"] {
            assert_eq!(Owner::parse(word).map(|owner| owner.word()), Ok(word.to_owned()));
        }
        for bad in ["staging@shop", "@shop-k3fq8w2n7d", "staging@", "a/b@shop-k3fq8w2n7d"] {
            assert!(Owner::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_name_is_offered() {
        assert_eq!(did_you_mean("zookeper", ["zookeeper", "spark"]).as_deref(), Some("did you mean `zookeeper`?"));
        assert_eq!(did_you_mean("x", ["alpha", "beta"]).as_deref(), Some("known: alpha, beta"));
    }
}
