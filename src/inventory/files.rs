//! The files of `group_vars/` and `host_vars/`.
//!
//! In: the texts of an environment and a draft of its hosts. Out: the draft, with the variables of every file added
//! to the group or host its name says. Never: a file that is silently not read, but for hidden ones and `name~`.
//!
//! `group_vars/web.yml` and every file below `group_vars/web/` belong to the group `web`; the file comes before those
//! of the folder, which are in the order of their paths, and the later is the stronger. The endings are `.yml`,
//! `.yaml`, `.json` (which is YAML) and, as in Ansible, none; a file with another ending gets a warning.
//!
//! By Ansible's rules only the first of `web` (a file or folder), `web.yml`, `web.yaml` and `web.json` is read, files for
//! nobody are no mistake, and files are YAML 1.1.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Component, Utf8Path};

use super::form::{Declared, Draft};
use super::hint::Hints;
use super::settings::Settings;
use super::{Rules, Texts};
use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::yaml::{self, Dialect};

const ENDINGS: [&str; 3] = [".yml", ".yaml", ".json"];
/// How a file begins that `ansible-vault` encrypted.
const ENCRYPTED: &str = "$ANSIBLE_VAULT;";

/// Whose variables are in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Group,
    Host,
}

/// A file's place, in the order in which they are read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct VariableFile<'a> {
    owner: Owner,
    name: &'a str,
    depth: Depth,
    path: &'a Utf8Path,
}

/// `group_vars/web.yml` or below `group_vars/web/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    File,
    Folder,
}

/// Adds the variables of all files to the draft.
pub(super) fn read(texts: &Texts, draft: &mut Draft, problems: &mut Diagnostics) {
    let places: BTreeMap<VariableFile<'_>, &Arc<Source>> =
        texts.iter().filter_map(|(path, source)| Some((place(path)?, source))).collect();
    let mut files = Files { draft, problems, hints: Hints::default() };
    if files.draft.rules == Rules::Ansible {
        return files.as_ansible(&places);
    }
    let mut before: Option<&VariableFile<'_>> = None;
    for (place, source) in &places {
        let twin = before.filter(|b| (b.owner, b.name, b.depth) == (place.owner, place.name, Depth::File));
        if let Some(twin) = twin.filter(|_| place.depth == Depth::File) {
            let what = format!("a second file for `{}`, beside `{}`", place.name, twin.path);
            files.problems.push(Diagnostic::error(what).at(&Origin::start(source)).hint("keep one of them"));
        }
        files.add(place, source);
        before = Some(place);
    }
}

/// Where a path belongs, or nothing if no variables are there.
fn place(path: &Utf8Path) -> Option<VariableFile<'_>> {
    let parts: Vec<&str> = path
        .components()
        .filter_map(|part| if let Utf8Component::Normal(part) = part { Some(part) } else { None })
        .collect();
    let (folder, rest) = parts.split_first()?;
    let owner = match *folder {
        "group_vars" => Owner::Group,
        "host_vars" => Owner::Host,
        _ => return None,
    };
    let file = rest.last().filter(|file| !file.starts_with('.') && !file.ends_with('~'))?;
    let (name, depth) = if rest.len() == 1 { (stem(file), Depth::File) } else { (rest[0], Depth::Folder) };
    Some(VariableFile { owner, name, depth, path })
}

fn stem(file: &str) -> &str {
    ENDINGS.iter().find_map(|ending| file.strip_suffix(ending)).unwrap_or(file)
}

/// Whether the ending says that it is YAML; a name such as `db-01.example.org` has no ending.
fn is_yaml(path: &Utf8Path) -> bool {
    ENDINGS.iter().any(|ending| path.as_str().ends_with(ending))
}

struct Files<'a> {
    draft: &'a mut Draft,
    problems: &'a mut Diagnostics,
    hints: Hints,
}

