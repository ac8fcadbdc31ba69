//! Runs every case file of kinds and facts: `tests/cases/resource/KIND/CASE.yml` and `tests/cases/fact/FACT/CASE.yml`.
//!
//! In: what a user wrote, what a host answered, and what must come of it, all as data. Out: every case that does not
//! hold, with the difference. Never: a host.
//!
//! To add a case, copy one, change it, and run `cargo test --test suite cases`. What comes out is shown in the very form
//! in which a case expects it. A reading that no probe asked for is a mistake in the case.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use armilla::diag::Source as Text;
use armilla::fact::{FACTS, Fact};
use armilla::resource::{
    Change, Decision, Field, FieldValue, FileMode, KINDS, KindInfo, Others, Resource, Source, Staying, Verb, Verdict,
    Wish,
};
use armilla::secret::Datum;
use armilla::step::{
    AccountUse, Alternative, ApiRequest, Attributes, Command, CommandReading, Digest, Expect as Outcome, Fetch, Gate,
    Holding, Leftovers, Manager, MembershipReading, Mode, Ownership, PackageReading, PackageRemoval, Packed,
    PackedFile, PathReading, Probe, Reading, Readings, Remote, RemovalReading, Retry, Sending, Step, Trust,
    UnitReading, UnpackLimits, Unpacking, UserReading,
};
use armilla::yaml;
use serde::Deserialize;
use serde_json::Value;

#[test]
fn every_resource_case_holds() {
    let cases = files("resource").into_iter().map(|path| (path.clone(), resource_case(&path)));
    report(cases.collect());
}

#[test]
fn every_fact_case_holds() {
    let cases = files("fact").into_iter().map(|path| (path.clone(), fact_case(&path)));
    report(cases.collect());
}

#[test]
fn every_kind_and_every_fact_has_cases() {
    let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let facts: Vec<&str> = FACTS.iter().map(|fact| fact.name).collect();
    for (room, names) in [("resource", kinds), ("fact", facts)] {
        let subjects: Vec<String> = files(room).iter().map(|path| subject(path)).collect();
        for name in &names {
            assert!(subjects.iter().any(|subject| subject == name), "no case in tests/cases/{room}/{name}");
        }
        for subject in subjects {
            assert!(names.contains(&subject.as_str()), "tests/cases/{room}/{subject} is about nothing there is");
        }
    }
}

#[test]
fn every_example_parses() {
    for kind in KINDS {
        let example = read(kind.name, kind.example).unwrap_or_else(|why| panic!("{}: {why}", kind.name));
        let (name, mut keys) = only_entry(&example).unwrap_or_else(|| panic!("{}: no `kind: {{...}}`", kind.name));
        assert_eq!(name, kind.name);
        // The catalog puts the file's content in the place of its name.
        if let Some(keys) = keys.as_object_mut()
            && kind.source != Source::None
            && keys.remove("src").is_some()
        {
            let digest = "a".repeat(64);
            let content = match name.as_str() {
                "maven" => format!("a.b:c:1 sha256:{digest}"),
                "npm" => format!("node_modules/a a@1 sha256:{digest}"),
                _ => "#!/bin/sh\n".to_owned(),
            };
            keys.insert("content".to_owned(), content.into());
        }
        let resource = (kind.parse)(&keys.into()).unwrap_or_else(|error| panic!("{}: {}", kind.name, error.what));
        assert!(!resource.target().is_empty(), "{} owns nothing", kind.name);
    }
}

#[test]
fn every_key_is_explained() {
    for kind in KINDS {
        let schema = (kind.schema)();
        let keys = schema.get("properties").and_then(Value::as_object).unwrap_or_else(|| panic!("{}", kind.name));
        assert!(keys.contains_key(kind.short), "{} has no key `{}`", kind.name, kind.short);
        for (key, about) in keys {
            assert!(about.get("description").is_some(), "`{key}` of {} has no description", kind.name);
        }
    }
}

// -- files ------------------------------------------------------------------------------------------------------------

