//! A text with expressions in it: a value in YAML, or a template file with everything it includes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use minijinja::{Environment, ErrorKind};

use super::engine::ENGINE;
use super::library::{self, Library};
use super::problem::{locate, problem};
use super::scope::{Scope, TOUCHED};
use crate::diag::{Diagnostic, Diagnostics, Origin};
use crate::secret::Secrecy;

/// A compiled text with expressions in it: one value in YAML, or a file with all files it includes.
#[derive(Clone)]
pub struct Text {
    engine: Arc<Environment<'static>>,
    name: Arc<str>,
    pub(super) origin: Origin,
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
