//! What the hosts of an environment say of their own past: a table, or JSON.
//!
//! In: per host its ledger, or why it gave none, and who works on it now. Out: one line a host, the worst in words. Never: a
//! guess: where nothing is known it says `never`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::diag::shown;
use crate::ledger::{Applied, Ledger, Pending, Records, ResourceKey};
use crate::name::{EnvName, HostName, Owner};
use crate::resource::Verb;
use crate::step::{Probe, Readings};

/// What one host said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostStatus {
    /// What it keeps for armilla, and who works on it now, if anybody.
    Ledger {
        /// With its journal worked in.
        ledger: Box<Ledger>,
        /// Its boot: what is owed from another one is owed no more.
        boot: String,
        /// Who holds its lock, in words.
        lock: Option<String>,
    },
    /// What it keeps cannot be read, and why.
    Unreadable(String),
    /// It did not answer, and why.
    Away(String),
}

impl HostStatus {
    /// What a host keeps for this owner, from its answer. `lock` is who holds its lock, in words.
    pub fn of(owner: &Owner, host: &HostName, answer: &Readings, lock: Option<String>) -> Self {
        let state = match answer.state(&Probe::State) {
            Ok(state) => state,
            Err(why) => return Self::Unreadable(why.to_string()),
        };
        let records = Records::of(state, owner, host);
        match Ledger::of(&owner.environment, records.ledger(), records.journal()) {
            Ok(ledger) => Self::Ledger { ledger: Box::new(ledger), boot: state.boot.clone(), lock },
            Err(why) => Self::Unreadable(why.to_string()),
        }
    }
}

/// All of an environment.
pub type Hosts = BTreeMap<HostName, HostStatus>;

/// The restarts and reloads that are still owed in this boot.
fn owed<'a>(ledger: &'a Ledger, boot: &'a str) -> impl Iterator<Item = (&'a ResourceKey, &'a Pending)> {
    ledger.pending.iter().filter(move |(_, pending)| pending.boot == boot)
}

const HEAD: [&str; 8] = ["HOST", "CONVERGED", "RUN", "REVISION", "BY", "CHANGED", "OWNED", "PENDING"];

/// A line a host, and below the table what needs more words: pending restarts, locks, hosts that said nothing.
pub fn table(hosts: &Hosts) -> String {
    let rows: Vec<[String; 8]> = hosts.iter().map(|(host, said)| row(host, said)).collect();
    let head = HEAD.map(str::to_owned);
    let width = |column: usize| rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let notes = hosts.iter().flat_map(|(host, said)| notes(host, said));
    std::iter::once(&head).chain(&rows).map(line).chain(notes).collect::<Vec<_>>().join("\n")
}

fn row(host: &HostName, said: &HostStatus) -> [String; 8] {
    let unknown = |why: &str| {
        let mut row = [const { String::new() }; 8];
        (row[0], row[1]) = (host.to_string(), why.to_owned());
        row
    };
    let (ledger, boot) = match said {
        HostStatus::Ledger { ledger, boot, .. } => (ledger, boot),
        HostStatus::Unreadable(_) => return unknown("cannot be read"),
        HostStatus::Away(_) => return unknown("did not answer"),
    };
    let converged = ledger.converged.as_ref();
    let changed = match (&ledger.last, converged) {
        (None, _) => "never".to_owned(),
        (Some(last), Some(converged)) if last.run == converged.run => "then".to_owned(),
        (Some(last), _) => shown(&format!("{} by {} ({})", moment(last), last.who, last.run)),
    };
    let of = |what: fn(&Applied) -> String| converged.map_or_else(|| "-".to_owned(), |run| shown(&what(run)));
    [
        host.to_string(),
        converged.map_or_else(|| "never".to_owned(), |run| shown(&moment(run))),
        of(|run| run.run.to_string()),
        of(revision),
        of(|run| run.who.clone()),
        changed,
        ledger.owned.len().to_string(),
        owed(ledger, boot).count().to_string(),
    ]
}

fn notes(host: &HostName, said: &HostStatus) -> Vec<String> {
    match said {
        HostStatus::Away(why) => vec![shown(&format!("{host} is unreachable: {why}"))],
        HostStatus::Unreadable(why) => vec![shown(&format!("{host}: {why}"))],
        HostStatus::Ledger { ledger, boot, lock } => {
            let owed = owed(ledger, boot).map(|(place, pending)| {
                let because: Vec<String> = pending.because.iter().map(ToString::to_string).collect();
                let verb = match pending.verb {
                    Verb::Restart => "restart",
                    Verb::Reload => "reload",
                };
                shown(&format!(
                    "{host}: {place} has a pending {verb}: {} changed in {}",
                    because.join(", "),
                    pending.run
                ))
            });
            owed.chain(lock.iter().map(|line| shown(line))).collect()
        }
    }
}

fn moment(run: &Applied) -> String {
    run.at.replace('T', " ").replace('Z', " UTC")
}

fn revision(run: &Applied) -> String {
    run.revision.as_ref().map_or_else(
        || "-".to_owned(),
        |revision| {
            let short = revision.commit.get(..7).unwrap_or(&revision.commit);
            format!("{short}{}", if revision.dirty { "+" } else { "" })
        },
    )
}

/// The same for programs.
pub fn json(environment: &EnvName, hosts: &Hosts) -> Value {
    let one = |said: &HostStatus| match said {
        HostStatus::Away(why) => json!({ "unreachable": why }),
        HostStatus::Unreadable(why) => json!({ "unreadable": why }),
        HostStatus::Ledger { ledger, boot, lock } => json!({
            "generation": ledger.generation,
            "converged": ledger.converged,
            "changed": ledger.last,
            "owned": ledger.owned.iter().map(|(place, owned)| json!({
                "role": place.role,
                "kind": place.kind,
                "target": place.target,
                "origin": owned.origin,
                "since": owned.since,
                "run": owned.run,
            })).collect::<Vec<_>>(),
            "pending": owed(ledger, boot).map(|(place, pending)| json!({
                "kind": place.kind,
                "target": place.target,
                "verb": pending.verb,
                "run": pending.run,
                "because": pending.because,
            })).collect::<Vec<_>>(),
            "lock": lock,
        }),
    };
    let all: serde_json::Map<String, Value> = hosts.iter().map(|(host, said)| (host.to_string(), one(said))).collect();
    json!({ "format": "armilla-status", "version": 1, "environment": environment, "hosts": all })
}