fn files(room: &str) -> Vec<PathBuf> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(room);
    let folders = entries(&home);
    assert!(!folders.is_empty(), "{} is empty", home.display());
    let mut all: Vec<PathBuf> = Vec::new();
    for folder in folders {
        let cases = entries(&folder);
        assert!(!cases.is_empty(), "{} is empty", folder.display());
        all.extend(cases);
    }
    all
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// The kind or fact a case is about: its folder.
fn subject(path: &Path) -> String {
    path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn report(results: Vec<(PathBuf, Result<(), String>)>) {
    let count = results.len();
    let failed: Vec<String> = results
        .into_iter()
        .filter_map(|(path, result)| result.err().map(|why| format!("{}\n{why}", path.display())))
        .collect();
    assert!(failed.is_empty(), "{} of {count} cases do not hold:\n\n{}", failed.len(), failed.join("\n"));
}

fn read(name: &str, text: &str) -> Result<Value, String> {
    yaml::parse(&Text::new(name, text)).map(|node| node.to_json()).map_err(|problem| problem.to_string())
}

fn load<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let value = read(&path.display().to_string(), &text)?;
    serde_path_to_error::deserialize(value).map_err(|error| format!("  the case itself: {error}"))
}

fn only_entry(value: &Value) -> Option<(String, Value)> {
    let entries = value.as_object().filter(|entries| entries.len() == 1)?;
    entries.iter().next().map(|(key, value)| (key.clone(), value.clone()))
}

// -- what must come out -----------------------------------------------------------------------------------------------

/// What a case expects, and the form in which what came out is compared with it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    /// `in sync`, an action such as `add`, `may` with an action, `refuse`, `unreadable` or `invalid`.
    verdict: String,
    /// A part of the reason, where there is one.
    #[serde(default)]
    because: Option<String>,
    #[serde(default)]
    fields: Vec<String>,
    #[serde(default)]
    steps: Vec<String>,
    #[serde(default)]
    written: Option<i64>,
    #[serde(default)]
    loaded: Option<i64>,
}

impl Expect {
    fn of(verdict: &str) -> Self {
        Self { verdict: verdict.to_owned(), ..Self::default() }
    }

    fn because(verdict: &str, why: String) -> Self {
        Self { because: Some(why), ..Self::of(verdict) }
    }

    fn from_decision(decision: &Decision) -> Self {
        let expect = match &decision.verdict {
            Verdict::InSync => Self::of("in sync"),
            Verdict::Refuse(why) => Self::because("refuse", why.clone()),
            Verdict::Change(change) => Self::from_change("", change, None),
            Verdict::MayChange(change, why) => Self::from_change("may ", change, Some(why.clone())),
        };
        Self { written: decision.written, loaded: decision.loaded, ..expect }
    }

    fn from_change(may: &str, change: &Change, because: Option<String>) -> Self {
        let fields = change.fields.iter().map(show_field).collect();
        let steps = change.steps.iter().map(show_step).collect();
        let verdict = format!("{may}{}", format!("{:?}", change.action).to_lowercase());
        Self { verdict, because, fields, steps, ..Self::default() }
    }

    /// As it is written in a case. The reason is another's where that is a part of it.
    fn shown(&self, other: &Self) -> String {
        let mut text = format!("expect:\n  verdict: {}\n", self.verdict);
        let mine = self.because.as_deref();
        let why = other.because.as_deref().filter(|part| mine.is_some_and(|all| all.contains(part))).or(mine);
        if let Some(why) = why {
            line(&mut text, 2, &format!("because: {}", quoted(why)));
        }
        for (name, list) in
            [("fields", &self.fields), ("steps", &self.steps)].iter().filter(|(_, list)| !list.is_empty())
        {
            line(&mut text, 2, &format!("{name}:"));
            for item in *list {
                line(&mut text, 4, &format!("- {}", quoted(item)));
            }
        }
        for (name, time) in [("written", self.written), ("loaded", self.loaded)] {
            if let Some(time) = time {
                line(&mut text, 2, &format!("{name}: {time}"));
            }
        }
        text
    }
}

