//! The forms in which the hosts of an environment can be written; each becomes a [`Draft`].
//!
//! In: the files with the hosts, or what a program printed. Out: one structure in which every name is checked and every
//! range expanded, in the order written. Never: a look at whether a child exists or a group is in a cycle; that is said
//! once, of drafts, for all forms.
//!
//! | form | where |
//! |---|---|
//! | [`native`] | `hosts.yml` or `hosts.yaml`, alone |
//! | [`ini`] | Ansible's, with any name that says nothing else: `hosts`, `inventory.ini`, `production` |
//! | [`ansible`] | Ansible's YAML: any name that ends in `.yml`, `.yaml` or `.json`, and names without an ending |
//! | [`printed`] | JSON from the program that `environment.yml` names |
//!
//! `hosts.yml` is Ansible's if none of our four keys is at its top and a key there is `all` or `ungrouped`, or holds
//! `hosts`, `children` or `vars`. All of Ansible's files of a folder are one inventory, read in the order of their names, as
//! `ansible-inventory -i FOLDER` does it: what it passes over is passed over here.
//!
//! To add a form: a file here with a function that reads into a [`Draft`], and a line in [`form_of`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use camino::Utf8Path;

use super::connection::Connection;
use super::settings::Settings;
use super::{ALL, Rules, Texts, UNGROUPED, range};
use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::name::{GroupName, HostName};
use crate::yaml::{self, Dialect, Node, Yaml};

mod ansible;
mod ini;
mod literal;
mod native;
mod printed;
pub(super) mod words;

pub(super) use ansible::is_meant as is_ansible;
pub(super) use native::FILE_KEYS as NATIVE_KEYS;

/// The names our own form can have.
const NATIVE: [&str; 2] = ["hosts.yml", "hosts.yaml"];
/// A file of the environment that is ours in any form.
const SETTINGS: &str = "environment.yml";
/// Folders that hold variables or programs of Ansible.
const ELSEWHERE: [&str; 3] = ["group_vars", "host_vars", "vars_plugins"];
/// Endings of files that Ansible passes over in a folder.
const PASSED_OVER: [&str; 12] =
    [".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry"];
/// Hosts named in all groups together. More is a mistake of ranges in many groups.
const MOST_MENTIONS: usize = 1_000_000;

/// What was written, before it is known whether it fits together.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Whose rules hold.
    pub(super) rules: Rules,
    /// What is said of every host.
    pub(super) all: Declared,
    /// What is said of the hosts in no group.
    pub(super) ungrouped: Declared,
    /// The groups, in the order written.
    pub(super) groups: Vec<DraftGroup>,
    /// The hosts, in the order written: those of the groups first.
    pub(super) hosts: Vec<DraftHost>,
    /// Whether a name of a host was not understood, so that not every unknown host is a mistake of its own.
    pub(super) hosts_unsure: bool,
    /// The same of groups.
    pub(super) groups_unsure: bool,
    /// The groups that are named as children of `all`, in the order written.
    pub(super) top: Vec<usize>,
    /// The hosts that are named in `ungrouped`, in the order written.
    pub(super) alone: Vec<usize>,
    group_index: HashMap<GroupName, usize>,
    host_index: HashMap<HostName, usize>,
    /// Which host was added to which group, where forms add one by one.
    joined: HashSet<(usize, usize)>,
    mentions: usize,
}

/// A group, or one that is there without being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    All,
    Ungrouped,
    Group(usize),
}

/// What is said of a group, a host, or all hosts.
#[derive(Debug, Default)]
pub(super) struct Declared {
    /// Variables, place by place, the strongest last.
    pub(super) settings: Vec<Settings>,
    /// Variables of files, the strongest last.
    pub(super) files: Vec<Settings>,
    /// How to reach it, as the form says.
    pub(super) connection: Connection,
    /// How to reach it, as files of variables say.
    pub(super) file_connection: Connection,
    /// Of equally deep groups the one with the higher priority is the stronger; 1 if not given.
    pub(super) priority: Option<i64>,
}

/// A group as written.
#[derive(Debug)]
pub(super) struct DraftGroup {
    pub(super) name: GroupName,
    pub(super) origin: Origin,
    /// Its own hosts, by index, each once.
    pub(super) hosts: Vec<usize>,
    /// Its children by name, which need not exist.
    pub(super) children: Vec<(GroupName, Origin)>,
    pub(super) said: Declared,
}

/// A host as written.
#[derive(Debug)]
pub(super) struct DraftHost {
    pub(super) name: HostName,
    pub(super) said: Declared,
}

impl Draft {
    /// The index of a group, which is there from now on.
    pub(super) fn group(&mut self, name: &GroupName, origin: &Origin) -> usize {
        if let Some(index) = self.group_index.get(name) {
            return *index;
        }
        let (name, origin) = (name.clone(), origin.clone());
        self.group_index.insert(name.clone(), self.groups.len());
        self.groups.push(DraftGroup {
            name,
            origin,
            hosts: Vec::new(),
            children: Vec::new(),
            said: Declared::default(),
        });
        self.groups.len() - 1
    }

