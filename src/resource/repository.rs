//! `repository`: where packages come from, and the key that signs them.
//!
//! In: an address, a key and, for apt, suites and components. Out: the files that apt, dnf, yum or zypper read, with the
//! key for this repository alone. Never: a repository that nobody vouches for, unless that is said in so many words.
//!
//! With apt, a new source is tried before it is believed: its lists are fetched while it is still in a temporary file.
//! What cannot be fetched or verified never becomes a source, and what comes after finds its packages at once, whatever
//! the lists of before knew. dnf, yum and zypper fetch the lists of a new repository by themselves; they are told to do
//! so right away, so that a mistake is seen where it was made.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Data, Presence, Wanted};
use super::regular::{OtherContent, Regular};
use super::{Action, Field, Kind, Source, Verdict, trace};
use crate::secret::Content;
use crate::step::{Command, Fetch, Manager, Ownership, PackageReading, PathReading, Probe, Readings, Step, Unreadable};

/// Package lists older than this many seconds are fetched again: a day, as for a package.
const LISTS_EXPIRE: u64 = 86_400;

/// A source of packages, for apt, dnf, yum or zypper.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Repository {
    /// Its name: that of its files.
    name: String,
    /// Where it is, as the host reaches it: for apt the directory that has `dists/`, for dnf the one that has `repodata/`.
    #[serde(default)]
    url: Option<String>,
    /// The suites of apt: `[bookworm]`, or `[./]` for a flat repository. Only for apt, which needs them.
    #[serde(default)]
    suites: Vec<String>,
    /// The components of apt, such as `[main]`. None with a flat repository.
    #[serde(default)]
    components: Vec<String>,
    /// The architectures apt takes from it, such as `[amd64]`. The host's own by default.
    #[serde(default)]
    architectures: Vec<String>,
    /// The public key that signs it, armoured or (for apt) binary. Instead: `src`, a file of the role's or project's
    /// `files/`.
    #[serde(default)]
    content: Option<Data>,
    /// Whether it exists.
    #[serde(default)]
    state: Presence,
    /// `unsigned`: packages are not verified, so anyone on the network path can change them. Instead of a key.
    #[serde(default)]
    trust: Option<Trust>,
}

/// What takes the place of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Trust {
    /// Nothing does.
    Unsigned,
}

/// What was found: the manager, and each of the files it could be.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    package: PackageReading,
    files: Vec<(RepositoryFile, PathReading)>,
}

/// A file of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RepositoryFile {
    AptSource,
    AptArmoured,
    AptBinary,
    DnfSource,
    ZypperSource,
    RpmKey,
}

const PLACES: [RepositoryFile; 6] = [
    RepositoryFile::AptArmoured,
    RepositoryFile::AptBinary,
    RepositoryFile::AptSource,
    RepositoryFile::RpmKey,
    RepositoryFile::DnfSource,
    RepositoryFile::ZypperSource,
];

impl RepositoryFile {
    fn path(self, name: &str) -> String {
        match self {
            Self::AptSource => format!("/etc/apt/sources.list.d/{name}.sources"),
            Self::AptArmoured => format!("/etc/apt/keyrings/{name}.asc"),
            Self::AptBinary => format!("/etc/apt/keyrings/{name}.gpg"),
            Self::DnfSource => format!("/etc/yum.repos.d/{name}.repo"),
            Self::ZypperSource => format!("/etc/zypp/repos.d/{name}.repo"),
            Self::RpmKey => format!("/etc/pki/rpm-gpg/RPM-GPG-KEY-{name}"),
        }
    }

    fn is_of(self, manager: Manager) -> bool {
        match self {
            Self::AptSource | Self::AptArmoured | Self::AptBinary => manager == Manager::Apt,
            Self::DnfSource => matches!(manager, Manager::Dnf | Manager::Yum),
            Self::ZypperSource => manager == Manager::Zypper,
            Self::RpmKey => manager.is_rpm(),
        }
    }

    fn is_key(self) -> bool {
        matches!(self, Self::AptArmoured | Self::AptBinary | Self::RpmKey)
    }
}

impl Kind for Repository {
    const NAME: &'static str = "repository";
    const SUMMARY: &'static str = "A package repository and its signing key";
    const EXAMPLE: &'static str = "repository: { name: observatory, url: \"https://packages.example.org/debian\", \
        suites: [stable], components: [main], \
        content: \"-----BEGIN PGP PUBLIC KEY BLOCK-----\\n\\nmDMEZz...\\n-----END PGP PUBLIC KEY BLOCK-----\\n\" }";
    const SHORT: &'static str = "name";
    const SOURCE: Source = Source::File;
    type State = State;

