//! Expressions and templates. The only room that names minijinja.
//!
//! In: texts with `{{ }}` and `{% %}`, the template files they may include, and a scope of values. Out: values, each with
//! the answer to "was a secret read for it". Never: a value rendered twice, an undefined name that becomes an empty text, a
//! file system, or a clock.

mod library;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, LazyLock};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Object};
use minijinja::{AutoEscape, Environment, ErrorKind, Expression, UndefinedBehavior};

pub use library::{Folder, Library};
pub use minijinja::Value;

use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::name::nearest;
use crate::secret::{Datum, Secrecy};
use crate::yaml::{Node, Yaml};

/// What to do with a secret where a role is written.
const ELSEWHERE: &str = "set it for a group, a host or a service, and use it here by its name: \"{{ name }}\"";
/// More work than any template of a configuration file needs; a loop over loops ends here.
const FUEL: u64 = 20_000_000;

/// The filters that roles use most, for hints. A test looks that each exists.
const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "bool",
    "default",
    "dictsort",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "megabytes",
    "milliseconds",
    "min",
    "quote",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "zip",
];

static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(engine);

fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|_| AutoEscape::None);
    engine.set_fuel(Some(FUEL));
    engine.set_debug(true);
    engine.set_syntax(syntax());
    engine.add_filter("megabytes", |bytes: i64| bytes / (1024 * 1024));
    engine.add_filter("milliseconds", |seconds: f64| as_integer(seconds * 1000.0));
    engine.add_filter("quote", |text: String| format!("'{}'", text.replace('\'', "'\\''")));
    engine
}

/// As Ansible's templates: a line that holds only a `{% %}` leaves no line behind.
fn syntax() -> SyntaxConfig {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    syntax.unwrap_or_default()
}

/// Rounded; a duration in milliseconds is far inside what an integer holds.
#[expect(clippy::cast_possible_truncation, reason = "saturates, and such durations are refused before")]
fn as_integer(number: f64) -> i64 {
    number.round() as i64
}

thread_local! {
    /// Whether a secret was read since the last look. Rendering stays on one thread.
    static TOUCHED: Cell<Secrecy> = const { Cell::new(Secrecy::Open) };
}

/// Plain data as a value of a scope.
pub fn value(data: &impl serde::Serialize) -> Value {
    minijinja::value::Serde(data).into()
}

/// A map with one more entry. What is no map stays as it is.
pub fn extend(map: &Value, key: &str, more: Value) -> Value {
    let Ok(keys) = map.try_iter() else { return map.clone() };
    let entries = keys.filter_map(|key| Some((key.clone(), map.get_item(&key).ok()?)));
    Value::from_pairs(entries.chain([(Value::from(key), more)]))
}

/// The names that expressions can use, and their values. Cheap to clone.
///
/// To read a secret leaves a mark on whatever is computed meanwhile: a part of it, its length, or what is chosen by it, is
/// as secret as itself, and it is a plain value in every operation.
#[derive(Debug, Clone, Default)]
pub struct Scope(Arc<ScopeValues>);

#[derive(Clone, Default)]
struct ScopeValues(BTreeMap<Arc<str>, (Value, Secrecy)>);

impl fmt::Debug for ScopeValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Object for ScopeValues {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let (value, secrecy) = self.0.get(key)?;
        TOUCHED.set(TOUCHED.get().with(*secrecy));
        Some(value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|name| Value::from(Arc::clone(name))).collect())
    }
}

impl Scope {
    /// Sets a name.
    pub fn set(&mut self, name: &str, value: Value) {
        self.set_as(name, value, Secrecy::Open);
    }

    /// Sets a name to a value that may be secret.
    pub fn set_as(&mut self, name: &str, value: Value, secrecy: Secrecy) {
        Arc::make_mut(&mut self.0).0.insert(name.into(), (value, secrecy));
    }

    /// The same scope with one more name.
    #[must_use]
    pub fn with(&self, name: &str, value: Value, secrecy: Secrecy) -> Self {
        let mut scope = self.clone();
        scope.set_as(name, value, secrecy);
        scope
    }

    /// All names as one value, a map that says of each entry by itself whether it is secret.
    pub fn to_value(&self) -> Value {
        Value::from_dyn_object(Arc::clone(&self.0))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.0.keys().map(|name| &**name)
    }
}