    /// The index of a host, which is there from now on.
    pub(super) fn host(&mut self, name: HostName) -> usize {
        if let Some(index) = self.host_index.get(&name) {
            return *index;
        }
        self.host_index.insert(name.clone(), self.hosts.len());
        self.hosts.push(DraftHost { name, said: Declared::default() });
        self.hosts.len() - 1
    }

    /// The index of a group, if it is there.
    pub(super) fn find_group(&self, name: &str) -> Option<usize> {
        self.group_index.get(name).copied()
    }

    /// The index of a host, if it is there.
    pub(super) fn find_host(&self, name: &str) -> Option<usize> {
        self.host_index.get(name).copied()
    }

    /// The names of the groups.
    pub(super) fn group_names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|group| group.name.as_str())
    }

    /// The names of the hosts.
    pub(super) fn host_names(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|host| host.name.as_str())
    }
}

/// What Ansible's forms have in common.
impl Draft {
    /// The hosts a written name stands for, which are there from now on.
    pub(super) fn expand(&mut self, text: &str, origin: &Origin) -> Result<Vec<usize>, Diagnostic> {
        let expanded = range::expand(text).and_then(|names| {
            self.mentions += names.len();
            let new = names.iter().filter(|name| self.find_host(name.as_str()).is_none()).count();
            if self.hosts.len() + new > range::MOST || self.mentions > MOST_MENTIONS {
                return Err(Diagnostic::error(format!("too many hosts with `{text}`"))
                    .hint(format!("an inventory can have at most {} hosts", range::MOST)));
            }
            Ok(names)
        });
        match expanded {
            Ok(names) => Ok(names.into_iter().map(|name| self.host(name)).collect()),
            Err(problem) => {
                self.hosts_unsure = true;
                Err(problem.at(origin).wide(text.chars().count()))
            }
        }
    }

    /// A group by its name, which is there from now on.
    pub(super) fn owner(&mut self, name: &str, origin: &Origin) -> Result<Owner, Diagnostic> {
        match name {
            ALL => Ok(Owner::All),
            UNGROUPED => Ok(Owner::Ungrouped),
            name => match GroupName::new(name) {
                Ok(name) => Ok(Owner::Group(self.group(&name, origin))),
                Err(invalid) => {
                    self.groups_unsure = true;
                    Err(Diagnostic::from(invalid).at(origin).wide(name.chars().count()))
                }
            },
        }
    }

    /// What is said of a group.
    pub(super) fn said(&mut self, owner: Owner) -> &mut Declared {
        match owner {
            Owner::All => &mut self.all,
            Owner::Ungrouped => &mut self.ungrouped,
            Owner::Group(index) => &mut self.groups[index].said,
        }
    }

    /// Adds hosts to a group, each once.
    pub(super) fn join(&mut self, owner: Owner, hosts: &[usize]) {
        let (key, own) = match owner {
            Owner::All => return,
            Owner::Ungrouped => (usize::MAX, &mut self.alone),
            Owner::Group(index) => (index, &mut self.groups[index].hosts),
        };
        own.extend(hosts.iter().filter(|host| self.joined.insert((key, **host))));
    }

    /// Makes a group a child of another.
    pub(super) fn adopt(&mut self, parent: Owner, child: Owner, origin: &Origin) -> Result<(), Diagnostic> {
        match (parent, child) {
            (Owner::All, Owner::Group(child)) if !self.top.contains(&child) => self.top.push(child),
            (Owner::All, Owner::Ungrouped | Owner::Group(_)) => {}
            (Owner::Group(parent), Owner::Group(child)) => {
                let name = self.groups[child].name.clone();
                if !self.groups[parent].children.iter().any(|(known, _)| *known == name) {
                    self.groups[parent].children.push((name, origin.clone()));
                }
            }
            (Owner::Ungrouped, _) => return Err(Diagnostic::error("`ungrouped` has no children").at(origin)),
            (_, Owner::All | Owner::Ungrouped) => {
                return Err(Diagnostic::error("`all` and `ungrouped` cannot be children").at(origin));
            }
        }
        Ok(())
    }

    /// Sets variables of a group. Its priority is none of them, as in Ansible.
    pub(super) fn set(&mut self, owner: Owner, mut settings: Settings) -> Result<(), Diagnostic> {
        if let Some(node) = settings.take("ansible_group_priority") {
            let text = node.text().map(str::trim);
            let number = text.and_then(|text| text.parse().ok());
            let Some(priority) = (if let Yaml::Int(number) = node.value { Some(number) } else { number }) else {
                let problem = Diagnostic::error(format!("a priority must be a whole number, not {}", node.kind()));
                return Err(problem.at(&node.origin));
            };
            self.said(owner).priority = Some(priority);
        }
        if !settings.is_empty() {
            self.said(owner).settings.push(settings);
        }
        Ok(())
    }
}

