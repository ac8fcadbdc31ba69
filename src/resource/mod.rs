//! The kinds of things that can be managed on a host, one file each.
//!
//! In: what a user wants of a thing, and what a host answered to this kind's probes. Out: what is different and the
//! literal steps that end it. Never: a connection, a clock, a file, or one kind naming another.
//!
//! To add a kind: one new file here, two lines below, and cases in `tests/cases/resource/KIND/`.

use std::fmt::Debug;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::name::Word;
use crate::secret::{Datum, Secret};
use crate::step::{Probe, Readings, Step, Unreadable};

mod account;
mod fields;
mod generated;
mod keyed;
mod listed;
mod part;
mod path;
mod regular;
mod remote;
mod removal;
mod systemd;
mod trace;
mod tree;
mod unpacked;
mod values;
mod version;

pub use fields::{Argv, Data, FileMode, Presence, Span};
pub use removal::{Made, Others, Staying, Wish};

/// What a kind implements. All functions are pure; the struct is the desired state, as written in YAML.
pub trait Kind: DeserializeOwned + schemars::JsonSchema + Clone + Debug + Send + Sync + 'static {
    /// The word in YAML.
    const NAME: &'static str;
    /// One line of help.
    const SUMMARY: &'static str;
    /// YAML shown in the reference and tried by the tests.
    const EXAMPLE: &'static str;
    /// The key that `- kind: text` stands for.
    const SHORT: &'static str;
    /// A key that names a file of the project whose content becomes the key `content`.
    const SOURCE: Source = Source::None;
    /// The programs that a host must have for it, beside those of every host. Not those that a role installs before it.
    const TOOLS: &'static [Tool] = &[];
    /// What was found on the host, normalized.
    type State: Debug + PartialEq;

    /// What it owns on the host. Two resources with one kind of claim and one target are a mistake.
    fn target(&self) -> String;

    /// Of what sort the target is: all that live at a path share one.
    fn claim(&self) -> Claim {
        Claim::Own(Self::NAME)
    }

    /// The file that is its own, wholly or in part.
    fn holds(&self) -> Option<Hold> {
        (self.claim() == Claim::Path).then(|| Hold::Whole(self.target()))
    }

    /// What is impossible by itself, before any host is asked. A second line of the text is the hint; without one, the
    /// kind's example is shown.
    ///
    /// # Errors
    /// The reason, for the user.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// What to ask a host.
    fn probes(&self) -> Vec<Probe>;

    /// What the answers mean.
    ///
    /// # Errors
    /// When an answer is missing or is not understood.
    fn observe(&self, readings: &Readings) -> Result<Self::State, Unreadable>;

    /// How to get from the state to the desired one.
    fn change(&self, state: &Self::State) -> Verdict;

    /// The same, given what else the plan does with the host. A kind whose removal would take more than its own, or break
    /// what needs it, refuses it here and says what that is. See also [`Others`].
    fn among(&self, state: &Self::State, _wish: Wish, _others: &Others) -> Verdict {
        self.change(state)
    }

    /// Whether it hears when others notify it: whether it has a `notified` of its own.
    const HEARS: bool = false;

    /// Whether several owners may have the same target. Only what leaves nothing behind that they could disagree about.
    const SHARED: bool = false;

    /// The same when resources of its role notified it. Most kinds do not care.
    fn notified(&self, state: &Self::State, _verb: Verb) -> Verdict {
        self.change(state)
    }

    /// Whether a change of it can bring what other resources speak about, as a package brings files and services.
    const BRINGS: bool = false;

    /// Whether a change of it may make directories that its steps do not name, as an installed package or a program does. A
    /// file in a directory that is not there is refused, unless such a change is before it.
    const MAKES_DIRECTORIES: bool = Self::BRINGS;

    /// Whether others keep data in it, which goes only where somebody asks for that.
    const HOLDS_DATA: bool = false;

    /// Whether the host is as without armilla once no role wants it, although nothing takes it away: a service that was
    /// wanted stopped.
    const LEAVES_NOTHING: bool = false;

    /// The service that it starts and stops, by its target.
    fn service(&self) -> Option<String> {
        None
    }

    /// The unit of systemd that it wants to run, with its suffix.
    fn runs(&self) -> Option<String> {
        None
    }

    /// What takes it away if something before it brings it in the same run, and does nothing otherwise. For a resource
    /// that is in sync because there is nothing; empty for one that does not mind.
    fn unwanted(&self, _state: &Self::State) -> Option<Change> {
        None
    }

    /// The keys of the same resource, desired away, as a role would write them: what the ledger keeps so that it can be
    /// taken away when it is removed from the roles. Short, and never a secret. None if it cannot be taken away, as a
    /// program that ran, or if it is desired away itself.
    fn absent(&self) -> Option<serde_json::Value> {
        None
    }

    /// The keys of [`Kind::absent`] as an older armilla wrote them into a ledger, in today's form.
    fn renewed(keys: serde_json::Value) -> serde_json::Value {
        keys
    }

    /// What it is one version of, where it looks after the versions before it by itself: those are not taken away as what no
    /// role wants any more. None for what has no versions.
    fn versions(&self) -> Option<String> {
        None
    }

    /// Whether it is there at all, in whatever shape: what was there before us is not ours to take away. A part of a file
    /// is there if the part is.
    fn exists(&self, _state: &Self::State) -> bool {
        true
    }

    /// What of the state must be the same for a plan made from it to be carried out. Without what moves by itself: times,
    /// ages, counters.
    fn fingerprint(&self, state: &Self::State) -> String {
        format!("{state:?}")
    }

    /// What of the state must still be as our last change left it for it to be taken away without a person: less than
    /// the fingerprint where others change it rightfully, as upgrades change the version of a package. It is asked of the
    /// resource that is desired away (see [`Kind::absent`]), so it must not depend on what is only written in the other.
    fn imprint(&self, state: &Self::State) -> String {
        self.fingerprint(state)
    }

    /// What [`Kind::imprint`] is right after it was made.
    fn made(&self) -> Made {
        Made::BySteps
    }

    /// The file without which it does not exist: whoever made that made this, too.
    fn lives_by(&self) -> Option<String> {
        None
    }

    /// What else of its kind goes along when it is removed, by target.
    fn takes_along(&self, _state: &Self::State) -> Vec<String> {
        Vec::new()
    }

    /// What is done instead if something before it may bring, in the same run, what it now does not find and is to be a
    /// part of. Empty for what does not depend on what others bring.
    fn unforeseen(&self, _state: &Self::State) -> Option<Change> {
        None
    }

    /// When what it manages was last written, in seconds since 1970 by the host's own clock.
    fn written(&self, _state: &Self::State) -> Option<i64> {
        None
    }

    /// When what it manages last read its configuration, in seconds since 1970 by the host's own clock.
    fn loaded(&self, _state: &Self::State) -> Option<i64> {
        None
    }
}