    fn target(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> Result<(), String> {
        check_name(&self.name)?;
        let words = self.suites.iter().chain(&self.components).chain(&self.architectures);
        words.clone().try_for_each(|word| check_suite(word))?;
        match (self.state, &self.content, self.trust) {
            (Presence::Absent, None, None) if self.url.is_none() && words.count() == 0 => Ok(()),
            (Presence::Absent, ..) => Err("a repository with `state: absent` takes only a `name`".to_owned()),
            (Presence::Present, Some(_), Some(_)) => Err("it has a key: remove `trust: unsigned`".to_owned()),
            (Presence::Present, None, None) => Err("a repository needs the key that signs it\n\
                give the key by `src` or `content`; or accept unsigned packages with `trust: unsigned`"
                .to_owned()),
            (Presence::Present, key, _) => {
                check_url(self.url.as_deref().unwrap_or_default())?;
                key.iter().try_for_each(|key| check_key(&key.0))
            }
        }
    }

    fn probes(&self) -> Vec<Probe> {
        // Every answer about a package tells of the manager and its lists, too.
        let files = PLACES.iter().map(|place| at(*place, &self.name));
        std::iter::once(Probe::Package("apt".to_owned())).chain(files).collect()
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let package = readings.package(&Probe::Package("apt".to_owned()))?.clone();
        let mine = PLACES.iter().filter(|place| place.is_of(package.manager));
        let found = mine.map(|place| Ok((*place, readings.path(&at(*place, &self.name))?.clone())));
        Ok(State { files: found.collect::<Result<_, Unreadable>>()?, package })
    }

    fn change(&self, state: &State) -> Verdict {
        let manager = state.package.manager;
        if let Some(why) = self.impossible(manager) {
            return Verdict::Refuse(why);
        }
        let mut doing = Doing::default();
        for (place, found) in &state.files {
            if let Err(why) = doing.add(self, *place, found, manager) {
                return Verdict::Refuse(why);
            }
        }
        doing.verdict(self, state)
    }

    fn absent(&self) -> Option<serde_json::Value> {
        trace::away(self.state, serde_json::json!({ "name": self.name }))
    }

    fn exists(&self, state: &State) -> bool {
        state.files.iter().any(|(_, found)| *found != PathReading::Absent)
    }

    fn fingerprint(&self, state: &State) -> String {
        format!("{}\n{}", state.package.manager, self.imprint(state))
    }

    fn imprint(&self, state: &State) -> String {
        trace::paths(state.files.iter().map(|(_, found)| found))
    }
}

/// What is to be done about the files.
#[derive(Default)]
struct Doing {
    fields: Vec<Field>,
    keys: Vec<Step>,
    sources: Vec<Step>,
    /// Takes away what no source names any more.
    leftovers: Vec<Step>,
    /// Of the source itself.
    action: Option<Action>,
}

impl Doing {
    fn add(
        &mut self,
        of: &Repository,
        place: RepositoryFile,
        found: &PathReading,
        manager: Manager,
    ) -> Result<(), String> {
        let path = place.path(&of.name);
        let content = of.wanted(place, manager);
        match regular(content.as_ref(), &path).verdict(found) {
            Verdict::Change(change) => {
                self.fields.extend(change.fields);
                if place.is_key() && content.is_none() {
                    self.leftovers.extend(change.steps);
                } else if place.is_key() {
                    self.keys.extend(change.steps);
                } else {
                    self.sources.extend(change.steps);
                    self.action = Some(change.action);
                }
                Ok(())
            }
            Verdict::Refuse(why) => Err(format!("{path}: {why}")),
            Verdict::InSync | Verdict::MayChange(..) => Ok(()),
        }
    }

