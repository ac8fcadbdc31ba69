//! Whether a host can be worked with, before anything is planned.
//!
//! In: what is desired of a host, and what it answered or why it did not. Out: what is wrong, and what to type to mend it.
//! Never: a change on a host, or a guess where it said nothing.

mod exchange;
mod tools;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use exchange::{CHEAPEST, is_cheapest, is_largest, key_exchange};
pub use tools::{Tool, needed};

use crate::inventory::Endpoint;
use crate::step::{FitnessReading, Probe, Readings, Sudo};
use crate::transport::TransportError;

/// Something that is wrong, or worth a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub weight: Weight,
    /// What.
    pub what: String,
    /// What to type, where it is known.
    pub mend: Option<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Worth a look; nothing fails because of it.
    Note,
    /// Something will fail.
    Fault,
    /// The host cannot be worked with at all.
    Unreachable,
}

impl Finding {
    fn new(weight: Weight, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { weight, what: what.into(), mend: Some(mend.into()) }
    }
}

/// What a host said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Vitals {
    /// As whom the work is done.
    pub user: Option<String>,
    /// How far its clock is ahead, in seconds.
    pub clock_ahead: Option<i64>,
    /// Free bytes, by place.
    pub free: BTreeMap<String, u64>,
}

/// What was found on a host.
#[derive(Debug, Clone, Serialize)]
pub struct Patient {
    /// Its name.
    pub host: String,
    /// What it said of itself, if it could.
    pub vitals: Option<Vitals>,
    /// What is wrong with it, or worth a look.
    pub findings: Vec<Finding>,
}

impl Patient {
    /// The worst that was found.
    pub fn worst(&self) -> Option<Weight> {
        self.findings.iter().map(|finding| finding.weight).max()
    }
}

/// A clock that is off by more than this, in seconds, is told of: the way there and back, rounded up.
const SKEW: i64 = 3;
/// What installs packages, where it is there.
const INSTALLERS: &[&str] = &["apt-get", "dnf"];
/// With fewer free bytes than this, nothing can be installed.
const TIGHT: u64 = 200 << 20;
/// With fewer than this, a few packages are all there is room for.
const LOW: u64 = 1 << 30;

/// What is asked.
pub fn probe(tools: &[Tool]) -> Probe {
    Probe::Fitness(tools.iter().flat_map(|tool| tool.any_of).chain(INSTALLERS).map(|&name| name.to_owned()).collect())
}

/// What the answer means. `now` is when it arrived, in seconds since 1970 by our clock.
pub fn examine(tools: &[Tool], readings: &Readings, now: i64) -> (Vitals, Vec<Finding>) {
    let reading = match readings.fitness(&probe(tools)) {
        Ok(reading) => reading,
        Err(why) => {
            let what = format!("its requirements could not be checked: {why}");
            return (Vitals::default(), vec![Finding { weight: Weight::Fault, what, mend: None }]);
        }
    };
    let vitals =
        Vitals { user: Some(reading.user.clone()), clock_ahead: Some(reading.clock - now), free: reading.free.clone() };
    let mut findings = missing(tools, &reading.programs);
    findings.extend(places(&vitals));
    findings.extend(clock(&vitals));
    findings.extend(rights(reading));
    (vitals, findings)
}

/// What is not there: one finding for each package that brings it.
fn missing(tools: &[Tool], there: &BTreeSet<String>) -> Vec<Finding> {
    let missing = tools.iter().filter(|tool| !tool.any_of.iter().any(|name| there.contains(*name)));
    let mut by_package: BTreeMap<&str, (Vec<String>, BTreeSet<&str>)> = BTreeMap::new();
    for tool in missing {
        let (names, users) = by_package.entry(tool.package).or_default();
        names.push(tool.any_of.join(" or "));
        users.insert(tool.used_by);
    }
    let installer = INSTALLERS.iter().find(|installer| there.contains(**installer));
    let finding = |(package, (names, users)): (&str, (Vec<String>, BTreeSet<&str>))| {
        let users: Vec<&str> = users.into_iter().collect();
        let what = format!("{} is missing, which {} needs", names.join(", no "), users.join(", "));
        let mend = match (package, installer) {
            ("", _) => None,
            (package, Some(installer)) => Some(format!("{installer} install {package}")),
            (package, None) => Some(format!("install {package}")),
        };
        Finding { weight: Weight::Fault, what, mend }
    };
    by_package.into_iter().map(finding).collect()
}