fn line(text: &mut String, indent: usize, what: &str) {
    let _ = writeln!(text, "{:indent$}{what}", "");
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn compare(expected: &str, found: &str) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    let difference = similar::TextDiff::from_lines(expected, found);
    let mut text = String::new();
    for change in difference.iter_all_changes() {
        let _ = write!(text, "  {}{change}", change.tag());
    }
    Err(text)
}

// -- resources --------------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceCase {
    /// As the catalog hands it over: one kind and its keys.
    resource: Value,
    #[serde(default)]
    notified: Option<String>,
    /// Whether no role wants it any more.
    #[serde(default)]
    left: bool,
    /// What else the plan does, as `package nginx`.
    #[serde(default)]
    others: CaseOthers,
    #[serde(default)]
    readings: BTreeMap<String, Value>,
    expect: Expect,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CaseOthers {
    wanted: Vec<String>,
    removed: Vec<String>,
    installed: Vec<String>,
    /// Directories that may stay, as `user app /srv/app`.
    perhaps: Vec<String>,
    /// Those that do.
    surely: Vec<String>,
}

impl CaseOthers {
    fn others(&self) -> Others {
        let mut others = Others::default();
        let split = |text: &String| {
            let (kind, target) = text.split_once(' ').unwrap_or_else(|| panic!("`{text}` is no kind with a target"));
            (kind.to_owned(), target.to_owned())
        };
        self.wanted.iter().map(split).for_each(|(kind, target)| others.want(&kind, &target));
        self.removed.iter().map(split).for_each(|(kind, target)| others.remove(&kind, &target));
        self.installed.iter().map(split).for_each(|(kind, target)| others.install(&kind, &target));
        for (list, staying) in [(&self.perhaps, Staying::Perhaps), (&self.surely, Staying::Surely)] {
            for text in list {
                let (account, path) = text.rsplit_once(' ').unwrap_or_else(|| panic!("`{text}` has no path"));
                let (kind, name) = split(&account.to_owned());
                others.belongs((&kind, &name), path, staying);
            }
        }
        others
    }
}

fn resource_case(path: &Path) -> Result<(), String> {
    let case: ResourceCase = load(path)?;
    let (name, keys) = only_entry(&case.resource).ok_or("  the case itself: `resource` has one entry, its kind")?;
    let kind = KINDS.iter().find(|kind| kind.name == name && name == subject(path));
    let kind = kind.ok_or_else(|| format!("  the case itself: {name} is not the kind of this folder"))?;
    let found = decided(kind, &self::keys(&keys), &case)?;
    compare(&case.expect.shown(&found), &found.shown(&case.expect))
}

/// A resource of a case.
pub(crate) struct Told {
    pub(crate) path: String,
    pub(crate) kind: &'static KindInfo,
    pub(crate) keys: Datum,
    pub(crate) resource: Arc<dyn Resource>,
    /// What the host answered, where that can be read.
    pub(crate) readings: Option<Readings>,
}

