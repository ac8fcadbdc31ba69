//! `venv`: a Python environment with exactly the packages of a locked list.
//!
//! In: a path and a list in which every line is `name==version`. Out: an environment made by Python itself, and the packages
//! that are missing, differ or are too many. Never: a package or version nobody wrote down, or an environment of another
//! Python made over: its scripts would name a Python that is not theirs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Data, Presence};
use super::{Action, Claim, Field, FieldValue, Kind, Made, Source, Verdict, trace, tree, values};
use crate::step::{
    Attributes, Command, CommandReading, Fetch, Mode, Ownership, PathReading, Probe, Readings, Step, Unreadable,
};

/// How long one question may take. It is asked in every plan.
const LOOK: Duration = Duration::from_secs(20);
/// How long an installation may take.
const WORK: Duration = Duration::from_secs(1800);
/// Says which Python this is.
const VERSION: &str = "import sys; print('%d.%d' % sys.version_info[:2])";
/// Says which Python this is, and what is installed, as JSON.
const INSIDE: &str = "import json, sys
from importlib import metadata
found = [[d.metadata['Name'], d.version] for d in metadata.distributions() if d.metadata['Name']]
print(json.dumps({'python': '%d.%d' % sys.version_info[:2], 'packages': found}))";
/// Runs the Python of an environment, unless somebody else could have put it there.
const ENTER: &str = "# what is in a Python environment
[ -O \"$1\" ] && [ -O \"$1/bin\" ] || exit 9
exec \"$1/bin/python\" -I -c \"$2\"";
/// What an environment is made with, and what nobody lists.
const OWN: &[&str] = &["pip", "setuptools", "wheel"];

/// A Python environment.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Venv {
    /// Where it is on the host.
    path: String,
    /// The locked list, each line `name==version`, of which there must be a wheel, perhaps with `--hash=sha256:...`. Usually `src` instead, a file of the
    /// role's or project's `files/`. All or no lines have hashes; dependencies are in the list, too.
    #[serde(default)]
    content: Option<Data>,
    /// The Python it is made with. If that gets another version later, the plan stops: remove the environment first.
    #[serde(default = "python3")]
    python: String,
    /// The package index; the one of pip by default. A place for a secret.
    #[serde(default)]
    index_url: Option<Data>,
    /// A directory on the host with wheels. Without `index_url`, no index is asked.
    #[serde(default)]
    find_links: Option<String>,
    /// Whether packages that are not in the list are removed. `pip`, `setuptools` and `wheel` stay.
    #[serde(default = "fields::yes")]
    exact: bool,
    /// The user it belongs to, who installs its packages.
    #[serde(default = "fields::root")]
    owner: String,
    /// Whether it exists. `absent` removes the whole directory.
    #[serde(default)]
    state: Presence,
}

fn python3() -> String {
    "python3".to_owned()
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) enum State {
    /// Nothing, or an empty directory.
    Absent,
    /// Something else; why it is not touched.
    Foreign(String),
    /// An environment that does not work; how it complained.
    Broken(String),
    /// An environment.
    There {
        /// Of which Python.
        python: String,
        /// The version of the Python it is made with now, if there is one.
        wanted: Option<String>,
        /// Versions by normalized name.
        packages: BTreeMap<String, String>,
    },
}

/// What [`INSIDE`] prints.
#[derive(Deserialize)]
struct Inside {
    python: String,
    packages: Vec<(String, String)>,
}

/// One line of the list.
#[derive(Debug, PartialEq)]
struct Pin {
    /// As it is written.
    line: String,
    /// Normalized.
    name: String,
    version: String,
    hashed: bool,
}

impl Kind for Venv {
    const NAME: &'static str = "venv";
    const SUMMARY: &'static str = "A Python environment with exactly the packages of a locked list";
    const EXAMPLE: &'static str = "venv: { path: /opt/notebooks, src: notebooks.lock }";
    const SHORT: &'static str = "path";
    const SOURCE: Source = Source::File;
    const MAKES_DIRECTORIES: bool = true;
    type State = State;

    fn target(&self) -> String {
        self.path.clone()
    }

    fn claim(&self) -> Claim {
        Claim::Path
    }

    fn check(&self) -> Result<(), String> {
        tree::check(&self.path)?;
        fields::check_account("user", &self.owner)?;
        fields::Argv(vec![self.python.clone()]).check()?;
        self.find_links.iter().try_for_each(|path| fields::check_path(path).and_then(|()| check_option(path)))?;
        self.index_url.iter().try_for_each(check_index)?;
        match (&self.content, self.state) {
            (None, Presence::Present) => {
                Err("a Python environment needs `src` or `content`, the list of its packages".to_owned())
            }
            _ => self.pins().and_then(|pins| check_pins(&pins)),
        }
    }

