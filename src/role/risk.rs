//! `risky:` beside a resource: whether a change of it could shut us out.
//!
//! In: what was written. Out: a [`Risk`]. Never: which resources are risky where nothing is written.

use std::time::Duration;

use super::parse_duration;
use crate::diag::{Diagnostic, Diagnostics};
use crate::yaml::{Node, Yaml};

/// Whether the host undoes a change by itself unless it hears from us in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Risk {
    /// It does not.
    None,
    /// It waits this long.
    Within(Duration),
}

/// How long `risky: true` is.
const USUAL: Duration = Duration::from_secs(60);
/// A new login takes some seconds on a busy host.
const SHORTEST: Duration = Duration::from_secs(5);
/// Nobody wants to be shut out for longer.
const LONGEST: Duration = Duration::from_secs(3600);

pub(super) fn read(node: &Node, problems: &mut Diagnostics) -> Option<Risk> {
    let risk = match &node.value {
        Yaml::Bool(true) => Some(Risk::Within(USUAL)),
        Yaml::Bool(false) => Some(Risk::None),
        _ => parse_duration(&node.to_json()).and_then(within),
    };
    if risk.is_none() {
        let problem = Diagnostic::error("`risky` must be `true`, `false`, or the time of the rollback timer: 5s to 1h");
        problems.push(problem.at(&node.origin).hint("for example `risky: 2m`"));
    }
    risk
}

fn within(seconds: f64) -> Option<Risk> {
    let wait = Duration::try_from_secs_f64(seconds).ok()?;
    (SHORTEST..=LONGEST).contains(&wait).then_some(Risk::Within(wait))
}
