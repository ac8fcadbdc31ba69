//! What moved on the hosts, in one line.
//!
//! In: counts. Out: a line. Never: "nothing moved" of hosts that did not answer.

use super::words;
use crate::name::EnvName;
use crate::plan::Drift;

/// What moved on the hosts, in one line.
pub fn drift(found: &Drift, environment: &EnvName) -> String {
    let unknown = words::count(found.unreachable, "host");
    let mut texts = vec![match (found.drifted, found.answered, found.unreachable) {
        (0, 0, 1..) => return "drift unknown: no host answered".to_owned(),
        (0, _, 0) => "no drift".to_owned(),
        (0, ..) => "no drift on the hosts that answered".to_owned(),
        (drifted, ..) => format!("{} drifted", words::count(drifted, "resource")),
    }];
    if found.ignored > 0 {
        texts.push(format!("{} ignored (see environment.yml)", found.ignored));
    }
    if found.planned > 0 {
        texts.push(format!("{} differ for other reasons: see `armilla plan {environment}`", found.planned));
    }
    if found.unreachable > 0 {
        texts.push(format!("{unknown} unreachable"));
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_did_not_answer_are_never_called_unchanged() {
        let name = EnvName::new("staging").expect("a name");
        let all = Drift { answered: 3, ..Drift::default() };
        assert_eq!(drift(&all, &name), "no drift");
        let some = Drift { planned: 2, answered: 2, unreachable: 1, ..Drift::default() };
        assert_eq!(
            drift(&some, &name),
            "no drift on the hosts that answered, 2 differ for other reasons: see `armilla plan staging`, \
             1 host unreachable"
        );
        let none = Drift { unreachable: 3, ..Drift::default() };
        assert_eq!(drift(&none, &name), "drift unknown: no host answered");
        let moved = Drift { drifted: 1, answered: 1, unreachable: 1, ..Drift::default() };
        assert!(drift(&moved, &name).ends_with("1 host unreachable"));
    }
}