/// What came out of an expression or template.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The value. What a secret went into is secret in it.
    pub data: Datum,
    /// Whether a secret went into any of it.
    pub secrecy: Secrecy,
}

impl Rendered {
    fn new(data: serde_json::Value, secrecy: Secrecy) -> Self {
        let data = if secrecy.is_secret() { Datum::hidden(data) } else { Datum::from(data) };
        Self { data, secrecy }
    }
}

/// One compiled expression, as after `when:` or inside one pair of `{{ }}`.
#[derive(Clone)]
pub struct Formula {
    expression: Arc<Expression<'static, 'static>>,
    text: Arc<str>,
    origin: Origin,
}

impl fmt::Debug for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl Formula {
    /// Compiles an expression written at a place, with or without `{{ }}` around it.
    ///
    /// # Errors
    /// When it is no expression.
    pub fn parse(text: &str, origin: &Origin) -> Result<Self, Diagnostic> {
        let text = text.trim();
        let text = single(text).unwrap_or(text).trim();
        let expression =
            ENGINE.compile_expression_owned(text.to_owned()).map_err(|e| problem(&e, text, origin, None))?;
        Ok(Self { expression: Arc::new(expression), text: text.into(), origin: origin.clone() })
    }

    /// What it comes to.
    ///
    /// # Errors
    /// When a name is not defined, or an operation does not fit its values.
    pub fn value(&self, scope: &Scope) -> Result<Value, Diagnostic> {
        TOUCHED.set(Secrecy::Open);
        let failed = |error: &minijinja::Error| problem(error, &self.text, &self.origin, Some(scope));
        let value = self.expression.eval(scope.to_value()).map_err(|error| failed(&error))?;
        if value.is_undefined() {
            return Err(undefined(&self.text, &self.text, 0, &self.origin, Some(scope)));
        }
        Ok(value)
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// As [`Formula::value`].
    pub fn holds(&self, scope: &Scope) -> Result<bool, Diagnostic> {
        Ok(self.value(scope)?.is_true())
    }

    /// The items of the list it comes to, and whether a secret went into it.
    ///
    /// # Errors
    /// As [`Formula::value`], and when it is no list.
    pub fn items(&self, scope: &Scope) -> Result<(Vec<Value>, Secrecy), Diagnostic> {
        let value = self.value(scope)?;
        match value.kind() {
            minijinja::value::ValueKind::Seq | minijinja::value::ValueKind::Iterable => {
                let items = value.try_iter().map(Iterator::collect).unwrap_or_default();
                Ok((items, TOUCHED.get()))
            }
            other => Err(Diagnostic::error(format!("`{}` is {other}, not a list", self.text)).at(&self.origin)),
        }
    }

    /// Where it was written.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    fn render(&self, scope: &Scope) -> Result<Rendered, Diagnostic> {
        let value = self.value(scope)?;
        let data = serde_json::to_value(&value)
            .map_err(|e| Diagnostic::error(format!("`{}` is not plain data: {e}", self.text)).at(&self.origin))?;
        Ok(Rendered::new(data, TOUCHED.get()))
    }
}

/// The text between the braces, if the whole is one `{{ expression }}`.
fn single(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    // `{{ a }} and {{ b }}` begins and ends alike; a whole expression never has these inside.
    (!inner.contains("{{") && !inner.contains("}}") && !inner.contains("{%")).then_some(inner)
}

/// A compiled text with expressions in it: one value in YAML, or a file with all files it includes.
#[derive(Clone)]
pub struct Text {
    engine: Arc<Environment<'static>>,
    name: Arc<str>,
    origin: Origin,
    /// Where each file begins; none for a value in YAML.
    files: Arc<BTreeMap<String, Origin>>,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template {}", self.origin)
    }
}

impl Text {
    /// Compiles a value written at a place.
    ///
    /// # Errors
    /// When it is no template, and when it includes another.
    pub fn parse(text: &str, origin: &Origin) -> Result<Self, Diagnostic> {
        let mut engine = ENGINE.clone();
        engine.add_template_owned("text", text.to_owned()).map_err(|e| problem(&e, text, origin, None))?;
        if let Some(reference) = library::references(text).first() {
            let problem = Diagnostic::error(format!("`{}` works in template files only", reference.tag));
            let problem = problem.at(&locate(text, reference.range.start, origin));
            return Err(problem.hint("move this text to a file in templates/ and use that file as `src`"));
        }
        Ok(Self { engine: Arc::new(engine), name: "text".into(), origin: origin.clone(), files: Arc::default() })
    }

