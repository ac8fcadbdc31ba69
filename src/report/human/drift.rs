//! What moved on the hosts, in one line.
//!
//! In: counts. Out: a line. Never: "nothing moved" of hosts that did not answer.

use super::words;
use crate::plan::Drift;

/// What moved on the hosts, in one line.
pub fn drift(found: &Drift) -> String {
    let unknown = words::count(found.unreachable, "host");
    let mut texts = vec![match (found.drifted, found.answered, found.unreachable) {
        (0, 0, 1..) => return "nothing is known: no host answered".to_owned(),
        (0, _, 0) => "nothing moved on the hosts".to_owned(),
        (0, ..) => "nothing moved on the hosts that answered".to_owned(),
        (drifted, ..) => format!("{} moved on the hosts", words::count(drifted, "resource")),
    }];
    if found.ignored > 0 {
        texts.push(format!("{} ignored (see environment.yml)", found.ignored));
    }
    if found.planned > 0 {
        texts.push(format!("{} differ for other reasons: see `armilla plan`", found.planned));
    }
    if found.unreachable > 0 {
        texts.push(format!("nothing is known of {unknown}, which did not answer"));
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_did_not_answer_are_never_called_unchanged() {
        let all = Drift { answered: 3, ..Drift::default() };
        assert_eq!(drift(&all), "nothing moved on the hosts");
        let some = Drift { planned: 2, answered: 2, unreachable: 1, ..Drift::default() };
        assert_eq!(
            drift(&some),
            "nothing moved on the hosts that answered, 2 differ for other reasons: see `armilla plan`, \
             nothing is known of 1 host, which did not answer"
        );
        let none = Drift { unreachable: 3, ..Drift::default() };
        assert_eq!(drift(&none), "nothing is known: no host answered");
        let moved = Drift { drifted: 1, answered: 1, unreachable: 1, ..Drift::default() };
        assert!(drift(&moved).ends_with("nothing is known of 1 host, which did not answer"));
    }
}