impl Files<'_> {
    fn add(&mut self, place: &VariableFile<'_>, source: &Arc<Source>) {
        let known = self.said(place).is_some();
        let plain = is_yaml(place.path) || place.path.file_name().is_some_and(|file| !file.contains('.'));
        let named_so = known && place.depth == Depth::File;
        if !(plain || named_so) {
            self.problems.push(not_read(source));
            return;
        }
        if !known {
            self.unknown(place, source);
        }
        let settings = settings(source, self.draft.rules, self.problems);
        let settings = self.problems.keep(settings);
        if let (Some(said), Some(settings)) = (self.said(place), settings) {
            said.files.push(settings);
        }
    }

    /// Of several files and a folder for the same owner only the first is read.
    fn as_ansible(&mut self, places: &BTreeMap<VariableFile<'_>, &Arc<Source>>) {
        let mut first: BTreeMap<(Owner, &str), (usize, &Utf8Path)> = BTreeMap::new();
        for place in places.keys() {
            let found = (rank(place), place.path);
            let known = first.entry((place.owner, place.name)).or_insert(found);
            *known = (*known).min(found);
        }
        for (place, source) in places {
            let (read, path) = first[&(place.owner, place.name)];
            if rank(place) > read {
                let beside = if read == 0 && place.depth == Depth::File { path.parent().unwrap_or(path) } else { path };
                let problem = Diagnostic::warning(format!("this file is ignored: `{beside}` exists, too"));
                self.problems
                    .push(problem.at(&Origin::start(source)).hint("Ansible reads only one of them: merge them"));
            } else if place.depth == Depth::File || in_plain_folders(place.path) {
                self.add(place, source);
            }
        }
    }

    fn said(&mut self, place: &VariableFile<'_>) -> Option<&mut Declared> {
        match (place.owner, place.name) {
            (Owner::Group, "all") => Some(&mut self.draft.all),
            (Owner::Group, "ungrouped") => Some(&mut self.draft.ungrouped),
            (Owner::Group, name) => {
                let index = self.draft.find_group(name)?;
                Some(&mut self.draft.groups[index].said)
            }
            (Owner::Host, name) => {
                let index = self.draft.find_host(name)?;
                Some(&mut self.draft.hosts[index].said)
            }
        }
    }

    fn unknown(&mut self, place: &VariableFile<'_>, source: &Arc<Source>) {
        let (draft, name) = (&*self.draft, place.name);
        let (what, unsure, elsewhere) = match place.owner {
            Owner::Group => ("group", draft.groups_unsure, draft.find_host(name).map(|_| ("host", "host_vars"))),
            Owner::Host => ("host", draft.hosts_unsure, draft.find_group(name).map(|_| ("group", "group_vars"))),
        };
        if unsure {
            return;
        }
        let text = format!("unknown {what} `{}` for this file", name.escape_debug());
        let problem = match draft.rules {
            Rules::Own => Diagnostic::error(text),
            Rules::Ansible => Diagnostic::warning(text),
        };
        let problem = problem.at(&Origin::start(source));
        self.problems.push(match (elsewhere, place.owner) {
            (Some((what, folder)), _) => problem.hint(format!("`{name}` is a {what}: its file goes into `{folder}/`")),
            (None, Owner::Group) => problem.maybe_hint(self.hints.near(name, draft.group_names())),
            (None, Owner::Host) => problem.maybe_hint(self.hints.near(name, draft.host_names())),
        });
    }
}

fn not_read(source: &Arc<Source>) -> Diagnostic {
    Diagnostic::warning("this file is ignored: its name does not end in `.yml`")
        .at(&Origin::start(source))
        .hint("rename it to end in `.yml`, or move it out of the folder")
}

/// What Ansible looks for first.
fn rank(place: &VariableFile<'_>) -> usize {
    let ending = ENDINGS.iter().position(|ending| place.path.as_str().ends_with(ending));
    match place.depth {
        Depth::Folder => 0,
        Depth::File => ending.map_or(0, |index| index + 1),
    }
}

/// Whether no folder below that of the owner has an ending: Ansible passes those over.
fn in_plain_folders(path: &Utf8Path) -> bool {
    let folders: Vec<&str> = path.iter().filter(|part| *part != ".").skip(2).collect();
    folders
        .split_last()
        .is_none_or(|(_, folders)| folders.iter().all(|folder| !folder.contains('.') && !folder.ends_with('~')))
}

fn settings(source: &Arc<Source>, rules: Rules, problems: &mut Diagnostics) -> Result<Settings, Diagnostics> {
    if source.text.starts_with(ENCRYPTED) {
        let problem = Diagnostic::error("this file is encrypted and was not decrypted");
        return Err(problem.at(&Origin::start(source)).wide(ENCRYPTED.len()).into());
    }
    match rules {
        Rules::Own => Settings::read(yaml::parse(source)?),
        Rules::Ansible => Settings::read_loosely(yaml::parse_as(source, Dialect::Ansible)?, problems),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_file_says_whose_it_is() {
        for (path, expected) in [
            ("group_vars/web.yml", Some((Owner::Group, "web", Depth::File))),
            ("group_vars/all", Some((Owner::Group, "all", Depth::File))),
            ("./host_vars/db-01.lan.yml", Some((Owner::Host, "db-01.lan", Depth::File))),
            ("host_vars/db-01.lan/a/b.yml", Some((Owner::Host, "db-01.lan", Depth::Folder))),
            ("host_vars/.zk1.yml.swp", None),
            ("host_vars/zk1.yml~", None),
            ("group_vars", None),
            ("hosts.yml", None),
            ("", None),
        ] {
            let found = place(Utf8Path::new(path)).map(|p| (p.owner, p.name, p.depth));
            assert_eq!(found, expected, "{path}");
        }
    }
}