    /// Compiles a template file, together with every file that it includes, imports or extends.
    ///
    /// # Errors
    /// Everything that is wrong with any of these files.
    pub fn load(name: &str, library: &Library<'_>) -> Result<Self, Diagnostics> {
        let loaded = library::load(name, library, ENGINE.clone())?;
        let origin = loaded.files[name].clone();
        Ok(Self { engine: Arc::new(loaded.engine), name: name.into(), origin, files: Arc::new(loaded.files) })
    }

    /// Renders it; also says whether a secret was read for it.
    ///
    /// # Errors
    /// When a name is not defined, or an operation does not fit its values.
    pub fn render(&self, scope: &Scope) -> Result<(String, Secrecy), Diagnostic> {
        TOUCHED.set(Secrecy::Open);
        let template = self.engine.get_template(&self.name);
        let rendered = template.and_then(|t| t.render(scope.to_value()));
        rendered.map(|text| (text, TOUCHED.get())).map_err(|error| self.failure(&error, scope))
    }

    /// The names it and what it includes read, with their attributes: `facts.os.codename`.
    pub fn reads(&self) -> BTreeSet<String> {
        self.engine.templates().flat_map(|(_, template)| template.undeclared_variables(true)).collect()
    }

    /// The file itself and those it includes: name, the place where it begins, and the names it reads.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Origin, BTreeSet<String>)> {
        self.files.iter().map(|(name, origin)| {
            let template = self.engine.get_template(name);
            let reads = template.map(|template| template.undeclared_variables(true).into_iter().collect());
            (name.as_str(), origin, reads.unwrap_or_default())
        })
    }

    /// What went wrong, at the place where it did: the engine wraps an error in one for each file that includes another.
    fn failure(&self, error: &minijinja::Error, scope: &Scope) -> Diagnostic {
        let inner =
            std::iter::successors(Some(error), |error| cause(error)).filter(|error| error.line().is_some()).last();
        let inner = inner.unwrap_or(error);
        let (text, origin) = self.file(inner.name());
        let found = problem(inner, &text, origin, Some(scope));
        let includes = std::iter::successors(Some(error), |error| cause(error));
        let includes = includes.filter(|error| error.kind() == ErrorKind::BadInclude && cause(error).is_some());
        let mut includes: Vec<String> = includes.filter_map(|error| self.place_of(error)).collect();
        includes.reverse();
        if includes.is_empty() {
            return found;
        }
        let includes = format!("included by {}", includes.join(", which is included by "));
        let hint = found.hint.as_ref().map_or_else(|| includes.clone(), |hint| format!("{hint}; {includes}"));
        found.hint(hint)
    }

    /// The text and the beginning of a file; of the template itself if there is none of that name.
    fn file(&self, name: Option<&str>) -> (String, &Origin) {
        let name = name.filter(|name| self.files.contains_key(*name)).unwrap_or(&self.name);
        let text = self.engine.get_template(name).map(|template| template.source().to_owned()).unwrap_or_default();
        (text, self.files.get(name).unwrap_or(&self.origin))
    }

    fn place_of(&self, error: &minijinja::Error) -> Option<String> {
        let (text, origin) = self.file(error.name());
        Some(locate(&text, error.range()?.start, origin).to_string())
    }
}

/// The error that an error of the engine was made from.
fn cause(error: &minijinja::Error) -> Option<&minijinja::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

/// A value of YAML with templates in it, compiled.
#[derive(Debug, Clone)]
pub enum Recipe {
    /// Nothing to compute.
    Literal(Datum, Origin),
    /// One single `{{ expression }}`: keeps its type.
    Formula(Formula),
    /// A text with expressions in it.
    Text(Text),
    /// A list of which some item must be computed.
    List(Vec<Recipe>, Origin),
    /// A map of which some value must be computed.
    Map(Vec<(String, Recipe)>, Origin),
}

impl Recipe {
    /// The value, where nothing has to be computed.
    pub fn literal(&self) -> Option<&Datum> {
        match self {
            Self::Literal(data, _) => Some(data),
            _ => None,
        }
    }

