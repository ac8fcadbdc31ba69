//! Template files, and which of them a template names in `include`, `import`, `from` and `extends`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use minijinja::machinery::{ast, parse};
use minijinja::{Environment, Value};

use super::engine::syntax;
use super::problem::{locate, problem};
use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::name::nearest;

/// The template files of one folder, by path below it.
pub type Folder = BTreeMap<String, Arc<Source>>;

/// Templates may include each other this deep; the engine's own stack ends soon after.
const DEEPEST: usize = 40;

/// What templates can be found by name: folders in the order in which they are searched.
#[derive(Debug, Clone, Default)]
pub struct Library<'a>(Vec<&'a Folder>);

impl<'a> Library<'a> {
    /// Searches these folders, the first one first.
    pub fn new(folders: impl IntoIterator<Item = &'a Folder>) -> Self {
        Self(folders.into_iter().collect())
    }

    /// The template of that name.
    pub fn get(&self, name: &str) -> Option<&'a Arc<Source>> {
        self.0.iter().find_map(|folder| folder.get(name))
    }

    /// All names, each once.
    pub fn names(&self) -> BTreeSet<&'a str> {
        self.0.iter().flat_map(|folder| folder.keys()).map(String::as_str).collect()
    }
}

/// Compiled template files that refer to each other.
pub(super) struct Loaded {
    pub(super) engine: Environment<'static>,
    /// Where each of them begins.
    pub(super) files: BTreeMap<String, Origin>,
}

/// Compiles a template file and all files it refers to.
///
/// # Errors
/// Everything that is wrong with any of them.
pub(super) fn load(name: &str, library: &Library<'_>, engine: Environment<'static>) -> Result<Loaded, Diagnostics> {
    let loaded = Loaded { engine, files: BTreeMap::new() };
    let mut walk = Loader { library, loaded, chain: Vec::new(), problems: Diagnostics::new() };
    match library.get(name) {
        Some(source) => walk.load(name, source),
        None => walk.problems.push(Diagnostic::error(format!("template `{name}` not found"))),
    }
    walk.problems.result(walk.loaded)
}

struct Loader<'a> {
    library: &'a Library<'a>,
    loaded: Loaded,
    /// The files that led to the present one, each included by the one before it.
    chain: Vec<String>,
    problems: Diagnostics,
}

impl Loader<'_> {
    fn load(&mut self, name: &str, source: &Arc<Source>) {
        let start = Origin::start(source);
        self.loaded.files.insert(name.to_owned(), start.clone());
        if let Err(error) = self.loaded.engine.add_template_owned(name.to_owned(), source.text.clone()) {
            self.problems.push(problem(&error, &source.text, &start, None));
            return;
        }
        self.chain.push(name.to_owned());
        for reference in references(&source.text) {
            if let Err(problem) = self.follow(&reference) {
                let width = source.text.get(reference.range.clone()).map_or(0, |text| text.chars().count());
                self.problems.push(problem.at(&locate(&source.text, reference.range.start, &start)).wide(width));
            }
        }
        self.chain.pop();
    }

    /// Loads the first of the named files that exists: the one that rendering takes.
    fn follow(&mut self, reference: &Reference) -> Result<(), Diagnostic> {
        let Some(names) = &reference.names else { return Err(computed(reference.tag)) };
        for name in names {
            check_name(name)?;
        }
        let Some((name, source)) = names.iter().find_map(|name| Some((name, self.library.get(name)?))) else {
            return if reference.ignore_missing { Ok(()) } else { Err(self.missing(reference, names)) };
        };
        if let Some(first) = self.chain.iter().position(|open| open == name) {
            let circle: Vec<&str> = self.chain[first..].iter().chain([name]).map(String::as_str).collect();
            let problem =
                Diagnostic::error(format!("templates include each other in a cycle: {}", circle.join(" -> ")));
            return Err(problem.hint("move the common part to a third file, and include that in both"));
        }
        if self.chain.len() >= DEEPEST {
            let problem = Diagnostic::error(format!("templates include each other more than {DEEPEST} levels deep"));
            return Err(problem.hint("include fewer files from each other, or join some of them"));
        }
        if !self.loaded.files.contains_key(name) {
            self.load(name, source);
        }
        Ok(())
    }

    fn missing(&self, reference: &Reference, names: &[String]) -> Diagnostic {
        let what = match names {
            [name] => format!("template `{name}` not found"),
            names => format!("none of the templates `{}` found", names.join("`, `")),
        };
        let known = || self.library.names().into_iter();
        let near =
            names.iter().find_map(|name| nearest(name, known()).first().map(|near| format!("did you mean `{near}`?")));
        let allow = if reference.tag == "include" { ", or add `ignore missing`" } else { "" };
        let place = format!("write it to templates/{} of the role or of the project{allow}", names[0]);
        Diagnostic::error(what).hint(near.unwrap_or(place))
    }
}

