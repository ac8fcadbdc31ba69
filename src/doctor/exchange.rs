//! What the key exchange of a login costs, where it is the largest part of it.

use super::{Finding, Weight};
use crate::transport::Login;

/// Costs the least of all that OpenSSH knows, and protects nothing that is recorded today from the computers of the future.
pub const CHEAPEST: &str = "curve25519-sha256";

/// Whether there is nothing cheaper than this one.
pub fn is_cheapest(exchange: &str) -> bool {
    exchange == CHEAPEST || exchange == "curve25519-sha256@libssh.org"
}

/// Whether no other part of a login takes longer than its key exchange.
pub fn is_largest(login: &Login) -> bool {
    login.exchanging > login.connecting && login.exchanging > login.authenticating
}

/// What logins cost as they are and, where the host offers it, by the cheapest exchange; nothing where another part takes
/// longer or little would be gained. So many hosts use that exchange.
pub fn key_exchange(login: &Login, cheapest: Option<&Login>, hosts: usize) -> Option<Finding> {
    let is_worth_it = |other: &Login| other.exchanging * 2 <= login.exchanging;
    if !is_largest(login) || cheapest.is_some_and(|other| !is_worth_it(other)) {
        return None;
    }
    let cost = |login: &Login| format!("{} of {} ms", login.exchanging.as_millis(), login.took().as_millis());
    let mut what = format!("the key exchange {} takes {} of a login to it", login.exchange, cost(login));
    let mut mend = "keep the connections: --keep-connections 10m".to_owned();
    if let Some(other) = cheapest {
        what = format!("{what}; {CHEAPEST} would take {}", cost(other));
        let line =
            "`KexAlgorithms curve25519-sha256` for it in your ssh configuration, if nothing that is recorded today";
        mend = format!("{mend}; or write {line} must stay secret from quantum computers");
    }
    if hosts > 1 {
        what = format!("{what} ({hosts} hosts use this exchange, and only this one was measured)");
    }
    Some(Finding::new(Weight::Note, what, mend))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn login(exchange: &str, parts: [u64; 3]) -> Login {
        let [connecting, exchanging, authenticating] = parts.map(Duration::from_millis);
        Login { exchange: exchange.to_owned(), offered: Vec::new(), connecting, exchanging, authenticating }
    }

    #[test]
    fn it_says_what_was_measured_and_what_makes_it_cheaper() {
        let (usual, other) = (login("sntrup761", [20, 141, 30]), login(CHEAPEST, [20, 12, 30]));
        let found = key_exchange(&usual, Some(&other), 3).expect("a finding");
        assert_eq!(found.weight, Weight::Note);
        assert_eq!(
            found.what,
            "the key exchange sntrup761 takes 141 of 191 ms of a login to it; curve25519-sha256 would take 12 of 62 ms \
             (3 hosts use this exchange, and only this one was measured)"
        );
        let mend = found.mend.expect("a way");
        assert!(mend.contains("`KexAlgorithms curve25519-sha256`") && mend.contains("--keep-connections"), "{mend}");
    }

    #[test]
    fn what_a_host_does_not_offer_is_not_recommended() {
        let found = key_exchange(&login("diffie-hellman-group18-sha512", [20, 400, 30]), None, 1).expect("a finding");
        assert!(found.what.ends_with("takes 400 of 450 ms of a login to it"), "{found:?}");
        assert_eq!(found.mend.as_deref(), Some("keep the connections: --keep-connections 10m"));
    }

    #[test]
    fn nothing_is_said_where_another_part_takes_longer_or_little_is_gained() {
        let cheap = login(CHEAPEST, [1, 12, 1]);
        for (usual, other) in [
            (login("sntrup761", [150, 141, 30]), Some(&cheap)),
            (login("sntrup761", [20, 141, 200]), Some(&cheap)),
            (login("sntrup761", [150, 141, 30]), None),
            (login("mlkem768x25519-sha256", [1, 20, 1]), Some(&cheap)),
        ] {
            assert_eq!(key_exchange(&usual, other, 1), None, "{usual:?}");
        }
    }
}