/// The resource of every case that has one.
pub(crate) fn resources() -> Vec<Told> {
    let one = |path: PathBuf| {
        let case: ResourceCase = load(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        let (name, keys) = only_entry(&case.resource).map(|(name, keys)| (name, self::keys(&keys)))?;
        let kind = KINDS.iter().find(|kind| kind.name == name)?;
        let resource = (kind.parse)(&keys).ok()?;
        let readings = answers(&resource.probes(), &case.readings).ok();
        Some(Told { path: path.display().to_string(), kind, keys, resource, readings })
    };
    files("resource").into_iter().filter_map(one).collect()
}

fn decided(kind: &KindInfo, keys: &Datum, case: &ResourceCase) -> Result<Expect, String> {
    let resource = match (kind.parse)(keys) {
        Ok(resource) => resource,
        Err(error) => {
            let why =
                if error.path.is_empty() { error.what } else { format!("{}: {}", error.path.join("."), error.what) };
            unseen(keys, &why)?;
            return Ok(Expect::because("invalid", why));
        }
    };
    let readings = answers(&resource.probes(), &case.readings)?;
    let verb = match case.notified.as_deref() {
        None => None,
        Some("restart") => Some(Verb::Restart),
        Some("reload") => Some(Verb::Reload),
        Some(other) => return Err(format!("  the case itself: notified: {other}")),
    };
    let wish = if case.left { Wish::Left } else { Wish::Written };
    let decision = match verb {
        Some(verb) => resource.decide(&readings, Some(verb)),
        None => resource.decide_among(&readings, wish, &case.others.others()),
    };
    unseen(keys, &format!("{resource:?} {decision:?} {readings:?}"))?;
    Ok(match decision {
        Ok(decision) => Expect::from_decision(&decision),
        Err(why) => Expect::because("unreadable", why.0),
    })
}

/// A case whose keys are those of a resource.
pub(crate) struct Valid {
    pub(crate) path: PathBuf,
    pub(crate) keys: Datum,
    pub(crate) resource: Arc<dyn Resource>,
    pub(crate) decision: Option<Decision>,
}

/// All cases of resources that can be read.
pub(crate) fn valid() -> Vec<Valid> {
    let read = |path: PathBuf| {
        let case: ResourceCase = load(&path).ok()?;
        let (name, keys) = only_entry(&case.resource).map(|(name, keys)| (name, self::keys(&keys)))?;
        let resource = (KINDS.iter().find(|kind| kind.name == name)?.parse)(&keys).ok()?;
        let readings = answers(&resource.probes(), &case.readings).ok()?;
        let verb = case.notified.as_deref().map(|verb| if verb == "reload" { Verb::Reload } else { Verb::Restart });
        let decision = resource.decide(&readings, verb).ok();
        Some(Valid { path, keys, resource, decision })
    };
    files("resource").into_iter().filter_map(read).collect()
}

/// No secret of the resource is in what a plan, an error or a log could print of it.
fn unseen(keys: &Datum, printed: &str) -> Result<(), String> {
    if keys.secrets().iter().any(|secret| printed.contains(secret.expose().trim())) {
        return Err("  the secret can be seen in what is printed".to_owned());
    }
    Ok(())
}

/// Keys as a case writes them: `{ $secret: text }` is a secret text, `{ $bytes: base64 }` are bytes.
pub(crate) fn keys(written: &Value) -> Datum {
    use base64::Engine as _;
    let only = |key: &str| written.as_object().filter(|map| map.len() == 1)?.get(key)?.as_str();
    if let Some(text) = only("$secret") {
        return Datum::secret(text);
    }
    if let Some(bytes) = only("$bytes") {
        return Datum::Bytes(base64::engine::general_purpose::STANDARD.decode(bytes).expect("base64"));
    }
    match written {
        Value::Object(entries) => Datum::Map(entries.iter().map(|(key, value)| (key.clone(), keys(value))).collect()),
        Value::Array(items) => Datum::List(items.iter().map(keys).collect()),
        plain => plain.clone().into(),
    }
}

// -- facts ------------------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FactCase {
    #[serde(default)]
    readings: BTreeMap<String, Value>,
    /// `value`, or a part of why it is `unreadable`.
    expect: Value,
}

fn fact_case(path: &Path) -> Result<(), String> {
    let case: FactCase = load(path)?;
    let fact: &Fact = armilla::fact::fact(&subject(path)).ok_or("  the case itself: no such fact")?;
    let readings = answers(&(fact.probes)(), &case.readings)?;
    let part = case.expect.get("unreadable").and_then(Value::as_str);
    let found = match (fact.read)(&readings) {
        Ok(value) => serde_json::json!({ "value": value }),
        Err(why) => serde_json::json!({ "unreadable": part.filter(|part| why.0.contains(part)).unwrap_or(&why.0) }),
    };
    compare(&format!("expect: {}\n", case.expect), &format!("expect: {found}\n"))
}

// -- what the host answered -------------------------------------------------------------------------------------------

