//! `armilla fmt [PATH…]`: the files of a project with one look.
//!
//! In: files, folders, or the project. Out: the same files, replaced where they looked otherwise. Never: a file replaced
//! while another one is refused, one of Ansible, or one that is encrypted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Exit, Failure, Global, load, ui};
use crate::diag::{Diagnostic, Diagnostics, Source, shown};
use crate::format::{self, Sort};
use crate::{inventory, store, vault};

/// Gives files their look.
#[derive(Debug, clap::Args)]
pub(super) struct Fmt {
    /// Files and folders [default: site.yml, armilla.yml, roles and inventories of the project, without variables]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Write nothing; exit with 1 if a file would change
    #[arg(long)]
    check: bool,
    /// Show every difference
    #[arg(long)]
    diff: bool,
}

/// A file that looks otherwise than it should.
struct Change {
    path: PathBuf,
    name: String,
    before: Arc<Source>,
    after: String,
}

/// Runs the command.
pub(super) fn run(global: &Global, command: &Fmt) -> Result<Exit, Failure> {
    let changes = changes(global, command)?;
    Ok(deliver(command, &changes)?)
}

/// Every file that should be replaced, or everything that is wrong with some: then none is.
fn changes(global: &Global, command: &Fmt) -> Result<Vec<Change>, Diagnostics> {
    let mut problems = Diagnostics::new();
    let files = if command.paths.is_empty() {
        of_project(load::workspace(global)?.root())
    } else {
        command.paths.iter().filter_map(|path| problems.keep(named(path))).flatten().collect()
    };
    let changes = files.into_iter().filter_map(|(path, sort)| problems.keep(change(path, sort)).flatten()).collect();
    problems.result(changes)
}

fn change(path: PathBuf, sort: Sort) -> Result<Option<Change>, Diagnostics> {
    let before = read(&path)?;
    if vault::is_encrypted(before.text.as_bytes()) || !sort.is_ours(&before) {
        return Ok(None);
    }
    let after = format::format(&before, sort)?;
    let name = before.name.clone();
    Ok((after != before.text).then_some(Change { path, name, before, after }))
}

fn read(path: &Path) -> Result<Arc<Source>, Diagnostic> {
    let text = fs::read_to_string(path);
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
    let name = path.strip_prefix(&here).unwrap_or(path).display().to_string();
    match text {
        Ok(text) => Ok(Source::new(name, text)),
        Err(error) => Err(Diagnostic::error(format!("{name} cannot be read: {error}"))),
    }
}

fn deliver(command: &Fmt, changes: &[Change]) -> Result<Exit, Diagnostics> {
    let mut problems = Diagnostics::new();
    for change in changes {
        if !command.check {
            let failed =
                |error| Diagnostic::error(format!("{} cannot be replaced and is unchanged: {error}", change.name));
            problems.keep(store::replace(&change.path, change.after.as_bytes()).map_err(|error| failed(error).into()));
        }
        ui::result(&if command.diff { change.diff() } else { shown(&change.name) });
    }
    let exit = if command.check && !changes.is_empty() { Exit::Error } else { Exit::Success };
    problems.result(exit)
}

impl Change {
    fn diff(&self) -> String {
        let diff = similar::TextDiff::from_lines(self.before.text.as_str(), self.after.as_str());
        shown(&diff.unified_diff().header(&self.name, &self.name).to_string())
    }
}

// Which files.

/// The files of a project; variables may be somebody else's matter, so they are only formatted when named.
fn of_project(root: &Path) -> Vec<(PathBuf, Sort)> {
    let places = ["armilla.yml", "site.yml", "inventories", "roles"].map(|name| root.join(name));
    places.iter().flat_map(|place| below(place)).filter(|(_, sort)| *sort != Sort::Variables).collect()
}

/// A file, or those in a folder that are ours.
fn named(path: &Path) -> Result<Vec<(PathBuf, Sort)>, Diagnostics> {
    let refuse = |why: &str| Diagnostic::error(format!("{} {why}", path.display()));
    let there = path.canonicalize().map_err(|error| refuse(&format!("cannot be opened: {error}")))?;
    if there.is_dir() {
        let of_variables = |path: &Path| Sort::of(&path.join("all.yml")) == Some(Sort::Variables);
        let wanted = |(path, sort): &(PathBuf, Sort)| {
            *sort != Sort::Variables || of_variables(&there) && is_of_native_environment(path)
        };
        return Ok(below(&there).into_iter().filter(wanted).collect());
    }
    let unknown = || {
        refuse("is not formatted: it is not a file of armilla").hint(
            "armilla formats site.yml, armilla.yml, role.yml, and in inventories/ENV environment.yml, hosts.yml, group_vars and host_vars",
        )
    };
    let sort = Sort::of(&there).ok_or_else(unknown)?;
    let source = read(&there)?;
    if vault::is_encrypted(source.text.as_bytes()) {
        let problem = refuse("is not formatted: it is encrypted");
        return Err(problem.hint(format!("to change its content: armilla vault edit {}", path.display())).into());
    }
    if !sort.is_ours(&source) || sort == Sort::Variables && !is_of_native_environment(&there) {
        return Err(refuse("is not formatted: it is an Ansible file").into());
    }
    Ok(vec![(there, sort)])
}

/// Whether the environment of a file of variables has hosts in our own form: otherwise Ansible may read them, too.
fn is_of_native_environment(path: &Path) -> bool {
    let folder = path.ancestors().find(|folder| folder.ends_with("group_vars") || folder.ends_with("host_vars"));
    let environment = folder.and_then(Path::parent);
    let hosts = ["hosts.yml", "hosts.yaml"].iter().filter_map(|name| environment.map(|folder| folder.join(name)));
    let sources: Vec<Arc<Source>> = hosts.filter_map(|path| read(&path).ok()).collect();
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
