//! Ansible's variables that say how a host is reached.
//!
//! In: variables of one place, as any others. Out: what they say of the connection; they stay variables, too. Never: a
//! value that is rendered, a password, or a way to a host that armilla does not have.
//!
//! The names and which of two counts are those of Ansible's ssh connection
//! (<https://docs.ansible.com/ansible/latest/collections/ansible/builtin/ssh_connection.html>): `ansible_ssh_host`,
//! `ansible_ssh_port` and `ansible_ssh_user` count before `ansible_host`, `ansible_port` and `ansible_user`, wherever each
//! is written.

use std::sync::Arc;

use super::connection::{Become, Connection, Method, address_char, user_char};
use super::form::Draft;
use super::settings::Settings;
use super::{Merging, ssh};
use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::yaml::{Node, Yaml};

/// Variables that Ansible logs in or works as root with.
const PASSWORDS: [&str; 5] =
    ["ansible_password", "ansible_ssh_pass", "ansible_ssh_password", "ansible_become_pass", "ansible_become_password"];

/// Reads what the variables of every group and host say of connections.
pub(super) fn connect(draft: &mut Draft, problems: &mut Diagnostics) {
    let groups = draft.groups.iter_mut().map(|group| &mut group.said);
    let hosts = draft.hosts.iter_mut().map(|host| &mut host.said);
    for said in [&mut draft.all, &mut draft.ungrouped].into_iter().chain(groups).chain(hosts) {
        said.connection = connection(&said.settings, problems);
        said.file_connection = connection(&said.files, problems);
    }
}

fn connection(places: &[Settings], problems: &mut Diagnostics) -> Connection {
    let mut all = Connection::default();
    for settings in places {
        let mut found = Connection::default();
        for (name, node) in settings.starting_with("ansible_") {
            if node.value != Yaml::Null {
                Word { name, node, problems }.read(&mut found);
            }
        }
        all.absorb(&found);
    }
    all
}

/// One variable.
struct Word<'a> {
    name: &'a str,
    node: &'a Node,
    problems: &'a mut Diagnostics,
}

impl Word<'_> {
    fn read(&mut self, found: &mut Connection) {
        match self.name {
            "ansible_host" => found.address = self.argument(address_char),
            "ansible_ssh_host" => found.second.address = self.argument(address_char),
            "ansible_port" => found.port = self.port(),
            "ansible_ssh_port" => found.second.port = self.port(),
            "ansible_user" => found.user = self.argument(user_char),
            "ansible_ssh_user" => found.second.user = self.argument(user_char),
            "ansible_private_key_file" => found.key = self.argument(|c| !c.is_control()).map(Into::into),
            "ansible_ssh_private_key_file" => found.second.key = self.argument(|c| !c.is_control()).map(Into::into),
            "ansible_connection" => found.method = self.method(),
            "ansible_become" => found.become_user = self.truth().map(|yes| if yes { Become::Root } else { Become::No }),
            "ansible_become_user" => found.becoming = self.text().map(|user| (user, self.node.origin.clone())),
            "ansible_become_method" => {
                found.become_method = self.text().map(|method| (method, self.node.origin.clone()));
            }
            "ansible_ssh_common_args" => found.common = self.arguments(),
            "ansible_ssh_extra_args" => found.extra = self.arguments(),
            name if PASSWORDS.contains(&name) => self.password(),
            _ => {}
        }
    }

    fn wrong(&mut self, what: String, hint: Option<&str>) {
        let problem = Diagnostic::error(what).at(&self.node.origin);
        self.problems.push(problem.maybe_hint(hint.map(str::to_owned)));
    }

    /// The text of a value that is one word or number; a template is none.
    fn text(&mut self) -> Option<String> {
        let text = match &self.node.value {
            Yaml::Text(text) => text.clone(),
            Yaml::Int(number) => number.to_string(),
            Yaml::Float(number) => format!("{number:?}"),
            _ => {
                self.wrong(format!("`{}` must be a text, not {}", self.name, self.node.kind()), None);
                return None;
            }
        };
        if text.contains("{{") || text.contains("{%") {
            let hint = "values of an inventory are not rendered: write the value itself";
            self.wrong(format!("`{}` is a template, and connection settings are not rendered", self.name), Some(hint));
            return None;
        }
        Some(text)
    }

    /// A text that is given to ssh: not empty, no option, and only of these characters.
    fn argument(&mut self, allowed: fn(char) -> bool) -> Option<String> {
        let text = self.text()?;
        if text.is_empty() || text.starts_with('-') || !text.chars().all(allowed) {
            self.wrong(format!("`{}` is not a valid `{}` of a host", text.escape_debug(), self.name), None);
            return None;
        }
        Some(text)
    }

    fn port(&mut self) -> Option<u16> {
        let text = self.text()?;
        let port = text.parse().ok().filter(|port| *port > 0);
        if port.is_none() {
            self.wrong(format!("invalid port `{}`: it is from 1 to 65535", text.escape_debug()), None);
        }
        port
    }

    fn truth(&mut self) -> Option<bool> {
        if let Yaml::Bool(yes) = self.node.value {
            return Some(yes);
        }
        match self.text()?.to_lowercase().as_str() {
            "y" | "yes" | "on" | "1" | "true" | "t" | "1.0" => Some(true),
            "n" | "no" | "off" | "0" | "false" | "f" | "0.0" => Some(false),
            text => {
                self.wrong(format!("`{}` is neither true nor false", text.escape_debug()), None);
                None
            }
        }
    }

    fn method(&mut self) -> Option<Method> {
        let text = self.text()?;
        match text.as_str() {
            "ssh" | "smart" | "ansible.builtin.ssh" | "paramiko" | "paramiko_ssh" | "ansible.builtin.paramiko_ssh" => {
                Some(Method::Ssh)
            }
            "local" | "ansible.builtin.local" => Some(Method::Local),
            other => {
                let what = format!("connection `{}` is not supported", other.escape_debug());
                self.wrong(
                    what,
                    Some("use `ssh`, or `local` for this machine; move such hosts to an inventory of their own"),
                );
                None
            }
        }
    }

    fn password(&mut self) {
        let hint = if self.name.contains("become") {
            "use `-K` to be asked for the sudo password"
        } else {
            "log in with a key or an agent"
        };
        let what = format!("`{}` has no effect: passwords are not read from an inventory", self.name);
        self.problems.push(Diagnostic::warning(what).at(&self.node.origin).hint(hint));
    }

    fn arguments(&mut self) -> Option<Arc<ssh::SshArguments>> {
        let text = self.text()?;
        Some(ssh::read(&text, self.node, self.problems))
    }
}

/// What an `ansible.cfg` says of maps with the same name: `hash_behaviour` under `[defaults]`.
pub(super) fn merging(config: &Arc<Source>, problems: &mut Diagnostics) -> Merging {
    let mut section = "";
    for (index, line) in config.text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            section = name.0;
        }
        let Some((key, value)) = line.split_once(['=', ':']).filter(|_| section == "defaults") else { continue };
        if key.trim() != "hash_behaviour" {
            continue;
        }
        match value.split(" ;").next().unwrap_or_default().trim() {
            "merge" => return Merging::Merge,
            "replace" => return Merging::Replace,
            other => {
                let line = u32::try_from(index + 1).unwrap_or(u32::MAX);
                let what = format!("invalid `hash_behaviour` `{}`", other.escape_debug());
                let origin = Origin { source: Arc::clone(config), line, column: 1 };
                problems.push(Diagnostic::error(what).at(&origin).hint("it is `replace` or `merge`"));
            }
        }
    }
    Merging::Replace
}