    /// Compiles a value.
    ///
    /// # Errors
    /// Every text in it that is no template.
    pub fn parse(node: &Node) -> Result<Self, Diagnostics> {
        let at = || node.origin.clone();
        let recipe = match &node.value {
            Yaml::Text(text) => Self::text(text, node)?,
            Yaml::List(items) => {
                let items = collect(items.iter().map(Self::parse))?;
                Self::List(items, at())
            }
            Yaml::Map(entries) => {
                let values = collect(entries.iter().map(|(_, node)| Self::parse(node)))?;
                Self::Map(entries.iter().map(|(key, _)| key.name.clone()).zip(values).collect(), at())
            }
            Yaml::Encrypted(_) | Yaml::Secret(_) => {
                let problem = Diagnostic::error(format!("{} is not allowed here", node.kind())).at(&node.origin);
                return Err(problem.hint(ELSEWHERE).into());
            }
            _ => Self::Literal(node.to_json().into(), at()),
        };
        Ok(if recipe.is_constant() { Self::Literal(node.to_json().into(), at()) } else { recipe })
    }

    fn text(text: &str, node: &Node) -> Result<Self, Diagnostics> {
        if !text.contains("{{") && !text.contains("{%") && !text.contains("{#") {
            return Ok(Self::Literal(text.into(), node.origin.clone()));
        }
        // With as much as a line break around it, it is a text.
        match single(text).filter(|_| text.trim() == text) {
            Some(inner) => Ok(Self::Formula(Formula::parse(inner, &node.origin)?)),
            None => Ok(Self::Text(Text::parse(text, &node.origin)?)),
        }
    }

    /// Where it was written.
    pub fn origin(&self) -> &Origin {
        match self {
            Self::Formula(formula) => &formula.origin,
            Self::Text(text) => &text.origin,
            Self::Literal(_, origin) | Self::List(_, origin) | Self::Map(_, origin) => origin,
        }
    }

    /// Whether it is the same in every scope.
    pub fn is_constant(&self) -> bool {
        match self {
            Self::Literal(..) => true,
            Self::Formula(_) | Self::Text(_) => false,
            Self::List(items, _) => items.iter().all(Self::is_constant),
            Self::Map(entries, _) => entries.iter().all(|(_, value)| value.is_constant()),
        }
    }

    /// The text of a key, if it is a map that has it and nothing in the text must be computed.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        match self {
            Self::Literal(data, _) => data.get(key)?.text(),
            Self::Map(entries, _) => match entries.iter().find(|(k, _)| k == key).map(|(_, value)| value) {
                Some(Self::Literal(data, _)) => data.text(),
                _ => None,
            },
            _ => None,
        }
    }

    /// Computes it.
    ///
    /// # Errors
    /// Everything in it that cannot be computed.
    pub fn render(&self, scope: &Scope) -> Result<Rendered, Diagnostics> {
        let secrecy = |parts: &[Rendered]| parts.iter().fold(Secrecy::Open, |all, part| all.with(part.secrecy));
        match self {
            Self::Literal(data, _) => Ok(Rendered { data: data.clone(), secrecy: Secrecy::Open }),
            Self::Formula(formula) => Ok(formula.render(scope)?),
            Self::Text(text) => {
                let (text, secrecy) = text.render(scope)?;
                Ok(Rendered::new(text.into(), secrecy))
            }
            Self::List(items, _) => {
                let items = collect(items.iter().map(|item| item.render(scope)))?;
                let secrecy = secrecy(&items);
                Ok(Rendered { data: Datum::List(items.into_iter().map(|item| item.data).collect()), secrecy })
            }
            Self::Map(entries, _) => {
                let values = collect(entries.iter().map(|(_, value)| value.render(scope)))?;
                let secrecy = secrecy(&values);
                let keys = entries.iter().map(|(key, _)| key.clone());
                Ok(Rendered {
                    data: Datum::Map(keys.zip(values.into_iter().map(|value| value.data)).collect()),
                    secrecy,
                })
            }
        }
    }

    /// The names it reads, with their attributes: `facts.os.codename`.
    pub fn reads(&self) -> BTreeSet<String> {
        match self {
            Self::Literal(..) => BTreeSet::new(),
            Self::Formula(formula) => formula.reads(),
            Self::Text(text) => text.reads(),
            Self::List(items, _) => items.iter().flat_map(Self::reads).collect(),
            Self::Map(entries, _) => entries.iter().flat_map(|(_, value)| value.reads()).collect(),
        }
    }
}