fn computed(tag: &str) -> Diagnostic {
    Diagnostic::error(format!("the template name in `{tag}` is not a literal"))
        .hint("write the name in quotes; to choose by a value, use several with `{% if %}`")
}

/// A name leads to a file below `templates/`, and to no other place.
fn check_name(name: &str) -> Result<(), Diagnostic> {
    let what = match () {
        () if name.is_empty() => "the name of the template is empty".to_owned(),
        () if name.starts_with('/') => format!("`{name}` is an absolute path"),
        () if name.split('/').any(|part| part == "..") => format!("`{name}` is outside templates/"),
        () if name.split('/').any(|part| part == "." || part.is_empty()) => {
            format!("`{name}` is not the plain path of a template")
        }
        () => return Ok(()),
    };
    Err(Diagnostic::error(what).hint("use the path of a file below templates/ of the role or the project"))
}

/// A place in a template that names others.
pub(super) struct Reference {
    /// The word it begins with.
    pub(super) tag: &'static str,
    /// The names in the order in which they are tried; none if they are computed.
    names: Option<Vec<String>>,
    /// Whether it may be that there is none.
    ignore_missing: bool,
    /// The expression that names them.
    pub(super) range: Range<usize>,
}

/// All places in a text that name other templates. None for what is no template.
pub(super) fn references(text: &str) -> Vec<Reference> {
    // Most texts name no other: they are not parsed a second time.
    if !["include", "import", "extends"].iter().any(|word| text.contains(word)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let Ok(template) = parse(text, "text", syntax()) {
        collect(&template, &mut found);
    }
    found
}

fn collect(statement: &ast::Stmt<'_>, found: &mut Vec<Reference>) {
    let (tag, expression, ignore_missing) = match statement {
        ast::Stmt::Include(include) => ("include", &include.name, include.ignore_missing),
        ast::Stmt::Import(import) => ("import", &import.expr, false),
        ast::Stmt::FromImport(import) => ("from", &import.expr, false),
        ast::Stmt::Extends(extends) => ("extends", &extends.name, false),
        other => {
            bodies(other).into_iter().flatten().for_each(|statement| collect(statement, found));
            return;
        }
    };
    let span = expression.span();
    let byte = |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX);
    let names = expression.as_const().and_then(|value| literals(&value));
    // Only one template can be extended.
    let names = names.filter(|names| tag != "extends" || names.len() == 1);
    found.push(Reference { tag, names, ignore_missing, range: byte(span.start_offset)..byte(span.end_offset) });
}

fn literals(value: &Value) -> Option<Vec<String>> {
    if let Some(name) = value.as_str() {
        return Some(vec![name.to_owned()]);
    }
    let names: Option<Vec<String>> = value.try_iter().ok()?.map(|name| name.as_str().map(str::to_owned)).collect();
    names.filter(|names| !names.is_empty())
}

