//! What an Ansible inventory tells ssh: `ansible_ssh_common_args` and `ansible_ssh_extra_args`.
//!
//! In: the text of one of them. Out: options of ssh that were looked at one by one. Never: an option that starts a program
//! on this machine, but for a `ProxyCommand` of plain words, which the project must allow word by word.
//!
//! `-o ProxyCommand="ssh -W %h:%p jump"` is what a `ProxyJump` is for, and becomes one. What armilla does by itself or never
//! does (sharing connections, believing every host key, forwarding an agent) is left out with a warning. The options are
//! those of <https://man.openbsd.org/ssh_config>.

use std::sync::Arc;

use super::form::words::{Comments, Word, split};
use crate::diag::{Diagnostic, Diagnostics, Origin};
use crate::name;
use crate::yaml::Node;

/// What ssh is told beside address, port, user and key.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SshArguments {
    /// Options and their values, as for `-o`.
    #[serde(deserialize_with = "options")]
    pub options: Vec<(&'static str, String)>,
    /// A program on this machine that makes the connection; it must be allowed before anybody connects.
    pub proxy_command: Option<ProxyCommand>,
}

/// A program on this machine that makes the connection to a host.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyCommand {
    /// Word by word; ssh puts the address for `%h`, the port for `%p` and the user for `%r`.
    pub argv: Vec<String>,
    /// Where it is written.
    pub origin: Origin,
}

/// Reads options that were written down: those that an inventory can hold, and no other.
fn options<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<(&'static str, String)>, D::Error> {
    use serde::{Deserialize as _, de::Error as _};
    let written = Vec::<(String, String)>::deserialize(deserializer)?;
    let one = |(name, value): (String, String)| {
        let known = SAFE.iter().find(|known| **known == name).filter(|known| is_value(known, &value));
        known.map(|known| (*known, value)).ok_or_else(|| {
            D::Error::custom(format!("ssh option `{}` is not supported in an inventory", name.escape_debug()))
        })
    };
    written.into_iter().map(one).collect()
}

/// Arguments that many hosts share, as they are written down: with each of them.
pub(super) mod shared {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::SshArguments;

    pub(in crate::inventory) fn serialize<S: Serializer>(
        all: &[Arc<SshArguments>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(all.iter().map(Arc::as_ref))
    }

    pub(in crate::inventory) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Arc<SshArguments>>, D::Error> {
        Ok(Vec::<SshArguments>::deserialize(deserializer)?.into_iter().map(Arc::new).collect())
    }
}

/// Whether it can be the value of an option.
fn is_value(name: &str, value: &str) -> bool {
    let fine = |c: char| !c.is_control() && (name != "ProxyJump" || jump_char(c));
    !value.is_empty() && !value.starts_with('-') && value.chars().all(fine)
}

/// Options that are handed to ssh. None of them starts a program or weakens the check of a host's key.
const SAFE: &[&str] = &[
    "AddressFamily",
    "BindAddress",
    "BindInterface",
    "CASignatureAlgorithms",
    "CertificateFile",
    "CheckHostIP",
    "Ciphers",
    "Compression",
    "ConnectionAttempts",
    "GSSAPIAuthentication",
    "HostKeyAlgorithms",
    "HostKeyAlias",
    "IPQoS",
    "IdentitiesOnly",
    "IdentityAgent",
    "IdentityFile",
    "KbdInteractiveAuthentication",
    "KexAlgorithms",
    "MACs",
    "PasswordAuthentication",
    "Port",
    "PreferredAuthentications",
    "ProxyJump",
    "PubkeyAcceptedAlgorithms",
    "PubkeyAcceptedKeyTypes",
    "PubkeyAuthentication",
    "RekeyLimit",
    "RequiredRSASize",
    "TCPKeepAlive",
    "User",
];

/// Options that have no effect here, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("ConnectTimeout", "`--connect-timeout` says how long to wait"),
    ("ControlMaster", "armilla shares connections by itself"),
    ("ControlPath", "armilla shares connections by itself"),
    ("ControlPersist", "armilla shares connections by itself"),
    ("ForwardAgent", "an agent is never forwarded"),
    ("LogLevel", "armilla reads what ssh logs"),
    ("ServerAliveCountMax", "armilla watches connections by itself"),
    ("ServerAliveInterval", "armilla watches connections by itself"),
    ("StrictHostKeyChecking", "host keys are always checked; `--accept-new` records those of new hosts"),
    ("UserKnownHostsFile", "host keys are always checked, against the known hosts of your ssh configuration"),
];

