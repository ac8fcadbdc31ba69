//! Files on this machine: reading a project, replacing a file.
//!
//! In: a folder. Out: its texts as a [`Project`], or what cannot be read; a file replaced. Never: the meaning of a text.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::{Dir, include_dir};

use crate::diag::{Diagnostic, Diagnostics, Source};
use crate::name::{EnvName, RoleName, did_you_mean};
use crate::project::{File, From, Large, Project, RoleTexts};
use crate::secret::LargeFile;
use crate::step::Digest;
use crate::template::Folder;

/// The roles that travel in the binary.
static BUILT_IN: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/roles");

/// The templates that travel in the binary, for all roles.
static SHARED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates");

/// A larger text is no configuration.
const LARGEST: u64 = 64 * 1024 * 1024;

/// A larger file of `files/` is not kept in memory: no plan shows what changes in it.
const HELD: u64 = 1024 * 1024;

/// The folder of the project: the nearest at or above `start` that has a `site.yml`.
///
/// # Errors
/// When there is none up to the root.
pub fn find_project(start: &Path) -> Result<PathBuf, Diagnostic> {
    start.ancestors().find(|folder| folder.join("site.yml").is_file()).map(Path::to_owned).ok_or_else(|| {
        Diagnostic::error(format!("no project found: no `site.yml` in {} or above it", start.display()))
            .hint("change to the folder of a project, give it with --project DIR, or create one with `armilla init`")
    })
}

/// The project and the environment that a file is in, if it is below a folder of `inventories/`. The file need not exist.
pub fn environment_of(file: &Path) -> Option<(PathBuf, String)> {
    let folder = std::path::absolute(file).ok()?.parent()?.canonicalize().ok()?;
    let root = find_project(&folder).ok()?;
    let environment = folder.strip_prefix(root.join("inventories")).ok()?.iter().next()?.to_string_lossy().into_owned();
    Some((root, environment))
}

/// The names of the environments: the folders of `inventories/`.
pub fn environments(root: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root.join("inventories")) else { return Vec::new() };
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Reads a project and, if named, one of its environments.
///
/// # Errors
/// What cannot be read, and an environment that does not exist.
pub fn read_project(root: &Path, environment: Option<&EnvName>) -> Result<Project, Diagnostics> {
    let mut problems = Diagnostics::new();
    let mut project = Project { roles: built_in(&mut problems), shared: shared_templates(), ..Project::default() };
    project.site = text(root, &root.join("site.yml"), &mut problems);
    let mut optional =
        |name| Some(root.join(name)).filter(|path| path.exists()).and_then(|path| text(root, &path, &mut problems));
    project.settings = optional("armilla.yml");
    project.ansible = optional("ansible.cfg");
    project.roles.extend(own_roles(root, &mut problems));
    project.templates = templates(root, root, &mut problems);
    project.files = host_files(root, &root.join("files"), &mut problems);
    if let Some(environment) = environment {
        project.environment = environment_texts(root, environment, &mut problems);
    }
    problems.result(project)
}

/// The settings of a project and, if named, of an environment: `armilla.yml` and `environment.yml`, those that are there.
///
/// # Errors
/// What cannot be read.
pub fn read_settings(root: &Path, environment: Option<&EnvName>) -> Result<[Option<Arc<Source>>; 2], Diagnostics> {
    let mut problems = Diagnostics::new();
    let mut read = |path: PathBuf| path.exists().then(|| text(root, &path, &mut problems)).flatten();
    let project = read(root.join("armilla.yml"));
    let folder = environment.map(|name| root.join("inventories").join(name.as_str()));
    let environment = folder.and_then(|folder| read(folder.join("environment.yml")));
    problems.result([project, environment])
}

/// Replaces a file as a whole: whoever reads it meanwhile, and whatever happens, it is the old one or the new one. It keeps
/// its permissions and owner; a new file is for its owner alone.
///
/// # Errors
/// When it cannot be written; the old file is as it was.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::MetadataExt as _;
    // A link stays one: what it leads to is replaced.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(content)?;
    if let Ok(old) = fs::metadata(&path) {
        let now = new.as_file().metadata()?;
        if (old.uid(), old.gid()) != (now.uid(), now.gid()) {
            std::os::unix::fs::fchown(new.as_file(), Some(old.uid()), Some(old.gid()))?;
        }
        new.as_file().set_permissions(old.permissions())?;
    }
    new.as_file().sync_all()?;
    new.persist(&path).map_err(|error| error.error)?;
    fs::File::open(folder)?.sync_all()
}