impl Formula {
    /// The names it reads, with their attributes.
    pub fn reads(&self) -> BTreeSet<String> {
        self.expression.undeclared_variables(true).into_iter().collect()
    }
}

/// All values, or all problems.
fn collect<T>(results: impl Iterator<Item = Result<T, Diagnostics>>) -> Result<Vec<T>, Diagnostics> {
    let mut problems = Diagnostics::new();
    let values: Vec<T> = results.filter_map(|result| problems.keep(result)).collect();
    problems.result(values)
}

/// A problem of minijinja's as one of ours, at the place in the user's file.
fn problem(error: &minijinja::Error, text: &str, origin: &Origin, scope: Option<&Scope>) -> Diagnostic {
    let range = error.range().filter(|range| range.end <= text.len());
    let meant = range.clone().and_then(|range| text.get(range)).unwrap_or_default();
    let start = range.map_or_else(|| line_start(text, error.line()), |range| range.start);
    if error.kind() == ErrorKind::UndefinedError && !meant.is_empty() {
        return undefined(meant, text, start, origin, scope);
    }
    // In a comparison the engine names what is undefined, but not where.
    let named = error
        .detail()
        .filter(|_| error.kind() == ErrorKind::UndefinedError)
        .and_then(|detail| detail.split('`').nth(1));
    if let Some((name, start)) = named.and_then(|name| Some((name, text.find(name)?))) {
        return undefined(name, text, start, origin, scope);
    }
    // The engine shows values in its words, such as a text that is no number.
    let what = match error.detail().filter(|_| !TOUCHED.get().is_secret()) {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    let open = what.contains("unexpected end of input");
    let hint = open.then(|| {
        "close each `{{` with `}}`, each `{% if %}` with `{% endif %}`, each `{% for %}` with `{% endfor %}`".to_owned()
    });
    let hint = hint.or_else(|| unknown_word(error));
    Diagnostic::error(what).at(&locate(text, start, origin)).wide(meant.trim().chars().count()).maybe_hint(hint)
}

/// For a filter or test that does not exist: where those are listed that do.
fn unknown_word(error: &minijinja::Error) -> Option<String> {
    let (what, known) = match error.kind() {
        ErrorKind::UnknownFilter => ("filter", "filters"),
        ErrorKind::UnknownTest => ("test", "tests"),
        ErrorKind::UnknownFunction => ("function", "functions"),
        _ => return None,
    };
    let typed = error.detail()?.strip_prefix(what)?.split_whitespace().next()?.trim_matches('`').to_owned();
    let near = if what == "filter" { nearest(&typed, FILTERS.iter().copied()) } else { Vec::new() };
    Some(match near.first() {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the {known} are those of https://docs.rs/minijinja/latest/minijinja/{known}/"),
    })
}

fn undefined(meant: &str, text: &str, start: usize, origin: &Origin, scope: Option<&Scope>) -> Diagnostic {
    let meant = meant.trim();
    let first = meant.split(['.', '[', ' ', '|']).next().unwrap_or_default();
    Diagnostic::error(format!("`{meant}` is not defined"))
        .at(&locate(text, start, origin))
        .wide(meant.chars().count())
        .maybe_hint(scope.and_then(|scope| undefined_hint(first, scope).or_else(|| attribute_hint(meant, scope))))
}

/// For `host.nmae`: what `host` has.
fn attribute_hint(meant: &str, scope: &Scope) -> Option<String> {
    let mut path: Vec<&str> = Vec::new();
    let mut value: Option<Value> = None;
    for part in meant.split('.') {
        let next = match &value {
            None => scope.0.0.get(part).filter(|(_, secrecy)| !secrecy.is_secret()).map(|(value, _)| value.clone()),
            Some(map) => map.get_attr(part).ok().filter(|value| !value.is_undefined()),
        };
        let Some(next) = next else { break };
        path.push(part);
        value = Some(next);
    }
    let keys: Vec<String> =
        value?.try_iter().ok()?.filter_map(|key| Some(format!("{}.{}", path.join("."), key.as_str()?))).collect();
    crate::name::did_you_mean(meant, keys.iter().map(String::as_str))
}

/// What Ansible calls a thing that expressions have under another name.
fn foreign(name: &str) -> Option<&'static str> {
    Some(match name {
        "inventory_hostname" | "inventory_hostname_short" => "the host's name is `host.name`",
        "ansible_host" => "the host's address is `host.address`",
        "ansible_hostname" | "ansible_fqdn" | "ansible_nodename" => {
            "the name that the host has set is `facts.hostname`"
        }
        "ansible_memtotal_mb" => "the memory is `facts.memory`, see `armilla facts`",
        "groups" | "play_hosts" | "ansible_play_hosts" => {
            "the hosts of the service are `service.hosts`, those of a service it needs `needs.NAME.hosts`"
        }
        "hostvars" => "values of other services are in `needs.NAME.KEY`, from `provides` of their role",
        "group_names" => "a role cannot read groups: set an input in `group_vars/`",
        "lookup" | "query" => {
            "lookups on this machine are not supported: put the value into `group_vars/` or pass it with --var"
        }
        _ if name.starts_with("ansible_") => "the facts of a host are under `facts`, see `armilla facts`",
        _ => return None,
    })
}