/// Flags with a value, and the option each stands for.
const FLAGS: &[(char, &str)] = &[
    ('J', "ProxyJump"),
    ('b', "BindAddress"),
    ('c', "Ciphers"),
    ('i', "IdentityFile"),
    ('l', "User"),
    ('m', "MACs"),
    ('p', "Port"),
];

/// Flags without a value.
const SWITCHES: &[(char, &str, &str)] =
    &[('4', "AddressFamily", "inet"), ('6', "AddressFamily", "inet6"), ('C', "Compression", "yes")];

/// Reads the text of one variable.
pub(super) fn read(text: &str, node: &Node, problems: &mut Diagnostics) -> Arc<SshArguments> {
    let mut reader = Reader { found: SshArguments::default(), origin: &node.origin, problems };
    match split(text, Comments::Words) {
        Ok(words) => reader.all(&words),
        Err(unfinished) => reader.wrong(format!("cannot parse the ssh arguments: {unfinished}"), None),
    }
    Arc::new(reader.found)
}

struct Reader<'a> {
    found: SshArguments,
    origin: &'a Origin,
    problems: &'a mut Diagnostics,
}

impl Reader<'_> {
    fn wrong(&mut self, what: String, hint: Option<String>) {
        self.problems.push(Diagnostic::error(what).at(self.origin).maybe_hint(hint));
    }

    fn all(&mut self, words: &[Word]) {
        let mut words = words.iter().map(|word| word.text.trim()).filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            let mut flags = word.strip_prefix('-').unwrap_or_default().chars();
            let Some(flag) = flags.next() else {
                self.wrong(format!("unknown ssh option `{}`", word.escape_debug()), None);
                continue;
            };
            let rest = flags.as_str();
            let switch = SWITCHES.iter().find(|(known, ..)| *known == flag).filter(|_| rest.is_empty());
            if let Some((_, option, value)) = switch {
                self.option(option, value);
            } else if matches!(word, "-q" | "-v" | "-vv" | "-vvv" | "-A" | "-a" | "-x" | "-T") {
                self.left_out(word, "it has no effect here");
            } else if let Some(option) = FLAGS.iter().find(|(known, _)| *known == flag).map(|(_, option)| *option) {
                self.valued(option, rest, &mut words);
            } else if flag == 'o' {
                self.valued("", rest, &mut words);
            } else {
                let hint = if flag == 'F' { "`--ssh-config FILE` names another configuration" } else { WRITE };
                self.wrong(
                    format!("`{}` is not supported in an inventory", word.escape_debug()),
                    Some(hint.to_owned()),
                );
            }
        }
    }

    /// An option whose value is behind its flag or the next word.
    fn valued<'w>(&mut self, option: &str, rest: &'w str, words: &mut impl Iterator<Item = &'w str>) {
        let next = if rest.is_empty() { words.next() } else { Some(rest) };
        let Some(value) = next else {
            return self.wrong("the last option of ssh has no value".to_owned(), None);
        };
        if !option.is_empty() {
            return self.option(option, value);
        }
        match value.split_once(['=', ' ']) {
            Some((option, value)) => self.option(option.trim(), value.trim().trim_start_matches('=').trim()),
            None => self.wrong(format!("`-o {}` has no value", value.escape_debug()), Some(WRITE.to_owned())),
        }
    }

    fn option(&mut self, option: &str, value: &str) {
        let same = |known: &str| known.eq_ignore_ascii_case(option);
        if same("ProxyCommand") {
            return self.proxy_command(value);
        }
        if let Some((name, why)) = LEFT_OUT.iter().find(|(known, _)| same(known)) {
            return self.left_out(name, why);
        }
        let Some(name) = SAFE.iter().find(|known| same(known)) else {
            let hint = name::did_you_mean(option, SAFE.iter().copied());
            return self.wrong(
                format!("`{}` is not supported in an inventory", option.escape_debug()),
                hint.or(Some(WRITE.to_owned())),
            );
        };
        if !is_value(name, value) {
            return self.wrong(format!("`{}` is not a valid {name}", value.escape_debug()), None);
        }
        self.found.options.push((name, value.to_owned()));
    }

    fn left_out(&mut self, what: &str, why: &str) {
        self.problems.push(Diagnostic::warning(format!("`{what}` has no effect: {why}")).at(self.origin));
    }

    fn proxy_command(&mut self, value: &str) {
        let words = split(value, Comments::Words).unwrap_or_default();
        let argv: Vec<String> = words.into_iter().map(|word| word.text).collect();
        let plain = |c: char| {
            c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@' | '%' | '=' | '+' | ',')
        };
        if let Some(jump) = jump(&argv) {
            self.found.options.push(("ProxyJump", jump));
        } else if argv.is_empty() || !argv.iter().all(|word| !word.is_empty() && word.chars().all(plain)) {
            let hint = "a jump host is `-o ProxyJump=HOST`; write everything else into your ssh configuration";
            self.wrong("`ProxyCommand` with more than plain words is not supported".to_owned(), Some(hint.to_owned()));
        } else {
            self.found.proxy_command = Some(ProxyCommand { argv, origin: self.origin.clone() });
        }
    }
}