/// The files of one environment, by path below its folder.
///
/// # Errors
/// What cannot be read, and an environment that does not exist.
pub fn read_environment(root: &Path, name: &EnvName) -> Result<Vec<(String, Arc<Source>)>, Diagnostics> {
    let mut problems = Diagnostics::new();
    let texts = environment_texts(root, name, &mut problems);
    problems.result(texts)
}

fn environment_texts(root: &Path, name: &EnvName, problems: &mut Diagnostics) -> Vec<(String, Arc<Source>)> {
    let folder = root.join("inventories").join(name.as_str());
    if folder.is_dir() {
        return texts(root, &folder, problems).into_iter().collect();
    }
    let known = environments(root);
    let hint = did_you_mean(name.as_str(), known.iter().map(String::as_str));
    problems.push(
        Diagnostic::error(format!("unknown environment `{name}`: no folder inventories/{name}")).maybe_hint(hint),
    );
    Vec::new()
}

fn own_roles(root: &Path, problems: &mut Diagnostics) -> BTreeMap<RoleName, RoleTexts> {
    let folder = root.join("roles");
    let mut roles = BTreeMap::new();
    for name in children(&folder, problems) {
        let path = folder.join(&name);
        if !path.is_dir() {
            continue;
        }
        let Ok(role_name) = RoleName::new(&name) else {
            problems.push(Diagnostic::error(format!("roles/{name} is not a valid role name")));
            continue;
        };
        if !path.join("role.yml").exists() {
            let problem = Diagnostic::error(format!("the folder roles/{name} has no role.yml"));
            problems.push(
                problem.hint("add roles/NAME/role.yml with at least `summary: What it is for.`, or move the folder"),
            );
            continue;
        }
        let Some(role) = text(root, &path.join("role.yml"), problems) else { continue };
        let templates = templates(root, &path, problems);
        let files = host_files(root, &path.join("files"), problems);
        roles.insert(role_name, RoleTexts { role, templates, files, from: From::Project });
    }
    roles
}

fn built_in(problems: &mut Diagnostics) -> BTreeMap<RoleName, RoleTexts> {
    let mut roles = BTreeMap::new();
    for folder in BUILT_IN.dirs() {
        let name = folder.path().to_string_lossy().into_owned();
        let Ok(role_name) = RoleName::new(&name) else { continue };
        let file = |path: String| BUILT_IN.get_file(&path).and_then(|file| file.contents_utf8());
        let Some(role) = file(format!("{name}/role.yml")) else {
            problems.push(Diagnostic::error(format!("the built-in role {name} has no role.yml")));
            continue;
        };
        let (templates, files) = (carried(&BUILT_IN, &format!("{name}/templates")), format!("{name}/files"));
        let named = |part: &str| format!("(built in) roles/{name}/{part}");
        let texts = RoleTexts {
            role: Source::new(named("role.yml"), role),
            templates: sources(templates, &named("templates")),
            files: carried(&BUILT_IN, &files).into_iter().map(|(key, bytes)| (key, bytes.into())).collect(),
            from: From::BuiltIn,
        };
        roles.insert(role_name, texts);
    }
    roles
}

/// The templates that the binary carries for all roles.
pub fn shared_templates() -> Folder {
    sources(carried(&SHARED, ""), "(built in) templates")
}

fn sources(files: Vec<(String, &'static [u8])>, folder: &str) -> Folder {
    let source = |key: &str, bytes: &[u8]| Source::new(format!("{folder}/{key}"), String::from_utf8_lossy(bytes));
    files.into_iter().map(|(key, bytes)| (key.clone(), source(&key, bytes))).collect()
}

/// The files that the binary carries below a folder, by path below it.
fn carried(all: &'static Dir<'static>, folder: &str) -> Vec<(String, &'static [u8])> {
    let start = if folder.is_empty() { Some(all) } else { all.get_dir(folder) };
    let mut open: Vec<&Dir<'static>> = start.into_iter().collect();
    let mut found = Vec::new();
    while let Some(dir) = open.pop() {
        open.extend(dir.dirs());
        for file in dir.files() {
            let below = file.path().strip_prefix(folder).unwrap_or(file.path());
            found.push((below.to_string_lossy().into_owned(), file.contents()));
        }
    }
    found
}

fn children(folder: &Path, problems: &mut Diagnostics) -> Vec<String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.push(unreadable(folder, &error));
            return Vec::new();
        }
    };
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    // What an editor or a version control system leaves is none of ours.
    names.retain(|name| !name.starts_with('.') && !name.ends_with('~'));
    names.sort();
    names
}