/// In which form a file is written.
#[derive(Debug)]
enum Form {
    Native,
    Ini,
    /// With all it says, if it was read to know the form.
    Yaml(Option<Node>),
}

/// Finds the files with the hosts and reads them, whichever forms they have.
pub(super) fn read(texts: &Texts, problems: &mut Diagnostics) -> Draft {
    let mut draft = Draft::default();
    let files: BTreeMap<&Utf8Path, &Arc<Source>> = texts.iter().filter(|(path, _)| is_inventory(path)).collect();
    if let Some(output) = &texts.printed {
        draft.rules = Rules::Ansible;
        printed::read(output, &mut draft, problems);
        for source in files.into_values().filter(|source| !source.text.starts_with("#!")) {
            let problem = Diagnostic::error("a file with hosts beside an inventory program");
            problems.push(
                problem
                    .at(&Origin::start(source))
                    .hint("keep one: the file, or `inventory_command` in environment.yml"),
            );
        }
        return draft;
    }
    let forms: Vec<(&Utf8Path, &Arc<Source>, Form)> =
        files.into_iter().map(|(path, source)| (path, source, form_of(path, source))).collect();
    let native: Vec<_> = forms.iter().filter(|(.., form)| matches!(form, Form::Native)).collect();
    match native[..] {
        [] if forms.is_empty() => {
            problems.push(missing());
            (draft.hosts_unsure, draft.groups_unsure) = (true, true);
        }
        [] => {
            draft.rules = Rules::Ansible;
            for (path, source, form) in forms {
                foreign(path, source, form, &mut draft, problems);
            }
        }
        [(_, source, _)] => {
            native::read(source, &mut draft, problems);
            for (_, beside, _) in forms.iter().filter(|(.., form)| matches!(form, Form::Ini)) {
                let what = format!("this file is ignored: `{}` has all hosts", source.name);
                problems.push(Diagnostic::warning(what).at(&Origin::start(beside)));
            }
        }
        [(first, ..), (_, second, _), ..] => {
            problems.push(
                Diagnostic::error(format!("a second file with hosts beside `{first}`"))
                    .at(&Origin::start(second))
                    .hint("an environment has one: keep one of them"),
            );
            (draft.hosts_unsure, draft.groups_unsure) = (true, true);
        }
    }
    draft
}

/// Reads one of Ansible's files.
fn foreign(path: &Utf8Path, source: &Arc<Source>, form: Form, draft: &mut Draft, problems: &mut Diagnostics) {
    let program = source.text.starts_with("#!");
    let toml = path.extension() == Some("toml");
    if program || toml {
        let problem = Diagnostic::error(if program {
            "this file is a program, and inventory files are not executed"
        } else {
            "inventories in TOML are not supported"
        });
        problems.push(problem.at(&Origin::start(source)).hint(if program {
            format!("if it prints hosts, name it in environment.yml: `inventory_command: [./{}, --list]`", source.name)
        } else {
            "convert it to YAML with `ansible-inventory -i FILE --list --yaml --export`".to_owned()
        }));
        (draft.hosts_unsure, draft.groups_unsure) = (true, true);
        return;
    }
    match form {
        Form::Native | Form::Ini => ini::read(source, draft, problems),
        Form::Yaml(Some(root)) => ansible::read(root, draft, problems),
        Form::Yaml(None) => match yaml::parse_as(source, Dialect::Ansible) {
            Ok(root) => ansible::read(root, draft, problems),
            Err(problem) => {
                problems.push(problem);
                (draft.hosts_unsure, draft.groups_unsure) = (true, true);
            }
        },
    }
}

/// Whether `ansible-inventory` would look for hosts in a file of the folder.
fn is_inventory(path: &Utf8Path) -> bool {
    let parts = || path.iter().filter(|part| *part != ".");
    let passed_over = |part: &str| {
        part.starts_with('.') || ELSEWHERE.contains(&part) || PASSED_OVER.iter().any(|end| part.ends_with(end))
    };
    parts().next().is_some() && !parts().any(passed_over) && !parts().eq([SETTINGS])
}

fn form_of(path: &Utf8Path, source: &Arc<Source>) -> Form {
    if NATIVE.contains(&path.as_str()) {
        return if ansible::is_meant(source) { Form::Yaml(None) } else { Form::Native };
    }
    match path.extension() {
        Some("yml" | "yaml" | "json") => Form::Yaml(None),
        Some(_) => Form::Ini,
        // As Ansible does it: what is a map in YAML is no INI.
        None => match yaml::parse_as(source, Dialect::Ansible) {
            Ok(root) if root.map().is_some() => Form::Yaml(Some(root)),
            _ => Form::Ini,
        },
    }
}

fn missing() -> Diagnostic {
    let problem = Diagnostic::error("the environment has no `hosts.yml`");
    problem.hint("write one: `groups: { web: { hosts: \"web[1:3]\" } }`, or copy Ansible's files there")
}