    fn probes(&self) -> Vec<Probe> {
        vec![self.at(), self.configuration(), self.empty(), self.inside(), self.version()]
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        match readings.path(&self.at())? {
            PathReading::Absent => Ok(State::Absent),
            PathReading::Directory(attributes) => self.directory(attributes, readings),
            other => Ok(State::Foreign(fields::in_the_way(other, "a directory"))),
        }
    }

    fn change(&self, state: &State) -> Verdict {
        // `check` has read the list before.
        let pins = self.pins().unwrap_or_default();
        match (self.state, state) {
            (_, State::Foreign(why)) => Verdict::Refuse(why.clone()),
            (Presence::Absent, State::Absent) => Verdict::InSync,
            (Presence::Absent, _) => Verdict::change(Action::Remove, Vec::new(), tree::removing(&self.path)),
            (Presence::Present, State::Absent) => {
                let packages = packages(&BTreeMap::new(), &listed(&pins));
                let fields = vec![fields::new("python", &self.python), packages];
                Verdict::change(Action::Add, fields, self.making(&pins))
            }
            (Presence::Present, State::Broken(why)) => {
                let shown = vec![fields::text("environment", why, "works")];
                Verdict::change(Action::Change, shown, self.making(&pins))
            }
            (Presence::Present, State::There { python, wanted: Some(wanted), .. }) if python != wanted => {
                Verdict::Refuse(format!(
                    "it is an environment for Python {python}, and {} is {wanted}: remove it first (`state: absent`), or name \
                     another `python`",
                    self.python
                ))
            }
            (Presence::Present, State::There { packages, .. }) => self.mending(packages, &pins),
        }
    }

    fn absent(&self) -> Option<serde_json::Value> {
        let owner = (self.owner != "root").then_some(&self.owner);
        trace::away(self.state, serde_json::json!({ "path": self.path, "owner": owner }))
    }

    fn exists(&self, state: &State) -> bool {
        *state != State::Absent
    }

    /// Not by which Python it would be made now.
    /// It can be made again from its list of packages.
    fn made(&self) -> Made {
        Made::Any
    }

    fn imprint(&self, state: &State) -> String {
        match state {
            State::There { python, packages, .. } => format!("{python} {packages:?}"),
            other => format!("{other:?}"),
        }
    }
}

impl Venv {
    fn at(&self) -> Probe {
        Probe::Path { path: self.path.clone(), content: Fetch::Digest }
    }

    /// The file that makes a directory an environment (PEP 405).
    fn configuration(&self) -> Probe {
        Probe::Path { path: format!("{}/pyvenv.cfg", self.path), content: Fetch::Digest }
    }

    fn empty(&self) -> Probe {
        Probe::Command(Command::new(["find", &self.path, "-maxdepth", "0", "-empty"]).within(LOOK))
    }

    fn inside(&self) -> Probe {
        Probe::Command(self.owned(Command::new(["sh", "-c", ENTER, "sh", &self.path, INSIDE]).within(LOOK)))
    }

    fn version(&self) -> Probe {
        Probe::Command(Command::new([&self.python, "-I", "-c", VERSION]).within(LOOK))
    }

    fn inner_python(&self) -> String {
        format!("{}/bin/python", self.path)
    }

    fn owned(&self, mut command: Command) -> Command {
        command.user = (self.owner != "root").then(|| self.owner.clone());
        command
    }

    fn directory(&self, attributes: &Attributes, readings: &Readings) -> Result<State, Unreadable> {
        if !matches!(readings.path(&self.configuration())?, PathReading::File { .. }) {
            let empty = readings.command(&self.empty())?;
            let why = "the directory is not a Python environment: move it first".to_owned();
            return Ok(if empty.exit == 0 && !empty.stdout.is_empty() { State::Absent } else { State::Foreign(why) });
        }
        if attributes.owner != self.owner {
            return Ok(State::Foreign(format!(
                "its owner is {}, not {}: change the owner by hand, with all its files",
                attributes.owner, self.owner
            )));
        }
        let inside = readings.command(&self.inside())?;
        if inside.exit == 9 {
            return Ok(State::Foreign(format!("{}/bin does not belong to {}", self.path, self.owner)));
        }
        if inside.exit == 124 {
            return Err(Unreadable(format!("{} did not answer within {} s", self.inner_python(), LOOK.as_secs())));
        }
        let known: Option<Inside> = serde_json::from_slice(&inside.stdout).ok().filter(|_| inside.exit == 0);
        let Some(found) = known else { return Ok(State::Broken(complaint(inside))) };
        let packages: BTreeMap<String, String> =
            found.packages.into_iter().map(|(name, version)| (normalized(&name), version)).collect();
        if !packages.contains_key("pip") {
            return Ok(State::Broken("it has no pip".to_owned()));
        }
        let version = readings.command(&self.version())?;
        let wanted = (version.exit == 0).then(|| String::from_utf8_lossy(&version.stdout).trim().to_owned());
        Ok(State::There { python: found.python, wanted, packages })
    }

