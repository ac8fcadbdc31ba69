//! What could shut us out of a host if it went wrong.
//!
//! In: a resource. Out: whether its change is risky where its role does not say so. Never: what is on a host.

use std::time::Duration;

use crate::resource::{Hold, Resource};
use crate::role::Risk;

/// How long a host waits for word about a risky change, if its role does not say so.
pub const WAIT: Duration = Duration::from_secs(60);

/// What is there, and all below it, decides who comes in and how.
pub const PATHS: &[&str] = &[
    "/etc/netplan",
    "/etc/network",
    "/etc/pam.d",
    "/etc/ssh",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/systemd/network",
];

/// How the names of other such files begin.
pub const BEGINNINGS: &[&str] = &["/etc/nftables"];

/// What only those read who leave the host by ssh.
pub const HARMLESS: &[&str] = &["/etc/ssh/ssh_config", "/etc/ssh/ssh_config.d", "/etc/ssh/ssh_known_hosts"];

/// Services by which we come in.
pub const SERVICES: &[&str] =
    &["NetworkManager", "networking", "nftables", "ssh", "sshd", "systemd-networkd", "wicked", "wickedd"];

/// How long the host waits before it undoes a change of this resource by itself; none if it does not.
pub fn wait(said: Option<Risk>, resource: &dyn Resource) -> Option<Duration> {
    match said {
        Some(Risk::None) => None,
        Some(Risk::Within(wait)) => Some(wait),
        None => is_risky(resource).then_some(WAIT),
    }
}

/// Whether a change of this resource could shut us out. A `firewall` has a guard of its own: it proves our connection
/// under the new rules before they are written down.
fn is_risky(resource: &dyn Resource) -> bool {
    match resource.holds() {
        Some(Hold::Whole(path) | Hold::Part(path)) => is_path(&path),
        None => resource.service().is_some_and(|service| SERVICES.contains(&service.as_str())),
    }
}

fn is_path(path: &str) -> bool {
    let at = |place: &str| path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let begins = BEGINNINGS.iter().any(|beginning| path.starts_with(beginning));
    (begins || PATHS.iter().any(|place| at(place))) && !HARMLESS.iter().any(|place| at(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::kind;

    fn risky(name: &str, keys: &serde_json::Value) -> Option<Duration> {
        let resource = (kind(name).expect("a kind").parse)(&keys.clone().into()).expect("a resource");
        wait(None, &*resource)
    }

    #[test]
    fn what_could_shut_us_out_is_risky_and_nothing_else() {
        use serde_json::json;
        let file = |path: &str| risky("file", &json!({ "path": path, "content": "" }));
        for path in ["/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/x.conf", "/etc/sudoers", "/etc/sudoers.d/x"] {
            assert_eq!(file(path), Some(WAIT), "{path}");
        }
        for path in ["/etc/nftables.conf", "/etc/nftables.d/x", "/etc/netplan/1.yaml", "/etc/network/interfaces"] {
            assert_eq!(file(path), Some(WAIT), "{path}");
        }
        for path in ["/etc/sshx", "/etc/ssh/ssh_config", "/etc/ssh/ssh_config.d/x", "/etc/networks", "/srv/etc/ssh/x"] {
            assert_eq!(file(path), None, "{path}");
        }
        let line = json!({ "path": "/etc/ssh/sshd_config", "line": "Port 22" });
        assert_eq!(risky("line", &line), Some(WAIT), "a part of a file is as risky as all of it");
        assert_eq!(risky("service", &json!({ "name": "ssh" })), Some(WAIT));
        assert_eq!(risky("service", &json!({ "name": "sshd.service" })), Some(WAIT));
        assert_eq!(risky("service", &json!({ "name": "nginx" })), None);
        assert_eq!(risky("package", &json!({ "name": "ssh" })), None);
    }

    #[test]
    fn a_role_has_the_last_word() {
        let resource =
            (kind("service").expect("a kind").parse)(&serde_json::json!({ "name": "ssh" }).into()).expect("one");
        assert_eq!(wait(Some(Risk::None), &*resource), None);
        assert_eq!(wait(Some(Risk::Within(Duration::from_secs(9))), &*resource), Some(Duration::from_secs(9)));
    }
}
