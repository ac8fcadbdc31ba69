//! The files of a project that are formatted, and what formatting changes in them.
//!
//! Never: a file of Ansible's, or one that is encrypted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diag::{Diagnostic, Diagnostics, Source, shown};
use crate::format::{self, Sort};
use crate::{inventory, vault};

/// A file that is not formatted.
pub struct Change {
    /// Where it is.
    pub path: PathBuf,
    /// Its name, as messages show it.
    pub name: String,
    /// As it is.
    pub before: Arc<Source>,
    /// As it should be.
    pub after: String,
}

impl Change {
    /// The difference, as `diff -u` shows it.
    pub fn diff(&self) -> String {
        let diff = similar::TextDiff::from_lines(self.before.text.as_str(), self.after.as_str());
        shown(&diff.unified_diff().header(&self.name, &self.name).to_string())
    }
}

/// What formatting changes in a project. Messages name files as seen from `here`.
///
/// # Errors
/// Every file that cannot be formatted.
pub fn of_project(root: &Path, here: &Path) -> Result<Vec<Change>, Diagnostics> {
    changes(project_files(root), here, Diagnostics::new())
}

/// What formatting changes in these files and folders.
///
/// # Errors
/// Every file that cannot be formatted.
pub fn of_paths(paths: &[PathBuf], here: &Path) -> Result<Vec<Change>, Diagnostics> {
    let mut problems = Diagnostics::new();
    let files = paths.iter().filter_map(|path| problems.keep(named(path, here))).flatten().collect();
    changes(files, here, problems)
}

fn changes(files: Vec<(PathBuf, Sort)>, here: &Path, mut problems: Diagnostics) -> Result<Vec<Change>, Diagnostics> {
    let changes =
        files.into_iter().filter_map(|(path, sort)| problems.keep(change(path, sort, here)).flatten()).collect();
    problems.result(changes)
}

fn change(path: PathBuf, sort: Sort, here: &Path) -> Result<Option<Change>, Diagnostics> {
    let before = read(&path, here)?;
    if vault::is_encrypted(before.text.as_bytes()) || !sort.is_ours(&before) {
        return Ok(None);
    }
    let after = format::format(&before, sort)?;
    let name = before.name.clone();
    Ok((after != before.text).then_some(Change { path, name, before, after }))
}

fn read(path: &Path, here: &Path) -> Result<Arc<Source>, Diagnostic> {
    let text = fs::read_to_string(path);
    let name = path.strip_prefix(here).unwrap_or(path).display().to_string();
    match text {
        Ok(text) => Ok(Source::new(name, text)),
        Err(error) => Err(Diagnostic::error(format!("{name} cannot be read: {error}"))),
    }
}

/// The files of a project; variables may be somebody else's matter, so they are only formatted when named.
fn project_files(root: &Path) -> Vec<(PathBuf, Sort)> {
    let places = ["armilla.yml", "site.yml", "inventories", "roles"].map(|name| root.join(name));
    places.iter().flat_map(|place| below(place)).filter(|(_, sort)| *sort != Sort::Variables).collect()
}

/// A file, or those in a folder that are ours.
fn named(path: &Path, here: &Path) -> Result<Vec<(PathBuf, Sort)>, Diagnostics> {
    let refuse = |why: &str| Diagnostic::error(format!("{} {why}", path.display()));
    let there = path.canonicalize().map_err(|error| refuse(&format!("cannot be opened: {error}")))?;
    if there.is_dir() {
        let of_variables = |path: &Path| Sort::of(&path.join("all.yml")) == Some(Sort::Variables);
        let wanted = |(path, sort): &(PathBuf, Sort)| {
            *sort != Sort::Variables || of_variables(&there) && is_of_native_environment(path, here)
        };
        return Ok(below(&there).into_iter().filter(wanted).collect());
    }
    let unknown = || {
        refuse("is not formatted: it is not a file of armilla").hint(
            "armilla formats site.yml, armilla.yml, role.yml, and in inventories/ENV environment.yml, hosts.yml, group_vars and host_vars",
        )
    };
    let sort = Sort::of(&there).ok_or_else(unknown)?;
    let source = read(&there, here)?;
    if vault::is_encrypted(source.text.as_bytes()) {
        let problem = refuse("is not formatted: it is encrypted");
        return Err(problem.hint(format!("to change its content: armilla vault edit {}", path.display())).into());
    }
    if !sort.is_ours(&source) || sort == Sort::Variables && !is_of_native_environment(&there, here) {
        return Err(refuse("is not formatted: it is an Ansible file").into());
    }
    Ok(vec![(there, sort)])
}

/// Whether the environment of a file of variables has hosts in our own form: otherwise Ansible may read them, too.
fn is_of_native_environment(path: &Path, here: &Path) -> bool {
    let folder = path.ancestors().find(|folder| folder.ends_with("group_vars") || folder.ends_with("host_vars"));
    let environment = folder.and_then(Path::parent);
    let hosts = ["hosts.yml", "hosts.yaml"].iter().filter_map(|name| environment.map(|folder| folder.join(name)));
    let sources: Vec<Arc<Source>> = hosts.filter_map(|path| read(&path, here).ok()).collect();
    !sources.is_empty() && sources.iter().all(inventory::is_native)
}

/// The files that are ours at or below a place, in order. Links are not followed, hidden files not looked at.
fn below(place: &Path) -> Vec<(PathBuf, Sort)> {
    let Ok(entries) = fs::read_dir(place) else {
        let is_file = place.is_file();
        return Sort::of(place).filter(|_| is_file).map(|sort| (place.to_owned(), sort)).into_iter().collect();
    };
    let hidden = |path: &PathBuf| path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let real = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|found| !found.is_symlink()));
    let mut paths: Vec<PathBuf> = real.map(|entry| entry.path()).filter(|path| !hidden(path)).collect();
    paths.sort();
    paths.iter().flat_map(|path| below(path)).collect()
}