fn places(vitals: &Vitals) -> Vec<Finding> {
    let finding = |(place, free): (&String, &u64)| {
        let mend = format!("find large files: du -xh {place} | sort -h | tail; or: apt-get clean");
        let weight = match *free {
            0..TIGHT => Weight::Fault,
            TIGHT..LOW => Weight::Note,
            _ => return None,
        };
        Some(Finding::new(weight, format!("only {} MB are free on {place}", free / 1_000_000), mend))
    };
    vitals.free.iter().filter_map(finding).collect()
}

/// Whether it is root, or could be.
fn rights(reading: &FitnessReading) -> Option<Finding> {
    let user = &reading.user;
    let note = |text: &str, mend: &str| Some(Finding::new(Weight::Note, format!("works as {user}, {text}"), mend));
    match &reading.sudo {
        Sudo::NotNeeded => None,
        Sudo::Free => note("who may use sudo", "become root: -b, or `connection: { become: true }`"),
        Sudo::Missing => note("and there is no sudo", "log in as root, or apt-get install sudo"),
        Sudo::Refused(words) => {
            note(&format!("and sudo says: {words}"), "give its password with -K, or let this user work without one")
        }
    }
}

fn clock(vitals: &Vitals) -> Option<Finding> {
    let ahead = vitals.clock_ahead.filter(|ahead| ahead.abs() > SKEW)?;
    let way = if ahead > 0 { "ahead" } else { "behind" };
    let what = format!("its clock is {} s {way} of this machine's", ahead.unsigned_abs());
    Some(Finding::new(Weight::Note, what, "timedatectl set-ntp true (or install chrony), on both"))
}

/// Why a host could not be worked with, and how to mend that.
pub fn unreachable(host: &Endpoint, error: &TransportError) -> Finding {
    let (weight, mend) = match error {
        TransportError::HostKeyUnknown { .. } => (
            Weight::Unreachable,
            "compare the fingerprint with that of the host: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub; then --accept-new"
                .to_owned(),
        ),
        TransportError::HostKeyChanged { .. } => {
            let name = host.port.map_or_else(|| host.address.clone(), |port| format!("'[{}]:{port}'", host.address));
            (Weight::Unreachable, format!("only if the host was reinstalled: ssh-keygen -R {name}"))
        }
        TransportError::Become { why, .. } => (Weight::Fault, sudo(host, why)),
        TransportError::Local { .. } => (Weight::Fault, "the fault is on this machine, not on the host".to_owned()),
        TransportError::Protocol { .. } => {
            (Weight::Unreachable, "its login shell must run /bin/sh -c and must not print without end".to_owned())
        }
        TransportError::Fenced { .. } => {
            (Weight::Fault, "another run works on it: see `armilla lock status`".to_owned())
        }
        TransportError::Program { .. } => {
            (Weight::Fault, "its message says what is missing; `armilla-host` is copied to each host once".to_owned())
        }
        TransportError::Unable { .. } => {
            (Weight::Fault, "follow its message; armilla keeps its data on a host in /var/lib/armilla/host".to_owned())
        }
        TransportError::Unreachable { why, .. } | TransportError::Lost { why, .. } => (Weight::Unreachable, way(host, why)),
    };
    Finding::new(weight, error.to_string(), mend)
}

fn sudo(host: &Endpoint, why: &str) -> String {
    let user = host.user.as_deref().unwrap_or("USER");
    if why.contains("not installed") {
        "log in as root and: apt-get install sudo".to_owned()
    } else {
        format!(
            "give the password with -K, or as root on it: echo '{user} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{user}"
        )
    }
}

