//! `locale`: the language that programs of a host speak.
//!
//! In: the language, and which locales are to be there. Out: `/etc/default/locale` whole, lines at the end of
//! `/etc/locale.gen`, and `locale-gen`. Never: a line of that file taken out, or a language that the host does not have.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::generated::{Generated, Parts, shell};
use super::{Kind, Verdict, fields, trace};
use crate::step::{Command, Fetch, PathReading, Probe, Readings, Step, Unreadable};

/// Debian's place. From Debian 13 on it is a link to systemd's.
const DEBIAN: &str = "/etc/default/locale";
const SYSTEMD: &str = "/etc/locale.conf";
const LIST: &str = "/etc/locale.gen";

/// Adds the lines that are not there, each of which the host must know, and makes all that are there.
const GENERATE: &str = r#"known=/usr/share/i18n/SUPPORTED
[ -r "$known" ] || { echo 'this host has no locales to make: put the package locales before it' >&2; exit 1; }
for line do grep -q -x -F -e "$line" "$known" || { echo "$known has no line: $line" >&2; exit 1; }; done
[ -z "$(tail -c 1 /etc/locale.gen 2>/dev/null)" ] || echo >>/etc/locale.gen
for line do grep -q -x -F -e "$line" /etc/locale.gen || printf '%s\n' "$line" >>/etc/locale.gen || exit; done
exec locale-gen"#;

/// Whether the host has every language it is given. `locale -a` writes UTF-8 in its own way.
const KNOWN: &str = r#"all=$(locale -a 2>/dev/null | sed 's/\.utf8/.UTF-8/') || exit
for name do printf '%s\n' "$all" | grep -q -x -F -e "$name" || { echo "this host has no locale $name: put it into generate" >&2; exit 1; }; done"#;

/// The language that programs of a host speak. Those that run keep the one they began with.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Locale {
    /// The language: `C.UTF-8`, `de_DE.UTF-8`.
    lang: String,
    /// What is different from it: `{ LC_TIME: en_GB.UTF-8 }`.
    #[serde(default)]
    variables: BTreeMap<String, String>,
    /// Locales that are made if they are not there: `[de_DE.UTF-8]`. It needs the package `locales`.
    #[serde(default)]
    generate: Vec<String>,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    debian: PathReading,
    systemd: PathReading,
    /// The lines of `/etc/locale.gen`.
    listed: Vec<String>,
    /// What `locale -a` says, with UTF-8 written as everywhere else.
    made: Vec<String>,
}

impl Kind for Locale {
    const NAME: &'static str = "locale";
    const SUMMARY: &'static str = "The language of programs on a host";
    const EXAMPLE: &'static str = "locale: { lang: C.UTF-8, variables: { LC_TIME: C.UTF-8 } }";
    const SHORT: &'static str = "lang";
    type State = State;

    /// A host has one.
    fn target(&self) -> String {
        DEBIAN.to_owned()
    }

    fn check(&self) -> Result<(), String> {
        self.names().try_for_each(|name| check_name(name))?;
        let variable =
            |name: &&String| *name == "LANGUAGE" || !name.starts_with("LC_") || *name == "LC_ALL" || name.len() > 32;
        if let Some(name) = self.variables.keys().find(variable) {
            return Err(format!(
                "`{}` cannot be set for a host: only LC_TIME and other LC_ variables can",
                name.escape_debug()
            ));
        }
        self.variables.keys().try_for_each(|name| fields::check_variable(name, ""))?;
        let plain = |name: &&String| !name.contains('.');
        match self.generate.iter().find(plain) {
            Some(name) => Err(format!("`{name}` has no encoding: write it like de_DE.UTF-8")),
            None => Ok(()),
        }
    }

    fn probes(&self) -> Vec<Probe> {
        vec![self.file(DEBIAN).probe(), self.file(SYSTEMD).probe(), list(), made()]
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let listed = match readings.path(&list())? {
            PathReading::File { content: Some(bytes), .. } => lines(bytes),
            _ => Vec::new(),
        };
        let made =
            lines(&readings.command(&made())?.stdout).iter().map(|name| name.replace(".utf8", ".UTF-8")).collect();
        let (debian, systemd) = (self.file(DEBIAN).found(readings)?, self.file(SYSTEMD).found(readings)?);
        Ok(State { debian, systemd, listed, made })
    }

    fn change(&self, state: &State) -> Verdict {
        self.parted(state).map_or_else(Verdict::Refuse, Parts::verdict)
    }

    fn fingerprint(&self, state: &State) -> String {
        let State { debian, systemd, listed, made } = state;
        format!("{}\n{listed:?}\n{made:?}", trace::paths([debian, systemd]))
    }
}

impl Locale {
    fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.lang).chain(self.variables.values()).chain(&self.generate)
    }

    fn file(&self, path: &str) -> Generated {
        let variables = self.variables.iter().map(|(name, value)| format!("{name}={value}\n"));
        let text: String = std::iter::once(format!("LANG={}\n", self.lang)).chain(variables).collect();
        Generated::new("file", path.to_owned(), &text)
    }

    fn parted(&self, state: &State) -> Result<Parts, String> {
        let mut parts = Parts::default();
        let missing = |name: &&String| !state.made.contains(name) || !state.listed.contains(&entry(name));
        let missing: Vec<&String> = self.generate.iter().filter(missing).collect();
        if !missing.is_empty() {
            let entries: Vec<String> = missing.iter().map(|name| entry(name)).collect();
            let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
            parts.add(fields::new("generate", &entries.join(", ")), Step::Run(shell("locale-gen", GENERATE, &entries)));
        }
        let linked = matches!(&state.debian, PathReading::Link { target, .. } if target.ends_with("/locale.conf"));
        let (path, found) = if linked { (SYSTEMD, &state.systemd) } else { (DEBIAN, &state.debian) };
        let file = self.file(path).written(found);
        if file != Verdict::InSync {
            let wanted: Vec<&str> =
                std::iter::once(&self.lang).chain(self.variables.values()).map(String::as_str).collect();
            parts
                .steps
                .push(Step::Run(shell("locale-known", KNOWN, &wanted).touching([]).within(Duration::from_secs(60))));
        }
        parts.take(file)?;
        Ok(parts)
    }
}

/// A line of `/etc/locale.gen`: the name, and in which letters.
fn entry(name: &str) -> String {
    let letters = name.split_once('.').map_or("", |(_, letters)| letters.split('@').next().unwrap_or_default());
    format!("{name} {letters}")
}

/// Language, country, letters and perhaps a variant, as in setlocale(3).
fn check_name(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(fine) {
        return Ok(());
    }
    Err(format!("invalid locale name `{}`: write it like de_DE.UTF-8", name.escape_debug()))
}

fn list() -> Probe {
    Probe::Path { path: LIST.to_owned(), content: Fetch::Always }
}

fn made() -> Probe {
    Probe::Command(Command::new(["locale", "-a"]).within(Duration::from_secs(20)))
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(|line| line.trim().to_owned()).collect()
}