/// The statements inside of one.
fn bodies<'n, 's>(statement: &'n ast::Stmt<'s>) -> Vec<&'n [ast::Stmt<'s>]> {
    match statement {
        ast::Stmt::Template(it) => vec![&it.children],
        ast::Stmt::ForLoop(it) => vec![&it.body, &it.else_body],
        ast::Stmt::IfCond(it) => vec![&it.true_body, &it.false_body],
        ast::Stmt::WithBlock(it) => vec![&it.body],
        ast::Stmt::SetBlock(it) => vec![&it.body],
        ast::Stmt::AutoEscape(it) => vec![&it.body],
        ast::Stmt::FilterBlock(it) => vec![&it.body],
        ast::Stmt::Block(it) => vec![&it.body],
        ast::Stmt::Macro(it) => vec![&it.body],
        ast::Stmt::CallBlock(it) => vec![&it.macro_decl.body],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secrecy;
    use crate::template::{Scope, Text};

    fn folder(files: &[(&str, &str)]) -> Folder {
        files.iter().map(|(name, text)| ((*name).to_owned(), Source::new(format!("t/{name}"), *text))).collect()
    }

    /// What `a.j2` comes to beside these files, or what is wrong with them.
    fn render(files: &[(&str, &str)]) -> Result<String, String> {
        let folder = folder(files);
        let text = Text::load("a.j2", &Library::new([&folder])).map_err(|problems| problems.to_string())?;
        text.render(&scope()).map(|(text, _)| text).map_err(|problem| problem.to_string())
    }

    fn scope() -> Scope {
        let mut scope = Scope::default();
        scope.set("port", Value::from(2181));
        scope.set_as("token", Value::from("hunter2"), Secrecy::Secret);
        scope
    }

    #[test]
    fn files_are_included_imported_and_extended() {
        let parts = [
            ("sub/b.j2", "b {{ port }} {{ x }}\n"),
            ("m.j2", "{% macro line(name) %}{{ name }}={{ port }}{% endmacro %}{% set most = 7 %}"),
            ("base.j2", "<{% block body %}base{% endblock %}>"),
        ];
        for (text, rendered) in [
            ("{% set x = 1 %}\n{% include 'sub/b.j2' %}\nend\n", "b 2181 1\nend\n"),
            ("{% include ['none.j2', 'm.j2'] %}ok", "ok"),
            ("{% include 'none.j2' ignore missing %}ok", "ok"),
            ("{% import 'm.j2' as m %}{{ m.line('p') }} {{ m.most }}", "p=2181 7"),
            ("{% from 'm.j2' import line as l %}{{ l(name='p') }}", "p=2181"),
            ("{% extends 'base.j2' %}{% block body %}{{ super() }}+{{ port }}{% endblock %}", "<base+2181>"),
            ("{# {% include computed %} #}{% raw %}{% include computed %}{% endraw %}", "{% include computed %}"),
        ] {
            let files: Vec<(&str, &str)> = parts.iter().copied().chain([("a.j2", text)]).collect();
            assert_eq!(render(&files).as_deref(), Ok(rendered), "{text}");
        }
    }

    #[test]
    fn the_first_folder_that_has_a_name_gives_it() {
        let own = folder(&[("a.j2", "{% include 'b.j2' %}{% include 'c.j2' %}"), ("b.j2", "own ")]);
        let project = folder(&[("b.j2", "project "), ("c.j2", "project")]);
        let text = Text::load("a.j2", &Library::new([&own, &project])).expect("it is whole");
        assert_eq!(text.render(&scope()).map(|(text, _)| text).as_deref(), Ok("own project"));
    }

    #[test]
    fn what_an_included_file_reads_counts_as_read() {
        let folder = folder(&[
            ("a.j2", "{% include ['none.j2', 'b.j2'] ignore missing %}{% if 1 %}{% import 'm.j2' as m %}{% endif %}"),
            ("b.j2", "{{ facts.memory }}{% for x in [] %}{% include 'c.j2' %}{% endfor %}"),
            ("c.j2", "{% block one %}{{ facts.os.codename }}{% endblock %}"),
            ("m.j2", "{% macro one(x) %}{% call two() %}{{ facts.cores }}{% endcall %}{% endmacro %}"),
        ]);
        let text = Text::load("a.j2", &Library::new([&folder])).expect("it is whole");
        let reads = text.reads();
        for name in ["facts.memory", "facts.os.codename", "facts.cores"] {
            assert!(reads.contains(name), "{name} in {reads:?}");
        }
    }

    #[test]
    fn a_secret_in_an_included_file_makes_the_whole_secret() {
        for text in ["{% include 'b.j2' %}", "{% import 'm.j2' as m %}{{ m.f() }}", "{% extends 'b.j2' %}"] {
            let folder = folder(&[
                ("a.j2", text),
                ("b.j2", "{{ token }}"),
                ("m.j2", "{% macro f() %}{{ token }}{% endmacro %}"),
            ]);
            let text = Text::load("a.j2", &Library::new([&folder])).expect("it is whole");
            assert_eq!(text.render(&scope()), Ok(("hunter2".to_owned(), Secrecy::Secret)));
        }
    }

    #[test]
    fn an_error_names_the_file_it_is_in_and_those_that_include_it() {
        let inner = ("c.j2", "one\n{{ nope }}\n");
        let problem = render(&[("a.j2", "\n{% include 'b.j2' %}"), ("b.j2", "{% include 'c.j2' %}"), inner]);
        let problem = problem.expect_err("undefined");
        assert!(problem.contains("t/c.j2:2:4"), "{problem}");
        assert!(problem.contains("included by t/b.j2:1:4, which is included by t/a.j2:2:4"), "{problem}");
        let problem = render(&[
            ("a.j2", "{% import 'b.j2' as b %}\n{{ b.f() }}"),
            ("b.j2", "\n{% macro f() %}{{ 1 + [] }}{% endmacro %}"),
        ]);
        assert!(problem.as_ref().is_err_and(|text| text.contains("t/b.j2:2:19")), "{problem:?}");
    }

    #[test]
    fn limits_count_across_files() {
        let work = ("b.j2", "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}");
        let problem = render(&[("a.j2", "{% include 'b.j2' %}"), work]).expect_err("stopped");
        assert!(problem.contains("fuel"), "{problem}");
        let names: Vec<String> = (0..100).map(|n| format!("{n}.j2")).collect();
        let texts: Vec<String> = (1..=100).map(|n| format!("{{% include '{n}.j2' ignore missing %}}")).collect();
        let mut files: Vec<(&str, &str)> =
            names.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
        files.push(("a.j2", "{% include '0.j2' %}"));
        assert!(render(&files).expect_err("stopped").contains("levels deep"));
    }

    #[test]
    fn every_problem_of_every_file_is_reported() {
        let problems = render(&[
            (
                "a.j2",
                "{% include 'b.j2' %}{% include 'none.j2' %}{% include '../x' ignore missing %}{% include name %}",
            ),
            ("b.j2", "{% if %}"),
        ]);
        let problems = problems.expect_err("four problems");
        for what in ["syntax error", "`none.j2` not found", "`../x` is outside", "is not a literal"] {
            assert!(problems.contains(what), "{what} in {problems}");
        }
    }

    #[test]
    fn a_cycle_is_refused_with_all_its_files() {
        let problem = render(&[
            ("a.j2", "{% include 'b.j2' %}"),
            ("b.j2", "{% extends 'c.j2' %}"),
            ("c.j2", "{% import 'b.j2' as b %}"),
        ]);
        assert!(problem.as_ref().is_err_and(|text| text.contains("cycle: b.j2 -> c.j2 -> b.j2")), "{problem:?}");
    }
}
