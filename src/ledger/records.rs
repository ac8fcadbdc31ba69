//! Which of the ledgers on a host is ours.

use crate::name::{HostName, Owner};
use crate::step::{Record, StateReading};

/// What a host keeps, from the point of view of one owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records<'a> {
    /// What it keeps for the owner; none if it never worked there.
    pub own: Option<&'a Record>,
    /// Whether that does not say yet whose it is: an earlier armilla wrote it, which knew no projects.
    pub standing: Standing,
    /// What it keeps for others.
    pub others: Vec<(&'a Owner, &'a Record)>,
}

/// Whether a ledger knows whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does, or there is none.
    Known,
    /// It must be adopted before it is written to.
    Unadopted,
}

impl<'a> Records<'a> {
    /// Sorts out what a host keeps. `host` is its name in the inventory of the owner.
    pub fn of(state: &'a StateReading, owner: &Owner, host: &HostName) -> Self {
        let find = |owner: &Owner| state.records.get(&(owner.clone(), host.clone()));
        let unnamed = owner.without_project();
        let known = owner.project.as_ref().and_then(|_| find(owner));
        let unadopted = if known.is_none() { find(&unnamed) } else { None };
        // Another host name is another name of this machine in the same inventory, or the name it had before.
        let ours = |other: &Owner| *other == *owner || (known.is_none() && *other == unnamed);
        let others = state.records.iter().filter(|((other, _), _)| !ours(other));
        Self {
            own: known.or(unadopted),
            standing: if unadopted.is_some() { Standing::Unadopted } else { Standing::Known },
            others: others.map(|((other, _), record)| (other, record)).collect(),
        }
    }

    /// The text of the own ledger.
    pub fn ledger(&self) -> Option<&'a [u8]> {
        self.own.and_then(|record| record.ledger.as_deref())
    }

    /// What was done since it was written.
    pub fn journal(&self) -> Option<&'a [u8]> {
        self.own.and_then(|record| record.journal.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(words: &[&str]) -> StateReading {
        let record = |word: &&str| {
            let (owner, host) = word.split_once(' ').expect("an owner and a host");
            let owner = Owner::parse(owner).expect("an owner");
            let record = Record { ledger: Some(word.as_bytes().to_vec()), journal: None };
            ((owner, HostName::new(host).expect("a name")), record)
        };
        StateReading { records: words.iter().map(record).collect(), ..StateReading::default() }
    }

    /// The own ledger, how it stands, and the others, as words.
    fn sorted(owner: &str, words: &[&str]) -> (Option<String>, Standing, Vec<String>) {
        let state = state(words);
        let (owner, host) = (Owner::parse(owner).expect("an owner"), HostName::new("h").expect("a name"));
        let records = Records::of(&state, &owner, &host);
        let own = records.ledger().map(|text| String::from_utf8_lossy(text).into_owned());
        (own, records.standing, records.others.iter().map(|(owner, _)| owner.word()).collect())
    }

    const A: &str = "live@a-2222222222";
    const B: &str = "live@b-2222222222";

    #[test]
    fn each_project_has_its_own_ledger() {
        let all = ["live@a-2222222222 h", "live@b-2222222222 h", "test@a-2222222222 h"];
        let (own, standing, others) = sorted(A, &all);
        assert_eq!((own.as_deref(), standing), (Some("live@a-2222222222 h"), Standing::Known));
        assert_eq!(others, ["test@a-2222222222", "live@b-2222222222"]);
        assert_eq!(sorted(B, &all[..1]), (None, Standing::Known, vec![A.to_owned()]));
    }

    #[test]
    fn a_ledger_without_a_project_is_adopted_only_by_who_has_none() {
        assert_eq!(sorted(A, &["live h"]), (Some("live h".to_owned()), Standing::Unadopted, Vec::new()));
        assert_eq!(sorted("live", &["live h"]), (Some("live h".to_owned()), Standing::Unadopted, Vec::new()));
        let (own, standing, others) = sorted(A, &["live h", "live@a-2222222222 h"]);
        assert_eq!((own.as_deref(), standing), (Some("live@a-2222222222 h"), Standing::Known));
        assert_eq!(others, ["live"], "what is left without a project is somebody else's");
        assert_eq!(sorted(A, &["test h"]).2, ["test"]);
    }

    #[test]
    fn another_name_of_the_same_machine_is_not_somebody_else() {
        assert_eq!(sorted(A, &["live@a-2222222222 other"]), (None, Standing::Known, Vec::new()));
        assert_eq!(sorted(A, &["live@b-2222222222 other"]).2, [B]);
    }
}