/// All files below a folder, by path below it.
fn files(folder: &Path, problems: &mut Diagnostics) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(current) = open.pop() {
        for name in children(&current, problems) {
            let path = current.join(&name);
            let link = path.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
            match path.is_dir() {
                // A link to a folder could lead round in a circle or out of the project.
                true if link => problems.push(Diagnostic::error(format!("{} is a link to a folder", path.display()))),
                true => open.push(path),
                false => {
                    let below = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
                    found.push((below, path));
                }
            }
        }
    }
    found.sort();
    found
}

/// The templates below `templates/` of a role or of the project.
fn templates(root: &Path, owner: &Path, problems: &mut Diagnostics) -> Folder {
    let mut found = files(&owner.join("templates"), problems);
    found.retain(|(_, path)| {
        let outside = leads_outside(path, &[root, owner]);
        if outside {
            let name = path.strip_prefix(root).unwrap_or(path).display();
            let problem = Diagnostic::error(format!("the template {name} is a link to a file outside the project"));
            problems.push(problem.hint("copy that file into templates/"));
        }
        !outside
    });
    found.into_iter().filter_map(|(below, path)| Some((below, text(root, &path, problems)?))).collect()
}

/// Whether a file is a link that leads out of all of these folders.
fn leads_outside(path: &Path, folders: &[&Path]) -> bool {
    let link = path.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
    // A link that leads nowhere is reported where it is read.
    let Some(end) = path.canonicalize().ok().filter(|_| link) else { return false };
    !folders.iter().any(|folder| folder.canonicalize().is_ok_and(|folder| end.starts_with(folder)))
}

fn texts(root: &Path, folder: &Path, problems: &mut Diagnostics) -> BTreeMap<String, Arc<Source>> {
    let files = files(folder, problems);
    files.into_iter().filter_map(|(below, path)| Some((below, text(root, &path, problems)?))).collect()
}

/// The files for hosts below a folder, by path below it.
fn host_files(root: &Path, folder: &Path, problems: &mut Diagnostics) -> BTreeMap<String, File> {
    let mut found = BTreeMap::new();
    for (below, path) in files(folder, problems) {
        let is_large = fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() > HELD);
        let name = path.strip_prefix(root).unwrap_or(&path).to_str();
        let file = match name.filter(|_| is_large) {
            Some(name) => {
                let (path, name) = (path.clone(), name.to_owned());
                Some(File::Large(Large::new(move || described(&path, name))))
            }
            None => content(&path, problems).map(File::Held),
        };
        found.extend(file.map(|file| (below, file)));
    }
    found
}

fn described(path: &Path, name: String) -> Result<LargeFile, String> {
    let unreadable = |error: io::Error| format!("{name} cannot be read: {error}");
    let mut file = fs::File::open(path).map_err(unreadable)?;
    let (size, digest) = Digest::of_reader(&mut file).map_err(unreadable)?;
    Ok(LargeFile { path: name, size, sha256: digest.0 })
}

/// Whether a large file is still what a plan was made with.
///
/// # Errors
/// Why it is not.
pub fn check_large(root: &Path, file: &LargeFile) -> Result<(), String> {
    let found = described(&root.join(&file.path), file.path.clone())?;
    if found == *file { Ok(()) } else { Err(format!("{} was changed since the plan was made", file.path)) }
}

fn text(root: &Path, path: &Path, problems: &mut Diagnostics) -> Option<Arc<Source>> {
    let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
    match String::from_utf8(content(path, problems)?) {
        Ok(text) => Some(Source::new(name, text)),
        Err(error) => {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = String::from_utf8_lossy(before).matches('\n').count() + 1;
            problems.push(Diagnostic::error(format!("{name}:{line} is not UTF-8")).hint("save the file as UTF-8"));
            None
        }
    }
}

fn content(path: &Path, problems: &mut Diagnostics) -> Option<Vec<u8>> {
    if fs::metadata(path).is_ok_and(|meta| meta.len() > LARGEST) {
        problems.push(Diagnostic::error(format!("{} is larger than 64 MiB", path.display())));
        return None;
    }
    fs::read(path).map_err(|error| problems.push(unreadable(path, &error))).ok()
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::error(format!("{} cannot be read: {error}", path.display()))
}