/// A program that a host must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// Its name; one of several is enough.
    pub any_of: &'static [&'static str],
    /// The Debian package that brings it; empty if no package helps.
    pub package: &'static str,
}

impl Tool {
    /// A program of one of these names, from this package.
    pub const fn of(any_of: &'static [&'static str], package: &'static str) -> Self {
        Self { any_of, package }
    }
}

/// Talks to systemd.
const SYSTEMCTL: Tool = Tool::of(&["systemctl"], "systemd");
/// Looks users and groups up.
const GETENT: Tool = Tool::of(&["getent"], "libc-bin");

/// Where a kind's content may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It has none.
    None,
    /// `src` names a file of the role's or project's `files/`, taken as it is.
    File,
    /// `src` names a template of the role's or project's `templates/`, rendered.
    Template,
}

/// Of what sort a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    /// A path: a file, a directory, a link.
    Path,
    /// Something only this kind has.
    Own(&'static str),
}

/// What a resource has of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// All of what is at this path.
    Whole(String),
    /// A part of the file at this path. Others may hold other parts; each builds on what those before it will have
    /// written.
    Part(String),
}

/// What a notification asks of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// To read its configuration again.
    Reload,
    /// To stop and start. More than a reload.
    Restart,
}

/// What a kind says about one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to do.
    InSync,
    /// It differs.
    Change(Change),
    /// Only a look during apply can tell; the reason why.
    MayChange(Change, String),
    /// It must not be done; the reason why.
    Refuse(String),
}