/// Gives each probe the answer that the case has for it. One that has none is not answered.
fn answers(probes: &[Probe], written: &BTreeMap<String, Value>) -> Result<Readings, String> {
    let asked: BTreeMap<String, &Probe> = probes.iter().map(|probe| (show_probe(probe), probe)).collect();
    let one = |(key, value): (&String, &Value)| {
        let known = || asked.keys().cloned().collect::<Vec<_>>().join("\n    ");
        let probe = asked.get(key).ok_or_else(|| format!("  nobody asked `{key}`; asked was:\n    {}", known()))?;
        let reading = reading(probe, value).map_err(|why| format!("  the case itself: {key}: {why}"))?;
        Ok(((*probe).clone(), reading))
    };
    written.iter().map(one).collect()
}

fn show_probe(probe: &Probe) -> String {
    match probe {
        Probe::Path { path, .. } => format!("path {path}"),
        Probe::Package(name) => format!("package {name}"),
        Probe::User(name) => format!("user {name}"),
        Probe::Membership(name) => format!("groups of {name}"),
        Probe::Group(name) => format!("group {name}"),
        Probe::Unit(name) => format!("unit {name}"),
        Probe::Command(command) => format!("command {}", show_argv(&command.argv)),
        Probe::Port { address, port, .. } => format!("port {address} {port}"),
        Probe::Http(request) => format!("http {}", request.url),
        Probe::AccountUse(name) => format!("use of {name}"),
        Probe::Removal(name) => format!("removal of {name}"),
        Probe::Fitness(_) => "fitness".to_owned(),
        Probe::State => "state".to_owned(),
    }
}

fn reading(probe: &Probe, value: &Value) -> Result<Reading, String> {
    if let Some(why) = value.get("failed").and_then(Value::as_str) {
        return Ok(Reading::Failed(why.to_owned()));
    }
    let absent = value == "absent";
    Ok(match probe {
        Probe::Path { content, .. } if !absent => Reading::Path(path_reading(value, content)?),
        Probe::Path { .. } => Reading::Path(PathReading::Absent),
        Probe::State => return Err("no kind asks for the ledger".to_owned()),
        Probe::Package(_) => Reading::Package(from::<Package>(value)?.into()),
        Probe::User(_) if !absent => Reading::User(Some(from::<User>(value)?.into())),
        Probe::User(_) => Reading::User(None),
        Probe::Membership(_) if !absent => Reading::Membership(Some(from::<Membership>(value)?.into())),
        Probe::Membership(_) => Reading::Membership(None),
        Probe::Group(_) if !absent => Reading::Group(Some(from(value)?)),
        Probe::Group(_) => Reading::Group(None),
        Probe::Unit(_) => Reading::Unit(from::<Unit>(value)?.into()),
        Probe::Command(_) => Reading::Command(from::<Ended>(value)?.into()),
        Probe::AccountUse(_) => {
            let words = from::<Vec<String>>(value)?;
            Reading::AccountUse(words.iter().map(|word| account_use(word)).collect::<Result<_, _>>()?)
        }
        Probe::Removal(_) => Reading::Removal(from::<Removal>(value)?.into()),
        Probe::Port { .. } | Probe::Http(_) | Probe::Fitness(_) => {
            return Err("cases cannot answer this probe yet".to_owned());
        }
    })
}

/// `unit web.service`, `process 4711 bash` or `crontab`.
fn account_use(word: &str) -> Result<AccountUse, String> {
    match word.split(' ').collect::<Vec<_>>().as_slice() {
        ["unit", name] => Ok(AccountUse::Unit((*name).to_owned())),
        ["process", id, name] => {
            let id = id.parse().map_err(|_| format!("`{id}` is not the number of a process"))?;
            Ok(AccountUse::Process { id, name: (*name).to_owned() })
        }
        ["crontab"] => Ok(AccountUse::Crontab),
        _ => Err(format!("`{word}` is no use of an account")),
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Removal {
    needs: Vec<String>,
    serves: Vec<String>,
    along: Vec<String>,
    instead: Vec<String>,
    left: bool,
}

impl From<Removal> for RemovalReading {
    fn from(from: Removal) -> Self {
        let Removal { needs, serves, along, instead, left } = from;
        Self { needs, serves, along, instead, left }
    }
}

fn from<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| error.to_string())
}

