//! Which file of `src/` names which: paths that begin with `crate`, `super` or `self`, in imports, groups and expressions.
//!
//! In: the source files. Out: modules, and the names that each file takes from others. Never: what macros make, or names that a
//! file takes by a glob.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module path below the crate: `["plan", "decide"]`.
pub(crate) type Module = Vec<String>;

/// A source file.
pub(crate) struct File {
    /// Below `src/`.
    pub(crate) path: PathBuf,
    /// Its code, without comments and without its unit tests.
    pub(crate) code: String,
    /// The absolute paths that it names.
    pub(crate) names: BTreeSet<Vec<String>>,
}

/// All source files but those of the programs and of tests, by module.
pub(crate) fn files() -> BTreeMap<Module, File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut open, mut found) = (vec![root.clone()], BTreeMap::new());
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(&folder).expect("src can be read").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") && !is_program(&path) && !is_test(&path) {
                let text = fs::read_to_string(&path).expect("a source file can be read");
                let path = path.strip_prefix(&root).expect("below src").to_owned();
                let (module, code) = (module(&path), code(&text));
                let names = named(&code, &module);
                found.insert(module, File { path, code, names });
            }
        }
    }
    found
}

fn is_program(path: &Path) -> bool {
    path.ends_with("src/main.rs") || path.parent().is_some_and(|folder| folder.ends_with("src/bin"))
}

/// Whether the module above has it for tests only.
pub(crate) fn is_test(path: &Path) -> bool {
    let above = path.with_file_name("mod.rs");
    let (Some(name), Ok(above)) = (path.file_stem(), fs::read_to_string(above)) else { return false };
    let declared = format!("mod {};", name.display());
    above.lines().zip(above.lines().skip(1)).any(|(one, next)| one == "#[cfg(test)]" && next.ends_with(&declared))
}

fn module(path: &Path) -> Module {
    let mut module: Module =
        path.iter().map(|part| part.to_string_lossy().trim_end_matches(".rs").to_owned()).collect();
    module.pop_if(|last| last == "mod" || last == "lib");
    module
}

/// A text without comments and without its unit tests.
pub(crate) fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    body.lines().map(|line| line.split("//").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Every absolute path in a text, groups written out.
pub(crate) fn named(code: &str, module: &[String]) -> BTreeSet<Vec<String>> {
    let mut names = BTreeSet::new();
    let mut before = ' ';
    for (at, c) in code.char_indices() {
        let begins = ["crate::", "super::", "self::"].iter().any(|word| code[at..].starts_with(word));
        if begins && !before.is_alphanumeric() && !matches!(before, '_' | ':' | '$') {
            let mut paths = Vec::new();
            tree(&code[at..], &mut Vec::new(), &mut paths);
            names.extend(paths.into_iter().filter_map(|path| absolute(&path, module)));
        }
        before = c;
    }
    names
}

/// Reads `a::b::{c, d::e}` and gives the rest of the text.
fn tree<'t>(mut text: &'t str, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) -> &'t str {
    let depth = prefix.len();
    loop {
        let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        text = &text[word.len()..];
        if word.is_empty() {
            break;
        }
        prefix.push(word);
        let Some(rest) = text.strip_prefix("::") else { break };
        text = rest;
        if let Some(group) = text.strip_prefix('{') {
            text = members(group, prefix, paths);
            prefix.truncate(depth);
            return text;
        }
    }
    paths.push(prefix.clone());
    prefix.truncate(depth);
    text
}

fn members<'t>(mut text: &'t str, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) -> &'t str {
    loop {
        text = text.trim_start_matches([' ', '\n', ',']);
        if let Some(rest) = text.strip_prefix('}') {
            return rest;
        }
        let rest = tree(text, prefix, paths);
        // `as name`, `*`, and whatever else stands before the next member.
        let end = rest.find([',', '}']).unwrap_or(rest.len());
        text = &rest[end..];
        if text.is_empty() {
            return text;
        }
    }
}

fn absolute(path: &[String], module: &[String]) -> Option<Vec<String>> {
    let mut base: Vec<String> = match path.first()?.as_str() {
        "crate" => Vec::new(),
        _ => module.to_vec(),
    };
    let mut rest = path;
    while let Some((word, more)) = rest.split_first() {
        match word.as_str() {
            "crate" | "self" => {}
            "super" => drop(base.pop()?),
            _ => break,
        }
        rest = more;
    }
    base.extend(rest.iter().filter(|word| *word != "self").cloned());
    Some(base)
}

/// The file that defines what a path names: re-exports are followed.
pub(crate) fn home(files: &BTreeMap<Module, File>, path: &[String]) -> Option<Module> {
    let mut path = path.to_vec();
    for _ in 0..8 {
        let split = (0..=path.len()).rev().find(|end| files.contains_key(&path[..*end]))?;
        let Some(item) = path.get(split) else { return Some(path) };
        let module = path[..split].to_vec();
        match files[&module].reexport(item) {
            Some(next) if next[..] != path[..] => path = next,
            _ => return Some(module),
        }
    }
    None
}

impl File {
    /// Where an item comes from that this file imports, to hand it on or to use it.
    fn reexport(&self, item: &str) -> Option<Vec<String>> {
        let module = module(&self.path);
        let mut uses = self.code.split("use ").skip(1).filter_map(|text| text.split(';').next());
        let children = self.code.lines().filter_map(|line| {
            let line =
                line.trim_start_matches("pub ").trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
            line.strip_prefix("mod ")?.strip_suffix(';')
        });
        let children: BTreeSet<&str> = children.collect();
        uses.find_map(|text| {
            // `pub use child::Item` names a child without `self`.
            let first = text.split("::").next().unwrap_or_default();
            let text = if children.contains(first) { format!("self::{text}") } else { text.to_owned() };
            named(&text, &module).into_iter().find(|path| path.last().is_some_and(|last| last == item))
        })
    }
}

#[test]
fn groups_and_parents_are_read() {
    let module = ["plan".to_owned(), "saved".to_owned()];
    let text = "use super::super::step::{self, Step, span::{a, b}};\nlet x = crate::name::HostName::new();\nuse super::decide;\n";
    let names: Vec<String> = named(text, &module).into_iter().map(|path| path.join("::")).collect();
    assert_eq!(names, ["name::HostName::new", "plan::decide", "step", "step::Step", "step::span::a", "step::span::b"]);
}