impl Verdict {
    /// It differs.
    pub(crate) fn change(action: Action, fields: Vec<Field>, steps: Vec<Step>) -> Self {
        Self::Change(Change { action, fields, steps })
    }

    /// It is there and differs in these fields; in sync if there are none.
    pub(crate) fn differing(fields: Vec<Field>, steps: Vec<Step>) -> Self {
        if fields.is_empty() { Self::InSync } else { Self::change(Action::Change, fields, steps) }
    }
}

/// What is different, and what ends it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// To count.
    pub action: Action,
    /// To show.
    pub fields: Vec<Field>,
    /// To do, in order.
    pub steps: Vec<Step>,
}

/// What sort of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is not there and will be.
    Add,
    /// It is there and will be different.
    Change,
    /// It is there and will not be.
    Remove,
    /// A program runs.
    Run,
    /// A service starts.
    Start,
    /// A service stops.
    Stop,
    /// A service stops and starts.
    Restart,
    /// A service reads its configuration again.
    Reload,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// What: `mode`, `content`, `version`.
    #[serde(deserialize_with = "crate::name::interned")]
    pub name: Word,
    /// How.
    pub value: FieldValue,
}

/// How a difference is shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FieldValue {
    /// Two short texts; none where there was or will be nothing.
    Text {
        /// What is there.
        from: Option<String>,
        /// What will be.
        to: Option<String>,
    },
    /// Two long texts, for a unified diff.
    Diff {
        /// What is there.
        from: String,
        /// What will be.
        to: String,
    },
    /// It differs; nobody may see how.
    Secret,
    /// It differs and is no text; sizes in bytes.
    Binary {
        /// What is there, if anything.
        from: Option<u64>,
        /// What will be.
        to: u64,
    },
}

/// A resource of any kind: what the rest of the program works with.
pub trait Resource: Debug + Send + Sync {
    /// The word in YAML.
    fn kind(&self) -> &'static str;
    /// What it owns on the host.
    fn target(&self) -> String;
    /// Of what sort the target is.
    fn claim(&self) -> Claim;
    /// See [`Kind::holds`].
    fn holds(&self) -> Option<Hold>;
    /// See [`Kind::BRINGS`].
    fn brings(&self) -> bool;
    /// See [`Kind::MAKES_DIRECTORIES`].
    fn makes_directories(&self) -> bool;
    /// See [`Kind::HEARS`].
    fn hears(&self) -> bool;
    /// See [`Kind::SHARED`].
    fn is_shared(&self) -> bool;
    /// See [`Kind::service`].
    fn service(&self) -> Option<String>;
    /// See [`Kind::runs`].
    fn runs(&self) -> Option<String>;
    /// What to ask a host.
    fn probes(&self) -> Vec<Probe>;
    /// See [`Kind::versions`].
    fn versions(&self) -> Option<String>;
    /// See [`Kind::absent`].
    fn absent(&self) -> Option<serde_json::Value>;
    /// What a host answered, as far as it matters.
    ///
    /// # Errors
    /// When an answer is missing or is not understood.
    fn seen(&self, readings: &Readings) -> Result<Seen, Unreadable>;
    /// What the answers mean for a resource that was notified (or not).
    ///
    /// # Errors
    /// When an answer is missing or is not understood.
    fn decide(&self, readings: &Readings, verb: Option<Verb>) -> Result<Decision, Unreadable>;
    /// The same for one that nothing notified, given what else the plan does with the host: see [`Kind::among`].
    ///
    /// # Errors
    /// When an answer is missing or is not understood.
    fn decide_among(&self, readings: &Readings, wish: Wish, others: &Others) -> Result<Decision, Unreadable>;
    /// See [`Kind::made`].
    fn made(&self) -> Made;
    /// See [`Kind::lives_by`].
    fn lives_by(&self) -> Option<String>;
    /// See [`Kind::takes_along`]. Nothing of what cannot be read.
    fn takes_along(&self, readings: &Readings) -> Vec<String>;
}