fn bytes_of(content: &Value) -> Result<Vec<u8>, String> {
    match keys(content) {
        Datum::Text(text) => Ok(text.into_bytes()),
        Datum::Bytes(bytes) => Ok(bytes),
        other => Err(format!("{other:?} is neither a text nor bytes")),
    }
}

fn path_reading(value: &Value, fetch: &Fetch) -> Result<PathReading, String> {
    let found: Found = from(value)?;
    let mode = found.mode.map(|mode| mode.0);
    let name = |name: Option<String>| name.unwrap_or_else(|| "root".to_owned());
    let attributes = |default| Attributes {
        mode: mode.unwrap_or(Mode(default)),
        owner: name(found.owner.clone()),
        group: name(found.group.clone()),
    };
    Ok(match found.is.as_str() {
        "file" => {
            let bytes = found.content.as_ref().map(bytes_of).transpose()?.unwrap_or_default();
            let digest = Digest::of(&bytes);
            let size = found.size.unwrap_or(bytes.len() as u64);
            let wanted = match fetch {
                Fetch::Digest => false,
                Fetch::Unless(known) => digest != *known,
                Fetch::Always => true,
            };
            let content = (wanted && size <= armilla::step::FETCH_LIMIT).then_some(bytes);
            PathReading::File { attributes: attributes(0o644), size, digest, modified: found.modified, content }
        }
        "directory" => PathReading::Directory(attributes(0o755)),
        "link" => PathReading::Link { target: found.target.unwrap_or_default(), modified: found.modified },
        other => PathReading::Other(other.to_owned()),
    })
}

/// `is: file`, `directory`, `link`, or another word that `stat` has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    is: String,
    #[serde(default)]
    content: Option<Value>,
    /// If it is not the content's own.
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    mode: Option<FileMode>,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    modified: i64,
}