    fn verdict(self, of: &Repository, state: &State) -> Verdict {
        let Self { fields, keys, sources, leftovers, action } = self;
        // A source whose key is gone is an error of apt.
        if of.state == Presence::Absent || (keys.is_empty() && sources.is_empty()) {
            let steps = [sources, leftovers].concat();
            let action = if of.state == Presence::Absent { Action::Remove } else { Action::Change };
            return if steps.is_empty() { Verdict::InSync } else { Verdict::change(action, Vec::new(), steps) };
        }
        let mut steps = match state.package.manager {
            Manager::Apt => of.steps_of_apt(state, keys, sources),
            manager => of.steps_of_rpm(manager, keys, sources),
        };
        steps.extend(leftovers);
        Verdict::change(action.unwrap_or(Action::Change), fields, steps)
    }
}

impl Repository {
    fn impossible(&self, manager: Manager) -> Option<String> {
        let apt_only = !(self.suites.is_empty() && self.components.is_empty() && self.architectures.is_empty());
        let binary = self.content.as_ref().is_some_and(|key| !is_armoured(key.0.bytes()));
        match manager {
            Manager::Apk | Manager::Pacman => {
                Some(format!("repositories of {manager} are not supported: write their files with `file`"))
            }
            Manager::Apt if self.state == Presence::Present && self.suites.is_empty() => {
                Some("apt needs `suites`: [bookworm], or [./] for a flat repository".to_owned())
            }
            manager if manager.is_rpm() && apt_only => Some(format!(
                "`suites`, `components` and `architectures` are of apt, and this host has {manager}: use `when`"
            )),
            manager if manager.is_rpm() && binary => {
                Some("rpm takes an armoured key only: `gpg --enarmor` makes one".to_owned())
            }
            _ => None,
        }
    }

    /// What is to be in a file; none if it should not be there.
    fn wanted(&self, place: RepositoryFile, manager: Manager) -> Option<Content> {
        let key = self.content.as_ref().map(|key| &key.0);
        let fits = |armoured: bool| key.filter(|key| is_armoured(key.bytes()) == armoured).cloned();
        match place {
            _ if self.state == Presence::Absent => None,
            RepositoryFile::AptArmoured => fits(true),
            RepositoryFile::AptBinary => fits(false),
            RepositoryFile::RpmKey => key.cloned(),
            RepositoryFile::AptSource => Some(Content::from(self.deb822().as_str())),
            RepositoryFile::DnfSource | RepositoryFile::ZypperSource => Some(Content::from(self.ini(manager).as_str())),
        }
    }

    fn key_path(&self, manager: Manager) -> Option<String> {
        let key = self.content.as_ref()?;
        let place = match (manager, is_armoured(key.0.bytes())) {
            (Manager::Apt, true) => RepositoryFile::AptArmoured,
            (Manager::Apt, false) => RepositoryFile::AptBinary,
            _ => RepositoryFile::RpmKey,
        };
        Some(place.path(&self.name))
    }

    /// The format is that of `sources.list(5)`.
    fn deb822(&self) -> String {
        let line = |key: &str, words: &[String]| {
            if words.is_empty() { String::new() } else { format!("{key}: {}\n", words.join(" ")) }
        };
        let url = self.url.as_deref().unwrap_or_default();
        let signed =
            self.key_path(Manager::Apt).map_or("Trusted: yes\n".to_owned(), |path| format!("Signed-By: {path}\n"));
        let (suites, components) = (line("Suites", &self.suites), line("Components", &self.components));
        let architectures = line("Architectures", &self.architectures);
        format!("Types: deb\nURIs: {url}\n{suites}{components}{architectures}{signed}")
    }

    /// The format is that of `dnf.conf(5)`; zypper reads it, too.
    fn ini(&self, manager: Manager) -> String {
        let (name, url) = (&self.name, self.url.as_deref().unwrap_or_default());
        let signed = match self.key_path(manager) {
            Some(path) => format!("gpgcheck=1\ngpgkey=file://{path}\n"),
            None => "gpgcheck=0\n".to_owned(),
        };
        let fresh = if manager == Manager::Zypper { "autorefresh=1\n" } else { "" };
        format!("[{name}]\nname={name}\nbaseurl={url}\nenabled=1\n{signed}{fresh}")
    }

    fn steps_of_apt(&self, state: &State, keys: Vec<Step>, sources: Vec<Step>) -> Vec<Step> {
        let folder = (!keys.is_empty()).then(|| open_directory("/etc/apt/keyrings"));
        // Lists that were never fetched would look fresh after the trial.
        let expired = state.package.lists_age.is_none_or(|age| age > LISTS_EXPIRE).then_some(Step::RefreshPackages);
        let trial = Step::Run(self.trial());
        folder.into_iter().chain(keys).chain(expired).chain([trial]).chain(sources).collect()
    }