/// A thing as it was found on a host. The texts may hold secrets: only a digest of them is ever kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// See [`Kind::exists`].
    pub exists: bool,
    /// See [`Kind::fingerprint`].
    pub fingerprint: Secret<String>,
    /// See [`Kind::imprint`].
    pub imprint: Secret<String>,
}

/// What a resource says about one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub verdict: Verdict,
    /// See [`Kind::written`].
    pub written: Option<i64>,
    /// See [`Kind::loaded`].
    pub loaded: Option<i64>,
    /// See [`Kind::unwanted`] and [`Kind::unforeseen`].
    pub otherwise: Option<Change>,
}

impl<K: Kind> Resource for K {
    fn kind(&self) -> &'static str {
        K::NAME
    }

    fn target(&self) -> String {
        Kind::target(self)
    }

    fn claim(&self) -> Claim {
        Kind::claim(self)
    }

    fn holds(&self) -> Option<Hold> {
        Kind::holds(self)
    }

    fn brings(&self) -> bool {
        K::BRINGS
    }

    fn makes_directories(&self) -> bool {
        K::MAKES_DIRECTORIES
    }

    fn hears(&self) -> bool {
        K::HEARS
    }

    fn is_shared(&self) -> bool {
        K::SHARED
    }

    fn service(&self) -> Option<String> {
        Kind::service(self)
    }

    fn runs(&self) -> Option<String> {
        Kind::runs(self)
    }

    fn probes(&self) -> Vec<Probe> {
        Kind::probes(self)
    }

    fn versions(&self) -> Option<String> {
        Kind::versions(self)
    }

    fn absent(&self) -> Option<serde_json::Value> {
        Kind::absent(self)
    }

    fn seen(&self, readings: &Readings) -> Result<Seen, Unreadable> {
        let state = self.observe(readings)?;
        Ok(Seen {
            exists: self.exists(&state),
            fingerprint: Secret::new(self.fingerprint(&state)),
            imprint: Secret::new(self.imprint(&state)),
        })
    }

    fn decide(&self, readings: &Readings, verb: Option<Verb>) -> Result<Decision, Unreadable> {
        let state = self.observe(readings)?;
        let verdict = match verb {
            Some(verb) => self.notified(&state, verb),
            None => self.change(&state),
        };
        Ok(decision(self, &state, verdict))
    }

    fn decide_among(&self, readings: &Readings, wish: Wish, others: &Others) -> Result<Decision, Unreadable> {
        let state = self.observe(readings)?;
        Ok(decision(self, &state, self.among(&state, wish, others)))
    }

    fn made(&self) -> Made {
        Kind::made(self)
    }

    fn lives_by(&self) -> Option<String> {
        Kind::lives_by(self)
    }

    fn takes_along(&self, readings: &Readings) -> Vec<String> {
        self.observe(readings).map_or_else(|_| Vec::new(), |state| Kind::takes_along(self, &state))
    }
}

fn decision<K: Kind>(kind: &K, state: &K::State, verdict: Verdict) -> Decision {
    let unwanted = if verdict == Verdict::InSync { kind.unwanted(state) } else { None };
    let otherwise = unwanted.or_else(|| kind.unforeseen(state));
    Decision { verdict, written: kind.written(state), loaded: kind.loaded(state), otherwise }
}

/// A kind as the registry knows it.
pub struct KindInfo {
    /// The word in YAML.
    pub name: &'static str,
    /// One line of help.
    pub summary: &'static str,
    /// YAML shown in the reference.
    pub example: &'static str,
    /// The key that `- kind: text` stands for.
    pub short: &'static str,
    /// Where its content may come from.
    pub source: Source,
    /// See [`Kind::TOOLS`].
    pub tools: &'static [Tool],
    /// See [`Kind::renewed`].
    pub renewed: fn(serde_json::Value) -> serde_json::Value,
    /// See [`Kind::HOLDS_DATA`].
    pub holds_data: bool,
    /// See [`Kind::LEAVES_NOTHING`].
    pub leaves_nothing: bool,
    /// Its keys as a JSON schema.
    pub schema: fn() -> schemars::Schema,
    /// Reads one from plain data.
    pub parse: Parse,
}