macro_rules! readings {
    ($($name:ident => $reading:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name { $(#[serde(default)] $field: $type),* }

        impl From<$name> for $reading {
            fn from(value: $name) -> Self {
                Self { $($field: value.$field.into()),* }
            }
        }
    )*};
}

readings! {
    Package => PackageReading {
        manager: ManagerName,
        holding: Hold,
        installed: Option<String>,
        held: bool,
        lists_age: Option<u64>,
        interrupted: bool,
    }
    User => UserReading { uid: u32, gid: u32, home: String, shell: String, comment: String }
    Membership => MembershipReading { group: String, groups: Vec<String> }
    Unit => UnitReading {
        load: String,
        active: String,
        sub: String,
        enabled: String,
        needs_reload: bool,
        since: Option<i64>,
        restarts: u64,
        age: Option<u64>,
        required_by: Vec<String>,
    }
    Ended => CommandReading { exit: i32, stdout: String, stderr: String }
}

/// `apt` if it is not given.
#[derive(Default, Deserialize)]
struct ManagerName(Option<String>);

impl From<ManagerName> for Manager {
    fn from(name: ManagerName) -> Self {
        let named = |name: &str| Self::named(name).unwrap_or_else(|| panic!("`{name}` manages no packages"));
        name.0.as_deref().map_or_else(Self::default, named)
    }
}

/// `unable`, or `able` if it is not given.
#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Hold {
    #[default]
    Able,
    Unable,
}

impl From<Hold> for Holding {
    fn from(hold: Hold) -> Self {
        match hold {
            Hold::Able => Self::Able,
            Hold::Unable => Self::Unable,
        }
    }
}

// -- how things are written in a case ---------------------------------------------------------------------------------

fn show_field(field: &Field) -> String {
    let side = |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing".to_owned());
    let value = match &field.value {
        FieldValue::Text { from: None, to } => side(to),
        FieldValue::Text { from, to } => format!("{} -> {}", side(from), side(to)),
        FieldValue::Diff { from, to } => format!("{from:?} -> {to:?}"),
        FieldValue::Secret => "***".to_owned(),
        FieldValue::Binary { from, to } => format!("{} -> {to} bytes", from.unwrap_or(0)),
    };
    format!("{}: {value}", field.name)
}

fn show_step(step: &Step) -> String {
    match step {
        Step::WriteFile { path, content, ownership } => {
            format!("write {path}{} {content:?}", show_ownership(ownership))
        }
        Step::SendFile { path, file, ownership } => {
            format!("send {} to {path}{}", file.path, show_ownership(ownership))
        }
        Step::KeepCopy { path, .. } => format!("back up {path}"),
        Step::DropCopies { owner } => format!("drop the copies of {owner}"),
        Step::Arm { name, after, .. } => format!("arm {name} for {} s", after.as_secs()),
        Step::Extend { name, .. } => format!("extend {name}"),
        Step::Disarm { name, .. } => format!("disarm {name}"),
        Step::GiveUp { name, .. } => format!("give {name} up"),
        Step::SaveLedger { owner, .. } => format!("save the ledger of {owner}"),
        Step::AdoptLedger { owner } => format!("adopt the ledger of {owner}"),
        Step::Snapshot(snapshot) => format!("keep {:?} as {}", snapshot.touched, snapshot.name),
        Step::Commit { name, .. } => format!("commit {name}"),
        Step::Undo { name, .. } => format!("undo {name}"),
        Step::Unchanged { path, digest: Some(_) } => format!("unchanged {path}"),
        Step::Unchanged { path, digest: None } => format!("still no {path}"),
        Step::EditFile { path, edit, create } => {
            let create = create.as_ref().map(|ownership| format!(" or make it{}", show_ownership(ownership)));
            format!("edit {path}{}: {edit}", create.unwrap_or_default())
        }
        Step::MakeDirectory { path, ownership } => format!("make directory {path}{}", show_ownership(ownership)),
        Step::MakeLink { path, target } => format!("link {path} to {target}"),
        Step::SetOwnership { path, ownership } => format!("set {path}{}", show_ownership(ownership)),
        Step::Remove { path, what } => format!("remove {path} if {what:?}"),
        Step::Download { path, remote, ownership } => {
            format!("download {} to {path}{}", show_remote(remote), show_ownership(ownership))
        }
        Step::Unpack(unpacking) => show_unpacking(unpacking),
        Step::RemoveUnpacked { path } => format!("remove what was unpacked to {path}"),
        Step::RefreshPackages => "refresh packages".to_owned(),
        Step::RemovePackages(removal) => {
            let PackageRemoval { manager, names, leftovers, unless_needed_by } = removal;
            let verb = if *leftovers == Leftovers::Purged { "purge" } else { "remove" };
            let unless = if unless_needed_by.is_empty() { "" } else { " unless needed by " };
            format!("{verb} {} with {manager}{unless}{}", names.join(" "), unless_needed_by.join(" "))
        }
        Step::Run(command) => format!("run {}", show_command(command)),
        Step::RunOr(command, alternatives) => {
            let or = |other: &Alternative| format!(", after {} {}", other.after, show_command(&other.command));
            format!("run {}", show_command(command)) + &alternatives.iter().map(or).collect::<String>()
        }
        Step::RunUnless(command, guard) => format!("run {} unless {}", show_command(command), show_command(guard)),
        Step::Send(sending) => show_sending(sending),
        Step::Await(gate) => show_gate(gate),
    }
}

fn show_remote(remote: &Remote) -> String {
    let headers: Vec<String> = remote.headers.iter().map(|(name, value)| format!(" {name}: {value:?}")).collect();
    let headers = headers.concat();
    let (limit, time) = (remote.limit, remote.timeout.as_secs());
    format!("{}{headers} sha256 {} [{limit} bytes, {time}s]", remote.url, remote.digest.0)
}

fn show_sending(sending: &Sending) -> String {
    let Sending { request, accepted, unless } = sending;
    let accepted = accepted.iter().map(|status| format!(" or {status}")).collect::<Vec<_>>().concat();
    let unless = unless.iter().map(|question| format!(" unless {}", show_request(question)));
    format!("send {}{accepted}{}", show_request(request), unless.collect::<String>())
}

fn show_request(request: &ApiRequest) -> String {
    let ApiRequest { method, url, headers, body, trust, timeout, retries } = request;
    let headers = headers.iter().map(|(name, value)| format!(" {name}: {value:?}")).collect::<Vec<_>>().concat();
    let body = body.as_ref().map(|body| format!(" {body:?}")).unwrap_or_default();
    let trust = if *trust == Trust::System { String::new() } else { format!(" {trust:?}") };
    let retries = if *retries == 0 { String::new() } else { format!(", {retries} retries") };
    format!("{method} {url}{headers}{body}{trust} [{}s{retries}]", timeout.as_secs())
}

fn show_unpacking(unpacking: &Unpacking) -> String {
    let Unpacking { path, source, strip, owner, group, limits, occupied, marker } = unpacking;
    let source = match source {
        Packed::Content(content) => format!("{content:?}"),
        Packed::Large(file) => file.path.clone(),
        Packed::Remote(remote) => show_remote(remote),
        Packed::Files(files) => {
            let one = |file: &PackedFile| {
                let strip = file.strip.map(|strip| format!(" strip {strip}")).unwrap_or_default();
                format!("{} from {}{strip}", file.name, show_remote(&file.remote))
            };
            files.iter().map(one).collect::<Vec<_>>().join(", ")
        }
    };
    let UnpackLimits { bytes, entries, ratio } = limits;
    let limits = format!("{bytes} bytes, {entries} entries, {ratio} times");
    format!("unpack {source} to {path} {owner} {group} strip {strip} [{limits}] {occupied:?} {marker:?}")
}

fn show_gate(gate: &Gate) -> String {
    let checks = gate.checks.iter().map(|check| match (&check.probe, &check.expect) {
        (Probe::Unit(name), Outcome::Active) => format!("{name} is active for {} s", check.stable_for.as_secs()),
        other => format!("{other:?}"),
    });
    format!("wait until {}", checks.collect::<Vec<_>>().join(" and "))
}

fn show_ownership(ownership: &Ownership) -> String {
    let mode = ownership.mode.iter().map(ToString::to_string);
    let names = ownership.owner.iter().chain(&ownership.group).cloned();
    std::iter::once(String::new()).chain(mode).chain(names).collect::<Vec<_>>().join(" ")
}

/// Variables, program and arguments as one would type them; in brackets what is not as usual.
fn show_command(command: &Command) -> String {
    let variables = command.environment.iter().map(|(name, value)| format!("{name}={} ", show_word(value)));
    let mut notes: Vec<String> = command.user.iter().map(|user| format!("as {user}")).collect();
    notes.extend(command.directory.iter().map(|directory| format!("in {directory}")));
    if command.timeout.as_secs() != 600 {
        notes.push(format!("within {}s", command.timeout.as_secs()));
    }
    let again = |retry: &Retry| format!("{} more tries, {}s apart", retry.times, retry.delay.as_secs());
    notes.extend(command.retry.iter().map(again));
    notes.extend(command.file.iter().map(|content| format!("given {content:?}")));
    if !command.stdin.bytes().is_empty() {
        notes.push(format!("reading {:?}", command.stdin));
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" [{}]", notes.join(", ")) };
    format!("{}{}{notes}", variables.collect::<String>(), show_argv(&command.argv))
}

fn show_argv(argv: &[String]) -> String {
    argv.iter().map(|word| show_word(word)).collect::<Vec<_>>().join(" ")
}

fn show_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%*~".contains(c);
    // One of our own programs is told by its first line, as plans do it.
    let program = word.starts_with("# ") || word.starts_with("import ");
    let word = if program { word.split('\n').next().unwrap_or_default() } else { word };
    let escaped = word.replace('\n', "\\n").replace('\'', "'\\''");
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{escaped}'") }
}
