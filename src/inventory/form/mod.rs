//! The forms in which the hosts of an environment can be written; each becomes a [`Draft`].
//!
//! In: the file with the hosts, in whatever form. Out: one structure in which every name is checked and every range
//! expanded, in the order written. Never: a look at whether a child exists or a group is in a cycle; that is said
//! once, of drafts, for all forms.
//!
//! To add a form: a file here with `fn read(source, &mut Draft, &mut Diagnostics)`, and a line in [`FORMS`].

use std::collections::HashMap;
use std::sync::Arc;

use super::Texts;
use super::connection::Connection;
use super::hint::Hints;
use super::settings::Settings;
use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::name::{GroupName, HostName};

mod native;

/// Reads a text into a draft.
type Read = fn(&Arc<Source>, &mut Draft, &mut Diagnostics);

/// The names the file with the hosts can have, and how each is read.
const FORMS: [(&str, Read); 2] = [("hosts.yml", native::read), ("hosts.yaml", native::read)];

/// Names of Ansible's files, to say more than that ours is missing.
const FOREIGN: [&str; 4] = ["hosts", "hosts.ini", "inventory", "inventory.ini"];

/// What was written, before it is known whether it fits together.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// What is said of every host.
    pub(super) all: Said,
    /// What is said of the hosts in no group.
    pub(super) ungrouped: Said,
    /// The groups, in the order written.
    pub(super) groups: Vec<DraftGroup>,
    /// The hosts, in the order written: those of the groups first.
    pub(super) hosts: Vec<DraftHost>,
    /// Whether a name of a host was not understood, so that not every unknown host is a mistake of its own.
    pub(super) hosts_unsure: bool,
    /// The same of groups.
    pub(super) groups_unsure: bool,
    group_index: HashMap<GroupName, usize>,
    host_index: HashMap<HostName, usize>,
}

/// What is said of a group, a host, or all hosts.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Variables, place by place, the strongest last.
    pub(super) settings: Vec<Settings>,
    /// How to reach it.
    pub(super) connection: Connection,
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
    pub(super) said: Said,
}

/// A host as written.
#[derive(Debug)]
pub(super) struct DraftHost {
    pub(super) name: HostName,
    pub(super) said: Said,
}

impl Draft {
    /// The index of a group, which is there from now on.
    pub(super) fn group(&mut self, name: &GroupName, origin: &Origin) -> usize {
        if let Some(index) = self.group_index.get(name) {
            return *index;
        }
        let (name, origin) = (name.clone(), origin.clone());
        self.group_index.insert(name.clone(), self.groups.len());
        self.groups.push(DraftGroup { name, origin, hosts: Vec::new(), children: Vec::new(), said: Said::default() });
        self.groups.len() - 1
    }

    /// The index of a host, which is there from now on.
    pub(super) fn host(&mut self, name: HostName) -> usize {
        if let Some(index) = self.host_index.get(&name) {
            return *index;
        }
        self.host_index.insert(name.clone(), self.hosts.len());
        self.hosts.push(DraftHost { name, said: Said::default() });
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

/// Finds the file with the hosts and reads it, whichever form it has.
pub(super) fn read(texts: &Texts, problems: &mut Diagnostics) -> Draft {
    let mut draft = Draft::default();
    let found: Vec<_> = FORMS.iter().filter_map(|(name, read)| Some((*name, read, texts.get(name)?))).collect();
    match found[..] {
        [] => problems.push(missing(texts)),
        [(_, read, source)] => {
            read(source, &mut draft, problems);
            return draft;
        }
        [(first, ..), (_, _, second), ..] => problems.push(
            Diagnostic::error(format!("a second file with the hosts, beside `{first}`"))
                .at(&Origin::start(second))
                .hint("an environment has one: keep one of the two"),
        ),
    }
    draft.hosts_unsure = true;
    draft.groups_unsure = true;
    draft
}

fn missing(texts: &Texts) -> Diagnostic {
    let problem = Diagnostic::error("the environment has no `hosts.yml`");
    if let Some(source) = FOREIGN.iter().find_map(|name| texts.get(name)) {
        return problem.at(&Origin::start(source)).hint("the hosts are read from `hosts.yml`; this file is not read");
    }
    let near = Hints::default().near("hosts.yml", texts.iter().map(|(path, _)| path.as_str()));
    problem.hint(near.unwrap_or_else(|| "write one: `groups: { web: { hosts: \"web[1:3]\" } }`".to_owned()))
}