fn undefined_hint(name: &str, scope: &Scope) -> Option<String> {
    let names: Vec<&str> = scope.names().collect();
    if names.contains(&name) {
        return None;
    }
    if let Some(hint) = foreign(name) {
        return Some(hint.to_owned());
    }
    let near = nearest(name, names.iter().copied());
    Some(match near.first() {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("defined here: {}", names.join(", ")),
    })
}

fn line_start(text: &str, line: Option<usize>) -> usize {
    let line = line.unwrap_or(1).saturating_sub(1);
    text.split_inclusive('\n').take(line).map(str::len).sum()
}

/// Where a byte of a template is in the file. A template file is found as it is; a text in YAML is found again in its
/// line or, for a block of lines, in the lines below.
fn locate(text: &str, byte: usize, origin: &Origin) -> Origin {
    let before = text.get(..byte).unwrap_or_default();
    let in_line = before.rsplit('\n').next().unwrap_or_default();
    let row = text.get(byte - in_line.len()..).unwrap_or_default().lines().next().unwrap_or_default().trim_end();
    let first = usize::try_from(origin.line).unwrap_or(1);
    let down = before.matches('\n').count();
    // The line it should be in, then those below (a block's first line is after the `|`).
    for number in [first + down, first + down + 1] {
        let Some(line) = origin.source.line(u32::try_from(number).unwrap_or(1)) else { continue };
        let skip = if number == first { usize::try_from(origin.column).unwrap_or(1) - 1 } else { 0 };
        let rest: String = line.chars().skip(skip).collect();
        if let Some(at) = rest.find(row) {
            let column = skip + rest[..at].chars().count() + in_line.chars().count() + 1;
            return place(&origin.source, number, column);
        }
    }
    origin.clone()
}