    fn making(&self, pins: &[Pin]) -> Vec<Step> {
        let ownership = Ownership { mode: Some(Mode(0o755)), owner: Some(self.owner.clone()), group: None };
        let make = self.owned(Command::new([&self.python, "-m", "venv", "--", &self.path]).within(WORK));
        let mut steps = vec![Step::MakeDirectory { path: self.path.clone(), ownership }, Step::Run(make)];
        steps.extend((!pins.is_empty()).then(|| self.installing(pins)));
        steps
    }

    /// The whole list, always: pip leaves alone what is there already.
    fn installing(&self, pins: &[Pin]) -> Step {
        let mut list = String::new();
        match (&self.index_url, &self.find_links) {
            (Some(url), _) => {
                let _ = writeln!(list, "--index-url {}", String::from_utf8_lossy(url.0.bytes()));
            }
            (None, Some(_)) => list.push_str("--no-index\n"),
            (None, None) => {}
        }
        list.extend(self.find_links.iter().flat_map(|path| ["--find-links ", path, "\n"]));
        list.extend(pins.iter().any(|pin| pin.hashed).then_some("--require-hashes\n"));
        list.extend(pins.iter().flat_map(|pin| [&pin.line, "\n"]));
        let python = self.inner_python();
        let pip =
            [&python, "-I", "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-input", "--no-cache-dir"];
        let install = ["install", "--quiet", "--no-deps", "--only-binary", ":all:", "--requirement", Command::FILE];
        let mut command = self.owned(Command::new(pip.into_iter().chain(install)).within(WORK));
        // It may hold an address with a password, which others must not find.
        command.file =
            Some(values::sealed(list.into_bytes(), self.index_url.as_ref().is_some_and(|url| url.0.is_secret())));
        Step::Run(command)
    }

    fn uninstalling(&self, names: &[String]) -> Step {
        let python = self.inner_python();
        let words =
            [&python, "-I", "-m", "pip", "--isolated", "--disable-pip-version-check", "uninstall", "--yes", "--"];
        let argv = words.into_iter().map(str::to_owned).chain(names.iter().cloned());
        Step::Run(self.owned(Command::new(argv).within(WORK)))
    }

    fn mending(&self, found: &BTreeMap<String, String>, pins: &[Pin]) -> Verdict {
        let wanted = listed(pins);
        let extra = |name: &String| !wanted.contains_key(name) && !OWN.contains(&name.as_str());
        let extras: Vec<String> = found.keys().filter(|name| self.exact && extra(name)).cloned().collect();
        let differs = |(name, version): (&String, &String)| found.get(name).is_none_or(|there| !same(there, version));
        let install = wanted.iter().any(differs);
        if extras.is_empty() && !install {
            return Verdict::InSync;
        }
        // A version that is the same though it is written in another way is no difference to show.
        let shown = found.iter().filter(|(name, _)| wanted.contains_key(*name) || extras.contains(name));
        let shown = shown.map(|(name, version)| match wanted.get(name).filter(|wanted| same(version, wanted)) {
            Some(wanted) => (name.clone(), wanted.clone()),
            None => (name.clone(), version.clone()),
        });
        let fields = vec![packages(&shown.collect(), &wanted)];
        let mut steps: Vec<Step> = install.then(|| self.installing(pins)).into_iter().collect();
        steps.extend((!extras.is_empty()).then(|| self.uninstalling(&extras)));
        Verdict::change(Action::Change, fields, steps)
    }

    fn pins(&self) -> Result<Vec<Pin>, String> {
        let Some(Data(content)) = &self.content else { return Ok(Vec::new()) };
        if content.is_secret() {
            return Err("the list of packages must not contain a secret: use `index_url`".to_owned());
        }
        let text = std::str::from_utf8(content.bytes()).map_err(|_| "the list of packages is not text".to_owned())?;
        let mut pins = Vec::new();
        let (mut whole, mut first) = (String::new(), 1);
        for (index, line) in text.lines().enumerate() {
            if whole.is_empty() {
                first = index + 1;
            }
            let line = line.trim();
            if let Some(begun) = line.strip_suffix('\\') {
                whole.push_str(begun.trim());
                whole.push(' ');
                continue;
            }
            whole.push_str(line);
            let words = std::mem::take(&mut whole);
            let code = words.split(" #").next().unwrap_or_default().trim();
            if !code.is_empty() && !code.starts_with('#') {
                pins.push(pin(code).map_err(|why| format!("line {first} of the list: {why}"))?);
            }
        }
        if whole.is_empty() { Ok(pins) } else { Err(format!("line {first} of the list is too long")) }
    }
}