    /// Fetches the lists of this source alone, and keeps them.
    fn trial(&self) -> Command {
        let script = "folder=$(mktemp -d) && trap 'rm -rf \"$folder\"' EXIT && chmod 755 \"$folder\" && \
            cat >\"$folder/new.sources\" && apt-get update -q -o DPkg::Lock::Timeout=300 -o APT::Update::Error-Mode=any \
            -o APT::Get::List-Cleanup=0 -o Dir::Etc::SourceParts=- -o \"Dir::Etc::SourceList=$folder/new.sources\"";
        let mut command = Command::new(["sh", "-c", script]);
        command.stdin = Content::from(self.deb822().as_str());
        // It only fetches lists, which fit every change; so do the others below.
        command.touching([]).with("DEBIAN_FRONTEND", "noninteractive")
    }

    fn steps_of_rpm(&self, manager: Manager, keys: Vec<Step>, sources: Vec<Step>) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(path) = self.key_path(manager).filter(|_| !keys.is_empty()) {
            steps.push(open_directory("/etc/pki/rpm-gpg"));
            steps.extend(keys);
            steps.push(Step::Run(Command::new(["rpm", "--import", &path])));
        }
        steps.extend(sources);
        steps.push(Step::Run(match manager {
            Manager::Zypper => {
                Command::new(["zypper", "--non-interactive", "--quiet", "refresh", "--repo", &self.name]).touching([])
            }
            manager => {
                let only = format!("--enablerepo={}", self.name);
                Command::new([manager.to_string().as_str(), "-q", "-y", "--disablerepo=*", &only, "makecache"])
                    .touching([])
            }
        }));
        steps
    }
}

/// Asks for all of a file: what should be in it depends on the manager, which only the answer tells.
fn at(place: RepositoryFile, name: &str) -> Probe {
    Probe::Path { path: place.path(name), content: Fetch::Always }
}

fn regular<'a>(content: Option<&'a Content>, path: &'a str) -> Regular<'a> {
    let ownership = fields::ownership("root", "root", fields::mode_644());
    Regular { path, content: content.map(Wanted::Content), ownership, other: OtherContent::Replaced }
}

/// Anybody may read public keys; apt does so as its own user.
fn open_directory(path: &str) -> Step {
    let ownership: Ownership = fields::ownership("root", "root", fields::mode_755());
    Step::MakeDirectory { path: path.to_owned(), ownership }
}

const ARMOUR: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";

fn is_armoured(key: &[u8]) -> bool {
    key.trim_ascii_start().starts_with(ARMOUR)
}

/// A binary key begins with a packet of the tag 6, by RFC 9580 (sections 4.2 and 5.5).
fn check_key(key: &Content) -> Result<(), String> {
    if key.is_secret() {
        return Err(
            "the signing key of a repository is public: use the file with the public key, not a secret".to_owned()
        );
    }
    let bytes = key.bytes();
    let private = bytes.windows(17).any(|part| part == b"PGP PRIVATE KEY B");
    let public = bytes.first().is_some_and(|first| matches!(first & 0b1111_1100, 0b1001_1000) || *first == 0b1100_0110);
    match (private, is_armoured(bytes) || public) {
        (true, _) => Err("this is a private key: use `gpg --armor --export` for the public key".to_owned()),
        (false, true) => Ok(()),
        (false, false) => Err("this is not an OpenPGP public key: use `gpg --armor --export`".to_owned()),
    }
}

/// apt ignores files with other characters in their names (`sources.list(5)`).
fn check_name(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(fine) && name.len() <= 64 {
        return Ok(());
    }
    Err(format!("invalid repository name `{}`: letters, digits, `-`, `_` and `.`, 64 at most", name.escape_debug()))
}

fn check_suite(word: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_./+~:".contains(c);
    if !word.is_empty() && word.chars().all(fine) {
        return Ok(());
    }
    Err(format!("invalid suite, component or architecture `{}`", word.escape_debug()))
}

fn check_url(url: &str) -> Result<(), String> {
    let place = ["https://", "http://", "file:///"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let fine = |c: char| c.is_ascii_alphanumeric() || "-._~:/?[]!&()+,;=%$".contains(c);
    let Some(rest) = place.filter(|rest| !rest.is_empty()) else {
        return Err(format!(
            "invalid `url` `{}`: it must begin with https://, http:// or file:///",
            url.escape_debug()
        ));
    };
    if rest.split('/').next().is_some_and(|host| host.contains('@')) {
        return Err("an address with a name or password is visible to everyone on the host".to_owned());
    }
    if rest.chars().all(fine) {
        Ok(())
    } else {
        Err(format!("`{}` contains characters that are not valid in an address", url.escape_debug()))
    }
}