fn place(source: &Arc<Source>, line: usize, column: usize) -> Origin {
    let number = |n: usize| u32::try_from(n).unwrap_or(1);
    Origin { source: Arc::clone(source), line: number(line), column: number(column) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_that_is_offered_exists() {
        for filter in FILTERS {
            let problem = Formula::parse(&format!("1 | {filter}"), &Origin::start(&Source::new("x", "")))
                .and_then(|formula| formula.value(&Scope::default()));
            let unknown = problem.is_err_and(|problem| problem.what.contains("unknown filter"));
            assert!(!unknown, "{filter}");
        }
    }

    fn scope() -> Scope {
        let mut scope = Scope::default();
        scope.set("port", Value::from(2181));
        scope.set("hosts", value(&["a", "b"]));
        scope.set_as("token", Value::from("hunter2"), Secrecy::Secret);
        scope.set_as("pins", value(&[[1234]]), Secrecy::Secret);
        let mut provided = Scope::default();
        provided.set("address", Value::from("db1"));
        provided.set_as("password", Value::from("hunter2"), Secrecy::Secret);
        scope.set("db", provided.to_value());
        scope
    }

    fn render(yaml: &str) -> Result<Rendered, Diagnostics> {
        let node = crate::yaml::parse(&Source::new("role.yml", yaml))?;
        Recipe::parse(&node)?.render(&scope())
    }

    #[test]
    fn one_single_expression_keeps_its_type() {
        assert_eq!(render("\"{{ port }}\"").map(|r| r.data), Ok(serde_json::json!(2181).into()));
        assert_eq!(render("\"{{ port }}!\"").map(|r| r.data), Ok(serde_json::json!("2181!").into()));
        assert_eq!(render("\"{{ port }}\\n\"").map(|r| r.data), Ok(serde_json::json!("2181\n").into()));
        assert_eq!(render("[\"{{ hosts }}\"]").map(|r| r.data), Ok(serde_json::json!([["a", "b"]]).into()));
        assert_eq!(render("{a: 1, b: [x]}").map(|r| r.data), Ok(serde_json::json!({"a": 1, "b": ["x"]}).into()));
    }

    #[test]
    fn values_are_never_rendered_twice() {
        let node = crate::yaml::parse(&Source::new("x", "\"{{ x }}\"")).unwrap_or_else(|d| panic!("{d}"));
        let mut scope = Scope::default();
        scope.set("x", Value::from("{{ 7 * 7 }}"));
        let recipe = Recipe::parse(&node).unwrap_or_else(|d| panic!("{d}"));
        assert_eq!(recipe.render(&scope).map(|r| r.data), Ok("{{ 7 * 7 }}".into()));
    }

    #[test]
    fn what_a_secret_went_into_is_secret() {
        for text in [
            "token",
            "'x' ~ token",
            "[token] | join(',')",
            "token | length",
            "token[0]",
            "token == 'x'",
            "'a' if token else 'b'",
            "pins[0][0] + 1",
            "db.password",
        ] {
            for yaml in [format!("\"{{{{ {text} }}}}\""), format!("\"a {{{{ {text} }}}} b\"")] {
                let rendered = render(&yaml).unwrap_or_else(|d| panic!("{d}"));
                assert!(rendered.secrecy.is_secret(), "{yaml}: {rendered:?}");
                assert!(matches!(rendered.data, Datum::Secret(_)), "{yaml}: {rendered:?}");
            }
        }
        let whole = |text: &str| render(text).unwrap_or_else(|d| panic!("{d}"));
        assert_eq!(
            whole("\"{{ pins }}\"").data,
            Datum::List(vec![Datum::List(vec![Datum::hidden(serde_json::json!(1234))])])
        );
        assert_eq!(whole("\"{{ db }}\"").data.get("password"), Some(&Datum::secret("hunter2")));
        assert_eq!(whole("\"{% for n in pins %}{{ n[0] }}{% endfor %}\"").data, Datum::secret("1234"));
        for text in ["\"{{ port }}\"", "\"{{ db.address }}\"", "\"{% set x = port %}{{ x }}\""] {
            assert!(!whole(text).secrecy.is_secret(), "{text}");
        }
    }

    #[test]
    fn an_error_about_a_secret_does_not_show_it() {
        for text in ["token | int", "token + 1", "token | round", "db.password.nothing.more"] {
            for yaml in [format!("\"{{{{ {text} }}}}\""), format!("\"a {{{{ {text} }}}}\"")] {
                let problems = render(&yaml).expect_err(text).to_string();
                assert!(!problems.contains("hunter2"), "{problems}");
            }
        }
    }

    #[test]
    fn an_encrypted_value_is_not_written_where_values_are_computed() {
        let problems = render("a: !vault x").expect_err("no place for it").to_string();
        assert!(
            problems.contains("an encrypted value is not allowed here") && problems.contains("role.yml:1:4"),
            "{problems}"
        );
    }

    #[test]
    fn an_undefined_name_is_shown_where_it_is_written() {
        let problems = render("a: x\nb: \"at {{ prot }}\"\n").expect_err("undefined");
        assert_eq!(
            problems.to_string(),
            "error: `prot` is not defined\n  --> role.yml:2:11\n   |\n 2 | b: \"at {{ prot }}\"\n   |           ^^^^\nhint: did you mean `port`?"
        );
        let block = render("a: |\n  one\n  {{ prot }}\n").expect_err("undefined");
        assert_eq!(
            block.iter().next().and_then(|d| d.origin.as_ref()).map(ToString::to_string).as_deref(),
            Some("role.yml:3:6")
        );
    }

    #[test]
    fn all_problems_of_a_value_come_at_once() {
        assert_eq!(render("[\"{{ a }}\", \"{{ b }}\"]").expect_err("two").iter().count(), 2);
    }

    #[test]
    fn a_loop_without_end_is_stopped() {
        let problems = render("\"{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}\"");
        assert!(problems.is_err_and(|p| p.to_string().contains("fuel")), "stopped");
    }
}