/// In ssh's own words, as OpenSSH 9 says them.
fn way(host: &Endpoint, why: &str) -> String {
    let says = |text: &str| why.contains(text);
    let at = host.user.as_ref().map_or_else(|| host.address.clone(), |user| format!("{user}@{}", host.address));
    if says("resolve hostname") {
        format!("the name cannot be resolved: give {} an `address` in the inventory", host.name)
    } else if says("Permission denied") {
        format!("its sshd accepts none of our keys: ssh-copy-id {at}, or set `user` and `key` in the inventory")
    } else if says("Connection refused") {
        "no sshd listens there: run systemctl enable --now ssh on it, or set `port` in the inventory".to_owned()
    } else {
        format!("check that it is powered on and reachable: ping {}; ssh -v {at}", host.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::HostName;
    use crate::step::Reading;

    const TOOLS: &[Tool] = &[
        Tool { any_of: &["curl", "wget"], package: "curl", used_by: "health http" },
        Tool { any_of: &["systemctl"], package: "systemd", used_by: "service" },
    ];

    fn examined(reading: &FitnessReading) -> (Vitals, Vec<Finding>) {
        let readings = [(probe(TOOLS), Reading::Fitness(reading.clone()))].into_iter().collect();
        examine(TOOLS, &readings, 1000)
    }

    fn reading(user: &str, sudo: Sudo, programs: &[&str]) -> FitnessReading {
        let programs = programs.iter().map(|name| (*name).to_owned()).collect();
        let free = ["/", "/var/tmp"].map(|place| (place.to_owned(), 20 << 30)).into();
        FitnessReading { user: user.to_owned(), sudo, programs, free, clock: 1001 }
    }

    #[test]
    fn a_host_that_has_everything_has_no_findings() {
        let (vitals, findings) = examined(&reading("root", Sudo::NotNeeded, &["wget", "systemctl"]));
        assert_eq!(findings, []);
        assert_eq!((vitals.user.as_deref(), vitals.clock_ahead), (Some("root"), Some(1)));
        assert_eq!(vitals.free["/"], 20 << 30);
    }

    #[test]
    fn every_lack_is_told_with_what_mends_it() {
        let refused = Sudo::Refused("sudo: a password is required".to_owned());
        let free = [("/".to_owned(), 100), ("/var/tmp".to_owned(), TIGHT)].into();
        let poor = FitnessReading { clock: 900, free, ..reading("ada", refused, &["apt-get"]) };
        let (_, findings) = examined(&poor);
        let text: Vec<String> =
            findings.iter().map(|f| format!("{} | {}", f.what, f.mend.as_deref().unwrap_or_default())).collect();
        let text = text.join("\n");
        for part in [
            "curl or wget is missing, which health http needs | apt-get install curl",
            "systemctl is missing, which service needs | apt-get install systemd",
            "only 0 MB are free on / |",
            "only 209 MB are free on /var/tmp |",
            "its clock is 100 s behind",
            "works as ada, and sudo says: sudo: a password is required | give its password with -K",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        for (sudo, part) in [(Sudo::Free, "works as ada, who may use sudo"), (Sudo::Missing, "and there is no sudo")] {
            let (_, findings) = examined(&reading("ada", sudo, &["dnf", "curl"]));
            let text = format!("{findings:?}");
            assert!(text.contains(part) && text.contains("dnf install systemd"), "{text}");
        }
    }

    #[test]
    fn a_host_that_takes_no_program_says_why() {
        let host = Endpoint::new(HostName::new("w1").expect("a name"));
        let why = "there is no directory in which it may write and run programs".to_owned();
        let error = TransportError::Program { host: "w1".into(), why };
        let finding = unreachable(&host, &error);
        assert_eq!(finding.weight, Weight::Fault);
        assert!(finding.what.contains("no directory in which it may write"), "{finding:?}");
    }

    #[test]
    fn a_host_that_did_not_answer_is_not_taken_for_one_without_tools() {
        let (_, findings) = examine(TOOLS, &Readings::default(), 0);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.starts_with("its requirements could not be checked"), "{findings:?}");
    }

    #[test]
    fn each_way_not_to_reach_a_host_has_its_own_mend() {
        let host = Endpoint::new(HostName::new("w1").expect("a name"));
        let mend = |why: &str| {
            let error = TransportError::Unreachable { host: "w1".into(), why: why.into() };
            unreachable(&host, &error).mend.unwrap_or_default()
        };
        assert!(mend("ssh: Could not resolve hostname w1: Name or service not known").contains("`address`"));
        assert!(mend("ada@w1: Permission denied (publickey).").contains("ssh-copy-id"));
        assert!(mend("ssh: connect to host w1 port 22: Connection refused").contains("sshd"));
        assert!(mend("ssh: connect to host w1 port 22: Connection timed out").contains("ping w1"));
    }
}