const WRITE: &str = "write it into your ssh configuration for these hosts";

fn jump_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@' | ',' | '[' | ']')
}

/// The jump host of `ssh [-q] [-p PORT] -W %h:%p [USER@]HOST`, in any order; nothing if more is said.
fn jump(argv: &[String]) -> Option<String> {
    let (program, rest) = argv.split_first()?;
    let (mut host, mut port, mut through) = (None, None, false);
    let mut words = rest.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "-q" => {}
            "-W" => through = matches!(words.next()?, "%h:%p" | "[%h]:%p"),
            "-p" => port = Some(words.next()?.parse::<u16>().ok()?),
            word if host.is_none() && !word.starts_with('-') && word.chars().all(jump_char) && !word.contains(',') => {
                host = Some(word);
            }
            _ => return None,
        }
    }
    let host = host.filter(|_| program == "ssh" && through)?;
    Some(port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Source;
    use crate::yaml::Yaml;

    fn told(text: &str) -> String {
        let mut problems = Diagnostics::new();
        let node = Node::new(&Origin::start(&Source::new("hosts.ini", "")), Yaml::Null);
        let found = read(text, &node, &mut problems);
        let options = found.options.iter().map(|(name, value)| format!("{name}={value}"));
        let proxy = found.proxy_command.iter().map(|proxy| format!("run {}", proxy.argv.join("|")));
        let problems = problems.iter().map(|problem| problem.what.clone());
        options.chain(proxy).chain(problems).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn every_option_is_looked_at() {
        for (text, expected) in [
            ("", ""),
            ("-J admin@jump:2222,b", "ProxyJump=admin@jump:2222,b"),
            (
                "-o ProxyJump=jump -C -4 -i ~/.ssh/x",
                "ProxyJump=jump; Compression=yes; AddressFamily=inet; IdentityFile=~/.ssh/x",
            ),
            ("-oproxyjump=jump", "ProxyJump=jump"),
            ("-o \"Ciphers aes256-ctr\"", "Ciphers=aes256-ctr"),
            (r#"-o ProxyCommand="ssh -W %h:%p -q admin@jump""#, "ProxyJump=admin@jump"),
            (r#"-o ProxyCommand="ssh -p 23 jump -W [%h]:%p""#, "ProxyJump=jump:23"),
            (r#"-o ProxyCommand="ssh -W %h:%p -o X=y jump""#, "run ssh|-W|%h:%p|-o|X=y|jump"),
            (r#"-o ProxyCommand="nc -X 5 %h %p""#, "run nc|-X|5|%h|%p"),
            (r#"-o ProxyCommand="sh -c 'curl x | sh'""#, "`ProxyCommand` with more than plain words is not supported"),
            ("-o ProxyCommand=$(x)", "`ProxyCommand` with more than plain words is not supported"),
            ("-o LocalCommand=x", "`LocalCommand` is not supported in an inventory"),
            ("-o PKCS11Provider=/x.so", "`PKCS11Provider` is not supported in an inventory"),
            ("-F x", "`-F` is not supported in an inventory; unknown ssh option `x`"),
            ("-o ProxyJump=-x", "`-x` is not a valid ProxyJump"),
            ("-J 'a;b'", "`a;b` is not a valid ProxyJump"),
            ("-o", "the last option of ssh has no value"),
            ("-o 'x", "cannot parse the ssh arguments: a quote is not closed"),
            (
                "-o StrictHostKeyChecking=no",
                "`StrictHostKeyChecking` has no effect: host keys are always checked; `--accept-new` records those of new hosts",
            ),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }
}