/// The end of what Python complained, in one line.
fn complaint(answer: &CommandReading) -> String {
    let text = String::from_utf8_lossy(&answer.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    let skipped = text.chars().count().saturating_sub(200);
    format!("does not work (exit code {}): {}", answer.exit, text.chars().skip(skipped).collect::<String>())
}

fn pin(code: &str) -> Result<Pin, String> {
    let mut words = code.split_whitespace();
    let first = words.next().unwrap_or_default();
    if first.starts_with('-') {
        return Err(format!(
            "invalid package `{}`; options such as the index are keys of the resource",
            first.escape_debug()
        ));
    }
    let unlocked = || format!("`{}` is not locked: write `name==version`, as `pip freeze` does", code.escape_debug());
    let (name, version) = first.split_once("==").ok_or_else(unlocked)?;
    let bare = name.split('[').next().unwrap_or_default();
    let extras = &name[bare.len()..];
    let plain = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    let named = bare.starts_with(|c: char| c.is_ascii_alphanumeric()) && plain(bare, "._-");
    let extra = extras.is_empty() || extras.ends_with(']') && plain(extras, "[],._-");
    if !named || !extra || version.is_empty() || !plain(version, ".+!_-") {
        return Err(unlocked());
    }
    let mut hashed = false;
    for word in words {
        let hash = word.strip_prefix("--hash=").and_then(|hash| hash.split_once(':'));
        if !hash.is_some_and(|(kind, digits)| plain(kind, "") && !digits.is_empty() && plain(digits, "")) {
            return Err(format!(
                "unexpected `{}` after the version: only `--hash=sha256:...` is allowed",
                word.escape_debug()
            ));
        }
        hashed = true;
    }
    Ok(Pin { line: code.to_owned(), name: normalized(bare), version: version.to_owned(), hashed })
}

/// The one way to write a name (PEP 503).
fn normalized(name: &str) -> String {
    let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

/// `1.0` and `1` are one version, and letters have no case (PEP 440).
fn same(one: &str, other: &str) -> bool {
    let plain = |version: &str| {
        let mut version = version.to_lowercase();
        while version.ends_with(".0") {
            version.truncate(version.len() - 2);
        }
        version
    };
    plain(one) == plain(other)
}

fn listed(pins: &[Pin]) -> BTreeMap<String, String> {
    pins.iter().map(|pin| (pin.name.clone(), pin.version.clone())).collect()
}

fn packages(from: &BTreeMap<String, String>, to: &BTreeMap<String, String>) -> Field {
    let lines = |packages: &BTreeMap<String, String>| {
        packages.iter().flat_map(|(name, version)| [name, "==", version, "\n"]).collect::<String>()
    };
    Field { name: "packages", value: FieldValue::Diff { from: lines(from), to: lines(to) } }
}

fn check_pins(pins: &[Pin]) -> Result<(), String> {
    for (index, pin) in pins.iter().enumerate() {
        if pins[..index].iter().any(|other| other.name == pin.name) {
            return Err(format!("`{}` is listed twice", pin.name));
        }
    }
    match pins.iter().find(|pin| !pin.hashed) {
        Some(bare) if pins.iter().any(|pin| pin.hashed) => {
            Err(format!("`{}` has no hash, and other packages have one: add hashes to all or to none", bare.name))
        }
        _ => Ok(()),
    }
}

/// A word that pip does not take apart or replace.
fn check_option(word: &str) -> Result<(), String> {
    if word.contains(|c: char| c.is_whitespace() || c.is_control() || "\\\"'#$".contains(c)) {
        return Err(format!(
            "`{}` cannot be passed to pip: it contains blanks, quotes, `#`, `$` or `\\`",
            word.escape_debug()
        ));
    }
    Ok(())
}

fn check_index(url: &Data) -> Result<(), String> {
    let text = String::from_utf8_lossy(url.0.bytes());
    let place = text.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    if !text.starts_with("https://") && !text.starts_with("http://127.0.0.1") && !text.starts_with("http://localhost") {
        return Err("`index_url` must begin with https://".to_owned());
    }
    if place.contains('@') && !url.0.is_secret() {
        return Err(
            "`index_url` contains a user or password in plain text: make it an input of type `secret`".to_owned()
        );
    }
    check_option(&text).map_err(|why| {
        if url.0.is_secret() { "`index_url` contains characters that pip would split".to_owned() } else { why }
    })
}
