//! Why an operation ended before it changed anything.

use std::collections::BTreeMap;

use crate::diag::{Diagnostic, Diagnostics, shown};
use crate::lease::Held;
use crate::name::{EnvName, HostName};
use crate::transport::TransportError;

/// Why an operation ended before it changed any host.
#[derive(Debug, Clone)]
pub enum Abort {
    /// Whoever asked for it stopped it.
    Stopped,
    /// Somebody else holds the lock of a host.
    Locked {
        /// Of which environment the lock was wanted.
        environment: EnvName,
        /// The host.
        host: HostName,
        /// The lock and its holder.
        held: Box<Held>,
    },
    /// Too few of the hosts that keep the lock of an environment answer.
    NoQuorum {
        /// The environment.
        environment: EnvName,
        /// The hosts that do not answer, and why.
        unreachable: BTreeMap<HostName, TransportError>,
        /// How many hosts keep the lock.
        witnesses: usize,
    },
    /// What is wrong in the files, or why the plan must not be applied.
    Refused(Diagnostics),
}

impl From<Diagnostics> for Abort {
    fn from(problems: Diagnostics) -> Self {
        Self::Refused(problems)
    }
}

impl From<Diagnostic> for Abort {
    fn from(problem: Diagnostic) -> Self {
        Self::Refused(problem.into())
    }
}

impl Abort {
    /// What to show a person.
    pub fn problems(&self) -> Diagnostics {
        match self {
            Self::Stopped => Diagnostic::error("interrupted; nothing was changed").into(),
            Self::Locked { environment, host, held } => locked(environment, host, held).into(),
            Self::NoQuorum { environment, unreachable, witnesses } => {
                no_quorum(environment, unreachable, *witnesses).into()
            }
            Self::Refused(problems) => problems.clone(),
        }
    }
}

fn locked(environment: &EnvName, host: &HostName, held: &Held) -> Diagnostic {
    Diagnostic::error(format!("{}; nothing was changed", describe(host, held))).hint(format!(
        "wait with --lock-timeout 10m, or see `armilla lock status {environment}`; if its holder has ended, the lock expires in {} s",
        held.left()
    ))
}

fn no_quorum(environment: &EnvName, unreachable: &BTreeMap<HostName, TransportError>, witnesses: usize) -> Diagnostic {
    let who: Vec<String> =
        unreachable.iter().map(|(host, why)| format!("{host} ({})", shown(&why.to_string()))).collect();
    let what = format!(
        "{environment} cannot be locked: {} of the {witnesses} hosts that hold its lock are unreachable: {}",
        unreachable.len(),
        who.join(", ")
    );
    Diagnostic::error(what)
        .hint("armilla changes nothing without a lock: start these hosts, or remove them from the inventory")
}

/// A lock and its holder, in one line. It comes from a host: nothing of it is trusted.
pub fn describe(host: &HostName, held: &Held) -> String {
    let holder = &held.lease.holder;
    let busy = match (held.busy, held.lease.is_ended()) {
        (true, true) => ", which has ended, but one of its steps is still running",
        (true, false) => ", one of its steps is running",
        (false, _) => "",
    };
    let project = holder.project.as_ref().map(|project| format!(" of {project}")).unwrap_or_default();
    shown(&format!(
        "{host} is locked by {} since {} for {}{project} (`{}`, run {}, lease {}, last renewed {} s ago{busy})",
        holder.who, holder.since, holder.environment, holder.command, holder.run, held.lease.id.0, held.silent
    ))
}
