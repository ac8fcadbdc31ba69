//! Why a host could not be worked with.

use std::collections::BTreeMap;

use crate::diag::{Diagnostic, Diagnostics, shown};
use crate::name::HostName;

/// Why a host could not be worked with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection; ssh's own words.
    #[error("{host} is unreachable: {why}")]
    Unreachable {
        /// Which host.
        host: String,
        /// Why.
        why: String,
    },
    /// Its key is not the one we know. Somebody may be in between, or it was installed anew.
    #[error("the host key of {host} changed: known {known}, offered {offered}")]
    HostKeyChanged {
        /// Which host.
        host: String,
        /// The fingerprint in `known_hosts`, with file and line.
        known: String,
        /// The fingerprint the host offered.
        offered: String,
    },
    /// Its key is not known yet.
    #[error("the host key of {host} is unknown: {offered}")]
    HostKeyUnknown {
        /// Which host.
        host: String,
        /// The fingerprint the host offered, if ssh said it.
        offered: String,
    },
    /// Something on this machine is missing or used up. The host was not asked.
    #[error("cannot connect to {host} from this machine: {why}")]
    Local {
        /// Which host.
        host: String,
        /// What is missing, and what to do about it.
        why: String,
    },
    /// sudo did not make us root.
    #[error("sudo on {host}: {why}")]
    Become {
        /// Which host.
        host: String,
        /// Why.
        why: String,
    },
    /// The host program cannot be brought there, or not be run there.
    #[error("the host program of armilla on {host}: {why}")]
    Program {
        /// Which host.
        host: String,
        /// Why.
        why: String,
    },
    /// The connection ended in the middle.
    #[error("the connection to {host} was lost: {why}")]
    Lost {
        /// Which host.
        host: String,
        /// Why.
        why: String,
    },
    /// It gave its lease to somebody else, or ended it: nothing was done.
    #[error("{host} refuses: {why}")]
    Fenced {
        /// Which host.
        host: String,
        /// Why.
        why: String,
    },
    /// It has no place, program or room for what it must write down; nothing was done.
    #[error("the data of armilla on {host} cannot be read or written: {why}")]
    Unable {
        /// Which host.
        host: String,
        /// Why.
        why: String,
    },
    /// It answered something that is not our protocol.
    #[error("unexpected answer from {host}: {why}")]
    Protocol {
        /// Which host.
        host: String,
        /// What.
        why: String,
    },
}

impl TransportError {
    /// Whether the setup is at fault, not the network or the host: sudo does not make us root, or this machine lacks
    /// something. It does not pass by itself, so a command that has changed nothing yet stops and says what to do.
    pub fn is_setup(&self) -> bool {
        matches!(self, Self::Become { .. } | Self::Local { .. })
    }

    /// Whether sudo did not take the password that it was given.
    pub fn is_wrong_password(&self) -> bool {
        matches!(self, Self::Become { why, .. } if why == WRONG_PASSWORD)
    }

    /// Why, without the host.
    fn why(&self) -> &str {
        match self {
            Self::Unreachable { why, .. }
            | Self::Local { why, .. }
            | Self::Become { why, .. }
            | Self::Program { why, .. }
            | Self::Lost { why, .. }
            | Self::Fenced { why, .. }
            | Self::Unable { why, .. }
            | Self::Protocol { why, .. } => why,
            Self::HostKeyChanged { .. } => "a changed host key",
            Self::HostKeyUnknown { .. } => "an unknown host key",
        }
    }
}

/// Why sudo did not make us root, if it did not take the password.
pub(super) const WRONG_PASSWORD: &str = "wrong password";

/// The problems of the setup among these errors: one for each reason, with all its hosts. `without` gives the command that
/// leaves hosts out.
pub fn setup_problems<'a>(
    errors: impl IntoIterator<Item = (&'a HostName, &'a TransportError)>,
    without: &dyn Fn(&[&HostName]) -> String,
) -> Diagnostics {
    let mut reasons: BTreeMap<(bool, &str), Vec<&HostName>> = BTreeMap::new();
    for (host, error) in errors.into_iter().filter(|(_, error)| error.is_setup()) {
        let is_sudo = matches!(error, TransportError::Become { .. });
        reasons.entry((is_sudo, error.why())).or_default().push(host);
    }
    let mut problems = Diagnostics::new();
    for ((is_sudo, why), hosts) in reasons {
        let names = hosts.iter().map(|host| host.as_str()).collect::<Vec<_>>().join(", ");
        problems.push(if is_sudo {
            Diagnostic::error(shown(&format!("sudo on {names}: {why}")))
                .hint(format!("nothing was changed; to exclude these hosts: {}", without(&hosts)))
        } else {
            Diagnostic::error(shown(&format!("cannot connect to {names} from this machine: {why}")))
        });
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_of_the_setup_are_listed_by_reason_and_the_network_is_none() {
        let host = |name: &str| HostName::new(name).expect("a name");
        let sudo =
            |name: &str| TransportError::Become { host: name.to_owned(), why: "a password is required".to_owned() };
        let away = TransportError::Unreachable { host: "h3".to_owned(), why: "timed out".to_owned() };
        let local = TransportError::Local { host: "h4".to_owned(), why: "too many open files".to_owned() };
        let errors = [(host("h1"), sudo("h1")), (host("h2"), sudo("h2")), (host("h3"), away), (host("h4"), local)];
        let text =
            setup_problems(errors.iter().map(|(host, error)| (host, error)), &|hosts| format!("-l {}", hosts.len()))
                .to_string();
        assert!(
            text.contains("sudo on h1, h2: a password is required") && text.contains("to exclude these hosts: -l 2"),
            "{text}"
        );
        assert!(text.contains("cannot connect to h4 from this machine: too many") && !text.contains("h3"), "{text}");
    }
}