/// Reads a resource from plain data. The error has the path of the key that is wrong.
pub type Parse = fn(&Datum) -> Result<Arc<dyn Resource>, ParseError>;

/// What is wrong with a resource's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The keys down to the wrong one; empty for the resource as a whole.
    pub path: Vec<String>,
    /// What is wrong with it.
    pub what: String,
}

impl KindInfo {
    const fn of<K: Kind>() -> Self {
        Self {
            name: K::NAME,
            summary: K::SUMMARY,
            example: K::EXAMPLE,
            short: K::SHORT,
            source: K::SOURCE,
            tools: K::TOOLS,
            renewed: K::renewed,
            holds_data: K::HOLDS_DATA,
            leaves_nothing: K::LEAVES_NOTHING,
            schema: || schemars::SchemaGenerator::default().into_root_schema_for::<K>(),
            parse: parse::<K>,
        }
    }
}

impl KindInfo {
    /// The keys it has in YAML, in the order of its fields.
    pub fn keys(&self) -> Vec<String> {
        let schema = (self.schema)().to_value();
        let fields = schema.get("properties").and_then(|fields| fields.as_object());
        let mut keys: Vec<String> = fields.map(|fields| fields.keys().cloned().collect()).unwrap_or_default();
        if self.source != Source::None {
            keys.push("src".to_owned());
        }
        keys
    }
}

fn parse<K: Kind>(value: &Datum) -> Result<Arc<dyn Resource>, ParseError> {
    let resource: K = serde_path_to_error::deserialize(value).map_err(|error| ParseError {
        path: error.path().iter().filter_map(segment).collect(),
        what: plainly(&error.inner().to_string()),
    })?;
    Kind::check(&resource).map_err(|what| ParseError { path: Vec::new(), what })?;
    Ok(Arc::new(resource))
}

/// What serde says of a value of the wrong type, without the value, in the words of YAML.
fn plainly(what: &str) -> String {
    let typed = what.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected "));
    let Some((found, wanted)) = typed else { return what.to_owned() };
    let found = match found.split([' ', '`']).next().unwrap_or_default() {
        "string" => "a text",
        "integer" => "a whole number",
        "floating" => "a number",
        "boolean" => "true or false",
        "sequence" => "a list",
        "map" => "a map",
        _ => "nothing",
    };
    let wanted = match wanted {
        "a string" => "a text (a number in quotes)",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        "a map" => "a map",
        number if number.starts_with(['u', 'i']) => "a whole number",
        number if number.starts_with('f') => "a number",
        "unit" => "nothing",
        _ => "a map with its keys",
    };
    format!("it is {wanted}, not {found}")
}

fn segment(segment: &serde_path_to_error::Segment) -> Option<String> {
    match segment {
        serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
        serde_path_to_error::Segment::Map { key } => Some(key.clone()),
        _ => None,
    }
}

/// The kind of that name.
pub fn kind(name: &str) -> Option<&'static KindInfo> {
    KINDS.iter().find(|kind| kind.name == name)
}

macro_rules! kinds {
    ($($file:ident::$kind:ident),* $(,)?) => {
        $(mod $file;)*
        /// Every kind there is.
        pub static KINDS: &[KindInfo] = &[$(KindInfo::of::<$file::$kind>()),*];
    };
}

kinds! {
    archive::Archive,
    authorized_key::AuthorizedKey,
    block::Block,
    command::Command,
    cron::Cron,
    directory::Directory,
    download::Download,
    file::File,
    firewall::Firewall,
    git::Git,
    group::Group,
    hosts_entry::HostsEntry,
    hostname::Hostname,
    http::Http,
    ini::Ini,
    json::Json,
    kernel_module::KernelModule,
    known_host::KnownHost,
    limits::Limits,
    line::Line,
    link::Link,
    locale::Locale,
    maven::Maven,
    mount::Mount,
    npm::Npm,
    package::Package,
    repository::Repository,
    script::Script,
    service::Service,
    swap::Swap,
    sysctl::Sysctl,
    template::Template,
    timer::Timer,
    timezone::Timezone,
    unit::Unit,
    user::User,
    venv::Venv,
    yaml::Yaml,
}
